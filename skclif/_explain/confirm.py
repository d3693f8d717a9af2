"""Influence by two methods: one for all rows, a better one for the top rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .._inputs.progress import Progress
from ..numerics.bottleneck import Bottleneck
from ..numerics.sets import Lost
from ..numerics.targets import Question
from .collect import KeepAll, KeepTop
from .work import Work

# What may confirm the top rows of a method, the best first.
_BETTER = {"leverage": ("newton",), "first_order": ("newton", "leverage")}
# Number of candidates that a method proposes for each row that another confirms.
_CANDIDATES = {"leverage": 2, "first_order": 4}
_TARGETS_AT_ONCE = 64
# Most numbers of influence that are ranked at a time: 128 MB.
_MOST_VALUES = 2**24


@dataclass(frozen=True, eq=False)
class Answered:
    """Influence, and how it was found.

    Attributes
    ----------
    method : str
    values : ndarray of shape (n_answers, n_rows) or (n_answers, n_rows, n_paths)
    rows : ndarray of shape (n_answers, n_rows) or None
        Positions of training rows; None for all of them, or for groups.
    confirmed : ndarray of bool of shape (n_rows,) or None
        The rows by the second method that `method` names, if the others are by the
        first.
    lost : sequence of sequence of Lost
        Of each group, what no other row has. Empty if rows were removed alone.
    """

    method: str
    values: np.ndarray
    rows: np.ndarray | None = None
    confirmed: np.ndarray | None = None
    lost: Sequence[Sequence[Lost]] = ()


class Removes(Protocol):
    """What removes training rows by any method: a solved model."""

    @property
    def bottleneck(self) -> Bottleneck:
        """Its parameters."""

    @property
    def without_optimum(self) -> np.ndarray:
        """Which rows cannot be removed."""

    def blocks(
        self,
        method: str,
        questions: Sequence[Question],
        *,
        paths: bool,
        rows: np.ndarray | None = None,
        progress: Progress,
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield influence as blocks of answers and of training rows."""


@dataclass(frozen=True, eq=False)
class Confirming:
    """Two methods for one request.

    Attributes
    ----------
    solved : Removes
    questions : list of numerics.targets.Question
    work : Work
    screen : {"leverage", "first_order"}
        The method for all rows.
    paths : bool
        Whether the paths are wanted by themselves.
    progress : Progress
        Shows their bars.
    """

    solved: Removes
    questions: Sequence[Question]
    work: Work
    screen: str
    paths: bool
    progress: Progress

    def all_rows(self, kept: KeepAll) -> Answered:
        """Return the influence of all rows, of the top rows by the next better method.

        These have the largest shares of the largest influence on a target.
        """
        for answers, block, part in self._screened(paths=self.paths):
            kept.add(answers, block, part)
        return self.confirmed(kept, self.chosen(kept))

    def chosen(self, kept: KeepAll) -> np.ndarray:
        """Return the rows that are to be confirmed, in order."""
        n_rows = self.work.bears(_BETTER[self.screen][-1], self.screen)
        return np.sort(most_influential(kept, n_rows))

    def confirmed(self, kept: KeepAll, rows: np.ndarray) -> Answered:
        """Return screened influence, with that of some rows by the better method."""
        if not len(rows):
            return Answered(self.screen, kept.values)
        better = _BETTER[self.screen][-1]
        for answers, block, part in self._exact(better, rows):
            kept.add(answers, rows[block], part)
        confirmed = np.zeros(self.work.n_rows, bool)
        confirmed[rows] = True
        return Answered(self._name(better), kept.values, confirmed=confirmed)

    def top_rows(self, n_answers: int, top: int) -> Answered:
        """Return influence and positions of the top rows alone.

        One method proposes rows, and the best one that can removes them. If they are
        too many to remove, the influence is that of the first.
        """
        proposed = self.proposals(n_answers, top)
        for answers, block, part in self._screened(paths=False):
            proposed.add(answers, block, part)
        return self.best_of(proposed, top)

    def proposals(self, n_answers: int, top: int) -> KeepTop:
        """Return what keeps the rows that are proposed for each answer."""
        n_proposed = _CANDIDATES[self.screen] * top
        return KeepTop(n_answers, self.work.n_rows, n_proposed, 1, paths=False)

    def best_of(self, proposed: KeepTop, top: int) -> Answered:
        """Return influence and positions of the top rows among those proposed."""
        rows, positions = np.unique(proposed.rows, return_inverse=True)
        positions = positions.reshape(proposed.rows.shape)
        method = self._best(len(rows))
        exact = np.empty(0)
        for answers, block, part in self._exact(method, rows):
            if not exact.size:
                exact = np.empty((*positions.shape, part.shape[2]))
            own = positions[answers]
            here = (own >= block.start) & (own < block.stop)
            exact[answers][here] = part[here.nonzero()[0], own[here] - block.start]
        totals = exact.sum(axis=2)
        order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, :top]
        values = np.take_along_axis(exact, order[:, :, None], axis=1)
        best = rows[np.take_along_axis(positions, order, axis=1)]
        values = values if self.paths else values.sum(axis=2)
        return Answered(self._name(method), values, best)

    def _best(self, n_rows: int) -> str:
        """Return the best method that can remove so many rows, or that of all rows."""
        for method in _BETTER[self.screen]:
            if n_rows <= self.work.bears(method, self.screen):
                return method
        return self.screen

    def _name(self, method: str) -> str:
        if method == self.screen:
            return method
        return f"{self.screen}, its top rows by {method}"

    def _exact(
        self, method: str, rows: np.ndarray
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        return self.solved.blocks(
            method, self.questions, paths=self.paths, rows=rows, progress=self.progress
        )

    def _screened(self, *, paths: bool) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield blocks as of a removal."""
        for answers, block, part in self.solved.blocks(
            self.screen, self.questions, paths=paths, progress=self.progress
        ):
            yield answers, block, self.as_removal(part, block, paths=paths)

    def as_removal(self, part: np.ndarray, block: slice, *, paths: bool) -> np.ndarray:
        """Return screened influence of some rows in the form of a removal.

        First order has no interaction, which is 0. Where the removal of a row is not
        defined, its influence is NaN.
        """
        if self.screen != "first_order":
            return part
        if paths and len(self.solved.bottleneck.concepts) > 0:
            part = np.pad(part, ((0, 0), (0, 0), (0, 1)))
        part[:, self.solved.without_optimum[block]] = np.nan
        return part


def most_influential(kept: KeepAll, n_rows: int) -> np.ndarray:
    """Return rows by their largest share of the largest influence on a target.

    Parameters
    ----------
    kept : KeepAll
        The influence of all rows; where it is NaN, a row comes last.
    n_rows : int
        Number of rows to return, at most.
    """
    n_targets, n_train = kept.values.shape[:2]
    shares = np.zeros(n_train)
    at_once = max(1, min(_TARGETS_AT_ONCE, _MOST_VALUES // n_train))
    for start in range(0, n_targets, at_once):
        totals = kept.totals(slice(start, start + at_once))
        sizes = np.nan_to_num(np.abs(totals))
        largest = sizes.max(axis=1, keepdims=True)
        np.divide(sizes, largest, out=sizes, where=largest > 0)
        np.maximum(shares, sizes.max(axis=0), out=shares)
    order = np.argsort(-shares, kind="stable")
    return np.asarray(order[:n_rows])
