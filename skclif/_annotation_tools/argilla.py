"""What Argilla exports: by way of `datasets`, flat, and as its own JSON, nested.

A response has one of three states; only submitted ones count. Suggestions of a model
are no annotations.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..exceptions import DataFileError
from .annotated import Annotation, Chosen, NoValue, Record, Request, Task, options_of

_RESPONSES = ".responses"
# Question, annotator, value.
_Response = tuple[str, str, Any]


def read_records(records: list[Record], request: Request) -> list[Task] | None:
    """Return the records of an export of Argilla, None if these are none."""
    if records and all(map(_is_nested, records)):
        return [_nested(record) for record in records]
    names = dict.fromkeys(name for record in records for name in record)
    questions = [
        name.removesuffix(_RESPONSES) for name in names if is_of_argilla(name, names)
    ]
    if not questions:
        return None
    return [_flat(record, questions, request) for record in records]


def is_of_argilla(name: str, names: Collection[str]) -> bool:
    """Return whether a column holds responses; another one has their annotators."""
    return name.endswith(_RESPONSES) and f"{name}.users" in names


def _is_nested(record: Record) -> bool:
    fields, responses = record.get("fields"), record.get("responses")
    return (
        isinstance(fields, dict)
        and isinstance(responses, dict)
        and isinstance(record.get("metadata"), dict | None)
        and all(map(_are_responses, responses.values()))
    )


def _are_responses(found: Any) -> bool:
    return found is None or (
        isinstance(found, list) and all(isinstance(one, dict) for one in found)
    )


def _nested(record: Record) -> Task:
    task_id, found = record.get("id"), []
    for question, responses in record["responses"].items():
        for one in responses or []:
            if one.get("status") in (None, "submitted"):
                found.append((question, str(one.get("user_id", "")), one.get("value")))
    data = {"id": task_id, **(record.get("metadata") or {}), **record["fields"]}
    return Task(str(task_id), data, _annotations(found))


def _flat(record: Record, questions: list[str], request: Request) -> Task:
    task_id, found = str(record.get("id")), []
    for question in filter(request.asks_for, questions):
        name = f"{question}{_RESPONSES}"
        values = record.get(name) or []
        users = record.get(f"{name}.users") or []
        states: Any = record.get(f"{name}.status")
        if states is None and isinstance(users, list):
            states = [None] * len(users)
        for column in (values, users, states):
            if not isinstance(column, list) or len(column) != len(values):
                raise DataFileError(
                    f"{request.path}, id {task_id}, field {question!r}: the responses "
                    "are no list with an annotator for each. CSV cannot hold lists: "
                    "export with to_json of datasets, as JSON Lines."
                )
        found += [
            (question, str(user), value)
            for value, user, state in zip(values, users, states, strict=True)
            if state in (None, "submitted")
        ]
    data = {name: v for name, v in record.items() if _RESPONSES not in name}
    return Task(task_id, dict.fromkeys(questions) | data, _annotations(found))


def _annotations(responses: list[_Response]) -> list[Annotation]:
    by_user: dict[str, dict[str, Chosen]] = {}
    for question, user, value in responses:
        by_user.setdefault(user, {})[question] = _options(value)
    return [Annotation(user, chosen) for user, chosen in by_user.items()]


def _options(value: Any) -> Chosen:
    chosen = options_of(value)
    if isinstance(chosen, NoValue):
        return NoValue("holds a ranking or marks parts of the text")
    return chosen
