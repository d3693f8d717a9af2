"""Methods that explain predictions: by training rows, by words, by retraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .. import targets
from .._cluster.collections import in_process
from .._cluster.passes import RemoteData
from .._inputs.checks import check_count, check_row_order, check_training_order
from .._inputs.progress import Progress
from .._inputs.training_rows import TrainingRows
from .._results.flip_set import FlipSet
from .._results.influence import InfluenceResult
from .._results.validation import ValidationResult
from .._results.word_evidence import SPECIAL, WordEvidence
from ..numerics.sparse import Matrix
from ..numerics.targets import SetTarget, Target
from ..targets._target import indexed
from .cluster_fit import refuse_rows_elsewhere
from .collect import SumGroups
from .compare import check_methods, compare_with_retraining
from .engine import answer, possible, warn_of_lost_labels
from .fitted_state import ExplainerState
from .flips import find_flip_set, one_row
from .methods import is_differentiable, path_names, term_paths, warn_of_hard_activations
from .on_cluster import groups_on_cluster
from .readable import texts_of
from .requests import (
    TargetLike,
    check_methods_of,
    check_top,
    checked_target,
    collector,
    describe_target,
    explained_codes,
    numeric_targets,
    shares_of,
    tells_apart,
)
from .sets import influence_of_groups, warn_of_lost_groups
from .solved import Solved
from .word_evidence import WordReader, begins_with_embedder, find_evidence
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
from .writing import Request, check_out, write_influence


class ExplainingMixin(ExplainerState):
    """Methods of an explainer that explain predictions."""

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
        out: str | PathLike[str] | None = None,
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
        out : path-like, default=None
            A folder that influence is written to, piece by piece, and stays in: the
            arrays of the result are mapped from its ``values.npy`` (and ``rows.npy``).
            A call that was killed continues where it was if it is made again, with an
            equal explainer and the same arguments. See :ref:`influence-out`. None keeps
            influence in memory.

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
        TypeError
            If `out` is no path.
        ValueError
            If the target, a class or a concept is unknown, lengths differ, a head is
            determined by one row alone, so that only "first_order" can remove it,
            Hessians do not fit scikit-learn's `working_memory`, or `out` was begun for
            something else. `DataFileError` if it is damaged.
        OSError
            If `out` cannot be written to, has other files, or there is no room.

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
        X, y = in_process(X), in_process(y)
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
        method = possible(
            solved,
            self.method,
            of_groups=groups is not None,
            derivable=is_differentiable(questions[0].target),
        )
        check_methods_of(questions, [method])
        n_paths = len(path_names(heads, method)) if paths else 1
        is_set = isinstance(target, targets.Target)
        group_names, values = None, solved.values(questions)
        folder = check_out(out, groups=groups, data=solved.data)
        if folder is not None:
            top = None if top is None else check_top(top)
            arguments = {
                **{"target": name, "reduce": reduce, "paths": bool(paths), "top": top},
                **{"method": self.method, "products": self._dtype},
            }
            apart = tells_apart(target, questions[0].target, heads, features)
            apart |= {"codes": codes, "values": values}
            request = Request.of(heads, self._training, features, apart, arguments)
            answered = write_influence(
                folder,
                request,
                solved,
                method,
                questions,
                top,
                n_paths=n_paths,
                paths=bool(paths),
                progress=progress,
            )
        else:
            kept, group_names = collector(
                1 if is_set or shares is not None else len(features),
                self.n_samples_,
                n_paths,
                paths=paths,
                groups=self._placed(groups),
                top=top,
            )
            if isinstance(kept, SumGroups):
                answered = influence_of_groups(
                    solved, method, questions, kept, paths=paths, progress=progress
                )
                warn_of_lost_groups(heads, kept.names, answered.lost)
            else:
                answered = answer(
                    solved, method, questions, kept, top, paths=paths, progress=progress
                )
        if groups is None:
            warn_of_lost_labels(solved, answered.method)
        if is_set or isinstance(target, str):
            warn_of_hard_activations(heads, answered.method)
        explained = {"value": values}
        if is_set:
            explained = {"rows": np.array([len(features)]), **explained}
        elif reduce is None:
            labels = self.classes_[codes]
            explained = {**texts_of(X), "label": labels, **explained}
        # Of the model and the rows as they are now: another fit replaces them. A result
        # does not keep rows on a cluster.
        is_here = not isinstance(solved.data, RemoteData)
        words = partial(copy(self)._words, solved, features, about, shares)
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
            training=self._training_frame(answered.rows),
            explained=pd.DataFrame(explained),
            _words=words if is_here else refuse_rows_elsewhere,
            n_train=self.n_samples_,
        )

    def _placed(self, groups: Any) -> Any:
        """Return groups of training rows where the rows are."""
        data: Any = self._solved_model().data
        if groups is None or not isinstance(data, RemoteData):
            return groups
        return groups_on_cluster(groups, data)

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
        self._require_rows()
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
        self._require_rows()
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
