"""The encoder that learns concepts: what it learns, gives, keeps and refuses."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptEncoder


def make_reviews(n=48, seed=0):
    """Texts of words that tell two concepts, and the label from both."""
    rng = np.random.default_rng(seed)
    food, service = rng.integers(2, size=(2, n))
    words = np.array([["cold soup", "rude waiter"], ["tasty soup", "warm service"]])
    fill = rng.choice(["the", "and", "was", "too", "never"], size=(n, 3))
    texts = [
        f"{' '.join(fill[i])} {words[food[i], 0]} {words[service[i], 1]} {i}"
        for i in range(n)
    ]
    concepts = pd.DataFrame({"food": food, "service": service}).astype(object)
    concepts = concepts.replace({0: "bad", 1: "good"})
    return texts, np.array(["no", "yes"])[(food & service)], concepts


@pytest.fixture(scope="module")
def reviews():
    return make_reviews()


@pytest.fixture
def small(tiny_encoder):
    return ConceptEncoder(
        tiny_encoder,
        n_trainable_layers=1,
        epochs=2,
        learning_rate=3e-3,
        n_splits=2,
        random_state=0,
    )


def test_first(small, reviews):
    texts, y, concepts = reviews
    V = small.fit_transform(texts, y, concepts=concepts)
    print(V.shape, small.n_epochs_)
    assert V.shape == (48, 16)
    W = small.transform(texts)
    assert not np.array_equal(V, W)
