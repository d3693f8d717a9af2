"""The same index in another order: refused, as of rows in this process.

Rows are matched by position. Partitions of two arguments hardly ever hold the same
labels where their order differs, so that only all partitions together can tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .collections import is_frame
from .graphs import tree_of
from .layout import Placed, blocks_of

# Of each argument whose index differs: the sum of the hashes of the labels of the first
# argument minus that of its own, the first row that differs, and both labels there.
_Moved = dict[str, tuple[int, int, Any, Any]]
_HASHES = 2**64


def check_order(client: Any, given: dict[str, Any], placed: dict[str, Placed]) -> None:
    """Refuse arguments with an index whose labels are the same in another order.

    Parameters
    ----------
    client : distributed.Client
    given : dict of str to object
        Arguments by name; "X" is one of them.
    placed : dict of str to Placed
        The same arguments where they lie.

    Raises
    ------
    ValueError
    """
    indexed = {
        name: _index_alone(placed[name])
        for name, value in given.items()
        if is_frame(value) or isinstance(value, pd.DataFrame | pd.Series)
    }
    lengths = placed["X"].lengths
    if len(indexed) < 2 or not sum(lengths):
        return
    blocks = blocks_of(client, indexed, lengths, _moved)
    graph, root = tree_of([block.key for block in blocks], _all_moved)
    found: _Moved = client.get(graph, root) if graph else blocks[0].result()
    first = next(iter(indexed))
    for name, (difference, row, here, there) in found.items():
        if difference % _HASHES or not _is_unique(client, indexed[first], lengths):
            continue  # other labels, or labels that name no row
        raise ValueError(
            f"{first} and {name} have the same index in another order: row {row:,} is "
            f"{here!r} in {first} and {there!r} in {name}, and rows are matched by "
            f"position. Take {first} and {name} from one dataframe, such as a join of "
            "both, if the index says what belongs together; or reset_index(drop=True) "
            "on both if the position does."
        )


def without_index(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of some rows, matched by position alone.

    The order of their index was checked over all rows.
    """
    return {
        name: value.reset_index(drop=True)
        if isinstance(value, pd.DataFrame | pd.Series)
        else value
        for name, value in given.items()
    }


def _index_alone(placed: Placed) -> Placed:
    """Return an argument of which only the index is sent, if it is in this process."""
    return placed if placed.value is None else replace(placed, value=placed.value.index)


def _moved(number: int, start: int, given: dict[str, Any]) -> _Moved:
    """Return what differs from the index of the first argument in a block."""
    (_, first), *others = ((name, _index_of(rows)) for name, rows in given.items())
    found = {}
    for name, index in others:
        if index.equals(first):
            continue
        own, its = _hashes(first), _hashes(index)
        differ = np.flatnonzero(own != its)
        if len(differ):
            here, there = (each[differ[:1]].tolist()[0] for each in (first, index))
            difference = int(own.sum()) - int(its.sum())
            found[name] = (difference, start + int(differ[0]), here, there)
    return found


def _all_moved(*parts: _Moved) -> _Moved:
    found: _Moved = {}
    for part in parts:
        for name, (difference, *where) in part.items():
            before, *earlier = found.get(name, (0, *where))
            found[name] = (before + difference, *earlier)
    return found


def _is_unique(client: Any, placed: Placed, lengths: list[int]) -> bool:
    """Return whether no label of an index is there twice, told by one worker."""
    blocks = blocks_of(client, {"": placed}, lengths, _hashes_of)
    found: bool = client.submit(_differ, *blocks, pure=False).result()
    return found


def _hashes_of(number: int, start: int, given: dict[str, Any]) -> np.ndarray:
    return _hashes(_index_of(given[""]))


def _differ(*hashes: np.ndarray) -> bool:
    together = np.concatenate(hashes)
    return len(np.unique(together)) == len(together)


def _index_of(rows: Any) -> pd.Index:
    return rows if isinstance(rows, pd.Index) else rows.index


def _hashes(index: pd.Index) -> np.ndarray:
    found: np.ndarray = pd.util.hash_pandas_object(index, index=False).to_numpy()
    return found
