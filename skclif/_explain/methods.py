"""The methods of influence: their names, their paths, and what they cannot see."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from .._inputs.concept_tables import NOT_IN_CONCEPTS
from .._models.fitted import FittedHeads
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.bounded import undecided
from ..numerics.targets import SetTarget, Target

_NOT_JOINT = (
    " works in closed form on heads that are each at their own optimum, "
    "and the heads of training='joint' are not. Such a model has influence and "
    "validate with method='newton' or 'first_order', and edit. For everything else, "
    "fit the explainer to the same model with training='mixed'."
)
METHODS = ("auto", "newton", "leverage", "pairwise", "first_order")
_NAMED_ROWS = 10  # in a warning


def refuse_joint(asked: str) -> NoReturn:
    """Refuse what needs heads that are each at their own optimum.

    Raises
    ------
    ValueError
    """
    raise ValueError(asked + _NOT_JOINT)


def is_differentiable(target: Target) -> bool:
    """Return whether first order can follow a target."""
    return not isinstance(target, SetTarget) or target.is_differentiable


def term_paths(heads: FittedHeads) -> tuple[str, ...]:
    """Return the names of the paths that loss terms have by themselves.

    The label's term has two if there is a residual.
    """
    residual = () if heads.residual_coef is None else (NOT_IN_CONCEPTS,)
    return ("label", *heads.names, *residual)


def path_names(heads: FittedHeads, method: str) -> tuple[str, ...]:
    """Return the names of the paths of influence by a method."""
    names = term_paths(heads)
    if method == "first_order" or not heads.n_concepts:
        return names
    return (*names, "interaction")


def flipping(heads: FittedHeads) -> list[str]:
    """Return the concepts whose activations flip, and do not move by little."""
    if heads.activation != "hard":
        return []
    concepts = zip(heads.names, heads.values, strict=True)
    return [str(name) for name, values in concepts if values is not None]


def warn_of_hard_activations(heads: FittedHeads, method: str) -> None:
    """Warn that a method does not follow annotations through hard activations."""
    names = flipping(heads)
    if method == "newton" or not names:
        return
    if method in ("first_order", "pairwise"):
        what = (
            "To first order, annotations do not move the label through hard "
            f"activations: the paths of {', '.join(names)} are 0, although the removal "
            "of an annotation can flip an activation."
        )
    else:
        what = (
            "Leverage does not see hard activations of other training rows flip when "
            f"an annotation of {', '.join(names)} is removed."
        )
    warn_user(
        f"{what} Use method='newton', or bottleneck='soft' or 'logit'.",
        InfluenceWarning,
    )


def warn_of_undecided(
    heads: FittedHeads, bottleneck: Bottleneck, data: TrainingData
) -> None:
    """Warn of constraints that hold, or do not, because of a single row."""
    if not bottleneck.label.is_bounded:
        return
    rows = data.counted()
    problem = bottleneck.label_problem(rows, heads.penalties["penalty"])
    columns, n_rows = undecided(problem, bottleneck.label_parameters, len(rows))
    constraints = heads.rules.constraints(heads.schema)
    near = [words for column, words in constraints if column in columns]
    if near:
        warn_user(
            f"Whether the constraints of monotonic_cst on {', '.join(near)} hold "
            f"is up to single rows: the removal of about {n_rows} of {len(rows)} "
            "training rows lets them go, or makes them hold. For these rows, influence "
            "by 'first_order' and 'leverage' can be far off: it takes constraints that "
            "hold as equalities. method='newton' solves again where that is wrong.",
            InfluenceWarning,
        )


def named_rows(chosen: np.ndarray) -> str:
    """Return training rows in words, the first of them by their positions."""
    rows = np.flatnonzero(chosen)
    if len(rows) == 1:
        return f"training row {rows[0]}"
    named = ", ".join(map(str, rows[:_NAMED_ROWS]))
    more = f" and {len(rows) - _NAMED_ROWS} more" if len(rows) > _NAMED_ROWS else ""
    return f"training rows {named}{more}"
