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
    given = torch.nonzero(data.concept_weights[:, concept] > 0).squeeze(1)
    values, chances = _replacements(head, codes[given])
    unmoved = torch.ones_like(codes)
    unmoved[given] -= share * chances.sum(dim=1)
    copies, kept = [_weighted(data, unmoved)], [torch.arange(len(data)).to(given)]
    for value, chance in zip(values, chances.T, strict=True):
        concepts = data.concepts.clone()
        concepts[:, concept] = value
        rows = given[chance > 0]
        part = replace(data, concepts=concepts).rows(rows)
        copies.append(_weighted(part, share * chance[chance > 0]))
        kept.append(rows)
    return replace(
        data.rows(torch.cat(kept)),
        concepts=torch.cat([copy.concepts for copy in copies]),
        label_weights=torch.cat([copy.label_weights for copy in copies]),
        concept_weights=torch.cat([copy.concept_weights for copy in copies]),
    )


def _replacements(head: Head, codes: Tensor) -> tuple[list[float], Tensor]:
    """Return values, and the chances that they take the place of annotations.

    All that is not the value now is replaced by another with the same chance. A soft
    annotation is each of its values as often as its share says, so that an almost
    certain one is treated almost as the value itself.

    Parameters
    ----------
    head : Head
    codes : Tensor of shape (n,)
        Of the annotations.

    Returns
    -------
    values : list of float
        Their codes.
    chances : Tensor of shape (n, n_values)
        They add up to 1, or to 0 where there is no other value.
    """
    values = head.proposals(codes)
    now = (codes[:, None] == codes.new_tensor(values)).to(codes.dtype)
    if (parts := head.parts(codes)) is not None:
        positions, own, shares = parts
        for column, value in enumerate(values):
            is_own = own == value
            now[positions[is_own], column] = shares[is_own].to(now.dtype)
    other = 1 - now
    total = other.sum(dim=1, keepdim=True)
    return values, other / torch.where(total == 0, 1, total)


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
    mean = torch.zeros_like(own)
    squares = torch.zeros_like(own[:, :, None] * own[:, None])
    values, chances = _replacements(head, codes)
    for value, chance in zip(values, share * chances.to(own.dtype).T, strict=True):
        other = torch.full_like(codes, value)
        change = head.residual(probabilities, other) - own
        mean = mean + chance[:, None] * change
        squares = squares + chance[:, None, None] * change[:, :, None] * change[:, None]
    return squares - mean[:, :, None] * mean[:, None]
