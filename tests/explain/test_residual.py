"""Influence, edits and suspects of a model that has a residual."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif._models.fitted import FittedHeads
from skclif.metrics import intervention_curve
from skclif.numerics.bottleneck import fit_label

from ..data import make_concept_data
from .test_edits import Given, random_edit, retrained

N = 100
NAME = "not in the concepts"
PATHS = ("label", "food", "quiet", "price", NAME)


def explain(given, *, method="first_order", **params):
    params = {"C": 2.0, "residual_C": 0.1, **params}
    clf = ConceptBottleneckClassifier(**params)
    return given.fit(ConceptInfluenceExplainer(clf, method=method))


@pytest.fixture(scope="module")
def given():
    return Given(N)


@pytest.fixture(scope="module")
def explainer(given):
    return explain(given, class_weight="balanced")


@pytest.fixture(scope="module")
def targets():
    X, y, _ = make_concept_data(8, seed=1)
    return X, y


def parameters(clf):
    parts = [clf.coef_, clf.intercept_, clf.residual_coef_]
    parts += [*clf.concept_coef_, *clf.concept_intercept_]
    return np.concatenate([np.ravel(part) for part in parts])


ORDERED = {"label_head": "ordinal", "label_order": ["never", "perhaps", "again"]}
BOUNDED = {**ORDERED, "monotonic_cst": {"quiet": ["no", "yes"]}}


@pytest.mark.parametrize(
    "params",
    [{}, {"bottleneck": "logit"}, {"C": 0.1}, ORDERED, BOUNDED],
    ids=["plain", "logit", "C", "ordinal", "bounded"],
)
def test_it_comes_as_close_to_retraining_as_without(params, given, targets):
    report = explain(given, **params).validate(
        *targets, n_rows=6, n_paths=3, random_state=0
    )
    frame = report.to_frame().set_index(["method", "removed"])["relative_error"]
    assert frame["newton"].index.tolist() == ["row", *PATHS, "interaction"]
    assert frame["first_order"].index.tolist() == ["row", *PATHS]
    least = frame["newton"].drop("interaction")  # a small difference of large numbers
    assert (least < 0.01).all()
    # One Newton step; with logits it is as far without a residual.
    assert frame["leverage", "row"] < 0.25
    assert frame["leverage", NAME] < 0.05
    assert frame["first_order", NAME] < 0.2
    assert report.shares[NAME] > 0.02


def test_paths_add_up_and_have_its_name(explainer, targets):
    result = explainer.influence(*targets, paths=True)
    assert result.paths == PATHS
    whole = explainer.influence(*targets)
    np.testing.assert_allclose(result.totals, whole.values, rtol=1e-9, atol=1e-12)
    assert NAME in result.to_frame()["path"].unique()
    # It is no part of concepts: what a concept's own probability is made of.
    about = explainer.influence(
        targets[0], target=("concept", "food", "good"), paths=True
    )
    assert (about.values[:, :, [0, -1]] == 0).all()


def test_without_a_residual_there_is_no_such_path(given, targets):
    result = explain(given, residual_C=None).influence(*targets, paths=True)
    assert result.paths == PATHS[:-1]


@pytest.mark.parametrize("kind", ["drop", "relabel", "annotate", "add"])
def test_an_edit_is_retraining(kind, explainer, given):
    edit = random_edit(kind, 0.05, given)
    found = explainer.edit(**edit).estimator
    expected = retrained(given.edited(edit), explainer)
    np.testing.assert_allclose(
        parameters(found), parameters(expected), rtol=0, atol=1e-6
    )


def test_a_dropped_concept_leaves_it(explainer, given):
    edit = {"drop_concepts": ["quiet"]}
    found = explainer.edit(**edit).estimator
    expected = retrained(given.edited(edit), explainer)
    np.testing.assert_allclose(
        parameters(found), parameters(expected), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("n_left", [2, 3])
def test_a_class_that_goes_takes_its_weights_along(n_left):
    X, y, concepts = make_concept_data(80, n_classes=n_left + 1)
    clf = ConceptBottleneckClassifier(residual_C=0.1)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    gone = np.flatnonzero(y == "never").tolist()
    found = explainer.edit(drop=gone, empty_values="drop").estimator
    kept = y != "never"
    expected = ConceptBottleneckClassifier(residual_C=0.1).fit(
        X[kept], y[kept], concepts=concepts[kept]
    )
    np.testing.assert_allclose(
        parameters(found), parameters(expected), rtol=0, atol=1e-5
    )


def test_the_predicted_effect_is_the_influence(explainer, targets):
    effect = explainer.edit(drop=[7], X_val=targets[0], y_val=targets[1]).record
    influence = explainer.influence(*targets, reduce="mean").values[0, 7]
    assert effect.predicted_effect == pytest.approx(-influence, rel=1e-6)


def test_words_add_up(explainer, targets):
    result = explainer.influence(*targets, paths=True)
    words = result.words(3, target=1)
    assert words["influence"].sum() == pytest.approx(result.totals[1, 3], rel=1e-6)
    label = words.set_index("word")["influence"]["(label)"]
    assert label == pytest.approx(result.values[1, 3, [0, -1]].sum(), rel=1e-6)


def test_suspects_are_left_out_of_it_too(given):
    """The loss of a label that is left out, against a fit without the term."""
    explainer = explain(given, training="sequential")
    suspects = explainer.suspect_labels("label").set_index("row")
    heads = FittedHeads.of(explainer.estimator_)
    data = heads.encode(given.X, given.y, given.weights, None).data()
    bottleneck, rows, losses = heads.tensors(), [2, 30], []
    for row in rows:
        weights = data.label_weights.clone()
        weights[row] = 0
        fitted, _ = fit_label(
            bottleneck,
            replace(data, label_weights=weights),
            penalty=1 / heads.C,
            tol=1e-10,
            max_iter=100,
        )
        scores = fitted.label_scores(fitted.activations(data.features[[row]]))
        losses.append(float(fitted.label.loss(scores, data.labels[[row]])[0]))
    np.testing.assert_allclose(suspects.loc[rows, "loss"], losses, rtol=0.05)


def test_effects_of_concepts_leave_the_residual(explainer, given, targets):
    clf = explainer.estimator_
    assert explainer.mean_activations_.shape == (len(clf.get_feature_names_out()),)
    columns = FittedHeads.of(clf).tensors().concepts.activations
    X = targets[0]
    activations, residual = clf.transform(X), X @ clf.residual_coef_.T
    rows, best = np.arange(len(X)), clf.predict_proba(X).argmax(axis=1)

    def log_p(activations):
        logits = activations @ clf.coef_.T + clf.intercept_ + residual
        return torch.from_numpy(logits).log_softmax(dim=1).numpy()[rows, best]

    expected = []
    for own in columns:
        without = activations.copy()
        without[:, own] = explainer.mean_activations_[own]
        expected.append(log_p(activations) - log_p(without))
    np.testing.assert_allclose(explainer.transform(X), np.stack(expected, 1), atol=1e-9)


def test_corrections_start_and_end_where_they_should(explainer):
    X, y, concepts = make_concept_data(30, seed=2)
    clf = explainer.estimator_
    curve = intervention_curve(clf, X, y, concepts, n_repeats=2, random_state=0)
    codes = np.searchsorted(clf.classes_, y)
    for proba, losses in (
        (clf.predict_proba(X), curve.losses[0]),
        (clf.intervene(X, concepts), curve.losses[-1]),
    ):
        own = -np.log(proba[np.arange(len(X)), codes])
        np.testing.assert_allclose(losses, own, atol=1e-9)


def test_suggestions_are_effects_of_edits(given, targets):
    explainer = explain(given, training="sequential")
    X, y, _ = make_concept_data(60, seed=4)
    found = explainer.suggest_edits(X, y, kinds=["drop"], random_state=0)
    frame = found.to_frame()
    assert len(frame)
    best = frame.iloc[0]
    record = explainer.edit(drop=[int(best["row"])], X_val=X, y_val=y).record
    # One step for a row of much influence; it is as far without a residual.
    assert best["effect"] == pytest.approx(record.achieved_effect, rel=0.35)


def test_a_reweighter_around_it(given):
    clf = ConceptBottleneckClassifier(residual_C=0.1)
    clean = np.arange(N) < 30
    reweighter = InfluenceReweighter(clf, n_rounds=1, strength=1.0, random_state=0)
    reweighter.fit(given.X, given.y, concepts=given.concepts, is_clean=clean)
    # The influence of its first round is the explainer's, of a model of other rows.
    found = np.asarray(reweighter.estimator_.residual_coef_)
    assert np.isfinite(found).all()
    again = ConceptBottleneckClassifier(residual_C=0.1).fit(
        given.X, given.y, reweighter.sample_weight_, concepts=given.concepts
    )
    np.testing.assert_allclose(found, again.residual_coef_, atol=1e-6)
    assert pd.notna(reweighter.sample_weight_).all()


@pytest.mark.parametrize("method", ["first_order", "leverage", "newton"])
def test_single_precision_costs_as_little_as_without(method, targets):
    X, y, concepts = make_concept_data(N)
    X = X.astype(np.float32)
    found = []
    for features in (X, X.astype(np.float64)):
        clf = ConceptBottleneckClassifier(residual_C=0.1)
        explainer = ConceptInfluenceExplainer(clf, method=method)
        explainer.fit(features, y, concepts=concepts)
        found.append(explainer.influence(*targets, paths=True).values)
    single, double = found
    assert np.abs(single - double).max() < 2e-5 * np.abs(double).max()


def test_without_factors_it_is_the_same_to_first_order(given, targets):
    expected = explain(given).influence(*targets, paths=True).values
    with sklearn.config_context(working_memory=1e-3):
        explainer = explain(given, method="auto")
        found = explainer.influence(*targets, paths=True)
    assert found.method == "first_order"
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-9)
