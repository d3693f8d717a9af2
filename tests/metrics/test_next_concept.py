"""Which concept to check first, and what it costs."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import ConceptBottleneckClassifier
from skclif.metrics import intervention_curve, next_concept

from ..data import make_concept_data, make_sparse_data

pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")

NAMES = ["food", "quiet", "price"]
COSTS = {"price": 0.5, "food": 2.0, "quiet": 8.0}


@pytest.fixture(scope="module")
def rows():
    return make_concept_data(150)


@pytest.fixture(scope="module")
def clf(rows):
    X, y, concepts = rows
    return ConceptBottleneckClassifier().fit(X, y, concepts=concepts)


def _gain(clf, x, name, known):
    """Return what a concept's value is expected to tell, by `intervene`."""
    before, total = clf.intervene(x, pd.DataFrame([known]))[0], 0.0
    values = clf.concept_classes_[NAMES.index(name)]
    for chance, value in zip(
        clf.predict_concept_proba(x)[name][0], values, strict=True
    ):
        (after,) = clf.intervene(
            x, pd.DataFrame([{**known, name: value}], dtype=object)
        )
        total += chance * sum(after * np.log(after / before))
    return total


@pytest.mark.parametrize("costs", [None, COSTS])
def test_gains_are_what_interventions_give(clf, rows, costs):
    X, _, concepts = rows
    X, known = X[:12], concepts[:12].reset_index(drop=True)
    found = next_concept(clf, X, concepts=known, costs=costs)
    cost = dict.fromkeys(NAMES, 1.0) if costs is None else costs
    expected = []
    for row in range(12):
        given = known.loc[row].where(known.loc[row].notna(), None).to_dict()
        scores = {
            name: _gain(clf, X[[row]], name, given) / cost[name]
            for name in NAMES
            if given[name] is None
        }
        best = sorted(scores, key=lambda name: -scores[name])  # noqa: B023
        expected += [(row, k, n, scores[n]) for k, n in enumerate(best, 1)]
    assert 5 < len(expected) < 20
    frame = pd.DataFrame(expected, columns=["row", "rank", "concept", "score"])
    pd.testing.assert_frame_equal(found, frame)


@pytest.mark.parametrize("order", ["gain", "uncertainty"])
@pytest.mark.parametrize("costs", [None, COSTS])
def test_the_curve_follows_the_order(clf, rows, order, costs):
    X, y, concepts = rows
    full = concepts.notna().all(axis=1).to_numpy()
    X, y, concepts = X[full][:20], y[full][:20], concepts[full][:20]
    concepts = concepts.reset_index(drop=True)
    ranked = next_concept(clf, X, order=order, costs=costs)
    curve = intervention_curve(clf, X, y, concepts, order=order, costs=costs)
    cost = dict.fromkeys(NAMES, 1.0) if costs is None else costs
    for step in range(4):
        chosen = ranked[ranked["rank"] <= step]
        known = pd.DataFrame(None, index=range(20), columns=NAMES, dtype=object)
        for row, name in zip(chosen["row"], chosen["concept"], strict=True):
            known.loc[row, name] = concepts.loc[row, name]
        proba = clf.intervene(X, known)
        own = proba[np.arange(20), np.searchsorted(clf.classes_, y)]
        np.testing.assert_allclose(curve.losses[step], -np.log(own))
        if costs is not None:
            spent = (
                chosen["concept"].map(cost).astype(float).groupby(chosen["row"]).sum()
            )
            np.testing.assert_allclose(
                curve.spent[step], spent.reindex(range(20), fill_value=0)
            )


def test_a_curve_has_what_was_spent_if_there_are_costs(clf, rows):
    options = {"random_state": 0, "n_repeats": 3}
    plain = intervention_curve(clf, *rows, **options)
    costly = intervention_curve(clf, *rows, costs=COSTS, **options)
    assert (plain.spent, plain.cost) == (None, None)
    assert list(plain.to_frame()) == ["n_corrected", "accuracy", "log_loss"]
    # Random orders do not go by costs.
    np.testing.assert_array_equal(plain.losses, costly.losses)
    frame = costly.to_frame()
    all_known = (rows[2].notna() * pd.Series(COSTS)[NAMES]).sum(axis=1).mean()
    assert frame["cost"].iloc[0] == 0
    assert frame["cost"].iloc[-1] == pytest.approx(all_known)
    assert frame["cost"].is_monotonic_increasing


def test_concepts_that_are_not_checked_need_no_cost(clf, rows):
    X, y, concepts = rows
    options = {"random_state": 0, "n_repeats": 2}
    few = intervention_curve(
        clf, X, y, concepts[["quiet"]], costs={"quiet": 8.0}, **options
    )
    every = intervention_curve(clf, X, y, concepts[["quiet"]], costs=COSTS, **options)
    pd.testing.assert_frame_equal(few.to_frame(), every.to_frame())
    known = pd.DataFrame({"food": ["bad", "good"]})
    left = {name: COSTS[name] for name in ("quiet", "price")}
    found = next_concept(clf, X[:2], concepts=known, costs=left)
    pd.testing.assert_frame_equal(
        found, next_concept(clf, X[:2], concepts=known, costs=COSTS)
    )
    with pytest.raises(ValueError, match="costs has the names .* each to be checked"):
        next_concept(clf, X[:2], costs=left)


@pytest.mark.parametrize("head", ["softmax", "ordinal"])
def test_what_goes_past_the_concepts_stays(rows, head):
    X, y, concepts = rows
    order = ["never", "perhaps", "again"]
    clf = ConceptBottleneckClassifier(
        residual_C=0.1, label_head=head, label_order=order
    )
    clf.fit(X, y, concepts=concepts)
    nothing = dict.fromkeys(NAMES)
    for row, name, score in next_concept(clf, X[:2])[
        ["row", "concept", "score"]
    ].values:
        assert score == pytest.approx(_gain(clf, X[[row]], name, nothing))


def test_what_is_cheap_comes_first(clf, rows):
    X = rows[0][:30]
    dear = {"food": 1e6, "quiet": 1e6, "price": 1.0}
    best = next_concept(clf, X, costs=dear).query("rank == 1")
    assert set(best["concept"]) == {"price"}


def test_the_older_name_is_the_same(clf, rows):
    older, newer = (
        intervention_curve(clf, *rows, order=order) for order in ("influence", "gain")
    )
    np.testing.assert_array_equal(older.losses, newer.losses)
    assert (older.order, newer.order) == ("influence", "gain")


def test_pipelines_and_nothing_left(rows):
    X, y, concepts = rows
    pipeline = make_pipeline(StandardScaler(), ConceptBottleneckClassifier())
    pipeline.fit(X, y, conceptbottleneckclassifier__concepts=concepts)
    found = next_concept(FrozenEstimator(pipeline), X[:2])
    expected = next_concept(pipeline[-1], pipeline[:-1].transform(X[:2]))
    pd.testing.assert_frame_equal(found, expected)
    known = pd.DataFrame({"food": ["good"], "quiet": ["yes"], "price": [1]})
    assert next_concept(pipeline, X[:1], concepts=known).empty


@pytest.mark.parametrize(
    "changes, error, match",
    [
        ({"order": "random"}, ValueError, "order='random' is not known; use 'gain' or"),
        ({"costs": [1, 2, 3]}, TypeError, "costs must be a dict .* got list"),
        (
            {"costs": {"food": 1}},
            ValueError,
            r"costs has the names \['food'\], but the",
        ),
        (
            {"costs": {**COSTS, "food": 0}},
            ValueError,
            r"costs\['food'\] must be a fini",
        ),
        ({"costs": {**COSTS, "food": "a"}}, ValueError, "must be .* above 0, got 'a'"),
        (
            {"costs": {**COSTS, "food": True}},
            ValueError,
            "must be .* above 0, got True",
        ),
        ({"concepts": {"food": ["good"]}}, TypeError, "concepts .* dict"),
        ({"concepts": [["good", "yes"]]}, ValueError, "concepts has 1 row"),
        (
            {"concepts": pd.DataFrame({"food": ["odd"] * 4})},
            ValueError,
            "concepts has the value 'odd'",
        ),
        (
            {"estimator": LogisticRegression()},
            TypeError,
            "must be a fitted ConceptBott",
        ),
    ],
)
def test_messages(clf, rows, changes, error, match):
    with pytest.raises(error, match=f"(?s){match}"):
        next_concept(**{"estimator": clf, "X": rows[0][:4], **changes})


def test_a_curve_refuses_odd_costs(clf, rows):
    with pytest.raises(TypeError, match="costs must be a dict .* got int"):
        intervention_curve(clf, *rows, costs=3)


def test_numbers_have_no_such_order():
    X, y, concepts = make_sparse_data(80)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="'size' is continuous and has none"):
        next_concept(clf, X)
