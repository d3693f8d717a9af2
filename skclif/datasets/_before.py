"""Reviews as the first audits read them, so that these can be replayed.

A trail keeps which columns were read, not what their values became. Audits made before
all formats had one reading did not record how they read; their files have to give the
values of then.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._storage.tables import read_columns
from .._storage.values import as_numbers, is_whole_text
from ._columns import Column, check_ids

_NA_VALUES = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")


def reviews_as_before(
    path: Path,
    *,
    text: str,
    label: str,
    concepts: Sequence[str],
    id: str | None,
    group: str | None,
    encoding: str,
) -> Bunch:
    """Return the fields data, target, concepts, groups and ids of reviews.

    Double quotes enclosed fields between tabs too; decimal commas, JSON in cells and
    True and False in CSV were words, and True and False of Parquet were none.
    """
    names = [name for name in (text, label, id, group, *concepts) if name is not None]
    roles = dict.fromkeys(names, "a column of the audit")
    columns = {
        name: Column(str(path), name, cells, range(1, len(cells) + 1))
        for name, cells in read_columns(path, roles, encoding).items()
    }
    texts = [_word(cell) for cell in _scalars(columns[text])]
    columns[text].refuse([not word.strip() for word in texts], "the text is empty")
    ids = [f"row-{number}" for number in columns[text].numbers]
    if id is not None:
        ids = [_word(cell).strip() for cell in _scalars(columns[id])]
        check_ids(columns[id], ids)
    annotations = {
        name: pd.Series(_values(columns[name], _NA_VALUES), index=ids, name=name)
        for name in names
        if name not in (text, id)
    }
    return Bunch(
        data=pd.Series(texts, index=ids, name=text),
        target=annotations[label],
        concepts=pd.concat([annotations[name] for name in concepts], axis=1)
        if concepts
        else None,
        groups=None if group is None else annotations[group],
        ids=pd.Index(ids, name=id or "id"),
    )


def _word(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _values(column: Column, na_values: Collection[str]) -> list[Any]:
    values = [
        None if str(cell).strip() in na_values else cell for cell in _scalars(column)
    ]
    is_text = [isinstance(value, str) for value in values]
    is_other = [value is not None and not isinstance(value, str) for value in values]
    if any(is_text) and any(is_other):
        odd = min(is_text, is_other, key=sum)
        column.refuse(odd, "text and numbers are mixed")
    present = iter(as_numbers([value for value in values if value is not None]))
    return [np.nan if value is None else next(present) for value in values]


def _scalars(column: Column) -> list[Any]:
    allowed = (str, bool, int, float, type(None))
    odd = [not isinstance(cell, allowed) for cell in column.cells]
    column.refuse(odd, "neither text nor a number")
    broken = [isinstance(c, str) and not is_whole_text(c) for c in column.cells]
    column.refuse(broken, "half a character (a lone surrogate)")
    return [
        None if isinstance(cell, float) and math.isnan(cell) else cell
        for cell in column.cells
    ]
