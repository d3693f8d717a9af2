"""What is learned of labels and annotations in blocks is what all rows together say."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skclif._cluster.learning import Learned, check_block_labels, joined
from skclif._inputs.annotations import Annotations
from skclif._inputs.checks import check_labels, check_weights
from skclif._inputs.learning import learn as learn_whole

N = 60
RNG = np.random.default_rng(0)
COLUMNS = {
    "words": np.where(RNG.random(N) < 0.5, "good", "bad").astype(object),
    "gaps": np.array(["a", None, "b"], dtype=object)[RNG.integers(0, 3, N)],
    "grades": RNG.integers(1, 6, N),
    "whole floats": RNG.integers(1, 6, N).astype(float),
    "amounts": RNG.integers(0, 1000, N),
    "numbers": RNG.normal(size=N).round(2),
    "late numbers": np.append(np.arange(N - 1) % 3, 0.5),
    "flags": RNG.random(N) < 0.5,
    "constant": np.full(N, "same"),
    "one number": np.full(N, 1.5),
    "text": np.array([f"row {i}" for i in range(N)], dtype=object),
    "mixed numbers": np.array([1, 2.5, True] * (N // 3), dtype=object),
}


def learn(column, kinds, blocks, weights=None, y=None):
    weights = np.ones(N) if weights is None else weights
    y = np.arange(N) % 2 if y is None else y
    frame = pd.DataFrame({"c": column})
    parts = []
    for rows in blocks:
        annotations = Annotations.read(frame[rows], None, len(frame[rows]))
        labels = check_block_labels(y[rows], len(y[rows]))
        parts.append(Learned.of(labels, y[rows], weights[rows], annotations, kinds))
    return joined(kinds, *parts)


def outcome(function):
    """Return what a function returns or raises, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function()
        except ValueError as error:
            found = str(error)
    return found, [(one.category, str(one.message)) for one in caught]


@pytest.mark.parametrize("kind", [None, "categorical", "continuous"])
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("n_blocks", [1, 7])
def test_a_concept_is_learned_as_from_all_rows(name, kind, n_blocks):
    column = COLUMNS[name]
    kinds = None if kind is None else {"c": kind}
    cuts = np.linspace(0, N, n_blocks + 1).astype(int)
    blocks = [slice(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    frame = pd.DataFrame({"c": column})
    annotations = Annotations.read(frame, None, N)
    whole, said = outcome(lambda: learn_whole(annotations, np.ones(N), kinds)[0])
    found, also = outcome(lambda: learn(column, kinds, blocks).schema(kinds))
    assert also == said
    if isinstance(whole, str):
        # Which of several odd values is named depends on the block that fails first.
        assert found.split("value")[0] == whole.split("value")[0]
        return
    assert found.names == whole.names and found.as_frame == whole.as_frame
    for own, other in zip(found.classes, whole.classes, strict=True):
        if other is None:
            assert own is None
        else:
            np.testing.assert_array_equal(own, other)
            assert own.dtype == other.dtype


def test_annotations_without_weight_are_not_learned():
    weights = np.ones(N)
    weights[COLUMNS["words"] == "bad"] = 0
    blocks = [slice(0, 30), slice(30, N)]
    with pytest.warns(UserWarning, match="only one observed value: 'c' \\('good'\\)"):
        schema = learn(COLUMNS["words"], None, blocks, weights).schema(None)
    assert schema.classes[0].tolist() == ["good"]


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", "longer"])[np.arange(N) % 2],
        np.arange(N) % 3,
        np.arange(N) % 2 == 0,
        pd.Series(np.array(["x", "y"])[np.arange(N) % 2]),
        np.append(np.arange(N // 2), np.arange(N // 2)),  # amounts
        np.arange(N),  # a class for each row
    ],
)
def test_labels_are_learned_as_from_all_rows(y):
    weights = RNG.choice([0, 1, 2], N).astype(float)
    found = learn(COLUMNS["words"], None, [slice(0, 20), slice(20, N)], weights, y)
    labels, said = outcome(lambda: check_labels(y, N))
    classes, codes = np.unique(labels, return_inverse=True)
    np.testing.assert_array_equal(found.labels, classes)
    assert found.labels.dtype == classes.dtype and found.n_rows == N
    np.testing.assert_allclose(found.weights, np.bincount(codes, weights))
    stand_in = found.stand_in()
    assert outcome(lambda: check_labels(stand_in, len(stand_in)))[1] == said


def test_labels_of_several_kinds_are_refused_wherever_they_are():
    y = np.array([1] * 30 + ["two"] * 30, dtype=object)
    with pytest.raises(ValueError, match="mixes values that cannot be ordered"):
        learn(COLUMNS["words"], None, [slice(0, 30), slice(30, N)], y=y)


def test_partitions_with_other_columns_or_orders_are_refused():
    ordered = pd.Series(
        ["low", "high"] * 30, dtype=pd.CategoricalDtype(["low", "high"], ordered=True)
    )
    whole = learn(ordered, None, [slice(0, N)])
    assert whole.schema(None).classes[0].tolist() == ["low", "high"]
    reverse = ordered.cat.reorder_categories(["high", "low"])
    with pytest.raises(ValueError, match="not the same in all partitions"):
        joined(None, whole, learn(reverse, None, [slice(0, N)]))
    frame = pd.DataFrame({"d": COLUMNS["words"]})
    annotations = Annotations.read(frame, None, N)
    y = np.arange(N) % 2
    other = Learned.of(y, y, check_weights(None, y), annotations, None)
    with pytest.raises(ValueError, match="columns c in some partitions and d in"):
        joined(None, whole, other)
    by_order = learn(ordered, None, [slice(0, N)], y=ordered)
    with pytest.raises(ValueError, match="y has the order None in some partitions"):
        joined(None, whole, by_order)
