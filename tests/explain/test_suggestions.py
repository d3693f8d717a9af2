"""Suggested changes of training rows, against retraining with them."""

import dataclasses
import pickle
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.requests import class_codes, numeric_targets
from skclif._explain.suggestions import selection
from skclif._explain.suggestions.believed import TRUE, WRONG, believe
from skclif._explain.suggestions.candidates import (
    KINDS,
    LABEL,
    ROW,
    CandidateEdits,
    Changes,
    candidate_edits,
)
from skclif._explain.suggestions.selection import (
    REACH,
    ListEffects,
    SuggestionSet,
    cross_fit,
    follow,
    solve_edited,
    suggest,
)
from skclif._explain.suggestions.table import frame_of
from skclif._explain.suggestions.validation import Validation
from skclif._explain.suspects import paths_and_values
from skclif._inputs.annotations import Annotations
from skclif._inputs.training_rows import TrainingRows
from skclif._results.ranks import spearman
from skclif.exceptions import InfluenceWarning, SuggestionWarning
from skclif.numerics.edits import Limits, solve_edit
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.heads import OrdinalHead, RidgeHead, SoftmaxHead
from skclif.numerics.suggestions import ClosedForm, LinearEffects, own_changes
from skclif.numerics.targets import ConceptTarget, LabelTarget, evaluate

from ..data import make_concept_data
from ..numerics.test_influence import (
    PENALTY,
    SHARES,
    SIZES,
    _data,
    _factors,
    _fit,
    concept_penalties,
)

LIGHT = slice(40, 60)
CLASS_WEIGHT = {"again": 1.5, "never": 0.5, "perhaps": 1.0}
TRAINING = ["mixed", "sequential", "independent"]
quiet = pytest.mark.filterwarnings("ignore::skclif.exceptions.SuggestionWarning")


def _problem(n=200, n_validation=150, wrong=0, seed=0):
    """Return training rows, some of their labels wrong, and validation rows."""
    X, y, concepts = make_concept_data(n + n_validation, seed=seed)
    rng = np.random.default_rng(seed + 1)
    rows = rng.permutation(n)[:wrong]
    y[rows] = rng.choice(np.unique(y), wrong)
    return (X[:n], y[:n], concepts[:n].reset_index(drop=True)), (X[n:], y[n:])


def _clear_problem():
    """Return rows whose values features tell, some of them wrong, and others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(350, 5))
    seen = X[:, :2] + 0.2 * rng.normal(size=(350, 2))
    concepts = pd.DataFrame(
        np.where(seen > 0, "good", "bad"), columns=["food", "service"], dtype=object
    )
    y = (X[:, 0] + X[:, 1] + 0.3 * rng.normal(size=350) > 0).astype(int)
    row = np.arange(350)
    y[(row % 5 == 0) & (row < 200)] ^= 1
    turned = concepts["food"].map({"good": "bad", "bad": "good"})
    concepts["food"] = concepts["food"].mask(row % 7 == 0, turned)
    concepts["service"] = concepts["service"].mask(row % 11 == 0)
    return (X[:200], y[:200], concepts[:200]), (X[200:], y[200:])


def _explainer(rows, **parameters):
    X, y, concepts = rows
    estimator = ConceptBottleneckClassifier(**parameters)
    return ConceptInfluenceExplainer(estimator).fit(X, y, concepts=concepts)


def _believed(explainer):
    values = paths_and_values(explainer._heads())
    return believe(explainer._solved_model(), values, {}, None)


def _asked(explainer, X, y, kinds=KINDS, target="loss", believed=None):
    model, solved = explainer._heads(), explainer._solved_model()
    validation = Validation(
        solved,
        X,
        class_codes(explainer.classes_, X, y),
        lambda codes: numeric_targets(model, target, codes, solved.device),
        about_labels=True,
    )
    return candidate_edits(
        solved, kinds, TrainingRows(**explainer._training), False, believed
    ), validation


def _edited(rows, edit):
    """Return rows and weights with the arguments of an edit carried out."""
    X, y, concepts = rows
    y, concepts, weights = y.copy(), concepts.copy(), np.ones(len(y))
    for row, label in edit.get("y", {}).items():
        y[row] = label
    for name, values in edit.get("concepts", {}).items():
        for row, value in values.items():
            concepts.loc[row, name] = value
    for row, weight in edit.get("sample_weight", {}).items():
        weights[row] = weight
    weights[edit.get("drop", [])] = 0
    return X, y, weights, concepts


def _retrained(rows, edit, **parameters):
    X, y, weights, concepts = _edited(rows, edit)
    estimator = ConceptBottleneckClassifier(tol=1e-9, **parameters)
    return estimator.fit(X, y, weights, concepts=concepts)


def _loss(model, X, y):
    return log_loss(y, model.predict_proba(X), labels=model.classes_)


# --- Closed forms ---------------------------------------------------------------------


def _adjoint(data, bottleneck, target, test):
    factors = _factors(bottleneck, data)
    derivatives = target.derivatives(bottleneck, test.features)
    return factors, solve_adjoint(bottleneck, factors, derivatives)


class _Changes:
    """A model, the effects of changes of its rows, and its influence."""

    def __init__(self, intervention_prob, target=None, light=1.0):
        self.data, self.test = _data(60), _data(7, seed=5)
        self.data.label_weights[LIGHT] *= light
        self.data.concept_weights[LIGHT] *= light
        self.bottleneck = _fit(self.data, intervention_prob=intervention_prob)
        self.target = target or LabelTarget("loss", self.test.labels)
        factors, self.adjoint = _adjoint(
            self.data, self.bottleneck, self.target, self.test
        )
        self.changed = ClosedForm(self.bottleneck, factors).of(self.data)
        self.linear = LinearEffects(self.changed, self.adjoint)

    def effect(self, kind, *arguments):
        return self.linear.of(getattr(self.changed, kind)(*arguments))

    def influence(self, **parts):
        data = replace(self.data, **parts)
        found = first_order(self.bottleneck, data, self.adjoint)
        return torch.cat([part for _, part in found], 1)


@pytest.mark.parametrize("intervention_prob", SHARES)
def test_a_light_relabelling_is_the_influence_of_the_new_label_less_that_of_the_old(
    intervention_prob,
):
    model = _Changes(intervention_prob, light=1e-6)
    labels = (model.data.labels + 1) % 3
    found = model.effect("relabel", labels, model.data.label_weights)
    expected = model.influence(labels=labels) - model.influence()
    # Next to first order is what is left at weights of a millionth.
    torch.testing.assert_close(
        found[:, LIGHT] * 1e6, expected[:, LIGHT, 0] * 1e6, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("concept", range(len(SIZES)))
def test_a_light_annotation_is_the_influence_of_the_new_one_less_that_of_the_old(
    concept,
):
    model = _Changes(0.0, light=1e-6)
    codes, path = model.data.concepts[:, concept], 1 + concept
    codes = (codes + 1) % SIZES[concept] if SIZES[concept] else codes + 1
    weights = model.data.concept_weights[:, concept]
    found = model.effect("annotate", concept, codes, weights)
    concepts = model.data.concepts.clone()
    concepts[:, concept] = codes
    expected = model.influence(concepts=concepts) - model.influence()
    torch.testing.assert_close(
        found[:, LIGHT] * 1e6, expected[:, LIGHT, path] * 1e6, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("intervention_prob", SHARES)
def test_a_little_more_weight_is_influence_to_first_order(intervention_prob):
    model, step = _Changes(intervention_prob), 1e-6
    found = model.effect("reweight", 1 + step) - model.effect("reweight", 1 - step)
    expected = model.influence().sum(dim=2)
    # The difference quotient leaves 1e-10 of rounding.
    torch.testing.assert_close(found / (2 * step), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("intervention_prob", [0.3, 1.0])
def test_nothing_changed_is_no_effect(intervention_prob):
    model = _Changes(intervention_prob)
    data, zero = model.data, torch.zeros(7, 60, dtype=torch.float64)
    same = model.effect("relabel", data.labels, data.label_weights)
    torch.testing.assert_close(same, zero)
    torch.testing.assert_close(model.effect("reweight", 1.0), zero)
    given = data.annotated[:, 0]
    values = data.concepts[:, 0], data.concept_weights[:, 0]
    same = model.effect("annotate", 0, *values)
    torch.testing.assert_close(same[:, given], zero[:, given])


def test_only_rows_that_matter_are_followed():
    model, among = _Changes(0.3), torch.tensor([3, 17])
    labels = (model.data.labels + 1) % 3
    for kind, *given in (
        ("relabel", labels, model.data.label_weights),
        ("annotate", 0, 0 * labels.double(), model.data.concept_weights[:, 0] + 1),
    ):
        everyone = model.effect(kind, *given)[:, among]
        some = model.effect(kind, *given, among)
        torch.testing.assert_close(some[:, among], everyone)
        others = np.setdiff1d(np.arange(60), among)
        assert (some[:, others] != model.effect(kind, *given)[:, others]).any()


@pytest.mark.parametrize("head", [SoftmaxHead(3), OrdinalHead(3), RidgeHead()])
@pytest.mark.parametrize("size", [0.1, 30.0])
def test_own_terms_are_followed_to_the_optimum_of_the_whole(head, size):
    """Against a minimiser of all parameters, from a value that is surely another."""
    rng, k = np.random.default_rng(0), head.n_scores
    x = torch.from_numpy(rng.normal(size=3))
    spread = torch.kron(torch.eye(k).double(), x[:, None])
    root = torch.from_numpy(rng.normal(size=(3 * k, 3 * k))) / size
    others = root @ root.T + torch.eye(3 * k) / size
    scores = torch.tensor([9.0, 0.5])[:k].double()
    old, new = torch.tensor(2.0).double(), torch.tensor(0.0).double()
    p = head.probabilities(scores)
    gradient = 0.7 * head.residual(p, old)
    own = spread @ (0.7 * head.curvature(p, old)) @ spread.T
    hat = spread.T @ torch.linalg.solve(others + own, spread)

    def objective(theta):
        quadratic = theta @ others @ theta / 2 - gradient @ spread.T @ theta
        return quadratic + 1.3 * head.loss(scores + spread.T @ theta, new)

    pair = [
        (code[None], torch.tensor([[w]], dtype=torch.float64))
        for code, w in ((old, 0.7), (new, 1.3))
    ]
    (q,) = own_changes(head, scores[None, None], *pair, hat[None])
    theta = -torch.linalg.solve(others + own, spread @ q)
    # At the minimum the slope is 0, along which the objective rises by convexity.
    slope = torch.func.grad(objective)(theta)
    assert slope.abs().max() < 1e-8 * (spread @ q).abs().max()
    assert objective(theta) < objective(torch.zeros(3 * k).double())


def test_a_head_without_curvature_to_change_is_followed_exactly():
    """Least squares are solved by one step, and the target is linear in them."""
    concept = SIZES.index(0)
    model = _Changes(0.0, ConceptTarget(concept, 0))
    data, bottleneck, target, test = (
        model.data,
        model.bottleneck,
        model.target,
        model.test,
    )
    weights = data.concept_weights[:, concept]
    weights = torch.where(data.annotated[:, concept], weights, 1.3)
    codes = data.concepts[:, concept] + 1
    annotated = model.effect("annotate", concept, codes, weights)
    doubled, dropped = (model.effect("reweight", factor) for factor in (2.0, 0.0))
    before = evaluate(target, bottleneck, test.features)

    def effect(**parts):
        after = solve_edit(
            bottleneck,
            data,
            replace(data, **parts),
            None,
            penalty=PENALTY,
            concept_penalties=concept_penalties(),
            limits=Limits(1e-11, 100),
        )
        return evaluate(target, after.bottleneck, test.features) - before

    for row in range(0, 60, 7):
        concepts, annotations = data.concepts.clone(), data.concept_weights.clone()
        concepts[row, concept], annotations[row, concept] = codes[row], weights[row]
        real = effect(concepts=concepts, concept_weights=annotations)
        torch.testing.assert_close(annotated[:, row], real, rtol=1e-7, atol=1e-9)
        for factor, found in ((2.0, doubled), (0.0, dropped)):
            annotations = data.concept_weights.clone()
            annotations[row] *= factor
            real = effect(concept_weights=annotations)
            torch.testing.assert_close(found[:, row], real, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("training", TRAINING)
@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("relabel", False),
        ("annotate", False),
        ("annotate", True),
        ("reweight", False),
        ("drop", False),
    ],
)
def test_single_changes_are_near_retraining(training, kind, missing):
    """On 400 rows; what is left is of second order in one row."""
    rows, validation = _problem(400)
    parameters = {"training": training, "class_weight": CLASS_WEIGHT}
    explainer = _explainer(rows, **parameters)
    frame = _compared(explainer, *validation, kind)
    frame = frame[frame["current"].isna() == missing].sort_values("effect")
    picked = frame.iloc[np.linspace(0, len(frame) - 1, 16).astype(int)]
    before = _loss(_retrained(rows, {}, **parameters), *validation)
    truth = np.array(
        [
            _loss(_retrained(rows, _as_edit(line), **parameters), *validation) - before
            for line in picked.to_dict("records")
        ]
    )
    effects = picked["effect"].to_numpy()
    assert spearman(effects[None], truth[None])[0] > 0.9
    assert np.linalg.norm(effects - truth) < 0.15 * np.linalg.norm(truth)


@quiet
@pytest.mark.filterwarnings("ignore::skclif.exceptions.SuspectWarning")
@pytest.mark.parametrize("training", ["mixed", "independent"])
def test_effects_on_a_model_that_is_sure_are_near_retraining(training):
    """Few clear annotations and large C: one linear step is 10 times too large."""
    rng = np.random.default_rng(0)
    (X, y, concepts), validation = _problem(60, 80)
    concepts = concepts.mask(rng.random(concepts.shape) < 0.3, None)
    rows = X, y, concepts
    parameters = {"training": training, "C": 10.0, "concept_C": 1000.0}
    explainer = _explainer(rows, **parameters)
    frame = explainer.suggest_edits(*validation, kinds="annotate", budget=6).to_frame()
    assert len(frame) > 3 and frame["current"].isna().all()
    assert (frame["effect"] < 0).all() and frame["effect"].is_monotonic_increasing
    before = _loss(_retrained(rows, {}, **parameters), *validation)
    truth = [
        _loss(_retrained(rows, _as_edit(line), **parameters), *validation) - before
        for line in frame.to_dict("records")
    ]
    ratio = frame["effect"] / truth
    assert ratio.between(0.8, 1.25).all(), ratio.tolist()


def _far_and_near(budget=30):
    rows, (X, y) = _problem(60)
    explainer = _explainer(rows, concept_C=30.0)
    candidates, validation = _asked(explainer, X, y)
    chosen, _, _ = cross_fit(
        candidates, validation, budget, np.random.RandomState(0), n_folds=2
    )
    far = chosen.reach > REACH
    assert far.any() and not far.all()
    return candidates, validation, chosen, far


@quiet
def test_changes_that_go_far_are_solved_again():
    candidates, validation, chosen, far = _far_and_near()
    followed = follow(candidates, validation, chosen)
    np.testing.assert_array_equal(followed.of_rows[~far], chosen.of_rows[~far])
    questions = validation.questions()
    before = candidates.solved.values(questions)
    for change in np.flatnonzero(far)[:3]:
        edited = candidates.edited(chosen.changes.take(np.array([change])))
        real = solve_edited(candidates.solved, edited).values(questions) - before
        np.testing.assert_allclose(followed.of_rows[change], real)
        assert followed.changes.effects[change] == pytest.approx(real.mean())


@quiet
def test_what_does_not_help_after_all_is_not_listed():
    candidates, validation, chosen, _ = _far_and_near()
    followed = follow(candidates, validation, chosen)
    effects = followed.changes.effects.copy()
    effects[3] = 0.1
    again = replace(followed, changes=replace(followed.changes, effects=effects))
    listed = again.chosen(candidates, 30)
    assert (listed.changes.effects < 0).all()
    assert (np.diff(listed.changes.effects) >= 0).all()
    np.testing.assert_allclose(listed.of_rows.mean(axis=1), listed.changes.effects)
    spread = listed.of_rows.std(axis=1, ddof=1) / np.sqrt(len(validation))
    np.testing.assert_allclose(listed.std_errors(), spread)


def _compared(explainer, X, y, kind):
    """Return the best change of every row and path."""
    candidates, validation = _asked(explainer, X, y, (kind,))
    (best,), n = candidates.best(validation.adjoint(np.full((1, len(y)), 1 / len(y))))
    of_rows, _ = candidates.effects(best, validation)
    best = replace(best, effects=of_rows.mean(axis=1))
    effects = ListEffects(np.zeros(len(y), dtype=int), np.zeros((1, len(y))))
    found = SuggestionSet(best, np.zeros(len(best)), effects, 0.0, None, n)
    training = explainer._training_frame()
    return frame_of(found, explainer._heads(), explainer._training["weights"], training)


def _as_edit(line):
    row, value = line["row"], line["proposed"]
    return {
        "relabel": {"y": {row: value}},
        "annotate": {"concepts": {line["path"]: {row: value}}},
        "reweight": {"sample_weight": {row: value}},
        "drop": {"drop": [row]},
    }[line["kind"]]


@quiet
def test_effects_do_not_depend_on_blocks(monkeypatch):
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    expected = explainer.suggest_edits(*validation, random_state=0).to_frame()
    monkeypatch.setattr("skclif.numerics.suggestions.BLOCK_ROWS", 7)
    monkeypatch.setattr("skclif._explain.solved._TARGET_BLOCK", 11)
    found = explainer.suggest_edits(*validation, random_state=0).to_frame()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


# --- Choosing -------------------------------------------------------------------------


def _menu(higher_is_better=False):
    return CandidateEdits(None, KINDS, None, None, None, higher_is_better)


def _some(rows, paths, effects):
    values = np.zeros(len(rows))
    return Changes(np.array(rows), np.array(paths), values, np.array(effects))


def test_only_good_changes_are_chosen_the_best_first():
    best = _some([0, 1, 2, 3], [LABEL] * 4, [-1.0, 2.0, -3.0, 0.0])
    assert _menu().choose(best, 9).tolist() == [2, 0]
    assert _menu(higher_is_better=True).choose(best, 9).tolist() == [1]
    assert _menu().choose(best, 1).tolist() == [2]


def test_a_row_whose_weight_changes_has_no_other_change():
    best = _some([5, 5, 5], [LABEL, ROW, 1], [-1.0, -2.0, -3.0])
    assert best.paths[_menu().choose(best, 9)].tolist() == [1, LABEL]
    best = _some([5, 5, 5], [LABEL, ROW, 1], [-1.0, -4.0, -3.0])
    assert best.paths[_menu().choose(best, 9)].tolist() == [ROW]


@quiet
def test_every_row_and_path_has_its_best_change_and_no_current_value():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    frame = explainer.suggest_edits(*validation, budget=1000).to_frame()
    assert not frame.duplicated(["row", "path"]).any()
    assert (frame["effect"] < 0).all()
    assert frame["effect"].is_monotonic_increasing
    assert (frame["current"] != frame["proposed"]).all()
    weighed = frame[frame["path"] == "row"]
    assert set(weighed["proposed"]) <= {0.0, 0.5, 2.0}
    others = frame[frame["path"] != "row"]
    assert not set(weighed["row"]) & set(others["row"])
    known = pd.DataFrame({"label": rows[1], **rows[2]})
    for row, path, current in others[["row", "path", "current"]].itertuples(
        index=False
    ):
        given = known.loc[row, path]
        assert current is None if pd.isna(given) else current == given


@quiet
@pytest.mark.parametrize("kinds", [*KINDS, ("drop", "relabel"), "relabel"])
def test_kinds_are_those_asked_for(kinds):
    rows, validation = _clear_problem()
    found = _explainer(rows).suggest_edits(*validation, kinds=kinds, budget=1000)
    asked = {kinds} if isinstance(kinds, str) else set(kinds)
    assert set(found.to_frame()["kind"]) == asked


@quiet
def test_a_tenth_of_the_rows_changes_if_nobody_says():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    assert explainer.suggest_edits(*validation).n_chosen == 6
    assert explainer.suggest_edits(*validation, budget=np.int64(9)).n_chosen == 9


@quiet
def test_all_that_could_change_is_compared():
    rows, validation = _problem(100, wrong=40)
    explainer = _explainer(rows)
    found = explainer.suggest_edits(*validation)
    missing = rows[2].isna().sum()
    values = {"food": 3, "quiet": 2, "price": 4}
    annotations = sum(m * missing[name] for name, m in values.items())
    replaceable = int(_believed(explainer).replaceable.sum())
    assert replaceable > 0
    assert found.n_candidates == replaceable + annotations + 100 * 3


@quiet
def test_standard_errors_are_those_of_the_mean_over_validation_rows():
    rows, (X, y) = _problem(60)
    explainer = _explainer(rows, training="independent")
    candidates, validation = _asked(explainer, X, y)
    found, _, _ = cross_fit(candidates, validation, 30, np.random.RandomState(0))
    assert len(set(found.changes.paths)) == 5
    solved, questions = candidates.solved, validation.questions()
    closed_form = ClosedForm(solved.bottleneck, solved.factors)
    before = solved.values(questions)
    for change, error in enumerate(found.std_errors()):
        row, path = found.changes.rows[[change]], found.changes.paths[change]
        changed = closed_form.of(solved.data.rows(row))
        moves = candidates._moves(changed, row, path, found.changes.values[change])
        concepts, label = changed.parameters(moves)
        parameters = solved.bottleneck.concept_parameters.clone()
        for j, step in concepts.items():
            parameters[solved.bottleneck.concepts.scores[j]] += step[0]
        moved = replace(
            solved.bottleneck,
            concept_parameters=parameters,
            label_parameters=solved.bottleneck.label_parameters + label[0],
        )
        effects = replace(solved, bottleneck=moved).values(questions) - before
        assert effects.mean() == pytest.approx(found.changes.effects[change])
        assert effects.std(ddof=1) / np.sqrt(len(y)) == pytest.approx(error)


# --- What a list is worth -------------------------------------------------------------


@quiet
@pytest.mark.parametrize("training", TRAINING)
def test_a_list_is_measured_on_rows_that_did_not_choose_it_by_retraining(training):
    rows, (X, y) = _problem(80, 60)
    parameters = {"training": training, "class_weight": CLASS_WEIGHT}
    explainer = _explainer(rows, **parameters)
    believed = _believed(explainer)
    candidates, validation = _asked(explainer, X, y, believed=believed)
    _, effects, _ = cross_fit(
        candidates, validation, 8, np.random.RandomState(0), n_folds=2
    )
    fold = selection.folds(len(X), 2, np.random.RandomState(0))
    assert (np.bincount(fold) == 30).all()
    held_out = effects.held_out()
    for number in range(2):
        out = fold == number
        chosen = explainer.suggest_edits(X[~out], y[~out], budget=8, random_state=0)
        after = _retrained(rows, chosen.as_edit(), **parameters)
        own = np.searchsorted(after.classes_, y[out])
        before = explainer.predict_proba(X[out])[np.arange(len(own)), own]
        now = after.predict_proba(X[out])[np.arange(len(own)), own]
        expected = np.log(before) - np.log(now)
        np.testing.assert_allclose(held_out[out], expected, atol=1e-5)
        other = explainer.predict_proba(X), after.predict_proba(X)
        own = np.searchsorted(after.classes_, y)
        before, now = (proba[np.arange(len(own)), own] for proba in other)
        expected = np.log(before) - np.log(now)
        np.testing.assert_allclose(effects.of_lists[number], expected, atol=1e-5)


@quiet
@pytest.mark.parametrize("training", TRAINING)
def test_the_edited_training_set_is_the_edit_carried_out(training):
    rows, validation = _problem(80)
    parameters = {"training": training, "class_weight": CLASS_WEIGHT}
    explainer = _explainer(rows, **parameters)
    believed = _believed(explainer)
    candidates, asked = _asked(explainer, *validation, believed=believed)
    changes = suggest(candidates, asked, 40, np.random.RandomState(0)).changes
    found = explainer.suggest_edits(*validation, budget=40, random_state=0)
    edited = candidates.edited(changes)
    X, y, weights, concepts = _edited(rows, found.as_edit())
    expected = (
        explainer._heads()
        .encode(X, y, weights, Annotations.read(concepts, None, len(X)))
        .data()
    )
    kept = weights > 0  # annotations of rows without weight are not read
    for field in dataclasses.fields(edited):
        one = getattr(edited, field.name)[kept].numpy()
        other = getattr(expected, field.name)[kept].numpy()
        if field.name == "concepts":
            other = np.where(expected.annotated[kept], other, one)
        np.testing.assert_array_equal(one, other)
    assert (edited.label_weights[~kept] == 0).all()
    assert (edited.concept_weights[~kept] == 0).all()


def test_wrong_labels_are_worth_changing_and_no_warning_comes():
    rows, validation = _problem(200, 300, wrong=60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = _explainer(rows).suggest_edits(*validation, random_state=0)
    assert found.helps
    assert found.interval[0] < found.effect < found.interval[1] < 0
    X, y, _ = make_concept_data(1000, seed=7)
    after = _retrained(rows, found.as_edit())
    assert _loss(after, X, y) < _loss(_retrained(rows, {}), X, y)


@pytest.mark.parametrize("seed", range(5))
def test_labels_in_another_order_are_warned_of(seed):
    rows, (X, y) = _problem(200, 200, wrong=40, seed=seed)
    shuffled = np.random.default_rng(seed).permutation(y)
    explainer = _explainer(rows)
    with pytest.warns(SuggestionWarning, match="no better than the same labels"):
        found = explainer.suggest_edits(X, shuffled, random_state=seed)
    assert found.related is False
    assert not found.helps


def test_a_list_that_may_not_help_is_warned_of():
    rows, validation = _problem(200, 100)
    explainer = _explainer(rows)
    match = (
        r"The suggested changes: not sure\. On rows .* the mean log-loss by .* nats "
        r"\(95 % interval -.* to \+.*; negative = good\)\. Give more validation rows"
    )
    with pytest.warns(SuggestionWarning, match=match):
        found = explainer.suggest_edits(*validation, random_state=0)
    assert not found.helps
    assert found.related


@pytest.mark.parametrize("n_validation", [49, 50])
def test_fewer_than_50_rows_have_no_interval(n_validation):
    rows, (X, y) = _problem(200, 100, wrong=60)
    match = "not sure"
    if n_validation < 50:
        match = (
            r"not sure \(reason to doubt it: 49 rows are too few for an interval\)\. "
            r"On rows .* \(no interval; negative = good\)\. Give 50 validation rows "
        )
    with pytest.warns(SuggestionWarning, match=match):
        found = _explainer(rows).suggest_edits(
            X[:n_validation], y[:n_validation], random_state=0
        )
    assert (found.interval is None) == (n_validation < 50)
    assert found.verdict == "not sure"
    assert not found.helps
    assert repr(found).endswith("(nats, negative = good): not sure>")
    assert ("[" in repr(found)) == (n_validation == 50)
    shown = found._repr_html_().partition("</style>")[2].partition("<table>")[0]
    assert ("[" in shown) == (n_validation == 50)


def test_one_list_for_all_folds_leaves_the_t_interval_of_the_rows():
    effect = np.random.default_rng(0).normal(size=80)
    fold = selection.folds(80, 10, np.random.RandomState(0))
    effects = ListEffects(fold, np.tile(effect, (10, 1)))
    expected = stats.t.interval(0.95, 79, effect.mean(), stats.sem(effect))
    np.testing.assert_allclose(effects.interval(), expected)
    # A list that does the same to all rows has no part in what varies between rows.
    shifted = ListEffects(fold, effect + np.repeat([[1.0], [-1.0]], 5, axis=0))
    assert shifted.variance_of_choice() == pytest.approx(0)


@quiet
def test_the_same_seed_gives_the_same_answer():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    effects = {explainer.suggest_edits(*validation, random_state=3).effect}
    effects.add(explainer.suggest_edits(*validation, random_state=3).effect)
    assert len(effects) == 1
    other = explainer.suggest_edits(*validation, random_state=4)
    assert other.effect not in effects


# --- Targets and models ---------------------------------------------------------------


@quiet
def test_log_probability_is_the_loss_turned_round():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    loss = explainer.suggest_edits(*validation, random_state=0)
    turned = explainer.suggest_edits(*validation, target="log_proba", random_state=0)
    one, other = loss.to_frame(), turned.to_frame()
    np.testing.assert_allclose(one.pop("effect"), -other.pop("effect"))
    pd.testing.assert_frame_equal(one, other)
    assert turned.effect == pytest.approx(-loss.effect)
    assert turned.value == pytest.approx(-loss.value)
    assert turned.helps == loss.helps
    assert "positive = good" in repr(turned)


@quiet
@pytest.mark.parametrize("target", ["logit", "margin"])
def test_targets_that_should_rise_rise(target):
    rows, validation = _problem(100)
    found = _explainer(rows).suggest_edits(*validation, target=target, random_state=0)
    assert (found.to_frame()["effect"] > 0).all()
    assert found.effect > 0


def test_a_concept_can_be_helped_without_labels():
    rows, (X, _) = _problem(100)
    explainer = _explainer(rows)
    target = ("concept", "food", "good")
    found = explainer.suggest_edits(X, None, target=target, random_state=0)
    after = _retrained(rows, found.as_edit()).predict_concept_proba(X)["food"][:, 1]
    before = _retrained(rows, {}).predict_concept_proba(X)["food"][:, 1]
    assert after.mean() > before.mean() + found.effect / 2 > before.mean()
    assert found.value == pytest.approx(before.mean(), abs=1e-5)
    assert found.related is None
    assert found.helps
    # Labels and other concepts have no part in it.
    assert set(found.to_frame()["path"]) <= {"food", "row"}


@quiet
def test_missing_numbers_are_offered_quartiles_and_wrong_ones_their_prediction():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(220, 3))
    heat = X[:, 0] + 0.1 * rng.normal(size=220)
    y = (X[:, 0] > 0).astype(int)
    heat[:10], heat[10:16] = np.nan, -heat[10:16] + np.sign(heat[10:16])
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf).fit(
        X[:120], y[:120], concepts=heat[:120, None]
    )
    found = explainer.suggest_edits(X[120:], y[120:], kinds="annotate", budget=99)
    frame = found.to_frame().set_index("row")
    missing = frame[frame["current"].isna()]
    given = frame.drop(missing.index)
    assert set(missing.index) <= set(range(10))
    quartiles = np.quantile(heat[10:120], [0.25, 0.5, 0.75])
    assert set(missing["proposed"]) <= set(quartiles)
    assert missing["probability_wrong"].isna().all()
    assert len(given)
    assert set(given.index) <= set(range(10, 16))
    assert (given["probability_wrong"] > TRUE).all()
    suspects = explainer.suspect_labels("concept0").set_index("row")
    expected = suspects.loc[given.index, "proposed"]
    assert given["proposed"].tolist() == pytest.approx(expected.tolist())


@quiet
@pytest.mark.parametrize(
    "model", [LogisticRegression(C=0.5), LogisticRegression(fit_intercept=False)]
)
def test_logistic_regression_has_labels_and_weights_to_change(model):
    (X, y, _), validation = _problem(80, wrong=20)
    explainer = ConceptInfluenceExplainer(model).fit(X, y)
    found = explainer.suggest_edits(*validation, random_state=0)
    replaceable = int(_believed(explainer).replaceable.sum())
    assert found.n_candidates == replaceable + 80 * 3
    assert set(found.to_frame()["path"]) <= {"label", "row"}
    labels, weights = _edited((X, y, pd.DataFrame()), found.as_edit())[1:3]
    after = explainer.estimator_.set_params(tol=1e-10).fit(X, labels, weights)
    real = log_loss(validation[1], after.predict_proba(validation[0])) - found.value
    assert real < 0


@quiet
def test_weights_of_rows_are_multiplied_and_rows_without_stay():
    X, y, concepts = _problem(60)[0]
    weights = np.where(np.arange(60) < 10, 0.0, 3.0)
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, weights, concepts=concepts)
    frame = explainer.suggest_edits(*_problem(60)[1], budget=999).to_frame()
    assert frame["row"].min() >= 10
    weighed = frame[frame["path"] == "row"]
    assert set(weighed["current"]) == {3.0}
    assert set(weighed["proposed"]) <= {0.0, 1.5, 6.0}


@quiet
def test_texts_stand_beside_the_changes():
    (X, y, concepts), validation = _problem(60)
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(model))
    explainer.fit(X, y, concepts=concepts)
    explainer._readable["text"] = np.array([f"row {i}" for i in range(60)], object)
    frame = explainer.suggest_edits(*validation).to_frame()
    expected = ["row", "kind", "path", "current", "proposed", "effect", "std_error"]
    assert list(frame) == [*expected, "probability_wrong", "text"]
    assert (frame["text"] == [f"row {row}" for row in frame["row"]]).all()


@quiet
def test_a_loaded_explainer_suggests_the_same():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    expected = explainer.suggest_edits(*validation, random_state=0).to_frame()
    loaded = pickle.loads(pickle.dumps(explainer))
    found = loaded.suggest_edits(*validation, random_state=0).to_frame()
    pd.testing.assert_frame_equal(found, expected)


@quiet
def test_hard_activations_are_warned_of():
    rows, validation = _problem(80)
    explainer = _explainer(rows, bottleneck="hard")
    with pytest.warns(InfluenceWarning, match="flips no hard activation of other rows"):
        explainer.suggest_edits(*validation)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InfluenceWarning)
        explainer.suggest_edits(*validation, kinds=["relabel", "drop"])


def test_a_row_that_holds_a_head_alone_is_not_offered_to_go():
    """Its removal is not finite, and no change that is refused is chosen."""
    X = np.eye(3).repeat([30, 30, 1], axis=0)
    y = np.array(["a"] * 30 + ["b"] * 30 + ["c"])
    explainer = ConceptInfluenceExplainer(LogisticRegression(C=1e6)).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = explainer.suggest_edits(X, y, budget=999, random_state=0)
    assert np.isfinite(found.to_frame()["effect"]).all()


# --- Values are replaced only where they are wrong ------------------------------------


@quiet
def test_a_value_is_replaced_only_by_one_that_is_believed_in():
    rows, validation = _clear_problem()
    explainer = _explainer(rows)
    frame = explainer.suggest_edits(*validation, budget=1000).to_frame()
    suspects = explainer.suspect_labels().set_index(["row", "path"])
    given = frame["current"].notna() & (frame["path"] != "row")
    assert given.any()
    own = suspects.loc[pd.MultiIndex.from_frame(frame.loc[given, ["row", "path"]])]
    assert (own["probability_wrong"] > WRONG).all()
    assert (own["probability_proposed"] > TRUE).all()
    assert own["proposed"].tolist() == frame.loc[given, "proposed"].tolist()
    stated = frame.loc[given, "probability_wrong"]
    np.testing.assert_allclose(stated, own["probability_wrong"])
    assert frame.loc[~given, "probability_wrong"].isna().all()


@quiet
def test_a_row_with_a_value_to_mend_is_not_dropped():
    rows, validation = _clear_problem()
    explainer = _explainer(rows)
    frame = explainer.suggest_edits(*validation, budget=1000).to_frame()
    values = explainer.suggest_edits(
        *validation, kinds=["relabel", "annotate"], budget=1000
    ).to_frame()
    mended = set(values.loc[values["current"].notna(), "row"])
    weighed = set(frame.loc[frame["path"] == "row", "row"])
    assert mended
    assert weighed
    assert not mended & weighed


@quiet
def test_right_values_are_left_alone():
    rows, validation = _problem(200)
    frame = _explainer(rows).suggest_edits(*validation, budget=1000).to_frame()
    given = frame["current"].notna() & (frame["path"] != "row")
    assert given.sum() <= 0.02 * 200
    assert (frame["kind"] == "drop").any()


@quiet
def test_sources_and_orders_reach_the_judgement():
    rows, validation = _problem(60)
    explainer = _explainer(rows)
    with pytest.raises(ValueError, match="groups has 2 entries, but there are 60"):
        explainer.suggest_edits(*validation, groups=[0, 1])
    with pytest.raises(ValueError, match="ordinal names 'noise', but the paths are"):
        explainer.suggest_edits(*validation, ordinal="noise")


# --- The result -----------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"


@pytest.fixture
def result():
    rows, validation = _problem(200, 300, wrong=60)
    return _explainer(rows).suggest_edits(*validation, random_state=0)


def test_as_edit_has_the_arguments_of_an_edit(result):
    lines = [
        (3, "relabel", "label", "a", "b"),
        (4, "annotate", "food", None, "good"),
        (5, "annotate", "food", "bad", "good"),
        (6, "reweight", "row", 1.0, 2.0),
        (7, "drop", "row", 1.0, 0.0),
    ]
    columns = ["row", "kind", "path", "current", "proposed"]
    result = dataclasses.replace(result, frame=pd.DataFrame(lines, columns=columns))
    assert result.as_edit() == {
        "y": {3: "b"},
        "concepts": {"food": {4: "good", 5: "good"}},
        "sample_weight": {6: 2.0},
        "drop": [7],
    }
    assert result.as_edit(1) == {"y": {3: "b"}}
    assert result.as_edit(0) == {}
    assert result.as_edit(99) == result.as_edit()


@pytest.mark.parametrize("k", [-1, 1.5, "3", True, [1]])
def test_bad_numbers_of_changes(result, k):
    with pytest.raises(ValueError, match="k=.* must be a whole number, 0 or more, or"):
        result.as_edit(k)


def test_the_result_is_short_to_read(result):
    shown = repr(result)
    assert shown.startswith("<EditSuggestions for mean log-loss: 20 changes; effect of")
    assert shown.endswith("(nats, negative = good): expected to help>")
    assert "1 change;" in repr(dataclasses.replace(result, frame=result.frame[:1]))


LOW, HIGH = (-0.085, -0.011), (0.011, 0.085)


@pytest.mark.parametrize(
    ("interval", "higher_is_better", "verdict"),
    [
        (LOW, False, "expected to help"),
        (LOW, True, "expected to hurt"),
        (HIGH, False, "expected to hurt"),
        (HIGH, True, "expected to help"),
        ((-0.1, 0.1), False, "not sure"),
        ((-0.1, 0.1), True, "not sure"),
        ((0.0, 0.0), False, "not sure"),
        ((-0.1, 0.0), False, "not sure"),
        ((0.0, 0.1), False, "not sure"),
        ((0.0, 0.1), True, "not sure"),
        (None, False, "not sure"),
        (None, True, "not sure"),
    ],
)
def test_words_follow_the_interval(result, interval, higher_is_better, verdict):
    result = dataclasses.replace(
        result, interval=interval, higher_is_better=higher_is_better
    )
    assert result.verdict == verdict
    assert result.helps == (verdict == "expected to help")
    assert result.in_words().startswith(verdict)
    assert bool(result.doubts) == (interval is None)


def test_every_reason_to_doubt_is_named(result):
    assert result.in_words() == "expected to help"
    lost = dataclasses.replace(result, interval=LOW, related=False)
    why = (
        "the model predicts the labels no better than the same labels in another order"
    )
    assert lost.in_words() == f"not sure (reason to doubt it: {why})"
    harmful = dataclasses.replace(lost, interval=HIGH)
    assert harmful.verdict == "not sure"
    assert not lost.helps
    few = dataclasses.replace(lost, interval=None, n_validation=31)
    first = "31 rows are too few for an interval"
    assert few.doubts == (first, why)
    assert few.in_words() == f"not sure (reasons to doubt it: {first}; {why})"
    unknown = dataclasses.replace(result, related=None)
    assert unknown.helps
    assert not unknown.doubts


def test_the_result_is_frozen(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.effect = 0.0
    frame = result.to_frame()
    frame.loc[0, "effect"] = 5.0
    assert result.frame.loc[0, "effect"] < 0


def test_html_is_escaped_and_shows_the_first(result):
    frame = result.to_frame().assign(text=HOSTILE, proposed=HOSTILE, current=None)
    html = dataclasses.replace(result, frame=frame, target=HOSTILE)._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") == 1 + 2 * 10
    assert "{{7*7}}" in html
    assert "and 10 more changes" in html
    assert "<bdi>–</bdi>" in html
    assert "<table>" not in dataclasses.replace(result, frame=frame[:0])._repr_html_()


# --- Bad input ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    rows, validation = _problem(60)
    return _explainer(rows), *validation


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"kinds": ()}, ValueError, r"kinds=\(\) must name some of 'relabel', 'annot"),
        ({"kinds": "remove"}, ValueError, "kinds='remove' must name some of"),
        ({"kinds": ["drop", 3]}, ValueError, r"kinds=\['drop', 3\] must name some of"),
        ({"kinds": None}, ValueError, "kinds=None must name some of"),
        ({"budget": 0}, ValueError, "budget=0 must be 1 or more: it is the"),
        ({"budget": 1.5}, TypeError, "budget must be a whole number or None, got 1.5"),
        ({"budget": True}, TypeError, "budget must be a whole number or None, got Tr"),
        ({"target": "accuracy"}, ValueError, "target='accuracy' is not known"),
        ({"random_state": "x"}, ValueError, "cannot be used to seed"),
    ],
)
def test_bad_arguments(small, given, error, match):
    explainer, X, y = small
    with pytest.raises(error, match=match):
        explainer.suggest_edits(X, y, **given)


def test_too_few_validation_rows_are_refused(small):
    explainer, X, y = small
    with pytest.raises(ValueError, match="X has 19 validation rows, but .* least 20"):
        explainer.suggest_edits(X[:19], y[:19])


def test_labels_are_needed_for_targets_about_them(small):
    explainer, X, _ = small
    with pytest.raises(ValueError, match="requires y to be passed"):
        explainer.suggest_edits(X, None)


def test_annotations_alone_need_concepts():
    (X, y, _), validation = _problem(60)
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, y)
    with pytest.raises(ValueError, match="asks for annotations, but the model has no"):
        explainer.suggest_edits(*validation, kinds=["annotate"])
