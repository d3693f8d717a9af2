"""How well prompts annotate, without annotations and with 10 to 1,000 of them.

`ConceptAnnotator` is fitted to the training texts with prompts (benchmarks/prompts) and
the annotations of a few random rows, and compared with people on held-out texts. Beside
it is a supervised head alone: LogisticRegression on the default vectors of
`SentenceEmbedder`, with the same annotations. Prompts and all constants were chosen on
the development parts.

    python -m benchmarks.annotation [--part test] [--draws 10]
"""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from skclif import ConceptAnnotator, SentenceEmbedder, read_prompts
from skclif._annotate.units import Units
from skclif.datasets import make_concept_reviews

from .results import BenchmarkParser, interval, write_table
from .tasks import _CACHE, read_task

PROMPTS = Path(__file__).parent / "prompts"
ASPECTS = ["food", "ambiance", "service", "noise"]
TASKS = {
    "cebab-masked": "restaurants",
    "cebab-published": "restaurants",
    "yelp": "restaurants",
    "nhs": "patients",
}
SIZES = [0, 10, 30, 100, 300, 1000]
SCORES = ["accuracy", "macro-F1", "log-loss", "AUROC of mention", "AUROC of value"]
KEPT = ["annotated", "right of these", "most common value of these"]
THRESHOLD = ConceptAnnotator({}).threshold
OURS, HEAD = "annotator", "supervised head alone"
_LEAST = 1e-6  # probability of a value that a head has not seen


class KnownVectors(BaseEstimator):
    """Look vectors up that were computed before."""

    def __init__(self, vectors):
        self.vectors = vectors

    def fit(self, X, y=None):
        """Learn nothing."""
        self.is_fitted_ = True
        return self

    def transform(self, X):
        """Return the vectors of texts."""
        return np.stack([self.vectors[text] for text in X])


def load(task, part):
    """Return texts and annotations of a part, and the prompts of its concepts."""
    if task == "generated":
        made = make_concept_reviews(90, random_state=["train", "test"].index(part))
        texts, concepts = made.data, made.clean_concepts
    else:
        texts, _, concepts = read_task(task, part)
    names = list(concepts) if task in ("nhs", "yelp") else ASPECTS
    prompts = read_prompts(PROMPTS / f"{TASKS.get(task, 'restaurants')}.yaml")
    texts, concepts = texts.reset_index(drop=True), concepts.reset_index(drop=True)
    return texts, concepts[names], {name: prompts[name] for name in names}


def known_vectors(texts, prompts):
    """Return an embedder that has the vectors of all parts of texts and prompts."""
    said = [p for values in prompts.values() for own in values.values() for p in own]
    parts = list(dict.fromkeys([*Units.of([*texts]).parts, *said]))
    embedder = SentenceEmbedder(layers=None, long_text="mean", cache_dir=_CACHE)
    found = dict(zip(parts, embedder.transform(parts), strict=True))
    return FrozenEstimator(KnownVectors(found).fit(parts))


def by_annotator(train, given, test, prompts, embedder):
    """Return shares of each concept's values for the texts to test on."""
    annotator = ConceptAnnotator(prompts, embedder=embedder)
    shares = annotator.fit(train, concepts=given).transform(test)
    return {
        name: shares[[f"{name}={value}" for value in values]].to_numpy()
        for name, values in prompts.items()
    }


def by_head(X, given, X_test, prompts):
    """Return shares by a head for each concept that has nothing but annotations."""
    found = {}
    for name, values in prompts.items():
        rows = np.flatnonzero(given[name].notna())
        own = given[name].iloc[rows].astype(str)
        shares = np.full((len(X_test), len(values)), _LEAST)
        places = [[*values].index(value) for value in sorted(set(own))]
        if len(places) == 1:
            shares[:, places] = 1
        elif len(places) > 1:
            head = LogisticRegression(max_iter=300, tol=1e-3).fit(X[rows], own)
            shares[:, places] = head.predict_proba(X_test)
        found[name] = shares / shares.sum(axis=1, keepdims=True)
    return found


def scores(truth, shares, prompts):
    """Return the scores of each concept, NaN where there is nothing to rank."""
    lines = {}
    for name, prompted in prompts.items():
        values = list(prompted)
        rows = np.flatnonzero(truth[name].notna())
        said = truth[name].iloc[rows].astype(str).to_numpy()
        own = shares[name][rows]
        codes = np.array([values.index(value) for value in said])
        right = own[np.arange(len(rows)), codes]
        silent = [k for k, value in enumerate(values) if not prompted[value]]
        judged = [k for k, value in enumerate(values) if prompted[value]]
        is_right, is_sure = own.argmax(axis=1) == codes, own.max(axis=1) >= THRESHOLD
        lines[name] = [
            is_right.mean(),
            f1_score(codes, own.argmax(axis=1), average="macro"),
            -np.log(np.maximum(right, _LEAST)).mean(),
            auroc(~np.isin(codes, silent), 1 - own[:, silent].sum(axis=1)),
            auroc_of_values(codes, own, judged),
            is_sure.mean(),
            is_right[is_sure].mean() if is_sure.any() else np.nan,
            # What a rule that reads no text gets right of the same rows.
            (codes == np.bincount(codes).argmax())[is_sure].mean()
            if is_sure.any()
            else np.nan,
        ]
    return pd.DataFrame.from_dict(lines, orient="index", columns=[*SCORES, *KEPT])


def auroc(is_true, ranked):
    if is_true.all() or not is_true.any():
        return np.nan
    return roc_auc_score(is_true, ranked)


def auroc_of_values(codes, shares, judged):
    """Return how well the first value is told from the second, where one is true."""
    if len(judged) < 2:
        return np.nan
    first, second = judged[:2]
    rows = np.isin(codes, [first, second])
    own = np.maximum(shares[rows], 1e-12)
    return auroc(codes[rows] == first, np.log(own[:, first]) - np.log(own[:, second]))


def measure(task, part, sizes, n_draws):
    """Return the scores of all concepts, by method, number of annotations and draw."""
    train, given, prompts = load(task, "train")
    test, truth, _ = load(task, part)
    embedder = known_vectors([*train, *test], prompts)
    default = SentenceEmbedder(cache_dir=_CACHE, long_text="mean")
    X, X_test = default.transform(train), default.transform(test)
    found = []
    for draw in range(n_draws):
        order = np.random.default_rng(draw).permutation(len(train))
        for size in sizes:
            if size == 0 and draw:
                continue  # nothing is drawn
            few = given.where(pd.Series(np.isin(np.arange(len(train)), order[:size])))
            shares = {OURS: by_annotator(train, few, test, prompts, embedder)}
            if size:
                shares[HEAD] = by_head(X, few, X_test, prompts)
            for method, own in shares.items():
                table = scores(truth, own, prompts).rename_axis("concept")
                found.append(
                    table.reset_index().assign(
                        task=task, size=size, draw=draw, method=method
                    )
                )
    return pd.concat(found, ignore_index=True)


def curves(found):
    """Return the lines of the first table: means over concepts and draws."""
    means = found.groupby(["task", "method", "size"], sort=False)[SCORES].mean()
    lines = [[*key, *row] for key, row in zip(means.index, _rows(means), strict=True)]
    return sorted(lines, key=lambda one: ([*TASKS, "generated"].index(one[0]), one[1]))


def kept(found):
    """Return how many values are sure enough to be annotations, and right."""
    ours = found[found["method"] == OURS]
    means = ours.groupby(["task", "size"], sort=False)[KEPT].mean()
    return [[*key, *row] for key, row in zip(means.index, _rows(means), strict=True)]


def differences(found):
    """Return what the annotator is ahead of the head by, with 95 % intervals."""
    keys = ["task", "size", "draw"]
    of_draws = found.groupby([*keys, "method"], sort=False)[SCORES].mean()
    ours, head = (of_draws.xs(name, level="method") for name in (OURS, HEAD))
    gaps = (ours - head).dropna(how="all")
    return [
        [*key, *(interval(own[score].dropna()) for score in SCORES)]
        for key, own in gaps.groupby(level=["task", "size"], sort=False)
    ]


def bounds(found):
    """Return AUROC of each aspect without annotations and with 100."""
    published = found[found["task"].isin(["cebab-published", "generated"])]
    ours = published[published["method"] == OURS]
    means = ours.groupby(["size", "concept"])[SCORES[3:]].mean()
    lines = []
    for name in ASPECTS:
        for what, column in (
            ("Positive or Negative", SCORES[4]),
            ("mentioned or not", SCORES[3]),
        ):
            at = [_at(means[column], size, name) for size in (0, 100)]
            lines.append([name, what, *at])
    numbers = np.array([line[2:] for line in lines], dtype=float)
    return [*lines, ["mean", "", *_plain(numbers.mean(axis=0))]]


def _at(means, size, name):
    return float(means.get((size, name), np.nan))


def _rows(table):
    return [_plain(row) for row in table.to_numpy(dtype=float)]


def _plain(values):
    return [None if np.isnan(value) else float(value) for value in values]


def main(argv=None):
    small = {"tasks": ["generated"], "sizes": [0, 10, 100], "draws": 2}
    parser = BenchmarkParser("annotation", __doc__, **small)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--part", choices=["dev", "test"], default="test")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--draws", type=int, default=10, help="of annotated rows")
    options = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        each = [
            measure(task, options.part, options.sizes, options.draws)
            for task in options.tasks
        ]
    found = pd.concat(each, ignore_index=True)
    drawn = f"{options.draws} draws of annotated training rows"
    write_table(
        "annotation",
        f"Agreement with people by the number of annotations, {options.part} parts",
        ["task", "method", "annotations", *SCORES],
        curves(found),
        [
            f"Means over the concepts of a task and {drawn}, each with all annotations "
            "that people gave it. 0 annotations need no draw.",
            "AUROC of mention: a value with prompts against the value without. AUROC "
            "of value: Positive against Negative, among texts that have one of them.",
            "Supervised head: LogisticRegression with C=1 on the default vectors of "
            "SentenceEmbedder. A value that no annotation has gets a probability of "
            f"{_LEAST:g}.",
            "Prompts, constants and the way of pooling were chosen on the development "
            "parts.",
        ],
        options=options,
    )
    write_table(
        "annotation_differences",
        "What the annotator is ahead of the supervised head by",
        ["task", "annotations", *SCORES],
        differences(found),
        [
            f"Annotator minus head, paired over {drawn}: mean and half width of the "
            "95 % interval. Of the log-loss, negative is better."
        ],
        options=options,
    )
    write_table(
        "annotation_kept",
        f"Values with a share of at least {THRESHOLD}, which become annotations",
        ["task", "annotations", *KEPT],
        kept(found),
        [
            "Share of the texts that are annotated so, and how many of these people "
            "say the same of. Beside it, how many of these have the value that is most "
            f"common in the task. Means over the concepts of a task and {drawn}."
        ],
        options=options,
    )
    if {"cebab-published", "generated"}.intersection(options.tasks):
        write_table(
            "annotation_bounds",
            "AUROC of the aspects of CEBaB (published) by prompts",
            ["aspect", "what is told apart", "0 annotations", "100"],
            bounds(found),
            ["1 is perfect, 0.5 is chance."],
            options=options,
        )


if __name__ == "__main__":
    main()
