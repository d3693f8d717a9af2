"""Texts of a file to vectors in a file: streamed, continued, and refused."""

import errno
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import warnings
import zipfile
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier, SentenceEmbedder
from skclif._storage.files import sole_writer
from skclif._text import text_file
from skclif._text.store import EmbeddingStore
from skclif.exceptions import DataFileError, TruncatedTextWarning

from ..privileges import open_folder, without_privileges
from . import hashed
from .hashed import HashedEmbedder, make_model, vector_of
from .test_store import files_no_larger_than

TEXTS = [f"soup {i % 23} was\ncold “{'so ' * (i % 7)}” 好" for i in range(35)]
IN_LINES = [text.replace("\n", " ") for text in TEXTS]
# What batches add to a vector of `HashedEmbedder`, or rounding to that of a model.
CLOSE = {"rtol": 0, "atol": 2e-6}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(text_file, "_AT_ONCE", 10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("hashed") / "model")


@pytest.fixture
def embedder(model):
    return HashedEmbedder(model, batch_size=4)


@pytest.fixture
def file(tmp_path):
    return write_csv(tmp_path / "texts.csv", TEXTS)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "vectors.npy"


def write_csv(path, texts):
    table = pd.DataFrame({"id": np.arange(len(texts)), "text": texts})
    table.to_csv(path, index=False)
    return path


def expected(texts=TEXTS, n_values=8):
    return np.stack([vector_of(text, n_values) for text in texts])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def record_of(out):
    return json.loads(out.with_name(f"{out.name}.json").read_text())


def change_record(out, **changes):
    path = out.with_name(f"{out.name}.json")
    path.write_text(json.dumps(record_of(out) | changes))


def stopped_after(embedder, file, out, n_blocks, monkeypatch, **options):
    """Stop a run by an error when some blocks are stored."""
    find, left = HashedEmbedder._in_one_piece, iter(range(n_blocks))

    def stop(self, texts, advance):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return find(self, texts, advance)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(HashedEmbedder, "_in_one_piece", stop)
        embedder.transform_file(file, out, **options)


# --- Vectors --------------------------------------------------------------------------


def test_vectors_are_those_of_transform(tiny_encoder, tmp_path, out):
    embedder = SentenceEmbedder(tiny_encoder, batch_size=4)
    file = write_csv(tmp_path / "texts.csv", TEXTS)
    found = embedder.transform_file(file, out)
    assert isinstance(found, np.memmap) and found.dtype == np.float32
    np.testing.assert_allclose(found, embedder.transform(TEXTS), **CLOSE)
    scaled = embedder.set_params(normalize=True)
    found = scaled.transform_file(file, tmp_path / "scaled.npy")
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    plain = SentenceEmbedder(tiny_encoder, layers=None, cache_dir=tmp_path)
    found = plain.transform_file(file, tmp_path / "plain.npy")
    np.testing.assert_array_equal(found, plain.transform(TEXTS))  # of the cache


def test_a_whole_file_is_a_plain_npy_file_with_a_record(embedder, file, out):
    found = embedder.transform_file(file, out)
    assert names(out.parent) == ["texts.csv", "vectors.npy", "vectors.npy.json"]
    assert found.filename == out and found.mode == "r"
    np.testing.assert_array_equal(np.load(out), found)
    np.testing.assert_allclose(found, expected(), **CLOSE)
    record = record_of(out)
    assert (record["n_texts"], record["n_features"], record["n_done"]) == (35, 8, 35)
    assert record["seconds"] > 0
    assert record["source"]["texts"] == str(file)


def pack(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("texts.csv", content)


def parquet_folder(path):
    path.mkdir()
    for start in (0, 13):
        part = pd.DataFrame({"text": TEXTS[start : start + 13 if start == 0 else 35]})
        part.to_parquet(path / f"part-{start:02d}.parquet")


def table():
    return pd.DataFrame({"n": range(35), "text": TEXTS})


FORMATS = {
    "a.csv": lambda p: table().to_csv(p, index=False),
    "b.csv": lambda p: table().to_csv(p, index=False, sep=";", encoding="utf-8-sig"),
    "c.csv.gz": lambda p: table().to_csv(p, index=False),
    "d.zip": lambda p: pack(p, table().to_csv(index=False)),
    "e.jsonl": lambda p: table().to_json(p, orient="records", lines=True),
    "f.json": lambda p: table().to_json(p, orient="records"),
    "g.parquet": lambda p: table().to_parquet(p),
    "h.parquet": lambda p: table().to_parquet(p, row_group_size=4),
    "i": parquet_folder,
    "j.xlsx": lambda p: table().to_excel(p, index=False),
}


def test_a_table_gives_the_same_bytes_in_every_format(embedder, tmp_path):
    found = set()
    for name, write in FORMATS.items():
        write(tmp_path / name)
        out = tmp_path / f"{name}.npy"
        embedder.transform_file(tmp_path / name, out)
        found.add(out.read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_line_is_a_text(embedder, tmp_path, out, end):
    path = tmp_path / "lines.txt.gz"
    path.write_bytes(gzip.compress(end.join(IN_LINES).encode("utf-16")))
    found = embedder.transform_file(path, out, text=None, encoding="utf-16")
    np.testing.assert_allclose(found, expected(IN_LINES), **CLOSE)


def test_several_columns_are_joined_as_load_reviews_joins_them(embedder, tmp_path, out):
    path = tmp_path / "texts.csv"
    path.write_text("title,body\nSoup,was cold\n,only this\n")
    found = embedder.transform_file(path, out, text=["title", "body"])
    texts = ["title: Soup\nbody: was cold", "body: only this"]
    np.testing.assert_allclose(found, expected(texts), **CLOSE)


def test_a_table_without_a_header(embedder, tmp_path, out):
    path = tmp_path / "texts.tsv"
    path.write_text('1\t"soup"\n2\tcold\n')
    options = {"column_names": {2: "said"}, "text": "said", "quoted": True}
    found = embedder.transform_file(path, out, **options)
    np.testing.assert_allclose(found, expected(["soup", "cold"]), **CLOSE)


def test_texts_of_a_block_are_computed_once(embedder, tmp_path, out, monkeypatch):
    asked = []
    encoded = HashedEmbedder._encoded

    def note(self, texts, rows):
        asked.extend(texts[row] for row in rows)
        return encoded(self, texts, rows)

    monkeypatch.setattr(HashedEmbedder, "_encoded", note)
    texts = ["a", "b", "a", "c"] * 10
    file = write_csv(tmp_path / "texts.csv", texts)
    found = embedder.transform_file(file, out)
    assert sorted(asked) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4  # of four blocks
    np.testing.assert_allclose(found, expected(texts), **CLOSE)
    asked.clear()
    cached = embedder.set_params(cache_dir=tmp_path)
    cached.transform_file(file, tmp_path / "again.npy")
    assert sorted(asked) == ["a", "b", "c"]


def test_blocks_of_long_texts_are_small(file):
    texts = text_file.TextFile.of(file, "text", False)
    sizes = [len(block) for block in texts.blocks(0, 35)]
    assert sizes == [10, 10, 10, 5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "_CHARACTERS", 60)
        blocks = [*texts.blocks(0, 35)]
        assert sum(blocks, []) == TEXTS
        assert all(sum(map(len, block[:-1])) < 60 for block in blocks)
        assert [*texts.blocks(len(blocks[0]), 35)] == blocks[1:]


def test_texts_that_are_cut_are_told_once(embedder, tmp_path, out, monkeypatch):
    texts = ["short", "so " * 50] * 20
    file = write_csv(tmp_path / "texts.csv", texts)
    stopped_after(embedder, file, out, 2, monkeypatch)
    for _ in range(2):  # of both runs, and of a whole file
        with pytest.warns(TruncatedTextWarning, match="20 of 40 .* 100 tokens") as told:
            embedder.transform_file(file, out)
        assert len(told) == 1


def test_a_bottleneck_is_fitted_to_the_file(embedder, file, out):
    X = embedder.transform_file(file, out)
    y = np.arange(35) % 3
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=y[:, None] > 1)
    plain = ConceptBottleneckClassifier().fit(np.array(X), y, concepts=y[:, None] > 1)
    np.testing.assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))


# --- A run that is stopped ------------------------------------------------------------


def killed_at(step, run):
    """Run in another process, which kills itself before a step; was it killed?"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads and fork
        child = os.fork()
    if not child:
        steps = count()

        def killing(function):
            def killing_first(*args, **kwargs):
                if next(steps) == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return killing_first

        try:
            for name in ("fsync", "replace", "posix_fallocate"):
                setattr(os, name, killing(getattr(os, name)))
            EmbeddingStore.add = killing(EmbeddingStore.add)
            hashed.batch_of = killing(hashed.batch_of)
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.parametrize("with_cache", [False, True])
def test_a_run_killed_at_any_step_continues_to_the_same_bytes(
    model, tmp_path, with_cache
):
    file = write_csv(tmp_path / "texts.csv", TEXTS[:15])

    def run(folder):
        cache = folder / "cache" if with_cache else None
        embedder = HashedEmbedder(model, batch_size=4, cache_dir=cache)
        return embedder.transform_file(file, folder / "v.npy")

    whole = tmp_path / "whole"
    whole.mkdir()
    run(whole)
    bytes_of_all = (whole / "v.npy").read_bytes()
    for step in count():
        folder = tmp_path / str(step)
        folder.mkdir()
        was_killed = killed_at(step, lambda: run(folder))  # noqa: B023 - runs at once
        if (folder / "v.npy").exists():
            assert (folder / "v.npy").read_bytes() == bytes_of_all
        run(folder)
        assert (folder / "v.npy").read_bytes() == bytes_of_all
        assert names(folder) == names(whole)
        if not was_killed:
            break
    assert step > 15


def test_what_was_embedded_is_not_embedded_again(embedder, file, out, monkeypatch):
    stopped_after(embedder, file, out, 2, monkeypatch)
    assert record_of(out)["n_done"] == 20
    assert not out.exists() and out.with_name("vectors.npy.part").exists()
    asked = []
    encoded = HashedEmbedder._encoded
    monkeypatch.setattr(
        HashedEmbedder,
        "_encoded",
        lambda self, texts, rows: asked.extend(texts) or encoded(self, texts, rows),
    )
    embedder.transform_file(file, out)
    assert len(asked) == 15


def test_a_whole_file_is_left_alone(embedder, file, out, monkeypatch):
    embedder.transform_file(file, out)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in [out]}
    monkeypatch.setattr(HashedEmbedder, "_encoder", None)  # no model is loaded
    found = embedder.transform_file(file, out)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
    np.testing.assert_allclose(found, expected(), **CLOSE)


def test_vectors_that_were_removed_are_made_again(embedder, file, out):
    embedder.transform_file(file, out)
    out.unlink()
    found = embedder.set_params(normalize=True).transform_file(file, out)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)


def test_the_same_texts_in_another_file_continue(
    embedder, file, out, tmp_path, monkeypatch
):
    stopped_after(embedder, file, out, 2, monkeypatch)
    other = tmp_path / "texts.jsonl"
    table().rename(columns={"text": "said"}).to_json(
        other, orient="records", lines=True
    )
    embedder.set_params(batch_size=2).transform_file(other, out, text="said")
    np.testing.assert_allclose(np.load(out), expected(), **CLOSE)


# --- What is refused ------------------------------------------------------------------

OTHERS = {
    "normalize": (True, "normalize was False and is True"),
    "long_text": ("mean", "long_text was 'truncate' and is 'mean'"),
    "layers": ([-1], r"layers was 'auto' and is \[-1\]"),
    "pooling": ("max", r"pooling was \['mean'\] and is \['max'\]"),
    "layer_pooling": ("concat", "layer_pooling was 'mean' and is 'concat'"),
}


@pytest.mark.parametrize("is_whole", [True, False])
def test_vectors_that_were_made_in_another_way_are_kept(
    model, file, out, tmp_path, monkeypatch, is_whole
):
    embedder = HashedEmbedder(model, batch_size=4)
    stopped_after(embedder, file, out, 2, monkeypatch)
    if is_whole:
        embedder.transform_file(file, out)
    files = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}

    def refused(match, embedder=embedder, file=file):
        with pytest.raises(DataFileError, match=f"was begun in another way: {match}"):
            embedder.transform_file(file, out)

    for name, (value, match) in OTHERS.items():
        other = HashedEmbedder(model, batch_size=4, **{name: value})
        refused(rf"{match}\. Call it as before, give another out=, or remove", other)
    other = HashedEmbedder(make_model(tmp_path / "other", b"others"))
    refused("the model is another than '.*model' was", other)
    more = write_csv(tmp_path / "more.csv", [*TEXTS, "more"])
    refused(r"the texts of .*more.csv are others \(35 then, 36 now\)\.", file=more)
    more.unlink()
    changed = write_csv(tmp_path / "changed.csv", [*TEXTS[:-1], "changed"])
    refused(r"the texts of .*changed.csv are others\. Call", file=changed)
    changed.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("skclif._text.embed_file.VERSION", "0")
        refused("skclif .* reads layers in another way")
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == files
    embedder.transform_file(file, out)


BAD_FILES = {
    "no column": ("a,b\n1,2\n", {}, "no column 'text', asked for as the text.*text="),
    "empty": ("", {}, "is empty"),
    "no rows": ("text\n", {}, "has columns but no rows"),
    "blank": (
        "n,text\n1,a\n2,\n3, \n4,b\n",
        {},
        r"column 'text', rows 2, 3: the text is empty\..*incomplete='keep'",
    ),
    "many blank": (
        "n,text\n" + "1,\n" * 9,
        {},
        "column 'text', rows 1, 2, 3, 4, 5 and 4 more: the text is empty",
    ),
    "blank line": ("a\n\nb\n", {"text": None}, "line 2: no text, where every line is"),
    "no lines": ("", {"text": None}, "is empty"),
    "encoding": (b"text\nZo\xeb\n", {}, "line 2 .* is not written in 'utf-8'"),
    "encoding of lines": (b"Zo\xeb\n", {"text": None}, "is not written in 'utf-8'"),
    "unknown encoding": ("text\na\n", {"encoding": "utf-9"}, "'utf-9' is not known"),
    "a late row": ("n,text\n" + "1,a\n" * 99 + "1,a,b\n", {}, "row 100: 3 fields"),
    "a sheet": ("text\na\n", {"sheet": "S"}, "is no workbook and has no sheets"),
    "columns by number": (
        "text\na\n",
        {"column_names": {0: "text"}},
        "column_names must be a dict from numbers of columns",
    ),
    "lines with columns": ("a\n", {"text": None, "quoted": True}, "leave out quoted="),
    "no name": ("text\na\n", {"text": []}, r"text=\[\] must be the name of a column"),
    "no names": ("text\na\n", {"text": [1]}, r"text=\[1\] must be the name of a"),
    "twice": ("text\na\n", {"text": ["a", "a"]}, "names a column twice"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused_before_any_work(
    embedder, tmp_path, out, monkeypatch, case
):
    content, options, match = BAD_FILES[case]
    file = tmp_path / "texts.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(HashedEmbedder, "_encoder", None)
    with pytest.raises(ValueError, match=match):
        embedder.transform_file(file, out, **options)
    assert names(tmp_path) == ["texts.csv"]


@pytest.mark.parametrize("value", [None, float("nan")])
def test_values_that_are_missing_are_no_texts(embedder, tmp_path, out, value):
    texts = ["a", value, "b"]
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataFileError, match="row 2: the text is empty"):
        embedder.transform_file(tmp_path / "t.parquet", out)
    found = embedder.transform_file(tmp_path / "t.parquet", out, incomplete="keep")
    np.testing.assert_allclose(found, expected(["a", "", "b"]), **CLOSE)
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"n": 1}\n{"text": [1]}\n')
    with pytest.raises(DataFileError, match="row 3: the column holds lists"):
        embedder.transform_file(tmp_path / "t.jsonl", out)


def test_a_column_that_no_line_of_json_has(embedder, tmp_path, out):
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n{"review": "b"}\n')
    with pytest.raises(DataFileError, match="no column 'text'.*'a', 'review'"):
        embedder.transform_file(tmp_path / "t.jsonl", out)


def test_places_that_hold_no_texts(embedder, tmp_path, out):
    with pytest.raises(FileNotFoundError, match="There is no file .*none.csv"):
        embedder.transform_file(tmp_path / "none.csv", out)
    with pytest.raises(FileNotFoundError, match="There is no file .*none.txt"):
        embedder.transform_file(tmp_path / "none.txt", out, text=None)
    with pytest.raises(DataFileError, match="is a folder; name a file of lines"):
        embedder.transform_file(tmp_path, out, text=None)
    with pytest.raises(FileNotFoundError, match="'s3:.*' is an address, and only"):
        embedder.transform_file("s3://bucket/texts.csv", out)
    table().to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataFileError, match="is a table, and no file of lines"):
        embedder.transform_file(tmp_path / "t.parquet", out, text=None)


def test_places_where_no_vectors_can_be(embedder, file, tmp_path):
    with pytest.raises(DataFileError, match=r"v\.csv is to hold .* end in \.npy.*out="):
        embedder.transform_file(file, tmp_path / "v.csv")
    with pytest.raises(FileNotFoundError, match="There is no folder '.*none'. Make it"):
        embedder.transform_file(file, tmp_path / "none" / "v.npy")
    (tmp_path / "v.npy").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder. Name a file in it"):
        embedder.transform_file(file, tmp_path / "v.npy")
    if Path("/proc/self").exists():
        with pytest.raises(OSError, match="The folder '/proc' cannot be written to: "):
            embedder.transform_file(file, "/proc/v.npy")


def test_files_of_others_are_kept(embedder, file, out):
    for name in ("vectors.npy", "vectors.npy.part"):
        path = out.with_name(name)
        path.write_bytes(b"mine")
        with pytest.raises(DataFileError, match=f"{name} exists, without a record"):
            embedder.transform_file(file, out)
        assert path.read_bytes() == b"mine"
        path.unlink()


def test_damage_is_found(embedder, file, out, monkeypatch):
    stopped_after(embedder, file, out, 1, monkeypatch)
    draft = out.with_name("vectors.npy.part")
    content = draft.read_bytes()
    for damaged in (content[:-1], b"\0" * len(content)):
        draft.write_bytes(damaged)
        with pytest.raises(DataFileError, match="part is not what was written"):
            embedder.transform_file(file, out)
    draft.write_bytes(content)
    out.write_bytes(content)
    with pytest.raises(DataFileError, match="record vectors.npy.json is of vectors"):
        embedder.transform_file(file, out)
    out.unlink()
    embedder.transform_file(file, out)
    out.write_bytes(content)
    with pytest.raises(DataFileError, match="has changed since it was written"):
        embedder.transform_file(file, out)
    change_record(out, format=2)
    with pytest.raises(DataFileError, match="has format 2; .* Update skclif"):
        embedder.transform_file(file, out)
    for content in ("{", "[]", '{"format": 1}', '{"format": 1, "skclif_version": 1}'):
        out.with_name("vectors.npy.json").write_text(content)
        with pytest.raises(DataFileError, match="is no record of vectors"):
            embedder.transform_file(file, out)


def test_a_file_that_changes_while_it_is_read(embedder, file, out, monkeypatch):
    find = HashedEmbedder._in_one_piece

    def append(self, texts, advance):
        if TEXTS[10] in texts:
            with open(file, "a", encoding="utf-8") as stream:
                stream.write("36,more\n")
        return find(self, texts, advance)

    with monkeypatch.context() as patch:
        patch.setattr(HashedEmbedder, "_in_one_piece", append)
        with pytest.raises(DataFileError, match=r"texts\.csv has changed while it was"):
            embedder.transform_file(file, out)
    assert record_of(out)["n_done"] == 10
    write_csv(file, TEXTS)
    embedder.transform_file(file, out)
    np.testing.assert_allclose(np.load(out), expected(), **CLOSE)


def test_a_disk_without_room_is_told_before_any_text(embedder, file, out, monkeypatch):
    with monkeypatch.context() as patch, files_no_larger_than(1000):
        patch.setattr(HashedEmbedder, "_in_one_piece", None)
        match = r"takes 0\.0 MB for 35 vectors of 8 values, and .*too large.*run it aga"
        with pytest.raises(DataFileError, match=match):
            embedder.transform_file(file, out)
    assert names(out.parent) == ["texts.csv"]
    embedder.transform_file(file, out)


def failing_after(n_calls, function, error):
    calls = count()

    def failing(*args):
        if next(calls) >= n_calls:
            raise OSError(error, os.strerror(error))
        return function(*args)

    return failing


def test_a_disk_that_fills_up_loses_nothing(embedder, file, out, monkeypatch):
    with monkeypatch.context() as patch:
        full = failing_after(8, os.fsync, errno.ENOSPC)
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataFileError, match="No space left.*10 vectors are kept.*"):
            embedder.transform_file(file, out)
    assert record_of(out)["n_done"] == 10
    with monkeypatch.context() as patch:  # no room at all, where none was made yet
        change_record(out, n_done=0)
        patch.setattr(os, "posix_fallocate", failing_after(0, None, errno.ENOSPC))
        with pytest.raises(DataFileError, match="No space left"):
            embedder.transform_file(file, out)
    embedder.transform_file(file, out)
    np.testing.assert_allclose(np.load(out), expected(), **CLOSE)


@pytest.mark.parametrize("kept", ["not by the file system", "not by the system"])
def test_where_no_room_can_be_kept(embedder, file, out, monkeypatch, kept):
    if kept == "not by the system":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        unable = failing_after(0, None, errno.EOPNOTSUPP)
        monkeypatch.setattr(os, "posix_fallocate", unable)
    np.testing.assert_allclose(embedder.transform_file(file, out), expected(), **CLOSE)


def test_one_process_writes(embedder, file, out):
    with (
        sole_writer(out),
        pytest.raises(BlockingIOError, match="Another skclif is writing to .*npy"),
    ):
        embedder.transform_file(file, out)


def test_places_without_permission():
    with open_folder() as folder, without_privileges():
        embedder = HashedEmbedder(make_model(folder / "model"))
        texts = folder / "texts.csv"
        texts.write_text("text\na\n")
        (folder / "closed").mkdir(0o555)
        with pytest.raises(PermissionError, match="cannot be written to: permission"):
            embedder.transform_file(texts, folder / "closed" / "v.npy")
        (folder / "closed").chmod(0o755)
        whole = embedder.transform_file(texts, folder / "closed" / "v.npy")
        (folder / "closed").chmod(0o555)
        again = embedder.transform_file(texts, folder / "closed" / "v.npy")
        np.testing.assert_array_equal(again, whole)
        texts.chmod(0)
        with pytest.raises(PermissionError, match="texts.csv"):
            embedder.transform_file(texts, folder / "v.npy")
        assert names(folder) == ["closed", "model", "texts.csv"]


def test_a_cache_of_other_vectors_is_refused(model, file, out, tmp_path):
    embedder = HashedEmbedder(model, cache_dir=tmp_path / "cache")
    with EmbeddingStore(tmp_path / "cache") as store:
        n = len(set(TEXTS))
        keys = embedder._keys([*dict.fromkeys(TEXTS)])
        store.add(keys, np.zeros((n, 3), np.float32), [None] * n)
    match = "cache.* is damaged: its vectors have 3 values where the model gives 8"
    with pytest.raises(DataFileError, match=match):
        embedder.transform_file(file, out)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, 3) for name in ("path", "out", "text", "incomplete", "encoding")],
        *[("quoted", "yes"), ("sheet", 1), ("column_names", ["text"])],
        *[("path", None), ("out", None), ("incomplete", "skip"), ("path", ["a.csv"])],
    ],
)
def test_wrong_arguments_are_named(embedder, file, out, name, value):
    given = {"path": file, "out": out, name: value}
    match = f"The '{name}' parameter of SentenceEmbedder.transform_file must be"
    with pytest.raises(ValueError, match=match):
        embedder.transform_file(**given)


def test_parameters_of_the_embedder_are_checked_first(model, file, out, tmp_path):
    with pytest.raises(ValueError, match="The 'long_text' parameter of HashedEmbedder"):
        HashedEmbedder(model, long_text="cut").transform_file(file, out)
    with pytest.raises(ValueError, match="layers=None takes the vectors as the"):
        HashedEmbedder(model, layers=None, pooling="max").transform_file(file, out)
    with pytest.raises(ValueError, match="device='tpu' is not known"):
        HashedEmbedder(model, device="tpu").transform_file(file, out)
    with pytest.raises(OSError, match="is not on this machine|is not a directory"):
        HashedEmbedder("./none").transform_file(file, out)
    assert names(tmp_path) == ["texts.csv"]


# --- What a run shows and takes -------------------------------------------------------


def test_progress_shows_texts_a_second(embedder, file, out, bars, capfd, monkeypatch):
    stopped_after(embedder, file, out, 2, monkeypatch)
    embedder.set_params(verbose=1).transform_file(file, out)
    said = capfd.readouterr().err
    assert re.search(r"Embedding texts: +57%\|[^|]*\| 20/35 \[", said)
    assert re.search(r"Embedding texts: 100%\|[^|]*\| 35/35 \[.*[\d.]+ texts/s\]", said)


MEMORY = """
import sys
from tests.text.hashed import HashedEmbedder

taken = []

class Watched(HashedEmbedder):
    n_values = 64

    def _in_one_piece(self, texts, advance):
        yield from super()._in_one_piece(texts, advance)
        with open("/proc/self/status") as status:
            (line,) = [line for line in status if line.startswith("RssAnon")]
        taken.append(int(line.split()[1]) * 1024)

model, file, out = sys.argv[1:]
Watched(model, batch_size=512).transform_file(file, out)
print(taken[1], max(taken), sum(taken) / len(taken), len(taken))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_does_not_grow_with_the_texts(model, tmp_path):
    n_texts = 20_480
    lines = [f"text {i} " + "x" * 500 for i in range(n_texts)]
    (tmp_path / "lines.txt").write_text("text\n" + "\n".join(lines))
    arguments = [str(model), str(tmp_path / "lines.txt"), str(tmp_path / "v.npy")]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    early, most, _, n_blocks = map(float, done.stdout.split())
    assert n_blocks == 10
    # The texts take 10 MB, their vectors 5 MB.
    assert most - early < 3e6
