"""Rank correlation, row by row."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Spearman correlation of every row of two matrices.

    Parameters
    ----------
    first, second : ndarray of shape (n_rows, n)

    Returns
    -------
    correlation : ndarray of shape (n_rows,), float64
        nan where one of them is constant.
    """
    # Ranks and their mean are multiples of a half, so constant rows give an exact 0.
    middle = (first.shape[1] + 1) / 2
    a, b = (rankdata(each, axis=1) - middle for each in (first, second))
    norm = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    nothing = np.full(len(norm), np.nan)
    result: np.ndarray = np.divide((a * b).sum(axis=1), norm, nothing, where=norm > 0)
    return result
