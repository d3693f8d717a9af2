"""What a person decided, read from a table and held against the rows as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._audit_data import short_hash
from ._cells import original
from ._concepts import format_value
from ._revisions import CHANGES, Change, Revision, current_value
from .datasets._reviews import read_columns
from .exceptions import DataFileError

ACCEPT = ("accept", "accepted", "yes", "y")
REJECT = ("", "reject", "rejected", "no", "n")
_ROLES = {
    "decision": "whether it is accepted",
    "kind": "the kind of change",
    "id": "the identifier",
    "text_hash": "the hash of the text",
    "path": "what is changed",
    "current": "the value that was decided on",
    "proposed": "the new value",
    "why": "the reason",
    "text": "the text",
    "effect": "the effect",
}
_OPTIONAL = {"why", "text", "effect"}
_LARGEST_WEIGHT = 1e6


@dataclass(frozen=True)
class Decisions:
    """Accepted changes, held against the rows.

    Attributes
    ----------
    changes : list of Change
        What is to be different.
    n_accepted, n_rejected : int
        Lines of the file.
    n_in_effect : int
        Accepted, and so already.
    by_effect : bool
        Whether some were listed by their effect on the held-out rows.
    """

    changes: list[Change]
    n_accepted: int
    n_rejected: int
    n_in_effect: int
    by_effect: bool


def read_decisions(
    path: Path, revision: Revision, elsewhere: dict[str, str], encoding: str = "utf-8"
) -> Decisions:
    """Return the accepted changes of a file of decisions.

    Parameters
    ----------
    path : Path
        In the form of ``suspects.csv`` and ``suggestions.csv``.
    revision : Revision
        The model and its rows as they are.
    elsewhere : dict of str to str
        Ids that are not among the rows, and what became of them.
    encoding : str, default="utf-8"

    Raises
    ------
    DataFileError
        If a line cannot be read, or speaks of a row, a text, or a value that is not
        there (any more). The message names the line, and nothing is changed.
    """
    columns = read_columns(path, _ROLES, encoding, _OPTIONAL)
    names = list(columns)
    lines = [
        {name: _cell(name, value) for name, value in zip(names, cells, strict=True)}
        for cells in zip(*columns.values(), strict=True)
    ]
    accepted = [
        (number, line)
        for number, line in enumerate(lines, 1)
        if _is_accepted(f"{path}, row {number}", line["decision"])
    ]
    positions = revision.rows.positions()
    chosen: dict[tuple[str, str], Change] = {}
    n_in_effect = 0
    for number, line in accepted:
        where = f"{path}, row {number}"
        change = _change(where, line, revision, positions, elsewhere)
        if change is None:
            n_in_effect += 1
            continue
        key = (change.id, change.path)
        if chosen.setdefault(key, change).new != change.new:
            raise DataFileError(
                f"{where}: two accepted lines give {change.path!r} of {change.id!r} "
                f"different values, {chosen[key].new!r} and {change.new!r}. Accept one."
            )
    _refuse_contradictions(path, list(chosen.values()))
    return Decisions(
        list(chosen.values()),
        len(accepted),
        len(lines) - len(accepted),
        n_in_effect,
        any(line.get("effect") for _, line in accepted),
    )


def read_ids(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the identifiers in a text file, one a line, each once.

    Raises
    ------
    DataFileError
        If it is not text, or holds none.
    FileNotFoundError
        If there is no file.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise DataFileError(f"{path} is a folder; name a text file.")
    try:
        text = path.read_bytes().decode(
            "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        )
    except UnicodeError as error:
        raise DataFileError(
            f"{path} is not written in {encoding!r}; say what it is written in with "
            "--encoding."
        ) from error
    ids = list(dict.fromkeys(filter(None, map(str.strip, text.split("\n")))))
    if not ids:
        raise DataFileError(f"{path} names nobody: it should hold one id a line.")
    return ids


def _cell(name: str, value) -> str:
    """Return a cell as it was before it was made harmless, without spaces around."""
    cell = "" if value is None else original(format_value(value))
    return cell if name == "text" else cell.strip()


def _is_accepted(where: str, decision: str) -> bool:
    word = decision.casefold()
    if word not in ACCEPT + REJECT:
        raise DataFileError(
            f"{where}: the decision {decision!r} is not known. Write 'accept', or "
            "'reject' or nothing."
        )
    return word in ACCEPT


def _change(where, line, revision: Revision, positions, elsewhere) -> Change | None:
    """Return the change that a line asks for, None if it is so already."""
    position = positions.get(line["id"])
    if position is None:
        said = elsewhere.get(line["id"], "there is no such row")
        raise DataFileError(f"{where}: of the row {line['id']!r}: {said}.")
    rows = revision.rows
    digest = rows.digests[position]
    _check_text(where, line, digest)
    kind, path = line["kind"], line["path"]
    if kind not in CHANGES:
        raise DataFileError(
            f"{where}: the kind {kind!r} is none of {', '.join(CHANGES)}."
        )
    path = _path(where, kind, path, revision)
    old = current_value(rows, revision.weights, position, path)
    new = _value(where, kind, path, line["proposed"], revision)
    if _same(old, new):
        return None
    said = line["current"]
    if (said or path != "row") and said != _word(old) and not _equal(said, old):
        raise DataFileError(
            f"{where}: {path!r} of {line['id']!r} has changed since: decided on was "
            f"{said!r}, now it is {_word(old)!r}. Look at it again, and write the "
            "value that it has into the column current."
        )
    return Change(
        kind, line["id"], short_hash(digest), path, old, new, line.get("why") or None
    )


def _check_text(where: str, line: dict[str, str], digest: str) -> None:
    if line["text_hash"] != short_hash(digest):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} is not the one that was decided on: "
            f"its hash is {short_hash(digest)}, not {line['text_hash']!r}. Take the "
            "line from the present suspects.csv or suggestions.csv, and decide again."
        )
    text = line.get("text")
    if text and digest not in _digests(text):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} in this file is not the one that "
            "was audited. If it was changed by mistake, restore it or leave out the "
            "column text; if the review itself is to change, audit it again."
        )


def _digests(text: str) -> set[str]:
    """Return the hashes of a text, with line ends as programs write them."""
    unix = text.replace("\r\n", "\n").replace("\r", "\n")
    forms = (text, unix, unix.replace("\n", "\r\n"), unix.replace("\n", "\r"))
    return {hashlib.sha256(form.encode()).hexdigest() for form in forms}


def _path(where: str, kind: str, path: str, revision: Revision) -> str:
    concepts = [str(name) for name in revision.model.concept_names_in_]
    known = {"relabel": ["label"], "annotate": concepts}.get(kind, ["row"])
    path = path or (known[0] if kind != "annotate" else path)
    if path not in known:
        raise DataFileError(
            f"{where}: {kind!r} of {path!r}; it goes with "
            f"{', '.join(map(repr, known)) or 'concepts, of which there are none'}."
        )
    return path


def _value(where: str, kind: str, path: str, said: str, revision: Revision) -> Any:
    if kind == "drop":
        return 0.0
    if kind == "reweight":
        try:
            weight = float(said)
        except ValueError:
            weight = -1.0
        if not 0 <= weight <= _LARGEST_WEIGHT:
            raise DataFileError(
                f"{where}: the weight {said!r} is no number from 0 to "
                f"{_LARGEST_WEIGHT:g}."
            )
        return weight
    model = revision.model
    known = model.classes_
    if kind == "annotate":
        if not said:
            return None
        known = model.concept_classes_[list(model.concept_names_in_).index(path)]
    for value in known.tolist():
        if format_value(value) == said or _equal(said, value):
            return value
    words = ", ".join(repr(format_value(value)) for value in known)
    hint = "." if kind == "relabel" else ", or nothing to take the annotation away."
    raise DataFileError(
        f"{where}: the value {said!r} of {path!r} is not known to the model, which "
        f"has {words}{hint}"
    )


def _refuse_contradictions(path: Path, changes: list[Change]) -> None:
    dropped = {change.id for change in changes if change.kind == "drop"}
    for change in changes:
        if change.id in dropped and change.kind != "drop":
            raise DataFileError(
                f"{path}: {change.id!r} is to be dropped and its {change.path!r} to be "
                "changed. Accept one of the two."
            )


def _word(value) -> str:
    return "" if value is None else format_value(value)


def _same(old, new) -> bool:
    return old is new or (type(old) is type(new) and old == new)


def _equal(said: str, value) -> bool:
    """Return whether a cell and a value are the same number, such as 4.0 and 4."""
    if isinstance(value, str | bool | None):
        return False
    try:
        return float(said) == float(value)
    except ValueError:
        return False
