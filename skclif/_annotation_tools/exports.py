"""Exports of annotation tools, recognised by their structure."""

from __future__ import annotations

from collections.abc import Callable

from ..exceptions import DataFileError
from .annotated import Reader, Record, Request
from .argilla import read_records
from .doccano import read_lists
from .label_studio import read_tasks
from .nested import read_nested
from .repeated import read_label_studio_rows, read_repeated_rows
from .rows import flat_rows

# The first that knows the structure reads it.
_READERS: tuple[Reader, ...] = (
    read_tasks,
    read_label_studio_rows,
    read_records,
    read_nested,
    read_lists,
    read_repeated_rows,
)
ANNOTATORS = ("majority", "all")


def flattener(request: Request) -> Callable[[list[Record]], list[Record] | None]:
    """Return what makes rows of the records of a file.

    Parameters
    ----------
    request : Request

    Returns
    -------
    flatten : callable
        Takes all records of a file, and returns rows with one value in each column that
        is asked for; None if the records are of no tool that is known.
    """

    def flatten(records: list[Record]) -> list[Record] | None:
        for read in _READERS:
            tasks = read(records, request)
            if tasks is not None:
                return flat_rows(tasks, request)
        if request.annotators is not None:
            raise DataFileError(
                f"{request.path}: what becomes of several annotators was said "
                f"({request.annotators!r}), and no text has several. The rows of one "
                "text have to share their identifier in a column that is named as "
                "such, or be an export of Label Studio, doccano or Argilla."
            )
        return None

    return flatten
