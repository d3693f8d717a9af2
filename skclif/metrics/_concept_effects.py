"""What the label would be if concepts had other values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._inputs.checks import check_weights
from .._inputs.pipelines import transform_parts
from .._inputs.values import plain_value
from .._results.effects import ConceptEffects
from ..exceptions import InterventionWarning
from ._interventions import bottleneck_of

_QUANTILES = (0.1, 0.5, 0.9)  # of the predictions of a continuous concept


def concept_effects(
    estimator: Any,
    X: Any,
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    sample_weight: ArrayLike | None = None,
) -> ConceptEffects:
    """Compute how labels would change if concepts had other values.

    One concept at a time is set to one of its values in every row, as
    :meth:`ConceptBottleneckClassifier.intervene` does; other concepts stay as
    predicted. This is what the *model* would say, and no effect of the world: concepts
    that go together in the data are moved one by one.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        A fitted bottleneck with concepts, or a fitted pipeline that ends in one. Either
        may be in a :class:`~sklearn.frozen.FrozenEstimator`.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        What the estimator takes, features or texts.
    values : dict of str to list, default=None
        The values of some concepts. None, and concepts that are left out, stand for all
        values of a categorical concept, and for the 10 %, 50 % and 90 % quantiles of
        the predictions of a continuous one.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows. None is 1.

    Returns
    -------
    effects : ConceptEffects
        The change of every label's probability, in every row, for every value:
        with the value minus as predicted.

    Raises
    ------
    TypeError
        If the estimator does not end in a ConceptBottleneckClassifier, or `values` is
        no dict.
    ValueError
        If the model has no concepts or its bottleneck is "logit", or a concept or value
        is unknown to it.

    See Also
    --------
    ConceptEffectDisplay : Draws the result.
    intervention_curve : What known values are worth.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import concept_effects
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "again", "never")
    >>> clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    >>> frame = concept_effects(clf, X).to_frame()
    >>> frame[frame["label"] == "again"].round(2)[["concept", "value", "effect"]]
       concept  value  effect
    0     food  False   -0.25
    2     food   True    0.30
    4  service  False   -0.24
    6  service   True    0.27
    """
    model = bottleneck_of(estimator, "concept_effects")
    features = transform_parts(estimator, X)
    predicted = model.predict_proba(features)
    chosen = _values(model, features, values)
    with warnings.catch_warnings():
        # Of corrections that hurt: nothing is corrected here.
        warnings.simplefilter("ignore", InterventionWarning)
        moved = [
            model.intervene(features, _constant(name, value, len(predicted)))
            for name, value in chosen
        ]
    return ConceptEffects(
        classes=model.classes_,
        values=pd.DataFrame(
            [(name, plain_value(value)) for name, value in chosen],
            columns=["concept", "value"],
        ),
        changes=np.stack(moved) - predicted,
        predicted=predicted,
        sample_weight=check_weights(sample_weight, predicted),
        label_order=model.label_order_,
    )


concept_effects.__module__ = "skclif.metrics"


def _values(
    model: Any, features: Any, given: Mapping[str, Sequence[Any]] | None
) -> list[tuple[str, Any]]:
    """Return the pairs of a concept and a value, in the order of the model."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(
            "values must be a dict from the names of concepts to lists of values, got "
            f"{type(given).__name__}."
        )
    names = list(model.concept_names_in_)
    given = {} if given is None else given
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"values names {unknown[0]!r}, but the concepts are "
            f"{', '.join(map(repr, names))}."
        )
    pairs = []
    for j, (name, known) in enumerate(zip(names, model.concept_classes_, strict=True)):
        if name in given:
            chosen = _listed(name, given[name])
        elif known is not None:
            chosen = known.tolist()
        else:
            columns = model.predict_concepts(features)
            column = columns[name] if hasattr(columns, "columns") else columns[:, j]
            chosen = np.quantile(np.asarray(column, dtype=float), _QUANTILES).tolist()
        pairs += [(name, value) for value in chosen]
    return pairs


def _listed(name: str, values: Any) -> list[Any]:
    is_listed = not isinstance(values, str | bytes) and hasattr(values, "__iter__")
    if not is_listed or not len(listed := list(values)):
        raise ValueError(
            f"values[{name!r}] must be a list of one value or more, got {values!r}."
        )
    return listed


def _constant(name: str, value: Any, n_rows: int) -> pd.DataFrame:
    return pd.DataFrame({name: [value] * n_rows})
