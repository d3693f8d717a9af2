"""The removal of sets of training rows, each as a whole.

Effects of rows that act together do not add up. Three estimates differ in how they find
the parameters without a set; none of them linearises the target, except "pairwise".

"pairwise" moves both stages to first order, in which changes by rows add up, and takes
the target to second order along them. This adds a term for every pair of rows to the
sum of their influences (Heo et al., 2026, arXiv 2605.15675). "leverage" adds up the
changes by rows that are removed one at a time in closed form: rescaled influence
functions (Rubinstein and Hopkins, 2025, arXiv 2506.06656). "newton" solves both stages
without the set. See Eqs. (76) to (78) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .heads import CategoricalHead, Head
from .hessians import Factors
from .inverses import Inverse
from .leverage import BLOCK_ROWS, Step
from .newton import Refit
from .products import affine, affine_adjoint
from .removal import Answers, Removals
from .sparse import Features
from .targets import Question

# Most numbers in changes of parameters and in passes over rows at a time: 64 MB.
_MOST_VALUES = 2**23
# Where a target is evaluated on both sides to find its first two derivatives, as a
# share of the whole change: both lose about as much by rounding as by this.
_SIDE = 1e-3
# Share of the weight of a value that counts as none, beside rounding.
_NOTHING = 1e-12


class Lost(NamedTuple):
    """What has no weight left without a set of rows.

    Attributes
    ----------
    concept : int or None
        Position of the concept; None for the label.
    code : int or None
        The value that has no row left; None if no annotation is left.
    """

    concept: int | None
    code: int | None


class _Removing(Protocol):
    """A method that removes sets of rows."""

    def values_per_set(self) -> int:
        """Return about how many numbers the removal of a set holds."""

    def without(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return changes of the parameters, and relative errors where they are known.

        Errors have shape (n_sets,).
        """


def remove_sets(
    method: str,
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    questions: Sequence[Question],
    sets: Sequence[Tensor],
    *,
    paths: bool = True,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the effect of the presence of sets of rows, a block of sets at a time.

    Parameters
    ----------
    method : {"pairwise", "leverage", "newton"}
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    questions : sequence of Question
    sets : sequence of Tensor of int64
        Positions of the training rows of each set. No set may be one that `lost_by`
        names.
    paths : bool
        Whether to remove the label terms of a set alone, and its annotations of each
        concept alone.

    Yields
    ------
    block : slice
        A slice of `sets`.
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts) or (…, 1)
        ``target with - target without``: the paths of the label and of the concepts,
        and their interaction, which add up to the removal of the whole set; or only
        that removal.
    error : Tensor of shape (n_block,)
        Estimated error of the change of the parameters that newton made, relative to
        the change; 0 by other methods.
    """
    answers = Answers(bottleneck, questions)
    removing = _METHODS[method](bottleneck, data, factors)
    at_once = max(1, _MOST_VALUES // removing.values_per_set())
    at_once = answers.rows_at_once(at_once, paths=paths)
    for block in row_blocks(len(sets), at_once):
        removals, error = removing.without(sets[block], paths=paths)
        of_sets = _weights(data, sets[block])
        influence = _second_order if method == "pairwise" else _exactly
        yield block, influence(answers, removals, of_sets), error


def pairwise(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    questions: Sequence[Question],
    removed: Tensor | None = None,
    *,
    paths: bool = True,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the effect of the presence of single rows, by the method "pairwise".

    Arguments and what is yielded are those of `leverage`.
    """
    if removed is None:
        removed = torch.arange(len(data), device=data.labels.device)
    sets = list(removed[:, None])
    for block, influence, _ in remove_sets(
        "pairwise", bottleneck, data, factors, questions, sets, paths=paths
    ):
        yield block, influence


def lost_by(
    bottleneck: Bottleneck, data: TrainingData, sets: Sequence[Tensor]
) -> list[list[Lost]]:
    """Return what each set holds all the weight of, so that a head has no optimum.

    Biases have no penalty: without rows of a value, its probability goes to 0 and the
    bias has no bound.
    """
    heads: list[tuple[int | None, Head, Tensor, Tensor]]
    heads = [(None, bottleneck.label, data.labels, data.label_weights)]
    heads += [
        (j, head, data.concepts[:, j], data.concept_weights[:, j])
        for j, head in enumerate(bottleneck.concepts.heads)
    ]
    found: list[list[Lost]] = [[] for _ in sets]
    for concept, head, codes, weights in heads:
        if not head.n_activations:
            continue  # a constant, which has no loss
        shares = weights[:, None]
        if head.is_categorical:
            shares = shares * cast(CategoricalHead, head).target(codes, weights)
        total = shares.sum(dim=0)
        for lost, rows in zip(found, sets, strict=True):
            left = total - shares[rows].sum(dim=0)
            gone = (total > 0) & (left <= _NOTHING * total)
            if torch.equal(gone, total > 0):
                lost.append(Lost(concept, None))
            else:
                lost += [Lost(concept, code) for code in gone.nonzero()[:, 0].tolist()]
    return found


def carried_curvature(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    sets: Sequence[Tensor],
    *,
    but_one: bool = False,
) -> Tensor:
    """Return the largest share of a head's curvature that each set has, (n_sets,).

    It is that along the step to first order, ``d' H_S d / d' H d``, which this step
    keeps. A quadratic along one line moves ``1 / (1 - share)`` times as far.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    sets : sequence of Tensor of int64
    but_one : bool
        Whether not to count the row of a set with the most, as for "leverage", which
        takes the own curvature of each row out.
    """
    rows, stack = bottleneck.label_rows(data), bottleneck.concepts
    copies = [rows.positions(members).flatten() for members in sets]
    label_scores = bottleneck.label_scores(rows.activations)
    shares = [
        _carried(
            _Loss(bottleneck.label, label_scores, rows.labels, rows.weights),
            rows.activations,
            factors.label,
            copies,
            n_copies=rows.n_copies,
            but_one=but_one,
        )
    ]
    scores = stack.split(bottleneck.concept_scores(data.features))
    for j, head in enumerate(stack.heads):
        of_concept = data.concepts[:, j], data.concept_weights[:, j]
        loss = _Loss(head, scores[j], *of_concept)
        inverse = factors.concepts[j]
        shares.append(_carried(loss, data.features, inverse, sets, but_one=but_one))
    return torch.stack(shares).amax(dim=0)


class _Loss(NamedTuple):
    """The loss of a head at its scores, by row."""

    head: Head
    scores: Tensor
    codes: Tensor
    weights: Tensor


def _carried(
    loss: _Loss,
    features: Features,
    inverse: Inverse,
    sets: Sequence[Tensor],
    *,
    but_one: bool,
    n_copies: int = 1,
) -> Tensor:
    head, scores, codes, weights = loss
    residual = _weighted_residual(head, scores, codes, weights)
    curvature = head.curvature(head.probabilities(scores), codes)
    curvature = weights[:, None, None] * curvature
    gradient = _gradients(features, residual, sets)
    missing = head.missing(features.shape[1])
    if missing is not None:
        gradient = gradient.masked_fill(missing.to(gradient.device), 0.0)
    step = inverse.solve(gradient.flatten(1).T).T.reshape(gradient.shape)
    whole = (gradient * step).flatten(1).sum(dim=1)
    own = torch.zeros_like(whole)
    for i, rows in enumerate(sets):
        moved = affine(features[rows], step[i])
        by_row = torch.einsum("ns,nst,nt->n", moved, curvature[rows], moved)
        by_row = by_row.reshape(-1, n_copies).sum(dim=1)
        own[i] = by_row.sum() - (by_row.max() if but_one else 0)
    return torch.where(whole > 0, own / whole, 0.0)


def _weights(data: TrainingData, sets: Sequence[Tensor]) -> TrainingData:
    """Return a row for each set, with the weight of the whole set."""
    return replace(
        data.rows(torch.stack([rows[0] for rows in sets])),
        label_weights=torch.stack([data.label_weights[rows].sum() for rows in sets]),
        concept_weights=torch.stack(
            [data.concept_weights[rows].sum(dim=0) for rows in sets]
        ),
    )


def _exactly(answers: Answers, removals: Removals, sets: TrainingData) -> Tensor:
    influence, _ = answers.influence(removals, sets)
    return influence


def _second_order(answers: Answers, removals: Removals, sets: TrainingData) -> Tensor:
    """Return what the parabola through a target near the start says of the end.

    Eq. (76) of docs/mathematics.rst.
    """
    there, _ = answers.influence(_times(removals, _SIDE), sets)
    back, _ = answers.influence(_times(removals, -_SIDE), sets)
    return (there - back) / (2 * _SIDE) + (there + back) / (2 * _SIDE**2)


def _times(removals: Removals, share: float) -> Removals:
    return Removals(
        [share * change for change in removals.concepts],
        share * removals.row,
        [share * change for change in removals.terms],
    )


class _Pairwise:
    """Changes of both stages to first order."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.bottleneck, self.data, self.factors = bottleneck, data, factors
        self.rows = bottleneck.label_rows(data)
        self.label = _weighted_residual(
            bottleneck.label,
            bottleneck.label_scores(self.rows.activations),
            self.rows.labels,
            self.rows.weights,
        )
        stack = bottleneck.concepts
        self.concepts = [
            _weighted_residual(
                head, scores, data.concepts[:, j], data.concept_weights[:, j]
            )
            for j, (head, scores) in enumerate(
                zip(
                    stack.heads,
                    stack.split(bottleneck.concept_scores(data.features)),
                    strict=True,
                )
            )
        ]

    def values_per_set(self) -> int:
        """Return how many parameters there are."""
        return _n_parameters(self.bottleneck)

    def without(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return changes in which those by rows add up."""
        bottleneck, factors, data = self.bottleneck, self.factors, self.data
        copies = [self.rows.positions(rows).flatten() for rows in sets]
        gradient = _gradients(self.rows.activations, self.label, copies)
        missing = bottleneck.label.missing(bottleneck.n_label_inputs)
        if missing is not None:
            gradient = gradient.masked_fill(missing.to(gradient.device), 0.0)
        moved = [gradient.flatten(1)]
        concepts = []
        for residual, inverse, cross in zip(
            self.concepts, factors.concepts, factors.cross, strict=True
        ):
            of_set = _gradients(data.features, residual, sets).flatten(1)
            change = inverse.solve(of_set.T).T
            concepts.append(_by_score(change, residual.shape[1]))
            moved.append(-change @ cross.T)
        terms = [
            _by_score(factors.solve_label(part), bottleneck.label.n_scores)
            for part in (moved if paths else [torch.stack(moved).sum(dim=0)])
        ]
        row = torch.stack(terms).sum(dim=0)
        return Removals(concepts, row, terms if paths else ()), _no_errors(sets)


class _Leverage:
    """Changes by the removal of single rows in closed form, added up."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.bottleneck, self.data = bottleneck, data
        self.step = Step(bottleneck, data, factors)

    def values_per_set(self) -> int:
        """Return how many parameters there are, in all cases."""
        return _n_parameters(self.bottleneck) * (2 + len(self.bottleneck.concepts))

    def without(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return sums of changes. Eq. (77) of docs/mathematics.rst."""
        members = torch.cat(list(sets))
        owner = torch.repeat_interleave(
            torch.arange(len(sets), device=members.device),
            members.new_tensor([len(rows) for rows in sets]),
        )
        total: list[Tensor] = []
        for block in row_blocks(len(members), BLOCK_ROWS):
            removals, _ = self.step.removals(
                self.data.rows(members[block]), paths=paths
            )
            parts = [*removals.concepts, removals.row, *removals.terms]
            total = total or [
                part.new_zeros(len(sets), *part.shape[1:]) for part in parts
            ]
            for sums, part in zip(total, parts, strict=True):
                sums.index_add_(0, owner[block], part)
        n = len(self.bottleneck.concepts)
        return Removals(total[:n], total[n], total[n + 1 :]), _no_errors(sets)


class _Newton:
    """Both stages solved again."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.refit, self.n_rows = Refit(bottleneck, data, factors), len(data)

    def values_per_set(self) -> int:
        """Return how many values a pass over all rows has."""
        return 2 * self.n_rows * self.refit.width

    def without(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return changes to the new optimum, and their errors."""
        return self.refit.without_sets(sets, paths=paths)


_METHODS: dict[str, type[_Pairwise] | type[_Leverage] | type[_Newton]] = {
    "pairwise": _Pairwise,
    "leverage": _Leverage,
    "newton": _Newton,
}


def _n_parameters(bottleneck: Bottleneck) -> int:
    label = bottleneck.label_parameters.numel()
    return int(bottleneck.concept_parameters.numel()) + int(label)


def _no_errors(sets: Sequence[Tensor]) -> Tensor:
    return torch.zeros(len(sets), dtype=torch.float64, device=sets[0].device)


def _weighted_residual(
    head: Head, scores: Tensor, codes: Tensor, weights: Tensor
) -> Tensor:
    return weights[:, None] * head.residual(head.probabilities(scores), codes)


def _gradients(features: Features, residual: Tensor, sets: Sequence[Tensor]) -> Tensor:
    """Return the summed gradients of sets, (n_sets, n_scores, n_features + 1)."""
    return torch.stack(
        [affine_adjoint(features[rows], residual[rows]) for rows in sets]
    )


def _by_score(change: Tensor, n_scores: int) -> Tensor:
    return change.reshape(len(change), n_scores, -1)
