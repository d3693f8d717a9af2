"""Influence of training rows that lie on a cluster: to first order, summed up there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from .._cluster.graphs import tasks_of
from .._cluster.layout import blocks_of, place
from .._cluster.passes import RemoteData, Shard
from .._inputs.progress import Progress
from .._inputs.training_rows import TrainingRows
from .._models.fitted import FittedHeads
from .._results.words import column_of_concept
from ..numerics.bottleneck import Bottleneck
from ..numerics.first_order import Adjoint, first_order
from .collect import KeepTop, RemoteGroups, SumGroups
from .confirm import Answered
from .readable import annotations_of, labels_of
from .requests import check_groups

METHOD = "first_order"
_DOING = "Influence by first order"


@dataclass(frozen=True, eq=False)
class Top:
    """The rows of largest influence of some rows.

    Attributes
    ----------
    k : int
        How many are wanted.
    rows, totals : ndarray of shape (n_targets, k)
    values : ndarray of shape (n_targets, k) or (n_targets, k, n_paths)
    """

    k: int
    rows: np.ndarray
    totals: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class _FirstOrder:
    """Influence of some rows, to first order."""

    bottleneck: Bottleneck
    adjoint: Adjoint
    dtype: torch.dtype
    paths: bool

    @property
    def n_paths(self) -> int:
        """Number of paths that are kept."""
        has_residual = self.adjoint.residual is not None
        return 1 + len(self.adjoint.concepts) + has_residual if self.paths else 1

    def blocks(self, shard: Shard) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield positions in a shard, and the influence of these rows."""
        start = 0
        for part in shard.parts:
            for block, values in first_order(
                self.bottleneck, part, self.adjoint, dtype=self.dtype, paths=self.paths
            ):
                at = slice(start + block.start, start + block.stop)
                yield at, values.cpu().numpy()
            start += len(part)


def answer(
    data: RemoteData,
    bottleneck: Bottleneck,
    adjoints: Iterable[Adjoint],
    dtype: torch.dtype,
    kept: KeepTop | SumGroups,
    *,
    paths: bool,
    progress: Progress,
) -> Answered:
    """Return what a collector keeps of influence, put together on the workers.

    Parameters
    ----------
    data : RemoteData
    bottleneck : Bottleneck
    adjoints : iterable of Adjoint
        Of blocks of answers.
    dtype : torch.dtype
        Of products with the features.
    kept : KeepTop or SumGroups
        For all answers; nothing was added yet.
    paths : bool
        Whether the paths are wanted by themselves.
    progress : Progress
    """
    start = 0
    with progress.stage(_DOING, len(kept.values)) as advance:
        for adjoint in adjoints:
            answers = slice(start, start + len(adjoint.label))
            start = answers.stop
            ask = _FirstOrder(bottleneck, adjoint, dtype, paths)
            if isinstance(kept, KeepTop):
                kept.put(answers, data.total(partial(_top_of, ask, kept.k), best_of))
            else:
                add = partial(_sums_of, ask, len(kept.names))
                kept.values[answers] += data.total(add, beside=list(kept.codes))
            advance(len(adjoint.label))
    rows = kept.rows if isinstance(kept, KeepTop) else None
    return Answered(METHOD, kept.values, rows)


def groups_on_cluster(groups: Any, data: RemoteData) -> RemoteGroups:
    """Return the groups of rows on a cluster, where the rows are.

    Parameters
    ----------
    groups : Dask array or series, or array-like of shape (n_train,)
    data : RemoteData
        The training rows.
    """
    placed = place(data.client, {"groups": groups}, len(data))
    columns = blocks_of(data.client, placed, data.lengths, _groups_of_block)
    found = data.total(_names_in, _all_names, beside=columns)
    _, names = check_groups(found, len(found))
    graph, keys = tasks_of(partial(_codes_in, names), [c.key for c in columns], "codes")
    codes = np.empty(len(keys), dtype=object)
    codes[:] = list(data.client.get(graph, keys, sync=False))
    return RemoteGroups(codes, names)


def shown_rows(
    data: RemoteData, heads: FittedHeads, positions: np.ndarray
) -> pd.DataFrame:
    """Return what is known of a few training rows, by their positions."""
    wanted = np.unique(positions)
    labels, codes, annotated = data.total(partial(_known_of, wanted), _below)
    codes = np.where(annotated, codes, np.nan)
    weights = np.ones(len(wanted))
    none = np.empty((len(wanted), 0))
    rows = TrainingRows(
        none, labels, weights, codes, np.ones(codes.shape), heads.class_weight
    )
    known = {"label": labels_of(heads, rows)}
    for name, values in annotations_of(heads, rows).items():
        known[column_of_concept(name, known)] = values
    return pd.DataFrame(known, index=wanted)


def best_of(*parts: Top) -> Top:
    """Return the rows of largest influence of those of several shards, in order."""
    k = max(part.k for part in parts)
    rows, totals, values = (
        np.concatenate([getattr(part, name) for part in parts], axis=1)
        for name in ("rows", "totals", "values")
    )
    # As in a collector: earlier rows first on ties, NaN last.
    order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, :k]
    at = order if values.ndim == 2 else order[:, :, None]
    return Top(
        k,
        np.take_along_axis(rows, order, axis=1),
        np.take_along_axis(totals, order, axis=1),
        np.take_along_axis(values, at, axis=1),
    )


def _top_of(ask: _FirstOrder, k: int, shard: Shard, start: int) -> Top:
    n_targets = len(ask.adjoint.label)
    kept = KeepTop(n_targets, len(shard), k, ask.n_paths, paths=ask.paths)
    for block, values in ask.blocks(shard):
        kept.add(slice(0, n_targets), block, values)
    return Top(k, start + kept.rows, kept.totals, kept.values)


def _sums_of(
    ask: _FirstOrder, n_groups: int, shard: Shard, start: int, codes: np.ndarray
) -> np.ndarray:
    n_targets = len(ask.adjoint.label)
    kept = SumGroups(
        n_targets, ask.n_paths, codes, np.arange(n_groups), paths=ask.paths
    )
    for block, values in ask.blocks(shard):
        kept.add(slice(0, n_targets), block, values)
    return kept.values


def _groups_of_block(number: int, start: int, given: dict[str, Any]) -> np.ndarray:
    try:
        codes, names = check_groups(given["groups"], len(given["groups"]))
    except ValueError as error:
        if "training row" not in str(error):
            raise
        raise ValueError(
            f"{error} Rows are counted from training row {start:,} of all."
        ) from error
    found: np.ndarray = names[codes]
    return found


def _names_in(shard: Shard, start: int, groups: np.ndarray) -> np.ndarray:
    return np.unique(groups)


def _all_names(*names: np.ndarray) -> np.ndarray:
    return np.unique(np.concatenate(names))


def _codes_in(names: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return pd.Index(names).get_indexer(pd.Index(groups))


def _known_of(wanted: np.ndarray, shard: Shard, start: int) -> tuple[np.ndarray, ...]:
    """Return labels and annotations of those of some rows that are in a shard."""
    found = []
    for part in shard.parts:
        stop = start + len(part)
        own = torch.from_numpy(wanted[(start <= wanted) & (wanted < stop)] - start)
        found.append(
            tuple(
                getattr(part, name)[own].numpy()
                for name in ("labels", "concepts", "annotated")
            )
        )
        start = stop
    return _below(*found)


def _below(*parts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
