"""Workbooks of Excel."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree.ElementTree import ParseError

from ..exceptions import DataFileError
from .layout import Choose, Columns, Layout, header_of
from .sources import Source, check_size

_Row = tuple[Any, ...]
_SHOWN = 40  # characters of a formula


def read_excel(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of a sheet: the values of cells, not their formulas."""
    with source.bytes() as stream:
        content = io.BytesIO(stream.read()) if source.packed else stream
        with _sheet_of(source, content, layout, formulas=False) as sheet:
            notes.append(f"from the sheet {sheet.title!r}")
            rows = _filled(sheet.iter_rows(values_only=True))
            first = next(rows, ())
            if not layout.column_names:
                first = tuple("" if name is None else str(name) for name in first)
            header, rows = header_of(source, first, rows, layout)
            columns: Columns = {name: [] for name in choose(header)}
            places = {name: header.index(name) for name in columns}
            for row in rows:
                for name, place in places.items():
                    columns[name].append(row[place] if place < len(row) else None)
        if any(None in column for column in columns.values()):
            content.seek(0)
            with _sheet_of(source, content, layout, formulas=True) as sheet:
                _refuse_uncomputed(source, sheet, layout, columns, places)
    return columns


@contextmanager
def _sheet_of(
    source: Source, content: Any, layout: Layout, *, formulas: bool
) -> Iterator[Any]:
    """Open the sheet that is asked for."""
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            'Excel workbooks need openpyxl: pip install "skclif[excel]"'
        ) from error
    try:
        with zipfile.ZipFile(content) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
            check_size(source, size, sum(part.compress_size for part in parts))
        content.seek(0)
        with warnings.catch_warnings():  # about formats and validation of cells
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(
                content, read_only=True, data_only=not formulas
            )
    except (zipfile.BadZipFile, KeyError, ValueError, ParseError) as error:
        if isinstance(error, DataFileError):
            raise
        raise DataFileError(
            f"{source} is not a workbook of Excel (or has a password): {error}. Save "
            "it as .xlsx, or as CSV."
        ) from error
    try:
        sheet = _only_sheet(source, book, layout.sheet)
        sheet.reset_dimensions()  # some programs write wrong ones
        yield sheet
    finally:
        book.close()


def _only_sheet(source: Source, book: Any, name: str | None) -> Any:
    sheets = {sheet.title: sheet for sheet in book.worksheets}
    if name is None:
        visible = [s for s in sheets.values() if s.sheet_state == "visible"]
        if len(visible) == 1:
            return visible[0]
    elif name in sheets:
        return sheets[name]
    problem = f"has {len(sheets)} sheets" if name is None else f"has no sheet {name!r}"
    known = ", ".join(map(repr, sheets))
    raise DataFileError(
        f"{source} {problem}. It has: {known}.",
        python="Name one with sheet=.",
        command="Name one with --sheet.",
    )


def _filled(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Yield the rows from the first to the last that hold something."""
    empty: list[_Row] = []
    has_begun = False
    for row in rows:
        if all(cell is None for cell in row):
            empty.append(row)
            continue
        if has_begun:
            yield from empty
        has_begun, empty = True, []
        yield row


def _refuse_uncomputed(
    source: Source,
    sheet: Any,
    layout: Layout,
    columns: Columns,
    places: dict[str, int],
) -> None:
    """Refuse formulas whose value no program has stored."""
    cells = (
        tuple(cell if cell.value is not None else None for cell in row)
        for row in sheet.iter_rows()
    )
    start = 1 if layout.column_names else 0  # row 0 is the header
    for number, row in enumerate(_filled(cells), start):
        for name, place in places.items():
            cell = row[place] if place < len(row) else None
            if not number or cell is None or cell.data_type != "f":
                continue
            if columns[name][number - 1 : number] in ([], [None]):
                raise DataFileError(
                    f"{source}, column {name!r}, row {number}: the formula "
                    f"{str(cell.value)[:_SHOWN]!r} has no stored value. Open the "
                    "workbook in a spreadsheet program and save it; if the cell is a "
                    "text, format it as one."
                )
