"""Edits against retraining from zero on the edited rows."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .data import make_concept_data

N = 300
VALUES = {
    "food": ["bad", "good", "unknown"],
    "quiet": ["no", "yes"],
    "price": [1, 2, 3, 4],
}
# Both are solved to gradients of 1e-8, which leaves parameters off by that over the
# smallest curvature.
CLOSE = {"rtol": 0, "atol": 1e-6}


class Given:
    """Training rows as a user holds them, with every edit done by hand."""

    def __init__(self, n=N, seed=0):
        self.X, self.y, self.concepts = make_concept_data(n, seed=seed)
        self.weights = 1.0 + np.arange(n) % 3 / 2
        self.concept_weights = 1.0 + (np.arange(3 * n) % 4).reshape(n, 3) / 4

    def fit(self, estimator):
        """Fit from zero."""
        return estimator.fit(
            self.X,
            self.y,
            self.weights,
            concepts=self.concepts,
            concept_sample_weight=self.concept_weights,
        )

    def edited(self, edit):
        """Return the same with an edit, carried out one entry at a time."""
        other = Given.__new__(Given)
        vars(other).update({name: part.copy() for name, part in vars(self).items()})
        for row, label in edit.get("y", {}).items():
            other.y[row] = label
        for name, values in edit.get("concepts", {}).items():
            for row, value in values.items():
                other.concepts.loc[row, name] = value
        weights = edit.get("sample_weight", {})
        if isinstance(weights, dict):
            for row, weight in weights.items():
                other.weights[row] = weight
        else:
            other.weights = np.array(weights)
        for row in edit.get("drop", []):
            other.weights[row] = 0
        if "add" in edit:
            new = edit["add"]
            n = len(new["y"])
            other.X = np.concatenate([other.X, new["X"]])
            other.y = np.concatenate([other.y, new["y"]])
            other.concepts = pd.concat([other.concepts, new["concepts"]])
            other.concepts = other.concepts.reset_index(drop=True)
            other.weights = np.r_[other.weights, new.get("sample_weight", np.ones(n))]
            more = new.get("concept_sample_weight", np.ones((n, 3)))
            other.concept_weights = np.concatenate([other.concept_weights, more])
        for name in edit.get("drop_concepts", []):
            j = other.concepts.columns.get_loc(name)
            other.concepts = other.concepts.drop(columns=name)
            other.concept_weights = np.delete(other.concept_weights, j, axis=1)
        return other


def explain(given, **params):
    clf = ConceptBottleneckClassifier(**params)
    return given.fit(ConceptInfluenceExplainer(clf, method="first_order"))


def retrained(given, explainer):
    """Return a fit from zero with the class weights that the explainer holds."""
    clf = explainer.estimator_
    held = dict(zip(clf.classes_, clf.class_weight_, strict=True))
    params = {**clf.get_params(), "class_weight": held}
    return given.fit(ConceptBottleneckClassifier(**params))


def parameters(clf):
    parts = [clf.coef_, clf.intercept_, *clf.concept_coef_, *clf.concept_intercept_]
    return np.concatenate([np.ravel(part) for part in parts])


def assert_same_model(found, expected):
    np.testing.assert_allclose(parameters(found), parameters(expected), **CLOSE)


def random_edit(kind, share, given, seed=0):
    """Return an edit of a share of the rows."""
    rng = np.random.default_rng(seed)
    n = len(given.y)
    rows = rng.choice(n, int(share * n), replace=False).tolist()
    if kind == "drop":
        return {"drop": rows}
    if kind == "reweight":
        new = rng.uniform(0, 3, len(rows)).tolist()
        return {"sample_weight": dict(zip(rows, new, strict=True))}
    if kind == "relabel":
        labels = np.unique(given.y)
        new = labels[(np.searchsorted(labels, given.y[rows]) + 1) % len(labels)]
        return {"y": dict(zip(rows, new.tolist(), strict=True))}
    if kind == "annotate":
        # Every annotation of these rows becomes another; every missing one is made.
        edit = {}
        for name, values in VALUES.items():
            edit[name] = {}
            for row in rows:
                old = given.concepts.loc[row, name]
                position = values.index(old) + 1 if old in values else 0
                edit[name][row] = values[position % len(values)]
        return {"concepts": edit}
    if kind == "take away":
        names = list(VALUES)
        return {"concepts": {name: dict.fromkeys(rows) for name in names[:2]}}
    X, y, concepts = make_concept_data(len(rows), seed=seed + 1)
    new = {"X": X, "y": y, "concepts": concepts}
    new["sample_weight"] = rng.uniform(0.5, 2, len(rows))
    new["concept_sample_weight"] = rng.uniform(0.5, 2, (len(rows), 3))
    return {"add": new}


KINDS = ["drop", "reweight", "relabel", "annotate", "take away", "add"]


@pytest.fixture(scope="module")
def given():
    return Given()


@pytest.fixture(scope="module", params=["sequential", "independent"])
def explainer(request, given):
    return explain(given, training=request.param, class_weight="balanced")


# --- An edit is retraining ------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_retraining(kind, share, explainer, given):
    edit = random_edit(kind, share, given)
    result = explainer.edit(**edit)
    assert_same_model(result.estimator, retrained(given.edited(edit), explainer))
    assert result.record.converged
