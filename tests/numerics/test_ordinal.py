"""The ordinal head against autograd, and its optimum against SciPy's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from skclif.numerics import bounded
from skclif.numerics.bounded import minimise, solve_free, undecided
from skclif.numerics.heads import (
    Cone,
    HeadsProblem,
    HeadStack,
    OrdinalHead,
    SoftmaxHead,
)
from skclif.numerics.heads.cone import steps_of
from skclif.numerics.solvers import preconditioner_of

from .derivatives import assert_pulls

HEADS = [OrdinalHead(2), OrdinalHead(3), OrdinalHead(5), OrdinalHead(4, (2, 0, 3, 1))]
CHAINS = ((0, 2, 1), (-1, 3), (4, -1))
N = 60


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def scores_in_order(head, n, size=2.0, seed=0):
    scores = size * normal(n, head.n_scores, seed=seed)
    scores[:, 1:] = 0.3 * scores[:, 1:].abs().cumsum(dim=1)
    return scores


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_products_in_single_precision_are_those_in_double(head):
    scores = scores_in_order(head, 20)
    scores[0, 1:] = -2  # thresholds that are not in order: no value has a probability
    codes = torch.arange(20) % head.n_values
    direction, p = normal(20, head.n_scores, seed=1), head.probabilities(scores)
    expected = head.curvature_times(p, codes, direction)[1:]
    p = head.probabilities(scores.float())
    found = head.curvature_times(p, codes, direction.float())[1:]
    assert found.dtype == p.dtype == torch.float32 and p.isfinite().all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_derivatives_equal_autograd(head):
    scores, direction = scores_in_order(head, head.n_values), normal(head.n_scores)
    for code, row in enumerate(scores):
        code = torch.tensor(code)
        p, grad = head.probabilities(row), torch.func.grad(head.loss)
        curvature = torch.func.hessian(head.loss)(row, code)
        torch.testing.assert_close(p.sum(), torch.tensor(1.0).double())
        torch.testing.assert_close(head.residual(p, code), grad(row, code))
        torch.testing.assert_close(head.curvature(p, code), curvature)
        torch.testing.assert_close(
            head.curvature_times(p, code, direction), curvature @ direction
        )
        torch.testing.assert_close(
            head.mean_curvature(p, code), curvature.diagonal().mean()
        )
        for found, function in (
            (head.logit_jacobian(p), head.logits),
            (head.activation_jacobian(row), head.activations),
        ):
            torch.testing.assert_close(found, torch.func.jacrev(function)(row))
        assert_pulls(head, row)
        value, slope = head.value(row, int(code))
        torch.testing.assert_close(value, p[code])
        expected = torch.func.grad(lambda s, c=code: head.probabilities(s)[c])(row)
        torch.testing.assert_close(slope, expected)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_probabilities_are_those_of_proportional_odds(head):
    scores = scores_in_order(head, 6)
    weights = head.to_logit_weights(scores.T)
    torch.testing.assert_close(head.from_logit_weights(weights), scores.T)
    one = scores[0]  # of a row whose only input is the constant
    ranks = list(head.ranks or range(head.n_values))
    above = torch.sigmoid(head.to_logit_weights(one[:, None])[:, 0])
    edges = torch.cat([torch.ones(1), above, torch.zeros(1)]).double()
    torch.testing.assert_close(head.probabilities(one), -edges.diff()[ranks])


def test_two_values_are_logistic_regression():
    scores, codes = normal(9, 1), torch.arange(9) % 2
    ordinal, softmax = OrdinalHead(2), SoftmaxHead(2)
    p = softmax.probabilities(scores)
    torch.testing.assert_close(ordinal.probabilities(scores), p)
    torch.testing.assert_close(ordinal.curvature(p, codes), softmax.curvature(p, codes))
    torch.testing.assert_close(ordinal.logits(scores), softmax.logits(scores))


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("size", [1e-9, 0.1])
def test_changes_follow_moves_to_full_precision(head, size):
    scores = scores_in_order(head, 20, size=6)
    shift = size * scores_in_order(head, 20, seed=1)
    codes, p = torch.arange(20) % head.n_values, head.probabilities(scores)
    change = head.residual_change(p.T, codes, shift.T[:, None])[:, 0].T
    after = head.residual(head.probabilities(scores + shift), codes)
    expected, atol = after - head.residual(p, codes), 1e-13
    if size < 1e-6:  # first order has more digits than a difference
        curvature = head.curvature(p, codes)
        expected, atol = (curvature @ shift[:, :, None]).squeeze(2), 0.0
        assert torch.allclose(change, expected, rtol=1e-6, atol=1e-16)
        return
    torch.testing.assert_close(change, expected, rtol=1e-9, atol=atol)
    activations = head.activation_change(p.T, shift.T[:, None])[:, 0].T
    expected = head.activations(scores + shift) - head.activations(scores)
    torch.testing.assert_close(activations, expected)


def test_moves_out_of_order_are_no_numbers():
    head, scores = OrdinalHead(3), torch.zeros(1, 2).double()
    shift = torch.tensor([[[0.0]], [[-1.5]]]).double()
    p = head.probabilities(scores).T
    assert head.residual_change(p, torch.tensor([1]), shift).isnan().any()
    assert head.residual_change(p, torch.tensor([0]), shift).isfinite().all()
    outside = torch.tensor([[0.0, -1.0]]).double()
    assert head.loss(outside, torch.tensor([1])) > 1e200
    assert 0 * head.loss(outside, torch.tensor([1])) == 0


@pytest.mark.parametrize("size", [30.0, 300.0])
def test_certain_rows_keep_their_digits(size):
    head = OrdinalHead(3)
    scores = torch.tensor([[size, 1.0], [-size, 1.0]]).double()
    codes = torch.tensor([0, 2])  # surely wrong
    p = head.probabilities(scores)
    expected = torch.stack(
        [torch.func.grad(head.loss)(s, c) for s, c in zip(scores, codes, strict=True)]
    )
    torch.testing.assert_close(head.residual(p, codes), expected)


@pytest.fixture(scope="module")
def made():
    """Features, codes and weights; the features tell what the chains do not allow."""
    features = normal(N, 6)
    high = features[:, 0] + 0.5 * features[:, 1] - 0.6 * features[:, 3]
    noise = torch.from_numpy(np.random.default_rng(0).logistic(size=N))
    codes = torch.bucketize(high + noise, torch.tensor([-1.5, 0.0, 1.5]).double())
    weights = torch.linspace(0.5, 2, N).double()
    return features, codes, weights


def problem_of(head, made, penalty=0.7):
    features, codes, weights = made
    return HeadsProblem(
        HeadStack([head]),
        features,
        codes[:, None],
        weights[:, None],
        torch.tensor([penalty]).double(),
    )


def _reference(made, chains, penalty=0.7):
    """SciPy's optimum of the plain objective: weights, and thresholds in order."""
    features, codes, weights = (part.numpy() for part in made)

    def objective(free):
        w, thresholds = free[:6], np.cumsum(np.append(free[6], np.exp(free[7:])))
        edges = np.concatenate([[-np.inf], thresholds, [np.inf]])
        latent = features @ w
        below = 1 / (1 + np.exp(np.clip(latent[:, None] - edges, -700, 700)))
        p = np.diff(below, axis=1)[np.arange(N), codes]
        return -weights @ np.log(np.maximum(p, 1e-300)) + penalty / 2 * w @ w

    constraints = [
        {"type": "ineq", "fun": lambda f, a=a, b=b: _at(f, b) - _at(f, a)}
        for chain in chains
        for a, b in zip(chain, chain[1:], strict=False)
    ]
    start = np.concatenate([np.zeros(6), [-1.0, 0.0, 0.0]])
    found = minimize(
        objective,
        start,
        method="SLSQP",
        constraints=constraints,
        options={"ftol": 1e-14, "maxiter": 500},
    )
    thresholds = np.cumsum(np.append(found.x[6], np.exp(found.x[7:])))
    return found.x[:6], thresholds, found.fun


def test_the_optimum_of_a_bounded_softmax_is_scipys(made):
    features, codes, weights = made
    ranks = (1, 3, 0, 2)
    head = SoftmaxHead(4, ranks=ranks, chains=CHAINS)
    problem = problem_of(head, made)
    parameters, fit = minimise(
        problem, torch.zeros(3, 7).double(), tol=1e-10, max_iter=100
    )
    assert fit.converged.all()
    order = np.argsort(ranks)

    def objective(free):
        logits = torch.from_numpy(free).reshape(4, 7)
        scores = features @ logits[:, :-1].T + logits[:, -1]
        loss = torch.nn.functional.cross_entropy(scores, codes, reduction="none")
        return float(weights @ loss + 0.35 * logits[:, :-1].square().sum())

    constraints = [
        {
            "type": "ineq",
            "fun": lambda f, a=a, b=b, k=k: (
                np.diff(f.reshape(4, 7)[order], axis=0)[k] @ (_unit(b) - _unit(a))
            ),
        }
        for chain in CHAINS
        for a, b in zip(chain, chain[1:], strict=False)
        for k in range(3)
    ]
    found = minimize(
        objective,
        np.zeros(28),
        method="SLSQP",
        constraints=constraints,
        options={"ftol": 1e-13, "maxiter": 500},
    )
    logits = head.to_logit_weights(parameters)
    expected = found.x.reshape(4, 7)
    np.testing.assert_allclose(logits[:, :-1], expected[:, :-1], atol=2e-4)
    value = float(problem.objective(problem.scores(parameters), parameters))
    assert value <= found.fun + 1e-9
    assert value > found.fun - 1e-6
    odds = torch.diff(logits[order], dim=0)
    steps = torch.stack(
        [odds[:, 2] - odds[:, 0], odds[:, 1] - odds[:, 2], odds[:, 3], -odds[:, 4]]
    )
    assert (steps > -1e-12).all()
    assert (steps.abs() < 1e-12).any()
    assert (steps > 0.01).any()


def _unit(column):
    return np.eye(7)[column] if column >= 0 else np.zeros(7)


def _at(free, column):
    return 0.0 if column < 0 else free[column]


@pytest.mark.parametrize("chains", [(), CHAINS], ids=["free", "bounded"])
def test_the_optimum_is_scipys(made, chains):
    head = OrdinalHead(4, (), chains)
    problem = problem_of(head, made)
    start = torch.zeros(3, 7).double()
    parameters, fit = minimise(problem, start, tol=1e-10, max_iter=100)
    assert fit.converged.all()
    weights = head.to_logit_weights(parameters).numpy()
    expected, thresholds, value = _reference(made, chains)
    np.testing.assert_allclose(weights[0, :-1], expected, atol=1e-5)
    np.testing.assert_allclose(-weights[:, -1], thresholds, atol=1e-5)
    found = problem.objective(problem.scores(parameters), parameters)
    assert float(found) <= value + 1e-9
    # Another start: the optimum is one.
    other = 0.3 * normal(3, 7, seed=2)
    other[1:, :-1], other[1:, -1] = 0, torch.tensor([0.5, 1.5])
    again, _ = minimise(problem, other, tol=1e-10, max_iter=100)
    torch.testing.assert_close(again, parameters, rtol=0, atol=1e-8)
    assert float(problem.relative_gradient(parameters)) < 1e-9
    assert float(problem.relative_gradient(other)) > 0.1


def test_bounds_hold_to_the_last_digit(made):
    head = OrdinalHead(4, (), CHAINS)
    problem = problem_of(head, made)
    parameters, _ = minimise(
        problem, torch.zeros(3, 7).double(), tol=1e-10, max_iter=100
    )
    w = parameters[0]
    steps = torch.stack([w[2] - w[0], w[1] - w[2], w[3], -w[4]])
    assert (steps >= 0).all()
    assert (steps == 0).any()
    assert (steps > 0.01).any()
    cone = problem.cones[0]
    active = cone.active(parameters)
    columns = [c for chain in CHAINS for c in steps_of(chain)]
    assert columns == [2, 1, 3, 4]
    assert active[columns].tolist() == (steps == 0).tolist()
    assert float(cone.violation(parameters.flatten()[None])) < 1e-14
    # No multiplier points inside, and nothing pulls in free directions.
    probabilities = problem.probabilities(problem.scores(parameters))
    gradient = problem.gradient(probabilities, parameters).flatten()
    multipliers = cone.basis.T @ gradient
    assert (multipliers[active] > 0).all()
    assert multipliers[~active].abs().max() < 1e-9
    # By fitting without each row: which bounds does it decide?
    lost = []
    for row in range(N):
        weights = problem.weights.clone()
        weights[row] = 0
        without, _ = minimise(
            replace(problem, weights=weights), parameters, tol=1e-10, max_iter=100
        )
        lost.append(cone.active(without) != active)
    lost = torch.stack(lost)
    assert lost.any()
    expected = set(cone.inputs[lost.any(dim=0)].tolist()), int(lost.any(dim=1).sum())
    assert undecided(problem, parameters, N) == expected


def test_a_bound_holds_only_what_pulls_beyond_it():
    cone = Cone(
        torch.eye(4).double(),
        torch.tensor([True, True, True, False]),
        torch.arange(4),
    )
    coordinates = torch.tensor([0.0, 0.0, 1.0, 0.0]).double()
    gradient = torch.tensor([1.0, -1.0, 1.0, 1.0]).double()
    found = cone.open_gradient(coordinates, gradient)
    assert found.tolist() == [0.0, -1.0, 1.0, 1.0]


def test_free_directions_are_solved_alone(made):
    head = OrdinalHead(4, (), CHAINS)
    problem = problem_of(head, made)
    parameters, _ = minimise(
        problem, torch.zeros(3, 7).double(), tol=1e-10, max_iter=100
    )
    right = normal(3, 7, seed=4)
    found = solve_free(
        problem,
        parameters,
        right,
        tol=1e-12,
        preconditioner=preconditioner_of(problem.features),
    ).solution
    free = problem.cones[0].free(parameters)

    def value(u):
        flat = (parameters.flatten() + free @ u).reshape(3, 7)
        return problem.objective(problem.scores(flat), flat)[0]

    hessian = torch.func.hessian(value)(torch.zeros(free.shape[1]).double())
    expected = free @ torch.linalg.solve(hessian, free.T @ right.flatten())
    torch.testing.assert_close(found.flatten(), expected)


def test_a_line_search_keeps_thresholds_in_order(made, monkeypatch):
    # One class is rare: full steps from far away would cross its thresholds.
    features, codes, weights = made
    codes = torch.where(codes == 1, 0, codes)
    codes[:1] = 1
    head = OrdinalHead(4, (), ((-1, 0),))
    problem = problem_of(head, (features, codes, weights))
    start = torch.zeros(3, 7).double()
    start[2, -1] = 30.0
    parameters, fit = minimise(problem, start, tol=1e-9, max_iter=100)
    assert fit.converged.all()
    assert (torch.diff(head.to_logit_weights(parameters)[:, -1]) < 0).all()
    monkeypatch.setattr(bounded, "_MAX_HALVINGS", 1)
    _, fit = minimise(problem, start, tol=1e-9, max_iter=3)
    assert not fit.converged.all()


def test_chains_follow_columns_that_remain():
    head = OrdinalHead(3, (), ((0, 2, 1), (-1, 4), (5, -1)))
    assert head.of_inputs([1, 2, 4]).chains == ((1, 0), (-1, 2))
    assert head.of_inputs([0, 3]).chains == ()
