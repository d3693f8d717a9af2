"""Fitting a pipeline in two parts, so that its last step's features can be kept."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object, process_routing
from sklearn.utils.validation import check_is_fitted

from .._results.words import how_many
from .checks import count_rows
from .orders import labels_of
from .readable import refuse_texts, refuse_unreadable
from .sklearn import _routing_enabled
from .tensors import as_array, is_tensor


def final_step(estimator: Any) -> Any:
    """Return the estimator at the end of (nested, frozen) pipelines."""
    while isinstance(estimator, Pipeline | FrozenEstimator):
        estimator = _inside(estimator)
    return estimator


def with_final_step(estimator: Any, final: Any) -> Any:
    """Return the same estimator around another final step, leading steps shared."""
    if isinstance(estimator, FrozenEstimator):
        return FrozenEstimator(with_final_step(estimator.estimator, final))
    if not isinstance(estimator, Pipeline):
        return final
    *leading, (name, last) = estimator.steps
    twin = copy(estimator)
    twin.steps = [*leading, (name, with_final_step(last, final))]
    return twin


def is_frozen(estimator: Any) -> bool:
    """Return whether the estimator at the end is not to be fitted."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return isinstance(estimator, FrozenEstimator)


def with_label_order(estimator: Any, y: np.ndarray, order: list[Any] | None) -> Any:
    """Return an estimator that knows the order of the labels, if they came with one.

    Parameters
    ----------
    estimator : estimator
        Only a bottleneck that is told no order gets it.
    y : ndarray of shape (n_samples,)
        Labels, all of them in every fit.
    order : list or None
        What `order_of` says of the labels as they were given.
    """
    model = final_step(estimator)
    if order is None or is_frozen(estimator):
        return estimator
    if getattr(model, "label_order", order) is not None:
        return estimator
    known = set(y.tolist())
    estimator = clone(estimator)
    final_step(estimator).set_params(label_order=[v for v in order if v in known])
    return estimator


def fit_parts(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    label_order: Sequence[Any] | None = None,
    **params: Any,
) -> tuple[Any, Any]:
    """Fit a clone of an estimator; return it and the features its final step saw.

    The final step gets `params` directly, and labels in their order if it reads one.
    Leading steps get the parameters that they request, see `fit_leading`. A frozen step
    is not fitted.
    """
    params = {name: value for name, value in params.items() if value is not None}
    estimator = clone(estimator)
    features = fit_leading(estimator, X, y, **params)
    if not is_frozen(estimator):
        model = final_step(estimator)
        if isinstance(model, LogisticRegression):  # ours says so by itself
            refuse_unreadable(model, features)
            refuse_texts(features, model, type(model).__name__)
        model.fit(features, labels_of(model, y, label_order), **params)
    return estimator, features


def fit_leading(estimator: Any, X: Any, y: Any, **params: Any) -> Any:
    """Fit all but the final step, in place; return the features for that step.

    Leading steps get the `params` that they request: with metadata routing disabled,
    the concepts, if they learn from them.

    Raises
    ------
    TypeError
        If a step resamples.
    """
    _refuse_samplers(estimator)
    params = {name: value for name, value in params.items() if value is not None}
    X = as_read(estimator, X)
    if isinstance(estimator, FrozenEstimator):
        check_is_fitted(estimator.estimator)
        return transform_parts(estimator, X)
    if not isinstance(estimator, Pipeline):
        return X
    if _routing_enabled():
        # Refuses the metadata that the pipeline's own fit would refuse.
        process_routing(estimator, "fit", **params)
    if len(estimator) > 1:
        leading = estimator[:-1]
        _refuse_texts_in_arrow(X)
        _refuse_tables_of_texts(leading[0], X)
        _refuse_missing_texts(leading, X)
        routed = _requested(leading, params)
        # Only metadata routing brings them to the parts of unions and of columns.
        with config_context(enable_metadata_routing=_routing_enabled() or bool(routed)):
            X = leading.fit_transform(X, y, **routed)
        estimator.steps[:-1] = leading.steps
    return fit_leading(estimator.steps[-1][1], X, y, **params)


def transform_parts(estimator: Any, X: Any) -> Any:
    """Return the features that a fitted estimator's final step sees."""
    while isinstance(estimator, Pipeline | FrozenEstimator):
        if isinstance(estimator, Pipeline) and len(estimator) > 1:
            _refuse_missing_texts(estimator, X)
            X = estimator[:-1].transform(X)
        estimator = _inside(estimator)
    return X


def transform_rows(estimator: Any, X: Any) -> Any:
    """Return the features that a fitted estimator's final step sees, one row each.

    Vectorisers of words tell texts by what fails, and read a table as its names.
    """
    X = as_read(estimator, X)
    try:
        features = transform_parts(estimator, X)
    except AttributeError as error:  # of what is no text
        raise TypeError(f"{error}.") from error
    if features is not X and count_rows(features) != count_rows(X):
        raise ValueError(
            "the steps before the classifier make "
            f"{how_many(count_rows(features), 'row')} of {count_rows(X)}. Texts are a "
            "list or a Series, not a table."
        )
    return features


def as_read(estimator: Any, X: Any) -> Any:
    """Return a tensor as an array, except one on a GPU that its model reads there."""
    if is_tensor(X) and X.is_cuda:
        while isinstance(estimator, FrozenEstimator) or (
            isinstance(estimator, Pipeline) and len(estimator) == 1
        ):
            estimator = _inside(estimator)
        if hasattr(estimator, "device"):
            return X
    return as_array("X", X)


def _refuse_samplers(estimator: Any) -> None:
    """Refuse the samplers of imbalanced-learn, which scikit-learn does not know."""
    while isinstance(estimator, Pipeline | FrozenEstimator):
        for name, step in getattr(estimator, "steps", []):
            if hasattr(step, "fit_resample"):
                raise TypeError(
                    f"The step {name!r} of the pipeline is a sampler, "
                    f"{type(step).__name__}. Resampling changes the rows, so that "
                    "influence and weights cannot be matched to them. Leave the step "
                    "out and use weights instead: sample_weight, class_weight or "
                    "InfluenceReweighter."
                )
        estimator = _inside(estimator)


def _refuse_tables_of_texts(step: Any, X: Any) -> None:
    """Refuse a table where a vectoriser would read the names of its columns."""
    if not isinstance(step, CountVectorizer | HashingVectorizer):
        return
    shape = getattr(X, "shape", ())
    if len(shape) == 2:
        name = type(step).__name__
        raise ValueError(
            f"X has shape {tuple(shape)}, but {name} reads one column of texts. Pass "
            "that column, for example X['text'], or put a ColumnTransformer with a "
            f"{name} for each column of texts before the classifier."
        )


def _refuse_missing_texts(step: Any, X: Any, where: str = "") -> None:
    """Refuse a missing text where a vectoriser would read it, and say in which row."""
    if isinstance(step, Pipeline):
        _refuse_missing_texts(step.steps[0][1], X, where)
    elif isinstance(step, FeatureUnion):
        for _, part in step.transformer_list:
            _refuse_missing_texts(part, X, where)
    elif isinstance(step, ColumnTransformer) and isinstance(X, pd.DataFrame):
        for _, part, column in step.transformers:
            if isinstance(column, str) and column in X:
                of_column = f" in the column {column!r}"
                _refuse_missing_texts(part, X[column], of_column)
    elif _reads_texts_alone(step) and getattr(X, "ndim", 1) == 1:
        texts = pd.Series([*X], dtype=object)
        rows = np.flatnonzero(texts.isna())
        if len(rows):
            raise ValueError(
                f"X has a missing text{where}: row {rows[0]} (counted from 0) holds "
                f"{texts[rows[0]]!r}. {type(step).__name__} needs a string in every "
                "row; fill the gaps with '', or drop the rows."
            )


def _reads_texts_alone(step: Any) -> bool:
    """Return whether a step is a vectoriser that can do nothing with a gap."""
    if not isinstance(step, CountVectorizer | HashingVectorizer):
        return False
    is_own = step.preprocessor is None and not callable(step.analyzer)
    return is_own and step.input == "content"


def _refuse_texts_in_arrow(X: Any) -> None:
    """Refuse texts of pyarrow, which are no strings of Python for a vectoriser."""
    if type(X).__module__.partition(".")[0] != "pyarrow":
        return
    table = nw.from_native(X, eager_only=True, allow_series=True)
    types = [table.dtype] if isinstance(table, nw.Series) else table.schema.dtypes()
    if nw.String in types:
        raise TypeError(
            f"X is a {type(X).__name__} of pyarrow with texts, which the steps of "
            "scikit-learn do not read. Pass X.to_pandas()."
        )


def _inside(estimator: Any) -> Any:
    if isinstance(estimator, FrozenEstimator):
        return estimator.estimator
    return estimator.steps[-1][1]


def _requested(leading: Pipeline, params: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that leading steps ask for.

    With metadata routing disabled, a step gets what its class requests by default: the
    concepts, if it learns from them.
    """
    names = get_routing_for_object(leading).consumes("fit_transform", params)
    return {name: params[name] for name in names}
