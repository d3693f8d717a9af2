"""The removal of loss terms in closed form, the target evaluated without linearising.

Removing a term takes its own curvature out of the Hessian, a low-rank change that the
Woodbury identity solves row by row: with ``A = (I (x) x)' H^-1 (I (x) x)`` and the
term's curvature ``D``, the residual becomes ``(I - w D A)^-1 r`` and the step stays
``w H^-1 (residual (x) x)``. This is approximate leave-one-out; through the bottleneck
the row's own part of the cross term leaves as well.
"""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .heads import Head, SoftmaxHead, with_ones
from .influence import Factors, label_gradient_jacobian, outer
from .targets import Target

BLOCK_ROWS = 256
# One Newton step takes curvature as constant; along 4 logits it changes fiftyfold.
_REACH = 4.0


def leverage(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    features: Tensor,
    target: Target,
    combine: Tensor | None = None,
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
    block_rows : int
        Training rows held at a time.

    Yields
    ------
    block : slice
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts)
        ``target with - target without``: the label's path, the concepts', and their
        interaction, which makes up the removal of the whole row.

    Raises
    ------
    ValueError
        If a row is all that holds a head, so that its removal is not defined.

    Warns
    -----
    UserWarning
        At the end, if removals move scores further than one step can follow.
    """
    stack = bottleneck.concepts
    at = _Targets(bottleneck, factors, features, target)
    to_label = [
        torch.cholesky_solve(cross.T, factor).T
        for cross, factor in zip(factors.cross, factors.concepts, strict=True)
    ]
    furthest = data.features.new_zeros(len(data.features))
    for block in row_blocks(len(data.features), block_rows):
        rows = data.rows(block)
        label = _LabelTerms(bottleneck, rows, factors)
        inputs = with_ones(rows.features)
        scores = bottleneck.concept_scores(rows.features)
        moved, steps, own = [], [], torch.zeros_like(label.step)
        reached = label.own_scores.abs().amax(dim=1)
        for j, head in enumerate(stack.heads):
            part = scores[:, stack.scores[j]]
            weights, codes = rows.concept_weights[:, j], rows.concepts[:, j]
            removed, hat, _ = _removal(
                head, part, codes, weights, inputs, factors.concepts[j]
            )
            moved.append(at.move(j, removed))
            steps.append(removed @ to_label[j].T)
            # What the removal does to the row's own scores, and so to its own part of
            # the label head's gradient.
            own_scores = _own_scores(hat, removed)
            if isinstance(head, SoftmaxHead):  # one step is exact for ridge
                reached = torch.maximum(reached, own_scores.abs().amax(dim=1))
            jacobian = label_gradient_jacobian(
                bottleneck, rows, j, part, label.probabilities, label.inputs
            )
            jacobian = jacobian.reshape(*own.shape, head.n_scores)
            own = own + (jacobian @ own_scores[:, :, None]).squeeze(-1)
        through = torch.stack(steps).sum(dim=0) if steps else torch.zeros_like(own)
        paths = [at.change([], [], label.step)[0]]
        paths += [
            at.change([j], [moved[j]], -label.solve(steps[j]))[0]
            for j in range(len(stack))
        ]
        everything = label.step - label.solve(through) + label.interaction(through, own)
        total, of_targets = at.change(list(range(len(stack))), moved, everything)
        furthest[block] = torch.maximum(reached, of_targets)
        paths.append(total - torch.stack(paths).sum(dim=0))
        influence = torch.stack(paths, dim=2)
        _refuse_undefined(influence, block)
        if combine is not None:
            influence = torch.einsum("at,tnp->anp", combine, influence)
        yield block, influence
    _warn_of_far_removals(furthest)


def _refuse_undefined(influence: Tensor, block: slice) -> None:
    undefined = ~influence.isfinite().all(dim=2).all(dim=0)
    if undefined.any():
        row = block.start + int(undefined.nonzero()[0])
        raise ValueError(
            f"The removal of training row {row} is not defined in closed form: it "
            "carries all the curvature of a head to working precision. Use "
            "method='first_order', lower its weight, or lower C and concept_C."
        )


def _warn_of_far_removals(furthest: Tensor) -> None:
    far = furthest > _REACH
    if far.any():
        most, row = furthest.max(dim=0)
        warnings.warn(
            f"In closed form, the removal of {int(far.sum())} of {len(far)} training "
            f"rows moves a score by more than {_REACH:g} logits (row {int(row)} by "
            f"{float(most):.2g}), further than one Newton step can follow: their "
            "influence can be far off. Retrain without such a row to know, or lower C "
            "and concept_C.",
            UserWarning,
            stacklevel=2,
        )


def _own_scores(hat: Tensor, removed: Tensor) -> Tensor:
    """Return how the removal of each row moves its own scores, (n_rows, k)."""
    step = _blocks_of(removed, hat.shape[1])[:, :, -1]
    return (hat @ step[:, :, None]).squeeze(-1)


def _blocks_of(vectors: Tensor, n_scores: int) -> Tensor:
    return vectors.reshape(len(vectors), n_scores, -1)


def _removal(
    head: Head,
    scores: Tensor,
    codes: Tensor,
    weights: Tensor,
    inputs: Tensor,
    factor: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``w r~ (x) x`` of every row, its hat matrix A, and ``(I - w D A)^-1``."""
    n_rows, k = len(scores), head.n_scores
    identity = torch.eye(k, dtype=inputs.dtype, device=inputs.device)
    columns = identity[None, :, :, None] * inputs[:, None, None, :]
    half = torch.linalg.solve_triangular(
        factor, columns.reshape(n_rows * k, -1).T, upper=False
    )
    half = half.T.reshape(n_rows, k, -1)
    hat = half @ half.transpose(1, 2)
    probabilities = head.probabilities(scores)
    curvature = weights[:, None, None] * head.curvature(probabilities)
    # A singular matrix gives infinities here, which are refused later by row.
    without = torch.linalg.inv_ex(identity - curvature @ hat).inverse
    residual = head.residual(probabilities, codes)
    left = (without @ residual[:, :, None]).squeeze(-1)
    return outer(weights[:, None] * left, inputs), hat, without


class _LabelTerms:
    """The label head's side of removing rows, for a block of them.

    Attributes
    ----------
    step : Tensor of shape (n_block, p)
        Change of the label head's parameters when a row's label goes.
    own_scores : Tensor of shape (n_block, n_scores)
        Change of the row's own label scores by that.
    """

    def __init__(self, bottleneck: Bottleneck, rows: TrainingData, factors: Factors):
        head = bottleneck.label
        self.factor, self.n_scores = factors.label, head.n_scores
        activations = bottleneck.training_activations(rows)
        scores = bottleneck.label_scores(activations)
        self.inputs = with_ones(activations)
        self.probabilities = head.probabilities(scores)
        removed, hat, self.without = _removal(
            head, scores, rows.labels, rows.label_weights, self.inputs, self.factor
        )
        self.own_scores = _own_scores(hat, removed)
        self.step = self.solve(removed)
        self.curvature = rows.label_weights[:, None, None] * head.curvature(
            self.probabilities
        )

    def solve(self, right: Tensor) -> Tensor:
        """Multiply rows by the inverse Hessian."""
        return torch.cholesky_solve(right.T, self.factor).T

    def interaction(self, through: Tensor, own: Tensor) -> Tensor:
        """Return what the label's removal and the concepts' do to each other.

        Parameters
        ----------
        through : Tensor of shape (n_block, p)
            ``B`` times the change of the concept heads.
        own : Tensor of shape (n_block, p)
            The same of the row's own part of ``B``.
        """
        moved = _blocks_of(self.solve(through - own), self.n_scores)
        u = moved @ self.inputs[:, :, None]
        back = (self.without @ self.curvature @ u).squeeze(-1)
        return self.solve(own - outer(back, self.inputs))


class _Targets:
    """Targets, evaluated exactly at changed parameters."""

    def __init__(
        self, bottleneck: Bottleneck, factors: Factors, features: Tensor, target: Target
    ):
        self.bottleneck, self.target = bottleneck, target
        self.features = features
        self.concept_scores = bottleneck.concept_scores(features)
        self.activations = bottleneck.activations(features)
        self.label_scores = bottleneck.label_scores(self.activations)
        self.value = target.value(bottleneck, self.label_scores, self.concept_scores)
        inputs = with_ones(features)
        self.solved = [
            _solve_scores(inputs, head.n_scores, factor)
            for head, factor in zip(
                bottleneck.concepts.heads, factors.concepts, strict=True
            )
        ]

    def move(self, concept: int, removed: Tensor) -> Tensor:
        """Return how removals move a concept's scores, (n_block, n_targets, k)."""
        n_scores = self.bottleneck.concepts.heads[concept].n_scores
        moved = removed @ self.solved[concept]
        return moved.reshape(len(removed), len(self.features), n_scores)

    def change(
        self, concepts: list[int], moved: list[Tensor], step: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return ``target as it is - target after``, and how far label scores move.

        The shapes are (n_targets, n_block) and (n_block,).

        Parameters
        ----------
        concepts : list of int
            Concepts whose scores move.
        moved : list of Tensor of shape (n_block, n_targets, n_scores_j)
            By how much.
        step : Tensor of shape (n_block, p)
            Change of the label head's parameters.
        """
        stack = self.bottleneck.concepts
        shape = (len(step), *self.concept_scores.shape)
        scores = self.concept_scores.expand(shape)
        activations = self.activations.expand(len(step), *self.activations.shape)
        if concepts:
            scores, activations = scores.clone(), activations.clone()
        for j, shift in zip(concepts, moved, strict=True):
            scores[..., stack.scores[j]] += shift
            part = stack.heads[j].activations(scores[..., stack.scores[j]])
            activations[..., stack.activations[j]] = part
        parameters = self.bottleneck.label_parameters + _blocks_of(
            step, self.bottleneck.label.n_scores
        )
        label_scores = with_ones(activations) @ parameters.transpose(1, 2)
        after = self.target.value(self.bottleneck, label_scores, scores)
        furthest = (label_scores - self.label_scores).abs().amax(dim=(1, 2))
        return (self.value - after).T, furthest


def _solve_scores(inputs: Tensor, n_scores: int, factor: Tensor) -> Tensor:
    """Return ``H^-1 (e_a (x) x)`` for every target and score, (p, n_targets * k)."""
    identity = torch.eye(n_scores, dtype=inputs.dtype, device=inputs.device)
    columns = identity[None, :, :, None] * inputs[:, None, None, :]
    return torch.cholesky_solve(columns.reshape(len(inputs) * n_scores, -1).T, factor)
