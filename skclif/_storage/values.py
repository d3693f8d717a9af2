"""Single values of tables: which are numbers, and how a value is written."""

from __future__ import annotations

import datetime
import decimal
import math
import re
import uuid
from collections.abc import Sequence
from typing import Any

# Leading zeros make a code of a number; more than 15 digits do not fit in a float.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE]-\d{1,2})?", re.ASCII)
_EXACT = 2**53  # floats below are exact integers


def as_numbers(values: Sequence[Any]) -> list[Any]:
    """Return ints if all values are whole numbers, floats if all are numbers."""
    values = list(values)
    if all(isinstance(value, str) for value in values):
        values = [value.strip() for value in values]
        if not all(map(is_number, values)):
            return values
        values = [float(value) for value in values]
    if any(isinstance(value, bool) for value in values):
        return values
    if all(value % 1 == 0 and abs(value) < _EXACT for value in values):
        return [int(value) for value in values]
    return values


def is_number(text: str) -> bool:
    """Return whether a text is a number, and not a code."""
    return _NUMBER.fullmatch(text) is not None


def is_whole_text(text: str) -> bool:
    """Return whether a text can be encoded; JSON can hold halves of characters."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def is_exact(value: float) -> bool:
    """Return whether a number is the same as float and as text."""
    return abs(value) < _EXACT


def as_word(value: Any) -> str:
    """Return a value as CSV would have it; 4.0 is the number 4."""
    if isinstance(value, float) and value.is_integer() and is_exact(value):
        value = int(value)
    return str(value)


def plain(value: Any) -> Any:
    """Return a value of any format as Python has it, with None for no value."""
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            return None
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    is_not_a_time = isinstance(value, datetime.date) and value != value
    return None if is_not_a_time else value


def kind_of(value: Any) -> str:
    """Return what a value is, in words, if it is neither text nor a number; else ""."""
    if value is None or isinstance(value, str | bool | int):
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "an infinite number"
    for types, words in _KINDS.items():
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


_KINDS: dict[tuple[type, ...], str] = {
    (list, tuple): "a list",
    (dict,): "an object",
    (bytes,): "bytes",
    (datetime.date, datetime.time): "a date or time",
    (datetime.timedelta,): "a duration",
}
