"""The methods that all estimators around another estimator share."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import MetaEstimatorMixin
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted

from .checks import CheckedScoreMixin
from .documentation import DocumentedMixin
from .pipelines import as_read


class AroundEstimatorMixin(DocumentedMixin, MetaEstimatorMixin, CheckedScoreMixin):
    """A classifier that fits `estimator` as `estimator_`, and predicts with it."""

    estimator: Any
    estimator_: Any

    def predict(self, X: Any) -> np.ndarray:
        """Predict labels with the fitted estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted labels.
        """
        check_is_fitted(self)
        return self.estimator_.predict(as_read(self.estimator_, X))

    def get_metadata_routing(self) -> MetadataRouter:
        """Get metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
            What this estimator and the one inside request.
        """
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(
                estimator=self.estimator,
                method_mapping=MethodMapping().add(caller="fit", callee="fit"),
            )
        )

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in `fit`, if the estimator knows it."""
        return self._fitted("n_features_in_")

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the features seen in `fit`, if the estimator knows them."""
        return self._fitted("feature_names_in_")

    def _fitted(self, name: str) -> Any:
        if "estimator_" in vars(self) and hasattr(self.estimator_, name):
            return getattr(self.estimator_, name)
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )
