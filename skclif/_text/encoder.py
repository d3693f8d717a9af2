"""Texts to vectors by a loaded sentence-transformers model, in chunks and batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .multilingual import MultilingualModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCHES_AT_ONCE = 16  # tokenised together, then sorted by their number of tokens
# More at once do not fit into the caches of a CPU, and take longer.
_TOKENS_A_THREAD = 512

# Positions of texts, their vectors, and the limit in tokens that each was cut at, or
# None.
Block = tuple[Sequence[int], np.ndarray, Sequence[int | None]]
# One input of the model: the tokeniser's lists of numbers by name.
_Chunk = dict[str, list[int]]


class Encoder:
    """A loaded model that embeds texts in batches."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = model
        # Models without a limit say None, infinity or 1e30.
        limit = getattr(model, "max_seq_length", None)
        self.limit = int(limit) if limit is not None and limit < 1e9 else None
        self.reads_tokens = _reads_plain_tokens(model)
        if self.reads_tokens:
            # transformers 4 warns once, on stderr, of padding as `_forward` does it.
            advice = model.tokenizer.deprecation_warnings
            advice["Asking-to-pad-a-fast-tokenizer"] = True

    @property
    def n_features(self) -> int:
        return self.model.encode([""], show_progress_bar=False).shape[1]

    def blocks(
        self, texts: list[str], batch_size: int, long_text: str
    ) -> Iterator[Block]:
        """Embed the texts, longest first, in batches of at most `batch_size`."""
        if self.reads_tokens:
            embed, step = self._embed_tokens, batch_size * _BATCHES_AT_ONCE
        elif long_text == "mean" and self.limit is not None:
            raise ValueError(
                "long_text='mean' needs a model with a fast tokenizer that is run "
                "without a prompt. Use long_text='truncate', or another model."
            )
        else:
            embed, step = self._embed_whole, batch_size
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            chosen = [texts[row] for row in rows]
            for part, vectors, limits in embed(chosen, batch_size, long_text):
                yield [rows[i] for i in part], vectors, limits

    def _embed_whole(
        self, texts: list[str], batch_size: int, long_text: str
    ) -> Iterator[Block]:
        """Let the model tokenise the texts, and add its prompts."""
        vectors = self.model.encode(
            texts, batch_size=batch_size, show_progress_bar=False
        )
        yield range(len(texts)), vectors.astype(np.float32), [None] * len(texts)

    def _embed_tokens(
        self, texts: list[str], batch_size: int, long_text: str
    ) -> Iterator[Block]:
        """Tokenise once, so that every length is known before batches are made."""
        chunks = self._chunks(texts)
        limits: list[int | None] = [None] * len(texts)
        if long_text == "truncate":
            limits = [self.limit if len(own) > 1 else None for own in chunks]
            chunks = [own[:1] for own in chunks]
        for rows in _batches(chunks, batch_size):
            own_chunks = [chunks[row] for row in rows]
            vectors = self._forward([c for own in own_chunks for c in own], batch_size)
            if len(vectors) > len(rows):
                vectors = self._average(vectors, own_chunks)
            yield rows, vectors, [limits[row] for row in rows]

    def _chunks(self, texts: list[str]) -> list[list[_Chunk]]:
        """Tokenise; a text longer than the limit becomes several model inputs."""
        options: dict[str, Any] = {}
        if self.limit is not None:
            options = {
                "truncation": True,
                "max_length": self.limit,
                "return_overflowing_tokens": True,
            }
        encoded = dict(self.model.tokenizer(texts, **options))
        owners = encoded.pop("overflow_to_sample_mapping", range(len(texts)))
        chunks: list[list[_Chunk]] = [[] for _ in texts]
        for i, owner in enumerate(owners):
            chunks[owner].append({name: ids[i] for name, ids in encoded.items()})
        return chunks

    def _forward(self, inputs: list[_Chunk], batch_size: int) -> np.ndarray:
        import torch

        step = batch_size
        if self.model.device.type == "cpu":
            longest = max(len(own["input_ids"]) for own in inputs)
            at_once = _TOKENS_A_THREAD * torch.get_num_threads() // max(1, longest)
            step = max(1, min(step, at_once))
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(inputs), step):
                batch = self.model.tokenizer.pad(
                    inputs[start : start + step], return_tensors="pt"
                )
                output = self.model(dict(batch.to(self.model.device)))
                vectors.append(output["sentence_embedding"].float().cpu())
        return torch.cat(vectors).numpy()

    def _average(self, vectors: np.ndarray, chunks: list[list[_Chunk]]) -> np.ndarray:
        added = self.model.tokenizer.num_special_tokens_to_add()
        ends_in_unit = type(self.model[-1]).__name__ == "Normalize"
        means = np.empty((len(chunks), vectors.shape[1]), dtype=np.float32)
        start = 0
        for row, own in enumerate(chunks):
            stop = start + len(own)
            if len(own) == 1:
                means[row] = vectors[start]
            else:
                n_tokens = [len(chunk["input_ids"]) - added for chunk in own]
                mean = np.average(vectors[start:stop], axis=0, weights=n_tokens)
                means[row] = unit_length(mean) if ends_in_unit else mean
            start = stop
        return means


def _reads_plain_tokens(model: SentenceTransformer) -> bool:
    """Return whether the model reads the tokens of the text and nothing else."""
    if isinstance(model, MultilingualModel):
        return False
    first = model[0]
    return (
        type(first).__name__ == "Transformer"
        and getattr(model.tokenizer, "is_fast", False)
        and model.default_prompt_name is None
        and model.truncate_dim is None
        and not getattr(first, "do_lower_case", False)
        and not getattr(first, "processing_kwargs", None)
        and "message" not in getattr(first, "modalities", ())
    )


def _batches(chunks: list[list[_Chunk]], batch_size: int) -> Iterator[list[int]]:
    """Yield texts by length, whole: `batch_size` chunks or less, or a single text."""
    order = sorted(range(len(chunks)), key=lambda i: -len(chunks[i][0]["input_ids"]))
    rows: list[int] = []
    size = 0
    for row in order:
        if rows and size + len(chunks[row]) > batch_size:
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += len(chunks[row])
    yield rows


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to length 1; those of length 0 stay."""
    # scikit-learn's `normalize` refuses an array without rows, and takes every length
    # below 1.2e-6 for 0.
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)
