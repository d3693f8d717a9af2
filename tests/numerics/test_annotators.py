"""Dawid and Skene's model against slow references, and against truth."""

import numpy as np
import pytest

from skclif.numerics.annotators import Votes, _iterate, dawid_skene

N, K = 400, 3


def drawn(seed, accuracies=(0.9, 0.85, 0.8, 0.5, 0.34), n=N, per_text=3):
    """Return votes and the truth: a part of the annotators says each text's value."""
    rng = np.random.default_rng(seed)
    true = rng.choice(K, n, p=[0.5, 0.3, 0.2])
    who = np.array([rng.permutation(len(accuracies))[:per_text] for _ in range(n)])
    right = rng.random(who.shape) < np.asarray(accuracies)[who]
    said = np.where(
        right, true[:, None], (true[:, None] + rng.integers(1, K, who.shape)) % K
    )
    texts = np.repeat(np.arange(n), per_text)
    return Votes(texts, who.ravel(), said.ravel(), n, len(accuracies), K), true


@pytest.fixture(scope="module")
def found():
    votes, true = drawn(0)
    return votes, true, dawid_skene(votes)


def test_probabilities_are_those_of_bayes(found):
    """The shares follow from prior and matrices, vote by vote."""
    votes, _, truth = found
    assert truth.is_converged
    for text in (0, 7, 200):
        joint = truth.prior.copy()
        for k in np.flatnonzero(votes.texts == text):
            joint *= truth.confusions[votes.annotators[k], :, votes.values[k]]
        # At the optimum, up to the tolerance of the iterations.
        np.testing.assert_allclose(truth.shares[text], joint / joint.sum(), atol=1e-5)
    np.testing.assert_allclose(truth.shares.sum(axis=1), 1)
    np.testing.assert_allclose(truth.confusions.sum(axis=2), 1)


def test_matrices_are_shares_of_votes_shrunk_to_the_common_matrix():
    votes, _ = drawn(1, n=60)
    pseudo = np.broadcast_to(2.0 + np.eye(K), (votes.n_annotators, K, K))
    has_votes = np.ones(60, dtype=bool)
    truth = _iterate(votes, votes.shares(), pseudo, has_votes, 500, 1e-12)
    counts = np.zeros((votes.n_annotators, K, K))
    for text, who, said in zip(
        votes.texts, votes.annotators, votes.values, strict=True
    ):
        counts[who, :, said] += truth.shares[text]
    expected = counts + pseudo
    expected /= expected.sum(axis=2, keepdims=True)
    np.testing.assert_allclose(truth.confusions, expected, atol=1e-9)


def test_no_iteration_makes_it_worse(found):
    steps = np.diff(found[2].values)
    assert len(steps) > 3
    assert (steps > -1e-9).all()


def test_errors_are_found_where_annotators_differ():
    """More right values than by majority, on average, and the accuracies are right."""
    gains, errors = [], []
    accuracies = (0.9, 0.85, 0.8, 0.5, 0.34)
    for seed in range(5):
        votes, true = drawn(seed)
        truth, shares = dawid_skene(votes), votes.shares()
        best = shares == shares.max(axis=1, keepdims=True)
        # A tie is right as often as one of its values is drawn.
        majority = (best[np.arange(N), true] / best.sum(axis=1)).mean()
        gains.append((truth.shares.argmax(axis=1) == true).mean() - majority)
        errors.append(truth.accuracy - accuracies)
    assert np.mean(gains) > 0.03
    assert np.abs(np.mean(errors, axis=0)).max() < 0.06


def test_probabilities_are_calibrated():
    votes, true = drawn(3, n=2000)
    shares = dawid_skene(votes).shares
    top = shares.max(axis=1)
    right = shares.argmax(axis=1) == true
    bins = np.digitize(top, [0.6, 0.8, 0.95])
    gaps = [abs(top[bins == b].mean() - right[bins == b].mean()) for b in range(4)]
    assert max(gaps) < 0.06


def test_the_order_of_votes_does_not_matter(found):
    votes, _, truth = found
    order = np.random.default_rng(5).permutation(len(votes.texts))
    again = Votes(
        votes.texts[order], votes.annotators[order], votes.values[order], N, 5, K
    )
    np.testing.assert_allclose(dawid_skene(again).shares, truth.shares, atol=1e-9)


def test_texts_and_annotators_without_votes():
    votes = Votes(*np.array([[0, 0, 2], [0, 2, 0], [1, 1, 0]]), 3, 4, 2)
    assert np.isnan(votes.shares()[1]).all()
    truth = dawid_skene(votes)
    assert np.isnan(truth.shares[1]).all()
    assert truth.shares[0, 1] > 0.8
    # Whoever annotated nothing is like all others together.
    assert np.isfinite(truth.accuracy).all()
    assert truth.accuracy[1] == truth.accuracy[3]


def test_agreement_is_that_with_the_others():
    texts, who, said = np.array(
        [[0, 0, 1], [0, 1, 1], [0, 2, 0], [1, 0, 0], [1, 1, 0], [2, 3, 1]]
    ).T
    votes = Votes(texts, who, said, 3, 4, 2)
    np.testing.assert_array_equal(votes.agreement(), [0.75, 0.75, 0, np.nan])


def test_one_value_and_one_annotator():
    votes = Votes(*np.zeros((3, 2), dtype=int) + [[0, 1], [0, 0], [0, 0]], 2, 1, 1)
    np.testing.assert_array_equal(dawid_skene(votes).shares, [[1], [1]])


def test_it_says_if_it_did_not_converge():
    truth = dawid_skene(drawn(0)[0], max_iter=2)
    assert not truth.is_converged
    assert len(truth.values) == 2


# What crowd-kit 1.4.2 finds in ``drawn(2, n=100, per_text=5)`` after 500 iterations:
# the diagonals of the matrices, and the prior.
OF_CROWD_KIT = np.array(
    [
        [0.8470, 0.9183, 0.8349],
        [0.9257, 0.9233, 0.8024],
        [0.8090, 0.8833, 0.6656],
        [0.4898, 0.6354, 0.4022],
        [0.4052, 0.2006, 0.4781],
    ]
)
PRIOR_OF_CROWD_KIT = [0.4727, 0.2922, 0.2351]


def test_without_shrinkage_it_is_what_others_find():
    votes, _ = drawn(2, n=100, per_text=5)
    truth = dawid_skene(votes, common=1e-9, tol=1e-10)
    found = np.diagonal(truth.confusions, axis1=1, axis2=2)
    # Here the prior of the values counts one text more.
    np.testing.assert_allclose(found, OF_CROWD_KIT, atol=1e-3)
    np.testing.assert_allclose(truth.prior, PRIOR_OF_CROWD_KIT, atol=3e-3)
