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
from .._models.fitted import FittedHeads
from ..numerics.first_order import add_adjoints, first_order, solve_adjoint
from ..numerics.joint_hessian import JointHessian
from ..numerics.products import dense_rows
from ..numerics.targets import Question
from .solved import Solved

CONSTANT, LABEL = "(constant)", "(label)"
LABEL_PATH = "label"


def linear_influence(
    solved: Solved, questions: list[Question], row: int, path: int | None = None
) -> tuple[np.ndarray, float]:
    """Return the first-order influence of a row on one answer, linear in its features.

    Heads on the features are linear in them, so that a loss term's influence is a sum
    over features. With concepts, the label's term is not: it acts on activations.

    Parameters
    ----------
    solved : Solved
    questions : list of Question
    row : int
    path : int, default=None
        The concept whose term alone is asked about; None for all terms.

    Returns
    -------
    weights : ndarray of shape (n_features + 1,)
        What the row's features and the constant 1 are multiplied by.
    label : float
        The part of the label's term in a bottleneck that acts on activations; 0 without
        concepts.
    """
    bottleneck, span = solved.bottleneck, solved.span
    adjoint = add_adjoints(
        [
            solve_adjoint(
                bottleneck,
                solved.inverse,
                question.target.derivatives(bottleneck, question.features),
                question.sums,
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
            if path in (None, j)
        ]
    else:
        scores = [bottleneck.label_scores(data.features)]
        one = data.labels, data.label_weights, adjoint.label
        terms = [(bottleneck.label, scores[0], *one)]
    pulls = [
        (weights[:, None] * head.residual(head.probabilities(part), codes), solution)
        for head, part, codes, weights, solution in terms
    ]
    if path is None and isinstance(solved.inverse, JointHessian):
        # The label's term trains the heads on the features too.
        through = stack.split(solved.inverse.through_label(data))
        pulls += zip(through, adjoint.concepts, strict=True)
    parts = []
    for pull, solution in pulls:
        matrix = solution.reshape(pull.shape[1], -1)
        matrix = matrix if span is None else span.out_of(matrix)
        parts.append(-(pull @ matrix).cpu().numpy()[0])
    return np.sum(parts, axis=0), label


def check_path(heads: FittedHeads, path: str | None) -> int | None:
    """Return the position of the concept that a path is of; None for all paths.

    Raises
    ------
    ValueError
        If there is no such path, or words do not share it.
    """
    if path is None or (path == LABEL_PATH and not heads.n_concepts):
        return None
    if path in heads.names:
        return heads.names.index(path)
    known = ", ".join(map(repr, heads.names or [LABEL_PATH]))
    if path == LABEL_PATH:
        raise ValueError(
            "path='label' is no sum over words: in a bottleneck the label of a row "
            "acts on the activations of its concepts, not on its features. Use one of "
            f"{known}, or leave path out: then the label has a line of its own."
        )
    raise ValueError(f"path={path!r} is not known; use one of {known}.")


def features_of_row(rows: TrainingRows, row: int) -> np.ndarray:
    """Return the features of a training row, (n_features,)."""
    features = rows.features[row : row + 1]
    values = features if isinstance(features, np.ndarray) else dense_rows(features)
    return np.asarray(values)[0]


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


def features_frame(
    names: np.ndarray, values: np.ndarray, effects: np.ndarray, others: dict[str, float]
) -> pd.DataFrame:
    """Return features by the size of their part, and last what no feature carries."""
    there = np.flatnonzero(values)
    order = there[np.argsort(-np.abs(effects[there]), kind="stable")]
    return pd.DataFrame(
        {
            "word": [*names[order], *others],
            "value": [*values[order], *[np.nan] * len(others)],
            "influence": [*effects[order], *others.values()],
        }
    )


def text_frame(
    text: str, spans: np.ndarray, effects: np.ndarray, others: dict[str, float]
) -> pd.DataFrame:
    """Return words of a text by the size of their part, and last what none carries."""
    order = np.argsort(-np.abs(effects), kind="stable")
    nowhere = [pd.NA] * len(others)
    return pd.DataFrame(
        {
            "word": [*(text[start:stop] for start, stop in spans[order]), *others],
            "start": pd.array([*spans[order, 0], *nowhere], dtype="Int64"),
            "stop": pd.array([*spans[order, 1], *nowhere], dtype="Int64"),
            "influence": [*effects[order], *others.values()],
        }
    )
