"""Passes over training rows in blocks: memory does not grow with their number."""

from collections.abc import Iterator

BLOCK_ROWS = 2048


def row_blocks(n_rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover ``0 … n_rows - 1`` in order."""
    for start in range(0, n_rows, block_rows):
        yield slice(start, min(start + block_rows, n_rows))
