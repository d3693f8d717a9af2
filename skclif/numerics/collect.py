"""What to keep of influence that arrives in blocks of training rows.

A collector is made once for all targets and filled by `add`: blocks of targets in any
order, for each of them blocks of rows in the order of the rows. Blocks have shape
(n_block_targets, n_block_rows, n_paths). What it keeps is `values`.
"""

import numpy as np


class KeepAll:
    """Keep everything, (n_targets, n_rows, n_paths), or its sum over paths."""

    def __init__(self, n_targets: int, n_rows: int, n_paths: int, *, paths: bool):
        self.paths = paths
        # Influence comes a path at a time: so it is stored, whatever axis is last.
        shape = (n_targets, n_paths, n_rows) if paths else (n_targets, n_rows)
        stored = np.empty(shape)
        self.values = np.moveaxis(stored, 1, 2) if paths else stored

    def add(self, targets: slice, block: slice, values: np.ndarray) -> None:
        """Take the influence of a block of rows on some targets."""
        self.values[targets, block] = values if self.paths else _over_paths(values)


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

    def add(self, targets: slice, block: slice, values: np.ndarray) -> None:
        """Take the influence of a block of rows on some targets."""
        kept = values if self.paths else _over_paths(values)
        by_row = np.moveaxis(kept, 1, 0)
        by_group = np.moveaxis(self.values[targets], 1, 0)
        np.add.at(by_group, self.codes[block], by_row)


class KeepTop:
    """Keep the k rows of largest influence a target, in O(n_targets * k) memory."""

    def __init__(
        self, n_targets: int, n_rows: int, k: int, n_paths: int, *, paths: bool
    ):
        self.k, self.paths = min(k, n_rows), paths
        self.rows = np.empty((n_targets, self.k), dtype=np.int64)
        shape = (n_targets, self.k, n_paths) if paths else (n_targets, self.k)
        self.values = np.empty(shape)

    def add(self, targets: slice, block: slice, values: np.ndarray) -> None:
        """Take the influence of a block of rows on some targets."""
        kept = values if self.paths else _over_paths(values)
        n_before = min(self.k, block.start)
        n_after = min(self.k, block.stop)
        rows, best = self.rows[targets], self.values[targets]
        new = np.broadcast_to(np.arange(block.start, block.stop), kept.shape[:2])
        new_rows = np.concatenate([rows[:, :n_before], new], axis=1)
        candidates = np.concatenate([best[:, :n_before], kept], axis=1)
        totals = candidates.sum(axis=2) if self.paths else candidates
        # A stable sort keeps the earlier row on ties, whatever the block size.
        order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, :n_after]
        rows[:, :n_after] = np.take_along_axis(new_rows, order, axis=1)
        if self.paths:
            order = order[:, :, None]
        best[:, :n_after] = np.take_along_axis(candidates, order, axis=1)


def _over_paths(values: np.ndarray) -> np.ndarray:
    if values.shape[2] == 1:
        return values[:, :, 0]
    total: np.ndarray = values.sum(axis=2, dtype=np.float64)
    return total
