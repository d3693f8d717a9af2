"""Vectors as sums over words: the parts, their places, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from skclif import SentenceEmbedder
from skclif._text.words import find_words
from skclif.exceptions import TruncatedTextWarning

from .test_embedder import copy_model, modules

CLOSE = {"rtol": 0, "atol": 2e-6}
TEXTS = [
    "great soup! the waiter was rude — cold? never again",
    "",
    "  \n",
    "well-made, 3.50;\n\n don't   you \N{SLIGHTLY SMILING FACE} so",
    " ".join(f"soup {i}" for i in range(40)),
    "?!",
]


@pytest.fixture(scope="module")
def unit_encoder(tiny_encoder, tmp_path_factory):
    """The tiny model with a normalisation at its end."""
    target = tmp_path_factory.mktemp("words") / "unit"
    parts = modules("Transformer", "Pooling", "Normalize")
    return str(copy_model(tiny_encoder, target, modules=parts))


@pytest.mark.parametrize("model", ["tiny_encoder", "unit_encoder"])
@pytest.mark.parametrize("long_text", ["truncate", "mean"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"layers": None}, {"layers": (0, -1), "layer_pooling": "concat"}],
    ids=["auto", "own", "concat"],
)
def test_parts_add_up_to_vectors(request, model, long_text, normalize, options):
    folder = request.getfixturevalue(model)
    embedder = SentenceEmbedder(
        folder, long_text=long_text, normalize=normalize, batch_size=2, **options
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skclif._text.embedder.warn_truncated", lambda *_: None)
        vectors = embedder.transform(TEXTS)
        found = {row: (words, limit) for row, words, limit in embedder._words(TEXTS)}
    assert sorted(found) == list(range(len(TEXTS)))
    for row, (words, limit) in found.items():
        np.testing.assert_allclose(words.vector, vectors[row], **CLOSE)
        assert len(words.spans) == len(words.vectors)
        assert (words.rest != 0).any() == (options.get("layers", "auto") is None)
        is_cut = row == 4 and long_text == "truncate"
        assert limit == (32 if is_cut else None)


def test_words_are_those_that_people_see(tiny_encoder):
    embedder = SentenceEmbedder(tiny_encoder)
    with pytest.warns(TruncatedTextWarning, match="1 of 6 texts is longer than the 32"):
        found = {row: words.spans for row, words, _ in embedder._words(TEXTS)}
    words = [[t[a:b] for a, b in found[i]] for i, t in enumerate(TEXTS)]
    assert words[0] == [
        *("great", "soup", "!", "the", "waiter", "was", "rude", "—", "cold", "?"),
        *("never", "again"),
    ]
    assert words[1] == words[2] == []
    smile = "\N{SLIGHTLY SMILING FACE}"
    assert words[3] == [*("well-made", ",", "3.50", ";", "don't", "you", smile, "so")]


def test_words_keep_the_marks_on_their_letters(tiny_encoder):
    # Accents behind a letter, of which tokenisers drop many; a vowel sign; an emoji
    # with what chooses its colours, and one of two parts.
    text = "cafe\u0301, नमस्ते \u2764\ufe0f 👩\u200d🔧 so"
    ((_, words, _),) = SentenceEmbedder(tiny_encoder)._words([text])
    found = [text[a:b] for a, b in words.spans]
    assert found == ["cafe\u0301", ",", "नमस्ते", "\u2764\ufe0f", "👩\u200d🔧", "so"]


def test_tokens_of_bytes_make_the_same_words():
    """Many newer models cut at accents, and have tokens for blanks."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["good"], trainer)
    text = "  cafe\u0301, नमस्ते  \u2764\ufe0f so "
    spans, (words,) = find_words(text, [tokenizer.encode(text)])
    found = ["cafe\u0301", ",", "नमस्ते", "\u2764\ufe0f", "so"]
    assert [text[a:b] for a, b in spans] == found
    assert sorted({*words}) == [*range(5)]
    spans, (words,) = find_words("  ", [tokenizer.encode("  ")])
    assert (spans.tolist(), words.tolist()) == ([[0, 0]], [0, 0])


def test_models_that_do_not_average_are_refused(tiny_encoder, tmp_path):
    first = Path(shutil.copytree(tiny_encoder, tmp_path / "first"))
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": False}
    pooling = json.dumps(pooling | {"pooling_mode_cls_token": True})
    (first / "1_Pooling" / "config.json").write_text(pooling)
    with pytest.raises(ValueError, match="does not average them, or changes the mean"):
        next(SentenceEmbedder(first)._words(["soup"]))
    # Its layers are read without its own pooling.
    embedder = SentenceEmbedder(first, layers=(-1,))
    ((_, words, _),) = embedder._words(["great soup"])
    np.testing.assert_allclose(
        words.vector, embedder.transform(["great soup"])[0], **CLOSE
    )
    prompt = {"prompts": {"review": "the food: "}, "default_prompt_name": "review"}
    told = copy_model(tiny_encoder, tmp_path / "b", config_sentence_transformers=prompt)
    with pytest.raises(ValueError, match="makes its tokens itself, or puts a prompt"):
        next(SentenceEmbedder(told)._words(["soup"]))


@pytest.mark.parametrize("pooling", ["max", "top", ("mean", "max")])
def test_sentences_are_refused(tiny_encoder, pooling):
    with pytest.raises(ValueError, match="takes sentences apart. Use pooling='mean'"):
        next(SentenceEmbedder(tiny_encoder, pooling=pooling)._words(["soup"]))
