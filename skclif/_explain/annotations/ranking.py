"""Which concepts carry most of the damage of wrong annotations."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._inputs.progress import Progress, counted
from ..._models.fitted import FittedHeads
from ...numerics.concept_noise import damage_of_noise
from ...numerics.edits import Limits
from ..solved import Solved
from .candidates import learnable
from .suggest import Reader, check_held_out

_TOL, _MAX_ITER = 1e-6, 100


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
    progress: Progress,
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
    progress : Progress
        Shows its bars.
    """
    if not heads.n_concepts:
        raise ValueError(
            "rank_concepts compares concepts, but the model has none. Give concepts "
            "to fit."
        )
    share = check_share(share)
    features, codes = check_held_out(heads, read_features, X, y)
    compared = np.flatnonzero(learnable(heads))
    validation = solved.inputs(features)
    labels = torch.from_numpy(codes).to(solved.device)
    damage = []
    with progress.stage("Noise in concepts", len(compared)) as advance:
        for j in counted(compared.tolist(), advance):
            found = damage_of_noise(
                *(solved.bottleneck, solved.data, j, share, validation, labels),
                penalty=solved.factors.penalty,
                concept_penalties=solved.factors.concept_penalties,
                limits=Limits(_TOL, _MAX_ITER),
            )
            damage.append(found.mean + found.spread)
    names = [heads.names[j] for j in compared]
    frame = pd.DataFrame({"concept": names, "damage": damage})
    frame["n_annotations"] = _counts(solved)[compared]
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
