"""Whether concepts carry a bottleneck's predictions, and whether the report says so.

On generated vectors a dial moves what the label depends on out of the concepts: from
their values alone (0) to what the values leave out (1). There the right verdicts are
known, and wrong ones are counted. Then the same report answers for every data set
whether its concepts are too coarse for its label.

    python -m benchmarks.honesty [--seeds 20] [--rows 600]
"""

import itertools

import numpy as np
import pandas as pd
import torch

from skclif import ConceptBottleneckClassifier
from skclif._inputs.indicators import Indicators
from skclif.datasets import fetch_cebab, make_concept_reviews
from skclif.metrics import bottleneck_report

from .results import BenchmarkParser, write_table
from .tasks import embed, load_task

SETS = [
    ("cebab-masked", 4),
    ("cebab-published", 4),
    ("cebab-published", 10),
    ("yelp", 4),
    ("yelp", 10),
    ("nhs", 18),
    ("make_concept_reviews", 4),
]
DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
# What the label depends on at the end of the dial: how strongly a concept applies,
# which its value leaves out, or something that no concept is about.
OUTSIDE = ("strength", "something else")
# The right answers. The activations do tell how strongly a concept applies; of
# something else they tell next to nothing, so that neither answer counts as wrong.
RIGHT = {
    ("coarseness", 0.0, "strength"): "no",
    ("coarseness", 1.0, "strength"): "yes",
    ("coarseness", 1.0, "something else"): "yes",
    ("leakage", 0.0, "strength"): "no",
    ("leakage", 1.0, "strength"): "yes",
}
_FEATURES, _CONCEPTS = 20, 4
_WEIGHTS = 1.2 * np.array(
    [[1, -0.5, -0.5], [-0.2, 1, -0.8], [0.6, 0.2, -0.8], [0.1, -0.9, 0.8]]
)


def make_vectors(n_rows, dial, outside, seed):
    """Return X, y and concepts; the dial says how much y depends on what is outside.

    Each concept is a direction of the features, with noise, cut into three values. With
    the dial at 0 the label depends on the values alone, so that given them the features
    tell nothing of it.
    """
    rng = np.random.default_rng(0)  # of the task, the same for all seeds
    directions, _ = np.linalg.qr(rng.normal(size=(_FEATURES, _FEATURES)))
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n_rows, _FEATURES)) @ directions
    strength, other = places[:, :_CONCEPTS], places[:, _CONCEPTS : 2 * _CONCEPTS]
    noise = 0.5 * rng.normal(size=strength.shape)
    codes = np.digitize(strength + noise, [-0.5, 0.5])
    beyond = strength if outside == "strength" else other
    scores = ((1 - dial) * (codes - 1) + dial * beyond) @ _WEIGHTS
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    values = np.array(["Negative", "unknown", "Positive"], dtype=object)[codes]
    concepts = pd.DataFrame(values, columns=["food", "service", "noise", "price"])
    return places @ directions.T, y, concepts


def split_report(clf, train, test, seed, groups=None):
    """Return the report on test rows of a model of the training rows."""
    X, y = (np.concatenate(pair) for pair in zip(train[:2], test[:2], strict=True))
    concepts = pd.concat([train[2], test[2]], ignore_index=True)
    n_train = len(train[1])
    if groups is not None:
        groups = np.concatenate([[f"train {i}" for i in range(n_train)], groups])
    split = np.arange(n_train), np.arange(n_train, len(y))
    return bottleneck_report(
        clf, X, y, concepts, cv=[split], groups=groups, random_state=seed
    )


def measure_dial(options):
    """Return a line for each kind of outside and place of the dial, and answers."""
    lines, counts = [], []
    for outside, dial in itertools.product(OUTSIDE, options.dials):
        ends = dial in (0.0, 1.0)
        if dial == 0.0 and outside != OUTSIDE[0]:
            continue  # nothing is outside: it is the same
        answers, values = [], []
        for seed in range(options.seeds if ends else max(1, options.seeds // 4)):
            clf = ConceptBottleneckClassifier()
            parts = [
                make_vectors(options.rows, dial, outside, (seed, k)) for k in (0, 1)
            ]
            report = split_report(clf, *parts, seed)
            answers.append({v.name: v.answer for v in report.verdicts})
            values.append(numbers(report))
        means = pd.DataFrame(values).mean()
        lines.append([outside, dial, len(answers), *means.astype(float)])
        for verdict in ("coarseness", "leakage"):
            right = RIGHT.get((verdict, dial, outside))
            given = [answer[verdict] for answer in answers]
            n = {one: given.count(one) for one in ("yes", "no", "cannot tell")}
            wrong = "not counted"
            if right is not None:
                wrong = str(n["no" if right == "yes" else "yes"])
            counts.append([verdict, outside, dial, right or "not counted", *n.values()])
            counts[-1].append(wrong)
        print(f"measured: {outside}, {dial}", flush=True)
    return lines, counts


def numbers(report):
    """Return the numbers of the tables."""
    accuracy = report.scores.set_index("model")["accuracy"]
    found = report.estimates.set_index(["name", "of", "unit"])["value"]
    return {
        **{who: accuracy[who] for who in ("gold", "black_box", "bottleneck")},
        "coarseness": found["coarseness", "gold", "nats"],
        "leakage": found["leakage", report.bottleneck, "nats"],
        "completeness": found["completeness", "bottleneck", "share of nats"],
    }


def in_pairs(concepts):
    """Return concepts with every pair of them as one more concept."""
    words = concepts.astype(object).where(concepts.notna(), "").astype(str)
    pairs = {
        f"{a} and {b}": words[a] + " | " + words[b]
        for a, b in itertools.combinations(words, 2)
    }
    return pd.concat([words, pd.DataFrame(pairs)], axis=1)


def accuracy_in_pairs(train, test):
    """Return the accuracy of a label from gold concepts and all pairs of them."""
    tables = [in_pairs(part[2]) for part in (train, test)]
    indicators = Indicators.learn(tables[0])
    inputs = [indicators.encode(table) for table in tables]
    clf = ConceptBottleneckClassifier(C="auto").fit(inputs[0], train[1])
    return float(clf.score(inputs[1], test[1]))


def read_set(name, n_concepts):
    """Return training and held-out rows, and the groups of the latter."""
    if name == "make_concept_reviews":
        reviews = make_concept_reviews(2000, random_state=0)
        X = embed(reviews.data)
        y = reviews.target.to_numpy()
        halves = slice(0, 1000), slice(1000, 2000)
        return [(X[h], y[h], reviews.concepts[h]) for h in halves], None
    train, *held_out = (
        load_task(name, part, n_concepts) for part in ("train", "dev", "test")
    )
    texts, concepts = (
        pd.concat([getattr(part, what) for part in held_out], ignore_index=True)
        for what in ("texts", "concepts")
    )
    X, y = (np.concatenate([getattr(p, what) for p in held_out]) for what in "Xy")
    groups = None
    if name.startswith("cebab"):
        ids = {}
        for part in ("dev", "test"):
            bunch = fetch_cebab(part)
            originals = bunch.metadata["original_id"]
            ids.update(zip(bunch.data, originals, strict=True))
        groups = [ids[text] for text in texts]
    return [(train.X, train.y, train.concepts), (X, y, concepts)], groups


def measure_sets(options):
    """Return a line for each data set, and the words of its verdicts."""
    lines, words = [], []
    for name, n_concepts in options.sets:
        (train, test), groups = read_set(name, n_concepts)
        clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
        report = split_report(clf, train, test, 0, groups)
        found = numbers(report)
        estimates = report.estimates.set_index(["name", "of", "unit"])
        cells = [
            interval(estimates.loc[key])
            for key in (
                ("coarseness", "gold", "nats"),
                ("leakage", report.bottleneck, "nats"),
                ("completeness", "gold", "share of nats"),
                ("completeness", "bottleneck", "share of nats"),
            )
        ]
        in_full = int(test[2].notna().all(axis=1).sum())
        lines.append(
            [
                *(name, train[2].shape[1], len(test[1]), in_full),
                *(report["coarseness"].answer, report["leakage"].answer, *cells),
                *(float(found[who]) for who in ("gold", "black_box", "bottleneck")),
                accuracy_in_pairs(train, test),
            ]
        )
        words += [
            [name, train[2].shape[1], v.name, v.answer, v.words]
            for v in report.verdicts
        ]
        print(f"measured: {name}, {n_concepts} concepts", flush=True)
    return lines, words


def interval(line):
    """Return a number and the ends of its interval, as text."""
    return f"{line['value']:+.3f} ({line['low']:+.3f} to {line['high']:+.3f})"


def main(argv=None):
    parser = BenchmarkParser(
        "honesty",
        __doc__,
        seeds=1,
        rows=150,
        dials=(0.0, 1.0),
        sets=[("generated", 4)],
    )
    parser.add_argument("--seeds", type=int, default=20, help="at each end of the dial")
    parser.add_argument("--rows", type=int, default=600, help="to train and to test")
    parser.set_defaults(dials=DIALS, sets=SETS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    lines, counts = measure_dial(options)
    scores = ["gold concepts", "black box", "bottleneck"]
    how = (
        f"{options.rows} rows to train and as many to test, 20 features, 4 concepts of "
        "3 values, 3 labels; C and concept_C are 1, activations soft."
    )
    write_table(
        "honesty_dial",
        "What the report measures as the label leaves the concepts",
        [
            *("outside", "dial", "seeds", *(f"accuracy, {who}" for who in scores)),
            *("coarseness, nats", "leakage, nats", "completeness, share of nats"),
        ],
        lines,
        [
            how,
            "Means over seeds. The dial is the share of the label's scores that "
            "depends on what is outside the concepts' values.",
        ],
        options=options,
    )
    write_table(
        "honesty_verdicts",
        "Wrong verdicts at both ends of the dial",
        [
            *("verdict", "outside", "dial", "right answer"),
            *("yes", "no", "cannot tell", "wrong"),
        ],
        counts,
        [
            how,
            "Between the ends the right answer is a matter of degree, and nothing "
            'counts as wrong. "Cannot tell" is never wrong.',
        ],
        options=options,
    )
    lines, words = measure_sets(options)
    write_table(
        "honesty",
        "Are the concepts too coarse for the label?",
        [
            *("set", "concepts", "held-out rows", "annotated in full"),
            *("too coarse?", "leaks?", "coarseness, nats", "leakage, nats"),
            *("gold concepts hold", "bottleneck holds"),
            *(f"accuracy, {who}" for who in scores),
            "accuracy, gold concepts in pairs",
        ],
        lines,
        [
            "Fitted to the training part, measured on all other rows; all-MiniLM-L6-v2 "
            'embeddings, C and concept_C "auto", soft activations. With 95 % bootstrap '
            "intervals; a CEBaB review and its edits are one draw.",
            "Coarseness and leakage are of held-out rows that are annotated in full; "
            "accuracies are of all. What models hold is the share of what the black "
            "box knows. The last column adds every pair of concepts to gold concepts.",
        ],
        options=options,
    )
    write_table(
        "honesty_words",
        "The verdicts of every data set in plain words",
        ["set", "concepts", "verdict", "answer", "words"],
        words,
        options=options,
    )


if __name__ == "__main__":
    main()
