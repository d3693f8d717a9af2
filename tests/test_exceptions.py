"""Warnings name the line of the user, whatever lies between."""

import ast
import inspect
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.exceptions import InfluenceWarning, warn_user

from .data import make_concept_data
from .test_package import ROOT, SOURCES

X, Y, CONCEPTS = make_concept_data(40)


def _unfinished():
    return ConceptBottleneckClassifier(max_iter=1)


class _Theirs(ClassifierMixin, BaseEstimator):
    """A classifier outside skclif that fits one of ours."""

    def fit(self, X, y):
        self.line_ = inspect.currentframe().f_lineno + 1
        self.model_ = _unfinished().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)


@pytest.mark.parametrize(
    "estimator",
    [
        _unfinished(),
        make_pipeline(StandardScaler(), _unfinished()),
        GridSearchCV(_unfinished(), {"C": [1.0]}, cv=2),
        ConceptInfluenceExplainer(make_pipeline(StandardScaler(), _unfinished())),
    ],
    ids=["alone", "in a pipeline", "in a search through joblib", "in an explainer"],
)
def test_a_fit_warns_at_the_line_that_called_it(estimator):
    with pytest.warns(ConvergenceWarning, match="stopped at a gradient norm") as caught:
        line = inspect.currentframe().f_lineno + 1
        estimator.fit(X, Y)
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}


def test_a_fit_in_somebody_elses_estimator_warns_there():
    search = GridSearchCV(_Theirs(), {}, cv=2)
    with pytest.warns(ConvergenceWarning, match="stopped at a gradient norm") as caught:
        search.fit(X, Y)
    line = search.best_estimator_.line_
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}


def test_a_generator_warns_at_the_line_that_asked_for_influence():
    model = ConceptBottleneckClassifier(C=1e3)
    labels = (X[:, 0] > 0).astype(int)  # separable, so that removals move far
    explainer = ConceptInfluenceExplainer(model, method="leverage").fit(X, labels)
    with pytest.warns(InfluenceWarning, match="further than one Newton step") as caught:
        line = inspect.currentframe().f_lineno + 1
        explainer.influence(np.zeros((1, 6)))
    assert {(w.filename, w.lineno) for w in caught} == {(__file__, line)}


def test_python_s_own_wrappers_are_not_blamed():
    ours = {"__name__": "skclif.made_up", "warn_user": warn_user}
    exec("def warn(*_):\n    yield warn_user('look', UserWarning)", ours)
    with pytest.warns(UserWarning, match="look") as caught:
        line = inspect.currentframe().f_lineno + 1
        with contextmanager(ours["warn"])():
            pass
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_counts_frames_itself(path):
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    ]
    assert path.name == "exceptions.py" or "warnings.warn" not in calls
