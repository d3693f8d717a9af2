"""Sparse features in the bottleneck, in the reweighter, and in pipelines."""

import pickle
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator_sparse_tag

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    load_model,
    save_model,
)

from ..data import make_sparse_data

pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")

# n < d, where the tuning of penalties works in the span of the rows, and n > d.
SHAPES = {"wide": (60, 150), "tall": (120, 30)}
CLOSE = {"rtol": 1e-6, "atol": 1e-7}
# Containers, and the type of their values.
CONTAINERS = {
    "csr_array": lambda X: X,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "lil_array": sparse.lil_array,
    "frame": lambda X: pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(X)),
}


@pytest.fixture(scope="module", params=SHAPES)
def data(request):
    return make_sparse_data(*SHAPES[request.param])


def assert_same_models(one, other, X):
    for name in ("coef_", "intercept_", "concept_C_", "C_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), **CLOSE)
    for mine, theirs in zip(one.concept_coef_, other.concept_coef_, strict=True):
        np.testing.assert_allclose(mine, theirs, **CLOSE)
    for features in (X, X.toarray()):  # either model takes either kind
        for method in ("predict_proba", "decision_function"):
            np.testing.assert_allclose(
                getattr(one, method)(features),
                getattr(other, method)(features),
                **CLOSE,
            )


# --- The bottleneck -------------------------------------------------------------------

KINDS = [
    *({"training": kind} for kind in ("mixed", "sequential", "independent")),
    {"bottleneck": "hard"},
    {"bottleneck": "logit"},
    {"class_weight": "balanced", "C": 3.0, "concept_C": {"tone": 0.3, "topic": 9.0}},
    {"intervention_prob": 0.7},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fit_is_that_of_dense_features(data, kind):
    X, y, concepts = data
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, len(y)) / 2
    given = {
        "sample_weight": weights,
        "concepts": concepts,
        "concept_sample_weight": rng.uniform(0.1, 2, concepts.shape),
    }
    if isinstance(kind.get("concept_C"), dict):
        kind = {**kind, "concept_C": {**kind["concept_C"], "size": 2.0}}
    model = ConceptBottleneckClassifier(**kind).fit(X, y, **given)
    dense = clone(model).fit(X.toarray(), y, **given)
    assert_same_models(model, dense, X)
    np.testing.assert_allclose(model.transform(X), dense.transform(X), **CLOSE)
    found, expected = (m.predict_concepts(X) for m in (model, dense))
    pd.testing.assert_frame_equal(found.iloc[:, :2], expected.iloc[:, :2])
    np.testing.assert_allclose(
        found["size"].astype(float), expected["size"].astype(float), **CLOSE
    )
    for name, proba in model.predict_concept_proba(X).items():
        np.testing.assert_allclose(proba, dense.predict_concept_proba(X)[name], **CLOSE)
    np.testing.assert_allclose(model.contributions(X), dense.contributions(X), **CLOSE)
    if model.bottleneck != "logit":
        known = concepts[:9]
        np.testing.assert_allclose(
            model.intervene(X[:9], known),
            dense.intervene(X[:9].toarray(), known),
            **CLOSE,
        )


def test_without_concepts_it_is_logistic_regression(data):
    X, y, _ = data
    model = ConceptBottleneckClassifier().fit(X, y)
    reference = LogisticRegression(solver="newton-cg", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X), reference.predict_proba(X), **CLOSE
    )
    activations = model.transform(X)
    assert sparse.issparse(activations)
    np.testing.assert_array_equal(activations.toarray(), X.toarray())
    assert_same_models(model, clone(model).fit(X.toarray(), y), X)


@pytest.mark.parametrize("with_concepts", [False, True])
def test_penalties_choose_themselves_alike(data, with_concepts):
    X, y, concepts = data
    given = {"concepts": concepts} if with_concepts else {}
    model = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    model.fit(5 * X, y, **given)
    dense = clone(model).fit(5 * X.toarray(), y, **given)
    assert model.C_ == dense.C_
    np.testing.assert_array_equal(model.concept_C_, dense.concept_C_)
    assert_same_models(model, dense, X)


@pytest.mark.filterwarnings("ignore:C=.* was chosen for")
@pytest.mark.parametrize("as_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", ["C", "concept_C"])
def test_penalties_that_need_too_much_memory_are_refused(data, name, as_sparse):
    X, y, concepts = data
    X = X if as_sparse else X.toarray()
    match = (
        rf"^{name}='auto' needs the factorised Hessians of heads, about \d+ MiB for \d+"
        r" rows and \d+ features, .* is 0 MiB\. Give a number for .*working_memory=..."
    )
    model = ConceptBottleneckClassifier(**{name: "auto"})
    with sklearn.config_context(working_memory=0.001):
        with pytest.raises(ValueError, match=match):
            model.fit(X, y, concepts=concepts)
        clone(model).set_params(C=1.0, concept_C=1.0).fit(X, y, concepts=concepts)
        if name == "C":
            with pytest.raises(ValueError, match=match):
                model.fit(X, y)
    model.fit(X, y, concepts=concepts)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, bool])
@pytest.mark.parametrize("container", CONTAINERS)
def test_equal_numbers_give_equal_models(container, dtype):
    X, y, concepts = make_sparse_data(40, 60)
    X = (8 * X).astype(dtype)
    numbers = X.astype(np.float64)
    expected = ConceptBottleneckClassifier().fit(numbers, y, concepts=concepts)
    features = CONTAINERS[container](X)
    found = ConceptBottleneckClassifier().fit(features, y, concepts=concepts)
    assert found.coef_.tobytes() == expected.coef_.tobytes()
    proba = found.predict_proba(features)
    assert proba.tobytes() == expected.predict_proba(numbers).tobytes()


def test_a_model_does_not_change_its_features():
    X, y, concepts = make_sparse_data(40, 60)
    X = X[:, ::-1]  # which leaves the columns of each row in reverse
    assert not X.has_sorted_indices
    before = [part.copy() for part in (X.data, X.indices, X.indptr)]
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    model.predict(X)
    for old, new in zip(before, (X.data, X.indices, X.indptr), strict=True):
        np.testing.assert_array_equal(old, new)


def test_models_are_kept(tmp_path):
    X, y, concepts = make_sparse_data(40, 60)
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    expected = model.predict_proba(X)
    save_model(model, tmp_path / "model")
    for kept in (pickle.loads(pickle.dumps(model)), load_model(tmp_path / "model")):
        np.testing.assert_array_equal(kept.predict_proba(X), expected)


def test_other_numbers_of_columns_are_refused():
    X, y, concepts = make_sparse_data(40, 60)
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="X has 59 features, but .* is expecting 60"):
        model.predict(X[:, 1:])


@pytest.mark.parametrize(
    "estimator",
    [
        ConceptBottleneckClassifier(),
        ConceptInfluenceExplainer(ConceptBottleneckClassifier()),
        ConceptInfluenceExplainer(LogisticRegression()),
        InfluenceReweighter(LogisticRegression(), random_state=0),
        InfluenceReweighter(MultinomialNB(), random_state=0),
    ],
    ids=str,
)
def test_tags_say_so(estimator):
    assert estimator.__sklearn_tags__().input_tags.sparse
    check_estimator_sparse_tag(type(estimator).__name__, estimator)


# --- The reweighter -------------------------------------------------------------------

SURROGATES = {
    "its own": (LogisticRegression(), None),
    "a bottleneck's own": (ConceptBottleneckClassifier(), None),
    "the default": (LinearSVC(random_state=0), None),
    "given": (LinearSVC(random_state=0), LogisticRegression(C=3)),
}


@pytest.mark.parametrize("clean", ["is_clean", "X_val", "nothing"])
@pytest.mark.parametrize("name", SURROGATES)
def test_learned_weights_are_those_of_dense_features(name, clean):
    whole, labels, _ = make_sparse_data(210, 20, density=0.3)
    X, y, y_val = whole[:150], labels[:150].copy(), labels[150:]
    y[::8] = "no"
    estimator, surrogate = SURROGATES[name]
    weights = []
    for features, X_val in ((X, whole[150:]), (X.toarray(), whole[150:].toarray())):
        given = {
            "is_clean": {"is_clean": np.arange(150) % 8 > 3},
            "X_val": {"X_val": X_val, "y_val": y_val},
            "nothing": {},
        }[clean]
        model = InfluenceReweighter(
            estimator, strength=2.0, n_rounds=2, surrogate=surrogate, random_state=0
        )
        weights.append(model.fit(features, y, **given).sample_weight_)
    assert np.ptp(weights[0]) > 0.1
    if name == "the default":
        # It is standardised: sparse features by one number, to keep their zeros.
        assert np.corrcoef(*weights)[0, 1] > 0.5
    else:
        np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-5)


def test_clean_rows_may_be_dense():
    whole, labels, _ = make_sparse_data(210, 20, density=0.3)
    X, y = whole[:150], np.where(np.arange(150) % 8, labels[:150], "no")
    weights = [
        InfluenceReweighter(estimator, strength=1.0, n_rounds=1, random_state=0)
        .fit(X, y, X_val=X_val, y_val=labels[150:])
        .sample_weight_
        for estimator in (LogisticRegression(), ConceptBottleneckClassifier())
        for X_val in (whole[150:], whole[150:].toarray(), whole[150:].tocoo())
    ]
    for same in (weights[:3], weights[3:]):
        np.testing.assert_array_equal(same[1], same[0])
        np.testing.assert_array_equal(same[2], same[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e16])
def test_clean_rows_with_bad_values_are_refused(value):
    X, y, _ = make_sparse_data(90, 20, density=0.3)
    spoilt = X[:20].copy()
    spoilt.data[3] = value
    model = InfluenceReweighter(ConceptBottleneckClassifier(), strength=1.0)
    match = "X_val .*contains (NaN|infinity)|X_val has values as large as 1e.16"
    with pytest.raises(ValueError, match=match):
        model.fit(X, y, X_val=spoilt, y_val=y[:20])


# --- Pipelines ------------------------------------------------------------------------

N = 120
IS_CLEAN = np.arange(N) % 3 == 0


@pytest.fixture(scope="module")
def texts():
    """Return texts, labels, and annotations."""
    rng = np.random.default_rng(0)
    words = np.array(["good", "food", "slow", "rude", "soup", "late", "warm"])
    has = rng.random((N, len(words))) < 0.4
    texts = [" ".join([*words[row], "the"]) for row in has]
    y = np.where(has[:, 0] + 0.4 * rng.normal(size=N) > has[:, 2], "up", "down")
    concepts = pd.DataFrame(
        {
            "food": np.where(has[:, 0], "fine", "poor"),
            "service": np.where(has[:, 2] | has[:, 3], "bad", "well"),
        }
    )
    return texts, y, concepts


@pytest.fixture(params=[False, True], ids=["routing off", "routing on"])
def routing(request):
    with sklearn.config_context(enable_metadata_routing=request.param):
        yield request.param


def words():
    return Pipeline(
        [("words", TfidfVectorizer()), ("clf", ConceptBottleneckClassifier())]
    )


def test_words_before_a_bottleneck(texts, routing):
    X, y, concepts = texts
    name = "concepts" if routing else "clf__concepts"
    pipe = words().fit(X, y, **{name: concepts})
    counts = TfidfVectorizer().fit_transform(X).toarray()
    dense = ConceptBottleneckClassifier().fit(counts, y, concepts=concepts)
    np.testing.assert_allclose(
        pipe.predict_proba(X), dense.predict_proba(counts), **CLOSE
    )
    explainer = ConceptInfluenceExplainer(words()).fit(X, y, concepts=concepts)
    np.testing.assert_allclose(
        explainer.predict_proba(X), pipe.predict_proba(X), **CLOSE
    )
    influence = explainer.influence(X[:5], y[:5], paths=True)
    expected = ConceptInfluenceExplainer(clone(dense)).fit(counts, y, concepts=concepts)
    expected = expected.influence(counts[:5], y[:5], paths=True)
    np.testing.assert_allclose(influence.values, expected.values, rtol=1e-6, atol=1e-8)
    assert influence.training["text"].tolist() == X


@pytest.mark.parametrize(
    "kind", ["around", "around, with a bottleneck", "inside", "SVC", "naive Bayes"]
)
def test_a_reweighter_with_words(texts, routing, kind):
    X, y, concepts = texts
    quick = {"strength": 2.0, "n_rounds": 1, "random_state": 0}
    clean = {"is_clean": IS_CLEAN}
    if kind == "around, with a bottleneck":
        model = InfluenceReweighter(words(), **quick)
        model.fit(X, y, concepts=concepts, **clean)
        weights = model.sample_weight_
    elif kind == "around":
        pipe = make_pipeline(TfidfVectorizer(), LogisticRegression())
        model = InfluenceReweighter(pipe, **quick).fit(X, y, **clean)
        weights = model.sample_weight_
    else:
        inner = {
            "inside": LogisticRegression(),
            "SVC": LinearSVC(random_state=0),
            "naive Bayes": MultinomialNB(),
        }[kind]
        model = Pipeline(
            [("words", CountVectorizer()), ("rw", InfluenceReweighter(inner, **quick))]
        )
        name = "is_clean" if routing else "rw__is_clean"
        model.fit(X, y, **{name: IS_CLEAN})
        weights = model[-1].sample_weight_
    assert np.ptp(weights) > 0.1
    assert model.score(X, y) > 0.6


def test_a_search_over_words_and_penalties(texts, routing):
    X, y, concepts = texts
    grid = {"words__ngram_range": [(1, 1), (1, 2)], "clf__concept_C": [0.3, 3.0]}
    search = GridSearchCV(words(), grid, cv=2)
    name = "concepts" if routing else "clf__concepts"
    search.fit(X, y, **{name: concepts})
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(X, y) > 0.7
    scores = cross_validate(words(), X, y, params={name: concepts}, cv=2)
    assert np.isfinite(scores["test_score"]).all()


def test_a_search_over_a_reweighter_with_words(texts, routing):
    X, y, _ = texts
    pipe = make_pipeline(TfidfVectorizer(), LogisticRegression())
    search = GridSearchCV(
        InfluenceReweighter(pipe, n_rounds=1, random_state=0),
        {"strength": [0, 1.0], "estimator__tfidfvectorizer__min_df": [1, 3]},
        cv=2,
    )
    search.fit(X, y, is_clean=IS_CLEAN)
    assert search.score(X, y) > 0.6


# --- Memory ---------------------------------------------------------------------------


WIDE = 3000, 20_000


@pytest.fixture
def never_dense(monkeypatch):
    """Fail where sparse features become dense, except for few rows of them."""

    def checked(real):
        def toarray(self, *args, **kwargs):
            # Inner products of all rows are fewer than 1/6 of their features.
            assert np.prod(self.shape) <= WIDE[0] ** 2, f"{self.shape} made dense"
            return real(self, *args, **kwargs)

        return toarray

    for kind in (sparse.csr_array, sparse.csc_array, sparse.coo_array):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(kind, name, checked(getattr(kind, name)))


@pytest.fixture(scope="module")
def large():
    return make_sparse_data(*WIDE, density=1e-3)


@contextmanager
def little_memory():
    """Fail if arrays of NumPy take a quarter of what dense features would."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * np.prod(WIDE) / 4
    finally:
        tracemalloc.stop()


def test_a_bottleneck_never_makes_features_dense(never_dense, large):
    X, y, concepts = large
    with little_memory():
        model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
        assert model.predict_proba(X).shape == (3000, 3)
        assert model.contributions(X).values.shape == (3000, 3, 4)
        model.predict_concepts(X)


@pytest.mark.parametrize(
    "estimator",
    [
        ConceptBottleneckClassifier(),
        LogisticRegression(solver="newton-cg", tol=1e-8, max_iter=1000),
    ],
    ids=str,
)
def test_influence_without_factors_never_does_either(never_dense, large, estimator):
    X, y, concepts = large
    given = {"concepts": concepts} if "Concept" in str(estimator) else {}
    with little_memory(), sklearn.config_context(working_memory=16):
        explainer = ConceptInfluenceExplainer(estimator).fit(X, y, **given)
        influence = explainer.influence(X[:20], y[:20])
        assert influence.method == "first_order"
        assert np.isfinite(influence.values).all()
        explainer.influence(X[:20], y[:20], reduce="mean", top=5)
        explainer.edit(drop=[3], add={"X": X[:2], "y": y[:2]})


@pytest.mark.full
@pytest.mark.slow
def test_influence_with_factors_never_does_either(never_dense, large):
    X, y, _ = large
    with little_memory():
        explainer = ConceptInfluenceExplainer(LogisticRegression(), method="leverage")
        explainer.fit(X, y).influence(X[:20], y[:20])
        assert len(explainer.suspect_labels()) == 3000


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(solver="newton-cg"),
        MultinomialNB(),
        ConceptBottleneckClassifier(),
    ],
    ids=str,
)
def test_a_reweighter_never_does_either(never_dense, large, estimator):
    X, y, _ = large
    model = InfluenceReweighter(estimator, strength=1.0, n_rounds=1, random_state=0)
    with little_memory():
        model.fit(X, y, is_clean=np.arange(3000) % 3 == 0)
        assert model.predict(X).shape == (3000,)


def test_an_automatic_device_is_the_cpu(monkeypatch):
    """Although there is a GPU: products with sparse features are SciPy's."""
    X = sparse.csr_array(np.eye(8))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    clf = ConceptBottleneckClassifier(device="auto").fit(X, [0, 1] * 4)
    assert clf.predict_proba(X).shape == (8, 2)
