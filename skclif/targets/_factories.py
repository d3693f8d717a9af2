"""The functions that make targets of sets of rows."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._inputs.checks import error_context, refuse_masked
from .._inputs.tensors import as_array
from ._target import (
    FUNCTION,
    Target,
    _kept,
    _name_of,
    check_names,
    codes_of,
    index_of,
)


def worst_group_loss(groups: ArrayLike | None = None) -> Target:
    """Make the target that is the mean log-loss of the worst group.

    Parameters
    ----------
    groups : array-like of shape (n_rows,), default=None
        The group of each row of `X`. None is only for
        :class:`~skclif.InfluenceReweighter`, whose `fit` takes `target_groups`.

    Returns
    -------
    target : Target
        In nats; lower is better. It needs `y`.

    See Also
    --------
    demographic_parity_gap : Whether groups get the same predictions.

    Notes
    -----
    "first_order" takes the derivative of the group that is the worst now. "newton" and
    "leverage" find the worst group again without the training row.

    Examples
    --------
    >>> import numpy as np
    >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
    >>> from skclif.targets import worst_group_loss
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(60, 4)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> groups = np.where(X[:, 1] > 0, "phone", "web")
    >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(X, y)
    >>> explainer.influence(X, y, target=worst_group_loss(groups))
    <InfluenceResult on worst-group loss (nats, positive = harmful) by newton: \
1 target x 60 training rows>
    """
    return _of_groups("worst_group_loss", "worst-group loss", "nats", groups)


def demographic_parity_gap(groups: ArrayLike | None = None) -> Target:
    """Make the target that is the gap between groups in what is predicted.

    For each class, the mean predicted probability in the group where it is highest,
    minus that in the group where it is lowest; the largest of the classes. With two
    classes it is the gap of the second class. It is 0 if the groups get the same mean
    probabilities.

    Parameters
    ----------
    groups : array-like of shape (n_rows,), default=None
        The group of each row of `X`, two groups or more. None is only for
        :class:`~skclif.InfluenceReweighter`, whose `fit` takes `target_groups`.

    Returns
    -------
    target : Target
        A difference of probabilities; lower is better. It needs no `y`.

    See Also
    --------
    equalized_odds_gap : The gap among rows of the same label.

    Notes
    -----
    Rates are means of probabilities, not shares of decisions: these do not change with
    a small change of the model. So the number differs from that of libraries that count
    decisions.

    Examples
    --------
    >>> from skclif.targets import demographic_parity_gap
    >>> demographic_parity_gap(["web", "phone", "web"])
    demographic_parity_gap(groups=<'phone', 'web' of 3 rows>)
    """
    return _of_groups(
        "demographic_parity_gap",
        "demographic parity gap",
        "probability",
        groups,
        needs_y=False,
    )


def equalized_odds_gap(groups: ArrayLike | None = None) -> Target:
    """Make the target that is the gap between groups among rows of the same label.

    As :func:`demographic_parity_gap`, but among the rows of one label; the largest over
    labels. With two classes it is the larger gap of the two rates, true positives and
    false positives. Of each label, the groups that have rows are compared.

    Parameters
    ----------
    groups : array-like of shape (n_rows,), default=None
        The group of each row of `X`, two groups or more. None is only for
        :class:`~skclif.InfluenceReweighter`, whose `fit` takes `target_groups`.

    Returns
    -------
    target : Target
        A difference of probabilities; lower is better. It needs `y`.

    See Also
    --------
    demographic_parity_gap : The gap among all rows.

    Examples
    --------
    >>> from skclif.targets import equalized_odds_gap
    >>> equalized_odds_gap(["web", "phone", "web"]).higher_is_better
    False
    """
    return _of_groups("equalized_odds_gap", "equalized odds gap", "probability", groups)


def smooth_auroc(*, temperature: float = 0.25) -> Target:
    """Make the target that is a smooth area under the ROC curve.

    The mean over pairs of rows, one of the class and one of another, of the logistic
    function of the difference of their log-odds, divided by `temperature`. With more
    than two classes, it is the mean over the classes, each against all others.

    Parameters
    ----------
    temperature : float, default=0.25
        A pair counts as in order if its log-odds differ by some times this. Towards 0
        the target is the share of pairs in the right order, which is the area under the
        ROC curve, and has no useful derivative.

    Returns
    -------
    target : Target
        Between 0 and 1; higher is better. It needs `y`.

    See Also
    --------
    worst_group_loss : The loss of the worst group.

    Examples
    --------
    >>> from skclif.targets import smooth_auroc
    >>> smooth_auroc()
    smooth_auroc(temperature=0.25)
    """
    if not isinstance(temperature, Real) or isinstance(temperature, bool | np.bool_):
        raise TypeError(f"temperature must be a number, got {temperature!r}.")
    if not 0 < temperature < np.inf:
        raise ValueError(
            f"temperature={temperature!r} must be above 0 and finite: the difference "
            "of log-odds at which pairs begin to count as in order."
        )
    return Target(
        "smooth AUROC",
        "share of pairs",
        True,
        "smooth_auroc",
        _settings=(("temperature", float(temperature)),),
    )


def expected_cost(matrix: ArrayLike) -> Target:
    """Make the target that is the mean cost of predictions.

    Each row costs the mean of its line of `matrix`, weighted by the predicted
    probabilities.

    Parameters
    ----------
    matrix : array-like of shape (n_classes, n_classes)
        The cost of predicting the class of the column for a row whose label is the
        class of the line, both in the order of `classes_`. Negative costs are gains.
        Lines and columns of a DataFrame that has names are matched by them.

    Returns
    -------
    target : Target
        In the unit of the costs; lower is better. It needs `y`.

    See Also
    --------
    from_function : Any other function of probabilities.

    Examples
    --------
    >>> from skclif.targets import expected_cost
    >>> expected_cost([[0, 1], [5, 0]])
    expected_cost(matrix=((0.0, 1.0), (5.0, 0.0)))
    """
    matrix = as_array("matrix", matrix)
    refuse_masked("matrix", matrix)
    matrix, classes = _by_name(matrix)
    with error_context("matrix", "one line and one column of numbers for each class"):
        costs = np.asarray(matrix, dtype=np.float64)
        if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or len(costs) < 2:
            raise ValueError(f"got an array of shape {costs.shape}.")
        if not np.isfinite(costs).all():
            raise ValueError("it contains NaN or infinity.")
    lines = tuple(map(tuple, costs.tolist()))
    return Target(
        "expected cost",
        "cost",
        False,
        "expected_cost",
        _settings=(("matrix", lines),),
        _classes=classes,
    )


def from_function(
    function: Callable[..., Any],
    *row_values: ArrayLike,
    with_y: bool = False,
    name: str | None = None,
    unit: str | None = None,
    higher_is_better: bool | None = None,
) -> Target:
    """Make a target of any function of predicted probabilities.

    Parameters
    ----------
    function : callable
        ``function(proba, *row_values) -> number``, or with `with_y`
        ``function(proba, y, *row_values)``. `proba` has the predicted probabilities of
        the rows, of shape (n_rows, n_classes), columns in the order of `classes_`. It
        has to work for any part of the rows.
    *row_values : array-like, each with n_rows entries
        What belongs to the rows. Where rows are divided into folds, so are these.
    with_y : bool, default=False
        Whether the labels come after the probabilities: their positions in `classes_`.
    name : str, default=None
        What results call the target; None is the function's name.
    unit : str, default=None
        The unit that results show.
    higher_is_better : bool, default=None
        Whether a rise of the target is good. None is not known: then `helpful` and
        `harmful` of a result are not defined, and neither are suggestions.

    Returns
    -------
    target : Target
        The function as a target.

    See Also
    --------
    worst_group_loss, demographic_parity_gap, equalized_odds_gap, smooth_auroc, \
expected_cost : Targets of the library.

    Notes
    -----
    Whether the function has derivatives is found out by a call. It gets a torch tensor
    (float64, on the CPU) that requires gradients. If it returns a tensor that depends
    on it, torch differentiates it. If it returns another number, it is called with
    tensors and only evaluated. If it fails, it is called with NumPy arrays and only
    evaluated, by method="newton" and "leverage". These call it once for each training
    row, and need no derivatives.

    Examples
    --------
    >>> import torch
    >>> from skclif.targets import from_function
    >>> def focal_loss(proba, y):
    ...     own = proba[torch.arange(len(y)), y]
    ...     return -((1 - own) ** 2 * torch.log(own)).mean()
    >>> from_function(focal_loss, with_y=True, unit="nats", higher_is_better=False)
    from_function(focal_loss, with_y=True, name='focal_loss', unit='nats', \
higher_is_better=False)
    """
    if not callable(function):
        raise TypeError(
            f"function must be a function of predicted probabilities, got {function!r}."
        )
    for what, flag in (("with_y", with_y), ("higher_is_better", higher_is_better)):
        if not isinstance(flag, bool | np.bool_) and (what, flag) != (
            "higher_is_better",
            None,
        ):
            raise TypeError(f"{what} must be True or False, got {flag!r}.")
    for what, text in (("name", name), ("unit", unit)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{what} must be a text or None, got {text!r}.")
    name = _name_of(function) if name is None else name
    return Target(
        name,
        f"units of {name}" if unit is None else unit,
        None if higher_is_better is None else bool(higher_is_better),
        FUNCTION,
        tuple(_by_row(values) for values in row_values),
        _needs_y=bool(with_y),
        _settings=(("with_y", True),) if with_y else (),
        _function=function,
        _indexes=tuple(map(index_of, row_values)),
    )


def _by_name(matrix: Any) -> tuple[Any, tuple[Any, ...] | None]:
    """Return costs with columns in the order of lines, and names if there are any."""
    if not isinstance(matrix, pd.DataFrame):
        return matrix, None
    lines, columns = matrix.index.tolist(), matrix.columns.tolist()
    if lines == columns == list(range(len(matrix))):
        return matrix, None  # an array that pandas has numbered
    if not matrix.index.is_unique or sorted(map(repr, lines)) != sorted(
        map(repr, columns)
    ):
        raise ValueError(
            "matrix is a DataFrame whose lines and columns must both have the classes "
            f"as names, each once; got {lines} and {columns}. Rename them, or pass "
            "matrix.to_numpy() in the order of classes_."
        )
    return matrix[lines], tuple(lines)


def _by_row(values: ArrayLike) -> np.ndarray:
    values = as_array("row_values", values)
    refuse_masked("row_values", values)
    with error_context("row_values", "arrays with one entry for each row"):
        found = np.asarray(values)
    if not found.ndim:
        raise ValueError(
            f"row_values must have one entry for each row, got {values!r}. What is the "
            "same for all rows belongs into the function, for example by "
            "functools.partial."
        )
    return _kept(found)


def _of_groups(
    kind: str, name: str, unit: str, groups: Any, needs_y: bool = True
) -> Target:
    target = Target(name, unit, False, kind, _takes_groups=True, _needs_y=needs_y)
    if groups is None:
        return target
    codes, names = codes_of(groups)
    check_names(kind, names)
    return Target(
        *(name, unit, False, kind, (codes,), names),
        _takes_groups=True,
        _needs_y=needs_y,
        _indexes=(index_of(groups),),
    )
