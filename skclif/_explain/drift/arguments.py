"""The arguments of a report on drift, checked: groups of rows, and periods of time."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray
from sklearn.utils.validation import check_is_fitted

from ..._inputs.checks import check_length, error_context, refuse_masked
from ..._inputs.pipelines import final_step
from ..._inputs.tensors import as_array
from ..._models.bottleneck import ConceptBottleneckClassifier
from ..._results.drift_report import FEATURES, TOGETHER
from ..explainer import ConceptInfluenceExplainer

ALL = "all new rows"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?$")
_ZONE = re.compile(r"(:\d\d[\d.:]*) ?(?:Z|UTC|[+-]\d\d:?(?:\d\d)?)$")
_OTHER_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}\b")
# A period is a month, a quarter or a year: the shortest with so many rows as a rule.
_UNITS = (("M", "{0.year}-{0.month:02d}"), ("Q", "{0.year} Q{0.quarter}"))
_ROWS_OF_PERIOD = 100


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A group of every row.

    Attributes
    ----------
    name : str
        Of the argument.
    names : list
        In order; periods in the order of time.
    codes : ndarray of shape (n_rows,)
    """

    __module__ = "skclif"

    name: str
    names: list[Any]
    codes: np.ndarray

    def rows(self, name: Any) -> np.ndarray:
        """Return the positions of the rows of a group."""
        return np.flatnonzero(self.codes == self.names.index(name))

    def of_rows(self) -> np.ndarray:
        """Return the group of every row."""
        values = np.empty(len(self.names), dtype=object)
        values[:] = self.names
        found: np.ndarray = values[self.codes]
        return found


def check_explainer(explainer: Any) -> None:
    """Refuse what holds no training rows with concepts."""
    if not isinstance(explainer, ConceptInfluenceExplainer):
        raise TypeError(
            "explainer must be a fitted ConceptInfluenceExplainer, which holds the "
            f"training rows, got {type(explainer).__name__}. Fit one with "
            "ConceptInfluenceExplainer(estimator).fit(X, y, concepts=concepts)."
        )
    check_is_fitted(explainer)
    explainer._require_rows()
    model = final_step(explainer.estimator_)
    if not isinstance(model, ConceptBottleneckClassifier) or not model.n_concepts_:
        raise TypeError(
            "explainer has a model without concepts, and drift_report says which "
            "concept moved. Fit it with a ConceptBottleneckClassifier and concepts."
        )
    if model.concept_weight_ is not None:
        raise ValueError(
            "drift_report judges every head by what it says of rows that it was not "
            "trained on, for which each has to be at its own optimum, and the heads of "
            "training='joint' are not. Fit the explainer to the same model with "
            "training='mixed'."
        )
    taken = [name for name in model.concept_names_in_ if name in (TOGETHER, FEATURES)]
    if taken:
        raise ValueError(
            f"explainer has a concept named {taken[0]!r}, as the report names its "
            "tests of all concepts together and of the features ('all', 'features'). "
            "Give the concept another name, such as 'all of it', and fit again."
        )


def check_level(alpha: Any, n_permutations: int) -> float:
    """Return a checked probability of a false alarm that permutations can reach."""
    is_number = isinstance(alpha, float | int | np.number)
    if not is_number or isinstance(alpha, bool) or not 0 < alpha < 1:
        raise ValueError(
            f"alpha={alpha!r} must be a number between 0 and 1: the probability of a "
            "false alarm."
        )
    if alpha * (n_permutations + 1) < 1:
        raise ValueError(
            f"alpha={alpha} is below 1 / (n_permutations + 1), the smallest q-value "
            f"that {n_permutations} permutations can give; use at least "
            f"n_permutations={int(np.ceil(1 / alpha - 1))}."
        )
    return float(alpha)


def check_new_groups(
    groups: Any, time: Any, n_rows: int
) -> tuple[RowGroups, str | None]:
    """Return the groups of new rows, and the unit of periods; None if not cut."""
    if groups is not None and time is not None:
        raise ValueError(
            "groups and time exclude each other: a row would be in two groups. Pass "
            "one after the other, or groups that name both, such as 'A 2024'."
        )
    if time is not None:
        series = _column("time", time, n_rows, "X_new")
        return _periods("time", series)
    if groups is not None:
        return _named("groups", _column("groups", groups, n_rows, "X_new")), None
    return RowGroups("groups", [ALL], np.zeros(n_rows, dtype=int)), None


def check_train_groups(
    groups: Any, time: Any, n_rows: int, unit: str | None
) -> list[RowGroups]:
    """Return the groups and the periods of training rows, of what was given."""
    found, of = [], "the training data"
    if groups is not None:
        found.append(
            _named("train_groups", _column("train_groups", groups, n_rows, of))
        )
    if time is not None:
        series = _column("train_time", time, n_rows, of)
        found.append(_periods("train_time", series, unit)[0])
    return found


def _column(name: str, values: Any, n_rows: int, of: str) -> pd.Series:
    values = as_array(name, values)
    refuse_masked(name, values)
    if isinstance(values, pd.Index | ExtensionArray):
        values = pd.Series(values)
    if not isinstance(values, pd.Series):
        dtype = getattr(values, "dtype", np.dtype(object))
        array = np.asarray(values, dtype if isinstance(dtype, np.dtype) else None)
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        if array.ndim != 1:
            got = f"an array of shape {array.shape}" if array.ndim else repr(values)
            raise ValueError(
                f"{name} must be one value for each row of {of}, in a list, an array "
                f"or one column, got {got}."
            )
        values = pd.Series(array).infer_objects()
    check_length(name, len(values), n_rows, of)
    series = values.reset_index(drop=True)
    missing = series.isna().to_numpy()
    if missing.any():
        advice = (
            "Name a group for each row, such as 'unknown', or leave these rows out."
        )
        if "time" in name:
            advice = "Leave these rows out, or name a period for each row yourself."
        raise ValueError(
            f"{name} has no value in row {int(missing.argmax())} (counted from 0; "
            f"{int(missing.sum())} of {n_rows} are missing). {advice}"
        )
    return series


def _named(name: str, series: pd.Series) -> RowGroups:
    if isinstance(series.dtype, pd.CategoricalDtype) and series.dtype.ordered:
        codes, ordered = pd.factorize(series, sort=True)
        return RowGroups(name, ordered.tolist(), codes)
    codes, names = pd.factorize(series)
    with error_context(name, "values that can be sorted: all strings or all numbers"):
        order = sorted(range(len(names)), key=names.tolist().__getitem__)
    places = np.argsort(order)
    return RowGroups(name, [_plain(names[k]) for k in order], places[codes])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _periods(
    name: str, series: pd.Series, unit: str | None = None
) -> tuple[RowGroups, str | None]:
    """Cut dates to months, quarters or years; other values are periods as they are."""
    if isinstance(series.dtype, pd.PeriodDtype):
        series = series.astype(str)
    dates = _dates(name, series)
    if dates is None:
        return _named(name, series), None
    if unit is None:
        unit = next((u for u, _ in _UNITS if _are_enough(dates, u)), "Y")
    periods = dates.dt.to_period(unit)
    codes, order = pd.factorize(periods, sort=True)
    words = dict(_UNITS).get(unit, "{0.year}")
    return RowGroups(name, [words.format(period) for period in order], codes), unit


def _are_enough(dates: pd.Series, unit: str) -> bool:
    counts = dates.dt.to_period(unit).value_counts()
    return bool(counts.median() >= _ROWS_OF_PERIOD)


def _is_date(value: Any) -> bool:
    written = isinstance(value, str) and _DATE.match(value) is not None
    return written or isinstance(value, datetime.date)


def _dates(name: str, series: pd.Series) -> pd.Series | None:
    """Return dates without their time zone; None if the values are no dates."""
    if not pd.api.types.is_datetime64_any_dtype(series):
        values = series.to_list()
        are = np.array([_is_date(value) for value in values], dtype=bool)
        if not are.any():
            _refuse_other_dates(name, values)
            return None
        if not are.all():
            _refuse_no_date(name, values, ~are)
        series = pd.Series([_local(value) for value in values])
        series = pd.to_datetime(series, format="ISO8601", errors="coerce")
        if series.isna().any():
            _refuse_no_date(name, values, series.isna().to_numpy())
    return series.dt.tz_localize(None) if series.dt.tz is not None else series


def _local(value: Any) -> Any:
    """Return a date as the clock there said it: zones change with the season."""
    if isinstance(value, str):
        return _ZONE.sub(r"\1", value)
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value


def _refuse_no_date(name: str, values: list[Any], odd: np.ndarray) -> None:
    row = int(odd.argmax())
    raise ValueError(
        f"{name} has dates, and {values[row]!r} in row {row}, which is none. "
        "Write all as dates, such as '2024-03-31', or all as names of periods, "
        "such as '2024 Q1'."
    )


def _refuse_other_dates(name: str, values: list[Any]) -> None:
    """Refuse dates that would be a period each, and which can be read in two ways."""
    for row, value in enumerate(values):
        if isinstance(value, str) and _OTHER_DATE.match(value):
            raise ValueError(
                f"{name} has {value!r} in row {row}, which may be a date, with the day "
                "or the month first. Write dates like '2024-03-31', for example with "
                f"pandas.to_datetime({name}, dayfirst=True)."
            )
