"""Reviews from a user's own file, with errors that name the file, column and row."""

import math
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._inputs.sklearn import validate_params
from .._storage.tables import (
    Columns,
    as_numbers,
    check_encoding,
    is_whole_text,
    read_columns,
)
from ..exceptions import DataFileError

# What software writes for "nothing here". Words that people choose, above all "None"
# and "unknown", are no markers: they may name a value of a concept.
_NA_VALUES = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")


@validate_params(
    {
        "path": [str, os.PathLike],
        "text": [str],
        "label": [str, None],
        "concepts": ["array-like", None],
        "id": [str, None],
        "group": [str, None],
        "encoding": [str],
        "na_values": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def load_reviews(
    path: str | os.PathLike[str],
    *,
    text: str = "text",
    label: str | None = "label",
    concepts: Sequence[str] | None = None,
    id: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
    na_values: Sequence[str] | None = None,
) -> Bunch:
    r"""Load texts, labels and concept annotations from a file of your own.

    One row of the file is one sample. The suffix of its name says how it is read:

    - `.csv`, `.tsv`, `.txt`: a header and rows, separated by commas, semicolons, tabs
      or vertical bars, whichever gives the columns asked for. A field that holds the
      separator, a line break or a quote must be in double quotes.
    - `.jsonl`, `.ndjson`, `.json`: one JSON object on each line.
    - `.parquet`: needs the extra `parquet`.

    All except Parquet may be compressed, with `.gz` at the end of the name.

    Parameters
    ----------
    path : str or path-like
        The file.

    text : str, default="text"
        The column of the texts. They are kept as they are, as strings.

    label : str or None, default="label"
        The column of the labels. None if the file has none.

    concepts : array-like of str, default=None
        The columns of the concept annotations. None if the file has none.

    id : str, default=None
        The column that identifies the rows. Its values are read as strings ("007"
        stays "007"). None numbers the rows "row-1", "row-2" and so on. These
        identifiers are only valid while the order of the rows stays the same.

    group : str, default=None
        A column that says which group a row belongs to, to compare groups.

    encoding : str, default="utf-8"
        The encoding of the characters; a byte order mark is skipped.

    na_values : array-like of str, default=None
        What means "no value" in the columns of concepts, labels and groups, in
        addition to the empty string. None is what software writes: "NA", "N/A",
        "#N/A", "NaN", "nan", "null", "NULL" and "<NA>". The words "None" and "unknown"
        are values. Pass `[]` if "NA" is a value too.

    Returns
    -------
    reviews : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields. The index of every Series and
        DataFrame is `ids`.

        data : Series of str of shape (n_samples,)
            The texts.
        target : Series of shape (n_samples,) or None
            The labels: integers if all of them are whole numbers, floats if all are
            numbers, and strings otherwise.
        concepts : DataFrame of shape (n_samples, n_concepts) or None
            The annotations; NaN = not annotated. A column that holds only numbers
            becomes numeric.
        groups : Series of shape (n_samples,) or None
            The groups.
        ids : Index of str of shape (n_samples,)
            The identifiers of the rows.
        frame : DataFrame
            The columns asked for, side by side.
        path : str
            The file.

    Raises
    ------
    DataFileError
        If the file cannot be read as asked: a column is missing or occurs twice, a row
        has too many or too few fields, a text, a label or a group is empty, or two rows
        have the same identifier. The message names the file, the column and the row.
        Row 1 is the first row of data, whatever number of lines it fills.

    FileNotFoundError
        If there is no such file.

    ImportError
        If the file is a Parquet file and pyarrow is not installed.

    See Also
    --------
    fetch_cebab : Real reviews with four concepts.
    make_concept_reviews : Generated reviews with four concepts.

    Notes
    -----
    Spaces around labels, annotations, groups and identifiers are removed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclif.datasets import load_reviews
    >>> content = "text;label;food\nGreat soup;5;Positive\nLong wait;2;\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "reviews.csv")
    ...     _ = path.write_text(content)
    ...     reviews = load_reviews(path, concepts=["food"])
    >>> reviews.frame.loc["row-2"].to_dict()
    {'text': 'Long wait', 'label': 2, 'food': nan}
    """
    path = Path(path)
    check_encoding(encoding)
    missing = {"", *map(str, _NA_VALUES if na_values is None else na_values)}
    concepts = [] if concepts is None else list(concepts)
    roles = _roles(text=text, label=label, concepts=concepts, id=id, group=group)
    columns = read_columns(path, roles, encoding)

    ids = _ids(path, id, columns)
    data = pd.Series(_texts(path, text, columns[text]), index=ids, name=text)

    def series(name: str, *, required: bool) -> pd.Series:
        values = _values(path, name, columns[name], missing, required)
        return pd.Series(values, index=ids, name=name)

    target = None if label is None else series(label, required=True)
    groups = None if group is None else series(group, required=True)
    annotations = [series(name, required=False) for name in concepts]
    parts = [data, target, *annotations, groups]
    return Bunch(
        data=data,
        target=target,
        concepts=pd.concat(annotations, axis=1) if annotations else None,
        groups=groups,
        ids=ids,
        frame=pd.concat([part for part in parts if part is not None], axis=1),
        path=str(path),
    )


load_reviews.__module__ = "skclif.datasets"


def _roles(
    *,
    text: str,
    label: str | None,
    concepts: Sequence[str],
    id: str | None,
    group: str | None,
) -> dict[str, str]:
    """Return what each column asked for is used as, in words."""
    pairs = [(text, "the text"), (label, "the label"), (id, "the identifier")]
    pairs += [(group, "the group"), *((name, "a concept") for name in concepts)]
    roles: dict[str, str] = {}
    for name, role in pairs:
        if name is None:
            continue
        if not isinstance(name, str):
            raise TypeError(f"A column is named by a string; got {name!r} as {role}.")
        if name in roles:
            raise DataFileError(
                f"The column {name!r} is asked for twice, as {roles[name]} and as "
                f"{role}; a column has one use."
            )
        roles[name] = role
    return roles


def _ids(path: Path, name: str | None, columns: Columns) -> pd.Index:
    if name is None:
        n_rows = len(next(iter(columns.values())))
        return pd.Index([f"row-{number}" for number in range(1, n_rows + 1)], name="id")
    values = _scalars(path, name, columns[name])
    values = ["" if value is None else str(value).strip() for value in values]
    _refuse_rows(path, name, [not value for value in values], "the identifier is empty")
    ids = pd.Index(values, name=name)
    if not ids.is_unique:
        again = values[np.argmax(ids.duplicated())]
        where = [value == again for value in values]
        _refuse_rows(path, name, where, f"the same identifier {again!r}")
    return ids


def _texts(path: Path, name: str, values: Sequence[Any]) -> list[str]:
    scalars = _scalars(path, name, values)
    texts = ["" if value is None else str(value) for value in scalars]
    _refuse_rows(path, name, [not text.strip() for text in texts], "the text is empty")
    return texts


def _values(
    path: Path,
    name: str,
    values: Sequence[Any],
    na_values: Collection[str],
    required: bool,
) -> list[Any]:
    """Read labels, annotations or groups: as numbers if all are, with NaN for no value.

    If some are numbers and some are text, the error names the rows of the rarer kind.
    """
    values = [
        None if str(value).strip() in na_values else value
        for value in _scalars(path, name, values)
    ]
    missing = [value is None for value in values]
    if required:
        _refuse_rows(path, name, missing, "no value")
    is_text = [isinstance(value, str) for value in values]
    is_other = [not (a or b) for a, b in zip(is_text, missing, strict=True)]
    if any(is_text) and any(is_other):
        odd = min(is_text, is_other, key=sum)
        _refuse_rows(path, name, odd, "text and numbers are mixed")
    present = iter(as_numbers([value for value in values if value is not None]))
    return [np.nan if value is None else next(present) for value in values]


def _scalars(path: Path, name: str, values: Sequence[Any]) -> list[Any]:
    """Return the values with None for NaN; refuse all except text and numbers."""
    allowed = (str, bool, int, float, type(None))
    odd = [not isinstance(value, allowed) for value in values]
    _refuse_rows(path, name, odd, "neither text nor a number")
    broken = [isinstance(value, str) and not is_whole_text(value) for value in values]
    _refuse_rows(path, name, broken, "half a character (a lone surrogate)")
    return [
        None if isinstance(value, float) and math.isnan(value) else value
        for value in values
    ]


def _refuse_rows(path: Path, name: str, is_wrong: Iterable[bool], problem: str) -> None:
    """Raise an error that names the rows where `is_wrong`, if there are any."""
    rows = [number for number, wrong in enumerate(is_wrong, 1) if wrong]
    if not rows:
        return
    named = ", ".join(map(str, rows[:5]))
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise DataFileError(
        f"{path}, column {name!r}, row{'s' if len(rows) > 1 else ''} {named}{more}: "
        f"{problem}. (Row 1 is the first row of data.)"
    )
