"""Arguments of an edit, checked against the model, its rows, and each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch

from ..._inputs.annotations import Annotations
from ..._inputs.checks import (
    LARGEST,
    check_labels,
    check_row_order,
    check_weights,
    count_rows,
    error_context,
)
from ..._inputs.concept_tables import concept_table, has_names
from ..._inputs.soft import (
    Coded,
    Shares,
    SoftValue,
    check_shares,
    coded,
    distributions_of,
    soft_values,
)
from ..._inputs.tensors import as_array
from ..._inputs.training_rows import TrainingRows
from ..._inputs.values import format_value, plain_value, value_code
from ..._models.fitted import FittedHeads
from ...numerics.sparse import Matrix
from ..requests import (
    checked_target,
    class_codes,
    describe_target,
    explained_codes,
    needs_labels,
    numeric_targets,
)
from .edit import Edit
from .empty import check_empty_values
from .grown import Grown
from .verdicts import check_concept_weights, check_rebalance, concept_position

_ADDED = ("X", "y", "concepts", "sample_weight", "concept_sample_weight")
_AS_FIT = "a dict of X, y, concepts … as fit takes them"


def check_edit(
    heads: FittedHeads,
    rows: TrainingRows,
    read_features: Callable[[Any], Matrix],
    declared: Mapping[str, list[Any]],
    orders: Mapping[str, list[Any]],
    aside: Mapping[str, Mapping[int, Any]],
    *,
    y: Any,
    concepts: Any,
    sample_weight: Any,
    drop: Any,
    add: Any,
    drop_concepts: Any,
    concept_weights: Any,
    rebalance: Any,
    empty_values: Any,
) -> Edit:
    """Return an edit whose arguments fit the model, its rows, and each other.

    Parameters
    ----------
    heads : FittedHeads
    rows : TrainingRows
    read_features : callable
        Maps new rows, in the form that the estimator takes, to checked features.
    declared : mapping of str to list
        Values that the type of a concept's column declares.
    orders : mapping of str to list
        The order of the values of each concept whose type has an order.
    aside : mapping of str to mapping of int to object
        Annotations, by concept and row, that the model does not know because the rows
        had no weight. They come with the weight.
    y, concepts, sample_weight, drop, add, drop_concepts, concept_weights, rebalance, \
            empty_values
        As in :meth:`ConceptInfluenceExplainer.edit`.

    Raises
    ------
    TypeError, ValueError
        If an argument has another form or value than is accepted.
    """
    given = (y, concepts, sample_weight, drop, add, drop_concepts)
    if all(argument is None for argument in (*given, concept_weights, rebalance)):
        raise ValueError(
            "edit was given nothing to change: pass y, concepts, sample_weight, drop, "
            "add, drop_concepts, concept_weights or rebalance."
        )
    weights = _weights(rows, sample_weight)
    concepts, aside = _with_soft(concepts), _with_soft(aside)
    concepts = _with_aside(heads, concepts, drop_concepts, weights, aside)
    values = _values_given(heads, concepts, add)
    grown = Grown.of(heads, values, declared, orders, aside)
    shares = grown.recode(heads, rows).shares
    heads = grown.add_to(heads)
    codes, shares = _annotations(heads, rows, concepts, shares)
    added = _added(heads, rows, read_features, add, shares)
    dropped_concepts = _dropped_concepts(heads, drop_concepts)
    edit = Edit(
        _labels(heads, rows, y),
        codes,
        weights,
        _dropped(rows, drop),
        added,
        dropped_concepts,
        check_empty_values(empty_values),
        grown,
        shares if added is None else added.shares,
        check_concept_weights(heads, concept_weights, dropped_concepts),
        check_rebalance(heads, rebalance),
    )
    dropped = set(edit.dropped)
    others: dict[str, Iterable[int]] = {
        "y": edit.labels,
        **{f"concepts[{heads.names[j]!r}]": c for j, c in edit.codes.items()},
        # An array has weights of dropped rows too; 0 is the same as dropping.
        "sample_weight": [row for row, weight in edit.weights.items() if weight],
    }
    for name, changed in others.items():
        both = sorted(dropped.intersection(changed))
        if both:
            raise ValueError(
                f"Row {both[0]} is in drop and in {name}; leave it out of one of them."
            )
    _check_labelled(edit, rows)
    for j in edit.dropped_concepts:
        if j in edit.codes:
            name = heads.names[j]
            raise ValueError(
                f"Concept {name!r} is in drop_concepts and in concepts; leave it out "
                "of one of them."
            )
    return edit


def _check_labelled(edit: Edit, rows: TrainingRows) -> None:
    """Refuse to give a row weight whose class went from the model in another edit."""
    for row, weight in edit.weights.items():
        if weight and rows.labels[row] < 0 and row not in edit.labels:
            raise ValueError(
                f"sample_weight gives weight to row {row}, whose class went from the "
                "model when it was left without weight. Give the row a label in y, or "
                "fit again."
            )


def _labels(heads: FittedHeads, rows: TrainingRows, y: Any) -> dict[int, int]:
    if y is None:
        return {}
    _check_dict("y", y, "a dict of row to label, such as {17: 4}")
    found = {}
    for row, label in y.items():
        row = _row("y", row, rows)
        found[row] = _label_code(heads, f"y gives row {row} the label", label)
    return found


def _label_code(heads: FittedHeads, said: str, label: Any) -> int:
    code = value_code(heads.classes, label)
    if code is None:
        raise ValueError(
            f"{said} {plain_value(label)!r}, which was not seen in fit; known labels: "
            f"{', '.join(map(repr, heads.classes.tolist()))}. A new label needs a new "
            "fit."
        )
    return int(code)


def _annotations(
    heads: FittedHeads, rows: TrainingRows, concepts: Any, shares: Shares
) -> tuple[dict[int, dict[int, float]], Shares]:
    if concepts is None:
        return {}, shares
    form = "a dict of concept to dict of row to value, such as {'food': {17: 'good'}}"
    _check_dict("concepts", concepts, form)
    found: dict[int, dict[int, float]] = {}
    for name, values in concepts.items():
        j = concept_position("concepts", name, heads)
        _check_dict(f"concepts[{name!r}]", values, "a dict of row to value")
        found[j] = {}
        seen: dict[str, float] = {}
        soft: dict[int, np.ndarray] = {}
        for row, value in values.items():
            row = _row(f"concepts[{name!r}]", row, rows)
            if type(value) is str and value in seen:  # few values, many rows
                found[j][row] = seen[value]
                continue
            if isinstance(value, SoftValue):
                soft[row] = _distribution(heads, j, row, value)
                continue
            found[j][row] = code = _annotation(heads, j, row, value)
            if type(value) is str:
                seen[value] = code
        if soft:
            codes, shares = coded(np.array([*soft.values()]), shares)
            found[j] |= dict(zip(soft, codes.tolist(), strict=True))
    return found, shares


def _with_soft(concepts: Any) -> Any:
    """Return new annotations with soft ones, dicts of shares, read.

    What is of another form is refused elsewhere.
    """
    if not isinstance(concepts, dict):
        return concepts
    return {
        name: {
            row: _read_soft(name, row, value) if isinstance(value, dict) else value
            for row, value in values.items()
        }
        if isinstance(values, dict)
        else values
        for name, values in concepts.items()
    }


def _read_soft(name: Any, row: Any, given: dict[Any, Any]) -> Any:
    said = f"concepts gives concept {name!r}"
    odd = [share for share in given.values() if not _is_number(share)]
    if odd or not given:
        raise TypeError(
            f"{said} the soft annotation {given!r} in row {row}. Give every value its "
            "share, such as {'good': 0.7, 'bad': 0.3}."
        )
    values, shares = [format_value(value) for value in given], [*given.values()]
    check_shares(said, row, values, shares)
    return soft_values(values, np.array([shares], dtype=np.float64))[0]


def _distribution(heads: FittedHeads, j: int, row: int, value: SoftValue) -> np.ndarray:
    """Return a soft annotation as the shares of all values of a concept."""
    classes = heads.values[j]
    if classes is None:
        raise ValueError(
            f"concepts gives row {row} a soft annotation ({value}) of concept "
            f"{heads.names[j]!r}, which is continuous; give a number."
        )
    places = {format_value(known): k for k, known in enumerate(classes.tolist())}
    found, unknown = distributions_of([value], places, len(classes))
    if unknown[0] is not None:
        _refuse_annotation(heads, j, row, unknown[0])
    return found[0]


def _with_aside(
    heads: FittedHeads,
    concepts: Any,
    drop_concepts: Any,
    weights: dict[int, float],
    aside: Mapping[str, Mapping[int, Any]],
) -> Any:
    """Return new annotations, with those that come with the weight of their rows."""
    is_dict = isinstance(concepts, dict)
    if not is_dict and concepts is not None:
        return concepts  # refused elsewhere
    dropped = {heads.names[j] for j in _dropped_concepts(heads, drop_concepts)}
    for name, values in aside.items():
        back = {row: v for row, v in values.items() if weights.get(row)}
        given = {} if concepts is None else concepts.get(name, {})
        if back and name not in dropped and isinstance(given, dict):
            concepts = {**(concepts or {}), name: {**back, **given}}
    return concepts


def _values_given(heads: FittedHeads, concepts: Any, add: Any) -> dict[str, list[Any]]:
    """Return the values that an edit gives to concepts, if their form is right."""
    found: dict[str, list[Any]] = {name: [] for name in heads.names}
    for name, values in concepts.items() if isinstance(concepts, dict) else ():
        if name in found and isinstance(values, dict):
            found[name] += values.values()
    added = add.get("concepts") if isinstance(add, dict) else None
    if added is not None:
        with error_context("add", _AS_FIT):
            table = concept_table(added)
        if not has_names(added):
            table.columns = [*heads.names, *table.columns[len(heads.names) :]]
        for name, column in table.items():
            if name in found:
                found[str(name)] += column.tolist()
    return found


def _annotation(heads: FittedHeads, j: int, row: int, value: Any) -> float:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return np.nan
    code = value_code(heads.values[j], value)
    if code is None:
        _refuse_annotation(heads, j, row, value)
    return code


def _refuse_annotation(heads: FittedHeads, j: int, row: int, value: Any) -> NoReturn:
    classes, known = heads.values[j], "a finite number"
    if classes is not None:
        known = ", ".join(map(repr, classes.tolist()))
    raise ValueError(
        f"concepts gives row {row} the value {value!r} of concept {heads.names[j]!r}, "
        f"which was never seen in fit; known values: {known}, or None for no "
        "annotation. A new value needs a new fit."
    )


def _weights(rows: TrainingRows, sample_weight: Any) -> dict[int, float]:
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


def _dropped(rows: TrainingRows, drop: Any) -> tuple[int, ...]:
    if drop is None:
        return ()
    drop = as_array("drop", drop)
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


def _dropped_concepts(heads: FittedHeads, names: Any) -> list[int]:
    if names is None:
        return []
    if isinstance(names, str | bytes | dict) or not hasattr(names, "__iter__"):
        raise TypeError(
            f"drop_concepts must be a list of names, such as ['noise'], got {names!r}."
        )
    found = [concept_position("drop_concepts", name, heads) for name in names]
    _check_unique("drop_concepts", "concept", [str(name) for name in names])
    if found and len(found) == len(heads.names):
        raise ValueError(
            "drop_concepts names every concept, which leaves no bottleneck; fit "
            "without concepts for a model without a bottleneck."
        )
    return sorted(found)


def _added(
    heads: FittedHeads,
    rows: TrainingRows,
    read_features: Callable[[Any], Matrix],
    add: Any,
    shares: Shares,
) -> TrainingRows | None:
    if add is None:
        return None
    _check_dict("add", add, _AS_FIT)
    unknown = [name for name in add if name not in _ADDED]
    missing = [name for name in ("X", "y") if add.get(name) is None]
    if unknown:
        raise ValueError(f"add must be {_AS_FIT}; it cannot have {unknown[0]!r}.")
    if missing:
        raise ValueError(f"add must be {_AS_FIT}; it has no {missing[0]}.")
    with error_context("add", _AS_FIT):
        n = count_rows(add["X"])
        check_row_order(**{name: add.get(name) for name in _ADDED})
        labels = check_labels(add["y"], n)
        features = read_features(add["X"])
        weights = check_weights(add.get("sample_weight"), features)
        found, concept_weights = _added_annotations(heads, add, n, shares)
    return TrainingRows(
        features,
        np.array([_label_code(heads, "add has the label", label) for label in labels]),
        weights,
        found.codes,
        concept_weights,
        rows.class_weight,
        found.shares,
    )


def _added_annotations(
    heads: FittedHeads, add: dict[str, Any], n: int, shares: Shares
) -> tuple[Coded, np.ndarray]:
    shape = (n, len(heads.names))
    codes, weights = np.full(shape, np.nan), np.ones(shape)
    concepts, given = add.get("concepts"), add.get("concept_sample_weight")
    annotations = Annotations.read(concepts, given, n)
    if annotations is None:
        return Coded(codes, shares), weights
    if not shape[1]:
        raise ValueError("concepts were given, but the model has no concepts.")
    found = heads.schema.encode(annotations, partial=True, shares=shares)
    return found, heads.schema.arrange(annotations)


def _row(argument: str, row: Any, rows: TrainingRows) -> int:
    n = len(rows.labels)
    if type(row) is int and 0 <= row < n:
        return row
    where = f"rows are named by position, 0 to {n - 1}."
    if not isinstance(row, Integral) or isinstance(row, bool):
        raise TypeError(f"{argument} names the row {row!r}; {where}")
    if not 0 <= int(row) < n:
        raise ValueError(f"{argument} names the row {row}; {where}")
    return int(row)


def _check_dict(argument: str, given: Any, form: str) -> None:
    if not isinstance(given, dict):
        raise TypeError(f"{argument} must be {form}, got {type(given).__name__}.")


def _check_unique(argument: str, what: str, given: Sequence[Any]) -> None:
    if len(set(given)) < len(given):
        twice = next(value for value in given if list(given).count(value) > 1)
        raise ValueError(f"{argument} names {what} {twice!r} twice.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_steps(n_steps: Any) -> int | None:
    """Return the maximum number of Newton steps, checked."""
    if n_steps is None:
        return None
    if not isinstance(n_steps, Integral) or isinstance(n_steps, bool):
        raise TypeError(f"n_steps must be a whole number or None, got {n_steps!r}.")
    if n_steps < 1:
        raise ValueError(
            f"n_steps={n_steps} must be 1 or more: it is the maximum number of Newton "
            "steps per stage. None runs to convergence."
        )
    return int(n_steps)


def check_validation(
    heads: FittedHeads,
    read_features: Callable[[Any], Matrix],
    X: Any,
    y: Any,
    target: Any = "loss",
) -> tuple[Matrix, np.ndarray] | None:
    """Return features and codes of validation rows, checked; None without such rows.

    Parameters
    ----------
    heads : FittedHeads
    read_features : callable
        Maps new rows, in the form that the estimator takes, to checked features.
    X, y
        `X_val` and `y_val` as in :meth:`ConceptInfluenceExplainer.edit`.
    target
        Not yet checked. Where it needs no labels, and there are none, the codes are
        those of the predicted classes.
    """
    if (X is None) != (y is None) and (X is None or needs_labels(target)):
        given, missing = ("X_val", "y_val") if y is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}; pass both or neither.")
    if X is None:
        return None
    check_row_order(X_val=X, y_val=y)
    with error_context("X_val", "what X is in fit"):
        features = read_features(X)
    if y is None:
        return features, explained_codes(heads, features, None)
    return features, class_codes(heads.classes, features, y, name="y_val")


def check_target_of_edit(
    heads: FittedHeads,
    edit: Edit,
    target: Any,
    validation: tuple[Matrix, np.ndarray] | None,
) -> Any:
    """Return the target of which an edit's effect is recorded, checked.

    Parameters
    ----------
    heads : FittedHeads
        Before the edit.
    edit : Edit
    target
        As in :meth:`ConceptInfluenceExplainer.edit`.
    validation : (features, codes) or None
    """
    if validation is None:
        if not isinstance(target, str) or target != "loss":
            raise ValueError(
                f"target={target!r} is what the effect on validation rows is measured "
                "in, and there are none; pass X_val and y_val."
            )
        return target
    features, codes = validation
    target = checked_target(target, codes, "y_val", "X_val")
    describe_target(heads, target, None)
    numeric_targets(heads, target, codes, torch.device("cpu"), features, "X_val")
    if isinstance(target, tuple) and target[1] in [
        heads.names[j] for j in edit.dropped_concepts
    ]:
        raise ValueError(
            f"target={target!r} is about a concept that drop_concepts removes; choose "
            "another target, or leave out X_val."
        )
    return target
