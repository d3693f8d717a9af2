"""Both stages trained together: one objective of all parameters.

The label's loss trains the concept heads too, through their activations. The objective
is not convex any more, and no head is a problem of its own, so that little of it is in
closed form. What there is, is exact: the gradient, and products with the Hessian, which
are two products with the features for each direction. The solution is the stationary
point that L-BFGS reaches from the heads that were fitted one stage after the other. See
Eqs. (83) to (85) of docs/mathematics.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from .blocked import BlockedHeads
from .blocks import BLOCK_ROWS, Elsewhere, row_blocks, sum_rows
from .bottleneck import (
    Bottleneck,
    ConceptTerms,
    LabelTerms,
    TrainingData,
    concept_problem,
    is_long,
    substitute,
)
from .heads import Head
from .heads.stack import Index
from .products import affine, affine_adjoint, row_squares, with_ones
from .solvers import Convergence, preconditioner_of, tolerances
from .sparse import Features, SparseFeatures
from .steps import Advance, unseen

# Parameters, directions or gradients of m problems: of the concept heads, (m, n_scores,
# n_features + 1), and of the label head, (m, n_label_scores, n_label_inputs).
Pair = tuple[Tensor, Tensor]
Precondition = Callable[[Pair], Pair]

# Most numbers in one array of a pass over rows: 32 MiB.
_LARGEST_ARRAY = 2**22
# Most numbers in the factors of all heads: 1 GiB. Above, a rougher preconditioner.
_LARGEST_FACTORS = 2**27
# Rows whose Hessians are the preconditioner of many.
_SAMPLED = 8192
# Steps that L-BFGS remembers, and trials of its line search.
_MEMORY, _MAX_TRIALS = 100, 40
# From this many times the tolerance on, it is computed at every point.
_NEAR = 10
# Of the weak Wolfe conditions.
_DECREASE, _FLATTER = 1e-4, 0.9


def joint_steps(max_iter: int) -> int:
    """Return how many steps of L-BFGS are allowed, each of which is one gradient."""
    return 10 * max_iter


def weighted(data: TrainingData, concept_weight: float) -> TrainingData:
    """Return the rows with the concepts' weights times the share of their losses."""
    return replace(data, concept_weights=concept_weight * data.concept_weights)


@dataclass(frozen=True)
class Removal:
    """Loss terms that each of m problems lacks: some of one row.

    Attributes
    ----------
    rows : Tensor of shape (m,), int64
    terms : Tensor of shape (m, 1 + n_concepts), bool
        The label's term first.
    """

    rows: Tensor
    terms: Tensor

    def within(self, block: slice) -> Removal:
        """Return the same with positions in a block; nothing is gone elsewhere."""
        rows = self.rows - block.start
        here = (rows >= 0) & (rows < block.stop - block.start)
        return Removal(torch.where(here, rows, 0), self.terms & here[:, None])

    def leave_out(self, values: Tensor, term: int) -> None:
        """Put 0 where a term is gone, in values (n_rows, m, …), in place."""
        problems = self.terms[:, term].nonzero()[:, 0]
        values[self.rows[problems], problems] = 0


@dataclass(frozen=True)
class JointProblem:
    """The objective of both stages: Eq. (83) of docs/mathematics.rst.

    Attributes
    ----------
    bottleneck : Bottleneck
        What heads there are. Its parameters are not used.
    data : TrainingData
        As `weighted`.
    penalty : float
    concept_penalties : Tensor of shape (n_concepts,)
        Times the weight of the concepts' losses.
    """

    bottleneck: Bottleneck
    data: TrainingData
    penalty: float
    concept_penalties: Tensor

    @classmethod
    def of(
        cls,
        bottleneck: Bottleneck,
        data: TrainingData,
        *,
        penalty: float,
        concept_penalties: Tensor,
        concept_weight: float,
    ) -> JointProblem:
        """Return the problem of rows with the concepts' losses times a weight."""
        penalties = concept_weight * concept_penalties.to(data.label_weights)
        return cls(bottleneck, weighted(data, concept_weight), penalty, penalties)

    def without(self, row: int, terms: Tensor) -> JointProblem:
        """Return the problem without some terms of a row, (1 + n_concepts,)."""
        labels = self.data.label_weights.clone()
        concepts = self.data.concept_weights.clone()
        labels[row] = torch.where(terms[0], 0.0, labels[row])
        concepts[row] = torch.where(terms[1:], 0.0, concepts[row])
        data = replace(self.data, label_weights=labels, concept_weights=concepts)
        return replace(self, data=data)

    @cached_property
    def groups(self) -> list[tuple[Head, Index, Index, Tensor]]:
        """Equal heads: positions, and columns of their scores and activations."""
        stack, groups = self.bottleneck.concepts, []
        positions = torch.arange(stack.n_activations)
        for head, members, columns in stack.groups:
            own = torch.arange(len(stack))[members].tolist()
            at = torch.cat([positions[stack.activations[j]] for j in own])
            groups.append((head, members, columns, at))
        return groups

    @cached_property
    def missing(self) -> tuple[Tensor, Tensor]:
        """Which parameters heads do not have, shaped like the parameters."""
        n_inputs = self.data.features.shape[1] + 1
        sizes = [
            *((head, n_inputs) for head in self.bottleneck.concepts.heads),
            (self.bottleneck.label, self.bottleneck.n_label_inputs),
        ]
        parts = []
        for head, width in sizes:
            part = head.missing(width)
            shape = head.n_scores, width
            parts.append(torch.zeros(shape, dtype=torch.bool) if part is None else part)
        device = self.data.label_weights.device
        return torch.cat(parts[:-1]).to(device), parts[-1].to(device)

    def without_missing(self, pair: Pair) -> Pair:
        """Return parameters with 0 for those that heads do not have."""
        concepts, label = self.missing
        return pair[0].masked_fill(concepts, 0.0), pair[1].masked_fill(label, 0.0)

    def penalised(self, pair: Pair) -> Pair:
        """Return the gradient of the penalties, or their Hessian times a direction."""
        concepts, label = pair[0].clone(), pair[1].clone()
        concepts[..., -1], label[..., -1] = 0, 0
        heads = self.bottleneck.concepts.head_of_score.to(concepts.device)
        return self.concept_penalties[heads][:, None] * concepts, self.penalty * label

    def rows_at(
        self, point: Pair, removal: Removal | None = None, block_rows: int = BLOCK_ROWS
    ) -> Iterator[JointRows]:
        """Yield the rows at m points, a block at a time."""
        width = len(point[0]) * (
            self.bottleneck.concepts.n_activations + self.bottleneck.concepts.n_scores
        )
        most = max(1, _LARGEST_ARRAY // width)
        for block in row_blocks(len(self.data), min(block_rows, most)):
            within = None if removal is None else removal.within(block)
            yield JointRows(self, self.data.rows(block), point, within)

    def gradient(
        self, point: Pair, removal: Removal | None = None
    ) -> tuple[Tensor, Pair]:
        """Return values, (m,), and gradients at m points: Eq. (84).

        Values count all terms, also those that are gone.
        """
        gradient = self.penalised(point)
        value = inner(gradient, point) / 2
        if removal is None and isinstance(self.data, Elsewhere):
            nothing: Any = (torch.zeros_like(value), add(gradient, gradient, -1))
            rows: Any = self.data
            sums = sum_rows(partial(_add_terms, self.frame, point), nothing, rows)
            value, gradient = value + sums[0], add(gradient, sums[1], 1)
            return value, self.without_missing(gradient)
        for rows in self.rows_at(point, removal):
            value = value + rows.value()
            for total, part in zip(gradient, rows.gradient(), strict=True):
                total += part
        return value, self.without_missing(gradient)

    @property
    def frame(self) -> JointProblem:
        """The problem of no rows."""
        return replace(self, data=self.data.rows(slice(0, 0)))

    def sampled(self) -> JointProblem:
        """Return the problem of some rows, with penalties that fit their number."""
        data = self.data.sample(_SAMPLED)
        share = len(data) / len(self.data)
        return replace(
            self,
            data=data,
            penalty=share * self.penalty,
            concept_penalties=share * self.concept_penalties,
        )

    def norms(self, gradient: Pair) -> Tensor:
        """Return the norm of every head's gradient of one problem, the label's last."""
        parts = [*self.bottleneck.concepts.split(gradient[0][0].T), gradient[1][0]]
        return torch.stack([torch.linalg.vector_norm(part) for part in parts])

    def tolerance(self, point: Pair, tol: float) -> Tensor:
        """Return the gradient norms of heads that count as 0, the label's last.

        They are those of the heads alone, and not below what the rounding of the
        label's part in a concept's gradient allows.
        """
        bottleneck = with_parameters(self.bottleneck, point)
        n_kept = bottleneck.concepts.n_activations
        pulled = bottleneck.label_parameters[:, :n_kept].abs().sum(dim=0)
        if is_long(self.data):
            return self._tolerance_of_many(bottleneck, pulled, tol)
        concepts = concept_problem(
            bottleneck.concepts, self.data, self.concept_penalties
        )
        label = bottleneck.label_problem(self.data, self.penalty)
        reached = []
        for problem, own in (
            (concepts, bottleneck.concept_parameters),
            (label, bottleneck.label_parameters),
        ):
            probabilities = problem.probabilities(problem.scores(own))
            reached.append(tolerances(problem, probabilities, own, tol)[1])
        norms = row_squares(self.data.features).add(1).sqrt()
        reach = norms @ self.data.label_weights
        return self._with_pulls(reached, reach, pulled)

    def _tolerance_of_many(
        self, bottleneck: Bottleneck, pulled: Tensor, tol: float
    ) -> Tensor:
        """Return the tolerance by passes over blocks of rows."""
        concepts = ConceptTerms(bottleneck.concepts, self.concept_penalties)
        label = LabelTerms(bottleneck, self.penalty)
        reached = [
            BlockedHeads.of(self.data, terms).look(own).tolerances(tol)[1]
            for terms, own in (
                (concepts, bottleneck.concept_parameters),
                (label, bottleneck.label_parameters),
            )
        ]
        reach = sum_rows(_add_reach, pulled.new_zeros(()), self.data)
        return self._with_pulls(reached, reach, pulled)

    def _with_pulls(
        self, reached: list[Tensor], reach: Tensor, pulled: Tensor
    ) -> Tensor:
        """Return gradient norms that are not below the rounding of the label's part."""
        least = 10 * torch.finfo(pulled.dtype).eps * reach
        for j, columns in enumerate(self.bottleneck.concepts.activations):
            reached[0][j] = torch.maximum(reached[0][j], least * pulled[columns].sum())
        return torch.cat(reached)


def _add_terms(
    frame: JointProblem, point: Pair, total: tuple[Tensor, Pair], data: TrainingData
) -> None:
    """Add the terms of rows, and their gradients."""
    value, gradient = total
    for rows in replace(frame, data=data).rows_at(point):
        value += rows.value()
        for part, new in zip(gradient, rows.gradient(), strict=True):
            part += new


def _add_reach(total: Tensor, data: TrainingData) -> None:
    """Add the label's weights times norms of ``[x, 1]``."""
    total += row_squares(data.features).add(1).sqrt() @ data.label_weights


def with_parameters(bottleneck: Bottleneck, point: Pair) -> Bottleneck:
    """Return the bottleneck with the parameters of the only problem of a pair."""
    return replace(
        bottleneck, concept_parameters=point[0][0], label_parameters=point[1][0]
    )


def point_of(bottleneck: Bottleneck) -> Pair:
    """Return the parameters of a bottleneck as those of one problem."""
    return bottleneck.concept_parameters[None], bottleneck.label_parameters[None]


class JointRows:
    """Some rows at m points: their terms of the objective, and the derivatives.

    Arrays have the rows first and the points second.

    Parameters
    ----------
    problem : JointProblem
    rows : TrainingData
    point : Pair
    removal : Removal or None
        Terms that are gone.
    """

    def __init__(
        self,
        problem: JointProblem,
        rows: TrainingData,
        point: Pair,
        removal: Removal | None = None,
    ):
        bottleneck = problem.bottleneck
        self.stack, self.label = bottleneck.concepts, bottleneck.label
        self.groups, self.rows, self.removal = problem.groups, rows, removal
        n, m, n_activations = len(rows), len(point[0]), self.stack.n_activations
        self.n_activations = n_activations
        self.of_activations = point[1][..., :n_activations]
        scores = _scores(rows.features, point[0])
        predicted = scores.new_empty(n, m, n_activations)
        self.heads = []
        for head, members, columns, at in self.groups:
            own = scores[..., columns].reshape(n, m, -1, head.n_scores)
            predicted[..., at] = head.activations(own).flatten(2)
            codes = rows.concepts[:, None, members].expand(own.shape[:-1])
            weights = rows.concept_weights[:, None, members].expand(own.shape[:-1])
            self.heads.append((own, head.probabilities(own), codes, weights))
        nothing = scores.new_empty(n, 0)
        # What no concept moves: the inputs of a residual, and the constant.
        self.fixed = with_ones(bottleneck.with_residual(nothing, rows.features))
        constant = torch.einsum(
            "nf,mkf->nmk", self.fixed, point[1][..., n_activations:]
        )
        self.copies = [
            _Copy(self, share, predicted, constant, known)
            for share, known in bottleneck.copies
        ]

    def value(self) -> Tensor:
        """Return the sum of all terms, (m,)."""
        total = torch.stack([copy.value() for copy in self.copies]).sum(dim=0)
        for (head, *_), (scores, _, codes, weights) in zip(
            self.groups, self.heads, strict=True
        ):
            total = total + (weights * head.loss(scores, codes)).sum(dim=(0, 2))
        return total

    def gradient(self) -> Pair:
        """Return the gradients of the sums of terms: Eq. (84)."""
        label = self._label_sums([(copy.residual, copy.inputs) for copy in self.copies])
        columns = self.through_label + self.of_concepts
        return _pulled_back(self.rows.features, columns), label

    @cached_property
    def through_label(self) -> Tensor:
        """The derivative of the label's terms in concept scores, (n, m, n_scores)."""
        columns = self.pull.new_empty(*self.pull.shape[:2], self.stack.n_scores)
        for (head, _, at_scores, at), (scores, *_) in zip(
            self.groups, self.heads, strict=True
        ):
            pull = self.pull[..., at].reshape(*scores.shape[:-1], -1)
            columns[..., at_scores] = head.activation_pull(scores, pull).flatten(2)
        return columns

    @cached_property
    def of_concepts(self) -> Tensor:
        """The derivative of the concepts' terms in their scores, (n, m, n_scores)."""
        columns = self.pull.new_empty(*self.pull.shape[:2], self.stack.n_scores)
        for (head, _, at_scores, _), (_, p, codes, weights) in zip(
            self.groups, self.heads, strict=True
        ):
            residual = weights[..., None] * head.residual(p, codes)
            columns[..., at_scores] = residual.flatten(2)
        if self.removal is not None:
            for j, own in enumerate(self.stack.scores):
                self.removal.leave_out(columns[..., own], 1 + j)
        return columns

    @cached_property
    def pull(self) -> Tensor:
        """The derivative of the label's terms in activations, (n, m, n_activations)."""
        parts = [c.pulled(c.residual, self.of_activations) for c in self.copies]
        return torch.stack(parts).sum(dim=0)

    def hessian_times(self, direction: Pair, removal: Removal | None = None) -> Pair:
        """Multiply directions by the Hessian at the only point: Eq. (85).

        Parameters
        ----------
        direction : Pair
            Of any number of problems.
        removal : Removal or None
            Terms that these problems lack.
        """
        of_activations = direction[1][..., : self.n_activations]
        along = _scores(self.rows.features, direction[0])
        moved = along @ self._jacobian_turned
        still = torch.einsum(
            "nf,mkf->nmk", self.fixed, direction[1][..., self.n_activations :]
        )
        changed, moves, pull = [], [], torch.zeros_like(moved)
        for copy in self.copies:
            inputs = moved if copy.moving is None else moved * copy.moving
            scores = torch.einsum("nma,mka->nmk", copy.inputs, of_activations) + still
            scores = scores + inputs @ self.of_activations[0].T
            change = scores @ copy.curvature
            if removal is not None:
                removal.leave_out(change, 0)
                removal.leave_out(inputs, 0)
            changed.append((change, copy.inputs))
            moves.append((copy, inputs))
            pull += copy.pulled(change, self.of_activations)
            pull += copy.pulled(copy.residual, of_activations)
        curved = along @ self.bend
        if removal is not None:
            removal.leave_out(curved, 0)
            removal.leave_out(pull, 0)
        own = along @ self.curvature
        if removal is not None:
            for j, columns in enumerate(self.stack.scores):
                removal.leave_out(own[..., columns], 1 + j)
        pulled = pull @ self.jacobian + curved + own
        label = self._label_sums(changed)
        for copy, inputs in moves:
            part = torch.einsum("nmk,nma->mka", copy.residual, inputs)
            label[..., : self.n_activations] += part
        return _pulled_back(self.rows.features, pulled), label

    @cached_property
    def jacobian(self) -> Tensor:
        """The derivative of activations in scores at the only point, (n, A, S)."""
        n = len(self.rows)
        result = self.pull.new_zeros(n, self.n_activations, self.stack.n_scores)
        parts = self._by_head(lambda head, scores, *_: head.activation_jacobian(scores))
        for j, part in parts:
            result[:, self.stack.activations[j], self.stack.scores[j]] = part
        return result

    @cached_property
    def _jacobian_turned(self) -> Tensor:
        return self.jacobian.mT.contiguous()

    @cached_property
    def curvature(self) -> Tensor:
        """The curvature of the concepts' own losses, (n, S, S)."""
        return self._square(
            lambda head, _, p, codes, weights, __: (
                weights[..., None, None] * head.curvature(p, codes)
            )
        )

    @cached_property
    def bend(self) -> Tensor:
        """The curvature of activations, pulled by the label's loss, (n, S, S)."""
        return self._square(
            lambda head, scores, _, __, ___, pull: head.activation_curvature(
                scores, pull
            )
        )

    def _square(self, function: Callable[..., Tensor]) -> Tensor:
        n_scores = self.stack.n_scores
        result = self.pull.new_zeros(len(self.rows), n_scores, n_scores)
        for j, part in self._by_head(function):
            result[:, self.stack.scores[j], self.stack.scores[j]] = part
        return result

    def _by_head(self, function: Callable[..., Tensor]) -> Iterator[tuple[int, Tensor]]:
        """Yield what a function of equal heads gives at the only point, by head."""
        for (head, members, _, at), (scores, p, codes, weights) in zip(
            self.groups, self.heads, strict=True
        ):
            pull = self.pull[..., at].reshape(*scores.shape[:-1], -1)
            values = function(head, scores, p, codes, weights, pull)[:, 0]
            own = torch.arange(len(self.stack))[members].tolist()
            yield from zip(own, values.unbind(dim=1), strict=True)

    def _label_sums(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return ``sum_i column_i (x) [inputs_i, fixed_i]`` over rows and copies."""
        parts = [torch.einsum("nmk,nma->mka", *pair) for pair in pairs]
        columns = torch.stack([column for column, _ in pairs]).sum(dim=0)
        fixed = torch.einsum("nmk,nf->mkf", columns, self.fixed)
        return torch.cat([torch.stack(parts).sum(dim=0), fixed], dim=2)


class _Copy:
    """One copy of the rows as the label head sees them."""

    def __init__(
        self,
        rows: JointRows,
        share: float,
        predicted: Tensor,
        constant: Tensor,
        known: bool,
    ):
        stack, data, label = rows.stack, rows.rows, rows.label
        self.moving, self.inputs, self.label = None, predicted, label
        if known:
            nothing = predicted.new_zeros(len(data), stack.n_activations)
            truth = substitute(stack, nothing, data.concepts, data.annotated)
            sizes = torch.tensor([head.n_activations for head in stack.heads])
            free = ~data.annotated.repeat_interleave(sizes.to(truth.device), dim=1)
            self.moving = free.to(truth)[:, None]
            self.inputs = predicted * self.moving + truth[:, None]
        scores = torch.einsum("nma,mka->nmk", self.inputs, rows.of_activations)
        self.scores = scores + constant
        self.weights = share * data.label_weights[:, None]
        self.codes = data.labels[:, None].expand(scores.shape[:-1])
        self.probabilities = label.probabilities(self.scores)
        self.residual = self.weights[..., None] * label.residual(
            self.probabilities, self.codes
        )
        if rows.removal is not None:
            rows.removal.leave_out(self.residual, 0)

    def value(self) -> Tensor:
        """Return the sum of the label's terms, (m,)."""
        return (self.weights * self.label.loss(self.scores, self.codes)).sum(dim=0)

    def pulled(self, columns: Tensor, of_activations: Tensor) -> Tensor:
        """Pull derivatives in the label's scores back to predicted activations."""
        pulled = torch.einsum("nmk,mka->nma", columns, of_activations)
        return pulled if self.moving is None else pulled * self.moving

    @cached_property
    def curvature(self) -> Tensor:
        """The label's curvature at the only point, (n, K, K)."""
        of_loss = self.label.curvature(self.probabilities[:, 0], self.codes[:, 0])
        return self.weights[..., None] * of_loss


def _scores(features: Features, parameters: Tensor) -> Tensor:
    """Return the scores of m sets of heads, (n, m, n_scores)."""
    flat = affine(features, parameters.flatten(0, 1))
    return flat.reshape(len(flat), *parameters.shape[:2])


def _pulled_back(features: Features, columns: Tensor) -> Tensor:
    """Return ``sum_i column_i (x) [x_i, 1]`` of columns (n, m, S), (m, S, d + 1)."""
    pulled = affine_adjoint(features, columns.flatten(1))
    return pulled.reshape(*columns.shape[1:], -1)


def block_preconditioner(problem: JointProblem, point: Pair) -> Precondition:
    """Return the inverses of the heads' blocks of the Hessian at a point.

    A block leaves out how the label's loss bends activations, so that it is positive
    definite. If blocks are too large, they are taken as ``curvature * X'X + penalty``.

    Parameters
    ----------
    problem : JointProblem
    point : Pair
        Of one problem.
    """
    n_inputs = problem.data.features.shape[1] + 1
    stack = problem.bottleneck.concepts
    sizes = [head.n_scores * n_inputs for head in stack.heads]
    sizes.append(point[1][0].numel())
    is_sparse = isinstance(problem.data.features, SparseFeatures)
    if is_sparse or sum(size**2 for size in sizes) > _LARGEST_FACTORS:
        return _rough_preconditioner(problem, point)
    factors = [torch.linalg.cholesky(block) for block in _blocks(problem, point)]

    def precondition(pair: Pair) -> Pair:
        parts = [*stack.split(pair[0].mT), pair[1].mT]
        solved = [
            torch.cholesky_solve(part.mT.flatten(1).T, factor).T.reshape(part.mT.shape)
            for part, factor in zip(parts, factors, strict=True)
        ]
        return problem.without_missing((torch.cat(solved[:-1], dim=1), solved[-1]))

    return precondition


def _blocks(problem: JointProblem, point: Pair) -> list[Tensor]:
    """Return every head's block of the Hessian without bends, the label's last."""
    stack, label = problem.bottleneck.concepts, problem.bottleneck.label
    n_inputs, like = problem.data.features.shape[1] + 1, point[0]
    shapes = [(head.n_scores, n_inputs) for head in stack.heads]
    shapes.append((label.n_scores, point[1].shape[2]))
    sums = [like.new_zeros(k, q, k, q) for k, q in shapes]
    for rows in problem.rows_at(point):
        features = with_ones(rows.rows.features)
        through = [
            (
                copy,
                rows.jacobian
                if copy.moving is None
                else rows.jacobian * copy.moving.mT,
            )
            for copy in rows.copies
        ]
        for j, columns in enumerate(stack.scores):
            curvature = rows.curvature[:, columns, columns]
            for copy, jacobian in through:
                pulled = rows.of_activations[0] @ jacobian[:, :, columns]
                curvature = curvature + pulled.mT @ copy.curvature @ pulled
            _add_squares(sums[j], curvature, features)
        for copy in rows.copies:
            inputs = torch.cat([copy.inputs[:, 0], rows.fixed], dim=1)
            _add_squares(sums[-1], copy.curvature, inputs)
    penalties = [*problem.concept_penalties.tolist(), problem.penalty]
    missing = [*stack.split(problem.missing[0].T), problem.missing[1].T]
    blocks = []
    for total, penalty, gone in zip(sums, penalties, missing, strict=True):
        k, q = total.shape[:2]
        diagonal = like.new_full((k, q), penalty)
        diagonal[:, -1] = 0
        block = total.reshape(k * q, k * q)
        gone = gone.T.flatten()
        block[gone], block[:, gone] = 0, 0
        diagonal = torch.where(gone, 1.0, diagonal.flatten())
        block.diagonal().add_(diagonal)
        # Biases of a head that rows hardly curve, to working precision.
        least = torch.finfo(block.dtype).eps * len(block) * block.diagonal().amax()
        block.diagonal().add_(least)
        blocks.append(block)
    return blocks


def _add_squares(total: Tensor, curvature: Tensor, inputs: Tensor) -> None:
    """Add ``sum_i curvature_i (x) input_i input_i'`` to (k, q, k, q), in place."""
    for a in range(len(total)):
        for b in range(a + 1):
            square = inputs.T @ (curvature[:, a, b, None] * inputs)
            total[a, :, b] += square
            if a != b:
                total[b, :, a] += square


def _rough_preconditioner(problem: JointProblem, point: Pair) -> Precondition:
    bottleneck, data = with_parameters(problem.bottleneck, point), problem.data
    concepts = concept_problem(bottleneck.concepts, data, problem.concept_penalties)
    label = bottleneck.label_problem(data, problem.penalty)
    parts = [
        preconditioner_of(part.features).at(part, part.probabilities(part.scores(own)))
        for part, own in (
            (concepts, bottleneck.concept_parameters),
            (label, bottleneck.label_parameters),
        )
    ]
    return lambda pair: problem.without_missing((parts[0](pair[0]), parts[1](pair[1])))


def fit_joint(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalties: Tensor,
    concept_weight: float,
    tol: float,
    max_iter: int,
    advance: Advance = unseen,
) -> tuple[Bottleneck, Convergence]:
    """Train both stages together, from the parameters that they have.

    Parameters
    ----------
    bottleneck : Bottleneck
        Fitted one stage after the other, or near the solution.
    data : TrainingData
    penalty : float
        ``1 / C``.
    concept_penalties : Tensor of shape (n_concepts,)
        ``1 / concept_C`` of every concept.
    concept_weight : float
        Weight of the concepts' losses and penalties beside the label's.
    tol : float
        Bound on the gradient norm of every head.
    max_iter : int
        Maximum number of steps of L-BFGS.
    advance : callable
        Called after each step.
    """
    span = None
    data = data if is_long(data) else data.counted()
    if not (
        is_long(data) or isinstance(data.features, SparseFeatures)
    ):  # products are cheaper there
        data, span = data.in_row_space()
    inside = bottleneck.inside(span)
    problem = JointProblem.of(
        inside,
        data,
        penalty=penalty,
        concept_penalties=concept_penalties,
        concept_weight=concept_weight,
    )
    start = point_of(inside)
    near = problem.sampled() if is_long(data) else problem
    point, fit = minimise_jointly(
        problem,
        start,
        block_preconditioner(near, start),
        tol=tol,
        max_iter=max_iter,
        advance=advance,
    )
    return with_parameters(inside, point).outside(span), fit


def relative_joint_gradients(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalties: Tensor,
    concept_weight: float,
) -> Tensor:
    """Return what `relative_gradients` does, of the objective of both stages."""
    problem = JointProblem.of(
        bottleneck,
        data if is_long(data) else data.counted(),
        penalty=penalty,
        concept_penalties=concept_penalties,
        concept_weight=concept_weight,
    )
    point = point_of(bottleneck)
    _, gradient = problem.gradient(point)
    squares = torch.zeros(len(bottleneck.concepts) + 1, dtype=torch.float64)
    for rows in problem.rows_at(point):
        sizes = row_squares(rows.rows.features) + 1
        columns = (rows.through_label + rows.of_concepts)[:, 0]
        for j, part in enumerate(bottleneck.concepts.split(columns)):
            squares[j] += float(sizes @ part.square().sum(dim=1))
        for copy in rows.copies:
            inputs = copy.inputs[:, 0].square().sum(dim=1)
            inputs = inputs + rows.fixed.square().sum(dim=1)
            squares[-1] += float(inputs @ copy.residual[:, 0].square().sum(dim=1))
    typical = (squares / len(problem.data)).sqrt().clamp(min=1e-4)
    return problem.norms(gradient).cpu() / typical


def minimise_jointly(
    problem: JointProblem,
    start: Pair,
    precondition: Precondition,
    *,
    tol: float,
    max_iter: int,
    advance: Advance = unseen,
) -> tuple[Pair, Convergence]:
    """Go from a point to a stationary one by L-BFGS, to a gradient of `tol`.

    The first inverse Hessian of every step is the preconditioner, scaled as the last
    step says. Steps satisfy the weak Wolfe conditions. See Nocedal and Wright (2006),
    Algorithm 7.4.

    Returns
    -------
    point : Pair
    convergence : Convergence
        Of every concept head, and last of the label head.
    """
    # Held weights of the label head do not move, and are not 0.
    point = start
    value, gradient = problem.gradient(point)
    history: list[tuple[Pair, Pair]] = []
    first, n_iter, length, scale = problem.norms(gradient), 0, 1.0, 1.0
    tolerance = problem.tolerance(point, tol)
    while True:
        norms, last = problem.norms(gradient), n_iter >= max_iter or length == 0
        if last or (norms <= _NEAR * tolerance).all():
            tolerance = problem.tolerance(point, tol)
        if last or (norms <= tolerance).all():
            return point, Convergence(
                n_iter,
                norms,
                tolerance,
                torch.zeros_like(norms),
                first,
                torch.full_like(norms, length),
            )
        step = _quasi_newton_step(history, gradient, precondition, scale)
        before = point, gradient
        point, value, gradient, length = _line_search(
            problem, point, value, gradient, step
        )
        moved, turned = add(point, before[0], -1), add(gradient, before[1], -1)
        along = _product(moved, turned)
        if along > 0:
            history = [*history[1 - _MEMORY :], (moved, turned)]
            scale = along / _product(turned, precondition(turned))
        n_iter += 1
        advance(1)


def _quasi_newton_step(
    history: list[tuple[Pair, Pair]],
    gradient: Pair,
    precondition: Precondition,
    scale: float,
) -> Pair:
    """Return the step of L-BFGS, the two loops over pairs of moves and turns."""
    pull, shares = gradient, []
    for moved, turned in reversed(history):
        share = _product(moved, pull) / _product(moved, turned)
        pull = add(pull, turned, -share)
        shares.append(share)
    step = add((pull[0] * 0, pull[1] * 0), precondition(pull), scale)
    for (moved, turned), share in zip(history, reversed(shares), strict=True):
        other = _product(turned, step) / _product(moved, turned)
        step = add(step, moved, share - other)
    return -step[0], -step[1]


def _product(left: Pair, right: Pair) -> float:
    """Return the inner product of one problem's parameters."""
    return float(inner(left, right))


def _line_search(
    problem: JointProblem, point: Pair, value: Tensor, gradient: Pair, step: Pair
) -> tuple[Pair, Tensor, Pair, float]:
    """Return a point along a step with its value and gradient, and the step's length.

    Without a point that is lower, the length is 0.
    """
    slope = _product(gradient, step)
    # Near the optimum, the decrease is smaller than the rounding of the objective.
    slack = 1e3 * torch.finfo(value.dtype).eps * float(value.abs())
    short, far, length = 0.0, float("inf"), 1.0
    for _ in range(_MAX_TRIALS):
        trial = add(point, step, length)
        new_value, new_gradient = problem.gradient(trial)
        if not float(new_value - value) <= _DECREASE * length * slope + slack:
            far = length
        elif _product(new_gradient, step) < _FLATTER * slope:
            short = length
        else:
            return trial, new_value, new_gradient, length
        length = (short + far) / 2 if far < float("inf") else 2 * length
    return point, value, gradient, 0.0


def inner(left: Pair, right: Pair) -> Tensor:
    """Return the inner products of m problems, (m,)."""
    parts = zip(left, right, strict=True)
    first, second = ((a * b).flatten(1).sum(dim=1) for a, b in parts)
    return first + second


def add(left: Pair, right: Pair, factor: float | Tensor) -> Pair:
    """Return ``left + factor * right``, with a number for all problems or for each."""
    if isinstance(factor, Tensor):
        factor = factor[:, None, None]
    return left[0] + factor * right[0], left[1] + factor * right[1]
