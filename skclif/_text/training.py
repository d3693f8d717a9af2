"""Training vectors until linear heads read labels and concepts from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import sqrt

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from .._inputs.soft import Shares
from .layers import LastLayers, in_batches

# Heads begin at 0, so that they learn faster than the layers below them.
_HEADS_FASTER = 20
_WEIGHT_DECAY = 0.01
_LONGEST_GRADIENT = 1.0
_WARM_UP = 0.1  # share of the steps
# Batches that are sorted by length together, so that little is padded.
_POOL = 8
_SAMPLE = 64  # texts, to see how long vectors are


@dataclass(frozen=True, eq=False)
class Targets:
    """What the heads are to say of each text.

    Attributes
    ----------
    sizes : tuple of int
        Number of values of each variable, the label first; 1 for numbers.
    codes : ndarray of shape (n_samples, n_variables)
        Codes or numbers; any where the weight is 0.
    weights : ndarray of shape (n_samples, n_variables)
        Of the losses.
    shares : Shares
        What codes of soft annotations stand for.
    """

    sizes: tuple[int, ...]
    codes: np.ndarray
    weights: np.ndarray
    shares: Shares = field(default_factory=dict)

    def loss(self, scores: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Return the mean over texts of the weighted sum of losses, in nats."""
        codes = torch.as_tensor(self.codes[rows], device=scores.device)
        weights = torch.as_tensor(self.weights[rows], device=scores.device)
        total = scores.new_zeros(())
        for j, own in enumerate(torch.split(scores, list(self.sizes), dim=1)):
            if self.sizes[j] == 1:
                losses = (own[:, 0] - codes[:, j].to(own.dtype)) ** 2 / 2
            else:
                target = codes[:, j].long()
                if self._are_soft[j]:
                    target = self._tables[self.sizes[j]][target.cpu()].to(own)
                losses = cross_entropy(own, target, reduction="none")
            total = total + (losses * weights[:, j].to(losses.dtype)).sum()
        return total / len(rows)

    @cached_property
    def _are_soft(self) -> list[bool]:
        """Which variables have codes of soft annotations."""
        pairs = zip(self.codes.T, self.sizes, strict=True)
        return [size > 1 and bool((codes >= size).any()) for codes, size in pairs]

    @cached_property
    def _tables(self) -> dict[int, torch.Tensor]:
        """The distribution of every code, by the number of values."""
        return {
            size: torch.from_numpy(np.vstack([np.eye(size), table]))
            for size, table in self.shares.items()
        }


@dataclass(frozen=True)
class Settings:
    """How to train; see :class:`ConceptEncoder`."""

    epochs: int
    learning_rate: float
    batch_size: int
    patience: int


class _Heads(torch.nn.Module):
    """Linear heads on vectors that are scaled to a usual length."""

    def __init__(self, vectors: torch.Tensor, n_scores: int) -> None:
        super().__init__()
        length = vectors.norm(dim=1).mean().clamp(min=1e-12)
        self.scale = sqrt(vectors.shape[1]) / float(length)
        # Built by hand: a Linear would draw from the generator of everybody.
        shape = (vectors.shape[1], n_scores)
        self.weight = torch.nn.Parameter(vectors.new_zeros(shape))
        self.bias = torch.nn.Parameter(vectors.new_zeros(n_scores))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return vectors * self.scale @ self.weight + self.bias


def train(
    layers: LastLayers,
    targets: Targets,
    rows: Sequence[int],
    settings: Settings,
    seed: int,
    advance: Callable[[int], object],
    *,
    held_out: Sequence[int] | None = None,
    n_epochs: int | None = None,
) -> int:
    """Train the layers from their first weights; return the best number of epochs.

    Parameters
    ----------
    layers : LastLayers
    targets : Targets
    rows : sequence of int
        The texts to train on.
    settings : Settings
    seed : int
        Of the order of texts.
    advance : callable
        Called with numbers of texts.
    held_out : sequence of int, default=None
        Texts whose loss says when to stop.
    n_epochs : int, default=None
        Stop after so many epochs, at the rate that learning has then.

    Returns
    -------
    n_epochs : int
        After which the loss on texts held out was least, or the last.

    Raises
    ------
    ValueError
        If the learning rate is so large that vectors are not finite.
    """
    layers.reset()
    rng = np.random.default_rng(seed)
    sample = in_batches(rows[:_SAMPLE], layers.lengths, _SAMPLE)[0]
    with torch.no_grad():
        heads = _Heads(layers.vectors(sample), sum(targets.sizes)).to(layers.device)
    n_steps = -(-len(rows) // settings.batch_size)
    optimizer, schedule = _optimizer(layers, heads, settings, n_steps)
    best, least = 0, float("inf")
    for epoch in range(n_epochs or settings.epochs):
        for batch in _shuffled(rows, layers.lengths, settings.batch_size, rng):
            loss = targets.loss(heads(layers.vectors(batch)), batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(layers.parameters, _LONGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            advance(len(batch))
        if held_out is None:
            best = epoch + 1
            continue
        loss_now = _loss(layers, heads, targets, held_out)
        if loss_now < least:
            best, least = epoch + 1, loss_now
        if epoch + 1 - best >= settings.patience:
            break
    if not np.isfinite(layers.embed(sample)).all():
        raise ValueError(
            f"Training diverged: learning_rate={settings.learning_rate:g} is too "
            "large, and vectors are no numbers. Lower it."
        )
    return max(best, 1)


def _optimizer(
    layers: LastLayers, heads: _Heads, settings: Settings, n_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return AdamW, and a rate that rises over the first steps, then falls to 0."""
    groups = [
        {"params": layers.parameters, "lr": settings.learning_rate},
        {
            "params": list(heads.parameters()),
            "lr": _HEADS_FASTER * settings.learning_rate,
        },
    ]
    total = n_steps * settings.epochs
    rising = max(1, int(_WARM_UP * total))

    def rate(step: int) -> float:
        falling = (total - step) / max(1, total - rising)
        return max(0.0, min((step + 1) / rising, falling))

    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _shuffled(
    rows: Sequence[int], lengths: np.ndarray, size: int, rng: np.random.Generator
) -> list[list[int]]:
    """Return batches of texts of similar length, in an order of chance."""
    order = np.asarray(rows)[rng.permutation(len(rows))].tolist()
    pool = size * _POOL
    batches = [
        batch
        for start in range(0, len(order), pool)
        for batch in in_batches(order[start : start + pool], lengths, size)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    layers: LastLayers, heads: _Heads, targets: Targets, rows: Sequence[int]
) -> float:
    vectors = torch.from_numpy(layers.embed(rows)).to(layers.device)
    with torch.no_grad():
        return float(targets.loss(heads(vectors), rows))
