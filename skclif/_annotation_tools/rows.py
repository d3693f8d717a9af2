"""From what people chose to one row for each text, or one for each annotator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .._storage.values import as_word
from ..exceptions import DataFileError, DataFileWarning, warn_user
from .annotated import Annotation, NoValue, Record, Request, Task
from .votes import DAWID_SKENE, MAJORITY, Chosen, Vote, choose

# The column with the weight of a row; only rows of ``annotators="all"`` have it.
WEIGHT = "skclif:weight"
CHOSEN, NOT_CHOSEN = "yes", "no"
_NAMED = 5
# Of an annotation, the value of a column; None if there is none.
_Value = Callable[[Task, Annotation], Any]


@dataclass(frozen=True, eq=False)
class FlatRows:
    """Rows with one value in each column that was asked for.

    Attributes
    ----------
    rows : list of dict
    chosen : dict of str to Chosen
        What was made of the votes on each column; nothing with ``annotators="all"``.
    annotators : list of str
        With ``annotators="all"``, who annotated each row.
    """

    rows: list[Record]
    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    annotators: list[str] = field(default_factory=list)


def flat_rows(tasks: list[Task], request: Request) -> FlatRows:
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
    if request.annotators == DAWID_SKENE:
        _refuse_nobody(tasks, request)
    is_named = all(one.annotator for task in tasks for one in task.annotations)
    tasks = [_latest(task) for task in tasks]
    empty = dict.fromkeys(fields) | dict.fromkeys(readers)
    if request.annotators == "all":
        return _all_rows(tasks, empty, readers, request)
    if request.annotators is None:
        _refuse_several(tasks, readers, request)
    rows: list[Record] = [{**empty, **task.data} for task in tasks]
    method = request.annotators or MAJORITY
    chosen = {}
    for name, value in readers.items():
        votes = [_votes(task, value) for task in tasks]
        try:
            found = choose(votes, method, f"{request.path}, field {name!r}")
        except ValueError as error:
            raise DataFileError(str(error)) from None
        pairs = zip(tasks, found.is_tied, strict=True)
        tied = [task.id for task, is_tied in pairs if is_tied]
        _warn_of_ties(name, tied, method, request)
        for row, best in zip(rows, found.best, strict=True):
            row[name] = best
        chosen[name] = found if is_named else replace(found, annotators=[])
    return FlatRows(rows, chosen)


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
    bare = [v.strip() if isinstance(v, str) else v for v in chosen]
    return [value for value in bare if as_word(value) not in request.missing]


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


def _votes(task: Task, value: _Value) -> list[Vote]:
    found = ((one.annotator, value(task, one)) for one in task.annotations)
    return [(who, chosen) for who, chosen in found if chosen is not None]


def _all_rows(
    tasks: list[Task], empty: Record, readers: dict[str, _Value], request: Request
) -> FlatRows:
    """Return a row for each annotator; the rows of a text weigh 1 together."""
    rows, annotators = [], []
    for task in tasks:
        found = _all(task, empty, readers, request) or [("", {**empty, **task.data})]
        annotators += [who for who, _ in found]
        rows += [{**row, WEIGHT: 1 / len(found)} for _, row in found]
    return FlatRows(rows, annotators=annotators)


def _all(
    task: Task, empty: Record, readers: dict[str, _Value], request: Request
) -> list[tuple[str, Record]]:
    found = []
    for one in task.annotations:
        values = {name: value(task, one) for name, value in readers.items()}
        if any(value is not None for value in values.values()):
            row = {**empty, **task.data, **values}
            if request.id is not None and row.get(request.id) is not None:
                row[request.id] = f"{row[request.id]}#{one.annotator}"
            found.append((one.annotator, row))
    return found


def _refuse_nobody(tasks: list[Task], request: Request) -> None:
    """Refuse annotations that do not say whose they are."""
    nobody = [
        task.id for task in tasks if any(not one.annotator for one in task.annotations)
    ]
    if nobody:
        raise DataFileError(
            f"{request.path}: Dawid–Skene weighs each annotator by how often he or she "
            f"errs, and it is not said who annotated {_ids(nobody)}.",
            python="Name the annotators, or take annotators='majority'.",
            command="Name the annotators, or take --annotators majority.",
        )


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
            "'majority' takes the value that most of them chose, 'dawid_skene' weighs "
            "each annotator by how often he or she errs, and 'all' makes a row of "
            "each, which together weigh as much as another text."
        )
        raise DataFileError(
            f"{request.path}: several people annotated the same text in "
            f"{_ids(several)}, and a list of values is no value. Say what becomes of "
            "them:",
            python=f"{what} Pass one as annotators.",
            command=f"{what} Give one with --annotators.",
        )


def _warn_of_ties(name: str, tied: list[str], method: str, request: Request) -> None:
    if not tied:
        return
    if method == MAJORITY:
        why = (
            f"as many annotators chose one value as another in {_ids(tied)}. Without a "
            "majority there is no value."
        )
    else:
        why = (
            f"two values are equally probable in {_ids(tied)}. There is no value then."
        )
    warn_user(f"{request.path}, field {name!r}: {why}", DataFileWarning)


def _ids(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    word = "task" if len(ids) == 1 else "tasks"
    return f"{len(ids):,} {word} ({', '.join(ids[:_NAMED])}{more})"


def _listing(options: list[Any]) -> str:
    *most, last = map(repr, options)
    return f"{', '.join(most)} and {last}"
