"""How often the interval of a list of suggestions holds what the list does.

Rows are generated, so that what a list does can be told on 20,000 others: the list that
all validation rows choose, which is the one that people are shown. On real tasks,
validation rows are drawn from the development and test parts, and the rest of these
says what the list does.

    python -m benchmarks.coverage [--runs 2000] [--real-runs 40] [--jobs 1]

The default size takes about an hour and a half on one core; --jobs 2 halves that.
"""

import itertools
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import torch
from scipy import stats

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.suggestions.selection import cross_fit, solve_edited

from .results import BenchmarkParser, write_table
from .suggestions import asked, spoil
from .tasks import load_task

N_TRAIN, N_FEATURES, N_CONCEPTS, N_TRUTH = 60, 5, 2, 20_000
N_DRAWS = 4  # of validation rows for a model
ROWS = [50, 100, 500]
NOISE = [0.0, 0.2]
MODELS = ["black box", "bottleneck"]
SHUFFLED = "bottleneck, labels shuffled"
REAL_TASKS = ["cebab-published", "yelp"]
COLUMNS = [
    "model",
    "changed",
    "validation rows",
    "runs",
    "effect, said",
    "effect, true",
    "interval covers",
    "t interval of rows covers",
    "width",
    "harmless or harmful",
    "helps",
    "helps, but harmless or harmful",
]
REAL_COLUMNS = [
    "task",
    "changed",
    "validation rows",
    "runs",
    "effect, said",
    "effect, rest",
    "interval covers",
    "with the error of the rest",
    "helps",
    "helps, but harmless or harmful",
]


def generated(n_rows, rng):
    """Return rows whose labels follow two concepts and one more feature."""
    X = rng.normal(size=(n_rows, N_FEATURES))
    seen = X[:, :N_CONCEPTS] + rng.normal(0, 0.5, (n_rows, N_CONCEPTS))
    concepts = np.where(seen > 0, "good", "bad").astype(object)
    scores = np.sign(seen).sum(axis=1) + X[:, N_CONCEPTS] / 2
    return X, (scores + rng.normal(0, 0.5, n_rows) > 0).astype(int), concepts


def flipped(values, share, rng):
    """Return values of two kinds, of which a share is changed to the other."""
    one, other = np.unique(values)
    swapped = np.where(values == one, other, one).astype(values.dtype)
    return np.where(rng.random(values.shape) < share, swapped, values)


class Rest:
    """Rows that tell what a list does, and their loss under the model as it is."""

    def __init__(self, explainer, X, y):
        candidates, rows = asked(explainer, X, y)
        self.questions = rows.questions()
        self.before = candidates.solved.values(self.questions)

    def effects(self, solved):
        """Return the effect on every row of a change to another model."""
        return solved.values(self.questions) - self.before


def told(explainer, validation, rest, seed):
    """Return what is said of a list, and its effect on each of other rows."""
    candidates, rows = asked(explainer, *validation)
    random_state = np.random.RandomState(seed)
    budget = max(1, explainer.n_samples_ // 10)
    chosen, effects, _ = cross_fit(candidates, rows, budget, random_state)
    edited = candidates.edited(chosen.changes)
    truth = rest.effects(solve_edited(candidates.solved, edited))
    low, high = effects.interval()
    reach = stats.sem(effects.held_out()) * stats.t.ppf(0.975, len(rows) - 1)
    said = {
        "said": effects.mean(),
        "true": truth.mean(),
        "covers": low <= truth.mean() <= high,
        "rows cover": abs(effects.mean() - truth.mean()) <= reach,
        "width": high - low,
        "harmful": truth.mean() >= 0,
        "helps": high < 0 and rows.related() is not False,
    }
    return {**said, "wrong": said["helps"] and said["harmful"]}, truth


def one_model(model, noise, n_rows, seed):
    """Return what is said of lists for one model, and true: one list a draw."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, n_rows, round(100 * noise)])
    X, y, concepts = generated(N_TRAIN, rng)
    y, concepts = flipped(y, noise, rng), flipped(concepts, noise, rng)
    given = {} if model == "black box" else {"concepts": concepts}
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, **given)
    rest = Rest(explainer, *generated(N_TRUTH, rng)[:2])
    found = []
    for draw in range(N_DRAWS):
        X_val, y_val, _ = generated(n_rows, rng)
        if model == SHUFFLED:
            y_val = rng.permutation(y_val)
        found.append(told(explainer, (X_val, y_val), rest, draw)[0])
    return found


def many(run, n_seeds, jobs):
    """Return the mean of all that the runs say, one seed each."""
    if jobs == 1:
        found = list(map(run, range(n_seeds)))
    else:
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(run, range(n_seeds), chunksize=5))
    lines = list(itertools.chain.from_iterable(found))
    return {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}


def cells(options):
    """Return model, noise and number of validation rows of every line."""
    usual = itertools.product(options.rows, NOISE, MODELS)
    lines = [(model, noise, n_rows) for n_rows, noise, model in usual]
    return [*lines, (SHUFFLED, 0.2, 100)]


def coverage(options):
    """Measure all cells of generated rows, and write the table as it grows."""
    lines = []
    for model, noise, n_rows in cells(options):
        run = partial(one_model, model, noise, n_rows)
        n_models = -(-options.runs // N_DRAWS)
        mean = many(run, n_models, options.jobs)
        if model == SHUFFLED:  # other rows are not like these
            mean |= {"covers": None, "rows cover": None}
        lines.append(
            [model, f"{noise:.0%}", n_rows, n_models * N_DRAWS, *mean.values()]
        )
        write_table(
            "coverage",
            "The interval of a list against what the list does",
            COLUMNS,
            lines,
            [
                "Effects are changes of the mean log-loss (nats, negative = good), "
                "means over runs; what follows the true effect are shares of runs, "
                "except the mean width. Meant: the 95 % interval covers in 93 to 97 %, "
                'and "helps" is said of lists that do not help in at most 3 %.',
                f"A run draws validation rows. Every {N_DRAWS} runs draw "
                f"{N_TRAIN} training rows, of whose labels and annotations the share "
                f"is changed, and {N_TRUTH:,} others, on which the list that all "
                "validation rows choose is measured. All kinds of changes, as many as "
                "a tenth of the training rows.",
                '"t interval of rows" takes the effects on validation rows as '
                "independent, as skclif did before. With shuffled labels, the other "
                "rows have the right ones, so an interval has nothing to cover.",
            ],
            options=options,
        )


@cache
def parts_of(task):
    """Return training rows, and features and labels of the other parts together."""
    train, *others = (load_task(task, part, 4) for part in ("train", "dev", "test"))
    X, y = (np.concatenate([getattr(o, part) for o in others]) for part in "Xy")
    return train, X, y


def one_real_model(task, noise, n_rows, seed):
    """Return what is said of lists for one model of a task, and what the rest says."""
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, n_rows, round(100 * noise)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of long texts, of rows that hold a head
        train, X, labels = parts_of(task)
        concepts = train.concepts.astype(object)
        concepts = concepts.where(concepts.notna(), None)
        concepts = concepts.apply(lambda column: spoil(column, noise, rng))
        y = spoil(train.y, noise, rng).astype(train.y.dtype)
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        explainer.fit(train.X.astype(np.float32), y, concepts=concepts)
    found = []
    for draw in range(N_DRAWS):
        some, other = np.split(rng.permutation(len(labels)), [n_rows])
        rest = Rest(explainer, X[other], labels[other])
        said, truth = told(explainer, (X[some], labels[some]), rest, draw)
        reach = np.hypot(said["width"] / 2, 1.96 * stats.sem(truth))
        said["widened"] = abs(said["said"] - said["true"]) <= reach
        found.append(said)
    return found


def real(options):
    """Measure the real tasks."""
    names = ["said", "true", "covers", "widened", "helps", "wrong"]
    lines = []
    for task, noise, n_rows in itertools.product(
        options.tasks, options.real_noise, options.rows
    ):
        run = partial(one_real_model, task, noise, n_rows)
        n_models = -(-options.real_runs // N_DRAWS)
        mean = many(run, n_models, options.jobs)
        line = [task, f"{noise:.0%}", n_rows, n_models * N_DRAWS]
        lines.append([*line, *(mean[name] for name in names)])
        write_table(
            "coverage_real",
            "The interval of a list on real rows",
            REAL_COLUMNS,
            lines,
            [
                f"As above, through a bottleneck of four concepts. Every {N_DRAWS} "
                "runs draw the share of labels and annotations anew. A run draws the "
                "validation rows from the development and test parts; the rest of "
                "these, fewer than 2,000 rows, says what the list does. Its error is "
                'not in the interval; the column "with the error of the rest" adds it.',
                f"With {options.real_runs} runs, a share has a standard error of "
                f"{np.sqrt(0.05 * 0.95 / options.real_runs):.2f} at 95 %.",
            ],
            options=options,
        )


def main(argv=None):
    parser = BenchmarkParser(
        "coverage",
        __doc__,
        runs=4,
        real_runs=4,
        rows=[50],
        tasks=["generated"],
        real_noise=[0.2],
    )
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--real-runs", type=int, default=40)
    parser.add_argument("--only", choices=["generated", "real"], help="one table")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.set_defaults(rows=ROWS, tasks=REAL_TASKS, real_noise=NOISE)
    options = parser.parse_args(argv)
    if options.only != "real":
        coverage(options)
    if options.only != "generated":
        real(options)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
