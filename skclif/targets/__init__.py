"""Targets of a whole set of rows: one number whose change is explained."""

from ._factories import (
    demographic_parity_gap,
    equalized_odds_gap,
    expected_cost,
    from_function,
    smooth_auroc,
    worst_group_loss,
)
from ._target import Target

__all__ = [
    "Target",
    "demographic_parity_gap",
    "equalized_odds_gap",
    "expected_cost",
    "from_function",
    "smooth_auroc",
    "worst_group_loss",
]
