"""Which rows are held out: at random, by groups that stay together, or the latest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils import check_random_state

from .._inputs.values import plain_value
from .._results.words import how_many
from ..exceptions import DataFileError
from .rows import Reviews, check_labels, some_ids

# Groups are large or small as they come: of so many random splits, the best is taken.
_N_DRAWS = 50


def hold_out(
    reviews: Reviews, test_size: float, random_state: Any
) -> tuple[Reviews, Reviews]:
    """Split into rows to train on and rows to evaluate on, as `is_held_out` says."""
    held = is_held_out(reviews, test_size, random_state)
    return reviews.take(~held), reviews.take(held)


def is_held_out(reviews: Reviews, test_size: float, random_state: Any) -> np.ndarray:
    """Return which rows are to evaluate on.

    The latest rows are held out if `reviews` has times. Otherwise the split is random:
    equal texts are kept together, and groups if `reviews` has such groups; at least one
    row of every label remains for training, and every label is split in the same
    proportion, as far as groups allow it.

    Raises
    ------
    DataFileError
        If labels are not classes, or no row can be held out.
    """
    check_labels(reviews.labels)
    if reviews.times is not None and reviews.split_groups is not None:
        raise DataFileError(
            "--split-by and --time each say which rows are held out; give one of them."
        )
    if reviews.times is not None:
        held = _latest(reviews, test_size)
    else:
        rng = check_random_state(random_state)
        split = _texts_together if reviews.split_groups is None else _groups_together
        held = split(reviews, test_size, rng)
    if not held.any():
        raise DataFileError(
            f"No row can be held out: of {how_many(len(reviews), 'row')} with "
            f"{how_many(len(np.unique(reviews.labels)), 'label')}, --test-size "
            f"{test_size:g} leaves none "
            "to evaluate on. Give more rows for each label, a larger --test-size, or "
            "a --test file."
        )
    return held


def held_out_from(held_out: Reviews) -> str | None:
    """Return the time at which held-out rows begin, None if no time decides."""
    return None if held_out.times is None else _time(held_out.times.min())


def _texts_together(
    reviews: Reviews, test_size: float, rng: np.random.RandomState
) -> np.ndarray:
    """Return which rows are held out; equal texts are on one side."""
    codes, _ = pd.factorize(reviews.digests)
    _, first = np.unique(codes, return_index=True)
    labels = reviews.labels[first]
    is_held = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels):
        texts = rng.permutation(np.flatnonzero(labels == label))
        n_held = min(int(test_size * len(texts) + 0.5), len(texts) - 1)
        is_held[texts[:n_held]] = True
    # A text can have several labels, and one of them may occur with no other text.
    orphaned = ~np.isin(reviews.labels, reviews.labels[~is_held[codes]])
    is_held[codes[orphaned]] = False
    held: np.ndarray = is_held[codes]
    return held


def _groups_together(
    reviews: Reviews, test_size: float, rng: np.random.RandomState
) -> np.ndarray:
    """Return which rows are held out; groups, and equal texts, are on one side."""
    parts = _linked(reviews)
    n_parts = int(parts.max()) + 1
    if n_parts < 2:
        raise DataFileError(
            "--split-by: all rows belong together, because they are of one group or "
            "groups share texts, so none can be held out. Name another column, or a "
            "--test file."
        )
    _, labels = np.unique(reviews.labels, return_inverse=True)
    counts = np.zeros((n_parts, labels.max() + 1))  # rows of each label in each part
    np.add.at(counts, (parts, labels), 1)
    aim = test_size * counts.sum(axis=0)
    best, least = np.zeros(n_parts, dtype=bool), np.inf
    for _ in range(_N_DRAWS):
        is_held = _draw(counts, aim, rng)
        distance = float(np.abs(counts[is_held].sum(axis=0) - aim).sum())
        if is_held.any() and distance < least:
            best, least = is_held, distance
    held: np.ndarray = best[parts]
    return held


def _draw(
    counts: np.ndarray, aim: np.ndarray, rng: np.random.RandomState
) -> np.ndarray:
    """Hold out parts in random order while that comes nearer to the aim.

    A part that has the last rows of a label to train on is never held out.
    """
    is_held, held, total = np.zeros(len(counts), bool), 0 * aim, counts.sum(axis=0)
    for part in rng.permutation(len(counts)):
        more = held + counts[part]
        is_nearer = abs(more.sum() - aim.sum()) < abs(held.sum() - aim.sum())
        if is_nearer and (more < total).all():
            is_held[part], held = True, more
    return is_held


def _linked(reviews: Reviews) -> np.ndarray:
    """Return the part of every row: rows of one group or one text are in one part."""
    groups, _ = pd.factorize(reviews.split_groups, use_na_sentinel=False)
    texts, _ = pd.factorize(reviews.digests)
    n_groups = groups.max() + 1
    n_nodes = n_groups + texts.max() + 1
    links = coo_array(
        (np.ones(len(groups)), (groups, n_groups + texts)), shape=(n_nodes, n_nodes)
    )
    _, parts = connected_components(links, directed=False)
    of_rows: np.ndarray = np.asarray(parts)[groups]
    return of_rows


def _latest(reviews: Reviews, test_size: float) -> np.ndarray:
    """Return which rows are held out: the latest, those of one time together."""
    all_times = np.asarray(reviews.times)
    times, n_rows = np.unique(all_times, return_counts=True)
    if len(times) < 2:
        raise DataFileError(
            f"--time: all {len(reviews):,} rows have the time {_time(times[0])}, so "
            "none is later than the others. Name another column, or leave the option "
            "out."
        )
    later = n_rows[::-1].cumsum()[::-1][1:]  # rows that each cut would hold out
    cut = times[1:][np.abs(later - test_size * len(reviews)).argmin()]
    held: np.ndarray = all_times >= cut
    unseen = held & ~np.isin(reviews.labels, reviews.labels[~held])
    if unseen.any():
        label = plain_value(reviews.labels[unseen][0])
        named = unseen & (reviews.labels == reviews.labels[unseen][0])
        raise DataFileError(
            f"--time: the label {label!r} ({some_ids(reviews, named)}) does not occur "
            f"before {_time(cut)}, where the held-out rows begin, so that no model can "
            "have learned it. Hold out fewer rows with --test-size, or take these rows "
            "out of the file."
        )
    return held


def _time(value: Any) -> str:
    """Return a time as people write it; a day without its midnight."""
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    return str(plain_value(value)).removesuffix(" 00:00:00")
