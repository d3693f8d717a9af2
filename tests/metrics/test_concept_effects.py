"""Effects of concepts on the label, against interventions one by one."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import ConceptBottleneckClassifier
from skclif.metrics import ConceptEffectDisplay, concept_effects

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
CONCEPTS = pd.DataFrame(
    {
        "food": np.digitize(X[:, 0], [-0.5, 0.5]),
        "open": np.where(X[:, 1] > 0, "yes", "no"),
        "price": X[:, 2] + 0.1 * RNG.normal(size=80),
    }
)
Y = np.digitize(X[:, 0] + X[:, 1] + RNG.normal(size=80), [-0.8, 0.8])


@pytest.fixture(scope="module")
def clf():
    return ConceptBottleneckClassifier().fit(X, Y, concepts=CONCEPTS)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_effects_are_interventions_minus_predictions(clf):
    effects = concept_effects(clf, X[:30])
    before = clf.predict_proba(X[:30])
    assert len(effects.values) == 3 + 2 + 3
    for (name, value), change in zip(
        effects.values.itertuples(index=False), effects.changes, strict=True
    ):
        after = clf.intervene(X[:30], pd.DataFrame({name: [value] * 30}))
        np.testing.assert_allclose(change, after - before, atol=1e-12)
    np.testing.assert_allclose(effects.changes.sum(axis=2), 0, atol=1e-12)
    np.testing.assert_allclose(effects.predicted, before)


def test_a_line_of_the_frame_is_a_weighted_mean_with_its_interval(clf):
    weights = np.arange(30.0)
    effects = concept_effects(clf, X[:30], sample_weight=weights)
    line = (
        effects.to_frame()
        .set_index(["concept", "value", "label"])
        .loc["open", "yes", 2]
    )
    change = effects.changes[4, :, 2]
    mean = np.average(change, weights=weights)
    assert line["effect"] == pytest.approx(mean)
    # 29 rows have weight; Student's t with 28 degrees of freedom.
    error = np.sqrt(29 / 28 * ((weights * (change - mean)) ** 2).sum()) / weights.sum()
    assert line["high"] - mean == pytest.approx(2.048407 * error, rel=1e-6)
    assert mean - line["low"] == pytest.approx(line["high"] - mean)


def test_a_continuous_concept_takes_quantiles_of_its_predictions(clf):
    found = concept_effects(clf, X).values
    price = found.loc[found["concept"] == "price", "value"].astype(float)
    predicted = clf.predict_concepts(X)["price"]
    np.testing.assert_allclose(price, np.quantile(predicted, [0.1, 0.5, 0.9]))


def test_values_can_be_chosen(clf):
    found = concept_effects(clf, X, values={"price": [0, 1.5], "open": ["no"]}).values
    chosen = found[found["concept"] != "food"]
    assert list(chosen.itertuples(index=False, name=None)) == [
        *(("open", "no"), ("price", 0), ("price", 1.5))
    ]


def test_a_pipeline_is_taken_apart_and_nothing_is_warned_of(clf):
    pipe = make_pipeline(
        StandardScaler(), ConceptBottleneckClassifier(training="sequential")
    )
    pipe.fit(X, Y, conceptbottleneckclassifier__concepts=CONCEPTS)
    with warnings.catch_warnings(action="error"):
        effects = concept_effects(pipe, X)
    np.testing.assert_allclose(effects.predicted, pipe.predict_proba(X))
    assert repr(effects) == (
        "<ConceptEffects of 8 values of 3 concepts on 3 labels: mean over 80 rows>"
    )


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"fod": [1]}, ValueError, "values names 'fod', but the concepts are 'food'"),
        (
            {"food": [7]},
            ValueError,
            "the value 7 for concept 'food'.*never seen in fit",
        ),
        ({"open": "yes"}, ValueError, r"values\['open'\] must be a list .* got 'yes'"),
        ({"food": []}, ValueError, r"values\['food'\] must be a list .* or more"),
        ([("food", 1)], TypeError, "values must be a dict from the names .* got list"),
    ],
)
def test_values_that_are_refused(clf, values, error, message):
    with pytest.raises(error, match=message):
        concept_effects(clf, X, values=values)


def test_models_that_are_refused():
    with pytest.raises(TypeError, match="must be a fitted ConceptBottleneckClassifier"):
        concept_effects(LogisticRegression().fit(X, Y), X)
    plain = ConceptBottleneckClassifier().fit(X, Y)
    with pytest.raises(ValueError, match="concept_effects needs a model with concepts"):
        concept_effects(plain, X)


def test_the_drawing_has_a_mark_for_each_value_and_label(clf):
    effects = concept_effects(clf, X)
    display = ConceptEffectDisplay(effects).plot()
    assert list(display.errorbars_) == [0, 2]  # the first and the last of three
    frame = effects.to_frame()
    drawn = display.errorbars_[2][0].get_xdata()
    np.testing.assert_allclose(drawn, frame.loc[frame["label"] == 2, "effect"])
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names[:4] == ["food = 0", "food = 1", "food = 2", "open = no"]
    only = ConceptEffectDisplay(effects).plot(labels=[1], ax=plt.figure().add_subplot())
    assert list(only.errorbars_) == [1]


def test_labels_with_an_order_are_listed_and_drawn_in_it():
    words = np.array(["poor", "fair", "great"])
    clf = ConceptBottleneckClassifier(label_head="ordinal", label_order=words)
    clf.fit(X, words[Y], concepts=CONCEPTS)
    effects = concept_effects(clf, X)
    frame = effects.to_frame()
    assert frame["label"].tolist()[:6] == [*words, *words]
    for _, line in frame.head(3).iterrows():
        column = clf.classes_.tolist().index(line["label"])
        assert line["effect"] == pytest.approx(effects.changes[0, :, column].mean())
    assert list(ConceptEffectDisplay(effects).plot().errorbars_) == ["poor", "great"]


def test_of_two_labels_the_second_is_drawn():
    clf = ConceptBottleneckClassifier().fit(X, Y > 0, concepts=CONCEPTS[["open"]])
    display = ConceptEffectDisplay(concept_effects(clf, X)).plot()
    assert list(display.errorbars_) == [True]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([3], "labels has 3, which the model does not know; there are 0, 1, 2"),
        ([], "labels must name 1 to 6 labels, got 0"),
    ],
)
def test_labels_that_are_refused(clf, labels, message):
    with pytest.raises(ValueError, match=message):
        ConceptEffectDisplay(concept_effects(clf, X[:5])).plot(labels=labels)
