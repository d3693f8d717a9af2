"""Fits to rows on workers, beside the same fits in this process."""

import numpy as np
import pytest

from skclif import ConceptBottleneckClassifier

from .collections import as_array, as_frame

CHUNKS = {
    "one": (240,),
    "equal": (60,) * 4,
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
    model = ConceptBottleneckClassifier(class_weight="balanced")
    here = model.fit(X, y, weights, concepts=concepts)
    there = ConceptBottleneckClassifier(class_weight="balanced").fit(
        as_array(X, chunks),
        as_array(y, chunks),
        as_array(weights, (100, 140)),
        concepts=as_frame(concepts, (7, 0, 233)),
    )
    assert_same(there, here)
    assert there.n_features_in_ == 6
