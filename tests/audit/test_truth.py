"""What is known of rows with planted errors, and how a careful reader decides."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skclif._audit.demonstration import read_carefully
from skclif._audit.evidence import wilson
from skclif._audit.rows import Reviews
from skclif._audit.truth import Truth, mark


def _rows(labels, food):
    return Reviews.from_parts(
        ["a", "b", "c"], ["x", "y", "z"], labels, pd.DataFrame({"food": food})
    )


GIVEN = _rows([1, 2, 3], ["good", None, "bad"])
RIGHT = _rows([1, 5, 3], ["bad", "good", "bad"])
TRAINING = pd.DataFrame(
    {"id": ["a", "b", "c"], "label": [1, 2, 3], "annotated:food": ["good", None, "bad"]}
)


@pytest.fixture
def truth():
    return Truth.between(GIVEN, RIGHT)


def test_the_truth_is_kept_where_a_value_is_wrong_or_missing(truth):
    assert truth.values == {"a": {"food": "bad"}, "b": {"label": 5, "food": "good"}}
    assert Truth.of({"truth": truth.values}) == truth
    assert Truth.of({}) is Truth.of({"truth": None}) is None
    assert truth.is_wrong("a", "food", "good")
    assert not truth.is_wrong("a", "food", "bad")
    assert not truth.is_wrong("b", "food", None)
    assert not truth.is_wrong("c", "food", "bad")


def test_errors_are_those_that_are_still_there(truth):
    assert truth.errors(TRAINING) == {
        "a": "food good instead of bad",
        "b": "label 2 instead of 5",
    }
    assert truth.errors(TRAINING.assign(label=[1, 5, 3])) == {
        "a": "food good instead of bad"
    }


def test_mended_rows_keep_their_gaps(truth):
    mended = truth.mended(GIVEN)
    np.testing.assert_array_equal(mended.labels, [1, 5, 3])
    assert mended.concepts["food"].tolist() == ["bad", None, "bad"]
    assert GIVEN.concepts["food"].tolist() == ["good", None, "bad"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("annotate", "a", "food", "good", "bad"), "really wrong, and the proposed"),
        (("relabel", "b", "label", 2, 4), "really wrong, but the true value is 5"),
        (
            ("annotate", "b", "food", None, None, "good"),
            "missing; the true value is good, the guess is right",
        ),
        (
            ("annotate", "b", "food", None, None, "bad"),
            "missing; the true value is good, the guess is wrong",
        ),
        (("relabel", "c", "label", 3, 4), "right as it is"),
        (("drop", "a", "row", 1.0, 0.0), "planted: food good instead of bad"),
        (("reweight", "c", "row", 1.0, 2.0), "nothing was planted in this row"),
    ],
)
def test_marks(truth, line, said):
    names = ("kind", "id", "path", "current", "proposed", "guess")
    line = dict(zip(names, line, strict=False))
    assert mark(truth, line, truth.errors(TRAINING)).startswith(said)
    assert mark(None, line, {}) == ""


def test_nothing_is_said_of_a_missing_value_that_nobody_knows(truth):
    line = {"kind": "annotate", "id": "c", "path": "food", "current": None}
    line |= {"proposed": None, "guess": "bad"}
    assert mark(truth, line, {}) == ""


def test_of_a_missing_value_the_guess_is_judged(truth):
    table = pd.DataFrame(
        {
            "kind": "annotate",
            "id": ["b", "b", "a"],
            "path": "food",
            "current": [None, None, "good"],
            "proposed": [None, None, "bad"],
            "guess": ["good", "bad", None],
        }
    )
    judged = truth.judged(table)
    assert judged["is_true"].tolist() == [True, False, True]
    assert judged["is_wrong"].tolist() == [False, False, True]


def _suspects(lines):
    names = ["id", "group", "path", "current", "proposed", "probability_wrong"]
    table = pd.DataFrame(lines, columns=names).assign(decision="", why="", text_hash="")
    return table.assign(kind="annotate")


def test_the_reader_reads_what_is_probable_and_what_repeats_a_mistake():
    lines = [
        ("a", "one", "food", "good", "bad", 0.9),  # wrong
        ("b", "one", "food", "good", "odd", 0.8),  # wrong, another is proposed
        ("c", "two", "food", "bad", "good", 0.7),  # right
        ("d", "one", "food", "good", "bad", 0.4),  # wrong, as before
        ("e", "one", "food", "good", "bad", 0.3),  # right, but looks as before
        ("f", "two", "food", "good", "bad", 0.2),  # wrong, of somebody else
        ("g", "one", "food", "bad", "good", 0.1),  # wrong, in another way
    ]
    wrong = {i: {"food": "bad"} for i in "abdf"} | {"g": {"food": "good"}}
    training = pd.DataFrame({"id": [line[0] for line in lines]})
    training["label"] = 1
    training["annotated:food"] = [line[3] for line in lines]
    found = SimpleNamespace(suspects=_suspects(lines), training=training)
    reading = read_carefully(found, Truth(wrong))
    decided = reading.lines.set_index("id")
    assert decided["decision"].to_dict() == {
        "a": "accept",
        "b": "accept",
        "c": "reject",
        "d": "accept",
        "e": "reject",
    }
    assert decided.loc["b", "proposed"] == "bad"
    assert decided.loc["e", "proposed"] == "bad"
    assert decided.loc["c", "proposed"] == "good"
    assert reading.counts() == {
        "planted": 5,
        "listed": 7,
        "probable": 3,
        "read": 5,
        "accepted": 3,
        "corrected": 1,
        "rejected": 2,
    }


def test_one_mistake_is_no_pattern():
    lines = [
        ("a", "one", "food", "good", "bad", 0.9),
        ("d", "one", "food", "good", "bad", 0.4),
    ]
    training = pd.DataFrame({"id": ["a", "d"], "label": 1, "annotated:food": "good"})
    found = SimpleNamespace(suspects=_suspects(lines), training=training)
    reading = read_carefully(found, Truth({i: {"food": "bad"} for i in "ad"}))
    assert reading.lines["id"].tolist() == ["a"]


def test_the_interval_of_a_share():
    from scipy.stats import binomtest

    expected = binomtest(42, 100).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson(0.42, 100), expected, rtol=1e-6)
