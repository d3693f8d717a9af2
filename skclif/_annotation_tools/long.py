"""Long tables: a row for each annotation, with the concept and its value as cells.

``text, annotator, concept, value``: whatever the concepts are, the columns are these.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .annotated import Annotation, NoValue, Record, Request, Task, options_of
from .repeated import annotator_of, check_same

CONCEPT, VALUE = "concept", "value"


def is_long(names: Collection[str], request: Request) -> bool:
    """Return whether a table has the columns of a long one, not all those asked for."""
    return {CONCEPT, VALUE} <= set(names) and not set(request.values) <= set(names)


def read_long_rows(records: list[Record], request: Request) -> list[Task] | None:
    """Return the texts of a long table, None for other records.

    Rows of one text share its identifier or, where nothing identifies it, the text.
    """
    names = dict.fromkeys(name for record in records for name in record)
    if not is_long(names, request):
        return None
    concepts = {_concept(record) for record in records} - set(names)
    fields = {name for name in concepts if request.asks_for(name)}
    if not fields:
        return None
    groups: dict[Any, list[Record]] = {}
    for record in records:
        groups.setdefault(_key(record, request), []).append(record)
    return [
        _task(f"text {n}" if request.id is None else key, rows, fields, request)
        for n, (key, rows) in enumerate(groups.items(), 1)
    ]


def _concept(record: Record) -> str:
    return str(record.get(CONCEPT) or "").strip()


def _key(record: Record, request: Request) -> Any:
    if request.id is not None:
        return str(record.get(request.id))
    return tuple(str(record.get(name)) for name in request.texts)


def _task(i: str, rows: list[Record], fields: set[str], request: Request) -> Task:
    of_the_text = [name for name in request.values if name in rows[0]]
    check_same(rows, [*request.others, *of_the_text], i, request)
    annotations: dict[str, Annotation] = {}
    for number, row in enumerate(rows):
        if _concept(row) in fields:
            who = annotator_of(row)
            # Rows without a name are of as many people.
            one = annotations.setdefault(who or f"\0{number}", Annotation(who, {}))
            _add(one, _concept(row), row.get(VALUE))
    given = [one for one in annotations.values() if any(one.chosen.values())]
    return Task(i, rows[0], given)


def _add(one: Annotation, field: str, cell: Any) -> None:
    known, more = one.chosen.get(field, []), options_of(cell)
    if isinstance(known, NoValue) or isinstance(more, NoValue):
        one.chosen[field] = more if isinstance(more, NoValue) else known
    else:
        one.chosen[field] = [*dict.fromkeys([*known, *more])]
