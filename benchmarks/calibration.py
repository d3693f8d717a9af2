"""How true the stated probabilities of suspects are.

Labels and annotations of the training part are changed, all at one rate. The model of
suspects states two probabilities of each value: that it is wrong, and that the proposed
value is the true one. They are put into ten bins of equal width and compared with the
share that is really wrong, or really true.

A second table has rows of which little can be known: values that the features do not
foretell, and few rows.

    python -m benchmarks.calibration [--seeds 5]
"""

from itertools import product

import numpy as np
import pandas as pd

from skclif.datasets import make_concept_reviews

from .advice import ORDER, parts_of, trained
from .noise import binned_gap
from .results import BenchmarkParser, write_table
from .tasks import Part, embed

TASKS = ["cebab-published", "yelp", "reviews"]
NOISES = [("none", 0.0)]
NOISES += product(["uniform", "adjacent", "annotator", "keyword"], [0.1, 0.2])
# Rows of which little can be known: how many, and the rates of changed values.
LITTLE = {
    "two labels of chance": ([200, 1000], [0.0]),
    "five labels of chance": ([200, 1000], [0.0]),
    "labels of a feature that no concept has": ([200, 1000], [0.0]),
    "rare labels of chance": ([1000], [0.0]),
    "a concept of chance": ([200, 1000], [0.0]),
    "reviews": ([30, 100, 300, 1000], [0.0, 0.1]),
}
LITTLE_SEEDS = 10
SMALL = {"seeds": 1, "tasks": ["generated"], "noises": NOISES[:6:2]}
SMALL |= {"little": dict(list(LITTLE.items())[:1]), "little_seeds": 1}
_STATED = ["probability_wrong", "probability_proposed"]
_TOP = 0.9  # of the last bin
_FEWEST = 20  # values in the last bin for its gap to say anything
COLUMNS = ["task", "what", "noise", "rate", "asked with", "wrong", "expected"]
COLUMNS += ["error", "error above .9", "proposed: error", "proposed: error above .9"]
COLUMNS += ["suspects", "of them wrong", "proposed true"]

NOTES = [
    "Labels and annotations are changed at the same time: at the rate that is stated "
    "to any other value (uniform) or to a neighbour (adjacent); annotator: one of "
    "five, who has a fifth of the rows, calls Negative Positive and gives four stars "
    "for one or two, at five times the rate; keyword: so are the rows that have one "
    "word, about a fifth. reviews are skclif's generated reviews.",
    "wrong: share of values that were changed; expected: mean of probability_wrong; "
    "error: mean gap between stated and true in ten bins of equal width, averaged "
    "over draws; error above .9: the gap in the last bin, of all draws together, if "
    f"it has {_FEWEST} values or more; suspects: share of values that are wrong with "
    "a probability above .5.",
    "Values of real data that were wrong before count as right.",
]


LITTLE_COLUMNS = ["rows of", "rows", "rate", "what", "draws", "wrong", "expected"]
LITTLE_COLUMNS += ["error", "error above .9", "suspects", "of them wrong"]
LITTLE_COLUMNS += ["draws with a suspect"]
_WANTED = {
    "labels": lambda path: path == "label",
    "annotations": lambda path: path not in ("label", "chance"),
    "values of chance": lambda path: path == "chance",
}
LITTLE_NOTES = [
    "30 features, and a concept of two values that one feature and noise decide. "
    "Labels or the values of a second concept are drawn without looking at them, or "
    "with a look at a feature that the concept does not carry. reviews are skclif's "
    "generated reviews, of which labels and annotations are replaced by any others at "
    "the rate that is stated.",
    "draws with a suspect: share of draws in which any value is wrong with a "
    "probability above .5. The other columns are those of the other table.",
]


def little(what, n, seed):
    """Return rows of which little can be known."""
    rng = np.random.default_rng(seed)
    if what == "reviews":
        reviews = make_concept_reviews(n, missing=0.1, random_state=seed)
        X = embed(reviews.data)
        concepts = reviews.clean_concepts.mask(reviews.annotation_missing)
        return Part(reviews.data, X, reviews.clean_target.to_numpy(), concepts)
    X = rng.normal(size=(n, 30))
    seen = X[:, 1] + rng.normal(0, 0.7, n) > 0
    concepts = pd.DataFrame({"seen": np.where(seen, "Positive", "Negative")})
    y = (X[:, 1] + rng.normal(size=n) > 0).astype(int)
    if what == "a concept of chance":
        concepts = pd.DataFrame({"chance": rng.choice(ORDER, n), **concepts})
    elif what == "two labels of chance":
        y = rng.integers(0, 2, n)
    elif what == "five labels of chance":
        y = rng.integers(0, 5, n)
    elif what == "rare labels of chance":
        y = (rng.random(n) < 0.07).astype(int)
    else:
        y = (X[:, 0] + rng.normal(size=n) > 0).astype(int)
    return Part(pd.Series([""] * n), X, y, concepts)


def judged(train, kind, rate, seed):
    """Return the lines of all labels and annotations, with the truth."""
    explainer, (_, y, concepts), sources = trained(train, kind, rate, seed)
    ordinal = None
    if kind == "adjacent":
        ordinal = {"label": np.unique(y)} | dict.fromkeys(concepts, ORDER)
    groups = sources if kind in ("annotator", "keyword") else None
    lines = explainer.suspect_labels(ordinal=ordinal, groups=groups)
    true = train.concepts.assign(label=train.y).astype(object)
    codes = true.columns.get_indexer(lines["path"])
    right = true.to_numpy()[lines["row"], codes]
    return pd.DataFrame(
        {
            "label": lines["path"] == "label",
            "path": lines["path"],
            "wrong": lines["current"].to_numpy() != right,
            "proposed_true": lines["proposed"].to_numpy() == right,
            **{name: lines[name] for name in _STATED},
        }
    )


def calibration(draws):
    """Return how true the two probabilities are, over draws of the noise."""
    lines = pd.concat(draws)
    suspects = lines[lines["probability_wrong"] > 0.5]
    found = [lines["wrong"].mean(), lines["probability_wrong"].mean()]
    for name, hit in zip(_STATED, ["wrong", "proposed_true"], strict=True):
        pairs = [(d[name].to_numpy(), d[hit].to_numpy()) for d in draws]
        found.append(np.mean([binned_gap(*pair) for pair in pairs]))
        top = lines[lines[name] >= _TOP]
        gap = abs(top[name].mean() - top[hit].mean())
        found.append(gap if len(top) >= _FEWEST else np.nan)
    found += [len(suspects) / len(lines)]
    found += [suspects[name].mean() for name in ("wrong", "proposed_true")]
    return [None if np.isnan(value) else float(value) for value in found]


def of_little(situations, n_seeds):
    """Yield how true the probabilities are where little can be known, by line."""
    for what, (sizes, rates) in situations.items():
        for n, rate in product(sizes, rates):
            kind = "uniform" if rate else "none"
            parts = [little(what, n, seed) for seed in range(n_seeds)]
            draws = [judged(p, kind, rate, seed) for seed, p in enumerate(parts)]
            for name, wanted in _WANTED.items():
                own = [draw[draw["path"].map(wanted)] for draw in draws]
                own = [draw for draw in own if len(draw)]
                if not own or (what != "reviews" and name == "annotations"):
                    continue
                if what == "a concept of chance" and name == "labels":
                    continue
                found = calibration(own)
                suspicious = [(draw[_STATED[0]] > 0.5).any() for draw in own]
                row = [what, n, f"{rate:.0%}", name, len(own), *found[:4]]
                yield [*row, *found[6:8], float(np.mean(suspicious))]


def main(argv=None):
    parser = BenchmarkParser("calibration", __doc__, **SMALL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.set_defaults(tasks=TASKS, noises=NOISES)
    parser.set_defaults(little=LITTLE, little_seeds=LITTLE_SEEDS)
    options = parser.parse_args(argv)
    options_of = {"adjacent": "ordinal", "annotator": "groups", "keyword": "groups"}
    write_table(
        "calibration_little",
        "What is said where little can be known",
        LITTLE_COLUMNS,
        list(of_little(options.little, options.little_seeds)),
        [f"Over {options.little_seeds} draws.", *LITTLE_NOTES],
        options=options,
    )
    rows = []
    for task, (kind, rate) in product(options.tasks, options.noises):
        n_seeds = 1 if not rate and task != "reviews" else options.seeds
        parts = [parts_of(task, seed)[0] for seed in range(n_seeds)]
        draws = [judged(p, kind, rate, seed) for seed, p in enumerate(parts)]
        for what, is_label in (("labels", True), ("annotations", False)):
            own = [draw[draw["label"] == is_label] for draw in draws]
            settings = [task, what, kind, f"{rate:.0%}", options_of.get(kind, "-")]
            rows.append([*settings, *calibration(own)])
        write_table(
            "calibration",
            "How true the two stated probabilities are",
            COLUMNS,
            rows,
            [f"Over {options.seeds} draws of the noise.", *NOTES],
            options=options,
        )


if __name__ == "__main__":
    main()
