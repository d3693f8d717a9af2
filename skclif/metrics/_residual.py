"""What a bottleneck says of labels if nothing goes past its concepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax


def without_residual(model: Any, X: Any, weight: np.ndarray) -> np.ndarray:
    """Return probabilities of labels with the residual at its mean in every row.

    Without a residual they are those of `predict_proba`.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
        Fitted with concepts.
    X : array-like of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,)
        Of the rows in the mean.
    """
    if model.residual_coef_ is None:
        proba: np.ndarray = model.predict_proba(X)
        return proba
    logits = model.transform(X) @ model.coef_.T + model.intercept_
    logits += np.average(model._residual_logits(X), axis=0, weights=weight)
    if logits.shape[1] == 1:  # the log-odds of the second of two labels
        logits = np.hstack([np.zeros_like(logits), logits])
    return np.asarray(softmax(logits, axis=1))
