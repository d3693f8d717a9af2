"""Bars of long work: when they appear, what they say, and that they go again."""

import io
import re

import numpy as np
import pytest
from tqdm import tqdm

from skclif._inputs import progress
from skclif._inputs.progress import (
    SILENT,
    Progress,
    can_draw_again,
    check_verbose,
    counted,
)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only its owner moves."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(progress, "can_draw_again", lambda stream: True)
    return now


@pytest.mark.parametrize("silent", [Progress(0), Progress(False), SILENT])
def test_nothing_is_shown_unless_asked_for(silent, bars, capfd):
    with silent.stage("Counting", 3) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")


def test_a_bar_appears_after_two_seconds_and_is_removed(clock, capsys):
    with Progress(1).stage("Counting", 4) as advance:
        for _ in range(4):
            clock[0] += 0.9
            advance(1)
            shown = capsys.readouterr().err
            assert ("Counting" in shown) == (clock[0] > 1002)
    assert re.fullmatch(r"\r +\r", capsys.readouterr().err)


def test_the_time_left_is_that_of_the_steps_that_are_left(clock, capsys):
    with Progress(True).stage("Counting", 400) as advance:
        for _ in range(3):
            clock[0] += 60
            advance(100)
        assert re.search(r"75%.* 300/400 \[03:00<01:00\]", capsys.readouterr().err)


def test_short_work_shows_nothing(clock, capsys):
    with Progress(1).stage("Counting", 4) as advance:
        clock[0] += 1.9
        advance(4)
    assert capsys.readouterr().err == ""


def test_two_seconds_are_those_of_all_stages(clock, capsys):
    shown = Progress(1)
    with shown.stage("First", 1):
        clock[0] += 1.5
    with shown.stage("Second", 2) as advance:
        clock[0] += 1
        advance(1)
    frames = capsys.readouterr().err
    assert "First" not in frames
    assert "Second:  50%" in frames


@pytest.fixture
def file_clock(clock, monkeypatch):
    """The same, where stderr is a file."""
    monkeypatch.setattr(progress, "can_draw_again", can_draw_again)
    return clock


def test_in_a_file_a_stage_is_one_line(file_clock, capsys):
    shown = Progress(1)
    with shown.stage("First", 4) as advance:
        file_clock[0] += 1.9
        advance(4)
    with shown.stage("Second", 2000) as advance:
        for _ in range(4):
            file_clock[0] += 30
            advance(500)
        assert capsys.readouterr().err == ""
    with shown.stage("Solving", unit="Newton steps") as advance:
        advance(3)
    assert capsys.readouterr().err == (
        "Second: 2,000 steps in 02:00\nSolving: 3 Newton steps in 00:00\n"
    )


def test_in_a_file_a_line_can_have_a_rate(file_clock, capsys):
    with Progress(1).stage("Embedding", 9000, "texts", with_rate=True) as advance:
        file_clock[0] += 3
        advance(6000)
    said = capsys.readouterr().err
    assert said == "Embedding: 6,000 texts in 00:03, 2,000 texts a second\n"


def test_a_bar_with_a_rate_counts_no_earlier_steps_and_stays(clock, capsys):
    options = {"n_known": 300, "with_rate": True}
    with Progress(1).stage("Embedding", 400, "texts", **options) as advance:
        for _ in range(2):
            clock[0] += 5
            advance(50)
    last = capsys.readouterr().err.split("\r")[-1]
    assert re.search(r"100%.* 400/400 \[00:10<00:00, 10.00 texts/s\]\n$", last)


def test_in_a_file_a_stage_that_fails_says_nothing(file_clock, capsys):
    with pytest.raises(RuntimeError), Progress(1).stage("Counting", 2) as advance:
        file_clock[0] += 9
        advance(1)
        raise RuntimeError
    assert capsys.readouterr().err == ""


def test_bars_are_drawn_at_terminals_and_in_notebooks():
    cell = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})
    terminal = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})
    assert can_draw_again(cell()) and can_draw_again(terminal())
    assert not can_draw_again(io.StringIO())


def test_without_any_stderr_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", None)
    with Progress(1).stage("Counting", 2) as advance:
        advance(2)


def test_where_nobody_knows_the_end_steps_are_counted(clock, capsys):
    with Progress(1).stage("Solving", unit="Newton steps") as advance:
        for _ in range(3):
            clock[0] += 5
            advance(1)
        assert "Solving: 3 Newton steps [00:15]" in capsys.readouterr().err


def test_the_last_small_block_is_drawn_too(bars):
    with Progress(1).stage("Counting", 300) as advance:
        advance(256)
        advance(44)
    assert bars() == [("Counting", 300, 300)]


def test_a_bar_goes_when_the_work_fails(bars, capfd):
    def fail():
        with Progress(1).stage("Counting", 2) as advance:
            advance(1)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert re.search(r"\r +\r$", capfd.readouterr().err)
    assert not list(getattr(tqdm, "_instances", ()))


def test_an_item_counts_when_the_next_is_asked_for():
    steps = []
    items = counted(["a", "b"], steps.append)
    assert next(items) == "a" and not steps
    assert list(items) == ["b"] and steps == [1, 1]


@pytest.mark.parametrize("verbose", [0, 3, True, False, np.int64(1), np.bool_(True)])
def test_usual_values_of_verbose(verbose):
    check_verbose(verbose)


@pytest.mark.parametrize("verbose", [-1, 0.5, "yes", None, [1]])
def test_unusual_values_of_verbose(verbose):
    with pytest.raises(ValueError, match="verbose=.* must be True, False or a whole"):
        check_verbose(verbose)
