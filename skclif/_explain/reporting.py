"""The method that writes the page of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._inputs.checks import check_count, check_row_order
from .._inputs.pipelines import final_step
from .._inputs.training_rows import TrainingRows
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.audit_report import AuditReport
from .edits.compare import annotation_codes
from .fitted_state import ExplainerState
from .readable import coded_rows, texts_of
from .requests import class_codes
from .suspects import check_ordinal, in_order, paths_and_values
from .word_evidence import exact_reader


class ReportingMixin(ExplainerState):
    """The method of an explainer that writes the page of an audit."""

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

        explainer: Any = self._of_features()
        return make_report(
            explainer,
            (self._texts(), TrainingRows(**self._training)),
            (texts_of(X), held_out),
            {"estimator": " ".join(repr(self.estimator).split())},
            exact_reader(self.estimator_),
            ordinal=in_order(ranks, values),
            max_mistakes=max_mistakes,
            seed=int(seed),
        )

    def _of_features(self) -> Self:
        """Return the same for the last step alone, which takes features."""
        explainer, model = copy(self), copy(final_step(self.estimator_))
        vars(model).pop("feature_names_in_", None)
        explainer.estimator = explainer.estimator_ = model
        explainer._solved = self._solved_model()
        return explainer
