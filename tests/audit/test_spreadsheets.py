"""What spreadsheets make of cells, as LibreOffice 7.4 and Excel write them."""

import pytest

from skclif._audit.spreadsheets import (
    can_become,
    changed_ids,
    how_changed,
    is_too_narrow,
    meant,
    number,
)

NUMBERS = [
    ("004", "4"),
    ("4", "4.0"),
    ("4", "4,00"),
    ("4.5", "4,5"),
    ("0.91", "0,91"),
    ("-5", "-5.0"),
    ("+1", "1"),
    ("1.10", "1.1"),
    ("1.10", "1,1"),
    ("1E5", "100000"),
    ("1.5E3", "1500"),
    ("1,234", "1234"),
    ("1.234", "1234"),
    ("1000000", "1,000,000"),
    ("1000000", "1.000.000"),
    ("1000000", "1E+06"),
    ("123456789012", "1.23457E+11"),
    ("12345678901234567890", "1.23456789012346E+019"),
    ("12345678901234567890", "1,23457E+19"),
    ("12345678901234567890", "12345678901234600000"),
    ("50%", "0.5"),
    ("50%", "50.00%"),
    ("$5", "5"),
]
LOGICAL = [("True", "TRUE"), ("true", "WAHR"), ("False", "FALSCH"), ("false", "FAUX")]
DATES = [
    ("1-2", "01/02/2026"),
    ("1-2", "02. Jan"),
    ("1-2", "1-Feb"),
    ("1-2", "Jan-02"),
    ("1-2", "2026-01-02"),
    ("4.5", "04. Mai"),
    ("10-19", "Oct-19"),
    ("10-19", "Okt 19"),
    ("MAR1", "1-Mar"),
    ("2020-01-02", "1/2/2020"),
    ("2020-01-02", "02.01.20"),
    ("2020-01-02", "2020-01-02 00:00:00"),
    ("12:30", "12:30:00 PM"),
]
TEXTS = [("'007", "007"), ("'007", "7"), ("'Great' food", "Great' food")]
UNLIKE = [
    ("4", "5"),
    ("4", "4.5"),
    ("004", "40"),
    ("100", "10"),
    ("12", "1.2E+02"),
    ("1E5", "1"),
    ("0x1F", "31"),
    ("row-1", "1"),
    ("a-1", "1"),
    ("007-001", "7001"),
    ("12345678901234567890", "1.3E+19"),
    ("True", "1"),
    ("0", "FALSE"),
    ("Positive", "positive"),
    ("yes", "TRUE"),
    ("1-2", "1-3"),
    ("1-2", "3"),
    ("1", "1-1"),
    ("10-19", "20-29"),
    ("2020-01-02", "1/3/2020"),
    ("ab", "cd"),
    ("", "0"),
    ("1,2,3", "123"),
    ("1e999", "1"),
]


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        (NUMBERS, "a number"),
        (LOGICAL, "a logical value"),
        (DATES, "a date"),
        (TEXTS, "a cell marked as text"),
    ],
)
def test_what_a_cell_was_taken_for(pairs, kind):
    assert {pair: how_changed(*pair) for pair in pairs} == dict.fromkeys(pairs, kind)


def test_cells_that_no_spreadsheet_makes_of_a_word():
    assert [pair for pair in UNLIKE if can_become(*pair)] == []


def test_a_cell_means_one_word_or_none():
    assert meant("4", ["4", "004"]) == "4"  # as it is written
    assert meant("4", ["3", "004"]) == "004"
    assert meant("4", ["04", "004"]) is None
    assert meant("WAHR", ["True", "False"]) == "True"
    assert meant("Oct-19", ["10-19", "20-29"]) == "10-19"
    assert meant("4,5", ["4", "4.5", "5"]) == "4.5"
    # Rounded is what a cell says, and not the word.
    assert meant("1.2E+19", ["12345678901234567890"]) == "12345678901234567890"
    assert meant("12345678901234567890", ["1.2E+19"]) is None
    assert meant("maybe", ["True", "False"]) is None
    assert changed_ids("4", ["4", "04", "004", "5"]) == ["04", "004"]


def test_numbers_in_cells():
    assert number("4,5") == 4.5
    assert number("4.5") == 4.5
    assert number("1.000,5") == 1000.5
    assert number("x") is None
    assert number("") is None


def test_cells_that_are_too_narrow():
    assert is_too_narrow("####")
    assert not is_too_narrow("#")
    assert not is_too_narrow("")
