"""Models that can be explained, in the terms of the concept bottleneck.

scikit-learn's LogisticRegression is a bottleneck without concepts. A fitted model in a
FrozenEstimator is explained as it is, if it is at the optimum of the given data:
elsewhere influence is not defined.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import Pipeline

from .._inputs.annotations import Annotations
from .._inputs.pipelines import final_step, is_frozen
from .._inputs.sklearn import BaseSearchCV
from .._inputs.training_rows import TrainingRows
from .._inputs.wrapper import AroundEstimatorMixin
from .._text.finetune import ConceptEncoder
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.bottleneck import TrainingData, fit_label, relative_gradients
from ..numerics.joint import relative_joint_gradients
from ..numerics.products import dense_rows
from ..numerics.separability import LARGEST, are_separable, programme_size
from ..numerics.sparse import Matrix
from .bottleneck import ConceptBottleneckClassifier
from .fitted import FittedHeads, class_weights

# Largest gradient norm of a frozen model, relative to that of a typical training row.
STATIONARY = 1e-3
_MAX_ITER = 100


def check_explainable(
    estimator: Any, concepts: Any = None, *, name: str = "estimator"
) -> None:
    """Refuse by name what cannot be explained.

    Parameters
    ----------
    estimator : estimator
    concepts : array-like, default=None
    name : str, default="estimator"
        Of the argument.

    Raises
    ------
    TypeError
        If the final step is of another kind, or concepts are given and it takes none.
    ValueError
        If its penalty or solver has no smooth L2 optimum to explain.
    """
    model = final_step(estimator)
    if isinstance(model, type):
        raise TypeError(
            f"{name} must be an instance, got the class {model.__name__}; pass "
            f"{model.__name__}()."
        )
    if isinstance(model, ConceptBottleneckClassifier):
        return
    if isinstance(model, LogisticRegressionCV) or not isinstance(
        model, LogisticRegression
    ):
        remedy = ""
        if isinstance(model, LogisticRegressionCV):
            remedy = " Choose C with it, then explain LogisticRegression(C=...)."
        elif isinstance(model, AroundEstimatorMixin):
            remedy = (
                " Fit it, and explain its estimator_ with its sample_weight_ as "
                "sample_weight."
            )
        elif isinstance(model, BaseSearchCV):
            remedy = " Fit the search, and explain its best_estimator_."
        raise TypeError(
            f"{name} must be a ConceptBottleneckClassifier or a LogisticRegression, "
            "a FrozenEstimator around such a model, or a Pipeline that ends in such a "
            f"model, got {type(model).__name__} at the end.{remedy}"
        )
    if concepts is not None:
        raise TypeError(
            "concepts were given, but LogisticRegression takes none; use "
            "ConceptBottleneckClassifier, or leave concepts out."
        )
    if _l1_ratio(model):
        raise ValueError(
            f"LogisticRegression with an L1 penalty (l1_ratio={_l1_ratio(model):g}) "
            "cannot be explained: its optimum is not smooth. Use l1_ratio=0."
        )
    if model.solver == "liblinear":
        raise ValueError(
            "LogisticRegression(solver='liblinear') cannot be explained: it penalises "
            "the intercept too. Use solver='lbfgs' or 'newton-cholesky'."
        )


def check_class_weights(
    estimator: Any, y: np.ndarray, sample_weight: np.ndarray
) -> None:
    """Refuse balanced weights of a class whose rows all have weight 0.

    scikit-learn divides by the weight of the class, which is 0, and fits to the result.

    Raises
    ------
    ValueError
        If a LogisticRegression at the end of the estimator balances such a class.
    """
    model = final_step(estimator)
    if not isinstance(model, LogisticRegression) or model.class_weight != "balanced":
        return
    lost = np.setdiff1d(y, y[sample_weight > 0])
    if len(lost):
        raise ValueError(
            f"All rows of the class {lost.tolist()[0]!r} have weight 0, so that "
            "LogisticRegression(class_weight='balanced') cannot balance it. Leave out "
            "the rows of that class, give one of them weight, or use class_weight=None."
        )


def training_rows(
    estimator: Any,
    X: Matrix,
    y: np.ndarray,
    sample_weight: np.ndarray,
    annotations: Annotations | None,
) -> TrainingRows:
    """Return what a fitted estimator was trained on, and check that it is converged.

    A LogisticRegression that is not frozen is trained further, in place, to the
    tolerance of a bottleneck. X are the features of the final step.

    Raises
    ------
    ValueError
        If a frozen model does not know a class, or is not at the optimum.
    """
    model = final_step(estimator)
    heads = FittedHeads.of(model)
    frozen = is_frozen(estimator)
    if frozen:
        _check_known(heads, y[sample_weight > 0], annotations)
    is_linear = isinstance(model, LogisticRegression)
    if is_linear:
        weights = class_weights(model.class_weight, heads.classes, y, sample_weight)
        heads = replace(heads, class_weight=weights)
    rows = heads.encode(X, y, sample_weight, annotations)
    data = rows.data()
    if np.isinf(heads.C):
        _check_bounded(heads, data)
    if frozen:
        _check_stationary(heads, rows, _why_not_stationary(estimator))
    elif is_linear:
        _polish(model, heads, data)
    return rows


def _check_known(
    heads: FittedHeads, y: np.ndarray, annotations: Annotations | None
) -> None:
    unknown = sorted(set(np.unique(y).tolist()) - set(heads.classes.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"y has the class {unknown[0]!r}, which the frozen model does not know "
            f"(it knows {heads.classes.tolist()}); pass the labels that it was trained "
            "on."
        )
    if heads.n_concepts and annotations is None:
        raise ValueError(
            "concepts=None, but the frozen model was trained with annotations of "
            f"{', '.join(heads.names)}; pass them."
        )


def _why_not_stationary(estimator: Any) -> str:
    """Return what to know of a model that gives training rows other vectors."""
    if isinstance(estimator, FrozenEstimator):
        return _why_not_stationary(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return next(
            filter(None, (_why_not_stationary(s) for _, s in estimator.steps)), ""
        )
    if not isinstance(estimator, ConceptEncoder) or estimator.n_splits is None:
        return ""
    return (
        " A ConceptEncoder gives its training rows vectors out of fold, and other ones "
        "by transform: keep what its fit_transform returns, and explain the classifier "
        "on that."
    )


def _check_stationary(heads: FittedHeads, rows: TrainingRows, hint: str) -> None:
    bottleneck = heads.tensors(shares=rows.shares)
    if heads.concept_weight is None:
        ratios = relative_gradients(bottleneck, rows.data(), **heads.penalties)
    else:
        ratios = relative_joint_gradients(
            bottleneck,
            rows.data(),
            **heads.penalties,
            concept_weight=heads.concept_weight,
        )
    names = [*heads.names, "label"]
    worst = int(ratios.argmax())
    if not ratios[worst] <= STATIONARY:
        raise ValueError(
            f"The frozen model is not at the optimum of these data: the gradient of "
            f"its {names[worst]!r} head is {float(ratios[worst]):.2g} times that of a "
            f"typical training row, and should be below {STATIONARY:g}. Either X, y, "
            "concepts or weights are not exactly those that it was trained on, or its "
            "fit stopped early: fit it with a smaller tol (and "
            "solver='newton-cholesky' if it is a LogisticRegression), or pass it "
            f"without FrozenEstimator, to have a clone fitted to its optimum.{hint}"
        )


def _check_bounded(heads: FittedHeads, data: TrainingData) -> None:
    """Refuse classes that a linear rule separates, if no penalty bounds the weights."""
    counted = data.counted()
    size = programme_size(len(counted), heads.n_features, len(heads.classes))
    if size > LARGEST:
        warn_user(
            f"With C=inf, influence needs classes that overlap in every direction. "
            f"Whether they do was not decided, because it takes a linear programme "
            f"with {size:,} coefficients; the limit is {LARGEST:,}. Use a finite C "
            "unless you know that they do.",
            InfluenceWarning,
        )
        return
    if are_separable(
        dense_rows(counted.features).numpy(),
        counted.labels.numpy(),
        intercept=heads.label_intercept,
    ):
        raise ValueError(
            "LogisticRegression with C=inf has no optimum on these data: a linear rule "
            "separates the classes, with no row on the wrong side, so that the weights "
            "grow without end. Influence needs an optimum; use a finite C."
        )


def _polish(model: LogisticRegression, heads: FittedHeads, data: TrainingData) -> None:
    bottleneck, fit = fit_label(
        heads.tensors(),
        data,
        penalty=1 / heads.C,
        tol=heads.tol,
        max_iter=_MAX_ITER,
    )
    if not fit.converged.all():
        warn_user(
            "LogisticRegression stopped at a gradient norm of "
            f"{float(fit.gradient_norm):.2g}, above {float(fit.tolerance):.2g}, so its "
            "influence is not exact; scale the features, or lower C.",
            ConvergenceWarning,
        )
    solved = heads.with_parameters(bottleneck)
    model.coef_, model.intercept_ = solved.coef, solved.intercept


def _l1_ratio(model: LogisticRegression) -> float:
    """Return the share of the L1 penalty, in the deprecated spelling too."""
    known = {"l1": 1.0, "l2": 0.0, None: 0.0}
    return known.get(model.penalty, model.l1_ratio or 0.0)
