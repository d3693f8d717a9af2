"""What the models of an audit say of rows, as tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import format_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .corrections import (
    correct,
    known_concepts,
    never_annotated,
    value_codes,
    what_failed,
)
from .kinds import in_order
from .models import Models
from .rows import Reviews, tidy


def held_out_predictions(models: Models, held_out: Reviews) -> pd.DataFrame:
    """Return what every model says of the held-out rows, as `Audit` describes it."""
    model = models.model
    table: dict[str, Any] = {"id": held_out.ids, "text_hash": held_out.hashes()}
    if held_out.groups is not None:
        table["group"] = held_out.groups
    if held_out.texts is not None:
        table["text"] = held_out.texts
    table["label"] = held_out.labels
    classes, X = model.classes_, held_out.features
    proba = model.predict_proba(X)
    table |= label_columns(classes, proba, held_out, "")
    if models.black_box is None or models.gold is None:
        return pd.DataFrame(table)
    corrected, mended, labels = correct(model, held_out, models.spreads)
    gold = models.gold.predict_proba(held_out)
    others = {"black_box_": models.black_box.predict_proba(X)}
    if not never_annotated(model, held_out.concepts):
        others |= {"corrected_": corrected, "gold_": gold}
    for prefix, other in others.items():
        table |= label_columns(classes, other, held_out, prefix)
    is_read = known_concepts(model, held_out.concepts).notna().all(axis=1)
    every = proba, corrected, mended, gold
    table["failed"] = what_failed(
        held_out.labels, classes, *every, is_read=is_read.to_numpy()
    )
    return pd.DataFrame(table | _concept_columns(model, held_out, labels))


def predicted_table(model: ConceptBottleneckClassifier, rows: Reviews) -> pd.DataFrame:
    """Return predictions for rows, which need no labels.

    Columns: id, text_hash, text, predicted, ``p=<class>``, ``predicted:<concept>``.
    """
    proba = model.predict_proba(rows.features)
    table: dict[str, Any] = {"id": rows.ids, "text_hash": rows.hashes()}
    if rows.texts is not None:
        table["text"] = rows.texts
    table["predicted"] = model.classes_[proba.argmax(axis=1)]
    table |= _probabilities(model.classes_, proba, "")
    if model.n_concepts_:
        predicted = pd.DataFrame(
            model.predict_concepts(rows.features), columns=model.concept_names_in_
        )
        for name, values in predicted.items():
            table[f"predicted:{name}"] = tidy(values)
    return pd.DataFrame(table)


def label_columns(
    classes: np.ndarray, proba: np.ndarray, rows: Reviews, prefix: str
) -> dict[str, np.ndarray]:
    """Return the label predicted, its loss (nats), and ``p=<class>`` for all classes.

    `proba` has shape (n_rows, n_classes).
    """
    codes = np.searchsorted(classes, rows.labels)
    # The smallest probability that scikit-learn's log_loss knows.
    true = np.clip(proba[np.arange(len(rows)), codes], np.finfo(float).eps, 1)
    columns = {
        f"{prefix}predicted": classes[proba.argmax(axis=1)],
        f"{prefix}loss": -np.log(true),
    }
    return columns | _probabilities(classes, proba, prefix)


def _probabilities(
    classes: np.ndarray, proba: np.ndarray, prefix: str
) -> dict[str, np.ndarray]:
    """Return a column for each class; numbers by size, also where they are words."""
    of = dict(zip(classes.tolist(), proba.T, strict=True))
    return {f"{prefix}p={format_value(v)}": of[v] for v in in_order(of)}


def _concept_columns(
    model: ConceptBottleneckClassifier, rows: Reviews, labels: pd.DataFrame
) -> dict[str, Any]:
    predicted = pd.DataFrame(
        model.predict_concepts(rows.features), columns=model.concept_names_in_
    )
    proba = model.predict_concept_proba(rows.features)
    columns: dict[str, Any] = {}
    codes = value_codes(model, rows.concepts)
    for name in model.concept_names_in_:
        given = rows.concepts[name]
        p = np.full(len(rows), np.nan)  # no single amount has a probability
        if name in codes:
            found = proba[name][np.arange(len(rows)), codes[name]]
            p = np.where(codes[name] >= 0, found, 0.0)
        columns[f"annotated:{name}"] = given.to_numpy()
        columns[f"predicted:{name}"] = tidy(predicted[name])
        columns[f"p_annotated:{name}"] = np.where(given.notna(), p, np.nan)
        columns[f"label_if_corrected:{name}"] = labels[name]
    return columns
