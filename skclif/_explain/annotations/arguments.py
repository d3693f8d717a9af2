"""Arguments of what to annotate next, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._inputs.checks import check_count
from ..._models.fitted import FittedHeads
from ..._results.annotations import BY_ANNOTATION, BY_ROW

# What should fall, in words.
TARGETS = {
    "loss": "mean log-loss",
    "concepts": "mean log-loss of the concepts, summed",
    "all": "mean log-loss of label and concepts, summed",
}


def check_by(by: Any, *, of_pool: bool) -> str:
    """Return what a line asks for, checked."""
    if not isinstance(by, str) or by not in (BY_ROW, BY_ANNOTATION):
        raise ValueError(
            f"by={by!r} is not known; use {BY_ROW!r} to ask for all that is missing of "
            f"a row, or {BY_ANNOTATION!r} for one annotation at a time."
        )
    if by == BY_ANNOTATION and of_pool:
        raise ValueError(
            f"by={by!r} asks for one annotation of a row at a time, but rows of X_pool "
            "have no label, and no row is trained on without one: use by='row'. If you "
            "know the labels, give these rows to fit, their annotations missing, and "
            "use X_pool=None."
        )
    return str(by)


def check_target(target: Any) -> str:
    """Return what should fall, checked."""
    if not isinstance(target, str) or target not in TARGETS:
        raise ValueError(
            f"target={target!r} is not known; use one of {sorted(TARGETS)}: the "
            "log-loss of the label, of the concepts, or of all of them."
        )
    return target


def check_concepts(heads: FittedHeads) -> None:
    """Refuse a model without concepts."""
    if not heads.n_concepts:
        raise ValueError(
            "suggest_annotations asks for annotations of concepts, but the model has "
            "no concepts. Give concepts to fit."
        )


def check_missing(asked: np.ndarray) -> None:
    """Refuse training rows of which everything is annotated."""
    if not asked.any():
        raise ValueError(
            "X_pool is None, so missing annotations of training rows are suggested, "
            "but no training row lacks one. Give X_pool: rows that are not in training."
        )


def check_n(n: Any) -> int:
    """Return the maximum number of suggestions, checked."""
    return check_count("n", n, 1, None, "rows or annotations to suggest, at most")
