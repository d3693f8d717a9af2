"""The removal of loss terms in closed form, the target evaluated without linearising.

The removal of a term takes its own curvature out of the Hessian. This is a low-rank
change, which the Woodbury identity solves row by row: with ``A = (I (x) x)' H^-1 (I (x)
x)`` and the term's curvature ``D``, the residual becomes ``(I - w D A)^-1 r`` and the
step stays ``w H^-1 (residual (x) x)``. This is approximate leave-one-out.

Through the bottleneck, the activations of the other rows move, and the label head
follows to first order. The row's own activations move most. If the whole row is
removed, they do not matter. If only an annotation is removed, the row gets its new
place in the label head, with its gradient and curvature there. The step of the label
head is computed at the old activations; the common move of all rows carries it over to
the new activations. See Eqs. (12) to (18) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks, sum_rows
from .bottleneck import Bottleneck, LabelRows, TrainingData
from .heads import Head
from .hessians import Factors, label_gradient_jacobian
from .inverses import Inverse
from .products import outer, with_ones
from .removal import Answers, Removals, refuse_undefined
from .targets import Question

BLOCK_ROWS = 256
# A Newton step assumes constant curvature; along 4 logits it changes fiftyfold.
_REACH = 4.0
# Of so many label inputs and scores by row, moves of rows take less than a map.
_FEW = 2


def leverage(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    questions: Sequence[Question],
    removed: Tensor | None = None,
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
    questions : sequence of Question
    removed : Tensor of shape (n_removed,), int64, default=None
        Positions of the training rows to remove, one at a time. None is all rows.
    paths : bool
        Whether to remove every loss term by itself too.
    block_rows : int
        Number of training rows per block.

    Yields
    ------
    block : slice
        A slice of `removed`.
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts) or (…, 1)
        ``target with - target without``: the paths of the label and of the concepts,
        and their interaction, which add up to the removal of the whole row; or only
        that removal.

    Raises
    ------
    ValueError
        If a row determines a head alone, so that its removal is not defined.

    Warns
    -----
    InfluenceWarning
        After the last block, if removals move scores further than one step can follow.
    """
    if removed is None:
        removed = torch.arange(len(data.features), device=data.features.device)
    answers = Answers(bottleneck, questions)
    step = Step(bottleneck, data, factors)
    block_rows = answers.rows_at_once(block_rows, paths=paths)
    reached = data.features.new_zeros(len(removed))
    for block in row_blocks(len(removed), block_rows):
        rows = data.rows(removed[block])
        removals, own = step.removals(rows, paths=paths)
        influence, moved = answers.influence(removals, rows)
        reached[block] = torch.maximum(own, moved)
        refuse_undefined(influence, removed[block])
        yield block, influence
    _warn_of_far_removals(reached, removed)


def _warn_of_far_removals(reached: Tensor, removed: Tensor) -> None:
    far = reached > _REACH
    if far.any():
        most, row = reached.max(dim=0)
        warn_user(
            f"In closed form, the removal of {int(far.sum())} of {len(far)} training "
            f"rows moves a score by more than {_REACH:g} logits (row "
            f"{int(removed[row])} by {float(most):.2g}), further than one Newton step "
            "can follow: their influence can be far off. Use method='newton', or lower "
            "C and concept_C.",
            InfluenceWarning,
        )


class Step:
    """One Newton step of both stages for every removal."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.bottleneck, self.factors = bottleneck, factors
        self.to_label = [
            inverse.solve(cross.T).T
            for cross, inverse in zip(factors.cross, factors.concepts, strict=True)
        ]
        self.drift = _Drift(bottleneck, data, factors)

    def removals(self, rows: TrainingData, *, paths: bool) -> tuple[Removals, Tensor]:
        """Return the steps for a block of rows, and how far their own scores move."""
        bottleneck, drift = self.bottleneck, self.drift
        label = _LabelTerms(bottleneck, rows, self.factors)
        alone = label.step_removed(torch.zeros_like(label.gradient))
        shifts, terms = [label.own_shift(alone)], [alone]
        concepts, pulls, drifts = [], [], []
        scores = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
        inputs = with_ones(rows.features)
        for j, part in enumerate(scores):
            head, inverse = bottleneck.concepts.heads[j], self.factors.concepts[j]
            codes, weights = rows.concepts[:, j], rows.concept_weights[:, j]
            terms_removed, shift = remove_terms(
                head, part[:, None], codes, weights[:, None], inputs[:, None], inverse
            )
            if not head.is_quadratic:  # otherwise one step is exact
                shifts.append(shift)
            jacobian = label.gradient_jacobian(j, part)
            pulls.append(terms_removed @ self.to_label[j].T - _times(jacobian, shift))
            own = label.linear_move(j, part, shift)
            change = inverse.solve(terms_removed.T).T
            drifts.append(drift.of(j, terms_removed, change) - drift.share(label, own))
            concepts.append(change)
            if paths:
                own = label.own_move(j, part + shift)
                step = label.step_moved(j, own, pulls[j])
                together = drifts[j] + drift.share(label, own)
                terms.append(drift.carry_over(step, {j: together}))
        step = label.step_removed(sum(pulls, start=torch.zeros_like(label.gradient)))
        shifts.append(label.own_shift(step))  # the pull can be far where the row is not
        step = drift.carry_over(step, dict(enumerate(drifts)))
        removals = Removals(
            [
                _by_score(c, h)
                for c, h in zip(concepts, bottleneck.concepts.heads, strict=True)
            ],
            _by_score(step, bottleneck.label),
            [_by_score(term, bottleneck.label) for term in terms] if paths else (),
        )
        return removals, torch.cat(shifts, dim=1).abs().amax(dim=1)


def _by_score(step: Tensor, head: Head) -> Tensor:
    """Return steps (n_block, p) as (n_block, n_scores, n_inputs)."""
    return step.reshape(len(step), head.n_scores, -1)


def remove_terms(
    head: Head,
    scores: Tensor,
    codes: Tensor,
    weights: Tensor,
    inputs: Tensor,
    inverse: Inverse,
) -> tuple[Tensor, Tensor]:
    """Return ``w r~ (x) x`` of every row, and how its removal moves the row's scores.

    Eqs. (13) and (14) of docs/mathematics.rst.

    Parameters
    ----------
    head : Head
    scores : Tensor of shape (n_rows, n_copies, n_scores)
        All copies of a row are removed together.
    codes : Tensor of shape (n_rows,)
    weights : Tensor of shape (n_rows, n_copies)
    inputs : Tensor of shape (n_rows, n_copies, n_inputs)
    inverse : Inverse
        Of the head's Hessian, (p, p).

    Returns
    -------
    removed : Tensor of shape (n_rows, p)
        Summed over the copies.
    shift : Tensor of shape (n_rows, n_copies * n_scores)
    """
    hat = inverse.hat(inputs)
    probabilities = head.probabilities(scores)
    curvature = weights[:, :, None, None] * head.curvature(
        probabilities, codes[:, None]
    )
    identity = torch.eye(hat.shape[1], dtype=inputs.dtype, device=inputs.device)
    residual = weights[:, :, None] * head.residual(probabilities, codes[:, None])
    # A singular matrix gives infinities; `refuse_undefined` names the row later.
    left = torch.linalg.solve_ex(
        identity - block_diagonal(curvature) @ hat, residual.flatten(1)
    ).result
    removed = left.reshape(residual.shape).transpose(1, 2) @ inputs
    return removed.flatten(1), _times(hat, left)


def block_diagonal(blocks: Tensor) -> Tensor:
    """Return matrices (n, n_blocks, k, k) as (n, n_blocks * k, n_blocks * k)."""
    n_blocks, k = blocks.shape[1:3]
    if n_blocks == 1:
        return blocks[:, 0]
    matrix = blocks.new_zeros(len(blocks), n_blocks, k, n_blocks, k)
    matrix.diagonal(dim1=1, dim2=3).copy_(blocks.movedim(1, -1))
    return matrix.flatten(3).flatten(1, 2)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply a vector by a matrix, row by row."""
    return (matrices @ vectors[:, :, None]).squeeze(-1)


class _Terms(NamedTuple):
    """The label's terms of some rows, copy by copy.

    Attributes
    ----------
    gradients : Tensor of shape (n_rows, n_copies, p)
    curvature : Tensor of shape (n_rows, n_copies, k, k)
    inputs : Tensor of shape (n_rows, n_copies, n_inputs)
    """

    gradients: Tensor
    curvature: Tensor
    inputs: Tensor

    def of(self, copies: slice) -> "_Terms":
        """Return the terms of some of the copies."""
        return _Terms(*(part[:, copies] for part in self))


class _LabelTerms:
    """Newton steps of the label head for a block of rows that are removed or move.

    Both take a row's curvature out of the Hessian. If the row only moves, its curvature
    at the new place is put in. All copies of a row are removed together.
    """

    def __init__(self, bottleneck: Bottleneck, rows: TrainingData, factors: Factors):
        self.bottleneck, self.inverse = bottleneck, factors.label
        self.rows = bottleneck.label_rows(rows)
        self.inputs = bottleneck.label.inputs(self.rows.activations)
        self.here = self._at(self.inputs, slice(None))
        self.gradient = self.here.gradients.sum(dim=1)
        # Only the copy with predicted activations moves: where the other copy follows
        # the concept heads, there is no annotation to remove.
        n_predicted = sum(not known for _, known in bottleneck.copies)
        self.predicted = slice(0, n_predicted)

    @cached_property
    def hat(self) -> Tensor:
        """``U' H^-1 U`` of all copies of each row."""
        return self.inverse.hat(self.here.inputs)

    @cached_property
    def probabilities(self) -> Tensor:
        """Probabilities of the labels of all copies."""
        scores = self.inputs @ self.bottleneck.label_parameters.T
        return self.bottleneck.label.probabilities(scores)

    def own_shift(self, step: Tensor) -> Tensor:
        """Return how steps (n_block, p) move the row's own scores."""
        matrices = step.reshape(len(step), -1, self.inputs.shape[1])
        inputs = self.rows.by_row(self.inputs)
        return (inputs @ matrices.transpose(1, 2)).flatten(1)

    def step_removed(self, others: Tensor) -> Tensor:
        """Return the step without the row, (n_block, p).

        Eq. (15) of docs/mathematics.rst.

        Parameters
        ----------
        others : Tensor of shape (n_block, p)
            Change of the gradient of the other rows.
        """
        here, right = self.here, self.gradient - others
        return self._solve(right, here.inputs, -here.curvature, self.hat)

    def own_move(self, concept: int, scores: Tensor) -> Tensor:
        """Return how the row's activations move if a concept has other scores."""
        stack = self.bottleneck.concepts
        moved = self.rows.repeated(stack.heads[concept].activations(scores))
        move = moved - self.inputs[:, stack.activations[concept]]
        return torch.where(self.rows.moving[:, concept, None], move, 0.0)

    def linear_move(self, concept: int, scores: Tensor, shift: Tensor) -> Tensor:
        """Return how the row's activations move with a concept's scores, linearised."""
        head = self.bottleneck.concepts.heads[concept]
        jacobian = self.rows.activation_jacobian(head, concept, scores)
        return _times(jacobian, self.rows.repeated(shift))

    def step_moved(self, concept: int, own: Tensor, others: Tensor) -> Tensor:
        """Return the step when a concept's activations of the row move by `own`.

        Eq. (16) of docs/mathematics.rst.
        """
        inputs = self.inputs.clone()
        inputs[:, self.bottleneck.concepts.activations[concept]] += own
        before = self.here.of(self.predicted)
        after = self._at(inputs, self.predicted)
        return self._solve(
            (before.gradients - after.gradients).sum(dim=1) - others,
            torch.cat([before.inputs, after.inputs], dim=1),
            torch.cat([-before.curvature, after.curvature], dim=1),
        )

    def gradient_jacobian(self, concept: int, scores: Tensor) -> Tensor:
        """Return the rows' gradients' derivative, (n_block, p, n_concept_scores)."""
        jacobian = label_gradient_jacobian(
            self.bottleneck,
            self.rows,
            concept,
            scores,
            self.probabilities,
            self.inputs,
        )
        return jacobian.transpose(2, 3).flatten(1, 2)

    def _at(self, inputs: Tensor, copies: slice) -> "_Terms":
        """Return the label's terms of some copies of the rows at some inputs."""
        head = self.bottleneck.label
        inputs, labels, weights = (
            self.rows.by_row(values)[:, copies]
            for values in (inputs, self.rows.labels, self.rows.weights)
        )
        probabilities = head.probabilities(inputs @ self.bottleneck.label_parameters.T)
        residual = weights[:, :, None] * head.residual(probabilities, labels)
        gradients = residual[:, :, :, None] * inputs[:, :, None, :]
        return _Terms(
            gradients.flatten(2),
            weights[:, :, None, None] * head.curvature(probabilities, labels),
            inputs,
        )

    def _solve(
        self,
        right: Tensor,
        inputs: Tensor,
        curvature: Tensor,
        hat: Tensor | None = None,
    ) -> Tensor:
        """Solve with the Hessian plus each row's low-rank change (Woodbury).

        The inputs have shape (n_rows, n_changes, n_inputs), the curvature (n_rows,
        n_changes, k, k).
        """
        hat = self.inverse.hat(inputs) if hat is None else hat
        curvature = block_diagonal(curvature)
        solved = self.inverse.solve(right.T).T
        by_score = solved.reshape(len(solved), -1, inputs.shape[2])
        along = (inputs @ by_score.mT).flatten(1)[:, :, None]
        identity = torch.eye(hat.shape[-1], dtype=hat.dtype, device=hat.device)
        changed = identity + curvature @ hat
        inner = torch.linalg.solve_ex(changed, curvature @ along).result
        k = self.bottleneck.label.n_scores
        change = inner.reshape(*inputs.shape[:2], k).mT @ inputs
        return solved - self.inverse.solve(change.flatten(1).T).T


# Features with a constant, Jacobians of activations, and weighted inputs, of every row.
_Moves: TypeAlias = tuple[Tensor, Tensor, Tensor]


class _Drift:
    """How activations move on all training rows together: ``z' ~ z (I + K)``.

    K comes from a regression of the moves on ``[z, 1]``, with the weights and the
    penalty of the label head. If a rare value of a concept loses a row, the concept
    becomes less sure on all rows, and larger weights of the label head compensate for
    that: its step is the same function of the activations, written in the new
    activations. See Eqs. (17) and (18) of docs/mathematics.rst.
    """

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.bottleneck, stack = bottleneck, bottleneck.concepts
        if not stack:
            return  # the inputs of the label head do not move
        counted = data.counted()
        n_inputs, n_features = bottleneck.n_label_inputs, data.features.shape[1] + 1
        gram = data.features.new_zeros(n_inputs, n_inputs)
        # The map of a head of many values is larger than the moves of a few rows.
        self.moves = [
            self._moves(counted, j)
            if len(counted) * _FEW < head.n_scores * n_inputs
            else None
            for j, head in enumerate(stack.heads)
        ]
        moments = [
            gram.new_zeros(
                0 if moves else head.n_activations * head.n_scores * n_inputs,
                n_features,
            )
            for head, moves in zip(stack.heads, self.moves, strict=True)
        ]
        sum_rows(self._add_rows, (gram, moments), counted)
        penalised = torch.full_like(gram[0], factors.penalty)
        penalised[-1] = 0
        self.factor = torch.linalg.cholesky(gram + torch.diag(penalised))
        self.maps = [
            None if moves else self._map(moment, head, inverse)
            for moment, head, inverse, moves in zip(
                moments, stack.heads, factors.concepts, self.moves, strict=True
            )
        ]

    def _add_rows(self, total: tuple[Tensor, list[Tensor]], rows: TrainingData) -> None:
        """Add rows to the products of inputs and to their moments, in place."""
        gram, moments = total
        stack, label_rows = self.bottleneck.concepts, self.bottleneck.label_rows(rows)
        inputs = self.bottleneck.label.inputs(label_rows.activations)
        weighted = self._weighted(label_rows, inputs)
        gram += inputs.T @ weighted
        features = with_ones(rows.features)
        scores = stack.split(self.bottleneck.concept_scores(rows.features))
        for j, (head, part) in enumerate(zip(stack.heads, scores, strict=True)):
            if self.moves[j]:
                continue
            jacobian = label_rows.activation_jacobian(head, j, part).flatten(1)
            moments[j] += label_rows.total(outer(jacobian, weighted)).T @ features

    def of(self, concept: int, removed: Tensor, change: Tensor) -> Tensor:
        """Return K, to first order, of removals, (n_block, n_inputs, n_activations).

        Parameters
        ----------
        concept : int
        removed : Tensor of shape (n_block, p)
            ``w r~ (x) x`` of every row.
        change : Tensor of shape (n_block, p)
            ``H^-1 removed``.
        """
        n_activations, moves = (
            self.bottleneck.concepts.heads[concept].n_activations,
            self.moves[concept],
        )
        mapped = self.maps[concept]
        if moves is None:
            assert mapped is not None
            drift = removed @ mapped
            return drift.reshape(len(removed), len(self.factor), n_activations)
        features, jacobian, weighted = moves
        by_score = change.reshape(len(change), -1, features.shape[1])
        n_copies = len(jacobian) // len(features)
        # Of every row, the moves by all removals in one product.
        scores = (features @ by_score.flatten(0, 1).T).reshape(
            len(features), len(change), -1
        )
        moved = jacobian @ scores.mT.repeat(n_copies, 1, 1)
        total = weighted.T @ moved.flatten(1)
        solved = torch.cholesky_solve(total, self.factor)
        solved = solved.reshape(len(solved), n_activations, len(change))
        return solved.permute(2, 0, 1)

    def share(self, label: "_LabelTerms", moves: Tensor) -> Tensor:
        """Return what the moves of the block's own rows add to K."""
        weighted = self._weighted(label.rows, label.inputs)
        solved = torch.cholesky_solve(weighted.T, self.factor).T
        return label.rows.total(solved[:, :, None] * moves[:, None, :])

    def carry_over(self, step: Tensor, drifts: dict[int, Tensor]) -> Tensor:
        """Return steps (n_block, p) for activations that K of each concept moved."""
        step = step.reshape(len(step), self.bottleneck.label.n_scores, -1)
        carried = step
        for j, drift in drifts.items():
            columns = self.bottleneck.concepts.activations[j]
            carried = carried - step[:, :, columns] @ drift.transpose(1, 2)
        return carried.flatten(1)

    def _weighted(self, rows: LabelRows, inputs: Tensor) -> Tensor:
        label = self.bottleneck.label
        scores = self.bottleneck.label_scores(inputs[:, :-1])
        curvature = label.mean_curvature(label.probabilities(scores), rows.labels)
        return (rows.weights * curvature)[:, None] * inputs

    def _moves(self, rows: TrainingData, concept: int) -> "_Moves":
        """Return what moves the activations of rows with a concept's parameters."""
        stack, label_rows = self.bottleneck.concepts, self.bottleneck.label_rows(rows)
        inputs = self.bottleneck.label.inputs(label_rows.activations)
        scores = stack.split(self.bottleneck.concept_scores(rows.features))[concept]
        jacobian = label_rows.activation_jacobian(stack.heads[concept], concept, scores)
        return with_ones(rows.features), jacobian, self._weighted(label_rows, inputs)

    def _map(self, moment: Tensor, head: Head, inverse: Inverse) -> Tensor:
        """Return the map from removals ``w r~ (x) x`` to K, flattened."""
        moment = moment.reshape(
            head.n_activations, head.n_scores, len(self.factor), moment.shape[1]
        )
        solved = torch.cholesky_solve(moment.movedim(2, 0).flatten(1), self.factor)
        solved = solved.reshape(len(solved), *moment.shape[:2], moment.shape[3])
        return inverse.solve(solved.flatten(0, 1).flatten(1).T)
