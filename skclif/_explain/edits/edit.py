"""An edit of the training rows: applied, and written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..._inputs.annotations import plain_value
from ..._inputs.training_rows import TrainingRows
from ..._models.fitted import FittedHeads


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
    """

    labels: dict[int, int] = field(default_factory=dict)
    codes: dict[int, dict[int, float]] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    added: TrainingRows | None = None
    dropped_concepts: list[int] = field(default_factory=list)

    def apply(self, heads: FittedHeads, rows: TrainingRows) -> TrainingRows:
        """Return the edited rows, with all concepts.

        Raises
        ------
        ValueError
            If the edit leaves a class or a value of a concept without weight.
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
        self._check_held(heads, rows, edited)
        return edited

    def changes(self, heads: FittedHeads, old: TrainingRows) -> pd.DataFrame:
        """Return a table with a line for each difference that the edit makes."""
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
        labels = [classes[old.labels[row]] for row in rows]
        new_labels = [classes[self.labels[row]] for row in rows]
        write("relabel", rows, None, labels, new_labels)
        for j, new in self.codes.items():
            positions = np.array(list(new), dtype=int)
            after = np.array(list(new.values()), dtype=float)
            before = old.codes[positions, j]
            differ = ~((before == after) | (np.isnan(before) & np.isnan(after)))
            known = heads.values[j]
            values = (_values(known, c[differ]) for c in (before, after))
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
        return pd.DataFrame(
            {
                name: pd.Series(part, dtype=np.int64 if name == "row" else object)
                for name, part in columns.items()
            }
        )

    def _check_held(
        self, heads: FittedHeads, old: TrainingRows, new: TrainingRows
    ) -> None:
        """Refuse an edit that leaves an unpenalised bias without an optimum."""
        lost = _without_weight(old.labels, old.weights, new.labels, new.weights)
        if lost is not None:
            raise ValueError(
                f"The edit leaves the class {heads.classes.tolist()[lost]!r} without "
                "a row that has weight, so the model has no optimum. Keep such a row, "
                "or fit again without the class."
            )
        for j, values in enumerate(heads.values):
            if values is None or j in self.dropped_concepts:
                continue
            parts = []
            for rows in (old, new):
                known = ~np.isnan(rows.codes[:, j])
                parts.append(rows.codes[known, j].astype(int))
                parts.append((rows.weights * rows.concept_weights[:, j])[known])
            lost = _without_weight(*parts)
            if lost is not None:
                name = heads.names[j]
                raise ValueError(
                    f"The edit leaves the value {values.tolist()[lost]!r} of concept "
                    f"{name!r} without an annotation that has weight, so its head has "
                    f"no optimum. Keep such an annotation, use "
                    f"drop_concepts=[{name!r}], or fit again."
                )


def _values(classes: np.ndarray | None, codes: np.ndarray) -> list[Any]:
    """Return the values of codes; None for no annotation."""
    if classes is None:
        return [None if np.isnan(code) else code for code in codes.tolist()]
    known = [*map(plain_value, classes.tolist()), None]
    return [known[int(code)] for code in np.where(np.isnan(codes), -1, codes)]


def _without_weight(
    old_codes: np.ndarray,
    old_weights: np.ndarray,
    new_codes: np.ndarray,
    new_weights: np.ndarray,
) -> int | None:
    """Return a code that had weight and has lost all of it."""
    n = 1 + max(old_codes.max(initial=0), new_codes.max(initial=0))
    old = np.bincount(old_codes, weights=old_weights, minlength=n)
    new = np.bincount(new_codes, weights=new_weights, minlength=n)
    lost = np.flatnonzero((old > 0) & ~(new > 0))
    return int(lost[0]) if len(lost) else None
