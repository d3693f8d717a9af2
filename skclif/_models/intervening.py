"""Predictions with known concepts, and whether a model gets worse by them."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from .._inputs.annotations import Annotations
from .._inputs.checks import check_row_order
from .._inputs.devices import resolve_device
from .._inputs.features import check_features
from .._inputs.tensors import numbers_of
from .._inputs.training_rows import as_features
from ..exceptions import InterventionWarning, warn_user
from ..numerics.bottleneck import Bottleneck, TrainingData, correction
from ..numerics.stored import StoredFeatures
from .fitted import FittedHeads
from .fitted_state import BottleneckState

# Models whose users were warned of correcting concepts.
_WARNED: WeakSet[Any] = WeakSet()


class InterveningMixin(BottleneckState):
    """Predictions of a fitted bottleneck with known concepts."""

    def intervene(self, X: Any, concepts: Any) -> np.ndarray:
        """Predict the label as if the values of some concepts were known.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        concepts : array-like of shape (n_samples, n_concepts)
            Known values. If a value is missing (NaN, None, ``pandas.NA``), the
            prediction is used. Soft annotations, in columns as in `fit`, are known
            shares of values. A DataFrame may leave out concepts.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float64
            Probabilities of the labels.

        Raises
        ------
        TypeError
            If `concepts` is None, a dict or text.
        ValueError
            If a value was never seen in `fit`, lengths differ, or the bottleneck is
            "logit".

        Warns
        -----
        InterventionWarning
            Once, if the label head was trained on predicted concepts alone, and does
            worse on its training rows with their annotations in place of predictions.
        """
        check_is_fitted(self)
        self._require_concepts("intervene")
        if self.bottleneck == "logit":
            raise ValueError(
                "intervene needs bottleneck='soft' or 'hard': a known value has no "
                "logit to put in its place."
            )
        check_row_order(X=X, concepts=concepts)
        self._warn_if_correcting_hurts()
        X = check_features(self, X, reset=False)
        annotations = Annotations.read(concepts, None, len(X))
        if annotations is None:
            raise TypeError(
                "concepts must be a DataFrame, an array or a list of rows of shape "
                "(n_samples, n_concepts), got NoneType: pass the known values, or use "
                "predict_proba if there are none."
            )
        heads, device = FittedHeads.of(self), resolve_device(self.device, X)
        known, shares = heads.schema.encode(annotations, partial=True)
        bottleneck, features = heads.tensors(device, shares), as_features(X).to(device)
        codes = torch.from_numpy(known).to(features.device)
        if not isinstance(features, StoredFeatures):
            return numbers_of(bottleneck.intervened(features, codes))
        parts = [
            bottleneck.intervened(rows, codes[block])
            for block, rows in features.blocks()
        ]
        return numbers_of(torch.cat(parts))

    def _note_correction(self, bottleneck: Bottleneck, data: TrainingData) -> None:
        """Keep what annotations do to predictions for training rows."""
        self._correction = None
        if self.n_concepts_ and self.bottleneck != "logit":
            device = bottleneck.label_parameters.device
            self._correction = numbers_of(correction(bottleneck, data.to(device)))

    def _warn_if_correcting_hurts(self) -> None:
        if self._correction is None or self in _WARNED:
            return
        (accuracy, loss), (corrected, corrected_loss) = self._correction
        if self.intervention_prob_ == 0:
            hurts = corrected_loss > loss
            why = (
                "Its label head was trained on predicted concepts alone; use "
                "training='mixed', or with training='joint' an intervention_prob."
            )
        else:  # predictions of training rows know a little of their labels
            hurts = corrected_loss > loss + 0.02 and corrected < accuracy - 0.01
            why = (
                "The concepts may say less about the label than their predictions "
                "do; measure it on other rows with skclif.metrics.intervention_curve."
            )
        if not hurts:
            return
        _WARNED.add(self)
        warn_user(
            "Correcting concepts may make this model's labels worse: with the "
            "annotations of its own training rows in place of its predictions, its "
            f"accuracy on them goes from {accuracy:.1%} to {corrected:.1%}, and its "
            f"log-loss from {loss:.3f} to {corrected_loss:.3f}. {why}",
            InterventionWarning,
        )
