"""What share of what a model knows of the labels goes past its concepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from .._inputs.checks import check_row_order, check_weights
from .._inputs.pipelines import transform_parts
from .._results.interventions import paired_mean
from ._interventions import _codes, bottleneck_of
from ._losses import log_losses


@dataclass(frozen=True)
class ResidualShare:
    """What share of what a model knows of the labels goes past its concepts.

    It is an upper bound of what only the residual can say: the residual also carries
    what concepts could, where that is cheaper for its penalty. The difference to a
    model without a residual says what it is needed for.

    Attributes
    ----------
    known : float
        What the model knows of the labels: the log-loss of their shares minus the
        model's log-loss (nats a row).
    through : float
        The part of it that is lost if the residual adds the same to every row, its mean
        (nats a row).
    share : float
        ``through / known``. It is above 1 if the concepts alone do worse than no model.
        NaN if the model knows nothing.
    low, high : float
        The 95 % interval of the share, for other rows; losses are compared row by row.
        NaN if there is none.
    """

    known: float
    through: float
    share: float
    low: float
    high: float


def residual_share(
    estimator: Any, X: Any, y: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> ResidualShare:
    """Return what share of what a model knows of the labels goes past its concepts.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        Fitted with concepts and `residual_C`.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        Rows that it was not fitted to.
    y : array-like of shape (n_samples,)
        Their labels.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows. None is 1.

    Raises
    ------
    ValueError
        If the model has no residual, lengths differ, or labels are unknown to it.
    """
    model = bottleneck_of(estimator, "residual_share")
    if model.residual_coef_ is None:
        raise ValueError(
            "residual_share needs a model that was fitted with residual_C, but this "
            "one has residual_C=None: nothing goes past its concepts."
        )
    check_row_order(X=X, y=y, sample_weight=sample_weight)
    features = transform_parts(estimator, X)
    residual = model._residual_logits(features)
    through_concepts = model.transform(features) @ model.coef_.T + model.intercept_
    codes = _codes(model.classes_, y, len(residual))
    weight = check_weights(sample_weight, residual)
    mean = np.average(residual, axis=0, weights=weight)
    with_it, without = (
        log_losses(_probabilities(through_concepts + added), codes)
        for added in (residual, mean)
    )
    shares = np.bincount(codes, weight, minlength=len(model.classes_)) / weight.sum()
    nothing = log_losses(np.broadcast_to(shares, (len(codes), len(shares))), codes)
    lost, known = without - with_it, nothing - with_it
    lost_mean, known_mean = (
        float(np.average(each, weights=weight)) for each in (lost, known)
    )
    if known_mean <= 0:
        return ResidualShare(known_mean, lost_mean, np.nan, np.nan, np.nan)
    share = lost_mean / known_mean
    # The interval of a ratio, linearised in both of its means.
    _, reach = paired_mean((lost - share * known)[None], weight)
    half = float(reach[0]) / known_mean
    return ResidualShare(known_mean, lost_mean, share, share - half, share + half)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    """Return probabilities by logits, one column of which is the log-odds of two."""
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    return np.asarray(softmax(logits, axis=1))
