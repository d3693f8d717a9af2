"""Arguments of suggestions, checked."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

from .candidates import KINDS
from .selection import FOLDS

LEAST_ROWS = 2 * FOLDS
_SHARE = 0.1  # of the training rows: the default budget


def check_kinds(kinds: Any, n_concepts: int) -> tuple[str, ...]:
    """Return the kinds of changes, checked, each once."""
    asked = (kinds,) if isinstance(kinds, str) else kinds
    asked = list(asked) if isinstance(asked, Iterable) else []
    if not asked or any(kind not in KINDS for kind in asked):
        raise ValueError(
            f"kinds={kinds!r} must name some of {', '.join(map(repr, KINDS))}."
        )
    if set(asked) == {"annotate"} and not n_concepts:
        raise ValueError(
            f"kinds={kinds!r} asks for annotations, but the model has no concepts."
        )
    return tuple(kind for kind in KINDS if kind in asked)


def check_budget(budget: Any, n_samples: int) -> int:
    """Return the maximum number of changes; the default is a tenth of the rows."""
    if budget is None:
        return max(1, round(_SHARE * n_samples))
    if not isinstance(budget, Integral) or isinstance(budget, bool | np.bool_):
        raise TypeError(f"budget must be a whole number or None, got {budget!r}.")
    if budget < 1:
        raise ValueError(
            f"budget={budget} must be 1 or more: it is the maximum number of changes."
        )
    return int(budget)


def check_enough(n_validation: int) -> None:
    """Refuse too few validation rows to choose on some and measure on others."""
    if n_validation < LEAST_ROWS:
        raise ValueError(
            f"X has {n_validation} validation rows, but suggestions need at least "
            f"{LEAST_ROWS}: they are chosen on some rows and measured on others, in "
            f"{FOLDS} folds."
        )
