"""Files whose rows have a list of annotations, each with its annotator.

Doccano with several annotators, data sets of Argilla 1, and shared tasks have them:
``{"text": …, "annotations": [{"user": "A", "label": "good"}, …]}``.
"""

from __future__ import annotations

from typing import Any

from ..exceptions import DataFileError
from .annotated import Annotation, Chosen, Record, Request, Task, options_of, person
from .repeated import ANNOTATORS

_NO_VALUES = {*ANNOTATORS, "id", "status", "created_at", "updated_at"}


def read_nested(records: list[Record], request: Request) -> list[Task] | None:
    """Return the texts of a file with lists of annotations, None if it has none."""
    names = dict.fromkeys(name for record in records for name in record)
    lists = [name for name in names if _holds_annotations(records, name)]
    fields = {name: _fields(records, name) for name in lists}
    wanted = [
        name
        for name in lists
        if request.asks_for(name) or any(map(request.asks_for, fields[name]))
    ]
    if not wanted:
        return None
    return [
        _task(number, record, {name: fields[name] for name in wanted}, request)
        for number, record in enumerate(records, 1)
    ]


def _holds_annotations(records: list[Record], name: str) -> bool:
    """Return whether a column has nothing but lists of annotations with annotators."""
    given = [record[name] for record in records if record.get(name) is not None]
    return (
        any(given)
        and all(isinstance(one, list) for one in given)
        and all(map(_is_annotation, (one for some in given for one in some)))
    )


def _is_annotation(one: Any) -> bool:
    return isinstance(one, dict) and bool(one.keys() & set(ANNOTATORS))


def _fields(records: list[Record], name: str) -> list[str]:
    """Return the names of what was annotated."""
    found = (key for record in records for one in record.get(name) or [] for key in one)
    return [key for key in dict.fromkeys(found) if key not in _NO_VALUES]


def _task(
    number: int, record: Record, lists: dict[str, list[str]], request: Request
) -> Task:
    task_id = str(record.get(request.id or "id", f"row {number}"))
    by_user: dict[str, dict[str, Chosen]] = {}
    for name, fields in lists.items():
        if request.asks_for(name) and len(fields) != 1:
            raise DataFileError(
                f"{request.path}, field {name!r}: each of its annotations holds "
                f"{', '.join(map(repr, fields)) or 'no value'}. Ask for one of them by "
                "its own name."
            )
        for position, one in enumerate(record.get(name) or []):
            if one.get("status") not in (None, "submitted"):
                continue  # of Argilla: a draft, or discarded
            who = person(next((one[k] for k in ANNOTATORS if k in one), None))
            chosen = by_user.setdefault(who or f"{position + 1}", {})
            for field in fields:
                key = name if request.asks_for(name) else field
                chosen[key] = options_of(one.get(field))
    data = {name: value for name, value in record.items() if name not in lists}
    annotations = [Annotation(who, chosen) for who, chosen in by_user.items()]
    return Task(task_id, data, annotations)
