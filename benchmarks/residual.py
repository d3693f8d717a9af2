"""What concepts do not hold: openly in a residual, or hidden in soft activations.

python -m benchmarks.residual

Soft activations can carry what no concept is about. Hard ones cannot, and a residual
then adds it by name. Every model is fitted to the train part and scored on the test
part; no choice is made on the latter. Penalties are chosen by leave-one-out without a
residual, and kept with one, so that residual_C is all that differs.
"""

import warnings

import numpy as np

from skclif import ConceptBottleneckClassifier
from skclif._results.interventions import paired_mean
from skclif.exceptions import InterventionWarning, PenaltyWarning
from skclif.metrics._residual import without_residual

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = [("cebab-masked", 4), ("yelp", 10), ("nhs", 10)]
# What the label sees of concepts. The first is what others are compared with.
KINDS = {
    "soft, sequential": {"training": "sequential"},
    "soft": {},
    "hard": {"bottleneck": "hard"},
}
WITH_RESIDUAL = ["soft", "hard"]
RESIDUAL_C = [0.001, 0.01, 0.1, 1.0]
COLUMNS = [
    "task",
    "the label sees",
    "residual_C",
    "accuracy",
    "log-loss",
    "… minus soft, sequential",
    "low",
    "high",
    "share not in the concepts",
    "share low",
    "share high",
    "accuracy, concepts corrected",
]


def models(train, residual_C):
    """Yield name, residual_C and a fitted model of each kind."""
    data = train.X, train.y
    yield "features (black box)", None, ConceptBottleneckClassifier(C="auto").fit(*data)
    for name, kind in KINDS.items():
        clf = ConceptBottleneckClassifier(C="auto", concept_C="auto", **kind)
        clf.fit(*data, concepts=train.concepts)
        yield name, None, clf
        if name in WITH_RESIDUAL:
            names = map(str, clf.concept_names_in_)
            found = {
                "C": clf.C_,
                "concept_C": dict(zip(names, clf.concept_C_.tolist(), strict=True)),
            }
            for value in residual_C:
                clf = ConceptBottleneckClassifier(residual_C=value, **found, **kind)
                yield name, value, clf.fit(*data, concepts=train.concepts)


def lines(task, n_concepts, residual_C):
    """Return a line for each model of a task."""
    train, test = (load_task(task, part, n_concepts) for part in ("train", "test"))
    found = list(models(train, residual_C))
    losses = [_losses(clf, test) for *_, clf in found]
    names = [name for name, *_ in found]
    reference = losses[names.index(next(iter(KINDS)))]
    rows = []
    for (name, value, clf), loss in zip(found, losses, strict=True):
        change, reach = paired_mean((loss - reference)[None], np.ones(len(loss)))
        share = [None] * 3
        if value is not None:
            share = share_past(clf, train, test)
        corrected = None
        if clf.n_concepts_:
            proba = clf.intervene(test.X, test.concepts)
            hit = clf.classes_[proba.argmax(axis=1)] == test.y
            corrected = float(hit.mean())
        rows.append(
            [
                task,
                name,
                "none" if value is None else f"{value:g}",
                float(clf.score(test.X, test.y)),
                float(loss.mean()),
                float(change[0]),
                float(change[0] - reach[0]),
                float(change[0] + reach[0]),
                *share,
                corrected,
            ]
        )
    return rows


def share_past(clf, train, test):
    """Return the share of what a model knows that goes past its concepts, low, high.

    It is as `bottleneck_report` has it. The interval of a ratio of two means over rows
    is linearised in both.
    """
    weight = np.ones(len(test.y))
    own = _losses(clf, test)
    without = _own_losses(without_residual(clf, test.X, weight), clf, test)
    shares = (train.y[:, None] == clf.classes_).mean(axis=0)
    prior = _own_losses(np.tile(shares, (len(test.y), 1)), clf, test)
    known = (prior - own).mean()
    share = (without - own).mean() / known
    rest = without - own - share * (prior - own)
    _, (reach,) = paired_mean(rest[None], weight)
    return [float(share), float(share - reach / known), float(share + reach / known)]


def _losses(clf, part):
    return _own_losses(clf.predict_proba(part.X), clf, part)


def _own_losses(proba, clf, part):
    return -np.log(proba[np.arange(len(proba)), np.searchsorted(clf.classes_, part.y)])


def main(argv=None):
    parser = BenchmarkParser("residual", __doc__, tasks=["generated"])
    names = [task for task, _ in TASKS]
    parser.add_argument("--tasks", nargs="+", default=names, metavar="TASK")
    options = parser.parse_args(argv)
    sizes = dict(TASKS)
    with warnings.catch_warnings():
        for category in (InterventionWarning, PenaltyWarning):
            warnings.simplefilter("ignore", category)
        rows = [
            line
            for task in options.tasks
            for line in lines(
                task,
                sizes.get(task, 3),
                RESIDUAL_C[::3] if options.small else RESIDUAL_C,
            )
        ]
    write_table(
        "residual",
        "What concepts do not hold: hidden in soft activations, or in a residual",
        COLUMNS,
        rows,
        [
            "Test parts. Log-losses are in nats; differences are of the same rows, "
            "with 95 % intervals (low, high), and negative is better.",
            "The share not in the concepts is what is lost of what the model knows if "
            "the residual is set to its mean, with a 95 % interval.",
            "C and concept_C are chosen by leave-one-out without a residual, and kept "
            "with one.",
            "Concepts corrected: all annotated concepts of the test rows are put in "
            "place of predictions.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
