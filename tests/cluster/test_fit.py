"""Fits to rows on workers, beside the same fits in this process."""

import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skclif import (
    ConceptBottleneckClassifier,
    ConceptEncoder,
    InfluenceReweighter,
    SentenceEmbedder,
)
from skclif._cluster.collections import active_client
from skclif._inputs.checks import check_weights
from skclif.metrics import make_bottleneck_scorer

from .collections import as_array, as_frame

STARS = ["1 star", "3 stars", "5 stars"]
CHUNKS = {
    "one": (240,),  # equal ones are in test_kills
    "one row, and no row": (1, 0, 130, 0, 100, 9),
}


def assert_same(model, other, atol=1e-8):
    np.testing.assert_array_equal(model.classes_, other.classes_)
    assert model.classes_.dtype == other.classes_.dtype
    np.testing.assert_array_equal(model.concept_names_in_, other.concept_names_in_)
    for own, its in zip(model.concept_classes_, other.concept_classes_, strict=True):
        np.testing.assert_array_equal(own, its)
    np.testing.assert_allclose(model.class_weight_, other.class_weight_, rtol=1e-12)
    names = ["coef_", "intercept_", "concept_coef_", "concept_intercept_"]
    for name in [*names, "residual_coef_"]:
        own, its = getattr(model, name), getattr(other, name)
        for a, b in (
            zip(own or [], its or [], strict=True)
            if isinstance(own, list)
            else [(own, its)]
        ):
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_coefficients_are_those_of_the_same_rows_here(client, reviews, chunks):
    X, y, concepts, weights = reviews
    penalty = "auto" if len(chunks) > 1 else 0.5
    options = {"class_weight": "balanced", "concept_C": penalty, "C": penalty}
    here = ConceptBottleneckClassifier(**options).fit(X, y, weights, concepts=concepts)
    there = ConceptBottleneckClassifier(**options).fit(
        as_array(X, chunks),
        as_array(y, chunks),
        as_array(weights, (100, 140)),
        concepts=as_frame(concepts, (7, 0, 233)),
    )
    assert_same(there, here)
    assert there.C_ == here.C_
    np.testing.assert_array_equal(there.concept_C_, here.concept_C_)
    assert there.n_features_in_ == 6


@pytest.mark.parametrize(
    "options",
    [
        {
            "training": "sequential",
            "bottleneck": "hard",
            "concept_kinds": {"price": "continuous"},
            "concept_C": 0.3,
        },
        {
            "residual_C": 0.01,
            "concept_C": {"food": 1, "place": 0.1, "price": 2.0},
            "C": "auto",
            "monotonic_cst": {"food": ["bad", "good"]},
            "label_order": STARS,
        },
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_mean_the_same(client, reviews, options):
    X, y, concepts, _ = reviews
    here = ConceptBottleneckClassifier(**options).fit(X, y, concepts=concepts)
    there = ConceptBottleneckClassifier(**options)
    there.fit(as_array(X, (100, 140)), as_array(y, (240,)), concepts=concepts)
    assert_same(there, here)


def test_features_in_single_precision_without_concepts(client, reviews):
    X, y, *_ = reviews
    X = X.astype(np.float32)
    here = ConceptBottleneckClassifier().fit(X, y)
    there = ConceptBottleneckClassifier().fit(as_array(X, (100, 140)), list(y))
    assert_same(there, here)


def test_dataframes_keep_their_names_and_orders(client, reviews):
    X, y, concepts, _ = reviews
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(240) + 1000)
    stars = pd.Series(y, index=frame.index).astype("category").cat.as_ordered()
    concepts = concepts.set_axis(frame.index)
    here = ConceptBottleneckClassifier(label_head="ordinal").fit(
        frame, stars, concepts=concepts
    )
    there = ConceptBottleneckClassifier(label_head="ordinal").fit(
        as_frame(frame, (100, 140)), as_frame(stars, (40, 200)), concepts=concepts
    )
    assert_same(there, here)
    np.testing.assert_array_equal(there.feature_names_in_, list("abcdef"))
    np.testing.assert_array_equal(there.label_order_, here.label_order_)
    assert there.score(as_frame(frame, (7, 233)), y) == here.score(frame, y)


def unknown_width(X):
    import dask
    from dask import array

    return array.from_delayed(dask.delayed(X), (len(X), np.nan), X.dtype)


def outcome(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    ours = [one for one in caught if "graph" not in str(one.message)]
    return sorted((one.category.__name__, str(one.message)) for one in ours)


def test_warnings_are_those_of_the_same_rows_here(client, reviews):
    X, y, concepts, weights = reviews
    text = pd.Series([f"row {i}" for i in range(20)]).reindex(range(240))
    concepts = concepts[["food"]].assign(same="yes", text=text)
    model = ConceptBottleneckClassifier(max_iter=1, tol=1e-12)
    said = outcome(lambda: model.fit(X, y, weights, concepts=concepts))
    also = outcome(
        lambda: model.fit(as_array(X, (120, 120)), y, weights, concepts=concepts)
    )
    assert [kind for kind, _ in also] == [kind for kind, _ in said]
    kinds = {"ConstantConceptWarning", "ManyValuesWarning"}
    assert [w for w in also if w[0] in kinds] == [w for w in said if w[0] in kinds]
    assert kinds < {kind for kind, _ in said}


@pytest.fixture(scope="module")
def fitted(reviews):
    X, y, concepts, _ = reviews
    return ConceptBottleneckClassifier().fit(X, y, concepts=concepts)


def test_predictions_are_lazy_collections(client, fitted, reviews, monkeypatch):
    X, y, _, weights = reviews
    given = as_array(X, (1, 0, 139, 100))
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        lazy, here = getattr(fitted, name)(given), getattr(fitted, name)(X)
        assert (lazy.shape, lazy.dtype) == (here.shape, here.dtype)
        assert lazy.chunks[0] == (1, 139, 100)  # Dask leaves out empty ones
        if name == "predict":
            np.testing.assert_array_equal(lazy.compute(), here)
        else:
            np.testing.assert_allclose(lazy.compute(), here, rtol=0, atol=1e-12)
    lazy = fitted.predict_concepts(given)
    pd.testing.assert_frame_equal(
        lazy.compute(), fitted.predict_concepts(X), rtol=1e-12
    )
    lazy, here = fitted.predict_concept_proba(given), fitted.predict_concept_proba(X)
    assert list(lazy) == list(here)
    np.testing.assert_allclose(lazy["food"].compute(), here["food"], rtol=1e-12)
    found = fitted.score(given, as_array(y, (240,)), weights)
    assert found == pytest.approx(fitted.score(X, y, weights), rel=1e-12)


def test_predictions_need_no_cluster(fitted, reviews):
    import dask

    X, *_ = reviews
    frame = pd.DataFrame(X, index=np.arange(240) + 5)
    given = as_frame(frame, (100, 0, 140))
    with dask.config.set(scheduler="synchronous"):
        proba = fitted.predict_proba(given)
        assert np.isnan(proba.shape[0]) and proba.shape[1] == 3
        np.testing.assert_allclose(proba.compute(), fitted.predict_proba(X), rtol=1e-12)
        concepts = fitted.predict_concepts(given).compute()
    assert concepts.index.tolist() == frame.index.tolist()


def test_bad_arguments_are_named(client, fitted, reviews):
    X, y, concepts, _ = reviews
    there, model = as_array(X, (100, 140)), ConceptBottleneckClassifier()
    with pytest.raises(
        TypeError, match="y is a Dask Array, and X is a ndarray: rows a"
    ):
        model.fit(X, as_array(y, (240,)))
    with pytest.raises(ValueError, match="y has 200 rows, but X has 240"):
        model.fit(there, as_array(y[:200], (200,)))
    holed = X.copy()
    holed[150, 2] = np.nan
    where = "Seen in partition 1 of X, rows 100 to 239 of all"
    with pytest.raises(ValueError, match=f"(?s)X contains NaN.*{where}"):
        model.fit(as_array(holed, (100, 140)), y)
    unlabelled = pd.Series(y, dtype=object)
    unlabelled[150] = None
    with pytest.raises(
        ValueError, match="row 50 .*partition 1 of X, whose first row is row 100 of all"
    ):
        model.fit(there, unlabelled)
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(as_array(X[:0], (0,)), y[:0])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(there, None)
    with pytest.raises(ValueError, match="only one class: 'a'"):
        model.fit(there, ["a"] * 240)
    with pytest.raises(ValueError, match="at least one non-zero"):
        model.fit(there, y, np.zeros(240))
    with pytest.raises(ValueError, match="was given without concepts"):
        model.fit(there, y, concept_sample_weight=np.ones((240, 1)))
    with pytest.raises(ValueError, match="8 features, but ConceptBottleneckClassifier"):
        fitted.predict(as_array(np.ones((3, 8)), (3,)))
    with pytest.raises(ValueError, match="how many columns it has is not known"):
        model.fit(unknown_width(X), y)
    soft = pd.DataFrame({"food=good": np.ones(240), "food=bad": np.zeros(240)})
    with pytest.raises(
        ValueError, match="soft annotations of food, and a fit on a clu"
    ):
        model.fit(there, y, concepts=soft)
    with pytest.raises(ValueError, match="residual_C=1 needs concepts"):
        ConceptBottleneckClassifier(residual_C=1).fit(there, y)
    counts = there.map_blocks(sparse.csr_array)
    with pytest.raises(TypeError, match="X has sparse blocks, and a fit on a cluster"):
        model.fit(counts, y)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"training": "joint"}, "training='joint' is not fitted on a cluster"),
        ({"device": "cuda"}, "device='cuda' is where this process computes"),
    ],
)
def test_options_for_rows_here_are_refused(client, reviews, options, message):
    X, y, concepts, _ = reviews
    with pytest.raises(ValueError, match=message):
        ConceptBottleneckClassifier(**options).fit(as_array(X, (240,)), y)


def test_without_a_client_there_are_no_workers(reviews, monkeypatch):
    import distributed

    def nobody():
        raise ValueError("No global client found")

    monkeypatch.setattr(distributed, "get_client", nobody)
    X, y, *_ = reviews
    with pytest.raises(
        RuntimeError, match="needs workers, and no Dask client is active"
    ):
        ConceptBottleneckClassifier().fit(as_array(X, (240,)), y)


def test_a_fit_that_waits_for_workers_says_so(client, reviews, monkeypatch):
    monkeypatch.setattr(client, "nthreads", dict)
    with pytest.warns(RuntimeWarning, match="A fit to Dask collections waits: the clu"):
        active_client("A fit to Dask collections")


@pytest.mark.parametrize("kind", ["Bag", "Delayed"])
def test_collections_without_rows_are_refused(client, fitted, reviews, kind):
    import dask
    from dask import bag

    X, y, *_ = reviews
    other = bag.from_sequence([1, 2]) if kind == "Bag" else dask.delayed(X)
    there, model = as_array(X, (240,)), ConceptBottleneckClassifier()
    for name, call in {
        "X": lambda: model.fit(other, y),
        "y": lambda: model.fit(there, other),
    }.items():
        with pytest.raises(TypeError, match=f"^{name} is a Dask {kind}.*, and rows on"):
            call()
    with pytest.raises(TypeError, match=f"X is a Dask {kind}"):
        fitted.predict(other)
    with pytest.raises(TypeError, match=f"X is a Dask {kind}"):
        SentenceEmbedder().transform(other)
    with pytest.raises(ValueError, match="X is a Dask array of no dimensions"):
        fitted.predict(there.sum())
    with pytest.raises(TypeError, match="concepts must be a DataFrame.* got dict"):
        model.fit(there, y, concepts={"food": there[:, 0]})


def test_what_takes_no_collections_says_so(fitted, reviews):
    X, y, concepts, _ = reviews
    there, its = as_array(X, (240,)), as_frame(concepts, (240,))
    for name, call in {
        "X": lambda: fitted.contributions(there),
        "y": lambda: make_bottleneck_scorer()(fitted, X, as_array(y, (240,))),
        "concepts": lambda: fitted.intervene(X, its),
        "sample_weight": lambda: check_weights(there[:, 0], X),
    }.items():
        with pytest.raises(TypeError, match=f"needs {name} in this process, got a Da"):
            call()
    with pytest.raises(TypeError, match="needs X in this process"):
        InfluenceReweighter(fitted).fit(there, y)
    with pytest.raises(TypeError, match="needs X in this process"):
        ConceptEncoder().fit(as_frame(concepts["food"], (240,)), y)


def test_no_table_is_made_of_lazy_vectors(fitted, reviews):
    there = as_array(reviews[0], (240,))
    model = clone(fitted)
    vars(model).update(vars(fitted))
    with pytest.raises(ValueError, match="set_output asks for a table of pandas in th"):
        model.set_output(transform="pandas").transform(there)


def test_numbers_that_are_objects_are_numbers(client, fitted, reviews):
    import dask

    frame = pd.DataFrame(reviews[0]).astype(object)
    with dask.config.set({"dataframe.convert-string": False}):
        found = fitted.predict(as_frame(frame, (100, 140))).compute()
    np.testing.assert_array_equal(found, fitted.predict(reviews[0]))


def test_without_the_extra_it_is_named(reviews, monkeypatch):
    X, y, *_ = reviews
    given = as_array(X, (240,))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match='pip install "skclif\\[dask\\]"'):
        ConceptBottleneckClassifier().fit(given, y)


@pytest.mark.parametrize("chunks", [(240,), (100, 40, 100)])
def test_an_index_in_another_order_is_refused(client, fitted, reviews, chunks):
    X, y, concepts, _ = reviews
    frame = pd.DataFrame(X, index=[f"id {i}" for i in range(240)])
    moved = pd.Series(y, index=frame.index).iloc[[*range(1, 240), 0]]
    there = as_frame(frame, chunks)
    message = (
        "X and y have the same index in another order: row 0 is 'id 0' in X and 'id 1' "
        "in y, and rows are matched by position. Take X and y from one dataframe"
    )
    with pytest.raises(ValueError, match=message):
        ConceptBottleneckClassifier().fit(there, moved)
    with pytest.raises(ValueError, match=message):
        fitted.score(there, as_frame(moved, (120, 120)))
    concepts = concepts.set_axis(frame.index)
    with pytest.raises(ValueError, match="X and concepts have .*: row 200 is 'id 200'"):
        ConceptBottleneckClassifier().fit(
            there, y, concepts=concepts.iloc[[*range(200), *range(239, 199, -1)]]
        )


@pytest.mark.parametrize("other", ["each partition's own", "another"])
def test_an_index_that_names_no_row_is_not_looked_at(client, fitted, reviews, other):
    X, y, *_ = reviews
    chunks, its = (50, 100, 90), (100, 50, 90)
    frame, labels = pd.DataFrame(X), pd.Series(y)
    frame.index = [i for n in chunks for i in range(n)]
    labels.index = [i for n in its for i in range(n)]
    if other == "another":
        labels.index += 1
    found = fitted.score(as_frame(frame, chunks), as_frame(labels, its))
    assert found == pytest.approx(fitted.score(X, y))


def test_searches_run_on_the_workers_as_here(client, reviews):
    X, y, concepts, _ = reviews
    search = GridSearchCV(ConceptBottleneckClassifier(), {"C": [0.1, 10]}, cv=2)
    here = clone(search).fit(X, y, concepts=concepts)
    with joblib.parallel_config(backend="dask"):
        there = clone(search).fit(X, y, concepts=concepts)
    assert there.best_params_ == here.best_params_
    for name in ("mean_test_score", "split0_test_score"):
        np.testing.assert_array_equal(there.cv_results_[name], here.cv_results_[name])
    assert_same(there.best_estimator_, here.best_estimator_, atol=0)


def test_a_collection_is_told_without_dask(reviews, monkeypatch):
    X, y, *_ = reviews
    for name in ("dask", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    ConceptBottleneckClassifier().fit(X, y).predict(X)
