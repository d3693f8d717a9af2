"""Possible changes of training rows, and the effect of each alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..._inputs.training_rows import TrainingRows
from ...numerics import suggestions
from ...numerics.blocks import map_rows
from ..engine import Solved
from .validation import Validation

KINDS = ("relabel", "annotate", "reweight", "drop")
FACTORS = (2.0, 0.5)  # that "reweight" tries
DROP = 0.0
# Where a change acts, by number; concept j is 1 + j.
LABEL, ROW = 0, -1


@dataclass(frozen=True)
class Changes:
    """Changes of training rows, one an entry of each array.

    Attributes
    ----------
    rows : ndarray of int
    paths : ndarray of int
        `LABEL`, one plus the position of a concept, or `ROW`.
    values : ndarray of float
        Code of the label; code or number of the annotation; factor of the weight.
    effects : ndarray of float
        Of each change alone, on the mean target.
    """

    rows: np.ndarray
    paths: np.ndarray
    values: np.ndarray
    effects: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept) -> Changes:
        """Return some of the changes."""
        return Changes(
            self.rows[kept], self.paths[kept], self.values[kept], self.effects[kept]
        )


@dataclass(frozen=True)
class CandidateEdits:
    """The changes that are possible.

    Attributes
    ----------
    solved : Solved
    kinds : tuple of str
    row_weights : Tensor of shape (n_samples,)
        As given to `fit`.
    annotation_weights : Tensor of shape (n_samples, n_concepts)
        Of annotations that are there, or would be.
    class_weights : Tensor of shape (n_classes,)
    higher_is_better : bool
        What is good.
    """

    solved: Solved
    kinds: tuple[str, ...]
    row_weights: object
    annotation_weights: object
    class_weights: object
    higher_is_better: bool

    def best(self, adjoint) -> tuple[list[Changes], int]:
        """Return the best change of each row and path, and how many were compared.

        The list has the changes that are best for each target of the adjoint.
        """
        closed_form, compared = self._closed_form(), 0
        parts: list[list[Changes]] = [[] for _ in adjoint.label]
        for block, changed in map_rows(
            partial(closed_form.of, adjoint=adjoint),
            self.solved.data,
            suggestions.BLOCK_ROWS,
        ):
            rows = np.arange(block.start, block.stop)
            for path, values in self._values().items():
                effects = np.stack(
                    [self._effects(changed, rows, path, value) for value in values]
                )
                possible = ~self._current(rows, path, values)[:, None]
                # A row that is all that holds a head cannot go.
                possible = possible & np.isfinite(effects)
                compared += int(possible[:, 0].sum())
                best = np.where(possible, self.benefit(effects), -np.inf).argmax(axis=0)
                for t, chosen in enumerate(best):
                    found = effects[chosen, t, np.arange(len(rows))]
                    there = possible[chosen, t, np.arange(len(rows))]
                    proposed = np.asarray(values, dtype=float)[chosen]
                    paths = np.full(len(rows), path)
                    parts[t].append(Changes(rows, paths, proposed, found).take(there))
        return [_together(part) for part in parts], compared

    def choose(self, best: Changes, budget: int) -> Changes:
        """Return the best changes that go together, at most so many.

        A row whose weight changes has no other change.
        """
        benefit = self.benefit(best.effects)
        order = np.argsort(-benefit, kind="stable")[: int((benefit > 0).sum())]
        chosen: list[int] = []
        weighed, changed = set(), set()
        for position in order:
            row, path = best.rows[position], best.paths[position]
            if row in weighed or (path == ROW and row in changed):
                continue
            (weighed if path == ROW else changed).add(row)
            chosen.append(position)
            if len(chosen) == budget:
                break
        return best.take(np.asarray(chosen, dtype=int))

    def std_errors(self, changes: Changes, validation: Validation) -> np.ndarray:
        """Return the standard error of every effect, over validation rows."""
        closed_form, n = self._closed_form(), len(validation)
        total, squares = np.zeros(len(changes)), np.zeros(len(changes))
        keys = np.column_stack([changes.paths, changes.values])
        for adjoint in validation.adjoints():
            for path, value in np.unique(keys, axis=0):
                own = (keys == (path, value)).all(axis=1)
                rows = changes.rows[own]
                changed = closed_form.of(self.solved.data.rows(rows), adjoint)
                effects = self._effects(changed, rows, int(path), value)
                # From their mean, so that squares do not cancel.
                effects = effects - changes.effects[own]
                total[own] += effects.sum(axis=0)
                squares[own] += (effects**2).sum(axis=0)
        variance = (squares - total**2 / n) / (n - 1)
        errors: np.ndarray = np.sqrt(np.maximum(variance, 0) / n)
        return errors

    def edited(self, changes: Changes):
        """Return the training data with changes."""
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
        """Return effects as positive = good."""
        return effects if self.higher_is_better else -effects

    def _closed_form(self):
        return suggestions.ClosedForm(self.solved.bottleneck, self.solved.factors)

    def _values(self) -> dict[int, list[float]]:
        """Return what can be proposed by path."""
        solved, values = self.solved, {}
        if "relabel" in self.kinds:
            values[LABEL] = list(range(solved.bottleneck.label.n_values))
        for j, head in enumerate(solved.bottleneck.concepts.heads):
            if "annotate" not in self.kinds:
                break
            given = solved.data.concept_weights[:, j] > 0
            values[1 + j] = head.proposals(solved.data.concepts[given, j])
        factors = list(FACTORS) * ("reweight" in self.kinds)
        factors += [DROP] * ("drop" in self.kinds)
        return {**values, ROW: factors} if factors else values

    def _effects(self, changed, rows, path: int, value: float) -> np.ndarray:
        """Return the effects of one proposal for rows, (n_targets, n_rows)."""
        if path == ROW:
            return changed.reweight(value).cpu().numpy()
        data = self.solved.data
        if path == LABEL:
            codes = data.labels.new_full((len(rows),), int(value))
            effects = changed.relabel(codes, self._label_weights(rows, codes))
        else:
            codes = data.concepts.new_full((len(rows),), value)
            weights = self.annotation_weights[rows, path - 1]
            effects = changed.annotate(path - 1, codes, weights)
        return effects.cpu().numpy()

    def _current(self, rows, path: int, values) -> np.ndarray:
        """Return which proposals are what is there, (n_values, n_rows)."""
        data = self.solved.data
        proposed = np.asarray(values, dtype=float)[:, None]
        if path == ROW:
            return np.zeros((len(values), len(rows)), dtype=bool)
        if path == LABEL:
            return proposed == data.labels[rows].cpu().numpy()
        same = proposed == data.concepts[rows, path - 1].cpu().numpy()
        return same & data.annotated[rows, path - 1].cpu().numpy()

    def _label_weights(self, rows, codes):
        return self.row_weights[rows] * self.class_weights[codes]


def candidate_edits(
    solved: Solved, kinds, training: TrainingRows, higher_is_better
) -> CandidateEdits:
    """Return what can be changed, with class weights as they were at fit."""
    weights = training.weights
    annotation_weights = weights[:, None] * training.concept_weights
    tensors = map(
        solved.data.features.new_tensor,
        (weights, annotation_weights, training.class_weight),
    )
    return CandidateEdits(solved, kinds, *tensors, higher_is_better)


def _together(parts: list[Changes]) -> Changes:
    return Changes(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "paths", "values", "effects")
        )
    )
