"""Values of labels, concepts and groups: words or numbers, and what looks odd."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .._storage.values import as_numbers, as_word, is_exact, is_number
from ..exceptions import DataFileError, DataFileWarning, warn_user
from ._columns import Column, rows_in_words

_COMMA = re.compile(r"[+-]?(0|[1-9]\d{0,14}),\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+([.,]\d+)?", re.ASCII)
_TRUTHS = {"true": "True", "false": "False"}
_RARE = 0.2  # share of the values of the other kind that are named
# What people and programs write where there is no value. "None", "none" and "unknown"
# are not among them: they are values of many concepts.
_SEEM_MISSING = frozenset(
    # fmt: off
    (
        "n/a",
        "n.a.",
        "n.a",
        "na",
        "nan",
        "nat",
        "null",
        "nil",
        "<na>",
        "\\n",
        "missing",
        "undefined",
        "no majority",
        "no agreement",
        "no label",
        "no annotation",
        "not annotated",
        "not applicable",
        "not available",
        "no answer",
        "no response",
        "no data",
        "no value",
        "none of these",
        "none of the above",
        "#n/a",
        "#null!",
        "#div/0!",
        "#ref!",
        "#value!",
        "#name?",
        "#num!",
    )
    # fmt: on
)
_SIGNS = frozenset("?-–—_./\\*#…")
_SENTINELS = (-9, -99, -999, -9999, 99, 999, 9999)
_NAMED = 3

WORDS, WHOLE, NUMBERS = "words", "whole numbers", "numbers"
COMMAS, TRUTHS = "numbers with decimal commas", "True or False"


def typed(column: Column) -> tuple[list[Any], str]:
    """Return the values of cells, None where there is none, and their kind.

    Every format gives the same: numbers if all values are numbers, whatever they were
    written as, and words otherwise. True and False are words, too. Whole numbers that
    no float holds are words, because they are codes.
    """
    present = [cell for cell in column.cells if cell is not None]
    values, kind = _of_one_kind(column, present)
    if kind is WORDS:
        _warn_of_spellings(column, values)
    _warn_of_missing(column, values)
    known = iter(values)
    return [None if cell is None else next(known) for cell in column.cells], kind


def _of_one_kind(column: Column, values: list[Any]) -> tuple[list[Any], str]:
    is_native = all(isinstance(v, int | float) for v in values)
    if is_native and not any(isinstance(v, bool) for v in values):
        if all(map(is_exact, values)):
            return _numbers(values)
        return [as_word(value) for value in values], WORDS
    words = [as_word(value) for value in values]
    if all(word.casefold() in _TRUTHS for word in words):
        return [_TRUTHS[word.casefold()] for word in words], TRUTHS
    if all(map(is_number, words)):
        return _numbers(words)
    if any("," in word for word in words) and _are_amounts(words):
        _refuse_doubtful(column, words)
        return as_numbers([word.replace(",", ".") for word in words]), COMMAS
    _warn_of_kinds(column, values, words)
    return words, WORDS


def _numbers(values: Sequence[Any]) -> tuple[list[Any], str]:
    numbers = as_numbers(values)
    is_whole = all(isinstance(number, int) for number in numbers)
    return numbers, WHOLE if is_whole else NUMBERS


# --- Decimal commas -------------------------------------------------------------------


def _are_amounts(words: list[str]) -> bool:
    return all(
        is_number(word) or _COMMA.fullmatch(word) or _GROUPED.fullmatch(word)
        for word in words
    )


def _refuse_doubtful(column: Column, words: list[str]) -> None:
    """Refuse numbers that can be read in two ways."""
    with_comma = [word for word in words if "," in word]
    if all(map(_THOUSANDS.fullmatch, with_comma)):
        first = with_comma[0]
        problem = (
            f"{first!r} may be {first.replace(',', '')} or {first.replace(',', '.')}"
        )
    elif all(is_number(word) or _COMMA.fullmatch(word) for word in words):
        points = [word for word in words if "." in word]
        if not points:
            return
        problem = f"{with_comma[0]!r} and {points[0]!r} have different signs"
    else:
        grouped = next(w for w in words if not is_number(w) and not _COMMA.fullmatch(w))
        problem = f"{grouped!r} has separators of thousands"
    raise DataFileError(
        f"{column.source}, column {column.name!r}: {problem}. Write numbers without "
        "separators of thousands, and with one sign for decimals."
    )


# --- What looks odd -------------------------------------------------------------------


def _warn(column: Column, message: str, python: str, command: str) -> None:
    about = f"{column.source}, column {column.name!r}: {message}"
    warn_user(DataFileWarning(about, python=python, command=command), DataFileWarning)


def _warn_of_kinds(column: Column, values: list[Any], words: list[str]) -> None:
    """Warn of a few words among numbers, or a few numbers among words."""
    is_numeral = [is_number(word) for word in words]
    # Digits that are no number, as in "007", are codes among codes.
    is_word = [not word.isdigit() and not is_number(word) for word in words]
    odd = min(is_word, is_numeral, key=sum)
    is_mixed = len({isinstance(value, str) for value in values}) == 2
    if not any(odd) or (sum(odd) > _RARE * len(words) and not is_mixed):
        return
    present = [cell is not None for cell in column.cells]
    numbers = column.take(present).take(odd).numbers
    first = next(word for word, is_odd in zip(words, odd, strict=True) if is_odd)
    advice = "If that is an error, correct these rows."
    _warn(
        column,
        f"words and numbers are mixed ({first!r} in {rows_in_words(numbers)}), and all "
        "are read as words.",
        advice,
        advice,
    )


def _warn_of_spellings(column: Column, words: list[str]) -> None:
    """Warn of words that differ only in capitals, blanks or forms of characters."""
    counts = Counter(words)
    spellings: dict[str, list[str]] = {}
    for word in counts:
        folded = unicodedata.normalize("NFKC", "".join(word.split())).casefold()
        spellings.setdefault(folded, []).append(word)
    alike = [words for words in spellings.values() if len(words) > 1]
    if not alike:
        return
    named = "; ".join(
        " and ".join(f"{word!r} ({counts[word]})" for word in words)
        for words in alike[:_NAMED]
    )
    more = f"; and {len(alike) - _NAMED} more" if len(alike) > _NAMED else ""
    advice = "If one value is meant, write it in one way in the file."
    _warn(
        column,
        f"values differ only in capitals or blanks: {named}{more}. They are read as "
        "different values.",
        advice,
        advice,
    )


def _warn_of_missing(column: Column, values: list[Any]) -> None:
    """Warn of values that people write where there is none."""
    counts = Counter(values)
    has_plus = "+" in counts
    odd = [v for v in counts if _seems_missing(v) and not (has_plus and v == "-")]
    if not odd:
        odd = _sentinels(counts)
    if not odd:
        return
    named = ", ".join(f"{as_word(v)!r} ({counts[v]})" for v in odd[:_NAMED])
    words = [as_word(value) for value in odd[:_NAMED]]
    options = " ".join(f"--missing {shlex.quote(word)}" for word in words)
    is_one = len(odd) == 1
    they = "it means" if is_one else "they mean"
    advice = f"If {they} that there is no value,"
    _warn(
        column,
        f"{named} {'is read as a value' if is_one else 'are read as values'}.",
        f"{advice} add {', '.join(map(repr, words))} to na_values.",
        f"{advice} give {options}.",
    )


def _seems_missing(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value.casefold() in _SEEM_MISSING or set(value) <= _SIGNS


def _sentinels(counts: Counter[Any]) -> list[Any]:
    """Return numbers such as 99 and -9 where all others are small."""
    if not all(isinstance(value, int | float) for value in counts):
        return []
    odd = [value for value in counts if value in _SENTINELS]
    others = [value for value in counts if value not in _SENTINELS]
    return odd if others and all(0 <= value <= 10 for value in others) else []


def warn_of_one_value(column: Column, values: list[Any]) -> None:
    """Warn of a concept that is one value or empty, as ticked boxes are."""
    present = {value for value in values if value is not None}
    n_empty = sum(value is None for value in values)
    if len(present) != 1 or not n_empty:
        return
    (value,) = present
    other = 0 if isinstance(value, int | float) else "no"
    advice = "If empty means another value, say which:"
    _warn(
        column,
        f"{value!r} is its only value; empty cells ({n_empty}) mean that it is not "
        "annotated.",
        f"{advice} empty={{{column.name!r}: {other!r}}}.",
        f"{advice} --empty {shlex.quote(f'{column.name}={other}')}.",
    )
