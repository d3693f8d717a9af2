"""Methods of fitted estimators on Dask collections: a partition at a time, lazily."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from itertools import accumulate
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from .collections import is_collection, is_frame

Method = TypeVar("Method", bound=Callable[..., Any])


def by_partition(method: Method) -> Method:
    """Make a method take Dask collections, and answer by a lazy one with as many rows.

    Its only argument is `X`. A row that was made up shows what it returns.
    """

    @wraps(method)
    def wrapped(self: Any, X: Any) -> Any:
        if not is_collection(X):
            return method(self, X)
        return map_partitions(self, method.__name__, X, method(self, rows_like(X, 1)))

    return cast(Method, wrapped)


def map_partitions(estimator: Any, name: str, X: Any, example: Any) -> Any:
    """Return what a method makes of every partition, as a lazy collection.

    Parameters
    ----------
    estimator : estimator
        It is sent to the workers as it is now.
    name : str
        Of the method.
    X : Dask array, dataframe or series
    example : ndarray, DataFrame or dict of str to ndarray
        What the method returns for one row.
    """
    from dask import delayed

    if not is_frame(X) and X.ndim > 1:
        X = X.rechunk({1: -1})
    partitions = X.to_delayed().ravel() if not is_frame(X) else X.to_delayed()
    lengths = [np.nan] * len(partitions) if is_frame(X) else list(X.chunks[0])
    starts = [0, *accumulate(lengths)]
    # The estimator travels once, as a task of its own.
    model, call = delayed(estimator, pure=False), delayed(apply_to_block, pure=False)
    parts = [
        call(model, name, partition, start, example)
        for partition, start in zip(partitions, starts, strict=False)
    ]
    if isinstance(example, dict):
        return {
            key: _array([part[key] for part in parts], lengths, value)
            for key, value in example.items()
        }
    if isinstance(example, pd.DataFrame):
        import dask.dataframe

        return dask.dataframe.from_delayed(parts, meta=example.iloc[:0])
    return _array(parts, lengths, example)


def rows_like(X: Any, n_rows: int) -> Any:
    """Return one row, or none, with the columns and types of a collection."""
    if is_frame(X):
        from dask.dataframe.utils import meta_nonempty

        return meta_nonempty(X._meta).iloc[:n_rows]
    width = X.shape[1:]
    if np.isnan(width).any():
        raise ValueError(
            f"X is a Dask array of shape {X.shape}: how many columns it has is not "
            "known. Make it by map_blocks(..., chunks=...) or from_delayed(..., "
            "shape=...), which say it."
        )
    return np.zeros((n_rows, *width), dtype=X.dtype)


def apply_to_block(
    estimator: Any, name: str, block: Any, start: float, example: Any
) -> Any:
    """Return what a method makes of a block of rows, also of no rows."""
    if not len(block):
        return _empty(example)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(estimator, name)(block)
    _warn_client(caught)
    is_numbered = isinstance(found, pd.DataFrame) and not hasattr(block, "index")
    if is_numbered and not np.isnan(start):
        found.index = pd.RangeIndex(int(start), int(start) + len(found))
    return found


def _warn_client(caught: list[warnings.WarningMessage]) -> None:
    """Warn again: in the client, if this is one of its workers."""
    if not caught:
        return
    try:
        from distributed.worker import get_worker, warn

        get_worker()
    except (ImportError, ValueError):
        warn = warnings.warn
    for one in caught:
        warn(str(one.message), one.category)


def _empty(example: Any) -> Any:
    if isinstance(example, dict):
        return {name: value[:0] for name, value in example.items()}
    return example.iloc[:0] if isinstance(example, pd.DataFrame) else example[:0]


def _array(parts: list[Any], lengths: list[float], example: np.ndarray) -> Any:
    from dask import array

    width = example.shape[1:]
    arrays = [
        array.from_delayed(part, (length, *width), meta=example[:0])
        for part, length in zip(parts, lengths, strict=True)
    ]
    return array.concatenate(arrays, allow_unknown_chunksizes=True)
