"""Arguments of a reweighter, checked: its estimator, clean rows, and target."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import has_fit_parameter

from .._inputs.checks import check_labels, count_rows
from .._inputs.pipelines import final_step, is_frozen
from .._inputs.weighted import check_weighted
from .._results.words import how_many
from ..targets._target import (
    Target,
    as_target,
    check_divisible,
    check_rows,
    with_classes,
    with_groups,
)

_IN_A_SEARCH = (
    " In a search or cross-validation, leave them out of the target and pass "
    "fit(target_groups=...), which is divided as X is."
)


def check_estimator(estimator: Any, concepts: Any, concept_sample_weight: Any) -> None:
    """Refuse by name what cannot be fitted with weights."""
    model = final_step(estimator)
    if isinstance(model, type):
        raise TypeError(
            f"estimator must be an instance, got the class {model.__name__}; pass "
            f"{model.__name__}()."
        )
    name = type(model).__name__
    if is_frozen(estimator):
        raise TypeError(
            f"estimator ends in a FrozenEstimator around {name}, which cannot be "
            f"fitted with other weights; pass {name} itself. Steps before it may be "
            "frozen."
        )
    if not is_classifier(estimator):
        raise TypeError(
            f"estimator must be a classifier, or a pipeline that ends in one, got "
            f"{name if hasattr(model, 'fit') else repr(model)}."
        )
    check_weighted(model)
    if concepts is not None and not has_fit_parameter(model, "concepts"):
        raise TypeError(
            f"concepts were given, but {name} takes none; use "
            "ConceptBottleneckClassifier, or leave concepts out."
        )
    if concept_sample_weight is not None and not has_fit_parameter(
        model, "concept_sample_weight"
    ):
        raise TypeError(
            f"concept_sample_weight was given, but {name} takes none; use "
            "ConceptBottleneckClassifier, or leave it out."
        )


def check_validation(
    X_val: Any, y_val: Any, clean: np.ndarray | None, n_samples: int
) -> np.ndarray | None:
    """Return the labels of clean rows that are not in X, if there are any."""
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}; pass both or neither.")
    if X_val is None:
        return None
    if clean is not None:
        raise ValueError(
            "is_clean and X_val were both given; mark clean rows of X by is_clean, or "
            "pass clean rows that are not in X as X_val and y_val."
        )
    n_validation = count_rows(X_val, "X_val")
    if n_validation == n_samples:
        raise ValueError(
            f"X_val has {how_many(n_validation, 'row')}, as many as X. A search or "
            "cross-validation would slice it as if its rows were those of X; put the "
            "rows into X and mark them by is_clean."
        )
    return check_labels(y_val, n_validation, name="y_val", of="X_val")


def check_target(
    target: Any,
    target_groups: Any,
    y: np.ndarray,
    y_val: np.ndarray | None,
) -> Target | None:
    """Return the target of the rows of X, or of X_val, with its groups."""
    if target is None:
        if target_groups is not None:
            raise ValueError(
                "target_groups was given, but there is no target that takes groups; "
                "pass target=skclif.targets.worst_group_loss(), for example."
            )
        return None
    of, labels = ("X", y) if y_val is None else ("X_val", y_val)
    target = as_target(given := target)
    if target is None:
        raise TypeError(
            f"target={given!r} must be a target of skclif.targets, such as "
            "worst_group_loss(), or None for the mean log-loss."
        )
    check_divisible(target, "InfluenceReweighter")
    target = with_groups(target, target_groups, "target_groups", of)
    advice = _IN_A_SEARCH if target_groups is None else ""
    check_rows(target, len(labels), of, advice)
    return with_classes(target, np.unique(y))
