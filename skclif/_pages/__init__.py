"""Pages for people: HTML from results, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from .._inputs.annotations import format_value
from .audit_page import N_HARMFUL, audit_context, what_was_done
from .certificate import certificate
from .words import cut, number, percent, signed

__all__ = [
    "N_HARMFUL",
    "audit_html",
    "certificate",
    "influence_html",
    "suggestions_html",
    "what_was_done",
]


def audit_html(
    audit,
    run: dict,
    planted: dict[str, str] | None = None,
    records: Sequence[dict[str, Any]] = (),
) -> str:
    """Return the page of an audit: one file that needs neither network nor script.

    Parameters
    ----------
    audit : Audit
        What was found.
    run : dict
        What stands in ``run.json``: files, options, versions, fingerprints, timings.
    planted : dict of str to str, default=None
        What is known to be wrong, in words, by the id of the training row.
    records : sequence of dict, default=()
        Of the trail, to show what was decided.
    """
    template = _environment().get_template("audit.html")
    return template.render(audit_context(audit, run, planted, list(records)))


def influence_html(result, n_targets: int = 3, k: int = 5) -> str:
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
    columns = [str(name) for name in top.columns if name != "target"]
    template = _environment().get_template("influence.html")
    return template.render(
        summary=repr(result),
        tables=tables,
        columns=columns,
        n_more=len(result.values) - n_shown,
    )


def suggestions_html(suggestions, k: int = 10) -> str:
    """Return a short HTML view of suggested changes."""
    shown = suggestions.to_frame().head(k)
    template = _environment().get_template("suggestions.html")
    return template.render(
        summary=repr(suggestions),
        columns=[str(name) for name in shown.columns],
        numbers=["effect", "std_error"],
        rows=shown.to_numpy(object).tolist(),
        n_more=suggestions.n_chosen - len(shown),
    )


def _about(result, target: int) -> str:
    """Say which target it is, and its value."""
    if len(result.explained) <= target:
        return f"target {target}"
    known = result.explained.iloc[target]
    parts = [f"target {target}"]
    if "label" in known:
        parts.append(f"label {format_value(known['label'])}")
    parts.append(f"{result.target} {number(known['value'])}")
    text = f": {known['text']}" if "text" in known else ""
    return ", ".join(parts) + text


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("skclif", "_pages/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "cut": cut,
        "number": number,
        "percent": percent,
        "plain": format_value,
        "signed": signed,
    }
    environment.tests["missing"] = pd.isna
    return environment
