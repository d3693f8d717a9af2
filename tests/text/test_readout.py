"""How layers become vectors, against one text and one token at a time."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    SentenceEmbedder,
    load_model,
    save_model,
)
from skclif._text.readout import (
    LENGTH,
    VERSION,
    Readout,
    beside_padding,
    group_sums,
    sentence_ends,
    upper_layers,
)

CLOSE = {"rtol": 0, "atol": 5e-6}
TEXTS = [
    "great soup! the waiter was rude. cold? never again",
    "soup",
    "",
    "the food was great.\nthe waiter was slow",
]


def token_vectors(folder, text, layers, concat=False):
    """Return tokens with their place in the text, and the mean or row of layers."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    limit = json.loads(Path(folder, "sentence_bert_config.json").read_text())
    limits = {"truncation": True, "max_length": limit["max_seq_length"]}
    inputs = tokenizer(text, return_tensors="pt", return_offsets_mapping=True, **limits)
    offsets = inputs.pop("offset_mapping")[0].numpy()
    with torch.inference_mode():
        states = model(**inputs, output_hidden_states=True).hidden_states
    chosen = [states[layer][0].numpy() for layer in layers]
    vectors = np.concatenate(chosen, axis=1) if concat else np.mean(chosen, axis=0)
    return vectors[1:-1], offsets[1:-1]  # without [CLS] and [SEP]


def scaled(vector):
    return vector * LENGTH / np.linalg.norm(vector)


def read_out(folder, texts, layers, concat=False):
    """Return the scaled means over tokens."""
    rows = []
    for text in texts:
        vectors, _ = token_vectors(folder, text, layers, concat)
        total = vectors.sum(axis=0)
        rows.append(scaled(total) if len(vectors) else total)
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize(
    ("layers", "places"),
    [((-1,), [2]), ([0], [0]), ((0, -1), [0, 2]), ((1, 2), [1, 2])],
)
@pytest.mark.parametrize("layer_pooling", ["mean", "concat"])
def test_layers(tiny_encoder, layers, places, layer_pooling):
    embedder = SentenceEmbedder(
        tiny_encoder, layers=layers, layer_pooling=layer_pooling, batch_size=2
    )
    concat = layer_pooling == "concat"
    expected = read_out(tiny_encoder, TEXTS, places, concat)
    np.testing.assert_allclose(embedder.fit_transform(TEXTS), expected, **CLOSE)
    width = 16 * len(places) if concat else 16
    assert len(embedder.get_feature_names_out()) == width


def sentences(text):
    return [part for part in re.split(r"(?<=[.!?])\s+|\n", text) if part]


def pooled(folder, text, name):
    vectors, offsets = token_vectors(folder, text, [1, 2])
    means = []
    for sentence in sentences(text):
        start = text.index(sentence)
        inside = (offsets[:, 0] >= start) & (offsets[:, 1] <= start + len(sentence))
        means.append(vectors[inside].mean(axis=0))
    if name == "mean":
        return vectors.mean(axis=0)
    if name == "max":
        return np.max(means, axis=0)
    return np.sort(means, axis=0)[-3:].mean(axis=0)


@pytest.mark.parametrize("name", ["mean", "max", "top"])
def test_pooling_over_sentences(tiny_encoder, name):
    found = SentenceEmbedder(tiny_encoder, pooling=name).transform(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        if text:
            expected = scaled(pooled(tiny_encoder, text, name))
            np.testing.assert_allclose(vector, expected, **CLOSE)
        else:
            assert not vector.any()


def test_several_poolings_stand_side_by_side(tiny_encoder):
    both = SentenceEmbedder(tiny_encoder, pooling=("mean", "max")).transform(TEXTS)
    parts = [
        SentenceEmbedder(tiny_encoder, pooling=name).transform(TEXTS)
        for name in ("mean", "max")
    ]
    np.testing.assert_allclose(both, np.hstack(parts) / np.sqrt(2), **CLOSE)


def test_long_texts_are_pooled_over_all_their_tokens(tiny_encoder):
    words = ["soup", "great", "cold", "rude", "waiter"] * 14
    chunks = [" ".join(words[i : i + 30]) for i in range(0, len(words), 30)]
    total = sum(token_vectors(tiny_encoder, c, [1, 2])[0].sum(axis=0) for c in chunks)
    embedder = SentenceEmbedder(tiny_encoder, long_text="mean")
    (vector,) = embedder.transform([" ".join(words)])
    np.testing.assert_allclose(vector, scaled(total), **CLOSE)


@pytest.mark.parametrize("is_left", [False, True])
def test_sums_over_groups_leave_padding_out(is_left):
    import torch

    tokens = torch.arange(12.0).reshape(1, 6, 2) ** 2
    groups = beside_padding(np.array([-1, 0, 1, 0]), 6, is_left)
    (sums,) = group_sums(tokens, [groups])
    first = 3 if is_left else 1
    expected = [tokens[0, first] + tokens[0, first + 2], tokens[0, first + 1]]
    np.testing.assert_array_equal(sums, torch.stack(expected))


def test_the_upper_half():
    assert upper_layers(6) == (3, 4, 5, 6)
    assert upper_layers(12) == tuple(range(6, 13))
    assert upper_layers(1) == (0, 1)


def test_sentences():
    text = "It cost 3.50 $. Too much!? 好吃。很好\nNever… again"
    ends = sentence_ends(text)
    parts = [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]
    assert [part.strip() for part in parts] == [
        "It cost 3.50 $.",
        "Too much!?",
        "好吃。",
        "很好",
        "Never…",
        "again",
    ]


def test_vectors_without_tokens_are_zero():
    vector = Readout((1,), pooling=("mean", "top")).pool(np.empty((0, 4)), np.empty(0))
    assert vector.shape == (8,)
    assert not vector.any()


@pytest.fixture
def first_token(tiny_encoder, tmp_path):
    """The tiny model, made to give the vector of its first token."""
    folder = shutil.copytree(tiny_encoder, tmp_path / "cls")
    config = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True}
    config["pooling_mode_mean_tokens"] = False
    Path(folder, "1_Pooling", "config.json").write_text(json.dumps(config))
    return str(folder)


def test_auto_takes_other_models_as_they_are(first_token):
    auto = SentenceEmbedder(first_token).transform(TEXTS)
    own = SentenceEmbedder(first_token, layers=None).transform(TEXTS)
    np.testing.assert_array_equal(auto, own)
    with pytest.raises(ValueError, match="vectors of this model are taken as it gives"):
        SentenceEmbedder(first_token, pooling="max").transform(TEXTS)
    named = SentenceEmbedder(first_token, layers=(1, 2)).transform(TEXTS)
    np.testing.assert_allclose(named, read_out(first_token, TEXTS, [1, 2]), **CLOSE)


def test_layers_that_cannot_be_read(tiny_encoder, tmp_path):
    message = r"layers=\(3,\) names the layer 3, and the model has 2"
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(tiny_encoder, layers=(3,)).transform(TEXTS)
    with pytest.raises(ValueError, match=r"names the layer -4.*to -3"):
        SentenceEmbedder(tiny_encoder, layers=(-4,)).transform(TEXTS)


@pytest.mark.parametrize("how", [{"layer_pooling": "concat"}, {"pooling": "max"}])
def test_pooling_without_layers_is_refused_where_vectors_are_stored_too(
    tiny_encoder, tmp_path, how
):
    own = SentenceEmbedder(tiny_encoder, layers=None, cache_dir=tmp_path)
    own.transform(TEXTS)
    message = r"say how layers are read, and layers=None takes the vectors as the model"
    with pytest.raises(ValueError, match=message):
        own.set_params(**how).transform(TEXTS)
    with pytest.raises(ValueError, match=message):
        own.fit(TEXTS)


def test_other_options_give_other_names_of_features(tiny_encoder):
    embedder = SentenceEmbedder(tiny_encoder)
    assert embedder.fit_transform(TEXTS).shape == (4, 16)
    embedder.set_params(layers=(0, 1), layer_pooling="concat")
    with pytest.raises(NotFittedError):
        embedder.get_feature_names_out()
    assert len(embedder.fit(TEXTS).get_feature_names_out()) == 32
    embedder.set_params(layers=np.array([1]), pooling=["mean", "max", "top"])
    assert len(embedder.fit(TEXTS).get_feature_names_out()) == 48
    assert embedder.set_params(layers=())._repr_html_()


@pytest.mark.parametrize("layers", [range(1, 3), np.array([1, 2]), (1, np.int64(2))])
def test_layers_in_a_model_file(tiny_encoder, tmp_path, layers):
    pipe = make_pipeline(
        SentenceEmbedder(tiny_encoder, layers=layers), ConceptBottleneckClassifier()
    )
    pipe.fit(TEXTS, [0, 1, 0, 1])
    save_model(pipe, tmp_path / "file")
    loaded = load_model(tmp_path / "file")
    assert loaded[0].layers == [1, 2]
    np.testing.assert_array_equal(
        loaded.predict_proba(TEXTS), pipe.predict_proba(TEXTS)
    )


def test_a_text_cannot_pass_for_an_option(tiny_encoder, tmp_path):
    auto = SentenceEmbedder(tiny_encoder, cache_dir=tmp_path)
    none = clone(auto).set_params(layers=None)
    # In a key every option has its length in front, and the text comes last.
    option = f"layers {VERSION}: auto mean mean"
    none.transform([f"{len(option)}:{option}soup"])
    expected = SentenceEmbedder(tiny_encoder, share_vectors=False).transform(["soup"])
    np.testing.assert_allclose(auto.transform(["soup"]), expected, **CLOSE)


def test_layers_of_a_model_with_a_prompt(tiny_encoder, tmp_path):
    folder = shutil.copytree(tiny_encoder, tmp_path / "prompted")
    prompt = {"prompts": {"review": "the food: "}, "default_prompt_name": "review"}
    path = Path(folder, "config_sentence_transformers.json")
    path.write_text(json.dumps(prompt))
    with pytest.raises(ValueError, match=r"layers=\(1,\) needs a transformer with a"):
        SentenceEmbedder(str(folder), layers=(1,)).transform(TEXTS)
    with pytest.raises(
        ValueError, match=r"average plain tokens\. Leave both parameters out"
    ):
        SentenceEmbedder(str(folder), pooling="max").transform(TEXTS)
