"""What people chose for a text, whatever tool they used."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class NoValue:
    """What was annotated is no value of a text, and why.

    Attributes
    ----------
    reason : str
        In words that follow on the name of the field.
    """

    reason: str


# What was chosen: nothing, one value, or several.
Chosen = list[Any] | NoValue


@dataclass(frozen=True)
class Annotation:
    """What one person chose for a text.

    Attributes
    ----------
    annotator : str
        "" if the tool does not say.
    chosen : dict of str to list or NoValue
        By field.
    when : str
        When it was last changed, to compare; "" if the tool does not say.
    """

    annotator: str
    chosen: dict[str, Chosen]
    when: str = ""


@dataclass(frozen=True)
class Task:
    """A text with everything that people annotated.

    Attributes
    ----------
    id : str
        As the tool names it, for messages.
    data : dict
        What the annotators were shown, and what else came with it.
    annotations : list of Annotation
    """

    id: str
    data: Record
    annotations: list[Annotation]


@dataclass(frozen=True)
class Request:
    """What is asked of an export.

    Attributes
    ----------
    path : Path
        Of the file, for messages.
    values : collection of str
        The columns of labels and concepts.
    others : collection of str, default=()
        The other columns that are read, such as the text.
    id : str or None, default=None
        The column that identifies the rows.
    annotators : {"majority", "dawid_skene", "all"} or None, default=None
        What becomes of several annotators of one text. None refuses them.
    texts : collection of str, default=()
        The columns of the text, among the other columns.
    missing : collection of str, default=("",)
        What means that somebody chose nothing.
    """

    path: Path
    values: Collection[str]
    others: Collection[str] = ()
    id: str | None = None
    annotators: str | None = None
    texts: Collection[str] = ()
    missing: Collection[str] = ("",)

    def asks_for(self, field: str) -> bool:
        """Return whether a field is asked for, or a part of it such as "topic:food"."""
        return any(
            name == field or name.startswith(f"{field}:") for name in self.values
        )


# Returns None for records that are of another tool.
Reader = Callable[[list[Record], Request], list[Task] | None]


def options_of(value: Any) -> Chosen:
    """Return the values in a cell: a word, a number, or a list of them."""
    if value is None or value == "" or value != value:  # of JSON: NaN
        return []
    if isinstance(value, str | int | float):
        return [value]
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        return list(value)
    return NoValue("holds lists or objects, and no value that can be read")


def joined(parts: list[Chosen]) -> Chosen:
    """Return what was chosen in several places of one field."""
    together: list[Any] = []
    for part in parts:
        if isinstance(part, NoValue):
            return part
        together += part
    return together


def person(who: Any) -> str:
    """Return the name of an annotator: the address of a user, or the id."""
    if isinstance(who, dict):
        who = who.get("email") or who.get("username") or who.get("id")
    return "" if who is None else str(who).strip()
