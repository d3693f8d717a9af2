"""The ways annotations and weights travel, with metadata routing off and on."""

import numpy as np
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

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
