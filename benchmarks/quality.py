"""Quality of the bottleneck next to the black box on the real tasks.

python -m benchmarks.quality
"""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score, log_loss

from skclif import ConceptBottleneckClassifier

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 10),
]
GRID = [0.01, 0.1, 1.0, 10.0, 100.0]


def label_scores(clf, part):
    """Return accuracy, macro-F1 and log-loss of the label."""
    predicted = clf.predict(part.X)
    return [
        accuracy_score(part.y, predicted),
        f1_score(part.y, predicted, average="macro"),
        log_loss(part.y, clf.predict_proba(part.X), labels=clf.classes_),
    ]


def concept_scores(clf, part):
    """Return accuracy and macro-F1 over annotated values, averaged over concepts."""
    predicted = clf.predict_concepts(part.X)
    scores = []
    for name in clf.concept_names_in_:
        rows = part.concepts[name].notna().to_numpy()
        pair = part.concepts.loc[rows, name].astype(str), predicted.loc[rows, name]
        scores.append([accuracy_score(*pair), f1_score(*pair, average="macro")])
    return np.mean(scores, axis=0).tolist()


def choose(clf, grid, train, dev, **fit_params):
    """Return the candidate of least log-loss on the development part, fitted."""
    fitted = [
        clone(clf).set_params(**p).fit(train.X, train.y, **fit_params) for p in grid
    ]
    losses = [label_scores(candidate, dev)[2] for candidate in fitted]
    return fitted[int(np.argmin(losses))]


def measure(tasks=TASKS, values=GRID):
    """Return one row a task and model; `values` are the penalties tried."""
    rows = []
    for task, n_concepts in tasks:
        train, dev, test = (
            load_task(task, p, n_concepts) for p in ("train", "dev", "test")
        )
        black_box = choose(
            ConceptBottleneckClassifier(), [{"C": C} for C in values], train, dev
        )
        rows.append([task, None, "black box", black_box.C, None])
        rows[-1] += [*label_scores(black_box, test), None, None]
        for training in ("mixed", "sequential", "independent"):
            grid = [{"C": C, "concept_C": c} for C in values for c in values]
            clf = choose(
                ConceptBottleneckClassifier(training=training),
                grid,
                train,
                dev,
                concepts=train.concepts,
            )
            rows.append([task, n_concepts, training, clf.C, clf.concept_C])
            rows[-1] += [*label_scores(clf, test), *concept_scores(clf, test)]
    return rows


def main(argv=None):
    parser = BenchmarkParser(
        "quality", __doc__, tasks=[("generated", 4)], values=[0.1, 1.0]
    )
    parser.set_defaults(tasks=TASKS, values=GRID)
    options = parser.parse_args(argv)
    write_table(
        "quality",
        "Label and concept quality on the test part",
        [
            "task",
            "concepts",
            "model",
            "C",
            "concept_C",
            "accuracy",
            "macro-F1",
            "log-loss",
            "concept accuracy",
            "concept macro-F1",
        ],
        measure(options.tasks, options.values),
        [
            "all-MiniLM-L6-v2 embeddings; C and concept_C chosen by log-loss on the "
            "development part; five-way labels. Macro-F1 is scikit-learn's, not the "
            "one-against-rest average that papers on these sets report. Concept scores "
            "are averages over concepts, on annotated rows.",
            "The black box is the same label head on the embedding itself.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
