"""The methods of ConceptInfluenceExplainer, and which of them "auto" takes."""

import pickle
import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain import confirm, engine
from skclif._explain.collect import KeepAll
from skclif._explain.confirm import most_influential
from skclif._explain.work import MOST_WORK, Work
from skclif.exceptions import InfluenceWarning

from ..data import make_concept_data
from ..numerics.test_properties import PROFILE, _explain, problems

N = 120
EXPLICIT = ["newton", "leverage", "first_order"]
CONFIRMED = "leverage, its top rows by newton"
TIGHT = {"solver": "newton-cg", "tol": 1e-10, "max_iter": 1000}
NO_FLIPS = "Leverage does not see hard activations of other training rows flip when an "


@pytest.fixture(scope="module")
def targets():
    X, y, _ = make_concept_data(9, seed=5)
    return X, y


def _fit(method="auto", *, features=None, device="cpu", **parameters):
    X, y, concepts = make_concept_data(N)
    clf = ConceptBottleneckClassifier(**parameters)
    explainer = ConceptInfluenceExplainer(clf, method=method, device=device)
    return explainer.fit(X if features is None else features, y, concepts=concepts)


@pytest.fixture(scope="module")
def explainers():
    """Return fitted explainers by method."""
    return {method: _fit(method) for method in ["auto", *EXPLICIT]}


@pytest.fixture(scope="module")
def hard():
    """Return fitted explainers through hard activations by method."""
    return {m: _fit(m, bottleneck="hard") for m in ["auto", *EXPLICIT]}


@pytest.fixture
def bear(monkeypatch):
    """Let "auto" have newton, or leverage, remove so many rows and no more."""

    def bear(by_newton, by_leverage=1e9):
        each = [
            MOST_WORK / (n + 0.5) if n else np.inf for n in (by_newton, by_leverage)
        ]
        monkeypatch.setattr(Work, "of", lambda *_, **__: Work(N, *each))

    return bear


def _error(own, expected):
    return np.linalg.norm(own - expected) / np.linalg.norm(expected)


# --- Which method ---------------------------------------------------------------------


@pytest.mark.parametrize("method", EXPLICIT)
def test_what_is_asked_for_is_taken(explainers, targets, bear, method):
    for n_rows in (0, N):
        bear(n_rows)
        result = explainers[method].influence(*targets, top=2)
        assert result.method == method
        assert f"by {method}: 9 targets" in repr(result)


def test_auto_is_newton_for_small_data(explainers, targets):
    result = explainers["auto"].influence(*targets, paths=True)
    assert result.method == "newton"
    assert "(nats, positive = harmful) by newton: 9 targets x 120" in repr(result)
    expected = explainers["newton"].influence(*targets, paths=True)
    np.testing.assert_array_equal(result.values, expected.values)
    assert result.paths == expected.paths


def test_work_grows_with_all_that_is_asked(explainers, targets, monkeypatch):
    """Where one call just bears newton, every larger one confirms its top rows."""
    X, y = targets
    asked = []
    of = Work.of

    def spy(*args, **options):
        asked.append(of(*args, **options))
        return asked[-1]

    monkeypatch.setattr(Work, "of", spy)
    explainer = explainers["auto"]
    explainer.influence(X, y)
    monkeypatch.setattr(engine, "MOST_WORK", N * asked[0].newton)
    assert explainer.influence(X, y).method == "newton"
    assert explainer.influence(X[:5], y[:5]).method == "newton"
    assert explainer.influence(X, y, reduce="mean").method == "newton"
    assert explainer.influence(X, y, paths=True).method == CONFIRMED
    assert explainer.influence(np.r_[X, X], np.r_[y, y]).method == CONFIRMED
    whole, with_paths, double = asked[0], asked[-2], asked[-1]
    for larger in (with_paths, double):
        assert larger.newton > whole.newton
        assert larger.leverage > whole.leverage


def test_the_choice_hangs_on_no_clock(explainers, targets, monkeypatch):
    def refuse():
        raise AssertionError("A clock was read.")

    with monkeypatch.context() as context:
        for clock in ("time", "perf_counter", "monotonic", "process_time"):
            context.setattr(time, clock, refuse)
        method = explainers["auto"].influence(*targets, top=3).method
    assert method == "newton"


# --- All rows, the top ones by a better method ----------------------------------------


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("reduce", [None, "mean"])
@pytest.mark.parametrize(
    ("bears", "screen", "better", "n_rows"),
    [
        # A share of the work is left for them, whatever leverage takes.
        ((25, N / 0.79), "leverage", "newton", 5),
        ((25, N * 2), "leverage", "newton", 12),
        ((N - 1, 1e9), "leverage", "newton", N - 1),
        ((25, N / 0.87), "first_order", "leverage", N),
        ((25, 30), "first_order", "leverage", 30),
        ((0, 2 * N), "leverage", None, 0),
    ],
)
def test_the_top_of_all_rows_is_confirmed(
    explainers, targets, bear, bears, screen, better, n_rows, reduce, paths
):
    bear(*bears)
    asked = {"reduce": reduce, "paths": paths}
    result = explainers["auto"].influence(*targets, **asked)
    first = explainers[screen].influence(*targets, **asked)
    values = first.values
    if screen == "first_order" and paths:  # no interaction
        assert result.paths == (*first.paths, "interaction")
        values = np.concatenate([values, np.zeros((*values.shape[:2], 1))], axis=2)
    if better is None:
        assert (result.method, result.confirmed) == (screen, None)
        np.testing.assert_array_equal(result.values, values)
        return
    assert result.method == f"{screen}, its top rows by {better}"
    assert f"by {result.method}: " in repr(result)
    sizes = np.abs(first.totals)
    shares = (sizes / sizes.max(axis=1, keepdims=True)).max(axis=0)
    top = np.argsort(-shares, kind="stable")[:n_rows]
    assert result.confirmed.sum() == len(top) == n_rows
    assert result.confirmed[top].all()
    second = explainers[better].influence(*targets, **asked).values
    expected = np.where(
        result.confirmed.reshape((-1, 1) if paths else (-1,)), second, values
    )
    # Sums over the same numbers in other blocks.
    np.testing.assert_allclose(result.values, expected, rtol=1e-8, atol=1e-13)


def test_confirmed_rows_are_told_from_others(explainers, targets, bear):
    bear(30)
    result = explainers["auto"].influence(*targets, reduce="mean", paths=True)
    frame, top = result.to_frame(), result.top(N)
    for told in (frame, top, result.harmful(N)):
        rows = told["row"].to_numpy()
        assert (told["confirmed"] == result.confirmed[rows]).all()
    assert list(top)[:5] == ["target", "row", "influence", "path", "confirmed"]
    # Leverage is close, so that those of largest influence are confirmed.
    assert top["confirmed"].head(20).all()
    assert not top["confirmed"].tail(50).any()
    plain = explainers["leverage"].influence(*targets, reduce="mean")
    assert "confirmed" not in plain.top(3)
    assert "confirmed" not in plain.to_frame()


def test_words_add_up_to_confirmed_influence(explainers, targets, bear):
    bear(30)
    result = explainers["auto"].influence(*targets, reduce="mean")
    for row in (result.confirmed.argmax(), result.confirmed.argmin()):
        total = result.words(int(row))["influence"].sum()
        assert total == pytest.approx(result.values[0, row])


def test_hard_activations_are_not_screened_to_first_order(hard, targets, bear):
    bear(10, 30)
    with pytest.warns(InfluenceWarning, match=NO_FLIPS):
        result = hard["auto"].influence(*targets)
    assert result.method == CONFIRMED
    assert result.confirmed.sum() == 1  # a share of the work is left


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_rows_are_ordered_by_their_share_of_the_largest_on_a_target(
    monkeypatch, at_once
):
    monkeypatch.setattr(confirm, "_TARGETS_AT_ONCE", at_once)
    totals = np.array([[0.1, -0.2, np.nan, 0.0], [30.0, 10.0, np.nan, -50.0], [0] * 4])
    kept = KeepAll.in_memory(3, 4, 2, paths=True)
    kept.add(slice(0, 3), slice(0, 4), np.stack([totals / 2, totals / 2], axis=2))
    assert most_influential(kept, 9).tolist() == [1, 3, 0, 2]
    assert most_influential(kept, 2).tolist() == [1, 3]
    assert most_influential(kept, 0).tolist() == []


# --- Top rows by leverage, confirmed by newton ----------------------------------------


def _confirmed(explainers, X, y, top, **options):
    """Return rows and values that newton gives to twice as many rows of leverage."""
    screened = explainers["leverage"].influence(X, y, **options).totals
    exact = explainers["newton"].influence(X, y, paths=True, **options).values
    candidates = np.argsort(-np.abs(screened), axis=1, kind="stable")[:, : 2 * top]
    sizes = np.abs(np.take_along_axis(exact.sum(axis=2), candidates, axis=1))
    order = np.argsort(-sizes, axis=1, kind="stable")[:, :top]
    rows = np.take_along_axis(candidates, order, axis=1)
    return rows, np.take_along_axis(exact, rows[:, :, None], axis=1)


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("reduce", [None, "mean", "sum"])
@pytest.mark.parametrize("target", ["loss", "margin", ("concept", "food", "good")])
def test_top_rows_are_confirmed_by_newton(
    explainers, targets, bear, paths, reduce, target
):
    bear(N - 1)
    options = {"reduce": reduce, "target": target}
    result = explainers["auto"].influence(*targets, top=4, paths=paths, **options)
    assert result.method == CONFIRMED
    assert f"by {CONFIRMED}: " in repr(result)
    rows, values = _confirmed(explainers, *targets, 4, **options)
    np.testing.assert_array_equal(result.rows, rows)
    expected = values if paths else values.sum(axis=2)
    # Sums over the same numbers in other blocks.
    np.testing.assert_allclose(result.values, expected, rtol=1e-8, atol=1e-13)
    sizes = np.abs(result.totals)
    assert (np.diff(sizes, axis=1) <= 0).all()
    names = ("label", "food", "quiet", "price", "interaction")
    assert result.paths == (names if paths else None)


def test_confirmed_rows_are_read_like_any(explainers, targets, bear):
    bear(N - 1)
    confirmed = explainers["auto"].influence(*targets, top=4, paths=True)
    whole = explainers["newton"].influence(*targets, paths=True)
    best = confirmed.top(1)
    # Twice as many candidates as rows: the first is among them.
    assert best["row"].tolist() == whole.top(1)["row"].tolist()
    assert best["path"].tolist() == whole.top(1)["path"].tolist()
    assert best["food"].tolist() == whole.top(1)["food"].tolist()
    np.testing.assert_array_equal(
        confirmed.explained["value"], whole.explained["value"]
    )


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("reduce", [None, "mean"])
@pytest.mark.parametrize(
    ("bears", "better"),
    [((N - 1, 30), "newton"), ((5, 100), "leverage"), ((5, 6), "first_order")],
)
def test_first_order_proposes_where_leverage_is_too_much(
    explainers, targets, bear, bears, better, reduce, paths
):
    bear(*bears)
    asked = {"reduce": reduce, "paths": paths}
    result = explainers["auto"].influence(*targets, top=4, **asked)
    screen = explainers["first_order"].influence(*targets, reduce=reduce).values
    candidates = np.argsort(-np.abs(screen), axis=1, kind="stable")[:, :16]
    exact = explainers[better].influence(*targets, **asked).values
    totals = exact.sum(axis=2) if paths else exact
    sizes = np.take_along_axis(np.abs(totals), candidates, axis=1)
    order = np.argsort(-sizes, axis=1, kind="stable")[:, :4]
    rows = np.take_along_axis(candidates, order, axis=1)
    np.testing.assert_array_equal(result.rows, rows)
    which = np.arange(len(rows))[:, None]
    np.testing.assert_allclose(result.values, exact[which, rows], atol=1e-13)
    named = f"first_order, its top rows by {better}"
    assert result.method == (better if better == "first_order" else named)
    assert result.confirmed is None
    interaction = ("interaction",) if better != "first_order" else ()
    names = ("label", "food", "quiet", "price", *interaction)
    assert result.paths == (names if paths else None)


@pytest.mark.parametrize("paths", [False, True])
def test_more_rows_than_newton_bears_are_not_confirmed(
    explainers, targets, bear, paths
):
    bear(5)
    result = explainers["auto"].influence(*targets, top=4, paths=paths)
    assert result.method == "leverage"
    expected = explainers["leverage"].influence(*targets, top=4, paths=paths)
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(result.rows, expected.rows)


@pytest.mark.parametrize(
    ("n_rows", "method"), [(N, "newton"), (N - 1, "leverage")], ids=str
)
def test_top_larger_than_the_training_set(explainers, targets, bear, n_rows, method):
    bear(n_rows)
    result = explainers["auto"].influence(*targets, top=1000)
    assert result.method == method
    assert result.values.shape == result.rows.shape == (9, N)
    assert (np.sort(result.rows, axis=1) == np.arange(N)).all()


@pytest.mark.parametrize(("n_rows", "method"), [(48, "newton"), (47, "leverage")])
def test_groups_take_the_better_method_that_can_remove_them(
    explainers, targets, bear, n_rows, method
):
    """A group takes about twelve times the work of a row; there are four."""
    bear(n_rows, 1)
    groups = np.arange(N) % 4
    result = explainers["auto"].influence(*targets, groups=groups)
    assert result.method == method
    expected = explainers[method].influence(*targets, groups=groups)
    np.testing.assert_allclose(result.values, expected.values, atol=1e-12)


# --- Hard activations -----------------------------------------------------------------


def test_auto_sees_hard_activations_flip(hard, targets):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = hard["auto"].influence(*targets, paths=True)
        hard["newton"].influence(*targets)
    assert result.method == "newton"


def test_auto_warns_of_hard_activations_where_it_is_leverage(hard, targets, bear):
    match = f"{NO_FLIPS}annotation of food, quiet, price is removed. Use method='newton"
    for n_rows, top, method in [
        (0, None, "leverage"),
        (9, None, CONFIRMED),
        (N - 1, 3, CONFIRMED),
    ]:
        bear(n_rows)
        with pytest.warns(InfluenceWarning, match=match):
            result = hard["auto"].influence(*targets, top=top)
        assert result.method == method


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ("leverage", NO_FLIPS),
        ("first_order", "To first order, annotations do not"),
    ],
)
def test_what_does_not_see_flips_warns(hard, targets, method, match):
    with pytest.warns(InfluenceWarning, match=match):
        hard[method].influence(*targets)


@pytest.mark.parametrize("method", EXPLICIT)
def test_concepts_themselves_do_not_go_through_activations(hard, targets, method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = (
            hard[method]
            .influence(targets[0], target=("concept", "food", "good"), paths=True)
            .values
        )
    assert (values[:, :, 1] != 0).any()
    assert (values[:, :, [0, 2, 3]] == 0).all()


def test_newton_through_hard_activations_is_retraining(hard, targets):
    X, y, concepts = make_concept_data(N)
    values = hard["newton"].influence(*targets).values
    expected = []
    for row in range(0, N, 10):
        kept = np.arange(N) != row
        clf = ConceptBottleneckClassifier(bottleneck="hard", tol=1e-10)
        clf.fit(X[kept], y[kept], concepts=concepts[kept])
        expected.append(_losses(clf, *targets))
    expected = _losses(hard["newton"].estimator_, *targets) - np.array(expected)
    assert _error(values[:, ::10].T, expected) < 0.01


# --- LogisticRegression against refits of scikit-learn --------------------------------


def _losses(clf, X, y):
    codes = np.searchsorted(clf.classes_, y)
    return -np.log(clf.predict_proba(X)[np.arange(len(y)), codes])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_newton_of_logistic_regression_is_refitting(
    n_classes, weighted, class_weight, targets
):
    X, y, _ = make_concept_data(N, n_classes=n_classes)
    X_test, y_test, _ = make_concept_data(9, n_classes=n_classes, seed=5)
    given = np.random.default_rng(0).uniform(0.2, 3, N) if weighted else np.ones(N)
    clf = LogisticRegression(C=10, class_weight=class_weight, **TIGHT)
    explainer = ConceptInfluenceExplainer(clf, method="newton").fit(X, y, given)
    values = explainer.influence(X_test, y_test).values
    # Balanced weights of classes come from weighted counts and are held fixed.
    weights = given
    if class_weight is not None:
        counts = np.array([given[y == one].sum() for one in y])
        weights = given * given.sum() / (n_classes * counts)
        if not weighted:
            np.testing.assert_allclose(weights, compute_sample_weight("balanced", y))
    plain = LogisticRegression(C=10, **TIGHT)
    whole = _losses(plain.fit(X, y, weights), X_test, y_test)
    expected = np.empty((N // 10, 9))
    for k, row in enumerate(range(0, N, 10)):
        without = np.where(np.arange(N) == row, 0, weights)
        expected[k] = whole - _losses(plain.fit(X, y, without), X_test, y_test)
    assert _error(values[:, ::10].T, expected) < 0.01


@pytest.mark.parametrize("method", EXPLICIT)
def test_a_frozen_model_is_explained_as_a_fitted_one(method, targets):
    X, y, concepts = make_concept_data(N)
    for clf, known in [
        (LogisticRegression(**TIGHT), {}),
        (ConceptBottleneckClassifier(tol=1e-10), {"concepts": concepts}),
    ]:
        frozen = FrozenEstimator(clf.fit(X, y, **known))
        one, other = (
            ConceptInfluenceExplainer(model, method=method)
            .fit(X, y, **known)
            .influence(*targets)
            for model in (frozen, clf)
        )
        assert one.method == other.method == method
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5, atol=1e-8)


# --- Whatever the method --------------------------------------------------------------


@settings(PROFILE, max_examples=5)
@given(problems(), st.randoms(use_true_random=False))
@pytest.mark.filterwarnings("ignore:The removal of")  # of rows that hold much
def test_the_order_of_rows_does_not_matter_to_newton(problem, random):
    X, y, concepts, weights, training = problem
    order = random.sample(range(len(X)), len(X))
    own = _explain(X, y, concepts, weights, training, "newton")
    other = _explain(
        X[order], y[order], concepts.iloc[order], weights[order], training, "newton"
    )
    one = own.influence(X[:5], y[:5], paths=True).values[:, order]
    two = other.influence(X[:5], y[:5], paths=True).values
    # Within what is left where steps end: rounding can move a removal past it.
    assert _error(one, two) < 1e-3


@pytest.mark.parametrize("method", ["auto", *EXPLICIT])
def test_a_loaded_explainer_answers_the_same(explainers, targets, method):
    loaded = pickle.loads(pickle.dumps(explainers[method]))
    expected = explainers[method].influence(*targets, paths=True)
    result = loaded.influence(*targets, paths=True)
    assert result.method == expected.method
    np.testing.assert_array_equal(result.values, expected.values)


@pytest.mark.parametrize("method", EXPLICIT)
@pytest.mark.parametrize("training", ["mixed", "sequential", "independent"])
def test_features_in_single_precision(targets, method, training):
    X = make_concept_data(N)[0].astype("f4")
    asked = targets[0].astype("f4"), targets[1]
    values = [
        _fit(method, features=features, training=training)
        .influence(*asked, paths=True)
        .values
        for features in (X, X.astype("f8"))
    ]
    # Steps of newton end within 5e-4 of the way; at either side of it at times.
    assert _error(*values) < (5e-4 if method == "newton" else 1e-5)
    assert values[0].dtype == np.float64


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_devices(explainers, targets, device):
    values = _fit("newton", device=device).influence(*targets, paths=True).values
    expected = explainers["newton"].influence(*targets, paths=True).values
    assert _error(values, expected) < 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize("method", EXPLICIT)
def test_cuda_agrees_with_cpu(explainers, targets, method):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    values = _fit(method, device="cuda").influence(*targets, paths=True).values
    expected = explainers[method].influence(*targets, paths=True).values
    assert _error(values, expected) < (5e-4 if method == "newton" else 1e-9)


@pytest.mark.parametrize("method", ["newton", "leverage", "first_order"])
def test_penalties_that_single_precision_cannot_hold(method):
    X, y, _ = make_concept_data(40)
    clf = ConceptBottleneckClassifier(C=1e-40)
    single, double = (
        ConceptInfluenceExplainer(clf, method=method).fit(data, y).influence(data, y)
        for data in (X.astype(np.float32), X.astype(np.float32).astype(float))
    )
    np.testing.assert_allclose(single.values, double.values, rtol=1e-9, atol=1e-12)
