"""Tables that belong together: columns by name, rows by position."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    compare_baselines,
)
from skclif.metrics import intervention_curve, removal_curve

from ..data import make_concept_data

N = 60
LIBRARIES = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "arrow": pa.Table.from_pandas,
}


class Given:
    """Rows whose weights of annotations are far from equal."""

    def __init__(self):
        rng = np.random.default_rng(1)
        self.X, self.y, self.concepts = make_concept_data(N)
        self.concepts = self.concepts[["food", "quiet"]]
        self.weights = pd.DataFrame(
            rng.uniform(0.2, 3, (N, 2)), columns=["food", "quiet"]
        )
        self.is_clean = np.arange(N) % 2 == 0


@pytest.fixture(scope="module")
def given():
    return Given()


def fitted(given, concepts, weights):
    clf = ConceptBottleneckClassifier(tol=1e-4)
    return clf.fit(given.X, given.y, concepts=concepts, concept_sample_weight=weights)


def through_classifier(given, concepts, weights):
    return fitted(given, concepts, weights).predict_proba(given.X)


def through_explainer(given, concepts, weights):
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    ).fit(given.X, given.y, concepts=concepts, concept_sample_weight=weights)
    return explainer.influence(given.X[:3], given.y[:3]).values


def through_reweighter(given, concepts, weights):
    reweighter = InfluenceReweighter(
        ConceptBottleneckClassifier(), strength=1, n_rounds=1, random_state=0
    )
    return reweighter.fit(
        given.X,
        given.y,
        concepts=concepts,
        concept_sample_weight=weights,
        is_clean=given.is_clean,
    ).predict_proba(given.X)


def through_edit(given, concepts, weights):
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(given.X, given.y, concepts=given.concepts)
    new = {"X": -given.X, "y": given.y, "concepts": concepts}
    edited = explainer.edit(add={**new, "concept_sample_weight": weights})
    return edited.estimator.predict_proba(given.X)


WAYS = [through_classifier, through_explainer, through_reweighter, through_edit]


@pytest.mark.filterwarnings("ignore::skclif.exceptions.ReweightingWarning")
@pytest.mark.parametrize("way", WAYS)
def test_weights_find_their_concepts_by_name(way, given):
    expected = way(given, given.concepts, given.weights)
    other = given.weights[["quiet", "food"]]
    for to in LIBRARIES.values():
        found = way(given, given.concepts, to(other))
        np.testing.assert_allclose(found, expected, atol=1e-10)
    by_position = way(given, given.concepts, other.to_numpy())
    assert np.abs(by_position - expected).max() > 1e-4


@pytest.mark.parametrize("library", LIBRARIES)
def test_names_of_one_table_alone_say_nothing(library, given):
    to = LIBRARIES[library]
    other = given.weights[["quiet", "food"]]
    expected = through_classifier(given, given.concepts, other.to_numpy())
    found = through_classifier(given, given.concepts.to_numpy(object), to(other))
    np.testing.assert_array_equal(found, expected)
    numbered = pd.DataFrame(other.to_numpy())  # by pandas, not by a person
    found = through_classifier(given, to(given.concepts), numbered)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("names", "match"),
    [
        ({"food": "taste"}, r"unknown: \['taste'\]; missing: \['food'\]"),
        ({"food": None}, r"missing: \['food'\]"),
    ],
)
def test_columns_that_do_not_fit_are_named(names, match, library, way, given):
    weights = given.weights.drop(columns=[n for n in names if names[n] is None])
    weights = LIBRARIES[library](weights.rename(columns=names))
    with pytest.raises(ValueError, match=f"concept_sample_weight must .*{match}"):
        way(given, given.concepts, weights)


def test_a_column_that_is_there_twice_is_named(given):
    weights = given.weights[["food", "quiet", "food"]]
    with pytest.raises(ValueError, match="(?s)concept_sample_weight .*'food' 2 times"):
        fitted(given, given.concepts, weights)


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("library", ["array", *LIBRARIES])
def test_no_weight_where_there_is_no_annotation(library, way, given):
    to = LIBRARIES.get(library, lambda frame: frame.to_numpy())
    concepts, weights = given.concepts.copy(), given.weights.copy()
    concepts.iloc[[3, 5], 0] = None
    expected = way(given, concepts, weights)
    weights.iloc[[3, 5], 0] = np.nan
    np.testing.assert_array_equal(way(given, concepts, to(weights)), expected)
    weights.iloc[7, 1] = np.nan
    value = concepts.iloc[7, 1]
    with pytest.raises(
        ValueError, match=rf"\(NaN\) in row 7 for concept 'quiet'.*{value!r} .*1 such"
    ):
        way(given, concepts, to(weights))


@pytest.mark.parametrize("library", LIBRARIES)
def test_known_values_find_their_concepts_by_name(library, given):
    to = LIBRARIES[library]
    other = given.concepts[["quiet", "food"]]
    clf = fitted(given, given.concepts, None)
    expected = clf.intervene(given.X, given.concepts)
    np.testing.assert_array_equal(clf.intervene(given.X, to(other)), expected)
    partial = clf.intervene(given.X, to(other[["quiet"]]))
    assert np.abs(partial - expected).max() > 1e-3
    curve, same = (
        intervention_curve(clf, given.X, given.y, c, order=["food"])
        for c in (to(other), given.concepts)
    )
    np.testing.assert_array_equal(curve.losses, same.losses)
    with pytest.raises(ValueError, match=r"unknown: \['taste'\]"):
        clf.intervene(given.X, to(other.rename(columns={"food": "taste"})))
    # A model that was fitted to such a table knows the names.
    clf = fitted(given, to(given.concepts), None)
    np.testing.assert_array_equal(clf.intervene(given.X, to(other)), expected)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(given.X, given.y, concepts=to(given.concepts))
    found, named = (
        explainer.edit(add={"X": given.X, "y": given.y, "concepts": c})
        for c in (to(other), given.concepts)
    )
    np.testing.assert_array_equal(found.estimator.coef_, named.estimator.coef_)


# --- rows


def by_classifier(**given):
    ConceptBottleneckClassifier().fit(**given)


def by_explainer(**given):
    ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(**given)


def by_reweighter(**given):
    InfluenceReweighter(ConceptBottleneckClassifier()).fit(**given)


@pytest.mark.parametrize("fit", [by_classifier, by_explainer, by_reweighter])
@pytest.mark.parametrize(
    "name", ["y", "sample_weight", "concepts", "concept_sample_weight"]
)
def test_the_same_index_in_another_order_is_refused(name, fit, given):
    index = [f"r{i}" for i in range(N)]
    parts = {
        "X": pd.DataFrame(given.X, index=index, columns=list("abcdef")),
        "y": pd.Series(given.y, index=index),
        "sample_weight": pd.Series(1.0, index=index),
        "concepts": given.concepts.set_axis(index),
        "concept_sample_weight": given.weights.set_axis(index),
    }
    parts[name] = parts[name].iloc[::-1]
    match = rf"X and {name} have the same index .* row 0 is 'r0' in X and 'r59' .*\.loc"
    with pytest.raises(ValueError, match=match):
        fit(**parts)


def test_so_are_two_tables_beside_an_array(given):
    with pytest.raises(ValueError, match="y and concepts have the same index"):
        by_classifier(
            X=given.X,
            y=pd.Series(given.y),
            concepts=given.concepts.sort_index(ascending=False),
        )


def test_other_indexes_go_by_position(given):
    expected = fitted(given, given.concepts, None).predict_proba(given.X)
    X = pd.DataFrame(given.X, index=np.arange(N) + 7).rename(columns=str)
    y = pd.Series(given.y, index=np.zeros(N, dtype=int))
    clf = ConceptBottleneckClassifier(tol=1e-4)
    clf.fit(X, y, concepts=given.concepts)
    np.testing.assert_array_equal(clf.predict_proba(X), expected)


def test_rows_to_predict_are_held_to_it_too(given):
    clf = fitted(given, given.concepts, None)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(given.X, given.y, concepts=given.concepts)
    edited = explainer.edit(drop=[1])
    X, y = pd.DataFrame(given.X), pd.Series(given.y)
    y, concepts = y[::-1], given.concepts[::-1]
    texts = pd.Series([f"text {i}" for i in range(N)])
    calls = [
        ("X and y", lambda: clf.score(X, y)),
        ("X and concepts", lambda: clf.intervene(X, concepts)),
        ("X and y", lambda: explainer.influence(X, y)),
        ("X and y", lambda: explainer.validate(X, y)),
        ("X and y", lambda: explainer.suggest_edits(X, y)),
        ("X_val and y_val", lambda: explainer.edit(drop=[1], X_val=X, y_val=y)),
        ("X and y", lambda: explainer.edit(add={"X": X, "y": y})),
        ("X and concepts", lambda: edited.compare(X, given.y, concepts)),
        ("X and concepts", lambda: intervention_curve(clf, X, given.y, concepts)),
        (
            "X_test and y_test",
            lambda: removal_curve(clf, X, given.y, np.ones((1, N)), X_test=X, y_test=y),
        ),
        ("X and y", lambda: compare_baselines(texts, y, vectors=False)),
        (
            "X_val and y_val",
            lambda: InfluenceReweighter(clf).fit(X, given.y, X_val=X[1:], y_val=y[:-1]),
        ),
    ]
    for names, call in calls:
        with pytest.raises(ValueError, match=f"{names} have the same index in another"):
            call()
