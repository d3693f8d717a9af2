"""Effects of removed loss terms on targets, given the changes of the parameters.

Methods differ in how they find the parameters without a row, or without one of its loss
terms. The targets are then evaluated at these parameters, without linearising.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .bottleneck import Bottleneck, TrainingData
from .products import with_ones
from .targets import ConceptTarget, Question, SetTarget

# Most numbers in answers at a time: 128 MB.
_MOST_VALUES = 2**24


@dataclass(frozen=True)
class Removals:
    """Changes of the parameters when rows, or single terms of rows, are removed.

    Attributes
    ----------
    concepts : sequence of Tensor of shape (n_rows, n_scores_j, n_features + 1)
        Changes of every concept head without the row's annotation.
    row : Tensor of shape (n_rows, n_label_scores, n_label_inputs)
        Changes of the label head without the whole row.
    terms : sequence of Tensor, shaped like `row`
        Changes of the label head without the row's label alone, then without each
        annotation alone. Empty if single terms are not removed.
    """

    concepts: Sequence[Tensor]
    row: Tensor
    terms: Sequence[Tensor] = ()


class Answers:
    """Targets, evaluated exactly at changed parameters.

    Parameters
    ----------
    bottleneck : Bottleneck
    questions : sequence of Question
        Targets in blocks. Answers are in the same order.
    dtype : torch.dtype
        Of what concept heads change. Values are of double precision, so that only the
        changes have the digits of this type.
    """

    def __init__(
        self,
        bottleneck: Bottleneck,
        questions: Sequence[Question],
        dtype: torch.dtype = torch.float64,
    ):
        self.parts = [_Answer(bottleneck, question, dtype) for question in questions]
        self.splits_label = bottleneck.residual_scale is not None
        self.n_cases = 2 + len(bottleneck.concepts) + self.splits_label

    def rows_at_once(self, wanted: int, *, paths: bool) -> int:
        """Return how many rows to remove together, at most as many as wanted."""
        n_targets = sum(part.n_values for part in self.parts)
        n_values = n_targets * (self.n_cases if paths else 1)
        return max(1, min(wanted, _MOST_VALUES // max(1, n_values)))

    def influence(
        self, removals: Removals, rows: TrainingData
    ) -> tuple[Tensor, Tensor]:
        """Return the effect of the rows' presence, and how far removals move logits.

        Parameters
        ----------
        removals : Removals
        rows : TrainingData
            The removed rows.

        Returns
        -------
        influence : Tensor of shape (n_answers, n_rows, 2 + n_concepts) or (…, 1)
            ``target with - target without``: the paths of the label and of the
            concepts, and their interaction, which add up to the removal of the whole
            row; or only that removal. Eq. (12) of docs/mathematics.rst. With a
            residual, its part of the label's path is before the interaction: Eq. (56).
        moved : Tensor of shape (n_rows,)
            The largest change of a target's label scores.
        """
        parts, moved = [], []
        weights = [rows.label_weights[:, None], rows.concept_weights]
        weights += weights[:1] * self.splits_label
        present = torch.cat(weights, dim=1) > 0
        present = torch.cat([present, present.any(dim=1, keepdim=True)], dim=1)
        for answer in self.parts:
            effects, shift = answer.effects(removals)
            # If nothing changes, two evaluations can still differ in the last digit.
            kept = present[:, -effects.shape[2] :]
            effects = torch.where(kept, effects, 0.0)
            effects[:, :, -1] -= effects[:, :, :-1].sum(dim=2)
            combine = answer.question.combine
            if combine is not None:
                effects = torch.einsum("at,tnp->anp", combine, effects)
            parts.append(effects)
            moved.append(shift)
        return torch.cat(parts), torch.stack(moved).amax(dim=0)

    def values(self, concepts: Mapping[int, Tensor], label: Tensor) -> Tensor:
        """Return targets at changed parameters, (n_rows, n_targets), not combined.

        Parameters
        ----------
        concepts : dict of int to Tensor of shape (n_rows, n_scores_j, n_features + 1)
            Changes of one concept head, or of all of them, or none.
        label : Tensor of shape (n_rows, n_label_scores, n_label_inputs)
            Changes of the label head.
        """
        return torch.cat([part.values(concepts, label) for part in self.parts], dim=1)

    def probabilities(self, concepts: Mapping[int, Tensor], label: Tensor) -> Tensor:
        """Return label probabilities at changed parameters, as `values`.

        They have shape (n_rows, n_targets, n_classes).
        """
        parts = [part.probabilities(concepts, label) for part in self.parts]
        return torch.cat(parts, dim=1)


class _Answer:
    def __init__(self, bottleneck: Bottleneck, question: Question, dtype: torch.dtype):
        self.bottleneck, self.question = bottleneck, question
        features, stack = question.features, bottleneck.concepts
        activations = bottleneck.activations(features)
        self.features = with_ones(features).to(dtype)
        self.concept_scores = stack.split(bottleneck.concept_scores(features))
        self.concept_probabilities = [
            head.probabilities(scores).T.contiguous().to(dtype)
            for head, scores in zip(stack.heads, self.concept_scores, strict=True)
        ]
        self.inputs = bottleneck.label.inputs(activations)
        self.label_scores = bottleneck.label_scores(activations)
        self.value = self._evaluate(self.label_scores, self.concept_scores)

    @property
    def n_values(self) -> int:
        """Number of values that one removal makes: scores too, if not in blocks."""
        n_scores = self.label_scores.shape[1] + sum(
            scores.shape[1] for scores in self.concept_scores
        )
        is_set = isinstance(self.question.target, SetTarget)
        return len(self.question.features) * (n_scores if is_set else 1)

    def effects(self, removals: Removals) -> tuple[Tensor, Tensor]:
        """Return effects, (n_targets, n_rows, n_cases), and moves of scores, (n_rows,).

        The cases are the label alone, every concept alone and the whole row, or only
        the whole row. With a residual, the label has two parts: the first while the
        residual stays as it is, and before the whole row what the residual adds.
        """
        moves = self._moving(dict(enumerate(removals.concepts)))
        cases: list[tuple[dict[int, tuple[Tensor, Tensor]], Tensor]]
        cases = [({}, step) for step in removals.terms[:1]]
        cases += [({j: moves[j]}, s) for j, s in enumerate(removals.terms[1:])]
        splits_label = self.bottleneck.residual_scale is not None and bool(cases)
        if splits_label:
            cases.append(cases[0])
            cases[0] = {}, self._without_residual(removals.terms[0])
        cases.append((moves, removals.row))
        effects, moved = [], []
        for moving, step in cases:
            after = self._label_scores(moving, step)
            effects.append(-self._changes(moving, after))
            moved.append((after - self.label_scores).abs().amax(dim=(1, 2)))
        if splits_label:
            effects[-2] = effects[-2] - effects[0]
        return torch.stack(effects, dim=2), torch.stack(moved).amax(dim=0)

    def values(self, concepts: Mapping[int, Tensor], label: Tensor) -> Tensor:
        """Return the targets after changes, (n_rows, n_targets)."""
        moving = self._moving(concepts)
        return self._at(moving, self._label_scores(moving, label))

    def probabilities(self, concepts: Mapping[int, Tensor], label: Tensor) -> Tensor:
        """Return label probabilities after changes, (n_rows, n_targets, n_classes)."""
        scores = self._label_scores(self._moving(concepts), label)
        return self.bottleneck.label.probabilities(scores)

    def _changes(
        self, moving: dict[int, tuple[Tensor, Tensor]], label_scores: Tensor
    ) -> Tensor:
        """Return changes of the targets at other scores, (n_targets, n_rows)."""
        return (self._at(moving, label_scores) - self.value).T

    def _at(
        self, moving: dict[int, tuple[Tensor, Tensor]], label_scores: Tensor
    ) -> Tensor:
        """Return the targets at other scores, (n_rows, n_targets)."""
        scores = list(self.concept_scores)
        if isinstance(self.question.target, ConceptTarget):
            for j, (shift, _) in moving.items():
                scores[j] = scores[j] + shift.permute(1, 2, 0).double()
        return self._evaluate(label_scores, scores).expand(len(label_scores), -1)

    def _without_residual(self, step: Tensor) -> Tensor:
        """Return steps of the label head with none of the residual's weights."""
        kept = step.clone()
        kept[:, :, self.bottleneck.residual_inputs] = 0
        return kept

    def _evaluate(self, label_scores: Tensor, concept_scores: list[Tensor]) -> Tensor:
        return self.question.target.value(self.bottleneck, label_scores, concept_scores)

    def _moving(self, steps: Mapping[int, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
        return {j: self._move(j, step) for j, step in steps.items()}

    def _move(self, concept: int, step: Tensor) -> tuple[Tensor, Tensor]:
        """Return how a concept's scores and activations move.

        The shapes are (n_scores, n_rows, n_targets) and (n_activations, n_rows,
        n_targets).
        """
        head = self.bottleneck.concepts.heads[concept]
        flat = step.transpose(0, 1).flatten(0, 1).to(self.features.dtype)
        shift = (flat @ self.features.T).reshape(head.n_scores, len(step), -1)
        return shift, head.activation_change(self.concept_probabilities[concept], shift)

    def _label_scores(
        self, moves: dict[int, tuple[Tensor, Tensor]], step: Tensor
    ) -> Tensor:
        """Return the label scores after changes, (n_rows, n_targets, n_scores)."""
        after = self.label_scores + _scores(self.inputs, step)
        if moves:
            moved = torch.cat([change for _, change in moves.values()])
            positions = [self.bottleneck.concepts.activations[j] for j in moves]
            columns = slice(positions[0].start, positions[-1].stop)  # adjacent
            weights = (self.bottleneck.label_parameters + step)[:, :, columns]
            after += (weights.to(moved.dtype) @ moved.transpose(0, 1)).mT
        return after


def _scores(inputs: Tensor, step: Tensor) -> Tensor:
    """Return how scores move, (n_rows, n_inputs, n_scores), in one product."""
    flat = inputs @ step.flatten(0, 1).T
    return flat.reshape(len(inputs), *step.shape[:2]).transpose(0, 1)


def without_optimum(bottleneck: Bottleneck, data: TrainingData) -> Tensor:
    """Return which rows leave the label head without an optimum when they are removed.

    Each is the only row of a label that is between others: an ordinal head needs it.
    """
    return data.alone & bottleneck.label.needed(data.labels)


def add_questions(questions: Sequence[Question], influence: Tensor) -> Tensor:
    """Return influence on answers, of which each question has a part or its own.

    The influence has shape (n_parts, n_rows, n_paths).
    """
    combine = questions[0].combine
    if combine is None:
        return influence
    return influence.reshape(-1, len(combine), *influence.shape[1:]).sum(dim=0)


def refuse_undefined(influence: Tensor, rows: Tensor) -> None:
    """Refuse rows whose removal leaves a head without curvature; name the first row.

    Raises
    ------
    ValueError
        If some influence, (n_answers, n_rows, n_paths), is not finite.
    """
    undefined = ~influence.isfinite().all(dim=2).all(dim=0)
    if undefined.any():
        row = int(rows[undefined.nonzero()[0]])
        raise ValueError(
            f"The removal of training row {row} is not defined in closed form: it "
            "carries all the curvature of a head to working precision. Use "
            "method='first_order', lower its weight, or lower C and concept_C."
        )
