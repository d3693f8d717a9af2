"""Inverse Hessians value by value, against the Hessian itself."""

import pytest
import torch

from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.hessians import _add_curvature, _hessian
from skclif.numerics.inverses import (
    Cholesky,
    by_value_size,
    invert_by_value,
    is_by_value,
)

RNG = torch.Generator().manual_seed(0)
N, N_INPUTS, N_VALUES = 30, 7, 12
PENALTY = 0.7


def normal(*shape):
    return torch.randn(*shape, generator=RNG, dtype=torch.float64)


@pytest.fixture(scope="module", params=[1.0, 8.0], ids=["soft", "sure"])
def made(request):
    """Return a head's Hessian with its inverse by value and by one factor."""
    head = SoftmaxHead(N_VALUES)
    inputs = normal(N, N_INPUTS)
    inputs[:, -1] = 1
    probabilities = head.probabilities(request.param * normal(N, N_VALUES - 1))
    weights = torch.rand(N, generator=RNG, dtype=torch.float64)
    weights[::5] = 0
    n_edges = N_VALUES * (N_VALUES - 1) // 2
    sums = inputs.new_zeros(n_edges, N_INPUTS, N_INPUTS)
    codes = torch.zeros(N)
    _add_curvature(sums, head, probabilities, codes, weights, inputs)
    hessian = _hessian(head, sums, PENALTY)
    hessian = torch.tril(hessian) + torch.tril(hessian, -1).T
    by_value, left = invert_by_value(head, probabilities, weights, inputs, PENALTY)
    assert 0 < left <= 1
    whole = Cholesky(torch.linalg.cholesky(hessian), head.n_scores)
    return hessian, by_value, whole


def test_it_is_the_inverse(made):
    hessian, by_value, whole = made
    assert len(by_value) == len(whole) == len(hessian)
    for inverse in (by_value, whole):
        product = inverse.dense() @ hessian
        torch.testing.assert_close(
            product, torch.eye(len(hessian), dtype=product.dtype), atol=1e-9, rtol=0
        )
        right = normal(len(hessian), 3)
        torch.testing.assert_close(
            inverse.solve(right), torch.linalg.solve(hessian, right)
        )


def test_the_formula():  # Eq. (50) of docs/mathematics.rst
    head = SoftmaxHead(N_VALUES)
    x, w = normal(N, N_INPUTS), torch.rand(N, generator=RNG, dtype=torch.float64)
    x[:, -1] = 1
    p = head.probabilities(normal(N, N_VALUES - 1))
    penalty = PENALTY * torch.eye(N_INPUTS, dtype=x.dtype)
    penalty[-1, -1] = 0
    blocks = [(w * p[:, v] * x.T) @ x + penalty for v in range(N_VALUES)]
    B = torch.linalg.inv(torch.block_diag(*blocks))
    Q = torch.stack([w[i].sqrt() * torch.kron(p[i], x[i]) for i in range(N)], dim=1)
    shift = w.sqrt()[:, None]
    inner = torch.eye(N, dtype=x.dtype) - Q.T @ B @ Q + 3 * shift @ shift.T
    U = torch.kron(head.contrasts(x), torch.eye(N_INPUTS, dtype=x.dtype))
    expected = U @ (B + B @ Q @ torch.linalg.inv(inner) @ Q.T @ B) @ U.T
    inverse, _ = invert_by_value(head, p, w, x, PENALTY)
    torch.testing.assert_close(inverse.dense(), expected)


@pytest.mark.parametrize("n_terms", [1, 3])
def test_hats_are_products_with_the_inverse(n_terms, made, monkeypatch):
    hessian, by_value, whole = made
    inputs = normal(5, n_terms, N_INPUTS)
    k = N_VALUES - 1
    expected = []
    for row in inputs:
        columns = [torch.kron(torch.eye(k, dtype=row.dtype), x[:, None]) for x in row]
        unit = torch.cat(columns, dim=1)
        expected.append(unit.T @ torch.linalg.solve(hessian, unit))
    few = Cholesky(whole.factor, k)
    for inverse in (by_value, whole):
        torch.testing.assert_close(inverse.hat(inputs), torch.stack(expected))
    monkeypatch.setattr("skclif.numerics.inverses._MANY", 100)  # half solutions
    torch.testing.assert_close(few.hat(inputs), torch.stack(expected))
    monkeypatch.setattr("skclif.numerics.inverses._MOST_VALUES", 1)  # row by row
    torch.testing.assert_close(by_value.hat(inputs), torch.stack(expected))


def test_the_curvature_of_many_values_is_that_of_all_pairs(made):
    head = SoftmaxHead(N_VALUES)
    for size in (1.0, 30.0):
        probabilities = head.probabilities(size * normal(N, N_VALUES - 1))
        edges = head.curvature_edges(probabilities)
        expected = torch.einsum(
            "ne,ea,eb->nab", head.edge_weights(probabilities, None), edges, edges
        )
        torch.testing.assert_close(
            head.curvature(probabilities, None), expected, rtol=1e-12, atol=1e-16
        )


def test_it_is_chosen_where_it_takes_less():
    assert is_by_value(SoftmaxHead(25), 300, 301)
    assert is_by_value(SoftmaxHead(82), 300, 31)
    assert not is_by_value(SoftmaxHead(3), 300, 385)
    assert not is_by_value(SoftmaxHead(12), 100_000, 385)
    assert not is_by_value(SoftmaxHead(25, intercept=False), 300, 301)
    assert not is_by_value(RidgeHead(), 300, 301)
    assert not is_by_value(SoftmaxHead(25), 0, 301)
    assert by_value_size(SoftmaxHead(25), 300, 301) < 2**29  # the Hessian takes 0.4 GB


def test_a_bias_without_curvature_leaves_no_inverse():
    head = SoftmaxHead(N_VALUES)
    inputs = torch.ones(4, 2, dtype=torch.float64)
    sure = torch.eye(N_VALUES, dtype=torch.float64)[:4]  # no curvature in double
    _, left = invert_by_value(head, sure, torch.ones(4).double(), inputs, PENALTY)
    assert left < 1e-12
