"""Which words of a training row its influence goes through."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from .._inputs.pipelines import final_step
from .._inputs.training_rows import TrainingRows
from ..numerics.first_order import add_adjoints, first_order, solve_adjoint
from ..numerics.products import dense_rows
from ..numerics.targets import Question
from .engine import Solved

CONSTANT, LABEL = "(constant)", "(label)"


def word_effects(
    solved: Solved, rows: TrainingRows, questions: list[Question], row: int
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Split the first-order influence of a row on one answer by its features.

    Heads on the features are linear in them, so that a loss term's influence is a sum
    over features. With concepts, the label's term is not: it acts on activations.

    Returns
    -------
    values, effects : ndarray of shape (n_features,)
        The row's features, and their parts of its influence.
    constant : float
        The part of the biases.
    label : float
        The part of the label's term in a bottleneck; 0 without concepts.
    """
    bottleneck, span = solved.bottleneck, solved.span
    adjoint = add_adjoints(
        [
            solve_adjoint(
                bottleneck,
                solved.inverse,
                question.target.derivatives(bottleneck, question.features),
                question.combine,
            )
            for question in questions
        ]
    )
    data = solved.data.rows(torch.tensor([row], device=solved.device))
    stack, label = bottleneck.concepts, 0.0
    if stack:
        ((_, influence),) = first_order(bottleneck, data, adjoint)
        # With a residual, the label's term has two paths.
        label = float(influence[0, 0].sum() - influence[0, 0, 1 : 1 + len(stack)].sum())
        scores = stack.split(bottleneck.concept_scores(data.features))
        terms = [
            (head, part, data.concepts[:, j], data.concept_weights[:, j], one)
            for j, (head, part, one) in enumerate(
                zip(stack.heads, scores, adjoint.concepts, strict=True)
            )
        ]
    else:
        scores = [bottleneck.label_scores(data.features)]
        one = data.labels, data.label_weights, adjoint.label
        terms = [(bottleneck.label, scores[0], *one)]
    total = np.zeros(rows.features.shape[1] + 1)
    for head, part, codes, weights, solution in terms:
        residual = head.residual(head.probabilities(part), codes)
        matrix = solution.reshape(head.n_scores, -1)
        matrix = matrix if span is None else span.out_of(matrix)
        total -= (weights[:, None] * residual @ matrix).cpu().numpy()[0]
    features = rows.features[row : row + 1]
    values = features if isinstance(features, np.ndarray) else dense_rows(features)
    values = np.asarray(values)[0]
    return values, total[:-1] * values, float(total[-1]), label


def feature_names(estimator: Any, n_features: int) -> np.ndarray:
    """Return the names of the features that the final step sees."""
    if isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        # Hashed words have no names.
        with suppress(AttributeError):
            return np.asarray(estimator[:-1].get_feature_names_out(), dtype=object)
    given = getattr(final_step(estimator), "feature_names_in_", None)
    if given is not None:
        return np.asarray(given, dtype=object)
    return np.asarray([f"x{j}" for j in range(n_features)], dtype=object)


def words_frame(
    names: np.ndarray,
    values: np.ndarray,
    effects: np.ndarray,
    constant: float,
    label: float | None,
) -> pd.DataFrame:
    """Return words by the size of their part, and last what no word carries."""
    there = np.flatnonzero(values)
    order = there[np.argsort(-np.abs(effects[there]), kind="stable")]
    others = {CONSTANT: constant} | ({} if label is None else {LABEL: label})
    return pd.DataFrame(
        {
            "word": [*names[order], *others],
            "value": [*values[order], *[np.nan] * len(others)],
            "influence": [*effects[order], *others.values()],
        }
    )
