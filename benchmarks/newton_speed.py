"""The time of newton: all rows next to an older build, and the top rows of many.

The older build is a checkout of the repository, for example of `git worktree add
../before eb7c8f3`. Builds take turns, each time in a process of its own on one thread.

    python -m benchmarks.newton_speed --before ../before [--repeat 5] [--rows 100000]
"""

import argparse
import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .results import ROOT, BenchmarkParser, write_table
from .tasks import load_task

_TIMED = Path(__file__).parent / "_newton_timed.py"
_NOISE = 0.02  # of a feature; embeddings have length 1
N_TARGETS, N_TOP = 256, 50
# Removals of all rows: the strength of the penalties, and whether by path.
SETTINGS = [(1.0, False), (1.0, True), (10.0, False)]


def many(task, n_rows):
    """Return a task's training rows, drawn again with noise, and its test rows."""
    train, test = (load_task(task, part) for part in ("train", "test"))
    rng = np.random.default_rng(0)
    rows = rng.integers(len(train.y), size=n_rows)
    X = train.X[rows] + _NOISE * rng.standard_normal((n_rows, train.X.shape[1]))
    concepts = train.concepts.iloc[rows].reset_index(drop=True)
    given = X.astype(np.float32), train.y[rows], concepts
    return (*given, test.X[:N_TARGETS], test.y[:N_TARGETS])


def all_rows(task):
    """Return a task's training and test rows."""
    train, test = (load_task(task, part) for part in ("train", "test"))
    return train.X.astype(np.float32), train.y, train.concepts, test.X, test.y


def run(source, *arguments):
    """Run `_newton_timed.py` on one checkout; return what it prints."""
    threads = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
    done = subprocess.run(
        [sys.executable, "-P", str(_TIMED), *map(str, arguments)],
        env={**os.environ, **dict.fromkeys(threads, "1"), "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def commit_of(source):
    """Return the commit of a checkout."""
    found = subprocess.run(
        ["git", "-C", str(source), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "not a checkout"


def next_to_before(problem, before, C, paths, repeat):
    """Return a row of the table on all rows."""
    found = {"now": [], "before": []}
    with tempfile.TemporaryDirectory() as folder:
        answers = {name: Path(folder, f"{name}.npy") for name in found}
        for _ in range(repeat):
            for name, source in (("before", before), ("now", ROOT)):
                if source is not None:
                    asked = "all", problem, C, int(paths), answers[name]
                    found[name].append(run(source, *asked)["newton"])
        now, old, ratio, distance = statistics.median(found["now"]), None, None, None
        if before is not None:
            old = statistics.median(found["before"])
            pairs = zip(found["before"], found["now"], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            values, others = (np.load(answers[name]) for name in ("now", "before"))
            distance = float(np.linalg.norm(values - others) / np.linalg.norm(others))
    what = "every path, mean over targets" if paths else "every target"
    return [what, C, old, now, ratio, distance]


def main(argv=None):
    parser = BenchmarkParser(
        "newton_speed", __doc__, rows=2000, repeat=1, task="generated"
    )
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="a checkout of an older commit"
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.set_defaults(task="cebab-published")
    options = parser.parse_args(argv)
    if options.before is not None and not (options.before / "skclif").is_dir():
        parser.error(
            f"--before {options.before} has no folder skclif: give a checkout of this "
            "repository."
        )
    with tempfile.TemporaryDirectory() as folder:
        problem = Path(folder, "problem.pickle")
        problem.write_bytes(pickle.dumps(all_rows(options.task)))
        rows = [
            next_to_before(problem, options.before, C, paths, options.repeat)
            for C, paths in SETTINGS
        ]
        problem.write_bytes(pickle.dumps(many(options.task, options.rows)))
        runs = [run(ROOT, "top", problem, 10.0) for _ in range(options.repeat)]
    before = "-" if options.before is None else commit_of(options.before)
    seconds = "Seconds of processor time on one thread, the median of "
    write_table(
        "newton_speed",
        f"All rows by newton, next to commit {before}",
        ["asked", "C", "seconds before", "seconds", "times faster", "distance"],
        rows,
        [
            f"{seconds}{options.repeat} processes of each build, which took turns; the "
            "ratio is the median of the ratios of turns. Influence of every training "
            "row of CEBaB on the losses of all test rows, float32 features, ten "
            "concepts, sequential training, which both builds have.",
            "Distance: norm of the difference of the answers of both builds, over the "
            "norm.",
        ],
        options=options,
    )
    medians = {name: statistics.median(one[name] for one in runs) for name in runs[0]}
    newton = medians["newton"]
    write_table(
        "newton_top",
        f"The top {N_TOP} of {options.rows:,} rows by newton, next to first order",
        ["what", "seconds", "newton over it"],
        [
            [f"newton, the top {N_TOP}", newton, None],
            [
                f"first order, {N_TARGETS} targets",
                medians["targets"],
                newton / medians["targets"],
            ],
            ["first order, their mean", medians["mean"], newton / medians["mean"]],
        ],
        [
            f"{seconds}{options.repeat} processes. Rows are of CEBaB, drawn again "
            f"with noise; C and concept_C are 10. Newton removes the {N_TOP} rows of "
            f"largest influence on the mean loss of {N_TARGETS} test rows, by first "
            "order; it takes {:.2f} of the pass of first order for all targets and "
            "{:.1f} of that for their mean.".format(
                newton / medians["targets"], newton / medians["mean"]
            ),
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
