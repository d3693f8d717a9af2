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
from ..solved import Solved
from .candidates import CandidateEdits, Changes
from .validation import Validation

FOLDS = 10
LEAST_FOR_INTERVAL = 50  # validation rows; with fewer it would not hold what it says
_LEVEL = 0.95
_TOL, _MAX_ITER = 1e-6, 100
REACH = 2.0  # logits: a logistic loss has less than half the curvature after them
_SPARE = 2  # times the budget: changes whose effects are looked at closely


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
class ChangeEffects:
    """Changes, and what each of them alone does to every validation row.

    Attributes
    ----------
    changes : Changes
    of_rows : ndarray of shape (n_changes, n_validation)
    reach : ndarray of shape (n_changes,)
        How far each change moves the scores of its row at most.
    """

    changes: Changes
    of_rows: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(
        cls, candidates: CandidateEdits, validation: Validation, changes: Changes
    ) -> ChangeEffects:
        """Return changes with their effects on all validation rows."""
        of_rows, reach = candidates.effects(changes, validation)
        return cls(replace(changes, effects=of_rows.mean(axis=1)), of_rows, reach)

    def chosen(
        self, candidates: CandidateEdits, budget: int, most: float = float("inf")
    ) -> ChangeEffects:
        """Return the best changes that are compatible, the best first."""
        kept = candidates.choose(self.changes, budget, most)
        return ChangeEffects(
            self.changes.take(kept), self.of_rows[kept], self.reach[kept]
        )

    def std_errors(self) -> np.ndarray:
        """Return the standard errors of the mean effects: Eq. (26)."""
        n = self.of_rows.shape[1]
        errors: np.ndarray = self.of_rows.std(axis=1, ddof=1) / np.sqrt(n)
        return errors


@dataclass(frozen=True)
class SuggestionSet:
    """A list of changes, and how good such lists are.

    Attributes
    ----------
    changes : Changes
        The changes that all validation rows choose, with the effect of each alone.
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
    # What does not help after all is left out.
    followed = follow(candidates, validation, chosen)
    chosen = followed.chosen(candidates, budget, validation.room)
    return SuggestionSet(
        chosen.changes,
        chosen.std_errors(),
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
) -> tuple[ChangeEffects, ListEffects, int]:
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
    chosen : ChangeEffects
    effects : ListEffects
        The effects of lists that the rows outside a fold choose.
    n_candidates : int
        Number of changes that were compared.
    """
    fold = folds(len(validation), n_folds, random_state)
    inside = fold != np.arange(n_folds)[:, None]
    inside = np.concatenate([inside, np.ones((1, len(fold)), dtype=bool)])
    shares = inside / inside.sum(axis=1, keepdims=True)
    best, n_candidates = candidates.best(validation.adjoint(shares))
    *lists, chosen = choose_lists(candidates, validation, best, shares, budget)
    before = validation.outcomes(candidates.solved)
    after = _measure(candidates, validation, lists)
    of_lists = np.stack([validation.effects(before, one) for one in after])
    drawn = validation.drawn(before, _by_fold(after, fold), random_state)
    closely = ChangeEffects.of(candidates, validation, chosen)
    return closely, ListEffects(fold, of_lists, drawn), n_candidates


def _by_fold(after: list[np.ndarray], fold: np.ndarray) -> np.ndarray:
    """Return what the list that a row did not choose made of it."""
    return np.stack([after[k][row] for row, k in enumerate(fold)])


def choose_lists(
    candidates: CandidateEdits,
    validation: Validation,
    best: list[Changes],
    shares: np.ndarray,
    budget: int,
) -> list[Changes]:
    """Return the lists that several means over validation rows choose.

    The effects of their changes are those on the mean that chooses.

    Parameters
    ----------
    candidates : CandidateEdits
    validation : Validation
    best : list of Changes
        The best change of each row and path for every mean.
    shares : ndarray of shape (n_lists, n_validation)
        The means: shares of the rows.
    budget : int
    """
    # What looks best by linear effects may not be: more than the budget is looked at.
    best = [candidates.leading(changes, _SPARE * budget) for changes in best]
    # Most rows are the same for any two folds, so most changes are too.
    keys = np.concatenate([np.stack([c.rows, c.paths, c.values], axis=1) for c in best])
    different, place = np.unique(keys, axis=0, return_inverse=True)
    rows, paths, values = different.T
    effects = candidates.means(
        Changes(rows.astype(int), paths.astype(int), values, np.zeros(len(rows))),
        validation,
        shares,
    )
    lists, ends = [], np.cumsum([len(changes) for changes in best])
    most = validation.room
    for own, positions, of_mean in zip(
        best, np.split(place, ends[:-1]), effects.T, strict=True
    ):
        changes = replace(own, effects=of_mean[positions])
        lists.append(changes.take(candidates.choose(changes, budget, most)))
    return lists


def follow(
    candidates: CandidateEdits, validation: Validation, chosen: ChangeEffects
) -> ChangeEffects:
    """Return effects of which those of changes that go far are by solving again.

    Such a change moves other rows to where their curvature is another, too.
    """
    far = np.flatnonzero(chosen.reach > REACH)
    if not len(far):
        return chosen
    before, of_rows = validation.outcomes(candidates.solved), chosen.of_rows.copy()
    with candidates.progress.stage("Following changes", len(far)) as advance:
        for change in counted(far, advance):
            edited = candidates.edited(chosen.changes.take(np.array([change])))
            after = solve_edited(candidates.solved, edited)
            of_rows[change] = validation.effects(before, validation.outcomes(after))
    changes = replace(chosen.changes, effects=of_rows.mean(axis=1))
    return replace(chosen, changes=changes, of_rows=of_rows)


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
