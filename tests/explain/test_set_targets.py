"""Influence on targets of sets, against refits; edits and suggestions for them."""

import warnings
from copy import copy

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceDisplay,
)
from skclif._explain import engine
from skclif._explain.requests import numeric_targets
from skclif._explain.suggestions.candidates import ROW, Changes, candidate_edits
from skclif._explain.suggestions.validation import validation_of
from skclif._explain.work import Work
from skclif._inputs.training_rows import TrainingRows
from skclif.exceptions import InfluenceWarning
from skclif.numerics import removal
from skclif.targets import (
    demographic_parity_gap,
    equalized_odds_gap,
    expected_cost,
    from_function,
    smooth_auroc,
    worst_group_loss,
)

from ..data import make_concept_data
from ..targets.test_targets import (
    COSTS,
    cost,
    focal_loss,
    odds_gap,
    ordered,
    parity_gap,
    worst,
)

X, Y, CONCEPTS = make_concept_data(130)
TRAIN, NEW = slice(0, 60), slice(60, 130)
GROUPS = np.where(X[NEW, 3] > 0.3, "web", np.where(X[NEW, 4] > 0, "phone", "paper"))
CODES_OF_ALL = np.searchsorted(np.unique(Y), Y)
CODES = np.searchsorted(np.unique(Y), Y[NEW])
ROWS = [0, 7, 23, 41, 59]
CLF = ConceptBottleneckClassifier(tol=1e-11)


def tail(proba):
    return torch.quantile(proba[:, 1], 0.31)


def tail_of_array(proba):
    return np.quantile(proba[:, 1], 0.31)


def focal_of_array(proba):
    return float(focal_loss(torch.from_numpy(proba), torch.from_numpy(CODES)))


TARGETS = {
    "worst": (worst_group_loss(GROUPS), lambda p: worst(p, CODES, GROUPS)),
    "parity": (demographic_parity_gap(GROUPS), lambda p: parity_gap(p, CODES, GROUPS)),
    "odds": (equalized_odds_gap(GROUPS), lambda p: odds_gap(p, CODES, GROUPS)),
    "auroc": (smooth_auroc(), lambda p: ordered(p, CODES, 0.25)),
    "cost": (expected_cost(COSTS), lambda p: cost(p, CODES)),
    "focal": (from_function(focal_loss, with_y=True), focal_of_array),
    "tail": (tail, tail_of_array),
    "tail of an array": (tail_of_array, tail_of_array),
}
FIRST_ORDER = [name for name in TARGETS if name != "tail of an array"]
LIBRARY = {name: TARGETS[name] for name in ("worst", "parity", "odds", "auroc", "cost")}


def _fit(method="newton"):
    explainer = ConceptInfluenceExplainer(CLF, method=method)
    return explainer.fit(X[TRAIN], Y[TRAIN], concepts=CONCEPTS[TRAIN])


@pytest.fixture(scope="module")
def explainers():
    methods = ("newton", "leverage", "pairwise", "first_order")
    return {method: _fit(method) for method in methods}


@pytest.fixture(scope="module")
def probabilities():
    """Predictions of refits, by the row whose weight changes and its weight."""

    def proba(row, weight):
        weights = np.ones(60)
        weights[row] = weight
        clf = CLF.fit(X[TRAIN], Y[TRAIN], weights, concepts=CONCEPTS[TRAIN])
        return clf.predict_proba(X[NEW])

    weights = (1.0, 0.0, 1 - 1e-4, 1 + 1e-4)
    return {(row, weight): proba(row, weight) for row in ROWS for weight in weights}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(("method", "error"), [("newton", 2e-3), ("leverage", 0.2)])
def test_removal_is_what_refits_say(explainers, probabilities, name, method, error):
    target, naive = TARGETS[name]
    found = explainers[method].influence(X[NEW], Y[NEW], target=target)
    truth = [
        naive(probabilities[row, 1.0]) - naive(probabilities[row, 0.0]) for row in ROWS
    ]
    off = np.linalg.norm(found.values[0, ROWS] - truth) / np.linalg.norm(truth)
    assert off < error
    assert found.explained["value"][0] == pytest.approx(naive(probabilities[0, 1.0]))


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_is_the_derivative_in_weights(explainers, probabilities, name):
    target, naive = TARGETS[name]
    found = explainers["first_order"].influence(X[NEW], Y[NEW], target=target)
    slopes = [
        (naive(probabilities[row, 1 + 1e-4]) - naive(probabilities[row, 1 - 1e-4]))
        / 2e-4
        for row in ROWS
    ]
    # Differences err by 1e-8 of their size, and by the fit's 1e-11 over the step.
    np.testing.assert_allclose(found.values[0, ROWS], slopes, rtol=1e-5, atol=1e-7)


def test_a_mean_is_the_same_as_reduce(explainers):
    def mean_loss(proba):
        return -torch.log(proba[torch.arange(len(CODES)), CODES]).mean()

    for method, explainer in explainers.items():
        ask = {"paths": True, "groups": np.arange(60) % 4}
        one = explainer.influence(X[NEW], Y[NEW], target=mean_loss, **ask)
        other = explainer.influence(X[NEW], Y[NEW], reduce="mean", **ask)
        # "pairwise" takes second derivatives by differences.
        near = {"rtol": 1e-5, "atol": 1e-8} if method == "pairwise" else {"rtol": 1e-8}
        np.testing.assert_allclose(one.values, other.values, **{"atol": 1e-12, **near})
        assert one.paths == other.paths


def test_what_a_result_says(explainers):
    explainer = explainers["newton"]
    result = explainer.influence(X[NEW], Y[NEW], target=TARGETS["worst"][0], paths=True)
    assert repr(result) == (
        "<InfluenceResult on worst-group loss (nats, positive = harmful) by newton: 1 "
        "target x 60 training rows; paths label, food, quiet, price, …>"
    )
    assert result.explained.to_dict("records")[0]["rows"] == 70
    assert (result.harmful(3)["influence"] > 0).all()
    auroc = explainer.influence(X[NEW], Y[NEW], target=smooth_auroc(), top=4)
    assert auroc.values.shape == (1, 4)
    assert (auroc.helpful(3)["influence"] > 0).all()


def test_nobody_said_which_way_is_good(explainers):
    result = explainers["newton"].influence(X[NEW], target=tail, paths=True)
    assert "on tail (units of tail, positive = raises it)" in repr(result)
    assert len(result.top(3)) == 3
    for ask in (result.helpful, result.harmful):
        with pytest.raises(ValueError, match="Nobody said whether a rise of .*tail"):
            ask()
    view = result._repr_html_()
    assert "Nobody said which way is good" in view
    assert "harmful" not in view.lower()
    known = from_function(tail, higher_is_better=True)
    known = explainers["newton"].influence(X[NEW], target=known)
    assert (known.helpful(2)["influence"] > 0).all()


def test_a_drawing_without_a_direction(explainers):
    pytest.importorskip("matplotlib").use("Agg")
    result = explainers["newton"].influence(X[NEW], target=tail)
    display = InfluenceDisplay(result).plot(k=2)
    assert "lowers it" in display.ax_.get_xlabel()
    assert len(display.frame_) == 4


def test_functions_without_derivatives_are_refused_to_first_order(explainers):
    match = "'first_order' needs the derivative of the target, and tail_of_array"
    with pytest.raises(ValueError, match=f"{match}.*or use method='newton' or 'lever"):
        explainers["first_order"].influence(X[NEW], target=tail_of_array)
    with pytest.raises(ValueError, match=rf"{match}.*or use methods=\('newton', 'lev"):
        explainers["newton"].validate(X[NEW], target=tail_of_array, n_rows=3)
    report = explainers["newton"].validate(
        X[NEW], target=tail_of_array, n_rows=3, n_paths=0, methods="newton"
    )
    assert report.agreements["newton", "row"].relative_error < 2e-3
    result = explainers["newton"].influence(X[NEW], target=tail_of_array)
    with pytest.raises(ValueError, match=match):
        result.words(0)


def test_auto_does_not_screen_what_it_cannot_derive(monkeypatch):
    monkeypatch.setattr(Work, "method", lambda self, most: "leverage")
    monkeypatch.setattr(
        Work,
        "screen",
        lambda self, follows: "first_order" if follows else "leverage",
    )
    explainer = _fit("auto")
    derived = explainer.influence(X[NEW], Y[NEW], target=smooth_auroc())
    assert derived.method.startswith("first_order")
    other = explainer.influence(X[NEW], Y[NEW], target=tail_of_array, top=5)
    assert other.method.startswith("leverage")


def test_validation_of_a_set(explainers):
    report = explainers["newton"].validate(
        X[NEW],
        Y[NEW],
        target=TARGETS["parity"][0],
        n_rows=6,
        n_paths=2,
        random_state=0,
    )
    assert report.target == "demographic parity gap"
    errors = report.to_frame().query("removed == 'row'")["relative_error"]
    assert errors.is_monotonic_increasing  # newton, leverage, first_order
    assert errors.iloc[0] < 2e-3


def test_validation_of_what_never_changes(explainers):
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.warns(InfluenceWarning, match="did not change when any of 3 train"):
            report = explainers["newton"].validate(
                X[NEW], target=lambda p: 0.5, n_rows=3, n_paths=1, methods="newton"
            )
    assert np.isnan(report.shares["label"])
    assert np.isnan(report.agreements["newton", "row"].relative_error)


def test_results_do_not_depend_on_blocks(explainers, monkeypatch):
    ask = {"target": TARGETS["odds"][0], "paths": True}
    whole = explainers["leverage"].influence(X[NEW], Y[NEW], **ask)
    monkeypatch.setattr(removal, "_MOST_VALUES", 70 * 10 * 6 * 3)
    parts = explainers["leverage"].influence(X[NEW], Y[NEW], **ask)
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-9, atol=1e-13)


def test_scores_of_all_rows_are_bounded(explainers):
    """One removal makes scores of every row, not only one value of each."""
    solved, heads = explainers["newton"]._solved_model(), explainers["newton"]._heads()
    number = numeric_targets(heads, smooth_auroc(), CODES, solved.device, X[NEW])
    questions = solved.questions(X[NEW], number, None)
    answers = removal.Answers(solved.bottleneck, questions)
    n_scores = 2 + 2 + 1 + 3
    expected = removal._MOST_VALUES // (70 * n_scores)
    assert answers.rows_at_once(10**9, paths=False) == expected


def test_words_add_up_on_a_set():
    explainer = ConceptInfluenceExplainer(LogisticRegression(), method="first_order")
    explainer.fit(X[TRAIN], Y[TRAIN])
    result = explainer.influence(X[NEW], Y[NEW], target=TARGETS["worst"][0])
    total = result.words(3)["influence"].sum()
    assert total == pytest.approx(result.values[0, 3], rel=1e-9)


@pytest.mark.parametrize(
    "params",
    [
        {"label_head": "ordinal"},
        {"residual_C": 0.1},
        {"bottleneck": "hard"},
        {"training": "independent"},
    ],
    ids=str,
)
def test_other_models(params):
    target, _ = TARGETS["worst"]
    y = CODES_OF_ALL[TRAIN]
    clf = ConceptBottleneckClassifier(tol=1e-10, **params)
    explainer = ConceptInfluenceExplainer(clf, method="newton")
    explainer.fit(X[TRAIN], y, concepts=CONCEPTS[TRAIN])
    found = explainer.influence(X[NEW], CODES, target=target, paths=True)
    weights = np.ones(60)
    weights[7] = 0
    without = clf.fit(X[TRAIN], y, weights, concepts=CONCEPTS[TRAIN])
    truth = worst(explainer.predict_proba(X[NEW]), CODES, GROUPS)
    truth -= worst(without.predict_proba(X[NEW]), CODES, GROUPS)
    assert found.totals[0, 7] == pytest.approx(truth, rel=0.01)


def test_soft_annotations_and_continuous_concepts():
    low = X[TRAIN, 1] < 0
    concepts = pd.DataFrame(
        {
            "quiet=no": 0.25 + 0.5 * low,
            "quiet=yes": 0.75 - 0.5 * low,
            "heat": X[TRAIN, 2],
        }
    )
    explainer = ConceptInfluenceExplainer(CLF, method="newton")
    explainer.fit(X[TRAIN], Y[TRAIN], concepts=concepts)
    target, naive = TARGETS["parity"]
    found = explainer.influence(X[NEW], Y[NEW], target=target)
    weights = np.ones(60)
    weights[7] = 0
    before = naive(explainer.predict_proba(X[NEW]))
    after = CLF.fit(X[TRAIN], Y[TRAIN], weights, concepts=concepts)
    truth = before - naive(after.predict_proba(X[NEW]))
    assert found.values[0, 7] == pytest.approx(truth, rel=0.01)


# --- Groups, joint training, verdicts -------------------------------------------------


@pytest.mark.filterwarnings("ignore:The influence of 1 of 3 groups is NaN")
def test_groups_are_removed_as_a_whole(explainers):
    target, naive = TARGETS["worst"]
    groups = np.where(np.arange(60) < 9, "first", "rest")
    groups[20:30] = "more"
    ask = {"target": target, "groups": groups}
    found = {
        method: explainer.influence(X[NEW], Y[NEW], **ask)
        for method, explainer in explainers.items()
    }
    weights = (np.arange(60) >= 9).astype(float)
    without = CLF.fit(X[TRAIN], Y[TRAIN], weights, concepts=CONCEPTS[TRAIN])
    before = naive(explainers["newton"].predict_proba(X[NEW]))
    truth = before - naive(without.predict_proba(X[NEW]))
    at = list(found["newton"].groups).index("first")
    assert found["newton"].values[0, at] == pytest.approx(truth, rel=2e-3)
    assert found["leverage"].values[0, at] == pytest.approx(truth, rel=0.3)
    number = {"target": tail_of_array, "groups": groups}
    exact = explainers["newton"].influence(X[NEW], **number).values[0, at]
    truth = np.subtract(
        tail_of_array(explainers["newton"].predict_proba(X[NEW])),
        tail_of_array(without.predict_proba(X[NEW])),
    )
    assert exact == pytest.approx(truth, rel=2e-3)


@pytest.fixture(scope="module")
def joint():
    clf = ConceptBottleneckClassifier(training="joint", concept_weight=2.0)
    explainer = ConceptInfluenceExplainer(clf, method="newton")
    return explainer.fit(X[TRAIN], Y[TRAIN], concepts=CONCEPTS[TRAIN][["food"]])


def test_joint_training(joint):
    target, naive = TARGETS["worst"]
    report = joint.validate(
        X[NEW], Y[NEW], target=target, n_rows=3, n_paths=0, random_state=0
    )
    assert report.agreements["newton", "row"].relative_error < 0.01
    assert report.agreements["first_order", "row"].relative_error < 0.6
    record = joint.edit(drop=[7], X_val=X[NEW], y_val=Y[NEW], target=target)
    after, record = record.estimator.predict_proba(X[NEW]), record.record
    change = naive(after) - naive(joint.predict_proba(X[NEW]))
    assert record.achieved_effect == pytest.approx(change)
    first = clone(joint).set_params(method="first_order")
    first = first.fit(X[TRAIN], Y[TRAIN], concepts=CONCEPTS[TRAIN][["food"]])
    influence = first.influence(X[NEW], Y[NEW], target=target)
    assert record.predicted_effect == pytest.approx(-influence.values[0, 7], rel=1e-6)


def test_joint_training_and_numbers_without_derivatives(joint, monkeypatch):
    monkeypatch.setattr(engine, "MOST_WORK", 0)
    auto = copy(joint).set_params(method="auto")
    assert auto.influence(X[NEW][:3], target=tail).method == "first_order"
    found = auto.influence(X[NEW][:3], target=tail_of_array, top=5)
    assert found.method == "newton"
    groups = np.arange(60) % 3
    assert auto.influence(X[NEW], target=tail, groups=groups).method == "first_order"
    with pytest.raises(ValueError, match="training='joint' to first order only, which"):
        auto.influence(X[NEW], target=tail_of_array, groups=groups)


@pytest.mark.parametrize(
    "verdict", [{"concept_weights": {"food": 0}}, {"rebalance": ["food"]}], ids=str
)
def test_verdicts_on_concepts(explainers, verdict):
    target, naive = TARGETS["parity"]
    explainer = explainers["newton"]
    result = explainer.edit(
        **verdict, X_val=X[NEW], y_val=Y[NEW], groups_val=GROUPS, target=target
    )
    record, after = result.record, result.explainer
    change = naive(after.predict_proba(X[NEW])) - naive(explainer.predict_proba(X[NEW]))
    assert record.achieved_effect == pytest.approx(change)
    assert record.target == "demographic parity gap"
    held = "concept_weights" in verdict
    assert (record.predicted_effect is None) == held
    ends = [
        worst(model.predict_proba(X[NEW]), CODES, GROUPS)
        for model in (explainer, after)
    ]
    np.testing.assert_allclose(record.worst_group_loss, ends)
    if held:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _suggested(after, target, budget=2)
        found = after.influence(X[NEW], Y[NEW], target=target)
        dropped = after.edit(drop=[7], X_val=X[NEW], y_val=Y[NEW], target=target)
        assert found.values[0, 7] == pytest.approx(
            -dropped.record.achieved_effect, rel=0.01
        )


# --- Edits ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_the_effect_of_an_edit_is_recorded(explainers, probabilities, name):
    target, naive = TARGETS[name]
    record = (
        explainers["newton"]
        .edit(drop=[7], X_val=X[NEW], y_val=Y[NEW], target=target)
        .record
    )
    change = naive(probabilities[7, 0.0]) - naive(probabilities[7, 1.0])
    assert record.achieved_effect == pytest.approx(change, abs=1e-9)
    if name not in FIRST_ORDER:
        assert record.predicted_effect is None
        return
    first = explainers["first_order"].influence(X[NEW], Y[NEW], target=target)
    assert record.predicted_effect == pytest.approx(-first.values[0, 7], rel=1e-6)


def test_other_targets_of_an_edit(explainers):
    explainer = explainers["newton"]
    val = {"X_val": X[NEW], "y_val": Y[NEW]}
    loss = explainer.edit(drop=[7], **val).record
    assert (loss.target, loss.unit, loss.higher_is_better) == (
        "mean log-loss",
        "nats",
        False,
    )
    opposite = explainer.edit(drop=[7], **val, target="log_proba").record
    assert opposite.achieved_effect == pytest.approx(-loss.achieved_effect)
    assert opposite.higher_is_better is True
    concept = explainer.edit(
        concepts={"food": {7: "bad"}}, **val, target=("concept", "food", "bad")
    )
    before, after = (
        model.predict_concept_proba(X[NEW])["food"][:, 0].mean()
        for model in (explainer.estimator_, concept.estimator)
    )
    assert concept.record.achieved_effect == pytest.approx(after - before)
    assert "p(food = bad)" in concept._repr_html_()
    assert concept.record.to_dict()["unit"] == "probability"


def test_targets_without_labels_do_without(explainers):
    explainer, val = explainers["newton"], {"X_val": X[NEW]}
    for target in (
        tail,
        demographic_parity_gap(GROUPS),
        ("concept", "food", "bad"),
    ):
        how = {"drop": [7], "concept_weights": {"food": 0.5}, "target": target}
        alone = explainer.edit(**how, **val).record
        labelled = explainer.edit(**how, **val, y_val=Y[NEW]).record
        assert alone.achieved_effect == labelled.achieved_effect
        pd.testing.assert_frame_equal(alone.reliance, labelled.reliance)
        assert alone.group_losses is None
        assert labelled.group_losses is not None
    for given in ({"target": smooth_auroc()}, {"target": "loss"}):
        with pytest.raises(ValueError, match="X_val was given without y_val; pass bo"):
            explainer.edit(drop=[7], **val, **given)
    with pytest.raises(ValueError, match="groups_val was given without X_val and y_v"):
        explainer.edit(drop=[7], **val, target=tail, groups_val=GROUPS)


def test_a_class_that_goes_has_probability_zero():
    y = Y[TRAIN].copy()
    y[:] = np.where(y == "perhaps", "never", y)
    y[3] = "perhaps"
    explainer = ConceptInfluenceExplainer(CLF).fit(X[TRAIN], y)
    kept = Y[NEW] != "perhaps"
    position = explainer.classes_.tolist().index("perhaps")
    gone = from_function(lambda p: p[:, position].mean(), higher_is_better=False)
    record = explainer.edit(
        drop=[3],
        empty_values="drop",
        X_val=X[NEW][kept],
        y_val=Y[NEW][kept],
        target=gone,
    ).record
    mean = explainer.predict_proba(X[NEW][kept])[:, position].mean()
    assert record.achieved_effect == pytest.approx(-mean)
    assert record.predicted_effect is None


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"target": tail}, "target=.* there are none; pass X_val and y_val"),
        (
            {"target": worst_group_loss(GROUPS[:9]), "X_val": X[NEW], "y_val": Y[NEW]},
            "groups has 9 entries, but X_val has 70 rows",
        ),
        (
            {
                "target": ("concept", "food", "bad"),
                "drop_concepts": ["food"],
                "X_val": X[NEW],
                "y_val": Y[NEW],
            },
            "is about a concept that drop_concepts removes",
        ),
        ({"target": "f1", "X_val": X[NEW], "y_val": Y[NEW]}, "'f1' is not known"),
    ],
    ids=["no rows", "groups", "dropped", "unknown"],
)
def test_bad_targets_of_an_edit(explainers, given, match):
    with pytest.raises(ValueError, match=match):
        explainers["newton"].edit(drop=[1], **given)


# --- Suggestions ----------------------------------------------------------------------


def _suggested(explainer, target, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explainer.suggest_edits(
            X[NEW],
            Y[NEW],
            target=target,
            kinds=["drop", "reweight"],
            random_state=0,
            **options,
        )


@pytest.mark.parametrize("name", [*LIBRARY, "focal"])
def test_suggestions_for_a_set(explainers, name):
    target, naive = TARGETS[name]
    if name == "focal":
        target = from_function(focal_loss, with_y=True, higher_is_better=False)
    found = _suggested(explainers["leverage"], target, budget=3)
    proba = explainers["leverage"].predict_proba(X[NEW])
    assert found.value == pytest.approx(naive(proba))
    assert found.target == target.name
    better = np.sign(found.frame["effect"]) == (1 if name == "auroc" else -1)
    assert better.all()
    # The closed form of one change is near what the edit does, also where another group
    # becomes the worst on the way: the target is evaluated at the end of it.
    first = found.frame.iloc[0]
    change = {
        "drop": {"drop": [first["row"]]},
        "reweight": {"sample_weight": {first["row"]: first["proposed"]}},
    }[first["kind"]]
    record = (
        explainers["newton"]
        .edit(**change, X_val=X[NEW], y_val=Y[NEW], target=target)
        .record
    )
    assert 0.75 < record.achieved_effect / first["effect"] < 1.3
    assert found.interval[0] < found.effect < found.interval[1]


def test_suggestions_for_a_mean_are_those_of_the_loss(explainers):
    def mean_loss(proba, y):
        return -torch.log(proba[torch.arange(len(y)), y]).mean()

    target = from_function(mean_loss, with_y=True, higher_is_better=False)
    one = _suggested(explainers["leverage"], target, budget=5)
    other = _suggested(explainers["leverage"], "loss", budget=5)
    columns = ["row", "effect", "std_error"]
    a, b = one.frame[columns].to_numpy(float), other.frame[columns].to_numpy(float)
    np.testing.assert_allclose(a[:, :2], b[:, :2], rtol=1e-7)
    # Parts of rows are integrals, as sums over 16 places.
    np.testing.assert_allclose(a[:, 2], b[:, 2], rtol=1e-4)
    assert one.effect == pytest.approx(other.effect, rel=1e-3)
    # Percentiles of draws are near those of Student's t.
    np.testing.assert_allclose(one.interval, other.interval, rtol=0.15)


def test_suggestions_do_not_open_a_gap_again(explainers):
    target, _ = TARGETS["parity"]
    found = _suggested(explainers["leverage"], target, budget=40)
    assert -found.frame["effect"].sum() <= found.value
    assert 1 < found.n_chosen < 40


def test_effects_of_changes_are_those_where_parameters_move(explainers):
    """Of all rows and of parts of them, and their rows' parts add up to them."""
    explainer, target = explainers["leverage"], TARGETS["worst"][0]
    solved, heads = explainer._solved_model(), explainer._heads()
    validation = validation_of(solved, heads, X[NEW], CODES, target, Y[NEW])
    candidates = candidate_edits(
        solved, ("drop",), TrainingRows(**explainer._training), False
    )
    rows = np.arange(60)
    changes = Changes(rows, np.full(60, ROW), np.zeros(60), np.zeros(60))
    shares = np.ones((2, 70))
    shares[1, ::3] = 0
    found = candidates.means(changes, validation, shares)
    parts, _ = candidates.effects(changes, validation)
    np.testing.assert_allclose(parts.mean(axis=1), found[:, 0], rtol=1e-9, atol=1e-15)
    influence = explainer.influence(X[NEW], Y[NEW], target=target)
    # Leverage of the label head knows of moved activations, what changes do not.
    assert np.corrcoef(-influence.values[0], found[:, 0])[0, 1] > 0.99
    part = shares[1] > 0
    own = worst_group_loss(GROUPS[part])
    other = validation_of(solved, heads, X[NEW][part], CODES[part], own, Y[NEW][part])
    alone = candidates.means(changes, other, np.ones((1, part.sum())))
    np.testing.assert_allclose(found[:, 1], alone[:, 0], rtol=1e-9, atol=1e-15)


def test_targets_that_cannot_choose_edits(explainers):
    explainer = explainers["leverage"]
    for target, match in {
        tail: "suggest_edits divides the rows, and a plain function .*from_function",
        from_function(tail): "has to know which way .* is good; say higher_is_better",
        from_function(
            tail_of_array, higher_is_better=True
        ): r"suggest_edits needs the .*\(not float\(...\) or .item\(\)\)\.$",
        smooth_auroc(): "needs the labels of X; pass y",
    }.items():
        with pytest.raises(ValueError, match=match):
            explainer.suggest_edits(X[NEW], None, target=target)


def test_hard_activations_are_warned_of():
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(bottleneck="hard"), method="first_order"
    ).fit(X[TRAIN], Y[TRAIN], concepts=CONCEPTS[TRAIN])
    with pytest.warns(InfluenceWarning, match="do not move the label through hard"):
        explainer.influence(X[NEW], Y[NEW], target=smooth_auroc())
