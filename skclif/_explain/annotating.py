"""Methods that say which annotations are worth most."""

from __future__ import annotations

from typing import Any

import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .._inputs.progress import Progress
from .._inputs.training_rows import TrainingRows
from .._results.annotations import AnnotationSuggestions
from .annotations.ranking import rank_concepts
from .annotations.suggest import suggest_annotations
from .fitted_state import ExplainerState


class AnnotatingMixin(ExplainerState):
    """Methods of an explainer that say which annotations are worth most."""

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
