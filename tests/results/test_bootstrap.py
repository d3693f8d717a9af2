"""Bootstrapped means are those of rows that are drawn again."""

import numpy as np
import pytest

from skclif._results import bootstrap
from skclif._results.bootstrap import Estimate, bootstrapped_means


def _draw(n_units, n_bootstraps, seed):
    """Return how often each unit is drawn in each sample."""
    rng = np.random.RandomState(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_bootstraps)


def test_means_are_those_of_the_rows_drawn():
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=8), "b": rng.normal(size=8)}
    values["b"][[1, 4]] = np.nan
    weight = np.array([1.0, 2, 0, 1, 1, 3, 1, 1])
    units = np.array([0, 0, 1, 2, 2, 3, 4, 1])
    found = bootstrapped_means(values, weight, units, 20, np.random.RandomState(1))
    for sample, counts in enumerate(np.vstack([np.ones(5), _draw(5, 20, 1)])):
        rows = [i for i in range(8) for _ in range(int(counts[units[i]]))]
        for name, column in values.items():
            known = [i for i in rows if not np.isnan(column[i])]
            expected = np.average(column[known], weights=weight[known])
            assert found[name][sample] == pytest.approx(expected)


def test_blocks_do_not_change_the_samples(monkeypatch):
    values, ones = {"a": np.arange(6.0)}, np.ones(6)
    made = [
        bootstrapped_means(values, ones, np.arange(6), 50, np.random.RandomState(0))
        for monkeypatch_block in (2**22, 30)
        if not monkeypatch.setattr(bootstrap, "_BLOCK", monkeypatch_block)
    ]
    np.testing.assert_array_equal(made[0]["a"], made[1]["a"])


def test_an_interval_has_the_width_of_the_normal_one():
    rng = np.random.default_rng(0)
    column = rng.normal(size=400)
    rows = np.arange(400)
    draws = bootstrapped_means(
        {"a": column}, np.ones(400), rows, 4000, np.random.RandomState(0)
    )["a"]
    found, error = Estimate.of(draws), column.std() / 20
    assert found.value == pytest.approx(column.mean())
    # The error of a quantile of 4,000 samples is about 4 % of the standard error.
    assert found.low == pytest.approx(column.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(column.mean() + 1.96 * error, abs=0.15 * error)


def test_a_number_without_samples_has_no_interval():
    one = bootstrapped_means(
        {"a": np.ones(3)}, np.ones(3), np.zeros(3, int), 100, np.random.RandomState(0)
    )
    for draws in (one["a"], np.array([1.0, 2.0, np.inf]), np.array([np.nan, 1.0])):
        assert np.isnan([Estimate.of(draws).low, Estimate.of(draws).high]).all()
    assert Estimate.of(one["a"]).value == 1
