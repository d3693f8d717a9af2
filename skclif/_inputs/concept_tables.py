"""Annotations as tables with a column for each concept, whose names are checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .collections import refuse_collections
from .soft import join_soft
from .tensors import as_array, holds_tensors

# What goes past the concepts, in contributions and as a path of influence.
NOT_IN_CONCEPTS = "not in the concepts"
RESERVED_NAMES = ("label", "interaction", NOT_IN_CONCEPTS)


def read_table(concepts: Any) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return annotations with a column for each concept, and the soft concepts.

    See `concept_table` and `join_soft`.
    """
    table = _named_table(concepts)
    joined, soft = join_soft(table)
    return (table if joined is table else _check_names(joined)), soft


def concept_table(concepts: Any) -> pd.DataFrame:
    """Return annotations as a DataFrame with a column for each concept.

    Values are never converted, except that those of soft annotations are `SoftValue`.

    Raises
    ------
    TypeError
        If `concepts` is a dict, a sparse matrix or text.
    ValueError
        If it is not two-dimensional, has no columns, or names are not usable, or shares
        are no distributions.
    """
    return read_table(concepts)[0]


def has_names(concepts: Any) -> bool:
    """Return whether annotations are a table of pandas, polars, Arrow … with names."""
    return isinstance(concepts, pd.DataFrame) or hasattr(concepts, "to_pandas")


def _named_table(concepts: Any) -> pd.DataFrame:
    """Return annotations as a DataFrame with checked names, as they were given."""
    refuse_collections("This method", concepts=concepts)
    concepts = as_array("concepts", concepts)
    if isinstance(concepts, dict | str | bytes) or sparse.issparse(concepts):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            f"(n_samples, n_concepts), got {type(concepts).__name__}. Searches cannot "
            "slice it; pass pandas.DataFrame(concepts) instead."
        )
    if has_names(concepts):
        if not isinstance(concepts, pd.DataFrame):
            return _check_names(concepts.to_pandas())
        concepts = _check_names(concepts)
        of_tensors = {n: c for n, c in concepts.items() if holds_tensors(c)}
        numbers = {n: as_array(f"concepts[{n!r}]", c) for n, c in of_tensors.items()}
        return concepts.assign(**numbers) if numbers else concepts
    ndim = np.ndim(concepts) if hasattr(concepts, "shape") else _list_ndim(concepts)
    if ndim != 2:
        raise ValueError(
            "concepts must have two dimensions, (n_samples, n_concepts), got "
            f"{ndim}. A single concept is one column: a DataFrame with one column, or "
            "reshape(-1, 1)."
        )
    if isinstance(concepts, np.ndarray) and not concepts.dtype.isnative:
        concepts = concepts.astype(concepts.dtype.newbyteorder("="))  # for pandas
    table = pd.DataFrame(concepts)
    table.columns = [f"concept{j}" for j in range(table.shape[1])]
    return _check_names(table)


def _list_ndim(concepts: Any) -> int:
    if not hasattr(concepts, "__len__") or not hasattr(concepts, "__getitem__"):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            f"(n_samples, n_concepts), got {type(concepts).__name__}."
        )
    rows = list(concepts)
    if any(isinstance(row, dict | set) for row in rows):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            "(n_samples, n_concepts), got a list of dict or set. Pass "
            "pandas.DataFrame(concepts) instead."
        )
    nested = all(
        hasattr(row, "__len__") and not isinstance(row, str | bytes) for row in rows
    )
    lengths = {len(row) for row in rows} if nested else set()
    if len(lengths) > 1:
        raise ValueError(
            f"concepts has rows of different lengths: {sorted(lengths)}; every row "
            "needs one entry a concept, None where it is not annotated."
        )
    return 2 if nested and rows else 1


def _check_names(table: pd.DataFrame) -> pd.DataFrame:
    names = list(table.columns)
    if not names:
        raise ValueError(
            "concepts has no columns; pass concepts=None for a model without a "
            "bottleneck."
        )
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(
            f"The columns of concepts must be named by strings, got {wrong[0]!r}. "
            "Rename them, for example with concepts.columns.astype(str)."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"concepts has columns of the same name: {repeated}.")
    for name in RESERVED_NAMES:
        if name in names:
            raise ValueError(
                f"A concept cannot be named {name!r}: the name is reserved for a path "
                "of influence. Rename the column."
            )
    return table
