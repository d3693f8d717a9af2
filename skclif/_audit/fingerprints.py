"""SHA-256 of training data, weights, features and models: equal only for equal bits."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from .._inputs.values import format_value, plain_value
from .._storage.digests import sha256_of

if TYPE_CHECKING:
    from .._models.bottleneck import ConceptBottleneckClassifier
    from .rows import Reviews

_ROW_DIGITS = 16


def data_fingerprint(rows: Reviews) -> str:
    """Return the SHA-256 of ids, texts, labels, groups and annotations, in order."""
    digest = hashlib.sha256(json.dumps(list(rows.concepts)).encode())
    groups = [None] * len(rows) if rows.groups is None else rows.groups
    annotations = [values for _, values in rows.concepts.items()]
    for row in zip(
        rows.ids, rows.digests, rows.labels, groups, *annotations, strict=True
    ):
        digest.update(json.dumps([plain_value(v) for v in row]).encode() + b"\n")
    return digest.hexdigest()


def row_fingerprints(rows: Reviews) -> list[str]:
    """Return the first digits of a SHA-256 of text, label and annotations of each row.

    Values are hashed as they are written: 5 and "5" are equal, because one file can
    have numbers where another has words. The text is included, so that nobody without
    the text can find the values by trying all of them.
    """
    columns = [
        rows.digests,
        rows.labels,
        *(values for _, values in rows.concepts.items()),
    ]
    return [
        hashlib.sha256(
            json.dumps(
                [None if value is None else format_value(value) for value in row]
            ).encode()
        ).hexdigest()[:_ROW_DIGITS]
        for row in zip(*columns, strict=True)
    ]


def array_fingerprint(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of numbers and their shapes, the same on every machine."""
    return sha256_of((array.dtype.name, array) for array in arrays)


def model_fingerprint(model: ConceptBottleneckClassifier) -> str:
    """Return the SHA-256 of a concept bottleneck: its values and its parameters."""
    values = [model.classes_, model.concept_names_in_, *model.concept_classes_]
    known = [
        None if one is None else [plain_value(value) for value in one] for one in values
    ]
    digest = hashlib.sha256(json.dumps(known).encode())
    digest.update(array_fingerprint(*parameters_of(model)).encode())
    return digest.hexdigest()


def parameters_of(model: ConceptBottleneckClassifier) -> list[np.ndarray]:
    """Return the fitted parameters of a concept bottleneck."""
    arrays = [model.coef_, model.intercept_]
    arrays += [*model.concept_coef_, *model.concept_intercept_]
    if model.residual_coef_ is not None:
        arrays.append(model.residual_coef_)
    return arrays
