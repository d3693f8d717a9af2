"""Curves of interventions are what correcting row by row gives."""

import builtins
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.metrics import InterventionCurveDisplay, intervention_curve

from ..data import make_concept_data

# Said by `intervene`, which is what curves are held against.
pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")

TRAIN, TEST = slice(0, 120), slice(120, 150)
NAMES = ["food", "quiet", "price"]
KINDS = [
    (training, bottleneck)
    for training in ("sequential", "independent")
    for bottleneck in ("soft", "hard")
]


@pytest.fixture(scope="module")
def rows():
    """Return X, y and concepts; a quarter of the values is not known."""
    return make_concept_data(150)


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def clf(request, rows):
    training, bottleneck = request.param
    return _fitted(rows, training=training, bottleneck=bottleneck)


@pytest.fixture(scope="module")
def soft(rows):
    return _fitted(rows)


def _fitted(rows, **options):
    X, y, concepts = (part[TRAIN] for part in rows)
    return ConceptBottleneckClassifier(**options).fit(X, y, concepts=concepts)


def _test(rows):
    X, y, concepts = (part[TEST] for part in rows)
    return X, y, concepts.reset_index(drop=True)


def _curve(estimator, rows, **options):
    return intervention_curve(estimator, *_test(rows), **options)


# --- The definition, done row by row with `intervene` ---------------------------------


def _losses_of(clf, row, label, values):
    """Return (loss, right) of one row after 0, 1, 2 … of these corrections."""
    found = []
    for step in range(len(values) + 1):
        known = dict.fromkeys(clf.concept_names_in_) | dict(values[:step])
        (proba,) = clf.intervene(row[None], pd.DataFrame([known], dtype=object))
        column = list(clf.classes_).index(label)
        found.append((-np.log(proba[column]), float(proba.argmax() == column)))
    return found


def _reference(clf, X, y, concepts, orders):
    """Return losses and hits (n_steps, n_samples); `orders` has names for every row."""
    columns = []
    for i, order in enumerate(orders):
        known = [(n, concepts.loc[i, n]) for n in order if pd.notna(concepts.loc[i, n])]
        steps = _losses_of(clf, X[i], y[i], known)
        columns.append(steps + [steps[-1]] * (len(NAMES) - len(known)))
    return np.transpose(columns, (2, 1, 0))


def _check(curve, expected):
    losses, correct = expected
    assert curve.n_corrected.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(curve.correct, correct)
    np.testing.assert_allclose(curve.log_loss, losses.mean(axis=1))
    np.testing.assert_allclose(curve.accuracy, correct.mean(axis=1))


@pytest.mark.parametrize("names", list(itertools.permutations(NAMES))[1::2])
def test_an_order_of_names(clf, rows, names):
    orders = [names] * 30
    curve = _curve(clf, rows, order=names)
    _check(curve, _reference(clf, *_test(rows), orders))
    assert (curve.order, curve.n_repeats) == (names, 1)


def test_random_orders(clf, rows):
    keys = check_random_state(3).random_sample((2, 30, 3))
    expected = [
        _reference(clf, *_test(rows), [[NAMES[j] for j in np.argsort(k)] for k in draw])
        for draw in keys
    ]
    curve = _curve(clf, rows, n_repeats=2, random_state=3)
    _check(curve, np.mean(expected, axis=0))
    assert (curve.order, curve.n_repeats) == ("random", 2)


def test_the_most_uncertain_concept_comes_first(clf, rows):
    X, y, concepts = _test(rows)
    proba = clf.predict_concept_proba(X)

    def uncertainty(i, name):
        return -sum(p * np.log(p) for p in proba[name][i])

    orders = [
        sorted(NAMES, key=lambda name: -uncertainty(i, name))  # noqa: B023
        for i in range(len(X))
    ]
    assert len(set(map(tuple, orders))) > 2
    curve = _curve(clf, rows, order="uncertainty")
    _check(curve, _reference(clf, X, y, concepts, orders))


def test_the_concept_that_is_expected_to_change_the_label_most_comes_first(clf, rows):
    X, y, concepts = _test(rows)
    proba = clf.predict_concept_proba(X)

    def impact(i, name):
        before, total = clf.predict_proba(X[[i]])[0], 0.0
        values = clf.concept_classes_[NAMES.index(name)]
        for chance, value in zip(proba[name][i], values, strict=True):
            known = pd.DataFrame({name: [value]}, dtype=object)
            (after,) = clf.intervene(X[[i]], known)
            total += chance * sum(after * np.log(after / before))
        return total

    orders = [
        sorted(NAMES, key=lambda name: -impact(i, name))  # noqa: B023
        for i in range(len(X))
    ]
    assert len(set(map(tuple, orders))) > 2
    curve = _curve(clf, rows, order="influence")
    _check(curve, _reference(clf, X, y, concepts, orders))


def test_random_orders_come_close_to_the_mean_over_all_orders(soft, rows):
    X, y, concepts = (part[:8] for part in _test(rows))
    orders = list(itertools.permutations(NAMES))
    each = [_reference(soft, X, y, concepts, [order] * 8) for order in orders]
    curve = intervention_curve(soft, X, y, concepts, n_repeats=1000, random_state=0)
    # Losses of one row differ by less than 2 between orders.
    np.testing.assert_allclose(curve.losses, np.mean(each, axis=0)[0], atol=0.1)


# --- Both ends ------------------------------------------------------------------------

ORDERS = ["random", "uncertainty", "influence", ["price", "food", "quiet"]]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_without_and_with_all_corrections_the_order_does_not_matter(clf, rows, order):
    X, y, concepts = _test(rows)
    curve = _curve(clf, rows, order=order, random_state=0)
    before, after = clf.predict_proba(X), clf.intervene(X, concepts)
    for step, proba in ((0, before), (-1, after)):
        predicted = clf.classes_[proba.argmax(axis=1)]
        loss = log_loss(y, proba, labels=clf.classes_)
        assert curve.log_loss[step] == pytest.approx(loss, rel=1e-12)
        assert curve.accuracy[step] == pytest.approx(accuracy_score(y, predicted))


def test_corrections_of_an_independent_model_help():
    X, y, concepts = make_concept_data(600, missing=0, seed=1)
    clf = ConceptBottleneckClassifier(training="independent")
    clf.fit(X[:400], y[:400], concepts=concepts[:400])
    curve = intervention_curve(clf, X[400:], y[400:], concepts[400:], random_state=0)
    assert curve.changes(since="start")["high"].iloc[-1] < 0
    assert curve.changes("accuracy", since="start")["low"].iloc[-1] > 0


def test_what_matters_to_the_label_comes_first_by_influence():
    rng = np.random.default_rng(0)
    values = rng.integers(2, size=(400, 3))
    X = values + rng.normal(0, [0.3, 0.3, 0.8], values.shape)
    concepts = pd.DataFrame(values, columns=["menu", "music", "food"])
    y = np.where(values[:, 2] > 0, "again", "never")  # by food alone
    clf = ConceptBottleneckClassifier(training="independent", C=10)
    clf.fit(X[:200], y[:200], concepts=concepts[:200])
    test = X[200:], y[200:], concepts[200:]
    random, first = (
        intervention_curve(clf, *test, order=order, random_state=0)
        for order in ("random", "influence")
    )
    assert first.log_loss[1] < 0.1 < random.log_loss[1] < random.log_loss[0]
    assert first.accuracy[1] == 1


def test_continuous_concepts_are_corrected(rows):
    X, y, concepts = rows
    concepts = concepts.assign(heat=X[:, 3] + 0.25).astype({"heat": float})
    concepts.loc[::3, "heat"] = np.nan
    clf = _fitted((X, y, concepts))
    X, y, concepts = _test((X, y, concepts))
    order = ["heat", "food"]
    curve = intervention_curve(clf, X, y, concepts, order=order)
    assert curve.n_corrected.tolist() == [0, 1, 2]
    after = clf.intervene(X, concepts[order])
    expected = log_loss(y, after, labels=clf.classes_)
    assert curve.log_loss[-1] == pytest.approx(expected)
    random = intervention_curve(clf, X, y, concepts, random_state=0)
    after = clf.intervene(X, concepts)
    expected = log_loss(y, after, labels=clf.classes_)
    assert random.log_loss[-1] == pytest.approx(expected)


# --- What is not known ----------------------------------------------------------------


def test_values_that_are_not_known_take_no_step(soft, rows):
    X, y, concepts = _test(rows)
    n_known = concepts.notna().sum(axis=1)
    assert set(n_known) >= {0, 2, 3}
    curve = _curve(soft, rows, random_state=0)
    assert curve.n_known.tolist() == n_known.tolist()
    for i, known in enumerate(n_known):
        moves = np.abs(np.diff(curve.losses[:, i])) > 1e-12
        assert not moves[known:].any()
        assert moves[:known].all()


def test_a_row_without_known_values_stays_as_predicted(soft, rows):
    X, y, concepts = _test(rows)
    concepts = concepts.copy()
    concepts.loc[4] = None
    curve = intervention_curve(soft, X, y, concepts, random_state=0)
    assert curve.n_known[4] == 0
    assert np.ptp(curve.losses[:, 4]) == 0


def test_a_table_may_leave_out_concepts(soft, rows):
    X, y, concepts = _test(rows)
    left = concepts[["price", "food"]]
    curve = intervention_curve(soft, X, y, left, random_state=0)
    assert curve.n_corrected.tolist() == [0, 1, 2]
    after = soft.intervene(X, left)
    assert curve.log_loss[-1] == pytest.approx(log_loss(y, after, labels=soft.classes_))
    named = intervention_curve(soft, X, y, concepts, order=["food", "price"])
    np.testing.assert_allclose(named.losses[-1], curve.losses[-1])


def test_steps_end_with_the_last_value_that_is_known(soft, rows):
    X, y, concepts = _test(rows)
    one = concepts.where(np.eye(30, 3, dtype=bool))
    assert intervention_curve(soft, X, y, one).n_corrected.tolist() == [0, 1]


# --- What may come in -----------------------------------------------------------------


def _same(one, other):
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(one.correct, other.correct)


def test_pipelines_and_frozen_models(rows):
    X, y, concepts = (part[TRAIN] for part in rows)
    scaler, clf = StandardScaler(), ConceptBottleneckClassifier()
    pipe = make_pipeline(scaler, clf)
    pipe.fit(X, y, conceptbottleneckclassifier__concepts=concepts)
    test = _test(rows)
    expected = intervention_curve(pipe[-1], scaler.transform(test[0]), *test[1:])
    nested = make_pipeline(scaler, make_pipeline(FrozenEstimator(pipe[-1])))
    for estimator in (pipe, nested, FrozenEstimator(pipe)):
        found = intervention_curve(estimator, *test, random_state=0)
        np.testing.assert_allclose(found.losses[0], expected.losses[0])
        np.testing.assert_allclose(found.losses[-1], expected.losses[-1])


def test_containers(soft, rows):
    X, y, concepts = _test(rows)
    expected = intervention_curve(soft, X, y, concepts, order="influence")
    table = concepts.to_numpy(dtype=object)
    for values in (concepts[["quiet", "price", "food"]], table, table.tolist()):
        found = intervention_curve(soft, X.tolist(), list(y), values, order="influence")
        _same(found, expected)
    labels = pd.Series(y, index=np.arange(30) + 5)
    _same(intervention_curve(soft, X, labels, concepts, order="influence"), expected)
    expected = intervention_curve(soft, X, y, concepts, order=["food", "price"])
    for order in (
        ("food", "price"),
        np.array(["food", "price"]),
        pd.Index(["food", "price"]),
    ):
        _same(intervention_curve(soft, X, y, concepts, order=order), expected)


def test_two_classes():
    X, y, concepts = make_concept_data(90, n_classes=2)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    curve = intervention_curve(clf, X, y, concepts, order="influence")
    after = clf.intervene(X, concepts)
    assert curve.log_loss[-1] == pytest.approx(log_loss(y, after))


def test_the_random_state_decides(soft, rows):
    first, same, other = (
        _curve(soft, rows, n_repeats=2, random_state=state)
        for state in (0, np.random.RandomState(0), 1)
    )
    _same(first, same)
    assert (first.losses != other.losses).any()
    before = np.random.get_state()[1].copy()
    _curve(soft, rows, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_a_weight_of_2_is_two_copies_and_a_weight_of_0_is_no_row(soft, rows):
    X, y, concepts = _test(rows)
    weight = np.arange(30) % 3
    copies = np.repeat(np.arange(30), weight)
    for order in ORDERS[1:]:
        weighted = intervention_curve(
            soft, X, y, concepts, order=order, sample_weight=weight
        )
        copied = intervention_curve(
            soft, X[copies], y[copies], concepts.iloc[copies], order=order
        )
        np.testing.assert_allclose(weighted.log_loss, copied.log_loss)
        np.testing.assert_allclose(weighted.accuracy, copied.accuracy)


def test_a_row_of_weight_0_may_have_any_value(soft, rows):
    X, y, concepts = _test(rows)
    concepts = concepts.copy()
    concepts.loc[2, "food"] = "zebra"
    weight = np.ones(30)
    weight[2] = 0
    curve = intervention_curve(soft, X, y, concepts, sample_weight=weight)
    assert curve.n_known[2] == concepts.loc[2].notna().sum() - 1


FEW = settings(max_examples=10, deadline=None, derandomize=True)


@FEW
@given(st.randoms(use_true_random=False), st.sampled_from(ORDERS[1:]))
def test_the_order_of_rows_does_not_matter(soft, rows, random, order):
    X, y, concepts = _test(rows)
    moved = np.array(random.sample(range(30), 30))
    one = intervention_curve(soft, X, y, concepts, order=order)
    other = intervention_curve(
        soft, X[moved], y[moved], concepts.iloc[moved], order=order
    )
    np.testing.assert_allclose(one.losses[:, moved], other.losses)


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"order": "best"},
            ValueError,
            r"order='best' is not known; use 'random', 'uncertainty', 'gain', or a "
            r"list of names of the concepts \(food, quiet, price\)",
        ),
        ({"order": None}, TypeError, "order must be 'random', .* got NoneType"),
        ({"order": {"food"}}, TypeError, "order must be 'random', .* got set"),
        ({"order": ["taste"]}, ValueError, "order names 'taste'; it must be 'random'"),
        ({"order": [0, 1]}, ValueError, "order names 0; it must be"),
        ({"order": []}, ValueError, r"order=\[\] must name at least one concept"),
        (
            {"order": ["food", "food"]},
            ValueError,
            r"order=\['food', 'food'\] must name .* none of them twice",
        ),
        (
            {"concepts": None},
            TypeError,
            "concepts must be a DataFrame.*got NoneType: the curve says what known",
        ),
        ({"concepts": {"food": ["good"] * 30}}, TypeError, "concepts must be .*dict"),
        (
            {"concepts": pd.DataFrame({"taste": ["good"] * 30})},
            ValueError,
            r"concepts must have the columns .*unknown: \['taste'\]",
        ),
        (
            {"concepts": np.full((30, 2), "good", dtype=object)},
            ValueError,
            "concepts has 2 columns, but the model was fitted with 3",
        ),
        (
            {"concepts": pd.DataFrame({"food": ["good"] * 29})},
            ValueError,
            "concepts has 29 rows, but X has 30",
        ),
        (
            {"concepts": pd.DataFrame({"food": ["zebra"] * 30})},
            ValueError,
            "concepts has the value 'zebra' for concept 'food', which was never seen",
        ),
        (
            {"concepts": pd.DataFrame({"food": [None] * 30})},
            ValueError,
            "concepts has no known value: all 30 rows are empty",
        ),
        (
            {"concepts": pd.DataFrame({"food": ["good"] * 30}), "order": ["price"]},
            ValueError,
            "concepts has no known value of price: all 30 rows",
        ),
        ({"y": ["never"] * 29}, ValueError, "y has 29 rows, but X has 30"),
        ({"y": None}, ValueError, "requires y to be passed"),
        (
            {"y": ["zebra"] * 30},
            ValueError,
            "y has the class 'zebra', which was not seen in fit; known classes: .'ag",
        ),
        ({"X": np.ones((30, 2))}, ValueError, "X has 2 features, but .* expecting 6"),
        ({"n_repeats": 0}, ValueError, "'n_repeats' parameter of intervention_curve"),
        ({"n_repeats": 1.5}, ValueError, "'n_repeats' parameter of intervention_curve"),
        ({"random_state": "x"}, ValueError, "'random_state' parameter of"),
        ({"sample_weight": np.ones(29)}, ValueError, r"sample_weight.shape == \(29,\)"),
        ({"sample_weight": -np.ones(30)}, ValueError, "Negative values .*sample_weig"),
        ({"sample_weight": np.zeros(30)}, ValueError, "at least one non-zero number"),
        (
            {"estimator": LogisticRegression()},
            TypeError,
            "estimator must be a fitted ConceptBottleneckClassifier, or a pipeline "
            "that ends in one, got LogisticRegression",
        ),
        (
            {"estimator": make_pipeline(StandardScaler(), LogisticRegression())},
            TypeError,
            "got LogisticRegression. No other model has concepts",
        ),
        (
            {"estimator": ConceptBottleneckClassifier},
            TypeError,
            "got the class ConceptBottleneckClassifier; pass an instance, fitted",
        ),
        (
            {"estimator": ConceptInfluenceExplainer(ConceptBottleneckClassifier())},
            TypeError,
            "got ConceptInfluenceExplainer.*From an explainer or a search, pass the",
        ),
        (
            {"estimator": ConceptBottleneckClassifier()},
            NotFittedError,
            "is not fitted yet",
        ),
        (
            {
                "estimator": make_pipeline(
                    StandardScaler(), ConceptBottleneckClassifier()
                )
            },
            NotFittedError,
            "is not fitted yet",
        ),
    ],
)
def test_bad_input(soft, rows, change, error, message):
    X, y, concepts = _test(rows)
    arguments = {"estimator": soft, "X": X, "y": y, "concepts": concepts, **change}
    with pytest.raises(error, match=message):
        intervention_curve(**arguments)


def test_models_that_have_nothing_to_correct(rows):
    X, y, concepts = (part[TRAIN] for part in rows)
    black_box = ConceptBottleneckClassifier().fit(X, y)
    with pytest.raises(ValueError, match="intervention_curve needs a model with conc"):
        _curve(black_box, rows)
    logit = clone(black_box).set_params(bottleneck="logit").fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="bottleneck='logit': a known value has no lo"):
        _curve(logit, rows)


@pytest.mark.parametrize("order", ["uncertainty", "influence"])
def test_continuous_concepts_have_no_probabilities(rows, order):
    X, y, concepts = rows
    concepts = concepts.assign(heat=X[:, 3] + 0.25).astype({"heat": float})
    clf = _fitted((X, y, concepts))
    with pytest.raises(
        ValueError,
        match=f"order='{order}' needs predicted probabilities of every concept, but "
        "'heat' is continuous and has none. Use order='random' or a list of names",
    ):
        _curve(clf, (X, y, concepts), order=order)


# --- The drawing ----------------------------------------------------------------------


def test_the_drawing(soft, rows):
    plt = pytest.importorskip("matplotlib.pyplot")
    curve = _curve(soft, rows, random_state=0)
    _, ax = plt.subplots()
    display = InterventionCurveDisplay(curve).plot(score="accuracy", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert ax.get_xlabel() == "concepts corrected in each row"
    assert ax.get_ylabel() == "accuracy of the label"
    np.testing.assert_array_equal(display.line_.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_array_equal(display.line_.get_ydata(), curve.accuracy)
    corners = display.fill_between_.get_paths()[0].vertices
    changes = curve.changes("accuracy", since="start")
    at_last = corners[corners[:, 0] == 3, 1]
    ends = curve.accuracy[0] + changes[["low", "high"]].iloc[-1]
    assert (at_last.min(), at_last.max()) == pytest.approx(tuple(ends))
    assert set(corners[corners[:, 0] == 0, 1]) == {curve.accuracy[0]}
    other = InterventionCurveDisplay.from_estimator(
        soft, *_test(rows), order="influence", ax=ax
    )
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["random (mean of 10)", "influence"]
    np.testing.assert_array_equal(other.line_.get_ydata(), other.curve.log_loss)
    assert ax.get_ylabel() == "log-loss of the label (nats)"
    alone = InterventionCurveDisplay.from_estimator(
        soft,
        *_test(rows),
        n_repeats=2,
        random_state=1,
        sample_weight=np.arange(30.0),
        score="accuracy",
    )
    assert alone.ax_ is not ax
    assert alone.ax_.get_ylabel() == "accuracy of the label"
    expected = _curve(
        soft, rows, n_repeats=2, random_state=1, sample_weight=np.arange(30.0)
    )
    np.testing.assert_array_equal(alone.line_.get_ydata(), expected.accuracy)
    with pytest.raises(ValueError, match="score='f1' is not known; use 'log_loss' or"):
        display.plot(score="f1")
    plt.close("all")


def test_a_drawing_without_matplotlib(soft, rows, monkeypatch):
    imports = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "skclif\[plots\]"'):
        InterventionCurveDisplay(_curve(soft, rows)).plot()
