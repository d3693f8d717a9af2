"""Influence and edits of ordinal and constrained label heads, against retraining."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.base import clone

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif._explain.work import MOST_WORK, Work
from skclif.exceptions import InfluenceWarning, SuspectWarning
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.lockstep import LockstepModels
from skclif.numerics.matrix_free import MatrixFree
from skclif.numerics.newton import Refit
from skclif.numerics.products import with_ones
from skclif.numerics.suggestions import ClosedForm, LinearEffects
from skclif.numerics.targets import LabelTarget

from ..models.test_label_heads import CST, ORDER, make_data

N = 90
X_NEW, Y_NEW, _ = make_data(40, seed=7)
MODELS = {
    "ordinal": {"label_head": "ordinal"},
    "bounded": {"label_head": "ordinal", "monotonic_cst": CST},
    "softmax": {"monotonic_cst": CST},
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    X, y, concepts = make_data()
    clf = ConceptBottleneckClassifier(**MODELS[request.param], tol=1e-10)
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    return explainer, X, y, concepts


def _without(explainer, X, y, concepts, rows, targets):
    """Return log-losses with and without each row, by fitting again."""
    losses = []
    for row in [None, *rows]:
        weights = np.ones(len(X))
        weights[rows[:0] if row is None else row] = 0
        clf = clone(explainer.estimator_).fit(X, y, weights, concepts=concepts)
        proba = clf.predict_proba(X_NEW)
        losses.append(-np.log(proba[np.arange(len(X_NEW)), targets]))
    return losses[0][:, None] - np.transpose(losses[1:])


def test_influence_is_that_of_retraining(fitted):
    explainer, X, y, concepts = fitted
    rows = np.arange(0, N, 9)
    targets = Y_NEW
    truth = _without(explainer, X, y, concepts, rows, targets)
    for method, most, least in (
        ("newton", 0.005, 0.9999),
        ("leverage", 0.15, 0.98),
        ("first_order", 0.45, 0.95),
    ):
        found = _asked(explainer, method, targets)[:, rows]
        error = np.linalg.norm(found - truth) / np.linalg.norm(truth)
        assert error < most, method
        assert spearmanr(found.ravel(), truth.ravel()).statistic > least, method


def _asked(explainer, method, targets):
    explainer.set_params(method=method)
    found = explainer.influence(X_NEW, targets).values
    explainer.set_params(method="auto")
    return found


def test_paths_add_up_and_every_target_is_explained(fitted):
    explainer, _, y, _ = fitted
    targets = Y_NEW
    for target in ("loss", "logit", "margin", "log_proba"):
        asked = {"target": target} if target != "loss" else {}
        paths = explainer.influence(X_NEW[:3], targets[:3], paths=True, **asked)
        whole = explainer.influence(X_NEW[:3], targets[:3], **asked)
        np.testing.assert_allclose(paths.values.sum(axis=2), whole.values, atol=1e-10)


def test_a_removal_that_lets_a_constraint_go_is_solved_again(monkeypatch):
    # Without the constraint, quiet would lower the label, by less than one row does.
    y = np.repeat([0, 1, 2, 0, 1, 2], [2, 3, 2, 4, 5, 5])
    quiet, n = np.repeat(["yes", "no"], [7, 14]), 21
    X = np.column_stack([(quiet == "yes") * 4.0, np.linspace(-1, 1, n)])
    concepts = pd.DataFrame({"quiet": quiet})
    clf = ConceptBottleneckClassifier(label_head="ordinal", training="independent")
    assert clf.fit(X, y, concepts=concepts).coef_[0, 0] < 0
    clf.set_params(monotonic_cst={"quiet": ["no", "yes"]}, tol=1e-10)
    explainer = ConceptInfluenceExplainer(clf, method="newton")
    explainer.fit(X, y, concepts=concepts)
    assert explainer.estimator_.coef_[0, 0] == 0
    rows = np.arange(n)
    asked = np.array([[4.0, 0.0], [0.0, 0.0]])

    def proba(weights):
        new = clone(clf).fit(X, y, weights, concepts=concepts)
        return np.log(new.predict_proba(asked)[[0, 1], [2, 2]]), new.coef_[0, 0]

    whole, _ = proba(np.ones(n))
    parts = [proba((rows != row).astype(float)) for row in rows]
    truth = whole[:, None] - np.transpose([part for part, _ in parts])
    let_go = np.array([coef > 0 for _, coef in parts])
    assert 0 < let_go.sum() < n
    found = explainer.influence(asked, [2, 2], target="log_proba").values
    np.testing.assert_allclose(found, truth, rtol=2e-3, atol=1e-5)
    monkeypatch.setattr(Refit, "_solve_again", lambda *args: None)
    found = explainer.influence(asked, [2, 2], target="log_proba").values
    assert np.abs(found - truth)[:, let_go].max() > 1e-3
    np.testing.assert_allclose(
        found[:, ~let_go], truth[:, ~let_go], rtol=2e-3, atol=1e-5
    )


EDITS = {
    "drop": {"drop": [3, 7, 50]},
    "labels": {"y": {5: 0, 9: 1}},
    "annotations": {"concepts": {"food": {2: "good", 4: "bad"}, "price": {1: 3.0}}},
    "weights": {"sample_weight": {3: 1.05, 8: 0.9}},
    "concepts": {"drop_concepts": ["food", "other"]},
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_a_fit(fitted, name):
    explainer, X, y, concepts = fitted
    edit = EDITS[name]
    found = explainer.edit(**edit, X_val=X_NEW, y_val=Y_NEW)
    X, y, concepts = X.copy(), y.copy(), concepts.copy()
    for row, label in edit.get("y", {}).items():
        y[row] = label
    for concept, values in edit.get("concepts", {}).items():
        for row, value in values.items():
            concepts.loc[row, concept] = value
    concepts = concepts.drop(columns=edit.get("drop_concepts", []))
    weights = 1.0 - np.isin(np.arange(N), edit.get("drop", []))
    for row, weight in edit.get("sample_weight", {}).items():
        weights[row] = weight
    expected = clone(found.estimator).fit(X, y, weights, concepts=concepts)
    np.testing.assert_allclose(found.estimator.coef_, expected.coef_, atol=1e-7)
    np.testing.assert_allclose(
        found.estimator.intercept_, expected.intercept_, atol=1e-7
    )
    if name == "weights":
        predicted = found.record.predicted_effect
        assert predicted == pytest.approx(found.record.achieved_effect, rel=0.05)
    constraints = expected.monotonic_cst or {}
    assert ("food" in constraints) <= (name != "concepts")


@pytest.mark.parametrize("head", ["plain", "softmax", "ordinal"])
@pytest.mark.parametrize("lost", ["label", "value"])
def test_values_that_go_leave_the_rules(head, lost):
    X, y, concepts = make_data()
    words = np.array(ORDER)[y]
    params = {"label_head": head} if head != "plain" else {}
    clf = ConceptBottleneckClassifier(**params, label_order=ORDER, tol=1e-10)
    clf.set_params(monotonic_cst=CST if head != "plain" else None)
    explainer = ConceptInfluenceExplainer(clf).fit(X, words, concepts=concepts)
    keep = np.ones(N, bool)
    if lost == "label":
        keep = words != "fair"
        edit = {"drop": np.flatnonzero(~keep).tolist()}
    else:
        gone = np.flatnonzero(concepts["food"] == "ok")
        edit = {"concepts": {"food": dict.fromkeys(gone.tolist())}}
        concepts = concepts.assign(
            food=concepts["food"].where(concepts["food"] != "ok")
        )
    found = explainer.edit(**edit, empty_values="drop").estimator
    if head == "plain":
        found.label_order = None  # of no use
    expected = clone(found).fit(X[keep], words[keep], concepts=concepts[keep])
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), atol=1e-7
    )
    if head != "plain":
        assert found.label_order == [v for v in ORDER if v != "fair" or lost != "label"]
        assert ("ok" in found.monotonic_cst["food"]) == (lost == "label")


@pytest.mark.filterwarnings("ignore::skclif.exceptions.SuggestionWarning")
def test_suggestions_follow_retraining(fitted):
    explainer, X, y, concepts = fitted
    targets = Y_NEW
    table = explainer.suggest_edits(X_NEW, targets, random_state=0).to_frame()[:4]
    for line in table.itertuples():
        if line.kind != "drop":
            continue
        weights = (np.arange(N) != line.row) * 1.0
        new = clone(explainer.estimator_).fit(X, y, weights, concepts=concepts)
        effect = _mean_loss(new, targets) - _mean_loss(explainer.estimator_, targets)
        assert line.effect == pytest.approx(effect, rel=0.5)


def test_another_label_is_followed_exactly_where_others_answer_by_the_hessian(fitted):
    # The curvature of an ordinal head follows the label: Eq. (22) with both changed.
    explainer, _, y, _ = fitted
    solved = explainer._solved_model()
    bottleneck, data, factors = solved.bottleneck, solved.data, solved.factors
    codes = torch.from_numpy(Y_NEW)
    about = LabelTarget("loss", codes).derivatives(bottleneck, torch.from_numpy(X_NEW))
    adjoint = solve_adjoint(bottleneck, factors, about)
    row, other = torch.tensor([4]), (data.labels[4:5] + 1) % (int(y.max()) + 1)
    changed = ClosedForm(bottleneck, factors).of(data.rows(row))
    moves = changed.relabel(other, data.label_weights[row])
    found = LinearEffects(changed, adjoint).of(moves)[:, 0]
    start, basis = bottleneck.label_parameters, torch.eye(len(factors.label)).double()
    cone = bottleneck.label.cone(start.shape[1], start)
    if cone is not None:
        basis = cone.free(start)

    def objective(problem):
        def of_moved(u):
            parameters = (start.flatten() + basis @ u).reshape(start.shape)
            return problem.objective(problem.scores(parameters), parameters)[0]

        return of_moved

    weights, labels = data.label_weights.clone(), data.labels.clone()
    weights[row], labels[row] = 0, other
    without = bottleneck.label_problem(
        replace(data, label_weights=weights), factors.penalty
    )
    own = replace(data, labels=labels, label_weights=data.label_weights - weights)
    own = objective(bottleneck.label_problem(own, 0.0))
    at = torch.zeros(basis.shape[1]).double()
    slope = torch.func.grad(objective(without))(at)
    if bottleneck.label.is_bounded:  # what is held at the optimum stays held
        before = bottleneck.label_problem(data, factors.penalty)
        p = before.probabilities(before.scores(start))
        assert (basis.T @ before.gradient(p, start).flatten()).abs().max() < 1e-7
    hessian = torch.func.hessian(objective(without))(at)
    for _ in range(20):
        gradient = slope + hessian @ at + torch.func.grad(own)(at)
        at = at - torch.linalg.solve(hessian + torch.func.hessian(own)(at), gradient)
    assert gradient.abs().max() < 1e-9
    step = basis @ at
    torch.testing.assert_close(
        changed.parameters(moves)[1].flatten(), step, rtol=1e-6, atol=1e-9
    )
    inputs = with_ones(about.activations)
    slopes = (about.label_scores[:, :, None] * inputs[:, None]).flatten(1)
    torch.testing.assert_close(found, slopes @ step, rtol=1e-6, atol=1e-9)


def _mean_loss(clf, targets):
    proba = clf.predict_proba(X_NEW)
    return -np.log(proba[np.arange(len(X_NEW)), targets]).mean()


def test_conjugate_gradients_solve_the_same_systems(fitted):
    explainer, _, y, _ = fitted
    solved = explainer._solved_model()
    bottleneck, data = solved.bottleneck, solved.data
    factors = solved.factors
    free = MatrixFree.of(
        bottleneck,
        data,
        penalty=factors.penalty,
        concept_penalties=factors.concept_penalties,
    )
    codes = torch.from_numpy(Y_NEW)
    features = torch.from_numpy(X_NEW)
    about = LabelTarget("loss", codes).derivatives(bottleneck, features)
    expected = solve_adjoint(bottleneck, factors, about)
    found = solve_adjoint(bottleneck, free, about)
    torch.testing.assert_close(found.label, expected.label, rtol=1e-6, atol=1e-9)
    for one, other in zip(found.concepts, expected.concepts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_harm_is_the_derivative_in_the_weights(fitted):
    explainer, *_ = fitted
    solved = explainer._solved_model()
    factors, data = solved.factors, solved.data
    models = LockstepModels(
        solved.bottleneck,
        data,
        torch.ones(N).double(),
        penalty=factors.penalty,
        concept_penalties=factors.concept_penalties,
    )
    rows, shares = torch.arange(0, N, 3), torch.ones(30, 1, 1).double() / 30
    harm = models.harm([solved.bottleneck], torch.ones(N, 1).double(), rows, shares)
    about = LabelTarget("loss", data.labels[rows])
    adjoint = solve_adjoint(
        solved.bottleneck,
        factors,
        about.derivatives(solved.bottleneck, data.features[rows]),
        shares[:, :, 0].T,
    )
    parts = [p for _, p in first_order(solved.bottleneck, data, adjoint)]
    expected = torch.cat(parts, dim=1).sum(dim=2)[0]
    torch.testing.assert_close(harm[:, 0, 0], expected, rtol=1e-3, atol=1e-6)


def test_a_reweighter_takes_both():
    X, y, concepts = make_data()
    clf = ConceptBottleneckClassifier(**MODELS["bounded"])
    model = InfluenceReweighter(clf, strength=1.0, n_rounds=1, random_state=0)
    model.fit(X, y, concepts=concepts, is_clean=np.arange(N) < 30)
    assert np.ptp(model.sample_weight_) > 0
    assert model.estimator_.coef_[0, 3] >= 0


def test_constraints_that_nothing_pulls_against_are_named():
    # Every label is as frequent with each value.
    values = np.tile(["no", "yes"], 30)
    y = np.repeat(np.arange(3), 20)
    X = np.column_stack([values == "yes", np.ones(60)]).astype(float)
    clf = ConceptBottleneckClassifier(
        label_head="ordinal",
        training="independent",
        monotonic_cst={"quiet": ["no", "yes"]},
    )
    explainer = ConceptInfluenceExplainer(clf)
    with pytest.warns(InfluenceWarning, match="on quiet: 'no' to 'yes' hold is up"):
        explainer.fit(X, y, concepts=pd.DataFrame({"quiet": values}))


@pytest.mark.parametrize("seed", [2, 7])
def test_constraints_that_a_single_row_decides_are_named(seed):
    X, _, concepts = make_data(40)
    y = np.random.default_rng(seed).integers(0, 3, size=40)
    clf = ConceptBottleneckClassifier(
        label_head="ordinal",
        monotonic_cst={"food": ["bad", "ok", "good"], "quiet": ["no", "yes"]},
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InfluenceWarning)
        explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    held = _held(explainer.estimator_)
    lost = [
        held != _held(clone(clf).fit(X, y, np.arange(40) != row, concepts=concepts))
        for row in range(40)
    ]
    named = [str(w.message) for w in caught if "monotonic_cst" in str(w.message)]
    assert bool(named) == any(lost) == (seed == 7)


def _held(model):
    """Return which steps of the chains are at their bound."""
    bad, good, ok, quiet = model.coef_[0, :4]
    return (ok - bad < 1e-9, good - ok < 1e-9, quiet < 1e-9)


@pytest.fixture(scope="module")
def alone():
    """Return an explainer of labels of which one, between others, has row 5 alone."""
    X, y, concepts = make_data()
    y[y == 2] = 1
    y[5] = 2
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(label_head="ordinal")
    )
    return explainer.fit(X, y, concepts=concepts), X, y, concepts


@pytest.mark.parametrize("method, most", [("newton", 0.01), ("leverage", 0.15)])
def test_the_only_row_of_a_label_between_others_has_no_influence(alone, method, most):
    explainer, X, y, concepts = alone
    targets = np.where(Y_NEW == 2, 1, Y_NEW)
    with pytest.warns(InfluenceWarning, match="of training row 5 is NaN: no other row"):
        found = _asked(explainer, method, targets)
    assert np.isnan(found[:, 5]).all()
    assert np.isfinite(np.delete(found, 5, axis=1)).all()
    rows = np.array([0, 4, 6, 7, N - 1])
    truth = _without(explainer, X, y, concepts, rows, targets)
    assert np.linalg.norm(found[:, rows] - truth) < most * np.linalg.norm(truth)


def test_the_rest_of_an_audit_does_not_need_the_only_row_of_a_label(alone):
    explainer, X, y, concepts = alone
    explainer.set_params(method="auto")
    with pytest.warns(InfluenceWarning, match="group 0 has all rows with the label 2"):
        groups = explainer.influence(X_NEW[:2], groups=np.arange(N) // 9)
    np.testing.assert_array_equal(np.isnan(groups.values[0]), np.arange(10) == 0)
    with pytest.warns(InfluenceWarning, match="training row 5 is NaN"):
        top = explainer.influence(X_NEW[:2], top=3, paths=True)
    assert np.isfinite(top.values).all()
    with pytest.warns(InfluenceWarning, match="training row 5 is NaN"):
        last = explainer.influence(X_NEW[:2], top=N)
    assert (last.rows[:, -1] == 5).all()
    with pytest.warns(InfluenceWarning, match="training row 5 is NaN"):
        result = explainer.validate(X_NEW[:2], n_rows=6, n_paths=1, random_state=0)
    assert 5 not in result.rows
    assert np.isfinite(result.to_frame()["relative_error"]).all()
    explainer.set_params(method="first_order")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(explainer.influence(X_NEW, top=3).values).all()


def test_first_order_for_all_rows_leaves_out_the_only_row_of_a_label(
    alone, monkeypatch
):
    explainer, X, y, concepts = alone
    explainer.set_params(method="auto")
    work = Work(N, newton=np.inf, leverage=MOST_WORK / 20.5)
    monkeypatch.setattr(Work, "of", lambda *_, **__: work)
    for top, n_undefined in ((None, 1), (4, 0)):
        with pytest.warns(InfluenceWarning, match="training row 5 is NaN"):
            found = explainer.influence(X_NEW[:2], paths=True, top=top)
        assert found.method == "first_order, its top rows by leverage"
        undefined = np.isnan(found.values).all(axis=2)
        assert (undefined.sum(axis=1) == n_undefined).all()
        assert np.isfinite(found.values[~undefined]).all()
        if top is None:
            assert undefined[:, 5].all()
            assert found.confirmed.sum() == 20
            assert not found.confirmed[5]


def test_suspects_do_not_need_the_only_row_of_a_label(alone):
    explainer, X, y, concepts = alone
    with pytest.warns(SuspectWarning, match="label of training row 5: no other row"):
        found = explainer.suspect_labels("label")
    assert sorted(found["row"]) == np.delete(np.arange(N), 5).tolist()
    assert found.attrs["unknown"] == []
    assert found["loss"].max() < 20
    with warnings.catch_warnings():
        warnings.simplefilter("error", SuspectWarning)
        explainer.suspect_labels("quiet")


def test_the_only_row_of_a_label_is_not_suggested_to_be_dropped(alone):
    explainer, X, y, concepts = alone
    targets = np.where(Y_NEW == 2, 1, Y_NEW)[:20]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explainer.suggest_edits(X_NEW[:20], targets, kinds=["drop"], budget=2)
    # It would be the best of them.
    assert found.to_frame()["row"].tolist() not in ([], [5])
    assert 5 not in found.to_frame()["row"].tolist()


@pytest.mark.parametrize("head", ["softmax", "ordinal"])
def test_the_only_row_of_another_label_is_named(head):
    X, y, concepts = make_data()
    y[y == 3] = 2
    y[5] = 3  # the highest
    clf = ConceptBottleneckClassifier(label_head=head)
    explainer = ConceptInfluenceExplainer(clf, method="leverage")
    explainer.fit(X, y, concepts=concepts)
    with pytest.warns(InfluenceWarning, match="of training row 5 can be far off"):
        found = explainer.influence(X_NEW[:3], [0, 1, 2])
    assert np.isfinite(found.values).all()


def test_the_order_of_a_model_is_that_of_its_suspects():
    X, y, concepts = make_data()
    words = np.array(["poor", "fair", "good", "great"], dtype=object)
    clf = ConceptBottleneckClassifier(label_head="ordinal", label_order=words)
    explainer = ConceptInfluenceExplainer(clf).fit(X, words[y], concepts=concepts)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SuspectWarning)
        found = explainer.suspect_labels("label", ordinal="label")
    named = explainer.suspect_labels("label", ordinal={"label": words.tolist()})
    pd.testing.assert_frame_equal(found, named)
