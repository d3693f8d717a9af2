"""Hessians of all heads and the cross term between the stages, factorised.

What grows with rows times features is three kinds of products: Hessians, the cross term
and the inner products of the answers. They may be taken in single precision. All that
is small stays in double: scores and residuals of rows, factors, the label head's own
products where its inputs are activations. See Eqs. (6) to (8) of docs/mathematics.rst.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.linalg import blas, lapack
from torch import Tensor

from ..exceptions import InfluenceWarning
from .blocks import BLOCK_ROWS, row_blocks
from .bottleneck import Bottleneck, TrainingData
from .heads import Head, HeadsProblem, SoftmaxHead
from .products import with_ones

# Below this, rounding can reach the sixth digit of an influence.
_ILL_CONDITIONED = 1e-10
# Of the 2e-5 that single precision may cost in all, what it may cost an average target.
_SINGLE_ENOUGH = 7e-6


@dataclass(frozen=True)
class Factors:
    """What all targets share.

    With p parameters in the label head, ``n_label_scores * (n_activations + 1)``, and
    p_j in concept head j, ``n_scores_j * (n_features + 1)``:

    Attributes
    ----------
    label : Tensor of shape (p, p)
        Cholesky factor of the label head's Hessian.
    concepts : tuple of Tensor of shape (p_j, p_j)
        Cholesky factor of every concept head's Hessian.
    cross : tuple of Tensor of shape (p, p_j)
        The cross term, a piece for each concept head.
    penalty, concept_penalty : float
        Of the label head, and of the concept heads.
    dtype : torch.dtype
        Of the products with the features that they come from; they are float64.
    """

    label: Tensor
    concepts: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]
    penalty: float
    concept_penalty: float
    dtype: torch.dtype = torch.float64


def factorise(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalty: float,
    dtype: torch.dtype = torch.float64,
    block_rows: int = BLOCK_ROWS,
) -> Factors:
    """Assemble and factorise the Hessians and the cross term over the training rows.

    Parameters
    ----------
    bottleneck : Bottleneck
        At the optimum for `data`.
    data : TrainingData
    penalty, concept_penalty : float
        ``1 / C`` and ``1 / concept_C``.
    dtype : torch.dtype
        Of products with the features: float64, or float32 for half the time and about
        five digits. Where float32 is not good enough, float64 it is all the same.
    block_rows : int
        Rows held at a time; the result does not depend on it beyond rounding.

    Raises
    ------
    ValueError
        If a Hessian is not positive definite to working precision.

    Warns
    -----
    InfluenceWarning
        If a Hessian is so nearly singular that digits of influence are lost.
    """
    hessians, cross = _assemble(bottleneck, data, dtype, block_rows)
    penalties = [penalty] + [concept_penalty] * len(bottleneck.concepts)
    factors, remaining = [], []
    for own_penalty in penalties:
        # One at a time, so that factors take the place of what they come from.
        factor, left = _cholesky(hessians.pop(0).matrix(own_penalty))
        factors.append(factor)
        remaining.append(left)
    if dtype != data.features.dtype:
        on_features = factors[1:] if bottleneck.concepts else factors
        error = _error_along_noise(
            bottleneck, data, on_features, penalties[-1], block_rows
        )
        if not error < _SINGLE_ENOUGH:
            return factorise(
                bottleneck,
                data,
                penalty=penalty,
                concept_penalty=concept_penalty,
                block_rows=block_rows,
            )
    stages = ["label"] + ["concept"] * len(bottleneck.concepts)
    for stage, factor, left in zip(stages, factors, remaining, strict=True):
        _check_condition(stage, len(factor), left)
    return Factors(
        factors[0], tuple(factors[1:]), cross, penalty, concept_penalty, dtype
    )


def _assemble(
    bottleneck: Bottleneck, data: TrainingData, dtype: torch.dtype, block_rows: int
) -> tuple[list["_Hessian"], tuple[Tensor, ...]]:
    """Sum the Hessians, the label head's first, and the cross term over all rows."""
    stack, label = bottleneck.concepts, bottleneck.label
    n_inputs, n_features = bottleneck.n_label_inputs, data.features.shape[1] + 1
    like = data.features
    label_dtype = like.dtype if stack else dtype
    label_hessian = _Hessian(label, n_inputs, like, label_dtype)
    hessians = [_Hessian(head, n_features, like, dtype) for head in stack.heads]
    cross = [
        like.new_zeros(
            label.n_scores * n_inputs * head.n_scores, n_features, dtype=dtype
        )
        for head in stack.heads
    ]
    for block in row_blocks(len(data.features), block_rows):
        rows = data.rows(block)
        activations = bottleneck.training_activations(rows)
        inputs = label.inputs(activations.to(label_dtype))
        probabilities = label.probabilities(bottleneck.label_scores(activations))
        label_hessian.add(probabilities, rows.label_weights, inputs)
        if not stack:
            continue
        inputs, features = inputs.to(dtype), with_ones(rows.features.to(dtype))
        concept_scores = stack.split(bottleneck.concept_scores(rows.features))
        for j, (head, scores) in enumerate(
            zip(stack.heads, concept_scores, strict=True)
        ):
            hessians[j].add(
                head.probabilities(scores), rows.concept_weights[:, j], features
            )
            jacobian = label_gradient_jacobian(
                bottleneck, rows, j, scores, probabilities, inputs
            )
            cross[j].addmm_(jacobian.flatten(1).T, features)
    return [label_hessian, *hessians], tuple(
        piece.to(like.dtype)
        .reshape(label.n_scores, -1, n_inputs, n_features)
        .transpose(1, 2)
        .reshape(label.n_scores * n_inputs, -1)
        for piece in cross
    )


class _Hessian:
    """The Hessian of one head's loss, summed over blocks of rows.

    The curvature ``diag(p) - pp'`` is the Laplacian of a graph: its nodes are the
    values, and the edge between k and l weighs ``p_k p_l``. So every pair of values
    needs one symmetric product, of inputs scaled by ``sqrt(weight p_k p_l)``: Eq. (7)
    of docs/mathematics.rst.

    Parameters
    ----------
    head : SoftmaxHead or RidgeHead
    n_inputs : int
        The constant included.
    like : Tensor
        On the device, in the precision of the result.
    dtype : torch.dtype
        Of the products.
    """

    def __init__(self, head: Head, n_inputs: int, like: Tensor, dtype: torch.dtype):
        self.dtype, self.intercept = dtype, head.intercept
        self._edges = like.new_ones(1, 1)
        self._first = self._second = None
        if isinstance(head, SoftmaxHead):
            m = head.n_values
            pairs = torch.triu_indices(m, m, offset=1, device=like.device)
            self._first, self._second = pairs
            contrasts = head.contrasts(like).T
            self._edges = contrasts[self._first] - contrasts[self._second]
        shape = (len(self._edges), n_inputs, n_inputs)
        self._products = like.new_zeros(shape)

    def add(self, probabilities: Tensor, weights: Tensor, inputs: Tensor) -> None:
        """Add rows with their inputs, (n_rows, n_inputs), of the products' type."""
        weights = weights[:, None]
        if self._first is not None:
            weights = weights * (
                probabilities[:, self._first] * probabilities[:, self._second]
            )
        scales = weights.sqrt().to(self.dtype).T.contiguous()
        for product, scale in zip(self._products, scales, strict=True):
            _add_square(product, scale[:, None] * inputs)

    def matrix(self, penalty: float) -> Tensor:
        """Return the lower triangle of the sum with the penalty, bias left out."""
        n_scores, n_inputs = self._edges.shape[1], self._products.shape[1]
        rows, columns = torch.tril_indices(n_scores, n_scores)
        coefficients = self._edges[:, rows] * self._edges[:, columns]
        blocks = (coefficients.T @ self._products.flatten(1)).reshape(
            -1, n_inputs, n_inputs
        )
        # Nobody reads above the diagonal: what stands there is not even written.
        matrix = blocks.new_empty(n_scores, n_inputs, n_scores, n_inputs)
        for row, column, block in zip(rows, columns, blocks, strict=True):
            matrix[row, :, column] = block
            if row != column:
                matrix[row, :, column] += block.tril(-1).T
        penalised = matrix.new_full((n_scores, n_inputs), penalty)
        # A bias that is not there has no curvature and no gradient: any number will do.
        penalised[:, -1] = 0 if self.intercept else 1
        matrix = matrix.flatten(2).flatten(0, 1)
        matrix.diagonal().add_(penalised.flatten())
        return matrix


def _add_square(total: Tensor, rows: Tensor) -> None:
    """Add ``rows.T @ rows`` to the lower triangle of `total`, in place.

    Sums of single precision are added in double: their rounding would grow with rows.
    """
    if rows.device.type != "cpu":
        total += rows.T @ rows
        return
    # PyTorch has no product that stops at the triangle, which is half the work.
    if rows.dtype == total.dtype:
        target = total.numpy().T
        blas.dsyrk(1.0, rows.numpy().T, beta=1.0, c=target, overwrite_c=True)
    else:
        total += torch.from_numpy(blas.ssyrk(1.0, rows.numpy().T).T)


def label_gradient_jacobian(
    bottleneck: Bottleneck,
    rows: TrainingData,
    concept: int,
    scores: Tensor,
    label_probabilities: Tensor,
    inputs: Tensor,
) -> Tensor:
    """Differentiate each row's label gradient in one concept's scores.

    The gradient ``residual (x) [activations, 1]`` moves twice: the residual through
    the label scores, and the activations themselves. Rows whose activations are true
    annotations do not move at all. The result has shape (n_rows, n_label_scores,
    n_scores, n_inputs), and the dtype of `inputs`; see Eq. (8) of docs/mathematics.rst.
    """
    label, positions = bottleneck.label, bottleneck.concepts.activations[concept]
    moved = bottleneck.training_jacobian(rows, concept, scores)
    weighted = rows.label_weights[:, None, None] * moved
    residual = label.residual(label_probabilities, rows.labels)
    residual_moved = (
        label.curvature(label_probabilities)
        @ bottleneck.label_parameters[:, positions]
        @ weighted
    )
    own = residual[:, :, None, None] * weighted.transpose(1, 2)[:, None]
    jacobian = residual_moved.to(inputs.dtype)[..., None] * inputs[:, None, None]
    jacobian[..., positions] += own.to(inputs.dtype)
    return jacobian


def _cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    """Factorise a lower triangle, in place or not; return what is left of its diagonal.

    It is the least part of a diagonal entry that is left, free of the scales of the
    features, and 0 if there is no factor.
    """
    diagonal = matrix.diagonal().clone()
    if matrix.device.type == "cpu":  # SciPy's is a quarter faster than PyTorch's
        upper, failed = lapack.dpotrf(matrix.numpy().T, clean=1, overwrite_a=1)
        factor = torch.from_numpy(upper.T)
    else:
        factor, failed = torch.linalg.cholesky_ex(matrix)
    remaining = float((factor.diagonal() ** 2 / diagonal).min())
    return factor, 0.0 if failed or math.isnan(remaining) else remaining


def _error_along_noise(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Sequence[Tensor],
    penalty: float,
    block_rows: int,
) -> float:
    """Return the error of solving with factors ``L`` of what is not quite ``H``.

    That is ``|(I - L^-1 H L'^-1) noise| / |noise|``, the largest of the heads on the
    features, for one product by ``H`` in full precision. Solutions point where
    ``L'^-1 noise`` does, because gradients are spread as ``H`` is.
    """
    like, generator = data.features, torch.Generator().manual_seed(0)
    noise = [
        torch.randn(len(factor), 1, generator=generator, dtype=like.dtype).to(factor)
        for factor in factors
    ]
    n_inputs = like.shape[1] + 1
    direction = torch.cat(
        [
            torch.linalg.solve_triangular(factor.T, part, upper=True).view(-1, n_inputs)
            for factor, part in zip(factors, noise, strict=True)
        ]
    )
    product = torch.zeros_like(direction)
    for block in row_blocks(len(like), block_rows):
        rows = data.rows(block)
        share = penalty * len(rows.features) / len(like)
        problem, parameters = _on_features(bottleneck, rows, share)
        probabilities = problem.probabilities(problem.scores(parameters))
        product += problem.hessian_times(probabilities, direction)
    errors, start = [], 0
    for factor, part in zip(factors, noise, strict=True):
        stop = start + len(factor) // n_inputs
        difference = factor @ part - product[start:stop].view(-1, 1)
        solved = torch.linalg.solve_triangular(factor, difference, upper=False)
        errors.append(float(solved.norm() / part.norm()))
        start = stop
    return max(errors)


def _on_features(
    bottleneck: Bottleneck, rows: TrainingData, penalty: float
) -> tuple[HeadsProblem, Tensor]:
    """Return the problem whose inputs are the features, and where it was solved."""
    stack = bottleneck.concepts
    if not stack:
        return bottleneck.label_problem(rows, penalty), bottleneck.label_parameters
    problem = HeadsProblem(
        stack, rows.features, rows.concepts, rows.concept_weights, penalty
    )
    return problem, bottleneck.concept_parameters


def _check_condition(stage: str, size: int, remaining: float) -> None:
    remedy = "Centre and rescale the features, or lower C and concept_C."
    eps = torch.finfo(torch.float64).eps
    if remaining <= size * eps:
        raise ValueError(
            f"The Hessian of a {stage} head is not positive definite to working "
            f"precision, so influence is not defined. {remedy}"
        )
    if remaining < _ILL_CONDITIONED:
        warnings.warn(
            f"The Hessian of a {stage} head is nearly singular (reciprocal condition "
            f"{remaining:.1g}), so influence can be off by {eps / remaining:.1g} of "
            f"its size. {remedy}",
            InfluenceWarning,
            stacklevel=3,
        )
