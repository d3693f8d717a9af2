"""The steps of BFGS of many small problems, that ask others for their gradients.

A descent is a generator: it yields the problems whose gradient it needs, and is sent
that gradient. So many descents, of different heads, share one pass over the rows. See
Eqs. (20) and (21) of docs/mathematics.rst.
"""

from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor

_MAX_SHORTENED = 20


class Problems(Protocol):
    """Problems that are solved together, near the optimum of one solved problem."""

    parameters: Tensor
    # Squares of sizes that errors are relative to, where larger than the change's.
    extent: Tensor
    # Which problems take another step, whatever the error seems to be.
    unsettled: Tensor
    # Which problems are known to need one step only.
    settled: Tensor

    def first_step(self, gradient: Tensor) -> Tensor:
        """Return the first steps of all problems, for their first gradients."""

    def precondition(self, gradient: Tensor, at: Tensor) -> Tensor:
        """Return steps of some of the problems, with another sign."""


# What a descent yields, gets, and returns: problems, gradients, and errors.
Descent = Generator[Tensor, Tensor, Tensor]


def descend(
    problems: Problems,
    change: Tensor,
    first: Tensor,
    sizes: Tensor,
    max_steps: int,
    tol: float,
) -> Descent:
    """Minimise problems together by BFGS, adding to `change` in place.

    Converged problems take no further steps.

    Parameters
    ----------
    problems : Problems
    change : Tensor of shape (n_problems, n_scores, n_inputs)
        Change of the parameters, 0 at first.
    first : Tensor, shaped like change
        The gradients before any step, perhaps to first order.
    sizes : Tensor of shape (n_problems,)
        Gets the size of every step, relative to the change and in the Hessian's norm.
    max_steps : int
    tol : float
        The largest estimated error, relative to the change.

    Yields
    ------
    at : Tensor of int64
        Problems whose gradient at their change is needed; it has to be sent.

    Returns
    -------
    error : Tensor of shape (n_problems,)
        The estimated distance to the optimum, relative to the change.
    """
    active = torch.arange(len(change), device=change.device)
    error, last_size = change.new_zeros(len(change)), change.new_ones(len(change))
    n_steps, n_shortened = torch.zeros_like(active), torch.zeros_like(active)
    gradient, before, step = first, first.clone(), torch.zeros_like(first)
    pairs: list[tuple[Tensor, Tensor]] = []
    # Which of the active problems take a new step. The step of others was shortened, so
    # that no problem waits for another one.
    new = torch.ones_like(active, dtype=torch.bool)
    while True:
        at = active[new]
        if not pairs:
            taken = problems.first_step(gradient)
        else:
            known = [(s[new], y[new]) for s, y in pairs]
            taken = -_secant_corrected(problems, known, gradient[new], at)
        # A problem with lost steps keeps its parameters, and is refused or warned of.
        lost = ~taken.isfinite().all(dim=2).all(dim=1)
        taken[lost] = 0
        step[new], before[new] = taken, gradient[new]
        change[at] += taken
        n_steps[at] += 1
        n_shortened[at] = 0
        # In the Hessian's norm, assuming that steps continue to shrink by this factor.
        way = torch.maximum(dot(change[at], first[at]).abs(), problems.extent[at])
        size = (dot(taken, before[new]).abs() / way).sqrt()
        left = torch.where(way > 0, size * (size / last_size[at]), 0.0)
        left = torch.where(_is_rounding(change[at], problems), 0.0, left)
        error[at] = torch.where(lost, torch.inf, left)
        sizes[at] = last_size[at] = size
        going = torch.ones_like(new)
        going[new] = (left > tol) | problems.unsettled[at]
        going[new] &= ~lost & ~problems.settled[at] & (n_steps[at] < max_steps)
        if not going.any():
            return error
        active, step, before = active[going], step[going], before[going]
        pairs = [(s[going], y[going]) for s, y in pairs]
        new = torch.zeros_like(active, dtype=torch.bool)
        while not new.any():
            gradient = yield active
            new = ~_shorten(active, change, step, before, gradient, n_shortened)
        kept = new[:, None, None]
        pairs.append((step * kept, (gradient - before) * kept))


def _is_rounding(change: Tensor, problems: Problems) -> Tensor:
    """Return which changes are rounding errors of the parameters."""
    least = 10 * torch.finfo(change.dtype).eps
    return dot(change, change) <= least**2 * (problems.parameters**2).sum()


def _shorten(
    active: Tensor,
    change: Tensor,
    step: Tensor,
    before: Tensor,
    gradient: Tensor,
    n_shortened: Tensor,
) -> Tensor:
    """Shorten steps that went too far, in place; return which, (n_active,), bool.

    A step is too long if the objective rises at its end more steeply than it fell at
    its start.
    """
    fell, rises = -dot(before, step), dot(gradient, step)
    is_far = (rises > fell) & (n_shortened[active] < _MAX_SHORTENED)
    far = is_far.nonzero().squeeze(1)
    kept = (fell / (fell + rises))[far, None, None]
    change[active[far]] -= (1 - kept) * step[far]
    step[far] *= kept
    n_shortened[active[far]] += 1
    return is_far


def _secant_corrected(
    problems: Problems,
    pairs: list[tuple[Tensor, Tensor]],
    gradient: Tensor,
    active: Tensor,
) -> Tensor:
    """Precondition gradients, corrected by pairs of a step and the gradient's change.

    The two loops of L-BFGS, Algorithm 7.4 of Nocedal and Wright (2006). Pairs of zeros
    change nothing.
    """
    shares = []
    for step, difference in reversed(pairs):
        scale = dot(step, difference)
        share = torch.where(scale > 0, dot(step, gradient) / scale, 0.0)
        gradient = gradient - share[:, None, None] * difference
        shares.append(share)
    direction = problems.precondition(gradient, active)
    for (step, difference), share in zip(pairs, reversed(shares), strict=True):
        scale = dot(step, difference)
        other = torch.where(scale > 0, dot(difference, direction) / scale, 0.0)
        direction = direction + (share - other)[:, None, None] * step
    return direction


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of each problem's parameters, (n_problems,)."""
    return (left * right).flatten(1).sum(dim=1)
