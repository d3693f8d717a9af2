"""The objectives of heads as sums over blocks of rows: nothing grows with the rows.

A look at parameters is one pass over the rows: values and gradients of all heads. A
product with the Hessians is another one. Both compute scores and probabilities of a
block again, so that none of them is kept. Looks are in double precision, and decide
where a fit ends. Products only say in which direction to go, so that they may be in
single precision.

Two things save passes. A fit starts where a fit of some thousand rows ends. And the
Hessians of these rows, factorised, are the preconditioner: with m rows and p
parameters, conjugate gradients gain about a factor of ``sqrt(m / p)`` with each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .blocks import map_rows, row_blocks, sum_rows
from .bounded import minimise
from .heads import Cone, Head, HeadsProblem
from .products import row_squares, with_ones
from .solvers import (
    Preconditioner,
    conjugate_gradients,
    reachable,
    weakest,
)
from .squares import add_square

# Gradients and products of this many rows at a time stay in the cache.
_ROWS = 1024
# From this number of inputs on, half of a square takes less time than a product.
_WIDE = 128
# Rows that are looked at first, for each parameter of a head.
_PER_PARAMETER = 16
# Sums of weights, and of weights times norms, that fit single precision.
_SMALL, _LARGE = 1e-10, 1e18
# A fit of few rows ends where its gradient is this share of its noise.
_NOISE, _MAX_START = 0.02, 20
# Gradients that are less than this many times their rounding may stay.
_FAR = 100.0
# Smallest relative residual of a step whose products are in single precision.
_LEAST = 1e-4
# Share of its norm to which a gradient has to fall if products are exact enough.
_FELL = 0.5
# Most numbers in the Hessians of single heads that are factorised, and in an array on
# the way there.
_LARGEST_FACTORS = 2**26


class BlockRows(Protocol):
    """Training rows, as far as passes over heads need them."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def rows(self, block: Any, /) -> Any:
        """Return some of the rows, loaded."""

    def loading(self, dtype: torch.dtype, /) -> Any:
        """Return the same rows, whose features are loaded in another type."""

    def on_sample(self, function: Callable[[Any], Any], n_rows: int, /) -> Any:
        """Return what a function makes of about this many rows, evenly spread.

        It runs where rows are, and is pickled as `Terms` are.
        """


# Maps a right-hand side to about its solution.
Precondition = Callable[[Tensor], Tensor]
# What makes the problem of some loaded rows, in the type of their features. It is sent
# to wherever rows are.
Terms = Callable[[Any], HeadsProblem]


class Sizes(NamedTuple):
    """Sums over rows that bound what rounding does, each of shape (n_heads,).

    Attributes
    ----------
    weights : Tensor
    norms : Tensor
        Of weights times norms of ``[x, 1]``.
    squares : Tensor
        Of squares of weights times squared norms: rows are rounded independently.
    residuals : Tensor
        Of weights times norms times the rounding of residuals where scores are 0.
    """

    weights: Tensor
    norms: Tensor
    squares: Tensor
    residuals: Tensor


@dataclass(frozen=True)
class BlockedHeads:
    """Problems of heads, each of which is a sum over rows.

    Attributes
    ----------
    data : BlockRows
    terms : Terms
        A module's function with bound arguments, or a frozen dataclass.
    frame : HeadsProblem
        The problem of no rows, with all penalties.
    sizes : Sizes
    is_direct : bool
        Whether Hessians are summed with gradients, and solved. They are of few inputs.
    dtype : torch.dtype
        Of products with Hessians that are not summed.
    precondition : callable or None
        Needed for heads that are not solved directly.
    n_sampled : int
        About how many rows the preconditioner is of; 0 without one.
    n_slow : int
        Steps after which the gradient was about as large as before.
    block_rows : int
    """

    data: BlockRows
    terms: Terms
    frame: HeadsProblem
    sizes: Sizes
    is_direct: bool = False
    dtype: torch.dtype = torch.float64
    precondition: Precondition | None = None
    n_sampled: int = 0
    n_slow: int = 0
    block_rows: int = _ROWS

    @classmethod
    def of(cls, data: BlockRows, terms: Terms, **how: Any) -> BlockedHeads:
        """Return the problems of rows."""
        frame = terms(data.rows(slice(0, 0)))
        nothing = [torch.zeros_like(frame.penalties) for _ in range(4)]
        single = data.loading(torch.float32)
        sizes = sum_rows(partial(_add_sizes, terms), nothing, single, 2 * _ROWS)
        return cls(data, terms, frame, Sizes(*sizes), **how)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of heads, with the constant."""
        return self.frame.features.shape[1] + 1

    def of_heads(self, heads: Sequence[int]) -> BlockedHeads:
        """Return the problem of some of the heads, without a preconditioner."""
        return replace(
            self,
            terms=_OfHeads(self.terms, tuple(heads)),
            frame=self.frame.of_heads(heads),
            sizes=Sizes(*(size[heads] for size in self.sizes)),
            precondition=None,
            n_sampled=0,
        )

    @property
    def cones(self) -> dict[int, Cone]:
        """The cones of the heads whose parameters have bounds."""
        return self.frame.cones

    def look(self, parameters: Tensor) -> Look:
        """Return values and gradients at parameters, by one pass over the rows."""
        zero = parameters.new_zeros(len(self.frame.stack))
        hessians: list[Tensor] = []
        if self.is_direct:
            hessians = [
                parameters.new_zeros(
                    len(head.curvature_edges(parameters)), self.n_inputs, self.n_inputs
                )
                for head in self.frame.stack.heads
            ]
        total = (zero, torch.zeros_like(parameters), hessians)
        value, gradient, hessians = self._sum(
            partial(_add_look, self.terms, parameters), total, torch.float64
        )
        penalised = self.frame.penalised(parameters)
        value = value + self.frame.by_head(penalised * parameters) / 2
        gradient = self.frame.without_missing(gradient + penalised)
        return Look(self, parameters, value, gradient, tuple(hessians))

    def noise(self, parameters: Tensor) -> Tensor:
        """Return the rounding error of every head's gradient, (n_heads,)."""
        zero = parameters.new_zeros(len(self.frame.stack))
        add = partial(_add_noise, self.terms, parameters)
        total = (zero, zero.clone())
        noise, squares = self._sum(add, total, torch.float64)
        norms = self.frame.by_head(parameters**2).sqrt()
        # Scores are computed anew with every look, so that their rounding counts.
        rounding = torch.finfo(zero.dtype).eps * norms * squares.sqrt()
        whole: Tensor = noise + rounding
        return whole

    def largest_score(self, parameters: Tensor) -> Tensor:
        """Return the largest magnitude of a score of every head, (n_heads,)."""
        largest = parameters.new_zeros(len(self.frame.stack))
        add = partial(_largest_score, self.terms, parameters)
        for _, part in map_rows(add, self.data, self.block_rows):
            largest = torch.maximum(largest, part)
        return largest

    def hessian_times(self, parameters: Tensor, direction: Tensor) -> Tensor:
        """Multiply a direction by every head's Hessian, by one pass over the rows."""
        # Directions of any size have to fit single precision.
        sizes = self.frame.by_head(direction**2).sqrt()
        sizes = self.frame.per_score(torch.where(sizes > 0, sizes, 1.0))
        add = partial(_add_product, self.terms, parameters, direction / sizes)
        total = sizes * self._sum(add, torch.zeros_like(direction), self.dtype)
        return self.frame.without_missing(total + self.frame.penalised(direction))

    def prepared(self, start: Tensor | None) -> tuple[BlockedHeads, Tensor]:
        """Return the problem with a preconditioner, and where to start.

        Both are those of some of the rows, with penalties that fit their number.
        """
        if start is not None and self.is_direct:
            return self, start
        most = max((head.n_scores for head in self.frame.stack.heads), default=1)
        wanted = min(_PER_PARAMETER * most * self.n_inputs, len(self.data) // 4)
        wanted = max(wanted, 1)
        if self.is_direct:
            start, _ = self._begun(start, None, wanted)
            return self, start
        dtype = torch.float32 if self._fits_single() else torch.float64
        start, precondition = self._begun(start, dtype, wanted)
        heads = replace(self, dtype=dtype, precondition=precondition, n_sampled=wanted)
        return heads, start

    def multiplied_in(self, dtype: torch.dtype, parameters: Tensor) -> BlockedHeads:
        """Return the problem with products, and a preconditioner, of another type."""
        if not self.n_sampled:
            return replace(self, dtype=dtype)
        _, precondition = self._begun(parameters, dtype, self.n_sampled)
        return replace(self, dtype=dtype, precondition=precondition)

    def _begun(
        self, start: Tensor | None, dtype: torch.dtype | None, n_rows: int
    ) -> tuple[Tensor, Precondition | None]:
        """Return where to start, and a preconditioner there, from some of the rows."""
        begin = partial(
            _begin, self.terms, self.sizes.weights, len(self.data), start, dtype
        )
        found: tuple[Tensor, Precondition | None] = self.data.on_sample(begin, n_rows)
        return found

    def _fits_single(self) -> bool:
        """Whether products of weights and features fit single precision."""
        sizes = torch.cat([*self.sizes[:2], self.frame.penalties])
        inside = (sizes >= _SMALL) & (sizes <= _LARGE)
        return bool((inside | (sizes == 0)).all())

    def _sum(self, add: Any, total: Any, dtype: torch.dtype) -> Any:
        if dtype == torch.float64:
            return sum_rows(add, total, self.data, self.block_rows)
        # Numbers of half the size: twice as many rows stay in the cache.
        return sum_rows(add, total, self.data.loading(dtype), 2 * self.block_rows)


@dataclass(frozen=True)
class Look:
    """Values and derivatives of all heads at parameters.

    Attributes
    ----------
    heads : BlockedHeads
    parameters : Tensor of shape (n_scores, n_inputs)
    value : Tensor of shape (n_heads,)
    gradient : Tensor of shape (n_scores, n_inputs)
    squares : tuple of Tensor of shape (n_edges, n_inputs, n_inputs)
        Of every head, the sums that its Hessian is made of; empty if they are not
        summed.
    """

    heads: BlockedHeads
    parameters: Tensor
    value: Tensor
    gradient: Tensor
    squares: tuple[Tensor, ...] = ()

    @property
    def magnitude(self) -> Tensor:
        """A bound on the size of the terms that cancel in every head's objective."""
        return self.value.abs() + self._reach

    @cached_property
    def hessians(self) -> list[Tensor]:
        """The Hessian of every head, if they are summed."""
        frame = self.heads.frame
        return [
            hessian_of(head, total, float(penalty))
            for head, total, penalty in zip(
                frame.stack.heads, self.squares, frame.penalties, strict=True
            )
        ]

    @cached_property
    def norm(self) -> Tensor:
        """Every head's gradient norm, (n_heads,)."""
        return self.heads.frame.by_head(self.gradient**2).sqrt()

    def tolerances(self, tol: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return the gradient norms that are asked for, and that can be reached."""
        weights, penalties = self.heads.sizes.weights, self.heads.frame.penalties
        found = reachable(penalties, weights, self._rounding, tol)
        asked, tolerance = found
        # Gradients that are larger, or that are to be, need no exact answer.
        if ((self.norm > tolerance) | (tolerance <= asked)).all():
            return found
        noise = self.heads.noise(self.parameters)
        return reachable(penalties, weights, noise, tol)

    def solve(self, right_hand_side: Tensor, forcing: Tensor) -> Tensor:
        """Solve with Hessians: with their factors, or by conjugate gradients."""
        if self.heads.is_direct:
            return self._solve_directly(right_hand_side)
        heads, precondition = self.heads, self.heads.precondition
        if precondition is None:
            raise ValueError("conjugate gradients need a preconditioner")
        if heads.dtype != right_hand_side.dtype:
            forcing = forcing.clamp(min=_LEAST)
        return conjugate_gradients(
            heads.frame, self._times, precondition, right_hand_side, forcing
        ).solution

    def along(self, step: Tensor) -> Callable[[Tensor], Look]:
        """Return what looks along a step: at the whole of it, nearly always."""
        frame, moves = self.heads.frame, self.heads.frame.by_head(step**2) > 0

        def at(length: Tensor) -> Look:
            look = self.heads.look(self.parameters + frame.per_score(length) * step)
            slow = moves & (look.norm > _FELL * self.norm)
            single = not self.heads.is_direct and self.heads.dtype != step.dtype
            if not (single and slow.any()):
                return look
            # Either it is at its rounding, which a second such step shows, or it is
            # far, or products in single precision are not enough.
            slow &= look.norm > _FAR * look._rounding
            heads = replace(self.heads, n_slow=self.heads.n_slow + 1)
            if slow.any() or heads.n_slow > 1:
                heads = heads.multiplied_in(step.dtype, look.parameters)
            return replace(look, heads=heads)

        return at

    def movement(self, step: Tensor) -> Tensor:
        """Return how far a step moves scores, beside the largest or 1."""
        largest = self.heads.largest_score(self.parameters)
        return self.heads.largest_score(step) / largest.clamp(min=1)

    def _times(self, direction: Tensor, active: Tensor) -> Tensor:
        """Return products with Hessians, of heads that are still to be solved."""
        stack = self.heads.frame.stack
        if 2 * int(active.sum()) > len(stack):
            return self.heads.hessian_times(self.parameters, direction)
        few = active.nonzero()[:, 0].tolist()
        columns, result = stack.columns(few), torch.zeros_like(direction)
        part = self.heads.of_heads(few)
        result[columns] = part.hessian_times(
            self.parameters[columns], direction[columns]
        )
        return result

    def _solve_directly(self, right_hand_side: Tensor) -> Tensor:
        frame, solution = self.heads.frame, torch.zeros_like(right_hand_side)
        for head, columns, hessian in zip(
            frame.stack.heads, frame.stack.scores, self.hessians, strict=True
        ):
            own = right_hand_side[columns]
            factor = factor_of(hessian, head.missing(own.shape[1]))
            solved = torch.cholesky_solve(own.reshape(-1, 1), factor)
            solution[columns] = solved.reshape(own.shape)
        return frame.without_missing(solution)

    @cached_property
    def _rounding(self) -> Tensor:
        """A bound on the rounding error of every head's gradient."""
        sizes, norms = self.heads.sizes, self.heads.frame.by_head(self.parameters**2)
        most = torch.maximum(sizes.residuals, sizes.norms)
        most = most + (sizes.squares * norms).sqrt()
        return torch.finfo(most.dtype).eps * most

    @property
    def _reach(self) -> Tensor:
        """A bound on the sum of weights times the sizes of scores."""
        norms = self.heads.frame.by_head(self.parameters**2).sqrt()
        return self.heads.sizes.norms * norms


def relative_gradient(data: BlockRows, terms: Terms, parameters: Tensor) -> Tensor:
    """Return every head's gradient norm relative to a typical row's, (n_heads,).

    It is `HeadsProblem.relative_gradient` by passes over blocks of rows.
    """
    heads = BlockedHeads.of(data, terms)
    squares = torch.zeros_like(heads.frame.penalties)
    add = partial(_add_row_gradients, terms, parameters)
    total = sum_rows(add, (squares, squares.clone()), data, _ROWS)
    norm = heads.frame.open_norm(heads.look(parameters).gradient, parameters)
    return HeadsProblem.relative_to_rows(norm, *total)


def _add_row_gradients(
    terms: Terms, parameters: Tensor, total: tuple[Tensor, Tensor], rows: Any
) -> None:
    problem = terms(rows)
    probabilities = problem.probabilities(problem.scores(parameters))
    for part, new in zip(total, problem.row_gradients(probabilities), strict=True):
        part += new


@dataclass(frozen=True)
class _OfHeads:
    """The terms of some of the heads."""

    terms: Terms
    heads: tuple[int, ...]

    def __call__(self, rows: Any) -> HeadsProblem:
        return self.terms(rows).of_heads(list(self.heads))


def _begin(
    terms: Terms,
    weights: Tensor,
    n_rows: int,
    start: Tensor | None,
    dtype: torch.dtype | None,
    sample: Any,
) -> tuple[Tensor, Precondition | None]:
    """Return where to start, and with a type a preconditioner, without the sample.

    Parameters
    ----------
    terms : Terms
    weights : Tensor of shape (n_heads,)
        The sum of the weights of all rows.
    n_rows : int
        Number of all rows.
    start : Tensor or None
        None is where a fit of the sample ends.
    dtype : torch.dtype or None
        Of products in the preconditioner.
    sample : object
        Some of the rows, loaded.
    """
    problem = terms(sample)
    sampled = problem.weights.sum(dim=0)
    share = torch.full_like(sampled, len(sample) / max(n_rows, 1))
    share = torch.where(sampled > 0, sampled / weights, share)
    problem = replace(problem, penalties=problem.penalties * share)
    if start is None:
        start = _start_of(problem)
    return start, None if dtype is None else preconditioner_at(problem, start, dtype)


def _start_of(problem: HeadsProblem) -> Tensor:
    """Return parameters at which the gradient of few rows is less than its noise."""
    start = problem.features.new_zeros(
        problem.stack.n_scores, problem.features.shape[1] + 1
    )
    if not len(problem.features):
        return start
    reach = row_squares(problem.features).add(1).sqrt() @ problem.weights
    least = weakest(problem.penalties, problem.weights.sum(dim=0))
    noise = _NOISE * reach / len(problem.features) ** 0.5
    tol = torch.where(least > 0, noise / least, torch.inf)
    return minimise(problem, start, tol=tol, max_iter=_MAX_START)[0]


def preconditioner_at(
    problem: HeadsProblem, parameters: Tensor, dtype: torch.dtype
) -> Precondition:
    """Return the inverse Hessians of few rows, or something cheaper if heads are large.

    Products with features have a type, and so have inverses of the Hessians' factors:
    with any rounding, the transpose of such an inverse times itself is positive.
    """
    stack, n_inputs = problem.stack, parameters.shape[1]
    sizes = [head.n_scores * n_inputs for head in stack.heads]
    passing = max((_by_edges(head, n_inputs) for head in stack.heads), default=0)
    if max(sum(size**2 for size in sizes), passing) > _LARGEST_FACTORS:
        probabilities = problem.probabilities(problem.scores(parameters))
        return Preconditioner(problem.dense).at(problem, probabilities)
    factors = []
    for j, (head, columns, penalty) in enumerate(
        zip(stack.heads, stack.scores, problem.penalties.tolist(), strict=True)
    ):
        part = problem.of_heads([j])
        edges = len(head.curvature_edges(parameters))
        total = [parameters.new_zeros(edges, n_inputs, n_inputs)]
        for block in row_blocks(len(part.features), _ROWS):
            rows = replace(
                part,
                features=part.features[block],
                codes=part.codes[block],
                weights=part.weights[block],
            )
            features = rows.dense
            scores = _scores(features, parameters[columns])
            add_squares(rows, scores, features.to(dtype), total)
        factor = factor_of(hessian_of(head, total[0], penalty), head.missing(n_inputs))
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        factors.append(inverse.to(dtype))
    return InverseHessians(problem.without_rows, tuple(factors), dtype)


@dataclass(frozen=True)
class InverseHessians:
    """Inverses of the Hessians of heads, to precondition with: no row is kept.

    Attributes
    ----------
    frame : HeadsProblem
        The problem of no rows.
    factors : tuple of Tensor of shape (p, p)
        Inverses of the Cholesky factors.
    dtype : torch.dtype
        Of products with them.
    """

    frame: HeadsProblem
    factors: tuple[Tensor, ...]
    dtype: torch.dtype

    def __call__(self, v: Tensor) -> Tensor:
        """Return about the solution for a right-hand side."""
        parts = []
        columns = self.frame.stack.split(v.T)
        for own, inverse in zip(columns, self.factors, strict=True):
            size = own.norm().clamp(min=torch.finfo(v.dtype).tiny)
            right = (own.T / size).to(self.dtype).flatten()
            solved = inverse.T @ (inverse @ right)
            parts.append(size * solved.to(v.dtype).reshape(own.T.shape))
        return self.frame.without_missing(torch.cat(parts))


def _by_edges(head: Head, n_inputs: int) -> int:
    """Return how many numbers an array has that holds something for each edge.

    Many values have far more edges, and such arrays pass the size of the Hessian.
    """
    n_edges = head.n_scores * (head.n_scores + 1) // 2  # or fewer
    rows = _ROWS if n_inputs < _WIDE else n_inputs
    return n_edges * max(head.n_scores**2, n_inputs * rows)


def factor_of(hessian: Tensor, missing: Tensor | None) -> Tensor:
    """Return the Cholesky factor of a Hessian, with as little added as it needs.

    Parameters
    ----------
    hessian : Tensor of shape (p, p)
    missing : Tensor of p entries, bool, or None
        Parameters that do not move: their factor is that of 1.
    """
    if missing is not None:
        gone = missing.to(hessian.device).flatten()
        hessian = hessian.masked_fill(gone[:, None] | gone, 0.0)
        hessian.diagonal()[gone] = 1.0
    diagonal = hessian.diagonal().clone()
    least = torch.finfo(hessian.dtype).eps * diagonal.amax()
    added = 0.0
    factor: Tensor
    while True:
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not failed or added > 1:
            return factor
        added = max(10 * added, torch.finfo(hessian.dtype).eps)
        hessian.diagonal().copy_(diagonal * (1 + added) + least)


def hessian_of(head: Head, squares: Tensor, penalty: float) -> Tensor:
    """Return a head's Hessian, (p, p), of the sums over edges of its curvature."""
    edges, n_inputs = head.curvature_edges(squares), squares.shape[1]
    whole = squares.tril() + squares.tril(-1).mT
    matrix = torch.einsum("ea,eb,eij->aibj", edges, edges, whole)
    matrix = matrix.reshape(edges.shape[1] * n_inputs, -1)
    penalised = matrix.new_full((edges.shape[1], n_inputs), penalty)
    penalised[:, -1] = 0
    matrix.diagonal().add_(penalised.flatten())
    return matrix


def _scores(features: Tensor, parameters: Tensor) -> Tensor:
    """Return the scores of rows on the last axis, (n_scores, n)."""
    return torch.addmm(parameters[:, -1:], parameters[:, :-1], features.T)


def by_head(scores: Tensor, head: Head) -> Tensor:
    """Return scores of equal heads as (n_heads, n_scores, n)."""
    n_scores, n_rows = scores.shape
    return scores.reshape(n_scores // head.n_scores, head.n_scores, n_rows)


def _add_pulled(total: Tensor, columns: Tensor, features: Tensor) -> None:
    """Add the products of columns (n_scores, n) with ``[features, 1]``, in place."""
    total[:, :-1] += columns @ features
    total[:, -1] += columns.sum(dim=1)


def _add_sizes(terms: Terms, total: list[Tensor], rows: Any) -> None:
    problem = terms(rows)
    weights = problem.weights
    squares = row_squares(problem.features).add(1).to(weights.dtype)
    norms = squares.sqrt()
    total[0] += weights.sum(dim=0)
    total[1] += norms @ weights
    total[2] += squares**2 @ weights**2
    for j, head in enumerate(problem.stack.heads):
        if not head.is_categorical:
            codes = problem.codes[:, j]
            noise = head.residual_noise(codes[:, None], codes, torch.zeros_like(codes))
            total[3][j] += (norms * weights[:, j]) @ noise


def _add_look(
    terms: Terms,
    parameters: Tensor,
    total: tuple[Tensor, Tensor, list[Tensor]],
    rows: Any,
) -> None:
    """Add the losses of rows, their gradients and perhaps their squares."""
    problem = terms(rows)
    value, gradient, squares = total
    features = problem.dense
    scores = _scores(features, parameters)
    columns = torch.empty_like(scores)
    for head, members, at in problem.stack.groups:
        own = by_head(scores[at], head)
        codes, weights = problem.codes[:, members].T, problem.weights[:, members].T
        loss, residual = head.terms(own, codes)
        value[members] += (weights * loss).sum(dim=1)
        columns[at] = (weights[:, None] * residual).flatten(0, 1)
    _add_pulled(gradient, columns, features)
    if squares:
        add_squares(problem, scores, features, squares)


def add_squares(
    problem: HeadsProblem, scores: Tensor, features: Tensor, squares: list[Tensor]
) -> None:
    """Add the weighted squares of rows that Hessians are made of, in place.

    Parameters
    ----------
    problem : HeadsProblem
    scores : Tensor of shape (n_scores, n)
    features : Tensor of shape (n, n_features)
        In the type of the products.
    squares : list of Tensor of shape (n_edges, n_inputs, n_inputs)
    """
    n_inputs = features.shape[1] + 1
    if n_inputs < _WIDE:
        ones = features.new_ones(1, len(features))
        inputs = torch.cat([features.T, ones])
    else:
        inputs = with_ones(features)
    for j, (head, total) in enumerate(zip(problem.stack.heads, squares, strict=True)):
        own = scores[problem.stack.scores[j]][None]
        edges = head.edges_at(own, problem.codes[None, :, j])[0]
        weighted = (problem.weights[:, j] * edges).to(inputs.dtype)
        if n_inputs < _WIDE:
            rows = (weighted[:, None] * inputs).flatten(0, 1)
            total += (rows @ inputs.T).reshape(total.shape)
            continue
        for square, scale in zip(total, weighted.sqrt(), strict=True):
            add_square(square, scale[:, None] * inputs)


def _add_noise(
    terms: Terms, parameters: Tensor, total: tuple[Tensor, Tensor], rows: Any
) -> None:
    problem = terms(rows)
    probabilities = problem.probabilities(problem.scores(parameters))
    squares = row_squares(problem.features).add(1)
    total[0].add_(problem.gradient_noise(probabilities, parameters))
    total[1].add_(squares**2 @ problem.row_curvature(probabilities) ** 2)


def _largest_score(terms: Terms, parameters: Tensor, rows: Any) -> Tensor:
    problem = terms(rows)
    return problem.largest_score(problem.scores(parameters))


def _add_product(
    terms: Terms, parameters: Tensor, direction: Tensor, total: Tensor, rows: Any
) -> None:
    """Add the products of rows' Hessians with a direction."""
    problem = terms(rows)
    features = problem.dense
    both = torch.cat([parameters, direction]).to(features.dtype)
    scores, along = _scores(features, both).chunk(2)
    columns = torch.empty_like(scores)
    for head, members, at in problem.stack.groups:
        own, moved = by_head(scores[at], head), by_head(along[at], head)
        curved = head.curved(own, problem.codes[:, members].T, moved)
        weights = problem.weights[:, members].T.to(features.dtype)
        columns[at] = (weights[:, None] * curved).flatten(0, 1)
    _add_pulled(total, columns, features)
