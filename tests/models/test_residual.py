"""What goes past the concepts: the residual of the label head."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from skclif import ConceptBottleneckClassifier, load_model, save_model
from skclif._models.older import upgraded

from ..data import make_concept_data, make_sparse_data

SHARES = {"mixed": 0.4, "sequential": 0.0, "independent": 1.0}
C, RESIDUAL_C = 2.0, 0.05


def fit(data, *, sample_weight=None, **params):
    X, y, concepts = data
    params = {"C": C, "residual_C": RESIDUAL_C, **params}
    clf = ConceptBottleneckClassifier(**params)
    return clf.fit(X, y, sample_weight, concepts=concepts)


@pytest.fixture(scope="module")
def data():
    return make_concept_data()


@pytest.fixture(scope="module")
def fitted(data):
    return fit(data)


def known_activations(clf, X, concepts):
    """Return activations with annotations in place of predictions, by hand."""
    activations = clf.transform(X)
    for column, name in enumerate(clf.get_feature_names_out()):
        concept, value = name.split("=")
        given = concepts[concept].notna().to_numpy()
        is_value = (concepts[concept].astype(str) == value).to_numpy()
        activations[given, column] = is_value[given]
    return activations


@pytest.mark.parametrize("training", list(SHARES))
@pytest.mark.parametrize("n_classes", [2, 3])
def test_it_is_scikit_learns_optimum_on_scaled_features(n_classes, training):
    """One penalty for both, because the features are scaled by the penalties' ratio."""
    X, y, concepts = data = make_concept_data(n_classes=n_classes)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(X))
    clf = fit(data, sample_weight=weights, training=training)
    share, scale = SHARES[training], np.sqrt(RESIDUAL_C / C)
    seen = [
        np.hstack([activations, scale * X])
        for activations in (clf.transform(X), known_activations(clf, X, concepts))
    ]
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12)
    reference.fit(
        np.vstack(seen),
        np.tile(y, 2),
        sample_weight=np.concatenate([(1 - share) * weights, share * weights]),
    )
    n_activations = clf.coef_.shape[1]
    expected = np.hstack([clf.coef_, clf.residual_coef_ / scale])
    np.testing.assert_allclose(expected, reference.coef_, rtol=1e-5, atol=1e-7)
    assert n_activations == len(clf.get_feature_names_out())
    logits = seen[0] @ reference.coef_.T + reference.intercept_
    proba = softmax(np.hstack([0 * logits, logits]) if n_classes == 2 else logits, 1)
    np.testing.assert_allclose(clf.predict_proba(X), proba, atol=1e-7)


def test_hardly_any_residual_is_none(data):
    X, _, _ = data
    little = fit(data, residual_C=1e-9)
    assert np.abs(little.residual_coef_).max() < 1e-6
    np.testing.assert_allclose(
        little.predict_proba(X), fit(data, residual_C=None).predict_proba(X), atol=1e-5
    )


def test_it_adds_what_the_concepts_do_not_hold(data):
    """The label depends on a feature that no concept is about."""
    X, y, concepts = data
    y = np.where(X[:, 4] > 0, "yes", "no")
    without = fit((X, y, concepts), residual_C=None).score(X, y)
    assert fit((X, y, concepts), residual_C=1.0).score(X, y) > without + 0.15


def test_logits_add_up(fitted, data):
    X, _, _ = data
    logits = fitted.transform(X) @ fitted.coef_.T + X @ fitted.residual_coef_.T
    logits += fitted.intercept_
    np.testing.assert_allclose(fitted.decision_function(X), logits, atol=1e-12)
    np.testing.assert_allclose(fitted.predict_proba(X), softmax(logits, axis=1))


def test_concepts_are_those_without(fitted, data):
    X, _, _ = data
    without = fit(data, residual_C=None)
    assert fitted.predict_concepts(X).equals(without.predict_concepts(X))
    np.testing.assert_array_equal(fitted.transform(X), without.transform(X))
    assert without.residual_coef_ is None
    assert without.residual_C_ is None


def test_correcting_concepts_keeps_the_residual(fitted, data):
    X, _, concepts = data
    logits = known_activations(fitted, X, concepts) @ fitted.coef_.T
    logits += X @ fitted.residual_coef_.T + fitted.intercept_
    np.testing.assert_allclose(fitted.intervene(X, concepts), softmax(logits, axis=1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_contributions_name_it_before_the_intercept(n_classes):
    X, _, _ = data = make_concept_data(n_classes=n_classes)
    clf = fit(data)
    contributions = clf.contributions(X)
    assert contributions.concepts[2:] == ("price", "not in the concepts", "intercept")
    assert "not in the concepts" in contributions.top(4)["concept"].tolist()
    found = np.asarray(contributions)
    assert found.shape == (len(X), n_classes, 3 + 2)
    logits = clf.decision_function(X)
    if n_classes == 2:
        logits = np.column_stack([-logits / 2, logits / 2])
    np.testing.assert_allclose(found.sum(axis=2), logits, atol=1e-12)
    residual = X @ clf.residual_coef_.T
    if n_classes == 2:
        residual = np.hstack([-residual / 2, residual / 2])
    np.testing.assert_allclose(found[:, :, 3], residual, atol=1e-12)


def test_weight_two_is_two_rows(data):
    X, y, concepts = data
    twice = np.arange(len(X)) % 3 == 0
    rows = np.concatenate([np.arange(len(X)), np.flatnonzero(twice)])
    double = fit((X[rows], y[rows], concepts.iloc[rows].reset_index(drop=True)))
    heavy = fit(data, sample_weight=1.0 + twice)
    np.testing.assert_allclose(heavy.residual_coef_, double.residual_coef_, atol=1e-7)
    np.testing.assert_allclose(heavy.predict_proba(X), double.predict_proba(X))


def test_fewer_rows_than_features():
    X, y, concepts = make_concept_data(40)
    X = np.hstack([X, np.random.default_rng(0).normal(size=(40, 60))])
    clf = fit((X, y, concepts), training="sequential")
    scale = np.sqrt(RESIDUAL_C / C)
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12)
    reference.fit(np.hstack([clf.transform(X), scale * X]), y)
    found = np.hstack([clf.coef_, clf.residual_coef_ / scale])
    np.testing.assert_allclose(found, reference.coef_, rtol=1e-5, atol=1e-7)


def test_single_precision_in_double_precision_out(data):
    X, y, concepts = data
    clf = fit((X.astype(np.float32), y, concepts))
    assert clf.residual_coef_.dtype == np.float64
    np.testing.assert_allclose(clf.residual_coef_, fit(data).residual_coef_, atol=1e-5)


def test_auto_chooses_the_other_penalties(data):
    clf = fit(data, C="auto", concept_C="auto")
    assert clf.residual_C_ == RESIDUAL_C
    given = fit(
        data,
        C=clf.C_,
        concept_C=dict(zip(clf.concept_names_in_, clf.concept_C_, strict=True)),
    )
    np.testing.assert_array_equal(clf.residual_coef_, given.residual_coef_)


def test_a_search_over_it(data):
    X, y, concepts = data
    grid = {"residual_C": [None, 1.0]}
    search = GridSearchCV(ConceptBottleneckClassifier(), grid, cv=2)
    search.fit(X, y, concepts=concepts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- Files and copies -----------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_it_comes_back(way, fitted, data, tmp_path):
    X, _, concepts = data
    if way == "file":
        save_model(fitted, tmp_path / "model.skclif")
        loaded = load_model(tmp_path / "model.skclif")
    else:
        loaded = pickle.loads(pickle.dumps(fitted))
    assert loaded.residual_C_ == loaded.residual_C == RESIDUAL_C
    np.testing.assert_array_equal(loaded.residual_coef_, fitted.residual_coef_)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(
        loaded.intervene(X, concepts), fitted.intervene(X, concepts)
    )


def test_files_without_one_are_as_before_there_was_any(data, tmp_path):
    X, _, _ = data
    plain, path = fit(data, residual_C=None), tmp_path / "model.skclif"
    save_model(plain, path)
    assert b"residual" not in path.read_bytes()
    loaded = load_model(path)
    assert loaded.residual_C is loaded.residual_coef_ is loaded.residual_C_ is None
    np.testing.assert_array_equal(loaded.predict_proba(X), plain.predict_proba(X))


def test_clones_and_second_fits(fitted, data):
    X, y, concepts = data
    assert clone(fitted).residual_C == RESIDUAL_C
    again = fit(data).set_params(residual_C=None).fit(X, y, concepts=concepts)
    assert again.residual_coef_ is None
    np.testing.assert_array_equal(
        again.predict_proba(X), fit(data, residual_C=None).predict_proba(X)
    )


def test_what_was_pickled_before_has_none(data):
    state = vars(fit(data, residual_C=None)).copy()
    for name in ("residual_C", "residual_coef_", "residual_C_"):
        del state[name]
    old = upgraded(state)
    assert old["residual_C"] is old["residual_coef_"] is old["residual_C_"] is None


# --- scikit-learn's checks ------------------------------------------------------------


class Annotated(ConceptBottleneckClassifier):
    """A bottleneck with one concept, which a row's first feature decides."""

    def fit(self, X, y, sample_weight=None):
        try:
            rows = X.toarray() if sparse.issparse(X) else np.asarray(X, dtype=float)
            odd = np.floor(7.3 * rows[:, 0]) % 2
        except (ValueError, TypeError, IndexError):  # what is wrong is said by fit
            return super().fit(X, y, sample_weight)
        concepts = np.where(odd, "odd", "even")[:, None]
        return super().fit(X, y, sample_weight, concepts=concepts)


@pytest.mark.slow
@parametrize_with_checks([Annotated(residual_C=0.1)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_the_tag_says_that_sparse_features_are_refused():
    assert not get_tags(ConceptBottleneckClassifier(residual_C=1)).input_tags.sparse
    assert get_tags(ConceptBottleneckClassifier()).input_tags.sparse


# --- What is refused ------------------------------------------------------------------


def test_it_needs_concepts(data):
    X, y, _ = data
    clf = ConceptBottleneckClassifier(residual_C=0.1)
    with pytest.raises(ValueError, match="residual_C=0.1 needs concepts.*Pass conc"):
        clf.fit(X, y)


def test_it_needs_dense_features():
    X, y, concepts = make_sparse_data()
    with pytest.raises(ValueError, match="residual_C=0.05 needs dense.*200.*Truncat"):
        fit((X, y, concepts))


def test_dense_and_sparse_rows_predict_the_same(fitted, data):
    X, _, _ = data
    rows = sparse.csr_array(X[:5])
    np.testing.assert_allclose(fitted.predict_proba(rows), fitted.predict_proba(X[:5]))
    np.testing.assert_allclose(
        fitted.decision_function(rows), fitted.decision_function(X[:5])
    )


def test_its_penalty_is_named_where_a_fit_ends_early(data):
    with pytest.warns(ConvergenceWarning, match="or lower C, residual_C and concept_C"):
        fit(data, max_iter=1)


@pytest.mark.parametrize("value", [0, -1.0, "auto", np.inf])
def test_values_of_no_use(value, data):
    with pytest.raises(ValueError, match="'residual_C' parameter of Concept"):
        fit(data, residual_C=value)


def test_no_concept_has_its_name(data):
    X, y, concepts = data
    concepts = concepts.rename(columns={"food": "not in the concepts"})
    with pytest.raises(ValueError, match="cannot be named 'not in the concepts'"):
        fit((X, y, concepts))
