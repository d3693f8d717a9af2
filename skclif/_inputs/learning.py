"""What a fit learns of annotations: the values of concepts, and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._results.words import how_many
from ..exceptions import ConstantConceptWarning, ManyValuesWarning, warn_user
from .annotations import Annotations
from .checks import sorted_values
from .many_values import ManyValues
from .schema import ConceptSchema
from .soft import Coded, Shares, coded, distributions_of, values_given
from .values import finite_numbers, is_categorical, plain_array, plain_value

KINDS = ("categorical", "continuous")


def learn(
    annotations: Annotations,
    sample_weight: np.ndarray,
    kinds: dict[str, str] | None = None,
) -> tuple[ConceptSchema, Coded]:
    """Return names and values of the concepts, and the codes of all annotations.

    Annotations of rows or of weight 0 count as missing.

    Parameters
    ----------
    annotations : Annotations
    sample_weight : ndarray of shape (n_samples,)
    kinds : dict of str to {"categorical", "continuous"}, default=None
        Overrides: otherwise numbers that are not whole make a concept continuous.

    Raises
    ------
    ValueError
        If a concept has no observed value, or `kinds` does not fit.

    Warns
    -----
    ConstantConceptWarning
        If a concept has one observed value.
    ManyValuesWarning
        If the values of a concept seem to be no categories, and `kinds` does not
        say that they are.
    """
    table, orders = annotations.table, annotations.orders
    names = tuple(table.columns)
    kinds = check_kinds(kinds, list(names))
    counted = annotations.weights * sample_weight[:, None] > 0
    codes = np.full(annotations.weights.shape, np.nan)
    classes: list[np.ndarray | None] = []
    constants: dict[str, Any] = {}
    shares: Shares = {}
    for j, name in enumerate(names):
        observed = counted[:, j] & table.iloc[:, j].notna().to_numpy()
        cells, kind = table.iloc[observed, j], kinds.get(name)
        if name in annotations.soft:
            soft, codes[observed, j], shares = _learn_soft(
                name, cells.tolist(), kind, shares
            )
            classes.append(soft)
            if len(soft) == 1:
                constants[str(name)] = plain_value(soft[0])
            continue
        values = plain_array(cells)
        known, codes[observed, j] = _learn_column(name, values, kind, orders.get(name))
        classes.append(known)
        constants |= _constant(name, known, values, len(values), kinds)
    warn_of_constants(constants)
    schema = ConceptSchema(names, tuple(classes), annotations.as_frame)
    return schema, Coded(codes, shares)


def learn_schema(
    head: Annotations,
    values: Sequence[np.ndarray],
    counts: Sequence[int],
    kinds: dict[str, str] | None,
) -> ConceptSchema:
    """Return names and values of concepts, as `learn` does, from what stands for rows.

    Parameters
    ----------
    head : Annotations
        Of plain concepts; the rows are not looked at.
    values : sequence of ndarray
        The `representatives` of every concept.
    counts : sequence of int
        Number of annotations for which they stand.
    kinds : dict of str to {"categorical", "continuous"} or None
    """
    names, orders = tuple(head.table.columns), head.orders
    kinds = check_kinds(kinds, list(names))
    classes: list[np.ndarray | None] = []
    constants: dict[str, Any] = {}
    for name, own, n_rows in zip(names, values, counts, strict=True):
        known, _ = _learn_column(name, own, kinds.get(name), orders.get(name))
        classes.append(known)
        constants |= _constant(name, known, own, n_rows, kinds)
    warn_of_constants(constants)
    return ConceptSchema(names, tuple(classes), head.as_frame)


def representatives(cells: pd.Series, kind: str | None) -> np.ndarray:
    """Return values from which the same is learned as from all given annotations.

    They are the distinct values of categories; of continuous numbers the smallest, the
    largest, and one that is not whole.

    Parameters
    ----------
    cells : Series
        Annotations that are given, of one concept.
    kind : {"categorical", "continuous"} or None
        None if the values say it.
    """
    values = plain_array(cells)
    if not len(values):
        return values
    if kind == "continuous":
        values = finite_numbers(str(cells.name), values)
        return np.array([values.min(), values.max()])
    if kind is None and not is_categorical(values):
        odd = values[~(values == np.floor(values)) | ~np.isfinite(values)]
        return np.array([values.min(), values.max(), odd[0]])
    return sorted_values(values, f"Concept {cells.name!r}")


def check_kinds(kinds: dict[str, str] | None, names: list[str]) -> dict[str, str]:
    """Return the kinds of concepts that were given, by names that there are."""
    kinds = {} if kinds is None else kinds
    unknown = [name for name in kinds if name not in names]
    if unknown:
        raise ValueError(
            f"concept_kinds names {unknown[0]!r}, but the concepts are "
            f"{', '.join(map(repr, names))}."
        )
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise ValueError(
                f"concept_kinds gives {name!r} the kind {kind!r}; use 'categorical' or "
                "'continuous'."
            )
    return kinds


def values_in_order(
    name: str, values: Sequence[Any], order: list[Any] | None
) -> np.ndarray | None:
    """Return the distinct values as a fit holds them; None for continuous numbers.

    They are sorted if the order lacks one of them, or is None.
    """
    if order is not None and not set(values) <= set(order):
        order = None
    column = pd.Series(list(values), dtype=object, name=name)
    return _learn_column(name, plain_array(column), None, order)[0]


def warn_of_constants(constants: Mapping[str, Any]) -> None:
    """Name the concepts of which only one value is there.

    Parameters
    ----------
    constants : mapping of str to object
        The value by the name of the concept.
    """
    if not constants:
        return
    several = len(constants) > 1
    named = ", ".join(f"{name!r} ({value!r})" for name, value in constants.items())
    warn_user(
        f"{how_many(len(constants), 'concept')} {'have' if several else 'has'} only "
        f"one observed value: {named}. Such a concept is a constant: it tells the "
        "label nothing and has no influence. Annotate rows with another value, or "
        f"leave {'them' if several else 'it'} out.",
        ConstantConceptWarning,
    )


def _constant(
    name: str,
    known: np.ndarray | None,
    values: np.ndarray,
    n_rows: int,
    kinds: Mapping[str, str],
) -> dict[str, Any]:
    """Return the value of a concept that has no other one; warn if it has too many."""
    if len(known) == 1 if known is not None else values.min() == values.max():
        return {str(name): plain_value(values[0])}
    if known is not None and name not in kinds:
        many = ManyValues.of(name, values, n_rows)
        if many is not None:
            warn_user(str(many), ManyValuesWarning)
    return {}


def _learn_column(
    name: str, values: np.ndarray, kind: str | None, order: list[Any] | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the values of a concept, None if continuous, and all codes.

    The values are in `order`, and sorted if it is None.
    """
    if kind is None:
        kind = "categorical" if is_categorical(values) else "continuous"
    if kind == "continuous":
        values = finite_numbers(name, values)
    observed = sorted_values(values, f"Concept {name!r}")
    if not len(observed):
        raise _nothing_annotated(name)
    if kind == "continuous":
        return None, values
    codes = np.searchsorted(observed, values)
    if order is None:
        return observed, codes
    places = np.argsort(pd.Index(order).get_indexer(pd.Index(observed)))
    return observed[places], np.argsort(places)[codes]


def _learn_soft(
    name: str, cells: list[Any], kind: str | None, shares: Shares
) -> tuple[np.ndarray, np.ndarray, Shares]:
    """Return the values of a concept with soft annotations, all codes, and shares."""
    if kind == "continuous":
        raise ValueError(
            f"concept_kinds says that {name!r} is continuous, but its annotations are "
            "shares of values: leave it out of concept_kinds, or give it one column of "
            "numbers."
        )
    given = values_given(cells)
    if not given:
        raise _nothing_annotated(name)
    values = pd.Series(given, dtype=object, name=name)
    known = sorted_values(plain_array(values), f"Concept {name!r}")
    places = {value: k for k, value in enumerate(known.tolist())}
    found, _ = distributions_of(cells, places, len(known))
    return known, *coded(found, shares)


def _nothing_annotated(name: str) -> ValueError:
    return ValueError(
        f"Concept {name!r} has no annotation that has weight. Leave it out, or "
        "annotate rows."
    )
