"""Influence on jointly trained stages, edits, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    drift_report,
)
from skclif._explain import engine
from skclif.exceptions import InfluenceWarning
from skclif.numerics.targets import LabelTarget

from ..data import make_concept_data

CLF = ConceptBottleneckClassifier(training="joint", concept_weight=2.0)


@pytest.fixture(scope="module")
def data():
    X, y, concepts = make_concept_data(60)
    return X, y, concepts.drop(columns="price")


@pytest.fixture(scope="module")
def explainer(data):
    X, y, concepts = data
    return ConceptInfluenceExplainer(CLF).fit(X, y, concepts=concepts)


def test_auto_is_newton_for_little_work_and_first_order_for_more(
    data, explainer, monkeypatch
):
    X, y, _ = data
    result = explainer.influence(X[:3], y[:3], paths=True)
    assert result.method == "newton"
    assert result.paths == ("label", "food", "quiet", "interaction")
    monkeypatch.setattr(engine, "MOST_WORK", 0)
    rough = explainer.influence(X[:3], y[:3], paths=True)
    assert rough.method == "first_order"
    assert rough.paths == ("label", "food", "quiet")
    totals = result.values.sum(axis=2), rough.values.sum(axis=2)
    assert np.corrcoef(*map(np.ravel, totals))[0, 1] > 0.95


def test_first_order_of_one_row_is_the_sum_of_its_words(data, explainer):
    X, y, _ = data
    first = clone(explainer).set_params(method="first_order", estimator=CLF)
    first = first.fit(X, y, concepts=data[2])
    result = first.influence(X[:2], y[:2])
    words = result.words(5, 1)
    assert words["influence"].sum() == pytest.approx(result.values[1, 5], rel=1e-9)
    alone = first.influence(X[:2], y[:2], paths=True)
    own = alone.words(5, 1, path="food")["influence"].sum()
    assert own == pytest.approx(alone.values[1, 5, 1], rel=1e-9, abs=1e-12)


def test_validation_compares_with_training_again(data, explainer):
    X, y, _ = data
    report = explainer.validate(X[:3], y[:3], n_rows=4, n_paths=1, random_state=0)
    frame = report.to_frame().set_index(["method", "removed"])
    assert {*frame.index.get_level_values(0)} == {"newton", "first_order"}
    assert frame.loc["newton", "row"]["relative_error"] < 0.01
    assert frame.loc["newton", "label"]["relative_error"] < 0.01


def test_leverage_is_refused(data, explainer):
    X, y, _ = data
    with pytest.raises(ValueError, match=r"method='leverage' is for heads .*'joint'"):
        clone(explainer).set_params(method="leverage").fit(
            X, y, concepts=data[2]
        ).influence(X[:1])
    with pytest.raises(ValueError, match=r"method='pairwise' is for heads .*'joint'"):
        clone(explainer).set_params(method="pairwise").fit(
            X, y, concepts=data[2]
        ).influence(X[:1])
    with pytest.raises(ValueError, match=r"methods=\['leverage'\] must name 'newton'"):
        explainer.validate(X[:1], y[:1], methods=["leverage"])


def test_groups_are_sums_of_derivatives(data, explainer):
    X, y, concepts = data
    groups = np.arange(len(y)) % 3
    result = explainer.influence(X[:2], y[:2], groups=groups)
    assert result.method == "first_order"
    rows = (
        clone(explainer).set_params(method="first_order").fit(X, y, concepts=concepts)
    )
    of_rows = rows.influence(X[:2], y[:2]).values
    sums = np.stack([of_rows[:, groups == k].sum(axis=1) for k in range(3)], axis=1)
    np.testing.assert_allclose(result.values, sums, rtol=1e-9, atol=1e-12)
    for method in ("newton", "leverage", "pairwise"):
        rows.set_params(method=method)
        with pytest.raises(
            ValueError, match=rf"'{method}' removes .* edit\(drop=...\)"
        ):
            rows.influence(X[:2], y[:2], groups=groups)


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("suspect_labels", lambda e, X, y: e.suspect_labels()),
        ("smallest_flip_set", lambda e, X, y: e.smallest_flip_set(X[[0]])),
        ("suggest_edits", lambda e, X, y: e.suggest_edits(X, y)),
        ("suggest_edits", lambda e, X, y: e.suggest_edits(X, y, kinds=["drop"])),
        ("suggest_annotations", lambda e, X, y: e.suggest_annotations(X[:5], X, y)),
        ("suggest_annotations", lambda e, X, y: e.suggest_annotations(None, X, y)),
        ("rank_concepts", lambda e, X, y: e.rank_concepts(X, y)),
        ("report", lambda e, X, y: e.report(X, y)),
    ],
)
def test_closed_forms_are_refused_and_the_remedy_is_named(data, explainer, name, ask):
    words = rf"^{name} works in closed form .*training='joint' are not\. .*mixed"
    with pytest.raises(ValueError, match=words):
        ask(explainer, *data[:2])


def test_factors_of_joint_stages_are_refused_anywhere(explainer):
    with pytest.raises(ValueError, match="^What was asked works in closed form"):
        _ = explainer._solved_model().factors


def test_drift_is_refused(data, explainer):
    with pytest.raises(ValueError, match=r"drift_report .* training='joint' are not"):
        drift_report(explainer, data[0][:30], data[1][:30])


def test_an_edit_is_training_again(data, explainer):
    X, y, concepts = data
    label = next(one for one in explainer.classes_ if one != y[5])
    result = explainer.edit(
        y={5: label}, drop=[3], concepts={"quiet": {9: None}}, X_val=X, y_val=y
    )
    assert result.record.converged
    assert {head.start for head in result.record.heads} == {"current"}
    y, concepts = y.copy(), concepts.copy()
    y[5], concepts.loc[9, "quiet"] = label, None
    weights = np.where(np.arange(len(y)) == 3, 0.0, 1.0)
    again = clone(CLF).fit(X, y, weights, concepts=concepts)
    np.testing.assert_allclose(
        result.estimator.predict_proba(X), again.predict_proba(X), atol=1e-7
    )
    assert result.estimator.concept_weight_ == 2.0
    effects = result.record.predicted_effect, result.record.achieved_effect
    assert effects[0] == pytest.approx(effects[1], rel=0.5)
    # The edited explainer explains, and edits on.
    assert result.explainer.influence(X[:1]).values.shape == (1, 60)
    back = result.explainer.edit(sample_weight={3: 1.0}, n_steps=1)
    assert back.record.heads[0].n_steps == 1


def test_edits_that_change_nothing_keep_the_model(data, explainer):
    same = explainer.edit(sample_weight={3: 1.0})
    assert {head.start for head in same.record.heads} == {"kept"}
    np.testing.assert_array_equal(same.estimator.coef_, explainer.estimator_.coef_)


def test_edits_of_the_shape_of_the_model(data, explainer):
    X, y, concepts = data
    dropped = explainer.edit(drop_concepts=["food"])
    assert dropped.record.converged
    assert dropped.estimator.n_concepts_ == 1
    added = explainer.edit(add={"X": X[:2], "y": y[:2], "concepts": concepts[:2]})
    assert added.record.converged
    soft = explainer.edit(concepts={"quiet": {9: {"no": 0.4, "yes": 0.6}}})
    assert soft.record.converged
    rows = np.flatnonzero(concepts["food"] == "unknown").tolist()
    gone = explainer.edit(
        concepts={"food": dict.fromkeys(rows, "bad")}, empty_values="drop"
    )
    assert gone.record.converged
    assert len(gone.estimator.concept_classes_[0]) == 2


def test_a_frozen_model_is_explained_where_it_was_trained(data, explainer):
    X, y, concepts = data
    frozen = FrozenEstimator(explainer.estimator_)
    same = ConceptInfluenceExplainer(frozen).fit(X, y, concepts=concepts)
    assert same.damping_ == 0
    with pytest.raises(ValueError, match="not at the optimum of these data"):
        ConceptInfluenceExplainer(frozen).fit(X, y[::-1], concepts=concepts)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_away_from_a_minimum_the_damping_is_an_attribute(data):
    X, y, concepts = data
    far = ConceptBottleneckClassifier(
        training="joint", concept_weight=0.05, C=100.0, concept_C=100.0, max_iter=1
    )
    explainer = ConceptInfluenceExplainer(far, method="first_order")
    with pytest.warns(InfluenceWarning, match=r"added to its Hessian \(damping_\)"):
        explainer.fit(X, y, concepts=concepts)
    assert explainer.damping_ > 0
    assert np.isfinite(explainer.influence(X[:2], y[:2]).values).all()


def test_an_early_stop_of_an_edit_is_said_once(data):
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(clone(CLF).set_params(max_iter=1, C=100.0))
    with pytest.warns(ConvergenceWarning):
        explainer.fit(X, y, concepts=concepts)
    words = r"together stopped .* in the head of .* after 10 L-BFGS steps, above the"
    with pytest.warns(ConvergenceWarning, match=words) as found:
        record = explainer.edit(drop=[*range(10)]).record
    assert sum("stopped" in str(one.message) for one in found) == 1
    worst = max(record.heads, key=lambda head: head.after / head.tolerance)
    (said,) = (str(one.message) for one in found if "stopped" in str(one.message))
    assert f"in the head of {worst.head!r}" in said
    assert "raise max_iter=1 or concept_weight" in said


def test_only_joint_models_are_damped(data):
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    assert explainer.fit(X, y, concepts=concepts).damping_ == 0


def test_a_residual_and_soft_annotations_have_their_paths(data):
    X, y, concepts = data
    soft = pd.DataFrame({"quiet=no": np.where(X[:, 1] > 0, 0.2, 0.9)})
    soft["quiet=yes"] = 1 - soft["quiet=no"]
    clf = clone(CLF).set_params(residual_C=0.1, intervention_prob=0.3)
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=soft)
    rows = {"rows": np.array([1, 8])}
    solved = explainer._solved
    codes = torch.from_numpy(np.searchsorted(explainer.classes_, y[:2]))
    asked = solved.questions(X[:2], lambda _: LabelTarget("loss", codes), None)
    values = {
        method: np.concatenate(
            [part for _, _, part in solved.blocks(method, asked, paths=True, **rows)],
            axis=1,
        )
        for method in ("newton", "retraining")
    }
    assert values["newton"].shape == (2, 2, 4)  # label, quiet, past, interaction
    np.testing.assert_allclose(values["newton"], values["retraining"], atol=2e-4)


def test_pairs_are_left_out_of_a_comparison(data, explainer):
    X, y, _ = data
    ask = {"n_rows": 2, "n_paths": 0, "random_state": 0}
    report = explainer.validate(X[:3], y[:3], methods=["pairwise", "newton"], **ask)
    assert {method for method, _ in report.agreements} == {"newton"}
    with pytest.raises(ValueError, match="methods='pairwise' must name 'newton' or"):
        explainer.validate(X[:3], y[:3], methods="pairwise", **ask)
