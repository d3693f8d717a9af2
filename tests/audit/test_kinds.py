"""Numbers as labels and concepts: classes, grades in an order, or amounts."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.kinds import (
    MOST_CLASSES,
    MOST_GRADES,
    as_classes,
    as_floats,
    choose_kinds,
    in_order,
    ordered_paths,
)
from skclif._audit.rows import Reviews, check_labels, check_parts
from skclif._inputs.learning import KINDS
from skclif.exceptions import DataFileError

HALVES = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]


def reviews(labels=None, **concepts):
    n = len(next(iter(concepts.values()))) if labels is None else len(labels)
    labels = ["a", "b"] * (n // 2) if labels is None else labels
    table = pd.DataFrame(concepts) if concepts else None
    ids = [f"id{i}" for i in range(n)]
    return Reviews.from_parts(ids, [f"text {i}" for i in range(n)], labels, table)


def kinds_of(values, given=None):
    return choose_kinds([reviews(c=values).concepts], given or {}).get("c")


# --- Labels ---------------------------------------------------------------------------


def test_labels_that_are_not_whole_are_words_for_numbers():
    assert as_classes(np.array([4.5, 2.0])).tolist() == ["4.5", "2"]
    assert as_classes(np.array([4.0, 2.0])).tolist() == [4, 2]
    words = np.array(["4.5", "x"], dtype=object)
    assert as_classes(words) is words
    assert reviews([0.5, 1.0]).labels.tolist() == ["0.5", "1"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "2.5", "9"], ["2.5", "9", "10"]),
        ([3, 1, 2], [1, 2, 3]),
        (["b", "a", "10"], ["b", "a", "10"]),
        (["007", "07"], ["007", "07"]),
        ([True, False], [True, False]),
    ],
)
def test_numbers_are_ordered_by_size_also_as_words(values, expected):
    assert in_order(values) == expected


def test_codes_with_zeros_and_logical_values_are_no_numbers():
    assert as_floats(["007"]) is None
    assert as_floats([True, False]) is None
    assert as_floats(["4.5", "10"]).tolist() == [4.5, 10]


def test_half_points_are_classes_and_measurements_are_refused():
    assert check_labels(reviews(HALVES * 3).labels).tolist() == [
        *("1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5")
    ]
    rng = np.random.default_rng(0)
    for labels in (rng.normal(size=100), rng.integers(1, 400, 400) / 4, [0.5, 1.5]):
        labels = reviews(labels).labels
        with pytest.raises(DataFileError, match="Round or bin them .* with --label"):
            check_labels(labels)
    many = np.arange(MOST_CLASSES + 1) / 2
    check_labels(reviews(np.repeat(many[1:], 4)).labels)
    with pytest.raises(DataFileError, match=r"such as 0\.5, and 31 of 124 rows are"):
        check_labels(reviews(np.repeat(many, 4)).labels)


# --- Kinds of concepts ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (HALVES * 4, "categorical"),
        ([*HALVES * 3, None, None, None], "categorical"),
        (np.arange(MOST_GRADES * 10) % MOST_GRADES / 2, "categorical"),
        (np.arange(1300) % (MOST_GRADES + 1) / 2, "continuous"),
        (np.linspace(0, 1, 10), "continuous"),  # about one row for each
        ([1, 2, 3, 4, 5] * 4, None),
        (["good", "bad"] * 5, None),
        ([True, False] * 5, None),
    ],
)
def test_few_numbers_are_grades_and_many_are_amounts(values, kind):
    assert kinds_of(values) == kind


def test_both_parts_say_what_a_concept_is():
    """Whole numbers in one part are amounts if the other part has fractions."""
    whole = reviews(c=np.arange(40)).concepts
    parts = whole, reviews(c=np.arange(40) + 0.5).concepts
    assert choose_kinds(parts, {}) == {"c": "continuous"}


def test_a_kind_that_is_given_is_taken():
    minutes = np.arange(40) % 10
    assert kinds_of(minutes, {"c": "continuous"}) == "continuous"
    prices = np.arange(60) % 15 / 4
    assert kinds_of(prices) == "continuous"
    assert kinds_of(prices, {"c": "categorical"}) == "categorical"


@pytest.mark.parametrize(
    ("values", "given", "message"),
    [
        ([1, 2] * 4, {"d": "continuous"}, "--concept-kind names 'd', but .* are 'c'"),
        (
            ["good", "bad"] * 4,
            {"c": "continuous"},
            "--concept-kind c=continuous: the concept 'c' has the value 'good'",
        ),
        (
            [f"remark {i}" for i in range(20)],
            {},
            "'c' has 20 different values in 20 annotated rows, such as 'remark 0': .* "
            "Leave out --concept c, or sort .* in the file.$",
        ),
        (
            range(20),
            {},
            "If they are amounts, add --concept-kind c=continuous.$",
        ),
        (np.linspace(0, 1, 20), {"c": "categorical"}, "'c' has 20 different values"),
    ],
)
def test_what_is_no_such_concept_is_refused(values, given, message):
    with pytest.raises(DataFileError, match=message):
        kinds_of(values, given)


def test_names_in_some_rows_of_many_are_refused_and_few_values_never():
    names = [f"name {i}" for i in range(30)] + [None] * 270
    with pytest.raises(DataFileError, match="30 different values in 30 annotated rows"):
        kinds_of(names)
    assert kinds_of([f"value {i}" for i in range(10)]) is None
    assert kinds_of([f"value {i % 20}" for i in range(60)]) is None


def test_many_whole_numbers_are_warned_of():
    train = reviews(c=np.arange(120) % 60)
    note = next(n for n in check_parts(train, train) if "whole numbers" in n)
    assert note.startswith("Concept 'c' has 60 different whole numbers, each of which")
    assert "--concept-kind c=continuous; if not, --concept-kind c=categorical" in note
    for kind in KINDS:
        notes = check_parts(train, train, {"c": kind})
        assert not [n for n in notes if "whole numbers" in n]
    ten = reviews(c=np.arange(120) % 10)
    assert not [n for n in check_parts(ten, ten) if "whole numbers" in n]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [1, None] * 5,
            "'c' has one value only, 1, .* 5 cells are empty, .* c=0",
        ),
        (
            ["x", "x", "x", None],
            "1 cell is empty, .* --empty c=no. Otherwise",
        ),
        ([None] * 6, "'c' has no annotation in the rows to train on. Leave out --conc"),
    ],
)
def test_a_ticked_concept_is_refused_with_what_empty_may_mean(values, message):
    train = reviews(c=pd.Series(values, dtype=object))
    with pytest.raises(DataFileError, match=message):
        check_parts(train, train)


def test_many_numbers_as_labels_are_warned_of():
    rows = reviews([k % 25 for k in range(100)])
    note = next(n for n in check_parts(rows, rows) if "labels are" in n)
    assert note.startswith("The labels are 25 different numbers, each of which is a cl")
    rows = reviews([k % 20 for k in range(100)])
    assert not [n for n in check_parts(rows, rows) if "labels are" in n]


# --- Orders ---------------------------------------------------------------------------


def test_grades_that_are_not_whole_are_ordered_and_whole_numbers_if_asked():
    train = reviews(HALVES * 2, half=HALVES * 2, whole=[1, 2, 3] * 6)
    kinds, given = {"half": "categorical"}, (train.labels, train.concepts)
    assert ordered_paths(*given, kinds, []) == ["label", "half"]
    assert ordered_paths(*given, kinds, ["whole"]) == ["label", "half", "whole"]
    assert ordered_paths(*given, {"half": "continuous"}, []) == ["label"]
    two = reviews([0.5, 1.5] * 4)
    assert ordered_paths(two.labels, two.concepts, {}, []) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("d", "--ordinal names 'd'; it takes 'label' and .*: 'label', 'c', 'amount'"),
        ("c", "--ordinal names 'c', which has the value 'good': only numbers"),
        ("amount", "'amount', which is continuous: .* --concept-kind amount=categoric"),
    ],
)
def test_what_has_no_order_is_refused(asked, message):
    train = reviews(c=["good", "bad"] * 6, amount=np.linspace(0, 1, 12))
    with pytest.raises(DataFileError, match=message):
        ordered_paths(train.labels, train.concepts, {"amount": "continuous"}, [asked])


def test_shares_of_values_are_no_concepts_of_an_audit():
    table = pd.DataFrame({"food=good": [0.7, 1], "food=bad": [0.3, 0], "b": [1, 2]})
    with pytest.raises(DataFileError, match="'food=good', 'food=bad' are shares of"):
        choose_kinds([table, table], {})
    assert choose_kinds([table.astype(str)] * 2, {}) == {}
