"""Training rows as a fit has read them, in this process or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._inputs.annotations import Annotations
from .._inputs.checks import (
    check_labels,
    check_row_order,
    check_weight_values,
    check_weights,
    error_context,
)
from .._inputs.features import check_features
from .._inputs.learning import learn
from .._inputs.many_values import MOST_GRADES
from .._inputs.schema import ConceptSchema
from .._inputs.soft import Coded, Shares
from .._inputs.training_rows import TrainingRows
from ..exceptions import ManyValuesWarning, warn_user
from ..numerics.bottleneck import TrainingData
from ..numerics.sparse import Matrix, SparseFeatures
from .fitted import class_weights
from .label_heads import LabelRules


@dataclass(frozen=True, eq=False)
class RowsRead:
    """Training rows as a fit has read them, in this process or on a cluster.

    Attributes
    ----------
    data : TrainingData
        Or RemoteData, which has the same passes.
    classes : ndarray of shape (n_classes,)
    class_weight : ndarray of shape (n_classes,)
    schema : ConceptSchema
    shares : Shares
        What codes of soft annotations stand for.
    rules : LabelRules
    sample_weight : ndarray of shape (n_samples,)
        Empty for rows on a cluster.
    totals : ndarray of shape (n_classes,), or None
        The weights of the rows of each class, added up; None if they are here.
    """

    data: TrainingData
    classes: np.ndarray
    class_weight: np.ndarray
    schema: ConceptSchema
    shares: Shares
    rules: LabelRules
    sample_weight: np.ndarray
    totals: np.ndarray | None = None

    @property
    def label_weights(self) -> np.ndarray:
        """The weight of each class in the label head, (n_classes,)."""
        if self.totals is not None:
            return self.totals * self.class_weight
        weights = self.data.label_weights
        totals = weights.new_zeros(len(self.classes))
        totals.index_add_(0, self.data.labels, weights)
        found: np.ndarray = totals.cpu().numpy()
        return found


def read_in_process(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    concepts: Any,
    concept_sample_weight: Any,
) -> RowsRead:
    """Check the arguments of a fit, and code the rows."""
    check_row_order(
        X=X,
        y=y,
        sample_weight=sample_weight,
        concepts=concepts,
        concept_sample_weight=concept_sample_weight,
    )
    X, given = check_features(model, X, reset=True), y
    y = check_labels(y, len(X), warn=True)
    classes = known_classes(y, len(y))
    sample_weight = check_weights(sample_weight, X)
    weights_of_classes = checked_class_weights(model, classes, y, sample_weight)
    annotations = Annotations.read(concepts, concept_sample_weight, len(X))
    if model.residual_C is not None:
        check_residual(model.residual_C, has_concepts=annotations is not None)
        _check_dense(model.residual_C, X)
    schema, coded = ConceptSchema(), Coded(np.empty((len(X), 0)), {})
    if annotations is not None:
        schema, coded = learn(annotations, sample_weight, model.concept_kinds)
    rules = LabelRules.read(model, given, classes, schema, annotations)
    data = TrainingRows(
        X,
        np.searchsorted(classes, y),
        sample_weight,
        coded.codes,
        coded.codes if annotations is None else annotations.weights,
        weights_of_classes,
        coded.shares,
    ).data()
    return RowsRead(
        data, classes, weights_of_classes, schema, coded.shares, rules, sample_weight
    )


def known_classes(y: np.ndarray, n_rows: int) -> np.ndarray:
    """Return the classes of checked labels, or of some that stand for `n_rows`.

    Raises
    ------
    ValueError
        If there is one class only.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        raise ValueError(
            "y needs at least 2 classes, but the data contains only one class: "
            f"{classes.tolist()[0]!r}."
        )
    _warn_of_amounts(classes, n_rows)
    return classes


def checked_class_weights(
    model: Any, classes: np.ndarray, y: np.ndarray, sample_weight: np.ndarray
) -> np.ndarray:
    """Return the weight of each class in the label head, (n_classes,)."""
    with error_context("class_weight", "a dict of labels to numbers"):
        weights = class_weights(model.class_weight, classes, y, sample_weight)
    check_weight_values("class_weight", weights)
    return weights


def check_residual(residual_C: float, *, has_concepts: bool) -> None:
    """Refuse a residual beside concepts that are not there."""
    if not has_concepts:
        raise ValueError(
            f"residual_C={residual_C} needs concepts: it is for what they do not hold, "
            "and without them the label head sees the features as they are. Pass "
            "concepts= to fit, or leave residual_C=None."
        )


def _check_dense(residual_C: float, X: Matrix) -> None:
    if isinstance(X, SparseFeatures):
        raise ValueError(
            f"residual_C={residual_C} needs dense features, got a sparse X of "
            f"{X.shape[1]:,} features. Put TruncatedSVD before the classifier, convert "
            "X by X.toarray() if it is small, or leave residual_C=None."
        )


def _warn_of_amounts(classes: np.ndarray, n_rows: int) -> None:
    """Warn of so many whole numbers that they are amounts rather than classes."""
    # scikit-learn speaks of labels of which there are nearly as many as rows.
    if classes.dtype.kind in "iuf" and MOST_GRADES < len(classes) <= n_rows / 2:
        warn_user(
            f"y has {len(classes)} different numbers in {n_rows} rows, and each is a "
            "class of its own. If they are amounts, cut them into a few classes, for "
            "example by pandas.cut, or use them as a continuous concept.",
            ManyValuesWarning,
        )
