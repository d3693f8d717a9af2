"""Products of features that have a constant column, without the column."""

import torch
from torch import Tensor

from .sparse import Features

# From this number of weights on, the transposed product is faster.
_MANY = 8


def affine(features: Features, weights: Tensor) -> Tensor:
    """Return ``[features, 1] @ weights.T`` without appending the column of ones."""
    if not isinstance(features, Tensor):
        return features.times(weights[:, :-1]).add_(weights[:, -1])
    if len(weights) < _MANY:
        return torch.addmm(weights[:, -1], features, weights[:, :-1].T)
    return torch.addmm(weights[:, -1:], weights[:, :-1], features.T).T


def affine_adjoint(features: Features, columns: Tensor) -> Tensor:
    """Return ``columns.T @ [features, 1]`` without appending the column of ones."""
    if not isinstance(features, Tensor):
        result = columns.new_empty(columns.shape[1], features.shape[1] + 1)
        result[:, :-1] = features.adjoint(columns)
        result[:, -1] = columns.sum(dim=0)
        return result
    return torch.cat([columns.T @ features, columns.sum(dim=0)[:, None]], dim=1)


def with_ones(features: Features) -> Tensor:
    """Return ``[features, 1]``, dense: of a block of rows if there are many."""
    features = dense_rows(features)
    return torch.nn.functional.pad(features, (0, 1), value=1.0)


def row_squares(features: Features) -> Tensor:
    """Return the sum of squares of every row, (n_samples,)."""
    if not isinstance(features, Tensor):
        return features.row_squares
    norms: Tensor = torch.linalg.vector_norm(features, dim=1)
    return norms.square()


def dense_rows(features: Features) -> Tensor:
    """Return features as they are, or a dense copy of others: for few rows."""
    return features if isinstance(features, Tensor) else features.dense()


def largest_size(features: Features) -> float:
    """Return the largest magnitude of a feature."""
    if not isinstance(features, Tensor):
        return features.largest()
    return float(features.abs().max())


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Return the flattened outer product of every row, (n, n_left * n_right)."""
    return (left[:, :, None] * right[:, None, :]).flatten(1)
