"""Soft annotations in tables: what they are read as, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest

from skclif._inputs.annotations import Annotations
from skclif._inputs.concept_tables import concept_table
from skclif._inputs.learning import learn
from skclif._inputs.soft import (
    SoftValue,
    distributions,
    most_probable,
    recoded,
    shown_values,
    text_of_shares,
)

NAN = float("nan")
TABLE = pd.DataFrame(
    {
        "noise": ["low", "loud", None, "low"],
        "food=good": [0.7, 1.0, NAN, 0.0],
        "service": [1.5, 2.0, 0.5, NAN],
        "food=bad": [0.3, 0.0, NAN, 0.0],
        "food=not said": [0.0, 0.0, NAN, 1.0],
    }
)


def read(table, weights=None):
    return Annotations.read(table, weights, len(table))


def learned(table):
    schema, (codes, shares) = learn(read(table), np.ones(len(table)))
    return schema, codes, shares


def test_columns_of_one_concept_become_one():
    table = concept_table(TABLE)
    assert list(table) == ["noise", "food", "service"]
    assert table["food"].tolist() == [
        SoftValue(("good", "bad", "not said"), (0.7, 0.3, 0.0)),
        "good",
        None,
        "not said",
    ]
    assert table["noise"].tolist() == TABLE["noise"].tolist()


def test_codes_stand_for_the_shares():
    schema, codes, shares = learned(TABLE)
    assert schema.names == ("noise", "food", "service")
    assert schema.classes[1].tolist() == ["bad", "good", "not said"]
    np.testing.assert_array_equal(codes[:, 1], [3, 1, NAN, 2])
    np.testing.assert_allclose(
        distributions(codes[:, 1], 3, shares),
        [[0.3, 0.7, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]],
    )


def test_a_later_table_may_lack_values_and_keeps_earlier_codes():
    schema, _, shares = learned(TABLE)
    later = pd.DataFrame({"food=bad": [0.5, 0.0], "food=good": [0.5, 1.0]})
    codes, both = schema.encode(read(later), partial=True, shares=shares)
    np.testing.assert_array_equal(codes[:, 1], [4, 1])
    np.testing.assert_array_equal(both[3][:1], shares[3])
    np.testing.assert_allclose(both[3][1], [0.5, 0.5, 0])


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "nullable", "object", "single"])
def test_every_kind_of_table(kind):
    if kind == "polars":
        table = pytest.importorskip("polars").from_pandas(TABLE)
    elif kind == "pyarrow":
        table = pytest.importorskip("pyarrow").Table.from_pandas(TABLE)
    elif kind == "nullable":
        table = TABLE.convert_dtypes()
    elif kind == "object":
        table = TABLE.astype(object)
    else:  # whose rows add up to 1 only nearly
        single = dict.fromkeys([c for c in TABLE if "=" in c], "float32")
        table = TABLE.astype(single)
    found, expected = concept_table(table)["food"], concept_table(TABLE)["food"]
    for own, other in zip(found, expected, strict=True):
        if isinstance(other, SoftValue):
            assert own.shares.keys() == other.shares.keys()
            np.testing.assert_allclose(own.numbers, other.numbers, 1e-6)
            assert sum(own.numbers) == pytest.approx(1, abs=1e-15)
        else:
            assert own == other


def test_whole_numbers_are_shares_too():
    table = pd.DataFrame({"food=good": [1, 0], "food=bad": [0, 1]})
    assert concept_table(table)["food"].tolist() == ["good", "bad"]


@pytest.mark.parametrize(
    "columns",
    [
        {"a=b": ["x", "y"], "a=c": ["y", "x"]},
        {"a=b": [True, False], "a=c": [True, True]},
        {"a=b": ["x", "y"], "a=c": [None, None]},
        {"a=b": ["x", "y"]},
        {"a=b": [1.0, 0.0]},
        {"a=b": [1.5, 0.5]},
        {"=b": [0.5, 0.5], "=c": [0.5, 0.5]},
        {"a=": [0.5, 0.5], "a": ["x", "y"]},
        {"a=b": pd.Categorical([1, 2]), "a=c": pd.Categorical([1, 2])},
    ],
)
def test_what_is_plain_under_any_name(columns):
    table = pd.DataFrame(columns)
    assert concept_table(table) is table
    assert not read(table).soft


def _broken(column, row, value):
    table = TABLE.copy()
    table.loc[row, column] = value
    return table


REFUSED = {
    "a sum": (
        _broken("food=bad", 0, 0.4),
        "concepts gives concept 'food' shares in row 0 that add up to 1.1. Shares are "
        "numbers from 0 to 1 that add up to 1 in every row: divide them by their sum",
    ),
    "a negative share": (
        TABLE.assign(
            **{"food=bad": [0.3, -0.5, NAN, 0], "food=good": [0.7, 1.5, NAN, 0]}
        ),
        "concepts gives concept 'food' the share -0.5 of 'bad' in row 1. Shares are",
    ),
    "an infinite share": (
        _broken("food=good", 3, np.inf),
        "concepts gives concept 'food' the share inf of 'good' in row 3.",
    ),
    "a gap": (
        _broken("food=bad", 1, NAN),
        "concepts gives concept 'food' shares in row 1, but none (NaN) in 'food=bad'. "
        "Shares are numbers from 0 to 1 that add up to 1 in every row: write 0, or "
        "leave all of them missing where the row is not annotated.",
    ),
    "one column": (
        TABLE[["noise", "food=good"]],
        "concepts has the column 'food=good' with shares, and no other column of "
        "'food'. A soft annotation needs a column for every value, also if there are "
        "two: add 'food=...' with the rest of every share. If 'food=good' is a "
        "continuous concept, rename it.",
    ),
    "both forms": (
        TABLE.assign(food="good"),
        "concepts has the plain column 'food' and soft columns of the same concept "
        "('food=good', 'food=bad', 'food=not said'). Leave one form out",
    ),
    "words beside shares": (
        TABLE.assign(**{"food=bad": "bad"}),
        "concepts has shares of values of 'food' in the column 'food=good', but no "
        "numbers in 'food=bad'.",
    ),
    "a reserved name": (
        TABLE[["food=good", "food=bad", "food=not said"]].rename(
            columns=lambda name: name.replace("food", "label")
        ),
        "A concept cannot be named 'label'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case):
    table, message = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        read(table)


def test_weights_have_a_column_for_each_concept():
    weights = pd.DataFrame({"food": [1.0, 0.2, NAN, 1.0], "service": 1.0, "noise": 2.0})
    found = read(TABLE, weights).weights
    np.testing.assert_array_equal(found[:, 1], [1, 0.2, 1, 1])
    np.testing.assert_array_equal(read(TABLE, found).weights, found)  # by position
    with pytest.raises(ValueError, match=r"columns of concepts \(noise, food, servic"):
        read(TABLE, pd.DataFrame(1.0, index=TABLE.index, columns=TABLE.columns))


def test_shares_as_people_read_them():
    assert text_of_shares(["a", "b", "c"], [0.12, 0.8, 0.08]) == "b .8, a .12, c .08"
    assert text_of_shares(["a", "b"], [0.001, 0.999]) == "b >.99"
    soft = SoftValue(("Negative", "Positive"), (0.3, 0.7))
    assert str(soft) == "Positive .7, Negative .3"
    shares = {2: np.array([[0.5, 0.5]])}
    values = shown_values(np.array(["a", "b"]), np.array([1, NAN, 2]), shares)
    assert values.tolist() == ["b", None, "a .5, b .5"]


def test_codes_when_values_go_or_come():
    shares = {3: np.array([[0.5, 0.5, 0], [0.2, 0, 0.8]]), 2: np.array([[0.1, 0.9]])}
    codes = np.array([0, 2, 3, 4, NAN])
    fewer, found = recoded(codes, np.array([0, 1, -1]), 3, 2, shares)
    np.testing.assert_array_equal(fewer, [0, NAN, 3, NAN, NAN])
    np.testing.assert_array_equal(found[2][:2], [[0.1, 0.9], [0.5, 0.5]])
    more, found = recoded(codes, np.array([0, 3, 1]), 3, 4, shares)
    np.testing.assert_array_equal(more, [0, 1, 4, 5, NAN])
    np.testing.assert_array_equal(found[4], [[0.5, 0, 0, 0.5], [0.2, 0.8, 0, 0]])


def test_the_most_probable_value_and_none_of_a_tie():
    shares = {3: np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])}
    found = most_probable(np.array([2.0, 3.0, 4.0, NAN]), 3, shares)
    np.testing.assert_array_equal(found, [2, 1, NAN, NAN])
