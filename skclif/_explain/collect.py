"""Collectors: what to keep of influence that arrives in blocks of training rows.

A collector is made once for all targets. `add` takes blocks of shape (n_block_targets,
n_block_rows, n_paths): blocks of targets in any order, and for each of them blocks of
rows in the order of the rows. `values` is what the collector keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np


class KeepAll:
    """Keep everything, (n_targets, n_rows, n_paths), or its sum over paths.

    Parameters
    ----------
    values : ndarray
        Where it is kept, of this shape; without the last axis if paths are summed.
    paths : bool
    """

    def __init__(self, values: np.ndarray, *, paths: bool):
        self.values, self.paths = values, paths

    @classmethod
    def in_memory(
        cls, n_targets: int, n_rows: int, n_paths: int, *, paths: bool
    ) -> Self:
        """Return what keeps everything in memory."""
        # Influence arrives one path at a time, and is stored in that order.
        shape = (n_targets, n_paths, n_rows) if paths else (n_targets, n_rows)
        stored = np.empty(shape)
        return cls(np.moveaxis(stored, 1, 2) if paths else stored, paths=paths)

    def totals(self, targets: slice) -> np.ndarray:
        """Return the influence of whole rows on some targets, (n_block, n_rows)."""
        kept: np.ndarray = self.values[targets]
        return np.asarray(kept.sum(axis=2)) if self.paths else kept

    def add(
        self, targets: slice, block: slice | np.ndarray, values: np.ndarray
    ) -> None:
        """Take the influence of a block of rows, or of positions, on some targets."""
        self.values[targets, block] = values if self.paths else _over_paths(values)


@dataclass(frozen=True, eq=False)
class RemoteGroups:
    """The groups of training rows on a cluster.

    Attributes
    ----------
    codes : ndarray of Future, object
        Of an array with the position of every row's group in `names`, for each shard.
    names : ndarray of shape (n_groups,)
    """

    codes: np.ndarray
    names: np.ndarray


class SumGroups:
    """Sum over groups of rows, (n_targets, n_groups, n_paths), or keep theirs.

    Parameters
    ----------
    n_targets, n_paths : int
    codes : ndarray of shape (n_rows,)
        The position of each row's group in `names`; as in `RemoteGroups` for rows that
        are on a cluster.
    names : ndarray of shape (n_groups,)
    paths : bool
    """

    def __init__(
        self,
        n_targets: int,
        n_paths: int,
        codes: np.ndarray,
        names: np.ndarray,
        *,
        paths: bool,
    ):
        self.paths, self.codes, self.names = paths, codes, names
        n_groups = len(names)
        shape = (n_targets, n_groups, n_paths) if paths else (n_targets, n_groups)
        self.values = np.zeros(shape)

    def add(self, targets: slice, block: slice, values: np.ndarray) -> None:
        """Take the influence of a block of rows on some targets."""
        kept = values if self.paths else _over_paths(values)
        by_row = np.moveaxis(kept, 1, 0)
        by_group = np.moveaxis(self.values[targets], 1, 0)
        np.add.at(by_group, self.codes[block], by_row)

    def sets(self) -> list[np.ndarray]:
        """Return the positions of the rows of every group."""
        order = np.argsort(self.codes, kind="stable")
        sizes = np.bincount(self.codes, minlength=len(self.names))
        return np.split(order, sizes.cumsum()[:-1])

    def put(self, groups: np.ndarray, values: np.ndarray) -> None:
        """Take the influence of whole groups on all targets."""
        self.values[:, groups] = values if self.paths else _over_paths(values)


class KeepTop:
    """Keep the k rows of largest influence for each target.

    This takes memory of O(n_targets * k).
    """

    def __init__(
        self, n_targets: int, n_rows: int, k: int, n_paths: int, *, paths: bool
    ):
        self.k, self.paths = min(k, n_rows), paths
        self.rows = np.empty((n_targets, self.k), dtype=np.int64)
        self._totals = np.empty((n_targets, self.k))
        shape = (n_targets, self.k, n_paths)
        self.values = np.empty(shape) if paths else self._totals

    def add(self, targets: slice, block: slice, values: np.ndarray) -> None:
        """Take the influence of a block of rows on some targets."""
        totals = _over_paths(values)
        rows = np.broadcast_to(np.arange(block.start, block.stop), totals.shape)
        n_before = min(self.k, block.start)
        if n_before == self.k:  # few rows of a block are among the best so far
            chosen = self._better(targets, totals)
            if not chosen.shape[1]:
                return
            rows = rows[0, chosen]
            # What only fills up is as NaN: below every number, and behind NaN before.
            filled = np.where(chosen < 0, np.nan, np.take_along_axis(totals, chosen, 1))
            if self.paths:
                values = np.take_along_axis(values, chosen[:, :, None], axis=1)
            totals = filled
        known = np.s_[targets, :n_before]
        rows = np.concatenate([self.rows[known], rows], axis=1)
        totals = np.concatenate([self._totals[known], totals], axis=1)
        # A stable sort keeps the earlier row on ties, whatever the block size.
        order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, : self.k]
        best = np.s_[targets, : order.shape[1]]
        self.rows[best] = np.take_along_axis(rows, order, axis=1)
        self._totals[best] = np.take_along_axis(totals, order, axis=1)
        if self.paths:
            values = np.concatenate([self.values[known], values], axis=1)
            self.values[best] = np.take_along_axis(values, order[:, :, None], axis=1)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What is kept so far, for `resume`."""
        kept = {"rows": self.rows, "totals": self._totals}
        return {**kept, "values": self.values} if self.paths else kept

    def resume(self, state: Mapping[str, np.ndarray]) -> None:
        """Take what was kept before."""
        for name, array in self.state.items():
            array[...] = state[name]

    @property
    def totals(self) -> np.ndarray:
        """Influence of whole rows, (n_targets, k)."""
        return self._totals

    def put(self, targets: slice, found: Any) -> None:
        """Take the best of all rows on some targets, with `rows` and so on."""
        self.rows[targets], self._totals[targets] = found.rows, found.totals
        self.values[targets] = found.values

    def _better(self, targets: slice, totals: np.ndarray) -> np.ndarray:
        """Return the columns that may belong to the best of each target.

        They are in order, and -1 fills up where other targets have more of them.
        """
        # NaN is below every number, as in a sort by magnitude.
        better = ~(np.abs(totals) <= np.abs(self._totals[targets, -1:]))
        row, column = np.nonzero(better)
        counts = np.bincount(row, minlength=len(totals))
        chosen = np.full((len(totals), counts.max(initial=0)), -1)
        first = np.repeat(counts.cumsum() - counts, counts)
        chosen[row, np.arange(len(row)) - first] = column
        return chosen


def _over_paths(values: np.ndarray) -> np.ndarray:
    """Return the influence of whole rows, (n_targets, n_rows)."""
    if values.shape[2] == 1:
        return values[:, :, 0]
    # Paths come one after the other in memory.
    total = values[:, :, 0].astype(np.float64)
    for path in range(1, values.shape[2]):
        total += values[:, :, path]
    return total
