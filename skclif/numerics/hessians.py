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
from scipy.linalg import lapack
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import BLOCK_ROWS, Elsewhere, row_blocks, sum_rows
from .bottleneck import Bottleneck, LabelRows, TrainingData, concept_problem
from .heads import Head, HeadsProblem
from .inverses import (
    Cholesky,
    Inverse,
    Restricted,
    by_value_size,
    invert_by_value,
    is_by_value,
)
from .products import with_ones
from .squares import add_square

# Reciprocal condition below which rounding can reach the sixth digit of an influence.
_ILL_CONDITIONED = 1e-10
# Single precision may cost 2e-5 in all, and this much for an average target.
_SINGLE_ENOUGH = 7e-6
# If a larger share of the rows has weight in a head, all rows are multiplied.
_MOST_COUNTED = 0.9
# Most numbers in the Jacobians of a block of rows: 256 MB.
_MOST_VALUES = 2**25
_REMEDY = "Centre and rescale the features, or lower C and concept_C."


@dataclass(frozen=True)
class Factors:
    """Factorised Hessians and the cross term, which all targets share.

    The label head has ``p = n_label_scores * (n_activations + 1)`` parameters, and
    concept head j has ``p_j = n_scores_j * (n_features + 1)``.

    Attributes
    ----------
    label : Inverse
        Of the label head's Hessian, (p, p).
    concepts : tuple of Inverse
        Of every concept head's Hessian, (p_j, p_j).
    cross : tuple of Tensor of shape (p, p_j)
        The cross term, in one part for each concept head.
    penalty : float
        Penalty of the label head.
    concept_penalties : Tensor of shape (n_concepts,)
        Penalties of the concept heads.
    dtype : torch.dtype
        Type of the products with the features. The factors themselves are float64.
    """

    label: Inverse
    concepts: tuple[Inverse, ...]
    cross: tuple[Tensor, ...]
    penalty: float
    concept_penalties: Tensor
    dtype: torch.dtype = torch.float64

    @property
    def dense_size(self) -> int:
        """How many bytes the inverses take as matrices, which newton makes of them."""
        return 8 * sum(len(inverse) ** 2 for inverse in (self.label, *self.concepts))

    def solve_label(self, label: Tensor) -> Tensor:
        """Solve for derivatives in the label head's parameters alone."""
        return self.label.solve(label.T).T

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
        label = self.solve_label(label)
        triples = zip(concepts, self.cross, self.concepts, strict=True)
        return label, tuple(
            inverse.solve((part - label @ cross).T).T
            for part, cross, inverse in triples
        )


def factors_size(
    bottleneck: Bottleneck, n_features: int, n_rows: int | None = None
) -> int:
    """Return about how many bytes `factorise` takes, and what follows from factors.

    Products for every edge of a head's curvature and its Hessian are there at the same
    time, one head after the other; factors and the cross term remain. Newton takes the
    inverses beside that.

    Parameters
    ----------
    bottleneck : Bottleneck
    n_features : int
        Features, or coordinates, that the heads on the features see.
    n_rows : int, default=None
        Number of rows. None is so many that no head is inverted value by value.
    """
    label = bottleneck.label
    inputs = n_features + 1
    label_inputs = bottleneck.n_label_inputs if bottleneck.concepts else inputs
    of_label = None if n_rows is None else n_rows * len(bottleneck.copies)
    heads: list[tuple[Head, int, int | None]] = [(label, label_inputs, of_label)]
    heads += [(head, inputs, n_rows) for head in bottleneck.concepts.heads]
    kept = passing = 0
    for head, width, n in heads:
        if n is not None and is_by_value(head, n, width):
            kept += by_value_size(head, n, width) // 8
            continue
        hessian = (head.n_scores * width) ** 2
        n_edges = head.n_scores * (head.n_scores + 1) // 2
        passing = max(passing, n_edges * width**2 + hessian)
        kept += hessian
    kept += label.n_scores * label_inputs * bottleneck.concepts.n_scores * inputs
    return 8 * (kept + passing)


def curvature_size(heads: Sequence[Head], n_inputs: int, n_rows: int) -> int:
    """Return about how many bytes `factor_heads` takes: curvature and factors.

    Parameters
    ----------
    heads : sequence of Head
    n_inputs : int
        Inputs of these heads, with the constant.
    n_rows : int
    """
    size = 0
    for head in heads:
        if is_by_value(head, n_rows, n_inputs):
            size += by_value_size(head, n_rows, n_inputs)
        else:
            n_edges = head.n_scores * (head.n_scores + 1) // 2
            size += 8 * (n_edges + head.n_scores**2) * n_inputs**2
    return size


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
    if not bottleneck.concepts and bottleneck.label.missing(1) is not None:
        dtype = (
            data.features.dtype
        )  # the check of single precision needs all directions
    counted = data.counted()
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    by_value = _heads_by_value(bottleneck, counted)
    sums = sum_rows(
        partial(_add_rows, bottleneck, dtype),
        _Sums.zeros(
            bottleneck, by_value, data.label_weights, data.features.shape[1], dtype
        ),
        counted,
        _rows_at_once(bottleneck, block_rows),
    )
    products = [sums.label, *sums.concepts]
    cross = tuple(_cross_term(bottleneck, p, data.features.dtype) for p in sums.cross)
    del sums
    factors: list[Inverse] = []
    remaining = []
    for j, (head, own_penalty) in enumerate(zip(heads, penalties, strict=True)):
        # One at a time, so that factors take the memory of their products.
        product = products.pop(0)
        if by_value[j]:
            inverse, left = _by_value(bottleneck, counted, j, own_penalty)
        else:
            parameters = bottleneck.label_parameters if j == 0 else None
            inverse, left = _inverse(head, product, own_penalty, parameters)
        factors.append(inverse)
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
    for stage, inverse, left in zip(stages, factors, remaining, strict=True):
        _check_condition(stage, len(inverse), left)
    return Factors(
        factors[0],
        tuple(factors[1:]),
        cross,
        penalty,
        concept_penalties.to(data.label_weights),
        dtype,
    )


def _heads_by_value(bottleneck: Bottleneck, data: TrainingData) -> list[bool]:
    """Return which heads, the label's first, are inverted value by value."""
    if isinstance(data, Elsewhere):  # and so are many
        return [False] * (1 + len(bottleneck.concepts))
    inputs = data.features.shape[1] + 1
    label_inputs = bottleneck.n_label_inputs if bottleneck.concepts else inputs
    n_label = int((data.label_weights > 0).sum()) * len(bottleneck.copies)
    found = [is_by_value(bottleneck.label, n_label, label_inputs)]
    counts = (data.concept_weights > 0).sum(dim=0).tolist()
    pairs = zip(bottleneck.concepts.heads, counts, strict=True)
    return found + [is_by_value(head, n, inputs) for head, n in pairs]


def _by_value(
    bottleneck: Bottleneck, data: TrainingData, position: int, penalty: float
) -> tuple[Inverse, float]:
    """Return the inverse of one head's Hessian value by value: 0 is the label's."""
    if position == 0:
        rows = bottleneck.label_rows(data)
        scores = bottleneck.label_scores(rows.activations)
        probabilities = bottleneck.label.probabilities(scores)
        inputs = with_ones(rows.activations)
        return invert_by_value(
            bottleneck.label, probabilities, rows.weights, inputs, penalty
        )
    stack = bottleneck.concepts
    head = stack.heads[position - 1]
    scores = stack.split(bottleneck.concept_scores(data.features))[position - 1]
    return invert_by_value(
        head,
        head.probabilities(scores),
        data.concept_weights[:, position - 1],
        with_ones(data.features),
        penalty,
    )


def _rows_at_once(bottleneck: Bottleneck, block_rows: int) -> int:
    """Return how many rows to take together, so that their Jacobians fit."""
    most = max((head.n_scores for head in bottleneck.concepts.heads), default=0)
    width = bottleneck.label.n_scores * most * bottleneck.n_label_inputs
    copies = max(1, len(bottleneck.copies))
    return max(1, min(block_rows, _MOST_VALUES // max(1, copies * width)))


def factor_heads(
    problem: HeadsProblem, parameters: Tensor, block_rows: int = BLOCK_ROWS
) -> list[Inverse | None]:
    """Return the inverse of every head's Hessian, without a cross term.

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
    counts = (problem.weights > 0).sum(dim=0).tolist()
    pairs = zip(stack.heads, counts, strict=True)
    by_value = [is_by_value(head, n, n_inputs) for head, n in pairs]
    sums = [
        _no_sums(head, problem.weights, n_inputs, by_value=own)
        for head, own in zip(stack.heads, by_value, strict=True)
    ]
    scores = stack.split(problem.scores(parameters))
    for block in row_blocks(len(features), block_rows):
        inputs = with_ones(features[block])
        for j, (head, total) in enumerate(zip(stack.heads, sums, strict=True)):
            if by_value[j]:
                continue
            probabilities = head.probabilities(scores[j][block])
            weights = problem.weights[block, j]
            codes = problem.codes[block, j]
            _add_curvature(total, head, probabilities, codes, weights, inputs)
    factors: list[Inverse | None] = []
    for j, (head, penalty) in enumerate(
        zip(stack.heads, problem.penalties.tolist(), strict=True)
    ):
        total = sums.pop(0)
        inverse: Inverse
        if by_value[j]:
            inverse, left = invert_by_value(
                head,
                head.probabilities(scores[j]),
                problem.weights[:, j],
                with_ones(features),
                penalty,
            )
        else:
            own = parameters[stack.scores[j]]
            inverse, left = _inverse(head, total, penalty, own)
        factors.append(inverse if _is_definite(len(inverse), left) else None)
    return factors


def _no_sums(head: Head, like: Tensor, n_inputs: int, *, by_value: bool) -> Tensor:
    """Return sums over no rows for each edge of a head's curvature."""
    n_edges = 0 if by_value else len(head.curvature_edges(like))
    return like.new_zeros(n_edges, n_inputs, n_inputs)


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
        by_value: Sequence[bool],
        like: Tensor,
        n_features: int,
        dtype: torch.dtype,
    ) -> "_Sums":
        """Return sums over no rows, on the device of a tensor."""
        label, n_inputs = bottleneck.label, bottleneck.n_label_inputs
        n_features += 1
        heads = bottleneck.concepts.heads
        return cls(
            _no_sums(label, like, n_inputs, by_value=by_value[0]),
            tuple(
                _no_sums(head, like, n_features, by_value=own)
                for head, own in zip(heads, by_value[1:], strict=True)
            ),
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
    _add_curvature(
        sums.label, label, probabilities, label_rows.labels, label_rows.weights, inputs
    )
    if not stack:
        return
    inputs, features = inputs.to(dtype), with_ones(rows.features.to(dtype))
    concept_scores = stack.split(bottleneck.concept_scores(rows.features))
    for j, (head, scores) in enumerate(zip(stack.heads, concept_scores, strict=True)):
        weights = rows.concept_weights[:, j]
        codes, probabilities_j = rows.concepts[:, j], head.probabilities(scores)
        _add_curvature(
            sums.concepts[j], head, probabilities_j, codes, weights, features
        )
        jacobian = label_gradient_jacobian(
            bottleneck, label_rows, j, scores, probabilities, inputs
        )
        sums.cross[j].addmm_(jacobian.flatten(1).T, features)


def _add_curvature(
    total: Tensor,
    head: Head,
    probabilities: Tensor,
    codes: Tensor,
    weights: Tensor,
    inputs: Tensor,
) -> None:
    """Add ``sum_i w_i weight_ie x_i x_i'`` for every edge of the curvature, in place.

    Eq. (7) of docs/mathematics.rst. Inputs have shape (n_rows, n_inputs) and the type
    of the products.
    """
    if not len(total):  # the head is inverted value by value
        return
    counted = weights > 0
    # It pays for copies, but not for a GPU that waits.
    if weights.device.type == "cpu" and counted.sum() < _MOST_COUNTED * len(weights):
        probabilities, inputs = probabilities[counted], inputs[counted]
        codes, weights = codes[counted], weights[counted]
    scales = (weights[:, None] * head.edge_weights(probabilities, codes)).sqrt()
    scales = scales.to(inputs.dtype).T.contiguous()
    for product, scale in zip(total, scales, strict=True):
        add_square(product, scale[:, None] * inputs)


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


def _inverse(
    head: Head, sums: Tensor, penalty: float, parameters: Tensor | None
) -> tuple[Inverse, float]:
    """Return the inverse of a head's Hessian where parameters can move; its condition.

    Parameters
    ----------
    head : Head
    sums : Tensor of shape (n_edges, n_inputs, n_inputs)
    penalty : float
    parameters : Tensor of shape (n_scores, n_inputs) or None
        None is for a head whose parameters can all move.
    """
    hessian = _hessian(head, sums, penalty)
    free = None if parameters is None else _free(head, parameters, hessian)
    if free is None:
        factor, left = _cholesky(hessian)
        return Cholesky(factor, head.n_scores), left
    whole = hessian.tril() + hessian.tril(-1).T
    factor, left = _cholesky(free.T @ whole @ free)
    return Restricted(free, factor, head.n_scores), left


def _free(head: Head, parameters: Tensor, hessian: Tensor) -> Tensor | None:
    """Return the directions in which parameters can move; None if all of them."""
    cone = head.cone(parameters.shape[1], hessian)
    if cone is not None:
        return cone.free(parameters)
    if not head.held:
        return None
    moves = torch.ones_like(parameters, dtype=torch.bool)
    moves[:, list(head.held)] = False
    identity = torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device)
    return identity[:, moves.flatten()]


def _cross_term(bottleneck: Bottleneck, sums: Tensor, dtype: torch.dtype) -> Tensor:
    """Return one concept's piece of the cross term, (p, p_j)."""
    n_scores, n_inputs = bottleneck.label.n_scores, bottleneck.n_label_inputs
    pieces = sums.to(dtype).reshape(n_scores, -1, n_inputs, sums.shape[1])
    return pieces.transpose(1, 2).reshape(n_scores * n_inputs, -1)


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
        label.curvature(label_probabilities, rows.labels)
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
    inverses: Sequence[Inverse],
    penalties: Sequence[float],
    block_rows: int,
) -> float:
    """Return the error of solutions with factors ``L`` that are not exact for ``H``.

    It is ``|(I - L^-1 H L'^-1) noise| / |noise|``, the largest over the heads on the
    features. It takes one product with ``H`` in full precision. Solutions point in
    directions like ``L'^-1 noise``, because gradients are spread as ``H`` is.
    """
    like, generator = data.features, torch.Generator().manual_seed(0)
    n_inputs = like.shape[1] + 1
    directions = []
    for inverse in inverses:
        noise = torch.randn(len(inverse), 1, generator=generator, dtype=like.dtype)
        noise = noise.to(like.device)
        if isinstance(inverse, Cholesky):
            noise = torch.linalg.solve_triangular(inverse.factor.T, noise, upper=True)
        directions.append(noise.view(-1, n_inputs))
    direction = torch.cat(directions)

    add = partial(_add_product, bottleneck, penalties, direction, len(data))
    product = sum_rows(add, torch.zeros_like(direction), data, block_rows)
    errors, start = [0.0], 0
    for inverse, part in zip(inverses, directions, strict=True):
        stop = start + len(part)
        if isinstance(inverse, Cholesky):  # others are in double precision
            factor = inverse.factor
            noise = factor.T @ part.view(-1, 1)
            difference = factor @ noise - product[start:stop].view(-1, 1)
            solved = torch.linalg.solve_triangular(factor, difference, upper=False)
            errors.append(float(solved.norm() / noise.norm()))
        start = stop
    return max(errors)


def _add_product(
    bottleneck: Bottleneck,
    penalties: Sequence[float],
    direction: Tensor,
    n_rows: int,
    total: Tensor,
    rows: TrainingData,
) -> None:
    """Add what some of the rows contribute to ``H direction``, in place."""
    share = len(rows) / n_rows
    problem, parameters = _on_features(bottleneck, rows, penalties, share)
    probabilities = problem.probabilities(problem.scores(parameters))
    total += problem.hessian_times(probabilities, direction)


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
