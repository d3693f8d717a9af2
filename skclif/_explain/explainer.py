"""Which training rows caused a prediction, and through which annotation.

Influence functions through a concept bottleneck: CLIF, arXiv 2605.19848.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import check_is_fitted

from .._cluster.collections import any_collection
from .._inputs.annotations import Annotations
from .._inputs.checks import (
    all_or_nothing,
    as_rows,
    check_input_features,
    check_labels,
    check_row_order,
    check_weights,
    count_rows,
    index_of_rows,
)
from .._inputs.orders import order_of
from .._inputs.pipelines import as_read, fit_parts
from .._inputs.sklearn import HasMethods, StrOptions, _fit_context, _routing_enabled
from .._inputs.tensors import as_array
from .._inputs.training_rows import as_features
from .._inputs.wrapper import AroundEstimatorMixin
from .._models.linear import check_class_weights, check_explainable, training_rows
from ..numerics.bottleneck import concept_effects
from ..numerics.joint_hessian import JointHessian
from .annotating import AnnotatingMixin
from .cluster_fit import fit_on_cluster
from .edits.grown import values_set_aside
from .explaining import ExplainingMixin
from .methods import METHODS
from .readable import texts_of
from .repairing import RepairingMixin
from .reporting import ReportingMixin
from .suspects import LABEL


class ConceptInfluenceExplainer(
    ExplainingMixin,
    RepairingMixin,
    AnnotatingMixin,
    ReportingMixin,
    AroundEstimatorMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Explain predictions by the training rows that caused them, and by concepts.

    `fit` trains a clone of the estimator and keeps what exact influence needs. The
    earlier steps of a pipeline are held fixed: influence is that of the training rows
    on the last step. See :doc:`/influences`.

    Parameters
    ----------
    estimator : estimator
        A :class:`ConceptBottleneckClassifier`, scikit-learn's
        :class:`~sklearn.linear_model.LogisticRegression` with an L2 penalty or none, or
        a pipeline that ends in one of these. A fitted estimator in a
        :class:`~sklearn.frozen.FrozenEstimator` is explained as it is: `fit` then needs
        exactly the rows, annotations and weights that it was trained on.
    method : {"auto", "newton", "leverage", "pairwise", "first_order"}, default="auto"
        How influence is computed; for groups of rows, see :doc:`/sets`.

        - "newton" solves both stages again without the row. It is close to retraining,
          and its time grows with the square of the number of training rows.
        - "leverage" takes one step towards that solution, in closed form.
        - "first_order" is the derivative in the weight of every loss term. It is the
          fastest method, and the least like retraining.
        - "pairwise" is for groups: first order, with a term for every pair of rows.
        - "auto" takes up to about ten seconds of one core: "newton" if it can remove
          all rows in that time, as with some hundred to a thousand training rows;
          otherwise "leverage", and "newton" for the rows of largest influence; and if
          that is too much as well, "first_order", and "leverage" for the rows of
          largest influence. With ``top=``, the better method removes only the rows that
          the other one finds; ``groups=`` are by "newton", or by "leverage" if that is
          too much. It is "first_order" if Hessians do not fit scikit-learn's
          `working_memory`. A model of ``training="joint"`` has no "leverage": "auto" is
          "newton" if that removes all rows in the time, and otherwise "first_order".

        The result's `method` says which methods were used, and `confirmed` for which
        rows.
    device : str, default="cpu"
        Where influence is computed: "cpu", "cuda", "cuda:0" … or "auto".
    verbose : int, default=0
        If positive, all methods show progress on stderr, with the time left, as
        soon as a call has taken two seconds. That of `fit` is the estimator's own.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone. A LogisticRegression is trained further, until its gradient
        norm is 1e-8.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    concept_names_in_ : ndarray of shape (n_concepts,)
        Names of the concepts.
    n_samples_ : int
        Number of training rows.
    damping_ : float
        What times the heads' own curvature was added to the Hessian of a model of
        ``training="joint"`` that is not at a minimum; 0 if nothing was.
    mean_activations_ : ndarray of shape (n_activations,)
        Mean of the activations in training over the training rows, weighted by
        `sample_weight`; of the features without concepts.
    n_features_in_ : int
        Number of features seen in `fit`, if the estimator knows it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if the estimator knows them.

    See Also
    --------
    ConceptBottleneckClassifier : The model that is explained.
    InfluenceResult : What `influence` returns.

    Notes
    -----
    The influence of a training row is the effect of its *presence*: target(trained with
    the row) - target(trained without it). On a loss, positive means harmful. It is the
    sum of *paths*, one for each loss term: the label of the row, and each of its
    annotations. "newton" and "leverage" have one more path, "interaction": what these
    terms do to each other when the whole row is removed.

    If the features are float32, influence is within about 1e-5 of its float64 value.

    Methods of the model alone are those of ``explainer.estimator_``. The last step of a
    pipeline, ``explainer.estimator_[-1]``, has `predict_concepts`, `intervene` and
    `contributions`, on the features ``explainer.estimator_[:-1].transform(X)``.

    References
    ----------
    .. [1] P. W. Koh and P. Liang (2017). Understanding black-box predictions via
       influence functions. ICML. arXiv 1703.04730.
    .. [2] Concept-level influence functions (CLIF), arXiv 2605.19848.

    Examples
    --------
    >>> import numpy as np
    >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(60, 4)
    >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> y[7] = 1 - y[7]
    >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    >>> explainer.fit(X, y, concepts=concepts)
    ConceptInfluenceExplainer(estimator=ConceptBottleneckClassifier())
    >>> result = explainer.influence(X, y, paths=True, reduce="mean")
    >>> result
    <InfluenceResult on mean log-loss (nats, positive = harmful) by newton: \
1 target x 60 training rows; paths label, concept0, concept1, interaction>
    >>> result.harmful(1)[["row", "path"]]
       row   path
    0    7  label
    """

    __module__ = "skclif"

    _parameter_constraints: dict[str, Any] = {
        "estimator": [HasMethods(["fit", "predict_proba"])],
        "method": [StrOptions(set(METHODS))],
        "device": [str],
        "verbose": ["verbose"],
    }

    __metadata_request__fit = {"concepts": True, "concept_sample_weight": True}

    def __init__(
        self,
        estimator: Any,
        *,
        method: str = "auto",
        device: str = "cpu",
        verbose: int = 0,
    ):
        self.estimator = estimator
        self.method = method
        self.device = device
        self.verbose = verbose

    @property
    def damping_(self) -> float:
        """What was added to the Hessian of jointly trained stages; 0 otherwise."""
        check_is_fitted(self)
        inverse = self._solved_model().inverse
        return inverse.damping if isinstance(inverse, JointHessian) else 0.0

    @_fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        concepts: Any = None,
        concept_sample_weight: Any = None,
    ) -> ConceptInfluenceExplainer:
        """Fit the estimator and prepare influence.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes: features, or texts for a pipeline.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            Annotations, plain or soft; see :meth:`ConceptBottleneckClassifier.fit`.
        concept_sample_weight : array-like of shape (n_samples, n_concepts), \
                default=None
            Weights of the annotations, by name if both have names; see
            :meth:`ConceptBottleneckClassifier.fit`.

        Returns
        -------
        self : object
            The fitted explainer.

        Raises
        ------
        TypeError
            If the estimator cannot be explained, or takes no `concepts`.
        ValueError
            If a LogisticRegression has no smooth optimum, a frozen model is not at the
            optimum of these data, a Hessian is singular, or pandas objects have the
            same index in another order.

        Warns
        -----
        InfluenceWarning
            If a Hessian is so nearly singular that digits of influence are lost.
        """
        arguments = X, y, sample_weight, concepts, concept_sample_weight
        if any_collection(*arguments):
            for name in ("_training", "_readable"):  # of a fit to rows in this process
                self.__dict__.pop(name, None)
            fit_on_cluster(self, *arguments)
            return self
        check_explainable(self.estimator, concepts)
        check_row_order(
            X=X,
            y=y,
            sample_weight=sample_weight,
            concepts=concepts,
            concept_sample_weight=concept_sample_weight,
        )
        orders = {LABEL: order_of(y)}
        index = index_of_rows(X, y, concepts)
        y = check_labels(y, count_rows(X), warn=True)
        X = as_rows(X)
        weights = check_weights(sample_weight, y)
        annotations = Annotations.read(concepts, concept_sample_weight, len(y))
        orders |= {} if annotations is None else annotations.orders
        check_class_weights(self.estimator, y, weights)
        metadata = {
            "sample_weight": as_array("sample_weight", sample_weight),
            "concepts": as_array("concepts", concepts),
            "concept_sample_weight": as_array(
                "concept_sample_weight", concept_sample_weight
            ),
        }
        if _routing_enabled():
            given = {name: v for name, v in metadata.items() if v is not None}
            process_routing(self, "fit", **given)
        self.estimator_, features = fit_parts(
            self.estimator, X, y, label_order=orders[LABEL], **metadata
        )
        self._dtype = "float32" if _is_single(features) else "float64"
        features = self._checked(features)
        rows = training_rows(self.estimator_, features, y, weights, annotations)
        self._settle(rows, texts_of(X))
        self._orders = {path: o for path, o in orders.items() if o is not None}
        self._declared = {} if annotations is None else annotations.declared
        self._aside = values_set_aside(self._heads(), annotations, rows.codes)
        self._index, self._at_optimum = index, True
        self._solved = self._solve(rows)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities of the labels with the fitted estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float64
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(as_read(self.estimator_, X))

    def transform(self, X: Any) -> np.ndarray:
        """Return the effect of every concept on the predicted class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.

        Returns
        -------
        effects : ndarray of shape (n_samples, n_concepts), float64
            ``log p(predicted class)`` minus its value with the concept's activations
            set to their training mean (nats); positive = the concept supports the
            prediction.
        """
        check_is_fitted(self)
        features = as_features(self._features(X))
        average = torch.from_numpy(self.mean_activations_)
        effects = concept_effects(self._heads().tensors(), features, average)
        return effects.numpy()

    def get_feature_names_out(
        self, input_features: ArrayLike | None = None
    ) -> np.ndarray:
        """Return the names of the concepts.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Checked against the names seen in `fit`, otherwise not used.

        Returns
        -------
        names : ndarray of str objects
            One name for each column of `transform`.
        """
        check_is_fitted(self)
        if hasattr(self, "n_features_in_"):
            check_input_features(self, input_features)
        return np.asarray(self.concept_names_in_, dtype=object)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(
            {
                "_orders": {},
                "_declared": {},
                "_aside": {},
                "_index": None,
                "verbose": 0,
                **state,
            }
        )  # of older versions

    def __getstate__(self) -> dict[str, Any]:
        """Leave out factors and tensors on a device, which can be computed again."""
        state: dict[str, Any] = super().__getstate__().copy()
        state.pop("_solved", None)
        state.pop("_nearby", None)
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator).input_tags
        tags.input_tags.sparse = inner.sparse
        tags.input_tags.allow_nan = inner.allow_nan
        return tags


def _is_single(features: Any) -> bool:
    """Return whether all features came in single precision."""
    if isinstance(features, pd.DataFrame):
        return bool((features.dtypes == np.float32).all())
    # Products with sparse features are in double precision.
    is_sparse = sparse.issparse(features)
    singles = (np.float32, torch.float32)
    return not is_sparse and getattr(features, "dtype", None) in singles
