"""Two sources in one training set, of which one means the opposite by one concept."""

from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from ._clif_causes import SCORES
from ._clif_items import (
    LABEL,
    by_group,
    differences,
    explain,
    harm_to_itself,
    judge,
    load,
    rank_of,
    retrain,
    table,
)

_SHARE = 0.8  # of the training rows, that a seed draws
_OPPOSITE = {"Positive": "Negative", "Negative": "Positive"}
FOUND_BY = "harm to itself, at home"


def together(sources, part):
    """Return features and items of a part of all tasks, and the source of each row."""
    parts = [load(task, part) for task in sources.values()]
    items = pd.concat([table(part) for part in parts], ignore_index=True)
    source = np.repeat(list(sources), [len(part.y) for part in parts])
    return np.concatenate([part.X for part in parts]), items, source


def flip(items, source, of, path):
    """Return items in which a source means the opposite by one concept."""
    flipped, rows = items.copy(), source == of
    flipped.loc[rows, path] = items.loc[rows, path].replace(_OPPOSITE)
    return flipped


def at_home(X, items, source, dev_X, dev_items, dev_source):
    """Return how much what a source says harms it on clean rows of its own.

    The influence of a source's annotations on their concept's loss (of its labels on
    that of the label), summed, over the root of the sum of squares.
    """
    found = {}
    for one in np.unique(source):
        home = dev_source == one
        scores = harm_to_itself(X, items, dev_X[home], dev_items[home])[source == one]
        found[one] = scores.sum(axis=0) / np.sqrt((scores**2).sum(axis=0))
    return pd.DataFrame(found, index=items.columns).T


def measure(sources, seed):
    """Yield a record for every source and concept that is flipped.

    Parameters
    ----------
    sources : dict of str to str
        Tasks by what they are called as sources.
    seed : int
    """
    X, truth, source = together(sources, "train")
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(X), int(_SHARE * len(X)), replace=False))
    X, source = X[rows].astype(np.float32), source[rows]
    truth = truth.iloc[rows].reset_index(drop=True)
    dev, (test_X, test_items, _) = together(sources, "dev"), together(sources, "test")
    judged = partial(judge, X=test_X, items=test_items)
    clean = judged(retrain(X, truth))
    for of, path in product(sources, truth.columns[1:]):
        items = flip(truth, source, of, path)
        places, (found, what) = _places(X, items, source, dev, of, path)
        explainer = explain(X, items)
        mended = explainer.estimator_
        if what != LABEL:  # of a label nobody knows what would be its opposite
            undone = differences(items, flip(items, source, found, what))
            mended = explainer.edit(**undone).estimator
        models = {
            "clean": clean,
            "drifted": judged(explainer.estimator_),
            "mended": judged(mended),
        }
        yield {
            "seed": seed,
            "source": of,
            "concept": path,
            "flipped": int((items != truth).to_numpy().sum()),
            **{f"rank by {name}": place for name, place in places.items()},
            "found": f"{found} x {what}",
            **{
                f"{which} {measure_} {model}": measures[on][measure_]
                for model, measures in models.items()
                for which, on in (("label", LABEL), ("concept", path))
                for measure_ in ("accuracy", "log-loss")
            },
        }


def _places(X, items, source, dev, of, path):
    """Return the rank of the flipped source and path by every score, and the first."""
    dev_X, dev_items, dev_source = dev
    tables = {FOUND_BY: at_home(X, items, source, dev_X, dev_items, dev_source)}
    for name, score in SCORES.items():
        scores = score(X, items, dev_X, dev_items)
        tables[name] = by_group(scores, source, items.columns)
    ranks = {name: rank_of(scores, of, path) for name, scores in tables.items()}
    return ranks, tables[FOUND_BY].stack().idxmax()
