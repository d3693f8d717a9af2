"""Columns of a user's file: one reading of their cells, whatever the format."""

from __future__ import annotations

import json
from ast import literal_eval
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._storage.values import as_word, is_whole_text, kind_of, plain
from ..exceptions import DataFileError, DataFileWarning, warn_user

_SHOWN = 40  # characters of a cell
_KEYS = ("choices", "rating", "number")  # that annotation tools put around one value


@dataclass(frozen=True)
class Column:
    """Cells of one column.

    Attributes
    ----------
    source : str
        The file, for messages.
    name : str
    cells : list
    numbers : sequence of int
        The number of each row in the file; row 1 is the first row of data.
    """

    source: str
    name: str
    cells: list[Any]
    numbers: Sequence[int]

    def holding(self, cells: list[Any]) -> Column:
        """Return the same column with other cells."""
        return replace(self, cells=cells)

    def take(self, keep: Sequence[bool]) -> Column:
        """Return some of the rows."""
        rows = [row for row, is_kept in enumerate(keep) if is_kept]
        return replace(
            self,
            cells=[self.cells[row] for row in rows],
            numbers=[self.numbers[row] for row in rows],
        )

    def refuse(
        self,
        is_wrong: Iterable[bool],
        problem: str,
        *,
        python: str = "",
        command: str = "",
    ) -> None:
        """Raise an error that names the rows where `is_wrong`, if there are any."""
        rows = [n for n, wrong in zip(self.numbers, is_wrong, strict=True) if wrong]
        if not rows:
            return
        raise DataFileError(
            f"{self.source}, column {self.name!r}, {rows_in_words(rows)}: {problem}. "
            "(Row 1 is the first row of data.)",
            python=python,
            command=command,
        )


def rows_in_words(rows: Sequence[int], n_rows: int = 0, unit: str = "row") -> str:
    """Return numbers of rows, in words; of `n_rows` where only the first are given."""
    n_rows = n_rows or len(rows)
    named = ", ".join(map(str, rows[:5]))
    more = f" and {n_rows - 5} more" if n_rows > 5 else ""
    return f"{unit}{'s' if n_rows > 1 else ''} {named}{more}"


def checked_names(names: Mapping[int, str] | None) -> Mapping[int, str]:
    """Return the names of the columns of a table without a header."""
    names = {} if names is None else dict(names)
    for number, name in names.items():
        is_number = isinstance(number, int) and not isinstance(number, bool)
        if not is_number or number < 1 or not isinstance(name, str) or not name:
            raise ValueError(
                "column_names must be a dict from numbers of columns, from 1, to "
                f"names, such as {{1: 'label', 2: 'text'}}; got {number!r}: {name!r}."
            )
    if len(set(names.values())) < len(names):
        raise ValueError(f"column_names names two columns alike: {names!r}.")
    return names


def as_texts(columns: Sequence[Column]) -> Column:
    """Return the texts of one column, or of several with the name of each part.

    A text is kept as it is; "" is no text.
    """
    parts = [[_as_text(cell) for cell in _scalars(column).cells] for column in columns]
    if len(parts) == 1:
        return columns[0].holding(parts[0])
    names = [column.name for column in columns]
    texts = [
        "\n".join(
            f"{name}: {part}"
            for name, part in zip(names, row, strict=True)
            if part.strip()
        )
        for row in zip(*parts, strict=True)
    ]
    return replace(columns[0], name=" + ".join(names), cells=texts)


def _as_text(value: Any) -> str:
    return "" if value is None else as_word(value)


def as_ids(column: Column) -> list[str]:
    """Return identifiers as strings; refuse empty ones, and equal ones."""
    ids = [_as_text(cell).strip() for cell in _scalars(column).cells]
    check_ids(column, ids)
    return ids


def check_ids(column: Column, ids: list[str]) -> None:
    """Refuse empty identifiers, and equal ones."""
    column.refuse([not i for i in ids], "the identifier is empty")
    again, count = Counter(ids).most_common(1)[0]
    if count > 1:
        several = "If several people annotated these texts,"
        column.refuse(
            [i == again for i in ids],
            f"the same identifier {again!r}",
            python=f"{several} say what becomes of them: annotators='majority', "
            "'dawid_skene' or 'all'.",
            command=f"{several} say what becomes of them, where the command has the "
            "option: --annotators majority, dawid_skene or all.",
        )


def as_cells(
    column: Column, missing: Collection[str], empty: str | None = None
) -> Column:
    """Return cells of labels, annotations or groups, with None for no value.

    Blanks around words go. A value that a tool put into JSON is taken out.

    Parameters
    ----------
    column : Column
    missing : collection of str
        What means that there is no value.
    empty : str, default=None
        The value of empty cells.
    """
    found = _scalars(_out_of_json(column)).cells
    stripped = [cell.strip() if isinstance(cell, str) else cell for cell in found]
    filled = [empty if cell in (None, "") else cell for cell in stripped]
    return column.holding(
        [None if cell is None or as_word(cell) in missing else cell for cell in filled]
    )


def _scalars(column: Column) -> Column:
    """Return values of Python, None for no value; refuse what is no text or number."""
    cells = [plain(cell) for cell in column.cells]
    kinds = [kind_of(cell) for cell in cells]
    for kind in filter(None, dict.fromkeys(kinds)):
        wrong = [k == kind for k in kinds]
        if kind in ("a list", "an object"):
            _refuse_structures(column.holding(cells), wrong, kind)
        column.refuse(wrong, f"{kind}, which is neither text nor a number")
    broken = [isinstance(cell, str) and not is_whole_text(cell) for cell in cells]
    column.refuse(broken, "half a character (a lone surrogate)")
    return column.holding(cells)


def _refuse_structures(column: Column, is_wrong: list[bool], kind: str) -> None:
    first = next(c for c, w in zip(column.cells, is_wrong, strict=True) if w)
    shown = repr(first)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    what = "lists" if kind == "a list" else "objects"
    column.refuse(
        is_wrong,
        f"the column holds {what} ({shown}), and one value is needed in each row. Make "
        "a column of each part, or one value of each list (such as the majority of its "
        "annotators), first",
    )


# --- Cells that hold JSON -------------------------------------------------------------


def _out_of_json(column: Column) -> Column:
    """Return the values that tools put into JSON, such as {"choices": ["good"]}."""
    known: dict[str, Any] = {}
    cells = []
    for cell in column.cells:
        if isinstance(cell, str):
            if cell not in known:
                known[cell] = _parsed(cell)
            cells.append(known[cell])
        else:
            cells.append(cell)
    values = [_values_in(cell) for cell in cells]
    several = [value is not None and len(value) > 1 for value in values]
    if any(several):
        first = next(v for v, s in zip(values, several, strict=True) if s and v)
        column.refuse(
            several,
            f"several values ({', '.join(map(repr, first[:3]))}), and one is needed. "
            "Make a column for each value, which says whether a row has it, or choose "
            "one",
        )
    is_taken = [value is not None and len(value) == 1 for value in values]
    if any(is_taken):
        _warn_of_json(column, is_taken, values)
    return column.holding(
        [
            cell if value is None else next(iter(value), None)
            for cell, value in zip(cells, values, strict=True)
        ]
    )


def _warn_of_json(
    column: Column, is_taken: list[bool], values: list[list[Any] | None]
) -> None:
    taken = column.take(is_taken)
    (value,) = next(v for v, t in zip(values, is_taken, strict=True) if t and v)
    cell = taken.cells[0]
    shown = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    warn_user(
        DataFileWarning(
            f"{column.source}, column {column.name!r}, {rows_in_words(taken.numbers)}: "
            f"values were taken out of JSON ({shown[:_SHOWN]} is {value!r})."
        ),
        DataFileWarning,
    )


def _parsed(cell: str) -> Any:
    """Return what JSON, or a list of Python, in a cell stands for; or the cell."""
    text = cell.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return cell
    for parse in (json.loads, literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list | dict):
            return found
    return cell


def _values_in(cell: Any) -> list[Any] | None:
    """Return the values that a tool put into a structure, None for anything else."""
    if cell in ([], {}):
        return []
    if isinstance(cell, dict) and len(cell) == 1:
        ((key, value),) = cell.items()
        if key not in _KEYS:
            return None
        return value if isinstance(value, list) else [value]
    if isinstance(cell, list):
        parts = [_values_in(part) for part in cell if isinstance(part, dict)]
        if len(parts) == len(cell) and None not in parts:
            return [value for part in parts for value in part or []]
    return None
