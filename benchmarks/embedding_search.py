"""A search that embeds its texts: against embedding them once, and its fits.

A grid of 12 candidates in 3 folds over InfluenceReweighter around a pipeline that
begins with a SentenceEmbedder. The bound is 1.3 times what embedding the texts once and
the same search over their vectors take, one after the other.

    python -m benchmarks.embedding_search [--repeat 3] [--texts 400]
"""

import statistics
import tempfile
import time
import warnings

import numpy as np
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skclif import InfluenceReweighter, SentenceEmbedder
from skclif._text.memory import SHARED
from skclif.datasets import fetch_cebab, make_concept_reviews
from skclif.exceptions import ReweightingWarning

from .results import BenchmarkParser, write_table

BOUND = 1.3
STRENGTHS = [0, 1.0, 2.0, "auto"]
PENALTIES = [0.1, 1.0, 10.0]
FOLDS = 3
ONCE = "embedding once"
FITS = "its fits: the search over vectors"
BOTH = "both, one after the other"
PLAIN = "the search over texts"
THREADS = "the search over texts, n_jobs=2, threads"
STORED = "the search over texts, n_jobs=2, processes, cache_dir"
APART = "the search over texts, n_jobs=2, processes, nothing shared"
OFF = "the search over texts, share_vectors=False"
BOUNDED = [PLAIN, THREADS]


def measure(texts, y, repeat):
    """Return the median seconds of every way to embed and to search.

    Parameters
    ----------
    texts : list of str
    y : ndarray of shape (n_samples,)
    repeat : int
        Runs of each way, in turn. What shares nothing runs once: it is slow.

    Returns
    -------
    seconds : dict of str to float
    """
    vectors = SentenceEmbedder().transform(texts)
    reference = _search(None).fit(vectors, y)
    seconds = {ONCE: [], FITS: [], PLAIN: [], THREADS: [], STORED: []}
    for _ in range(repeat):
        SHARED.clear()
        start = time.perf_counter()
        SentenceEmbedder().transform(texts)
        seconds[ONCE].append(time.perf_counter() - start)
        seconds[FITS].append(_seconds(_search(None), vectors, y, reference))
        search = _search(SentenceEmbedder())
        seconds[PLAIN].append(_seconds(search, texts, y, reference))
        with parallel_config(backend="threading"):
            search = _search(SentenceEmbedder(), n_jobs=2)
            seconds[THREADS].append(_seconds(search, texts, y, reference))
        with tempfile.TemporaryDirectory() as folder:
            search = _search(SentenceEmbedder(cache_dir=folder), n_jobs=2)
            seconds[STORED].append(_seconds(search, texts, y, reference))
    off = SentenceEmbedder(share_vectors=False)
    seconds[APART] = [_seconds(_search(off, n_jobs=2), texts, y, reference)]
    seconds[OFF] = [_seconds(_search(off), texts, y, reference)]
    return {name: statistics.median(runs) for name, runs in seconds.items()}


def _search(embedder, n_jobs=None):
    steps = [] if embedder is None else [("embed", embedder)]
    pipe = Pipeline([*steps, ("clf", LogisticRegression(max_iter=1000))])
    return GridSearchCV(
        InfluenceReweighter(pipe, random_state=0),
        {"strength": STRENGTHS, "estimator__clf__C": PENALTIES},
        cv=FOLDS,
        n_jobs=n_jobs,
    )


def _seconds(search, X, y, reference):
    SHARED.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReweightingWarning)
        start = time.perf_counter()
        search.fit(X, y)
        seconds = time.perf_counter() - start
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"],
        reference.cv_results_["mean_test_score"],
        atol=2.5 / len(y),  # vectors differ by rounding, with the texts of a batch
    )
    return seconds


def main(argv=None):
    parser = BenchmarkParser("embedding_search", __doc__, repeat=1, texts=60)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--texts", type=int, default=400)
    options = parser.parse_args(argv)
    source = "made-up" if options.small else "CEBaB"
    reviews = make_concept_reviews(200) if options.small else fetch_cebab("train")
    texts, kept = np.unique(np.asarray(reviews.data, dtype=object), return_index=True)
    chosen = np.random.default_rng(0).permutation(len(texts))[: options.texts]
    texts, y = texts[chosen].tolist(), np.asarray(reviews.target)[kept[chosen]]
    y = y > np.median(y)  # enough rows of every class, also in few texts
    seconds = measure(texts, y, options.repeat)
    both = seconds[ONCE] + seconds[FITS]
    rows = [[ONCE, seconds[ONCE], None, None], [FITS, seconds[FITS], None, None]]
    rows.append([BOTH, both, 1.0, None])
    for name in [PLAIN, THREADS, STORED, APART, OFF]:
        bound = BOUND if name in BOUNDED else None
        rows.append([name, seconds[name], seconds[name] / both, bound])
    write_table(
        "embedding_search",
        f"A search over {len(texts)} {source} reviews",
        ["what", "seconds", "ratio", "bound"],
        rows,
        [
            f"{len(STRENGTHS) * len(PENALTIES)} candidates in {FOLDS} folds, and a "
            "last fit: GridSearchCV over InfluenceReweighter around SentenceEmbedder "
            "(MiniLM, CPU) and LogisticRegression. Two classes.",
            f"Median of {options.repeat} runs in turn; the last two ran once. Nothing "
            "is in memory or on disk when a run begins, and every run loads the "
            "model. The time in which new processes start is in theirs.",
            "The scores of all candidates are those of the search over vectors.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
