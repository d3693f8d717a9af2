"""The models before and after an edit, on rows that neither was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ..._inputs.annotations import Annotations
from ..._inputs.schema import ConceptSchema
from ..._inputs.soft import Shares, distributions
from ..._inputs.training_rows import as_features
from ..._inputs.values import value_code
from ..._models.fitted import FittedHeads
from ..._results.comparison import EditComparison, PairedChange
from ...numerics.sparse import Matrix
from ...numerics.targets import LabelTarget, evaluate

_LEVEL = 0.95


def compare_heads(
    before: FittedHeads,
    after: FittedHeads,
    features: Matrix,
    labels: np.ndarray,
    annotations: dict[str, np.ndarray],
    shares: Shares,
    readable: dict[str, np.ndarray],
) -> EditComparison:
    """Compare two models on rows.

    Parameters
    ----------
    before, after : FittedHeads
        The second may lack classes, concepts, and values of concepts, and have new
        values of concepts.
    features : ndarray of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,)
        Codes.
    annotations : dict of str to ndarray of shape (n_rows,)
        Codes by concept, as `annotation_codes` returns them for all values.
    shares : Shares
        What soft ones stand for.
    readable : dict of str to ndarray of shape (n_rows,)
        Columns to show rows with, such as their texts.
    """
    classes = _codes_before(before.classes, after.classes)
    old, old_loss = _judged(before, features, labels)
    new, new_loss = _judged(after, features, _codes_after(classes, before, labels))
    new = classes[new]
    was_right, is_right = old == labels, new == labels
    n_better = int((is_right & ~was_right).sum())
    n_worse = int((was_right & ~is_right).sum())
    rows = np.flatnonzero(old != new)
    outcomes = np.where(is_right, "better", np.where(was_right, "worse", "neither"))
    changed = pd.DataFrame(
        {
            "row": rows,
            **{name: column[rows] for name, column in readable.items()},
            "label": before.classes[labels[rows]],
            "before": before.classes[old[rows]],
            "after": before.classes[new[rows]],
            "outcome": outcomes[rows].astype(object),
            "loss_before": old_loss[rows],
            "loss_after": new_loss[rows],
        }
    )
    return EditComparison(
        PairedChange(
            float(was_right.mean()),
            float(is_right.mean()),
            interval_of_shares(len(labels), n_better, n_worse),
        ),
        PairedChange(
            float(old_loss.mean()),
            float(new_loss.mean()),
            interval_of_mean(new_loss - old_loss),
        ),
        changed,
        _concept_quality(before, after, features, annotations, shares),
        len(labels),
    )


def interval_of_shares(n: int, n_better: int, n_worse: int) -> tuple[float, float]:
    """Return the 95 % interval of a difference of paired shares.

    The adjusted interval of Agresti and Min (2005, Statistics in Medicine 24, 729-740),
    which adds half a row to each cell of the table of right and wrong before and after.
    Unlike the plain normal interval, it covers where few predictions change, and has a
    width where none does.

    Parameters
    ----------
    n : int
        Number of rows.
    n_better, n_worse : int
        Rows that are right only after, and only before.
    """
    better, worse, total = n_better + 0.5, n_worse + 0.5, n + 2
    centre = (better - worse) / total
    spread = np.sqrt(better + worse - (better - worse) ** 2 / total) / total
    reach = stats.norm.ppf((1 + _LEVEL) / 2) * spread
    return max(-1.0, float(centre - reach)), min(1.0, float(centre + reach))


def interval_of_mean(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean of differences, by Student's t.

    NaN for a single row, whose spread is unknown.
    """
    n = len(differences)
    if n < 2:
        return float("nan"), float("nan")
    spread = differences.std(ddof=1) / np.sqrt(n)
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * spread
    return float(differences.mean() - reach), float(differences.mean() + reach)


def annotation_codes(
    schema: ConceptSchema, concepts: Any, n_rows: int
) -> tuple[dict[str, np.ndarray], Shares]:
    """Return codes of annotations by concept, NaN where there is none, and shares.

    The code of a continuous concept is its value. A DataFrame may leave out concepts.
    Shares are what codes of soft annotations stand for.

    Raises
    ------
    TypeError, ValueError
        If `concepts` has no such shape, or columns or values that the model does not
        know.
    """
    annotations = Annotations.read(concepts, None, n_rows)
    if annotations is None:
        return {}, {}
    if not schema.names:
        raise ValueError("concepts were given, but the model has no concepts.")
    codes, shares = schema.encode(annotations, partial=True)
    return dict(zip(map(str, schema.names), codes.T, strict=True)), shares


def joint_schema(before: ConceptSchema, after: ConceptSchema) -> ConceptSchema:
    """Return the concepts of the model before an edit, with values that it brought."""
    later = dict(zip(after.names, after.classes, strict=True))
    classes = []
    for name, old in zip(before.names, before.classes, strict=True):
        new = later.get(name)
        if old is not None and new is not None:
            brought = [v for v in new.tolist() if value_code(old, v) is None]
            if brought:
                old = np.array([*old.tolist(), *brought], dtype=object)
        classes.append(old)
    return replace(before, classes=tuple(classes))


def _codes_before(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the codes, before the edit, of values that the model has after it."""
    known = before.tolist()
    return np.array([known.index(value) for value in after.tolist()], dtype=int)


def _codes_after(
    classes: np.ndarray, before: FittedHeads, labels: np.ndarray
) -> np.ndarray:
    """Return the codes of labels after the edit, all of which the model must have."""
    codes = np.full(len(before.classes), -1)
    codes[classes] = np.arange(len(classes))
    new: np.ndarray = codes[labels]
    if (new < 0).any():
        row = int((new < 0).argmax())
        raise ValueError(
            f"y has the class {before.classes.tolist()[labels[row]]!r} in row {row}, "
            "which went from the model with the edit, so that its log-loss is infinite "
            "there. Compare on rows of the other classes."
        )
    return new


def _judged(
    heads: FittedHeads, features: Matrix, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the code that is predicted for every row, and the log-loss (nats)."""
    bottleneck, rows = heads.tensors(), as_features(features)
    target = LabelTarget("loss", torch.from_numpy(labels))
    predicted = bottleneck.label_probabilities(rows).argmax(dim=1).numpy()
    losses: np.ndarray = evaluate(target, bottleneck, rows).numpy()
    return predicted, losses


def _concept_quality(
    before: FittedHeads,
    after: FittedHeads,
    features: Matrix,
    annotations: dict[str, np.ndarray],
    shares: Shares,
) -> pd.DataFrame:
    columns = ["concept", "measure", "n_rows", "before", "after"]
    predicted = [_predicted_concepts(heads, features) for heads in (before, after)]
    schema = joint_schema(before.schema, after.schema)
    known = dict(zip(map(str, schema.names), schema.classes, strict=True))
    for name, classes in zip(after.names, after.values, strict=True):
        every = known[name]
        if classes is not None and every is not None:
            predicted[1][name] = _codes_before(every, classes)[predicted[1][name]]
    lines = []
    for name, classes in zip(before.names, before.values, strict=True):
        true = annotations.get(name)
        if true is None or np.isnan(true).all():
            continue
        given = ~np.isnan(true)
        qualities = []
        for found in predicted:
            quality = float("nan")  # of a concept that the edit dropped
            if name in found:
                said, every = found[name][given], known[name]
                if every is None:
                    each = np.abs(said - true[given])
                else:  # the share of the value that is predicted
                    wanted = distributions(true[given], len(every), shares)
                    each = wanted[np.arange(len(said)), said]
                quality = float(each.mean())
            qualities.append(quality)
        measure = "accuracy" if classes is not None else "mean absolute error"
        lines.append((name, measure, int(given.sum()), *qualities))
    return pd.DataFrame(lines, columns=columns)


def _predicted_concepts(heads: FittedHeads, features: Matrix) -> dict[str, np.ndarray]:
    """Return the code, or the number, that is predicted for every row and concept."""
    bottleneck = heads.tensors()
    stack = bottleneck.concepts
    scores = bottleneck.concept_scores(as_features(features))
    found = {}
    for name, classes, head, part in zip(
        heads.names, heads.values, stack.heads, stack.split(scores), strict=True
    ):
        values = head.probabilities(part)
        found[name] = (
            values[:, 0] if classes is None else values.argmax(dim=1)
        ).numpy()
    return found
