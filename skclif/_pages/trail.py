"""What a page says of the trail: who decided what, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .._audit.revisions import chosen_by_effect
from .._results.words import how_many
from .page_data import word
from .words import what_was_done

MOST_ROWS = 50  # of a record; the trail has all of them
_WHAT = {"relabel": "label", "reweight": "weight", "drop": "the row was left out"}
_DONE = {
    "relabel": ("label", "changed"),
    "annotate": ("annotation", "changed"),
    "reweight": ("weight", "changed"),
    "drop": ("row", "left out"),
}
_SOURCES = {
    "person": "a person",
    "suspect": "the suspects",
    "suggestion": "the suggestions",
}

_Dict = dict[str, Any]


def decided(records: Sequence[_Dict]) -> list[_Dict]:
    """Return every record except fits; no row that was forgotten since is named."""
    forgotten = {
        i
        for record in records
        if record["kind"] == "forget"
        for i, _ in [*record["forgotten"], *record["held_out"]]
    }
    return [_decided(r, forgotten) for r in records if r["kind"] != "fit"]


def _decided(record: _Dict, forgotten: set[str]) -> _Dict:
    lines = [
        *(_change(one) for one in record.get("changes", [])),
        *(_rejection(one) for one in record.get("rejected", [])),
    ]
    lines = [line for line in lines if line["id"] not in forgotten]
    return {
        **{name: record[name] for name in ("number", "when", "by", "why")},
        "what": _what(record),
        "effect": record.get("achieved_effect"),
        "by_effect": chosen_by_effect(record),
        "lines": lines[:MOST_ROWS],
        "n_lines": len(lines),
    }


def _what(record: _Dict) -> str:
    """Return in words what a record did."""
    if record["kind"] == "forget":
        return what_was_done(record)
    kinds = Counter(change["kind"] for change in record.get("changes", []))
    done = [
        f"{how_many(n, thing)} {verb}"
        for kind, (thing, verb) in _DONE.items()
        if (n := kinds[kind])
    ]
    if record.get("rejected"):
        done.append(f"{how_many(len(record['rejected']), 'line')} rejected")
    return ", ".join(done)


def _change(change: _Dict) -> _Dict:
    values = {"old": word(change["old"]), "new": word(change["new"])}
    if change["kind"] == "drop":
        values = dict.fromkeys(values, "–")
    source = _SOURCES.get(change.get("source") or "", "–")
    return _line(change) | values | {"source": source}


def _rejection(rejection: _Dict) -> _Dict:
    return _line(rejection) | {"old": "–", "new": "rejected: it stays", "source": "–"}


def _line(one: _Dict) -> _Dict:
    is_concept = one["kind"] == "annotate"
    what = one["path"] if is_concept else _WHAT[one["kind"]]
    return {"id": one["id"], "what": what, "why": one.get("why")}
