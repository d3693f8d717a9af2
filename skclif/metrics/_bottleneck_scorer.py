"""A scorer that asks a bottleneck for its concepts as well as for its label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import MetadataRequest
from sklearn.utils.validation import check_is_fitted

from .._inputs.annotations import Annotations
from .._inputs.checks import check_labels, check_row_order, count_rows
from .._inputs.pipelines import final_step, transform_parts
from .._inputs.wrapper import AroundEstimatorMixin
from ._by_index import check_index, looked_up
from ._interventions import _codes
from ._losses import log_losses

_ROUTING = (
    "With sklearn.set_config(enable_metadata_routing=True) they go to fit of the "
    "search. Without routing, pass make_bottleneck_scorer(concepts=...) a DataFrame "
    "with the index of y."
)


def make_bottleneck_scorer(
    *, concepts: pd.DataFrame | None = None, concept_weight: float = 1.0
) -> Callable[..., float]:
    """Make a scorer of label and concepts together, for searches over a bottleneck.

    A search that is scored by the label alone can pick a bottleneck that leaks: heads
    with so strong a penalty that they never say "yes", whose small differences carry
    the label. It predicts the label better than true annotations do, and its concepts
    say nothing. Here the concepts count as well.

    Parameters
    ----------
    concepts : DataFrame, default=None
        The annotations of all rows, plain or soft, with the index of `y`, for use
        without metadata routing.
    concept_weight : float, default=1.0
        What the log-loss of the concepts is multiplied by. 0 scores the label alone.

    Returns
    -------
    scorer : callable
        With the signature ``scorer(estimator, X, y, *, concepts=None)``. The estimator
        is a fitted :class:`~skclif.ConceptBottleneckClassifier`, or a pipeline, an
        explainer or a reweighter around one. The score is minus the log-loss of the
        label and `concept_weight` times that of all concepts (nats a row; higher is
        better). It asks for ``concepts`` by metadata routing;
        ``set_score_request(concepts="name")`` asks for them by another name, that of
        ``set_fit_request``. In a search, also give ``error_score="raise"``: otherwise
        a search that is not told of concepts has NaN as every score, and takes the
        first candidate with a warning.

    Raises
    ------
    TypeError
        If `concepts` is not a DataFrame, or `concept_weight` is no number. When
        scoring: if the estimator is no bottleneck.
    ValueError
        If the index of `concepts` has a label twice, or `concept_weight` is negative or
        not finite. When scoring: if it is not known which concepts the rows have, none
        of them is annotated, the columns are not those of the model, the model has no
        concepts, or has not seen a label.

    See Also
    --------
    bottleneck_report : Whether concepts carry a bottleneck's predictions.

    Notes
    -----
    The loss of the concepts is the sum over concepts of the mean log-loss of their
    annotations. With the label's, and if every row has all annotations, this is the
    negative log-probability of all that people wrote about a row. A mean over concepts
    would let a small gain on the label outweigh what each of many concepts loses. For a
    continuous concept it is the squared error over twice the variance of the
    annotations that are scored.

    What is not annotated does not count. Nor does a value that `fit` has not seen,
    which has no probability, nor a number that is the same in all rows to score.

    ``concept_C="auto"`` needs no search: it takes for each concept the penalty with the
    least leave-one-out loss of that concept.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import make_bottleneck_scorer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(120, 4))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = pd.Series(np.where(X[:, 0] + X[:, 1] > 0, "again", "never"))
    >>> scorer = make_bottleneck_scorer(concepts=concepts)
    >>> search = GridSearchCV(
    ...     ConceptBottleneckClassifier(),
    ...     {"concept_C": [1e-4, 10.0]},
    ...     scoring=scorer,
    ...     error_score="raise",
    ... )
    >>> search.fit(X, y, concepts=concepts).best_params_
    {'concept_C': 10.0}
    """
    if not isinstance(concept_weight, Real) or isinstance(concept_weight, bool):
        raise TypeError(
            f"concept_weight must be a number, 0 or more, got {concept_weight!r}."
        )
    if not 0 <= concept_weight < np.inf:
        raise ValueError(
            f"concept_weight={concept_weight!r} must be a finite number, 0 or more."
        )
    if concepts is not None:
        if not isinstance(concepts, pd.DataFrame):
            raise TypeError(
                "concepts must be a DataFrame of pandas with the index of y, got "
                f"{type(concepts).__module__.partition('.')[0]}."
                f"{type(concepts).__name__}. {_ROUTING}"
            )
        check_index("concepts", concepts)
        Annotations.read(concepts, None, len(concepts))  # refuses odd columns now
    return _BottleneckScorer(concepts, float(concept_weight))


@dataclass(frozen=True, eq=False)
class _BottleneckScorer:
    """What `make_bottleneck_scorer` returns."""

    concepts: pd.DataFrame | None
    concept_weight: float
    request: bool | str = True

    def set_score_request(self, *, concepts: bool | str) -> _BottleneckScorer:
        """Say by which name a search hands ``concepts`` on, as scikit-learn's scorers.

        Parameters
        ----------
        concepts : bool or str
            The name that ``set_fit_request(concepts=...)`` has; True is "concepts".
        """
        if not isinstance(concepts, bool | str):
            raise TypeError(
                f"concepts must be True, False or a name, got {concepts!r}."
            )
        object.__setattr__(self, "request", concepts)
        return self

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, *, concepts: Any = None
    ) -> float:
        """Return minus the log-loss of label and concepts (nats a row)."""
        n_rows = count_rows(y, "y")
        if concepts is None and self.concepts is None:
            raise ValueError(
                f"concepts are missing. {_ROUTING} If they go to fit by another name, "
                "say so: make_bottleneck_scorer().set_score_request(concepts=name)."
            )
        if concepts is None:
            concepts = looked_up("concepts", self.concepts, y, _ROUTING)
        else:
            check_row_order(X=X, y=y, concepts=concepts)
        annotations = Annotations.read(concepts, None, n_rows)
        assert annotations is not None
        model, features = _bottleneck(estimator, X)
        y = check_labels(y, n_rows)
        label = log_losses(
            model.predict_proba(features), _codes(model.classes_, y, n_rows)
        )
        loss = float(label.mean())
        loss += self.concept_weight * _loss_of_concepts(model, features, annotations)
        return -loss

    def get_metadata_routing(self) -> MetadataRequest:
        """Ask for ``concepts``, if they are not known already."""
        request = MetadataRequest(owner=self)
        if self.concepts is None:
            request.score.add_request(param="concepts", alias=self.request)
        return request

    def __repr__(self) -> str:
        return f"make_bottleneck_scorer(concept_weight={self.concept_weight:g})"


def _bottleneck(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the fitted bottleneck inside an estimator, and its features."""
    # Here, because skclif.metrics loads without torch.
    from .._models.bottleneck import ConceptBottleneckClassifier

    X, model = transform_parts(estimator, X), final_step(estimator)
    if isinstance(model, AroundEstimatorMixin):
        check_is_fitted(model)
        return _bottleneck(model.estimator_, X)
    if not isinstance(model, ConceptBottleneckClassifier):
        raise TypeError(
            "The estimator to score must be a ConceptBottleneckClassifier, or a "
            "pipeline, an explainer or a reweighter around one, got "
            f"{type(model).__name__}. Other models have no concepts; use a score of "
            "scikit-learn, such as 'neg_log_loss'."
        )
    check_is_fitted(model)
    if not model.n_concepts_:
        raise ValueError(
            "The ConceptBottleneckClassifier was fitted without concepts, so it "
            "predicts none that could be scored. Pass concepts to fit of the search."
        )
    return model, X


def _loss_of_concepts(model: Any, features: Any, annotations: Annotations) -> float:
    """Return the sum over concepts of the mean loss of their annotations (nats)."""
    from .._models.fitted import FittedHeads, concept_heads

    heads = FittedHeads.of(model)
    # Without weight, a value that fit has not seen counts as not annotated.
    weightless = np.zeros(len(annotations.table))
    codes, shares = heads.schema.encode(annotations, weightless)
    if np.isnan(codes).all():
        raise ValueError(
            f"concepts has no annotation that fit knows in the {len(codes)} rows to "
            "score; use fewer folds, or leave rows without annotations out."
        )
    bottleneck, rows = model._on_device(features)
    heads_of_rows = concept_heads(heads.schema, heads.activation, shares, rows.device)
    scores = bottleneck.concepts.split(bottleneck.concept_scores(rows))
    total = 0.0
    for j, (head, part) in enumerate(zip(heads_of_rows, scores, strict=True)):
        known = np.flatnonzero(~np.isnan(codes[:, j]))
        own = codes[known, j]
        scale = own.var() if heads.values[j] is None and len(own) else 1.0
        if len(known) and scale:
            losses = head.loss(part[known], part.new_tensor(own))
            total += float(losses.mean()) / scale
    return total


make_bottleneck_scorer.__module__ = "skclif.metrics"
