"""What a search over the penalties chooses, by what it is scored.

A search over C and concept_C that is scored by the label alone is compared with one
that is scored by label and concepts (`make_bottleneck_scorer`), and with the choice in
closed form ("auto"), which takes each concept's own loss. A choice leaks if it predicts
the label better than true annotations do.

    python -m benchmarks.choosing
"""

import warnings

import numpy as np
import sklearn
import torch
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skclif import ConceptBottleneckClassifier
from skclif._inputs.indicators import Indicators
from skclif.metrics import make_bottleneck_scorer

from .results import BenchmarkParser, write_table
from .tasks import load_task
from .tuning import _concept_loss

TASKS = [("nhs", 18), ("cebab-published", 10), ("yelp", 10)]
GRID = {"C": [1.0, 100.0, 1e4], "concept_C": [0.01, 0.1, 1.0, 10.0]}
TRAININGS = ("sequential", "mixed")
FOLDS = 3


def choices(training, part, grid):
    """Return classifiers by how their penalties are chosen, not fitted."""
    clf = ConceptBottleneckClassifier(training=training)
    scoring = {"label": "neg_log_loss", "both": make_bottleneck_scorer()}
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(
        clf, grid, scoring=scoring, refit=False, cv=folds, error_score="raise"
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search.fit(part.X, part.y, concepts=part.concepts)
    chosen = {
        f"search, {words}": search.cv_results_["params"][
            search.cv_results_[f"mean_test_{score}"].argmax()
        ]
        for score, words in (("label", "label alone"), ("both", "label and concepts"))
    }
    chosen["auto"] = {"C": "auto", "concept_C": "auto"}
    return {
        how: ConceptBottleneckClassifier(training=training, **params)
        for how, params in chosen.items()
    }


def gold_loss(train, test):
    """Return the log-loss of the label from true annotations alone."""
    indicators = Indicators.learn(train.concepts)
    clf = ConceptBottleneckClassifier(C="auto")
    clf.fit(indicators.encode(train.concepts), train.y)
    proba = clf.predict_proba(indicators.encode(test.concepts))
    return log_loss(test.y, proba, labels=clf.classes_)


def measure(task, n_concepts, training, grid):
    """Return a line for each way to choose."""
    train, test = (load_task(task, part, n_concepts) for part in ("train", "test"))
    gold, lines = gold_loss(train, test), []
    for how, clf in choices(training, train, grid).items():
        clf.fit(train.X, train.y, concepts=train.concepts)
        own = log_loss(test.y, clf.predict_proba(test.X), labels=clf.classes_)
        said = np.asarray(clf.predict_concepts(test.X), dtype=object)
        silent = sum(len(set(column)) == 1 for column in said.T)
        known = clf.intervene(test.X, test.concepts)
        corrected = log_loss(test.y, known, labels=clf.classes_)
        low, high = clf.concept_C_.min(), clf.concept_C_.max()
        chosen = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
        about = [task, said.shape[1], training, how, f"{clf.C_:.3g}", chosen]
        losses = [own, own - gold, corrected]
        lines.append([*about, *losses, _concept_loss(clf, test.X, test.concepts)])
        lines[-1].append(silent)
        print(f"measured: {task}, {training}, {how}", flush=True)
    return lines


def main(argv=None):
    parser = BenchmarkParser(
        "choosing",
        __doc__,
        tasks=[("generated", 4)],
        grid={"C": [1.0, 100.0], "concept_C": [0.1, 1.0]},
    )
    parser.set_defaults(tasks=TASKS, grid=GRID)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "C=.* was chosen for|.*concept_C=")
    warnings.filterwarnings("ignore", "Correcting concepts may make")
    lines = [
        line
        for task, n_concepts in options.tasks
        for training in TRAININGS
        for line in measure(task, n_concepts, training, options.grid)
    ]
    write_table(
        "choosing",
        "What a search over C and concept_C chooses, by its score",
        [
            *("task", "concepts", "training", "chosen by", "C", "concept_C"),
            *("label", "label: above true annotations", "label: corrected"),
            *("concepts (mean)", "heads that say one value"),
        ],
        lines,
        [
            "Log-losses on the test part (nats). Above true annotations: minus the "
            "log-loss of a linear model that sees annotations alone; clearly below 0 "
            "is leakage. Corrected: with all true annotations in place of predictions. "
            "The last column counts the concepts that are predicted to have the same "
            "value in every test row.",
            f"Grid: C {', '.join(f'{c:g}' for c in options.grid['C'])}; concept_C "
            f"{', '.join(f'{c:g}' for c in options.grid['concept_C'])}; {FOLDS} folds "
            "of the training part.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
