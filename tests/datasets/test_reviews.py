"""load_reviews: every form of file, and an error that names file, column and row."""

import csv
import gzip
import io
import json
import os
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skclif.datasets import load_reviews
from skclif.exceptions import DataFileError


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def _write(content, name="reviews.csv", encoding="utf-8"):
        path = tmp_path / name
        if isinstance(content, str):
            content = content.encode(encoding)
        path.write_bytes(content)
        return path

    return _write


ROWS = [
    {"key": "007", "text": "Great soup, slow bill", "stars": 4, "food": "Positive"},
    {"key": "008", "text": 'He said "hm".\nThen left; | 5', "stars": 2, "food": None},
    {"key": "009", "text": "=SUM(A1)\t'x'", "stars": 1, "food": "unknown"},
]
COLUMNS = {"text": "text", "label": "stars", "concepts": ["food"], "id": "key"}


def delimited(rows, separator=",", **options):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], delimiter=separator, **options)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def parquet(rows):
    pytest.importorskip("pyarrow")
    return pd.DataFrame(rows).to_parquet(index=False)


def excel(rows):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for number, row in enumerate([[*rows[0]], *(row.values() for row in rows)], 1):
        for place, value in enumerate(row, 1):
            cell = book.active.cell(number, place, value)
            if isinstance(value, str):  # no formula
                cell.data_type = "s"
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(content, name="inner/a.csv"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/inner/._a.csv", "what macOS leaves")
        archive.writestr("inner/", "")
        archive.writestr(name, content)
    return buffer.getvalue()


FORMS = {
    "comma": ("a.csv", lambda: delimited(ROWS)),
    "semicolon": ("a.csv", lambda: delimited(ROWS, ";")),
    "quoted tab": ("a.tsv", lambda: delimited(ROWS, "\t")),
    "bar": ("a.txt", lambda: delimited(ROWS, "|")),
    "all quoted": ("a.CSV", lambda: delimited(ROWS, ";", quoting=csv.QUOTE_ALL)),
    "old line ends": ("a.csv", lambda: delimited(ROWS, lineterminator="\r")),
    "byte order mark": ("a.csv", lambda: "\ufeff" + delimited(ROWS)),
    "empty lines": ("a.csv", lambda: "\n" + delimited(ROWS) + "\r\n\n"),
    "compressed": ("a.csv.gz", lambda: gzip.compress(delimited(ROWS).encode())),
    "json lines": ("a.jsonl", lambda: lines(ROWS)),
    "json with gaps": ("a.json", lambda: "\ufeff" + lines(ROWS).replace("\n", "\n\n")),
    "compressed json": ("a.ndjson.gz", lambda: gzip.compress(lines(ROWS).encode())),
    "json array": ("a.json", lambda: json.dumps(ROWS)),
    "pretty json": ("a.json", lambda: "\ufeff\n" + json.dumps(ROWS, indent=2)),
    "parquet": ("a.parquet", lambda: parquet(ROWS)),
    "excel": ("a.xlsx", lambda: excel(ROWS)),
    "zip": ("a.zip", lambda: zipped(delimited(ROWS))),
    "zip of json": ("a.zip", lambda: zipped(json.dumps(ROWS), "b.json")),
    "zip of excel": ("A.ZIP", lambda: zipped(excel(ROWS), "b.xlsx")),
    "zip of parquet": ("a.zip", lambda: zipped(parquet(ROWS), "b.parquet")),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same(form, write):
    name, content = FORMS[form]
    path = write(content(), name)
    quoted = True if form.startswith("quoted") else None
    reviews = load_reviews(path, **COLUMNS, quoted=quoted)
    assert reviews.data.tolist() == [row["text"] for row in ROWS]
    assert reviews.target.tolist() == [4, 2, 1]
    assert np.issubdtype(reviews.target.dtype, np.integer)
    assert reviews.concepts["food"].fillna("-").tolist() == ["Positive", "-", "unknown"]
    assert reviews.concepts["food"].isna().tolist() == [False, True, False]
    assert reviews.ids.tolist() == ["007", "008", "009"]
    assert reviews.groups is None
    assert reviews.path == str(path)
    assert list(reviews.frame.columns) == ["text", "stars", "food"]
    for field in ("data", "target", "concepts", "frame"):
        assert reviews[field].index.equals(reviews.ids)


def test_least_it_needs(write):
    reviews = load_reviews(str(write("text\nGood\nBad\n")), label=None)
    assert reviews.data.tolist() == ["Good", "Bad"]
    assert reviews.ids.tolist() == ["row-1", "row-2"]
    assert reviews.target is None and reviews.concepts is None
    assert list(reviews.frame.columns) == ["text"]


def test_concepts_may_be_an_index_and_columns_any_order(write):
    path = write("b,label,unused,text,a\nx,1,?,Good,y\n")
    reviews = load_reviews(path, concepts=pd.Index(["a", "b"]))
    assert reviews.concepts.to_numpy().tolist() == [["y", "x"]]
    assert list(reviews.frame.columns) == ["text", "label", "a", "b"]
    assert load_reviews(path, concepts=[]).concepts is None


def test_group(write):
    path = write("text,label,city\nGood,1,Rome\nBad,0,Oslo\n")
    reviews = load_reviews(path, group="city")
    assert reviews.groups.tolist() == ["Rome", "Oslo"]
    assert list(reviews.frame.columns) == ["text", "label", "city"]


def test_encoding(write):
    path = write("text,label\ncafé,1\n", encoding="cp1252")
    assert load_reviews(path, encoding="cp1252").data.iloc[0] == "café"
    path = write("text,label\ncafé,1\n", encoding="utf-16")
    assert load_reviews(path, encoding="utf-16").data.iloc[0] == "café"


def test_text_is_kept_as_it_is(write):
    path = write('text,label\n"  Good\r\n",1\n007,1\nNA,1\nnan,1\n')
    assert load_reviews(path).data.tolist() == ["  Good\r\n", "007", "NA", "nan"]


@pytest.mark.parametrize(
    "cells, expected, kind",
    [
        (["1", "5", " 3 "], [1, 5, 3], "i"),
        (["1.0", "2.0", "-3"], [1, 2, -3], "i"),
        (["0.5", ".5", "1e-05"], [0.5, 0.5, 1e-5], "f"),
        (["1", "5 stars", "3"], ["1", "5 stars", "3"], "O"),
        (["007", "1", "2"], ["007", "1", "2"], "O"),
        (["yes", " no", "None"], ["yes", "no", "None"], "O"),
        (["inf", "1", "2"], ["inf", "1", "2"], "O"),
        (["1_000", "1", "2"], ["1_000", "1", "2"], "O"),
        (["١", "1", "2"], ["١", "1", "2"], "O"),
        (["9" * 16, "1", "2"], ["9" * 16, "1", "2"], "O"),
        (["True", "False", "True"], ["True", "False", "True"], "O"),
    ],
)
def test_kinds_of_labels(write, cells, expected, kind):
    rows = "".join(f"Good,{cell}\n" for cell in cells)
    target = load_reviews(write(f"text,label\n{rows}")).target
    assert target.tolist() == expected
    assert target.to_numpy().dtype.kind == kind or kind == "O" and target.dtype == "str"


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2, None], [1.0, 2.0, None]),
        ([0.5, 2, None], [0.5, 2.0, None]),
        ([True, False, None], ["True", "False", None]),
        ([2**60 + 1, 2, 3], [str(2**60 + 1), "2", "3"]),
        (["1", 2, None], [1.0, 2.0, None]),
        ([None, "", "NaN"], [None, None, None]),
        ([float("nan"), "x", "y"], [None, "x", "y"]),
    ],
)
def test_kinds_of_annotations_in_json(write, values, expected):
    rows = [{"text": 5, "label": 1.0, "score": value} for value in values]
    reviews = load_reviews(write(lines(rows), "a.jsonl"), concepts=["score"])
    assert [None if pd.isna(v) else v for v in reviews.concepts["score"]] == expected
    assert reviews.data.tolist() == ["5"] * 3
    assert reviews.target.dtype == np.int64


@pytest.mark.filterwarnings("ignore::skclif.exceptions.DataFileWarning")
@pytest.mark.parametrize(
    "na_values, missing",
    [
        (None, ["", "  ", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>"]),
        (["-", "-1"], ["", "  ", "-", "-1"]),
        ([-1], ["", "-1"]),
        ([], [""]),
    ],
)
def test_what_is_not_annotated(write, na_values, missing):
    words = ["unknown", "None", "none", "Negative", "na"]
    rows = [{"text": "Good", "label": 1, "food": word} for word in missing + words]
    path = write(delimited(rows))
    food = load_reviews(path, concepts=["food"], na_values=na_values).concepts["food"]
    assert food.isna().sum() == len(missing) and food[: len(missing)].isna().all()
    assert food[len(missing) :].tolist() == words


def test_absent_json_names_are_not_annotated(write):
    rows = [{"text": "a", "label": 1}]
    rows += [{"text": "b", "label": 2, "food": food} for food in ("x", "y")]
    path = write(lines(rows), "a.jsonl")
    food = load_reviews(path, concepts=["food"]).concepts["food"]
    assert food.isna().tolist() == [True, False, False]


# A text may hold anything but lone surrogates, which no encoding writes, and must hold
# something to read.
TEXTS = st.lists(
    st.text(st.characters(codec="utf-8")).filter(str.strip), min_size=1, max_size=5
)


@given(texts=TEXTS, separator=st.sampled_from(",;\t|"))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(texts, separator, write):
    rows = [{"text": text, "label": i} for i, text in enumerate(texts)]
    quoted = delimited(rows, separator, quoting=csv.QUOTE_ALL)
    given = separator == "\t" or None  # between tabs, quotes are part of the text
    for content, name in [(quoted, "a.csv"), (lines(rows), "a.jsonl")]:
        reviews = load_reviews(write(content, name), quoted=given)
        assert reviews.data.tolist() == texts
        assert reviews.target.tolist() == list(range(len(texts)))


# --------------------------------------------------------------------------------------
# Refusals

THREE = "text,label,food\nGood,1,x\nBad,2,y\nFine,3,z\n"


@pytest.mark.parametrize(
    "content, arguments, message",
    [
        # columns
        (
            "text;lable;food\nGood;1;x\n",
            {},
            r"no column 'label', asked for as the label\. Did you mean 'lable'\? "
            r"It has: 'text', 'lable', 'food'\.",
        ),
        (THREE, {"text": "Text"}, "no column 'Text', asked for as the text"),
        (THREE, {"concepts": ["x"]}, "no column 'x', asked for as a concept"),
        (THREE, {"id": "review_id"}, "'review_id', asked for as the identifier"),
        (THREE, {"group": "city"}, "no column 'city', asked for as the group"),
        ("text,label,label\nGood,1,2\n", {}, "has 2 columns named 'label'"),
        (
            THREE,
            {"concepts": ["food", "label"]},
            "'label' is asked for twice, as the label and as a concept",
        ),
        (THREE, {"concepts": ["food", "food"]}, "as a concept and as a concept"),
        # rows
        ("", {}, "reviews.csv is empty"),
        ("\n\n", {}, "reviews.csv is empty"),
        ("text,label\n", {}, "reviews.csv has columns but no rows"),
        (
            'text,label\n"Go\nod",1\nBad\n',
            {},
            r"row 2: 1 fields, but the header has 2 \(separated by ','\)",
        ),
        ("text,label\nGood, but slow,1\n", {}, "row 1: 3 fields.* in double quotes"),
        ('text,label\nGood,1\n"Bad,2\n', {}, "row 2: .*Is a double quote left open"),
        ('text,label\n"Go"od,1\n', {}, "row 1: .*not doubled inside a quoted field"),
        # cells
        (
            'text,label\n"Go\n\nod",1\n  ,2\n',
            {},
            r"reviews.csv, column 'text', row 2: the text is empty. \(Row 1 is the",
        ),
        ("text,label\nGood,1\nBad,\n", {}, "column 'label', row 2: no value"),
        ("text,label\nGood,1\nBad,NaN\n", {}, "column 'label', row 2: no value"),
        (
            "text,label\n" + "Good,\n" * 9,
            {},
            "column 'label', rows 1, 2, 3, 4, 5 and 4 more: no value",
        ),
        (
            "text,label,city\nGood,1,\n",
            {"group": "city"},
            "column 'city', row 1: no value",
        ),
        (
            "id,text,label\na,Good,1\n ,Bad,2\n",
            {"id": "id"},
            "column 'id', row 2: the identifier is empty",
        ),
        (
            "id,text,label\na,Good,1\nb,Bad,2\na ,Fine,2\n",
            {"id": "id"},
            "column 'id', rows 1, 3: the same identifier 'a'",
        ),
    ],
)
def test_refused_tables(write, content, arguments, message):
    with pytest.raises(DataFileError, match=message):
        load_reviews(write(content), **arguments)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "reviews.jsonl is empty"),
        (
            '{"text": "a", "label": 1}\n\n{"text"\n',
            "row 2 is not JSON: .*A file holds one",
        ),
        ('[["text"], ["a"]]', "row 1 is not a JSON object but a list"),
        ('[{"text": "a"}', "begins as a JSON array, but is none: .*line 1 column"),
        ('[{"text": "a"}] []', "begins as a JSON array, but is none: Extra data"),
        ("[1, 2]", "row 1 is not a JSON object but a int"),
        ("[]", "reviews.jsonl is empty"),
        (
            '{"text": "a", "text": "b"}',
            "row 1 is not JSON: it has the name 'text' twice",
        ),
        ('{"text": ["a"], "label": 1}', "column 'text', row 1: the column holds lists"),
        ('{"text": null, "label": 1}', "column 'text', row 1: the text is empty"),
        ('{"text": "a"}', r"no column 'label', .*It has: 'text'\."),
        ("[" * 100_000, "begins as a JSON array, but is none"),
        ('{"a": ' + "[" * 100_000, "row 1 is not JSON"),
    ],
)
def test_refused_json(write, content, message):
    with pytest.raises(DataFileError, match=message):
        load_reviews(write(content, "reviews.jsonl"))


def test_unknown_encoding(write):
    with pytest.raises(
        ValueError, match="The encoding 'utf-9' is not known to Python; try"
    ):
        load_reviews(write("text,label\nGood,1\n"), encoding="utf-9")


def test_half_a_character(write):
    path = write(
        '{"text": "ok", "label": 1}\n{"text": "\\ud800", "label": 2}\n', "a.jsonl"
    )
    with pytest.raises(DataFileError, match="row 2.*half a character"):
        load_reviews(path)


def test_refused_encoding(write):
    path = write("text,label\nGood,1\ncafé,2\n", encoding="cp1252")
    message = r"reviews.csv, line 3 of the file, is not written in 'utf-8'\. Name the "
    message += "encoding of the file with encoding=, for example cp1252"
    with pytest.raises(DataFileError, match=message) as caught:
        load_reviews(path)
    assert "with --encoding, for example cp1252" in caught.value.for_command
    with pytest.raises(DataFileError, match="reviews.csv is not written in 'utf-16'"):
        load_reviews(path, encoding="utf-16")
    path = write("text,label\ncafé,1\n", encoding="utf-16")
    with pytest.raises(DataFileError, match="encoding=, which begins like utf-16"):
        load_reviews(path)


def test_a_field_may_be_long(write):
    before = csv.field_size_limit()
    text = "a" * 200_000
    assert load_reviews(write(f"text,label\n{text},1\n")).data.tolist() == [text]
    assert csv.field_size_limit() == before


def test_a_long_header_is_not_shown_whole(write):
    message = "has no column 'text', .* It has: 'a{80}'"
    with pytest.raises(DataFileError, match=f"{message}. Name another"):
        load_reviews(write("a" * 200_000))


@pytest.mark.parametrize("name", ["a.docx", "reviews", "a.parquet.gz", "a.gz"])
def test_refused_suffix(write, name):
    message = r"the suffix .* is none of \.csv, \.tsv, \.txt, \.json, .*\.parquet"
    with pytest.raises(DataFileError, match=message):
        load_reviews(write(THREE, name))


@pytest.mark.parametrize("name", ["a.xls", "a.ods"])
def test_other_spreadsheets_are_to_be_saved_as_something_else(write, name):
    with pytest.raises(
        DataFileError, match=r"are not read; save it as \.xlsx or as CSV"
    ):
        load_reviews(write(THREE, name))


def test_refused_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file '.*absent.csv'"):
        load_reviews(tmp_path / "absent.csv")
    with pytest.raises(DataFileError, match="is a folder; name a file in it"):
        load_reviews(tmp_path)


@pytest.mark.parametrize("damage", [lambda b: b"no gzip", lambda b: b[:-9]])
def test_damaged_gzip(write, damage):
    path = write(damage(gzip.compress(os.urandom(99).hex().encode())), "a.csv.gz")
    with pytest.raises(DataFileError, match="is not a whole gzip file"):
        load_reviews(path)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"path": 3}, "'path' parameter"),
        ({"text": None}, "'text' parameter"),
        ({"incomplete": "drop"}, "'incomplete' parameter .* {'raise', 'skip'}|'skip'"),
        ({"quoted": "yes"}, "'quoted' parameter"),
        ({"empty": ["a"]}, "'empty' parameter"),
        ({"column_names": ["a"]}, "'column_names' parameter"),
        ({"sheet": 1}, "'sheet' parameter"),
        ({"split_by": 1}, "'split_by' parameter"),
        ({"time": 1}, "'time' parameter"),
        ({"concepts": "food"}, "'concepts' parameter .* must be an array-like or None"),
        ({"concepts": {"food": 1}.keys}, "'concepts' parameter"),
        ({"encoding": None}, "'encoding' parameter"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_reviews(**{"path": "reviews.csv", **arguments})


def test_refused_column_name(write):
    with pytest.raises(TypeError, match="named by a string; got 3 as a concept"):
        load_reviews(write(THREE), concepts=[3])


def test_damaged_parquet(write):
    pytest.importorskip("pyarrow")
    with pytest.raises(DataFileError, match="is not a Parquet file"):
        load_reviews(write("nothing of the kind", "a.parquet"))
    with pytest.raises(DataFileError, match="no column 'label'"):
        load_reviews(write(parquet([{"text": "a"}]), "a.parquet"))


def test_parquet_needs_pyarrow(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "skclif\[parquet\]"'):
        load_reviews(write("PAR1", "a.parquet"))
