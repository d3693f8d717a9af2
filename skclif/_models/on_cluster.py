"""Training rows of a fit that lie on a cluster."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from .._cluster.rows import RemoteRows
from .._inputs.checks import check_labels
from .._inputs.concept_tables import concept_table
from .._inputs.orders import labels_of
from ..numerics.bottleneck import TrainingData
from .label_heads import LabelRules
from .options import check_options
from .rows_read import RowsRead, check_residual, checked_class_weights, known_classes

_WHAT = "A fit to Dask collections"


def read_on_cluster(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    concepts: Any,
    concept_sample_weight: Any,
) -> RowsRead:
    """Check the arguments of a fit where they lie, and code the rows there.

    Raises
    ------
    RuntimeError
        If no Dask client is active.
    ValueError
        If the model has an option for which rows have to be in this process.
    """
    model._validate_params()
    check_options(model)
    _refuse_options(model)
    if isinstance(concepts, dict | str | bytes):
        concept_table(concepts)  # says what is wrong
    given = {"X": X, "y": y, "sample_weight": sample_weight}
    given |= {"concepts": concepts, "concept_sample_weight": concept_sample_weight}
    if y is None:
        check_labels(None, 0)  # says what is wrong
    if concepts is None and concept_sample_weight is not None:
        raise ValueError("concept_sample_weight was given without concepts.")
    given = {name: value for name, value in given.items() if value is not None}
    rows = RemoteRows.read(model, _WHAT, given)
    learned = rows.learned(model.concept_kinds)
    labels = learned.stand_in()
    is_column = getattr(y, "ndim", 1) == 2
    labels = labels[:, None] if is_column else labels
    classes = known_classes(check_labels(labels, len(labels), warn=True), len(rows))
    class_weight = checked_class_weights(
        model, classes, learned.labels, learned.weights
    )
    if model.residual_C is not None:
        check_residual(model.residual_C, has_concepts=concepts is not None)
    schema = learned.schema(model.concept_kinds)
    typed = labels_of(model, classes, learned.label_order)
    rules = LabelRules.read(model, typed, classes, schema, learned.head)
    data = cast(TrainingData, rows.coded(classes, class_weight, schema))
    none, totals = np.empty(0), learned.weights
    return RowsRead(data, classes, class_weight, schema, {}, rules, none, totals)


def _refuse_options(model: Any) -> None:
    if model.training == "joint":
        raise ValueError(
            "training='joint' is not fitted on a cluster. Use training='mixed', "
            "'sequential' or 'independent', or fit to rows in this process."
        )
    if model.device not in ("cpu", "auto"):
        raise ValueError(
            f"device={model.device!r} is where this process computes. Rows on a "
            "cluster are computed with on the CPUs of the workers; use device='cpu'."
        )
