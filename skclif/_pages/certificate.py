"""The record of forgetting as plain text, to be signed."""

from __future__ import annotations

from typing import Any

from .._results.words import how_many

_RULE = "=" * 72
_LINE = "_" * 40


def certificate(record: dict[str, Any]) -> str:
    """Return the text about a record of kind "forget"."""
    n_train, n_held_out = len(record["forgotten"]), len(record["held_out"])
    before, after = record["before"], record["after"]
    lines = [
        "RECORD OF FORGETTING",
        _RULE,
        f"Record {record['number']} of trail.jsonl, SHA-256 {record['hash']}",
        f"When      {record['when']}",
        f"By        {_said(record['by'])}",
        f"Why       {_said(record['why'])}",
        f"Made with skclif {record['environment']['skclif']}",
        "",
        f"Removed: {how_many(n_train, 'training row')}, "
        f"{how_many(n_held_out, 'held-out row')}",
        "",
        *(f"  training  {i}  (text {digest})" for i, digest in record["forgotten"]),
        *(f"  held out  {i}  (text {digest})" for i, digest in record["held_out"]),
        "",
        "What was done",
        "  The model was fitted from zero to the other rows. It is, bit for bit, a",
        "  model that never saw these rows. Anyone who has this folder can check it",
        "  with: skclif replay",
        "  Their texts, vectors, labels, annotations, predictions and influence were",
        "  removed from rows.safetensors, from the tables and from the page; the",
        "  cache embeddings.sqlite was deleted.",
        "",
        "SHA-256            before",
        "                   after",
        *(
            line
            for part in ("data", "features", "weights", "model")
            for line in (f"{part:<17}  {before[part]}", f"{'':<17}  {after[part]}")
        ),
        "",
        "What is left of them here",
        "  Their ids and text hashes, above and in trail.jsonl. The trail also has a",
        "  hash of text, label and annotations, and the changes that were decided for",
        "  them before: it has to say who was forgotten. A hash does not hide a text",
        "  from those who can guess it.",
        "",
        "What this does not reach",
        "  The file that was audited, tables that people made or copied (decisions,",
        "  predictions), the same text under another id, copies of this folder,",
        "  backups, and whatever was made with the model before.",
        "",
        "",
        f"Signed  {_LINE}",
        "",
        f"Date    {_LINE}",
    ]
    return "\n".join(lines) + "\n"


def _said(text: str | None) -> str:
    """Return what was given, in one line."""
    return " ".join(text.split()) if text else "not said"
