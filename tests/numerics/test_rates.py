"""The rate of wrong values of a source, against truth and a slow reference."""

import numpy as np
import pytest
from scipy.stats import binom

from skclif.numerics.rates import wrong_rate


def drawn(rate, n, rng, shift=2.0):
    """Return log-ratios of values, of which some are wrong."""
    wrong = rng.random(n) < rate
    seen = rng.normal(np.where(wrong, shift, 0.0))
    return shift * seen - shift**2 / 2  # of two normal distributions


@pytest.mark.parametrize("rate", [0.03, 0.3])
def test_the_rate_is_found_and_its_interval_covers_it(rate):
    rng = np.random.default_rng(0)
    found = [wrong_rate(drawn(rate, 300, rng)) for _ in range(200)]
    assert np.mean([one.rate for one in found]) == pytest.approx(rate, rel=0.1)
    covered = [one.low <= rate <= one.high for one in found]
    assert 0.91 < np.mean(covered) < 0.99


def test_it_is_the_maximum_and_the_interval_that_of_the_likelihood():
    ratios = drawn(0.2, 80, np.random.default_rng(1))
    found = wrong_rate(ratios)
    rates = np.linspace(0, 1, 20001)
    likelihood = np.log(1 - rates + rates * np.exp(ratios)[:, None]).sum(axis=0)
    assert found.rate == pytest.approx(rates[likelihood.argmax()], abs=1e-4)
    inside = rates[likelihood >= likelihood.max() - 1.9207294]
    assert (found.low, found.high) == pytest.approx((inside[0], inside[-1]), abs=1e-4)
    assert found.log_likelihood == pytest.approx(likelihood.max())


def test_values_of_which_all_is_known_are_counted():
    n, k = 40, 12
    found = wrong_rate(np.r_[np.full(k, 1e3), np.full(n - k, -np.inf)])
    assert found.rate == pytest.approx(k / n)
    drop = binom.logpmf(k, n, [found.low, found.high]) - binom.logpmf(k, n, k / n)
    np.testing.assert_allclose(drop, -1.9207294, rtol=1e-5)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([-3.0, -2.0], (0.0, 0.0, 0.679)),
        ([3.0, 5.0], (1.0, 0.365, 1.0)),
        ([0.0, 0.0], (0.0, 0.0, 1.0)),
        ([], (0.0, 0.0, 1.0)),
    ],
)
def test_edges(ratios, expected):
    found = wrong_rate(np.array(ratios))
    assert (found.rate, found.low, found.high) == pytest.approx(expected, abs=0.01)
