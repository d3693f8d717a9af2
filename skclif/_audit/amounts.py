"""Amounts that can hardly be meant: far outside what people annotated."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from .._inputs.values import format_value
from .._results.words import how_many, is_or_are
from ..exceptions import DataFileWarning, warn_user
from .revisions import Change, Revision


def range_of(values: pd.Series) -> tuple[float, float] | None:
    """Return the least and the largest amount; None if there are no two of them."""
    known = pd.to_numeric(values.dropna())
    if known.nunique() < 2:
        return None
    return float(known.min()), float(known.max())


def is_far(value: float, low: float, high: float) -> bool:
    """Return whether a value is further outside a range than the range is wide."""
    return not 2 * low - high <= value <= 2 * high - low


def warn_of_far_amounts(changes: Iterable[Change], revision: Revision) -> None:
    """Name amounts that changes would set far outside those that are there.

    Warns
    -----
    DataFileWarning
        Once for each concept. The amounts are taken as they are.
    """
    model, rows = revision.model, revision.rows
    kinds = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    amounts = [str(name) for name, values in kinds if values is None]
    for name in amounts:
        known = range_of(rows.concepts[name])
        new = [change for change in changes if change.path == name]
        if known is None:
            continue
        far = [one for one in new if one.new is not None and is_far(one.new, *known)]
        if far:
            low, high = (format_value(value) for value in known)
            n = len(far) - 1
            others = (
                f", and so {is_or_are(n)} {how_many(n, 'other new value')}" if n else ""
            )
            warn_user(
                f"{name!r} of {far[0].id!r} becomes {format_value(far[0].new)}, which "
                f"is far outside the values that are there, {low} to {high}{others}. "
                "It is taken as it is; if it is a slip, put it right with another "
                "decision.",
                DataFileWarning,
            )
