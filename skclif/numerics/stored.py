"""Dense features that stay as they were given: in single precision, or in a file.

A copy in double precision is twice as large as float32 rows, and a memory-mapped file
may be larger than the memory. Passes over rows take a block at a time, and convert that
block alone: numbers are those of a float64 copy, to the last bit.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from .blocks import BLOCK_ROWS, row_blocks
from .streaming import CudaLane, Lane, fits, rows_at_once, streamed

Index = slice | Tensor | np.ndarray


class StoredFeatures:
    """Rows of features, of which those that are asked for are loaded as float64.

    Parameters
    ----------
    values : Tensor of shape (n_stored, n_features)
        Of any floating type. Nobody writes to it.
    index : Tensor of shape (n_samples,), int64, default=None
        Which rows these are. None is all of them.
    device : torch.device, default=None
        Where rows are loaded to. None is where the values are.
    dtype : torch.dtype, default=torch.float64
        Type that rows are loaded in.
    """

    def __init__(
        self,
        values: Tensor,
        index: Tensor | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float64,
    ):
        self.values, self.index, self.dtype = values, index, dtype
        self._device = values.device if device is None else device

    @classmethod
    def of(cls, array: np.ndarray) -> StoredFeatures:
        """Return an array as features, without a copy where PyTorch can read it."""
        if min(array.strides, default=0) < 0 or not array.dtype.isnative:
            array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        with warnings.catch_warnings():  # of memory that must not be written to
            warnings.simplefilter("ignore", UserWarning)
            return cls(torch.from_numpy(array))

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows as an array, which pickle and skops write."""
        rows: np.ndarray = self.gathered().cpu().numpy()
        return {"rows": rows, "dtype": str(self.dtype).removeprefix("torch.")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        dtype = getattr(torch, state["dtype"])
        vars(self).update(vars(StoredFeatures.of(state["rows"]).loading(dtype)))

    def __len__(self) -> int:
        return len(self.values) if self.index is None else len(self.index)

    def __getitem__(self, rows: Index) -> Tensor:
        """Load some of the rows, (n_rows, n_features)."""
        return self.loaded(rows, self.dtype)

    def loading(self, dtype: torch.dtype) -> StoredFeatures:
        """Return the same rows, to be loaded in another type."""
        return StoredFeatures(self.values, self.index, self.device, dtype)

    def loaded(self, rows: Index, dtype: torch.dtype) -> Tensor:
        """Load some of the rows in another type, perhaps without a copy."""
        # Moved as it is stored, which is fewer bytes.
        loaded = self.part(rows).gathered().to(self.device).to(dtype)
        # Bits of a product depend on the memory order on some processors.
        return loaded.contiguous()

    def part(self, rows: Index) -> StoredFeatures:
        """Return some of the rows without loading them."""
        if isinstance(rows, np.ndarray):
            rows = torch.from_numpy(rows)
        if isinstance(rows, Tensor):
            rows = rows.to(self.values.device)
            if rows.dtype == torch.bool:
                rows = rows.nonzero()[:, 0]
        if self.index is not None:
            index = self.index[rows]
            return StoredFeatures(self.values, index, self.device, self.dtype)
        if isinstance(rows, slice):
            return StoredFeatures(self.values[rows], None, self.device, self.dtype)
        return StoredFeatures(self.values, rows, self.device, self.dtype)

    def blocks(self, block_rows: int = BLOCK_ROWS) -> Generator[tuple[slice, Tensor]]:
        """Yield slices in order, and these rows.

        The next rows are on their way to a GPU while these are computed with. Blocks
        are larger there.
        """
        block_rows = rows_at_once(block_rows, self.device)
        blocks = row_blocks(len(self), block_rows)
        if not self._travels_to(self.device):
            for block in blocks:
                yield block, self[block]
            return
        lane = CudaLane(self.device)
        yield from self._streamed(blocks, block_rows, self.dtype, lane)

    def _streamed(
        self,
        blocks: Iterator[slice],
        block_rows: int,
        dtype: torch.dtype,
        lane: Lane,
    ) -> Generator[tuple[slice, Tensor]]:
        """Yield rows that come to a device by themselves."""
        shape = min(block_rows, len(self)), self.shape[1]
        stored = self.values.dtype
        yield from streamed(
            lambda block: self.part(block).gathered(),
            blocks,
            shape,
            stored,
            dtype,
            lane,
        )

    def _travels_to(self, device: torch.device) -> bool:
        """Return whether rows have to be copied to a device to be loaded there."""
        return device.type == "cuda" and self.values.device.type == "cpu"

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what a function returns for rows, below each other.

        Beside the result, no more is in memory than a block.
        """
        result: Tensor | None = None
        for block, rows in self.blocks():
            part = function(rows)
            if result is None:
                result = part.new_empty(len(self), *part.shape[1:])
            result[block] = part
        return function(self[:]) if result is None else result

    def copy(self) -> StoredFeatures:
        """Return a copy that nobody else can change, in the type that is stored."""
        return StoredFeatures(self.gathered().clone(), None, self.device, self.dtype)

    def dense(self) -> Tensor:
        """Return all rows as a tensor: meant for few of them."""
        return self[:]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns."""
        return len(self), self.values.shape[1]

    @property
    def device(self) -> torch.device:
        """Where rows are loaded to."""
        return self._device

    @overload
    def to(self, where: torch.device) -> StoredFeatures: ...

    @overload
    def to(self, where: torch.dtype) -> Tensor: ...

    def to(self, where: torch.device | torch.dtype) -> StoredFeatures | Tensor:
        """Return features that are loaded to a device, or a few loaded in a type."""
        if isinstance(where, torch.dtype):
            return self.loaded(slice(None), where)
        if self._travels_to(where):
            n_bytes = len(self) * self.shape[1] * self.values.element_size()
            if fits(n_bytes, where):
                return self._moved(where)
        return StoredFeatures(self.values, self.index, where, self.dtype)

    def _moved(self, device: torch.device) -> StoredFeatures:
        """Return the rows in the memory of a GPU, as they are stored."""
        stored = self.values.dtype
        values = torch.empty(*self.shape, dtype=stored, device=device)
        away = StoredFeatures(self.values, self.index, device, stored)
        for block, rows in away.blocks():
            values[block] = rows
        return StoredFeatures(values, None, device, self.dtype)

    def new_zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor of zeros."""
        return torch.zeros(*shape, dtype=dtype or self.dtype, device=self.device)

    def new_ones(self, *shape: int) -> Tensor:
        """Return a tensor of ones."""
        return torch.ones(*shape, dtype=self.dtype, device=self.device)

    def new_empty(self, *shape: int) -> Tensor:
        """Return a tensor that nothing was written to."""
        return torch.empty(*shape, dtype=self.dtype, device=self.device)

    def new_tensor(self, values: Any) -> Tensor:
        """Return values as a tensor."""
        return torch.as_tensor(values, dtype=self.dtype, device=self.device)

    def times(self, weights: Tensor) -> Tensor:
        """Return ``X @ weights.T``, (n_samples, n_weights)."""
        result = self.new_empty(len(self), len(weights))
        for block, rows in self.blocks():
            torch.mm(rows, weights.T, out=result[block])
        return result

    def adjoint(self, columns: Tensor) -> Tensor:
        """Return ``columns.T @ X``, (n_columns, n_features)."""
        result = self.new_zeros(columns.shape[1], self.shape[1])
        for block, rows in self.blocks():
            result.addmm_(columns[block].T, rows)
        return result

    @property
    def row_squares(self) -> Tensor:
        """Sum of squares of every row, (n_samples,)."""
        result = self.new_empty(len(self))
        for block, rows in self.blocks():
            result[block] = rows.square().sum(dim=1)
        return result

    def largest(self) -> float:
        """Return the largest magnitude of a value."""
        largest = 0.0
        for block in row_blocks(len(self)):
            least, most = self.part(block).gathered().aminmax()  # in the stored type
            largest = max(largest, -float(least), float(most))
        return largest

    def parts(self) -> list[np.ndarray]:
        """Return arrays of bytes that tell these features from others."""
        return [self.gathered().cpu().numpy()]

    def gathered(self) -> Tensor:
        """Return the rows in the type that is stored; a view if it is all of them."""
        return self.values if self.index is None else self.values[self.index]


def each_row(function: Callable[[Any], Tensor], features: Any) -> Tensor:
    """Return what a function returns for rows: of stored ones, a block at a time."""
    if isinstance(features, StoredFeatures):
        return features.mapped(function)
    return function(features)


def is_mapped(array: object) -> bool:
    """Return whether an array is a view of a file.

    Copies of a `numpy.memmap` are of its class, too, but lie in memory.
    """
    base = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None)
    return base is not None
