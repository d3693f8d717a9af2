"""Finished tasks of Label Studio, as lines of decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..exceptions import DataFileError, DataFileWarning, warn_user
from .annotated import Annotation, NoValue, Record
from .label_studio import annotations_of, is_task
from .questions import CHOICE, CHOICES, NUMBER, QUESTION

TASK = "task"  # the column with the task of a line, for messages
_OF_A_LINE = {"kind", "id", "text_hash", "path", "current", "proposed"}
_OF_A_QUESTION = {QUESTION, CHOICES, "text_hash"}
_NAMED = 5


def answers(path: Path) -> Callable[[list[Record]], list[Record] | None]:
    """Return what makes lines of decisions of the records of a file.

    The answer of a person decides a line: the present value rejects it, and another one
    is accepted in place of the proposed one. A task that nobody answered, and one on
    which answers differ, stays undecided.

    Parameters
    ----------
    path : Path
        Of the file, for messages.

    Returns
    -------
    lines : callable
        Takes the records of a file. Returns None if they are no tasks of skclif.
    """

    def lines(records: list[Record]) -> list[Record] | None:
        if records and all(map(is_export, records)):
            raise DataFileError(
                f"{path} has tasks of skclif, not exported as JSON. Other exports of "
                "Label Studio do not say what was skipped: export them as JSON."
            )
        if not records or not all(map(_is_question, records)):
            return None
        decided = [_line(path, record) for record in records]
        _warn_of_differences(path, [line[TASK] for line, differs in decided if differs])
        return [line for line, _ in decided]

    return lines


def is_export(names: Iterable[str]) -> bool:
    """Return whether a table has the columns of a task of skclif."""
    return set(names) >= _OF_A_QUESTION


def _is_question(record: Record) -> bool:
    data = record.get("data")
    is_known = isinstance(data, dict) and data.keys() >= _OF_A_LINE | _OF_A_QUESTION
    return is_known and (is_task(record) or "annotations" not in record)


def _line(path: Path, record: Record) -> tuple[Record, bool]:
    """Return the line of a task, and whether the answers to it differ."""
    data, task = record["data"], str(record.get("id"))
    latest: dict[str, Annotation] = {}
    for number, one in enumerate(annotations_of(record)):
        who = one.annotator or str(number)
        if who not in latest or one.when >= latest[who].when:
            latest[who] = one
    said = [_answer(path, task, one) for one in latest.values()]
    words = list(dict.fromkeys(filter(None, said)))
    line = {name: value for name, value in data.items() if name != CHOICES}
    line |= {TASK: task, "decision": ""}
    if len(words) == 1:
        (word,) = words
        if word == data["current"]:
            line["decision"] = "reject"
        else:
            line |= {"decision": "accept", "proposed": word}
    return line, len(words) > 1


def _answer(path: Path, task: str, one: Annotation) -> str:
    """Return what a person answered, "" for nothing."""
    words: list[Any] = []
    for name in (CHOICE, NUMBER):
        chosen = one.chosen.get(name, [])
        if isinstance(chosen, NoValue):
            raise DataFileError(
                f"{path}, task {task}: the answer in {name!r} {chosen.reason}. Use the "
                "label config that skclif writes beside the tasks."
            )
        words += chosen
    others = one.chosen.keys() - {CHOICE, NUMBER}
    if others and not words:
        raise DataFileError(
            f"{path}, task {task}: the answer is in the field {min(others)!r}, and "
            f"should be in {CHOICE!r} or {NUMBER!r}. Use the label config that skclif "
            "writes beside the tasks."
        )
    if len(words) > 1:
        raise DataFileError(
            f"{path}, task {task}: there are {len(words)} answers of one person, "
            f"{', '.join(map(repr, words))}. Choose one."
        )
    return "".join(
        f"{word:g}" if isinstance(word, float) else str(word) for word in words
    )


def _warn_of_differences(path: Path, tasks: list[str]) -> None:
    if tasks:
        more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
        warn_user(
            f"{path}: people answered differently in the tasks "
            f"{', '.join(tasks[:_NAMED])}{more}. They stay undecided: agree on one "
            "answer in Label Studio, and export again.",
            DataFileWarning,
        )
