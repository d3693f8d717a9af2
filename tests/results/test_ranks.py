"""Rank correlation, held against SciPy's."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from skclif._results.ranks import spearman


@pytest.mark.parametrize("n", [2, 7, 8])
def test_every_row_has_the_correlation_of_scipy(n):
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, size=(2, 20, n)) + np.arange(n) / 4
    expected = [spearmanr(*pair).statistic for pair in zip(first, second, strict=True)]
    np.testing.assert_allclose(spearman(first, second), expected, atol=1e-12)


def test_a_constant_row_has_none():
    constant, rising = np.full((1, 5), 1 / 3), np.arange(5.0)[None]
    assert np.isnan(spearman(constant, rising)).all()
    assert np.isnan(spearman(rising, constant)).all()
