"""What a fit with learned weights costs, in plain fits of the same classifier."""

import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from skclif import InfluenceReweighter

from .results import BenchmarkParser, write_table
from .reweighting import Situation


def seconds(fit):
    start = time.perf_counter()
    fit()
    return time.perf_counter() - start


def main(argv=None):
    parser = BenchmarkParser("reweighting_cost", __doc__, repeat=1, task="generated")
    parser.add_argument("--repeat", type=int, default=5)
    parser.set_defaults(task="cebab-published")
    options = parser.parse_args(argv)
    s = Situation(options.task, "uniform", 0.2, seed=0)
    plain, X, y = LogisticRegression(max_iter=1000), s.X[: s.n], s.y[: s.n]
    X_val, y_val = s.X[s.n :][:500], s.y[s.n :][:500]
    ways = {
        f"{len(y_val)} validation rows": {"X_val": X_val, "y_val": y_val},
        "none, out of fold": {},
    }
    rows = []
    for name, given in ways.items():
        # In turn, so that a slow minute of the machine is in both.
        times = [
            (
                seconds(lambda: plain.fit(X, y)),
                seconds(
                    lambda given=given: InfluenceReweighter(plain, random_state=0).fit(
                        X, y, **given
                    )
                ),
            )
            for _ in range(options.repeat)
        ]
        fit, learned = np.median(times, axis=0)
        ratio = float(np.median([b / a for a, b in times]))
        rows.append([name, float(fit), float(learned), ratio])
    write_table(
        "reweighting_cost",
        "Seconds of a fit",
        ["clean rows", "plain fit", "with learned weights", "ratio"],
        rows,
        [
            f"LogisticRegression (C=1, max_iter=1000), {len(X)} x {X.shape[1]} "
            f"features, 5 classes, default settings; medians of {options.repeat} "
            "runs in turn."
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
