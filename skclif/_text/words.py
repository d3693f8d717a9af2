"""The words of a text, and their parts of a vector that is a sum over tokens."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Encoding

# One word for a reader, several for most tokenisers.
_ONE_WORD = re.compile(r"\w+(?:['’-]\w+)+|\d+(?:[.,]\d+)+")


@dataclass(frozen=True)
class TextWords:
    """The words that a model reads of one text.

    Attributes
    ----------
    spans : ndarray of shape (n_words, 2), dtype int
        Where words begin and end in the text, in characters, in order.
    vectors : ndarray of shape (n_words, n_features), dtype float64
        What each word adds to the vector of the text.
    rest : ndarray of shape (n_features,), dtype float64
        What the tokens add that a model puts around every text. The sum of all is the
        vector, but for rounding.
    """

    spans: np.ndarray
    vectors: np.ndarray
    rest: np.ndarray

    @property
    def vector(self) -> np.ndarray:
        """The vector of the text, (n_features,)."""
        total: np.ndarray = self.vectors.sum(axis=0) + self.rest
        return total


def find_words(
    text: str, encodings: Sequence[Encoding]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the words of a text, and the word of every token.

    Parameters
    ----------
    text : str
    encodings : sequence of Encoding
        The tokens of each part of the text that is read.

    Returns
    -------
    spans : ndarray of shape (n_words, 2)
        Where words begin and end, in characters. Tokens that stand for blanks alone
        belong to the word before them, or to the first.
    words : list of ndarray of shape (n_tokens,)
        For each part, the word of each token; n_words for tokens that the model adds.
    """
    starts = _starts_of_words(text, encodings)
    begin = np.unique([start for own in starts for start in own if start >= 0])
    end = begin.copy()
    words = []
    for encoding, own in zip(encodings, starts, strict=True):
        index = np.searchsorted(begin, own)
        index[np.asarray(own, dtype=int) < 0] = len(begin)
        for word, (_, stop) in zip(index, encoding.offsets, strict=True):
            if word < len(begin):
                end[word] = max(end[word], stop)
        words.append(index)
    ends = [
        _end_of_marks(text, len(text[:stop].rstrip()), following)
        for stop, following in zip(end, [*begin[1:], len(text)], strict=False)
    ]
    spans = np.stack([begin, np.maximum(begin, ends)], axis=1) if len(begin) else None
    return np.empty((0, 2), dtype=int) if spans is None else spans.astype(int), words


def _end_of_marks(text: str, end: int, limit: int) -> int:
    """Return where what stands on the last letter ends, which tokenisers drop."""
    while end < limit and _is_mark(text[end]):
        end += 1
    return end


def _starts_of_words(text: str, encodings: Sequence[Encoding]) -> list[list[int]]:
    """Return where the word of each token begins; -1 for tokens that models add."""
    joined = [match.span() for match in _ONE_WORD.finditer(text)]
    first = [start for start, _ in joined]
    of_word: dict[int, int] = {}
    last: int | None = None
    found: list[list[int | None]] = []
    for encoding in encodings:
        own: list[int | None] = []
        for word, (start, end), is_added in zip(
            encoding.word_ids,
            encoding.offsets,
            encoding.special_tokens_mask,
            strict=True,
        ):
            if is_added:
                own.append(-1)
                continue
            start += len(text[start:end]) - len(text[start:end].lstrip())
            if start < end and not (last is not None and _goes_on(text, start)):
                last = start if word is None else of_word.setdefault(word, start)
                place = int(np.searchsorted(first, last, side="right")) - 1
                if place >= 0 and last < joined[place][1]:
                    last = joined[place][0]
            own.append(last)
        found.append(own)
    # Blanks before all words belong to the first.
    known = [start for own in found for start in own if start is not None]
    lead = min((start for start in known if start >= 0), default=0)
    return [[lead if start is None else start for start in own] for own in found]


def _goes_on(text: str, start: int) -> bool:
    """Return whether a token is in the middle of a word: some cut at accents."""
    before = text[max(start - 1, 0) : start]
    if not before or before.isspace():
        return False
    return _is_mark(text[start]) or (_is_mark(before) and text[start].isalnum())


def _is_mark(character: str) -> bool:
    """Return whether a character stands on the letter before it, as accents do."""
    return unicodedata.category(character).startswith("M")
