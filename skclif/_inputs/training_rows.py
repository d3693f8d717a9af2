"""Training rows as they were given, coded as the model codes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from ..numerics.bottleneck import TrainingData
from ..numerics.sparse import Features, Matrix, SparseFeatures
from ..numerics.stored import StoredFeatures, is_mapped
from .soft import Shares

# Bytes; what PyTorch aligns its own memory to.
_ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Training rows as they were given, coded as the model codes.

    Attributes
    ----------
    features : ndarray, SparseFeatures or StoredFeatures
        Of shape (n_samples, n_features).
    labels : ndarray of shape (n_samples,), int64
        Codes. -1 for a row of weight 0 whose class the model does not know.
    weights : ndarray of shape (n_samples,)
        0 for a row that was dropped.
    codes : ndarray of shape (n_samples, n_concepts)
        Of the annotations, or numbers; NaN where there is none.
    concept_weights : ndarray of shape (n_samples, n_concepts)
        By themselves: not yet multiplied with `weights`.
    class_weight : ndarray of shape (n_classes,)
        As computed at fit.
    shares : Shares
        What codes of soft annotations stand for.
    label_weights : ndarray of shape (n_samples,), or None
        Of the labels, by themselves; None for 1.
    """

    features: Matrix
    labels: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    concept_weights: np.ndarray
    class_weight: np.ndarray
    shares: Shares = field(default_factory=dict)
    label_weights: np.ndarray | None = None

    @property
    def weights_of_labels(self) -> np.ndarray:
        """Weights of the label terms, without those of classes, (n_samples,)."""
        if self.label_weights is None:
            return self.weights
        return self.weights * self.label_weights

    def data(self) -> TrainingData:
        """Return the rows with effective weights, as the numerics take them."""
        weights = self.concept_weights * self.weights[:, None]
        annotated = ~np.isnan(self.codes) & (weights > 0)
        labels = np.maximum(self.labels, 0)
        arrays = (
            labels,
            self.weights_of_labels * self.class_weight[labels],
            np.where(annotated, self.codes, 0.0),
            annotated,
            np.where(annotated, weights, 0.0),
        )
        return TrainingData(as_features(self.features), *map(as_tensor, arrays))

    def arrays(self) -> dict[str, Any]:
        """Return the attributes by name, without those that say nothing."""
        found = {part.name: getattr(self, part.name) for part in fields(self)}
        if not self.shares:
            del found["shares"]
        if self.label_weights is None:
            del found["label_weights"]
        return found

    def without_concepts(self, dropped: list[int]) -> TrainingRows:
        """Return the same rows without some of the annotations."""
        return replace(
            self,
            codes=np.delete(self.codes, dropped, axis=1),
            concept_weights=np.delete(self.concept_weights, dropped, axis=1),
        )

    def below(self, rows: TrainingRows) -> TrainingRows:
        """Return `rows` with these below, whose shares begin with those of `rows`."""
        first, second = rows.arrays(), self.arrays()
        if rows.label_weights is not None:
            second["label_weights"] = np.ones(len(self.labels))
        same = {"class_weight": first.pop("class_weight"), "shares": self.shares}
        first.pop("shares", None)
        both = {name: _stacked(part, second[name]) for name, part in first.items()}
        return TrainingRows(**both, **same)


def _stacked(first: Any, second: Any) -> Any:
    """Return the rows of both, sparse if those of the first are."""
    if isinstance(first, SparseFeatures):
        return first.above(second)
    if isinstance(second, SparseFeatures | StoredFeatures):
        second = second.dense().numpy()
    if isinstance(first, StoredFeatures):
        stored, others = first.copy().values, torch.from_numpy(second)
        rounded = others.to(stored.dtype)
        exact = bool((rounded.to(others.dtype) == others).all())
        return StoredFeatures(torch.cat([stored, rounded if exact else others]))
    return np.concatenate([first, second])


def as_features(features: Matrix) -> Features:
    """Return features as the numerics take them."""
    return as_tensor(features) if isinstance(features, np.ndarray) else features


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor, row by row in memory that is aligned alike.

    On some processors the bits of a product depend on both. It is a copy only where
    the array is stored in another way.
    """
    tensor = torch.from_numpy(np.require(array, requirements=["C", "A", "W"]))
    return tensor if tensor.data_ptr() % _ALIGNMENT == 0 else tensor.clone()


def as_given(features: Matrix) -> Any:
    """Return features in a form that estimators take: an array, or a sparse array."""
    if isinstance(features, np.ndarray):
        return features
    if isinstance(features, SparseFeatures):
        return features.matrix
    if isinstance(features, StoredFeatures):
        features = features.gathered()
    return features.cpu().numpy()


def own_copy(checked: Matrix, given: object) -> Matrix:
    """Return features that nobody else can change, stored as `as_tensor` wants them.

    Parameters
    ----------
    checked : ndarray, SparseFeatures or StoredFeatures of shape (n_samples, n_features)
        What was made of `given`, or a view of it. A file is not copied.
    given : object
    """
    if isinstance(checked, SparseFeatures):
        return checked.copy() if checked.shares_memory(given) else checked
    if isinstance(checked, StoredFeatures):
        if checked.values.device.type != "cpu":
            return checked.copy()
        array = checked.values.numpy()
        is_own = isinstance(given, np.ndarray) and not np.may_share_memory(array, given)
        return checked if is_own or is_mapped(given) else checked.copy()
    if isinstance(checked, torch.Tensor):
        return checked.clone()
    tensor = as_tensor(checked)
    is_own = tensor.data_ptr() != checked.ctypes.data or (
        isinstance(given, np.ndarray) and not np.may_share_memory(checked, given)
    )
    own: np.ndarray = (tensor if is_own else tensor.clone()).numpy()
    return own
