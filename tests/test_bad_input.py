"""Bad input: every kind of input x every public entry point.

A cell is one kind of one argument at one entry point. Its answer is `Right`, what the
plain float64 array or the plain labels get, or `Refused`, a message that names the
argument and what came. Tables hold the kinds, by family; the last tests see to it that
every argument of every public method and function has a table, and that every table
speaks of every family, if only to say why it does not apply.

All methods read their data by a few functions, which `tests/inputs` asks about every
kind. A method by itself is asked about the first right and the first wrong kind of
every family, and about those kinds to which it has an answer of its own. All other
cells are marked `full`.
"""

import inspect
import re
import tempfile
import warnings
from dataclasses import dataclass, replace
from functools import cache, partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import _num_samples

import skclif
from skclif import (
    AnnotationSuggestions,
    AuditReport,
    AuditTrail,
    BaselineComparison,
    ConceptAnnotator,
    ConceptBottleneckClassifier,
    ConceptContributions,
    ConceptEncoder,
    ConceptInfluenceExplainer,
    DriftDisplay,
    DriftReport,
    EditComparison,
    EditDisplay,
    EditResult,
    EditSuggestions,
    FlipSet,
    InfluenceDisplay,
    InfluenceResult,
    InfluenceReweighter,
    ReplayResult,
    SentenceEmbedder,
    ValidationDisplay,
    ValidationResult,
    WordEvidence,
    datasets,
)
from skclif.exceptions import DataFileError, ReweightingWarning, SuspectWarning

from .annotate.words import PROMPTS, WordCounts
from .exact import ExactBottleneck
from .text.test_embedder import NOT_TEXTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:the matrix subclass"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # torch's
]
FAMILIES = [
    "wrong type",
    "wrong shape",
    "NaN or inf",
    "empty",
    "one row",
    "one value",
    "unseen value",
    "misaligned",
    "column names",
    "sparse",
    "dtype",
    "memory layout",
    "container",
    "scale",
]


@dataclass(frozen=True)
class Right:
    """The answer to `plain(made)`, and these warnings; nothing in it is NaN."""

    plain: object = partial(np.array, dtype=np.float64)
    warns: str | None = None
    codes: bool = False  # ask a model whose labels are numbers
    frame: bool = False  # ask a model whose features have names


@dataclass(frozen=True)
class Refused:
    """An error of this type, whose message matches."""

    match: str
    error: type = ValueError
    frame: bool = False


# --- Data: small enough to fit in milliseconds, features exact in float16 -------------

N = 24
RNG = np.random.default_rng(0)
X = RNG.integers(-16, 17, size=(N, 3)) / 8
NOISY = X + 0.5 * RNG.normal(size=X.shape)
FOOD = np.where(NOISY[:, 0] > 0, "good", "bad")
PRICE = np.digitize(NOISY[:, 1], [-0.7, 0.7])
CONCEPTS = pd.DataFrame({"food": FOOD, "price": PRICE, "heat": NOISY[:, 2]})
CODES = np.digitize(NOISY.sum(axis=1), [-1, 1])
Y = np.array(["a", "b", "c"])[CODES]
WEIGHTS = 1.0 + np.arange(N) % 3
ANNOTATION_WEIGHTS = np.stack([WEIGHTS, WEIGHTS[::-1], WEIGHTS], axis=1)


def put(array, value, dtype=None):
    """Return a copy with one entry replaced."""
    array = np.array(array, dtype=dtype)
    array[(2,) + (0,) * (array.ndim - 1)] = value
    return array


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def strided(array):
    return np.repeat(array, 2, axis=0)[::2]


def memory_mapped(array):
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, array)
        return np.load(file.name, mmap_mode="r")


def masked(array):
    return np.ma.masked_array(
        array, mask=np.arange(array.size).reshape(array.shape) < 2
    )


def to_dense(matrix):
    return matrix.toarray()


def unsorted(array):
    """Return sparse rows with columns in reverse, halved values, and stored zeros."""
    n, d = array.shape
    columns = np.tile(np.repeat(np.arange(d)[::-1], 2), n)
    halves = np.repeat(array[:, ::-1].ravel() / 2, 2)
    return sparse.csr_array((halves, columns, 2 * d * np.arange(n + 1)), shape=(n, d))


def frame(array, names="pqr", **columns):
    return pd.DataFrame(array, columns=list(names)).assign(**columns)


LAYOUTS = {
    "read-only": read_only,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "memory-mapped": memory_mapped,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
}

# --- X --------------------------------------------------------------------------------

NOT_FEATURES = r"X must be a table of finite numbers, dense or sparse, .*SentenceEmb"
# What is asked about rows with labels.
LABELLED = ["influence", "validate", "suggest_edits", "compare"]
# What may hold a pipeline counts rows before it knows features.
HOLDERS = [
    "ConceptInfluenceExplainer.fit",
    "ConceptInfluenceExplainer.fit_transform",
    "InfluenceReweighter.fit",
]
UNSIZED = dict.fromkeys(
    HOLDERS,
    Refused(
        "X must be an array, a DataFrame or a list with one entry a sample", TypeError
    ),
)
SHORT = dict.fromkeys(HOLDERS, Refused("y has 24 rows, but X has"))


def not_features(detail, error=ValueError, **options):
    return Refused(f"{NOT_FEATURES}.*{detail}", error, **options)


X_KINDS = {
    "wrong type": {
        "None": (lambda: None, not_features("scalar array"), UNSIZED),
        "a text": (lambda: "soup", not_features("'soup'"), SHORT),
        "a number": (lambda: 3.0, not_features("scalar array"), UNSIZED),
        "a dict": (lambda: {"a": 1}, not_features("dict", TypeError), SHORT),
        "a set": (lambda: {1.0}, not_features("set", TypeError), SHORT),
        "generator": (lambda: iter(X), not_features("iter", TypeError), UNSIZED),
        "texts": (lambda: np.full(X.shape, "soup"), not_features("'soup'")),
        "text column": (lambda: frame(X, q="soup"), not_features("soup", frame=True)),
        "complex": (lambda: X + 1j, not_features("Complex data not supported")),
        "dates": (lambda: X.astype("M8[D]"), not_features("holds dates", TypeError)),
        "date columns": (
            lambda: frame(X.astype("M8[s]")),
            not_features("holds dates", TypeError, frame=True),
        ),
        "structured": (
            lambda: np.zeros(N, [("a", float), ("b", float)]),
            not_features("Cannot cast", TypeError),
        ),
        "list in a cell": (
            lambda: [*X.tolist()[:-1], [1.0, [2.0], 3.0]],
            not_features("inhomogeneous shape"),
        ),
        "np.matrix": (
            lambda: np.matrix(X),
            not_features("np.matrix is not supported. .*np.asarray", TypeError),
        ),
    },
    "wrong shape": {
        "1-D": (lambda: X[:, 0], not_features("got 1D array .*Reshape your data")),
        "3-D": (lambda: X[:, :, None], not_features("dim 3, while dim <= 2")),
        "0-D": (lambda: np.array(3.0), not_features("scalar array"), UNSIZED),
        "Series": (lambda: pd.Series(X[:, 0]), not_features("pandas.*Series")),
        "ragged": (lambda: [*X.tolist()[:-1], [1.0]], not_features("inhomogeneous")),
        "fewer features": (
            lambda: X[:, :2],
            Refused("X has 2 features, but .* is expecting 3"),
            {"fit": Right(), "fit_transform": Right()},
        ),
        "more features": (
            lambda: np.c_[X, X],
            Refused("X has 6 features, but .* is expecting 3"),
            {"fit": Right(), "fit_transform": Right()},
        ),
    },
    "NaN or inf": {
        "NaN": (lambda: put(X, np.nan), Refused("Input X contains NaN")),
        "inf": (lambda: put(X, np.inf), Refused("Input X contains infinity")),
        "-inf": (lambda: put(X, -np.inf), Refused("Input X contains infinity")),
        "None": (lambda: put(X, None, object), Refused("Input X contains NaN")),
        "pandas.NA": (
            lambda: put(X, pd.NA, object),
            not_features("NAType", TypeError),
        ),
        "NA in Float64": (
            lambda: frame(put(X, np.nan)).astype("Float64"),
            Refused("Input X contains NaN", frame=True),
        ),
        "masked": (lambda: masked(X), Refused("X is a masked array with 2 masked")),
    },
    "empty": {
        "no rows": (
            lambda: X[:0],
            not_features(r"0 sample\(s\) \(shape=\(0, 3\)\)"),
            SHORT,
        ),
        "no columns": (lambda: X[:, :0], not_features(r"0 feature\(s\) \(shape=\(24")),
        "empty list": (lambda: [], not_features("Expected 2D array"), SHORT),
    },
    "one row": {
        "one row": (
            lambda: X[:1],
            Right(),
            {
                "fit": Refused("y needs at least 2 classes.*only one class: 'c'"),
                "fit_transform": Refused("y needs at least 2 classes"),
                "suggest_edits": Refused("X has 1 validation rows, but suggestions"),
                # A warning, which is an error here, and then that of the others.
                "InfluenceReweighter.fit": Refused(
                    "has 1 row, but rew", ReweightingWarning
                ),
            },
        ),
    },
    "one value": {
        "constant": (lambda: np.ones_like(X), Right()),
        "constant column": (lambda: np.c_[X[:, :2], np.full(N, 7.0)], Right()),
    },
    "unseen value": "features are numbers",
    "misaligned": {
        "a row less": (
            lambda: X[:-1],
            Right(),
            {
                "intervene": Refused("concepts has 24 rows, but X has 23"),
                **dict.fromkeys(
                    [*LABELLED, "fit", "fit_transform", "score"],
                    Refused("y has 24 rows, but X has 23"),
                ),
            },
        ),
    },
    "column names": {
        "strings": (lambda: frame(X), Right(np.array, frame=True)),
        "reordered": (
            lambda: frame(X)[["r", "q", "p"]],
            Refused("feature names should match those that were passed", frame=True),
            {"fit": Right(), "fit_transform": Right()},
        ),
        "others": (
            lambda: frame(X, "xyz"),
            Refused("feature names should match those that were passed", frame=True),
            {"fit": Right(), "fit_transform": Right()},
        ),
        "duplicated": (
            lambda: frame(X, "ppr"),
            not_features("unique column names, got.*'p' 2 times", frame=True),
        ),
        "integers": (lambda: pd.DataFrame(X), Right()),
        "mixed": (
            lambda: frame(X, ["p", 1, "r"]),
            Refused("string names.*X.columns.astype", TypeError, frame=True),
        ),
        "missing": (
            lambda: X,
            Right(warns="X does not have valid feature names", frame=True),
            {"fit": Right(), "fit_transform": Right()},
        ),
    },
    "sparse": {
        "csr_matrix": (lambda: sparse.csr_matrix(X), Right(to_dense)),
        "csc_array": (lambda: sparse.csc_array(X), Right(to_dense)),
        "coo_array": (lambda: sparse.coo_array(X), Right(to_dense)),
        "unsorted": (lambda: unsorted(X), Right(to_dense)),
        "stored NaN": (
            lambda: sparse.csr_array(put(X, np.nan)),
            Refused("Input X contains NaN"),
        ),
        "stored inf": (
            lambda: sparse.csr_array(put(X, -np.inf)),
            Refused("Input X contains infinity"),
        ),
        "stored 1e16": (
            lambda: sparse.csr_array(put(X, -1e16)),
            Refused("X has values as large as 1e.16; beyond 1e.15"),
        ),
        "complex matrix": (
            lambda: sparse.csr_array(X + 1j),
            not_features("Complex data not supported"),
        ),
        "one dimension": (
            lambda: sparse.coo_array(X[:, 0]),
            not_features("Expected 2D input"),
        ),
        "fewer columns": (
            lambda: sparse.csr_array(X[:, :2]),
            Refused("X has 2 features, but .* is expecting 3"),
            {"fit": Right(to_dense), "fit_transform": Right(to_dense)},
        ),
        "columns without 0": (
            lambda: frame(X).astype(pd.SparseDtype(float)),
            not_features("COO matrix|[Ss]parse", frame=True),
        ),
        "columns": (
            lambda: frame(X).astype(pd.SparseDtype(float, 0.0)),
            Right(frame=True),
        ),
    },
    "dtype": {
        **{
            name: (lambda name=name: X.astype(name), Right())
            for name in ["float16", "float32", "longdouble", "object", "str", "bool"]
        },
        **{
            name: (lambda name=name: (8 * X + 16).astype(name), Right())
            for name in ["int8", "int64", "uint64"]
        },
        "Float64": (lambda: frame(X).astype("Float64"), Right(frame=True)),
        "object frame": (lambda: frame(X).astype(object), Right(frame=True)),
    },
    "memory layout": {
        name: (partial(build, X), Right()) for name, build in LAYOUTS.items()
    },
    "container": {
        "lists": (X.tolist, Right()),
        "tuples": (lambda: tuple(map(tuple, X)), Right()),
        "torch": (lambda: torch.tensor(X), Right()),
        "torch with gradient": (
            lambda: torch.tensor(X, requires_grad=True),
            Right(lambda made: X),
        ),
        "polars": (lambda: pl.DataFrame(X, schema=list("pqr")), Right(frame=True)),
        "masked, none masked": (lambda: np.ma.masked_array(X), Right()),
    },
    "scale": {
        **{
            f"times {scale:g}": (lambda scale=scale: X * scale, Right())
            for scale in [1e-310, 1e-300, 1e-12]
        },
        "times 1e+12": (
            lambda: X * 1e12,
            Right(),
            {"InfluenceReweighter.fit": Right(warns="not determined in double prec")},
        ),
        **{
            f"times {scale:g}": (
                lambda scale=scale: X * scale,
                Refused(r"X has values as large as 2e\+\d+; beyond 1e\+15"),
            )
            for scale in [1e20, 1e150, 1e300]
        },
        "one at 1e6": (lambda: put(X, 1e6), Right()),
        "one at 1e300": (
            lambda: put(X, 1e300),
            Refused(r"X has values as large as 1e\+300"),
        ),
        "one at -1e300": (
            lambda: put(X, -1e300),
            Refused(r"X has values as large as 1e\+300"),
        ),
        "largest number": (
            lambda: put(X, np.finfo(float).max),
            Refused(r"X has values as large as 1.8e\+308"),
        ),
    },
}

# --- y --------------------------------------------------------------------------------

LETTERS = Right(lambda made: Y)
NUMBERS = Right(lambda made: CODES, codes=True)
NO_LABELS = r"y must be a column of labels, of shape \(n_samples,\)"
NOT_SEEN = "y has the class .*, which was not seen in fit; known classes"
MISSING = Refused(r"y has no label in row 2 \(counted from 0\)")


def not_labels(detail, error=ValueError):
    return Refused(f"{NO_LABELS}.*{detail}", error)


def label(value):
    return lambda: put(Y, value, object)


Y_KINDS = {
    "wrong type": {
        "None": (
            lambda: None,
            Refused("requires y to be passed"),
            {
                **dict.fromkeys(["influence", "validate"], Right(lambda made: None)),
                "fit_transform": Refused("missing 1 required .*: 'y'", TypeError),
            },
        ),
        "a text": (lambda: "a", Refused(r"y should be a 1d array, got .* shape \(\)")),
        "a number": (lambda: 1, Refused(r"y should be a 1d array, got .* shape \(\)")),
        "a dict": (lambda: {0: "a"}, Refused("y should be a 1d array")),
        "a set": (lambda: {"a"}, Refused("y should be a 1d array")),
        "generator": (lambda: iter(Y), Refused("y should be a 1d array")),
        "mixed": (label(3), Refused(r"y mixes values.*\(int, str\); use one type")),
        "bytes": (
            lambda: Y.astype("S"),
            not_labels("bytes is not supported. Convert the labels", TypeError),
        ),
        "one of bytes": (label(b"a"), Refused(r"y mixes values.*\(bytes, str\)")),
        "one bool": (label(True), Refused(r"y mixes values.*\(bool, str\)")),
        "list in a cell": (label([1]), Refused(r"y mixes values.*\(list, str\)")),
        "complex": (lambda: CODES * 1j, not_labels("Complex data not supported")),
        "structured": (
            lambda: np.zeros(N, [("a", int)]),
            not_labels("structured array with the fields", TypeError),
        ),
        "np.matrix": (
            lambda: np.matrix(CODES).T,
            not_labels("np.matrix is not supported", TypeError),
        ),
        "continuous": (lambda: CODES + 0.5, not_labels("Unknown label type: continuo")),
    },
    "wrong shape": {
        "column": (
            lambda: Y[:, None],
            LETTERS,
            dict.fromkeys(
                ["fit", "fit_transform"],
                Right(lambda made: Y, warns="A column-vector y was passed"),
            ),
        ),
        "2-D": (
            lambda: np.c_[Y, Y],
            Refused(r"y should be a 1d array.* \(24, 2\)"),
        ),
        "multilabel": (
            lambda: np.eye(3, dtype=int)[CODES],
            Refused(r"y should be a 1d array, got an array of shape \(24, 3\)"),
        ),
        "3-D": (lambda: Y[:, None, None], not_labels("dim 3")),
        "0-D": (lambda: np.array("a"), Refused("y should be a 1d array")),
        "ragged": (lambda: [["a"]] * 23 + [["a", "b"]], not_labels("inhomogeneous")),
        "tuples": (lambda: [("a", 1)] * N, Refused("y should be a 1d array")),
    },
    "NaN or inf": {
        "None": (label(None), MISSING),
        "NaN among texts": (label(np.nan), MISSING),
        "pandas.NA": (label(pd.NA), MISSING),
        "NaN": (lambda: put(CODES, np.nan, float), MISSING),
        "NA in Int64": (
            lambda: pd.Series(CODES, dtype="Int64").mask(np.arange(N) == 2),
            MISSING,
        ),
        "inf": (lambda: put(CODES, np.inf, float), Refused("Input y contains infinit")),
        "masked": (lambda: masked(CODES), Refused("y is a masked array with 2 masked")),
    },
    "empty": {
        "empty": (lambda: [], Refused("y has 0 rows, but X has 24")),
        "empty array": (lambda: Y[:0], Refused("y has 0 rows, but X has 24")),
    },
    "one row": {"one row": (lambda: Y[:1], Refused("y has 1 row, but X has 24"))},
    "one value": {
        "one class": (
            lambda: np.full(N, "a"),
            Right(np.array),
            dict.fromkeys(
                ["fit", "fit_transform"],
                Refused("y needs at least 2 classes, .* only one class: 'a'"),
            ),
        ),
    },
    "unseen value": {
        "unseen class": (
            lambda: np.where(Y == "c", "zebra", Y),
            Right(np.array),
            dict.fromkeys(LABELLED, Refused(f"{NOT_SEEN}: .'a', 'b', 'c'.")),
        ),
        "numbers for texts": (
            lambda: CODES,
            Right(np.array),
            {
                **dict.fromkeys(LABELLED, Refused(NOT_SEEN)),
                "score": Refused("y must be labels of the type that fit.*Mix of label"),
            },
        ),
    },
    "misaligned": {
        "a row less": (lambda: Y[:-1], Refused("y has 23 rows, but X has 24")),
        "a row more": (lambda: [*Y, "a"], Refused("y has 25 rows, but X has 24")),
        "other index": (lambda: pd.Series(Y, index=range(99, 75, -1)), LETTERS),
    },
    "column names": "labels have none",
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(CODES[:, None]),
            Refused("Sparse data was passed for y", TypeError),
        )
    },
    "dtype": {
        "object": (lambda: Y.astype(object), LETTERS),
        "string": (lambda: pd.Series(Y, dtype="string"), LETTERS),
        "Categorical": (lambda: pd.Categorical(Y), LETTERS),
        "Categorical Series": (
            lambda: pd.Series(pd.Categorical(Y, list("cbaz"), ordered=True)),
            LETTERS,
        ),
        "Int64": (lambda: pd.Series(CODES, dtype="Int64"), NUMBERS),
        **{
            name: (lambda name=name: CODES.astype(name), NUMBERS)
            for name in ["int8", "uint64", "float16", "float64"]
        },
        "bool": (
            lambda: CODES > 0,
            Right(lambda made: (CODES > 0).astype(int), codes=True),
        ),
        "boolean": (
            lambda: pd.Series(CODES > 0, dtype="boolean"),
            Right(lambda made: (CODES > 0).astype(int), codes=True),
        ),
    },
    "memory layout": {
        name: (partial(build, CODES), NUMBERS) for name, build in LAYOUTS.items()
    },
    "container": {
        "list": (Y.tolist, LETTERS),
        "tuple": (lambda: tuple(Y), LETTERS),
        "torch": (lambda: torch.tensor(CODES), NUMBERS),
        "polars": (lambda: pl.Series(Y), LETTERS),
        "one column": (
            lambda: pd.DataFrame({"y": Y}),
            LETTERS,
            dict.fromkeys(
                ["fit", "fit_transform"],
                Right(lambda made: Y, warns="A column-vector y was passed"),
            ),
        ),
    },
    "scale": {
        "huge integers": (
            lambda: CODES * 10**17,
            Right(lambda made: CODES),
            {
                **dict.fromkeys(LABELLED, Refused(NOT_SEEN)),
                "score": Refused("y must be labels of the type that fit"),
            },
        ),
    },
}

# --- Weights of rows and of annotations -----------------------------------------------

COARSE = "learns little or nothing: its numbers times weights add up to"


def weight_kinds(name, base, expected, wrong_shape):
    """Return the kinds that weights of rows and of annotations have in common."""
    value = partial(put, base)
    missing = Refused(f"Input {name} contains NaN")
    if base.ndim > 1:
        missing = Refused(rf"{name} has no weight \(NaN\) in row 2 for concept 'food'")

    def no_weights(detail, error=ValueError):
        return Refused(f"{name} must be {expected}.*{detail}", error)

    def size(shown):
        return Refused(rf"{name} has the value {shown}; weights must be 0 or lie betwe")

    return {
        "wrong type": {
            "a text": (lambda: "w", no_weights("'w'")),
            "a dict": (lambda: {0: 1.0}, no_weights("dict", TypeError)),
            "a set": (lambda: {1.0}, no_weights("set", TypeError)),
            "generator": (lambda: iter(base), no_weights("iter", TypeError)),
            "texts": (lambda: np.full(base.shape, "w"), no_weights("'w'")),
            "complex": (lambda: base * 1j, no_weights("Complex data not supported")),
            "dates": (
                lambda: base.astype("M8[D]"),
                no_weights("dates or durations", TypeError),
            ),
            "None": (lambda: None, Right(lambda made: np.ones_like(base))),
        },
        "wrong shape": {
            **wrong_shape,
            "ragged": (
                lambda: [[1.0]] * 23 + [[1.0, 2.0]],
                no_weights("inhomogeneous"),
            ),
        },
        "NaN or inf": {
            "NaN": (lambda: value(np.nan), missing),
            "inf": (lambda: value(np.inf), Refused(f"Input {name} contains infinity")),
            "None": (lambda: value(None, object), missing),
            "pandas.NA": (
                lambda: value(pd.NA, object),
                no_weights("NAType", TypeError),
            ),
            "masked": (lambda: masked(base), Refused(f"{name} is a masked array")),
        },
        "unseen value": {
            "negative": (lambda: value(-1), Refused(f"Negative values in .*{name}")),
        },
        "column names": "weights go by position",
        "dtype": {
            kind: (lambda kind=kind: base.astype(kind), Right())
            for kind in ["float16", "float32", "int8", "int64", "uint64", "object"]
        },
        "memory layout": {
            kind: (partial(build, base), Right()) for kind, build in LAYOUTS.items()
        },
        "scale": {
            "times 1e9": (lambda: base * 1e9, Right()),
            "times 1e-12": (lambda: base * 1e-12, Right()),
            "times 1e-300": (lambda: base * 1e-300, size("1e-300")),
            "denormal": (lambda: base * 1e-310, size("1e-310")),
            "times 1e300": (lambda: base * 1e300, size(r"1e\+300")),
            "one at 1e300": (lambda: value(1e300), size(r"1e\+300")),
            "one at 0": (lambda: value(0), Right()),
        },
    }


ONE_DIMENSION = "sample_weight must have one dimension, got shape .*Annotations are pas"
SAMPLE_WEIGHT_KINDS = {
    **weight_kinds(
        "sample_weight",
        WEIGHTS,
        "one number for each row of X, or None",
        {
            "column": (lambda: WEIGHTS[:, None], Refused(ONE_DIMENSION)),
            "3-D": (lambda: WEIGHTS[:, None, None], Refused(ONE_DIMENSION)),
            "np.matrix": (lambda: np.matrix(WEIGHTS), Refused(ONE_DIMENSION)),
            "annotations": (lambda: CONCEPTS, Refused(ONE_DIMENSION)),
            "a number": (lambda: 2.0, Right(lambda made: np.full(N, 2.0))),
            "NaN for all": (lambda: np.nan, Refused("sample_weight has the value nan")),
        },
    ),
    "empty": {
        "empty": (lambda: [], Refused(r"sample_weight must be .* 0 sample\(s\)")),
    },
    "one row": {
        "one row": (
            lambda: WEIGHTS[:1],
            Refused(r"sample_weight.shape == \(1,\), expected \(24,\)"),
        ),
    },
    "one value": {
        "ones": (lambda: np.ones(N), Right(lambda made: None)),
        "zeros": (
            lambda: np.zeros(N),
            Refused("[Ss]ample.weights? must contain at least one non-zero number"),
        ),
    },
    "misaligned": {
        "a row less": (
            lambda: WEIGHTS[:-1],
            Refused(r"sample_weight.shape == \(23,\), expected \(24,\)"),
        ),
        "other index": (lambda: pd.Series(WEIGHTS, index=range(99, 75, -1)), Right()),
    },
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(WEIGHTS[:, None]),
            Refused(ONE_DIMENSION),
        ),
    },
    "container": {
        "list": (WEIGHTS.tolist, Right()),
        "Float64": (lambda: pd.Series(WEIGHTS, dtype="Float64"), Right()),
        "torch": (lambda: torch.tensor(WEIGHTS), Right()),
        "polars": (lambda: pl.Series(WEIGHTS), Right()),
    },
}
SHAPES_DIFFER = r"concept_sample_weight has shape .*, but concepts has shape \(24, 3\)"
NAMED_WEIGHTS = pd.DataFrame(ANNOTATION_WEIGHTS, columns=list(CONCEPTS))
NO_ANNOTATION_WEIGHT = "concept_sample_weight must be one number for each annotation"
CONCEPT_WEIGHT_KINDS = {
    **weight_kinds(
        "concept_sample_weight",
        ANNOTATION_WEIGHTS,
        r"one number for each annotation, of shape \(24, 3\)",
        {
            "1-D": (lambda: WEIGHTS, Refused(f"{NO_ANNOTATION_WEIGHT}.*got 1D array")),
            "3-D": (
                lambda: ANNOTATION_WEIGHTS[:, :, None],
                Refused(f"{NO_ANNOTATION_WEIGHT}.*dim 3"),
            ),
            "a number": (lambda: 2.0, Refused(f"{NO_ANNOTATION_WEIGHT}.*scalar array")),
            "np.matrix": (
                lambda: np.matrix(ANNOTATION_WEIGHTS),
                Refused(f"{NO_ANNOTATION_WEIGHT}.*np.matrix is not supp", TypeError),
            ),
        },
    ),
    "empty": {
        "empty": (lambda: [], Refused(f"{NO_ANNOTATION_WEIGHT}.*got 1D array")),
        "no rows": (
            lambda: ANNOTATION_WEIGHTS[:0],
            Refused(NO_ANNOTATION_WEIGHT + r".*0 sample\(s\)"),
        ),
    },
    "column names": {
        "in another order": (
            lambda: NAMED_WEIGHTS[["heat", "food", "price"]],
            Right(lambda made: made[["food", "price", "heat"]].to_numpy()),
        ),
        "of polars": (
            lambda: pl.from_pandas(NAMED_WEIGHTS[["price", "heat", "food"]]),
            Right(lambda made: ANNOTATION_WEIGHTS),
        ),
        "unknown": (
            lambda: NAMED_WEIGHTS.rename(columns={"food": "taste"}),
            Refused(r"concept_sample_weight must have .*unknown: \['taste'\]; missing"),
        ),
        "missing": (
            lambda: NAMED_WEIGHTS[["food", "heat"]],
            Refused(r"concept_sample_weight must have .*missing: \['price'\]"),
        ),
    },
    "one row": {
        "one row": (lambda: ANNOTATION_WEIGHTS[:1], Refused(SHAPES_DIFFER)),
    },
    "one value": {
        "ones": (lambda: np.ones((N, 3)), Right(lambda made: None)),
        "zeros": (
            lambda: np.zeros((N, 3)),
            Refused("Concept 'food' has no annotation that has weight. Leave it"),
        ),
    },
    "misaligned": {
        "a row less": (lambda: ANNOTATION_WEIGHTS[:-1], Refused(SHAPES_DIFFER)),
        "a concept less": (lambda: ANNOTATION_WEIGHTS[:, :2], Refused(SHAPES_DIFFER)),
    },
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(ANNOTATION_WEIGHTS),
            Refused("Sparse data was passed for concept_sample_weight", TypeError),
        ),
    },
    "container": {
        "lists": (ANNOTATION_WEIGHTS.tolist, Right()),
        "DataFrame": (lambda: NAMED_WEIGHTS, Right()),
        "numbered": (lambda: pd.DataFrame(ANNOTATION_WEIGHTS), Right()),
        "Float64": (lambda: NAMED_WEIGHTS.astype("Float64"), Right()),
        "torch": (lambda: torch.tensor(ANNOTATION_WEIGHTS), Right()),
    },
}

# --- concepts -------------------------------------------------------------------------

AS_GIVEN = Right(lambda made: CONCEPTS)
NOT_CONCEPTS = "concepts must be a DataFrame, an array or a list of rows of shape"
NUMBER_CODES = np.stack([PRICE, PRICE[::-1], PRICE], axis=1)
NEVER_SEEN = r"concepts has the value .* for concept '\w+', which was never seen in fit"
PARTIAL = {"intervene": Right(lambda made: made)}


def concept(**columns):
    return lambda: CONCEPTS.assign(**columns)


def entry(name, value):
    return lambda: CONCEPTS.assign(
        **{name: [v if i != 2 else value for i, v in enumerate(CONCEPTS[name])]}
    )


def renamed(name):
    return lambda: CONCEPTS.rename(columns={"food": name})


def numbers(build=np.array):
    """Annotations that are numbers, which the fitted model has not seen as food."""
    return (
        lambda: build(NUMBER_CODES),
        Right(lambda made: NUMBER_CODES.copy()),
        {"intervene": Refused(NEVER_SEEN)},
    )


def categories(values):
    """A food by other values: the same model, unknown to the one that is fitted."""
    return (
        concept(food=values),
        AS_GIVEN,
        {"intervene": Refused(NEVER_SEEN)},
    )


def shares(good=None, **columns):
    """The same annotations, with the food as shares of its values."""
    good = FOOD == "good" if good is None else good
    good = np.asarray(good, dtype=float)
    soft = pd.DataFrame({"food=bad": 1 - good, "food=good": good})
    return lambda: pd.concat(
        [soft.assign(**columns), CONCEPTS.drop(columns="food")], axis=1
    )


CONCEPT_KINDS = {
    "wrong type": {
        "None": (
            lambda: None,
            Right(lambda made: None),
            {
                "intervene": Refused(f"{NOT_CONCEPTS}.*got NoneType", TypeError),
                "compare": Right(lambda made: None),
            },
        ),
        "a text": (lambda: "food", Refused(f"{NOT_CONCEPTS}.*got str", TypeError)),
        "bytes": (lambda: b"food", Refused(f"{NOT_CONCEPTS}.*got bytes", TypeError)),
        "a number": (lambda: 3, Refused(f"{NOT_CONCEPTS}.*got int", TypeError)),
        "a dict": (
            lambda: CONCEPTS.to_dict("list"),
            Refused(f"{NOT_CONCEPTS}.*got dict.*pandas.DataFrame", TypeError),
        ),
        "dicts": (
            lambda: CONCEPTS.to_dict("records"),
            Refused("got a list of dict.*pandas.DataFrame", TypeError),
        ),
        "a set": (lambda: {"good"}, Refused(f"{NOT_CONCEPTS}.*got set", TypeError)),
        "generator": (
            lambda: (row for row in CONCEPTS.to_numpy()),
            Refused(f"{NOT_CONCEPTS}.*got generator", TypeError),
        ),
        "mixed": (
            entry("food", 3),
            Refused(r"Concept 'food' mixes values.*\(int, str\); use one type"),
            {"intervene": Refused(NEVER_SEEN)},
        ),
        "text in a number": (
            entry("heat", "hot"),
            Refused(r"Concept 'heat' mixes values.*\(float, str\)"),
            {"intervene": Refused("'heat' is continuous, but has the value 'hot'")},
        ),
        "complex": (
            concept(heat=NOISY[:, 2] * 1j),
            Refused(r"Concept 'heat' mixes values.*\(complex\)"),
            {"intervene": Refused("'heat' is continuous, but has the value .*j")},
        ),
        "list in a cell": (
            entry("food", ["good"]),
            Refused("Concept 'food' has a value of type list; an annotation is one"),
        ),
        "array in a cell": (
            entry("food", np.array(["good"])),
            Refused("Concept 'food' has a value of type ndarray"),
        ),
        "structured": (
            lambda: np.zeros(N, [("a", int)]),
            Refused("concepts must have two dimensions.*got 1"),
        ),
    },
    "wrong shape": {
        "1-D": (lambda: FOOD, Refused("two dimensions.*got 1.*reshape")),
        "1-D list": (FOOD.tolist, Refused("two dimensions.*got 1.*reshape")),
        "Series": (lambda: CONCEPTS["food"], Refused("two dimensions.*got 1")),
        "3-D": (lambda: np.zeros((N, 2, 2)), Refused("two dimensions.*got 3")),
        "0-D": (lambda: np.array("good"), Refused("two dimensions.*got 0")),
        "ragged": (
            lambda: [["good", 1, 0.5]] * 23 + [["good"]],
            Refused(r"concepts has rows of different lengths: \[1, 3\]"),
        ),
    },
    "NaN or inf": {
        "all kinds of missing": (
            concept(food=[None, np.nan, pd.NA, pd.NaT, *FOOD[4:]]),
            Right(lambda made: CONCEPTS.assign(food=[None] * 4 + [*FOOD[4:]])),
        ),
        "NA in Int64": (
            concept(price=pd.array([None, *PRICE[1:]], dtype="Int64")),
            Right(lambda made: CONCEPTS.assign(price=[None, *PRICE[1:]])),
        ),
        "NA in string": (
            concept(food=pd.array([None, *FOOD[1:]], dtype="string")),
            Right(lambda made: CONCEPTS.assign(food=[None, *FOOD[1:]])),
        ),
        "masked": (
            lambda: masked(NUMBER_CODES),
            Right(lambda made: np.where(made.mask, np.nan, NUMBER_CODES)),
            {"intervene": Refused(NEVER_SEEN)},
        ),
        "inf": (
            entry("heat", np.inf),
            Refused("'heat' is continuous, but has the value inf; .*1e.50"),
        ),
        "column without any": (
            concept(food=None),
            Refused("'food' has no annotation that has weight"),
            PARTIAL,
        ),
    },
    "empty": {
        "no rows": (
            lambda: CONCEPTS[:0],
            Refused("concepts has 0 rows, but X has 24"),
        ),
        "no rows, array": (
            lambda: np.empty((0, 3)),
            Refused("concepts has 0 rows, but X has 24"),
        ),
        "empty list": (lambda: [], Refused("concepts must have two dimensions")),
        "no columns": (lambda: CONCEPTS[[]], Refused("concepts has no columns")),
        "no columns, array": (
            lambda: np.empty((N, 0)),
            Refused("concepts has no columns; pass concepts=None"),
        ),
    },
    "one row": {
        "one row": (lambda: CONCEPTS[:1], Refused("concepts has 1 row, but X has 24")),
    },
    "one value": {
        "one value": (
            concept(food="good"),
            Right(lambda made: made, warns=r"one observed value: 'food' \('good'\)"),
            PARTIAL,
        ),
        "one number": (
            concept(heat=0.5),
            Right(lambda made: made, warns=r"one observed value: 'heat' \(0.5\)"),
            PARTIAL,
        ),
    },
    "unseen value": {
        "unseen": (
            entry("food", "zebra"),
            Right(lambda made: made),
            {"intervene": Refused(f"{NEVER_SEEN}; known values: 'bad', 'good'")},
        ),
        "unseen number": (
            entry("price", 77),
            Right(lambda made: made),
            {"intervene": Refused(f"{NEVER_SEEN}; known values: 0, 1, 2")},
        ),
    },
    "misaligned": {
        "a row less": (
            lambda: CONCEPTS[:-1],
            Refused("concepts has 23 rows, but X has 24: inconsistent numbers of"),
        ),
        "a row more": (
            lambda: pd.concat([CONCEPTS, CONCEPTS[:1]]),
            Refused("concepts has 25 rows, but X has 24"),
        ),
        "other index": (lambda: CONCEPTS.set_axis(range(N)[::-1]), AS_GIVEN),
        "index of levels": (
            lambda: CONCEPTS.set_axis(pd.MultiIndex.from_arrays([[1] * N, range(N)])),
            AS_GIVEN,
        ),
    },
    "column names": {
        "shares, whole": (shares(), AS_GIVEN),
        "shares, whole numbers": (
            lambda: shares()().astype({"food=bad": int}),
            AS_GIVEN,
        ),
        "shares, of a value without any": (shares(**{"food=odd": 0.0}), AS_GIVEN),
        "shares, in halves": (
            shares(np.where(FOOD == "good", 1, 0.5)),
            Right(lambda made: made),
        ),
        "shares, too many": (
            shares(**{"food=odd": 0.5}),
            Refused("shares in row 0 that add up to 1.5. Shares are numbers from 0 to"),
        ),
        "shares, negative": (
            shares(2 - (FOOD == "good")),
            Refused("concept 'food' the share -1 of 'bad' in row"),
        ),
        "shares, missing in part": (
            shares(**{"food=odd": np.nan}),
            Refused(r"shares in row 0, but none \(NaN\) in 'food=odd'"),
        ),
        "shares, of one value": (
            lambda: shares(np.full(N, 0.5))().drop(columns="food=bad"),
            Refused("column 'food=good' with shares, and no other column of 'food'"),
        ),
        "shares, beside values": (
            shares(food=FOOD),
            Refused("plain column 'food' and soft columns of the same concept"),
        ),
        "integer": (renamed(3), Refused("must be named by strings, got 3. Rename")),
        "None": (renamed(None), Refused("must be named by strings, got (None|nan)")),
        "tuple": (renamed(("a",)), Refused(r"named by strings, got \('a',\)")),
        "duplicated": (renamed("price"), Refused(r"columns of the same name: .'price")),
        "label": (renamed("label"), Refused("named 'label': the name is reserved")),
        "interaction": (renamed("interaction"), Refused("'interaction': .* reserved")),
        "levels": (
            lambda: CONCEPTS.set_axis(
                pd.MultiIndex.from_arrays([["a"] * 3, list("xyz")]), axis=1
            ),
            Refused("must be named by strings, got"),
        ),
        "reordered": (
            lambda: CONCEPTS[["heat", "food", "price"]],
            Right(lambda made: made.copy()),
            {"intervene": AS_GIVEN},
        ),
        "fewer": (lambda: CONCEPTS[["food"]], Right(lambda made: made.copy())),
        "fewer, array": (
            lambda: CONCEPTS.to_numpy(object)[:, :2],
            Right(lambda made: CONCEPTS[["food", "price"]]),
            {"intervene": Refused("concepts has 2 columns?, but .* fitted with 3")},
        ),
        "unknown": (
            renamed("taste"),
            AS_GIVEN,
            {"intervene": Refused(r"unknown: \['taste'\], missing: \['food'\]")},
        ),
    },
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(NUMBER_CODES),
            Refused(f"{NOT_CONCEPTS}.*got csr_array", TypeError),
        ),
        "sparse column": (
            concept(price=pd.arrays.SparseArray(PRICE)),
            AS_GIVEN,
        ),
    },
    "dtype": {
        "object": (lambda: CONCEPTS.astype(object), AS_GIVEN),
        "Categorical": (
            concept(food=pd.Categorical(FOOD, ["good", "bad", "never"])),
            AS_GIVEN,
        ),
        "ordered Categorical": (
            concept(food=pd.Categorical(FOOD, ["bad", "good", "never"], ordered=True)),
            AS_GIVEN,
        ),
        "string": (concept(food=pd.array(FOOD, dtype="string")), AS_GIVEN),
        "Int64": (concept(price=pd.array(PRICE, dtype="Int64")), AS_GIVEN),
        "uint8": (concept(price=PRICE.astype("uint8")), AS_GIVEN),
        "whole floats": (concept(price=PRICE.astype("float32")), AS_GIVEN),
        "Float64": (concept(heat=pd.array(NOISY[:, 2], dtype="Float64")), AS_GIVEN),
        "bool": categories(FOOD == "good"),
        "boolean": categories(pd.array(FOOD == "good", dtype="boolean")),
        "bytes": categories(FOOD.astype("S").tolist()),
        "dates": categories(pd.to_datetime(np.where(FOOD == "good", "2021", "2020"))),
        "durations": categories(pd.to_timedelta((FOOD == "good").astype(int), "D")),
        "intervals": categories(
            pd.IntervalIndex.from_breaks([0, 1, 2])[(FOOD == "good").astype(int)]
        ),
        "float16": numbers(partial(np.array, dtype=np.float16)),
        "text array": (
            lambda: FOOD[:, None],
            Right(lambda made: CONCEPTS[["food"]]),
            {"intervene": Refused("concepts has 1 column, but .* fitted with 3")},
        ),
    },
    "memory layout": {kind: numbers(build) for kind, build in LAYOUTS.items()},
    "container": {
        "array": (lambda: CONCEPTS.to_numpy(object), AS_GIVEN),
        "lists": (lambda: CONCEPTS.to_numpy(object).tolist(), AS_GIVEN),
        "tuples": (lambda: tuple(map(tuple, CONCEPTS.to_numpy(object))), AS_GIVEN),
        "polars": (lambda: pl.from_pandas(CONCEPTS), AS_GIVEN),
        "torch": numbers(torch.tensor),
        "np.matrix": numbers(np.matrix),
    },
    "scale": {
        "integer beyond 64 bits": (
            entry("price", 10**30),
            Refused(r"Concept 'price' has a number too large.*\.astype\(str\)"),
        ),
        "integer beyond float": (
            concept(heat=put(NOISY[:, 2], 10**400, object)),
            Refused("Concept 'heat' has a number too large"),
        ),
        "one at 1e6": (entry("heat", 1e6), Right(lambda made: made.copy())),
        "one at 1e300": (
            entry("heat", 1e300),
            Refused("'heat' is continuous, but has the value 1e.300; numbers must be"),
        ),
        "times 1e12": (
            concept(heat=NOISY[:, 2] * 1e12),
            Right(lambda made: made.copy()),
        ),
        "times 1e-12": (
            concept(heat=NOISY[:, 2] * 1e-12),
            Right(lambda made: made.copy(), warns=f"'heat' {COARSE}"),
            {"intervene": Right(lambda made: made.copy())},
        ),
        "denormal": (
            concept(heat=NOISY[:, 2] * 1e-310),
            Right(lambda made: made.copy(), warns=f"'heat' {COARSE}"),
            {"intervene": Right(lambda made: made.copy())},
        ),
    },
}

# --- Questions to an explainer and to a result ----------------------------------------

NOT_GROUPS = "groups must be one group for each training row"
# No part has all rows of a class, or all annotations of a value.
PARTS = np.roll(CODES, 3)
WHO = np.array(["a", "b", "c"])[PARTS]
GROUPS = Right(lambda made: WHO)


def no_groups(detail, error=ValueError):
    return Refused(f"{NOT_GROUPS}.*{detail}", error)


GROUP_KINDS = {
    "wrong type": {
        "None": (lambda: None, Right(lambda made: None)),
        "a text": (lambda: "a", no_groups("one column, got 'a'")),
        "a dict": (lambda: {0: "a"}, no_groups("one column, got {0: 'a'}")),
        "a set": (lambda: {"a"}, no_groups("one column, got {'a'}")),
        "generator": (lambda: iter(WHO), no_groups("one column, got <")),
        "list in a cell": (label([1]), no_groups("unhashable", TypeError)),
        "complex": (lambda: PARTS * 1j, no_groups("Complex data not supported")),
        "mixed": (lambda: put(WHO, 3, object), Right(lambda made: made.copy())),
    },
    "wrong shape": {
        "column": (lambda: WHO[:, None], GROUPS),
        "2-D": (lambda: np.c_[WHO, WHO], no_groups(r"got an array of shape \(24, 2\)")),
        "lists": (
            lambda: np.c_[WHO, WHO].tolist(),
            no_groups(r"array of shape \(24, 2\)"),
        ),
    },
    "NaN or inf": {
        **{
            str(missing): (
                label(missing),
                Refused(r"groups has no value for training row .* \(. of 24 are"),
            )
            for missing in (None, np.nan, pd.NA)
        },
        "masked": (lambda: masked(PARTS), Refused("groups is a masked array with 2")),
    },
    "empty": {"empty": (lambda: [], Refused("groups has 0 entries, but there are 24"))},
    "one row": {
        "one row": (lambda: WHO[:1], Refused("groups has 1 entries, but .* 24"))
    },
    "one value": {
        "one group": (
            lambda: np.zeros(N),
            Right(),
            {"influence": Right(warns="group 0.0 is NaN: all training rows")},
        )
    },
    "unseen value": "groups are named by the question itself",
    "misaligned": {
        "a row less": (lambda: WHO[:-1], Refused("groups has 23 entries, but .* 24")),
        "other index": (lambda: pd.Series(WHO, index=range(99, 75, -1)), GROUPS),
    },
    "column names": "groups have none",
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(PARTS[:, None]),
            Refused("Sparse data was passed for groups", TypeError),
        )
    },
    "dtype": {
        "Categorical": (lambda: pd.Categorical(WHO, list("abcz")), GROUPS),
        "string": (lambda: pd.Series(WHO, dtype="string"), GROUPS),
        "Int64": (lambda: pd.Series(PARTS, dtype="Int64"), Right(lambda made: PARTS)),
        "float16": (lambda: PARTS.astype("float16"), Right(lambda made: PARTS)),
        "bool": (lambda: PARTS > 0, Right(lambda made: (PARTS > 0).astype(int))),
        "dates": (lambda: PARTS.astype("M8[D]"), Right(lambda made: PARTS)),
    },
    "memory layout": {
        **{
            name: (partial(build, PARTS), Right(lambda made: PARTS))
            for name, build in LAYOUTS.items()
        },
        "big-endian": (lambda: PARTS.astype(">i8"), no_groups("Big-endian")),
    },
    "container": {
        "list": (WHO.tolist, GROUPS),
        "torch": (lambda: torch.tensor(PARTS), Right(lambda made: PARTS)),
        "polars": (lambda: pl.Series(WHO), GROUPS),
    },
    "scale": "groups are names, not sizes",
}


def choices(right, refused, error=ValueError):
    """A table for an argument that is not data: values and answers, one family."""
    cells = {repr(value): (lambda v=value: v, Right(lambda m: m)) for value in right}
    cells.update(
        {
            repr(value): (lambda v=value: v, Refused(match, error))
            for value, match in refused
        }
    )
    only = dict.fromkeys(FAMILIES, "no data")
    return {**only, "wrong type": cells}


UNKNOWN_TARGET = r"target=.* is not known; use one of \['log_proba', 'logit', 'loss'"
TARGET_KINDS = choices(
    ["loss", np.str_("margin"), ("concept", "food", "good"), ("concept", "price", 1.0)],
    [
        *((v, UNKNOWN_TARGET) for v in [None, 3, "accuracy", ["loss"], (), {"loss"}]),
        (np.array(["loss"]), UNKNOWN_TARGET),
        (("concept",), "target names the concept None, but the model has 'food'"),
        (("concept", "taste", 1), "target names the concept 'taste', but the model"),
        (("concept", ["food"], 1), r"target names the concept \['food'\]"),
        (("concept", "food"), "the value no single one of concept 'food'.*known val"),
        (("concept", "food", "zebra"), "the value 'zebra' of concept 'food', which"),
        (("concept", "food", np.nan), "the value nan of concept 'food', which was not"),
        (("concept", "heat", 1), "names a value, but concept 'heat' is continuous"),
    ],
)
# Without a target there are no groups; with one, tests/targets and
# tests/models/test_reweighter_targets.py ask about them.
TARGET_GROUPS_KINDS = choices(
    [None],
    [
        (value, "target_groups was given, but there is no target that takes groups")
        for value in ["a", 3, [], Y.tolist()]
    ],
)
REDUCE_KINDS = choices(
    [None, "mean", np.str_("sum")],
    [
        (value, "reduce=.* is not known; use 'mean', 'sum' or None")
        for value in ["median", "Mean", 3, True, ["mean"], np.array(["mean"])]
    ],
)
TOP_KINDS = choices(
    [None, 1, np.int64(2), 10**9],
    [
        (value, "top=.* must be a positive integer or None")
        for value in [0, -1, 1.5, 2.0, np.nan, "3", True, [1]]
    ],
)
PATHS_KINDS = choices(
    [True, False, np.True_],
    [
        (value, "paths=.* must be True or False")
        for value in [None, "yes", 2, [True], np.array([True, False])]
    ],
)
OUT_KINDS = choices(
    [None],  # folders are in tests/explain/test_writing.py
    [
        (value, "out=.* must be the path of a folder")
        for value in [3, True, 1.5, b"folder", ["folder"]]
    ],
    TypeError,
)
METHODS_KINDS = choices(
    ["newton", ["leverage"], ("first_order", "newton"), np.array(["leverage"])],
    [
        (
            value,
            "methods=.* must name some of 'newton', 'leverage', 'pairwise', 'first_o",
        )
        for value in [None, 3, [], "auto", ["exact"], [None], [["newton"]], {1: 2}]
    ],
)
WHICH_KINDS = choices(
    [
        None,
        "label",
        ["food"],
        ("heat", "price"),
        np.array(["label"]),
        pd.Index(["food"]),
    ],
    [
        *(
            (v, "which names .*, but the paths are 'label'")
            for v in ["", "Food", ["x"]]
        ),
        *((v, "which is empty; name a path, or leave it out") for v in [[], ()]),
    ],
)
ORDINAL_KINDS = choices(
    [None, "label", ["price", "food"], {"price": [2, 0, 1]}, {"label": list("cab")}],
    [
        *((v, "ordinal names .*, but the paths are") for v in ["x", ["x"], {0: [1]}]),
        *((v, "ordinal names 'heat', which is continuous") for v in ["heat", ["heat"]]),
        *(
            ({"price": order}, "ordinal gives 'price' the order .* each of the values")
            for order in [None, 3, "012", [0, 1], [0, 1, 1], [0, 1, "2"], [0, 1, [2]]]
        ),
    ],
)
SORT_KINDS = choices(
    ["evenly", np.str_("probability_wrong")],
    [
        (value, "sort_by must be 'evenly' or 'probability_wrong', got")
        for value in [None, 3, "loss", "Evenly", ["evenly"], np.array(["evenly"])]
    ],
)
for _kinds, _values in [
    (WHICH_KINDS, [3, True, np.nan, [0], [None], [["food"]], {"food": 1}, b"food"]),
    (ORDINAL_KINDS, [3, True, np.nan, [0], [None], [["food"]], b"food"]),
]:
    for _value in _values:
        _kinds["wrong type"][repr(_value)] = (
            lambda value=_value: value,
            Refused("(which|ordinal) must be a name or a list of names, .*", TypeError),
        )
SEED_KINDS = choices(
    [0, np.int64(2), 2**32 - 1],
    [
        (value, "cannot be used to seed|Seed must be between 0 and")
        for value in [-1, 1.5, "3", np.nan, [1.5], 10**30]
    ],
)


def counts(right, low):
    """A table of how many training rows: 2 rows left out, from `low` of them."""
    table = choices(
        [*right, np.int64(1)],
        [(v, r"n_\w+=.* must be from \d to \d+: how many") for v in [-1, low - 1, 999]],
    )
    for value in [None, 1.5, 2.0, np.nan, "3", True, [1]]:
        table["wrong type"][repr(value)] = (
            lambda value=value: value,
            Refused("n_.* must be a whole number, got", TypeError),
        )
    return table


N_ROWS_KINDS = counts([2, N], low=1)
N_PATHS_KINDS = counts([0, 2], low=0)
N_PATHS_KINDS["wrong type"]["None"] = (lambda: None, Right(lambda made: 2))  # all
K_KINDS = choices(
    [0, 1, np.int64(2), 10**9],
    [
        (value, "k=.* must be a whole number, 0 or more")
        for value in [-1, 1.5, 2.0, np.nan, "3", None, True, [1]]
    ],
)
K_KINDS["wrong type"]["None"] = (
    *K_KINDS["wrong type"]["None"],
    {"as_edit": Right(lambda made: made)},  # all
)
KINDS_KINDS = choices(
    [["drop"], ("relabel", "reweight"), "annotate", np.array(["drop", "relabel"])],
    [
        (value, "kinds=.* must name some of 'relabel', 'annotate', 'reweight', 'drop'")
        for value in [None, 3, (), "remove", ["drop", None], [["drop"]], {}]
    ],
)
BUDGET_KINDS = choices(
    [None, 1, np.int64(2), 10**9],
    [(value, "budget=.* must be 1 or more: it is the max") for value in [0, -1]],
)
for _value in [1.5, 2.0, np.nan, "3", True, [1]]:
    BUDGET_KINDS["wrong type"][repr(_value)] = (
        lambda value=_value: value,
        Refused("budget must be a whole number or None, got", TypeError),
    )
NAMES_KINDS = choices(
    [None, ["p", "q", "r"], np.array(["p", "q", "r"])],
    [
        (["p"], r"input_features should have length equal to .* \(3\), got 1"),
        ([], r"input_features should have length equal to .* \(3\), got 0"),
    ],
)
for _value in ["pqr", 3]:
    NAMES_KINDS["wrong type"][repr(_value)] = (
        lambda value=_value: value,
        Refused("input_features must be a list with one name for each", TypeError),
    )

# --- Clean rows -----------------------------------------------------------------------

NOT_CLEAN = "is_clean must be one True or False for each row of X"
CLEAN = np.arange(N) % 2 == 0
AS_BOOL = Right(lambda made: CLEAN)


def no_clean(detail="", error=ValueError):
    return Refused(f"{NOT_CLEAN}.*{detail}", error)


CLEAN_KINDS = {
    "wrong type": {
        "None": (lambda: None, Right(lambda made: None)),
        "True": (lambda: True, no_clean()),
        "a text": (lambda: "clean", no_clean()),
        "a dict": (lambda: {0: True}, no_clean()),
        "a set": (lambda: {True}, no_clean()),
        "generator": (lambda: iter(CLEAN), no_clean()),
        "texts": (lambda: CLEAN.astype(str), no_clean("it contains '(True|False)'")),
        "positions": (lambda: np.flatnonzero(CLEAN), Refused("is_clean has 12 rows")),
        "numbers": (lambda: np.arange(N), no_clean("it contains 2")),
        "labels": (lambda: Y, no_clean("it contains '[abc]'")),
        "mixed": (lambda: put(CLEAN, "yes", object), no_clean("it contains 'yes'")),
        "list in a cell": (lambda: put(CLEAN, None, object), no_clean("None")),
        "complex": (lambda: CLEAN * 1j, no_clean()),
        "dates": (lambda: CLEAN.astype("M8[D]"), no_clean()),
        "structured": (lambda: np.zeros(N, [("a", bool)]), no_clean(error=TypeError)),
    },
    "wrong shape": {
        "column": (lambda: CLEAN[:, None], AS_BOOL),
        "2-D": (lambda: np.c_[CLEAN, CLEAN], no_clean(r"\(24, 2\)")),
        "3-D": (lambda: CLEAN[:, None, None], no_clean()),
        "0-D": (lambda: np.array(True), no_clean()),
        "ragged": (lambda: [[True]] * 23 + [[True, False]], no_clean("inhomogeneous")),
    },
    "NaN or inf": {
        "NaN": (lambda: put(CLEAN, np.nan, float), no_clean("it contains nan")),
        "inf": (lambda: put(CLEAN, np.inf, float), no_clean("it contains inf")),
        "None": (lambda: put(CLEAN, None, object), no_clean("it contains None")),
        "pandas.NA": (lambda: put(CLEAN, pd.NA, object), no_clean("it contains <NA>")),
        "NA in boolean": (
            lambda: pd.Series(CLEAN, dtype="boolean").mask(np.arange(N) == 2),
            no_clean("it contains nan"),
        ),
        "masked": (lambda: masked(CLEAN), Refused("is_clean is a masked array with 2")),
    },
    "empty": {"empty": (lambda: [], Refused("is_clean has 0 rows, but X has 24"))},
    "one row": {
        "one row": (lambda: CLEAN[:1], Refused("is_clean has 1 row, but X has 24"))
    },
    "one value": {
        "no clean row": (
            lambda: ~(CLEAN | True),
            Right(np.array, warns="has 0 clean rows, but reweighting needs at least 2"),
        ),
        "all clean": (
            lambda: CLEAN | True,
            Right(np.array, warns="Class 'a' has clean rows only"),
        ),
    },
    "unseen value": {
        "negative": (lambda: put(CLEAN, -1, int), no_clean("it contains -1")),
        "a weight": (lambda: CLEAN / 2, no_clean("it contains 0.5")),
    },
    "misaligned": {
        "a row less": (lambda: CLEAN[:-1], Refused("is_clean has 23 rows, but X has")),
        "a row more": (
            lambda: [*CLEAN, True],
            Refused("is_clean has 25 rows, but X has 24"),
        ),
        "other index": (lambda: pd.Series(CLEAN, index=range(99, 75, -1)), AS_BOOL),
    },
    "column names": "flags have none",
    "sparse": {
        "csr_array": (
            lambda: sparse.csr_array(CLEAN[:, None]),
            Refused("Sparse data was passed for is_clean", TypeError),
        )
    },
    "dtype": {
        "boolean": (lambda: pd.Series(CLEAN, dtype="boolean"), AS_BOOL),
        "Categorical": (lambda: pd.Categorical(CLEAN), AS_BOOL),
        **{
            name: (lambda name=name: CLEAN.astype(name), AS_BOOL)
            for name in ["int8", "uint64", "float16", "float64", "object"]
        },
    },
    "memory layout": {
        name: (partial(build, CLEAN), AS_BOOL) for name, build in LAYOUTS.items()
    },
    "container": {
        "list": (CLEAN.tolist, AS_BOOL),
        "tuple": (lambda: tuple(CLEAN), AS_BOOL),
        "torch": (lambda: torch.tensor(CLEAN), AS_BOOL),
        "polars": (lambda: pl.Series(CLEAN), AS_BOOL),
        "one column": (lambda: pd.DataFrame({"c": CLEAN}), AS_BOOL),
    },
    "scale": "flags are no sizes",
}


def of_validation(answer):
    """Return an answer as it is given about clean rows beside X."""
    if isinstance(answer, Right):
        return replace(answer, plain=lambda made: frame(X)) if answer.frame else answer
    match = answer.match.replace(NOT_FEATURES, "<features>")
    for name in ("X", "y"):  # column_or_1d calls everything y
        match = re.sub(rf"(?<![\w\\.]){name}\b(?! should)", f"{name}_val", match)
    match = match.replace("<features>", "X_val must be features like those of X")
    return replace(answer, match=match)


def validation_kinds(table, answers):
    """Return the table of X or y for clean rows beside X, with some other answers."""
    return {
        family: kinds
        if isinstance(kinds, str)
        else {
            kind: (build, answers.get(kind) or of_validation(answer))
            for kind, (build, answer, *_) in kinds.items()
        }
        for family, kinds in table.items()
    }


UNSIZED_VAL = Refused("X_val must be an array, a DataFrame or a list with", TypeError)
SHORT_VAL = Refused("y_val has 24 rows, but X_val has")
OTHER_SHAPE = Refused("X_val must be features like .* it has the shape .* and X .48, 3")
OTHER_COLUMNS = Refused("X_val must be features like .* its columns are", frame=True)
SPARSE_VAL = Refused("Sparse data was passed for X_val", TypeError)
X_VAL_KINDS = validation_kinds(
    X_KINDS,
    {
        **dict.fromkeys(["a number", "generator", "0-D"], UNSIZED_VAL),
        **dict.fromkeys(["a text", "a dict", "a set", "no rows"], SHORT_VAL),
        **dict.fromkeys(["empty list", "one row", "a row less"], SHORT_VAL),
        **dict.fromkeys(["fewer features", "more features", "3-D"], OTHER_SHAPE),
        **dict.fromkeys(["reordered", "others", "mixed", "missing"], OTHER_COLUMNS),
        "duplicated": Refused(
            "X_val must be features like .*unique column", frame=True
        ),
        **dict.fromkeys(["csr_matrix", "csc_array", "coo_array"], SPARSE_VAL),
        **dict.fromkeys(["unsorted", "one dimension", "fewer columns"], SPARSE_VAL),
        **dict.fromkeys(["stored NaN", "stored inf", "stored 1e16"], SPARSE_VAL),
        "columns": replace(SPARSE_VAL, frame=True),
    },
)
FEW_CLEAN = "has 0 clean rows, but reweighting needs at least 2 of every class."
OTHER_TYPE = Refused(r"y with y_val mixes values that cannot be ordered \(int, str\)")
Y_VAL_KINDS = validation_kinds(
    Y_KINDS,
    {
        "one class": Right(np.array, warns=FEW_CLEAN),
        "unseen class": Right(np.array, warns=f"Class 'c' {FEW_CLEAN}"),
        "numbers for texts": OTHER_TYPE,
        "huge integers": OTHER_TYPE,
        "bool": Right(lambda made: (CODES > 0) + 0, warns=FEW_CLEAN, codes=True),
        "boolean": Right(lambda made: (CODES > 0) + 0, warns=FEW_CLEAN, codes=True),
        "column": LETTERS,
        "one column": LETTERS,
    },
)
# None of an argument is another thing than a None in it.
for _table, _given, _missing in [
    (X_VAL_KINDS, "y_val", "X_val"),
    (Y_VAL_KINDS, "X_val", "y_val"),
]:
    _refused = Refused(f"{_given} was given without {_missing}; pass both or neither")
    _table["wrong type"]["None"] = (lambda: None, _refused)

# --- Entry points ---------------------------------------------------------------------

TABLES = {
    "X": X_KINDS,
    "y": Y_KINDS,
    "sample_weight": SAMPLE_WEIGHT_KINDS,
    "concepts": CONCEPT_KINDS,
    "concept_sample_weight": CONCEPT_WEIGHT_KINDS,
    "groups": GROUP_KINDS,
    "target": TARGET_KINDS,
    "reduce": REDUCE_KINDS,
    "top": TOP_KINDS,
    "out": OUT_KINDS,
    "paths": PATHS_KINDS,
    "n_rows": N_ROWS_KINDS,
    "n_paths": N_PATHS_KINDS,
    "methods": METHODS_KINDS,
    "which": WHICH_KINDS,
    "ordinal": ORDINAL_KINDS,
    "sort_by": SORT_KINDS,
    "random_state": SEED_KINDS,
    "kinds": KINDS_KINDS,
    "budget": BUDGET_KINDS,
    "k": K_KINDS,
    "input_features": NAMES_KINDS,
    "is_clean": CLEAN_KINDS,
    "X_val": X_VAL_KINDS,
    "y_val": Y_VAL_KINDS,
    "target_groups": TARGET_GROUPS_KINDS,
}
PLAIN = {"X": X, "y": Y, "concepts": CONCEPTS}
FIT = ("X", "y", "sample_weight", "concepts", "concept_sample_weight")
ENTRY_POINTS = {
    "ConceptBottleneckClassifier.fit": FIT,
    "ConceptBottleneckClassifier.fit_transform": ("X", "y"),
    "ConceptBottleneckClassifier.predict": ("X",),
    "ConceptBottleneckClassifier.predict_proba": ("X",),
    "ConceptBottleneckClassifier.decision_function": ("X",),
    "ConceptBottleneckClassifier.transform": ("X",),
    "ConceptBottleneckClassifier.predict_concepts": ("X",),
    "ConceptBottleneckClassifier.predict_concept_proba": ("X",),
    "ConceptBottleneckClassifier.intervene": ("X", "concepts"),
    "ConceptBottleneckClassifier.contributions": ("X",),
    "ConceptBottleneckClassifier.score": ("X", "y", "sample_weight"),
    "ConceptBottleneckClassifier.get_feature_names_out": ("input_features",),
    "ConceptInfluenceExplainer.fit": FIT,
    "ConceptInfluenceExplainer.fit_transform": ("X", "y"),
    "ConceptInfluenceExplainer.predict": ("X",),
    "ConceptInfluenceExplainer.predict_proba": ("X",),
    "ConceptInfluenceExplainer.transform": ("X",),
    "ConceptInfluenceExplainer.score": ("X", "y", "sample_weight"),
    "ConceptInfluenceExplainer.influence": (
        *("X", "y", "target", "paths", "groups", "reduce", "top", "out"),
    ),
    "ConceptInfluenceExplainer.validate": (
        *("X", "y", "target", "n_rows", "n_paths", "methods", "random_state"),
    ),
    "ConceptInfluenceExplainer.suspect_labels": (
        *("which", "ordinal", "groups", "sort_by"),
    ),
    "ConceptInfluenceExplainer.suggest_edits": (
        *("X", "y", "target", "kinds", "budget", "ordinal", "groups", "random_state"),
    ),
    "EditResult.compare": ("X", "y", "concepts"),
    "EditSuggestions.as_edit": ("k",),
    "ConceptInfluenceExplainer.get_feature_names_out": ("input_features",),
    "InfluenceReweighter.fit": (*FIT, "is_clean", "target_groups", "X_val", "y_val"),
    "InfluenceReweighter.predict": ("X",),
    "InfluenceReweighter.predict_proba": ("X",),
    "InfluenceReweighter.decision_function": ("X",),
    "InfluenceReweighter.score": ("X", "y", "sample_weight"),
    "ConceptContributions.top": ("k",),
    "InfluenceResult.top": ("k",),
    "InfluenceResult.helpful": ("k",),
    "InfluenceResult.harmful": ("k",),
}
# Given in every call that takes them, beside the argument that is tried.
ALWAYS = {"X", "y", "concepts"}


# Asked about in tests/inputs, at the function that reads them for all methods.
READ_BY_ONE_FUNCTION = {*FIT}


def cells():
    """Yield every cell: entry point, argument, family, kind."""
    asked = {*READ_BY_ONE_FUNCTION}
    for entry_point, arguments in ENTRY_POINTS.items():
        for argument in arguments:
            for family, kinds in TABLES[argument].items():
                met = set()
                for kind in kinds if isinstance(kinds, dict) else ():
                    cell = entry_point, argument, family, kind
                    answer, is_own = answer_of(*cell)
                    is_new = type(answer) not in met
                    met.add(type(answer))
                    stays = is_new or is_own or argument not in asked
                    marks = [] if stays else [pytest.mark.full]
                    yield pytest.param(*cell, marks=marks)
        asked.update(arguments)


def answer_of(entry_point, argument, family, kind):
    """Return the answer to a cell, and whether it is the method's own."""
    _, answer, *overrides = TABLES[argument][family][kind]
    overrides = overrides[0] if overrides else {}
    names = [entry_point, entry_point.split(".")[1]]
    if argument == "concepts" and names[1] == "compare":
        names.append("intervene")  # which reads annotations of new rows, too
    for name in names:
        if name in overrides:
            return overrides[name], True
    return answer, False


def estimator(owner):
    model = ConceptBottleneckClassifier()
    if owner == "InfluenceReweighter":
        return InfluenceReweighter(
            model, strength=1.0, n_rounds=1, cv=3, random_state=0
        )
    return model if owner in repr(model) else ConceptInfluenceExplainer(model)


@cache
def fitted(owner, codes=False, named=False):
    """Return a fitted estimator, or the result of one, whose state is never changed."""
    if owner == "ConceptContributions":
        return fitted("ConceptBottleneckClassifier").contributions(X)
    if owner == "InfluenceResult":
        return fitted("ConceptInfluenceExplainer").influence(X[:4], Y[:4], paths=True)
    if owner == "EditSuggestions":
        return fitted("ConceptInfluenceExplainer").suggest_edits(X, Y)
    if owner == "EditResult":
        return fitted("ConceptInfluenceExplainer", codes, named).edit(drop=[1])
    features = frame(X) if named else X
    return estimator(owner).fit(features, CODES if codes else Y, concepts=CONCEPTS)


def ask(entry_point, arguments, answer):
    """Return everything an entry point answers, as a list of arrays."""
    owner, method = entry_point.split(".")
    if method not in ("fit", "fit_transform"):
        named = getattr(answer, "frame", False)
        model = fitted(owner, getattr(answer, "codes", False), named)
        return contents(getattr(model, method)(**arguments))
    model = estimator(owner)
    if owner == "InfluenceReweighter" and "concepts" in arguments:
        model.set_params(strength=0.0)  # slow otherwise
    answered = getattr(model, method)(**arguments)
    if method == "fit_transform":
        return contents(answered)
    found = contents(answered.predict_proba(arguments["X"]))
    if owner == "InfluenceReweighter":
        found += [answered.sample_weight_]
    if owner == "ConceptInfluenceExplainer":
        found += contents(answered.influence(arguments["X"]))
    return found


_PLAIN_ANSWERS = {}


def ask_once(entry_point, arguments, answer):
    """Return what `ask` does; many kinds stand for the same plain arguments."""
    model = getattr(answer, "codes", False), getattr(answer, "frame", False)
    key = joblib.hash([entry_point, model, fingerprint(arguments)])
    if key not in _PLAIN_ANSWERS:
        _PLAIN_ANSWERS[key] = ask(entry_point, arguments, answer)
    return _PLAIN_ANSWERS[key]


def contents(answered):
    if isinstance(answered, InfluenceResult):
        return [answered.values, answered.totals]
    if isinstance(answered, ValidationResult):
        found = [answered.rows, answered.path_rows]
        for one in answered.agreements.values():
            found += [one.estimated, one.retrained]
        return found
    if isinstance(answered, EditComparison):
        found = [answered.accuracy, answered.log_loss]
        found = np.array([[one.before, one.after] for one in found])
        return [found, answered.concepts["after"].to_numpy()]
    if isinstance(answered, EditSuggestions):
        found = answered.to_frame()
        found = [found[name].astype(str).to_numpy() for name in found][:5]
        return [*found, np.array([answered.value, answered.effect])]
    if isinstance(answered, dict):
        return [np.asarray(part) for part in answered.values()]
    if isinstance(answered, pd.DataFrame):
        return [answered[name].to_numpy() for name in answered]
    return [np.asarray(answered)]


def given(entry_point, argument, value, answer):
    """Return the arguments of a call; one row is asked about with one row."""
    arguments = {
        name: PLAIN[name] for name in ENTRY_POINTS[entry_point] if name in ALWAYS
    }
    if entry_point == "InfluenceReweighter.fit":
        if "concept" in argument:  # to have rows added to the annotations
            arguments |= {"X_val": X[:9], "y_val": Y[:9]}
        else:
            del arguments["concepts"]
    if argument.endswith("_val"):  # in X each row twice, for validation is no longer
        twice = np.r_[X, X]
        twice = frame(twice) if getattr(answer, "frame", False) else twice
        labels = CODES if getattr(answer, "codes", False) else Y
        arguments = {"X": twice, "y": np.r_[labels, labels], "X_val": X, "y_val": Y}
    if "fit_transform" in entry_point:
        arguments["concepts"] = CONCEPTS
    if argument == "X" and getattr(value, "shape", None) == (1, 3):
        arguments = {name: other[:1] for name, other in arguments.items()}
    if "validate" in entry_point:  # which retrains
        arguments |= {"n_rows": 2, "n_paths": 1, "random_state": 0}
    if "suggest" in entry_point:
        arguments |= {"random_state": 0}
    return {**arguments, argument: value}


def fingerprint(value):
    """Return a digest of values and dtypes; an iterator has none."""
    if isinstance(value, dict):
        return {name: fingerprint(part) for name, part in value.items()}
    if hasattr(value, "__next__"):
        return None
    if isinstance(value, pd.DataFrame | pd.Series):  # whose caches are not their values
        dtypes = str(value.dtypes)
        value = [value.axes, dtypes, value.astype(object).to_numpy().tolist()]
    elif np.ma.isMaskedArray(value):
        value = [value.data, value.mask]
    elif sparse.issparse(value):  # which keeps what it learns about itself
        parts = [getattr(value, name, None) for name in ("data", "indices", "indptr")]
        value = [value.format, value.shape, *parts]
    return joblib.hash(value)


def assert_same(found, expected, *, rtol=1e-7, atol=1e-9):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if one.dtype.kind in "fc":
            # Some numbers are not defined, and then they are NaN in both.
            assert (np.isfinite(one) | np.isnan(other)).all()
            np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("entry_point", "argument", "family", "kind"), [*cells()])
def test_cell(entry_point, argument, family, kind):
    build = TABLES[argument][family][kind][0]
    answer, _ = answer_of(entry_point, argument, family, kind)
    made = build()
    arguments = given(entry_point, argument, made, answer)
    before = fingerprint(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # One of 24 rows can hold much of a model; that is no matter of input.
        warnings.filterwarnings("ignore", "(In closed form, the|The) removal of")
        warnings.filterwarnings("ignore", "The suggested changes: not sure")
        warnings.filterwarnings("ignore", category=SuspectWarning)  # of so few rows
        if isinstance(answer, Refused):
            with pytest.raises(answer.error, match=f"(?s){answer.match}"):
                ask(entry_point, arguments, answer)
        elif answer.warns is None:
            found = ask(entry_point, arguments, answer)
        else:
            with pytest.warns(match=f"(?s){answer.warns}"):
                found = ask(entry_point, arguments, answer)
    assert fingerprint(arguments) == before
    if isinstance(answer, Right):
        plain = {**arguments, argument: answer.plain(made)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Influence on features in float32 takes its products in float32, and where
            # newton's steps end differs by a part of its tolerance of 5e-4.
            single = kind == "float32" and "Explainer" in entry_point
            close = {"rtol": 5e-4, "atol": 5e-5} if single else {}
            if family == "sparse" and "Reweighter" in entry_point:
                # Its rounds are solved to 1e-5, on other ways for sparse features.
                close = {"rtol": 1e-5, "atol": 1e-6}
            assert_same(found, ask_once(entry_point, plain, answer), **close)


# --- Parameters of constructors and functions -----------------------------------------

ODD = {
    "None": None,
    "a text": "no such",
    "NaN": np.nan,
    "inf": np.inf,
    "zero": 0,
    "negative": -1,
    "huge": 10**30,
    "a fraction": 0.5,
    "True": True,
    "a list": [1],
    "a dict": {},
    "an object": object(),
}
DEVICE = "device='no such' is not known; use 'cpu', 'cuda', 'cuda:0' … or 'auto'"
# What of these is right, or refused in other words than scikit-learn's for parameters.
NUMBER = ("huge", "a fraction", "True")
SHARE = ("zero", "a fraction", "True")
FLAG = ("True",)
TEXT = ("a text",)
VERBOSE = ("zero", "huge", "True")
PARAMETERS = {
    ConceptBottleneckClassifier: {
        "training": {},
        "concept_weight": NUMBER,
        "bottleneck": {},
        "intervention_prob": (*SHARE, "None"),
        "label_head": {},
        "label_order": {
            **dict.fromkeys(("None", "a list")),
            "a dict": "label_order must be a list or an array of labels.* got a dict",
        },
        "monotonic_cst": ("None", "a dict"),
        "C": NUMBER,
        "residual_C": ("None", *NUMBER),
        "concept_C": {
            **dict.fromkeys(NUMBER),
            "a dict": "concept_C has the names .* give one number for each",
        },
        "concept_kinds": ("None", "a dict"),
        "class_weight": ("None", "a dict"),
        "tol": NUMBER,
        "max_iter": ("huge", "True"),
        "device": {"a text": DEVICE},
        "verbose": VERBOSE,
    },
    ConceptInfluenceExplainer: {
        "estimator": {},
        "method": {},
        "device": {"a text": DEVICE},
        "verbose": VERBOSE,
    },
    InfluenceReweighter: {
        "estimator": {},
        "strength": ("zero", "huge", "a fraction", "True"),
        "use_suspects": FLAG,
        "n_rounds": ("huge", "True"),
        "cv": {
            "None": None,
            "huge": f"No class has as many rows as there are folds, cv={10**30}",
            "a list": "cv must be an int, .*: cannot unpack",
            "a dict": "cv must put every row .* but row 0 is in 0",
        },
        "max_weight": ("huge",),
        "surrogate": ("None",),
        "include_validation": FLAG,
        "random_state": ("None", "zero", "True"),
        "verbose": VERBOSE,
        "target": {
            **dict.fromkeys(ODD, "target=.* must be a target of skclif.targets, such"),
            "None": None,
        },
    },
    ConceptAnnotator: {
        "concepts": {
            **dict.fromkeys(ODD, "concepts must be a mapping of concepts"),
            "a dict": "concepts has no concepts; give one or more",
        },
        "embedder": ("None",),
        "output": {},
        "threshold": SHARE,
        "correct_with_labels": FLAG,
    },
    SentenceEmbedder: {
        "model": {"a text": "no such' is not on this machine"},
        "device": {"a text": DEVICE},
        "dtype": {},
        "batch_size": ("huge", "True"),
        "normalize": FLAG,
        "layers": {
            "None": None,
            "a list": None,
            "a dict": r"layers=\{\} must be 'auto', None, or a sequence",
        },
        "layer_pooling": {},
        "pooling": {
            "a list": r"pooling=\[.*\] must be 'mean', 'max', 'top'",
            "a dict": r"pooling=\{\} must be 'mean', 'max', 'top'",
        },
        "long_text": {},
        "cache_dir": ("None", "a text"),
        "share_vectors": FLAG,
        "verbose": VERBOSE,
    },
    ConceptEncoder: {
        "model": {"a text": "no such' is not on this machine"},
        "n_trainable_layers": {
            **dict.fromkeys(("None", "True")),
            "huge": "n_trainable_layers=1.* is more than the layers of the model",
        },
        "epochs": ["True"],
        "learning_rate": {
            **dict.fromkeys(("a fraction", "True")),
            "huge": r"Training diverged: learning_rate=1e\+30 is too large",
        },
        "batch_size": ("huge", "True"),
        "concept_weight": ("zero", *NUMBER),
        "concept_kinds": ("None", "a dict"),
        "validation_fraction": ("None", "a fraction"),
        "patience": ("huge", "True"),
        "n_splits": {"None": None, "huge": "X has 4 different texts .* for n_splits"},
        "dtype": {},
        "device": {"a text": DEVICE},
        "cache_dir": ("None", "a text"),
        "random_state": ("None", "zero", "True"),
        "verbose": VERBOSE,
    },
    datasets.make_concept_reviews: {
        "n_samples": FLAG,
        "label_noise": SHARE,
        "annotation_noise": SHARE,
        "missing": SHARE,
        "random_state": ("None", "zero", "True"),
    },
    datasets.fetch_cebab: {
        "subset": {},
        "data_home": ("None", "a text"),
        "download_if_missing": FLAG,
        "drop_no_majority": FLAG,
        "as_frame": FLAG,
        "return_X_y": FLAG,
        "n_retries": ("zero", "huge", "True"),
        "delay": ("zero", "huge", "a fraction", "True"),
    },
    datasets.fetch_patient_feedback: {
        "subset": {},
        "data_home": ("None", "a text"),
        "download_if_missing": FLAG,
        "as_frame": FLAG,
        "return_X_y": FLAG,
        "n_retries": ("zero", "huge", "True"),
        "delay": ("zero", "huge", "a fraction", "True"),
    },
    datasets.aggregate_annotations: {
        "table": dict.fromkeys(ODD, "table must be a DataFrame with a line for each"),
        **{
            name: {"a text": f"table has no column 'no such'.*asked for as {name}="}
            for name in ("row", "annotator", "concept", "value")
        },
        "method": (),
    },
    datasets.load_reviews: {
        "path": {"a text": "There is no file 'no such'"},
        "text": {
            "a text": "has no column 'no such', asked for as the text",
            "a list": "named by a string; got 1 as the text",
            "a dict": "text must name a column at least",
        },
        "label": {"None": None, "a text": "has no column 'no such'.*as the label"},
        "concepts": {
            "None": None,
            "a list": "named by a string; got 1 as a concept",
            "a dict": None,  # of its names
        },
        "id": {"None": None, "a text": "has no column 'no such'.*as the identifier"},
        "group": {"None": None, "a text": "has no column 'no such'.*as the group"},
        "encoding": {"a text": "The encoding 'no such' is not known to Python"},
        "na_values": ("None", "a list", "a dict"),
        "split_by": {"None": None, "a text": "has no column 'no such'.*rows together"},
        "time": {"None": None, "a text": "has no column 'no such'.*as the time"},
        "empty": ("None", "a dict"),
        "quoted": ("None", "True"),
        "sheet": {"None": None, "a text": "is no workbook and has no sheets"},
        "column_names": ("None", "a dict"),
        "annotators": ("None",),
        "incomplete": (),
    },
}
# What gives the same answer as an odd value that is right: the same in another type, or
# what it stands for.
LARGE = 2**62
REALS = ("C", "residual_C", "concept_C", "strength", "max_weight", "delay")
FLAGS = [name for owner in PARAMETERS.values() for name in owner if owner[name] is FLAG]
EQUAL = {
    "zero": np.int64(0),
    "huge": LARGE,
    "a fraction": np.float64(0.5),
    "True": np.int64(1),
    "a dict": None,
}
EQUAL_OF = {("cv", "None"): 5, **{(name, "huge"): 1e30 for name in REALS}}
EQUAL_OF |= {(name, "True"): np.True_ for name in FLAGS}
EQUAL_OF |= {
    ("layers", "a list"): (1,),
    ("n_samples", "True"): 1,
    ("quoted", "True"): np.True_,
}
FAR_FROM_TOL = {
    "C": ("huge",),
    "tol": ("huge", "a fraction", "True"),
    "max_iter": ("True",),
}


@pytest.fixture(scope="module")
def call(tiny_encoder, tmp_path_factory):
    """Return what calls an owner of parameters, offline, with one of them changed."""
    folder = tmp_path_factory.mktemp("bad_input")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SKCLIF_DATA", str(folder))
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    reviews = folder / "reviews.csv"
    (folder / "CEBaB-v1.1.zip").write_text("none")
    (folder / "v6framework_230831.csv").write_text("none")
    reviews.write_text("text,label\nGreat soup,5\nLong wait,2\n")

    def call(owner, **parameters):
        if owner is ConceptBottleneckClassifier:
            return owner(**parameters).fit(X, Y, concepts=CONCEPTS).predict_proba(X)
        if owner is ConceptInfluenceExplainer:
            inner = {"estimator": ConceptBottleneckClassifier(), **parameters}
            return owner(**inner).fit(X, Y, concepts=CONCEPTS).predict_proba(X)
        if owner is InfluenceReweighter:
            inner = {"estimator": ConceptBottleneckClassifier(), "strength": 1.0}
            if parameters.get("n_rounds") in (ODD["huge"], LARGE):
                inner["strength"] = 0.0  # or they would never end
            inner |= {"cv": 3, "random_state": 0}
            return owner(**{**inner, **parameters}).fit(X, Y).predict_proba(X)
        if owner is ConceptAnnotator:
            # None is the default model, which is not on every machine.
            inner = {"concepts": PROMPTS, "embedder": None, **parameters}
            if inner["embedder"] is None:
                inner["embedder"] = WordCounts()
            return owner(**inner).fit_transform(TEXTS, [0, 1, 0, 1])
        if owner is SentenceEmbedder:
            return owner(**{"model": tiny_encoder, **parameters}).transform(["soup"])
        if owner is ConceptEncoder:
            inner = {"model": tiny_encoder, "n_trainable_layers": 1, "n_splits": 2}
            inner |= {"epochs": 1, "validation_fraction": None, "random_state": 0}
            return owner(**{**inner, **parameters}).fit_transform(TEXTS, [0, 1, 0, 1])
        if owner is datasets.aggregate_annotations:
            table = {"id": [1], "annotator": ["A"], "concept": ["food"], "value": ["x"]}
            given = {"table": pd.DataFrame(table), **parameters}
            return pd.DataFrame(owner(**given).concepts)
        if owner is datasets.load_reviews:
            return owner(**{"path": reviews, **parameters}).frame
        if owner is datasets.make_concept_reviews:
            given = {"n_samples": 3, "random_state": 0, **parameters}
            return owner(**given).frame.fillna("")
        with pytest.raises(DataFileError, match="is not the official"):
            owner(**parameters)  # past the parameters, and the file is not that one
        return pd.DataFrame()

    yield call
    monkeypatch.undo()


def odd_parameters():
    for owner, parameters in PARAMETERS.items():
        for parameter in parameters:
            for kind in ODD:
                yield owner, parameter, kind


@pytest.mark.parametrize(("owner", "parameter", "kind"), [*odd_parameters()])
def test_parameter(call, monkeypatch, tmp_path, owner, parameter, kind):
    monkeypatch.chdir(tmp_path)  # where a cache of the name "no such" may be made
    fine = PARAMETERS[owner][parameter]
    ask = partial(call, owner, **{parameter: ODD[kind]})
    if isinstance(fine, dict) and fine.get(kind):
        errors = (ValueError, TypeError, OSError, ReweightingWarning)
        with warnings.catch_warnings(), pytest.raises(errors, match=fine[kind]):
            warnings.simplefilter("error", ReweightingWarning)
            ask()
    elif kind not in fine:
        match = f"The '{parameter}' parameter of {owner.__name__} must be .* Got .* ins"
        with pytest.raises(ValueError, match=match):
            ask()
    elif kind in FAR_FROM_TOL.get(parameter, ()):
        with pytest.warns(ConvergenceWarning, match="tol="):
            ask()
    else:
        same = EQUAL_OF.get((parameter, kind), EQUAL.get(kind))
        expected = contents(call(owner, **{parameter: same}))
        found = contents(ask())
        if (parameter, kind) == ("random_state", "None"):
            assert len(found) == len(expected)
        else:
            assert_same(found, expected)


# --- Texts ----------------------------------------------------------------------------
# SentenceEmbedder refuses what is no text in tests/text/test_embedder.py, kind by kind.
# Here the same kinds come to an explainer whose pipeline begins with it.

TEXTS = ["good soup", "bad soup", "lovely waiter", "rude waiter"]
UNSIZED_TEXTS = {"None", "scalar", "0-d array", "generator", "str", "bytes", "dict"}
UNSIZED_TEXTS |= {"set"}  # of a length, and in no order
COUNTED_FIRST = "X must be an array, a DataFrame or a list|y has 4 rows, but X has"


@pytest.fixture(scope="module")
def of_texts(tiny_encoder):
    model = make_pipeline(SentenceEmbedder(tiny_encoder), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(model)
    return explainer.fit(TEXTS, ["a", "b"] * 2, concepts=[["x"], ["y"]] * 2)


@pytest.mark.parametrize(
    "method", ["fit", "predict", "predict_proba", "transform", "influence", "score"]
)
@pytest.mark.parametrize("case", NOT_TEXTS)
def test_what_is_not_a_text_is_refused_in_a_pipeline(of_texts, case, method):
    made, error, match = NOT_TEXTS[case]
    arguments = [made]
    if method in ("fit", "score"):
        sized = case not in UNSIZED_TEXTS
        n_samples = _num_samples(made) if sized else 4
        arguments.append((["a", "b"] * 2)[:n_samples])
        if method == "fit" and not sized:
            error, match = (TypeError, ValueError), COUNTED_FIRST
    before = fingerprint(made)
    with pytest.raises(error, match=match):
        getattr(of_texts, method)(*arguments)
    assert fingerprint(made) == before


# --- Baselines ------------------------------------------------------------------------
# Labels, annotations and groups of `compare_baselines` are asked about by the tables
# above; here is what it answers otherwise, because it fits models itself, by folds.

REVIEWS = [f"{one} {other}" for one in ("good", "bad", "no") for other in "abcdefgh"]
BASELINE_ANSWERS = {
    ("y", "one class"): Refused("y has one label only, 'a': nothing to compare"),
    ("groups", "one group"): Refused("cv=2 folds need as many groups, and .* are 1"),
}


def baseline_cells():
    for argument in ("y", "concepts", "groups"):
        for family, kinds in TABLES[argument].items():
            met = set()
            for kind in kinds if isinstance(kinds, dict) else ():
                answer = BASELINE_ANSWERS.get((argument, kind), kinds[kind][1])
                # Right answers fit all models twice, which takes seconds.
                again = isinstance(answer, Right) and family != "misaligned"
                known = type(answer) in met or again
                marks = [pytest.mark.full] if known else []
                met.add(type(answer))
                yield pytest.param(argument, family, kind, marks=marks)


def compared(**arguments):
    given = {"X": REVIEWS, "y": Y, "cv": 2, "vectors": False, "random_state": 0}
    if "groups" in arguments:  # in each of which must be every label
        given["y"] = ["a", "b"] * 12
    frame = skclif.compare_baselines(**{**given, **arguments}).frame
    return contents(frame.drop(columns="seconds"))


@pytest.mark.parametrize(("argument", "family", "kind"), [*baseline_cells()])
def test_baselines(argument, family, kind):
    made, answer, *_ = TABLES[argument][family][kind]
    answer = BASELINE_ANSWERS.get((argument, kind), answer)
    made = made()
    before = fingerprint(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if isinstance(answer, Refused):
            with pytest.raises(answer.error, match=f"(?s){answer.match}"):
                compared(**{argument: made})
        else:
            found = compared(**{argument: made})
            assert_same(found, compared(**{argument: answer.plain(made)}))
    assert fingerprint(made) == before


@pytest.mark.parametrize("case", NOT_TEXTS)
def test_baselines_of_what_is_no_text(case):
    made, error, match = NOT_TEXTS[case]
    before = fingerprint(made)
    with pytest.raises(error, match=match):
        compared(X=made)
    assert fingerprint(made) == before


# What odd values of their other parameters answer; all others are right.
FUNCTIONS = {
    skclif.make_text_pipeline: {
        "vectors": dict.fromkeys({*ODD} - {"True"}, "vectors must be True, False or a"),
        "words": dict.fromkeys({*ODD} - {"True"}, "words must be True or False, got "),
        "columns": {
            **dict.fromkeys(
                {*ODD} - {"None"}, "columns must be names of columns in a l"
            ),
            "a dict": r"columns=\[\] must name different columns beside that of the t",
        },
        "text": dict.fromkeys({*ODD} - {"a text"}, "text must be the name of a column"),
        "classifier": dict.fromkeys(
            {*ODD} - {"None"}, "classifier must be an estimato"
        ),
    },
    skclif.compare_baselines: {
        "cv": {
            **dict.fromkeys(
                {*ODD} - {"None"}, "cv must be a number of folds or a splitter, got "
            ),
            "zero": "cv=0 must be 2 or more folds",
            "negative": "cv=-1 must be 2 or more folds",
            "huge": "cv=1000000000000000000000000000000 folds need as many different t",
        },
        "vectors": dict.fromkeys({*ODD} - {"True"}, "vectors must be True, False or a"),
        "random_state": dict.fromkeys(
            {*ODD} - {"None", "zero", "True"},
            "cannot be used to seed|Seed must be between 0 and",
        ),
        "on_model": dict.fromkeys({*ODD} - {"None"}, "on_model must be a function"),
        "verbose": dict.fromkeys({*ODD} - {*VERBOSE}, "verbose=.* must be True, False"),
    },
}


def odd_arguments():
    for function, arguments in FUNCTIONS.items():
        for argument, answers in arguments.items():
            for kind in ODD:
                if kind != "True" or kind in answers:  # True embeds with a real model
                    yield pytest.param(function, argument, kind, answers.get(kind))


@pytest.mark.parametrize(("function", "argument", "kind", "match"), [*odd_arguments()])
def test_odd_arguments_of_functions(function, argument, kind, match):
    call = compared
    if function is skclif.make_text_pipeline:
        columns = {} if argument != "text" else {"columns": ["price"]}
        call = partial(function, **columns)
    if match is None:
        call(**{argument: ODD[kind]})
        return
    with pytest.raises((TypeError, ValueError), match=match):
        call(**{argument: ODD[kind]})


def test_every_argument_of_functions_has_cells():
    by_tables = {"X", "y", "concepts", "groups"}
    for function, arguments in FUNCTIONS.items():
        names = set(inspect.signature(function).parameters)
        assert {*arguments} == names - by_tables


# --- Sizes, against another way to the same model -------------------------------------

CLOSE = {"rtol": 1e-6, "atol": 1e-7}  # tol bounds the gradient, not the answer


@pytest.mark.parametrize(
    "scale", [1e-3, 1e3, 1e6, pytest.param(1e12, marks=pytest.mark.full), 1e14]
)
@pytest.mark.parametrize("concepts", [None, CONCEPTS], ids=["black box", "bottleneck"])
def test_scaling_features_is_scaling_the_penalty(scale, concepts):
    """Weights w on s * X and s * w on X give one score; penalties differ by s^2."""
    penalty = "C" if concepts is None else "concept_C"
    scaled = ConceptBottleneckClassifier().fit(scale * X, Y, concepts=concepts)
    same = ConceptBottleneckClassifier(**{penalty: scale**2})
    same.fit(X, Y, concepts=concepts)
    found = scaled.predict_proba(scale * X)
    np.testing.assert_allclose(found, same.predict_proba(X), **CLOSE)


@pytest.mark.parametrize("scale", [1e-2, 1e3, 1e12])
def test_scaling_weights_is_scaling_both_penalties(scale):
    scaled = ConceptBottleneckClassifier(tol=1e-10)
    scaled.fit(X, Y, scale * WEIGHTS, concepts=CONCEPTS)
    same = ConceptBottleneckClassifier(C=scale, concept_C=scale, tol=1e-10)
    same.fit(X, Y, WEIGHTS, concepts=CONCEPTS)
    np.testing.assert_allclose(
        scaled.predict_proba(X), same.predict_proba(X), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("outlier", [1e3, 1e6])
def test_a_black_box_bears_an_outlier_as_scikit_learn_does(outlier):
    features = put(X, outlier)
    expected = LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their line search gives up, at the optimum
        expected.fit(features, Y)
    found = ConceptBottleneckClassifier().fit(features, Y).predict_proba(features)
    np.testing.assert_allclose(found, expected.predict_proba(features), **CLOSE)


def with_one_at(where, size):
    """Return arguments of fit, one number in them of this size."""
    arguments = {"X": X, "y": Y, "concepts": CONCEPTS, "sample_weight": WEIGHTS}
    if where == "concepts":
        return {**arguments, "concepts": entry("heat", size)()}
    return {**arguments, where: put(arguments[where], size)}


@pytest.mark.parametrize(
    ("where", "size"),
    [
        ("X", 1e12),
        ("X", 1e14),
        ("concepts", 1e12),
        ("concepts", 1e40),
        ("concepts", 1e50),
    ],
)
def test_how_far_off_one_value_is_does_not_matter(where, size):
    """From some size on, the row is as good as alone in its direction."""
    expected, found = (with_one_at(where, one) for one in (1e9, size))
    expected, found = (
        ConceptBottleneckClassifier().fit(**one).predict_proba(one["X"])
        for one in (expected, found)
    )
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("size", [2e50, 1e60, -1e100, 1e300])
def test_an_annotation_that_no_label_head_can_use_is_refused(size):
    match = "has the value .*; numbers must be at most 1e[+]50 in size. Divide them"
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier().fit(**with_one_at("concepts", size))


@pytest.mark.parametrize("size", [1e6, 1e12])
def test_one_weight_out_of_proportion_is_borne(size):
    arguments = with_one_at("sample_weight", size)
    found = ConceptBottleneckClassifier().fit(**arguments).predict_proba(X)
    codes = np.column_stack([FOOD == "good", PRICE, CONCEPTS["heat"]])
    weights = np.tile(arguments["sample_weight"][:, None], 4)
    exact = ExactBottleneck(
        X, CODES, codes, [2, 3, 0], weights, 3, C=1.0, intervention_prob=0.4
    )
    np.testing.assert_allclose(found, exact.proba(X).astype(float), **CLOSE)


@pytest.mark.parametrize("size", [1e20, 1e60, 1e100])
@pytest.mark.parametrize(
    ("where", "match"),
    [
        ("X", "X has values as large as"),
        ("sample_weight", "cannot be fitted in double precision"),
    ],
)
def test_one_value_far_out_of_proportion_is_refused(where, match, size):
    with (
        warnings.catch_warnings(),
        pytest.raises(ValueError, match=match),
    ):
        warnings.filterwarnings("ignore", "The head of .* stopped at a gradient norm")
        ConceptBottleneckClassifier().fit(**with_one_at(where, size))


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({"a": -1, "b": 1, "c": 1}, "class_weight has the value -1; weights must be 0"),
        ({"a": np.nan, "b": 1, "c": 1}, "class_weight has the value nan"),
        ({"a": None, "b": 1, "c": 1}, "class_weight has the value nan"),
        ({"a": np.inf, "b": 1, "c": 1}, "class_weight has the value inf"),
        ({"a": 1e300, "b": 1, "c": 1}, r"class_weight has the value 1e\+300"),
        (
            {"a": "x", "b": 1, "c": 1},
            "class_weight must be a dict of labels to numbers",
        ),
        ({"z": 1}, "The classes, .* are not in class_weight"),
    ],
)
def test_bad_class_weights(weights, match):
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier(class_weight=weights).fit(X, Y)


def test_big_endian_annotations_may_be_of_rows_without_weight():
    weights = put(WEIGHTS, 0)
    found = ConceptBottleneckClassifier().fit(
        X, Y, weights, concepts=NUMBER_CODES.astype(">i8")
    )
    expected = ConceptBottleneckClassifier().fit(X, Y, weights, concepts=NUMBER_CODES)
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize(
    ("kinds", "match"),
    [
        ({"taste": "continuous"}, "concept_kinds names 'taste', but the concepts are"),
        ({3: "continuous"}, "concept_kinds names 3, but the concepts are 'food'"),
        ({"heat": "numeric"}, "concept_kinds gives 'heat' the kind 'numeric'; use"),
        ({"heat": None}, "concept_kinds gives 'heat' the kind None; use"),
        (
            {"food": "continuous"},
            "'food' is continuous, but has the value '(good|bad)'",
        ),
    ],
)
def test_bad_concept_kinds(kinds, match):
    clf = ConceptBottleneckClassifier(concept_kinds=kinds)
    with pytest.raises(ValueError, match=match):
        clf.fit(X, Y, concepts=CONCEPTS)


def test_a_penalty_out_of_proportion_is_named():
    with pytest.raises(ValueError, match="in double precision.*with C=1e-320 and"):
        ConceptBottleneckClassifier(C=1e-320).fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="'label' stopped at.*lower C"):
        ConceptBottleneckClassifier(C=1e-300, max_iter=5).fit(X, Y)


# --- A fit that fails -----------------------------------------------------------------

BAD_FITS = {
    "features": lambda: {"X": put(X, np.nan)},
    "named features": lambda: {"X": frame(put(X, np.inf), "uvw")},
    "more features": lambda: {"X": np.c_[X, X], "sample_weight": -WEIGHTS},
    "labels": lambda: {"y": label(None)()},
    "other labels, no weights": lambda: {"y": CODES, "sample_weight": WEIGHTS[:-1]},
    "one class": lambda: {"y": np.full(N, "z")},
    "annotations": lambda: {"y": CODES, "concepts": CONCEPTS.assign(food=None)},
    "other annotations": lambda: {
        "concepts": CONCEPTS[["food"]],
        "concept_sample_weight": ANNOTATION_WEIGHTS,
    },
}


@pytest.mark.parametrize("case", BAD_FITS)
@pytest.mark.parametrize(
    "owner", ["ConceptBottleneckClassifier", "ConceptInfluenceExplainer"]
)
def test_a_failed_fit_changes_nothing(owner, case):
    bad = {"X": X, "y": Y, "concepts": CONCEPTS, **BAD_FITS[case]()}
    model = estimator(owner)
    with pytest.raises((ValueError, TypeError)):
        model.fit(**bad)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.fit(X, Y, concepts=CONCEPTS)
    before = model.predict_proba(X)
    with pytest.raises((ValueError, TypeError)):
        model.fit(**bad)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert model.predict(X).dtype == Y.dtype
    assert model.n_features_in_ == 3
    assert not hasattr(model, "feature_names_in_")


def test_a_fit_on_a_device_that_is_not_there_changes_nothing():
    clf = ConceptBottleneckClassifier().fit(X, Y, concepts=CONCEPTS)
    clf.set_params(device="tpu")
    with pytest.raises(ValueError, match="'tpu' is not known"):
        clf.fit(X, CODES)
    np.testing.assert_array_equal(clf.classes_, ["a", "b", "c"])
    assert clf.n_concepts_ == 3


def test_an_interrupted_fit_changes_nothing():
    class Interrupted:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    clf = ConceptBottleneckClassifier().fit(X, Y)
    before = clf.predict_proba(X)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X[:, :2], Interrupted())
    np.testing.assert_array_equal(clf.predict_proba(X), before)


# --- No cell is missing ---------------------------------------------------------------

# Public methods that take no data: scikit-learn's own, tested there.
NO_DATA = {"get_params", "set_params", "set_output", "get_metadata_routing"}
ELSEWHERE = {
    ("ConceptAnnotator", "fit"): "tests/annotate",
    ("ConceptAnnotator", "transform"): "tests/annotate/test_annotator.py",
    ("ConceptAnnotator", "fit_transform"): "tests/annotate",
    ("ConceptAnnotator", "confidence"): "tests/annotate/test_annotator.py",
    ("ConceptAnnotator", "get_feature_names_out"): "takes names and ignores them",
    ("ConceptEncoder", "fit"): "tests/text/test_finetune.py",
    ("ConceptEncoder", "transform"): "tests/text/test_finetune.py",
    ("ConceptEncoder", "fit_transform"): "tests/text/test_finetune.py",
    ("ConceptEncoder", "save_encoder"): "tests/text/test_finetune.py",
    ("ConceptEncoder", "get_feature_names_out"): "takes names and ignores them",
    ("SentenceEmbedder", "fit"): "tests/text/test_embedder.py, NOT_TEXTS",
    ("SentenceEmbedder", "transform"): "tests/text/test_embedder.py, NOT_TEXTS",
    ("SentenceEmbedder", "fit_transform"): "tests/text/test_embedder.py, NOT_TEXTS",
    ("SentenceEmbedder", "transform_file"): "tests/text/test_embed_file.py",
    ("SentenceEmbedder", "get_feature_names_out"): "takes names and ignores them",
    ("InfluenceResult", "to_frame"): "takes no argument",
    ("InfluenceResult", "words"): "tests/explain/test_words.py",
    ("BaselineComparison", "plot"): "tests/baselines/test_comparison.py",
    ("EditComparison", "to_dict"): "takes no argument",
    ("DriftDisplay", "plot"): "tests/explain/test_drift.py",
    ("DriftReport", "plot"): "tests/explain/test_drift.py",
    ("DriftReport", "remedies"): "tests/explain/test_drift.py",
    ("DriftReport", "rows"): "tests/explain/test_drift.py",
    ("DriftReport", "to_frame"): "takes no argument",
    ("EditDisplay", "plot"): "tests/results/test_displays.py",
    ("InfluenceDisplay", "plot"): "tests/results/test_displays.py",
    ("ConceptContributions", "predicted"): "takes no argument",
    ("ConceptContributions", "to_frame"): "takes no argument",
    ("EditComparison", "to_frame"): "takes no argument",
    ("EditSuggestions", "to_frame"): "takes no argument",
    ("AnnotationSuggestions", "to_frame"): "tests/explain/test_annotations.py",
    ("EditSuggestions", "in_words"): "takes no argument",
    ("ValidationResult", "to_frame"): "takes no argument",
    ("WordEvidence", "to_frame"): "takes no argument",
    ("WordEvidence", "top"): "tests/explain/test_word_evidence.py",
    ("ConceptInfluenceExplainer", "evidence"): "tests/explain/test_word_evidence.py",
    ("ValidationResult", "plot"): "tests/explain/test_validation.py",
    ("ValidationDisplay", "plot"): "tests/explain/test_validation.py",
    ("ConceptInfluenceExplainer", "edit"): "tests/explain/test_edit_errors.py",
    ("ConceptInfluenceExplainer", "smallest_flip_set"): "tests/explain/test_flips.py",
    ("FlipSet", "to_frame"): "takes no argument",
    ("ConceptInfluenceExplainer", "suggest_annotations"): (
        "tests/explain/test_annotations.py"
    ),
    ("ConceptInfluenceExplainer", "rank_concepts"): "tests/explain/test_annotations.py",
    ("AuditTrail", "append"): "tests/audit/test_trail.py",
    ("AuditTrail", "read"): "takes no argument",
    ("ReplayResult", "to_frame"): "takes no argument",
    ("AuditReport", "to_frame"): "takes no argument",
    ("AuditReport", "save"): "tests/explain/test_report.py",
    ("AuditReport", "as_edit"): "tests/explain/test_report.py",
    ("ConceptInfluenceExplainer", "report"): "tests/explain/test_report.py",
}
# y and fit_params of fit_transform: handed to fit; concepts among them.
PASSED_ON = {"fit_params", "self"}


def public_methods(cls):
    for name, member in inspect.getmembers(cls, callable):
        if name.startswith("_") or name in NO_DATA or name.endswith("_request"):
            continue
        yield name, member


def public_classes():
    for name in skclif.__all__:
        thing = getattr(skclif, name)
        if inspect.isclass(thing):
            yield thing


def test_every_argument_of_every_method_has_cells():
    found = {}
    for cls in public_classes():
        for name, member in public_methods(cls):
            if (cls.__name__, name) in ELSEWHERE:
                continue
            arguments = set(inspect.signature(member).parameters) - PASSED_ON
            found[f"{cls.__name__}.{name}"] = arguments
    assert found == {name: set(arguments) for name, arguments in ENTRY_POINTS.items()}


def test_every_parameter_has_cells():
    made_by_us = {
        AnnotationSuggestions,
        *(BaselineComparison, EditComparison, EditResult, EditSuggestions),
        *(ConceptContributions, EditDisplay, InfluenceDisplay, InfluenceResult),
        *(DriftDisplay, DriftReport, FlipSet),
        *(ValidationResult, ValidationDisplay, ReplayResult, WordEvidence),
        AuditReport,
        AuditTrail,  # whose path is checked in tests/audit/test_trail.py
    }
    owners = [cls for cls in public_classes() if cls not in made_by_us]
    owners += [getattr(datasets, name) for name in datasets.__all__]
    assert set(owners) == set(PARAMETERS)
    for owner in owners:
        assert set(PARAMETERS[owner]) == set(inspect.signature(owner).parameters)


@pytest.mark.parametrize("argument", TABLES)
def test_every_table_speaks_of_every_family(argument):
    assert set(TABLES[argument]) == set(FAMILIES)
    for kinds in TABLES[argument].values():
        assert kinds  # kinds, or the reason why there are none
        assert isinstance(kinds, dict | str)


def test_every_override_is_of_an_entry_point_that_takes_the_argument():
    for argument, table in TABLES.items():
        takers = {name for name, taken in ENTRY_POINTS.items() if argument in taken}
        takers |= {name.split(".")[1] for name in takers}
        for kinds in table.values():
            for _, answer, *overrides in kinds.values() if kinds != str(kinds) else ():
                assert isinstance(answer, Right | Refused)
                assert not overrides or set(overrides[0]) <= takers
