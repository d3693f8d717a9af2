import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest

from skclif import _embedding_cache
from skclif._embedding_cache import EmbeddingStore, text_keys
from skclif.exceptions import DataFileError


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


def run_sql(path, statement, arguments=()):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, arguments).fetchall()


def test_vectors_come_back_as_they_were_stored(tmp_path):
    keys, vectors = make_entries(1200)
    limits = [256 if i % 7 == 0 else None for i in range(1200)]
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, limits)
    with EmbeddingStore(tmp_path) as store:
        found = fetch_all(store, keys[::-1])
    assert sorted(found) == list(range(1200))
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
    with pytest.raises(DataFileError, match=r"has format 99; skclif .* reads format 1"):
        EmbeddingStore(tmp_path)


def test_foreign_database_is_refused(tmp_path):
    run_sql(tmp_path / "embeddings.sqlite", "CREATE TABLE mine (x)")
    with pytest.raises(
        DataFileError, match="is a database, but not an embedding cache"
    ):
        EmbeddingStore(tmp_path)


def test_file_that_is_no_database(tmp_path):
    (tmp_path / "embeddings.sqlite").write_bytes(b"not a database " * 100)
    with pytest.raises(
        DataFileError, match=r"embeddings\.sqlite is damaged .*Delete the file"
    ):
        EmbeddingStore(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "overwrite"])
def test_damaged_file(tmp_path, damage):
    keys, vectors = make_entries(2000, d=100)
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, [None] * 2000)
    content = bytearray(store.path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[65536:] = bytes(len(content) - 65536)
    store.path.write_bytes(content)
    with (
        pytest.raises(DataFileError, match=r"is damaged .*Delete the file"),
        EmbeddingStore(tmp_path) as store,
    ):
        fetch_all(store, keys)


@pytest.mark.parametrize("blob", [b"", b"1234", b"12345"])
def test_damaged_vector(tmp_path, blob):
    keys, vectors = make_entries(4)
    with EmbeddingStore(tmp_path) as store:
        store.add(keys, vectors, [None] * 4)
    change = "UPDATE vectors SET vector = ? WHERE key = ?"
    run_sql(store.path, change, (blob, keys[1]))
    with (
        EmbeddingStore(tmp_path) as store,
        pytest.raises(DataFileError, match="is damaged .vectors of one model differ"),
    ):
        fetch_all(store, keys)


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
    with pytest.raises(DataFileError, match=r"cannot be used .*give another cache_dir"):
        EmbeddingStore(tmp_path)
