"""What many values of a concept cost, and what an audit says of it beforehand.

Vectors at random, one concept with as many values as stated, one with three, and two
labels. The time is that of a fit, of influence on the mean loss of sixty rows with its
paths, of suspects and of suggestions, together, on one thread.

    python -m benchmarks.many_values
"""

import os
import time
import warnings

import numpy as np
import pandas as pd
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs.schema import ConceptSchema
from skclif._models.costs import explained_seconds, explained_size

from .results import BenchmarkParser, write_table

SIZES = [(300, 12), (300, 25), (300, 50), (1000, 12), (1000, 25), (2000, 12)]
_N_FEATURES, _N_ASKED = 384, 60


def measure(n_rows, n_values):
    """Return a line of the table."""
    rng = np.random.default_rng(0)
    n = n_rows + _N_ASKED
    X = rng.normal(size=(n, _N_FEATURES)).astype(np.float32)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    y = rng.integers(0, 2, n)
    concepts = pd.DataFrame(
        {"many": np.arange(n) % n_values, "few": rng.integers(0, 3, n)}
    ).astype(str)
    train, asked = slice(0, n_rows), slice(n_rows, n)
    start = time.process_time()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X[train], y[train], concepts=concepts[train])
    found = explainer.influence(X[asked], y[asked], paths=True, reduce="mean")
    explainer.suspect_labels()
    explainer.suggest_edits(X[asked], y[asked], random_state=0)
    seconds = time.process_time() - start
    schema = ConceptSchema(("many", "few"), (np.arange(n_values), np.arange(3)), True)
    sizes = (schema, 2, n_rows, _N_FEATURES)
    said = explained_seconds(*sizes)
    gib = explained_size(*sizes) / 2**30
    return [n_rows, n_values, found.method, seconds, said, said / seconds, gib]


def main(argv=None):
    parser = BenchmarkParser("many_values", __doc__, sizes=[(60, 12)])
    parser.set_defaults(sizes=SIZES)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is learned from vectors at random
        lines = [measure(*size) for size in options.sizes]
    write_table(
        "many_values",
        "What many values of a concept cost",
        [
            *("training rows", "values", "influence by", "seconds", "said beforehand"),
            *("said over real", "GiB said beforehand"),
        ],
        lines,
        [
            f"{_N_FEATURES} features at random, a second concept with three values, "
            "two labels; seconds of processor time.",
        ],
        options=options,
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
