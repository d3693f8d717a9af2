"""Fits, predictions and influence on a GPU: the numbers of the CPU.

Every test runs twice: on a GPU, where there is one, and on a device that is pretended,
where the numbers are those of the CPU and a tensor on the wrong device is an error.
"""

import contextlib
import gc

import numpy as np
import pytest
import torch

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif._inputs import features as inputs
from skclif._inputs.training_rows import TrainingRows
from skclif.numerics import estimates
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.hessians import factorise
from skclif.numerics.targets import LabelTarget

from ..data import make_concept_data
from .pretend import pretend_cuda

HAS_CUDA = torch.cuda.is_available()
DEVICE = "cuda:0"
# Sums in another order: what documentation promises, relative to the largest number.
CLOSE = 1e-8  # of fits, predictions, and influence in double precision
SINGLE = 2e-5  # of influence of features in single precision
NEWTON = 5e-4  # of newton, whose steps end there
needs_cuda = pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")


@pytest.fixture(
    params=[
        pytest.param("real", marks=[pytest.mark.gpu, needs_cuda]),
        pytest.param(
            "pretended",
            marks=pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device"),
        ),
    ]
)
def gpu(request, monkeypatch):
    """Return a context in which there is a GPU."""
    if request.param == "real":
        return contextlib.nullcontext
    return lambda **given: pretend_cuda(monkeypatch, **given)


@pytest.fixture(scope="module")
def data():
    X, y, concepts = make_concept_data(40)
    return X, y, concepts[["food", "quiet"]]


@pytest.fixture(scope="module")
def targets():
    return make_concept_data(7, seed=5)[:2]


@pytest.fixture
def stored(monkeypatch):
    """Leave small features in single precision as they are stored, too."""
    monkeypatch.setattr(inputs, "COPY_AT_MOST", 0)


def _close(found, expected, tolerance):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    size = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


ORDER = ["never", "perhaps", "again"]
BOUNDED = {"monotonic_cst": {"quiet": ["no", "yes"]}, "label_order": ORDER}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"C": "auto", "concept_C": "auto"},
        {"residual_C": 0.1, "bottleneck": "hard"},
        {"label_head": "ordinal", **BOUNDED},
    ],
    ids=["default", "auto", "residual", "ordinal"],
)
def test_fits_and_predictions(gpu, data, targets, options):
    X, y, concepts = data

    def numbers(device):
        clf = ConceptBottleneckClassifier(device=device, **options)
        clf.fit(X, y, concepts=concepts)
        parts = [clf.coef_, *clf.concept_coef_, clf.predict_proba(targets[0])]
        parts += [clf.transform(targets[0]), clf.contributions(targets[0]).values]
        return np.concatenate([np.ravel(part) for part in parts])

    with gpu():
        found = numbers(DEVICE)
    _close(found, numbers("cpu"), CLOSE)


def test_stages_that_are_trained_together(gpu, data, targets):
    X, y, concepts = data

    def numbers(device):
        clf = ConceptBottleneckClassifier(training="joint", device=device, tol=1e-4)
        return clf.fit(X[:30], y[:30], concepts=concepts[:30]).predict_proba(targets[0])

    with gpu():
        found = numbers(DEVICE)
    _close(found, numbers("cpu"), 1e-3)  # as near as `tol` asks for


def _influence(data, targets, method, device, dtype="float64", as_given=np.asarray):
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method=method, device=device
    )
    explainer.fit(as_given(X.astype(dtype)), y, concepts=concepts)
    of = as_given(targets[0].astype(dtype)), targets[1]
    values = explainer.influence(*of, paths=True).values
    return values, explainer


@pytest.mark.parametrize(
    ("method", "dtype", "tolerance"),
    [
        ("first_order", "float64", CLOSE),
        ("first_order", "float32", SINGLE),
        ("leverage", "float64", CLOSE),
        ("newton", "float32", NEWTON),
    ],
)
def test_influence(gpu, data, targets, method, dtype, tolerance):
    with gpu():
        found, _ = _influence(data, targets, method, DEVICE, dtype)
    _close(found, _influence(data, targets, method, "cpu", dtype)[0], tolerance)


@pytest.mark.parametrize("memory", [2**40, 10], ids=["moved once", "streamed"])
def test_removals_estimated_from_few_rows(
    gpu, data, targets, stored, memory, monkeypatch
):
    if HAS_CUDA:
        monkeypatch.setattr("skclif.numerics.stored.fits", lambda *_: memory > 10)
    monkeypatch.setattr(estimates, "LEAST_ROWS", 40)
    monkeypatch.setattr(estimates, "_SAMPLED", 4)
    with gpu(memory=memory):
        found, _ = _influence(data, targets, "newton", DEVICE, "float32")
    here, _ = _influence(data, targets, "newton", "cpu", "float32")
    _close(found, here, NEWTON)


@pytest.mark.parametrize("memory", [2**40, 10], ids=["moved once", "streamed"])
def test_features_that_stay_as_they_are_stored(
    gpu, data, targets, stored, memory, monkeypatch
):
    if HAS_CUDA:
        monkeypatch.setattr("skclif.numerics.stored.fits", lambda *_: memory > 10)
    given = (data, targets, "first_order")
    with gpu(memory=memory):
        found, explainer = _influence(*given, DEVICE, "float32")
        features = explainer._solved.data.features
        assert (features.values.device.type == "cuda") == (memory > 10)
    _close(found, _influence(*given, "cpu", "float32")[0], SINGLE)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensors_that_are_there_stay_there(gpu, data, targets, dtype):
    dtype = getattr(torch, dtype)

    def there(X):
        return torch.from_numpy(X).to(dtype).to(DEVICE).requires_grad_()

    def here(X):
        return torch.from_numpy(X).to(dtype).float().numpy()

    X, y, concepts = data
    with gpu() as mode:
        clf = ConceptBottleneckClassifier(device=DEVICE).fit(
            there(X), y, concepts=concepts
        )
        proba = clf.predict_proba(there(targets[0]))
        explainer = ConceptInfluenceExplainer(clf, method="first_order", device=DEVICE)
        explainer.fit(there(X), torch.from_numpy(np.unique(y, return_inverse=True)[1]))
        if mode is not None:  # what is pretended counts
            assert max(mode.brought_back) < X.size
    expected = ConceptBottleneckClassifier().fit(here(X), y, concepts=concepts)
    assert isinstance(proba, np.ndarray)
    _close(proba, expected.predict_proba(here(targets[0])), CLOSE)


def test_a_tensor_on_a_gpu_is_computed_with_on_the_cpu(gpu, data, targets):
    X, y, concepts = data
    with gpu():
        there = torch.from_numpy(X).to(DEVICE)
        labels = torch.from_numpy(np.unique(y, return_inverse=True)[1]).to(DEVICE)
        weights = torch.ones(len(X), device=DEVICE)
        clf = ConceptBottleneckClassifier().fit(
            there, labels, weights, concepts=concepts
        )
        found = clf.predict_proba(torch.from_numpy(targets[0]).to(DEVICE))
    expected = ConceptBottleneckClassifier().fit(X, labels.tolist(), concepts=concepts)
    np.testing.assert_array_equal(found, expected.predict_proba(targets[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X[:, 0], "X must be a table of finite numbers.* 1D array"),
        (lambda X: X[:0], "0 sample"),
        (lambda X: X[:, :2], "X has 2 features, but .* is expecting 6 features"),
        (lambda X: X * torch.nan, "Input X contains NaN"),
        (lambda X: X / 0, "Input X contains infinity"),
        (lambda X: X * 1e17, "X has values as large as"),
        (lambda X: X + 1j, "X is a tensor of torch.complex128"),
    ],
)
def test_tensors_that_are_refused(gpu, data, change, message):
    X, y, concepts = data
    with gpu():
        clf = ConceptBottleneckClassifier(device=DEVICE)
        clf.fit(X[:20], y[:20], concepts=concepts[:20])
        odd = change(torch.from_numpy(np.abs(X)).to(DEVICE))
        with pytest.raises(ValueError, match=message):
            clf.predict(odd)


def test_whole_numbers_on_a_gpu(gpu, data):
    X, y, concepts = data
    X = (10 * X).round().astype(int)
    with gpu():
        clf = ConceptBottleneckClassifier(device=DEVICE)
        clf.fit(torch.from_numpy(X).to(DEVICE), y, concepts=concepts)
    _close(
        clf.coef_,
        ConceptBottleneckClassifier().fit(X, y, concepts=concepts).coef_,
        1e-7,
    )


@pytest.mark.skipif(HAS_CUDA, reason="there is a CUDA device")
def test_no_block_of_rows_waits_for_the_device(data, targets, monkeypatch):
    """The computation of a block begins before the one before it has ended."""
    X, y, concepts = data
    rows = 4 * [*range(len(X))]
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X[rows], y[rows], concepts=concepts.iloc[rows])
    n_waits = []
    for block_rows in (len(rows), 20):
        with pretend_cuda(monkeypatch) as mode:
            _factorise_and_influence(explainer, targets, block_rows)
            n_waits.append(sum(mode.waits.values()))
    assert n_waits[0] == n_waits[1]


def _factorise_and_influence(explainer, targets, block_rows):
    heads, device = explainer._heads(), torch.device(DEVICE)
    bottleneck = heads.tensors(device)
    data = TrainingRows(**explainer._training).data().to(device)
    factors = factorise(bottleneck, data, **heads.penalties, block_rows=block_rows)
    features = torch.from_numpy(targets[0]).to(device)
    target = LabelTarget("loss", torch.zeros(len(features)).long().to(device))
    derivatives = target.derivatives(bottleneck, features)
    adjoint = solve_adjoint(bottleneck, factors, derivatives)
    for _ in first_order(bottleneck, data, adjoint, block_rows=block_rows):
        pass


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_settings_of_the_user_cost_no_digits(data, targets, precision):
    given = (data, targets, "first_order")
    expected, _ = _influence(*given, "cpu", "float32")
    torch.set_float32_matmul_precision(precision)
    try:
        found, _ = _influence(*given, DEVICE, "float32")
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")
    _close(found, expected, SINGLE)


@pytest.mark.gpu
@needs_cuda
def test_settings_of_the_user_move_no_vector(tiny_encoder):
    texts = ["a good soup", "the staff was slow, and the soup was cold"]
    options = {"model": tiny_encoder, "share_vectors": False}
    expected = SentenceEmbedder(**options).transform(texts)
    torch.set_float32_matmul_precision("high")
    try:
        found = SentenceEmbedder(device=DEVICE, **options).transform(texts)
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.gpu
@needs_cuda
def test_memory_does_not_grow_with_streamed_rows(stored, monkeypatch):
    """Of four times as many rows, four times the codes are there, but no features."""
    monkeypatch.setattr("skclif.numerics.stored.fits", lambda *_: False)
    rng = np.random.default_rng(0)

    def peak(n_rows):
        X = rng.normal(size=(n_rows, 256)).astype(np.float32)
        y, concepts = (X[:, 0] > 0).astype(int), (X[:, 1:3] > 0).astype(int)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(0)
        ConceptBottleneckClassifier(device=DEVICE).fit(X, y, concepts=concepts)
        return torch.cuda.max_memory_allocated(0)

    n_rows = 300_000
    assert peak(4 * n_rows) - peak(n_rows) < n_rows * 256 * 4
