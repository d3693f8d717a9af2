"""How a table is written: quotes, archives, workbooks, folders, and no header."""

import datetime
import gzip
import io
import os
import re
import sys
import warnings
import zipfile

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skclif._storage import sources
from skclif.datasets import load_reviews
from skclif.exceptions import DataFileError, DataFileWarning


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path."""

    def _write(content, name="r.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


def quiet(path, **options):
    """Read a file that says nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_reviews(path, **options)


def advice(error):
    """Return the two advices of an error or a warning: for Python and the command."""
    return str(error), error.for_command


# --- Quotes ---------------------------------------------------------------------------

BARE = ["text\tlabel", "plain\t1", '"Best soup\t1', "cold\t0", 'awful"\t0', "fine\t1"]


@pytest.mark.parametrize("name", ["r.tsv", "r.txt", "r.csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tabs_separate_fields_as_they_are_written(name, end, write):
    found = quiet(write(end.join(BARE) + end, name))
    assert found.data.tolist() == [line.split("\t")[0] for line in BARE[1:]]
    assert found.reading[0] == "5 rows, separated by tabs"


def test_tabs_with_quoted_fields_need_an_option(write):
    path = write('text\tlabel\n"Soup,\nthen ""fish"""\t1\n"a\tb"\t0\n', "r.tsv")
    with pytest.raises(
        DataFileError, match="row 1: 1 fields, but the header has 2 .*"
    ) as e:
        load_reviews(path)
    python, command = advice(e.value)
    assert "as it is written, without quotes" in python
    assert python.endswith("Pass quoted=True if fields are quoted.")
    assert command.endswith("Use --quoted if fields are quoted.")
    found = quiet(path, quoted=True)
    assert found.data.tolist() == ['Soup,\nthen "fish"', "a\tb"]
    assert "4 lines, because texts have line breaks" in found.reading[0]


def test_tabs_with_fields_that_look_quoted_are_named(write):
    path = write('text\tlabel\n"Soup ""hot"""\t1\nfish\t0\n"x"\t1\n', "r.tsv")
    with pytest.warns(
        DataFileWarning, match=r"in double quotes \(2\), which were"
    ) as w:
        assert load_reviews(path).data.tolist() == ['"Soup ""hot"""', "fish", '"x"']
    python, command = advice(w[0].message)
    assert "Pass quoted=True if" in python and "quoted=False if they belong" in python
    assert "Use --quoted if" in command and "--unquoted if they belong" in command
    assert quiet(path, quoted=True).data.tolist() == ['Soup "hot"', "fish", "x"]
    assert quiet(path, quoted=False).data.iloc[2] == '"x"'


def test_a_header_in_quotes_says_what_to_do(write):
    path = write('"text"\t"label"\n"a"\t"1"\n', "r.tsv")
    with pytest.raises(DataFileError, match="names are in double quotes") as caught:
        load_reviews(path)
    assert [a.rsplit("; ")[-1] for a in advice(caught.value)] == [
        "use quoted=True.",
        "use --quoted.",
    ]
    assert quiet(path, quoted=True).data.tolist() == ["a"]


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_an_open_quote_that_swallows_rows_is_refused(separator, write):
    lines = [line.replace("\t", separator) for line in BARE]
    path = write("\n".join(lines) + "\n")
    message = r"one row of several lines in row 2 \(lines 3 to 5\), and each"
    with pytest.raises(DataFileError, match=message) as caught:
        load_reviews(path)
    python, command = advice(caught.value)
    assert "Pass quoted=False if quotes belong to the texts, quoted=True if" in python
    assert "Use --unquoted if quotes belong to the texts, --quoted if" in command
    assert len(quiet(path, quoted=False).data) == 5
    assert len(quiet(path, quoted=True).data) == 3


def test_an_open_quote_in_a_file_without_a_header_is_refused(write):
    path = write('"Best soup,1\ncold,0\nawful",0\nfine,1\n,\n,\n')
    names = {1: "text", 2: "label"}
    with pytest.raises(DataFileError, match=r"in row 1 \(lines 1 to 3\), and each"):
        load_reviews(path, column_names=names)
    assert len(quiet(path, column_names=names, quoted=False).data) == 4


def test_an_open_quote_beside_texts_with_line_breaks_is_named(write):
    lines = [line.replace("\t", ",") for line in BARE]
    path = write("\n".join([*lines, '"two\nlines",1']) + "\n")
    with pytest.warns(DataFileWarning, match=r"in row 2 \(lines 3 to 5\), and each"):
        assert len(load_reviews(path).data) == 4


@pytest.mark.parametrize(
    "content",
    [
        'text,label\n"two\nlines",1\n"and, a comma",0\n',
        'n,text,label\n1,"good,\nbut late",1\n2,x,0\n',
        'text,label\n\n\n"two\n\nlines",1\n\nx,0\n',
        # Quotes around the header say that quotes enclose fields.
        '"text","label"\n"good,\nbut, late","1"\n"x","0"\n',
    ],
)
def test_line_breaks_in_texts_are_stated_only(content, write):
    found = quiet(write(content))
    assert len(found.data) == 2 and "because texts have line breaks" in found.reading[0]


def test_strict_quotes_name_the_option(write):
    path = write('text,label\n"Go"od,1\n')
    with pytest.raises(DataFileError, match="row 1: .*Pass quoted=False if") as caught:
        load_reviews(path)
    assert caught.value.for_command.endswith(
        "Use --unquoted if quotes belong to the texts."
    )
    assert load_reviews(path, quoted=False).data.tolist() == ['"Go"od']
    with pytest.raises(DataFileError, match="not doubled inside a quoted field.$"):
        load_reviews(path, quoted=True)


@given(texts=st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_line_survives_between_tabs(texts, write):
    texts = ["a" + re.sub(r"[\t\r\n]", " ", text) + "b" for text in texts]
    content = "".join(f"{text}\t{i}\n" for i, text in enumerate(texts))
    assert quiet(write("text\tlabel\n" + content, "r.tsv")).data.tolist() == texts


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"'])
def test_a_line_that_names_the_separator_is_no_row(first, write):
    path = write(f'{first}\r\ntext;label\r\n"Good, or\r\nso";1\r\nx;2\r\n')
    found = quiet(path)
    assert found.data.tolist() == ["Good, or\r\nso", "x"]
    assert "separated by semicolons" in found.reading[0]
    found = quiet(write("sep=,\n1,a\n2,b\n"), column_names={2: "text"}, label=None)
    assert found.data.tolist() == ["a", "b"]
    assert quiet(write("sep=x\na\n"), text="sep=x", label=None).data.tolist() == ["a"]


@pytest.mark.parametrize("tail", ["\n,,\n,,\n", "\n\n\n"])
def test_empty_rows_that_spreadsheets_leave_at_the_end_are_none(tail, write):
    assert len(quiet(write("text,label,n\na,1,2\nb,2,3" + tail)).data) == 2
    with pytest.raises(DataFileError, match="row 2: the text is empty"):
        load_reviews(write("text,label,n\na,1,2\n,,\nb,2,3\n"))


# --- Incomplete rows, several texts, no header ----------------------------------------

GAPS = "id,text,label,g,x\na,Good,1,u,p\n,,2,u,p\nc,Bad,NA,u,\nd,Fine,1,,q\n"
GAPS += "e,Ok,2,v,\nf,So,1,v,q\n"


@pytest.mark.parametrize(
    "given, problem",
    [
        ({}, "column 'text', row 2: the text is empty"),
        ({"text": "id", "id": None}, "column 'id', row 2: the text is empty"),
        ({"text": "x", "label": "x2"}, "column 'x2', rows 2, 4: no value"),
        ({"text": "x", "label": "x3", "group": "g"}, "column 'g', row 4: no value"),
    ],
)
def test_incomplete_rows_are_refused_with_the_option_that_helps(given, problem, write):
    lines = ["x,x2,x3," + GAPS.split()[0].replace(",x", ",y")]
    x2 = ["p", "", "p", "NA", "q", "q"]
    lines += [f"p,{a},p,{line}" for a, line in zip(x2, GAPS.split()[1:], strict=True)]
    with pytest.raises(DataFileError, match=problem) as caught:
        load_reviews(write("\n".join(lines)), **given)
    python, command = advice(caught.value)
    assert python.endswith("leave such rows out with incomplete='skip'.")
    assert command.endswith("leave such rows out with --skip-incomplete.")


def test_incomplete_rows_can_be_left_out(write):
    path = write(GAPS)
    found = quiet(path, id="id", group="g", concepts=["x"], incomplete="skip")
    # The row without an identifier is one of those that are left out.
    assert found.ids.tolist() == ["a", "e", "f"]
    assert found.concepts["x"].isna().tolist() == [False, True, False]
    assert found.reading[1] == "3 incomplete rows left out: rows 2, 3, 4"
    assert quiet(path, incomplete="skip").ids.tolist() == [
        f"row-{number}" for number in (1, 4, 5, 6)
    ]
    complete = write("text,label\na,1\nb,2\n")
    assert len(quiet(complete, incomplete="skip").reading) == 2


def test_a_file_of_incomplete_rows_is_refused(write):
    message = "every row lacks the text or the label"
    with pytest.raises(DataFileError, match=message):
        load_reviews(write("text,label\n,1\na,\n"), incomplete="skip")


def test_several_texts_are_joined_with_their_names(write):
    path = write("title,body,n,label\nA,Good\u00a0soup,1,x\n ,Bad,2,y\n,,,z\n")
    found = quiet(path, text=["title", "body"], incomplete="skip")
    assert found.data.tolist() == ["title: A\nbody: Good\u00a0soup", "body: Bad"]
    assert (
        found.data.name == "title + body" and found.frame.columns[0] == "title + body"
    )
    assert quiet(path, text=["body"], incomplete="skip").data.iloc[1] == "Bad"
    with pytest.raises(
        DataFileError, match="'title' is asked for twice, as the text and"
    ):
        load_reviews(path, text=["title", "title"])
    with pytest.raises(TypeError, match="named by a string; got 3 as the text"):
        load_reviews(path, text=["title", 3])
    with pytest.raises(ValueError, match="text must name a column at least"):
        load_reviews(path, text=[])


@pytest.mark.parametrize(
    "content, name",
    [
        ("1,a,Good\n2,b,Bad\n", "r.csv"),
        ("1\ta\tGood, hot, late\n2\tb\tBad, so bad\n", "r.tsv"),
        ("1\ta\tGood, hot, late\n2\tb\tBad\n", "r.txt"),
        ("1;a;Good, hot\n2;b;Bad, cold\n", "r.csv"),
    ],
)
def test_a_file_without_a_header(content, name, write):
    found = quiet(write(content, name), column_names={1: "label", 3: "text"})
    assert found.target.tolist() == [1, 2]
    assert [text[:3] for text in found.data] == ["Goo", "Bad"]
    assert found.ids.tolist() == ["row-1", "row-2"]


def test_lines_of_text_are_a_table_of_one_column(write):
    lines = ["Good, but late", "Bad; cold", "Long | wait, so long"]
    found = quiet(
        write("\n".join(lines), "r.txt"), column_names={1: "text"}, label=None
    )
    assert found.data.tolist() == lines
    path = write("\n".join(["Good, but late", "Bad, cold"]), "r.txt")
    found = quiet(path, column_names={1: "text"}, label=None)
    assert found.data.tolist() == ["Good, but late", "Bad, cold"]
    found = quiet(path, column_names={1: "text", 2: "label"})
    assert found.data.tolist() == ["Good", "Bad"]


def test_a_file_without_a_header_says_so(write):
    path = write("1,a,Good\n2,b,Bad\n")
    with pytest.raises(DataFileError, match="first row is no header, number") as caught:
        load_reviews(path)
    assert [a.rsplit(" ", 1)[1] for a in advice(caught.value)] == [
        "column_names=.",
        "--column.",
    ]
    with pytest.raises(DataFileError, match="has 3 columns; there is no column 4"):
        load_reviews(path, column_names={1: "label", 4: "text"})
    with pytest.raises(DataFileError, match="no column 'label'.*It has: 'column 1', "):
        load_reviews(path, column_names={3: "text"})
    with pytest.raises(DataFileError, match="r.csv is empty"):
        load_reviews(write(""), column_names={1: "text"}, label=None)
    with pytest.raises(DataFileError, match="row 2: 1 fields, but row 1 has 2"):
        load_reviews(write("1,a\n2\n"), column_names={1: "label", 2: "text"})
    json = write('{"text": "a", "label": 1}', "r.json")
    with pytest.raises(DataFileError, match="a .json file names its columns itself"):
        load_reviews(json, column_names={1: "text"})
    with pytest.raises(DataFileError, match="Name another with text=.$"):
        load_reviews(json, text="x", label=None)


@pytest.mark.parametrize(
    "names, message",
    [
        ({0: "text"}, r"from 1, to names, such as .*got 0: 'text'"),
        ({True: "text"}, "got True: 'text'"),
        ({"1": "text"}, "got '1': 'text'"),
        ({1: ""}, "got 1: ''"),
        ({1: "text", 2: "text"}, "names two columns alike"),
    ],
)
def test_refused_numbers_of_columns(names, message, write):
    with pytest.raises(ValueError, match=message):
        load_reviews(write("a,b\n"), column_names=names)


# --- Archives -------------------------------------------------------------------------

TABLE = "text,label\na,1\nb,2\n"


def archive(**contents):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in contents.items():
            opened.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (archive(), "must hold one file, the table; it holds 0: none. Unpack it"),
        (archive(a_csv=TABLE, b_csv=TABLE), "it holds 2: 'a.csv', 'b.csv'. Unpack"),
        (archive(a_docx=TABLE), r"r.zip \(a.docx\): the suffix"),
        (archive(a_csv="text,lable\na,1\n"), r"r.zip \(a.csv\) has no column 'label'"),
        (archive(a_csv=TABLE)[:-30], "is not a whole zip file"),
        (archive(a_csv=TABLE * 9).replace(TABLE[:4].encode(), b"TEXT"), None),
        (b"no archive", "r.zip is not a whole zip file"),
    ],
    # An archive holds the time, and names of tests must be the same in all processes.
    ids=["none", "two", "suffix", "column", "cut", "altered", "no archive"],
)
def test_refused_archives(content, message, write):
    path = write(content, "r.zip")
    if message is None:
        content = bytearray(content)
        content[45] ^= 255  # in the middle of what is compressed
        path, message = write(bytes(content), "r.zip"), "r.zip"
    with pytest.raises(DataFileError, match=message):
        load_reviews(path)


def test_an_archive_with_a_password_is_to_be_unpacked(write):
    content = bytearray(archive(a_csv=TABLE))
    for start in (6, content.index(b"PK\x01\x02") + 8):
        content[start] |= 1  # the flag of encryption
    with pytest.raises(DataFileError, match="protected by a password. Unpack it first"):
        load_reviews(write(bytes(content), "r.zip"))


@pytest.mark.parametrize("kind", ["zip", "gz", "xlsx"])
def test_what_would_fill_the_memory_is_refused(kind, write, monkeypatch):
    monkeypatch.setattr(sources, "_SMALL", 2**16)
    text = "text,label\n" + "a" * 2**20 + ",1\n"
    if kind == "xlsx":
        content = archive(xl_xml=text)
    else:
        content = archive(a_csv=text) if kind == "zip" else gzip.compress(text.encode())
    name = f"r.csv.{kind}" if kind == "gz" else f"r.{kind}"
    path = write(content, name)
    message = r"unpacks to .* GiB or more, .* times its size. At most 4 GiB, and 200"
    with pytest.raises(DataFileError, match=message):
        load_reviews(path)
    monkeypatch.setattr(sources, "_SMALL", 2**28)
    if kind != "xlsx":
        assert len(load_reviews(path).data.iloc[0]) == 2**20
    monkeypatch.setattr(sources, "_LARGEST", 2**10)
    with pytest.raises(DataFileError, match="unpacks to"):
        load_reviews(path)


# --- Workbooks ------------------------------------------------------------------------


@pytest.fixture
def workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")

    def _workbook(*sheets, hidden=()):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for number, rows in enumerate(sheets, 1):
            sheet = book.create_sheet(f"Sheet {number}")
            sheet.sheet_state = "hidden" if number in hidden else "visible"
            for row in rows:
                sheet.append(row)
        path = tmp_path / "r.xlsx"
        book.save(path)
        return path

    return _workbook


ROWS = [["text", "label", "n"], ["Good", "x", 1], ["Bad", "y", None], ["So", "x", 2]]


def test_a_sheet_is_chosen(workbook):
    found = quiet(workbook(ROWS), concepts=["n"])
    assert found.reading[0] == "3 rows, from the sheet 'Sheet 1'"
    assert found.concepts["n"].isna().tolist() == [False, True, False]
    other = [ROWS[0], ["Other", "z", 1]]
    path = workbook(ROWS, other)
    with pytest.raises(
        DataFileError, match="2 sheets. It has: 'Sheet 1', 'S"
    ) as caught:
        load_reviews(path)
    assert str(caught.value).endswith("Name one with sheet=.")
    assert caught.value.for_command.endswith("Name one with --sheet.")
    assert load_reviews(path, sheet="Sheet 2").data.tolist() == ["Other"]
    with pytest.raises(
        DataFileError, match="has no sheet 'Sheet 3'. It has: 'Sheet 1'"
    ):
        load_reviews(path, sheet="Sheet 3")
    assert len(load_reviews(workbook(ROWS, other, hidden=[2])).data) == 3
    assert load_reviews(path, sheet="Sheet 1").data.tolist() == ["Good", "Bad", "So"]


def test_a_sheet_of_something_else_is_refused(write):
    with pytest.raises(DataFileError, match="no sheets. Leave out sheet=.") as caught:
        load_reviews(write("text,label\na,1\n"), sheet="one")
    assert caught.value.for_command.endswith("Leave out --sheet.")


def test_rows_and_columns_around_a_table_are_left_out(workbook):
    empty = [None] * 4
    rows = [empty, [*ROWS[0], None], *ROWS[1:], empty, empty]
    assert quiet(workbook(rows)).data.tolist() == ["Good", "Bad", "So"]
    with pytest.raises(DataFileError, match="column 'text', row 2: the text is empty"):
        load_reviews(workbook([*ROWS[:2], empty, ROWS[2]]))


def test_a_workbook_without_a_header(workbook):
    found = quiet(workbook(ROWS[1:]), column_names={1: "text", 2: "label"})
    assert found.data.tolist() == ["Good", "Bad", "So"]
    with pytest.raises(DataFileError, match="r.xlsx is empty"):
        load_reviews(workbook([]), column_names={1: "text"})
    with pytest.raises(DataFileError, match="r.xlsx is empty"):
        load_reviews(workbook([]))
    with pytest.raises(DataFileError, match="has columns but no rows"):
        load_reviews(workbook(ROWS[:1]))


def test_dates_in_a_workbook_are_times_only(workbook):
    day = datetime.datetime(2026, 1, 2)
    path = workbook([["text", "label", "d"], ["a", "x", day], ["b", "y", day]])
    with pytest.raises(DataFileError, match="column 'd', rows 1, 2: a date or time"):
        load_reviews(path, concepts=["d"])
    assert (load_reviews(path, time="d").times == day).all()


@pytest.mark.parametrize("named", [False, True])
def test_formulas_without_a_value_are_refused(named, workbook):
    rows = [["text", "label"], ["a", "x"], ["b", None], ["c", '=IF(1,"y")']]
    path = workbook(rows[named:])
    given = {"column_names": {1: "text", 2: "label"}} if named else {}
    message = (
        r"""column 'label', row 3: the formula '=IF\(1,"y"\)' has no stored value"""
    )
    with pytest.raises(DataFileError, match=message):
        load_reviews(path, **given, incomplete="skip")
    assert len(load_reviews(path, **given, label=None).data) == 3


def test_what_is_no_workbook_is_refused(write, monkeypatch):
    pytest.importorskip("openpyxl")
    for content in ("text", archive(a_csv=TABLE)):
        with pytest.raises(
            DataFileError, match="is not a workbook of Excel.*Save it as"
        ):
            load_reviews(write(content, "r.xlsx"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r'pip install "skclif\[excel\]"'):
        load_reviews(write("PK", "r.xlsx"))


# --- Folders of Parquet files ---------------------------------------------------------


def _parts(folder, *tables):
    pytest.importorskip("pyarrow")
    for number, columns in enumerate(tables):
        pd.DataFrame(columns).to_parquet(folder / f"part-{number}.parquet")


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    _parts(
        tmp_path,
        {"text": ["a", "b"], "label": [1, 2]},
        {"label": [3], "more": [0], "text": ["c"]},
    )
    (tmp_path / "_SUCCESS").touch()
    found = quiet(tmp_path)
    assert found.data.tolist() == ["a", "b", "c"] and found.target.tolist() == [1, 2, 3]
    assert found.reading[0] == "3 rows, from part-0.parquet, part-1.parquet"


def test_refused_folders(tmp_path):
    with pytest.raises(
        DataFileError, match="is a folder; name a file in it. A folder is"
    ):
        load_reviews(tmp_path)
    _parts(tmp_path, {"text": ["a"], "label": [1]}, {"text": ["b"], "label": ["x"]})
    message = "part-1.parquet: the column 'label' is .*string, but int64 in .*part-0"
    with pytest.raises(DataFileError, match=message):
        load_reviews(tmp_path)
    _parts(tmp_path, {"text": ["a"], "label": [1]}, {"text": ["b"]})
    with pytest.raises(DataFileError, match="part-1.parquet has no column 'label'"):
        load_reviews(tmp_path)
    (tmp_path / "part-1.parquet").write_bytes(b"nothing")
    with pytest.raises(DataFileError, match="part-1.parquet is not a Parquet file"):
        load_reviews(tmp_path)
    os.mkdir(tmp_path / "split=train")
    with pytest.raises(
        DataFileError, match="is divided by values of a column .*Name one"
    ):
        load_reviews(tmp_path)
