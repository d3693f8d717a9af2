"""Bounds on the parameters of a head, and the directions that they leave free."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Coordinates this near to their bound, relative to the largest, are rounding errors.
_ZERO = 1e-10


@dataclass(frozen=True, eq=False)
class Cone:
    """Parameters that are combinations of coordinates, some of them not negative.

    Attributes
    ----------
    basis : Tensor of shape (p, q)
        Parameters, flattened, are ``basis @ coordinates``. Its columns are independent.
    bounded : Tensor of shape (q,), bool
        Which coordinates must not be negative.
    """

    basis: Tensor
    bounded: Tensor

    def coordinates(self, parameters: Tensor) -> Tensor:
        """Return the coordinates of parameters (n_scores, n_inputs), feasible ones."""
        found = self._inverse @ parameters.flatten()
        small = found <= _ZERO * found.abs().max().clamp(min=1)
        return torch.where(self.bounded & small, 0.0, found)

    def violation(self, parameters: Tensor) -> Tensor:
        """Return how far flat parameters (n, p) are beyond a bound, (n,)."""
        found = parameters @ self._inverse.T
        return (-found[:, self.bounded]).amax(dim=1).clamp(min=0)

    def open_gradient(self, coordinates: Tensor, gradient: Tensor) -> Tensor:
        """Return what is left of a gradient in the coordinates: 0 at the optimum.

        At a bound, a gradient that points out of the cone is its multiplier.
        """
        held = self.bounded & (coordinates <= 0) & (gradient > 0)
        return torch.where(held, 0.0, gradient)

    def active(self, parameters: Tensor) -> Tensor:
        """Return which coordinates of parameters are at their bound, (q,)."""
        return self.bounded & (self.coordinates(parameters) <= 0)

    def free(self, parameters: Tensor) -> Tensor:
        """Return the directions in which parameters can move, as columns."""
        return self.basis[:, ~self.active(parameters)]

    @cached_property
    def _inverse(self) -> Tensor:
        inverse: Tensor = torch.linalg.pinv(self.basis)
        return inverse
