"""The models before and after an edit, compared on the same rows."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.edits.compare import interval_of_mean, interval_of_shares

from ..data import make_concept_data

N = 150
X, Y, CONCEPTS = make_concept_data(2 * N, seed=3)
NAMES = list(CONCEPTS)
CLASSES = sorted(set(Y))


def _explainer(estimator=None, n=N, **more):
    model = ConceptBottleneckClassifier() if estimator is None else estimator
    return ConceptInfluenceExplainer(model).fit(X[:n], Y[:n], **more)


@pytest.fixture(scope="module")
def result():
    """An edit that changes many predictions."""
    rows = np.flatnonzero(Y[:N] == CLASSES[0])[:25]
    explainer = _explainer(concepts=CONCEPTS[:N])
    return explainer.edit(
        y={int(row): CLASSES[1] for row in rows},
        concepts={"food": dict.fromkeys(range(20), "bad")},
    )


@pytest.fixture(scope="module")
def held_out():
    return X[N:], Y[N:], CONCEPTS[N:]


@pytest.fixture(scope="module")
def compared(result, held_out):
    return result.compare(*held_out)


# --- What it says ---------------------------------------------------------------------


def test_it_is_what_both_models_predict(result, compared, held_out):
    features, labels, concepts = held_out
    predicted, losses = [], []
    for model in (result.before, result.estimator):
        proba = model.predict_proba(features)
        predicted.append(model.predict(features))
        own = proba[np.arange(N), np.searchsorted(model.classes_, labels)]
        losses.append(-np.log(own))
    old, new = predicted
    assert compared.n_rows == N
    assert compared.accuracy.before == np.mean(old == labels)
    assert compared.accuracy.after == np.mean(new == labels)
    assert compared.log_loss.before == pytest.approx(losses[0].mean())
    assert compared.log_loss.after == pytest.approx(losses[1].mean())
    assert compared.log_loss.change == pytest.approx((losses[1] - losses[0]).mean())
    frame = compared.to_frame()
    rows = np.flatnonzero(old != new)
    assert len(rows) == compared.n_changed > 5
    assert frame["row"].tolist() == rows.tolist()
    assert frame["label"].tolist() == labels[rows].tolist()
    assert frame["before"].tolist() == old[rows].tolist()
    assert frame["after"].tolist() == new[rows].tolist()
    np.testing.assert_allclose(frame["loss_before"], losses[0][rows])
    np.testing.assert_allclose(frame["loss_after"], losses[1][rows])
    outcomes = [
        "better" if now == true else "worse" if was == true else "neither"
        for was, now, true in zip(old[rows], new[rows], labels[rows], strict=True)
    ]
    assert frame["outcome"].tolist() == outcomes
    assert compared.n_better == outcomes.count("better") > 0
    assert compared.n_worse == outcomes.count("worse") > 0
    change = (compared.n_better - compared.n_worse) / N
    assert compared.accuracy.change == pytest.approx(change)
    for name, line in compared.concepts.set_index("concept").iterrows():
        true = concepts[name]
        known = true.notna().to_numpy()
        assert line["n_rows"] == known.sum() < N
        for when, model in (("before", result.before), ("after", result.estimator)):
            said = model.predict_concepts(features)[name].to_numpy()
            right = said[known] == true[known].to_numpy()
            assert line[when] == pytest.approx(right.mean())
    assert compared.concepts["concept"].tolist() == NAMES
    assert set(compared.concepts["measure"]) == {"accuracy"}


def test_the_effect_is_the_one_of_the_record(held_out):
    features, labels, _ = held_out
    explainer = _explainer(concepts=CONCEPTS[:N])
    result = explainer.edit(drop=[3, 9], X_val=features, y_val=labels)
    change = result.compare(features, labels).log_loss.change
    assert change == pytest.approx(result.record.achieved_effect, abs=1e-12)


def test_an_edit_that_changes_nothing(held_out):
    compared = _explainer(concepts=CONCEPTS[:N]).edit(drop=[]).compare(*held_out)
    assert compared.n_changed == compared.n_better == compared.n_worse == 0
    assert compared.accuracy.change == compared.log_loss.change == 0
    assert compared.log_loss.interval == (0, 0)
    low, high = compared.accuracy.interval
    assert -0.03 < low < 0 < high < 0.03  # on other rows, predictions could change
    assert (compared.concepts["before"] == compared.concepts["after"]).all()


@pytest.mark.parametrize("concepts", [None, CONCEPTS[N:].assign(food=None)])
def test_concepts_without_annotations_have_no_line(concepts, result, held_out):
    compared = result.compare(held_out[0], held_out[1], concepts)
    expected = [] if concepts is None else NAMES[1:]
    assert compared.concepts["concept"].tolist() == expected
    columns = ["concept", "measure", "n_rows", "before", "after"]
    assert list(compared.concepts) == columns


def test_annotations_by_position_and_by_name(result, compared, held_out):
    features, labels, concepts = held_out
    found = result.compare(features, labels, concepts.to_numpy(dtype=object))
    pd.testing.assert_frame_equal(found.concepts, compared.concepts)
    found = result.compare(features, labels, concepts[["price", "food"]]).concepts
    assert found["concept"].tolist() == ["food", "price"]
    assert found["after"].tolist() == compared.concepts["after"].iloc[[0, 2]].tolist()


def test_a_continuous_concept_has_a_mean_absolute_error(held_out):
    features, labels, concepts = held_out
    heat = X[:, 0] + 0.1
    given = CONCEPTS.assign(heat=heat)
    result = _explainer(concepts=given[:N]).edit(concepts={"heat": {4: 9.5}})
    found = result.compare(features, labels, given[N:]).concepts.iloc[-1]
    assert found["measure"] == "mean absolute error"
    for when, model in (("before", result.before), ("after", result.estimator)):
        said = model.predict_concepts(features)["heat"].to_numpy()
        assert found[when] == pytest.approx(np.abs(said - heat[N:]).mean())
    with pytest.raises(
        ValueError, match="'heat' is continuous, but has the value 'hot'"
    ):
        result.compare(features, labels, concepts.assign(heat="hot"))


def test_a_concept_that_was_dropped_has_no_quality_after(held_out):
    result = _explainer(concepts=CONCEPTS[:N]).edit(drop_concepts=["quiet"])
    found = result.compare(*held_out)
    line = found.concepts.set_index("concept").loc["quiet"]
    assert line["before"] > 0.5 and np.isnan(line["after"])
    assert found.to_dict()["concepts"][1]["after"] is None


def test_without_concepts_and_in_a_pipeline(held_out):
    features, labels, concepts = held_out
    model = make_pipeline(StandardScaler(), LogisticRegression())
    result = _explainer(model).edit(y={0: CLASSES[0], 1: CLASSES[0]})
    found = result.compare(features, labels)
    assert found.accuracy.after == result.estimator.score(features, labels)
    assert found.accuracy.before == result.before.score(features, labels)
    with pytest.raises(ValueError, match="given, but the model has no concepts"):
        result.compare(features, labels, concepts)


def _lengths(texts):
    return np.array([[len(text), text.count("a")] for text in texts], dtype=float)


def test_texts_are_shown():
    texts = np.array(["a" * (1 + k % 7) + "b" * (k % 3) for k in range(60)])
    labels = np.where(np.arange(60) % 7 > 3, "long", "short")
    model = make_pipeline(
        FunctionTransformer(_lengths), ConceptBottleneckClassifier(C=0.1)
    )
    explainer = ConceptInfluenceExplainer(model).fit(texts, labels)
    wrong = {int(row): "short" for row in np.flatnonzero(labels == "long")[:18]}
    found = explainer.edit(y=wrong).compare(texts, labels).to_frame()
    assert len(found)
    assert found["text"].tolist() == texts[found["row"]].tolist()


def test_a_frozen_model_is_compared(held_out):
    features, labels, _ = held_out
    fitted = ConceptBottleneckClassifier().fit(X[:N], Y[:N])
    result = _explainer(FrozenEstimator(fitted)).edit(drop=[1, 2])
    assert result.compare(features, labels).accuracy.before == fitted.score(
        features, labels
    )


def test_a_pickled_result_can_be_compared(result, compared, held_out):
    again = pickle.loads(pickle.dumps(result)).compare(*held_out)
    assert again.accuracy == compared.accuracy
    assert again.log_loss == compared.log_loss
    pd.testing.assert_frame_equal(again.changed, compared.changed)


def test_it_is_frozen_and_says_what_it_is(compared):
    with pytest.raises(AttributeError):
        compared.n_rows = 3
    low, high = compared.log_loss.interval
    assert repr(compared).startswith("<EditComparison on 150 rows: accuracy ")
    assert f"[{low:+.2g}, {high:+.2g}] (nats, negative = good)" in repr(compared)
    assert f"{compared.n_changed} predictions changed" in repr(compared)
    frame = compared.to_frame()
    frame["outcome"] = "none"
    assert compared.n_better > 0


def test_plain_values_go_into_json(compared, result, held_out):
    plain = json.loads(json.dumps(compared.to_dict(), allow_nan=False))
    assert plain["accuracy"]["interval"] == list(compared.accuracy.interval)
    assert plain["n_better"] == compared.n_better
    assert [one["concept"] for one in plain["concepts"]] == NAMES
    one = result.compare(held_out[0][:1], held_out[1][:1]).to_dict()
    assert one["log_loss"]["interval"] == [None, None]
    alone = result.compare(held_out[0][:1], held_out[1][:1])
    assert repr(alone).startswith("<EditComparison on 1 row: accuracy ")
    assert "(no interval from one row) (nats, negative = good)" in repr(alone)
    assert repr(alone.log_loss).endswith("(no interval from one row)>")
    assert "nan" not in repr(alone)


HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"


def test_html_escapes_and_says_what_is_left_out(compared):
    changed = compared.changed.assign(text=HOSTILE)
    concepts = compared.concepts.assign(concept=HOSTILE)
    html = replace(compared, changed=changed, concepts=concepts)._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") == 10 + len(NAMES)
    assert f"and {len(changed) - 10} more" in html
    html = replace(compared, changed=changed.head(0))._repr_html_()
    assert "Predictions that changed" not in html


# --- Intervals ------------------------------------------------------------------------


def test_the_interval_of_shares_is_the_one_of_agresti_and_min():
    """By definition: the usual interval, with half a row more in every cell."""
    n, b, c = 40, 7, 2
    table = np.array([[20, c], [b, n - 20 - b - c]]) + 0.5
    shares = table / table.sum()
    difference = shares[1, 0] - shares[0, 1]
    variance = shares[1, 0] + shares[0, 1] - difference**2
    reach = stats.norm.ppf(0.975) * np.sqrt(variance / table.sum())
    expected = (difference - reach, difference + reach)
    assert interval_of_shares(n, b, c) == pytest.approx(expected)
    assert interval_of_shares(1, 1, 0)[1] == 1
    assert interval_of_shares(1, 0, 1)[0] == -1


@pytest.mark.parametrize("n", [30, 100, 500])
@pytest.mark.parametrize(
    ("better", "worse"), [(0.02, 0.02), (0.05, 0.01), (0.2, 0.1), (0.01, 0.0)]
)
def test_the_interval_of_shares_covers(n, better, worse):
    rng = np.random.default_rng(0)
    shares = [better, worse, 1 - better - worse]
    tables, counts = np.unique(
        rng.multinomial(n, shares, size=20_000), axis=0, return_counts=True
    )
    covered = 0
    for (b, c, _), count in zip(tables, counts, strict=True):
        low, high = interval_of_shares(n, b, c)
        covered += count * (low <= better - worse <= high)
    assert covered / 20_000 > 0.94


@pytest.mark.parametrize("n", [30, 100, 500])
def test_the_interval_of_a_mean_is_students_and_covers(n):
    """On differences with a long tail, as a few rows that an edit moves far give."""
    rng = np.random.default_rng(0)
    draws = rng.standard_t(4, size=(4000, n)) + rng.exponential(1, size=(4000, n))
    intervals = np.array([interval_of_mean(draw) for draw in draws])
    covered = (intervals[:, 0] <= 1) & (intervals[:, 1] >= 1)
    assert 0.935 < covered.mean() < 0.965
    first = stats.ttest_1samp(draws[0], 0).confidence_interval(0.95)
    assert intervals[0] == pytest.approx((first.low, first.high))


# --- What is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[N:], Y[N:-1]), ValueError, "y has 149 .*X has 150|150.*149|149.*150"),
        ((X[N:, :2], Y[N:]), ValueError, "features"),
        ((X[N:], ["odd"] * N), ValueError, "y has the class 'odd', which was not"),
        ((X[N:], Y[N:], CONCEPTS[:5]), ValueError, "concepts has 5"),
        ((X[N:], Y[N:], {"food": []}), TypeError, "concepts must be a DataFrame"),
        (
            (X[N:], Y[N:], CONCEPTS[N:].rename(columns={"food": "fod"})),
            ValueError,
            r"unknown: \['fod'\]",
        ),
        (
            (X[N:], Y[N:], CONCEPTS[N:].assign(food="odd")),
            ValueError,
            "the value 'odd' for concept 'food', which was never seen",
        ),
        ((X[N:], Y[N:], np.full((N, 2), "good")), ValueError, "has 2 columns, but"),
    ],
)
def test_what_cannot_be_compared(arguments, error, message, result):
    with pytest.raises(error, match=message):
        result.compare(*arguments)


def test_labels_have_to_be_given(result):
    with pytest.raises(ValueError, match="y"):
        result.compare(X, None)


def test_a_model_that_was_fitted_again_is_refused(held_out):
    features, labels, _ = held_out
    fitted = ConceptBottleneckClassifier().fit(X[:N], Y[:N])
    result = _explainer(FrozenEstimator(fitted)).edit(drop=[1, 2])
    fitted.fit(X[:100], Y[:100])
    with pytest.raises(ValueError, match="was fitted again since.*Edit again"):
        result.compare(features, labels)
    result = _explainer(clone(fitted)).edit(drop=[1, 2])
    result.explainer.fit(X[:100], Y[:100])
    with pytest.raises(ValueError, match="was fitted again since.*Edit again"):
        result.compare(features, labels)


def test_a_result_of_an_older_version_is_refused(result, held_out):
    with pytest.raises(ValueError, match="holds no model from before.*Edit again"):
        replace(result, before=None).compare(*held_out)
