"""Which row a line of decisions is about, and whether its text is still the same."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from .._storage.cells import HASH_PREFIX
from ..exceptions import DataFileError
from .decision_lines import Line
from .decision_values import path_of
from .option_names import by_caller, table_name
from .revisions import CHANGES, Revision, current_value
from .rows import short_hash
from .spreadsheets import (
    can_become,
    changed_ids,
    how_changed,
    is_too_narrow,
    same_hash,
)

_LONGEST_CELL = 32_767  # characters; Excel cuts the rest


class Rows:
    """The current rows, and where other rows are.

    Parameters
    ----------
    revision : Revision
    elsewhere : dict of str to str
        Ids that are not among the rows, and the reason.
    """

    def __init__(self, revision: Revision, elsewhere: dict[str, str]) -> None:
        self.revision, self.elsewhere = revision, elsewhere
        self.positions = revision.rows.positions()

    def named(self, line: Line) -> Line:
        """Return a line with the id that it had before a spreadsheet changed it.

        The hash of the text says which row is meant, if it says one only.
        """
        said = line["id"]
        same_text = self._with_hash(line["text_hash"])
        alike = changed_ids(said, same_text)
        if said in same_text:
            if alike:
                raise DataFileError(
                    f"{line['where']}: the row {said!r} can be meant, or {alike[0]!r} "
                    f"as a spreadsheet writes it, and both have this text. Give one of "
                    "them another id, and audit the file again."
                )
            return line
        if len(alike) == 1:
            return {**line, "id": alike[0]}
        if said and said not in self.positions and said not in self.elsewhere:
            self._refuse_changed(line, alike)
        return line

    def by_text(self, line: Line) -> Line:
        """Return a line with the id that its text has now, if it has another one."""
        same_text = self._with_hash(line["text_hash"])
        if not same_text or line["id"] in same_text:
            return line
        return {**line, "id": same_text[0]}

    def target(self, line: Line) -> tuple[str, str, str, Any]:
        """Return digest of the text, kind, path and present value of what is decided.

        Row and text have to be those of the line.
        """
        where, position = line["where"], self.positions.get(line["id"])
        if position is None:
            if not line["id"]:
                raise DataFileError(f"{where}: the column id is empty. {_all_ids()}")
            unknown = f"there is no such row. {_all_ids()}"
            said = self.elsewhere.get(line["id"], unknown).removesuffix(".")
            raise DataFileError(f"{where}: of the row {line['id']!r}: {said}.")
        rows = self.revision.rows
        digest = str(rows.digests[position])
        _check_text(line, digest, None if rows.texts is None else rows.texts[position])
        kind = line["kind"]
        if kind not in CHANGES:
            raise DataFileError(
                f"{where}: the kind {kind!r} is none of {', '.join(CHANGES)}."
            )
        path = path_of(line, self.revision)
        return digest, kind, path, current_value(self.revision, position, kind, path)

    @cached_property
    def _by_hash(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for i, position in self.positions.items():
            known = short_hash(self.revision.rows.digests[position])
            found.setdefault(known, []).append(i)
        return found

    def _with_hash(self, said: str) -> list[str]:
        """Return the ids of the rows whose text has a hash."""
        whole = self._by_hash.get(said.removeprefix(HASH_PREFIX))
        if whole is not None:
            return whole
        return [
            i
            for known, ids in self._by_hash.items()
            if same_hash(said, known)
            for i in ids
        ]

    def _refuse_changed(self, line: Line, alike: list[str]) -> None:
        """Say what a spreadsheet did, if it can have made this id of another."""
        said = line["id"]
        begin = f"{line['where']}: of the row {said!r}: there is no such row."
        if is_too_narrow(said):
            raise DataFileError(
                f"{begin} A spreadsheet writes this for a column that is too narrow. "
                "Make the column id wider, and save it again."
            )
        if alike:
            raise DataFileError(
                f"{begin} A spreadsheet took the id for {how_changed(alike[0], said)}: "
                f"{', '.join(map(repr, alike))} can be meant, and all have this text. "
                "Restore the id."
            )
        near = changed_ids(said, self.positions)
        if near:
            raise DataFileError(
                f"{begin} A spreadsheet can take {near[0]!r} for "
                f"{how_changed(near[0], said)} and write this: is that row meant? Its "
                "text is not the one that was decided on. Restore id and text_hash."
            )


def _all_ids() -> str:
    return (
        f"id and text_hash of every training row are in {table_name('influence')}, as "
        "train_id and train_text_hash."
    )


def _like(said: str, digest: str) -> str:
    """Return the hash of a text as files write it, or as the hash that was said."""
    prefix = HASH_PREFIX if said.startswith(HASH_PREFIX) else by_caller(HASH_PREFIX, "")
    return prefix + short_hash(digest)


def _check_text(line: Line, digest: str, audited: str | None) -> None:
    where = line["where"]
    if not same_hash(line["text_hash"], short_hash(digest)):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} is not the one that was decided on: "
            f"its hash is {_like(line['text_hash'], digest)}, not "
            f"{line['text_hash']!r}. Take the line from the present "
            f"{table_name('suspects')} or {table_name('suggestions')}, and decide "
            "again."
        )
    text = line.get("text")
    if text and digest not in _digests(text) and not _is_text(text, audited):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} in this file is not the one that "
            "was audited. If it was changed by mistake, restore it or leave out the "
            "column text; if the review itself is to change, "
            f"{by_caller('audit it again', 'fit the explainer to it')}."
        )


def _is_text(text: str, audited: str | None) -> bool:
    """Return whether a text is the audited one, as a spreadsheet may write it."""
    if audited is None:
        return False
    text, audited = _unix(text), _unix(audited)
    is_cut = len(text) >= _LONGEST_CELL - 1 and audited.startswith(text)
    return is_cut or can_become(audited.strip(), text.strip())


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _digests(text: str) -> set[str]:
    """Return the hashes of a text with each kind of line end."""
    unix = _unix(text)
    forms = (text, unix, unix.replace("\n", "\r\n"), unix.replace("\n", "\r"))
    return {hashlib.sha256(form.encode()).hexdigest() for form in forms}
