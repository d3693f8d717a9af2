"""Passes over training rows in blocks: memory does not grow with the number of rows.

Every pass is a map over blocks of rows, or the sum of what blocks contribute. Sums of
different rows can be added, so rows may be in several places: data that lie elsewhere
have the same passes as methods.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from .precision import full_precision

BLOCK_ROWS = 2048


class Rows(Protocol):
    """Rows that can be taken in blocks."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self, block: slice, /) -> Self:
        """Return some of the rows."""


@runtime_checkable
class Elsewhere(Protocol):
    """Rows that are not in this process; functions are sent to them, and pickled."""

    def map_blocks(
        self, function: Callable[[Any], Any], block_rows: int, /
    ) -> Iterator[tuple[slice, Any]]:
        """Yield what a function returns for each block of rows, in order."""

    def sum_blocks(
        self, add: Callable[[Any, Any], None], total: Any, block_rows: int, /
    ) -> Any:
        """Return a total of zero plus what blocks of rows contribute."""


@runtime_checkable
class Streamed(Protocol):
    """Rows that come in blocks by themselves, for example to a GPU."""

    def blocks(self, block_rows: int, /) -> Generator[tuple[slice, Any]]:
        """Yield slices in order, and these rows."""


Data = TypeVar("Data", bound=Rows)
Part = TypeVar("Part")


def row_blocks(n_rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover ``0 … n_rows - 1`` in order."""
    for start in range(0, n_rows, block_rows):
        yield slice(start, min(start + block_rows, n_rows))


def stride(n_rows: int, at_most: int) -> int:
    """Return the step with which at most this many rows are taken, evenly spread."""
    return max(1, -(-n_rows // max(1, at_most)))


def map_rows(
    function: Callable[[Data], Part], data: Data, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[slice, Part]]:
    """Yield what a function returns for each block of rows, in order."""
    if isinstance(data, Elsewhere):
        yield from data.map_blocks(function, block_rows)
        return
    with closing(_blocks(data, block_rows)) as blocks:
        for block, rows in blocks:
            with full_precision():
                part = function(rows)
            yield block, part


def sum_rows(
    add: Callable[[Part, Data], None],
    total: Part,
    data: Data,
    block_rows: int = BLOCK_ROWS,
) -> Part:
    """Return the sum of what blocks of rows contribute.

    Parameters
    ----------
    add : callable
        Adds to a total, in place, what some rows contribute. For rows that may be
        elsewhere, a function of a module with its other arguments bound by
        :func:`functools.partial`.
    total : object
        Zero at first. It becomes the sum. Tensors, or tuples, lists or dataclasses of
        them, can be added up wherever their rows are.
    data : Rows
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.
    """
    if isinstance(data, Elsewhere):
        summed: Part = data.sum_blocks(add, total, block_rows)
        return summed
    with closing(_blocks(data, block_rows)) as blocks, full_precision():
        for _, rows in blocks:
            add(total, rows)
    return total


def _blocks(data: Data, block_rows: int) -> Generator[tuple[slice, Data]]:
    """Yield slices in order, and these rows."""
    if isinstance(data, Streamed):
        yield from data.blocks(block_rows)
        return
    for block in row_blocks(len(data), block_rows):
        yield block, data.rows(block)
