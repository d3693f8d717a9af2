"""Influence is judged as its definition says, and what is useful scores well."""

import builtins

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.metrics import RemovalCurveDisplay, linear_datamodeling_score, removal_curve

from ..data import make_concept_data

TRAIN, DEV, TEST = slice(0, 120), slice(120, 180), slice(180, 260)


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


@pytest.fixture(scope="module", params=SEEDS)
def noisy(request):
    """Return data whose first 12 training rows have wrong labels."""
    X, y, concepts = make_concept_data(260, seed=request.param)
    y[:12] = np.where(y[:12] == "never", "again", "never")
    return X, y, concepts


@pytest.fixture(scope="module")
def explainer(noisy):
    X, y, concepts = noisy
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(X[TRAIN], y[TRAIN], concepts=concepts[TRAIN])


@pytest.fixture(scope="module")
def small():
    """Return X, y, X_test, y_test, influence of something that trains in a moment."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + rng.normal(size=60), [-1, 1])]
    explainer = ConceptInfluenceExplainer(_logistic()).fit(X[:45], y[:45])
    influence = explainer.influence(X[45:], y[45:]).values
    return X[:45], y[:45], X[45:], y[45:], influence


def _logistic():
    return LogisticRegression(solver="newton-cholesky", tol=1e-8)


def _lds(small, influence=None, estimator=None, **options):
    X, y, X_test, y_test, own = small
    options = {"n_subsets": 8, "random_state": 0, **options}
    return linear_datamodeling_score(
        estimator or _logistic(),
        X,
        y,
        own if influence is None else influence,
        **{"X_test": X_test, "y_test": y_test, **options},
    )


def _curve(small, influence=None, estimator=None, **options):
    X, y, X_test, y_test, own = small
    options = {"removal_sizes": [3, 6], "random_state": 0, **options}
    return removal_curve(
        estimator or _logistic(),
        X,
        y,
        own if influence is None else influence,
        **{"X_test": X_test, "y_test": y_test, **options},
    )


BOTH = pytest.mark.parametrize("judge", [_lds, _curve], ids=["lds", "curve"])


# --- Usefulness -----------------------------------------------------------------------


def test_influence_scores_high_and_shuffled_influence_does_not(noisy, explainer):
    X, y, concepts = noisy
    own = explainer.influence(X[DEV], y[DEV], paths=True)
    shuffled = np.random.default_rng(0).permuted(own.totals, axis=1)
    scores = linear_datamodeling_score(
        ConceptBottleneckClassifier(),
        X[TRAIN],
        y[TRAIN],
        {"own": own, "shuffled": shuffled, "negated": -own.totals},
        X_test=X[DEV],
        y_test=y[DEV],
        params={"concepts": concepts[TRAIN]},
        n_subsets=30,
        random_state=0,
    )
    assert scores["own"].score > 0.7
    assert abs(scores["shuffled"].score) < 0.2
    # Correlation is odd, and so is its jackknife.
    assert scores["negated"].score == pytest.approx(-scores["own"].score)
    assert scores["negated"].interval[0] == pytest.approx(-scores["own"].interval[1])


def test_harmful_rows_are_better_gone_and_helpful_ones_are_not(noisy, explainer):
    X, y, concepts = noisy
    curve = removal_curve(
        ConceptBottleneckClassifier(),
        X[TRAIN],
        y[TRAIN],
        explainer.influence(X[DEV], y[DEV], reduce="mean"),
        X_test=X[TEST],
        y_test=y[TEST],
        params={"concepts": concepts[TRAIN]},
        removal_sizes=[0.05, 0.1],
        n_repeats=3,
        random_state=0,
    )
    harmful, helpful, *random = curve.scores["neg_log_loss"]
    assert (harmful[1:] > np.max(random, axis=0)[1:]).all()
    assert helpful[-1] < np.mean(random, axis=0)[-1]
    assert (harmful[1:] > harmful[0]).all()


@pytest.mark.slow
def test_the_interval_holds_the_score_of_many_subsets(small):
    best = _lds(small, n_subsets=600).score
    found = [_lds(small, n_subsets=25, random_state=seed) for seed in range(1, 41)]
    held = [low <= best <= high for low, high in (result.interval for result in found)]
    # 95 % of 40 is 38; fewer than 33 would come up once in 5,000 times.
    assert sum(held) >= 33
    errors = [np.ptp(result.interval) / 2 / 2.064 for result in found]
    spread = np.std([result.score for result in found])
    assert 0.6 * spread < np.mean(errors) < 1.6 * spread


# --- The definitions, done naively ----------------------------------------------------


def test_the_score_is_what_its_definition_says(small):
    X, y, X_test, y_test, influence = small
    result = _lds(small)
    assert result.subsets.shape == (8, round(0.5 * 45))
    losses, sums = [], []
    for rows in result.subsets:
        assert set(y[rows]) == {"a", "b", "c"}
        assert len(set(rows)) == len(rows)
        clf = _logistic().fit(X[rows], y[rows])
        proba = clf.predict_proba(X_test)
        columns = [list(clf.classes_).index(label) for label in y_test]
        losses.append([-np.log(proba[t, c]) for t, c in enumerate(columns)])
        sums.append([sum(influence[t, i] for i in rows) for t in range(len(X_test))])
    losses, sums = np.transpose(losses), np.transpose(sums)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-12)

    def mean_correlation(kept):
        each = [
            spearmanr(a[kept], b[kept])[0] for a, b in zip(sums, losses, strict=True)
        ]
        return each, np.mean(each)

    each, mean = mean_correlation(np.arange(8))
    np.testing.assert_allclose(result.per_target, each, atol=1e-14)
    assert result.score == pytest.approx(mean, abs=1e-14)
    without = [mean_correlation(np.delete(np.arange(8), s))[1] for s in range(8)]
    error = np.sqrt(7 / 8 * np.sum((without - np.mean(without)) ** 2))
    # 2.364624: the 97.5 % point of Student's t with 7 degrees of freedom.
    expected = np.clip([mean - 2.364624 * error, mean + 2.364624 * error], -1, 1)
    np.testing.assert_allclose(result.interval, expected, rtol=1e-6)


def test_the_curve_is_what_its_definition_says(small):
    X, y, X_test, y_test, influence = small
    curve = _curve(small, removal_sizes=[6, 3, 3], n_repeats=2)
    assert curve.n_removed.tolist() == [0, 3, 6]
    assert curve.orders == ("harmful", "helpful", "random", "random")
    harm = influence.mean(axis=0)
    for sign, order in ((-1, 0), (1, 1)):
        for s, size in enumerate([0, 3, 6]):
            kept = np.delete(np.arange(45), np.argsort(sign * harm)[:size])
            clf = _logistic().fit(X[kept], y[kept])
            loss = log_loss(y_test, clf.predict_proba(X_test))
            accuracy = accuracy_score(y_test, clf.predict(X_test))
            assert curve.scores["neg_log_loss"][order, s] == pytest.approx(-loss)
            assert curve.scores["accuracy"][order, s] == accuracy
    random = curve.scores["neg_log_loss"][2:]
    assert random[0, 0] == random[1, 0] == curve.scores["neg_log_loss"][0, 0]
    assert random[0, 1] != random[1, 1]


def test_what_random_subsets_are(small):
    X, y, X_test, y_test, influence = small
    y = np.array(["rare", *y[1:]])
    result = _lds((X, y, X_test, y_test, influence), n_subsets=200)
    share = np.mean([np.isin(np.arange(45), rows) for rows in result.subsets], axis=0)
    assert share[0] == 1
    # The other 44 rows share 21 places; 0.18 is five standard errors.
    np.testing.assert_allclose(share[1:], 21 / 44, atol=0.18)
    assert len({tuple(rows) for rows in result.subsets}) == 200


def test_without_rare_classes_subsets_are_starts_of_permutations(small):
    X, y, *_ = small
    subsets = _lds(small, random_state=3).subsets
    rng = np.random.RandomState(3)
    for rows in subsets:
        assert rows.tolist() == sorted(rng.permutation(len(y))[:22].tolist())


def test_targets_that_cannot_be_ranked_score_zero(small):
    X, y, X_test, y_test, influence = small
    influence = influence.copy()
    influence[2] = 0
    result = _lds((X, y, X_test, y_test, influence))
    assert result.per_target[2] == 0
    assert (np.delete(result.per_target, 2) != 0).all()


# --- Invariances ----------------------------------------------------------------------

FEW = settings(max_examples=10, deadline=None, derandomize=True)


@FEW
@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_scale_and_offset_of_influence_do_not_matter(small, scale, offset):
    # All subsets are of one size, so an offset is the same for all of them.
    own, other = (
        _lds(small, influence, n_subsets=5)
        for influence in (small[4], scale * (small[4] + offset * np.ptp(small[4])))
    )
    np.testing.assert_array_equal(own.per_target, other.per_target)


@FEW
@given(st.randoms(use_true_random=False))
def test_the_order_of_training_rows_does_not_matter(small, random):
    X, y, X_test, y_test, influence = small
    order = random.sample(range(len(X)), len(X))
    other = (X[order], y[order], X_test, y_test, influence[:, order])
    own, other = _curve(small, n_repeats=1), _curve(other, n_repeats=1)
    # Other random rows are removed; harmful and helpful ones are the same.
    np.testing.assert_allclose(
        own.scores["neg_log_loss"][:2], other.scores["neg_log_loss"][:2], rtol=1e-6
    )


@FEW
@given(st.randoms(use_true_random=False))
def test_the_same_subsets_of_rows_in_another_order_score_the_same(small, random):
    X, y, X_test, y_test, influence = small
    order = np.array(random.sample(range(len(X)), len(X)))
    own = _lds(small)
    place = np.argsort(order)
    for rows, losses in zip(own.subsets, own.losses.T, strict=True):
        clf = _logistic().fit(X[order][place[rows]], y[order][place[rows]])
        codes = np.searchsorted(clf.classes_, y_test)
        proba = clf.predict_proba(X_test)[np.arange(len(y_test)), codes]
        np.testing.assert_allclose(-np.log(proba), losses, rtol=1e-6)
        np.testing.assert_allclose(
            influence[:, order][:, place[rows]].sum(axis=1),
            influence[:, rows].sum(axis=1),
        )


@FEW
@given(st.randoms(use_true_random=False))
def test_the_order_of_targets_does_not_matter(small, random):
    X, y, X_test, y_test, influence = small
    order = random.sample(range(len(X_test)), len(X_test))
    own = _lds(small, n_subsets=5)
    other = _lds((X, y, X_test[order], y_test[order], influence[order]), n_subsets=5)
    np.testing.assert_array_equal(own.per_target[order], other.per_target)


# --- What may come in -----------------------------------------------------------------


def test_several_influences_are_judged_as_each_by_itself(small):
    influence = small[4]
    both = _lds(small, {"own": influence, "noise": np.sin(1e4 * influence)})
    assert list(both) == ["own", "noise"]
    np.testing.assert_array_equal(both["own"].per_target, _lds(small).per_target)
    assert both["own"].losses is both["noise"].losses


@BOTH
def test_results_of_the_explainer_are_read(small, judge):
    X, y, X_test, y_test, influence = small
    explainer = ConceptInfluenceExplainer(_logistic()).fit(X, y)
    result = explainer.influence(X_test, y_test)
    assert repr(judge(small, result)) == repr(judge(small, influence))


@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_texts(kind):
    texts = ["good soup", "bad soup", "good room", "bad room", "so good", "so bad"] * 4
    y = np.array([1, 0] * 12)
    pipe = make_pipeline(CountVectorizer(), MultinomialNB())
    data = (kind(texts), y, kind(texts[:2]), y[:2], np.ones((2, 24)))
    assert _lds(data, estimator=pipe).score == 0
    assert _curve(data, estimator=pipe).scores["accuracy"][0, 0] == 1


def test_sparse_features_frames_and_labels_of_series(small):
    X, y, X_test, y_test, influence = small
    expected = _lds(small).losses
    series = pd.Series(y, index=np.arange(100, 145))
    for kind in (sparse.coo_array, pd.DataFrame):
        data = (kind(X), series, kind(X_test), list(y_test), influence)
        np.testing.assert_allclose(_lds(data).losses, expected, rtol=1e-5)


@BOTH
def test_parameters_of_fit_are_sliced(small, judge):
    X, y, X_test, y_test, influence = small
    # Weight 0 is no row: the last ones have influence 0 and do not change a model.
    weights = np.r_[np.ones(45), np.zeros(5)]
    longer = (np.r_[X, X[:5]], np.r_[y, y[:5]], X_test, y_test)
    longer = (*longer, np.pad(influence, [(0, 0), (0, 5)]))
    pipe = make_pipeline(StandardScaler(), _logistic())
    clf, params = _logistic(), {"sample_weight": weights}
    weighted = judge(longer, params=params)
    piped = judge(
        longer,
        estimator=make_pipeline(clone(clf)),
        params={"logisticregression__sample_weight": weights},
    )
    assert repr(weighted) == repr(piped)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = _logistic().set_fit_request(sample_weight=True)
        assert repr(judge(longer, estimator=asking, params=params)) == repr(weighted)
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            judge(longer, estimator=pipe, params=params)


def test_concepts_are_sliced_with_routing_on_and_off(noisy):
    X, y, concepts = (part[:60] for part in noisy)
    data = (X, y, noisy[0][DEV][:5], noisy[1][DEV][:5], np.ones((5, 60)))
    pipe = make_pipeline(StandardScaler(), ConceptBottleneckClassifier())
    off = {"conceptbottleneckclassifier__concepts": concepts}
    expected = _lds(data, estimator=pipe, params=off, n_subsets=5).losses
    with sklearn.config_context(enable_metadata_routing=True):
        on = {"concepts": concepts}
        found = _lds(data, estimator=pipe, params=on, n_subsets=5).losses
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_the_number_of_jobs_does_not_matter(small):
    np.testing.assert_allclose(_lds(small).losses, _lds(small, n_jobs=2).losses)


@BOTH
def test_the_random_state_decides(small, judge):
    def numbers(random_state):
        result = judge(small, random_state=random_state)
        return result.losses if judge is _lds else result.scores["neg_log_loss"]

    np.testing.assert_array_equal(numbers(0), numbers(np.random.RandomState(0)))
    assert (numbers(0) != numbers(1)).any()


def test_test_rows_of_some_classes_only(small):
    X, y, X_test, y_test, influence = small
    kept = y_test != "c"
    curve = _curve((X, y, X_test[kept], y_test[kept], influence))
    clf = _logistic().fit(X, y)
    expected = log_loss(
        y_test[kept], clf.predict_proba(X_test[kept]), labels=list("abc")
    )
    assert curve.scores["neg_log_loss"][0, 0] == pytest.approx(-expected)


def _hits(estimator, X, y):
    return float((estimator.predict(X) == y).sum())


@pytest.mark.parametrize(
    ("scoring", "names"),
    [
        ("accuracy", ["accuracy"]),
        (["accuracy", "neg_log_loss"], ["accuracy", "neg_log_loss"]),
        (_hits, ["_hits"]),
        (make_scorer(accuracy_score), ["score"]),
        (None, ["score"]),
        ({"right": "accuracy", "hits": _hits}, ["right", "hits"]),
    ],
)
def test_scorers(small, scoring, names):
    curve = _curve(small, scoring=scoring)
    assert list(curve.scores) == names
    assert {values.shape for values in curve.scores.values()} == {(7, 3)}


def test_removal_of_shares(small):
    assert _curve(small, removal_sizes=[0.001, 0.1, 0.101]).n_removed.tolist() == [
        0,
        1,
        4,
        5,
    ]
    shares = _curve(small, removal_sizes=(0.05, 0.1, 0.2, 0.3)).n_removed.tolist()
    assert shares == _curve(small, removal_sizes=[2, 4, 9, 14]).n_removed.tolist()


# --- Errors ---------------------------------------------------------------------------


class _Forgetful(ClassifierMixin, BaseEstimator):
    """A classifier that drops the class "c"."""

    def fit(self, X, y):
        self.inner_ = _logistic().fit(X[y != "c"], y[y != "c"])
        self.classes_ = self.inner_.classes_
        return self

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)

    def predict(self, X):
        return self.inner_.predict(X)


class _Picky(ClassifierMixin, BaseEstimator):
    """A classifier that wants all rows."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if len(X) < 45:
            raise RuntimeError("too few rows")
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)

    predict = predict_proba


@BOTH
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"influence": np.ones(45)},
            ValueError,
            r"influence must be an array of numbers, of shape \(\w+, 45\): Expected 2D",
        ),
        (
            {"influence": np.ones((15, 44))},
            ValueError,
            r"influence has shape \(15, 44\), but must have shape \(\w+, 45\): one row",
        ),
        (
            {"influence": np.ones((45, 15))},
            ValueError,
            r"It looks transposed; pass its \.T\.$",
        ),
        (
            {"influence": np.full((15, 45), np.nan)},
            ValueError,
            "Input influence contains NaN",
        ),
        (
            {"influence": np.ma.masked_less(np.eye(15, 45), 1)},
            ValueError,
            "influence is a masked array with 660 masked entries",
        ),
        (
            {"influence": [["much"] * 45] * 15},
            ValueError,
            "influence must be an array of numbers.*could not convert string",
        ),
        (
            {"estimator": FrozenEstimator(_logistic())},
            ValueError,
            "estimator is frozen",
        ),
        (
            {"estimator": make_pipeline(FrozenEstimator(_logistic()))},
            ValueError,
            "estimator is frozen, so it cannot be retrained",
        ),
        ({"estimator": StandardScaler()}, ValueError, "'estimator' parameter of"),
        ({"estimator": LogisticRegression}, TypeError, "provide an instance"),
        ({"estimator": _Forgetful()}, ValueError, "does not know the class 'c'"),
        ({"params": [1]}, ValueError, "'params' parameter of"),
        (
            {"params": {"nothing": 1}},
            TypeError,
            "unexpected keyword argument 'nothing'",
        ),
        ({"n_jobs": 0.5}, ValueError, "'n_jobs' parameter of"),
        ({"random_state": "x"}, ValueError, "'random_state' parameter of"),
        ({"y_test": ["a"] * 14}, ValueError, "y_test has 14 rows, but X_test has 15"),
        (
            {"y_test": ["z"] * 15},
            ValueError,
            r"y_test has the class 'z', which no row of y has.*\['a', 'b', 'c'\]",
        ),
        ({"X_test": 3}, TypeError, "X_test must be an array, a DataFrame or a list"),
    ],
)
def test_bad_input(small, judge, change, error, message):
    with pytest.raises(error, match=message):
        judge(small, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subset_fraction": 1.0}, "'subset_fraction' parameter of"),
        ({"subset_fraction": 0.04}, "subset_fraction=0.04 leaves 2 rows of 45"),
        ({"n_subsets": 4}, "'n_subsets' parameter of"),
        (
            {"influence": {"mine": np.ones((3, 45))}},
            r"influence\['mine'\] has shape \(3, 45\), but must have shape \(15, 45\)",
        ),
        (
            {"influence": {}},
            "influence is an empty dict; give it one influence or more",
        ),
        ({"estimator": DummyClassifier(strategy="uniform")}, "nothing to predict"),
        ({"estimator": SVC()}, "implementing 'fit' and 'predict_proba'"),
    ],
)
def test_bad_input_of_the_score(small, change, message):
    with pytest.raises(ValueError, match=message):
        _lds(small, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"removal_sizes": []}, r"removal_sizes=\[\] must be shares of the training"),
        ({"removal_sizes": [0]}, r"removal_sizes=\[0\] must be shares"),
        ({"removal_sizes": [1.5]}, r"removal_sizes=\[1.5\] must be shares"),
        ({"removal_sizes": "all"}, "removal_sizes='all' must be shares"),
        ({"removal_sizes": [[1], [1, 2]]}, "removal_sizes must be a list of shares"),
        ({"removal_sizes": [43]}, "removing 43 leaves 2 rows of 45, but every model"),
        ({"removal_sizes": [42]}, "removing the 42 most harmful rows leaves none of"),
        ({"n_repeats": 0}, "'n_repeats' parameter of"),
        ({"scoring": "nothing"}, "'nothing' is not a valid scoring value"),
        ({"scoring": 3}, "'scoring' parameter of"),
    ],
)
def test_bad_input_of_the_curve(small, change, message):
    with pytest.raises(ValueError, match=message):
        _curve(small, **change)


def test_how_far_removal_can_go_is_said_and_holds(small):
    with pytest.raises(ValueError, match=r"Remove at most \d+\.$") as caught:
        _curve(small, removal_sizes=[42])
    most = int(str(caught.value).split()[-1][:-1])
    assert _curve(small, removal_sizes=[most], n_repeats=1).n_removed[-1] == most


@BOTH
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top": 3}, "influence was computed with top=…"),
        ({"groups": np.arange(45) % 2}, "influence was computed with groups=…"),
        ({"target": "margin"}, "influence is on the margin, but it is judged by"),
    ],
)
def test_results_that_say_something_else(small, judge, asked, message):
    X, y, X_test, y_test, _ = small
    explainer = ConceptInfluenceExplainer(_logistic()).fit(X, y)
    with pytest.raises(ValueError, match=message):
        judge(small, explainer.influence(X_test, y_test, **asked))


def test_errors_of_retraining_say_where_they_came_up(small):
    with pytest.raises(RuntimeError, match="too few rows") as caught:
        _lds(small, estimator=_Picky())
    assert caught.value.__notes__ == ["This came up in retraining on 22 of 45 rows."]


# --- Results --------------------------------------------------------------------------


def test_what_the_score_shows(small):
    result = _lds(small)
    low, high = result.interval
    assert repr(result) == (
        f"<LinearDatamodelingScore {result.score:.3f}, 95 % interval {low:.3f} to "
        f"{high:.3f}: 15 targets, 8 subsets of 22 rows>"
    )
    frame = result.to_frame()
    assert frame.columns.tolist() == ["target", "score", "mean_loss", "std_loss"]
    assert frame["score"].mean() == pytest.approx(result.score)
    with pytest.raises(AttributeError, match="cannot assign"):
        result.score = 1.0


def test_what_the_curve_shows(small):
    curve = _curve(small, n_repeats=2)
    assert repr(curve) == (
        "<RemovalCurve of neg_log_loss, accuracy: up to 6 of 45 rows removed; harmful, "
        "helpful, 2 random>"
    )
    frame = curve.to_frame()
    expected = ["order", "draw", "n_removed", "neg_log_loss", "accuracy"]
    assert frame.columns.tolist() == expected
    assert frame.index.tolist() == list(range(12))
    assert frame["draw"].tolist() == [0] * 9 + [1] * 3
    assert frame["n_removed"].tolist() == [0, 3, 6] * 4
    last = frame.query("order == 'helpful' and n_removed == 6")["accuracy"]
    assert last.tolist() == [curve.scores["accuracy"][1, 2]]


def test_the_drawing(small):
    plt = pytest.importorskip("matplotlib.pyplot")
    curve = _curve(small)
    _, ax = plt.subplots()
    display = RemovalCurveDisplay(curve).plot(score="accuracy", ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rows removed of 45", "accuracy")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[2] == "random: mean and range of 5"
    harmful, helpful, *random = curve.scores["accuracy"]
    for line, expected in zip(
        display.lines_, (harmful, helpful, np.mean(random, axis=0)), strict=True
    ):
        np.testing.assert_array_equal(line.get_xdata(), [0, 3, 6])
        np.testing.assert_array_equal(line.get_ydata(), expected)
    other = RemovalCurveDisplay(curve).plot()
    assert other.ax_ is not ax
    assert other.ax_.get_ylabel() == "neg_log_loss"
    with pytest.raises(ValueError, match="score='f1' is not in the curve; use one of"):
        display.plot(score="f1")
    plt.close("all")


def test_a_drawing_without_matplotlib(small, monkeypatch):
    imports = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "skclif\[plots\]"'):
        RemovalCurveDisplay(_curve(small)).plot()


# --- Progress -------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize(
    ("judge", "options", "n_fits"),
    [
        (linear_datamodeling_score, {"n_subsets": 5}, 5),
        (removal_curve, {"removal_sizes": [2, 4], "n_repeats": 1}, 7),
    ],
)
def test_retraining_shows_how_far_it_is(judge, options, n_fits, n_jobs, bars, capfd):
    rng = np.random.RandomState(0)
    X, y = rng.randn(30, 3), np.arange(30) % 2
    options |= {"X_test": X, "y_test": y, "random_state": 0, "n_jobs": n_jobs}
    influence = rng.randn(30, 30)
    with joblib.parallel_config(backend="threading"):
        silent = judge(LogisticRegression(), X, y, influence, **options)
        assert capfd.readouterr() == ("", "")
        watched = judge(LogisticRegression(), X, y, influence, **options, verbose=1)
    assert bars() == [("Retraining", n_fits, n_fits)]
    for name, value in vars(silent).items():
        np.testing.assert_equal(getattr(watched, name), value)


def test_what_does_not_say_whether_to_show_progress_is_refused():
    with pytest.raises(ValueError, match="The 'verbose' parameter of removal_curve"):
        removal_curve(
            LogisticRegression(), [], [], [], X_test=[], y_test=[], verbose=-1
        )
