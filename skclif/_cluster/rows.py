"""Training rows of a fit on workers: checked, learned from, coded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone

from .._inputs.annotations import Annotations
from .._inputs.checks import check_weights
from .._inputs.features import check_features
from .._inputs.schema import ConceptSchema
from .._inputs.training_rows import TrainingRows, as_tensor
from ..numerics.sparse import Matrix, SparseFeatures
from ..numerics.stored import StoredFeatures
from .collections import active_client
from .graphs import tasks_of, tree_of
from .layout import blocks_of, place
from .lazily import rows_like
from .learning import Learned, check_block_labels, joined
from .order import check_order, without_index
from .passes import RemoteData, Shard

# What an estimator has learned of the columns of X.
_OF_INPUT = ("n_features_in_", "feature_names_in_")


@dataclass(frozen=True, eq=False)
class Block:
    """Checked rows of one partition.

    Attributes
    ----------
    features : ndarray or StoredFeatures
    labels, weights : ndarray of shape (n_rows,)
    given : object
        The labels as they came.
    annotations : Annotations or None
    """

    features: Matrix
    labels: np.ndarray
    weights: np.ndarray
    given: Any
    annotations: Annotations | None

    def __sizeof__(self) -> int:  # by which Dask decides what to move
        features: Any = self.features
        values = features.values if isinstance(features, StoredFeatures) else features
        return int(values.nbytes)


@dataclass(frozen=True, eq=False)
class RemoteRows:
    """Training rows on workers, checked.

    Attributes
    ----------
    client : distributed.Client
    blocks : list of Future of Block
    lengths : list of int
        Number of rows of each block.
    n_features : int
    """

    client: Any
    blocks: list[Any]
    lengths: list[int]
    n_features: int

    @classmethod
    def read(cls, estimator: Any, what: str, given: dict[str, Any]) -> RemoteRows:
        """Check rows where they lie.

        Parameters
        ----------
        estimator : estimator
            Learns the number and the names of features.
        what : str
            What needs workers, as the subject of a sentence.
        given : dict of str to object
            The arguments of `fit` by name, without those that are None.
        """
        client = active_client(what)
        example = rows_like(given["X"], 1)
        placed = place(client, given)
        check_order(client, given, placed)
        check_features(estimator, example[: len(placed["X"])], reset=True)
        alike = clone(estimator)
        vars(alike).update({n: v for n, v in vars(estimator).items() if n in _OF_INPUT})
        read = partial(read_block, alike)
        lengths = placed["X"].lengths
        blocks = blocks_of(client, placed, lengths, read)
        return cls(client, blocks, [n for n in lengths if n], estimator.n_features_in_)

    def __len__(self) -> int:
        return sum(self.lengths)

    def learned(self, kinds: dict[str, str] | None) -> Learned:
        """Return what the rows say of labels and concepts."""
        graph, keys = self._tasks(partial(_learned, kinds), "skclif-learn")
        tree, root = tree_of(keys, partial(joined, kinds))
        found: Learned = self.client.get({**graph, **tree}, root)
        if not found.weights.any():
            check_weights(np.zeros(1), np.zeros((1, 1)))  # says what is wrong
        return found

    def coded(
        self, classes: np.ndarray, class_weight: np.ndarray, schema: ConceptSchema
    ) -> RemoteData:
        """Return the rows as the numerics take them, in shards on the workers."""
        code = partial(_coded, classes, class_weight, schema)
        graph, keys = self._tasks(code, "skclif-code")
        # One shard for each thread: every task of a pass costs a millisecond or two.
        threads = sum(self.client.nthreads().values())
        groups = _groups(self.lengths, max(1, threads))
        shards = _shard_tasks([keys[group] for group in groups])
        futures = self.client.get({**graph, **shards}, list(shards), sync=False)
        lengths = tuple(sum(self.lengths[group]) for group in groups)
        n_concepts = len(schema.names)
        return RemoteData(
            self.client, tuple(futures), lengths, self.n_features, n_concepts
        )

    def _tasks(self, function: Any, name: str) -> tuple[dict[str, Any], list[str]]:
        return tasks_of(function, [block.key for block in self.blocks], name)


def read_block(estimator: Any, number: int, start: int, given: dict[str, Any]) -> Block:
    """Check the rows of a partition on a worker.

    Parameters
    ----------
    estimator : estimator
        Knows the number and the names of the features.
    number, start : int
        Which partition of X it is, and the position of its first row.
    given : dict of str to object
        The arguments of `fit` for these rows.
    """
    given = without_index(given)
    try:
        features = check_features(estimator, given["X"], reset=False)
        n_rows = len(features)
        labels = check_block_labels(given.get("y"), n_rows)
        weights = _weights(given.get("sample_weight"), n_rows)
        annotations = Annotations.read(
            given.get("concepts"), given.get("concept_sample_weight"), n_rows
        )
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        where = _whereabouts(str(error), number, start, len(given["X"]))
        raise kind(f"{error}{where}") from error
    if isinstance(features, SparseFeatures):
        raise TypeError(
            "X has sparse blocks, and a fit on a cluster takes dense ones. Use fewer "
            "features that are dense, or fit to rows in this process."
        )
    if annotations is not None and annotations.soft:
        names = ", ".join(annotations.soft)
        raise ValueError(
            f"concepts has soft annotations of {names}, and a fit on a cluster takes "
            "plain ones. Give the most probable value of each, or fit to rows in this "
            "process."
        )
    stored = _as_stored(features, given["X"])
    return Block(stored, labels, weights, given.get("y"), annotations)


def _whereabouts(message: str, number: int, start: int, n_rows: int) -> str:
    """Return where the rows are that a message is about, as a sentence to add."""
    if not re.search(r"\brow \d", message):
        return (
            f" Seen in partition {number} of X, rows {start:,} to "
            f"{start + n_rows - 1:,} of all."
        )
    if not start:
        return ""
    return (
        f" Rows are counted within partition {number} of X, whose first row is row "
        f"{start:,} of all."
    )


def _learned(kinds: dict[str, str] | None, block: Block) -> Learned:
    return Learned.of(
        block.labels, block.given, block.weights, block.annotations, kinds
    )


def _coded(
    classes: np.ndarray,
    class_weight: np.ndarray,
    schema: ConceptSchema,
    block: Block,
) -> Shard:
    """Return the rows of a block as training data."""
    shape = (len(block.labels), len(schema.names))
    codes, concept_weights = np.empty(shape), np.ones(shape)
    if block.annotations is not None:
        codes = schema.encode(block.annotations, block.weights, of_fit=True).codes
        concept_weights = schema.arrange(block.annotations)
    labels = np.searchsorted(classes, block.labels)
    rows = TrainingRows(
        block.features, labels, block.weights, codes, concept_weights, class_weight
    )
    return Shard((rows.data(),), (as_tensor(block.weights),))


def _shard_tasks(groups: Sequence[list[str]]) -> dict[str, Any]:
    """Return tasks that hold consecutive blocks together."""
    from dask.task_spec import Task, TaskRef

    stem = f"skclif-shard-{groups[0][0]}"
    return {
        f"{stem}-{i}": Task(f"{stem}-{i}", Shard.of, *map(TaskRef, keys))
        for i, keys in enumerate(groups)
    }


def _groups(lengths: Sequence[int], n_groups: int) -> list[slice]:
    """Return slices of consecutive blocks with about as many rows each."""
    ends = np.cumsum(lengths)
    at = np.minimum((ends - 1) * n_groups // ends[-1], n_groups - 1)
    starts = np.flatnonzero(np.diff(at, prepend=-1)).tolist()
    stops = [*starts[1:], len(lengths)]
    return [slice(a, b) for a, b in zip(starts, stops, strict=True)]


def _weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Return the weights of a block, all of which may be 0."""
    like = np.zeros((n_rows, 1))
    if np.shape(sample_weight) == (n_rows,) and (np.asarray(sample_weight) == 0).all():
        return np.zeros(n_rows)
    return check_weights(sample_weight, like)


def _as_stored(checked: Matrix, given: Any) -> Matrix:
    """Return features in single precision as they came: half of the memory."""
    array = given.to_numpy() if hasattr(given, "to_numpy") else given
    is_single = isinstance(array, np.ndarray) and array.dtype == np.float32
    if is_single and isinstance(checked, np.ndarray):
        return StoredFeatures.of(np.ascontiguousarray(array))
    return checked
