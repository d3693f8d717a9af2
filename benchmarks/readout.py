"""Ways to read the layers of MiniLM, for labels and concepts of three sets of texts.

The default of `SentenceEmbedder` was chosen by the development parts. The test parts
were used once, for that default and for the vectors of the model itself. Long texts are
those of Yelp that MiniLM does not read whole.

    python -m benchmarks.readout [--tasks cebab-published yelp nhs]
"""

import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import cross_val_predict

from skclif import SentenceEmbedder
from skclif.exceptions import TruncatedTextWarning

from .results import BenchmarkParser, write_table
from .tasks import embed, load_task, read_task

TASKS = ["cebab-published", "yelp", "nhs"]
GRID = [0.3, 1.0, 3.0, 10.0]
OWN, DEFAULT = "as the model gives them", "the default: 3 to 6, averaged"
READOUTS = {
    OWN: {"layers": None},
    DEFAULT: {"layers": "auto"},
    "4 to 6, averaged": {"layers": (4, 5, 6)},
    "4 to 6, side by side": {"layers": (4, 5, 6), "layer_pooling": "concat"},
    "2, 4 and 6, averaged": {"layers": (2, 4, 6)},
    "2, 4 and 6, side by side": {"layers": (2, 4, 6), "layer_pooling": "concat"},
    "3 to 6, side by side": {"layers": (3, 4, 5, 6), "layer_pooling": "concat"},
    "0, the embeddings of tokens": {"layers": (0,)},
    "3": {"layers": (3,)},
    "6": {"layers": (6,)},
    "3 to 6, maximum of sentences": {"layers": "auto", "pooling": "max"},
    "3 to 6, top sentences": {"layers": "auto", "pooling": "top"},
    "3 to 6, mean and maximum": {"layers": "auto", "pooling": ("mean", "max")},
    "3 to 6, mean and top": {"layers": "auto", "pooling": ("mean", "top")},
}
OF_TEST = [OWN, DEFAULT]
COLUMNS = [
    "layers",
    "values",
    "texts",
    "part",
    "label accuracy",
    "label log-loss",
    "label log-loss, C=1",
    "concept accuracy",
    "concept macro-F1",
    "concept log-loss",
    "concept log-loss, C=1",
]


def vectors(task, part, how):
    """Return the vectors of a part, read out as `how` says."""
    if task == "generated":  # not texts: other features for other ways
        return load_task(task, part).X[:, : 8 + len(how)]
    return embed(read_task(task, part)[0], long_text="mean", **how)


def targets(task, part):
    """Return the label and the concepts, each with the rows that have a value."""
    if task == "generated":
        made = load_task(task, part, 2)
        y, concepts = made.y, made.concepts
    else:
        _, y, concepts = read_task(task, part)
    named = {"label": np.asarray(y).astype(str)}
    for name in concepts:
        values = concepts[name].astype(object)
        named[name] = np.where(values.notna(), values.astype(str), None)
    return named


def scores(name, of, penalties):
    """Return accuracy, macro-F1 and log-loss on the last part, C chosen on "dev"."""
    X, y = {}, {}
    for part, (features, named) in of.items():
        there = [value is not None for value in named[name]]
        X[part], y[part] = features[there], named[name][there].astype(str)
    if len(set(y["train"])) < 2:
        return None
    fits = [LogisticRegression(C=C, max_iter=300, tol=1e-3) for C in penalties]
    losses = [
        _loss(fit.fit(X["train"], y["train"]), X["dev"], y["dev"]) for fit in fits
    ]
    best, last = fits[int(np.argmin(losses))], list(of)[-1]
    predicted = best.predict(X[last])
    return (
        accuracy_score(y[last], predicted),
        f1_score(y[last], predicted, average="macro"),
        _loss(best, X[last], y[last]),
        _loss(fits[list(penalties).index(1.0)], X[last], y[last]),
    )


def _loss(fit, X, y):
    known = np.isin(y, fit.classes_)
    return log_loss(y[known], fit.predict_proba(X[known]), labels=fit.classes_)


def measure(tasks, readouts, penalties):
    """Return a row for each way, set of texts and part."""
    rows = []
    for task in tasks:
        named = {part: targets(task, part) for part in ("train", "dev", "test")}
        for way, how in readouts.items():
            parts = ["train", "dev", *(["test"] if way in OF_TEST else [])]
            of = {part: (vectors(task, part, how), named[part]) for part in parts}
            for last in parts[1:]:
                seen = {part: of[part] for part in ("train", "dev", last)}
                found = {name: scores(name, seen, penalties) for name in named["dev"]}
                accuracy, _, loss, plain = found.pop("label")
                concepts = [own for own in found.values() if own is not None]
                means = np.mean(concepts, axis=0).tolist()
                width = of["dev"][0].shape[1]
                rows.append([way, width, task, last, accuracy, loss, plain, *means])
    return rows


def long_texts(ways, folds=10):
    """Return rows for long texts by cross-validation, cut and read in chunks."""
    tables = [read_task("yelp", part) for part in ("train", "dev")]
    texts = np.concatenate([table[0] for table in tables])
    own = [targets("yelp", part) for part in ("train", "dev")]
    named = {name: np.concatenate([part[name] for part in own]) for name in own[0]}
    encoder = SentenceEmbedder()._encoder()
    lengths = [len(ids) for ids in encoder.model.tokenizer([*texts])["input_ids"]]
    is_long = np.array(lengths) > encoder.limit
    rows = []
    for way in ways:
        for long_text, said in (("truncate", "cut"), ("mean", "in chunks")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TruncatedTextWarning)
                X = embed(texts, long_text=long_text, **READOUTS[way])
            # Of length 1 and not 3.
            fit = LogisticRegression(C=10 if way == OWN else 1, max_iter=300, tol=1e-3)
            found = [
                _cross_validated(fit, X, y, folds, is_long) for y in named.values()
            ]
            label, *concepts = [own for own in found if own is not None]
            rows.append(
                [way, X.shape[1], f"yelp, {is_long.sum()} long texts {said}"]
                + ["cross-validated", *label, None]
                + [*np.mean(concepts, axis=0)[:1], None, *np.mean(concepts, axis=0)[1:]]
                + [None]
            )
    return rows


def _cross_validated(fit, X, y, folds, chosen):
    """Return accuracy and log-loss of chosen rows; None for values that are too few."""
    _, codes = np.unique(y.astype(str), return_inverse=True)
    if np.bincount(codes).min() < folds:
        return None
    proba = cross_val_predict(fit, X, codes, cv=folds, method="predict_proba")
    right = proba[np.arange(len(codes)), codes]
    is_right = proba.argmax(axis=1) == codes
    return float(is_right[chosen].mean()), float(-np.log(right[chosen]).mean())


def main(argv=None):
    parser = BenchmarkParser("readout", __doc__, tasks=["generated"])
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    options = parser.parse_args(argv)
    readouts, penalties = READOUTS, GRID
    if options.small:
        readouts, penalties = {way: READOUTS[way] for way in OF_TEST}, [1.0, 10.0]
    rows = measure(options.tasks, readouts, penalties)
    if "yelp" in options.tasks:
        rows += long_texts(OF_TEST)
    write_table(
        "readout",
        "Labels and concepts by how the layers of MiniLM are read",
        COLUMNS,
        rows,
        [
            "LogisticRegression for the label and for each concept; C of "
            f"{', '.join(map(str, penalties))}, by the log-loss on the development "
            "part, and C=1. Concept scores are averages over concepts. Long texts are "
            "read in chunks.",
            "The default was chosen by the development parts; the test parts were used "
            "for the default and for the model's own vectors only.",
            "The last rows: reviews of Yelp (training and development parts) with more "
            "than 256 tokens; ten-fold cross-validation on all 2,500, scored on these, "
            "with C=1, and C=10 for the model's own vectors, which have length 1.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
