"""JSON: one object on each line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, TextIO

from ..exceptions import DataFileError
from .layout import AT_ONCE, Choose, Columns, Layout, Records, columns_of, refuse_names
from .sources import Source

_NAMES = 1000  # of columns, as many as a message could need


def read_json(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Columns:
    """Return the chosen columns of JSON."""
    return columns_of(read_records(source, layout), choose)


def stream_json(
    source: Source, layout: Layout, choose: Choose, notes: list[str]
) -> Iterator[Columns]:
    """Yield the chosen columns of JSON, some lines at a time; an array is read whole.

    What is chosen is checked at the end: the last line may be the first with a name.
    """
    names: dict[str, None] = {}
    records = _records(source, layout)
    while block := [*islice(records, AT_ONCE)]:
        for record in block:
            if len(names) < _NAMES:
                names.update(dict.fromkeys(record))
            names.update(dict.fromkeys(record.keys() & choose.wanted.keys()))
        yield {name: [one.get(name) for one in block] for name in choose.wanted}
    choose([*names])


def read_records(source: Source, layout: Layout) -> Records:
    """Return the objects of JSON."""
    return [*_records(source, layout)]


def _records(source: Source, layout: Layout) -> Iterator[dict[str, Any]]:
    refuse_names(source, layout)
    with source.text(layout.encoding) as file:
        read = _array if _first_character(file) == "[" else _lines
    with source.text(layout.encoding) as file:
        yield from read(source, file)


def _first_character(file: TextIO) -> str:
    while (character := file.read(1)).isspace():
        pass
    return character


def _lines(source: Source, file: TextIO) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(filter(str.strip, file), 1):
        where = f"row {number}"
        try:
            record = json.loads(line, object_pairs_hook=_unique_names)
        except (ValueError, RecursionError) as error:
            raise DataFileError(
                f"{source}, {where} is not JSON: {error}. A file holds one whole "
                "object on each line, or one array (orient='records' in pandas)."
            ) from error
        yield _object(source, where, record)


def _array(source: Source, file: TextIO) -> Iterator[dict[str, Any]]:
    try:
        array = json.load(file, object_pairs_hook=_unique_names)
    except UnicodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataFileError(
            f"{source} begins as a JSON array, but is none: {error}."
        ) from error
    for number, record in enumerate(array, 1):
        yield _object(source, f"row {number}", record)


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
