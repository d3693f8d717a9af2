"""Values of columns: one reading for all formats, and a warning of what looks odd."""

import datetime
import decimal
import json
import uuid
import warnings

import numpy as np
import pandas as pd
import pytest

from skclif.datasets import load_reviews
from skclif.exceptions import DataFileError, DataFileWarning

# What one column holds in formats that know kinds, and what CSV has of it.
TABLE = {
    "whole": ([3, 4, None], ["3", "4", ""]),
    "half": ([3.5, 4.0, None], ["3.5", "4.0", ""]),
    "true": ([True, False, None], ["True", "False", ""]),
    "capitals": (["TRUE", "false", None], ["TRUE", "false", ""]),
    "code": (["007", "12", None], ["007", "12", ""]),
    "long": ([2**60 + 1, 7, None], [str(2**60 + 1), "7", ""]),
    "comma": (["4,5", "10", None], ["4,5", "10", ""]),
    "words": (["good", " bad ", None], ["good", " bad ", ""]),
}
EXPECTED = {
    "whole": [3, 4],
    "half": [3.5, 4.0],
    "true": ["True", "False"],
    "capitals": ["True", "False"],
    "code": ["007", "12"],
    "long": [str(2**60 + 1), "7"],
    "comma": [4.5, 10.0],
    "words": ["good", "bad"],
}
NAMES = [*TABLE]


def _frame(part):
    cells = {name: column[part] for name, column in TABLE.items()}
    return pd.DataFrame(
        {
            "text": ["a", "b", "c"],
            **{n: pd.Series(c, dtype=object) for n, c in cells.items()},
        }
    )


def _csv(path, separator=","):
    _frame(1).to_csv(path, index=False, sep=separator)


def _json(path):
    rows = _frame(0).astype(object).where(_frame(0).notna(), None)
    path.write_text(json.dumps(rows.to_dict("records")))


def _parquet(path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table({"text": ["a", "b", "c"], **{n: c[0] for n, c in TABLE.items()}})
    pyarrow.parquet.write_table(table, path)


def _excel(path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["text", *NAMES])
    for row in range(3):
        cells = [TABLE[name][0][row] for name in NAMES]
        # A spreadsheet keeps 15 digits of a number; longer codes are text there.
        cells = [str(c) if isinstance(c, int) and c > 2**53 else c for c in cells]
        book.active.append(["abc"[row], *cells])
    book.save(path)


@pytest.mark.parametrize(
    "name, write",
    [
        ("t.csv", _csv),
        ("t.tsv", lambda path: _csv(path, "\t")),
        ("t.txt", lambda path: _csv(path, ";")),
        ("t.json", _json),
        ("t.parquet", _parquet),
        ("t.xlsx", _excel),
    ],
)
def test_the_same_table_has_the_same_values_in_every_format(name, write, tmp_path):
    path = tmp_path / name
    write(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataFileWarning)
        reviews = load_reviews(path, label=None, concepts=NAMES)
    for column in NAMES:
        found = reviews.concepts[column]
        assert found.iloc[:2].tolist() == EXPECTED[column], column
        assert found.isna().tolist() == [False, False, True]
    said = "\n".join(reviews.reading)
    assert "3 rows" in said and "True or False: true, capitals" in said
    assert "numbers with decimal commas: comma" in said
    assert "1 of whole" in said


@pytest.fixture
def read(tmp_path):
    """Read one concept from cells of CSV; the label is 0, 1, 0 …"""

    def _read(cells, separator=";", **options):
        path = tmp_path / "r.csv"
        table = pd.DataFrame({"text": [f"text {i}" for i in range(len(cells))]})
        table = table.assign(label=np.arange(len(cells)) % 2, c=cells)
        table.to_csv(path, index=False, sep=separator)
        return load_reviews(path, concepts=["c"], **options).concepts["c"].tolist()

    return _read


@pytest.mark.parametrize("separator", [";", ","])
@pytest.mark.parametrize(
    "cells, expected",
    [
        (["4,5", "10,0", "3,25"], [4.5, 10.0, 3.25]),
        (["0,125", "0,5", "1,750"], [0.125, 0.5, 1.75]),
        (["-4,5", "+2", "0"], [-4.5, 2.0, 0.0]),
        (["4,0", "3,0", "10,0"], [4, 3, 10]),
        (["1,2,3", "1,2", "3,4"], ["1,2,3", "1,2", "3,4"]),  # lists of codes
        (["04,5", "4,5", "1,0"], ["04,5", "4,5", "1,0"]),
        (["4,5", "warm", "cold"], ["4,5", "warm", "cold"]),
    ],
)
def test_decimal_commas(read, separator, cells, expected):
    assert read(cells, separator) == expected


@pytest.mark.parametrize(
    "cells, problem",
    [
        (["1,250", "3,500"], "'1,250' may be 1250 or 1.250"),
        (["1,250", "7"], "'1,250' may be 1250 or 1.250"),
        (["4,5", "10.0"], "'4,5' and '10.0' have different signs"),
        (["1.250,5", "3,5"], "'1.250,5' has separators of thousands"),
        (["1,250.5", "3"], "'1,250.5' has separators of thousands"),
    ],
)
def test_numbers_that_can_be_two_are_refused(read, cells, problem):
    message = f"column 'c': {problem}. Write numbers without separators"
    with pytest.raises(DataFileError, match=message):
        read(cells)


# --- JSON in cells --------------------------------------------------------------------

TAKEN = [
    ({"choices": ["warm"]}, "warm"),
    ([{"choices": ["warm"]}], "warm"),
    ({"rating": 4}, 4),
    ([{"rating": 4}], 4),
    ([{"number": 2.5}], 2.5),
]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize("cell, value", TAKEN)
def test_one_value_is_taken_out_of_json(cell, value, suffix, tmp_path):
    other = "cold" if isinstance(value, str) else 1
    path = tmp_path / f"export{suffix}"
    _write_cells(path, [cell, other, [], {"choices": []}])
    message = r"column 'c', row 1: values were taken out of JSON \([\[{].*is "
    with pytest.warns(DataFileWarning, match=message):
        found = load_reviews(path, concepts=["c"]).concepts["c"]
    assert found.iloc[:2].tolist() == [value, other]
    assert found.isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize(
    "cell, problem",
    [
        ({"choices": ["a", "b"]}, r"several values \('a', 'b'\), and one is needed"),
        ([{"rating": 4}, {"rating": 5}], r"several values \(4, 5\)"),
        (["a"], r"the column holds lists \(\['a'\]\)"),
        (["a", "b"], "the column holds lists.*such as the majority"),
        ([{"user": "A", "label": 1}], "the column holds lists"),
        ({"start": 0, "end": 4}, "the column holds objects"),
        ({"taxonomy": [["a"]]}, "the column holds objects"),
    ],
)
def test_other_structures_are_refused_by_row(cell, problem, suffix, tmp_path):
    path = tmp_path / f"export{suffix}"
    _write_cells(path, ["x", cell, "y"])
    with pytest.raises(DataFileError, match=f"column 'c', row 2: {problem}"):
        load_reviews(path, concepts=["c"])


def test_lists_as_pandas_writes_them_are_lists(read):
    with pytest.raises(DataFileError, match="row 2: the column holds lists"):
        read(["a", "['a', 'b']", "b"])


def test_brackets_alone_are_no_json(read):
    cells = ["[deleted]", "{x}", "[deleted]"]
    assert read(cells) == cells


def test_a_text_may_be_json(tmp_path):
    path = tmp_path / "r.csv"
    texts = ['{"choices": ["a"]}', "[1, 2]"]
    pd.DataFrame({"text": texts, "label": [0, 1]}).to_csv(path, index=False)
    assert load_reviews(path).data.tolist() == texts


def _write_cells(path, cells):
    if path.suffix == ".csv":
        cells = [json.dumps(c) if isinstance(c, list | dict) else c for c in cells]
    rows = [{"text": f"t{i}", "label": i % 2, "c": c} for i, c in enumerate(cells)]
    if path.suffix == ".csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        path.write_text(json.dumps(rows))


# --- Warnings -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells, named",
    [
        (["CS", "cs", "cs", "wt"], r"'c': 'CS' \(1\) and 'cs' \(2\)\. If one value is"),
        (["New York", "New  York", "NewYork"], "'New York' .* and 'New  York'"),
        (["caf\u00e9", "cafe\u0301", "x"], "'c': "),
        (["Straße", "STRASSE", "x"], "'c': "),
    ],
)
def test_values_that_differ_in_capitals_or_blanks_are_named(read, cells, named):
    with pytest.warns(DataFileWarning, match=f"values differ only .*{named}"):
        assert read(cells) == cells


@pytest.mark.parametrize(
    "word", ["no majority", "N/A ", "n.a.", "?", "-", "–", "None of these", "na", "..."]
)
def test_values_that_mean_missing_are_named(read, word):
    cells = ["good", word, "bad", word]
    na_values = ["nothing"]  # so that none of them is missing
    with pytest.warns(DataFileWarning) as caught:
        assert read(cells, na_values=na_values)[1] == word.strip()
    (said,) = [w.message for w in caught]
    assert f"{word.strip()!r} (2 in 'c') is read as a value. If it means" in str(said)
    assert f"add {word.strip()!r} to na_values" in str(said)
    assert "give --missing " in said.for_command and "na_values" not in said.for_command
    found = read(cells, na_values=[word.strip()])
    assert pd.isna(found).tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    "cells, is_named",
    [
        (["1", "3", "99"], True),
        (["1", "3", "-9"], True),
        (["1", "3", "-1"], False),
        (["95", "97", "99"], False),
        (["+", "-", "-"], False),  # signs of feelings
        (["None", "unknown", "some"], False),  # values, as documented
    ],
)
def test_numbers_that_mean_missing(read, cells, is_named):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(cells)
    assert (
        any("in 'c') is read as a value" in str(w.message) for w in caught) == is_named
    )


def test_words_among_numbers_are_named(read):
    message = r"words and numbers are mixed in 'c' \('l' in row 3\), and are all read"
    with pytest.warns(DataFileWarning, match=message):
        assert read(["1", "2", "l", "3", "2", "1"])[2] == "l"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(["007", "12", "34", "56", "78", "90"])[0] == "007"
        assert read(["1", "x1", "x2"]) == ["1", "x1", "x2"]


@pytest.mark.parametrize(
    "cells, examples",
    [
        (["1", "good", "3", "bad", "2", "fine"], "numbers: '1', '3'; words: 'good', "),
        (["1", "other", "3", "other"], "numbers: '1', '3'; words: 'other'"),
    ],
)
def test_numbers_and_words_half_and_half_are_named(read, cells, examples):
    message = rf"words and numbers are mixed in 'c' \({examples}.*, and are all read"
    with pytest.warns(DataFileWarning, match=message):
        assert read(cells) == cells


def test_words_that_hold_a_number_are_words(read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(["66", "Main Street", "66", "Broadway"])
        read(["A1", "007", "B2"])


def test_a_row_of_json_may_mix_numbers_and_words(tmp_path):
    path = tmp_path / "r.json"
    _write_cells(path, [1, "two", "three"])
    with pytest.warns(DataFileWarning, match=r"mixed in 'c' \('1' in row 1\)"):
        found = load_reviews(path, concepts=["c"]).concepts["c"]
    assert found.tolist() == ["1", "two", "three"]


@pytest.mark.parametrize(
    "cells, python, command",
    [
        (["1", "", "1", ""], "empty={'c': 0}", "--empty c=0."),
        (["x", "", "", "x"], "empty={'c': 'no'}", "--empty c=no."),
    ],
)
def test_ticked_or_empty(read, cells, python, command):
    with pytest.warns(DataFileWarning) as caught:
        read(cells)
    (said,) = [w.message for w in caught]
    assert str(said).endswith(f"{python}.") and said.for_command.endswith(command)
    assert f"'c' ({1 if cells[0] == '1' else 'x'!r}) has one value and empty" in str(
        said
    )


@pytest.mark.parametrize(("value", "other"), [("1", "0"), ("spam", "'no'")])
def test_a_label_that_is_ticked_or_empty(value, other, tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(f"text,spam\na,{value}\nb,\nc,{value}\n")
    message = (
        f"column 'spam', row 2: no value.*All others are '{value}'. If empty means"
    )
    with pytest.raises(DataFileError, match=message) as caught:
        load_reviews(path, label="spam")
    assert str(caught.value).endswith(f"empty={{'spam': {other}}}.")
    plain = other.strip("'")
    assert caught.value.for_command.endswith(f"--empty spam={plain}.")
    found = load_reviews(path, label="spam", empty={"spam": plain}).target
    assert [str(label) for label in found] == [value, plain, value]


def test_a_warning_is_of_all_columns(tmp_path):
    path = tmp_path / "r.csv"
    columns = {f"late {k}": ["x", "", "?", "a"] for k in range(7)}
    columns |= {"tick 1": [1, None, 1, 1], "tick 2": ["y", None, "y", "y"]}
    table = pd.DataFrame({"text": [*"abcd"], "label": [0, 1, 0, 1], **columns})
    table.to_csv(path, index=False)
    with pytest.warns(DataFileWarning) as caught:
        load_reviews(path, concepts=[*columns])
    missing, ticked = (w.message for w in caught)
    assert "'?' (1 in 'late 0', 1 in 'late 1', " in str(missing)
    assert "and 2 more) is read" in str(missing)
    assert "'tick 1' (1), 'tick 2' ('y') have one value and empty" in str(ticked)
    assert str(ticked).endswith("empty={'tick 1': 0, 'tick 2': 'no'}.")
    assert ticked.for_command.endswith("--empty 'tick 1=0' --empty 'tick 2=no'.")


def test_empty_cells_have_the_value_that_is_given(read, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(["1", "", "1", " "], empty={"c": 0}) == [1, 0, 1, 0]
        assert read(["x", "", "NA"], empty={"c": "no"})[:2] == ["x", "no"]
    assert pd.isna(read(["x", "", "NA"], empty={"c": "no"})[2])
    message = "The value 0 of empty cells is for the column 'd', which is not asked for"
    with pytest.raises(DataFileError, match=message):
        read(["1", ""], empty={"d": 0})
    assert load_reviews(tmp_path / "r.csv", empty={"label": 7}).target.tolist() == [
        0,
        1,
    ]


# --- Kinds of other formats -----------------------------------------------------------


def _of_parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    table = pa.table({"text": ["a", "b"], "label": [0, 1], **columns})
    pyarrow.parquet.write_table(table, path)


def test_kinds_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "r.parquet"
    kinds = {
        "dictionary": pa.array(["x", "y"]).dictionary_encode(),
        "large": pa.array(["x", "y"], pa.large_string()),
        "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00")]),
        "float32": pa.array([1.5, 2.0], pa.float32()),
        "json": pa.array(["4", "5"]),
        "struct": pa.array([{"rating": 4}, {"rating": 5}]),
        "nulls": pa.array([None, None]),
    }
    _of_parquet(path, **kinds)
    with pytest.warns(DataFileWarning, match="'struct', rows 1, 2: values were taken"):
        concepts = load_reviews(path, concepts=[*kinds]).concepts
    assert concepts["dictionary"].tolist() == concepts["large"].tolist() == ["x", "y"]
    assert concepts["decimal"].tolist() == concepts["float32"].tolist() == [1.5, 2.0]
    assert concepts["json"].tolist() == concepts["struct"].tolist() == [4, 5]
    assert concepts["nulls"].isna().all()


@pytest.mark.parametrize(
    "cells, problem",
    [
        ([datetime.date(2026, 1, 2)] * 2, "a date or time, which is neither text nor"),
        ([datetime.datetime(2026, 1, 2)] * 2, "a date or time"),
        ([datetime.timedelta(1)] * 2, "a duration"),
        ([b"x", b"y"], "bytes"),
        ([["a"], ["b"]], "the column holds lists"),
        ([float("inf"), 1.0], "an infinite number"),
    ],
)
def test_refused_kinds_of_parquet(cells, problem, tmp_path):
    _of_parquet(tmp_path / "r.parquet", c=cells)
    with pytest.raises(DataFileError, match=f"column 'c', rows? 1.*: {problem}"):
        load_reviews(tmp_path / "r.parquet", concepts=["c"])


def test_identifiers_may_be_uuids(tmp_path):
    pa = pytest.importorskip("pyarrow")
    ids = [uuid.UUID(int=k) for k in (1, 2)]
    storage = pa.array([i.bytes for i in ids], pa.binary(16))
    if not hasattr(pa, "uuid"):
        pytest.skip("this pyarrow knows no UUIDs")
    path = tmp_path / "r.parquet"
    _of_parquet(path, i=pa.ExtensionArray.from_storage(pa.uuid(), storage))
    assert load_reviews(path, id="i").ids.tolist() == list(map(str, ids))


def test_identifiers_and_texts_are_written_as_in_csv(tmp_path):
    path = tmp_path / "r.parquet"
    _of_parquet(path, i=[7.0, 8.0], body=[1.0, 2.5])
    reviews = load_reviews(path, id="i", text="body")
    assert reviews.ids.tolist() == ["7", "8"]
    assert reviews.data.tolist() == ["1", "2.5"]


# --- Times and groups to split by -----------------------------------------------------


@pytest.fixture
def times(tmp_path):
    def _times(cells, **options):
        path = tmp_path / "t.csv"
        rows = {"text": ["a", "b", "c"], "label": [0, 1, 0], "when": cells}
        pd.DataFrame(rows).to_csv(path, index=False)
        return load_reviews(path, time="when", **options).times

    return _times


@pytest.mark.parametrize(
    "cells, expected",
    [
        (["3", "1.5", "2"], [3.0, 1.5, 2.0]),
        (["2026-11-29", "2025-01-01", "2026-11-30"], None),
        (["2026-11-29T10:00", "2025-01-01 09:30:00", "2026-11-30"], None),
        (["2026-Q4", "2026Q1", "2027-q1"], ["2026-10-01", "2026-01-01", "2027-01-01"]),
        (["2026-11", "2025-01", "2026-12"], ["2026-11-01", "2025-01-01", "2026-12-01"]),
        (
            ["2026-11-29T01:00+02:00", "2026-11-28T22:00Z", "2026-11-29T00:00+00:00"],
            ["2026-11-28T23:00", "2026-11-28T22:00", "2026-11-29"],
        ),
    ],
)
def test_times_are_numbers_or_dates(times, cells, expected):
    found = times(cells)
    if isinstance((expected or [""])[0], float):
        assert found.tolist() == expected
    else:
        wanted = pd.to_datetime(pd.Series(expected or cells), format="ISO8601")
        assert (found.to_numpy() == wanted.to_numpy()).all()


@pytest.mark.parametrize(
    "cells, problem",
    [
        (
            ["2026-11-29", "30.11.2026", "x"],
            "rows 2, 3: '30.11.2026' is no time; write",
        ),
        (["2026-11-29", "2026-02-30", "2027-01-01"], "row 2: '2026-02-30' is no time"),
        (["1", "2", "2026-01-01T00"], "rows 1, 2: '1' is no time"),
        (
            ["2026-11-29", "2026-11-29T10:00Z", "2026-11-28"],
            "row 2: some times have a z",
        ),
        (["1", "", "2"], "row 2: no value"),
    ],
)
def test_refused_times(times, cells, problem):
    with pytest.raises(DataFileError, match=f"column 'when', {problem}"):
        times(cells)


def test_a_row_without_a_time_can_be_left_out(times):
    assert times(["1", "", "2"], incomplete="skip").tolist() == [1.0, 2.0]


def test_dates_of_other_formats_are_times(tmp_path):
    path = tmp_path / "r.parquet"
    _of_parquet(path, when=[datetime.date(2026, 1, 2), datetime.date(2025, 1, 2)])
    found = load_reviews(path, time="when").times
    assert (found.diff().dt.days.dropna() == [-365]).all()


def test_what_keeps_rows_together_may_be_a_group_too(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("text,label,who,n\na,0,Ann,1\nb,1,Bob,2\n")
    reviews = load_reviews(path, group="who", split_by="who", concepts=["n"], time="n")
    assert reviews.split_groups.tolist() == reviews.groups.tolist() == ["Ann", "Bob"]
    assert reviews.times.tolist() == reviews.concepts["n"].tolist() == [1, 2]
    assert load_reviews(path, split_by="n").split_groups.tolist() == ["1", "2"]
    assert load_reviews(path).split_groups is None and load_reviews(path).times is None
    with pytest.raises(DataFileError, match="no column 'x', asked for as the time"):
        load_reviews(path, time="x")
