"""What wrong annotations of each concept would do to a target, in closed form.

If a share of a concept's annotations is replaced by other values at random, the
gradient of its head changes by a random amount: by its mean, and by a spread around it.
The mean moves the target to first order, through both stages; both move it to second
order, along the curvature of the target. See Eqs. (68) and (69) of
docs/mathematics.rst.
"""

import torch
from torch import Tensor

from .answers import Interest, along_rows
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .first_order import Adjoint
from .heads import Head
from .hessians import Factors
from .products import affine_adjoint, with_ones
from .suggestions import BLOCK_ROWS, ClosedForm


def damage_of_noise(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    interest: Interest,
    share: float,
) -> Tensor:
    """Return the expected change of a target by noise in each concept, (n_concepts, 2).

    The first column is to first order, the second to second order; they add up.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    interest : Interest
        In the target.
    share : float
        Of each concept's annotations, the share that is replaced.
    """
    closed_form = ClosedForm(bottleneck, factors)
    label, *concepts = (slope[None] for slope in interest.slopes)
    adjoint = Adjoint(label, tuple(concepts))
    damage = data.label_weights.new_zeros(len(bottleneck.concepts), 2)
    for j, head in enumerate(bottleneck.concepts.heads):
        rows = data.rows(data.concept_weights[:, j] > 0)
        if not len(rows):
            continue
        mean = rows.label_weights.new_zeros(len(interest.matrices[1 + j]))
        for block in row_blocks(len(rows), BLOCK_ROWS):
            part = rows.rows(block)
            first, moved, spread = _of_rows(
                closed_form, part, adjoint, interest.matrices[1 + j], j, head, share
            )
            damage[j, 0] += first
            damage[j, 1] += spread
            mean += moved
        damage[j, 1] += mean @ interest.matrices[1 + j] @ mean / 2
    return damage


def _of_rows(
    closed_form: ClosedForm,
    rows: TrainingData,
    adjoint: Adjoint,
    interest: Tensor,
    concept: int,
    head: Head,
    share: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first order of some rows, their mean gradient, and half the spread."""
    codes, weights = rows.concepts[:, concept], rows.concept_weights[:, concept]
    bottleneck = closed_form.bottleneck
    scores = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
    probabilities = head.probabilities(scores[concept])
    own = head.residual(probabilities, codes)
    changed = closed_form.of(rows, adjoint)
    effect, moved, squares, count = 0.0, 0.0 * own, 0.0, 0.0 * codes
    for value in head.proposals(codes):
        other = torch.full_like(codes, value)
        is_other = (other != codes).to(own.dtype)
        count = count + is_other
        effect = effect + is_other * changed.annotate(concept, other, weights)[0]
        change = is_other[:, None] * (head.residual(probabilities, other) - own)
        moved = moved + change
        squares = squares + change[:, :, None] * change[:, None]
    count = share / count.clamp_min(1)
    moved = count[:, None] * moved
    spread = count[:, None, None] * squares - moved[:, :, None] * moved[:, None]
    pull = along_rows(interest, with_ones(rows.features))
    of_rows = weights**2 * (pull * spread).sum(dim=(1, 2)) / 2
    gradient = affine_adjoint(rows.features, weights[:, None] * moved).flatten()
    return (count * effect).sum(), gradient, of_rows.sum()
