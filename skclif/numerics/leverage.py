"""The removal of loss terms in closed form, the target evaluated without linearising.

Removing a term takes its own curvature out of the Hessian, a low-rank change that the
Woodbury identity solves row by row: with ``A = (I (x) x)' H^-1 (I (x) x)`` and the
term's curvature ``D``, the residual becomes ``(I - w D A)^-1 r`` and the step stays
``w H^-1 (residual (x) x)``. This is approximate leave-one-out.

Through the bottleneck the label head feels the other rows' activations move to first
order. The row's own move most: if the whole row is removed they do not matter, and if
an annotation alone is removed, the row is put at its new place in the label head, with
its gradient and curvature there.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .heads import Head, with_ones
from .influence import Factors, label_gradient_jacobian, outer
from .targets import Target

BLOCK_ROWS = 256


def leverage(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    features: Tensor,
    target: Target,
    combine: Tensor | None = None,
    *,
    paths: bool = True,
    block_rows: int = BLOCK_ROWS,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the effect of every loss term's presence, a block of rows at a time.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    features : Tensor of shape (n_targets, n_features)
    target : Target
        What is evaluated at those rows.
    combine : Tensor of shape (n_answers, n_targets), default=None
        Combinations of targets to answer; None for each target by itself.
    paths : bool
        Whether to remove every loss term by itself too.
    block_rows : int
        Training rows held at a time.

    Yields
    ------
    block : slice
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts) or (…, 1)
        ``target with - target without``: the label's path, the concepts', and their
        interaction, which makes up the removal of the whole row; or that removal alone.
    """
    stack = bottleneck.concepts
    at = _Targets(bottleneck, factors, features, target)
    to_label = [
        torch.cholesky_solve(cross.T, factor).T
        for cross, factor in zip(factors.cross, factors.concepts, strict=True)
    ]
    for block in row_blocks(len(data.features), block_rows):
        rows = data.rows(block)
        label = _LabelTerms(bottleneck, rows, factors)
        inputs = with_ones(rows.features)
        scores = stack.split(bottleneck.concept_scores(rows.features))
        moves, steps, others = [], [], []
        for j, (head, part) in enumerate(zip(stack.heads, scores, strict=True)):
            weights, codes = rows.concept_weights[:, j], rows.concepts[:, j]
            removed, own_scores = _removal(
                head, part, codes, weights, inputs, factors.concepts[j]
            )
            moves.append(at.move(j, removed))
            jacobian = label_gradient_jacobian(
                bottleneck, rows, j, part, label.probabilities, label.inputs
            )
            jacobian = jacobian.reshape(len(part), -1, head.n_scores)
            own = (jacobian @ own_scores[:, :, None]).squeeze(-1)
            others.append(removed @ to_label[j].T - own)
            if paths:
                steps.append(label.step_moved(j, part + own_scores, others[j]))
        nothing = torch.zeros_like(label.gradient)
        pull = sum(others, start=nothing)
        changes = []
        if paths:
            changes.append(at.change({}, label.step_removed(nothing)))
            changes += [at.change({j: moves[j]}, step) for j, step in enumerate(steps)]
        changes.append(at.change(dict(enumerate(moves)), label.step_removed(pull)))
        influence = torch.stack(changes, dim=2)
        # Evaluated twice, what does not change can differ in the last digit.
        present = torch.cat([rows.label_weights[:, None], rows.concept_weights], dim=1)
        present = present > 0
        present = torch.cat([present, present.any(dim=1, keepdim=True)], dim=1)
        influence = torch.where(present[:, -influence.shape[2] :], influence, 0.0)
        influence[:, :, -1] -= influence[:, :, :-1].sum(dim=2)
        if combine is not None:
            influence = torch.einsum("at,tnp->anp", combine, influence)
        yield block, influence


def _removal(
    head: Head,
    scores: Tensor,
    codes: Tensor,
    weights: Tensor,
    inputs: Tensor,
    factor: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return ``w r~ (x) x`` of every row, and how its removal moves its own scores."""
    half = _half_solved(inputs, head.n_scores, factor)
    hat = half @ half.transpose(1, 2)
    probabilities = head.probabilities(scores)
    curvature = weights[:, None, None] * head.curvature(probabilities)
    identity = torch.eye(head.n_scores, dtype=inputs.dtype, device=inputs.device)
    residual = weights[:, None] * head.residual(probabilities, codes)
    left = torch.linalg.solve(identity - curvature @ hat, residual)
    return outer(left, inputs), (hat @ left[:, :, None]).squeeze(-1)


def _half_solved(inputs: Tensor, n_scores: int, factor: Tensor) -> Tensor:
    """Return ``(L^-1 (e_a (x) x))'`` of every row and score, (n_rows, n_scores, p)."""
    columns = _unit_columns(inputs, n_scores)
    half: Tensor = torch.linalg.solve_triangular(factor, columns, upper=False)
    return half.T.reshape(len(inputs), n_scores, -1)


def _unit_columns(inputs: Tensor, n_scores: int) -> Tensor:
    """Return ``e_a (x) x`` for every row and score, (p, n_rows * n_scores)."""
    identity = torch.eye(n_scores, dtype=inputs.dtype, device=inputs.device)
    columns = identity[None, :, :, None] * inputs[:, None, None, :]
    return columns.reshape(len(inputs) * n_scores, -1).T


class _LabelTerms:
    """The label head's Newton steps when rows leave or move, for a block of them.

    Both take a row's curvature out of the Hessian and, if it only moves, put that at
    its new place in.
    """

    def __init__(self, bottleneck: Bottleneck, rows: TrainingData, factors: Factors):
        self.bottleneck, self.rows, self.factor = bottleneck, rows, factors.label
        activations = bottleneck.training_activations(rows)
        self.inputs = bottleneck.label.inputs(activations)
        self.probabilities, self.gradient, self.curvature, self.half = self._at(
            self.inputs
        )

    def step_removed(self, others: Tensor) -> Tensor:
        """Return the step when the row is gone and others pull, (n_block, p).

        Parameters
        ----------
        others : Tensor of shape (n_block, p)
            By how much the gradient of the other rows has changed.
        """
        return self._solve(self.gradient - others, self.half, -self.curvature)

    def step_moved(self, concept: int, scores: Tensor, others: Tensor) -> Tensor:
        """Return the step when a concept's scores of the row are other ones."""
        bottleneck, rows = self.bottleneck, self.rows
        columns = bottleneck.concepts.activations[concept]
        moved = bottleneck.concepts.heads[concept].activations(scores)
        if bottleneck.independent:
            is_true = rows.annotated[:, concept, None]
            moved = torch.where(is_true, self.inputs[:, columns], moved)
        inputs = self.inputs.clone()
        inputs[:, columns] = moved
        _, gradient, curvature, half = self._at(inputs)
        return self._solve(
            self.gradient - gradient - others,
            torch.cat([self.half, half], dim=1),
            _block_diagonal(-self.curvature, curvature),
        )

    def _at(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        head, weights = self.bottleneck.label, self.rows.label_weights
        probabilities = head.probabilities(inputs @ self.bottleneck.label_parameters.T)
        residual = head.residual(probabilities, self.rows.labels)
        return (
            probabilities,
            outer(weights[:, None] * residual, inputs),
            weights[:, None, None] * head.curvature(probabilities),
            _half_solved(inputs, head.n_scores, self.factor),
        )

    def _solve(self, right: Tensor, half: Tensor, curvature: Tensor) -> Tensor:
        """Solve with the Hessian plus each row's low-rank change (Woodbury)."""
        solved = torch.linalg.solve_triangular(self.factor, right.T, upper=False).T
        along = half @ solved[:, :, None]
        hat = half @ half.transpose(1, 2)
        identity = torch.eye(hat.shape[-1], dtype=hat.dtype, device=hat.device)
        inner = torch.linalg.solve(identity + curvature @ hat, curvature @ along)
        solved = solved - (half.transpose(1, 2) @ inner).squeeze(-1)
        step: Tensor = torch.linalg.solve_triangular(
            self.factor.T, solved.T, upper=True
        )
        return step.T


def _block_diagonal(first: Tensor, second: Tensor) -> Tensor:
    """Return matrices with the given blocks, batched."""
    top = torch.nn.functional.pad(first, (0, second.shape[-1]))
    bottom = torch.nn.functional.pad(second, (first.shape[-1], 0))
    return torch.cat([top, bottom], dim=-2)


class _Targets:
    """Targets, evaluated exactly at changed parameters."""

    def __init__(
        self, bottleneck: Bottleneck, factors: Factors, features: Tensor, target: Target
    ):
        self.bottleneck, self.target = bottleneck, target
        stack = bottleneck.concepts
        scores = bottleneck.concept_scores(features)
        activations = bottleneck.activations(features)
        self.concept_scores = stack.split(scores)
        self.inputs = bottleneck.label.inputs(activations)
        self.label_scores = bottleneck.label_scores(activations)
        self.value = target.value(bottleneck, self.label_scores, self.concept_scores)
        inputs = with_ones(features)
        self.solved = [
            torch.cholesky_solve(_unit_columns(inputs, head.n_scores), factor)
            for head, factor in zip(stack.heads, factors.concepts, strict=True)
        ]

    def move(self, concept: int, removed: Tensor) -> tuple[Tensor, Tensor]:
        """Return a concept's scores after removals, and by how much activations move.

        The shapes are (n_block, n_targets, n_scores) and (n_block, n_targets,
        n_activations).
        """
        stack, scores = self.bottleneck.concepts, self.concept_scores[concept]
        moved = scores + (removed @ self.solved[concept]).reshape(-1, *scores.shape)
        activations = stack.heads[concept].activations(moved)
        return moved, activations - self.inputs[:, stack.activations[concept]]

    def change(self, moves: dict[int, tuple[Tensor, Tensor]], step: Tensor) -> Tensor:
        """Return ``target as it is - target after``, (n_targets, n_block).

        Parameters
        ----------
        moves : dict of int to (Tensor, Tensor)
            What `move` gave of the concepts that move.
        step : Tensor of shape (n_block, p)
            Change of the label head's parameters.
        """
        parameters = self.bottleneck.label_parameters
        step = step.reshape(len(step), *parameters.shape)
        label_scores = self.label_scores + self.inputs @ step.transpose(1, 2)
        scores = list(self.concept_scores)
        for j, (moved, shift) in moves.items():
            columns = self.bottleneck.concepts.activations[j]
            weights = (parameters + step)[:, :, columns]
            label_scores = label_scores + shift @ weights.transpose(1, 2)
            scores[j] = moved
        after = self.target.value(self.bottleneck, label_scores, scores)
        return (self.value - after).expand(len(step), -1).T
