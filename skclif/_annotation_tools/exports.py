"""Exports of annotation tools, recognised by their structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..exceptions import DataFileWarning, warn_user
from .annotated import Reader, Record, Request
from .argilla import is_of_argilla, read_records
from .doccano import read_lists
from .label_studio import read_tasks
from .long import is_long, read_long_rows
from .nested import read_nested
from .repeated import (
    is_of_label_studio,
    read_label_studio_rows,
    read_repeated_rows,
)
from .rows import FlatRows, flat_rows

# The first that knows the structure reads it.
_READERS: tuple[Reader, ...] = (
    read_tasks,
    read_label_studio_rows,
    read_records,
    read_nested,
    read_lists,
    read_long_rows,
    read_repeated_rows,
)


@dataclass
class Flattener:
    """Makes rows of the records of a file.

    Attributes
    ----------
    request : Request
    made : FlatRows or None
        What was made of the last records; None if they are of no tool that is known.
    """

    request: Request
    made: FlatRows | None = None

    def __call__(self, records: list[Record]) -> list[Record] | None:
        """Return rows with one value in each column that is asked for.

        None if the records are of no tool that is known.
        """
        for read in _READERS:
            tasks = read(records, self.request)
            if tasks is not None:
                if all(len(task.annotations) < 2 for task in tasks):
                    self._warn_of_no_annotators("")
                self.made = flat_rows(tasks, self.request)
                return self.made.rows
        self._warn_of_no_annotators(
            " The rows of one text have to share their identifier, in a column that is "
            "named as such, or be an export of Label Studio, doccano or Argilla."
        )
        return None

    def _warn_of_no_annotators(self, advice: str) -> None:
        said = self.request.annotators
        if said is None:
            return
        message = DataFileWarning(
            f"{self.request.path}: no text has several annotators.",
            python=f"annotators={said!r} changes nothing.{advice}",
            command=f"--annotators {said} changes nothing.{advice}",
        )
        warn_user(message, DataFileWarning)

    def is_export(self, names: Sequence[str]) -> bool:
        """Return whether a table with these columns may be an export."""
        request = self.request
        return (
            request.annotators is not None
            or is_long(names, request)
            or is_of_label_studio(names)
            or any(is_of_argilla(name, names) for name in names)
            or any(is_part(value, names) for value in request.values)
        )


def is_part(value: str, names: Sequence[str]) -> bool:
    """Return whether a column such as "topic:food" is a part of another."""
    return value not in names and any(value.startswith(f"{name}:") for name in names)
