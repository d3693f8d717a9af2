"""How well influence predicts what retraining does, for influence from any library.

The linear datamodeling score is that of Park et al. (2023), arXiv 2303.14186.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t
from sklearn.base import clone
from sklearn.metrics import check_scoring, log_loss, make_scorer
from sklearn.utils import check_array, check_random_state, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.parallel import Parallel, delayed

from .._inputs.checks import (
    check_labels,
    check_row_order,
    count_rows,
    error_context,
    refuse_masked,
)
from .._inputs.orders import order_of
from .._inputs.pipelines import is_frozen, with_label_order
from .._inputs.progress import Progress, counted
from .._inputs.sklearn import (
    HasMethods,
    Interval,
    _check_method_params,
    _routing_enabled,
    _safe_indexing,
    validate_params,
)
from .._inputs.tensors import as_array
from .._results.influence import InfluenceResult
from .._results.ranks import spearman
from .._results.removal import LinearDatamodelingScore, RemovalCurve
from .._results.words import how_many
from ._losses import log_losses

_CONFIDENCE = 0.95

Influence: TypeAlias = ArrayLike | InfluenceResult


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "params": [dict, None],
        "subset_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_subsets": [Interval(Integral, 5, None, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def linear_datamodeling_score(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    influence: Influence | dict[Any, Influence],
    *,
    X_test: Any,
    y_test: ArrayLike,
    params: dict[str, Any] | None = None,
    subset_fraction: float = 0.5,
    n_subsets: int = 50,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> LinearDatamodelingScore | dict[Any, LinearDatamodelingScore]:
    """Score influence by how well it ranks random training subsets.

    The estimator is retrained on random subsets of the training rows. A target's score
    is the Spearman correlation, over subsets, of its loss with the sum of the influence
    of the subset's rows on it.

    Parameters
    ----------
    estimator : classifier or pipeline
        The estimator whose influence is scored. It is cloned and retrained; it needs
        `predict_proba`.
    X : array-like of shape (n_train, n_features) or (n_train,)
        Training rows: what the estimator takes, features or texts.
    y : array-like of shape (n_train,)
        Their labels.
    influence : array-like of shape (n_targets, n_train), InfluenceResult or dict
        Effect of a training row's presence on the log-loss of a test row, in any unit
        and on any scale; positive = harmful. Negate scores of the other sign. An
        :class:`InfluenceResult` must be on the log-loss and hold all training rows. The
        entries of a dict are scored with the same retrained models.
    X_test : array-like of shape (n_targets, n_features) or (n_targets,)
        The rows whose loss `influence` is on.
    y_test : array-like of shape (n_targets,)
        Their labels.
    params : dict, default=None
        Further parameters of `fit`, as in
        :func:`~sklearn.model_selection.cross_validate`: entries with a row for each row
        of `X` are sliced with it, others are passed whole. With metadata routing they
        are routed to the estimator. Without, name the step, as in
        ``{"conceptbottleneckclassifier__concepts": concepts}``.
    subset_fraction : float, default=0.5
        Share of the training rows in a subset.
    n_subsets : int, default=50
        Number of subsets, and of retrained models; 5 or more.
    random_state : int, RandomState instance or None, default=None
        Draws the subsets. With an int, every call draws the same subsets.
    n_jobs : int, default=None
        Number of models that are retrained at the same time; None for 1, or as set by
        :func:`joblib.parallel_config`; -1 for all processors.
    verbose : int, default=0
        If positive, show progress on stderr, with the time left, as soon as the call
        has taken two seconds.

    Returns
    -------
    result : LinearDatamodelingScore or dict
        With `score`, its `interval` and the scores `per_target`; near 1 is good. For a
        dict of influences, a dict of results with the same keys.

    Raises
    ------
    ValueError
        If `influence` has another shape, lacks training rows or is not on the log-loss;
        if a subset is too small for one row of every class; or if retraining changes no
        loss.

    See Also
    --------
    removal_curve : Scores after removing the most harmful rows.

    Notes
    -----
    A subset is the start of a random permutation of the rows. If it lacks a class, the
    first row of that class replaces the last row of the subset, because a model without
    a class has no probability for it. The only row of a class is thus in every subset,
    and its influence is not judged.

    A target scores 0 if its loss or its summed influence is the same for all subsets.

    The interval is a jackknife over subsets: the score that more subsets could give for
    the same targets, not for other targets. With few subsets it is rough.

    References
    ----------
    .. [1] S. M. Park, K. Georgiev, A. Ilyas, G. Leclerc and A. Madry (2023). TRAK:
       attributing model behavior at scale. ICML. arXiv 2303.14186.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import ConceptInfluenceExplainer
    >>> from skclif.metrics import linear_datamodeling_score
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(80, 3)
    >>> y = (X[:, 0] + rng.randn(80) > 0).astype(int)
    >>> clf = LogisticRegression()
    >>> explainer = ConceptInfluenceExplainer(clf).fit(X[:60], y[:60])
    >>> influence = explainer.influence(X[60:], y[60:])
    >>> result = linear_datamodeling_score(
    ...     clf, X[:60], y[:60], influence, X_test=X[60:], y_test=y[60:], random_state=0
    ... )
    >>> bool(result.score > 0.9)
    True
    """
    label_order = order_of(y)
    X, y, X_test, y_test = _check_data(estimator, X, y, X_test, y_test)
    estimator = with_label_order(estimator, y, label_order)
    given = influence if isinstance(influence, dict) else {None: influence}
    if not given:
        raise ValueError("influence is an empty dict; give it one influence or more.")
    checked = {
        key: _check_influence(value, len(y), n_targets=len(y_test), key=key)
        for key, value in given.items()
    }
    size = round(subset_fraction * len(y))
    _check_room(
        size, y, f"subset_fraction={subset_fraction!r} leaves {how_many(size, 'row')}"
    )
    rng = check_random_state(random_state)
    subsets = np.stack([_random_order(y, rng)[:size] for _ in range(n_subsets)])
    subsets.sort(axis=1)
    measured = _retrain(
        estimator,
        X,
        y,
        list(subsets),
        params=params,
        caller="linear_datamodeling_score",
        measure=_losses,
        on=(X_test, y_test),
        n_jobs=n_jobs,
        verbose=verbose,
    )
    losses = np.stack(measured, axis=1)
    _check_changed(losses)
    results = {key: _score(each, subsets, losses) for key, each in checked.items()}
    return results if isinstance(influence, dict) else results[None]


@validate_params(
    {
        "estimator": [HasMethods(["fit", "predict"])],
        "params": [dict, None],
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=False,
)
def removal_curve(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    influence: Influence,
    *,
    X_test: Any,
    y_test: ArrayLike,
    params: dict[str, Any] | None = None,
    removal_sizes: ArrayLike = (0.05, 0.1, 0.2, 0.3),
    scoring: Any = ("neg_log_loss", "accuracy"),
    n_repeats: int = 5,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> RemovalCurve:
    """Retrain without the most harmful, the most helpful and random rows.

    Rows are ordered by the mean of their influence over the targets.

    Parameters
    ----------
    estimator : classifier or pipeline
        The estimator whose influence is used; it is cloned and retrained.
    X : array-like of shape (n_train, n_features) or (n_train,)
        Training rows: what the estimator takes, features or texts.
    y : array-like of shape (n_train,)
        Their labels.
    influence : array-like of shape (n_targets, n_train) or InfluenceResult
        Effect of a training row's presence on losses; positive = harmful. Negate scores
        of the other sign. Use targets that are not rows of `X_test`: rows that choose
        what is removed gain more than others.
    X_test : array-like of shape (n_test, n_features) or (n_test,)
        The rows on which models are scored.
    y_test : array-like of shape (n_test,)
        Their labels.
    params : dict, default=None
        Further parameters of `fit`; see :func:`linear_datamodeling_score`.
    removal_sizes : array-like of float or int, default=(0.05, 0.1, 0.2, 0.3)
        Sizes of the removals: shares of the training rows, or numbers of rows.
    scoring : str, callable, list, tuple or dict, default=("neg_log_loss", "accuracy")
        Names of scorers, a scorer, or a dict of scorers by name; as in
        :func:`~sklearn.model_selection.cross_validate`. Higher is better.
    n_repeats : int, default=5
        Number of random orders.
    random_state : int, RandomState instance or None, default=None
        Draws the random orders.
    n_jobs : int, default=None
        Number of models that are retrained at the same time; see
        :func:`linear_datamodeling_score`.
    verbose : int, default=0
        If positive, show progress on stderr, with the time left, as soon as the call
        has taken two seconds.

    Returns
    -------
    curve : RemovalCurve
        Scores by order and number of removed rows, from 0.

    Raises
    ------
    ValueError
        If `influence` does not have one column for each training row, or a removal
        would leave no row of some class.

    See Also
    --------
    RemovalCurveDisplay : Draws the result.
    linear_datamodeling_score : Scores influence on every target.

    Notes
    -----
    Rows with equal influence are removed in their order in `X`. The random orders keep
    one random row of every class, so that a model can be trained.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import ConceptInfluenceExplainer
    >>> from skclif.metrics import removal_curve
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(180, 3)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> train, dev, test = slice(0, 60), slice(60, 120), slice(120, 180)
    >>> y[:6] = 1 - y[:6]
    >>> clf = LogisticRegression()
    >>> explainer = ConceptInfluenceExplainer(clf).fit(X[train], y[train])
    >>> curve = removal_curve(
    ...     clf,
    ...     X[train],
    ...     y[train],
    ...     explainer.influence(X[dev], y[dev]),
    ...     X_test=X[test],
    ...     y_test=y[test],
    ...     removal_sizes=[6],
    ...     random_state=0,
    ... )
    >>> curve
    <RemovalCurve of neg_log_loss, accuracy: up to 6 of 60 rows removed; harmful, \
helpful, 5 random>
    >>> frame = curve.to_frame().query("n_removed == 6")
    >>> frame.groupby("order")["neg_log_loss"].mean().idxmax()
    'harmful'
    """
    label_order = order_of(y)
    X, y, X_test, y_test = _check_data(estimator, X, y, X_test, y_test)
    estimator = with_label_order(estimator, y, label_order)
    harm = _check_influence(influence, len(y)).mean(axis=0)
    sizes = _check_sizes(removal_sizes, y)
    scorer = _check_scorer(estimator, scoring, np.unique(y))
    rng = check_random_state(random_state)
    # Rows in the order in which they are kept: the first are removed last.
    orders = [
        ("harmful", np.argsort(harm, kind="stable")),
        ("helpful", np.argsort(-harm, kind="stable")),
        *(("random", _random_order(y, rng)) for _ in range(n_repeats)),
    ]
    kept = [np.arange(len(y))]
    for name, order in orders:
        _check_classes_stay(order, y, sizes[-1], name)
        kept += [np.sort(order[: len(y) - size]) for size in sizes]
    rows = _retrain(
        estimator,
        X,
        y,
        kept,
        params=params,
        caller="removal_curve",
        measure=scorer,
        on=(X_test, y_test),
        n_jobs=n_jobs,
        verbose=verbose,
    )
    return RemovalCurve(
        n_removed=np.r_[0, sizes],
        orders=tuple(name for name, _ in orders),
        scores={name: _curves([row[name] for row in rows], orders) for name in rows[0]},
        n_train=len(y),
    )


def _random_order(y: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Return a random permutation of the rows that starts with one of every class.

    If the first rows of the plain permutation hold every class, they are the same set
    here: a start of this order is then an unrestricted random subset.
    """
    order = rng.permutation(len(y))
    _, first = np.unique(y[order], return_index=True)
    return np.concatenate([order[first], np.delete(order, first)])


def _retrain(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    subsets: Sequence[np.ndarray],
    *,
    params: dict[str, Any] | None,
    caller: str,
    measure: Callable[[Any, Any, np.ndarray], Any],
    on: tuple[Any, np.ndarray],
    n_jobs: int | None,
    verbose: int,
) -> list[Any]:
    """Return the measure of a clone fitted on each subset of the rows."""
    params = _route(estimator, params or {}, caller)
    measured = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_fit_and_measure)(clone(estimator), X, y, rows, params, measure, on)
        for rows in subsets
    )
    with Progress(verbose).stage("Retraining", len(subsets)) as advance:
        return list(counted(measured, advance))


def _route(estimator: Any, params: dict[str, Any], caller: str) -> dict[str, Any]:
    """Return those of the user's parameters that the estimator's `fit` gets."""
    if not _routing_enabled():
        return params
    router = MetadataRouter(owner=caller).add(
        estimator=estimator,
        method_mapping=MethodMapping().add(caller="fit", callee="fit"),
    )
    return process_routing(router, "fit", **params).estimator.fit


def _fit_and_measure(
    estimator: Any,
    X: Any,
    y: np.ndarray,
    rows: np.ndarray,
    params: dict[str, Any],
    measure: Callable[[Any, Any, np.ndarray], Any],
    on: tuple[Any, np.ndarray],
) -> Any:
    try:
        sliced = _check_method_params(X, params, rows)
        estimator.fit(_safe_indexing(X, rows), y[rows], **sliced)
    except Exception as error:
        error.add_note(f"This came up in retraining on {len(rows)} of {len(y)} rows.")
        raise
    lacking = np.setdiff1d(y, estimator.classes_)
    if len(lacking):
        raise ValueError(
            f"Retrained on {len(rows)} of {len(y)} rows, the estimator does not know "
            f"the class {lacking.tolist()[0]!r}, which was among them; its classes are "
            f"{list(estimator.classes_)}. Does it drop rows, or have they no weight?"
        )
    return measure(estimator, *on)


def _losses(estimator: Any, X_test: Any, y_test: np.ndarray) -> np.ndarray:
    """Return the log-loss of every test row."""
    proba = estimator.predict_proba(X_test)
    return log_losses(proba, np.searchsorted(estimator.classes_, y_test))


def _check_changed(losses: np.ndarray) -> None:
    """Refuse losses that are the same after every retraining."""
    if not np.ptp(losses, axis=1).any():
        raise ValueError(
            f"Retraining on {how_many(losses.shape[1], 'subset')} left the loss of "
            "every target as "
            "it was, so there is nothing to predict. Does the estimator learn from "
            "the rows it is given, or is a fitted model frozen inside?"
        )


def _score(
    influence: np.ndarray, subsets: np.ndarray, losses: np.ndarray
) -> LinearDatamodelingScore:
    """Return how well sums of influence rank the losses, with a jackknife interval."""
    member = np.zeros((len(subsets), influence.shape[1]))
    np.put_along_axis(member, subsets, 1, axis=1)
    sums = influence @ member.T
    per_target = _scores(sums, losses)
    score, n = per_target.mean(), len(subsets)
    without = np.array(
        [
            _scores(np.delete(sums, s, axis=1), np.delete(losses, s, axis=1)).mean()
            for s in range(n)
        ]
    )
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    reach = student_t.ppf((1 + _CONFIDENCE) / 2, n - 1) * error
    low, high = np.clip([score - reach, score + reach], -1, 1)
    return LinearDatamodelingScore(
        float(score), (float(low), float(high)), per_target, subsets, losses
    )


def _scores(sums: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return the rank correlation of each target; 0 if one side is constant."""
    return np.nan_to_num(spearman(sums, losses))


def _curves(values: list[float], orders: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Return scores (n_orders, n_sizes) from that without removal and the others."""
    before, *after = values
    curves = np.reshape(after, (len(orders), -1))
    return np.column_stack([np.full(len(orders), before), curves])


def _check_data(
    estimator: Any, X: Any, y: Any, X_test: Any, y_test: Any
) -> tuple[Any, np.ndarray, Any, np.ndarray]:
    """Return rows that can be sliced, and labels as arrays."""
    if is_frozen(estimator):
        raise ValueError(
            "estimator is frozen, so it cannot be retrained. Give the estimator inside "
            "the FrozenEstimator."
        )
    check_row_order(X=X, y=y)
    check_row_order(X_test=X_test, y_test=y_test)
    y = check_labels(y, count_rows(X))
    n_test = count_rows(X_test, "X_test")
    y_test = check_labels(y_test, n_test, name="y_test", of="X_test")
    unknown = np.setdiff1d(y_test, y)
    if len(unknown):
        raise ValueError(
            f"y_test has the class {unknown.tolist()[0]!r}, which no row of y has; a "
            f"model trained on y cannot predict it. Classes of y: "
            f"{np.unique(y).tolist()}."
        )
    (X,) = indexable(as_array("X", X))
    return X, y, as_array("X_test", X_test), y_test


def _check_influence(
    influence: Any, n_train: int, n_targets: int | None = None, key: Any = None
) -> np.ndarray:
    """Return influence of shape (n_targets, n_train), in float64."""
    name = "influence" if key is None else f"influence[{key!r}]"
    if isinstance(influence, InfluenceResult):
        influence = _totals(influence, name)
    influence = as_array(name, influence)
    refuse_masked(name, influence)
    expected = f"({'n_targets' if n_targets is None else n_targets}, {n_train})"
    with error_context("influence", f"an array of numbers, of shape {expected}"):
        influence = check_array(influence, dtype=np.float64, input_name=name)
    n_rows, n_columns = influence.shape
    if n_columns != n_train or n_targets not in (None, n_rows):
        transposed = n_rows == n_train and n_targets in (None, n_columns)
        raise ValueError(
            f"{name} has shape {influence.shape}, but must have shape {expected}: one "
            "row for each target, one column for each row of X."
            + (" It looks transposed; pass its .T." if transposed else "")
        )
    return influence


def _totals(result: InfluenceResult, name: str) -> np.ndarray:
    """Return influence on the loss of whole rows, all of them."""
    for kept, argument in ((result.rows, "top"), (result.groups, "groups")):
        if kept is not None:
            raise ValueError(
                f"{name} was computed with {argument}=…, but the influence of every "
                f"training row is needed. Compute it without {argument}."
            )
    if not result.target.endswith("log-loss"):
        raise ValueError(
            f"{name} is on the {result.target}, but it is judged by the log-loss. "
            "Compute it with target='loss'."
        )
    return result.totals


def _check_sizes(removal_sizes: ArrayLike, y: np.ndarray) -> np.ndarray:
    """Return numbers of rows, sorted and each once."""
    removal_sizes = as_array("removal_sizes", removal_sizes)
    with error_context("removal_sizes", "a list of shares or numbers of rows"):
        sizes = np.unique(np.asarray(removal_sizes))
    if sizes.dtype.kind == "f" and sizes.size and ((sizes > 0) & (sizes < 1)).all():
        sizes = np.unique(np.maximum(1, np.rint(sizes * len(y)).astype(int)))
    if sizes.dtype.kind not in "iu" or not sizes.size or sizes[0] < 1:
        raise ValueError(
            f"removal_sizes={removal_sizes!r} must be shares of the training rows, "
            "between 0 and 1, or whole numbers of rows, 1 or more."
        )
    left = len(y) - sizes[-1]
    _check_room(
        left, y, f"removal_sizes: removing {sizes[-1]} leaves {how_many(left, 'row')}"
    )
    return sizes


def _check_room(n_rows: int, y: np.ndarray, cause: str) -> None:
    n_classes = len(np.unique(y))
    if not n_classes <= n_rows:
        raise ValueError(
            f"{cause} of {len(y)}, but every model needs one of each of the "
            f"{n_classes} classes. Leave more rows."
        )


def _check_classes_stay(order: np.ndarray, y: np.ndarray, most: int, name: str) -> None:
    """Refuse to remove the last row of a class."""
    classes, first = np.unique(y[order], return_index=True)
    removable = len(y) - 1 - first.max()
    if most > removable:
        raise ValueError(
            f"removal_sizes: removing the {most} most {name} rows leaves none of the "
            f"class {classes[first.argmax()].item()!r}, for which a model then has no "
            f"probability. Remove at most {removable}."
        )


def _check_scorer(estimator: Any, scoring: Any, classes: np.ndarray) -> Any:
    """Return a scorer that returns a dict of scores by name."""
    if isinstance(scoring, str):
        scoring = [scoring]
    elif scoring is None or callable(scoring):
        scoring = {getattr(scoring, "__name__", "score"): scoring}
    if isinstance(scoring, list | tuple) and "neg_log_loss" in scoring:
        # The scorer of that name refuses test rows that lack a class.
        own = make_scorer(
            log_loss,
            greater_is_better=False,
            response_method="predict_proba",
            labels=classes,
        )
        scoring = {name: own if name == "neg_log_loss" else name for name in scoring}
    return check_scoring(estimator, scoring=scoring)


linear_datamodeling_score.__module__ = "skclif.metrics"
removal_curve.__module__ = "skclif.metrics"
