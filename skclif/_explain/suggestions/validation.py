"""Validation rows, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..._models.fitted import FittedHeads
from ...numerics.first_order import (
    Adjoint,
    add_adjoints,
    solve_adjoint,
    stack_adjoints,
)
from ...numerics.removal import Answers
from ...numerics.sparse import Matrix
from ...numerics.targets import Question, SetTarget
from ...numerics.targets import Target as NumericTarget
from ...targets._draws import changes_of_draws
from ...targets._target import (
    Target,
    check_divisible,
    is_gap,
    smallest_group,
    take,
    undefined,
)
from ..requests import numeric_targets, set_target
from ..solved import Solved

# Labels in random order exceed this standard score one time in 100.
_UNRELATED = 2.33


@dataclass(frozen=True)
class Validation:
    """Validation rows, and the questions about them.

    Attributes
    ----------
    solved : Solved
    features : ndarray or SparseFeatures of shape (n_validation, n_features)
    codes : ndarray of shape (n_validation,)
        Codes of the classes that the targets are about.
    about : callable
        Maps codes to a function from a slice to the numeric target of these rows.
    about_labels : bool
        Whether the targets are about labels, not concepts.
    """

    solved: Solved
    features: Matrix
    codes: np.ndarray
    about: Callable[[np.ndarray], Callable[[slice], NumericTarget]]
    about_labels: bool

    def __len__(self) -> int:
        return len(self.codes)

    def questions(self, rows: slice | np.ndarray = slice(None)) -> list[Question]:
        """Return the targets of some rows, in blocks."""
        return self.solved.questions(
            self.features[rows], self.about(self.codes[rows]), None
        )

    def adjoint(self, weights: np.ndarray) -> Adjoint:
        """Return the adjoint of weighted sums of targets, one per row of weights."""
        questions = self.solved.questions(
            self.features, self.about(self.codes), weights
        )
        return add_adjoints([self._solved_for(question) for question in questions])

    def related(self) -> bool | None:
        """Return whether labels fit predictions; None for a target about a concept."""
        if not self.about_labels:
            return None
        features = self.solved.inputs(self.features)
        proba = self.solved.bottleneck.label_probabilities(features)
        log_proba = proba.clamp_min(torch.finfo(proba.dtype).tiny).log()
        return are_related(log_proba.cpu().numpy(), self.codes)

    @property
    def room(self) -> float:
        """By how much the target can become better."""
        return float("inf")

    def value(self) -> float:
        """Return the mean target of the current model."""
        return float(self.solved.values(self.questions()).mean())

    def outcomes(self, solved: Solved) -> np.ndarray:
        """Return what a model makes of every row: its target, (n_validation,)."""
        return solved.values(self.questions())

    def moved(
        self, answers: Answers, concepts: dict[int, torch.Tensor], label: torch.Tensor
    ) -> np.ndarray:
        """Return the outcomes of models whose parameters move, (n_models, …).

        Parameters
        ----------
        answers : Answers
            To `questions`.
        concepts, label
            As in :meth:`Answers.values`.
        """
        found: np.ndarray = answers.values(concepts, label).cpu().numpy()
        return found

    def effects(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return the effect on every row of a change of outcomes, (…, n_validation).

        There can be the outcomes of one model after the change, or of many.
        """
        return after - before

    def of_means(self, shares: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what makes effects on means over rows of outcomes of many models.

        Parameters
        ----------
        shares : ndarray of shape (n_means, n_validation)
            Shares of the rows in every mean.

        Returns
        -------
        effects : callable
            Maps outcomes, (n_models, …), to an ndarray of shape (n_models, n_means).
        """
        before = self.outcomes(self.solved)
        return lambda after: self.effects(before, after) @ shares.T

    def drawn(
        self,
        before: np.ndarray,
        after: np.ndarray,
        random_state: np.random.RandomState,
    ) -> np.ndarray | None:
        """Return mean effects on rows drawn anew; None if the rows' own tell them."""
        return None

    def _solved_for(self, question: Question) -> Adjoint:
        bottleneck = self.solved.bottleneck
        derivatives = question.target.derivatives(bottleneck, question.features)
        return solve_adjoint(
            bottleneck, self.solved.inverse, derivatives, question.sums
        )


@dataclass(frozen=True)
class SetValidation(Validation):
    """Validation rows, and one target of all of them together.

    What a row adds to a change of the target takes the place of the change of its own
    target: Eq. (75) of docs/mathematics.rst.

    Attributes
    ----------
    of_rows : callable
        Maps positions of rows to the target of these rows.
    is_defined : callable
        Whether it is defined for them.
    is_gap : bool
        Whether the target is a gap, which is 0 or more.
    """

    of_rows: Callable[[np.ndarray], SetTarget]
    is_defined: Callable[[np.ndarray], bool]
    is_gap: bool = False

    @property
    def room(self) -> float:
        """By how much the target can become better: a gap ends at 0."""
        return self.value() if self.is_gap else float("inf")

    @cached_property
    def whole(self) -> SetTarget:
        """The target of all rows."""
        return self.of_rows(np.arange(len(self)))

    def adjoint(self, weights: np.ndarray) -> Adjoint:
        """Return the adjoint of the target of some rows, those of weight above 0."""
        parts = []
        for inside in weights > 0:
            rows = np.flatnonzero(inside)
            features = self.solved.inputs(self.features[rows])
            parts.append(self._solved_for(Question(features, self.of_rows(rows))))
        return stack_adjoints(parts)

    def value(self) -> float:
        """Return the target of the current model."""
        return float(self.whole.function(self._probabilities(self.solved)))

    def outcomes(self, solved: Solved) -> np.ndarray:
        """Return the probabilities of a model, (n_validation, n_classes)."""
        return self._probabilities(solved).cpu().numpy()

    def effects(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return what every row adds to the effect on the target, (…, n_validation).

        The mean over the rows is the effect.
        """
        parts = self.whole.contributions(self._tensor(before), self._tensor(after))
        found: np.ndarray = parts.cpu().numpy()
        return found

    def of_means(self, shares: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what makes effects on the target of some rows, those of share above 0.

        They are not those rows' parts in the target of all rows, which knows of others.
        """
        before = self._probabilities(self.solved)
        parts = [np.flatnonzero(share > 0) for share in shares]
        numbers = [(rows, self.of_rows(rows).function) for rows in parts]

        def effects(after: np.ndarray) -> np.ndarray:
            proba = self._tensor(after)
            changes = [
                number(proba[:, rows]) - number(before[rows])
                for rows, number in numbers
            ]
            found: np.ndarray = torch.stack(changes, dim=1).cpu().numpy()
            return found

        return effects

    def drawn(
        self,
        before: np.ndarray,
        after: np.ndarray,
        random_state: np.random.RandomState,
    ) -> np.ndarray | None:
        """Return effects on rows that are drawn with replacement, (n_draws,)."""
        old, new = self._tensor(before), self._tensor(after)
        return changes_of_draws(self.of_rows, self.is_defined, old, new, random_state)

    def moved(
        self, answers: Answers, concepts: dict[int, torch.Tensor], label: torch.Tensor
    ) -> np.ndarray:
        """Return probabilities, (n_models, n_validation, n_classes)."""
        found: np.ndarray = answers.probabilities(concepts, label).cpu().numpy()
        return found

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.solved.device)

    def _probabilities(self, solved: Solved) -> torch.Tensor:
        return solved.bottleneck.label_probabilities(solved.inputs(self.features))


def validation_of(
    solved: Solved,
    heads: FittedHeads,
    features: Matrix,
    codes: np.ndarray,
    target: Any,
    y: Any,
) -> Validation:
    """Return validation rows with what is asked of them.

    Parameters
    ----------
    solved : Solved
    heads : FittedHeads
        The same model.
    features : ndarray or SparseFeatures of shape (n_validation, n_features)
    codes : ndarray of shape (n_validation,)
    target, y
        Checked, as in :meth:`ConceptInfluenceExplainer.suggest_edits`.

    Raises
    ------
    ValueError
        If the target has no derivatives, is not defined for parts of the rows, or
        nobody said which way it is good.
    """
    if not isinstance(target, Target):
        return Validation(
            solved,
            features,
            codes,
            lambda some: numeric_targets(heads, target, some, solved.device),
            about_labels=isinstance(target, str),
        )
    check_divisible(target, "suggest_edits")
    whole = set_target(heads, target, codes, solved.device, features)
    whole.check_differentiable("suggest_edits")
    divided = (
        ". suggest_edits divides the rows of X, and every part needs rows of two groups"
        f"{smallest_group(target)}. Pass more rows of small groups, or join them"
    )

    def of_rows(rows: np.ndarray) -> SetTarget:
        part, is_part = take(target, rows), len(rows) < len(codes)
        return set_target(
            *(heads, part, codes[rows], solved.device, features[rows]),
            "a part of X" if is_part else "X",
            divided if is_part else "",
        )

    return SetValidation(
        solved,
        features,
        codes,
        lambda some: lambda block: whole,
        about_labels=y is not None,
        of_rows=of_rows,
        is_defined=lambda rows: not undefined(take(target, rows), codes[rows], "X"),
        is_gap=is_gap(target),
    )


def are_related(log_proba: np.ndarray, codes: np.ndarray) -> bool | None:
    """Return whether labels fit predictions better than in another order.

    None if all labels are the same. Eq. (27) of docs/mathematics.rst.

    Parameters
    ----------
    log_proba : ndarray of shape (n, n_classes)
    codes : ndarray of shape (n,)
    """
    n = len(codes)
    if (codes == codes[0]).all():
        return None
    shares = np.bincount(codes, minlength=log_proba.shape[1]) / n
    # The mean over all orders of the labels is the mean over their shares.
    excess = log_proba[np.arange(n), codes] - log_proba @ shares
    return bool(excess.mean() > _UNRELATED * excess.std(ddof=1) / np.sqrt(n))
