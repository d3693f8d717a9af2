"""The text pipeline: its parts, with tables beside texts, and what it refuses."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
    make_text_pipeline,
)
from skclif._baselines.features import WordComponents
from skclif.datasets import make_concept_reviews

from ..text.test_embedder import NOT_TEXTS

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
    words = pipeline["features"].transformer_list[1][1].transform(texts)
    np.testing.assert_allclose(features[:, vectors.shape[1] :], 1.5 * words, atol=1e-6)
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


SEVERAL_KINDS = [
    (["a", 3], r"'city' holds 3 \(numbers\) and 'a' \(texts\); .*X\['city'\].astype"),
    ([True, "yes"], "'yes'.* and True .truth values"),
    ([["a"], ["b"]], r"holds \['b'\] \(list\); a column must hold texts, numbers or"),
]


@pytest.mark.parametrize(
    ("values", "match", "dtype"),
    # Lists are no categories.
    [(*case, object) for case in SEVERAL_KINDS]
    + [(*case, "category") for case in SEVERAL_KINDS[:2]],
)
def test_columns_of_several_kinds_are_named(reviews, values, match, dtype):
    city = pd.Series([*values, None] * 40, dtype=dtype)
    X = pd.DataFrame({"text": reviews[0], "city": city})
    with pytest.raises(ValueError, match=match):
        make_text_pipeline(vectors=False, columns=["city"]).fit(X, reviews[1])


def test_tables_that_are_not_as_the_pipeline_was_made(reviews):
    texts, y, _ = reviews
    X = pd.DataFrame({"text": texts, "city": ["a", "b"] * 60})
    alone = make_text_pipeline(vectors=False)
    with pytest.raises(
        ValueError, match=r"columns \['text', 'city'\], .*columns=\[\.\."
    ):
        alone.fit(X, y)
    beside = make_text_pipeline(vectors=False, columns=["city"])
    with pytest.raises(
        TypeError, match=r"DataFrame of pandas .*\['text', 'city'\], got"
    ):
        beside.fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="X has no column 'text'; its columns are"):
        beside.fit(X[["city"]], y)
    double = pd.concat([X, X[["city"]]], axis=1)
    with pytest.raises(ValueError, match="(?s)unique column names.*'city' 2 times"):
        beside.fit(double, y)
    # One column is a column of texts, in whatever it comes.
    expected = alone.fit(texts, y).predict_proba(texts)
    for one in (X["text"], X[["text"]], np.asarray(texts)[:, None]):
        np.testing.assert_allclose(alone.fit(one, y).predict_proba(one), expected)


@pytest.mark.parametrize("case", NOT_TEXTS)
def test_what_is_not_a_text_is_refused(reviews, case):
    X, error, match = NOT_TEXTS[case]
    if case == "two columns":
        match = r"DataFrame with the columns \['a', 'b'\]"
    pipeline = make_text_pipeline(vectors=False)
    with pytest.raises(error, match=match):
        pipeline.fit(X, [0, 1])
    pipeline.fit(reviews[0], reviews[1])
    with pytest.raises(error, match=match):
        pipeline.predict(X)


# --- Components of words --------------------------------------------------------------


def test_components_are_those_of_scikit_learn():
    X = sparse.random(40, 30, density=0.3, format="csr", random_state=0)
    ours = WordComponents(10).fit(X)
    plain = TruncatedSVD(10, random_state=0).fit(X)
    np.testing.assert_allclose(ours.transform(X), plain.transform(X), atol=1e-12)
    assert ours.get_feature_names_out().tolist()[-1] == "wordcomponents9"


@pytest.mark.parametrize("n_words", [2, 9, 10, 11])
def test_no_more_components_than_words(n_words):
    X = sparse.csr_array(np.random.default_rng(0).random((20, n_words)))
    components = WordComponents(10).fit(X)
    found = components.transform(X)
    assert found.shape == (20, min(10, n_words))
    if n_words <= 10:  # nothing is lost
        np.testing.assert_allclose(found @ found.T, (X @ X.T).toarray(), atol=1e-10)
    again = pickle.loads(pickle.dumps(components))
    np.testing.assert_array_equal(again.transform(X), found)


@pytest.mark.parametrize("n_components", [0, -1, 2.5, "all", None])
def test_numbers_of_components_that_are_none(n_components):
    with pytest.raises(ValueError, match="n_components"):
        WordComponents(n_components).fit(sparse.csr_array(np.eye(3)))


@pytest.mark.filterwarnings("ignore:C=.* was chosen for")
def test_few_short_texts_have_components_and_can_be_searched(tiny_encoder):
    texts = ["good soup", "bad soup", "good", "bad"] * 5
    pipeline = make_text_pipeline(vectors=SentenceEmbedder(tiny_encoder))
    name = "features__words__components__n_components"
    search = GridSearchCV(pipeline, {name: [2, 500]}, cv=2).fit(texts, [1, 0, 1, 0] * 5)
    assert search.predict(["good soup", "bad"]).tolist() == [1, 0]
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()
    assert pickle.loads(pickle.dumps(search)).predict(["good"]).tolist() == [1]


def test_one_word_has_no_components():
    with pytest.raises(ValueError, match=r"one word between them.*words=False"):
        WordComponents().fit(sparse.csr_array(np.ones((5, 1))))


def test_components_ask_for_a_fit():
    with pytest.raises(NotFittedError, match="WordComponents instance is not fitted"):
        WordComponents().transform(np.eye(3))


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
