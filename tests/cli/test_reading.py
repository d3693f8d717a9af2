"""Options that say how a file is read: what reaches the rows, and what is refused."""

import json
import warnings

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from skclif.cli.console import Console
from skclif.cli.reviews import how_read, read_reviews, reading, reading_texts

from .. import folders

TABLE = 'title\tbody\tstars\tfood\tlate\nA\tGood "soup"\t5\tgood\t1\n'
TABLE += "B\tBad\t1\t?\t\n\t\t3\tgood\t1\nC\tSo\t\tbad\t\nD\tSo\t5\tnone\t1\n"
OPTIONS = ["--text", "title", "--text", "body", "--label", "stars"]
OPTIONS += ["--concept", "food", "--concept", "late", "--missing", "?"]
OPTIONS += ["--missing", "none", "--empty", "late=0", "--skip-incomplete"]


def given(*arguments, of=None):
    """Return how a file is read with options, as a trail keeps it."""
    seen = {}

    @click.command()
    @(of or reading("", ""))
    def command(**options):
        seen.update(how_read(options))

    result = CliRunner().invoke(command, arguments)
    if result.exit_code:
        raise click.UsageError(result.stderr)
    return json.loads(json.dumps(seen))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text(TABLE)
    return path


def test_options_reach_the_rows(file, capsys):
    rows = read_reviews(file, given(*OPTIONS), Console(quiet=False))
    assert rows.texts.tolist() == [
        'title: A\nbody: Good "soup"',
        "title: B\nbody: Bad",
        "title: D\nbody: So",
    ]
    assert rows.labels.tolist() == [5, 1, 5]
    assert rows.concepts["food"].tolist() == ["good", None, None]
    assert rows.concepts["late"].tolist() == [1, 0, 1]
    said = capsys.readouterr().err.splitlines()
    assert "  3 rows, separated by tabs" in said
    assert "  2 incomplete rows left out: rows 3, 4" in said
    assert "  whole numbers: stars, late; words: food" in said
    assert "  without a value: 2 of food" in said


def test_what_is_said_is_said_to_people_only_if_not_quiet(file, capsys):
    file.write_text(TABLE.replace("bad", "Good"))
    console = Console(quiet=True)
    read_reviews(file, given(*OPTIONS[:-7], "--skip-incomplete"), console)
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("Warning: ") for line in said)
    assert "'?' (1 in 'food') is read as a value" in said[0]
    assert said[0].endswith("that there is no value, give --missing '?'.")
    assert console.warnings and "--empty late=0" in console.warnings[1]


def test_defaults_are_those_of_python(file):
    found = given()
    assert found == {
        "text": "text",
        "label": "label",
        "concepts": [],
        "id": None,
        "group": None,
        "encoding": "utf-8",
        "missing": [],
        "empty": {},
        "split_by": None,
        "time": None,
        "skip_incomplete": False,
        "quoted": None,
        "sheet": None,
        "annotators": None,
        "columns": {},
        "reading": "the second way: cells mean the same in every format",
    }
    assert given("--quoted")["quoted"] and given("--unquoted")["quoted"] is False
    found = given("--id", "x", of=reading_texts())
    assert (found["label"], found["id"], found["concepts"]) == (None, "x", [])


def test_a_file_without_a_header_and_a_sheet(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("1;a=b\n2;c\n")
    rows = read_reviews(path, given("--column", "1=label", "--column", "2=text"))
    assert rows.texts.tolist() == ["a=b", "c"] and rows.labels.tolist() == [1, 2]
    book = tmp_path / "r.xlsx"
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(book) as writer:
        for name, text in (("one", "a"), ("two", "b")):
            table = pd.DataFrame({"text": [text], "label": [1]})
            table.to_excel(writer, sheet_name=name, index=False)
    assert read_reviews(book, given("--sheet", "two")).texts.tolist() == ["b"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--empty", "late"], "'--empty': 'late' is not NAME=VALUE"),
        (["--empty", "late="], "'late=' is not NAME=VALUE"),
        (["--empty", "a=1", "--empty", "a=2"], "a=1, a=2: each column is named once"),
        (["--column", "text=1"], "'text=1' is not N=NAME: columns are numbered from 1"),
        (["--column", "0=text"], "'0=text' is not N=NAME: columns are numbered"),
        (["--column", "1=a", "--column", "1=b"], "1=a, 1=b: each column is named once"),
        (["--column", "1=a", "--column", "2=a"], "1=a, 2=a: each column is named once"),
    ],
)
def test_refused_options(arguments, message):
    with pytest.raises(click.UsageError) as caught:
        given(*arguments)
    assert message in " ".join(caught.value.message.split())


def test_old_options_mean_the_old_reading(tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text('text\tlabel\n"a\tb"\tTRUE\nc\ttrue\n')
    names = ("text", "label", "concepts", "id", "group", "encoding")
    old = {name: given()[name] for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = read_reviews(path, old)
    assert rows.texts.tolist() == ["a\tb", "c"]
    assert rows.labels.tolist() == ["TRUE", "true"]


@pytest.fixture
def command(tmp_path):
    """Run a command on content of a file; return what it refuses with."""

    def _command(content, *options, name="r.csv", command="audit"):
        path = tmp_path / name
        path.write_text(content)
        more = ["--out", tmp_path / "out"] if command == "audit" else ["--words-only"]
        return folders.run(command, path, *more, "--quiet", *options).stderr

    return _command


@pytest.mark.parametrize("which", ["audit", "baseline"])
@pytest.mark.parametrize(
    "content, options, said",
    [
        ("texts,label\na,1\n", [], "Name another with --text."),
        (
            "text,lab\na,1\n",
            [],
            "'label', asked for as the label. Did you mean 'lab'? It",
        ),
        ("text,label\n,1\na,2\n", [], "leave such rows out with --skip-incomplete."),
        ("text,label\na,1\nb,\nc,2\n", [], "column 'label', row 2: no value."),
        ("a,1\nb,2\n", [], "number the columns with --column."),
        ('text\tlabel\n"a\nb"\t1\n', [], "Use --quoted if fields are quoted."),
        (
            'text,label\n"a,1\nb",2\n',
            [],
            "Use --unquoted if quotes belong to the texts",
        ),
        (
            "text,label\na,1\n",
            ["--encoding", "utf-9"],
            "'utf-9' is not known to Python",
        ),
        (
            "text,label\na,1\n",
            ["--empty", "x=1"],
            "is for the column 'x', which is not",
        ),
        (
            "a,1\n",
            ["--column", "3=text"],
            "there is no column 3. --column counts from 1.",
        ),
        (
            'text,label,c\na,1,4.5\nb,2,"4,5"\n',
            ["--concept", "c"],
            "have different sig",
        ),
    ],
)
def test_errors_name_options(which, content, options, said, command):
    found = command(content, *options, command=which)
    assert found.startswith("Error: ") and said in found
    assert len(found.splitlines()) == 1
    for word in ("label=", "text=", "quoted=", "incomplete=", "column_names="):
        assert word not in found


def test_a_replay_reads_a_file_as_the_audit_did(tiny_encoder, tmp_path):
    table = folders.reviews(80).rename(columns={"review": "body", "stars": "label"})
    table["body"] = [
        text.replace("\n", " ").replace("\r", "") for text in table["body"]
    ]
    table["body"] = ['"' + text.replace("\t", " ") for text in table["body"]]
    table["late"] = ["1" if k % 3 else "" for k in range(len(table))]
    table.loc[5, "label"] = None  # incomplete
    table["food"] = table["food"].fillna("no majority").replace("", "no majority")
    file, out = tmp_path / "r.tsv", tmp_path / "out"
    file.write_text(
        "\n".join(
            "\t".join("" if pd.isna(c) else str(c).removesuffix(".0") for c in row)
            for row in [table.columns, *table.itertuples(index=False)]
        )
        + "\n"
    )
    options = ["--text", "city", "--text", "body", "--id", "review_id"]
    options += ["--concept", "food", "--concept", "late", "--empty", "late=0"]
    options += ["--missing", "no majority", "--skip-incomplete"]
    options += ["--max-mistakes", "1", "--long-text", "mean", "--model", tiny_encoder]
    result = folders.done("audit", file, *options, "--out", out)
    assert "1 incomplete row left out: row 6" in result.stderr
    run = json.loads((out / "run.json").read_text())
    assert run["options"]["missing"] == ["no majority"]
    assert run["options"]["text"] == ["city", "body"]
    assert run["options"]["reading"].startswith("the second way: cells mean the same")
    found = folders.done("replay", out, file)
    assert "Bit for bit" in found.stdout
    where = ["--text", "city", "--text", "body", "--id", "review_id", "--unquoted"]
    predicted = folders.done("predict", out, file, *where, "--model", tiny_encoder)
    assert len(pd.read_csv(pd.io.common.StringIO(predicted.stdout))) == len(table)
