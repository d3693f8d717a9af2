"""The text pipeline: its parts, with tables beside texts, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
    make_text_pipeline,
)
from skclif.datasets import make_concept_reviews

pytestmark = pytest.mark.filterwarnings("ignore:.* texts are longer")


@pytest.fixture(scope="module")
def reviews():
    found = make_concept_reviews(120, random_state=0)
    return list(found.data), np.asarray(found.target), found.concepts


def test_words_alone_stay_sparse_and_give_a_plain_pipeline(reviews):
    texts, y, _ = reviews
    pipeline = make_text_pipeline(vectors=False).fit(texts, y)
    assert list(pipeline.named_steps) == ["features", "classifier"]
    features = pipeline["features"].transform(texts)
    assert features.shape[0] == 120 and features.format == "csr"
    assert isinstance(pipeline["classifier"], ConceptBottleneckClassifier)
    assert pipeline["classifier"].C == pipeline["classifier"].concept_C == 3.0
    assert pipeline.score(texts, y) > 0.8


@pytest.mark.filterwarnings("ignore:C=.* was chosen for")
def test_vectors_stand_next_to_components_of_words(reviews, tiny_encoder):
    texts, y, concepts = reviews
    embedder = SentenceEmbedder(tiny_encoder)
    pipeline = make_text_pipeline(vectors=embedder)
    pipeline.fit(texts, y, classifier__concepts=concepts)
    features = pipeline["features"].transform(texts)
    vectors = embedder.transform(texts)
    assert features.shape[1] > vectors.shape[1] + 50
    np.testing.assert_allclose(features[:, : vectors.shape[1]], vectors, atol=1e-6)
    classifier = pipeline["classifier"]
    assert classifier.C == "auto" and classifier.n_concepts_ == concepts.shape[1]
    assert pipeline["features"].transformer_list[0][1] is not embedder


def test_vectors_alone(reviews, tiny_encoder):
    texts, y, _ = reviews
    embedder = SentenceEmbedder(tiny_encoder)
    pipeline = make_text_pipeline(
        vectors=embedder, words=False, classifier=LogisticRegression()
    )
    plain = LogisticRegression().fit(embedder.transform(texts), y)
    np.testing.assert_allclose(
        pipeline.fit(texts, y).predict_proba(texts),
        plain.predict_proba(embedder.transform(texts)),
        atol=1e-6,
    )


def test_by_default_it_embeds():
    features = make_text_pipeline()["features"]
    assert isinstance(features.transformer_list[0][1], SentenceEmbedder)
    assert features.transformer_list[0][1].get_params() == (
        SentenceEmbedder().get_params()
    )


def test_tables_beside_texts(reviews):
    texts, _, _ = reviews
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "stars.": rng.normal(size=120) * 1e6,
            "city": rng.choice(["a", "b", "c"], 120),
            "open": rng.random(120) < 0.5,
            "unused": np.arange(120),
            "review": texts,
        }
    )
    y = np.where(X["stars."] > 0, "many", "few")
    X.loc[::7, "stars."] = np.nan
    X.loc[::11, "city"] = None
    pipeline = make_text_pipeline(
        vectors=False, columns=["stars.", "city", "open"], text="review"
    )
    assert pipeline.fit(X, y).score(X, y) > 0.9
    features = pipeline["features"]
    assert list(features.transformers_[1][2]) == ["stars."]
    assert list(features.transformers_[2][2]) == ["city", "open"]
    scaled = features.named_transformers_["numbers"].transform(X[["stars."]])
    assert abs(scaled.std() - 1) < 0.01
    new = X.head(2).assign(city="unseen")
    assert pipeline.predict_proba(new).shape == (2, 2)


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (["price", "ctiy"], "X has no column 'ctiy'; its columns are"),
        (["price", "when"], "The column 'when' holds dates"),
        (["price", "day"], "The column 'day' holds dates"),
    ],
)
def test_columns_that_cannot_be_used_are_named(reviews, columns, match):
    when = pd.date_range("2026-01-01", periods=120)
    X = pd.DataFrame({"text": reviews[0], "price": 1.0, "when": when, "day": when.date})
    with pytest.raises(ValueError, match=match):
        make_text_pipeline(vectors=False, columns=columns).fit(X, reviews[1])


def test_an_empty_column_and_an_index_of_names(reviews):
    X = pd.DataFrame({"text": reviews[0], "empty": np.nan, "city": ["a", "b"] * 60})
    pipeline = make_text_pipeline(vectors=False, columns=X.columns[1:])
    assert pipeline.fit(X, reviews[1]).predict(X).shape == (120,)


def test_it_is_cloned_searched_explained_and_reweighted(reviews):
    texts, y, concepts = reviews
    pipeline = clone(make_text_pipeline(vectors=False))
    grid = {"classifier__C": [0.1, 3.0], "features__words__ngram_range": [(1, 1)]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(texts, y)
    assert search.best_params_["classifier__C"] in (0.1, 3.0)
    explainer = ConceptInfluenceExplainer(pipeline).fit(texts, y, concepts=concepts)
    result = explainer.influence(texts[:3], y[:3])
    assert result.values.shape == (3, 120)
    weighted = InfluenceReweighter(pipeline, random_state=0)
    is_clean = np.arange(120) < 40
    assert weighted.fit(texts, y, is_clean=is_clean).score(texts, y) > 0.8


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"vectors": False, "words": False}, ValueError, "leave no text to see"),
        ({"words": "yes"}, TypeError, "words must be True or False, got 'yes'"),
        ({"vectors": "MiniLM"}, TypeError, "vectors must be .* got 'MiniLM'"),
        ({"vectors": SentenceEmbedder}, TypeError, "vectors must be True, False"),
        ({"columns": "city"}, TypeError, "columns must be names .* got 'city'"),
        ({"columns": [1, 2]}, TypeError, "columns must be names of columns"),
        ({"columns": []}, ValueError, "must name different columns"),
        ({"columns": ["a", "a"]}, ValueError, r"columns=\['a', 'a'\] must name diff"),
        ({"columns": ["text"]}, ValueError, "beside that of the texts, 'text'"),
        ({"columns": ["a"], "text": 3}, TypeError, "text must be the name"),
        ({"classifier": LogisticRegression}, TypeError, "pass an instance"),
        ({"classifier": "svm"}, TypeError, "classifier must be an estimator, got"),
    ],
)
def test_what_is_refused(arguments, error, match):
    with pytest.raises(error, match=match):
        make_text_pipeline(**arguments)
