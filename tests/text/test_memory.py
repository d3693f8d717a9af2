"""Vectors in memory: shared by clones and threads, bounded, and off on request."""

import gc
import json
import pickle
import shutil
import threading
import warnings
import weakref
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skclif import SentenceEmbedder
from skclif._text import embedder as embedder_module
from skclif._text import memory
from skclif._text.encoder import Encoder
from skclif._text.memory import SHARED, VectorMemory

TEXTS = ["good soup", "bad soup", "rude waiter", "lovely service", "good soup"]


@pytest.fixture(autouse=True)
def empty():
    SHARED.clear()
    yield
    SHARED.clear()


@pytest.fixture
def computed(monkeypatch):
    """Texts that the encoder was given, in order."""
    texts, blocks = [], Encoder.blocks

    def counted(self, chosen, *args):
        texts.extend(chosen)
        return blocks(self, chosen, *args)

    monkeypatch.setattr(Encoder, "blocks", counted)
    return texts


def test_clones_share_vectors(tiny_encoder, computed):
    embedder = SentenceEmbedder(tiny_encoder)
    first = embedder.transform(TEXTS)
    second = clone(embedder).transform([*TEXTS, "warm soup"])
    np.testing.assert_array_equal(second[:5], first)
    assert sorted(computed) == sorted({*TEXTS, "warm soup"})
    second[:] = 0  # what is returned is a copy
    np.testing.assert_array_equal(clone(embedder).transform(TEXTS), first)


def test_what_changes_a_vector_is_told_apart(tiny_encoder, computed):
    long = [" ".join(["good soup and bad service"] * 20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a text that is cut
        cut = SentenceEmbedder(tiny_encoder).transform(long)
    mean = SentenceEmbedder(tiny_encoder, long_text="mean").transform(long)
    assert not np.allclose(cut, mean) and len(computed) == 2
    unit = SentenceEmbedder(tiny_encoder, long_text="mean", normalize=True)
    np.testing.assert_allclose(
        unit.transform(long), mean / np.linalg.norm(mean), rtol=1e-6
    )
    assert len(computed) == 2


@pytest.fixture
def prompted(tiny_encoder, tmp_path):
    """The same weights, with words that are put in front of every text."""
    prompt = {"prompts": {"review": "the food: "}, "default_prompt_name": "review"}
    return _changed(tiny_encoder, tmp_path, "config_sentence_transformers", prompt)


@pytest.fixture
def shorter(tiny_encoder, tmp_path):
    """The same weights, which read less of a text."""
    limit = {"max_seq_length": 4}
    return _changed(tiny_encoder, tmp_path, "sentence_bert_config", limit)


def _changed(model, tmp_path, name, content):
    folder = tmp_path / name
    shutil.copytree(model, folder)
    (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_settings_never_share_a_vector(tiny_encoder, prompted, shorter, monkeypatch):
    """Not even where vectors differ by rounding only, as between kinds of devices."""
    asked = []

    def remembered(keys, rows):
        asked.append(keys[0])
        return [([0], np.ones((1, 2)), [None])], []

    def resolved(device):
        return SimpleNamespace(type=device.partition(":")[0])

    monkeypatch.setattr(embedder_module, "_remembered", remembered)
    monkeypatch.setattr(embedder_module, "resolve_device", resolved)
    settings = [
        {},
        {"device": "cuda"},
        {"device": "cuda", "dtype": "float16"},
        {"device": "cuda", "dtype": "bfloat16"},
        {"long_text": "mean"},
        {"model": prompted},
        {"model": shorter},
    ]
    same = [{"device": "cuda:1"}, {"batch_size": 3}]  # changes no vector
    for own in [*settings, *same]:
        SentenceEmbedder(**{"model": tiny_encoder, **own}).transform(TEXTS[:1])
    assert len(set(asked)) == len(settings)
    assert asked[len(settings) :] == [asked[1], asked[0]]


@pytest.mark.filterwarnings("ignore::skclif.exceptions.TruncatedTextWarning")
def test_other_models_of_the_same_weights_have_their_own_vectors(
    tiny_encoder, prompted, shorter
):
    models = [tiny_encoder, prompted, shorter]
    first = [SentenceEmbedder(model).transform(["good soup, bad"]) for model in models]
    again = [SentenceEmbedder(model).transform(["good soup, bad"]) for model in models]
    np.testing.assert_array_equal(again, first)
    for one, other in combinations(first, 2):
        assert not np.allclose(one, other)


def test_a_text_that_is_cut_warns_each_time(tiny_encoder, computed):
    long = [" ".join(["good soup and bad service"] * 20)]
    for _ in range(2):
        with pytest.warns(match="1 of 1 text is longer than the 32 tokens"):
            SentenceEmbedder(tiny_encoder).transform(long)
    assert len(computed) == 1


def test_sharing_can_be_turned_off(tiny_encoder, computed):
    embedder = SentenceEmbedder(tiny_encoder, share_vectors=False)
    embedder.transform(TEXTS)
    clone(embedder).transform(TEXTS)
    assert len(computed) == 8
    assert not SHARED.fetch(embedder._keys(TEXTS))[0]


def test_a_store_on_disk_serves_instead(tiny_encoder, computed, tmp_path):
    SentenceEmbedder(tiny_encoder).transform(TEXTS)
    for _ in range(2):  # written although the vectors are in memory, and then read
        SentenceEmbedder(tiny_encoder, cache_dir=tmp_path).transform(TEXTS)
    assert len(computed) == 8


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_computes_every_text_once(tiny_encoder, computed, n_jobs):
    rng = np.random.default_rng(0)
    words = np.array(["good", "bad", "soup", "waiter", "slow", "lovely"])
    texts = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    labels = [int("good" in text) for text in texts]
    steps = [("embed", SentenceEmbedder(tiny_encoder)), ("clf", LogisticRegression())]
    search = GridSearchCV(
        Pipeline(steps), {"clf__C": [0.1, 1.0, 10.0]}, cv=3, n_jobs=n_jobs
    )
    with Parallel(n_jobs=1) if n_jobs is None else _threads():
        search.fit(texts, labels)
    assert sorted(computed) == sorted(set(texts))


@pytest.mark.parametrize(("share", "n_loads"), [(True, 1), (False, 2)])
def test_clones_that_share_vectors_share_the_weights(
    tiny_encoder, monkeypatch, share, n_loads
):
    loaded, load = [], embedder_module.load_model

    def counted(*args):
        loaded.append(args)
        return load(*args)

    monkeypatch.setattr(embedder_module, "load_model", counted)
    first = SentenceEmbedder(tiny_encoder, share_vectors=share)
    first.transform(TEXTS)
    second = clone(first)
    second.transform(["warm soup"])
    assert len(loaded) == n_loads
    # Who no longer shares must not use what others use at the same time.
    second.set_params(share_vectors=False).transform(["cold soup"])
    assert len(loaded) == 2


def test_weights_go_with_the_last_embedder(shorter):
    embedder = SentenceEmbedder(shorter)
    embedder.transform(["soup"])
    weights = weakref.ref(embedder._loaded[1])
    del embedder
    gc.collect()
    assert weights() is None


def _threads():
    from joblib import parallel_config

    return parallel_config(backend="threading")


def test_a_process_is_told_once_of_the_store_that_it_can_share(tiny_encoder):
    def run(folder, share):
        # Not by the module's name, which would be this process's object.
        from skclif._text.memory import SHARED

        SHARED.clear()
        SHARED.warned = False
        with warnings.catch_warnings(record=True) as caught:
            for text in ("warm soup", "cold soup"):
                warnings.simplefilter("always")
                SentenceEmbedder(folder, share_vectors=share).transform([text])
        return [str(warning.message) for warning in caught]

    def run_both(folder):  # in one process, which imports for seconds
        return [run(folder, share) for share in (True, False)]

    (both,) = Parallel(n_jobs=2)([delayed(run_both)(tiny_encoder)])
    for messages in both:
        told = [m for m in messages if "is embedded in a process of its own" in m]
        assert len(told) == 1
        assert "1 text is embedded" in told[0] and "cache_dir=" in told[0]
    assert run_both(tiny_encoder) == [[], []]


def test_a_missing_device_is_refused_although_vectors_are_there(tiny_encoder):
    SentenceEmbedder(tiny_encoder).transform(TEXTS)
    with pytest.raises(ValueError, match="device='cuda:77'"):
        SentenceEmbedder(tiny_encoder, device="cuda:77").transform(TEXTS)


def test_an_error_lets_other_threads_go_on(tiny_encoder, monkeypatch):
    def broken(*args):
        raise OSError("no")

    with monkeypatch.context() as patched:
        patched.setattr(Encoder, "blocks", broken)
        with pytest.raises(OSError, match="no") as error:
            SentenceEmbedder(tiny_encoder).transform(TEXTS)
    found = []
    thread = threading.Thread(
        target=lambda: found.append(SentenceEmbedder(tiny_encoder).transform(TEXTS))
    )
    thread.start()
    thread.join(60)
    assert error is not None and found[0].shape == (5, 16)


# --- The memory itself ----------------------------------------------------------------


def _vectors(n, d=10):
    return np.arange(n * d, dtype=np.float32).reshape(n, d)


def test_the_vectors_that_were_not_used_for_longest_go():
    size = 10 * 4 + memory._OVERHEAD
    store = VectorMemory(limit=3 * size)
    keys = [bytes([i]) for i in range(4)]
    store.add(keys[:3], _vectors(3), [None, 7, None])
    store.fetch(keys[:1])
    store.add(keys[3:], _vectors(1), [None])
    rows, vectors, limits = store.fetch(keys)
    assert rows == [0, 2, 3] and limits == [None, None, None]
    np.testing.assert_array_equal(vectors[1], _vectors(3)[2])
    assert store._size == 3 * size


def test_a_key_keeps_its_first_vector():
    store = VectorMemory()
    store.add([b"a"], _vectors(1), [5])
    store.add([b"a"], _vectors(1) + 1, [6])
    _, (vector,), limits = store.fetch([b"b", b"a"])
    np.testing.assert_array_equal(vector, _vectors(1)[0])
    assert limits == [5] and not vector.flags.writeable


def test_a_vector_that_is_larger_than_all_memory_is_not_kept():
    store = VectorMemory(limit=100)
    store.add([b"a"], _vectors(1, 1000), [None])
    assert store.fetch([b"a"])[0] == [] and store._size == 0


def test_memory_is_no_part_of_pickles(tiny_encoder):
    with pytest.raises(TypeError, match="belong to one process"):
        pickle.dumps(SHARED)
    pickle.dumps(SentenceEmbedder(tiny_encoder))
