"""Which errors of a command are one line, and which show their traceback."""

import re
import subprocess
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner

import skclif.datasets
from skclif._pages.words import number
from skclif._storage.files import write_whole
from skclif._storage.tables import check_encoding
from skclif.cli import main
from skclif.cli.command import is_mendable
from skclif.cli.options import Penalty
from skclif.datasets import load_reviews

BUGS = [TypeError, AttributeError, KeyError, IndexError, ValueError, RuntimeError]


def _audit(tmp_path, *more):
    """Run an audit of a file that does not have the columns asked for."""
    file = tmp_path / "reviews.csv"
    file.write_text("review,stars\nGood,5\n", encoding="utf-8")
    arguments = ["audit", str(file), "--out", str(tmp_path / "out"), "--quiet", *more]
    return CliRunner().invoke(main, arguments)


def _inject(monkeypatch, error):
    def load_reviews(*arguments, **options):
        raise error

    monkeypatch.setattr(skclif.datasets, "load_reviews", load_reviews)


def test_an_error_that_can_be_mended_is_one_line(tmp_path):
    result = _audit(tmp_path)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert re.match("Error: .*reviews.csv has no column 'text'", line)


def test_traceback_shows_where_it_comes_from(tmp_path):
    result = _audit(tmp_path, "--traceback")
    assert result.exit_code == 1
    first, *_, last = result.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert "in read_table" in result.stderr
    assert re.match("Error: .*reviews.csv has no column 'text'", last)


def test_traceback_of_an_error_of_the_command_itself(tmp_path):
    (tmp_path / "out").touch()
    for more, is_shown in ([], False), (["--traceback"], True):
        result = _audit(tmp_path, *more)
        assert result.exit_code == 1
        assert ("Traceback" in result.stderr) == is_shown
        assert re.match(
            "Error: --out .* is a file; name", result.stderr.splitlines()[-1]
        )


@pytest.mark.parametrize("more", [[], ["--traceback"]])
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_not_made_a_message(bug, more, tmp_path, monkeypatch):
    _inject(monkeypatch, bug("this is a bug"))
    result = _audit(tmp_path, *more)
    assert type(result.exception) is bug  # Python prints it
    assert result.exit_code == 1
    assert result.stderr == ""


def test_a_bug_shows_its_traceback(tmp_path):
    program = (
        "import sys, skclif.datasets\n"
        "from skclif.cli import main\n"
        "skclif.datasets.load_reviews = lambda *a, **o: {}['this is a bug']\n"
        f"main(['audit', 'reviews.csv', '--out', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert "Traceback (most recent call last):" in lines
    assert lines[-1] == "KeyError: 'this is a bug'"


def test_every_command_has_the_option():
    for name, command in main.commands.items():
        result = CliRunner().invoke(main, [name, "--help"])
        assert "--traceback" in result.stdout, name
        assert [p.name for p in command.params].count("traceback") == 1


def _missing_module():
    import skclif.nothing_like_this  # noqa: F401


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda path: load_reviews(path / "none.csv"), True),
        (lambda path: load_reviews(path), True),
        (lambda path: check_encoding("utf-9"), True),
        (lambda path: write_whole(path / "none" / "file", b""), True),
        (lambda path: path.read_bytes(), True),
        (lambda path: click.IntRange(0, 1).convert("2", None, None), True),
        # A type is chosen by a program, never by a user of the command line.
        (lambda path: load_reviews(path / "a.csv", concepts=[3]), False),
        # In code of skclif, but not said by it.
        (lambda path: number("a word"), False),
        (lambda path: np.zeros(2) + np.zeros(3), False),
        (lambda path: int("a word"), False),
        (lambda path: _missing_module(), False),
        (lambda path: {}["a key"], False),
    ],
)
def test_what_can_be_mended(call, expected, tmp_path):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of every kind
        call(tmp_path)
    assert is_mendable(caught.value) is expected


def test_a_missing_extra_can_be_mended(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ImportError, match="skclif\\[parquet\\]") as caught:
        load_reviews(tmp_path / "a.parquet")
    assert is_mendable(caught.value)
    assert not is_mendable(caught.value.__cause__)  # pyarrow is not there


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_numbers_are_finite(number, tmp_path):
    result = _audit(tmp_path, "--test-size", number)
    assert result.exit_code == 2
    said = "is not a finite number" if number == "nan" else "not in the range"
    assert f"'--test-size': {number}" in result.stderr.replace("'nan'", "nan")
    assert said in result.stderr


def test_auto_is_read_in_any_capitals():
    for word in ("auto", "AUTO", " Auto"):
        assert Penalty().convert(word, None, None) == "auto"
    assert Penalty().convert("1e-3", None, None) == 1e-3
