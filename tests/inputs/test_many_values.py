"""Values that seem to be no categories are named, with what to do."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs.annotations import Annotations
from skclif._inputs.many_values import ManyValues
from skclif.exceptions import ManyValuesWarning

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3))
Y = (X[:, 0] > 0).astype(int)
MINUTES = np.arange(N) // 2 + 1
REMARKS = np.array([f"remark {i % 40}" for i in range(N)])
FEW = {"tol": 1e-2, "C": 0.1, "concept_C": 0.1}


def fit(column, kinds=None, y=Y):
    clf = ConceptBottleneckClassifier(concept_kinds=kinds, **FEW)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf.fit(X, y, concepts=pd.DataFrame({"c": column}))
    return [str(w.message) for w in caught if w.category is ManyValuesWarning]


@pytest.mark.parametrize("dtype", [int, float, "Int64"])
def test_amounts_are_named(dtype):
    (said,) = fit(pd.Series(MINUTES, dtype=dtype))
    assert said.startswith("Concept 'c' has 30 different whole numbers in 60 annotated")
    assert "concept_kinds={'c': 'continuous'}" in said
    assert not fit(MINUTES, {"c": "continuous"})
    assert not fit(MINUTES, {"c": "categorical"})


def test_free_text_is_named():
    (said,) = fit(REMARKS)
    assert (
        "'c' has 40 different values in 60 annotated rows, such as 'remark 0'" in said
    )
    assert not fit(REMARKS, {"c": "categorical"})
    missing = pd.Series(REMARKS).where(np.arange(N) < 15)  # 15 values of 15 rows
    assert "15 different values in 15" in fit(missing)[0]


@pytest.mark.parametrize(
    "column",
    [
        MINUTES % 20,
        MINUTES / 2 + 0.25,
        np.where(X[:, 1] > 0, "yes", "no"),
        REMARKS[np.arange(N) % 30],
        X[:, 1] > 0,
    ],
)
def test_other_values_are_not(column):
    assert not fit(column)


def test_few_rows_have_few_values():
    assert ManyValues.of("c", np.array([f"{i}" for i in range(10)])) is None
    assert ManyValues.of("c", np.array([f"{i}" for i in range(11)])) is not None


def test_all_of_a_table_can_be_asked_beforehand():
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(i) for i in range(N)]
    table = pd.DataFrame(
        {
            "minutes": MINUTES,
            "remarks": REMARKS,
            "day": days,
            "score": X[:, 0],
            "empty": [None] * N,
            "fine": np.where(X[:, 1] > 0, "yes", "no"),
        }
    )
    found = Annotations.read(table, None, N).many_values()
    assert [one.concept for one in found] == ["minutes", "remarks", "day"]
    assert [one.are_numbers for one in found] == [True, False, False]
    assert [(one.n_values, one.n_rows) for one in found] == [(30, N), (40, N), (N, N)]


def test_labels_that_are_amounts_are_named():
    X = RNG.normal(size=(N, 3))
    clf = ConceptBottleneckClassifier(**FEW)
    with pytest.warns(ManyValuesWarning, match="y has 30 different numbers in 60 rows"):
        clf.fit(X, MINUTES)
    with pytest.warns(ManyValuesWarning, match="y has 30 different numbers"):
        ConceptInfluenceExplainer(clf, method="first_order").fit(X, MINUTES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ManyValuesWarning)
        clf.fit(X, MINUTES % 20)
        clf.fit(X, MINUTES.astype(str))
