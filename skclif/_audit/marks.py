"""The words of the texts that a page lists, and what they speak for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mark:
    """What the words of a text say for one value.

    Attributes
    ----------
    path : str
        "label" or a concept.
    value : object
        None for a concept of amounts. "above 3" is a label above 3.
    against : object
        Another value; None for the average of all values.
    is_linear : bool
        Whether shares are those of a linear model at the text.
    shares : ndarray of shape (n_words,)
        In log-odds, or in the unit of a concept of amounts; positive = for the value.
    """

    path: str
    value: Any
    against: Any
    is_linear: bool
    shares: np.ndarray


@dataclass(frozen=True)
class MarkedText:
    """The words of a text, and what they say.

    Attributes
    ----------
    spans : ndarray of shape (n_words, 2)
        In characters.
    marks : list of Mark
        What is in question first.
    """

    spans: np.ndarray
    marks: list[Mark]


@dataclass(frozen=True)
class Marks:
    """The marked texts of each list of a page, in the order of the list.

    Attributes
    ----------
    mistakes, suspects, suggestions : list of (MarkedText or None)
        Of the first ones of a list; None for a line that is about no value.
    """

    mistakes: list[MarkedText | None]
    suspects: list[MarkedText | None]
    suggestions: list[MarkedText | None]
