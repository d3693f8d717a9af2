"""Agreement is what scikit-learn says, to the last bit."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from skclif.numerics.agreement import macro_f1


@pytest.mark.parametrize("n_values", [1, 2, 3, 12])
@pytest.mark.parametrize("n_samples", [1, 2, 7, 40])
def test_macro_f1_is_that_of_scikit_learn(n_samples, n_values):
    rng = np.random.default_rng(n_samples)
    for _ in range(5):
        true, predicted = rng.integers(n_values, size=(2, n_samples))
        predicted = np.where(rng.random(n_samples) < 0.5, true, predicted)
        expected = f1_score(true, predicted, average="macro")
        assert macro_f1(true, predicted) == expected


def test_values_that_are_nowhere_do_not_count():
    true, predicted = np.array([0, 0, 7]), np.array([0, 9, 7])
    assert macro_f1(true, predicted) == pytest.approx((2 / 3 + 1 + 0) / 3)
