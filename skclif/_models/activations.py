"""The same concept heads under another label head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .._inputs.annotations import Annotations
from .._inputs.devices import resolve_device
from ..numerics.bottleneck import fit_label
from ..numerics.heads import HeadStack
from ..numerics.sparse import Matrix
from ..numerics.steps import unseen
from .fitted import FittedHeads, concept_heads
from .penalties import find_label_C

KINDS = ("soft", "logit", "hard")


def with_activations(
    model: Any,
    kind: str,
    X: Matrix,
    y: np.ndarray,
    sample_weight: np.ndarray,
    annotations: Annotations,
) -> Any:
    """Return the model that a fit with another `bottleneck` would give.

    The concept heads are the same whatever the label head sees of them, so that only
    the label head is fitted.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
        Fitted to these rows.
    kind : {"soft", "logit", "hard"}
        With "logit" the label head is trained on predicted concepts alone.
    X : Matrix of shape (n_samples, n_features)
        As `check_features` returns them.
    y : ndarray of shape (n_samples,)
    sample_weight : ndarray of shape (n_samples,)
    annotations : Annotations
    """
    heads = FittedHeads.of(model)
    prob = 0.0 if kind == "logit" else heads.intervention_prob
    rows = heads.encode(X, y, sample_weight, annotations)
    data = rows.data().to(resolve_device(model.device, X))
    device = data.labels.device
    before = heads.tensors(device)
    bottleneck = replace(
        before,
        concepts=HeadStack(concept_heads(heads.schema, kind, rows.shares, device)),
        label_parameters=before.label_parameters.new_empty(0),
        intervention_prob=prob,
    )
    concept_C = torch.from_numpy(heads.concept_C)
    C = find_label_C(
        model.C, bottleneck, data, sample_weight, concept_C, heads.residual_C, unseen
    )
    bottleneck, fit = fit_label(
        bottleneck.scaled(heads.residual_C, C),
        data,
        penalty=1 / C,
        tol=model.tol,
        max_iter=model.max_iter,
    )
    # Concept heads that were trained with the label stay as they are.
    heads = replace(
        heads, activation=kind, intervention_prob=prob, C=C, concept_weight=None
    )
    heads = heads.with_parameters(bottleneck, [True] * heads.n_concepts + [False])
    twin = heads.copy_to(model, fit.n_iter)
    twin.set_params(bottleneck=kind, training="mixed", intervention_prob=prob)
    twin._correction = None  # it is of the other label head
    return twin
