"""Labels of types that NumPy does not know are the labels that were given."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    compare_baselines,
    load_model,
    save_model,
)
from skclif._inputs.checks import check_labels
from skclif.metrics import removal_curve

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
YES = X[:, 0] > 0
LARGE = np.where(YES, 2**60 + 1, 2**60 + 3)
HUGE = np.where(YES, np.uint64(2**63 + 5), np.uint64(2**63 + 7))
WORDS = np.where(YES, "yes", "no")
CONCEPTS = pd.DataFrame({"a": np.where(X[:, 1] > 0, "x", "y")})
KINDS = {
    **{
        dtype: (lambda dtype=dtype: pd.Series(YES, dtype=dtype), YES)
        for dtype in ["boolean", "bool[pyarrow]", "category", "object"]
    },
    **{
        f"19 digits, {dtype}": (
            lambda dtype=dtype: pd.Series(LARGE, dtype=dtype),
            LARGE,
        )
        for dtype in ["Int64", "int64[pyarrow]", "category", "object"]
    },
    "small": (lambda: pd.Series(YES.astype(int), dtype="Int8"), YES.astype(int)),
    "sparse": (
        lambda: pd.Series(YES.astype(int), dtype="Sparse[int]"),
        YES.astype(int),
    ),
    "unsigned": (lambda: pd.Series(HUGE, dtype="UInt64"), HUGE),
    "whole floats": (lambda: pd.Series(1.0 * YES, dtype="Float64"), 1.0 * YES),
    **{
        f"words, {dtype}": (lambda dtype=dtype: pd.Series(WORDS, dtype=dtype), WORDS)
        for dtype in ["string", "string[pyarrow]", "str", pd.ArrowDtype(pa.string())]
    },
    "NumPy's texts": (lambda: WORDS.astype(np.dtypes.StringDType()), WORDS),
    "an array of pandas": (lambda: pd.array(YES, dtype="boolean"), YES),
    "an index": (lambda: pd.Index(LARGE, dtype="Int64"), LARGE),
    "polars, bool": (lambda: pl.Series(YES), YES),
    "polars, 64 bits": (lambda: pl.Series(LARGE), LARGE),
    "polars, 128 bits": (lambda: pl.Series(LARGE.tolist(), dtype=pl.Int128), LARGE),
    "polars, words": (lambda: pl.Series(WORDS, dtype=pl.Enum(["yes", "no"])), WORDS),
    "arrow, bool": (lambda: pa.array(YES), YES),
    "arrow, 64 bits": (lambda: pa.chunked_array([LARGE]), LARGE),
    "arrow, words": (lambda: pa.array(WORDS).dictionary_encode(), WORDS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_read_as_they_are(kind):
    make, expected = KINDS[kind]
    read = check_labels(make(), N)
    assert read.tolist() == expected.tolist()
    assert [type(value) for value in read.tolist()] == [
        type(value) for value in expected.tolist()
    ]


def test_one_column_of_a_frame():
    y = pd.DataFrame({"y": pd.Series(YES, dtype="boolean")})
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        assert check_labels(y, N, warn=True).tolist() == YES.tolist()


@pytest.mark.parametrize("dtype", ["boolean", "Int64", "bool[pyarrow]", "string"])
def test_a_missing_label_is_named(dtype):
    y = pd.Series(YES).astype(dtype)
    y.iloc[4] = pd.NA
    with pytest.raises(ValueError, match=r"y has no label in row 4 .*<NA>"):
        check_labels(y, N)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (Decimal("1.5"), r"got Decimal\('1.5'\), a Decimal. Use .astype\(str\)"),
        (datetime.date(2026, 1, 2), "a date. Use"),
        (2**70, "too large for 64 bits. Use .astype"),
    ],
)
def test_what_cannot_be_a_label_is_named(value, match):
    y = pd.Series([value] * N, dtype=object)
    with pytest.raises(ValueError, match=f"y must be a column of labels.*{match}"):
        check_labels(y, N)


def all_classes(y):
    """Yield the labels that everything that is fitted to labels answers with."""
    clf = ConceptBottleneckClassifier(tol=1e-4).fit(X, y, concepts=CONCEPTS)
    yield clf.classes_
    yield clf.predict(X)
    assert clf.score(X, y) > 0.5
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=CONCEPTS)
    yield explainer.suspect_labels("label")["current"]
    yield explainer.influence(X, y).explained["label"]
    other = check_labels(y, N)[YES[3] != YES].tolist()[0]
    edited = explainer.edit(y={3: other}, X_val=X, y_val=y)
    yield edited.record.changes["new"]
    yield edited.compare(X, y).to_frame()["label"]
    for inner in (clf, LogisticRegression()):
        reweighter = InfluenceReweighter(inner, strength=1, n_rounds=1, random_state=0)
        yield reweighter.fit(X, y, is_clean=YES | (X[:, 1] > 0)).predict(X)
        new = reweighter.fit(X, y, X_val=X[:40], y_val=y[:40])
        yield new.classes_


@pytest.mark.filterwarnings("ignore::skclif.exceptions.ReweightingWarning")
@pytest.mark.filterwarnings("ignore::skclif.exceptions.SuspectWarning")
@pytest.mark.parametrize("kind", ["boolean", "19 digits, Int64", "NumPy's texts"])
def test_every_estimator_answers_with_them(kind, tmp_path):
    make, expected = KINDS[kind]
    known = set(map(repr, expected.tolist()))
    for answers in all_classes(make()):
        assert set(map(repr, np.asarray(answers).tolist())) <= known
    clf = ConceptBottleneckClassifier(tol=1e-4).fit(X, make())
    save_model(clf, tmp_path / "model")
    loaded = load_model(tmp_path / "model").predict(X)
    assert loaded.tolist() == clf.predict(X).tolist()


def test_metrics_and_searches():
    y = pd.Series(YES, dtype="boolean")
    clf = ConceptBottleneckClassifier(tol=1e-4)
    assert cross_val_predict(clf, X, y, cv=3).dtype == bool
    curve = removal_curve(
        clf, X, y, RNG.normal(size=(1, N)), X_test=X, y_test=y, n_repeats=1
    )
    assert (curve.scores["accuracy"] > 0.5).all()
    texts = [f"{'warm' if yes else 'cold'} soup {i}" for i, yes in enumerate(YES)]
    frame = compare_baselines(texts, y, vectors=False, cv=3, random_state=0).frame
    assert frame["accuracy"].iloc[1] == 1
