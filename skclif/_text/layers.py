"""The last layers of a sentence-transformers model, on kept outputs of those below.

Layers that are not trained give the same output for a text in every epoch and every
fold, so that it is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .._results.words import how_many

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_BATCH_SIZE = 32  # of texts that are not trained on
_COMPARED = 4  # texts, to see that the layers above need nothing but kept outputs
_ROUNDING = 1e-3
# What a trained value takes: itself, its gradient, two averages of the optimiser, and
# the value that a training begins and one that it ended with.
_COPIES = 6


class _EnoughError(Exception):
    """The output that was asked for is there: the layers above need not run."""


class _Tokens(NamedTuple):
    """Input of the model for each text, by name, its length, and where it was cut."""

    inputs: list[dict[str, list[int]]]
    lengths: np.ndarray
    limits: np.ndarray  # 0 for a text that was not cut


class LastLayers:
    """The part of a model that is trained, for given texts.

    Use it as a context manager: at its end the model is whole again.

    Parameters
    ----------
    model : SentenceTransformer
        In evaluation mode, so that nothing is random.
    texts : list of str
        What is longer than the model reads is cut.
    n_layers : int or None
        Number of layers that are trained, the last ones; None for the whole model.
    dtype : str
        Precision of the computation in training. Parameters stay float32.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        texts: list[str],
        n_layers: int | None,
        dtype: str = "float32",
    ) -> None:
        self.model, self.device = model, model.device
        self.dtype = dtype
        layers = find_layers(model)
        if n_layers is not None and n_layers > len(layers):
            has = f"has {how_many(len(layers), 'layer')}" if layers else "has none"
            raise ValueError(
                f"n_trainable_layers={n_layers} is more than the layers of the model, "
                f"which {has} that can be told apart. Use a smaller number, or None to "
                "train the whole model."
            )
        self._below = [] if n_layers is None else layers[: len(layers) - n_layers]
        trained = [model] if n_layers is None else layers[len(layers) - n_layers :]
        chosen = {id(p) for module in trained for p in module.parameters()}
        self._trained = {
            name: parameter
            for name, parameter in model.named_parameters()
            if id(parameter) in chosen
        }
        self._start = {n: p.detach().clone() for n, p in self._trained.items()}
        self._tokens = _tokenise(model, texts)
        # The outputs of the layers below, token by token, text after text.
        self._kept: torch.Tensor | None = None
        self._ends = np.concatenate([[0], np.cumsum(self._tokens.lengths)])
        self._batch: torch.Tensor | None = None
        self._as_tuple = False

    def __enter__(self) -> LastLayers:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        return self

    def __exit__(self, *error: object) -> None:
        for layer in self._below:
            layer.__dict__.pop("forward", None)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text."""
        return self._tokens.lengths

    @property
    def limits(self) -> np.ndarray:
        """The number of tokens that each text was cut to; 0 if it was not."""
        return self._tokens.limits

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return list(self._trained.values())

    @property
    def n_bytes(self) -> int:
        """What this takes beside the model and a batch, about."""
        values = sum(parameter.numel() for parameter in self.parameters)
        transformer: Any = self.model[0]
        width: int = transformer.auto_model.config.hidden_size
        kept = int(self._ends[-1]) * width if self._below else 0
        return 4 * (_COPIES * values + kept)

    def prepare(self, advance: Callable[[int], object]) -> None:
        """Compute the outputs of the layers below, which every training shares.

        Raises
        ------
        ValueError
            If the layers above need more than these outputs.
        """
        if not self._below:
            advance(len(self.lengths))
            return
        some = list(range(min(_COMPARED, len(self.lengths))))
        expected = self.embed(some)
        hook = self._below[-1].register_forward_hook(self._keep_output)
        try:
            for rows in in_batches(range(len(self.lengths)), self.lengths, _BATCH_SIZE):
                with torch.no_grad(), suppress(_EnoughError):
                    self.model(self._padded(rows))
                self._keep(rows)
                advance(len(rows))
        finally:
            hook.remove()
        for layer in self._below:
            layer.forward = self._pass_on
        self._below[-1].forward = self._recall
        self._check(some, expected)

    def _check(self, rows: list[int], expected: np.ndarray) -> None:
        """Compare vectors by kept outputs with those of the whole model."""
        failed: Exception | None = None
        try:
            found = self.embed(rows)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            failed = error
        tolerance = _ROUNDING * np.abs(expected).max()
        if failed or not np.allclose(found, expected, rtol=0, atol=tolerance):
            raise ValueError(
                "The layers of this model cannot be trained apart from those below: "
                "they need more than their output. Use n_trainable_layers=None, or "
                "another model."
            ) from failed

    def reset(self) -> None:
        """Give the layers the weights that they had at the beginning."""
        self.set_weights(self._start)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the weights, by their names in the model."""
        return {n: p.detach().clone() for n, p in self._trained.items()}

    def set_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Give the layers these weights."""
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(weights[name])
                parameter.requires_grad_(True)

    def vectors(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the vectors of some texts, to be trained on."""
        if self._kept is not None:
            parts = [self._kept[self._ends[row] : self._ends[row + 1]] for row in rows]
            self._batch = _padded_like(self.model, parts).to(self.device)
        with torch.autocast(
            self.device.type,
            getattr(torch, self.dtype),
            enabled=self.dtype != "float32",
        ):
            return self.model(self._padded(rows))["sentence_embedding"].float()

    def embed(self, rows: Sequence[int]) -> np.ndarray:
        """Return the vectors of some texts as they are now, in float32."""
        places = {row: i for i, row in enumerate(rows)}
        order: list[int] = []
        parts = []
        dtype, self.dtype = self.dtype, "float32"
        try:
            for batch in in_batches(rows, self.lengths, _BATCH_SIZE):
                with torch.no_grad():
                    parts.append(self.vectors(batch).cpu())
                order += [places[row] for row in batch]
        finally:
            self.dtype = dtype
        vectors: np.ndarray = torch.cat(parts).numpy()[np.argsort(order)]
        return vectors

    def _padded(self, rows: Sequence[int]) -> dict[str, Any]:
        inputs = [self._tokens.inputs[row] for row in rows]
        batch = self.model.tokenizer.pad(inputs, return_tensors="pt")
        return dict(batch.to(self.device))

    def _keep_output(self, layer: Any, inputs: Any, output: Any) -> None:
        self._as_tuple = isinstance(output, tuple)
        self._batch = output[0] if self._as_tuple else output
        raise _EnoughError

    def _keep(self, rows: Sequence[int]) -> None:
        assert self._batch is not None
        if self._kept is None:
            self._kept = torch.empty(int(self._ends[-1]), self._batch.shape[-1])
        is_left = self.model.tokenizer.padding_side == "left"
        for output, row in zip(self._batch.cpu(), rows, strict=True):
            n = int(self.lengths[row])
            own = output[len(output) - n :] if is_left else output[:n]
            self._kept[self._ends[row] : self._ends[row + 1]] = own
        self._batch = None

    def _pass_on(self, *inputs: Any, **options: Any) -> Any:
        hidden = inputs[0] if inputs else options["hidden_states"]
        return (hidden,) if self._as_tuple else hidden

    def _recall(self, *inputs: Any, **options: Any) -> Any:
        return (self._batch,) if self._as_tuple else self._batch


def find_layers(model: SentenceTransformer) -> list[Any]:
    """Return the layers of a transformer, from first to last; none if it has no list.

    They are the longest list of modules of one type.
    """
    lists = [
        list(module)
        for module in model[0].modules()
        if isinstance(module, torch.nn.ModuleList) and len({*map(type, module)}) == 1
    ]
    return max(lists, key=len, default=[])


def in_batches(
    rows: Sequence[int], lengths: np.ndarray, batch_size: int
) -> list[list[int]]:
    """Return batches of texts of similar length, the longest first."""
    order = sorted(rows, key=lambda row: -int(lengths[row]))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def _tokenise(model: SentenceTransformer, texts: list[str]) -> _Tokens:
    """Return the beginning of each text, as much of it as the model reads."""
    options: dict[str, Any] = {}
    limit = getattr(model, "max_seq_length", None)
    if limit is not None and limit < 1e9:
        options = {"truncation": True, "max_length": int(limit)}
        options["return_overflowing_tokens"] = True
    encoded = dict(model.tokenizer(texts, **options))
    owners = np.asarray(encoded.pop("overflow_to_sample_mapping", range(len(texts))))
    _, first, n_parts = np.unique(owners, return_index=True, return_counts=True)
    inputs = [{name: values[i] for name, values in encoded.items()} for i in first]
    lengths = np.array([len(one["input_ids"]) for one in inputs])
    return _Tokens(inputs, lengths, np.where(n_parts > 1, lengths, 0))


def _padded_like(model: SentenceTransformer, parts: list[torch.Tensor]) -> torch.Tensor:
    """Return outputs of several texts as one batch, padded where the tokenizer pads."""
    is_left = model.tokenizer.padding_side == "left"
    return torch.nn.utils.rnn.pad_sequence(
        parts, batch_first=True, padding_side="left" if is_left else "right"
    )
