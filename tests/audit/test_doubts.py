"""What is said first of a model that explains little."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.quality import doubts_of

LABELS = np.array(["bad"] * 20 + ["good"] * 40)


def predictions(n_right, n=40, loss=0.7):
    """Return held-out rows, half of them bad, of which so many bad ones are right."""
    label = np.array(["bad", "good"] * (n // 2))
    predicted = np.full(n, "good", dtype=object)
    predicted[np.flatnonzero(label == "bad")[:n_right]] = "bad"
    losses = loss + np.random.default_rng(0).normal(0, 0.2, n)
    return pd.DataFrame({"label": label, "predicted": predicted, "loss": losses})


@pytest.mark.parametrize(
    ("n_right", "match"),
    [
        (0, r"The bottleneck is no better than always .* \(50.0% and 50.0% of 40 held"),
        (2, r"The bottleneck is not clearly better than always"),
        (15, None),
    ],
)
def test_a_model_no_better_than_the_majority_is_called_that(n_right, match):
    doubts = doubts_of(LABELS, predictions(n_right), True)
    assert len(doubts) == (match is not None)
    if match is not None:
        with pytest.raises(ValueError, match=match):
            raise ValueError(doubts[0])


def test_a_clear_gain_in_log_loss_is_enough():
    """Shares of 1/3 and 2/3 have a log-loss of 0.75 on these rows."""
    assert doubts_of(LABELS, predictions(2, loss=0.5), True) == []


def test_few_training_rows_are_named():
    (doubt,) = doubts_of(LABELS[:49], predictions(15), False)
    assert doubt.startswith("There are only 49 training rows. With fewer than 50")
    assert doubts_of(LABELS[:50], predictions(15), False) == []
    first, _ = doubts_of(LABELS[:40], predictions(0), False)
    assert first.startswith("The black box is no better")
