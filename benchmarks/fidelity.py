"""Influence against real leave-one-out retraining.

Every method, for whole rows and for every single loss term of them, over tasks,
strengths of the penalties, both ways of training, and hard activations.

    python -m benchmarks.fidelity [--seed 0] [--rows 100] [--targets 100] [--jobs 1]

With ``--training mixed`` only such models are measured, into tables of their own.
"""

import itertools
import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.requests import class_codes
from skclif._results.validation import Agreement, resolution

from .results import BenchmarkParser, write_table
from .retraining import RetrainedBottleneck
from .tasks import load_task

METHODS = ("newton", "leverage", "first_order")
TASKS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 4),
    ("yelp", 10),
]
STRENGTHS = (0.1, 1.0, 10.0)
# What newton is meant to reach, for whole rows and for every loss term by itself: least
# pooled and median Spearman, largest relative error.
BOUNDS = (0.9995, 0.999, 0.01)
_PROBABILITY = "probability"
_CELL = ["task", "concepts", "training", "activations", "C", "concept_C"]
_MEASURES = ["pooled Spearman", "median Spearman over targets", "relative error"]


@dataclass(frozen=True)
class Cell:
    """A model on a task."""

    task: str
    n_concepts: int
    training: str
    bottleneck: str
    C: float
    concept_C: float

    @property
    def by_scikit_learn(self):
        """Whether scikit-learn retrains too: in one cell a task."""
        plain = (self.training, self.bottleneck) == ("mixed", "soft")
        return plain and self.C == self.concept_C == 1

    def estimator(self):
        """Return the model, not fitted."""
        return ConceptBottleneckClassifier(
            training=self.training,
            bottleneck=self.bottleneck,
            C=self.C,
            concept_C=self.concept_C,
        )


def cells(tasks, strengths, only=None):
    """Return all cells: hard activations only where C and concept_C are the same.

    `only` is one kind of training.
    """
    kinds = [
        ("mixed", "soft"),
        ("sequential", "soft"),
        ("independent", "soft"),
        ("mixed", "hard"),
    ]
    return [
        Cell(task, n_concepts, training, bottleneck, C, concept_C)
        for (task, n_concepts), (training, bottleneck), C, concept_C in (
            itertools.product(tasks, kinds, strengths, strengths)
        )
        if (bottleneck == "soft" or concept_C == C) and only in (None, training)
    ]


def compare(estimator, data, tests, *, n_rows, seed=0, by_scikit_learn=False):
    """Retrain without rows, and without single loss terms, next to their influence.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier
    data : tuple of training features, labels and annotations
    tests : tuple of features and labels
        Their log-losses, and the probabilities of their labels, are the targets.
    n_rows : int
        How many rows to leave out, one at a time: half the most influential over all
        targets, half random.
    seed : int
        Chooses the random half of them.
    by_scikit_learn : bool
        Whether scikit-learn retrains too, for the losses.

    Returns
    -------
    agreements : dict of (str, str, str) to Agreement
        By method, target, and what is removed: "row", "interaction", "label", or a
        concept. scikit-learn's truth, held against our own, has method "scikit-learn".
    """
    X, y, concepts = data
    explainer = ConceptInfluenceExplainer(estimator).fit(X, y, concepts=concepts)
    solved = explainer._solved_model()
    codes = class_codes(explainer.classes_, *tests)
    questions = _questions(solved, *tests, codes)
    rows = _choose(solved, questions[:1], n_rows, np.random.default_rng(seed))
    found = {
        method: _influence(solved, method, questions, rows)
        for method in ("retraining", *METHODS)
    }
    truth = found.pop("retraining")
    if by_scikit_learn:
        found["scikit-learn"] = _retrained_by_scikit_learn(
            explainer.estimator_, data, tests, rows
        )
    present = concepts.notna().to_numpy()[rows]
    agreements = {}
    for (method, values), target in itertools.product(
        found.items(), ("loss", _PROBABILITY)
    ):
        if method == "scikit-learn" and target != "loss":
            continue
        part = slice(len(codes)) if target == "loss" else slice(len(codes), None)
        least = resolution(truth[part].sum(axis=2))
        for removed, estimated, real in _pairs(values, truth, concepts.columns):
            there = np.ones(len(rows), dtype=bool)
            if removed in concepts.columns:
                there = present[:, concepts.columns.get_loc(removed)]
            pair = estimated[part][:, there], real[part][:, there]
            agreements[method, target, removed] = Agreement(*pair, least)
    return agreements


def _questions(solved, X, y, codes):
    """Return losses, then errors: the probabilities of labels with another sign."""
    import torch

    from skclif.numerics.targets import LabelTarget

    codes = torch.from_numpy(codes)
    return [
        question
        for kind in ("loss", "error")
        for question in solved.questions(
            X, lambda block, kind=kind: LabelTarget(kind, codes[block]), None
        )
    ]


def _choose(solved, questions, n_rows, rng):
    """Return rows, half the most influential over all targets, half random others."""
    values = _influence(solved, "leverage", questions, None).sum(axis=2)
    order = np.argsort(-np.abs(values).sum(axis=0), kind="stable")
    top = order[: n_rows // 2]
    return np.r_[top, rng.choice(order[len(top) :], n_rows - len(top), replace=False)]


def _influence(solved, method, questions, rows):
    """Return influence, (n_answers, n_rows, n_paths)."""
    blocks = list(solved.blocks(method, questions, paths=True, rows=rows))
    n_answers = max(answers.stop for answers, _, _ in blocks)
    n_rows = max(block.stop for _, block, _ in blocks)
    values = np.empty((n_answers, n_rows, blocks[0][2].shape[2]))
    for answers, block, part in blocks:
        values[answers, block] = part
    return values


def _pairs(values, truth, concepts):
    yield "row", values.sum(axis=2), truth.sum(axis=2)
    for k, path in enumerate(["label", *concepts, "interaction"]):
        if k < values.shape[2]:
            yield path, values[:, :, k], truth[:, :, k]


def _retrained_by_scikit_learn(estimator, data, tests, rows):
    """Return the truth of losses as scikit-learn's models give it."""
    X, *rest = data
    X = X.astype(np.float64)  # it would fit features of single precision in that
    truth = RetrainedBottleneck(
        X,
        *rest,
        *tests,
        C=estimator.C,
        concept_C=estimator.concept_C,
        intervention_prob=estimator.intervention_prob_,
    )
    removed = truth.losses[:, None, None] - truth.without(rows)
    whole, terms = removed[:, :, :1], removed[:, :, 1:]
    return np.concatenate([terms, whole - terms.sum(axis=2, keepdims=True)], axis=2)


def measure(cell, n_rows, n_targets, seed):
    """Return a record for every method, target and what is removed."""
    train = load_task(cell.task, "train", cell.n_concepts)
    test = load_task(cell.task, "test", cell.n_concepts)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(test.y), n_targets, replace=False)
    agreements = compare(
        cell.estimator(),
        (train.X.astype(np.float32), train.y, train.concepts),
        (test.X[chosen], test.y[chosen]),
        n_rows=n_rows,
        seed=seed,
        by_scikit_learn=cell.by_scikit_learn,
    )
    at = [
        cell.task,
        cell.n_concepts,
        cell.training,
        cell.bottleneck,
        cell.C,
        cell.concept_C,
    ]
    records = []
    for (method, target, removed), one in agreements.items():
        share = None
        if removed == "interaction":
            whole = agreements[method, target, "row"].estimated
            share = float(np.linalg.norm(one.estimated) / np.linalg.norm(whole))
        measures = [one.spearman, one.median_spearman, one.relative_error]
        records.append([*at, method, target, removed, *measures, share])
    return records


def _grid(data):
    """Return a line for every cell, method and target."""
    lines = []
    for key, part in data.groupby([*_CELL, "method", "target"], sort=False):
        row = part[part.removed == "row"].iloc[0]
        terms = part[~part.removed.isin(["row", "interaction"])]
        weakest = terms.loc[terms[_MEASURES[0]].idxmin()]
        median = terms.loc[terms[_MEASURES[1]].idxmin()]
        furthest = terms.loc[terms[_MEASURES[2]].idxmax()]
        shares = part.share.dropna()
        lines.append(
            [
                *key,
                *(float(row[name]) for name in _MEASURES),
                f"{weakest[_MEASURES[0]]:.4f} ({weakest.removed})",
                f"{median[_MEASURES[1]]:.4f} ({median.removed})",
                f"{furthest[_MEASURES[2]]:.4f} ({furthest.removed})",
                float(shares.iloc[0]) if len(shares) else None,
            ]
        )
    return lines


_OF_PATHS = [
    "lowest pooled Spearman of a path",
    "lowest median Spearman of a path",
    "largest relative error of a path",
]


def _summary(data, by):
    """Return a line for each group: the worst of its cells, every measure by itself."""
    lines = []
    for key, part in data.groupby(by, sort=False):
        row = part[part.removed == "row"]
        terms = part[~part.removed.isin(["row", "interaction"])]
        line = [*key]
        for one in (row, terms):
            line += [float(one[name].min()) for name in _MEASURES[:2]]
            line.append(float(one[_MEASURES[2]].max()))
        shares = part.share.dropna()
        lines.append([*line, float(shares.max()) if len(shares) else None])
    return lines


def misses(data):
    """Return the lines of newton that are further from the truth than is meant."""
    part = data[(data.method == "newton") & (data.removed != "interaction")]
    pooled, median, error = BOUNDS
    # Where nothing has an effect that counts, there is no rank to miss.
    missed = (
        (part[_MEASURES[0]] < pooled)
        | (part[_MEASURES[1]] < median)
        | (part[_MEASURES[2]] > error)
    )
    columns = [*_CELL, "target", "removed", *_MEASURES]
    return part.loc[missed, columns].to_numpy(object).tolist()


def main(argv=None):
    parser = BenchmarkParser(
        "fidelity",
        __doc__,
        rows=6,
        targets=10,
        tasks=[("generated", 2)],
        strengths=[1.0],
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument(
        "--training", choices=["mixed", "sequential", "independent"], help="only this"
    )
    parser.add_argument("--jobs", type=int, default=1, help="cells measured at a time")
    parser.set_defaults(tasks=TASKS, strengths=STRENGTHS)
    options = parser.parse_args(argv)
    verbose = 0 if options.small else 10
    jobs = Parallel(options.jobs, verbose=verbose)(
        delayed(measure)(cell, options.rows, options.targets, options.seed)
        for cell in cells(options.tasks, options.strengths, options.training)
    )
    columns = [*_CELL, "method", "target", "removed", *_MEASURES, "share"]
    data = pd.DataFrame([record for job in jobs for record in job], columns=columns)
    truths = data[data.method == "scikit-learn"]
    data = data[data.method != "scikit-learn"]
    how = (
        f"{options.rows} training rows, half the most influential over all targets, "
        f"half random; the losses, and the probabilities of their labels, of "
        f"{options.targets} random test rows; seed {options.seed}. float32 features, "
        "as embeddings come."
    )
    notes = [
        how,
        "A path is that one loss term removed alone: the label's, or a concept's. "
        "Interaction is what the whole row's removal is more than theirs together, as "
        "a share of the norm.",
        "Retraining is our own fit to a gradient of 1e-9. In one cell a task "
        "scikit-learn's LogisticRegression retrained both stages too; what the two "
        f"give differs by {truths[_MEASURES[2]].max():.1e} of its norm at most, for "
        "rows and for every path.",
    ]
    share = "interaction's share"
    start = "fidelity" if options.training is None else f"fidelity_{options.training}"
    write_table(
        f"{start}_cells",
        "Influence against leave-one-out retraining, every cell",
        [*_CELL, "method", "target", *_MEASURES, *_OF_PATHS, share],
        _grid(data),
        notes,
        options=options,
    )
    notes.append(f"C and concept_C in {', '.join(map(str, options.strengths))}.")
    of_model = ["training", "activations", "method", "target"]
    tasks = ", ".join(f"{task} with {n} concepts" for task, n in options.tasks)
    for name, worst, by in [
        (f"{start}_tasks", "penalties", ["task", "concepts", *of_model]),
        (start, "tasks and penalties", of_model),
    ]:
        write_table(
            name,
            f"Influence against leave-one-out retraining, the worst over {worst}",
            [*by, *_MEASURES, *_OF_PATHS, share],
            _summary(data, by),
            [*notes, f"Tasks: {tasks}."],
            options=options,
        )
    write_table(
        f"{start}_misses",
        "What newton removes further from the truth than it is meant to",
        [*_CELL, "target", "removed", *_MEASURES],
        misses(data),
        [
            how,
            "Meant are a pooled Spearman of {} or more, a median of {} or more, and a "
            "relative error of {} or less; all that is not listed has them.".format(
                *BOUNDS
            ),
        ],
        options=options,
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
