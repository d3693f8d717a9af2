"""What to annotate next, as a result for people."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..._models.fitted import FittedHeads
from ..._results.annotations import BY_ANNOTATION, AnnotationSuggestions
from .candidates import Asked, Chosen


def suggestions_of(
    heads: FittedHeads,
    asked: Asked,
    chosen: Chosen,
    texts: dict[str, np.ndarray],
    *,
    by: str,
    of_pool: bool,
    target: str,
    unit: str,
    value: float,
    n_validation: int,
) -> AnnotationSuggestions:
    """Return what was chosen, with the texts of the rows."""
    names = ["label", *heads.names]
    rows = asked.positions[chosen.rows]
    frame = pd.DataFrame({"row": rows})
    if by == BY_ANNOTATION:
        frame["concept"] = [names[path] for path in chosen.paths]
    gains = pd.DataFrame(chosen.gains, columns=names)
    frame["gain"] = np.nansum(chosen.gains, axis=1)
    taken = list(frame)
    for name, column in texts.items():
        frame[f"text {name}" if name in taken else name] = column[rows]
    is_one = by == BY_ANNOTATION
    n_candidates = int(asked.missing.sum()) if is_one else len(asked.positions)
    return AnnotationSuggestions(
        frame,
        gains if of_pool else gains.drop(columns="label"),
        by,
        of_pool,
        target,
        unit,
        value,
        n_candidates,
        n_validation,
    )
