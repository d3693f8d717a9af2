"""Wrong labels and annotations: picked within a budget, corrected, the model edited."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd

from ._clif_items import (
    LABEL,
    by_item,
    differ,
    differences,
    explain,
    harm_to_concepts,
    judge_all,
    judge_label,
    load,
    out_of_fold,
    plant,
    retrain,
    self_confidence,
    table,
)

BUDGETS = {"as planted": 1.0, "half": 0.5}  # of as many items as were planted
OURS = "harmful suspects"
# What a nat of a concept's loss counts for, in nats of the label's.
_CONCEPT = 0.5


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
        """Return the lines of `suspect_labels`."""
        return self.explainer.suspect_labels()

    def of_suspects(self, column):
        """Return a column of them, (n_rows, n_paths); NaN for what is missing."""
        return by_item(self.suspects, self.items, column).to_numpy(dtype=float)

    @property
    def suggested(self):
        """Return the values that they suggest."""
        values = by_item(self.suspects, self.items, "proposed")
        return values.astype(self.items.dtypes)

    @cached_property
    def harm_to_label(self):
        """Return the influence of items on the label's loss on clean rows."""
        dev = self.dev
        result = self.explainer.influence(dev.X, dev.y, paths=True, reduce="mean")
        return result.values[0]

    @cached_property
    def harm(self):
        """Return their influence on the label's loss and on half of the concepts'."""
        dev = self.dev
        of_concepts = harm_to_concepts(self.X, self.items, dev.X, table(dev))
        return self.harm_to_label + _CONCEPT * of_concepts


def by_suspicion(s):
    """Rank as `suspect_labels` does, labels and annotations together."""
    return -s.of_suspects("rank"), s.suggested


def by_probability(s):
    """Rank by the probability of being wrong alone."""
    return s.of_suspects("probability_wrong"), s.suggested


def by_harm(s):
    """Rank by that probability times the harm to label and concepts on clean rows."""
    return s.of_suspects("probability_wrong") * s.harm, s.suggested


def by_harm_to_label(s):
    """Rank by that probability times the harm to the label alone."""
    return s.of_suspects("probability_wrong") * s.harm_to_label, s.suggested


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
    scores = rng.random(s.items.shape)
    return np.where(s.items.notna(), scores, np.nan), s.suggested


PICKERS = {
    OURS: by_harm,
    "harmful to the label": by_harm_to_label,
    "suspects": by_suspicion,
    "suspects by probability": by_probability,
    "cleanlab": by_self_confidence,
    "cleanlab, clean rows": by_self_confidence_with_clean,
    "random": by_chance,
}


def first(scores, n):
    """Return a mask of the n highest scores; what is missing has none."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
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
        for value in items[path].dropna().unique():
            if not ((new[path] == value) & (weights > 0)).any():
                rows = items[path] == value
                new.loc[rows, path] = value
                weights[rows] = 1.0
    return new, weights


def prepare(task, rate, seed):
    """Return the true items, which of them were made wrong, and the situation."""
    train, dev = (load(task, part) for part in ("train", "dev"))
    X, truth = train.X.astype(np.float32), table(train)
    items = plant(truth, rate, np.random.default_rng(seed))
    situation = Situation(X, items, explain(X, items), dev, seed)
    return truth, differ(items, truth).to_numpy(), situation


def measure(task, rate, seed, budgets):
    """Yield records: how a model came about, and what it and its like retrained do."""
    truth, wrong, situation = prepare(task, rate, seed)
    X, items, test = situation.X, situation.items, load(task, "test")
    test_items = table(test)
    at = {"task": task, "noise": rate, "seed": seed}
    whole = {"clean": truth, "polluted": items} | _one_kind(items, truth)
    for name, given in whole.items():
        clf = retrain(X, given)
        yield {**at, "remedy": name, **judge_all(clf, test.X, test_items)}
    for picks, pick in PICKERS.items():
        scores, suggested = pick(situation)
        for budget, remedy in product(budgets, REMEDIES):
            picked = first(scores, round(BUDGETS[budget] * wrong.sum()))
            new = REMEDIES[remedy](items, picked, truth, suggested)
            new = keep_values(items, *new)
            record = {"remedy": remedy, "budget": budget, "picks": picks}
            record["wrong of picked"] = float(wrong[picked].mean())
            if picks == OURS:
                result = situation.explainer.edit(**differences(items, *new))
                clf = result.estimator
                record |= _beside_retrained(clf, X, new, test.X, test_items)
                starts = [head.start for head in result.record.heads]
                record["heads from zero"] = starts.count("zero") / len(starts)
            else:  # the same model, and quicker where nothing is asked of the edit
                clf = retrain(X, *new)
            yield at | record | judge_all(clf, test.X, test_items)


def _one_kind(items, truth):
    """Return items with wrong labels alone, and with wrong annotations alone."""
    return {
        "wrong labels": truth.assign(**{LABEL: items[LABEL]}),
        "wrong annotations": items.assign(**{LABEL: truth[LABEL]}),
    }


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
