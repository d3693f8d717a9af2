"""Tensors of PyTorch where arrays are taken: the same numbers, or a clear error."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)
from skclif._explain.drift.arguments import check_new_groups
from skclif._explain.requests import check_groups
from skclif._inputs.tensors import as_array
from skclif.metrics import (
    cace,
    counterfactual_pairs,
    icace,
    icace_error,
    order_faithfulness,
)
from skclif.metrics._bottleneck_report import _units
from skclif.metrics._influence_scores import _check_influence, _check_sizes
from skclif.targets import expected_cost, from_function, worst_group_loss


@pytest.fixture(scope="module")
def data():
    """Return numbers that all float types hold, labels, annotations and weights."""
    rng = np.random.default_rng(0)
    X = rng.integers(-8, 8, (40, 4)) / 4
    concepts = (X[:, :2] + rng.integers(-1, 2, (40, 2)) > 0).astype(np.int64)
    y = (X.sum(axis=1) + concepts[:, 0] > 0).astype(np.int64)
    return X, y, concepts, rng.integers(1, 3, 40).astype(float)


def _tensors(*arrays):
    return [torch.from_numpy(array.copy()) for array in arrays]


FORMS = {
    "float64": lambda X: X,
    "float32": lambda X: X.float(),
    "float16": lambda X: X.half(),
    "bfloat16": lambda X: X.bfloat16(),
    "gradient": lambda X: X.requires_grad_(),
    "of a graph": lambda X: X.float().requires_grad_() * 1,
    "parameter": lambda X: torch.nn.Parameter(X),
    "column-major": lambda X: X.T.contiguous().T,
    "strided": lambda X: torch.stack([X, X + 1], dim=2)[:, :, 0],
    "reversed": lambda X: X.flip(1).flip(1),
    "negated": lambda X: torch._neg_view(-X),
    "expanded": lambda X: X[None].expand(2, -1, -1)[1],
}


@pytest.mark.parametrize("form", FORMS)
def test_features(data, form):
    X, y, concepts, _ = data
    tensor = FORMS[form](_tensors(X)[0])
    clf = ConceptBottleneckClassifier().fit(tensor, y, concepts=concepts)
    expected = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(clf.coef_, expected.coef_)
    for method in ("predict", "predict_proba", "transform"):
        found = getattr(clf, method)(tensor)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, getattr(expected, method)(X))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.bool])
def test_whole_numbers_and_flags_are_numbers(data, dtype):
    X, y, concepts, _ = data
    tensor = (_tensors(X)[0] > 0).to(dtype)
    clf = ConceptBottleneckClassifier().fit(tensor, y, concepts=concepts)
    expected = ConceptBottleneckClassifier().fit(X > 0, y, concepts=concepts)
    np.testing.assert_array_equal(clf.coef_, expected.coef_)


@pytest.mark.parametrize(
    "form", [FORMS["gradient"], FORMS["bfloat16"]], ids=["gradient", "bfloat16"]
)
def test_labels_annotations_and_weights(data, form):
    X, y, concepts, weights = data
    others = _tensors(y, concepts, weights, np.ones(concepts.shape))
    y_, concepts_, weights_, of_concepts = (form(other.double()) for other in others)
    clf = ConceptBottleneckClassifier().fit(
        X, y_, weights_, concepts=concepts_, concept_sample_weight=of_concepts
    )
    expected = ConceptBottleneckClassifier().fit(X, y, weights, concepts=concepts)
    np.testing.assert_array_equal(clf.coef_, expected.coef_)
    assert clf.score(X, y_, weights_) == expected.score(X, y, weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "estimator",
    [
        ConceptBottleneckClassifier(),
        make_pipeline(StandardScaler(), ConceptBottleneckClassifier()),
        LogisticRegression(),
    ],
    ids=["bottleneck", "pipeline", "logistic"],
)
def test_explainer(data, estimator, dtype):
    X, y, concepts, weights = data
    X = X.astype(dtype)
    concepts = None if isinstance(estimator, LogisticRegression) else concepts
    explainers = [ConceptInfluenceExplainer(estimator) for _ in range(2)]
    X_, y_, weights_ = _tensors(X, y, weights)
    X_, weights_ = X_.requires_grad_(), weights_.requires_grad_()
    concepts_ = None if concepts is None else torch.from_numpy(concepts)
    explainers[0].fit(X_, y_, weights_, concepts=concepts_)
    explainers[1].fit(X, y, weights, concepts=concepts)
    assert explainers[0]._dtype == dtype
    for name, one, other in (
        ("predict_proba", (X_,), (X,)),
        ("predict", (X_,), (X,)),
        ("transform", (X_,), (X,)),
    ):
        found, expected = getattr(explainers[0], name), getattr(explainers[1], name)
        np.testing.assert_array_equal(found(*one), expected(*other))
    groups = np.arange(40) % 20
    for more in ({}, {"groups": groups}):
        given = {name: torch.from_numpy(value) for name, value in more.items()}
        found = explainers[0].influence(X_[:3], y_[:3], **given).values
        expected = explainers[1].influence(X[:3], y[:3], **more).values
        np.testing.assert_array_equal(found, expected)


def test_features_of_an_explainer_are_its_own(data):
    X, y, concepts, _ = data
    tensor = torch.from_numpy(X.copy())
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(tensor, y, concepts=concepts)
    before = explainer.influence(X[:2], y[:2]).values
    tensor.zero_()
    del explainer._solved
    np.testing.assert_array_equal(explainer.influence(X[:2], y[:2]).values, before)


@pytest.mark.filterwarnings("ignore::skclif.exceptions.ReweightingWarning")
def test_reweighter(data):
    X, y, _, weights = data
    clean = np.arange(40) % 2 == 0
    X_, y_, weights_, clean_ = _tensors(X, y, weights, clean)
    made = [
        InfluenceReweighter(LogisticRegression(), n_rounds=1, random_state=0)
        for _ in range(2)
    ]
    made[0].fit(X_.requires_grad_(), y_, weights_.requires_grad_(), is_clean=clean_)
    made[1].fit(X, y, weights, is_clean=clean)
    np.testing.assert_array_equal(made[0].sample_weight_, made[1].sample_weight_)
    for method in ("predict", "predict_proba", "decision_function"):
        found = getattr(made[0], method)(X_)
        np.testing.assert_array_equal(found, getattr(made[1], method)(X))


def test_tensors_are_split_by_searches(data):
    X, y, _, _ = data
    X_, y_ = _tensors(X, y)
    found = cross_val_score(ConceptBottleneckClassifier(), X_, y_, cv=2)
    expected = cross_val_score(ConceptBottleneckClassifier(), X, y, cv=2)
    np.testing.assert_array_equal(found, expected)


def test_lists_of_tensors_are_arrays(data):
    X, y, concepts, weights = data
    X_, y_, concepts_, weights_ = map(list, _tensors(X, y, concepts, weights))
    clf = ConceptBottleneckClassifier().fit(X_, y_, weights_, concepts=concepts_)
    expected = ConceptBottleneckClassifier().fit(X, y, weights, concepts=concepts)
    np.testing.assert_array_equal(clf.coef_, expected.coef_)
    named = pd.DataFrame(concepts, columns=["a", "b"])
    odd = named.assign(b=[row[1] for row in concepts_])  # each tensor is an object
    clf = ConceptBottleneckClassifier().fit(X, y, weights, concepts=odd)
    np.testing.assert_array_equal(clf.coef_, expected.coef_)


GROUPS = torch.tensor([0, 1, 0, 1], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    "given",
    [
        GROUPS,
        GROUPS.bfloat16(),
        list(GROUPS),
        tuple(GROUPS.detach()),
        pd.Series(list(GROUPS.detach())),
    ],
    ids=["gradient", "bfloat16", "list", "tuple", "series"],
)
def test_equal_tensors_are_one_group(given):
    assert check_groups(given, 4)[0].tolist() == [0, 1, 0, 1]
    assert worst_group_loss(given) == worst_group_loss([0.0, 1.0, 0.0, 1.0])
    assert check_new_groups(given, None, 4)[0].names == [0.0, 1.0]
    assert check_new_groups(None, given, 4)[0].codes.tolist() == [0, 1, 0, 1]
    assert _units(given, 4).tolist() == [0, 1, 0, 1]
    pairs = [
        counterfactual_pairs([[1], [2], [2], [1]], groups=each, edited=EDITED)
        for each in (given, [0, 1, 0, 1])
    ]
    pd.testing.assert_frame_equal(*pairs, check_dtype=False)


EDITED = [None, None, "concept0", "concept0"]


def test_numbers_of_metrics_and_targets():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4, 3))
    tensors = [torch.tensor(values, requires_grad=True) for values in (one, other)]
    for metric in (icace_error, order_faithfulness):
        assert metric(*tensors) == metric(one, other)
    pairs = counterfactual_pairs([[1], [2]], groups=[0, 0], edited=EDITED[1:3])
    np.testing.assert_array_equal(icace(tensors[0], pairs), icace(one, pairs))
    pd.testing.assert_frame_equal(cace(tensors[0][:2], pairs), cace(one[:2], pairs))
    costs = torch.tensor([[0.0, 1], [2, 0]], requires_grad=True)
    assert expected_cost(costs) == expected_cost([[0, 1], [2, 0]])
    values = from_function(max, torch.ones(2, requires_grad=True))._rows[0]
    assert values.tolist() == [1, 1]
    np.testing.assert_array_equal(_check_influence(tensors[0], 3), one)
    sizes = torch.tensor([0.25, 0.5], requires_grad=True)
    assert _check_sizes(sizes, np.arange(8) % 2).tolist() == [2, 4]


def test_rows_to_drop(data):
    X, y, concepts, _ = data
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    edited = explainer.edit(drop=torch.tensor([1, 3]))
    expected = explainer.edit(drop=[1, 3])
    np.testing.assert_array_equal(
        edited.explainer.predict_proba(X), expected.explainer.predict_proba(X)
    )
    with pytest.raises(TypeError, match="drop must be a list of rows.* got a mask"):
        explainer.edit(drop=torch.zeros(40, dtype=torch.bool))


def test_lists_of_tensors_that_make_no_array():
    match = "y is a list of tensors that do not make one array .* of one shape and type"
    for odd in ([torch.ones(1), torch.ones(2)], [torch.tensor(1), 2]):
        with pytest.raises(ValueError, match=match):
            as_array("y", odd)


ODD = {
    r"X is a sparse tensor \(sparse_coo\)\. Use X\.to_dense\(\), or": (
        lambda X: X.to_sparse()
    ),
    r"X is a sparse tensor \(sparse_csr\)": lambda X: X.to_sparse_csr(),
    r"X is a quantized tensor\. Use X\.dequantize": (
        lambda X: torch.quantize_per_tensor(X.float(), 0.1, 0, torch.qint8)
    ),
    r"X is a tensor of torch\.complex128\. Use X\.real": lambda X: X + 0j,
    r"X is a nested tensor.* Pad it by": (
        lambda X: torch.nested.nested_tensor([X[0], X[1]])
    ),
    r"X is a tensor on the device 'meta': it has no values": lambda X: X.to("meta"),
    r"X must be a table .*Expected 2D array, got 1D": lambda X: X[:, 0],
    r"X must be a table .*array with dim 3": lambda X: X[:, :, None],
    r"X has 3 features, but .* is expecting 4": lambda X: X[:, :3],
    r"X contains NaN": lambda X: X * torch.nan,
    r"X contains infinity": lambda X: X + torch.inf,
}


@pytest.mark.filterwarnings("ignore:(Sparse CSR|The PyTorch API of nested):UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:DeprecationWarning")
@pytest.mark.parametrize("message", ODD)
def test_what_is_no_table_of_numbers(data, message):
    X, y, concepts, _ = data
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    odd = ODD[message](torch.from_numpy(X.copy()))
    with pytest.raises((TypeError, ValueError), match=message):
        clf.predict(odd)


@pytest.mark.parametrize(
    "name", ["y", "concepts", "sample_weight", "concept_sample_weight"]
)
def test_errors_name_the_argument(data, name):
    X, y, concepts, weights = data
    given = {"y": y, "concepts": concepts, "sample_weight": weights}
    given["concept_sample_weight"] = np.ones(concepts.shape)
    given[name] = torch.from_numpy(given[name]) + 0j
    with pytest.raises(ValueError, match=rf"not supported: {name} is a tensor of"):
        ConceptBottleneckClassifier().fit(X, **given)
    given[name] = given[name].real.to_sparse()
    with pytest.raises(TypeError, match=rf"coo\)\. Use {name}\.to_dense\(\)\.$"):
        ConceptBottleneckClassifier().fit(X, **given)


def test_other_values_are_left_alone():
    for value in (None, [1], np.ones(2), "text"):
        assert as_array("X", value) is value


def test_an_array_shares_the_memory_of_its_tensor():
    tensor = torch.ones(2, 3, requires_grad=True)
    array = as_array("X", tensor)
    assert np.shares_memory(array, tensor.detach().numpy())


def test_checks_do_not_import_torch():
    code = (
        "import sys; from skclif._inputs.tensors import as_array; as_array('X', [1]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
