"""Models that an older skclif wrote mean what they meant, or are refused by name."""

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.frozen import FrozenEstimator

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    load_model,
    save_model,
)

OLD = json.loads(
    Path(__file__).with_name("old_models").joinpath("models.json").read_text()
)
X, Y = np.array(OLD["X"]), np.array(OLD["y"])
CONCEPTS = pd.DataFrame(OLD["concepts"])
SHARES = {"sequential": 0.0, "independent": 1.0}


def content(training, form):
    return base64.b64decode(OLD["models"][training][form])


@pytest.fixture(params=list(SHARES))
def training(request):
    return request.param


@pytest.fixture
def loaded(training, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content(training, "file"))
    return load_model(path)


@pytest.mark.filterwarnings("ignore:Correcting concepts")
def test_a_file_keeps_its_meaning(training, loaded, tmp_path):
    old = OLD["models"][training]
    assert loaded.training == training and loaded.intervention_prob is None
    assert loaded.intervention_prob_ == SHARES[training]
    assert loaded.C_ == loaded.C
    assert (loaded.concept_C_ == loaded.concept_C).all()
    np.testing.assert_allclose(loaded.predict_proba(X[:5]), old["proba"], rtol=1e-12)
    corrected = loaded.intervene(X[:5], CONCEPTS[:5])
    np.testing.assert_allclose(corrected, old["corrected"], rtol=1e-12)
    save_model(loaded, tmp_path / "again.safetensors")
    again = load_model(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), loaded.predict_proba(X))
    assert again.intervention_prob_ == SHARES[training]
    assert again.get_params() == loaded.get_params()


def test_fitting_again_gives_the_same_model(training, loaded):
    coef = loaded.coef_.copy()
    loaded.fit(X, Y, concepts=CONCEPTS)
    np.testing.assert_allclose(loaded.coef_, coef, rtol=1e-6, atol=1e-8)


def test_a_frozen_model_is_at_its_own_optimum(training, loaded):
    explainer = ConceptInfluenceExplainer(FrozenEstimator(loaded))
    explainer.fit(X, Y, concepts=CONCEPTS)
    fresh = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(**loaded.get_params())
    )
    fresh.fit(X, Y, concepts=CONCEPTS)
    own, other = (e.influence(X[:3], Y[:3]).values for e in (explainer, fresh))
    np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-8)
    edited = explainer.edit(y={3: 1}).estimator
    assert edited.intervention_prob_ == SHARES[training]


def test_pickles_and_skops_files_name_what_is_missing(training):
    """Their classes were in private modules, which have other names now."""
    with pytest.raises(ModuleNotFoundError, match=r"'skclif\._bottleneck'"):
        pickle.loads(content(training, "pickle"))
    stored = content(training, "skops")
    types = skops.io.get_untrusted_types(data=stored)
    assert types == ["skclif._bottleneck.ConceptBottleneckClassifier"]
    with pytest.raises(ModuleNotFoundError, match=r"'skclif\._bottleneck'"):
        skops.io.loads(stored, trusted=types)


@pytest.mark.parametrize("fitted", [False, True])
def test_a_state_without_what_is_new_is_completed(training, fitted):
    """As in pickles of versions whose classes already had public names."""
    clf = ConceptBottleneckClassifier(training=training, C=3.0)
    if fitted:
        clf.fit(X, Y, concepts=CONCEPTS)
    state = clf.__getstate__().copy()
    for name in ("intervention_prob", "C_", "concept_C_", "intervention_prob_"):
        state.pop(name, None)
    state.pop("_correction", None)
    older = ConceptBottleneckClassifier.__new__(ConceptBottleneckClassifier)
    older.__setstate__(state)
    assert older.get_params() == clf.get_params()
    if fitted:
        assert older.C_ == 3.0 and older.concept_C_.tolist() == [1.0, 1.0]
        assert older.intervention_prob_ == SHARES[training]
        np.testing.assert_array_equal(older.predict_proba(X), clf.predict_proba(X))
