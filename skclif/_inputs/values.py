"""Values of concepts: as plain as they are, as words, and as codes."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .checks import LARGEST_NUMBER


def plain_value(value: Any) -> Any:
    """Return a Python number or string; a whole number if it is one."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def format_value(value: Any) -> str:
    """Return a value in the form used in names (1.0 from a column with NaN is 1)."""
    return str(plain_value(value))


def plain_array(values: pd.Series) -> np.ndarray:
    """Return annotated values as an array of the plainest dtype that holds them."""
    array = values.to_numpy(dtype=object)
    kinds = {type(value) for value in array}
    for kind in kinds:
        if not issubclass(kind, Hashable):
            raise ValueError(
                f"Concept {values.name!r} has a value of type {kind.__name__}; an "
                "annotation is one value, a string or a number. Give every value a "
                "concept of its own."
            )
    if kinds and all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return array.astype(bool)
    numbers = (int, float, np.integer, np.floating)
    try:
        if kinds and all(issubclass(kind, int | np.integer) for kind in kinds):
            return array.astype(np.int64)
        if kinds and all(issubclass(kind, numbers) for kind in kinds):
            return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"Concept {values.name!r} has a number too large to compute with. Divide "
            "the numbers by a constant, or use .astype(str) if they are codes."
        ) from error
    if kinds and all(issubclass(kind, str) for kind in kinds):
        return array.astype(str)
    return array


def is_categorical(values: np.ndarray) -> bool:
    """Return whether values are categories if nobody says so: words, whole numbers."""
    if values.dtype.kind != "f":
        return True
    return bool(np.all(np.isfinite(values) & (values == np.floor(values))))


def finite_numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values of a continuous concept as finite float64."""
    odd = [v for v in values.tolist() if not isinstance(v, int | float)]
    if odd:
        raise ValueError(
            f"Concept {name!r} is continuous, but has the value {odd[0]!r}; give "
            "numbers."
        )
    values = values.astype(np.float64)
    if not (np.abs(values) <= LARGEST_NUMBER).all():
        raise ValueError(
            f"Concept {name!r} is continuous, but has the value "
            f"{values[np.abs(values).argmax()]:.3g}; numbers must be at most "
            f"{LARGEST_NUMBER:g} in size. Divide them by a constant, clip them, or "
            "leave those rows not annotated."
        )
    return values


def value_code(classes: np.ndarray | None, value: Any) -> float | None:
    """Return the code of a value, None if it has none; a number is its own."""
    value = value.item() if isinstance(value, np.generic) else value
    if classes is None:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        size: Any = abs(value) if is_number else np.inf
        return float(value) if size <= LARGEST_NUMBER else None
    if not pd.api.types.is_scalar(value):
        return None
    for code, known in enumerate(classes.tolist()):
        if isinstance(value, bool) == isinstance(known, bool) and value == known:
            return float(code)
    return None


def known_codes(classes: np.ndarray | None, values: pd.Series) -> np.ndarray:
    """Return the codes of values that may be anything, NaN where there is none."""
    if not len(values):
        return np.empty(0)
    objects = values.to_numpy(dtype=object)
    if classes is None:
        numbers = [value_code(None, value) for value in objects]
        return np.array(numbers, dtype=np.float64)  # NaN for None
    codes = np.full(len(objects), np.nan)
    known = classes.astype(object)
    usable = np.array([isinstance(value, Hashable) for value in objects])
    for alike in (_are_bool, _are_not_bool):  # Python says that True is 1
        codes_alike, rows = alike(known).nonzero()[0], alike(objects) & usable
        index = pd.Index(known[codes_alike], dtype=object)
        found = index.get_indexer(pd.Index(objects[rows], dtype=object))
        codes[rows] = np.where(found < 0, np.nan, np.append(codes_alike, -1)[found])
    return codes


def _are_bool(values: np.ndarray) -> np.ndarray:
    return np.array([isinstance(value, bool | np.bool_) for value in values], bool)


def _are_not_bool(values: np.ndarray) -> np.ndarray:
    return ~_are_bool(values)
