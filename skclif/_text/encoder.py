"""Texts to vectors by a loaded sentence-transformers model, in chunks and batches."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .multilingual import MultilingualModel
from .readout import (
    Readout,
    beside_padding,
    group_sums,
    sentence_ends,
    unit_length,
    upper_layers,
)
from .words import TextWords, find_words

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding
    from torch import Tensor

_BATCHES_AT_ONCE = 16  # tokenised together, then sorted by their number of tokens
# More at once do not fit into the caches of a CPU, and take longer.
_TOKENS_A_THREAD = 512

# Positions of texts, their vectors, and the limit in tokens that each was cut at, or
# None.
Block = tuple[Sequence[int], np.ndarray, Sequence[int | None]]
# The position of a text, its words, and the limit in tokens it was cut at, or None.
WordsOfText = tuple[int, TextWords, int | None]


@dataclass(frozen=True)
class _Chunk:
    """One input of the model: the tokens of a text, or of a part of a long one."""

    inputs: dict[str, list[int]]
    encoding: Encoding

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


class Encoder:
    """A loaded model that embeds texts in batches."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = model
        # Models without a limit say None, infinity or 1e30.
        limit = getattr(model, "max_seq_length", None)
        self.limit = int(limit) if limit is not None and limit < 1e9 else None
        self.reads_tokens = _reads_plain_tokens(model)
        if self.reads_tokens:
            # transformers 4 warns once, on stderr, of padding as `_batches` does it.
            advice = model.tokenizer.deprecation_warnings
            advice["Asking-to-pad-a-fast-tokenizer"] = True

    def readout(
        self,
        layers: str | Sequence[int] | None,
        concat: bool = False,
        pooling: tuple[str, ...] = ("mean",),
    ) -> Readout | None:
        """Return how layers are read; None for the vectors that the model gives."""
        if layers is None or (layers == "auto" and not self.averages_tokens):
            if concat or pooling != ("mean",):
                name_layers = "Name the layers, e.g. layers=(-2, -1), or leave"
                raise ValueError(
                    "layer_pooling and pooling say how layers are read, and with "
                    "layers='auto' the vectors of this model are taken as it gives "
                    "them, because it does not average plain tokens. "
                    f"{name_layers if self.reads_tokens else 'Leave'} both parameters "
                    "out."
                )
            return None
        if not self.reads_tokens:
            raise ValueError(
                f"layers={layers!r} needs a transformer with a fast tokenizer that is "
                "run without a prompt. Use layers=None, or another model."
            )
        n_layers = self._transformer.config.num_hidden_layers
        if layers == "auto":
            return Readout(upper_layers(n_layers), concat, pooling)
        wrong = [layer for layer in layers if not -n_layers - 1 <= layer <= n_layers]
        if wrong:
            raise ValueError(
                f"layers={layers!r} names the layer {wrong[0]}, and the model has "
                f"{n_layers}. Give numbers from 0, the embeddings of tokens, to "
                f"{n_layers}, or from -1, the last, to {-n_layers - 1}."
            )
        chosen = tuple(int(layer) % (n_layers + 1) for layer in layers)
        return Readout(chosen, concat, pooling)

    @property
    def averages_tokens(self) -> bool:
        """Whether the model's own vector is the mean over tokens, perhaps scaled."""
        if not self.reads_tokens:
            return False
        kinds = [type(module).__name__ for module in self.model]
        if kinds[:2] != ["Transformer", "Pooling"] or {*kinds[2:]} - {"Normalize"}:
            return False
        pooling: Any = self.model[1]
        mode = getattr(pooling, "pooling_mode", None)
        if mode is None:  # sentence-transformers 5
            mode = pooling.get_pooling_mode_str()
        return bool(mode == "mean" and pooling.include_prompt)

    def n_features(self, readout: Readout | None) -> int:
        ((_, vectors, _),) = self.blocks([""], 1, "truncate", readout)
        return vectors.shape[1]

    def blocks(
        self,
        texts: list[str],
        batch_size: int,
        long_text: str,
        readout: Readout | None = None,
    ) -> Iterator[Block]:
        """Embed the texts, longest first, in batches of at most `batch_size`."""
        if not self.reads_tokens and long_text != "truncate" and self.limit is not None:
            raise ValueError(
                f"long_text={long_text!r} needs a model with a fast tokenizer that is "
                "run without a prompt. Use long_text='truncate', or another model."
            )
        step = at_once(batch_size) if self.reads_tokens else batch_size
        order = longest_first(texts)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            chosen = [texts[row] for row in rows]
            if not self.reads_tokens:
                yield rows, self._embed_whole(chosen, batch_size), [None] * len(rows)
                continue
            embedded = self._embed_tokens(chosen, batch_size, long_text, readout)
            for part, vectors, limits in embedded:
                yield [rows[i] for i in part], vectors, limits

    def words(
        self,
        texts: list[str],
        batch_size: int,
        long_text: str,
        readout: Readout | None,
    ) -> Iterator[list[WordsOfText]]:
        """Yield the words of texts and their parts of vectors, in batches.

        Vectors must be sums over tokens: means over layers or over the last one.
        """
        step, order = at_once(batch_size), longest_first(texts)
        for start in range(0, len(order), step):
            rows = order[start : start + step]
            chunks, limits = self._read([texts[row] for row in rows], long_text)
            for part in _whole_texts(chunks, batch_size):
                own_texts = [texts[rows[i]] for i in part]
                own = [chunks[i] for i in part]
                found = self._words(own_texts, own, batch_size, readout)
                yield [
                    (rows[i], words, limits[i])
                    for i, words in zip(part, found, strict=True)
                ]

    def _words(
        self,
        texts: list[str],
        chunks: list[list[_Chunk]],
        batch_size: int,
        readout: Readout | None,
    ) -> Iterator[TextWords]:
        found = [
            find_words(text, [chunk.encoding for chunk in own])
            for text, own in zip(texts, chunks, strict=True)
        ]
        groups = [
            # Tokens that the model adds are no part of what layers are read of.
            group if readout is None else np.where(group == len(spans), -1, group)
            for spans, of_chunks in found
            for group in of_chunks
        ]
        flat = [chunk for own in chunks for chunk in own]
        of_tokens = Readout((-1,)) if readout is None else readout
        sums = iter(self._sums(flat, groups, batch_size, of_tokens))
        for (spans, _), own in zip(found, chunks, strict=True):
            of_chunks = [next(sums) for _ in own]
            parts = np.zeros((len(spans) + 1, of_chunks[0].shape[1]))
            scales = self._scales(own, of_chunks, readout)
            for part, scale in zip(of_chunks, scales, strict=True):
                parts[: len(part)] += scale * part
            yield TextWords(spans, parts[:-1], parts[-1])

    def _scales(
        self, chunks: list[_Chunk], sums: list[np.ndarray], readout: Readout | None
    ) -> np.ndarray:
        """Return the number that the sum over the tokens of each chunk is taken with.

        They follow from the lengths of vectors, so that with them a vector is a sum.
        """
        wholes = np.stack([own.sum(axis=0, dtype=float) for own in sums])
        if readout is not None:
            total = wholes.sum(axis=0)
            scale = readout.pool(total[None], np.ones(1)) @ total
            return np.full(len(chunks), scale / max(total @ total, 1e-30))
        scales = np.array([1 / len(chunk) for chunk in chunks])
        if self._ends_in_unit:
            scales /= np.linalg.norm(scales[:, None] * wholes, axis=1)
        if len(chunks) > 1:
            weights = np.array([len(c) - self._n_added for c in chunks], dtype=float)
            scales *= weights / weights.sum()
            if self._ends_in_unit:
                scales /= np.linalg.norm(scales @ wholes)
        return scales

    @property
    def _transformer(self) -> Any:
        return self.model[0].auto_model

    @property
    def _ends_in_unit(self) -> bool:
        return type(self.model[-1]).__name__ == "Normalize"

    @property
    def _n_added(self) -> int:
        return self.model.tokenizer.num_special_tokens_to_add()

    def _embed_whole(self, texts: list[str], batch_size: int) -> np.ndarray:
        """Let the model tokenise the texts, and add its prompts."""
        from ..numerics.precision import full_precision

        with full_precision():
            vectors = self.model.encode(
                texts, batch_size=batch_size, show_progress_bar=False
            )
        return vectors.astype(np.float32)

    def _embed_tokens(
        self,
        texts: list[str],
        batch_size: int,
        long_text: str,
        readout: Readout | None,
    ) -> Iterator[Block]:
        """Tokenise once, so that every length is known before batches are made."""
        chunks, limits = self._read(texts, long_text)
        for rows in _whole_texts(chunks, batch_size):
            own = [chunks[row] for row in rows]
            if readout is None:
                vectors = self._average(own, batch_size)
            else:
                own_texts = [texts[row] for row in rows]
                vectors = self._read_out(own_texts, own, batch_size, readout)
            yield rows, vectors, [limits[row] for row in rows]

    def _read(
        self, texts: list[str], long_text: str
    ) -> tuple[list[list[_Chunk]], list[int | None]]:
        """Tokenise; return the inputs for each text, and where texts were cut."""
        options: dict[str, Any] = {}
        if self.limit is not None:
            options = {
                "truncation": True,
                "max_length": self.limit,
                "return_overflowing_tokens": True,
            }
        tokenized = self.model.tokenizer(texts, **options)
        inputs = dict(tokenized)
        owners = inputs.pop("overflow_to_sample_mapping", range(len(texts)))
        chunks: list[list[_Chunk]] = [[] for _ in texts]
        for i, owner in enumerate(owners):
            own = {name: ids[i] for name, ids in inputs.items()}
            chunks[owner].append(_Chunk(own, tokenized.encodings[i]))
        if long_text == "truncate":
            limits = [self.limit if len(own) > 1 else None for own in chunks]
            return [own[:1] for own in chunks], limits
        return chunks, [None] * len(texts)

    def _average(self, texts: list[list[_Chunk]], batch_size: int) -> np.ndarray:
        """Return the model's own vectors, those of chunks averaged."""
        chunks = [chunk for own in texts for chunk in own]
        outputs = self._outputs(chunks, batch_size, self.model)
        vectors = np.concatenate(
            [_as_array(output["sentence_embedding"]) for _, output in outputs]
        )
        if len(chunks) == len(texts):
            return vectors
        means = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
        start = 0
        for row, own in enumerate(texts):
            stop = start + len(own)
            if len(own) == 1:
                means[row] = vectors[start]
            else:
                n_tokens = [len(chunk) - self._n_added for chunk in own]
                mean = np.average(vectors[start:stop], axis=0, weights=n_tokens)
                means[row] = unit_length(mean) if self._ends_in_unit else mean
            start = stop
        return means

    def _read_out(
        self,
        texts: list[str],
        chunks: list[list[_Chunk]],
        batch_size: int,
        readout: Readout,
    ) -> np.ndarray:
        """Return the vectors that layers give, pooled over the tokens of texts."""
        groups = [
            _sentences(text, chunk, readout.needs_sentences)
            for text, own in zip(texts, chunks, strict=True)
            for chunk in own
        ]
        flat = [chunk for own in chunks for chunk in own]
        sums = iter(self._sums(flat, groups, batch_size, readout))
        counts = iter(np.bincount(own[own >= 0]) for own in groups)
        pooled = [
            readout.pool(
                np.concatenate([next(sums) for _ in own]),
                np.concatenate([next(counts) for _ in own]),
            )
            for own in chunks
        ]
        return np.stack(pooled)

    def _sums(
        self,
        chunks: list[_Chunk],
        groups: list[np.ndarray],
        batch_size: int,
        readout: Readout,
    ) -> list[np.ndarray]:
        """Return the sums of token vectors over the groups of each chunk."""
        transformer = self._transformer
        accepted = inspect.signature(transformer.forward).parameters

        def read(inputs: dict[str, Tensor]) -> Tensor:
            own = {name: ids for name, ids in inputs.items() if name in accepted}
            output = transformer(**own, output_hidden_states=True)
            return readout.of_tokens(output.hidden_states)

        is_left = self.model.tokenizer.padding_side == "left"
        sums: list[np.ndarray] = []
        for rows, tokens in self._outputs(chunks, batch_size, read):
            width = tokens.shape[1]
            own = [beside_padding(one, width, is_left) for one in groups[rows]]
            sums += group_sums(tokens, own)
        return sums

    def _outputs(
        self,
        chunks: list[_Chunk],
        batch_size: int,
        run: Callable[[dict[str, Tensor]], Any],
    ) -> Iterator[tuple[slice, Any]]:
        """Yield which chunks, padded to one length, and what `run` makes of them."""
        import torch

        from ..numerics.precision import full_precision

        step = batch_size
        if self.model.device.type == "cpu":
            longest = max(map(len, chunks))
            at_once = _TOKENS_A_THREAD * torch.get_num_threads() // max(1, longest)
            step = max(1, min(step, at_once))
        for start in range(0, len(chunks), step):
            rows = slice(start, start + step)
            batch = self.model.tokenizer.pad(
                [chunk.inputs for chunk in chunks[rows]], return_tensors="pt"
            )
            with torch.inference_mode(), full_precision():
                output = run(dict(batch.to(self.model.device)))
            yield rows, output


def longest_first(texts: list[str]) -> list[int]:
    """Return the order in which texts are embedded."""
    return sorted(range(len(texts)), key=lambda i: -len(texts[i]))


def at_once(batch_size: int) -> int:
    """Return how many texts in that order are divided into batches together."""
    return batch_size * _BATCHES_AT_ONCE


def _as_array(vectors: Tensor) -> np.ndarray:
    return vectors.float().cpu().numpy()


def _sentences(text: str, chunk: _Chunk, tell_apart: bool) -> np.ndarray:
    """Return the sentence of each token, from 0 on; -1 of tokens that models add."""
    starts = [start for start, _ in chunk.encoding.offsets]
    ends = sentence_ends(text) if tell_apart else []
    sentences = np.searchsorted(ends, starts, side="right")
    is_added = np.array(chunk.encoding.special_tokens_mask, dtype=bool)
    if not is_added.all():
        sentences -= sentences[~is_added].min()
    return np.where(is_added, -1, sentences)


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


def _whole_texts(chunks: list[list[_Chunk]], batch_size: int) -> Iterator[list[int]]:
    """Yield texts by length, whole: `batch_size` chunks or less, or a single text."""
    order = sorted(range(len(chunks)), key=lambda i: -len(chunks[i][0]))
    rows: list[int] = []
    size = 0
    for row in order:
        if rows and size + len(chunks[row]) > batch_size:
            yield rows
            rows, size = [], 0
        rows.append(row)
        size += len(chunks[row])
    yield rows
