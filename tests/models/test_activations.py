"""Another label head on the same concept heads is what a fit from zero gives."""

import numpy as np
import pytest

from skclif import ConceptBottleneckClassifier
from skclif._inputs.annotations import Annotations
from skclif._models.activations import KINDS, with_activations

from ..data import make_concept_data

X, Y, CONCEPTS = make_concept_data(100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"intervention_prob": 0.3, "C": 3.0},
        {"training": "independent", "class_weight": "balanced"},
        {"bottleneck": "logit", "C": "auto"},
        {"bottleneck": "hard", "concept_C": {"food": 1.0, "quiet": 3.0, "price": 0.3}},
        {"residual_C": 0.1, "C": "auto"},
    ],
    ids=["soft", "independent", "logit", "hard", "residual"],
)
def test_it_is_what_a_fit_gives(kind, options):
    weight = 1.0 + np.arange(100) % 3
    fitted = ConceptBottleneckClassifier(**options).fit(X, Y, weight, concepts=CONCEPTS)
    rows = X, Y, weight, Annotations.read(CONCEPTS, None, 100)
    before = fitted.predict_proba(X)
    twin = with_activations(fitted, kind, *rows)
    prob = 0.0 if kind == "logit" else fitted.intervention_prob_
    again = {**options, "bottleneck": kind, "training": "mixed"}
    again["intervention_prob"] = prob
    expected = ConceptBottleneckClassifier(**again)
    expected.fit(X, Y, weight, concepts=CONCEPTS)
    assert twin.get_params() == expected.get_params()
    assert (twin.C_, twin.intervention_prob_) == (expected.C_, prob)
    # Both stop at a gradient norm of 1e-8.
    np.testing.assert_allclose(
        twin.predict_proba(X), expected.predict_proba(X), atol=1e-7
    )
    np.testing.assert_array_equal(fitted.predict_proba(X), before)
