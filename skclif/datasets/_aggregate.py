"""Annotations of several people: one value for each text, and how each person errs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._annotation_tools.votes import METHODS, Chosen, Vote, choose
from .._inputs.sklearn import StrOptions, validate_params
from .._inputs.values import plain_value
from .._results.words import how_many
from .._storage.values import as_word, kind_of, plain
from ..exceptions import DataFileWarning, warn_user

_NAMED = 5


@validate_params(
    {
        "row": [str],
        "annotator": [str],
        "concept": [str],
        "value": [str],
        "method": [StrOptions(set(METHODS))],
    },
    prefer_skip_nested_validation=True,
)
def aggregate_annotations(
    table: Any,
    *,
    row: str = "id",
    annotator: str = "annotator",
    concept: str = "concept",
    value: str = "value",
    method: str = "majority",
) -> Bunch:
    """Make one annotation of those of several people.

    Parameters
    ----------
    table : DataFrame of shape (n_annotations, n_columns)
        A long table: each line is what one person chose for one concept of one text.
        Lines without a value are left out. A table with a column for each concept
        becomes a long one by `table.melt(["id", "annotator"], var_name="concept")`.

    row : str, default="id"
        The column that says which text a line is about: an identifier, or the text.

    annotator : str, default="annotator"
        The column that says who annotated.

    concept : str, default="concept"
        The column with the name of the concept.

    value : str, default="value"
        The column with the value.

    method : {"majority", "dawid_skene"}, default="majority"
        The value that most people chose; or the most probable value by the model of
        Dawid and Skene, which weighs people by how they err.

    Returns
    -------
    annotations : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields. The rows of both tables are the
        distinct values of the column `row`, in the order in which they come first.

        concepts : DataFrame of shape (n_rows, n_concepts)
            One value of each concept; NaN where nobody annotated, and for a tie.
        soft_concepts : DataFrame of shape (n_rows, n_values)
            The share of people who chose each value, or its probability, in columns
            named "concept=value". The shares of a concept add up to 1; a tie is one
            here, too. NaN where nobody annotated.
        annotators : DataFrame
            One line for each annotator and concept: annotator; concept; n_annotations;
            agreement, the mean share of the other annotators of a text who chose the
            same value (NaN if there are none); with "dawid_skene" also accuracy, the
            probability that this annotator chooses the true value.

    Raises
    ------
    TypeError
        If `table` is no DataFrame.
    ValueError
        If a column is missing, or holds what is neither text nor a number; a line has
        no row, annotator or concept; a concept has "=" in its name; one person chose
        two values of one concept of a text; or "dawid_skene" is asked of more than 100
        values.

    Warns
    -----
    DataFileWarning
        If there are ties, which have no value in `concepts`.
    ConvergenceWarning
        If Dawid–Skene does not converge.

    See Also
    --------
    load_reviews : Reads files with several annotators, in this way and others.

    Notes
    -----
    Dawid and Skene give every annotator a matrix of how he or she takes one value for
    another, and find matrices and true values in turns. Here the matrices are shrunk to
    that of all annotators together, which counts as much as four texts of each true
    value. The order of the lines has no part in it, and neither has chance.

    References
    ----------
    .. [1] A. P. Dawid and A. M. Skene, "Maximum likelihood estimation of observer
       error-rates using the EM algorithm", Applied Statistics 28, 1979.

    Examples
    --------
    >>> import pandas as pd
    >>> from skclif.datasets import aggregate_annotations
    >>> said = [("a", "Ann", "good"), ("a", "Ben", "good"), ("a", "Cy", "bad")]
    >>> said += [("b", "Ann", "bad"), ("b", "Cy", "bad")]
    >>> table = pd.DataFrame(said, columns=["id", "annotator", "value"])
    >>> found = aggregate_annotations(table.assign(concept="food"))
    >>> found.concepts["food"].to_dict()
    {'a': 'good', 'b': 'bad'}
    >>> found.soft_concepts.round(2).to_dict("index")["a"]
    {'food=bad': 0.33, 'food=good': 0.67}
    """
    columns = _columns(
        table, {"row": row, "annotator": annotator, "concept": concept, "value": value}
    )
    is_given = columns["value"].notna()
    rows = pd.Index([*dict.fromkeys(columns["row"].dropna())], name=row)
    columns = columns[is_given]
    for name in ("row", "annotator", "concept"):
        _refuse_missing(name, columns[name])
    for name in columns["concept"].unique():
        if "=" in str(name):
            raise ValueError(
                f"The concept {name!r} has an equals sign in its name, which separates "
                "concepts from values in names of columns. Rename it."
            )
    chosen: dict[str, Chosen] = {}
    for name, lines in columns.groupby("concept", sort=False):
        _refuse_two_kinds(str(name), lines["value"])
        votes = _votes(lines, rows, str(name))
        chosen[str(name)] = choose(votes, method, f"concept {name!r}")
    _warn_of_ties(chosen, rows)
    every = np.arange(len(rows))
    soft = [soft_columns(name, found, every, rows) for name, found in chosen.items()]
    plain = {
        name: pd.Series(
            [np.nan if one is None else one for one in found.best], index=rows
        )
        for name, found in chosen.items()
    }
    nothing = pd.DataFrame(index=rows)
    return Bunch(
        concepts=pd.DataFrame(plain, index=rows),
        soft_concepts=pd.concat([nothing, *soft], axis=1),
        annotators=quality_frame(chosen),
    )


aggregate_annotations.__module__ = "skclif.datasets"


def _columns(table: Any, names: dict[str, str]) -> pd.DataFrame:
    """Return the columns that were asked for, by what they are used as."""
    frame = nw.from_native(table, pass_through=True, eager_only=True)
    if not isinstance(frame, nw.DataFrame):
        raise TypeError(
            "table must be a DataFrame with a line for each annotation, got "
            f"{type(table).__name__}."
        )
    for argument, name in names.items():
        if frame.columns.count(name) != 1:
            raise ValueError(
                f"table has no column {name!r}, or several of that name, which is "
                f"asked for as {argument}=. It has "
                f"{', '.join(map(repr, frame.columns))}."
            )
    if len(set(names.values())) < len(names):
        raise ValueError(f"A column has one use, and one of them has two: {names}.")
    return pd.DataFrame(
        {
            use: pd.Series(_cells(use, frame[name].to_list()), dtype=object)
            for use, name in names.items()
        }
    )


def _cells(argument: str, given: list[Any]) -> list[Any]:
    """Return words without blanks around them and numbers, None where there is none."""
    cells = [None if one is pd.NA else plain(plain_value(one)) for one in given]
    for number, kind in enumerate(map(kind_of, cells)):
        if kind:
            raise ValueError(
                f"The column of {argument}= holds {kind} in line {number} of table, "
                "counted from 0, which is neither text nor a number."
            )
    words = [one.strip() if isinstance(one, str) else one for one in cells]
    return [None if one == "" else one for one in words]


def _refuse_missing(argument: str, given: pd.Series) -> None:
    missing = given.isna()
    if missing.any():
        raise ValueError(
            f"The column of {argument}= has no value in line {int(missing.idxmax())} "
            f"of table, counted from 0 ({int(missing.sum())} of {len(given)} are "
            "missing). Complete these lines, or leave them out."
        )


def _refuse_two_kinds(concept: str, values: pd.Series) -> None:
    """Refuse 1 beside "1": they would be two values of one name."""
    seen: dict[str, Any] = {}
    for value in values:
        first = seen.setdefault(as_word(value), value)
        if first != value:
            raise ValueError(
                f"Concept {concept!r} has the values {first!r} and {value!r}, one of "
                "them a number and one a text, which look the same. Write them in one "
                "way, as in table[value].astype(str)."
            )


def _votes(lines: pd.DataFrame, rows: pd.Index, concept: str) -> list[list[Vote]]:
    """Return the votes on one concept, of each row."""
    said: list[dict[str, Any]] = [{} for _ in rows]
    places = rows.get_indexer(pd.Index([*lines["row"]]))
    for place, who, value in zip(
        places, lines["annotator"], lines["value"], strict=True
    ):
        name = as_word(who)
        known = said[place].setdefault(name, value)
        if known != value:
            raise ValueError(
                f"Annotator {name!r} chose two values of concept {concept!r} for row "
                f"{rows[place]!r}, {known!r} and {value!r}. Leave one of the lines out."
            )
    return [[*some.items()] for some in said]


def _warn_of_ties(chosen: Mapping[str, Chosen], rows: pd.Index) -> None:
    for name, found in chosen.items():
        tied = [
            str(i) for i, is_tied in zip(rows, found.is_tied, strict=True) if is_tied
        ]
        if tied:
            more = f" and {len(tied) - _NAMED} more" if len(tied) > _NAMED else ""
            warn_user(
                f"Concept {name!r}: two values have the same share in "
                f"{how_many(len(tied), 'row')} ({', '.join(tied[:_NAMED])}{more}), "
                "which are not annotated in concepts. soft_concepts has their shares.",
                DataFileWarning,
            )


def soft_columns(
    concept: str, found: Chosen, rows: np.ndarray, ids: pd.Index
) -> pd.DataFrame:
    """Return the shares of a concept's values in some rows."""
    names = [f"{concept}={as_word(value)}" for value in found.values]
    return pd.DataFrame(found.shares[rows], index=ids, columns=names)


def quality_frame(chosen: Mapping[str, Chosen]) -> pd.DataFrame:
    """Return a line for each annotator and concept, by annotator."""
    lines = [
        {"annotator": line["annotator"], "concept": name, **line}
        for name, found in chosen.items()
        for line in found.annotators
    ]
    frame = pd.DataFrame(
        lines, columns=None if lines else ["annotator", "concept", "n_annotations"]
    )
    return frame.sort_values("annotator", kind="stable", ignore_index=True)


def quality_in_words(quality: pd.DataFrame, method: str) -> list[str]:
    """Return a line on how well annotators do, the worst first."""
    measure = "accuracy" if "accuracy" in quality else "agreement"
    known = quality.dropna(subset=[measure])
    if known.empty:
        return []
    total = (known[measure] * known["n_annotations"]).groupby(known["annotator"]).sum()
    share = total / known.groupby("annotator")["n_annotations"].sum()
    worst = share.sort_values(kind="stable")
    named = [f"{name} {value:.0%}" for name, value in worst.head(_NAMED).items()]
    more = f" and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
    what = "are right by Dawid–Skene" if measure == "accuracy" else "agree with others"
    return [f"annotators who {what}: {', '.join(named)}{more}"]
