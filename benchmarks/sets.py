"""Groups of training rows removed as a whole, beside real retraining without them.

First, how near estimates come to both stages fitted again without a group: sums of
influences, pairs of rows, rescaled influence functions, and newton. Groups are random,
or clusters of texts that are alike. Second, the time of one group beside a refit that
starts from the fitted parameters. Third, how often `smallest_flip_set` finds a set as
small as the smallest of all sets of up to three of 30 rows.

    python -m benchmarks.sets [--refits 6] [--cases 200]
"""

import time
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.cluster import KMeans

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs.training_rows import TrainingRows
from skclif._models.fitted import FittedHeads
from skclif.numerics.bottleneck import concept_problem, solve_heads
from skclif.numerics.sets import remove_sets
from skclif.numerics.targets import LabelTarget, Question

from ._flips import MAX_SIZE, Case
from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = ["cebab-published", "yelp", "nhs"]
SHARES = [0.02, 0.05, 0.1, 0.2]
SMALL = {
    "tasks": ["generated"],
    "shares": [0.1],
    "refits": 1,
    "cases": 1,
    "sizes": [200],
    "strengths": [1.0],
}
METHODS = {
    "sum": "sum of influences",
    "pairwise": "pairwise",
    "rescaled": "rescaled, summed",
    "leverage": "leverage",
    "newton": "newton",
}
_N_TARGETS, _N_TIMED = 100, 4
_TOL = 1e-9
FIDELITY_NOTES = [
    "Log-losses of the first 100 rows of the dev part; effect of a group's presence. "
    "Truth: both stages fitted from zero without the group, to a gradient of 1e-9. "
    "Error: norm of the difference over the norm of the truth, over all targets and "
    "groups of a size. Spearman: over the same pairs; the least of the sizes.",
    "Groups are a partition of the training rows, at random or by k-means of the "
    "vectors, into 50, 20, 10 or 5 parts; of each partition, six groups by chance are "
    "left out for real. Clusters are of unequal size.",
    "sum: first order. pairwise: arXiv 2605.15675, parameters to first order and the "
    "target to second. rescaled: arXiv 2506.06656, effects of single removals in "
    "closed form, summed. leverage: the same changes of parameters summed, and the "
    "target evaluated once; that is method='leverage' with groups=.",
]
TIME_NOTES = [
    "CPU seconds of one thread. Warm refit: both stages without the group, from the "
    "parameters with it, by the classifier's own solver to its own tol. newton: "
    "seconds for each of four groups, removed together, with the evaluation of 100 "
    "targets and what groups share; the factors that the explainer made in fit are not "
    "counted. share: newton's of the warm refit.",
    "Rows beyond those of Yelp's training part are drawn from it with replacement, "
    "with noise of .3 standard deviations added to each of 384 features (float32); "
    "labels and annotations of ten concepts are those of the row. Groups at random.",
]
FLIP_NOTES = [
    "30 rows of 4 normal features, two concepts, a label of two or of three classes, "
    "by turns; the row whose prediction is to change is another one, so that the "
    "prediction is not sure. All 4,525 sets of up to three rows are solved by a dense "
    "Newton method of another code, 435 and 30 of them first. Sets that hold all rows "
    "of a class or a value are left out by both.",
    "As small: smallest_flip_set(max_size=3) finds a set of the smallest size that "
    "there is, and says that there is none where there is none.",
]


# --- Fidelity -------------------------------------------------------------------------


def partition(kind, X, share, seed):
    """Return the group of every row."""
    n_parts = round(1 / share)
    if kind == "random":
        return np.random.default_rng(seed).permutation(len(X)) % n_parts
    return KMeans(n_parts, n_init=1, random_state=seed).fit_predict(X)


def losses(clf, X, codes):
    """Return the log-loss of every row."""
    proba = clf.predict_proba(X)
    return -np.log(proba[np.arange(len(codes)), codes])


class Truth:
    """A task, and models that are fitted again without groups."""

    def __init__(self, task, C):
        train, dev = load_task(task, "train"), load_task(task, "dev")
        self.X, self.y = train.X.astype(np.float32), train.y
        self.concepts = train.concepts.reset_index(drop=True)
        self.targets = dev.X[:_N_TARGETS].astype(np.float32), dev.y[:_N_TARGETS]
        self.clf = ConceptBottleneckClassifier(C=C, concept_C=C)
        self.exact = clone(self.clf).set_params(tol=_TOL)
        everything = np.ones(len(self.X), dtype=bool)
        self.before = self._losses(everything)

    def of(self, group):
        """Return the effect of the presence of a group, (n_targets,)."""
        return self.before - self._losses(~group)

    def _losses(self, kept):
        clf = self.exact.fit(self.X[kept], self.y[kept], concepts=self.concepts[kept])
        X, y = self.targets
        return losses(clf, X, np.searchsorted(clf.classes_, y))

    def estimates(self, groups, methods):
        """Return the influence of all groups by each method, (n_targets, n_groups)."""
        rows, found = {}, {}
        for method in methods:
            name = {"sum": "first_order", "rescaled": "leverage"}.get(method, method)
            explainer = self.explainer(name)
            if method == "rescaled":
                values = explainer.influence(*self.targets).values
                rows = [values[:, groups == g].sum(axis=1) for g in np.unique(groups)]
                found[method] = np.stack(rows, axis=1)
            else:
                found[method] = explainer.influence(*self.targets, groups=groups).values
        return found

    def explainer(self, method):
        """Return an explainer of the task; it is fitted once."""
        if not hasattr(self, "fitted"):
            self.fitted = ConceptInfluenceExplainer(self.clf).fit(
                self.X, self.y, concepts=self.concepts
            )
        return self.fitted.set_params(method=method)


def fidelity(task, C, shares, refits, methods):
    """Return lines: task, C, groups, method, error by size, least Spearman."""
    truth, lines = Truth(task, C), []
    for kind in ("random", "clusters"):
        errors = {method: {} for method in methods}
        ranks = {method: [] for method in methods}
        for share in shares:
            groups = partition(kind, truth.X, share, seed=0)
            found = truth.estimates(groups, methods)
            defined = np.flatnonzero(np.isfinite(found["newton"]).all(axis=0))
            chosen = np.random.default_rng(1).permutation(defined)[:refits]
            real = np.stack([truth.of(groups == g) for g in chosen], axis=1)
            for method in methods:
                own = found[method][:, chosen]
                error = np.linalg.norm(own - real) / np.linalg.norm(real)
                errors[method][share] = f"{error:.4f}"
                ranks[method].append(spearmanr(own.ravel(), real.ravel())[0])
        for method in methods:
            least = f"{min(ranks[method]):.5f}"
            cells = [errors[method].get(share, "-") for share in SHARES]
            lines.append([task, C, kind, METHODS[method], *cells, least])
    return lines


# --- Time -----------------------------------------------------------------------------


def enlarged(task, n_rows):
    """Return so many rows: those of a task, or rows like them."""
    train = load_task(task, "train")
    rng = np.random.default_rng(0)
    at = rng.integers(len(train.y), size=n_rows)
    noise = 0.3 * train.X.std(axis=0) * rng.normal(size=(n_rows, train.X.shape[1]))
    X = (train.X[at] + noise).astype(np.float32)
    return X, train.y[at], train.concepts.iloc[at].reset_index(drop=True)


def warm_refit(clf, rows, kept):
    """Fit both stages to some rows, from the parameters for all rows; see seconds."""
    heads = FittedHeads.of(clf)
    bottleneck, data = heads.tensors(), rows.rows(torch.from_numpy(kept))
    limits = {"tol": clf.tol, "max_iter": clf.max_iter}
    start = time.process_time()
    problem = concept_problem(
        bottleneck.concepts, data, heads.penalties["concept_penalties"]
    )
    parameters, _ = solve_heads(problem, bottleneck.concept_parameters, **limits)
    moved = replace(bottleneck, concept_parameters=parameters)
    problem = moved.label_problem(data, heads.penalties["penalty"])
    solve_heads(problem, moved.label_parameters, **limits)
    return time.process_time() - start


def times(task, n_rows, C, shares):
    """Return lines: rows, share, seconds of refits and of newton, and the ratio."""
    X, y, concepts = enlarged(task, n_rows)
    clf = ConceptBottleneckClassifier(C=C, concept_C=C)
    explainer = ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)
    rows, lines = TrainingRows(**explainer._training).data(), []
    for share in shares:
        parts = partition("random", X, share, seed=0)
        groups = [np.flatnonzero(parts == g) for g in range(_N_TIMED)]
        kept = parts != 0
        warm = warm_refit(explainer.estimator_, rows, np.flatnonzero(kept))
        start = time.process_time()
        clone(clf).fit(X[kept], y[kept], concepts=concepts[kept])
        cold = time.process_time() - start
        own = newton_seconds(explainer, X[:_N_TARGETS], y[:_N_TARGETS], groups)
        ratio = f"{own / warm:.3f}"
        lines.append([n_rows, f"{share:.0%}", C, cold, warm, own, ratio])
    return lines


def newton_seconds(explainer, X, y, groups):
    """Return the seconds that newton takes for each group, all of them together."""
    solved, codes = explainer._solved, np.searchsorted(explainer.classes_, y)
    sets = [torch.from_numpy(rows) for rows in groups]
    start = time.process_time()
    target = LabelTarget("loss", torch.from_numpy(codes))
    questions = [Question(solved.inputs(explainer._features(X)), target)]
    for _ in remove_sets(
        "newton",
        solved.bottleneck,
        solved.data,
        solved.factors,
        questions,
        sets,
        paths=False,
    ):
        pass
    return (time.process_time() - start) / len(groups)


# --- Flip sets ------------------------------------------------------------------------


def flip(case):
    """Return what `smallest_flip_set` finds for a case, and the seconds it takes."""
    clf = ConceptBottleneckClassifier(
        C=case.C, concept_C=case.C, intervention_prob=case.share
    )
    explainer = ConceptInfluenceExplainer(clf)
    explainer.fit(case.X, case.y, concepts=np.array(["no", "yes"])[case.concepts])
    start = time.process_time()
    found = explainer.smallest_flip_set(case.x, max_size=MAX_SIZE)
    return found, time.process_time() - start


def compare_with_all_sets(n_cases):
    """Return lines: the smallest size there is, and what was found."""
    counts, seconds = {}, {}
    for seed in range(n_cases):
        case = Case.draw(seed)
        smallest = case.smallest()
        found, own = flip(case)
        size = len(found.rows) if found.found else 0
        assert found.found == found.proved
        counts.setdefault(smallest, []).append(size)
        seconds.setdefault(smallest, []).append(own)
    lines, right = [], 0
    for smallest in sorted(counts, key=lambda size: size or np.inf):
        sizes = np.array(counts[smallest])
        as_small = int((sizes == smallest).sum())
        right += as_small
        none = int((sizes == 0).sum()) if smallest else 0
        larger = len(sizes) - as_small - none
        mean = float(np.mean(seconds[smallest]))
        of = smallest or f"none up to {MAX_SIZE}"
        lines.append([of, len(sizes), as_small, larger, none, mean])
    every = [n for sizes in seconds.values() for n in sizes]
    share = f"{right} ({right / n_cases:.1%})"
    lines.append(["all", n_cases, share, *np.sum([r[3:5] for r in lines], axis=0)])
    lines[-1] = [*map(_plain, lines[-1]), float(np.mean(every))]
    return lines


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def write_fidelity(options):
    """Measure and write the first table."""
    sizes = [f"error, {share:.0%}" for share in SHARES]
    lines = []
    for task in options.tasks:
        for C in options.strengths:
            methods = METHODS if options.strengths[0] == C else ["newton"]
            lines += fidelity(task, C, options.shares, options.refits, methods)
    write_table(
        "sets",
        "Effects of groups of rows, beside both stages fitted again without them",
        ["task", "C", "groups", "method", *sizes, "Spearman"],
        lines,
        FIDELITY_NOTES,
        options=options,
    )


def write_times(options):
    """Measure and write the second table."""
    task, C = "generated" if options.small else "yelp", options.strengths[0]
    columns = ["rows", "group", "C", "fit from zero", "warm refit", "newton", "share"]
    write_table(
        "sets_time",
        "Seconds for the removal of a group, beside refits",
        columns,
        [line for n in options.sizes for line in times(task, n, C, options.shares)],
        TIME_NOTES,
        options=options,
    )


def write_flips(options):
    """Measure and write the third table."""
    write_table(
        "sets_flips",
        "Sizes of flip sets, beside the smallest of all sets of 30 rows",
        ["smallest", "cases", "as small", "larger", "not found", "seconds"],
        compare_with_all_sets(options.cases),
        FLIP_NOTES,
        options=options,
    )


PARTS = {"fidelity": write_fidelity, "time": write_times, "flips": write_flips}


def main(argv=None):
    parser = BenchmarkParser("sets", __doc__, **SMALL)
    parser.add_argument("--refits", type=int, default=6, help="of each partition")
    parser.add_argument("--cases", type=int, default=200, help="of flip sets")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=list(PARTS),
        default=list(PARTS),
        help="what to measure; all",
    )
    parser.set_defaults(
        tasks=TASKS, shares=SHARES, sizes=[2000, 20_000], strengths=[1.0, 10.0]
    )
    options = parser.parse_args(argv)
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
