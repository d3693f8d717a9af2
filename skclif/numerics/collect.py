"""What to keep of influence that arrives in blocks of training rows.

Every collector takes blocks in the order of the rows by `add`, and keeps `values`.
"""

import numpy as np


class KeepAll:
    """Keep everything, (n_targets, n_rows, n_paths), or its sum over paths."""

    def __init__(self, n_targets: int, n_rows: int, n_paths: int, *, paths: bool):
        self.paths = paths
        shape = (n_targets, n_rows, n_paths) if paths else (n_targets, n_rows)
        self.values = np.empty(shape)

    def add(self, block: slice, values: np.ndarray) -> None:
        """Take values of shape (n_targets, n_block, n_paths)."""
        self.values[:, block] = values if self.paths else values.sum(axis=2)


class SumGroups:
    """Sum over groups of rows, (n_targets, n_groups, n_paths)."""

    def __init__(
        self,
        n_targets: int,
        n_groups: int,
        n_paths: int,
        codes: np.ndarray,
        *,
        paths: bool,
    ):
        self.paths, self.codes = paths, codes
        shape = (n_targets, n_groups, n_paths) if paths else (n_targets, n_groups)
        self.values = np.zeros(shape)

    def add(self, block: slice, values: np.ndarray) -> None:
        """Take values of shape (n_targets, n_block, n_paths)."""
        kept = values if self.paths else values.sum(axis=2)
        by_row, by_group = np.moveaxis(kept, 1, 0), np.moveaxis(self.values, 1, 0)
        np.add.at(by_group, self.codes[block], by_row)


class KeepTop:
    """Keep the k rows of largest influence a target, in O(n_targets * k) memory."""

    def __init__(self, n_targets: int, k: int, n_paths: int, *, paths: bool):
        self.k, self.paths = k, paths
        self.rows = np.empty((n_targets, 0), dtype=np.int64)
        shape = (n_targets, 0, n_paths) if paths else (n_targets, 0)
        self.values = np.empty(shape)

    def add(self, block: slice, values: np.ndarray) -> None:
        """Take values of shape (n_targets, n_block, n_paths)."""
        kept = values if self.paths else values.sum(axis=2)
        new = np.broadcast_to(
            np.arange(block.start, block.stop), (len(values), values.shape[1])
        )
        rows = np.concatenate([self.rows, new], axis=1)
        candidates = np.concatenate([self.values, kept], axis=1)
        totals = candidates.sum(axis=2) if self.paths else candidates
        # A stable sort keeps the earlier row on ties, whatever the block size.
        order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, : self.k]
        self.rows = np.take_along_axis(rows, order, axis=1)
        if self.paths:
            order = order[:, :, None]
        self.values = np.take_along_axis(candidates, order, axis=1)
