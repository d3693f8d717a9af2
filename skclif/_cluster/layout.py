"""Where rows lie: partitions of one collection, and those of others aligned to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .._inputs.checks import as_rows, check_length, count_rows
from .._inputs.collections import described, is_collection
from .collections import check_kind, is_frame
from .graphs import Graph, tasks_of


@dataclass(frozen=True, eq=False)
class Placed:
    """An argument by its rows: partitions on the cluster, or an object in this process.

    Attributes
    ----------
    partitions : list of Future, or None
    lengths : list of int
        Number of rows of each partition.
    value : object
        What is in this process.
    """

    partitions: list[Any] | None
    lengths: list[int]
    value: Any = None

    def __len__(self) -> int:
        return sum(self.lengths)

    def pieces(self, start: int, stop: int) -> list[tuple[Any, int, int]]:
        """Return what holds some of the rows, and which of its rows they are."""
        if self.partitions is None:
            return [(_taken(self.value, start, stop), 0, stop - start)]
        found = []
        bounds = pairwise(accumulate(self.lengths, initial=0))
        for part, (first, last) in zip(self.partitions, bounds, strict=True):
            low, high = max(start, first), min(stop, last)
            if low < high:
                found.append((part, low - first, high - first))
        return found


def place(
    client: Any, given: dict[str, Any], n_rows: int | None = None
) -> dict[str, Placed]:
    """Start to compute the partitions of arguments, and count their rows.

    Parameters
    ----------
    client : distributed.Client
    given : dict of str to object
        Arguments by name; rows are matched by position.
    n_rows : int, default=None
        Number of rows that each has to have. None is that of "X".

    Raises
    ------
    TypeError
        If "X" is in this process, and others are not.
    ValueError
        If lengths differ.
    """
    for name, value in given.items():
        if is_collection(value) and not is_collection(given.get("X", value)):
            raise TypeError(
                f"{name} is {described(value)}, and X is {described(given['X'])}: rows "
                "are computed with where those of X lie. Pass X as a Dask collection "
                "too, for example by dask.array.from_array(X, chunks=10_000), or "
                f"{name}.compute(). Steps of scikit-learn in a pipeline before the "
                "classifier make arrays of Dask collections: leave them out."
            )
    parts = {n: _partitions(client, n, v) for n, v in given.items() if is_collection(v)}
    known = {name: _known_lengths(given[name]) for name in parts}
    unknown = [name for name, lengths in known.items() if lengths is None]
    keys = [part.key for name in unknown for part in parts[name]]
    counts = iter(_counted(client, keys))
    placed = {}
    for name, value in given.items():
        if name in parts:
            lengths = known[name] or [next(counts) for _ in parts[name]]
            placed[name] = Placed(parts[name], lengths)
        else:
            rows = as_rows(value, name)
            placed[name] = Placed(None, [count_rows(rows, name)], rows)
    n_rows = len(placed["X"]) if n_rows is None else n_rows
    for name, one in placed.items():
        check_length(name, len(one), n_rows)
    return placed


def blocks_of(
    client: Any,
    placed: dict[str, Placed],
    lengths: Sequence[int],
    read: Callable[..., Any],
) -> list[Any]:
    """Return futures of what a function reads of blocks of rows that have any.

    Parameters
    ----------
    client : distributed.Client
    placed : dict of str to Placed
    lengths : sequence of int
        Number of rows of each block.
    read : callable
        Takes the number of the block, the position of its first row, and the arguments
        by name, with the same rows.
    """
    from dask.task_spec import Task, TaskRef

    stem = f"skclif-read-{uuid.uuid4().hex}"
    graph: Graph = {}
    starts = accumulate(lengths, initial=0)
    for number, (start, stop) in enumerate(pairwise(starts)):
        if start == stop:
            continue
        names, cuts, pieces = [], [], []
        for name, one in placed.items():
            for piece, low, high in one.pieces(start, stop):
                names.append(name)
                cuts.append((low, high))
                pieces.append(TaskRef(piece.key) if hasattr(piece, "key") else piece)
        plan = (number, start, tuple(names), tuple(cuts))
        key = f"{stem}-{number}"
        graph[key] = Task(key, _read_block, read, plan, *pieces)
    return list(client.get(graph, list(graph), sync=False)) if graph else []


def _read_block(
    read: Callable[..., Any],
    plan: tuple[int, int, tuple[str, ...], tuple[tuple[int, int], ...]],
    *pieces: Any,
) -> Any:
    number, start, names, cuts = plan
    given: dict[str, list[Any]] = {}
    for name, (low, high), piece in zip(names, cuts, pieces, strict=True):
        given.setdefault(name, []).append(_taken(piece, low, high))
    return read(number, start, {name: _below(parts) for name, parts in given.items()})


def _taken(value: Any, start: int, stop: int) -> Any:
    return value.iloc[start:stop] if hasattr(value, "iloc") else value[start:stop]


def _below(parts: list[Any]) -> Any:
    """Return the rows of all parts below each other."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], pd.DataFrame | pd.Series):
        return pd.concat(parts)
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def _partitions(client: Any, name: str, collection: Any) -> list[Any]:
    """Return futures of the partitions of a collection, whole rows each."""
    check_kind(name, collection)
    if not is_frame(collection):
        if collection.ndim > 1:
            collection = collection.rechunk(
                dict.fromkeys(range(1, collection.ndim), -1)
            )
        delayed = collection.to_delayed().ravel().tolist()
    else:
        delayed = collection.to_delayed()
    found: list[Any] = client.compute(delayed)
    return found


def _known_lengths(collection: Any) -> list[int] | None:
    """Return the lengths of partitions, None if only the cluster can count them."""
    if is_frame(collection) or np.isnan(collection.chunks[0]).any():
        return None
    return [int(n) for n in collection.chunks[0]]


def _counted(client: Any, keys: Sequence[str]) -> list[int]:
    graph, made = tasks_of(_length, keys, "skclif-count")
    found: list[int] = client.get(graph, made) if made else []
    return found


def _length(part: Any) -> int:
    return int(part.shape[0]) if hasattr(part, "shape") else len(part)
