"""Reweighting inside and around scikit-learn's own estimators, and its contract."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from skclif import ConceptBottleneckClassifier, InfluenceReweighter, SentenceEmbedder
from skclif.exceptions import ReweightingWarning

N = 240
IS_CLEAN = np.arange(N) % 3 == 0


@pytest.fixture(scope="module")
def data():
    """Return X, labels of which some not clean ones are wrong, and which those are."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    right = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "up", "down")
    wrong = ~IS_CLEAN & (X[:, 2] > 0.5) & (right == "down")
    return X, np.where(wrong, "up", right), wrong


@pytest.fixture(scope="module")
def texts(data):
    words = np.array(["good", "food", "slow", "rude"])
    return [" ".join([*words[x > 0], "the"]) for x in data[0]]


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _reweighter(estimator=None, **params):
    """Return one whose weights surely differ from the given ones."""
    # An unfitted forest has a length, and it cannot be told.
    estimator = LogisticRegression() if estimator is None else estimator
    params = {"strength": 2.0, "n_rounds": 1, "cv": 3, "random_state": 0} | params
    return InfluenceReweighter(estimator, **params)


def _text_pipe():
    return Pipeline(
        [
            ("count", TfidfVectorizer()),
            ("svd", TruncatedSVD(3, random_state=0)),
            ("clf", LogisticRegression()),
        ]
    )


def _assert_wrong_labels_lost_weight(reweighter, y, wrong):
    """Compare them with right ones of their class, as all of it may lose weight."""
    weights = reweighter.sample_weight_
    right = ~wrong & ~IS_CLEAN & (y == "up")
    assert weights[wrong].mean() < 0.8 * weights[right].mean()


GRID = {
    "strength": ["auto", 1.0],
    "n_rounds": [1, 2],
    "estimator__clf__C": [0.1, 10.0],
}
SEARCHES = {
    "grid": lambda e: GridSearchCV(e, GRID, cv=2),
    "random": lambda e: RandomizedSearchCV(e, GRID, n_iter=3, cv=2, random_state=0),
    "halving": lambda e: HalvingGridSearchCV(
        e, GRID, cv=2, random_state=0, min_resources=120
    ),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_searches_tune_the_reweighter_and_what_is_inside(data, texts, kind):
    _, y, _ = data
    search = SEARCHES[kind](_reweighter(_text_pipe())).fit(texts, y, is_clean=IS_CLEAN)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    best = search.best_estimator_
    assert search.best_params_["estimator__clf__C"] == best.estimator_[-1].C
    assert best.n_rounds == search.best_params_["n_rounds"]
    assert set(search.predict(texts)) == {"down", "up"}


def test_a_search_over_embedded_texts(data, texts, tiny_encoder):
    _, y, _ = data
    embedder = SentenceEmbedder(tiny_encoder)
    pipe = make_pipeline(embedder, ConceptBottleneckClassifier())
    grid = {"strength": [0, 1.0], "estimator__conceptbottleneckclassifier__C": [1.0]}
    search = GridSearchCV(_reweighter(pipe), grid, cv=2)
    search.fit(texts, y, is_clean=IS_CLEAN)
    assert search.score(texts, y) > 0.7


@pytest.mark.usefixtures("routing")
def test_a_search_can_be_scored_on_clean_rows_only(data):
    X, y, _ = data
    reweighter = _reweighter().set_score_request(sample_weight="is_clean")
    splits = [(np.r_[0:160], np.r_[160:N]), (np.r_[80:N], np.r_[0:80])]
    search = GridSearchCV(reweighter, {"strength": [0, 4.0]}, cv=splits)
    search.fit(X, y, is_clean=IS_CLEAN)
    for i, strength in enumerate([0, 4.0]):
        for k, (train, test) in enumerate(splits):
            alone = _reweighter(strength=strength)
            alone.fit(X[train], y[train], is_clean=IS_CLEAN[train])
            clean = test[IS_CLEAN[test]]
            score = search.cv_results_[f"split{k}_test_score"][i]
            assert score == pytest.approx(alone.score(X[clean], y[clean]))
            assert score != pytest.approx(alone.score(X[test], y[test]))


def test_calibration_around_a_reweighter(data):
    X, y, _ = data
    calibrated = CalibratedClassifierCV(_reweighter(LinearSVC()), cv=2)
    calibrated.fit(X, y, is_clean=IS_CLEAN)
    for part in calibrated.calibrated_classifiers_:
        assert np.isnan(part.estimator.influence_).any()
    assert calibrated.predict_proba(X).shape == (N, 2)


def test_calibration_inside_a_reweighter(data):
    X, y, wrong = data
    reweighter = _reweighter(CalibratedClassifierCV(LinearSVC(), cv=2))
    reweighter.fit(X, y, is_clean=IS_CLEAN)
    _assert_wrong_labels_lost_weight(reweighter, y, wrong)
    assert reweighter.predict_proba(X).shape == (N, 2)


@pytest.mark.usefixtures("routing")
def test_one_against_the_rest_hands_on_which_rows_are_clean(data):
    X, y, _ = data
    y = np.where(X[:, 3] > 0.8, "other", y)
    fitted = OneVsRestClassifier(_reweighter()).fit(X, y, is_clean=IS_CLEAN)
    assert len(fitted.estimators_) == 3
    for part in fitted.estimators_:
        np.testing.assert_array_equal(np.isnan(part.influence_), IS_CLEAN)


@pytest.mark.usefixtures("routing")
def test_voting_hands_on_which_rows_are_clean(data):
    X, y, _ = data
    voting = VotingClassifier(
        [("nb", _reweighter(GaussianNB())), ("lr", _reweighter())], voting="soft"
    ).fit(X, y, is_clean=IS_CLEAN)
    for part in voting.estimators_:
        np.testing.assert_array_equal(np.isnan(part.influence_), IS_CLEAN)


def test_stacking_works_without_metadata(data):
    X, y, _ = data
    parts = [("nb", _reweighter(GaussianNB())), ("lr", _reweighter())]
    stack = StackingClassifier(parts, cv=2).fit(X, y)
    assert stack.score(X, y) > 0.8


@pytest.mark.parametrize(
    "classifier",
    [
        ConceptBottleneckClassifier(),
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestClassifier(10, random_state=0),
        SVC(),
        LinearSVC(),
        HistGradientBoostingClassifier(max_iter=5),
        GaussianNB(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_wrong_labels_lose_weight_for_any_classifier(data, classifier):
    X, y, wrong = data
    reweighter = _reweighter(classifier).fit(X, y, is_clean=IS_CLEAN)
    _assert_wrong_labels_lost_weight(reweighter, y, wrong)
    assert reweighter.classes_.tolist() == ["down", "up"]
    np.testing.assert_array_equal(
        reweighter.predict(X), reweighter.estimator_.predict(X)
    )
    for method in ("predict_proba", "decision_function"):
        assert hasattr(reweighter, method) == hasattr(reweighter.estimator_, method)


def test_missing_values_where_the_classifier_takes_them(data):
    X, y, wrong = data
    X = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    reweighter = _reweighter(HistGradientBoostingClassifier(max_iter=5))
    reweighter.fit(X, y, is_clean=IS_CLEAN)
    _assert_wrong_labels_lost_weight(reweighter, y, wrong)
    assert set(reweighter.predict(X)) == {"down", "up"}
    with pytest.raises(ValueError, match="NaN"):
        _reweighter().fit(X, y, is_clean=IS_CLEAN)


@pytest.mark.parametrize(
    "surrogate",
    [
        None,
        LogisticRegression(),
        ConceptBottleneckClassifier(),
        make_pipeline(TruncatedSVD(3, random_state=0), LogisticRegression()),
    ],
)
def test_sparse_features_with_every_surrogate(data, texts, surrogate):
    _, y, _ = data
    pipe = make_pipeline(TfidfVectorizer(), MultinomialNB())
    reweighter = _reweighter(pipe, surrogate=surrogate)
    reweighter.fit(texts, y, is_clean=IS_CLEAN)
    assert np.ptp(reweighter.sample_weight_) > 0.5
    counts = reweighter.estimator_[0].transform(texts)
    alone = MultinomialNB().fit(counts, y, reweighter.sample_weight_)
    np.testing.assert_allclose(
        reweighter.predict_proba(texts), alone.predict_proba(counts)
    )


def test_given_weights_are_multiplied(data):
    X, y, _ = data
    given = np.random.default_rng(0).uniform(0.5, 2, N)
    given[::7] = 0
    learned = _reweighter().fit(X, y, given, is_clean=IS_CLEAN).sample_weight_
    np.testing.assert_array_equal(learned == 0, given == 0)
    np.testing.assert_array_equal(learned[IS_CLEAN], given[IS_CLEAN])
    assert learned.sum() == pytest.approx(given.sum())
    moved = ~IS_CLEAN & (given > 0)
    assert np.ptp(learned[moved] / given[moved]) > 0.5


def test_rows_of_weight_zero_change_nothing(data):
    X, y, _ = data
    kept = np.arange(N) % 7 > 0
    with_them = _reweighter(cv=_splits(kept)).fit(
        X, y, kept.astype(float), is_clean=IS_CLEAN
    )
    without = _reweighter(cv=_splits(kept, kept)).fit(
        X[kept], y[kept], is_clean=IS_CLEAN[kept]
    )
    np.testing.assert_allclose(
        with_them.sample_weight_[kept], without.sample_weight_, rtol=1e-4
    )
    assert np.isnan(with_them.influence_[~kept]).all()


def _splits(kept, among=None):
    """Return three folds of the clean rows that are kept, as positions."""
    number = np.cumsum(kept & IS_CLEAN) % 3
    among = np.ones(N, bool) if among is None else among
    folds = [(kept & IS_CLEAN & (number == k))[among] for k in range(3)]
    return [(np.flatnonzero(~fold), np.flatnonzero(fold)) for fold in folds]


@pytest.mark.parametrize("max_weight", [1.5, 2.0, 10.0])
@pytest.mark.parametrize("strength", [1.0, 20.0, 1e4])
def test_no_class_loses_all_its_weight(max_weight, strength):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    clean, rare = np.arange(400) < 200, np.arange(400) % 20 == 0
    y = np.where(rare, "rare", np.where(X[:, 0] > 0, "up", "down"))
    # Rare rows that are not clean lie where clean ones are not: all of them harm.
    X[rare, 1] += np.where(clean[rare], 6, -6)
    reweighter = _reweighter(strength=strength, n_rounds=2, max_weight=max_weight)
    weights = reweighter.fit(X, y, is_clean=clean).sample_weight_
    assert weights[rare & ~clean].mean() < 0.8
    # A tenth of the average weight, which is 1, and that had to be lifted a little.
    assert weights[rare & ~clean].mean() > 0.09


@pytest.mark.parametrize("strength", [1e3, 1e6])
def test_no_strength_gives_weights_that_vanish_or_overflow(data, strength):
    X, y, _ = data
    reweighter = _reweighter(ConceptBottleneckClassifier(), strength=strength)
    weights = reweighter.fit(X, y, is_clean=IS_CLEAN).sample_weight_
    assert weights.min() > 1e-13
    assert weights.max() < N
    assert weights.sum() == pytest.approx(N)


def test_learned_weights_serve_an_unrelated_pipeline(data):
    X, y, _ = data
    weights = _reweighter().fit(X, y, is_clean=IS_CLEAN).sample_weight_
    pipe = Pipeline([("scale", StandardScaler()), ("clf", GaussianNB())])
    plain = clone(pipe).fit(X, y).predict_proba(X)
    weighted = clone(pipe).fit(X, y, clf__sample_weight=weights).predict_proba(X)
    assert not np.allclose(plain, weighted)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize(
    "classifier",
    # A forest tells rows of weight 0 from rows that are not there.
    [LogisticRegression(), RandomForestClassifier(10, random_state=0)],
    ids=lambda c: type(c).__name__,
)
def test_validation_rows_train_the_classifier_only_if_included(
    data, classifier, include
):
    X, y, wrong = data
    rest = ~IS_CLEAN
    reweighter = _reweighter(classifier, include_validation=include)
    reweighter.fit(X[rest], y[rest], X_val=X[IS_CLEAN], y_val=y[IS_CLEAN])
    weights = reweighter.sample_weight_
    assert weights.shape == (rest.sum(),)
    assert weights[wrong[rest]].mean() < 0.8 * weights[~wrong[rest]].mean()
    rows = np.flatnonzero(rest)
    if include:
        rows = np.r_[rows, np.flatnonzero(IS_CLEAN)]
        weights = np.r_[weights, np.ones(IS_CLEAN.sum())]
    alone = clone(classifier).fit(X[rows], y[rows], weights)
    np.testing.assert_allclose(
        reweighter.predict_proba(X), alone.predict_proba(X), rtol=1e-6
    )


def test_validation_rows_are_as_good_as_clean_ones_among_the_others(data):
    X, y, _ = data
    rest = ~IS_CLEAN
    order = np.r_[np.flatnonzero(rest), np.flatnonzero(IS_CLEAN)]
    inside = _reweighter().fit(X[order], y[order], is_clean=IS_CLEAN[order])
    beside = _reweighter().fit(X[rest], y[rest], X_val=X[IS_CLEAN], y_val=y[IS_CLEAN])
    n_rest = rest.sum()
    np.testing.assert_allclose(inside.sample_weight_[:n_rest], beside.sample_weight_)
    np.testing.assert_allclose(inside.estimator_.coef_, beside.estimator_.coef_)


def test_clean_rows_that_are_not_included_have_no_weight(data):
    X, y, _ = data
    reweighter = _reweighter(include_validation=False).fit(X, y, is_clean=IS_CLEAN)
    np.testing.assert_array_equal(reweighter.sample_weight_ == 0, IS_CLEAN)
    alone = LogisticRegression().fit(
        X[~IS_CLEAN], y[~IS_CLEAN], reweighter.sample_weight_[~IS_CLEAN]
    )
    np.testing.assert_allclose(reweighter.estimator_.coef_, alone.coef_, rtol=1e-6)


def test_clean_rows_of_a_class_of_their_own_are_always_included(data):
    X, y, _ = data
    own = IS_CLEAN & (X[:, 3] > 1)
    labels = np.where(own, "own", y)
    reweighter = _reweighter(include_validation=False)
    with pytest.warns(ReweightingWarning, match="'own' has clean rows only"):
        reweighter.fit(X, labels, is_clean=IS_CLEAN)
    np.testing.assert_array_equal(reweighter.sample_weight_ == 0, IS_CLEAN & ~own)
    assert reweighter.classes_.tolist() == ["down", "own", "up"]


@pytest.mark.parametrize("strength", ["auto", 1.0])
def test_too_few_clean_rows_of_a_class_leave_weights_as_given(data, strength):
    X, y, _ = data
    clean = IS_CLEAN & (y == "down")
    clean[np.flatnonzero(y == "up")[0]] = True
    given = np.linspace(0.5, 2, N)
    reweighter = _reweighter(strength=strength)
    with pytest.warns(ReweightingWarning, match="Class 'up' has 1 clean row") as caught:
        reweighter.fit(X, y, given, is_clean=clean)
    assert caught[0].filename == __file__
    assert reweighter.strength_ == reweighter.n_rounds_ == 0
    np.testing.assert_array_equal(reweighter.sample_weight_, given)
    assert np.isnan(reweighter.influence_).all()
    alone = LogisticRegression().fit(X, y, given)
    np.testing.assert_array_equal(reweighter.estimator_.coef_, alone.coef_)


def test_annotations_of_any_type_stay_what_they_are_beside_validation_rows(data):
    X, y, _ = data
    levels = np.digitize(X[:, 0], [-0.5, 0.5])
    concepts = pd.DataFrame({"level": levels, "sign": X[:, 1] > 0})
    reweighter = _reweighter(ConceptBottleneckClassifier())
    reweighter.fit(X, y, concepts=concepts, X_val=X[:60], y_val=y[:60])
    predicted = reweighter.estimator_.predict_concepts(X)
    plain = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    expected = plain.predict_concepts(X)
    assert predicted.dtypes.tolist() == expected.dtypes.tolist()
    assert set(predicted["level"]) == {0, 1, 2}
    assert set(predicted["sign"]) == {False, True}


def test_clean_rows_that_are_left_out_are_not_looked_at(data):
    X, y, _ = data
    boosting = HistGradientBoostingClassifier(max_iter=5, max_bins=10)
    reweighter = InfluenceReweighter(boosting, strength=0, include_validation=False)
    reweighter.fit(X, y, is_clean=IS_CLEAN)
    alone = boosting.fit(X[~IS_CLEAN], y[~IS_CLEAN])
    np.testing.assert_array_equal(reweighter.predict_proba(X), alone.predict_proba(X))


def test_annotations_come_back_in_the_container_they_were_given_in(data):
    X, y, _ = data
    codes = (X[:, :2] > 0).astype(int)
    for concepts in (codes, pd.DataFrame(codes, columns=["a", "b"])):
        reweighter = _reweighter(ConceptBottleneckClassifier())
        reweighter.fit(X, y, concepts=concepts, X_val=X[:60], y_val=y[:60])
        predicted = reweighter.estimator_.predict_concepts(X)
        assert type(predicted) is type(concepts)


class _CountingEmbedder(TransformerMixin, BaseEstimator):
    """Embed texts, and remember all that were."""

    embedded: list = []

    def fit(self, texts, y=None):
        return self

    def transform(self, texts):
        self.embedded.extend(texts)
        return np.array([[text.count(c) for c in "gsre"] for text in texts], float)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize("classifier", [LogisticRegression(), GaussianNB()])
def test_texts_are_embedded_once(data, texts, classifier):
    _, y, _ = data
    extra = [text + " extra" for text in texts[:50]]
    pipe = make_pipeline(_CountingEmbedder(), classifier)
    reweighter = _reweighter(pipe, strength="auto", n_rounds=2)
    _CountingEmbedder.embedded.clear()
    reweighter.fit(texts, y, is_clean=IS_CLEAN)
    assert _CountingEmbedder.embedded == texts
    _CountingEmbedder.embedded.clear()
    reweighter.fit(texts, y, X_val=extra, y_val=y[:50])
    assert _CountingEmbedder.embedded == texts + extra


def test_auto_tells_every_round_and_the_one_it_chose(data):
    X, y, _ = data
    reweighter = _reweighter(strength="auto", n_rounds=3).fit(X, y, is_clean=IS_CLEAN)
    history = reweighter.history_
    assert {len(column) for column in history.values()} == {4}
    assert list(history) == [
        "strength",
        "suspects",
        "signal",
        "log_loss",
        "std_error",
        "accuracy",
        "accuracy_std_error",
    ]
    np.testing.assert_array_equal(history["strength"], [0, 1, 2, 3])
    assert reweighter.strength_ == reweighter.n_rounds_ > 0
    best = history["log_loss"][reweighter.n_rounds_]
    assert best < history["log_loss"][0]
    assert history["accuracy"][reweighter.n_rounds_] >= history["accuracy"][0]


def test_auto_does_nothing_where_labels_are_noise(data):
    X, _, _ = data
    y = np.random.default_rng(1).permutation(np.arange(N) % 2)
    reweighter = _reweighter(strength="auto")
    with pytest.warns(ReweightingWarning, match="Weights stay as given") as caught:
        reweighter.fit(X, y, is_clean=IS_CLEAN)
    assert caught[0].filename == __file__
    assert reweighter.strength_ == reweighter.n_rounds_ == 0
    assert not reweighter.used_suspects_
    number = r"[+-]\d\.\d{3}"
    interval = rf"{number} \[{number}, {number}\]"
    assert re.fullmatch(
        "No label seems to be wrong. The best of 1 round of influence, strength=1, "
        rf"changed the log-loss of held-out clean rows by {interval} and their "
        rf"accuracy by {interval}: not taken, because the log-loss did not fall.",
        reweighter.reason_,
    )
    np.testing.assert_array_equal(reweighter.sample_weight_, np.ones(N))


def test_a_round_that_makes_things_worse_is_the_last(data):
    X, _, _ = data
    y = np.random.default_rng(1).permutation(np.arange(N) % 2)
    reweighter = _reweighter(strength="auto", n_rounds=5)
    with pytest.warns(ReweightingWarning, match="The best of 1 round of influence"):
        reweighter.fit(X, y, is_clean=IS_CLEAN)
    losses = reweighter.history_["log_loss"]
    assert len(losses) == 2
    assert losses[1] > losses[0]


def test_a_fixed_strength_is_spread_over_the_rounds(data):
    X, y, _ = data
    reweighter = _reweighter(strength=1.5, n_rounds=3).fit(X, y, is_clean=IS_CLEAN)
    assert list(reweighter.history_) == ["strength", "suspects", "signal"]
    assert not reweighter.history_["suspects"].any()
    assert reweighter.reason_ == "strength=1.5 in 3 rounds of influence was asked for."
    np.testing.assert_allclose(reweighter.history_["strength"], [0, 0.5, 1, 1.5])
    assert reweighter.strength_ == 1.5
    assert reweighter.n_rounds_ == 3


def test_strength_zero_is_the_classifier_itself(data):
    X, y, _ = data
    given = np.linspace(0.5, 2, N)
    reweighter = _reweighter(strength=0).fit(X, y, given, is_clean=IS_CLEAN)
    alone = LogisticRegression().fit(X, y, given)
    np.testing.assert_array_equal(reweighter.estimator_.coef_, alone.coef_)
    assert reweighter.strength_ == reweighter.n_rounds_ == 0
    assert reweighter.history_ == {}
    assert reweighter.reason_ == "strength=0 was asked for."


def test_fitting_twice_is_fitting_once(data):
    X, y, _ = data
    once = _reweighter().fit(X, y, is_clean=IS_CLEAN)
    twice = _reweighter().fit(X[:, :2], y == "up").fit(X, y, is_clean=IS_CLEAN)
    np.testing.assert_array_equal(once.sample_weight_, twice.sample_weight_)
    assert twice.classes_.tolist() == ["down", "up"]
    assert vars(once).keys() == vars(twice).keys()


def test_a_failed_fit_leaves_the_estimator_as_it_was(data):
    X, y, _ = data
    reweighter = _reweighter().fit(X, y, is_clean=IS_CLEAN)
    before = vars(reweighter).copy()
    reweighter.surrogate = GaussianNB()  # which has no influence
    with pytest.raises(TypeError, match="surrogate"):
        reweighter.fit(X, y == "up", is_clean=IS_CLEAN)
    reweighter.surrogate = None
    assert vars(reweighter) == before
    assert set(reweighter.predict(X)) == {"down", "up"}


def test_clones_are_unfitted_and_pickles_predict_the_same(data):
    X, y, _ = data
    fitted = _reweighter().fit(X, y, is_clean=IS_CLEAN)
    assert not hasattr(clone(fitted), "estimator_")
    assert str(clone(fitted).get_params()) == str(fitted.get_params())
    restored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(restored.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(restored.sample_weight_, fitted.sample_weight_)


def test_the_estimator_that_was_given_stays_unfitted(data):
    X, y, _ = data
    inner = _text_pipe()[-1]
    _reweighter(inner).fit(X, y, is_clean=IS_CLEAN)
    assert not hasattr(inner, "coef_")


def test_random_state_decides_and_the_global_one_is_left_alone(data):
    X, y, _ = data
    before = np.random.get_state()[1].copy()
    first, again, other = (
        _reweighter(random_state=seed).fit(X, y, is_clean=IS_CLEAN).sample_weight_
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classifier", [LogisticRegression(), GaussianNB()])
def test_features_keep_their_names(data, classifier):
    X, y, _ = data
    table = pd.DataFrame(X, columns=list("abcd"), index=np.arange(N) * 3)
    reweighter = _reweighter(classifier).fit(table, y, is_clean=IS_CLEAN)
    assert reweighter.feature_names_in_.tolist() == list("abcd")
    assert reweighter.n_features_in_ == 4
    np.testing.assert_array_equal(
        reweighter.predict(table), reweighter.estimator_.predict(table)
    )
    beside = _reweighter(classifier)
    beside.fit(table[60:], y[60:], X_val=table[:60], y_val=y[:60])
    assert beside.feature_names_in_.tolist() == list("abcd")
    beside.predict(table)


@pytest.mark.filterwarnings("error")
def test_steps_inside_may_give_tables(data):
    X, y, _ = data
    pipe = make_pipeline(StandardScaler(), LogisticRegression())
    plain = _reweighter(pipe).fit(X, y, is_clean=IS_CLEAN)
    tables = _reweighter(clone(pipe).set_output(transform="pandas"))
    tables.fit(X, y, is_clean=IS_CLEAN)
    names = tables.estimator_[-1].feature_names_in_.tolist()
    assert names == ["x0", "x1", "x2", "x3"]
    np.testing.assert_allclose(tables.sample_weight_, plain.sample_weight_)
    np.testing.assert_array_equal(tables.predict(X), plain.predict(X))
    beside = _reweighter(clone(pipe).set_output(transform="pandas"))
    beside.fit(X[60:], y[60:], X_val=X[:60], y_val=y[:60])
    beside.predict(X)


@pytest.mark.filterwarnings("error")
def test_a_reweighter_ends_a_pipeline_that_gives_tables(data):
    X, y, _ = data
    pipe = make_pipeline(StandardScaler(), _reweighter()).set_output(transform="pandas")
    pipe.fit(X, y, influencereweighter__is_clean=IS_CLEAN)
    assert pipe[-1].n_features_in_ == 4
    assert set(pipe.predict(X)) == {"down", "up"}


# --- Suspects -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def replaced():
    """Return rows of three classes, a fifth of whose labels are others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    right = np.digitize(X[:, 0], [-0.5, 0.5])
    clean = np.arange(600) < 100
    wrong = ~clean & (rng.random(600) < 0.2)
    y = np.where(wrong, (right + rng.integers(1, 3, 600)) % 3, right)
    return X, y, clean, wrong


@pytest.mark.parametrize("with_clean", [True, False])
def test_suspects_lose_weight_and_reason_says_so(replaced, with_clean):
    X, y, clean, wrong = replaced
    reweighter = InfluenceReweighter(LogisticRegression(), random_state=0)
    reweighter.fit(X, y, is_clean=clean if with_clean else None)
    assert reweighter.used_suspects_
    probability, weights = reweighter.probability_wrong_, reweighter.sample_weight_
    assert np.isnan(probability).tolist() == (clean & with_clean).tolist()
    assert probability[wrong].mean() > 0.7 > 0.1 > np.nanmean(probability[~wrong])
    assert weights[probability > 0.5].max() < 1e-6
    assert weights.sum() == pytest.approx(600)
    assert (weights[clean] == 1).all() == with_clean
    rows = "held-out clean rows" if with_clean else "held-out rows"
    change = r"-0\.\d+ \[.*\]"
    assert re.match(
        r"About 0\.\d+ of the labels seem wrong. Weights by suspects changed "
        rf"the log-loss of {rows} by {change} and their accuracy by .*: taken\. The",
        reweighter.reason_,
    )
    history = reweighter.history_
    assert history["suspects"].tolist() == [False] + [True] * 6
    assert history["strength"].tolist() == [0, 0, 1, 2, 3, 4, 5]
    assert history["log_loss"][1] < history["log_loss"][0]
    assert history["std_error"][0] == 0 < history["std_error"][1]


def test_suspects_can_be_left_alone(replaced):
    X, y, clean, _ = replaced
    reweighter = InfluenceReweighter(
        LogisticRegression(), use_suspects=False, random_state=0
    )
    reweighter.fit(X, y, is_clean=clean)
    assert not reweighter.used_suspects_
    assert np.isnan(reweighter.probability_wrong_).all()
    assert not reweighter.history_["suspects"].any()
    assert "seem" not in reweighter.reason_


@pytest.mark.parametrize("strength", [0, 1.0, "auto"])
def test_suspects_can_be_asked_for(replaced, strength):
    X, y, clean, wrong = replaced
    reweighter = InfluenceReweighter(
        LogisticRegression(), strength=strength, use_suspects=True, random_state=0
    )
    reweighter.fit(X, y, is_clean=clean)
    assert reweighter.used_suspects_
    assert reweighter.sample_weight_[wrong].mean() < 0.3
    if strength == 0:
        assert reweighter.strength_ == reweighter.n_rounds_ == 0
        assert reweighter.history_["strength"].tolist() == [0, 0]
        kept = 1 - reweighter.probability_wrong_[~clean]
        kept[kept < 0.5] = 0
        np.testing.assert_allclose(
            reweighter.sample_weight_[~clean], kept / kept.mean(), atol=1e-9
        )


def test_suspects_that_were_asked_for_in_vain(data):
    X, _, _ = data
    y = (X[:, 0] > 0).astype(int)
    reweighter = InfluenceReweighter(
        LogisticRegression(), strength=0, use_suspects=True, random_state=0
    )
    match = "Weights stay as given. No label seems to be wrong."
    with pytest.warns(ReweightingWarning, match=match):
        reweighter.fit(X, y, is_clean=IS_CLEAN)
    np.testing.assert_array_equal(reweighter.sample_weight_, np.ones(N))


def test_held_out_rows_can_speak_against_suspects(replaced):
    """Clean rows that are wrong like the others like what believes them."""
    X, y, clean, _ = replaced
    rng = np.random.default_rng(1)
    y = np.where(clean, rng.permutation(y), y)
    reweighter = InfluenceReweighter(LogisticRegression(), random_state=0)
    reweighter.fit(X, y, is_clean=clean)
    assert not reweighter.used_suspects_
    assert re.search(
        r"by suspects changed .*: not taken, because the log-loss", reweighter.reason_
    )
    assert reweighter.history_["suspects"].tolist() == [False, True] + [False] * 5


def test_columns_without_a_word_change_nothing_and_cost_nothing(replaced):
    X, y, clean, _ = replaced
    words = sparse.csr_array(np.where(np.abs(X) > 0.7, X, 0.0))
    wide = sparse.csr_array((words.data, 5 * words.indices, words.indptr), (600, 2**20))
    narrow = InfluenceReweighter(LogisticRegression(), random_state=0)
    other = InfluenceReweighter(LogisticRegression(), random_state=0)
    narrow.fit(words.toarray(), y, is_clean=clean)
    other.fit(wide, y, is_clean=clean)
    np.testing.assert_allclose(
        other.sample_weight_, narrow.sample_weight_, rtol=1e-3, atol=1e-6
    )
    assert other.estimator_.coef_.shape == (3, 2**20)


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        ([None] * 50, "X_val must be rows like those of X: .*missing text: row 0"),
        (
            pd.DataFrame({"text": ["good"] * 50}),
            "X_val must be rows like those of X: the steps before the classifier make "
            "1 row of 50. Texts are a list or a Series, not a table",
        ),
    ],
)
def test_validation_rows_that_the_steps_cannot_read(data, texts, extra, match):
    _, y, _ = data
    with pytest.raises((TypeError, ValueError), match=match):
        _reweighter(_text_pipe()).fit(texts, y, X_val=extra, y_val=y[:50])
