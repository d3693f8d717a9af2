"""What people correct of annotations by prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import DataFileError
from .decision_lines import ACCEPT, SKIP, Line, decision_of, read_lines, rows_explained
from .decision_rows import Rows
from .decision_values import (
    UNANNOTATED,
    known_words,
    removal_word,
    value_of,
    value_word,
)
from .prompt_file import PromptFile
from .revisions import CHANGES, Revision
from .rows import Reviews, short_hash
from .spreadsheets import meant

RECORD, FORMAT_VERSION = "annotations.json", 1  # of skclif annotate


@dataclass(frozen=True, eq=False)
class Correction:
    """What a person says of one concept of one text.

    Attributes
    ----------
    id, text_hash, path : str
    value : str or None
        None takes the annotation away.
    """

    id: str
    text_hash: str
    path: str
    value: str | None

    def plain(self) -> list[str | None]:
        """Return it as JSON has it."""
        return [self.id, self.text_hash, self.path, self.value]


@dataclass(frozen=True)
class _Values:
    """What lines of decisions ask of a model: which values there are."""

    concept_names_in_: Sequence[str]
    concept_classes_: Sequence[np.ndarray]


def read_corrections(
    path: Path, reviews: Reviews, file: PromptFile, encoding: str = "utf-8"
) -> tuple[list[Correction], int, int]:
    """Return what people say of annotations in a file of decisions.

    Lines may come from `skclif annotate`, from the lists of an audit, from its page, or
    from finished tasks. Of an accepted line the proposed value is true, and of a
    rejected one the current value, or none. What the machine said is not compared with
    the line: a person read the text.

    Returns
    -------
    corrections : list of Correction
    n_others : int
        Number of accepted lines that are about something else, such as labels.
    n_unsaid : int
        Number of lines with a value that somebody wrote in, and without a decision.

    Raises
    ------
    DataFileError
        If a line cannot be read, or its row, text or value is not there, or two lines
        differ.
    """
    values = [np.array([*own], dtype=object) for own in file.concepts.values()]
    revision: Any = Revision(_Values([*file.concepts], values), reviews)  # type: ignore[arg-type]
    rows = Rows(revision, {})
    n_others = n_unsaid = 0
    accepted: dict[tuple[str, str], Correction] = {}
    rejected: dict[tuple[str, str], Correction] = {}
    with rows_explained():
        for line in read_lines(path, _encoding(path, encoding)):
            decision = decision_of(line)
            if decision in SKIP:
                n_unsaid += not decision and _is_written_in(line)
                continue
            is_accepted = decision in ACCEPT
            if line["kind"] not in CHANGES:
                raise DataFileError(
                    f"{line['where']}: the kind {line['kind']!r} is none of "
                    f"{', '.join(CHANGES)}."
                )
            if line["kind"] != "annotate":
                n_others += is_accepted
                continue
            if not is_accepted:
                if line["path"] not in file.concepts:
                    continue  # of an audit with other concepts, too
                line = {**line, "proposed": _kept(line, revision)}
            new = _correction(line, rows, file)
            found = accepted if is_accepted else rejected
            if found.setdefault((new.id, new.path), new).value != new.value:
                kind = "accepted" if is_accepted else "rejected"
                raise DataFileError(
                    f"{line['where']}: two {kind} lines give {new.path!r} of "
                    f"{new.id!r} different values. Decide one of the two."
                )
    return list((rejected | accepted).values()), n_others, n_unsaid


def _encoding(path: Path, encoding: str) -> str:
    """Return the encoding of a list: that of skclif, or what a spreadsheet saved."""
    if not path.is_file():
        return encoding
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return encoding
    return "utf-8"


def _is_written_in(line: Line) -> bool:
    """Return whether a list left the value of a line to a person, who wrote one in."""
    is_asked = line["kind"] == "annotate" and (line.get("guess") or not line["current"])
    return bool(is_asked and line["proposed"] not in ("", line["current"]))


def _kept(line: Line, revision: Revision) -> str:
    """Return how a line would propose the value that a rejected line keeps."""
    if not line["current"]:
        return removal_word(line["path"], revision)
    return value_word(line["current"], line["path"], revision)


def _correction(line: Line, rows: Rows, file: PromptFile) -> Correction:
    """Return what a line says of an annotation."""
    line = rows.by_text(rows.named(line))
    if line["id"] not in rows.positions:
        raise DataFileError(
            f"{line['where']}: there is no row {line['id']!r}, and none with this "
            "text. Give the file and the --id that this list was made with."
        )
    if meant(line["path"], [*file.concepts]) is None:
        raise DataFileError(
            f"{line['where']}: {file.name} has no concept {line['path']!r}. It has "
            f"{', '.join(map(repr, file.concepts))}."
        )
    digest, kind, name, _ = rows.target(line)
    if not line["proposed"]:
        guess = line.get("guess")
        hint = f" The guess, {guess!r}, is not taken by itself." if guess else ""
        raise DataFileError(
            f"{line['where']}: the column proposed is empty, in an accepted line for "
            f"{name!r}. Write what is true into it "
            f"({known_words(kind, name, rows.revision)}).{hint}"
        )
    _refuse_unknown(line, name, file)
    value = value_of(line, kind, name, rows.revision)
    return Correction(line["id"], short_hash(digest), name, value)


def _refuse_unknown(line: Line, name: str, file: PromptFile) -> None:
    """Refuse a value that a file of prompts does not have."""
    said, values = line["proposed"], [*file.concepts[name]]
    is_removal = said.casefold().removeprefix("remove:") == UNANNOTATED
    is_value = said.casefold() == f"value:{UNANNOTATED}"
    if is_removal or is_value or meant(said, values) is not None:
        return
    close = {one.casefold(): one for one in values}.get(said.casefold())
    hint = "" if close is None else f" Did you mean {close!r}?"
    raise DataFileError(
        f"{line['where']}: the value {said!r} of {name!r} is not known: {file.name} "
        f"has {', '.join(map(repr, values))}.{hint} {UNANNOTATED!r} takes an "
        "annotation away."
    )


def read_record(path: Path) -> list[Correction]:
    """Return what people corrected, as `skclif annotate` keeps it in its folder.

    Raises
    ------
    DataFileError
        If the file is not of this kind.
    """
    try:
        record = json.loads(path.read_bytes())
        version = record["format_version"]
        found = [Correction(*one) for one in record["corrections"]]
    except (ValueError, LookupError, TypeError) as error:
        raise DataFileError(
            f"{path} is not the file that skclif annotate wrote ({error}). Restore it, "
            "or delete it: then only corrections that are given again count."
        ) from error
    if version != FORMAT_VERSION:
        raise DataFileError(
            f"{path} has format version {version!r}, and this skclif reads "
            f"{FORMAT_VERSION}. Name another --out."
        )
    return found


def placed(
    reviews: Reviews, file: PromptFile, corrections: Sequence[Correction]
) -> tuple[list[Correction], int]:
    """Return corrections of every text that they are about, and how many fit nothing.

    A correction belongs to a text: it is found by its hash if the row has another name
    now, and other rows with the same text have it too, unless people said something of
    their own there.

    Parameters
    ----------
    reviews : Reviews
        As `with_people` returns them.
    file : PromptFile
    corrections : sequence of Correction
        Of two about the same, the later counts.
    """
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(reviews.hashes()):
        rows_of.setdefault(digest, []).append(row)
    of_copies: dict[tuple[int, str], Correction] = {}
    own: dict[tuple[int, str], Correction] = {}
    n_left = 0
    for one in corrections:
        values = file.concepts.get(one.path, {})
        rows = rows_of.get(one.text_hash, [])
        if not rows or not values or not (one.value is None or one.value in values):
            n_left += 1
            continue
        given = reviews.concepts[one.path]
        named = [row for row in rows if reviews.ids[row] == one.id]
        for row in rows:
            if row in named:
                own[row, one.path] = one
            elif len(rows) == 1 or given.iloc[row] is None:
                of_copies[row, one.path] = replace(one, id=str(reviews.ids[row]))
    return list((of_copies | own).values()), n_left


def corrected(reviews: Reviews, corrections: Sequence[Correction]) -> Reviews:
    """Return reviews with what people said of their concepts."""
    concepts = reviews.concepts.copy()
    for row, one in about_rows(reviews, corrections):
        concepts.loc[row, one.path] = one.value
    return replace(reviews, concepts=concepts)


def about_rows(
    reviews: Reviews, corrections: Sequence[Correction]
) -> list[tuple[int, Correction]]:
    """Return corrections of texts and concepts that are there, with their rows."""
    positions, hashes = reviews.positions(), reviews.hashes()
    places = [positions.get(one.id) for one in corrections]
    return [
        (place, one)
        for place, one in zip(places, corrections, strict=True)
        if place is not None
        and hashes[place] == one.text_hash
        and one.path in reviews.concepts
    ]
