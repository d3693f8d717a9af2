"""Hessians of all heads and the cross term between the stages, factorised.

Three kinds of products grow with rows times features: Hessians, the cross term and the
inner products of the answers. They may be in single precision. Everything small stays
in double precision: scores and residuals of rows, factors, and the label head's
products if its inputs are activations. See Eqs. (6) to (8) of docs/mathematics.rst.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from scipy.linalg import blas, lapack
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import BLOCK_ROWS, row_blocks, sum_rows
from .bottleneck import Bottleneck, LabelRows, TrainingData, concept_problem
from .heads import Head, HeadsProblem
from .products import with_ones

# Reciprocal condition below which rounding can reach the sixth digit of an influence.
_ILL_CONDITIONED = 1e-10
# Single precision may cost 2e-5 in all, and this much for an average target.
_SINGLE_ENOUGH = 7e-6
# If a larger share of the rows has weight in a head, all rows are multiplied.
_MOST_COUNTED = 0.9
_REMEDY = "Centre and rescale the features, or lower C and concept_C."


@dataclass(frozen=True)
class Factors:
    """Factorised Hessians and the cross term, which all targets share.

    The label head has ``p = n_label_scores * (n_activations + 1)`` parameters, and
    concept head j has ``p_j = n_scores_j * (n_features + 1)``.

    Attributes
    ----------
    label : Tensor of shape (p, p)
        Cholesky factor of the label head's Hessian.
    concepts : tuple of Tensor of shape (p_j, p_j)
        Cholesky factor of every concept head's Hessian.
    cross : tuple of Tensor of shape (p, p_j)
        The cross term, in one part for each concept head.
    penalty : float
        Penalty of the label head.
    concept_penalties : Tensor of shape (n_concepts,)
        Penalties of the concept heads.
    dtype : torch.dtype
        Type of the products with the features. The factors themselves are float64.
    """

    label: Tensor
    concepts: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]
    penalty: float
    concept_penalties: Tensor
    dtype: torch.dtype = torch.float64

    def solve(
        self, label: Tensor, concepts: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Solve the adjoint system of both stages: Eq. (10) of docs/mathematics.rst.

        Parameters
        ----------
        label : Tensor of shape (n_targets, p)
            Derivatives of targets in the label head's parameters.
        concepts : sequence of Tensor of shape (n_targets, p_j)
            Their derivatives in the parameters of every concept head.

        Returns
        -------
        label, concepts : Tensor and tuple of Tensor
            The solutions, shaped like the arguments.
        """
        label = torch.cholesky_solve(label.T, self.label).T
        triples = zip(concepts, self.cross, self.concepts, strict=True)
        return label, tuple(
            torch.cholesky_solve((part - label @ cross).T, factor).T
            for part, cross, factor in triples
        )


def factors_size(bottleneck: Bottleneck, n_features: int) -> int:
    """Return about how many bytes `factorise` takes, and what follows from factors.

    Products for every edge of a head's curvature and its Hessian are there at the same
    time, one head after the other; factors and the cross term remain. Newton takes the
    inverses beside that.

    Parameters
    ----------
    bottleneck : Bottleneck
    n_features : int
        Features, or coordinates, that the heads on the features see.
    """
    label = bottleneck.label
    inputs = n_features + 1
    label_inputs = bottleneck.n_label_inputs if bottleneck.concepts else inputs
    heads: list[tuple[Head, int]] = [(label, label_inputs)]
    heads += [(head, inputs) for head in bottleneck.concepts.heads]
    kept = passing = 0
    for head, width in heads:
        hessian = (head.n_scores * width) ** 2
        n_edges = head.n_scores * (head.n_scores + 1) // 2
        passing = max(passing, n_edges * width**2 + hessian)
        kept += hessian
    kept += label.n_scores * label_inputs * bottleneck.concepts.n_scores * inputs
    return 8 * (kept + passing)


def curvature_size(heads: Sequence[Head], n_inputs: int) -> int:
    """Return about how many bytes `factor_heads` takes: curvature and factors.

    Parameters
    ----------
    heads : sequence of Head
    n_inputs : int
        Inputs of these heads, with the constant.
    """
    n_blocks = sum(
        head.n_scores * (head.n_scores + 1) // 2 + head.n_scores**2 for head in heads
    )
    return 8 * n_blocks * n_inputs**2


def factorise(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalties: Tensor,
    dtype: torch.dtype = torch.float64,
    block_rows: int = BLOCK_ROWS,
) -> Factors:
    """Assemble and factorise the Hessians and the cross term over the training rows.

    Parameters
    ----------
    bottleneck : Bottleneck
        At the optimum for `data`.
    data : TrainingData
    penalty : float
        ``1 / C``.
    concept_penalties : Tensor of shape (n_concepts,)
        ``1 / concept_C`` of every concept.
    dtype : torch.dtype
        Type of products with the features: float64, or float32, which takes half the
        time and gives about five digits. If that is not enough, float64 is used anyway.
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.

    Raises
    ------
    ValueError
        If a Hessian is not positive definite to working precision.

    Warns
    -----
    InfluenceWarning
        If a Hessian is so nearly singular that digits of influence are lost.
    """
    penalties = [penalty, *concept_penalties.tolist()]
    if max(penalties) > torch.finfo(dtype).max:
        dtype = data.features.dtype
    counted = data.counted()
    sums = sum_rows(
        partial(_add_rows, bottleneck, dtype),
        _Sums.zeros(bottleneck, data.label_weights, data.features.shape[1], dtype),
        counted,
        block_rows,
    )
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    products = [sums.label, *sums.concepts]
    cross = tuple(_cross_term(bottleneck, p, data.features.dtype) for p in sums.cross)
    del sums
    factors, remaining = [], []
    for head, own_penalty in zip(heads, penalties, strict=True):
        # One at a time, so that factors take the memory of their products.
        factor, left = _cholesky(_hessian(head, products.pop(0), own_penalty))
        factors.append(factor)
        remaining.append(left)
    if dtype != data.features.dtype:
        on_features = factors[1:] if bottleneck.concepts else factors
        of_features = penalties[1:] if bottleneck.concepts else penalties
        error = _error_along_noise(
            bottleneck, counted, on_features, of_features, block_rows
        )
        if not error < _SINGLE_ENOUGH:
            return factorise(
                bottleneck,
                data,
                penalty=penalty,
                concept_penalties=concept_penalties,
                block_rows=block_rows,
            )
    stages = ["label"] + ["concept"] * len(bottleneck.concepts)
    for stage, factor, left in zip(stages, factors, remaining, strict=True):
        _check_condition(stage, len(factor), left)
    return Factors(
        factors[0],
        tuple(factors[1:]),
        cross,
        penalty,
        concept_penalties.to(data.label_weights),
        dtype,
    )


def factor_heads(
    problem: HeadsProblem, parameters: Tensor, block_rows: int = BLOCK_ROWS
) -> list[Tensor | None]:
    """Return the Cholesky factor of every head's Hessian, without a cross term.

    It is None if the Hessian is not positive definite to working precision.

    Parameters
    ----------
    problem : HeadsProblem
    parameters : Tensor of shape (n_scores, n_features + 1)
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.
    """
    stack, features = problem.stack, problem.features
    n_inputs = features.shape[1] + 1
    sums = [
        features.new_zeros(
            len(head.curvature_edges(problem.weights)), n_inputs, n_inputs
        )
        for head in stack.heads
    ]
    scores = stack.split(problem.scores(parameters))
    for block in row_blocks(len(features), block_rows):
        inputs = with_ones(features[block])
        for j, (head, total) in enumerate(zip(stack.heads, sums, strict=True)):
            probabilities = head.probabilities(scores[j][block])
            weights = problem.weights[block, j]
            _add_curvature(total, head, probabilities, weights, inputs)
    factors: list[Tensor | None] = []
    for head, penalty in zip(stack.heads, problem.penalties.tolist(), strict=True):
        factor, left = _cholesky(_hessian(head, sums.pop(0), penalty))
        factors.append(factor if _is_definite(len(factor), left) else None)
    return factors


@dataclass(frozen=True)
class _Sums:
    """Sums over training rows, from which Hessians and the cross term are assembled.

    Attributes
    ----------
    label : Tensor of shape (n_edges, n_label_inputs, n_label_inputs)
        For each edge of the label head's curvature, the lower triangle of
        ``sum_i w_i weight_ie x_i x_i'``.
    concepts : tuple of Tensor of shape (n_edges_j, n_features + 1, n_features + 1)
        The same for every concept head.
    cross : tuple of Tensor of shape \
            (n_label_scores * n_scores_j * n_label_inputs, n_features + 1)
        One part for each concept, with the type of the products.
    """

    label: Tensor
    concepts: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]

    @classmethod
    def zeros(
        cls,
        bottleneck: Bottleneck,
        like: Tensor,
        n_features: int,
        dtype: torch.dtype,
    ) -> "_Sums":
        """Return sums over no rows, on the device of a tensor."""
        label, n_inputs = bottleneck.label, bottleneck.n_label_inputs
        n_features += 1
        heads = bottleneck.concepts.heads
        n_edges = [len(head.curvature_edges(like)) for head in (label, *heads)]
        return cls(
            like.new_zeros(n_edges[0], n_inputs, n_inputs),
            tuple(like.new_zeros(n, n_features, n_features) for n in n_edges[1:]),
            tuple(
                like.new_zeros(
                    label.n_scores * head.n_scores * n_inputs, n_features, dtype=dtype
                )
                for head in heads
            ),
        )


def _add_rows(
    bottleneck: Bottleneck, dtype: torch.dtype, sums: _Sums, rows: TrainingData
) -> None:
    """Add rows to sums, in place; `dtype` is that of products with features."""
    stack, label = bottleneck.concepts, bottleneck.label
    label_rows = bottleneck.label_rows(rows)
    activations = label_rows.activations
    # Activations of concepts are few: they stay in double precision.
    inputs = label.inputs(activations if stack else activations.to(dtype))
    probabilities = label.probabilities(bottleneck.label_scores(activations))
    _add_curvature(sums.label, label, probabilities, label_rows.weights, inputs)
    if not stack:
        return
    inputs, features = inputs.to(dtype), with_ones(rows.features.to(dtype))
    concept_scores = stack.split(bottleneck.concept_scores(rows.features))
    for j, (head, scores) in enumerate(zip(stack.heads, concept_scores, strict=True)):
        weights = rows.concept_weights[:, j]
        _add_curvature(
            sums.concepts[j], head, head.probabilities(scores), weights, features
        )
        jacobian = label_gradient_jacobian(
            bottleneck, label_rows, j, scores, probabilities, inputs
        )
        sums.cross[j].addmm_(jacobian.flatten(1).T, features)


def _add_curvature(
    total: Tensor, head: Head, probabilities: Tensor, weights: Tensor, inputs: Tensor
) -> None:
    """Add ``sum_i w_i weight_ie x_i x_i'`` for every edge of the curvature, in place.

    Eq. (7) of docs/mathematics.rst. Inputs have shape (n_rows, n_inputs) and the type
    of the products.
    """
    counted = weights > 0
    if counted.sum() < _MOST_COUNTED * len(weights):  # pays for copies
        probabilities, inputs = probabilities[counted], inputs[counted]
        weights = weights[counted]
    scales = (weights[:, None] * head.edge_weights(probabilities)).sqrt()
    scales = scales.to(inputs.dtype).T.contiguous()
    for product, scale in zip(total, scales, strict=True):
        _add_square(product, scale[:, None] * inputs)


def _hessian(head: Head, sums: Tensor, penalty: float) -> Tensor:
    """Return the lower triangle of a head's Hessian, the bias not penalised."""
    edges = head.curvature_edges(sums)
    n_scores, n_inputs = edges.shape[1], sums.shape[1]
    rows, columns = torch.tril_indices(n_scores, n_scores)
    coefficients = edges[:, rows] * edges[:, columns]
    blocks = (coefficients.T @ sums.flatten(1)).reshape(-1, n_inputs, n_inputs)
    # Entries above the diagonal are never read, and are not written.
    matrix = blocks.new_empty(n_scores, n_inputs, n_scores, n_inputs)
    for row, column, block in zip(rows, columns, blocks, strict=True):
        matrix[row, :, column] = block
        if row != column:
            matrix[row, :, column] += block.tril(-1).T
    penalised = matrix.new_full((n_scores, n_inputs), penalty)
    # A missing bias has no curvature and no gradient: any positive number will do.
    penalised[:, -1] = 0 if head.intercept else 1
    matrix = matrix.flatten(2).flatten(0, 1)
    matrix.diagonal().add_(penalised.flatten())
    return matrix


def _cross_term(bottleneck: Bottleneck, sums: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one concept's piece of the cross term, (p, p_j)."""
    n_scores, n_inputs = bottleneck.label.n_scores, bottleneck.n_label_inputs
    pieces = sums.to(dtype).reshape(n_scores, -1, n_inputs, sums.shape[1])
    return pieces.transpose(1, 2).reshape(n_scores * n_inputs, -1)


def _add_square(total: Tensor, rows: Tensor) -> None:
    """Add ``rows.T @ rows`` to the lower triangle of `total`, in place.

    Sums in single precision are added in double, or rounding would grow with the rows.
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
    rows: LabelRows,
    concept: int,
    scores: Tensor,
    label_probabilities: Tensor,
    inputs: Tensor,
    *,
    by_copy: bool = False,
) -> Tensor:
    """Differentiate each row's label gradient in one concept's scores.

    Two parts of the gradient ``residual (x) [activations, 1]`` move: the residual,
    through the label scores, and the activations themselves. True annotations do not
    move. See Eq. (8) of docs/mathematics.rst.

    Parameters
    ----------
    bottleneck : Bottleneck
    rows : LabelRows
    concept : int
    scores : Tensor of shape (n_samples, n_scores)
        Of that concept.
    label_probabilities : Tensor of shape (n_copies * n_samples, n_classes)
    inputs : Tensor of shape (n_copies * n_samples, n_inputs)
        Of the label head.
    by_copy : bool
        Whether to return the copies of a row one by one, and not their sum.

    Returns
    -------
    jacobian : Tensor of shape (n_samples, n_label_scores, n_scores, n_inputs)
        With the dtype of `inputs`. With `by_copy` the first axis is n_copies *
        n_samples.
    """
    label, positions = bottleneck.label, bottleneck.concepts.activations[concept]
    moved = rows.activation_jacobian(
        bottleneck.concepts.heads[concept], concept, scores
    )
    weighted = rows.weights[:, None, None] * moved
    residual = label.residual(label_probabilities, rows.labels)
    residual_moved = (
        label.curvature(label_probabilities)
        @ bottleneck.label_parameters[:, positions]
        @ weighted
    )
    own = residual[:, :, None, None] * weighted.transpose(1, 2)[:, None]
    jacobian = residual_moved.to(inputs.dtype)[..., None] * inputs[:, None, None]
    jacobian[..., positions] += own.to(inputs.dtype)
    return jacobian if by_copy else rows.total(jacobian)


def _cholesky(matrix: Tensor) -> tuple[Tensor, float]:
    """Factorise a lower triangle, perhaps in place; estimate its reciprocal condition.

    The estimate is the smallest share of a diagonal entry that remains in the factor.
    It does not depend on the scales of the features. It is 0 if there is no factor.
    """
    diagonal = matrix.diagonal().clone()
    if matrix.device.type == "cpu":  # SciPy is a quarter faster than PyTorch
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
    penalties: Sequence[float],
    block_rows: int,
) -> float:
    """Return the error of solutions with factors ``L`` that are not exact for ``H``.

    It is ``|(I - L^-1 H L'^-1) noise| / |noise|``, the largest over the heads on the
    features. It takes one product with ``H`` in full precision. Solutions point in
    directions like ``L'^-1 noise``, because gradients are spread as ``H`` is.
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

    def add(total: Tensor, rows: TrainingData) -> None:
        share = len(rows) / n
        problem, parameters = _on_features(bottleneck, rows, penalties, share)
        probabilities = problem.probabilities(problem.scores(parameters))
        total += problem.hessian_times(probabilities, direction)

    n = len(data)
    product = sum_rows(add, torch.zeros_like(direction), data, block_rows)
    errors, start = [], 0
    for factor, part in zip(factors, noise, strict=True):
        stop = start + len(factor) // n_inputs
        difference = factor @ part - product[start:stop].view(-1, 1)
        solved = torch.linalg.solve_triangular(factor, difference, upper=False)
        errors.append(float(solved.norm() / part.norm()))
        start = stop
    return max(errors)


def _on_features(
    bottleneck: Bottleneck,
    rows: TrainingData,
    penalties: Sequence[float],
    share: float,
) -> tuple[HeadsProblem, Tensor]:
    """Return the problem whose inputs are the features, and its solution.

    The rows carry a share of the penalties.
    """
    stack = bottleneck.concepts
    if not stack:
        problem = bottleneck.label_problem(rows, share * penalties[0])
        return problem, bottleneck.label_parameters
    problem = concept_problem(stack, rows, share * torch.tensor(penalties))
    return problem, bottleneck.concept_parameters


def _check_condition(stage: str, size: int, remaining: float) -> None:
    if not _is_definite(size, remaining):
        raise ValueError(
            f"The Hessian of a {stage} head is not positive definite to working "
            f"precision, so influence is not defined. {_REMEDY}"
        )
    if remaining < _ILL_CONDITIONED:
        lost = torch.finfo(torch.float64).eps / remaining
        warn_user(
            f"The Hessian of a {stage} head is nearly singular (reciprocal condition "
            f"{remaining:.1g}), so influence can be off by {lost:.1g} of its size. "
            f"{_REMEDY}",
            InfluenceWarning,
        )


def _is_definite(size: int, remaining: float) -> bool:
    return remaining > size * torch.finfo(torch.float64).eps
