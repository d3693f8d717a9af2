"""A planted shortcut, and what is left of it after an expert's verdict.

A sentence is put before some texts, and a concept says whether it is there. In training
it agrees with the label (four stars or more) in 95 of 100 rows; in the test part it is
there at random. Encoder and concept heads see it, so that other concepts carry it too.
An edit then says that the concept must not matter, or breaks its dependence on the
label, or both; retraining on rows in which the sentence is there at random is what can
be reached.

    python -m benchmarks.verdicts [--draws 10]
"""

import copy
import time

import numpy as np
from sklearn.base import clone

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .results import BenchmarkParser, interval, write_table
from .tasks import embed, load_task, read_task

TASKS = ["cebab-published", "yelp"]
SMALL = {"tasks": ["generated"], "draws": 2}
SENTENCE, CONCEPT = "I wrote this on my phone. ", "phone"
AGREES, HIGH = 0.95, 4
EDITS = {
    "half as much": {"concept_weights": {CONCEPT: 0.5}},
    "must not matter": {"concept_weights": {CONCEPT: 0}},
    "rebalanced": {"rebalance": [CONCEPT]},
    "must not matter, rebalanced": {
        "concept_weights": {CONCEPT: 0},
        "rebalance": [CONCEPT],
    },
}
PLANTED, CLEAN = "shortcut planted", "retrained without the shortcut"
COLUMNS = [
    "task",
    "model",
    "accuracy",
    "log-loss",
    "worst-group loss",
    "reliance",
    "recovered of log-loss",
    "recovered of worst group",
]
NOTES = [
    f'Before a text stands "{SENTENCE.strip()}" or nothing. In training, the concept '
    f'"{CONCEPT}" agrees with the label being {HIGH} or more in '
    f"{AGREES:.0%} of the rows; in the test part, and in all rows for "
    f'"{CLEAN}", a coin decides. Means over draws of both; ten other concepts.',
    "Worst-group loss: the largest mean log-loss (nats) of the four groups by label "
    "(high or low) and sentence. Reliance: the mean size of the concept's effect on "
    "the log-probability of the predicted class (nats). Recovered: the share of the "
    "gap between the planted and the retrained model, with 95 % t intervals over "
    "draws; 1 is all of it, and below 0 is worse than before.",
    '"weights deleted": the label head\'s weights of the concept are put to 0, and '
    "nothing is solved again. "
    '"retrained with these weights": a fit on the planted rows without the concept, '
    'with the weights of "rebalanced" on the label terms: as CBDebug trains.',
    "Default penalties, C=1 and concept_C=1. The vectors are all-MiniLM-L6-v2, "
    "layers=None.",
]
OF_EXACT = ["task", "edit", "largest difference", "edit (s)", "retraining (s)"]


def load(task, part):
    """Return features of texts without and with the sentence, labels, and concepts."""
    if task == "generated":
        rows = load_task(task, part)
        column = np.full((len(rows.y), 1), 3.0)
        versions = [np.hstack([rows.X, column * k]) for k in (0, 1)]
        return np.stack(versions), rows.y, rows.concepts
    texts, y, concepts = read_task(task, part)
    versions = [embed([start + text for text in texts]) for start in ("", SENTENCE)]
    return np.stack(versions), np.asarray(y), concepts.reset_index(drop=True)


def drawn(rows, rng, agrees=None):
    """Return features, labels and concepts with a drawn sentence, and its groups."""
    versions, y, concepts = rows
    high = y >= HIGH
    there = rng.random(len(y)) < 0.5
    if agrees is not None:
        there = np.where(rng.random(len(y)) < agrees, high, ~high)
    X = versions[there.astype(int), np.arange(len(y))]
    concepts = concepts.assign(**{CONCEPT: np.where(there, "yes", "no")})
    return X, y, concepts, 2 * high + there


def losses(clf, X, y):
    """Return the log-loss of every row, and whether its prediction is right."""
    proba = clf.predict_proba(X)
    own = proba[np.arange(len(y)), np.searchsorted(clf.classes_, y)]
    return -np.log(own), clf.classes_[proba.argmax(axis=1)] == y


def scores(clf, reliance, test):
    """Return accuracy, log-loss, worst-group loss and reliance on test rows."""
    X, y, _, groups = test
    loss, right = losses(clf, X, y)
    worst = max(loss[groups == group].mean() for group in np.unique(groups))
    return [right.mean(), loss.mean(), worst, reliance]


def explain(X, y, concepts):
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    return explainer.fit(X, y, concepts=concepts)


def reliance(explainer, X):
    """Return the mean size of the concept's effect, 0 where there is none."""
    position = explainer.concept_names_in_.tolist().index(CONCEPT)
    return np.abs(explainer.transform(X)[:, position]).mean()


def deleted(clf):
    """Return a model whose label head has the weight 0 for the concept."""
    clf = copy.deepcopy(clf)
    clf.coef_[:, -1] = 0  # the last concept has two values, and one activation
    return clf


def retrained(explainer, X, y, concepts):
    """Return a fit with the label weights of an edited explainer."""
    factors = explainer._training["label_weights"]
    concepts = concepts[explainer.concept_names_in_]
    weights = np.repeat(1 / factors[:, None], concepts.shape[1], axis=1)
    clf = clone(explainer.estimator)
    return clf.fit(
        X, y, factors, concepts=concepts, concept_sample_weight=weights
    )  # annotations keep the weight 1


def one_draw(train, test, draw):
    """Return the scores of every model, and how edits compare with retraining."""
    rng = np.random.default_rng(draw)
    planted, clean = drawn(train, rng, AGREES), drawn(train, rng)
    test = drawn(test, rng)
    explainer = explain(*planted[:3])
    found = {
        PLANTED: scores(explainer, reliance(explainer, test[0]), test),
        "weights deleted": scores(deleted(explainer.estimator_), 0.0, test),
    }
    exact = {}
    for name, edit in EDITS.items():
        start = time.perf_counter()
        result = explainer.edit(**edit)
        seconds = time.perf_counter() - start
        model = result.explainer
        found[name] = scores(model, reliance(model, test[0]), test)
        if name == "rebalanced":
            start = time.perf_counter()
            again = retrained(model, *planted[:3])
            exact[name] = _compared(model, again, test[0], seconds, start)
    edit = {"drop_concepts": [CONCEPT], "rebalance": [CONCEPT]}
    start = time.perf_counter()
    model = explainer.edit(**edit).explainer
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    again = retrained(model, *planted[:3])
    exact["concept dropped, rebalanced"] = _compared(
        model, again, test[0], seconds, start
    )
    found["retrained with these weights"] = scores(again, 0.0, test)
    model = explain(*clean[:3])
    found[CLEAN] = scores(model, reliance(model, test[0]), test)
    return found, exact


def _compared(edited, again, X, seconds, start):
    seconds = [seconds, time.perf_counter() - start]
    difference = np.abs(edited.predict_proba(X) - again.predict_proba(X)).max()
    return [difference, *seconds]


def lines(task, draws):
    """Return a line for each model: mean scores, and what it recovers."""
    values = {name: np.array([draw[name] for draw in draws]) for name in draws[0]}
    table = []
    for name, own in values.items():
        recovered = ["", ""]
        if name not in (PLANTED, CLEAN):
            gap = values[PLANTED] - values[CLEAN]
            shares = (values[PLANTED] - own) / gap
            recovered = [interval(column) for column in shares[:, 1:3].T]
        table.append([task, name, *own.mean(axis=0).tolist(), *recovered])
    return table


def main(argv=None):
    parser = BenchmarkParser("verdicts", __doc__, **SMALL)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--part", default="test", help="part to measure on")
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    table, exact = [], []
    for task in options.tasks:
        train, test = load(task, "train"), load(task, options.part)
        found = [one_draw(train, test, draw) for draw in range(options.draws)]
        table += lines(task, [scores for scores, _ in found])
        for name in found[0][1]:
            of_draws = np.array([compared[name] for _, compared in found])
            largest, *seconds = of_draws.max(axis=0)[:1], *np.median(of_draws, 0)[1:]
            exact.append([task, name, float(largest[0]), *map(float, seconds)])
    write_table(
        "verdicts",
        "A planted shortcut, and what verdicts on its concept recover",
        COLUMNS,
        table,
        NOTES,
        options=options,
    )
    write_table(
        "verdicts_exact",
        "Verdicts by edit against retraining with the same weights",
        OF_EXACT,
        exact,
        [
            "Largest difference of a probability on the test part over all draws, and "
            "median times. An edit includes the weights and the record."
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
