"""What a person wrote: lines of decisions, and lists of ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._annotation_tools.answers import TASK, answers, is_export
from .._inputs.values import format_value
from .._storage.cells import unescape_cell
from .._storage.tables import check_encoding, is_whole_text, read_columns
from ..exceptions import DataFileError

ACCEPT = ("accept", "accepted", "yes", "y")
REJECT = ("reject", "rejected", "no", "n")
SKIP = ("", "skip", "skipped")
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
    "probability_wrong": "the probability that the current value is wrong",
    "probability_proposed": "the probability of the new value",
    "probability": "the same in older lists",
    "guess": "what the model guesses of a missing annotation",
    TASK: "the task of an annotation tool",
}
_REQUIRED = ("decision", "kind", "id", "text_hash", "path", "current", "proposed")
_OPTIONAL = _ROLES.keys() - set(_REQUIRED)
# What Excel writes as "Unicode text" begins with one of them.
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

# The cells of a line by the names of their columns, and "where" it is, for messages.
Line = dict[str, str]


def read_lines(path: Path, encoding: str = "utf-8") -> list[Line]:
    """Return the lines of a file of decisions, each with its place in the file.

    The file is a table in the form of ``suspects.csv`` and ``suggestions.csv``, or what
    an annotation tool exports of the tasks that skclif wrote.

    Raises
    ------
    DataFileError
        If the file is neither.
    """
    encoding = _encoding(path, encoding)
    columns = read_columns(
        path,
        _ROLES,
        encoding,
        _OPTIONAL,
        flatten=answers(path),
        is_export=is_export,
    )
    return [
        _line(path, number, columns, cells)
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1)
    ]


def _encoding(path: Path, encoding: str) -> str:
    """Return the encoding of a file, which its first bytes can say."""
    if encoding.casefold().replace("_", "-") in ("utf-8", "utf8") and path.is_file():
        with open(path, "rb") as stream:
            if stream.read(2) in _UTF_16:
                return "utf-16"
    return encoding


def _line(
    path: Path, number: int, columns: Iterable[str], cells: Iterable[Any]
) -> Line:
    """Return the cells of a line without the escapes of spreadsheets, and its place.

    Except for texts, spaces at both ends are removed.
    """
    where = f"{path}, row {number}"
    line = {}
    for name, value in zip(columns, cells, strict=True):
        cell = "" if value is None else unescape_cell(format_value(value))
        if not is_whole_text(cell):
            raise DataFileError(f"{where}: {name!r} holds half a character.")
        line[name] = cell if name == "text" else cell.strip()
    line["where"] = f"{path}, task {line[TASK]}" if line.get(TASK) else where
    return line


def decision_of(line: Line) -> str:
    """Return the decision of a line, as one of `ACCEPT`, `REJECT` or `SKIP`."""
    word = line["decision"].casefold()
    if word not in ACCEPT + REJECT + SKIP:
        raise DataFileError(
            f"{line['where']}: the decision {line['decision']!r} is not known. Write "
            f"{_either(ACCEPT)} to make the change, {_either(REJECT)} to record that "
            f"it is not to be made, or {_either(SKIP[1:])} or nothing to leave it "
            "undecided."
        )
    return word


def _either(words: Sequence[str]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}"


@contextmanager
def rows_explained() -> Iterator[None]:
    """Say in errors what a number of a row means: a spreadsheet shows another one."""
    try:
        yield
    except DataFileError as error:
        if ", row " not in str(error):
            raise
        raise DataFileError(f"{error} (Row 1 is the first row of data.)") from error


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
