"""Heads whose parameters have bounds, solved by projected Newton steps.

Coordinates in which the bounds are "not negative" make a step simple: coordinates that
are at their bound and want to go beyond it stay there, the others take a Newton step,
and the result is put back inside (Bertsekas, 1982). Once the right coordinates are at
their bounds, this is Newton's method on the others. Such heads see activations, which
are few, so their Hessians are formed. See Eq. (53) of docs/mathematics.rst.
"""

from typing import Any, Protocol, Self

import torch
from torch import Tensor

from .heads import Cone, HeadsProblem
from .products import dense_rows, with_ones
from .solvers import (
    Convergence,
    Look,
    Objective,
    Preconditions,
    Solve,
    in_memory,
    joined,
    newton_cg,
    solve_hessian,
)
from .steps import Advance, unseen

_MAX_HALVINGS = 40
_DECREASE = 1e-4
# Coordinates this near to a bound, beyond which they are pulled, count as at it.
_NEAR = 1e-3
# How much further than to first order a removal can move: the row's own curvature and
# its annotations go too.
_REACH = 1.25


class BoundedObjective(Objective, Protocol):
    """Objectives of heads that may have bounds, and whose Hessians are summed."""

    @property
    def cones(self) -> dict[int, Cone]:
        """The cones of the heads whose parameters have bounds."""

    def of_heads(self, heads: list[int], /) -> Self:
        """Return the objectives of some of the heads."""


def minimise(
    problem: HeadsProblem | BoundedObjective,
    start: Tensor,
    *,
    tol: Tensor | float,
    max_iter: int,
    preconditioner: Preconditions | None = None,
    loosest: float = 0.1,
    advance: Advance = unseen,
) -> tuple[Tensor, Convergence]:
    """Minimise every head's objective within its bounds, to a gradient of `tol`.

    Arguments and results are those of `newton_cg`, which solves heads without bounds.
    """
    cones = problem.cones
    if not cones:
        return newton_cg(
            problem,
            start,
            tol=tol,
            max_iter=max_iter,
            preconditioner=preconditioner,
            loosest=loosest,
            advance=advance,
        )
    parameters, fits = torch.empty_like(start), []
    for j, columns in enumerate(problem.frame.stack.scores):
        part = problem.of_heads([j])
        own = tol[j] if isinstance(tol, Tensor) else tol
        if j in cones:
            solved, fit = _projected_newton(
                part,
                cones[j],
                start[columns],
                tol=own,
                max_iter=max_iter,
                advance=advance,
            )
        else:
            solved, fit = newton_cg(
                part, start[columns], tol=own, max_iter=max_iter, advance=advance
            )
        parameters[columns] = solved
        fits.append(fit)
    return parameters, joined(fits)


def solve_free(
    problem: HeadsProblem,
    parameters: Tensor,
    right_hand_side: Tensor,
    *,
    tol: float,
    preconditioner: Preconditions,
) -> Solve:
    """Solve with every head's Hessian among the directions that its bounds leave free.

    Arguments and result are those of `solve_hessian`, which solves heads without
    bounds.
    """
    right_hand_side = problem.without_missing(right_hand_side)
    if not problem.cones:
        return solve_hessian(
            problem,
            parameters,
            right_hand_side,
            tol=tol,
            preconditioner=preconditioner,
        )
    inputs, solution = (
        with_ones(dense_rows(problem.features)),
        torch.zeros_like(parameters),
    )
    for j, cone in problem.cones.items():  # a problem has heads of one kind
        part, columns = problem.of_heads([j]), problem.stack.scores[j]
        free = cone.free(parameters[columns])
        probabilities = part.probabilities(part.scores(parameters[columns]))
        hessian = free.T @ _hessian(part, probabilities, inputs) @ free
        right = free.T @ right_hand_side[columns].flatten()
        solved = free @ torch.linalg.solve(hessian, right)
        solution[columns] = solved.reshape(parameters[columns].shape)
    return Solve(solution, torch.zeros_like(problem.penalties), 0)


def undecided(
    problem: HeadsProblem, parameters: Tensor, n_rows: int
) -> tuple[set[int], int]:
    """Return the inputs with a bound that a single row decides, and how many rows do.

    Without such a row, a coordinate leaves its bound, or another one comes to it, to
    first order. Influence is then another one to each side: Eq. (54) of
    docs/mathematics.rst.

    Parameters
    ----------
    problem : HeadsProblem
        Of one head with bounds.
    parameters : Tensor of shape (n_scores, n_inputs)
        At the optimum.
    n_rows : int
        Number of rows; the problem has each of them once, or in several copies.
    """
    (cone,) = problem.cones.values()
    (head,), inputs = problem.stack.heads, with_ones(dense_rows(problem.features))
    probabilities = problem.probabilities(problem.scores(parameters))
    coordinates, held = cone.coordinates(parameters), cone.active(parameters)
    multipliers = cone.basis.T @ problem.gradient(probabilities, parameters).flatten()
    weighted = problem.weights * head.residual(
        probabilities[0][:, 0], problem.codes[:, 0]
    )
    by_row = (weighted[:, :, None] * inputs[:, None]).flatten(1) @ cone.basis
    by_row = by_row.reshape(-1, n_rows, by_row.shape[1]).sum(dim=0)
    hessian = cone.basis.T @ _hessian(problem, probabilities, inputs) @ cone.basis
    free = ~(held | cone.stays)
    steps = torch.linalg.solve(hessian[free][:, free], by_row[:, free].T).T
    pulls = by_row[:, held] - steps @ hessian[free][:, held]
    crossed = torch.zeros_like(by_row, dtype=torch.bool)
    crossed[:, held] = _REACH * pulls > multipliers[held]
    crossed[:, free] = cone.bounded[free] & (coordinates[free] + _REACH * steps < 0)
    columns = set(cone.inputs[crossed.any(dim=0)].tolist())
    return columns, int(crossed.any(dim=1).sum())


def _projected_newton(
    problem: HeadsProblem | BoundedObjective,
    cone: Cone,
    start: Tensor,
    *,
    tol: Tensor | float,
    max_iter: int,
    advance: Advance,
) -> tuple[Tensor, Convergence]:
    """Minimise the objective of one head in the coordinates of its cone."""
    at = _Coordinates(problem, cone, start.shape)
    coordinates, n_iter = cone.coordinates(start), 0
    look = at.look(coordinates)
    length = torch.ones_like(look.value)
    while True:
        gradient = cone.basis.T @ look.gradient.flatten()
        norm = cone.open_gradient(coordinates, gradient).norm()[None]
        asked, tolerance = look.tolerances(tol)
        if n_iter == 0:
            first_norm = norm
        if n_iter >= max_iter or not norm > tolerance:
            return look.parameters, Convergence(
                n_iter, norm, tolerance, torch.zeros_like(norm), first_norm, length
            )
        near = min(_NEAR, float(norm))
        held = cone.bounded & (coordinates <= near) & (gradient > 0) | cone.stays
        hessian = cone.basis.T @ at.hessian(look) @ cone.basis
        step = -gradient / hessian.diagonal()
        free = ~held
        step[free] = -torch.linalg.solve(hessian[free][:, free], gradient[free])
        coordinates, look, length = _line_search(
            at, coordinates, look, gradient, step, held
        )
        n_iter += 1
        advance(1)


class _Coordinates:
    """The objective of one head in the coordinates of its cone."""

    def __init__(
        self,
        problem: HeadsProblem | BoundedObjective,
        cone: Cone,
        shape: tuple[int, ...],
    ):
        self.problem, self.cone, self.shape = problem, cone, shape
        self.objective: Objective = in_memory(problem)
        if isinstance(problem, HeadsProblem):
            self.inputs = with_ones(dense_rows(problem.features))

    def look(self, coordinates: Tensor) -> Look:
        """Return what is known at coordinates."""
        parameters = (self.cone.basis @ coordinates).reshape(self.shape)
        return self.objective.look(parameters)

    def hessian(self, look: Any) -> Tensor:
        """Return the Hessian in the parameters, (p, p)."""
        if not isinstance(self.problem, HeadsProblem):
            hessian: Tensor = look.hessians[0]
            return hessian
        return _hessian(self.problem, look.probabilities, self.inputs)


def _line_search(
    at: _Coordinates,
    coordinates: Tensor,
    look: Look,
    gradient: Tensor,
    step: Tensor,
    held: Tensor,
) -> tuple[Tensor, Look, Tensor]:
    """Halve a step, put back inside the bounds, until the objective falls enough."""
    cone = at.cone
    # Near the optimum, the decrease is smaller than the rounding of the objective.
    slack = 8 * torch.finfo(look.value.dtype).eps * look.magnitude
    length = torch.ones_like(look.value)
    for _ in range(_MAX_HALVINGS):
        trial = coordinates + length * step
        trial = torch.where(cone.bounded, trial.clamp(min=0), trial)
        new = at.look(trial)
        along = torch.where(held, trial - coordinates, length * step)
        if new.value <= look.value + _DECREASE * (gradient @ along) + slack:
            break
        length = length / 2
    return trial, new, length


def _hessian(
    problem: HeadsProblem, probabilities: list[Tensor], inputs: Tensor
) -> Tensor:
    """Return the Hessian of the only head, (p, p)."""
    (head,), p = problem.stack.heads, probabilities[0][:, 0]
    edges = head.curvature_edges(inputs)
    weights = problem.weights * head.edge_weights(p, problem.codes[:, 0])
    squares = torch.stack([inputs.T @ (w[:, None] * inputs) for w in weights.T])
    hessian = torch.einsum("ea,eb,eij->aibj", edges, edges, squares)
    hessian = hessian.reshape(edges.shape[1] * inputs.shape[1], -1)
    penalised = torch.ones_like(inputs[0]).repeat(edges.shape[1]) * problem.penalties
    penalised[inputs.shape[1] - 1 :: inputs.shape[1]] = 0
    return hessian + torch.diag(penalised)
