"""What drawings have in common."""

import pandas as pd
import pytest

from skclif import EditDisplay, InfluenceDisplay, ValidationDisplay
from skclif.metrics import (
    ConceptEffectDisplay,
    InterventionCurveDisplay,
    RemovalCurveDisplay,
)


@pytest.mark.parametrize(
    ("display", "name", "maker", "kind"),
    [
        (InterventionCurveDisplay, "curve", "intervention_curve", "InterventionCurve"),
        (RemovalCurveDisplay, "curve", "removal_curve", "RemovalCurve"),
        (ConceptEffectDisplay, "effects", "concept_effects", "ConceptEffects"),
        (EditDisplay, "comparison", "EditResult.compare", "EditComparison"),
        (
            *(InfluenceDisplay, "result"),
            *("ConceptInfluenceExplainer.influence", "InfluenceResult"),
        ),
        (
            *(ValidationDisplay, "result"),
            *("ConceptInfluenceExplainer.validate", "ValidationResult"),
        ),
    ],
)
@pytest.mark.parametrize("given", [{"a": 1}, pd.DataFrame({"a": [1]}), "a", None])
def test_a_display_draws_only_its_own_result(display, name, maker, kind, given):
    got = type(given).__name__
    message = (
        f"{name} of {display.__name__} must be what {maker} returned, of type {kind}, "
        f"got {got}."
    )
    with pytest.raises(TypeError, match=message):
        display(given)
