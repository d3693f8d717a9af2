"""Cells of tables that spreadsheets open: no text becomes a formula or a number."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

# What a spreadsheet takes for the beginning of a formula; full-width forms too.
_FORMULA = re.compile(r"[\s']*[=+\-@\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# Before hashes in CSV. Without it, "67167174807909e1" is a number to a spreadsheet.
HASH_PREFIX = "h:"
_HASH_COLUMNS = ("text_hash", "train_text_hash", "target_text_hash")


def escape_cell(cell: Any) -> Any:
    """Return a cell, with an apostrophe in front if a spreadsheet could run it."""
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def unescape_cell(cell: str) -> str:
    """Return the cell that `escape_cell` was given."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell[1:]) else cell


def table_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV: floats in full, other cells in quotes and escaped.

    Hashes of texts get the prefix `HASH_PREFIX`.
    """
    columns = {}
    for name, column in table.reset_index(drop=True).items():
        if str(name) in _HASH_COLUMNS:
            column = column.map(lambda cell: f"{HASH_PREFIX}{cell}", na_action="ignore")
        elif not pd.api.types.is_numeric_dtype(column):
            column = pd.Series([escape_cell(cell) for cell in column], dtype=object)
        columns[escape_cell(name)] = column
    table = pd.DataFrame(columns)
    text: str = table.to_csv(index=False, quoting=2, lineterminator="\n")
    return text.encode()


def _is_formula(cell: str) -> bool:
    return bool(_FORMULA.match(cell)) and not _NUMBER.fullmatch(cell)
