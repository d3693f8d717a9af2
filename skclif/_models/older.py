"""Models of older versions of skclif: what they did not keep."""

from __future__ import annotations

from typing import Any

import numpy as np

# The label head of models from before there was a choice.
UNORDERED = {"label_head": "softmax", "label_order": None, "monotonic_cst": None}


def upgraded(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a model, with what older versions of skclif did not keep."""
    state = {
        "intervention_prob": None,
        "concept_weight": 1.0,
        "residual_C": None,
        "verbose": 0,
        **UNORDERED,
        **state,
    }
    if "coef_" in state:
        state = {"label_order_": None, "monotonic_cst_": {}, **state}
    if "coef_" in state and "C_" not in state:
        state["C_"] = float(state["C"])
        state["concept_C_"] = np.full(state["n_concepts_"], float(state["concept_C"]))
        state["intervention_prob_"] = float(state["training"] == "independent")
        state["_correction"] = None
    if "coef_" in state:
        state = {"residual_coef_": None, "residual_C_": None, **state}
        state = {"held_concepts_": {}, "concept_weight_": None, **state}
    return state
