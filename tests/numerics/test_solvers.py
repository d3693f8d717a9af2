"""Newton's method against scikit-learn's optimum and in hard cases."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from skclif.numerics.heads import HeadsProblem, HeadStack, RidgeHead, SoftmaxHead
from skclif.numerics.solvers import newton_cg


def _problem(n_samples, n_features, sizes, *, C=1.0, seed=0, missing=0.3, scale=1.0):
    rng = np.random.default_rng(seed)
    X = scale * rng.normal(size=(n_samples, n_features))
    likely = [np.argmax(X @ rng.normal(size=(n_features, m)), axis=1) for m in sizes]
    random = rng.integers(0, sizes, (n_samples, len(sizes)))
    codes = np.where(rng.random(random.shape) < 0.3, random, np.column_stack(likely))
    weights = rng.uniform(0.2, 2, codes.shape) * (rng.random(codes.shape) > missing)
    return HeadsProblem(
        HeadStack(map(SoftmaxHead, sizes)),
        torch.from_numpy(X),
        torch.from_numpy(codes),
        torch.from_numpy(weights),
        torch.full((len(sizes),), 1 / C, dtype=torch.float64),
    )


def _solve(problem, tol=1e-9, max_iter=100):
    n_features = problem.features.shape[1]
    start = problem.features.new_zeros(problem.stack.n_scores, n_features + 1)
    return newton_cg(problem, start, tol=tol, max_iter=max_iter)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_every_head_is_scikit_learns_logistic_regression(C):
    problem = _problem(200, 6, [3, 2, 5, 2], C=C)
    parameters, convergence = _solve(problem)
    assert convergence.converged.all()
    for j, head in enumerate(problem.stack.heads):
        weights = problem.weights[:, j].numpy()
        rows = weights > 0
        reference = LogisticRegression(
            C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000
        ).fit(
            problem.features.numpy()[rows],
            problem.codes[rows, j].numpy(),
            sample_weight=weights[rows],
        )
        own = head.to_logit_weights(parameters[problem.stack.scores[j]]).numpy()
        intercept = reference.intercept_ - reference.intercept_.mean() * (
            head.n_values > 2
        )
        np.testing.assert_allclose(own[:, :-1], reference.coef_, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(own[:, -1], intercept, rtol=1e-5, atol=1e-7)


def test_a_ridge_head_is_scikit_learns_ridge():
    problem = _problem(80, 5, [3, 2], C=2.0)
    y = 1e3 * problem.features[:, 0] + torch.arange(80)
    mixed = HeadsProblem(
        HeadStack([SoftmaxHead(3), RidgeHead()]),
        problem.features,
        torch.stack([problem.codes[:, 0], y], dim=1),
        problem.weights,
        problem.penalties,
    )
    parameters, convergence = _solve(mixed)
    assert convergence.converged.all()
    reference = Ridge(alpha=0.5, solver="cholesky").fit(
        problem.features, y, sample_weight=problem.weights[:, 1]
    )
    np.testing.assert_allclose(parameters[2, :-1], reference.coef_, rtol=1e-9)
    np.testing.assert_allclose(parameters[2, -1], reference.intercept_, rtol=1e-9)


def test_heads_together_equal_heads_alone():
    sizes = [3, 2, 4]
    problem = _problem(80, 5, sizes)
    together, _ = _solve(problem)
    for j, size in enumerate(sizes):
        alone = HeadsProblem(
            HeadStack([SoftmaxHead(size)]),
            problem.features,
            problem.codes[:, [j]],
            problem.weights[:, [j]],
            problem.penalties[[j]],
        )
        parameters, _ = _solve(alone)
        torch.testing.assert_close(
            together[problem.stack.scores[j]], parameters, rtol=0, atol=1e-8
        )


@pytest.mark.parametrize("C", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_reaches_its_tolerance_over_extremes(C, scale):
    problem = _problem(60, 8, [2, 3], C=C, scale=scale, missing=0.0)
    parameters, convergence = _solve(problem, tol=1e-8)
    gradient = problem.gradient(
        problem.probabilities(problem.scores(parameters)), parameters
    )
    norm = problem.by_head(gradient**2).sqrt()
    assert (norm <= convergence.tolerance).all()
    # The floor that rounding sets stays far below what a user would ask for.
    assert convergence.tolerance.max() < 1e-7


def test_separable_data_at_almost_no_penalty():
    X = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]], dtype=torch.float64)
    codes = torch.tensor([[0], [0], [1], [1]])
    weights = torch.ones(4, 1, dtype=torch.float64)
    penalties = torch.tensor([1e-6], dtype=torch.float64)
    problem = HeadsProblem(HeadStack([SoftmaxHead(2)]), X, codes, weights, penalties)
    parameters, convergence = _solve(problem)
    assert convergence.converged.all()
    assert (
        problem.scores(parameters).sign()[:, 0] == torch.tensor([-1, -1, 1, 1])
    ).all()


def test_a_value_without_weight_gets_no_probability():
    problem = _problem(60, 3, [3], missing=0.0)
    weights = problem.weights * (problem.codes != 2)
    problem = HeadsProblem(
        problem.stack, problem.features, problem.codes, weights, problem.penalties
    )
    parameters, convergence = _solve(problem)
    assert convergence.converged.all()
    (probabilities,) = problem.probabilities(problem.scores(parameters))
    assert probabilities[..., 2].max() < 1e-8


def test_stops_at_max_iter_and_says_where():
    problem = _problem(60, 4, [3, 2])
    _, convergence = _solve(problem, max_iter=1)
    assert convergence.n_iter == 1
    assert not convergence.converged.any()
    assert (convergence.gradient_norm > 1e-3).all()


def test_starts_where_told():
    problem = _problem(60, 4, [3, 2])
    optimum, _ = _solve(problem)
    again, convergence = newton_cg(problem, optimum, tol=1e-6, max_iter=100)
    assert convergence.n_iter == 0
    torch.testing.assert_close(again, optimum, rtol=0, atol=0)
