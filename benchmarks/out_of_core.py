"""Fit and influence of rows in a memory-mapped file: memory, time, kill and resume.

Rows are float32 with the spectrum of embeddings: variances fall with the rank. Ten
concepts of three values follow from them with noise, and the label from the concepts.
A process of its own maps the file, fits an explainer and asks for influence. Its
anonymous memory (RssAnon of /proc/PID/status: pages of a mapped file do not count) is
sampled from outside every 20 ms.

    python -m benchmarks.out_of_core [--rows 1000000] [--targets 1000] [--top 20]
"""

import argparse
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.numerics.blocks import BLOCK_ROWS
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.targets import LabelTarget

from .results import BenchmarkParser, write_table

N_CONCEPTS, N_VALUES, N_LABELS = 10, 3, 5
_TICK = 0.02  # seconds between samples of memory
_BLOCK = 16_384


def write_rows(folder, n_rows, n_features):
    """Write features, labels and annotations, a block of rows at a time."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, n_features + 1) ** -0.5
    rotation = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    mix = (spectrum[:, None] * rotation).astype(np.float32)
    directions = rng.standard_normal((n_features, N_CONCEPTS)).astype(np.float32)
    weights = rng.standard_normal(N_CONCEPTS).astype(np.float32)
    X = _new(folder / "X.npy", (n_rows, n_features), np.float32)
    concepts = np.empty((n_rows, N_CONCEPTS), np.int8)
    y = np.empty(n_rows, np.int8)
    for start in range(0, n_rows, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n_rows))
        n = rows.stop - start
        block = rng.standard_normal((n, n_features), dtype=np.float32) @ mix
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        X[rows] = block
        scores = block @ directions
        noisy = scores + 0.5 * rng.standard_normal(scores.shape, dtype=np.float32)
        concepts[rows] = np.digitize(noisy, [-0.5, 0.5])
        of_label = (concepts[rows] - 1) @ weights + rng.standard_normal(n)
        y[rows] = np.digitize(of_label, [-3, -1, 1, 3])
    X.flush()
    np.save(folder / "concepts.npy", concepts)
    np.save(folder / "y.npy", y)


def _new(path, shape, dtype):
    return np.lib.format.open_memmap(path, "w+", dtype=dtype, shape=shape)


def read_rows(folder):
    """Return the mapped features, labels and annotations."""
    X = np.load(folder / "X.npy", mmap_mode="r")
    return X, np.load(folder / "y.npy"), np.load(folder / "concepts.npy")


def targets(n_targets, n_features):
    """Return new rows and the labels that are explained."""
    rng = np.random.default_rng(1)
    spectrum = np.arange(1, n_features + 1) ** -0.5
    X = rng.standard_normal((n_targets, n_features)) * spectrum
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X.astype(np.float32), rng.integers(N_LABELS, size=n_targets)


def in_a_process(step, *arguments):
    """Run a step in a process of its own.

    Returns
    -------
    said : list of dict
        What it printed: one line of JSON at the end of every stage.
    peaks : list of float
        The largest anonymous memory in every stage, in GB.
    """
    process = start(step, *arguments)
    os.set_blocking(process.stdout.fileno(), False)
    said, peaks, text = [], [0.0], b""
    while True:
        ended = process.poll() is not None
        peaks[-1] = max(peaks[-1], anonymous(process.pid))
        text += process.stdout.read() or b""
        *lines, text = text.split(b"\n")
        said += map(json.loads, lines)
        peaks += [0.0] * len(lines)
        if ended:
            break
        time.sleep(_TICK)
    if process.returncode:
        raise RuntimeError(f"The step {step} ended with {process.returncode}.")
    return said, peaks


def start(step, *arguments):
    """Start a step in a process of its own, on one thread."""
    threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    command = [sys.executable, "-m", "benchmarks.out_of_core", "--step", step]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, **dict.fromkeys(threads, "1")},
        stdout=subprocess.PIPE,
    )


def anonymous(pid):
    """Return the anonymous memory of a process in GB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    sizes = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return int(sizes[0]) * 1024 / 1e9 if sizes else 0.0


def _say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _timed(function):
    """Return what a function returns, its seconds, and those of the processor."""
    begun, worked = time.perf_counter(), time.process_time()
    found = function()
    return found, time.perf_counter() - begun, time.process_time() - worked


def _fitted(folder, method="auto"):
    X, y, concepts = read_rows(folder)
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf, method=method)
    return explainer.fit(X, y, concepts=concepts)


def step_whole(folder, n_targets, n_compared, top):
    """Fit a classifier, then an explainer, and ask for the top rows of all targets."""
    folder = Path(folder)
    torch.set_num_threads(1)
    X, y, concepts = read_rows(folder)
    _say()  # what was imported
    clf = ConceptBottleneckClassifier()
    _, seconds, worked = _timed(lambda: clf.fit(X, y, concepts=concepts))
    _say(seconds=seconds, worked=worked)
    explainer, seconds, worked = _timed(lambda: _fitted(folder))
    _say(seconds=seconds, worked=worked)
    asked = targets(int(n_targets), X.shape[1])
    _, seconds, worked = _timed(lambda: explainer.influence(*asked, top=int(top)))
    _say(seconds=seconds, worked=worked)
    explainer.method = "first_order"
    few = tuple(part[: int(n_compared)] for part in asked)
    _, seconds, worked = _timed(lambda: explainer.influence(*few, top=int(top)))
    _say(seconds=seconds, worked=worked, **_products(explainer, *few))


def _products(explainer, X, y):
    """Return processor seconds of first order alone, and of its own products."""
    solved = explainer._solved_model()
    bottleneck, data, dtype = solved.bottleneck, solved.data, solved.inverse.dtype
    target = LabelTarget("loss", torch.from_numpy(y))
    derivatives = target.derivatives(bottleneck, torch.from_numpy(X).double())
    adjoint = solve_adjoint(bottleneck, solved.inverse, derivatives)

    def influence():
        for _, _ in first_order(bottleneck, data, adjoint, dtype=dtype, paths=False):
            pass

    _, _, own = _timed(influence)
    _, _, products = _timed(_replay(bottleneck, adjoint, len(data), dtype))
    return {"own": own, "products": products}


def _replay(bottleneck, adjoint, n_rows, dtype):
    """Return what multiplies ready inputs of the same shapes and types."""
    n_scores, n_inputs = bottleneck.concept_parameters.shape
    features = torch.randn(BLOCK_ROWS, n_inputs - 1, dtype=torch.float64)
    into = torch.randn(n_scores, n_inputs - 1, dtype=torch.float64)
    parts = [adjoint.label, *(part.to(dtype) for part in adjoint.concepts)]
    inputs = [torch.randn(BLOCK_ROWS, p.shape[1], dtype=p.dtype) for p in parts]
    out = torch.zeros(len(adjoint.label), BLOCK_ROWS, dtype=dtype)

    def products():
        for begin in range(0, n_rows, BLOCK_ROWS):
            n = min(BLOCK_ROWS, n_rows - begin)
            _ = into @ features[:n].T
            _ = parts[0] @ inputs[0][:n].T
            for part, given in zip(parts[1:], inputs[1:], strict=True):
                out[:, :n].addmm_(part, given[:n].T)

    return products


def step_write(folder, path, n_targets):
    """Write the influence of all rows on some targets to a folder."""
    torch.set_num_threads(1)
    explainer = pickle.loads((Path(folder) / "explainer.pickle").read_bytes())
    asked = targets(int(n_targets), explainer.n_features_in_)
    _say()
    explainer.influence(*asked, out=path)


def kill_and_resume(folder, n_targets, rng):
    """Write influence twice: whole, and by a process that is killed at random.

    Returns
    -------
    at : float
        The share of the time of a whole run at which it was killed.
    was_killed : bool
        Whether it was still running.
    seconds, left : float
        Of the whole run, and of the call that resumes.
    same : bool
        Whether the files have the same bytes.
    """
    whole, again = folder / "whole", folder / "again"
    explainer = _fitted(folder, "first_order")
    (folder / "explainer.pickle").write_bytes(pickle.dumps(explainer))
    asked = targets(n_targets, explainer.n_features_in_)
    _, seconds, _ = _timed(lambda: explainer.influence(*asked, out=whole))
    process = start("write", folder, again, n_targets)
    process.stdout.readline()  # the explainer is loaded
    at = rng.uniform(0.2, 0.8)
    time.sleep(at * seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    was_killed = process.returncode == -signal.SIGKILL
    explainer = pickle.loads((folder / "explainer.pickle").read_bytes())
    _, left, _ = _timed(lambda: explainer.influence(*asked, out=again))
    return [at, was_killed, seconds, left, _digest(whole) == _digest(again)]


def _digest(path):
    return hashlib.sha256((path / "values.npy").read_bytes()).hexdigest()


def main(argv=None):
    parser = BenchmarkParser(
        "out_of_core",
        __doc__,
        rows=2_000,
        features=16,
        targets=5,
        compared=5,
        top=5,
        resumed_rows=2_000,
        resumed_targets=5,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--targets", type=int, default=1_000)
    parser.add_argument(
        "--compared", type=int, default=256, help="targets that products are told for"
    )
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--resumed-rows", type=int, default=100_000)
    parser.add_argument("--resumed-targets", type=int, default=256)
    parser.add_argument("--folder", help="where the rows are written and left")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.step:
        step, *arguments = options.step
        globals()[f"step_{step}"](*arguments)
        return
    with tempfile.TemporaryDirectory(prefix="skclif-") as temporary:
        folder = Path(options.folder or temporary)
        _measure(folder, options)
        _kill(Path(temporary), options)


def _measure(folder, options):
    if not (folder / "y.npy").exists():
        write_rows(folder, options.rows, options.features)
    n_compared = min(options.compared, options.targets)
    said, peaks = in_a_process(
        "whole", folder, options.targets, n_compared, options.top
    )
    stages = [
        "ConceptBottleneckClassifier.fit",
        "ConceptInfluenceExplainer.fit",
        f"influence, {options.targets:,} targets, top={options.top}",
        f"influence, first order, {n_compared} targets, top={options.top}",
    ]
    rows = [["imports and mapping the file", None, None, peaks[0]]]
    for stage, found, peak in zip(stages, said[1:], peaks[1:], strict=False):
        rows.append([stage, found["seconds"], found["worked"], peak])
    own, products = said[-1]["own"], said[-1]["products"]
    write_table(
        "out_of_core",
        f"{options.rows:,} x {options.features} float32 in a memory-mapped file, ten "
        "concepts",
        ["step", "seconds", "processor seconds", "GB of anonymous memory at most"],
        rows,
        [
            "One thread. Anonymous memory (RssAnon) is sampled from outside every "
            f"{_TICK * 1000:.0f} ms; pages of the mapped file, of "
            f"{4e-9 * options.rows * options.features:.2g} GB, do not count.",
            "The fit of an explainer fits its classifier again, and factorises.",
        ],
        options=options,
    )
    write_table(
        "out_of_core_products",
        f"First-order influence of {options.rows:,} rows on {n_compared} targets, "
        "beside its own products (processor seconds)",
        ["rows", "targets", "first order", "products", "ratio", "whole call over them"],
        [
            [
                *(options.rows, n_compared, own, products, own / products),
                said[-1]["worked"] / products,
            ]
        ],
        [
            "Products: the same matrix products of ready inputs of the same shapes "
            "and types, in the same process, right after. The whole call also solves "
            f"the adjoint system, and keeps the top {options.top} rows of each target.",
        ],
        options=options,
    )


def _kill(folder, options):
    torch.set_num_threads(1)
    folder = folder / "resumed"
    folder.mkdir()
    write_rows(folder, options.resumed_rows, options.features)
    rng = np.random.default_rng(0)
    at, was_killed, seconds, left, same = kill_and_resume(
        folder, options.resumed_targets, rng
    )
    write_table(
        "out_of_core_resumed",
        f"influence(..., out=path) of {options.resumed_rows:,} rows on "
        f"{options.resumed_targets} targets, killed by SIGKILL and called again",
        [
            "killed at",
            "was running",
            "same bytes",
            "seconds of a whole run",
            "seconds of the resumed run",
        ],
        [[f"{at:.0%} of the time", was_killed, same, seconds, left]],
        [
            "Same bytes: as those of a run that nobody killed. The call that resumes "
            "loads the explainer, and factorises its Hessians anew; the seconds of the "
            "whole run are without that."
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
