"""What an edit of the training rows is: checked, applied, written down."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._inputs.annotations import concept_table, plain_value
from .._inputs.checks import (
    LARGEST,
    check_annotation_weights,
    check_labels,
    check_length,
    check_weights,
    count_rows,
    naming,
)

if TYPE_CHECKING:
    from ..numerics.bottleneck import TrainingData

_ADDED = ("X", "y", "concepts", "sample_weight", "concept_sample_weight")
_AS_FIT = "a dict of X, y, concepts … as fit takes them"


@dataclass(frozen=True)
class TrainingSet:
    """Training rows as they were given, coded as the model codes.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,), int64
        Codes.
    weights : ndarray of shape (n_samples,)
        0 for a row that was dropped.
    codes : ndarray of shape (n_samples, n_concepts)
        Of the annotations, or numbers; NaN where there is none.
    concept_weights : ndarray of shape (n_samples, n_concepts)
        By themselves: not yet multiplied with `weights`.
    class_weight : ndarray of shape (n_classes,)
        As computed at fit.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    concept_weights: np.ndarray
    class_weight: np.ndarray

    @classmethod
    def given(
        cls, model, data: TrainingData, weights, class_weight, concepts, concept_weights
    ) -> TrainingSet:
        """Return what `fit` was given, also of rows and annotations of weight 0.

        `data` is the same with effective weights.
        """
        codes = np.where(data.annotated.numpy(), data.concepts.numpy(), np.nan)
        own = np.ones(codes.shape)
        if codes.shape[1]:
            table = concept_table(concepts)
            own = check_annotation_weights(concept_weights, table)
            unread = table.notna().to_numpy() & (data.concept_weights.numpy() == 0)
            for i, j in zip(*np.nonzero(unread), strict=True):
                # What has no weight may be anything; it counts if it is known.
                code = _code(model.concept_classes_[j], table.iat[i, j])
                codes[i, j] = np.nan if code is None else code
        return cls(
            data.features.numpy(),
            data.labels.numpy(),
            np.asarray(weights),
            codes,
            own,
            np.asarray(class_weight),
        )

    def data(self) -> TrainingData:
        """Return the rows with effective weights, as the numerics take them."""
        import torch

        from ..numerics.bottleneck import TrainingData

        weights = self.concept_weights * self.weights[:, None]
        annotated = ~np.isnan(self.codes) & (weights > 0)
        arrays = (
            self.features,
            self.labels,
            self.weights * self.class_weight[self.labels],
            np.where(annotated, self.codes, 0.0),
            annotated,
            np.where(annotated, weights, 0.0),
        )
        return TrainingData(*map(torch.from_numpy, arrays))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the attributes by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def without_concepts(self, dropped: list[int]) -> TrainingSet:
        """Return the same rows without some of the annotations."""
        return replace(
            self,
            codes=np.delete(self.codes, dropped, axis=1),
            concept_weights=np.delete(self.concept_weights, dropped, axis=1),
        )

    def below(self, rows: TrainingSet) -> TrainingSet:
        """Return `rows` with these below."""
        both = {
            name: np.concatenate([part, self.arrays()[name]])
            for name, part in rows.arrays().items()
        }
        return TrainingSet(**{**both, "class_weight": rows.class_weight})


@dataclass(frozen=True)
class Edit:
    """A checked edit.

    Attributes
    ----------
    labels : dict of int to int
        New codes by row.
    codes : dict of int to dict of int to float
        New codes by concept and row; NaN takes the annotation away.
    weights : dict of int to float
        New weights by row.
    dropped : tuple of int
        Rows.
    added : TrainingSet or None
    dropped_concepts : list of int
    """

    labels: dict[int, int] = field(default_factory=dict)
    codes: dict[int, dict[int, float]] = field(default_factory=dict)
    weights: dict[int, float] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    added: TrainingSet | None = None
    dropped_concepts: list[int] = field(default_factory=list)

    def apply(self, model, rows: TrainingSet) -> TrainingSet:
        """Return the edited rows, all concepts still there.

        Raises
        ------
        ValueError
            If the edit takes all weight from a class or from a value of a concept.
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
        self._check_held(model, rows, edited)
        return edited

    def changes(self, model, old: TrainingSet) -> pd.DataFrame:
        """Return a line for all that the edit makes different."""
        classes = model.classes_.tolist()
        columns: dict[str, list] = {
            name: [] for name in ("kind", "row", "concept", "old", "new")
        }

        def write(kind, rows, concept, before, after):
            parts = ([kind] * len(rows), rows, [concept] * len(rows), before, after)
            for column, part in zip(columns.values(), parts, strict=True):
                column.extend(part)

        rows = [row for row, code in self.labels.items() if code != old.labels[row]]
        labels = [classes[old.labels[row]] for row in rows]
        new_labels = [classes[self.labels[row]] for row in rows]
        write("relabel", rows, None, labels, new_labels)
        for j, new in self.codes.items():
            rows = np.array(list(new), dtype=int)
            after = np.array(list(new.values()), dtype=float)
            before = old.codes[rows, j]
            differ = ~((before == after) | (np.isnan(before) & np.isnan(after)))
            known = model.concept_classes_[j]
            values = (_values(known, c[differ]) for c in (before, after))
            name = str(model.concept_names_in_[j])
            write("annotate", rows[differ].tolist(), name, *values)
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
            name = str(model.concept_names_in_[j])
            write("drop_concept", [-1], name, [None], [None])
        return pd.DataFrame(
            {
                name: pd.Series(part, dtype=np.int64 if name == "row" else object)
                for name, part in columns.items()
            }
        )

    def _check_held(self, model, old: TrainingSet, new: TrainingSet) -> None:
        """Refuse an edit that leaves an unpenalised bias without an optimum."""
        lost = _without_weight(old.labels, old.weights, new.labels, new.weights)
        if lost is not None:
            raise ValueError(
                f"The edit leaves the class {model.classes_.tolist()[lost]!r} without "
                "a row that has weight, so the model has no optimum. Keep one, or fit "
                "again without it."
            )
        for j, values in enumerate(model.concept_classes_):
            if values is None or j in self.dropped_concepts:
                continue
            parts = []
            for rows in (old, new):
                known = ~np.isnan(rows.codes[:, j])
                parts.append(rows.codes[known, j].astype(int))
                parts.append((rows.weights * rows.concept_weights[:, j])[known])
            lost = _without_weight(*parts)
            if lost is not None:
                name = model.concept_names_in_[j]
                raise ValueError(
                    f"The edit leaves the value {values.tolist()[lost]!r} of concept "
                    f"{name!r} without an annotation that has weight, so its head has "
                    f"no optimum. Keep one, use drop_concepts=[{name!r}], or fit again."
                )


def check_edit(
    model,
    rows: TrainingSet,
    read_features,
    *,
    y,
    concepts,
    sample_weight,
    drop,
    add,
    drop_concepts,
) -> Edit:
    """Return an edit whose arguments fit the model, its rows, and each other.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
    rows : TrainingSet
    read_features : callable
        From new rows, as the estimator takes them, to checked features.
    y, concepts, sample_weight, drop, add, drop_concepts
        As in :meth:`ConceptInfluenceExplainer.edit`.

    Raises
    ------
    TypeError, ValueError
        What came, what is accepted, what to do.
    """
    given = (y, concepts, sample_weight, drop, add, drop_concepts)
    if all(one is None for one in given):
        raise ValueError(
            "edit was given nothing to change: pass y, concepts, sample_weight, drop, "
            "add or drop_concepts."
        )
    edit = Edit(
        _labels(model, rows, y),
        _annotations(model, rows, concepts),
        _weights(rows, sample_weight),
        _dropped(rows, drop),
        _added(model, rows, read_features, add),
        _dropped_concepts(model, drop_concepts),
    )
    dropped = set(edit.dropped)
    others = {
        "y": edit.labels,
        **{
            f"concepts[{model.concept_names_in_[j]!r}]": c
            for j, c in edit.codes.items()
        },
        # A whole array speaks of dropped rows too; 0 is the same as dropping.
        "sample_weight": [row for row, weight in edit.weights.items() if weight],
    }
    for name, changed in others.items():
        both = sorted(dropped.intersection(changed))
        if both:
            raise ValueError(
                f"Row {both[0]} is in drop and in {name}; leave it out of one of them."
            )
    for j in edit.dropped_concepts:
        if j in edit.codes:
            name = model.concept_names_in_[j]
            raise ValueError(
                f"Concept {name!r} is in drop_concepts and in concepts; leave it out "
                "of one of them."
            )
    return edit


def fingerprints(*sets: dict[str, np.ndarray]) -> list[str]:
    """Return the SHA-256 of sets of named arrays; what they share is read once."""
    digests: dict[int, bytes] = {}
    found = []
    for arrays in sets:
        whole = hashlib.sha256()
        for name, array in arrays.items():
            if id(array) not in digests:
                plain = array.astype(str) if array.dtype == object else array
                plain = np.ascontiguousarray(plain)
                digest = hashlib.sha256(f"{plain.dtype.str} {plain.shape} ".encode())
                digest.update(plain.reshape(-1).view(np.uint8))
                digests[id(array)] = digest.digest()
            whole.update(name.encode() + b" " + digests[id(array)])
        found.append(whole.hexdigest())
    return found


def _labels(model, rows: TrainingSet, y) -> dict[int, int]:
    if y is None:
        return {}
    _check_dict("y", y, "a dict of row to label, such as {17: 4}")
    found = {}
    for row, label in y.items():
        row = _row("y", row, rows)
        found[row] = _label_code(model, f"y gives row {row} the label", label)
    return found


def _label_code(model, said: str, label) -> int:
    code = _code(model.classes_, label)
    if code is None:
        raise ValueError(
            f"{said} {plain_value(label)!r}, which was not seen in fit; known labels: "
            f"{', '.join(map(repr, model.classes_.tolist()))}. A new one takes a new "
            "fit."
        )
    return int(code)


def _annotations(model, rows: TrainingSet, concepts) -> dict[int, dict[int, float]]:
    if concepts is None:
        return {}
    form = "a dict of concept to dict of row to value, such as {'food': {17: 'good'}}"
    _check_dict("concepts", concepts, form)
    found = {}
    for name, values in concepts.items():
        j = _concept("concepts", name, model)
        _check_dict(f"concepts[{name!r}]", values, "a dict of row to value")
        found[j], seen = {}, {}
        for row, value in values.items():
            row = _row(f"concepts[{name!r}]", row, rows)
            if type(value) is str and value in seen:  # few values, many rows
                found[j][row] = seen[value]
                continue
            found[j][row] = code = _annotation(model, j, name, row, value)
            if type(value) is str:
                seen[value] = code
    return found


def _annotation(model, j: int, name, row: int, value) -> float:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return np.nan
    classes = model.concept_classes_[j]
    code = _code(classes, value)
    if code is None:
        known = "a finite number"
        if classes is not None:
            known = ", ".join(map(repr, classes.tolist()))
        raise ValueError(
            f"concepts gives row {row} the value {value!r} of concept {name!r}, which "
            f"was never seen in fit; known values: {known}, or None for no annotation. "
            "A new one takes a new fit."
        )
    return code


def _weights(rows: TrainingSet, sample_weight) -> dict[int, float]:
    if sample_weight is None:
        return {}
    if not isinstance(sample_weight, dict):
        weights = check_weights(sample_weight, rows.features)
        changed = np.flatnonzero(weights != rows.weights)
        return dict(zip(changed.tolist(), weights[changed].tolist(), strict=True))
    found = {}
    for row, weight in sample_weight.items():
        row = _row("sample_weight", row, rows)
        if not _is_number(weight) or not (
            weight == 0 or 1 / LARGEST <= weight <= LARGEST
        ):
            raise ValueError(
                f"sample_weight gives row {row} the weight {weight!r}; weights are 0, "
                f"or numbers from {1 / LARGEST:g} to {LARGEST:g}."
            )
        found[row] = float(weight)
    return found


def _dropped(rows: TrainingSet, drop) -> tuple[int, ...]:
    if drop is None:
        return ()
    if isinstance(drop, str | bytes | dict) or not hasattr(drop, "__iter__"):
        raise TypeError(
            f"drop must be a list of rows, such as [3, 9], got {type(drop).__name__}."
        )
    if getattr(getattr(drop, "dtype", None), "kind", None) == "b":
        raise TypeError(
            "drop must be a list of rows, such as [3, 9], got a mask; pass "
            "numpy.flatnonzero(mask)."
        )
    found = tuple(_row("drop", row, rows) for row in drop)
    _check_unique("drop", "row", found)
    return found


def _dropped_concepts(model, names) -> list[int]:
    if names is None:
        return []
    if isinstance(names, str | bytes | dict) or not hasattr(names, "__iter__"):
        raise TypeError(
            f"drop_concepts must be a list of names, such as ['noise'], got {names!r}."
        )
    found = [_concept("drop_concepts", name, model) for name in names]
    _check_unique("drop_concepts", "concept", [str(name) for name in names])
    if found and len(found) == len(model.concept_names_in_):
        raise ValueError(
            "drop_concepts names every concept, which leaves no bottleneck; fit "
            "without concepts for the model that has none."
        )
    return sorted(found)


def _added(model, rows: TrainingSet, read_features, add) -> TrainingSet | None:
    if add is None:
        return None
    _check_dict("add", add, _AS_FIT)
    unknown = [name for name in add if name not in _ADDED]
    missing = [name for name in ("X", "y") if add.get(name) is None]
    if unknown:
        raise ValueError(f"add must be {_AS_FIT}; {unknown[0]!r} is none of them.")
    if missing:
        raise ValueError(f"add must be {_AS_FIT}; it has no {missing[0]}.")
    with naming("add", _AS_FIT):
        n = count_rows(add["X"])
        labels = check_labels(add["y"], n)
        features = read_features(add["X"])
        weights = check_weights(add.get("sample_weight"), features)
        codes, concept_weights = _added_annotations(model, add, n)
    return TrainingSet(
        features,
        np.array([_label_code(model, "add has the label", label) for label in labels]),
        weights,
        codes,
        concept_weights,
        rows.class_weight,
    )


def _added_annotations(model, add: dict, n: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (n, len(model.concept_names_in_))
    codes, weights = np.full(shape, np.nan), np.ones(shape)
    concepts, given = add.get("concepts"), add.get("concept_sample_weight")
    if concepts is None:
        if given is not None:
            raise ValueError("concept_sample_weight was given without concepts.")
        return codes, weights
    if not shape[1]:
        raise ValueError("concepts were given, but the model has none.")
    table = concept_table(concepts)
    check_length("concepts", len(table), n)
    own = check_annotation_weights(given, table)
    codes = model._schema().encode(concepts, partial=True)
    named = isinstance(concepts, pd.DataFrame)
    columns = list(model.concept_names_in_)
    for position, name in enumerate(table.columns):
        weights[:, columns.index(name) if named else position] = own[:, position]
    return codes, weights


def _row(argument: str, row, rows: TrainingSet) -> int:
    n = len(rows.labels)
    if type(row) is int and 0 <= row < n:
        return row
    where = f"rows are named by position, 0 to {n - 1}."
    if not isinstance(row, Integral) or isinstance(row, bool):
        raise TypeError(f"{argument} names the row {row!r}; {where}")
    if not 0 <= row < n:
        raise ValueError(f"{argument} names the row {row}; {where}")
    return int(row)


def _concept(argument: str, name, model) -> int:
    names = list(model.concept_names_in_)
    if name not in names:
        raise ValueError(
            f"{argument} names the concept {name!r}, but the model has "
            f"{', '.join(map(repr, names)) or 'no concepts'}."
        )
    return names.index(name)


def _check_dict(argument: str, given, form: str) -> None:
    if not isinstance(given, dict):
        raise TypeError(f"{argument} must be {form}, got {type(given).__name__}.")


def _check_unique(argument: str, what: str, given) -> None:
    if len(set(given)) < len(given):
        twice = next(one for one in given if list(given).count(one) > 1)
        raise ValueError(f"{argument} names {what} {twice!r} twice.")


def _code(classes: np.ndarray | None, value) -> float | None:
    """Return the code of a value, None if it has none; a number is its own."""
    value = value.item() if isinstance(value, np.generic) else value
    if classes is None:
        fits = _is_number(value) and abs(value) <= LARGEST
        return float(value) if fits else None
    if not pd.api.types.is_scalar(value):
        return None
    for code, known in enumerate(classes.tolist()):
        if isinstance(value, bool) == isinstance(known, bool) and value == known:
            return float(code)
    return None


def _values(classes: np.ndarray | None, codes: np.ndarray) -> list:
    """Return the values of codes, None for no annotation."""
    missing = np.isnan(codes)
    if classes is None:
        return np.where(missing, None, codes.astype(object)).tolist()
    known = [*map(plain_value, classes.tolist()), None]
    return [known[int(code)] for code in np.where(missing, -1, codes)]


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _without_weight(old_codes, old_weights, new_codes, new_weights) -> int | None:
    """Return a code that had weight and has none."""
    n = 1 + max(old_codes.max(initial=0), new_codes.max(initial=0))
    old = np.bincount(old_codes, weights=old_weights, minlength=n)
    new = np.bincount(new_codes, weights=new_weights, minlength=n)
    lost = np.flatnonzero((old > 0) & ~(new > 0))
    return int(lost[0]) if len(lost) else None
