"""Reviews from a user's own file, with errors that name the file, column and row."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._annotation_tools.annotated import Request
from .._annotation_tools.exports import Flattener
from .._annotation_tools.rows import WEIGHT, FlatRows
from .._annotation_tools.votes import METHODS
from .._inputs.sklearn import StrOptions, validate_params
from .._results.words import how_many
from .._storage.tables import Layout, Table, read_table
from .._storage.values import as_word, is_number
from ..exceptions import DataFileError
from ._aggregate import quality_frame, quality_in_words, soft_columns
from ._columns import (
    Column,
    as_cells,
    as_ids,
    as_texts,
    checked_names,
    rows_in_words,
)
from ._times import as_times, time_cells
from ._values import Doubts, typed

# What software writes for "nothing here". Words that people choose, above all "None"
# and "unknown", are no markers: they may name a value of a concept.
NA_VALUES = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")
# What a column is used as, and the argument and the option that name it.
_TEXT, _LABEL, _ID, _GROUP = "the text", "the label", "the identifier", "the group"
_CONCEPT, _SPLIT, _TIME = "a concept", "what keeps rows together", "the time"
_WEIGHT = "the weight"
_OPTIONS = {
    _TEXT: ("text=", "--text"),
    _LABEL: ("label=", "--label"),
    _ID: ("id=", "--id"),
    _GROUP: ("group=", "--group"),
    _CONCEPT: ("concepts=", "--concept"),
    _SPLIT: ("split_by=", "--split-by"),
    _TIME: ("time=", "--time"),
}
_SKIP = {
    "python": "Complete them, or leave such rows out with incomplete='skip'.",
    "command": "Complete them, or leave such rows out with --skip-incomplete.",
}


@validate_params(
    {
        "path": [str, os.PathLike],
        "text": [str, "array-like"],
        "label": [str, None],
        "concepts": ["array-like", None],
        "id": [str, None],
        "group": [str, None],
        "encoding": [str],
        "na_values": ["array-like", None],
        "split_by": [str, None],
        "time": [str, None],
        "empty": [dict, None],
        "incomplete": [StrOptions({"raise", "skip"})],
        "quoted": ["boolean", None],
        "sheet": [str, None],
        "column_names": [dict, None],
        "annotators": [StrOptions({*METHODS, "all"}), None],
    },
    prefer_skip_nested_validation=True,
)
def load_reviews(
    path: str | os.PathLike[str],
    *,
    text: str | Sequence[str] = "text",
    label: str | None = "label",
    concepts: Sequence[str] | None = None,
    id: str | None = None,
    group: str | None = None,
    encoding: str = "utf-8",
    na_values: Sequence[str] | None = None,
    split_by: str | None = None,
    time: str | None = None,
    empty: Mapping[str, Any] | None = None,
    incomplete: str = "raise",
    quoted: bool | None = None,
    sheet: str | None = None,
    column_names: Mapping[int, str] | None = None,
    annotators: str | None = None,
) -> Bunch:
    r"""Load texts, labels and concept annotations from a file of your own.

    One row of the file is one sample. The suffix of its name says how it is read:

    - `.csv`, `.tsv`, `.txt`: a header and rows, separated by commas, semicolons, tabs
      or vertical bars, whichever gives the columns asked for. A field that holds the
      separator, a line break or a quote must be in double quotes; with tabs, quotes are
      part of the text (see `quoted`).
    - `.jsonl`, `.ndjson`, `.json`: one JSON object on each line, or one JSON array of
      objects.
    - `.xlsx`, `.xlsm`: a sheet of a workbook; needs the extra `excel`.
    - `.parquet`: needs the extra `parquet`. A folder of such files is one table.

    Files of text may be compressed, with `.gz` at the end of the name; a `.zip` holds
    one file of any format. The same table gives the same values in every format.

    Exports of Label Studio, doccano and Argilla are recognised by their structure.

    Parameters
    ----------
    path : str or path-like
        The file.

    text : str or array-like of str, default="text"
        The column of the texts. They are kept as they are, as strings. Of several
        columns, each text has one part for each, as a line "column: text"; empty parts
        are left out.

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

    split_by : str, default=None
        A column that says which rows belong together, such as the author, for splits
        that keep them together. It may have another use, too.

    time : str, default=None
        A column of times, for splits by time: numbers, or dates in ISO 8601
        (2026-11-29, with or without a time; also 2026-11 and 2026-Q4).

    empty : dict of str to object, default=None
        The value of empty cells, by the column, where boxes are ticked or empty:
        `{"late": 0}`. Without it, an empty cell is no value.

    incomplete : {"raise", "skip"}, default="raise"
        What to do with rows that lack a text, a label, a group or a time: refuse the
        file, or leave these rows out.

    quoted : bool, default=None
        Whether double quotes enclose fields of delimited text. None is as usual: they
        do, except between tabs.

    sheet : str, default=None
        The sheet of a workbook with several.

    column_names : dict of int to str, default=None
        For a file without a header, the names of its columns by their number, from 1:
        `{1: "label", 2: "text"}`.

    annotators : {"majority", "dawid_skene", "all"}, default=None
        What becomes of several annotators of a text: the value that most of them chose;
        the most probable value, if each annotator is weighed by how often he or she
        errs; or a row for each of them, whose weights add up to 1. The rows of a text
        share the identifier, are in the structure of an annotation tool, or are those
        of a long table, with the columns "annotator", "concept" and "value". None
        refuses several.

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
        split_groups : Series of str of shape (n_samples,) or None
            What `split_by` says.
        times : Series of float64 or datetime64 of shape (n_samples,) or None
            The times; those with a zone in UTC.
        weights : Series of float64 of shape (n_samples,) or None
            With `annotators="all"` the weights of the rows; None is 1 for all.
        annotators : Series of str of shape (n_samples,) or None
            With `annotators="all"`, who annotated each row.
        soft_concepts : DataFrame or None
            With "majority" and "dawid_skene" the annotations as shares of values, in
            columns named "concept=value": of the annotators who chose each, or its
            probability. NaN where nobody did. Concepts that are the same for all
            annotators stay as in `concepts`.
        annotator_quality : DataFrame or None
            With "majority" and "dawid_skene", if annotators have names, one line for
            each annotator and each concept, as :func:`aggregate_annotations` returns
            it.
        ids : Index of str of shape (n_samples,)
            The identifiers of the rows.
        frame : DataFrame
            Texts, labels, annotations and groups, side by side.
        path : str
            The file.
        reading : list of str
            How the file was read, in a few lines.
        unread : list of str
            The columns of the file that nothing was read from.

    Raises
    ------
    DataFileError
        If the file cannot be read as asked: a column is missing or occurs twice, a row
        has too many or too few fields, a text, a label or a group is empty, a cell
        holds several values, or two rows have the same identifier. The message names
        the file, the column and the row. Row 1 is the first row of data, whatever
        number of lines it fills.

    FileNotFoundError
        If there is no such file.

    ImportError
        If the file needs a library that is not installed.

    Warns
    -----
    DataFileWarning
        If values may not mean what they were read as: they differ only in capitals or
        blanks, are words such as "n/a" or "?", or are words among numbers; or if quotes
        can be read in two ways.

    See Also
    --------
    aggregate_annotations : The same for annotations in a DataFrame.
    fetch_cebab : Real reviews with four concepts.
    make_concept_reviews : Generated reviews with four concepts.

    Notes
    -----
    Spaces around labels, annotations, groups and identifiers are removed. "4,5" is a
    number in a column where all values are such numbers. True and False are the words
    "True" and "False", in whatever capitals a column has them. Whole numbers of more
    than 15 digits are words, because no float holds them. Of JSON in a cell, one value
    is taken: `{"choices": ["good"]}` is "good", and `[{"rating": 4}]` is 4.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclif.datasets import load_reviews
    >>> content = "text;label;food\nGreat soup;5;good\nLong wait;2;\nOld fish;1;bad\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "reviews.csv")
    ...     _ = path.write_text(content)
    ...     reviews = load_reviews(path, concepts=["food"])
    >>> reviews.frame.loc["row-2"].to_dict()
    {'text': 'Long wait', 'label': 2, 'food': nan}
    >>> for line in reviews.reading:
    ...     print(line)
    3 rows, separated by semicolons
    whole numbers: label; words: food
    without a value: 1 of food
    """
    texts = [text] if isinstance(text, str) else list(text)
    if not texts:
        raise ValueError("text must name a column at least; got [].")
    concepts = [] if concepts is None else list(concepts)
    asked = [(_LABEL, label), *((_CONCEPT, name) for name in concepts)]
    asked += [(_GROUP, group), (_SPLIT, split_by), (_TIME, time), (_ID, id)]
    uses = [(use, name) for use, name in asked if name is not None]
    roles = _roles([*((_TEXT, name) for name in texts), *uses])
    fill = _checked_empty(empty, [label, *concepts, group])
    layout = Layout(encoding, quoted, sheet, checked_names(column_names))
    values = [name for use, name in uses if use in (_LABEL, _CONCEPT)]
    others = [name for name in roles if name not in values and name != id]
    missing = {"", *map(str, NA_VALUES if na_values is None else na_values)}
    request = Request(Path(path), values, others, id, annotators, texts, missing)
    flattener = Flattener(request)
    table = read_table(
        Path(path),
        {**roles, WEIGHT: _WEIGHT},
        layout,
        optional=(WEIGHT,),
        options=_OPTIONS,
        flatten=flattener,
        is_export=flattener.is_export,
    )
    parts = _parts(str(path), table, texts, uses, missing, fill)
    parts, left_out = _complete(parts, incomplete)
    reviews = _bunch(str(path), table, parts, left_out)
    (texts_read, *_) = parts.values()
    rows = np.asarray(texts_read.numbers) - 1
    return _with_annotators(reviews, flattener.made, rows, annotators)


load_reviews.__module__ = "skclif.datasets"

_Parts = dict[tuple[str, str], Column]  # by use and name; a column may have two uses


def _roles(uses: Sequence[tuple[str, Any]]) -> dict[str, str]:
    """Return what each column asked for is used as, in words."""
    roles: dict[str, str] = {}
    for role, name in uses:
        if not isinstance(name, str):
            raise TypeError(f"A column is named by a string; got {name!r} as {role}.")
        if name in roles and role in (_SPLIT, _TIME):
            continue
        if name in roles:
            raise DataFileError(
                f"The column {name!r} is asked for twice, as {roles[name]} and as "
                f"{role}; a column has one use."
            )
        roles[name] = role
    return roles


def _checked_empty(
    empty: Mapping[str, Any] | None, names: Sequence[str | None]
) -> dict[str, str]:
    """Return the values of empty cells as a file would have them."""
    empty = {} if empty is None else dict(empty)
    for name, value in empty.items():
        if name not in names or name is None:
            known = ", ".join(repr(name) for name in names if name is not None)
            raise DataFileError(
                f"The value {value!r} of empty cells is for the column {name!r}, which "
                "is not asked for as a label, a concept or a group: "
                f"{known or 'none'}."
            )
    return {name: as_word(value) for name, value in empty.items()}


def _parts(
    path: str,
    table: Table,
    texts: Sequence[str],
    uses: Sequence[tuple[str, str]],
    missing: Collection[str],
    fill: Mapping[str, str],
) -> _Parts:
    """Return the cells of every column, None where there is no value."""
    numbers = range(1, table.n_rows + 1)
    columns = {
        name: Column(path, name, cells, numbers)
        for name, cells in table.columns.items()
    }
    joined = as_texts([columns[name] for name in texts])
    cells = [text if text.strip() else None for text in joined.cells]
    parts = {(_TEXT, joined.name): joined.holding(cells)}
    for use, name in uses:
        column = columns[name]
        if use is _TIME:
            column = time_cells(column, missing)
        elif use is not _ID:
            column = as_cells(column, missing, fill.get(name))
        parts[use, name] = column
    if WEIGHT in columns:
        parts[_WEIGHT, WEIGHT] = columns[WEIGHT]
    return parts


def _complete(parts: _Parts, incomplete: str) -> tuple[_Parts, list[int]]:
    """Return the rows that lack nothing they need, and the numbers of the others."""
    needed = {
        _TEXT: "the text is empty",
        **dict.fromkeys((_LABEL, _GROUP, _SPLIT, _TIME), "no value"),
    }
    lacks = {
        key: [cell is None for cell in column.cells]
        for key, column in parts.items()
        if key[0] in needed
    }
    if incomplete == "raise":
        for key, is_lacking in lacks.items():
            advice = _ticked(parts[key]) if key[0] is _LABEL else {}
            parts[key].refuse(is_lacking, needed[key[0]], **(advice or _SKIP))
        return parts, []
    keep = [not any(row) for row in zip(*lacks.values(), strict=True)]
    numbers = next(iter(parts.values())).numbers
    left_out = [n for n, is_kept in zip(numbers, keep, strict=True) if not is_kept]
    if not any(keep):
        column = next(iter(parts.values()))
        raise DataFileError(
            f"{column.source}: every row lacks {_in_words([use for use, _ in lacks])}."
        )
    return {key: column.take(keep) for key, column in parts.items()}, left_out


def _ticked(column: Column) -> dict[str, str]:
    """Return the advice for labels that are one value or empty, as ticked boxes are."""
    values = {as_word(cell) for cell in column.cells if cell is not None}
    if len(values) != 1:
        return {}
    (value,) = values
    other = 0 if is_number(value) else "no"
    about = f"All others are {value!r}. If empty means another label, say which:"
    return {
        "python": f"{about} empty={{{column.name!r}: {other!r}}}.",
        "command": f"{about} --empty {shlex.quote(f'{column.name}={other}')}.",
    }


def _bunch(path: str, table: Table, parts: _Parts, left_out: list[int]) -> Bunch:
    (text_key, texts), *others = parts.items()
    named = {use: column for (use, _), column in others if use is not _CONCEPT}
    numbered = [f"row-{number}" for number in texts.numbers]
    ids = pd.Index(numbered, name="id")
    if _ID in named:
        ids = pd.Index(as_ids(named[_ID]), name=named[_ID].name)
    doubts = Doubts(path)
    kinds: dict[str, list[str]] = {}
    series = {text_key: pd.Series(texts.cells, index=ids, name=texts.name)}
    for (use, name), column in others:
        if use in (_LABEL, _CONCEPT, _GROUP):
            values, kind = typed(column, doubts)
            if use is _CONCEPT:
                doubts.of_one_value(column, values)
            kinds.setdefault(kind, []).append(name)
            cells = [np.nan if value is None else value for value in values]
            series[use, name] = pd.Series(cells, index=ids, name=name)
    doubts.warn()

    def of(use: str) -> pd.Series | None:
        return series.get((use, named[use].name)) if use in named else None

    concepts = [column for (use, _), column in series.items() if use is _CONCEPT]
    shown = [series[text_key], of(_LABEL), *concepts, of(_GROUP)]
    split, time, weight = (named.get(use) for use in (_SPLIT, _TIME, _WEIGHT))
    return Bunch(
        data=series[text_key],
        target=of(_LABEL),
        concepts=pd.concat(concepts, axis=1) if concepts else None,
        groups=of(_GROUP),
        split_groups=None
        if split is None
        else pd.Series([as_word(c) for c in split.cells], index=ids, name=split.name),
        times=None
        if time is None
        else pd.Series(as_times(time), index=ids, name=time.name),
        weights=None
        if weight is None
        else pd.Series(weight.cells, index=ids, name="weight", dtype=float),
        annotators=None,
        soft_concepts=None,
        annotator_quality=None,
        ids=ids,
        frame=pd.concat([part for part in shown if part is not None], axis=1),
        path=path,
        reading=_reading(table, len(ids), left_out, kinds, concepts),
        unread=list(table.unread),
    )


def _reading(
    table: Table,
    n_rows: int,
    left_out: list[int],
    kinds: Mapping[str, Sequence[str]],
    concepts: Sequence[pd.Series],
) -> list[str]:
    """Return how a file was read, in a few lines."""
    lines = [", ".join([how_many(n_rows, "row"), *table.notes])]
    if left_out:
        lines.append(
            f"{how_many(len(left_out), 'incomplete row')} left out: "
            f"{rows_in_words(left_out)}"
        )
    if kinds:
        lines.append(
            "; ".join(f"{k}: {', '.join(names)}" for k, names in kinds.items())
        )
    n_missing = {column.name: int(column.isna().sum()) for column in concepts}
    gaps = [f"{n} of {name}" for name, n in n_missing.items() if n]
    if gaps:
        lines.append(f"without a value: {', '.join(gaps)}")
    return lines


def _with_annotators(
    reviews: Bunch, made: FlatRows | None, rows: np.ndarray, annotators: str | None
) -> Bunch:
    """Return reviews with what is known of their annotators."""
    if made is None or annotators is None:
        return reviews
    if annotators == "all":
        names = [made.annotators[row] for row in rows]
        reviews.annotators = pd.Series(names, index=reviews.ids, name="annotator")
        return reviews
    if reviews.concepts is not None:
        parts = [
            soft_columns(name, made.chosen[name], rows, reviews.ids)
            if name in made.chosen
            else plain
            for name, plain in reviews.concepts.items()
        ]
        reviews.soft_concepts = pd.concat(parts, axis=1)
    quality = quality_frame(made.chosen)
    if len(quality):
        reviews.annotator_quality = quality
        reviews.reading += quality_in_words(quality, annotators)
    return reviews


def _in_words(uses: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(uses))
