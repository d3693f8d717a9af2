"""Checks of arguments, with messages that name the argument.

Messages of scikit-learn that name the argument are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import assert_all_finite, check_array, column_or_1d, indexable
from sklearn.utils.multiclass import check_classification_targets

from .._results.words import how_many
from .collections import refuse_collections
from .sklearn import _check_feature_names_in, _check_sample_weight, _num_samples
from .tensors import as_array

COMPLEX = "Complex data not supported"  # what scikit-learn says, before all of the data
# Products of a weight, a feature and an annotation or another feature are finite in
# float64 up to this, and so are their sums over rows.
LARGEST = 1e100
# Beyond this the label head stops far from its optimum: the predictions of continuous
# concepts are its features, and the products of two of them lose the others.
LARGEST_NUMBER = 1e50
_UNKNOWN_TO_NUMPY = (nw.Int128, nw.UInt128)


class CheckedScoreMixin(ClassifierMixin):
    """A classifier whose `score` says which argument is wrong."""

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy of the predicted labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What `predict` takes.
        y : array-like of shape (n_samples,)
            The true labels; a label that was not seen in `fit` counts as missed.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows; None for 1.

        Returns
        -------
        score : float
            Share of the rows, by weight, whose label is predicted.
        """
        check_row_order(X=X, y=y, sample_weight=sample_weight)
        predicted = self.predict(X)
        y = check_labels(y, len(predicted))
        if sample_weight is not None:
            sample_weight = check_weights(sample_weight, predicted)
        with error_context("y", "labels of the type that fit was given"):
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))


def all_or_nothing(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Make a failed or interrupted `fit` leave the estimator as it was.

    `fit` stores one attribute after another. Without this, a second fit that fails
    after `classes_` leaves a model that names the new labels by the old coefficients.
    """

    @wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).copy()
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return wrapped


@contextmanager
def error_context(argument: str, expected: str) -> Iterator[None]:
    """Add the argument's name and what is expected to errors that lack the name."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        message = str(error)
        if message.startswith(COMPLEX):
            message = f"{COMPLEX}."  # not all of the data
        if re.search(rf"\b{argument}\b", message):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{argument} must be {expected}: {message}") from error


def count_rows(X: Any, name: str = "X") -> int:
    """Return the number of samples of what may be features or texts."""
    refuse_collections("This method", **{name: X})
    with error_context(name, "an array, a DataFrame or a list with one entry a sample"):
        return _num_samples(X)


def as_rows(X: Any, name: str = "X") -> Any:
    """Return X as something that rows can be taken of."""
    refuse_collections("This method", **{name: X})
    with error_context(name, "an array, a DataFrame or a list with one entry a sample"):
        return indexable(X)[0]


def check_length(argument: str, length: int, n_samples: int, of: str = "X") -> None:
    """Refuse an argument that does not have one row for each row of X."""
    if length != n_samples:
        raise ValueError(
            f"{argument} has {how_many(length, 'row')}, but {of} has {n_samples}: "
            "inconsistent "
            "numbers of samples. Rows are matched by position; give one for each of "
            f"{of}."
        )


def check_count(
    name: str, value: Any, low: int, high: int | None, of: str = "training rows"
) -> int:
    """Return a checked whole number of rows, from low to high; None for no limit."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < low or (high is not None and value > high):
        accepted = f"{low} or more" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value} must be {accepted}: how many {of}.")
    return int(value)


def check_labels(
    y: Any, n_samples: int, *, warn: bool = False, name: str = "y", of: str = "X"
) -> np.ndarray:
    """Return labels as an array of shape (n_samples,), none of them missing."""
    if y is None:
        raise ValueError(
            f"This estimator requires {name} to be passed, but the target {name} is "
            f"None. Give one label for each row of {of}."
        )
    refuse_collections("This method", **{name: y})
    y = as_array(name, y)
    if not isinstance(y, pd.api.extensions.ExtensionArray):  # below, by its row
        refuse_masked(name, y)
    with error_context(name, "a column of labels, of shape (n_samples,)"):
        y = column_or_1d(_as_given(y), input_name=name, warn=warn)
        if y.dtype.kind == "V":
            raise TypeError(f"it is a structured array with the fields {y.dtype.names}")
        check_length(name, len(y), n_samples, of)
        missing = np.flatnonzero(pd.isna(y))
        if len(missing):
            raise ValueError(
                f"{name} has no label in row {missing[0]} (counted from 0): it "
                f"contains {y[missing[0]]!r}. Label the row, or drop it."
            )
        if y.dtype.kind == "f":
            assert_all_finite(y, input_name=name)
        sorted_values(y, name)
        if len(y) and y.dtype.kind == "O" and not isinstance(y[0], str | bytes):
            raise ValueError(
                f"labels are strings, bools or whole numbers, got {y[0]!r}, a "
                f"{type(y[0]).__name__}. Use .astype(str)"
            )
        check_classification_targets(y)
    return y


def _as_given(y: Any) -> Any:
    """Return labels of types that NumPy does not know as the values that they hold.

    NumPy would read the nullable types of pandas as floats: True as 1.0, and two whole
    numbers of 19 digits as one.
    """
    if isinstance(y, pd.DataFrame) and y.shape[1] == 1:
        is_known = isinstance(y.dtypes.iloc[0], np.dtype)
        return y if is_known else _as_given(y.iloc[:, 0])[:, None]
    dtype = getattr(y, "dtype", None)
    if isinstance(dtype, np.dtypes.StringDType):
        return y.astype(object)
    if isinstance(dtype, pd.api.extensions.ExtensionDtype) or dtype == np.dtype(object):
        return _plainest(np.asarray(y, dtype=object))
    column = nw.from_native(y, pass_through=True, series_only=True)
    if isinstance(column, nw.Series) and column.dtype in _UNKNOWN_TO_NUMPY:
        return _plainest(np.array(column.to_list(), dtype=object))
    return y


def _plainest(values: np.ndarray) -> np.ndarray:
    """Return bools, whole numbers and other numbers as such; the rest as it is."""
    kinds = {type(value) for value in values.flat}
    if kinds and all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return values.astype(bool)
    if kinds and not any(issubclass(kind, bool) for kind in kinds):
        if all(issubclass(kind, int | np.integer) for kind in kinds):
            return _whole_numbers(values)
        if all(issubclass(kind, float | np.floating) for kind in kinds):
            return values.astype(np.float64)
    return values


def _whole_numbers(values: np.ndarray) -> np.ndarray:
    for dtype in (np.int64, np.uint64):
        try:
            return values.astype(dtype)
        except OverflowError:
            continue
    raise ValueError(
        "it holds whole numbers that are too large for 64 bits. Use .astype(str) if "
        "they are codes"
    )


def sorted_values(values: np.ndarray, subject: str) -> np.ndarray:
    """Return the distinct values in order; refuse values that have no order."""
    try:
        return np.unique(values)
    except TypeError as error:
        types = sorted({type(value).__name__ for value in values})
        raise ValueError(
            f"{subject} mixes values that cannot be ordered ({', '.join(types)}); use "
            "one type, for example with .astype(str)."
        ) from error


def check_weights(sample_weight: Any, X: Any) -> np.ndarray:
    """Return weights of the rows of `X` in float64; 1 if none are given."""
    refuse_collections("This method", sample_weight=sample_weight)
    sample_weight = as_array("sample_weight", sample_weight)
    shape = getattr(sample_weight, "shape", ())
    if len(shape) > 1:
        raise ValueError(
            f"sample_weight must have one dimension, got shape {tuple(shape)}. "
            "Annotations are passed by name: fit(X, y, concepts=concepts)."
        )
    refuse_masked("sample_weight", sample_weight)
    with error_context("sample_weight", "one number for each row of X, or None"):
        refuse_dates(sample_weight)
        sample_weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    check_weight_values("sample_weight", sample_weight)
    return np.ascontiguousarray(sample_weight)


def check_weight_values(name: str, weights: np.ndarray) -> None:
    """Refuse weights that are negative, not finite, extremely small or large."""
    odd = weights[(weights != 0) & ~((weights >= 1 / LARGEST) & (weights <= LARGEST))]
    if odd.size:
        raise ValueError(
            f"{name} has the value {odd[0]:.3g}; weights must be 0 or lie between "
            f"{1 / LARGEST:g} and {LARGEST:g}. Multiply all of them by a constant."
        )


def check_annotation_weights(
    concept_sample_weight: Any, table: pd.DataFrame, *, by_name: bool = False
) -> np.ndarray:
    """Return weights of annotations in float64; 1 if none are given.

    A missing weight of a missing annotation counts as 1.

    Parameters
    ----------
    concept_sample_weight : array-like of shape (n_samples, n_concepts) or None
    table : DataFrame of shape (n_samples, n_concepts)
        The annotations.
    by_name : bool, default=False
        Whether the annotations came with their names, so that columns of weights that
        have names are matched by them.
    """
    name = "concept_sample_weight"
    if concept_sample_weight is None:
        return np.ones(table.shape)
    concept_sample_weight = as_array(name, concept_sample_weight)
    refuse_masked(name, concept_sample_weight)
    with error_context(name, f"one number for each annotation, of shape {table.shape}"):
        refuse_dates(concept_sample_weight)
        if by_name:
            concept_sample_weight = _in_order(concept_sample_weight, list(table))
        weights = check_array(
            concept_sample_weight,
            dtype=np.float64,
            order="C",
            input_name=name,
            ensure_all_finite="allow-nan",
            ensure_non_negative=True,
        )
    if weights.shape != table.shape:
        raise ValueError(
            f"concept_sample_weight has shape {weights.shape}, but concepts has shape "
            f"{table.shape}; it needs one weight for every annotation."
        )
    weights = _without_missing(weights, table)
    check_weight_values(name, weights)
    return weights


def _in_order(weights: Any, names: list[str]) -> Any:
    """Return the columns of weights in the order of these names, if they have names."""
    frame = nw.from_native(weights, pass_through=True, eager_only=True)
    if not isinstance(frame, nw.DataFrame):
        return weights
    given = (
        list(weights.columns) if isinstance(weights, pd.DataFrame) else frame.columns
    )
    if not any(isinstance(name, str) for name in given):
        return weights  # an array that pandas has numbered
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    if unknown or missing:
        problems = {"unknown": unknown, "missing": missing}
        found = "; ".join(
            f"{what}: {those}" for what, those in problems.items() if those
        )
        raise ValueError(
            "concept_sample_weight must have the columns of concepts "
            f"({', '.join(names)}), in any order; {found}. Rename the columns, or pass "
            "an array to match them by position."
        )
    if isinstance(weights, pd.DataFrame):
        return weights[names]
    return frame[names].to_numpy()


def _without_missing(weights: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Return weights with 1 for missing weights of missing annotations."""
    missing = np.isnan(weights)
    if not missing.any():
        return weights
    annotated = missing & table.notna().to_numpy()
    if annotated.any():
        row, j = (int(place) for place in np.argwhere(annotated)[0])
        raise ValueError(
            f"concept_sample_weight has no weight (NaN) in row {row} for concept "
            f"{table.columns[j]!r}, which has the annotation {table.iloc[row, j]!r} "
            f"there ({how_many(int(annotated.sum()), 'such annotation')}). Give it a "
            "weight; 0 leaves the annotation out."
        )
    return np.where(missing, 1.0, weights)


def check_row_order(**given: Any) -> None:
    """Refuse pandas objects whose indexes have the same labels in another order.

    Rows are matched by position, as in scikit-learn, which is surely not meant there.
    Other indexes say nothing of the rows.

    Parameters
    ----------
    **given
        Arguments of a method, by name.
    """
    indexes = {
        name: value.index
        for name, value in given.items()
        if isinstance(value, pd.DataFrame | pd.Series)
    }
    first, *others = indexes or [""]
    for name in others:
        index, other = indexes[first], indexes[name]
        row = _first_elsewhere(index, other)
        if row is not None:
            here, there = (each[[row]].tolist()[0] for each in (index, other))
            raise ValueError(
                f"{first} and {name} have the same index in another order: row {row} "
                f"is {here!r} in {first} and {there!r} in {name}, and rows "
                f"are matched by position. Pass {name}.loc[{first}.index] if the index "
                "says what belongs together, or reset_index(drop=True) on both if the "
                "position does."
            )


def index_of_rows(*given: Any) -> list[Any] | None:
    """Return the index of the first pandas object, as values; None without one."""
    pandas = (each for each in given if isinstance(each, pd.DataFrame | pd.Series))
    return next((each.index.tolist() for each in pandas), None)


def check_training_order(name: str, given: Any, values: list[Any] | None) -> None:
    """Refuse a pandas object with the index of the training rows in another order."""
    if values is None or not isinstance(given, pd.DataFrame | pd.Series):
        return
    index = pd.Index(values)
    row = _first_elsewhere(index, given.index)
    if row is not None:
        here, there = (each[[row]].tolist()[0] for each in (index, given.index))
        raise ValueError(
            f"{name} has the index of the training rows in another order: row {row} is "
            f"{here!r} in fit and {there!r} in {name}, and rows are matched by "
            f"position. Bring {name} into the order of fit by .loc[...], or "
            "reset_index(drop=True) if its position says what belongs together."
        )


def _first_elsewhere(index: pd.Index, other: pd.Index) -> int | None:
    """Return the first row that differs, if the same labels are in another order."""
    if len(index) != len(other) or index.equals(other):
        return None
    if not (index.is_unique and other.is_unique and other.isin(index).all()):
        return None
    return int(np.argmax(np.asarray(index != other)))


def check_flags(name: str, flags: Any, n_samples: int) -> np.ndarray:
    """Return one bool for each row."""
    flags = as_array(name, flags)
    refuse_masked(name, flags)
    with error_context(name, "one True or False for each row of X"):
        flags = column_or_1d(flags, input_name=name)
        check_length(name, len(flags), n_samples)
        odd = pd.isna(flags)  # pandas.NA cannot be compared
        odd[~odd] = ~np.isin(flags[~odd], [0, 1])
        if odd.any():
            raise ValueError(f"it contains {flags[odd].tolist()[0]!r}.")
    return flags.astype(bool)


def check_input_features(estimator: Any, input_features: Any) -> np.ndarray:
    """Return the names of the features seen in `fit`, or those given."""
    with error_context(
        "input_features", "a list with one name for each feature, or None"
    ):
        return _check_feature_names_in(estimator, input_features)


def refuse_masked(name: str, value: Any) -> None:
    """Refuse masked entries: their values would be read as if they were not."""
    if isinstance(value, pd.api.extensions.ExtensionArray):
        missing = np.flatnonzero(pd.isna(value))
        if len(missing):
            raise ValueError(
                f"{name} has no value ({value[missing[0]]!r}) in row {missing[0]} and "
                f"{len(missing)} missing values in all. Drop those rows, or fill them, "
                f"for example with {name}.fillna({_filler(value)})."
            )
    elif np.ma.is_masked(value):
        raise ValueError(
            f"{name} is a masked array with {np.ma.count_masked(value)} masked "
            "entries, whose values would be read all the same. Drop those rows, or "
            "fill them, for example with .filled(0)."
        )


def _filler(values: Any) -> str:
    """Return a value that fills the gaps of an array of pandas, as people write it."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return "False"
    return "0" if pd.api.types.is_numeric_dtype(values.dtype) else "'unknown'"


def refuse_dates(value: Any) -> None:
    """Refuse dates and durations, which would be read as numbers of nanoseconds."""
    value = nw.from_native(value, pass_through=True, eager_only=True, allow_series=True)
    if isinstance(value, nw.DataFrame):
        is_date = any(dtype.is_temporal() for dtype in value.schema.dtypes())
    elif isinstance(value, nw.Series):
        is_date = value.dtype.is_temporal()
    else:
        is_date = getattr(getattr(value, "dtype", None), "kind", None) in ("m", "M")
    if is_date:
        raise TypeError("it holds dates or durations. Turn them into numbers.")
