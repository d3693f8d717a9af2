"""Sample weights from influence, for any classifier that takes them."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils.metadata_routing import UNUSED, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._inputs.checks import (
    all_or_nothing,
    check_flags,
    check_labels,
    check_row_order,
    check_weights,
    count_rows,
    error_context,
)
from .._inputs.features import check_size
from .._inputs.orders import order_of
from .._inputs.pipelines import as_read, final_step, fit_leading, transform_rows
from .._inputs.readable import refuse_texts, refuse_unreadable
from .._inputs.sklearn import (
    HasMethods,
    Interval,
    StrOptions,
    _fit_context,
    _routing_enabled,
)
from .._inputs.tensors import as_array
from .._inputs.wrapper import AroundEstimatorMixin
from ..exceptions import ReweightingWarning, warn_user
from ..targets._target import Target, indexed
from .bottleneck import ConceptBottleneckClassifier
from .linear import check_class_weights
from .reweighter_arguments import check_estimator, check_target, check_validation
from .reweighter_rows import Rows, check_annotations
from .reweighter_search import try_weights
from .reweighter_trials import numpy

_DEFAULT_FOLDS = 5


def _inner_has(method: str) -> Callable[[Any], bool]:
    """Return a check that the estimator, fitted or not, has a method."""

    def check(self: Any) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), method)
        return True

    return check


class InfluenceReweighter(AroundEstimatorMixin, BaseEstimator):
    """Fit a classifier with sample weights that lower the loss of held-out rows.

    Rows whose labels are probably wrong lose their weight. Then rows whose presence
    raises the loss of clean rows lose weight, other rows gain weight, and the total
    stays the same. This takes several rounds. Each round computes influence at the
    weights of the last round. ``strength="auto"`` takes only what is better on rows
    that had no part in the weights. If nothing is, the classifier is fitted with the
    given weights, and a warning and `reason_` say why. See :doc:`/reweighting`.

    A search that judges by wrong labels prefers ``strength=0``. Let it judge by clean
    rows: :func:`skclif.metrics.make_clean_scorer`.

    Parameters
    ----------
    estimator : estimator
        A classifier whose `fit` takes `sample_weight`, or a pipeline that ends in such
        a classifier. A :class:`ConceptBottleneckClassifier` or a
        :class:`~sklearn.linear_model.LogisticRegression` with an L2 penalty gives its
        own influence; any other classifier needs a `surrogate`.
    strength : "auto" or float, default="auto"
        How far all rounds together move weights: by ``2 * strength`` in log-odds for a
        standard score of 1. 0 takes no round. "auto" adds 1 per round until a round
        makes things worse, and chooses the round.
    use_suspects : "auto" or bool, default="auto"
        Whether rows start with the probability that their label is right times their
        weight, and rows that are probably wrong with almost none (1e-12). Then also
        ``strength=0`` changes weights. "auto" does this with ``strength="auto"``, if
        some labels seem to be wrong and held-out rows do not speak against it.
    n_rounds : int, default=5
        Maximum number of rounds.
    cv : int, splitter, iterable of splits or None, default=5
        Folds of the rows whose loss counts, at least three. These rows are the clean
        rows, or all rows if no row is known to be clean. An int is the number of
        shuffled, stratified folds, and None is 5. An iterable holds (train, test)
        positions in `X`, or in `X_val` if that is given; every row whose loss counts
        must be in exactly one test part. Labels of other rows are suspected by models
        of the same folds if each is in one test part too, and otherwise by five
        shuffled folds of their own.
    max_weight : float, default=2.0
        Upper bound on the multipliers of weights, before they are scaled to keep the
        total weight.
    surrogate : estimator, default=None
        A ConceptBottleneckClassifier, a LogisticRegression, or a pipeline that ends in
        one of these. Its influence is used; it is fitted to the features of the
        estimator's last step. None is the estimator's own influence if it has any, and
        otherwise a softmax regression (``C=1``) on standardised features with mean
        squared length 1, in which the mean replaces missing values.
    include_validation : bool, default=True
        Whether the clean rows train the final classifier too. Clean rows of a class
        that has no other rows always train it.
    random_state : int, RandomState instance or None, default=None
        Shuffles the folds.
    verbose : int, default=0
        If positive, show progress on stderr, with the time left, as soon as the call
        has taken two seconds. Fits of the estimator are its own.
    target : Target, default=None
        What weights are to make better, on the rows whose loss counts: a target of
        :mod:`skclif.targets`, or of its `from_function`. None is the mean log-loss. Of
        such a target, every row counts once, whatever its weight, and "auto" compares
        rounds by it alone; by a gap, with the accuracy, which must not fall beyond
        doubt (95 %).

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        The given weights times the learned multipliers, one weight for each row of `X`.
        Clean rows keep their weight, or have weight 0 without `include_validation`.
    influence_ : ndarray of shape (n_samples,)
        First-order effect of every row's presence on the mean log-loss of the clean
        rows (nats; positive = harmful) before the first round; without clean rows, on
        the mean probability of error. With a `target`, the effect on it, in its unit.
        NaN for clean rows and for rows of weight 0, and for all rows if there was no
        round.
    probability_wrong_ : ndarray of shape (n_samples,)
        Probability that the row's label is wrong, in the eyes of models that were not
        trained on it. NaN for clean rows and for rows of weight 0, and for all rows if
        no label seems to be wrong.
    used_suspects_ : bool
        Whether these probabilities changed the weights.
    strength_ : float
        The strength that was used.
    n_rounds_ : int
        Number of rounds that were used.
    reason_ : str
        Why these weights: what was tried, and its effect on held-out rows with 95 %
        intervals (t over folds).
    history_ : dict of str to ndarray of shape (n_tried,)
        The start, then suspects alone if any label seems to be wrong, then every
        round: "strength"; "suspects", whether suspects lost weight; and "signal", the
        share of the variance of harm over rows that is not disagreement between folds.
        With "auto" also "log_loss" (nats) and "accuracy" on rows that had no part in
        the weights, and "std_error" and "accuracy_std_error", the standard errors over
        folds of the differences to what it started from: the start, and for rounds
        suspects alone if these were taken. Without clean rows also "noise", the share
        of labels that noise changes, at the rate that makes held-out labels most
        likely. With a `target` also "target", its value. Then the standard errors are
        of it: over folds, or if that is more, the distance of the change to its 84th
        percentile on rows drawn anew. Empty if nothing was tried.
    estimator_ : estimator
        The fitted clone.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    n_features_in_ : int
        Number of features seen in `fit`, if the estimator knows it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if the estimator knows them.

    See Also
    --------
    ConceptInfluenceExplainer : Which training rows caused a prediction, and how.

    Notes
    -----
    A round adds ``-2 * dose * s * z_i`` to the log-odds of row i. The multiplier of the
    weight is `max_weight` times the sigmoid of the log-odds, shifted to be 1 at the
    start. ``z`` is the weighted standard score of harm, the derivative of the held-out
    loss in the row's weight. ``s`` is the signal, the share of harm's variance that is
    not disagreement between folds: ``max(0, 1 - mean(se_i^2) / var(harm))``. The mean
    multiplier of a class never falls below one tenth of the overall mean.

    Without clean rows, the labels that judge may be wrong too. Harm is then harm to the
    probability of error: noise that is the same for all classes changes its scale, but
    not its direction [2]_. "log_loss" is then that of the labels after such noise, at
    the rate that makes them most likely.

    "auto" takes suspects if the noise model of :meth:`~ConceptInfluenceExplainer.\
suspect_labels` makes the labels more likely with wrong ones than without, if
    out-of-fold log-loss falls, and if the 95 % interval of its change does not lie
    below 0. Then it takes the round of least out-of-fold
    log-loss among the rounds with at least as many correct predictions as before, if it
    is better by more than a standard error over folds.

    References
    ----------
    .. [1] P. W. Koh and P. Liang (2017). Understanding black-box predictions via
       influence functions. ICML. arXiv 1703.04730.
    .. [2] A. Ghosh, H. Kumar and P. S. Sastry (2017). Robust loss functions under label
       noise for deep neural networks. AAAI. arXiv 1712.09482.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import InfluenceReweighter
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(600, 5)
    >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
    >>> is_clean = np.arange(600) < 200
    >>> wrong = ~is_clean & (X[:, 2] > 0.5)
    >>> y[wrong] = 1
    >>> reweighter = InfluenceReweighter(LogisticRegression(), random_state=0)
    >>> reweighter.fit(X, y, is_clean=is_clean).strength_ > 0
    True
    >>> weights = reweighter.sample_weight_
    >>> bool(weights[wrong].mean() < weights[~wrong].mean())
    True
    """

    __module__ = "skclif"

    _parameter_constraints: dict[str, Any] = {
        "estimator": [HasMethods(["fit"])],  # a stack predicts only when fitted
        "strength": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "use_suspects": [StrOptions({"auto"}), "boolean"],
        "n_rounds": [Interval(Integral, 1, None, closed="left")],
        "cv": ["cv_object"],
        "max_weight": [Interval(Real, 1, None, closed="neither")],
        "surrogate": [HasMethods(["fit", "predict"]), None],
        "include_validation": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "target": "no_validation",  # see `check_target`
    }

    __metadata_request__fit = {
        "concepts": True,
        "concept_sample_weight": True,
        "is_clean": True,
        "target_groups": True,
        # A search would pass them on whole, or slice them as if they were rows of X.
        "X_val": UNUSED,
        "y_val": UNUSED,
    }

    def __init__(
        self,
        estimator: Any,
        *,
        strength: float | str = "auto",
        use_suspects: bool | str = "auto",
        n_rounds: int = 5,
        cv: Any = 5,
        max_weight: float = 2.0,
        surrogate: Any = None,
        include_validation: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        target: Target | None = None,
    ):
        self.estimator = estimator
        self.strength = strength
        self.use_suspects = use_suspects
        self.n_rounds = n_rounds
        self.cv = cv
        self.max_weight = max_weight
        self.surrogate = surrogate
        self.include_validation = include_validation
        self.random_state = random_state
        self.verbose = verbose
        self.target = target

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
        is_clean: ArrayLike | None = None,
        target_groups: ArrayLike | None = None,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
    ) -> InfluenceReweighter:
        """Learn weights and fit the estimator with them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes: features, or texts for a pipeline.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, which the learned multipliers multiply. None is 1. Rows
            of weight 0 are left out.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            Annotations, plain or soft; see :meth:`ConceptBottleneckClassifier.fit`.
        concept_sample_weight : array-like of shape (n_samples, n_concepts), \
                default=None
            Weights of the annotations, by name if both have names; see
            :meth:`ConceptBottleneckClassifier.fit`.
        is_clean : array-like of shape (n_samples,), dtype bool, default=None
            Rows whose labels can be trusted. Searches and pipelines slice it with the
            rows. Without clean rows, influence on the rows themselves is used, always
            out of fold.
        target_groups : array-like of shape (n_samples,), default=None
            Groups of the rows for a `target` that has none of its own, such as
            ``worst_group_loss()``. Searches and pipelines slice it with the rows. With
            `X_val`, its rows' groups instead, of shape (n_validation,).
        X_val : {array-like, sparse matrix} of shape (n_validation, n_features) or \
                (n_validation,), default=None
            Clean rows that are not in `X`, for direct fits. With `include_validation`
            each has the mean weight of the training rows, and no annotations.
        y_val : array-like of shape (n_validation,), default=None
            Labels of these rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If the estimator is not a classifier, takes no `sample_weight` or does not
            hand it on, is frozen, is a search, does not take sparse features and gets
            them, or is given `concepts` that it does not take.
        ValueError
            If lengths differ, clean rows are given twice, `X_val` is as long as `X`,
            `cv` does not test every row whose loss counts exactly once, there are
            texts where numbers are needed, the `target` cannot be differentiated or
            lacks groups, or pandas objects have the same index in another order.

        Warns
        -----
        ReweightingWarning
            If weights stay as given although others were asked for: a class has too few
            clean rows, or nothing that was tried helped. `reason_` says the same.
        """
        check_estimator(self.estimator, concepts, concept_sample_weight)
        of_target = {**indexed(self.target), "target_groups": target_groups}
        check_row_order(
            X=X,
            y=y,
            sample_weight=sample_weight,
            concepts=concepts,
            concept_sample_weight=concept_sample_weight,
            is_clean=is_clean,
            **({} if X_val is not None else of_target),
        )
        check_row_order(X_val=X_val, y_val=y_val)
        if X_val is not None:
            check_row_order(X_val=X_val, **of_target)
        label_order = order_of(y)
        y = check_labels(y, count_rows(X), warn=True)
        if not len(y):
            raise ValueError("X has 0 sample(s), but at least 1 is needed.")
        (X,) = indexable(as_array("X", X))
        X_val = as_array("X_val", X_val)
        clean = None
        if is_clean is not None:
            clean = check_flags("is_clean", is_clean, len(y))
        y_val = check_validation(X_val, y_val, clean, len(y))
        target = check_target(self.target, target_groups, y, y_val)
        metadata = {
            "sample_weight": as_array("sample_weight", sample_weight),
            "concepts": as_array("concepts", concepts),
            "concept_sample_weight": as_array(
                "concept_sample_weight", concept_sample_weight
            ),
        }
        if _routing_enabled():
            given = {"is_clean": is_clean, "target_groups": target_groups, **metadata}
            given = {name: v for name, v in given.items() if v is not None}
            process_routing(self, "fit", **given)
        weights = check_weights(sample_weight, y)
        check_class_weights(self.estimator, y, weights)
        self.estimator_ = clone(self.estimator)
        features = fit_leading(self.estimator_, X, y, **metadata)
        self._check_readable(features)
        check_annotations(concepts, concept_sample_weight, len(y))
        rows = Rows(
            features,
            y,
            weights,
            clean,
            concepts,
            concept_sample_weight,
            label_order=label_order,
        )
        if y_val is not None:
            with error_context("X_val", "rows like those of X"):
                added = transform_rows(self.estimator_, X_val)
            model = final_step(self.estimator_)
            rows = rows.extended(added, y_val, get_tags(model).input_tags.allow_nan)
            if isinstance(model, ConceptBottleneckClassifier):
                check_size("X_val", added)
        multipliers, influence, wrong = self._learn(rows, target)
        weights = rows.weights * multipliers
        if not self.include_validation:
            weights[~rows.adapted & ~rows.alone_in_class()] = 0
        rows.fit(final_step(self.estimator_), weights)
        self.sample_weight_, self.influence_ = weights[: len(y)], influence[: len(y)]
        self.probability_wrong_ = wrong[: len(y)]
        self.classes_ = self.estimator_.classes_
        return self

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities of the labels with the fitted estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(as_read(self.estimator_, X))

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Return the decision function of the fitted estimator.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            One column for each class; for two classes the score of the second class.
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(as_read(self.estimator_, X))

    def _check_readable(self, features: Any) -> None:
        """Refuse what no model here can read, before weights are learned."""
        model = final_step(self.estimator_)
        if isinstance(model, ConceptBottleneckClassifier):  # says so by itself
            return
        refuse_unreadable(model, features)
        learned = self.strength != 0 or self.use_suspects is True
        if self.surrogate is None and learned:
            refuse_texts(
                features,
                model,
                "the model that weights are learned from",
                "; or give a surrogate that reads X",
            )

    def _learn(
        self, rows: Rows, target: Target | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return multipliers, influence, and probabilities; store what led to them."""
        unknown = np.full(len(rows.y), np.nan)
        unchanged = np.ones(len(rows.y)), unknown, unknown
        self.strength_, self.n_rounds_, self.used_suspects_ = 0.0, 0, False
        self.history_, automatic = {}, self.strength == "auto"
        suspecting = self.use_suspects is True or (
            automatic and self.use_suspects == "auto"
        )
        n_rounds = self.n_rounds if automatic or self.strength else 0
        if not n_rounds and not suspecting:
            self.reason_ = "strength=0 was asked for."
            return unchanged
        cv = _DEFAULT_FOLDS if self.cv is None else self.cv
        self.reason_ = rows.too_few(cv)
        if self.reason_:
            _warn_unchanged(self.reason_)
            return unchanged
        trials = try_weights(
            *(self, rows, target, cv),
            suspecting=suspecting,
            automatic=automatic,
            n_rounds=n_rounds,
        )
        self.history_, self.reason_ = trials.history(), trials.reason()
        self.strength_, self.n_rounds_ = trials.strength, trials.n_rounds
        self.used_suspects_ = trials.used_suspects
        if not trials.taken:
            _warn_unchanged(self.reason_)
        multipliers, influence, wrong = (part.copy() for part in unchanged)
        kept = rows.weights > 0
        multipliers[kept] = numpy(trials.all[trials.taken].multipliers)
        if trials.rounds:
            influence[kept] = numpy(trials.rounds[0].influence)
        if trials.suspicion is not None:
            wrong[kept] = numpy(trials.suspicion.probability_wrong)
        return multipliers, influence, wrong

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Of older versions.
        super().__setstate__({"verbose": 0, "target": None, **state})

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator).input_tags
        nan, as_sparse = True, True  # what the default surrogate accepts
        if self.surrogate is not None and self.strength != 0:
            given = get_tags(self.surrogate).input_tags
            nan, as_sparse = given.allow_nan, given.sparse
        tags.input_tags.allow_nan = inner.allow_nan and nan
        tags.input_tags.sparse = inner.sparse and as_sparse
        return tags


def _warn_unchanged(reason: str) -> None:
    """Warn that weights stay as given."""
    warn_user(f"Weights stay as given. {reason}", ReweightingWarning)
