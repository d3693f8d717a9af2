"""Removals estimated from a few of the rows: values, and what these say of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.numerics import estimates, problems
from skclif.numerics.blocks import row_blocks
from skclif.numerics.gradients import Follow, Pass
from skclif.numerics.newton import Refit
from skclif.numerics.sparse import SparseFeatures
from skclif.numerics.stored import StoredFeatures

from .test_influence import _data, _factors, _fit

N, REMOVED = 600, torch.arange(0, 600, 20)


@pytest.fixture
def many(monkeypatch):
    """Have 600 rows count as many, of which a sample is worth something."""
    monkeypatch.setattr(estimates, "LEAST_ROWS", N)
    monkeypatch.setattr(estimates, "_SAMPLED", 4)
    monkeypatch.setattr(estimates, "BLOCK_ROWS", 50)


@pytest.fixture
def known(monkeypatch):
    """Keep what problems are told."""
    told, know = [], problems.Problems.know

    def keeping(self, change, error):
        told.append((self, change, error))
        know(self, change, error)

    monkeypatch.setattr(problems.Problems, "know", keeping)
    return told


@pytest.fixture
def n_asked(monkeypatch):
    """Count the gradients over all rows that removals ask for."""
    asked, run = [], Refit._run

    def counted(self, concepts, cases, follow=None):
        asked.append(
            sum(len(one.at) for one in [*concepts, *cases] if one.is_open.any())
        )
        run(self, concepts, cases, follow)

    monkeypatch.setattr(Refit, "_run", counted)
    return asked


def _removed(bottleneck, data, *, paths=False):
    """Return the changes of all heads, and of the label's cases in their order."""
    refit = Refit(bottleneck, data, _factors(bottleneck, data))
    removals, errors = refit.without(REMOVED, paths=paths)
    return [*removals.concepts, *removals.terms, removals.row], errors


def _optimum(bottleneck, data, monkeypatch, **kwargs):
    with monkeypatch.context() as patch:
        patch.setattr(problems, "TOL", 1e-9)
        patch.setattr(estimates, "LEAST_ROWS", N + 1)
        return _removed(bottleneck, data, **kwargs)[0]


@pytest.mark.parametrize("intervention_prob", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("activation", ["soft", "logit"])
def test_a_look_at_all_rows_is_a_step_on_the_exact_gradient(
    many, known, monkeypatch, intervention_prob, activation
):
    data = _data(n_samples=N)
    fit = {"intervention_prob": intervention_prob, "activation": activation}
    bottleneck = _fit(data, **fit)
    # All but one row, which is the sample.
    every = torch.arange(N)
    monkeypatch.setattr(estimates, "_near_rows", lambda *_: every[every != 302])
    stages = Refit(bottleneck, data, _factors(bottleneck, data))
    stages.without(REMOVED, paths=True)
    follow = Follow(stages, stages.passes.exactly(data.rows(REMOVED)))
    heads = [one for one, _, _ in known if one.solved.head is not bottleneck.label]
    cases = [one for one, _, _ in known[len(heads) :]]
    pulled = {id(case): case.gap_gradient() for case in cases}
    for one in heads:
        one.change, one.at = one.gap.first_step(), torch.arange(len(REMOVED))
    for case in cases:
        for j in case.moved:
            pulled[id(case)] += follow.pull(case, j, heads[j].change)
        case._known = None
        case.change = case.first_step(pulled[id(case)])
        case.at = torch.arange(len(REMOVED))
    exact = Pass(stages, heads, [*heads, *cases]).gradients()
    moves = []
    for (one, found, error), gradient in zip(known, exact, strict=True):
        for j in one.moved:
            gradient = gradient + follow.pull(one, j, moves[j])
        step = -one.precondition(gradient, one.at)
        step[error == torch.inf] = 0  # it went too far to be an estimate
        assert (error < torch.inf).double().mean() > 0.5
        moves.append(step)
        torch.testing.assert_close(found, one.change + step, rtol=1e-7, atol=1e-10)


def test_errors_say_how_far_estimates_are_off(many, known, n_asked, monkeypatch):
    data = _data(n_samples=N)
    bottleneck = _fit(data)
    exact = _optimum(bottleneck, data, monkeypatch)
    known.clear()
    monkeypatch.setattr(problems, "TOL", torch.inf)
    found, errors = _removed(bottleneck, data)
    assert n_asked[-1] == 0
    told = torch.stack([error for _, _, error in known])
    torch.testing.assert_close(errors, told.amax(dim=0))
    for (one, change, error), value, truth in zip(known, found, exact, strict=True):
        torch.testing.assert_close(change, value)
        hessian = torch.linalg.inv(one.solved.inverse)
        off, size = (
            torch.einsum("np,pq,nq->n", each, hessian, each)
            for each in ((change - truth).flatten(1), truth.flatten(1))
        )
        if one.solved.head.is_quadratic:  # one step is exact
            assert max(error.max(), (off / size).max()) < 1e-9
            continue
        size = torch.maximum(size, one.extent)
        told_off = error.where(error.isfinite(), 0.0) ** 2 * size
        true = float((off.where(error.isfinite(), 0.0).sum() / told_off.sum()).sqrt())
        assert 0.5 < true < 2, (one.moved, true)


def test_what_is_too_far_off_goes_on_with_all_rows(many, known, n_asked, monkeypatch):
    data = _data(n_samples=N)
    bottleneck = _fit(data)
    exact = _optimum(bottleneck, data, monkeypatch, paths=True)
    n_all, _ = n_asked[-1], known.clear()
    monkeypatch.setattr(problems, "TOL", 0.01)
    few, _ = _removed(bottleneck, data, paths=True)
    assert 0 < n_asked[-1] < n_all
    open_ = [error > 0.01 for _, _, error in known]
    assert 0 < sum(int(each.sum()) for each in open_) == n_asked[-1]
    for one, truth in zip(few, exact, strict=True):
        off = torch.linalg.norm(one - truth) / torch.linalg.norm(truth)
        assert off < 0.02
    monkeypatch.setattr(problems, "TOL", 1e-9)
    for one, truth in zip(
        _removed(bottleneck, data, paths=True)[0], exact, strict=True
    ):
        torch.testing.assert_close(one, truth, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["dense", "stored", "sparse"])
def test_near_rows_are_those_whose_scores_move_most(kind, monkeypatch):
    data = _data(n_samples=N)
    bottleneck = _fit(data)
    refit = Refit(bottleneck, data, _factors(bottleneck, data))
    own = refit.passes.exactly(data.rows(REMOVED))
    concepts = []
    for j, head in enumerate(refit.concepts):
        gap = problems.RowGap(head, own.concept(j), REMOVED)
        one = problems.Problems(head, len(REMOVED), gap)
        concepts.append(estimates._Estimate(one, one.gap_gradient()))
    features = data.features
    if kind == "stored":
        features = StoredFeatures(features)
    elif kind == "sparse":
        features = SparseFeatures.of(features.numpy())
    refit.data = replace(data, features=features)
    monkeypatch.setattr(estimates, "row_blocks", partial(row_blocks, block_rows=70))
    near = estimates._near_rows(refit, concepts, 5)
    changes = torch.cat([one.change for one in concepts], dim=1)
    wanted = set()
    for change in changes:
        along = torch.linalg.svd(change).Vh[0]
        moves = (data.features @ along[:-1] + along[-1]).abs()
        wanted |= set(moves.topk(5).indices.tolist())
    assert near.tolist() == sorted(wanted)


@pytest.mark.parametrize("n_values", [1, 3, 12])
def test_concepts_of_one_value_and_of_many(many, n_asked, monkeypatch, n_values):
    """A constant concept has no activations; many values have large matrices."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    concepts = pd.DataFrame(
        {
            "of values": np.digitize(X[:, 0], np.linspace(-1, 1, n_values)[1:]),
            "constant": "same",
        }
    )
    y = (X.sum(axis=1) + rng.normal(size=N) > 0).astype(int)
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="newton"
    ).fit(X, y, concepts=concepts.astype(str))
    found = explainer.influence(X[:5], y[:5], paths=True).values
    assert len(n_asked) > 0
    monkeypatch.setattr(estimates, "LEAST_ROWS", N + 1)
    expected = explainer.influence(X[:5], y[:5], paths=True).values
    off = np.linalg.norm(found - expected)
    assert off <= 2e-3 * np.linalg.norm(expected)
