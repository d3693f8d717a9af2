"""Passes over rows that lie on workers: one task for each shard, and a tree of sums.

Shards are consecutive rows that one worker holds, as futures of what was computed from
the given partitions. Dask knows how: if a worker dies, what was lost is computed again,
to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from ..numerics.blocks import map_rows, stride, sum_rows
from ..numerics.bottleneck import TrainingData
from ..numerics.precision import full_precision
from ..numerics.sampling import Choice, tally
from ..numerics.stored import StoredFeatures
from .graphs import Graph, tasks_of, tree_of
from .totals import added, blank, zeros

# All columns of the weights of rows.
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Shard:
    """Consecutive rows on one worker, divided as they were given.

    Attributes
    ----------
    parts : tuple of TrainingData
    weights : tuple of Tensor
        Of the rows as they were given, without those of classes.
    """

    parts: tuple[TrainingData, ...]
    weights: tuple[torch.Tensor, ...]

    @classmethod
    def of(cls, *shards: Shard) -> Shard:
        """Return the rows of all shards in order."""
        parts = tuple(part for shard in shards for part in shard.parts)
        return cls(parts, tuple(own for shard in shards for own in shard.weights))

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __sizeof__(self) -> int:  # by which Dask decides what to move
        return sum(map(_size_of, self.parts))


@dataclass(frozen=True, eq=False)
class RemoteFeatures:
    """What is known of features that are not in this process.

    Attributes
    ----------
    shape : tuple of int
    """

    shape: tuple[int, int]
    dtype = torch.float64
    device = torch.device("cpu")

    def __len__(self) -> int:
        return self.shape[0]

    def new_empty(self, *shape: int) -> torch.Tensor:
        """Return a tensor that nothing was written to."""
        return torch.empty(*shape, dtype=self.dtype)

    def new_zeros(self, *shape: int) -> torch.Tensor:
        """Return a tensor of zeros."""
        return torch.zeros(*shape, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class RemoteData:
    """Training data on workers: what `TrainingData` is in this process.

    Attributes
    ----------
    client : distributed.Client
    shards : tuple of Future of Shard
    lengths : tuple of int
        Number of rows of each shard.
    n_features, n_concepts : int
    dtype : torch.dtype
        In which passes load the features.
    """

    client: Any
    shards: tuple[Any, ...]
    lengths: tuple[int, ...]
    n_features: int
    n_concepts: int
    dtype: torch.dtype = torch.float64

    def __len__(self) -> int:
        return sum(self.lengths)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Position of the first row of each shard."""
        return (0, *np.cumsum(self.lengths[:-1], dtype=int).tolist())

    @cached_property
    def features(self) -> RemoteFeatures:
        """What is known of the features."""
        return RemoteFeatures((len(self), self.n_features))

    @property
    def label_weights(self) -> torch.Tensor:
        """No weights, of the type and on the device that results have."""
        return self.features.new_empty(0)

    def check_client(self) -> None:
        """Refuse to ask a client that was closed: the rows went with it.

        Raises
        ------
        RuntimeError
        """
        if self.client.status in ("closing", "closed"):
            raise RuntimeError(
                "The Dask client by which this explainer was fitted is closed, and its "
                "rows on the cluster went with it. Fit the explainer again, and ask it "
                "before the client is closed."
            )

    def to(self, device: torch.device) -> RemoteData:
        """Return the same data: they are computed with where they lie."""
        return self

    def counted(self) -> RemoteData:
        """Return the rows with weight in a head; the others do not move an optimum."""
        lengths = tuple(self.each(partial(_n_counted, _ALL)))
        if sum(lengths) == len(self):
            return self
        return self.mapped(partial(_counted, _ALL), lengths)

    def mapped(
        self, function: Callable[[Shard], Shard], lengths: tuple[int, ...]
    ) -> RemoteData:
        """Return what a function makes of every shard, left on the workers."""
        graph, keys = self._tasks(function, "rows")
        futures = self.client.get(graph, keys, sync=False)
        return replace(self, shards=tuple(futures), lengths=lengths)

    def loading(self, dtype: torch.dtype) -> RemoteData:
        """Return the same rows, of which passes load the features in another type."""
        return replace(self, dtype=dtype)

    def with_weight_in(self, heads: slice) -> RemoteData:
        """Return the rows that have weight for heads, unless that is most of them."""
        lengths = tuple(self.each(partial(_n_counted, heads)))
        if 2 * sum(lengths) > len(self):
            return self
        return self.mapped(partial(_counted, heads), lengths)

    def with_sample_weight(self) -> RemoteData:
        """Return the rows with the weights that they were given in the label head."""
        return self.mapped(_with_sample_weight, self.lengths)

    def on_sample(
        self, function: Callable[..., Any], n_rows: int, *, weighted: bool = False
    ) -> Any:
        """Return what a function makes of a sample of rows, on one of the workers.

        The sample is that of the same rows in this process. It is gathered there.

        Parameters
        ----------
        function : callable
            Takes rows; and their weights as they were given, if `weighted`.
        n_rows : int
            About how many.
        weighted : bool, default=False
        """
        from dask.task_spec import Task, TaskRef

        step = stride(len(self), n_rows)
        starts = [(start,) for start in self.starts]
        graph, keys = self._tasks(partial(_tally, step), "count", starts)
        counts = torch.stack(self.client.get(graph, keys))
        choice = Choice.of(len(self), n_rows, counts.sum(dim=0))
        before = (counts.cumsum(dim=0) - counts)[:, 1]
        take = partial(_chosen, self.dtype, choice)
        run = partial(_of_sample, function, weighted)
        cuts = list(zip(self.starts, before, strict=True))
        graph, keys = self._tasks(take, "sample", cuts)
        key = f"{keys[0]}-of-all"
        graph[key] = Task(key, run, *map(TaskRef, keys))
        return self.client.get(graph, key)

    def rows(self, block: slice) -> TrainingData:
        """Return no rows, as the numerics take them: rows do not come here."""
        if len(range(len(self))[block]):
            raise ValueError(f"rows {block} are on workers; send a function to them")
        shape = (0, self.n_concepts)
        numbers = torch.empty(0, dtype=self.dtype)
        return TrainingData(
            numbers.new_empty(0, self.n_features),
            torch.empty(0, dtype=torch.int64),
            numbers,
            numbers.new_empty(shape),
            torch.empty(shape, dtype=torch.bool),
            numbers.new_empty(shape),
        )

    def sum_blocks(
        self, add: Callable[[Any, Any], None], total: Any, block_rows: int
    ) -> Any:
        """Return a total of zero plus what blocks of rows contribute."""
        run = partial(_sum_of, self.dtype, add, blank(total), block_rows)
        found = self.total(run)
        return added(total, found)

    def map_blocks(
        self, function: Callable[[Any], Any], block_rows: int
    ) -> Iterator[tuple[slice, Any]]:
        """Yield what a function returns for each block of rows, in order.

        It comes to this process a shard at a time: meant for what was asked for.
        """
        run = partial(_blocks_of, self.dtype, function, block_rows)
        graph, keys = self._tasks(run, "blocks")
        futures = list(self.client.get(graph, keys, sync=False))
        for start in self.starts:
            for block, part in futures.pop(0).result():
                yield slice(start + block.start, start + block.stop), part

    def each(self, function: Callable[[Shard], Any]) -> list[Any]:
        """Return what a function returns for each shard: meant for few numbers."""
        graph, keys = self._tasks(function, "each")
        found: list[Any] = self.client.get(graph, keys)
        return found

    def total(
        self,
        function: Callable[..., Any],
        join: Callable[..., Any] = added,
        *,
        beside: Sequence[Any] | None = None,
    ) -> Any:
        """Return what a function makes of all shards, joined in a tree on the workers.

        Parameters
        ----------
        function : callable
            Takes a shard, the position of its first row, and what is beside it.
        join : callable
            Takes what `function` and itself return, a few of them in order.
        beside : sequence of Future, default=None
            One more argument for each shard.
        """
        more = self._beside(beside)
        graph, keys = self._tasks(function, "sum", more)
        tree, root = tree_of(keys, join)
        return self.client.get({**graph, **tree}, root)

    def _beside(self, futures: Sequence[Any] | None) -> list[tuple[Any, ...]]:
        """Return the other arguments of a task for each shard."""
        from dask.task_spec import TaskRef

        if futures is None:
            return [(start,) for start in self.starts]
        pairs = zip(self.starts, futures, strict=True)
        return [(start, TaskRef(future.key)) for start, future in pairs]

    def _tasks(
        self,
        function: Callable[..., Any],
        name: str,
        literals: list[tuple[Any, ...]] | None = None,
    ) -> tuple[Graph, list[str]]:
        keys = [shard.key for shard in self.shards]
        return tasks_of(function, keys, name, literals=literals)


def _sum_of(
    dtype: torch.dtype, add: Any, total: Any, block_rows: int, shard: Shard, start: int
) -> Any:
    total = zeros(total)
    for part in shard.parts:
        total = sum_rows(add, total, _loading(part, dtype), block_rows)
    return total


def _blocks_of(
    dtype: torch.dtype, function: Any, block_rows: int, shard: Shard
) -> list[tuple[slice, Any]]:
    found, start = [], 0
    for part in shard.parts:
        for block, value in map_rows(function, _loading(part, dtype), block_rows):
            found.append((slice(start + block.start, start + block.stop), value))
        start += len(part)
    return found


def _joined_rows(parts: list[TrainingData]) -> TrainingData:
    columns = (
        torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(TrainingData)
    )
    return TrainingData(*columns)


def _loading(part: TrainingData, dtype: torch.dtype) -> TrainingData:
    return part if dtype == torch.float64 else part.loading(dtype)


def _n_counted(heads: slice, shard: Shard) -> int:
    return sum(int(_counts(part, heads).sum()) for part in shard.parts)


def _counted(heads: slice, shard: Shard) -> Shard:
    kept = [_counts(part, heads) for part in shard.parts]
    parts = tuple(p.part(own) for p, own in zip(shard.parts, kept, strict=True))
    return Shard(parts, tuple(w[k] for w, k in zip(shard.weights, kept, strict=True)))


def _with_sample_weight(shard: Shard) -> Shard:
    pairs = zip(shard.parts, shard.weights, strict=True)
    parts = (replace(part, label_weights=weights) for part, weights in pairs)
    return replace(shard, parts=tuple(parts))


def _counts(part: TrainingData, heads: slice) -> torch.Tensor:
    return part.has_weight[:, heads].any(dim=1)


def _tally(step: int, shard: Shard, start: int) -> torch.Tensor:
    return tally(_has_weight(shard), start, step)


def _chosen(
    dtype: torch.dtype, choice: Choice, shard: Shard, start: int, before: torch.Tensor
) -> tuple[TrainingData, torch.Tensor]:
    """Return the rows of a shard that are in a sample, loaded, and their weights."""
    chosen = choice.rows(_has_weight(shard), start, before)
    cuts = torch.split(chosen, [len(part) for part in shard.parts])
    pairs = zip(shard.parts, cuts, strict=True)
    rows = [_loading(part, dtype).rows(own) for part, own in pairs]
    return _joined_rows(rows), torch.cat(shard.weights)[chosen]


def _of_sample(
    function: Callable[..., Any],
    weighted: bool,
    *parts: tuple[TrainingData, torch.Tensor],
) -> Any:
    rows, weights = zip(*parts, strict=True)
    given = (_joined_rows(list(rows)), torch.cat(weights))
    with full_precision():
        return function(*given) if weighted else function(given[0])


def _has_weight(shard: Shard) -> torch.Tensor:
    return torch.cat([part.has_weight for part in shard.parts])


def _size_of(part: TrainingData) -> int:
    features: Any = part.features
    values = features.values if isinstance(features, StoredFeatures) else features
    n_numbers = 2 * len(part.labels) + 3 * part.concepts.numel()
    return int(values.nbytes + 8 * n_numbers)
