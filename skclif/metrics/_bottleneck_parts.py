"""What a bottleneck and the models beside it say of the held-out rows of one split."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold

from .._inputs.annotations import Annotations
from .._inputs.indicators import Indicators
from .._inputs.soft import distributions_of, values_given
from .._results.verdicts import FEWEST
from ..exceptions import InterventionWarning, PenaltyWarning
from ._interventions import intervention_curve
from ._losses import log_losses
from ._residual import without_residual

# By what is measured, and of what: a value for each row, NaN where it has none.
Values = dict[tuple[str, ...], np.ndarray]
KINDS = ("soft", "logit", "hard")
_READING_FOLDS = 5
# Less than that of the indicators of gold concepts, so that the penalty holds readings
# back: with 100 rows and nothing to find, that costs a third of the log-loss that a
# spread of 1 costs, and finds as much where there is something.
_READING_SPREAD = 0.3
_READING_TOL = 1e-4  # losses need an optimum, but not to the last digit


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a split, with the features that the bottleneck sees.

    Attributes
    ----------
    X : array-like of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
    concepts : DataFrame of shape (n_rows, n_concepts)
        With the names of the concepts; missing where there is no annotation.
    weight : ndarray of shape (n_rows,)
    """

    X: Any
    y: np.ndarray
    concepts: pd.DataFrame
    weight: np.ndarray


def measure(
    model: Any,
    train: Rows,
    test: Rows,
    classes: np.ndarray,
    n_repeats: int,
    rng: Any,
    known: Mapping[str, np.ndarray] | None = None,
) -> Values:
    """Return what every model says of each held-out row.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
        Fitted to the training rows.
    train, test : Rows
    classes : ndarray of shape (n_classes,)
    n_repeats : int
        Random orders in which concepts are corrected.
    rng : RandomState
    known : mapping of str to ndarray of shape (n_rows, n_classes), default=None
        What the black box and gold concepts say, if they were fitted already. Then the
        estimator's own activations are the only ones.
    """
    codes = np.searchsorted(classes, test.y)
    test = replace(test, concepts=_known(model, test.concepts))
    found: Values = {}
    proba_of = {"bottleneck": model.predict_proba(test.X)}
    proba_of["prior"] = _shares(train, classes, len(test.y))
    label_heads = {model.bottleneck: model}
    if known is None:
        known, others = _fitted_beside(model, train, test)
        label_heads |= others
    proba_of |= known
    for name, other in label_heads.items():
        proba_of[name] = other.predict_proba(test.X)
        # What goes past the concepts openly is not in the activations.
        proba = without_residual(other, test.X, test.weight)
        logs = np.log(np.clip(proba, np.finfo(float).tiny, None))
        logs -= logs.mean(axis=1, keepdims=True)
        found |= {("reading", name, str(k)): column for k, column in enumerate(logs.T)}
    if model.residual_coef_ is not None:
        proba_of["no_residual"] = without_residual(model, test.X, test.weight)
    for name, proba in proba_of.items():
        found |= _scores(name, proba, codes)
    return (
        found
        | _of_concepts(model, train, test)
        | _deleted(model, train, test, codes)
        | _corrected(model, test, n_repeats, rng)
    )


def _shares(train: Rows, classes: np.ndarray, n_rows: int) -> np.ndarray:
    """Return the shares of the training labels, in every row."""
    shares = np.array([train.weight[train.y == one].sum() for one in classes])
    return np.tile(shares / shares.sum(), (n_rows, 1))


def _fitted_beside(
    model: Any, train: Rows, test: Rows
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what others say that are fitted to be compared with, and label heads."""
    from .._inputs.features import check_features
    from .._models.activations import with_activations

    found, twins = {}, {}
    with _quiet():
        box = _fit(without_concepts(model), train.X, train)
        found["black_box"] = box.predict_proba(test.X)
        indicators = Indicators.learn(train.concepts, kinds_of(model))
        gold = _fit(without_concepts(model), indicators.encode(train.concepts), train)
        found["gold"] = gold.predict_proba(indicators.encode(test.concepts))
        annotations = Annotations.read(train.concepts, None, len(train.y))
        assert annotations is not None
        rows = check_features(model, train.X, reset=False), train.y, train.weight
        for kind in {*KINDS} - {model.bottleneck}:
            twins[kind] = with_activations(model, kind, *rows, annotations)
    return found, twins


def without_concepts(model: Any) -> Any:
    """Return the same classifier without a bottleneck, not fitted."""
    return clone(model).set_params(
        concept_C=1.0,
        concept_kinds=None,
        training="mixed",
        bottleneck="soft",
        intervention_prob=None,
        monotonic_cst=None,
        residual_C=None,
        # Of a type, which the labels here have no more.
        label_order=getattr(model, "label_order_", model.label_order),
    )


def _fit(classifier: Any, X: Any, rows: Rows) -> Any:
    return classifier.fit(X, rows.y, rows.weight)


def kinds_of(model: Any) -> dict[str, str]:
    """Return the kind of every concept, as the model decided."""
    pairs = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    return {
        str(name): "continuous" if values is None else "categorical"
        for name, values in pairs
    }


def _known(model: Any, concepts: pd.DataFrame) -> pd.DataFrame:
    """Return annotations with those missing whose value the model has never seen."""
    columns = {}
    for name, values in zip(
        model.concept_names_in_, model.concept_classes_, strict=True
    ):
        given = pd.Series([*concepts[name]], dtype=object)
        is_known = given.notna()
        if values is not None:
            known = {*values.tolist()}
            is_known = given.map(lambda cell, known=known: known >= _named_by(cell))
        columns[name] = given.where(is_known, None)
    return pd.DataFrame(columns, columns=list(model.concept_names_in_))


def _named_by(cell: Any) -> set[Any]:
    """Return the values that a plain or a soft annotation names."""
    return {*values_given([cell])}


def _scores(name: str, proba: np.ndarray, codes: np.ndarray) -> Values:
    right = proba.argmax(axis=1) == codes
    return {
        ("log_loss", name): log_losses(proba, codes),
        ("accuracy", name): right.astype(float),
    }


def _of_concepts(model: Any, train: Rows, test: Rows) -> Values:
    """Return how each concept is predicted, and guessed from the training rows."""
    found: Values = {}
    predicted = pd.DataFrame(
        np.asarray(model.predict_concepts(test.X), dtype=object),
        columns=model.concept_names_in_,
    )
    proba = model.predict_concept_proba(test.X)
    for name, values in zip(
        map(str, model.concept_names_in_), model.concept_classes_, strict=True
    ):
        given = test.concepts[name]
        known = given.notna().to_numpy()
        seen = train.concepts[name].notna().to_numpy() & (train.weight > 0)
        weight = train.weight[seen]
        of_training = train.concepts[name].to_numpy(dtype=object)[seen]
        if values is None:
            numbers = of_training.astype(float)
            mean = np.average(numbers, weights=weight)
            true = given.astype(float).to_numpy()
            found["squared_error", name] = (true - predicted[name].astype(float)) ** 2
            found["guess_squared_error", name] = (true - mean) ** 2
            continue
        shares = weight @ _shares_of(values, of_training)
        wanted = _shares_of(values, given.to_numpy(dtype=object))
        for prefix, chances in (
            ("", proba[name]),
            ("guess_", np.tile(shares / shares.sum(), (len(given), 1))),
        ):
            # Of a soft annotation, the share of the value that is said, and the mean
            # loss of its values.
            right = wanted[np.arange(len(given)), chances.argmax(axis=1)]
            losses = -np.log(np.clip(chances, np.finfo(float).eps, 1.0))
            losses = (wanted * losses).sum(axis=1)
            found[f"{prefix}concept_accuracy", name] = np.where(known, right, np.nan)
            found[f"{prefix}concept_log_loss", name] = np.where(known, losses, np.nan)
        sure = np.where(known, proba[name].max(axis=1), np.nan)
        found["confidence", name] = sure
    return found


def _shares_of(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the shares of values in annotations; zeros where there is none."""
    places = {value: k for k, value in enumerate(values.tolist())}
    found: np.ndarray = distributions_of(given.tolist(), places, len(values))[0]
    return found


def _deleted(model: Any, train: Rows, test: Rows, codes: np.ndarray) -> Values:
    """Return scores without 0, 1, 2 … concepts, those that move a row most first.

    A concept that is deleted has the mean activations of the training rows. It moves a
    row by what that changes of the log-probability of the predicted label.
    """
    from .._models.fitted import FittedHeads

    bottleneck = FittedHeads.of(model).tensors()
    columns = bottleneck.concepts.activations
    mean = np.average(model.transform(train.X), axis=0, weights=train.weight)
    activations = model._label_inputs(test.X)
    rows = np.arange(len(activations))

    def probabilities(values: np.ndarray) -> np.ndarray:
        scores = bottleneck.label_scores(bottleneck.label_parameters.new_tensor(values))
        proba: np.ndarray = bottleneck.label.probabilities(scores).numpy()
        return proba

    before = probabilities(activations)
    said = before.argmax(axis=1)
    moved, found = [], _step("deleted", 0, before, codes)
    for name, places in zip(model.concept_names_in_, columns, strict=True):
        without = activations.copy()
        without[:, places] = mean[places]
        after = probabilities(without)
        found["deleted_alone", str(name)] = log_losses(after, codes)
        moved.append(np.abs(log_losses(after, said) - log_losses(before, said)))
    order = np.argsort(-np.stack(moved, axis=1), axis=1, kind="stable")
    without = activations.copy()
    for step in range(order.shape[1]):
        for j, places in enumerate(columns):
            chosen = rows[order[:, step] == j]
            without[chosen, places] = mean[places]
        found |= _step("deleted", step + 1, probabilities(without), codes)
    return found


def _corrected(model: Any, test: Rows, n_repeats: int, rng: Any) -> Values:
    """Return scores with 0, 1, 2 … concepts as people read them, in random order."""
    if model.bottleneck == "logit" or not test.concepts.notna().to_numpy().any():
        return {}
    curve = intervention_curve(
        model, test.X, test.y, test.concepts, n_repeats=n_repeats, random_state=rng
    )
    found: Values = {("n_known",): curve.n_known.astype(float)}
    for step in range(model.n_concepts_ + 1):
        at = min(step, len(curve.n_corrected) - 1)
        found["corrected_log_loss", str(step)] = curve.losses[at]
        found["corrected_accuracy", str(step)] = curve.correct[at]
    return found


def _step(what: str, step: int, proba: np.ndarray, codes: np.ndarray) -> Values:
    scores = _scores(str(step), proba, codes)
    return {(f"{what}_{score}", of): values for (score, of), values in scores.items()}


def unknown_gold(values: Values) -> Values:
    """Return NaN as the scores of gold concepts, where there are none to see."""
    scores = ("log_loss", "gold"), ("accuracy", "gold")
    return {score: np.full_like(values[score], np.nan) for score in scores}


def of_complete(values: Values, is_complete: np.ndarray) -> Values:
    """Return scores of gold concepts and of the black box where nothing is missing."""
    return {
        (f"complete_{score}", of): np.where(is_complete, values[score, of], np.nan)
        for score in ("log_loss", "accuracy")
        for of in ("gold", "black_box")
    }


def leakage(
    values: Values,
    concepts: pd.DataFrame,
    y: np.ndarray,
    weight: np.ndarray,
    kinds: dict[str, str],
    classifier: Any,
    rng: Any,
) -> Values:
    """Return what the activations tell of each row's label beyond gold concepts.

    It is the log-loss of a model of the label that sees gold concepts, minus that of
    one that sees what the label head makes of the activations, too. Both are fitted to
    other held-out rows. Rows without all annotations have none, nor have rows of labels
    with fewer rows than there are folds; nor has any row if they are too few to tell.

    Parameters
    ----------
    values : dict
        Of `measure`, for all held-out rows.
    concepts : DataFrame of shape (n_rows, n_concepts)
    y, weight : ndarray of shape (n_rows,)
    kinds : dict of str to str
        Of the concepts.
    classifier : ConceptBottleneckClassifier
        Not fitted.
    rng : RandomState
    """
    kinds_read = [kind for kind in KINDS if ("log_loss", kind) in values]
    counted = concepts.notna().all(axis=1).to_numpy() & (weight > 0)
    labels, counts = np.unique(y[counted], return_counts=True)
    chosen = np.flatnonzero(counted & np.isin(y, labels[counts >= _READING_FOLDS]))
    found: Values = {("leakage", k): np.full(len(y), np.nan) for k in kinds_read}
    if len(np.unique(y[chosen])) < 2 or len(chosen) < FEWEST:
        return found
    concepts = concepts.iloc[chosen]
    gold = Indicators.learn(concepts, kinds).encode(concepts)
    inputs = {"gold": gold}
    for kind in kinds_read:
        own = [v for key, v in values.items() if key[:2] == ("reading", kind)]
        reading = np.column_stack(own)[chosen]
        spread = reading.std(axis=0)
        reading = (reading - reading.mean(axis=0)) / np.where(spread > 0, spread, 1)
        reading *= _READING_SPREAD
        inputs[kind] = np.hstack([gold, reading])
    y, weight = y[chosen], weight[chosen]
    folds = StratifiedKFold(_READING_FOLDS, shuffle=True, random_state=rng)
    splits = list(folds.split(y, y))
    reader = without_concepts(classifier).set_params(
        C="auto", class_weight=None, tol=_READING_TOL
    )
    losses = {
        name: _cross_fitted(reader, columns, y, weight, splits)
        for name, columns in inputs.items()
    }
    for kind in kinds_read:
        found["leakage", kind][chosen] = losses["gold"] - losses[kind]
    return found


def _cross_fitted(
    reader: Any,
    X: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    splits: list[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Return the log-loss of each row, by a model of the rows of other folds.

    The penalty is chosen once, by the leave-one-out loss of all rows: one number of a
    coarse grid cannot learn their labels by heart.
    """
    losses = np.empty(len(y))
    with _quiet():
        C = clone(reader).fit(X, y, weight).C_
        for train, test in splits:
            fitted = (
                clone(reader).set_params(C=C).fit(X[train], y[train], weight[train])
            )
            codes = np.searchsorted(fitted.classes_, y[test])
            losses[test] = log_losses(fitted.predict_proba(X[test]), codes)
    return losses


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what nobody has to act on who compares."""
    with warnings.catch_warnings():
        for category in (PenaltyWarning, ConvergenceWarning, InterventionWarning):
            warnings.simplefilter("ignore", category)
        yield
