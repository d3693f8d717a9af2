"""How well estimated effects of concepts agree with the effects themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .._inputs.checks import check_length
from .._inputs.sklearn import StrOptions, validate_params
from ._counterfactuals import as_matrix


@validate_params(
    {
        "distance": [StrOptions({"l2", "cosine", "norm_difference"})],
        "average": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def icace_error(
    effects: ArrayLike,
    estimates: ArrayLike,
    *,
    distance: str = "l2",
    average: bool = True,
) -> float | np.ndarray:
    """Measure how far estimated effects are from the effects (ICaCE-Error).

    The mean over pairs of the distance between two vectors, the effect of the pair and
    its estimate, each with an entry for every class.

    Parameters
    ----------
    effects : array-like of shape (n_pairs, n_classes)
        The effects on the model, from both texts of each pair: see :func:`icace`.
    estimates : array-like of shape (n_pairs, n_classes)
        What an explainer says, for example :func:`estimate_icace`.
    distance : {"l2", "cosine", "norm_difference"}, default="l2"
        The distance of two vectors:

        - "l2": the Euclidean norm of their difference, for direction and size;
        - "cosine": one minus the cosine of their angle, for direction alone, from 0 to
          2; 1 if either vector is zero;
        - "norm_difference": the absolute difference of their Euclidean norms, for size
          alone.
    average : bool, default=True
        If False, return the distance of every pair.

    Returns
    -------
    error : float or ndarray of shape (n_pairs,)
        0 is perfect; lower is better. To estimate no effect at all has a cosine
        distance of 1, and in the other two the mean norm of `effects`.

    Raises
    ------
    ValueError
        If the shapes differ, or a value is not finite.

    See Also
    --------
    order_faithfulness : Whether estimates order interventions as effects do.

    Notes
    -----
    These are the distances of CEBaB [1]_. Its code rounds effects to four digits
    before; here nothing is rounded.

    References
    ----------
    .. [1] E. D. Abraham, K. D'Oosterlinck, A. Feder, Y. Gat, A. Geiger, C. Potts,
       R. Reichart and Z. Wu, "CEBaB: Estimating the causal effects of real-world
       concepts on NLP model behavior", 2022, arXiv:2205.14140.

    Examples
    --------
    >>> from skclif.metrics import icace_error
    >>> effects, estimates = [[0.3, -0.3]], [[0.1, -0.1]]
    >>> round(icace_error(effects, estimates, distance="l2"), 3)
    0.283
    >>> round(icace_error(effects, estimates, distance="norm_difference"), 3)
    0.283
    >>> abs(round(icace_error(effects, estimates, distance="cosine"), 3))
    0.0
    """
    truth, guess = _alike(effects, estimates)
    errors = _DISTANCES[distance](truth, guess)
    return float(errors.mean()) if average else errors


icace_error.__module__ = "skclif.metrics"


def order_faithfulness(effects: ArrayLike, estimates: ArrayLike) -> float:
    """Measure how often estimates order two interventions as their effects do.

    Parameters
    ----------
    effects : array-like of shape (n_interventions, n_classes)
        The effects of interventions on the model: see :func:`cace`.
    estimates : array-like of shape (n_interventions, n_classes)
        What an explainer says, in the same order.

    Returns
    -------
    score : float
        From 0 to 1, higher is better; 0.5 is chance.

    Raises
    ------
    ValueError
        If the shapes or the interventions differ, or no two effects do.

    See Also
    --------
    icace_error : How far estimates of single pairs are from the effects.

    Notes
    -----
    An explanation is order-faithful if, of any two interventions, the one with the
    larger causal effect has the larger estimate too (Gat et al. [1]_). The score is the
    share of all pairs of interventions for which this holds, for each class by itself,
    averaged over classes. Effects keep their sign. Two equal effects are no pair, and
    two equal estimates count one half. Time and memory grow with the square of the
    number of interventions.

    References
    ----------
    .. [1] Y. Gat, N. Calderon, A. Feder, A. Chapanin, A. Sharma and R. Reichart,
       "Faithful explanations of black-box NLP models using LLM-generated
       counterfactuals", 2023, arXiv:2310.00603.

    Examples
    --------
    >>> from skclif.metrics import order_faithfulness
    >>> order_faithfulness([0.4, 0.1, -0.3], [0.2, 0.1, 0.0])
    1.0
    >>> order_faithfulness([0.4, 0.1, -0.3, -0.5], [0.1, 0.1, 0.1, 0.0])
    0.75
    """
    truth, guess = _alike(effects, estimates)
    shares = [
        _share_ordered_alike(*columns) for columns in zip(truth.T, guess.T, strict=True)
    ]
    if np.isnan(shares).all():
        raise ValueError(
            "effects are the same for all interventions, so they have no order. Give "
            "two interventions or more whose effects differ."
        )
    return float(np.nanmean(shares))


order_faithfulness.__module__ = "skclif.metrics"


def _share_ordered_alike(truth: np.ndarray, guess: np.ndarray) -> float:
    """Return the share of pairs in the same order, of one class; NaN without pairs."""
    larger, smaller = np.nonzero(np.greater.outer(truth, truth))
    if not len(larger):
        return np.nan
    alike = (guess[larger] > guess[smaller]) + 0.5 * (guess[larger] == guess[smaller])
    return float(alike.mean())


def _alike(effects: ArrayLike, estimates: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return two matrices of the same shape."""
    truth, guess = as_matrix("effects", effects), as_matrix("estimates", estimates)
    check_length("estimates", len(guess), len(truth), "effects")
    if guess.shape[1] != truth.shape[1]:
        raise ValueError(
            f"estimates has {guess.shape[1]} columns, but effects has "
            f"{truth.shape[1]}. Give a column for each class in both, in one order."
        )
    frames = [v for v in (effects, estimates) if isinstance(v, pd.DataFrame)]
    if len(frames) == 2 and not frames[0].index.equals(frames[1].index):
        raise ValueError(
            "effects and estimates have different indexes, and rows are matched by "
            "position. Pass estimates.loc[effects.index]."
        )
    return truth, guess


def _l2(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(truth - guess, axis=1)
    return distances


def _cosine(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(truth, axis=1) * np.linalg.norm(guess, axis=1)
    products = (truth * guess).sum(axis=1)
    cosines = np.divide(products, norms, out=np.zeros(len(norms)), where=norms > 0)
    distances: np.ndarray = 1 - cosines
    return distances


def _norm_difference(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return np.abs(np.linalg.norm(truth, axis=1) - np.linalg.norm(guess, axis=1))


_DISTANCES = {"l2": _l2, "cosine": _cosine, "norm_difference": _norm_difference}
