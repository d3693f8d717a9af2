"""Texts of a file, one block after another, and what tells them from others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .._storage.layout import Layout
from .._storage.sources import state_of
from .._storage.tables import stream_lines, stream_table
from ..datasets._columns import Column, as_texts, checked_names, rows_in_words
from ..exceptions import DataFileError
from ..numerics.steps import Advance

# Texts that are sorted by length, embedded and stored together. More would be sorted
# better, and more would be lost when a run is killed.
_AT_ONCE = 2048
_CHARACTERS = 2**23  # of the texts of a block, so that it is small for long ones too
_NAMED = 5  # rows in a message
_OPTIONS = {"the text": ("text=", "--text")}
_KEEP = {
    "python": "Complete them, or embed them as the empty text with incomplete='keep'.",
    "command": "Complete them, or embed them as the empty text with --keep-incomplete.",
}


@dataclass(frozen=True)
class Contents:
    """How many texts a file has, and the SHA-256 of all of them in their order."""

    n_texts: int
    sha256: str


@dataclass(frozen=True)
class TextFile:
    """The texts of a file, which is read from its beginning every time.

    Attributes
    ----------
    path : Path
        A table as `load_reviews` reads it, or a file of lines.
    columns : tuple of str or None
        The columns of the texts. None if every line is a text.
    layout : Layout
        How a table is written; of lines, the encoding.
    keeps_incomplete : bool
        Whether rows without a text are accepted, with the empty text.
    """

    path: Path
    columns: tuple[str, ...] | None
    layout: Layout
    keeps_incomplete: bool = False

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        text: str | Sequence[str] | None,
        keeps_incomplete: bool,
        *,
        encoding: str = "utf-8",
        quoted: bool | None = None,
        sheet: str | None = None,
        column_names: Mapping[int, str] | None = None,
    ) -> TextFile:
        """Return the texts that arguments of users name."""
        layout = Layout(encoding, quoted, sheet, checked_names(column_names))
        if text is None:
            if layout != Layout(encoding):
                raise ValueError(
                    "text=None reads lines of a file, which has no columns: leave out "
                    "quoted=, sheet= and column_names=, or name the column of texts."
                )
            return cls(Path(path), None, layout, keeps_incomplete)
        columns = (text,) if isinstance(text, str) else tuple(text)
        if not columns or not all(isinstance(name, str) for name in columns):
            raise ValueError(
                f"text={text!r} must be the name of a column, a sequence of one or "
                "more names, or None to read lines."
            )
        if len(set(columns)) < len(columns):
            raise ValueError(f"text={text!r} names a column twice.")
        return cls(Path(path), columns, layout, keeps_incomplete)

    def state(self) -> object:
        """Return what changes when somebody writes to the file."""
        return state_of(self.path) if self.path.exists() else None

    def blocks(self, start: int, stop: int) -> Iterator[list[str]]:
        """Yield the texts of some rows in blocks.

        From the same start, and from the end of each block, the same blocks follow.
        """
        block: list[str] = []
        n_characters = 0
        for text in islice(self._texts(), start, stop):
            block.append(text)
            n_characters += len(text)
            if len(block) == _AT_ONCE or n_characters >= _CHARACTERS:
                yield block
                block, n_characters = [], 0
        if block:
            yield block

    def examine(self, advance: Advance) -> Contents:
        """Read all texts, so that what is wrong is found before long work.

        Raises
        ------
        DataFileError, FileNotFoundError, ImportError, ValueError
            If the file cannot be read as asked, or rows have no text.
        """
        digest = hashlib.sha256()
        n_texts = n_empty = n_told = 0
        first: list[int] = []
        for text in self._texts():
            n_texts += 1
            if not text.strip():
                n_empty += 1
                if len(first) < _NAMED:
                    first.append(n_texts)
            encoded = text.encode()
            # The length in front keeps ("ab", "c") and ("a", "bc") apart.
            digest.update(b"%d:%b" % (len(encoded), encoded))
            if n_texts - n_told == _AT_ONCE:
                advance(n_texts - n_told)
                n_told = n_texts
        advance(n_texts - n_told)
        if n_empty and not self.keeps_incomplete:
            self._refuse_empty(first, n_empty)
        return Contents(n_texts, digest.hexdigest())

    def _texts(self) -> Iterator[str]:
        if self.columns is None:
            yield from stream_lines(self.path, self.layout.encoding)
            return
        roles = dict.fromkeys(self.columns, "the text")
        n_before = 0
        for block in stream_table(self.path, roles, self.layout, _OPTIONS):
            n_rows = len(block[self.columns[0]])
            numbers = range(n_before + 1, n_before + n_rows + 1)
            columns = [
                Column(str(self.path), name, block[name], numbers)
                for name in self.columns
            ]
            yield from as_texts(columns).cells
            n_before += n_rows

    def _refuse_empty(self, first: list[int], n_empty: int) -> None:
        if self.columns is None:
            where = rows_in_words(first, n_empty, "line")
            about = f"{where}: no text, where every line is one."
        else:
            where = rows_in_words(first, n_empty)
            about = (
                f"column {' + '.join(self.columns)!r}, {where}: the text is empty. "
                "(Row 1 is the first row of data.)"
            )
        raise DataFileError(f"{self.path}, {about}", **_KEEP)
