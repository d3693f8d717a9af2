"""How good a model is after k changes without retraining, for label and concepts."""

import numpy as np

from ._clif_items import LABEL, differences, judge_all, load, retrain, table
from ._clif_samples import by_harm, checked, first, keep_values, prepare, set_aside

STEPS = [10, 20, 50, 100]
AS_PLANTED = "as planted"


# --- What is changed: the columns of items, and the remedy ----------------------------


def every(items):
    """Return labels and annotations."""
    return np.ones(items.shape[1], dtype=bool)


def labels(items):
    """Return labels alone."""
    return np.asarray(items.columns == LABEL)


def annotations(items):
    """Return annotations alone."""
    return ~labels(items)


CHANGES = {
    "labels and annotations": (every, checked),
    "labels": (labels, checked),
    "weights of rows": (labels, set_aside),
    "weights of concepts": (annotations, set_aside),
}


def measure(task, rate, seed):
    """Yield a record for every kind and number of changes, and for clean and planted.

    The number of changes "as planted" is that of items of the kind that are wrong.
    """
    truth, wrong, situation = prepare(task, rate, seed)
    items, test = situation.items, load(task, "test")
    judged = (test.X, table(test))
    at = {"task": task, "seed": seed}
    states = {
        "clean": retrain(situation.X, truth),
        "planted": situation.explainer.estimator_,
    }
    for state, clf in states.items():
        yield {**at, "changes": None, "after": state, **judge_all(clf, *judged)}
    scores, suggested = by_harm(situation)
    for name, (columns, remedy) in CHANGES.items():
        chosen = columns(items)
        allowed = np.where(chosen, scores, -np.inf)
        if name == "weights of rows":
            # All of a row's items lose their weight for its label.
            allowed[:, 0] = np.nansum(scores, axis=1)
        n_planted = int(wrong[:, chosen].sum())
        for after, n in [*((k, k) for k in STEPS), (AS_PLANTED, n_planted)]:
            picked = first(allowed, n)
            new = keep_values(items, *remedy(items, picked, truth, suggested))
            edited = situation.explainer.edit(**differences(items, *new)).estimator
            yield {**at, "changes": name, "after": after, **judge_all(edited, *judged)}
