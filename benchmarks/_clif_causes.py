"""One systematic cause of wrong items, and where it is found among groups and paths."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer

from ._clif_items import (
    LABEL,
    by_group,
    differ,
    explain,
    harm_to_itself,
    harm_to_label,
    load,
    plant,
    rank_of,
    shift,
    suspects,
    table,
)

N_GROUPS = 10
_FREQUENCY = (0.04, 0.15)  # of words, as shares of training texts
_NO_WORD = "none of them"


@dataclass(frozen=True)
class Cause:
    """Wrong items of one path in one group of training rows."""

    items: pd.DataFrame
    groups: np.ndarray
    group: object
    path: str
    n_wrong: int


def one_annotator(train, items, rng):
    """Let one of ten annotators swap the values of one concept in a cycle."""
    groups = np.array(
        [f"annotator {i}" for i in rng.integers(N_GROUPS, size=len(items))]
    )
    group, path = rng.choice(np.unique(groups)), rng.choice(items.columns[1:])
    known = np.unique(table(train)[path].dropna().to_numpy())
    return _spoil(items, groups, group, path, lambda values: shift(values, known))


def one_word(train, items, rng):
    """Give texts of one of ten frequent words the lowest label."""
    groups = first_word(train.texts, rng)
    group = rng.choice(np.setdiff1d(groups, [_NO_WORD]))
    lowest = train.y.min()
    return _spoil(items, groups, group, LABEL, lambda values: lowest)


def _spoil(items, groups, group, path, wrong):
    spoilt, rows = items.copy(), groups == group
    spoilt.loc[rows, path] = wrong(items.loc[rows, path].to_numpy())
    n_wrong = int(differ(spoilt, items)[path].sum())
    return Cause(spoilt, groups, group, path, n_wrong)


def first_word(texts, rng):
    """Return, for every text, the first that it has of ten random frequent words."""
    least, most = _FREQUENCY
    vectorizer = CountVectorizer(
        binary=True, stop_words="english", min_df=least, max_df=most
    )
    has = vectorizer.fit_transform(texts).toarray().astype(bool)
    words = rng.choice(has.shape[1], N_GROUPS, replace=False)
    has, words = has[:, words], vectorizer.get_feature_names_out()[words]
    return np.where(has.any(axis=1), words[has.argmax(axis=1)], _NO_WORD)


def own_loss(X, items, dev_X, dev_items):
    """Score items by the loss of their own head without them; no clean rows needed."""
    losses = suspects(explain(X, items), items, "loss").astype(float)
    return losses.fillna(losses.mean()).to_numpy()  # of what is missing


CAUSES = {"annotator x concept": one_annotator, "word x label": one_word}
SCORES = {
    "harm to the label": harm_to_label,
    "harm to itself": harm_to_itself,
    "own loss": own_loss,
}


def root_causes(task, background, seeds):
    """Yield a record for every cause, seed and score.

    Parameters
    ----------
    task : str
    background : float
        Share of all items that are wrong by accident, beside the cause.
    seeds : iterable of int
    """
    train, dev = (load(task, part) for part in ("train", "dev"))
    X, truth, dev_items = train.X.astype(np.float32), table(train), table(dev)
    for name, plant_cause in CAUSES.items():
        for seed in seeds:
            rng = np.random.default_rng(seed)
            cause = plant_cause(train, plant(truth, background, rng), rng)
            for score, found in _places(X, cause, dev.X, dev_items).items():
                yield [task, background, name, seed, score, *found]


def _places(X, cause, dev_X, dev_items):
    """Return rank and size of the cause, what came first, and how many there are."""
    found = {}
    for name, score in SCORES.items():
        scores = score(X, cause.items, dev_X, dev_items)
        groups = by_group(scores, cause.groups, cause.items.columns)
        rank = rank_of(groups, cause.group, cause.path)
        first = " x ".join(map(str, groups.stack().idxmax()))
        planted = f"{cause.group} x {cause.path}"
        found[name] = [planted, cause.n_wrong, rank, groups.size, first]
    return found
