"""Methods that find errors in training rows, and change training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._inputs.checks import check_row_order, check_training_order
from .._inputs.devices import resolve_device
from .._inputs.progress import Progress
from .._inputs.training_rows import TrainingRows
from .._results.comparison import EditComparison
from .._results.edits import EditResult
from .._results.suggestions import EditSuggestions
from ..numerics.hessians import Factors
from ..targets._target import indexed
from .edits.arguments import (
    check_edit,
    check_steps,
    check_target_of_edit,
    check_validation,
)
from .edits.compare import annotation_codes, compare_heads, joint_schema
from .edits.solve import (
    Edited,
    edit_model,
    effects,
    heads_of_edit,
    verdict_of,
    write_record,
)
from .edits.verdicts import check_groups_val
from .fitted_state import ExplainerState
from .readable import texts_of, with_texts_below
from .requests import (
    TargetLike,
    checked_target,
    class_codes,
    describe_target,
    explained_codes,
    mean_of,
)
from .sources import check_sources
from .suggestions.arguments import check_budget, check_enough, check_kinds
from .suggestions.believed import believe
from .suggestions.candidates import KINDS, candidate_edits
from .suggestions.selection import suggest
from .suggestions.table import frame_of, warn_of_hard_suggestions, warn_unless_helpful
from .suggestions.validation import validation_of
from .suspects import (
    check_ordinal,
    check_sort_by,
    check_which,
    find_suspects,
    paths_and_values,
)


class RepairingMixin(ExplainerState):
    """Methods of an explainer that find and change what is wrong in training rows."""

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

    def _edited(self, edited: Edited, add: dict[str, Any] | None) -> Self:
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
