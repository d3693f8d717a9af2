"""The exact derivative of targets in the weight of every loss term.

The concept heads move the label head's inputs, so the weight of an annotation reaches
the label head too, through the cross term ``B``: the derivative of the label head's
gradient in the concept heads' parameters. Solving the adjoint system once per target,

    lambda_y = H_y^-1 df/dtheta_y,
    lambda_j = H_j^-1 (df/dtheta_j - (B' lambda_y)_j),

makes every loss term's influence one inner product with its gradient, which is
*residual (x) [feature, 1]*. Influence functions are those of Koh and Liang (2017);
through a concept bottleneck, those of CLIF (arXiv 2605.19848).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning
from .blocks import BLOCK_ROWS, row_blocks
from .bottleneck import Bottleneck, TrainingData
from .heads import Head, with_ones
from .targets import TargetDerivatives

# Below this, rounding can reach the sixth digit of an influence.
_ILL_CONDITIONED = 1e-10


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
    """

    label: Tensor
    concepts: tuple[Tensor, ...]
    cross: tuple[Tensor, ...]
    penalty: float
    concept_penalty: float


@dataclass(frozen=True)
class Adjoint:
    """Solutions of the adjoint system, one row a target.

    Attributes
    ----------
    label : Tensor of shape (n_targets, p)
    concepts : tuple of Tensor of shape (n_targets, p_j)
    """

    label: Tensor
    concepts: tuple[Tensor, ...]


def factorise(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalty: float,
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
    stack, label = bottleneck.concepts, bottleneck.label
    n_inputs, n_features = bottleneck.n_label_inputs, data.features.shape[1] + 1
    label_hessian = _zeros(data.features, label.n_scores, n_inputs)
    concept_hessians = [
        _zeros(data.features, head.n_scores, n_features) for head in stack.heads
    ]
    cross = [
        data.features.new_zeros(label.n_scores * n_inputs * head.n_scores, n_features)
        for head in stack.heads
    ]
    for block in row_blocks(len(data.features), block_rows):
        rows = data.rows(block)
        features = with_ones(rows.features)
        activations = bottleneck.training_activations(rows)
        inputs = label.inputs(activations)
        label_probabilities = label.probabilities(bottleneck.label_scores(activations))
        _add_hessian(
            label_hessian, label, label_probabilities, rows.label_weights, inputs
        )
        concept_scores = bottleneck.concept_scores(rows.features)
        for j, head in enumerate(stack.heads):
            scores = concept_scores[:, stack.scores[j]]
            _add_hessian(
                concept_hessians[j],
                head,
                head.probabilities(scores),
                rows.concept_weights[:, j],
                features,
            )
            cross[j] += (
                label_gradient_jacobian(
                    bottleneck, rows, j, scores, label_probabilities, inputs
                ).T
                @ features
            )
    return Factors(
        _factor(label_hessian, penalty, "label", label.intercept),
        tuple(_factor(h, concept_penalty, "concept") for h in concept_hessians),
        tuple(piece.reshape(label.n_scores * n_inputs, -1) for piece in cross),
        penalty,
        concept_penalty,
    )


def solve_adjoint(
    bottleneck: Bottleneck,
    factors: Factors,
    derivatives: TargetDerivatives,
    combine: Tensor | None = None,
) -> Adjoint:
    """Solve the adjoint system for targets, or for linear combinations of them.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    derivatives : TargetDerivatives
    combine : Tensor of shape (n_answers, n_targets), default=None
        Combinations to solve for; None for each target by itself.
    """
    columns = bottleneck.concepts.scores
    right = outer(
        derivatives.label_scores, bottleneck.label.inputs(derivatives.activations)
    )
    if combine is not None:
        right = combine @ right
    label = torch.cholesky_solve(right.T, factors.label).T
    features = with_ones(derivatives.features)
    concepts = []
    for j, factor in enumerate(factors.concepts):
        right = outer(derivatives.concept_scores[:, columns[j]], features)
        if combine is not None:
            right = combine @ right
        right = right - label @ factors.cross[j]
        concepts.append(torch.cholesky_solve(right.T, factor).T)
    return Adjoint(label, tuple(concepts))


def add_adjoints(parts: Sequence[Adjoint]) -> Adjoint:
    """Add solutions up: the adjoint of a sum of targets."""
    label = torch.stack([part.label for part in parts]).sum(dim=0)
    pieces = zip(*(part.concepts for part in parts), strict=True)
    return Adjoint(label, tuple(torch.stack(piece).sum(dim=0) for piece in pieces))


def first_order(
    bottleneck: Bottleneck,
    data: TrainingData,
    adjoint: Adjoint,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the influence of every loss term, a block of training rows at a time.

    Influence is the first-order effect of the term's presence on the target, in units
    of the target.

    Yields
    ------
    block : slice
    influence : Tensor of shape (n_targets, n_block, 1 + n_concepts)
        The label's path first, then the concepts'. They add up to the row's.
    """
    stack, label = bottleneck.concepts, bottleneck.label
    for block in row_blocks(len(data.features), block_rows):
        rows = data.rows(block)
        activations = bottleneck.training_activations(rows)
        probabilities = label.probabilities(bottleneck.label_scores(activations))
        residual = label.residual(probabilities, rows.labels)
        paths = [
            _inner_products(
                adjoint.label,
                rows.label_weights[:, None] * residual,
                label.inputs(activations),
            )
        ]
        concept_scores = bottleneck.concept_scores(rows.features)
        features = with_ones(rows.features)
        for j, head in enumerate(stack.heads):
            probabilities = head.probabilities(concept_scores[:, stack.scores[j]])
            residual = head.residual(probabilities, rows.concepts[:, j])
            weighted = rows.concept_weights[:, j, None] * residual
            paths.append(_inner_products(adjoint.concepts[j], weighted, features))
        # Subtracted, because -0.0 would print as if it were something.
        yield block, 0.0 - torch.stack(paths, dim=2)


def _inner_products(adjoint: Tensor, residual: Tensor, features: Tensor) -> Tensor:
    """Return ``adjoint . (residual (x) features)``, (n_targets, n_rows)."""
    return adjoint @ outer(residual, features).T


def outer(left: Tensor, right: Tensor) -> Tensor:
    """Return the flattened outer product of every row, (n, n_left * n_right)."""
    return (left[:, :, None] * right[:, None, :]).flatten(1)


def _zeros(like: Tensor, n_scores: int, n_features: int) -> Tensor:
    return like.new_zeros(n_scores, n_features, n_scores, n_features)


def _add_hessian(
    hessian: Tensor,
    head: Head,
    probabilities: Tensor,
    weights: Tensor,
    features: Tensor,
) -> None:
    """Add the rows' ``weight * curvature (x) features features'`` in place."""
    curvature = weights[:, None, None] * head.curvature(probabilities)
    for a in range(head.n_scores):
        for b in range(a + 1):
            product = features.T @ (curvature[:, a, b, None] * features)
            hessian[a, :, b] += product
            if a != b:
                hessian[b, :, a] += product


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
    annotations do not move at all. The result has shape (n_rows, n_label_scores *
    n_inputs * n_scores).
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
    jacobian = residual_moved[:, :, None, :] * inputs[:, None, :, None]
    jacobian[:, :, positions] += residual[:, :, None, None] * weighted[:, None]
    return jacobian.flatten(1)


def _factor(
    hessian: Tensor, penalty: float, stage: str, intercept: bool = True
) -> Tensor:
    """Return the Cholesky factor of the Hessian with the penalty, bias left out."""
    n_scores, n_features = hessian.shape[:2]
    penalised = hessian.new_full((n_scores, n_features), penalty)
    # A bias that is not there has no curvature and no gradient: any number will do.
    penalised[:, -1] = 0 if intercept else 1
    matrix = hessian.reshape(n_scores * n_features, -1) + torch.diag(
        penalised.flatten()
    )
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    remedy = "Centre and rescale the features, or lower C and concept_C."
    # What elimination leaves of a diagonal entry; free of the scales of the features.
    remaining = float((factor.diagonal() ** 2 / matrix.diagonal()).min())
    if failed or not remaining > len(matrix) * torch.finfo(matrix.dtype).eps:
        raise ValueError(
            f"The Hessian of a {stage} head is not positive definite to working "
            f"precision, so influence is not defined. {remedy}"
        )
    if remaining < _ILL_CONDITIONED:
        lost = torch.finfo(matrix.dtype).eps / remaining
        warnings.warn(
            f"The Hessian of a {stage} head is nearly singular (reciprocal condition "
            f"{remaining:.1g}), so influence can be off by {lost:.1g} of its size. "
            f"{remedy}",
            InfluenceWarning,
            stacklevel=2,
        )
    return factor
