"""Fitting many rows: against scikit-learn, and against its own matrix products.

Made-up rows of 384 features like embeddings of reviews (see `benchmarks/_embeddings.py`
for how), float32, ten concepts of three values, labels of five classes. One thread.

The first table has, for each number of rows, the whole fit of the bottleneck (ten
concept heads, the label head, all checks) and scikit-learn's LogisticRegression looped
over the ten concept heads, with the solver and the type of numbers that take it least
time. Both go to the same gradient norm per row.

The second table has fits of rows in a memory-mapped file, to the default tolerance,
beside the time of their own matrix products. Products are timed twice: in the fit, and
alone, where those in double precision find their rows converted and in the cache. A
process of its own fits, and another one reads how much anonymous memory it takes.

    python -m benchmarks.fit_scale [--rows 20000,200000] [--mapped 1000000]
"""

import itertools
import multiprocessing
import os
import tempfile
import threading
import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch.overrides import TorchFunctionMode

from skclif import ConceptBottleneckClassifier
from skclif.numerics import blocked, squares
from skclif.numerics.stored import StoredFeatures

from ._embeddings import made_up, named
from .results import BenchmarkParser, write_table

LEVEL = 1e-6  # gradient norm per row
SOLVERS = ["newton-cg", "lbfgs", "newton-cholesky"]
TYPES = [np.float32, np.float64]
TOLERANCES = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9]
_PRODUCTS = {
    "addmm",
    "addmm_",
    "mm",
    "matmul",
    "__matmul__",
    "bmm",
    "linalg_cholesky_ex",
    "linalg_solve_triangular",
    "cholesky_solve",
    "linalg_eigh",
}


def norm_per_row(X, codes, coef, intercept, C=1.0):
    """Return the gradient norm of a softmax head, per row, in double precision."""
    total = np.zeros((len(coef), X.shape[1] + 1))
    for start in range(0, len(X), 20_000):
        rows = X[start : start + 20_000].astype(float)
        logits = rows @ coef.T.astype(float) + intercept
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(p)), codes[start : start + 20_000]] -= 1
        total += np.c_[p.T @ rows, p.sum(axis=0)]
    total[:, :-1] += coef / C
    return np.linalg.norm(total) / len(X)


def _timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def _bottleneck(tol):
    return ConceptBottleneckClassifier(tol=tol)


def _fit_head(X, codes, solver, tol):
    clf = LogisticRegression(solver=solver, tol=tol, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some stop where their line search ends
        return clf.fit(X, codes)


def _reached(X, codes, level, solver, dtype, most=np.inf):
    """Return (seconds, tolerance) of the loosest tolerance that brings a head there.

    None, if there is no such tolerance, or it takes more than `most` seconds.
    """
    rows = X.astype(dtype)
    for tol in TOLERANCES:
        seconds, clf = _timed(_fit_head, rows, codes, solver, tol)
        if norm_per_row(X, codes, clf.coef_, clf.intercept_) <= level:
            return seconds, tol
        if seconds > most:
            break
    return None


def _fastest(X, codes, level):
    """Return the solver, type and tolerance that bring a head there in least time.

    All are tried on 20,000 of the rows, and the best two on all.
    """
    some = slice(0, 20_000)
    found = {}
    for solver, dtype in itertools.product(SOLVERS, TYPES):
        most = 2 * min((seconds for seconds, _ in found.values()), default=np.inf)
        reached = _reached(X[some], codes[some], level, solver, dtype, most)
        if reached:
            found[solver, dtype] = reached
    best = sorted(found, key=lambda each: found[each][0])[:2]
    on_all = {each: _reached(X, codes, level, *each) for each in best}
    on_all = {each: reached for each, reached in on_all.items() if reached}
    solver, dtype = min(on_all, key=lambda each: on_all[each][0])
    return solver, dtype, on_all[solver, dtype][1]


def against_sklearn(n_rows, n_features, level):
    """Return a row of the first table."""
    X, y, concepts = made_up(n_rows, n_features)
    columns = [codes.to_numpy(dtype=np.int64) for _, codes in concepts.items()]
    solver, dtype, tol = _fastest(X, columns[0], level)
    rows = X.astype(dtype)
    ours, clf = _timed(lambda: _bottleneck(level * n_rows).fit(X, y, concepts=concepts))
    theirs, norms = 0.0, []
    for codes in columns:
        seconds, head = _timed(_fit_head, rows, codes, solver, tol)
        theirs += seconds
        norms.append(norm_per_row(X, codes, head.coef_, head.intercept_))
    own = [
        norm_per_row(X, codes, coef, intercept)
        for codes, coef, intercept in zip(
            columns, clf.concept_coef_, clf.concept_intercept_, strict=True
        )
    ]
    name = f"{solver}, {np.dtype(dtype).name}, tol={tol:.0e}"
    return [n_rows, name, ours, theirs, theirs / ours, max(own), max(norms)]


class _Recorded(TorchFunctionMode):
    """Counts matrix products by name, and shape, type and strides of their operands."""

    def __init__(self):
        super().__init__()
        self.counts, self.seconds = Counter(), 0.0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        if name in _PRODUCTS:
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            described = tuple((tuple(t.shape), t.dtype, t.stride()) for t in tensors)
            self.counts[name, described, tuple((kwargs or {}).items())] += 1
            seconds, result = _timed(lambda: func(*args, **(kwargs or {})))
            self.seconds += seconds
            return result
        return func(*args, **(kwargs or {}))


def _replayed(counts, n_squares, path, repeat=50):
    """Return the seconds of products alone, with rows of a file as large operands."""
    X = StoredFeatures.of(np.load(path, mmap_mode="r")).values
    position, total = 0, 0.0
    stored = {}

    def block(n, dtype):
        nonlocal position
        if position + n > len(X):
            position = 0
        rows = X[position : position + n]
        position += n
        if dtype == X.dtype:
            return rows
        if (n, dtype) not in stored:  # what is converted is in the cache
            stored[n, dtype] = rows.to(dtype)
        return stored[n, dtype]

    def operand(shape, dtype, stride):
        n_features = X.shape[1]
        if len(shape) == 2 and shape[1] == n_features and stride == (n_features, 1):
            return lambda: block(shape[0], dtype)
        if len(shape) == 2 and shape[0] == n_features and stride == (1, n_features):
            return lambda: block(shape[1], dtype).T
        size = 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        like = torch.randn(max(size, 1)).to(dtype).as_strided(shape, stride)
        if len(shape) == 2 and shape[0] == shape[1]:  # of a factorisation
            like = like @ like.T + shape[0] * torch.eye(shape[0], dtype=dtype)
        return lambda: like

    for (name, operands, options), count in counts.items():
        if name.startswith("linalg"):
            function = getattr(torch.linalg, name.removeprefix("linalg_"))
        elif name == "__matmul__":
            function = torch.matmul
        else:
            function = getattr(torch, name.rstrip("_"))
        makers = [operand(*each) for each in operands]
        calls = (
            partial(function, *[make() for make in makers], **dict(options))
            for _ in range(min(count, repeat))
        )
        total += count * _mean_time(calls)
    for (shape, dtype), count in n_squares.items():
        target = torch.zeros(shape[1], shape[1], dtype=torch.float64)
        call = partial(squares.add_square, target, torch.randn(shape).to(dtype))
        total += count * _mean_time([call] * min(count, repeat))
    return total


def _mean_time(calls):
    """Return the mean seconds of calls; of several, the first one warms up."""
    seconds = [_timed(call)[0] for call in calls]
    return float(np.mean(seconds[1:] or seconds))


def _record(function):
    """Return the seconds of matrix products in a function, and which they are."""
    n_squares, original = Counter(), blocked.add_square

    def add_square(total, rows):
        n_squares[tuple(rows.shape), rows.dtype] += 1
        recorded.seconds += _timed(lambda: original(total, rows))[0]

    blocked.add_square = add_square
    try:
        with _Recorded() as recorded:
            function()
    finally:
        blocked.add_square = original
    return recorded.seconds, recorded.counts, n_squares


def _fit_mapped(folder, pipe):
    """Fit in a process of its own: tell when it begins, how long it took, and wait."""
    torch.set_num_threads(1)
    X = np.load(folder / "X.npy", mmap_mode="r")
    y = np.load(folder / "y.npy")
    concepts = named(np.load(folder / "concepts.npy"))
    small = slice(0, min(len(X), 4 * (X.shape[1] + 1)))
    _bottleneck(1e-8).fit(X[small].astype(float), y[small], concepts=concepts[small])
    pipe.send("ready")
    pipe.recv()
    seconds, clf = _timed(lambda: _bottleneck(1e-8).fit(X, y, concepts=concepts))
    pipe.send((seconds, clf.n_iter_))
    pipe.recv()
    in_fit, *counts = _record(lambda: _bottleneck(1e-8).fit(X, y, concepts=concepts))
    pipe.send((in_fit, _replayed(*counts, folder / "X.npy")))


def _anonymous(pid):
    """Return the anonymous memory of a process in MB, as the kernel counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1000
    raise OSError(f"/proc/{pid}/status does not tell anonymous memory.")


def mapped(n_rows, n_features):
    """Return a row of the second table."""
    with tempfile.TemporaryDirectory(prefix="skclif-fit-") as name:
        folder = Path(name)
        shape = n_rows, n_features
        out = np.lib.format.open_memmap(
            folder / "X.npy", mode="w+", dtype=np.float32, shape=shape
        )
        _, y, concepts = made_up(n_rows, n_features, out=out)
        out.flush()
        del out
        np.save(folder / "y.npy", y)
        np.save(folder / "concepts.npy", concepts.to_numpy())
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_fit_mapped, args=(folder, theirs))
        process.start()
        theirs.close()  # so that the end of the process is the end of what it tells
        try:
            ours.recv()
            before = most = _anonymous(process.pid)
            done = threading.Event()

            def watch():
                nonlocal most
                while not done.wait(0.01):
                    most = max(most, _anonymous(process.pid))

            watcher = threading.Thread(target=watch)
            watcher.start()
            ours.send("fit")
            seconds, n_iter = ours.recv()
            done.set()
            watcher.join()
            ours.send("products")
            in_fit, alone = ours.recv()
        finally:
            process.join()
    ratios = [in_fit, seconds / in_fit, alone, seconds / alone]
    return [n_rows, seconds, *ratios, before, most, n_iter]


def main(argv=None):
    parser = BenchmarkParser(
        "fit_scale", __doc__, rows="4000", mapped="4000", features=32
    )
    parser.add_argument("--rows", default="20000,200000", help="separated by commas")
    parser.add_argument("--mapped", default="200000,1000000", help="as --rows")
    parser.add_argument("--features", type=int, default=384)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        print("Set OMP_NUM_THREADS=1 for times of one thread.")
    compared = [
        against_sklearn(int(n), options.features, LEVEL)
        for n in options.rows.split(",")
        if n
    ]
    if compared:
        write_table(
            "fit_scale",
            f"Fits to a gradient norm of {LEVEL:g} per row, beside scikit-learn",
            [
                "rows",
                "scikit-learn's fastest",
                "skclif: whole fit, s",
                "scikit-learn: ten heads, s",
                "times as fast",
                "largest norm per row, skclif",
                "largest norm per row, scikit-learn",
            ],
            compared,
            [
                "C = 1. One thread. skclif fits the label head, too, and scikit-learn "
                "the ten concept heads alone.",
                "scikit-learn gets the solver among newton-cg, lbfgs and "
                "newton-cholesky, the type among float32 and float64, and the loosest "
                "tolerance that together bring the first head there soonest: all are "
                "tried on 20,000 of the rows, and the best two on all.",
            ],
            options=options,
        )
    fitted = [mapped(int(n), options.features) for n in options.mapped.split(",") if n]
    if fitted:
        write_table(
            "fit_mapped",
            "Fits of rows in a memory-mapped file, beside their own matrix products",
            [
                "rows",
                "whole fit, s",
                "its products in the fit, s",
                "ratio",
                "the same alone, s",
                "ratio to these",
                "anonymous MB before",
                "at most",
                "Newton steps",
            ],
            fitted,
            [
                "C = 1 and tol = 1e-8, the default: gradients of sums over all rows. "
                "One thread.",
                "Anonymous memory is what the kernel counts for the process that "
                "fits, read from another one every 10 ms; pages of the file do not "
                "count. Before the fit, there are the libraries, the labels and the "
                "annotations.",
            ],
            options=options,
        )


if __name__ == "__main__":
    main()
