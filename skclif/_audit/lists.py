"""What the lists in the folder of an audit proposed when they were last written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from .._storage.cells import unescape_cell
from ..exceptions import DataFileError

SUSPECTS, SUGGESTIONS = "suspects.csv", "suggestions.csv"
# Id, kind and path of a line; no list has two lines with the same.
Line = tuple[str, str, str]


@dataclass(frozen=True)
class Lists:
    """The proposed value of every line, as it is written in the file.

    Attributes
    ----------
    suspects, suggestions : dict of (str, str, str) to str
        By id, kind and path.
    """

    suspects: dict[Line, str] = field(default_factory=dict)
    suggestions: dict[Line, str] = field(default_factory=dict)


def read_lists(folder: Path) -> Lists:
    """Return both lists of a folder; a list that is not there has no lines.

    Raises
    ------
    DataFileError
        If a file is not one that skclif writes.
    """
    return Lists(_proposed(folder / SUSPECTS), _proposed(folder / SUGGESTIONS))


def _proposed(path: Path) -> dict[Line, str]:
    if not path.exists():
        return {}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        columns = [table[name] for name in ("id", "kind", "path", "proposed")]
    except (ValueError, LookupError) as error:
        raise DataFileError(
            f"{path} is not the list that skclif wrote ({error}). Restore it or delete "
            "it; the next report has it again."
        ) from error
    return {
        (unescape_cell(i), kind, unescape_cell(name)): unescape_cell(proposed)
        for i, kind, name, proposed in zip(*columns, strict=True)
    }
