"""What the benchmark of edited reviews computes in its own way."""

import numpy as np
import pytest

from benchmarks.cebab_causal import (
    DISTANCES,
    Case,
    Resampled,
    alike,
    approximate_counterfactual,
    as_labels,
    at_random,
    conditional_expectation,
    generate,
    indicators,
    new_value_shares,
    s_learner,
    soft_s_learner,
    softer_s_learner,
)
from skclif.metrics import cace, counterfactual_pairs, icace_error, order_faithfulness


@pytest.fixture(scope="module")
def part():
    return generate("dev")


@pytest.fixture(scope="module")
def pairs(part):
    return counterfactual_pairs(part.concepts, groups=part.groups, edited=part.edited)


def test_made_up_edits_change_one_concept(part, pairs):
    for base, counterfactual, concept in pairs.iloc[::40, :3].to_numpy():
        same = part.concepts.loc[base] == part.concepts.loc[counterfactual]
        assert list(same.index[~same]) == [concept]
    # Twelve codes less the own of each original, as originals and as edits.
    assert len(pairs) == 25 * 4 * 3 * 2


def test_resampled_scores_are_those_of_the_drawn_originals(pairs):
    effects, estimates = np.random.default_rng(0).normal(size=(2, len(pairs), 5))
    resampled = Resampled(pairs, 3, seed=0)
    found = resampled.scores(effects, estimates)
    assert found.shape == (4, 4)
    groups = pairs["group"].unique()
    for counts, scores in zip(resampled._drawn, found, strict=True):
        assert counts.sum() == len(groups)
        # The pairs of an original, as many times as it was drawn.
        rows = np.concatenate(
            [
                np.tile(np.flatnonzero(pairs["group"] == group), count)
                for group, count in zip(groups, counts, strict=True)
            ]
        ).astype(int)
        own = effects[rows], estimates[rows]
        means = (cace(values, pairs.iloc[rows]) for values in own)
        expected = [icace_error(*own, distance=name) for name in DISTANCES.values()]
        np.testing.assert_allclose(scores, [*expected, order_faithfulness(*means)])
    assert (resampled._drawn[0] == 1).all()
    assert (resampled._drawn[1:] != 1).any()


@pytest.fixture(scope="module")
def case(part, pairs):
    """Return a model that says what the concepts are, and nothing else."""
    train = generate("train")
    says = {"Negative": 0.2, "unknown": 0.5, "Positive": 0.9}

    def proba(concepts):
        share = concepts["food"].map(says).to_numpy()
        return np.column_stack([share, 1 - share])

    base = part.concepts.iloc[pairs["base"]].reset_index(drop=True)
    return Case(
        train=train,
        pairs=pairs,
        train_proba=proba(train.concepts),
        base_proba=proba(base),
        train_predicted=train.concepts,
        base_predicted=base,
        base_shares=indicators(base),
    )


def test_explainers_of_a_model_of_concepts(case, part, pairs):
    """Where a model goes by one concept alone, the right answers are known."""
    says = {"Negative": 0.2, "unknown": 0.5, "Positive": 0.9}
    moved = pairs["to"].map(says) - pairs["from"].map(says)
    truth = np.where(pairs["concept"] == "food", moved, 0)
    rng = np.random.default_rng(0)
    found = approximate_counterfactual(case, rng)[:, 0]
    # Where there is a row that is alike, its prediction is that of the counterfactual.
    known = set(case.train.concepts.itertuples(index=False, name=None))
    after = part.concepts.iloc[pairs["counterfactual"]]
    has_alike = [row in known for row in after.itertuples(index=False, name=None)]
    assert 0.5 < np.mean(has_alike) < 1
    np.testing.assert_allclose(found[has_alike], truth[has_alike], atol=1e-12)
    # The learner on probabilities is close, and that on labels knows only the sign.
    soft = soft_s_learner(case, rng)
    np.testing.assert_allclose(soft[:, 0], truth, atol=0.1)
    np.testing.assert_array_equal(softer_s_learner(case, rng), soft)  # all is sure here
    on_labels = s_learner(case, rng)[:, 0]
    assert (np.sign(on_labels) == np.sign(truth))[np.abs(truth) > 0.3].all()
    own = pairs["concept"] == "food"
    expected = conditional_expectation(case, rng)[:, 0]
    np.testing.assert_allclose(expected[own], truth[own], atol=1e-12)
    assert np.abs(expected[~own]).mean() > 0  # values that go together in the rows
    assert np.abs(at_random(case, rng).mean()) < 1e-12


def test_rows_that_are_alike(case):
    concepts = case.train.concepts
    base, value = concepts.iloc[3].to_dict(), concepts["service"].iloc[3]
    base["service"] = "as it was"  # this one is to be another
    exact = (concepts == concepts.iloc[3]).all(axis=1)
    rows = alike(case, (*base.values(),), "service", value)
    assert list(rows) == list(np.flatnonzero(exact))
    # Nothing is like a base with values that no row has.
    rows = alike(case, ("no", "no", "no", "no"), "noise", "Positive")
    assert list(rows) == list(np.flatnonzero(concepts["noise"] == "Positive"))


def test_the_share_of_the_new_value(case, part, pairs):
    after = part.concepts.iloc[pairs["counterfactual"]]
    for concepts, expected in [(after, 1), (case.base_predicted, 0)]:
        found = new_value_shares(indicators(concepts), pairs, case.train)
        np.testing.assert_array_equal(found, expected)


def test_probabilities_as_labels():
    rows, labels, weights = as_labels(np.array([[0.2, 0.8], [1.0, 0.0]]))
    assert rows.tolist() == [0, 0, 1, 1]
    assert labels.tolist() == [0, 1, 0, 1]
    assert weights.tolist() == [0.2, 0.8, 1.0, 0.0]
