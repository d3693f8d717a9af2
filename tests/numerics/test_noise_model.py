"""What wrong labels teach a model is not held against the right ones."""

import numpy as np
import torch

from skclif.numerics.heads import SoftmaxHead
from skclif.numerics.suspects import LeftOut, _noise_model


def test_predictions_are_freed_of_what_replaced_values_taught():
    """A model of values that are replaced at a rate predicts a mixture."""
    true = np.random.default_rng(0).dirichlet([2, 2, 2], size=50)
    rate, head = 0.3, SoftmaxHead(3)
    mixed = torch.tensor((1 - rate) * true + rate / 3).log()
    scores = mixed @ head.contrasts(mixed).T
    codes = torch.tensor(true.argmax(axis=1))
    terms = LeftOut(head, torch.arange(50), codes, scores, scores)
    right, _ = _noise_model(terms, None).evidence(torch.tensor(rate).double())
    own = true.max(axis=1)
    as_predicted = mixed.exp().numpy().max(axis=1)
    error = np.abs(right.detach().exp().numpy() - own)
    # Probabilities near 0 are smoothed, which costs the others some hundredths.
    assert error.max() < 0.05
    assert error.mean() < 0.25 * np.abs(as_predicted - own).mean()
