"""Heads against autograd and against their definitions."""

import pytest
import torch

from skclif.numerics.heads import (
    HeadsProblem,
    HeadStack,
    RidgeHead,
    Shares,
    SoftmaxHead,
)
from skclif.numerics.products import affine, affine_adjoint, with_ones
from skclif.numerics.row_space import row_space

from .derivatives import assert_pulls

SIZES = [2, 3, 5, 8]


def _scores(n_rows, head, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (n_rows, head.n_scores)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("n_values", SIZES)
def test_contrasts_keep_the_penalty_and_leave_out_the_flat_direction(n_values):
    contrasts = SoftmaxHead(n_values).contrasts(torch.zeros(1, dtype=torch.float64))
    assert contrasts.shape == (n_values - 1, n_values)
    torch.testing.assert_close(
        contrasts.sum(dim=1), torch.zeros(n_values - 1, dtype=torch.float64)
    )
    if n_values > 2:
        torch.testing.assert_close(
            contrasts @ contrasts.T, torch.eye(n_values - 1, dtype=torch.float64)
        )


def test_two_values_are_one_logit():
    head = SoftmaxHead(2)
    scores = _scores(6, head)
    torch.testing.assert_close(head.probabilities(scores)[:, 1:], scores.sigmoid())
    torch.testing.assert_close(head.activations(scores), scores.sigmoid())


@pytest.mark.parametrize("activation", ["soft", "logit", "hard"])
@pytest.mark.parametrize("n_values", SIZES)
def test_derivatives_equal_autograd(n_values, activation):
    head = SoftmaxHead(n_values, activation)
    for row, code in zip(_scores(4, head), [0, 1, 0, n_values - 1], strict=True):
        code = torch.tensor(code)
        probabilities = head.probabilities(row)
        residual = torch.func.grad(head.loss)(row, code)
        curvature = torch.func.hessian(head.loss)(row, code)
        jacobian = torch.func.jacrev(head.activations)(row)
        torch.testing.assert_close(head.residual(probabilities, code), residual)
        torch.testing.assert_close(head.curvature(probabilities, code), curvature)
        torch.testing.assert_close(head.activation_jacobian(row), jacobian)
        assert_pulls(head, row)
        direction = _scores(1, head, seed=1)[0]
        torch.testing.assert_close(
            head.curvature_times(probabilities, code, direction), curvature @ direction
        )


def test_ridge_derivatives_equal_autograd():
    head = RidgeHead()
    score, code = torch.tensor([0.7]).double(), torch.tensor(-1.3).double()
    prediction = head.probabilities(score)
    residual = torch.func.grad(head.loss)(score, code)
    curvature = torch.func.hessian(head.loss)(score, code)
    torch.testing.assert_close(head.residual(prediction, code), residual)
    torch.testing.assert_close(head.curvature(prediction, code), curvature)
    torch.testing.assert_close(
        head.activation_jacobian(score), torch.func.jacrev(head.activations)(score)
    )
    assert_pulls(head, score)
    torch.testing.assert_close(head.curvature_times(prediction, code, score), score)


@pytest.mark.parametrize("n_values", SIZES)
def test_activations_follow_their_definition(n_values):
    soft, logit, hard = (
        SoftmaxHead(n_values, activation) for activation in ("soft", "logit", "hard")
    )
    scores = _scores(6, soft)
    probabilities = soft.probabilities(scores)
    expected = {
        soft: probabilities,
        logit: probabilities.log() - probabilities.log().mean(dim=1, keepdim=True),
        hard: (probabilities == probabilities.amax(dim=1, keepdim=True)).double(),
    }
    for head, values in expected.items():
        if n_values == 2:
            values = values[:, 1:] * (2 if head is logit else 1)  # log-odds
        torch.testing.assert_close(head.activations(scores), values)


@pytest.mark.parametrize("n_values", SIZES)
def test_logit_weights_round_trip_and_predict_alike(n_values):
    head = SoftmaxHead(n_values)
    parameters = _scores(7, head).T
    weights = head.to_logit_weights(parameters)
    torch.testing.assert_close(head.from_logit_weights(weights), parameters)
    if n_values > 2:
        features = torch.ones(1, 7, dtype=torch.float64)
        torch.testing.assert_close(
            torch.softmax(features @ weights.T, dim=1),
            head.probabilities(features @ parameters.T),
        )


def test_true_activations_are_certain_predictions():
    codes = torch.tensor([2, 0])
    like = torch.zeros(1, dtype=torch.float64)
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(SoftmaxHead(3).true_activations(codes, like), expected)
    binary = SoftmaxHead(2).true_activations(torch.tensor([1, 0]), like)
    torch.testing.assert_close(binary, torch.tensor([[1.0], [0]], dtype=torch.float64))


def test_affine_is_a_product_with_a_column_of_ones():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    columns = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    extended = with_ones(features)
    torch.testing.assert_close(affine(features, weights), extended @ weights.T)
    torch.testing.assert_close(affine_adjoint(features, columns), columns.T @ extended)


def test_row_space_only_with_fewer_rows_than_features():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(4, 9, generator=generator, dtype=torch.float64)
    basis = row_space(wide).basis
    torch.testing.assert_close(wide @ basis @ basis.T, wide)
    assert row_space(wide.T) is None


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    heads = [SoftmaxHead(2), SoftmaxHead(3), RidgeHead(), SoftmaxHead(4)]
    stack = HeadStack(heads)
    features = torch.randn(30, 5, generator=generator, dtype=torch.float64)
    codes = torch.stack(
        [torch.randint(0, m, (30,), generator=generator) for m in (2, 3, 2, 4)], dim=1
    )
    weights = torch.rand(30, 4, generator=generator, dtype=torch.float64)
    weights[::4, 1] = 0
    return HeadsProblem(
        stack,
        features,
        codes,
        weights,
        penalties=torch.tensor([0.3, 0.1, 2.0, 0.7]).double(),
    )


def _naive_objective(problem, parameters):
    """Sum the definition up head by head, row by row."""
    total = []
    for j, head in enumerate(problem.stack.heads):
        own = parameters[problem.stack.scores[j]]
        scores = with_ones(problem.features) @ own.T
        if isinstance(head, RidgeHead):
            losses = (scores[:, 0] - problem.codes[:, j]) ** 2 / 2
        else:
            losses = torch.nn.functional.cross_entropy(
                scores @ head.contrasts(parameters),
                problem.codes[:, j].long(),
                reduction="none",
            )
        penalty = problem.penalties[j] / 2 * (own[:, :-1] ** 2).sum()
        total.append(problem.weights[:, j] @ losses + penalty)
    return torch.stack(total)


def test_problem_equals_its_definition_and_autograd(problem):
    generator = torch.Generator().manual_seed(1)
    shape = (problem.stack.n_scores, 6)
    parameters = torch.randn(*shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(*shape, generator=generator, dtype=torch.float64)
    scores = problem.scores(parameters)
    probabilities = problem.probabilities(scores)

    def total(p):
        return _naive_objective(problem, p).sum()

    torch.testing.assert_close(
        problem.objective(scores, parameters), _naive_objective(problem, parameters)
    )
    torch.testing.assert_close(
        problem.gradient(probabilities, parameters), torch.func.grad(total)(parameters)
    )
    product = torch.func.jvp(torch.func.grad(total), (parameters,), (direction,))[1]
    torch.testing.assert_close(problem.hessian_times(probabilities, direction), product)


def test_mean_curvature_is_the_mean_trace(problem):
    scores = problem.scores(torch.zeros(problem.stack.n_scores, 6).double())
    mean = problem.mean_curvature(problem.probabilities(scores))
    for j, head in enumerate(problem.stack.heads):
        curvature = head.curvature(
            head.probabilities(scores[:, problem.stack.scores[j]]), problem.codes[:, j]
        )
        trace = curvature.diagonal(dim1=1, dim2=2).mean(dim=1)
        torch.testing.assert_close(mean[j], (problem.weights[:, j] * trace).mean())


@pytest.mark.parametrize("n_values", [2, 3, 5])
@pytest.mark.parametrize("size", [1e-6, 1.0, 30.0, 2000.0])
def test_residuals_follow_moves_of_any_size(n_values, size):
    # Probabilities down to e^-100, overtaken at once: nothing may be 0 / 0.
    head = SoftmaxHead(n_values)
    generator = torch.Generator().manual_seed(0)
    kwargs = {"generator": generator, "dtype": torch.float64}
    scores = 30 * torch.randn(50, n_values - 1, **kwargs)
    shift = size * torch.randn(50, n_values - 1, **kwargs)
    codes = torch.zeros(50)
    before = head.residual(head.probabilities(scores), codes)
    after = head.residual(head.probabilities(scores + shift), codes)
    change = head.residual_change(head.probabilities(scores).T, codes, shift.T[:, None])
    torch.testing.assert_close(change[:, 0].T, after - before, rtol=0, atol=1e-12)


# --- Soft annotations -----------------------------------------------------------------


def _soft_head(n_values, n, activation="soft"):
    generator = torch.Generator().manual_seed(n_values)
    shares = torch.rand(n, n_values, generator=generator, dtype=torch.float64)
    shares[0, 0] = 0.0
    shares /= shares.sum(dim=1, keepdim=True)
    return SoftmaxHead(n_values, activation, shares=Shares.of(shares)), shares


@pytest.mark.parametrize("n_values", SIZES)
def test_derivatives_of_soft_codes_equal_autograd(n_values):
    head, shares = _soft_head(n_values, 4)
    for i, row in enumerate(_scores(4, head)):
        code = torch.tensor(float(n_values + i))
        probabilities = head.probabilities(row)
        loss = -(shares[i] * probabilities.log()).sum()
        torch.testing.assert_close(head.loss(row, code), loss)
        residual = torch.func.grad(head.loss)(row, code)
        curvature = torch.func.hessian(head.loss)(row, code)
        torch.testing.assert_close(head.residual(probabilities, code), residual)
        torch.testing.assert_close(head.curvature(probabilities, code), curvature)
        known = shares[i, 1:] if n_values == 2 else shares[i]
        torch.testing.assert_close(head.true_activations(code, row), known)


@pytest.mark.parametrize("n_values", SIZES)
def test_plain_codes_are_the_same_beside_soft_ones(n_values):
    soft, _ = _soft_head(n_values, 3)
    plain, scores = SoftmaxHead(n_values), 20 * _scores(9, soft)
    codes = torch.arange(9).double() % n_values
    p = plain.probabilities(scores)
    for found, expected in (
        (soft.loss(scores, codes), plain.loss(scores, codes)),
        (soft.residual(p, codes), plain.residual(p, codes)),
        (soft.residual_noise(p, codes, codes), plain.residual_noise(p, codes, codes)),
        (soft.true_activations(codes, p), plain.true_activations(codes, p)),
        (soft.margin(scores, scores, codes), plain.margin(scores, scores, codes)),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert soft.parts(codes) is None


def test_a_soft_code_is_the_mean_of_its_values():
    head, shares = _soft_head(3, 5)
    scores, codes = _scores(7, head), torch.tensor([3.0, 1, 4, 5, 0, 6, 7])
    at, values, share = head.parts(codes)
    assert len(at) == 2 + 5 * 3 - 1  # one share is 0
    for name in ("loss", "margin"):
        by_value, together = (
            head.margin(scores[rows], scores[rows], those)
            if name == "margin"
            else head.loss(scores[rows], those)
            for rows, those in ((at, values), (torch.arange(7), codes))
        )
        total = torch.zeros(7).double().index_add(0, at, share * by_value)
        torch.testing.assert_close(together, total)


def test_heads_of_the_same_shares_are_evaluated_together():
    head, _ = _soft_head(3, 2)
    again = SoftmaxHead(3, shares=head.shares)
    other, _ = _soft_head(3, 2)
    groups = HeadStack([head, SoftmaxHead(2), again, other]).groups
    assert [group[0] for group in groups] == [head, SoftmaxHead(2), other]
