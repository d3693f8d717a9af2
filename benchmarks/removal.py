"""What removing one training row costs: by newton, by leverage, by solving again.

Newton and leverage remove all training rows in blocks and evaluate the targets; a warm
refit starts at the optimum with all rows, preconditioned by its factors, and stops at
the tolerance of `fit`. One row, on average, on one thread.

    python -m benchmarks.removal [--rows 1463] [--refits 20]
"""

import os
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.numerics.edits import Limits, solve_edit
from skclif.numerics.targets import LabelTarget

from .results import BenchmarkParser, write_table
from .tasks import load_task

PENALTIES = [1.0, 10.0]
_N_TARGETS = 256


def measure(task, C, n_rows, n_refits):
    """Return rows of the table for one strength of the penalties."""
    train, test = (load_task(task, part) for part in ("train", "test"))
    X, X_test = (part.X.astype(np.float32) for part in (train, test))
    clf = ConceptBottleneckClassifier(C=C, concept_C=C)
    explainer = ConceptInfluenceExplainer(clf).fit(X, train.y, concepts=train.concepts)
    solved = explainer._solved_model()
    codes = np.searchsorted(explainer.classes_, test.y[:_N_TARGETS])
    codes = torch.from_numpy(codes)
    questions = solved.questions(
        X_test[:_N_TARGETS].astype(np.float64),
        lambda block: LabelTarget("loss", codes[block]),
        None,
    )
    rows = np.random.default_rng(0).permutation(len(X))[:n_rows]
    # The first removal inverts the factors, which all others share: it is in the time.
    refits = [_seconds(lambda i=i: _refit(solved, clf, i)) for i in rows[:n_refits]]
    refit = statistics.median(refits)
    lines = [[C, "whole row", "warm refit", refit * 1000, None]]
    for paths, removed in [(False, "whole row"), (True, "row and every path")]:
        for method in ("newton", "leverage"):

            def remove(method=method, paths=paths):
                for _ in solved.blocks(method, questions, paths=paths, rows=rows):
                    pass

            own = _seconds(remove) / len(rows)
            lines.append([C, removed, method, own * 1000, refit / own])
    return lines, len(rows), len(X)


def _refit(solved, clf, row):
    data, factors = solved.data, solved.factors
    label_weights, concept_weights = data.label_weights, data.concept_weights
    label_weights, concept_weights = label_weights.clone(), concept_weights.clone()
    label_weights[row], concept_weights[row] = 0, 0
    without = replace(
        data, label_weights=label_weights, concept_weights=concept_weights
    )
    solve_edit(
        solved.bottleneck,
        data,
        without,
        factors,
        penalty=factors.penalty,
        concept_penalties=factors.concept_penalties,
        limits=Limits(clf.tol, clf.max_iter),
    )


def _seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def main(argv=None):
    parser = BenchmarkParser(
        "removal", __doc__, rows=20, refits=2, task="generated", penalties=[1.0]
    )
    parser.add_argument("--rows", type=int, default=1463)
    parser.add_argument("--refits", type=int, default=20)
    parser.set_defaults(task="cebab-published", penalties=PENALTIES)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = [
        measure(options.task, C, options.rows, options.refits)
        for C in options.penalties
    ]
    write_table(
        "removal",
        "Removing one training row (milliseconds of processor time)",
        ["C = concept_C", "removed", "by", "ms a row", "warm refit over it"],
        [line for lines, _, _ in found for line in lines],
        [
            f"{found[0][1]} of {found[0][2]} training rows of {options.task}, ten "
            f"concepts or as many as there are, float32 features; {_N_TARGETS} test "
            "losses evaluated at each removal. A refit is of the whole row, to the "
            "tolerance of fit, in double precision, without evaluating anything: the "
            f"median of {options.refits}.",
            "Every path: the row's label and each of its annotations by itself too.",
        ],
        options=options,
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
