"""What a text is compared by: the whole of it, its sentences and their clauses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_SENTENCE = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
# A clause often judges something else than the one before: "good food, but slow".
_CLAUSE = re.compile(
    r"[,;:–—]\s+|\s-+\s|，|；|"
    r"\s(?=(?:but|and|though|although|while|however|because|yet)\s)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_FEWEST_WORDS = 2  # of a clause; one word rarely says what it is about


class Units(NamedTuple):
    """Parts of texts, one after another.

    Attributes
    ----------
    parts : list of str
        Of each text the text itself, then its parts.
    starts : ndarray of shape (n_texts,)
        Where the parts of each text begin.
    owners : ndarray of shape (n_parts,)
        The text of each part.
    """

    parts: list[str]
    starts: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, texts: list[str]) -> Units:
        """Return the parts of texts, each once in its text."""
        found = [list(dict.fromkeys([text, *_parts(text)])) for text in texts]
        counts = np.array([len(own) for own in found], dtype=int)
        owners = np.repeat(np.arange(len(texts)), counts)
        parts = [part for own in found for part in own]
        return cls(parts, np.cumsum(counts) - counts, owners)


def _parts(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.split(text):
        if _WORD.search(sentence):
            yield sentence.strip()
        for clause in _CLAUSE.split(sentence):
            if clause and len(_WORD.findall(clause)) >= _FEWEST_WORDS:
                yield clause.strip()
