"""Equal numbers give equal bits, however they lie in memory.

On some processors the bits of a product depend on whether its arguments are stored row
by row, so that one memory order has to be taken before any product.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    load_model,
    save_model,
)

from ..data import make_concept_data


def _column_major(array):
    return np.asfortranarray(array)


def _strided(array):
    wide = np.repeat(np.repeat(array, 2, axis=0), 3, axis=-1)
    return wide[::2, ::3] if array.ndim == 2 else wide[::6]


def _reversed(array):
    return array[::-1].copy()[::-1]


def _offset(array):
    """Return a copy that begins between the addresses that processors like."""
    raw = np.empty(array.nbytes + 1, dtype=np.uint8)
    copy = raw[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _shifted(array):
    """Return a copy that begins in the middle of a cache line."""
    raw = np.empty(array.size + 9)
    start = next(k for k in range(9) if raw[k:].ctypes.data % 64 == 24)
    copy = raw[start : start + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def _read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    "column_major": _column_major,
    "strided": _strided,
    "reversed": _reversed,
    "offset": _offset,
    "shifted": _shifted,
    "read_only": _read_only,
}


def _bits(*arrays):
    return [np.asarray(array).tobytes() for array in arrays]


def _problem(seed, n_samples=80, n_features=21):
    X, y, concepts = make_concept_data(n_samples, seed=seed)
    rng = np.random.default_rng(seed)
    X = np.hstack([X, rng.normal(size=(n_samples, n_features - X.shape[1]))])
    weights = rng.uniform(0.5, 2, size=n_samples)
    return X, y, concepts, weights, rng.uniform(0.5, 2, size=concepts.shape)


def _classifier(X, y, concepts, weights, concept_weights, training="sequential"):
    clf = ConceptBottleneckClassifier(training=training).fit(
        X, y, weights, concepts=concepts, concept_sample_weight=concept_weights
    )
    parameters = [clf.coef_, clf.intercept_, *clf.concept_coef_]
    return _bits(
        *parameters,
        *clf.concept_intercept_,
        clf.predict_proba(X),
        clf.decision_function(X),
        clf.transform(X),
        clf.contributions(X),
    )


def _explained(X, y, concepts, weights, concept_weights):
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(
        X, y, weights, concepts=concepts, concept_sample_weight=concept_weights
    )
    new = explainer.edit(
        drop=[3], sample_weight={5: 2.0}, add={"X": X[:4], "y": y[:4]}
    ).estimator
    suspects = explainer.suspect_labels().select_dtypes("number")
    return _bits(
        explainer.influence(X[:9], y[:9], paths=True).values,
        explainer.transform(X),
        suspects,
        new.coef_,
        *new.concept_coef_,
    )


def _logistic(X, y, concepts, weights, concept_weights):
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, y, weights)
    return _bits(explainer.influence(X[:9], y[:9]).values, explainer.estimator_.coef_)


def _reweighted(X, y, concepts, weights, concept_weights):
    clean = np.arange(len(X)) % 2 == 0
    model = InfluenceReweighter(ConceptBottleneckClassifier(), random_state=0)
    model.fit(X, y, weights, concepts=concepts, is_clean=clean)
    return _bits(model.sample_weight_, model.influence_, model.predict_proba(X))


ENTRIES = [_classifier, _explained, _logistic, _reweighted]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.__name__.strip("_"))
def test_layout_changes_no_bit(entry, layout):
    X, y, concepts, weights, concept_weights = _problem(0)
    lay = LAYOUTS[layout]
    found = entry(lay(X), y, concepts, lay(weights), lay(concept_weights))
    assert found == entry(X, y, concepts, weights, concept_weights)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 99),
    n_samples=st.integers(20, 130),
    n_features=st.integers(6, 140),
    layout=st.sampled_from(sorted(LAYOUTS)),
    training=st.sampled_from(["mixed", "sequential", "independent"]),
)
def test_no_size_lets_layout_through(seed, n_samples, n_features, layout, training):
    X, y, concepts, weights, concept_weights = _problem(seed, n_samples, n_features)
    lay = LAYOUTS[layout]
    other = lay(X), y, concepts, lay(weights), lay(concept_weights)
    expected = _classifier(X, y, concepts, weights, concept_weights, training)
    assert _classifier(*other, training) == expected


def test_tables_give_the_bits_of_arrays():
    # pandas keeps columns together, so that the values of a table are column-major.
    X, y, concepts, weights, concept_weights = _problem(1)
    table = pd.DataFrame({f"x{j}": column.copy() for j, column in enumerate(X.T)})
    assert np.asarray(table[:]).flags.f_contiguous
    found = _classifier(
        table, y, concepts, pd.Series(weights), pd.DataFrame(concept_weights)
    )
    assert found == _classifier(X, y, concepts, weights, concept_weights)


def test_layout_of_parameters_changes_no_bit(tmp_path):
    X, y, concepts, *_ = _problem(2)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    expected = _bits(clf.predict_proba(X), clf.decision_function(X))
    clf.coef_ = np.asfortranarray(clf.coef_)
    clf.concept_coef_ = [np.asfortranarray(coef) for coef in clf.concept_coef_]
    assert _bits(clf.predict_proba(X), clf.decision_function(X)) == expected
    save_model(clf, tmp_path / "model.safetensors")
    clf = load_model(tmp_path / "model.safetensors")
    assert _bits(clf.predict_proba(X), clf.decision_function(X)) == expected
