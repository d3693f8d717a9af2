"""Wrong labels and annotations: picked within a budget, corrected, the model edited."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd

from ._clif_items import (
    LABEL,
    differences,
    explain,
    judge_label,
    out_of_fold,
    plant,
    retrain,
    self_confidence,
    suspects,
    table,
)
from .tasks import load_task

BUDGETS = {"as planted": 1.0, "half": 0.5}  # of as many items as were planted
OURS = "harmful suspects"


# --- Picking: scores (n_rows, n_paths), and a table of suggested values ---------------


@dataclass(frozen=True)
class Situation:
    """Items with noise in them, and what a picker may look at."""

    X: np.ndarray
    items: pd.DataFrame
    explainer: object
    dev: object
    seed: int

    @cached_property
    def suspects(self):
        """Return the probability of being wrong, and the suggested value, of items."""
        probability, suggested = (
            suspects(self.explainer, self.items, column)
            for column in ("probability_wrong", "proposed")
        )
        return probability.to_numpy(), suggested.astype(self.items.dtypes)


def by_suspicion(s):
    """Rank by the probability of being wrong, labels and annotations together."""
    return s.suspects


def by_harm(s):
    """Rank by that probability times influence on the label's loss on clean rows."""
    result = s.explainer.influence(s.dev.X, s.dev.y, paths=True, reduce="mean")
    probability, suggested = s.suspects
    return probability * result.values[0], suggested


def by_self_confidence(s):
    """Rank as cleanlab does, by out-of-fold probabilities of the same model."""
    return _by_self_confidence(s, out_of_fold(s.X, s.items, s.seed))


def by_self_confidence_with_clean(s):
    """Rank as cleanlab does, the clean rows in the training part of every fold."""
    more = s.dev.X, table(s.dev)
    return _by_self_confidence(s, out_of_fold(s.X, s.items, s.seed, more))


def _by_self_confidence(s, proba):
    suggested = {
        path: proba[path].columns[proba[path].to_numpy().argmax(axis=1)]
        for path in s.items
    }
    return self_confidence(s.items, proba), pd.DataFrame(suggested)


def by_chance(s):
    """Rank at random; what is suggested is the same as by suspicion."""
    rng = np.random.default_rng([s.seed, 1])
    return rng.random(s.items.shape), s.suspects[1]


PICKERS = {
    "harmful suspects": by_harm,
    "suspects": by_suspicion,
    "cleanlab": by_self_confidence,
    "cleanlab, clean rows": by_self_confidence_with_clean,
    "random": by_chance,
}


def first(scores, n):
    """Return a mask of the n highest scores."""
    order = np.argsort(-scores, axis=None, kind="stable")
    picked = np.zeros(scores.size, dtype=bool)
    picked[order[:n]] = True
    return picked.reshape(scores.shape)


# --- Remedies: items, and weights of rows ---------------------------------------------


def checked(items, picked, truth, suggested):
    """Let a person look: the right value where it was wrong, the same elsewhere."""
    return items.mask(picked, truth), np.ones(len(items))


def trusted(items, picked, truth, suggested):
    """Take what is suggested, unseen."""
    return items.mask(picked, suggested), np.ones(len(items))


def set_aside(items, picked, truth, suggested):
    """Take no value: weight 0 for rows by their label, no annotation for others."""
    gone = picked & (items.columns != LABEL)
    return items.mask(gone, None), np.where(picked[:, 0], 0.0, 1.0)


REMEDIES = {"checked": checked, "trusted": trusted, "set aside": set_aside}


def keep_values(items, new, weights):
    """Take back what leaves a value that the model knows without any row."""
    new, weights = new.copy(), weights.copy()
    for path in items:
        for value in items[path].unique():
            if not ((new[path] == value) & (weights > 0)).any():
                rows = items[path] == value
                new.loc[rows, path] = value
                weights[rows] = 1.0
    return new, weights


def measure(task, rate, seed, budgets):
    """Yield records: how a model came about, and what it and its like retrained do."""
    train, dev, test = (load_task(task, part, 4) for part in ("train", "dev", "test"))
    X, truth, test_items = train.X.astype(np.float32), table(train), table(test)
    items = plant(truth, rate, np.random.default_rng(seed))
    wrong = (items != truth).to_numpy()
    situation = Situation(X, items, explain(X, items), dev, seed)
    at = {"task": task, "noise": rate, "seed": seed}
    polluted, clean = situation.explainer.estimator_, retrain(X, truth)
    for name, clf in [("clean", clean), ("polluted", polluted)]:
        yield {**at, "remedy": name, **judge_label(clf, test.X, test_items)}
    for picks, pick in PICKERS.items():
        scores, suggested = pick(situation)
        for budget, remedy in product(budgets, REMEDIES):
            picked = first(scores, round(BUDGETS[budget] * wrong.sum()))
            new = REMEDIES[remedy](items, picked, truth, suggested)
            new = keep_values(items, *new)
            result = situation.explainer.edit(**differences(items, *new))
            edited = result.estimator
            record = {"remedy": remedy, "budget": budget, "picks": picks}
            record["wrong of picked"] = float(wrong[picked].mean())
            record |= judge_label(edited, test.X, test_items)
            if picks == OURS:
                record |= _beside_retrained(edited, X, new, test.X, test_items)
                starts = [head.start for head in result.record.heads]
                record["heads from zero"] = starts.count("zero") / len(starts)
            yield at | record


def _beside_retrained(edited, X, new, test_X, test_items):
    """Return how far an edited model is from the one that is fitted from zero."""
    retrained = retrain(X, *new)
    pair = [judge_label(clf, test_X, test_items) for clf in (edited, retrained)]
    agree = edited.predict(test_X) == retrained.predict(test_X)
    return {
        **{
            f"{name} to retrained": abs(pair[0][name] - pair[1][name])
            for name in pair[0]
        },
        "same predictions": float(agree.mean()),
    }
