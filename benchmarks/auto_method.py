"""What influence with method="auto" takes and gives, next to removing every row.

By newton every training row is removed; "auto" takes up to about ten seconds, and says
which rows it confirmed. All methods are asked in one process, on one thread, for the
influence on the mean loss of the test part by path.

    python -m benchmarks.auto_method
"""

import time
import warnings

import numpy as np
import torch
from scipy.stats import spearmanr

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.exceptions import InfluenceWarning

from .results import BenchmarkParser, write_table
from .tasks import load_task

TASKS = [("nhs", 18), ("cebab-published", 10)]
METHODS = ("auto", "first_order", "leverage", "newton")
N_TOP = 20


def ask(explainer, method, test):
    """Return the influence on the mean loss, and the seconds it took."""
    explainer.set_params(method=method)
    start = time.process_time()
    result = explainer.influence(test.X, test.y, reduce="mean", paths=True)
    return result, time.process_time() - start


def error(own, true):
    """Return the norm of the difference over the norm of the truth."""
    return float(np.linalg.norm(own - true) / np.linalg.norm(true))


def measure(task, n_concepts):
    """Return a line for each method."""
    train, test = (load_task(task, part, n_concepts) for part in ("train", "test"))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(train.X, train.y, concepts=train.concepts)
    explainer.set_params(method="first_order").influence(test.X[:2], test.y[:2])
    found = {}
    for method in METHODS:
        found[method] = ask(explainer, method, test)
        print(f"measured: {task}, {method}", flush=True)
    exact, longest = found["newton"]
    true = exact.totals[0]
    top = np.argsort(-np.abs(true), kind="stable")[:N_TOP]
    lines = []
    for method, (result, seconds) in found.items():
        own = result.totals[0]
        best = np.argsort(-np.abs(own), kind="stable")[:N_TOP]
        confirmed = None if result.confirmed is None else int(result.confirmed.sum())
        n_paths = 1 + train.concepts.shape[1]  # first order has no interaction
        paths = result.values[0, :, :n_paths], exact.values[0, :, :n_paths]
        lines.append(
            [
                *(task, n_paths - 1, len(train.y), len(test.y), method, result.method),
                *(confirmed, seconds, longest / seconds),
                *(error(own, true), error(*paths), error(own[top], true[top])),
                *(len(set(best) & set(top)), float(spearmanr(own, true).statistic)),
            ]
        )
    return lines


def main(argv=None):
    parser = BenchmarkParser("auto_method", __doc__, tasks=[("generated", 4)])
    parser.set_defaults(tasks=TASKS)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", InfluenceWarning)  # removals far for leverage
    lines = [line for task in options.tasks for line in measure(*task)]
    write_table(
        "auto_method",
        'What "auto" takes and gives, next to removing every training row by newton',
        [
            *("task", "concepts", "training rows", "test rows", "method", "by"),
            *("rows confirmed", "seconds", "newton over it"),
            *("relative error", "of paths", f"of the top {N_TOP}"),
            *(f"of the top {N_TOP}, found", "Spearman"),
        ],
        lines,
        [
            "Influence of every training row on the mean log-loss of the test rows, by "
            "path; C and concept_C are 1. Seconds of processor time on one thread.",
            "Errors are those of whole rows, of the label's and the concepts' paths, "
            f"and of the {N_TOP} rows of largest influence by newton, over the size of "
            "newton's values.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
