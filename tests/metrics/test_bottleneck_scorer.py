"""Scores of label and concepts: by routing, by index, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif.metrics import make_bottleneck_scorer

N = 160
GRID = {"C": [1.0, 1e6], "concept_C": [1e-3, 10.0]}


@pytest.fixture(scope="module")
def data():
    """Return rows whose label depends on how strongly rare concepts apply."""
    rng = np.random.default_rng(0)
    strength = rng.normal(size=(N, 6))
    X = strength @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    words = np.where(strength > 1, "yes", "no")
    concepts = pd.DataFrame(
        words, columns=[*"abcdef"], index=[f"r{i}" for i in range(N)]
    )
    concepts["d"] = strength[:, 3]  # a number
    concepts = concepts.mask(rng.random(concepts.shape) < 0.1)
    y = pd.Series(np.digitize(strength.sum(axis=1), [-1, 1]), concepts.index)
    return X, y, concepts


@pytest.fixture(scope="module")
def model(data):
    X, y, concepts = data
    return ConceptBottleneckClassifier().fit(X[:100], y[:100], concepts=concepts[:100])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def by_hand(clf, X, y, concepts, weight=1.0):
    """Return the score from what the model predicts, one concept after the other."""
    total = log_loss(y, clf.predict_proba(X), labels=clf.classes_)
    proba, predicted = clf.predict_concept_proba(X), clf.predict_concepts(X)
    for name, column in concepts.items():
        known = column.notna().to_numpy()
        if name == "d":
            true = column[known].to_numpy(float)
            errors = np.asarray(predicted[name], float)[known] - true
            total += weight * (errors**2).mean() / (2 * true.var())
        elif known.any():
            total += weight * log_loss(
                column[known], proba[name][known], labels=["no", "yes"]
            )
    return -total


@pytest.mark.parametrize("weight", [1.0, 0.25, 0])
def test_the_score_is_that_of_label_and_concepts(data, model, weight):
    X, y, concepts = (part[100:] for part in data)
    scorer = make_bottleneck_scorer(concept_weight=weight)
    found = scorer(model, X, y, concepts=concepts)
    assert found == pytest.approx(by_hand(model, X, y, concepts, weight))
    # A concept that nobody annotated, and a number that never changes, do not count.
    some = concepts.assign(a=None, d=1.0)
    found = scorer(model, X, y, concepts=some)
    expected = by_hand(model, X, y, concepts[["b", "c", "e", "f"]], weight)
    assert found == pytest.approx(expected)
    # An unknown value has no probability.
    odd = concepts.astype(object)
    odd.iloc[0] = "odd"
    odd.loc[odd.index[0], "d"] = None
    less = concepts.astype(object)
    less.iloc[0] = None
    expected = scorer(model, X, y, concepts=less)
    assert scorer(model, X, y, concepts=odd) == pytest.approx(expected)


def test_estimators_around_a_bottleneck(data, model):
    X, y, concepts = data
    scorer = make_bottleneck_scorer()
    scaled = make_pipeline(StandardScaler(), ConceptBottleneckClassifier())
    key = "conceptbottleneckclassifier__concepts"
    scaled.fit(X, y, **{key: concepts})
    expected = by_hand(scaled[-1], scaled[:-1].transform(X), y, concepts)
    assert scorer(scaled, X, y, concepts=concepts) == pytest.approx(expected)
    expected = by_hand(model, X, y, concepts)
    assert scorer(FrozenEstimator(model), X, y, concepts=concepts) == pytest.approx(
        expected
    )
    for around in (
        ConceptInfluenceExplainer(clone(model)),
        InfluenceReweighter(clone(model), strength=0, use_suspects=False),
    ):
        around.fit(X[:100], y[:100], concepts=concepts[:100])
        found = scorer(around, X, y, concepts=concepts)
        assert found == pytest.approx(expected, rel=1e-4)


def search(data, scoring, **given):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training="sequential")
    found = GridSearchCV(clf, GRID, scoring=scoring, cv=3, error_score="raise", **given)
    return found.fit(X, y, concepts=concepts)


def test_a_search_by_label_and_concepts_does_not_leak(data, routing):
    by_label = search(data, "neg_log_loss")
    by_both = search(data, make_bottleneck_scorer())
    assert by_label.best_params_ == {"C": 1e6, "concept_C": 1e-3}
    assert by_both.best_params_["concept_C"] == 10
    # Heads that never say "yes".
    said = by_label.best_estimator_.predict_concepts(data[0]).drop(columns="d")
    assert (said == "no").all(axis=None)
    said = by_both.best_estimator_.predict_concepts(data[0]).drop(columns="d")
    assert (said == "yes").any().all()


def test_without_routing_concepts_are_found_by_index(data):
    X, y, concepts = data
    shuffled = concepts.sample(frac=1, random_state=0)
    found = search(data, make_bottleneck_scorer(concepts=shuffled))
    with sklearn.config_context(enable_metadata_routing=True):
        expected = search(data, make_bottleneck_scorer())
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


def test_concepts_can_have_another_name(data, routing):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier().set_fit_request(concepts="themes")
    scorer = make_bottleneck_scorer()
    given = {"scoring": scorer, "error_score": "raise", "cv": 3}
    found = GridSearchCV(clf, {"C": [1.0]}, **given)
    with pytest.raises(ValueError, match=r"concepts are missing.*set_score_request"):
        found.fit(X, y, themes=concepts)
    named = scorer.set_score_request(concepts="themes")
    found.set_params(scoring=named).fit(X, y, themes=concepts)
    assert np.isfinite(found.best_score_)
    with pytest.raises(
        TypeError, match="concepts must be True, False or a name, got 3"
    ):
        scorer.set_score_request(concepts=3)


def test_beside_other_scores(data, routing):
    X, y, concepts = data
    scoring = {"both": make_bottleneck_scorer(), "label": "neg_log_loss"}
    scores = cross_validate(
        ConceptBottleneckClassifier(),
        X,
        y,
        scoring=scoring,
        params={"concepts": concepts},
        cv=2,
        error_score="raise",
    )
    assert (scores["test_both"] < scores["test_label"]).all()


def test_a_scorer_is_copied_and_pickled(data, model):
    X, y, concepts = data
    scorer = make_bottleneck_scorer(concepts=concepts, concept_weight=0.5)
    for copied in (clone(scorer, safe=False), pickle.loads(pickle.dumps(scorer))):
        assert copied(model, X, y) == scorer(model, X, y)
    assert repr(scorer) == "make_bottleneck_scorer(concept_weight=0.5)"


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (
            {"concepts": [["yes"]]},
            TypeError,
            "concepts must be a DataFrame of pandas with the index of y, got builtins",
        ),
        (
            {"concepts": pd.DataFrame({"a": [1, 0]}, index=[1, 1])},
            ValueError,
            "The index of concepts must not have a label twice, but has 1",
        ),
        (
            {"concepts": pd.DataFrame({3: [1, 0]})},
            ValueError,
            "columns of concepts must be named by strings, got 3",
        ),
        (
            {"concept_weight": "much"},
            TypeError,
            "concept_weight must be a number, 0 or more, got 'much'",
        ),
        ({"concept_weight": True}, TypeError, "a number, 0 or more, got True"),
        ({"concept_weight": -1}, ValueError, "concept_weight=-1 must be a finite numb"),
        ({"concept_weight": np.inf}, ValueError, "concept_weight=inf must be a finite"),
        ({"concept_weight": np.nan}, ValueError, "concept_weight=nan must be a finite"),
    ],
)
def test_arguments_that_are_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        make_bottleneck_scorer(**arguments)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (
            {"concepts": None},
            ValueError,
            r"concepts are missing. With sklearn.set_config\(enable_metadata_routing=",
        ),
        (
            {"concepts": pd.DataFrame({"a": ["yes"]})},
            ValueError,
            "concepts has 1 row, but X has 160",
        ),
        (
            {"concepts": lambda table: table[["a", "b"]]},
            ValueError,
            r"concepts must have the columns the model was fitted with \(a, b",
        ),
        (
            {"concepts": lambda table: table.mask(table.notna())},
            ValueError,
            "no annotation that fit knows in the 160 rows to score; use fewer folds",
        ),
        (
            {"concepts": lambda table: table[::-1]},
            ValueError,
            "same index in another order|order",
        ),
        ({"y": ["new"] * N}, ValueError, "y has the class 'new', which was not seen"),
        (
            {"estimator": LogisticRegression()},
            TypeError,
            "must be a ConceptBottleneckClassifier, or a pipeline, .* got LogisticRegr",
        ),
    ],
)
def test_what_cannot_be_scored(data, model, change, error, match):
    X, y, concepts = data
    given = {"estimator": model, "X": X, "y": y, "concepts": concepts}
    for name, value in change.items():
        given[name] = value(given[name]) if callable(value) else value
    with pytest.raises(error, match=match):
        make_bottleneck_scorer()(**given)


def test_a_model_without_concepts_has_none_to_score(data):
    X, y, concepts = data
    black_box = ConceptBottleneckClassifier().fit(X, y)
    with pytest.raises(ValueError, match="was fitted without concepts, so it predicts"):
        make_bottleneck_scorer()(black_box, X, y, concepts=concepts)
    scorer = make_bottleneck_scorer(concepts=concepts)
    with pytest.raises(
        TypeError, match="y must be a Series of pandas, so that concepts can be found"
    ):
        scorer(black_box, X, y.to_numpy())
    with pytest.raises(ValueError, match="The index of concepts lacks 'new', which is"):
        scorer(black_box, X[:1], pd.Series([1], ["new"]))
