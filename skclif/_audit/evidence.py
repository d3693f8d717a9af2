"""What the page of an audit shows besides the tables: intervals, and numbers to try.

Intervals say how far other held-out rows could move a score, not how far another
training set could.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import format_value, plain_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.fitted import FittedHeads
from ..metrics import intervention_curve
from .corrections import known_concepts
from .kinds import as_floats, in_order
from .models import Models
from .rows import Reviews

MOST_LISTED = 2_000  # mistakes that a page lists, and lines of each of its queues
_Z = 1.959964  # of a 95 % interval
_FEWEST_ORDERED = 3  # classes


@dataclass(frozen=True, eq=False, repr=False)
class LabelHead:
    """The label head, and what goes into it for every listed mistake.

    ``softmax(activations @ coef.T + intercept)`` are the probabilities of the labels,
    with one column of coefficients for two labels: the log-odds of the second. If the
    head is ordinal and there are more, there is one column too, and every intercept
    gives the log-odds of a label above one more of the ranks.

    Attributes
    ----------
    bottleneck : {"soft", "hard", "logit"}
    classes : list of str
        In the order of the columns of probabilities.
    names : list of str
        The concepts.
    values : list of (list of str or None)
        Of every concept; None if its activation is a number by itself.
    columns : list of (int, int)
        First activation of every concept, and the one after its last.
    coef : ndarray of shape (n_classes, n_activations), or (1, n_activations)
    intercept : ndarray of shape (n_classes,), (1,) or (n_classes - 1,)
    ranks : list of int or None
        Of every class, 0 for the lowest, if the head is ordinal and has more than two.
    activations : ndarray of shape (n_listed, n_activations)
        After those of the concepts, what is not in the concepts adds to each score, if
        the model has a residual.
    """

    bottleneck: str
    classes: list[str]
    names: list[str]
    values: list[list[str] | None]
    columns: list[tuple[int, int]]
    coef: np.ndarray
    intercept: np.ndarray
    ranks: list[int] | None
    activations: np.ndarray

    @classmethod
    def of(cls, model: ConceptBottleneckClassifier, features: np.ndarray) -> LabelHead:
        """Return the head of a model with concepts, for the features of some rows."""
        columns = FittedHeads.of(model).tensors().concepts.activations
        coef, activations = model.coef_, np.empty((0, 0))
        if features.shape[0]:
            activations = model.transform(features)
        if model.residual_coef_ is not None and features.shape[0]:
            # What is added to a score is one more activation, with a weight of 1.
            coef = np.hstack([coef, np.eye(len(coef))])
            activations = np.hstack([activations, model._residual_logits(features)])
        return cls(
            model.bottleneck,
            [format_value(value) for value in model.classes_],
            [str(name) for name in model.concept_names_in_],
            [
                None if values is None else [format_value(value) for value in values]
                for values in model.concept_classes_
            ],
            [(int(one.start), int(one.stop)) for one in columns],
            coef,
            model.intercept_,
            _ranks_of(model),
            activations,
        )


def _ranks_of(model: ConceptBottleneckClassifier) -> list[int] | None:
    """Return the rank of every class if one score serves more than two."""
    if model.label_head != "ordinal" or len(model.classes_) == 2:
        return None
    order = model.label_order_.tolist()
    return [order.index(label) for label in model.classes_.tolist()]


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """What a page shows besides the tables.

    Attributes
    ----------
    listed : ndarray of shape (n_listed,)
        Positions in `Audit.predictions` of the mistakes that are listed, worst first:
        the first `MOST_LISTED` of all.
    head : LabelHead or None
        None without concepts.
    scores : dict
        Of every model that `Audit.metrics` has: ``accuracy``, ``log_loss`` (nats) and,
        if the labels are ordered, ``within_one`` (the share of predictions that are at
        most one class away), each with the ends of a 95 % interval as ``interval``. As
        ``concepts``, the interval of the accuracy of each concept that has one.
    confusion : dict
        ``labels``, in order, and ``counts``: places among them of a true and a
        predicted label, and how often they meet, where they do.
    corrections : dict or None
        ``n_corrected``, ``accuracy`` and ``log_loss`` as more concepts of each
        held-out row are set to their annotations, in random order; None without
        concepts, or if a known value has no place in the bottleneck.
    """

    listed: np.ndarray
    head: LabelHead | None
    scores: dict[str, Any]
    confusion: dict[str, Any]
    corrections: dict[str, list[float]] | None


def evidence(
    models: Models,
    train: Reviews,
    held_out: Reviews,
    predictions: pd.DataFrame,
    wrong: np.ndarray,
    seed: int,
) -> Evidence:
    """Return what a page shows besides the tables.

    Parameters
    ----------
    models : Models
    train : Reviews
        The rows that have weight.
    held_out : Reviews
    predictions : DataFrame
        What the models say of the held-out rows.
    wrong : ndarray of shape (n_mistakes,)
        Positions of the mistakes, worst first.
    seed : int
        Of the orders in which concepts are corrected.
    """
    model, listed = models.model, wrong[:MOST_LISTED]
    head = corrections = None
    if model.n_concepts_:
        head = LabelHead.of(model, held_out.features[listed])
        corrections = _corrections(model, held_out, seed)
    return Evidence(
        listed,
        head,
        scores_of(train.labels, predictions, _categories(model)),
        confusion_of(predictions),
        corrections,
    )


def scores_of(
    labels: np.ndarray, predictions: pd.DataFrame, concepts: Iterable[str]
) -> dict[str, Any]:
    """Return scores with 95 % intervals, as `Evidence` describes them.

    Accuracy has the interval of Wilson, a log-loss that of the mean of the losses.
    """
    found: dict[str, Any] = {}
    ranks = _ranks([*labels, *predictions["label"]])
    prefixes = {"model": "", "corrected": "corrected_", "gold": "gold_"}
    prefixes["black_box"] = "black_box_"
    for who, prefix in prefixes.items():
        if f"{prefix}predicted" in predictions:
            said, losses = (predictions[prefix + c] for c in ("predicted", "loss"))
            found[who] = _scores(predictions["label"], said, losses, ranks)
    values, counts = np.unique(labels, return_counts=True)
    shares = dict(zip(values, counts / counts.sum(), strict=True))
    said = pd.Series(values[counts.argmax()], index=predictions.index)
    losses = -np.log(predictions["label"].map(shares).astype(float))
    found["majority"] = _scores(predictions["label"], said, losses, ranks)
    found["concepts"] = {}
    for name in concepts:
        rows = predictions[predictions[f"annotated:{name}"].notna()]
        pair = (rows[f"{what}:{name}"].map(str) for what in ("annotated", "predicted"))
        right = np.equal(*pair)
        found["concepts"][name] = _share(right)["interval"]
    return found


def confusion_of(predictions: pd.DataFrame) -> dict[str, Any]:
    """Return how often each label was predicted for each true label."""
    true, said = (predictions[name].map(plain_value) for name in ("label", "predicted"))
    labels = distinct([*true, *said])
    place = {label: k for k, label in enumerate(labels)}
    pairs = Counter(zip(true.map(place), said.map(place), strict=True))
    counts = [[int(a), int(b), n] for (a, b), n in sorted(pairs.items())]
    return {"labels": labels, "counts": counts}


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of `n`, of Wilson (1927)."""
    middle = share + _Z**2 / (2 * n)
    half = _Z * float(np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)))
    total = 1 + _Z**2 / n
    return (middle - half) / total, (middle + half) / total


def _scores(
    true: pd.Series, said: pd.Series, losses: pd.Series, ranks: dict[Any, int] | None
) -> dict[str, Any]:
    scores = {"accuracy": _share(np.equal(true.to_numpy(), said.to_numpy()))}
    if ranks is not None:
        steps = (true.map(ranks) - said.map(ranks)).abs()
        scores["within_one"] = _share(steps <= 1)
    scores["log_loss"] = _mean(losses.to_numpy(dtype=float))
    return scores


def _share(right: Any) -> dict[str, Any]:
    right = np.asarray(right, dtype=float)
    if not len(right):
        return {"value": None, "interval": [None, None]}
    share = float(right.mean())
    return {"value": share, "interval": list(wilson(share, len(right)))}


def _mean(values: np.ndarray) -> dict[str, Any]:
    mean = float(values.mean())
    if len(values) < 2:
        return {"value": mean, "interval": [None, None]}
    half = _Z * float(values.std(ddof=1)) / len(values) ** 0.5
    return {"value": mean, "interval": [mean - half, mean + half]}


def _categories(model: ConceptBottleneckClassifier) -> list[str]:
    """Return the concepts that have values, and so an accuracy."""
    concepts = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    return [str(name) for name, values in concepts if values is not None]


def _corrections(
    model: ConceptBottleneckClassifier, held_out: Reviews, seed: int
) -> dict[str, list[float]] | None:
    known = known_concepts(model, held_out.concepts)
    if model.bottleneck == "logit" or not known.notna().to_numpy().any():
        return None
    curve = intervention_curve(
        model, held_out.features, held_out.labels, known, random_state=seed
    )
    return {str(name): column.tolist() for name, column in curve.to_frame().items()}


def _ranks(labels: Iterable[Any]) -> dict[Any, int] | None:
    """Return the place of every label if they are ordered numbers, else None."""
    values = distinct(labels)
    if as_floats(values) is None or len(values) < _FEWEST_ORDERED:
        return None
    return {value: rank for rank, value in enumerate(values)}


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return every value once, numbers by size and words by spelling."""
    return in_order(sorted(dict.fromkeys(values), key=str))
