"""Removals estimated from a few of the rows: values, and what these say of them."""

import pytest
import torch

from skclif.numerics import estimates, problems
from skclif.numerics.newton import Refit

from .test_influence import _data, _factors, _fit

REMOVED = torch.arange(0, 600, 20)


@pytest.fixture
def many(monkeypatch):
    """Have 600 rows count as many, of which a sample is worth something."""
    monkeypatch.setattr(estimates, "_LEAST_ROWS", 600)
    monkeypatch.setattr(estimates, "_SAMPLED", 4)
    monkeypatch.setattr(estimates, "BLOCK_ROWS", 50)


@pytest.fixture
def n_asked(monkeypatch):
    """Count the gradients over all rows that removals ask for."""
    asked, run = [], Refit._run

    def counted(self, concepts, cases, follow=None):
        asked.extend(
            0 if one.at is None else len(one.at) for one in [*concepts, *cases]
        )
        run(self, concepts, cases, follow)

    monkeypatch.setattr(Refit, "_run", counted)
    return lambda: sum(asked)


def _removals(bottleneck, data, *, paths):
    factors = _factors(bottleneck, data)
    removals, errors = Refit(bottleneck, data, factors).without(REMOVED, paths=paths)
    changes = [*removals.concepts, removals.row, *removals.terms]
    return [change.flatten(1) for change in changes], errors


def _errors(found, truth):
    """Return the relative error of every head's change, (n_heads, n_removed)."""
    errors = [
        torch.linalg.norm(a - b, dim=1) / torch.linalg.norm(b, dim=1).clamp_min(1e-9)
        for a, b in zip(found, truth, strict=True)
    ]
    return torch.stack(errors)


@pytest.mark.parametrize("intervention_prob", [0.0, 0.3])
@pytest.mark.parametrize("activation", ["soft", "logit"])
def test_all_rows_as_near_rows_lead_to_the_optimum(
    many, n_asked, monkeypatch, intervention_prob, activation
):
    data = _data(n_samples=600)
    bottleneck = _fit(data, intervention_prob=intervention_prob, activation=activation)
    monkeypatch.setattr(problems, "TOL", 1e-8)
    monkeypatch.setattr(estimates, "_LEAST_ROWS", 601)
    exact, _ = _removals(bottleneck, data, paths=True)
    assert n_asked()
    before = n_asked()
    monkeypatch.setattr(estimates, "_LEAST_ROWS", 600)
    monkeypatch.setattr(estimates, "_MAX_PASSES", 30)
    monkeypatch.setattr(
        estimates, "_near_rows", lambda *_: torch.arange(600)[torch.arange(600) != 302]
    )
    found, _ = _removals(bottleneck, data, paths=True)
    assert n_asked() == before
    assert _errors(found, exact).max() < 1e-6


def test_errors_say_how_far_estimates_are_off(many, n_asked, monkeypatch):
    data = _data(n_samples=600)
    bottleneck = _fit(data)
    factors = _factors(bottleneck, data)
    monkeypatch.setattr(problems, "TOL", 1e-8)
    monkeypatch.setattr(estimates, "_LEAST_ROWS", 601)
    exact, _ = _removals(bottleneck, data, paths=False)
    monkeypatch.setattr(problems, "TOL", torch.inf)
    monkeypatch.setattr(estimates, "_LEAST_ROWS", 600)
    before = n_asked()
    known = []
    know = problems.Problems.know
    monkeypatch.setattr(
        problems.Problems,
        "know",
        lambda self, *args: (known.append(args[1]), know(self, *args)),
    )
    found, errors = _removals(bottleneck, data, paths=False)
    assert n_asked() == before
    torch.testing.assert_close(errors, torch.stack(known).amax(dim=0))
    heads = [*factors.concepts, factors.label]
    for one, other, inverse, told in zip(found, exact, heads, known, strict=True):
        hessian = torch.linalg.inv(inverse.dense())
        size, off = (
            torch.einsum("np,pq,nq->n", each, hessian, each)
            for each in (other, one - other)
        )
        if one is found[3]:  # a continuous concept: one step is exact
            assert max(told.max(), (off / size).max()) < 1e-9
            continue
        true = float((off.sum() / size.sum()).sqrt())
        estimated = float(((told**2 * size).sum() / size.sum()).sqrt())
        assert 0.3 < true / estimated < 3, (true, estimated)
        assert true < 0.02
