"""ConceptInfluenceExplainer.validate, and what it says and draws."""

import builtins
import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from benchmarks.retraining import RetrainedBottleneck
from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    ValidationDisplay,
    ValidationResult,
)
from skclif._results.validation import Agreement, resolution
from skclif.numerics import retraining

from ..data import make_concept_data

N = 120
METHODS = ("newton", "leverage", "first_order")
COLUMNS = [
    "method",
    "removed",
    "removals",
    "pearson",
    "spearman",
    "median_spearman",
    "relative_error",
    "sign_agreement",
    "share",
    "time_ratio",
]


@pytest.fixture(scope="module")
def data():
    return make_concept_data(N)


@pytest.fixture(scope="module")
def targets():
    X, y, _ = make_concept_data(9, seed=5)
    return X, y


@pytest.fixture(scope="module")
def explainer(data):
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(X, y, concepts=concepts)


@pytest.fixture(scope="module")
def result(explainer, targets):
    return explainer.validate(*targets, n_rows=8, n_paths=5, random_state=0)


# --- What is left out, and the truth --------------------------------------------------


def test_half_of_the_rows_are_the_most_influential(result, explainer, targets):
    by_leverage = ConceptInfluenceExplainer(explainer.estimator, method="leverage")
    X, y, concepts = make_concept_data(N)
    by_leverage.fit(X, y, concepts=concepts)
    total = np.abs(by_leverage.influence(*targets).values).sum(axis=0)
    assert result.rows[:4].tolist() == np.argsort(-total)[:4].tolist()
    assert len(set(result.rows)) == 8
    assert set(result.path_rows) <= set(result.rows)
    assert result.path_rows.tolist() == sorted(set(result.path_rows))
    assert len(result.path_rows) == 5
    every = explainer.validate(*targets, n_rows=N, n_paths=0, methods=["leverage"])
    assert sorted(every.rows) == list(range(N))
    (row,) = explainer.validate(*targets, n_rows=1, n_paths=1, random_state=3).rows
    assert 0 <= row < N


def test_the_truth_is_that_of_scikit_learn(result, data, targets):
    truth = RetrainedBottleneck(
        *data, *targets, C=1, concept_C=1, intervention_prob=0.4
    )
    annotated = data[2].notna().to_numpy()
    assert not annotated[result.path_rows].all()
    for method in METHODS:
        losses = truth.losses[:, None] - truth.without(result.rows)[:, :, 0]
        own = result.agreements[method, "row"].retrained
        assert own.shape == (9, 8)
        assert Agreement(own, losses).relative_error < 1e-5
        single = truth.losses[:, None, None] - truth.without(result.path_rows)
        for k, path in enumerate(["label", "food", "quiet", "price"], start=1):
            there = np.full(5, True)
            if path != "label":
                there = annotated[result.path_rows, k - 2]
            own = result.agreements[method, path].retrained
            assert Agreement(own, single[:, there, k]).relative_error < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_the_estimate_is_the_influence(result, explainer, data, targets, method):
    X, y, concepts = data
    own = ConceptInfluenceExplainer(explainer.estimator, method=method)
    influence = own.fit(X, y, concepts=concepts).influence(*targets, paths=True)
    np.testing.assert_allclose(
        result.agreements[method, "row"].estimated,
        influence.totals[:, result.rows],
        rtol=1e-7,
        atol=1e-10,
    )
    paths = influence.values[:, result.path_rows]
    np.testing.assert_allclose(
        result.agreements[method, "label"].estimated, paths[:, :, 0], atol=1e-10
    )
    there = concepts["quiet"].notna().to_numpy()[result.path_rows]
    np.testing.assert_allclose(
        result.agreements[method, "quiet"].estimated, paths[:, there, 2], atol=1e-10
    )


def test_newton_comes_closest(result):
    for removed in ("row", "label", "food", "quiet", "price"):
        newton, leverage, first_order = (
            result.agreements[method, removed].relative_error for method in METHODS
        )
        assert newton < 0.002 < leverage < first_order, removed


@pytest.mark.parametrize(
    "options",
    [
        {"training": "independent"},
        {"bottleneck": "logit"},
        {"bottleneck": "hard"},
        {"class_weight": {"never": 2.0, "perhaps": 1.0, "again": 0.5}},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["margin", ("concept", "food", "good")], ids=str)
def test_the_truth_is_a_fit_without_the_row(data, targets, options, target):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(**options, tol=1e-10)
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    found = explainer.validate(
        *targets, target=target, n_rows=4, n_paths=0, random_state=1, methods="newton"
    )

    def values(model):
        if target != "margin":
            return model.predict_concept_proba(targets[0])["food"][:, 1]
        logits = model.decision_function(targets[0])
        own = np.arange(9), np.searchsorted(model.classes_, targets[1])
        others = logits.copy()
        others[own] = -np.inf
        return logits[own] - others.max(axis=1)

    one = found.agreements["newton", "row"]
    for k, row in enumerate(found.rows):
        kept = np.arange(N) != row
        without = ConceptBottleneckClassifier(**options, tol=1e-10)
        without.fit(X[kept], y[kept], concepts=concepts[kept])
        expected = values(explainer.estimator_) - values(without)
        # Two fits to gradients of 1e-9 and 1e-10.
        np.testing.assert_allclose(one.retrained[:, k], expected, rtol=1e-5, atol=1e-7)
    assert one.relative_error < 0.005


def test_weights_of_the_fit_are_those_of_retraining(data, targets):
    X, y, _ = data
    weights = np.random.default_rng(0).uniform(0.2, 3, N)
    tight = {"solver": "newton-cg", "tol": 1e-10, "max_iter": 1000}
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, y, weights)
    found = explainer.validate(*targets, n_rows=5, n_paths=2, random_state=0)
    assert {removed for _, removed in found.agreements} == {"row", "label"}
    for k, row in enumerate(found.rows):
        losses = []
        for kept in (weights, np.where(np.arange(N) == row, 0, weights)):
            proba = (
                LogisticRegression(**tight).fit(X, y, kept).predict_proba(targets[0])
            )
            codes = np.searchsorted(explainer.classes_, targets[1])
            losses.append(-np.log(proba[np.arange(9), codes]))
        np.testing.assert_allclose(
            found.agreements["newton", "row"].retrained[:, k],
            losses[0] - losses[1],
            rtol=1e-5,
            atol=1e-8,
        )


def test_without_paths(explainer, targets):
    found = explainer.validate(*targets, n_rows=4, n_paths=0, random_state=0)
    assert list(found.agreements) == [(method, "row") for method in METHODS]
    assert found.path_rows.shape == (0,)
    assert found.to_frame()["removed"].tolist() == ["row"] * 3


def test_a_path_that_no_row_has_is_not_judged(data, targets):
    X, y, concepts = data
    concepts = concepts.assign(quiet=concepts["quiet"].where(np.arange(N) < 10))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    for seed in range(9):
        found = explainer.validate(
            *targets, n_rows=3, n_paths=1, methods=["leverage"], random_state=seed
        )
        (row,) = found.path_rows
        present = [name for name in concepts if pd.notna(concepts[name].iloc[row])]
        names = [removed for _, removed in found.agreements]
        assert names == ["row", "label", *present, "interaction"]


def test_without_y_the_prediction_is_explained(explainer, targets):
    options = {"n_rows": 3, "n_paths": 0, "methods": ["newton"], "random_state": 0}
    one = explainer.validate(targets[0], **options)
    other = explainer.validate(targets[0], explainer.predict(targets[0]), **options)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(
        one.agreements["newton", "row"].retrained,
        other.agreements["newton", "row"].retrained,
    )


def test_the_seed_chooses_and_nothing_else_is_drawn(explainer, result, targets):
    before = np.random.get_state()[1].copy()
    options = {"n_rows": 8, "n_paths": 5}
    again = explainer.validate(*targets, **options, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(again.rows, result.rows)
    np.testing.assert_array_equal(again.path_rows, result.path_rows)
    for key, one in result.agreements.items():
        np.testing.assert_array_equal(again.agreements[key].retrained, one.retrained)
        np.testing.assert_array_equal(again.agreements[key].estimated, one.estimated)
    one, two = (
        explainer.validate(*targets, **options, random_state=state)
        for state in (1, np.random.RandomState(1))
    )
    np.testing.assert_array_equal(one.rows, two.rows)
    assert set(one.rows) != set(result.rows)


# --- Measures -------------------------------------------------------------------------


def test_measures_are_what_they_say():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 20))
    estimate = truth + rng.normal(size=truth.shape)
    one = Agreement(estimate, truth)
    a, b = estimate.ravel(), truth.ravel()

    def correlation(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())

    assert one.pearson == pytest.approx(correlation(a, b))
    assert one.spearman == pytest.approx(correlation(rankdata(a), rankdata(b)))
    each = [correlation(rankdata(estimate[t]), rankdata(truth[t])) for t in range(5)]
    assert one.median_spearman == pytest.approx(sorted(each)[2])
    assert one.relative_error == pytest.approx(
        np.sqrt(((a - b) ** 2).sum() / (b**2).sum())
    )
    assert one.sign_agreement == pytest.approx(
        sum(abs(y) for x, y in zip(a, b, strict=True) if x * y > 0) / np.abs(b).sum()
    )


def test_the_truth_agrees_with_itself():
    truth = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    one = Agreement(truth, truth)
    measures = [one.pearson, one.spearman, one.median_spearman, one.sign_agreement]
    assert measures == pytest.approx([1, 1, 1, 1])
    assert one.relative_error == 0


def test_what_does_not_vary_has_no_correlation():
    truth = np.array([[1.0, 2.0, 3.0]])
    flat = Agreement(np.ones((1, 3)), truth)
    for value in (flat.pearson, flat.spearman, flat.median_spearman):
        assert np.isnan(value)
    several = Agreement(np.vstack([truth, truth]), np.vstack([truth, 0 * truth]))
    assert several.median_spearman == 1  # of the one target that has a rank
    nothing = Agreement(truth, np.zeros((1, 3)))
    assert np.isnan(nothing.relative_error)
    assert np.isnan(nothing.sign_agreement)


def test_rounding_is_not_ranked():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, 10)), 3, axis=1)
    noisy = rows * (1 + 1e-7 * rng.normal(size=rows.shape))
    assert Agreement(noisy, rows).median_spearman < 0.999
    one = Agreement(noisy, rows, resolution(rows))
    assert one.median_spearman > 0.9999
    assert one.relative_error < 1e-6


def test_a_truth_that_is_rounding_is_no_effect():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4, 10))
    estimate, path = 1e-17 * rng.normal(size=(2, 4, 10))
    least = resolution(rows)
    assert Agreement(estimate, path).relative_error > 1
    nothing = Agreement(estimate, path, least)
    assert nothing.relative_error < 1e-12
    for value in (nothing.pearson, nothing.spearman, nothing.median_spearman):
        assert np.isnan(value)
    assert np.isnan(nothing.sign_agreement)
    # An effect that is not there for real is still a large error.
    assert Agreement(0.01 * rows, path, least).relative_error > 50


def test_resolution_is_of_each_target():
    rows = np.array([[3.0, -4.0], [0.0, 0.0]])
    expected = [[1e-4 * np.sqrt(12.5)], [0]]
    np.testing.assert_allclose(resolution(rows), expected)
    one = Agreement(rows, rows, resolution(rows))
    assert one.median_spearman == pytest.approx(1)
    assert one.relative_error == 0


# --- Frame, repr, drawing -------------------------------------------------------------


def test_to_frame_has_every_measure(result):
    frame = result.to_frame()
    assert frame.columns.tolist() == COLUMNS
    assert len(frame) == len(result.agreements) == 17
    assert frame["removals"].dtype == np.int64
    assert (frame[COLUMNS[3:]].dtypes == np.float64).all()
    assert frame["method"].tolist()[:3] == list(METHODS)
    assert frame.query("removed == 'row'")["removals"].tolist() == [8] * 3
    assert frame.query("removed == 'label'")["removals"].tolist() == [5] * 3
    assert (frame["time_ratio"] > 0).all()
    paths = frame.query("method == 'newton' and removed != 'row'")
    assert paths["time_ratio"].nunique() == 1
    one = frame.query("method == 'leverage' and removed == 'food'").iloc[0]
    agreement = result.agreements["leverage", "food"]
    for name in COLUMNS[3:8]:
        assert one[name] == getattr(agreement, name)
    # Shares are of the truth, so that methods have them alike.
    assert (frame.groupby("removed")["share"].nunique() == 1).all()
    assert frame.query("removed == 'row'")["share"].tolist() == [1.0] * 3
    assert 0 < one["share"] < 2


def test_what_the_result_shows(result, explainer, targets):
    errors = [result.agreements[m, "row"].relative_error for m in METHODS]
    assert repr(result) == (
        "<ValidationResult on log-loss (nats): 8 training rows left out, 9 targets; "
        f"relative error newton {errors[0]:.2g}, leverage {errors[1]:.2g}, first_order "
        f"{errors[2]:.2g}>"
    )
    assert (result.target, result.unit) == ("log-loss", "nats")
    assert result.methods == METHODS
    one = explainer.validate(
        targets[0][:1], n_rows=1, n_paths=0, target="logit", methods=["leverage"] * 2
    )
    assert one.methods == ("leverage",)
    assert "on logit (logits): 1 training row left out, 1 target; rela" in repr(one)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.unit = "bits"


def test_the_drawing(result):
    plt = pytest.importorskip("matplotlib.pyplot")
    _, ax = plt.subplots()
    display = result.plot(ax=ax)
    assert isinstance(display, ValidationDisplay)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_xlabel() == "retrained without it: effect on log-loss (nats)"
    assert ax.get_ylabel() == "estimated: effect on log-loss (nats)"
    assert ax.get_title("left") == (
        "Each point: the presence of one training row, on one target"
    )
    assert ax.get_legend().get_title().get_text() == "method (relative error)"
    *labels, line = (text.get_text() for text in ax.get_legend().get_texts())
    assert line == "equal"
    # The closest is drawn last, on top of the others.
    by_error = METHODS[::-1]
    for label, method, points in zip(labels, by_error, display.scatters_, strict=True):
        one = result.agreements[method, "row"]
        assert label == f"{method} ({one.relative_error:.2g})"
        expected = np.column_stack([one.retrained.ravel(), one.estimated.ravel()])
        np.testing.assert_array_equal(points.get_offsets(), expected)
    np.testing.assert_array_equal(display.line_.get_xdata(), display.line_.get_ydata())
    other = ValidationDisplay(result).plot(removed="food")
    assert other.ax_ is not ax
    assert "of the concept food, on one target" in other.ax_.get_title("left")
    assert len(other.scatters_[0].get_offsets()) == (
        result.agreements["newton", "food"].retrained.size
    )
    # Methods are told apart without colour; to first order there is no interaction.
    shapes = {str(one.get_paths()[0].vertices.tolist()) for one in display.scatters_}
    assert len(shapes) == 3
    assert len(result.plot(removed="interaction").scatters_) == 2
    known = "there are row, label, food, quiet, price"
    with pytest.raises(ValueError, match=f"removed='taste' was not measured; {known}"):
        result.plot(removed="taste")
    plt.close("all")


def test_long_names_and_dollar_signs_are_drawn_as_they_are(result):
    plt = pytest.importorskip("matplotlib.pyplot")
    name, target = "how $guests$ were treated " * 9, "probability of $x_1$ " * 9
    agreements = {(method, name): one for (method, _), one in result.agreements.items()}
    drawn = dataclasses.replace(result, agreements=agreements, target=target)
    ax = drawn.plot(removed=name).ax_
    texts = [ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()]
    assert all("…" in text and "$" in text for text in texts)
    assert max(len(line) for text in texts for line in text.split("\n")) < 90
    ax.figure.draw_without_rendering()
    plt.close("all")


def test_a_drawing_without_matplotlib(result, monkeypatch):
    imports = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "skclif\[plots\]"'):
        result.plot()


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"n_rows": N + 1}, ValueError, "n_rows=121 must be from 1 to 120: how many"),
        ({"n_rows": 0}, ValueError, "n_rows=0 must be from 1 to 120"),
        ({"n_rows": -1}, ValueError, "n_rows=-1 must be from 1 to 120"),
        ({"n_rows": True}, TypeError, "n_rows must be a whole number, got True"),
        ({"n_rows": 2.5}, TypeError, "n_rows must be a whole number, got 2.5"),
        ({"n_rows": None}, TypeError, "n_rows must be a whole number, got None"),
        ({"n_paths": 6}, ValueError, "n_paths=6 must be from 0 to 5"),
        ({"n_paths": -1}, ValueError, "n_paths=-1 must be from 0 to 5"),
        ({"n_paths": False}, TypeError, "n_paths must be a whole number, got False"),
        ({"methods": ["exact"]}, ValueError, "must name some of 'newton', 'leverage'"),
        ({"methods": "auto"}, ValueError, "methods='auto' must name some of"),
        ({"methods": []}, ValueError, r"methods=\[\] must name some of"),
        ({"methods": None}, ValueError, "methods=None must name some of"),
        ({"methods": [["newton"]]}, ValueError, r"methods=\[\['newton'\]\] must name"),
        ({"target": "accuracy"}, ValueError, "target='accuracy' is not known"),
        ({"target": ("concept", "taste")}, ValueError, "names the concept 'taste'"),
        ({"y": ["soon"] * 9}, ValueError, "class 'soon', which was not seen in fit"),
        ({"y": ["never"]}, ValueError, "y has 1 row, but X has 9|inconsistent num"),
        ({"X": np.zeros((9, 2))}, ValueError, "X has 2 features, but"),
        ({"random_state": "one"}, ValueError, "'one' cannot be used to seed"),
    ],
)
def test_bad_questions(explainer, targets, options, error, match):
    X, y = targets
    arguments = {"X": X, "y": y, "n_rows": 5, "n_paths": 2, **options}
    with pytest.raises(error, match=match):
        explainer.validate(**arguments)


def test_unfitted(targets):
    with pytest.raises(NotFittedError):
        ConceptInfluenceExplainer(ConceptBottleneckClassifier()).validate(*targets)


def test_retraining_that_does_not_end_is_refused(explainer, targets, monkeypatch):
    monkeypatch.setattr(retraining, "_MAX_ITER", 1)
    match = "Retraining stopped at a gradient of .* after 1 steps, so there is no truth"
    with pytest.raises(RuntimeError, match=match):
        explainer.validate(*targets, n_rows=2, n_paths=0)


def test_results_are_of_a_public_class(result):
    assert type(result) is ValidationResult
