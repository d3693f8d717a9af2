"""Methods of a bottleneck that predict: labels, concepts, and what both come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._cluster.collections import any_collection
from .._cluster.lazily import by_partition
from .._cluster.scoring import score_partitions
from .._inputs.checks import CheckedScoreMixin, check_input_features
from .._inputs.concept_tables import NOT_IN_CONCEPTS
from .._inputs.tensors import numbers_of
from .._results.contributions import ConceptContributions, intercept_name
from ..numerics.products import dense_rows
from ..numerics.sparse import Features, SparseFeatures
from ..numerics.stored import each_row
from .fitted import FittedHeads
from .fitted_state import BottleneckState


# `set_output` works on `transform` of the class that has TransformerMixin for a base.
class PredictingMixin(BottleneckState, CheckedScoreMixin, TransformerMixin):
    """Methods of a fitted bottleneck that predict."""

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy of the predicted labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            The true labels; a label that was not seen in `fit` counts as missed.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows; None for 1.

        Returns
        -------
        score : float
            Share of the rows, by weight, whose label is predicted.
        """
        if any_collection(X, y, sample_weight):
            return score_partitions(self, X, y, sample_weight)
        return super().score(X, y, sample_weight)

    @by_partition
    def predict(self, X: Any) -> np.ndarray:
        """Predict labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The most probable label of every row.
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    @by_partition
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities of the labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        bottleneck, features = self._on_device(X)
        return numbers_of(bottleneck.label_probabilities(features))

    @by_partition
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits of the labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        logits : ndarray of shape (n_samples, n_classes) or (n_samples,), float64
            Log-probabilities, centred over the classes; for two classes the log-odds
            of the second.
        """
        check_is_fitted(self)
        if self._is_latent():
            bottleneck, features = self._on_device(X)
            return numbers_of(each_row(bottleneck.label_logits, features))
        logits = self.transform(X) @ self.coef_.T + self.intercept_
        if self.residual_coef_ is not None:
            logits += self._residual_logits(X)
        return logits[:, 0] if len(self.classes_) == 2 else logits

    @by_partition
    def transform(self, X: Any) -> np.ndarray:
        """Return the activations of the concepts: all that the label head sees of them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        activations : ndarray of shape (n_samples, n_activations), float64
            One column for each value of each concept; a concept with two values has one
            column, for the second value. `bottleneck` says what they are:
            probabilities, logits, or 1 for the most probable value and 0 for the
            others. If fitted without concepts, they are the features: a sparse array if
            `X` is sparse.
        """
        check_is_fitted(self)
        bottleneck, features = self._on_device(X)
        activations = bottleneck.concept_activations(features)
        if isinstance(activations, SparseFeatures):
            return activations.matrix
        return numbers_of(dense_rows(activations))

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the activations, such as ``food=Positive``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features; used only if fitted without concepts.

        Returns
        -------
        names : ndarray of str objects
            One name for each column of `transform`.
        """
        check_is_fitted(self)
        names = check_input_features(self, input_features)
        if not self.n_concepts_:
            return names
        return np.asarray(FittedHeads.of(self).schema.activation_names(), dtype=object)

    @by_partition
    def predict_concepts(self, X: Any) -> pd.DataFrame | np.ndarray:
        """Predict the value of every concept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        concepts : DataFrame or ndarray of shape (n_samples, n_concepts)
            The most probable values, or the prediction of a continuous concept, in the
            kind of container that `fit` was given. A DataFrame has the index of `X` if
            `X` has an index.
        """
        check_is_fitted(self)
        self._require_concepts("predict_concepts")
        bottleneck, features = self._on_device(X)
        stack = bottleneck.concepts

        def predicted(features: Features) -> torch.Tensor:
            scores = bottleneck.concept_scores(features)
            codes = scores.new_empty(len(scores), len(stack))
            for j, (head, part) in enumerate(
                zip(stack.heads, stack.split(scores), strict=True)
            ):
                values = head.probabilities(part)
                is_number = self.concept_classes_[j] is None
                codes[:, j] = values[:, 0] if is_number else values.argmax(dim=1)
            return codes

        codes = numbers_of(each_row(predicted, features))
        return FittedHeads.of(self).schema.decode(codes, index=_index_of(X))

    @by_partition
    def predict_concept_proba(self, X: Any) -> dict[str, np.ndarray]:
        """Predict probabilities of the values of every concept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        proba : dict of str to ndarray of shape (n_samples, n_values), float64
            By the name of each categorical concept, with columns in the order of
            `concept_classes_`.
        """
        check_is_fitted(self)
        self._require_concepts("predict_concept_proba")
        bottleneck, features = self._on_device(X)
        stack = bottleneck.concepts
        asked = [
            j for j, values in enumerate(self.concept_classes_) if values is not None
        ]

        def predicted(features: Features) -> torch.Tensor:
            parts = stack.split(bottleneck.concept_scores(features))
            found = [stack.heads[j].probabilities(parts[j]) for j in asked]
            return torch.cat([parts[0][:, :0], *found], dim=1)

        sizes = [len(self.concept_classes_[j]) for j in asked]
        together = numbers_of(each_row(predicted, features))
        columns = np.split(together, np.cumsum(sizes)[:-1], axis=1) if asked else []
        return {
            str(self.concept_names_in_[j]): np.ascontiguousarray(part)
            for j, part in zip(asked, columns, strict=True)
        }

    def contributions(self, X: Any) -> ConceptContributions:
        """Return how much of every logit comes through each concept.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features.

        Returns
        -------
        contributions : ConceptContributions
            Its `values` have shape (n_samples, n_classes, n_concepts + 1). They are
            centred over the classes; the intercept is last. With `residual_C` there is
            one more before it, "not in the concepts". Their sum over the last axis is
            the centred logit. If ``label_head="ordinal"`` and there are more than two
            classes, the second axis has the thresholds, ``n_classes - 1``: the sums are
            the log-odds of a label above ``label_order_[k]``, and a concept contributes
            the same to all of them.
        """
        check_is_fitted(self)
        self._require_concepts("contributions")
        bottleneck, features = self._on_device(X)
        activations = numbers_of(dense_rows(bottleneck.activations(features)))
        coef, intercept, about = self.coef_, self.intercept_, self.classes_
        if self._is_latent():
            coef = np.broadcast_to(coef, (len(intercept), coef.shape[1]))
            about = np.array([f"above {label}" for label in self.label_order_[:-1]])
        else:
            coef, intercept = _centred(coef), _centred(intercept)
        columns = bottleneck.concepts.activations
        parts = [activations[:, c] @ coef[:, c].T for c in columns]
        names = [str(name) for name in self.concept_names_in_]
        if self.residual_coef_ is not None:
            names.append(NOT_IN_CONCEPTS)
            residual = self._residual_logits(X)
            if self._is_latent():  # the same to all thresholds
                residual = np.broadcast_to(residual, parts[0].shape)
            else:
                residual = _centred(residual.T).T
            parts.append(residual)
        parts.append(np.broadcast_to(intercept, parts[0].shape))
        index = _index_of(X)
        return ConceptContributions(
            np.stack(parts, axis=2),
            about,
            (*names, intercept_name(names)),
            pd.RangeIndex(len(activations)) if index is None else index,
            of_thresholds=self._is_latent(),
        )


def _centred(weights: np.ndarray) -> np.ndarray:
    """Return the weights of every class's logit, with sum zero over the classes."""
    if len(weights) == 1:
        return np.concatenate([-weights / 2, weights / 2])
    return weights - weights.mean(axis=0)


def _index_of(X: Any) -> pd.Index | None:
    return X.index if isinstance(X, pd.DataFrame | pd.Series) else None
