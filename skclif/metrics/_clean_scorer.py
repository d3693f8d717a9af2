"""A scorer that looks only at rows whose labels can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import MetadataRequest

from .._inputs.checks import check_flags, count_rows
from ._by_index import check_index, looked_up

_OF_METRICS = ("y_true", "y")  # what metrics take first; scorers take an estimator
_ROUTING = (
    "With sklearn.set_config(enable_metadata_routing=True) it goes to fit of the "
    "search. Without routing, pass make_clean_scorer(scoring, is_clean=...) a Series "
    "with the index of y."
)


def make_clean_scorer(
    scoring: str | Callable[..., float], *, is_clean: pd.Series | None = None
) -> Callable[..., float]:
    """Make a scorer that looks only at clean rows, for searches and cross-validation.

    Wrong labels prefer wrong models: a search over an
    :class:`~skclif.InfluenceReweighter` that is scored on all rows picks ``strength=0``
    most of the time. Which rows are clean comes with the rows: by metadata routing as
    ``is_clean``, or without it by the index of `y`.

    Parameters
    ----------
    scoring : str or callable
        A name of :func:`sklearn.metrics.get_scorer_names`, or a scorer with the
        signature ``scorer(estimator, X, y, *, sample_weight)``. Clean rows have weight
        1, other rows weight 0; so every class of the fold is known to the score.
    is_clean : Series of bool, default=None
        Which rows are clean, with the index of `y`, for use without metadata routing.

    Returns
    -------
    scorer : callable
        With the signature ``scorer(estimator, X, y, *, is_clean=None)``. It asks for
        ``is_clean`` by metadata routing; ``set_score_request(is_clean="name")`` asks
        for it by another name, that of ``set_fit_request``. In a search, also give
        ``error_score="raise"``: otherwise a search that is not told of clean rows has
        NaN as every score, and takes the first candidate with a warning.

    Raises
    ------
    TypeError
        If the score takes no weights, or `is_clean` is not a Series.
    ValueError
        If `scoring` is unknown, or `is_clean` is not bool or has an index label twice.
        When scoring: if it is not known which rows are clean, or none of them is.

    See Also
    --------
    skclif.InfluenceReweighter : Whose strength this can choose.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif.metrics import make_clean_scorer
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> y = pd.Series([0, 0, 1, 0], index=["a", "b", "c", "d"])
    >>> is_clean = pd.Series([True, True, True, False], index=["a", "b", "c", "d"])
    >>> clf = LogisticRegression(C=100).fit(X, [0, 0, 1, 1])
    >>> clf.score(X, y)
    0.75
    >>> make_clean_scorer("accuracy", is_clean=is_clean)(clf, X, y)
    1.0
    """
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    if not callable(scorer):
        raise TypeError(
            f"scoring must be the name of a score or a scorer, got "
            f"{type(scoring).__name__}."
        )
    if next(iter(signature(scorer).parameters), "") in _OF_METRICS:
        raise TypeError(
            f"scoring={scoring!r} is a metric of labels and predictions, not a scorer; "
            "use the name of a score, or make_scorer(...) around it."
        )
    if not _takes_weights(scorer):
        raise TypeError(
            f"scoring={scoring!r} takes no sample_weight, so it cannot be told which "
            "rows are clean; use a score that takes weights, such as 'neg_log_loss'."
        )
    if is_clean is not None:
        is_clean = _checked(is_clean)
    return _CleanScorer(scorer, is_clean)


@dataclass(frozen=True)
class _CleanScorer:
    """What `make_clean_scorer` returns."""

    scorer: Callable[..., float]
    is_clean: pd.Series | None
    request: bool | str = True

    def set_score_request(self, *, is_clean: bool | str) -> _CleanScorer:
        """Say by which name a search hands ``is_clean`` on, as scikit-learn's scorers.

        Parameters
        ----------
        is_clean : bool or str
            The name that ``set_fit_request(is_clean=...)`` has; True is "is_clean".
        """
        if not isinstance(is_clean, bool | str):
            raise TypeError(
                f"is_clean must be True, False or a name, got {is_clean!r}."
            )
        object.__setattr__(self, "request", is_clean)
        return self

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, *, is_clean: ArrayLike | None = None
    ) -> float:
        """Return the score of the clean rows."""
        n_rows = count_rows(y, "y")
        if is_clean is not None:
            clean = check_flags("is_clean", is_clean, n_rows)
        elif self.is_clean is not None:
            found = looked_up("is_clean", self.is_clean, y, _ROUTING)
            clean = found.to_numpy(bool)
        else:
            raise ValueError(
                f"is_clean is missing. {_ROUTING} If it goes to fit by another name, "
                "say so: make_clean_scorer(scoring).set_score_request(is_clean=name)."
            )
        if not clean.any():
            raise ValueError(
                f"is_clean marks none of the {n_rows} rows to score; use fewer folds, "
                "or folds that are stratified by is_clean."
            )
        return self.scorer(estimator, X, y, sample_weight=clean.astype(float))

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for ``is_clean``, if it is not known already."""
        request = MetadataRequest(owner=self)
        if self.is_clean is None:
            request.score.add_request(param="is_clean", alias=self.request)
        return request

    def __repr__(self) -> str:
        return f"make_clean_scorer({self.scorer!r})"


def _takes_weights(scorer: Any) -> bool:
    """Return whether a scorer takes `sample_weight`; those of scikit-learn say so."""
    function = getattr(scorer, "_score_func", scorer)
    parameters = signature(function).parameters.values()
    return any(
        p.name == "sample_weight" or p.kind is Parameter.VAR_KEYWORD for p in parameters
    )


def _checked(is_clean: Any) -> pd.Series:
    if not isinstance(is_clean, pd.Series):
        raise TypeError(
            "is_clean must be a Series of pandas with the index of y, got "
            f"{type(is_clean).__module__.partition('.')[0]}."
            f"{type(is_clean).__name__}. {_ROUTING}"
        )
    check_index("is_clean", is_clean)
    flags = check_flags("is_clean", is_clean, len(is_clean))
    return pd.Series(flags, index=is_clean.index)


make_clean_scorer.__module__ = "skclif.metrics"
