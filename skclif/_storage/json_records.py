"""JSON: one object on each line, or one array of objects."""

from __future__ import annotations

import json
from typing import Any, TextIO

from ..exceptions import DataFileError
from .layout import Choose, Columns, Layout, Records, columns_of, refuse_names
from .sources import Source


def read_json(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of JSON."""
    return columns_of(read_records(source, layout), choose)


def read_records(source: Source, layout: Layout) -> Records:
    """Return the objects of JSON."""
    refuse_names(source, layout)
    with source.text(layout.encoding) as file:
        read = _array if _first_character(file) == "[" else _lines
    with source.text(layout.encoding) as file:
        return read(source, file)


def _first_character(file: TextIO) -> str:
    while (character := file.read(1)).isspace():
        pass
    return character


def _lines(source: Source, file: TextIO) -> Records:
    records: Records = []
    for line in filter(str.strip, file):
        where = f"row {len(records) + 1}"
        try:
            record = json.loads(line, object_pairs_hook=_unique_names)
        except (ValueError, RecursionError) as error:
            raise DataFileError(
                f"{source}, {where} is not JSON: {error}. A file holds one whole "
                "object on each line, or one array (orient='records' in pandas)."
            ) from error
        records.append(_object(source, where, record))
    return records


def _array(source: Source, file: TextIO) -> Records:
    try:
        array = json.load(file, object_pairs_hook=_unique_names)
    except UnicodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataFileError(
            f"{source} begins as a JSON array, but is none: {error}."
        ) from error
    return [
        _object(source, f"row {number}", record)
        for number, record in enumerate(array, 1)
    ]


def _object(source: Source, where: str, record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise DataFileError(
            f"{source}, {where} is not a JSON object but a "
            f"{type(record).__name__}. A file holds one object on each line, or one "
            "array of objects."
        )
    return record


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has the name {twice!r} twice")
    return record
