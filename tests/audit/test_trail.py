"""The audit trail: what is in it stays, and what was done to it shows."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings

from skclif import AuditTrail
from skclif._storage.files import sole_writer
from skclif.exceptions import TrailError, TrailWarning

from ..damage import DAMAGE, damaged
from ..privileges import open_folder, read_only

POSIX = pytest.mark.skipif(
    os.name == "nt", reason="needs signals and permissions of POSIX"
)
FUZZ = settings(
    max_examples=1000,
    deadline=None,
    derandomize=True,
)


def _trail(folder, n_records=5):
    trail = AuditTrail(folder / "trail.jsonl")
    for i in range(n_records):
        content = {"changes": [{"id": f"r{i}", "to": i / 3}]}
        trail.append(("fit", "edit", "forget")[i % 3], content, by="audit", why="typo")
    return trail


def _write(trail, *lines):
    trail.path.write_bytes(b"".join(lines))


def _lines(trail):
    return trail.path.read_bytes().splitlines(keepends=True)


def _forged(record, **changes):
    """Return the line of a changed record with the hash that is right for it."""
    record = {**record, **changes}
    record.pop("hash")
    record["hash"] = hashlib.sha256(_line(record)).hexdigest()
    return _line(record)


def _line(record):
    text = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{text}\n".encode()


def _read(trail):
    """Return the records, and whether the last line was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = trail.read()
    assert {w.category for w in caught} <= {TrailWarning}
    return records, bool(caught)


# --- Appending and reading ------------------------------------------------------------


def test_records_come_back_as_append_returned_them(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    content = {"n": 3, "x": 0.1, "none": None, "nested": {"a": [1, "b", True]}}
    written = [trail.append("fit", {}), trail.append("edit", content, by="me")]
    assert trail.read() == written
    assert AuditTrail(str(trail.path)).read() == written
    assert [record["number"] for record in written] == [1, 2]
    assert [record["kind"] for record in written] == ["fit", "edit"]
    assert {name: written[1][name] for name in content} == content
    assert (written[1]["by"], written[1]["why"]) == ("me", None)


def test_a_trail_that_was_never_written_to_is_empty(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    assert trail.read() == []
    assert not trail.path.exists()
    trail.path.touch()
    assert trail.read() == []
    assert repr(trail) == f"AuditTrail({str(trail.path)!r})"


def test_every_record_holds_the_hash_of_the_one_before(tmp_path):
    records = _trail(tmp_path).read()
    before = ["0" * 64, *(record["hash"] for record in records)]
    assert [record["previous"] for record in records] == before[:-1]
    assert len(set(before)) == len(records) + 1


def test_a_record_names_versions_and_machine(tmp_path):
    environment = _trail(tmp_path, 1).read()[0]["environment"]
    assert environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"platform", "skclif", "numpy", "torch"} <= environment.keys()


def test_the_time_is_now_or_the_given_one(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    now = trail.append("fit", {})["when"]
    assert abs(datetime.fromisoformat(now) - datetime.now(UTC)) < timedelta(minutes=1)
    then = datetime(2024, 2, 29, 12, 30, 1, tzinfo=timezone(timedelta(hours=-5)))
    assert trail.append("edit", {}, when=then)["when"] == "2024-02-29T12:30:01-05:00"


def test_other_writing_systems_can_be_read_in_the_file(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    said = {"why": "Größe — 寿司 🍣", "by": "Zoë"}
    trail.append("edit", {"text": "ligne\u2028une\x85deux\r\nfin"}, **said)
    trail.append("edit", {})
    assert "Größe — 寿司 🍣" in trail.path.read_text(encoding="utf-8")
    assert len(trail.path.read_bytes().split(b"\n")) == 3
    assert {name: trail.read()[0][name] for name in said} == said


def test_names_that_are_numbers_and_tuples_are_as_json_has_them(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    record = trail.append("edit", {"weights": {2: 0.5, 10: (1, 2)}})
    assert record["weights"] == {"2": 0.5, "10": [1, 2]}
    assert trail.read() == [record]


def test_a_record_without_its_newline_counts(tmp_path):
    trail = _trail(tmp_path, 3)
    records = trail.read()
    trail.path.write_bytes(trail.path.read_bytes().removesuffix(b"\n"))
    assert trail.read() == records
    assert trail.read() + [trail.append("edit", {})] == trail.read()
    assert trail.read()[:3] == records


# --- What cannot be appended ----------------------------------------------------------

CIRCLE = {}
CIRCLE["self"] = CIRCLE
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "kind, content, who, message",
    [
        ("delete", {}, {}, r"kind='delete' must be one of fit, edit, forget, reject\."),
        ("edit", {"hash": 1, "x": 2}, {}, r"content has 'hash', which every record"),
        ("edit", {"number": 7}, {}, r"content has 'number', which every record has"),
        ("edit", {"previous": ""}, {}, "content has 'previous', which every record"),
        ("edit", {"by": "me"}, {}, r"content has 'by', which every record has\."),
        ("edit", {"x": float("nan")}, {}, r"in UTF-8: Out of range float"),
        ("edit", {"x": [float("inf")]}, {}, r"in UTF-8: Out of range float"),
        ("edit", {}, {"by": "\ud800"}, "be written as JSON in UTF-8: .*surrogates"),
        ("edit", {}, {"why": "a\udfff"}, "be written as JSON in UTF-8: .*surrogates"),
        ("edit", {"a\ud83d\ude00": 1}, {}, "be written as JSON in UTF-8: .*surrogates"),
        ("edit", {"x": {1}}, {}, "The record cannot be written as JSON .*type set"),
        ("edit", {"x": b""}, {}, "The record cannot be written as JSON .*type bytes"),
        ("edit", {"x": {1: 0, "1": 1}}, {}, "The record cannot be written as JSON"),
        ("edit", {"x": CIRCLE}, {}, "be written as JSON in UTF-8: Circular reference"),
        ("edit", {"x": DEEP}, {}, "be written as JSON in UTF-8: maximum recursion"),
    ],
)
def test_what_cannot_be_a_record_leaves_the_file_alone(
    tmp_path, kind, content, who, message
):
    fresh = AuditTrail(tmp_path / "fresh.jsonl")
    with pytest.raises(ValueError, match=message):
        fresh.append(kind, content, **who)
    assert not fresh.path.exists()
    trail = _trail(tmp_path, 2)
    before = trail.path.read_bytes(), trail.path.stat().st_mtime_ns
    with pytest.raises(ValueError, match=message):
        trail.append(kind, content, **who)
    assert (trail.path.read_bytes(), trail.path.stat().st_mtime_ns) == before


# --- Altered --------------------------------------------------------------------------


def test_every_altered_byte_is_found_in_its_record(tmp_path):
    trail = _trail(tmp_path, 3)
    lines, rng = _lines(trail), random.Random(0)
    sound = b"".join(lines)
    numbers = [k for k, line in enumerate(lines[:-1], 1) for _ in line]
    for position, number in enumerate(numbers):
        others = {10, 13, rng.randrange(256), sound[position] ^ 1} - {sound[position]}
        content = bytearray(sound)
        content[position] = rng.choice(sorted(others))
        trail.path.write_bytes(content)
        with pytest.raises(TrailError, match=rf"trail\.jsonl, record {number} "):
            trail.read()


def test_an_altered_byte_that_ends_a_line_hides_nothing(tmp_path):
    """To Python a carriage return ends a line; to the trail a new line does."""
    trail = _trail(tmp_path)
    lines = _lines(trail)
    lines[1] = lines[1].replace(b"audit", b"aud\rt")
    _write(trail, *lines)
    for call in (trail.read, lambda: trail.append("edit", {})):
        with pytest.raises(TrailError, match="record 2 is not a record"):
            call()
    assert trail.path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "order, found",
    [
        ([1, 2, 3, 4], 1),
        ([0, 2, 3, 4], 2),
        ([0, 1, 2, 4], 4),
        ([0, 2, 1, 3, 4], 2),
        ([0, 1, 2, 4, 3], 4),
        ([0, 0, 1, 2, 3, 4], 2),
        ([0, 1, 2, 3, 4, 4], 6),
        ([0, 1, 2, 3, 4, 0], 6),
        ([4, 3, 2, 1, 0], 1),
    ],
)
def test_records_removed_swapped_or_repeated(tmp_path, order, found):
    trail = _trail(tmp_path)
    lines = _lines(trail)
    _write(trail, *(lines[k] for k in order))
    said = order[found - 1] + 1
    message = (
        rf"trail\.jsonl, record {found} does not follow the one before it: its own "
        rf"number is {said}\. Records were removed, put in, or moved\."
    )
    with pytest.raises(TrailError, match=message):
        trail.read()


def test_a_record_of_another_trail_put_in_the_place_of_one(tmp_path):
    (tmp_path / "other").mkdir()
    trail, lines = _trail(tmp_path), _lines(_trail(tmp_path / "other"))
    other = _forged(json.loads(lines[2]), previous="1" * 64)
    _write(trail, *_lines(trail)[:2], other)
    with pytest.raises(TrailError, match="record 3 does not follow the one before it"):
        trail.read()


def test_a_record_altered_together_with_its_hash_breaks_the_next(tmp_path):
    trail = _trail(tmp_path)
    lines, records = _lines(trail), trail.read()
    lines[1] = _forged(records[1], why="no reason")
    _write(trail, *lines)
    with pytest.raises(TrailError, match=r"record 3 does not follow .* number is 3\."):
        trail.read()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"\xff\xfe\n",
        b"null\n",
        b"[]\n",
        b'"format_version"\n',
        b"{}\n",
        b'{"format_version":1,"kind":"edit"}\n',
        b'{"format_version":1,"hash":[],"number":1}\n',
        b"[" * 100_000 + b"\n",
        b"9" * 10_000 + b"\n",
    ],
)
def test_a_line_that_is_no_record(tmp_path, line):
    trail = _trail(tmp_path, 1)
    _write(trail, *_lines(trail), line, *_lines(trail))
    with pytest.raises(TrailError, match="record 2 is not a record: it was altered"):
        trail.read()


@pytest.mark.parametrize(
    "line",
    [
        b'{"format_version":1,"kind":"fit","hash":"","number":1,"previous":""}\n',
        b'{"format_version":1,"kind":"fit","hash":NaN,"number":1,"previous":1e999}\n',
        b'{"format_version":1,"kind":"fit","hash":"\\ud800","number":1,"previous":1}\n',
    ],
)
def test_a_line_with_another_hash(tmp_path, line):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    _write(trail, line)
    with pytest.raises(TrailError, match="record 1 was altered after it was written"):
        trail.read()


@pytest.mark.parametrize("change", [(b",", b", "), (b"\n", b"\r\n"), (b"{", b" {")])
def test_a_record_that_says_the_same_in_other_bytes_was_altered(tmp_path, change):
    trail = _trail(tmp_path)
    lines = _lines(trail)
    lines[1] = lines[1].replace(*change, 1)
    _write(trail, *lines)
    with pytest.raises(TrailError, match="record 2 was altered after it was written"):
        trail.read()


@pytest.mark.parametrize("changes", [{}, {"kind": "merge"}])
def test_another_format_version_says_what_to_do(tmp_path, changes):
    trail = _trail(tmp_path)
    lines, records = _lines(trail), trail.read()
    _write(trail, *lines[:2], _forged(records[2], format_version=3, **changes))
    message = r"record 3 has format version 3; skclif .+ reads 1 and 2\. Update skclif"
    with pytest.raises(TrailError, match=message):
        trail.read()
    before = trail.path.read_bytes()
    with pytest.raises(TrailError, match=message):
        trail.append("edit", {})
    assert trail.path.read_bytes() == before


def test_an_unknown_kind_is_no_record(tmp_path):
    trail = _trail(tmp_path)
    _write(trail, _forged(trail.read()[0], kind="merge"))
    with pytest.raises(TrailError, match="record 1 is not a record: it was altered"):
        trail.read()


def test_nothing_is_appended_to_an_altered_trail(tmp_path):
    trail = _trail(tmp_path)
    altered = trail.path.read_bytes().replace(b"typo", b"test", 1)
    trail.path.write_bytes(altered)
    with pytest.raises(TrailError, match="record 1 was altered after it was written"):
        trail.append("edit", {})
    assert trail.path.read_bytes() == altered


# --- Not finished ---------------------------------------------------------------------


def test_a_last_line_cut_anywhere_is_left_out_and_then_removed(tmp_path):
    trail = _trail(tmp_path, 3)
    lines, records = _lines(trail), trail.read()
    message = (
        r"The last line of .*trail\.jsonl was never finished, or its end was cut off: "
        r"record 3 is left out\."
    )
    for length in range(1, len(lines[2]) - 1):
        _write(trail, *lines[:2], lines[2][:length])
        with pytest.warns(TrailWarning, match=message):
            assert trail.read() == records[:2]
    with pytest.warns(TrailWarning, match=message):
        record = trail.append("edit", {"again": True})
    assert _read(trail) == ([*records[:2], record], False)
    assert trail.path.read_bytes().startswith(lines[0] + lines[1])


def test_a_first_line_that_was_cut_leaves_an_empty_trail(tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    _write(trail, b'{"by":"au')
    with pytest.warns(TrailWarning, match="never finished.* record 1 is left out"):
        assert trail.read() == []


# --- Trouble while writing ------------------------------------------------------------


@POSIX
@pytest.mark.parametrize("tail", [b"", b'{"by":"aud'])
@pytest.mark.parametrize("size", [0, 1, 4097, 70_000])
def test_a_file_that_may_not_grow_stays_as_it_was(tmp_path, size, tail):
    import resource

    trail = _trail(tmp_path, 3)
    records, sound = trail.read(), trail.path.read_bytes()
    trail.path.write_bytes(sound + tail)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(sound) + size, limits[1]))
        with warnings.catch_warnings(), pytest.raises(OSError, match="too large"):
            warnings.simplefilter("ignore", TrailWarning)
            trail.append("edit", {"text": "x" * 100_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trail.path.read_bytes() == sound
    record = trail.append("edit", {"text": "x" * 100_000})
    assert trail.read() == [*records, record]


@POSIX
@pytest.mark.parametrize("length", [2_000, 5_000, 20_000, 90_000])
def test_a_disk_that_is_full_leaves_the_trail_as_it_was(tmp_path, length):
    """On a file system of 200 KiB, which ends with the process."""
    code = f"""if True:
        from skclif import AuditTrail

        trail, written = AuditTrail({str(tmp_path / "trail.jsonl")!r}), []
        try:
            for _ in range(1000):
                written.append(trail.append("edit", {{"text": "x" * {length}}}))
        except OSError as error:
            print(error)
        before = trail.path.read_bytes()
        assert before.count(b"\\n") == len(written)
        assert trail.read() == written
        print(len(written))
    """
    mount = 'mount -t tmpfs -o size=200k none "$0" && exec "$@"'
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("needs a system that lets a process mount a file system")
    done = subprocess.run(
        [*alone, sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    error, n_written = done.stdout.splitlines()
    assert "No space left" in error
    assert int(n_written) >= 2


def test_a_folder_that_is_not_there(tmp_path):
    trail = AuditTrail(tmp_path / "none" / "trail.jsonl")
    with pytest.raises(FileNotFoundError, match=r"none.trail\.jsonl"):
        trail.append("edit", {})


@POSIX
def test_processes_that_append_at_once_lose_nothing(tmp_path):
    code = f"""if True:
        import sys
        from skclif import AuditTrail

        trail = AuditTrail({str(tmp_path / "trail.jsonl")!r})
        sys.stdin.readline()
        for i in range(40):
            trail.append("edit", {{"i": i, "text": "x" * 5000}}, by=sys.argv[1])
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE)
        for name in "abc"
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.close()
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    records = AuditTrail(tmp_path / "trail.jsonl").read()
    assert len(records) == 120
    for name in "abc":
        own = [record["i"] for record in records if record["by"] == name]
        assert own == list(range(40))
    # They did take turns.
    assert "".join(record["by"] for record in records) != "a" * 40 + "b" * 40 + "c" * 40


def test_reading_waits_for_a_record_that_is_being_written(tmp_path):
    trail = _trail(tmp_path, 2)
    records, (first, second) = trail.read(), _lines(trail)
    _write(trail, first, second[:50])
    with sole_writer(trail.path):
        lock = tmp_path / ".trail.jsonl.lock"
        assert lock.exists()

        def finish():
            with open(trail.path, "ab") as stream:
                stream.write(second[50:])
            lock.unlink()

        writer = threading.Timer(0.1, finish)
        writer.start()
        assert _read(trail) == (records, False)
        writer.join()


def test_reading_does_not_wait_for_a_process_that_was_killed(tmp_path):
    trail = _trail(tmp_path, 2)
    records, (first, second) = trail.read(), _lines(trail)
    _write(trail, first, second[:50])
    (tmp_path / ".trail.jsonl.lock").touch()
    assert _read(trail) == (records[:1], True)
    with pytest.warns(TrailWarning):
        trail.append("edit", {})
    assert {path.name for path in tmp_path.iterdir()} == {"trail.jsonl"}


@POSIX
def test_reading_where_nothing_can_be_written():
    with open_folder() as folder:
        trail = _trail(folder, 2)
        records, before = trail.read(), set(folder.iterdir())
        with read_only(folder):
            assert trail.read() == records
            with pytest.raises(PermissionError, match="trail"):
                trail.append("edit", {})
        assert set(folder.iterdir()) == before
        assert trail.read() == records


@POSIX
def test_what_was_appended_outlives_a_process_that_is_killed(tmp_path):
    code = """if True:
        import os, sys
        from skclif import AuditTrail

        AuditTrail(sys.argv[1]).append("fit", {})  # the first one takes longer
        for path in sys.stdin:
            trail = AuditTrail(path.strip())
            child = os.fork()
            if not child:
                os.write(1, b"%d\\n" % os.getpid())
                while True:
                    hash = trail.append("edit", {"text": "x" * 200_000})["hash"]
                    os.write(1, hash.encode() + b"\\n")
            os.waitpid(child, 0)
            os.write(1, b"dead\\n")
    """
    rng = random.Random(0)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "first.jsonl")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for turn in range(60):
            trail = AuditTrail(tmp_path / f"{turn // 6}.jsonl")
            known = [record["hash"] for record in trail.read()]
            process.stdin.write(f"{trail.path}\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            reported = [process.stdout.readline() for _ in range(rng.randrange(3))]
            time.sleep(rng.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            reported += iter(process.stdout.readline, "dead\n")
            known += [line.strip() for line in reported]
            found = [record["hash"] for record in _read(trail)[0]]
            assert found[: len(known)] == known
            assert len(found) <= len(known) + 1  # it was killed before it said so
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TrailWarning)
                found.append(trail.append("edit", {})["hash"])
            records, is_torn = _read(trail)
            assert not is_torn
            assert [record["hash"] for record in records] == found
        process.stdin.close()


# --- Any bytes ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A trail, its bytes and its records."""
    trail = _trail(tmp_path_factory.mktemp("trail"))
    return trail, trail.path.read_bytes(), trail.read()


@FUZZ
@given(damage=DAMAGE)
def test_any_damage_is_found_or_takes_nothing_but_the_end(sound, damage):
    trail, written, records = sound
    content = damaged(written, damage)
    trail.path.write_bytes(content)
    try:
        found, is_torn = _read(trail)
    except TrailError as error:
        assert re.search(r"trail\.jsonl, record [1-9]", str(error))
        return
    assert found == records[: len(found)]
    lines = written.splitlines(keepends=True)[: len(found)]
    whole = b"".join(lines)
    if is_torn:
        rest = content.removeprefix(whole)
        assert content.startswith(whole) and rest and b"\n" not in rest
    else:  # records off the end are all that cannot be seen
        assert content in (whole, whole.removesuffix(b"\n"))


def test_a_folder_is_refused_by_name(tmp_path):
    trail = AuditTrail(tmp_path)
    for call in (trail.read, lambda: trail.append("edit", {})):
        with pytest.raises(IsADirectoryError, match="is a folder, and a trail is a fi"):
            call()
    assert not list(tmp_path.iterdir())
