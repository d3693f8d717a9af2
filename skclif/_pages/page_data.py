"""What the scripts of an audit's page work with: one dict of plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from .._audit.amounts import range_of
from .._audit.decision_values import UNANNOTATED
from .._audit.evidence import MOST_LISTED, LabelHead, distinct
from .._audit.kinds import in_order
from .._audit.marks import Mark, MarkedText, Marks
from .._audit.proposals import is_asked
from .._audit.truth import Truth, mark
from .._inputs.values import format_value
from .words import FAILURES, number

if TYPE_CHECKING:
    from .._audit.findings import Audit

N_HARMFUL = 20  # training rows, on the mean loss
MOST_CHARACTERS = 20_000  # of one text; the tables have all of it
_DIGITS = 9  # of numbers that the page computes with
_FEW_DIGITS = 6  # of numbers that it shows
# What may not stand in a script element, and is as well said by its number.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
# Cells of a list that the page knows by themselves.
_OWN = {"decision", "why", "kind", "id", "text_hash", "path", "current", "proposed"}
_OWN |= {"group", "text"}

_Dict = dict[str, Any]


def page_data(audit: Audit, run: _Dict, truth: Truth | None = None) -> _Dict:
    """Return everything that the page lists, filters and computes with.

    Parameters
    ----------
    audit : Audit
    run : dict
        The content of ``run.json``.
    truth : Truth, default=None
        What is right, where errors were planted.

    Returns
    -------
    data : dict
        Values are words, as the tables write them; None = not annotated, or not known.
        ``mistakes``, and the two ``queues``, have at most `MOST_LISTED` ``rows`` or
        ``lines``. Influence is in nats; positive = harmful.
    """
    marks = audit.marks or Marks([], [], [])
    planted = {} if truth is None else truth.errors(audit.training)
    training = _Training(audit, planted)
    mistakes = _mistakes(audit, training, marks.mistakes)
    overall = audit.influence[audit.influence["target"] == "all"]
    harmful = overall[overall["influence"] > 0]
    helpful = overall[overall["influence"] < 0]
    return {
        # Decisions that a browser keeps are about this very state of the folder.
        "key": f"skclif {state_of(run)[:16]}",
        "folder": run["trail"] is not None,
        "text": "text" in audit.predictions,
        "loss": _short(audit.metrics["label"]["model"]["log_loss"]),
        "groups": _groups(audit),
        "classes": [format_value(value) for value in in_order(audit.classes)],
        "concepts": _concepts(audit),
        "paths": _paths(audit.influence),
        "head": _head(audit.evidence.head),
        "failures": FAILURES,
        "mistakes": {
            "total": audit.counts["mistakes"],
            "traced": len(audit.mistakes),
            "rows": mistakes,
        },
        "overall": {
            "harmful": training.behind(harmful.head(N_HARMFUL)),
            "helpful": training.behind(helpful.tail(N_HARMFUL)),
        },
        "queues": {
            "suspects": queue_of(audit.suspects, training, truth, marks.suspects),
            "suggestions": queue_of(
                audit.suggestions, training, truth, marks.suggestions
            ),
            **_machine(audit.machine, training, truth),
        },
        # Last, when all that is shown has been looked up.
        "training": training.rows,
    }


def state_of(run: _Dict) -> str:
    """Return the digest of what a page is about: of its trail, or of its model."""
    trail = run["trail"]
    return str(run["fingerprints"]["coefficients"] if trail is None else trail["hash"])


def as_script(data: _Dict) -> str:
    """Return data as JSON that can stand in a script element whatever it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def word(value: Any) -> str | None:
    """Return a value as the tables write it, None if it is missing."""
    return None if pd.isna(value) else format_value(value)


class PageRows(Protocol):
    """The rows that a page shows, each of them once."""

    rows: list[_Dict]
    planted: dict[str, str]

    def place(self, i: str) -> int:
        """Return the place of a row in `rows`."""


class _Training:
    """The training rows that the page shows, each of them once."""

    def __init__(self, audit: Audit, planted: dict[str, str]) -> None:
        self.known = audit.training.set_index("id").to_dict("index")
        self.concepts, self.paths = audit.concepts, _paths(audit.influence)
        self.planted = planted
        self.guessed = _guessed(audit.machine)
        self.places: dict[str, int] = {}
        self.rows: list[_Dict] = []

    def behind(self, lines: pd.DataFrame) -> list[list[Any]]:
        """Return place in `rows`, influence and that of every path, of each line."""
        columns = ["influence", *(f"path:{path}" for path in self.paths)]
        places = [self.place(i) for i in lines["train_id"]]
        numbers = lines[columns].to_numpy(dtype=float).tolist()
        return [
            [place, *(_short(value) for value in values)]
            for place, values in zip(places, numbers, strict=True)
        ]

    def place(self, i: str) -> int:
        """Return the place of a row in `rows`."""
        if i not in self.places:
            self.places[i] = len(self.rows)
            known = self.known[i]
            self.rows.append(
                {
                    "id": i,
                    "hash": known["text_hash"],
                    **text_of(known.get("text")),
                    "label": format_value(known["label"]),
                    "group": word(known.get("group")),
                    "annotated": [
                        word(known[f"annotated:{name}"]) for name in self.concepts
                    ],
                    "planted": self.planted.get(i),
                    **self.by_prompts(i),
                }
            )
        return self.places[i]

    def by_prompts(self, i: str) -> _Dict:
        """Return which annotations of a row are by prompts, if any may be."""
        if self.guessed is None:
            return {}
        return {"guessed": [(i, name) in self.guessed for name in self.concepts]}


def _guessed(machine: pd.DataFrame | None) -> set[tuple[str, str]] | None:
    """Return ids and concepts of annotations by prompts; None if there are none."""
    if machine is None:
        return None
    made = machine[machine["current"].notna()]
    return set(zip(made["id"], made["path"], strict=True))


def _mistakes(
    audit: Audit, training: _Training, marks: list[MarkedText | None]
) -> list[_Dict]:
    listed, head = audit.evidence.listed, audit.evidence.head
    rows = audit.predictions.iloc[listed].to_dict("records")
    is_row = audit.influence["target"] == "row"
    behind = {
        str(i): training.behind(lines)
        for i, lines in audit.influence[is_row].groupby("target_id", sort=False)
    }
    found = [_mistake(row, audit) for row in rows]
    for k, mistake in enumerate(found):
        mistake["behind"] = behind.get(mistake["id"], [])
        mistake["traced"] = k < len(audit.mistakes)
        if head is not None:
            mistake["activations"] = _numbers(head.activations[k])
    for mistake, marked in zip(found, marks, strict=False):  # of the first ones
        mistake["marks"] = _marks(mistake["text"], marked)
    return found


def _mistake(row: _Dict, audit: Audit) -> _Dict:
    says = row.get("black_box_predicted")
    return {
        "id": row["id"],
        "hash": row["text_hash"],
        **text_of(row.get("text")),
        "group": word(row.get("group")),
        "label": format_value(row["label"]),
        "predicted": format_value(row["predicted"]),
        "probabilities": [
            _number(row[f"p={format_value(value)}"])
            for value in in_order(audit.classes)
        ],
        "loss": _short(row["loss"]),
        "box": None if says is None else format_value(says),
        "box_p": None
        if says is None
        else _short(row[f"black_box_p={format_value(says)}"]),
        "failed": row.get("failed"),
        "read": [
            {
                "annotated": word(row[f"annotated:{name}"]),
                # An amount is predicted to more digits than anybody reads.
                "predicted": number(row[f"predicted:{name}"])
                if name in audit.spreads
                else word(row[f"predicted:{name}"]),
                "instead": word(row[f"label_if_corrected:{name}"]),
            }
            for name in audit.concepts
        ],
    }


def _machine(
    table: pd.DataFrame | None, training: _Training, truth: Truth | None
) -> _Dict:
    """Return the queue of annotations by prompts, if there are any."""
    if table is None:
        return {}
    return {"machine": queue_of(table, training, truth, []) | {"again": "skclif audit"}}


def queue_of(
    table: pd.DataFrame,
    training: PageRows,
    truth: Truth | None,
    marks: list[MarkedText | None],
) -> _Dict:
    """Return the lines of a list; missing annotations to ask for come last in it."""
    lines = table.head(MOST_LISTED).to_dict("records")
    found = [_line(line, training, truth) for line in lines]
    for line, marked in zip(found, marks, strict=False):  # of the first ones
        line["marks"] = _marks(training.rows[line["row"]]["text"], marked)
    return {
        "total": len(table),
        "asked": int(is_asked(table).sum()),
        "columns": [str(name) for name in table],
        "lines": found,
    }


def _marks(text: str | None, marked: MarkedText | None) -> _Dict | None:
    """Return marks as short as they can be: whole numbers, most of them small.

    ``at`` alternates how far a word begins behind the one before, and how long it is,
    in the units in which browsers count. Shares are in thousandths of the largest.
    Words behind the end of the text that is shown are left out.
    """
    if text is None or marked is None:
        return None
    spans = marked.spans[marked.spans[:, 1] <= len(text)]
    places, last = [], 0
    for start, stop in spans.tolist():
        places += [_length(text[last:start]), _length(text[start:stop])]
        last = stop
    return {
        "at": places,
        "of": [_mark(one, one.shares[: len(spans)]) for one in marked.marks],
    }


def _mark(mark: Mark, shares: np.ndarray) -> _Dict:
    largest = float(np.abs(shares).max(initial=0.0))
    parts = shares / (largest or 1.0)
    return {
        "path": mark.path,
        "value": word(mark.value),
        "against": word(mark.against),
        "linear": mark.is_linear,
        "largest": _short(largest),
        "shares": [round(1000 * part) for part in parts.tolist()],
    }


def _length(text: str) -> int:
    """Return the length of a text for a browser: characters of four bytes count 2."""
    return len(text) + sum(character > "\uffff" for character in text)


def _line(line: _Dict, training: PageRows, truth: Truth | None) -> _Dict:
    wrong, effect = line.get("probability_wrong"), line.get("effect")
    return {
        "kind": line["kind"],
        "id": line["id"],
        "row": training.place(line["id"]),
        "path": line["path"],
        "current": word(line["current"]),
        "proposed": word(line["proposed"]),
        "guess": word(line.get("guess")),
        "p": None if wrong is None or pd.isna(wrong) else _short(wrong),
        "effect": None if effect is None else _short(effect),
        **_by_prompts(line),
        "truth": mark(truth, line, training.planted),
        "more": {
            name: _cell(value) for name, value in line.items() if name not in _OWN
        },
    }


def _by_prompts(line: _Dict) -> _Dict:
    """Return how sure prompts are, and what a person's word is expected to bring."""
    return {
        str(name): None if pd.isna(value) else _short(value)
        for name, value in line.items()
        if name in ("confidence", "gain")
    }


def _cell(value: Any) -> str:
    """Return what the table writes into a cell."""
    if isinstance(value, float) and not pd.isna(value):
        return repr(float(value))
    return word(value) or ""


def text_of(text: str | None) -> _Dict:
    """Return a text, cut off if it is very long, and its whole length if so."""
    if text is None or len(text) <= MOST_CHARACTERS:
        return {"text": text}
    return {"text": text[:MOST_CHARACTERS], "length": len(text)}


def _concepts(audit: Audit) -> list[_Dict]:
    head = audit.evidence.head
    if head is None:
        return []
    return [
        {
            "name": name,
            "values": choices_of(values),
            # Of amounts: those far outside are asked about.
            "range": None
            if values is not None
            else range_of(audit.training[f"annotated:{name}"]),
        }
        for name, values in zip(head.names, head.values, strict=True)
    ]


def choices_of(values: list[str] | None) -> list[list[str]] | None:
    """Return values of a concept, and how decisions name them; None for any number.

    The last one takes an annotation away.
    """
    if values is None:
        return None
    alike = [value for value in values if value.casefold() == UNANNOTATED]
    known = [
        [value, f"value:{value}" if value in alike else value]
        for value in in_order(values)
    ]
    return [*known, ["", f"remove:{UNANNOTATED}" if alike else UNANNOTATED]]


def _head(head: LabelHead | None) -> _Dict | None:
    if head is None:
        return None
    return {
        "bottleneck": head.bottleneck,
        "classes": head.classes,
        "values": head.values,
        "columns": [list(pair) for pair in head.columns],
        "coef": [_numbers(row) for row in head.coef],
        "intercept": _numbers(head.intercept),
        "ranks": head.ranks,
    }


def _groups(audit: Audit) -> list[str]:
    tables = (audit.predictions, audit.suspects, audit.suggestions)
    found = [table["group"] for table in tables if "group" in table]
    return (
        [format_value(value) for value in distinct(pd.concat(found))] if found else []
    )


def _paths(influence: pd.DataFrame) -> list[str]:
    names = (str(name) for name in influence)
    return [name.removeprefix("path:") for name in names if name.startswith("path:")]


def _numbers(values: Iterable[float]) -> list[float]:
    return [_number(value) for value in values]


def _number(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def _short(value: float) -> float:
    return float(f"{value:.{_FEW_DIGITS}g}")
