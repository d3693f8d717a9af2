"""Removals of whole sets of rows against retraining, and against their definitions."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from skclif.numerics import problems
from skclif.numerics.leverage import Step, leverage
from skclif.numerics.newton import newton
from skclif.numerics.sets import (
    Lost,
    carried_curvature,
    lost_by,
    pairwise,
    remove_sets,
)
from skclif.numerics.targets import Question, evaluate

from .test_influence import SIZES, _data, _factors, _fit, _target

SETS = [[3], [3, 20, 41], list(range(10, 24))]
TERMS = ["set", "label", *range(len(SIZES))]


def _sets(sets=SETS):
    return [torch.tensor(rows) for rows in sets]


def _found(method, bottleneck, data, question, sets=SETS, **kwargs):
    factors = _factors(bottleneck, data)
    found = remove_sets(
        method, bottleneck, data, factors, [question], _sets(sets), **kwargs
    )
    return torch.cat([part for _, part, _ in found], dim=1)


def _left(data, rows, term="set", share=1.0):
    """Return the data without a share of some rows, or of one kind of their terms."""
    label, concepts = data.label_weights.clone(), data.concept_weights.clone()
    if term in ("set", "label"):
        label[rows] *= 1 - share
    if term != "label":
        at = torch.tensor(rows)
        columns = range(len(SIZES)) if term == "set" else [term]
        for column in columns:
            concepts[at, column] *= 1 - share
    return replace(data, label_weights=label, concept_weights=concepts)


def _question(bottleneck, kind="loss"):
    features = _data(n_samples=6, seed=1).features
    return Question(features, _target(bottleneck, features, kind))


def _error(estimate, truth):
    return float(torch.linalg.norm(estimate - truth) / torch.linalg.norm(truth))


@pytest.fixture(scope="module")
def solved():
    data = _data()
    bottleneck = _fit(data, intervention_prob=0.3)
    return bottleneck, data, _question(bottleneck)


# --- newton ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intervention_prob", "activation", "kind"),
    [
        (0.0, "logit", "loss"),
        (0.3, "soft", "loss"),
        (0.3, "hard", "loss"),
        (1.0, "soft", (3, 0)),
    ],
)
def test_newton_equals_retraining(kind, intervention_prob, activation):
    data = _data()
    fit = {"intervention_prob": intervention_prob, "activation": activation}
    bottleneck = _fit(data, **fit)
    question = _question(bottleneck, kind)
    found = _found("newton", bottleneck, data, question)
    assert found.shape == (6, len(SETS), 2 + len(SIZES))
    before = evaluate(question.target, bottleneck, question.features)
    for term in TERMS:
        own = found.sum(dim=2) if term == "set" else found[..., TERMS.index(term) - 1]
        after = [_fit(_left(data, rows, term), **fit) for rows in SETS]
        after = [evaluate(question.target, m, question.features) for m in after]
        truth = before[:, None] - torch.stack(after, dim=1)
        if truth.abs().max() > 1e-8:  # otherwise the path does not reach the target
            assert _error(own, truth) < 5e-3, term
        else:
            assert own.abs().max() < 1e-8


def test_what_does_not_converge_is_solved_in_short_steps(solved, monkeypatch):
    few = {"sets": SETS[1:2], "paths": False}
    expected = _found("newton", *solved, **few)
    monkeypatch.setattr(problems, "MAX_STEPS", 1)
    found = _found("newton", *solved, **few)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("method", "of_rows", "tolerance"),
    [("newton", newton, 2e-3), ("leverage", leverage, 1e-9), ("pairwise", pairwise, 0)],
)
def test_sets_of_one_row_are_rows(solved, method, of_rows, tolerance):
    bottleneck, data, question = solved
    rows = [4, 9, 33]
    own = _found(method, *solved, sets=[[row] for row in rows])
    parts = of_rows(
        bottleneck, data, _factors(bottleneck, data), [question], torch.tensor(rows)
    )
    expected = torch.cat([part for _, part in parts], dim=1)
    assert _error(own, expected) <= tolerance


@pytest.mark.parametrize("method", ["newton", "leverage", "pairwise"])
def test_paths_add_up_and_the_order_of_rows_and_sets_does_not_matter(solved, method):
    with_paths = _found(method, *solved)
    alone = _found(method, *solved, paths=False)[:, :, 0]
    torch.testing.assert_close(with_paths.sum(dim=2), alone, rtol=1e-9, atol=1e-9)
    turned = _found(method, *solved, sets=[rows[::-1] for rows in SETS[::-1]])
    torch.testing.assert_close(turned.flip(1), with_paths, rtol=0, atol=2e-4)


@pytest.mark.parametrize("method", ["newton", "leverage", "pairwise"])
def test_rows_without_weight_have_no_part(solved, method):
    bottleneck, data, question = solved
    gone = [11, 12]
    data = _left(data, gone)
    bottleneck = _fit(data, intervention_prob=0.3)
    with_them = _found(method, bottleneck, data, question, sets=[gone, [3, *gone]])
    without = _found(method, bottleneck, data, question, sets=[[3]])
    assert not with_them[:, 0].any()
    torch.testing.assert_close(with_them[:, 1:], without, rtol=0, atol=2e-4)


# --- leverage and pairwise ------------------------------------------------------------


def test_leverage_evaluates_the_target_at_the_sum_of_changes(solved):
    """Eq. (77) of docs/mathematics.rst."""
    bottleneck, data, question = solved
    step = Step(bottleneck, data, _factors(bottleneck, data))
    found = _found("leverage", *solved, paths=False)[:, :, 0]
    before = evaluate(question.target, bottleneck, question.features)
    for k, rows in enumerate(SETS):
        changes, _ = step.removals(data.rows(torch.tensor(rows)), paths=False)
        moved = replace(
            bottleneck,
            concept_parameters=bottleneck.concept_parameters
            + torch.cat([change.sum(dim=0) for change in changes.concepts]),
            label_parameters=bottleneck.label_parameters + changes.row.sum(dim=0),
        )
        after = evaluate(question.target, moved, question.features)
        torch.testing.assert_close(found[:, k], before - after)


@pytest.mark.parametrize("kind", ["loss", (0, 2)], ids=str)
def test_pairwise_is_the_target_to_second_order(kind):
    """Eq. (76): first-order changes by finite differences of fits, autograd in them."""
    data, share = _data(), 1e-4
    fit = {"intervention_prob": 0.3}
    bottleneck = _fit(data, **fit)
    question = _question(bottleneck, kind)
    found = _found("pairwise", bottleneck, data, question, paths=False)[:, :, 0]
    for k, rows in enumerate(SETS[1:], start=1):
        less, more = (_fit(_left(data, rows, share=s), **fit) for s in (share, -share))
        change = {
            name: (getattr(less, name) - getattr(more, name)) / (2 * share)
            for name in ("concept_parameters", "label_parameters")
        }
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        moved = {name: getattr(bottleneck, name) + t * d for name, d in change.items()}
        moved = replace(bottleneck, **moved)
        for i, value in enumerate(evaluate(question.target, moved, question.features)):
            (slope,) = torch.autograd.grad(value, t, create_graph=True)
            (curve,) = torch.autograd.grad(slope, t, retain_graph=True)
            expected = -slope.detach() - curve / 2
            torch.testing.assert_close(found[i, k], expected, rtol=1e-5, atol=1e-6)


def test_pairwise_has_no_more_than_pairs(solved):
    """Of three rows, what no pair of them explains is nothing."""
    rows = [3, 20, 41]
    sets = [list(s) for size in (1, 2, 3) for s in combinations(rows, size)]
    found = _found("pairwise", *solved, sets=sets, paths=False)[:, :, 0]
    singles, pairs, all_three = found[:, :3], found[:, 3:6], found[:, 6]
    assert (pairs.sum(dim=1) - 2 * singles.sum(dim=1)).abs().min() > 1e-6
    torch.testing.assert_close(
        all_three, pairs.sum(dim=1) - singles.sum(dim=1), rtol=1e-6, atol=1e-9
    )


# --- What a set holds -----------------------------------------------------------------


def test_what_only_a_set_holds_is_named():
    data = _data()
    bottleneck = _fit(data)
    values = data.concepts[:, 0]
    weighted = data.concept_weights[:, 0] > 0
    of_value = (weighted & (values == 1)).nonzero()[:, 0].tolist()
    of_label = (data.labels == 2).nonzero()[:, 0].tolist()
    of_numbers = (data.concept_weights[:, 3] > 0).nonzero()[:, 0].tolist()
    sets = [[3, 4], of_value, of_value[1:], of_label, of_numbers, list(range(60))]
    found = lost_by(bottleneck, data, _sets(sets))
    assert found[:3] == [[], [Lost(0, 1)], []]
    assert Lost(None, 2) in found[3]
    assert Lost(3, None) in found[4]
    assert found[5] == [Lost(k, None) for k in [None, 0, 1, 2, 3]]


@pytest.mark.parametrize("but_one", [False, True])
def test_the_curvature_of_a_set_is_that_along_the_step(solved, but_one):
    bottleneck, data, _ = solved
    factors = _factors(bottleneck, data)
    found = carried_curvature(bottleneck, data, factors, _sets(), but_one=but_one)
    assert found.shape == (len(SETS),)
    assert ((found >= 0) & (found < 1)).all()
    everything = [torch.arange(len(data))]
    whole = carried_curvature(bottleneck, data, factors, everything)
    assert 0.9 < float(whole) <= 1 + 1e-9  # the rest is the penalty's
    assert bool(found[0] == 0) == but_one
