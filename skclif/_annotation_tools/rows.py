"""From what people chose to one row for each text, or one for each annotator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ..exceptions import DataFileError, DataFileWarning, warn_user
from .annotated import Annotation, NoValue, Record, Request, Task

# The column with the weight of a row; only rows of ``annotators="all"`` have it.
WEIGHT = "skclif:weight"
CHOSEN, NOT_CHOSEN = "yes", "no"
_NAMED = 5
# Of an annotation, the value of a column; None if there is none.
_Value = Callable[[Task, Annotation], Any]


def flat_rows(tasks: list[Task], request: Request) -> list[Record]:
    """Return rows with one value in each column that was asked for.

    Raises
    ------
    DataFileError
        If something that was asked for is not one value, or a text has several
        annotators and `request` does not say what becomes of them.
    """
    fields = dict.fromkeys(
        field for task in tasks for one in task.annotations for field in one.chosen
    )
    readers = {
        name: reader
        for name in request.values
        if (reader := _reader(name, fields, request)) is not None
    }
    _warn_of_unchosen(tasks, list(fields), request)
    tasks = [_latest(task) for task in tasks]
    empty = dict.fromkeys(fields) | dict.fromkeys(readers)
    if request.annotators == "all":
        return [row for task in tasks for row in _all(task, empty, readers, request)]
    if request.annotators is None:
        _refuse_several(tasks, readers, request)
    ties: list[tuple[str, str]] = []
    rows = []
    for task in tasks:
        row = {**empty, **task.data}
        for name, value in readers.items():
            votes = _votes(task, value)
            row[name] = _most_frequent(votes)
            if votes and row[name] is None:
                ties.append((task.id, name))
        rows.append(row)
    _warn_of_ties(ties, request)
    return rows


def _reader(name: str, fields: Iterable[str], request: Request) -> _Value | None:
    """Return how a column is read; None if it is no field but a column of the data."""
    if name in fields:
        return lambda task, one: _one_value(task, one, name, request)
    field = _field_of(name, fields)
    if field is None:
        return None
    option = name.removeprefix(f"{field}:")
    return lambda task, one: _indicator(task, one, field, option, request)


def _field_of(name: str, fields: Iterable[str]) -> str | None:
    """Return the field of a column such as "topic:food"; None if there is none."""
    known = [field for field in fields if name.startswith(f"{field}:")]
    return max(known, key=len) if known and name not in fields else None


def _warn_of_unchosen(tasks: list[Task], fields: list[str], request: Request) -> None:
    """Warn of values that were asked for as concepts, and that nobody chose."""
    for name in request.values:
        field = _field_of(name, fields)
        if field is None:
            continue
        chosen = dict.fromkeys(
            str(value)
            for task in tasks
            for one in task.annotations
            for value in _options(task, one, field, request)
        )
        option = name.removeprefix(f"{field}:")
        if option not in chosen:
            warn_user(
                f"{request.path}, field {field!r}: nobody chose {option!r}, so "
                f"{name!r} is {NOT_CHOSEN!r} everywhere. The values are "
                f"{', '.join(map(repr, chosen)) or 'none'}.",
                DataFileWarning,
            )


def _one_value(task: Task, one: Annotation, field: str, request: Request) -> Any:
    options = _options(task, one, field, request)
    if len(options) > 1:
        raise DataFileError(
            f"{_where(task, field, request)}: {_listing(options)} were chosen, and a "
            f"column takes one value of a text. Ask for each as a concept of its own, "
            f"such as '{field}:{options[0]}', with the values {CHOSEN!r} and "
            f"{NOT_CHOSEN!r}."
        )
    return options[0] if options else None


def _indicator(
    task: Task, one: Annotation, field: str, option: str, request: Request
) -> str | None:
    options = [str(value) for value in _options(task, one, field, request)]
    if not options:
        return None
    return CHOSEN if option in options else NOT_CHOSEN


def _options(task: Task, one: Annotation, field: str, request: Request) -> list[Any]:
    chosen = one.chosen.get(field, [])
    if isinstance(chosen, NoValue):
        raise DataFileError(f"{_where(task, field, request)}: it {chosen.reason}.")
    return chosen


def _where(task: Task, field: str, request: Request) -> str:
    return f"{request.path}, task {task.id}, field {field!r}"


def _latest(task: Task) -> Task:
    """Return a task with one annotation for each annotator, the latest."""
    latest: dict[str, Annotation] = {}
    for number, one in enumerate(task.annotations, 1):
        who = one.annotator or str(number)
        if who not in latest or one.when >= latest[who].when:
            latest[who] = Annotation(who, one.chosen, one.when)
    return Task(task.id, task.data, list(latest.values()))


def _votes(task: Task, value: _Value) -> list[Any]:
    found = (value(task, one) for one in task.annotations)
    return [one for one in found if one is not None]


def _most_frequent(votes: list[Any]) -> Any:
    """Return the value with most votes; None for a tie, and for no votes."""
    ranked = Counter(votes).most_common(2)
    is_tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
    return ranked[0][0] if ranked and not is_tie else None


def _all(
    task: Task, empty: Record, readers: dict[str, _Value], request: Request
) -> list[Record]:
    """Return a row for each annotator; the rows of a text weigh 1 together."""
    found = []
    for one in task.annotations:
        values = {name: value(task, one) for name, value in readers.items()}
        if any(value is not None for value in values.values()):
            row = {**empty, **task.data, **values}
            if request.id is not None and row.get(request.id) is not None:
                row[request.id] = f"{row[request.id]}#{one.annotator}"
            found.append(row)
    found = found or [{**empty, **task.data}]
    return [{**row, WEIGHT: 1 / len(found)} for row in found]


def _refuse_several(
    tasks: list[Task], readers: dict[str, _Value], request: Request
) -> None:
    several = [
        task.id
        for task in tasks
        if any(len(_votes(task, value)) > 1 for value in readers.values())
    ]
    if several:
        what = (
            "'majority' takes the value that most of them chose, and 'all' makes a row "
            "of each, which together weigh as much as another text."
        )
        raise DataFileError(
            f"{request.path}: several people annotated the same text in "
            f"{_ids(several)}, and a list of values is no value. Say what becomes of "
            "them:",
            python=f"{what} Pass one as annotators.",
            command=f"{what} Give one with --annotators.",
        )


def _warn_of_ties(ties: list[tuple[str, str]], request: Request) -> None:
    fields = dict.fromkeys(field for _, field in ties)
    for field in fields:
        tied = [task_id for task_id, name in ties if name == field]
        warn_user(
            f"{request.path}, field {field!r}: as many annotators chose one value as "
            f"another in {_ids(tied)}. Without a majority there is no value.",
            DataFileWarning,
        )


def _ids(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    word = "task" if len(ids) == 1 else "tasks"
    return f"{len(ids):,} {word} ({', '.join(ids[:_NAMED])}{more})"


def _listing(options: list[Any]) -> str:
    *most, last = map(repr, options)
    return f"{', '.join(most)} and {last}"
