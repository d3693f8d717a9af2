"""What every method of a fitted bottleneck needs: its heads, and features for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._inputs.devices import resolve_device
from .._inputs.features import check_features
from .._inputs.tensors import numbers_of
from .._inputs.training_rows import as_features, as_tensor
from ..numerics.bottleneck import Bottleneck
from ..numerics.products import dense_rows
from ..numerics.sparse import Features
from ..numerics.stored import StoredFeatures
from .fitted import FittedHeads
from .label_heads import LabelRules


class BottleneckState:
    """What `fit` keeps, for the methods of the bottleneck.

    Attributes are described in :class:`ConceptBottleneckClassifier`.
    """

    bottleneck: str
    device: str
    classes_: np.ndarray
    concept_names_in_: np.ndarray
    n_concepts_: int
    coef_: np.ndarray
    intercept_: np.ndarray
    intervention_prob_: float
    # Arrays, or None where a model has no such thing.
    concept_classes_: list[Any]
    residual_coef_: Any
    label_order_: Any
    # Accuracy and loss on training rows: with predicted concepts, and with annotations.
    _correction: np.ndarray | None

    def _is_latent(self) -> bool:
        """Whether all classes share one direction of the activations."""
        return LabelRules.of(self).is_latent(len(self.classes_))

    def _on_device(self, X: Any) -> tuple[Bottleneck, Features]:
        X = check_features(self, X, reset=False)
        device = resolve_device(self.device, X)
        return FittedHeads.of(self).tensors(device), as_features(X).to(device)

    def _residual_logits(self, X: Any) -> np.ndarray:
        """Return what goes past the concepts, shaped like `coef_` for every row."""
        _, features = self._on_device(X)
        residual = self.residual_coef_.T
        if not isinstance(features, StoredFeatures):
            return numbers_of(dense_rows(features)) @ residual
        weights = as_tensor(residual).to(features.device)
        return numbers_of(features.mapped(lambda rows: rows @ weights))

    def _label_inputs(self, X: Any) -> np.ndarray:
        """Return the activations, and beside them what the residual sees."""
        bottleneck, features = self._on_device(X)
        return numbers_of(dense_rows(bottleneck.activations(features)))

    def _require_concepts(self, method: str) -> None:
        if not self.n_concepts_:
            raise ValueError(
                f"{method} needs a model with concepts, but this one was fitted "
                "without; pass concepts= to fit."
            )
