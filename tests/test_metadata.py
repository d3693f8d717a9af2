"""The ways annotations and weights travel, with metadata routing off and on."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptAnnotator,
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)

from .annotate.words import PROMPTS, TEXTS, WordCounts
from .data import make_concept_data

GRID = {"C": [0.1, 10.0]}
PIPE_GRID = {"clf__C": [0.1, 10.0]}


@pytest.fixture(scope="module")
def data():
    X, y, concepts = make_concept_data()
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    return X, y, concepts, weights


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def _classifier():
    return ConceptBottleneckClassifier()


def _pipe(classifier=None):
    steps = [("scale", StandardScaler()), ("clf", classifier or _classifier())]
    return Pipeline(steps)


def _bottlenecks(fitted):
    """Return every fitted bottleneck inside, however deep."""
    if isinstance(fitted, ConceptBottleneckClassifier):
        return [fitted]
    if isinstance(fitted, Pipeline):
        return _bottlenecks(fitted[-1])
    if isinstance(fitted, dict):
        return [b for e in fitted["estimator"] for b in _bottlenecks(e)]
    for name in ("best_estimator_", "estimator_", "estimator"):
        if hasattr(fitted, name) and hasattr(getattr(fitted, name), "fit"):
            inner = _bottlenecks(getattr(fitted, name))
            if inner and hasattr(inner[0], "classes_"):
                return inner
    for name in ("estimators_", "calibrated_classifiers_"):
        if hasattr(fitted, name):
            return [b for e in getattr(fitted, name) for b in _bottlenecks(e)]
    return []


WITHOUT_ROUTING = {
    "fit": lambda X, y, c, w: _classifier().fit(X, y, w, concepts=c),
    "search": lambda X, y, c, w: GridSearchCV(_classifier(), GRID, cv=2).fit(
        X, y, concepts=c, sample_weight=w
    ),
    "pipeline": lambda X, y, c, w: _pipe().fit(
        X, y, clf__concepts=c, clf__sample_weight=w
    ),
    "search of a pipeline": lambda X, y, c, w: GridSearchCV(
        _pipe(), PIPE_GRID, cv=2
    ).fit(X, y, clf__concepts=c, clf__sample_weight=w),
    "cross_validate": lambda X, y, c, w: cross_validate(
        _pipe(),
        X,
        y,
        cv=2,
        params={"clf__concepts": c, "clf__sample_weight": w},
        return_estimator=True,
    ),
    "calibration": lambda X, y, c, w: CalibratedClassifierCV(_classifier(), cv=2).fit(
        X, y, w, concepts=c
    ),
    "explainer": lambda X, y, c, w: ConceptInfluenceExplainer(_classifier()).fit(
        X, y, w, concepts=c
    ),
    "explainer of a pipeline": lambda X, y, c, w: ConceptInfluenceExplainer(
        _pipe()
    ).fit(X, y, w, concepts=c),
    "search of an explainer": lambda X, y, c, w: GridSearchCV(
        ConceptInfluenceExplainer(_pipe()), {"estimator__clf__C": [0.1, 10.0]}, cv=2
    ).fit(X, y, concepts=c, sample_weight=w),
}


def _asking():
    return _classifier().set_fit_request(sample_weight=True)


def _asking_pipe():
    scaler = StandardScaler().set_fit_request(sample_weight=True)
    return Pipeline([("scale", scaler), ("clf", _asking())])


def _asking_explainer(estimator):
    return (
        ConceptInfluenceExplainer(estimator)
        .set_fit_request(sample_weight=True)
        .set_score_request(sample_weight=True)
    )


def _scored(estimator):
    """Say that the score takes weights too, as routing wants to be told."""
    for step in (estimator, *getattr(estimator, "named_steps", {}).values()):
        if isinstance(step, ConceptBottleneckClassifier):
            step.set_score_request(sample_weight=True)
    return estimator


WITH_ROUTING = {
    "fit": lambda X, y, c, w: _asking().fit(X, y, w, concepts=c),
    "search": lambda X, y, c, w: GridSearchCV(_scored(_asking()), GRID, cv=2).fit(
        X, y, concepts=c, sample_weight=w
    ),
    "pipeline": lambda X, y, c, w: _asking_pipe().fit(
        X, y, concepts=c, sample_weight=w
    ),
    "search of a pipeline": lambda X, y, c, w: GridSearchCV(
        _scored(_asking_pipe()), PIPE_GRID, cv=2
    ).fit(X, y, concepts=c, sample_weight=w),
    "cross_validate": lambda X, y, c, w: cross_validate(
        _scored(_asking_pipe()),
        X,
        y,
        cv=2,
        params={"concepts": c, "sample_weight": w},
        return_estimator=True,
    ),
    "calibration": lambda X, y, c, w: CalibratedClassifierCV(_asking(), cv=2).fit(
        X, y, w, concepts=c
    ),
    "one against the rest": lambda X, y, c, w: OneVsRestClassifier(_asking()).fit(
        X, y, concepts=c, sample_weight=w
    ),
    "bagging": lambda X, y, c, w: BaggingClassifier(
        _asking(), n_estimators=2, random_state=0
    ).fit(X, y, concepts=c, sample_weight=w),
    "voting": lambda X, y, c, w: VotingClassifier([("a", _asking())]).fit(
        X, y, concepts=c, sample_weight=w
    ),
    "explainer": lambda X, y, c, w: _asking_explainer(_asking()).fit(
        X, y, w, concepts=c
    ),
    "explainer of a pipeline": lambda X, y, c, w: _asking_explainer(_asking_pipe()).fit(
        X, y, w, concepts=c
    ),
    "search of an explainer": lambda X, y, c, w: GridSearchCV(
        _asking_explainer(_asking_pipe()), {"estimator__clf__C": [0.1, 10.0]}, cv=2
    ).fit(X, y, concepts=c, sample_weight=w),
}


def _assert_concepts_and_weights_arrived(fitted, unweighted):
    inner, plain = _bottlenecks(fitted), _bottlenecks(unweighted)
    assert inner
    assert len(inner) == len(plain)
    for own, other in zip(inner, plain, strict=True):
        assert own.concept_names_in_.tolist() == ["food", "quiet", "price"]
        assert not np.allclose(own.coef_, other.coef_)


@pytest.mark.parametrize("way", WITHOUT_ROUTING)
def test_without_routing(data, way):
    X, y, concepts, weights = data
    fit = WITHOUT_ROUTING[way]
    _assert_concepts_and_weights_arrived(
        fit(X, y, concepts, weights), fit(X, y, concepts, np.ones(len(X)))
    )


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("way", WITH_ROUTING)
def test_with_routing(data, way):
    X, y, concepts, weights = data
    fit = WITH_ROUTING[way]
    _assert_concepts_and_weights_arrived(
        fit(X, y, concepts, weights), fit(X, y, concepts, np.ones(len(X)))
    )


def test_the_scaler_hears_of_weights_only_where_it_asks(data):
    X, y, concepts, weights = data
    expected = StandardScaler().fit(X, sample_weight=weights).mean_
    plain = ConceptInfluenceExplainer(_pipe()).fit(X, y, weights, concepts=concepts)
    np.testing.assert_allclose(plain.estimator_[0].mean_, X.mean(axis=0), atol=1e-12)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = _asking_explainer(_asking_pipe()).fit(X, y, weights, concepts=concepts)
    np.testing.assert_allclose(asked.estimator_[0].mean_, expected)


@pytest.mark.usefixtures("routing")
def test_concepts_are_requested_by_default(data):
    X, y, concepts, _ = data
    search = GridSearchCV(_pipe(), PIPE_GRID, cv=2).fit(X, y, concepts=concepts)
    assert search.best_estimator_[-1].n_concepts_ == 3


@pytest.mark.usefixtures("routing")
def test_weights_must_be_asked_for_or_declined(data):
    X, y, concepts, weights = data
    for estimator in (_pipe(), ConceptInfluenceExplainer(_pipe())):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            estimator.fit(X, y, concepts=concepts, sample_weight=weights)


@pytest.mark.usefixtures("routing")
def test_prefixes_and_routing_exclude_each_other(data):
    X, y, concepts, _ = data
    with pytest.raises(TypeError, match="clf__concepts"):
        _pipe().fit(X, y, clf__concepts=concepts)


def test_concepts_for_a_final_step_that_takes_none(data):
    X, y, concepts, _ = data
    pipe = _pipe(LogisticRegression())
    with pytest.raises(TypeError, match="unexpected keyword argument 'concepts'"):
        pipe.fit(X, y, clf__concepts=concepts)
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.raises(TypeError, match="concepts"),
    ):
        pipe.fit(X, y, concepts=concepts)


def test_stacking_works_without_metadata(data):
    X, y, _, _ = data
    stack = StackingClassifier([("a", _classifier())], cv=2).fit(X, y)
    assert stack.score(X, y) > 0.5


def test_searches_slice_annotations_with_the_rows(data):
    X, y, concepts, _ = data
    marked = concepts.assign(half=np.where(np.arange(len(X)) < 60, "a", "b"))
    splits = [(np.r_[0:100], np.r_[100:120]), (np.r_[20:120], np.r_[0:20])]
    fitted = cross_validate(
        _classifier(),
        X,
        y,
        cv=splits,
        params={"concepts": marked},
        return_estimator=True,
    )["estimator"]
    for clf, (train, _) in zip(fitted, splits, strict=True):
        alone = _classifier().fit(X[train], y[train], concepts=marked.iloc[train])
        np.testing.assert_allclose(clf.coef_, alone.coef_, rtol=1e-8)


IS_CLEAN = np.arange(120) % 5 < 2
DEEP_GRID = {"clf__estimator__clf__C": [1.0, 2.0]}
SPLITS = [(np.r_[0:80], np.r_[80:120]), (np.r_[40:120], np.r_[0:40])]


def _reweighter(estimator=None):
    return InfluenceReweighter(
        estimator or _classifier(), strength=1.0, n_rounds=1, cv=3, random_state=0
    )


def _texts(X):
    """Return texts that say which features are large."""
    return [" ".join(f"word{j}" for j in np.flatnonzero(x > 0)) + " end" for x in X]


def _text_pipe(classifier=None):
    steps = [("count", TfidfVectorizer()), ("svd", TruncatedSVD(3, random_state=0))]
    return Pipeline([*steps, ("clf", classifier or _classifier())])


def _prefixed(prefix, params):
    return {prefix + name: value for name, value in params.items()}


REWEIGHTERS_WITHOUT_ROUTING = {
    "fit": lambda X, y, p: _reweighter().fit(X, y, **p),
    "last step": lambda X, y, p: _pipe(_reweighter()).fit(
        X, y, **_prefixed("clf__", p)
    ),
    "around a pipeline": lambda X, y, p: _reweighter(_pipe()).fit(X, y, **p),
    "around texts": lambda X, y, p: _reweighter(_text_pipe()).fit(_texts(X), y, **p),
    "after texts": lambda X, y, p: _text_pipe(_reweighter()).fit(
        _texts(X), y, **_prefixed("clf__", p)
    ),
    "search": lambda X, y, p: GridSearchCV(
        _reweighter(_pipe()), {"strength": [0.5, 1.0]}, cv=2
    ).fit(X, y, **p),
    "three levels": lambda X, y, p: GridSearchCV(
        _pipe(_reweighter(_pipe())), DEEP_GRID, cv=2
    ).fit(X, y, **_prefixed("clf__", p)),
}


def _asking_reweighter(estimator=None):
    reweighter = _reweighter(estimator or _asking())
    reweighter.set_score_request(sample_weight=True)
    return reweighter.set_fit_request(sample_weight=True)


def _asking_text_pipe(classifier=None):
    return _text_pipe(classifier or _asking())


def _asking_deep_pipe():
    return _asking_pipe().set_params(clf=_asking_reweighter(_asking_pipe()))


REWEIGHTERS_WITH_ROUTING = {
    "fit": lambda X, y, p: _asking_reweighter().fit(X, y, **p),
    "last step": lambda X, y, p: (
        _asking_pipe().set_params(clf=_asking_reweighter()).fit(X, y, **p)
    ),
    "around a pipeline": lambda X, y, p: _asking_reweighter(_asking_pipe()).fit(
        X, y, **p
    ),
    "around texts": lambda X, y, p: _asking_reweighter(_asking_text_pipe()).fit(
        _texts(X), y, **p
    ),
    "after texts": lambda X, y, p: _asking_text_pipe(_asking_reweighter()).fit(
        _texts(X), y, **p
    ),
    "search": lambda X, y, p: GridSearchCV(
        _asking_reweighter(_asking_pipe()), {"strength": [0.5, 1.0]}, cv=2
    ).fit(X, y, **p),
    "three levels": lambda X, y, p: GridSearchCV(
        _asking_deep_pipe(), DEEP_GRID, cv=2
    ).fit(X, y, **p),
}


def _innermost_reweighter(fitted):
    fitted = getattr(fitted, "best_estimator_", fitted)
    return fitted[-1] if isinstance(fitted, Pipeline) else fitted


def _assert_all_metadata_arrived(fitted, weights):
    reweighter = _innermost_reweighter(fitted)
    np.testing.assert_array_equal(np.isnan(reweighter.influence_), IS_CLEAN)
    np.testing.assert_array_equal(
        reweighter.sample_weight_[IS_CLEAN], weights[IS_CLEAN]
    )
    assert not np.allclose(reweighter.sample_weight_[~IS_CLEAN], weights[~IS_CLEAN])
    inner = reweighter.estimator_
    inner = inner[-1] if isinstance(inner, Pipeline) else inner
    assert inner.concept_names_in_.tolist() == ["food", "quiet", "price"]


@pytest.mark.parametrize("way", REWEIGHTERS_WITHOUT_ROUTING)
def test_metadata_reach_a_reweighter_without_routing(data, way):
    X, y, concepts, weights = data
    params = {"concepts": concepts, "sample_weight": weights, "is_clean": IS_CLEAN}
    fitted = REWEIGHTERS_WITHOUT_ROUTING[way](X, y, params)
    _assert_all_metadata_arrived(fitted, weights)


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("way", REWEIGHTERS_WITH_ROUTING)
def test_metadata_reach_a_reweighter_with_routing(data, way):
    X, y, concepts, weights = data
    params = {"concepts": concepts, "sample_weight": weights, "is_clean": IS_CLEAN}
    fitted = REWEIGHTERS_WITH_ROUTING[way](X, y, params)
    _assert_all_metadata_arrived(fitted, weights)


@pytest.mark.parametrize("enabled", [False, True])
def test_cross_validation_slices_what_a_reweighter_gets(data, enabled):
    X, y, concepts, weights = data
    params = {"concepts": concepts, "sample_weight": weights, "is_clean": IS_CLEAN}
    with sklearn.config_context(enable_metadata_routing=enabled):
        pipe = _asking_deep_pipe() if enabled else _pipe(_reweighter(_pipe()))
        prefix = "" if enabled else "clf__"
        fitted = cross_validate(
            pipe,
            X,
            y,
            cv=SPLITS,
            params=_prefixed(prefix, params),
            return_estimator=True,
        )["estimator"]
        for own, (train, _) in zip(fitted, SPLITS, strict=True):
            sliced = {
                "concepts": concepts.iloc[train],
                "sample_weight": weights[train],
                "is_clean": IS_CLEAN[train],
            }
            alone = sklearn.clone(pipe).fit(
                X[train], y[train], **_prefixed(prefix, sliced)
            )
            np.testing.assert_array_equal(np.isnan(own[-1].influence_), IS_CLEAN[train])
            np.testing.assert_allclose(own[-1].sample_weight_, alone[-1].sample_weight_)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_search_slices_is_clean_with_the_rows(data, enabled):
    X, y, _, _ = data
    with sklearn.config_context(enable_metadata_routing=enabled):
        search = GridSearchCV(
            _reweighter(), {"strength": [5.0]}, cv=SPLITS, refit=False
        )
        search.fit(X, y, is_clean=IS_CLEAN)
        for k, (train, test) in enumerate(SPLITS):
            alone = _reweighter().set_params(strength=5.0)
            alone.fit(X[train], y[train], is_clean=IS_CLEAN[train])
            score = search.cv_results_[f"split{k}_test_score"][0]
            assert score == alone.score(X[test], y[test])


@pytest.mark.usefixtures("routing")
def test_validation_rows_are_not_routed(data):
    X, y, _, _ = data
    pipe = _pipe(_reweighter())
    for X_val in (X[:30], X):
        with pytest.raises(TypeError, match="X_val"):
            pipe.fit(X, y, X_val=X_val, y_val=y[: len(X_val)])
    with pytest.raises(TypeError, match="X_val"):
        _reweighter().set_fit_request(X_val=True)


def test_a_reweighter_refuses_validation_rows_that_a_search_would_slice(data):
    X, y, _, _ = data
    with pytest.raises(ValueError, match="search or cross-validation would slice"):
        _pipe(_reweighter()).fit(X, y, clf__X_val=X, clf__y_val=y)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_reweighter_refuses_concepts_that_its_classifier_does_not_take(data, enabled):
    X, y, concepts, _ = data
    reweighter = _reweighter(LogisticRegression())
    with (
        sklearn.config_context(enable_metadata_routing=enabled),
        pytest.raises(TypeError, match="LogisticRegression takes none"),
    ):
        reweighter.fit(X, y, concepts=concepts)


@pytest.mark.usefixtures("routing")
def test_weights_for_a_reweighter_must_be_asked_for_or_declined(data):
    X, y, _, weights = data
    with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
        _pipe(_reweighter()).fit(X, y, sample_weight=weights)
    for reweighter in (_reweighter(), _reweighter(_pipe())):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            reweighter.fit(X, y, sample_weight=weights)


@pytest.mark.usefixtures("routing")
def test_is_clean_is_requested_by_default(data):
    X, y, _, _ = data
    search = GridSearchCV(_pipe(_reweighter()), {"clf__strength": [1.0]}, cv=2)
    search.fit(X, y, is_clean=IS_CLEAN)
    influence = search.best_estimator_[-1].influence_
    np.testing.assert_array_equal(np.isnan(influence), IS_CLEAN)


# --- ConceptAnnotator -----------------------------------------------------------------

ANNOTATED = pd.DataFrame({"food": ["bad", None, "good", "bad"] + [None] * 4})
Y = [0, 1, 1, 0] * 2


def _annotating():
    annotator = ConceptAnnotator(PROMPTS, embedder=WordCounts())
    return Pipeline([("annotate", annotator), ("clf", LogisticRegression())])


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("way", ["fit", "pipeline", "search", "cross_validate"])
def test_annotations_reach_an_annotator(way, enabled):
    name = "concepts" if enabled or way == "fit" else "annotate__concepts"
    given = {name: ANNOTATED}
    with sklearn.config_context(enable_metadata_routing=enabled):
        if way == "fit":
            fitted = [_annotating()[0].fit(TEXTS, **given)]
        elif way == "pipeline":
            fitted = [_annotating().fit(TEXTS, Y, **given)[0]]
        elif way == "search":
            search = GridSearchCV(_annotating(), PIPE_GRID, cv=2)
            fitted = [search.fit(TEXTS, Y, **given).best_estimator_[0]]
        else:
            found = cross_validate(
                *(_annotating(), TEXTS, Y),
                params=given,
                return_estimator=True,
                cv=[([0, 1, 4, 5], [2]), ([2, 3, 6, 7], [0])],
            )
            fitted = [pipe[0] for pipe in found["estimator"]]
    counts = [model.n_annotated_.tolist() for model in fitted]
    assert counts == ([[1, 0], [2, 0]] if way == "cross_validate" else [[3, 0]])
