"""How true the stated probabilities of suspects are.

Labels and annotations of the training part are changed, all at one rate. The model of
suspects states two probabilities of each value: that it is wrong, and that the proposed
value is the true one. They are put into ten bins of equal width and compared with the
share that is really wrong, or really true.

    python -m benchmarks.calibration [--seeds 5]
"""

from itertools import product

import numpy as np
import pandas as pd

from .advice import ORDER, parts_of, trained
from .noise import binned_gap
from .results import BenchmarkParser, write_table

TASKS = ["cebab-published", "yelp", "reviews"]
NOISES = [("none", 0.0)]
NOISES += product(["uniform", "adjacent", "annotator", "keyword"], [0.1, 0.2])
SMALL = {"seeds": 1, "tasks": ["generated"], "noises": NOISES[:6:2]}
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


def judged(task, kind, rate, seed):
    """Return the lines of all labels and annotations, with the truth."""
    train = parts_of(task, seed)[0]
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


def main(argv=None):
    parser = BenchmarkParser("calibration", __doc__, **SMALL)
    parser.add_argument("--seeds", type=int, default=5)
    parser.set_defaults(tasks=TASKS, noises=NOISES)
    options = parser.parse_args(argv)
    options_of = {"adjacent": "ordinal", "annotator": "groups", "keyword": "groups"}
    rows = []
    for task, (kind, rate) in product(options.tasks, options.noises):
        n_seeds = 1 if not rate and task != "reviews" else options.seeds
        draws = [judged(task, kind, rate, seed) for seed in range(n_seeds)]
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
