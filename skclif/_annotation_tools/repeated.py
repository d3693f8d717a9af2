"""Files with one row for each annotator of a text, as Label Studio's JSON-MIN and CSV.

A row has the columns of the task and those of the annotation side by side, so what was
annotated is known by being asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..exceptions import DataFileError
from .annotated import (
    Annotation,
    Chosen,
    Record,
    Request,
    Task,
    joined,
    options_of,
    person,
)
from .label_studio import result_options

# Every row of Label Studio's JSON-MIN and CSV has all of them.
_LABEL_STUDIO = {"annotator", "annotation_id", "created_at", "updated_at", "lead_time"}
ANNOTATORS: tuple[str, ...] = (
    *("annotator", "annotator_id", "user", "user_id", "username", "worker"),
    *("worker_id", "completed_by"),
)


def read_label_studio_rows(
    records: list[Record], request: Request
) -> list[Task] | None:
    """Return the tasks of Label Studio's JSON-MIN or CSV, None for other records."""
    if not records or not all(map(is_of_label_studio, records)):
        return None
    return _grouped(records, request, "id" if "id" in records[0] else request.id)


def is_of_label_studio(names: Iterable[str]) -> bool:
    """Return whether there are the columns of Label Studio's JSON-MIN and CSV."""
    return set(names) >= _LABEL_STUDIO


def read_repeated_rows(records: list[Record], request: Request) -> list[Task] | None:
    """Return the texts of any file with a row for each annotator.

    None if no option says so: then a repeated identifier is a mistake.
    """
    if request.annotators is None or request.id is None:
        return None
    ids = {str(record.get(request.id)) for record in records}
    return _grouped(records, request, request.id) if len(ids) < len(records) else None


def _grouped(records: list[Record], request: Request, key: str | None) -> list[Task]:
    groups: dict[str, list[Record]] = {}
    for number, record in enumerate(records, 1):
        task = f"row {number}" if key is None else str(record.get(key))
        groups.setdefault(task, []).append(record)
    return [_task(i, group, request) for i, group in groups.items()]


def _task(i: str, rows: list[Record], request: Request) -> Task:
    check_same(rows, request.others, i, request)
    first = rows[0]
    fields = {name for row in rows for name in row if request.asks_for(name)}
    data = {name: value for name, value in first.items() if name not in fields}
    annotations = [_annotation(row, fields) for row in rows]
    return Task(i, data, [one for one in annotations if any(one.chosen.values())])


def check_same(
    rows: list[Record], names: Iterable[str], i: str, request: Request
) -> None:
    """Refuse rows of one text that differ in columns that are about the text."""
    first, *more = rows
    for name in names:
        if any(row.get(name) != first.get(name) for row in more):
            raise DataFileError(
                f"{request.path}, id {i}: its {len(rows)} rows are annotations of one "
                f"text, and differ in the column {name!r}. Give each text an id of its "
                "own."
            )


def annotator_of(row: Record) -> str:
    """Return who annotated a row, "" if no column says so."""
    return person(next((row[name] for name in ANNOTATORS if row.get(name)), None))


def _annotation(row: Record, fields: set[str]) -> Annotation:
    when = row.get("updated_at") or row.get("created_at") or ""
    return Annotation(
        annotator_of(row), {f: _options(row.get(f)) for f in fields}, str(when)
    )


def _options(cell: Any) -> Chosen:
    """Return the values of a cell: one is bare, several or ratings are in JSON."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("{", "["):
        try:
            cell = json.loads(cell)
        except ValueError:
            return [cell]
    if isinstance(cell, dict):
        return result_options(cell)
    if isinstance(cell, list):
        return joined(
            [result_options(c) if isinstance(c, dict) else options_of(c) for c in cell]
        )
    return options_of(cell)
