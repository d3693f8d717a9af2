"""Embedding texts: against sentence-transformers' own encode, and from the cache.

Distinct CEBaB reviews, the same MiniLM weights, on the CPU, the same threads. encode
gets its default batch size, and whichever other one is fastest here. Then bfloat16,
where the processor has it, reviews that are stored, and look-ups among a million stored
texts.

    python -m benchmarks.embedding [--repeat 3] [--rows 1000000]
"""

import statistics
import tempfile
import time
from copy import copy
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from skclif import SentenceEmbedder
from skclif._text.precision import computes_bfloat16
from skclif._text.readout import unit_length
from skclif._text.store import EmbeddingStore
from skclif._text.weights import DEFAULT_MODEL, find_model
from skclif.datasets import fetch_cebab, make_concept_reviews

from .results import BenchmarkParser, write_table

DEFAULT_BATCH = 32  # of sentence-transformers
OTHER_BATCHES = [8, 16, 64]
ASKED = 100_000  # look-ups in one call
_ROWS_AT_ONCE = 20_000


def measure(texts, repeat):
    """Return rows of (embedder, texts, seconds, texts a second, ratio to encode)."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(find_model(DEFAULT_MODEL)), device="cpu")
    ways = {"": {}, "layers=None": {"layers": None}}
    if computes_bfloat16("cpu"):
        ways["dtype='bfloat16'"] = {"dtype": "bfloat16"}
    embedders = {
        way: SentenceEmbedder(share_vectors=False, **ways[way]) for way in ways
    }

    def encode(batch_size):
        return encoder.encode(texts, batch_size=batch_size, show_progress_bar=False)

    def store():
        with tempfile.TemporaryDirectory() as empty:
            storing = copy(embedders[""]).set_params(cache_dir=empty)
            return storing.transform(texts)

    with tempfile.TemporaryDirectory() as full:
        cached = SentenceEmbedder(cache_dir=full)
        cached.transform(texts)
        own = embedders["layers=None"].transform(texts)
        np.testing.assert_allclose(own, encode(32), atol=1e-5)
        for embedder in embedders.values():
            embedder.transform(texts[:1])  # loads the weights, as encode's are
        batches = [DEFAULT_BATCH, *OTHER_BATCHES]
        contenders = {f"encode, batch_size={b}": (encode, b) for b in batches}
        runs = {name: [_seconds(*call)] for name, call in contenders.items()}
        default, *others = runs
        best = min(others, key=runs.get)
        runs = {name: runs[name] for name in (default, best)}
        for way, embedder in embedders.items():
            contenders[f"SentenceEmbedder({way})"] = (embedder.transform, texts)
        contenders["SentenceEmbedder(cache_dir), nothing stored"] = (store,)
        look_up_all = (cached.transform, texts)
        contenders["SentenceEmbedder(cache_dir), all stored"] = look_up_all
        for name in [*contenders][len(batches) :]:
            runs[name] = [_seconds(*contenders[name])]
        for _ in range(repeat - 1):  # in turn, so that a drift of the machine meets all
            for name, seconds in runs.items():
                seconds.append(_seconds(*contenders[name]))
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    fastest = min(medians[default], medians[best])
    return [
        [name, len(texts), seconds, round(len(texts) / seconds), fastest / seconds]
        for name, seconds in medians.items()
    ]


def half_precision(train, test):
    """Return the least cosine of vectors in bfloat16, and what it does to accuracy."""
    cosines, accuracies = [], []
    for dtype in ("float32", "bfloat16"):
        embedder = SentenceEmbedder(dtype=dtype)
        X = [embedder.transform(part.data) for part in (train, test)]
        clf = LogisticRegression(max_iter=1000).fit(X[0], train.target)
        accuracies.append(clf.score(X[1], test.target))
        cosines.append(unit_length(np.concatenate(X)))
    return np.einsum("ij,ij->i", *cosines).min(), accuracies[1] - accuracies[0]


def _seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def look_up(n_stored, n_asked, *, model=DEFAULT_MODEL, repeat=3, folder=None):
    """Time `transform` of texts drawn at random from those that are stored.

    The vectors are made up; their first value says which text they belong to.

    Returns
    -------
    seconds : float
        Median over the repetitions, texts to vectors, the hashing of texts included.
    file_ratio : float
        Size of the file over 4 bytes times texts times width.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=folder) as cache_dir:
        embedder = SentenceEmbedder(model, cache_dir=cache_dir)
        width = embedder.transform(["one text"]).shape[1]
        with EmbeddingStore(cache_dir) as store:
            for start in range(0, n_stored, _ROWS_AT_ONCE):
                rows = np.arange(start, min(start + _ROWS_AT_ONCE, n_stored))
                vectors = rng.standard_normal((len(rows), width), dtype=np.float32)
                vectors[:, 0] = rows
                keys = embedder._keys([_text(row) for row in rows])
                store.add(keys, vectors, [None] * len(rows))
        seconds = []
        for _ in range(repeat):
            asked = rng.choice(n_stored, n_asked, replace=False)
            texts = [_text(row) for row in asked]
            start = time.perf_counter()
            vectors = embedder.transform(texts)
            seconds.append(time.perf_counter() - start)
            np.testing.assert_array_equal(vectors[:, 0], asked)
        size = Path(store.path).stat().st_size
    return statistics.median(seconds), size / (4 * width * n_stored)


def _text(row):
    return f"Review {row}: the soup was cold, and we waited for it for {row} minutes."


def main(argv=None):
    parser = BenchmarkParser("embedding", __doc__, repeat=1, rows=2_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000, help="texts to store")
    options = parser.parse_args(argv)
    source = "made-up" if options.small else "CEBaB"
    if options.small:
        reviews, others = make_concept_reviews(40), make_concept_reviews(20)
    else:
        reviews, others = fetch_cebab("train"), fetch_cebab("test")
    half = ""
    if computes_bfloat16("cpu"):
        cosine, change = half_precision(reviews, others)
        half = (
            f" In bfloat16, which this processor has, the least cosine with the vector "
            f"in float32 is {cosine:.5f}, and the accuracy of LogisticRegression on "
            f"the test part changes by {change:+.4f}."
        )
    rows = measure(list(dict.fromkeys(reviews.data)), options.repeat)
    n_asked = min(ASKED, options.rows)
    seconds, file_ratio = look_up(options.rows, n_asked)
    name = f"SentenceEmbedder(cache_dir), {options.rows:,} texts stored"
    rows.append([name, n_asked, seconds, round(n_asked / seconds), None])
    write_table(
        "embedding",
        f"Distinct {source} reviews to vectors (MiniLM, 384 values, CPU)",
        ["embedder", "texts", "seconds", "texts a second", "times as fast as encode"],
        rows,
        [
            f"Median of {options.repeat} runs in turn, weights loaded before. encode "
            "is that of sentence-transformers, with its default batch size and with "
            f"the fastest of {', '.join(map(str, OTHER_BATCHES))} by one run; the last "
            "column is over the faster of the two.",
            "With layers=None, vectors agree with encode's within 1e-5." + half,
            f"The last row: random ones of {options.rows:,} stored texts, hashed, "
            f"found, checked and put in order. The file takes {file_ratio:.3f} times "
            "4 bytes x 384 x texts, and was just written: it lies in the system's "
            "cache of files.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
