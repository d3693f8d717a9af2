"""The page of an audit: readable without scripts, and what they work with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._audit.proposals import is_asked
from .._audit.rows import LEAST_PROBABILITY
from .._audit.truth import Truth
from .._inputs.values import format_value as plain
from .._results.suggestions import HURTS
from .bundle import policy, script, style
from .overview import (
    concepts_table,
    confusion_table,
    curve,
    failures_table,
    scores_table,
)
from .page_data import N_HARMFUL, as_script, page_data
from .rendering import render
from .trail import decided
from .words import FAILURES

if TYPE_CHECKING:
    from .._audit.findings import Audit

__all__ = ["N_HARMFUL", "audit_html"]

# What holds all lines of a table, and what traces more mistakes.
_WHERE = {
    "folder": {
        "predictions": "predictions.csv",
        "suspects": "suspects.csv",
        "suggestions": "suggestions.csv",
        "scores": "run.json",
        "max_mistakes": "--max-mistakes of skclif audit",
    },
    "report": {
        "predictions": "report.predictions",
        "suspects": "report.suspects",
        "suggestions": "report.suggestions",
        "scores": "report.metrics",
        "max_mistakes": "max_mistakes",
    },
}
N_STATIC = 10  # of each list, for those who read without scripts, or on paper

_Context = dict[str, Any]  # of a template


def audit_html(
    audit: Audit,
    run: dict[str, Any],
    truth: Truth | None = None,
    records: Sequence[dict[str, Any]] = (),
) -> str:
    """Return the page of an audit: one file that needs no network.

    Without scripts it shows the overview, the beginning of every list, and the trail.

    Parameters
    ----------
    audit : Audit
        What was found.
    run : dict
        The content of ``run.json``: files, options, versions, fingerprints, timings.
    truth : Truth, default=None
        What is right, where errors were planted.
    records : sequence of dict, default=()
        Of the trail, to show what was decided.
    """
    return render("audit.html", **_context(audit, run, truth, records))


def _context(
    audit: Audit,
    run: dict[str, Any],
    truth: Truth | None,
    records: Sequence[dict[str, Any]],
) -> _Context:
    data = page_data(audit, run, truth)
    lines = data["queues"]["suggestions"]["lines"]
    asked = is_asked(audit.suggestions).to_numpy()[: len(lines)]
    n_asked = int(is_asked(audit.suggestions).sum())
    return {
        "data": as_script(data),
        "script": script(),
        "style": style(),
        "policy": policy(),
        "page": data,
        "n_static": N_STATIC,
        "where": _WHERE["folder" if data["folder"] else "report"],
        "run": run,
        "has_text": data["text"],
        "concepts": audit.concepts,
        "nothing_learned": audit.nothing_learned,
        "method": audit.method,
        "metrics": audit.metrics,
        "counts": audit.counts,
        "warnings": run["warnings"],
        "scores": scores_table(audit),
        "concept_lines": concepts_table(audit),
        "annotated": _share_annotated(audit),
        "stages": failures_table(audit, FAILURES),
        "confusion": confusion_table(audit.evidence.confusion),
        "curve": curve(audit),
        "bottleneck": audit.bottleneck,
        "groups": [] if audit.groups is None else audit.groups.to_dict("records"),
        "failures": FAILURES,
        "suspects": {
            "n": len(audit.suspects),
            "least": LEAST_PROBABILITY,
            "n_probable": int((audit.suspects["probability_wrong"] >= 0.5).sum()),
        },
        "suggestions": {
            "n": len(audit.suggestions),
            "worth": audit.suggested,
            "hurts": (audit.suggested or {}).get("verdict") == HURTS,
            "n_changes": len(audit.suggestions) - n_asked,
            "n_asked": n_asked,
            "changes": [
                x for x, is_one in zip(lines, asked, strict=True) if not is_one
            ],
            "asked": [x for x, is_one in zip(lines, asked, strict=True) if is_one],
        },
        "machine": _machine(audit, data),
        "n_rejected": audit.counts.get("rejected_lines", 0),
        "repair": _repair(audit, run.get("repair")),
        "decisions": decided(records),
        "planted": run.get("planted"),
        "demo": run.get("demo"),
    }


def _share_annotated(audit: Audit) -> float:
    """Return the share of the concepts of held-out rows that are annotated."""
    columns = [f"annotated:{name}" for name in audit.concepts]
    return float(audit.predictions[columns].notna().to_numpy().mean()) if columns else 1


def _machine(audit: Audit, data: _Context) -> _Context | None:
    """Return what is said of annotations by prompts; None if there are none."""
    if audit.machine is None:
        return None
    return {
        "n": len(audit.machine),
        "n_missing": int(audit.machine["current"].isna().sum()),
        "lines": data["queues"]["machine"]["lines"],
    }


def _repair(audit: Audit, repair: dict[str, Any] | None) -> _Context | None:
    """Return what the last edit changed on held-out rows, the first of them in full."""
    if repair is None:
        return None
    shown = repair["changed"][:N_HARMFUL]
    outcomes = {i: outcome for i, _, outcome in shown}
    is_shown = audit.predictions["id"].isin(list(outcomes))
    return repair | {
        "changed": [
            {
                "id": row["id"],
                "hash": row["text_hash"],
                "text": row.get("text"),
                "label": plain(row["label"]),
                "predicted": plain(row["predicted"]),
                "outcome": outcomes[row["id"]],
            }
            for row in audit.predictions[is_shown].to_dict("records")
        ]
    }
