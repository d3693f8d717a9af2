"""Which rows are a sample: evenly spread, and more of heads of which few have weight.

What is counted can be added up, so that rows in several places are chosen as if they
were in one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import stride


def tally(counted: Tensor, start: int, step: int) -> Tensor:
    """Count the rows with weight for every head: evenly spread ones, and all, (2, n).

    Parameters
    ----------
    counted : Tensor of shape (n_rows, n_heads), bool
        Which rows have weight.
    start : int
        Position of the first row among all.
    step : int
        Of the evenly spread rows.
    """
    return torch.stack([counted[-start % step :: step].sum(0), counted.sum(0)])


@dataclass(frozen=True)
class Choice:
    """Which rows are a sample.

    Attributes
    ----------
    step : int
        Every so many rows, one is taken.
    own : dict of int to int
        Heads that see too few of these rows, and with which step more are taken of the
        rows with weight for them.
    """

    step: int
    own: dict[int, int]

    @classmethod
    def of(cls, n_all: int, n_rows: int, counts: Tensor) -> Choice:
        """Choose about this many rows; `counts` is the sum of all tallies."""
        enough = n_rows // 2
        own = {
            head: stride(n, enough)
            for head, (taken, n) in enumerate(counts.T.tolist())
            if taken < min(enough, n)
        }
        return cls(stride(n_all, n_rows), own)

    def rows(self, counted: Tensor, start: int, before: Tensor) -> Tensor:
        """Return which of some rows are chosen, (n_rows,).

        Parameters
        ----------
        counted : Tensor of shape (n_rows, n_heads), bool
        start : int
            Position of the first row among all.
        before : Tensor of shape (n_heads,)
            How many rows have weight before these.
        """
        kept = torch.zeros_like(counted[:, 0])
        kept[-start % self.step :: self.step] = True
        for head, step in self.own.items():
            rows = counted[:, head].nonzero()[:, 0]
            kept[rows[-int(before[head]) % step :: step]] = True
        return kept
