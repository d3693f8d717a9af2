"""The accuracy of predictions for rows on a cluster."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from .collections import active_client
from .graphs import tree_of
from .layout import blocks_of, place
from .order import check_order, without_index
from .totals import added


def score_partitions(estimator: Any, X: Any, y: Any, sample_weight: Any) -> float:
    """Return the accuracy of the predictions for all rows, summed where they lie.

    Raises
    ------
    RuntimeError
        If no Dask client is active.
    """
    client = active_client("The score of Dask collections")
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    given = {name: value for name, value in given.items() if value is not None}
    placed = place(client, given)
    check_order(client, given, placed)
    blocks = blocks_of(client, placed, placed["X"].lengths, partial(_score, estimator))
    if not blocks:
        raise ValueError("X has no rows, and accuracy is a share of rows.")
    graph, root = tree_of([block.key for block in blocks], added)
    hits, total = client.get(graph, root) if graph else blocks[0].result()
    if not total:
        raise ValueError("sample_weight is 0 for all rows; give one of them weight.")
    return float(hits / total)


def _score(
    estimator: Any, number: int, start: int, given: dict[str, Any]
) -> tuple[float, float]:
    """Return the weight of the rows that are predicted, and of all rows of a block."""
    given = without_index(given)
    weights = given.get("sample_weight")
    total = float(len(given["X"]) if weights is None else np.sum(weights))
    if not total:
        return 0.0, 0.0
    return total * estimator.score(given["X"], given["y"], weights), total
