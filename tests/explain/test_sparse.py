"""ConceptInfluenceExplainer on sparse features: what it does on dense ones."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.shares import influence_on_shares
from skclif.exceptions import InfluenceWarning

from ..data import make_sparse_data

pytestmark = [
    pytest.mark.filterwarnings("ignore:Leverage does not see hard"),
    pytest.mark.filterwarnings("ignore:To first order, annotations"),
    pytest.mark.filterwarnings("ignore:The suggested changes"),
    pytest.mark.filterwarnings("ignore:(In closed form, the|The) removal of"),
]
FULL = pytest.mark.full
SHAPES = {"wide": (60, 150), "tall": (120, 30)}
METHODS = ["first_order", "leverage", "newton", "auto"]
TIGHT = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}
MODELS = {
    "mixed": ConceptBottleneckClassifier(),
    "hard": ConceptBottleneckClassifier(bottleneck="hard"),
    "logit": ConceptBottleneckClassifier(bottleneck="logit", training="sequential"),
    "independent": ConceptBottleneckClassifier(training="independent"),
    "no concepts": ConceptBottleneckClassifier(),
    "logistic regression": LogisticRegression(**TIGHT),
    "no intercept": LogisticRegression(fit_intercept=False, C=3, **TIGHT),
    "balanced": LogisticRegression(class_weight="balanced", **TIGHT),
}
LINEAR = ["no concepts", "logistic regression", "no intercept", "balanced"]
# Marks for all but the two that differ most, which others vary already.
SOME = [
    pytest.param(name, marks=[] if name in ("mixed", "no intercept") else FULL)
    for name in MODELS
]
LABEL_TARGETS = ["loss", "log_proba", "logit", "margin"]
CONCEPT_TARGETS = [("concept", "topic", 1), ("concept", "tone", "warm")]
NUMBER = ("concept", "size")


def fit(name, X, y, concepts, method="auto", sample_weight=None):
    given = {} if name in LINEAR else {"concepts": concepts}
    explainer = ConceptInfluenceExplainer(clone(MODELS[name]), method=method)
    return explainer.fit(X, y, sample_weight, **given)


@pytest.fixture(scope="module", params=SHAPES)
def data(request):
    return make_sparse_data(*SHAPES[request.param])


@pytest.fixture(scope="module")
def both(data):
    """Return a function of names of models to explainers, of sparse and dense rows."""
    X, y, concepts = data
    weights = np.random.default_rng(0).integers(1, 4, len(y)) / 2
    found = {}

    def pair(name, method="auto"):
        if name not in found:
            found[name] = [
                fit(name, features, y, concepts, sample_weight=weights)
                for features in (X, X.toarray())
            ]
        for explainer in found[name]:
            explainer.method = method
        return found[name]

    return pair


def assert_close(found, expected, tol=1e-6):
    """Compare relative to the largest value."""
    scale = np.abs(expected).max() or 1
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tol)


# --- Influence ------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SOME)
def test_influence_is_that_of_dense_features(data, both, name, method):
    X, y, _ = data
    ours, dense = both(name, method)
    np.testing.assert_allclose(ours.predict_proba(X), dense.predict_proba(X), rtol=1e-6)
    found = ours.influence(X[:7], y[:7], paths=True)
    expected = dense.influence(X[:7].toarray(), y[:7], paths=True)
    assert (found.method, found.paths) == (expected.method, expected.paths)
    assert_close(found.values, expected.values)
    pd.testing.assert_frame_equal(found.training, expected.training)
    np.testing.assert_allclose(found.explained.value, expected.explained.value, 1e-6)
    # Models of either kind of features explain rows of the other.
    crossed = dense.influence(X[:7], y[:7], paths=True)
    assert_close(crossed.values, expected.values)
    crossed = ours.influence(X[:7].toarray(), y[:7], paths=True)
    assert_close(crossed.values, expected.values)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", ["margin", CONCEPT_TARGETS[0], NUMBER])
def test_every_target(data, both, target, method):
    X, y, _ = data
    found, expected = (
        explainer.influence(features[:5], y[:5], target=target).values
        for explainer, features in zip(
            both("mixed", method), (X, X.toarray()), strict=True
        )
    )
    assert_close(found, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "asked",
    [{"reduce": "mean"}, {"reduce": "sum", "paths": True}, {"groups": 7}, {"top": 4}],
    ids=str,
)
def test_sums_groups_and_top_rows(data, both, asked, method):
    X, y, _ = data
    if "groups" in asked:
        asked = {"groups": np.arange(len(y)) % asked["groups"]}
    found, expected = (
        explainer.influence(features[:9], y[:9], **asked)
        for explainer, features in zip(
            both("mixed", method), (X, X.toarray()), strict=True
        )
    )
    assert_close(found.values, expected.values)
    for name in ("rows", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("intercept", [True, False])
def test_without_a_penalty(intercept):
    X, y, _ = make_sparse_data(150, 8, density=0.5)
    y = np.random.default_rng(0).permutation(y)  # so that classes overlap
    model = LogisticRegression(C=np.inf, fit_intercept=intercept, **TIGHT)
    for method in METHODS:
        found, expected = (
            ConceptInfluenceExplainer(clone(model), method=method)
            .fit(features, y)
            .influence(features[:5], y[:5])
            .values
            for features in (X, X.toarray())
        )
        assert_close(found, expected)
    with pytest.raises(ValueError, match="with C=inf has no optimum on these data"):
        ConceptInfluenceExplainer(model).fit(X[:12], np.arange(12) % 2)


def test_columns_of_all_sizes():
    X, y, concepts = make_sparse_data(60, 150)
    sizes = 10.0 ** np.random.default_rng(0).uniform(-2, 1, 150)
    sizes[:2] = 1e6, 3e4  # such as prices next to words
    X = sparse.csr_array(X * sizes)
    for name in ("mixed", "logistic regression"):
        for method in ("first_order", "leverage"):
            found, expected = (
                fit(name, features, y, concepts, method)
                .influence(features[:5], y[:5])
                .values
                for features in (X, X.toarray())
            )
            assert_close(found, expected)


@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_a_fitted_model_is_explained_on_its_own_rows_only(data, name):
    X, y, concepts = data
    given = {} if name in LINEAR else {"concepts": concepts}
    model = clone(MODELS[name]).fit(X, y, **given)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(model)).fit(X, y, **given)
    expected = fit(name, X, y, concepts).influence(X[:5], y[:5]).values
    assert_close(explainer.influence(X[:5], y[:5]).values, expected)
    with pytest.raises(ValueError, match="is not at the optimum of these data"):
        ConceptInfluenceExplainer(FrozenEstimator(model)).fit(X[:, ::-1], y, **given)


@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_validation_by_retraining(data, both, name):
    X, y, _ = data
    found, expected = (
        explainer.validate(features[:5], y[:5], n_rows=4, n_paths=2, random_state=0)
        for explainer, features in zip(both(name), (X, X.toarray()), strict=True)
    )
    np.testing.assert_array_equal(found.rows, expected.rows)
    for key, agreement in found.agreements.items():
        assert_close(agreement.retrained, expected.agreements[key].retrained)
        assert_close(agreement.estimated, expected.agreements[key].estimated)


# --- What follows from influence ------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_suspects(both, name):
    found, expected = (explainer.suspect_labels() for explainer in both(name))
    keys = ["row", "path"]
    found, expected = (table.sort_values(keys) for table in (found, expected))
    for column in found:
        for one, other in zip(found[column], expected[column], strict=True):
            if isinstance(one, float):
                assert one == pytest.approx(other, rel=1e-5, abs=1e-6, nan_ok=True)
            else:
                assert one == other


@pytest.mark.parametrize("name", ["mixed", "no concepts"])
def test_suggestions(both, data, name):
    X, y, _ = data
    found, expected = (
        explainer.suggest_edits(features[:60], y[:60], random_state=0)
        for explainer, features in zip(both(name), (X, X.toarray()), strict=True)
    )
    assert found.effect == pytest.approx(expected.effect, rel=1e-5, abs=1e-8)
    assert found.value == pytest.approx(expected.value, rel=1e-6)
    found, expected = found.to_frame(), expected.to_frame()
    for column in ("row", "kind", "concept", "old", "new"):
        if column in found:
            np.testing.assert_array_equal(found[column], expected[column])


def test_effects_of_concepts(both, data):
    X, _, _ = data
    ours, dense = both("mixed")
    np.testing.assert_allclose(
        ours.mean_activations_, dense.mean_activations_, rtol=1e-6, atol=1e-9
    )
    found, expected = ours.transform(X), dense.transform(X.toarray())
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    ours, dense = both("no concepts")
    np.testing.assert_allclose(ours.mean_activations_, dense.mean_activations_)


# --- Edits ----------------------------------------------------------------------------

EDITS = {
    "drop": {"drop": [3, 5, 8]},
    "relabel": {"y": {0: "no", 1: "yes", 9: "so"}},
    "annotate": {"concepts": {"tone": {2: "warm", 3: None}, "size": {1: 0.5}}},
    "reweight": {"sample_weight": {1: 3.0, 2: 0.25}},
    "drop a concept": {"drop_concepts": ["topic"]},
    "add": {"add": 6},
    "all": {"drop": [3], "y": {0: "no"}, "sample_weight": {2: 2.0}, "add": 2},
    "some steps": {"drop": [3], "n_steps": 1},
}


def edit(explainer, how, data, features):
    """Return the edited model; `add` is a number of new rows."""
    how = dict(how)
    if "add" in how:
        new, y, concepts = make_sparse_data(how["add"], data[0].shape[1], seed=7)
        new = new if features == "sparse" else new.toarray()
        how["add"] = {"X": new, "y": y}
        if len(explainer.concept_names_in_):
            how["add"]["concepts"] = concepts
    X, y, _ = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explainer.edit(**how, X_val=X[:20], y_val=y[:20])


@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_edits_are_those_of_dense_features(data, both, name, kind):
    if name in LINEAR and kind in ("annotate", "drop a concept"):
        return
    X, y, _ = data
    ours, dense = both(name)
    found = edit(ours, EDITS[kind], data, "sparse")
    expected = edit(dense, EDITS[kind], data, "dense")
    crossed = [edit(ours, EDITS[kind], data, "dense")]
    crossed.append(edit(dense, EDITS[kind], data, "sparse"))
    proba = expected.estimator.predict_proba(X)
    # A model after one step is where that step ended.
    tol = 1e-3 if kind == "some steps" else 1e-6
    for result in (found, *crossed):
        assert_close(result.estimator.predict_proba(X), proba, tol)
        record, theirs = result.record, expected.record
        assert_close(record.achieved_effect, theirs.achieved_effect, 100 * tol)
        if theirs.predicted_effect is not None and record.predicted_effect is not None:
            assert_close(record.predicted_effect, theirs.predicted_effect, 1e-5)
        pd.testing.assert_frame_equal(record.changes, theirs.changes)
    if kind == "some steps":
        return
    # The edited rows are explained, and edited again.
    explained = [
        result.explainer.influence(X[:4], y[:4]).values for result in (found, expected)
    ]
    assert_close(*explained)
    again = [result.explainer.edit(drop=[10]).estimator for result in (found, expected)]
    assert_close(again[0].predict_proba(X), again[1].predict_proba(X))
    compared = [result.compare(X[:30], y[:30]) for result in (found, expected)]
    assert compared[0].log_loss.after == pytest.approx(compared[1].log_loss.after)


@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_an_edit_is_retraining(data, name):
    X, y, concepts = data
    result = fit(name, X, y, concepts).edit(drop=[3, 5, 8])
    kept = np.delete(np.arange(len(y)), [3, 5, 8])
    again = fit(name, X[kept], y[kept], concepts.iloc[kept])
    assert_close(result.estimator.predict_proba(X), again.predict_proba(X))


def test_edits_are_repeated_bit_for_bit():
    X, y, concepts = make_sparse_data(*SHAPES["wide"])
    how = {"drop": [1], "y": {2: "no"}, "add": {"X": X[:2], "y": y[:2]}}
    how["add"]["concepts"] = concepts[:2]
    coo = sparse.coo_array(X)
    mixed = np.random.default_rng(0).permutation(X.nnz)
    shuffled = sparse.coo_array(
        (coo.data[mixed], (coo.row[mixed], coo.col[mixed])), shape=X.shape
    )
    records = []
    for features in (X, X.tocsc(), shuffled, with_stored_zeros(X)):
        explainer = fit("mixed", features, y, concepts)
        records.append(explainer.edit(**how).record)
    names = ("data_before", "data_after", "model_before", "model_after")
    for record in records[1:]:
        for name in names:
            assert getattr(record, name) == getattr(records[0], name)
    # Other numbers, columns or places have other fingerprints.
    prints = {records[0].data_before}
    for other in (2 * X, X[:, ::-1], sparse.hstack([X, X[:, :1] * 0])):
        prints.add(fit("mixed", other, y, concepts).edit(drop=[1]).record.data_before)
    assert len(prints) == 4


def with_stored_zeros(X):
    """Return the same numbers, with a stored 0 at the start of each row."""
    X = X.tocoo()
    n = X.shape[0]
    parts = (
        np.concatenate([np.zeros(n), X.data]),
        (
            np.concatenate([np.arange(n), X.row]),
            np.concatenate([np.zeros(n, dtype=X.col.dtype), X.col]),
        ),
    )
    return sparse.coo_array(parts, shape=X.shape).tocsr()


@pytest.mark.parametrize("name", ["mixed", "logistic regression"])
def test_explainers_are_kept(data, both, name):
    X, y, _ = data
    explainer, _ = both(name)
    loaded = pickle.loads(pickle.dumps(explainer))
    found = loaded.influence(X[:5], y[:5]).values
    np.testing.assert_array_equal(found, explainer.influence(X[:5], y[:5]).values)
    assert_close(
        loaded.edit(drop=[3]).estimator.predict_proba(X),
        explainer.edit(drop=[3]).estimator.predict_proba(X),
    )


@pytest.mark.parametrize("method", ["first_order", "leverage"])
def test_features_are_kept_from_changes(data, method):
    X, y, concepts = data
    given_X = sparse.csr_array(X, copy=True)
    explainer = fit("mixed", given_X, y, concepts, method)
    expected = explainer.influence(X[:5], y[:5]).values
    given_X.data[:] = 7
    del explainer._solved  # as after loading
    np.testing.assert_array_equal(explainer.influence(X[:5], y[:5]).values, expected)


# --- Memory that is not enough for factors --------------------------------------------


@pytest.fixture
def little():
    """Let no factors fit the memory."""
    with sklearn.config_context(working_memory=0.01):
        yield


@pytest.mark.parametrize("as_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", SOME)
def test_without_factors_influence_is_the_same(data, both, little, name, as_sparse):
    X, y, concepts = data
    _, dense = both(name, "first_order")
    features = X if as_sparse else X.toarray()
    weights = np.random.default_rng(0).integers(1, 4, len(y)) / 2
    explainer = fit(name, features, y, concepts, sample_weight=weights)
    targets = [*LABEL_TARGETS]
    if name not in LINEAR:
        targets += [*CONCEPT_TARGETS, NUMBER]
    for target in targets:
        found = explainer.influence(features[:7], y[:7], target=target, paths=True)
        expected = dense.influence(X[:7].toarray(), y[:7], target=target, paths=True)
        assert found.method == "first_order"  # what "auto" takes
        assert_close(found.values, expected.values)
    for asked in ({"reduce": "mean"}, {"reduce": "sum"}, {"top": 4}):
        found = explainer.influence(features[:7], y[:7], **asked)
        expected = dense.influence(X[:7].toarray(), y[:7], **asked)
        assert_close(found.values, expected.values)


def test_sums_with_shares_of_their_own(data, both, little):
    X, y, concepts = data
    weights = np.random.default_rng(0).integers(1, 4, len(y)) / 2
    explainer = fit("mixed", X, y, concepts, sample_weight=weights)
    shares = np.random.default_rng(1).random((2, 5))
    _, dense = both("mixed", "first_order")
    found, expected = (
        influence_on_shares(*about, y[:5], shares)
        for about in ((explainer, X[:5]), (dense, X[:5].toarray()))
    )
    assert found[:2] == expected[:2] == ("first_order", ("label", *concepts))
    assert_close(found[2], expected[2])


@pytest.mark.parametrize("as_sparse", [True, False], ids=["sparse", "dense"])
def test_targets_in_blocks_of_what_fits(data, both, little, monkeypatch, as_sparse):
    X, y, concepts = data
    _, dense = both("mixed", "first_order")
    features = X if as_sparse else X.toarray()
    weights = np.random.default_rng(0).integers(1, 4, len(y)) / 2
    explainer = fit("mixed", features, y, concepts, sample_weight=weights)
    with sklearn.config_context(working_memory=0.3):  # after the fit, for a few targets
        found = explainer.influence(features, y)
    assert_close(found.values, dense.influence(X.toarray(), y).values)


@pytest.mark.parametrize("as_sparse", [True, False], ids=["sparse", "dense"])
def test_edits_without_factors(data, both, little, as_sparse):
    X, y, concepts = data
    _, dense = both("mixed", "first_order")
    features = X if as_sparse else X.toarray()
    weights = np.random.default_rng(0).integers(1, 4, len(y)) / 2
    explainer = fit("mixed", features, y, concepts, sample_weight=weights)
    for how in (EDITS["drop"], EDITS["all"], EDITS["drop a concept"]):
        found = edit(explainer, how, data, "sparse")
        expected = edit(dense, how, data, "dense")
        assert_close(
            found.estimator.predict_proba(X), expected.estimator.predict_proba(X)
        )
        if how is EDITS["drop"]:
            assert found.record.predicted_effect == pytest.approx(
                expected.record.predicted_effect, rel=1e-5
            )


SIZE = (
    r"This needs the factorised Hessians of all heads, about [\d.]+ MiB for \d+ rows "
    r"and \d+ features, and the working_memory of scikit-learn is [\d.]+ MiB, or was "
    r"so at fit\. Influence by method='first_order' .* allow more by sklearn.set_config"
)


@pytest.mark.parametrize(
    "ask",
    [
        lambda e, X, y: e.set_params(method="leverage").influence(X[:3], y[:3]),
        lambda e, X, y: e.set_params(method="newton").influence(X[:3], y[:3]),
        lambda e, X, y: e.validate(X[:3], y[:3]),
        lambda e, X, y: e.suspect_labels(),
        lambda e, X, y: e.suggest_edits(X, y),
    ],
    ids=["leverage", "newton", "validate", "suspects", "suggestions"],
)
@pytest.mark.parametrize("as_sparse", [True, False], ids=["sparse", "dense"])
def test_what_needs_factors_says_their_size(data, little, ask, as_sparse):
    X, y, concepts = data
    features = X if as_sparse else X.toarray()
    explainer = fit("mixed", features, y, concepts)
    with pytest.raises(ValueError, match=SIZE):
        ask(explainer, features, y)


def test_more_memory_is_enough(data, both):
    X, y, concepts = data
    with sklearn.config_context(working_memory=0.01):
        explainer = fit("logit", X, y, concepts, "leverage")
        with pytest.raises(ValueError, match=SIZE):
            explainer.influence(X[:3], y[:3])
    explainer.fit(X, y, concepts=concepts).influence(X[:3], y[:3])


def test_systems_that_are_not_solved_are_named(data, little, monkeypatch):
    X, y, concepts = data
    explainer = fit("mixed", X, y, concepts)
    monkeypatch.setattr("skclif.numerics.solvers._MAX_CG", 2)
    match = "adjoint system of a .* head was solved to a relative residual .* in 2 step"
    with pytest.warns(InfluenceWarning, match=match):
        explainer.influence(X[:3], y[:3])


# --- Words ----------------------------------------------------------------------------


def test_words_of_texts():
    rng = np.random.default_rng(0)
    words = np.array(["good", "bad", "soup", "slow", "fine", "dear", "late"])
    has = rng.random((90, len(words))) < 0.4
    texts = [" ".join([*words[row], "the"]) for row in has]
    y = np.where(has[:, 0] ^ (rng.random(90) < 0.1), "up", "down")
    pipe = make_pipeline(TfidfVectorizer(), MaxAbsScaler(), LogisticRegression(**TIGHT))
    explainer = ConceptInfluenceExplainer(pipe).fit(texts, y)
    counts = pipe[:-1].fit(texts).transform(texts).toarray()
    dense = ConceptInfluenceExplainer(pipe[-1]).fit(counts, y)
    expected = dense.influence(counts[:5], y[:5])
    found = explainer.influence(texts[:5], y[:5])
    assert_close(found.values, expected.values)
    assert found.training["text"].tolist() == texts
    result = explainer.edit(drop=[2], add={"X": ["good late"], "y": ["up"]})
    assert result.explainer.n_samples_ == 91
    assert result.record.converged
    assert result.explainer.influence(["bad"]).training["text"].iloc[-1] == "good late"
