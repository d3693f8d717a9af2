"""Invariances that must hold for any data (hypothesis draws it)."""

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

# Two fits of the same optimum differ by their gradient norms, 1e-10, over the
# curvature, at least 1/C = 1/2.
CLOSE = {"rtol": 1e-6, "atol": 1e-8}
PROFILE = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def problems(draw):
    """Draw X, y, concepts (some missing), weights and a training mode."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_samples = draw(st.integers(20, 40))
    n_classes = draw(st.integers(2, 4))
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    X = rng.normal(size=(n_samples, draw(st.integers(2, 30))))
    y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, n_samples - n_classes)]
    concepts = pd.DataFrame(index=range(n_samples), dtype=object)
    for j, m in enumerate(sizes):
        values = np.r_[np.arange(m), rng.integers(0, m, n_samples - m)]
        concepts[f"c{j}"] = [f"v{value}" for value in values]
    holes = rng.random(concepts.shape) < draw(st.sampled_from([0.0, 0.4]))
    holes[:4] = False
    weights = rng.uniform(0.3, 2, n_samples)
    training = draw(st.sampled_from(["mixed", "sequential", "independent"]))
    return X, y, concepts.mask(holes), weights, training


def _explain(X, y, concepts, weights, training, method="leverage"):
    clf = ConceptBottleneckClassifier(training=training, C=2.0, tol=1e-10)
    explainer = ConceptInfluenceExplainer(clf, method=method)
    return explainer.fit(X, y, weights, concepts=concepts)


def _answers(explainer, X, y):
    """Return probabilities, concept effects and influence by path."""
    influence = explainer.influence(X[:5], y[:5], paths=True).values
    return explainer.predict_proba(X), explainer.transform(X), influence


def _assert_close(own, other):
    for a, b in zip(own, other, strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)


@PROFILE
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(problem, random):
    X, y, concepts, weights, training = problem
    order = random.sample(range(len(X)), len(X))
    own = _explain(X, y, concepts, weights, training)
    other = _explain(X[order], y[order], concepts.iloc[order], weights[order], training)
    proba, effects, influence = _answers(own, X, y)
    _assert_close((proba, effects, influence[:, order]), _answers(other, X, y))


@PROFILE
@given(problems())
def test_the_names_of_classes_do_not_matter(problem):
    X, y, concepts, weights, training = problem
    renamed = np.array(["z", "m", "a", "k"])[y]
    own = _explain(X, y, concepts, weights, training)
    other = _explain(X, renamed, concepts, weights, training)
    proba, effects, influence = _answers(own, X, y)
    order = np.argsort(np.array(["z", "m", "a", "k"])[: y.max() + 1])
    _assert_close((proba[:, order], effects, influence), _answers(other, X, renamed))


@PROFILE
@given(problems())
def test_a_row_of_weight_two_is_two_rows(problem):
    X, y, concepts, weights, training = problem
    doubled = weights.copy()
    doubled[3] *= 2
    # Only derivatives add up over copies; removals do not.
    own = _explain(X, y, concepts, doubled, training, "first_order")
    again = np.r_[np.arange(len(X)), 3]
    X_2, y_2, concepts_2 = X[again], y[again], concepts.iloc[again]
    other = _explain(X_2, y_2, concepts_2, weights[again], training, "first_order")
    proba, effects, influence = _answers(own, X, y)
    proba_2, effects_2, influence_2 = _answers(other, X, y)
    influence_2[:, 3] += influence_2[:, -1]
    _assert_close(
        (proba, effects, influence), (proba_2, effects_2, influence_2[:, :-1])
    )


@PROFILE
@given(problems())
def test_a_row_of_weight_zero_is_no_row(problem):
    X, y, concepts, weights, training = problem
    kept = np.arange(len(X) - 1)
    weightless = np.r_[weights[:-1], 0]
    own = _explain(X, y, concepts, weightless, training)
    other = _explain(X[kept], y[kept], concepts.iloc[kept], weights[kept], training)
    proba, effects, influence = _answers(own, X, y)
    assert (influence[:, -1] == 0).all()
    _assert_close((proba, effects, influence[:, :-1]), _answers(other, X, y))


@PROFILE
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_concepts_does_not_matter(problem, random):
    X, y, concepts, weights, training = problem
    order = random.sample(range(concepts.shape[1]), concepts.shape[1])
    own = _explain(X, y, concepts, weights, training)
    other = _explain(X, y, concepts.iloc[:, order], weights, training)
    proba, effects, influence = _answers(own, X, y)
    paths = [0, *(1 + j for j in order), 1 + len(order)]
    _assert_close(
        (proba, effects[:, order], influence[:, :, paths]), _answers(other, X, y)
    )


@PROFILE
@given(problems())
def test_the_weighted_influence_of_all_paths_of_a_concept_head_balances(problem):
    """Scaling every weight of the label head acts like scaling C.

    The sum over rows of the label path is therefore the derivative of the target in
    the logarithm of C, which finite differences of C give too.
    """
    X, y, concepts, weights, training = problem
    step = 1e-4
    losses = []
    for C in (2 * (1 + step), 2 * (1 - step)):
        clf = ConceptBottleneckClassifier(training=training, C=C, tol=1e-11)
        clf.fit(X, y, weights, concepts=concepts)
        codes = np.searchsorted(clf.classes_, y[:5])
        losses.append(-np.log(clf.predict_proba(X[:5])[np.arange(5), codes]))
    difference = (losses[0] - losses[1]) / (2 * step)
    explainer = _explain(X, y, concepts, weights, training, "first_order")
    label = explainer.influence(X[:5], y[:5], paths=True).values[:, :, 0]
    # Differences of fits to 1e-11 over a step of 1e-4.
    np.testing.assert_allclose(label.sum(axis=1), difference, rtol=1e-4, atol=1e-6)
