"""Finding wrong labels and annotations, beside cleanlab.

Labels and annotations of the training part are changed, all at one rate, and scores of
suspicion rank them: average precision of finding the changed ones. cleanlab's scores
are on probabilities out of fold, by the same model on the same rows.

    python -m benchmarks.detection [--seeds 3]
"""

from itertools import product

import numpy as np
import pandas as pd
from cleanlab.rank import (
    get_normalized_margin_for_each_label,
    get_self_confidence_for_each_label,
)
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .noise import pollute
from .results import BenchmarkParser, interval, write_table
from .tasks import load_task

TASKS = ["cebab-published", "yelp"]
NOISES = [("uniform", 0.1), ("uniform", 0.2), ("uniform", 0.3), ("adjacent", 0.2)]
SMALL = {"seeds": 1, "tasks": ["generated"], "noises": NOISES[1::2]}
_ORDER = ["Negative", "unknown", "Positive"]
_FOLDS = 5
OURS = ["probability", "probability, ordinal", "loss", "margin"]
PEERS = ["self_confidence", "normalized_margin"]
INFLUENCE = "influence"
SCORES = [*OURS, *PEERS, INFLUENCE]
# One list of all annotations, which is what a person reads, and one a concept.
WHAT = ["labels", "annotations", "annotations by concept"]
_CELL = ["task", "what", "noise", "rate"]


def planted(task, kind, rate, seed):
    """Return a training part with changed labels and annotations, and what it was."""
    train = load_task(task, "train")
    rng = np.random.default_rng([seed, 1])
    y, concepts = pollute(train.y, kind, rate, rng), train.concepts.copy()
    for name, column in train.concepts.items():
        codes = column.map(_ORDER.index).to_numpy()
        values = np.array(_ORDER, dtype=object)
        concepts[name] = values[pollute(codes, kind, rate, rng)]
    return train, y, concepts


def out_of_fold(X, y, concepts, seed):
    """Return probabilities by path, as cleanlab wants them."""
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    parts = []
    for train, test in folds.split(X, y):
        clf = ConceptBottleneckClassifier(tol=1e-4)
        clf.fit(X[train], y[train], concepts=concepts.iloc[train])
        proba = {"label": clf.predict_proba(X[test])}
        proba |= clf.predict_concept_proba(X[test])
        parts.append({p: pd.DataFrame(v, index=test) for p, v in proba.items()})
    return {
        path: pd.concat([part[path] for part in parts]).sort_index().to_numpy()
        for path in parts[0]
    }


def score(task, kind, rate, seed):
    """Return a line a label and annotation: whether it is wrong, and all scores."""
    train, y, concepts = planted(task, kind, rate, seed)
    X = train.X.astype(np.float32)
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    ordinal = {"label": np.unique(y)} | dict.fromkeys(concepts, _ORDER)
    key = ["path", "row"]
    lines, ordered = (
        explainer.suspect_labels(ordinal=order, sort_by="probability_wrong")
        .set_index(key)
        .sort_index()
        for order in (None, ordinal)
    )
    # By rank: probabilities near 1 are all the same number.
    lines["by probability"], lines["by ordinal"] = -lines["rank"], -ordered["rank"]
    lines["margin"] = -lines["margin"]
    lines["wrong"] = False
    proba = out_of_fold(X, y, concepts, seed)
    dev = load_task(task, "dev")
    answer = explainer.influence(dev.X, dev.y, paths=True, reduce="mean")
    given, true = concepts.assign(label=y), train.concepts.assign(label=train.y)
    for path in given:
        codes = np.searchsorted(np.unique(given[path]), given[path])
        lines.loc[path, "wrong"] = (given[path] != true[path]).to_numpy()
        for name, peer in [
            ("self_confidence", get_self_confidence_for_each_label),
            ("normalized_margin", get_normalized_margin_for_each_label),
        ]:
            lines.loc[path, name] = -peer(codes, proba[path])
        influence = answer.values[0, :, answer.paths.index(path)]
        lines.loc[path, INFLUENCE] = influence
    return lines.rename(columns={"by probability": OURS[0], "by ordinal": OURS[1]})


def lists(lines):
    """Yield the labels' lines, all annotations', and each concept's."""
    is_label = lines.index.get_level_values("path") == "label"
    yield WHAT[0], [lines[is_label]]
    yield WHAT[1], [lines[~is_label]]
    yield WHAT[2], [part for _, part in lines[~is_label].groupby(level="path")]


def measure(tasks, noises, seeds):
    """Return average precision, a row a task, noise, seed and list."""
    found = []
    for task, (kind, rate), seed in product(tasks, noises, range(seeds)):
        for what, parts in lists(score(task, kind, rate, seed)):
            cell = dict(zip(_CELL, [task, what, kind, rate], strict=True))
            scores = {name: precision(parts, name) for name in SCORES}
            found.append(cell | {"seed": seed} | scores)
    return pd.DataFrame(found)


def precision(parts, name):
    """Return the average precision of a score, averaged over lists."""
    return np.mean(
        [average_precision_score(part["wrong"], part[name]) for part in parts]
    )


def cells(found):
    """Return average precision, averaged over seeds, a row a cell."""
    means = found.groupby(_CELL, sort=False)[SCORES].mean()
    order = [WHAT.index(what) for what in means.index.get_level_values("what")]
    means = means.iloc[np.argsort(order, kind="stable")]
    return [[*row[0], *map(float, row[1:])] for row in means.itertuples(name=None)]


def differences(found):
    """Return paired differences to the peers, and in how many cells they are lower."""
    rows = []
    for what, kind, ours, peer in product(
        WHAT, ["uniform", "adjacent"], OURS[:2], PEERS
    ):
        own = found[(found["what"] == what) & (found["noise"] == kind)]
        if own.empty or (kind == "uniform" and ours == OURS[1]):
            continue
        gains = own.assign(gain=own[ours] - own[peer])
        by_cell = gains.groupby(_CELL)["gain"].mean()
        rows.append([what, kind, ours, peer, interval(gains["gain"])])
        rows[-1] += [f"{(by_cell >= 0).sum()} of {len(by_cell)}", float(by_cell.min())]
    return rows


def main(argv=None):
    parser = BenchmarkParser("detection", __doc__, **SMALL)
    parser.add_argument("--seeds", type=int, default=3)
    parser.set_defaults(tasks=TASKS, noises=NOISES)
    options = parser.parse_args(argv)
    found = measure(options.tasks, options.noises, options.seeds)
    n = options.seeds
    notes = [
        "All-MiniLM-L6-v2 embeddings, five-way labels, ten concepts of three values; "
        f"the training part, {n} draws of the noise for each row. Labels and "
        "annotations are changed at the same time, each at the rate that is stated: to "
        "any other value (uniform), or to a neighbour, stars by their number and "
        "annotations in the order Negative, unknown, Positive (adjacent).",
        "self_confidence and normalized_margin are cleanlab's, on probabilities of "
        f"{_FOLDS} folds; loss and margin are of leaving one out; influence is that "
        "on the mean label loss of the development part, to first order.",
    ]
    write_table(
        "detection",
        "Average precision of finding changed labels and annotations",
        [*_CELL, *SCORES],
        cells(found),
        notes,
        options=options,
    )
    write_table(
        "detection_differences",
        "Average precision, differences to cleanlab",
        ["what", "noise", "ours", "against", "difference", "cells not lower", "worst"],
        differences(found),
        [
            "Pairs are draws of a task, rate and noise; intervals are 95 % t intervals "
            "of their mean. A cell is the mean over the draws of a task and rate."
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
