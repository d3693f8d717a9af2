"""What to annotate next: suggestions beside random rows and uncertain rows.

A bottleneck begins with 100 annotated rows, and gets those that a strategy chooses, 20
at a time, with the values that people gave. In the setting "pool" nothing is known of
other rows, and they come with label and annotations. In the setting "missing" all
labels are known from the beginning, and a strategy chooses single annotations, as many
at a time as 20 rows have. Strategies are compared by the area under their curves: the
mean over all steps after the first.

Uncertainty is summed over all that is asked of a row: label and concepts. X_val are
rows of the development part. How `suggest_annotations` chooses was decided with some of
them as X_val and others to judge (``--judge dev``).

The second question is which concepts are worth most care: another value in a fifth of
the annotations of one concept at a time.

    python -m benchmarks.annotate_next [--jobs 2] [--judge dev]
"""

import warnings
from itertools import product

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy import stats
from sklearn.metrics import f1_score, log_loss

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .results import BenchmarkParser, interval, write_table
from .tasks import load_task

TASKS = [("cebab-published", 4), ("yelp", 4)]
SETTINGS = ("pool", "missing")
BASELINES = ("random", "least confidence", "largest entropy")
OURS = "suggest_annotations"
LABEL_ONLY = f"{OURS}, target='loss'"
STRATEGIES = (*BASELINES, OURS, LABEL_ONLY)
TARGETS = {OURS: "all", LABEL_ONLY: "loss"}
PENALTIES = {"C": "auto", "concept_C": "auto"}
MEASURES = ("label log-loss", "concept macro-F1")


def uncertainty(strategy, probabilities, rng):
    """Return how much an uncertain value is worth, for each row."""
    if strategy == "random":
        return rng.random(len(probabilities))
    if strategy == "least confidence":
        return 1 - probabilities.max(axis=1)
    return stats.entropy(probabilities, axis=1)


def score(clf, part):
    """Return the log-loss of the label, and the mean macro-F1 of the concepts."""
    said = clf.predict_concepts(part.X)
    f1 = [
        f1_score(
            part.concepts[name].astype(str), said[name].astype(str), average="macro"
        )
        for name in part.concepts
    ]
    loss = log_loss(part.y, clf.predict_proba(part.X), labels=clf.classes_)
    return loss, float(np.mean(f1))


def known_rows(clf, X, y):
    """Return the rows whose label was seen in training."""
    known = np.isin(y, clf.classes_)
    return X[known], y[known]


def choose_rows(strategy, known, train, validation, n, rng):
    """Return positions of rows of training that are not known yet."""
    pool = np.setdiff1d(np.arange(len(train.y)), known)
    given = train.X[known], train.y[known]
    concepts = train.concepts.iloc[known]
    model = ConceptBottleneckClassifier(**PENALTIES)
    if strategy in BASELINES:
        clf = model.fit(*given, concepts=concepts)
        asked = [clf.predict_proba(train.X[pool])]
        asked += clf.predict_concept_proba(train.X[pool]).values()
        if strategy == "random":
            return clf, rng.permutation(pool)[:n]
        worth = sum(uncertainty(strategy, p, rng) for p in asked)
        return clf, pool[np.argsort(-worth)[:n]]
    explainer = ConceptInfluenceExplainer(model).fit(*given, concepts=concepts)
    clf = explainer.estimator_
    found = explainer.suggest_annotations(
        train.X[pool], *known_rows(clf, *validation), n=n, target=TARGETS[strategy]
    )
    return clf, pool[found.to_frame()["row"]]


def choose_annotations(strategy, given, train, validation, n, rng):
    """Return which annotations to add, as places in the table."""
    model = ConceptBottleneckClassifier(**PENALTIES)
    concepts = train.concepts.astype(object).where(given)
    n = n * given.shape[1]
    if strategy in BASELINES:
        clf = model.fit(train.X, train.y, concepts=concepts)
        asked = clf.predict_concept_proba(train.X).values()
        worth = np.stack([uncertainty(strategy, p, rng) for p in asked], axis=1)
        best = np.argsort(np.where(given, np.inf, -worth), axis=None)[:n]
        return clf, np.unravel_index(best, given.shape)
    explainer = ConceptInfluenceExplainer(model)
    explainer.fit(train.X, train.y, concepts=concepts)
    found = explainer.suggest_annotations(
        None, *validation, n=n, by="annotation", target=TARGETS[strategy]
    ).to_frame()
    names = list(train.concepts)
    columns = [names.index(name) for name in found["concept"]]
    return explainer.estimator_, (found["row"].to_numpy(), columns)


def curve(setting, task, n_concepts, strategy, seed, options):
    """Return the scores after each step, (n_steps + 1, 2)."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    train, dev = (load_task(task, part, n_concepts) for part in ("train", "dev"))
    order = rng.permutation(len(dev.y))
    held_out = order[: options.validation]
    validation = dev.X[held_out], dev.y[held_out]
    judge = load_task(task, "test", n_concepts)
    if options.judge == "dev":
        rest = order[options.validation :]
        judge = type(dev)(
            dev.texts.iloc[rest], dev.X[rest], dev.y[rest], dev.concepts.iloc[rest]
        )
    known = rng.permutation(len(train.y))[: options.start]
    given = np.zeros(train.concepts.shape, dtype=bool)
    given[known] = True
    scores = []
    for _ in range(options.steps + 1):
        if setting == "pool":
            clf, new = choose_rows(strategy, known, train, validation, options.add, rng)
            known = np.append(known, new)
        else:
            clf, new = choose_annotations(
                strategy, given, train, validation, options.add, rng
            )
            given[new] = True
        scores.append(score(clf, judge))
    print(f"measured: {setting}, {task}, {strategy}, seed {seed}", flush=True)
    return np.array(scores)


def area_lines(curves, options):
    """Return the area under each curve, and how far ours are ahead of the others."""
    lines = []
    for setting, (task, n_concepts) in product(options.settings, options.tasks):
        areas = {
            strategy: curves[setting, task, strategy][:, 1:].mean(axis=1)
            for strategy in options.strategies
        }
        for strategy, area in areas.items():
            for m, measure in enumerate(MEASURES):
                ahead = [
                    interval(area[:, m] - areas[other][:, m])
                    if strategy in TARGETS
                    else "-"
                    for other in BASELINES
                ]
                about = [setting, task, n_concepts, strategy, measure]
                lines.append([*about, *ahead, float(area[:, m].mean())])
    return lines


def curve_lines(curves, options):
    """Return the mean score of each strategy after each step."""
    return [
        [*key, options.start + step * options.add, *map(float, mean)]
        for key, found in curves.items()
        for step, mean in enumerate(found.mean(axis=0))
    ]


def spoil(concepts, name, share, rng):
    """Return annotations, a share of one concept's replaced by another value."""
    column = concepts[name].to_numpy(dtype=object).copy()
    values = pd.unique(column)
    for row in rng.permutation(len(column))[: round(share * len(column))]:
        column[row] = rng.choice(values[values != column[row]])
    return concepts.assign(**{name: column})


def damage_lines(task, n_concepts, options):
    """Return the predicted and the real damage of noise in each concept."""
    train, dev = (load_task(task, part, n_concepts) for part in ("train", "dev"))
    judge = load_task(task, options.judge, n_concepts)
    clf = ConceptBottleneckClassifier(**PENALTIES)
    explainer = ConceptInfluenceExplainer(clf)
    explainer.fit(train.X, train.y, concepts=train.concepts)
    fitted = explainer.estimator_
    ranked = explainer.rank_concepts(dev.X, dev.y, share=options.noise)
    predicted = ranked.set_index("concept")["damage"]
    fixed = {
        "C": fitted.C_,
        "concept_C": dict(zip(train.concepts, fitted.concept_C_, strict=True)),
    }

    def loss(model):
        return log_loss(judge.y, model.predict_proba(judge.X), labels=model.classes_)

    before, lines = loss(fitted), []
    for name in train.concepts:
        rng = np.random.default_rng(0)
        losses = []
        for _ in range(options.repeats):
            noisy = spoil(train.concepts, name, options.noise, rng)
            model = ConceptBottleneckClassifier(**fixed)
            losses.append(loss(model.fit(train.X, train.y, concepts=noisy)))
        real = np.array(losses) - before
        lines.append([task, name, float(predicted[name]), float(real.mean())])
        print(f"measured: {task}, noise in {name}", flush=True)
    return lines


def damage_summary(lines):
    """Return how well the order is predicted, and what a quarter carries."""
    table = pd.DataFrame(lines, columns=["task", "concept", "predicted", "real"])
    summary = []
    for task, own in table.groupby("task", sort=False):
        n = max(1, round(len(own) / 4))
        real = own["real"].clip(lower=0)
        by_prediction = own.sort_values("predicted", ascending=False).index[:n]
        correlation = stats.spearmanr(own["predicted"], own["real"]).statistic
        shares = real[by_prediction].sum(), real.nlargest(n).sum()
        summary.append(
            [task, len(own), n, *(float(s / real.sum()) for s in shares), correlation]
        )
    return summary


def write(curves, options):
    """Write the tables of both settings."""
    write_table(
        "annotate_next",
        "What to annotate next: area under the curve",
        [
            *("setting", "task", "concepts", "strategy", "measure"),
            *(f"against {name}" for name in BASELINES),
            "area",
        ],
        area_lines(curves, options),
        [
            f"From {options.start} annotated rows, {options.add} at a time, up to "
            f"{options.start + options.steps * options.add}; {options.seeds} seeds. "
            "The area is the mean over the steps after the first. Differences are "
            "paired by seed, with 95 % t intervals. Good is a lower log-loss (nats), so that "
            "negative differences are good, and a higher macro-F1.",
            f"X_val: {options.validation} rows of the development part; judged on the "
            f"{options.judge} part. C and concept_C are chosen anew in each step "
            "('auto').",
        ],
        options=options,
    )
    write_table(
        "annotate_next_curves",
        "What to annotate next: after each step",
        ["setting", "task", "strategy", "rows annotated", *MEASURES],
        curve_lines(curves, options),
        ["Means over seeds."],
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser(
        "annotate_next",
        __doc__,
        tasks=[("generated", 3)],
        seeds=2,
        steps=1,
        start=60,
        add=5,
        validation=60,
        repeats=1,
        noise_tasks=[("generated", 3)],
    )
    parser.set_defaults(
        tasks=TASKS, noise_tasks=[("cebab-published", 10), ("yelp", 10)]
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--start", type=int, default=100, help="rows annotated")
    parser.add_argument("--add", type=int, default=20, help="rows in each step")
    parser.add_argument("--validation", type=int, default=400, help="rows of X_val")
    parser.add_argument("--repeats", type=int, default=10, help="of noise")
    parser.add_argument("--noise", type=float, default=0.2, help="share of values")
    parser.add_argument("--judge", choices=["dev", "test"], default="test")
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(argv)
    keys = list(product(options.settings, options.tasks, options.strategies))
    asked = list(product(keys, range(options.seeds)))
    found = Parallel(options.jobs)(
        delayed(curve)(setting, *task, strategy, seed, options)
        for (setting, task, strategy), seed in asked
    )
    curves = {}
    for ((setting, (task, _), strategy), _), scores in zip(asked, found, strict=True):
        curves.setdefault((setting, task, strategy), []).append(scores)
    if curves:
        write({key: np.array(own) for key, own in curves.items()}, options)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = [
        line for task in options.noise_tasks for line in damage_lines(*task, options)
    ]
    if not lines:
        return
    write_table(
        "annotate_next_concepts",
        f"Noise in one concept: another value in {options.noise:.0%} of its rows",
        ["task", "concept", "predicted damage", "real damage"],
        lines,
        [
            "Damage: by how much the label's mean log-loss rises (nats). Predicted by "
            "rank_concepts from the development part; real: retrained, mean over "
            f"{options.repeats} draws, on the {options.judge} part."
        ],
        options=options,
    )
    write_table(
        "annotate_next_quarter",
        "What a quarter of the concepts carries of all damage by noise",
        [
            *("task", "concepts", "in a quarter", "share, the predicted quarter"),
            *("share, the worst quarter", "rank correlation"),
        ],
        damage_summary(lines),
        ["Negative damage counts as 0 in shares."],
        options=options,
    )


if __name__ == "__main__":
    main()
