"""The parts of the annotator, beside slow and obvious references."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from skclif._annotate.given import read_given
from skclif._annotate.heads import fit_head
from skclif._annotate.labels import agree_with_labels
from skclif._annotate.scores import FOCUS, RIVAL, Compared, average_prompts, unit
from skclif._annotate.units import Units

VALUES = {"food": ["good", "bad"], "noise": ["loud", "quiet", "unknown"]}


# --- Parts of texts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("...", []),
        ("Good", []),
        ("Good soup.", []),
        ("Good soup. Bad tea!", ["Good soup.", "Bad tea!"]),
        ("It cost 3.50 then.", []),
        ("好吃。太吵！", ["好吃。", "太吵！"]),
        ("Good soup, but bad tea", ["Good soup", "but bad tea"]),
        ("The soup was good and it rained", ["The soup was good", "and it rained"]),
        ("Candy bars", []),
        ("A line\nand another", ["A line", "and another"]),
        ("Soup, tea, and a cake", ["and a cake"]),
        ("Well-made soup - too hot", ["Well-made soup", "too hot"]),
    ],
)
def test_texts_are_compared_by_sentences_and_clauses(text, parts):
    assert Units.of([text]).parts == [text, *parts]


def test_parts_know_their_texts():
    units = Units.of(["Good soup, bad tea.", "", "Soup. Soup."])
    assert units.starts.tolist() == [0, 3, 4]
    assert units.owners.tolist() == [0, 0, 0, 1, 2, 2]


# --- Scores ---------------------------------------------------------------------------


def test_nearness_is_what_a_loop_over_parts_gives():
    rng = np.random.default_rng(0)
    units = Units([""] * 9, np.array([0, 4, 5]), np.repeat([0, 1, 2], [4, 1, 4]))
    directions = unit(rng.normal(size=(9, 5)))
    prompts = [unit(rng.normal(size=(n, 5))) for n in (2, 1, 3)]
    topics = [own.mean(axis=0) for own in prompts]
    compared = Compared(units, directions, prompts)
    for j in range(3):
        near = compared.with_concept(j)
        for text in range(3):
            own = directions[units.owners == text]
            beyond = []
            for part in own:
                others = [part @ topics[k] for k in range(3) if k != j]
                beyond.append(part @ topics[j] - RIVAL * max(others))
            weights = softmax(FOCUS * np.array(beyond))
            focus = weights @ own
            similar = prompts[j] @ focus
            np.testing.assert_allclose(near.mention[text], max(beyond))
            np.testing.assert_allclose(near.focus[text], focus)
            np.testing.assert_allclose(near.values[text], similar - similar.mean())
    np.testing.assert_array_equal(compared.whole, directions[[0, 4, 5]])


def test_one_concept_has_no_rival():
    units = Units(["", ""], np.array([0, 1]), np.array([0, 1]))
    directions = unit(np.array([[1.0, 0], [1, 1]]))
    near = Compared(units, directions, [np.array([[1.0, 0]])]).with_concept(0)
    np.testing.assert_allclose(near.mention, [1, np.sqrt(0.5)])
    np.testing.assert_array_equal(near.values, 0)


def test_prompts_of_a_value_are_averaged():
    directions = np.arange(12.0).reshape(6, 2)
    food, noise = average_prompts(directions, [[2, 1], [3]])
    np.testing.assert_array_equal(food, [[1, 2], [4, 5]])
    np.testing.assert_array_equal(noise, [[8, 9]])


def test_vectors_of_length_0_stay():
    assert unit(np.zeros((1, 3), dtype=np.float32)).dtype == np.float32
    np.testing.assert_array_equal(unit(np.zeros((1, 3))), 0)


# --- Heads ----------------------------------------------------------------------------


def _data(n_rows, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_rows, n_features))
    offsets = rng.normal(size=(n_rows, 3))
    return features, offsets, softmax(2 * rng.normal(size=(n_rows, 3)), axis=1)


def test_without_annotations_a_head_is_0():
    np.testing.assert_array_equal(fit_head(*_data(0)), np.zeros((4, 3)))


@pytest.mark.parametrize("n_features", [4, 40])  # 40: more features than rows
def test_a_head_is_at_the_optimum_that_a_general_solver_finds(n_features):
    features, offsets, shares = _data(12, n_features)

    def loss(flat):
        coef = flat.reshape(n_features, 3)
        logits = log_softmax(offsets + features @ coef, axis=1)
        return (coef**2).sum() / 2 - (shares * logits).sum()

    coef = fit_head(features, offsets, shares)
    found = minimize(loss, np.zeros(coef.size), method="BFGS", options={"gtol": 1e-4})
    assert loss(coef.ravel()) <= found.fun + 1e-6
    # The solver has no derivatives, and stops at a gradient of 1e-4.
    np.testing.assert_allclose(coef.ravel(), found.x, atol=1e-3)


def test_a_head_without_offsets_is_logistic_regression_on_expanded_rows():
    features, _, shares = _data(30)
    coef = fit_head(features, np.zeros((30, 3)), shares)
    expanded = LogisticRegression(fit_intercept=False, tol=1e-8, max_iter=1000)
    expanded.fit(np.repeat(features, 3, axis=0), np.tile([0, 1, 2], 30), shares.ravel())
    np.testing.assert_allclose(coef, expanded.coef_.T, atol=1e-4)


# --- Labels ---------------------------------------------------------------------------


def test_labels_multiply_shares_by_how_common_a_value_is():
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1, 1, 1], size=20)
    labels, is_known = np.array(["a", "b"])[rng.integers(2, size=20)], np.arange(20) < 3
    found = agree_with_labels(shares, labels, is_known)
    for row in range(20):
        alike = shares[labels == labels[row]]
        usual = shares.mean(axis=0)
        common = (alike.sum(axis=0) + 10 * usual) / (len(alike) + 10)
        expected = shares[row] * common / usual
        expected = shares[row] if is_known[row] else expected / expected.sum()
        np.testing.assert_allclose(found[row], expected)


def test_one_label_and_values_without_a_share_change_nothing():
    shares = np.array([[0.7, 0.3, 0], [0.2, 0.8, 0]])
    found = agree_with_labels(shares, np.array([1, 1]), np.zeros(2, dtype=bool))
    np.testing.assert_allclose(found, shares)


# --- Annotations that people gave -----------------------------------------------------


def test_plain_and_soft_annotations_become_shares():
    table = pd.DataFrame(
        {
            "noise=unknown": [0.2, np.nan, 0],
            "food": ["bad", None, "good"],
            "noise=loud": [0.8, np.nan, 1],
            "noise=quiet": [0, np.nan, 0],
        }
    )
    found = read_given(table, VALUES, ["a", "b", "c"], 3)
    nan = [np.nan] * 3
    np.testing.assert_array_equal(found["food"], [[0, 1], nan[:2], [1, 0]])
    np.testing.assert_array_equal(found["noise"], [[0.8, 0, 0.2], nan, [1, 0, 0]])


def test_concepts_may_be_left_out_and_columns_without_names_are_in_order():
    assert np.isnan(read_given(None, VALUES, ["a"], 1)["food"]).all()
    found = read_given(pd.DataFrame({"food": ["bad"]}), VALUES, ["a"], 1)
    assert np.isnan(found["noise"]).all()
    array = np.array([["bad", "loud"], ["good", None]], dtype=object)
    found = read_given(array, VALUES, ["a", "b"], 2)
    np.testing.assert_array_equal(found["noise"][0], [1, 0, 0])
    assert np.isnan(found["noise"][1]).all()


def test_numbers_are_values_as_they_are_shown():
    found = read_given(pd.DataFrame({"a": [1, np.nan]}), {"a": ["0", "1"]}, [0, 0], 2)
    np.testing.assert_array_equal(found["a"], [[0, 1], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (
            {"price": ["low"]},
            "has the column 'price', but prompts are there for 'food'",
        ),
        ({"food": ["fine"]}, "has the value 'fine' for concept 'food' in row 0"),
        ({"food=good": [1.0]}, "'food=good', which cannot be read as shares of 'food'"),
        ({"food=good": ["1"], "food=bad": ["0"]}, "which cannot be read as shares of"),
        ({"tea=good": [1.0], "tea=bad": [0.0]}, "the column 'tea', but prompts are"),
        ({"food=good": [0.9]}, "column 'food=good' with shares, and no other column"),
        ({"food=good": [0.9], "food=odd": [0.1]}, "the value 'odd' for concept 'food'"),
        ({"food": ["bad"], "food=good": [1.0], "food=bad": [0.0]}, "Leave one form"),
        ({"food=good": [0.5], "food=bad": [0.4]}, "in row 0 that add up to 0.9"),
        ({"food=good": [1.5], "food=bad": [-0.5]}, "the share -0.5 of 'bad' in row 0"),
        ({"food=good": [1.0], "food=bad": [np.nan]}, r"none \(NaN\) in 'food=bad'"),
        ({"food": ["bad", "bad"]}, "concepts has 2 rows, but X has 1"),
    ],
)
def test_other_annotations_are_refused(table, match):
    with pytest.raises(ValueError, match=match):
        read_given(pd.DataFrame(table), VALUES, ["a"], 1)


def test_what_is_no_table_is_refused():
    with pytest.raises(TypeError, match="concepts must be a DataFrame"):
        read_given({"food": ["bad"]}, VALUES, ["a"], 1)
    with pytest.raises(ValueError, match="concepts has 1 column without names, but"):
        read_given([["bad"]], VALUES, ["a"], 1)
    X = pd.Series(["a", "b"], index=[1, 2])
    turned = pd.DataFrame({"food": ["bad", "good"]}, index=[2, 1])
    with pytest.raises(ValueError, match="same index in another order"):
        read_given(turned, VALUES, X, 2)
