"""What a spreadsheet makes of a cell when a file is opened and saved.

It reads "004" as the number 4, "1E5" as 100000, "True" as a logical value, and "1-2" as
a date. It writes numbers with as many digits as it shows, with the comma or the point
of the country, and logical values in its language.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

from .._storage.cells import HASH_PREFIX

_NUMBER = re.compile(r"([+-]?[\d.,\s]*\d[.,]?)(?:[eE]([+-]?\d{1,3}))?", re.ASCII)
_LIKE_A_NUMBER = re.compile(r"\d+(e\d+)?", re.ASCII)
_DIGITS = 14  # which every spreadsheet keeps
_LOGICAL = {
    True: ("true", "wahr", "vrai", "verdadero", "vero", "verdadeiro", "waar", "prawda"),
    False: ("false", "falsch", "faux", "falso", "onwaar", "fałsz"),
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov")
_MONTH = {name: number for number, name in enumerate((*_MONTHS, "dec"), 1)}
_MONTH |= {"mrz": 3, "mär": 3, "mai": 5, "okt": 10, "dez": 12}  # in German
_DATE_PART = re.compile(r"\d+|[^\W\d_]+")


def meant(said: str, words: Iterable[str]) -> str | None:
    """Return the word that a cell says, None if that is none of them, or several."""
    words = list(dict.fromkeys(words))
    if said in words:
        return said
    close = [word for word in words if can_become(word, said)]
    return close[0] if len(close) == 1 else None


def can_become(word: str, said: str) -> bool:
    """Return whether a spreadsheet can have made `said` of `word`."""
    return word == said or how_changed(word, said) is not None


def how_changed(word: str, said: str) -> str | None:
    """Return what a spreadsheet took a word for, if it can have made `said` of it."""
    if _logical(word) is not None and _logical(word) == _logical(said):
        return "a logical value"
    if _same_number(word, said):
        return "a number"
    if _same_date(word, said):
        return "a date"
    if word[:1] == "'" and can_become(word[1:], said):
        return "a cell marked as text"
    return None


def same_hash(said: str, known: str) -> bool:
    """Return whether a hash is the known one, or what a spreadsheet makes of it.

    Files of older versions have no prefix, so that some hashes are numbers to one.
    """
    if said == f"{HASH_PREFIX}{known}":
        return True
    if said == known or not _LIKE_A_NUMBER.fullmatch(known):
        return said == known
    try:
        return math.isclose(float(said.replace(",", ".")), float(known), rel_tol=1e-4)
    except (ValueError, OverflowError):
        return False


def number(said: str, *, decimal: str = ".,") -> float | None:
    """Return the number in a cell, with a point or a comma before the decimals."""
    for sign in decimal:
        values = _numbers(said, sign)
        if values is not None:
            return values[0]
    return None


def _logical(word: str) -> bool | None:
    lower = word.casefold()
    return next((value for value, words in _LOGICAL.items() if lower in words), None)


def _same_number(word: str, said: str) -> bool:
    """Return whether two cells are one number, as exactly as the second says it."""
    for exact in filter(None, (_numbers(word, sign) for sign in ".,")):
        for shown in filter(None, (_numbers(said, sign) for sign in ".,")):
            (value, _), (rounded, step) = exact, shown
            tolerance = max(0.6 * step, 10.0**-_DIGITS * abs(value))
            if abs(value - rounded) <= tolerance:
                return True
    return False


def _numbers(cell: str, decimal: str) -> tuple[float, float] | None:
    """Return the number in a cell, and the step of its last digit if it is rounded.

    Only numbers with an exponent are rounded: 1.23457E+19.
    """
    cell = cell.strip().strip("$€£").strip()
    share = 0.01 if cell.endswith("%") else 1.0
    found = _NUMBER.fullmatch(cell.removesuffix("%").strip())
    if found is None:
        return None
    digits, exponent = found[1], found[2]
    thousands = "," if decimal == "." else "."
    whole, point, decimals = digits.partition(decimal)
    groups = re.split(rf"[{thousands}\s]", whole)
    is_grouped = len(groups[0]) in (1, 2, 3, 4) and all(len(g) == 3 for g in groups[1:])
    if (len(groups) > 1 and not is_grouped) or not re.fullmatch(r"\d*", decimals):
        return None
    try:
        power = int(exponent or 0)
        value = float(f"{''.join(groups)}{point and '.'}{decimals}e{power}") * share
        step = 10.0 ** (power - len(decimals)) if exponent else 0.0
    except (ValueError, OverflowError):
        return None
    return (value, step) if math.isfinite(value) else None


def _same_date(word: str, said: str) -> bool:
    """Return whether two cells have the numbers of one date, in any order.

    To a day and a month it adds a year, to a month and a year a day, and to a time
    seconds.
    """
    one, other = _date_numbers(word), _date_numbers(said)
    if one is None or other is None:
        return False
    left = [n % 100 if n >= 1000 else n for n in other]
    for part in one:
        part = part % 100 if part >= 1000 else part
        if part not in left:
            return False
        left.remove(part)
    return len(one) > 1 and sum(part > 0 for part in left) <= (len(one) == 2)


def _date_numbers(cell: str) -> list[int] | None:
    """Return the numbers in what can be a date or a time; None if it can be none."""
    parts = _DATE_PART.findall(cell.casefold())
    rest = _DATE_PART.sub("", cell.casefold())
    if not 2 <= len(parts) <= 7 or set(rest) - set(" -/.:,"):
        return None
    numbers = []
    for part in parts:
        if part.isdigit():
            numbers.append(int(part[:9]))
        elif part not in ("am", "pm", "t", "z"):
            month = _MONTH.get(part[:3])
            if month is None:
                return None
            numbers.append(month)
    return numbers


def is_too_narrow(said: str) -> bool:
    """Return whether a cell is what is written for a column that is too narrow."""
    return len(said) > 1 and set(said) == {"#"}


def changed_ids(said: str, ids: Collection[str]) -> list[str]:
    """Return the ids that a spreadsheet can have made `said` of."""
    return [i for i in ids if i != said and can_become(i, said)]
