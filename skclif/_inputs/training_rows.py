"""Training rows as they were given, coded as the model codes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from ..numerics.bottleneck import TrainingData
from .annotations import concept_table, value_code
from .checks import check_annotation_weights


@dataclass(frozen=True)
class TrainingSet:
    """Training rows as they were given, coded as the model codes.

    Attributes
    ----------
    features : ndarray of shape (n_samples, n_features)
    labels : ndarray of shape (n_samples,), int64
        Codes.
    weights : ndarray of shape (n_samples,)
        0 for a row that was dropped.
    codes : ndarray of shape (n_samples, n_concepts)
        Of the annotations, or numbers; NaN where there is none.
    concept_weights : ndarray of shape (n_samples, n_concepts)
        By themselves: not yet multiplied with `weights`.
    class_weight : ndarray of shape (n_classes,)
        As computed at fit.
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    concept_weights: np.ndarray
    class_weight: np.ndarray

    @classmethod
    def given(
        cls, model, data: TrainingData, weights, class_weight, concepts, concept_weights
    ) -> TrainingSet:
        """Return what `fit` was given, also of rows and annotations of weight 0.

        `data` is the same with effective weights.
        """
        codes = np.where(data.annotated.numpy(), data.concepts.numpy(), np.nan)
        own = np.ones(codes.shape)
        if codes.shape[1]:
            table = concept_table(concepts)
            own = check_annotation_weights(concept_weights, table)
            unread = table.notna().to_numpy() & (data.concept_weights.numpy() == 0)
            for i, j in zip(*np.nonzero(unread), strict=True):
                # What has no weight may be anything; it counts if it is known.
                code = value_code(model.concept_classes_[j], table.iat[i, j])
                codes[i, j] = np.nan if code is None else code
        return cls(
            data.features.numpy(),
            data.labels.numpy(),
            np.asarray(weights),
            codes,
            own,
            np.asarray(class_weight),
        )

    def data(self) -> TrainingData:
        """Return the rows with effective weights, as the numerics take them."""
        from ..numerics.bottleneck import TrainingData

        weights = self.concept_weights * self.weights[:, None]
        annotated = ~np.isnan(self.codes) & (weights > 0)
        arrays = (
            self.features,
            self.labels,
            self.weights * self.class_weight[self.labels],
            np.where(annotated, self.codes, 0.0),
            annotated,
            np.where(annotated, weights, 0.0),
        )
        return TrainingData(*map(torch.from_numpy, arrays))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the attributes by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def without_concepts(self, dropped: list[int]) -> TrainingSet:
        """Return the same rows without some of the annotations."""
        return replace(
            self,
            codes=np.delete(self.codes, dropped, axis=1),
            concept_weights=np.delete(self.concept_weights, dropped, axis=1),
        )

    def below(self, rows: TrainingSet) -> TrainingSet:
        """Return `rows` with these below."""
        both = {
            name: np.concatenate([part, self.arrays()[name]])
            for name, part in rows.arrays().items()
        }
        return TrainingSet(**{**both, "class_weight": rows.class_weight})
