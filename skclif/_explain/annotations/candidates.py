"""Rows that could be annotated, and what that would teach the model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..._inputs.progress import SILENT, Progress, counted
from ..._inputs.training_rows import TrainingRows
from ..._models.fitted import FittedHeads
from ..._results.annotations import BY_ANNOTATION
from ...numerics.answers import (
    Answers,
    Interest,
    answers_of_concept,
    answers_of_label,
    beliefs_with_label,
    noise_of_concepts,
)
from ...numerics.bottleneck import TrainingData
from ...numerics.hessians import Factors
from ...numerics.sparse import Matrix
from ..readable import coded_rows
from ..solved import Solved


@dataclass(frozen=True)
class Asked:
    """Rows of which something is not known yet.

    Attributes
    ----------
    solved : Solved
        The model, and training rows. Their span holds these rows.
    rows : TrainingData
        The rows, in its coordinates, with the weights that answers would have.
    missing : ndarray of bool of shape (n_rows, 1 + n_concepts)
        What would be asked: the label, and each concept.
    positions : ndarray of shape (n_rows,)
        Positions of the rows in the pool, or in training.
    """

    solved: Solved
    rows: TrainingData
    missing: np.ndarray
    positions: np.ndarray


def pool_rows(
    heads: FittedHeads, training: TrainingRows, solved: Solved, pool: Matrix
) -> Asked:
    """Return rows that are not in training: nothing is known of them.

    Parameters
    ----------
    heads : FittedHeads
    training : TrainingRows
    solved : Solved
        The model and the training rows.
    pool : ndarray or SparseFeatures of shape (n_pool, n_features)
    """
    n = pool.shape[0]
    rows = coded_rows(heads, pool, np.zeros(n, dtype=np.int64), {}, training.shares)
    if solved.span is not None or not isinstance(solved.inverse, Factors):
        # Where no training row is, these rows teach the most: the span has to hold
        # them. Without weight, they move no optimum.
        unweighted = replace(rows, weights=np.zeros(n))
        solved = Solved.of(
            heads, unweighted.below(training), solved.device, solved.inverse.dtype
        )
    data = rows.data().to(solved.device)
    weights = data.label_weights.new_ones(n)
    data = replace(
        data,
        features=solved.inputs(pool),
        label_weights=weights,
        concept_weights=weights[:, None].expand(-1, heads.n_concepts),
    )
    missing = np.ones((n, 1 + heads.n_concepts), dtype=bool)
    missing[:, 1:] = learnable(heads)
    return Asked(solved, data, missing, np.arange(n))


def training_rows(heads: FittedHeads, training: TrainingRows, solved: Solved) -> Asked:
    """Return training rows that lack annotations."""
    weights = training.concept_weights * training.weights[:, None]
    missing = np.isnan(training.codes) & (weights > 0) & learnable(heads)
    positions = np.flatnonzero(missing.any(axis=1))
    data = solved.data.rows(torch.from_numpy(positions).to(solved.device))
    own = data.label_weights.new_tensor(weights[positions])
    known = np.zeros((len(positions), 1), dtype=bool)
    return Asked(
        solved,
        replace(data, concept_weights=own),
        np.hstack([known, missing[positions]]),
        positions,
    )


def learnable(heads: FittedHeads) -> np.ndarray:
    """Return which concepts can be learned more of: not constants."""
    return np.array([v is None or len(v) > 1 for v in heads.values], dtype=bool)


@dataclass(frozen=True)
class Chosen:
    """What was chosen, the first of it first.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Places among the rows that were asked of.
    paths : ndarray of shape (n,)
        The first that is asked for: 0 is the label, and 1 + j is concept j.
    gains : ndarray of shape (n, 1 + n_concepts)
        By path, when it was chosen; NaN where nothing is asked.
    """

    rows: np.ndarray
    paths: np.ndarray
    gains: np.ndarray


def choose(
    answers: dict[int, Answers],
    missing: np.ndarray,
    n: int,
    by: str,
    progress: Progress = SILENT,
) -> Chosen:
    """Choose what is expected to bring most, one after the other.

    Parameters
    ----------
    answers : dict of int to Answers
        By path, of all rows that are asked of.
    missing : ndarray of bool of shape (n_rows, 1 + n_concepts)
    n : int
        Maximum number of lines.
    by : {"row", "annotation"}
    progress : Progress
        Shows its bars.
    """
    unasked, chosen = missing.copy(), []
    gains = np.full(missing.shape, np.nan)
    for path, part in answers.items():
        gains[:, path] = part.gains().cpu().numpy()
    n = min(n, int(missing.sum()) if by == BY_ANNOTATION else len(missing))
    with progress.stage("Choosing what to annotate", n) as advance:
        for _ in counted(range(n), advance):
            row, paths = _best(np.where(unasked, gains, np.nan), by)
            own = np.full(missing.shape[1], np.nan)
            own[paths] = gains[row, paths]
            chosen.append((row, paths[0], own))
            unasked[row, paths] = False
            for path in paths:
                answers[path].give(row)
                gains[:, path] = answers[path].gains().cpu().numpy()
    rows, first, parts = zip(*chosen, strict=True)
    return Chosen(np.array(rows), np.array(first), np.array(parts))


def _best(gains: np.ndarray, by: str) -> tuple[int, list[int]]:
    """Return the best row, and which of its paths are asked for."""
    if by == BY_ANNOTATION:
        place = int(np.nanargmax(gains))
        return place // gains.shape[1], [place % gains.shape[1]]
    open_ = ~np.isnan(gains)
    in_all = np.where(open_.any(axis=1), np.nansum(gains, axis=1), -np.inf)
    row = int(in_all.argmax())
    return row, np.flatnonzero(open_[row]).tolist()


def answers_by_path(
    asked: Asked,
    interest: Interest,
    class_weights: torch.Tensor,
    of_labels: torch.Tensor | None,
) -> dict[int, Answers]:
    """Return what answers would do through every head that something is asked of.

    Parameters
    ----------
    asked : Asked
    interest : Interest
    class_weights : Tensor of shape (n_classes,)
    of_labels : Tensor of shape (n_rows, n_classes) or None
        How probable each label is believed to be; None where labels are known.
    """
    solved = asked.solved
    model = solved.bottleneck, solved.factors, asked.rows
    noise = noise_of_concepts(solved.bottleneck, solved.data)
    answers = {}
    if of_labels is not None:
        answers[0] = answers_of_label(*model, class_weights, interest, of_labels)
    for j in range(len(solved.bottleneck.concepts)):
        if not asked.missing[:, 1 + j].any():
            continue
        beliefs = None
        if of_labels is None:
            beliefs = beliefs_with_label(solved.bottleneck, asked.rows, j)
        answers[1 + j] = answers_of_concept(*model, j, interest, beliefs, noise[j])
    return answers
