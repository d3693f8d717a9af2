"""The order of values: as their type says it, or as they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd


def order_of(column: Any) -> list[Any] | None:
    """Return the values of an ordered type in their order; None for another type.

    Parameters
    ----------
    column : array-like
        Of pandas with an ordered categorical type, of polars with the type Enum, or an
        ordered dictionary of pyarrow.
    """
    dtype = getattr(column, "dtype", None)
    if isinstance(dtype, pd.CategoricalDtype):
        return dtype.categories.tolist() if dtype.ordered else None
    arrow = getattr(dtype, "pyarrow_dtype", getattr(column, "type", None))
    if getattr(arrow, "ordered", False):
        return _order_of_arrow(column)
    column = nw.from_native(column, pass_through=True, series_only=True)
    if isinstance(column, nw.Series) and isinstance(column.dtype, nw.Enum):
        return list(column.dtype.categories)
    return None


def labels_of(model: Any, y: np.ndarray, order: Sequence[Any] | None) -> Any:
    """Return checked labels as a model should get them: with the order of their type.

    Parameters
    ----------
    model : estimator
        Only a bottleneck reads the order.
    y : ndarray of shape (n_samples,)
    order : sequence or None
        What `order_of` says of the labels as they were given.
    """
    if order is None or not hasattr(model, "label_order"):
        return y
    return pd.Categorical(y, categories=order, ordered=True)


def sorted_order(values: np.ndarray) -> tuple[list[Any], bool]:
    """Return values in the order of sorting, and whether this order means something.

    Texts that are numbers are sorted as numbers. Only for other texts do letters
    decide.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        Each once, sorted.
    """
    listed: list[Any] = values.tolist()
    if not any(isinstance(value, str) for value in listed):
        return listed, True
    numbers = [_number(value) for value in listed]
    if None not in numbers and len(set(numbers)) == len(numbers):
        return [listed[i] for i in np.argsort(np.array(numbers, float))], True
    return listed, False


def _order_of_arrow(column: Any) -> list[Any]:
    array = column.array if isinstance(column, pd.Series) else column
    array = array.__arrow_array__() if hasattr(array, "__arrow_array__") else array
    if hasattr(array, "unify_dictionaries"):  # a ChunkedArray
        array = array.unify_dictionaries().combine_chunks()
    array = array.chunk(0) if hasattr(array, "chunk") else array
    order: list[Any] = array.dictionary.to_pylist()
    return order


def _number(value: Any) -> float | None:
    """Return the finite number that a value is or says."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None
