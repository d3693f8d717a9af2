"""A classifier that decides through human concepts.

Concept bottleneck models are due to Koh et al. (2020), arXiv 2007.04612.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from .._cluster.collections import any_collection
from .._cluster.lazily import by_partition
from .._cluster.scoring import score_partitions
from .._inputs.annotations import Annotations
from .._inputs.checks import (
    CheckedScoreMixin,
    all_or_nothing,
    check_input_features,
    check_labels,
    check_row_order,
    check_weight_values,
    check_weights,
    error_context,
)
from .._inputs.concept_tables import NOT_IN_CONCEPTS
from .._inputs.devices import resolve_device
from .._inputs.documentation import DocumentedMixin
from .._inputs.features import check_features
from .._inputs.learning import learn
from .._inputs.progress import Progress
from .._inputs.schema import ConceptSchema
from .._inputs.sklearn import Interval, StrOptions, _fit_context
from .._inputs.soft import Coded, Shares
from .._inputs.training_rows import TrainingRows, as_features, as_tensor
from .._results.contributions import ConceptContributions, intercept_name
from ..exceptions import InterventionWarning, warn_user
from ..numerics.bottleneck import (
    Bottleneck,
    TrainingData,
    correction,
    fit_concepts,
    fit_label,
    largest_sizes,
)
from ..numerics.heads import CategoricalHead, HeadStack
from ..numerics.joint import fit_joint, joint_steps
from ..numerics.products import dense_rows
from ..numerics.solvers import Convergence
from ..numerics.sparse import Features, Matrix, SparseFeatures
from ..numerics.stored import StoredFeatures, each_row
from .convergence import (
    warn_if_tol_is_coarse,
    warn_unless_converged,
    warn_unless_stationary,
)
from .fitted import FittedHeads, class_weights, concept_heads
from .label_heads import LabelRules
from .on_cluster import read_on_cluster
from .penalties import check_concept_C, find_concept_C, find_label_C, warn_of_edges
from .rows_read import RowsRead, warn_of_amounts

_STEPS, _TRIED = "Newton steps", "values tried"
_LBFGS_STEPS = "steps of L-BFGS"
# The default share of true annotations in the label head.
_INTERVENTION_PROB = 0.4
# The label head of models from before there was a choice.
UNORDERED = {"label_head": "softmax", "label_order": None, "monotonic_cst": None}
# Models whose users were warned of correcting concepts.
_WARNED: WeakSet[Any] = WeakSet()


class _Solution(NamedTuple):
    """Both stages, how their fits ended, and the inverse penalties they have."""

    bottleneck: Bottleneck
    concepts: Convergence
    label: Convergence
    C: float
    concept_C: np.ndarray
    joint: Convergence | None = None

    @property
    def fits(self) -> list[Convergence]:
        """How the last fit of every head ended."""
        both = [self.concepts, self.label]
        return both if self.joint is None else [self.joint]


class ConceptBottleneckClassifier(
    DocumentedMixin, CheckedScoreMixin, TransformerMixin, BaseEstimator
):
    """Classify by way of human concepts.

    One linear softmax head per concept predicts the concept's value from the features.
    The label head, a linear softmax head too, sees only the activations of these heads:
    the predicted probabilities, unless `bottleneck` says otherwise. Every head is the
    model that :class:`~sklearn.linear_model.LogisticRegression` fits, trained in
    float64 to its optimum, so that influence is well defined. Without `concepts` the
    label head sees the features themselves: the black box to compare with.

    Parameters
    ----------
    training : {"mixed", "sequential", "independent", "joint"}, default="mixed"
        What the label head is trained on: both predicted concepts and true annotations,
        predicted concepts alone, or true annotations alone, where a row has them.
        Predictions for new rows always use predicted concepts. A label head that was
        trained on predicted concepts alone can get worse if a person corrects them.
        "joint" trains both stages together on predicted concepts: the label's loss
        moves the concept heads too, so that they can say more of the label than of
        their concepts. See :ref:`joint`.
    concept_weight : float, default=1.0
        Weight of the concepts' losses, with their penalties, beside the label's. The
        larger, the more the concept heads are what they are in the other trainings;
        the smaller, the more they serve the label. Ignored unless
        ``training="joint"``.
    bottleneck : {"soft", "logit", "hard"}, default="soft"
        What the label head sees of a concept: the probabilities of its values, their
        logits (centred over the values), or the most probable value alone. "logit"
        excludes training on true annotations, which have no logit.
    intervention_prob : float, default=None
        Share of every row's weight with which the label head is trained on true
        annotations, from 0 ("sequential") to 1 ("independent"). The other share is
        trained on predicted concepts. It is for ``training="mixed"``, where None is
        0.4, and 0 with ``bottleneck="logit"``; and for "joint", where None is 0.
    label_head : {"softmax", "ordinal"}, default="softmax"
        Model of the label. "softmax" gives every label its own weights. "ordinal" is
        for labels that have an order, such as stars: the log-odds of a label above any
        other one are one weighted sum of the activations, minus a threshold
        (proportional odds). With two labels both are logistic regression.
    label_order : array-like of shape (n_classes,), default=None
        The labels from lowest to highest, for ``label_head="ordinal"`` and for
        `monotonic_cst`. None is the order of numbers, or of an ordered categorical
        type; labels that are words need it. Labels that no row has are left out, so
        that a fold may lack one.
    monotonic_cst : dict of str to (list or {-1, 0, 1}), default=None
        By concept, the values along which the label must not fall, such as
        ``{"food": ["Negative", "unknown", "Positive"]}``. Values that are left out are
        free; those that no row has are named in a warning and left out. 1 is for values
        that have an order themselves: the label must not fall as the value rises; -1:
        must not rise; 0: no constraint. A label does not fall if the odds of no label
        against the next lower one do.
    C : float or "auto", default=1.0
        Inverse strength of the L2 penalty on the label head. "auto" takes the value
        from 1e-4 to 1e4, in half decades, with the least leave-one-out log-loss, of at
        most 20,000 evenly spaced rows; in joint training, that of the stages before
        they are trained together.
    residual_C : float, default=None
        Lets the label depend on the features directly too, beside the concepts, with
        this inverse strength of the L2 penalty: the smaller, the less. It is for labels
        of which the concepts do not say enough, and is reported as "not in the
        concepts". None: what the concepts do not hold has no part in the label. It
        needs `concepts` and dense features, and ``C="auto"`` does not change it.
    concept_C : float, "auto" or dict of str to float, default=1.0
        Inverse strength of the L2 penalty on every concept head, or on each by name.
        "auto" chooses a value for each concept in the same way; for a continuous
        concept, by squared error. The label has no say in it: it can prefer heads that
        say nothing of their concept, and leak.
    concept_kinds : dict of str to {"categorical", "continuous"}, default=None
        Kinds of concepts by name, where they differ from the default: a concept with
        numbers that are not whole is continuous; every other concept is categorical.
    class_weight : dict or "balanced", default=None
        Weights of the classes in the label head. "balanced" uses weighted counts and is
        computed once, in `fit`.
    tol : float, default=1e-8
        Bound on the Euclidean norm of the gradient of every head's objective, which is
        a sum over rows in nats. If the penalty ``1 / C`` (or ``1 / concept_C``) or the
        total weight of the head's rows is below 1, the bound is multiplied by the
        smaller of the two. It is never finer than double precision can resolve.
    max_iter : int, default=100
        Maximum number of Newton steps per stage. In joint training, ten times as many
        steps of L-BFGS follow, at most.
    device : str, default="cpu"
        Where to compute: "cpu", "cuda", "cuda:0" … or "auto". Features that are a
        tensor on a GPU stay there. Fitted attributes are NumPy arrays wherever they
        were computed. See :ref:`gpu`.
    verbose : int, default=0
        If positive, show progress on stderr as soon as a fit has taken two seconds.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    concept_names_in_ : ndarray of shape (n_concepts,)
        Names of the concepts: the columns of a DataFrame, otherwise "concept0" ….
    n_concepts_ : int
        Number of concepts; 0 if fitted without concepts.
    concept_classes_ : list of ndarray or None
        The values of each categorical concept, in the order of an ordered categorical
        type, and otherwise sorted; None for a continuous one.
    coef_ : ndarray of shape (n_classes, n_activations) or (1, n_activations)
        Weights of the label head; one row if there are two classes, or if it is
        ordinal: then they are those of the log-odds of a higher label.
    intercept_ : ndarray of shape (n_classes,), (n_classes - 1,) or (1,)
        Biases of the label head. If it is ordinal, ``activations @ coef_[0] +
        intercept_[k]`` are the log-odds of a label above ``label_order_[k]``.
    residual_coef_ : ndarray of shape (n_classes, n_features) or (1, n_features)
        Weights of the features in the label head, past the concepts; None without
        `residual_C`.
    label_order_ : ndarray of shape (n_classes,) or None
        The labels from lowest to highest; None if their order is not needed.
    monotonic_cst_ : dict of str to (list or {-1, 1})
        The constraints by concept, as values along which the label must not fall; 1 or
        -1 for a continuous concept.
    concept_coef_ : list of ndarray of shape (n_values, n_features) or (1, n_features)
        Weights of each concept head; one row if the concept has two values or is
        continuous.
    concept_intercept_ : list of ndarray of shape (n_values,) or (1,)
        Biases of each concept head.
    C_ : float
        Inverse strength of the L2 penalty on the label head.
    concept_C_ : ndarray of shape (n_concepts,)
        Inverse strength of the L2 penalty on each concept head.
    residual_C_ : float or None
        That of the weights past the concepts; None without.
    held_concepts_ : dict of str to float
        Concepts whose weights in the label head are held by an edit, with the factor
        between these weights and those of the fit; empty after `fit`. See
        :doc:`/verdicts`.
    intervention_prob_ : float
        Share of every row's weight with which the label head was trained on true
        annotations: 0 if `training` is "sequential", 1 if it is "independent".
    concept_weight_ : float or None
        Weight of the concepts' losses, if both stages were trained together.
    class_weight_ : ndarray of shape (n_classes,)
        Weight of each class in the label head.
    n_iter_ : int
        Number of Newton steps of the stage that took more; in joint training, of steps
        of L-BFGS.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had string column names.

    See Also
    --------
    ConceptInfluenceExplainer : Which training rows caused a prediction, and how.
    SentenceEmbedder : Features for texts.

    Notes
    -----
    Head `j` minimises ``sum_i w_ij * CE_ij + ||W_j||^2 / (2 * concept_C)`` over the
    rows that are annotated, with ``w_ij = sample_weight_i * concept_sample_weight_ij``.
    The label head minimises ``sum_i w_i * CE_i + ||V||^2 / (2 * C)`` with
    ``w_i = sample_weight_i * class_weight(y_i)``. With ``training="mixed"``, every row
    has two terms there: one of weight ``(1 - intervention_prob) * w_i`` at its
    predicted concepts, and one of weight ``intervention_prob * w_i`` at its true
    annotations, with predictions where there are none. It is the expectation of the
    random interventions of [2]_ in training. Biases are not penalised. An
    annotation of weight 0 counts as missing. The CE of a soft annotation is the mean of
    those of its values by its shares, and its true annotation in the label head is the
    shares. With `residual_C`, the logits have one
    more term ``R x`` for the features ``x``, and the objective one more penalty,
    ``||R||^2 / (2 * residual_C)``; it stays convex. With ``label_head="ordinal"`` the
    label's CE is that of proportional odds [3]_, and thresholds are not penalised;
    `monotonic_cst` bounds the weights of either label head. The head of a continuous
    concept is :class:`~sklearn.linear_model.Ridge` with ``alpha=1 / concept_C``. Its
    loss is half the squared error, and its activation is the prediction for every
    `bottleneck`.

    With ``training="joint"``, both stages minimise ``L_label + concept_weight *
    L_concepts`` together. The first is the label head's objective, as a function of the
    concept heads too, and the second the sum of those of the concept heads. It has
    several minima: the fit starts from the stages that were trained one after the
    other, with the same penalties, and goes to a stationary point by L-BFGS.

    References
    ----------
    .. [1] P. W. Koh et al. (2020). Concept bottleneck models. ICML. arXiv 2007.04612.
    .. [2] M. Espinosa Zarlenga et al. (2022). Concept embedding models. NeurIPS. arXiv
       2209.09056.
    .. [3] P. McCullagh (1980). Regression models for ordinal data. JRSS B.

    Examples
    --------
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> X = [[2.0, 0.1], [1.5, -0.2], [0.2, 1.8], [-0.1, 2.2], [1.9, 2.1], [0.0, 0.1]]
    >>> concepts = pd.DataFrame({
    ...     "food": ["good", "good", "bad", "bad", "good", "bad"],
    ...     "quiet": ["no", "no", "yes", "yes", "yes", None],
    ... })
    >>> y = ["again", "again", "never", "never", "again", "never"]
    >>> clf = ConceptBottleneckClassifier(C=10, concept_C=10)
    >>> clf.fit(X, y, concepts=concepts).predict([[1.7, 0.3]])
    array(['again'], dtype='<U5')
    >>> clf.predict_concepts([[1.7, 0.3]])
       food quiet
    0  good    no
    >>> clf.get_feature_names_out()
    array(['food=good', 'quiet=yes'], dtype=object)
    """

    __module__ = "skclif"

    _parameter_constraints: dict[str, Any] = {
        "training": [StrOptions({"mixed", "sequential", "independent", "joint"})],
        "concept_weight": [Interval(Real, 0, None, closed="neither")],
        "bottleneck": [StrOptions({"soft", "logit", "hard"})],
        "intervention_prob": [Interval(Real, 0, 1, closed="both"), None],
        "label_head": [StrOptions({"softmax", "ordinal"})],
        "label_order": ["array-like", None],
        "monotonic_cst": [dict, None],
        "C": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "residual_C": [Interval(Real, 0, None, closed="neither"), None],
        "concept_C": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
            dict,
        ],
        "concept_kinds": [dict, None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "verbose": ["verbose"],
    }

    __metadata_request__fit = {"concepts": True, "concept_sample_weight": True}

    def __init__(
        self,
        *,
        training: str = "mixed",
        concept_weight: float = 1.0,
        bottleneck: str = "soft",
        intervention_prob: float | None = None,
        label_head: str = "softmax",
        label_order: ArrayLike | None = None,
        monotonic_cst: dict[str, Any] | None = None,
        C: float | str = 1.0,
        residual_C: float | None = None,
        concept_C: float | str | dict[str, float] = 1.0,
        concept_kinds: dict[str, str] | None = None,
        class_weight: dict[Any, float] | str | None = None,
        tol: float = 1e-8,
        max_iter: int = 100,
        device: str = "cpu",
        verbose: int = 0,
    ):
        self.training = training
        self.concept_weight = concept_weight
        self.bottleneck = bottleneck
        self.intervention_prob = intervention_prob
        self.label_head = label_head
        self.label_order = label_order
        self.monotonic_cst = monotonic_cst
        self.C = C
        self.residual_C = residual_C
        self.concept_C = concept_C
        self.concept_kinds = concept_kinds
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        concepts: Any = None,
        concept_sample_weight: Any = None,
    ) -> ConceptBottleneckClassifier:
        """Fit the concept heads and the label head.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Features, which count as float64. Large ones in single precision, or in a
            memory-mapped file, are converted a block of rows at a time.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows, in every head. None is 1.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            Annotations; rows are matched by position. NaN, None and ``pandas.NA`` mean
            *not annotated*: the row is left out of that concept's head. Columns of a
            table named ``concept=value``, one for each value of a concept, are a soft
            annotation: shares that add up to 1. Without `concepts` there is no
            bottleneck.
        concept_sample_weight : array-like of shape (n_samples, n_concepts), \
                default=None
            Non-negative weights of the annotations, which multiply `sample_weight`: one
            column for each concept, also for a soft one. None is 1. If it and
            `concepts` are tables with names (pandas, polars, Arrow), columns are
            matched by name, otherwise by position. NaN is for annotations that are
            missing.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If `concepts` is a dict, which searches cannot slice.
        ValueError
            If data are not finite, have unequal lengths or only one class, if a
            concept has no observed value, if shares are no distribution, if weights
            have other columns than `concepts`, or if pandas objects have the same index
            in another order.

        Warns
        -----
        ConstantConceptWarning
            If a concept has one observed value. It is a constant: its head always says
            this value, and the label head sees nothing of it.
        ManyValuesWarning
            If the values of a concept, or the labels, seem to be no categories: many
            whole numbers, or nearly as many values as rows.
        """
        self._intervention_prob()  # may be refused
        self._check_joint()
        arguments = X, y, sample_weight, concepts, concept_sample_weight
        if any_collection(*arguments):
            return self._fit_rows(self._read_on_cluster(*arguments))
        check_row_order(
            X=X,
            y=y,
            sample_weight=sample_weight,
            concepts=concepts,
            concept_sample_weight=concept_sample_weight,
        )
        X, given = check_features(self, X, reset=True), y
        y = check_labels(y, len(X), warn=True)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                "y needs at least 2 classes, but the data contains only one class: "
                f"{classes.tolist()[0]!r}."
            )
        warn_of_amounts(classes, len(y))
        sample_weight = check_weights(sample_weight, X)
        class_weight = self._class_weights(classes, y, sample_weight)
        annotations = Annotations.read(concepts, concept_sample_weight, len(X))
        if self.residual_C is not None:
            _check_residual(self.residual_C, X, annotations)
        schema, coded = ConceptSchema(), Coded(np.empty((len(X), 0)), {})
        if annotations is not None:
            schema, coded = learn(annotations, sample_weight, self.concept_kinds)
        rules = LabelRules.read(self, given, classes, schema, annotations)
        data = TrainingRows(
            X,
            np.searchsorted(classes, y),
            sample_weight,
            coded.codes,
            coded.codes if annotations is None else annotations.weights,
            class_weight,
            coded.shares,
        ).data()
        read = RowsRead(
            data, classes, class_weight, schema, coded.shares, rules, sample_weight
        )
        return self._fit_rows(read)

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
        return _numpy(bottleneck.label_probabilities(features))

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
            return _numpy(each_row(bottleneck.label_logits, features))
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
        return _numpy(dense_rows(activations))

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

        codes = _numpy(each_row(predicted, features))
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
        together = _numpy(each_row(predicted, features))
        columns = np.split(together, np.cumsum(sizes)[:-1], axis=1) if asked else []
        return {
            str(self.concept_names_in_[j]): np.ascontiguousarray(part)
            for j, part in zip(asked, columns, strict=True)
        }

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
            return _numpy(bottleneck.intervened(features, codes))
        parts = [
            bottleneck.intervened(rows, codes[block])
            for block, rows in features.blocks()
        ]
        return _numpy(torch.cat(parts))

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
        activations = _numpy(dense_rows(bottleneck.activations(features)))
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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Labels without an order are not along one direction.
        tags.classifier_tags.poor_score = self.label_head == "ordinal"
        tags.input_tags.sparse = self.residual_C is None
        return tags

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(_upgraded(state))

    def _is_latent(self) -> bool:
        """Whether all classes share one direction of the activations."""
        return LabelRules.of(self).is_latent(len(self.classes_))

    def _intervention_prob(self) -> float:
        """Return the share of true annotations in the label head, checked."""
        prob = {"sequential": 0.0, "independent": 1.0}.get(
            self.training, self.intervention_prob
        )
        if prob is None:
            predicted_alone = self.bottleneck == "logit" or self.training == "joint"
            return 0.0 if predicted_alone else _INTERVENTION_PROB
        if self.intervention_prob not in (None, prob):
            raise ValueError(
                f"intervention_prob={self.intervention_prob} contradicts "
                f"training={self.training!r}, which is {prob:g}; leave it None, or use "
                "training='mixed'."
            )
        if prob and self.bottleneck == "logit":
            asked = f"training={self.training!r}"
            remedy = "Use training='sequential'"
            if self.training in ("mixed", "joint"):
                asked = f"intervention_prob={prob}"
            if self.training == "joint":
                remedy = "Leave it None"
            raise ValueError(
                f"{asked} needs bottleneck='soft' or 'hard': a true annotation has no "
                f"logit. {remedy} with logits."
            )
        return float(prob)

    def _is_joint(self, schema: ConceptSchema) -> bool:
        """Whether there are two stages to train together."""
        return self.training == "joint" and bool(schema.names)

    def _check_joint(self) -> None:
        """Refuse what does not go with training both stages together."""
        if self.training != "joint":
            return
        if self.bottleneck == "hard":
            raise ValueError(
                "training='joint' needs bottleneck='soft' or 'logit': through hard "
                "activations the label's loss has no derivative in the concept heads. "
                "Use another bottleneck, or training='mixed'."
            )
        if self.monotonic_cst:
            raise ValueError(
                "training='joint' cannot keep the bounds of monotonic_cst; leave it "
                "None, or use training='mixed', 'sequential' or 'independent'."
            )

    def _class_weights(
        self, classes: np.ndarray, y: np.ndarray, sample_weight: np.ndarray
    ) -> np.ndarray:
        with error_context("class_weight", "a dict of labels to numbers"):
            weights = class_weights(self.class_weight, classes, y, sample_weight)
        check_weight_values("class_weight", weights)
        return weights

    def _read_on_cluster(self, *arguments: Any) -> RowsRead:
        """Return the arguments of `fit` as rows that lie on a cluster."""
        self._validate_params()
        self._intervention_prob()
        self._check_joint()
        return read_on_cluster(self, *arguments)

    def _fit_rows(self, read: RowsRead) -> ConceptBottleneckClassifier:
        """Fit to rows that were read, here or on a cluster."""
        data, schema, classes = read.data, read.schema, read.classes
        check_concept_C(self.concept_C, schema)
        if read.rules.is_latent(len(classes)):
            _check_every_class(classes, read.label_weights)
        label = read.rules.head(classes, schema)
        found = self._solve(data, schema, read.shares, label, read.sample_weight)
        heads = FittedHeads.solved(
            self,
            found.bottleneck,
            schema,
            classes,
            read.class_weight,
            found.C,
            found.concept_C,
            read.rules,
        )
        heads.store(self, max(fit.n_iter for fit in found.fits))
        self._note_correction(found.bottleneck, data)
        warn_if_tol_is_coarse(heads, data)
        if found.joint is not None:
            warn_unless_stationary(found.joint, heads)
        else:
            warn_unless_converged(found.concepts, heads.names, heads)
            warn_unless_converged(found.label, ["label"], heads)
        warn_of_edges(self.C, self.concept_C, heads)
        return self

    def _solve(
        self,
        data: TrainingData,
        schema: ConceptSchema,
        shares: Shares,
        label: CategoricalHead,
        sample_weight: np.ndarray,
    ) -> _Solution:
        """Fit both stages, or say which numbers are too large for that."""
        try:
            solution = self._fit_stages(
                data.to(resolve_device(self.device, data.features)),
                schema,
                shares,
                label,
                sample_weight,
            )
            if all(fit.gradient_norm.isfinite().all() for fit in solution.fits):
                return solution
            cause = None
        except LinAlgError as error:
            cause = error
        largest, heaviest = largest_sizes(data)
        raise ValueError(
            "The heads cannot be fitted in double precision: in size, the features "
            f"reach {largest:.2g}, the weights of rows and annotations {heaviest:.2g}, "
            f"with C={_short(self.C)} and "
            f"concept_C={_short(self.concept_C)}. Scale or clip what is large."
        ) from cause

    def _fit_stages(
        self,
        data: TrainingData,
        schema: ConceptSchema,
        shares: Shares,
        label: CategoricalHead,
        sample_weight: np.ndarray,
    ) -> _Solution:
        """Fit one stage after the other, each with the penalties that it is to have."""
        device = data.features.device
        heads = concept_heads(schema, self.bottleneck, shares, device)
        limits: dict[str, Any] = {"tol": float(self.tol), "max_iter": self.max_iter}
        progress = Progress(self.verbose)
        with progress.stage("Choosing concept_C", unit=_TRIED) as advance:
            concept_C = find_concept_C(
                self.concept_C, schema, HeadStack(heads), data, sample_weight, advance
            )
        with progress.stage("Fitting the concepts", unit=_STEPS) as advance:
            bottleneck, concepts = fit_concepts(
                data,
                heads,
                label,
                intervention_prob=self._intervention_prob(),
                concept_penalties=1 / concept_C,
                advance=advance,
                **limits,
            )
        with progress.stage("Choosing C", unit=_TRIED) as advance:
            C = find_label_C(
                self.C,
                bottleneck,
                data,
                sample_weight,
                concept_C,
                self.residual_C,
                advance,
            )
        bottleneck = bottleneck.scaled(self.residual_C, C)
        with progress.stage("Fitting the label", unit=_STEPS) as advance:
            bottleneck, of_label = fit_label(
                bottleneck, data, penalty=1 / C, advance=advance, **limits
            )
        found = _Solution(bottleneck, concepts, of_label, C, concept_C.numpy())
        if not self._is_joint(schema):
            return found
        with progress.stage("Fitting both together", unit=_LBFGS_STEPS) as advance:
            bottleneck, joint = fit_joint(
                bottleneck,
                data,
                penalty=1 / C,
                concept_penalties=1 / concept_C,
                concept_weight=float(self.concept_weight),
                tol=float(self.tol),
                max_iter=joint_steps(self.max_iter),
                advance=advance,
            )
        return found._replace(bottleneck=bottleneck, joint=joint)

    def _residual_logits(self, X: Any) -> np.ndarray:
        """Return what goes past the concepts, shaped like `coef_` for every row."""
        _, features = self._on_device(X)
        residual = self.residual_coef_.T
        if not isinstance(features, StoredFeatures):
            return _numpy(dense_rows(features)) @ residual
        weights = as_tensor(residual).to(features.device)
        return _numpy(features.mapped(lambda rows: rows @ weights))

    def _label_inputs(self, X: Any) -> np.ndarray:
        """Return the activations, and beside them what the residual sees."""
        bottleneck, features = self._on_device(X)
        return _numpy(dense_rows(bottleneck.activations(features)))

    def _note_correction(self, bottleneck: Bottleneck, data: TrainingData) -> None:
        """Keep what annotations do to predictions for training rows."""
        self._correction = None
        if self.n_concepts_ and self.bottleneck != "logit":
            device = bottleneck.label_parameters.device
            self._correction = _numpy(correction(bottleneck, data.to(device)))

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

    def _on_device(self, X: Any) -> tuple[Bottleneck, Features]:
        X = check_features(self, X, reset=False)
        device = resolve_device(self.device, X)
        return FittedHeads.of(self).tensors(device), as_features(X).to(device)

    def _require_concepts(self, method: str) -> None:
        if not self.n_concepts_:
            raise ValueError(
                f"{method} needs a model with concepts, but this one was fitted "
                "without; pass concepts= to fit."
            )


def _check_residual(
    residual_C: float, X: Matrix, annotations: Annotations | None
) -> None:
    if annotations is None:
        raise ValueError(
            f"residual_C={residual_C} needs concepts: it is for what they do not hold, "
            "and without them the label head sees the features as they are. Pass "
            "concepts= to fit, or leave residual_C=None."
        )
    if isinstance(X, SparseFeatures):
        raise ValueError(
            f"residual_C={residual_C} needs dense features, got a sparse X of "
            f"{X.shape[1]:,} features. Put TruncatedSVD before the classifier, convert "
            "X by X.toarray() if it is small, or leave residual_C=None."
        )


def _check_every_class(classes: np.ndarray, totals: np.ndarray) -> None:
    """Refuse a class without weight: thresholds around it have no optimum."""
    if (totals == 0).any():
        label = classes[totals == 0].tolist()[0]
        raise ValueError(
            "label_head='ordinal' needs a row with weight for every label, but the "
            f"rows of {label!r} have weight 0. Leave these rows out, or give one of "
            "them weight."
        )


def _short(C: Any) -> str:
    return f"{C:.2g}" if isinstance(C, Real) else str(C)


def _upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a model, with what older versions of skclif did not keep."""
    state = {
        "intervention_prob": None,
        "concept_weight": 1.0,
        "residual_C": None,
        "verbose": 0,
        **UNORDERED,
        **state,
    }
    if "coef_" in state:
        state = {"label_order_": None, "monotonic_cst_": {}, **state}
    if "coef_" in state and "C_" not in state:
        state["C_"] = float(state["C"])
        state["concept_C_"] = np.full(state["n_concepts_"], float(state["concept_C"]))
        state["intervention_prob_"] = float(state["training"] == "independent")
        state["_correction"] = None
    if "coef_" in state:
        state = {"residual_coef_": None, "residual_C_": None, **state}
        state = {"held_concepts_": {}, "concept_weight_": None, **state}
    return state


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _centred(weights: np.ndarray) -> np.ndarray:
    """Return the weights of every class's logit, with sum zero over the classes."""
    if len(weights) == 1:
        return np.concatenate([-weights / 2, weights / 2])
    return weights - weights.mean(axis=0)


def _index_of(X: Any) -> pd.Index | None:
    return X.index if isinstance(X, pd.DataFrame | pd.Series) else None
