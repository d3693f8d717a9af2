"""What stands on the page of an audit, in the order of the page."""

from __future__ import annotations

from .._concepts import format_value as plain

N_HARMFUL = 20
_LEAST_SHARE = 0.05  # of a row's influence, for a path to be named


def audit_context(audit, run: dict, planted: dict[str, str] | None) -> dict:
    """Return what the template ``audit.html`` shows."""
    planted = {} if planted is None else planted
    is_overall = audit.influence["target"] == "all"
    overall, of_rows = audit.influence[is_overall], audit.influence[~is_overall]
    harmful = overall[overall["influence"] > 0].head(N_HARMFUL)
    shown = {*harmful["train_id"], *of_rows["train_id"]}
    training = audit.training[audit.training["id"].isin(shown)]
    training = training.set_index("id").to_dict("index")
    return {
        "run": run,
        "has_text": "text" in audit.predictions,
        "concepts": audit.concepts,
        "method": audit.method,
        "classes": [plain(value) for value in audit.classes],
        "metrics": audit.metrics,
        "counts": audit.counts,
        "warnings": run["warnings"],
        "groups": [] if audit.groups is None else audit.groups.to_dict("records"),
        "harmful": [
            _culprit(line, training, planted) for line in harmful.to_dict("records")
        ],
        "mistakes": _mistakes(audit, of_rows, training, planted),
        "planted": run.get("planted"),
    }


def _mistakes(audit, influence, training, planted) -> list[dict]:
    rows = audit.predictions.iloc[audit.mistakes].to_dict("records")
    culprits: dict[str, list[dict]] = {row["id"]: [] for row in rows}
    for line in influence.to_dict("records"):
        culprits[line["target_id"]].append(_culprit(line, training, planted))
    return [
        {**_mistake(row, audit.concepts), "culprits": culprits[row["id"]]}
        for row in rows
    ]


def _mistake(row: dict, concepts) -> dict:
    mistake = {
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
        "concepts": [],
    }
    if concepts:
        says = plain(row["black_box_predicted"])
        p_says = row[f"black_box_p={says}"]
        mistake["black_box"] = {"predicted": says, "p": p_says}
    for name in concepts:
        annotated, predicted = row[f"annotated:{name}"], row[f"predicted:{name}"]
        is_known = annotated is not None and annotated == annotated
        mistake["concepts"].append(
            {
                "name": name,
                "annotated": plain(annotated) if is_known else None,
                "predicted": plain(predicted),
                "differs": is_known and plain(annotated) != plain(predicted),
                "p_annotated": row[f"p_annotated:{name}"],
            }
        )
    return mistake


def _culprit(line: dict, training: dict, planted: dict[str, str]) -> dict:
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


def _paths(line: dict, known: dict) -> list[dict]:
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
