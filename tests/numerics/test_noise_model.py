"""What wrong labels teach a model is not held against the right ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from skclif.numerics.heads import Shares, SoftmaxHead
from skclif.numerics.suspects import LeftOut, _noise_model, judge, judge_if_noisy


def test_predictions_are_freed_of_what_replaced_values_taught():
    """A model of values that are replaced at a rate predicts a mixture."""
    true = np.random.default_rng(0).dirichlet([2, 2, 2], size=50)
    rate, head = 0.3, SoftmaxHead(3)
    mixed = torch.tensor((1 - rate) * true + rate / 3).log()
    scores = mixed @ head.contrasts(mixed).T
    codes = torch.tensor(true.argmax(axis=1))
    terms = LeftOut(head, torch.arange(50), codes, scores, scores)
    right, _ = _noise_model(terms, None).evidence(torch.tensor(rate).double())
    own = true.max(axis=1)
    as_predicted = mixed.exp().numpy().max(axis=1)
    error = np.abs(right.detach().exp().numpy() - own)
    # Probabilities near 0 are smoothed, which costs the others some hundredths.
    assert error.max() < 0.05
    assert error.mean() < 0.25 * np.abs(as_predicted - own).mean()


def _noisy_terms(rate, n=900, seed=0):
    rng = np.random.default_rng(seed)
    p = softmax(rng.normal(scale=6, size=(n, 3)) * rng.random((n, 1)), axis=1)
    right = np.array([rng.choice(3, p=row) for row in p])
    replaced = rng.random(n) < rate
    codes = np.where(replaced, rng.integers(0, 3, n), right)
    # The head was taught by right values, and is never quite sure.
    log_p = torch.tensor(0.98 * p + 0.02 / 3).log()
    head = SoftmaxHead(3)
    scores = log_p @ head.contrasts(log_p).T
    return LeftOut(head, torch.arange(n), torch.tensor(codes), scores, scores)


def test_labels_are_noisy_where_wrong_ones_make_them_more_likely():
    assert judge_if_noisy(_noisy_terms(0.0)) is None
    noisy = _noisy_terms(0.4)
    verdicts = judge_if_noisy(noisy)
    assert 0.15 < verdicts.rate < 0.4  # two thirds of the replaced labels are wrong
    torch.testing.assert_close(verdicts.log_odds, judge([noisy])[0].log_odds)


def test_a_head_that_knows_nothing_finds_no_noise():
    terms = _noisy_terms(0.4)
    shuffled = terms.codes[torch.randperm(900, generator=torch.Generator())]
    assert judge_if_noisy(replace(terms, codes=shuffled)) is None


def test_a_term_that_counts_twice_is_two_terms():
    terms = _noisy_terms(0.4)
    counts = torch.arange(900) % 3 + 1
    copies = torch.arange(900).repeat_interleave(counts)
    own = judge_if_noisy(replace(terms, counts=counts.double()))
    other = judge_if_noisy(
        LeftOut(
            terms.head,
            torch.arange(len(copies)),
            *(part[copies] for part in (terms.codes, terms.scores, terms.without)),
        )
    )
    assert own.rate == pytest.approx(other.rate, rel=1e-4)
    np.testing.assert_allclose(own.log_odds[copies], other.log_odds, atol=1e-3)
    assert own.known.gain == pytest.approx(other.known.gain, rel=1e-6)
    plain = judge_if_noisy(terms)
    assert abs(own.rate - plain.rate) > 1e-3


def test_a_soft_annotation_is_judged_by_its_values():
    """Its values are terms that count their shares; what they say is averaged."""
    plain = _noisy_terms(0.3, n=300)
    rng = np.random.default_rng(1)
    soft = rng.dirichlet([1, 1, 1], size=100)
    soft[0] = [0.4, 0.0, 0.6]
    head = SoftmaxHead(3, shares=Shares.of(torch.tensor(soft)))
    codes = plain.codes.double()
    codes[::3] = torch.arange(3, 103).double()
    (found,) = judge([replace(plain, head=head, codes=codes)])
    shares = np.eye(3)[plain.codes.numpy()]
    shares[::3] = soft
    row, value = map(torch.tensor, shares.nonzero())
    count = torch.tensor(shares[shares > 0])
    split = LeftOut(
        plain.head, row, value, plain.scores[row], plain.without[row], count
    )
    (by_value,) = judge([split])
    assert found.rate == pytest.approx(by_value.rate, rel=1e-6)
    assert found.known.n_terms == pytest.approx(300)
    wrong = torch.zeros(300).double()
    wrong.index_add_(0, row, count * by_value.log_odds.sigmoid())
    np.testing.assert_allclose(found.log_odds.sigmoid(), wrong, atol=1e-9)
    chances = torch.zeros(300, 3).double()
    chances.index_put_(
        (row, by_value.proposed), count * by_value.probability, accumulate=True
    )
    np.testing.assert_array_equal(found.proposed, chances.argmax(dim=1))
    np.testing.assert_allclose(found.probability, chances.amax(dim=1))
    assert (found.probability <= wrong + 1e-9).all()


def test_sources_count_shares_too():
    plain = _noisy_terms(0.3, n=300)
    head = SoftmaxHead(3, shares=Shares.of(torch.eye(3).double()))
    whole = plain.codes.double() + 3  # as if they were soft, of one value each
    sources = torch.arange(300) % 2
    (found,) = judge([replace(plain, head=head, codes=whole)], sources=sources)
    (expected,) = judge([plain], sources=sources)
    np.testing.assert_allclose(found.log_odds, expected.log_odds, atol=1e-6)
