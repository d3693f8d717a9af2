"""Edits against retraining from zero on the edited rows."""

import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer, EditResult
from skclif._inputs.pipelines import final_step

from ..data import make_concept_data

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
    clf = final_step(explainer.estimator_)
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


@pytest.fixture(scope="module", params=["mixed", "sequential", "independent"])
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


@pytest.mark.parametrize("bottleneck", ["logit", "hard"])
@pytest.mark.parametrize("kind", ["drop", "annotate"])
def test_through_other_activations(bottleneck, kind, given):
    explainer = explain(given, bottleneck=bottleneck)
    edit = random_edit(kind, 0.1, given)
    found = explainer.edit(**edit).estimator
    assert_same_model(found, retrained(given.edited(edit), explainer))


@pytest.mark.parametrize("name", VALUES)
def test_dropping_a_concept_is_fitting_without_it(name, explainer, given):
    edit = {"drop_concepts": [name], "drop": [1, 5]}
    result = explainer.edit(**edit)
    clf = result.estimator
    assert_same_model(clf, retrained(given.edited(edit), explainer))
    left = [other for other in VALUES if other != name]
    assert list(clf.concept_names_in_) == left
    assert clf.n_concepts_ == 2
    assert list(clf.predict_concepts(given.X).columns) == left
    assert clf.intervene(given.X, given.concepts[left]).shape == (N, 3)
    again = {"drop_concepts": left[:1], "sample_weight": {7: 2.0}}
    twice = result.explainer.edit(**again).estimator
    expected = retrained(given.edited(edit).edited(again), explainer)
    assert_same_model(twice, expected)


def test_everything_at_once(explainer, given):
    edit = {
        **random_edit("relabel", 0.05, given, seed=1),
        **random_edit("annotate", 0.05, given, seed=2),
        **random_edit("reweight", 0.05, given, seed=3),
        **random_edit("add", 0.05, given, seed=4),
    }
    del edit["concepts"]["food"]
    del edit["add"]["concepts"]["food"]  # not annotated, as a partial frame says
    del edit["add"]["concept_sample_weight"]
    edit["drop_concepts"] = ["food"]
    changed = {*edit["y"], *edit["concepts"]["quiet"], *edit["sample_weight"]}
    edit["drop"] = [row for row in range(40) if row not in changed]
    by_hand = given.edited({**edit, "drop_concepts": []})
    by_hand = by_hand.edited({"drop_concepts": ["food"]})
    assert_same_model(explainer.edit(**edit).estimator, retrained(by_hand, explainer))


def test_numbers_as_annotations():
    given = Given()
    price = pd.Series(given.X[:, 2] + 0.3 * given.X[:, 3])
    given.concepts["price"] = price.where(given.concepts["price"].notna())
    explainer = explain(given, training="independent")
    edit = {"concepts": {"price": {3: 0.25, 4: np.nan, 9: None, 11: -4}}}
    result = explainer.edit(**edit)
    assert_same_model(result.estimator, retrained(given.edited(edit), explainer))
    head = result.record.heads[2]
    assert (head.head, head.start) == ("price", "current")
    assert result.explainer._training["codes"][11, 2] == -4


@pytest.mark.parametrize("n", [5, 40])
def test_fewer_rows_than_features(n):
    """Both are solved in the span of the rows, which added ones can leave."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 60))
    concepts = np.where(X[:, :2] + 0.5 * rng.normal(size=(40, 2)) > 0, "yes", "no")
    y = (X[:, :3].sum(axis=1) > 0).astype(int)
    add = {"X": rng.normal(size=(n, 60)), "y": [0, 1] * (n // 2) + [1] * (n % 2)}
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    result = explainer.edit(add=add, drop=[3], X_val=X, y_val=y)
    assert result.record.predicted_effect is None  # outside of what was factorised
    result = result.explainer.edit(drop=[4])
    weights = np.ones(40 + n)
    weights[[3, 4]] = 0
    none = np.full((n, 2), None)
    expected = clone(clf).fit(
        np.concatenate([X, add["X"]]),
        np.r_[y, add["y"]],
        weights,
        concepts=np.concatenate([concepts.astype(object), none]),
    )
    assert_same_model(result.estimator, expected)


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["drop", "reweight", "relabel"])
def test_logistic_regression(kind, fit_intercept, labels):
    X, y, _ = make_concept_data(N, n_classes=labels)
    given = Given()
    given.y = y
    clf = LogisticRegression(
        fit_intercept=fit_intercept, class_weight="balanced", tol=1e-10, max_iter=10_000
    )
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, given.weights)
    edit = random_edit(kind, 0.1, given)
    found = explainer.edit(**edit).estimator
    edited = given.edited(edit)
    held = explainer._training["class_weight"]
    weights = edited.weights * held[np.searchsorted(clf.fit(X, y).classes_, edited.y)]
    expected = clone(clf).set_params(class_weight=None, solver="newton-cg")
    expected.fit(X, edited.y, weights)
    np.testing.assert_allclose(found.coef_, expected.coef_, **CLOSE)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, **CLOSE)
    np.testing.assert_array_equal(found.classes_, expected.classes_)
    assert found.n_iter_.shape == explainer.estimator_.n_iter_.shape


def test_rows_of_no_weight_come_back_with_their_annotations(explainer, given):
    dropped = explainer.edit(drop=[4, 8]).explainer
    back = dropped.edit(sample_weight={4: given.weights[4], 8: given.weights[8]})
    assert_same_model(back.estimator, explainer.estimator_)
    other = Given()
    other.weights[[4, 8]] = 0  # from the start; what stands there may be anything
    other.concepts.loc[8, "food"] = "never seen"
    other.concepts.loc[4, "quiet"] = "yes"
    started = explain(other)
    edit = {"sample_weight": {4: 1.0, 8: 1.0}}  # now a value of its own, as in a fit
    found = started.edit(**edit).estimator
    assert_same_model(found, retrained(other.edited(edit), started))


def test_a_whole_array_of_weights(explainer, given):
    weights = np.linspace(0, 2, N)
    found = explainer.edit(sample_weight=weights)
    expected = retrained(given.edited({"sample_weight": weights}), explainer)
    assert_same_model(found.estimator, expected)
    assert len(found.record.changes) == (weights != given.weights).sum()


# --- Edits of edits -------------------------------------------------------------------


def test_twenty_edits_do_not_drift(explainer, given):
    last, edited = explainer, given
    for i in range(20):
        edit = random_edit(KINDS[i % len(KINDS)], 0.02, edited, seed=i)
        edited, last = edited.edited(edit), last.edit(**edit).explainer
    expected = retrained(edited, explainer)
    assert_same_model(last.estimator_, expected)


def test_editing_twice_is_editing_once_with_both(explainer, given):
    first = random_edit("relabel", 0.1, given, seed=1)
    second = random_edit("relabel", 0.1, given, seed=2)
    twice = explainer.edit(**first).explainer.edit(**second).estimator
    once = explainer.edit(y={**first["y"], **second["y"]}).estimator
    assert_same_model(twice, once)


def test_an_edit_goes_on_from_one_that_was_stopped_short(explainer, given):
    first, then = random_edit("annotate", 0.1, given), {"y": {0: "never"}}
    short = explainer.edit(**first, n_steps=1)
    assert not short.record.converged
    result = short.explainer.edit(**then)
    expected = retrained(given.edited(first).edited(then), explainer)
    assert_same_model(result.estimator, expected)
    assert starts(short.explainer.edit(drop=[]))["food"] == "current"
    assert starts(result.explainer.edit(drop=[]))["food"] == "kept"


def test_an_edit_can_be_taken_back(explainer):
    there = explainer.edit(y={3: "never"}, concepts={"food": {3: None}}, drop=[5])
    old = there.record.changes.set_index("kind")["old"]
    back = there.explainer.edit(
        y={3: old["relabel"]},
        concepts={"food": {3: old["annotate"]}},
        sample_weight={5: old["drop"]},
    )
    assert_same_model(back.estimator, explainer.estimator_)
    assert back.record.data_after == there.record.data_before
    assert back.record.data_before == there.record.data_after


def test_influence_of_the_edited_model_is_that_of_the_retrained_one(explainer, given):
    edit = {
        **random_edit("relabel", 0.1, given),
        **random_edit("annotate", 0.1, given, seed=1),
        **random_edit("add", 0.1, given, seed=2),
        "drop_concepts": ["quiet"],
    }
    del edit["concepts"]["quiet"]
    by_hand = given.edited({**edit, "drop_concepts": []})
    by_hand = by_hand.edited({"drop_concepts": ["quiet"]})
    clf = retrained(by_hand, explainer)
    truth = by_hand.fit(ConceptInfluenceExplainer(clf, method="newton"))
    edited = explainer.edit(**edit).explainer.set_params(method="newton")
    X, y, _ = make_concept_data(9, seed=5)
    found, expected = (one.influence(X, y, paths=True) for one in (edited, truth))
    np.testing.assert_allclose(found.values, expected.values, atol=1e-7)
    rank, _ = spearmanr(found.values.ravel(), expected.values.ravel())
    assert rank >= 0.9999
    assert found.paths == expected.paths
    pd.testing.assert_frame_equal(found.training, expected.training)
    np.testing.assert_allclose(edited.transform(X), truth.transform(X), atol=1e-7)


# --- Which way ------------------------------------------------------------------------


def starts(result):
    return {head.head: head.start for head in result.record.heads}


def test_every_head_goes_its_own_way(given):
    explainer = explain(given)
    food = random_edit("annotate", 0.3, given)["concepts"]["food"]
    ways = starts(explainer.edit(concepts={"food": food}))
    assert ways == {"food": "zero", "quiet": "kept", "price": "kept", "label": "zero"}
    before = given.concepts["food"][3]
    other = next(value for value in VALUES["food"] if value != before)
    ways = starts(explainer.edit(concepts={"food": {3: other}}))
    assert ways["food"] == ways["label"] == "current"
    ways = starts(explainer.edit(drop=list(range(90))))
    assert set(ways.values()) == {"current"}
    ways = starts(explainer.edit(y={3: given.y[4]} if given.y[3] != given.y[4] else {}))
    assert set(ways.values()) <= {"kept", "current"}
    assert set(starts(explainer.edit(drop=[])).values()) == {"kept"}


def test_a_first_step_that_is_cut_short_leads_back_to_zero():
    """Rows added against all that was learnt are no changed codes, but as bad."""
    X, y, concepts = make_concept_data(N, missing=0)
    kwargs = {"C": 1e3, "concept_C": 1e3}
    given = Given()
    given.X, given.y, given.concepts = X, y, concepts
    given.concept_weights, given.weights = np.ones((N, 3)), np.ones(N)
    explainer = explain(given, **kwargs)
    values = {
        name: dict(zip(v, [*v[1:], v[0]], strict=True)) for name, v in VALUES.items()
    }
    against = concepts.apply(lambda column: column.map(values[column.name]))
    edit = {"add": {"X": 5 * X, "y": y, "concepts": against}}
    result = explainer.edit(**edit)
    assert "zero" in starts(result).values()
    assert {head.n_steps > 1 for head in result.record.heads} == {True}
    assert_same_model(result.estimator, retrained(given.edited(edit), explainer))


def test_two_steps_are_near_after_dropping(given):
    explainer = explain(given)
    for kind in ("drop", "reweight"):
        edit = random_edit(kind, 0.1, given)
        full, two = explainer.edit(**edit), explainer.edit(**edit, n_steps=2)
        old, new = (parameters(one) for one in (explainer.estimator_, full.estimator))
        left = np.linalg.norm(parameters(two.estimator) - new)
        assert 0 < left <= 0.02 * np.linalg.norm(old - new)
        assert not two.record.converged
        assert full.record.converged
        assert two.record.n_steps == 2
        for head in two.record.heads:
            assert head.n_steps == 2
            assert head.tolerance < head.after < 0.1 * head.before


def test_a_cap_keeps_to_where_heads_stand(given):
    edit = random_edit("annotate", 0.3, given)
    result = explain(given).edit(**edit, n_steps=3)
    assert set(starts(result).values()) == {"current"}


def test_gradients_are_those_of_the_edited_rows(given):
    """Distance to stationarity, by finite differences of the objective."""
    explainer = explain(given, training="sequential")
    edit = random_edit("relabel", 0.1, given)
    head = explainer.edit(**edit).record.heads[-1]
    edited, clf = given.edited(edit), explainer.estimator_
    codes = np.searchsorted(clf.classes_, edited.y)
    Z = np.column_stack([clf.transform(edited.X), np.ones(N)])
    weights = edited.weights

    def objective(flat):
        V = flat.reshape(3, -1)
        logits = Z @ V.T
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(N), codes]
        return weights @ losses + (V[:, :-1] ** 2).sum() / 2

    at = np.column_stack([clf.coef_, clf.intercept_]).ravel()
    steps = 1e-5 * np.eye(len(at))
    gradient = [(objective(at + s) - objective(at - s)) / 2e-5 for s in steps]
    # Contrasts are orthonormal: the norm is the same for logits and for scores.
    assert head.before == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert head.after <= head.tolerance <= 1e-8


def test_stopping_short_without_being_told_is_warned_of(given):
    explainer = explain(given)
    explainer.estimator_.max_iter = 1
    with pytest.warns(
        ConvergenceWarning, match="'label' stopped at .* raise max_iter=1"
    ):
        result = explainer.edit(**random_edit("relabel", 0.1, given))
    assert not result.record.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer.edit(**random_edit("relabel", 0.1, given), n_steps=1)


# --- What comes back ------------------------------------------------------------------


def assert_usable(result, X, expected):
    estimator = result.estimator
    np.testing.assert_allclose(estimator.predict_proba(X), expected, atol=1e-6)
    loaded = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    frozen = FrozenEstimator(estimator)
    np.testing.assert_array_equal(clone(frozen).predict(X), estimator.predict(X))
    assert not hasattr(clone(estimator), "classes_")


def test_the_estimator_is_usable_everywhere(explainer, given):
    edit = random_edit("drop", 0.1, given)
    result = explainer.edit(**edit)
    clf, edited = result.estimator, given.edited(edit)
    expected = retrained(edited, explainer)
    assert_usable(result, given.X, expected.predict_proba(given.X))
    known = skops.io.get_untrusted_types(data=skops.io.dumps(clf))
    assert known == ["skclif.ConceptBottleneckClassifier"]
    found = clf.intervene(given.X, given.concepts)
    np.testing.assert_allclose(
        found, expected.intervene(given.X, given.concepts), atol=1e-6
    )
    assert clf.get_params() == explainer.estimator.get_params()
    # It stands at the optimum of the edited rows, so it can be explained as it is.
    edited.fit(ConceptInfluenceExplainer(FrozenEstimator(clf)))


def test_nothing_that_was_there_changes(explainer, given):
    X = given.X.copy()
    before = pickle.dumps(vars(explainer.estimator_))
    rows = {name: part.copy() for name, part in explainer._training.items()}
    influence = explainer.influence(X[:3], given.y[:3]).values
    edit = {**random_edit("annotate", 0.3, given), **random_edit("relabel", 0.3, given)}
    result = explainer.edit(**edit, drop_concepts=None)
    result.explainer.edit(drop=[0])
    assert pickle.dumps(vars(explainer.estimator_)) == before
    for name, part in explainer._training.items():
        np.testing.assert_array_equal(part, rows[name])
    again = explainer.influence(X[:3], given.y[:3]).values
    np.testing.assert_array_equal(again, influence)


@pytest.mark.parametrize("final", ["bottleneck", "logistic regression"])
def test_a_pipeline_keeps_its_leading_steps(final, given):
    if final == "bottleneck":
        last, more = ConceptBottleneckClassifier(), {"concepts": given.concepts}
    else:
        last, more = LogisticRegression(), {}
    inner = make_pipeline(FunctionTransformer(lambda X: X), last)
    pipeline = make_pipeline(StandardScaler(), inner)
    explainer = ConceptInfluenceExplainer(pipeline).fit(given.X, given.y, **more)
    result = explainer.edit(y={3: "never"}, add={"X": given.X[:2], "y": given.y[:2]})
    found = result.estimator
    assert found[0] is explainer.estimator_[0]
    assert found[-1] is not explainer.estimator_[-1]
    scaled = explainer.estimator_[0].transform(given.X)
    y = np.r_[given.y, given.y[:2]]
    y[3] = "never"
    if more:
        none = pd.DataFrame(index=range(2), columns=given.concepts.columns)
        more = {"concepts": pd.concat([given.concepts, none], ignore_index=True)}
        expected = ConceptBottleneckClassifier()
    else:
        expected = LogisticRegression(tol=1e-10, max_iter=10_000)
    expected.fit(np.concatenate([scaled, scaled[:2]]), y, **more)
    proba = expected.predict_proba(scaled)
    np.testing.assert_allclose(found.predict_proba(given.X), proba, atol=1e-6)
    assert "lambda" not in repr(found[0])
    again = result.explainer.edit(drop=[N + 1])  # added rows have positions
    assert again.record.changes["row"].tolist() == [N + 1]


def test_texts_of_added_rows_can_be_read(tiny_encoder):
    from skclif import SentenceEmbedder

    texts = ["good food", "bad food", "rude waiter", "lovely soup"] * 3
    y, concepts = ["a", "b", "b", "a"] * 3, [["x"], ["y"], ["y"], ["x"]] * 3
    pipeline = make_pipeline(
        SentenceEmbedder(tiny_encoder), ConceptBottleneckClassifier()
    )
    explainer = ConceptInfluenceExplainer(pipeline).fit(texts, y, concepts=concepts)
    add = {"X": ["warm soup"], "y": ["a"], "concepts": [["x"]]}
    result = explainer.edit(add=add, y={0: "b"})
    assert result.estimator[0] is explainer.estimator_[0]
    frame = result.explainer.influence(["cold soup"], ["b"]).training
    assert frame["text"].tolist() == [*texts, "warm soup"]
    assert frame["label"].tolist() == ["b", *y[1:], "a"]
    assert frame["concept0"].tolist() == [c for (c,) in concepts] + ["x"]


def test_a_frozen_model_is_edited_to_a_new_one(given):
    clf = given.fit(ConceptBottleneckClassifier())
    before = parameters(clf)
    explainer = given.fit(ConceptInfluenceExplainer(FrozenEstimator(clf)))
    edit = random_edit("relabel", 0.1, given)
    result = explainer.edit(**edit)
    assert isinstance(result.estimator, FrozenEstimator)
    assert result.estimator.estimator is not clf
    np.testing.assert_array_equal(parameters(clf), before)
    expected = retrained(given.edited(edit), explainer)
    assert_same_model(result.estimator.estimator, expected)
    again = result.explainer.edit(drop=[1]).estimator
    expected = retrained(given.edited(edit).edited({"drop": [1]}), explainer)
    assert_same_model(again.estimator, expected)


def test_a_loaded_explainer_edits_the_same(explainer, given):
    edit = random_edit("reweight", 0.1, given)
    for one in (explainer, explainer.edit(drop=[2]).explainer):
        loaded = pickle.loads(pickle.dumps(one))
        found, expected = loaded.edit(**edit), one.edit(**edit)
        assert_same_model(found.estimator, expected.estimator)
        assert found.record.data_after == expected.record.data_after


def test_an_edited_explainer_is_one_that_was_fitted(explainer, given):
    edited = explainer.edit(drop=[0]).explainer
    assert set(vars(edited)) - {"_nearby"} == set(vars(explainer)) - {"_solved"}
    assert edited.get_params().keys() == explainer.get_params().keys()
    fresh = given.fit(clone(edited))
    assert_same_model(fresh.estimator_, explainer.estimator_)


def test_kinds_of_concepts_that_are_gone_are_forgotten(given):
    kinds = {"price": "continuous", "food": "categorical"}
    given = Given()
    explainer = explain(given, concept_kinds=kinds)
    result = explainer.edit(drop_concepts=["price"])
    assert result.estimator.concept_kinds == {"food": "categorical"}
    assert explainer.estimator.concept_kinds == kinds
    expected = given.edited({"drop_concepts": ["price"]})
    assert_same_model(result.estimator, expected.fit(clone(result.estimator)))


# --- The record -----------------------------------------------------------------------


def test_the_record_says_what_was_changed(explainer, given):
    row = int(np.flatnonzero(given.concepts["food"] == "good")[0])
    bare = int(np.flatnonzero(given.concepts["price"].isna())[0])
    add = {"X": given.X[:1], "y": ["again"]}
    result = explainer.edit(
        y={2: "never" if given.y[2] != "never" else "again", 3: given.y[3]},
        concepts={"food": {row: "bad", bare: given.concepts["food"][bare]}},
        sample_weight={7: 9},
        drop=[11],
        add=add,
        drop_concepts=["quiet"],
    )
    found = result.record.changes.astype(object).values.tolist()
    assert found == [
        ["relabel", 2, None, given.y[2], "never" if given.y[2] != "never" else "again"],
        ["annotate", row, "food", "good", "bad"],
        ["reweight", 7, None, given.weights[7], 9.0],
        ["drop", 11, None, given.weights[11], 0.0],
        ["add", N, None, None, "again"],
        ["drop_concept", -1, "quiet", None, None],
    ]
    taken = explainer.edit(concepts={"price": {bare: 3}}).record.changes
    assert taken.values.tolist() == [["annotate", bare, "price", None, 3]]
    assert [head.head for head in result.record.heads] == ["food", "price", "label"]


def test_the_record_is_plain_data(explainer, given):
    X, y, _ = make_concept_data(30, seed=3)
    for edit in (
        random_edit("annotate", 0.1, given),
        {"y": {np.int64(3): np.str_("never")}, "drop": np.array([5])},
        {"sample_weight": np.ones(N)},
        {"drop": []},
    ):
        record = explainer.edit(**edit, X_val=X, y_val=y).record
        plain = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert len(plain["changes"]) == len(record.changes)
        assert plain["heads"][-1]["head"] == "label"
        assert plain["data_before"] != plain["data_after"] or record.changes.empty


def test_fingerprints_follow_what_they_are_of(explainer, given):
    nothing = explainer.edit(y={0: given.y[0]}).record
    assert nothing.changes.empty
    assert nothing.data_before == nothing.data_after
    assert nothing.model_before == nothing.model_after
    other = explainer.edit(drop=[0]).record
    assert (other.data_before, other.model_before) == (
        nothing.data_before,
        nothing.model_before,
    )
    assert other.data_after != other.data_before
    assert other.model_after != other.model_before
    assert len(other.data_after) == len(other.model_after) == 64
    gone = explainer.edit(drop_concepts=["food"]).record
    assert len({gone.data_after, other.data_after, nothing.data_after}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_effects_are_those_of_the_edit(kind, explainer, given):
    X, y, _ = make_concept_data(600, seed=3)  # more than are asked about at a time
    codes = np.searchsorted(explainer.classes_, y)

    def loss(estimator):
        return -np.log(estimator.predict_proba(X)[np.arange(600), codes]).mean()

    edit = random_edit(kind, 0.01, given)
    result = explainer.edit(**edit, X_val=X, y_val=y)
    record = result.record
    achieved = loss(result.estimator) - loss(explainer.estimator_)
    assert record.achieved_effect == pytest.approx(achieved, abs=1e-9)
    # Three of 300 rows are no small change where annotations have few rows.
    assert record.predicted_effect == pytest.approx(achieved, rel=0.5, abs=1e-3)


def test_the_predicted_effect_is_the_derivative(explainer, given):
    X, y, _ = make_concept_data(200, seed=3)
    rng = np.random.default_rng(0)
    direction = given.weights * rng.normal(size=N)
    step = 1e-4

    def effect(size):
        weights = given.weights + size * direction
        record = explainer.edit(sample_weight=weights, X_val=X, y_val=y).record
        return record.predicted_effect, record.achieved_effect

    (predicted, up), (_, down) = effect(step), effect(-step)
    assert predicted == pytest.approx((up - down) / 2, rel=1e-3)


def test_the_predicted_effect_of_dropping_a_row_is_its_influence(explainer, given):
    X, y, _ = make_concept_data(600, seed=3)
    influence = explainer.influence(X, y, reduce="mean").values[0, 17]
    record = explainer.edit(drop=[17], X_val=X, y_val=y).record
    assert record.predicted_effect == pytest.approx(-influence)


def test_effects_that_are_not_asked_for_are_none(explainer, given):
    record = explainer.edit(drop=[17]).record
    assert record.predicted_effect is record.achieved_effect is None
    record = explainer.edit(drop_concepts=["food"], X_val=given.X, y_val=given.y).record
    assert record.predicted_effect is None
    assert record.achieved_effect > 0  # on the training rows


def test_a_result_says_what_it_is(explainer):
    result = explainer.edit(drop=[1, 2], y={5: "never"})
    assert isinstance(result, EditResult)
    assert repr(result).startswith("<EditResult: 2 x drop")
    assert repr(result.record).startswith("<EditRecord: 2 x drop")
    assert "at the optimum, " in repr(result)
    assert "not at the optimum" in repr(explainer.edit(drop=[1, 2], n_steps=1))
    assert "nothing" in repr(explainer.edit(drop=[]))
    with pytest.raises(AttributeError):
        result.estimator = None
