"""A search that embeds its texts: against embedding them once, and its fits.

A grid of 12 candidates in 3 folds over InfluenceReweighter around a pipeline that
begins with a SentenceEmbedder. The bound is 1.3 times what embedding the texts once and
the same search over their vectors take, one after the other.

    python -m benchmarks.embedding_search [--repeat 5] [--texts 400]
"""

import tempfile
import time
import warnings

import numpy as np
from joblib import parallel_config
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline

from skclif import InfluenceReweighter, SentenceEmbedder
from skclif._text.memory import SHARED
from skclif.datasets import fetch_cebab, make_concept_reviews
from skclif.exceptions import ReweightingWarning

from .results import BenchmarkParser, write_table

BOUND = 1.3
GRID = {"strength": [0, 1.0, 2.0, "auto"], "estimator__clf__C": [0.1, 1.0, 10.0]}
SMALL_GRID = {"strength": [0, 1.0]}
FOLDS = 3
ONCE = "embedding once"
FITS = "its fits: the search over vectors"
BOTH = "both, one after the other"
PLAIN = "the search over texts"
THREADS = "the search over texts, n_jobs=2, threads"
STORED = "the search over texts, n_jobs=2, processes, cache_dir"
OFF = "the search over texts, share_vectors=False"
BOUNDED = [PLAIN, THREADS]


def measure(texts, y, grid, repeat, slow=True):
    """Return what every way to embed and to search takes, run by run.

    Parameters
    ----------
    texts : list of str
    y : ndarray of shape (n_samples,)
    grid : dict
    repeat : int
        Runs of each way, in turn. What shares nothing runs once: it is slow.
    slow : bool
        Whether to measure processes, and what shares nothing.

    Returns
    -------
    runs : dict of str to ndarray of shape (n_runs, 2)
        Seconds, and seconds of this process on a processor.
    """
    vectors = SentenceEmbedder().transform(texts)
    reference = _search(grid).fit(vectors, y)

    def search(embedder, n_jobs=None, backend="loky"):
        estimator = _search(grid, embedder, n_jobs)
        with parallel_config(backend=backend):
            spent = _spent(lambda: estimator.fit(texts, y))
        _check_same(estimator, reference, len(y))
        return spent

    ways = {
        ONCE: lambda: _spent(lambda: SentenceEmbedder().transform(texts)),
        FITS: lambda: _spent(lambda: _search(grid).fit(vectors, y)),
        PLAIN: lambda: search(SentenceEmbedder()),
        THREADS: lambda: search(SentenceEmbedder(), 2, "threading"),
    }
    if slow:
        ways[STORED] = lambda: _in_folder(
            lambda folder: search(SentenceEmbedder(cache_dir=folder), 2)
        )
    runs = {name: [] for name in ways}
    for _ in range(repeat):
        for name, way in ways.items():
            runs[name].append(way())
    runs[BOTH] = np.add(runs[ONCE], runs[FITS])
    if slow:
        runs[OFF] = [search(SentenceEmbedder(share_vectors=False))]
    return {name: np.array(own) for name, own in runs.items()}


def _search(grid, embedder=None, n_jobs=None):
    steps = [] if embedder is None else [("embed", embedder)]
    pipe = Pipeline([*steps, ("clf", LogisticRegression(max_iter=1000))])
    return GridSearchCV(
        InfluenceReweighter(pipe, random_state=0),
        grid,
        cv=FOLDS,
        n_jobs=n_jobs,
    )


def _spent(work):
    SHARED.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReweightingWarning)
        start = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - start[0], time.process_time() - start[1]


def _in_folder(work):
    with tempfile.TemporaryDirectory() as folder:
        return work(folder)


def _check_same(search, reference, n):
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"],
        reference.cv_results_["mean_test_score"],
        atol=2.5 / n,  # vectors differ by rounding, with the texts of a batch
    )


def main(argv=None):
    parser = BenchmarkParser(
        "embedding_search", __doc__, repeat=1, texts=60, grid=SMALL_GRID
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--texts", type=int, default=400)
    parser.set_defaults(grid=GRID)
    options = parser.parse_args(argv)
    source = "made-up" if options.small else "CEBaB"
    reviews = make_concept_reviews(200) if options.small else fetch_cebab("train")
    texts, kept = np.unique(np.asarray(reviews.data, dtype=object), return_index=True)
    chosen = np.random.default_rng(0).permutation(len(texts))[: options.texts]
    texts, y = texts[chosen].tolist(), np.asarray(reviews.target)[kept[chosen]]
    y = y > np.median(y)  # enough rows of every class, also in few texts
    runs = measure(texts, y, options.grid, options.repeat, not options.small)
    rows = []
    for name in [ONCE, FITS, BOTH, PLAIN, THREADS, STORED, OFF]:
        own = runs.get(name)
        if own is None:
            continue
        ratios = np.median(own / runs[BOTH][: len(own)], axis=0)
        seconds = np.median(own, axis=0)
        # Other processes have a clock of their own.
        used = None if name == STORED else float(seconds[1])
        used_ratio = None if name == STORED else float(ratios[1])
        bound = BOUND if name in BOUNDED else None
        rows.append(
            [name, float(seconds[0]), float(ratios[0]), used, used_ratio, bound]
        )
    write_table(
        "embedding_search",
        f"A search over {len(texts)} {source} reviews",
        [
            "what",
            "seconds",
            "ratio",
            "seconds of a processor",
            "ratio of these",
            "bound",
        ],
        rows,
        [
            f"{len(ParameterGrid(options.grid))} candidates in {FOLDS} folds, and a "
            "last fit: GridSearchCV over InfluenceReweighter around SentenceEmbedder "
            "(MiniLM, CPU) and LogisticRegression. Two classes. Ratios are to both, "
            "one after the other.",
            f"Medians of {options.repeat} runs in turn, of ratios within each turn; "
            "the last row ran once. Nothing is in memory or on disk when a run "
            "begins, and every run loads the model. Processes also have to start.",
            "Other work on the machine makes runs longer, and threads wait for a "
            "processor: seconds of a processor leave that out.",
            "The scores of all candidates are those of the search over vectors.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
