"""What the benchmark of reweighting computes beside fits: noise, errors, pairs."""

import json
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("cleanlab")
reweighting = import_module("benchmarks.reweighting")


@pytest.mark.parametrize("kind", ["uniform", "adjacent"])
def test_noise_changes_a_share_of_labels_to_others(kind):
    y = np.repeat([1, 2, 3, 4, 5], 400)
    noisy = reweighting.pollute(y, kind, 0.2, np.random.default_rng(0))
    changed = noisy != y
    # 2,000 draws: a standard error of .009.
    assert changed.mean() == pytest.approx(0.2, abs=0.03)
    assert set(noisy) == {1, 2, 3, 4, 5}
    steps = np.abs(noisy - y)[changed]
    assert (steps == 1).all() if kind == "adjacent" else steps.max() == 4


def test_no_noise_changes_nothing():
    y = np.repeat([1, 2], 5)
    noisy = reweighting.pollute(y, "none", 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(noisy, y)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy_by_bins():
    proba = np.array([[0.95, 0.05], [0.93, 0.07], [0.4, 0.6], [0.35, 0.65]])
    y = np.array(["a", "b", "b", "b"])
    # A bin at .9 with confidence .94 and half right, one at .6 with .625 and all right.
    expected = 0.5 * abs(0.94 - 0.5) + 0.5 * abs(0.625 - 1.0)
    error = reweighting.calibration_error(y, np.array(["a", "b"]), proba)
    assert error == pytest.approx(expected)


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Store two seeds of one cell, in which weights win and a peer loses."""
    store = tmp_path / "measures.jsonl"
    monkeypatch.setattr(reweighting, "_STORE", store)
    gains = {"noisy": 0.0, "reweighted": 0.05, "CleanLearning": -0.1}
    records = [
        (
            ["logistic regression, C=1", "yelp", "uniform", 0.2, seed, 0, method],
            [0.5 + gain + 0.01 * seed, 0.4, 1.0 - gain, 0.1, 1.0, True],
        )
        for seed in range(2)
        for method, gain in gains.items()
    ]
    store.write_text("".join(json.dumps(record) + "\n" for record in records))
    return reweighting.frame()


def test_differences_are_paired_by_seed(measured):
    pairs = reweighting.paired(measured, "reweighted", "CleanLearning", "accuracy", 0)
    np.testing.assert_allclose(pairs, [0.15, 0.15])
    assert reweighting.interval([0.1, 0.3]) == "+0.200 ± 1.271"


def test_the_summary_has_a_row_a_comparison_that_was_measured(measured):
    rows = reweighting.summary(measured)
    assert [row[1:4] for row in rows] == [
        ["reweighted", "noisy", "0"],
        ["reweighted", "CleanLearning", "0"],
        ["CleanLearning", "noisy", "0"],
    ]
    assert rows[0][4] == "+0.050 ± 0.000"


def test_the_share_that_is_recovered_is_of_the_gain_of_right_rows(tmp_path):
    store = tmp_path / "measures.jsonl"
    losses = {"clean rows added": 1.2, "oracle": 1.0, "reweighted": 1.05}
    records = [
        (
            ["boosting", "yelp", "uniform", rate, 0, 100, method],
            [0.5, 0.4, loss - rate * (method == "reweighted"), 0.1, 1.0, True],
        )
        for rate in (0.1, 0.2, 0.3)
        for method, loss in losses.items()
    ]
    store.write_text("".join(json.dumps(record) + "\n" for record in records))
    shares = reweighting.recovered(reweighting.frame(store), 100)
    np.testing.assert_allclose(sorted(shares), [0.35 / 0.2, 0.45 / 0.2])


def test_cells_are_averages_over_seeds(measured):
    (row,) = reweighting.cells(measured)
    assert row[:4] == ["logistic regression, C=1", "yelp", "uniform 20%", "0"]
    assert row[4] == "0.505 / 1.000"
    assert row[-2:] == ["1.0", "1.0"]
