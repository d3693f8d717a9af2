"""The exact derivative of targets in the weight of every loss term.

The concept heads move the label head's inputs, so the weight of an annotation reaches
the label head too, through the cross term ``B``: the derivative of the label head's
gradient in the concept heads' parameters. The solution of the adjoint system for a
target,

    lambda_y = H_y^-1 df/dtheta_y,
    lambda_j = H_j^-1 (df/dtheta_j - (B' lambda_y)_j),

makes the influence of every loss term one inner product with its gradient, which is
``residual (x) [features, 1]``. Influence functions are those of Koh and Liang (2017);
through a concept bottleneck, those of CLIF (arXiv 2605.19848). See Eqs. (8) to (11) of
docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .blocks import BLOCK_ROWS, map_rows
from .bottleneck import Bottleneck, TrainingData
from .hessians import Factors
from .products import outer, with_ones
from .targets import TargetDerivatives


@dataclass(frozen=True)
class Adjoint:
    """Solutions of the adjoint system, one row per target.

    Attributes
    ----------
    label : Tensor of shape (n_targets, p)
    concepts : tuple of Tensor of shape (n_targets, p_j)
    """

    label: Tensor
    concepts: tuple[Tensor, ...]


def solve_adjoint(
    bottleneck: Bottleneck,
    factors: Factors,
    derivatives: TargetDerivatives,
    combine: Tensor | None = None,
) -> Adjoint:
    """Solve the adjoint system for targets, or for linear combinations of them.

    Eq. (10) of docs/mathematics.rst.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    derivatives : TargetDerivatives
    combine : Tensor of shape (n_answers, n_targets), default=None
        Combinations to solve for. None is each target by itself.
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
    *,
    dtype: torch.dtype = torch.float64,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the influence of every loss term, a block of training rows at a time.

    Influence is the first-order effect of the term's presence on the target, in units
    of the target: Eq. (11) of docs/mathematics.rst.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    adjoint : Adjoint
    dtype : torch.dtype
        Type of products with the features, as in the factors of `adjoint`.
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.

    Yields
    ------
    block : slice
    influence : Tensor of shape (n_targets, n_block, 1 + n_concepts), `dtype`
        The label's path first, then the concepts'. They add up to that of the row.
    """
    label_dtype = data.features.dtype if bottleneck.concepts else dtype
    concepts = tuple(part.to(dtype) for part in adjoint.concepts)
    adjoint = Adjoint(adjoint.label.to(label_dtype), concepts)
    yield from map_rows(
        partial(_influence, bottleneck, adjoint, dtype), data, block_rows
    )


def _influence(
    bottleneck: Bottleneck, adjoint: Adjoint, dtype: torch.dtype, rows: TrainingData
) -> Tensor:
    """Return the influence of every loss term of some rows, (n_targets, n_rows, …)."""
    stack, label = bottleneck.concepts, bottleneck.label
    label_rows = bottleneck.label_rows(rows)
    activations = label_rows.activations
    # One path after the other in memory, in the order of the products.
    influence = activations.new_empty(
        1 + len(stack), len(adjoint.label), len(rows), dtype=dtype
    )
    probabilities = label.probabilities(bottleneck.label_scores(activations))
    residual = label.residual(probabilities, label_rows.labels)
    inputs = label.inputs(activations.to(adjoint.label.dtype))
    weighted = -label_rows.weights[:, None] * residual
    gradients = outer(weighted.to(inputs.dtype), inputs)
    _put_products(influence[0], adjoint.label, label_rows.total(gradients))
    if stack:
        concept_scores = stack.split(bottleneck.concept_scores(rows.features))
        features = with_ones(rows.features.to(dtype))
    for j, head in enumerate(stack.heads):
        probabilities = head.probabilities(concept_scores[j])
        residual = head.residual(probabilities, rows.concepts[:, j])
        weighted = -rows.concept_weights[:, j, None] * residual
        gradients = outer(weighted.to(dtype), features)
        _put_products(influence[1 + j], adjoint.concepts[j], gradients)
    return influence.permute(1, 2, 0)


def _put_products(influence: Tensor, adjoint: Tensor, gradients: Tensor) -> None:
    """Write the inner products with gradients (n_rows, p) into (n_targets, n_rows)."""
    if influence.dtype == adjoint.dtype:
        torch.mm(adjoint, gradients.T, out=influence)
    else:
        influence.copy_(adjoint @ gradients.T)
