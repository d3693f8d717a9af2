"""Newton's method by conjugate gradients, for many heads in lock-step.

Every head is its own convex problem, but one product with the features serves all
heads. Steps, step lengths and stopping are per head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from .blocks import row_blocks
from .heads import HeadsProblem
from .inverses import Inverse
from .products import affine_adjoint, with_ones
from .sparse import Features, SparseFeatures
from .steps import Advance, unseen
from .stored import StoredFeatures

_MAX_HALVINGS = 40
_MAX_CG = 500
# Scores that are solved together where features are sparse.
_COLUMNS = 8
# Curvature of a column, relative to the median, from where on it is one of scale.
_LARGE = 1e3
# Share of the largest score above which rounding decides predictions.
_MAX_UNCERTAINTY = 1e-3


@dataclass(frozen=True)
class Convergence:
    """How a fit ended.

    Attributes
    ----------
    n_iter : int
        Newton steps taken.
    gradient_norm : Tensor of shape (n_heads,)
        Euclidean norm of each head's gradient.
    tolerance : Tensor of shape (n_heads,)
        The requested tolerance, or what double precision can resolve if that is more.
    uncertainty : Tensor of shape (n_heads,)
        How far rounding in the gradient moves scores, relative to the largest score (or
        1); 0 if the requested tolerance is not below what rounding allows.
    first_norm : Tensor of shape (n_heads,)
        Norm of the gradient at the start.
    step_length : Tensor of shape (n_heads,)
        Share of the last step that the line search took; 1 if there was no step.
    """

    n_iter: int
    gradient_norm: Tensor
    tolerance: Tensor
    uncertainty: Tensor
    first_norm: Tensor
    step_length: Tensor

    @property
    def converged(self) -> Tensor:
        """Whether each head is at its optimum, (n_heads,)."""
        reached = self.gradient_norm <= self.tolerance
        return reached & (self.uncertainty <= _MAX_UNCERTAINTY)


def joined(parts: Sequence[Convergence]) -> Convergence:
    """Return how fits of some heads at a time ended, as one."""
    columns = [
        torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(Convergence)[1:]
    ]
    return Convergence(max(part.n_iter for part in parts), *columns)


@dataclass(frozen=True)
class Solve:
    """The solution of linear systems, and how near it is.

    Attributes
    ----------
    solution : Tensor
        Shaped like the right-hand side.
    residual : Tensor of shape (n_heads,)
        Norm of what is left of each head's right-hand side, relative to its norm.
    n_iter : int
        Steps of conjugate gradients.
    """

    solution: Tensor
    residual: Tensor
    n_iter: int


def head_groups(problem: HeadsProblem) -> list[list[int]]:
    """Return which heads to solve together: all, or few if features are sparse.

    With more columns, sparse products and steps of conjugate gradients leave the cache.
    """
    heads = problem.stack.heads
    if not isinstance(problem.features, SparseFeatures):
        return [list(range(len(heads)))]
    groups: list[list[int]] = [[]]
    n_columns = 0
    for j, head in enumerate(heads):
        if groups[-1] and n_columns + head.n_scores > _COLUMNS:
            groups.append([])
            n_columns = 0
        groups[-1].append(j)
        n_columns += head.n_scores
    return groups


class Preconditions(Protocol):
    """A source of preconditioners for conjugate gradients."""

    def at(
        self, problem: HeadsProblem, probabilities: list[Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Return the preconditioner for a problem at these predictions."""


class Look(Protocol):
    """What is known of all heads at some parameters."""

    @property
    def parameters(self) -> Tensor:
        """The parameters, (n_scores, n_inputs)."""

    @property
    def value(self) -> Tensor:
        """Every head's objective, (n_heads,)."""

    @property
    def magnitude(self) -> Tensor:
        """The size of the terms that cancel in every head's objective, (n_heads,)."""

    @property
    def gradient(self) -> Tensor:
        """Gradients of objectives, shaped like parameters."""

    def tolerances(self, tol: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the gradient norms that are asked for, and that can be reached."""

    def solve(self, right_hand_side: Tensor, forcing: Tensor) -> Tensor:
        """Solve with Hessians, to relative residuals, (n_heads,)."""

    def along(self, step: Tensor) -> Callable[[Tensor], "Look"]:
        """Return what looks at a share, (n_heads,), of every head's step."""

    def movement(self, step: Tensor) -> Tensor:
        """Return how far a step moves scores, beside the largest or 1, (n_heads,)."""


class Objective(Protocol):
    """The objectives of a stack of heads."""

    @property
    def frame(self) -> HeadsProblem:
        """A problem of the same heads, perhaps of other rows."""

    def look(self, parameters: Tensor) -> Look:
        """Return what is known at parameters."""


def newton_cg(
    problem: HeadsProblem | Objective,
    start: Tensor,
    *,
    tol: Tensor | float,
    max_iter: int,
    preconditioner: Preconditions | None = None,
    loosest: float = 0.1,
    advance: Advance = unseen,
) -> tuple[Tensor, Convergence]:
    """Minimise every head's objective to a gradient norm of at most `tol`.

    Parameters
    ----------
    problem : HeadsProblem or Objective
    start : Tensor of shape (n_scores, n_features + 1)
    tol : float or Tensor of shape (n_heads,)
        Bound on the Euclidean norm of a head's gradient (of the summed objective),
        if penalty and total weight are 1 or more. If they are smaller, the bound
        shrinks with them, as far as double precision can resolve.
    max_iter : int
        Maximum number of Newton steps.
    preconditioner : Preconditions, default=None
        Of a HeadsProblem. None is that of `preconditioner_of` these features.
    loosest : float
        Upper bound on the relative residual to which a step is solved.
    advance : callable
        Called after each Newton step.

    Returns
    -------
    parameters : Tensor of shape (n_scores, n_features + 1)
    convergence : Convergence
    """
    if isinstance(problem, HeadsProblem) and preconditioner is None:
        preconditioner = preconditioner_of(problem.features)
    objective = in_memory(problem, preconditioner)
    frame, look = objective.frame, objective.look(start.clone())
    length = torch.ones_like(look.value)
    n_iter = 0
    while True:
        gradient = look.gradient
        norm = frame.by_head(gradient**2).sqrt()
        asked, tolerance = look.tolerances(tol)
        if n_iter == 0:
            first_norm = norm
        active = norm > tolerance
        if n_iter >= max_iter or not active.any():
            uncertainty = torch.zeros_like(norm)
            limited = tolerance > asked
            if limited.any():
                # If rounding sets the tolerance, the step that remains tells how much
                # that matters: along flat directions a small gradient says little.
                open_step = look.solve(
                    -gradient * frame.per_score(limited.to(gradient.dtype)),
                    torch.full_like(norm, 0.1),
                )
                uncertainty = look.movement(open_step)
            return look.parameters, Convergence(
                n_iter, norm, tolerance, uncertainty, first_norm, length
            )
        # Steps are solved more exactly as the optimum comes near, but never more
        # exactly than the last step needs.
        forcing = torch.clamp((norm / first_norm).sqrt(), max=loosest)
        forcing = torch.maximum(forcing, 0.1 * tolerance / norm)
        step = look.solve(
            -gradient * frame.per_score(active.to(gradient.dtype)), forcing
        )
        look, length = _line_search(frame, look, step)
        n_iter += 1
        advance(1)


def in_memory(
    problem: HeadsProblem | Objective, preconditioner: Preconditions | None = None
) -> Objective:
    """Return the objectives of a problem, whose scores of all rows are kept."""
    if isinstance(problem, HeadsProblem):
        return _InMemory(problem, preconditioner)
    return problem


@dataclass(frozen=True)
class _InMemory:
    """The objectives of heads whose scores of all rows are kept."""

    frame: HeadsProblem
    preconditioner: Preconditions | None

    def look(self, parameters: Tensor) -> "_LookInMemory":
        """Return what is known at parameters."""
        return _LookInMemory(self, parameters, self.frame.scores(parameters))


@dataclass(frozen=True)
class _LookInMemory:
    """What is known of all heads at parameters, with their scores of all rows."""

    heads: _InMemory
    parameters: Tensor
    scores: Tensor

    @cached_property
    def value(self) -> Tensor:
        """Every head's objective."""
        return self.heads.frame.objective(self.scores, self.parameters)

    @property
    def magnitude(self) -> Tensor:
        """The size of the terms that cancel in every head's objective."""
        return self.heads.frame.magnitude(self.scores, self.value)

    @cached_property
    def probabilities(self) -> list[Tensor]:
        """Predictions of all rows, of each group of heads."""
        return self.heads.frame.probabilities(self.scores)

    @cached_property
    def gradient(self) -> Tensor:
        """Gradients of objectives."""
        return self.heads.frame.gradient(self.probabilities, self.parameters)

    def tolerances(self, tol: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the gradient norms that are asked for, and that can be reached."""
        return tolerances(self.heads.frame, self.probabilities, self.parameters, tol)

    def solve(self, right_hand_side: Tensor, forcing: Tensor) -> Tensor:
        """Solve with Hessians by conjugate gradients."""
        problem, preconditioner = self.heads.frame, self.heads.preconditioner
        if preconditioner is None:
            preconditioner = preconditioner_of(problem.features)
        return conjugate_gradients(
            problem,
            _Times(problem, self.probabilities),
            preconditioner.at(problem, self.probabilities),
            right_hand_side,
            forcing,
        ).solution

    def along(self, step: Tensor) -> Callable[[Tensor], "_LookInMemory"]:
        """Return what looks along a step.

        Scores are linear in it, so that a look costs no product with the features.
        """
        frame, scores = self.heads.frame, self.heads.frame.scores(step)

        def at(length: Tensor) -> _LookInMemory:
            return _LookInMemory(
                self.heads,
                self.parameters + frame.per_score(length) * step,
                self.scores + frame.per_score(length).T * scores,
            )

        return at

    def movement(self, step: Tensor) -> Tensor:
        """Return how far a step moves scores, beside the largest or 1."""
        frame = self.heads.frame
        moved = frame.largest_score(frame.scores(step))
        return moved / frame.largest_score(self.scores).clamp(min=1)


def tolerances(
    problem: HeadsProblem,
    probabilities: list[Tensor],
    parameters: Tensor,
    tol: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """Return the gradient norms that are asked for, and those that can be reached."""
    noise = problem.gradient_noise(probabilities, parameters)
    return reachable(problem.penalties, problem.weights.sum(dim=0), noise, tol)


def reachable(
    penalties: Tensor, weights: Tensor, noise: Tensor, tol: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Return the gradient norms that are asked for, and those that can be reached.

    Parameters
    ----------
    penalties, weights, noise : Tensor of shape (n_heads,)
        Weights are those of all rows, and noise is the rounding error of gradients.
    tol : float or Tensor of shape (n_heads,)
    """
    asked = tol * weakest(penalties, weights)
    return asked, torch.maximum(asked, 10 * noise)


def weakest(penalties: Tensor, weights: Tensor) -> Tensor:
    """Return the curvature of each head that the tolerance scales with, (n_heads,).

    It is at most 1. If only the penalty curves the objective, parameters are off by the
    gradient divided by the penalty. Only the rows curve it along the bias, or along any
    parameter without a penalty.
    """
    most = torch.where(penalties > 0, penalties, 1.0).clamp(max=1.0)
    return torch.minimum(weights, most)


class Preconditioner:
    """Inverse of ``curvature * X'X + penalty``, with one number of curvature per head.

    One eigendecomposition serves every head, every step and every problem on the same
    features. It penalises the bias too, which a preconditioner may do.

    Parameters
    ----------
    features : Tensor or StoredFeatures of shape (n_samples, n_features)
    row_weights : Tensor of shape (n_samples,), default=None
        Weight of each row in ``X'X``. None is 1.
    """

    def __init__(
        self, features: Tensor | StoredFeatures, row_weights: Tensor | None = None
    ):
        n_inputs = features.shape[1] + 1
        products = features.new_zeros(n_inputs, n_inputs)
        for block in row_blocks(len(features)):
            rows = weighted = with_ones(features[block])
            if row_weights is not None:
                weighted = rows * (row_weights[block] / row_weights.mean())[:, None]
            products += weighted.T @ rows
        self.values, self.vectors = torch.linalg.eigh(products)
        self.values = self.values.clamp(min=0)

    def at(
        self, problem: HeadsProblem, probabilities: list[Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Return the preconditioner for a problem at these predictions."""
        curvature = problem.per_score(problem.mean_curvature(probabilities))
        penalties = problem.per_score(problem.penalties)
        scale = curvature * self.values + penalties
        if (penalties == 0).any():
            # Directions outside the span of the features have no curvature.
            least = torch.finfo(scale.dtype).eps * scale.amax(dim=1, keepdim=True)
            scale = torch.where(penalties > 0, scale, scale.clamp(min=least))
        return partial(
            _solve_scaled, problem.without_rows.without_missing, self.vectors, scale
        )


def _solve_scaled(
    without: Callable[[Tensor], Tensor], vectors: Tensor, scale: Tensor, v: Tensor
) -> Tensor:
    """Divide by a scale in the coordinates of vectors; no parameter that is missing."""
    return without(((v @ vectors) / scale) @ vectors.T)


class DiagonalPreconditioner:
    """A power of the diagonal of every head's Hessian, for sparse features.

    Nothing of shape (n_features, n_features) fits the memory. Columns that are scaled
    otherwise, such as numbers beside words, are scaled back: the inverse of their
    diagonal. Among words, which differ in how often they occur, that spreads the
    eigenvalues, and the inverse square root takes fewer steps.

    Parameters
    ----------
    features : SparseFeatures of shape (n_samples, n_features)
    """

    def __init__(self, features: SparseFeatures):
        self.squares = features.squared

    def at(
        self, problem: HeadsProblem, probabilities: list[Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Return the preconditioner for a problem at these predictions."""
        diagonal = affine_adjoint(self.squares, problem.row_curvature(probabilities))
        diagonal[:, :-1] += problem.penalties[:, None]
        # A column of zeros has no curvature without a penalty, and no gradient.
        least = torch.finfo(diagonal.dtype).eps * diagonal.amax(dim=1, keepdim=True)
        diagonal = diagonal.clamp(min=least)
        large = _LARGE * diagonal.median(dim=1, keepdim=True).values
        scale = torch.where(diagonal < large, diagonal.sqrt(), diagonal / large.sqrt())
        inverse = scale.reciprocal()[problem.stack.head_of_score]
        without = problem.without_missing
        return lambda v: without(inverse * v)


def preconditioner_of(
    features: Features, row_weights: Tensor | None = None
) -> Preconditions:
    """Return a preconditioner that fits the features.

    Parameters
    ----------
    features : Tensor or SparseFeatures of shape (n_samples, n_features)
    row_weights : Tensor of shape (n_samples,), default=None
        Typical weights of rows, for dense features; None is 1.
    """
    if isinstance(features, SparseFeatures):
        return DiagonalPreconditioner(features)
    return Preconditioner(features, row_weights)


class FactoredHessians:
    """Inverse Hessians of the same heads on nearly the same rows.

    They only reduce the number of steps; the gradients decide where the steps end.

    Parameters
    ----------
    factors : sequence of Inverse
        Of every head's Hessian.
    """

    def __init__(self, factors: Sequence[Inverse]):
        self.factors = factors

    def at(
        self, problem: HeadsProblem, probabilities: list[Tensor]
    ) -> Callable[[Tensor], Tensor]:
        """Return the preconditioner for a stack that repeats the heads."""
        n_heads = len(self.factors)
        sizes = [head.n_scores for head in problem.stack.heads[:n_heads]]
        n_copies = len(problem.stack) // n_heads

        def solve(direction: Tensor) -> Tensor:
            copies = direction.reshape(n_copies, sum(sizes), -1)
            parts = [
                factor.solve(part.flatten(1).T).T.reshape(part.shape)
                for part, factor in zip(
                    torch.split(copies, sizes, dim=1), self.factors, strict=True
                )
            ]
            return problem.without_missing(
                torch.cat(parts, dim=1).reshape(direction.shape)
            )

        return solve


def solve_hessian(
    problem: HeadsProblem,
    parameters: Tensor,
    right_hand_side: Tensor,
    *,
    tol: float,
    preconditioner: Preconditions,
) -> Solve:
    """Solve ``Hessian @ solution = right_hand_side`` for every head.

    The Hessian is taken at `parameters` and is never formed. The right-hand side and
    the solution have the shape of the parameters. `tol` bounds the relative residual.
    """
    groups = head_groups(problem)
    if len(groups) > 1:
        found, stack = [], problem.stack
        solution = torch.empty_like(right_hand_side)
        for group in groups:
            columns = stack.columns(group)
            part = solve_hessian(
                problem.of_heads(group),
                parameters[columns],
                right_hand_side[columns],
                tol=tol,
                preconditioner=preconditioner,
            )
            solution[columns] = part.solution
            found.append(part)
        residual = torch.cat([part.residual for part in found])
        return Solve(solution, residual, max(part.n_iter for part in found))
    probabilities = problem.probabilities(problem.scores(parameters))
    return conjugate_gradients(
        problem,
        _Times(problem, probabilities),
        preconditioner.at(problem, probabilities),
        right_hand_side,
        right_hand_side.new_full((len(problem.stack),), tol),
    )


class _Times:
    """Products with the Hessians of heads that are still to be solved.

    Products with sparse features take time for every column, so the columns of solved
    heads are left out. With dense features that hardly saves anything.
    """

    def __init__(self, problem: HeadsProblem, probabilities: list[Tensor]):
        self.problem, self.probabilities = problem, probabilities
        self.is_sparse = isinstance(problem.features, SparseFeatures)
        self.heads: list[int] = []

    def __call__(self, direction: Tensor, active: Tensor) -> Tensor:
        """Return the products of active heads, and 0 or anything for the others."""
        if not self.is_sparse or active.all():
            return self.problem.hessian_times(self.probabilities, direction)
        heads = active.nonzero()[:, 0].tolist()
        if heads != self.heads:
            self.heads = heads
            self.part = self.problem.of_heads(heads)
            self.of_part = self.problem.probabilities_of(heads, self.probabilities)
        columns = self.problem.stack.columns(heads)
        result = torch.zeros_like(direction)
        result[columns] = self.part.hessian_times(self.of_part, direction[columns])
        return result


def conjugate_gradients(
    problem: HeadsProblem,
    times: Callable[[Tensor, Tensor], Tensor],
    precondition: Callable[[Tensor], Tensor],
    right_hand_side: Tensor,
    forcing: Tensor,
) -> Solve:
    """Solve every head's Newton system to a relative residual of `forcing`.

    Parameters
    ----------
    problem : HeadsProblem
        Of the heads, perhaps of other rows.
    times : callable
        Maps a direction, and which heads are still to be solved, to the products.
    precondition : callable
    right_hand_side : Tensor of shape (n_scores, n_inputs)
    forcing : Tensor of shape (n_heads,)
    """
    solution = direction = torch.zeros_like(right_hand_side)
    residual = right_hand_side
    size = norm = problem.by_head(residual**2).sqrt()
    energy = torch.zeros_like(size)
    for n_iter in range(_MAX_CG + 1):
        active = norm > forcing * size
        if n_iter == _MAX_CG or not active.any():
            break
        preconditioned = precondition(residual)
        new_energy = problem.by_head(residual * preconditioned)
        ratio = torch.where(active & (energy > 0), new_energy / energy, 0.0)
        direction = preconditioned + problem.per_score(ratio) * direction
        energy = new_energy
        product = times(direction, active)
        curvature = problem.by_head(direction * product)
        length = torch.where(active & (curvature > 0), energy / curvature, 0.0)
        solution = solution + problem.per_score(length) * direction
        residual = residual - problem.per_score(length) * product
        norm = problem.by_head(residual**2).sqrt()
    return Solve(solution, torch.where(size > 0, norm / size, 0.0), n_iter)


def _line_search(frame: HeadsProblem, look: Look, step: Tensor) -> tuple[Look, Tensor]:
    """Halve each head's step until its objective falls enough (Armijo)."""
    at = look.along(step)
    slope = frame.by_head(look.gradient * step)
    # Near the optimum, the decrease is smaller than the rounding of the objective.
    slack = 8 * torch.finfo(look.value.dtype).eps * look.magnitude
    length = torch.ones_like(look.value)
    for _ in range(_MAX_HALVINGS):
        trial = at(length)
        short = trial.value > look.value + 1e-4 * length * slope + slack
        if not short.any():
            break
        length = torch.where(short, length / 2, length)
    return trial, length
