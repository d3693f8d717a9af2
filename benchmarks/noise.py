"""Values that are changed on purpose, and how true stated confidence is."""

import numpy as np


def pollute(y, kind, rate, rng):
    """Return labels of which a share is changed: to any other, or to a neighbour."""
    y, classes = y.copy(), np.unique(y)
    changed = np.flatnonzero(rng.random(len(y)) < rate)
    codes = np.searchsorted(classes, y[changed])
    if kind == "uniform":
        codes = (codes + rng.integers(1, len(classes), len(codes))) % len(classes)
    elif kind == "adjacent":
        step = rng.choice([-1, 1], len(codes))
        outside = (codes + step < 0) | (codes + step >= len(classes))
        codes = codes + np.where(outside, -step, step)
    y[changed] = classes[codes]
    return y


def binned_gap(confidence, hit, n_bins=10):
    """Return the expected gap between confidence and share of hits, in equal bins."""
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = np.bincount(bins, hit - confidence, n_bins)
    return np.abs(gaps).sum() / len(hit)
