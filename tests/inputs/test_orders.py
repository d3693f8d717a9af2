"""In which order values are, by their type or by what they say."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skclif._inputs.orders import order_of, sorted_order

LEVELS = ["poor", "fair", "good"]
SEEN = ["good", "poor", "good"]
ORDERED = pd.Categorical(SEEN, LEVELS, ordered=True)
CODED = pa.DictionaryArray.from_arrays(pa.array([2, 0]), pa.array(LEVELS), ordered=True)


@pytest.mark.parametrize(
    "column",
    [
        ORDERED,
        pd.Series(ORDERED),
        pd.CategoricalIndex(ORDERED),
        pl.Series(SEEN, dtype=pl.Enum(LEVELS)),
        CODED,
        pa.chunked_array([CODED, CODED]),
        pd.Series(pd.arrays.ArrowExtensionArray(CODED)),
    ],
    ids=lambda column: f"{type(column).__module__.partition('.')[0]} {type(column)}",
)
def test_an_ordered_type_says_it(column):
    assert order_of(column) == LEVELS


@pytest.mark.parametrize(
    "column",
    [
        SEEN,
        np.array(SEEN),
        pd.Series(SEEN),
        pd.Series(SEEN, dtype="category"),
        pl.Series(SEEN, dtype=pl.Categorical),
        pl.Series(SEEN),
        pa.array(SEEN),
        pa.array(SEEN).dictionary_encode(),
        None,
    ],
)
def test_other_types_do_not(column):
    assert order_of(column) is None


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["1", "10", "2"], ["1", "2", "10"]),
        (["-1", "0.5", "1e1", " 3"], ["-1", "0.5", " 3", "1e1"]),
        ([1, 2, 10], [1, 2, 10]),
        ([False, True], [False, True]),
    ],
)
def test_numbers_are_sorted_as_numbers(values, order):
    assert sorted_order(np.array(values)) == (order, True)


@pytest.mark.parametrize(
    "values",
    [["fair", "good", "poor"], ["1", "10", "many"], ["1", "1.0", "2"], ["1", "nan"]],
)
def test_of_other_texts_letters_decide(values):
    assert sorted_order(np.array(values)) == (values, False)
