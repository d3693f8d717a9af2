"""The rows that a reweighter works on: given rows, clean rows, and their folds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_array
from sklearn.utils.validation import has_fit_parameter

from .._inputs.annotations import Annotations
from .._inputs.checks import (
    error_context,
    refuse_dates,
    refuse_masked,
    sorted_values,
)
from .._inputs.orders import labels_of, order_of
from .._inputs.sklearn import _safe_indexing
from .._results.words import how_many

_MIN_FOLDS = 3  # with two folds, neither could tell whether the other is right
_MIN_CLEAN = 2  # rows of every class: one row to learn from, and one to hold out
_SPLITS = (
    "an int, a splitter that needs no groups, or an iterable of (train, test) positions"
)
_OWN_FOLDS = 5  # of rows to suspect
_MIN_OWN = 3  # without clean rows, two folds are out at a time


@dataclass(frozen=True)
class Rows:
    """Training rows, side by side.

    Attributes
    ----------
    X : array, DataFrame or sparse matrix of shape (n, n_features)
        Features for the final step.
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
    clean : ndarray of shape (n,), bool, or None
        None if nothing is known of the labels.
    concepts, concept_weights : array-like of shape (n, n_concepts), or None
    n_extra : int
        Number of rows at the end that were not given as training rows.
    label_order : list or None
        The order of the labels by their type.
    """

    X: Any
    y: np.ndarray
    weights: np.ndarray
    clean: np.ndarray | None
    concepts: Any = None
    concept_weights: Any = None
    n_extra: int = 0
    label_order: list[Any] | None = None

    @property
    def adapted(self) -> np.ndarray:
        """Which rows have weights that are learned."""
        return np.ones(len(self.y), bool) if self.clean is None else ~self.clean

    @property
    def counted(self) -> np.ndarray:
        """Which rows have a loss that counts: the clean rows, or all rows."""
        return np.ones(len(self.y), bool) if self.clean is None else self.clean

    def take(self, kept: np.ndarray) -> Rows:
        """Return some of the rows."""
        if kept.all():
            return self
        positions = np.flatnonzero(kept)
        parts: dict[str, Any] = {
            name: None if part is None else _safe_indexing(part, positions)
            for name, part in vars(self).items()
            if name not in ("n_extra", "label_order")
        }
        return Rows(**parts, label_order=self.label_order)

    def extended(self, X: Any, y: np.ndarray, allow_nan: bool) -> Rows:
        """Return these rows and clean rows of mean weight, without annotations."""
        n_extra, positive = len(y), self.weights[self.weights > 0]
        concepts, concept_weights = self.concepts, self.concept_weights
        annotations = check_annotations(concepts, concept_weights, len(self.y))
        if annotations is not None:
            table, weights = annotations
            table = table.reset_index(drop=True)
            named = hasattr(concepts, "columns")
            unordered = [name for name in table if order_of(table[name]) is None]
            table = table.astype(dict.fromkeys(unordered, object))
            table = table.reindex(range(len(table) + n_extra))
            concepts = table if named else table.to_numpy()
            concept_weights = np.pad(
                weights, [(0, n_extra), (0, 0)], constant_values=1.0
            )
        with error_context("X_val", "features like those of X"):
            X = _stacked(self.X, X, allow_nan)
        weight = positive.mean() if len(positive) else 1.0
        return Rows(
            X,
            _joined(self.y, y),
            np.concatenate([self.weights, np.full(n_extra, weight)]),
            np.arange(len(self.y) + n_extra) >= len(self.y),
            concepts,
            concept_weights,
            n_extra,
            self.label_order,
        )

    def without_empty_columns(self) -> Rows:
        """Return these rows with the columns of sparse features that are not all 0.

        Nothing is learned of the others, and a hashing vectoriser has a million.
        """
        if not sparse.issparse(self.X):
            return self
        X = self.X.tocsr()
        seen = np.unique(X.indices[X.data != 0])
        return self if len(seen) == X.shape[1] else replace(self, X=X[:, seen])

    def standardised(self) -> Any:
        """Return features with weighted mean 0, in rows with mean squared length 1.

        Missing values become the mean. Sparse features keep their zeros and the
        proportions of their columns: rare words stay small.
        """
        if sparse.issparse(self.X):
            with error_context("X", "finite numbers, or a surrogate must be given"):
                X = check_array(self.X, dtype=np.float64, accept_sparse="csr")
            squares = X.multiply(X).sum(axis=1)
            length = np.average(np.ravel(squares), weights=self.weights) ** 0.5
            return X / length if length > 0 else X
        with error_context(
            "X", "a dense table of numbers, or a surrogate must be given"
        ):
            X = check_array(
                self.X, dtype=np.float64, order="C", ensure_all_finite="allow-nan"
            )
        observed = ~np.isnan(X)
        shares = self.weights[:, None] * observed
        total = shares.sum(axis=0)
        shares = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        X = np.where(observed, X, 0.0)
        X = np.where(observed, X - (shares * X).sum(axis=0), 0.0)
        scale = np.sqrt((shares * X**2).sum(axis=0) * X.shape[1])
        return np.divide(X, scale, out=np.zeros_like(X), where=scale > 0)

    def fit(self, estimator: Any, weights: np.ndarray) -> None:
        """Fit an estimator with these weights, without rows that lost all their weight.

        Some estimators use rows of weight 0 too, for example boosting for its bins.
        Rows that were given with weight 0 stay, because the caller wants them.
        """
        rows = replace(self, weights=weights).take((weights > 0) | (self.weights == 0))
        estimator.fit(
            rows.X,
            rows.labels(estimator),
            sample_weight=rows.weights,
            **rows.annotations(estimator),
        )

    def labels(self, estimator: Any) -> Any:
        """Return the labels as an estimator takes them, in their order if it can."""
        return labels_of(estimator, self.y, self.label_order)

    def annotations(self, estimator: Any) -> dict[str, Any]:
        """Return the annotations that the `fit` of an estimator takes, by argument."""
        given = {
            "concepts": self.concepts,
            "concept_sample_weight": self.concept_weights,
        }
        return {
            name: value
            for name, value in given.items()
            if value is not None and has_fit_parameter(estimator, name)
        }

    def alone_in_class(self) -> np.ndarray:
        """Return which rows are of classes without a row whose weight is learned."""
        return ~np.isin(self.y, self.y[self.adapted & (self.weights > 0)])

    def too_few(self, cv: Any) -> str:
        """Return why held-out rows cannot guide the weights; nothing if they can."""
        n_folds = int(cv) if isinstance(cv, int | np.integer) else 0
        kept = self.weights > 0
        kind = "row" if self.clean is None else "clean row"
        least = _MIN_OWN if self.clean is None else _MIN_CLEAN
        largest = 0
        for label in np.unique(self.y[kept]).tolist():
            own = kept & (self.y == label)
            n_counted = int((own & self.counted).sum())
            largest = max(largest, n_counted)
            if n_counted < least:
                advice = (
                    ""
                    if self.clean is None
                    else (
                        " Check more of its rows, or leave is_clean out: then the rows "
                        "judge themselves."
                    )
                )
                return (
                    f"Class {label!r} has {how_many(n_counted, kind)}, but reweighting "
                    f"needs at least {least} of every class.{advice}"
                )
            if not (own & self.adapted).any():
                return (
                    f"Class {label!r} has clean rows only, and none whose weight could "
                    "be learned. Mark fewer rows as clean, or leave out what other "
                    "rows do not have."
                )
        if largest < n_folds:
            return f"No class has as many {kind}s as there are folds, cv={n_folds}."
        return ""

    def folds(
        self, cv: Any, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, int, np.ndarray | None]:
        """Return the folds of rows whose loss counts, and of rows to suspect.

        Rows of weight 0 have no fold.

        Returns
        -------
        fold : ndarray of shape (n,)
            The fold that tests each row whose loss counts; -1 for other rows.
        n_folds : int
        own_fold : ndarray of shape (n,), or None
            The fold of each row with learned weights; -1 for other rows. None if all
            rows have both.
        """
        counted = np.flatnonzero(self.counted & (self.weights > 0))
        n_tests = np.zeros(len(self.y), int)
        fold = np.full(len(self.y), -1)
        with error_context("cv", _SPLITS):
            for number, test in enumerate(self._tests(cv, counted, random_state)):
                n_tests[test] += 1
                fold[test] = number
        if (n_tests[counted] != 1).any():
            row = counted[n_tests[counted] != 1][0]
            raise ValueError(
                "cv must put every row whose loss counts in one test part, but row "
                f"{row - self._offset} is in {n_tests[row]}. Use KFold or "
                "StratifiedKFold, or their splits."
            )
        used, codes = np.unique(fold[counted], return_inverse=True)
        if len(used) < _MIN_FOLDS:
            raise ValueError(
                f"cv={cv!r} gives {len(used)} folds of rows whose loss counts, but "
                f"at least {_MIN_FOLDS} are needed to tell what the folds agree on."
            )
        of_counted = np.full(len(self.y), -1)
        of_counted[counted] = codes
        if self.clean is None:
            return of_counted, len(used), None
        adapted = np.flatnonzero(self.adapted & (self.weights > 0))
        own_fold = np.full(len(self.y), -1)
        if (n_tests[adapted] == 1).all() and self._spread(adapted, fold[adapted]):
            own_fold[adapted] = np.unique(fold[adapted], return_inverse=True)[1]
        else:
            own_fold[adapted] = self._dealt(adapted, random_state)
        return of_counted, len(used), own_fold

    def given(self, positions: np.ndarray) -> np.ndarray:
        """Return positions as they count in `X`, or in `X_val` if that is given."""
        return positions - self._offset

    def _spread(self, rows: np.ndarray, fold: np.ndarray) -> bool:
        """Return whether all classes of some rows are in several folds."""
        labels = self.y[rows]
        return all(
            len(np.unique(fold[labels == label])) > 1 for label in np.unique(labels)
        )

    def _dealt(
        self, rows: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Return folds of some rows: each class is dealt out like cards.

        A row that is alone in its class gets -1: no model can do without it.
        """
        _, codes, counts = np.unique(
            self.y[rows], return_inverse=True, return_counts=True
        )
        shuffled = random_state.permutation(len(rows))
        order = shuffled[np.argsort(codes[shuffled], kind="stable")]
        fold = np.empty(len(rows), int)
        fold[order] = np.arange(len(rows)) % _OWN_FOLDS
        return np.where(counts[codes] > 1, fold, -1)

    @property
    def _offset(self) -> int:
        """Position of the first row that positions in `cv` count from."""
        return len(self.y) - self.n_extra if self.n_extra else 0

    def _tests(
        self, cv: Any, counted: np.ndarray, random_state: np.random.RandomState
    ) -> Iterator[np.ndarray]:
        """Yield positions of the rows that each fold tests."""
        if not isinstance(cv, int | np.integer) and not hasattr(cv, "split"):
            limit = self.n_extra or len(self.y)
            for _, test in cv:
                try:
                    test = np.arange(limit)[np.asarray(test)]
                except IndexError as error:
                    raise ValueError(
                        f"its positions must be those of {how_many(limit, 'row')}: "
                        f"{error}."
                    ) from error
                yield test + self._offset
            return
        splitter = cv
        if not hasattr(cv, "split"):
            splitter = StratifiedKFold(cv, shuffle=True, random_state=random_state)
        with warnings.catch_warnings():
            # A class may have fewer rows than folds; `_too_few` has checked them.
            warnings.filterwarnings("ignore", "The least populated class")
            splits = list(splitter.split(np.zeros(len(counted)), self.y[counted]))
        for _, test in splits:
            yield counted[test]


def check_annotations(
    concepts: Any, concept_weights: Any, n_samples: int
) -> tuple[pd.DataFrame, np.ndarray] | None:
    """Return a table of annotations, and their weights; None without annotations."""
    annotations = Annotations.read(concepts, concept_weights, n_samples)
    return None if annotations is None else (annotations.table, annotations.weights)


def _stacked(first: Any, second: Any, allow_nan: bool) -> Any:
    """Return the rows of X above those of another container of its kind."""
    refuse_masked("X", first)
    refuse_masked("X_val", second)
    refuse_dates(second)
    check = partial(
        check_array,
        accept_sparse=sparse.issparse(first),
        ensure_all_finite="allow-nan" if allow_nan else True,
        allow_nd=True,
        input_name="X_val",
    )
    first, second = _in_pandas(first), _in_pandas(second)
    if isinstance(first, pd.DataFrame):
        second = second if isinstance(second, pd.DataFrame) else pd.DataFrame(second)
        if list(first.columns) != list(second.columns):
            raise ValueError(
                f"its columns are {list(second.columns)}, those of X "
                f"{list(first.columns)}."
            )
        if all(map(pd.api.types.is_numeric_dtype, first.dtypes)):
            check(second, dtype=np.float64)
        return pd.concat([first, second], ignore_index=True)
    if not sparse.issparse(first):
        first = np.asarray(first)
    if first.dtype.kind in "biuf":
        whole = [np.float64] if first.dtype.kind in "biu" else []
        second = check(second, dtype=[*whole, first.dtype])
    elif not sparse.issparse(second):
        second = np.asarray(second)
    if first.shape[1:] != second.shape[1:]:
        raise ValueError(f"it has the shape {second.shape}, and X {first.shape}.")
    if sparse.issparse(first):
        return sparse.vstack([first, second], format="csr")
    return np.concatenate([first, second])


def _in_pandas(X: Any) -> Any:
    """Return a data frame of any library in pandas, and anything else as it is."""
    if isinstance(X, pd.DataFrame) or not hasattr(X, "columns"):
        return X
    return pd.DataFrame({name: np.asarray(X[name]) for name in X.columns})


def _joined(y: np.ndarray, y_val: np.ndarray) -> np.ndarray:
    """Return labels and the labels of clean rows, in one array."""
    if {y.dtype.kind, y_val.dtype.kind} <= set("biuf"):
        same = y_val.astype(y.dtype)
        return np.concatenate([y, same if (same == y_val).all() else y_val])
    both = np.concatenate([y.astype(object), y_val.astype(object)])
    sorted_values(both, "y with y_val")
    return np.concatenate([y, y_val])
