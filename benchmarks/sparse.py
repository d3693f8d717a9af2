"""Word counts and many values: sparse fits, matrix-free influence, and their memory.

Texts are made up: words follow Zipf's law, TF-IDF weighs them, and ten 3-valued
concepts and a 5-valued label follow random directions of the words. scikit-learn loops
over the same heads with whichever of its solvers is fastest, to the gradient norm that
ours has reached.

    python -m benchmarks.sparse [--texts 20000] [--words 100000] [--targets 256]
"""

import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
import sklearn
import torch
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif.numerics.sparse import SparseFeatures

from .results import BenchmarkParser, write_table

N_CONCEPTS, WORDS_A_TEXT = 10, 90
GRADIENT = 1e-2  # of the summed objective, for every head
SOLVERS = ["lbfgs", "newton-cg"]
# Rows, features, classes, concepts and values of each concept.
LARGE = [
    (2000, 384, 77, 0, 0),
    (600, 384, 3, 1, 120),
    (3000, 384, 1000, 0, 0),
    (600, 384, 3, 200, 3),
]
_MEMORY = """
import resource, sys
import numpy as np
from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
n, d, n_classes, n_concepts, n_values = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
X = rng.normal(size=(n, d)) / d ** 0.5
y = np.r_[np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)]
concepts = None
if n_concepts:
    tail = rng.integers(0, n_values, (n - n_values, n_concepts))
    concepts = np.r_[np.repeat(np.arange(n_values)[:, None], n_concepts, axis=1), tail]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
explainer = ConceptInfluenceExplainer(
    ConceptBottleneckClassifier(), method="first_order"
).fit(X, y, concepts=concepts)
fitted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
explainer.influence(X[:4], y[:4])
asked = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((fitted - before) / 1024, (asked - before) / 1024)
"""


def made_up(n_texts, n_words, seed=0):
    """Return TF-IDF features, labels and annotations of made-up texts."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_words + 1) ** 0.9
    words = rng.choice(
        n_words, size=(n_texts, WORDS_A_TEXT), p=shares / shares.sum()
    ).ravel()
    rows = np.repeat(np.arange(n_texts), WORDS_A_TEXT)
    counts = sparse.csr_array(
        (np.ones(len(words)), (rows, words)), shape=(n_texts, n_words)
    )
    X = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    concepts = {}
    for j in range(N_CONCEPTS):
        score = 3 * (X @ rng.normal(size=n_words)) + 0.5 * rng.normal(size=n_texts)
        values = np.digitize(score, np.quantile(score, [0.4, 0.6]))
        concepts[f"concept {j}"] = np.array(["bad", "unknown", "good"])[values]
    concepts = pd.DataFrame(concepts).astype(object)
    y = (concepts == "good").sum(axis=1) - (concepts == "bad").sum(axis=1)
    y = np.digitize(y, [-4, -1, 2, 4])
    return X, y, concepts.mask(rng.random(concepts.shape) < 0.2)


def timed(function, *arguments, **named):
    """Return processor seconds and what a function returns."""
    start = time.process_time()
    found = function(*arguments, **named)
    return time.process_time() - start, found


def heads_of(clf, X, y, concepts):
    """Yield features, codes, weights and our parameters of every head."""
    for j, name in enumerate(concepts):
        known = concepts[name].notna().to_numpy()
        codes = np.unique(concepts[name][known], return_inverse=True)[1]
        ours = clf.concept_coef_[j], clf.concept_intercept_[j]
        yield X[known], codes, np.ones(len(codes)), ours
    annotated, predicted = concepts.notna().to_numpy(), clf.transform(X)
    true = predicted.copy()
    for j, name in enumerate(concepts):
        codes = np.searchsorted(clf.concept_classes_[j], concepts[name].fillna("bad"))
        rows = annotated[:, j]
        true[np.ix_(rows, range(3 * j, 3 * j + 3))] = np.eye(3)[codes[rows]]
    share = clf.intervention_prob_
    weights = np.repeat([1 - share, share], len(y))
    codes = np.unique(y, return_inverse=True)[1]
    both = np.r_[predicted, true]
    yield both, np.tile(codes, 2), weights, (clf.coef_, clf.intercept_)


def loop(heads, solver):
    """Return seconds of scikit-learn's loop, and its largest gradient norm."""
    total, largest = 0.0, 0.0
    for X, codes, weights, _ in heads:
        for tol in 10.0 ** -np.arange(4, 11):
            model = LogisticRegression(solver=solver, tol=tol, max_iter=5000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                seconds, model = timed(model.fit, X, codes, sample_weight=weights)
            norm = _weighted_norm(X, codes, weights, model.coef_, model.intercept_)
            if norm <= GRADIENT:
                break
        total, largest = total + seconds, max(largest, norm)
    return total, largest


def _weighted_norm(X, codes, weights, coef, intercept):
    logits = X @ coef.T + intercept
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    residual = exp / exp.sum(axis=1, keepdims=True) - np.eye(len(coef))[codes]
    residual = weights[:, None] * residual
    return np.linalg.norm(np.c_[residual.T @ X + coef, residual.sum(axis=0)])


def fits(X, y, concepts):
    """Return lines of solver, seconds, gradient norm and ratio."""
    seconds, clf = timed(
        ConceptBottleneckClassifier(tol=GRADIENT).fit, X, y, concepts=concepts
    )
    heads = list(heads_of(clf, X, y, concepts))
    norm = max(_weighted_norm(*head[:3], *head[3]) for head in heads)
    lines = [["skclif", seconds, norm, 1.0]]
    for solver in SOLVERS:
        theirs, largest = loop(heads, solver)
        lines.append([f"scikit-learn, {solver}", theirs, largest, seconds / theirs])
    return lines


class Products:
    """Seconds that sparse products take while this is entered."""

    def __enter__(self):
        self.seconds, self.kept = 0.0, {}
        for name in ("times", "adjoint"):
            self.kept[name] = getattr(SparseFeatures, name)
            setattr(SparseFeatures, name, self._counted(self.kept[name]))
        return self

    def __exit__(self, *error):
        for name, method in self.kept.items():
            setattr(SparseFeatures, name, method)

    def _counted(self, method):
        def counted(features, operand):
            seconds, product = timed(method, features, operand)
            self.seconds += seconds
            return product

        return counted


def influence(X, y, concepts, n_targets, memory_limit):
    """Return a line: targets, seconds, those of products, and their ratio."""
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    with sklearn.config_context(working_memory=memory_limit):
        explainer.fit(X, y, concepts=concepts)
        with Products() as products:
            seconds, _ = timed(explainer.influence, X[:n_targets], y[:n_targets])
    return [n_targets, seconds, products.seconds, seconds / products.seconds]


def memory(cases):
    """Return lines of a case, and the memory that its fit and influence take."""
    lines = []
    for case in cases:
        command = [sys.executable, "-W", "ignore", "-c", _MEMORY, *map(str, case)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        fitted, asked = map(float, done.stdout.split())
        lines.append([*case, 8 * case[0] * case[1] / 2**20, fitted, asked])
    return lines


def main(argv=None):
    parser = BenchmarkParser(
        "sparse",
        __doc__,
        texts=300,
        words=2000,
        targets=4,
        memory=0.1,
        large=[(60, 8, 12, 0, 0)],
    )
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=100_000)
    parser.add_argument("--targets", type=int, default=256)
    parser.add_argument("--only", choices=["texts", "memory"], help="some tables")
    parser.set_defaults(large=LARGE, memory=1024)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if options.only != "memory":
        X, y, concepts = made_up(options.texts, options.words)
        size = f"{options.texts:,} texts x {options.words:,} words, {X.nnz:,} not 0"
        how = (
            f"Made-up texts: {size}; {N_CONCEPTS} 3-valued concepts, a fifth of the "
            "annotations missing, and a 5-valued label; C = 1; one thread, processor "
            "time."
        )
        write_table(
            "sparse",
            "Sparse fits",
            ["solver", "seconds", "largest gradient norm", "skclif's time over it"],
            fits(X, y, concepts),
            [
                how,
                "scikit-learn loops over the same heads, the label's with its inputs "
                "and weights given, each with the loosest tolerance that reaches "
                f"{GRADIENT:g}. Meant: at most 1.2 of its fastest solver.",
            ],
            options=options,
        )
        write_table(
            "sparse_influence",
            "First-order influence by conjugate gradients",
            ["targets", "seconds", "of them sparse products", "ratio"],
            [influence(X, y, concepts, options.targets, options.memory)],
            [
                how,
                "Influence of every text on each target. Meant: a ratio of at most 3.",
            ],
            options=options,
        )
    if options.only == "texts":
        return
    write_table(
        "sparse_memory",
        "Many classes and values: memory of a fit and of influence",
        [
            *("rows", "features", "classes", "concepts", "values", "features, MiB"),
            *("fit, MiB", "fit and influence, MiB"),
        ],
        memory(options.large),
        [
            "Dense features. Growth of the process's largest memory over what it held "
            "with the data; the working_memory of scikit-learn is 1,024 MiB. Influence "
            "of all rows on 4 targets, first_order.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
