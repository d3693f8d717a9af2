"""What makes first-order influence fast must not show in its answers."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.collect import KeepAll, KeepTop
from skclif._inputs.annotations import Annotations
from skclif._models.fitted import FittedHeads
from skclif._models.linear import training_rows
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.hessians import factorise
from skclif.numerics.targets import LabelTarget

C = 10.0
N_FEATURES = 24


def _given(n_rows, *, spread=1.0, seed=0):
    """Return features that share a direction, codes of annotations, labels."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((n_rows, N_FEATURES))
    X = rng.standard_normal((n_rows, 1)) + spread * own
    X = X.astype(np.float32)
    noise = rng.standard_normal((n_rows, 4))
    concepts = np.digitize(own[:, :4] + noise, [-0.5, 0.7]).astype(float)
    concepts[:, 1] = concepts[:, 1] > 0  # two values
    concepts[:, 2] = own[:, 2] + noise[:, 2]  # a number
    concepts[rng.random(concepts.shape) < 0.2] = np.nan
    y = np.digitize(own[:, 0] + own[:, 5] + noise[:, 0], [-1, 0, 1])
    return X, concepts, y


def _prepared(n_rows, *, bottleneck, spread=1.0, **params):
    """Return a fitted bottleneck, its data and targets, all in double precision."""
    X, concepts, y = _given(n_rows, spread=spread)
    X = X.astype(np.float64)
    concepts = concepts if bottleneck else None
    clf = ConceptBottleneckClassifier(C=C, concept_C=C, **params)
    clf.fit(X, y, concepts=concepts)
    data = training_rows(
        clf, X, y, np.ones(n_rows), Annotations.read(concepts, None, n_rows)
    ).data()
    new, _, codes = _given(20, spread=spread, seed=1)
    rows = torch.from_numpy(new.astype(np.float64))
    return (
        FittedHeads.of(clf).tensors(),
        data,
        rows,
        LabelTarget("loss", torch.from_numpy(codes)),
    )


def _factors(fitted, data, dtype, **kwargs):
    n_concepts = len(fitted.concepts)
    penalties = {"penalty": 1 / C, "concept_penalties": torch.ones(n_concepts) / C}
    return factorise(fitted, data, dtype=dtype, **penalties, **kwargs)


def _influence(fitted, data, rows, target, dtype, **kwargs):
    factors = _factors(fitted, data, dtype, **kwargs)
    adjoint = solve_adjoint(fitted, factors, target.derivatives(fitted, rows))
    answers = first_order(fitted, data, adjoint, dtype=factors.dtype, **kwargs)
    return torch.cat([part for _, part in answers], dim=1), factors


def _distance(own, other):
    return float((own.double() - other).norm() / other.norm())


@pytest.mark.parametrize("n_rows", [300, 5000])
@pytest.mark.parametrize(
    "params",
    [
        {"bottleneck": False},
        {"bottleneck": True},
        {"bottleneck": True, "training": "sequential"},
        {"bottleneck": True, "training": "independent"},
    ],
    ids=["one head", "mixed", "sequential", "independent"],
)
def test_single_precision_is_within_2e_5(params, n_rows):
    prepared = _prepared(n_rows, **params)
    exact, _ = _influence(*prepared, torch.float64)
    single, factors = _influence(*prepared, torch.float32)
    assert factors.dtype == single.dtype == torch.float32
    assert factors.label.factor.dtype == torch.float64
    assert _distance(single, exact) < 2e-5
    for path in range(exact.shape[2]):
        assert _distance(single[:, :, path], exact[:, :, path]) < 2e-5


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("spread", [0.3, 0.1, 0.03, 0.01, 1e-3])
def test_single_precision_gives_way_to_double_where_it_would_cost_more(
    spread, bottleneck
):
    prepared = _prepared(1000, bottleneck=bottleneck, spread=spread)
    exact, _ = _influence(*prepared, torch.float64)
    single, factors = _influence(*prepared, torch.float32)
    assert _distance(single, exact) < 2e-5
    if spread <= 0.03:
        assert factors.dtype == single.dtype == torch.float64
        torch.testing.assert_close(single, exact, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_what_single_precision_cannot_hold_gives_way_to_double(scale):
    """Squares of the features overflow, or vanish."""
    fitted, data, rows, target = _prepared(300, bottleneck=False)
    weights = fitted.label_parameters.clone()
    weights[:, :-1] /= scale
    fitted = replace(fitted, label_parameters=weights)
    data = replace(data, features=data.features * scale)
    penalties = {"penalty": 0.1 * scale**2, "concept_penalties": torch.ones(0)}
    factors = factorise(fitted, data, dtype=torch.float32, **penalties)
    assert factors.dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bottleneck", [False, True])
def test_block_size_shows_in_rounding_only(bottleneck, dtype):
    prepared = _prepared(300, bottleneck=bottleneck)
    whole, _ = _influence(*prepared, dtype, block_rows=1000)
    atol = 300 * torch.finfo(dtype).eps * float(whole.abs().max())
    for block_rows in (1, 7, 128):
        parts, _ = _influence(*prepared, dtype, block_rows=block_rows)
        torch.testing.assert_close(parts, whole, rtol=0, atol=atol)


def _explainer(X, y, concepts, clf=None):
    clf = clf or ConceptBottleneckClassifier(C=C, concept_C=C)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    return explainer.fit(X, y, concepts=concepts)


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_products_are_in_the_precision_of_the_features(container):
    X, concepts, y = _given(300)
    if container is pd.DataFrame:
        X = pd.DataFrame(X).add_prefix("x")
    single = _explainer(X, y, concepts)
    double = _explainer(X.astype(np.float64), y, concepts)
    assert single._solved.factors.dtype == torch.float32
    assert double._solved.factors.dtype == torch.float64
    own = single.influence(X, y, paths=True).values
    other = double.influence(X.astype(np.float64), y, paths=True).values
    assert own.dtype == other.dtype == np.float64
    assert 0 < np.linalg.norm(own - other) < 2e-5 * np.linalg.norm(other)
    # The optimum is that of double precision either way.
    assert single.estimator_.coef_.tobytes() == double.estimator_.coef_.tobytes()


def test_one_column_in_double_precision_asks_for_double():
    X, concepts, y = _given(300)
    frame = pd.DataFrame(X).add_prefix("x").astype({"x3": np.float64})
    assert _explainer(frame, y, concepts)._solved.factors.dtype == torch.float64


def test_leverage_with_factors_of_single_precision():
    X, concepts, y = _given(300)
    single = _explainer(X, y, concepts).set_params(method="leverage")
    double = _explainer(X.astype(np.float64), y, concepts)
    own = single.influence(X[:10], y[:10]).values
    other = double.set_params(method="leverage").influence(X[:10], y[:10]).values
    assert np.linalg.norm(own - other) < 2e-5 * np.linalg.norm(other)


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("sizes", [[4, 1, 7], [12], [3, 3, 3, 3]])
def test_collectors_put_blocks_where_they_belong(sizes, paths):
    values = np.random.default_rng(0).standard_normal((5, 12, 3))
    whole = values if paths else values.sum(axis=2)
    everything = KeepAll.in_memory(5, 12, 3, paths=paths)
    top = KeepTop(5, 12, 20, 3, paths=paths)
    bounds = np.cumsum([0, *sizes])
    for targets in (slice(0, 2), slice(2, 5)):
        for start, stop in pairwise(bounds.tolist()):
            part = values[targets, start:stop]
            everything.add(targets, slice(start, stop), part)
            top.add(targets, slice(start, stop), part)
    np.testing.assert_allclose(everything.values, whole, rtol=1e-14)
    order = np.argsort(-np.abs(values.sum(axis=2)), axis=1)  # 20 of 12 are all
    np.testing.assert_array_equal(top.rows, order)
    expanded = order[:, :, None] if paths else order
    np.testing.assert_allclose(
        top.values, np.take_along_axis(whole, expanded, axis=1), rtol=1e-14
    )


@pytest.mark.parametrize("paths", [False, True])
@pytest.mark.parametrize("sizes", [[24], [5, 19], [1] * 24, [8, 8, 8]])
def test_the_top_is_that_of_a_stable_sort(sizes, paths):
    rng = np.random.default_rng(0)
    values = rng.integers(-4, 5, (6, 24, 2)).astype(float)  # with many ties
    values[0, ::2], values[1] = np.nan, np.nan
    values[2, 3:] = 0
    top = KeepTop(6, 24, 4, 2, paths=paths)
    bounds = np.cumsum([0, *sizes])
    for start, stop in pairwise(bounds.tolist()):
        top.add(slice(0, 6), slice(start, stop), values[:, start:stop])
    sums = values.sum(axis=2)
    order = np.argsort(-np.abs(sums), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(top.rows, order)
    whole, at = (values, order[:, :, None]) if paths else (sums, order)
    np.testing.assert_array_equal(top.values, np.take_along_axis(whole, at, axis=1))


MEMORY = """
from pathlib import Path
import numpy as np
from sklearn.linear_model import LogisticRegression
from skclif import ConceptInfluenceExplainer

rng = np.random.default_rng(0)
X = rng.standard_normal((40_000, 60), dtype=np.float32)
y = (X[:, 0] + rng.standard_normal(40_000) > 0).astype(int)
explainer = ConceptInfluenceExplainer(LogisticRegression(), method="first_order")
explainer.fit(X, y)
explainer.influence(X[:3], y[:3], top=5)  # whatever a first call keeps

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

Path("/proc/self/clear_refs").write_text("5")  # forget the peak
before = status("VmRSS")
explainer.influence(X[:600], y[:600])
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_the_whole_answer_is_held_once():
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    # In megabytes: 600 targets (two blocks of them) x 40,000 rows are 192 in float64.
    assert int(done.stdout) * 1024 / 1e6 < 1.2 * 192
