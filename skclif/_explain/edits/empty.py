"""Values that an edit leaves without weight, and the model without them.

The bias of such a value has no optimum. Without the value, the model is the one that a
fit on the other values gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..._inputs.soft import recoded, weight_of_values
from ..._inputs.training_rows import TrainingRows
from ..._inputs.values import plain_value
from ..._models.fitted import FittedHeads

EMPTY_VALUES = ("raise", "drop")


@dataclass(frozen=True)
class Empty:
    """Codes of classes and of values of concepts that have lost all of their weight.

    Attributes
    ----------
    labels : list of int
    concepts : dict of int to list of int
        By the position of the concept.
    """

    labels: list[int] = field(default_factory=list)
    concepts: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        heads: FittedHeads,
        old: TrainingRows,
        new: TrainingRows,
        dropped_concepts: list[int],
    ) -> Empty:
        """Return the values that had weight in old rows, and have none in new ones."""
        labels = _without_weight(old.labels, old.weights, new.labels, new.weights)
        concepts = {}
        for j, values in enumerate(heads.values):
            if values is None or j in dropped_concepts:
                continue
            before, after = (
                weight_of_values(
                    rows.codes[:, j],
                    rows.weights * rows.concept_weights[:, j],
                    len(values),
                    rows.shares,
                )
                for rows in (old, new)
            )
            lost = np.flatnonzero((before > 0) & ~(after > 0)).tolist()
            if lost:
                concepts[j] = lost
        return cls(labels, concepts)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.labels or self.concepts)

    def named(self, heads: FittedHeads) -> Iterator[tuple[str | None, Any]]:
        """Yield concept and value of each; the concept of a class is None."""
        for code in self.labels:
            yield None, plain_value(heads.classes[code])
        for j, codes in self.concepts.items():
            values = heads.values[j]
            assert values is not None
            for code in codes:
                yield heads.names[j], plain_value(values[code])

    def refuse(self, heads: FittedHeads) -> None:
        """Refuse an edit that leaves an unpenalised bias without an optimum."""
        for name, value in self.named(heads):
            if name is None:
                raise ValueError(
                    f"The edit leaves the class {value!r} without a row that has "
                    "weight, so the model has no optimum. Keep such a row, or use "
                    "empty_values='drop' for a model without the class."
                )
            raise ValueError(
                f"The edit leaves the value {value!r} of concept {name!r} without an "
                "annotation that has weight, so its head has no optimum. Keep such an "
                "annotation, use empty_values='drop' for a model without the value, "
                f"or drop_concepts=[{name!r}] for a model without the concept."
            )

    def check_enough(self, heads: FittedHeads) -> None:
        """Refuse an edit that leaves one class or none, or no value of a concept."""
        left = _left(len(heads.classes), self.labels)
        if len(left) < 2:
            raise ValueError(
                "The edit leaves fewer than two classes with weight "
                f"({_listed(heads.classes[left])}), so there is nothing to predict. "
                "Keep a row of another class."
            )
        for j, lost in self.concepts.items():
            values, name = heads.values[j], heads.names[j]
            assert values is not None
            left = _left(len(values), lost)
            if not len(left):
                raise ValueError(
                    f"The edit leaves concept {name!r} without an annotation that has "
                    "weight, so there is nothing to predict. Keep an annotation, or "
                    f"use drop_concepts=[{name!r}]."
                )

    def constants(self, heads: FittedHeads) -> dict[str, Any]:
        """Return the only value that is left of a concept, by its name."""
        found = {}
        for j, lost in self.concepts.items():
            values = heads.values[j]
            assert values is not None
            left = _left(len(values), lost)
            if len(left) == 1:
                found[heads.names[j]] = plain_value(values[left[0]])
        return found

    def remove_from(self, heads: FittedHeads) -> FittedHeads:
        """Return heads without the values: among the others, nothing changes."""
        coef, intercept, classes = heads.coef, heads.intercept, heads.classes
        class_weight, residual = heads.class_weight, heads.residual_coef
        parts: list[np.ndarray] = []
        for j, columns in enumerate(heads.tensors().concepts.activations):
            part = coef[:, columns]
            values = heads.values[j]
            if j in self.concepts and values is not None:
                by_value = weights_by_value(part, len(values))
                left = _left(len(values), self.concepts[j])
                part, constant = joined_columns(by_value[:, left])
                intercept = intercept + constant
            parts.append(part)
        coef = np.hstack(parts) if parts else coef
        if self.labels:
            left = _left(len(classes), self.labels)
            if residual is not None and not heads.rules.is_latent(len(classes)):
                residual, _ = _among(residual, intercept, left)
            if heads.rules.is_latent(len(classes)):
                intercept = _thresholds(heads, intercept, left)
            else:
                coef, intercept = _among(coef, intercept, left)
            classes, class_weight = _shortest(classes[left]), class_weight[left]
        known = list(heads.schema.classes)
        concept_coef, concept_intercept = (
            list(heads.concept_coef),
            list(heads.concept_intercept),
        )
        for j, lost in self.concepts.items():
            values = known[j]
            assert values is not None
            left = _left(len(values), lost)
            known[j] = _shortest(values[left])
            concept_coef[j], concept_intercept[j] = _among(
                concept_coef[j], concept_intercept[j], left
            )
        return replace(
            heads,
            schema=replace(heads.schema, classes=tuple(known)),
            classes=classes,
            class_weight=class_weight,
            coef=coef,
            intercept=intercept,
            residual_coef=residual,
            concept_coef=tuple(concept_coef),
            concept_intercept=tuple(concept_intercept),
        )

    def recode(self, heads: FittedHeads, rows: TrainingRows) -> TrainingRows:
        """Return rows in the codes of the model without the values."""
        codes, class_weight = rows.codes.copy(), rows.class_weight
        shares = rows.shares
        for j, lost in self.concepts.items():
            values = heads.values[j]
            assert values is not None
            n, places = len(values), _new_codes(len(values), lost)
            codes[:, j], shares = recoded(codes[:, j], places, n, n - len(lost), shares)
        labels = self.new_labels(heads, rows.labels)
        if self.labels:
            class_weight = class_weight[_left(len(heads.classes), self.labels)]
        return replace(
            rows, labels=labels, codes=codes, class_weight=class_weight, shares=shares
        )

    def new_labels(self, heads: FittedHeads, labels: np.ndarray) -> np.ndarray:
        """Return the new codes of labels, -1 for a class that goes."""
        new = np.append(_new_codes(len(heads.classes), self.labels), -1)
        found: np.ndarray = new[labels]
        return found

    def check_validation(self, heads: FittedHeads, labels: np.ndarray) -> None:
        """Refuse rows of a class that goes, to which the new model gives no chance."""
        gone = np.flatnonzero(np.isin(labels, self.labels))
        if len(gone):
            label = plain_value(heads.classes[labels[gone[0]]])
            raise ValueError(
                f"y_val has the class {label!r} in row {gone[0]}, and the edit removes "
                "this class from the model, so that its log-loss is infinite there. "
                "Leave out the validation rows of that class, or keep a training row "
                "of it."
            )


def check_empty_values(empty_values: Any) -> bool:
    """Return whether values that are left without weight go from the model."""
    if not isinstance(empty_values, str) or empty_values not in EMPTY_VALUES:
        raise ValueError(
            f"empty_values={empty_values!r} must be 'raise', which refuses an edit "
            "that leaves a class or a value of a concept without weight, or 'drop', "
            "which removes it from the model."
        )
    return empty_values == "drop"


def _without_weight(
    old_codes: np.ndarray,
    old_weights: np.ndarray,
    new_codes: np.ndarray,
    new_weights: np.ndarray,
) -> list[int]:
    """Return the codes that had weight and have lost all of it."""
    n = 1 + max(old_codes.max(initial=0), new_codes.max(initial=0))
    old, new = (
        np.bincount(codes[codes >= 0], weights=weights[codes >= 0], minlength=n)
        for codes, weights in ((old_codes, old_weights), (new_codes, new_weights))
    )
    lost: list[int] = np.flatnonzero((old > 0) & ~(new > 0)).tolist()
    return lost


def weights_by_value(part: np.ndarray, n_values: int) -> np.ndarray:
    """Return the label head's weights of every value of a concept.

    Of one value or two, the first has no activation, and the weight 0.
    """
    if n_values > 2:
        return part
    return np.hstack([np.zeros((len(part), 1)), part])


def joined_columns(by_value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Invert `weights_by_value`; return too what goes to the intercept."""
    if by_value.shape[1] > 2:
        return by_value, np.zeros(len(by_value))
    return by_value[:, 1:] - by_value[:, :1], by_value[:, 0]


def _among(
    coef: np.ndarray, intercept: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's weights of logits among some of the values."""
    if len(left) == 1:  # a constant, whose parameters are 0
        return np.zeros((1, coef.shape[1])), np.zeros(1)
    coef, intercept = coef[left], intercept[left]
    if len(left) == 2:
        return coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    return coef, intercept


def _thresholds(
    heads: FittedHeads, intercept: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """Return the thresholds of an ordinal head above each class left but the last."""
    ranks = heads.rules.ranks(heads.classes) or range(len(heads.classes))
    return intercept[np.sort(np.asarray(ranks)[left])[:-1]]


def _left(n: int, lost: list[int]) -> np.ndarray:
    return np.setdiff1d(np.arange(n), lost)


def _new_codes(n: int, lost: list[int]) -> np.ndarray:
    """Return the new code of each old code; -1 where the value goes."""
    codes = np.full(n, -1)
    left = _left(n, lost)
    codes[left] = np.arange(len(left))
    return codes


def _shortest(values: np.ndarray) -> np.ndarray:
    """Return values as a fit without the others holds them: as short as they are."""
    return np.array(values.tolist()) if values.dtype.kind == "U" else values


def _listed(values: np.ndarray) -> str:
    return ", ".join(map(repr, values.tolist())) or "none"
