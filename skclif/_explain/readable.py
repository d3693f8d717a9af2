"""What people read of rows: their texts, labels and annotations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.soft import Shares, most_probable, shown_values
from .._inputs.tensors import holds_tensors, is_tensor
from .._inputs.training_rows import TrainingRows
from .._models.fitted import FittedHeads
from ..numerics.sparse import Matrix

# Columns of results that stand next to those of texts.
_NAMED = {"target", "row", "group", "influence", "path", "label", "value", "kind"}
_NAMED |= {"current", "proposed", "effect", "std_error", "probability_wrong", "loss"}
_NAMED |= {"margin", "self_influence", "probability_proposed", "rank", "outcome"}
_NAMED |= {"before", "after", "loss_before", "loss_after"}


def texts_of(X: Any) -> dict[str, np.ndarray]:
    """Return the texts of rows by column name; nothing for numbers."""
    if is_tensor(X) or holds_tensors(X):
        return {}
    if isinstance(X, pd.DataFrame):
        texts = {n: c for n, c in X.items() if pd.api.types.is_string_dtype(c)}
        return {
            "text" if len(texts) == 1 else _column_of(name): column.to_numpy(
                dtype=object
            )
            for name, column in texts.items()
        }
    array = np.asarray(X, dtype=object) if isinstance(X, list | tuple) else X
    array = np.asarray(array)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1 and len(array) and isinstance(array[0], str):
        return {"text": array.astype(object)}
    return {}


def _column_of(name: Any) -> str:
    """Return the column of texts in results, where other columns have names."""
    return f"text {name}" if str(name) in _NAMED else str(name)


def with_texts_below(
    texts: dict[str, np.ndarray], X: Any, n_added: int
) -> dict[str, np.ndarray]:
    """Return texts with those of added rows below; None where these have no such."""
    added, unknown = texts_of(X), np.full(n_added, None)
    return {
        name: np.concatenate([column, added.get(name, unknown)])
        for name, column in texts.items()
    }


def labels_of(heads: FittedHeads, rows: TrainingRows) -> np.ndarray:
    """Return the labels of training rows; None if the model lost the class."""
    known: np.ndarray = heads.classes[np.maximum(rows.labels, 0)]
    if (rows.labels >= 0).all():
        return known
    labels = known.astype(object)
    labels[rows.labels < 0] = None
    return labels


def annotations_of(heads: FittedHeads, rows: TrainingRows) -> dict[str, np.ndarray]:
    """Return the annotations of training rows by concept; None if it has no weight.

    Soft annotations are text.
    """
    weights = rows.concept_weights * rows.weights[:, None]
    counted = ~np.isnan(rows.codes) & (weights > 0)
    readable = {}
    for j, (name, classes) in enumerate(zip(heads.names, heads.values, strict=True)):
        codes = np.where(counted[:, j], rows.codes[:, j], np.nan)
        if classes is None:
            readable[name] = codes.astype(object)
            readable[name][~counted[:, j]] = None
        else:
            readable[name] = shown_values(classes, codes, rows.shares)
    return readable


def certain(heads: FittedHeads, rows: TrainingRows) -> TrainingRows:
    """Return rows with the most probable value of every soft annotation."""
    codes = rows.codes.copy()
    for j, classes in enumerate(heads.values):
        if classes is not None:
            codes[:, j] = most_probable(codes[:, j], len(classes), rows.shares)
    return replace(rows, codes=codes, shares={})


def coded_rows(
    heads: FittedHeads,
    features: Matrix,
    labels: np.ndarray,
    codes: dict[str, np.ndarray],
    shares: Shares,
) -> TrainingRows:
    """Return rows that no model was trained on, coded as training rows are.

    `labels` are codes, and so are the annotations by concept, which may be left out.
    `shares` are what codes of soft annotations stand for.
    """
    shape = (len(labels), heads.n_concepts)
    annotated = np.full(shape, np.nan)
    for j, name in enumerate(heads.names):
        annotated[:, j] = codes.get(name, np.nan)
    weights = np.ones(len(labels)), annotated, np.ones(shape)
    return TrainingRows(features, labels, *weights, heads.class_weight, shares)
