"""Rows that an edit adds: annotations and their weights go by name."""

import numpy as np
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from ..data import make_concept_data


@pytest.mark.parametrize("n_named", [2, 3])
def test_annotations_and_weights_in_another_order(n_named):
    X, y, concepts = make_concept_data(80)
    names = list(concepts.columns)[:n_named]
    weights = np.random.default_rng(0).uniform(0.5, 2, size=(10, n_named))
    fitted, new = slice(0, 70), slice(70, 80)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(tol=1e-10))
    explainer.fit(X[fitted], y[fitted], concepts=concepts[fitted])
    found = []
    for order in (np.arange(n_named), np.arange(n_named)[::-1]):
        added = {"X": X[new], "y": y[new]}
        added["concepts"] = concepts[new][[names[j] for j in order]]
        added["concept_sample_weight"] = weights[:, order]
        found.append(explainer.edit(add=added).estimator.predict_proba(X))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-9)
