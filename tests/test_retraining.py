"""Influence against the truth: leave-one-out retraining."""

import os

import numpy as np
import pytest

from benchmarks.fidelity import Fidelity, compare, compare_task

from .data import make_concept_data


@pytest.fixture
def seed(request):
    return request.config.getoption("--seed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("C", "concept_C", "spearman", "error"),
    # First order leaves out terms of second order in a row's weight. They shrink with
    # the row's leverage, so with C. Worst measured over rows and paths: .9994 and .07
    # at 0.1, .991 and .13 at 10.
    [(0.1, 0.1, 0.998, 0.1), (10.0, 0.1, 0.99, 0.14), (10.0, 10.0, 0.98, 0.2)],
)
def test_generated_data(C, concept_C, spearman, error, seed):
    X, y, concepts = make_concept_data(300)
    X_test, y_test, _ = make_concept_data(60, seed=1)
    data = (X, y, concepts, X_test, y_test)
    options = {"C": C, "concept_C": concept_C, "n_rows": 100, "seed": seed}
    fidelity = compare(*data, **options, by_scikit_learn=True)
    own = compare(*data, **options)
    assert fidelity["leverage", "row"].estimated.shape == (60, 100)
    for (method, removed), one in fidelity.items():
        assert one.pooled_spearman >= spearman, (method, removed)
        # Leverage leaves out only that curvature changes on the way: measured .02 at
        # 0.1, .05 and .06 at 10.
        bound = error / 2 if method == "leverage" else error
        assert one.relative_error <= bound, (method, removed)
        # Our own fit is as good a truth, up to where scikit-learn stops.
        same = Fidelity(own[method, removed].retrained, one.retrained)
        assert same.relative_error < 1e-3


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif("SKCLIF_DATA" not in os.environ, reason="SKCLIF_DATA is not set")
@pytest.mark.parametrize(
    ("C", "spearman", "path_spearman"),
    # Measured: .96 for rows and .98 or more for paths at 10, .999 at 0.1.
    [(0.1, 0.99, 0.99), (10.0, 0.93, 0.96)],
)
def test_cebab_with_ten_concepts(C, spearman, path_spearman, seed, capsys):
    fidelity = compare_task(
        "cebab-published",
        10,
        C=C,
        concept_C=C,
        n_rows=50,
        n_targets=100,
        seed=seed,
        by_scikit_learn=True,
    )
    for (method, removed), one in fidelity.items():
        if method == "leverage":
            # At 10 the head of a rare value can need a second step: measured .9915 and
            # .10 for the worst path, .997 and .044 for rows.
            assert one.pooled_spearman >= 0.99 - 0.005 * (removed != "row"), removed
            assert one.relative_error <= (0.08 if removed == "row" else 0.15), removed
        else:
            least = spearman if removed == "row" else path_spearman
            assert one.pooled_spearman >= least, removed
    row = fidelity["first_order", "row"]
    with capsys.disabled():
        print(f" median Spearman over targets {row.median_spearman:.4f}", end=" ")
    assert row.estimated.shape == (100, 50)
    assert np.isfinite(row.median_spearman)
    assert row.median_spearman >= spearman - 0.02
