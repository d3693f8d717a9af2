import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from skclif._text import store as _embedding_cache
from skclif._text.store import EmbeddingStore, text_keys
from skclif.exceptions import DataFileError

from ..privileges import open_folder, without_privileges


def make_entries(n, d=5, seed=0):
    keys = text_keys(["model"], [f"text {seed} {i}" for i in range(n)])
    vectors = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return keys, vectors


def fetch_all(store, keys):
    """Vectors by position, from the blocks."""
    found = {}
    for positions, vectors, limits in store.fetch(keys):
        assert vectors.dtype == np.float32
        found.update(zip(positions, zip(vectors, limits, strict=True), strict=True))
    return found


def store_entries(folder, n, d=5):
    keys, vectors = make_entries(n, d)
    with EmbeddingStore(folder) as store:
        store.add(keys, vectors, [None] * n)
    return store.path, keys, vectors


def assert_holds(folder, keys, vectors):
    """Look up what was stored, in a sound file."""
    with EmbeddingStore(folder) as store:
        found = fetch_all(store, keys)
    assert sorted(found) == list(range(len(keys)))
    for position, (vector, _) in found.items():
        assert np.array_equal(vector, vectors[position])
    assert run_sql(store.path, "PRAGMA integrity_check") == [("ok",)]


def run_sql(path, statement, arguments=()):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, arguments).fetchall()


def test_vectors_come_back_as_they_were_stored(tmp_path):
    keys, vectors = make_entries(9000)
    limits = [256 if i % 7 == 0 else None for i in range(9000)]
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, limits)
    with EmbeddingStore(tmp_path) as store:
        found = fetch_all(store, keys[::-1])
    assert sorted(found) == list(range(9000))
    for position, (vector, limit) in found.items():
        assert np.array_equal(vector, vectors[::-1][position])
        assert limit == limits[::-1][position]


def test_only_known_keys_are_found(tmp_path):
    keys, vectors = make_entries(10)
    unknown, _ = make_entries(10, seed=1)
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, [None] * 10)
        assert sorted(fetch_all(store, [unknown[0], keys[3], unknown[1]])) == [1]
        assert fetch_all(store, unknown) == {}
        assert fetch_all(store, []) == {}


def test_a_key_keeps_its_first_vector(tmp_path):
    keys, vectors = make_entries(3)
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, [None] * 3)
        store.add(keys, vectors + 1, [None] * 3)
        assert np.array_equal(fetch_all(store, keys)[2][0], vectors[2])


def test_an_interrupted_batch_leaves_nothing(tmp_path):
    keys, vectors = make_entries(3)
    with EmbeddingStore(tmp_path) as store:
        with pytest.raises(ValueError):
            store.add(keys, vectors, [None] * 2)
        assert fetch_all(store, keys) == {}
        store.add(keys, vectors, [None] * 3)
        assert len(fetch_all(store, keys)) == 3


def test_keys_depend_on_every_part():
    contexts = [["m", "float32"], ["m", "float16"], ["mf", "loat32"], ["m"]]
    keys = {text_keys(context, ["text"])[0] for context in contexts}
    keys |= set(text_keys(["m"], ["Text", "text ", "", "tëxt"]))
    assert len(keys) == 8
    assert all(len(key) == 32 for key in keys)
    assert text_keys(["m"], ["text"]) == text_keys(["m"], ["text"])


@pytest.mark.parametrize("d", [384, 768])
def test_file_is_hardly_larger_than_the_vectors(tmp_path, d):
    keys, vectors = make_entries(4000, d)
    with EmbeddingStore(tmp_path) as store:
        for start in range(0, 4000, 64):
            part = slice(start, start + 64)
            store.add(keys[part], vectors[part], [None] * len(keys[part]))
    # Nothing but the file is left, and its index of keys costs 60 bytes a row or so.
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.sqlite"]
    assert store.path.stat().st_size < 1.15 * 4 * d * 4000


def test_vectors_are_little_endian_float32_without_pickle(tmp_path):
    keys, vectors = make_entries(1)
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, [None])
    ((key, blob),) = run_sql(store.path, "SELECT key, vector FROM vectors")
    assert key == keys[0]
    assert blob == vectors.astype("<f4").tobytes()


def test_a_writer_killed_while_it_writes_leaves_nothing_half_done(tmp_path):
    _, keys, vectors = store_entries(tmp_path, 500, d=384)
    code = f"""if True:
        import os, signal
        import numpy as np
        from skclif._text.store import EmbeddingStore, text_keys

        def keys():
            yield from text_keys(["model"], map(str, range(5000)))
            os.kill(os.getpid(), signal.SIGKILL)

        vectors = np.ones((6000, 384), dtype=np.float32)
        with EmbeddingStore({str(tmp_path)!r}) as store:
            store.add(keys(), vectors, [None] * 6000)
    """
    size = (tmp_path / "embeddings.sqlite").stat().st_size
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    # It was killed in the middle: the file has grown, and what undoes it is there.
    assert (tmp_path / "embeddings.sqlite").stat().st_size > size
    assert (tmp_path / "embeddings.sqlite-journal").stat().st_size > 0
    assert_holds(tmp_path, keys, vectors)
    with EmbeddingStore(tmp_path) as store:
        assert fetch_all(store, text_keys(["model"], map(str, range(5000)))) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["embeddings.sqlite"]


def test_two_writers_share_a_new_file(tmp_path):
    barrier = threading.Barrier(2)
    errors = []

    def write(seed):
        keys, vectors = make_entries(60, seed=seed)
        try:
            barrier.wait()
            with EmbeddingStore(tmp_path) as store:
                for i in range(60):
                    store.add(keys[i : i + 1], vectors[i : i + 1], [None])
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert errors == []
    with EmbeddingStore(tmp_path) as store:
        for seed in (0, 1):
            assert len(fetch_all(store, make_entries(60, seed=seed)[0])) == 60


def test_locked_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_embedding_cache, "_BUSY_SECONDS", 0.05)
    keys, vectors = make_entries(1)
    with (
        EmbeddingStore(tmp_path) as store,
        closing(sqlite3.connect(store.path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataFileError, match=r"embeddings\.sqlite has been locked"):
            store.add(keys, vectors, [None])


def test_unknown_format_is_refused(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        pass
    run_sql(store.path, "PRAGMA user_version = 99")
    message = (
        r"has format 99; skclif .* reads format 2\. Update skclif, or give another"
    )
    with pytest.raises(DataFileError, match=message):
        EmbeddingStore(tmp_path)
    run_sql(store.path, "PRAGMA user_version = 1")
    with pytest.raises(
        DataFileError, match=r"has format 1; .* Delete the file, or giv"
    ):
        EmbeddingStore(tmp_path)


def test_foreign_database_is_refused(tmp_path):
    run_sql(tmp_path / "embeddings.sqlite", "CREATE TABLE mine (x)")
    with pytest.raises(
        DataFileError, match="is a database, but not an embedding cache"
    ):
        EmbeddingStore(tmp_path)


# --- Damage ---------------------------------------------------------------------------

DAMAGED = (
    r"embeddings\.sqlite is damaged \(.+\)\. Restore a copy of it, or delete it: its"
)


def test_file_that_is_no_database(tmp_path):
    (tmp_path / "embeddings.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(DataFileError, match=DAMAGED):
        EmbeddingStore(tmp_path)


def test_empty_file_is_an_empty_cache(tmp_path):
    """It is what a process leaves that was killed before it wrote anything."""
    (tmp_path / "embeddings.sqlite").write_bytes(b"")
    _, keys, vectors = store_entries(tmp_path, 3)
    assert_holds(tmp_path, keys, vectors)


def read_damaged(path, content, keys, vectors):
    """Return how many vectors the damaged file yields, or the error's message.

    None of them may be wrong, and an error leaves the file alone.
    """
    path.write_bytes(content)
    try:
        with EmbeddingStore(path.parent) as store:
            found = fetch_all(store, keys)
    except DataFileError as error:
        assert str(path) in str(error)
        assert re.search("Restore|Update|Delete|another cache_dir", str(error))
        assert path.read_bytes() == content
        return str(error)
    for position, (vector, limit) in found.items():
        assert np.array_equal(vector, vectors[position]) and limit is None
    return len(found)


@pytest.mark.parametrize("place", ["anywhere", "header", "schema", "pages", "keys"])
def test_flipped_bits_never_give_a_wrong_vector(tmp_path, place):
    path, keys, vectors = store_entries(tmp_path, 150, d=384)
    sound = path.read_bytes()
    page, rng = 65536, np.random.default_rng(0)

    def somewhere():
        if place == "anywhere":
            return rng.integers(len(sound))
        if place == "header":
            return rng.integers(100)
        if place == "schema":  # at the end of the first page
            return page - 1 - rng.integers(700)
        if place == "pages":
            return page * rng.integers(len(sound) // page) + rng.integers(100)
        find = rng.choice([sound.find, sound.rfind])
        return find(keys[rng.integers(150)]) + rng.integers(-12, 45)

    outcomes = []
    for _ in range(150):
        content = bytearray(sound)
        content[somewhere()] ^= 1 << rng.integers(8)
        outcomes.append(read_damaged(path, bytes(content), keys, vectors))
    messages = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(messages) > 30
    if place == "anywhere":
        assert sum("is not what was stored" in message for message in messages) > 50


def test_cut_files_never_give_a_wrong_vector(tmp_path):
    path, keys, vectors = store_entries(tmp_path, 150, d=384)
    sound = path.read_bytes()
    lengths = [10, 16, 50, 100, 512, 4096, 65535, 65536, 65537, 200_000]
    for length in [*lengths, len(sound) - 65536, len(sound) - 1]:
        outcome = read_damaged(path, sound[:length], keys, vectors)
        assert isinstance(outcome, str), length
    assert read_damaged(path, sound, keys, vectors) == 150


@pytest.mark.parametrize(
    "change",
    [
        "vector = x''",
        "vector = x'0000000000000000000000000000000000000000'",
        "vector = (SELECT vector FROM vectors WHERE key <> ?1)",
        "vector = (SELECT vector FROM vectors WHERE key <> ?1), "
        "checksum = (SELECT checksum FROM vectors WHERE key <> ?1)",
        "vector = 7",
        "vector = 'a text'",
        "token_limit = 256",
        "token_limit = 'a text'",
        "checksum = x''",
    ],
)
def test_a_vector_that_was_changed(tmp_path, change):
    path, keys, _ = store_entries(tmp_path, 4)
    run_sql(path, f"UPDATE vectors SET {change} WHERE key = ?1", (keys[1],))
    with (
        EmbeddingStore(tmp_path) as store,
        pytest.raises(DataFileError, match="what is read is not what was stored"),
    ):
        fetch_all(store, keys)


def test_vectors_of_two_lengths_are_not_mixed(tmp_path):
    _, keys, vectors = store_entries(tmp_path, 2)
    more, longer = make_entries(2, d=7, seed=1)
    with EmbeddingStore(tmp_path) as store:
        store.add(more, longer, [None] * 2)
        with pytest.raises(DataFileError, match=DAMAGED):
            fetch_all(store, [*keys, *more])
    assert_holds(tmp_path, keys, vectors)


# --- No room, no permission -----------------------------------------------------------

UNUSABLE = (
    r"embeddings\.sqlite cannot be used \({}\)\. Check that there is room and that you "
    "may write there, or give another cache_dir; what is stored in it is kept"
)


@contextmanager
def files_no_larger_than(n_bytes):
    """Let the system refuse to write beyond a size, as with a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_that_fails(tmp_path):
    path, keys, vectors = store_entries(tmp_path, 100, d=384)
    more, others = make_entries(400, d=384, seed=1)
    with (
        files_no_larger_than(path.stat().st_size + 100_000),
        EmbeddingStore(tmp_path) as store,
    ):
        with pytest.raises(DataFileError, match=UNUSABLE.format("disk I/O error")):
            store.add(more, others, [None] * 400)
        assert len(fetch_all(store, keys)) == 100
    assert_holds(tmp_path, keys, vectors)
    with EmbeddingStore(tmp_path) as store:  # there is room again
        store.add(more, others, [None] * 400)
    assert_holds(tmp_path, [*keys, *more], [*vectors, *others])


def test_file_that_cannot_be_begun(tmp_path):
    with (
        files_no_larger_than(1000),
        pytest.raises(DataFileError, match=UNUSABLE.format("disk I/O error")),
    ):
        EmbeddingStore(tmp_path)
    _, keys, vectors = store_entries(tmp_path, 3)
    assert_holds(tmp_path, keys, vectors)


def test_full_disk(tmp_path):
    """On a file system of 1 MiB, which ends with the process."""
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[2])!r})
        from tests.text.test_store import (
            DataFileError, EmbeddingStore, assert_holds, make_entries
        )

        folder = {str(tmp_path)!r}
        keys, vectors = make_entries(1000, d=384)
        n_stored = 0
        try:
            with EmbeddingStore(folder) as store:
                for start in range(0, 1000, 50):
                    part = slice(start, start + 50)
                    store.add(keys[part], vectors[part], [None] * 50)
                    n_stored += 50
        except DataFileError as error:
            print(error)
        assert n_stored >= 200
        assert_holds(folder, keys[:n_stored], vectors)
    """
    mount = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"]).returncode:
        pytest.skip("needs a system that lets a process mount a file system")
    done = subprocess.run(
        [*alone, sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(UNUSABLE.format("database or disk is full"), done.stdout)


@pytest.mark.parametrize(
    ("of_file", "of_folder"), [(0o444, 0o555), (0o666, 0o555), (0o444, 0o777)]
)
def test_read_only_cache_still_serves(of_file, of_folder):
    more, others = make_entries(3, seed=1)
    message = UNUSABLE.format("attempt to write a readonly database")
    with open_folder() as folder:
        path, keys, vectors = store_entries(folder, 100)
        path.chmod(of_file)
        folder.chmod(of_folder)
        with without_privileges():
            assert_holds(folder, keys, vectors)
            with (
                EmbeddingStore(folder) as store,
                pytest.raises(DataFileError, match=message),
            ):
                store.add(more, others, [None] * 3)
            assert_holds(folder, keys, vectors)


def test_file_that_may_not_be_read():
    message = UNUSABLE.format("unable to open database file")
    with open_folder() as folder:
        path, keys, vectors = store_entries(folder, 3)
        path.chmod(0)
        with without_privileges(), pytest.raises(DataFileError, match=message):
            EmbeddingStore(folder)
        path.chmod(0o666)
        assert_holds(folder, keys, vectors)


def test_read_only_directory_without_a_cache():
    message = UNUSABLE.format("unable to open database file")
    with open_folder() as folder:
        folder.chmod(0o555)
        with without_privileges():
            with pytest.raises(DataFileError, match=message):
                EmbeddingStore(folder)
            message = "/new' is not a directory and cannot be .*Permission denied"
            with pytest.raises(DataFileError, match=message):
                EmbeddingStore(folder / "new")


def test_directory_is_made(tmp_path):
    with EmbeddingStore(tmp_path / "a" / "b") as store:
        assert store.path == tmp_path / "a" / "b" / "embeddings.sqlite"
    assert store.path.is_file()


def test_directory_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataFileError, match="is not a directory and cannot be made one"
    ):
        EmbeddingStore(tmp_path / "file")


def test_file_that_cannot_be_opened(tmp_path):
    (tmp_path / "embeddings.sqlite").mkdir()
    message = UNUSABLE.format("unable to open database file")
    with pytest.raises(DataFileError, match=message):
        EmbeddingStore(tmp_path)
