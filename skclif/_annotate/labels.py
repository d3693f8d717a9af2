"""Shares of concepts that the labels of their texts make less plausible."""

from __future__ import annotations

import numpy as np

_USUAL = 10.0  # texts of a label that would have the values of all texts


def agree_with_labels(
    shares: np.ndarray, labels: np.ndarray, is_known: np.ndarray
) -> np.ndarray:
    """Return shares of one concept, corrected by how common values are with a label.

    By Bayes' rule, for texts whose words and label tell of the value independently: a
    share is multiplied by how common the value is among texts of the label, over how
    common it is among all. Both are averages of the shares, taken once: repeating it
    (an EM algorithm) lets rare values vanish.

    Parameters
    ----------
    shares : ndarray of shape (n_samples, n_values)
    labels : ndarray of shape (n_samples,)
    is_known : ndarray of shape (n_samples,), dtype bool
        Rows that people annotated, which stay as they are.

    Returns
    -------
    shares : ndarray of shape (n_samples, n_values)
    """
    _, codes = np.unique(labels, return_inverse=True)
    belongs = np.eye(codes.max() + 1)[codes]
    usual = shares.mean(axis=0)
    counts = belongs.T @ shares + _USUAL * usual
    of_label = counts / (belongs.sum(axis=0)[:, None] + _USUAL)
    # A value that no text has any share of keeps none.
    lift = np.divide(of_label, usual, out=np.zeros_like(of_label), where=usual > 0)
    corrected = shares * lift[codes]
    corrected /= corrected.sum(axis=1, keepdims=True)
    return np.where(is_known[:, None], shares, corrected)
