"""Pairs, effects and their scores, where the right answer is known by construction."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cosine
from scipy.stats import somersd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skclif import ConceptBottleneckClassifier
from skclif.metrics import (
    cace,
    counterfactual_pairs,
    estimate_icace,
    icace,
    icace_error,
    order_faithfulness,
)

# --- Pairs ----------------------------------------------------------------------------

# An original with two edits of its food and one of its noise; one whose edit failed,
# and one with an edit of what nobody annotated; an edit without its original.
VERSIONS = pd.DataFrame(
    [
        ("a", None, "good", "low"),
        ("a", "food", "bad", "low"),
        ("b", None, "good", "low"),
        ("a", "food", "none", "low"),
        ("a", "noise", "good", "high"),
        ("b", "food", "good", "low"),
        ("b", "noise", "good", None),
        ("c", "food", "good", "low"),
    ],
    columns=["group", "edited", "food", "noise"],
)
CONCEPTS = VERSIONS[["food", "noise"]]


def pairs_of(concepts=CONCEPTS, groups=VERSIONS["group"], edited=VERSIONS["edited"]):
    return counterfactual_pairs(concepts, groups=groups, edited=edited)


def test_pairs_are_original_and_edit_and_edits_of_one_concept_both_ways():
    found = set(pairs_of().itertuples(index=False, name=None))
    one_way = {
        (0, 1, "food", "good", "bad", "a"),
        (0, 3, "food", "good", "none", "a"),
        (1, 3, "food", "bad", "none", "a"),
        (0, 4, "noise", "low", "high", "a"),
    }
    back = {(j, i, c, to, start, g) for i, j, c, start, to, g in one_way}
    assert found == one_way | back
    assert len(pairs_of()) == 8


def test_edits_need_no_original_and_two_originals_are_no_pair():
    concepts = pd.DataFrame({"food": ["good", "bad", "good", "bad"]})
    edited = ["food", "food", None, None]
    found = counterfactual_pairs(concepts, groups=[1, 1, 2, 2], edited=edited)
    assert found[["base", "counterfactual"]].to_numpy().tolist() == [[0, 1], [1, 0]]


def test_pairs_of_an_array_and_of_other_missing_values():
    array = CONCEPTS.to_numpy()
    edited = VERSIONS["edited"].replace({"food": "concept0", "noise": "concept1"})
    found = pairs_of(array, VERSIONS["group"].tolist(), edited.fillna(np.nan))
    expected = pairs_of().replace({"food": "concept0", "noise": "concept1"})
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"groups": ["a"]}, "groups has 1 row, but concepts has 8"),
        ({"edited": ["food"]}, "edited has 1 row, but concepts has 8"),
        ({"edited": CONCEPTS}, r"edited must be of shape \(n_samples,\).*DataFrame"),
        (
            {"groups": [*"aabaab", None, "c"]},
            r"groups has no value in row 6 \(counted from 0\). Give every row",
        ),
        (
            {"edited": ["price", *[None] * 7]},
            "edited names the concept 'price', but concepts has 'food', 'noise'. Name",
        ),
        (
            {"edited": pd.Series([["food"], *[None] * 7])},
            r"edited names the concept \['food'\], but",
        ),
        ({"groups": range(8)}, "There is no pair: no two rows with the same value"),
        (
            {"edited": VERSIONS["edited"][::-1]},
            "concepts and edited have the same index in another order",
        ),
        (
            {"concepts": pd.DataFrame({"food=a": [0.5] * 8, "food=b": [0.5] * 8})},
            "concepts has shares of the values of 'food', and versions of a text are",
        ),
    ],
)
def test_what_makes_no_pairs_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        pairs_of(**given)


# --- Effects --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    """Return texts whose features are sums over concepts, with the directions.

    Every group has an original and all its edits; what is in no concept, the edits
    share with their original.
    """
    rng = np.random.default_rng(0)
    values = ["bad", "none", "good"]
    directions = {name: rng.normal(size=(3, 6)) for name in ("food", "noise")}
    rows = []
    for group in range(60):
        own = dict.fromkeys(directions)
        own |= {name: rng.integers(3) for name in directions}
        rest = 0.3 * rng.normal(size=6)
        edits = [(n, v) for n in directions for v in range(3) if v != own[n]]
        for edited, value in [(None, None), *edits]:
            codes = own | ({edited: value} if edited else {})
            x = rest + sum(directions[name][code] for name, code in codes.items())
            rows.append((group, edited, x, *(values[code] for code in codes.values())))
    table = pd.DataFrame(rows, columns=["group", "edited", "x", *directions])
    concepts = table[[*directions]]
    pairs = counterfactual_pairs(
        concepts, groups=table["group"], edited=table["edited"]
    )
    return np.stack(table["x"]), concepts, pairs, directions


def effects_by_construction(pairs, directions, coef):
    code = {"bad": 0, "none": 1, "good": 2}
    moves = [
        directions[concept][code[after]] - directions[concept][code[before]]
        for concept, before, after in pairs[["concept", "from", "to"]].to_numpy()
    ]
    return np.stack(moves) @ coef.T


def test_effects_on_a_linear_model_are_those_of_the_directions(linear):
    X, _, pairs, directions = linear
    coef = np.random.default_rng(1).normal(size=(2, 6))
    effects = icace(X @ coef.T, pairs)
    expected = effects_by_construction(pairs, directions, coef)
    np.testing.assert_allclose(effects, expected, atol=1e-12)
    assert icace_error(effects, expected) == pytest.approx(0, abs=1e-12)
    # All pairs of an intervention have the same effect, so the mean is that effect.
    means = cace(effects, pairs)
    assert len(means) == 2 * 3 * 2
    line = pairs.iloc[7]
    key = (line["concept"], line["from"], line["to"])
    np.testing.assert_allclose(means.loc[key], expected[7], atol=1e-12)
    assert order_faithfulness(means, cace(expected, pairs)) == pytest.approx(1)


def test_means_are_over_the_pairs_of_an_intervention(linear):
    pairs = linear[2]
    effects = np.random.default_rng(0).normal(size=(len(pairs), 2))
    means = cace(effects, pairs)
    for (concept, before, after), mean in means.iterrows():
        own = (pairs["concept"] == concept) & (pairs["from"] == before)
        own &= pairs["to"] == after
        np.testing.assert_allclose(mean, effects[own].mean(axis=0))


@pytest.fixture(scope="module")
def fitted(linear):
    X, concepts, _, directions = linear
    scores = X @ (directions["food"][2] - directions["food"][0])
    y = np.digitize(scores, np.quantile(scores, [0.3, 0.7]))
    return ConceptBottleneckClassifier().fit(X, y, concepts=concepts), y


def test_estimates_are_interventions_on_each_base(linear, fitted):
    X, _, pairs, _ = linear
    clf, _ = fitted
    found = {s: estimate_icace(clf, X, pairs, start=s) for s in ("predicted", "known")}
    for i in (0, 9, len(pairs) - 1):
        line = pairs.iloc[i]
        x = X[[line["base"]]]
        after, before = (
            clf.intervene(x, pd.DataFrame({line["concept"]: [line[column]]}))
            for column in ("to", "from")
        )
        as_is = clf.predict_proba(x)
        np.testing.assert_allclose(found["predicted"][[i]], after - as_is, atol=1e-12)
        np.testing.assert_allclose(found["known"][[i]], after - before, atol=1e-12)


def test_features_with_an_index_are_matched_by_position(linear, fitted):
    X, concepts, pairs, _ = linear
    clf = ConceptBottleneckClassifier().fit(
        pd.DataFrame(X).add_prefix("x"), fitted[1], concepts=concepts
    )
    for some in (pairs[:2], pairs[:2].iloc[::-1], pairs[9:30]):
        found = estimate_icace(clf, pd.DataFrame(X).add_prefix("x"), some)
        np.testing.assert_allclose(found, estimate_icace(fitted[0], X, some))


def test_counterfactuals_are_not_looked_at(linear, fitted):
    X, _, pairs, _ = linear
    pairs = pairs[pairs["base"] < 5]
    hidden = X.copy()
    hidden[5:] = 0
    expected = estimate_icace(fitted[0], X, pairs)
    np.testing.assert_array_equal(estimate_icace(fitted[0], hidden, pairs), expected)


def test_estimates_of_a_bottleneck_fitted_to_a_black_box(linear, fitted):
    """The weighted fit has the optimum of probabilities as labels, and it explains."""
    X, concepts, pairs, _ = linear
    black_box = LogisticRegression().fit(X, fitted[1])
    proba = black_box.predict_proba(X)
    rows = np.repeat(np.arange(len(X)), 3)
    clf = ConceptBottleneckClassifier(training="sequential").fit(
        X[rows], np.tile(black_box.classes_, len(X)), proba.ravel(),
        concepts=concepts.iloc[rows],
    )  # fmt: skip
    # An optimum of a head with an intercept predicts the mean of what it is fitted to.
    mean = clf.predict_proba(X).mean(axis=0)
    np.testing.assert_allclose(mean, proba.mean(axis=0), atol=1e-6)
    effects = icace(proba, pairs)
    estimates = estimate_icace(clf, X, pairs)
    for distance in ("l2", "cosine"):
        error, none = (
            icace_error(effects, guess, distance=distance)
            for guess in (estimates, 0 * effects)
        )
        assert error < 0.5 * none
    assert order_faithfulness(cace(effects, pairs), cace(estimates, pairs)) > 0.9


def test_a_pipeline_and_values_of_any_kind(linear):
    X, _, pairs, _ = linear
    texts = [str(row) for row in range(len(X))]
    read = FunctionTransformer(lambda texts: X[[int(text) for text in texts]])
    concepts = pd.DataFrame({"open": X[:, 0] > 0, "price": np.digitize(X[:, 1], [0])})
    y = np.where(X[:, 0] + X[:, 1] > 0, "again", "never")
    clf = make_pipeline(read, ConceptBottleneckClassifier())
    clf.fit(texts, y, conceptbottleneckclassifier__concepts=concepts)
    two = pd.DataFrame({"open": [True, False, True], "price": [0, 0, 1]})
    pairs = counterfactual_pairs(two, groups=[0, 0, 0], edited=[None, "open", "price"])
    found = estimate_icace(clf, texts, pairs, start="known")
    assert found.shape == (4, 2)
    expected = clf[-1].intervene(X[[0, 0]], pd.DataFrame({"price": [1, 0]}))
    (line,) = np.flatnonzero((pairs["concept"] == "price") & (pairs["to"] == 1))
    np.testing.assert_allclose(found[line], expected[0] - expected[1], atol=1e-12)


BASIC = pd.DataFrame(
    {"base": [0], "counterfactual": [1], "concept": "food", "from": "bad", "to": "good"}
)


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([(0, 1)], TypeError, "pairs must be the DataFrame that .* got list."),
        (BASIC.drop(columns="to"), ValueError, "pairs has no column 'to'; it must be"),
        (BASIC[:0], ValueError, "pairs has no rows; there is nothing to compare."),
        (
            BASIC.assign(base=-1),
            ValueError,
            r"pairs\['base'\] must be positions of rows of \w+, whole numbers from 0",
        ),
        (
            BASIC.assign(counterfactual=10_000),
            ValueError,
            r"pairs\['counterfactual'\] must be positions of rows of \w+, whole numb",
        ),
        (
            BASIC.assign(base=0.5),
            ValueError,
            r"pairs\['base'\] must be positions .* Make the pairs of these rows by",
        ),
    ],
)
def test_pairs_of_the_wrong_form_are_refused(pairs, error, message, linear, fitted):
    with pytest.raises(error, match=message):
        estimate_icace(fitted[0], linear[0], pairs)
    with pytest.raises(error, match=message):
        icace(np.eye(2), pairs)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (
            BASIC.assign(concept="price"),
            {},
            "pairs names the concept 'price', but the concepts of the model are "
            "'food', 'noise'.",
        ),
        (
            BASIC.assign(to="great"),
            {},
            r"(?s)pairs must be of values the model knows.*great",
        ),
        (BASIC, {"start": "base"}, "'start' parameter of estimate_icace must be a str"),
    ],
)
def test_what_cannot_be_estimated_is_refused(pairs, options, message, linear, fitted):
    with pytest.raises(ValueError, match=message):
        estimate_icace(fitted[0], linear[0], pairs, **options)


def test_other_estimators_have_no_estimates(linear):
    with pytest.raises(TypeError, match="must be a fitted ConceptBottleneckClassif"):
        estimate_icace(LinearRegression(), linear[0], BASIC)


def test_means_of_other_effects_are_refused():
    with pytest.raises(ValueError, match="effects has 2 rows, but pairs has 1"):
        cace(np.eye(2), BASIC)


# --- Scores ---------------------------------------------------------------------------

RNG = np.random.default_rng(0)
EFFECTS, ESTIMATES = RNG.normal(size=(2, 7, 3))


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        ("l2", lambda a, b: np.sqrt(((a - b) ** 2).sum())),
        ("cosine", cosine),
        ("norm_difference", lambda a, b: abs(np.sqrt(a @ a) - np.sqrt(b @ b))),
    ],
)
def test_distances_are_those_of_each_pair(distance, expected):
    each = icace_error(EFFECTS, ESTIMATES, distance=distance, average=False)
    by_hand = [expected(a, b) for a, b in zip(EFFECTS, ESTIMATES, strict=True)]
    np.testing.assert_allclose(each, by_hand)
    mean = icace_error(EFFECTS, ESTIMATES, distance=distance)
    assert isinstance(mean, float)
    assert mean == pytest.approx(np.mean(by_hand))
    assert icace_error(EFFECTS, EFFECTS, distance=distance) == pytest.approx(0)


def test_no_effect_has_the_cosine_distance_one():
    norms = np.linalg.norm(EFFECTS, axis=1)
    for distance, expected in [
        ("l2", norms),
        ("cosine", 1),
        ("norm_difference", norms),
    ]:
        found = icace_error(EFFECTS, 0 * EFFECTS, distance=distance, average=False)
        np.testing.assert_allclose(found, np.broadcast_to(expected, len(norms)))


def test_order_is_that_of_every_two_interventions():
    shares = []
    for truth, guess in zip(EFFECTS.T, ESTIMATES.T, strict=True):
        alike = [
            (truth[i] - truth[j]) * (guess[i] - guess[j]) > 0
            for i, j in itertools.combinations(range(len(truth)), 2)
        ]
        shares.append(np.mean(alike))
    assert order_faithfulness(EFFECTS, ESTIMATES) == pytest.approx(np.mean(shares))
    assert order_faithfulness(EFFECTS, 3 * EFFECTS + 1) == 1
    assert order_faithfulness(EFFECTS, -EFFECTS) == 0
    assert order_faithfulness(EFFECTS, 0 * EFFECTS) == 0.5


def test_ties_count_one_half_or_not_at_all():
    truth, guess = RNG.integers(4, size=(2, 30))
    expected = (somersd(truth, guess).statistic + 1) / 2
    assert order_faithfulness(truth, guess) == pytest.approx(expected)
    # A class whose effects are all equal has no order.
    with_constant = np.column_stack([truth, np.zeros(30)])
    both = order_faithfulness(with_constant, np.column_stack([guess, truth]))
    assert both == pytest.approx(expected)


BAD_SCORES = [
    ((np.eye(2), np.eye(3)), "estimates has 3 rows, but effects has 2"),
    ((np.eye(2), np.ones((2, 3))), "estimates has 3 columns, but effects has 2. Give"),
    ((np.eye(2), [[np.nan, 1], [1, 1]]), "(?s)estimates.* NaN"),
    (([["much", "less"]], np.eye(2)), "(?s)effects must be numbers, with a row for"),
    (
        (pd.DataFrame(np.eye(2)), pd.DataFrame(np.eye(2), index=[1, 0])),
        re.escape("Pass estimates.loc[effects.index]"),
    ),
]


@pytest.mark.parametrize("score", [icace_error, order_faithfulness])
@pytest.mark.parametrize(("given", "message"), BAD_SCORES)
def test_what_cannot_be_compared_is_refused(score, given, message):
    with pytest.raises(ValueError, match=message):
        score(*given)


def test_other_distances_are_refused():
    with pytest.raises(ValueError, match="'distance' parameter of icace_error must"):
        icace_error(EFFECTS, ESTIMATES, distance="l1")


def test_effects_without_an_order_are_refused():
    with pytest.raises(ValueError, match="effects are the same for all interventions"):
        order_faithfulness(np.ones((3, 2)), np.eye(3, 2))
