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
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from .blocks import BLOCK_ROWS, map_rows
from .bottleneck import Bottleneck, TrainingData
from .heads import Head
from .products import affine, affine_adjoint, outer, with_ones
from .sparse import Features, SparseFeatures
from .targets import TargetDerivatives

# Most numbers in the gradients of a block of rows: 256 MiB.
_LARGEST_ARRAY = 2**25


class Solver(Protocol):
    """What solves the adjoint system: `Factors`, `MatrixFree` or `JointHessian`."""

    def solve(
        self, label: Tensor, concepts: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Solve for derivatives in the parameters of both stages."""

    def solve_label(self, label: Tensor) -> Tensor:
        """Return the label's part for derivatives in its parameters alone."""


@dataclass(frozen=True)
class Adjoint:
    """Solutions of the adjoint system, one row per target.

    Attributes
    ----------
    label : Tensor of shape (n_targets, p)
    concepts : tuple of Tensor of shape (n_targets, p_j)
    residual : Tensor of shape (n_targets, p), or None
        The part of `label` that is there because targets move with the weights of the
        residual, if there is one: Eq. (56) of docs/mathematics.rst.
    """

    label: Tensor
    concepts: tuple[Tensor, ...]
    residual: Tensor | None = None


def solve_adjoint(
    bottleneck: Bottleneck,
    factors: Solver,
    derivatives: TargetDerivatives,
    combine: Tensor | None = None,
) -> Adjoint:
    """Solve the adjoint system for targets, or for linear combinations of them.

    Eq. (10) of docs/mathematics.rst.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors, MatrixFree or JointHessian
    derivatives : TargetDerivatives
    combine : Tensor of shape (n_answers, n_targets), default=None
        Combinations to solve for. None is each target by itself.
    """
    label = _in_parameters(derivatives.activations, derivatives.label_scores, combine)
    missing = bottleneck.label.missing(bottleneck.n_label_inputs)
    if missing is not None:
        label = label.masked_fill(missing.to(label.device).flatten(), 0.0)
    concepts = [
        _in_parameters(derivatives.features, part, combine)
        for part in bottleneck.concepts.split(derivatives.concept_scores)
    ]
    adjoint = Adjoint(*factors.solve(label, concepts))
    if bottleneck.residual_scale is None:
        return adjoint
    part = torch.zeros_like(label).reshape(len(label), bottleneck.label.n_scores, -1)
    columns = bottleneck.residual_inputs
    part[:, :, columns] = label.reshape(part.shape)[:, :, columns]
    return replace(adjoint, residual=factors.solve_label(part.flatten(1)))


def _in_parameters(
    features: Features, scores: Tensor, combine: Tensor | None
) -> Tensor:
    """Return derivatives in a head's parameters, from those in its scores.

    The result has shape (n_answers, n_scores * (n_features + 1)).
    """
    if combine is None:
        return outer(scores, with_ones(features))
    combined = outer(combine.T, scores)
    return affine_adjoint(features, combined).reshape(len(combine), -1)


def add_adjoints(parts: Sequence[Adjoint]) -> Adjoint:
    """Add solutions up: the adjoint of a sum of targets."""
    label = torch.stack([part.label for part in parts]).sum(dim=0)
    pieces = zip(*(part.concepts for part in parts), strict=True)
    concepts = tuple(torch.stack(piece).sum(dim=0) for piece in pieces)
    of_residual = [part.residual for part in parts if part.residual is not None]
    residual = torch.stack(of_residual).sum(dim=0) if of_residual else None
    return Adjoint(label, concepts, residual)


def stack_adjoints(parts: Sequence[Adjoint]) -> Adjoint:
    """Put solutions side by side: the adjoint of all their targets."""
    concepts = tuple(
        map(torch.cat, zip(*(part.concepts for part in parts), strict=True))
    )
    of_residual = [part.residual for part in parts if part.residual is not None]
    residual = torch.cat(of_residual) if of_residual else None
    return Adjoint(torch.cat([part.label for part in parts]), concepts, residual)


def first_order(
    bottleneck: Bottleneck,
    data: TrainingData,
    adjoint: Adjoint,
    *,
    dtype: torch.dtype = torch.float64,
    paths: bool = True,
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
    paths : bool
        Whether paths are wanted by themselves, and not only their sum.
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.

    Yields
    ------
    block : slice
    influence : Tensor of shape (n_targets, n_block, 1 + n_concepts), `dtype`
        The label's path first, then the concepts'. They add up to that of the row. With
        a residual there is one more, last: the part of the label's path that goes
        through the residual's weights, which the first is without. If paths are not
        wanted, there is only their sum.
    """
    if isinstance(data.features, SparseFeatures):
        part = _sparse_influence(bottleneck, adjoint, data)
        yield slice(0, len(data)), part if paths else part.sum(dim=2, keepdim=True)
        return
    label_dtype = data.features.dtype if bottleneck.concepts else dtype
    concepts = tuple(part.to(dtype) for part in adjoint.concepts)
    residual = None if adjoint.residual is None else adjoint.residual.to(label_dtype)
    adjoint = Adjoint(adjoint.label.to(label_dtype), concepts, residual)
    largest = max(part.shape[1] for part in (adjoint.label, *adjoint.concepts))
    block_rows = min(block_rows, max(1, _LARGEST_ARRAY // largest))
    each = _influence if paths else _total
    yield from map_rows(partial(each, bottleneck, adjoint, dtype), data, block_rows)


def _influence(
    bottleneck: Bottleneck, adjoint: Adjoint, dtype: torch.dtype, rows: TrainingData
) -> Tensor:
    """Return the influence of every loss term of some rows, (n_targets, n_rows, …)."""
    stack = bottleneck.concepts
    # One path after the other in memory, in the order of the products.
    n_paths = 1 + len(stack) + (adjoint.residual is not None)
    influence = rows.label_weights.new_empty(
        n_paths, len(adjoint.label), len(rows), dtype=dtype
    )
    gradients = _label_gradients(bottleneck, adjoint.label.dtype, rows)
    _put_products(influence[0], adjoint.label, gradients)
    if adjoint.residual is not None:
        _put_products(influence[-1], adjoint.residual, gradients)
        influence[0] -= influence[-1]
    of_concepts = _concept_gradients(bottleneck, dtype, rows)
    for j, gradients in enumerate(of_concepts):
        _put_products(influence[1 + j], adjoint.concepts[j], gradients)
    return influence.permute(1, 2, 0)


def _total(
    bottleneck: Bottleneck, adjoint: Adjoint, dtype: torch.dtype, rows: TrainingData
) -> Tensor:
    """Return the influence of whole rows, (n_targets, n_rows, 1).

    Products add their paths up, so that no path is written.
    """
    total = rows.label_weights.new_empty(len(adjoint.label), len(rows), dtype=dtype)
    gradients = _label_gradients(bottleneck, adjoint.label.dtype, rows)
    _put_products(total, adjoint.label, gradients)
    of_concepts = _concept_gradients(bottleneck, dtype, rows)
    for part, gradients in zip(adjoint.concepts, of_concepts, strict=True):
        total.addmm_(part, gradients.T)
    return total[:, :, None]


def _label_gradients(
    bottleneck: Bottleneck, dtype: torch.dtype, rows: TrainingData
) -> Tensor:
    """Return minus the gradients of the rows' label terms, (n_rows, p)."""
    label, label_rows = bottleneck.label, bottleneck.label_rows(rows)
    activations = label_rows.activations
    probabilities = label.probabilities(bottleneck.label_scores(activations))
    residual = label.residual(probabilities, label_rows.labels)
    weighted = -label_rows.weights[:, None] * residual
    inputs = label.inputs(activations.to(dtype))
    return label_rows.total(outer(weighted.to(dtype), inputs))


def _concept_gradients(
    bottleneck: Bottleneck, dtype: torch.dtype, rows: TrainingData
) -> Iterator[Tensor]:
    """Yield minus the gradients of the rows' annotations, concept by concept.

    They have shape (n_rows, p_j), and take the memory of those before them: memory that
    is new to a process costs more than the numbers that are written to it.
    """
    stack = bottleneck.concepts
    if not stack:
        return
    concept_scores = stack.split(bottleneck.concept_scores(rows.features))
    features = with_ones(rows.features.to(dtype))
    widest = max(head.n_scores for head in stack.heads)
    memory = features.new_empty(widest * features.numel())
    for j, head in enumerate(stack.heads):
        probabilities = head.probabilities(concept_scores[j])
        residual = head.residual(probabilities, rows.concepts[:, j])
        weighted = (-rows.concept_weights[:, j, None] * residual).to(dtype)
        gradients = memory[: head.n_scores * features.numel()]
        gradients = gradients.view(len(features), head.n_scores, -1)
        torch.mul(weighted[:, :, None], features[:, None, :], out=gradients)
        yield gradients.flatten(1)


def _put_products(influence: Tensor, adjoint: Tensor, gradients: Tensor) -> None:
    """Write the inner products with gradients (n_rows, p) into (n_targets, n_rows)."""
    if influence.dtype == adjoint.dtype:
        torch.mm(adjoint, gradients.T, out=influence)
    else:
        influence.copy_(adjoint @ gradients.T)


def _sparse_influence(
    bottleneck: Bottleneck, adjoint: Adjoint, data: TrainingData
) -> Tensor:
    """Return what `_influence` does, from scores instead of gradients.

    A gradient ``residual (x) [x, 1]`` would be dense; its product with an adjoint is
    that of the residual with the adjoint's scores of the row.
    """
    stack, rows = bottleneck.concepts, bottleneck.label_rows(data)
    scores = bottleneck.label_scores(rows.activations)
    terms = _terms(
        bottleneck.label,
        scores,
        rows.labels,
        rows.weights,
        rows.activations,
        adjoint.label,
    )
    parts = [rows.total(terms)]
    concept_scores = stack.split(bottleneck.concept_scores(data.features))
    for j, head in enumerate(stack.heads):
        codes, weights = data.concepts[:, j], data.concept_weights[:, j]
        parts.append(
            _terms(
                head,
                concept_scores[j],
                codes,
                weights,
                data.features,
                adjoint.concepts[j],
            )
        )
    return torch.stack(parts).permute(2, 1, 0)


def _terms(
    head: Head,
    scores: Tensor,
    codes: Tensor,
    weights: Tensor,
    features: Features,
    adjoint: Tensor,
) -> Tensor:
    """Return the influence of one head's terms, (n_rows, n_targets)."""
    residual = head.residual(head.probabilities(scores), codes)
    matrices = adjoint.reshape(len(adjoint) * head.n_scores, -1)
    along = affine(features, matrices).reshape(len(scores), -1, head.n_scores)
    return -weights[:, None] * (along @ residual[:, :, None]).squeeze(2)
