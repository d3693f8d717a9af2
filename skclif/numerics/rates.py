"""How many values of a source are wrong, by how well each of them fits.

Every value has a ratio of likelihoods: how probable it is if it is wrong, over how
probable it is if it is right. A source whose values are wrong at the rate r has values
of the likelihood 1 - r + r * ratio, up to what does not depend on r.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

# Half the quantile of chi-square with one degree of freedom: 95 %.
_DROP = 3.841458820694124 / 2
_LARGEST = 50.0  # of a logarithm; beyond, a value is surely wrong or right


@dataclass(frozen=True)
class WrongRate:
    """The rate at which values are wrong.

    Attributes
    ----------
    rate : float
        The rate that makes the values most likely.
    low, high : float
        The 95 % interval of the likelihood ratio.
    log_likelihood : float
        At the rate; 0 at the rate 0.
    """

    rate: float
    low: float
    high: float
    log_likelihood: float


def wrong_rate(log_ratios: np.ndarray) -> WrongRate:
    """Return the rate of some values.

    Parameters
    ----------
    log_ratios : ndarray of shape (n_values,)
        Logarithm of how probable each value is if it is wrong, over if it is right.
    """
    ratios = np.exp(np.clip(log_ratios, -_LARGEST, _LARGEST))

    def value(rate: float) -> float:
        return float(np.log(1 - rate + rate * ratios).sum())

    def slope(rate: float) -> float:
        return float(((ratios - 1) / (1 - rate + rate * ratios)).sum())

    rate = 0.0 if slope(0.0) <= 0 else 1.0 if slope(1.0) >= 0 else _zero(slope, 0, 1)
    best = value(rate)

    def room(other: float) -> float:
        return value(other) - best + _DROP

    low = 0.0 if room(0.0) >= 0 else _zero(room, 0, rate)
    high = 1.0 if room(1.0) >= 0 else _zero(room, rate, 1)
    return WrongRate(rate, low, high, best)


def _zero(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high, xtol=1e-10))
