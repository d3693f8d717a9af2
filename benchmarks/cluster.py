"""Fit and influence on a Dask cluster, beside the same in one process.

Made-up rows in single precision with ten 3-valued concepts. Each worker is a process on
this machine with one thread, and so is what it is compared with. Workers run without
Dask's setting that gives freed memory back to the system, and with it. A pass is one
sum over all rows. The second table says what 100 million rows would take on more
workers: it is computed from the measured passes, bytes and seconds, and was not run.

    python -m benchmarks.cluster [--rows 1000000] [--features 384] [--workers 1 2]
"""

import time
from functools import partial

import cloudpickle
import numpy as np
import pandas as pd
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._cluster.passes import RemoteData
from skclif._cluster.workers import TRIMS_MEMORY

from .results import BenchmarkParser, write_table

N_CONCEPTS = 10
VALUES = np.array(["negative", "unknown", "positive"])
MANY = 100_000_000
TRIMMED = ", as Dask starts them"


def block(n_rows, n_features, number):
    """Return X, y and concepts of one partition, the same in every process."""
    shape = np.random.default_rng(0)
    directions = shape.normal(size=(n_features, N_CONCEPTS)) / n_features**0.5
    rng = np.random.default_rng([1, number])
    X = rng.standard_normal(size=(n_rows, n_features), dtype=np.float32)
    scores = X @ directions + 0.5 * rng.normal(size=(n_rows, N_CONCEPTS))
    y = np.digitize(scores.sum(axis=1), [-2, 0, 2])
    return X, y, np.digitize(scores, [-0.5, 0.5])


def part(of, n_rows, n_features, block_info=None):
    """Return one of the three for a block of a Dask array."""
    return block(n_rows, n_features, block_info[None]["chunk-location"][0])[of]


def named(codes):
    return pd.DataFrame(VALUES[codes]).rename(columns="concept {}".format)


def collections(n_rows, n_features, n_parts):
    """Return X, y and concepts as Dask collections, made where they lie."""
    from dask import array, dataframe

    rows = (n_rows // n_parts,) * n_parts
    sizes = {"n_rows": rows[0], "n_features": n_features}
    X = array.map_blocks(
        partial(part, 0, **sizes),
        chunks=(rows, n_features),
        dtype=np.float32,
        meta=np.empty((0, n_features), np.float32),
    )
    y = array.map_blocks(
        partial(part, 1, **sizes), chunks=(rows,), dtype=int, meta=np.empty(0, int)
    )
    concepts = dataframe.from_map(
        partial(_concepts, **sizes),
        range(n_parts),
        meta=named(block(1, n_features, 0)[2]),
    )
    return X, y, concepts


def _concepts(number, n_rows, n_features):
    return named(block(n_rows, n_features, number)[2])


class Passes:
    """Count passes, and the bytes that they send and bring."""

    def __init__(self):
        self.n = self.sent = self.brought = 0
        self.seconds = 0.0
        self._total = RemoteData.total

    def __enter__(self):
        RemoteData.total = lambda data, *args, **kwargs: self._count(
            data, *args, **kwargs
        )
        return self

    def __exit__(self, *exception):
        RemoteData.total = self._total

    def _count(self, data, function, *args, **kwargs):
        start = time.perf_counter()
        found = self._total(data, function, *args, **kwargs)
        self.seconds += time.perf_counter() - start
        self.n += 1
        self.sent += len(data.shards) * len(cloudpickle.dumps(function))
        self.brought += len(cloudpickle.dumps(found))
        return found


def nothing(shard, start):
    """Take a pass that computes nothing: what is left is the time of Dask."""
    return 0


def timed(function, *args, **kwargs):
    start = time.perf_counter()
    found = function(*args, **kwargs)
    return time.perf_counter() - start, found


def measure_here(options, targets):
    parts = [
        block(options.rows // options.parts, options.features, i)
        for i in range(options.parts)
    ]
    X, y, codes = (np.concatenate(each) for each in zip(*parts, strict=True))
    del parts
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    fit, _ = timed(explainer.fit, X, y, concepts=named(codes))
    influence, _ = timed(explainer.influence, *targets, top=20)
    return fit, influence, explainer.estimator_


def measure_there(options, targets, n_workers, trims):
    import dask
    from distributed import Client, LocalCluster

    # None is no setting, so that workers keep memory for the next block of rows.
    setting = dask.config.get(TRIMS_MEMORY) if trims else None
    with (
        dask.config.set({TRIMS_MEMORY: setting}),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.run(_prepare)
        X, y, concepts = map(
            client.persist, collections(options.rows, options.features, options.parts)
        )
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        with Passes() as passes:
            fit, _ = timed(explainer.fit, X, y, concepts=concepts)
        influence, _ = timed(explainer.influence, *targets, top=20)
        data = explainer._solved.data
        idle = min(timed(data.total, nothing, sum_of)[0] for _ in range(10))
        return fit, influence, explainer.estimator_, passes, idle


def sum_of(*numbers):
    return sum(numbers)


def _prepare():
    import skclif._explain.explainer

    torch.set_num_threads(1)
    return skclif.__version__


def difference(model, other):
    pairs = zip(
        [model.coef_, *model.concept_coef_],
        [other.coef_, *other.concept_coef_],
        strict=True,
    )
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def estimate(passes, idle, rows, n_workers):
    """Return rows of (workers, GB sent, GB brought to the client, minutes)."""
    # What a worker computes in all passes for one row, and Dask for one task.
    by_row = (passes.seconds - passes.n * idle) * n_workers / rows
    by_task = idle / (n_workers + 2)
    found = []
    for many in (10, 100, 1000):
        sent = passes.sent / n_workers * many
        between = passes.brought * many  # totals that workers add up
        seconds = by_row * MANY / many + passes.n * by_task * (many + 2)
        found.append(
            [many, sent / 1e9, between / 1e9, passes.brought / 1e9, seconds / 60]
        )
    return found


def main(argv=None):
    parser = BenchmarkParser(
        "cluster", __doc__, rows=4000, features=8, parts=4, workers=[2]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=384)
    parser.add_argument("--parts", type=int, default=40, help="number of partitions")
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    targets = block(options.targets, options.features, options.parts)[:2]
    fit, influence, here = measure_here(options, targets)
    rows = [["this process", fit, 1.0, influence, "-", "-", "-", 0.0]]
    # Dask leaves the setting in the environment of this process: it comes last.
    cases = [*((n, False) for n in options.workers), (options.workers[-1], True)]
    for n_workers, trims in cases:
        own, asked, there, passes, idle = measure_there(
            options, targets, n_workers, trims
        )
        if not trims:
            measured = passes, idle
        rows.append(
            [
                f"{n_workers} worker" + "s" * (n_workers > 1) + TRIMMED * trims,
                own,
                own / fit,
                asked,
                passes.n,
                1000 * idle,
                passes.brought / 1e6,
                difference(here, there),
            ]
        )
    passes, idle = measured
    size = f"{options.rows:,} x {options.features} rows in float32"
    write_table(
        "cluster",
        f"Fit and influence of {size} on a cluster of one machine",
        [
            "rows are in",
            "fit, s",
            "over this process",
            f"influence on {options.targets} targets, s",
            "passes of the fit",
            "ms of Dask for each",
            "MB brought to the client",
            "difference",
        ],
        rows,
        [
            f"{options.parts} partitions; ten 3-valued concepts; one thread in each "
            "process. The fit is that of an explainer: model, Hessians and factors. "
            "Influence is to first order, top=20.",
            "The MB are totals of passes. What a sample of rows says of where to start "
            "comes beside them, and does not grow with the rows.",
            "Workers keep memory that they free, except in the last line. Difference: "
            "the largest one of a coefficient, beside the fit in this process.",
        ],
        options=options,
    )
    write_table(
        "cluster_estimate",
        f"Estimated, not run: a fit of {MANY:,} x {options.features} rows",
        [
            "workers of one thread",
            "GB sent to workers",
            "GB between workers",
            "GB brought to the client",
            "minutes",
        ],
        estimate(passes, idle, options.rows, n_workers),
        [
            f"From {passes.n} passes, each of "
            f"{passes.sent / passes.n / n_workers / 1e6:.2f} MB sent to each worker "
            f"and {passes.brought / passes.n / 1e6:.2f} MB brought back; what a row "
            f"takes with {n_workers} workers; and Dask's time for a task. Networks are "
            "taken as fast enough.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
