"""What an audit asks people, as questions that an annotation tool can show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._annotation_tools.questions import Question
from .._inputs.values import plain_value
from .._storage.cells import HASH_PREFIX, unescape_cell
from ..exceptions import DataFileError
from .decision_values import known_values, removal_word, value_word, word_of
from .folder import MODEL, AuditFolder
from .lists import SUGGESTIONS, SUSPECTS
from .rejections import standing, value_hash
from .replay import current
from .revisions import Revision
from .rows import short_hash

SOURCES = ("suspects", "suggestions", "next")
_OF_A_LINE = ("kind", "id", "text_hash", "path", "current", "proposed")
_EVIDENCE = ("effect", "probability_wrong", "guess")
_Line = dict[str, str]


@dataclass(frozen=True)
class Asked:
    """Questions, and what became of the lines that are none.

    Attributes
    ----------
    questions : list of Question
        The most important first.
    n_more : int
        Number of questions that the limit left out.
    n_weights : int
        Number of lines that drop or reweight a row, which no tool can ask.
    model_version : str
        Of the model that guesses.
    """

    questions: list[Question]
    n_more: int
    n_weights: int
    model_version: str


def ask(folder: AuditFolder, source: str, limit: int) -> Asked:
    """Return the questions of an audit.

    Parameters
    ----------
    folder : AuditFolder
    source : {"suspects", "suggestions", "next"}
        The list whose lines are asked about; "next" is about missing annotations: those
        that suggestions ask for, and then those of which the model is least sure.
    limit : int
        The largest number of questions.

    Raises
    ------
    DataFileError
        If the audit keeps no texts, or its lists are not those of the present model.
    """
    records, rows, model = folder.snapshot()
    if model is None or not folder.report_is_current(records):
        raise DataFileError(
            f"The report in {folder.path} is not of the present {MODEL}, or one of its "
            "lists was changed. Restore the list, or apply your decisions once more: "
            "that makes the report again."
        )
    revision = Revision(model, current(records, rows.train))
    if revision.rows.texts is None:
        raise DataFileError(
            f"The audit in {folder.path} keeps no texts, and nobody can annotate a "
            "text without reading it. Audit the file again without --no-text."
        )
    if source == "next":
        lines = _next(folder.path, revision, records)
    else:
        name = {"suspects": SUSPECTS, "suggestions": SUGGESTIONS}[source]
        lines = _read(folder.path / name)
    of_values = [line for line in lines if line["kind"] in ("relabel", "annotate")]
    positions = revision.rows.positions()
    questions = [
        _question(line, revision, str(revision.rows.texts[positions[line["id"]]]))
        for line in of_values[:limit]
    ]
    return Asked(
        questions,
        len(of_values) - len(questions),
        len(lines) - len(of_values),
        str(records[-1]["hash"])[:12],
    )


def _read(path: Path) -> list[_Line]:
    """Return the lines of a list of the report, as `report_is_current` vouches."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return [
        {name: unescape_cell(cell) for name, cell in line.items()}
        for line in table.to_dict("records")
    ]


def _question(line: _Line, revision: Revision, text: str) -> Question:
    kind, path, present = line["kind"], line["path"], line["current"]
    known = known_values(kind, path, revision)
    is_concept = kind == "annotate"
    words = []
    for value in known or []:
        word = word_of(value)
        # The present value stays as it is, so that its choice is known as a rejection.
        if is_concept and word != present:
            word = value_word(value, path, revision)
        words.append(word)
    if present and present not in words:
        words.append(present)
    if present and is_concept:
        words.append(removal_word(path, revision))
    guess = line["proposed"] or line.get("guess", "")
    if guess not in words and f"value:{guess}" in words:
        guess = f"value:{guess}"
    if line["proposed"]:
        line = {**line, "proposed": guess}
    score = line.get("probability_proposed") or line.get("probability_guess")
    return Question(
        {name: line[name] for name in (*_OF_A_LINE, *_EVIDENCE) if name in line},
        text,
        words,
        is_number=known is None,
        guess=guess,
        score=float(score) if score else None,
    )


def _next(
    folder: Path, revision: Revision, records: list[dict[str, Any]]
) -> list[_Line]:
    """Return lines about missing annotations, the most useful first."""
    missing = _missing(revision, records)
    asked = {
        (line["id"], line["path"]): line
        for line in _read(folder / SUGGESTIONS)
        if line["kind"] == "annotate" and not line["current"]
    }
    # The model says of no amount how unsure it is: only suggestions ask for some.
    wanted = [
        {**missing[key], "effect": line["effect"]} if key in missing else line
        for key, line in asked.items()
    ]
    rest = sorted(
        missing.keys() - asked.keys(),
        key=lambda key: (float(missing[key]["probability_guess"]), key),
    )
    return [*wanted, *({**missing[key], "effect": ""} for key in rest)]


def _missing(
    revision: Revision, records: list[dict[str, Any]]
) -> dict[tuple[str, str], _Line]:
    """Return a line for each missing annotation of a row that trains, by id and path.

    What was rejected is left out.
    """
    rows, rejected = revision.rows, standing(records)
    if not revision.model.n_concepts_:
        return {}
    proba = revision.model.predict_concept_proba(rows.features)
    found = {}
    for name, values in rows.concepts.items():
        path = str(name)
        known = known_values("annotate", path, revision)
        if known is None or len(known) == 1:
            # Of numbers, no probability says how unsure the model is. Of a constant,
            # there is one answer, which changes nothing.
            continue
        best = np.asarray(proba[path]).argmax(axis=1)
        for k in np.flatnonzero(values.isna().to_numpy() & (rows.weights > 0)):
            digest = str(rows.digests[k])
            key = (rows.ids[k], "annotate", path, value_hash(digest, path, None))
            if key in rejected:
                continue
            found[rows.ids[k], path] = {
                "kind": "annotate",
                "id": rows.ids[k],
                "text_hash": f"{HASH_PREFIX}{short_hash(digest)}",
                "path": path,
                "current": "",
                "proposed": "",
                "guess": word_of(plain_value(known[best[k]])),
                "probability_guess": repr(float(proba[path][k, best[k]])),
            }
    return found
