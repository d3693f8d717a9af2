"""Heads of many values cost what they must, and answer the same as with one factor."""

import numpy as np
import pandas as pd
import pytest
import sklearn

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

N = 70


class Given:
    def __init__(self, concepts=True, n_classes=2):
        rng = np.random.default_rng(2)
        self.X = rng.normal(size=(N, 6))
        order = rng.permutation(N)
        self.concepts = None
        if concepts:
            many = np.argsort(np.argsort(self.X[:, 0] + 0.2 * rng.normal(size=N))) // 5
            quiet = np.where(self.X[:, 1] > 0, "yes", "no")
            self.concepts = pd.DataFrame({"many": many, "quiet": quiet})
        self.y = np.argsort(np.argsort(self.X[:, :2].sum(axis=1))) * n_classes // N
        self.weights = 1.0 + order % 2
        self.new = rng.normal(size=(25, 6)), self.y[order[:25]]


def answers(given, **params):
    clf = ConceptBottleneckClassifier(**params)
    explainer = ConceptInfluenceExplainer(clf, method="leverage")
    explainer.fit(given.X, given.y, given.weights, concepts=given.concepts)
    suspects = explainer.suspect_labels().sort_values(["path", "row"])
    suggested = explainer.suggest_edits(*given.new, random_state=0)
    edited = explainer.edit(drop=[3], y={4: given.y[5]}, drop_concepts=given.dropped)
    first = ConceptInfluenceExplainer(clf, method="first_order")
    first.fit(given.X, given.y, given.weights, concepts=given.concepts)
    return {
        "influence": explainer.influence(*given.new, paths=True).values,
        "first order": first.influence(*given.new, paths=True).values,
        "suspects": suspects[["loss", "margin", "probability_wrong"]].to_numpy(),
        "suggested": suggested.to_frame()["effect"].to_numpy(),
        "edited": edited.estimator.coef_,
        "C": np.append(explainer.estimator_.concept_C_, explainer.estimator_.C_),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("given", "params"),
    [
        (Given(), {}),
        (Given(), {"training": "sequential", "C": "auto", "concept_C": "auto"}),
        (Given(), {"training": "independent", "bottleneck": "hard"}),
        (Given(n_classes=12), {"bottleneck": "logit", "training": "sequential"}),
        (Given(concepts=False, n_classes=14), {"C": "auto"}),
    ],
    ids=["mixed", "sequential, auto", "hard", "many classes", "classes alone, auto"],
)
def test_both_ways_answer_the_same(given, params, monkeypatch):
    given.dropped = None if given.concepts is None else ["quiet"]
    monkeypatch.setattr("skclif.numerics.leverage._FEW", 0)  # moves row by row
    found = answers(given, **params)
    monkeypatch.setattr("skclif.numerics.hessians.is_by_value", lambda *_: False)
    monkeypatch.setattr("skclif.numerics.leverage._FEW", 10**9)  # a map
    expected = answers(given, **params)
    for name in expected:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-6, atol=1e-7, err_msg=name
        )


def test_leverage_of_many_values_is_near_retraining():
    given = Given()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(given.X, given.y, concepts=given.concepts)
    report = explainer.validate(
        *given.new, n_rows=4, n_paths=0, methods=["leverage", "newton"], random_state=0
    ).to_frame()
    errors = report.set_index("method")["relative_error"]
    assert errors["leverage"] < 0.1
    assert errors["newton"] < 0.01


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_memory_decides_by_what_is_needed(monkeypatch):
    monkeypatch.setattr("skclif.numerics.inverses._MOST_VALUES", 2**14)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 59))
    many = rng.permutation(60) // 3
    y = (X[:, 0] > 0).astype(int)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    # As a matrix, the inverse takes 10 MiB; one factor and its products take 16.
    with sklearn.config_context(working_memory=13):
        explainer.fit(X, y, concepts=pd.DataFrame({"many": many}))
        assert explainer.influence(X[:1], y[:1]).method == "newton"
    with sklearn.config_context(working_memory=9):
        assert explainer.influence(X[:1], y[:1]).method == "leverage"
        assert explainer.influence(X[:1], y[:1], top=3).method == "leverage"
        explainer.method = "newton"
        with pytest.raises(ValueError, match="method='newton' needs .*Use method='lev"):
            explainer.influence(X[:1], y[:1])
