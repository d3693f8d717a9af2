"""Delimited text: CSV with quoted fields, and tabs without, as IANA defines them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from ..exceptions import DataFileError, DataFileWarning, warn_user
from .layout import AT_ONCE, Choose, Columns, Layout, gathered, header_of
from .sources import Source

_SEPARATORS = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LONGEST_FIELD = 2**31 - 1
_DECLARATION = 20  # characters of the line that may name the separator
_NAMED = 3  # rows in a message
_LOOKED_AT = 20  # rows of a file without a header


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Allow fields as long as texts are; the csv module has one limit for all."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_delimited(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of delimited text."""
    return gathered(stream_delimited(source, layout, choose, notes))


def stream_delimited(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Iterator[Columns]:
    """Yield the chosen columns of delimited text, some rows at a time.

    Tabs separate fields as they are written, unless the layout says that fields are
    quoted. With quoted fields, rows are compared with lines: a quote left open swallows
    rows up to the next one.
    """
    blocks = _blocks(source, layout, choose, notes)
    while True:
        with _fields_of_any_length():  # not while others have their turn
            block = next(blocks, None)
        if block is None:
            return
        yield block


def _blocks(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Iterator[Columns]:
    declared = _declared(source, layout.encoding)
    separator = declared or _separator(source, layout, choose.wanted)
    quoted = _is_quoted(separator, layout)
    with source.text(layout.encoding) as file:
        lines = _Lines(file, separator)
        if declared:
            next(lines)
            lines.take()
        # A strict reader refuses a quote left open.
        rows = filter(None, _reader(lines, separator, quoted, strict=True))
        table = _Rows(source, separator, quoted, layout, lines)
        yield from table.blocks(rows, choose)
        notes += table.notes()


def _declared(source: Source, encoding: str) -> str | None:
    """Return the separator that Excel writes as "sep=;" in a line before the header."""
    with source.text(encoding) as file:
        found = re.fullmatch(r'"?sep=(.)"?\s*', file.readline(_DECLARATION))
    return found[1] if found and found[1] in _SEPARATORS else None


def _is_quoted(separator: str, layout: Layout) -> bool:
    return separator != "\t" if layout.quoted is None else layout.quoted


def _reader(
    lines: Iterable[str], separator: str, quoted: bool, *, strict: bool
) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        strict=strict,
    )


def _separator(source: Source, layout: Layout, wanted: Mapping[str, str]) -> str:
    """Return the separator with which the file has the columns, or the most."""

    def fitness(separator: str) -> tuple[int, ...]:
        quoted = _is_quoted(separator, layout)
        rows = _first_rows(source, layout.encoding, separator, quoted)
        first = rows[0] if rows else []
        if not layout.column_names:
            names = {name.strip().strip('"') for name in first}
            return len(wanted.keys() & names), len(first)
        enough = len(first) >= max(layout.column_names)
        widths = Counter(map(len, rows)).values()
        named = source.suffix == ".tsv" and separator == "\t"
        # The lines of a .txt file may be texts with commas.
        n_fields = -len(first) if source.suffix == ".txt" else len(first)
        return enough, max(widths, default=0), named, n_fields

    return max(_SEPARATORS, key=fitness)


def _first_rows(
    source: Source, encoding: str, separator: str, quoted: bool
) -> list[list[str]]:
    with source.text(encoding) as file:
        found: list[list[str]] = []
        try:
            rows = _reader(file, separator, quoted, strict=False)
            found.extend(islice(filter(None, rows), _LOOKED_AT))
        except csv.Error:  # the strict reading will say why
            pass
        return found


class _Lines:
    """The lines of a file, and how many of the last row are rows of their own.

    A line is one if it has as many separators as the header: then its quotes, if they
    mean anything, only make one row of several.
    """

    def __init__(self, lines: Iterable[str], separator: str) -> None:
        self._lines, self._separator = iter(lines), separator
        self.number = 0
        self.n_separators: list[int] = []
        self.begins_quoted = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if self.number == 1:
            self.begins_quoted = line.startswith('"')
        if line.strip("\r\n"):
            self.n_separators.append(line.count(self._separator))
        else:
            self.n_separators.append(-1)
        return line

    def take(self) -> list[int]:
        """Return the number of separators in each line since the last call."""
        taken, self.n_separators = self.n_separators, []
        return taken


class _Rows:
    """Rows on their way into columns."""

    def __init__(
        self,
        source: Source,
        separator: str,
        quoted: bool,
        layout: Layout,
        lines: _Lines,
    ) -> None:
        self.source, self.separator = source, separator
        self.quoted, self.layout, self.lines = quoted, layout, lines
        self.n_rows = self.n_broken = self.n_plain = self.n_swallowing = 0
        self.swallowing: list[str] = []  # the first of them
        self.quotes = Counter[str]()

    def blocks(self, rows: Iterator[list[str]], choose: Choose) -> Iterator[Columns]:
        """Yield the chosen columns; the last block may have no rows."""
        try:
            yield from self._blocks(rows, choose)
        except csv.Error as error:
            raise DataFileError(
                f"{self.source}, row {self.n_rows + 1}: {error}. Is a double quote "
                "left open, or not doubled inside a quoted field?",
                **_if_open(self.layout, False),
            ) from error
        self._check_lines()

    def _blocks(self, rows: Iterator[list[str]], choose: Choose) -> Iterator[Columns]:
        first = next(rows, [])
        header, rows = header_of(self.source, first, rows, self.layout)
        if not self.layout.column_names:
            self.lines.take()
        places = {name: header.index(name) for name in choose(header)}
        held: list[list[str]] = []
        n_empty = 0  # rows that spreadsheets leave, if no other follows
        for row in rows:
            self._count(row, header)
            if not any(row) and len(header) > 1:
                n_empty += 1
                continue
            held += [[""] * len(header)] * n_empty
            held.append(row)
            n_empty = 0
            if len(held) >= AT_ONCE:
                yield {name: [row[i] for row in held] for name, i in places.items()}
                held = []
        self.n_rows -= n_empty
        self.n_plain -= n_empty
        yield {name: [row[i] for row in held] for name, i in places.items()}

    def _count(self, row: list[str], header: list[str]) -> None:
        self.n_rows += 1
        lines = [n for n in self.lines.take() if row]
        while len(lines) > 1 and lines[0] < 0:  # empty lines before it
            del lines[0]
        if len(row) != len(header):
            raise self._width_error(row, header)
        whole = all(n == len(header) - 1 for n in lines)
        self.n_plain += whole
        if len(lines) > 1:
            self.n_broken += 1
            if whole:
                last = self.lines.number
                where = f"row {self.n_rows} (lines {last - len(lines) + 1} to {last})"
                self.swallowing += [where][: _NAMED - len(self.swallowing)]
                self.n_swallowing += 1
        if not self.quoted:
            self.quotes.update(map(_quotes_of, row))

    def _width_error(self, row: list[str], header: list[str]) -> DataFileError:
        about = (
            f"{self.source}, row {self.n_rows}: {len(row)} fields, but the header has "
            f"{len(header)} (separated by {self.separator!r})."
        )
        if self.layout.column_names:
            about = about.replace("the header", "row 1")
        if self.quoted:
            return DataFileError(
                f"{about} A field that holds the separator must be in double quotes."
            )
        return DataFileError(
            f"{about} It was read as it is written, without quotes; a field that holds "
            "the separator or a line break must be in double quotes.",
            **_if_open(self.layout, True),
        )

    def _check_lines(self) -> None:
        """Say if another reading of the quotes gives other rows or texts."""
        if self.layout.quoted is not None:
            return
        # A header in quotes says that quotes enclose fields.
        has_quoted_header = self.lines.begins_quoted and not self.layout.column_names
        if self.swallowing and not has_quoted_header:
            self._doubt_quotes()
        n_quoted = self.quotes["quoted"]
        if n_quoted and not self.quotes["bare"]:
            message = (
                f"{self.source}: fields are in double quotes ({n_quoted}), which were "
                "kept: a file with tabs is read as it is written."
            )
            meaning = (
                "if the quotes only enclose fields, {} if they belong to the texts."
            )
            warn_user(
                DataFileWarning(
                    message,
                    python=f"Pass quoted=True {meaning.format('quoted=False')}",
                    command=f"Use --quoted {meaning.format('--unquoted')}",
                ),
                DataFileWarning,
            )

    def _doubt_quotes(self) -> None:
        named = ", ".join(self.swallowing)
        more = self.n_swallowing - _NAMED
        named += f" and {more} more" if more > 0 else ""
        message = (
            f"{self.source}: double quotes make one row of several lines in {named}, "
            "and each of these lines has the fields of a row."
        )
        advice = {
            "python": "Pass quoted=False if quotes belong to the texts, quoted=True "
            "if texts really have these line breaks.",
            "command": "Use --unquoted if quotes belong to the texts, --quoted if "
            "texts really have these line breaks.",
        }
        if self.n_plain == self.n_rows:  # without quotes it is a table, too
            raise DataFileError(message, **advice)
        warn_user(DataFileWarning(message, **advice), DataFileWarning)

    def notes(self) -> list[str]:
        """Return how the table was read, in words."""
        notes = [f"separated by {_NAMES[self.separator]}"]
        if self.n_broken:
            n_lines = self.lines.number
            notes.append(f"{n_lines} lines, because texts have line breaks")
        return notes


def _quotes_of(field: str) -> str:
    """Return what the quotes of a field look like: quoted, bare or none."""
    if not field.startswith('"'):
        return "none"
    inner = field[1:-1].replace('""', "")
    is_quoted = len(field) > 1 and field.endswith('"') and '"' not in inner
    return "quoted" if is_quoted else "bare"


def _if_open(layout: Layout, quoted: bool) -> dict[str, str]:
    """Return the advice to read quotes in the other way, if that was not decided."""
    if layout.quoted is not None:
        return {}
    when = "if fields are quoted" if quoted else "if quotes belong to the texts"
    option = "--quoted" if quoted else "--unquoted"
    return {
        "python": f"Pass quoted={quoted} {when}.",
        "command": f"Use {option} {when}.",
    }
