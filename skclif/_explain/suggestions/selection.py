"""Which changes of training rows would help a target: compared, chosen, guarded.

The effect of each change alone has a closed form. The effect of a whole list is another
question, because the best of many thousands of changes look better than they are, and
their effects do not add up. So lists are chosen on nine tenths of the validation rows,
applied, and measured on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ...numerics.bottleneck import TrainingData
from ...numerics.edits import Limits, solve_edit
from ..engine import Solved
from .candidates import CandidateEdits, Changes
from .validation import Validation

FOLDS = 10
_LEVEL = 0.95
_TOL, _MAX_ITER = 1e-6, 100


@dataclass(frozen=True)
class SuggestionSet:
    """A list of changes, and how good such lists are.

    Attributes
    ----------
    changes : Changes
        The changes that all validation rows choose.
    std_errors : ndarray of shape (n_changes,)
        Standard errors of their effects.
    effects : ndarray of shape (n_validation,)
        The effect on each validation row of the list that the rows outside its fold
        choose.
    value : float
        The mean target of the current model.
    related : bool or None
        Whether labels fit predictions; None if the target is not about labels.
    n_candidates : int
        Number of changes that were compared.
    """

    changes: Changes
    std_errors: np.ndarray
    effects: np.ndarray
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
        float(candidates.solved.values(validation.questions()).mean()),
        validation.related(),
        n_candidates,
    )


def cross_fit(
    candidates: CandidateEdits,
    validation: Validation,
    budget: int,
    random_state: np.random.RandomState,
    n_folds: int = FOLDS,
) -> tuple[Changes, np.ndarray, int]:
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
    effects : ndarray of shape (n_validation,)
        The effect on each row of the list that the rows outside its fold choose.
    n_candidates : int
        Number of changes that were compared.
    """
    fold = folds(validation.codes, n_folds, random_state)
    inside = fold != np.arange(n_folds)[:, None]
    inside = np.concatenate([inside, np.ones((1, len(fold)), dtype=bool)])
    adjoint = validation.adjoint(inside / inside.sum(axis=1, keepdims=True))
    best, n_candidates = candidates.best(adjoint)
    *lists, chosen = [candidates.choose(changes, budget) for changes in best]
    effects = np.empty(len(fold))
    for number, changes in enumerate(lists):
        out = np.flatnonzero(fold == number)
        held_out = validation.questions(out)
        after = solve_edited(candidates.solved, candidates.edited(changes))
        effects[out] = after.values(held_out) - candidates.solved.values(held_out)
    return chosen, effects, n_candidates


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


def folds(
    codes: np.ndarray, n_folds: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Return a random fold for each row, with the same share of every class."""
    # StratifiedKFold warns if a class has fewer rows than there are folds, and refuses
    # rows if this holds for every class.
    order = np.lexsort((random_state.permutation(len(codes)), codes))
    fold = np.empty(len(codes), dtype=int)
    fold[order] = np.arange(len(codes)) % n_folds
    return fold


def interval_of(effects: np.ndarray) -> tuple[float, float]:
    """Return the confidence interval of the mean: Eq. (26) of docs/mathematics.rst."""
    n = len(effects)
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * effects.std(ddof=1) / np.sqrt(n)
    return float(effects.mean() - reach), float(effects.mean() + reach)
