"""Removals by Newton's method against retraining, and their invariances."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from skclif.exceptions import InfluenceWarning
from skclif.numerics import newton as module
from skclif.numerics import prepared, problems
from skclif.numerics.newton import newton
from skclif.numerics.stored import StoredFeatures
from skclif.numerics.targets import Question, evaluate

from .test_influence import SIZES, _data, _factors, _fit, _target

TERMS = ["row", "label", *range(len(SIZES))]


def _influence(bottleneck, data, question, **kwargs):
    factors = _factors(bottleneck, data)
    parts = newton(bottleneck, data, factors, [question], **kwargs)
    return torch.cat([part for _, part in parts], dim=1)


def _left(data, row, term):
    """Return the data without a row, its label's term, or one annotation's."""
    label, concepts = data.label_weights.clone(), data.concept_weights.clone()
    if term in ("row", "label"):
        label[row] = 0
    if term != "label":
        concepts[row, slice(None) if term == "row" else term] = 0
    return replace(data, label_weights=label, concept_weights=concepts)


@cache
def _retrained(row, term, intervention_prob, activation="soft"):
    """Return what every target is asked of: both stages fitted without a term."""
    fit = {"intervention_prob": intervention_prob, "activation": activation}
    return _fit(_left(_data(), row, term), **fit)


def _effect(bottleneck, question, without):
    """Return the effect of the presence of what a model was fitted without."""
    with_it = evaluate(question.target, bottleneck, question.features)
    return with_it - evaluate(question.target, without, question.features)


def _of(influence, row, term):
    """Return a whole row's influence, or that of one of its paths."""
    if term == "row":
        return influence[:, row].sum(dim=1)
    return influence[:, row, 0 if term == "label" else 1 + term]


def _error(estimate, truth):
    return float(torch.linalg.norm(estimate - truth) / torch.linalg.norm(truth))


@pytest.mark.parametrize(
    ("intervention_prob", "activation"),
    [
        (0.0, "soft"),
        (0.0, "logit"),
        (0.0, "hard"),
        (0.3, "soft"),
        (0.3, "hard"),
        (1.0, "soft"),
        (1.0, "hard"),
    ],
)
@pytest.mark.parametrize("kind", ["loss", "logit", (0, 2), (3, 0)], ids=str)
def test_equals_retraining(kind, intervention_prob, activation):
    data = _data()
    fit = {"intervention_prob": intervention_prob, "activation": activation}
    bottleneck = _fit(data, **fit)
    features = _data(n_samples=6, seed=1).features
    question = Question(features, _target(bottleneck, features, kind))
    influence = _influence(bottleneck, data, question, block_rows=13)
    assert influence.shape == (6, 60, 2 + len(SIZES))
    for term in TERMS:
        rows = [3, 20, 41, 55]
        truth = torch.stack(
            [_effect(bottleneck, question, _retrained(r, term, **fit)) for r in rows],
            dim=1,
        )
        own = torch.stack([_of(influence, r, term) for r in rows], dim=1)
        if not truth.abs().max() > 1e-8:  # this path does not reach this target
            assert own.abs().max() < 1e-8
        else:
            # Sixty rows, so that each is a large part of what it is taken from.
            assert _error(own, truth) < 0.01, term


@pytest.mark.parametrize("intervention_prob", [0.0, 0.3, 1.0])
def test_goes_on_to_the_optimum_itself(monkeypatch, intervention_prob):
    monkeypatch.setattr(problems, "TOL", 1e-10)
    data = _data()
    fit = {"intervention_prob": intervention_prob}
    bottleneck = _fit(data, **fit)
    features = _data(n_samples=6, seed=1).features
    question = Question(features, _target(bottleneck, features, "loss"))
    influence = _influence(bottleneck, data, question)
    for term in TERMS:
        truth = _effect(bottleneck, question, _retrained(20, term, **fit))
        torch.testing.assert_close(
            _of(influence, 20, term), truth, rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_without_concepts_it_is_logistic_regression(n_classes):
    data = _data(sizes=[], n_classes=n_classes)
    fit = {"sizes": [], "n_classes": n_classes}
    bottleneck = _fit(data, **fit)
    features = _data(n_samples=6, seed=1).features
    question = Question(features, _target(bottleneck, features, "loss"))
    influence = _influence(bottleneck, data, question, paths=False)
    assert influence.shape == (6, 60, 1)
    rows = range(0, 60, 7)
    lefts = [_fit(_left(data, r, "row"), **fit) for r in rows]
    truth = [_effect(bottleneck, question, left) for left in lefts]
    assert _error(influence[:, rows, 0], torch.stack(truth, dim=1)) < 0.002


def test_some_rows_are_as_among_all():
    data = _data()
    bottleneck = _fit(data)
    question = Question(
        data.features[:4], _target(bottleneck, data.features[:4], "loss")
    )
    every = _influence(bottleneck, data, question)
    some = torch.tensor([41, 3, 3, 20])
    torch.testing.assert_close(
        _influence(bottleneck, data, question, removed=some),
        every[:, some],
        rtol=0,
        atol=1e-12,
    )
    torch.testing.assert_close(
        _influence(bottleneck, data, question, paths=False)[:, :, 0],
        every.sum(dim=2),
        rtol=0,
        atol=1e-12,
    )


def test_what_has_no_weight_has_no_influence():
    data = _left(_left(_data(), 7, "row"), 8, "label")
    bottleneck = _fit(data)
    question = Question(
        data.features[:4], _target(bottleneck, data.features[:4], "loss")
    )
    influence = _influence(bottleneck, data, question)
    assert (influence[:, 7] == 0).all()
    assert (influence[:, 8, 0] == 0).all()
    assert (influence[:, 8, 1:5][:, data.annotated[8]] != 0).all()
    assert (influence[:, :, 1:5][:, ~data.annotated] == 0).all()


def test_single_precision_passes_keep_five_digits():
    data = _data(n_samples=300, n_features=20)
    bottleneck = _fit(data)
    question = Question(
        data.features[:9], _target(bottleneck, data.features[:9], "loss")
    )
    factors = replace(_factors(bottleneck, data), dtype=torch.float32)
    parts = newton(bottleneck, data, factors, [question], block_rows=300)
    (single,) = [p for _, p in parts]
    double = _influence(bottleneck, data, question)
    # Where steps end may differ too: by a share of the tolerance of 2e-3.
    assert _error(single, double) < 1e-4
    assert single.dtype == torch.float64


@pytest.mark.parametrize("paths", [False, True])
def test_blocks_of_rows_are_one_pass(monkeypatch, paths):
    data, intervention_prob = _data(), 0.3
    bottleneck = _fit(data, intervention_prob=intervention_prob)
    question = Question(
        data.features[:4], _target(bottleneck, data.features[:4], "loss")
    )
    whole = _influence(bottleneck, data, question, paths=paths)
    monkeypatch.setattr(prepared, "BLOCK_ROWS", 7)
    monkeypatch.setattr(prepared, "_KEPT", 0)  # made again for every pass
    stored = replace(data, features=StoredFeatures(data.features))
    parts = newton(
        bottleneck, stored, _factors(bottleneck, data), [question], paths=paths
    )
    blocks = torch.cat([part for _, part in parts], dim=1)
    torch.testing.assert_close(blocks, whole, rtol=0, atol=1e-12)


def test_says_which_removals_have_not_settled(monkeypatch):
    data = _data()
    bottleneck = _fit(data)
    question = Question(
        data.features[:2], _target(bottleneck, data.features[:2], "loss")
    )
    monkeypatch.setattr(module, "_UNFINISHED", 1e-6)
    with pytest.warns(InfluenceWarning, match=r"training rows had not converged after"):
        _influence(bottleneck, data, question)


def test_values_of_leverage_and_newton_are_of_the_same_paths():
    data = _data(n_samples=200)
    bottleneck = _fit(data)
    features = _data(n_samples=8, seed=1).features
    question = Question(features, _target(bottleneck, features, "loss"))
    factors = _factors(bottleneck, data)
    from skclif.numerics.leverage import leverage

    (one_step,) = [p for _, p in leverage(bottleneck, data, factors, [question])]
    many = _influence(bottleneck, data, question)
    for path in range(1 + len(SIZES)):
        a, b = one_step[:, :, path].flatten(), many[:, :, path].flatten()
        assert np.corrcoef(a, b)[0, 1] > 0.98, path
