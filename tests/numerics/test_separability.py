"""Whether a linear rule separates classes, by a linear programme."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from skclif.numerics.separability import are_separable, programme_size

LINE = np.arange(5.0)[:, None]


def _codes(*codes):
    return np.array(codes)


@pytest.mark.parametrize(
    ("X", "codes", "expected"),
    [
        (LINE, _codes(0, 0, 1, 1, 1), True),  # complete
        (LINE[[0, 1, 2, 2, 3]], _codes(0, 0, 0, 1, 1), True),  # a tie on the boundary
        (LINE[[0, 3, 2, 2, 1]], _codes(0, 0, 0, 1, 1), False),
        (LINE[[0, 3, 2, 2, 3]], _codes(0, 0, 0, 1, 1), False),
        # The third class is at one end, the others overlap.
        (LINE[[0, 1, 0, 1, 4]], _codes(0, 0, 1, 1, 2), True),
        (LINE[[0, 1, 0, 1, 0, 1]], _codes(0, 0, 1, 1, 2, 2), False),
    ],
)
def test_known_cases(X, codes, expected):
    assert are_separable(X, codes, intercept=True) is expected


def test_one_column_that_is_positive_in_one_class_only_separates():
    # The other column overlaps, so that all but two rows are on the boundary.
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=60), np.zeros(60)])
    codes = rng.integers(0, 2, 60)
    assert not are_separable(X, codes, intercept=True)
    X[np.flatnonzero(codes == 1)[:2], 1] = 1e-3
    assert are_separable(X, codes, intercept=True)


def test_a_rule_without_a_constant_goes_through_zero():
    X, codes = LINE + 1, _codes(0, 0, 1, 1, 1)
    assert are_separable(X, codes, intercept=True)
    assert not are_separable(X, codes, intercept=False)
    assert are_separable(X - 2.5, codes, intercept=False)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    n_classes=st.integers(2, 4),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_it_agrees_with_where_the_optimum_runs_to(seed, n_classes, scale):
    """Weights of an optimiser stay where they are, or grow with the iterations."""
    rng = np.random.default_rng(seed)
    X = rng.integers(-2, 3, size=(12, 2)).astype(float)
    codes = np.concatenate(
        [np.arange(n_classes), rng.integers(0, n_classes, 12 - n_classes)]
    )
    inputs = np.column_stack([X, np.ones(12)])

    def loss(flat):
        logits = inputs @ flat.reshape(3, n_classes)
        own = logits[np.arange(12), codes]
        return (np.logaddexp.reduce(logits, axis=1) - own).sum()

    def best_within(size):
        bounds = [(-size, size)] * (3 * n_classes)
        start = np.zeros(3 * n_classes)
        return minimize(loss, start, bounds=bounds, method="L-BFGS-B", tol=1e-13).fun

    # On this grid a separating direction gains exp(-12) or more by growing further.
    still_falls = best_within(12.0) - best_within(24.0) > 1e-7
    assert are_separable(scale * X, codes, intercept=True) is bool(still_falls)


def test_size_of_the_programme():
    assert programme_size(10, 3, 4) == 10 * 3 * 4 * 3
