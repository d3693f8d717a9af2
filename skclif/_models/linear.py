"""Models that can be explained, in the terms of the concept bottleneck.

scikit-learn's LogisticRegression is a bottleneck without concepts. A fitted model in a
FrozenEstimator is taken as it is, if it stands at the optimum of the data it is said
to be trained on: away from it influence is not defined.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.utils.class_weight import compute_class_weight

from .._inputs.pipelines import final_step, is_frozen
from ..exceptions import warn_user
from .bottleneck import ConceptBottleneckClassifier

# Gradient norm of a frozen model, over that of a typical training row.
STATIONARY = 1e-3
_CERTAIN = 1e-5  # largest residual of rows that are told apart
_MAX_ITER = 100


def check_explainable(estimator, concepts=None) -> None:
    """Refuse by name what cannot be explained.

    Raises
    ------
    TypeError
        If the final step is of another kind, or takes no concepts but some are given.
    ValueError
        If its penalty or solver has no smooth L2 optimum to explain.
    """
    model = final_step(estimator)
    if isinstance(model, type):
        raise TypeError(
            f"estimator must be an instance, got the class {model.__name__}; pass "
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
        raise TypeError(
            "estimator must be a ConceptBottleneckClassifier, a LogisticRegression, a "
            "FrozenEstimator around a fitted one, or a Pipeline that ends in one, got "
            f"{type(model).__name__} at the end.{remedy}"
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


def as_bottleneck(model) -> ConceptBottleneckClassifier:
    """Return a fitted model as a bottleneck, the same one if it is one."""
    if isinstance(model, ConceptBottleneckClassifier):
        return model
    twin = ConceptBottleneckClassifier(C=_inverse_penalty(model))
    twin.classes_ = model.classes_
    twin.concept_names_in_ = np.empty(0, dtype=object)
    twin.concept_classes_, twin.n_concepts_ = [], 0
    twin.concept_coef_, twin.concept_intercept_ = [], []
    twin.n_features_in_ = model.n_features_in_
    twin.coef_ = np.asarray(model.coef_, dtype=np.float64)
    twin.intercept_ = np.broadcast_to(model.intercept_, len(twin.coef_)).astype(float)
    twin._label_intercept = model.fit_intercept
    return twin


def class_weights(model, y, sample_weight) -> np.ndarray:
    """Return the weights of the classes that a model was fitted with, (n_classes,)."""
    if isinstance(model, ConceptBottleneckClassifier):
        return model.class_weight_
    return compute_class_weight(
        model.class_weight, classes=model.classes_, y=y, sample_weight=sample_weight
    )


def with_parameters(model, bottleneck, n_iter: int, kept, dropped=()):
    """Return a copy of a fitted model with other parameters.

    Parameters
    ----------
    model : ConceptBottleneckClassifier or LogisticRegression
    bottleneck : numerics.bottleneck.Bottleneck
        Parameters of the concepts that are left.
    n_iter : int
        Newton steps they took.
    kept : sequence of bool
        Which of their heads are as they were, to the last digit; the label's last.
    dropped : sequence of int
        Concepts that are not left.
    """
    old = as_bottleneck(model)
    new = copy(old)
    left = [j for j in range(old.n_concepts_) if j not in dropped]
    new.concept_names_in_ = old.concept_names_in_[left]
    new.concept_classes_ = [old.concept_classes_[j] for j in left]
    new.n_concepts_ = len(left)
    if dropped and old.concept_kinds:
        names, kinds = set(new.concept_names_in_), old.concept_kinds.items()
        new.concept_kinds = {name: kind for name, kind in kinds if name in names}
    new._store(bottleneck)
    for i, j in enumerate(left):
        if kept[i]:
            new.concept_coef_[i] = old.concept_coef_[j]
            new.concept_intercept_[i] = old.concept_intercept_[j]
    if kept[-1]:
        new.coef_, new.intercept_ = old.coef_, old.intercept_
    new.n_iter_ = n_iter
    if isinstance(model, ConceptBottleneckClassifier):
        return new
    twin = copy(model)
    twin.coef_, twin.intercept_ = new.coef_, new.intercept_
    twin.n_iter_ = np.full_like(model.n_iter_, n_iter)
    return twin


def training_data(estimator, X, y, sample_weight, concepts, concept_sample_weight):
    """Return what a fitted estimator was trained on, and see it at the optimum.

    A LogisticRegression that is not frozen is solved on, in place, to where the
    bottleneck would be. X are the features of the final step.

    Raises
    ------
    ValueError
        If a frozen model does not know a class, or is not at the optimum.
    """
    model = final_step(estimator)
    twin = as_bottleneck(model)
    frozen = is_frozen(estimator)
    if frozen:
        _check_known(twin, y, concepts)
    if twin is not model:
        twin.class_weight_ = class_weights(model, y, sample_weight)
    data = twin._training_data(X, y, sample_weight, concepts, concept_sample_weight)
    if frozen:
        _check_stationary(twin, data)
    elif twin is not model:
        _polish(model, twin, data)
    if np.isinf(twin.C):
        _check_bounded(twin, data)
    return data


def _check_known(twin, y, concepts) -> None:
    unknown = sorted(set(np.unique(y).tolist()) - set(twin.classes_.tolist()), key=str)
    if unknown:
        raise ValueError(
            f"y has the class {unknown[0]!r}, which the frozen model does not know "
            f"(it knows {twin.classes_.tolist()}); pass the labels it was trained on."
        )
    if twin.n_concepts_ and concepts is None:
        raise ValueError(
            "concepts=None, but the frozen model was trained with annotations of "
            f"{', '.join(map(str, twin.concept_names_in_))}; pass them."
        )


def _check_stationary(twin, data) -> None:
    from ..numerics.bottleneck import relative_gradients

    ratios = relative_gradients(
        twin._bottleneck(), data, penalty=1 / twin.C, concept_penalty=1 / twin.concept_C
    )
    names = [*map(str, twin.concept_names_in_), "label"]
    worst = int(ratios.argmax())
    if not ratios[worst] <= STATIONARY:
        raise ValueError(
            f"The frozen model is not at the optimum of these data: the gradient of "
            f"its {names[worst]!r} head is {float(ratios[worst]):.2g} times that of a "
            f"typical training row, and should be below {STATIONARY:g}. Either X, y, "
            "concepts or weights are not the very ones it was trained on, or its fit "
            "stopped early: fit it with a smaller tol (and solver='newton-cholesky' if "
            "it is a LogisticRegression), or pass it without FrozenEstimator, to have "
            "a clone fitted and solved."
        )


def _check_bounded(twin, data) -> None:
    """Refuse classes that can be told apart, when no penalty bounds the weights."""
    bottleneck = twin._bottleneck()
    scores = bottleneck.label_scores(data.features)
    residual = bottleneck.label.residual(
        bottleneck.label.probabilities(scores), data.labels
    )
    if residual.abs().max() < _CERTAIN:
        raise ValueError(
            "LogisticRegression with C=inf has no optimum on these data, whose classes "
            "can be told apart without error: its weights grow without end. Influence "
            "needs an optimum; use a finite C."
        )


def _polish(model, twin, data) -> None:
    from ..numerics.bottleneck import refit_label

    bottleneck, fit = refit_label(
        twin._bottleneck(), data, penalty=1 / twin.C, tol=twin.tol, max_iter=_MAX_ITER
    )
    if not fit.converged.all():
        warn_user(
            "LogisticRegression stopped at a gradient norm of "
            f"{float(fit.gradient_norm):.2g}, above {float(fit.tolerance):.2g}, so its "
            "influence is not exact; scale the features, or lower C.",
            ConvergenceWarning,
        )
    twin._store(bottleneck)
    model.coef_, model.intercept_ = twin.coef_, twin.intercept_


def _l1_ratio(model: LogisticRegression) -> float:
    """Return the share of the L1 penalty, also of the deprecated spelling."""
    known = {"l1": 1.0, "l2": 0.0, None: 0.0}
    return known.get(model.penalty, model.l1_ratio or 0.0)


def _inverse_penalty(model: LogisticRegression) -> float:
    return np.inf if model.penalty is None else model.C
