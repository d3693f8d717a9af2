"""A short HTML view of contributions, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs.annotations import format_value
from .rendering import render

if TYPE_CHECKING:
    from .._results.contributions import ConceptContributions

_ROWS, _CLASSES, _CONCEPTS = 3, 4, 8


def contributions_html(result: ConceptContributions) -> str:
    """Return a short HTML view of what the concepts say about a few rows."""
    n_shown = min(_ROWS, len(result.values))
    tables = [_table(result, i) for i in range(n_shown)]
    parts = [part for table in tables for _, part in table["lines"]]
    return render(
        "contributions.html",
        summary=repr(result),
        tables=tables,
        longest=max((np.abs(part).max() for part in parts), default=0.0) or 1.0,
        n_more=len(result.values) - n_shown,
    )


def _table(result: ConceptContributions, i: int) -> dict[str, Any]:
    """Return the parts of one row's logits: the largest ones, and all others as one."""
    values = result.values[i].T  # (n_concepts + 1, n_classes)
    totals = values.sum(axis=0)
    predicted = int(result.predicted()[i])
    likeliest = np.sort(np.argsort(-totals, kind="stable")[:_CLASSES])
    order = np.argsort(-np.abs(values[:, predicted]), kind="stable")
    # One line too many is no longer than the line that would replace it.
    shown = order if len(order) <= _CONCEPTS + 1 else order[:_CONCEPTS]
    lines = [(result.concepts[j], values[j, likeliest]) for j in shown]
    if rest := len(order) - len(shown):
        left_out = values[np.setdiff1d(order, shown)].sum(axis=0)
        lines.append((f"{rest:,} more together", left_out[likeliest]))
    return {
        "about": f"row {format_value(result.index[i])}, "
        f"{'' if result.of_thresholds else 'predicted '}"
        f"{format_value(result.classes[predicted])}",
        "classes": [format_value(result.classes[k]) for k in likeliest],
        "lines": lines,
        "totals": totals[likeliest].tolist(),
        "n_classes_left": len(totals) - len(likeliest),
    }
