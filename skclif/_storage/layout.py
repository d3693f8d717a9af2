"""How a table is written, and which of its columns are asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ..exceptions import DataFileError
from .sources import Source

Columns = dict[str, list[Any]]
Records = list[dict[str, Any]]
Flatten = Callable[[Records], Records | None]

AT_ONCE = 256  # rows of a table that is read in blocks
_SHOWN = 80  # characters of a column's name
_NAMED = 30  # columns
_HEADED = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm")  # which may lack a header


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes
    ----------
    encoding : str
    quoted : bool or None
        Whether double quotes enclose fields of delimited text. None is as usual: they
        do, except between tabs.
    sheet : str or None
        The sheet of a workbook; None is the only one.
    column_names : dict of int to str
        The names of columns by their number, from 1, in a table without a header.
    """

    encoding: str = "utf-8"
    quoted: bool | None = None
    sheet: str | None = None
    column_names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choose:
    """Says which columns of a table are read.

    Attributes
    ----------
    source : Source
    wanted : dict of str to str
        The columns, and what each is used as, in words.
    optional : collection of str
        Columns that may be missing.
    options : dict of str to tuple of (str, str)
        The argument and the option that name the column, by what it is used as.
    all : callable
        Takes the names of the columns, and returns whether all of them are read,
        whatever is wanted.
    names : list of str
        The columns that there are, once somebody has looked.
    """

    source: Source
    wanted: Mapping[str, str]
    optional: Collection[str] = frozenset()
    options: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    all: Callable[[Sequence[str]], bool] = lambda names: False
    names: list[str] = field(default_factory=list)

    def __call__(self, names: Sequence[str]) -> list[str]:
        """Return the columns to read; refuse the table if a required one is missing."""
        self.names[:] = names
        if not any(names):
            raise DataFileError(f"{self.source} is empty.")
        for name, role in self.wanted.items():
            if names.count(name) > 1:
                raise DataFileError(
                    f"{self.source} has {names.count(name)} columns named {name!r}, "
                    f"asked for as {role}; rename all except one."
                )
        if self.all(names):
            return list(dict.fromkeys(names))
        for name, role in self.wanted.items():
            if name not in names and name not in self.optional:
                raise self._missing(name, role, names)
        return [name for name in self.wanted if name in names]

    def _missing(self, name: str, role: str, names: Sequence[str]) -> DataFileError:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = ", ".join(repr(known[:_SHOWN]) for known in names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        message = (
            f"{self.source} has no column {name!r}, asked for as {role}.{hint} It has: "
            f"{known}{more}."
        )
        python, command = self.options.get(role, ("", ""))
        advice = "Name another with {}." if python else ""
        headless = ""
        is_named = self.source.suffix not in _HEADED  # its format names the columns
        if not (is_named or set(self.wanted) & set(names)) and self.options:
            headless = " If its first row is no header, number the columns with {}."
        if f'"{name}"' in names:
            advice, headless = "Its names are in double quotes; use {}.", ""
            python, command = "quoted=True", "--quoted"
        numbers = ("column_names=", "--column")
        return DataFileError(
            message,
            python=advice.format(python) + headless.format(numbers[0]),
            command=advice.format(command) + headless.format(numbers[1]),
        )


def header_of(
    source: Source, first: Sequence[str], rows: Iterator[Any], layout: Layout
) -> tuple[list[str], Iterator[Any]]:
    """Return the names of the columns, and the rows below them."""
    if not layout.column_names:
        return [name.strip() for name in first], rows
    if not first:
        raise DataFileError(f"{source} is empty.")
    last = max(layout.column_names)
    if last > len(first):
        raise DataFileError(
            f"{source} has {len(first)} columns; there is no column {last}.",
            python="column_names= counts from 1.",
            command="--column counts from 1.",
        )
    numbers = range(1, len(first) + 1)
    names = [layout.column_names.get(number, f"column {number}") for number in numbers]
    return names, chain([first], rows)


def refuse_names(source: Source, layout: Layout) -> None:
    """Refuse names for columns that have names."""
    if layout.column_names:
        raise DataFileError(
            f"{source}: a {source.suffix or 'Parquet'} file names its columns itself.",
            python="Leave out column_names=.",
            command="Leave out --column.",
        )


def columns_of(records: Records, choose: Choose) -> Columns:
    """Return the chosen columns of records; what one does not name is None."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in choose([*names])}


def records_of(columns: Columns) -> Records:
    """Return columns as one record for each row."""
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def gathered(blocks: Iterable[Columns]) -> Columns:
    """Return the columns of blocks of rows, which there has to be one of."""
    columns: Columns = {}
    for block in blocks:
        for name, values in block.items():
            columns.setdefault(name, []).extend(values)
    return columns
