"""Whether the concepts of an audited model carry its predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .._inputs.annotations import format_value
from .._results.bottleneck_report import BottleneckReport
from ..metrics._bottleneck_parts import Rows
from ..metrics._bottleneck_report import report_on
from .models import Models
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
