"""Coordinates of the rows' span, where there are fewer rows than features.

Every optimum and every gradient is in that span, and a rotation does not change the
penalty. So solving in its coordinates is exact, and dense however many words there are.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .blocks import row_blocks
from .sparse import Features, SparseFeatures


class RowSpace(Protocol):
    """An orthonormal basis of the span of some rows."""

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates."""

    def coordinates(self, features: Features) -> Tensor:
        """Return rows in coordinates, without their part outside the span."""

    def into(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias, (k, n_features + 1), that act on coordinates."""

    def out_of(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias that act on features: the reverse of `into`."""


@dataclass(frozen=True)
class DenseRowSpace:
    """A basis as a matrix.

    Attributes
    ----------
    basis : Tensor of shape (n_features, n_coordinates)
    """

    basis: Tensor

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates."""
        return self.basis.shape[1]

    def coordinates(self, features: Features) -> Tensor:
        """Return rows in coordinates, without their part outside the span."""
        if isinstance(features, SparseFeatures):
            return features.times(self.basis.T)
        return features @ self.basis

    def into(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias, (k, n_features + 1), that act on coordinates."""
        return _with_bias(parameters[:, :-1] @ self.basis, parameters)

    def out_of(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias that act on features: the reverse of `into`."""
        return _with_bias(parameters[:, :-1] @ self.basis.T, parameters)


@dataclass(frozen=True)
class SparseRowSpace:
    """A basis ``X' map`` of which only the map is kept.

    With the eigenvectors U and eigenvalues s^2 of ``X X'``, the map is ``U / s``: it is
    of the size of the rows, not of the features.

    Attributes
    ----------
    features : SparseFeatures of shape (n_samples, n_features)
    map : Tensor of shape (n_samples, n_coordinates)
    """

    features: SparseFeatures
    map: Tensor

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates."""
        return self.map.shape[1]

    def coordinates(self, features: Features) -> Tensor:
        """Return rows in coordinates, without their part outside the span."""
        result = self.map.new_empty(len(features), self.n_coordinates)
        for block in row_blocks(len(features)):
            result[block] = self.features.inner(features[block]) @ self.map
        return result

    def into(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias, (k, n_features + 1), that act on coordinates."""
        inner = self.features.times(parameters[:, :-1])
        return _with_bias(inner.T @ self.map, parameters)

    def out_of(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias that act on features: the reverse of `into`."""
        columns = self.map @ parameters[:, :-1].T
        return _with_bias(self.features.adjoint(columns), parameters)


def row_space(features: Features) -> RowSpace | None:
    """Return the span of rows, or None if it is not smaller than all features."""
    n_samples, n_features = features.shape
    if n_samples >= n_features:
        return None
    if not isinstance(features, SparseFeatures):
        return DenseRowSpace(torch.linalg.qr(features.T).Q)
    squares, vectors = torch.linalg.eigh(features.inner(features))
    # What is below has no correct digits; such directions hardly move a score.
    least = n_samples * torch.finfo(squares.dtype).eps * squares.max()
    kept = squares > least
    return SparseRowSpace(features, vectors[:, kept] / squares[kept].sqrt())


def _with_bias(weights: Tensor, parameters: Tensor) -> Tensor:
    return torch.cat([weights, parameters[:, -1:]], dim=1)
