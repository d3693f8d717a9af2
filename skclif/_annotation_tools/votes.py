"""From the values that several people chose to one value, and to shares of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._storage.values import as_word
from ..exceptions import warn_user
from ..numerics.annotators import Truth, Votes, dawid_skene

MAJORITY, DAWID_SKENE = "majority", "dawid_skene"
METHODS = (MAJORITY, DAWID_SKENE)
# Who chose what.
Vote: TypeAlias = tuple[str, Any]
# More values than this are no categories; matrices of them say nothing.
MOST_VALUES = 100
# Probabilities that differ by less are a tie; shares of votes are exact.
_TIE = 1e-6


@dataclass(frozen=True, eq=False)
class Chosen:
    """What was made of the votes on one label or concept.

    Attributes
    ----------
    values : list
        Each value that somebody chose, numbers first, sorted.
    shares : ndarray of shape (n_texts, n_values)
        Shares of the votes, or probabilities; NaN for a text without votes.
    best : list
        The value with the largest share; None for a tie, and without votes.
    is_tied : list of bool
    annotators : list of dict
        Of each annotator of this label or concept: annotator; n_annotations; agreement,
        the mean share of the other annotators of a text who chose the same value;
        accuracy, by Dawid–Skene alone.
    """

    values: list[Any]
    shares: np.ndarray
    best: list[Any]
    is_tied: list[bool]
    annotators: list[dict[str, Any]]


def choose(votes: Sequence[Sequence[Vote]], method: str, what: str) -> Chosen:
    """Return what was made of the votes on one label or concept.

    Parameters
    ----------
    votes : sequence of sequence of (str, value)
        Of each text; at most one of each annotator.
    method : {"majority", "dawid_skene"}
    what : str
        What the votes are on, for messages.

    Raises
    ------
    ValueError
        If there are too many values for Dawid–Skene.
    """
    coded, values, names = _coded(votes)
    truth = None
    if method == DAWID_SKENE and len(values):
        truth = _truth(coded, values, what)
    shares = coded.shares() if truth is None else truth.shares
    top = np.sort(np.nan_to_num(shares), axis=1)[:, ::-1]
    is_tied = [
        bool(len(row) > 1 and row[0] > 0 and row[0] - row[1] < _TIE) for row in top
    ]
    best = [
        values[int(np.argmax(row))] if some and not tied else None
        for row, some, tied in zip(shares, votes, is_tied, strict=True)
    ]
    counts = np.bincount(coded.annotators, minlength=len(names))
    quality: dict[str, Any] = {"annotator": names, "n_annotations": counts.tolist()}
    quality["agreement"] = coded.agreement().tolist()
    if truth is not None:
        quality["accuracy"] = truth.accuracy.tolist()
    lines = [
        dict(zip(quality, line, strict=True))
        for line in zip(*quality.values(), strict=True)
    ]
    return Chosen(values, shares, best, is_tied, lines)


def _coded(votes: Sequence[Sequence[Vote]]) -> tuple[Votes, list[Any], list[str]]:
    """Return votes as codes, the values, and the names of the annotators."""
    everything = [*chain.from_iterable(votes)]
    values = sorted({value for _, value in everything}, key=_order)
    names = sorted({who for who, _ in everything})
    code = {value: k for k, value in enumerate(values)}
    number = {who: k for k, who in enumerate(names)}
    texts = np.repeat(np.arange(len(votes)), [len(some) for some in votes])
    coded = Votes(
        texts,
        np.array([number[who] for who, _ in everything], dtype=np.intp),
        np.array([code[value] for _, value in everything], dtype=np.intp),
        len(votes),
        len(names),
        len(values),
    )
    return coded, values, names


def _order(value: Any) -> tuple[bool, Any]:
    is_word = isinstance(value, str)
    return is_word, value if is_word else float(value)


def _truth(votes: Votes, values: list[Any], what: str) -> Truth:
    if len(values) > MOST_VALUES:
        raise ValueError(
            f"{what}: {len(values):,} different values, such as "
            f"{as_word(values[0])!r}, are no categories, and Dawid–Skene is about "
            f"categories (up to {MOST_VALUES} values). Group them, or take the "
            "majority."
        )
    truth = dawid_skene(votes)
    if not truth.is_converged:
        warn_user(
            f"{what}: Dawid–Skene had not converged after {len(truth.values):,} "
            "iterations; its probabilities are not exact.",
            ConvergenceWarning,
        )
    return truth
