"""What doccano exports for the classification of texts: a list of labels in each row.

``{"id": 1, "text": "…", "label": ["good"]}``, as JSON or JSON Lines. A row that nobody
labelled has an empty list. Files of several annotators, one after the other, are one
file in which ids are repeated.
"""

from __future__ import annotations

from .annotated import Annotation, NoValue, Record, Request, Task, options_of


def read_lists(records: list[Record], request: Request) -> list[Task] | None:
    """Return the texts of a file with lists of labels, None if it has none."""
    names = dict.fromkeys(name for record in records for name in record)
    fields = [n for n in names if request.asks_for(n) and _is_listed(records, n)]
    if not fields:
        return None
    groups: dict[tuple[str, str], list[Record]] = {}
    for number, record in enumerate(records, 1):
        task_id = str(record.get(request.id or "id", f"row {number}"))
        # Another text under the same id is another row, to be refused as such.
        text = str([record.get(name) for name in request.others])
        groups.setdefault((task_id, text), []).append(record)
    return [_task(i, rows, fields) for (i, _), rows in groups.items()]


def _is_listed(records: list[Record], name: str) -> bool:
    given = [record[name] for record in records if record.get(name) is not None]
    return bool(given) and all(isinstance(one, list) for one in given)


def _task(task_id: str, rows: list[Record], fields: list[str]) -> Task:
    annotations = []
    for row in rows:
        chosen = {name: options_of(row.get(name)) for name in fields}
        for name, options in chosen.items():
            if isinstance(options, NoValue):
                chosen[name] = NoValue(
                    "holds lists of lists or of objects, such as parts of the text "
                    "that were marked, and no label of the whole text"
                )
        if any(chosen.values()):
            annotations.append(Annotation("", chosen))
    data = {name: value for name, value in rows[0].items() if name not in fields}
    return Task(task_id, data, annotations)
