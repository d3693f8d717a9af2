"""How the vectors of a text's tokens become the vector of the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("mean", "max", "top")
# At this length the default penalty, C=1, is near the best on three sets of texts; at
# length 1 it is far too strong (python -m benchmarks.readout).
LENGTH = 3.0
# In keys of stored vectors: another rule gives other vectors for the same parameters.
VERSION = "1"

_TOP_SENTENCES = 3
_END_OF_SENTENCE = re.compile(r"[.!?…]+(?=\s)|[。！？]+|\n+")


@dataclass(frozen=True)
class Readout:
    """Which layers are read, and how their vectors are put together.

    Parameters
    ----------
    layers : tuple of int
        Positions among the hidden states, of which 0 are the embeddings of tokens.
    concat : bool
        Whether layers stand side by side; otherwise they are averaged.
    pooling : tuple of {"mean", "max", "top"}
        What is taken over the text, side by side: the mean over its tokens, and over
        the means of its sentences the maximum of each value, or the mean of the three
        largest.
    """

    layers: tuple[int, ...]
    concat: bool = False
    pooling: tuple[str, ...] = ("mean",)

    @property
    def needs_sentences(self) -> bool:
        return self.pooling != ("mean",)

    def of_tokens(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Return token vectors (n, n_tokens, width) in single precision."""
        import torch

        chosen = [hidden_states[layer].float() for layer in self.layers]
        if self.concat:
            return torch.cat(chosen, dim=-1)
        return torch.stack(chosen).mean(dim=0)

    def pool(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the vector of a text of length `LENGTH`; 0 for a text without tokens.

        Parameters
        ----------
        sums : ndarray of shape (n_sentences, width)
            Sums of token vectors.
        counts : ndarray of shape (n_sentences,)
            Numbers of tokens.
        """
        if not counts.sum():
            return np.zeros(len(self.pooling) * sums.shape[1], dtype=np.float32)
        means = sums[counts > 0] / counts[counts > 0, None]
        parts = {
            "mean": lambda: sums.sum(axis=0),
            "max": lambda: means.max(axis=0),
            "top": lambda: np.sort(means, axis=0)[-_TOP_SENTENCES:].mean(axis=0),
        }
        parts_of_text = [unit_length(parts[name]()) for name in self.pooling]
        scale = LENGTH / np.sqrt(len(self.pooling))
        return np.concatenate(parts_of_text).astype(np.float32) * np.float32(scale)


def upper_layers(n_layers: int) -> tuple[int, ...]:
    """Return the layers from the middle to the last: 3 to 6 of 6."""
    return tuple(range(n_layers // 2, n_layers + 1))


def sentence_ends(text: str) -> list[int]:
    """Return where sentences end, in characters, but for the last."""
    ends = [match.end() for match in _END_OF_SENTENCE.finditer(text)]
    return [end for end in ends if end < len(text)]


def beside_padding(groups: np.ndarray, width: int, is_left: bool) -> np.ndarray:
    """Return the groups of `width` tokens, -1 for those that pad the others."""
    padding = width - len(groups)
    return np.pad(groups, (padding, 0) if is_left else (0, padding), constant_values=-1)


def group_sums(tokens: Tensor, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the sums of token vectors over the groups of each text.

    Parameters
    ----------
    tokens : Tensor of shape (n, n_tokens, width)
    groups : sequence of n ndarrays of shape (n_tokens,)
        The group of each token, from 0 on; -1 for tokens that count for nothing.

    Returns
    -------
    sums : list of n ndarrays of shape (n_groups, width), dtype float32
    """
    import torch

    n_groups = [1 + int(own.max(initial=-1)) for own in groups]
    members = torch.zeros(len(groups), max([*n_groups, 1]), tokens.shape[1])
    for row, own in enumerate(groups):
        (places,) = np.nonzero(own >= 0)
        members[row, own[places], places] = 1
    sums = torch.bmm(members.to(tokens.device), tokens).cpu().numpy()
    return [own[:n] for own, n in zip(sums, n_groups, strict=True)]


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to length 1; those of length 0 stay."""
    # scikit-learn's `normalize` refuses an array without rows, and takes every length
    # below 1.2e-6 for 0.
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)
