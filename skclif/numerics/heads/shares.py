"""Distributions over values, which some codes stand for."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Shares:
    """What the codes of soft annotations stand for.

    Shares equal themselves only, so that heads with the same ones are evaluated
    together.

    Attributes
    ----------
    table : Tensor of shape (n_values + n, n_values)
        The distribution of every code. The first ones are those of the values.
    """

    table: Tensor

    @classmethod
    def of(cls, distributions: Tensor) -> "Shares":
        """Return shares with these distributions, (n, n_values), after the values."""
        certain = torch.eye(distributions.shape[1]).to(distributions)
        return cls(torch.cat([certain, distributions]))

    def __call__(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the distributions of codes, (..., n_values)."""
        return self.table[codes.long()].to(like.dtype)
