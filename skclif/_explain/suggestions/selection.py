"""Which changes of training rows would help a target: compared, chosen, guarded.

The effect of every change alone comes in closed form. What a whole list is worth is
another question, because the best of many thousands look better than they are and do
not add up: lists are chosen on nine tenths of the validation rows, applied, and
measured on the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ...numerics.edits import Limits, solve_edit
from ..engine import Solved
from .candidates import CandidateEdits, Changes
from .validation import Validation

FOLDS = 10
_LEVEL = 0.95
_TOL, _MAX_ITER = 1e-6, 100


@dataclass(frozen=True)
class SuggestionSet:
    """A list of changes, and what is known of such lists.

    Attributes
    ----------
    changes : Changes
        Chosen on all validation rows.
    std_errors : ndarray of shape (n_changes,)
        Of their effects.
    effects : ndarray of shape (n_validation,)
        On each validation row, of the list that the rows outside its fold choose.
    value : float
        The mean target as the model is.
    related : bool or None
        Whether labels fit predictions; None if it is not about labels.
    n_candidates : int
        How many changes were compared.
    """

    changes: Changes
    std_errors: np.ndarray
    effects: np.ndarray
    value: float
    related: bool | None
    n_candidates: int


def suggest(
    candidates: CandidateEdits, validation: Validation, budget: int, random_state
) -> SuggestionSet:
    """Choose changes on all validation rows, and see what such lists are worth."""
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
    random_state,
    n_folds: int = FOLDS,
) -> tuple[Changes, np.ndarray, int]:
    """Return what all validation rows choose, and effects of lists that others chose.

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
        On every row, of the list that the rows outside its fold choose.
    n_candidates : int
        How many changes were compared.
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


def solve_edited(solved: Solved, data, tol: float = _TOL) -> Solved:
    """Return the model that training on other data gives."""
    edited = solve_edit(
        solved.bottleneck,
        solved.data,
        data,
        solved.factors,
        penalty=solved.factors.penalty,
        concept_penalty=solved.factors.concept_penalty,
        limits=Limits(tol, _MAX_ITER),
    )
    return replace(solved, bottleneck=edited.bottleneck, data=data)


def folds(codes: np.ndarray, n_folds: int, random_state) -> np.ndarray:
    """Return a random fold for every row, with the same share of every class."""
    # StratifiedKFold refuses rows whose classes are all smaller than the folds are
    # many, and warns of one that is.
    order = np.lexsort((random_state.permutation(len(codes)), codes))
    fold = np.empty(len(codes), dtype=int)
    fold[order] = np.arange(len(codes)) % n_folds
    return fold


def interval_of(effects: np.ndarray) -> tuple[float, float]:
    """Return the confidence interval of the mean effect."""
    n = len(effects)
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * effects.std(ddof=1) / np.sqrt(n)
    return float(effects.mean() - reach), float(effects.mean() + reach)
