"""Validation rows, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...numerics.first_order import add_adjoints, solve_adjoint
from ..engine import Solved

# Standard scores below which labels in any order would do as well, one time in 100.
_UNRELATED = 2.33


@dataclass(frozen=True)
class Validation:
    """Validation rows, and what is asked of them.

    Attributes
    ----------
    solved : Solved
    features : ndarray of shape (n_validation, n_features)
    codes : ndarray of shape (n_validation,)
        Of the class that each target is about.
    about : callable
        From codes to what gives a slice of targets as the numerics know them.
    about_labels : bool
        Whether targets are about labels, not concepts.
    """

    solved: Solved
    features: np.ndarray
    codes: np.ndarray
    about: Callable
    about_labels: bool

    def __len__(self) -> int:
        return len(self.codes)

    def questions(self, rows=slice(None)) -> list:
        """Return the target of each of some rows, in blocks."""
        return self.solved.questions(
            self.features[rows], self.about(self.codes[rows]), None
        )

    def adjoint(self, weights: np.ndarray):
        """Return the adjoint of weighted sums of the targets, one a row of weights."""
        start, parts = 0, []
        for question in self.questions():
            stop = start + len(question.features)
            combine = question.features.new_tensor(weights[:, start:stop])
            parts.append(self._solved_for(replace(question, combine=combine)))
            start = stop
        return add_adjoints(parts)

    def related(self) -> bool | None:
        """Return whether labels fit predictions; None if it is not about labels."""
        if not self.about_labels:
            return None
        device, basis = self.solved.device, self.solved.basis
        features = torch.from_numpy(self.features).to(device)
        features = features if basis is None else features @ basis
        proba = self.solved.bottleneck.label_probabilities(features)
        log_proba = proba.clamp_min(torch.finfo(proba.dtype).tiny).log()
        return are_related(log_proba.cpu().numpy(), self.codes)

    def adjoints(self):
        """Yield adjoints of the single targets, in blocks."""
        yield from map(self._solved_for, self.questions())

    def _solved_for(self, question):
        bottleneck = self.solved.bottleneck
        derivatives = question.target.derivatives(bottleneck, question.features)
        return solve_adjoint(
            bottleneck, self.solved.factors, derivatives, question.combine
        )


def are_related(log_proba: np.ndarray, codes: np.ndarray) -> bool | None:
    """Return whether labels fit predictions better than in another order.

    None if all labels are the same.

    Parameters
    ----------
    log_proba : ndarray of shape (n, n_classes)
    codes : ndarray of shape (n,)
    """
    n = len(codes)
    if (codes == codes[0]).all():
        return None
    shares = np.bincount(codes, minlength=log_proba.shape[1]) / n
    # The mean over all orders of the labels is that over their shares.
    excess = log_proba[np.arange(n), codes] - log_proba @ shares
    return bool(excess.mean() > _UNRELATED * excess.std(ddof=1) / np.sqrt(n))
