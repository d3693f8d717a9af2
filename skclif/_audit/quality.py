"""How good the models of an audit are on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from .._inputs.values import format_value, plain_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.words import how_many
from ..numerics.agreement import macro_f1
from .models import Models
from .option_names import table_name
from .predictions import label_columns
from .rows import Reviews

_CHANCE = 1.96  # standard errors
# With so many held-out values, a gain that is not clear is hardly any.
_ENOUGH = 50
# With fewer, not even a score that is no better than a guess says that nothing was.
_LEAST = 30


def quality(model: ConceptBottleneckClassifier, held_out: Reviews) -> dict[str, float]:
    """Return accuracy, macro F1 and log-loss (nats) of a model on held-out rows."""
    proba = model.predict_proba(held_out.features)
    columns = label_columns(model.classes_, proba, held_out, "")
    rows = pd.DataFrame({"label": held_out.labels, **columns})
    return _label_quality(rows, model.classes_)


@dataclass(frozen=True)
class Learning:
    """Whether a model learned anything of the label, or of a concept.

    Attributes
    ----------
    path : str
        "label" or the name of a concept.
    score, score_of_guess : float
        Of the model on the held-out rows, and of always saying the most common value
        (share of right values) or the mean of amounts (mean absolute error).
    n_rows : int
        Held-out rows with a value.
    is_clear : bool
        Whether the model is better by more than chance, in right values or log-loss
        (in squared error, of amounts).
    is_amount : bool
    """

    path: str
    score: float
    score_of_guess: float
    n_rows: int
    is_clear: bool
    is_amount: bool = False

    @property
    def is_no_better(self) -> bool:
        """Whether the score is no better than that of a guess."""
        if self.is_amount:
            return self.score >= self.score_of_guess
        return self.score <= self.score_of_guess

    @property
    def is_none(self) -> bool:
        """Whether nothing was learned; few rows cannot tell it from a little."""
        if self.is_clear or not self.can_tell:
            return False
        return self.is_no_better or self.n_rows >= _ENOUGH

    @property
    def can_tell(self) -> bool:
        """Whether there are enough held-out rows to say that nothing was learned."""
        return self.n_rows >= _LEAST


def what_was_learned(
    train: Reviews, predictions: pd.DataFrame, spreads: dict[str, float]
) -> list[Learning]:
    """Return whether anything was learned of the label and of each concept.

    Parameters
    ----------
    train : Reviews
        The rows that have weight.
    predictions : DataFrame
        What the models say of the held-out rows.
    spreads : dict of str to float
        Of the concepts of amounts.
    """
    found = [
        _of_categories(
            "label",
            train.labels,
            predictions["label"],
            predictions["predicted"],
            predictions["loss"],
        )
    ]
    for name, values in train.concepts.items():
        known = predictions[predictions[f"annotated:{name}"].notna()]
        annotated, predicted = known[f"annotated:{name}"], known[f"predicted:{name}"]
        given = values.dropna()
        if name in spreads:
            numbers = (given, annotated, predicted)
            found.append(_of_amounts(str(name), *(n.astype(float) for n in numbers)))
            continue
        p = known[f"p_annotated:{name}"].clip(lower=np.finfo(float).eps)
        words = (
            given.map(str).to_numpy(object),
            annotated.map(str),
            predicted.map(str),
        )
        found.append(_of_categories(str(name), *words, -np.log(p)))
    return found


def _of_categories(
    path: str,
    training: np.ndarray,
    true: pd.Series,
    predicted: pd.Series,
    loss: pd.Series,
) -> Learning:
    values, counts = np.unique(training, return_counts=True)
    shares = dict(zip(values, counts / counts.sum(), strict=True))
    right = (predicted.to_numpy() == true.to_numpy()).astype(float)
    always = (true.to_numpy() == values[counts.argmax()]).astype(float)
    # A value that training lacks surprises both without bound: it says nothing.
    seen = true.isin(list(shares)).to_numpy()
    surprise = -np.log([shares[value] for value in true[seen]])
    gains = [right - always, surprise - loss.to_numpy()[seen]]
    return Learning(
        path,
        float(right.mean()) if len(right) else np.nan,
        float(always.mean()) if len(right) else np.nan,
        len(right),
        any(map(is_clear, gains)),
    )


def _of_amounts(
    path: str, training: pd.Series, true: pd.Series, predicted: pd.Series
) -> Learning:
    error, error_of_mean = true - predicted, true - training.mean()
    return Learning(
        path,
        float(error.abs().mean()),
        float(error_of_mean.abs().mean()),
        len(true),
        is_clear((error_of_mean**2 - error**2).to_numpy()),
        is_amount=True,
    )


def is_clear(gain: np.ndarray) -> bool:
    """Return whether a mean gain over rows is more than chance would give."""
    gain = np.asarray(gain, dtype=float)
    if len(gain) < 2:
        return False
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return bool(gain.mean() > _CHANCE * error)


def doubts_of(learned: list[Learning], advice: str = "") -> list[str]:
    """Return why a model explains little, in words; empty if it does not.

    Parameters
    ----------
    learned : list of Learning
        Of the label first.
    advice : str, default=""
        What to do if nothing was learned.
    """
    label, *concepts = learned
    doubts = []
    if not label.is_clear:
        who = "The bottleneck" if concepts else "The black box"
        how = "no better than" if label.is_no_better else "not clearly better than"
        little = (
            "What it learned of the labels, and so influence on them, suspect labels "
            "and suggestions, means little."
        )
        if label.is_none:
            through = "Through these concepts, nothing" if concepts else "Nothing"
            little = (
                f"{through} was learned of the labels. So {table_name('suspects')} "
                "lists no label, and influence on them and suggestions mean little."
            )
        doubts.append(
            f"{who} is {how} always saying the most common label "
            f"({label.score:.1%} and {label.score_of_guess:.1%} of {label.n_rows:,} "
            f"held-out texts right). {little}"
        )
    nothing = [one for one in concepts if one.is_none]
    if nothing:
        scores = ", ".join(_in_words(one) for one in nothing)
        doubts.append(
            f"Nothing was learned of {how_many(len(nothing), 'concept')}: "
            f"{scores}; no more than chance could give. "
            f"So {table_name('suspects')} lists no annotation of "
            f"{'it' if len(nothing) == 1 else 'them'}, and paths through "
            f"{'it' if len(nothing) == 1 else 'them'} mean little."
        )
    if doubts and advice and any(one.is_none for one in learned):
        doubts[-1] += f" {advice}"
    return doubts


def _in_words(one: Learning) -> str:
    scores = f"{one.score:.1%} and {one.score_of_guess:.1%} of {one.n_rows:,} right"
    if one.is_amount:
        scores = f"off by {one.score:.3g} and {one.score_of_guess:.3g} on average"
    guess = "the mean" if one.is_amount else "the most common value"
    return f"{one.path!r} ({scores}, by the model and by always saying {guess})"


def metrics_of(
    models: Models,
    train: Reviews,
    predictions: pd.DataFrame,
    groups: pd.DataFrame | None,
) -> dict[str, Any]:
    """Return the metrics of an audit.

    Parameters
    ----------
    models : Models
    train : Reviews
        The rows that have weight.
    predictions : DataFrame
        What the models say of the held-out rows.
    groups : DataFrame or None
        What `groups_table` returned.
    """
    model, black_box = models.model, models.black_box
    label = {"model": _label_quality(predictions, model.classes_)}
    if black_box is not None:
        for who in ("corrected", "gold", "black_box"):
            if f"{who}_predicted" not in predictions:  # without annotations
                continue
            label[who] = _label_quality(predictions, model.classes_, f"{who}_")
    label["majority"] = _majority_quality(train.labels, predictions, model.classes_)
    metrics: dict[str, Any] = {"label": label}
    if black_box is not None:
        concepts = {
            name: _amount_quality(train.concepts[name], predictions, name)
            if name in models.spreads
            else _concept_quality(train.concepts[name], predictions, name)
            for name in model.concept_names_in_
        }
        metrics["concepts"] = concepts
        categories = [concepts[n] for n in concepts if n not in models.spreads]
        metrics["concepts_mean"] = {
            who: _mean([quality[who] for quality in categories])
            for who in ("model", "majority")
        }
    metrics["penalties"] = _penalties(models)
    if groups is not None:
        metrics["groups"] = [
            {k: None if pd.isna(v) else v for k, v in line.items()}
            for line in groups.to_dict("records")
        ]
    return metrics


def groups_table(
    paths: tuple[str, ...],
    values: np.ndarray,
    groups: np.ndarray,
    predictions: pd.DataFrame,
    classes: np.ndarray,
) -> pd.DataFrame:
    """Return the quality on each group, and the influence of its training rows.

    Parameters
    ----------
    paths : tuple of str
    values : ndarray of shape (n_train, n_paths)
        Influence on the mean loss of all held-out rows (nats).
    groups : ndarray of shape (n_train,)
    predictions : DataFrame
        What the model says of the held-out rows, with their groups.
    classes : ndarray of shape (n_classes,)
    """
    lines = []
    named = [np.unique(groups), predictions["group"].to_numpy()]
    for group in pd.unique(np.concatenate(named)):
        rows = predictions[predictions["group"] == group]
        of_group = values[groups == group].sum(axis=0)
        lines.append(
            {
                "group": plain_value(group),
                "training_rows": int((groups == group).sum()),
                "held_out_rows": len(rows),
                **_label_quality(rows, classes),
                "influence": float(of_group.sum()),
                **{
                    f"path:{path}": float(part)
                    for path, part in zip(paths, of_group, strict=True)
                },
            }
        )
    return pd.DataFrame(lines)


def _penalties(models: Models) -> dict[str, Any]:
    """Return C of every head, as given or chosen."""
    model = models.model
    names = map(str, model.concept_names_in_)
    found = {
        "label": model.C_,
        "concepts": dict(zip(names, model.concept_C_.tolist(), strict=True)),
    }
    if models.black_box is not None:
        found["black_box"] = models.black_box.C_
    return found


def _label_quality(
    rows: pd.DataFrame, classes: np.ndarray, prefix: str = ""
) -> dict[str, Any]:
    true, proba = rows["label"], rows[[f"{prefix}p={format_value(v)}" for v in classes]]
    quality: dict[str, Any] = {**_agreement(true, rows[f"{prefix}predicted"])}
    quality["log_loss"] = None
    if len(rows):
        quality["log_loss"] = float(log_loss(true, proba.to_numpy(), labels=classes))
    return quality


def _majority_quality(
    labels: np.ndarray, predictions: pd.DataFrame, classes: np.ndarray
) -> dict[str, Any]:
    """Return the quality of predicting the shares of the training labels."""
    shares = np.array([(labels == value).mean() for value in classes])
    rows = pd.DataFrame({"label": predictions["label"]})
    rows["predicted"] = classes[shares.argmax()]
    for value, share in zip(classes, shares, strict=True):
        rows[f"p={format_value(value)}"] = share
    return _label_quality(rows, classes)


def _concept_quality(
    annotations: pd.Series, predictions: pd.DataFrame, name: str
) -> dict[str, Any]:
    rows = predictions[predictions[f"annotated:{name}"].notna()]
    words = annotations.dropna().map(str).to_numpy(dtype=object)
    values, counts = np.unique(words, return_counts=True)
    true = rows[f"annotated:{name}"].map(str)
    predicted = rows[f"predicted:{name}"].map(str)
    most_common = pd.Series(values[counts.argmax()], index=rows.index)
    return {
        "annotated_held_out_rows": len(rows),
        "model": _agreement(true, predicted),
        "majority": _agreement(true, most_common),
    }


def _amount_quality(
    annotations: pd.Series, predictions: pd.DataFrame, name: str
) -> dict[str, Any]:
    """Return the quality of predicted amounts, and of the mean of the annotations."""
    rows = predictions[predictions[f"annotated:{name}"].notna()]
    true = rows[f"annotated:{name}"].astype(float)
    mean = pd.Series(annotations.dropna().astype(float).mean(), index=rows.index)
    return {
        "annotated_held_out_rows": len(rows),
        "model": _closeness(true, rows[f"predicted:{name}"].astype(float)),
        "mean": _closeness(true, mean),
    }


def _closeness(true: pd.Series, predicted: pd.Series) -> dict[str, float | None]:
    """Return the mean absolute error, and the share of the variance explained."""
    if not len(true):
        return {"mean_absolute_error": None, "r2": None}
    error, squares = true - predicted, ((true - true.mean()) ** 2).sum()
    return {
        "mean_absolute_error": float(error.abs().mean()),
        "r2": float(1 - (error**2).sum() / squares) if squares else None,
    }


def _agreement(true: pd.Series, predicted: pd.Series) -> dict[str, float | None]:
    if not len(true):
        return {"accuracy": None, "macro_f1": None}
    values = np.concatenate([true.to_numpy(), predicted.to_numpy()])
    codes, guesses = np.split(pd.factorize(values, sort=True)[0], 2)
    return {
        "accuracy": float((codes == guesses).mean()),
        "macro_f1": macro_f1(codes, guesses),
    }


def _mean(qualities: list[dict[str, Any]]) -> dict[str, float | None]:
    """Average over the concepts that are annotated on held-out rows."""
    means: dict[str, float | None] = {}
    for key in ("accuracy", "macro_f1"):
        known = [quality[key] for quality in qualities if quality[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means
