"""Small generated data with concepts, shared by tests."""

import numpy as np
import pandas as pd
from scipy import sparse


def make_concept_data(n_samples=120, *, n_classes=3, missing=0.25, seed=0):
    """Return X (n, 6), y, and annotations: food (3 values), quiet, price (4, ints)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 6))
    noisy = X + 0.5 * rng.normal(size=X.shape)
    food = np.array(["bad", "good", "unknown"])[np.digitize(noisy[:, 0], [-0.5, 0.5])]
    quiet = np.array(["no", "yes"])[(noisy[:, 1] > 0).astype(int)]
    price = np.digitize(noisy[:, 2], [-0.7, 0, 0.7]) + 1
    score = noisy[:, 0] + noisy[:, 1] - noisy[:, 2] + 0.3 * rng.normal(size=n_samples)
    edges = np.quantile(score, np.linspace(0, 1, n_classes + 1)[1:-1])
    y = np.array(["never", "perhaps", "again", "always"])[np.digitize(score, edges)]
    concepts = pd.DataFrame(
        {"food": food, "quiet": quiet, "price": price}, dtype=object
    )
    return X, y, concepts.mask(rng.random(concepts.shape) < missing)


def make_sparse_data(n_samples=80, n_features=200, *, density=0.1, missing=0.2, seed=0):
    """Return sparse X, y, and annotations: tone (2 values), topic (3), size (numbers).

    Size is a continuous concept.
    """
    rng = np.random.default_rng(seed)
    shape = n_samples, n_features
    X = sparse.random_array(shape, density=density, format="csr", rng=rng)
    scores = X @ rng.normal(size=(n_features, 3))
    noisy = scores / scores.std(axis=0) + 0.5 * rng.normal(size=scores.shape)
    concepts = pd.DataFrame(
        {
            "tone": np.where(noisy[:, 0] > 0, "warm", "cold"),
            "topic": np.digitize(noisy[:, 1], [-0.5, 0.5]),
            "size": noisy[:, 2],
        },
        dtype=object,
    )
    total = noisy.sum(axis=1) + 0.3 * rng.normal(size=n_samples)
    y = np.array(["no", "so", "yes"])[np.digitize(total, [-0.8, 0.8])]
    return X, y, concepts.mask(rng.random(concepts.shape) < missing)
