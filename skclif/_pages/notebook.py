"""Short HTML views of results, for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._inputs.annotations import format_value
from .rendering import render
from .words import number

if TYPE_CHECKING:
    from .._results.bottleneck_report import BottleneckReport
    from .._results.comparison import EditComparison
    from .._results.influence import InfluenceResult
    from .._results.suggestions import EditSuggestions


def influence_html(result: InfluenceResult, n_targets: int = 3, k: int = 5) -> str:
    """Return a short HTML view of an influence result."""
    top = result.top(k)
    n_shown = min(n_targets, len(result.values))
    tables = [
        {
            "about": _about(result, t),
            "rows": top[top["target"] == t].drop(columns="target").to_numpy(object),
        }
        for t in range(n_shown)
    ]
    return render(
        "influence.html",
        summary=repr(result),
        tables=tables,
        columns=[str(name) for name in top.columns if name != "target"],
        n_more=len(result.values) - n_shown,
    )


def suggestions_html(suggestions: EditSuggestions, k: int = 10) -> str:
    """Return a short HTML view of suggested changes."""
    shown = suggestions.to_frame().head(k)
    return render(
        "suggestions.html",
        summary=repr(suggestions),
        columns=[str(name) for name in shown.columns],
        numbers=["effect", "std_error"],
        rows=shown.to_numpy(object).tolist(),
        n_more=suggestions.n_chosen - len(shown),
    )


def comparison_html(comparison: EditComparison, k: int = 10) -> str:
    """Return a short HTML view of what an edit changed."""
    shown = comparison.to_frame().head(k)
    return render(
        "comparison.html",
        summary=repr(comparison),
        concepts=comparison.concepts.to_dict("records"),
        columns=[str(name) for name in shown.columns],
        numbers=["loss_before", "loss_after"],
        rows=shown.to_numpy(object).tolist(),
        n_more=comparison.n_changed - len(shown),
    )


def _about(result: InfluenceResult, target: int) -> str:
    """Return which target it is, its value and its text."""
    if len(result.explained) <= target:
        return f"target {target}"
    known = result.explained.iloc[target]
    parts = [f"target {target}"]
    if "label" in known:
        parts.append(f"label {format_value(known['label'])}")
    parts.append(f"{result.target} {number(known['value'])}")
    text = f": {known['text']}" if "text" in known else ""
    return ", ".join(parts) + text


def report_html(report: BottleneckReport) -> str:
    """Return the verdicts on a bottleneck, and the scores of the models beside it."""
    return render(
        "bottleneck.html",
        n_samples=report.n_samples,
        n_folds=report.n_folds,
        verdicts=report.verdicts,
        scores=report.scores.to_dict("records"),
        concepts=report.concepts.to_dict("records"),
    )
