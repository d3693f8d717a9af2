"""The annotations that people gave, as shares of the values that have prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.checks import check_length, check_row_order
from .._inputs.concept_tables import concept_table, has_names
from .._inputs.soft import SoftValue, distributions_of, join_soft
from .._inputs.values import format_value
from .._results.words import how_many


def read_given(
    concepts: Any, values: Mapping[str, Sequence[str]], X: Any, n_samples: int
) -> dict[str, np.ndarray]:
    """Return the shares that people gave each concept, NaN where they gave none.

    Parameters
    ----------
    concepts : array-like of shape (n_samples, n_columns) or None
        Columns are concepts, or ``concept=value`` with the share of a value.
    values : mapping of str to sequence of str
        The values of each concept.
    X : array-like
        The texts, to compare the order of rows.
    n_samples : int

    Returns
    -------
    shares : dict of str to ndarray of shape (n_samples, n_values)

    Raises
    ------
    TypeError, ValueError
        If columns, values or shares cannot be used.
    """
    found = {n: np.full((n_samples, len(own)), np.nan) for n, own in values.items()}
    if concepts is None:
        return found
    table = concept_table(concepts)
    check_length("concepts", len(table), n_samples)
    check_row_order(X=X, concepts=concepts)
    if has_names(concepts):
        table, _ = join_soft(table)
    else:
        table = _named(table, list(values))
    for name, column in table.items():
        if (concept := str(name).partition("=")[0]) in values and name not in values:
            raise ValueError(
                f"concepts has the column {name!r}, which cannot be read as shares of "
                f"{concept!r}: they are numbers, in a column for each of its values. "
                f"Values as words go into one column, {concept!r}."
            )
        if name not in values:
            raise ValueError(
                f"concepts has the column {name!r}, but prompts are there for "
                f"{', '.join(map(repr, values))}. Leave the column out, or give its "
                "values prompts."
            )
        found[str(name)] = _shares(column, str(name), values[name])
    return found


def refuse_annotations(y: Any, values: Mapping[str, Sequence[str]]) -> None:
    """Refuse annotations that are given where labels are, and would be forgotten."""
    for name in map(str, getattr(y, "columns", ())):
        if name.partition("=")[0] in values:
            raise TypeError(
                f"y has the column {name!r}, as annotations have, and y is for labels. "
                "Give annotations by name: concepts=..."
            )


def _named(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    if table.shape[1] != len(names):
        raise ValueError(
            f"concepts has {how_many(table.shape[1], 'column')} without names, but "
            f"there are {how_many(len(names), 'concept')} with prompts: "
            f"{', '.join(names)}. Give a DataFrame whose columns are named."
        )
    return table.set_axis(names, axis=1)


def _shares(column: pd.Series, name: str, values: Sequence[str]) -> np.ndarray:
    """Return the shares that the cells of a concept give its values."""
    given = np.flatnonzero(column.notna())
    cells = [
        cell if isinstance(cell, SoftValue) else format_value(cell)
        for cell in column.iloc[given].tolist()
    ]
    places = {value: code for code, value in enumerate(values)}
    found, unknown = distributions_of(cells, places, len(values))
    for row, value in zip(given.tolist(), unknown, strict=True):
        if value is not None:
            raise ValueError(
                f"concepts has the value {value!r} for concept {name!r} in row {row}, "
                f"but its values with prompts are {', '.join(map(repr, values))}. "
                "Correct it, or add the value to the prompts; NaN is what nobody "
                "annotated."
            )
    shares = np.full((len(column), len(values)), np.nan)
    shares[given] = found
    return shares
