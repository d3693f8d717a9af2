"""What fine-tuning an encoder on concepts is worth, and what it costs.

Vectors of the frozen model against those of a ConceptEncoder: how well they tell
concepts and labels of the test part, how far probabilities can be trusted, whether the
bottleneck's label is what its concepts say, and how well planted errors are found. For
the rows that heads are trained on: vectors out of fold, and those of the encoder that
has seen them.

    python -m benchmarks.encoder [--seeds 3] [--task NAME] [--retrain] [--resume]

One training takes 4 minutes on two cores, and there are two for each of three ways and
each seed. ``--retrain`` only leaves single rows out and trains encoder and heads again,
against the influence on the last step, in bfloat16 where the processor has it. Measures
go to ``.cache/encoder.jsonl`` as they come; ``--resume`` keeps those that are there.
"""

import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.metrics import average_precision_score, f1_score, log_loss
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptEncoder,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif.datasets import make_concept_reviews

from .honesty import split_report
from .noise import pollute
from .results import BenchmarkParser, interval, write_table
from .tasks import read_task

TASKS = ["cebab-published", "cebab-masked"]
NOISE = ("uniform", 0.2)
FROZEN = "frozen, last layer"
ROUNDED = "out of fold, bfloat16"
VARIANTS = {
    FROZEN: SentenceEmbedder(layers=None, share_vectors=False),
    "frozen, default read-out": SentenceEmbedder(share_vectors=False),
    "out of fold": ConceptEncoder(),
    ROUNDED: ConceptEncoder(dtype="auto"),
    "out of fold, concept_weight=20": ConceptEncoder(concept_weight=20),
    "in sample, stopped early": ConceptEncoder(n_splits=None),
    "in sample, 1 layer, stopped early": ConceptEncoder(
        n_splits=None, n_trainable_layers=1
    ),
}
_MINUTES = "minutes, vectors"
_STORE = Path(__file__).parent.parent / ".cache" / "encoder.jsonl"
SMALL = {
    "tasks": ["made up"],
    "seeds": 1,
    "variants": [FROZEN, "out of fold"],
    "quick": {"n_trainable_layers": 1, "epochs": 1, "n_splits": 2},
    "n_rows": 2,
}


def read(task):
    """Return texts, labels and annotations of the training part and the test part."""
    if task != "made up":
        parts = [read_task(task, part) for part in ("train", "test")]
        return [(list(X), np.asarray(y), c.reset_index(drop=True)) for X, y, c in parts]
    made = make_concept_reviews(50, random_state=0)
    halves = slice(0, 30), slice(30, 50)
    return [
        (
            [text[:40] for text in made.data[half]],
            made.target[half].to_numpy(),
            made.concepts[half].reset_index(drop=True),
        )
        for half in halves
    ]


def is_trained(variant):
    """Return whether vectors are those of an encoder that is trained."""
    return isinstance(VARIANTS[variant], ConceptEncoder)


def transformer(variant, seed, quick):
    """Return what makes vectors."""
    made = clone(VARIANTS[variant])
    return made.set_params(random_state=seed, **quick) if is_trained(variant) else made


def embed(variant, train, test, seed, quick):
    """Return vectors of both parts, the seconds they took, and the encoder."""
    start, encoder = time.perf_counter(), transformer(variant, seed, quick)
    texts, y, concepts = train
    given = {"concepts": concepts} if is_trained(variant) else {}
    X = encoder.fit_transform(texts, y, **given).astype(float)
    vectors = X, encoder.transform(test[0]).astype(float)
    return vectors, time.perf_counter() - start, encoder


def quality(variant, task, seed, quick):
    """Return what vectors tell of the test part."""
    train, test = read(task)
    (X, X_test), seconds, encoder = embed(variant, train, test, seed, quick)
    clf = ConceptBottleneckClassifier().fit(X, train[1], concepts=train[2])
    found = {_MINUTES: seconds / 60}
    f1, losses = [], []
    proba = clf.predict_concept_proba(X_test)
    for name, values in zip(clf.concept_names_in_, clf.concept_classes_, strict=True):
        known = test[2][name].notna() & test[2][name].isin(values)
        true, own = test[2].loc[known, name], proba[name][known.to_numpy()]
        f1.append(f1_score(true, values[own.argmax(axis=1)], average="macro"))
        losses.append(log_loss(true, own, labels=list(values)))
    found |= {"concepts, macro-F1": np.mean(f1), "concepts, log-loss": np.mean(losses)}
    black_box = ConceptBottleneckClassifier(C="auto").fit(X, train[1])
    for name, model in [("black box", black_box), ("bottleneck", clf)]:
        found[f"{name}, accuracy"] = model.score(X_test, test[1])
        own = model.predict_proba(X_test)
        found[f"{name}, log-loss"] = log_loss(test[1], own, labels=model.classes_)
    honest = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    rows = [(X, *train[1:]), (X_test, *test[1:])]
    report = split_report(honest, *rows, seed)
    scores = report.scores.set_index("model")["accuracy"]
    found["gold concepts, accuracy"] = scores["gold"]
    estimates = report.estimates.set_index(["name", "of", "unit"])["value"]
    found["leakage, nats"] = estimates["leakage", report.bottleneck, "nats"]
    found["epochs"] = getattr(encoder, "n_epochs_", 0)
    return {name: float(value) for name, value in found.items()}


def plant(train, seed):
    """Return a training part with changed labels and annotations."""
    texts, y, concepts = train
    rng, changed = np.random.default_rng([seed, 1]), concepts.copy()
    y = pollute(y, *NOISE, rng)
    for name, column in concepts.items():
        known = column.notna().to_numpy()
        values, codes = np.unique(column[known].astype(str), return_inverse=True)
        changed.loc[known, name] = values.astype(object)[pollute(codes, *NOISE, rng)]
    return texts, y, changed


def detection(variant, task, seed, quick):
    """Return the average precision of finding values that were changed."""
    train, test = read(task)
    texts, y, concepts = plant(train, seed)
    (X, _), _, _ = embed(variant, (texts, y, concepts), test, seed, quick)
    clf = ConceptBottleneckClassifier(tol=1e-4)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    listed = explainer.suspect_labels(sort_by="probability_wrong")
    right, given = train[2].assign(label=train[1]), concepts.assign(label=y)
    wrong = given.ne(right) & given.notna()
    places = zip(listed["row"], listed["path"], strict=True)
    is_wrong = np.array([wrong.at[place] for place in places])
    scores, is_label = (
        -listed["rank"].to_numpy(),
        (listed["path"] == "label").to_numpy(),
    )
    return {
        what: float(average_precision_score(is_wrong[chosen], scores[chosen]))
        for what, chosen in [("labels", is_label), ("annotations", ~is_label)]
    }


def influence_of_all(task, quick):
    """Return the influence of every row on the mean test loss, and that loss."""
    train, test = read(task)
    texts, y, concepts = train
    pipe = make_pipeline(transformer(ROUNDED, 0, quick), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(pipe).fit(texts, y, concepts=concepts)
    answer = explainer.influence(test[0], test[1], reduce="mean")
    loss = log_loss(test[1], explainer.predict_proba(test[0]))
    return answer.values[0].tolist(), float(loss)


def retrained_loss(task, row, seed, quick):
    """Return the mean test loss after training all of it again, without a row."""
    train, test = read(task)
    kept = np.arange(len(train[1])) != (-1 if row is None else row)
    texts = [text for text, is_kept in zip(train[0], kept, strict=True) if is_kept]
    part = texts, train[1][kept], train[2][kept].reset_index(drop=True)
    (X, X_test), _, _ = embed(ROUNDED, part, test, seed, quick)
    clf = ConceptBottleneckClassifier().fit(X, part[1], concepts=part[2])
    return float(log_loss(test[1], clf.predict_proba(X_test), labels=clf.classes_))


# --- What was measured ----------------------------------------------------------------


class Store:
    """Records by key, written as they come."""

    def __init__(self, path, keep):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text("utf-8").splitlines() if keep and path.exists() else []
        self.records = {json.dumps(key): found for key, found in map(json.loads, lines)}
        if not keep:
            path.write_text("", "utf-8")

    def measure(self, key, function, *arguments):
        """Return what is known of a key, or measure it."""
        name = json.dumps(key)
        if name not in self.records:
            self.records[name] = function(*arguments)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, self.records[name]]) + "\n")
            shown = self.records[name]
            print(*key, shown if len(str(shown)) < 900 else "…", flush=True)
        return self.records[name]


def write_quality(store, options):
    """Measure and write what vectors tell, means over seeds."""
    cells, rows = {}, []
    for task, variant in product(options.tasks, options.variants):
        # Vectors of a frozen model have no seed; rounding is another digit, no method.
        is_one = not is_trained(variant) or variant == ROUNDED
        found = pd.DataFrame(
            store.measure(
                ["quality", task, variant, seed],
                *(quality, variant, task, seed, options.quick),
            )
            for seed in range(1 if is_one else options.seeds)
        )
        cells[task, variant] = found.mean()
        cells[task, variant][_MINUTES] = found[_MINUTES].min()
        rows.append([task, variant, len(found), *map(float, cells[task, variant])])
    write_table(
        "encoder",
        "Vectors of a frozen encoder, and of one that learned the concepts",
        ["task", "vectors", "seeds", *cells[task, variant].index],
        rows,
        [
            "all-MiniLM-L6-v2, ten concepts, the official training part, measured on "
            "the test part; means over seeds. Minutes: training and all that it takes, "
            "and the vectors of both parts, the least of the seeds, since other work "
            "ran beside most of them.",
            "Concepts are those of heads with concept_C=1; the black box is logistic "
            'regression on the vectors with C="auto", the bottleneck has C=1. Leakage '
            "and gold concepts are those of bottleneck_report, with C and concept_C "
            '"auto". The log-loss says how far probabilities can be trusted.',
        ],
        options=options,
    )


def write_detection(store, options):
    """Measure and write how well planted errors are found."""
    rows = []
    variants = [variant for variant in options.variants if variant != ROUNDED]
    for task, variant in product(options.tasks, variants):
        found, frozen = (
            pd.DataFrame(
                store.measure(
                    ["detection", task, name, seed],
                    *(detection, name, task, seed, options.quick),
                )
                for seed in range(options.seeds)
            )
            for name in (variant, FROZEN)
        )
        gains = [interval(found[what] - frozen[what]) for what in found]
        rows.append([task, variant, *gains, *map(float, found.mean())])
    write_table(
        "encoder_detection",
        "Average precision of finding changed values, on vectors of both kinds",
        [
            *("task", "vectors", "labels, against frozen"),
            *("annotations, against frozen", "labels", "annotations"),
        ],
        rows,
        [
            f"A share of {NOISE[1]} of labels and annotations is changed to any other "
            f"value, {options.seeds} draws; the encoder is trained on what was "
            "changed. Differences are paired, with 95 % t intervals.",
        ],
        options=options,
    )


def write_retraining(store, options):
    """Train all of it again without single rows, and write how influence compares."""
    rows, lines = [], []
    for task in options.tasks:
        values, loss = store.measure(
            ["influence", task], influence_of_all, task, options.quick
        )
        order = np.argsort(values)
        half = options.n_rows // 2
        chosen = [*order[:half], *order[len(order) - (options.n_rows - half) :]]
        again = [
            store.measure(
                ["again", task, seed],
                *(retrained_loss, task, None, seed, options.quick),
            )
            for seed in range(1, 1 + options.seeds)
        ]
        effects = []
        for row in map(int, chosen):
            without = store.measure(
                ["without", task, row],
                *(retrained_loss, task, row, 0, options.quick),
            )
            effects.append(loss - without)
            lines.append([task, str(row), float(values[row]), effects[-1]])
        own = [values[int(row)] for row in chosen]
        by_chance = float(np.std([loss, *again], ddof=1))
        rank = float(spearmanr(own, effects).statistic)
        rows.append([task, len(chosen), rank, float(np.std(effects)), by_chance])
    write_table(
        "encoder_retraining",
        "Influence on the last step against training all of it again",
        [
            *("task", "rows", "rank correlation", "effects, standard deviation"),
            "other seeds, standard deviation",
        ],
        rows,
        [
            "The rows of lowest and highest influence on the mean test loss of the "
            "label. Effects: the loss as trained, less that after encoder and heads "
            "were trained again without the row, in nats. Other seeds: how much the "
            "loss differs if nothing but the random state does; below it no single "
            "effect can be told from chance.",
        ],
        options=options,
    )
    write_table(
        "encoder_retraining_rows",
        "Influence on the last step and the effect of a row, one by one",
        ["task", "row", "influence, nats", "effect of training again, nats"],
        lines,
        options=options,
    )


def main(argv=None):
    parser = BenchmarkParser("encoder", __doc__, **SMALL)
    parser.add_argument("--task", dest="tasks", action="append", help="else both")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--retrain", action="store_true", help="single rows only")
    parser.add_argument("--resume", action="store_true")
    parser.set_defaults(variants=list(VARIANTS), quick={}, n_rows=10)
    options = parser.parse_args(argv)
    options.tasks = options.tasks or TASKS
    small = options.out / "encoder.jsonl"
    store = Store(small if options.small else _STORE, options.resume)
    if not options.retrain:
        write_quality(store, options)
        write_detection(store, options)
    if options.retrain or options.small:
        write_retraining(store, options)


if __name__ == "__main__":
    main()
