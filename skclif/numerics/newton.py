"""The removal of loss terms, followed to the new optimum of every head.

Every head without a row is its own convex problem, near a problem that is solved. Its
first step is that of `leverage`: the row's curvature is taken out of the Hessian. More
steps follow the exact gradient over all rows, until they are small. No Hessian is built
again. Differences of gradients along the steps tell how it changes (the secant pairs of
BFGS), and correct the next step. The label head sees the activations that the moved
concept heads give. See Eqs. (19) to (21) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .bounded import minimise
from .heads import Head, HeadsProblem, HeadStack
from .hessians import Factors
from .inverses import Inverse
from .leverage import block_diagonal
from .products import affine_adjoint, dense_rows, with_ones
from .removal import Answers, Removals, refuse_undefined
from .sparse import Features, SparseFeatures
from .targets import Question

# Size of one pass over the training rows: enough for efficient products.
_PASS_SIZE = 2**22
_MAX_STEPS = 12
_MAX_SHORTENED = 20
# Errors relative to the change, in the Hessian's norm: when to stop, when to warn.
_TOL, _TOL_OF_SETS = 5e-4, 2e-4
_UNFINISHED = 0.1
# Of heads with bounds, where a removal lets others hold, and of what is still open.
_EXACT_TOL, _MAX_EXACT, _AT_BOUND = 1e-8, 100, 1e-9


def newton(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    questions: Sequence[Question],
    removed: Tensor | None = None,
    *,
    paths: bool = True,
    block_rows: int | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the effect of every loss term's presence, a block of rows at a time.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
        Passes over the training rows have their `dtype`.
    questions : sequence of Question
    removed : Tensor of shape (n_removed,), int64, default=None
        Positions of the training rows to remove, one at a time. None is all rows.
    paths : bool
        Whether to remove every loss term by itself too.
    block_rows : int, default=None
        Number of rows whose removals are solved together. None is what fits the cache.

    Yields
    ------
    block : slice
        A slice of `removed`.
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts) or (…, 1)
        ``target with - target without``: the paths of the label and of the concepts,
        and their interaction, which add up to the removal of the whole row; or only
        that removal.

    Raises
    ------
    ValueError
        If a row determines a head alone, so that its removal is not defined.

    Warns
    -----
    InfluenceWarning
        After the last block, if some removals did not come near an optimum.
    """
    if removed is None:
        removed = torch.arange(len(data.features), device=data.features.device)
    answers = Answers(bottleneck, questions)
    refit = Refit(bottleneck, data, factors)
    if block_rows is None:
        block_rows = _PASS_SIZE // (len(data.features) * refit.width)
    block_rows = answers.rows_at_once(block_rows, paths=paths)
    errors = data.features.new_zeros(len(removed))
    for block in row_blocks(len(removed), block_rows):
        removals, errors[block] = refit.without(removed[block], paths=paths)
        influence, _ = answers.influence(removals, data.rows(removed[block]))
        refuse_undefined(influence, removed[block])
        yield block, influence
    _warn_of_unfinished(errors, removed)


def _warn_of_unfinished(errors: Tensor, removed: Tensor) -> None:
    unfinished = errors > _UNFINISHED
    if unfinished.any():
        most, row = errors.max(dim=0)
        warn_user(
            f"The removal of {int(unfinished.sum())} of {len(removed)} training rows "
            f"had not converged after {_MAX_STEPS} Newton steps (the error of row "
            f"{int(removed[row])} is {float(most):.2g} of the change): their influence "
            "can be far off. Lower C and concept_C, or retrain without these rows.",
            InfluenceWarning,
        )


# Positions of the rows, or of all their copies, that each problem lacks: of one row, in
# a tensor of shape (n, n_copies), or of a set of rows.
Removed: TypeAlias = Tensor | Sequence[Tensor]


class Refit:
    """Both stages, solved again without some of their rows."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        dtype = factors.dtype
        self.stack, parameters = bottleneck.concepts, bottleneck.concept_parameters
        inputs = _inputs(data.features, intercept=True, dtype=dtype)
        concept_scores = self.stack.split(bottleneck.concept_scores(data.features))
        self.concepts = [
            _SolvedHead(
                head,
                parameters[self.stack.scores[j]],
                inputs,
                concept_scores[j],
                data.concepts[:, j],
                data.concept_weights[:, j],
                factors.concepts[j],
                float(factors.concept_penalties[j]),
            )
            for j, head in enumerate(self.stack.heads)
        ]
        self.rows = rows = bottleneck.label_rows(data)
        self.label = _SolvedHead(
            bottleneck.label,
            bottleneck.label_parameters,
            _inputs(rows.activations, bottleneck.label.intercept, dtype),
            bottleneck.label_scores(rows.activations),
            rows.labels,
            rows.weights,
            factors.label,
            factors.penalty,
        )
        self.moving = rows.moving.to(dtype)

    @property
    def width(self) -> int:
        """Number of values that a training row needs in a pass for one removal."""
        width = self.stack.n_activations + 2 * self.label.head.n_activations
        return self.rows.n_copies * width

    def without(self, removed: Tensor, *, paths: bool) -> tuple[Removals, Tensor]:
        """Return the changes, and the largest relative error of a head's change."""
        positions = self.rows.positions(removed)
        return self._without(removed[:, None], positions, paths=paths)

    def without_sets(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return the same without sets of rows, each removed as a whole."""
        positions = [self.rows.positions(rows).flatten() for rows in sets]
        return self._without(sets, positions, paths=paths, patient=True)

    def _without(
        self,
        removed: Removed,
        positions: Removed,
        *,
        paths: bool,
        patient: bool = False,
    ) -> tuple[Removals, Tensor]:
        """Return changes without rows, whose copies have these positions."""
        concepts, moves, terms, errors = [], [], [], []
        for j, head in enumerate(self.concepts):
            change, error = head.solve(len(removed), removed, patient=patient)
            concepts.append(change.double())
            copies = [head.activation_change(change)] * self.rows.n_copies
            moves.append(torch.cat(copies, dim=2).mul_(self.moving[:, j]))
            errors.append(error)
        cases: list[tuple[Removed | None, Moves | None]] = []
        if paths:
            cases.append((positions, None))
            columns = self.stack.activations
            cases += [(None, moving) for moving in zip(moves, columns, strict=True)]
        whole = slice(0, self.stack.n_activations)
        cases.append((positions, (torch.cat(moves), whole) if moves else None))
        for gone, moved in cases:
            change, error = self.label.solve(len(removed), gone, moved, patient=patient)
            terms.append(change.double())
            errors.append(error)
        return Removals(concepts, terms.pop(), terms), torch.stack(errors).amax(dim=0)


class _SolvedHead:
    """A head at its optimum, to be solved again without a row or with moved inputs.

    Its arrays have the dtype of the passes.
    """

    def __init__(
        self,
        head: Head,
        parameters: Tensor,
        inputs: "_Inputs",
        scores: Tensor,
        codes: Tensor,
        weights: Tensor,
        inverse: Inverse,
        penalty: float,
    ):
        dtype, probabilities = inputs.dtype, head.probabilities(scores)
        residual = head.residual(probabilities, codes)
        curvature = weights[:, None, None] * head.curvature(probabilities, codes)
        self.head, self.inputs = head, inputs
        self.parameters, self.weights = parameters.to(dtype), weights.to(dtype)
        self.codes = codes
        self.probabilities = probabilities.T.contiguous().to(dtype)
        self.residual = (weights[:, None] * residual).T.contiguous().to(dtype)
        self.curvature = curvature.to(dtype)
        self.inverse = inverse.dense().to(dtype)
        self.penalty = torch.full_like(self.parameters[0], penalty)
        self.penalty[-1] = 0

    def solve(
        self,
        n: int,
        removed: Removed | None = None,
        moved: "Moves | None" = None,
        *,
        patient: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Solve n problems together, each without some rows or with moved inputs.

        Parameters
        ----------
        n : int
        removed : Tensor or sequence of Tensor, default=None
            Positions of the rows that each problem lacks.
        moved : tuple, default=None
        patient : bool
            Whether to solve again what is still open after all steps.

        Returns
        -------
        change : Tensor of shape (n, n_scores, n_inputs)
            Change of the parameters.
        error : Tensor of shape (n,)
            Estimated error relative to the change, in the Hessian's norm.
        """
        problem = _Problem(self, removed, moved)
        change = self.parameters.new_zeros(n, *self.parameters.shape)
        exact = self.head.is_quadratic  # after one step
        exact &= not isinstance(problem.gap, _SetGap)
        tol = _TOL_OF_SETS if patient else _TOL
        error = _descend(problem, change, 1 if exact else _MAX_STEPS, tol)
        if self.head.is_bounded:
            self._bind_again(problem, change, error)
        if patient:
            # Of what needs more steps, the rest is curved much less than the whole.
            # Steps and gradients are then small long before the optimum, and no
            # estimate by them holds.
            self._solve_again(problem, change, error, ~(error <= tol))
        return change, torch.zeros_like(error) if exact else error

    def _bind_again(self, problem: "_Problem", change: Tensor, error: Tensor) -> None:
        """Solve problems again in which other bounds hold than at the start, in place.

        Steps move no parameter that is at a bound. Where one would leave it, or another
        is beyond its bound, the step is not to the optimum.
        """
        cone = self.head.cone(self.inputs.matrix.shape[1], self.parameters.double())
        assert cone is not None
        parameters = (self.parameters + change).double().flatten(1)
        multipliers = problem.gradient(
            change, torch.arange(len(change), device=change.device)
        )
        multipliers = (multipliers + self.gradient).double().flatten(1) @ cone.basis
        released = (multipliers < -_AT_BOUND) & cone.active(self.parameters.double())
        changed = released.any(dim=1) | (cone.violation(parameters) > _AT_BOUND)
        self._solve_again(problem, change, error, changed)

    def _solve_again(
        self, problem: "_Problem", change: Tensor, error: Tensor, chosen: Tensor
    ) -> None:
        """Solve chosen problems in double precision and short steps, in place."""
        start = self.parameters.double()
        for i in chosen.nonzero()[:, 0].tolist():
            alone = self._problem_of(problem, i)
            solved, fit = minimise(
                alone,
                _better(alone, start + change[i].double(), start),
                tol=_EXACT_TOL,
                max_iter=_MAX_EXACT,
            )
            change[i] = (solved - start).to(change.dtype)
            error[i] = 0 if fit.converged.all() else torch.inf

    def _problem_of(self, problem: "_Problem", i: int) -> HeadsProblem:
        """Return one of the problems, to be solved from any start."""
        features, weights = self.inputs.double_features(), self.weights.double()
        if problem.gap is not None:
            weights = weights.clone()
            weights[problem.gap.rows[i]] = 0
        if problem.moved is not None:
            moves, columns = problem.moved
            features = dense_rows(features).clone()
            features[:, columns] += moves[:, i].T.double()
        return HeadsProblem(
            HeadStack([self.head]),
            features,
            self.codes[:, None],
            weights[:, None],
            self.penalty[:1].double(),
        )

    @cached_property
    def gradient(self) -> Tensor:
        """The gradient at the optimum: 0, except where parameters are at a bound."""
        return self.penalty * self.parameters + self.inputs.pull_back(self.residual)

    def scores(self, change: Tensor) -> Tensor:
        """Return how scores of all rows move, (n_scores, n_problems, n)."""
        flat = change.transpose(0, 1).flatten(0, 1)
        scores = self.inputs.scores(flat)
        return scores.reshape(self.head.n_scores, len(change), -1)

    def pull_back(self, columns: Tensor) -> Tensor:
        """Return ``sum_k column_k (x) input_k``, (n_problems, n_scores, n_inputs)."""
        pulled = self.inputs.pull_back(columns.flatten(0, 1))
        return pulled.reshape(*columns.shape[:2], -1).transpose(0, 1)

    def activation_change(self, change: Tensor) -> Tensor:
        """Return how activations of all rows move, (n_activations, n_problems, n)."""
        return self.head.activation_change(self.probabilities, self.scores(change))


@dataclass(frozen=True)
class _Inputs:
    """Inputs of a head, with a constant, and their two products.

    Attributes
    ----------
    matrix : Tensor of shape (n, n_inputs)
    """

    matrix: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """Type of the products."""
        return self.matrix.dtype

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all rows, (n_parameters, n)."""
        return parameters @ self.matrix.T

    def pull_back(self, columns: Tensor) -> Tensor:
        """Return sums of rows, (n_sums, n_inputs), weighted by columns (n_sums, n)."""
        return columns @ self.matrix

    def rows(self, positions: Tensor) -> Tensor:
        """Return the inputs of some rows."""
        return self.matrix[positions]

    def double_features(self) -> Features:
        """Return the inputs in double precision, without the constant."""
        return self.matrix[:, :-1].double()


@dataclass(frozen=True)
class _SparseInputs(_Inputs):
    """The same of sparse features, which have no column for the constant.

    Attributes
    ----------
    features : SparseFeatures of shape (n, n_features)
    matrix : Tensor of shape (1,)
        The constant.
    """

    features: SparseFeatures

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all rows, (n_parameters, n)."""
        constant = parameters[:, -1] * self.matrix
        return self.features.times(parameters[:, :-1]).T + constant[:, None]

    def pull_back(self, columns: Tensor) -> Tensor:
        """Return sums of rows, (n_sums, n_inputs), weighted by columns (n_sums, n)."""
        pulled = affine_adjoint(self.features, columns.T)
        pulled[:, -1] *= self.matrix
        return pulled

    def rows(self, positions: Tensor) -> Tensor:
        """Return the inputs of some rows."""
        dense = with_ones(self.features[positions.flatten()])
        dense[:, -1] *= self.matrix
        return dense.reshape(*positions.shape, -1)

    def double_features(self) -> Features:
        """Return the inputs in double precision, without the constant."""
        return self.features


def _inputs(features: Features, intercept: bool, dtype: torch.dtype) -> _Inputs:
    """Return the inputs of a head that has an intercept, or has not."""
    if isinstance(features, SparseFeatures):
        return _SparseInputs(features.new_tensor([float(intercept)]), features)
    rows = dense_rows(features)
    padded = torch.nn.functional.pad(rows, (0, 1), value=float(intercept))
    return _Inputs(padded.to(dtype))


# Moves of inputs, (n_moving, n_problems, n), and the columns of these inputs.
Moves = tuple[Tensor, slice]


class _RowGap:
    """A row that each problem lacks.

    Its curvature is taken out of the Hessian too (Woodbury).
    """

    def __init__(self, solved: _SolvedHead, rows: Tensor):
        self.rows = rows
        inverse, n_scores = solved.inverse, solved.head.n_scores
        self.own = solved.inputs.rows(rows)
        residual = solved.residual[:, rows].movedim(0, 1)
        self.gradient = residual @ self.own
        # H^-1 (e_a (x) x) for every row x and score a.
        blocks = inverse.reshape(len(inverse) * n_scores, -1)
        columns = (self.own @ blocks.T).reshape(*rows.shape, -1, n_scores)
        self.columns = columns.transpose(1, 2).flatten(2)
        hat = _own_scores(self.own, self.columns)
        # A little less than the whole curvature, so that the rest stays definite.
        little = torch.finfo(hat.dtype).eps ** 0.5
        curvature = (1 - little) * block_diagonal(solved.curvature[rows])
        identity = torch.eye(hat.shape[1], dtype=hat.dtype, device=hat.device)
        # If the rest is singular all the same, a removal has no first step.
        self.inner = torch.linalg.solve_ex(identity - curvature @ hat, curvature).result

    def leave_out(self, columns: Tensor, at: Tensor) -> None:
        """Put 0 in the columns of the rows of problems `at`, in place."""
        problems = torch.arange(len(at), device=at.device)[:, None]
        columns[:, problems, self.rows[at]] = 0

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return steps (n_at, p, 1) with the inverse Hessian, without the curvature."""
        own = self.inner[at] @ _own_scores(self.own[at], step)
        corrected: Tensor = step + self.columns[at] @ own
        return corrected


class _SetGap:
    """A set of rows that each problem lacks.

    There is little to gain from taking the curvature of many rows out of the Hessian:
    the secant pairs find it where steps go.
    """

    def __init__(self, solved: _SolvedHead, rows: Sequence[Tensor]):
        self.rows = rows
        here = torch.zeros_like(solved.residual)[:, None].repeat(1, len(rows), 1)
        for i, members in enumerate(rows):
            here[:, i, members] = solved.residual[:, members]
        self.gradient = solved.pull_back(here)

    def leave_out(self, columns: Tensor, at: Tensor) -> None:
        """Put 0 in the columns of the rows of problems `at`, in place."""
        for i, problem in enumerate(at.tolist()):
            columns[:, i, self.rows[problem]] = 0

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return the steps as they are."""
        return step


class _Problem:
    """Copies of a solved head, each without some rows or with moved inputs."""

    def __init__(
        self, solved: _SolvedHead, removed: Removed | None, moved: Moves | None
    ):
        self.solved, self.moved = solved, moved
        self.gap: _RowGap | _SetGap | None = None
        if isinstance(removed, Tensor):
            self.gap = _RowGap(solved, removed)
        elif removed is not None:
            self.gap = _SetGap(solved, removed)

    def first_gradient(self, start: Tensor) -> Tensor:
        """Return the gradients before any step; avoid a pass over rows if possible."""
        if self.moved is not None:
            return self.gradient(start, torch.arange(len(start), device=start.device))
        if self.gap is None:
            return torch.zeros_like(start)
        return -self.gap.gradient

    def gradient(self, change: Tensor, at: Tensor) -> Tensor:
        """Return the gradients if the parameters of problems `at` change by `change`.

        Eq. (19) of docs/mathematics.rst.
        """
        solved = self.solved
        gradient = solved.penalty * change
        shift = solved.scores(change)
        if self.moved is not None:
            moves, columns = self.moved[0][:, at].transpose(0, 1), self.moved[1]
            shift += ((solved.parameters + change)[:, :, columns] @ moves).transpose(
                0, 1
            )
        pulls = solved.head.residual_change(solved.probabilities, solved.codes, shift)
        pulls *= solved.weights
        if self.gap is not None:
            self.gap.leave_out(pulls, at)
            gradient -= self.gap.gradient[at]
        gradient += solved.pull_back(pulls)
        if self.moved is not None:
            pulls += solved.residual[:, None]
            if self.gap is not None:
                self.gap.leave_out(pulls, at)
            gradient[:, :, columns] += pulls.transpose(0, 1) @ moves.transpose(1, 2)
        return gradient

    def precondition(self, gradient: Tensor, at: Tensor) -> Tensor:
        """Apply the inverse Hessian, without the curvature of a row that is missing."""
        step = (gradient.flatten(1) @ self.solved.inverse).unsqueeze(-1)
        if self.gap is not None:
            step = self.gap.correct(step, at)
        return step.reshape(gradient.shape)


def _better(problem: HeadsProblem, moved: Tensor, start: Tensor) -> Tensor:
    """Return the parameters with the lower objective; steps can have gone astray."""
    there, here = (
        problem.objective(problem.scores(parameters), parameters).sum()
        for parameters in (moved, start)
    )
    return moved if there <= here else start


def _own_scores(own: Tensor, columns: Tensor) -> Tensor:
    """Return scores of rows, (b, c, q), by columns of parameters, (b, s * q, k).

    The result has shape (b, c * s, k).
    """
    matrices = columns.reshape(len(own), -1, own.shape[2], columns.shape[2])
    scores: Tensor = torch.einsum("bcq,bsqk->bcsk", own, matrices)
    return scores.flatten(1, 2)


def _descend(problem: _Problem, change: Tensor, max_steps: int, tol: float) -> Tensor:
    """Minimise problems together by BFGS, adding to `change` in place.

    Eqs. (20) and (21) of docs/mathematics.rst.

    Converged problems take no further steps. The result is the estimated distance of
    each problem to its optimum, relative to its change.
    """
    parameters = problem.solved.parameters
    active = torch.arange(len(change), device=change.device)
    error = change.new_zeros(len(change))
    gradient = first = problem.first_gradient(change)
    last_size: Tensor | float = 1.0
    pairs: list[tuple[Tensor, Tensor]] = []
    for n_steps in range(1, max_steps + 1):
        step = -_secant_corrected(problem, pairs, gradient, active)
        lost = ~step.isfinite().all(dim=2).all(dim=1)
        step[lost] = (
            0  # such a problem keeps its parameters, and is refused or warned of
        )
        change[active] += step
        # In the Hessian's norm, assuming that steps continue to shrink by this factor.
        way = _dot(change[active], first[active]).abs()
        size = (_dot(step, gradient).abs() / way).sqrt()
        left = torch.where(way > 0, size * (size / last_size), 0.0)
        left = torch.where(_is_rounding(change[active], parameters), 0.0, left)
        error[active] = torch.where(lost, torch.inf, left)
        going = (left > tol) & ~lost
        if n_steps == max_steps or not going.any():
            break
        last_size = size[going]
        active, step, before = active[going], step[going], gradient[going]
        gradient = problem.gradient(change[active], active)
        _shorten(problem, active, change, step, before, gradient)
        pairs = [(s[going], y[going]) for s, y in pairs]
        pairs.append((step, gradient - before))
    return error


def _is_rounding(change: Tensor, parameters: Tensor) -> Tensor:
    """Return which changes are rounding errors of the parameters."""
    least = 10 * torch.finfo(change.dtype).eps
    return _dot(change, change) <= least**2 * (parameters**2).sum()


def _shorten(
    problem: _Problem,
    active: Tensor,
    change: Tensor,
    step: Tensor,
    before: Tensor,
    gradient: Tensor,
) -> None:
    """Shorten steps that went too far, and update their gradients, in place.

    A step is too long if the objective rises at its end more steeply than it fell at
    its start.
    """
    for _ in range(_MAX_SHORTENED):
        fell, rises = -_dot(before, step), _dot(gradient, step)
        far = (rises > fell).nonzero().squeeze(1)
        if not len(far):
            break
        kept = (fell / (fell + rises))[far, None, None]
        at = active[far]
        change[at] -= (1 - kept) * step[far]
        step[far] *= kept
        gradient[far] = problem.gradient(change[at], at)


def _secant_corrected(
    problem: _Problem,
    pairs: list[tuple[Tensor, Tensor]],
    gradient: Tensor,
    active: Tensor,
) -> Tensor:
    """Precondition gradients, corrected by pairs of a step and the gradient's change.

    The two loops of L-BFGS, Algorithm 7.4 of Nocedal and Wright (2006).
    """
    shares = []
    for step, difference in reversed(pairs):
        scale = _dot(step, difference)
        share = torch.where(scale > 0, _dot(step, gradient) / scale, 0.0)
        gradient = gradient - share[:, None, None] * difference
        shares.append(share)
    direction = problem.precondition(gradient, active)
    for (step, difference), share in zip(pairs, reversed(shares), strict=True):
        scale = _dot(step, difference)
        other = torch.where(scale > 0, _dot(difference, direction) / scale, 0.0)
        direction = direction + (share - other)[:, None, None] * step
    return direction


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of each problem's parameters, (n_problems,)."""
    return (left * right).flatten(1).sum(dim=1)
