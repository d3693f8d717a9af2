"""What the label gains when people correct concepts, by how its head was trained.

The label head is trained on predicted concepts, on true ones, or on both (`training=`
of ``ConceptBottleneckClassifier``). Then 0, 1, 2 … concepts of each test row are set to
what people read in the text, in random order.

    python -m benchmarks.interventions [--splits 5] [--repeats 10] [--seed 0]
"""

import itertools
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import log_loss

from skclif import ConceptBottleneckClassifier
from skclif._inputs.annotations import Annotations
from skclif._models.fitted import FittedHeads
from skclif.datasets import fetch_cebab
from skclif.metrics import InterventionCurve, intervention_curve
from skclif.numerics.bottleneck import fit_label

from .results import BenchmarkParser, write_table
from .tasks import Part, load_task

TASKS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 4),
    ("yelp", 10),
]
GRID = [0.1, 1.0, 10.0]  # of C and of concept_C
PROBS = (0.25, 0.35, 0.4, 0.5)  # of `training="mixed"`
PARTS = ("train", "dev", "test")
_BOOTSTRAPS = 2_000

# What is to be reached: how much worse at most, in log-loss and in accuracy.
AS_PREDICTED = (0.01, 0.01)  # than sequential
ALL_CORRECTED = (0.02, 0.01)  # than independent
STEP = 0.01  # log-loss of one more correction


@dataclass(frozen=True)
class Measured:
    """A model of one split, and its curves on development and test rows."""

    task: str
    n_concepts: int
    split: int  # 0 is the published one
    training: str
    C: float
    concept_C: float
    dev: InterventionCurve
    test: InterventionCurve
    groups: np.ndarray  # of test rows: rows about the same text

    def values(self, score, when, part="test"):
        """Return a score of every row as predicted, half or all corrected."""
        curve = getattr(self, part)
        last = len(curve.n_corrected) - 1
        step = {"as predicted": 0, "half corrected": last // 2, "all corrected": last}
        return curve.rows(score)[step[when]]


WHEN = ("as predicted", "half corrected", "all corrected")
SCORES = ("accuracy", "log_loss")


def trainings(probs):
    """Return the parameters of every kind of training, by name."""
    mixed = {
        f"mixed, {prob:g}": {"training": "mixed", "intervention_prob": prob}
        for prob in probs
    }
    ends = {name: {"training": name} for name in ("sequential", "independent")}
    return {"sequential": ends["sequential"], **mixed, **ends}


def load(task, n_concepts):
    """Return the parts of a task, and the groups of their rows.

    In CEBaB one group is an original review with its edits: they share most words.
    """
    parts = [load_task(task, part, n_concepts) for part in PARTS]
    if not task.startswith("cebab"):
        texts = pd.concat([part.texts for part in parts]).to_numpy()
        return parts, pd.factorize(texts)[0]
    original = {}
    for part in PARTS:
        bunch = fetch_cebab(part)
        ids = bunch.metadata["original_id"]
        original.update(zip(bunch.data, ids, strict=True))
    ids = [original[text] for part in parts for text in part.texts]
    return parts, pd.factorize(np.array(ids))[0]


def reshuffled(parts, groups, rng):
    """Return other parts of about the same sizes; no group is in two of them."""
    place = rng.permutation(groups.max() + 1)[groups]
    order = np.argsort(place, kind="stable")
    ends = np.cumsum([len(part.y) for part in parts])[:-1]
    ends = np.searchsorted(place[order], place[order][ends - 1], side="right")
    texts, concepts = (
        pd.concat([getattr(part, name) for part in parts], ignore_index=True)
        for name in ("texts", "concepts")
    )
    X, y = (np.concatenate([getattr(part, name) for part in parts]) for name in "Xy")
    return [
        (
            Part(
                texts.iloc[rows],
                X[rows],
                y[rows],
                concepts.iloc[rows].reset_index(drop=True),
            ),
            groups[rows],
        )
        for rows in np.split(order, ends)
    ]


def measure(task, n_concepts, options):
    """Return what every kind of training gives on every split of a task."""
    parts, groups = load(task, n_concepts)
    ends = np.cumsum([len(part.y) for part in parts])[:-1]
    published = list(zip(parts, np.split(groups, ends), strict=True))
    rng = np.random.default_rng(options.seed)
    splits = [reshuffled(parts, groups, rng) for _ in range(options.splits)]
    found = []
    for split, three in enumerate([published, *splits]):
        (train, _), (dev, _), (test, groups_of_test) = three
        for name, clf in fitted(train, dev, options):
            curves = [
                intervention_curve(
                    clf,
                    part.X,
                    part.y,
                    part.concepts,
                    n_repeats=options.repeats,
                    random_state=options.seed,
                )
                for part in (dev, test)
            ]
            one = (task, n_concepts, split, name, clf.C, clf.concept_C)
            found.append(Measured(*one, *curves, groups_of_test))
    return found


def fitted(train, dev, options):
    """Yield a model of each kind of training, by name, with penalties chosen on dev.

    Penalties are chosen by the log-loss as predicted. For mixed training, also by what
    its label head is trained for: the log-losses as predicted and with all concepts
    corrected, weighted as in training.
    """
    # Concept heads are the same whatever the label head is trained on.
    starts = [
        ConceptBottleneckClassifier(training="sequential", concept_C=concept_C).fit(
            train.X, train.y, concepts=train.concepts
        )
        for concept_C in options.grid
    ]
    for name, params in trainings(options.probs).items():
        candidates = [
            with_label_head(start, train, C=C, **params)
            for C, start in itertools.product(options.grid, starts)
        ]
        yield name, best(candidates, dev, 0.0)
        if params["training"] == "mixed":
            yield f"{name} *", best(candidates, dev, params["intervention_prob"])


def with_label_head(clf, train, **params):
    """Return the model that a fit with other `params` of the label head would give."""
    heads = FittedHeads.of(clf)
    annotations = Annotations.read(train.concepts, None, len(train.y))
    rows = heads.encode(train.X, train.y, np.ones(len(train.y)), annotations)
    prob = {"sequential": 0.0, "independent": 1.0}.get(params["training"])
    prob = params["intervention_prob"] if prob is None else prob
    solved, _ = fit_label(
        replace(heads.tensors(), intervention_prob=prob),
        rows.data(),
        penalty=1 / params["C"],
        tol=clf.tol,
        max_iter=clf.max_iter,
    )
    heads = heads.with_parameters(solved)
    new = copy(clf).set_params(**params)
    new.coef_, new.intercept_ = heads.coef, heads.intercept
    return new


def best(candidates, dev, prob):
    """Return the model of least log-loss, in this share with corrected concepts."""
    losses = []
    for clf in candidates:
        loss = log_loss(dev.y, clf.predict_proba(dev.X), labels=clf.classes_)
        if prob:
            corrected = clf.intervene(dev.X, dev.concepts)
            share = log_loss(dev.y, corrected, labels=clf.classes_)
            loss = (1 - prob) * loss + prob * share
        losses.append(loss)
    return candidates[int(np.argmin(losses))]


# --- Tables ---------------------------------------------------------------------------


def curve_lines(found):
    """Return a line for each model of the published splits."""
    return [
        [
            *(one.task, one.n_concepts, one.training, one.C, one.concept_C),
            *(
                float(one.values(score, when).mean())
                for score in SCORES
                for when in WHEN
            ),
        ]
        for one in found
        if one.split == 0
    ]


def comparisons(found):
    """Yield what is compared on each split: (model, when, the one it is held against).

    As predicted it is sequential training, and with all concepts corrected independent
    training.
    """
    by_place = {(m.task, m.n_concepts, m.split, m.training): m for m in found}
    for one in found:
        for when, training in (
            ("as predicted", "sequential"),
            ("all corrected", "independent"),
        ):
            if training != one.training:
                place = (one.task, one.n_concepts, one.split, training)
                yield one, when, by_place[place]


def bootstrapped(differences, rng):
    """Return the ends of a 95 % interval of the mean over rows."""
    n_rows = len(differences)
    counts = rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows), size=_BOOTSTRAPS)
    return np.percentile(counts @ differences / n_rows, [2.5, 97.5])


def difference_lines(found, seed):
    """Return a line for each training, task, moment and score."""
    splits = {}
    for one, when, other in comparisons(found):
        for score in SCORES:
            key = (one.training, when, other.training, score, one.task, one.n_concepts)
            difference = one.values(score, when) - other.values(score, when)
            splits.setdefault(key, []).append(difference)
    lines = []
    for key, differences in splits.items():
        low, high = bootstrapped(differences[0], np.random.default_rng(seed))
        others = [float(each.mean()) for each in differences[1:]]
        pooled = float(np.mean(others)) if others else None
        lines.append(
            [*key, float(differences[0].mean()), float(low), float(high), pooled]
        )
    return lines


def steps(found, training):
    """Return change, low and high of each step of the log-loss, by its number.

    Rows of all tasks and splits are pooled. A row counts at the steps at which one more
    value is put in place, and rows of one group are one draw.
    """
    models = [one for one in found if one.training == training]
    most = max(len(one.test.n_corrected) for one in models)
    found_steps = {}
    for step in range(1, most):
        rows = []
        for one in models:
            if step < len(one.test.n_corrected):
                moved = one.test.n_known >= step
                change = one.test.losses[step] - one.test.losses[step - 1]
                kind = "yelp" if one.task == "yelp" else "cebab"
                ids = [f"{kind} {group}" for group in one.groups[moved]]
                rows.append(pd.DataFrame({"id": ids, "change": change[moved]}))
        found_steps[step] = clustered(pd.concat(rows))
    return found_steps


def clustered(rows):
    """Return the mean over rows and a 95 % interval for draws of whole groups."""
    mean = rows["change"].mean()
    sums = (rows["change"] - mean).groupby(rows["id"]).sum()
    n = len(sums)
    error = np.sqrt(n / (n - 1) * (sums**2).sum()) / len(rows)
    reach = stats.t.ppf(0.975, n - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


def step_lines(found):
    """Return a line for each training: the interval of each step."""
    lines = []
    for training in dict.fromkeys(one.training for one in found):
        cells = [
            f"{low:+.3f} to {high:+.3f}"
            for _, low, high in steps(found, training).values()
        ]
        lines.append([training, *cells])
    width = max(map(len, lines))
    return [line + [None] * (width - len(line)) for line in lines]


def dev_lines(found):
    """Return a line for each training: means over sets and splits of dev scores."""
    lines = []
    for training in dict.fromkeys(one.training for one in found):
        models = [one for one in found if one.training == training]
        means = [
            float(np.mean([one.values(score, when, "dev").mean() for one in models]))
            for score in SCORES
            for when in WHEN
        ]
        worst = []
        for when, against in (
            ("as predicted", "sequential"),
            ("all corrected", "independent"),
        ):
            differences = [
                _dev_mean(one, when) - _dev_mean(other, when)
                for one, moment, other in comparisons(found)
                if (one.training, moment, other.training) == (training, when, against)
            ]
            by_task = np.reshape(differences, (-1, 1 + max(o.split for o in models)))
            worst.append(float(by_task.mean(axis=1).max()) if differences else None)
        lines.append([training, *means, *worst])
    return lines


def _dev_mean(one, when):
    return float(one.values("log_loss", when, "dev").mean())


def bound_lines(found, differences):
    """Return a line for each bound and training: the worst value, and if it is met."""
    lines = []
    for training in dict.fromkeys(one.training for one in found):
        for (when, bounds), (score, sign, place) in itertools.product(
            (("as predicted", AS_PREDICTED), ("all corrected", ALL_CORRECTED)),
            (("log_loss", 1, 0), ("accuracy", -1, 1)),
        ):
            chosen = [
                line
                for line in differences
                if (line[0], line[1], line[3]) == (training, when, score)
            ]
            if chosen:
                bound = sign * bounds[place]
                lines.append(
                    [training, f"{when}: {score} against {chosen[0][2]}"]
                    + _judged(chosen, bound, sign)
                )
        found_steps = steps(found, training)
        step, worst = max(found_steps.items(), key=lambda item: item[1][2])
        held = sum(high <= STEP for _, _, high in found_steps.values())
        lines.append(
            [
                training,
                "each correction: log-loss, upper end of the interval",
                f"<= {STEP:+g}",
                worst[2],
                f"correction {step}",
                f"{held} of {len(found_steps)}",
                f"{held} of {len(found_steps)}",
                "yes" if held == len(found_steps) else "no",
            ]
        )
    return lines


def _judged(lines, bound, sign):
    """Return bound, worst difference, where it is, how many are met, and a verdict."""
    values = [sign * line[6] for line in lines]
    ends = [line[8] if sign > 0 else -line[7] for line in lines]
    within = [value <= abs(bound) for value in values]
    surely = [end <= abs(bound) for end in ends]
    worst = lines[int(np.argmax(values))]
    return [
        f"{'<=' if sign > 0 else '>='} {bound:+g}",
        worst[6],
        f"{worst[4]}, {worst[5]}",
        f"{sum(within)} of {len(lines)}",
        f"{sum(surely)} of {len(lines)}",
        "yes" if all(within) else "no",
    ]


def write(found, options):
    """Write all tables."""
    how = (
        f"all-MiniLM-L6-v2 embeddings, five-way labels. C and concept_C from "
        f"{options.grid} by the log-loss of the development part, as predicted. "
        f"Values are set in random order, mean of {options.repeats} orders a row; a "
        'value that is not annotated stays as predicted. "mixed, s" is '
        'training="mixed" with intervention_prob=s. With * its penalties are chosen by '
        "what it is trained for: 1 - s of the log-loss as predicted and s of that with "
        "all concepts corrected."
    )
    splits = (
        f"Splits: {options.splits} times all rows are divided anew into parts of the "
        "same sizes; a CEBaB review and its edits stay together."
    )
    scores = [f"{score.replace('_', '-')}, {when}" for score in SCORES for when in WHEN]
    write_table(
        "interventions",
        "Label scores as concepts are corrected, test part",
        ["task", "concepts", "training", "C", "concept_C", *scores],
        curve_lines(found),
        [how],
        options=options,
    )
    differences = difference_lines(found, options.seed)
    write_table(
        "interventions_differences",
        "Differences between kinds of training",
        [
            *("training", "concepts are", "against", "score", "task", "concepts"),
            *("difference", "low", "high", "mean over splits"),
        ],
        differences,
        [
            "Score of the first training minus that of the second, on the test part. "
            f"95 % intervals of {_BOOTSTRAPS:,} bootstrap samples of the test rows.",
            splits,
        ],
        options=options,
    )
    lines = step_lines(found)
    write_table(
        "interventions_steps",
        "Change of the log-loss with each further correction",
        ["training", *map(str, range(1, len(lines[0])))],
        lines,
        [
            "Paired 95 % intervals, pooled over tasks and over the published and all "
            "other splits. A row counts where one more of its values is put in place, "
            "and a CEBaB review with its edits is one draw. Corrections above 4 are of "
            "the sets with 10 concepts.",
            splits,
        ],
        options=options,
    )
    write_table(
        "interventions_dev",
        "What the intervention probability is chosen by: development parts",
        [
            *("training", *scores),
            "as predicted, worst log-loss minus sequential",
            "all corrected, worst log-loss minus independent",
        ],
        dev_lines(found),
        [
            "Means over tasks and over the published and all other splits. The last "
            "two columns are the worst over tasks of means over splits.",
            splits,
        ],
        options=options,
    )
    write_table(
        "interventions_bounds",
        "What is to be reached when concepts are corrected",
        [
            *("training", "what", "bound", "worst", "where"),
            *("met", "met by the interval's end", "all met"),
        ],
        bound_lines(found, differences),
        [
            "Differences on the test part of five tasks, and steps pooled as in the "
            "other tables. The bounds are for the default; other kinds of training are "
            "beside it."
        ],
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser(
        "interventions",
        __doc__,
        tasks=[("generated", 4), ("generated", 10)],
        grid=[1.0],
        splits=1,
        repeats=2,
    )
    parser.add_argument("--splits", type=int, default=5, help="beside the published")
    parser.add_argument("--repeats", type=int, default=10, help="random orders a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(tasks=TASKS, grid=GRID, probs=PROBS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = []
    for task, n_concepts in options.tasks:
        found += measure(task, n_concepts, options)
        print(f"measured: {task}, {n_concepts} concepts", flush=True)
    write(found, options)


if __name__ == "__main__":
    main()
