"""An edit of the training rows: applied, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..._inputs.soft import Shares, shown_values
from ..._inputs.training_rows import TrainingRows
from ..._inputs.values import plain_value
from ..._models.fitted import FittedHeads
from .empty import Empty
from .grown import Grown
from .verdicts import balanced_rows


@dataclass(frozen=True)
class Edit:
    """A checked edit.

    Attributes
    ----------
    labels : dict of int to int
        New codes by row.
    codes : dict of int to dict of int to float
        New codes by concept and row; NaN removes the annotation.
    weights : dict of int to float
        New weights by row.
    dropped : tuple of int
        Rows.
    added : TrainingRows or None
    dropped_concepts : list of int
    drops_empty : bool
        Whether classes and values that are left without weight go from the model.
    grown : Grown
        Values that come to the model. Codes are those of the model with them.
    shares : Shares
        What codes of soft annotations stand for, before the edit and after.
    concept_weights : dict of int to (float or None)
        Factors of the label head's weights of concepts, which are held; None to hold
        them no longer.
    rebalanced : tuple of int or None
        Concepts that the weights of labels make independent of the label; none of them
        takes such weights away. None leaves the weights as they are.
    """

    labels: dict[int, int] = field(default_factory=dict)
    codes: dict[int, dict[int, float]] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    added: TrainingRows | None = None
    dropped_concepts: list[int] = field(default_factory=list)
    drops_empty: bool = False
    grown: Grown = Grown()
    shares: Shares = field(default_factory=dict)
    concept_weights: dict[int, float | None] = field(default_factory=dict)
    rebalanced: tuple[int, ...] | None = None

    @property
    def releases(self) -> bool:
        """Whether weights that were held can move again."""
        return None in self.concept_weights.values()

    @property
    def judged(self) -> list[int]:
        """The concepts of which the edit says how much they matter."""
        balanced = self.rebalanced or ()
        return sorted({*self.concept_weights, *balanced, *self.dropped_concepts})

    def grow(
        self, heads: FittedHeads, rows: TrainingRows
    ) -> tuple[FittedHeads, TrainingRows]:
        """Return the model and its rows before the edit, with the values to come."""
        rows = replace(self.grown.recode(heads, rows), shares=self.shares)
        return self.grown.add_to(heads), rows

    def apply(
        self, heads: FittedHeads, rows: TrainingRows
    ) -> tuple[TrainingRows, Empty]:
        """Return the edited rows, with all concepts, and what they leave empty.

        The arguments are what `grow` returns.

        Raises
        ------
        ValueError
            If the edit leaves a class or a value of a concept without weight, and these
            are not to be dropped, or too few are left.
        """
        labels, weights = rows.labels.copy(), rows.weights.copy()
        codes = rows.codes.copy()
        labels[list(self.labels)] = list(self.labels.values())
        weights[list(self.weights)] = list(self.weights.values())
        weights[list(self.dropped)] = 0.0
        for j, new in self.codes.items():
            codes[list(new), j] = list(new.values())
        edited = replace(rows, labels=labels, weights=weights, codes=codes)
        if self.added is not None:
            edited = self.added.below(edited)
        if self.rebalanced is not None:
            balanced = balanced_rows(heads, edited, self.rebalanced)
            edited = replace(edited, label_weights=balanced)
        empty = Empty.of(heads, rows, edited, self.dropped_concepts)
        empty.check_enough(heads)  # first, because these cannot be dropped
        if not self.drops_empty:
            empty.refuse(heads)
        return edited, empty

    def changes(
        self,
        heads: FittedHeads,
        old: TrainingRows,
        empty: Empty,
        new_weights: np.ndarray | None,
    ) -> pd.DataFrame:
        """Return a table with a line for each difference that the edit makes.

        The last argument is the edited weights of labels, by themselves.
        """
        classes = heads.classes.tolist()
        columns: dict[str, list[Any]] = {
            name: [] for name in ("kind", "row", "concept", "old", "new")
        }

        def write(
            kind: str,
            rows: Sequence[int],
            concept: str | None,
            before: list[Any],
            after: list[Any],
        ) -> None:
            n = len(rows)
            parts: tuple[Sequence[Any], ...]
            parts = ([kind] * n, rows, [concept] * n, before, after)
            for column, part in zip(columns.values(), parts, strict=True):
                column.extend(part)

        rows = [row for row, code in self.labels.items() if code != old.labels[row]]
        # The class of a row of weight 0 may have gone from the model.
        labels = [classes[c] if c >= 0 else None for c in old.labels[rows].tolist()]
        new_labels = [classes[self.labels[row]] for row in rows]
        write("relabel", rows, None, labels, new_labels)
        for j, new in self.codes.items():
            positions = np.array(list(new), dtype=int)
            after = np.array(list(new.values()), dtype=float)
            before = old.codes[positions, j]
            differ = ~((before == after) | (np.isnan(before) & np.isnan(after)))
            known = heads.values[j]
            values = (_values(known, c[differ], self.shares) for c in (before, after))
            name = str(heads.names[j])
            write("annotate", positions[differ].tolist(), name, *values)
        weights = {r: w for r, w in self.weights.items() if w != old.weights[r]}
        rows = list(weights)
        write(
            "reweight", rows, None, old.weights[rows].tolist(), list(weights.values())
        )
        rows = [row for row in self.dropped if old.weights[row] != 0]
        write("drop", rows, None, old.weights[rows].tolist(), [0.0] * len(rows))
        if self.added is not None:
            n, first = len(self.added.labels), len(old.labels)
            new_labels = [classes[code] for code in self.added.labels]
            write("add", range(first, first + n), None, [None] * n, new_labels)
        for j in self.dropped_concepts:
            name = str(heads.names[j])
            write("drop_concept", [-1], name, [None], [None])
        for j, factor in self.concept_weights.items():
            name = str(heads.names[j])
            held = heads.held.get(name)
            whole = None if factor is None else factor * (1 if held is None else held)
            write("weigh_concept", [-1], name, [held], [whole])
        write("reweight_label", *_label_weights(old, new_weights))
        for concept, value in empty.named(heads):
            write("drop_value", [-1], concept, [value], [None])
        return pd.DataFrame(
            {
                name: pd.Series(part, dtype=np.int64 if name == "row" else object)
                for name, part in columns.items()
            }
        )


def _label_weights(
    old: TrainingRows, new: np.ndarray | None
) -> tuple[list[int], None, list[Any], list[Any]]:
    """Return rows whose label has another weight by itself, before and after."""
    n_old = len(old.labels)
    before = np.ones(n_old) if old.label_weights is None else old.label_weights
    after = np.ones(n_old) if new is None else new
    rows = np.flatnonzero(np.append(before != after[:n_old], after[n_old:] != 1))
    known = [before[row] if row < n_old else None for row in rows.tolist()]
    return rows.tolist(), None, known, after[rows].tolist()


def _values(classes: np.ndarray | None, codes: np.ndarray, shares: Shares) -> list[Any]:
    """Return the values of codes, text for soft ones; None for no annotation."""
    if classes is None:
        return [None if np.isnan(code) else code for code in codes.tolist()]
    return [plain_value(value) for value in shown_values(classes, codes, shares)]
