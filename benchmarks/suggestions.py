"""What suggested changes are worth, beside what they are said to be worth.

Labels and annotations of the training rows are spoiled, and changes suggested by half
of the other rows. The model is retrained from zero with all of them, and measured on
the other half. The validation labels are also put in random order, to see whether that
is warned of. Single changes are retrained too, beside their closed form.

    python -m benchmarks.suggestions [--seeds 20] [--rows 40]
"""

import itertools
import os
import warnings

import numpy as np
from sklearn.metrics import accuracy_score, log_loss

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.requests import class_codes, numeric_targets
from skclif._explain.suggestions.candidates import KINDS, candidate_edits
from skclif._explain.suggestions.selection import (
    REACH,
    ChangeEffects,
    follow,
    solve_edited,
)
from skclif._explain.suggestions.validation import Validation
from skclif._inputs.training_rows import TrainingRows
from skclif._results.ranks import spearman
from skclif.exceptions import SuggestionWarning

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = ["cebab-published", "yelp"]
SINGLE_TASKS = ["cebab-masked", "cebab-published", "yelp"]
SETTINGS = [("mixed", 0.2), ("independent", 0.2), ("mixed", 0.0)]
# Training rows of single changes.
ALL, SURE, FEW = "all", "few, sure", 200
COLUMNS = [
    "task",
    "training",
    "spoiled",
    "changes",
    "sum of single effects",
    "honest effect",
    "retrained, test rows",
    "accuracy, test rows",
    "interval covers",
    "warned",
    "warned, labels shuffled",
    "by the interval alone",
]
# What the guard is meant to reach, as shares of seeds.
COVERED, WARNED = 0.8, 0.9


def spoil(values, share, rng):
    """Return values of which a share is drawn anew, from those that occur."""
    values = np.array(values, dtype=object)
    known = np.flatnonzero(values != None)  # noqa: E711
    wrong = known[rng.random(len(known)) < share]
    choices = np.array(sorted(set(values[known])), dtype=object)
    values[wrong] = rng.choice(choices, len(wrong))
    return values


def problem(task, share, rng):
    """Return spoiled training rows, validation rows and test rows."""
    train, *others = (load_task(task, part) for part in ("train", "dev", "test"))
    y = spoil(train.y, share, rng).astype(train.y.dtype)
    concepts = train.concepts.astype(object)
    concepts = concepts.where(concepts.notna(), None)
    concepts = concepts.apply(lambda column: spoil(column, share, rng))
    X, labels = (np.concatenate([getattr(o, part) for o in others]) for part in "Xy")
    half, rest = np.array_split(rng.permutation(len(labels)), 2)
    training = train.X.astype(np.float32), y, concepts
    return training, (X[half], labels[half]), (X[rest], labels[rest])


def retrained(estimator, training, edit):
    """Return the estimator, fitted from zero to edited rows."""
    X, y, concepts = training[0], training[1].copy(), training[2].copy()
    for row, label in edit.get("y", {}).items():
        y[row] = label
    for name, values in edit.get("concepts", {}).items():
        for row, value in values.items():
            concepts.iloc[row, concepts.columns.get_loc(name)] = value
    weights = np.ones(len(y))
    for row, weight in edit.get("sample_weight", {}).items():
        weights[row] = weight
    weights[edit.get("drop", [])] = 0
    return estimator.fit(X, y, weights, concepts=concepts)


def suggested(explainer, validation, seed):
    """Return suggestions, and whether they came with a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = explainer.suggest_edits(*validation, random_state=seed)
    return found, any(issubclass(w.category, SuggestionWarning) for w in caught)


def asked(explainer, X, y, kinds=KINDS):
    """Return menu and validation rows as the numerics take them."""
    model, solved = explainer._heads(), explainer._solved_model()
    validation = Validation(
        solved,
        X,
        class_codes(explainer.classes_, X, y),
        lambda codes: numeric_targets(model, "loss", codes, solved.device),
        about_labels=True,
    )
    return candidate_edits(
        solved, kinds, TrainingRows(**explainer._training), False
    ), validation


def measure(task, training, share, seed):
    """Return what one list was said to do, and did."""
    rng = np.random.default_rng(seed)
    rows, (X, y), (X_test, y_test) = problem(task, share, rng)
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(training=training)
    ).fit(*rows[:2], concepts=rows[2])
    found, warned = suggested(explainer, (X, y), seed)
    estimator = ConceptBottleneckClassifier(training=training)
    after = retrained(estimator, rows, found.as_edit())
    change = [
        score(y_test, getattr(after, how)(X_test), **labels)
        - score(y_test, getattr(explainer, how)(X_test), **labels)
        for score, how, labels in (
            (log_loss, "predict_proba", {"labels": explainer.classes_}),
            (accuracy_score, "predict", {}),
        )
    ]
    shuffled, shuffled_warned = suggested(explainer, (X, rng.permutation(y)), seed)
    return {
        "listed": found.n_chosen,
        "sum": float(found.frame["effect"].sum()),
        "effect": found.effect,
        "retrained": change[0],
        "accuracy": change[1],
        "covered": found.interval[0] <= change[0] <= found.interval[1],
        "warned": warned,
        "shuffled": shuffled_warned,
        "shuffled interval": not shuffled.interval[1] < 0,
    }


def guard(options):
    """Measure every task and setting, and write the table as it grows."""
    lines = []
    for (training, share), task in itertools.product(options.settings, options.tasks):
        seeds = [measure(task, training, share, seed) for seed in range(options.seeds)]
        mean = {key: float(np.mean([s[key] for s in seeds])) for key in seeds[0]}
        lines.append([task, training, f"{share:.0%}", *mean.values()])
        write_table(
            "suggestions",
            "Suggested changes, said and done",
            COLUMNS,
            lines,
            [
                f"Means over {options.seeds} seeds; the last four columns are shares "
                "of seeds. Effects are changes of the mean log-loss (nats, negative = "
                "good), and of accuracy (positive = good). A seed spoils the training "
                "rows and divides development and test rows into validation and test "
                "rows, half each.",
                "All kinds of changes, as many as a tenth of the training rows. "
                '"Retrained" is the bottleneck fitted from zero to the changed rows, '
                "measured on rows that had no part in choosing.",
                f"Meant: the interval covers in {COVERED:.0%} of seeds or more, and "
                f"with shuffled labels {WARNED:.0%} or more are warned of.",
            ],
            options=options,
        )


def few_and_sure(task, rng):
    """Return few training rows, half of their annotations missing, and other rows."""
    training, validation, _ = problem(task, 0.0, rng)
    X, y, concepts = training
    few = rng.permutation(len(y))[:FEW]
    concepts = concepts.iloc[few].reset_index(drop=True)
    concepts = concepts.mask(rng.random(concepts.shape) < 0.5, None)
    return (X[few], y[few], concepts), validation


def singles(task, training, case, n_rows, seed=0):
    """Return a line a kind of change: closed form against retraining."""
    rng = np.random.default_rng(seed)
    if case == SURE:
        rows, validation = few_and_sure(task, rng)
        penalties = {"C": 10.0, "concept_C": 30.0}
    else:
        rows, validation, _ = problem(task, 0.2, rng)
        penalties = {}
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(training=training, **penalties)
    ).fit(*rows[:2], concepts=rows[2])
    lines = []
    for kind in KINDS:
        candidates, questions = asked(explainer, *validation, (kind,))
        n = len(questions)
        (best,), _ = candidates.best(questions.adjoint(np.full((1, n), 1 / n)))
        annotated = candidates.solved.data.annotated.numpy()
        missing = np.zeros(len(best), dtype=bool)
        if kind == "annotate":
            missing = ~annotated[best.rows, best.paths - 1]
        for what, part in (
            (kind, best.take(~missing)),
            ("annotate, first one", best.take(missing)),
        ):
            if len(part):
                told = _agreement(candidates, questions, part, n_rows, rng)
                lines.append([task, training, case, what, *told])
    return lines


def _agreement(candidates, validation, changes, n_rows, rng):
    """Return how single changes agree with retraining, half of them the largest.

    Spearman, the relative error, the median of listed over true effects, the share of
    changes that are solved again, and Spearman and the relative error of the effects
    that are linear in the moves.
    """
    order = np.argsort(-np.abs(changes.effects), kind="stable")
    top = order[: n_rows // 2]
    rest = rng.permutation(order[len(top) :])[: n_rows - len(top)]
    changes = changes.take(np.concatenate([top, rest]))
    questions = validation.questions()
    before = candidates.solved.values(questions).mean()
    truth = np.array(
        [
            solve_edited(
                candidates.solved, candidates.edited(changes.take([i])), tol=1e-9
            )
            .values(questions)
            .mean()
            - before
            for i in range(len(changes))
        ]
    )
    closed = ChangeEffects.of(candidates, validation, changes)
    listed = follow(candidates, validation, closed).of_rows.mean(axis=1)
    found = []
    for effects in (listed, changes.effects):
        found.append(float(spearman(effects[None], truth[None])[0]))
        found.append(float(np.linalg.norm(effects - truth) / np.linalg.norm(truth)))
    ratio, solved = np.median(listed / truth), (closed.reach > REACH).mean()
    return found[0], found[1], float(ratio), float(solved), *found[2:]


def compare_singles(options):
    """Compare single changes with retraining, and write their table."""
    write_table(
        "suggestions_single",
        "Single changes in closed form against retraining",
        [
            "task",
            "training",
            "rows",
            "change",
            "Spearman",
            "relative error",
            "listed / true, median",
            "solved again",
            "Spearman, to choose",
            "relative error, to choose",
        ],
        [
            line
            for task in options.single_tasks
            for training in ("mixed", "independent")
            for case in (ALL, SURE)
            for line in singles(task, training, case, options.rows)
        ],
        [
            f"Effects on the mean log-loss of half of the development and test rows. "
            f"{options.rows} changes of each kind, half those of largest effect, half "
            "random ones; of every row and path only the best value. Retraining is our "
            "own fit to a gradient of 1e-9.",
            f"{ALL}: all training rows; 20 % of labels and of annotations are drawn "
            f"anew. {SURE}: {FEW} training rows as they are, half of their annotations "
            "missing, C=10 and concept_C=30, so that the model is sure of most rows.",
            '"Solved again": the share of changes that move a score of their row by '
            f"more than {REACH:g} logits, whose listed effects are by solving again. "
            '"To choose": the effects that choose among all changes, which are linear '
            "in the moves of the parameters.",
        ],
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser(
        "suggestions",
        __doc__,
        seeds=2,
        rows=6,
        tasks=["generated"],
        single_tasks=["generated"],
        settings=SETTINGS[:1],
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=40, help="single changes a kind")
    parser.add_argument("--only", choices=["lists", "single"], help="one table")
    parser.set_defaults(tasks=TASKS, single_tasks=SINGLE_TASKS, settings=SETTINGS)
    options = parser.parse_args(argv)
    if options.only != "single":
        guard(options)
    if options.only != "lists":
        compare_singles(options)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
