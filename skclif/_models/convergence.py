"""Warnings of fits that ended away from an optimum, or with a tolerance too coarse."""

from __future__ import annotations

from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from ..exceptions import warn_user
from ..numerics.blocks import sum_rows
from ..numerics.bottleneck import TrainingData
from ..numerics.solvers import Convergence
from .fitted import FittedHeads

# A sum of numbers should be larger than the tolerance of its gradient by this factor.
_COARSE = 1e3


def warn_if_tol_is_coarse(heads: FittedHeads, data: TrainingData) -> None:
    """Warn of numbers that are about as small as the tolerance of their head."""
    if all(values is not None for values in heads.values):
        return
    zeros = data.features.new_zeros(2, heads.n_concepts)
    sums = sum_rows(_add_sizes, zeros, data).tolist()
    pairs = zip(heads.names, heads.values, strict=True)
    for j, (name, values) in enumerate(pairs):
        if values is not None:
            continue
        total, weight = sums[0][j], sums[1][j]
        penalty = 1 / heads.concept_C[j]
        tolerance = heads.tol * min(1.0, penalty, weight)
        if total < _COARSE * tolerance:
            warn_user(
                f"The head of {name!r} learns little or "
                f"nothing: its numbers times weights add up to {total:.2g}, where "
                f"gradients below {tolerance:.2g} count as zero. Multiply the "
                f"numbers by a constant, or lower tol={heads.tol:.2g}.",
                ConvergenceWarning,
            )


def _add_sizes(total: Tensor, rows: TrainingData) -> None:
    """Add the sizes of numbers times their weights, and the weights, in place."""
    weights = rows.concept_weights
    total[0] += (weights * rows.concepts.abs()).sum(dim=0)
    total[1] += weights.sum(dim=0)


def warn_unless_stationary(fit: Convergence, heads: FittedHeads) -> None:
    """Warn if stages that are trained together are not at a stationary point."""
    if fit.converged.all():
        return
    worst = int((fit.gradient_norm / fit.tolerance).argmax())
    warn_user(
        "Training both stages together stopped at a gradient norm of "
        f"{float(fit.gradient_norm[worst]):.2g} in the head of "
        f"{[*heads.names, 'label'][worst]!r} after {fit.n_iter} steps of L-BFGS, above "
        f"the {float(fit.tolerance[worst]):.2g} that tol={heads.tol:.2g} asks for; "
        f"raise max_iter={heads.max_iter} or concept_weight, scale the features, or "
        "lower C and concept_C.",
        ConvergenceWarning,
    )


def warn_unless_converged(
    fit: Convergence, names: list[str], heads: FittedHeads
) -> None:
    """Warn of heads of one stage that did not reach their optimum.

    Parameters
    ----------
    fit : Convergence
        Of the stage.
    names : list of str
        What its heads are of.
    heads : FittedHeads
        Of both stages, with the tolerance and the number of steps that were given.
    """
    lower = "lower C and concept_C"
    if heads.residual_C is not None:
        lower = "lower C, residual_C and concept_C"
    for j in (~fit.converged).nonzero()[:, 0].tolist():
        norm, tolerance = float(fit.gradient_norm[j]), float(fit.tolerance[j])
        message = (
            f"The head of {names[j]!r} stopped at a gradient norm of {norm:.2g} "
            f"after {fit.n_iter} Newton steps, above the {tolerance:.2g} that "
            f"tol={heads.tol:.2g} asks for; raise max_iter={heads.max_iter}, scale the "
            f"features, or {lower}."
        )
        if norm <= tolerance:
            message = (
                f"The head of {names[j]!r} is not determined in double precision: "
                f"rounding moves its scores by {float(fit.uncertainty[j]):.1g} of "
                f"their size. Scale the features and weights, or {lower}."
            )
        warn_user(message, ConvergenceWarning)
