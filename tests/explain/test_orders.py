"""The order of values in `ordinal`: of the type, of numbers, given, or of letters."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.frozen import FrozenEstimator

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    load_model,
    save_model,
)
from skclif.exceptions import SuggestionWarning, SuspectWarning

N = 120
LEVELS = ["poor", "fair", "good", "excellent"]
NUMBERS = ["7", "8", "9", "10"]  # "10" is first by letters


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 3))
    code = np.digitize(X[:, 0] + rng.normal(0, 0.3, N), [-1, 0, 1])
    quiet = np.where(X[:, 1] > 0, "yes", "no")
    return X, code, quiet


def explain(X, y, concepts, clf=None):
    clf = ConceptBottleneckClassifier(tol=1e-5) if clf is None else clf
    return ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)


def graded(code, levels=LEVELS):
    return pd.Series(pd.Categorical.from_codes(code, levels, ordered=True))


def steps(found, levels):
    places = (found[name].map(levels.index) for name in ("current", "proposed"))
    return np.abs(np.subtract(*places))


def by_concept(column, given):
    X, _, quiet = given
    y = (X[:, 1] > 0).astype(int)
    return "service", explain(X, y, pd.DataFrame({"service": column, "quiet": quiet}))


def by_polars(column, given):
    X, _, quiet = given
    y = (X[:, 1] > 0).astype(int)
    service = pl.Series(list(column), dtype=pl.Enum(LEVELS))
    return "service", explain(X, y, pl.DataFrame({"service": service, "quiet": quiet}))


def for_label(given):
    X, _, quiet = given
    warm = np.digitize(X[:, 0], [-1, 0, 1])
    return pd.DataFrame({"quiet": quiet, "warm": warm})


def by_label(column, given):
    return "label", explain(given[0], column, for_label(given))


@pytest.mark.parametrize("made", [by_concept, by_polars, by_label])
def test_the_order_of_the_type_is_kept(made, given):
    path, explainer = made(graded(given[1]), given)
    explicit = explainer.suspect_labels(path, ordinal={path: LEVELS})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explainer.suspect_labels(path, ordinal=path)
        loaded = pickle.loads(pickle.dumps(explainer))
        again = loaded.suspect_labels(path, ordinal=[path])
        edited = explainer.edit(drop=[0]).explainer.suspect_labels(path, ordinal=path)
    pd.testing.assert_frame_equal(found, explicit)
    pd.testing.assert_frame_equal(found, again)
    assert steps(found, LEVELS).max() == steps(edited, LEVELS).max() == 1


def test_values_that_no_row_has_are_passed_over(given):
    X, code, quiet = given
    levels = ["none", *LEVELS, "best"]
    column = graded(code + 1, levels)
    path, explainer = by_concept(column, given)
    found = explainer.suspect_labels(path, ordinal=path)
    expected = explainer.suspect_labels(path, ordinal={path: LEVELS})
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("made", [by_concept, by_label])
def test_numbers_in_text_are_numbers(made, given):
    path, explainer = made(np.array(NUMBERS)[given[1]], given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explainer.suspect_labels(path, ordinal=path)
    assert steps(found, NUMBERS).max() == 1


@pytest.mark.parametrize("made", [by_concept, by_label])
def test_where_letters_decide_it_is_said(made, given):
    path, explainer = made(np.array(LEVELS)[given[1]], given)
    match = (
        f"ordinal names '{path}', but .* letters decide: excellent < fair < good < "
        rf"poor.*ordinal={{'{path}': \[...\]}}"
    )
    with pytest.warns(SuspectWarning, match=match):
        found = explainer.suspect_labels(path, ordinal=path)
    assert steps(found, sorted(LEVELS)).max() == 1
    X = given[0]
    with (
        pytest.warns(SuspectWarning, match=match),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", SuggestionWarning)
        explainer.suggest_edits(
            X + 0.1, explainer.predict(X), ordinal=path, random_state=0
        )
    with warnings.catch_warnings():  # two values are neighbours in any order
        warnings.simplefilter("error")
        explainer.suspect_labels("quiet", ordinal="quiet")
        explainer.suspect_labels(path, ordinal={path: LEVELS})


def test_a_frozen_model_is_given_the_order_with_the_rows(given):
    _, explainer = by_label(graded(given[1]), given)
    frozen = FrozenEstimator(explainer.estimator_)
    explainer = explain(given[0], graded(given[1]), for_label(given), frozen)
    found = explainer.suspect_labels("label", ordinal="label")
    assert steps(found, LEVELS).max() == 1


@pytest.mark.parametrize(
    ("order", "match"),
    [
        (["poor", "fair", "good"], r"Missing: \['excellent'\]"),
        ([*LEVELS[:3], "best"], r"Unknown: \['best'\]; missing: \['excellent'\]"),
        ([*LEVELS, "poor"], r"Repeated: \['poor'\]"),
    ],
)
def test_orders_that_do_not_fit_are_named(order, match, given):
    path, explainer = by_label(graded(given[1]), given)
    with pytest.raises(ValueError, match=f"gives 'label' the order .*{match}"):
        explainer.suspect_labels(ordinal={path: order})


@pytest.mark.filterwarnings("ignore::skclif.exceptions.InterventionWarning")
@pytest.mark.parametrize(
    "levels", [["never", "sometimes", "always"], ["never", "always"]]
)
def test_values_of_a_concept_keep_the_order_of_their_type(given, levels, tmp_path):
    """The model is the same as with words; only the places of the values differ."""
    X, code, quiet = given
    code = np.minimum(code, len(levels) - 1)
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    column = graded(code, [*levels, "spare"])  # which nobody used
    concepts = pd.DataFrame({"service": column, "quiet": quiet})
    concepts.loc[:3, "service"] = None
    clf = ConceptBottleneckClassifier(tol=1e-8).fit(X, y, concepts=concepts)
    assert clf.concept_classes_[0].tolist() == levels
    assert clf.concept_classes_[1].tolist() == ["no", "yes"]
    names = clf.get_feature_names_out().tolist()
    shown = levels[1:] if len(levels) == 2 else levels
    assert names[: len(shown)] == [f"service={value}" for value in shown]
    as_words = concepts.astype(object)
    words = ConceptBottleneckClassifier(tol=1e-8).fit(X, y, concepts=as_words)
    assert words.concept_classes_[0].tolist() == sorted(levels)
    np.testing.assert_allclose(clf.predict_proba(X), words.predict_proba(X), atol=1e-6)
    pd.testing.assert_frame_equal(clf.predict_concepts(X), words.predict_concepts(X))
    known = pd.DataFrame({"service": [levels[0]] * N})
    np.testing.assert_allclose(
        clf.intervene(X, known), words.intervene(X, known), atol=1e-6
    )
    save_model(clf, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.concept_classes_[0].tolist() == levels
    np.testing.assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    change = {"service": {7: levels[0], 9: levels[-1]}}
    edited, other = (
        explain(X, y, c, ConceptBottleneckClassifier(tol=1e-8))
        .edit(concepts=change)
        .estimator
        for c in (concepts, as_words)
    )
    assert edited.concept_classes_[0].tolist() == levels
    np.testing.assert_allclose(
        edited.predict_proba(X), other.predict_proba(X), atol=1e-6
    )
