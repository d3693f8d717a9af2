"""Whether the concepts of an audited model carry its predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import format_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.bottleneck_report import BottleneckReport
from .._results.verdicts import FEWEST, NATS
from ..metrics._bottleneck_parts import Rows
from ..metrics._bottleneck_report import report_on
from .models import Models
from .option_names import by_caller
from .quality import is_clear
from .rows import Reviews


def honesty(
    models: Models,
    train: Reviews,
    held_out: Reviews,
    predictions: pd.DataFrame,
    seed: int,
) -> BottleneckReport | None:
    """Return the report on a bottleneck; None without concepts or held-out rows.

    Parameters
    ----------
    models : Models
    train : Reviews
        The rows that have weight.
    held_out : Reviews
    predictions : DataFrame
        What the models say of the held-out rows.
    seed : int
    """
    model = models.model
    if models.black_box is None or models.gold is None or not len(held_out):
        return None
    columns = [f"black_box_p={format_value(value)}" for value in model.classes_]
    known = {
        "black_box": predictions[columns].to_numpy(),
        "gold": models.gold.predict_proba(held_out),
    }
    return report_on(model, _rows(train), _rows(held_out), known, seed)


def shares_of_paths(paths: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    """Return the share of all influence, by size, that goes along each path.

    Parameters
    ----------
    paths : tuple of str
    values : ndarray of shape (n_train, n_paths)
        Influence on the mean loss of the held-out rows (nats).
    """
    sizes = np.abs(values).sum(axis=0)
    total = float(sizes.sum())
    if not total:
        return {}
    return {path: float(s) / total for path, s in zip(paths, sizes, strict=True)}


def more_than_concepts(
    model: ConceptBottleneckClassifier, predictions: pd.DataFrame
) -> list[str]:
    """Return a warning if a bottleneck beats true annotations; empty if it does not.

    Annotations tell all that the concepts say. Who predicts the label better reads
    something else from the text, and hides it in predicted concepts. A residual may do
    so: it is named.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
    predictions : DataFrame
        What the models say of the held-out rows.
    """
    if "gold_loss" not in predictions or model.residual_coef_ is not None:
        return []
    names = [f"annotated:{name}" for name in model.concept_names_in_]
    rows = predictions[predictions[names].notna().all(axis=1)]
    gain = (rows["gold_loss"] - rows["loss"]).to_numpy(dtype=float)
    if len(rows) < FEWEST or gain.mean() < NATS or not is_clear(gain):
        return []
    own, gold, corrected = (
        rows[f"{who}loss"].mean() for who in ("", "gold_", "corrected_")
    )
    advice = by_caller(
        "Let --concept-C auto choose the penalties of the concepts, add the concept "
        "that is missing, or let --residual-C carry it openly.",
        "Let concept_C='auto' choose the penalties of the concepts, add the concept "
        "that is missing, or let residual_C carry it openly.",
    )
    return [
        "The bottleneck predicts the label better than true annotations do: its "
        f"log-loss is {own:.3f} nats on {len(rows):,} held-out texts, and that of a "
        f"model of their annotations {gold:.3f}. With true annotations in place of "
        f"predicted concepts it is {corrected:.3f}. So the predicted concepts carry "
        "something that the concepts do not say (leakage), unless many annotations "
        "are wrong. What the model says of its concepts is then not the whole reason "
        f"for a label. {advice}"
    ]


def as_json(
    report: BottleneckReport | None, paths: dict[str, float]
) -> dict[str, Any] | None:
    """Return what ``run.json`` holds of a report: verdicts, and numbers behind them."""
    if report is None:
        return None
    estimates = report.estimates.astype(object)
    return {
        "verdicts": [verdict.to_dict() for verdict in report.verdicts],
        "estimates": estimates.where(estimates.notna(), None).to_dict("records"),
        "influence_by_path": paths,
    }


def _rows(reviews: Reviews) -> Rows:
    weight = reviews.weights
    return Rows(reviews.features, reviews.labels, reviews.concepts, weight)
