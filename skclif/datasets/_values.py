"""Values of labels, concepts and groups: words or numbers, and what looks odd."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Any

from .._storage.values import as_numbers, as_word, is_exact, is_number
from ..exceptions import DataFileError, DataFileWarning, warn_user
from ._columns import Column, rows_in_words

_COMMA = re.compile(r"[+-]?(0|[1-9]\d{0,14}),\d+", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+([.,]\d+)?", re.ASCII)
_TRUTHS = {"true": "True", "false": "False"}
_FEW = 0.02  # share of values that may be typing errors
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
_NAMED = 5

WORDS, WHOLE, NUMBERS = "words", "whole numbers", "numbers"
COMMAS, TRUTHS = "numbers with decimal commas", "True or False"


def typed(column: Column, doubts: Doubts) -> tuple[list[Any], str]:
    """Return the values of cells, None where there is none, and their kind.

    Every format gives the same: numbers if all values are numbers, whatever they were
    written as, and words otherwise. True and False are words, too. Whole numbers that
    no float holds are words, because they are codes.
    """
    present = [cell for cell in column.cells if cell is not None]
    values, kind = _of_one_kind(column, present, doubts)
    if kind is WORDS:
        doubts.of_spellings(column, values)
    doubts.of_missing(column, values)
    known = iter(values)
    return [None if cell is None else next(known) for cell in column.cells], kind


def _of_one_kind(
    column: Column, values: list[Any], doubts: Doubts
) -> tuple[list[Any], str]:
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
    doubts.of_kinds(column, values, words)
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


class Doubts:
    """What looks odd in the columns of a file; one warning for each kind.

    Parameters
    ----------
    source : str
        The file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.mixed: list[str] = []
        self.alike: list[str] = []
        self.missing: dict[str, list[str]] = {}  # by value
        self.ticked: dict[str, Any] = {}  # by column

    def of_kinds(self, column: Column, values: list[Any], words: list[str]) -> None:
        """Note a few words among numbers, or a few numbers among words."""
        is_numeral = [is_number(word) for word in words]
        # Digits that are no number, as in "007", are codes among codes.
        is_word = [not word.isdigit() and not is_number(word) for word in words]
        odd = min(is_word, is_numeral, key=sum)
        is_mixed = len({isinstance(value, str) for value in values}) == 2
        is_rare = sum(odd) <= _FEW * len(words) or (1 == sum(odd) <= len(words) / 5)
        strange = {word for word, is_odd in zip(words, odd, strict=True) if is_odd}
        if not strange or all(map(_seems_missing, strange)):
            return
        if not (is_rare or is_mixed):
            self._of_both_kinds(column, words, is_numeral, is_word)
            return
        present = [cell is not None for cell in column.cells]
        numbers = column.take(present).take(odd).numbers
        first = next(word for word in words if word in strange)
        self.mixed.append(f"{column.name!r} ({first!r} in {rows_in_words(numbers)})")

    def _of_both_kinds(
        self,
        column: Column,
        words: list[str],
        is_numeral: list[bool],
        is_word: list[bool],
    ) -> None:
        """Note that words keep numbers from being numbers, with examples of both."""
        numbers, others = (
            [repr(word) for word in dict.fromkeys(compress(words, chosen))][:2]
            for chosen in (is_numeral, is_word)
        )
        if len(numbers) == 2:  # one number may be a word, as in "Route 66"
            self.mixed.append(
                f"{column.name!r} (numbers: {', '.join(numbers)}; "
                f"words: {', '.join(others)})"
            )

    def of_spellings(self, column: Column, words: list[str]) -> None:
        """Note words that differ only in capitals, blanks or forms of characters."""
        counts = Counter(words)
        spellings: dict[str, list[str]] = {}
        for word in counts:
            folded = unicodedata.normalize("NFKC", "".join(word.split())).casefold()
            spellings.setdefault(folded, []).append(word)
        named = [
            " and ".join(f"{word!r} ({counts[word]})" for word in words)
            for words in spellings.values()
            if len(words) > 1
        ]
        if named:
            self.alike.append(f"{column.name!r}: {_listed(named, '; ')}")

    def of_missing(self, column: Column, values: list[Any]) -> None:
        """Note values that people write where there is none."""
        counts = Counter(values)
        has_plus = "+" in counts
        odd = [v for v in counts if _seems_missing(v) and not (has_plus and v == "-")]
        for value in odd or _sentinels(counts):
            columns = self.missing.setdefault(as_word(value), [])
            columns.append(f"{counts[value]} in {column.name!r}")

    def of_one_value(self, column: Column, values: list[Any]) -> None:
        """Note a concept that is one value or empty, as ticked boxes are."""
        present = {value for value in values if value is not None}
        if len(present) == 1 and None in values:
            (self.ticked[column.name],) = present

    def warn(self) -> None:
        """Warn of what was noted."""
        correct = "If that is an error, correct these rows."
        if self.mixed:
            self._warn(
                f"words and numbers are mixed in {_listed(self.mixed)}, and are all "
                "read as words.",
                correct,
                correct,
            )
        if self.alike:
            once = "If one value is meant, write it in one way in the file."
            self._warn(
                "values differ only in capitals or blanks, and are read as different "
                f"values: {_listed(self.alike, '; ')}.",
                once,
                once,
            )
        if self.missing:
            self._warn_of_missing()
        if self.ticked:
            self._warn_of_ticked()

    def _warn(self, message: str, python: str, command: str) -> None:
        about = f"{self.source}: {message}"
        warn_user(
            DataFileWarning(about, python=python, command=command), DataFileWarning
        )

    def _warn_of_missing(self) -> None:
        named = [f"{word!r} ({_listed(cs)})" for word, cs in self.missing.items()]
        options = " ".join(f"--missing {shlex.quote(word)}" for word in self.missing)
        is_one = len(self.missing) == 1
        advice = f"If {'it means' if is_one else 'they mean'} that there is no value,"
        self._warn(
            f"{', '.join(named)} {'is read as a value' if is_one else 'are values'}.",
            f"{advice} add {', '.join(map(repr, self.missing))} to na_values.",
            f"{advice} give {options}.",
        )

    def _warn_of_ticked(self) -> None:
        named = [f"{name!r} ({value!r})" for name, value in self.ticked.items()]
        empty = {
            name: 0 if isinstance(value, int | float) else "no"
            for name, value in self.ticked.items()
        }
        options = " ".join(
            f"--empty {shlex.quote(f'{name}={value}')}" for name, value in empty.items()
        )
        advice = "If empty means another value, say which:"
        self._warn(
            f"{_listed(named)} {'has' if len(named) == 1 else 'have'} one value and "
            "empty cells, which mean not annotated.",
            f"{advice} empty={empty!r}.",
            f"{advice} {options}.",
        )


def _listed(words: Sequence[str], separator: str = ", ") -> str:
    more = len(words) - _NAMED
    named = separator.join(words[:_NAMED])
    return f"{named}{separator}and {more} more" if more > 0 else named


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
