"""Tables from files of every format, as columns of raw values.

Every error names the file, and the row where there is one. Row 1 is the first row of
data, whatever number of lines it fills.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..exceptions import DataFileError
from .delimited import read_delimited, stream_delimited
from .excel import read_excel
from .json_records import read_json, read_records, stream_json
from .layout import Choose, Columns, Flatten, Layout, columns_of, records_of
from .parquet import read_parquet, stream_parquet
from .sources import Source
from .values import as_numbers, is_whole_text

__all__ = [
    "Columns",
    "Layout",
    "Table",
    "as_numbers",
    "check_encoding",
    "is_whole_text",
    "read_columns",
    "read_table",
    "stream_lines",
    "stream_table",
]


@dataclass(frozen=True)
class Table:
    """Columns of a file.

    Attributes
    ----------
    columns : dict of str to list
        The raw values of the columns asked for.
    notes : tuple of str
        How the file was read, in words.
    unread : tuple of str
        The columns that were not asked for.
    """

    columns: Columns
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))


def read_columns(
    path: Path,
    roles: Mapping[str, str],
    encoding: str = "utf-8",
    optional: Collection[str] = frozenset(),
    *,
    quoted: bool | None = True,
    sheet: str | None = None,
    flatten: Flatten | None = None,
    is_export: Callable[[Sequence[str]], bool] | None = None,
) -> Columns:
    """Return the raw values of some columns, one list per column.

    Parameters
    ----------
    path : Path
        The suffix of its name says how it is read.
    roles : dict of str to str
        The columns, and what each is used as, in words.
    encoding : str, default="utf-8"
    optional : collection of str, default=frozenset()
        Columns that may be missing. The answer leaves them out then.
    quoted : bool or None, default=True
        Whether double quotes enclose fields of delimited text. None is as usual: they
        do, except between tabs.
    sheet : str, default=None
        The sheet of a workbook; None for the only one.
    flatten, is_export : callable, default=None
        See `read_table`.

    Raises
    ------
    DataFileError
        If the file cannot be read as asked.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file needs a library that is not installed.
    ValueError
        If Python does not know the encoding.
    """
    layout = Layout(encoding, quoted, sheet)
    table = read_table(
        path, roles, layout, optional=optional, flatten=flatten, is_export=is_export
    )
    return table.columns


def read_table(
    path: Path,
    roles: Mapping[str, str],
    layout: Layout,
    *,
    optional: Collection[str] = frozenset(),
    options: Mapping[str, tuple[str, str]] | None = None,
    flatten: Flatten | None = None,
    is_export: Callable[[Sequence[str]], bool] | None = None,
) -> Table:
    """Return some columns of a file, and how it was read.

    Parameters
    ----------
    path : Path
    roles : dict of str to str
        The columns, and what each is used as, in words.
    layout : Layout
    optional : collection of str, default=frozenset()
    options : dict of str to tuple of (str, str), default=None
        For each role the argument and the option that name its column, for messages.
    flatten : callable, default=None
        Takes all rows of the file as dicts, those of JSON as they are, and returns flat
        rows to read in their place, or None to leave them as they are.

    Raises
    ------
    DataFileError, FileNotFoundError, ImportError, ValueError
        As `read_columns`.
    """
    source, reader = _source(path, layout)
    choose = Choose(source, roles, optional, options or {})
    notes: list[str] = []
    try:
        if flatten is None:
            columns = reader(source, layout, choose, notes)
        else:
            is_export = is_export or (lambda names: True)
            columns = _flattened(
                source, layout, choose, notes, reader, flatten, is_export
            )
    except UnicodeError as error:
        raise source.encoding_error(layout.encoding) from error
    if not next(iter(columns.values())):
        raise DataFileError(f"{source} has columns but no rows.")
    unread = (name for name in choose.names if name not in columns)
    return Table(columns, tuple(notes), tuple(unread))


def stream_table(
    path: Path,
    roles: Mapping[str, str],
    layout: Layout,
    options: Mapping[str, tuple[str, str]] | None = None,
) -> Iterator[Columns]:
    """Yield some columns of a file, some rows at a time.

    Memory does not grow with the number of rows, except of workbooks and JSON arrays,
    which are read whole. The arguments and errors are those of `read_table`.
    """
    source, reader = _source(path, layout)
    stream = _STREAMS.get(reader, _all_at_once(reader))
    n_rows = 0
    try:
        for block in stream(
            source, layout, Choose(source, roles, (), options or {}), []
        ):
            n_rows += len(next(iter(block.values())))
            yield block
    except UnicodeError as error:
        raise source.encoding_error(layout.encoding) from error
    if not n_rows:
        raise DataFileError(f"{source} has columns but no rows.")


def stream_lines(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a file of text, without what ends them."""
    check_encoding(encoding)
    _check_exists(path)
    if path.is_dir():
        raise DataFileError(f"{path} is a folder; name a file of lines in it.")
    source = Source.of(path)
    if _READERS.get(source.suffix) in _IN_BYTES:
        raise DataFileError(f"{source} is a table, and no file of lines.")
    line = None
    try:
        with source.text(encoding) as file:
            for line in file:
                yield line.rstrip("\r\n")
    except UnicodeError as error:
        raise source.encoding_error(encoding) from error
    if line is None:
        raise DataFileError(f"{source} is empty.")


def check_encoding(encoding: str) -> None:
    """Refuse an encoding that Python does not know."""
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(
            f"The encoding {encoding!r} is not known to Python; try 'utf-8', 'cp1252' "
            "or 'utf-16'."
        ) from error


_Reader = Callable[[Source, Layout, Choose, list[str]], Columns]
_READERS: dict[str, _Reader] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".txt": read_delimited,
    ".json": read_json,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".xlsx": read_excel,
    ".xlsm": read_excel,
    ".parquet": read_parquet,
}
_STREAMS: dict[_Reader, Callable[..., Iterator[Columns]]] = {
    read_delimited: stream_delimited,
    read_json: stream_json,
    read_parquet: stream_parquet,
}
_IN_BYTES = (read_excel, read_parquet)  # which cannot be read from gzip
_SPREADSHEETS = (".xls", ".xlsb", ".ods", ".numbers")


def _source(path: Path, layout: Layout) -> tuple[Source, _Reader]:
    """Return the table in a file, and what reads it."""
    check_encoding(layout.encoding)
    _check_exists(path)
    source = Source.of(path)
    reader = _reader(source)
    if layout.sheet is not None and reader is not read_excel:
        raise DataFileError(
            f"{source} is no workbook and has no sheets.",
            python="Leave out sheet=.",
            command="Leave out --sheet.",
        )
    return source, reader


def _check_exists(path: Path) -> None:
    if path.exists():
        return
    if re.match(r"\w{2,}:/", str(path)):  # one letter is a drive
        raise FileNotFoundError(
            f"{str(path)!r} is an address, and only files on this machine are read. "
            "Download it first."
        )
    raise FileNotFoundError(f"There is no file {str(path)!r}.")


def _all_at_once(reader: _Reader) -> Callable[..., Iterator[Columns]]:
    def stream(*arguments: Any) -> Iterator[Columns]:
        yield reader(*arguments)

    return stream


def _reader(source: Source) -> _Reader:
    if source.path.is_dir():
        return read_parquet
    reader = _READERS.get(source.suffix)
    if reader is not None and not (source.packed == ".gz" and reader in _IN_BYTES):
        return reader
    if source.suffix in _SPREADSHEETS:
        raise DataFileError(
            f"{source}: {source.suffix} files are not read; save it as .xlsx or as CSV."
        )
    raise DataFileError(
        f"{source}: the suffix {source.path.suffix!r} is none of "
        f"{', '.join(_READERS)} (with .gz after those of text, or one of them in a "
        ".zip). Export it as one of these."
    )


def _flattened(
    source: Source,
    layout: Layout,
    choose: Choose,
    notes: list[str],
    reader: _Reader,
    flatten: Flatten,
    is_export: Callable[[Sequence[str]], bool],
) -> Columns:
    if reader is read_json:
        records = read_records(source, layout)
    else:
        columns = reader(source, layout, replace(choose, all=is_export), notes)
        names = [*columns]
        if not is_export(names):
            return columns  # those that were asked for
        if not columns[names[0]]:  # records without rows have no names
            return {name: [] for name in choose(names)}
        records = records_of(columns)
    flat = flatten(records)
    if flat is not None:
        notes.append("an export of an annotation tool")
    return columns_of(records if flat is None else flat, choose)
