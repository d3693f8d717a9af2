"""The removal of loss terms, followed to the new optimum of every head.

Every head without a row is its own convex problem, near a problem that is solved. Its
first step is that of `leverage`: the row's curvature is taken out of the Hessian. More
steps follow the exact gradient over all rows, until they are small. No Hessian is built
again. Differences of gradients along the steps tell how it changes (the secant pairs of
BFGS), and correct the next step. The label head sees the activations that the moved
concept heads give. See Eqs. (19) to (21) of docs/mathematics.rst.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .bounded import minimise
from .descent import Descent, descend, dot
from .heads import Head, HeadsProblem, HeadStack
from .hessians import Factors, label_gradient_jacobian
from .inverses import Inverse
from .leverage import block_diagonal
from .prepared import HeadRows, Passes, PreparedRows, unflatten
from .products import dense_rows
from .removal import Answers, Removals, refuse_undefined
from .targets import Question

# How many removals are solved together: most numbers in their parameters, gradients and
# steps, of which each problem has so many arrays; and bounds.
_MOST_VALUES, _ARRAYS = 2**23, 8
_LEAST, _MOST = 16, 128
_MAX_STEPS = 12
# Errors relative to the change, in the Hessian's norm: when to stop, when to warn.
_TOL, _TOL_OF_SETS = 5e-4, 2e-4
_UNFINISHED = 0.1
# A later step of a concept head of this size, relative to its change, is too large for
# the label head to follow it to first order.
_FAR = 0.04
# Of many rows, a sample tells whether the second step of a concept head would be larger
# than this, relative to the first. If not, there is none.
_NEGLIGIBLE = 1e-3
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
    answers = Answers(bottleneck, questions, factors.dtype)
    refit = Refit(bottleneck, data, factors)
    if block_rows is None:
        block_rows = refit.at_once(answers.n_cases if paths else 1)
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


# Positions of the rows that each problem lacks: of one row, or of a set of rows.
Removed: TypeAlias = Tensor | Sequence[Tensor]


class Refit:
    """Both stages, solved again without some of their rows.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    pass_rows : int, default=None
        Number of rows of one block of a pass. None is what fits the cache.
    """

    def __init__(
        self,
        bottleneck: Bottleneck,
        data: TrainingData,
        factors: Factors,
        pass_rows: int | None = None,
    ):
        dtype = factors.dtype
        self.bottleneck, self.stack, self.data = bottleneck, bottleneck.concepts, data
        self.passes = Passes(bottleneck, data, dtype, pass_rows)
        self.concepts = [
            _SolvedHead(
                head,
                bottleneck.concept_parameters[self.stack.scores[j]],
                factors.concepts[j],
                float(factors.concept_penalties[j]),
                dtype,
            )
            for j, head in enumerate(self.stack.heads)
        ]
        self.label = _SolvedHead(
            bottleneck.label,
            bottleneck.label_parameters,
            factors.label,
            factors.penalty,
            dtype,
        )
        self.cross = [cross.to(dtype) for cross in factors.cross]

    @property
    def width(self) -> int:
        """Number of values that a training row needs in a pass for one removal."""
        width = self.stack.n_activations + 2 * self.label.head.n_activations
        return len(self.bottleneck.copies) * width

    def at_once(self, n_cases: int) -> int:
        """Return how many removals to solve together."""
        n_values = n_cases * self.label.parameters.numel() * _ARRAYS
        for head in self.concepts:
            n_values += head.parameters.numel() * (_ARRAYS + head.head.n_scores)
        return max(_LEAST, min(_MOST, _MOST_VALUES // n_values))

    def without(self, removed: Tensor, *, paths: bool) -> tuple[Removals, Tensor]:
        """Return the changes, and the largest relative error of a head's change."""
        own = self.passes.some(self.data.rows(removed))
        concepts = [
            _Problems(head, len(removed), _RowGap(head, own.concept(j), removed))
            for j, head in enumerate(self.concepts)
        ]
        gap = _RowGap(self.label, own.label, removed)
        cases = self._cases(len(removed), gap, paths=paths)
        heads = [self.label, *self.concepts]
        if any(one.head.is_bounded for one in heads) or any(
            head.jumps for head in self.concepts
        ):
            self._solve_in_turn(concepts, cases)
        else:
            self._solve_together(concepts, cases, own)
        return self._found(concepts, cases)

    def without_sets(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return the same without sets of rows, each removed as a whole."""
        gaps = self._set_gaps(sets)
        concepts = [
            _Problems(head, len(sets), gap, patient=True)
            for head, gap in zip(self.concepts, gaps, strict=False)
        ]
        cases = self._cases(len(sets), gaps[-1], paths=paths, patient=True)
        self._solve_in_turn(concepts, cases)
        return self._found(concepts, cases)

    def _cases(
        self,
        n: int,
        gap: "_Gap",
        *,
        paths: bool,
        patient: bool = False,
    ) -> "list[_Problems]":
        """Return the label's problems: of every path, and of the whole row, last."""
        every = range(len(self.concepts))
        moved: list[tuple[_Gap | None, Sequence[int]]] = []
        if paths:
            moved = [(gap, []), *((None, [j]) for j in every)]
        moved.append((gap, every))
        return [
            _Problems(self.label, n, gone, concepts, patient=patient)
            for gone, concepts in moved
        ]

    def columns(self, problems: "_Problems") -> slice:
        """Return the inputs of the label head that problems see moved."""
        columns = [self.stack.activations[j] for j in problems.moved]
        return slice(columns[0].start, columns[-1].stop) if columns else slice(0)

    def _set_gaps(self, sets: Sequence[Tensor]) -> "list[_Gap]":
        """Return the gaps of every concept head, and of the label head, last."""
        heads = [*self.concepts, self.label]
        sizes = torch.tensor([len(members) for members in sets])
        problems = torch.arange(len(sets)).repeat_interleave(sizes)
        problems, rows_gone = problems.to(sets[0].device), torch.cat(list(sets))
        gaps = [
            _Gap(
                head.parameters.new_zeros(len(sets), *head.parameters.shape),
                problems,
                rows_gone,
            )
            for head in heads
        ]
        for i, members in enumerate(sets):
            for block in row_blocks(len(members)):
                own = self.passes.some(self.data.rows(members[block]))
                heads_rows = [own.concept(j) for j in range(len(self.concepts))]
                for gap, rows in zip(gaps, [*heads_rows, own.label], strict=True):
                    gap.gradient[i] += rows.inputs.pull_back(rows.residual)
        return gaps

    def _solve_in_turn(
        self, concepts: "list[_Problems]", cases: "list[_Problems]"
    ) -> None:
        """Solve the concept heads, and then the label head, to the end."""
        for problems in concepts:
            problems.start(problems.gap_gradient())
        self._run(concepts, [])
        self._again(concepts, concepts)
        for case in cases:
            case.at = torch.arange(len(case.change), device=case.change.device)
        moved = [case for case in cases if case.moved]
        gradients = _Pass(self, concepts, moved).gradients() if moved else []
        for case, gradient in zip(moved, gradients, strict=True):
            case.start(gradient)
        for case in cases:
            if not case.moved:
                case.start(case.gap_gradient())
        self._run(concepts, cases)
        self._again(concepts, cases)

    def _solve_together(
        self,
        concepts: "list[_Problems]",
        cases: "list[_Problems]",
        own: PreparedRows,
    ) -> None:
        """Solve both stages in the same passes.

        The label head follows the last steps of the concept heads to first order.
        """
        self._screen(concepts)
        for problems in concepts:
            problems.start(problems.gap_gradient())
        follow = _Follow(self, own)
        for case in cases:
            gradient = case.gap_gradient()
            for j in case.moved:
                gradient += follow.pull(case, j, concepts[j].change)
            case.start(gradient)
        self._run(concepts, cases, follow)
        self._again(concepts, cases)

    def _screen(self, concepts: "list[_Problems]") -> None:
        """Find problems whose second step is negligible, by a sample of the rows.

        The gradient after the first step is what the Hessian does not know: mostly the
        second order of the residuals, which is the mean over a step and its opposite.
        """
        sample, share = self.passes.sample()
        requests = [
            _Request(problems, slice(0), problems.gap.first_step())
            for problems in concepts
            if sample and problems.gap is not None
        ]
        for at in sample:
            block = self.passes.some(self.data.rows(at), at)
            for j, request in enumerate(requests):
                head, rows = self.concepts[j].head, block.concept(j)
                known = rows.probabilities, rows.codes
                shift = self.concepts[j].by_problem(
                    rows.inputs.scores(request.flat), len(request.change)
                )
                there, back = (
                    head.residual_change(*known, way) for way in (shift, -shift)
                )
                request.add_pulls(block, rows, (there + back) / 2)
        for request in requests:
            problems, change = request.problems, request.change
            rest = (request.total / share).to(change.dtype)
            step = problems.precondition(rest, request.at)
            way = dot(change, problems.gap_gradient()).abs()
            size = (dot(step, rest).abs() / way).sqrt()
            problems.settled = size <= _NEGLIGIBLE

    def _run(
        self,
        concepts: "list[_Problems]",
        cases: "list[_Problems]",
        follow: "_Follow | None" = None,
    ) -> None:
        """Pass over the rows until no problem asks for a gradient."""
        while waiting := [one for one in [*concepts, *cases] if one.at is not None]:
            gradients = _Pass(self, concepts, waiting).gradients()
            answers = dict(zip(map(id, waiting), gradients, strict=True))
            before = [problems.change.clone() for problems in concepts]
            for problems in concepts:
                problems.size.masked_fill_(~problems.is_open, 0)
                if id(problems) in answers:
                    problems.go_on(answers[id(problems)])
            steps = [
                problems.change - start
                for problems, start in zip(concepts, before, strict=True)
            ]
            for case in cases:
                if follow is None:
                    if id(case) in answers:
                        case.go_on(answers[id(case)])
                else:
                    follow.go_on(case, concepts, steps, answers.get(id(case)))

    def _again(self, concepts: "list[_Problems]", chosen: "list[_Problems]") -> None:
        """Solve by themselves what is still open, or where other bounds hold."""
        for problems in chosen:
            if problems.solved.head.is_bounded:
                changed = self._is_bound_anew(concepts, problems)
                self._solve_again(concepts, problems, changed)
            if problems.patient:
                # Of what needs more steps, the rest is curved much less than the whole.
                # Steps and gradients are then small long before the optimum, and no
                # estimate by them holds.
                is_open = ~(problems.error <= problems.tol)
                self._solve_again(concepts, problems, is_open)

    def _is_bound_anew(
        self, concepts: "list[_Problems]", problems: "_Problems"
    ) -> Tensor:
        """Return the problems in which other bounds hold than at the start.

        Steps move no parameter that is at a bound. Where one would leave it, or another
        is beyond its bound, the step is not to the optimum.
        """
        solved, change = problems.solved, problems.change
        cone = solved.head.cone(change.shape[2], solved.exact)
        assert cone is not None
        parameters = (solved.exact + change.double()).flatten(1)
        problems.at = torch.arange(len(change), device=change.device)
        (gradient,) = _Pass(self, concepts, [problems]).gradients()
        problems.at = None
        multipliers = gradient + self._gradient_at_start(solved)
        multipliers = multipliers.double().flatten(1) @ cone.basis
        released = (multipliers < -_AT_BOUND) & cone.active(solved.exact)
        return released.any(dim=1) | (cone.violation(parameters) > _AT_BOUND)

    def _gradient_at_start(self, solved: "_SolvedHead") -> Tensor:
        """Return a gradient at the optimum: 0, except where bounds hold."""
        gradient = solved.penalty * solved.parameters
        for block in self.passes:
            rows = block.label
            if solved is not self.label:
                rows = block.concept(self.concepts.index(solved))
            gradient += rows.inputs.pull_back(rows.residual)
        return gradient

    def _solve_again(
        self, concepts: "list[_Problems]", problems: "_Problems", chosen: Tensor
    ) -> None:
        """Solve chosen problems in double precision and short steps, in place."""
        start, change = problems.solved.exact, problems.change
        for i in chosen.nonzero()[:, 0].tolist():
            alone = self._problem_of(concepts, problems, i)
            solved, fit = minimise(
                alone,
                _better(alone, start + change[i].double(), start),
                tol=_EXACT_TOL,
                max_iter=_MAX_EXACT,
            )
            change[i] = (solved - start).to(change.dtype)
            problems.error[i] = 0 if fit.converged.all() else torch.inf

    def _problem_of(
        self, concepts: "list[_Problems]", problems: "_Problems", i: int
    ) -> HeadsProblem:
        """Return one of the problems, to be solved from any start."""
        solved, data = problems.solved, self.data
        if solved is self.label:
            seen = self.bottleneck.label_rows(data)
            features, codes, weights = seen.activations, seen.labels, seen.weights
        else:
            j = self.concepts.index(solved)
            features = data.features
            codes, weights = data.concepts[:, j], data.concept_weights[:, j]
        if problems.gap is not None:
            gone = problems.gap.rows[problems.gap.problems == i]
            weights = weights.clone()
            for start in range(0, len(weights), len(data)):  # of every copy
                weights[start + gone] = 0
        if problems.moved:
            features = dense_rows(features).clone()
            for j in problems.moved:
                moves = self._moves_of(concepts, j, i)
                features[:, self.stack.activations[j]] += moves.T.double()
        return HeadsProblem(
            HeadStack([solved.head]),
            features,
            codes[:, None],
            weights[:, None],
            solved.penalty[:1].double(),
        )

    def _moves_of(self, concepts: "list[_Problems]", j: int, i: int) -> Tensor:
        """Return how one removal moves activations of all copies."""
        change, parts = concepts[j].change[i], []
        n_copies = len(self.bottleneck.copies)
        for block in self.passes:
            rows, n = block.concept(j), len(block.data)
            shift = rows.inputs.scores(change)[:, None]
            moved = self.concepts[j].head.activation_change(rows.probabilities, shift)
            moves = block.moves(j, moved)[:, 0]
            moves = torch.nn.functional.pad(moves, (0, n_copies * n - moves.shape[1]))
            parts.append(unflatten(moves, 1, (n_copies, n)))
        return torch.cat(parts, dim=2).flatten(1)

    def _found(
        self, concepts: "list[_Problems]", cases: "list[_Problems]"
    ) -> tuple[Removals, Tensor]:
        terms = [case.change.double() for case in cases]
        changes = [problems.change.double() for problems in concepts]
        errors = torch.stack([one.error for one in [*concepts, *cases]])
        return Removals(changes, terms.pop(), terms), errors.amax(dim=0)


class _SolvedHead:
    """A head at its optimum, in the dtype of the passes, to be solved again.

    Attributes
    ----------
    parameters : Tensor of shape (n_scores, n_inputs)
    exact : Tensor of shape (n_scores, n_inputs), float64
    inverse : Tensor of shape (p, p)
    penalty : Tensor of shape (n_inputs,)
    """

    def __init__(
        self,
        head: Head,
        parameters: Tensor,
        inverse: Inverse,
        penalty: float,
        dtype: torch.dtype,
    ):
        self.head, self.exact = head, parameters.double()
        self.parameters = parameters.to(dtype)
        self.inverse = inverse.dense().to(dtype)
        self.penalty = torch.full_like(self.parameters[0], penalty)
        self.penalty[-1] = 0

    @property
    def jumps(self) -> bool:
        """Whether activations jump, so that nothing follows them to first order."""
        jacobian = self.head.activation_jacobian(
            self.exact.new_zeros(self.head.n_scores)
        )
        return bool(self.head.n_activations) and not jacobian.any()

    def by_problem(self, flat: Tensor, n: int) -> Tensor:
        """Return scores of rows, (n_scores * n, …), as (n_scores, n, …)."""
        return flat.reshape(self.head.n_scores, n, -1)


class _Gap:
    """Rows that problems lack.

    Attributes
    ----------
    gradient : Tensor of shape (n_problems, n_scores, n_inputs)
        Of the loss of these rows.
    problems, rows : Tensor of shape (n_gone,), int64
        Problems, and the positions of the training rows that they lack.
    """

    def __init__(self, gradient: Tensor, problems: Tensor, rows: Tensor):
        self.gradient, self.problems, self.rows = gradient, problems, rows

    def among(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same positions, of problems `at` alone and as counted there."""
        if len(at) == len(self.gradient):
            return self.problems, self.rows
        place = self.problems.new_full((len(self.gradient),), -1)
        place[at] = torch.arange(len(at), device=at.device)
        place = place[self.problems]
        return place[place >= 0], self.rows[place >= 0]

    def first_step(self) -> Tensor | None:
        """Return the steps for the gradient alone, if they are known."""
        return None

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return steps (n_at, p) with the inverse Hessian without these rows.

        There is little to gain from taking the curvature of many rows out of the
        Hessian: the secant pairs find it where steps go.
        """
        return step


class _RowGap(_Gap):
    """One row that each problem lacks, with all its copies.

    Its curvature is taken out of the Hessian too (Woodbury).
    """

    def __init__(self, solved: _SolvedHead, own: HeadRows, removed: Tensor):
        n, n_scores, inverse = len(removed), solved.head.n_scores, solved.inverse
        self.own = unflatten(own.inputs.dense(), 0, (-1, n)).transpose(0, 1)
        residual = unflatten(own.residual, 1, (-1, n)).permute(2, 1, 0)
        gradient = residual.mT @ self.own
        super().__init__(gradient, torch.arange(n, device=removed.device), removed)
        # H^-1 (e_a (x) x) for every row x and score a, one after the other in memory.
        blocks = inverse.reshape(n_scores, -1, len(inverse))
        rows = self.own.flatten(0, 1)
        self.columns = torch.stack([rows @ block for block in blocks], dim=1)
        self.columns = self.columns.reshape(n, -1, len(inverse))
        hat = self._own_scores(self.columns, slice(None)).mT
        # A little less than the whole curvature, so that the rest stays definite.
        little = torch.finfo(hat.dtype).eps ** 0.5
        curvature = unflatten(own.curvature(solved.head), 0, (-1, n)).transpose(0, 1)
        curvature = (1 - little) * block_diagonal(curvature)
        identity = torch.eye(hat.shape[1], dtype=hat.dtype, device=hat.device)
        # If the rest is singular all the same, a removal has no first step.
        self.inner = torch.linalg.solve_ex(identity - curvature @ hat, curvature).result
        residual = residual.flatten(1)[:, :, None]
        along = residual + self.inner @ (hat @ residual)
        self._first: Tensor = (along.mT @ self.columns).reshape(gradient.shape)

    def first_step(self) -> Tensor | None:
        """Return the steps for the gradient alone, known from the columns."""
        return self._first

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return steps (n_at, p) with the inverse Hessian, without the curvature."""
        some = slice(None) if len(at) == len(self.gradient) else at
        own = self._own_scores(step[:, None], some)
        along = (self.inner[some] @ own.mT).mT
        corrected: Tensor = step + (along @ self.columns[some])[:, 0]
        return corrected

    def _own_scores(self, parameters: Tensor, some: slice | Tensor) -> Tensor:
        """Return scores of rows, (b, k, c * s), by k parameters each, (b, k, s * q)."""
        own = self.own[some]
        by_score = unflatten(parameters, 2, (-1, own.shape[2])).flatten(1, 2)
        scores = own @ by_score.mT  # (b, c, k * s)
        return (
            unflatten(scores, 2, (parameters.shape[1], -1)).transpose(1, 2).flatten(2)
        )


class _Problems:
    """Copies of a solved head, each without some rows or with moved inputs.

    Parameters
    ----------
    solved : _SolvedHead
    n : int
    gap : _Gap, default=None
        The rows that they lack.
    moved : sequence of int
        Concepts whose activations move: one, or all.
    patient : bool
        Whether problems that are open after all steps are to be solved again.

    Attributes
    ----------
    change : Tensor of shape (n, n_scores, n_inputs)
        Change of the parameters.
    size : Tensor of shape (n,)
        Size of the last step relative to the change, in the Hessian's norm; 0 if it was
        before the last pass, and no other follows.
    error : Tensor of shape (n,)
        Estimated error relative to the change, in the Hessian's norm.
    unsettled, settled : Tensor of shape (n,), bool
        Problems that take another step whatever their error, or only one.
    at : Tensor of int64 or None
        Problems that wait for their gradient.
    """

    def __init__(
        self,
        solved: _SolvedHead,
        n: int,
        gap: _Gap | None = None,
        moved: Sequence[int] = (),
        *,
        patient: bool = False,
    ):
        self.solved, self.gap, self.moved, self.patient = solved, gap, moved, patient
        self.parameters = solved.parameters
        self.change = self.parameters.new_zeros(n, *self.parameters.shape)
        self.error, self.size = self.change.new_zeros(n), self.change.new_zeros(n)
        self.unsettled = torch.zeros_like(self.size, dtype=torch.bool)
        self.settled = self.unsettled
        self.at: Tensor | None = None
        self.tol = _TOL_OF_SETS if patient else _TOL

    def gap_gradient(self) -> Tensor:
        """Return the gradients before any step, where inputs do not move."""
        return torch.zeros_like(self.change) if self.gap is None else -self.gap.gradient

    @property
    def is_open(self) -> Tensor:
        """Which problems wait for their gradient, (n,), bool."""
        is_open = torch.zeros_like(self.settled)
        if self.at is not None:
            is_open[self.at] = True
        return is_open

    def start(self, first: Tensor) -> None:
        """Take the first steps, for these gradients."""
        # One step is exact if the objective is quadratic.
        is_set = self.gap is not None and self.gap.first_step() is None
        self.is_exact = self.solved.head.is_quadratic and not is_set
        max_steps = 1 if self.is_exact else _MAX_STEPS
        self._descent: Descent = descend(
            self, self.change, first, self.size, max_steps, self.tol
        )
        self._advance(None)

    def go_on(self, gradient: Tensor) -> None:
        """Take the next steps, for the gradients of problems `at`."""
        self._advance(gradient)

    def _advance(self, gradient: Tensor | None) -> None:
        try:
            self.at = self._descent.send(gradient)  # type: ignore[arg-type]
        except StopIteration as end:
            self.at = None
            self.error = torch.zeros_like(self.error) if self.is_exact else end.value
            self.error = self.error.masked_fill(self.settled, _NEGLIGIBLE)

    def first_step(self, gradient: Tensor) -> Tensor:
        """Return the first steps of all problems."""
        if self.gap is not None and not self.moved:
            step = self.gap.first_step()
            if step is not None:
                return step
        return -self.precondition(
            gradient, torch.arange(len(gradient), device=gradient.device)
        )

    def precondition(self, gradient: Tensor, at: Tensor) -> Tensor:
        """Apply the inverse Hessian, without the curvature of a row that is missing."""
        step = gradient.flatten(1) @ self.solved.inverse
        if self.gap is not None:
            step = self.gap.correct(step, at)
        return step.reshape(gradient.shape)


class _Follow:
    """How the label head's gradient follows the concept heads, to first order.

    Without a row, it does not follow that row: the cross term of `Factors` is that of
    all rows.
    """

    def __init__(self, refit: Refit, own: PreparedRows):
        bottleneck, self.cross = refit.bottleneck, refit.cross
        seen, label = own.label_rows, bottleneck.label
        if not refit.concepts:
            return
        inputs = label.inputs(seen.activations)
        probabilities = label.probabilities(bottleneck.label_scores(seen.activations))
        self.jacobians, self.inputs = [], []
        for j, scores in enumerate(own.concept_scores):
            jacobian = label_gradient_jacobian(
                bottleneck, seen, j, scores, probabilities, inputs
            )
            jacobian = jacobian.transpose(2, 3).flatten(1, 2)
            self.jacobians.append(jacobian.to(self.cross[j].dtype))
            self.inputs.append(own.concept(j).inputs.dense())

    def pull(self, case: _Problems, concept: int, change: Tensor) -> Tensor:
        """Return how a concept's change moves the gradients of the label head."""
        pulled = change.flatten(1) @ self.cross[concept].T
        if case.gap is not None:
            own = change @ self.inputs[concept][:, :, None]
            pulled = pulled - (self.jacobians[concept] @ own).squeeze(2)
        return pulled.reshape(case.change.shape)

    def go_on(
        self,
        case: _Problems,
        concepts: Sequence[_Problems],
        steps: Sequence[Tensor],
        gradient: Tensor | None,
    ) -> None:
        """Take a case along with the last steps of concept heads.

        The gradient, if the case waits for one, is that before these steps.
        """
        if not case.moved:
            if gradient is not None:
                case.go_on(gradient)
            return
        pulled = torch.zeros_like(case.change)
        for j in case.moved:
            if steps[j].any():
                pulled += self.pull(case, j, steps[j])
        # Problems that need no gradient of their own follow all the same.
        rest = ~case.is_open & pulled.flatten(1).any(dim=1)
        if rest.any():
            at = rest.nonzero()[:, 0]
            case.change[at] -= case.precondition(pulled[at], at)
        if gradient is not None:
            far = torch.stack([concepts[j].size for j in case.moved]) > _FAR
            case.unsettled = far.any(dim=0)
            case.go_on(gradient + pulled[case.at])


class _Pass:
    """One pass over all rows for gradients of problems, at their changes.

    Eq. (19) of docs/mathematics.rst.

    Parameters
    ----------
    refit : Refit
    concepts : sequence of _Problems
        Of all concept heads, which say how activations move.
    waiting : sequence of _Problems
        Those whose gradients are asked for, of concept heads and of the label head.
    """

    def __init__(
        self,
        refit: Refit,
        concepts: Sequence[_Problems],
        waiting: Sequence[_Problems],
    ):
        self.refit = refit
        self.requests = [
            _Request(problems, refit.columns(problems)) for problems in waiting
        ]
        by_problems = {id(one.problems): one for one in self.requests}
        self.of_concepts = [by_problems.get(id(problems)) for problems in concepts]
        self.of_label = [
            one for one in self.requests if one.problems.solved is refit.label
        ]
        self.moved = [
            _union([one.at for one in self.of_label if j in one.problems.moved])
            for j in range(len(concepts))
        ]
        self.evaluated = [
            _union(
                [
                    at
                    for at in (request.at if request else None, moved)
                    if at is not None
                ]
            )
            for request, moved in zip(self.of_concepts, self.moved, strict=True)
        ]
        self.changes = [
            None if at is None else problems.change[at].transpose(0, 1).flatten(0, 1)
            for problems, at in zip(concepts, self.evaluated, strict=True)
        ]

    def gradients(self) -> list[Tensor]:
        """Return what was asked for, in the same order."""
        for block in self.refit.passes:
            moves = [self._add(block, j) for j in range(len(self.moved))]
            for request in self.of_label:
                request.add(block, block.label, self._moves(request, moves))
        return [request.gradient() for request in self.requests]

    def _add(self, block: PreparedRows, j: int) -> Tensor | None:
        """Add to the gradient of a concept head; return moves of its activations."""
        change, at = self.changes[j], self.evaluated[j]
        request, moved = self.of_concepts[j], self.moved[j]
        if change is None or at is None:
            return None
        solved, rows = self.refit.concepts[j], block.concept(j)
        shift = solved.by_problem(rows.inputs.scores(change), len(at))
        head, probabilities = solved.head, rows.probabilities
        if request is None:
            return block.moves(j, head.activation_change(probabilities, shift))
        if moved is None:
            request.add_shifted(block, rows, shift)
            return None
        pulls, changed = head.changes(probabilities, rows.codes, shift)
        request.add_pulls(block, rows, _among(pulls, at, request.at))
        return block.moves(j, _among(changed, at, moved))

    def _moves(
        self, request: "_Request", moves: Sequence[Tensor | None]
    ) -> Tensor | None:
        """Return how inputs of a request's problems move, (n_moving, n_problems, n)."""
        parts = []
        for j in request.problems.moved:
            moved, part = self.moved[j], moves[j]
            assert moved is not None and part is not None
            parts.append(_among(part, moved, request.at))
        return torch.cat(parts) if len(parts) > 1 else parts[0] if parts else None


def _union(parts: Sequence[Tensor]) -> Tensor | None:
    return torch.unique(torch.cat(list(parts))) if parts else None


def _among(values: Tensor, at: Tensor, wanted: Tensor) -> Tensor:
    """Return the values, along the second axis, of some of the problems `at`."""
    if len(at) == len(wanted):
        return values
    return values[:, torch.searchsorted(at, wanted)]


class _Request:
    """Gradients of some problems, summed up block by block."""

    def __init__(
        self, problems: _Problems, columns: slice, change: Tensor | None = None
    ):
        self.problems, solved = problems, problems.solved
        if change is None:
            assert problems.at is not None
            self.at, self.change = problems.at, problems.change[problems.at]
        else:
            self.at = torch.arange(len(change), device=change.device)
            self.change = change
        self.flat = self.change.transpose(0, 1).flatten(0, 1)
        # Of many blocks, sums in single precision would lose digits.
        self.total = torch.zeros_like(self.change, dtype=torch.float64)
        if problems.gap is not None:
            self.gone, rows = problems.gap.among(self.at)
            self.rows, order = rows.sort()
            self.gone, self.bounds = self.gone[order], self.rows.tolist()
        if problems.moved:
            self.columns = columns
            self.weights = (solved.parameters + self.change)[:, :, columns]

    def add(self, block: PreparedRows, rows: HeadRows, moves: Tensor | None) -> None:
        """Add a block of rows whose inputs move."""
        solved = self.problems.solved
        shift = solved.by_problem(rows.inputs.scores(self.flat), len(self.at))
        if moves is None:
            self.add_shifted(block, rows, shift)
            return
        moves, n_moving = moves.transpose(0, 1), moves.shape[2]
        shift[:, :, :n_moving] += (self.weights @ moves).transpose(0, 1)
        pulls = self.add_shifted(block, rows, shift)[:, :, :n_moving]
        pulls += rows.residual[:, None, :n_moving]
        self._leave_out(pulls, block)
        self.total[:, :, self.columns] += pulls.transpose(0, 1) @ moves.mT

    def add_shifted(self, block: PreparedRows, rows: HeadRows, shift: Tensor) -> Tensor:
        """Add a block of rows whose scores move; return the change of residuals."""
        head = self.problems.solved.head
        pulls = head.residual_change(rows.probabilities, rows.codes, shift)
        return self.add_pulls(block, rows, pulls)

    def add_pulls(self, block: PreparedRows, rows: HeadRows, pulls: Tensor) -> Tensor:
        """Add a block of rows whose residuals change; return that, weighted."""
        pulls = pulls * rows.weights
        self._leave_out(pulls, block)
        pulled = rows.inputs.pull_back(pulls.flatten(0, 1))
        self.total += unflatten(pulled, 0, pulls.shape[:2]).transpose(0, 1)
        return pulls

    def gradient(self) -> Tensor:
        """Return the sum, with the penalty and without the rows that are missing."""
        gradient = self.total.to(self.change.dtype)
        gradient += self.problems.solved.penalty * self.change
        if self.problems.gap is not None:
            gradient -= self.problems.gap.gradient[self.at]
        return gradient

    def _leave_out(self, columns: Tensor, block: PreparedRows) -> None:
        """Put 0 in the columns of rows that are missing, in place."""
        if self.problems.gap is None:
            return
        start, stop = (
            bisect_left(self.bounds, end) for end in (block.rows.start, block.rows.stop)
        )
        if start == stop:
            return
        problems, rows = self.gone[start:stop], self.rows[start:stop]
        for first in range(0, columns.shape[2], len(block.data)):  # of every copy
            columns[:, problems, rows + (first - block.rows.start)] = 0


def _better(problem: HeadsProblem, moved: Tensor, start: Tensor) -> Tensor:
    """Return the parameters with the lower objective; steps can have gone astray."""
    there, here = (
        problem.objective(problem.scores(parameters), parameters).sum()
        for parameters in (moved, start)
    )
    return moved if there <= here else start
