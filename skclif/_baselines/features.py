"""Features of texts and tables that say what is wrong with their input."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.decomposition import TruncatedSVD
from sklearn.pipeline import FeatureUnion
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from .._text.texts import as_texts


class TextFeatures(FeatureUnion):
    """Features of texts side by side, after a look whether they are texts.

    Everything else is scikit-learn's FeatureUnion, whose vectorisers take the names of
    the columns of a DataFrame for texts.
    """

    __module__ = "skclif"

    def fit(self, X: Any, y: Any = None, **params: Any) -> TextFeatures:
        """Fit all parts to texts."""
        return super().fit(_as_texts(X), y, **params)

    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit all parts to texts and return their features."""
        return super().fit_transform(_as_texts(X), y, **params)

    def transform(self, X: Any, **params: Any) -> Any:
        """Return the features of texts."""
        return super().transform(_as_texts(X), **params)


def _as_texts(X: Any) -> list[str]:
    if isinstance(X, pd.DataFrame) and X.shape[1] > 1:
        raise ValueError(
            f"X is a DataFrame with the columns {list(map(str, X.columns))}, but the "
            "pipeline was made for texts alone. Pass the column of texts, e.g. "
            "X['text'], or make the pipeline with columns=[...] to use others too."
        )
    return as_texts(X)


class WordComponents(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Truncated SVD of word counts, of as many components as there can be.

    Parameters
    ----------
    n_components : int, default=200
        Number of components; the number of words, if there are fewer.
    random_state : int, RandomState instance or None, default=0
        Of the randomised algorithm.

    Attributes
    ----------
    svd_ : TruncatedSVD
        The fitted decomposition.
    """

    __module__ = "skclif"

    def __init__(self, n_components: int = 200, *, random_state: Any = 0) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> WordComponents:
        """Find the components of counts of shape (n_samples, n_words)."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Find components and return those of the same rows."""
        if X.shape[1] == 1:
            raise ValueError(
                "The texts have one word between them, which has no components. Give "
                "other texts, or use sentence vectors without words (words=False)."
            )
        n_components = self.n_components
        if isinstance(n_components, int | np.integer):  # else TruncatedSVD says it
            n_components = min(int(n_components), X.shape[1])
        self.svd_ = TruncatedSVD(n_components, random_state=self.random_state)
        return self.svd_.fit_transform(X)

    def transform(self, X: Any) -> np.ndarray:
        """Return the components of counts, (n_samples, n_components)."""
        check_is_fitted(self)
        return self.svd_.transform(X)

    @property
    def _n_features_out(self) -> int:
        return len(self.svd_.components_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@dataclass(frozen=True)
class ColumnsOfKind:
    """Choose the columns of one kind among those that must be there.

    Attributes
    ----------
    kind : {"text", "numbers", "categories"}
    names : tuple of str
        Of numbers and categories.
    text : str
        The column of the texts.
    """

    __module__ = "skclif"

    kind: str
    names: tuple[str, ...]
    text: str

    def __call__(self, table: Any) -> str | list[str]:
        """Return the names of the columns of this kind; of texts the name alone."""
        names = [self.text, *self.names]
        if not isinstance(table, pd.DataFrame):
            library = type(table).__module__.partition(".")[0]
            remedy = "For texts alone, make the pipeline without columns=."
            if hasattr(table, "to_pandas"):
                remedy = "Pass X.to_pandas()."
            raise TypeError(
                f"X must be a DataFrame of pandas with the columns {names}, got a "
                f"{type(table).__name__} of {library}. {remedy}"
            )
        missing = [name for name in names if name not in table.columns]
        if missing:
            raise ValueError(
                f"X has no column {', '.join(map(repr, missing))}; its columns are "
                f"{list(map(str, table.columns))}."
            )
        for name in self.names:
            _check_column(name, table[name])
        if self.kind == "text":
            return self.text
        numbers = [name for name in self.names if _is_number(table[name])]
        if self.kind == "numbers":
            return numbers
        return [name for name in self.names if name not in numbers]


def _check_column(name: str, column: pd.Series) -> None:
    if _is_date(column):
        raise ValueError(
            f"The column {name!r} holds dates. Turn them into numbers, for example "
            "days since the first, or leave the column out."
        )
    values = column.cat.categories if hasattr(column, "cat") else column.dropna()
    kinds = {_kind(value): value for value in values}
    if len(kinds) > 1 or not set(kinds) <= {"texts", "numbers", "truth values"}:
        examples = [f"{value!r} ({kind})" for kind, value in sorted(kinds.items())]
        raise ValueError(
            f"The column {name!r} holds {' and '.join(examples)}; a column must hold "
            "texts, numbers or truth values alone. Convert it, e.g. with "
            f"X[{name!r}].astype(str), or leave it out."
        )


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "texts"
    if isinstance(value, bool | np.bool_):
        return "truth values"
    return "numbers" if isinstance(value, Real) else type(value).__name__


def _is_number(column: pd.Series) -> bool:
    kinds = pd.api.types
    is_number = kinds.is_numeric_dtype(column.dtype)
    return bool(is_number and not kinds.is_bool_dtype(column.dtype))


def _is_date(column: pd.Series) -> bool:
    """Return whether a column holds dates, times or durations."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return str(kind).startswith(("date", "time", "period"))
