"""The share of what a model knows that goes past its concepts, where it is known."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier
from skclif.metrics._residual import residual_share

N = 1500


def made(outside, seed=0, n=N):
    """Return rows whose label goes by a concept, and by what no concept is about."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    concepts = pd.DataFrame({"food": np.where(X[:, 0] > 0, "good", "bad")})
    score = 2 * np.sign(X[:, 0]) * (1 - outside) + 2 * X[:, 3] * outside
    y = np.where(score + rng.logistic(size=n) > 0, "again", "never")
    return X, y, concepts


def fit(outside, residual_C=1.0, n=N):
    X, y, concepts = made(outside, n=n)
    clf = ConceptBottleneckClassifier(C=10, concept_C=10, residual_C=residual_C)
    return clf.fit(X, y, concepts=concepts)


@pytest.fixture(scope="module")
def fitted():
    return fit(0.5)


@pytest.mark.parametrize(
    ("outside", "low", "high"), [(0, -0.05, 0.1), (0.5, 0.4, 0.8), (1, 0.9, 1.1)]
)
def test_it_follows_what_the_label_goes_by(outside, low, high):
    X, y, _ = made(outside, seed=1)
    found = residual_share(fit(outside), X, y)
    assert low < found.share < high
    assert found.low < found.share < found.high
    assert found.high - found.low < 0.3


def test_it_is_what_is_lost_of_what_is_known(fitted):
    X, y, _ = made(0.5, seed=1)
    found = residual_share(fitted, X, y)
    codes = np.searchsorted(fitted.classes_, y)
    residual = X @ fitted.residual_coef_[0]

    def loss(log_odds):
        return np.log1p(np.exp(np.where(codes, -log_odds, log_odds))).mean()

    whole = fitted.decision_function(X)
    share = codes.mean()
    prior = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert found.known == pytest.approx(prior - loss(whole))
    without = loss(whole - residual + residual.mean())
    assert found.through == pytest.approx(without - loss(whole))
    assert found.share == pytest.approx(found.through / found.known)


def test_the_interval_covers_other_rows(fitted):
    """Of the share on very many rows, in about 95 of 100 samples."""
    X, y, _ = made(0.5, seed=2, n=40_000)
    truth = residual_share(fitted, X, y).share
    n, covered = 200, 0
    for start in range(0, len(X), n):
        rows = slice(start, start + n)
        found = residual_share(fitted, X[rows], y[rows])
        covered += found.low <= truth <= found.high
    assert 0.91 < covered / (len(X) / n) < 0.985


def test_weight_two_is_two_rows(fitted):
    X, y, _ = made(0.5, seed=1, n=80)
    twice = np.arange(80) % 2 == 0
    rows = np.concatenate([np.arange(80), np.flatnonzero(twice)])
    weighted = residual_share(fitted, X, y, sample_weight=1 + twice)
    repeated = residual_share(fitted, X[rows], y[rows])
    assert weighted.share == pytest.approx(repeated.share)
    assert weighted.known == pytest.approx(repeated.known)


def test_a_model_that_knows_nothing_has_no_share(fitted):
    X, y, _ = made(0.5, seed=1, n=60)
    wrong = np.where(y == "again", "never", "again")
    found = residual_share(fitted, X, wrong)
    assert found.known < 0
    assert np.isnan([found.share, found.low, found.high]).all()


def test_what_has_no_residual_is_refused():
    X, y, _ = made(0.5, n=60)
    with pytest.raises(ValueError, match="fitted with residual_C, but.*residual_C=Non"):
        residual_share(fit(0.5, residual_C=None, n=60), X, y)
