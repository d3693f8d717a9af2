"""Few training rows whose removal changes a prediction."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks._flips import Case
from benchmarks.sets import flip
from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer, FlipSet
from skclif._explain import flips as module

from ..data import make_concept_data
from .test_groups import Fitted

N = 60


@pytest.fixture(scope="module")
def data():
    return make_concept_data(N, missing=0.1)


@pytest.fixture(scope="module")
def explainer(data):
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(C=0.5))
    return explainer.fit(X, y, concepts=concepts)


@pytest.fixture
def narrow(monkeypatch):
    """Let few sets be followed, where it does not matter which."""
    monkeypatch.setattr(module, "_WIDTHS", (2, 1))


def unsure(explainer, X, rank=2):
    """Return the row that is predicted with nearly the least lead."""
    proba = np.sort(explainer.predict_proba(X), axis=1)
    return X[[np.argsort(proba[:, -1] - proba[:, -2])[rank]]]


# --- Is it the smallest, and is it true? ----------------------------------------------


@pytest.mark.parametrize("seed", [2, 3, 6])
def test_no_smaller_set_changes_the_prediction(seed):
    case = Case.draw(seed)
    before = np.exp(case.log_proba(np.ones((1, len(case.X)))))[0, 0]
    found, _ = flip(case)
    np.testing.assert_allclose(found.proba[0], before, atol=1e-8)
    assert found.found
    assert len(found.rows) == case.smallest()
    weights = np.ones((1, len(case.X)))
    weights[:, found.rows] = 0
    after = np.exp(case.log_proba(weights))[0, 0]
    np.testing.assert_allclose(found.proba[-1], after, atol=1e-8)


def test_what_is_found_is_what_a_fit_without_the_rows_predicts(explainer, data):
    X, y, concepts = data
    x = unsure(explainer, X)
    found = explainer.smallest_flip_set(x)
    assert found.found
    assert found.proved
    assert found.prediction == explainer.predict(x)[0] != found.prediction_without
    for size in range(len(found.rows) + 1):
        kept = np.delete(np.arange(N), found.rows[:size])
        clf = ConceptBottleneckClassifier(C=0.5)
        clf.fit(X[kept], y[kept], concepts=concepts.iloc[kept])
        proba = clf.predict_proba(x)
        np.testing.assert_allclose(found.proba[size], proba[0], atol=1e-6)
        is_last = size == len(found.rows)
        own = found.prediction_without if is_last else found.prediction
        assert clf.predict(x)[0] == own
    frame = found.to_frame()
    own = found.classes.tolist().index(found.prediction)
    known = ["label", "food", "quiet", "price"]
    assert frame.columns.tolist() == ["row", "proba", "predicted", *known]
    np.testing.assert_array_equal(frame["row"], found.rows)
    np.testing.assert_array_equal(frame["proba"], found.proba[1:, own])
    assert frame["label"].tolist() == y[found.rows].tolist()
    assert frame["predicted"].iloc[-1] == found.prediction_without
    assert repr(found).startswith(f"<FlipSet of {len(found.rows)} row")
    assert f"{found.prediction} becomes {found.prediction_without}" in repr(found)
    assert repr(found).endswith("; proved by refitting>")


@pytest.mark.parametrize("name", ["ordinal", "residual", "soft annotations", "hard"])
def test_every_kind_of_model_has_flip_sets(name, narrow):
    model = Fitted(name)
    found = model.explainer.smallest_flip_set(unsure(model.explainer, model.X))
    assert found.proved
    assert (model.weights[found.rows] > 0).all()
    kept = ~np.isin(np.arange(len(model.X)), found.rows)
    concepts = model.concepts[kept]
    clf = model.exact.fit(
        model.X[kept], model.y[kept], model.weights[kept], concepts=concepts
    )
    proba = clf.predict_proba(unsure(model.explainer, model.X))
    np.testing.assert_allclose(found.proba[-1], proba[0], atol=1e-6)


def test_none_found_is_said_with_what_comes_nearest(explainer, data):
    X, y, concepts = data
    proba = explainer.predict_proba(X).max(axis=1)
    x = X[[proba.argmax()]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explainer.smallest_flip_set(x, max_size=2)
    assert not found.found
    assert not found.proved
    assert len(found.rows) == found.max_size == 2
    assert found.prediction_without == found.prediction
    kept = np.delete(np.arange(N), found.rows)
    clf = ConceptBottleneckClassifier(C=0.5)
    clf.fit(X[kept], y[kept], concepts=concepts.iloc[kept])
    np.testing.assert_allclose(found.proba[-1], clf.predict_proba(x)[0], atol=1e-6)
    # Other sets of two come no nearer.
    rng, own = np.random.default_rng(0), found.proba[-1].max()
    for rows in (rng.choice(N, 2, replace=False) for _ in range(5)):
        kept = np.delete(np.arange(N), rows)
        clf.fit(X[kept], y[kept], concepts=concepts.iloc[kept])
        assert clf.predict_proba(x).max() > own
    assert "none found of up to 2 rows; the nearest takes p(" in repr(found)


@pytest.mark.parametrize("method", ["leverage", "first_order"])
def test_with_much_data_one_set_is_followed(explainer, data, monkeypatch, method):
    """Each removal is then the best by a faster method."""
    x = unsure(explainer, data[0])
    best = explainer.smallest_flip_set(x)
    monkeypatch.setattr(module, "_affordable", lambda *_: (method, 1))
    found = explainer.smallest_flip_set(x)
    assert found.found
    assert len(best.rows) <= len(found.rows) <= len(best.rows) + 1


def test_it_takes_the_best_that_is_affordable(explainer, data, monkeypatch):
    X, solved = data[0][:1], explainer._solved
    taken = [module._affordable(solved, explainer._features(X), 10)]
    for most in (1e8, 1e7, 1e5):
        monkeypatch.setattr(module, "_MOST_WORK", most)
        taken.append(module._affordable(solved, explainer._features(X), 10))
    assert taken[0] == ("newton", 4)
    assert taken[-1] == ("first_order", 1)
    order = ["newton", "leverage", "first_order"]
    assert taken == sorted(taken, key=lambda one: (order.index(one[0]), -one[1]))


def test_rows_that_a_head_needs_stay(narrow):
    """The only row of a class is not removed, although it decides the prediction."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    y = np.where(X[:, 0] > 0, "a", "b")
    X[0], y[0] = [0.0, 9.0], "c"
    explainer = ConceptInfluenceExplainer(LogisticRegression(C=10)).fit(X, y)
    assert explainer.predict(X[:1]) == "c"
    found = explainer.smallest_flip_set(X[:1], max_size=2)
    assert not found.found
    assert 0 not in found.rows


# --- What it takes --------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    words = ["good", "fine", "bad", "poor", "food", "place", "time", "staff"]
    said = [" ".join(rng.choice(words, 3)) for _ in range(40)]
    y = np.array([t.count("good") + t.count("fine") > 1 for t in said]).astype(int)
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    return ConceptInfluenceExplainer(pipeline).fit(said, y), said


def test_one_text_may_come_bare(texts, narrow):
    explainer, said = texts
    bare = explainer.smallest_flip_set("good food place", max_size=3)
    listed = explainer.smallest_flip_set(["good food place"], max_size=3)
    np.testing.assert_array_equal(bare.rows, listed.rows)
    assert bare.to_frame()["text"].tolist() == [said[row] for row in bare.rows]


def test_features_too_many_for_factors_do_without(texts, narrow):
    explainer, said = texts
    y = explainer._readable["label"]
    with config_context(working_memory=0):
        free = clone(explainer).fit(said, y)
        found = free.smallest_flip_set("good food place")
    expected = explainer.smallest_flip_set("good food place")
    assert found.found == expected.found
    assert len(expected.rows) <= len(found.rows) <= len(expected.rows) + 1


def test_a_fit_that_does_not_converge_proves_nothing(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(C=0.5, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    with pytest.warns(
        ConvergenceWarning, match=r"without rows \[.*\] did not .* max_iter=2 steps, so"
    ):
        found = explainer.smallest_flip_set(unsure(explainer, X))
    assert not found.proved
    if found.found:
        assert "the refit did not converge" in repr(found)


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (lambda X: X[:2], ValueError, r"X has 2 rows, but .* X\[\[0\]\], X.iloc"),
        (lambda X: X[:0], ValueError, "X has 0 rows"),
        (lambda X: X[0], ValueError, "X has 6 rows"),
        (lambda X: X[:1, :3], ValueError, "3 features, but"),
    ],
)
def test_one_row_is_asked_for(explainer, data, X, error, match):
    with pytest.raises(error, match=match):
        explainer.smallest_flip_set(X(data[0]))


@pytest.mark.parametrize(
    ("max_size", "error", "match"),
    [
        (0, ValueError, "max_size=0 must be 1 or more: how many training rows"),
        (2.0, TypeError, "max_size must be a whole number, got 2.0"),
        (True, TypeError, "max_size must be a whole number, got True"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(explainer, data, max_size, error, match):
    with pytest.raises(error, match=match):
        explainer.smallest_flip_set(data[0][:1], max_size=max_size)


def test_columns_of_the_frame_do_not_hide_each_other():
    training = pd.DataFrame({"row": ["x", "y"], "predicted": ["p", "q"]})
    own = FlipSet(
        True, True, np.array([1]), 0, 1, np.array([[0.6, 0.4], [0.4, 0.6]]),
        np.array([0, 1]), 1, training,
    )  # fmt: skip
    frame = own.to_frame()
    assert frame.columns.is_unique
    assert frame["row"].tolist() == [1]
