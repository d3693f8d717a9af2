"""Penalties that choose themselves, next to searches by cross-validation.

python -m benchmarks.tuning

One thread. The full search fits 81 pairs of penalties in five folds, which takes two
minutes at 1,463 rows. At more rows only some of the pairs are fitted, and the time of
the search is that of these pairs times 81 over their number.
"""

import time
import warnings

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold

from skclif import ConceptBottleneckClassifier

from .fit import gradient_norm
from .influence import problem
from .results import BenchmarkParser, write_table
from .tasks import CONCEPTS, load_task

VALUES = [10.0 ** (k / 2) for k in range(-4, 5)]  # nine, like the peers' own grids
FOLDS = 5
# At more rows, this many pairs of penalties stand for all.
PAIRS = 3
BOUND = 0.005


def _given(task, n_rows):
    """Return training rows, features as a DataFrame so that folds keep positions."""
    given = problem(task, n_rows, 5)
    annotations = pd.DataFrame(given["concepts"], columns=CONCEPTS)
    return pd.DataFrame(given["X"].astype(float)), given["y"], annotations


def _seconds(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def _scores(concepts):
    """Return a scorer of label and concepts, which knows annotations by position."""

    def score(clf, X, y):
        return {
            "label": -log_loss(y, clf.predict_proba(X), labels=clf.classes_),
            "concepts": -_concept_loss(clf, X, concepts.loc[X.index]),
        }

    return score


def _concept_loss(clf, X, concepts):
    losses = []
    for j, (name, proba) in enumerate(clf.predict_concept_proba(X).items()):
        known = concepts[name].notna().to_numpy()
        codes = np.searchsorted(clf.concept_classes_[j], concepts.loc[known, name])
        losses.append(-np.log(proba[known][np.arange(len(codes)), codes]).mean())
    return float(np.mean(losses))


def _search(grid, X, y, concepts):
    search = GridSearchCV(
        ConceptBottleneckClassifier(),
        grid,
        scoring=_scores(concepts),
        refit=False,
        cv=StratifiedKFold(FOLDS),
    )
    return search.fit(X, y, concepts=concepts)


def _grid(values, few):
    """Return a grid of all pairs of values, or of a few of them."""
    pairs = list(ParameterGrid({"C": values, "concept_C": values}))
    if few:
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(pairs), min(PAIRS, len(pairs)), replace=False)
        pairs = [pairs[k] for k in chosen]
    return [{name: [value] for name, value in pair.items()} for pair in pairs]


def speed(task, n_rows, values, few):
    """Return lines of (rows, how, seconds, ratio to ours)."""
    X, y, concepts = _given(task, n_rows)
    auto = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    ours, _ = _seconds(lambda: auto.fit(X, y, concepts=concepts))
    grid = _grid(values, few)
    pairs, _ = _seconds(lambda: _search(grid, X, y, concepts))
    pairs *= len(values) ** 2 / len(grid)
    alone, _ = _seconds(lambda: _search({"C": values}, X, y, concepts))
    bare, black_box = _seconds(lambda: ConceptBottleneckClassifier(C="auto").fit(X, y))
    peer = LogisticRegressionCV(
        Cs=values,
        cv=FOLDS,
        scoring="neg_log_loss",
        tol=_tolerance(X, y, black_box.C_),
        max_iter=10_000,
        l1_ratios=(0,),
        use_legacy_attributes=False,
    )
    theirs, _ = _seconds(lambda: peer.fit(X, y))
    name = "GridSearchCV over C and concept_C"
    name += f", from {len(grid)} of {len(values) ** 2} pairs" if few else ""
    lines = [
        [len(X), 'bottleneck, C="auto", concept_C="auto"', ours, 1.0],
        [len(X), name, pairs, pairs / ours],
        [len(X), "GridSearchCV over C alone", alone, alone / ours],
        [len(X), 'black box, C="auto"', bare, 1.0],
        [len(X), "LogisticRegressionCV, equal gradient", theirs, theirs / bare],
    ]
    return lines


def _tolerance(X, y, C):
    """Return the tolerance at which lbfgs reaches the gradient norm that ours has."""
    for tol in (1e-4, 1e-6, 1e-8):
        clf = LogisticRegression(C=C, tol=tol, max_iter=10_000)
        clf.fit(X, y)
        norm = gradient_norm(X.to_numpy(), y, clf.coef_, clf.intercept_, C)
        if norm <= 1e-4:
            break
    return tol


def quality(tasks, values):
    """Return lines of (task, model, C, concept_C, losses on test, their excess)."""
    lines = []
    for task, n_concepts in tasks:
        train, test = (load_task(task, part, n_concepts) for part in ("train", "test"))
        X, X_test = pd.DataFrame(train.X), pd.DataFrame(test.X)
        results = _search(_grid(values, False), X, train.y, train.concepts).cv_results_
        total = results["mean_test_label"] + results["mean_test_concepts"]
        best = results["params"][int(np.argmax(total))]
        models = {
            "search, both losses": ConceptBottleneckClassifier(**best),
            "auto": ConceptBottleneckClassifier(C="auto", concept_C="auto"),
            "C = concept_C = 1": ConceptBottleneckClassifier(),
        }
        reference = None
        for name, clf in models.items():
            clf.fit(X, train.y, concepts=train.concepts)
            losses = [
                log_loss(test.y, clf.predict_proba(X_test), labels=clf.classes_),
                _concept_loss(clf, X_test, test.concepts),
            ]
            reference = reference or losses
            low, high = clf.concept_C_.min(), clf.concept_C_.max()
            chosen = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            excess = np.subtract(losses, reference)
            met = None if name != "auto" else bool((excess <= BOUND).all())
            lines.append(
                [task, n_concepts, name, clf.C_, chosen, *losses, *excess, met]
            )
    return lines


def main(argv=None):
    parser = BenchmarkParser(
        "tuning",
        __doc__,
        rows=[150],
        task="generated",
        tasks=[("generated", 10)],
        values=[0.1, 1.0],
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1463, 20_000])
    parser.add_argument("--whole", type=int, default=2000, help="rows of a full search")
    parser.set_defaults(
        task="cebab-published",
        tasks=[("cebab-published", 10), ("yelp", 10)],
        values=VALUES,
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "C=.* was chosen for")
    lines = [
        line
        for n_rows in options.rows
        for line in speed(options.task, n_rows, options.values, n_rows > options.whole)
    ]
    write_table(
        "tuning",
        "Choosing penalties (seconds of processor time, one thread)",
        ["rows", "how", "seconds", "ratio"],
        lines,
        [
            f"{options.task}, up to ten concepts, five-way labels; more rows are drawn "
            "from it, with noise. Nine values of C and of concept_C, five folds, no "
            "refit. The ratio is to the choice in closed form of the same model, which "
            "fits the model too.",
            "LogisticRegressionCV has the loosest tol of 1e-4, 1e-6 and 1e-8 with a "
            "gradient norm of at most 1e-4.",
        ],
        options=options,
    )
    write_table(
        "tuning_quality",
        "Log-loss on the test part after a choice of penalties",
        [
            "task",
            "concepts",
            "penalties",
            "C",
            "concept_C",
            "label",
            "concepts (mean)",
            "label: above the search",
            "concepts: above the search",
            f"within {BOUND}",
        ],
        quality(options.tasks, options.values),
        [
            "The search takes the pair with the least sum of both losses in five folds "
            "of the training part.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
