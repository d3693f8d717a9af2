"""Validation rows, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ...numerics.first_order import Adjoint, add_adjoints, solve_adjoint
from ...numerics.sparse import Matrix
from ...numerics.targets import Question, Target
from ..engine import Solved

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
    about: Callable[[np.ndarray], Callable[[slice], Target]]
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

    def _solved_for(self, question: Question) -> Adjoint:
        bottleneck = self.solved.bottleneck
        derivatives = question.target.derivatives(bottleneck, question.features)
        return solve_adjoint(
            bottleneck, self.solved.inverse, derivatives, question.combine
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
