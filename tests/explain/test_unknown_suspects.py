"""What is said of values that nobody can foretell: nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.exceptions import SuspectWarning
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.suspects import LeftOut, judge

from .test_suspects import drawn

KINDS = ["random", "five", "another feature", "rare"]


def features_and_concept(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 30))
    seen = X[:, 1] + rng.normal(0, 0.7, n) > 0
    return X, pd.DataFrame({"a": np.where(seen, "p", "q")}), rng


def labels_nobody_foretells(kind, X, rng):
    n = len(X)
    if kind == "random":
        return rng.integers(0, 2, n)
    if kind == "five":
        return rng.integers(0, 5, n)
    if kind == "rare":
        return (rng.random(n) < 0.07).astype(int)
    # The concepts do not carry this feature.
    return (X[:, 0] + rng.normal(size=n) > 0).astype(int)


def suspects_of(X, y, concepts, C="auto", which=None):
    clf = ConceptBottleneckClassifier(C=C, concept_C=C)
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    return explainer, explainer.suspect_labels(which)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("C", ["auto", 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_no_label_that_nobody_foretells_is_probably_wrong(kind, C, n):
    suspicious = 0
    for seed in range(10):
        X, concepts, rng = features_and_concept(n, seed)
        y = labels_nobody_foretells(kind, X, rng)
        _, found = suspects_of(X, y, concepts, C, "label")
        suspicious += (found["probability_wrong"] > 0.5).any()
    assert suspicious == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("C", ["auto", 1.0])
def test_no_annotation_of_chance_is_probably_wrong(C):
    for seed in range(10):
        X, concepts, rng = features_and_concept(300, seed)
        concepts["b"] = rng.choice(["u", "v", "w"], 300)
        y = (X[:, 1] > 0).astype(int)
        explainer, found = suspects_of(X, y, concepts, C, "b")
        assert (found["probability_wrong"] <= 0.5).all()
        assert found.attrs["unknown"] == ["b"]
        assert explainer.suspect_labels("a").attrs["unknown"] == []


def test_paths_that_nobody_knows_are_named_with_both_losses():
    X, concepts, rng = features_and_concept(300, 0)
    y = rng.integers(0, 2, 300)
    match = (
        r"Nothing can be said of which values of these paths are wrong: .* \(mean "
        r"log-loss of .* shares of the values: 'label' 0\.69\d? and 0\.69\d?\)\. "
        "probability_wrong is the same for all .* belong together row by row"
    )
    clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    with pytest.warns(SuspectWarning, match=match):
        found = explainer.suspect_labels("label")
    probability = found["probability_wrong"]
    np.testing.assert_allclose(probability, probability[0])
    assert probability[0] < 0.1
    assert (found["loss"].diff()[1:] <= 0).all()  # the most surprising first
    with pytest.warns(SuspectWarning, match="'label' 0.69"):
        suggestions = explainer.suggest_edits(X[:60], y[:60], random_state=0)
    assert "relabel" not in set(suggestions.frame["kind"])


@pytest.mark.filterwarnings("ignore")
def test_paths_that_nobody_knows_come_last():
    X, concepts, rng = features_and_concept(300, 0)
    _, found = suspects_of(X, rng.integers(0, 2, 300), concepts, 1.0)
    assert found.attrs["unknown"] == ["label"]
    assert found["path"].tolist() == ["a"] * 300 + ["label"] * 300


def test_few_values_are_said_to_be_few():
    X, concepts, _ = features_and_concept(200, 0)
    concepts.loc[49:, "a"] = None
    y = (X[:, 1] > 0).astype(int)
    match = r"Some paths have few values.*\('a' 49; at least 50 are needed\)"
    with pytest.warns(SuspectWarning, match=match):
        suspects_of(X, y, concepts, 1.0, "a")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(5))
def test_of_eight_rows_none_is_probably_wrong(seed):
    X, concepts, _ = features_and_concept(8, seed)
    concepts["a"] = ["p", "q"] * 4
    _, found = suspects_of(X, np.arange(8) // 2 % 2, concepts, 1.0)
    assert (found["probability_wrong"] <= 0.5).all()


def shares(codes, m):
    """Return terms whose head says the same of all."""
    n, head = len(codes), SoftmaxHead(m)
    scores = torch.zeros(n, m - 1).double()
    return LeftOut(head, torch.arange(n), torch.tensor(codes), scores, scores)


def test_where_others_prove_a_rate_shares_say_what_is_wrong():
    """Nearly all values are 0, and others are as frequent as the others' errors."""
    rng = np.random.default_rng(0)
    noisy, _ = drawn(2000, 3, 0.2, 0, power=2.0)
    wrong = rng.random(2000) < 0.2
    few = shares(np.where(wrong, rng.integers(1, 3, 2000), 0), 3)
    known, judged = judge([noisy, few])
    assert not judged.known.is_any
    assert judged.is_known
    assert known.rate == judged.rate == pytest.approx(0.2, abs=0.04)
    assert ((judged.log_odds > 0).numpy() == wrong).all()
    clean, _ = drawn(2000, 3, 0.0, 0, power=2.0)
    _, alike = judge([clean, few])
    assert not alike.is_known
    assert (alike.log_odds < 0).all()
    # As rare as that, no value was put there by errors of this rate.
    rare = shares(np.where(rng.random(2000) < 0.02, 1, 0), 3)
    _, alike = judge([noisy, rare])
    assert not alike.is_known
    assert (alike.log_odds < 0).all()


def test_numbers_that_nobody_foretells_are_all_alike():
    rng = np.random.default_rng(0)
    numbers = torch.from_numpy(rng.standard_t(2, size=300))
    scores = torch.from_numpy(0.1 * rng.normal(size=(300, 1)))
    terms = LeftOut(RidgeHead(), torch.arange(300), numbers, scores, scores)
    (found,) = judge([terms])
    assert not found.is_known
    assert (found.log_odds == found.log_odds[0]).all()
    assert found.log_odds[0] < 0
    assert found.probability.isnan().all()


def test_half_of_two_values_is_never_wrong():
    """Heads that foretell the other value are not taken for swapped labels."""
    rng = np.random.default_rng(1)
    right = torch.from_numpy(2.0 * rng.normal(size=(400, 1)))
    codes = (right[:, 0] + torch.from_numpy(rng.normal(size=400)) > 0).long()
    head, rows = SoftmaxHead(2), torch.arange(400)
    (found,) = judge([LeftOut(head, rows, codes, right, right)])
    (swapped,) = judge([LeftOut(head, rows, 1 - codes, right, right)])
    assert found.is_known != swapped.is_known
    for verdicts in (found, swapped):
        assert verdicts.rate < 0.3
