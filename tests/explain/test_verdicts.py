"""What an expert says of a concept, against retraining and plain minimisation."""

import copy
import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    load_model,
    save_model,
)
from skclif._inputs.training_rows import TrainingRows
from skclif._models.fitted import FittedHeads
from skclif.exceptions import ReweightingWarning

from ..data import make_concept_data, make_sparse_data
from .test_edits import Given, assert_same_model, explain, parameters

N = 100
FOOD = slice(0, 3)  # columns of the label head
ORDER = {"label_order": ["never", "perhaps", "again"]}
BOUNDS = {"monotonic_cst": {"food": ["bad", "good"], "quiet": ["no", "yes"]}}
HEADS = {
    "softmax": {},
    "balanced": {"class_weight": "balanced"},
    "ordinal": {"label_head": "ordinal", **ORDER},
    "bounded": {**BOUNDS, **ORDER},
    "bounded ordinal": {"label_head": "ordinal", **BOUNDS, **ORDER},
    "residual": {"residual_C": 0.1},
    "logit": {"bottleneck": "logit"},
    "hard": {"bottleneck": "hard"},
    "joint": {"training": "joint"},
}


@pytest.fixture(scope="module")
def given():
    return Given(N)


@pytest.fixture(scope="module")
def explainer(given):
    return explain(given, C=2.0)


@pytest.fixture(scope="module")
def halved(explainer, targets):
    X, y = targets
    return explainer.edit(concept_weights={"food": 0.5}, X_val=X, y_val=y)


@pytest.fixture(scope="module")
def targets():
    X, y, _ = make_concept_data(40, seed=1)
    return X, y


def label_rows(explainer):
    """Return the label head's inputs, labels and weights, both copies of each row."""
    heads = FittedHeads.of(explainer.estimator_)
    rows = heads.tensors().label_rows(TrainingRows(**explainer._training).data())
    return [part.numpy() for part in (rows.activations, rows.labels, rows.weights)]


def held_optimum(inputs, labels, weights, C, held):
    """Minimise the label head's objective with its first columns held, by L-BFGS."""
    n_classes, n_held = held.shape
    n_free = inputs.shape[1] - n_held
    fixed = inputs[:, :n_held] @ held.T
    rows = np.arange(len(labels))

    def objective(flat):
        W, b = np.split(flat.reshape(n_classes, -1), [n_free], axis=1)
        log_p = log_softmax(fixed + inputs[:, n_held:] @ W.T + b.T, axis=1)
        pull = weights[:, None] * np.exp(log_p)
        pull[rows, labels] -= weights
        gradient = np.c_[pull.T @ inputs[:, n_held:] + W / C, pull.sum(axis=0)]
        value = -weights @ log_p[rows, labels] + (W**2).sum() / (2 * C)
        return value, gradient.ravel()

    start = np.zeros(n_classes * (n_free + 1))
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(n_classes, -1)[:, :-1]


# --- weights that are held ------------------------------------------------------------


def test_factors_of_several_edits_have_a_bound_together(explainer):
    first = explainer.edit(concept_weights={"food": 20}).explainer
    with pytest.raises(ValueError, match="'food' 120 times what training gave; 100"):
        first.edit(concept_weights={"food": 6})


def test_groups_and_flip_sets_keep_them(halved, targets):
    X, y = targets
    explainer = copy.copy(halved.explainer).set_params(method="newton")
    groups = np.where(np.arange(N) < 8, "first", "rest")
    groups[50:] = "last"
    influence = explainer.influence(X, y, groups=groups, reduce="mean").values[0]
    without = halved.explainer.edit(drop=range(8), X_val=X, y_val=y)
    assert -without.record.achieved_effect == pytest.approx(influence[0], rel=0.02)
    flipped = halved.explainer.smallest_flip_set(X[[0]], max_size=2)
    edited = halved.explainer.edit(drop=flipped.rows.tolist()).estimator
    np.testing.assert_allclose(
        edited.predict_proba(X[[0]])[0], flipped.proba[-1], atol=1e-5
    )


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_others_are_at_the_optimum_with_these_weights_held(factor, explainer):
    result = explainer.edit(concept_weights={"food": factor})
    held = factor * explainer.estimator_.coef_[:, FOOD]
    np.testing.assert_allclose(result.estimator.coef_[:, FOOD], held, rtol=1e-14)
    expected = held_optimum(*label_rows(explainer), 2.0, held)
    np.testing.assert_allclose(result.estimator.coef_[:, 3:], expected, atol=2e-5)
    assert result.record.converged
    # The concepts themselves do not move.
    for name in ("concept_coef_", "concept_intercept_"):
        pairs = zip(
            getattr(result.estimator, name),
            getattr(explainer.estimator_, name),
            strict=True,
        )
        assert all((new == old).all() for new, old in pairs)


def test_zero_is_the_label_head_of_a_fit_without_the_concept(explainer, targets):
    found = explainer.edit(concept_weights={"food": 0}).estimator
    inputs, labels, weights = label_rows(explainer)
    reference = LogisticRegression(C=2.0, tol=1e-10, max_iter=10_000)
    reference.fit(inputs[:, 3:], labels, weights)
    shown = found.transform(targets[0])[:, 3:]
    np.testing.assert_allclose(
        found.predict_proba(targets[0]), reference.predict_proba(shown), atol=1e-6
    )
    assert (found.coef_[:, FOOD] == 0).all()
    # It is predicted and shown all the same.
    assert "food" in found.predict_concept_proba(targets[0])
    assert (found.contributions(targets[0]).values[:, :, 0] == 0).all()


def test_half_is_half_of_what_it_adds_to_the_logits(explainer, halved, targets):
    parts = [
        model.estimator_.contributions(targets[0]).values[:, :, 0]
        for model in (explainer, halved.explainer)
    ]
    spread = [part - part.mean(axis=0) for part in parts]
    np.testing.assert_allclose(spread[1], spread[0] / 2, atol=1e-12)


def test_half_is_half_the_reliance_to_first_order(given, targets):
    weak = explain(given, C=1e-3)  # weights so small that all is of first order
    record = weak.edit(
        concept_weights={"food": 0.5}, X_val=targets[0], y_val=targets[1]
    )
    before, after = record.record.reliance.set_index("concept").loc["food"]
    assert after == pytest.approx(before / 2, rel=0.01)


def test_one_holds_them_as_they_are_and_none_lets_them_go(explainer):
    held = explainer.edit(concept_weights={"food": 1})
    assert held.estimator.held_concepts_ == {"food": 1.0}
    np.testing.assert_allclose(
        held.estimator.coef_, explainer.estimator_.coef_, rtol=1e-13
    )
    zero = held.explainer.edit(concept_weights={"food": 0.5, "quiet": 0})
    again = zero.explainer.edit(concept_weights={"food": 0.5})
    assert again.estimator.held_concepts_ == {"food": 0.25, "quiet": 0.0}
    free = again.explainer.edit(concept_weights={"quiet": None, "food": None})
    assert free.estimator.held_concepts_ == {}
    assert_same_model(free.estimator, explainer.estimator_)


def test_they_are_let_go_after_influence_too(explainer, halved, targets):
    halved.explainer.influence(*targets, reduce="mean")  # knows no other directions
    free = halved.explainer.edit(concept_weights={"food": None})
    assert free.record.converged
    assert_same_model(free.estimator, explainer.estimator_)


@pytest.mark.parametrize("params", HEADS.values(), ids=HEADS)
def test_influence_on_an_edited_model_is_that_of_retraining_it(params, given, targets):
    heads = explain(given, C=2.0, **params).edit(concept_weights={"food": 0.5})
    heads.explainer.set_params(method="newton")
    X, y = (part[:4] for part in targets)
    report = heads.explainer.validate(
        X, y, n_rows=4, n_paths=2, methods=["newton"], random_state=0
    )
    frame = report.to_frame().set_index("removed")["relative_error"]
    # As without weights that are held; flips of hard activations are seen by newton.
    assert (frame.drop("interaction") < 0.01).all()


def test_first_order_is_the_derivative_of_the_held_optimum(halved, targets):
    X, y = targets
    found = halved.explainer.influence(X, y, paths=True, reduce="mean").values[0]
    step, row = 1e-4, 5
    sides = []
    weight = halved.explainer._training["weights"][row]
    for sign in (1, -1):
        edit = {"sample_weight": {row: weight * (1 + sign * step)}}
        sides.append(halved.explainer.edit(**edit, X_val=X, y_val=y).record)
    slope = (sides[0].achieved_effect - sides[1].achieved_effect) / (2 * step)
    assert found[row].sum() == pytest.approx(slope, rel=1e-4, abs=1e-9)
    assert sides[0].predicted_effect == pytest.approx(step * slope, rel=1e-3)


def test_a_concept_that_must_not_matter_has_no_path(explainer, targets):
    model = explainer.edit(concept_weights={"food": 0}).explainer
    result = model.influence(*targets, paths=True)
    assert (result.values[:, :, result.paths.index("food")] == 0).all()
    assert (result.values[:, :, result.paths.index("quiet")] != 0).any()


def test_without_factors_first_order_is_the_same(halved, targets):
    X, y = targets
    expected = halved.explainer.influence(X[:3], y[:3]).values
    with sklearn.config_context(working_memory=0):
        model = pickle.loads(pickle.dumps(halved.explainer))
        found = model.influence(X[:3], y[:3]).values
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["suspect_labels", "suggest_annotations"])
def test_other_questions_take_an_edited_model(method, halved, targets):
    if method == "suspect_labels":
        assert len(halved.explainer.suspect_labels()) > N
    else:
        found = halved.explainer.suggest_annotations(None, *targets, n=3)
        assert len(found.to_frame()) == 3


@pytest.mark.parametrize(
    "later",
    [
        {"drop": [0, 1, 2]},
        {"y": dict.fromkeys(range(20), "again")},  # so many that the head starts anew
        {"drop_concepts": ["quiet"]},
    ],
    ids=["drop", "relabel", "drop a concept"],
)
def test_later_edits_keep_what_is_held(later, explainer, halved):
    found = halved.explainer.edit(**later)
    other = explainer.edit(**later)
    assert found.record.converged
    held = halved.estimator.coef_[:, FOOD]
    np.testing.assert_array_equal(found.estimator.coef_[:, FOOD], held)
    expected = held_optimum(*label_rows(other.explainer), 2.0, held)
    np.testing.assert_allclose(found.estimator.coef_[:, 3:], expected, atol=2e-5)


def test_it_goes_with_its_concept(halved):
    found = halved.explainer.edit(drop_concepts=["food"]).estimator
    assert found.held_concepts_ == {}


@pytest.mark.parametrize("params", [{}, HEADS["ordinal"]], ids=["softmax", "ordinal"])
def test_values_and_classes_that_go_leave_the_others_held(params, given):
    model = explain(given, **params).edit(concept_weights={"food": 0.5}).explainer
    before = model.estimator_.coef_
    rows = np.flatnonzero(given.concepts["food"] == "unknown").tolist()
    edit = {"concepts": {"food": dict.fromkeys(rows)}, "empty_values": "drop"}
    found = model.edit(**edit).estimator
    assert found.held_concepts_ == {"food": 0.5}
    np.testing.assert_allclose(found.coef_[:, 0], before[:, 1] - before[:, 0])
    gone = np.flatnonzero(given.y == "never").tolist()
    found = model.edit(drop=gone, empty_values="drop").estimator
    left = before[:, FOOD]  # of the latent number, or of one label against the other
    if not params:  # again, never, perhaps
        left = left[[2]] - left[[0]]
    np.testing.assert_allclose(found.coef_[:, FOOD], left, atol=1e-12)


def test_a_copy_knows_what_is_held_and_a_clone_is_free(halved, given, tmp_path):
    clf = halved.estimator
    save_model(clf, tmp_path / "model.skclif")
    loaded = load_model(tmp_path / "model.skclif")
    assert loaded.held_concepts_ == {"food": 0.5}
    np.testing.assert_array_equal(loaded.coef_, clf.coef_)
    assert pickle.loads(pickle.dumps(clf)).held_concepts_ == {"food": 0.5}
    state = vars(copy.deepcopy(clf))
    del state["held_concepts_"]  # as older versions kept it
    old = ConceptBottleneckClassifier.__new__(ConceptBottleneckClassifier)
    old.__setstate__(state)
    assert old.held_concepts_ == {}
    fresh = given.fit(clone(clf))
    assert fresh.held_concepts_ == {}
    # A frozen model is at its optimum, which is that with its weights held.
    again = given.fit(ConceptInfluenceExplainer(FrozenEstimator(loaded)))
    edit = {"drop": [3]}
    assert_same_model(
        again.edit(**edit).estimator, halved.explainer.edit(**edit).estimator
    )


def test_sparse_features_and_a_continuous_concept():
    X, y, concepts = make_sparse_data(60, 80)
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(X, y, concepts=concepts)
    with pytest.warns(ReweightingWarning, match="too few rows"):
        found = model.edit(concept_weights={"size": 0.5}, rebalance=["size", "tone"])
    assert found.record.converged
    np.testing.assert_allclose(
        found.estimator.coef_[:, -1], model.estimator_.coef_[:, -1] / 2, rtol=1e-12
    )
    balance = found.record.balance  # of few rows: some cells are empty
    assert (balance["after"] < balance["before"] / 3).all()


# --- label terms that are balanced ----------------------------------------------------


def weights_of(result):
    return result.explainer._training["label_weights"]


@pytest.mark.parametrize("names", [["food"], ["quiet", "price"]])
@pytest.mark.parametrize("params", [{}, HEADS["balanced"]], ids=["softmax", "balanced"])
def test_an_edit_is_retraining_with_the_same_weights(names, params, given):
    model = explain(given, **params)
    result = model.edit(rebalance=names)
    factors = weights_of(result)
    clf = model.estimator_
    by_class = dict(zip(clf.classes_, clf.class_weight_, strict=True))
    retrained = ConceptBottleneckClassifier(class_weight=by_class).fit(
        given.X,
        given.y,
        given.weights * factors,
        concepts=given.concepts,
        concept_sample_weight=given.concept_weights / factors[:, None],
    )
    assert_same_model(result.estimator, retrained)
    # What is taken away again leaves no trace.
    back = result.explainer.edit(rebalance=[])
    assert_same_model(back.estimator, clf)
    assert "label_weights" not in back.explainer._training
    assert len(back.record.changes) == len(result.record.changes) > N / 2
    np.testing.assert_array_equal(back.record.changes["new"].astype(float), 1)


def test_both_at_once_and_without_the_concept_agree(explainer, targets):
    """As CBDebug does: the concept goes, and the rest is trained with the weights."""
    held = explainer.edit(concept_weights={"food": 0}, rebalance=["food"])
    gone = explainer.edit(drop_concepts=["food"], rebalance=["food"])
    np.testing.assert_array_equal(weights_of(held), weights_of(gone))
    np.testing.assert_allclose(
        held.estimator.predict_proba(targets[0]),
        gone.estimator.predict_proba(targets[0]),
        atol=1e-7,
    )
    assert gone.record.reliance.set_index("concept").loc["food", "after"] == 0


def test_weights_are_the_density_ratio(given):
    X, y, concepts = given.X, given.y, given.concepts.fillna({"food": "bad"})
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(X, y, concepts=concepts)
    food = concepts["food"]
    counts = pd.crosstab(food, y)
    ratio = np.outer(counts.sum(axis=1), counts.sum()) / N / counts
    expected = [ratio.loc[one, label] for one, label in zip(food, y, strict=True)]
    result = model.edit(rebalance=["food"])
    np.testing.assert_allclose(weights_of(result), expected, rtol=1e-10)
    record = result.record
    joint = counts / N
    apart = np.outer(joint.sum(axis=1), joint.sum())
    known = (joint * np.log(joint / apart)).to_numpy().sum()
    assert record.balance.loc[0, "before"] == pytest.approx(known)
    assert record.balance.loc[0, "after"] == pytest.approx(0, abs=1e-12)
    size = np.sum(expected) ** 2 / np.sum(np.square(expected))
    assert record.effective_sample_size == pytest.approx((N, size))
    changes = record.changes
    assert set(changes["kind"]) == {"reweight_label"}
    np.testing.assert_allclose(
        changes["new"].astype(float), np.array(expected)[changes["row"]], rtol=1e-10
    )


def test_a_missing_annotation_counts_as_what_is_predicted(explainer, given):
    shares = explainer.estimator_.predict_concept_proba(given.X)["food"]
    known = given.concepts["food"].notna().to_numpy()
    values = np.array(["bad", "good", "unknown"])
    shares[known] = given.concepts["food"].to_numpy()[known, None] == values
    soft = {name: given.concepts[name] for name in ("quiet", "price")}
    soft |= {f"food={v}": part for v, part in zip(values, shares.T, strict=True)}
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(given.X, given.y, given.weights, concepts=pd.DataFrame(soft))
    # The same distributions, given as soft annotations.
    found = weights_of(model.edit(rebalance=["food"]))
    expected = weights_of(explainer.edit(rebalance=["food"]))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.filterwarnings("ignore:The suggested changes")
def test_suggestions_weigh_labels_as_the_edit_left_them(explainer, given, targets):
    sure = explainer.predict_proba(given.X).max(axis=1).argsort()[-4:].tolist()
    wrong = {row: "never" if given.y[row] == "again" else "again" for row in sure}
    model = explainer.edit(y=wrong, rebalance=["food"]).explainer
    factors, other = weights_of(model.edit(drop=[0])), given.edited({"y": wrong})
    other.weights = given.weights * factors
    other.concept_weights = given.concept_weights / factors[:, None]
    same = explain(other, C=2.0)
    found, expected = (
        each.suggest_edits(*targets, kinds=["relabel"], random_state=0).to_frame()
        for each in (model, same)
    )
    assert len(found)
    pd.testing.assert_series_equal(found["effect"], expected["effect"], rtol=1e-6)


def test_what_no_weights_can_balance_is_said():
    X, y, concepts = make_concept_data(90)
    concepts["food"] = np.where(y == "never", "bad", "good")  # no row against it
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(X, y, concepts=concepts)
    says = r"leaves concept 'food' 0\.\d+ nats .*, of 0\.6\d+ before.*too few"
    with pytest.warns(ReweightingWarning, match=says):
        record = model.edit(rebalance=["food"]).record
    assert record.balance.loc[0, "after"] > 0.1


def test_later_rows_and_rows_without_weight(explainer, given):
    model = explainer.edit(drop=[4], rebalance=["food"]).explainer
    X, y, concepts = make_concept_data(3, seed=5)
    added = model.edit(add={"X": X, "y": y, "concepts": concepts})
    assert (weights_of(added)[-3:] == 1).all()
    again = added.explainer.edit(rebalance=["food"], drop=[5])
    lines = again.record.changes.query("kind == 'reweight_label'")
    assert set(lines["row"]) >= {N, N + 1, N + 2}
    both = model.edit(add={"X": X, "y": y, "concepts": concepts}, rebalance=["quiet"])
    lines = both.record.changes.set_index("row")
    assert lines.loc[N + 1].query("kind == 'reweight_label'")["old"].tolist() == [None]
    # Of rows that lost their weight, nothing counts.
    alone = explainer.edit(drop=list(range(50, N)), rebalance=["food"])
    assert alone.record.effective_sample_size[1] < 50


def test_later_edits_say_what_is_left_of_the_balance(given):
    concepts = given.concepts.fillna({"food": "bad"})
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(given.X, given.y, concepts=concepts)
    first = model.edit(rebalance=["food"])
    wrong = dict.fromkeys(np.flatnonzero(concepts["food"] == "good")[:20], "never")
    later = first.explainer.edit(y=wrong)
    found = later.record.balance.set_index("concept")
    assert found.index.tolist() == ["food", "quiet", "price"]
    assert found.loc["food", "before"] == pytest.approx(0, abs=1e-12)
    # What is left: the same weights with the new labels.
    y, weights = given.y.astype(object), weights_of(first)
    y[list(wrong)] = "never"
    table = pd.crosstab(concepts["food"], y, weights, aggfunc="sum").fillna(0)
    joint = table.to_numpy() / weights.sum()
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    left = (joint[joint > 0] * np.log(joint / apart)[joint > 0]).sum()
    assert found.loc["food", "after"] == pytest.approx(left)
    assert left > 0.02
    sizes = first.record.effective_sample_size[1], later.record.effective_sample_size
    assert sizes[1] == pytest.approx((sizes[0], sizes[0]))
    # Once more, with what there was before.
    again = later.explainer.edit(rebalance=["food"]).record
    assert again.balance.loc[0, "before"] == pytest.approx(left)
    assert again.balance.loc[0, "after"] == pytest.approx(0, abs=1e-12)
    # Without such weights there is nothing to say.
    gone = later.explainer.edit(rebalance=[])
    assert gone.record.balance.loc[0, "before"] == pytest.approx(left)
    assert gone.explainer.edit(drop=[1]).record.balance is None


def test_rounding_is_no_new_weight():
    X, y, concepts = make_concept_data(90)
    concepts["food"] = np.where(y == "never", "bad", "good")  # no row against it
    model = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    model.fit(X, y, concepts=concepts)
    with pytest.warns(ReweightingWarning):
        record = model.edit(rebalance=["food"]).record
    assert record.changes.empty
    assert record.balance.loc[0, "before"] == record.balance.loc[0, "after"]


# --- the record -----------------------------------------------------------------------


def test_the_record_says_what_predictions_rest_on(explainer, halved, targets):
    reliance = halved.record.reliance
    assert reliance["concept"].tolist() == ["food", "quiet", "price"]
    for when, model in (("before", explainer), ("after", halved.explainer)):
        expected = np.abs(model.transform(targets[0])).mean(axis=0)
        np.testing.assert_allclose(reliance[when], expected)
    assert reliance.loc[0, "after"] < 0.7 * reliance.loc[0, "before"]
    assert halved.record.predicted_effect is None
    changes = halved.record.changes.to_dict("records")
    expected = {"kind": "weigh_concept", "row": -1, "concept": "food"}
    assert changes == [{**expected, "old": None, "new": 0.5}]
    # Without validation rows, those of training are all there is.
    alone = explainer.edit(concept_weights={"food": 0.5}).record
    assert alone.group_losses is alone.worst_group_loss is None
    assert (alone.reliance["before"] != reliance["before"]).all()


def test_the_record_says_how_groups_fare(explainer, halved, targets):
    X, y = targets
    groups = np.array(["left", "right"])[(X[:, 0] > 0).astype(int)]
    edit = {"concept_weights": {"food": 0}, "X_val": X, "y_val": y}
    record = explainer.edit(**edit, groups_val=groups).record
    frame = record.group_losses.set_index("group")
    for model, when in (
        (explainer, "before"),
        (explainer.edit(**edit).explainer, "after"),
    ):
        proba = model.predict_proba(X)
        loss = -np.log(proba[np.arange(len(y)), np.searchsorted(model.classes_, y)])
        for name in ("left", "right"):
            assert frame.loc[name, when] == pytest.approx(loss[groups == name].mean())
    assert record.worst_group_loss == (frame["before"].max(), frame["after"].max())
    assert frame["n_rows"].sum() == len(y)
    # By default, groups are the label with what is predicted of the concept.
    names = halved.record.group_losses["group"]
    predicted = explainer.estimator_.predict_concepts(X)["food"]
    expected = {f"label={a}, food={b}" for a, b in zip(y, predicted, strict=True)}
    assert set(names) == expected
    # Groups serve any edit.
    other = explainer.edit(drop=[3], X_val=X, y_val=y, groups_val=groups).record
    assert other.reliance is None
    assert other.worst_group_loss[0] == record.worst_group_loss[0]


def test_few_rows_are_no_headline(explainer, targets):
    X, y = targets
    record = explainer.edit(
        concept_weights={"food": 0},
        X_val=X[:19],
        y_val=y[:19],
        groups_val=np.repeat(["few", "enough"], [9, 10]),
    ).record
    losses = record.group_losses.set_index("group")
    assert losses["n_rows"].to_dict() == {"enough": 10, "few": 9}
    assert record.worst_group_loss == tuple(losses.loc["enough", ["before", "after"]])
    few = replace(record, group_losses=record.group_losses.query("group == 'few'"))
    assert few.worst_group_loss is None


def test_the_record_is_plain(explainer, targets):
    X, y = targets
    result = explainer.edit(rebalance=["food"], X_val=X, y_val=y)
    plain = json.loads(json.dumps(result.record.to_dict()))
    assert plain["balance"][0]["concept"] == "food"
    assert [line["concept"] for line in plain["reliance"]] == ["food", "quiet", "price"]
    assert len(plain["effective_sample_size"]) == 2
    assert plain["group_losses"][0].keys() == {"group", "n_rows", "before", "after"}
    assert "reliance" not in explainer.edit(drop=[1]).record.to_dict()
    assert "x reweight_label" in repr(result.record)
    assert "reweight_label" in str(result)
    assert result.record.predicted_effect is not None


def test_the_model_before_is_as_it_was(explainer, halved):
    before = parameters(explainer.estimator_).copy()
    explainer.edit(concept_weights={"food": 0}, rebalance=["quiet"])
    np.testing.assert_array_equal(parameters(explainer.estimator_), before)
    assert explainer.estimator_.held_concepts_ == {}
    assert halved.before is explainer.estimator_
