"""Values that are changed on purpose, and how true stated confidence is."""

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

N_ANNOTATORS = 5


def marked_by_a_word(texts):
    """Return which texts have the word that nearest to a fifth of the texts have."""
    counts = CountVectorizer(binary=True, stop_words="english").fit_transform(texts)
    shares = np.asarray(counts.mean(axis=0)).ravel()
    column = counts[:, [np.abs(shares - 1 / N_ANNOTATORS).argmin()]]
    return column.toarray().ravel() > 0


def pollute_all(y, concepts, kind, rate, rng, order, texts=None):
    """Return changed labels and annotations, and the source of each row.

    Missing annotations stay missing.

    Parameters
    ----------
    y : ndarray of shape (n,)
    concepts : DataFrame of shape (n, n_concepts)
        With the values of `order`.
    kind : {"none", "uniform", "adjacent", "annotator", "keyword"}
        "annotator": one of five errs at five times the rate. He calls the first value
        the last one, and gives the two lowest labels the last but one. "keyword": so
        are rows with one word in their text.
    rate : float
    rng : Generator
    order : list of str
        The values of annotations, in order.
    texts : Series of shape (n,), default=None
        For "keyword".

    Returns
    -------
    y : ndarray of shape (n,)
    concepts : DataFrame of shape (n, n_concepts)
    sources : ndarray of shape (n,)
        The annotators, or whether texts have the word.
    """
    sources = rng.integers(0, N_ANNOTATORS, len(y))
    errs, changed = sources == 0, concepts.astype(object)
    if kind == "keyword":
        errs = sources = marked_by_a_word(texts)
    classes, values = np.unique(y), np.array(order, dtype=object)
    share = min(1.0, N_ANNOTATORS * rate)

    def hit():
        return errs & (rng.random(len(y)) < share)

    if kind in ("annotator", "keyword"):
        y = np.where(hit() & np.isin(y, classes[:2]), classes[-2], y)
        for name, column in concepts.items():
            changed.loc[hit() & (column == order[0]).to_numpy(), name] = order[-1]
    elif kind != "none":
        y = pollute(y, kind, rate, rng)
        for name, column in concepts.items():
            given = column.notna().to_numpy()
            codes = column[given].map(order.index).to_numpy()
            changed.loc[given, name] = values[pollute(codes, kind, rate, rng)]
    return y, changed, sources


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
