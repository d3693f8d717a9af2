"""The fit of a bottleneck to rows that were read: one stage, and then the other."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from .._inputs.devices import resolve_device
from .._inputs.progress import Progress
from ..numerics.bottleneck import (
    Bottleneck,
    TrainingData,
    fit_concepts,
    fit_label,
    largest_sizes,
)
from ..numerics.heads import CategoricalHead, HeadStack
from ..numerics.joint import fit_joint, joint_steps
from ..numerics.solvers import Convergence
from .convergence import (
    warn_if_tol_is_coarse,
    warn_unless_converged,
    warn_unless_stationary,
)
from .fitted import FittedHeads, concept_heads
from .options import intervention_prob, is_joint
from .penalties import check_concept_C, find_concept_C, find_label_C, warn_of_edges
from .rows_read import RowsRead

_STEPS, _TRIED = "Newton steps", "values tried"
_LBFGS_STEPS = "steps of L-BFGS"


class _Solution(NamedTuple):
    """Both stages, how their fits ended, and the inverse penalties they have."""

    bottleneck: Bottleneck
    concepts: Convergence
    label: Convergence
    C: float
    concept_C: np.ndarray
    joint: Convergence | None = None

    @property
    def fits(self) -> list[Convergence]:
        """How the last fit of every head ended."""
        both = [self.concepts, self.label]
        return both if self.joint is None else [self.joint]


def fit_rows(model: Any, read: RowsRead) -> None:
    """Fit a bottleneck, in place, to rows that were read, here or on a cluster.

    Raises
    ------
    ValueError
        If `concept_C` is not about the concepts, an ordinal head lacks rows of a label,
        or the numbers are too large to fit to.
    """
    data, schema, classes = read.data, read.schema, read.classes
    check_concept_C(model.concept_C, schema)
    if read.rules.is_latent(len(classes)):
        _check_every_class(classes, read.label_weights)
    found = _solve(model, read, read.rules.head(classes, schema))
    heads = FittedHeads.solved(
        model,
        found.bottleneck,
        schema,
        classes,
        read.class_weight,
        found.C,
        found.concept_C,
        read.rules,
    )
    heads.store(model, max(fit.n_iter for fit in found.fits))
    model._note_correction(found.bottleneck, data)
    warn_if_tol_is_coarse(heads, data)
    if found.joint is not None:
        warn_unless_stationary(found.joint, heads)
    else:
        warn_unless_converged(found.concepts, heads.names, heads)
        warn_unless_converged(found.label, ["label"], heads)
    warn_of_edges(model.C, model.concept_C, heads)


def _solve(model: Any, read: RowsRead, label: CategoricalHead) -> _Solution:
    """Fit both stages, or say which numbers are too large for that."""
    data = read.data
    try:
        here = data.to(resolve_device(model.device, data.features))
        solution = _fit_stages(model, read, here, label)
        if all(fit.gradient_norm.isfinite().all() for fit in solution.fits):
            return solution
        cause = None
    except LinAlgError as error:
        cause = error
    largest, heaviest = largest_sizes(data)
    raise ValueError(
        "The heads cannot be fitted in double precision: in size, the features "
        f"reach {largest:.2g}, the weights of rows and annotations {heaviest:.2g}, "
        f"with C={_short(model.C)} and "
        f"concept_C={_short(model.concept_C)}. Scale or clip what is large."
    ) from cause


def _fit_stages(
    model: Any, read: RowsRead, data: TrainingData, label: CategoricalHead
) -> _Solution:
    """Fit one stage after the other, each with the penalties that it is to have."""
    schema, weights = read.schema, read.sample_weight
    heads = concept_heads(schema, model.bottleneck, read.shares, data.features.device)
    limits: dict[str, Any] = {"tol": float(model.tol), "max_iter": model.max_iter}
    progress = Progress(model.verbose)
    with progress.stage("Choosing concept_C", unit=_TRIED) as advance:
        concept_C = find_concept_C(
            model.concept_C, schema, HeadStack(heads), data, weights, advance
        )
    with progress.stage("Fitting the concepts", unit=_STEPS) as advance:
        bottleneck, concepts = fit_concepts(
            data,
            heads,
            label,
            intervention_prob=intervention_prob(model),
            concept_penalties=1 / concept_C,
            advance=advance,
            **limits,
        )
    residual_C = model.residual_C
    with progress.stage("Choosing C", unit=_TRIED) as advance:
        C = find_label_C(
            model.C, bottleneck, data, weights, concept_C, residual_C, advance
        )
    bottleneck = bottleneck.scaled(residual_C, C)
    with progress.stage("Fitting the label", unit=_STEPS) as advance:
        bottleneck, of_label = fit_label(
            bottleneck, data, penalty=1 / C, advance=advance, **limits
        )
    found = _Solution(bottleneck, concepts, of_label, C, concept_C.numpy())
    if not is_joint(model, schema):
        return found
    with progress.stage("Fitting both together", unit=_LBFGS_STEPS) as advance:
        bottleneck, joint = fit_joint(
            bottleneck,
            data,
            penalty=1 / C,
            concept_penalties=1 / concept_C,
            concept_weight=float(model.concept_weight),
            tol=float(model.tol),
            max_iter=joint_steps(model.max_iter),
            advance=advance,
        )
    return found._replace(bottleneck=bottleneck, joint=joint)


def _check_every_class(classes: np.ndarray, totals: np.ndarray) -> None:
    """Refuse a class without weight: thresholds around it have no optimum."""
    if (totals == 0).any():
        label = classes[totals == 0].tolist()[0]
        raise ValueError(
            "label_head='ordinal' needs a row with weight for every label, but the "
            f"rows of {label!r} have weight 0. Leave these rows out, or give one of "
            "them weight."
        )


def _short(C: Any) -> str:
    return f"{C:.2g}" if isinstance(C, Real) else str(C)
