"""Rows in which drift of one kind is planted, in one concept.

Each plant leaves alone what the other two change, as far as one table allows it:

inputs
    Texts that sound like one value of the concept come more often. Chosen by the text
    alone, so that neither P(concept | text) nor P(label | text, concepts) moves. To
    choose by the annotation would move the former as well.
concept
    A share of the concept's annotations is replaced by any other of its values.
meaning
    Where the concept says something, what spoke for a label now speaks against it: its
    terms in a model of the label, given annotations, change their sign. As few labels
    change as that needs.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import logit, softmax
from sklearn.linear_model import LogisticRegression

from .honesty import make_vectors
from .noise import pollute
from .tasks import load_task

KINDS = ("inputs", "concept", "meaning")
SETS = {"cebab + yelp": ("cebab-published", "yelp"), "nhs": ("nhs",)}
NAMELESS = ("all", "features")  # what tests of inputs are of, besides one concept
SILENT = ("unknown", "no")  # values that say that the text says nothing
TILT = 0.5  # standard deviations by which the concept's score moves
RATE = 0.3  # of annotations that are replaced
# What can hardly be told from chance in a batch of some hundred rows: a value in fewer
# of them, and a reversal that costs less (nats a row). Below the last there is nothing
# to be found.
FEWEST, LEAST_COST, WEAKEST_COST = 0.05, 0.05, 0.02
WEAK = "meaning, weak"


@dataclass(frozen=True)
class Rows:
    """Features, labels and annotations, and the source of every row."""

    X: np.ndarray
    y: np.ndarray
    concepts: pd.DataFrame
    source: np.ndarray

    def __len__(self):
        return len(self.y)

    def take(self, rows):
        """Return some rows, in that order."""
        concepts = self.concepts.iloc[rows].reset_index(drop=True)
        return Rows(self.X[rows], self.y[rows], concepts, self.source[rows])


def read_rows(name, n_generated=6000):
    """Return all rows of a set, or generated ones."""
    if name == "generated":
        X, y, concepts = make_vectors(n_generated, 0.0, "strength", 0)
        return Rows(X, y, concepts, np.full(len(y), name))
    tasks = [
        (task, load_task(task, part, 10))
        for task in SETS[name]
        for part in ("train", "dev", "test")
    ]
    return Rows(
        np.concatenate([part.X for _, part in tasks]),
        np.concatenate([part.y for _, part in tasks]),
        pd.concat([part.concepts for _, part in tasks], ignore_index=True),
        np.concatenate([np.full(len(part.y), task) for task, part in tasks]),
    )


def stack(parts):
    """Return rows below each other."""
    return Rows(
        np.concatenate([part.X for part in parts]),
        np.concatenate([part.y for part in parts]),
        pd.concat([part.concepts for part in parts], ignore_index=True),
        np.concatenate([part.source for part in parts]),
    )


class Meaning:
    """P(label | annotations), and what it is if one concept means the opposite."""

    def __init__(self, rows):
        self.concepts = rows.concepts
        self._indicators = pd.get_dummies(rows.concepts.astype(str), dtype=float)
        self.model = LogisticRegression(max_iter=1000)
        self.model.fit(self._indicators, rows.y)

    def probabilities(self, concept):
        """Return P(label | annotations) of all rows, before and after."""
        scores = self.model.decision_function(self._indicators)
        if scores.ndim == 1:
            scores = np.column_stack([-scores / 2, scores / 2])
        coef = self.model.coef_
        if len(coef) == 1:
            coef = np.concatenate([-coef / 2, coef / 2])
        values = self.concepts[concept].astype(str)
        columns = {value: f"{concept}_{value}" for value in values.unique()}
        at = self._indicators.columns.get_indexer(list(columns.values()))
        terms = pd.DataFrame(coef[:, at].T, index=list(columns))
        terms -= terms.loc[[v for v in columns if v in SILENT]].sum()
        change = 2 * terms.loc[values].to_numpy()
        return softmax(scores, axis=1), softmax(scores - change, axis=1)

    def changed(self, concept):
        """Return the share of labels that change if the concept means the opposite."""
        before, after = self.probabilities(concept)
        return float(np.abs(before - after).sum(axis=1).mean() / 2)

    def cost(self, concept):
        """Return what the reversal costs who does not know of it, in nats a row."""
        before, after = self.probabilities(concept)
        return float((after * np.log(after / before)).sum(axis=1).mean())


def reverse_meaning(rows, meaning, at, concept, rng):
    """Return rows whose labels are what they are if a concept means the opposite.

    A label that has become less probable is drawn anew with just the probability that
    makes it so (a maximal coupling), so that all others stay as people gave them.

    Parameters
    ----------
    rows : Rows
    meaning : Meaning
        Of the rows that these were taken from.
    at : ndarray of int
        Where they are among those.
    concept : str
    rng : numpy Generator
    """
    before, after = (p[at] for p in meaning.probabilities(concept))
    classes = meaning.model.classes_
    codes = np.searchsorted(classes, rows.y)
    each = np.arange(len(rows))
    stays = rng.random(len(rows)) < after[each, codes] / before[each, codes]
    more = np.maximum(after - before, 0.0) + 1e-300
    drawn = (more / more.sum(axis=1, keepdims=True)).cumsum(axis=1)
    new = (rng.random((len(rows), 1)) > drawn).sum(axis=1).clip(max=len(classes) - 1)
    return replace(rows, y=np.where(stays, rows.y, classes[new]))


def corrupt(rows, concept, rng, rate=RATE):
    """Return rows of which a share has another value of a concept."""
    values = pollute(rows.concepts[concept].to_numpy(), "uniform", rate, rng)
    return replace(rows, concepts=rows.concepts.assign(**{concept: values}))


def score_of_texts(clf, X, concept, value):
    """Return how much texts sound like a value of a concept: its log-odds."""
    at = list(clf.concept_names_in_).index(concept)
    proba = clf.predict_concept_proba(X)[concept]
    return logit(proba[:, list(clf.concept_classes_[at]).index(value)])


def choose_like(scores, n_rows, rng, tilt=TILT):
    """Return rows drawn without replacement, the more often the higher the score.

    Their score is `tilt` standard deviations higher in the mean, as long as they are
    few of all.
    """
    scores = (scores - scores.mean()) / scores.std()
    keys = tilt * scores + rng.gumbel(size=len(scores))
    return np.argsort(-keys)[:n_rows]


def spoken(rows, concept):
    """Return the values of a concept that say something and that are not rare."""
    shares = rows.concepts[concept].value_counts(normalize=True)
    return [v for v in shares.index if v not in SILENT and shares[v] >= FEWEST]


def eligible(rows, meaning):
    """Return the concepts in which drift of each kind is planted.

    Their second most frequent value must be in `FEWEST` of the rows; for "meaning",
    reversing the concept must also cost `LEAST_COST`, and for `WEAK` less than that.
    """
    shares = {name: values.value_counts() for name, values in rows.concepts.items()}
    often = [
        name
        for name, counts in shares.items()
        if len(counts) > 1 and counts.iloc[1] >= FEWEST * len(rows)
    ]
    costs = {name: meaning.cost(name) for name in often}
    return {
        "inputs": often,
        "concept": often,
        "meaning": [name for name in often if costs[name] >= LEAST_COST],
        WEAK: [name for name in often if WEAKEST_COST <= costs[name] < LEAST_COST],
    }
