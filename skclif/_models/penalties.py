"""Penalties of both stages: as given by name, or chosen by leave-one-out loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn import get_config

from .._inputs.schema import ConceptSchema
from ..exceptions import PenaltyWarning, warn_user
from ..numerics.blocks import Elsewhere
from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.heads import Head, HeadStack
from ..numerics.hessians import curvature_size
from ..numerics.steps import Advance, unseen
from ..numerics.tuning import GRID, choose_concept_C, choose_label_C
from .fitted import FittedHeads

# Rows with which penalties are chosen, evenly spread over all.
MOST_JUDGED = 20_000


def check_concept_C(concept_C: Any, schema: ConceptSchema) -> None:
    """Check penalties by name: one positive number for each concept."""
    if not isinstance(concept_C, dict):
        return
    names = [str(name) for name in schema.names]
    if set(concept_C) != set(names):
        raise ValueError(
            f"concept_C has the names {list(concept_C)}, but the concepts are "
            f"{names}; give one number for each."
        )
    for name, C in concept_C.items():
        is_number = isinstance(C, Real) and not isinstance(C, bool)
        if not is_number or not 0 < C < np.inf:
            hint = ""
            if isinstance(C, str) and C == "auto":
                hint = ' "auto" is for all concepts or none: concept_C="auto".'
            raise ValueError(
                f"concept_C[{name!r}] must be a finite number above 0, got {C!r}.{hint}"
            )


def find_concept_C(
    concept_C: Any,
    schema: ConceptSchema,
    stack: HeadStack,
    data: TrainingData,
    sample_weight: np.ndarray,
    advance: Advance,
) -> torch.Tensor:
    """Return the inverse penalty of every concept head, (n_concepts,), on the CPU.

    Parameters
    ----------
    concept_C : float, "auto" or dict of str to float
        Checked by `check_concept_C`.
    schema : ConceptSchema
    stack : HeadStack
    data : TrainingData
    sample_weight : ndarray of shape (n_samples,)
    advance : callable
        Called after each value that was tried.
    """
    if isinstance(concept_C, dict):
        found = [float(concept_C[name]) for name in schema.names]
    elif concept_C == "auto" and schema.names:
        choose = partial(_choose_concepts, stack, _allowed())
        found = _judged(choose, data, sample_weight, advance)
    else:
        found = [concept_C] * len(schema.names)
    return torch.tensor(found, dtype=torch.float64)


def find_label_C(
    C: float | str,
    bottleneck: Bottleneck,
    data: TrainingData,
    sample_weight: np.ndarray,
    concept_C: torch.Tensor,
    residual_C: float | None = None,
    advance: Advance = unseen,
) -> float:
    """Return the inverse penalty of the label head.

    Parameters
    ----------
    C : float or "auto"
    bottleneck : Bottleneck
        With fitted concept heads.
    data : TrainingData
    sample_weight : ndarray of shape (n_samples,)
    concept_C : Tensor of shape (n_concepts,)
    residual_C : float, default=None
        Inverse penalty of the residual, which stays; None without.
    advance : callable
        Called after each value that was tried.
    """
    if C == "auto":
        choose = partial(
            _choose_label, bottleneck, 1 / concept_C, residual_C, _allowed()
        )
        C = _judged(choose, data, sample_weight, advance)
    return float(C)


def warn_of_edges(C: Any, concept_C: Any, heads: FittedHeads) -> None:
    """Warn of a chosen penalty that is the last that was tried.

    Parameters
    ----------
    C, concept_C
        As given.
    heads : FittedHeads
        With the penalties that were chosen.
    """
    chosen: dict[str, float] = {}
    if concept_C == "auto":
        chosen |= dict(zip(map(repr, heads.names), heads.concept_C, strict=True))
    if C == "auto":
        chosen["the label"] = heads.C
    for edge, why in (
        (GRID[0], "The features may tell nothing about these values, or be too large"),
        (GRID[-1], "The features may be too small, or settle these values"),
    ):
        names = [name for name, value in chosen.items() if value == edge]
        if names:
            warn_user(
                f"C={edge:g} was chosen for {', '.join(names)}, at the edge of what is "
                f"tried (from {GRID[0]:g} to {GRID[-1]:g}). {why}; set "
                f"{_parameters(names)} to a number to go further.",
                PenaltyWarning,
            )


def _parameters(names: list[str]) -> str:
    """Return the parameters that set the penalties of these heads."""
    # The label is last: a concept can have any name, but in quotes.
    has_label = names[-1] == "the label"
    given = ["concept_C"] * (len(names) > has_label) + ["C"] * has_label
    return " or ".join(given)


def _choose_concepts(
    stack: HeadStack,
    allowed: float,
    data: TrainingData,
    sample_weight: torch.Tensor,
    advance: Advance = unseen,
) -> list[float]:
    """Return the inverse penalty of every concept head, judged by some rows."""
    _check_memory("concept_C", stack.heads, [], data, allowed)
    chosen = choose_concept_C(stack, data, _units(sample_weight), advance).C
    chosen[_constants(data)] = 1.0  # any penalty gives the same head
    found: list[float] = chosen.tolist()
    return found


def _choose_label(
    bottleneck: Bottleneck,
    concept_penalties: torch.Tensor,
    residual_C: float | None,
    allowed: float,
    data: TrainingData,
    sample_weight: torch.Tensor,
    advance: Advance = unseen,
) -> float:
    """Return the inverse penalty of the label head, judged by some rows."""
    heads, label = bottleneck.concepts.heads, bottleneck.label
    n_more = 0 if residual_C is None else min(data.features.shape)
    on_activations = [label] if heads else []
    _check_memory("C", heads or [label], on_activations, data, allowed, n_more)
    units = _units(sample_weight)
    found = choose_label_C(
        bottleneck, data, units, concept_penalties, residual_C, advance
    )
    return float(found.C)


def _units(sample_weight: torch.Tensor) -> torch.Tensor:
    """Return the share of each row that is left out: one of those that it counts as."""
    return 1 / sample_weight.clamp(min=1)


def _allowed() -> float:
    """Return the memory that scikit-learn may use here, in MiB."""
    return float(get_config()["working_memory"])


def _check_memory(
    name: str,
    on_features: Sequence[Head],
    on_activations: Sequence[Head],
    data: TrainingData,
    allowed: float,
    n_more: int = 0,
) -> None:
    """Refuse to choose a penalty if Hessians do not fit scikit-learn's memory."""
    n_activations = n_more + sum(head.n_activations for head in on_features)
    n_inputs, n_rows = min(data.features.shape) + 1, len(data)
    needed = curvature_size(on_features, n_inputs, n_rows)
    needed += curvature_size(on_activations, n_activations + 1, 2 * n_rows)
    if needed <= allowed * 2**20:
        return
    n_samples, n_features = data.features.shape
    raise ValueError(
        f"{name}='auto' needs the factorised Hessians of heads, about "
        f"{needed / 2**20:,.0f} MiB for {n_samples:,} rows and {n_features:,} "
        f"features, and the working_memory of scikit-learn is {allowed:,.0f} MiB. Give "
        f"a number for {name}, perhaps found by GridSearchCV; allow more by "
        "sklearn.set_config(working_memory=...); or use fewer features, for example "
        "TfidfVectorizer(max_features=...) or TruncatedSVD."
    )


def _constants(data: TrainingData) -> torch.Tensor:
    """Return which concepts have one value in the rows with weight, (n_concepts,)."""
    has_weight = data.concept_weights > 0
    least = torch.where(has_weight, data.concepts, torch.inf).amin(dim=0)
    most = torch.where(has_weight, data.concepts, -torch.inf).amax(dim=0)
    return least == most


def _judged(
    choose: Callable[..., Any],
    data: TrainingData,
    sample_weight: np.ndarray,
    advance: Advance,
) -> Any:
    """Return what is chosen by the rows that judge penalties.

    A penalty is about as strong as what is known before there are rows: the best one
    hardly depends on their number. So of many rows, some are enough. Those on a cluster
    are judged there.
    """
    elsewhere: Any = data
    if isinstance(data, Elsewhere):
        return elsewhere.on_sample(choose, MOST_JUDGED, weighted=True)
    weights = torch.from_numpy(sample_weight).to(data.label_weights)
    if len(data) > MOST_JUDGED:
        rows = data.sampled(MOST_JUDGED)
        data, weights = data.rows(rows), weights[rows]
    return choose(data, weights, advance)
