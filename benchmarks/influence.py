"""First-order influence on one core, beside the exact libraries there are.

256 test rows and 384 features of CEBaB; beyond its 1,463 training rows, they are drawn
again with noise. Linear heads against dattri and pyDVL (five classes) and pyinfluence
(two), which get an environment of their own in ``.cache/peers``; the whole bottleneck
against its own matrix products. Every answer runs in a process of its own, on one
thread, from a fitted model to influence in memory.

    python -m benchmarks.influence [--sizes 1463 20000 100000] [--repeat 3]
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.numerics.blocks import BLOCK_ROWS
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.hessians import factorise
from skclif.numerics.squares import add_square
from skclif.numerics.targets import LabelTarget

from ._influence_peers import status, timed
from ._peers import peers_python
from .results import BenchmarkParser, write_table
from .tasks import load_task

REQUIREMENTS = """\
torch==2.13.0
dattri==0.3.0
pyDVL[influence]==0.10.0
pyinfluence==0.5.0
scikit-learn==1.9.1
"""
PYDVL_BATCH = 512  # 128 and 1,463 take longer
PEERS = {5: {"dattri 0.3.0": "dattri", "pyDVL 0.10.0": "pydvl"}}
PEERS[2] = {"pyinfluence 0.5.0": "pyinfluence"}
C = 10.0
N_TARGETS = 256
_NOISE = 0.02  # of a feature; embeddings have length 1
_PEERS = Path(__file__).parent.parent / ".cache" / "peers"


def problem(task, n_rows, n_classes):
    """Return features in float32, labels and annotations, of training and test rows."""
    train, test = (load_task(task, part) for part in ("train", "test"))
    rng = np.random.default_rng(0)
    X, rows = train.X, np.arange(len(train.X))
    if n_rows > len(X):
        rows = rng.integers(len(X), size=n_rows)
        X = X[rows] + _NOISE * rng.standard_normal((n_rows, X.shape[1]))
    rows = rows[:n_rows]
    y, y_test = train.y[rows], test.y
    if n_classes == 2:
        y, y_test = y > np.median(train.y), y_test > np.median(train.y)
    classes = np.unique(y)
    return {
        "X": X[:n_rows].astype(np.float32),
        "y": np.searchsorted(classes, y),
        "concepts": train.concepts.to_numpy()[rows],
        "X_test": test.X[:N_TARGETS].astype(np.float32),
        "y_test": np.searchsorted(classes, y_test[:N_TARGETS]),
    }


def explain(given, *, concepts):
    """Return a fitted explainer of one linear head, or of the whole bottleneck."""
    if concepts:
        clf = ConceptBottleneckClassifier(C=C, concept_C=C)
        more = {"concepts": given["concepts"]}
    else:
        clf, more = LogisticRegression(C=C, max_iter=10_000), {}
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    return explainer.fit(given["X"], given["y"], **more)


def run_peer(peer, given, explainer, folder, repeat):
    """Return a peer's influence, seconds and memory; None where memory is short."""
    path, answer = folder / "problem.npz", folder / "answer.npy"
    clf = explainer.estimator_
    dtype = np.float64 if peer == "pyinfluence" else np.float32
    arrays = {name: given[name] for name in ("X", "y", "X_test", "y_test")}
    coef, intercept = clf.coef_.astype(dtype), clf.intercept_.astype(dtype)
    np.savez(path, **arrays, coef=coef, intercept=intercept, C=C)
    program = Path(__file__).with_name("_influence_peers.py")
    command = [
        peers_python(_PEERS, REQUIREMENTS),
        program,
        peer,
        path,
        answer,
        str(PYDVL_BATCH),
    ]
    runs = [_in_a_process(command) for _ in range(repeat)]
    if None in [run["seconds"] for run in runs]:
        return None, {"seconds": None, "memory": None}
    return np.load(answer), _medians(runs)


def run_ours(task, explainer, given, folder, repeat, *, concepts):
    """Return our influence, and medians of what the processes printed."""
    path, answer = folder / "explainer.pickle", folder / "answer.npy"
    with path.open("wb") as file:
        pickle.dump((task, concepts), file)
        pickle.dump((explainer, given["X_test"], given["y_test"]), file)
    command = [sys.executable, "-m", "benchmarks.influence", "--answer", path, answer]
    runs = [_in_a_process(command) for _ in range(repeat)]
    values = None if concepts else np.load(answer)
    return values, {**_medians(runs), "parts": _medians([r["parts"] for r in runs])}


def _in_a_process(command):
    threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    done = subprocess.run(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def _medians(runs):
    """Return the median of every number that all runs have."""
    return {
        name: statistics.median(run[name] for run in runs)
        for name, value in runs[0].items()
        if isinstance(value, float)
    }


def answer(path, to):
    """Answer as a process of its own: print seconds, memory and seconds of parts.

    The explainer was loaded, so the first call assembles and factorises too.
    """
    torch.set_num_threads(1)
    with Path(path).open("rb") as file:
        task, concepts = pickle.load(file)
        few = problem(task, 500, 5)
        explain(few, concepts=True).influence(few["X_test"], few["y_test"])  # warm up
        del few
        imported = status("VmRSS")
        explainer, X, y = pickle.load(file)
    # The paths of all rows would be 11 x 0.2 GB at 100,000: they are streamed.
    keep = {"paths": True, "top": 10} if concepts else {}
    data = (status("VmRSS") - imported) * 1024 / 1e9
    result, seconds, memory = timed(lambda: explainer.influence(X, y, **keep))
    if not concepts:
        np.save(to, result.values)
    del result
    parts = _parts(explainer, X, y)
    found = {"seconds": seconds, "memory": memory, "data": data, "parts": parts}
    sys.stdout.write(json.dumps(found))


def _parts(explainer, X, y):
    """Return seconds of each part of an answer, and of the bare products in it."""
    solved = explainer._solved_model()
    bottleneck, data, factors = solved.bottleneck, solved.data, solved.factors
    penalties = {
        "penalty": factors.penalty,
        "concept_penalties": factors.concept_penalties,
    }
    n_paths = 1 + len(bottleneck.concepts)
    seconds, dtype = {}, factors.dtype
    factors = _timed(
        seconds,
        "Hessians and factors",
        lambda: factorise(bottleneck, data, dtype=dtype, **penalties),
    )
    target = LabelTarget("loss", torch.from_numpy(y))
    rows = torch.from_numpy(X).double()
    adjoint = _timed(
        seconds,
        "adjoint",
        lambda: solve_adjoint(
            bottleneck, factors, target.derivatives(bottleneck, rows)
        ),
    )

    def score():
        values = None if n_paths > 1 else np.empty((len(X), len(data.features)))
        for block, part in first_order(bottleneck, data, adjoint, dtype=dtype):
            if values is not None:
                values[:, block] = part[:, :, 0]

    _timed(seconds, "scores", score)
    n_rows = len(data.features)
    widths = [part.shape[1] for part in adjoint.concepts or (adjoint.label,)]
    _timed(seconds, "bare products of scores", _score_products(n_rows, widths, dtype))
    if n_paths > 1:
        seconds["bare products of all"] = seconds["bare products of scores"]
        start = time.process_time()
        _hessian_products(bottleneck, n_rows, dtype)
        seconds["bare products of all"] += time.process_time() - start
    return seconds


def _timed(seconds, name, function):
    start = time.process_time()
    result = function()
    seconds[name] = time.process_time() - start
    return result


def _score_products(n_rows, widths, dtype):
    """Return what multiplies ready inputs of as many rows, a block at a time."""
    inputs = [torch.randn(BLOCK_ROWS, width, dtype=dtype) for width in widths]
    adjoints = [torch.randn(N_TARGETS, width, dtype=dtype) for width in widths]

    def products():
        for start in range(0, n_rows, BLOCK_ROWS):
            n_block = min(BLOCK_ROWS, n_rows - start)
            for left, right in zip(adjoints, inputs, strict=True):
                left @ right[:n_block].T

    return products


def _hessian_products(bottleneck, n_rows, dtype):
    """Multiply ready inputs into squares, one a pair of values, and the cross term."""
    label, heads = bottleneck.label, bottleneck.concepts.heads
    n_inputs = bottleneck.concept_parameters.shape[1]
    inputs = torch.randn(BLOCK_ROWS, n_inputs, dtype=dtype)
    square = torch.zeros(n_inputs, n_inputs, dtype=torch.float64)
    n_pairs = sum(head.n_values * (head.n_values - 1) // 2 for head in heads)
    n_label = label.n_scores * bottleneck.n_label_inputs
    jacobian = torch.randn(BLOCK_ROWS, n_label * heads[0].n_scores, dtype=dtype)
    for start in range(0, n_rows, BLOCK_ROWS):
        n_block = min(BLOCK_ROWS, n_rows - start)
        for _ in range(n_pairs):
            add_square(square, inputs[:n_block])
        for _ in heads:
            jacobian[:n_block].T @ inputs[:n_block]


def agreement(own, other):
    """Return the correlation of two answers, and their distance up to a scale."""
    own, other = own.ravel(), np.asarray(other, dtype=np.float64).ravel()
    correlation = own @ other / np.sqrt((own @ own) * (other @ other))
    return abs(correlation), np.sqrt(max(0.0, 1 - correlation**2))


def measure(task, n_rows, repeat, *, peers):
    """Return rows of the tables on libraries and on parts, for one size."""
    libraries, parts = [], []
    with tempfile.TemporaryDirectory() as folder:
        for n_classes, others in PEERS.items():
            given = problem(task, n_rows, n_classes)
            explainer = explain(given, concepts=False)
            own, ours = run_ours(
                task, explainer, given, Path(folder), repeat, concepts=False
            )
            name = f"one head, {n_classes} classes"
            libraries.append([n_rows, name, "skclif", *_row(ours)])
            parts.append([n_rows, name, *_row_of_parts(ours["parts"])])
            for library, peer in others.items() if peers else ():
                times = 1 if n_rows > 20_000 else repeat
                theirs, found = run_peer(peer, given, explainer, Path(folder), times)
                distance = None if theirs is None else agreement(own, theirs)[1]
                row = _row(found, ours["seconds"], distance)
                libraries.append([n_rows, name, library, *row])
        given = problem(task, n_rows, 5)
        explainer = explain(given, concepts=True)
        _, ours = run_ours(task, explainer, given, Path(folder), repeat, concepts=True)
    name = "bottleneck, 10 concepts"
    libraries.append([n_rows, name, "skclif", *_row(ours)])
    parts.append([n_rows, name, *_row_of_parts(ours["parts"])])
    return libraries, parts


def _row(found, ours=None, distance=None):
    """Return seconds, how many times ours, memory beyond data and imports, distance."""
    seconds, memory, data = (found.get(name) for name in ("seconds", "memory", "data"))
    beyond = None if data is None else memory + data
    return [seconds, seconds and ours and seconds / ours, memory, beyond, distance]


def _row_of_parts(parts):
    names = ["Hessians and factors", "adjoint", "scores", "bare products of scores"]
    row = [parts[name] for name in names]
    row.append(row[2] / row[3])
    whole = parts.get("bare products of all")
    return [*row, whole, whole and sum(row[:3]) / whole]


def main(argv=None):
    parser = BenchmarkParser(
        "influence", __doc__, sizes=[300], repeat=1, task="generated", peers=False
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1463, 20_000, 100_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--answer", nargs=2, help=argparse.SUPPRESS)
    parser.set_defaults(task="cebab-published", peers=True)
    options = parser.parse_args(argv)
    if options.answer:
        answer(*options.answer)
        return
    if options.peers:
        peers_python(_PEERS, REQUIREMENTS)
    torch.set_num_threads(1)
    libraries, parts = [], []
    for n_rows in options.sizes:
        of_libraries, of_parts = measure(
            options.task, n_rows, options.repeat, peers=options.peers
        )
        libraries += of_libraries
        parts += of_parts
        _write(libraries, parts, options)


def _write(libraries, parts, options):
    seconds = (
        "Seconds are of processor time, on one thread and after a warm-up: the median "
        f"of {options.repeat} processes, peers beyond 20,000 rows by one."
    )
    write_table(
        "influence",
        "First-order influence of all training rows on 256 test losses (384 features)",
        [
            "training rows",
            "model",
            "library",
            "seconds",
            "times ours",
            "GB beyond the data",
            "GB beyond the imports",
            "distance from ours",
        ],
        libraries,
        [
            seconds + " They go from a fitted model to all influence in memory; the "
            "bottleneck's, every path, to the ten largest rows of each target.",
            "Features are float32. Peers have an exact Hessian and their fastest "
            "batches. Damping of dattri and pyDVL, the penalty, is on the bias too; "
            "pyinfluence reads the penalty itself. Distance: norm of the difference "
            "over the norm, up to sign and scale. '-': more than 12 GB of memory.",
            "GB: growth of resident memory in the call, the answer included: "
            "256 x 8 bytes a training row, 0.2 GB at 100,000. Beyond the imports: with "
            "the fitted explainer, which holds its training rows in double precision.",
        ],
        options=options,
    )
    write_table(
        "influence_parts",
        "Where first-order influence spends its time (seconds)",
        [
            "training rows",
            "model",
            "Hessians and factors",
            "adjoint",
            "scores",
            "products of scores",
            "scores over them",
            "all own products",
            "whole over them",
        ],
        parts,
        [
            seconds,
            "Products: the same number of matrix products of ready inputs of the same "
            "shapes, in float32; Cholesky factors and solutions are not among them.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
