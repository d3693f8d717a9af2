"""What a report says of a label that goes past the concepts, where it is known."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier
from skclif.metrics import bottleneck_report
from skclif.metrics._residual import without_residual

N, N_TEST = 800, 800


def made(outside, n=N + N_TEST):
    """Return rows whose label goes by a concept, and by what no concept is about."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    concepts = pd.DataFrame({"food": np.where(X[:, 0] > 0, "good", "bad")})
    score = 3 * np.sign(X[:, 0]) * (1 - outside) + 3 * X[:, 3] * outside
    y = np.where(score + rng.logistic(size=n) > 0, "again", "never")
    return X, y, concepts


def report(outside, bottleneck="hard", **params):
    params = {"residual_C": 1.0, **params}
    clf = ConceptBottleneckClassifier(
        bottleneck=bottleneck, C=10, concept_C=10, **params
    )
    rows = np.arange(N + N_TEST)
    options = {"n_bootstraps": 200, "n_repeats": 1, "random_state": 0}
    return bottleneck_report(clf, *made(outside), cv=[(rows[:N], rows[N:])], **options)


@pytest.fixture(scope="module")
def half():
    return report(0.5)


def estimate(found, name, of="bottleneck"):
    return found.estimates.set_index(["name", "of"]).loc[(name, of)]


def test_it_follows_what_the_label_goes_by(half):
    none, whole = report(0.0), report(1.0)
    assert none["residual"].answer != "yes"
    assert half["residual"].answer == whole["residual"].answer == "yes"
    shares = [estimate(one, "residual")["value"] for one in (none, half, whole)]
    assert -0.02 < shares[0] < 0.02
    assert 0.3 < shares[1] < 0.8
    assert 0.9 < shares[2] < 1.1
    assert (
        "goes past the concepts. The concepts lack no more" in whole["residual"].words
    )


def test_it_is_what_is_lost_of_what_is_known(half):
    X, y, concepts = made(0.5)
    clf = ConceptBottleneckClassifier(
        bottleneck="hard", C=10, concept_C=10, residual_C=1.0
    )
    clf.fit(X[:N], y[:N], concepts=concepts[:N])
    X, y, share = X[N:], y[N:] == clf.classes_[1], (y[:N] == clf.classes_[1]).mean()
    residual = X @ clf.residual_coef_[0]

    def loss(log_odds):
        return np.log1p(np.exp(np.where(y, -log_odds, log_odds))).mean()

    own = loss(clf.decision_function(X))
    without = loss(clf.decision_function(X) - residual + residual.mean())
    prior = loss(np.log(share / (1 - share)))
    expected = (without - own) / (prior - own)
    assert estimate(half, "residual")["value"] == pytest.approx(expected, rel=1e-6)
    proba = without_residual(clf, X, np.ones(len(X)))
    assert -np.log(proba[np.arange(len(X)), y.astype(int)]).mean() == pytest.approx(
        without
    )


def test_what_goes_openly_is_no_leakage(half):
    """Hard activations carry only values, whatever goes past them."""
    leak = estimate(half, "leakage", "hard")
    assert leak["low"] < 0.01
    assert half["leakage"].answer != "yes"
    losses = half.scores.set_index("model")["log_loss"]
    assert losses["hard"] == losses["bottleneck"] < losses["gold"] - 0.05


def test_without_a_residual_nothing_is_said_of_it():
    found = report(0.5, residual_C=None)
    assert "residual" not in [verdict.name for verdict in found.verdicts]
    assert "residual" not in found.estimates["name"].tolist()


def test_probabilities_without_a_residual_are_those_of_the_model():
    X, y, concepts = made(0.5, 60)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(
        without_residual(clf, X, np.ones(60)), clf.predict_proba(X)
    )


def test_few_rows_and_models_that_know_nothing_cannot_tell():
    X, y, concepts = made(0.5, 90)
    clf = ConceptBottleneckClassifier(residual_C=1.0)
    rows = np.arange(90)
    options = {"n_bootstraps": 100, "n_repeats": 1, "random_state": 0}
    few = bottleneck_report(clf, X, y, concepts, cv=[(rows[:60], rows[60:])], **options)
    assert few["residual"].answer == "cannot tell"
    assert "too few to tell" in few["residual"].words
    noise = np.random.default_rng(1).permutation(y)
    none = bottleneck_report(
        clf, X, noise, concepts, cv=[(rows[:30], rows[30:])], **options
    )
    assert none["residual"].answer == "cannot tell"
    assert "not clearly better than the shares" in none["residual"].words
