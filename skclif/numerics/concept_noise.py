"""What wrong annotations of each concept would do to the label's loss.

If each annotation of a concept is replaced with the same chance by another value, the
objective is on average that of rows with every value, in these shares. Its optimum is
where noise moves the model on average, and it is found by solving the concept's head
and the label head again. Noise that is drawn differs from its mean. Around the mean, it
moves the parameters of the head by its spread, which adds to the loss along the loss's
curvature. See Eqs. (70) and (71) of docs/mathematics.rst.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .answers import along_rows, interest_in_label
from .bottleneck import Bottleneck, TrainingData, concept_problem, fit_label
from .bounded import minimise
from .edits import Limits
from .heads import Head, HeadStack
from .hessians import factorise
from .products import with_ones
from .solvers import Convergence
from .sparse import Features
from .targets import LabelTarget, evaluate


@dataclass(frozen=True)
class Damage:
    """By how much noise in a concept would raise the label's mean log-loss.

    Attributes
    ----------
    mean : float
        By what noise does on average.
    spread : float
        By how much noise that is drawn differs from that.
    """

    mean: float
    spread: float


def damage_of_noise(
    bottleneck: Bottleneck,
    data: TrainingData,
    concept: int,
    share: float,
    features: Features,
    codes: Tensor,
    *,
    penalty: float,
    concept_penalties: Tensor,
    limits: Limits,
) -> Damage:
    """Return what noise in one concept would do.

    Parameters
    ----------
    bottleneck : Bottleneck
        At the optimum for `data`.
    data : TrainingData
    concept : int
    share : float
        Of its annotations, the share that is replaced.
    features : Tensor or SparseFeatures of shape (n, n_features)
        Rows on which the loss is taken.
    codes : Tensor of shape (n,)
        Their labels.
    penalty : float
        ``1 / C``.
    concept_penalties : Tensor of shape (n_concepts,)
    limits : Limits
    """
    noisy = _with_every_value(bottleneck, data, concept, share)
    moved = _solved(
        *(bottleneck, noisy, concept, limits),
        penalty=penalty,
        concept_penalties=concept_penalties,
    )
    factors = factorise(
        moved, noisy, penalty=penalty, concept_penalties=concept_penalties
    )
    interest = interest_in_label(moved, factors, features, codes)
    loss = LabelTarget("loss", codes)
    mean = evaluate(loss, moved, features) - evaluate(loss, bottleneck, features)
    rows = data.rows(data.concept_weights[:, concept] > 0)
    scores = moved.concepts.split(moved.concept_scores(rows.features))[concept]
    spread = _spread(
        moved.concepts.heads[concept], scores, rows.concepts[:, concept], share
    )
    pull = along_rows(interest.matrices[1 + concept], with_ones(rows.features))
    squares = (pull * spread).sum(dim=(1, 2)) * rows.concept_weights[:, concept] ** 2
    return Damage(float(mean.mean()), float(squares.sum() / 2))


def _with_every_value(
    bottleneck: Bottleneck, data: TrainingData, concept: int, share: float
) -> TrainingData:
    """Return rows below each other with every value, as often as noise would have it.

    Rows without an annotation of the concept are there once.
    """
    head, codes = bottleneck.concepts.heads[concept], data.concepts[:, concept]
    given = data.concept_weights[:, concept] > 0
    others = [
        (value, given & (codes != value)) for value in head.proposals(codes[given])
    ]
    n_others = torch.stack([other for _, other in others]).sum(dim=0)
    replaced = n_others > 0
    copies = [_weighted(data, 1 - share * replaced.to(codes.dtype))]
    for value, other in others:
        concepts = data.concepts.clone()
        concepts[:, concept] = value
        part = replace(data, concepts=concepts).rows(other)
        copies.append(_weighted(part, share / n_others[other]))
    kept = [torch.arange(len(data), device=codes.device)]
    kept += [torch.nonzero(other).squeeze(1) for _, other in others]
    return replace(
        data.rows(torch.cat(kept)),
        concepts=torch.cat([copy.concepts for copy in copies]),
        label_weights=torch.cat([copy.label_weights for copy in copies]),
        concept_weights=torch.cat([copy.concept_weights for copy in copies]),
    )


def _weighted(data: TrainingData, factors: Tensor) -> TrainingData:
    return replace(
        data,
        label_weights=factors * data.label_weights,
        concept_weights=factors[:, None] * data.concept_weights,
    )


def _solved(
    bottleneck: Bottleneck,
    data: TrainingData,
    concept: int,
    limits: Limits,
    *,
    penalty: float,
    concept_penalties: Tensor,
) -> Bottleneck:
    """Return the bottleneck with one concept's head and the label head solved again."""
    one = slice(concept, concept + 1)
    problem = concept_problem(
        HeadStack([bottleneck.concepts.heads[concept]]),
        replace(
            data,
            concepts=data.concepts[:, one],
            concept_weights=data.concept_weights[:, one],
        ),
        concept_penalties[one],
    )
    own = bottleneck.concepts.scores[concept]
    found: tuple[Tensor, Convergence] = minimise(
        problem,
        bottleneck.concept_parameters[own],
        tol=limits.tol,
        max_iter=limits.max_iter,
    )
    parameters = bottleneck.concept_parameters.clone()
    parameters[own] = found[0]
    moved = replace(bottleneck, concept_parameters=parameters)
    moved, _ = fit_label(
        moved, data, penalty=penalty, tol=limits.tol, max_iter=limits.max_iter
    )
    return moved


def _spread(head: Head, scores: Tensor, codes: Tensor, share: float) -> Tensor:
    """Return the covariance of the residual under noise, (n, k, k): Eq. (71)."""
    probabilities = head.probabilities(scores)
    own = head.residual(probabilities, codes)
    mean, count = torch.zeros_like(own), torch.zeros_like(codes)
    squares = torch.zeros_like(own[:, :, None] * own[:, None])
    for value in head.proposals(codes):
        other = torch.full_like(codes, value)
        is_other = (other != codes).to(own.dtype)
        change = is_other[:, None] * (head.residual(probabilities, other) - own)
        count, mean = count + is_other, mean + change
        squares = squares + change[:, :, None] * change[:, None]
    chance = (share / count.clamp_min(1))[:, None]
    mean = chance * mean
    return chance[:, :, None] * squares - mean[:, :, None] * mean[:, None]
