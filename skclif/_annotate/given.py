"""The annotations that people gave, as shares of the values that have prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.annotations import concept_table, format_value, has_names
from .._inputs.checks import check_length, check_row_order
from .._results.words import how_many

_SUM = 1e-6  # how far shares of a row may be from 1


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
    if not has_names(concepts):
        table = _named(table, list(values))
    columns = _columns(table, values)
    for name, own in columns.items():
        read = _plain if own == [name] else _soft
        found[name] = read(table[own], name, values[name])
    return found


def _named(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    if table.shape[1] != len(names):
        raise ValueError(
            f"concepts has {how_many(table.shape[1], 'column')} without names, but "
            f"there are {how_many(len(names), 'concept')} with prompts: "
            f"{', '.join(names)}. Give a DataFrame whose columns are named."
        )
    return table.set_axis(names, axis=1)


def _columns(
    table: pd.DataFrame, values: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return the columns of each concept: its own, or one for each value."""
    found: dict[str, list[str]] = {}
    for column in table.columns:
        name = column if column in values else column.partition("=")[0]
        if name not in values:
            raise ValueError(
                f"concepts has the column {column!r}, but prompts are there for "
                f"{', '.join(map(repr, values))}. Leave the column out, or give its "
                "values prompts."
            )
        found.setdefault(name, []).append(column)
    for name, own in found.items():
        wanted = [f"{name}={value}" for value in values[name]]
        if own != [name] and sorted(own) != sorted(wanted):
            raise ValueError(
                f"concepts has the columns {', '.join(map(repr, own))} of concept "
                f"{name!r}. It needs {name!r} alone, or a share for each value: "
                f"{', '.join(map(repr, wanted))}."
            )
        if own != [name]:
            found[name] = wanted
    return found


def _plain(table: pd.DataFrame, name: str, values: Sequence[str]) -> np.ndarray:
    column = table[name]
    given = np.flatnonzero(column.notna())
    said = [format_value(value) for value in column.iloc[given].tolist()]
    codes = pd.Index(values).get_indexer(pd.Index(said, dtype=object))
    if (codes < 0).any():
        place = int(np.flatnonzero(codes < 0)[0])
        raise ValueError(
            f"concepts has the value {said[place]!r} for concept {name!r} in row "
            f"{given[place]}, but its values with prompts are "
            f"{', '.join(map(repr, values))}. Correct it, or add the value to the "
            "prompts; NaN is what nobody annotated."
        )
    shares = np.full((len(column), len(values)), np.nan)
    shares[given] = np.eye(len(values))[codes]
    return shares


def _soft(table: pd.DataFrame, name: str, values: Sequence[str]) -> np.ndarray:
    try:
        shares: np.ndarray = table.astype(float).to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"concepts has shares of concept {name!r} that are no numbers: {error}."
        ) from error
    given = ~np.isnan(shares).all(axis=1)
    is_wrong = given & ~(
        (shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) <= _SUM)
    )
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise ValueError(
            f"concepts has the shares {shares[row].tolist()} of concept {name!r} in "
            f"row {row} ({', '.join(values)}). Shares must be 0 or more and sum to 1, "
            "or all be NaN where nobody annotated."
        )
    return shares
