"""Fits of many rows equal fits of the same rows in memory, whatever the options."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs import features as checked
from skclif._models import penalties
from skclif.numerics import bottleneck

pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")


@pytest.fixture(scope="module")
def data():
    """Rows in single precision, annotations of every kind with gaps, and weights."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 6)).astype(np.float32)
    scores = X @ rng.normal(size=(6, 4)) + rng.normal(size=(900, 4))
    values = np.digitize(scores[:, :2], [-1, 1]).astype(float)
    values[rng.random(values.shape) < 0.2] = np.nan
    concepts = pd.DataFrame(values, columns=["food", "noise"])
    concepts["price"] = scores[:, 2] + 0.5
    shares = 1 / (1 + np.exp(-scores[:, 3]))
    concepts["menu=bad"], concepts["menu=good"] = 1 - shares, shares
    y = np.digitize(scores.sum(axis=1) + rng.normal(size=900), [-3, 0, 3])
    weights = rng.uniform(0, 2, 900) * (rng.random(900) > 0.1)
    return X, y, concepts, weights


def _fit(data, **how):
    X, y, concepts, weights = data
    clf = ConceptBottleneckClassifier(concept_kinds={"price": "continuous"}, **how)
    return clf.fit(X, y, weights, concepts=concepts)


def _results(clf, data):
    X, _, concepts, _ = data
    found = [
        clf.coef_,
        clf.intercept_,
        *clf.concept_coef_,
        *clf.concept_intercept_,
        clf.predict_proba(X),
        clf.decision_function(X),
        clf.transform(X),
        *clf.predict_concept_proba(X).values(),
        clf.predict_concepts(X)["price"].to_numpy(dtype=float),
        clf.contributions(X).values,
        np.array([clf.C_, *clf.concept_C_]),
    ]
    if clf.bottleneck != "logit":
        found += [clf.intervene(X, concepts[["food", "price"]]), clf._correction]
    if clf.residual_coef_ is not None:
        found.append(clf.residual_coef_)
    return found


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"training": "sequential", "class_weight": "balanced"},
        {"training": "independent", "C": 1e3, "concept_C": 1e-2},
        {"bottleneck": "hard"},
        {"bottleneck": "logit", "residual_C": 0.5},
        {"label_head": "ordinal"},
        {"monotonic_cst": {"price": 1}, "residual_C": 0.1},
        {"training": "joint"},
        {"C": "auto", "concept_C": "auto"},
    ],
    ids=str,
)
def test_many_rows_give_the_model_of_the_same_rows_in_memory(how, data, monkeypatch):
    expected = _results(_fit(data, **how), data)
    monkeypatch.setattr(bottleneck, "LONG", 1)
    monkeypatch.setattr(checked, "COPY_AT_MOST", 1)
    if "auto" not in how.values():  # which are chosen from some rows
        monkeypatch.setattr(bottleneck, "solve_heads", None)
    found = _results(_fit(data, **how), data)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)


@pytest.mark.parametrize("first", [30, 400])
def test_rows_without_annotations_cost_no_accuracy(first, data, monkeypatch):
    X, y, concepts, weights = data
    rare = concepts.copy()
    rare.loc[first:, ["food", "price"]] = np.nan
    rare.loc[: 900 - first, "noise"] = np.nan
    rows = X, y, rare.drop(columns=["menu=bad", "menu=good"]), weights
    expected = _fit(rows)
    monkeypatch.setattr(bottleneck, "LONG", 1)
    found = _fit(rows)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)
    for one, other in zip(found.concept_coef_, expected.concept_coef_, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)


def test_separable_labels_at_almost_no_penalty(monkeypatch):
    X = np.random.default_rng(0).normal(size=(600, 8))
    y = X @ np.arange(8) > 0
    clf = ConceptBottleneckClassifier(C=1e10)
    expected = clf.fit(X, y).coef_
    monkeypatch.setattr(bottleneck, "LONG", 1)
    found = clf.fit(X, y)
    assert found.n_iter_ < 40
    np.testing.assert_allclose(found.coef_, expected, rtol=1e-6)


def test_rows_of_a_file_are_rows_of_an_array(data, monkeypatch, tmp_path):
    X, y, *_ = data
    expected = ConceptBottleneckClassifier().fit(X.astype(float), y)
    np.save(tmp_path / "X.npy", X)
    monkeypatch.setattr(checked, "COPY_AT_MOST", 1)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    found = ConceptBottleneckClassifier().fit(mapped, y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(
        found.predict_proba(mapped), expected.predict_proba(X), rtol=0, atol=1e-8
    )


def test_penalties_are_chosen_from_evenly_spaced_rows(data, monkeypatch):
    X, y, concepts, weights = data
    monkeypatch.setattr(penalties, "MOST_JUDGED", 450)
    found = _fit(data, C="auto", concept_C="auto")
    monkeypatch.undo()
    some = slice(None, None, 2)
    judged = _fit((X[some], y[some], concepts[some], weights[some]), concept_C="auto")
    np.testing.assert_array_equal(found.concept_C_, judged.concept_C_)
    assert not np.array_equal(found.concept_coef_[0], judged.concept_coef_[0])


def test_rows_that_judge_a_rare_concept_have_their_own_weights(data, monkeypatch):
    X, y, concepts, weights = data
    monkeypatch.setattr(penalties, "MOST_JUDGED", 100)
    rare = concepts[["noise"]].copy()
    rare.iloc[40:] = None  # of evenly spread rows, four or five are annotated
    model = ConceptBottleneckClassifier(concept_C="auto", C="auto")
    model.fit(X, y, weights, concepts=rare)
    assert 0 < model.concept_C_[0] < np.inf


def test_a_frozen_model_is_checked_on_many_rows(data, monkeypatch):
    X, y = data[0].astype(float), data[1]
    monkeypatch.setattr(bottleneck, "LONG", 1)
    explainer = ConceptInfluenceExplainer(
        FrozenEstimator(LogisticRegression(tol=1e-10, max_iter=500).fit(X, y))
    )
    assert explainer.fit(X, y).classes_.tolist() == [0, 1, 2, 3]
    rough = LogisticRegression(solver="lbfgs", max_iter=2)
    with pytest.warns(UserWarning, match="failed to converge"):
        rough.fit(X, y)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(rough))
    with pytest.raises(ValueError, match="is not at the optimum of these data"):
        explainer.fit(X, y)


def test_what_cannot_be_fitted_is_said_of_many_rows(data, monkeypatch):
    X, y, *_ = data
    monkeypatch.setattr(bottleneck, "LONG", 1)
    with pytest.raises(ValueError, match="in double precision.*with C=1e-320 and"):
        ConceptBottleneckClassifier(C=1e-320).fit(X, y)
    with pytest.warns(UserWarning, match="stopped at a gradient norm of .* raise max"):
        ConceptBottleneckClassifier(max_iter=1, tol=1e-12).fit(X, y)


_MEMORY = """
    import threading, time
    import numpy as np
    import pandas as pd
    from skclif import ConceptBottleneckClassifier

    X = np.load({path!r}, mmap_mode="r")
    y, concepts = np.arange(len(X)) % 2, pd.DataFrame({{"c": np.arange(len(X)) % 3}})

    def anonymous():
        for line in open("/proc/self/status"):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1000

    small = ConceptBottleneckClassifier(tol=1.0)
    small.fit(X[:1500].astype(float), y[:1500], concepts=concepts[:1500])
    before = most = anonymous()
    done = threading.Event()

    def watch():
        global most
        while not done.wait(0.005):
            most = max(most, anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    clf = ConceptBottleneckClassifier(tol=1.0).fit(X, y, concepts=concepts)
    clf.predict_proba(X)
    done.set()
    watcher.join()
    print(most - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_fit_takes_no_memory_for_a_copy_of_the_rows(tmp_path):
    path = tmp_path / "X.npy"
    shape = 90_000, 100
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    torch.manual_seed(0)
    out[:] = torch.randn(shape).numpy()
    out.flush()
    script = textwrap.dedent(_MEMORY).format(path=str(path))
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    # A copy in single precision has 36 MB, and one in double precision 72 MB.
    assert float(run.stdout) < 30, run.stderr
