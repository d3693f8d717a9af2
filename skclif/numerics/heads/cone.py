"""Bounds on the parameters of a head, and the directions that they leave free."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Columns of inputs along which weights must not fall; -1 stands for a weight of 0. A
# column is in at most one chain, and -1 only in chains of two.
Chain = tuple[int, ...]
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
    inputs : Tensor of shape (q,), int64
        The column of the inputs that each coordinate is about; -1 for others.
    held : tuple of int
        Columns whose coordinates stay as they are. A chain is held as a whole.
    """

    basis: Tensor
    bounded: Tensor
    inputs: Tensor
    held: tuple[int, ...] = ()

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
        """Return which coordinates are at their bound, and not held, (q,)."""
        return self.bounded & ~self.stays & (self.coordinates(parameters) <= 0)

    def free(self, parameters: Tensor) -> Tensor:
        """Return the directions in which parameters can move, as columns."""
        return self.basis[:, ~(self.active(parameters) | self.stays)]

    @cached_property
    def stays(self) -> Tensor:
        """Which coordinates are those of held columns, (q,)."""
        return torch.isin(self.inputs, self.inputs.new_tensor(self.held))

    @cached_property
    def _inverse(self) -> Tensor:
        inverse: Tensor = torch.linalg.pinv(self.basis)
        return inverse


def weights_along(
    chains: Sequence[Chain], n_inputs: int, like: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the map from coordinates to weights, and which coordinates are bounded.

    The first weight of a chain is its own coordinate, and the others are steps on from
    it: Eq. (53) of docs/mathematics.rst.

    Returns
    -------
    weights : Tensor of shape (n_inputs, n_inputs)
    bounded : Tensor of shape (n_inputs,), bool
    """
    weights = torch.eye(n_inputs, dtype=like.dtype, device=like.device)
    bounded = torch.zeros(n_inputs, dtype=torch.bool, device=like.device)
    for chain in chains:
        columns = [column for column in chain if column >= 0]
        if len(columns) < len(chain):  # on one side of 0
            weights[columns, columns] = 1.0 if chain[0] < 0 else -1.0
        for k, column in enumerate(columns):
            weights[columns[k + 1 :], column] = 1.0
        bounded[steps_of(chain)] = True
    return weights, bounded


def steps_of(chain: Chain) -> list[int]:
    """Return the columns whose coordinates are the steps of a chain."""
    columns = [column for column in chain if column >= 0]
    return columns[1:] if len(columns) == len(chain) else columns


def held_among(held: Sequence[int], columns: Sequence[int]) -> tuple[int, ...]:
    """Return the held columns where only some columns are left, which count anew."""
    return tuple(new for new, old in enumerate(columns) if old in held)


def chains_among(chains: Sequence[Chain], columns: Sequence[int]) -> tuple[Chain, ...]:
    """Return the chains where only some columns are left, which count anew."""
    place = {-1: -1, **{old: new for new, old in enumerate(columns)}}
    left = (tuple(place[c] for c in chain if c in place) for chain in chains)
    return tuple(chain for chain in left if len(chain) > 1)
