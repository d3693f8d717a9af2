"""All ways to train a bottleneck: what joint training gains, and how much of it leaks.

Both stages are trained one after the other, on predicted concepts, true ones or both,
or together (`training=` of ``ConceptBottleneckClassifier``). Penalties are chosen once
for each task, on its training rows. Then removals by influence are compared with
training again.

    python -m benchmarks.joint [--weights 0.3 1 3 10 100] [--removed 12]
"""

import numpy as np
import torch
from sklearn.metrics import log_loss

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.datasets import fetch_cebab
from skclif.metrics import intervention_curve
from skclif.metrics._bottleneck_parts import leakage

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = [("cebab-masked", 4), ("cebab-published", 10), ("yelp", 10)]
WEIGHTS = (0.3, 1.0, 3.0, 10.0, 100.0)
PROB = 0.4  # of true annotations, where both are used
_BINS, _BOOTSTRAPS = 15, 2_000
_TARGETS = 40  # test rows whose loss is explained
COLUMNS = [
    *("task", "training", "label accuracy", "log-loss", "log-loss, dev"),
    *("calibration error", "concept accuracy", "accuracy, concepts corrected"),
    *("log-loss, concepts corrected", "leakage, nats", "steps"),
]
NOTES = [
    "Trained on the train part, measured on the test part; MiniLM embeddings. C and "
    'concept_C are those that "auto" chooses in sequential training, for all.',
    f"Calibration error: mean gap between confidence and accuracy in {_BINS} bins. "
    "Concept accuracy: mean over concepts, of rows with an annotation. Corrected: with "
    "all annotations of a row in place of predictions. Leakage: by how much the label "
    "head's answer lowers the log-loss of a model that sees the true concepts, on rows "
    "that are annotated in full; 0 is none.",
    f"Mixed and joint, {PROB:g}: that share of true annotations in the label head. "
    "Steps: of Newton, and of L-BFGS in joint training.",
]


def trainings(weights):
    """Return the parameters of every kind of training, by name."""
    found = {name: {"training": name} for name in ("sequential", "independent")}
    found[f"mixed, {PROB:g}"] = {"training": "mixed", "intervention_prob": PROB}
    for weight in weights:
        found[f"joint, weight {weight:g}"] = {
            "training": "joint",
            "concept_weight": weight,
        }
    found[f"joint, weight 1, {PROB:g}"] = {
        "training": "joint",
        "intervention_prob": PROB,
    }
    return found


def measure(task, n_concepts, weights):
    """Return a line for each training, and what the rows of each lost, by name."""
    train, dev, test = (
        load_task(task, p, n_concepts) for p in ("train", "dev", "test")
    )
    first = ConceptBottleneckClassifier(
        training="sequential", C="auto", concept_C="auto"
    ).fit(train.X, train.y, concepts=train.concepts)
    penalties = {
        "C": first.C_,
        "concept_C": dict(zip(first.concept_names_in_, first.concept_C_, strict=True)),
    }
    lines, rows = [], {}
    for name, params in trainings(weights).items():
        clf = ConceptBottleneckClassifier(**penalties, **params)
        clf.fit(train.X, train.y, concepts=train.concepts)
        rows[name] = of_rows(clf, test)
        means = {score: np.nanmean(values) for score, values in rows[name].items()}
        proba = clf.predict_proba(dev.X)
        lines.append(
            [
                *(f"{task}, {n_concepts}", name, means["right"], means["loss"]),
                log_loss(dev.y, proba, labels=clf.classes_),
                calibration_error(clf, test),
                *(means["concepts"], means["corrected right"], means["corrected"]),
                *(means["leakage"], clf.n_iter_),
            ]
        )
        print(f"measured: {task}, {name}", flush=True)
    return lines, rows


def of_rows(clf, test):
    """Return the scores of every test row by name; NaN where it has none."""
    proba = clf.predict_proba(test.X)
    codes = np.searchsorted(clf.classes_, test.y)
    own = proba[np.arange(len(codes)), codes]
    said = np.asarray(clf.predict_concepts(test.X), dtype=object)
    known = test.concepts.notna().to_numpy()
    right = np.where(known, said == test.concepts.to_numpy(dtype=object), np.nan)
    curve = intervention_curve(
        clf, test.X, test.y, test.concepts, n_repeats=1, random_state=0
    )
    return {
        "loss": -np.log(own),
        "right": (proba.argmax(axis=1) == codes).astype(float),
        "concepts": by_row(right.astype(float)),
        "corrected": curve.losses[-1],
        "corrected right": curve.correct[-1],
        "leakage": leaked(clf, proba, test),
    }


def by_row(right):
    """Return the mean over the annotations of each row; NaN if it has none."""
    counts = (~np.isnan(right)).sum(axis=1)
    return np.where(counts, np.nansum(right, axis=1) / np.maximum(counts, 1), np.nan)


def leaked(clf, proba, test):
    """Return what the label head knows of each label beyond true concepts, in nats."""
    logs = np.log(proba)
    logs -= logs.mean(axis=1, keepdims=True)
    values = {("log_loss", "soft"): logs[:, 0]}  # only says that there is a reading
    values |= {("reading", "soft", str(k)): column for k, column in enumerate(logs.T)}
    found = leakage(
        values,
        test.concepts,
        np.asarray(test.y),
        np.ones(len(test.y)),
        dict.fromkeys(test.concepts, "categorical"),
        ConceptBottleneckClassifier(),
        np.random.RandomState(0),
    )
    return found["leakage", "soft"]


def calibration_error(clf, test):
    """Return the mean gap between confidence and accuracy over bins of confidence."""
    proba = clf.predict_proba(test.X)
    sure, right = proba.max(axis=1), clf.predict(test.X) == test.y
    bins = np.minimum((sure * _BINS).astype(int), _BINS - 1)
    gaps = [abs((sure - right)[bins == k].sum()) for k in range(_BINS)]
    return sum(gaps) / len(sure)


def gains(task, n_concepts, rows, units):
    """Return what each joint training gains over the sequential one, with intervals."""
    before, table = rows["sequential"], []
    for name, after in rows.items():
        if not name.startswith("joint"):
            continue
        full = ~np.isnan(before["leakage"])
        fall = before["loss"] - after["loss"]
        grown = after["leakage"] - before["leakage"]
        table.append(
            [
                *(f"{task}, {n_concepts}", name),
                bootstrapped(units, after["right"] - before["right"]),
                bootstrapped(units, fall),
                bootstrapped(units, after["concepts"] - before["concepts"]),
                bootstrapped(units, after["corrected"] - before["corrected"]),
                bootstrapped(units[full], fall[full]),
                bootstrapped(units[full], grown[full]),
                share(units[full], grown[full], fall[full]),
            ]
        )
    return table


def bootstrapped(units, values):
    """Return a mean with its 95 % bootstrap interval over units, as text."""
    known = ~np.isnan(values)
    means = resampled_means(units[known], values[known])
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values[known].mean():+.3f} ({low:+.3f} to {high:+.3f})"


def share(units, part, whole):
    """Return the ratio of two means with its interval, if the second is above 0."""
    parts, wholes = resampled_means(units, part), resampled_means(units, whole)
    if np.quantile(wholes, 0.025) <= 0:
        return "no sure gain"
    low, high = np.quantile(parts / wholes, [0.025, 0.975])
    return f"{part.mean() / whole.mean():.2f} ({low:.2f} to {high:.2f})"


def resampled_means(units, values):
    """Return the means of bootstrap samples of units, the same units each time."""
    _, codes = np.unique(units, return_inverse=True)
    sums = np.bincount(codes, values), np.bincount(codes)
    draws = np.random.default_rng(0).integers(
        len(sums[0]), size=(_BOOTSTRAPS, len(sums[0]))
    )
    return sums[0][draws].sum(axis=1) / sums[1][draws].sum(axis=1)


def units_of(task, test):
    """Return which test rows are one draw: a CEBaB review and its edits."""
    if not task.startswith("cebab"):
        return np.arange(len(test.y))
    bunch = fetch_cebab("test")
    ids = dict(zip(bunch.data, bunch.metadata["original_id"], strict=True))
    return np.array([ids[text] for text in test.texts])


def fidelity(task, n_concepts, weights, n_removed):
    """Return how near removals by influence are to training again."""
    train, test = (load_task(task, part, n_concepts) for part in ("train", "test"))
    table = []
    for weight in weights:
        clf = ConceptBottleneckClassifier(training="joint", concept_weight=weight)
        explainer = ConceptInfluenceExplainer(clf)
        explainer.fit(train.X, train.y, concepts=train.concepts)
        report = explainer.validate(
            test.X[:_TARGETS],
            test.y[:_TARGETS],
            n_rows=n_removed,
            n_paths=0,
            random_state=0,
        )
        for line in report.to_frame().to_dict("records"):
            table.append(
                [
                    *(f"{task}, {n_concepts}", weight, line["method"]),
                    *(line["relative_error"], line["spearman"], line["time_ratio"]),
                    explainer.damping_,
                ]
            )
        print(f"removed: {task}, weight {weight:g}", flush=True)
    return table


def main(argv=None):
    parser = BenchmarkParser(
        "joint",
        __doc__,
        tasks=[("generated", 3)],
        weights=[10.0],
        removal_weights=[10.0],
        removed=2,
    )
    parser.add_argument("--weights", type=float, nargs="+", help="of the concepts")
    parser.add_argument("--removed", type=int, default=12, help="training rows")
    parser.set_defaults(tasks=TASKS, weights=WEIGHTS, removal_weights=[1.0, 10.0])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    table, differences, removals = [], [], []
    for task, n_concepts in options.tasks:
        lines, rows = measure(task, n_concepts, options.weights)
        table += lines
        units = units_of(task, load_task(task, "test", n_concepts))
        differences += gains(task, n_concepts, rows, units)
    for task, n_concepts in options.tasks:
        removals += fidelity(task, n_concepts, options.removal_weights, options.removed)
    write_table(
        "joint",
        "Bottlenecks by how they are trained",
        COLUMNS,
        table,
        NOTES,
        options=options,
    )
    write_table(
        "joint_gain",
        "Joint training minus sequential training",
        [
            *("task", "training", "label accuracy, higher", "log-loss, lower by"),
            *("concept accuracy, higher", "log-loss, concepts corrected, higher"),
            *("log-loss, lower by, in full", "leakage, higher by, nats, in full"),
            "leaked share of the gain",
        ],
        differences,
        [
            "Paired differences over test rows with 95 % bootstrap intervals; a CEBaB "
            "review and its edits are one draw. In full: of rows with all annotations. "
            "The last column is the growth of leakage over the fall of the log-loss, "
            "where it surely falls: 1 means that all of the gain is what the "
            "label head knows beyond the concepts.",
        ],
        options=options,
    )
    write_table(
        "joint_removal",
        "Influence of jointly trained stages against training again",
        [
            *("task", "concept_weight", "method", "relative error", "Spearman"),
            *("times as fast as training again", "damping"),
        ],
        removals,
        [
            f"{options.removed} training rows, half of them the most influential, "
            f"removed one at a time; effects on the loss of {_TARGETS} test rows. C "
            "and concept_C are 1. Training again starts from the trained model. "
            "First order takes the same time for all training rows as for these.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
