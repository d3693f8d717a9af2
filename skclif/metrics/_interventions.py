"""What the label gains, or loses, when people correct the concepts.

The orders in which concepts are corrected are those of Shin et al. (2023), arXiv
2302.14260.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import entropy
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._inputs.annotations import Annotations
from .._inputs.checks import (
    check_labels,
    check_row_order,
    check_weights,
)
from .._inputs.pipelines import final_step, transform_parts
from .._inputs.sklearn import Interval, validate_params
from .._results.interventions import InterventionCurve
from ._losses import log_losses

if TYPE_CHECKING:
    from torch import Tensor

    from .._models.bottleneck import ConceptBottleneckClassifier
    from ..numerics.bottleneck import Bottleneck

ORDERS = ("random", "uncertainty", "gain")
_OLDER = ("influence",)  # names of "gain"


@validate_params(
    {
        "n_repeats": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=False,
)
def intervention_curve(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    concepts: Any,
    *,
    order: str | ArrayLike = "random",
    costs: Mapping[str, float] | None = None,
    n_repeats: int = 10,
    random_state: int | np.random.RandomState | None = None,
    sample_weight: ArrayLike | None = None,
) -> InterventionCurve:
    """Score the label as more and more concepts are set to known values.

    In every row, the predictions of 0, 1, 2 … concepts are replaced by the known
    values, as :meth:`ConceptBottleneckClassifier.intervene` does. The curve says what
    people gain who correct the concepts of a model, and how many they should correct.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        A fitted bottleneck with concepts, or a fitted pipeline that ends in one. Either
        may be in a :class:`~sklearn.frozen.FrozenEstimator`.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        What the estimator takes, features or texts. Use rows that it was not fitted to.
    y : array-like of shape (n_samples,)
        Their labels.
    concepts : array-like of shape (n_samples, n_concepts)
        Known values, or shares of values (soft annotations). NaN, None and
        ``pandas.NA`` mean *not known*: that concept of the row stays as predicted. A
        DataFrame may leave out concepts.
    order : {"random", "uncertainty", "gain"} or list of str, default="random"
        Which known value of a row comes first. Except with names, every row has its
        own order:

        - "random": any; scores are averaged over `n_repeats` random orders;
        - "uncertainty": the concept whose predicted probabilities have the largest
          entropy;
        - "gain": the concept whose correction is expected to tell most of the label
          (nats), see Notes; "influence" is its older name;
        - names of concepts: in this order. Other concepts stay as predicted.
    costs : dict of str to float, default=None
        What it costs to find out the value of each concept, in any unit; one without
        known values needs no cost. Then
        "uncertainty" and "gain" put first what has most for its cost, and the curve has
        what was spent. None is the same for all.
    n_repeats : int, default=10
        Number of random orders of every row. Other orders need only one.
    random_state : int, RandomState instance or None, default=None
        Draws the random orders.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative weights of the rows. None is 1.

    Returns
    -------
    curve : InterventionCurve
        Accuracy and log-loss after 0 to `k` corrections, where `k` is the largest
        number of known values in a row, and the scores of every row.

    Raises
    ------
    TypeError
        If the estimator does not end in a ConceptBottleneckClassifier, or if
        `concepts`, `costs` or `order` is of no usable kind.
    ValueError
        If the model has no concepts or its bottleneck is "logit"; if lengths differ, or
        labels, values or names are unknown to the model; if no value is known; if a
        cost is missing or not above 0; or if `order` needs probabilities, but a concept
        is continuous.

    See Also
    --------
    next_concept : Which concept of each text a person should check first.
    InterventionCurveDisplay : Draws the result.
    ConceptBottleneckClassifier.intervene : Predicts with known values.

    Notes
    -----
    Before the first correction the scores are those of `predict_proba`, and after the
    last one those of `intervene` with all known values; so all orders agree at both
    ends. A value that is not known takes no step: known values come first, whatever the
    order.

    "gain" is the expected change in target prediction of Shin et al. [1]_, for any
    number of values. Where the label's probabilities are the mean of those with the
    concept set to each of its values, it is the expected fall of the label's entropy:
    what the answer tells of the label. The score of concept `j` in a row is ``sum_v
    p_j(v) * KL(q_jv || q)``, where `q` are the predicted probabilities of the labels,
    `q_jv` the same with the concept set to `v`, and `p_j(v)` the predicted probability
    of that value. Scores are computed once, for the prediction without corrections, and
    are not updated after each correction; :func:`next_concept` can. Neither they nor
    the entropies use known values or labels, so that people can follow the order. Equal
    scores leave concepts in the order of the model.

    A continuous concept has no predicted probabilities, so "uncertainty" and "gain" are
    refused if one of the model's concepts is continuous.

    References
    ----------
    .. [1] S. Shin, Y. Jo, S. Ahn and N. Lee (2023). A closer look at the intervention
       procedure of concept bottleneck models. ICML. arXiv 2302.14260.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import intervention_curve
    >>> rng = np.random.default_rng(0)
    >>> values = rng.integers(2, size=(400, 3))
    >>> X = values + rng.normal(0, 0.7, values.shape)
    >>> concepts = pd.DataFrame(values, columns=["food", "service", "noise"])
    >>> y = np.where(values.sum(axis=1) > 1, "again", "never")
    >>> clf = ConceptBottleneckClassifier(training="independent", C=10)
    >>> clf = clf.fit(X[:200], y[:200], concepts=concepts[:200])
    >>> curve = intervention_curve(
    ...     clf, X[200:], y[200:], concepts[200:], order="gain"
    ... )
    >>> curve.to_frame().round(2)
       n_corrected  accuracy  log_loss
    0            0      0.75      0.70
    1            1      0.85      0.51
    2            2      0.92      0.21
    3            3      1.00      0.02
    """
    model = bottleneck_of(estimator, "intervention_curve")
    check_row_order(X=X, y=y, concepts=concepts, sample_weight=sample_weight)
    features = transform_parts(estimator, X)
    predicted = model._label_inputs(features)
    codes = _codes(model.classes_, y, len(predicted))
    weight = check_weights(sample_weight, predicted)
    rows = _Rows.read(model, predicted, concepts, weight)
    order = _check_order(order, model)
    cost = _check_costs(costs, rows.names, rows.known)
    if isinstance(order, tuple):
        rows = rows.only(order)
    n_steps = 1 + _most_known(rows, order)
    losses, correct, spent = np.zeros((3, n_steps, len(codes)))
    n_orders = 0
    for places in _orders(order, model, features, rows, cost, n_repeats, random_state):
        n_orders += 1
        for step in range(n_steps):
            corrected = rows.known & (places < step)
            proba = rows.probabilities(corrected)
            losses[step] += log_losses(proba, codes)
            correct[step] += proba.argmax(axis=1) == codes
            spent[step] += corrected @ cost
    return InterventionCurve(
        n_corrected=np.arange(n_steps),
        losses=losses / n_orders,
        correct=correct / n_orders,
        sample_weight=weight,
        n_known=rows.known.sum(axis=1),
        order=order,
        n_repeats=n_orders,
        spent=None if costs is None else spent / n_orders,
    )


intervention_curve.__module__ = "skclif.metrics"


def next_concept(
    estimator: Any,
    X: Any,
    *,
    concepts: Any = None,
    order: str = "gain",
    costs: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Say which concept of each text a person should check first.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        A fitted bottleneck with categorical concepts, or a fitted pipeline that ends in
        one. Either may be in a :class:`~sklearn.frozen.FrozenEstimator`.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        What the estimator takes, features or texts.
    concepts : array-like of shape (n_samples, n_concepts), default=None
        Values that people have checked already. They are put in place of predictions,
        and these concepts are not named again. NaN, None and ``pandas.NA`` mean *not
        checked*. None is nothing.
    order : {"gain", "uncertainty"}, default="gain"
        What a concept scores: what its value is expected to tell of the label, or the
        entropy of its predicted values; both in nats. See :func:`intervention_curve`.
    costs : dict of str to float, default=None
        What it costs to check each concept. Scores are divided by it.

    Returns
    -------
    frame : DataFrame
        A line for each row of `X` and concept that is not known, best first: row (a
        position in `X`, from 0), rank (from 1), concept, score (nats, or nats for each
        unit of cost).

    Raises
    ------
    TypeError
        If the estimator does not end in a ConceptBottleneckClassifier, or `concepts` or
        `costs` is of no usable kind.
    ValueError
        If the model has no concepts, a continuous one, or a bottleneck of "logit"; if
        `order`, a name or a value is unknown; or a cost is missing or not above 0.

    See Also
    --------
    intervention_curve : What such an order is worth on rows with known values.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import next_concept
    >>> rng = np.random.default_rng(0)
    >>> values = rng.integers(2, size=(400, 2))
    >>> X = values + rng.normal(0, 0.7, values.shape)
    >>> concepts = pd.DataFrame(values, columns=["food", "noise"])
    >>> y = np.where(values[:, 0] == 1, "again", "never")  # noise does not matter
    >>> clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    >>> next_concept(clf, [[0.5, 0.5]]).round(2)
       row  rank concept  score
    0    0     1    food   0.45
    1    0     2   noise   0.00
    """
    model = bottleneck_of(estimator, "next_concept")
    if order not in ("gain", "uncertainty"):
        raise ValueError(f"order={order!r} is not known; use 'gain' or 'uncertainty'.")
    _refuse_continuous(order, model)
    check_row_order(X=X, concepts=concepts)
    features = transform_parts(estimator, X)
    predicted = model._label_inputs(features)
    weight = np.ones(len(predicted))
    names = [str(name) for name in model.concept_names_in_]
    if concepts is None:
        concepts = pd.DataFrame(None, index=range(len(predicted)), columns=names)
    rows = _Rows.read(model, predicted, concepts, weight)
    cost = _check_costs(costs, rows.names, ~rows.known)
    proba = list(model.predict_concept_proba(features).values())
    rows = replace(rows, predicted=rows.known_values)
    scores = _scores(order, rows, proba) / cost
    ranked = np.argsort(np.where(rows.known, np.inf, -scores), axis=1, kind="stable")
    n_left = (~rows.known).sum(axis=1)
    row = np.repeat(np.arange(len(scores)), n_left)
    rank = np.concatenate([np.arange(n) for n in n_left]) if len(n_left) else row
    place = ranked[row, rank]
    return pd.DataFrame(
        {
            "row": row,
            "rank": rank + 1,
            "concept": np.asarray(names, dtype=object)[place],
            "score": scores[row, place],
        }
    )


next_concept.__module__ = "skclif.metrics"


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows whose concepts can be set to their known values.

    Attributes
    ----------
    bottleneck : Bottleneck
    names : list of str, of length n_concepts
    predicted : Tensor of shape (n_samples, n_activations)
        What the label head sees without known values.
    known_values : Tensor of shape (n_samples, n_activations)
        Activations with every known value in place.
    known : ndarray of shape (n_samples, n_concepts), bool
    """

    bottleneck: Bottleneck
    names: list[str]
    predicted: Tensor
    known_values: Tensor
    known: np.ndarray

    @classmethod
    def read(
        cls, model: Any, predicted: np.ndarray, concepts: Any, weight: np.ndarray
    ) -> _Rows:
        """Read known values as `intervene` does."""
        # Here, because skclif.metrics loads without torch.
        from .._models.fitted import FittedHeads

        annotations = Annotations.read(concepts, None, len(predicted))
        if annotations is None:
            raise TypeError(
                "concepts must be a DataFrame, an array or a list of rows of shape "
                "(n_samples, n_concepts), got NoneType: the curve says what known "
                "values are worth."
            )
        heads = FittedHeads.of(model)
        values, shares = heads.schema.encode(annotations, weight, partial=True)
        bottleneck = heads.tensors(shares=shares)
        activations = bottleneck.label_parameters.new_tensor(predicted)
        rows = cls(bottleneck, heads.names, activations, activations, ~np.isnan(values))
        return replace(rows, known_values=rows.with_values(values))

    def only(self, names: Sequence[str]) -> _Rows:
        """Return the same rows with other concepts not known."""
        return replace(self, known=self.known & np.isin(self.names, names))

    def with_values(self, values: np.ndarray) -> Tensor:
        """Return activations with these values, coded, in place where they are given.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_concepts)
            NaN where a concept stays as predicted.
        """
        from ..numerics.bottleneck import substitute

        codes = self.predicted.new_tensor(values)
        return substitute(
            self.bottleneck.concepts, self.predicted, codes, ~codes.isnan()
        )

    def probabilities(self, corrected: np.ndarray) -> np.ndarray:
        """Return probabilities of the labels, (n_samples, n_classes).

        Parameters
        ----------
        corrected : ndarray of shape (n_samples, n_concepts), bool
            Which known values are in place.
        """
        activations = self.predicted.clone()
        for j, columns in enumerate(self.bottleneck.concepts.activations):
            chosen = np.flatnonzero(corrected[:, j])
            activations[chosen, columns] = self.known_values[chosen, columns]
        scores = self.bottleneck.label_scores(activations)
        return self.bottleneck.label.probabilities(scores).numpy()

    def log_probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return log-probabilities of the labels with these values in place."""
        scores = self.bottleneck.label_scores(self.with_values(values))
        return self.bottleneck.label.log_probabilities(scores).numpy()


def bottleneck_of(estimator: Any, asker: str) -> ConceptBottleneckClassifier:
    """Return the fitted bottleneck at the end of an estimator, to set concepts of.

    Parameters
    ----------
    estimator : object
    asker : str
        What needs it, for messages.

    Raises
    ------
    TypeError, ValueError
        If it ends in something else, or its concepts cannot be set.
    """
    from .._models.bottleneck import ConceptBottleneckClassifier

    model = final_step(estimator)
    if not isinstance(model, ConceptBottleneckClassifier):
        name = type(model).__name__
        if isinstance(model, type):
            name = f"the class {model.__name__}; pass an instance, fitted"
        raise TypeError(
            "estimator must be a fitted ConceptBottleneckClassifier, or a pipeline "
            f"that ends in one, got {name}. No other model has concepts that can be "
            "corrected. From an explainer or a search, pass the estimator inside."
        )
    check_is_fitted(model)
    if not model.n_concepts_:
        raise ValueError(
            f"{asker} needs a model with concepts, but this one was fitted without; "
            "pass concepts= to fit."
        )
    if model.bottleneck == "logit":
        raise ValueError(
            f"{asker} needs bottleneck='soft' or 'hard', but this model has "
            "bottleneck='logit': a known value has no logit to put in its place."
        )
    return model


def _codes(classes: np.ndarray, y: Any, n_samples: int) -> np.ndarray:
    """Return the code of every label."""
    y = check_labels(y, n_samples)
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(
            f"y has the class {y[unknown].tolist()[0]!r}, which was not seen in fit; "
            f"known classes: {classes.tolist()}. Its log-loss would be infinite; leave "
            "those rows out."
        )
    codes: np.ndarray = np.searchsorted(classes, y)
    return codes


def _check_order(
    order: Any, model: ConceptBottleneckClassifier
) -> str | tuple[str, ...]:
    """Return the name of an order, or the names of concepts in order."""
    names = [str(name) for name in model.concept_names_in_]
    accepted = (
        f"{', '.join(map(repr, ORDERS))}, or a list of names of the concepts "
        f"({', '.join(names)})"
    )
    if isinstance(order, str):
        if order not in (*ORDERS, *_OLDER):
            raise ValueError(f"order={order!r} is not known; use {accepted}.")
        _refuse_continuous(str(order), model)
        return str(order)
    if not isinstance(order, list | tuple | np.ndarray | pd.Index | pd.Series):
        raise TypeError(f"order must be {accepted}, got {type(order).__name__}.")
    given = list(order)
    unknown = [name for name in given if not (isinstance(name, str) and name in names)]
    if unknown:
        raise ValueError(f"order names {unknown[0]!r}; it must be {accepted}.")
    if not given or len(set(given)) < len(given):
        raise ValueError(
            f"order={given!r} must name at least one concept, and none of them twice."
        )
    return tuple(map(str, given))


def _refuse_continuous(order: str, model: ConceptBottleneckClassifier) -> None:
    """Refuse orders by probabilities if a concept has none."""
    for name, values in zip(
        model.concept_names_in_, model.concept_classes_, strict=True
    ):
        if order != "random" and values is None:
            raise ValueError(
                f"order={order!r} needs predicted probabilities of every concept, but "
                f"{name!r} is continuous and has none. Use order='random' or a list of "
                "names."
            )


def _check_costs(costs: Any, names: Sequence[str], checked: np.ndarray) -> np.ndarray:
    """Return the cost of each concept, 1 if none are given.

    Parameters
    ----------
    costs : dict of str to float or None
    names : sequence of str
    checked : ndarray of shape (n_samples, n_concepts), bool
        What may be checked. A concept that is in no row needs no cost.
    """
    if costs is None:
        return np.ones(len(names))
    if not isinstance(costs, Mapping):
        raise TypeError(
            "costs must be a dict from the names of concepts to numbers above 0, got "
            f"{type(costs).__name__}."
        )
    needed = {name for j, name in enumerate(names) if checked[:, j].any()}
    if not needed <= set(costs) <= set(names):
        raise ValueError(
            f"costs has the names {list(costs)}, but the concepts are "
            f"{', '.join(map(repr, names))}; give one number for each to be checked."
        )
    for name, cost in costs.items():
        is_number = isinstance(cost, Real) and not isinstance(cost, bool)
        if not is_number or not 0 < cost < np.inf:
            raise ValueError(
                f"costs[{name!r}] must be a finite number above 0, got {cost!r}."
            )
    return np.array([costs.get(name, 1.0) for name in names], dtype=float)


def _most_known(rows: _Rows, order: str | tuple[str, ...]) -> int:
    """Return the largest number of known values in a row."""
    most = int(rows.known.sum(axis=1).max())
    if not most:
        of = f" of {', '.join(order)}" if isinstance(order, tuple) else ""
        raise ValueError(
            f"concepts has no known value{of}: all {len(rows.known)} rows are empty, "
            "so there is nothing to correct."
        )
    return most


def _orders(
    order: str | tuple[str, ...],
    model: ConceptBottleneckClassifier,
    features: Any,
    rows: _Rows,
    cost: np.ndarray,
    n_repeats: int,
    random_state: Any,
) -> Iterator[np.ndarray]:
    """Yield the place of every concept in the order of its row, from 0."""
    if order == "random":
        rng = check_random_state(random_state)
        for _ in range(n_repeats):
            yield _places(rng.random_sample(rows.known.shape), rows.known)
    elif isinstance(order, tuple):
        first = [order.index(name) if name in order else -1 for name in rows.names]
        yield _places(np.broadcast_to(first, rows.known.shape), rows.known)
    else:
        proba = list(model.predict_concept_proba(features).values())
        yield _places(-_scores(order, rows, proba) / cost, rows.known)


def _places(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the rank of every concept in its row: smaller keys first, known first."""
    order = np.argsort(np.where(known, keys, np.inf), axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _scores(order: str, rows: _Rows, proba: list[np.ndarray]) -> np.ndarray:
    """Return what every concept scores in every row, (n_samples, n_concepts), nats."""
    if order == "uncertainty":
        return _entropies(proba)
    return _impacts(rows, proba)


def _entropies(proba: list[np.ndarray]) -> np.ndarray:
    """Return the entropy of every predicted concept, (n_samples, n_concepts), nats."""
    return np.stack([entropy(p, axis=1) for p in proba], axis=1)


def _impacts(rows: _Rows, proba: list[np.ndarray]) -> np.ndarray:
    """Return the expected change of the label's prediction, (n_samples, n_concepts).

    It is the Kullback-Leibler divergence (nats) of the prediction with a concept set to
    a value from the prediction as it is, expected over the predicted values. Shin et
    al. (2023), ECTP, for any number of values.
    """
    n_samples, n_concepts = rows.known.shape
    nothing = np.full((n_samples, n_concepts), np.nan)
    before = rows.log_probabilities(nothing)
    impacts = np.zeros((n_samples, n_concepts))
    for j, chances in enumerate(proba):
        for code in range(chances.shape[1]):
            values = nothing.copy()
            values[:, j] = code
            after = rows.log_probabilities(values)
            divergence = (np.exp(after) * (after - before)).sum(axis=1)
            impacts[:, j] += chances[:, code] * divergence
    return impacts
