"""Products of features that have a constant column, without the column."""

import torch
from torch import Tensor

# From this number of weights on, the transposed product is faster.
_MANY = 8


def affine(features: Tensor, weights: Tensor) -> Tensor:
    """Return ``[features, 1] @ weights.T`` without appending the column of ones."""
    if len(weights) < _MANY:
        return torch.addmm(weights[:, -1], features, weights[:, :-1].T)
    return torch.addmm(weights[:, -1:], weights[:, :-1], features.T).T


def affine_adjoint(features: Tensor, columns: Tensor) -> Tensor:
    """Return ``columns.T @ [features, 1]`` without appending the column of ones."""
    return torch.cat([columns.T @ features, columns.sum(dim=0)[:, None]], dim=1)


def with_ones(features: Tensor) -> Tensor:
    """Return ``[features, 1]``."""
    return torch.nn.functional.pad(features, (0, 1), value=1.0)


def row_space(features: Tensor) -> Tensor | None:
    """Return an orthonormal basis of the rows' span, or None if it is not smaller.

    With fewer rows than features, every optimum and every gradient is in that span, and
    a rotation does not change the penalty. So solving in its coordinates is exact.
    The basis has shape (n_features, n_samples).
    """
    n_samples, n_features = features.shape
    return torch.linalg.qr(features.T).Q if n_samples < n_features else None


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Return the flattened outer product of every row, (n, n_left * n_right)."""
    return (left[:, :, None] * right[:, None, :]).flatten(1)
