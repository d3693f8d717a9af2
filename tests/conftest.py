"""Fixtures that several test modules share."""

import gc
import json
import os
import re
import string

import pytest

# scikit-learn skips its check of array API input unless SciPy is told to before import.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# On the small problems of tests, threads do little but wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# They need an older skclif, and packages that cannot be installed beside ours.
collect_ignore = ["audit/old_trail/write.py", "annotation_tools/exports/write.py"]

# It takes most of a minute, and if it began last, one process would wait for it.
_LONGEST = "test_the_documentation_builds_without_a_warning"

_WORDS = ["and", "bad", "cold", "food", "good", "great", "lovely", "never", "rude"]
_WORDS += ["service", "slow", "soup", "tasty", "the", "too", "waiter", "warm", "was"]


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=0, help="choose rows to leave out")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name != _LONGEST)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Look for no garbage while tests are collected, nor later among what came of it.

    A third of the time of collecting would go there: nothing of a million objects is
    garbage.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


_FRAME = re.compile(r"\r([^\r\n:]+): +(?:\d+%\|[^|]*\| )?(\d+)(?:/(\d+))? [^\r\n]*\[")


@pytest.fixture
def bars(monkeypatch, capfd):
    """Draw bars at once, and return a function that returns those drawn since.

    A bar is what it says is done, its steps at the end, and their number if that was
    known.
    """
    from skclif._inputs import progress

    monkeypatch.setattr(progress, "can_draw_again", lambda stream: True)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(progress, "INTERVAL", 0)

    def drawn():
        found = []
        for doing, done, total in _FRAME.findall(capfd.readouterr().err):
            if done != "0":  # a bar begins with 0
                found.pop()
            found.append((doing, int(done), int(total) if total else None))
        return found

    return drawn


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory):
    """Directory of a sentence-transformers model: a BERT that reads 32 tokens.

    Its weights are random but seeded, it gives 16 values a text, and nothing is
    downloaded.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = [*specials, *characters, *(f"##{c}" for c in characters)]
    vocabulary += _WORDS
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    names = ["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)

    folder = tmp_path_factory.mktemp("tiny_encoder")
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=32,
        **dict(zip(names, specials, strict=True)),
    ).save_pretrained(folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": _module("Transformer")},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": _module("Pooling")},
    ]
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32})
    _write_json(folder / "modules.json", modules)
    return str(folder)


@pytest.fixture(scope="session")
def audited(tiny_encoder, tmp_path_factory):
    """An audit for all modules that read it, or repair a copy of its folder."""
    from . import folders

    made = folders.make_audit(tmp_path_factory.mktemp("audit"), tiny_encoder)
    before = folders.contents(made.out)
    yield made
    assert folders.contents(made.out) == before  # or tests see what others did


def _module(name):
    return f"sentence_transformers.models.{name}"


def _write_json(path, content):
    path.write_text(json.dumps(content))
