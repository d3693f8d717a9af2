"""What Label Studio exports as JSON."""

from __future__ import annotations

from itertools import chain
from typing import Any

from .annotated import (
    Annotation,
    Chosen,
    NoValue,
    Record,
    Request,
    Task,
    joined,
    options_of,
    person,
)

# Of a result that is about a part of the text, and not about all of it.
_OF_A_PART = {"start", "end", "globalOffsets", "x", "y", "labels", "hypertextlabels"}
_VALUES = ("choices", "rating", "number", "text", "datetime", "selected")


def read_tasks(records: list[Record], request: Request) -> list[Task] | None:
    """Return the tasks of an export as JSON, None if the records are none.

    Predictions and drafts are no annotations, and annotations that were skipped count
    as none. Of one person's annotations of a text, the latest counts.
    """
    if not records or not all(map(is_task, records)):
        return None
    return [_task(record) for record in records]


def is_task(record: Record) -> bool:
    """Return whether a record has the structure of a task."""
    names = ("annotations", "completions", "predictions")
    lists = [record[name] for name in names if record.get(name) is not None]
    return (
        isinstance(record.get("data"), dict)
        and bool(lists)
        and all(map(_are_objects, lists))
        and all(_has_results(one) for one in chain(*lists))
    )


def _has_results(annotation: Record) -> bool:
    results = annotation.get("result") or []
    return _are_objects(results) and all(
        isinstance(result.get("from_name"), str | None) for result in results
    )


def _are_objects(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(one, dict) for one in found)


def annotations_of(record: Record) -> list[Annotation]:
    """Return the annotations of a task; skipped ones are left out."""
    given = record.get("annotations", record.get("completions")) or []
    return [
        Annotation(
            person(one.get("completed_by")),
            _chosen(one.get("result") or []),
            str(one.get("updated_at") or one.get("created_at") or ""),
        )
        for one in given
        if not is_skipped(one)
    ]


def is_skipped(annotation: Record) -> bool:
    """Return whether the annotator skipped the task."""
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))


def _task(record: Record) -> Task:
    task_id, annotations = record.get("id"), annotations_of(record)
    names = {name for annotation in annotations for name in annotation.chosen}
    # A field and a column of the data can have one name; exports as CSV do the same.
    data = {(f"_data_{k}" if k in names else k): v for k, v in record["data"].items()}
    return Task(str(task_id), {"id": task_id, "task_id": task_id} | data, annotations)


def _chosen(results: list[Any]) -> dict[str, Chosen]:
    found: dict[str, list[Chosen]] = {}
    for result in results:
        name = result.get("from_name")
        if name:  # a relation between two regions has none
            found.setdefault(name, []).append(result_options(result.get("value")))
    return {name: joined(parts) for name, parts in found.items()}


def result_options(value: Any) -> Chosen:
    """Return what a result says of the whole text."""
    if not isinstance(value, dict):
        return NoValue("has no value")
    if _OF_A_PART & value.keys():
        return NoValue("marks a part of the text, and says nothing of the whole")
    if "taxonomy" in value:
        return _taxonomy(value["taxonomy"])
    for name in _VALUES:
        if name in value:
            return options_of(value[name])
    return NoValue(f"holds {', '.join(map(repr, value)) or 'nothing'}, and no value")


def _taxonomy(paths: Any) -> Chosen:
    if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
        return NoValue("holds no path of a taxonomy")
    return [" > ".join(map(str, path)) for path in paths]
