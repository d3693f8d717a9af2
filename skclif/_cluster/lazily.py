"""Methods of fitted estimators on Dask collections: a partition at a time, lazily."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial, wraps
from itertools import accumulate
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from .._inputs.collections import is_collection
from .._inputs.sklearn import _get_output_config
from .collections import check_kind, is_frame

Method = TypeVar("Method", bound=Callable[..., Any])


def by_partition(method: Method) -> Method:
    """Make a method take Dask collections, and answer by a lazy one with as many rows.

    Its only argument is `X`. A row that was made up shows what it returns.
    """

    @wraps(method)
    def wrapped(self: Any, X: Any) -> Any:
        if not is_collection(X):
            return method(self, X)
        if method.__name__ == "transform":
            refuse_tables(self)
        return map_partitions(self, method.__name__, X, method(self, rows_like(X, 1)))

    return cast(Method, wrapped)


def refuse_tables(estimator: Any) -> None:
    """Refuse to make a table in this process of what is lazy, as `set_output` asks.

    Raises
    ------
    ValueError
    """
    kind = _get_output_config("transform", estimator)["dense"]
    if kind != "default":
        raise ValueError(
            f"transform of a Dask collection is a Dask array, and set_output asks for "
            f"a table of {kind} in this process. Use set_output(transform='default') "
            "on this step."
        )


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

    # The estimator travels once, as a task of its own.
    model = delayed(estimator, pure=False)
    if isinstance(example, dict):
        both = np.concatenate(list(example.values()), axis=1)
        found = map_partitions(estimator, name, X, both)
        stops = accumulate(value.shape[1] for value in example.values())
        return {
            key: found[:, stop - value.shape[1] : stop]
            for (key, value), stop in zip(example.items(), stops, strict=True)
        }
    if is_frame(X):
        apply = partial(apply_to_block, name, example)
        return X.map_partitions(apply, model, meta=example[:0])
    if X.ndim > 1:
        X = X.rechunk({1: -1})
    starts = accumulate(X.chunks[0], initial=0)
    call = delayed(partial(apply_to_block, name, example), pure=False)
    blocks = zip(X.to_delayed().ravel(), starts, strict=False)
    parts = [call(block, model, start) for block, start in blocks]
    if isinstance(example, pd.DataFrame):
        import dask.dataframe

        return dask.dataframe.from_delayed(parts, meta=example[:0])
    return _array(parts, X.chunks[0], example)


def rows_like(X: Any, n_rows: int) -> Any:
    """Return one row, or none, with the columns and types of a collection."""
    check_kind("X", X)
    if is_frame(X):
        from dask.dataframe.utils import meta_nonempty

        example = meta_nonempty(X._meta)[:n_rows]
        if example.ndim == 2:
            for j, dtype in enumerate(example.dtypes):
                if dtype.kind == "O" and isinstance(dtype, np.dtype):
                    example.isetitem(j, 0.0)  # objects may be numbers
        return example
    width = X.shape[1:]
    if np.isnan(width).any():
        raise ValueError(
            f"X is a Dask array of shape {X.shape}: how many columns it has is not "
            "known. Make it by map_blocks(..., chunks=...) or from_delayed(..., "
            "shape=...), which say it."
        )
    return np.zeros((n_rows, *width), dtype=X.dtype)


def apply_to_block(
    name: str, example: Any, block: Any, estimator: Any, start: float = np.nan
) -> Any:
    """Return what a method makes of a block of rows, also of no rows.

    Parameters
    ----------
    name : str
        Of the method.
    example : ndarray or DataFrame
        What it returns for one row; arrays by name stand side by side.
    block : array-like
    estimator : estimator
    start : float
        Position of the first row; NaN if it is not known.
    """
    if not len(block):
        return example[:0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(estimator, name)(block)
    _warn_client(caught)
    if isinstance(found, dict):
        return np.concatenate(list(found.values()), axis=1)
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


def _array(parts: list[Any], lengths: Sequence[float], example: np.ndarray) -> Any:
    from dask import array

    width = example.shape[1:]
    arrays = [
        array.from_delayed(part, (length, *width), meta=example[:0])
        for part, length in zip(parts, lengths, strict=True)
    ]
    return array.concatenate(arrays, allow_unknown_chunksizes=True)
