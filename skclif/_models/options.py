"""Options of a bottleneck that depend on each other."""

from __future__ import annotations

from typing import Any

from .._inputs.schema import ConceptSchema

# The default share of true annotations in the label head.
_INTERVENTION_PROB = 0.4


def check_options(model: Any) -> None:
    """Refuse options that contradict each other, before any row is read.

    Raises
    ------
    ValueError
    """
    intervention_prob(model)
    _check_joint(model)


def intervention_prob(model: Any) -> float:
    """Return the share of true annotations in the label head, checked."""
    prob = {"sequential": 0.0, "independent": 1.0}.get(
        model.training, model.intervention_prob
    )
    if prob is None:
        predicted_alone = model.bottleneck == "logit" or model.training == "joint"
        return 0.0 if predicted_alone else _INTERVENTION_PROB
    if model.intervention_prob not in (None, prob):
        raise ValueError(
            f"intervention_prob={model.intervention_prob} contradicts "
            f"training={model.training!r}, which is {prob:g}; leave it None, or use "
            "training='mixed'."
        )
    if prob and model.bottleneck == "logit":
        asked = f"training={model.training!r}"
        remedy = "Use training='sequential'"
        if model.training in ("mixed", "joint"):
            asked = f"intervention_prob={prob}"
        if model.training == "joint":
            remedy = "Leave it None"
        raise ValueError(
            f"{asked} needs bottleneck='soft' or 'hard': a true annotation has no "
            f"logit. {remedy} with logits."
        )
    return float(prob)


def is_joint(model: Any, schema: ConceptSchema) -> bool:
    """Return whether there are two stages to train together."""
    return model.training == "joint" and bool(schema.names)


def _check_joint(model: Any) -> None:
    """Refuse what does not go with training both stages together."""
    if model.training != "joint":
        return
    if model.bottleneck == "hard":
        raise ValueError(
            "training='joint' needs bottleneck='soft' or 'logit': through hard "
            "activations the label's loss has no derivative in the concept heads. "
            "Use another bottleneck, or training='mixed'."
        )
    if model.monotonic_cst:
        raise ValueError(
            "training='joint' cannot keep the bounds of monotonic_cst; leave it "
            "None, or use training='mixed', 'sequential' or 'independent'."
        )
