"""Texts that come in: what all transformers of texts accept, and tell scikit-learn."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from .._inputs.collections import refuse_collections
from .._results.words import how_many, is_or_are
from ..exceptions import TruncatedTextWarning, warn_user


class TakesTextsMixin:
    """A transformer whose input is one text a row."""

    def __sklearn_tags__(self) -> Tags:
        tags = cast(BaseEstimator, super()).__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def as_texts(X: Any) -> list[str]:
    """Return the column of texts `X` as a list of str, or say what is wrong with it."""
    refuse_collections("This method", X=X)
    # A column of the library datasets is a sequence that is read when it is needed.
    is_sequence = isinstance(X, Sequence) and not isinstance(X, str | bytes)
    texts = list(X) if is_sequence else _as_column(X)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise _not_a_text(row, text)
        if not text.isascii():
            _check_encodable(row, text)
    return texts


def _as_column(X: Any) -> list[Any]:
    accepted = (
        "a list or another sequence, a Series, an array of strings or a DataFrame of "
        "one column"
    )
    if isinstance(X, (str, bytes)):
        raise TypeError(
            f"X is a single text, {reprlib.repr(X)}; the texts must be {accepted}. "
            "Put it in a list: [text]."
        )
    if issparse(X) or not hasattr(X, "__array__"):
        raise TypeError(
            f"X is of type {type(X).__name__}; the texts must be "
            f"{accepted}.{_advice(X)}"
        )
    values = np.asarray(X, dtype=object)
    if values.ndim == 0:
        raise TypeError(
            f"X is a single value, {values!r}; the texts must be {accepted}."
        )
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise ValueError(
            f"X has shape {values.shape}; the texts must be {accepted}. Choose the "
            "column of texts, e.g. X['text'] or X[:, 0]."
        )
    return values.ravel().tolist()


def _advice(X: Any) -> str:
    """Say how to get a column of texts out of `X`, where that is plain."""
    columns = getattr(X, "column_names", None)  # of a table of datasets or pyarrow
    if isinstance(columns, Mapping):  # of the parts of a data set
        part = next(iter(columns), "train")
        return f" Choose a part and its column of texts, e.g. X[{part!r}]['text']."
    if columns:
        return f" Choose the column of texts, e.g. X[{columns[0]!r}]."
    if isinstance(X, Iterable) and not isinstance(X, Mapping | Set) and not issparse(X):
        return " Read its texts into a list: list(X)."
    return ""


def _not_a_text(row: int, value: Any) -> Exception:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ValueError(
            f"X has a missing text: row {row} (counted from 0) holds {value!r}. Every "
            "row must hold a string; fill the gaps, e.g. with X.fillna(''), or drop "
            "the rows."
        )
    return TypeError(
        f"X must hold strings only; row {row} (counted from 0) holds "
        f"{reprlib.repr(value)} of type {type(value).__name__}. Convert the column, "
        "e.g. with X.astype(str)."
    )


def _check_encodable(row: int, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"X has broken text: row {row} (counted from 0) holds "
            f"{text[error.start]!a}, half a character. Repair it, e.g. with "
            "text.encode('utf-8', 'replace').decode()."
        ) from error


def warn_of_cuts(n_cut: int, n_texts: int, limit: int, advice: str) -> None:
    """Warn of texts that were cut, if there are any."""
    if n_cut:
        warn_user(
            f"{n_cut} of {how_many(n_texts, 'text')} {is_or_are(n_cut)} longer than "
            f"the {limit} tokens that the model reads; the rest of them is ignored. "
            f"{advice}",
            TruncatedTextWarning,
        )
