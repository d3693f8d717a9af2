"""How near texts are to the prompts of concepts, without any annotation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from .units import Units

# Chosen by the development parts of three sets of texts; see docs/annotator.rst.
RIVAL = 0.5  # of the nearest other concept: what is taken off what a part says of one
FOCUS = 10.0  # how much more those parts count that say most of a concept


class Nearness(NamedTuple):
    """How near texts are to one concept.

    Attributes
    ----------
    mention : ndarray of shape (n_texts,)
        What the part says of the concept that says most of it, beyond other concepts.
    values : ndarray of shape (n_texts, n_prompted)
        For each value with prompts, how near the parts are that speak of the concept,
        compared with the average value.
    focus : ndarray of shape (n_texts, n_features)
        The average of the directions of those parts.
    """

    mention: np.ndarray
    values: np.ndarray
    focus: np.ndarray


class Compared:
    """Texts that are compared with prompts.

    Parameters
    ----------
    units : Units
        The parts of the texts.
    directions : ndarray of shape (n_parts, n_features)
        Of the parts, from what all vectors have in common; of length 1.
    prompts : list of ndarray of shape (n_prompted, n_features)
        For each concept, the average direction of the prompts of each value that has
        prompts.

    Attributes
    ----------
    rival : float
        What the parts say of the nearest other concept, on average.
    """

    def __init__(
        self, units: Units, directions: np.ndarray, prompts: Sequence[np.ndarray]
    ) -> None:
        self._units, self._directions, self._prompts = units, directions, prompts
        topics = np.stack([own.mean(axis=0) for own in prompts])
        of_topics = directions @ topics.T
        rivals = _nearest_other(of_topics)
        self.rival = float(rivals.mean())
        self._beyond = of_topics - RIVAL * rivals

    @property
    def whole(self) -> np.ndarray:
        """The directions of the texts themselves, (n_texts, n_features)."""
        return self._directions[self._units.starts]

    def with_concept(self, j: int) -> Nearness:
        """Return how near the texts are to a concept."""
        starts, owners = self._units.starts, self._units.owners
        beyond = self._beyond[:, j]
        mention = np.maximum.reduceat(beyond, starts)
        weights = np.exp(FOCUS * (beyond - mention[owners]))
        weights /= np.add.reduceat(weights, starts)[owners]
        shape = len(starts), len(beyond)
        average = csr_array((weights, (owners, np.arange(len(beyond)))), shape=shape)
        focus = average @ self._directions
        relative = self._prompts[j] - self._prompts[j].mean(axis=0)
        return Nearness(mention, focus @ relative.T, focus)


def average_prompts(
    directions: np.ndarray, n_each: Sequence[Sequence[int]]
) -> list[np.ndarray]:
    """Return the average direction of the prompts of each value, by concept.

    Parameters
    ----------
    directions : ndarray of shape (n_prompts, n_features)
        Of all prompts, in order.
    n_each : sequence of sequence of int
        For each concept, the number of prompts of each value that has prompts.
    """
    ends = np.cumsum([n for own in n_each for n in own])[:-1]
    means = iter([part.mean(axis=0) for part in np.split(directions, ends)])
    return [np.stack([next(means) for _ in own]) for own in n_each]


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to length 1; those of length 0 stay."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)


def _nearest_other(of_topics: np.ndarray) -> np.ndarray:
    """Return how near each part is to the nearest of the other concepts."""
    n_parts, n_concepts = of_topics.shape
    if n_concepts == 1:
        return np.zeros((n_parts, 1))
    in_order = np.partition(of_topics, -2, axis=1)
    is_first = np.arange(n_concepts) == of_topics.argmax(axis=1)[:, None]
    return np.where(is_first, in_order[:, -2:-1], in_order[:, -1:])
