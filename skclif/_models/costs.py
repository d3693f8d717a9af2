"""What a model will cost, before anything is embedded or fitted."""

from __future__ import annotations

import torch

from .._inputs.annotations import ConceptSchema
from ..numerics.bottleneck import Bottleneck
from ..numerics.heads import HeadStack, SoftmaxHead
from ..numerics.hessians import factors_size
from .fitted import concept_heads


def explained_size(
    schema: ConceptSchema, n_classes: int, n_rows: int, n_features: int
) -> int:
    """Return about how many bytes influence, suspects and suggestions take.

    These are the inverse Hessians of all heads, which are the largest part; texts,
    features and the libraries themselves come on top.

    Parameters
    ----------
    schema : ConceptSchema
        Of the concepts; without names for a model of the features.
    n_classes, n_rows, n_features : int
    """
    stack = HeadStack(concept_heads(schema, "soft"))
    label, n_coordinates = SoftmaxHead(n_classes), min(n_rows, n_features)
    n_inputs = stack.n_activations if stack else n_coordinates
    bottleneck = Bottleneck(
        stack,
        label,
        torch.empty(stack.n_scores, 0),
        torch.empty(label.n_scores, n_inputs + 1),
        intervention_prob=0.5,
    )
    return factors_size(bottleneck, n_coordinates, n_rows)
