"""Which training rows caused a prediction, and through which annotation.

Influence functions through a concept bottleneck: CLIF, arXiv 2605.19848.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import check_is_fitted

from .. import targets
from .._inputs.annotations import Annotations
from .._inputs.checks import (
    all_or_nothing,
    as_rows,
    check_count,
    check_input_features,
    check_labels,
    check_row_order,
    check_training_order,
    check_weights,
    count_rows,
    index_of_rows,
)
from .._inputs.devices import resolve_device
from .._inputs.features import check_features
from .._inputs.orders import order_of
from .._inputs.pipelines import final_step, fit_parts, transform_rows
from .._inputs.progress import Progress
from .._inputs.sklearn import HasMethods, StrOptions, _fit_context, _routing_enabled
from .._inputs.training_rows import TrainingRows, as_features, as_tensor, own_copy
from .._inputs.wrapper import AroundEstimatorMixin
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.fitted import FittedHeads
from .._models.linear import check_class_weights, check_explainable, training_rows
from .._results.annotations import AnnotationSuggestions
from .._results.audit_report import AuditReport
from .._results.comparison import EditComparison
from .._results.edits import EditResult
from .._results.flip_set import FlipSet
from .._results.influence import InfluenceResult
from .._results.suggestions import EditSuggestions
from .._results.validation import ValidationResult
from .._results.word_evidence import SPECIAL, WordEvidence
from .._results.words import column_of_concept
from ..numerics.bottleneck import concept_effects, mean_activations
from ..numerics.hessians import Factors
from ..numerics.joint_hessian import JointHessian
from ..numerics.sparse import Matrix
from ..numerics.targets import SetTarget, Target
from ..targets._target import indexed
from .annotations.ranking import rank_concepts
from .annotations.suggest import suggest_annotations
from .collect import SumGroups
from .compare import check_methods, compare_with_retraining
from .edits.arguments import (
    check_edit,
    check_steps,
    check_target_of_edit,
    check_validation,
)
from .edits.compare import annotation_codes, compare_heads, joint_schema
from .edits.grown import values_set_aside
from .edits.solve import (
    Edited,
    edit_model,
    effects,
    heads_of_edit,
    verdict_of,
    write_record,
)
from .edits.verdicts import check_groups_val
from .engine import (
    METHODS,
    Solved,
    is_differentiable,
    path_names,
    refuse_joint,
    term_paths,
    warn_of_hard_activations,
    warn_of_lost_labels,
)
from .flips import find_flip_set, one_row
from .readable import annotations_of, coded_rows, labels_of, texts_of, with_texts_below
from .requests import (
    TargetLike,
    check_methods_of,
    checked_target,
    class_codes,
    collector,
    describe_target,
    explained_codes,
    mean_of,
    numeric_targets,
    shares_of,
)
from .sets import influence_of_groups, warn_of_lost_groups
from .sources import check_sources
from .suggestions.arguments import check_budget, check_enough, check_kinds
from .suggestions.believed import believe
from .suggestions.candidates import KINDS, candidate_edits
from .suggestions.selection import suggest
from .suggestions.table import frame_of, warn_of_hard_suggestions, warn_unless_helpful
from .suggestions.validation import validation_of
from .suspects import (
    LABEL,
    check_ordinal,
    check_sort_by,
    check_which,
    find_suspects,
    in_order,
    paths_and_values,
)
from .word_evidence import (
    WordReader,
    begins_with_embedder,
    exact_reader,
    find_evidence,
)
from .words import (
    CONSTANT,
    check_path,
    feature_names,
    features_frame,
    features_of_row,
    linear_influence,
    text_frame,
)
from .words import LABEL as OF_LABEL


class ConceptInfluenceExplainer(AroundEstimatorMixin, TransformerMixin, BaseEstimator):
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
            "sample_weight": sample_weight,
            "concepts": concepts,
            "concept_sample_weight": concept_sample_weight,
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
        self._aside = values_set_aside(self._heads(), annotations)
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
        return self.estimator_.predict_proba(X)

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

    def influence(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        target: TargetLike = "loss",
        paths: bool = False,
        groups: ArrayLike | None = None,
        reduce: str | None = None,
        top: int | None = None,
    ) -> InfluenceResult:
        """Return the influence of every training row on predictions for `X`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_targets, n_features) or (n_targets,)
            Rows whose predictions are explained.
        y : array-like of shape (n_targets,), default=None
            The class that each target is about. None is the predicted class.
        target : {"loss", "log_proba", "logit", "margin"}, tuple, Target or callable, \
                default="loss"
            "loss" is ``-log p(y)`` and "log_proba" its negative (nats). "logit" is the
            decision function of class y. "margin" is the logit of y minus the largest
            other logit. ``("concept", name, value)`` is the probability of a concept's
            value. ``("concept", name)`` is the prediction of a continuous concept, in
            the unit of the concept. A target of :mod:`skclif.targets`, or a function
            of predicted probabilities, is one number of all rows: one target.
        paths : bool, default=False
            Whether to return every path by itself. They add up to the influence of the
            row.
        groups : array-like of shape (n_train,), default=None
            The group of each training row, such as its source. Groups are removed as a
            whole, each by itself; "first_order" sums. See :doc:`/sets`.
        reduce : {"mean", "sum"}, default=None
            Explain the mean or the sum over the targets instead of each target.
        top : int, default=None
            Number of training rows to keep for each target, by magnitude. The result
            takes memory of O(n_targets * top). None keeps all.

        Returns
        -------
        result : InfluenceResult
            Its `values` have shape (n_targets, n_train) or, with paths, (n_targets,
            n_train, n_paths), float64: the effect of a row's presence on the target, in
            the target's unit; on a loss, positive = harmful. NaN for the only row of a
            label that an ordinal head needs, and for a group with all rows of a class
            or all annotations of a value, except to first order.

        Raises
        ------
        ValueError
            If the target, a class or a concept is unknown, lengths differ, a head is
            determined by one row alone, so that only "first_order" can remove it, or
            Hessians do not fit scikit-learn's `working_memory`.

        Warns
        -----
        InfluenceWarning
            If removals are too large for one step of "leverage" or do not converge by
            "newton", or if annotations act through hard activations, whose flips
            "first_order" and "leverage" do not see. If a row is the only one of its
            label: its influence is NaN, or can be far off. If a group holds all rows of
            a class, or all annotations of a value: its influence is NaN.
        """
        check_is_fitted(self)
        progress = Progress(self.verbose)
        if not isinstance(paths, bool | np.bool_):
            raise ValueError(f"paths={paths!r} must be True or False.")
        check_row_order(X=X, y=y, **indexed(target))
        check_training_order("groups", groups, self._index)
        heads, features = self._heads(), self._features(X)
        target = checked_target(target, y)
        name, unit, higher_is_better = describe_target(heads, target, reduce)
        codes = explained_codes(heads, features, y)
        shares = shares_of(reduce, len(features))
        solved = self._solved_model()
        about = numeric_targets(heads, target, codes, solved.device, features)
        questions = solved.questions(features, about, shares)
        method = solved.possible(
            self.method,
            of_groups=groups is not None,
            derivable=is_differentiable(questions[0].target),
        )
        check_methods_of(questions, [method])
        names = path_names(heads, method)
        is_set = isinstance(target, targets.Target)
        kept, group_names = collector(
            1 if is_set or shares is not None else len(features),
            self.n_samples_,
            len(names) if paths else 1,
            paths=paths,
            groups=groups,
            top=top,
        )
        if isinstance(kept, SumGroups):
            answered = influence_of_groups(
                solved, method, questions, kept, paths=paths, progress=progress
            )
            warn_of_lost_groups(heads, kept.names, answered.lost)
        else:
            answered = solved.answers(
                method, questions, kept, top, paths=paths, progress=progress
            )
            warn_of_lost_labels(solved, answered.method)
        if is_set or isinstance(target, str):
            warn_of_hard_activations(heads, answered.method)
        explained = {"value": solved.values(questions)}
        if is_set:
            explained = {"rows": np.array([len(features)]), **explained}
        elif reduce is None:
            labels = self.classes_[codes]
            explained = {**texts_of(X), "label": labels, **explained}
        return InfluenceResult(
            answered.values,
            path_names(heads, answered.method) if paths else None,
            target=name,
            unit=unit,
            higher_is_better=higher_is_better,
            method=answered.method,
            rows=answered.rows,
            groups=group_names,
            confirmed=answered.confirmed,
            training=self._training_frame(),
            explained=pd.DataFrame(explained),
            # Of the model and the rows as they are now: another fit replaces them.
            _words=partial(copy(self)._words, solved, features, about, shares),
        )

    def evidence(
        self, X: Any, *, concept: str, value: Any = None, against: Any = None
    ) -> WordEvidence:
        """Return the words of texts with their shares of a concept or of the label.

        The vector of a text is a mean over its tokens, so a concept's logit is a sum
        over words, a bias, and the share of the special tokens that a model may put
        around a text: to the last digit, without sampling. It is the logit that is
        split, not what the words mean to people: a token's vector depends on the words
        around it. See :doc:`/evidence`.

        Parameters
        ----------
        X : array-like of str of shape (n_texts,) or (n_texts, 1)
            The texts.
        concept : str
            Name of a concept, or "label".
        value : object, default=None
            The value whose logit is split. None is the predicted value of each text.
            With ``label_head="ordinal"``, a label: the log-odds of those above it.
        against : object, default=None
            Another value: the log-odds of `value` against it. None is the logit
            against the average value, or with two values that against the other.

        Returns
        -------
        evidence : WordEvidence
            For every text its words, their shares in log-odds (positive = for the
            value), and what no word carries.

        Raises
        ------
        TypeError
            If the pipeline does not begin with a :class:`SentenceEmbedder`, or has
            other steps that are not linear.
        ValueError
            If the embedder's vectors are no sums over words, or the concept, or a
            value, is unknown, the same in all rows, or has no share.

        Warns
        -----
        TruncatedTextWarning
            If texts are longer than the model reads: words behind have no share.

        Notes
        -----
        With concepts that are probabilities (``bottleneck="soft"``), the label is not
        linear in the vector. Its shares are those of the linear model that equals the
        bottleneck at the text itself, and `linearised` says so. What they leave of the
        logit is in the bias.
        """
        check_is_fitted(self)
        reader = WordReader.of(self.estimator_, "evidence")
        return find_evidence(reader, self._heads(), X, concept, value, against)

    def smallest_flip_set(self, X: Any, *, max_size: int = 10) -> FlipSet:
        """Return few training rows without which another class is predicted.

        The search is greedy: after every removal both stages are solved again, and
        influence is computed anew. With few training rows several sets of each size are
        followed. In the end both stages are fitted from zero without the rows, which
        decides whether the prediction changes. See :doc:`/sets`.

        Parameters
        ----------
        X : str, or {array-like, sparse matrix} of shape (1, n_features) or (1,)
            The row whose prediction is to change.
        max_size : int, default=10
            Most rows to remove. All rows but one are the most that there are.

        Returns
        -------
        result : FlipSet
            The rows, the prediction with and without them, and whether the prediction
            changes. ``found=False`` says that no set of up to `max_size` rows was
            found, not that there is none.

        Raises
        ------
        TypeError
            If `max_size` is no whole number.
        ValueError
            If `X` does not have one row, `max_size` is below 1, or the stages were
            trained together.

        Warns
        -----
        ConvergenceWarning
            If the fit without the rows did not reach its tolerance, so that nothing is
            proved.

        Notes
        -----
        Sets that hold all rows of a class, or all annotations of a value, are left out:
        without them a head has no optimum. Class weights and penalties stay as they
        were chosen in `fit`, as in `edit`.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(30, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X, y, concepts=concepts)
        >>> explainer.smallest_flip_set(X[[28]])
        <FlipSet of 2 rows: 1 becomes 0, p(1) 0.554 to 0.482; proved by refitting>
        """
        check_is_fitted(self)
        progress = Progress(self.verbose)
        max_size = check_count("max_size", max_size, 1, None)
        max_size = min(max_size, self.n_samples_ - 1)
        features = self._features(one_row(X))
        return find_flip_set(
            self._solved_model(),
            self._heads(),
            features,
            max_size,
            self._training_frame(),
            progress,
        )

    def validate(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        target: TargetLike = "loss",
        n_rows: int = 50,
        n_paths: int | None = None,
        methods: Sequence[str] = ("newton", "leverage", "first_order"),
        random_state: int | np.random.RandomState | None = None,
    ) -> ValidationResult:
        """Retrain without training rows, and compare with their influence.

        Half of the rows are those of the largest influence by leverage; the others are
        random. Both stages are fitted again without each row, which takes up to half a
        second per row with a thousand training rows. The explainer does not change. The
        only row of a label that an ordinal head needs stays in. See :doc:`/influences`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_targets, n_features) or (n_targets,)
            Rows whose predictions are explained.
        y : array-like of shape (n_targets,), default=None
            The class that each target is about. None is the predicted class.
        target : {"loss", "log_proba", "logit", "margin"}, tuple, Target or callable, \
                default="loss"
            As in `influence`.
        n_rows : int, default=50
            Number of training rows to leave out, one at a time.
        n_paths : int, default=None
            Number of these rows, at most `n_rows`, that are also left out one loss term
            at a time. None is 10, or all rows if there are fewer.
        methods : sequence of str, default=("newton", "leverage", "first_order")
            The methods to compare with retraining. A model of ``training="joint"`` has
            no "leverage", which is left out.
        random_state : int, RandomState instance or None, default=None
            Chooses the random rows, and the rows of which every loss term is left out.

        Returns
        -------
        result : ValidationResult
            Correlation, relative error, agreement of signs and time of every method,
            for rows and for every path. The effects that are compared are those of the
            presence of a row or a loss term, in the target's unit.

        Raises
        ------
        ValueError
            If `n_rows` is above the number of training rows or `n_paths` above
            `n_rows`, a method, the target, a class or a concept is unknown, lengths
            differ, or a head is determined by one row alone.
        RuntimeError
            If retraining does not reach an optimum.

        Warns
        -----
        InfluenceWarning
            As in `influence`, for the rows that are left out; or if no retraining
            changes the target.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(60, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X, y, concepts=concepts)
        >>> report = explainer.validate(X, y, n_rows=6, n_paths=2, random_state=0)
        >>> frame = report.to_frame().query("method == 'newton'")
        >>> frame["removed"].tolist()
        ['row', 'label', 'concept0', 'concept1', 'interaction']
        >>> bool((frame["relative_error"] < 0.01).all())
        True
        """
        check_is_fitted(self)
        progress = Progress(self.verbose)
        check_row_order(X=X, y=y, **indexed(target))
        heads, features = self._heads(), self._features(X)
        target = checked_target(target, y)
        name, unit, _ = describe_target(heads, target, None)
        codes = explained_codes(heads, features, y)
        n_rows = check_count("n_rows", n_rows, 1, self.n_samples_)
        n_paths = min(10, n_rows) if n_paths is None else n_paths
        n_paths = check_count("n_paths", n_paths, 0, n_rows)
        methods = check_methods(methods, is_joint=heads.is_joint)
        solved = self._solved_model()
        about = numeric_targets(heads, target, codes, solved.device, features)
        questions = solved.questions(features, about, None)
        check_methods_of(questions, methods, "methods=('newton', 'leverage')")
        warn_of_lost_labels(solved, "retraining")
        return compare_with_retraining(
            solved,
            questions,
            term_paths(heads),
            n_rows=n_rows,
            n_paths=n_paths,
            methods=methods,
            random_state=check_random_state(random_state),
            target=name,
            unit=unit,
            progress=progress,
        )

    def suspect_labels(
        self,
        which: str | Sequence[str] | None = None,
        *,
        ordinal: str | Sequence[str] | dict[str, Any] | None = None,
        groups: ArrayLike | None = None,
        sort_by: str = "evenly",
    ) -> pd.DataFrame:
        """Return every label and annotation, the most likely errors of a path first.

        Each value is judged by its own head, as if the head had been trained without
        this value. Whether a change would *help* is another question: see
        `suggest_edits`.

        Parameters
        ----------
        which : str or sequence of str, default=None
            The paths to list: "label" or names of concepts. None lists all. It changes
            no number except the rank.
        ordinal : str, sequence of str or dict, default=None
            Paths whose values have an order, if wrong values are next to the right
            value: 2 instead of 1, and never 5. A dict gives the values of each path in
            their order. Without a dict, the order is that of the model's
            `label_order_`, of an ordered categorical type in `fit`, or of numbers, also
            if they are texts; otherwise letters decide, with a warning.
        groups : array-like of shape (n_samples,) or DataFrame, default=None
            The source of each training row, such as its annotator; of a DataFrame,
            columns named as paths hold the sources of their values. A source that is
            far more likely to confuse values in its own way is judged by its own rates,
            shrunk to the common rate. None = one source. Numbers are judged without it.
        sort_by : {"evenly", "probability_wrong"}, default="evenly"
            What the order is for. Within a path, the most probable errors come first.

            - "evenly": to mend all heads. The list finds the errors of all paths at the
              same pace: each path gets lines in proportion to the number of its values
              that are expected to be wrong. Labels get up to four times as many, but no
              higher a share of them than of annotations.
            - "probability_wrong": to find the most errors in the fewest lines. The
              paths that are easiest to judge come first, and labels often last.

        Returns
        -------
        suspects : DataFrame of shape (n_terms, 10) or more
            One line for each label and annotation that has a value and a weight above
            0. "Left out" means that the head was trained without this value. The only
            row of a label that an ordinal head needs has no line for its label.

            - row, path: the position of the training row, and "label" or the concept;
            - current, proposed: the value, and the most probable of the others; for a
              continuous concept, the left-out prediction;
            - loss: the left-out loss of the head (nats; for a continuous concept, half
              the squared error);
            - margin: the left-out probability of the current value minus the largest
              other probability; for a continuous concept, minus the size of the
              studentised residual, in standard deviations;
            - self_influence: the effect of the value's presence on its own loss, in the
              loss's unit; negative = its loss is lower with it;
            - probability_wrong: that the current value is wrong, between 0 and 1;
            - probability_proposed: that the proposed value is the true one, never more
              than `probability_wrong`; NaN for a continuous concept, where no single
              number has a probability;
            - rank: from 1, in the order of the list;
            - group: the source of the value, if there are `groups`;
            - the texts of the row, if the explainer was fitted to texts.

            ``suspects.attrs["unknown"]`` lists the paths of which nothing can be said.
            With `groups`, ``suspects.by_group()`` says who errs how often; see
            :ref:`sources`.

            The former names `suggested` and `probability` of two columns still work,
            with a `FutureWarning`.

        Raises
        ------
        TypeError
            If `which` or `ordinal` holds anything except names, or `groups` is no list
            or array.
        ValueError
            If a path is unknown, an order does not have each value once, `groups` does
            not have one entry for each training row, `sort_by` is something else, or a
            head is determined by one value alone.

        Warns
        -----
        SuspectWarning
            If the head of a path predicts its values no better than their shares do, so
            that all of them get the same probability; a path has fewer than 50 values;
            letters decide the order of a path in `ordinal`; or a label is not listed.

        Notes
        -----
        Values are left out in one Newton step, in closed form. Both probabilities come
        from a model of the noise, in which every value counts once, whatever its
        weight. If labels are confused with similar labels, the probabilities are too
        small. See :doc:`/suspects`.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(60, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> concepts[59, 1] = "yes"
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> y[7] = 1 - y[7]
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X, y, concepts=concepts)
        >>> suspects = explainer.suspect_labels()
        >>> wrong = suspects.query("probability_wrong > 0.5")
        >>> wrong[["row", "path", "current", "proposed"]]
           row      path current proposed
        0    7     label       0        1
        1   59  concept1     yes       no
        """
        check_is_fitted(self)
        self._refuse_joint("suspect_labels")
        progress = Progress(self.verbose)
        values = paths_and_values(self._heads())
        asked = check_which(which, values)
        ranks = check_ordinal(ordinal, values, self._known_orders())
        check_training_order("groups", groups, self._index)
        sources = check_sources(groups, self.n_samples_, values)
        sort_by = check_sort_by(sort_by)
        return find_suspects(
            self._solved_model(),
            values,
            asked,
            ranks,
            sources,
            self._texts(),
            progress,
            sort_by,
        )

    def suggest_edits(
        self,
        X: Any,
        y: ArrayLike | None,
        *,
        target: TargetLike = "loss",
        kinds: Sequence[str] = KINDS,
        budget: int | None = None,
        ordinal: str | Sequence[str] | dict[str, Any] | None = None,
        groups: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> EditSuggestions:
        """Suggest changes of training rows that would help a target.

        Compares, for each training row, another label, another value of each
        annotation, every value of a missing one, twice and half its weight, and its
        removal. A value is replaced only where `suspect_labels` believes that it is
        wrong, and that the proposed value is the true one. A row that is right, and
        does harm, can only be dropped or weighted. See :doc:`/suggestions`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_validation, n_features) or \
                (n_validation,)
            Validation rows, at least 20, none of them a training row. An interval takes
            at least 50.
        y : array-like of shape (n_validation,)
            The labels of the validation rows: the class that each target is about. None
            if the target is a concept, or needs no labels.
        target : {"loss", "log_proba", "logit", "margin"}, tuple or Target, \
                default="loss"
            What to help, as in `influence`: its mean over the validation rows, or the
            one number of all of them. A loss should fall; a target of
            :mod:`skclif.targets` says which way is good; all others should rise. A
            function has to be one of :func:`skclif.targets.from_function`.
        kinds : sequence of str, default=("relabel", "annotate", "reweight", "drop")
            What may change: labels; annotations, missing annotations too; the weights
            of rows, by a factor of 2 or 1/2; and whether a row is kept.
        budget : int, default=None
            Maximum number of changes. None is a tenth of the training rows. Only
            changes with a good effect are suggested: the best change of every row and
            path, and no other change of a row whose weight changes.
        ordinal : str, sequence of str or dict, default=None
            Paths whose wrong values are next to the right value, as in
            `suspect_labels`.
        groups : array-like of shape (n_samples,) or DataFrame, default=None
            The source of each training row, as in `suspect_labels`.
        random_state : int, RandomState instance or None, default=None
            Divides the validation rows into folds.

        Returns
        -------
        suggestions : EditSuggestions
            The changes, the best first. The effect of each change alone is ``target
            after - target before``, in the target's unit; on a loss, negative = good.
            It is a closed form; changes that go far are solved again. The effect of the
            whole list is measured on validation rows that did not choose it. The column
            `probability_wrong` is that of the value that would be replaced; NaN where
            none is.

        Raises
        ------
        TypeError
            If `budget` is not a whole number, or `ordinal` or `groups` are of another
            type.
        ValueError
            If the target, a class, a concept or a kind is unknown, lengths differ,
            or there are fewer than 20 validation rows.

        Warns
        -----
        SuggestionWarning
            If the list may not help: the interval of its effect is not on the good side
            of 0, there are fewer than 50 validation rows and so no interval, or the
            model predicts `y` no better than the same labels in another order.
        SuspectWarning
            If a head predicts its values no better than their shares do: none of them
            is replaced then. If letters decide the order of a path in `ordinal`.
        InfluenceWarning
            If annotations act through hard activations, whose flips are not seen.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(160, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> y[7] = 1 - y[7]
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X[:60], y[:60], concepts=concepts[:60])
        >>> suggestions = explainer.suggest_edits(
        ...     X[60:], y[60:], kinds=["relabel"], budget=1, random_state=0
        ... )
        >>> suggestions.to_frame()[["row", "path", "current", "proposed"]]
           row   path current proposed
        0    7  label       0        1
        >>> suggestions.verdict
        'expected to help'
        """
        check_is_fitted(self)
        self._refuse_joint("suggest_edits")
        progress = Progress(self.verbose)
        check_row_order(X=X, y=y, **indexed(target))
        heads, features = self._heads(), self._features(X)
        target = checked_target(target, y)
        name, unit, higher_is_better = describe_target(heads, target, mean_of(target))
        kinds = check_kinds(kinds, heads.n_concepts)
        budget = check_budget(budget, self.n_samples_)
        # Without labels, only a concept says what is good.
        if isinstance(target, str):
            codes = class_codes(heads.classes, features, y)
        else:
            codes = explained_codes(heads, features, y)
        check_enough(len(features))
        solved = self._solved_model()
        validation = validation_of(solved, heads, features, codes, target, y)
        training = TrainingRows(**self._training)
        values = paths_and_values(heads)
        ranks = check_ordinal(ordinal, values, self._known_orders())
        check_training_order("groups", groups, self._index)
        sources = check_sources(groups, self.n_samples_, values)
        believed = None
        if {"relabel", "annotate"} & set(kinds):
            believed = believe(solved, values, ranks, sources, progress)
        candidates = candidate_edits(
            solved, kinds, training, bool(higher_is_better), believed, progress
        )
        found = suggest(
            candidates, validation, budget, check_random_state(random_state)
        )
        suggestions = EditSuggestions(
            frame_of(found, heads, training.weights, self._training_frame(), believed),
            target=name,
            unit=unit,
            higher_is_better=bool(higher_is_better),
            value=found.value,
            effect=found.effects.mean(),
            interval=found.effects.interval(),
            related=found.related,
            n_candidates=found.n_candidates,
            n_validation=len(features),
        )
        warn_of_hard_suggestions(heads, kinds)
        warn_unless_helpful(suggestions)
        return suggestions

    def suggest_annotations(
        self,
        X_pool: Any,
        X_val: Any,
        y_val: ArrayLike,
        *,
        n: int = 20,
        by: str = "row",
        target: str = "all",
    ) -> AnnotationSuggestions:
        """Suggest what to annotate next, so that predictions become better.

        Nobody knows the answers yet; each is believed with a probability. By how much a
        target is expected to fall with a row's answers is computed in closed form,
        through both stages, and rows are chosen one after the other. Each counts as
        answered for the next, so that no two of them teach the same. See
        :doc:`/annotate_next`.

        Parameters
        ----------
        X_pool : {array-like, sparse matrix} of shape (n_pool, n_features) or \
                (n_pool,), or None
            Rows that are not in training. Their label and all their concepts are asked
            for. None suggests the missing annotations of training rows.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val,)
            Rows on which predictions should become better, none of them a training row.
        y_val : array-like of shape (n_val,)
            Their labels.
        n : int, default=20
            Maximum number of lines.
        by : {"row", "annotation"}, default="row"
            What a line asks for. "row": all that is missing of a row. "annotation": one
            annotation of a training row.
        target : {"all", "loss", "concepts"}, default="all"
            What should fall on the validation rows: the label's mean log-loss ("loss"),
            the sum of those of all concepts, or both together.

        Returns
        -------
        suggestions : AnnotationSuggestions
            What to annotate, the first of it first. The gain of a line is by how much
            the target is expected to fall (nats; positive = good), beyond what the
            lines above it bring.

        Raises
        ------
        TypeError
            If `n` is not a whole number.
        ValueError
            If the model has no concepts, `n` is below 1, `by` or `target` is something
            else, `by` is "annotation" for rows of a pool, no training row lacks an
            annotation, a class is unknown, lengths differ, or Hessians do not fit
            scikit-learn's `working_memory`.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(300, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X[:40], y[:40], concepts=concepts[:40])
        >>> found = explainer.suggest_annotations(X[40:200], X[200:], y[200:], n=3)
        >>> found
        <AnnotationSuggestions for mean log-loss of label and concepts, summed: 3 rows \
of the pool, out of 160; expected to lower it by 0.058 nats>
        >>> found.to_frame()["row"].tolist()
        [143, 64, 66]
        """
        check_is_fitted(self)
        self._refuse_joint("suggest_annotations")
        return suggest_annotations(
            self._heads(),
            TrainingRows(**self._training),
            self._solved_model(),
            self._texts(),
            self._features,
            X_pool,
            X_val,
            y_val,
            n,
            by,
            target,
            Progress(self.verbose),
        )

    def rank_concepts(
        self, X_val: Any, y_val: ArrayLike, *, share: float = 0.1
    ) -> pd.DataFrame:
        """Rank concepts by what wrong annotations of each would do to the label.

        Of one concept at a time, a share of the annotations is replaced by other values
        at random; of a soft annotation, each value as often as its share says. Both
        stages are solved again for what this does on average, and how far noise differs
        from its mean is added in closed form. Concepts at the top are worth most care.
        See :doc:`/annotate_next`.

        Parameters
        ----------
        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or (n_val,)
            Rows on which the label's loss is taken, none of them a training row.
        y_val : array-like of shape (n_val,)
            Their labels.
        share : float, default=0.1
            Share of each concept's annotations that would be wrong, above 0.

        Returns
        -------
        ranking : DataFrame of shape (n_concepts, 5)
            One line for each concept except constants, the largest damage first:
            concept; damage, the expected rise of the mean log-loss (nats, positive =
            harmful); n_annotations; share of the damage of all concepts, each by
            itself; and cumulative, the share of the concepts up to this one.

        Raises
        ------
        TypeError
            If `share` is not a number.
        ValueError
            If the model has no concepts, `share` is out of its range, a class is
            unknown, lengths differ, or Hessians do not fit scikit-learn's
            `working_memory`.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(300, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X[:200], y[:200], concepts=concepts[:200])
        >>> ranking = explainer.rank_concepts(X[200:], y[200:])
        >>> ranking[["concept", "share"]].round(2)
            concept  share
        0  concept0   0.93
        1  concept1   0.07
        """
        check_is_fitted(self)
        self._refuse_joint("rank_concepts")
        model = self._heads(), self._solved_model(), self._features
        return rank_concepts(*model, X_val, y_val, share, Progress(self.verbose))

    def edit(
        self,
        *,
        y: dict[int, Any] | None = None,
        concepts: dict[str, dict[int, Any]] | None = None,
        sample_weight: dict[int, float] | ArrayLike | None = None,
        drop: Sequence[int] | None = None,
        add: dict[str, Any] | None = None,
        drop_concepts: Sequence[str] | None = None,
        concept_weights: dict[str, float | None] | None = None,
        rebalance: Sequence[str] | None = None,
        empty_values: str = "raise",
        n_steps: int | None = None,
        X_val: Any = None,
        y_val: ArrayLike | None = None,
        groups_val: ArrayLike | None = None,
        target: TargetLike = "loss",
    ) -> EditResult:
        """Change training rows, and get the model that retraining would give.

        Both stages are solved again, to the estimator's `tol`; those of
        ``training="joint"`` from the current parameters, because there can be several
        minima. The explainer and its estimator do not change. Class weights and the
        leading steps of a pipeline stay as they are. See :doc:`/repair`.

        Parameters
        ----------
        y : dict of int to label, default=None
            New labels by row. All rows are named by position.
        concepts : dict of str to dict of int to value, default=None
            New annotations by concept and row. None or NaN removes an annotation. The
            second value of a constant makes it a head. A value that is new to another
            concept must be one that the type of its column declares. A dict of values
            to shares that add up to 1 is a soft annotation.
        sample_weight : dict or array-like of shape (n_train,), default=None
            New weights by row, or of all rows. 0 is the same as dropping.
        drop : list of int, default=None
            Rows to leave out. They keep their positions, with weight 0.
        add : dict, default=None
            New rows, with the keys X and y and, optionally, concepts, sample_weight and
            concept_sample_weight, each as in `fit`. They come after the other rows.
        drop_concepts : list of str, default=None
            Concepts to remove from the model.
        concept_weights : dict of str to (float or None), default=None
            How much concepts matter to the label, against now: 0 for a concept that
            must not, 0.5 for half as much. The label head's weights of the concept are
            held at that factor, in later edits too, and its others are solved again.
            None holds them no longer. See :doc:`/verdicts`.
        rebalance : list of str, default=None
            Concepts that are to say nothing of the label in training: label terms get
            weights in which they are independent of it, in place of those of an earlier
            edit; [] takes these away. Annotations keep their weights.
        empty_values : {"raise", "drop"}, default="raise"
            What happens if a class, or a value of a concept, is left without any row of
            positive weight, such as a typing error that is corrected. "raise" refuses
            the edit. "drop" removes the class or value from the model, and the result
            is what a fit without it gives, at the same penalties. Two classes must be
            left. A concept of which one value is left is a constant. Annotations of
            values that go come back with the weight of their rows.
        n_steps : int, default=None
            Maximum number of Newton steps per stage, starting from the current
            parameters; of steps of L-BFGS in joint training. None runs to convergence.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features) or \
                (n_val,), default=None
            Rows on whose mean log-loss, or another target, the effect is recorded.
        y_val : array-like of shape (n_val,), default=None
            Labels of these rows. None if there are none, or if the target is a concept
            or needs no labels; then no losses of groups are recorded.
        groups_val : array-like of shape (n_val,), default=None
            Groups of these rows, whose losses are recorded. None, if the edit says how
            much concepts matter, is the label with the predicted values of these.
        target : {"loss", "log_proba", "logit", "margin"}, tuple, Target or callable, \
                default="loss"
            As in `influence`: the effect on its mean over these rows is recorded, or on
            the one number of all of them. A class that goes has probability 0.

        Returns
        -------
        result : EditResult
            The edited `estimator`, its `explainer`, and the `record`. The effects in
            the record are ``target after - target before``, in the target's unit; on a
            loss, negative = good.

        Raises
        ------
        TypeError
            If an argument has another form, or a row is not named by a whole number.
        ValueError
            If a row, concept, label or value is unknown, a row is dropped and changed
            too, or a class or a value of a concept would be left without weight. With
            ``empty_values="drop"``, if fewer than two would be left, or `y_val` has a
            class that goes.

        Warns
        -----
        ConvergenceWarning
            If a head does not reach its optimum, although `n_steps` is None.
        ReweightingWarning
            If too few rows are left for `rebalance` to reach what it is for.

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
        >>> explainer = explainer.fit(X, y, concepts=concepts)
        >>> result = explainer.edit(y={7: 1 - y[7]}, drop=[3])
        >>> result.record.changes[["kind", "row", "old", "new"]]
              kind  row  old  new
        0  relabel    7    0    1
        1     drop    3  1.0  0.0
        >>> result.record.converged
        True
        >>> y[7] = 1 - y[7]
        >>> weights = np.where(np.arange(60) == 3, 0, 1)
        >>> retrained = ConceptBottleneckClassifier()
        >>> retrained = retrained.fit(X, y, weights, concepts=concepts)
        >>> bool(np.allclose(result.estimator.coef_, retrained.coef_))
        True
        """
        check_is_fitted(self)
        progress = Progress(self.verbose)
        rows, heads = TrainingRows(**self._training), self._heads()
        n_steps = check_steps(n_steps)
        edit = check_edit(
            heads,
            rows,
            self._features,
            self._declared,
            self._orders,
            self._aside,
            y=y,
            concepts=concepts,
            sample_weight=sample_weight,
            drop=drop,
            add=add,
            drop_concepts=drop_concepts,
            concept_weights=concept_weights,
            rebalance=rebalance,
            empty_values=empty_values,
        )
        validation = check_validation(heads, self._features, X_val, y_val, target)
        labelled = None if y_val is None else validation
        n_val = None if labelled is None else len(labelled[1])
        check_row_order(
            X_val=X_val, y_val=y_val, groups_val=groups_val, **indexed(target)
        )
        groups_val = check_groups_val(groups_val, n_val)
        target = check_target_of_edit(heads, edit, target, validation)
        on = describe_target(heads, target, mean_of(target))
        _, empty = edit.apply(*edit.grow(heads, rows))
        if labelled is not None:
            empty.check_validation(heads, labelled[1])
        spanned = rows.features.shape[0] >= rows.features.shape[1]
        factors = self._factors() if spanned or edit.added is None else None
        edited = edit_model(
            self.estimator_,
            rows,
            edit,
            factors,
            resolve_device(self.device, rows.features),
            n_steps,
            settled=self._at_optimum,
            progress=progress,
        )
        explainer = self._edited(edited, add)
        from_zero = any(head.start == "zero" for head in edited.heads)
        explainer._nearby = None if from_zero else edited.factors
        effect: tuple[float | None, float | None] = None, None
        if validation is not None:
            solved = self._solved_model()
            effect = effects(solved, heads, edit, edited, *validation, target)
        verdict = verdict_of(
            (heads, explainer._heads()),
            (self.mean_activations_, explainer.mean_activations_),
            rows,
            edit,
            edited,
            None if validation is None else validation[0],
            None if labelled is None else labelled[1],
            groups_val,
        )
        record = write_record(
            self.estimator_, rows, edit, edited, n_steps, effect, on, verdict
        )
        return EditResult(edited.estimator, explainer, record, self.estimator_)

    def report(
        self,
        X: Any,
        y: ArrayLike,
        concepts: Any = None,
        *,
        ordinal: str | Sequence[str] | dict[str, Any] | None = None,
        max_mistakes: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> AuditReport:
        """Return the page of an audit: mistakes, the rows behind them, and suspects.

        It is the page that ``skclif audit`` writes, in a notebook cell or, with
        :meth:`AuditReport.save`, as a file. Only what needs a folder is not in it: the
        trail of decisions. See :doc:`/audit_page`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features) or (n_rows,)
            Held-out rows, none of them a training row. With at least 20, changes that
            would help are suggested.
        y : array-like of shape (n_rows,)
            Their labels.
        concepts : array-like of shape (n_rows, n_concepts), default=None
            Their annotations, which say where a mistake begins; None or NaN where there
            is none. Of soft ones, the value with the largest share counts. A DataFrame
            may leave out concepts.
        ordinal : str, sequence of str or dict, default=None
            Paths whose wrong values are next to the right value, as in
            `suspect_labels`.
        max_mistakes : int, default=None
            Number of mistakes that are traced to training rows, the worst first. None
            for up to 500, as many as one pass over the training rows takes.
        random_state : int, RandomState instance or None, default=None
            Divides the held-out rows into folds that choose and measure suggestions,
            and draws the orders in which concepts are corrected.

        Returns
        -------
        report : AuditReport
            The page, and its tables.

        Raises
        ------
        TypeError
            If the estimator is no :class:`ConceptBottleneckClassifier`, or an argument
            has another form than in `fit`.
        ValueError
            If there is no row, a label or value is unknown, `max_mistakes` is below
            0, or the bottleneck is made of logits.

        Examples
        --------
        >>> import numpy as np
        >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
        >>> rng = np.random.RandomState(0)
        >>> X = rng.randn(160, 4)
        >>> concepts = np.where(X[:, :2] > 0, "yes", "no")
        >>> y = (X[:, 0] + X[:, 1] > 0).astype(int)
        >>> y[7] = 1 - y[7]
        >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        >>> explainer = explainer.fit(X[:80], y[:80], concepts=concepts[:80])
        >>> report = explainer.report(X[80:], y[80:], concepts[80:], random_state=0)
        >>> report.suspects[["id", "path", "current", "proposed"]].head(1)
              id   path current proposed
        0  row 7  label       0        1
        >>> report.save("report.html")  # doctest: +SKIP
        """
        check_is_fitted(self)
        self._refuse_joint("report")
        check_row_order(X=X, y=y, concepts=concepts)
        model = final_step(self.estimator_)
        if not isinstance(model, ConceptBottleneckClassifier):
            raise TypeError(
                "report needs a ConceptBottleneckClassifier, and estimator is or ends "
                f"in a {type(model).__name__}. Without concepts, "
                "ConceptBottleneckClassifier is a logistic regression too: fit the "
                "explainer with it."
            )
        if model.n_concepts_ and model.bottleneck == "logit":
            raise ValueError(
                "report puts annotations in place of predicted concepts, to say where "
                "a mistake begins, and a known value has no logit. Use "
                "bottleneck='soft' or 'hard' instead of 'logit'."
            )
        heads, features = self._heads(), self._features(X)
        held_out = coded_rows(
            heads,
            features,
            class_codes(heads.classes, features, y),
            *annotation_codes(heads.schema, concepts, len(features)),
        )
        values = paths_and_values(heads)
        ranks = check_ordinal(ordinal, values, self._known_orders())
        if max_mistakes is not None:
            max_mistakes = check_count(
                "max_mistakes", max_mistakes, 0, None, "mistakes"
            )
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        # Pages are above explainers, and what a page needs is loaded only for one.
        from .._pages.report import make_report

        return make_report(
            self._of_features(),
            (self._texts(), TrainingRows(**self._training)),
            (texts_of(X), held_out),
            {"estimator": " ".join(repr(self.estimator).split())},
            exact_reader(self.estimator_),
            ordinal=in_order(ranks, values),
            max_mistakes=max_mistakes,
            seed=int(seed),
        )

    def _of_features(self) -> ConceptInfluenceExplainer:
        """Return the same for the last step alone, which takes features."""
        explainer, model = copy(self), copy(final_step(self.estimator_))
        vars(model).pop("feature_names_in_", None)
        explainer.estimator = explainer.estimator_ = model
        explainer._solved = self._solved_model()
        return explainer

    def _compared(
        self, result: EditResult, X: Any, y: Any, concepts: Any
    ) -> EditComparison:
        """Compare both models of an edit, of which this explainer has the later one."""
        check_row_order(X=X, y=y, concepts=concepts)
        before, after = heads_of_edit(result)
        features = self._features(X)
        labels = class_codes(before.classes, features, y)
        schema = joint_schema(before.schema, after.schema)
        annotations = annotation_codes(schema, concepts, len(features))
        return compare_heads(before, after, features, labels, *annotations, texts_of(X))

    def _settle(self, rows: TrainingRows, texts: dict[str, np.ndarray]) -> None:
        """Keep the training rows and what follows from them and the fitted model."""
        heads = self._heads()
        self.classes_ = heads.classes
        self.concept_names_in_ = np.asarray(heads.names, dtype=object)
        self.n_samples_ = len(rows.features)
        self._training = rows.arrays()
        self._readable = {**texts, "label": labels_of(heads, rows)}
        bottleneck = heads.tensors(shares=rows.shares)
        mean = mean_activations(bottleneck, rows.data(), as_tensor(rows.weights))
        self.mean_activations_ = mean.numpy()

    def _edited(
        self, edited: Edited, add: dict[str, Any] | None
    ) -> ConceptInfluenceExplainer:
        """Return an explainer of the edited model on the edited rows."""
        explainer = clone(self).set_params(estimator=clone(edited.estimator))
        explainer.estimator_, explainer._dtype = edited.estimator, self._dtype
        explainer._orders, explainer._declared = self._orders, self._declared
        explainer._index = self._index if add is None else None
        explainer._aside = edited.aside(self._aside)
        texts = self._texts()
        if add is not None:
            n_added = len(edited.rows.labels) - self.n_samples_
            texts = with_texts_below(texts, add["X"], n_added)
        explainer._settle(edited.rows, texts)
        explainer._at_optimum = all(head.converged for head in edited.heads)
        return explainer

    def _refuse_joint(self, method: str) -> None:
        """Refuse a method that needs heads that are each at their own optimum."""
        if self._heads().is_joint:
            refuse_joint(method)

    def _heads(self) -> FittedHeads:
        """Return the heads of the fitted final step."""
        return FittedHeads.of(final_step(self.estimator_))

    def _known_orders(self) -> dict[str, list[Any]]:
        """Return the orders of values, by path: of their types, or of the model."""
        of_label = getattr(final_step(self.estimator_), "label_order_", None)
        if of_label is None:
            return self._orders
        return {**self._orders, LABEL: of_label.tolist()}

    def _features(self, X: Any) -> Matrix:
        """Return checked features of new rows, in float64."""
        return self._checked(transform_rows(self.estimator_, X))

    def _checked(self, features: Any) -> Matrix:
        """Return checked features in float64, in memory that nobody else can change."""
        model = final_step(self.estimator_)
        return own_copy(check_features(model, features, reset=False), features)

    def _solve(self, rows: TrainingRows) -> Solved:
        device = resolve_device(self.device, rows.features)
        return Solved.of(self._heads(), rows, device, getattr(torch, self._dtype))

    def _solved_model(self) -> Solved:
        if "_solved" not in vars(self):  # after loading
            self._solved = self._solve(TrainingRows(**self._training))
        return self._solved

    def _factors(self) -> Factors | None:
        """Return factorised Hessians of this model, or of a model near it.

        None if the model is far from the one that it was edited from: then other
        Hessians would cost more than they save.
        """
        if self._heads().is_joint:  # its edits factorise anew
            return None
        if "_solved" not in vars(self) and hasattr(self, "_nearby"):
            return self._nearby
        inverse = self._solved_model().inverse
        return inverse if isinstance(inverse, Factors) else None

    def _words(
        self,
        solved: Solved,
        features: Matrix,
        about: Callable[[slice], Target],
        shares: np.ndarray | None,
        row: int,
        target: int,
        path: str | None,
    ) -> pd.DataFrame:
        """Return the words through which a training row acts on a target."""
        j = check_path(self._heads(), path)
        if isinstance(about(slice(0, 1)), SetTarget):
            questions = solved.questions(features, about, None)
            check_methods_of(questions, ["first_order"], "")
        elif shares is None:
            one = slice(target, target + 1)
            questions = solved.questions(
                features[one], lambda _: about(one), np.ones((1, 1))
            )
        else:
            questions = solved.questions(features, about, shares[target : target + 1])
        weights, label = linear_influence(solved, questions, row, j)
        others = {CONSTANT: float(weights[-1])}
        if len(self.concept_names_in_) and path is None:
            others[OF_LABEL] = label
        if not begins_with_embedder(self.estimator_):
            values = features_of_row(TrainingRows(**self._training), row)
            names = feature_names(self.estimator_, len(values))
            return features_frame(names, values, weights[:-1] * values, others)
        text = str(self._texts()["text"][row])
        reader = WordReader.of(self.estimator_, "words")
        spans, effects, constant, special = reader.split(text, weights[:-1])
        others[CONSTANT] += constant
        if special is not None:
            others[SPECIAL] = special
        return text_frame(text, spans, effects, others)

    def _texts(self) -> dict[str, np.ndarray]:
        """Return the texts of the training rows by column name."""
        return {name: v for name, v in self._readable.items() if name != "label"}

    def _training_frame(self) -> pd.DataFrame:
        rows = TrainingRows(**self._training)
        known = {**self._texts(), "label": self._readable["label"]}
        for name, values in annotations_of(self._heads(), rows).items():
            known[column_of_concept(name, known)] = values
        return pd.DataFrame(known)

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
    return not is_sparse and getattr(features, "dtype", None) == np.float32
