"""Weights of rows that make concepts independent of the label.

The weight of a row is the density ratio of its concept and its label drawn apart to
both drawn together: what permutation weighting (Arbour, Dimmery and Sondhi, 2021)
learns with a classifier, and reweighing (Kamiran and Calders, 2012) counts. Where a
concept has values, the ratio is that of two tables, and nothing has to be learned.
Enouen and Galhotra (2026) retrain concept bottlenecks with such weights. See Eqs. (81)
and (82) of docs/mathematics.rst.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# No label term gets more than this times its weight: a row that is alone against the
# shortcut is no evidence of what holds without it.
MOST = 20.0
_MAX_ROUNDS, _SETTLED = 500, 1e-12
# Factors this near to 1 are 1 after rounding: such rows have the weight they had.
_ROUNDING = 1e-10


def balancing_weights(
    concepts: Sequence[np.ndarray], labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return factors of weights with which each concept is independent of the label.

    Tables of single concepts are balanced in turns until none changes (raking), which
    moves the weights as little as their balance allows.

    Parameters
    ----------
    concepts : sequence of ndarray of shape (n_samples, n_values)
        The distribution of every row over the values of each concept.
    labels : ndarray of shape (n_samples,)
        Codes; -1 for a row without weight whose label is not known.
    weights : ndarray of shape (n_samples,)

    Returns
    -------
    factors : ndarray of shape (n_samples,)
        At most `MOST`. Labels keep their weight, unless that stands against it.
    """
    n_labels = int(labels.max(initial=0)) + 1
    totals = np.bincount(labels[labels >= 0], weights[labels >= 0], n_labels)
    margins = [weights @ values for values in concepts]
    known = labels >= 0
    factors = np.ones(len(labels))
    for _ in range(_MAX_ROUNDS):
        before = factors
        for values, margin in zip(concepts, margins, strict=True):
            table = _table(values, labels, weights * factors, n_labels)
            wanted = np.outer(margin, totals) / max(totals.sum(), 1e-300)
            ratio = np.where(table > 0, wanted / np.where(table > 0, table, 1), 1)
            own = (values * ratio[:, np.maximum(labels, 0)].T).sum(axis=1)
            factors = np.where(known, factors * own, factors)
        kept = np.bincount(labels[known], (weights * factors)[known], n_labels)
        scale = np.where(kept > 0, totals / np.where(kept > 0, kept, 1), 1)
        factors = np.where(known, factors * scale[np.maximum(labels, 0)], factors)
        factors = np.minimum(factors, MOST)
        if np.abs(factors - before).max(initial=0) <= _SETTLED:
            break
    return np.where(np.abs(factors - 1) <= _ROUNDING, 1.0, factors)


def dependence(values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Return the mutual information of a concept and the label, in nats.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_values)
        Distributions over the values.
    labels : ndarray of shape (n_samples,)
    weights : ndarray of shape (n_samples,)
    """
    joint = _table(values, labels, weights, int(labels.max(initial=0)) + 1)
    joint = joint / joint.sum()
    apart = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    some = joint > 0
    return max(0.0, float((joint[some] * np.log(joint[some] / apart[some])).sum()))


def effective_sample_size(weights: np.ndarray) -> float:
    """Return how many rows of equal weight say as much (Kish, 1965)."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _table(
    values: np.ndarray, labels: np.ndarray, weights: np.ndarray, n_labels: int
) -> np.ndarray:
    """Return the weight of every value with every label, (n_values, n_labels)."""
    of_labels = (labels[:, None] == np.arange(n_labels)) * weights[:, None]
    table: np.ndarray = values.T @ of_labels
    return table
