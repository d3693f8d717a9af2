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
VECTORS = {"SentenceEmbedder()": "auto", "layers=None": None}
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
    """Return one row a task, vector and model; `values` are the penalties tried."""
    return [
        [task, n_concepts, way, *row]
        for task, n_concepts in tasks
        for way, layers in VECTORS.items()
        for row in _of_task(task, n_concepts, layers, values)
    ]


def _of_task(task, n_concepts, layers, values):
    parts = ("train", "dev", "test")
    train, dev, test = (load_task(task, p, n_concepts, layers=layers) for p in parts)
    rows = []
    for training in (None, "mixed", "sequential", "independent"):
        grid = [{"C": C, "concept_C": c} for C in values for c in values]
        clf, fit_params = ConceptBottleneckClassifier(), {}
        if training is None:
            grid = [{"C": C} for C in values]
        else:
            clf.set_params(training=training)
            fit_params = {"concepts": train.concepts}
        clf = choose(clf, grid, train, dev, **fit_params)
        scores = label_scores(clf, test)
        if training is None:
            rows.append(["black box", clf.C, None, *scores, None, None])
        else:
            scores += concept_scores(clf, test)
            rows.append([training, clf.C, clf.concept_C, *scores])
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
            "vectors",
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
            "all-MiniLM-L6-v2, read as SentenceEmbedder does by default, and as the "
            "model gives its vectors (layers=None). C and concept_C chosen by log-loss "
            "on the development part; five-way labels. Macro-F1 is scikit-learn's, not "
            "the one-against-rest average that papers on these sets report. Concept "
            "scores are averages over concepts, on annotated rows.",
            "The black box is the same label head on the vectors themselves.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
