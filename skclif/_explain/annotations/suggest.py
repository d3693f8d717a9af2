"""Suggest what to annotate next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..._inputs.checks import check_row_order, error_context
from ..._inputs.progress import Progress
from ..._inputs.training_rows import TrainingRows
from ..._models.fitted import FittedHeads
from ..._results.annotations import AnnotationSuggestions
from ...numerics.answers import (
    Interest,
    interest_in_concepts,
    interest_in_label,
    noise_of_concepts,
)
from ...numerics.sparse import Features, Matrix
from ...numerics.targets import LabelTarget, evaluate
from ..readable import texts_of
from ..requests import class_codes
from ..solved import Solved
from .arguments import (
    TARGETS,
    check_by,
    check_concepts,
    check_missing,
    check_n,
    check_target,
)
from .beliefs import beliefs_of_labels
from .candidates import answers_by_path, choose, pool_rows, training_rows
from .table import suggestions_of

Reader = Callable[[Any], Matrix]


def check_held_out(
    heads: FittedHeads, read_features: Reader, X: Any, y: Any
) -> tuple[Matrix, np.ndarray]:
    """Return features and codes of validation rows, checked.

    Parameters
    ----------
    heads : FittedHeads
    read_features : callable
        Maps new rows, in the form that the estimator takes, to checked features.
    X, y
        `X_val` and `y_val`.
    """
    check_row_order(X_val=X, y_val=y)
    with error_context("X_val", "what X is in fit"):
        features = read_features(X)
    return features, class_codes(heads.classes, features, y, name="y_val")


def suggest_annotations(
    heads: FittedHeads,
    training: TrainingRows,
    solved: Solved,
    texts: dict[str, np.ndarray],
    read_features: Reader,
    X_pool: Any,
    X_val: Any,
    y_val: Any,
    n: Any,
    by: Any,
    target: Any,
    progress: Progress,
) -> AnnotationSuggestions:
    """Return what to annotate next, of a pool or of training.

    Parameters
    ----------
    heads : FittedHeads
    training : TrainingRows
    solved : Solved
        The model and the training rows.
    texts : dict of str to ndarray
        Of the training rows.
    read_features : callable
        Maps new rows, in the form that the estimator takes, to checked features.
    X_pool, X_val, y_val, n, by, target
        As in :meth:`ConceptInfluenceExplainer.suggest_annotations`.
    progress : Progress
        Shows its bars.
    """
    check_concepts(heads)
    of_pool = X_pool is not None
    n, by = check_n(n), check_by(by, of_pool=of_pool)
    target = check_target(target)
    features, codes = check_held_out(heads, read_features, X_val, y_val)
    if of_pool:
        with error_context("X_pool", "what X is in fit"):
            pool = read_features(X_pool)
        asked, texts = pool_rows(heads, training, solved, pool), texts_of(X_pool)
    else:
        asked = training_rows(heads, training, solved)
        check_missing(asked.missing)
    solved = asked.solved
    validation = solved.inputs(features)
    on_device = torch.from_numpy(codes).to(solved.device)
    beliefs = None
    if of_pool:
        beliefs = beliefs_of_labels(
            solved.bottleneck, validation, on_device, asked.rows.features
        )
    class_weights = validation.new_tensor(training.class_weight)
    interest = _interest(solved, validation, on_device, target)
    answers = answers_by_path(asked, interest, class_weights, beliefs)
    loss = evaluate(LabelTarget("loss", on_device), solved.bottleneck, validation)
    return suggestions_of(
        heads,
        asked,
        choose(answers, asked.missing, n, by, progress),
        texts,
        by=by,
        of_pool=of_pool,
        target=TARGETS[target],
        unit="nats",
        value=float(loss.mean()),
        n_validation=len(codes),
    )


def _interest(
    solved: Solved, validation: Features, codes: torch.Tensor, target: str
) -> Interest:
    """Return how the target moves with all parameters."""
    bottleneck, factors = solved.bottleneck, solved.factors
    if target != "concepts":
        of_label = interest_in_label(bottleneck, factors, validation, codes)
        if target == "loss":
            return of_label
    noise = noise_of_concepts(bottleneck, solved.data)
    of_concepts = interest_in_concepts(bottleneck, factors, validation, noise)
    return of_concepts if target == "concepts" else of_label + of_concepts
