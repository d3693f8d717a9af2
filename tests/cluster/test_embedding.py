"""Texts embedded where they lie, with one model in each worker process."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)

from .collections import as_array, as_frame

WORDS = ["good", "bad", "soup", "waiter", "cold", "warm", "tasty", "rude"]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 4)) for _ in range(60)]


def count_loads():
    """Count in a worker how often a model is loaded from now on."""
    from skclif._text import embedder

    def counting(*args, **kwargs):
        counting.n += 1
        return counting.load(*args, **kwargs)

    counting.n, counting.load = 0, embedder.load_model
    embedder.load_model = counting


def loads():
    from skclif._text import embedder

    found = embedder.load_model.n
    embedder.load_model = embedder.load_model.load
    return found


def test_texts_are_embedded_with_one_model_a_worker(client, tiny_encoder, texts):
    embedder = SentenceEmbedder(tiny_encoder)
    here = embedder.transform(texts)
    client.run(count_loads)
    column = pd.Series(texts, index=range(100, 160), dtype=object)
    for given in (
        as_array(np.array(texts), (10,) * 6),
        as_frame(column, (10, 0, 50)),
        as_frame(pd.DataFrame({"text": column}), (30, 30)),
    ):
        lazy = embedder.fit_transform(given)
        assert (lazy.shape[1], lazy.dtype) == (16, np.float32)
        np.testing.assert_allclose(lazy.compute(), here, atol=1e-5)
    found = client.run(loads)
    assert max(found.values()) == 1
    with pytest.raises(TypeError, match="not a string|of type"):
        mixed = np.array(["a", 3.0], dtype=object)
        embedder.transform(as_array(mixed, (2,))).compute()
    with pytest.raises(ValueError, match="a Dask dataframe of 2 columns; the texts"):
        two = pd.DataFrame({"text": column, "more": column})
        embedder.transform(as_frame(two, (60,)))


def test_texts_that_are_cut_are_named_here(client, tiny_encoder):
    embedder = SentenceEmbedder(tiny_encoder)
    lazy = embedder.transform(as_array(np.array(["soup " * 90]), (1,)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import dask

        with dask.config.set(scheduler="synchronous"):
            lazy.compute()
    assert any("longer than the 32 tokens" in str(one.message) for one in caught)


def test_a_pipeline_of_texts_is_explained_where_they_lie(client, tiny_encoder, texts):
    y = np.array(["good" in text for text in texts])
    concepts = pd.DataFrame({"soup": ["soup" in text for text in texts]})
    model = make_pipeline(SentenceEmbedder(tiny_encoder), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(model, method="first_order")
    here = explainer.fit(texts, y, concepts=concepts).influence(texts[:2], top=3)
    explainer = ConceptInfluenceExplainer(model)
    explainer.fit(as_array(np.array(texts), (20, 40)), y, concepts=concepts)
    there = explainer.influence(texts[:2], top=3)
    # Vectors depend on the other texts of a batch by rounding, in single precision.
    np.testing.assert_allclose(there.values, here.values, atol=1e-3)
    assert there.top(1)["label"].tolist() == here.top(1)["label"].tolist()


def test_what_an_explainer_cannot_fit_there_is_named(client, texts):
    given, y = as_array(np.array(texts), (60,)), np.arange(60) % 2
    for estimator, message in (
        (LogisticRegression(), "which scikit-learn fits to rows in this process"),
        (
            make_pipeline(TfidfVectorizer(), ConceptBottleneckClassifier()),
            "The step 'tfidfvectorizer' of the pipeline, TfidfVectorizer, takes no",
        ),
        (
            FrozenEstimator(ConceptBottleneckClassifier().fit(np.eye(4), [0, 1] * 2)),
            "estimator is frozen, and on a cluster an explainer fits its estimator",
        ),
    ):
        with pytest.raises(TypeError, match=message):
            ConceptInfluenceExplainer(estimator).fit(given, y)


def test_influence_with_bounds_or_large_hessians_is_refused(client, reviews):
    import sklearn

    X, y, concepts, _ = reviews
    given = as_array(X, (240,))
    bounded = ConceptBottleneckClassifier(
        monotonic_cst={"food": ["bad", "good"]}, label_order=np.unique(y)
    )
    with pytest.raises(ValueError, match="monotonic_cst depends on single rows"):
        ConceptInfluenceExplainer(bounded).fit(given, y, concepts=concepts[["food"]])
    with (
        sklearn.config_context(working_memory=0.001),
        pytest.raises(ValueError, match="needs the factorised Hessians of all heads"),
    ):
        ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(given, y)
