"""What is known of rows, found by their index where a search hands on labels alone."""

from __future__ import annotations

from typing import Any, TypeVar

import pandas as pd

Table = TypeVar("Table", pd.Series, pd.DataFrame)


def check_index(name: str, known: Table) -> Table:
    """Refuse an index in which rows cannot be found.

    Parameters
    ----------
    name : str
        Of the argument.
    known : Series or DataFrame
    """
    if not known.index.is_unique:
        label = known.index[known.index.duplicated()].tolist()[0]
        raise ValueError(
            f"The index of {name} must not have a label twice, but has {label!r}; "
            f"use reset_index(drop=True) on data, labels and {name}."
        )
    return known


def looked_up(name: str, known: Table, y: Any, routing: str) -> Table:
    """Return what is known of the rows of some labels, in their order.

    Parameters
    ----------
    name : str
        Of the argument.
    known : Series or DataFrame
    y : array-like of shape (n_samples,)
    routing : str
        How to go without an index, for messages.
    """
    index = getattr(y, "index", None)
    if not isinstance(index, pd.Index):
        raise TypeError(
            f"y must be a Series of pandas, so that {name} can be found by its index, "
            f"got {type(y).__module__.partition('.')[0]}.{type(y).__name__}. {routing}"
        )
    unknown = index[~index.isin(known.index)].tolist()
    if unknown:
        raise ValueError(
            f"The index of {name} lacks {unknown[0]!r}, which is in y; give {name} "
            "the index of all of y."
        )
    return known.reindex(index)
