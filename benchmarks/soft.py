"""Annotators' shares as soft annotations, beside the value of their majority.

Each concept of CEBaB (*masked*) was judged by five people. A bottleneck is fitted to
what most of them said, and to the shares of what they said, on the same rows: all, and
draws of fewer. A tenth of the annotations is then changed, to see which lists of
suspects find them.

    python -m benchmarks.soft [--draws 10]
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, log_loss

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.datasets import fetch_cebab

from .noise import binned_gap
from .results import BenchmarkParser, interval, write_table
from .tasks import load_task

TASK = "cebab-masked"
SIZES = [150, 400, 0]  # rows to train on; 0 for all
SMALL = {"task": "generated", "sizes": [0], "draws": 2}
FORMS = ["majority", "shares"]
SCORES = [
    "label accuracy",
    "label log-loss",
    "concept accuracy",
    "concept log-loss",
    "calibration error",
    "changed values found",
]
COLUMNS = ["rows", "annotations", *SCORES]
_CHANGED = 0.1  # share of the annotations
_RATERS, _ERRS = 5, 0.25  # of made-up annotators
NOTES = [
    "Test part; concept scores are means over the four concepts. Concept accuracy "
    "counts a prediction as right if most annotators say so; the concept log-loss is "
    "that of the answer of one annotator, in nats. Calibration error: mean gap, in ten "
    "bins of equal width, between the probability of a value and the share of "
    "annotators who chose it.",
    "Changed values found: average precision with which suspect_labels puts first the "
    "annotations of which a tenth was changed to another value; of shares, those of "
    "two values were exchanged, in the same rows.",
    'C and concept_C chosen by leave-one-out ("auto"), from each form\'s own '
    "annotations. Aspects without a majority have no plain annotation. Lines of "
    "differences: shares minus majority, with 95 % t intervals over the draws. The "
    "vectors are all-MiniLM-L6-v2, layers=None.",
]


def load(task, part):
    """Return a part, its annotations by majority, and as shares."""
    rows = load_task(task, part, 4)
    if task == "generated":
        return rows, *_rated(rows.concepts, part)
    shares = fetch_cebab(part).soft_concepts
    return rows, rows.concepts.reset_index(drop=True), shares.reset_index(drop=True)


def _rated(concepts, part):
    """Return what most of five made-up annotators say, and their shares."""
    rng, tables = np.random.default_rng(len(part)), {}
    majority = concepts.reset_index(drop=True).astype(object)
    for name, column in majority.items():
        values = np.unique(column)
        own = np.searchsorted(values, column)[:, None].repeat(_RATERS, axis=1)
        errs = rng.random(own.shape) < _ERRS
        said = np.where(errs, rng.integers(0, len(values), own.shape), own)
        counts = (said[:, :, None] == np.arange(len(values))).mean(axis=1)
        tables |= {f"{name}={v}": c for v, c in zip(values, counts.T, strict=True)}
        most = pd.Series(values[counts.argmax(axis=1)], dtype=object)
        majority[name] = most.where(counts.max(axis=1) > 0.5, None)
    return majority, pd.DataFrame(tables)


def columns_of(shares, name):
    """Return the columns of a concept, sorted as a model sorts its values."""
    return sorted(column for column in shares if column.startswith(f"{name}="))


def changed(majority, shares, rng):
    """Return both forms with the same annotations changed, and which they are."""
    majority, shares = majority.astype(object).copy(), shares.copy()
    where = pd.DataFrame(False, index=majority.index, columns=majority.columns)
    for name in majority:
        columns = columns_of(shares, name)
        values = [column.partition("=")[2] for column in columns]
        known = np.flatnonzero(majority[name].notna())
        for row in rng.permutation(known)[: round(_CHANGED * len(known))]:
            own = values.index(majority.loc[row, name])
            other = (own + rng.integers(1, len(values))) % len(values)
            majority.loc[row, name], where.loc[row, name] = values[other], True
            pair = [columns[own], columns[other]]
            shares.loc[row, pair] = shares.loc[row, pair[::-1]].to_numpy()
    return majority, shares, where


def scores(clf, test, majority, shares):
    """Return how well labels and concepts are predicted, and how sure rightly."""
    proba = clf.predict_proba(test.X)
    found = [
        accuracy_score(test.y, clf.classes_[proba.argmax(axis=1)]),
        log_loss(test.y, proba, labels=clf.classes_),
    ]
    by_concept = []
    for name, said in clf.predict_concept_proba(test.X).items():
        wanted = shares[columns_of(shares, name)].to_numpy()
        judged = ~np.isnan(wanted[:, 0])
        known = majority[name].notna().to_numpy()
        values = clf.concept_classes_[list(clf.concept_names_in_).index(name)]
        predicted = values[said.argmax(axis=1)]
        by_concept.append(
            [
                (predicted == majority[name].to_numpy())[known].mean(),
                -(wanted * np.log(said))[judged].sum(axis=1).mean(),
                binned_gap(said[judged].ravel(), wanted[judged].ravel()),
            ]
        )
    return [*found, *np.mean(by_concept, axis=0).tolist()]


def precision(X, y, concepts, where):
    """Return how precisely the list of suspects finds changed annotations."""
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    lines = explainer.suspect_labels(which=list(where), sort_by="probability_wrong")
    wrong = [
        where.loc[row, path]
        for row, path in zip(lines["row"], lines["path"], strict=True)
    ]
    return average_precision_score(wrong, -lines["rank"])


def measure(task, sizes, draws):
    """Return the scores of both forms on every draw, by size."""
    (train, *of_train), (test, *of_test) = load(task, "train"), load(task, "test")
    found = {}
    for size in sizes:
        rows_of_draws = [
            np.random.default_rng([size, draw]).permutation(len(train.y))
            for draw in range(draws)
        ]
        n = size or len(train.y)
        found[n] = {form: [] for form in FORMS}
        for draw, rows in enumerate(rows_of_draws):
            rows = rows[:n]
            X, y = train.X[rows], train.y[rows]
            tables = [table.iloc[rows].reset_index(drop=True) for table in of_train]
            rng = np.random.default_rng([n, draw])
            *others, where = changed(*tables, rng)
            for form, table, other in zip(FORMS, tables, others, strict=True):
                if size or not draw:  # all rows are the same rows in any order
                    clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
                    clf.fit(X, y, concepts=table)
                    quality = scores(clf, test, *of_test)
                else:
                    quality = found[n][form][0][:-1]
                line = [*quality, precision(X, y, other, where)]
                found[n][form].append(line)
    return found


def lines(found):
    """Return a line for each form and size, and one of differences."""
    table = []
    for n, by_form in found.items():
        arrays = {form: np.array(values) for form, values in by_form.items()}
        for form, values in arrays.items():
            table.append([n, form, *values.mean(axis=0).tolist()])
        differences = arrays["shares"] - arrays["majority"]
        cells = [
            interval(column) if np.ptp(column) else f"{column[0]:+.3f}"
            for column in differences.T
        ]
        table.append([n, "difference", *cells])
    return table


def of_people(task):
    """Return how well the label is told from what people said, in both forms."""
    parts = [load(task, part) for part in ("train", "test")]
    table = []
    for form in FORMS:
        (X, y), (X_test, y_test) = (
            (inputs(majority, shares, form), rows.y) for rows, majority, shares in parts
        )
        model = LogisticRegression(max_iter=1000).fit(X, y)
        loss = log_loss(y_test, model.predict_proba(X_test), labels=model.classes_)
        table.append([form, model.score(X_test, y_test), loss])
    return table


def inputs(majority, shares, form):
    """Return a column for each value: its share, or whether most people chose it."""
    if form == "shares":
        return shares.fillna(0).to_numpy()
    pairs = [column.partition("=") for column in shares]
    return np.column_stack(
        [(majority[name] == value).astype(float) for name, _, value in pairs]
    )


def main(argv=None):
    parser = BenchmarkParser("soft", __doc__, **SMALL)
    parser.add_argument("--draws", type=int, default=10)
    parser.set_defaults(task=TASK, sizes=SIZES)
    options = parser.parse_args(argv)
    write_table(
        "soft",
        "Annotations by majority, and as the shares of the annotators",
        COLUMNS,
        lines(measure(options.task, options.sizes, options.draws)),
        NOTES,
        options=options,
    )
    write_table(
        "soft_gold",
        "The label from what people said of the concepts",
        ["annotations", "label accuracy", "label log-loss"],
        of_people(options.task),
        ["LogisticRegression on all training rows, four concepts, test part."],
        options=options,
    )


if __name__ == "__main__":
    main()
