"""Rows that are held out by groups that stay together, or because they are the latest.

Random splits are tested in `test_findings`.
"""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.rows import Reviews
from skclif._audit.splits import held_out_from, hold_out
from skclif.exceptions import DataFileError


def reviews(labels, texts=None, **more):
    n = len(labels)
    texts = [f"text {i}" for i in range(n)] if texts is None else texts
    return Reviews.from_parts([f"id{i}" for i in range(n)], texts, labels, **more)


def alternating(n):
    return ["a", "b"] * (n // 2)


# --- By groups ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_groups_and_equal_texts_stay_together(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 200).astype(str)
    texts = [f"text {i}" for i in range(200)]
    texts[3] = texts[150]  # which links two groups
    labels = rng.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1], size=200)
    rows = reviews(labels, texts, split_groups=groups)
    train, held_out = hold_out(rows, 0.25, seed)
    assert not set(train.split_groups) & set(held_out.split_groups)
    assert not set(train.texts) & set(held_out.texts)
    assert sorted([*train.ids, *held_out.ids]) == sorted(rows.ids)
    assert abs(len(held_out) - 50) < 15
    for label in ("a", "b", "c"):
        share = np.mean(held_out.labels == label)
        assert share == pytest.approx(np.mean(labels == label), abs=0.1)


def test_a_split_by_groups_depends_on_the_seed_alone():
    rows = reviews(alternating(60), split_groups=np.arange(60) // 4)
    first, again, other = (hold_out(rows, 0.25, s)[1].ids for s in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_group_with_the_last_rows_of_a_label_is_trained_on():
    labels = ["a", "b"] * 10 + ["rare", "rare"]
    groups = [*np.arange(20) // 2, 99, 99]
    for seed in range(10):
        _, held_out = hold_out(reviews(labels, split_groups=groups), 0.3, seed)
        assert "rare" not in held_out.labels
        assert len(held_out)


def test_rows_without_a_group_are_one_group():
    groups = np.array(["x", "y", None, None, "z", "z", "x", "y"], dtype=object)
    for seed in range(5):
        train, held_out = hold_out(
            reviews(alternating(8), split_groups=groups), 0.4, seed
        )
        sides = [pd.isna(part.split_groups).sum() for part in (train, held_out)]
        assert sorted(sides) == [0, 2]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["x"] * 8, "--split-by: all rows belong together, because they are of one gr"),
        ([0, 0, 0, 0, 1, 1, 1, 1], "No row can be held out"),
    ],
)
def test_groups_that_cannot_be_split_are_refused(groups, message):
    labels = ["a", "a", "a", "a", "b", "b", "b", "b"]
    with pytest.raises(DataFileError, match=message):
        hold_out(reviews(labels, split_groups=groups), 0.3, 0)


def test_equal_texts_in_all_groups_are_named():
    rows = reviews(alternating(6), ["same"] * 6, split_groups=range(6))
    with pytest.raises(DataFileError, match="groups share texts"):
        hold_out(rows, 0.3, 0)


# --- By time --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times",
    [
        np.arange(40)[::-1],
        pd.date_range("2024-01-01", periods=40)[::-1].to_numpy(),
        [f"2024-{1 + k // 28:02d}-{1 + k % 28:02d}" for k in range(40)][::-1],
    ],
)
def test_the_latest_rows_are_held_out(times):
    train, held_out = hold_out(reviews(alternating(40), times=times), 0.25, 0)
    assert held_out.ids.tolist() == [f"id{i}" for i in range(10)]
    assert max(train.times) < min(held_out.times)


def test_rows_of_one_time_stay_together():
    """A quarter of 12 is 3: the last day has 2 rows, the last two have 6."""
    times = [1] * 6 + [2] * 4 + [3] * 2
    _, held_out = hold_out(reviews(alternating(12), times=times), 0.25, 0)
    assert held_out.times.tolist() == [3, 3]
    _, held_out = hold_out(reviews(alternating(12), times=times), 0.45, 0)
    assert held_out.times.tolist() == [2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (np.arange(8.0), "6"),
        (pd.date_range("2024-01-01", periods=8).to_numpy(), "2024-01-07"),
        (
            pd.date_range("2024-01-01 10:00", periods=8).to_numpy(),
            "2024-01-07 10:00:00",
        ),
        (None, None),
    ],
)
def test_the_time_at_which_held_out_rows_begin(times, first):
    _, held_out = hold_out(reviews(alternating(8), times=times), 0.25, 0)
    assert held_out_from(held_out) == first


@pytest.mark.parametrize(
    ("labels", "times", "message"),
    [
        (
            alternating(8),
            np.repeat(np.datetime64("2024-05-01", "ns"), 8),
            "--time: all 8 rows have the time 2024-05-01, so none is later",
        ),
        (
            [*alternating(8), "new", "new"],
            np.arange(10) + 2000,
            r"label 'new' \(ids id8, id9\) does not occur before 2008, where the held",
        ),
    ],
)
def test_times_that_cannot_be_split_are_refused(labels, times, message):
    with pytest.raises(DataFileError, match=message):
        hold_out(reviews(labels, times=times), 0.2, 0)


def test_two_ways_to_split_are_refused():
    rows = reviews(alternating(8), times=range(8), split_groups=range(8))
    with pytest.raises(DataFileError, match="--split-by and --time each say which"):
        hold_out(rows, 0.3, 0)
