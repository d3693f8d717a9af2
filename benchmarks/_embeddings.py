"""Made-up rows like embeddings of reviews, of any number, in single precision."""

import numpy as np
import pandas as pd

N_FEATURES, N_CONCEPTS = 384, 10
_BLOCK = 20_000


def spectrum(n_features=N_FEATURES):
    """Return variances along principal axes, which add up to 1.

    They fall like those of MiniLM's embeddings of CEBaB and of Yelp: the variance along
    axis k goes about with ``exp(-k / 120) / (k + 4)``.
    """
    k = np.arange(1, n_features + 1)
    variances = np.exp(-k / 120 * N_FEATURES / n_features) / (k + 4)
    return variances / variances.sum()


def made_up(n_rows, n_features=N_FEATURES, n_concepts=N_CONCEPTS, seed=0, out=None):
    """Return features of length 1, labels of five classes, and annotations.

    The mean of the features has length .6, as it has for reviews. Every concept has
    three values, which a random direction of the features tells with noise; labels go
    by the sum of the concepts.

    Parameters
    ----------
    n_rows, n_features, n_concepts, seed : int
    out : array of shape (n_rows, n_features), float32, default=None
        Where features are written to, for example a memory-mapped file.

    Returns
    -------
    X : ndarray of shape (n_rows, n_features), float32
    y : ndarray of shape (n_rows,), int
    concepts : DataFrame of shape (n_rows, n_concepts)
    """
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    axes = (np.sqrt(spectrum(n_features))[:, None] * axes).astype(np.float32)
    mean = rng.normal(size=n_features)
    mean = (0.6 * mean / np.linalg.norm(mean)).astype(np.float32)
    directions = rng.normal(size=(n_features, n_concepts))
    X = np.empty((n_rows, n_features), dtype=np.float32) if out is None else out
    values = np.empty((n_rows, n_concepts), dtype=np.int8)
    y = np.empty(n_rows, dtype=np.int64)
    for start in range(0, n_rows, _BLOCK):
        size = min(_BLOCK, n_rows - start)
        drawn = rng.standard_normal((size, n_features), dtype=np.float32)
        rows = mean + 0.8 * (drawn @ axes)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = (rows - mean) @ directions
        scores += 0.7 * scores.std(axis=0) * rng.normal(size=scores.shape)
        scores /= scores.std(axis=0)
        block = slice(start, start + size)
        X[block], values[block] = rows, np.digitize(scores, [-0.6, 0.8])
        total = scores.sum(axis=1) / n_concepts**0.5 + 0.5 * rng.normal(size=size)
        y[block] = 1 + np.digitize(total, [-1.2, -0.4, 0.4, 1.2])
    return X, y, named(values)


def named(values):
    """Return annotations as a table."""
    names = [f"concept {j}" for j in range(values.shape[1])]
    return pd.DataFrame(values, columns=names)
