"""Influence against real leave-one-out retraining by scikit-learn.

python -m benchmarks.fidelity [--seed 0] [--rows 100] [--targets 100]
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .results import write_table
from .retraining import RetrainedBottleneck
from .tasks import load_task

METHODS = ("first_order", "leverage")
TASKS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 4),
    ("yelp", 10),
]


@dataclass(frozen=True)
class Fidelity:
    """Influence of rows (and of their paths) beside what retraining gives.

    Attributes
    ----------
    estimated, retrained : ndarray of shape (n_targets, n_rows)
    """

    estimated: np.ndarray
    retrained: np.ndarray

    @property
    def pooled_spearman(self):
        """Rank correlation over all pairs of target and row."""
        return spearmanr(self.estimated.ravel(), self.retrained.ravel()).statistic

    @property
    def median_spearman(self):
        """Median over targets of the rank correlation over rows."""
        pairs = zip(self.estimated, self.retrained, strict=True)
        return float(np.median([spearmanr(a, b).statistic for a, b in pairs]))

    @property
    def relative_error(self):
        """Norm of the difference over the norm of the truth."""
        difference = self.estimated - self.retrained
        return float(np.linalg.norm(difference) / np.linalg.norm(self.retrained))


def choose_rows(totals, n_rows, rng):
    """Return rows, half the most influential over all targets, half random others."""
    order = np.argsort(-np.abs(totals).sum(axis=0), kind="stable")
    top = order[: n_rows // 2]
    return np.r_[top, rng.choice(order[len(top) :], n_rows - len(top), replace=False)]


def compare(
    X, y, concepts, X_test, y_test, *, C, n_rows, seed=0, paths=(), methods=METHODS
):
    """Retrain without rows, and without single loss terms, next to their influence.

    Parameters
    ----------
    X, y, concepts : training data
    X_test, y_test : rows whose log-losses are the targets
    C : float
        Also of the concepts.
    n_rows : int
        How many rows to leave out, one at a time.
    seed : int
        Chooses the random half of them.
    paths : sequence of str
        "label" or names of concepts whose loss terms are left out by themselves.
    methods : sequence of str
        Of the explainer; they are judged on the same rows.

    Returns
    -------
    fidelity : dict of (str, str) to Fidelity
        By method and what is removed: "row", then every path.
    """
    clf = ConceptBottleneckClassifier(C=C, concept_C=C)
    results = {}
    for method in methods:
        explainer = ConceptInfluenceExplainer(clf, method=method)
        explainer.fit(X, y, concepts=concepts)
        results[method] = explainer.influence(X_test, y_test, paths=True)
    first = results[methods[0]]
    truth = RetrainedBottleneck(X, y, concepts, X_test, y_test, C=C, concept_C=C)
    # Both models are the same optimum; else nothing below means anything.
    own = first.explained["value"].to_numpy()
    np.testing.assert_allclose(own, truth.losses, atol=1e-5)
    rows = choose_rows(first.totals, n_rows, np.random.default_rng(seed))
    retrained = _retrained(truth, rows, None)
    fidelity = {
        (method, "row"): Fidelity(result.totals[:, rows], retrained)
        for method, result in results.items()
    }
    for path in paths:
        position = first.paths.index(path)
        removed = path if path == "label" else position - 1
        annotated = rows
        if path != "label":
            annotated = rows[truth.annotated[rows, position - 1]]
        retrained = _retrained(truth, annotated, removed)
        for method, result in results.items():
            estimated = result.values[:, annotated, position]
            fidelity[method, path] = Fidelity(estimated, retrained)
    return fidelity


def _retrained(truth, rows, path):
    columns = [truth.losses - truth.without(row, path) for row in rows]
    return np.stack(columns, axis=1)


def compare_task(task, n_concepts, **kwargs):
    """Run `compare` on a real task; ``n_targets`` test rows are explained."""
    n_targets = kwargs.pop("n_targets")
    train, test = load_task(task, "train", n_concepts), load_task(task, "test")
    rng = np.random.default_rng(kwargs["seed"])
    chosen = rng.choice(len(test.y), n_targets, replace=False)
    return compare(
        train.X, train.y, train.concepts, test.X[chosen], test.y[chosen], **kwargs
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--targets", type=int, default=100)
    options = parser.parse_args()
    rows = []
    for task, n_concepts in TASKS:
        for C in (0.1, 1.0, 10.0):
            paths = ("label", "food", "service")
            fidelity = compare_task(
                task,
                n_concepts,
                C=C,
                n_rows=options.rows,
                n_targets=options.targets,
                seed=options.seed,
                paths=paths,
            )
            for (method, path), one in fidelity.items():
                rows.append(
                    [
                        task,
                        n_concepts,
                        C,
                        method,
                        path,
                        one.pooled_spearman,
                        one.median_spearman,
                        one.relative_error,
                    ]
                )
    write_table(
        "fidelity",
        "Influence against leave-one-out retraining",
        [
            "task",
            "concepts",
            "C = concept_C",
            "method",
            "removed",
            "pooled Spearman",
            "median Spearman over targets",
            "relative error",
        ],
        rows,
        [
            f"{options.rows} training rows, half the most influential and half random, "
            f"each left out by itself; log-loss of {options.targets} random test rows; "
            f"seed {options.seed}.",
            "The retrained model is scikit-learn's LogisticRegression in both stages. "
            "'row' removes the whole row, any other entry that one loss term alone.",
        ],
    )


if __name__ == "__main__":
    main()
