"""What an expert says of a concept: that it must not matter, or by how much less.

The label head's weights of the concept are held at a share of what they were, and
everything else of the label head is solved again. Or the label terms get weights in
which the concept says nothing of the label. See Eqs. (79) to (82) of
docs/mathematics.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._inputs.soft import distributions
from ..._inputs.training_rows import TrainingRows, as_features
from ..._models.fitted import FittedHeads
from ...exceptions import ReweightingWarning, warn_user
from ...numerics.balance import (
    MOST,
    balancing_weights,
    dependence,
    effective_sample_size,
)
from ...numerics.bottleneck import concept_effects
from ...numerics.sparse import Matrix
from ...numerics.targets import LabelTarget, evaluate
from ..requests import check_groups

# Nats of a concept's information on the label that are too few to speak of.
_LITTLE = 0.01
# Parts into which a continuous concept is cut where it is balanced.
_N_PARTS = 5

# The loss of a label head with far larger weights has no finite optimum in float64.
_LARGEST_FACTOR = 100


def check_concept_weights(
    heads: FittedHeads, given: Any, dropped: Sequence[int]
) -> dict[int, float | None]:
    """Return factors of the label head's weights by the position of the concept."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise TypeError(
            "concept_weights must be a dict of concept to factor, such as "
            f"{{'noise': 0}}, got {type(given).__name__}."
        )
    found: dict[int, float | None] = {}
    for name, factor in given.items():
        j = concept_position("concept_weights", name, heads)
        if j in dropped:
            raise ValueError(
                f"Concept {name!r} is in drop_concepts and in concept_weights; leave "
                "it out of one of them."
            )
        if factor is None and name not in heads.held:
            raise ValueError(
                f"concept_weights gives concept {name!r} the factor None, which lets "
                "its weights go, but no edit holds them. Give a factor, or leave it "
                "out."
            )
        found[j] = None if factor is None else _factor(name, factor)
        whole = heads.held.get(name, 1.0) * (found[j] or 0.0)
        if whole > _LARGEST_FACTOR:
            raise ValueError(
                f"concept_weights makes the weights of {name!r} {whole:g} times "
                f"what training gave; {_LARGEST_FACTOR} times is the most. Give a "
                "smaller factor."
            )
    return found


def _factor(name: Any, factor: Any) -> float:
    said = f"concept_weights gives concept {name!r} the factor {factor!r}; "
    accepted = (
        "a factor is a number from 0 (must not matter; 1 is as much as now) to "
        f"{_LARGEST_FACTOR}, or None to let its weights go."
    )
    if not isinstance(factor, Real) or isinstance(factor, bool):
        raise TypeError(said + accepted)
    found = float(factor)
    if not 0 <= found <= _LARGEST_FACTOR:
        raise ValueError(said + accepted)
    return found


def check_rebalance(heads: FittedHeads, given: Any) -> tuple[int, ...] | None:
    """Return the positions of the concepts to balance, or None."""
    if given is None:
        return None
    if isinstance(given, str | bytes | dict) or not hasattr(given, "__iter__"):
        raise TypeError(
            "rebalance must be a list of names, such as ['noise'], or [] to take away "
            f"the weights of an earlier edit, got {given!r}."
        )
    found = tuple(concept_position("rebalance", name, heads) for name in given)
    if len(set(found)) < len(found):
        twice = next(j for j in found if found.count(j) > 1)
        raise ValueError(f"rebalance names concept {heads.names[twice]!r} twice.")
    return found


def concept_position(argument: str, name: Any, heads: FittedHeads) -> int:
    """Return the position of a concept that an argument names."""
    names = list(heads.names)
    if name not in names:
        raise ValueError(
            f"{argument} names the concept {name!r}, but the model has "
            f"{', '.join(map(repr, names)) or 'no concepts'}."
        )
    return names.index(name)


def check_groups_val(groups: Any, n_rows: int | None) -> np.ndarray | None:
    """Return the group of every validation row, checked; None without groups."""
    if groups is None:
        return None
    if n_rows is None:
        raise ValueError(
            "groups_val was given without X_val and y_val; pass the validation rows "
            "whose groups these are."
        )
    codes, names = check_groups(groups, n_rows, "groups_val", "row of X_val")
    found: np.ndarray = names[codes]
    return found


def balanced_rows(
    heads: FittedHeads, rows: TrainingRows, concepts: Sequence[int]
) -> np.ndarray | None:
    """Return the weights of labels with which concepts say nothing of them."""
    if not concepts:
        return None
    return balancing_weights(
        _beliefs(heads, rows, concepts), rows.labels, _given_weights(rows)
    )


def balance(
    heads: FittedHeads, sets: Sequence[TrainingRows], concepts: Sequence[int]
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Return what concepts say of the label, and the effective number of rows.

    Both of the rows before an edit and of those after it, with the weights of labels
    that each of them have.
    """
    found: dict[str, Any] = {"concept": [heads.names[j] for j in concepts]}
    sizes = []
    for when, rows in zip(("before", "after"), sets, strict=True):
        weights = _given_weights(rows)
        if rows.label_weights is not None:
            weights = weights * rows.label_weights
        values = _beliefs(heads, rows, concepts)
        found[when] = [dependence(each, rows.labels, weights) for each in values]
        sizes.append(effective_sample_size(weights))
    return pd.DataFrame(found), (sizes[0], sizes[1])


def warn_of_dependence(frame: pd.DataFrame) -> None:
    """Warn of concepts that no weights of these rows make independent of the label."""
    for name, before, after in frame.itertuples(index=False):
        if after > _LITTLE:
            warn_user(
                f"rebalance leaves concept {name!r} {after:.2g} nats of information on "
                f"the label, of {before:.2g} before: too few rows have a label with "
                f"another value of it, and none may get more than {MOST:g} times its "
                "weight. Add such rows, or hold its weights by "
                f"concept_weights={{{name!r}: 0}}.",
                ReweightingWarning,
            )


def _given_weights(rows: TrainingRows) -> np.ndarray:
    """Return the weights of label terms without factors that an edit gave them."""
    found: np.ndarray = rows.weights * rows.class_weight[np.maximum(rows.labels, 0)]
    return found


def _beliefs(
    heads: FittedHeads, rows: TrainingRows, concepts: Sequence[int]
) -> list[np.ndarray]:
    """Return the distribution of every row over the values of concepts.

    That of its annotation, or the predicted one where there is none. A continuous
    concept is cut into parts with as many annotated rows.
    """
    annotated = rows.data().annotated.numpy()
    predicted = None
    if not annotated[:, list(concepts)].all():
        predicted = predicted_concepts(heads, rows.features)
    found = []
    for j in concepts:
        known, values, codes = annotated[:, j], heads.values[j], rows.codes[:, j].copy()
        if values is None:
            if predicted is not None:
                codes[~known] = predicted[j][~known, 0]
            edges = np.quantile(codes[known], np.arange(1, _N_PARTS) / _N_PARTS)
            found.append(np.eye(_N_PARTS)[np.digitize(codes, edges)])
            continue
        codes[~known] = np.nan
        shares = distributions(codes, len(values), rows.shares)
        if predicted is not None:
            shares[~known] = predicted[j][~known]
        found.append(shares)
    return found


def predicted_concepts(heads: FittedHeads, features: Matrix) -> list[np.ndarray]:
    """Return the predicted distribution, or number, of every row and concept."""
    bottleneck = heads.tensors()
    stack = bottleneck.concepts
    scores = stack.split(bottleneck.concept_scores(as_features(features)))
    parts = zip(stack.heads, scores, strict=True)
    return [head.probabilities(part).numpy() for head, part in parts]


def reliance(
    models: Sequence[FittedHeads], means: Sequence[np.ndarray], rows: Matrix
) -> pd.DataFrame:
    """Return how far predictions of rows rest on each concept, before and after.

    It is the mean size of the effect of a concept: Eq. (80) of docs/mathematics.rst.

    Parameters
    ----------
    models : sequence of two FittedHeads
    means : sequence of two ndarray of shape (n_activations,)
        Training means of the activations of both models.
    rows : ndarray or SparseFeatures
    """
    sizes = []
    for heads, mean in zip(models, means, strict=True):
        average = torch.from_numpy(mean)
        effects = concept_effects(heads.tensors(), as_features(rows), average)
        sizes.append(dict(zip(heads.names, effects.abs().mean(dim=0), strict=True)))
    names = models[0].names
    return pd.DataFrame(
        {
            "concept": names,
            "before": [float(sizes[0][name]) for name in names],
            # What the model does not have any more does nothing.
            "after": [float(sizes[1].get(name, 0.0)) for name in names],
        }
    )


def group_losses(
    models: Sequence[FittedHeads],
    features: Matrix,
    codes: Sequence[np.ndarray],
    groups: np.ndarray,
) -> pd.DataFrame:
    """Return the mean log-loss of every group of rows, before and after an edit.

    Parameters
    ----------
    models : sequence of two FittedHeads
    features : ndarray or SparseFeatures of shape (n_rows, n_features)
    codes : sequence of two ndarray of shape (n_rows,)
        Of the labels, as each model codes them.
    groups : ndarray of shape (n_rows,)
    """
    members, names = pd.factorize(groups, sort=True)
    counts = np.bincount(members)
    means = []
    for heads, labels in zip(models, codes, strict=True):
        target = LabelTarget("loss", torch.from_numpy(labels))
        loss = evaluate(target, heads.tensors(), as_features(features)).numpy()
        means.append(np.bincount(members, loss) / counts)
    return pd.DataFrame(
        {"group": names, "n_rows": counts, "before": means[0], "after": means[1]}
    )


def groups_by_label(
    heads: FittedHeads, features: Matrix, labels: np.ndarray, concepts: Sequence[int]
) -> np.ndarray:
    """Return groups of rows by their label and the predicted value of concepts."""
    predicted = predicted_concepts(heads, features)
    columns = {"label": heads.classes[labels]}
    for j in concepts:
        values = heads.values[j]
        if values is not None:
            columns[heads.names[j]] = values[predicted[j].argmax(axis=1)]
    parts = [
        [f"{name}={value}" for value in column] for name, column in columns.items()
    ]
    return np.array([", ".join(part) for part in zip(*parts, strict=True)], object)
