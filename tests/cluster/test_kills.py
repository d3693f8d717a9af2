"""A worker that dies in the middle changes nothing in the result."""

import threading

import numpy as np

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._cluster.passes import RemoteData

from .collections import as_array, as_frame
from .test_fit import assert_same


def after(n_passes, kill, monkeypatch):
    """Kill a worker while the n-th pass from now on runs; return when it did."""
    done, total = [], RemoteData.total

    def passing(self, *args, **kwargs):
        done.append(1)
        if len(done) == n_passes:
            threading.Timer(0.005, kill).start()
        return total(self, *args, **kwargs)

    monkeypatch.setattr(RemoteData, "total", passing)
    return done


def test_a_fit_and_an_influence_survive_a_kill(client, reviews, kill_one, monkeypatch):
    X, y, concepts, weights = reviews
    model = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(model, method="first_order")
    here = explainer.fit(X, y, weights, concepts=concepts).influence(X[:3], top=5)
    arguments = (
        as_array(X, (60,) * 4),
        as_array(y, (120, 120)),
        as_array(weights, (240,)),
    )

    passes = after(5, kill_one, monkeypatch)
    there = ConceptInfluenceExplainer(model)
    there.fit(*arguments, concepts=as_frame(concepts, (100, 140)))
    assert len(passes) > 5
    assert_same(there.estimator_, explainer.estimator_)

    client.wait_for_workers(2, timeout=120)
    passes = after(1, kill_one, monkeypatch)
    found = there.influence(X[:3], top=5)
    assert passes
    np.testing.assert_array_equal(found.rows, here.rows)
    np.testing.assert_allclose(found.values, here.values, rtol=0, atol=1e-6)
    client.wait_for_workers(2, timeout=120)
    assert len(set(kill_one.killed)) == 2
