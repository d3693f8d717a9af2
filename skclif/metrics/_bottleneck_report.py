"""What a concept bottleneck can be believed, on rows that it was not fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_random_state

from .._inputs.annotations import Annotations
from .._inputs.checks import (
    check_labels,
    check_length,
    check_row_order,
    check_weights,
    count_rows,
    error_context,
)
from .._inputs.orders import order_of
from .._inputs.pipelines import (
    final_step,
    fit_parts,
    is_frozen,
    transform_parts,
    with_label_order,
)
from .._inputs.sklearn import Interval, _safe_indexing, validate_params
from .._inputs.tensors import as_array
from .._results.bottleneck_report import BottleneckReport
from .._results.words import how_many
from ._bottleneck_parts import (
    Rows,
    Values,
    kinds_of,
    leakage,
    measure,
    of_complete,
    unknown_gold,
)

Split = tuple[np.ndarray, np.ndarray]
_N_REPEATS, _N_BOOTSTRAPS = 5, 1000


@validate_params(
    {
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "n_bootstraps": [Interval(Integral, 100, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def bottleneck_report(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    concepts: Any,
    *,
    cv: Any = 5,
    groups: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_repeats: int = _N_REPEATS,
    n_bootstraps: int = _N_BOOTSTRAPS,
    random_state: int | np.random.RandomState | None = None,
) -> BottleneckReport:
    """Report whether concepts carry a bottleneck's predictions or decorate them.

    The estimator is fitted to each training part, and everything is measured on the
    rows that are held out: what gold concepts tell of the label, what the same features
    tell without a bottleneck, what the activations tell beyond the concepts, how well
    concepts are predicted, and what correcting and deleting them does. Each question is
    answered in plain words, with an interval; few rows cannot tell.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        A bottleneck or a pipeline that ends in one. It is cloned and fitted to each
        training part. A fitted one in a :class:`~sklearn.frozen.FrozenEstimator` is
        taken as it is; then `cv` must be one split, whose training rows are those that
        it was fitted to.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        What the estimator takes, features or texts.
    y : array-like of shape (n_samples,)
        Their labels.
    concepts : array-like of shape (n_samples, n_concepts)
        Annotations, plain or soft. NaN, None and ``pandas.NA`` mean *not annotated*. Of
        soft ones, the share of the predicted value counts as right.
    cv : int, splitter or iterable of splits, default=5
        Number of stratified folds, drawn by `random_state`, or a splitter, or (train,
        test) positions, which test no row twice. One split is enough. Rows that are not
        tested only train.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group stay in one fold, and are one draw of the bootstrap.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows, in fits and in means. None is 1.
    n_repeats : int, default=5
        Number of random orders in which the concepts of a row are corrected.
    n_bootstraps : int, default=1000
        Number of bootstrap samples of the held-out rows, for 95 % intervals.
    random_state : int, RandomState instance or None, default=None
        Draws folds, orders and samples.

    Returns
    -------
    report : BottleneckReport
        Scores, estimates with intervals, and verdicts.

    Raises
    ------
    TypeError
        If the estimator does not end in a ConceptBottleneckClassifier, there are no
        annotations, or `cv` is of no usable kind.
    ValueError
        If lengths differ, a row is tested twice, a training part lacks a label, or a
        frozen estimator meets several splits.

    See Also
    --------
    intervention_curve : What known values are worth, in other orders too.
    skclif.compare_baselines : Other models of the same texts.

    Notes
    -----
    The *black box* is the same classifier without concepts, with the same rule for `C`.
    *Gold concepts* are a linear model, again with that rule, that sees annotations and
    no text; a missing annotation is a value by itself. If a concept has no annotation
    in any held-out row, its numbers are NaN. A value that no row of the training part
    has counts as not annotated for the concept, whose `n_rows` is smaller then. "soft",
    "logit" and "hard" are label heads on the same concept heads; with "logit", trained
    on predicted concepts alone.

    A row without all its annotations cannot show that concepts are too coarse, or that
    activations tell more than they do: it may be the missing annotation that they tell.
    So coarseness and leakage are of rows with all annotations.

    *Leakage* is the label information (nats) that the label head reads from the
    activations beyond gold concepts: the log-loss of a linear model of the label on
    gold concepts, minus that of one on gold concepts and the label head's
    log-probabilities. Both are cross-fitted within the held-out rows, with penalties
    chosen by leave-one-out. It is a lower bound, because another reader could
    find more, and is not clipped: no leakage gives values around or a little below 0,
    because the second model has more to learn. Where the label depends on concepts
    jointly, not as a sum, what linear models miss counts as leakage and as coarseness.

    *Completeness* is the share of what the black box knows, as the log-loss of the
    shares of the labels minus its own, that another model knows.

    A verdict claims what its whole interval holds: "no" that the amount is below 0.02
    nats, or 0.02 of a share, which is too little to act on; "yes" that it is above
    zero, if it is not surely that little. With fewer than 50 rows nothing is claimed.
    Intervals say how far other held-out rows could move a number, not how far another
    training part could.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import bottleneck_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = np.where(X[:, 2] > 0, "again", "never")  # nothing of the concepts
    >>> report = bottleneck_report(
    ...     ConceptBottleneckClassifier(), X, y, concepts, cv=2, random_state=0
    ... )
    >>> report["coarseness"].answer
    'yes'
    """
    _bottleneck_in(estimator)
    n_rows = count_rows(X)
    check_row_order(
        X=X, y=y, concepts=concepts, groups=groups, sample_weight=sample_weight
    )
    label_order = order_of(y)
    y = check_labels(y, n_rows)
    if len(np.unique(y)) < 2:
        raise ValueError(
            f"y has one label only, {np.unique(y).tolist()}: there is nothing to "
            "predict. Give rows of two labels or more."
        )
    annotations = _annotations(concepts, n_rows)
    weight = check_weights(sample_weight, y)
    units = _units(groups, n_rows)
    rng = check_random_state(random_state)
    splits = _splits(cv, y, units if groups is not None else None, rng)
    if not any(weight[test].any() for _, test in splits):
        raise ValueError(
            "sample_weight is 0 in all held-out rows, so that there is nothing to "
            "measure. Give some of them a weight, or hold out others by cv."
        )
    if is_frozen(estimator) and len(splits) > 1:
        raise ValueError(
            f"cv gives {len(splits)} splits, but the estimator is frozen: it was "
            "fitted to one training part. Pass cv=[(train, test)] with the positions "
            "of the rows that it was fitted to, or an estimator that can be fitted."
        )
    estimator = with_label_order(estimator, y, label_order)
    model = final_step(estimator)
    given = _Given(X, y, annotations, weight, np.unique(y))
    parts = [
        _of_split(estimator, given, split, n_repeats, rng, (number, len(splits)))
        for number, split in enumerate(splits, 1)
    ]
    tested = np.concatenate([test for _, test in splits])
    return _report(
        _joined([found for found, _ in parts]),
        given.rows(None, tested),
        units[tested],
        parts[0][1],
        model,
        len(splits),
        n_bootstraps,
        rng,
    )


bottleneck_report.__module__ = "skclif.metrics"


def report_on(
    model: Any,
    train: Rows,
    test: Rows,
    known: Mapping[str, np.ndarray],
    random_state: int,
) -> BottleneckReport:
    """Report on a fitted bottleneck, where the models beside it are fitted, too.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
        Fitted to the training rows.
    train, test : Rows
    known : mapping of str to ndarray of shape (n_rows, n_classes)
        What the models "black_box" and "gold" say of the rows to test.
    random_state : int
    """
    rng = check_random_state(random_state)
    values = measure(model, train, test, model.classes_, _N_REPEATS, rng, known)
    units = np.arange(len(test.y))
    about = units, kinds_of(model), model, 1, _N_BOOTSTRAPS, rng
    return _report(values, test, *about)


def _report(
    values: Values,
    rows: Rows,
    units: np.ndarray,
    kinds: dict[str, str],
    model: Any,
    n_folds: int,
    n_bootstraps: int,
    rng: Any,
) -> BottleneckReport:
    """Return the report on what was measured of the held-out rows."""
    if not rows.concepts.notna().any().all():
        values |= unknown_gold(values)
    values |= of_complete(values, rows.concepts.notna().all(axis=1).to_numpy())
    values |= leakage(values, rows.concepts, rows.y, rows.weight, kinds, model, rng)
    return BottleneckReport.of(
        values,
        weight=rows.weight,
        units=pd.factorize(units)[0],
        bottleneck=model.bottleneck,
        concepts=tuple(kinds),
        n_folds=n_folds,
        n_bootstraps=n_bootstraps,
        rng=rng,
    )


@dataclass(frozen=True, eq=False)
class _Given:
    """All rows, checked."""

    X: Any
    y: np.ndarray
    annotations: pd.DataFrame
    weight: np.ndarray
    classes: np.ndarray

    def rows(self, features: Any, places: np.ndarray) -> Rows:
        """Return some of the rows, with the features of the bottleneck."""
        concepts = _named(self.annotations, places)
        return Rows(features, self.y[places], concepts, self.weight[places])


def _bottleneck_in(estimator: Any) -> Any:
    """Return the bottleneck at the end of an estimator, fitted or not."""
    from .._models.bottleneck import ConceptBottleneckClassifier

    model = final_step(estimator)
    if not isinstance(model, ConceptBottleneckClassifier):
        name = type(model).__name__
        if isinstance(model, type):
            name = f"the class {model.__name__}; pass an instance"
        raise TypeError(
            "estimator must be a ConceptBottleneckClassifier, or a pipeline that ends "
            f"in one, got {name}. No other model has concepts to report on."
        )
    return model


def _annotations(concepts: Any, n_rows: int) -> pd.DataFrame:
    read = Annotations.read(concepts, None, n_rows)
    if read is None:
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            "(n_samples, n_concepts), got NoneType: the report is about concepts."
        )
    return read.table.reset_index(drop=True)


def _units(groups: Any, n_rows: int) -> np.ndarray:
    """Return what is drawn together, from 0: rows, or their groups."""
    if groups is None:
        return np.arange(n_rows)
    groups = np.asarray(as_array("groups", groups), dtype=object)
    if groups.ndim != 1:
        raise ValueError(
            f"groups must have one dimension, got shape {groups.shape}; give one group "
            "for each row of X."
        )
    check_length("groups", len(groups), n_rows)
    missing = np.flatnonzero(pd.isna(groups))
    if len(missing):
        raise ValueError(
            f"groups has no group in row {missing[0]} (counted from 0); give such rows "
            "a group of their own."
        )
    codes: np.ndarray = pd.factorize(groups)[0]
    return codes


def _splits(cv: Any, y: np.ndarray, groups: np.ndarray | None, rng: Any) -> list[Split]:
    """Return rows to train on and to test, for each fold."""
    if isinstance(cv, Integral) and not isinstance(cv, bool):
        cv = _drawn(int(cv), y, groups, rng)
    if isinstance(cv, str | bool) or not (
        hasattr(cv, "split") or isinstance(cv, Iterable)
    ):
        raise TypeError(
            f"cv must be a number of folds, a splitter or an iterable of (train, test) "
            f"positions, got {cv!r}."
        )
    expected = "a splitter for these rows, or (train, test) positions"
    with error_context("cv", expected), warnings.catch_warnings():
        # Of rare labels: said below, where a training part lacks one.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        given = list(check_cv(cv, y, classifier=True).split(y, y, groups))
        splits = [(_positions(a, len(y)), _positions(b, len(y))) for a, b in given]
    if not splits:
        raise ValueError("cv has no splits; give at least one (train, test).")
    tested = np.concatenate([test for _, test in splits])
    if len(np.unique(tested)) < len(tested):
        twice = pd.Series(tested)[pd.Series(tested).duplicated()].iloc[0]
        raise ValueError(
            f"cv tests row {twice} more than once; every row may be held out once."
        )
    both = [np.intersect1d(train, test) for train, test in splits]
    if any(map(len, both)):
        row = next(int(rows[0]) for rows in both if len(rows))
        raise ValueError(
            f"cv trains on row {row} and tests it in the same split; hold it out."
        )
    return splits


def _drawn(n_folds: int, y: np.ndarray, groups: np.ndarray | None, rng: Any) -> Any:
    labels, counts = np.unique(y, return_counts=True)
    most = counts.min() if groups is None else min(counts.min(), len(np.unique(groups)))
    if not 2 <= n_folds <= most:
        rarest = labels.tolist()[counts.argmin()]
        raise ValueError(
            f"cv={n_folds} must be from 2 to the number of rows of the rarest label, "
            f"{rarest!r}, which has {counts.min()}"
            + ("." if groups is None else f", and of groups, {len(np.unique(groups))}.")
        )
    if groups is None:
        return StratifiedKFold(n_folds, shuffle=True, random_state=rng)
    return StratifiedGroupKFold(n_folds, shuffle=True, random_state=rng)


def _positions(rows: Any, n_rows: int) -> np.ndarray:
    rows = np.asarray(rows)
    if not rows.size:
        raise ValueError("a split has no rows to train on or to test.")
    if rows.dtype == bool and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(f"positions are whole numbers, got {rows.dtype} {rows.shape}.")
    if not 0 <= rows.min() <= rows.max() < n_rows:
        raise ValueError(f"positions must be from 0 to {n_rows - 1}.")
    return rows


def _of_split(
    estimator: Any,
    given: _Given,
    split: Split,
    n_repeats: int,
    rng: Any,
    number: tuple[int, int],
) -> tuple[Values, dict[str, str]]:
    """Return what is measured on the held-out rows, and the kinds of the concepts."""
    train, test = split
    missing = np.setdiff1d(given.classes, given.y[train][given.weight[train] > 0])
    if len(missing):
        raise ValueError(
            f"The training part of split {number[0]} of {number[1]} has no row of the "
            f"label {missing.tolist()[0]!r}. Use fewer folds, or leave out labels that "
            f"are rare: the whole has {how_many(len(given.y), 'row')}."
        )
    rows = given.annotations.iloc[train]
    try:
        fitted, features = fit_parts(
            estimator,
            _safe_indexing(given.X, train),
            given.y[train],
            concepts=rows.reset_index(drop=True),
            sample_weight=given.weight[train],
        )
    except ValueError as error:
        raise ValueError(
            "The bottleneck cannot be fitted to the training part of split "
            f"{number[0]} of {number[1]}: {error}"
        ) from error
    model = final_step(fitted)
    of_train = given.rows(features, train)
    X_test = transform_parts(fitted, _safe_indexing(given.X, test))
    of_test = given.rows(X_test, test)
    found = measure(model, of_train, of_test, given.classes, n_repeats, rng)
    return found, kinds_of(model)


def _named(annotations: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    part = annotations.iloc[rows].reset_index(drop=True)
    return part.set_axis([str(name) for name in part.columns], axis=1)


def _joined(parts: list[Values]) -> Values:
    """Return the values of all splits, below each other; NaN where one has none."""
    keys = dict.fromkeys(key for part in parts for key in part)
    lengths = [len(part["log_loss", "bottleneck"]) for part in parts]
    return {
        key: np.concatenate(
            [
                part.get(key, np.full(n, np.nan))
                for part, n in zip(parts, lengths, strict=True)
            ]
        )
        for key in keys
    }
