"""How well influence predicts retraining, and what concepts do to the label."""

from .._results.bottleneck_report import BottleneckReport
from .._results.effects import ConceptEffectDisplay, ConceptEffects
from .._results.interventions import InterventionCurve
from .._results.removal import (
    LinearDatamodelingScore,
    RemovalCurve,
    RemovalCurveDisplay,
)
from ._bottleneck_report import bottleneck_report
from ._bottleneck_scorer import make_bottleneck_scorer
from ._clean_scorer import make_clean_scorer
from ._concept_effects import concept_effects
from ._counterfactuals import cace, counterfactual_pairs, estimate_icace, icace
from ._effect_scores import icace_error, order_faithfulness
from ._influence_scores import linear_datamodeling_score, removal_curve
from ._intervention_display import InterventionCurveDisplay
from ._interventions import intervention_curve, next_concept

__all__ = [
    "BottleneckReport",
    "ConceptEffectDisplay",
    "ConceptEffects",
    "InterventionCurve",
    "InterventionCurveDisplay",
    "LinearDatamodelingScore",
    "RemovalCurve",
    "RemovalCurveDisplay",
    "bottleneck_report",
    "cace",
    "concept_effects",
    "counterfactual_pairs",
    "estimate_icace",
    "icace",
    "icace_error",
    "intervention_curve",
    "linear_datamodeling_score",
    "make_bottleneck_scorer",
    "make_clean_scorer",
    "next_concept",
    "order_faithfulness",
    "removal_curve",
]
