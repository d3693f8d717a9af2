"""Stacks of heads: which columns of scores and activations belong to which head."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from .head import Head

# Positions or columns of some heads.
Index = Tensor | slice


class HeadStack:
    """A stack of heads: which score and activation columns belong to which head."""

    def __init__(self, heads: Iterable[Head]):
        self.heads = tuple(heads)
        self.scores = _consecutive([head.n_scores for head in self.heads])
        self.activations = _consecutive([head.n_activations for head in self.heads])

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def n_scores(self) -> int:
        """Score columns of all heads."""
        return sum(head.n_scores for head in self.heads)

    @property
    def n_activations(self) -> int:
        """Activation columns of all heads."""
        return sum(head.n_activations for head in self.heads)

    @cached_property
    def head_of_score(self) -> Tensor:
        """The head of every score column."""
        sizes = torch.tensor([head.n_scores for head in self.heads])
        return torch.repeat_interleave(torch.arange(len(self)), sizes)

    @cached_property
    def groups(self) -> tuple[tuple[Head, Index, Index], ...]:
        """Heads of equal size, evaluated together: (head, positions, columns)."""
        groups = []
        for head in dict.fromkeys(self.heads):
            members = [j for j, other in enumerate(self.heads) if other == head]
            columns = [
                c for j in members for c in range(*self.scores[j].indices(2**62))
            ]
            groups.append((head, _index(members), _index(columns)))
        return tuple(groups)

    @cached_property
    def groups_of_activations(self) -> tuple[Index, ...]:
        """The activation columns of each group, one head of it after the other."""
        found = []
        for head in dict.fromkeys(self.heads):
            members = [j for j, other in enumerate(self.heads) if other == head]
            own = [self.activations[j] for j in members]
            columns = [c for part in own for c in range(part.start, part.stop)]
            found.append(_index(columns))
        return tuple(found)

    def split(self, scores: Tensor) -> list[Tensor]:
        """Return the scores of each head."""
        return [scores[..., columns] for columns in self.scores]

    def columns(self, heads: Sequence[int]) -> Tensor:
        """Return the score columns of some heads."""
        positions = torch.arange(self.n_scores)
        empty = positions[:0]
        return torch.cat([empty, *(positions[self.scores[j]] for j in heads)])

    def predict_activations(self, scores: Tensor) -> Tensor:
        """Return the activations of all heads side by side."""
        parts = [
            head.activations(part)
            for head, part in zip(self.heads, self.split(scores), strict=True)
        ]
        return torch.cat(parts, dim=-1)


def _index(positions: list[int]) -> Index:
    """Return positions as a slice where they are consecutive: it copies nothing."""
    if not positions:  # of heads without activations
        return slice(0, 0)
    if positions == list(range(positions[0], positions[-1] + 1)):
        return slice(positions[0], positions[-1] + 1)
    return torch.tensor(positions)


def _consecutive(sizes: Sequence[int]) -> tuple[slice, ...]:
    """Return adjacent slices of the given sizes."""
    slices, start = [], 0
    for size in sizes:
        slices.append(slice(start, start + size))
        start += size
    return tuple(slices)
