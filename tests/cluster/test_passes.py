"""Passes over rows on workers, beside the same passes in this process."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
import torch

from skclif import ConceptBottleneckClassifier
from skclif._cluster.rows import RemoteRows, _groups
from skclif._cluster.totals import added, blank, zeros
from skclif.numerics.blocks import map_rows, sum_rows
from skclif.numerics.bottleneck import LABEL, TrainingData


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor | None


@dataclass(frozen=True)
class Sums:
    count: torch.Tensor
    by_label: list
    pair: Pair


def no_sums():
    nothing = torch.zeros(3, dtype=torch.float64)
    return Sums(torch.zeros(1), [nothing.clone(), nothing], Pair(nothing.clone(), None))


def add_rows(factor, total, rows):
    total.count.add_(len(rows))
    total.by_label[0].index_add_(0, rows.labels, rows.label_weights)
    total.pair.left.add_(factor * rows.features.sum(dim=0)[:3])


def first_features(rows):
    return rows.features[:, 0]


def remote_data(client, X, y, chunks, sample_weight=None):
    from dask import array

    given = {"X": array.from_array(X, chunks=(chunks, X.shape[1])), "y": y}
    if sample_weight is not None:
        given["sample_weight"] = sample_weight
    rows = RemoteRows.read(ConceptBottleneckClassifier(), "fit", given)
    learned = rows.learned(None)
    return rows.coded(learned.labels, np.ones(len(learned.labels)), learned.schema({}))


@pytest.mark.parametrize("chunks", [(240,), (1, 0, 100, 139), (24,) * 10])
def test_sums_and_maps_are_those_in_this_process(client, reviews, chunks):
    X, y, _, weights = reviews
    data = remote_data(client, X, y, chunks, weights)
    found = sum_rows(partial(add_rows, 2.0), no_sums(), data, 50)
    assert found.count.item() == len(data) == 240
    codes = np.unique(y, return_inverse=True)[1]
    sums = np.bincount(codes, weights)
    np.testing.assert_allclose(found.by_label[0], sums, rtol=1e-12)
    np.testing.assert_allclose(found.pair.left, 2 * X[:, :3].sum(axis=0), rtol=1e-10)
    assert found.pair.right is None

    parts = list(map_rows(first_features, data, 50))
    assert parts[0][0].start == 0
    assert all(a.stop == b.start for (a, _), (b, _) in pairwise(parts))
    np.testing.assert_array_equal(torch.cat([part for _, part in parts]), X[:, 0])

    counted = data.counted()
    assert len(counted) == (weights > 0).sum()
    assert data.counted().lengths == counted.lengths


def test_the_same_pass_gives_the_same_bits(client, reviews):
    X, y, *_ = reviews
    data = remote_data(client, X, y, (24,) * 10)
    first, second = (sum_rows(partial(add_rows, 1.0), no_sums(), data) for _ in "ab")
    assert torch.equal(first.pair.left, second.pair.left)


def test_a_pass_brings_one_total_however_many_rows(client, brought):
    rng = np.random.default_rng(0)
    sizes = []
    for n in (500, 4000):
        X, y = rng.normal(size=(n, 3)), np.arange(n) % 2
        data = remote_data(client, X, y, (n // 5,) * 5)
        brought()
        sum_rows(partial(add_rows, 1.0), no_sums(), data)
        sizes.append(sum(map(len, brought())))
    # Names of tasks are not always of the same length.
    assert 0 < sizes[1] < sizes[0] + 100 < 3000


def test_errors_on_workers_come_back(client, reviews):
    X, y, *_ = reviews
    with pytest.raises(ZeroDivisionError):
        sum_rows(fail, torch.zeros(1), remote_data(client, X, y, (240,)))


def fail(total, rows):
    return total / 0 if len(rows) == 0 else 1 // 0


def test_totals_travel_without_their_zeros():
    total = no_sums()
    empty = blank(total)
    assert empty.count.shape == (1,)
    again = zeros(empty)
    assert torch.equal(again.pair.left, total.pair.left)
    twice = added(again, again, again)
    assert isinstance(twice.pair, Pair)
    with pytest.raises(TypeError, match="a str cannot be added up"):
        added("a", "b")


def test_blocks_are_grouped_in_order_and_none_is_lost():
    for lengths in ([5], [1, 100, 1, 1], [10] * 17):
        for n in (1, 2, 4, 40):
            groups = _groups(lengths, n)
            assert len(groups) <= n
            assert [x for g in groups for x in lengths[g]] == lengths


def labels_and_features(rows):
    return rows.labels, rows.features


@pytest.mark.parametrize("n_counted", [240, 100, 3])
def test_a_sample_is_that_of_the_same_rows_here(client, reviews, n_counted):
    X, y, *_ = reviews
    weights = np.zeros(240)
    weights[np.linspace(5, 239, n_counted).astype(int)] = 1  # few heads learn from few
    there = remote_data(client, X, y, (1, 0, 100, 139), weights)
    nothing = torch.zeros(240, 0).double()
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    here = TrainingData(
        torch.from_numpy(X),
        codes,
        torch.from_numpy(weights),
        nothing,
        nothing.bool(),
        nothing,
    )
    for n_rows in (40, 1, 1000):
        labels, features = there.on_sample(labels_and_features, n_rows)
        assert torch.equal(features, here.sample(n_rows).features)
        assert torch.equal(labels, here.sample(n_rows).labels)
    of_label = there.with_weight_in(LABEL)
    assert len(of_label) == len(here.with_weight_in(LABEL)) == n_counted
    assert len(there.rows(slice(0, 0))) == 0
    with pytest.raises(ValueError, match="are on workers; send a function to them"):
        there.rows(slice(0, 5))
