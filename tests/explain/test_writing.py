"""Influence that is written to a folder: the same numbers, whatever ends a call."""

import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain import writing
from skclif._explain.passes import Pass
from skclif._storage.files import sole_writer
from skclif.exceptions import DataFileError
from skclif.targets import from_function, worst_group_loss

from ..privileges import open_folder, read_only

N_ROWS, N_TARGETS = 120, 6


@pytest.fixture(scope="module")
def explainer():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 5))
    concepts = np.where(X[:, :2] + 0.3 * rng.normal(size=(N_ROWS, 2)) > 0, "yes", "no")
    y = (X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=N_ROWS) > 0).astype(int)
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="first_order"
    )
    return explainer.fit(X, y, concepts=concepts)


@pytest.fixture(scope="module")
def asked():
    rng = np.random.default_rng(1)
    return rng.normal(size=(N_TARGETS, 5)), np.arange(N_TARGETS) % 2


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Have four pieces of the influence on all targets, and blocks of targets."""
    monkeypatch.setattr(writing, "_UNIT", 16)
    monkeypatch.setattr(writing, "_PIECE", 2 * 16 * N_TARGETS)


def _with(explainer, method):
    other = pickle.loads(pickle.dumps(explainer))
    return other.set_params(method=method)


def test_what_killed_writers_left_is_removed(explainer, asked, tmp_path):
    (tmp_path / ".record.safetensors.12.part").write_bytes(b"half")
    explainer.influence(*asked, top=2, out=tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["record.safetensors", "rows.npy", "values.npy"]


CALLS = [
    ("first_order", {}),
    ("first_order", {"paths": True}),
    ("first_order", {"top": 5, "paths": True}),
    ("first_order", {"reduce": "mean"}),
    ("leverage", {"paths": True}),
    ("newton", {}),
    ("auto", {"top": 3}),
]


@pytest.mark.parametrize(("method", "call"), CALLS)
def test_a_folder_holds_the_same_numbers(explainer, asked, tmp_path, method, call):
    explainer = _with(explainer, method)
    expected = explainer.influence(*asked, **call)
    for _ in range(2):  # the second call reads them
        result = explainer.influence(*asked, out=tmp_path / "out", **call)
        scale = np.abs(expected.values).max()
        np.testing.assert_allclose(result.values, expected.values, atol=1e-10 * scale)
        assert isinstance(result.values, np.memmap)
        assert not result.values.flags.writeable
        assert (result.method, result.paths) == (expected.method, expected.paths)
        if expected.rows is not None:
            np.testing.assert_array_equal(result.rows, expected.rows)
    stored = np.load(tmp_path / "out" / "values.npy", mmap_mode="r")
    np.testing.assert_array_equal(stored, result.values)


def test_two_methods_of_one_request_are_resumed(
    explainer, asked, tmp_path, monkeypatch
):
    explainer = _with(explainer, "auto")
    monkeypatch.setattr("skclif._explain.engine.MOST_WORK", 0)
    monkeypatch.setattr("skclif._explain.work.MOST_WORK", 1e6)
    expected = explainer.influence(*asked, paths=True)
    assert expected.method == "first_order, its top rows by leverage"
    assert 0 < expected.confirmed.sum() < N_ROWS
    for n_flushes in (2, 5):  # the fifth is that of the rows by the better method
        with _killed_at(n_flushes, "_flush", monkeypatch):
            explainer.influence(*asked, paths=True, out=tmp_path / "out")
    result = explainer.influence(*asked, paths=True, out=tmp_path / "out")
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(result.confirmed, expected.confirmed)
    for top in (3, N_ROWS):
        expected = explainer.influence(*asked, top=top)
        result = explainer.influence(*asked, top=top, out=tmp_path / f"top {top}")
        np.testing.assert_array_equal(result.rows, expected.rows)


class _Killed(BaseException):
    """What ends a call at some moment, as a kill does: nothing is tidied up."""


class _killed_at:
    """Have a call end before the nth call of a function of `writing`."""

    def __init__(self, n, name, monkeypatch):
        self.n, self.name, self.patch = n, name, monkeypatch
        self.function = getattr(writing, name)

    def __enter__(self):
        self.patch.setattr(writing, self.name, self._call)

    def _call(self, *args, **kwargs):
        self.n -= 1
        if not self.n:
            raise _Killed
        return self.function(*args, **kwargs)

    def __exit__(self, kind, *_):
        self.patch.setattr(writing, self.name, self.function)
        assert kind is _Killed
        return True


@pytest.mark.parametrize("call", [{"paths": True}, {"top": 4}])
@pytest.mark.parametrize("n", [1, 2, 4, 5, 6])
def test_a_call_that_ended_anywhere_is_continued(
    explainer, asked, tmp_path, monkeypatch, call, n
):
    explainer.influence(*asked, out=tmp_path / "whole", **call)
    with _killed_at(n, "write_whole", monkeypatch):
        explainer.influence(*asked, out=tmp_path / "out", **call)
    assert not (tmp_path / "out" / "values.npy").exists() or n == 6 or "top" in call
    asked_for = []
    rows = Pass.rows
    monkeypatch.setattr(
        Pass, "rows", lambda one, at: asked_for.append(at.start) or rows(one, at)
    )
    explainer.influence(*asked, out=tmp_path / "out", **call)
    n_pieces = len(asked_for) + max(0, n - 2)
    assert n_pieces == len(set(asked_for)) + max(0, n - 2)
    assert asked_for == sorted(asked_for)
    for name in ("values.npy", "rows.npy") if "top" in call else ("values.npy",):
        whole, again = (tmp_path / where / name for where in ("whole", "out"))
        assert again.read_bytes() == whole.read_bytes()


_PROGRAM = """
import os, pickle, signal, sys
from skclif._explain import writing
writing._UNIT, writing._PIECE = {unit}, {piece}
flushes = []
def flush(values):
    values.flush()
    flushes.append(values)
    if len(flushes) == {n}:
        os.kill(os.getpid(), signal.SIGKILL)
writing._flush = flush
explainer, asked = pickle.load(open(sys.argv[1], "rb"))
explainer.influence(*asked, out=sys.argv[2])
"""


def test_a_process_that_is_killed_is_continued(explainer, asked, tmp_path):
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((explainer, asked)))
    program = _PROGRAM.format(unit=writing._UNIT, piece=writing._PIECE, n=2)
    command = [sys.executable, "-c", program, given, tmp_path / "out"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(p.name for p in (tmp_path / "out").glob("[a-z]*")) == [
        "record.safetensors",
        "values.npy.part",
    ]
    explainer.influence(*asked, out=tmp_path / "out")
    explainer.influence(*asked, out=tmp_path / "whole")
    whole, again = (tmp_path / name / "values.npy" for name in ("whole", "out"))
    assert again.read_bytes() == whole.read_bytes()


@pytest.fixture
def begun(explainer, asked, tmp_path):
    """Return a folder with finished influence."""
    explainer.influence(*asked, out=tmp_path / "out")
    return tmp_path / "out"


def test_another_request_is_refused(explainer, asked, begun):
    X, y = asked
    for match, call in {
        r"differs in: paths \(True, and False before\)": {"paths": True},
        r"differs in: top \(3, and None before\)": {"top": 3},
        "differs in: X, y or target; target": {"target": "margin"},
        "differs in: X, y or target; target .*mean": {"reduce": "mean"},
    }.items():
        with pytest.raises(ValueError, match=match):
            explainer.influence(X, y, out=begun, **call)
    with pytest.raises(ValueError, match=r"differs in: X, y or target\. Call"):
        explainer.influence(X, 1 - y, out=begun)
    with pytest.raises(ValueError, match=r"differs in: X, y or target\. Call"):
        explainer.influence(X + 1e-9, y, out=begun)
    with pytest.raises(ValueError, match=r"method \('leverage', and 'first_order'"):
        _with(explainer, "leverage").influence(X, y, out=begun)
    other = explainer.edit(drop=[3]).explainer
    with pytest.raises(ValueError, match="the fitted model; the training rows; X, y"):
        other.influence(X, y, out=begun)
    explainer.influence(X, y, out=begun)  # is still there


def test_targets_of_the_same_value_are_told_apart(explainer, asked, tmp_path):
    X, y = asked
    losses = -np.log(explainer.predict_proba(X)[np.arange(N_TARGETS), y])
    groups = np.where(np.arange(N_TARGETS) == losses.argmax(), 2, np.arange(6) % 2)
    mean = explainer.predict_proba(X)[:, 1].mean()
    pairs = {
        "groups": (worst_group_loss(groups), worst_group_loss(np.maximum(groups, 1))),
        "functions": (
            from_function(lambda proba: proba[:, 1].mean(), name="rate"),
            from_function(lambda proba: 0 * proba.sum() + mean, name="rate"),
        ),
        "values": (
            from_function(lambda proba, _: proba[:, 1].mean(), ["a"] * 6, name="rate"),
            from_function(lambda proba, _: proba[:, 1].mean(), ["b"] * 6, name="rate"),
        ),
    }
    for name, (first, second) in pairs.items():
        call = {"out": tmp_path / name}
        found = explainer.influence(X, y, target=first, **call)
        again = explainer.influence(X, y, target=first, **call)
        np.testing.assert_array_equal(found.values, again.values)
        with pytest.raises(ValueError, match=r"differs in: X, y or target\. Call"):
            explainer.influence(X, y, target=second, **call)


def test_what_is_no_folder_for_influence_is_refused(explainer, asked, tmp_path):
    for odd in (5, ""):
        with pytest.raises(TypeError, match=f"out={odd!r} must be the path of a fol"):
            explainer.influence(*asked, out=odd)
    with pytest.raises(ValueError, match="out and groups exclude each other"):
        explainer.influence(*asked, groups=["a"] * N_ROWS, out=tmp_path / "out")
    with pytest.raises(ValueError, match="top=0 must be a positive integer"):
        explainer.influence(*asked, top=0, out=tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file, and influence is written"):
        explainer.influence(*asked, out=tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        explainer.influence(*asked, out=tmp_path / "nowhere" / "out")
    with pytest.raises(FileExistsError, match=r"has other files \(file\)"):
        explainer.influence(*asked, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    if Path("/proc/self").exists():
        with pytest.raises(OSError, match="out='/proc/out': .* cannot be written to: "):
            explainer.influence(*asked, out="/proc/out")


def test_a_folder_that_cannot_be_written_to_is_refused(explainer, asked):
    with open_folder() as folder:
        with (
            read_only(folder),
            pytest.raises(PermissionError, match="cannot be written to: permission"),
        ):
            explainer.influence(*asked, out=folder / "out")
        with (
            read_only(folder),
            pytest.raises(PermissionError, match="cannot be written to: permission"),
        ):
            explainer.influence(*asked, out=folder)
        whole = explainer.influence(*asked, out=folder).values
        with read_only(folder):
            again = explainer.influence(*asked, out=folder).values
        np.testing.assert_array_equal(again, whole)


def test_two_processes_do_not_write_at_once(explainer, asked, begun):
    with (
        sole_writer(begun),
        pytest.raises(BlockingIOError, match="Another skclif is writing to"),
    ):
        explainer.influence(*asked, out=begun)


def _flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("match", "damage"),
    [
        (
            "rows 96 to 119 is not what was written",
            lambda p: _flip(p / "values.npy", -1),
        ),
        ("values.npy is damaged", lambda p: os.truncate(p / "values.npy", 500)),
        ("values.npy is damaged", lambda p: os.truncate(p / "values.npy", 0)),
        ("There is no file .*values.npy", lambda p: (p / "values.npy").unlink()),
        ("shape .2,. and type", lambda p: np.save(p / "values.npy", np.ones(2))),
        ("safetensors is damaged", lambda p: _flip(p / writing.RECORD, -1)),
        ("not a whole one", lambda p: os.truncate(p / writing.RECORD, 9)),
    ],
)
def test_damage_is_told(explainer, asked, begun, match, damage):
    damage(begun)
    with pytest.raises(
        DataFileError, match=f"(?s)is damaged .*{match}.*Restore a copy"
    ):
        explainer.influence(*asked, out=begun)


def test_damage_of_top_rows_is_told(explainer, asked, tmp_path):
    explainer.influence(*asked, top=3, out=tmp_path / "out")
    _flip(tmp_path / "out" / "rows.npy", -1)
    with pytest.raises(DataFileError, match="its numbers are not those"):
        explainer.influence(*asked, top=3, out=tmp_path / "out")


def test_a_full_disk_loses_nothing(explainer, asked, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="There is no room left for .*make room"):
            explainer.influence(*asked, out=folder)
        assert [p.name for p in folder.iterdir()] == ["record.safetensors"]
    with monkeypatch.context() as patched:
        patched.setattr(writing, "checksum", full)  # in the first piece
        with pytest.raises(OSError, match="There is no room left for .*make room"):
            explainer.influence(*asked, out=folder)
    expected = explainer.influence(*asked).values
    found = explainer.influence(*asked, out=folder).values
    np.testing.assert_allclose(found, expected, atol=1e-12)
