"""Killed at any moment: the folder of an audit stays whole, and the next run finishes.

A new interpreter takes seconds to import what the commands need, so one helper imports
everything once (this file, run as a program) and forks a child for every run. A kill
comes from outside after a random delay, or from the child itself: when it has just
opened a file to write it, and just before any other system call whose outcome others
can see. Both are what a system does to a process; nothing of skclif is replaced.

The environment variable SKCLIF_KILLS is the share of the kills that come: 1 for over
300 in all, as in ``make test-full``, more for more random moments. The option --seed
chooses which.
"""

import builtins
import gc
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
import warnings
from contextlib import closing
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from skclif._audit.folder import AuditFolder

STEPS = ("replace", "fsync", "unlink", "truncate")  # functions of the module os
TABLES = ("predictions.csv", "influence.csv", "suspects.csv", "suggestions.csv")
STORED = ("model.safetensors", "rows.safetensors")
SAME = (*STORED, *TABLES)  # to be the same bytes
LEFT_OVER = (".part", ".next", ".lock", "-journal")
MANY = float(os.environ.get("SKCLIF_KILLS", "0.12"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="torch is forked"),
]


# --- The helper: forks a child for every run ------------------------------------------


def serve():
    """Do what lines of JSON on the standard input ask for; answer each with a line."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch

    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if request["work"] == "warm up":
            answer = {"status": _work("command", *request["arguments"])}
            gc.collect()
            gc.freeze()  # so that no child spends a second on looking through it all
        else:
            answer = _fork(**request)
        print(json.dumps(answer), file=answers, flush=True)


def _fork(work, arguments, **options):
    """Run something in a child; return how it ended, and what it did until then."""
    outputs = [os.pipe(), os.pipe()]  # which hold more than a command says
    start = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            _prepare(outputs, **options)
            status = _work(work, *arguments)
        except BaseException:
            traceback.print_exc()
            status = 70
        os._exit(status)
    (said, _), (steps, _) = outputs
    for _, write in outputs:
        os.close(write)
    if options.get("after") is not None:
        # Ctrl-C is for a command that has begun: before, it stops Python, not skclif.
        while options["number"] == signal.SIGINT and not select.select([said], [], []):
            pass
        time.sleep(options["after"])
        os.kill(child, options["number"])
    _, status = os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    texts = []
    for read in (said, steps):
        with open(read, encoding="utf-8") as stream:
            texts.append(stream.read())
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "said": texts[0],
        "steps": texts[1].split(),
    }


def _prepare(outputs, *, number=None, after=None, step=None, limit=None):
    """Arrange in a child what it says where, and what is done to it."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())  # not one that a killed child has taken with it
    (_, said), (_, steps) = outputs
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(120)  # whatever hangs ends, and fails
    if limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    n_done = 0

    def reach(name):
        """Return whether this is the step at which to send the signal."""
        nonlocal n_done
        n_done += 1
        os.write(steps, f"{name}\n".encode())
        return n_done == step

    def counted(name, call):
        def counting(*arguments, **options):
            if name == "unlink" and not os.path.lexists(arguments[0]):
                return call(*arguments, **options)
            is_now = reach(name)
            if is_now and number == signal.SIGKILL:
                os.kill(os.getpid(), number)
            done = call(*arguments, **options)
            if is_now:
                os.kill(os.getpid(), number)
            return done

        return counting

    def opening(file, mode="r", *arguments, **options):
        stream = open_file(file, mode, *arguments, **options)
        if {*mode}.intersection("wxa+") and reach("open"):
            os.kill(os.getpid(), number)  # nothing is written yet
        return stream

    for name in STEPS:
        setattr(os, name, counted(name, getattr(os, name)))
    open_file, builtins.open = builtins.open, opening


def _work(work, *arguments):
    from skclif import AuditTrail
    from skclif.cli import main

    if work == "append":
        path, n_records, size = arguments
        for number in range(int(n_records)):
            AuditTrail(path).append("edit", {"changes": ["x" * int(size)]}, by="team")
            os.write(1, f"{number + 1}\n".encode())
        return 0
    try:
        main(arguments, prog_name="skclif")
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


class Helper:
    """The process that forks.

    Attributes
    ----------
    warm : set of str
        The commands that it has run itself, so that all that they import is there.
    """

    def __init__(self):
        self.warm = set()
        threads = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **threads},
            start_new_session=True,  # Ctrl-C in a terminal is for pytest alone
        )

    def run(self, work, arguments, **options):
        request = {"work": work, "arguments": [*map(str, arguments)], **options}
        if work == "warm up":
            self.warm.add(request["arguments"][0])
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


# --- What is killed, and what has to hold then ----------------------------------------


class Case:
    """A command in a folder, and what it gives if nobody kills it.

    Parameters
    ----------
    helper : Helper
    place : Path
        For folders.
    words : list
        Of the command, with DIR for the folder.
    before : Path or None
        The folder that it begins with.
    """

    def __init__(self, helper, place, words, before=None):
        self.helper, self.place, self.words, self.before = helper, place, words, before
        self.n_begun, self.n_finished, self.reached = 0, 0, []
        folder = self.begin()
        for words in (self.words, ["replay", "DIR"]):
            if words[0] not in helper.warm:
                self.run(folder, words, work="warm up")
        self.reference = self.begin()
        self.old, self.old_records = contents(self.reference), records(self.reference)
        done = self.run(self.reference)
        assert done["status"] == 0, done["said"]
        self.seconds, self.steps = done["seconds"], done["steps"]
        self.new, self.new_records = contents(self.reference), records(self.reference)
        self.replayed = self.replay(self.reference)

    def begin(self):
        """Return a new folder, with what there is at the beginning."""
        self.n_begun += 1
        folder = self.place / str(self.n_begun)
        if self.before is None:
            folder.mkdir()
        else:
            shutil.copytree(self.before, folder)
        return folder

    def run(self, folder, words=None, *, work="command", **options):
        """Run the command, or another one."""
        words = [folder if word == "DIR" else word for word in words or self.words]
        return self.helper.run(work, words, **options)

    def replay(self, folder):
        done = self.run(folder, ["replay", "DIR"])
        assert done["status"] == 0, done["said"]
        assert "Bit for bit, this is the model" in done["said"]
        return done["said"].replace(str(folder), "DIR")

    def check_whole(self, folder):
        """Look at a folder whose process was killed; return the records in it."""
        found, said = contents(folder), records(folder)
        n_old = len(self.old_records)
        assert said[:n_old] == self.old_records
        assert shown(said) in (shown(self.old_records), shown(self.new_records))
        is_done = len(said) == len(self.new_records)
        for name in (*SAME, "audit.html", "run.json"):
            if name not in found:
                assert name not in self.old, f"{name} is lost"
                continue
            is_old = found[name] == self.old.get(name)
            if name in SAME:
                assert is_old or found[name] == self.new[name], f"{name} is neither"
            assert is_old or is_done, f"{name} was replaced before it was recorded"
        if is_done:
            for name in STORED:
                waiting = found.get(f"{name}.next", found.get(name))
                assert waiting == self.new[name], f"the recorded {name} is lost"
        else:
            added = {name for name in found if not name.endswith(LEFT_OVER)}
            added -= set(self.old)
            assert added <= {"trail.jsonl", "embeddings.sqlite"}
        check_files(folder, found)
        if found.get("run.json") != self.old.get("run.json"):  # it comes last
            check_outputs(found)
        return said

    def check_finished(self, folder):
        """Look at a folder where the command has come to its end."""
        found = contents(folder)
        assert set(found) == set(self.new)
        for name in SAME:
            assert found[name] == self.new[name], f"{name} differs"
        said = records(folder, torn=False)
        assert said[: len(self.old_records)] == self.old_records
        assert shown(said) == shown(self.new_records)
        check_files(folder, found)
        run = json.loads(found["run.json"])
        assert run["trail"] == {"records": len(said), "hash": said[-1]["hash"]}
        check_outputs(found)
        assert timeless(run) == timeless(json.loads(self.new["run.json"]))
        self.n_finished += 1
        if self.n_finished % 4 == 1:  # of the same bytes, it says the same
            assert self.replay(folder) == self.replayed

    def kill(self, *kills):
        """Kill the command, and the runs after it, then let one finish.

        Returns
        -------
        n_kills : int
            How many of them came before the end.
        """
        folder = self.begin()
        n_kills, n_records = 0, 0
        for kill in kills:
            done = self.run(folder, number=signal.SIGKILL, **kill)
            if done["status"] == 0:
                break
            assert done["status"] == -signal.SIGKILL, done["said"]
            n_kills += 1
            self.reached.append(len(done["steps"]))
            said = self.check_whole(folder)
            assert len(said) >= n_records, "a record is lost"
            n_records = len(said)
        self.finish(folder)
        return n_kills

    def finish(self, folder):
        done = self.run(folder)
        assert done["status"] == 0, done["said"]
        self.check_finished(folder)
        shutil.rmtree(folder)

    def delay(self, rng, share=1.0):
        return float(rng.uniform(0, share * self.seconds))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(folder, *, torn=True):
    """Return the records of a trail, which may end in the middle of one."""
    from skclif import AuditTrail
    from skclif.exceptions import TrailWarning

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if torn:
            warnings.simplefilter("ignore", TrailWarning)
        return AuditTrail(folder / "trail.jsonl").read()


def shown(records):
    """Return records without what differs from run to run."""
    changing = ("when", "hash", "previous")
    return [{k: v for k, v in r.items() if k not in changing} for r in records]


def timeless(run):
    run = {k: v for k, v in run.items() if k not in ("created", "timings")}
    run["trail"] = run["trail"]["records"]
    run["outputs"] = {k: v for k, v in run["outputs"].items() if k in SAME}
    return run


def check_outputs(found):
    """Look at whether a report is the one that its ``run.json`` is about."""
    for name, digest in json.loads(found["run.json"])["outputs"].items():
        assert sha256(found[name]).hexdigest() == digest, f"{name} is of another report"


def check_files(folder, found):
    """Look at whether every file that has its final name is whole."""
    from skclif._models.files import read_model
    from skclif._storage.containers import unpack

    if "model.safetensors" in found:
        assert read_model(folder / "model.safetensors").embedder is not None
    if "rows.safetensors" in found:
        unpack(folder / "rows.safetensors", "rows", 1)
    for name in {*TABLES}.intersection(found):
        assert "text_hash" in " ".join(pd.read_csv(folder / name).columns)
    if "audit.html" in found:
        assert found["audit.html"].rstrip().endswith(b"</html>")
    if "run.json" in found:
        assert json.loads(found["run.json"])["command"] == "audit"
    for name, content in found.items():
        if name.startswith("forgotten-"):
            assert AuditFolder(folder).trail.read()[-1]["hash"].encode() in content
    if "embeddings.sqlite" in found and "embeddings.sqlite-journal" not in found:
        with closing(sqlite3.connect(folder / "embeddings.sqlite")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# --- Cases ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def helper():
    helper = Helper()
    yield helper
    helper.process.stdin.close()
    assert helper.process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def words(tiny_encoder, tmp_path_factory):
    """What makes an audit, in a folder DIR."""
    from skclif.datasets import make_concept_reviews

    found = make_concept_reviews(60, label_noise=0.1, missing=0.3, random_state=0)
    table = found.frame.assign(label=np.where(found.target >= 4, "good", "bad"))
    file = tmp_path_factory.mktemp("data") / "reviews.csv"
    table.to_csv(file, index=False)
    words = ["audit", file, "--concept", "food", "--out", "DIR"]
    words += ["--model", tiny_encoder, "--method", "first_order"]
    return [*words, "--max-mistakes", "2"]


@pytest.fixture(scope="module")
def audited(helper, words, tmp_path_factory):
    """A folder with an audit in it."""
    folder = tmp_path_factory.mktemp("audited")
    arguments = [folder if word == "DIR" else word for word in words]
    assert helper.run("warm up", arguments)["status"] == 0
    return folder


@pytest.fixture(scope="module")
def cases(helper, words, audited, tmp_path_factory):
    """Every command, made when it is first asked for."""
    made = {}

    def decisions(name, accepted, rejected):
        table = pd.read_csv(audited / name, dtype=str, keep_default_na=False)
        table.loc[accepted, "decision"] = "accept"
        table.loc[rejected, "decision"] = "reject"
        path = tmp_path_factory.mktemp("decided") / "decisions.csv"
        table.to_csv(path, index=False)
        return path

    def get(name):
        if name in made:
            return made[name]
        table = pd.read_csv(audited / "influence.csv", dtype=str)
        held_out = pd.read_csv(audited / "predictions.csv", dtype=str)
        ids = [*table["train_id"].unique()[:2], held_out["id"].iloc[0]]
        file = tmp_path_factory.mktemp("ids") / "ids.txt"
        file.write_text("\n".join(ids))
        who = ["--by", "team", "--why", "second reading"]
        begun = None if name == "audit" else audited
        made[name] = Case(
            helper,
            tmp_path_factory.mktemp(name.replace(" ", "_")),
            {
                "audit": words,
                "audit otherwise": [*words, "--C", "0.3"],
                "audit again": words,
                "apply": [
                    *("apply", "DIR", decisions("suspects.csv", [0, 2], [1])),
                    *who,
                ],
                "reject": ["apply", "DIR", decisions("suspects.csv", [], [0]), *who],
                "forget": ["forget", "DIR", file, *who],
            }[name],
            begun,
        )
        return made[name]

    return get


# --- Kills ----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["audit", "apply", "reject", "forget"])
def test_killed_before_every_step(cases, command, pytestconfig):
    """Or, with fewer kills, before steps that are equally far apart."""
    case, apart = cases(command), max(1, round(1 / MANY))
    assert len(case.new_records) == len(case.old_records) + 1
    n_steps, first = len(case.steps), pytestconfig.getoption("seed") % apart
    assert n_steps > 15
    for step in range(first, n_steps, apart):
        assert case.kill({"step": step + 1}) == 1, f"step {step + 1} of {n_steps}"
    assert case.kill({"step": n_steps + 1}) == 0


@pytest.mark.parametrize(
    ("command", "n_wanted"),
    [
        ("audit", 16),
        ("audit otherwise", 8),
        ("audit again", 2),
        ("apply", 13),
        ("reject", 7),
        ("forget", 13),
    ],
)
def test_killed_at_random_moments(cases, command, n_wanted, pytestconfig):
    """Every third time, the run after it is killed as well."""
    case, n_kills, n_trials = cases(command), 0, 0
    case.reached.clear()
    rng = np.random.default_rng(pytestconfig.getoption("seed"))
    while n_kills < MANY * n_wanted:
        n_trials += 1
        again = [{"after": case.delay(rng)}] if n_trials % 3 == 0 else []
        n_kills += case.kill({"after": case.delay(rng)}, *again)
        assert n_trials < 5 + 3 * MANY * n_wanted, "the kills come too late"
    print(f"{command}: {n_kills} kills at random moments, after so many steps:")
    print(sorted(case.reached), "of", len(case.steps))


def test_killed_while_appending(helper, tmp_path, pytestconfig):
    """What `append` came back from is there; what it did not is whole or left out."""
    from skclif import AuditTrail

    rng, n_kills = np.random.default_rng(pytestconfig.getoption("seed")), 0
    helper.run("append", [tmp_path / "warm.jsonl", 3, 10])
    before = []
    while n_kills < MANY * 60:
        path, size = tmp_path / "trail.jsonl", rng.choice([10, 10_000, 500_000])
        after = float(rng.uniform(0, 0.1))
        work = [path, 1000, size]
        done = helper.run("append", work, number=signal.SIGKILL, after=after)
        assert done["status"] == -signal.SIGKILL, done["said"]
        n_kills += 1
        found = records(tmp_path)
        assert found[: len(before)] == before
        n_returned = len(done["said"].splitlines())
        assert n_returned <= len(found) - len(before) <= n_returned + 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            added = AuditTrail(path).append("edit", {}, by="team")
        assert records(tmp_path, torn=False) == [*found, added]
        before = [*found, added]
        if path.stat().st_size > 5_000_000:
            path.unlink()
            before = []


def appended(case):
    """Return a folder as it is when the record is there, and the model waits."""
    folder = case.begin()
    replaces = [n for n, name in enumerate(case.steps, 1) if name == "replace"]
    done = case.run(folder, number=signal.SIGKILL, step=replaces[1])
    assert done["status"] == -signal.SIGKILL
    assert len(records(folder)) == len(case.new_records)
    assert (folder / "model.safetensors.next").exists()
    return folder


def test_a_record_cut_anywhere_did_not_happen(cases):
    """A kill in the middle of a write leaves a part of it, if it was long."""
    from skclif.exceptions import TrailWarning

    case = cases("apply")
    folder = appended(case)
    waiting, trail = folder / "model.safetensors.next", folder / "trail.jsonl"
    model, written = waiting.read_bytes(), trail.read_bytes()
    n_old = len(case.old["trail.jsonl"])
    assert len(written) > n_old + 500
    for size in [*range(n_old + 1, len(written) - 1, 41), len(written) - 2]:
        waiting.write_bytes(model)
        trail.write_bytes(written[:size])
        with pytest.warns(TrailWarning), AuditFolder(folder).to_write() as found:
            assert found == case.old_records
        after = {**contents(folder), "trail.jsonl": case.old["trail.jsonl"]}
        assert after == case.old
    waiting.write_bytes(model)
    done = case.run(folder)
    assert done["status"] == 0
    assert "Warning: The last line of" in done["said"]
    case.check_finished(folder)

    # Without the end of its line alone, it is whole.
    folder = appended(case)
    (folder / "trail.jsonl").write_bytes(written[:-1])
    with AuditFolder(folder).to_write() as found:
        assert shown(found) == shown(case.new_records)
    assert (folder / "model.safetensors").read_bytes() == model


def test_forgetting_leaves_no_journal_of_vectors(cases):
    """An audit that is killed while it stores vectors leaves one, with older ones."""
    case = cases("forget")
    folder, other = case.begin(), case.begin()
    names = ["embeddings.sqlite", "embeddings.sqlite-journal"]
    with closing(sqlite3.connect(other / names[0], isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        for number in range(1000):
            line = (b"%d" % number, None, b"", bytes(2000))
            writer.execute("INSERT INTO vectors VALUES (?, ?, ?, ?)", line)
        for name in names:  # as they are in the middle of it
            shutil.copy(other / name, folder)
    vectors = AuditFolder(folder).rows(case.old_records).train.features
    assert vectors[0].tobytes() in (folder / names[1]).read_bytes()
    case.finish(folder)


# --- Ctrl-C ---------------------------------------------------------------------------


def check_interrupted(case, folder, done):
    assert done["status"] == 1, done["said"]
    *_, said, _, aborted = done["said"].splitlines()
    assert said.startswith("Interrupted. No file is half-written")
    assert "Run the same command again" in said
    assert aborted == "Aborted!"
    case.check_whole(folder)
    assert not [path for path in folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("command", ["audit", "apply", "reject", "forget"])
def test_interrupted_at_random_moments(cases, command, pytestconfig):
    case, n_interrupted = cases(command), 0
    rng = np.random.default_rng(pytestconfig.getoption("seed"))
    while n_interrupted < max(1, 3 * MANY):
        folder = case.begin()
        after = case.delay(rng, 0.8)
        done = case.run(folder, number=signal.SIGINT, after=after)
        if done["status"] != 0:  # it was not done already
            n_interrupted += 1
            check_interrupted(case, folder, done)
        case.finish(folder)


@pytest.mark.parametrize(
    "command", ["apply", pytest.param("forget", marks=pytest.mark.full)]
)
def test_interrupted_after_every_step_of_a_commit(cases, command):
    case = cases(command)
    n_files = {"apply": 1, "forget": 2}[command]  # which are put in place at its end
    replaces = [n for n, name in enumerate(case.steps, 1) if name == "replace"]
    for step in range(1, replaces[2 * n_files - 1] + 2):
        folder = case.begin()
        done = case.run(folder, number=signal.SIGINT, step=step)
        check_interrupted(case, folder, done)
        case.finish(folder)


# --- A full disk ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "full_at"),
    [
        ("apply", "the model"),
        ("apply", "the record"),
        ("apply", "the report"),
        ("forget", "the model"),
        ("forget", "the report"),
    ],
)
def test_a_full_disk(cases, command, full_at):
    case = cases(command)
    folder = case.begin()
    limit = {
        "the model": len(case.new["model.safetensors"]) // 2,
        "the record": len(case.new["trail.jsonl"]) - 10,
        "the report": len(case.new["audit.html"]) - 10,
    }[full_at]
    done = case.run(folder, limit=limit)
    assert done["status"] == 1
    assert done["said"].splitlines()[-1].startswith("Error: ")
    is_done = len(records(folder, torn=False)) == len(case.new_records)
    assert is_done == (full_at == "the report")
    if not is_done:
        assert contents(folder) == case.old
    case.check_whole(folder)
    case.finish(folder)


if __name__ == "__main__":
    serve()
