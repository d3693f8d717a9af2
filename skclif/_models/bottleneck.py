"""A classifier that decides through human concepts.

Concept bottleneck models are due to Koh et al. (2020), arXiv 2007.04612.
"""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from .._cluster.collections import any_collection
from .._inputs.checks import all_or_nothing
from .._inputs.documentation import DocumentedMixin
from .._inputs.sklearn import Interval, StrOptions, _fit_context
from .fitting import fit_rows
from .intervening import InterveningMixin
from .older import upgraded
from .on_cluster import read_on_cluster
from .options import check_options
from .predicting import PredictingMixin
from .rows_read import read_in_process


class ConceptBottleneckClassifier(
    DocumentedMixin, PredictingMixin, InterveningMixin, BaseEstimator
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
        check_options(self)
        arguments = X, y, sample_weight, concepts, concept_sample_weight
        read = read_on_cluster if any_collection(*arguments) else read_in_process
        fit_rows(self, read(self, *arguments))
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Labels without an order are not along one direction.
        tags.classifier_tags.poor_score = self.label_head == "ordinal"
        tags.input_tags.sparse = self.residual_C is None
        return tags

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(upgraded(state))
