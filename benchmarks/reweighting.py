"""What learned weights are worth where labels are wrong, and where they are not.

Labels of the training part are changed, some rows of the development part are known to
be clean, the test part judges. Every measure is of one fitted classifier on the whole
test part; classifiers of one task, noise and seed see the same rows.

    python -m benchmarks.reweighting [--inner NAME] [--seeds N] [--resume]

Measures go to ``.cache/reweighting.jsonl`` as they come; ``--resume`` keeps those that
are there, so that a run of hours can be cut in pieces. With ``--small`` they go to the
folder of the tables instead.
"""

import json
import os
import warnings
from functools import cache, cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.classification import CleanLearning
from cleanlab.filter import find_label_issues
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import LinearSVC

from skclif import ConceptBottleneckClassifier, InfluenceReweighter

from .noise import binned_gap, pollute
from .results import BenchmarkParser, interval, write_table
from .tasks import load_task

TASKS = ["cebab-published", "yelp"]
NOISES = [
    ("none", 0.0),
    ("uniform", 0.1),
    ("uniform", 0.2),
    ("uniform", 0.3),
    ("adjacent", 0.2),
]
CLEAN = [0, 100, 500, "all"]
GRID = [0.1, 0.3, 1.0, 3.0, 10.0]
MEASURES = ["accuracy", "macro-F1", "log-loss", "calibration error"]
HIGHER_IS_BETTER = MEASURES[:2]
SMALL = {
    "inners": ["logistic regression, C=1"],
    "seeds": 1,
    "tasks": ["generated"],
    "noises": NOISES[1:3],
    "clean": [0, 100, "all"],
}
_STORE = Path(__file__).parent.parent / ".cache" / "reweighting.jsonl"

# Without concepts it is scikit-learn's logistic regression, several times as fast.
_LOGISTIC = ConceptBottleneckClassifier(tol=1e-4)
INNERS = {
    "logistic regression, C=1": _LOGISTIC,
    "logistic regression, C tuned": _LOGISTIC,
    "boosting": HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=8, max_bins=32, random_state=0
    ),
    "linear SVC, calibrated": CalibratedClassifierCV(
        LinearSVC(C=0.1, random_state=0), cv=3, ensemble=False
    ),
    "bottleneck, 4 concepts": ConceptBottleneckClassifier(tol=1e-4),
}


class Numbered(ClassifierMixin, BaseEstimator):
    """A bottleneck whose rows carry their number, to look annotations up by.

    The peers slice features, and do not know of annotations.
    """

    def __init__(self, concepts=None):
        self.concepts = concepts

    def fit(self, X, y, sample_weight=None):
        """Fit on the first columns, with the annotations of the last one."""
        concepts = self.concepts.iloc[X[:, -1].astype(int)]
        self.model_ = clone(INNERS["bottleneck, 4 concepts"])
        self.model_.fit(X[:, :-1], y, sample_weight, concepts=concepts)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        """Predict from all but the number."""
        return self.model_.predict(X[:, :-1])

    def predict_proba(self, X):
        """Predict from all but the number."""
        return self.model_.predict_proba(X[:, :-1])


def calibration_error(y, classes, proba):
    """Return the expected gap between confidence and accuracy, in bins of equal width.

    It is that of the predicted class (Guo et al., 2017).
    """
    confidence, hit = proba.max(axis=1), classes[proba.argmax(axis=1)] == y
    return binned_gap(confidence, hit)


def measures(fitted, X, y):
    proba, classes = fitted.predict_proba(X), fitted.classes_
    predicted = classes[proba.argmax(axis=1)]
    return [
        float(np.mean(predicted == y)),
        float(f1_score(y, predicted, average="macro", zero_division=0)),
        float(log_loss(y, proba, labels=classes)),
        float(calibration_error(y, classes, proba)),
    ]


@cache
def parts(task):
    return tuple(load_task(task, part, 4) for part in ("train", "dev", "test"))


class Situation:
    """Training rows with changed labels, and clean rows below them."""

    def __init__(self, task, kind, rate, seed):
        train, dev, self.test = parts(task)
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(dev.y))
        self.seed, self.n = seed, len(train.y)
        self.X = np.concatenate([train.X, dev.X[order]])
        noisy = pollute(train.y, kind, rate, rng)
        self.y = np.concatenate([noisy, dev.y[order]])
        self.codes, self._out = np.searchsorted(np.unique(self.y), self.y), {}
        self.right = np.concatenate([noisy == train.y, np.ones(len(order), bool)])
        self.concepts = pd.concat(
            [train.concepts, dev.concepts.iloc[order]], ignore_index=True
        )

    def rows(self, n_clean):
        """Return positions of the noisy rows and so many clean ones."""
        n_dev = len(self.y) - self.n
        return np.arange(self.n + (n_dev if n_clean == "all" else n_clean))

    def inner(self, name):
        """Return the classifier, its features by row, and its reweighter's extras."""
        clf, X = clone(INNERS[name]), self.X
        if name == "logistic regression, C tuned":
            clf.set_params(C=self.tuned_C)
        if name == "bottleneck, 4 concepts":
            return Numbered(self.concepts), np.c_[X, np.arange(len(X))]
        return clf, X

    @cached_property
    def tuned_C(self):
        """Return the C of least log-loss out of fold, on the noisy rows alone."""
        losses = []
        for C in GRID:
            proba = self._out_of_fold(clone(_LOGISTIC).set_params(C=C))
            losses.append(log_loss(self.y[: self.n], proba))
        return GRID[int(np.argmin(losses))]

    def own_probability(self, name):
        """Return out-of-fold probabilities of noisy rows, and of their own labels."""
        if name not in self._out:
            self._out[name] = self._out_of_fold(*self.inner(name))
        proba = self._out[name]
        return proba, proba[np.arange(self.n), self.codes[: self.n]]

    def _out_of_fold(self, clf, X=None):
        X = self.X if X is None else X
        folds = StratifiedKFold(5, shuffle=True, random_state=self.seed)
        y = self.y[: self.n]
        return cross_val_predict(clf, X[: self.n], y, cv=folds, method="predict_proba")


def _fit(s, name, rows, weights=None):
    clf, X = s.inner(name)
    weights = None if weights is None else weights[rows]
    return clf.fit(X[rows], s.y[rows], sample_weight=weights), X


def noisy(s, name, n_clean):
    return _fit(s, name, s.rows(0))


def with_clean(s, name, n_clean):
    return _fit(s, name, s.rows(n_clean))


def oracle(s, name, n_clean):
    rows = s.rows(n_clean)
    return _fit(s, name, rows[s.right[rows]])


def clean_learning(s, name, n_clean):
    clf, X = s.inner(name)
    rows = s.rows(n_clean)
    peer = CleanLearning(clf, seed=s.seed, verbose=False)
    peer.fit(X[rows], s.codes[rows])
    peer.classes_ = np.unique(s.y)
    return peer, X


def drop_issues(s, name, n_clean):
    """Drop what cleanlab finds by self-confidence, out of fold."""
    proba, _ = s.own_probability(name)
    codes = np.searchsorted(np.unique(s.y), s.y[: s.n])
    issues = find_label_issues(codes, proba, return_indices_ranked_by="self_confidence")
    return _fit(s, name, np.delete(s.rows(0), issues))


def weigh_by_probability(s, name, n_clean):
    _, own = s.own_probability(name)
    return _fit(s, name, s.rows(0), own / own.mean())


def reweighted(s, name, n_clean, include_validation=True):
    clf, X = s.inner(name)
    rows, extra = s.rows(n_clean), {}
    if isinstance(clf, Numbered):
        clf = clone(INNERS[name])
        extra["concepts"] = s.concepts.iloc[rows]
    if n_clean:
        extra["is_clean"] = rows >= s.n
    reweighter = InfluenceReweighter(
        clf, include_validation=include_validation, random_state=s.seed
    )
    return reweighter.fit(s.X[rows], s.y[rows], **extra), X


def reweighted_only(s, name, n_clean):
    return reweighted(s, name, n_clean, include_validation=False)


# Methods, and the numbers of clean rows that make a difference to them.
METHODS = {
    "noisy": (noisy, [0]),
    "oracle": (oracle, CLEAN),
    "clean rows added": (with_clean, CLEAN[1:]),
    "CleanLearning": (clean_learning, CLEAN),
    "issues dropped": (drop_issues, [0]),
    "own probability": (weigh_by_probability, [0]),
    "reweighted": (reweighted, CLEAN),
    "reweighted, clean rows left out": (reweighted_only, CLEAN[1:]),
}


def measure(inner, plan, done):
    """Yield one record a task, noise, seed, number of clean rows and method.

    Where a task has no more clean rows than asked for, "all" of them are the same rows.
    """
    seeds = range(plan.seeds)
    for seed, task, (kind, rate) in product(seeds, plan.tasks, plan.noises):
        situation, same = Situation(task, kind, rate, seed), {}
        for n_clean, (method, (run_, sizes)) in product(plan.clean, METHODS.items()):
            key = [inner, task, kind, rate, seed, n_clean, method]
            if n_clean not in sizes or json.dumps(key) in done:
                continue
            size = (len(situation.rows(n_clean)), method)
            if size in same:
                yield key, same[size]
                continue
            fitted, _ = run_(situation, inner, n_clean)
            test = situation.test
            X = test.X
            if isinstance(getattr(fitted, "clf", fitted), Numbered):
                X = np.c_[X, np.zeros(len(X))]
            strength = getattr(fitted, "strength_", None)
            suspects = getattr(fitted, "used_suspects_", None)
            same[size] = [*measures(fitted, X, test.y), strength, suspects]
            yield key, same[size]


def run(plan, store):
    store.parent.mkdir(parents=True, exist_ok=True)
    if not plan.resume:
        store.unlink(missing_ok=True)
    done = {json.dumps(record[0]) for record in stored(store)}
    for inner in plan.inner or plan.inners:
        for record in measure(inner, plan, done):
            with store.open("a") as file:
                file.write(json.dumps(record) + "\n")


def stored(store):
    if not store.exists():
        return []
    return [json.loads(line) for line in store.read_text().splitlines()]


def frame(store=None):
    """Return all measures, a row a fitted classifier."""
    columns = ["inner", "task", "noise", "rate", "seed", "clean rows", "method"]
    return pd.DataFrame(
        [[*key, *values] for key, values in stored(store or _STORE)],
        columns=[*columns, *MEASURES, "strength", "suspects"],
    )


def paired(data, method, reference, measure, n_clean):
    """Return differences of a method to a reference, a value a task, noise, seed."""
    index = ["inner", "task", "noise", "rate", "seed"]
    first = data[(data.method == method) & (data["clean rows"] == n_clean)]
    other = n_clean if n_clean in METHODS[reference][1] else 0
    second = data[(data.method == reference) & (data["clean rows"] == other)]
    pair = first.set_index(index)[measure], second.set_index(index)[measure]
    return (pair[0] - pair[1]).dropna()


def recovered(data, n_clean):
    """Return the share of the gain of right rows only that weights win, fit by fit.

    At 20 and 30 % uniform noise; with clean rows in training for all.
    """
    loud = data[(data.noise == "uniform") & (data.rate >= 0.2)]
    gain = paired(loud, "clean rows added", "oracle", "log-loss", n_clean)
    won = paired(loud, "clean rows added", "reweighted", "log-loss", n_clean)
    return (won / gain)[gain > 0]


def _quartiles(shares):
    return [shares.quantile(q) for q in (0.5, 0.25, 0.75)]


_LEFT_OUT = "reweighted, clean rows left out"
COMPARISONS = [
    ("reweighted", "noisy", [0]),
    (_LEFT_OUT, "noisy", CLEAN[1:]),
    ("reweighted", "clean rows added", CLEAN[1:]),
    ("reweighted", "CleanLearning", CLEAN),
    ("CleanLearning", "noisy", [0]),
    ("issues dropped", "noisy", [0]),
    ("own probability", "noisy", [0]),
    ("oracle", "noisy", [0]),
]


def summary(data):
    rows = []
    for inner in data.inner.unique():
        own = data[data.inner == inner]
        for method, reference, sizes in COMPARISONS:
            for n_clean in sizes:
                differences = [
                    paired(own, method, reference, m, n_clean) for m in MEASURES
                ]
                if len(differences[0]) > 1:
                    rows.append([inner, method, reference, str(n_clean)])
                    rows[-1] += [interval(d) for d in differences]
                    rows[-1].append(len(differences[0]))
    return rows


def cells(data):
    """Return accuracy and log-loss of every cell, averaged over seeds."""
    rows = []
    keys = ["inner", "task", "noise", "rate", "clean rows"]
    for key, cell in data.groupby(keys, sort=False):
        inner, task, noise, rate, n_clean = key
        label = "none" if not rate else f"{noise} {rate:.0%}"
        own = data[
            (data.inner == inner)
            & (data.task == task)
            & (data.noise == noise)
            & (data.rate == rate)
            & (data["clean rows"] == 0)
        ]
        row = [inner, task, label, str(n_clean)]
        for method in METHODS:
            source = cell if key[-1] in METHODS[method][1] else own
            values = source[source.method == method]
            row.append(
                f"{values.accuracy.mean():.3f} / {values['log-loss'].mean():.3f}"
                if len(values)
                else None
            )
        learned = cell[cell.method == "reweighted"][["strength", "suspects"]]
        row += [f"{v:.1f}" for v in learned.astype(float).mean()] or [None, None]
        rows.append(row)
    return rows


def bounds(data):
    """Return what was to be reached, and what was."""
    plain = data[data.inner == "logistic regression, C=1"]
    noisy_tasks = plain[plain.rate > 0]
    rows = []
    for task, bound in [("cebab-published", 0.04), ("yelp", 0.02)]:
        own = noisy_tasks[noisy_tasks.task == task]
        gain = paired(own, _LEFT_OUT, "noisy", "accuracy", "all")
        rows.append(
            [f"{task}: accuracy, all clean rows left out, C=1", f"+{bound}"]
            + [interval(gain)]
        )
    loud = plain[(plain.rate >= 0.2) & (plain["clean rows"] == "all")]
    loud = loud[loud.method == _LEFT_OUT]
    moved = (loud.strength > 0) | (loud.suspects == True)  # noqa: E712 - may be None
    rows.append(
        ["weights changed at noise of 20 % or more", "always"]
        + [f"{moved.sum()} of {len(moved)}"]
    )
    for n_clean in (100, 500):
        shares = recovered(data, n_clean)
        rows.append(
            [f"log-loss of right rows only that is recovered, {n_clean} clean rows"]
            + ["median 0.5"]
            + ["{:.2f} (quartiles {:.2f}, {:.2f})".format(*_quartiles(shares))]
        )
    for measure_, bound in [("log-loss", "below 0"), ("accuracy", "not below 0")]:
        parts_ = [
            paired(data[data.rate > 0], "reweighted", "clean rows added", measure_, n)
            for n in CLEAN[1:]
        ]
        rows.append(
            [f"{measure_}, noisy rows with clean rows added", bound]
            + [interval(pd.concat(parts_))]
        )
    few = [
        paired(data, "reweighted", "noisy", "accuracy", 0),
        paired(data, _LEFT_OUT, "noisy", "accuracy", 100),
        paired(data, "reweighted", "clean rows added", "accuracy", 100),
    ]
    index = ["inner", "task", "noise", "rate"]
    worst = [part.groupby(index).mean() for part in few]
    worst = min(worst, key=lambda part: part.min())
    rows.append(
        ["accuracy, 100 clean rows or none, worst configuration", "above -0.005"]
        + [f"{worst.min():+.3f} ({', '.join(map(str, worst.idxmin()))})"]
    )
    few = [
        paired(data, "reweighted", "noisy", "log-loss", 0),
        paired(data, _LEFT_OUT, "noisy", "log-loss", 100),
        paired(data, "reweighted", "clean rows added", "log-loss", 100),
    ]
    rows.append(
        ["log-loss, 100 clean rows or none", "below 0", interval(pd.concat(few))]
    )
    for measure_ in ("accuracy", "log-loss"):
        sign = 1 if measure_ in HIGHER_IS_BETTER else -1
        above = [
            sign * paired(data, "reweighted", "CleanLearning", measure_, n)
            for n in CLEAN
        ]
        above = pd.concat([part.groupby(index).mean() for part in above])
        rows.append(
            [f"{measure_} better than CleanLearning, cells", "190 of 200"]
            + [f"{(above > 0).sum()} of {len(above)}, worst {above.min():+.3f}"]
        )
    return rows


def report(plan, store):
    data = frame(store)
    counted = ", ".join(
        f"{inner}: {n}" for inner, n in data.groupby("inner").seed.nunique().items()
    )
    fits = sum(len(set(sizes) & set(plan.clean)) for _, sizes in METHODS.values())
    expected = len(plan.tasks) * len(plan.noises) * fits
    expected *= sum(data.groupby("inner").seed.nunique())
    notes = [
        "All-MiniLM-L6-v2 embeddings, five-way labels; trained on the training part, "
        "clean rows from the development part, measured on the test part. Seeds: "
        f"{counted}.",
        "Intervals are 95 % t intervals of paired differences over tasks, noises and "
        "seeds; all seeds share one test part, so they are narrower than those of new "
        "data would be.",
        f"Measured so far: {len(data)} of {expected} fits; - where there is none.",
    ]
    write_table(
        "reweighting",
        "Differences that weights make",
        ["inner", "method", "against", "clean rows", *MEASURES, "pairs"],
        summary(data),
        notes,
        options=plan,
    )
    write_table(
        "reweighting_bounds",
        "What was to be reached",
        ["what", "bound", "measured"],
        bounds(data),
        notes,
        options=plan,
    )
    write_table(
        "reweighting_cells",
        "Accuracy / log-loss of every cell",
        ["inner", "task", "noise", "clean rows", *METHODS, "strength", "suspects"],
        cells(data),
        notes[:1],
        options=plan,
    )


def main(argv=None):
    parser = BenchmarkParser("reweighting", __doc__, **SMALL)
    parser.add_argument("--inner", choices=INNERS, action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--report-only", action="store_true")
    parser.set_defaults(inners=list(INNERS), tasks=TASKS, noises=NOISES, clean=CLEAN)
    plan = parser.parse_args(argv)
    store = plan.out / "reweighting.jsonl" if plan.small else _STORE
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not plan.report_only:
        run(plan, store)
    report(plan, store)


if __name__ == "__main__":
    main()
