"""Weights that make concepts independent of the label, against counts."""

import numpy as np
import pytest

from skclif.numerics.balance import (
    MOST,
    balancing_weights,
    dependence,
    effective_sample_size,
)

RNG = np.random.default_rng(0)
N = 400
LABELS = RNG.integers(0, 3, N)
WEIGHTS = RNG.uniform(0.5, 2, N)


def one_hot(codes, n_values):
    return np.eye(n_values)[codes]


def shifted(n_values, share, seed):
    """Return values that equal the label in a share of the rows."""
    rng = np.random.default_rng(seed)
    follows = rng.random(N) < share
    return np.where(follows, LABELS % n_values, rng.integers(0, n_values, N))


def test_one_concept_gets_the_ratio_of_the_permuted_to_the_joint_distribution():
    """Labels are drawn anew for every row, with its concept as it is, many times."""
    values = shifted(3, 0.5, 1)
    found = balancing_weights([one_hot(values, 3)], LABELS, WEIGHTS)
    joint, permuted = np.zeros((2, 3, 3))
    rng = np.random.default_rng(2)
    shares = WEIGHTS / WEIGHTS.sum()
    np.add.at(joint, (values, LABELS), shares)
    n_draws = 2000
    for _ in range(n_draws):
        others = rng.choice(LABELS, N, p=shares)
        np.add.at(permuted, (values, others), shares / n_draws)
    expected = (permuted / joint)[values, LABELS]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_several_concepts_are_independent_of_the_label_each():
    concepts = [one_hot(shifted(m, 0.6, m), m) for m in (2, 3)]
    mixed = RNG.dirichlet(np.ones(4), N)  # soft annotations
    concepts.append(0.5 * mixed + 0.5 * one_hot(shifted(3, 0.7, 4), 4))
    factors = balancing_weights(concepts, LABELS, WEIGHTS)
    for values in concepts:
        assert dependence(values, LABELS, WEIGHTS) > 0.01
        assert dependence(values, LABELS, WEIGHTS * factors) < 1e-8
        margin = WEIGHTS @ values
        np.testing.assert_allclose((WEIGHTS * factors) @ values, margin, rtol=1e-4)
    for label in range(3):
        own = label == LABELS
        total = WEIGHTS[own].sum()
        assert (WEIGHTS * factors)[own].sum() == pytest.approx(total, rel=1e-4)


def test_no_row_gets_more_than_the_most():
    values = LABELS % 2
    values[:3] = 1 - values[:3]  # these rows alone stand against the shortcut
    factors = balancing_weights([one_hot(values, 2)], LABELS, WEIGHTS)
    assert factors.max() == MOST
    weights = WEIGHTS * factors
    before = dependence(one_hot(values, 2), LABELS, WEIGHTS)
    assert 0.05 < dependence(one_hot(values, 2), LABELS, weights) < before
    assert effective_sample_size(weights) < N / 2 < effective_sample_size(WEIGHTS)


def test_rows_without_weight_count_for_nothing():
    values, labels, weights = shifted(3, 0.5, 1), LABELS.copy(), WEIGHTS.copy()
    weights[:100], labels[:50] = 0, -1
    found = balancing_weights([one_hot(values, 3)], labels, weights)
    alone = balancing_weights([one_hot(values, 3)[100:]], labels[100:], weights[100:])
    np.testing.assert_allclose(found[100:], alone, rtol=1e-12)
    assert (found[:50] == 1).all()
    assert effective_sample_size(np.zeros(3)) == 0


def test_a_constant_and_an_independent_concept_change_nothing():
    rows = np.repeat(np.arange(6), 20)
    labels, values = rows % 3, rows // 3
    concepts = [np.ones((120, 1)), one_hot(values, 2)]
    found = balancing_weights(concepts, labels, np.ones(120))
    np.testing.assert_allclose(found, 1, rtol=1e-12)
    assert dependence(concepts[0], labels, np.ones(120)) == 0
