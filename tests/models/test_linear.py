"""Explaining scikit-learn's LogisticRegression, and models that are frozen."""

import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif._models import linear
from skclif.exceptions import InfluenceWarning

from ..data import make_concept_data

N = 120
TIGHT = {"solver": "newton-cholesky", "tol": 1e-13, "max_iter": 1000}
MODELS = [
    {},
    {"C": 0.1, "class_weight": "balanced"},
    {"fit_intercept": False},
    {"C": np.inf},
    {"C": np.inf, "fit_intercept": False, "class_weight": {"never": 3.0}},
]


def _data(n_classes=3, n_samples=N, seed=0):
    X, y, _ = make_concept_data(n_samples, n_classes=n_classes, seed=seed)
    rng = np.random.default_rng(seed)
    flipped = rng.random(n_samples) < 0.2  # else C=inf has no optimum
    y = np.where(flipped, rng.permutation(y), y)
    return X, y, rng.uniform(0.2, 2, n_samples)


@pytest.fixture(scope="module")
def data():
    return _data()


def _losses(clf, X, y):
    codes = np.searchsorted(clf.classes_, y)
    return -np.log(clf.predict_proba(X)[np.arange(len(y)), codes])


def _class_weights(clf, y, weights):
    """Return the weights of rows with those of the classes, and no class_weight."""
    if clf.class_weight is None:
        return weights
    if clf.class_weight == "balanced":
        total, classes = weights.sum(), clf.classes_
        each = {k: total / len(classes) / weights[y == k].sum() for k in classes}
    else:
        each = clf.class_weight
    return weights * np.array([each.get(label, 1.0) for label in y])


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("params", MODELS, ids=str)
def test_first_order_equals_finite_differences_of_scikit_learn(params, n_classes):
    X, y, weights = _data(n_classes)
    X_test, y_test, _ = _data(n_classes, 7, seed=1)
    clf = LogisticRegression(**params)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, weights)
    influence = explainer.influence(X_test, y_test).values
    weights = _class_weights(explainer.estimator_, y, weights)
    plain = LogisticRegression(**{**params, "class_weight": None}, **TIGHT)
    step = 1e-4
    for row in (0, 11, 45):
        losses = []
        for factor in (1 + step, 1 - step):
            changed = weights.copy()
            changed[row] *= factor
            losses.append(_losses(plain.fit(X, y, changed), X_test, y_test))
        difference = (losses[0] - losses[1]) / (2 * step)
        # scikit-learn's own solver stops at about 1e-9, over a step of 1e-4.
        np.testing.assert_allclose(influence[:, row], difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("params", MODELS, ids=str)
def test_leverage_is_close_to_retraining_by_scikit_learn(params, n_classes):
    X, y, weights = _data(n_classes)
    X_test, y_test, _ = _data(n_classes, 50, seed=1)
    explainer = ConceptInfluenceExplainer(LogisticRegression(**params))
    result = explainer.fit(X, y, weights).influence(X_test, y_test, paths=True)
    assert result.paths == ("label",)
    weights = _class_weights(explainer.estimator_, y, weights)
    plain = LogisticRegression(**{**params, "class_weight": None}, **TIGHT)
    plain.fit(X, y, weights)
    truth = np.empty_like(result.totals)
    for row in range(N):
        changed = weights.copy()
        changed[row] = 0
        truth[:, row] = _losses(plain, X_test, y_test)
        without = LogisticRegression(**plain.get_params()).fit(X, y, changed)
        truth[:, row] -= _losses(without, X_test, y_test)
    error = np.linalg.norm(result.totals - truth) / np.linalg.norm(truth)
    # Measured: .045 with a penalty, .067 without, on 120 rows.
    bound = 0.1 if np.isinf(explainer.estimator.C) else 0.06
    assert error < bound


@pytest.mark.parametrize("method", ["newton", "leverage", "first_order"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_it_is_the_bottleneck_without_concepts(n_classes, method):
    X, y, weights = _data(n_classes)
    answers = []
    for clf in (
        LogisticRegression(C=0.3, class_weight="balanced"),
        ConceptBottleneckClassifier(C=0.3, class_weight="balanced"),
    ):
        explainer = ConceptInfluenceExplainer(clf, method=method).fit(X, y, weights)
        answers.append((explainer, explainer.influence(X, y)))
    (own, influence), (other, expected) = answers
    np.testing.assert_allclose(influence.values, expected.values, rtol=1e-6, atol=1e-10)
    np.testing.assert_allclose(own.predict_proba(X), other.predict_proba(X), rtol=1e-7)
    assert own.transform(X).shape == (N, 0)
    assert own.concept_names_in_.shape == (0,)
    with pytest.raises(ValueError, match="but the model has no concepts"):
        own.influence(X, target=("concept", "food", "good"))


def test_a_loose_fit_is_solved_on(data):
    X, y, _ = data
    loose = LogisticRegression(tol=0.1)
    explainer = ConceptInfluenceExplainer(loose).fit(X, y)
    tight = LogisticRegression(**TIGHT).fit(X, y)
    np.testing.assert_allclose(explainer.estimator_.coef_, tight.coef_, atol=1e-8)
    np.testing.assert_allclose(
        explainer.estimator_.intercept_, tight.intercept_, atol=1e-8
    )
    assert np.abs(loose.fit(X, y).coef_ - tight.coef_).max() > 1e-3
    assert not hasattr(explainer.estimator, "n_samples_")


def test_a_fit_that_cannot_be_solved_on_is_warned_of(data, monkeypatch):
    monkeypatch.setattr(linear, "_MAX_ITER", 1)
    loose = LogisticRegression(tol=0.5, C=100)
    with pytest.warns(ConvergenceWarning, match="gradient norm of .*, above 1e-10, so"):
        ConceptInfluenceExplainer(loose).fit(*data[:2])


@pytest.mark.parametrize("method", ["newton", "leverage", "first_order"])
def test_features_in_single_precision(data, method):
    X, y, _ = data
    single = ConceptInfluenceExplainer(LogisticRegression(), method=method)
    single.fit(X.astype("f4"), y)
    double = ConceptInfluenceExplainer(LogisticRegression(), method=method)
    double.fit(X.astype("f4").astype("f8"), y)
    own = single.influence(X.astype("f4"), y).values
    expected = double.influence(X.astype("f4"), y).values
    # Products over training rows are of single precision too: measured 1.4e-7.
    assert np.linalg.norm(own - expected) <= 1e-5 * np.linalg.norm(expected)


def test_at_the_end_of_a_pipeline(data):
    X, y, weights = data
    pipeline = make_pipeline(StandardScaler(), Normalizer(), LogisticRegression())
    explainer = ConceptInfluenceExplainer(pipeline).fit(X, y, weights)
    Z = explainer.estimator_[:-1].transform(X)
    alone = ConceptInfluenceExplainer(LogisticRegression()).fit(Z, y, weights)
    np.testing.assert_allclose(
        explainer.influence(X, y).values, alone.influence(Z, y).values, atol=1e-12
    )
    loaded = pickle.loads(pickle.dumps(explainer))
    np.testing.assert_array_equal(
        loaded.influence(X, y).values, explainer.influence(X, y).values
    )


def test_separable_classes_without_a_penalty_are_refused():
    X = np.r_[np.full((5, 1), -1.0), np.full((5, 1), 1.0)]
    explainer = ConceptInfluenceExplainer(LogisticRegression(C=np.inf))
    with pytest.raises(ValueError, match="C=inf has no optimum .* use a finite C"):
        explainer.fit(X, np.repeat([0, 1], 5))


@pytest.mark.parametrize("frozen", [False, True])
def test_quasi_separable_classes_without_a_penalty_are_refused(data, frozen):
    # Rows overlap in all columns except one, which is 0 but for a class's two rows.
    X, y, _ = data
    y = np.where(y == y[0], "a", "b")
    X = np.column_stack([X, np.zeros(len(X))])
    X[np.flatnonzero(y == "a")[:2], -1] = 1.0
    clf = LogisticRegression(C=np.inf)
    clf = FrozenEstimator(clf.fit(X, y)) if frozen else clf
    with pytest.raises(ValueError, match="a linear rule separates the classes"):
        ConceptInfluenceExplainer(clf).fit(X, y)
    with pytest.raises(ValueError, match="use a finite C"):
        InfluenceReweighter(LogisticRegression(C=np.inf), random_state=0).fit(X, y)


def test_rows_of_weight_0_do_not_make_classes_overlap():
    X = np.r_[np.full((5, 1), -1.0), np.full((5, 1), 1.0), [[2.0], [-2.0]]]
    y = np.r_[np.repeat([0, 1], 5), 0, 1]
    explainer = ConceptInfluenceExplainer(LogisticRegression(C=np.inf))
    explainer.fit(X, y)
    with pytest.raises(ValueError, match="C=inf has no optimum"):
        explainer.fit(X, y, np.r_[np.ones(10), 0, 0])


def test_what_is_too_large_to_decide_is_warned_of(data, monkeypatch):
    monkeypatch.setattr(linear, "LARGEST", 100)
    X, y, _ = data
    with pytest.warns(InfluenceWarning, match="was not decided, because .* 100. Use a"):
        ConceptInfluenceExplainer(LogisticRegression(C=np.inf)).fit(X, y)


def _without_a_class(data):
    X, y, _ = data
    return X, y, (y != y[0]).astype(float)


def test_balancing_a_class_without_weight_is_refused_by_name(data):
    X, y, weights = _without_a_class(data)
    clf = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    match = f"rows of the class '{y[0]}' have weight 0, .* use class_weight=None"
    for model in (
        ConceptInfluenceExplainer(clf),
        InfluenceReweighter(clf, random_state=0),
    ):
        with pytest.raises(ValueError, match=match):
            model.fit(X, y, sample_weight=weights)


def test_a_class_without_weight_need_not_be_balanced(data):
    X, y, weights = _without_a_class(data)
    clf = ConceptBottleneckClassifier(class_weight="balanced").fit(X, y, weights)
    assert clf.class_weight_[list(clf.classes_).index(y[0])] == 1


@pytest.mark.parametrize(
    ("clf", "error", "match"),
    [
        (
            LogisticRegression(l1_ratio=1.0, solver="saga"),
            ValueError,
            r"L1 penalty \(l1_ratio=1\) cannot be explained.*Use l1_ratio=0",
        ),
        (
            LogisticRegression(l1_ratio=0.3, solver="saga"),
            ValueError,
            r"L1 penalty \(l1_ratio=0.3\) cannot",
        ),
        (
            LogisticRegression(penalty="l1", solver="saga"),
            ValueError,
            r"L1 penalty \(l1_ratio=1\)",
        ),
        (
            LogisticRegression(solver="liblinear"),
            ValueError,
            "penalises the intercept too. Use solver='lbfgs' or 'newton-cholesky'",
        ),
        (
            LogisticRegressionCV(use_legacy_attributes=False),
            TypeError,
            r"got LogisticRegressionCV at the end. Choose C with it, then",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_refused_by_name(data, clf, error, match):
    for estimator in (clf, make_pipeline(StandardScaler(), clf)):
        with pytest.raises(error, match=match):
            ConceptInfluenceExplainer(estimator).fit(*data[:2])


def test_no_penalty_in_the_deprecated_spelling(data):
    X, y, _ = data
    with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
        old = ConceptInfluenceExplainer(LogisticRegression(penalty=None)).fit(X, y)
    new = ConceptInfluenceExplainer(LogisticRegression(C=np.inf)).fit(X, y)
    np.testing.assert_allclose(
        old.influence(X, y).values, new.influence(X, y).values, rtol=1e-5, atol=1e-9
    )


def test_concepts_are_not_for_logistic_regression(data):
    X, y, _ = data
    concepts = np.where(X[:, :2] > 0, "a", "b")
    for clf in (LogisticRegression(), FrozenEstimator(LogisticRegression().fit(X, y))):
        with pytest.raises(TypeError, match="LogisticRegression takes none; use Conce"):
            ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)


def test_words_in_a_pipeline():
    texts = ["good food", "bad food", "good soup", "bad soup"]
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression())
    explainer = ConceptInfluenceExplainer(pipeline).fit(texts, [1, 0, 1, 0])
    influence = explainer.influence(["good bread"], [1])
    assert influence.training["text"].tolist() == texts
    # Both good texts lower the loss of another one.
    np.testing.assert_array_equal(influence.values[0] < 0, [True, False, True, False])


# --- Frozen models --------------------------------------------------------------------


def _bottleneck_data():
    X, y, concepts = make_concept_data(N)
    return X, y, concepts, np.random.default_rng(0).uniform(0.2, 2, N)


@pytest.mark.parametrize("training", ["mixed", "sequential", "independent"])
def test_a_frozen_bottleneck_is_explained_as_it_is(training):
    X, y, concepts, weights = _bottleneck_data()
    clf = ConceptBottleneckClassifier(training=training, class_weight="balanced")
    expected = ConceptInfluenceExplainer(clf).fit(X, y, weights, concepts=concepts)
    clf.fit(X, y, weights, concepts=concepts)
    coef = clf.coef_
    frozen = ConceptInfluenceExplainer(FrozenEstimator(clf))
    frozen.fit(X, y, weights, concepts=concepts)
    assert clf.coef_ is coef
    np.testing.assert_array_equal(
        frozen.influence(X, y, paths=True).values,
        expected.influence(X, y, paths=True).values,
    )
    np.testing.assert_array_equal(frozen.predict(X), clf.predict(X))
    np.testing.assert_array_equal(frozen.transform(X), expected.transform(X))


@pytest.mark.parametrize("wrap", ["pipeline", "steps", "last"])
def test_frozen_pipelines(data, wrap):
    X, y, weights = data
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(**TIGHT))
    pipeline.fit(X, y, logisticregression__sample_weight=weights)
    coef = pipeline[-1].coef_.copy()
    frozen = {
        "pipeline": FrozenEstimator(pipeline),
        "steps": make_pipeline(*map(FrozenEstimator, pipeline)),
        "last": make_pipeline(StandardScaler(), FrozenEstimator(pipeline[-1])),
    }[wrap]
    explainer = ConceptInfluenceExplainer(frozen).fit(X, y, weights)
    np.testing.assert_array_equal(pipeline[-1].coef_, coef)
    np.testing.assert_array_equal(explainer.predict_proba(X), pipeline.predict_proba(X))
    expected = ConceptInfluenceExplainer(pipeline).fit(X, y, weights)
    np.testing.assert_allclose(
        explainer.influence(X, y).values, expected.influence(X, y).values, rtol=1e-6
    )


def _swap_rows(X, y, concepts, weights):
    order = np.arange(N)
    order[[3, 4]] = [4, 3]
    return X[order], y, concepts, weights


def _drop_a_row(X, y, concepts, weights):
    return X[1:], y[1:], concepts[1:], weights[1:]


def _relabel(X, y, concepts, weights):
    return X, np.r_[["again" if y[0] == "never" else "never"], y[1:]], concepts, weights


def _reweight(X, y, concepts, weights):
    return X, y, concepts, None


def _annotate(X, y, concepts, weights):
    changed = concepts.copy()
    row = int(np.flatnonzero(concepts["food"] == "good")[0])
    changed.loc[row, "food"] = "bad"
    return X, y, changed, weights


@pytest.mark.parametrize(
    "change", [_swap_rows, _drop_a_row, _relabel, _reweight, _annotate]
)
def test_other_data_than_the_frozen_models_are_refused(change):
    X, y, concepts, weights = _bottleneck_data()
    clf = ConceptBottleneckClassifier().fit(X, y, weights, concepts=concepts)
    X, y, concepts, weights = change(X, y, concepts, weights)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(clf))
    head = "food" if change is _annotate else r"\w+"
    match = rf"its '{head}' head is [\d.]+ times that of a typical training row"
    with pytest.raises(ValueError, match=match):
        explainer.fit(X, y, weights, concepts=concepts)
    assert not hasattr(explainer, "classes_")


def test_a_loosely_converged_frozen_model_is_refused(data):
    X, y, _ = data
    loose = LogisticRegression(tol=0.1).fit(X, y)
    match = r"'label' head is [\d.]+ times .* pass it without FrozenEstimator"
    with pytest.raises(ValueError, match=match):
        ConceptInfluenceExplainer(FrozenEstimator(loose)).fit(X, y)
    tight = LogisticRegression(**TIGHT).fit(X, y)
    ConceptInfluenceExplainer(FrozenEstimator(tight)).fit(X, y)


def test_what_a_frozen_model_must_be_given():
    X, y, concepts, _ = _bottleneck_data()
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(clf))
    with pytest.raises(ValueError, match="trained with annotations of food, quiet, pr"):
        explainer.fit(X, y)
    with pytest.raises(ValueError, match="y has the class 'sometimes', which the fro"):
        explainer.fit(X, np.r_[["sometimes"], y[1:]], concepts=concepts)
    with pytest.raises(ValueError, match="expecting 6 features"):
        explainer.fit(X[:, :5], y, concepts=concepts)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        ConceptInfluenceExplainer(FrozenEstimator(LogisticRegression())).fit(X, y)
