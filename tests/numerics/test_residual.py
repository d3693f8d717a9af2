"""Numerics of a label head that sees the features beside the concepts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skclif.numerics.bottleneck import mean_activations
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.hessians import factorise
from skclif.numerics.leverage import leverage
from skclif.numerics.matrix_free import MatrixFree
from skclif.numerics.newton import newton
from skclif.numerics.retraining import retraining
from skclif.numerics.targets import LabelTarget, Question
from skclif.numerics.tuning import GRID, choose_label_C

from .stages import fit_concepts, fit_label
from .test_influence import PENALTY, SIZES, _data, _reweighted, concept_penalties
from .test_tuning import LIMITS, concepts_of, without

RESIDUAL_C = 0.5
METHODS = {"newton": newton, "leverage": leverage, "retraining": retraining}


def fit(data, intervention_prob=0.3):
    limits = {"tol": 1e-11, "max_iter": 100}
    bottleneck, _ = fit_concepts(
        data,
        [SoftmaxHead(m) if m else RidgeHead() for m in SIZES],
        SoftmaxHead(3),
        intervention_prob=intervention_prob,
        concept_penalties=concept_penalties(),
        **limits,
    )
    bottleneck = bottleneck.scaled(RESIDUAL_C, 1 / PENALTY)
    return fit_label(bottleneck, data, penalty=PENALTY, **limits)[0]


def penalties():
    return {"penalty": PENALTY, "concept_penalties": concept_penalties()}


@pytest.fixture(scope="module")
def data():
    return _data()


@pytest.fixture(scope="module")
def features():
    return _data(n_samples=6, seed=1).features


@pytest.fixture(scope="module")
def bottleneck(data):
    return fit(data)


def target(features):
    return LabelTarget("loss", torch.arange(len(features)) % 3)


def value(bottleneck, features):
    return target(features).derivatives(bottleneck, features).values


def with_residual_of(bottleneck, other):
    """Return a bottleneck with another one's weights of the residual alone."""
    parameters = bottleneck.label_parameters.clone()
    columns = bottleneck.residual_inputs
    parameters[:, columns] = other.label_parameters[:, columns]
    return replace(bottleneck, label_parameters=parameters)


def influence(bottleneck, data, features, inverse, **kwargs):
    derivatives = target(features).derivatives(bottleneck, features)
    adjoint = solve_adjoint(bottleneck, inverse, derivatives)
    blocks = first_order(bottleneck, data, adjoint, **kwargs)
    return torch.cat([part for _, part in blocks], dim=1)


def test_objective_has_both_penalties(bottleneck, data):
    """The gradient of the objective as it is written, by autograd, is 0."""
    n_concepts, scale = bottleneck.concepts.n_activations, bottleneck.residual_scale
    rows = bottleneck.label_rows(data)
    x = rows.repeated(data.features)
    weights = bottleneck.label_parameters.clone()
    weights[:, n_concepts:-1] *= scale  # of the features as they are
    weights.requires_grad_()
    V, R, b = weights[:, :n_concepts], weights[:, n_concepts:-1], weights[:, -1]
    scores = rows.activations[:, :n_concepts] @ V.T + x @ R.T + b
    loss = (rows.weights * bottleneck.label.loss(scores, rows.labels)).sum()
    loss = loss + PENALTY * (V**2).sum() / 2 + (R**2).sum() / (2 * RESIDUAL_C)
    (gradient,) = torch.autograd.grad(loss, weights)
    assert float(gradient.norm()) < 1e-9


@pytest.mark.parametrize("path", range(1 + len(SIZES)))
def test_paths_equal_finite_differences_of_retraining(path, bottleneck, data, features):
    inverse = factorise(bottleneck, data, **penalties())
    found = influence(bottleneck, data, features, inverse)
    assert found.shape[2] == 2 + len(SIZES)
    row, step = 17, 1e-4
    up, down = (fit(_reweighted(data, row, path, 1 + sign * step)) for sign in (1, -1))
    difference = (value(up, features) - value(down, features)) / (2 * step)
    if path:
        expected = found[:, row, path]
    else:
        # While the residual stays, and what moves through it alone.
        expected = found[:, row, 0] + found[:, row, -1]
        up, down = (with_residual_of(bottleneck, other) for other in (up, down))
        alone = (value(up, features) - value(down, features)) / (2 * step)
        torch.testing.assert_close(found[:, row, -1], alone, rtol=1e-5, atol=2e-7)
    torch.testing.assert_close(expected, difference, rtol=1e-5, atol=2e-7)


def test_no_hessian_is_needed(bottleneck, data, features):
    dense = factorise(bottleneck, data, **penalties())
    free = MatrixFree.of(bottleneck, data, **penalties())
    torch.testing.assert_close(
        influence(bottleneck, data, features, free),
        influence(bottleneck, data, features, dense),
        rtol=1e-6,
        atol=1e-9,
    )


def test_blocks_do_not_matter(bottleneck, data, features):
    inverse = factorise(bottleneck, data, **penalties(), block_rows=7)
    whole = factorise(bottleneck, data, **penalties())
    torch.testing.assert_close(
        influence(bottleneck, data, features, inverse, block_rows=11),
        influence(bottleneck, data, features, whole),
        rtol=1e-9,
        atol=1e-12,
    )


def test_coordinates_of_fewer_rows_than_features_do_not_matter(features):
    data = _data(n_samples=30, n_features=50)
    features = _data(n_samples=4, n_features=50, seed=1).features
    bottleneck = fit(data)
    inside, span = data.in_row_space()
    turned = bottleneck.inside(span)
    back = turned.outside(span)
    torch.testing.assert_close(back.label_parameters, bottleneck.label_parameters)
    found, expected = (
        influence(model, rows, at, factorise(model, rows, **penalties()))
        for model, rows, at in (
            (turned, inside, span.coordinates(features)),
            (bottleneck, data, features),
        )
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("intervention_prob", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_splits_the_label(method, intervention_prob, data, features):
    """Against fits without the label's term, and their residual put in its place."""
    bottleneck = fit(data, intervention_prob)
    factors = factorise(bottleneck, data, **penalties())
    question, rows = Question(features, target(features)), torch.tensor([3, 17, 40])
    ((_, found),) = METHODS[method](bottleneck, data, factors, [question], rows)
    ((_, whole),) = METHODS[method](
        bottleneck, data, factors, [question], rows, paths=False
    )
    assert found.shape[2] == 3 + len(SIZES)
    torch.testing.assert_close(found.sum(dim=2), whole[:, :, 0], rtol=1e-4, atol=1e-6)
    now = value(bottleneck, features)
    truth = []
    for row in rows.tolist():
        left = fit(_reweighted(data, row, 0, 0.0), intervention_prob)
        kept = with_residual_of(left, bottleneck)
        gone = value(left, features)
        truth.append([now - value(kept, features), value(kept, features) - gone])
    truth = torch.stack([torch.stack(pair, dim=1) for pair in truth], dim=1)
    error = (found[:, :, [0, -2]] - truth).norm() / truth.norm()
    # One Newton step, or all of them, or the same fits.
    assert error < {"leverage": 0.1, "newton": 0.005, "retraining": 1e-6}[method]


def test_rows_without_a_label_have_no_path_of_it(bottleneck, data, features):
    weights = data.label_weights.clone()
    weights[3] = 0
    data = replace(data, label_weights=weights)
    bottleneck = fit(data)
    factors = factorise(bottleneck, data, **penalties())
    question = Question(features, target(features))
    ((_, found),) = leverage(
        bottleneck, data, factors, [question], torch.tensor([3, 4])
    )
    assert (found[:, 0, [0, -2]] == 0).all()
    assert (found[:, 1, [0, -2]] != 0).all()


def test_means_are_those_of_activations_alone(bottleneck, data):
    weights = torch.ones(len(data)).double()
    plain = replace(bottleneck, residual_scale=None)
    found = mean_activations(bottleneck, data, weights)
    torch.testing.assert_close(found, mean_activations(plain, data, weights))


def test_losses_of_penalties_are_those_of_retraining():
    """The label's penalty is chosen while the residual keeps its own."""
    n = 30
    data, units = _data(n_samples=n), torch.full((n,), 0.5).double()
    bottleneck = concepts_of(data, 0.4)
    choice = choose_label_C(
        bottleneck, data, units, concept_penalties(), residual_C=RESIDUAL_C
    )
    known = np.flatnonzero(~choice.losses[0].isnan())[[0, -1]]
    truth = np.zeros(len(known))
    for row in range(n):
        rest = without(data, row, units)
        left = concepts_of(rest, 0.4)
        for position, k in enumerate(known):
            scaled = left.scaled(RESIDUAL_C, GRID[k])
            fitted, _ = fit_label(scaled, rest, penalty=1 / GRID[k], **LIMITS)
            scores = fitted.label_scores(fitted.activations(data.features[[row]]))
            loss = fitted.label.loss(scores, data.labels[[row]])
            truth[position] += float(data.label_weights[row] * loss[0])
    truth /= float(data.label_weights.sum())
    # That the other rows' activations move is left out.
    np.testing.assert_allclose(choice.losses[0, known].numpy(), truth, rtol=0.05)
