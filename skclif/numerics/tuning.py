"""Penalties that choose themselves: the least leave-one-out loss in closed form.

One factorisation of a head's Hessian leaves out every row, one at a time, by leverage.
So one fit is enough to judge a penalty, where cross-validation needs one for every
fold. Every head walks along a grid of penalties, from its middle and as long as the
loss falls, and starts each fit where the last one ended.

A row leaves both stages. The label head is judged at activations that the concept
heads give without the row, because its predictions for new rows will see such
activations. See Eqs. (48) and (49) of docs/mathematics.rst.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, LabelRows, TrainingData, concept_problem
from .bounded import minimise
from .heads import Head, HeadsProblem, HeadStack
from .hessians import factor_heads
from .leverage import BLOCK_ROWS, remove_terms
from .products import with_ones
from .solvers import Preconditions, preconditioner_of
from .steps import Advance, unseen

# Half decades: the loss hardly changes between two neighbours.
GRID = tuple(10.0 ** (k / 2) for k in range(-8, 9))
_MIDDLE = len(GRID) // 2
# Losses that are nearer than this share of the least one count as equal: where data
# hardly care, the stronger penalty is the simpler model, and the walk ends.
_EQUAL = 1e-3
# Closed forms need an optimum, but not to the last digit.
_TOL, _MAX_ITER = 1e-4, 100


@dataclass(frozen=True)
class Choice:
    """Inverse penalties with the least leave-one-out loss.

    Attributes
    ----------
    C : Tensor of shape (n_heads,)
    losses : Tensor of shape (n_heads, len(GRID))
        Mean leave-one-out losses; NaN where the walk did not pass.
    """

    C: Tensor
    losses: Tensor


def choose_concept_C(
    stack: HeadStack, data: TrainingData, units: Tensor, advance: Advance = unseen
) -> Choice:
    """Choose the inverse penalty of every concept head.

    Parameters
    ----------
    stack : HeadStack
    data : TrainingData
    units : Tensor of shape (n_samples,)
        Share of every row's weight that is left out: 1, or less for rows that count as
        several.
    advance : callable
        Called after each value that was tried.
    """
    data, _ = data.in_row_space()
    ones = data.features.new_ones(len(stack))
    whole = concept_problem(stack, data, ones)
    preconditioner = preconditioner_of(data.features)
    parameters = data.features.new_zeros(stack.n_scores, data.features.shape[1] + 1)

    def losses(heads: list[int], C: Tensor) -> Tensor:
        columns = stack.columns(heads)
        problem = replace(whole.of_heads(heads), penalties=1 / C)
        parameters[columns] = _fitted(problem, parameters[columns], preconditioner)
        without = left_out_scores(problem, parameters[columns], units)
        means = [
            _weighted_mean(problem.weights[:, k], head.loss(part, problem.codes[:, k]))
            for k, (head, part) in enumerate(
                zip(problem.stack.heads, without, strict=True)
            )
        ]
        return torch.stack(means)

    return _walk(losses, len(stack), data.label_weights, advance)


def choose_label_C(
    bottleneck: Bottleneck,
    data: TrainingData,
    units: Tensor,
    concept_penalties: Tensor,
    residual_C: float | None = None,
    advance: Advance = unseen,
) -> Choice:
    """Choose the inverse penalty of the label head.

    The only row of a label that the head needs has no part in the choice: no penalty
    makes it likely without itself.

    Parameters
    ----------
    bottleneck : Bottleneck
        With fitted concept heads.
    data : TrainingData
    units : Tensor of shape (n_samples,)
        Share of every row's weight that is left out.
    concept_penalties : Tensor of shape (n_concepts,)
    residual_C : float, default=None
        Inverse penalty of the residual, which stays. None is no residual.
    advance : callable
        Called after each value that was tried.
    """
    data, span = data.in_row_space()
    bottleneck = replace(bottleneck, label_parameters=data.features.new_empty(0))
    bottleneck = bottleneck.inside(span if bottleneck.concepts else None)
    held_out = None
    if bottleneck.concepts:
        problem = concept_problem(bottleneck.concepts, data, concept_penalties)
        scores = left_out_scores(problem, bottleneck.concept_parameters, units)
        held_out = bottleneck.concepts.predict_activations(torch.cat(scores, dim=1))
    label = bottleneck.label
    lost = data.alone & label.needed(data.labels) & (units == 1)
    judged = data.label_weights * ~lost

    @lru_cache(maxsize=1)  # of all rows, and only the last is asked for again
    def seen_at(C: float) -> _Seen:
        return _seen(bottleneck.scaled(residual_C, C), data, held_out)

    n_inputs = seen_at(1.0).problem.features.shape[1] + 1
    parameters = data.features.new_zeros(label.n_scores, n_inputs)

    def losses(_: list[int], C: Tensor) -> Tensor:
        # What a residual sees is scaled to the penalty.
        at = seen_at(1.0 if residual_C is None else float(C))
        problem = replace(at.problem, penalties=1 / C)
        parameters[:] = _fitted(problem, parameters, at.preconditioner)
        scores = _label_scores(label, at.rows, problem, parameters, units, at.held_out)
        loss = label.loss(scores, data.labels)
        return _weighted_mean(judged, loss)[None]

    return _walk(losses, 1, data.label_weights, advance)


@dataclass(frozen=True)
class _Seen:
    """What the label head sees.

    Attributes
    ----------
    rows : LabelRows
    problem : HeadsProblem
        With any penalty.
    preconditioner : Preconditions
    held_out : Tensor of shape (n_samples, n_activations), or None
        Its inputs for each row by concept heads without the row.
    """

    rows: LabelRows
    problem: HeadsProblem
    preconditioner: Preconditions
    held_out: Tensor | None


def _seen(bottleneck: Bottleneck, data: TrainingData, held_out: Tensor | None) -> _Seen:
    if held_out is not None:
        held_out = bottleneck.with_residual(held_out, data.features)
    problem = bottleneck.label_problem(data, 1.0)
    return _Seen(
        bottleneck.label_rows(data),
        problem,
        preconditioner_of(problem.features),
        held_out,
    )


def left_out_scores(
    problem: HeadsProblem, parameters: Tensor, units: Tensor
) -> list[Tensor]:
    """Return every head's scores of each row when the row is left out, (n, n_scores).

    They are NaN if the Hessian is singular to working precision. Eq. (48) of
    docs/mathematics.rst.

    Parameters
    ----------
    problem : HeadsProblem
    parameters : Tensor of shape (n_scores, n_features + 1)
        At the optimum.
    units : Tensor of shape (n_samples,)
        Share of every row's weight that is left out.
    """
    stack = problem.stack
    inverses = factor_heads(problem, parameters)
    without = [part.clone() for part in stack.split(problem.scores(parameters))]
    for block in row_blocks(len(units), BLOCK_ROWS):
        inputs = with_ones(problem.features[block])[:, None]
        for j, (head, inverse) in enumerate(zip(stack.heads, inverses, strict=True)):
            if inverse is None:
                without[j][block] = torch.nan
                continue
            weights = units[block] * problem.weights[block, j]
            scores = without[j][block]
            codes = problem.codes[block, j]
            _, shift = remove_terms(
                head, scores[:, None], codes, weights[:, None], inputs, inverse
            )
            scores += shift
    return without


def _label_scores(
    label: Head,
    rows: LabelRows,
    problem: HeadsProblem,
    parameters: Tensor,
    units: Tensor,
    held_out: Tensor | None,
) -> Tensor:
    """Return scores of each row, left out of both stages: Eq. (49)."""
    (inverse,) = factor_heads(problem, parameters)
    if inverse is None:
        return rows.by_row(problem.scores(parameters))[:, 0] * torch.nan
    inputs = with_ones(rows.activations)
    copies, weights = rows.by_row(inputs), rows.by_row(rows.weights)
    scores = rows.by_row(problem.scores(parameters))
    weights = units[:, None] * weights
    result = torch.empty_like(scores[:, 0])
    for block in row_blocks(len(units), BLOCK_ROWS):
        removed, shift = remove_terms(
            label,
            scores[block],
            rows.labels[block],
            weights[block],
            copies[block],
            inverse,
        )
        if held_out is None:  # the inputs are the features, which do not move
            result[block] = scores[block, 0] + shift
            continue
        step = inverse.solve(removed.T).T
        moved = parameters + step.reshape(len(step), *parameters.shape)
        there = with_ones(held_out[block])
        result[block] = (moved @ there[:, :, None]).squeeze(2)
    return result


def _fitted(
    problem: HeadsProblem, start: Tensor, preconditioner: Preconditions
) -> Tensor:
    parameters, _ = minimise(
        problem, start, tol=_TOL, max_iter=_MAX_ITER, preconditioner=preconditioner
    )
    return parameters


def _weighted_mean(weights: Tensor, values: Tensor) -> Tensor:
    counted = weights > 0
    mean = (weights[counted] @ values[counted]) / weights[counted].sum()
    return torch.where(mean.isfinite(), mean, torch.inf)


def _walk(
    losses: Callable[[list[int], Tensor], Tensor],
    n_heads: int,
    like: Tensor,
    advance: Advance = unseen,
) -> Choice:
    """Walk along the grid, all heads together, until both neighbours are worse.

    Parameters
    ----------
    losses : callable
        Maps positions of heads and one value of C for each to their losses.
    n_heads : int
    like : Tensor
    advance : callable
        Called after each step.
    """
    grid = like.new_tensor(GRID)
    found = like.new_full((n_heads, len(grid)), torch.nan)
    while True:
        wanted = {j: k for j in range(n_heads) if (k := _next(found[j])) is not None}
        if not wanted:
            break
        heads, positions = list(wanted), list(wanted.values())
        found[heads, positions] = losses(heads, grid[positions])
        advance(1)
    return Choice(grid[[_best(row) for row in found]], found)


def _next(found: Tensor) -> int | None:
    """Return the next position of a head: the middle, then neighbours of the best."""
    known = ~found.isnan()
    if not known.any():
        return _MIDDLE
    best = _best(found)
    for position in (best + 1, best - 1):
        if 0 <= position < len(found) and not known[position]:
            return position
    return None


def _best(found: Tensor) -> int:
    """Return the position of the least loss; of equal losses the strongest penalty."""
    largest = torch.finfo(found.dtype).max
    losses = torch.where(found.isnan(), torch.inf, found.clamp(max=largest))
    least = losses.min()
    equal = losses <= least + _EQUAL * least.abs()
    return int(equal.nonzero()[0])
