"""Bootstrap intervals of numbers that are made of means over rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CONFIDENCE = 0.95
_BLOCK = 2**22  # weights at a time


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        NaN where it cannot be had. low and high are NaN with fewer than two rows.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: np.ndarray) -> Estimate:
        """Return the estimate of a number: as it is first, then in every sample."""
        value, samples = float(draws[0]), draws[1:]
        if not np.isfinite(value) or not np.isfinite(samples).all() or not len(samples):
            return cls(value, np.nan, np.nan)
        tail = (1 - _CONFIDENCE) / 2
        low, high = np.quantile(samples, [tail, 1 - tail])
        return cls(value, float(low), float(high))


def bootstrapped_means(
    values: Mapping[Any, np.ndarray],
    weight: np.ndarray,
    units: np.ndarray,
    n_bootstraps: int,
    rng: np.random.RandomState,
) -> dict[Any, np.ndarray]:
    """Return means over rows: as they are, then in every bootstrap sample.

    All means are over the same samples, so that their differences are paired.

    Parameters
    ----------
    values : mapping of str or tuple to ndarray of shape (n_rows,)
        NaN where a row does not count.
    weight : ndarray of shape (n_rows,)
    units : ndarray of shape (n_rows,), int
        From 0. Rows of one unit are drawn together.
    n_bootstraps : int
    rng : RandomState

    Returns
    -------
    means : dict of ndarray of shape (1 + n_bootstraps,)
        NaN where no row counts. With one unit there are no samples.
    """
    table = np.column_stack(list(values.values()))
    known = ~np.isnan(table)
    sums = weight[:, None] * np.where(known, table, 0.0)
    counted = weight[:, None] * known
    n_units = int(units.max()) + 1
    # A unit's rows are always together: their sums are all that samples need.
    by_unit = np.zeros((n_units, 2 * table.shape[1]))
    np.add.at(by_unit, units, np.hstack([sums, counted]))
    found = [by_unit.sum(axis=0)[None]]
    left = n_bootstraps if n_units > 1 else 0
    while left:
        size = min(left, max(1, _BLOCK // n_units))
        draws = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=size)
        found.append(draws @ by_unit)
        left -= size
    total, count = np.hsplit(np.vstack(found), 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / count
    return dict(zip(values, means.T, strict=True))
