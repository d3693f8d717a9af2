"""What is said first of a model that explains little."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.quality import doubts_of

LABELS = np.array(["bad"] * 20 + ["good"] * 40)


def predictions(n_right, n=40):
    """Return held-out rows, half of them bad, of which so many bad ones are right."""
    label = np.array(["bad", "good"] * (n // 2))
    predicted = np.full(n, "good", dtype=object)
    predicted[np.flatnonzero(label == "bad")[:n_right]] = "bad"
    return pd.DataFrame({"label": label, "predicted": predicted})


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


def test_few_training_rows_are_named():
    (doubt,) = doubts_of(LABELS[:49], predictions(15), False)
    assert doubt.startswith("There are only 49 training rows. With fewer than 50")
    assert doubts_of(LABELS[:50], predictions(15), False) == []
    first, _ = doubts_of(LABELS[:40], predictions(0), False)
    assert first.startswith("The black box is no better")
