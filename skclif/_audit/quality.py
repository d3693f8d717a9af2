"""How good the models of an audit are on held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, log_loss

from .._inputs.annotations import format_value, plain_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .models import Models
from .predictions import label_columns
from .rows import Reviews

_CHANCE = 1.96  # standard errors
_FEWEST_ROWS = 50  # of training


def quality(model: ConceptBottleneckClassifier, held_out: Reviews) -> dict[str, float]:
    """Return accuracy, macro F1 and log-loss (nats) of a model on held-out rows."""
    proba = model.predict_proba(held_out.features)
    columns = label_columns(model.classes_, proba, held_out, "")
    rows = pd.DataFrame({"label": held_out.labels, **columns})
    return _label_quality(rows, model.classes_)


def doubts_of(
    labels: np.ndarray, predictions: pd.DataFrame, has_concepts: bool
) -> list[str]:
    """Return why a model as a whole explains little, in words; empty if it does not.

    Parameters
    ----------
    labels : ndarray of shape (n_training_rows,)
        Of the rows that have weight.
    predictions : DataFrame
        What the models say of the held-out rows.
    has_concepts : bool
        Whether the model is a bottleneck.
    """
    who = "The bottleneck" if has_concepts else "The black box"
    doubts = []
    values, counts = np.unique(labels, return_counts=True)
    true = predictions["label"].to_numpy()
    right = (predictions["predicted"].to_numpy() == true).astype(float)
    always = (true == values[counts.argmax()]).astype(float)
    shares = dict(zip(values, counts / counts.sum(), strict=True))
    surprise = -np.log([shares[label] for label in true])
    better = [
        _is_clear(gain) for gain in (right - always, surprise - predictions["loss"])
    ]
    if not any(better):
        is_worse = right.mean() <= always.mean()
        how = "no better than" if is_worse else "not clearly better than"
        doubts.append(
            f"{who} is {how} always saying the most common label "
            f"({right.mean():.1%} and {always.mean():.1%} of {len(true):,} held-out "
            "texts right). What it learned of the labels, and so influence on them, "
            "suspect labels and suggestions, means little."
        )
    if len(labels) < _FEWEST_ROWS:
        doubts.append(
            f"There are only {len(labels)} training rows. With fewer than "
            f"{_FEWEST_ROWS}, all numbers are guesses."
        )
    return doubts


def _is_clear(gain: np.ndarray) -> bool:
    """Return whether a gain over rows is more than chance would give."""
    gain = np.asarray(gain, dtype=float)
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return bool(gain.mean() > _CHANCE * error)


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
            label[who] = _label_quality(predictions, model.classes_, f"{who}_")
    label["majority"] = _majority_quality(train.labels, predictions, model.classes_)
    metrics: dict[str, Any] = {"label": label}
    if black_box is not None:
        concepts = {
            name: _concept_quality(train.concepts[name], predictions, name)
            for name in model.concept_names_in_
        }
        metrics["concepts"] = concepts
        metrics["concepts_mean"] = {
            who: _mean([quality[who] for quality in concepts.values()])
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


def _agreement(true: pd.Series, predicted: pd.Series) -> dict[str, float | None]:
    if not len(true):
        return {"accuracy": None, "macro_f1": None}
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "macro_f1": float(f1_score(true, predicted, average="macro", zero_division=0)),
    }


def _mean(qualities: list[dict[str, Any]]) -> dict[str, float | None]:
    """Average over the concepts that are annotated on held-out rows."""
    means = {}
    for key in qualities[0]:
        known = [quality[key] for quality in qualities if quality[key] is not None]
        means[key] = float(np.mean(known)) if known else None
    return means
