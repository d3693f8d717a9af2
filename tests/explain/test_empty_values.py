"""Values and classes that an edit leaves empty, against fits that never had them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .test_edits import parameters

N = 120
CLOSE = {"rtol": 0, "atol": 1e-6}


class Given:
    """Rows with a value, or a class, that few rows have."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.X = rng.normal(size=(N, 4))
        noisy = self.X + rng.normal(0, 0.5, self.X.shape)
        self.y = np.array(["bad", "good", "so-so"])[
            np.digitize(noisy[:, 0] + noisy[:, 1], [-0.5, 0.6])
        ]
        self.concepts = pd.DataFrame(
            {
                "food": np.where(noisy[:, 0] > 0, "fine", "poor").astype(object),
                "price": np.digitize(noisy[:, 1], [-0.4, 0.4]) + 1,
                "wait": noisy[:, 2].round(2),
            }
        )
        self.concepts.loc[::9, "food"] = None
        self.weights = 1.0 + np.arange(N) % 3 / 2

    def fit(self, estimator):
        """Fit an estimator to all of it."""
        return estimator.fit(self.X, self.y, self.weights, concepts=self.concepts)


def explain(given, **params):
    clf = ConceptBottleneckClassifier(**params)
    return given.fit(ConceptInfluenceExplainer(clf, method="first_order"))


def assert_same(result, given, **params):
    fresh = given.fit(ConceptBottleneckClassifier(**params))
    np.testing.assert_allclose(parameters(result.estimator), parameters(fresh), **CLOSE)
    assert result.estimator.classes_.tolist() == fresh.classes_.tolist()
    for found, expected in zip(
        result.estimator.concept_classes_, fresh.concept_classes_, strict=True
    ):
        if expected is not None:
            assert found.tolist() == expected.tolist()
            assert found.dtype == expected.dtype
    assert result.estimator.transform(given.X).shape == fresh.transform(given.X).shape
    assert result.record.converged


@pytest.mark.parametrize(
    "params",
    [
        {"training": "mixed"},
        {"training": "sequential", "C": 3.0, "concept_C": 0.3},
        {"training": "independent"},
        {"bottleneck": "logit"},
        {"bottleneck": "hard"},
    ],
    ids=lambda params: "-".join(map(str, params.values())),
)
@pytest.mark.parametrize("n_values", [3, 4])
def test_a_corrected_typing_error_is_a_fit_without_it(n_values, params):
    given = Given()
    name, wrong, right = {
        3: ("food", "fnie", "fine"),
        4: ("price", 7, 2),
    }[n_values]
    given.concepts.loc[[4, 50], name] = wrong
    explainer = explain(given, **params)
    with pytest.raises(ValueError, match=f"{wrong!r} of concept '{name}'.*'drop'"):
        explainer.edit(concepts={name: {4: right, 50: right}})
    result = explainer.edit(concepts={name: {4: right, 50: right}}, empty_values="drop")
    given.concepts.loc[[4, 50], name] = right
    assert_same(result, given, **params)
    gone = result.record.changes.iloc[-1]
    assert gone[["kind", "row", "concept", "old", "new"]].tolist() == [
        "drop_value",
        -1,
        name,
        wrong,
        None,
    ]


@pytest.mark.parametrize("kind", ["bottleneck", "frozen", "no concepts", "logistic"])
def test_a_class_goes_with_its_only_row(kind):
    given = Given()
    if kind in ("no concepts", "logistic"):
        given.concepts = None
    given.y[given.y == "so-so"] = "good"
    given.y[7] = "godo"
    clf = ConceptBottleneckClassifier()
    if kind == "frozen":
        clf = FrozenEstimator(given.fit(clf))
    if kind == "logistic":
        clf = LogisticRegression()
        explainer = ConceptInfluenceExplainer(clf).fit(given.X, given.y, given.weights)
    else:
        explainer = given.fit(ConceptInfluenceExplainer(clf))
    before = explainer.predict_proba(given.X)
    result = explainer.edit(y={7: "good"}, empty_values="drop")
    given.y[7] = "good"
    if kind == "logistic":
        fresh = LogisticRegression(tol=1e-10).fit(given.X, given.y, given.weights)
        np.testing.assert_allclose(result.estimator.coef_, fresh.coef_, atol=1e-5)
        assert result.estimator.classes_.tolist() == ["bad", "good"]
    else:
        assert_same(result, given)
    assert result.record.changes.values.tolist()[-1] == [
        "drop_value",
        -1,
        None,
        "godo",
        None,
    ]
    np.testing.assert_array_equal(explainer.predict_proba(given.X), before)


def test_several_go_at_once_and_the_rest_of_the_edit_is_made():
    given = Given()
    given.concepts.loc[[4], "food"] = "fnie"
    given.concepts.loc[[5], "price"] = 9
    given.y[6] = "?"
    explainer = explain(given)
    result = explainer.edit(
        y={6: "bad", 8: "bad"},
        concepts={"food": {4: None}, "price": {5: 1}},
        drop_concepts=["wait"],
        drop=[11],
        empty_values="drop",
    )
    given.y[[6, 8]], given.weights[11] = "bad", 0
    given.concepts.loc[4, "food"], given.concepts.loc[5, "price"] = None, 1
    given.concepts = given.concepts.drop(columns="wait")
    assert_same(result, given)
    # The explainer of the edited model is that of the fit without the values.
    fresh = given.fit(
        ConceptInfluenceExplainer(ConceptBottleneckClassifier(), method="first_order")
    )
    found, expected = (
        e.influence(given.X[:3], given.y[:3], paths=True).values
        for e in (result.explainer, fresh)
    )
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_dropped_rows_of_a_class_that_went_stay_without_a_label():
    given = Given()
    explainer = explain(given)
    rows = np.flatnonzero(given.y == "so-so")
    result = explainer.edit(drop=rows, empty_values="drop")
    kept = np.setdiff1d(np.arange(N), rows)
    without = Given()
    without.X, without.y, without.weights, without.concepts = (
        given.X[kept],
        given.y[kept],
        given.weights[kept],
        given.concepts.iloc[kept],
    )
    assert_same(result, without)
    shown = result.explainer.influence(given.X[:2]).training["label"]
    assert pd.isna(shown[rows[0]]) and shown[kept[0]] == given.y[kept[0]]
    assert len(result.explainer.suspect_labels("label")) == len(kept)
    # A model that was frozen after such an edit can be explained on the same rows.
    given.weights[rows] = 0
    frozen = given.fit(ConceptInfluenceExplainer(FrozenEstimator(result.estimator)))
    assert frozen.edit(drop=[kept[0]]).record.converged
    row = int(rows[0])
    with pytest.raises(ValueError, match=f"row {row}, whose class went from the model"):
        result.explainer.edit(sample_weight={row: 1})
    again = result.explainer.edit(sample_weight={row: 1}, y={row: "bad"})
    assert again.record.changes.values.tolist()[0] == [
        "relabel",
        row,
        None,
        None,
        "bad",
    ]
    without.X = np.vstack([without.X, given.X[[row]]])
    without.y = np.append(without.y, "bad")
    without.weights = np.append(without.weights, 1.0)
    without.concepts = pd.concat([without.concepts, given.concepts.iloc[[row]]])
    assert_same(again, without)


def test_effects_and_comparison_of_a_model_that_lost_values():
    given = Given()
    new = Given()
    new.X = new.X + 0.1
    given.concepts.loc[[4], "food"] = "aha"  # first in order: all codes move
    given.y[7] = "a"
    explainer = explain(given)
    result = explainer.edit(
        y={7: "bad"},
        concepts={"food": {4: "fine"}},
        X_val=new.X,
        y_val=new.y,
        empty_values="drop",
    )

    def loss(model):
        codes = np.searchsorted(model.classes_, new.y)
        return -np.log(model.predict_proba(new.X)[np.arange(N), codes]).mean()

    change = loss(result.estimator) - loss(explainer.estimator_)
    assert result.record.achieved_effect == pytest.approx(change)
    assert result.record.predicted_effect is None
    new.concepts.loc[1, "food"] = "aha"
    compared = result.compare(new.X, new.y, new.concepts)
    assert compared.log_loss.change == pytest.approx(change)
    for when, model in (("before", explainer.estimator_), ("after", result.estimator)):
        hit = model.predict(new.X) == new.y
        assert getattr(compared.accuracy, when) == pytest.approx(hit.mean())
        known = new.concepts["food"].notna()
        hit = (model.predict_concepts(new.X)["food"] == new.concepts["food"])[known]
        quality = compared.concepts.set_index("concept").loc["food", when]
        assert quality == pytest.approx(hit.mean())
    new.y[3] = "a"
    with pytest.raises(ValueError, match="y has the class 'a' in row 3, which went"):
        result.compare(new.X, new.y)
    with pytest.raises(ValueError, match="y_val has the class 'a' in row 3, and"):
        explainer.edit(y={7: "bad"}, X_val=new.X, y_val=new.y, empty_values="drop")


@pytest.mark.parametrize("training", ["mixed", "sequential"])
def test_a_few_steps_begin_among_the_values_that_are_left(training):
    given = Given()
    given.concepts.loc[[4], "food"] = "fnie"
    given.concepts.loc[[5], "price"] = 9
    given.y[6] = "?"
    explainer = explain(given, training=training)
    edit = {
        "y": {6: "bad"},
        "concepts": {"food": {4: "fine"}, "price": {5: 1}},
        "empty_values": "drop",
    }
    short, whole = explainer.edit(**edit, n_steps=2), explainer.edit(**edit)
    assert {head.start for head in short.record.heads} == {"current", "kept"}
    proba = [r.estimator.predict_proba(given.X) for r in (short, whole)]
    # One row of 120 moved: two steps from the old model are close, and from zero they
    # are not.
    assert np.abs(proba[0] - proba[1]).max() < 5e-3


def test_two_classes_and_an_annotation_must_be_left():
    given = Given()
    given.y[given.y == "so-so"] = "good"
    explainer = explain(given)
    nobody = dict.fromkeys(range(N))
    with pytest.raises(ValueError, match="'food' without an annotation that has weig"):
        explainer.edit(concepts={"food": nobody}, empty_values="drop")
    rows = np.flatnonzero(given.y == "good").tolist()
    with pytest.raises(ValueError, match="fewer than two classes .*\\('bad'\\)"):
        explainer.edit(y=dict.fromkeys(rows, "bad"), empty_values="drop")
    with pytest.raises(ValueError, match="empty_values='keep' must be 'raise'"):
        explainer.edit(drop=[3], empty_values="keep")


def test_nothing_goes_that_keeps_weight():
    given = Given()
    explainer = explain(given)
    found, expected = (
        explainer.edit(drop=[3], empty_values=what) for what in ("drop", "raise")
    )
    np.testing.assert_array_equal(
        parameters(found.estimator), parameters(expected.estimator)
    )
    assert found.record.data_after == expected.record.data_after
