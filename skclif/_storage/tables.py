"""Tables from files: delimited text, JSON Lines and Parquet, as columns of raw values.

Every error names the file, and the row where there is one. Row 1 is the first row of
data, whatever number of lines it fills.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

from ..exceptions import DataFileError

_SEPARATORS = (",", ";", "\t", "|")
# Leading zeros make a code of a number; more than 15 digits do not fit in a float.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE]-\d{1,2})?", re.ASCII)
_SHOWN = 80  # characters of a column's name
_LONGEST_FIELD = 2**31 - 1
_EXACT = 2**53  # floats below are exact integers

Columns = dict[str, list[Any]]


def read_columns(
    path: Path,
    roles: Mapping[str, str],
    encoding: str = "utf-8",
    optional: Collection[str] = frozenset(),
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

    Raises
    ------
    DataFileError
        If the file cannot be read as asked.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file is a Parquet file and pyarrow is not installed.
    ValueError
        If Python does not know the encoding.
    """
    check_encoding(encoding)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise DataFileError(f"{path} is a folder; name a file in it.")
    name = path.name.lower()
    reader = _READERS.get(Path(name.removesuffix(".gz")).suffix)
    if reader is None or (reader is _read_parquet and name.endswith(".gz")):
        raise DataFileError(
            f"{path}: the suffix {path.suffix!r} is none of "
            f"{', '.join(_READERS)} (with .gz after all except .parquet)."
        )
    try:
        columns = reader(path, roles, encoding, optional)
    except UnicodeError as error:
        raise DataFileError(_encoding_problem(path, encoding)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataFileError(f"{path} is not a whole gzip file: {error}") from error
    if not next(iter(columns.values())):
        raise DataFileError(f"{path} has columns but no rows.")
    return columns


def check_encoding(encoding: str) -> None:
    """Refuse an encoding that Python does not know."""
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(
            f"The encoding {encoding!r} is not known to Python; try 'utf-8', 'cp1252' "
            "or 'utf-16'."
        ) from error


def as_numbers(values: Sequence[Any]) -> list[Any]:
    """Return ints if all values are whole numbers, floats if all are numbers."""
    values = list(values)
    if all(isinstance(value, str) for value in values):
        values = [value.strip() for value in values]
        if not all(map(_NUMBER.fullmatch, values)):
            return values
        values = [float(value) for value in values]
    if any(isinstance(value, bool) for value in values):
        return values
    if all(value % 1 == 0 and abs(value) < _EXACT for value in values):
        return [int(value) for value in values]
    return values


def is_whole_text(text: str) -> bool:
    """Return whether a text can be encoded; JSON can hold halves of characters."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


# --- Delimited text -------------------------------------------------------------------


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Allow fields as long as texts are; the csv module has one limit for all."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@_fields_of_any_length()
def _read_delimited(
    path: Path, roles: Mapping[str, str], encoding: str, optional: Collection[str]
) -> Columns:
    def fitness(separator: str) -> tuple[int, int]:
        header = _first_row(path, encoding, separator)
        return len(roles.keys() & set(header)), len(header)

    separator = max(_SEPARATORS, key=fitness)
    columns: Columns = {}
    number = 0
    with _open(path, encoding) as file:
        # An empty line is no row; a strict reader refuses a quote left open.
        rows = filter(None, csv.reader(file, delimiter=separator, strict=True))
        try:
            header = [name.strip() for name in next(rows, [])]
            columns = {n: [] for n in _check_names(path, header, roles, optional)}
            places = [(columns[name], header.index(name)) for name in columns]
            for number, row in enumerate(rows, 1):
                if len(row) != len(header):
                    raise DataFileError(
                        f"{path}, row {number}: {len(row)} fields, but the header has "
                        f"{len(header)} (separated by {separator!r}). A field that "
                        "holds the separator must be in double quotes."
                    )
                for column, place in places:
                    column.append(row[place])
        except csv.Error as error:
            raise DataFileError(
                f"{path}, row {number + 1}: {error}. Is a double quote left open, or "
                "not doubled inside a quoted field?"
            ) from error
    return columns


def _first_row(path: Path, encoding: str, separator: str) -> list[str]:
    with _open(path, encoding) as file:
        try:
            rows = filter(None, csv.reader(file, delimiter=separator))
            return [name.strip() for name in next(rows, [])]
        except csv.Error:  # the strict reading will say why
            return []


# --- JSON Lines -----------------------------------------------------------------------


def _read_json_lines(
    path: Path, roles: Mapping[str, str], encoding: str, optional: Collection[str]
) -> Columns:
    columns: Columns = {name: [] for name in roles}
    names: dict[str, None] = {}  # a dict for its order
    number = 0
    with _open(path, encoding) as file:
        for line in filter(str.strip, file):
            number += 1
            record = _json_object(path, number, line)
            names.update(dict.fromkeys(record))
            for name, column in columns.items():
                column.append(record.get(name))
    found = _check_names(path, [*names] if number else [], roles, optional)
    return {name: columns[name] for name in found}


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise DataFileError(
            f"{path}, row {number} is not JSON: {error}. Each line must hold one "
            "whole JSON object."
        ) from error
    if not isinstance(record, dict):
        raise DataFileError(
            f"{path}, row {number} is not a JSON object but a "
            f"{type(record).__name__}. Each line must hold one object."
        )
    return record


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the name {twice!r} twice")
    return record


# --- Parquet --------------------------------------------------------------------------


def _read_parquet(
    path: Path, roles: Mapping[str, str], encoding: str, optional: Collection[str]
) -> Columns:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            'Parquet files need pyarrow: pip install "skclif[parquet]"'
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            found = _check_names(path, names, roles, optional)
            return cast(Columns, file.read(columns=found).to_pydict())
    except pyarrow.ArrowException as error:
        raise DataFileError(f"{path} is not a Parquet file: {error}") from error


# --- What all of them need ------------------------------------------------------------

_Reader = Callable[[Path, Mapping[str, str], str, Collection[str]], Columns]
_READERS: dict[str, _Reader] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".txt": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}


def _open(path: Path, encoding: str) -> TextIO:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # skips a byte order mark
    return cast(TextIO, _opener(path)(path, "rt", encoding=encoding, newline=""))


def _opener(path: Path) -> Callable[..., Any]:
    return gzip.open if path.suffix.lower() == ".gz" else open


def _encoding_problem(path: Path, encoding: str) -> str:
    return (
        f"{path}{_undecodable_line(path, encoding)} is not written in {encoding!r}. "
        "Name the encoding of the file, for example cp1252 for files of Windows "
        "programs, or utf-16: it is the argument encoding in Python, and the option "
        "--encoding of the command."
    )


def _undecodable_line(path: Path, encoding: str) -> str:
    """Name the first line that is not in this encoding; the decoder does not say."""
    if "\n".encode(encoding) != b"\n":
        return ""  # the bytes of such a file cannot be split into lines
    with _opener(path)(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return f", line {number} of the file,"
    return ""


def _check_names(
    path: Path,
    names: Sequence[str],
    roles: Mapping[str, str],
    optional: Collection[str],
) -> list[str]:
    """Return the columns that the file has; refuse it if a required one is missing."""
    if not any(names):
        raise DataFileError(f"{path} is empty.")
    for name, role in roles.items():
        if names.count(name) > 1:
            raise DataFileError(
                f"{path} has {names.count(name)} columns named {name!r}, asked for as "
                f"{role}; rename all except one."
            )
        if name not in names and name not in optional:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataFileError(
                f"{path} has no column {name!r}, asked for as {role}.{hint} It has: "
                f"{', '.join(repr(known[:_SHOWN]) for known in names)}."
            )
    return [name for name in roles if name in names]
