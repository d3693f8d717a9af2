"""The page of an audit: what it shows, in the order of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from .._audit.proposals import is_asked
from .._audit.revisions import chosen_by_effect
from .._audit.rows import LEAST_PROBABILITY
from .._audit.truth import Truth, mark
from .._inputs.annotations import format_value as plain
from .._results.suggestions import HURTS
from .rendering import render
from .words import FAILURES, number, what_was_done

if TYPE_CHECKING:
    from .._audit.findings import Audit

N_HARMFUL = 20
_N_PROPOSALS = 10
_LEAST_SHARE = 0.05  # of a row's influence, for a path to be named

_Line = dict[str, Any]  # of a table
_Context = dict[str, Any]  # of a template


def audit_html(
    audit: Audit,
    run: dict[str, Any],
    truth: Truth | None = None,
    records: Sequence[dict[str, Any]] = (),
) -> str:
    """Return the page of an audit: one file that needs neither network nor script.

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
    planted = {} if truth is None else truth.errors(audit.training)

    def proposals(table: pd.DataFrame) -> list[_Context]:
        lines = table.head(_N_PROPOSALS).to_dict("records")
        return [
            {**_proposal(line), "truth": mark(truth, line, planted)} for line in lines
        ]

    amounts = {
        name: quality
        for name, quality in audit.metrics.get("concepts", {}).items()
        if "mean" in quality
    }
    asked = is_asked(audit.suggestions)
    is_overall = audit.influence["target"] == "all"
    overall, of_rows = audit.influence[is_overall], audit.influence[~is_overall]
    harmful = overall[overall["influence"] > 0].head(N_HARMFUL)
    shown = {*harmful["train_id"], *of_rows["train_id"]}
    training = audit.training[audit.training["id"].isin(shown)]
    known = training.set_index("id").to_dict("index")
    return {
        "run": run,
        "has_text": "text" in audit.predictions,
        "concepts": audit.concepts,
        "nothing_learned": audit.nothing_learned,
        "amounts": amounts,
        "n_categorical": len(audit.concepts) - len(amounts),
        "method": audit.method,
        "classes": [plain(value) for value in audit.classes],
        "metrics": audit.metrics,
        "counts": audit.counts,
        "warnings": run["warnings"],
        "groups": [] if audit.groups is None else audit.groups.to_dict("records"),
        "harmful": [
            _culprit(line, known, planted) for line in harmful.to_dict("records")
        ],
        "mistakes": _mistakes(audit, of_rows, known, planted),
        "failures": FAILURES,
        "suspects": {
            "n": len(audit.suspects),
            "least": LEAST_PROBABILITY,
            "rows": proposals(audit.suspects),
        },
        "suggestions": {
            "n": len(audit.suggestions),
            "worth": audit.suggested,
            "folded": (audit.suggested or {}).get("verdict") == HURTS,
            "rows": proposals(audit.suggestions[~asked]),
            "n_changes": int((~asked).sum()),
            "asked": proposals(audit.suggestions[asked]),
            "n_asked": int(asked.sum()),
        },
        "n_rejected": audit.counts.get("rejected_lines", 0),
        "repair": _repair(audit, run.get("repair")),
        "decisions": [_decision(r) for r in records if r["kind"] != "fit"],
        "planted": run.get("planted"),
        "demo": run.get("demo"),
    }


def _proposal(line: _Line) -> _Context:
    kind, current, proposed = line["kind"], line["current"], line["proposed"]
    wrong = line["probability_wrong"]
    words = {"relabel": "label", "annotate": "", "reweight": "weight", "drop": "drop"}
    missing = "not annotated" if kind == "annotate" else None
    guess = line.get("guess")
    return {
        "id": line["id"],
        "what": words[kind],
        "name": line["path"] if kind == "annotate" else None,
        "current": missing if current is None else plain(current),
        "proposed": None if proposed is None else plain(proposed),
        "guess": None if guess is None or pd.isna(guess) else plain(guess),
        "probability": None if pd.isna(wrong) else wrong,
        "effect": line.get("effect"),
        "text_hash": line["text_hash"],
        "group": line.get("group"),
        "text": line.get("text"),
    } | ({"current": None, "proposed": None} if kind == "drop" else {})


def _decision(record: dict[str, Any]) -> _Context:
    return {
        **{name: record[name] for name in ("number", "when", "by", "why")},
        "what": what_was_done(record),
        "effect": record.get("achieved_effect"),
        "by_effect": chosen_by_effect(record),
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
                "text_hash": row["text_hash"],
                "text": row.get("text"),
                "label": plain(row["label"]),
                "predicted": plain(row["predicted"]),
                "outcome": outcomes[row["id"]],
            }
            for row in audit.predictions[is_shown].to_dict("records")
        ]
    }


def _mistakes(
    audit: Audit,
    influence: pd.DataFrame,
    training: dict[str, _Line],
    planted: dict[str, str],
) -> list[_Context]:
    rows = audit.predictions.iloc[audit.mistakes].to_dict("records")
    culprits: dict[str, list[_Context]] = {row["id"]: [] for row in rows}
    for line in influence.to_dict("records"):
        culprits[line["target_id"]].append(_culprit(line, training, planted))
    return [
        {
            **_mistake(row, audit.concepts, audit.spreads),
            "culprits": culprits[row["id"]],
        }
        for row in rows
    ]


def _mistake(
    row: _Line, concepts: Sequence[str], spreads: dict[str, float]
) -> _Context:
    mistake: _Context = {
        "id": row["id"],
        "text_hash": row["text_hash"],
        "text": row.get("text"),
        "group": row.get("group"),
        "label": plain(row["label"]),
        "predicted": plain(row["predicted"]),
        "p_label": row[f"p={plain(row['label'])}"],
        "p_predicted": row[f"p={plain(row['predicted'])}"],
        "loss": row["loss"],
        "black_box": None,
        "failed": row.get("failed"),
        "concepts": [],
    }
    if concepts:
        says = plain(row["black_box_predicted"])
        p_says = row[f"black_box_p={says}"]
        mistake["black_box"] = {"predicted": says, "p": p_says}
    for name in concepts:
        annotated, predicted = row[f"annotated:{name}"], row[f"predicted:{name}"]
        is_known = annotated is not None and annotated == annotated
        instead = row[f"label_if_corrected:{name}"]
        differs, shown = plain(annotated) != plain(predicted), plain(predicted)
        if name in spreads:
            differs = is_known and abs(annotated - predicted) > spreads[name]
            shown = number(predicted)
        mistake["concepts"].append(
            {
                "name": name,
                "annotated": plain(annotated) if is_known else None,
                "predicted": shown,
                "differs": is_known and differs,
                "p_annotated": row[f"p_annotated:{name}"],
                "label_if_corrected": None if pd.isna(instead) else plain(instead),
            }
        )
    return mistake


def _culprit(
    line: _Line, training: dict[str, _Line], planted: dict[str, str]
) -> _Context:
    known = training[line["train_id"]]
    return {
        "id": line["train_id"],
        "text_hash": line["train_text_hash"],
        "text": known.get("text"),
        "group": known.get("group"),
        "label": plain(known["label"]),
        "influence": line["influence"],
        "paths": _paths(line, known),
        "planted": planted.get(line["train_id"]),
    }


def _paths(line: _Line, known: _Line) -> list[_Context]:
    """Return the paths that carry the influence, the one that carries most first."""
    parts = {
        name.removeprefix("path:"): value
        for name, value in line.items()
        if name.startswith("path:")
    }
    least = _LEAST_SHARE * abs(line["influence"])
    names = [
        name
        for name in sorted(parts, key=lambda name: -abs(parts[name]))
        if abs(parts[name]) >= least and name != line["path"]
    ]
    values = {"label": known["label"], "interaction": None} | {
        column.removeprefix("annotated:"): value
        for column, value in known.items()
        if column.startswith("annotated:")
    }
    return [
        {
            "name": name,
            "value": None if name == "interaction" else plain(values[name]),
            "influence": parts[name],
        }
        for name in (line["path"], *names)
    ]
