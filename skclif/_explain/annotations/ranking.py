"""Which concepts carry most of the damage of wrong annotations."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._models.fitted import FittedHeads
from ...numerics.answers import interest_in_label
from ...numerics.concept_noise import damage_of_noise
from ..engine import Solved
from .candidates import learnable
from .suggest import Reader, check_held_out


def check_share(share: Any) -> float:
    """Return the share of annotations that are wrong, checked."""
    is_number = isinstance(share, Real) and not isinstance(share, bool | np.bool_)
    if not is_number:
        raise TypeError(f"share must be a number, got {share!r}.")
    if not 0 < share <= 1:
        raise ValueError(
            f"share={share!r} must be above 0 and at most 1: the share of each "
            "concept's annotations that would be wrong."
        )
    return float(share)


def rank_concepts(
    heads: FittedHeads,
    solved: Solved,
    read_features: Reader,
    X: Any,
    y: Any,
    share: Any,
) -> pd.DataFrame:
    """Return the damage of noise in each concept, the largest first.

    Parameters
    ----------
    heads : FittedHeads
    solved : Solved
    read_features : callable
        Maps new rows, in the form that the estimator takes, to checked features.
    X, y, share
        `X_val`, `y_val` and `share` of
        :meth:`ConceptInfluenceExplainer.rank_concepts`.
    """
    if not heads.n_concepts:
        raise ValueError(
            "rank_concepts compares concepts, but the model has none. Give concepts "
            "to fit."
        )
    share = check_share(share)
    features, codes = check_held_out(heads, read_features, X, y)
    interest = interest_in_label(
        solved.bottleneck,
        solved.factors,
        solved.inputs(features),
        torch.from_numpy(codes).to(solved.device),
    )
    parts = damage_of_noise(
        solved.bottleneck, solved.data, solved.factors, interest, share
    )
    damage = parts.sum(dim=1).cpu().numpy()
    frame = pd.DataFrame({"concept": heads.names, "damage": damage})[learnable(heads)]
    frame["n_annotations"] = _counts(solved)[learnable(heads)]
    frame = frame.sort_values("damage", ascending=False, kind="stable")
    harm = frame["damage"].clip(lower=0)
    total = harm.sum() if harm.any() else np.nan
    frame["share"] = harm / total
    frame["cumulative"] = frame["share"].cumsum()
    return frame.reset_index(drop=True)


def _counts(solved: Solved) -> np.ndarray:
    """Return how many annotations each concept has."""
    counts: np.ndarray = (solved.data.concept_weights > 0).sum(dim=0).cpu().numpy()
    return counts
