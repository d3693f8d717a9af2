"""Cells of tables that spreadsheets open: no text becomes a formula."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# What a spreadsheet takes for the beginning of a formula; full-width forms too.
_FORMULA = re.compile(r"[\s']*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def escape_cell(cell: Any) -> Any:
    """Return a cell, with an apostrophe in front if a spreadsheet could run it."""
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def unescape_cell(cell: str) -> str:
    """Return the cell that `escape_cell` was given."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell[1:]) else cell


def table_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV: floats in full, other cells in quotes and escaped."""
    columns = {
        escape_cell(name): column
        if pd.api.types.is_numeric_dtype(column)
        else pd.Series([escape_cell(cell) for cell in column], dtype=object)
        for name, column in table.reset_index(drop=True).items()
    }
    table = pd.DataFrame(columns)
    text: str = table.to_csv(index=False, quoting=2, lineterminator="\n")
    return text.encode()


def _is_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell)
