"""Values that an edit brings to a concept, and the model with them.

A concept of which one value was seen is a constant. Its second value makes it a head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ..._inputs.annotations import Annotations
from ..._inputs.learning import values_in_order
from ..._inputs.soft import SoftValue, recoded, values_given
from ..._inputs.training_rows import TrainingRows
from ..._inputs.values import format_value, plain_value, value_code
from ..._models.fitted import FittedHeads
from .empty import Empty, joined_columns, weights_by_value


@dataclass(frozen=True)
class Grown:
    """All values of the concepts to which an edit brings new ones.

    Attributes
    ----------
    values : dict of int to ndarray
        By the position of the concept.
    """

    values: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        heads: FittedHeads,
        given: Mapping[str, Iterable[Any]],
        declared: Mapping[str, list[Any]],
        orders: Mapping[str, list[Any]],
        aside: Mapping[str, Mapping[int, Any]],
    ) -> Grown:
        """Return the values that annotations bring, where a model may get new ones.

        Parameters
        ----------
        heads : FittedHeads
        given : mapping of str to iterable
            Values by concept, perhaps missing or known.
        declared : mapping of str to list
            Values that the type of a concept's column declares.
        orders : mapping of str to list
            The order of the values of each concept whose type has an order.
        aside : mapping of str to mapping of int to object
            What rows without weight say, by concept and row. A constant may get any
            value, and another concept one of these or one that is declared.
        """
        found = {}
        for name, values in given.items():
            j = heads.names.index(name)
            known = heads.values[j]
            if known is None:
                continue
            new = [v for value in values for v in _new_in(known, value)]
            if len(known) > 1:
                said = values_given(aside.get(name, {}).values())
                allowed = [*declared.get(name, []), *said]
                new = [v for v in new if v in allowed]
            if new:
                found[j] = _all_values(name, known, new, orders.get(name))
        return cls(found)

    def add_to(self, heads: FittedHeads) -> FittedHeads:
        """Return heads with the values, which get no probability yet."""
        if not self.values:
            return heads
        known, coef = list(heads.schema.classes), list(heads.concept_coef)
        intercept, parts = list(heads.concept_intercept), []
        for j, columns in enumerate(heads.tensors().concepts.activations):
            part, old = heads.coef[:, columns], known[j]
            if j in self.values and old is not None:
                new = self.values[j]
                by_value = np.zeros((len(part), len(new)))
                by_value[:, _places(old, new)] = weights_by_value(part, len(old))
                part, _ = joined_columns(by_value)
                n_scores = 1 if len(new) == 2 else len(new)
                coef[j] = np.zeros((n_scores, heads.n_features))
                intercept[j] = np.zeros(n_scores)
                known[j] = new
            parts.append(part)
        return replace(
            heads,
            schema=replace(heads.schema, classes=tuple(known)),
            coef=np.hstack(parts),
            concept_coef=tuple(coef),
            concept_intercept=tuple(intercept),
        )

    def recode(self, heads: FittedHeads, rows: TrainingRows) -> TrainingRows:
        """Return rows in the codes of the model with the values."""
        if not self.values:
            return rows
        codes, shares = rows.codes.copy(), rows.shares
        for j, new in self.values.items():
            old = heads.values[j]
            assert old is not None
            codes[:, j], shares = recoded(
                codes[:, j], _places(old, new), len(old), len(new), shares
            )
        return replace(rows, codes=codes, shares=shares)


def values_set_aside(
    heads: FittedHeads, annotations: Annotations | None, codes: np.ndarray
) -> dict[str, dict[int, Any]]:
    """Return what rows without weight say that the model does not know.

    Parameters
    ----------
    heads : FittedHeads
    annotations : Annotations
        Of the fit.
    codes : ndarray of shape (n_samples, n_concepts)
        Of the annotations; NaN where the model does not know a value, or none is given.

    Returns
    -------
    values : dict of str to dict of int to object
        By concept and row; a soft annotation is a dict of shares.
    """
    found: dict[str, dict[int, Any]] = {}
    if annotations is None:
        return found
    weights = heads.schema.arrange(annotations)
    for j, (name, known) in enumerate(zip(heads.names, heads.values, strict=True)):
        if known is None:
            continue
        texts = {format_value(value) for value in known}
        if name in annotations.soft and texts.issuperset(annotations.soft[name]):
            continue  # at once, and not row by row
        place = list(annotations.table.columns).index(name) if annotations.named else j
        column = annotations.table.iloc[:, place]
        rows = np.flatnonzero(
            np.isnan(codes[:, j]) & column.notna().to_numpy() & (weights[:, j] > 0)
        )
        values = column.iloc[rows].to_numpy(dtype=object)
        new = {
            row: _stored(value)
            for row, value in zip(rows.tolist(), values, strict=True)
            if _new_in(known, value)
        }
        if new:
            found[name] = new
    return found


def values_gone(
    heads: FittedHeads, rows: TrainingRows, empty: Empty
) -> dict[str, dict[int, Any]]:
    """Return the annotations of values that go with an edit, like `values_set_aside`.

    Parameters
    ----------
    heads : FittedHeads
        With these values.
    rows : TrainingRows
        After the edit, in the codes of these heads.
    empty : Empty
    """
    found: dict[str, dict[int, Any]] = {}
    for j, lost in empty.concepts.items():
        values, codes = heads.values[j], rows.codes[:, j]
        assert values is not None
        gone = np.flatnonzero(np.isin(codes, lost)).tolist()
        found[heads.names[j]] = {
            row: plain_value(values[int(codes[row])]) for row in gone
        }
        n, names = len(values), [format_value(value) for value in values]
        for row in np.flatnonzero(codes >= n).tolist():
            parts = rows.shares[n][int(codes[row]) - n]
            if parts[lost].any():
                shares = zip(names, parts.tolist(), strict=True)
                found[heads.names[j]][row] = dict(shares)
    return found


def _stored(value: Any) -> Any:
    """Return an annotation as an edit is given it, which pickles as plain data."""
    return value.shares if isinstance(value, SoftValue) else value


def _new_in(known: np.ndarray, value: Any) -> list[Any]:
    """Return the new values that a plain or soft annotation names."""
    if isinstance(value, SoftValue):  # its values are known by their text
        texts = {format_value(each) for each in known}
        return [each for each in value.shares if each not in texts]
    return [value] if _is_new(known, value) else []


def _is_new(known: np.ndarray, value: Any) -> bool:
    if not pd.api.types.is_scalar(value) or pd.isna(value):
        return False
    return value_code(known, value) is None


def _all_values(
    name: str, known: np.ndarray, new: list[Any], order: list[Any] | None
) -> np.ndarray:
    """Return old and new values in the order in which a fit would hold them."""
    listed = [*known.tolist(), *map(plain_value, new)]
    bools = [isinstance(value, bool) for value in listed]
    if any(bools) and not all(bools):  # Python says that True is 1
        others = [value for value in new if isinstance(value, bool) != bools[0]]
        raise ValueError(
            f"concepts gives {name!r} the value {(others or new)[0]!r} beside "
            f"{listed[0]!r}: True and False do not go with numbers or words. Give "
            "values of one type."
        )
    values = values_in_order(name, listed, order)
    if values is None:
        raise ValueError(
            f"concepts gives {name!r} the number {new[0]!r}, which is not whole: the "
            "concept would become continuous. That needs a new fit."
        )
    return values


def _places(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the new code of every old code."""
    return np.array([value_code(new, value) for value in old.tolist()], dtype=int)
