"""Influence, edits, suspects and suggestions with soft annotations."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.frozen import FrozenEstimator

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    drift_report,
)
from skclif._inputs.training_rows import TrainingRows

N = 70
FOOD = ["bad", "good", "unknown"]
COLUMNS = [f"food={value}" for value in FOOD]
pytestmark = [
    pytest.mark.filterwarnings("ignore::skclif.exceptions.SuspectWarning"),
    pytest.mark.filterwarnings("ignore::skclif.exceptions.SuggestionWarning"),
]


def make(n, seed):
    """Return features, labels and annotations: a soft concept beside a plain one."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    logits = 2 * np.column_stack([-X[:, 0], X[:, 0], X[:, 1]])
    food = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    food[:6] = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    food[6:9] = np.nan
    concepts = pd.DataFrame(food, columns=COLUMNS)
    concepts["noise"] = np.where(X[:, 2] > 0, "loud", "low")
    y = (X[:, 0] + X[:, 2] + rng.normal(size=n) / 2 > 0).astype(int)
    return X, y, concepts


ROWS = make(N, 0)
OTHERS = make(40, 1)


def explainer(concepts=None, sample_weight=None, **parameters):
    X, y, given = ROWS
    model = ConceptBottleneckClassifier(**parameters)
    return ConceptInfluenceExplainer(model).fit(
        X, y, sample_weight, concepts=given if concepts is None else concepts
    )


@pytest.fixture(scope="module")
def mixed():
    return explainer()


def retrained(X=None, y=None, weights=None, concepts=None):
    rows = [
        old if new is None else new
        for old, new in zip(ROWS, (X, y, concepts), strict=True)
    ]
    return ConceptBottleneckClassifier().fit(
        rows[0], rows[1], weights, concepts=rows[2]
    )


def same(model, expected, tol=1e-6):
    for part in ("concept_coef_", "concept_intercept_"):
        for own, other in zip(
            getattr(model, part), getattr(expected, part), strict=True
        ):
            np.testing.assert_allclose(own, other, atol=tol)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=tol)


# --- Influence ------------------------------------------------------------------------


def test_first_order_is_the_sum_over_the_values_of_a_row():
    X, y, concepts = ROWS
    soft = explainer(concepts[COLUMNS], training="sequential")
    soft.set_params(method="first_order")
    shares = concepts[COLUMNS].to_numpy(copy=True)
    shares[6:9] = [1, 0, 0]  # a row without an annotation is one row
    row, code = np.nonzero(shares)
    table = pd.DataFrame({"food": np.array(FOOD, dtype=object)[code]})
    table[np.isin(row, [6, 7, 8])] = None
    split = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(training="sequential"), method="first_order"
    ).fit(X[row], y[row], shares[row, code], concepts=table)
    for target in ("loss", ("concept", "food", "good")):
        found, parts = (
            each.influence(*OTHERS[:2], target=target, paths=True).values
            for each in (soft, split)
        )
        together = np.zeros_like(found)
        np.add.at(together, (slice(None), row), parts)
        np.testing.assert_allclose(found, together, atol=1e-8)


@pytest.mark.parametrize("training", ["mixed", "sequential", "independent"])
def test_removals_are_those_of_retraining(training):
    X, y, concepts = ROWS
    model = explainer(training=training)
    target = OTHERS[0][:6], OTHERS[1][:6]
    found = {
        method: model.set_params(method=method).influence(
            *target, paths=True, reduce="mean"
        )
        for method in ("newton", "leverage")
    }

    def loss(estimator):
        proba = estimator.predict_proba(target[0])
        return -np.log(proba[np.arange(6), target[1]]).mean()

    before = loss(model.estimator_)
    for row in (0, 7, 20, 33):
        weights = np.ones(N)
        weights[row] = 0
        without = explainer(None, weights, training=training).estimator_
        influence = before - loss(without)
        assert found["newton"].values[0, row].sum() == pytest.approx(
            influence, rel=2e-3, abs=1e-7
        )
        by_leverage = found["leverage"].values[0, row].sum()
        assert by_leverage == pytest.approx(influence, rel=0.3, abs=6e-4)
        if training != "sequential":  # where the label does not see it
            continue
        table = concepts.copy()
        table.loc[row, COLUMNS] = np.nan  # the annotation alone
        path = before - loss(explainer(table, training=training).estimator_)
        assert found["newton"].values[0, row, 1] == pytest.approx(
            path, rel=2e-3, abs=1e-7
        )


def test_sparse_features_and_little_memory_change_nothing():
    X, y, concepts = ROWS
    found = []
    for features, new, memory in (
        (X, OTHERS[0], 1024),
        (X, OTHERS[0], 1e-4),
        (sparse.csr_array(X), sparse.csr_array(OTHERS[0]), 1024),
    ):
        with config_context(working_memory=memory):
            model = ConceptInfluenceExplainer(
                ConceptBottleneckClassifier(), method="first_order"
            ).fit(features, y, concepts=concepts)
            found.append(model.influence(new, OTHERS[1], reduce="mean").values)
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)
    np.testing.assert_allclose(found[2], found[0], atol=1e-9)


def test_validation_agrees(mixed):
    frame = mixed.validate(
        OTHERS[0][:5], OTHERS[1][:5], methods=["newton"], n_rows=8, random_state=0
    ).to_frame()
    assert (frame["relative_error"] < 0.01).all()


def test_a_frozen_model_is_explained_with_the_rows_that_trained_it(mixed):
    X, y, concepts = ROWS
    frozen = FrozenEstimator(retrained())
    found = ConceptInfluenceExplainer(frozen).fit(X, y, concepts=concepts)
    first, second = (
        each.influence(*OTHERS[:2], reduce="mean").values for each in (found, mixed)
    )
    np.testing.assert_allclose(first, second, atol=1e-8)
    with pytest.raises(ValueError, match="not at the optimum"):
        ConceptInfluenceExplainer(frozen).fit(
            X,
            y,
            concepts=concepts.assign(
                **{"food=bad": 1.0, "food=good": 0.0, "food=unknown": 0.0}
            ),
        )


def test_a_loaded_explainer_says_the_same(mixed):
    again = pickle.loads(pickle.dumps(mixed))
    np.testing.assert_array_equal(
        again.influence(*OTHERS[:2], reduce="mean").values,
        mixed.influence(*OTHERS[:2], reduce="mean").values,
    )


def test_explainers_from_before_have_no_shares():
    X, y, concepts = ROWS
    plain = explainer(concepts[["noise"]])
    assert "shares" not in plain._training
    assert TrainingRows(**plain._training).shares == {}


# --- Edits ----------------------------------------------------------------------------


def test_edits_are_retraining(mixed):
    X, y, concepts = ROWS
    added = make(12, 5)
    found = mixed.edit(
        y={30: 1 - y[30]},
        concepts={
            "food": {
                20: "good",
                21: {"good": 0.5, "bad": 0.5},
                22: None,
                23: {"bad": 1.0, "good": 0},
                7: {"unknown": 0.25, "bad": 0.75},
                1: {"good": 0.9, "bad": 0.1},
            }
        },
        drop=[3, 40],
        add={"X": added[0], "y": added[1], "concepts": added[2]},
        X_val=OTHERS[0],
        y_val=OTHERS[1],
    )
    table = concepts.copy()
    shares = {
        20: [0, 1, 0], 21: [0.5, 0.5, 0], 22: [np.nan] * 3, 23: [1, 0, 0],
        7: [0.75, 0, 0.25], 1: [0.1, 0.9, 0],
    }  # fmt: skip
    for row, values in shares.items():
        table.loc[row, COLUMNS] = values
    labels, weights = y.copy(), np.ones(N + 12)
    labels[30], weights[[3, 40]] = 1 - y[30], 0
    expected = retrained(
        np.vstack([X, added[0]]),
        np.concatenate([labels, added[1]]),
        weights,
        pd.concat([table, added[2]], ignore_index=True),
    )
    same(found.estimator, expected)
    changes = found.record.changes.set_index("row")
    assert changes.loc[21, "new"] == "bad .5, good .5"
    assert re.fullmatch(r"(\w+ \.\d\d?, )*\w+ \.\d\d?", changes.loc[21, "old"])
    assert changes.loc[20, "new"] == "good"
    assert changes.loc[22, "new"] is None
    assert changes.loc[1, ["old", "new"]].tolist() == ["good", "good .9, bad .1"]
    again = found.explainer.edit(concepts={"food": {21: "bad"}})  # on edited rows
    table = pd.concat([table, added[2]], ignore_index=True)
    table.loc[21, COLUMNS] = [1, 0, 0]
    rows = np.vstack([X, added[0]]), np.concatenate([labels, added[1]])
    same(again.estimator, retrained(*rows, weights, table))


def test_the_effect_of_an_edit_is_predicted(mixed):
    found = mixed.edit(
        concepts={"food": {30: {"good": 0.6, "bad": 0.4}, 31: "bad"}},
        X_val=OTHERS[0],
        y_val=OTHERS[1],
    ).record
    assert found.predicted_effect == pytest.approx(found.achieved_effect, rel=0.2)


def test_a_value_that_loses_its_shares_goes():
    X, y, concepts = ROWS
    table = concepts.copy()
    table.loc[9:, COLUMNS] = [0.5, 0.5, 0.0]
    table.loc[:5, COLUMNS] = np.eye(3)[[0, 1, 2, 0, 1, 1]]
    table.loc[12, COLUMNS] = [0.2, 0.2, 0.6]
    full = explainer(table)
    with pytest.raises(
        ValueError, match="leaves the value 'unknown' of concept 'food'"
    ):
        full.edit(drop=[2, 12])
    found = full.edit(drop=[2, 12], empty_values="drop")
    assert found.estimator.concept_classes_[0].tolist() == ["bad", "good"]
    weights = np.ones(N)
    weights[[2, 12]] = 0
    same(found.estimator, retrained(None, None, weights, table))
    back = found.explainer.edit(sample_weight={2: 1.0, 12: 1.0})
    assert back.estimator.concept_classes_[0].tolist() == FOOD
    same(back.estimator, full.estimator_)


def test_a_declared_value_comes_with_an_edit():
    X, y, concepts = ROWS
    table = concepts.assign(**{"food=cold": concepts["food=bad"] * 0})
    found = explainer(table).edit(concepts={"food": {50: {"cold": 0.5, "good": 0.5}}})
    table.loc[50, [*COLUMNS, "food=cold"]] = [0, 0.5, 0, 0.5]
    same(found.estimator, retrained(concepts=table))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"good": 0.5}, ValueError, "gives concept 'food' shares in row 3 that add up"),
        ({"good": -1, "bad": 2}, ValueError, "the share -1 of 'good' in row 3"),
        ({"good": "much"}, TypeError, "the soft annotation {'good': 'much'} in row 3"),
        ({}, TypeError, "Give every value its share, such as {'good': 0.7, 'bad'"),
        ({"good": 0.5, "fine": 0.5}, ValueError, "the value 'fine' of concept 'food'"),
    ],
)
def test_wrong_shares_are_refused_in_edits(mixed, value, error, message):
    with pytest.raises(error, match=re.escape(message)):
        mixed.edit(concepts={"food": {3: value}})


def test_comparisons_count_the_share_of_what_is_predicted(mixed):
    X, y, concepts = OTHERS
    found = mixed.edit(concepts={"food": {30: "bad"}}).compare(X, y, concepts)
    line = found.concepts.set_index("concept").loc["food"]
    predicted = mixed.estimator_.predict_concepts(X)["food"]
    shares = concepts[COLUMNS].to_numpy()
    own = shares[np.arange(len(X)), [FOOD.index(value) for value in predicted]]
    assert line["before"] == pytest.approx(np.nanmean(own))


# --- Suspects and suggestions ---------------------------------------------------------


def test_suspects_show_shares(mixed):
    found = mixed.suspect_labels(which="food").set_index("row")
    concepts = ROWS[2]
    assert len(found) == N - 3
    assert found.loc[0, "current"] == "bad"
    current = found.loc[20, "current"]
    value, share = current.split(", ")[0].split()
    best = concepts.loc[20, COLUMNS].astype(float).idxmax()
    assert value == best.removeprefix("food=")
    assert float(share) == pytest.approx(concepts.loc[20, best], abs=0.006)
    assert set(found["proposed"]) <= set(FOOD)
    assert (found["probability_proposed"] <= found["probability_wrong"] + 1e-9).all()
    shares = np.nan_to_num(concepts.loc[found.index, COLUMNS].to_numpy(dtype=float))
    assert np.isfinite(found["loss"]).all()
    for row in (0, 20, 45):  # left out, by retraining
        table = concepts.copy()
        table.loc[row, COLUMNS] = np.nan
        model = explainer(table).estimator_
        proba = model.predict_concept_proba(ROWS[0][[row]])["food"][0]
        own = shares[found.index.get_loc(row)]
        assert found.loc[row, "loss"] == pytest.approx(-own @ np.log(proba), rel=0.05)


def test_a_wrong_soft_annotation_is_found():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 4))
    good = 1 / (1 + np.exp(-4 * X[:, 0]))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    wrong = np.flatnonzero(np.abs(X[:, 0]) > 1)[:8]
    good[wrong] = 1 - good[wrong]
    table = pd.DataFrame({"food=bad": 1 - good, "food=good": good})
    table["noise"] = np.where(X[:, 1] > 0, "loud", "low")
    found = ConceptInfluenceExplainer(ConceptBottleneckClassifier(concept_C=10)).fit(
        X, y, concepts=table
    )
    suspects = found.suspect_labels(which="food")
    first = suspects.head(8)
    assert set(first["row"]) == set(wrong)
    assert (first["probability_wrong"] > 0.3).all()
    assert (suspects["probability_wrong"][8:] < 0.05).all()
    right = np.where(good[first["row"]] > 0.5, "bad", "good")
    assert first["proposed"].tolist() == right.tolist()


def test_suggestions_are_carried_out(mixed):
    X, y, concepts = ROWS
    found = mixed.suggest_edits(*OTHERS[:2], budget=6, random_state=0)
    frame = found.to_frame()
    edit = mixed.edit(**found.as_edit(), X_val=OTHERS[0], y_val=OTHERS[1])
    assert len(frame) == len(edit.record.changes)
    soft = frame[(frame["path"] == "food") & (frame["row"] > 8)]
    assert soft["current"].map(lambda said: said is None or "." in said).all()


# --- Reports --------------------------------------------------------------------------


def test_a_report_shows_soft_annotations(mixed, tmp_path):
    X, y, concepts = ROWS
    table = concepts.copy()
    table.loc[20:25, COLUMNS] = 1 - table.loc[20:25, COLUMNS].to_numpy()
    table[COLUMNS] = table[COLUMNS].div(table[COLUMNS].sum(axis=1), axis=0)
    report = explainer(table).report(*OTHERS, random_state=0)
    suspects = report.suspects[report.suspects["path"] == "food"]
    soft = suspects[suspects["current"].map(str).str.contains(r"\.\d")]
    assert len(soft)
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert soft["current"].iloc[0] in page
    assert report.metrics["concepts"]["food"]["annotated_held_out_rows"] == 37
    accepted = soft.head(1).assign(decision="accept")
    accepted.to_csv(tmp_path / "decisions.csv", index=False)
    row = int(accepted["id"].iloc[0].removeprefix("row "))
    assert report.as_edit(tmp_path / "decisions.csv") == {
        "concepts": {"food": {row: accepted["proposed"].iloc[0]}}
    }


def test_drift_of_soft_annotations(mixed):
    X, y, concepts = OTHERS
    turned = concepts.rename(columns={COLUMNS[0]: COLUMNS[1], COLUMNS[1]: COLUMNS[0]})
    found = drift_report(
        mixed, X, y, concepts_new=turned, n_permutations=99, random_state=0
    )
    frame = found.to_frame().set_index(["part", "concept"])
    assert frame.loc[("concept", "food"), "q_value"] < 0.05
    rows = found.rows(5)
    assert rows["current"].map(str).str.contains(r"\.\d").any()
