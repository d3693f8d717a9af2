"""Training rows as a fit has read them, in this process or on a cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._inputs.many_values import MOST_GRADES
from .._inputs.schema import ConceptSchema
from .._inputs.soft import Shares
from ..exceptions import ManyValuesWarning, warn_user
from ..numerics.bottleneck import TrainingData
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


def warn_of_amounts(classes: np.ndarray, n_rows: int) -> None:
    """Warn of so many whole numbers that they are amounts rather than classes."""
    # scikit-learn speaks of labels of which there are nearly as many as rows.
    if classes.dtype.kind in "iuf" and MOST_GRADES < len(classes) <= n_rows / 2:
        warn_user(
            f"y has {len(classes)} different numbers in {n_rows} rows, and each is a "
            "class of its own. If they are amounts, cut them into a few classes, for "
            "example by pandas.cut, or use them as a continuous concept.",
            ManyValuesWarning,
        )
