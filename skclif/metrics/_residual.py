"""What a bottleneck says of labels if nothing goes past its concepts."""

from __future__ import annotations

from typing import Any

import numpy as np


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
    from .._models.fitted import FittedHeads  # skclif.metrics loads without torch

    bottleneck, inputs = FittedHeads.of(model).tensors(), model._label_inputs(X)
    beside = slice(bottleneck.concepts.n_activations, None)
    inputs[:, beside] = np.average(inputs[:, beside], axis=0, weights=weight)
    scores = bottleneck.label_scores(bottleneck.label_parameters.new_tensor(inputs))
    return np.asarray(bottleneck.label.probabilities(scores))
