"""What a model will cost, before anything is embedded or fitted."""

from __future__ import annotations

import time

import torch

from .._inputs.schema import ConceptSchema
from ..numerics.bottleneck import Bottleneck
from ..numerics.heads import HeadStack, SoftmaxHead
from ..numerics.hessians import factors_size
from .fitted import concept_heads

# Products of matrices of this size say how fast a machine is.
_SIZE, _TIMES = 700, 3
# How many of their operations an audit takes for each pair of values and each pair of
# coordinates of a row. Fitted to `python -m benchmarks.many_values`, whose table
# says how far off it is.
_OPERATIONS = 27


def explained_size(
    schema: ConceptSchema,
    n_classes: int,
    n_rows: int,
    n_features: int,
    *,
    residual: bool = False,
) -> int:
    """Return about how many bytes influence, suspects and suggestions take.

    These are the inverse Hessians of all heads, which are the largest part; texts,
    features and the libraries themselves come on top.

    Parameters
    ----------
    schema : ConceptSchema
        Of the concepts; without names for a model of the features.
    n_classes, n_rows, n_features : int
    residual : bool
        Whether the label sees the features beside the concepts.
    """
    stack = HeadStack(concept_heads(schema, "soft"))
    label, n_coordinates = SoftmaxHead(n_classes), min(n_rows, n_features)
    n_inputs = stack.n_activations + n_coordinates * (residual or not stack)
    bottleneck = Bottleneck(
        stack,
        label,
        torch.empty(stack.n_scores, 0),
        torch.empty(label.n_scores, n_inputs + 1),
        intervention_prob=0.5,
    )
    return factors_size(bottleneck, n_coordinates, n_rows)


def explained_seconds(
    schema: ConceptSchema, n_classes: int, n_rows: int, n_features: int
) -> float:
    """Return about how long fit, influence, suspects and suggestions take together.

    This is the time of one processor. A few products of matrices are timed, to know how
    fast this one is. It is meant for heads of many values, which take most of the time.

    Parameters
    ----------
    schema : ConceptSchema
        Of the concepts; without names for a model of the features.
    n_classes, n_rows, n_features : int
    """
    sizes = [len(values) for values in schema.classes if values is not None]
    pairs = sum(size**2 for size in sizes or [n_classes])
    work = n_rows * min(n_rows, n_features) ** 2 * pairs
    return _OPERATIONS * work / _operations_a_second()


def _operations_a_second() -> float:
    matrix = torch.ones(_SIZE, _SIZE, dtype=torch.float64)
    matrix @ matrix  # the first one prepares
    start = time.process_time()
    for _ in range(_TIMES):
        matrix @ matrix
    seconds = max(time.process_time() - start, 1e-6)
    return _TIMES * 2 * _SIZE**3 / seconds
