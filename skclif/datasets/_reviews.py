"""Reviews from a user's own file, with errors that name the file, column and row."""

import csv
import difflib
import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._inputs.sklearn import validate_params
from ..exceptions import DataFileError

# What software writes for "nothing here". Words that people choose, "None" and
# "unknown" above all, are no markers: they may name a value of a concept.
_NA_VALUES = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")

_SEPARATORS = (",", ";", "\t", "|")
# Leading zeros make a code of a number; more than 15 digits do not fit in a float.
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE]-\d{1,2})?", re.ASCII)
_SHOWN = 80  # characters of a column's name
_LONGEST_FIELD = 2**31 - 1
_EXACT = 2**53  # floats below are exact integers


@validate_params(
    {
        "path": [str, os.PathLike],
        "text": [str],
        "label": [str, None],
        "concepts": ["array-like", None],
        "id": [str, None],
        "group": [str, None],
        "encoding": [str],
        "na_values": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def load_reviews(
    path: str | os.PathLike,
    *,
    text: str = "text",
    label: str | None = "label",
    concepts: Sequence[str] | None = None,
    id: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
    na_values: Sequence[str] | None = None,
) -> Bunch:
    r"""Load texts, labels and concept annotations from a file of your own.

    One row of the file is one sample. The suffix of its name says how it is read:

    - `.csv`, `.tsv`, `.txt`: a header and rows, separated by commas, semicolons, tabs
      or vertical bars, whichever gives the columns asked for. A field that holds the
      separator, a line break or a quote stands in double quotes.
    - `.jsonl`, `.ndjson`, `.json`: one JSON object on each line.
    - `.parquet`: needs the extra `parquet`.

    All but Parquet may be compressed, with `.gz` at the end of the name.

    Parameters
    ----------
    path : str or path-like
        The file.

    text : str, default="text"
        The column of the texts. They are kept as they are, as strings.

    label : str or None, default="label"
        The column of the labels. None if the file has none.

    concepts : array-like of str, default=None
        The columns of the concept annotations. None if the file has none.

    id : str, default=None
        The column that identifies the rows. Its values are read as strings ("007"
        stays "007"). None numbers them "row-1", "row-2" and so on, which holds as long
        as the order of the rows does.

    group : str, default=None
        A column that says which group a row belongs to, to compare groups.

    encoding : str, default="utf-8"
        The encoding of the characters; a byte order mark is skipped.

    na_values : array-like of str, default=None
        What stands for "no value" in the columns of concepts, labels and groups, beside
        the empty string. None is what software writes: "NA", "N/A", "#N/A", "NaN",
        "nan", "null", "NULL" and "<NA>". The words "None" and "unknown" are values.
        Pass `[]` if "NA" is one too.

    Returns
    -------
    reviews : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields. The index of every Series and
        DataFrame is `ids`.

        data : Series of str of shape (n_samples,)
            The texts.
        target : Series of shape (n_samples,) or None
            The labels: integers if all of them are whole numbers, floats if all are
            numbers, and strings otherwise.
        concepts : DataFrame of shape (n_samples, n_concepts) or None
            The annotations; NaN = not annotated. A column that holds numbers alone
            becomes numeric.
        groups : Series of shape (n_samples,) or None
            The groups.
        ids : Index of str of shape (n_samples,)
            The identifiers of the rows.
        frame : DataFrame
            The columns asked for, side by side.
        path : str
            The file.

    Raises
    ------
    DataFileError
        If the file cannot be read as asked: a column is missing or stands there twice,
        a row has too many or too few fields, a text, a label or a group is empty, two
        rows have the same identifier. The message names the file, the column and the
        row; row 1 is the first row of data, whatever number of lines it fills.

    FileNotFoundError
        If there is no such file.

    ImportError
        If the file is a Parquet file and pyarrow is not installed.

    See Also
    --------
    fetch_cebab : Real reviews with four concepts.
    make_concept_reviews : Generated reviews with four concepts.

    Notes
    -----
    Spaces around labels, annotations, groups and identifiers are removed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclif.datasets import load_reviews
    >>> content = "text;label;food\nGreat soup;5;Positive\nLong wait;2;\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "reviews.csv")
    ...     _ = path.write_text(content)
    ...     reviews = load_reviews(path, concepts=["food"])
    >>> reviews.frame.loc["row-2"].to_dict()
    {'text': 'Long wait', 'label': 2, 'food': nan}
    """
    path = Path(path)
    check_encoding(encoding)
    na_values = {"", *map(str, _NA_VALUES if na_values is None else na_values)}
    concepts = [] if concepts is None else list(concepts)
    roles = _roles(text=text, label=label, concepts=concepts, id=id, group=group)
    columns = read_columns(path, roles, encoding)

    ids = _ids(path, id, columns)
    data = pd.Series(_texts(path, text, columns[text]), index=ids, name=text)

    def series(name, required):
        values = _values(path, name, columns[name], na_values, required)
        return pd.Series(values, index=ids, name=name)

    target = None if label is None else series(label, required=True)
    groups = None if group is None else series(group, required=True)
    annotations = [series(name, required=False) for name in concepts]
    parts = [data, target, *annotations, groups]
    return Bunch(
        data=data,
        target=target,
        concepts=pd.concat(annotations, axis=1) if annotations else None,
        groups=groups,
        ids=ids,
        frame=pd.concat([part for part in parts if part is not None], axis=1),
        path=str(path),
    )


load_reviews.__module__ = "skclif.datasets"


def _roles(*, text, label, concepts, id, group):
    """Say in words what each column asked for is used as."""
    pairs = [(text, "the text"), (label, "the label"), (id, "the identifier")]
    pairs += [(group, "the group"), *((name, "a concept") for name in concepts)]
    roles = {}
    for name, role in pairs:
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"A column is named by a string; got {name!r} as {role}.")
        if name in roles:
            raise DataFileError(
                f"The column {name!r} is asked for twice, as {roles[name]} and as "
                f"{role}; a column has one use."
            )
        roles[name] = role
    return roles


def check_encoding(encoding):
    """Refuse what is no encoding of text."""
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ValueError(
            f"encoding={encoding!r} is not known to Python; try 'utf-8', 'cp1252' or "
            "'utf-16'."
        ) from error


def read_columns(path, roles, encoding="utf-8", optional=frozenset()):
    """Return the raw values of columns by name, a list with one entry a row each.

    Parameters
    ----------
    path : Path
    roles : dict of str to str
        The columns, and what each is used as, in words.
    encoding : str, default="utf-8"
    optional : set of str, default=frozenset()
        Columns that may be missing, and then are not in the answer.

    Raises
    ------
    DataFileError, FileNotFoundError, ImportError
        As :func:`load_reviews`.
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
            f"{', '.join(_READERS)} (with .gz after all but .parquet)."
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


@contextmanager
def _fields_of_any_length():
    """Let fields be as long as texts are; the csv module knows one limit for all."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


@_fields_of_any_length()
def _read_delimited(path, roles, encoding, optional):
    separator = max(
        _SEPARATORS, key=lambda s: _fitness(_first_row(path, encoding, s), roles)
    )
    columns, number = {}, 0
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
                        "holds the separator must stand in double quotes."
                    )
                for column, place in places:
                    column.append(row[place])
        except csv.Error as error:
            raise DataFileError(
                f"{path}, row {number + 1}: {error}. Is a double quote left open, or "
                "not doubled inside a quoted field?"
            ) from error
    return columns


def _first_row(path, encoding, separator):
    with _open(path, encoding) as file:
        try:
            rows = filter(None, csv.reader(file, delimiter=separator))
            return [name.strip() for name in next(rows, [])]
        except csv.Error:  # the strict reading will say why
            return []


def _fitness(header, roles):
    return len(roles.keys() & set(header)), len(header)


def _read_json_lines(path, roles, encoding, optional):
    columns = {name: [] for name in roles}
    names = {}  # a dict for its order
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


def _json_object(path, number, line):
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


def _unique_names(pairs):
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands there twice")
    return record


def _read_parquet(path, roles, encoding, optional):
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
            return file.read(columns=found).to_pydict()
    except pyarrow.ArrowException as error:
        raise DataFileError(f"{path} is not a Parquet file: {error}") from error


_READERS = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".txt": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}


def _open(path, encoding):
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"  # skips a byte order mark
    return _opener(path)(path, "rt", encoding=encoding, newline="")


def _opener(path):
    return gzip.open if path.suffix.lower() == ".gz" else open


def _encoding_problem(path, encoding):
    return (
        f"{path}{_undecodable_line(path, encoding)} is not written in {encoding!r}. "
        "Say what it is written in, for example encoding='cp1252' for files of Windows "
        "programs, or encoding='utf-16'."
    )


def _undecodable_line(path, encoding):
    """Name the first line that is not in this encoding; the decoder knows none."""
    if "\n".encode(encoding) != b"\n":
        return ""  # the bytes of such a file cannot be split into lines
    with _opener(path)(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return f", line {number} of the file,"
    return ""


def _check_names(path, names, roles, optional):
    """Return the columns that are there; refuse what is missing and must not be."""
    if not any(names):
        raise DataFileError(f"{path} is empty.")
    for name, role in roles.items():
        if names.count(name) > 1:
            raise DataFileError(
                f"{path} has {names.count(name)} columns named {name!r}, asked for as "
                f"{role}; rename all but one."
            )
        if name not in names and name not in optional:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataFileError(
                f"{path} has no column {name!r}, asked for as {role}.{hint} It has: "
                f"{', '.join(repr(known[:_SHOWN]) for known in names)}."
            )
    return [name for name in roles if name in names]


def _ids(path, name, columns):
    if name is None:
        n_rows = len(next(iter(columns.values())))
        return pd.Index([f"row-{number}" for number in range(1, n_rows + 1)], name="id")
    values = _scalars(path, name, columns[name])
    values = ["" if value is None else str(value).strip() for value in values]
    _refuse_rows(path, name, [not value for value in values], "the identifier is empty")
    ids = pd.Index(values, name=name)
    if not ids.is_unique:
        again = values[np.argmax(ids.duplicated())]
        where = [value == again for value in values]
        _refuse_rows(path, name, where, f"the same identifier {again!r}")
    return ids


def _texts(path, name, values):
    values = _scalars(path, name, values)
    texts = ["" if value is None else str(value) for value in values]
    _refuse_rows(path, name, [not text.strip() for text in texts], "the text is empty")
    return texts


def _values(path, name, values, na_values, required):
    """Read labels, annotations or groups: numbers if all are, NaN where there is none.

    If some are numbers and some are text, the kind that is rarer is refused.
    """
    values = [
        None if str(value).strip() in na_values else value
        for value in _scalars(path, name, values)
    ]
    missing = [value is None for value in values]
    if required:
        _refuse_rows(path, name, missing, "no value")
    is_text = [isinstance(value, str) for value in values]
    is_other = [not (a or b) for a, b in zip(is_text, missing, strict=True)]
    if any(is_text) and any(is_other):
        odd = min(is_text, is_other, key=sum)
        _refuse_rows(path, name, odd, "text and numbers are mixed")
    present = iter(as_numbers([value for value in values if value is not None]))
    return [np.nan if value is None else next(present) for value in values]


def as_numbers(values):
    """Return ints if all values are whole numbers, floats if all are numbers."""
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


def _is_whole(text):
    """Whether a text can be written at all; JSON can hold halves of characters."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _scalars(path, name, values):
    """Return the values with None for NaN; refuse all but text and numbers."""
    allowed = (str, bool, int, float, type(None))
    odd = [not isinstance(value, allowed) for value in values]
    _refuse_rows(path, name, odd, "neither text nor a number")
    broken = [isinstance(value, str) and not _is_whole(value) for value in values]
    _refuse_rows(path, name, broken, "half a character (a lone surrogate)")
    return [
        None if isinstance(value, float) and math.isnan(value) else value
        for value in values
    ]


def _refuse_rows(path, name, is_wrong, problem):
    """Raise an error that names the rows where `is_wrong`, if there are any."""
    rows = [number for number, wrong in enumerate(is_wrong, 1) if wrong]
    if not rows:
        return
    named = ", ".join(map(str, rows[:5]))
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise DataFileError(
        f"{path}, column {name!r}, row{'s' if len(rows) > 1 else ''} {named}{more}: "
        f"{problem}. (Row 1 is the first row of data.)"
    )
