"""Several annotators: what their votes tell of the truth, and if who errs is named.

Made-up people annotate made-up texts, some of them badly; their votes are made one
value by majority, and by the model of Dawid and Skene. And ten annotators share the
annotations of a real task, one for each text; two of them err at a known rate, and the
list of suspects says who.

    python -m benchmarks.annotators [--draws 20]
"""

import warnings

import numpy as np
import pandas as pd

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.datasets import aggregate_annotations
from skclif.exceptions import DataFileWarning, SuspectWarning

from .noise import binned_gap
from .results import BenchmarkParser, interval, write_table
from .tasks import load_task

VALUES = np.array(["bad", "good", "unknown"])
_PRIOR = (0.5, 0.3, 0.2)
# Accuracies of the annotators, number of texts, and annotators for each.
CROWDS = {
    "five, one guesses, one often errs": ((0.9, 0.85, 0.8, 0.5, 0.34), 400, 3),
    "the same, few texts": ((0.9, 0.85, 0.8, 0.5, 0.34), 60, 3),
    "the same, two annotators for each text": ((0.9, 0.85, 0.8, 0.5, 0.34), 400, 2),
    "ten, three good and seven mediocre": ((0.9,) * 3 + (0.6,) * 7, 400, 3),
    "twenty, all alike, few texts": ((0.8,) * 20, 150, 3),
}
METHODS = ["majority", "dawid_skene"]
TASKS = ["cebab-masked", "yelp"]
_RATE = 0.03  # of wrong annotations of the others
RATES = [_RATE, 0.1, 0.3]  # of the two
_ANNOTATORS, _WORST = 10, 2
SMALL = {"tasks": ["generated"], "draws": 2}
VOTE_COLUMNS = ["annotators", "method", "accuracy", "gap of probabilities"]
VOTE_NOTES = [
    "Accuracy: share of texts whose value is the true one; a tie counts as right as "
    "often as a draw among its values is. Gap of probabilities: mean gap, in ten bins "
    "of equal width, between a share of soft_concepts and how often its value is true. "
    "Difference: Dawid–Skene minus majority, with 95 % t intervals over the draws.",
    "Made up: three values, of which half, 30 % and 20 % of the texts are; who is "
    "wrong chooses either of the other values with the same probability.",
]
ERR_COLUMNS = [
    *("task", "planted rate", "named", "others named"),
    *("expected share", "planted share", "covered", "covered, others"),
]
ERR_NOTES = [
    "Named: share of the two annotators that print(suspects) says are more often wrong "
    "than the others, in some path; others named: how many of the other eight it names "
    "in a draw. Expected and planted share: of the wrong annotations of the two, by "
    "by_group and in truth. Covered: how often the 95 % interval of by_group has the "
    "planted share, of the two, and of the others, who err at a rate of .03.",
    "Means over draws. Annotations of the tasks count as right, so errors that people "
    "made are counted among the expected ones, for all annotators alike. The label "
    'has no part in it. concept_C="auto"; the vectors are all-MiniLM-L6-v2, '
    "layers=None.",
]


def votes(crowd, rng):
    """Return a long table of made-up votes, and the true values."""
    accuracies, n, per_text = crowd
    true = rng.choice(len(VALUES), n, p=_PRIOR)
    who = np.array([rng.permutation(len(accuracies))[:per_text] for _ in true])
    right = rng.random(who.shape) < np.asarray(accuracies)[who]
    other = (true[:, None] + rng.integers(1, len(VALUES), who.shape)) % len(VALUES)
    said = VALUES[np.where(right, true[:, None], other)]
    table = pd.DataFrame(
        {
            "id": np.repeat(np.arange(n), per_text),
            "annotator": who.ravel(),
            "concept": "food",
            "value": said.ravel(),
        }
    )
    return table, VALUES[true]


def judged(table, true, method):
    """Return accuracy and gap of what is made of votes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataFileWarning)  # of ties
        soft = aggregate_annotations(table, method=method).soft_concepts
    shares = soft[[f"food={value}" for value in VALUES]].to_numpy()
    best = np.isclose(shares, shares.max(axis=1, keepdims=True), atol=1e-6)
    is_true = true[:, None] == VALUES
    accuracy = (best & is_true).sum(axis=1) / best.sum(axis=1)
    return accuracy.mean(), binned_gap(shares.ravel(), is_true.ravel())


def vote_lines(draws):
    """Return a line for each crowd and method, and one of differences."""
    lines = []
    for name, crowd in CROWDS.items():
        found = {method: [] for method in METHODS}
        for draw in range(draws):
            table, true = votes(crowd, np.random.default_rng([draw, crowd[1]]))
            for method in METHODS:
                found[method].append(judged(table, true, method))
        arrays = {method: np.array(values) for method, values in found.items()}
        for method, values in arrays.items():
            lines.append([name, method, *values.mean(axis=0).tolist()])
        differences = arrays["dawid_skene"] - arrays["majority"]
        lines.append([name, "difference", *map(interval, differences.T)])
    return lines


def with_errors(concepts, who, rate, rng):
    """Return annotations with errors of all, two of whom err at a rate, and which."""
    told = concepts.reset_index(drop=True).astype(object).copy()
    wrong = pd.DataFrame(False, index=told.index, columns=told.columns)
    for name, column in told.items():
        values = np.unique(column.dropna())
        rates = np.where(who < _WORST, rate, _RATE)
        own = column.notna().to_numpy() & (rng.random(len(who)) < rates)
        for row in np.flatnonzero(own):
            others = values[values != column[row]]
            told.loc[row, name] = others[rng.integers(len(others))]
        wrong[name] = own
    return told, wrong


def named_in(said):
    """Return the annotators who are named as more often wrong than the others."""
    line = next(line for line in said.splitlines() if line.startswith("By group"))
    return {who for who in range(_ANNOTATORS) if f"annotator {who} in" in line}


def who_errs(part, rate, draw):
    """Return what the list of suspects says of ten annotators, in one draw."""
    rng = np.random.default_rng([draw, round(100 * rate)])
    who = rng.integers(0, _ANNOTATORS, len(part.y))
    told, wrong = with_errors(part.concepts, who, rate, rng)
    model = ConceptBottleneckClassifier(concept_C="auto")
    explainer = ConceptInfluenceExplainer(model).fit(part.X, part.y, concepts=told)
    groups = pd.Series(who).map("annotator {}".format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspectWarning)  # of small sizes
        suspects = explainer.suspect_labels(which=list(told), groups=groups)
    said = repr(suspects)
    named = set() if "By group" not in said else named_in(said)
    table = suspects.by_group().set_index("group")
    known = told.notna().to_numpy()
    planted = pd.Series(
        {
            f"annotator {k}": wrong.to_numpy()[who == k].sum() / known[who == k].sum()
            for k in range(_ANNOTATORS)
        }
    )[table.index]
    covered = (table["low"] <= planted) & (planted <= table["high"])
    worst = [f"annotator {k}" for k in range(_WORST)]
    is_worst = table.index.isin(worst)
    return [
        len(named & set(range(_WORST))) / _WORST,
        len(named - set(range(_WORST))),
        table["share"][is_worst].mean(),
        planted[is_worst].mean(),
        covered[is_worst].mean(),
        covered[~is_worst].mean(),
    ]


def main(argv=None):
    parser = BenchmarkParser("annotators", __doc__, **SMALL)
    parser.add_argument("--draws", type=int, default=20)
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    lines = []
    for task in options.tasks:
        part = load_task(task, "train", 4)
        for rate in RATES:
            found = [who_errs(part, rate, draw) for draw in range(options.draws)]
            lines.append([task, rate, *np.mean(found, axis=0).tolist()])
    write_table(
        "annotator_votes",
        "One value of several votes: majority, and Dawid–Skene",
        VOTE_COLUMNS,
        vote_lines(options.draws),
        VOTE_NOTES,
        options=options,
    )
    write_table(
        "annotator_errors",
        "Whether the annotators who err are named",
        ERR_COLUMNS,
        lines,
        ERR_NOTES,
        options=options,
    )


if __name__ == "__main__":
    main()
