"""Which changes of training rows would help a target: compared, chosen, guarded.

The effect of each change alone has a closed form. The effect of a whole list is another
question, because the best of many thousands of changes look better than they are, and
their effects do not add up. So lists are chosen on nine tenths of the validation rows,
applied, and measured on the others. How far the choice depends on the rows is measured
too, because it is a part of the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ..._inputs.progress import counted
from ...numerics.bottleneck import TrainingData
from ...numerics.edits import Limits, solve_edit
from ..engine import Solved
from .candidates import CandidateEdits, Changes
from .validation import Validation

FOLDS = 10
LEAST_FOR_INTERVAL = 50  # validation rows; with fewer it would not hold what it says
_LEVEL = 0.95
_TOL, _MAX_ITER = 1e-6, 100


@dataclass(frozen=True)
class ListEffects:
    """What lists do to validation rows, those that chose them and those that did not.

    Attributes
    ----------
    fold : ndarray of shape (n_validation,), int
        The fold of each row.
    of_lists : ndarray of shape (n_folds, n_validation)
        The effect on each row of the list that the rows outside a fold choose.
    drawn : ndarray of shape (n_draws,) or None
        The mean of `held_out` on rows that are drawn anew, for a target of a set, whose
        change can be another one on other rows.
    """

    fold: np.ndarray
    of_lists: np.ndarray
    drawn: np.ndarray | None = None

    def held_out(self) -> np.ndarray:
        """Return the effect on each row of the list that it did not choose."""
        effects: np.ndarray = self.of_lists[self.fold, np.arange(len(self.fold))]
        return effects

    def mean(self) -> float:
        """Return the effect on rows that did not choose the list."""
        return float(self.held_out().mean())

    def interval(self) -> tuple[float, float] | None:
        """Return the confidence interval of the mean; None if there are too few rows.

        Eq. (26) of docs/mathematics.rst; of a set, percentiles of draws of its rows.
        """
        n = len(self.fold)
        if n < LEAST_FOR_INTERVAL:
            return None
        if self.drawn is not None:
            return self._interval_of_draws(self.drawn)
        # Rows of different folds are not independent: each had a part in choosing the
        # list that the other is measured with.
        variance = self.held_out().var(ddof=1) + self.variance_of_choice()
        reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * np.sqrt(variance / n)
        return float(self.mean() - reach), float(self.mean() + reach)

    def _interval_of_draws(self, drawn: np.ndarray) -> tuple[float, float] | None:
        """Return the percentiles of effects on drawn rows, with the error of choice.

        The errors of choice are evenly spaced quantiles, each met by every draw. None
        if there are no draws.
        """
        if not len(drawn):
            return None
        spread = np.sqrt(self.variance_of_choice() / len(self.fold))
        places = (np.arange(len(drawn)) + 0.5) / len(drawn)
        total = np.add.outer(drawn, spread * stats.norm.ppf(places))
        low, high = np.quantile(total, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return float(low), float(high)

    def variance_of_choice(self) -> float:
        """Return how much the effect on one row varies with the rows that choose.

        The jackknife over folds, for effects less their mean over rows.
        """
        changed = self.of_lists - self.of_lists.mean(axis=0)
        return float((len(changed) - 1) * changed.var(axis=1, ddof=1).mean())


@dataclass(frozen=True)
class SuggestionSet:
    """A list of changes, and how good such lists are.

    Attributes
    ----------
    changes : Changes
        The changes that all validation rows choose.
    std_errors : ndarray of shape (n_changes,)
        Standard errors of their effects.
    effects : ListEffects
        The effects of lists that the rows outside a fold choose.
    value : float
        The target of the current model, or its mean over rows.
    related : bool or None
        Whether labels fit predictions; None if the target is not about labels.
    n_candidates : int
        Number of changes that were compared.
    """

    changes: Changes
    std_errors: np.ndarray
    effects: ListEffects
    value: float
    related: bool | None
    n_candidates: int


def suggest(
    candidates: CandidateEdits,
    validation: Validation,
    budget: int,
    random_state: np.random.RandomState,
) -> SuggestionSet:
    """Choose changes on all validation rows, and measure how good such lists are."""
    chosen, effects, n_candidates = cross_fit(
        candidates, validation, budget, random_state
    )
    return SuggestionSet(
        chosen,
        candidates.std_errors(chosen, validation),
        effects,
        validation.value(),
        validation.related(),
        n_candidates,
    )


def cross_fit(
    candidates: CandidateEdits,
    validation: Validation,
    budget: int,
    random_state: np.random.RandomState,
    n_folds: int = FOLDS,
) -> tuple[Changes, ListEffects, int]:
    """Return the list that all rows choose, and effects of lists that others choose.

    Parameters
    ----------
    candidates : CandidateEdits
    validation : Validation
    budget : int
    random_state : RandomState
    n_folds : int

    Returns
    -------
    chosen : Changes
    effects : ListEffects
        The effects of lists that the rows outside a fold choose.
    n_candidates : int
        Number of changes that were compared.
    """
    fold = folds(len(validation), n_folds, random_state)
    inside = fold != np.arange(n_folds)[:, None]
    inside = np.concatenate([inside, np.ones((1, len(fold)), dtype=bool)])
    adjoint = validation.adjoint(inside / inside.sum(axis=1, keepdims=True))
    best, n_candidates = candidates.best(adjoint)
    most = validation.room
    *lists, chosen = [candidates.choose(changes, budget, most) for changes in best]
    before = validation.outcomes(candidates.solved)
    after = _measure(candidates, validation, lists)
    of_lists = np.stack([validation.effects(before, one) for one in after])
    drawn = validation.drawn(before, _by_fold(after, fold), random_state)
    return chosen, ListEffects(fold, of_lists, drawn), n_candidates


def _by_fold(after: list[np.ndarray], fold: np.ndarray) -> np.ndarray:
    """Return what the list that a row did not choose made of it."""
    return np.stack([after[k][row] for row, k in enumerate(fold)])


def _measure(
    candidates: CandidateEdits, validation: Validation, lists: list[Changes]
) -> list[np.ndarray]:
    """Apply lists, and return what comes of all validation rows, for each list."""
    # Most rows are the same for any two folds, so short lists are often equal.
    found: dict[frozenset[tuple[float, ...]], np.ndarray] = {}
    with candidates.progress.stage("Measuring lists", len(lists)) as advance:
        for changes in counted(lists, advance):
            if _as_set(changes) not in found:
                after = solve_edited(candidates.solved, candidates.edited(changes))
                found[_as_set(changes)] = validation.outcomes(after)
    return [found[_as_set(changes)] for changes in lists]


def _as_set(changes: Changes) -> frozenset[tuple[float, ...]]:
    """Return the changes without their order and their effects."""
    columns = changes.rows.tolist(), changes.paths.tolist(), changes.values.tolist()
    return frozenset(zip(*columns, strict=True))


def solve_edited(solved: Solved, data: TrainingData, tol: float = _TOL) -> Solved:
    """Return the model that training on other data gives."""
    edited = solve_edit(
        solved.bottleneck,
        solved.data,
        data,
        solved.factors,
        penalty=solved.factors.penalty,
        concept_penalties=solved.factors.concept_penalties,
        limits=Limits(tol, _MAX_ITER),
    )
    return replace(solved, bottleneck=edited.bottleneck, data=data)


def folds(n_rows: int, n_folds: int, random_state: np.random.RandomState) -> np.ndarray:
    """Return a random fold for each row, all of one size but for one row."""
    # Folds with the same share of every class would tell those who choose how often a
    # class occurs among the rows they are measured on: lists would look too good.
    fold: np.ndarray = random_state.permutation(n_rows) % n_folds
    return fold
