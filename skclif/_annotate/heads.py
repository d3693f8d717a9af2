"""A softmax head that begins at given log-odds, and moves as far as annotations ask."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax


def fit_head(
    features: np.ndarray, offsets: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Return the coefficients with the least penalised cross-entropy.

    The loss is the sum over rows of the cross-entropy of `shares` under
    ``softmax(offsets + features @ coef)``, plus half the sum of the squares of `coef`.
    So without rows the coefficients are 0, and the shares those of the offsets.

    Parameters
    ----------
    features : ndarray of shape (n_rows, n_features)
        Scaled: a feature that is scaled by 2 is penalised by a quarter.
    offsets : ndarray of shape (n_rows, n_values)
        The log-odds to begin with.
    shares : ndarray of shape (n_rows, n_values)
        What people said.

    Returns
    -------
    coef : ndarray of shape (n_features, n_values)
    """
    (n_rows, n_features), n_values = features.shape, offsets.shape[1]
    if not n_rows:
        return np.zeros((n_features, n_values))
    # The optimum is a sum of rows, so with few rows there are few unknowns.
    basis = None
    if n_rows < n_features:
        basis, triangle = np.linalg.qr(features.T)
        features = triangle.T

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        coef = flat.reshape(-1, n_values)
        logits = offsets + features @ coef
        slope = features.T @ (softmax(logits, axis=1) - shares) + coef
        value = (coef**2).sum() / 2 - (shares * log_softmax(logits, axis=1)).sum()
        return float(value), slope.ravel()

    start = np.zeros(features.shape[1] * n_values)
    options = {"maxiter": 1000, "gtol": 1e-5, "ftol": 1e-12}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    coef: np.ndarray = found.x.reshape(-1, n_values)
    return coef if basis is None else basis @ coef
