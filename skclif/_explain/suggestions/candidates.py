"""Possible changes of training rows, and the effect of each alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..._inputs.progress import SILENT, Progress
from ..._inputs.tensors import numbers_of
from ..._inputs.training_rows import TrainingRows
from ...numerics import suggestions
from ...numerics.blocks import map_rows, row_blocks
from ...numerics.bottleneck import TrainingData
from ...numerics.first_order import Adjoint
from ...numerics.removal import Answers
from ...numerics.steps import Advance
from ..solved import Solved
from .believed import Believed
from .validation import Validation

KINDS = ("relabel", "annotate", "reweight", "drop")
FACTORS = (2.0, 0.5)  # of weights: what "reweight" tries
DROP = 0.0
# Numbers of the paths that changes act on; concept j has the number 1 + j.
LABEL, ROW = 0, -1


@dataclass(frozen=True)
class Changes:
    """Changes of training rows: each array has one entry per change.

    Attributes
    ----------
    rows : ndarray of int
    paths : ndarray of int
        `LABEL`, one plus the position of a concept, or `ROW`.
    values : ndarray of float
        Code of the label; code or number of the annotation; factor of the weight.
    effects : ndarray of float
        Effect of each change alone on the mean target.
    """

    rows: np.ndarray
    paths: np.ndarray
    values: np.ndarray
    effects: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: np.ndarray) -> Changes:
        """Return some of the changes."""
        return Changes(
            self.rows[kept], self.paths[kept], self.values[kept], self.effects[kept]
        )


@dataclass(frozen=True)
class CandidateEdits:
    """The possible changes.

    Attributes
    ----------
    solved : Solved
    kinds : tuple of str
    row_weights : Tensor of shape (n_samples,)
        Weights of their labels, without those of classes.
    annotation_weights : Tensor of shape (n_samples, n_concepts)
        Weights of present annotations, and of missing annotations if they were added.
    class_weights : Tensor of shape (n_classes,)
    higher_is_better : bool
        Whether a higher target is good.
    believed : Believed or None
        What is believed of present values. None lets every value take the place of any
        other, whatever is true: to measure what believing is worth.
    progress : Progress
        Shows its bars.
    """

    solved: Solved
    kinds: tuple[str, ...]
    row_weights: torch.Tensor
    annotation_weights: torch.Tensor
    class_weights: torch.Tensor
    higher_is_better: bool
    believed: Believed | None = None
    progress: Progress = SILENT

    def best(self, adjoint: Adjoint) -> tuple[list[Changes], int]:
        """Return the best change of each row and path, and how many were compared.

        The list has one entry for each target of the adjoint. So that many changes can
        be compared, their effects are linear in the moves of the parameters.
        """
        n_rows = len(self.solved.data)
        with self.progress.stage("Comparing changes", n_rows) as advance:
            return self._best(adjoint, advance)

    def _best(self, adjoint: Adjoint, advance: Advance) -> tuple[list[Changes], int]:
        closed_form, compared = self._closed_form(), 0
        parts: list[list[Changes]] = [[] for _ in adjoint.label]
        for block, changed in map_rows(
            closed_form.of, self.solved.data, suggestions.BLOCK_ROWS
        ):
            rows = np.arange(block.start, block.stop)
            linear = suggestions.LinearEffects(changed, adjoint)
            # Rows with a value to mend are not dropped: it is the value that is wrong.
            mended = np.zeros((len(parts), len(rows)), dtype=bool)
            for path, values in self._values().items():
                proposed, possible = self._proposals(rows, path, values)
                effects = np.stack(
                    [
                        numbers_of(
                            linear.of(self._moves(changed, rows, path, value, own))
                        )
                        for value, own in zip(proposed, possible, strict=True)
                    ]
                )
                # A row that determines a head alone cannot be removed.
                possible = possible[:, None] & np.isfinite(effects)
                compared += int(possible[:, 0].sum())
                if path == ROW:
                    possible &= ~mended
                best = np.where(possible, self.benefit(effects), -np.inf).argmax(axis=0)
                for t, chosen in enumerate(best):
                    everyone = np.arange(len(rows))
                    found = effects[chosen, t, everyone]
                    there = possible[chosen, t, everyone]
                    paths = np.full(len(rows), path)
                    value = proposed[chosen, everyone]
                    parts[t].append(Changes(rows, paths, value, found).take(there))
                    if self.believed is not None and path != ROW:
                        replaced = self.believed.replaceable[rows, path]
                        mended[t] |= replaced & there & (self.benefit(found) > 0)
            advance(len(rows))
        return [_together(part) for part in parts], compared

    def means(
        self, changes: Changes, validation: Validation, shares: np.ndarray
    ) -> np.ndarray:
        """Return the effect of each change alone on means over validation rows.

        Unlike effects by an adjoint, they are not linear in the moves of parameters:
        the target is evaluated where they move.

        Parameters
        ----------
        changes : Changes
        validation : Validation
        shares : ndarray of shape (n_means, n_validation)
            Shares of the rows in every mean.

        Returns
        -------
        effects : ndarray of shape (n_changes, n_means)
        """
        of_means = validation.of_means(shares)
        effects = np.zeros((len(changes), len(shares)))
        for own, outcomes, _ in self._outcomes(changes, validation):
            effects[own] = of_means(outcomes)
        return effects

    def effects(
        self, changes: Changes, validation: Validation
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the effect of each change alone on every validation row.

        Like those on means, they are not linear in the moves of parameters.

        Returns
        -------
        effects : ndarray of shape (n_changes, n_validation)
        reach : ndarray of shape (n_changes,)
            How far each change moves the scores of its row at most.
        """
        before = validation.outcomes(self.solved)
        effects = np.zeros((len(changes), len(validation)))
        reach = np.zeros(len(changes))
        for own, outcomes, far in self._outcomes(changes, validation):
            effects[own], reach[own] = validation.effects(before, outcomes), far
        return effects, reach

    def _outcomes(
        self, changes: Changes, validation: Validation
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield positions of changes, what comes of rows, and how far changes go."""
        closed_form, data = self._closed_form(), self.solved.data
        answers = Answers(self.solved.bottleneck, validation.questions())
        n_block = answers.rows_at_once(suggestions.BLOCK_ROWS, paths=False)
        keys = np.column_stack([changes.paths, changes.values])
        for path, value in np.unique(keys, axis=0):
            alike = np.flatnonzero((keys == (path, value)).all(axis=1))
            for block in row_blocks(len(alike), n_block):
                own = alike[block]
                rows = changes.rows[own]
                positions = torch.as_tensor(rows, device=data.labels.device)
                changed = closed_form.of(data.rows(positions))
                moves = self._moves(changed, rows, int(path), value)
                concepts, label = changed.parameters(moves)
                outcomes = validation.moved(answers, concepts, label)
                yield own, outcomes, numbers_of(changed.reach(moves, label))

    def leading(self, changes: Changes, n: int) -> Changes:
        """Return the best changes that are good, at most n of them."""
        return changes.take(self._good(changes)[:n])

    def choose(
        self, changes: Changes, budget: int, most: float = float("inf")
    ) -> np.ndarray:
        """Return positions of the best changes that are compatible, the best first.

        They are at most `budget`. A row whose weight changes has no other change.
        Together they promise no more than `most`: a gap that is closed would open on
        the other side.
        """
        benefit = self.benefit(changes.effects)
        chosen: list[int] = []
        promised = 0.0
        weighed: set[int] = set()
        changed: set[int] = set()
        for position in self._good(changes):
            row, path = changes.rows[position], changes.paths[position]
            if row in weighed or (path == ROW and row in changed):
                continue
            if promised + benefit[position] > most:
                continue
            promised += benefit[position]
            (weighed if path == ROW else changed).add(row)
            chosen.append(position)
            if len(chosen) == budget:
                break
        return np.asarray(chosen, dtype=int)

    def edited(self, changes: Changes) -> TrainingData:
        """Return the training data after the changes."""
        data = self.solved.data
        labels, concepts = data.labels.clone(), data.concepts.clone()
        annotated, label_weights = data.annotated.clone(), data.label_weights.clone()
        concept_weights = data.concept_weights.clone()
        for path in np.unique(changes.paths):
            part = changes.take(changes.paths == path)
            rows, values = part.rows, data.features.new_tensor(part.values)
            if path == ROW:
                label_weights[rows] *= values
                concept_weights[rows] *= values[:, None]
            elif path == LABEL:
                labels[rows] = values.to(labels.dtype)
                label_weights[rows] = self._label_weights(rows, labels[rows])
            else:
                j = path - 1
                concept_weights[rows, j] = self.annotation_weights[rows, j]
                concepts[rows, j] = values
                annotated[rows, j] = True
        return replace(
            data,
            labels=labels,
            label_weights=label_weights,
            concepts=concepts,
            annotated=annotated,
            concept_weights=concept_weights,
        )

    def benefit(self, effects: np.ndarray) -> np.ndarray:
        """Return effects with the sign at which positive is good."""
        return effects if self.higher_is_better else -effects

    def _good(self, changes: Changes) -> np.ndarray:
        """Return positions of good changes, the best first."""
        benefit = self.benefit(changes.effects)
        order: np.ndarray = np.argsort(-benefit, kind="stable")
        return order[: int((benefit > 0).sum())]

    def _closed_form(self) -> suggestions.ClosedForm:
        return suggestions.ClosedForm(self.solved.bottleneck, self.solved.factors)

    def _values(self) -> dict[int, list[float]]:
        """Return the values that can be proposed, by path, whatever is believed."""
        solved = self.solved
        values: dict[int, list[float]] = {}
        if "relabel" in self.kinds:
            values[LABEL] = list(map(float, range(solved.bottleneck.label.n_values)))
        for j, head in enumerate(solved.bottleneck.concepts.heads):
            if "annotate" not in self.kinds:
                break
            given = solved.data.concept_weights[:, j] > 0
            seen = solved.data.concepts[given, j]
            if (seen == seen[:1]).all():
                continue  # of a constant: its only value changes nothing
            values[1 + j] = head.proposals(seen)
        factors = list(FACTORS) * ("reweight" in self.kinds)
        factors += [DROP] * ("drop" in self.kinds)
        return {**values, ROW: factors} if factors else values

    def _moves(
        self,
        changed: suggestions.RowChanges,
        rows: np.ndarray,
        path: int,
        value: float | np.ndarray,
        possible: np.ndarray | None = None,
    ) -> suggestions.Moves:
        """Return how parameters move with one proposal for each possible row."""
        data = self.solved.data
        proposed = np.broadcast_to(np.asarray(value, dtype=float), (len(rows),))
        if path == ROW:
            return changed.reweight(float(proposed[0]))
        among = None
        if possible is not None:
            among = torch.as_tensor(np.flatnonzero(possible), device=data.labels.device)
        if path == LABEL:
            codes = data.labels.new_tensor(proposed.astype(int))
            weights = self._label_weights(rows, codes)
            return changed.relabel(codes, weights, among)
        codes = data.concepts.new_tensor(proposed)
        weights = self.annotation_weights[rows, path - 1]
        return changed.annotate(path - 1, codes, weights, among)

    def _proposals(
        self, rows: np.ndarray, path: int, values: list[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return proposals for rows, and which of them are possible, (n, n_rows)."""
        data = self.solved.data
        proposed = np.repeat(np.asarray(values, dtype=float)[:, None], len(rows), 1)
        if path == ROW:
            needed = self.solved.without_optimum[rows]
            return proposed, (proposed != DROP) | ~needed
        if path == LABEL:
            current = data.labels[rows].cpu().numpy()
            given = np.ones(len(rows), dtype=bool)
        else:
            current = data.concepts[rows, path - 1].cpu().numpy()
            given = data.annotated[rows, path - 1].cpu().numpy()
        if self.believed is None:
            return proposed, (proposed != current) | ~given
        # A missing value can be any; of a present one, only what is believed.
        believed = self.believed.proposed[rows, path]
        replaceable = self.believed.replaceable[rows, path] & (believed != current)
        possible = np.vstack([np.tile(~given, (len(values), 1)), replaceable])
        believed = np.where(replaceable, believed, values[0])
        return np.vstack([proposed, believed]), possible

    def _label_weights(self, rows: np.ndarray, codes: torch.Tensor) -> torch.Tensor:
        return self.row_weights[rows] * self.class_weights[codes]


def candidate_edits(
    solved: Solved,
    kinds: tuple[str, ...],
    training: TrainingRows,
    higher_is_better: bool,
    believed: Believed | None = None,
    progress: Progress = SILENT,
) -> CandidateEdits:
    """Return the possible changes, with the class weights that `fit` computed."""
    weights = training.weights
    annotation_weights = weights[:, None] * training.concept_weights
    as_tensor = solved.data.features.new_tensor
    return CandidateEdits(
        solved,
        kinds,
        as_tensor(training.weights_of_labels),
        as_tensor(annotation_weights),
        as_tensor(training.class_weight),
        higher_is_better,
        believed,
        progress,
    )


def _together(parts: list[Changes]) -> Changes:
    if not parts:  # all concepts are constants
        nothing = np.zeros(0, dtype=int)
        return Changes(nothing, nothing, np.zeros(0), np.zeros(0))
    return Changes(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "paths", "values", "effects")
        )
    )
