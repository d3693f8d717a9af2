"""What a person decided, read from a table and compared with the current rows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .._inputs.annotations import format_value
from .._storage.cells import unescape_cell
from .._storage.tables import check_encoding, is_whole_text, read_columns
from ..exceptions import DataFileError
from .revisions import CHANGES, Change, Revision, current_value
from .rows import short_hash

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
_LIKE_A_NUMBER = re.compile(r"\d+(e\d+)?", re.ASCII)


@dataclass(frozen=True)
class Decisions:
    """Accepted changes that fit the current rows.

    Attributes
    ----------
    changes : list of Change
        Changes to make.
    n_accepted, n_rejected : int
        Number of lines in the file.
    n_in_effect : int
        Number of accepted lines whose value is already there.
    by_effect : bool
        Whether some lines were listed by their effect on the held-out rows.
    sha256 : str
        Of the file.
    """

    changes: list[Change]
    n_accepted: int
    n_rejected: int
    n_in_effect: int
    by_effect: bool
    sha256: str


def read_decisions(
    path: Path, revision: Revision, elsewhere: dict[str, str], encoding: str = "utf-8"
) -> Decisions:
    """Return the accepted changes of a file of decisions.

    Parameters
    ----------
    path : Path
        In the form of ``suspects.csv`` and ``suggestions.csv``.
    revision : Revision
        The current model and its rows.
    elsewhere : dict of str to str
        Ids that are not among the rows, and the reason.
    encoding : str, default="utf-8"

    Raises
    ------
    DataFileError
        If a line cannot be read, or names a row, a text or a value that is not there,
        or no longer. The message names the line, and nothing is changed.
    """
    columns = read_columns(path, _ROLES, encoding, _OPTIONAL)
    lines = [
        _line(f"{path}, row {number}", columns, cells)
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1)
    ]
    accepted = [line for line in lines if _is_accepted(line)]
    positions = revision.rows.positions()
    chosen: dict[tuple[str, bool, str], Change] = {}
    n_in_effect = 0
    for line in accepted:
        change = _change(line, revision, positions, elsewhere)
        n_in_effect += _is_so(change)
        key = (change.id, change.kind == "annotate", change.path)
        if not _same(chosen.setdefault(key, change).new, change.new):
            raise DataFileError(
                f"{line['where']}: two accepted lines give {change.path!r} of "
                f"{change.id!r} different values, {_word(chosen[key].new)!r} and "
                f"{_word(change.new)!r}. Accept one."
            )
    changes = [change for change in chosen.values() if not _is_so(change)]
    _refuse_contradictions(path, changes)
    return Decisions(
        changes,
        len(accepted),
        len(lines) - len(accepted),
        n_in_effect,
        any(line.get("effect") for line in accepted),
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def read_ids(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the identifiers in a text file with one per line, each once.

    Raises
    ------
    DataFileError
        If the file is not text, or holds no identifier.
    FileNotFoundError
        If there is no file.
    """
    check_encoding(encoding)
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
    lines = (unescape_cell(line.strip()) for line in text.split("\n"))
    ids = list(dict.fromkeys(filter(None, lines)))
    if not ids:
        raise DataFileError(f"{path} names nobody: it should hold one id a line.")
    return ids


def _line(where: str, columns: Iterable[str], cells: Iterable[Any]) -> dict[str, str]:
    """Return the cells of a line without the escapes of spreadsheets, and its place.

    Except for texts, spaces at both ends are removed.
    """
    line = {"where": where}
    for name, value in zip(columns, cells, strict=True):
        cell = "" if value is None else unescape_cell(format_value(value))
        if not is_whole_text(cell):
            raise DataFileError(f"{where}: {name!r} holds half a character.")
        line[name] = cell if name == "text" else cell.strip()
    return line


def _is_accepted(line: dict[str, str]) -> bool:
    word = line["decision"].casefold()
    if word not in ACCEPT + REJECT:
        raise DataFileError(
            f"{line['where']}: the decision {line['decision']!r} is not known. Write "
            "'accept', or 'reject' or nothing."
        )
    return word in ACCEPT


def _change(
    line: dict[str, str],
    revision: Revision,
    positions: dict[str, int],
    elsewhere: dict[str, str],
) -> Change:
    """Return what a line asks for."""
    where, position = line["where"], positions.get(line["id"])
    if position is None:
        said = elsewhere.get(line["id"], "there is no such row")
        raise DataFileError(f"{where}: of the row {line['id']!r}: {said}.")
    rows = revision.rows
    digest = rows.digests[position]
    _check_text(line, digest, None if rows.texts is None else rows.texts[position])
    kind, path = line["kind"], line["path"]
    if kind not in CHANGES:
        raise DataFileError(
            f"{where}: the kind {kind!r} is none of {', '.join(CHANGES)}."
        )
    path = _path(where, kind, path, revision)
    old = current_value(revision, position, kind, path)
    new = _value(where, kind, path, line["proposed"], revision)
    said, may_be_empty = line["current"], kind in ("reweight", "drop")
    known = said == _word(old) or _equal(said, old) or (not said and may_be_empty)
    if not known and not _same(old, new):
        raise DataFileError(
            f"{where}: {path!r} of {line['id']!r} has changed since: decided on was "
            f"{said!r}, now it is {_word(old)!r}. Look at it again, and write the "
            "value that it has into the column current."
        )
    return Change(
        kind, line["id"], short_hash(digest), path, old, new, line.get("why") or None
    )


def _check_text(line: dict[str, str], digest: str, audited: str | None) -> None:
    where = line["where"]
    if not _same_hash(line["text_hash"], short_hash(digest)):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} is not the one that was decided on: "
            f"its hash is {short_hash(digest)}, not {line['text_hash']!r}. Take the "
            "line from the present suspects.csv or suggestions.csv, and decide again."
        )
    text = line.get("text")
    if text and digest not in _digests(text) and not _same_text(text, audited):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} in this file is not the one that "
            "was audited. If it was changed by mistake, restore it or leave out the "
            "column text; if the review itself is to change, audit it again."
        )


def _same_hash(said: str, known: str) -> bool:
    """Return whether a hash is the known one, or what a spreadsheet makes of it."""
    if said == known or not _LIKE_A_NUMBER.fullmatch(known):
        return said == known
    try:
        return math.isclose(float(said), float(known), rel_tol=1e-4)
    except ValueError:
        return False


def _same_text(text: str, audited: str | None) -> bool:
    return audited is not None and _unix(text) == _unix(audited)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _digests(text: str) -> set[str]:
    """Return the hashes of a text with each kind of line end."""
    unix = _unix(text)
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
    known: np.ndarray | None = model.classes_
    if kind == "annotate":
        if not said:
            return None
        known = model.concept_classes_[list(model.concept_names_in_).index(path)]
    assert known is not None  # an audit takes no continuous concepts
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


def _word(value: Any) -> str:
    return "" if value is None else format_value(value)


def _is_so(change: Change) -> bool:
    return _same(change.old, change.new)


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and old == new)


def _equal(said: str, value: Any) -> bool:
    """Return whether a cell and a value are the same number, such as 4.0 and 4."""
    if isinstance(value, str | bool | None):
        return False
    try:
        return float(said) == float(value)
    except ValueError:
        return False
