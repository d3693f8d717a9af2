"""The fitted heads of a model, and what a fit reads."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs import annotations, learning
from skclif._inputs.annotations import Annotations
from skclif._inputs.schema import ConceptSchema
from skclif._inputs.training_rows import as_tensor
from skclif._models.fitted import FittedHeads, class_weights

from ..data import make_concept_data


@pytest.fixture(scope="module")
def fitted():
    X, y, concepts = make_concept_data(90)
    concepts["mood"] = X[:, 3]
    clf = ConceptBottleneckClassifier(training="independent", class_weight="balanced")
    return clf.fit(X, y, concepts=concepts), X, y, concepts


def test_heads_come_back_as_they_are(fitted):
    clf, X, *_ = fitted
    heads = FittedHeads.of(clf)
    again = heads.with_parameters(heads.tensors())
    other = ConceptBottleneckClassifier(training="independent")
    other.n_features_in_ = clf.n_features_in_
    again.store(other, clf.n_iter_)
    for name in ("classes_", "concept_names_in_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(clf, name))
    for name in ("coef_", "intercept_", "class_weight_"):
        found = getattr(other, name)
        np.testing.assert_allclose(found, getattr(clf, name), atol=1e-13)
    np.testing.assert_allclose(other.predict_proba(X), clf.predict_proba(X), atol=1e-14)
    assert other.n_iter_ == clf.n_iter_


def test_what_is_kept_is_kept_to_the_last_digit(fitted):
    clf, *_ = fitted
    heads = FittedHeads.of(clf)
    new = heads.with_parameters(heads.tensors(), [True] * 5)
    assert new.coef is heads.coef
    for j in range(4):
        assert new.concept_coef[j] is heads.concept_coef[j]


def test_dropped_concepts_leave_their_kinds_too(fitted):
    _, X, y, concepts = fitted
    kinds = {"price": "continuous", "food": "categorical"}
    clf = ConceptBottleneckClassifier(concept_kinds=kinds)
    clf.fit(X, y, concepts=concepts)
    edited = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    new = edited.edit(drop_concepts=["price"]).estimator
    assert new.concept_kinds == {"food": "categorical"}
    assert clf.concept_kinds == kinds


def test_a_logistic_regression_is_a_bottleneck_without_concepts(fitted):
    _, X, y, _ = fitted
    clf = LogisticRegression(fit_intercept=False, C=3).fit(X.astype(np.float32), y)
    heads = FittedHeads.of(clf)
    assert heads.n_concepts == 0
    assert heads.coef.dtype == np.float64
    assert heads.penalties["penalty"] == pytest.approx(1 / 3)
    proba = heads.tensors().label_probabilities(as_tensor(X))
    np.testing.assert_allclose(proba, clf.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced", {"again": 2.0}])
def test_class_weights_are_those_of_scikit_learn(fitted, class_weight):
    _, X, y, _ = fitted
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    own = class_weights(class_weight, np.unique(y), y, weights)
    clf = LogisticRegression(C=10, tol=1e-10, max_iter=1000, class_weight=class_weight)
    by_class = clf.fit(X, y, weights).coef_
    by_row = LogisticRegression(C=10, tol=1e-10, max_iter=1000)
    by_row.fit(X, y, weights * own[np.searchsorted(np.unique(y), y)])
    np.testing.assert_allclose(by_row.coef_, by_class, atol=1e-6)


# --- Annotations are read once --------------------------------------------------------


@pytest.fixture
def reads(monkeypatch):
    """Count how often annotations are read, and values of a concept learned."""
    homes = {"read_table": annotations, "check_annotation_weights": annotations}
    homes["_learn_column"] = learning
    counts = dict.fromkeys(homes, 0)

    def counting(module, name):
        original = getattr(module, name)

        def counted(*args, **more):
            counts[name] += 1
            return original(*args, **more)

        return counted

    for name, module in homes.items():
        monkeypatch.setattr(module, name, counting(module, name))
    return counts


def test_a_fit_reads_annotations_once(fitted, reads):
    _, X, y, concepts = fitted
    ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    assert reads == {
        "read_table": 1,
        "check_annotation_weights": 1,
        "_learn_column": 4,
    }


def test_an_explainer_reads_them_once_more_than_its_model(fitted, reads):
    _, X, y, concepts = fitted
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    assert reads == {
        "read_table": 2,
        "check_annotation_weights": 2,
        "_learn_column": 4,
    }


# --- Codes of annotations without weight ----------------------------------------------


def _codes(classes, *values):
    schema = ConceptSchema(("a",), (None if classes is None else classes,), True)
    table = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    weights = np.zeros((len(values), 1))
    return schema.encode(Annotations(table, weights, True, True)).codes[:, 0].tolist()


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        (
            np.array(["bad", "good"]),
            ["good", "odd", None, 1, "bad"],
            [1, None, None, None, 0],
        ),
        (np.array([1, 2]), [2, 1.0, "2", True, [2], 3], [1, 0, None, None, None, None]),
        (
            np.array([False, True]),
            [True, 1, 0, np.False_, "x"],
            [1, None, None, 0, None],
        ),
        (np.array([False, 2], dtype=object), [0, False, 2, True], [None, 0, 1, None]),
        (None, [1.5, "x", True, np.inf, 2, None], [1.5, None, None, None, 2.0, None]),
    ],
    ids=["words", "numbers", "bools", "mixed", "continuous"],
)
def test_weightless_annotations_may_be_anything(classes, values, expected):
    found = [None if np.isnan(code) else code for code in _codes(classes, *values)]
    assert found == expected


def test_weightless_annotations_come_back_when_their_row_gets_weight(fitted):
    clf, X, y, concepts = fitted
    weights = np.ones(len(X))
    weights[:5] = 0
    concepts = concepts.copy()
    concepts.loc[0, "food"] = "never seen"
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, weights, concepts=concepts)
    edited = explainer.edit(sample_weight=np.ones(len(X))).estimator
    expected = clone(clf).fit(X, y, concepts=concepts)
    assert edited.concept_classes_[0].tolist() == expected.concept_classes_[0].tolist()
    for found, wanted in zip(edited.concept_coef_, expected.concept_coef_, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)
