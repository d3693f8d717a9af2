"""Precisions that devices say they have."""

import numpy as np
import pytest
import torch

from skclif import SentenceEmbedder
from skclif._text.precision import computes_bfloat16

TEXTS = ["great soup", "the waiter was rude and slow"]


def says(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_a_processor_with_bfloat16(monkeypatch, tiny_encoder, name):
    says(monkeypatch, **{name: True})
    assert computes_bfloat16("cpu")
    half = SentenceEmbedder(tiny_encoder, dtype="bfloat16").transform(TEXTS)
    auto = SentenceEmbedder(tiny_encoder, dtype="auto")
    assert auto.resolved_dtype == "bfloat16"
    np.testing.assert_array_equal(auto.transform(TEXTS), half)
    full = SentenceEmbedder(tiny_encoder).transform(TEXTS)
    assert half.dtype == np.float32
    assert not np.array_equal(half, full)
    cosines = (half * full).sum(axis=1) / 9
    assert cosines.min() > 0.999


def test_a_processor_without(monkeypatch, tiny_encoder):
    says(monkeypatch, avx2=True, avx512_bf16=False)
    assert not computes_bfloat16("cpu")
    message = r"dtype='bfloat16' needs a GPU or a processor with AVX512-BF16 or AMX"
    with pytest.raises(ValueError, match=message):
        SentenceEmbedder(tiny_encoder, dtype="bfloat16").fit(TEXTS)
    auto = SentenceEmbedder(tiny_encoder, dtype="auto")
    assert auto.resolved_dtype == "float32"
    full = SentenceEmbedder(tiny_encoder).transform(TEXTS)
    np.testing.assert_array_equal(auto.transform(TEXTS), full)


def test_a_torch_that_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not computes_bfloat16("cpu")
