"""Coordinates of a space that has all rows, where there are fewer rows than features.

Every optimum and every gradient is in that space, and a rotation does not change the
penalty. So solving in its coordinates is exact, and dense however many words there are.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .blocks import row_blocks
from .products import dense_rows
from .sparse import Features, SparseFeatures

# A column this many times as long as a typical one is a coordinate of its own.
_LONG = 1e3
# At most this share of the number of rows.
_MOST_LONG = 0.1


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
        if isinstance(features, Tensor):
            return features @ self.basis
        return features.times(self.basis.T)

    def into(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias, (k, n_features + 1), that act on coordinates."""
        return _with_bias(parameters[:, :-1] @ self.basis, parameters)

    def out_of(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias that act on features: the reverse of `into`."""
        return _with_bias(parameters[:, :-1] @ self.basis.T, parameters)


@dataclass(frozen=True)
class SparseRowSpace:
    """A few long columns, and a basis ``X' map`` of the others' rows.

    With the eigenvectors U and eigenvalues s^2 of ``X X'``, the map is ``U / s``: it is
    of the size of the rows, not of the features. Squares lose half of the digits, so a
    column that is much longer than others would drown them; such columns stay as they
    are.

    Attributes
    ----------
    others : SparseFeatures of shape (n_samples, n_features)
        The rows, with 0 in long columns.
    map : Tensor of shape (n_samples, n_others)
    long : Tensor of shape (n_long,), int64
        Positions of the long columns, the first coordinates.
    """

    others: SparseFeatures
    map: Tensor
    long: Tensor

    @property
    def n_coordinates(self) -> int:
        """Number of coordinates."""
        return len(self.long) + self.map.shape[1]

    def coordinates(self, features: Features) -> Tensor:
        """Return rows in coordinates, without their part outside the space."""
        result = self.map.new_empty(len(features), self.n_coordinates)
        n_long = len(self.long)
        result[:, :n_long] = dense_rows(_columns(features, self.long))
        for block in row_blocks(len(features)):
            inner = self.others.inner(features[block])
            torch.mm(inner, self.map, out=result[block, n_long:])
        return result

    def into(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias, (k, n_features + 1), that act on coordinates."""
        weights = parameters[:, :-1]
        inside = self.others.times(weights).T @ self.map
        return _with_bias(torch.cat([weights[:, self.long], inside], dim=1), parameters)

    def out_of(self, parameters: Tensor) -> Tensor:
        """Return parameters with bias that act on features: the reverse of `into`."""
        n_long = len(self.long)
        weights = self.others.adjoint(self.map @ parameters[:, n_long:-1].T)
        weights[:, self.long] = parameters[:, :n_long]
        return _with_bias(weights, parameters)


def row_space(features: Features) -> RowSpace | None:
    """Return the span of rows, or None if it is not smaller than all features."""
    n_samples, n_features = features.shape
    if n_samples >= n_features:
        return None
    if not isinstance(features, SparseFeatures):
        return DenseRowSpace(torch.linalg.qr(dense_rows(features).T).Q)
    long = _long_columns(features)
    others = features.without_columns(long)
    # The length of a row does not change the span, and would cost digits of others.
    sizes = others.row_squares.sqrt()
    sizes[sizes == 0] = 1
    products = others.inner(others) / (sizes[:, None] * sizes)
    squares, vectors = torch.linalg.eigh(products)
    # What is below has no correct digits; such directions hardly move a score.
    least = n_samples * torch.finfo(squares.dtype).eps * squares.max()
    kept = squares > least
    basis = vectors[:, kept] / squares[kept].sqrt() / sizes[:, None]
    return SparseRowSpace(others, basis, long)


def _long_columns(features: SparseFeatures) -> Tensor:
    """Return the positions of columns that are much longer than others."""
    sizes = features.squared.adjoint(features.new_ones(len(features), 1))[0].sqrt()
    used = sizes[sizes > 0]
    if not len(used):
        return used.long()
    n_most = int(_MOST_LONG * len(features))
    longest = sizes.topk(n_most).indices
    return longest[sizes[longest] > _LONG * used.median()]


def _columns(features: Features, positions: Tensor) -> Features:
    if isinstance(features, SparseFeatures):
        return features.columns(positions)
    return dense_rows(features)[:, positions]


def _with_bias(weights: Tensor, parameters: Tensor) -> Tensor:
    return torch.cat([weights, parameters[:, -1:]], dim=1)
