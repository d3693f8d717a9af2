"""Files that are whole or as before, and tables that a spreadsheet may open."""

import csv
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from skclif._storage.cells import _HASH_COLUMNS, escape_cell, table_csv, unescape_cell
from skclif._storage.files import (
    folder_to_fill,
    sole_writer,
    sweep,
    wait_for_writer,
    write_together,
    write_whole,
)

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs signals of POSIX")
MANY = settings(max_examples=300, deadline=None, derandomize=True)


def _contents(folder):
    return {
        path.name: path.read_bytes() if path.is_file() else None
        for path in folder.iterdir()
    }


# --- All or none ----------------------------------------------------------------------


def test_files_are_written_together_and_nothing_else_is_left(tmp_path):
    (tmp_path / "b").write_bytes(b"old")
    contents = {"a": b"", "b": b"new", "c": bytes(100_000), "ü ñ": b"\0\r\n"}
    write_together(tmp_path, contents)
    assert _contents(tmp_path) == contents
    write_whole(tmp_path / "a", b"alone")
    assert _contents(tmp_path) == {**contents, "a": b"alone"}


def test_a_name_alone_is_a_file_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole(Path("here"), b"x")
    assert _contents(tmp_path) == {"here": b"x"}


@POSIX
def test_where_one_file_does_not_fit_all_stay_as_they_were(tmp_path):
    import resource

    before = {"a": b"old a", "c": b"old c"}
    write_together(tmp_path, before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(OSError, match="too large"):
            write_together(tmp_path, {"a": b"new", "b": b"new", "c": bytes(60_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert _contents(tmp_path) == before


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_where_a_folder_is_in_the_way_all_stay_as_they_were(tmp_path, name):
    (tmp_path / name).mkdir()
    others = {other: b"old" for other in "abc" if other != name}
    write_together(tmp_path, others)
    message = rf"{name} is a folder, where a file is to be written\. Rename or remove"
    with pytest.raises(IsADirectoryError, match=message):
        write_together(tmp_path, {"a": b"new", "b": b"new", "c": b"new"})
    assert _contents(tmp_path) == {**others, name: None}


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        write_whole(tmp_path / "none" / "file", b"")


def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    write_whole(tmp_path / "link", b"new")
    assert _contents(tmp_path) == {"other": b"other", "link": b"new"}


@POSIX
def test_a_process_that_is_killed_leaves_whole_files_and_parts_to_sweep(tmp_path):
    code = """if True:
        import os, sys
        from pathlib import Path
        from skclif._storage.files import write_together

        for _ in sys.stdin:
            child = os.fork()
            if not child:
                os.write(1, b"%d\\n" % os.getpid())
                for k in range(1_000_000):
                    content = b"%d" % (k % 10) * 300_000
                    write_together(Path(sys.argv[1]), {"a": content, "b": content})
            os.waitpid(child, 0)
            os.write(1, b"dead\\n")
    """
    write_together(tmp_path, {"a": b"0" * 300_000, "b": b"0" * 300_000})
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    rng, n_left = random.Random(0), 0
    with subprocess.Popen(command, **pipes) as process:
        for _ in range(40):
            process.stdin.write("go\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            n_left += len(list(tmp_path.iterdir())) > 2
            sweep(tmp_path)
            found = _contents(tmp_path)
            assert found.keys() == {"a", "b"}
            for content in found.values():
                assert len(content) == 300_000 and len(set(content)) == 1
        process.stdin.close()
    assert n_left


def test_only_what_is_left_of_writing_is_swept(tmp_path):
    names = ["a.part", ".hidden", "part", ".film.part", ".film.7.partial", "a.7.part"]
    write_together(tmp_path, dict.fromkeys(names, b"mine"))
    (tmp_path / ".model.safetensors.4711.part").write_bytes(b"left")
    sweep(tmp_path)
    assert _contents(tmp_path) == dict.fromkeys(names, b"mine")


# --- One writer -----------------------------------------------------------------------

HOLD = """if True:
    import sys, time
    from pathlib import Path
    from skclif._storage.files import sole_writer

    with sole_writer(Path(sys.argv[1])):
        print("mine", flush=True)
        time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        message = rf"Another skclif is writing to {tmp_path}\. Wait for it to end\."
        with pytest.raises(BlockingIOError, match=message), sole_writer(tmp_path):
            pytest.fail("two at once")
        (tmp_path / "elsewhere").mkdir()
        with sole_writer(tmp_path / "elsewhere"):
            pass
        other.kill()
        other.wait()
        assert (tmp_path / ".skclif.lock").exists()  # it could not remove that
        with sole_writer(tmp_path):
            pass
    assert _contents(tmp_path) == {"elsewhere": None}


def test_a_writer_that_failed_is_done(tmp_path):
    with pytest.raises(KeyError), sole_writer(tmp_path):
        raise KeyError
    with sole_writer(tmp_path):
        message = "Another skclif is writing to"
        with pytest.raises(BlockingIOError, match=message), sole_writer(tmp_path):
            pytest.fail("two at once")


def test_a_lock_leaves_nothing(tmp_path):
    with sole_writer(tmp_path), sole_writer(tmp_path / "file"):
        assert set(_contents(tmp_path)) == {".skclif.lock", ".file.lock"}
        (tmp_path / "file").touch()
    assert _contents(tmp_path) == {"file": b""}


def test_writers_that_wait_write_one_after_the_other(tmp_path):
    """One hidden file after the other is locked, waited for and removed."""
    code = """if True:
        import sys
        from pathlib import Path
        from skclif._storage.files import sole_writer

        path = Path(sys.argv[1])
        sys.stdin.readline()
        for _ in range(200):
            with sole_writer(path, wait=True):
                path.write_text(str(int(path.read_text()) + 1))
    """
    path = tmp_path / "count"
    path.write_text("0")
    command = [sys.executable, "-c", code, str(path)]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0, 0]
    assert _contents(tmp_path) == {"count": b"600"}


@pytest.mark.parametrize("path", ["none", "none/file"])
def test_a_lock_where_no_folder_is(path, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "none" / path
    with pytest.raises(FileNotFoundError, match="none"), sole_writer(path):
        pytest.fail("locked nothing")
    assert _contents(tmp_path) == {"file": b""}


def test_a_reader_waits_for_a_writer_but_not_for_long(tmp_path):
    path, lock = tmp_path / "file", tmp_path / ".file.lock"
    wait_for_writer(path)  # nobody writes
    writer = threading.Timer(0.1, lock.unlink)
    lock.touch()
    writer.start()
    start = time.monotonic()
    wait_for_writer(path)
    assert not lock.exists()
    assert time.monotonic() - start > 0.09
    writer.join()
    lock.touch()  # of a process that was killed
    start = time.monotonic()
    wait_for_writer(path)
    assert time.monotonic() - start > 0.9


def test_an_error_of_the_writer_is_not_taken_for_another_writer(tmp_path):
    error = BlockingIOError("the terminal cannot take more")
    with pytest.raises(BlockingIOError, match="the terminal"), sole_writer(tmp_path):
        raise error


# --- Cells ----------------------------------------------------------------------------

SIGNS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
NEAR = "' 0159.eE,\";ab\u00a0\u2028\u0661"
TEXTS = st.one_of(
    st.text(),
    # Near what is looked for, and much of it.
    st.text(st.sampled_from([*SIGNS, *NEAR]), max_size=8),
)


@pytest.mark.parametrize(
    "cell",
    [
        *SIGNS,
        *(f"{sign}A1" for sign in SIGNS),
        '=HYPERLINK("http://example.org","x")',
        "=cmd|' /C calc'!A0",
        "-2+3+cmd",
        "  =1+1",
        "\u00a0=1",
        "\n\n=1",
        "'=1",
        "' '=1",
        "'\t",
        "+-5",
        "-5\n",
        "-5.",
        "-\u0661",
        "=",
        "-",
    ],
)
def test_what_a_spreadsheet_could_run_gets_an_apostrophe(cell):
    assert escape_cell(cell) == f"'{cell}"
    assert unescape_cell(f"'{cell}") == cell


@pytest.mark.parametrize(
    "cell",
    [
        *("", " ", "a=1", "a@b.org", "it's", "'quoted'", "'", "5", "don't - ever"),
        *("-5", "+5", "-0.25", "-1e-07", "+1.5E+10", "007"),
        *(5, -5.5, None, True, np.float64(-1)),
    ],
)
def test_other_cells_stay_as_they_are(cell):
    assert escape_cell(cell) is cell
    if isinstance(cell, str):
        assert unescape_cell(cell) == cell


@MANY
@given(TEXTS)
@example("'-5")
@example("''-5")
@example("-5\n")
def test_every_text_comes_back_from_its_cell(text):
    cell = escape_cell(text)
    assert unescape_cell(cell) == text
    assert cell in (text, f"'{text}")
    if cell.lstrip().startswith(tuple(SIGNS)):
        float(cell)  # a number is all that may begin so


def _from_csv(content, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@MANY
@given(
    columns=st.dictionaries(
        TEXTS, st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=3
    )
)
def test_every_text_comes_back_from_a_table(columns, folder):
    assume(not set(_HASH_COLUMNS).intersection(columns))  # they get a prefix
    table = pd.DataFrame(columns, index=[5, 5, 1], dtype=object)
    header, *rows = _from_csv(table_csv(table), folder)
    assert [unescape_cell(name) for name in header] == list(columns)
    found = [[unescape_cell(cell) for cell in row] for row in rows]
    assert found == [list(row) for row in zip(*columns.values(), strict=True)]


@MANY
@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_are_written_in_full_and_left_alone(numbers):
    table = pd.DataFrame({"x": numbers, "y": np.arange(len(numbers)) - 5})
    lines = table_csv(table).decode().splitlines()
    assert lines[0] == '"x","y"'
    found = [[float(cell) for cell in line.split(",")] for line in lines[1:]]
    assert found == [[x, y - 5] for y, x in enumerate(numbers)]


def test_a_table_of_everything(tmp_path):
    table = pd.DataFrame(
        {
            "=name": ["=1+1", "-5", "@me"],
            "missing": [None, np.nan, "x"],
            "mixed": [-1.5, "-x", True],
            "category": pd.Categorical(["+a", "b", "+a"]),
            "text": pd.Series(["\t1", "ok", None], dtype="str"),
            "n": [-1, 2, 3],
        }
    )
    assert _from_csv(table_csv(table), tmp_path) == [
        ["'=name", "missing", "mixed", "category", "text", "n"],
        ["'=1+1", "", "-1.5", "'+a", "'\t1", "-1"],
        ["-5", "", "'-x", "b", "ok", "2"],
        ["'@me", "x", "True", "'+a", "", "3"],
    ]
    assert table.loc[0, "=name"] == "=1+1"  # as it was
    assert table_csv(table.iloc[:0]).count(b"\n") == 1


def test_a_folder_that_stays_empty_after_an_error_is_removed(tmp_path):
    place = tmp_path / "a" / "b"
    with pytest.raises(KeyError), folder_to_fill(place):
        assert place.is_dir()
        raise KeyError
    assert not (tmp_path / "a").exists()
    with pytest.raises(KeyError), folder_to_fill(place):
        (tmp_path / "a" / "note").touch()
        raise KeyError
    assert (tmp_path / "a" / "note").exists() and not place.exists()
    place.mkdir()
    with pytest.raises(KeyboardInterrupt), folder_to_fill(place):
        raise KeyboardInterrupt
    assert place.exists()  # it was there before
    with folder_to_fill(tmp_path / "c"):
        pass
    assert (tmp_path / "c").is_dir()
