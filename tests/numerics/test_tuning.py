"""Penalties that choose themselves, against leaving out every row for real."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skclif import ConceptBottleneckClassifier
from skclif.numerics import tuning
from skclif.numerics.bottleneck import concept_problem, fit_concepts, fit_label
from skclif.numerics.heads import HeadStack, RidgeHead, SoftmaxHead
from skclif.numerics.tuning import GRID, choose_concept_C, choose_label_C

from .test_influence import SIZES, _data, concept_penalties

LIMITS = {"tol": 1e-10, "max_iter": 100}
ROWS = 70


def heads():
    return [SoftmaxHead(m) if m else RidgeHead() for m in SIZES]


def concepts_of(data, intervention_prob=0.0):
    bottleneck, _ = fit_concepts(
        data,
        heads(),
        SoftmaxHead(3),
        intervention_prob=intervention_prob,
        concept_penalties=concept_penalties(),
        **LIMITS,
    )
    return bottleneck


def without(data, row, units):
    """Return the data with less weight of a row in every head."""
    left = torch.ones(len(data), dtype=torch.float64)
    left[row] -= units[row]
    return replace(
        data,
        label_weights=data.label_weights * left,
        concept_weights=data.concept_weights * left[:, None],
    )


@pytest.fixture(scope="module")
def data():
    return _data(n_samples=ROWS)


@pytest.fixture(scope="module")
def units():
    return torch.from_numpy(np.random.default_rng(3).uniform(0.3, 1, ROWS))


def test_losses_of_concepts_are_those_of_retraining(data, units):
    choice = choose_concept_C(HeadStack(heads()), data, units)
    for k in np.flatnonzero(~choice.losses.isnan().any(dim=0))[::2]:
        penalties = torch.full((len(SIZES),), 1 / GRID[k], dtype=torch.float64)
        total = torch.zeros(len(SIZES), dtype=torch.float64)
        for row in range(ROWS):
            fitted, _ = fit_concepts(
                without(data, row, units),
                heads(),
                SoftmaxHead(3),
                intervention_prob=0.0,
                concept_penalties=penalties,
                **LIMITS,
            )
            scores = fitted.concepts.split(fitted.concept_scores(data.features[[row]]))
            for j, head in enumerate(fitted.concepts.heads):
                loss = head.loss(scores[j], data.concepts[[row], j])
                total[j] += data.concept_weights[row, j] * loss[0]
        truth = total / data.concept_weights.sum(dim=0)
        # One Newton step leaves a few per mille; least squares are exact.
        torch.testing.assert_close(choice.losses[:, k], truth, rtol=0.03, atol=0)
        torch.testing.assert_close(choice.losses[3, k], truth[3], rtol=1e-6, atol=0)


@pytest.mark.parametrize("intervention_prob", [0.0, 0.4, 1.0])
def test_losses_of_labels_are_those_of_retraining_both_stages(
    data, units, intervention_prob
):
    bottleneck = concepts_of(data, intervention_prob)
    choice = choose_label_C(bottleneck, data, units, concept_penalties())
    known = np.flatnonzero(~choice.losses[0].isnan())[::2]
    truth = np.zeros(len(known))
    for row in range(ROWS):
        rest = without(data, row, units)
        left = concepts_of(rest, intervention_prob)
        for position, k in enumerate(known):
            fitted, _ = fit_label(left, rest, penalty=1 / GRID[k], **LIMITS)
            scores = fitted.label_scores(fitted.activations(data.features[[row]]))
            loss = fitted.label.loss(scores, data.labels[[row]])
            truth[position] += float(data.label_weights[row] * loss[0])
    truth /= float(data.label_weights.sum())
    ours = choice.losses[0, known].numpy()
    # That the other rows' activations move is left out.
    np.testing.assert_allclose(ours, truth, rtol=0.03)
    assert known[truth.argmin()] == known[ours.argmin()]


def test_without_concepts_it_is_leave_one_out_of_logistic_regression(data, units):
    bare = replace(
        data,
        **{n: getattr(data, n)[:, :0] for n in ("concepts", "concept_weights")},
        annotated=data.annotated[:, :0],
    )
    nothing = torch.empty(0, dtype=torch.float64)
    start, _ = fit_concepts(
        bare,
        [],
        SoftmaxHead(3),
        intervention_prob=0.4,
        concept_penalties=nothing,
        **LIMITS,
    )
    choice = choose_label_C(start, bare, units, nothing)
    k = int(np.flatnonzero(~choice.losses[0].isnan())[0])
    total = 0.0
    for row in range(ROWS):
        rest = without(bare, row, units)
        fitted, _ = fit_label(start, rest, penalty=1 / GRID[k], **LIMITS)
        loss = fitted.label.loss(
            fitted.label_scores(bare.features[[row]]), bare.labels[[row]]
        )
        total += float(bare.label_weights[row] * loss[0])
    truth = total / float(bare.label_weights.sum())
    assert float(choice.losses[0, k]) == pytest.approx(truth, rel=0.01)


def test_a_row_of_weight_two_is_two_rows(data):
    ones, twice = torch.ones(ROWS).double(), torch.arange(ROWS) % 3 == 0
    weights = torch.where(twice, 2.0, 1.0).double()
    heavy = replace(
        data,
        label_weights=data.label_weights * weights,
        concept_weights=data.concept_weights * weights[:, None],
    )
    double = data.rows(torch.cat([torch.arange(ROWS), twice.nonzero()[:, 0]]))
    stack, penalties = HeadStack(heads()), concept_penalties()
    own = choose_concept_C(stack, heavy, 1 / weights)
    other = choose_concept_C(stack, double, torch.ones(len(double)).double())
    torch.testing.assert_close(
        own.losses, other.losses, rtol=1e-5, atol=0, equal_nan=True
    )
    own = choose_label_C(concepts_of(heavy, 0.4), heavy, 1 / weights, penalties)
    other = choose_label_C(
        concepts_of(double, 0.4), double, torch.ones(len(double)).double(), penalties
    )
    torch.testing.assert_close(
        own.losses, other.losses, rtol=1e-5, atol=0, equal_nan=True
    )
    assert (ones >= 1 / weights).all()


def test_each_head_walks_to_its_own_optimum(data, units):
    """Alone, among others, and in another order, with the losses of the whole grid."""
    together = choose_concept_C(HeadStack(heads()), data, units)
    for j, head in enumerate(heads()):
        part = replace(
            data,
            concepts=data.concepts[:, [j]],
            annotated=data.annotated[:, [j]],
            concept_weights=data.concept_weights[:, [j]],
        )
        alone = choose_concept_C(HeadStack([head]), part, units)
        assert float(together.C[j]) == float(alone.C)
    problem = concept_problem(HeadStack(heads()), data, torch.ones(4))
    tried = []
    for C in GRID:
        penalties = torch.full((4,), 1 / C, dtype=torch.float64)
        fitted, _ = fit_concepts(
            data,
            heads(),
            SoftmaxHead(3),
            intervention_prob=0,
            concept_penalties=penalties,
            **LIMITS,
        )
        without = tuning.left_out_scores(
            replace(problem, penalties=penalties), fitted.concept_parameters, units
        )
        tried.append(
            [
                float(
                    data.concept_weights[:, j]
                    @ head.loss(part, data.concepts[:, j])
                    / data.concept_weights[:, j].sum()
                )
                for j, (head, part) in enumerate(zip(heads(), without, strict=True))
            ]
        )
    # Of losses that are equal within 0.1 %, the strongest penalty is taken.
    best = np.argmax(np.array(tried) <= 1.001 * np.min(tried, axis=0), axis=0)
    assert together.C.tolist() == [GRID[k] for k in best]


def test_few_rows_and_many_features(units):
    data = _data(n_samples=30, n_features=50)
    choice = choose_concept_C(HeadStack(heads()), data, units[:30])
    padded = replace(data, features=torch.cat([data.features, torch.zeros(30, 3)], 1))
    other = choose_concept_C(HeadStack(heads()), padded, units[:30])
    torch.testing.assert_close(
        choice.losses, other.losses, rtol=1e-6, atol=1e-9, equal_nan=True
    )


@pytest.mark.parametrize("best", [0, 5, len(GRID) // 2, len(GRID) - 1])
def test_the_walk_finds_the_least_loss(best):
    calls = []

    def losses(heads, C):
        calls.append(len(heads))
        return (C.log10() - np.log10(GRID[best])).abs()

    choice = tuning._walk(losses, 1, torch.zeros(1).double())
    assert float(choice.C) == GRID[best]
    distance = abs(best - len(GRID) // 2)
    assert len(calls) <= distance + 3


def test_of_equal_losses_the_strongest_penalty_is_taken():
    choice = tuning._walk(lambda heads, C: C * 0, 1, torch.zeros(1).double())
    assert float(choice.C) == GRID[0]


def test_the_walk_ends_where_data_hardly_care():
    def losses(heads, C):
        return 0.37 - 2e-4 * C.log10()  # 0.05 % of it for each decade

    choice = tuning._walk(losses, 1, torch.zeros(1).double())
    assert float(choice.C) < 1

    def falling(heads, C):
        return 0.37 - 1e-2 * C.log10()

    choice = tuning._walk(falling, 1, torch.zeros(1).double())
    assert float(choice.C) == GRID[-1]


def test_a_penalty_that_cannot_be_judged_is_not_taken():
    def losses(heads, C):
        return torch.where(C > 0.05, torch.inf, -C)

    choice = tuning._walk(losses, 1, torch.zeros(1).double())
    assert float(choice.C) == pytest.approx(10**-1.5)


def test_the_only_row_of_a_label_between_others_has_no_part_in_the_choice():
    rng = np.random.RandomState(0)
    X = rng.randn(60, 3)
    y = np.where(X[:, 0] + 0.5 * rng.randn(60) > 0, 2, 0)
    y[4] = 1
    without = np.arange(60) != 4
    concepts = np.where(X[:, :1] > 0, "yes", "no")
    clf = ConceptBottleneckClassifier(C="auto", label_head="ordinal")
    alone = clf.fit(X, y, concepts=concepts).C_
    clf.fit(X[without], y[without], concepts=concepts[without])
    assert alone == clf.C_ > GRID[0]
