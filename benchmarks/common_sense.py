"""What it costs, and prevents, to give a label head common sense.

Stars have an order, and good food should not lower them. Label heads that know nothing
of this, that know the order, and that are held to it by constraints are compared: how
right the stars are, and how often it lowers the expected stars to set a concept of a
text from Negative to Positive.

    python -m benchmarks.common_sense [--tasks cebab-published:10 yelp:10]
"""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import log_loss

from skclif import ConceptBottleneckClassifier
from skclif.exceptions import InterventionWarning, PenaltyWarning

from .interventions import load
from .results import BenchmarkParser, write_table

TASKS = ["cebab-published:4", "cebab-published:10", "yelp:4", "yelp:10"]
VALUES = ["Negative", "unknown", "Positive"]
SOFTMAX = "softmax"
_BOOTSTRAPS = 2_000
_ROUNDING = 1e-9  # of expected stars


@dataclass(frozen=True)
class Measured:
    """What one head does on every test row."""

    right: np.ndarray  # (n_rows,)
    error: np.ndarray  # of the predicted stars
    wrong: np.ndarray  # share of concepts that lower the stars, Negative to Positive
    steps: np.ndarray  # the same of both steps, by way of unknown
    loss: float


def heads(names):
    """Return the parameters of every label head, by name."""
    ends = {name: [VALUES[0], VALUES[-1]] for name in names}
    chains = dict.fromkeys(names, VALUES)
    return {
        SOFTMAX: {},
        "softmax, Negative <= Positive": {"monotonic_cst": ends},
        "softmax, Negative <= unknown <= Positive": {"monotonic_cst": chains},
        "ordinal": {"label_head": "ordinal"},
        "ordinal, Negative <= Positive": {
            "label_head": "ordinal",
            "monotonic_cst": ends,
        },
        "ordinal, Negative <= unknown <= Positive": {
            "label_head": "ordinal",
            "monotonic_cst": chains,
        },
    }


def fitted(train):
    """Return a model with every label head, by name; concept heads are the same."""
    models, concept_C = {}, "auto"
    for name, params in heads(train.concepts.columns).items():
        clf = ConceptBottleneckClassifier(C="auto", concept_C=concept_C, **params)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PenaltyWarning)
            clf.fit(train.X, train.y, concepts=train.concepts)
        concept_C = dict(zip(clf.concept_names_in_, clf.concept_C_, strict=True))
        models[name] = clf
    return models


def measure(clf, test):
    """Return what a model does on every test row."""
    proba = clf.predict_proba(test.X)
    predicted = clf.classes_[proba.argmax(axis=1)]
    names = clf.concept_names_in_
    lower = [_steps(clf, test.X, name) < -_ROUNDING for name in names]
    return Measured(
        predicted == test.y,
        np.abs(predicted - test.y),
        np.mean([of_concept[0] for of_concept in lower], axis=0),
        np.mean([of_concept[1:] for of_concept in lower], axis=(0, 1)),
        log_loss(test.y, proba, labels=clf.classes_),
    )


def _steps(clf, X, name):
    """Return changes of expected stars, (3, n): end to end, and both steps."""
    stars = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InterventionWarning)
        for value in VALUES:
            known = pd.DataFrame({name: [value] * len(X)})
            stars.append(clf.intervene(X, known) @ clf.classes_)
    low, middle, high = stars
    return np.array([high - low, middle - low, high - middle])


def line(measured, reference, groups, rng):
    """Return the numbers of one head, with intervals over texts."""
    counts = _draws(groups, rng)
    return [
        float(measured.right.mean()),
        *_change(measured.right, reference.right, counts),
        float(measured.error.mean()),
        *_change(measured.error, reference.error, counts),
        measured.loss,
        float(measured.wrong.mean()),
        *_ends(measured.wrong, counts),
        float(measured.steps.mean()),
    ]


def _draws(groups, rng):
    """Return how often each row is in draws of texts with all of their edits."""
    _, groups = np.unique(groups, return_inverse=True)
    n = groups.max() + 1
    return rng.multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS)[:, groups]


def _ends(values, counts):
    means = counts @ values / counts.sum(axis=1)
    return [float(end) for end in np.percentile(means, [2.5, 97.5])]


def _change(values, reference, counts):
    change = values.astype(float) - reference
    return [float(change.mean()), *_ends(change, counts)]


def main(argv=None):
    parser = BenchmarkParser("common_sense", __doc__, tasks=["generated:3"])
    parser.add_argument("--tasks", nargs="+", metavar="NAME:CONCEPTS")
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines = []
    for task in options.tasks:
        name, n_concepts = task.split(":")
        (train, _, test), groups = load(name, int(n_concepts))
        groups = groups[-len(test.y) :]
        found = {head: measure(clf, test) for head, clf in fitted(train).items()}
        lines += [
            [name, int(n_concepts), head]
            + line(one, found[SOFTMAX], groups, np.random.default_rng(0))
            for head, one in found.items()
        ]
    write_table(
        "common_sense",
        "Label heads with and without common sense",
        [
            *("task", "concepts", "label head"),
            *("accuracy", "change", "low", "high"),
            *("absolute error", "error: change", "error: low", "error: high"),
            "log-loss",
            *("wrong sign", "wrong: low", "wrong: high"),
            "wrong sign by step",
        ],
        lines,
        [
            "all-MiniLM-L6-v2 embeddings, five-way labels; trained on the training "
            "part with both penalties chosen by leave-one-out loss, measured on the "
            "test part. Changes are against softmax, and intervals are of 95 % over "
            "texts with all of their edits.",
            "absolute error: of the most probable number of stars. wrong sign: share "
            "of pairs of a text and a concept whose expected stars fall when the "
            "concept is set from Negative to Positive. By step: from Negative to "
            "unknown, and from unknown to Positive, together.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
