"""Whether a head knows anything of its values.

A head that cannot foretell its values cannot say which of them are wrong either. It is
compared with the shares of the values, which know no row from another. Both say how
probable each value is; the head without having seen it. See Eq. (32) of
docs/mathematics.rst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.optimize import minimize
from torch import Tensor

from .heads import CategoricalHead, Head
from .heads.ridge import studentised

# A head knows something if it makes its values more likely than their shares do, by
# this many nats.
FAR_MORE_LIKELY = 6.0


@dataclass(frozen=True)
class Knowledge:
    """What a head knows of its values.

    Attributes
    ----------
    loss : float
        Mean log-loss of the left-out values by the head, its confidence corrected, in
        nats. For numbers, up to a constant.
    loss_of_shares : float
        The same by the shares of the values; by mean and spread of numbers.
    n_terms : int or float
        Number of values, as often as they count.
    """

    loss: float
    loss_of_shares: float
    n_terms: float

    @property
    def gain(self) -> float:
        """By how many nats the head makes all values more likely than shares do."""
        return self.n_terms * (self.loss_of_shares - self.loss)

    @property
    def is_any(self) -> bool:
        """Whether the head knows anything."""
        return self.gain > FAR_MORE_LIKELY


def knowledge(
    head: Head,
    scores: Tensor,
    without: Tensor,
    codes: Tensor,
    counts: Tensor | None = None,
) -> Knowledge:
    """Return what a head knows of its values, which were left out one at a time.

    Parameters
    ----------
    head : Head
    scores, without : Tensor of shape (n_terms, n_scores)
        Scores of the head, with the term and without it.
    codes : Tensor of shape (n_terms,)
        Codes of the values, or numbers.
    counts : Tensor of shape (n_terms,), default=None
        How often each category counts; None is once.
    """
    if head.is_categorical:
        log_p = cast(CategoricalHead, head).log_probabilities(without)
        often = None if counts is None else counts.cpu().numpy()
        return _of_categories(log_p.cpu().numpy(), codes.long().cpu().numpy(), often)
    squares = studentised(scores, without, codes) ** 2
    loss = float(squares.mean().log()) / 2
    return Knowledge(loss, float(codes.var(correction=0).log()) / 2, len(codes))


def _of_categories(
    log_p: np.ndarray, codes: np.ndarray, counts: np.ndarray | None
) -> Knowledge:
    """Fit a power and a factor for each value; the power 0 gives the shares."""
    seen, codes = np.unique(codes, return_inverse=True)
    log_p, m = log_p[:, seen], len(seen)
    often = np.ones(len(codes)) if counts is None else counts
    n = len(codes) if counts is None else float(counts.sum())
    shares = np.bincount(codes, often, minlength=m) / n
    own = np.eye(m)[codes]

    def loss(corrections: np.ndarray) -> tuple[float, np.ndarray]:
        scores = corrections[0] * log_p + corrections[1:]
        scores = scores - scores.max(axis=1, keepdims=True)
        q = np.exp(scores)
        total = q.sum(axis=1, keepdims=True)
        error = often[:, None] * (q / total - own)
        slope = [(error * log_p).sum(), *error.sum(axis=0)]
        value = often @ np.log(total[:, 0]) - often @ (scores * own).sum(axis=1)
        return float(value) / n, np.array(slope) / n

    of_shares = -float(shares @ np.log(shares))
    # Convex. A power below 0 would be a head that knows what is wrong.
    found = minimize(
        loss,
        np.concatenate([[0.0], np.log(shares)]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, None)] + [(None, None)] * m,
        options={"maxiter": 500, "gtol": 1e-9, "ftol": 1e-15},
    )
    return Knowledge(min(float(found.fun), of_shares), of_shares, n)
