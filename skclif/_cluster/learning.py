"""What a fit learns of labels and annotations, as a sum over blocks of rows.

Of every concept a few values stand for all: the distinct values of categories, and the
smallest and the largest of numbers that are not whole. From them follows what would
follow from all annotations.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.annotations import Annotations
from .._inputs.checks import check_labels
from .._inputs.learning import check_kinds, learn_schema, representatives
from .._inputs.orders import order_of
from .._inputs.schema import ConceptSchema

# So many rows of a class, or more, say the same as two: the class is no single row.
_ENOUGH = 4


@dataclass(frozen=True, eq=False)
class Learned:
    """What some rows say of labels and concepts.

    Attributes
    ----------
    n_rows : int
    labels : ndarray of shape (n_labels,)
        The distinct labels, sorted.
    weights : ndarray of shape (n_labels,)
        The sum of the weights of their rows.
    label_order : list or None
        The order of the type of the labels.
    values : tuple of ndarray
        Values that stand for all annotations with weight of each concept.
    counts : tuple of int
        How many annotations these are.
    head : Annotations or None
        The annotations without their rows.
    """

    n_rows: int
    labels: np.ndarray
    weights: np.ndarray
    label_order: list[Any] | None
    values: tuple[np.ndarray, ...] = ()
    counts: tuple[int, ...] = ()
    head: Annotations | None = None

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        given: Any,
        weights: np.ndarray,
        annotations: Annotations | None,
        kinds: dict[str, str] | None,
    ) -> Learned:
        """Learn from a block of checked rows; `given` are the labels as they came."""
        distinct, codes = np.unique(labels, return_inverse=True)
        sums = np.bincount(codes, weights=weights, minlength=len(distinct))
        found = cls(len(labels), distinct, sums, order_of(given))
        if annotations is None:
            return found
        table = annotations.table
        kinds = check_kinds(kinds, list(table.columns))
        counted = annotations.weights * weights[:, None] > 0
        values, counts = [], []
        for j, name in enumerate(table.columns):
            cells = table.iloc[:, j]
            cells = cells[counted[:, j] & cells.notna().to_numpy()]
            values.append(representatives(cells, kinds.get(name)))
            counts.append(len(cells))
        head = replace(
            annotations, table=table.iloc[:0], weights=annotations.weights[:0]
        )
        return replace(found, values=tuple(values), counts=tuple(counts), head=head)

    def schema(self, kinds: dict[str, str] | None) -> ConceptSchema:
        """Return names and values of the concepts; warn as for rows in this process."""
        if self.head is None:
            return ConceptSchema()
        return learn_schema(self.head, self.values, self.counts, kinds)

    def stand_in(self) -> np.ndarray:
        """Return a few labels that look like all: the distinct ones, and repetitions.

        They are as many as the rows, or so many that no class is a single row.
        """
        n = min(self.n_rows, _ENOUGH * len(self.labels))
        return np.concatenate(
            [self.labels, self.labels[:1].repeat(n - len(self.labels))]
        )


def joined(kinds: dict[str, str] | None, *parts: Learned) -> Learned:
    """Return what rows in several places say together.

    Raises
    ------
    ValueError
        If partitions have other columns, or types with other orders.
    """
    first, *others = parts
    for other in others:
        _check_alike(first, other)
    labels = _all_values([part.labels for part in parts])
    distinct, codes = np.unique(_checked(labels), return_inverse=True)
    weights = np.concatenate([part.weights for part in parts])
    values = []
    names = [] if first.head is None else list(first.head.table.columns)
    for j, name in enumerate(names):
        cells = [value for part in parts for value in part.values[j].tolist()]
        column = pd.Series(cells, dtype=object, name=name)
        values.append(representatives(column, (kinds or {}).get(name)))
    return replace(
        first,
        n_rows=sum(part.n_rows for part in parts),
        labels=distinct,
        weights=np.bincount(codes, weights=weights, minlength=len(distinct)),
        values=tuple(values),
        counts=tuple(map(sum, zip(*(part.counts for part in parts), strict=True))),
    )


def check_block_labels(y: Any, n_rows: int) -> np.ndarray:
    """Return the labels of a block; what only all labels can tell is not said here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return check_labels(y, n_rows)


def _checked(labels: np.ndarray) -> np.ndarray:
    return check_block_labels(labels, len(labels))


def _all_values(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays in one; NumPy would turn numbers beside words into words."""
    kinds = {"S" if part.dtype.kind in "US" else part.dtype.kind for part in parts}
    if len(kinds) > 1 and kinds - set("iuf"):
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def _check_alike(first: Learned, other: Learned) -> None:
    if first.label_order != other.label_order:
        raise ValueError(
            f"y has the order {first.label_order} in some partitions and "
            f"{other.label_order} in others. Give all partitions the same categories, "
            "for example by y.cat.as_known()."
        )
    if first.head is None or other.head is None:
        return
    names, found = list(first.head.table.columns), list(other.head.table.columns)
    if names != found:
        raise ValueError(
            f"concepts has the columns {', '.join(names)} in some partitions and "
            f"{', '.join(found)} in others. Give all partitions the same columns, in "
            "the same order."
        )
    if first.head.orders != other.head.orders:
        raise ValueError(
            "concepts has columns with ordered categories that are not the same in "
            "all partitions. Give them the same categories, for example by "
            "concepts.categorize()."
        )
