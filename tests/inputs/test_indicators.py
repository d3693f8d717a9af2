"""Annotations as columns: values, gaps, numbers, and what was not seen."""

import numpy as np
import pandas as pd

from skclif._inputs.indicators import Indicators

NONE = None


def test_a_column_for_each_value_and_one_for_gaps():
    concepts = pd.DataFrame(
        {"food": ["good", NONE, "bad", "good"], "stars": [1, 2, 1, 2]}
    )
    found = Indicators.learn(concepts).encode(concepts)
    expected = pd.DataFrame(
        {
            "gap": [0, 1, 0, 0],
            "bad": [0, 0, 1, 0],
            "good": [1, 0, 0, 1],
            "1": [1, 0, 1, 0],
            "2": [0, 1, 0, 1],
        }
    )
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float64


def test_other_rows_keep_the_columns():
    known = pd.DataFrame({"a": ["x", "y"], "b": [1, NONE]})
    indicators = Indicators.learn(known)
    new = pd.DataFrame({"b": [1.0, np.nan, 7], "a": ["never seen", "y", NONE]})
    # Whole numbers are the same value, whatever their column makes of them.
    expected = [[0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(indicators.encode(new), expected)


def test_numbers_are_standardised_and_gaps_are_said():
    numbers = pd.DataFrame({"n": pd.Series([1.5, NONE, 2.5, 3.5], dtype=object)})
    indicators = Indicators.learn(numbers)
    found = indicators.encode(numbers)
    np.testing.assert_array_equal(found[:, 1], [1, 0, 1, 1])
    assert found[1, 0] == 0
    np.testing.assert_allclose(found[[0, 2, 3], 0], np.array([-1, 0, 1]) * 1.5**0.5)
    one = pd.DataFrame({"n": ["no number"]})
    np.testing.assert_array_equal(indicators.encode(one), [[0, 0]])


def test_a_number_without_spread():
    numbers = pd.DataFrame({"n": [1.5, 1.5, np.nan]})
    found = Indicators.learn(numbers).encode(numbers)
    np.testing.assert_array_equal(found, [[0, 1], [0, 1], [0, 0]])


def test_numbers_among_words_are_words():
    mixed = pd.DataFrame({"n": [1.5, "many", 1.5]})
    np.testing.assert_array_equal(
        Indicators.learn(mixed).encode(mixed), [[1, 0], [0, 1], [1, 0]]
    )
