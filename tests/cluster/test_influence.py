"""Influence of rows on workers, beside that of the same rows in this process."""

import pickle
import weakref
from copy import copy

import numpy as np
import pandas as pd
import pytest

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    drift_report,
)

from .collections import as_array, as_frame

CHUNKS = (1, 0, 130, 0, 100, 9)
# A class without weight in the label head still has rows, with weights of their own.
MODEL = ConceptBottleneckClassifier(
    class_weight={"1 star": 0, "3 stars": 1, "5 stars": 2}
)


@pytest.fixture(scope="module")
def here(reviews):
    X, y, concepts, weights = reviews
    explainer = ConceptInfluenceExplainer(MODEL, method="first_order")
    return explainer.fit(X, y, weights, concepts=concepts)


@pytest.fixture(scope="module")
def there(client, reviews):
    X, y, concepts, weights = reviews
    return ConceptInfluenceExplainer(MODEL).fit(
        as_array(X, CHUNKS),
        y,
        as_array(weights, (240,)),
        concepts=as_frame(concepts, (200, 40)),
    )


def test_influence_is_that_of_the_same_rows_here(here, there, reviews):
    X, y, *_ = reviews
    for asked in ({"paths": True}, {"reduce": "mean"}, {"target": "margin"}):
        own = there.influence(X[:5], y[:5], **asked)
        its = here.influence(X[:5], y[:5], **asked)
        np.testing.assert_allclose(own.values, its.values, rtol=0, atol=1e-6)
        assert (own.method, own.paths, own.unit) == ("first_order", its.paths, its.unit)
        assert own.to_frame().columns.equals(its.to_frame().columns)
    np.testing.assert_allclose(
        there.mean_activations_, here.mean_activations_, rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(there.transform(X), here.transform(X), atol=1e-6)
    assert (there.n_samples_, there.damping_) == (240, 0)


@pytest.mark.parametrize("paths", [False, True])
def test_top_rows_have_the_names_that_they_have_here(here, there, reviews, paths):
    X, y, *_ = reviews
    own = there.influence(X[:4], y[:4], top=7, paths=paths)
    its = here.influence(X[:4], y[:4], top=7, paths=paths)
    np.testing.assert_array_equal(own.rows, its.rows)
    np.testing.assert_allclose(own.values, its.values, rtol=0, atol=1e-6)
    pd.testing.assert_frame_equal(own.top(3), its.top(3), atol=1e-6)
    assert len(own.training) == len(np.unique(own.rows))
    everything = there.influence(X[:1], y[:1], top=1000)
    assert everything.rows.shape == (1, 240)


@pytest.mark.parametrize("kind", [list, pd.Series, "array", "series"])
def test_groups_are_summed_where_rows_are(here, there, reviews, kind):
    X, y, *_ = reviews
    groups = np.array(["ann", "bob", "eve"])[np.arange(240) % 3]
    if kind == "array":
        given = as_array(groups, (7, 233))
    elif kind == "series":
        given = as_frame(pd.Series(groups), (240,))
    else:
        given = kind(groups)
    own = there.influence(X[:3], y[:3], groups=given, paths=True)
    its = here.influence(X[:3], y[:3], groups=groups, paths=True)
    np.testing.assert_array_equal(own.groups, its.groups)
    np.testing.assert_allclose(own.values, its.values, rtol=0, atol=1e-6)


def test_targets_may_lie_on_the_cluster(here, there, reviews):
    X, y, *_ = reviews
    own = there.influence(as_array(X[:6], (4, 2)), as_array(y[:6], (6,)), top=2)
    np.testing.assert_array_equal(own.rows, here.influence(X[:6], y[:6], top=2).rows)


def test_no_row_comes_to_this_process(client, brought):
    """What comes is totals, factors and what was asked for, however many the rows."""
    rng = np.random.default_rng(0)
    largest = []
    for n in (1000, 4000):
        X = rng.normal(size=(n, 3))
        concepts = np.where(X[:, :1] + rng.normal(size=(n, 1)) > 0, "yes", "no")
        y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
        chunks = (n // 2,) * 2
        brought()
        model = ConceptBottleneckClassifier(tol=0.01)  # few passes
        explainer = ConceptInfluenceExplainer(model).fit(
            as_array(X, chunks),
            as_array(y, chunks),
            concepts=as_array(concepts, chunks),
        )
        groups = as_array(np.arange(n) % 5, chunks)
        explainer.influence(X[:2], y[:2], top=3)
        explainer.influence(X[:2], y[:2], groups=groups)
        came = brought()
        assert len(came) > 10
        whole = b"".join(came)
        assert b"TrainingData" not in whole
        assert not any(row.tobytes() in whole for row in X)
        largest.append(max(map(len, came)))
    # Names of tasks are not always of the same length.
    assert largest[1] < largest[0] + 200 < 6000


def test_what_needs_rows_here_says_so(there, reviews):
    X, y, *_ = reviews
    with pytest.raises(
        ValueError, match="fitted to rows on a cluster. It has influence"
    ):
        there.suspect_labels()
    with pytest.raises(ValueError, match="fitted to rows on a cluster"):
        there.edit(drop=[1])
    for refused in (
        lambda: there.influence(X[:1], y[:1], top=2).words(0),
        lambda: there.validate(X[:3], y[:3]),
        lambda: there.smallest_flip_set(X[:1]),
        lambda: there.rank_concepts(X[:3], y[:3]),
        lambda: there.report(X[:3], y[:3]),
        lambda: drift_report(there, X, y),
    ):
        with pytest.raises(ValueError, match="fitted to rows on a cluster"):
            refused()
    assert "influence" in dir(there)
    with pytest.raises(ValueError, match="fitted to rows on a cluster"):
        pickle.loads(pickle.dumps(there)).influence(X[:1])
    newton = ConceptInfluenceExplainer(ConceptBottleneckClassifier(), method="newton")
    vars(newton).update({k: v for k, v in vars(there).items() if k not in ("method",)})
    with pytest.raises(
        ValueError, match="method='newton' removes rows that have to be"
    ):
        newton.influence(X[:1])


def test_a_result_keeps_no_rows_on_the_cluster(there, reviews):
    explainer = copy(there)
    explainer._solved = copy(there._solved)
    kept = weakref.ref(explainer._solved)
    result = explainer.influence(reviews[0][:1], top=2)
    del explainer
    assert kept() is None and len(result.rows)


def test_a_closed_client_is_named(there, reviews, monkeypatch):
    monkeypatch.setattr(there._solved.data.client, "status", "closed")
    with pytest.raises(RuntimeError, match="client by which this explainer was fitte"):
        there.influence(reviews[0][:1])


def test_groups_on_a_cluster_need_rows_there(client, here, there, reviews):
    X, y, *_ = reviews
    with pytest.raises(TypeError, match="needs groups in this process, got a Dask Arr"):
        here.influence(X[:1], groups=as_array(np.arange(240), (240,)))
    with pytest.raises(ValueError, match="groups has 3 rows, but X has 240"):
        there.influence(X[:1], groups=as_array(np.arange(3), (3,)))
    missing = pd.Series(["a"] * 239 + [None], dtype=object)
    with pytest.raises(ValueError, match=r"counted from training row \d+ of all"):
        there.influence(X[:1], groups=missing)
