"""Times of rows: dates in ISO 8601, or numbers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from .._storage.values import as_word, is_number, plain
from ._columns import Column

_QUARTER = re.compile(r"(\d{4})[- ]?Q([1-4])", re.IGNORECASE | re.ASCII)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_ADVICE = {
    "python": "Correct them, or name another column with time=.",
    "command": "Correct them, or name another column with --time.",
}


def time_cells(column: Column, missing: Collection[str]) -> Column:
    """Return the cells of times, with None where there is none."""
    cells = [plain(cell) for cell in column.cells]
    return column.holding(
        [
            None if cell is None or str(cell).strip() in missing else cell
            for cell in cells
        ]
    )


def as_times(column: Column) -> np.ndarray:
    """Return times of rows as numbers, or as dates; refuse what is neither.

    Dates with a zone become those of UTC. A month is its first day, a quarter its first
    month.
    """
    cells = column.cells
    words = [str(cell).strip() for cell in cells]
    if all(map(_is_number, cells, words)):
        return np.asarray([float(word) for word in words])
    dates = [_date(cell, word) for cell, word in zip(cells, words, strict=True)]
    unread = [date is None for date in dates]
    if any(unread):
        first = next(c for c, u in zip(cells, unread, strict=True) if u)
        column.refuse(
            unread,
            f"{as_word(first)!r} is no time; write all as dates like 2026-11-29, with "
            "or without a time, or all as numbers",
            **_ADVICE,
        )
    has_zone = [date is not None and date.tzinfo is not None for date in dates]
    if any(has_zone) and not all(has_zone):
        odd = min(has_zone, [not zone for zone in has_zone], key=sum)
        column.refuse(odd, "some times have a zone and others none", **_ADVICE)
    times = pd.to_datetime(pd.Series(dates, dtype=object), utc=all(has_zone))
    found: np.ndarray = times.dt.tz_localize(None).to_numpy()
    return found


def _is_number(cell: Any, word: str) -> bool:
    if isinstance(cell, bool):
        return False
    return isinstance(cell, int | float) or is_number(word)


def _date(cell: Any, word: str) -> datetime.datetime | None:
    if isinstance(cell, datetime.datetime):
        return cell
    if isinstance(cell, datetime.date):
        return datetime.datetime.combine(cell, datetime.time())
    if found := _QUARTER.fullmatch(word):
        return datetime.datetime(int(found[1]), 3 * int(found[2]) - 2, 1)
    if found := _MONTH.fullmatch(word):
        return datetime.datetime(int(found[1]), int(found[2]), 1)
    try:
        return datetime.datetime.fromisoformat(word)
    except ValueError:
        return None
