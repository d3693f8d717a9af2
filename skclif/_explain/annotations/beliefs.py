"""What is believed of labels that nobody knows yet."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from ...numerics.bottleneck import Bottleneck
from ...numerics.sparse import Features

# Each class counts as if half a row more had it, so that none is impossible.
_MORE = 0.5


def beliefs_of_labels(
    bottleneck: Bottleneck, validation: Features, codes: torch.Tensor, rows: Features
) -> torch.Tensor:
    """Return how probable each label of some rows is, calibrated on validation rows.

    The model's own probabilities are those of the rows that it was trained on, which
    need not be like others: least of all where somebody chose them. A softmax
    regression on their logarithms is fitted to validation rows.

    Parameters
    ----------
    bottleneck : Bottleneck
    validation : Tensor or SparseFeatures of shape (n_validation, n_features)
    codes : Tensor of shape (n_validation,)
        Their labels.
    rows : Tensor or SparseFeatures of shape (n, n_features)
    """
    known, asked = _logits(bottleneck, validation), _logits(bottleneck, rows)
    n_classes = known.shape[1]
    X = np.vstack([known, np.tile(known.mean(axis=0), (n_classes, 1))])
    y = np.r_[codes.cpu().numpy(), np.arange(n_classes)]
    weights = np.r_[np.ones(len(known)), np.full(n_classes, _MORE)]
    calibration = LogisticRegression().fit(X, y, weights)
    proba = calibration.predict_proba(asked)
    return torch.from_numpy(proba).to(bottleneck.label_parameters)


def _logits(bottleneck: Bottleneck, features: Features) -> np.ndarray:
    """Return centred log-probabilities of labels, (n, n_classes)."""
    proba = bottleneck.label_probabilities(features)
    logits = proba.clamp_min(torch.finfo(proba.dtype).tiny).log()
    centred: np.ndarray = (logits - logits.mean(dim=1, keepdim=True)).cpu().numpy()
    return centred
