"""Features of which few are not 0: their products, without a dense copy.

Word counts have as many columns as there are words. Dense, 20,000 texts of 100,000
words are 16 GB; what is not 0 in them is a few megabytes. Heads need only two products
with all features, ``X W'`` and ``R' X``. Whatever needs more takes a block of rows at a
time, or coordinates of the rows' span.

Products are SciPy's, on the CPU.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from .stored import StoredFeatures

Rows = slice | Tensor | np.ndarray


class SparseFeatures:
    """A matrix of features in compressed sparse rows, with the products of a tensor.

    Parameters
    ----------
    matrix : csr_array of shape (n_samples, n_features), float64
        Sorted, without duplicates or zeros, and not changed by anybody.
    """

    def __init__(self, matrix: sparse.csr_array):
        self.matrix = matrix

    def __len__(self) -> int:
        return int(self.matrix.shape[0])

    def __getitem__(self, rows: Rows) -> SparseFeatures:
        """Return some of the rows."""
        index = rows.cpu().numpy() if isinstance(rows, Tensor) else rows
        return SparseFeatures(self.matrix[index])

    @classmethod
    def of(cls, matrix: Any) -> SparseFeatures:
        """Return a checked SciPy matrix in one form: equal numbers give equal bits.

        Parameters
        ----------
        matrix : sparse matrix or array of shape (n_samples, n_features)
            Not changed, but its memory may be shared.
        """
        rows = sparse.csr_array(matrix, dtype=np.float64)
        if not rows.has_canonical_format or not rows.data.all():
            rows = rows.copy()
            rows.sum_duplicates()
            rows.eliminate_zeros()
        return cls(rows)

    def copy(self) -> SparseFeatures:
        """Return a copy that nobody else can change."""
        return SparseFeatures(self.matrix.copy())

    def shares_memory(self, given: Any) -> bool:
        """Return whether the features are those of a SciPy matrix, not a copy."""
        data = getattr(given, "data", None)
        return isinstance(data, np.ndarray) and np.shares_memory(data, self.matrix.data)

    def columns(self, positions: Tensor) -> SparseFeatures:
        """Return some of the columns."""
        return SparseFeatures(self.matrix[:, positions.numpy()])

    def without_columns(self, positions: Tensor) -> SparseFeatures:
        """Return the features with 0 in some columns."""
        if not len(positions):
            return self
        matrix = self.matrix.copy()
        matrix.data[np.isin(matrix.indices, positions.numpy())] = 0
        matrix.eliminate_zeros()
        return SparseFeatures(matrix)

    def above(self, others: Any) -> SparseFeatures:
        """Return these rows with others below, which may be an array."""
        if isinstance(others, SparseFeatures):
            others = others.matrix
        below = sparse.csr_array(others)
        return SparseFeatures(sparse.csr_array(sparse.vstack([self.matrix, below])))

    def parts(self) -> list[np.ndarray]:
        """Return arrays that together say what the features are."""
        matrix = self.matrix
        return [
            np.asarray(matrix.shape, dtype=np.int64),
            matrix.indptr.astype(np.int64),
            matrix.indices.astype(np.int64),
            matrix.data,
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        n_samples, n_features = self.matrix.shape
        return n_samples, n_features

    @property
    def dtype(self) -> torch.dtype:
        """Type of the values."""
        return torch.float64

    @property
    def device(self) -> torch.device:
        """Where products are computed."""
        return torch.device("cpu")

    def to(self, where: torch.device | torch.dtype) -> SparseFeatures | Tensor:
        """Return the features on a device, or a block of them in another type."""
        if isinstance(where, torch.dtype):
            return self.dense().to(where)
        if where.type != "cpu":
            raise ValueError(
                f"device={where} cannot compute with sparse features; use "
                'device="cpu", or make the features dense, for example with '
                "TruncatedSVD."
            )
        return self

    def new_zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a dense tensor of zeros."""
        return torch.zeros(*shape, dtype=dtype or self.dtype)

    def new_ones(self, *shape: int) -> Tensor:
        """Return a dense tensor of ones."""
        return torch.ones(*shape, dtype=self.dtype)

    def new_empty(self, *shape: int) -> Tensor:
        """Return a dense tensor that nothing was written to."""
        return torch.empty(*shape, dtype=self.dtype)

    def new_tensor(self, values: Any) -> Tensor:
        """Return values as a dense tensor."""
        return torch.as_tensor(values, dtype=self.dtype)

    def dense(self) -> Tensor:
        """Return the rows as a tensor: meant for blocks of rows."""
        return torch.from_numpy(self.matrix.toarray())

    def times(self, weights: Tensor) -> Tensor:
        """Return ``X @ weights.T``, (n_samples, n_weights)."""
        return torch.from_numpy(self.matrix @ weights.T.numpy())

    def inner(self, others: Features) -> Tensor:
        """Return the inner products of other rows with these, (n_others, n_samples)."""
        if isinstance(others, StoredFeatures):
            others = others.dense()
        if isinstance(others, SparseFeatures):
            products = others.matrix @ self.matrix.T
            return torch.from_numpy(products.toarray())
        return self.times(others).T

    def adjoint(self, columns: Tensor) -> Tensor:
        """Return ``columns.T @ X``, (n_columns, n_features)."""
        return torch.from_numpy(self.matrix.T @ columns.numpy()).T

    @cached_property
    def row_squares(self) -> Tensor:
        """Sum of squares of every row, (n_samples,)."""
        return torch.from_numpy(self.squared.matrix.sum(axis=1))

    @cached_property
    def squared(self) -> SparseFeatures:
        """The squares of all values."""
        matrix = self.matrix
        parts = np.square(matrix.data), matrix.indices, matrix.indptr
        return SparseFeatures(sparse.csr_array(parts, shape=matrix.shape))

    def largest(self) -> float:
        """Return the largest magnitude of a value."""
        return float(np.abs(self.matrix.data).max(initial=0.0))


# Features as the numerics take them, and as they are checked and kept.
Features = Tensor | SparseFeatures | StoredFeatures
Matrix = np.ndarray | Features
