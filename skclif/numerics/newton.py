"""The removal of loss terms, followed to the new optimum of every head.

Every head without a row is its own convex problem, near a problem that is solved. Its
first step is that of `leverage`: the row's curvature is taken out of the Hessian. More
steps follow the exact gradient over all rows, until they are small. No Hessian is built
again. Differences of gradients along the steps tell how it changes (the secant pairs of
BFGS), and correct the next step. The label head sees the activations that the moved
concept heads give. See Eqs. (19) to (21) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .bounded import minimise
from .estimates import estimate
from .gradients import Follow, Pass
from .heads import HeadsProblem, HeadStack
from .hessians import Factors
from .prepared import PreparedRows, unflatten
from .problems import MAX_STEPS, Gap, Problems, RowGap, SolvedHead, Stages
from .products import dense_rows
from .removal import Answers, Removals, refuse_undefined
from .targets import Question

# How many removals are solved together: most numbers in their parameters, gradients and
# steps, of which each problem has so many arrays; and bounds.
_MOST_VALUES, _ARRAYS = 2**23, 8
_LEAST, _MOST = 16, 128
# An error, relative to the change and in the Hessian's norm, that is warned of.
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
            f"had not converged after {MAX_STEPS} Newton steps (the error of row "
            f"{int(removed[row])} is {float(most):.2g} of the change): their influence "
            "can be far off. Lower C and concept_C, or retrain without these rows.",
            InfluenceWarning,
        )


# Positions of the rows that each problem lacks: of one row, or of a set of rows.
Removed: TypeAlias = Tensor | Sequence[Tensor]


class Refit(Stages):
    """Both stages, solved again without some of their rows."""

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
        own = self.passes.exactly(self.data.rows(removed))
        concepts = [
            Problems(head, len(removed), RowGap(head, own.concept(j), removed))
            for j, head in enumerate(self.concepts)
        ]
        gap = RowGap(self.label, own.label, removed)
        cases = self._cases(len(removed), gap, paths=paths)
        heads = [self.label, *self.concepts]
        if any(one.head.is_bounded for one in heads) or any(
            head.jumps for head in self.concepts
        ):
            self._solve_in_turn(concepts, cases)
        else:
            self._solve_together(concepts, cases, removed, own)
        return self._found(concepts, cases)

    def without_sets(
        self, sets: Sequence[Tensor], *, paths: bool
    ) -> tuple[Removals, Tensor]:
        """Return the same without sets of rows, each removed as a whole."""
        gaps = self._set_gaps(sets)
        concepts = [
            Problems(head, len(sets), gap, patient=True)
            for head, gap in zip(self.concepts, gaps, strict=False)
        ]
        cases = self._cases(len(sets), gaps[-1], paths=paths, patient=True)
        self._solve_in_turn(concepts, cases)
        return self._found(concepts, cases)

    def _cases(
        self,
        n: int,
        gap: Gap,
        *,
        paths: bool,
        patient: bool = False,
    ) -> list[Problems]:
        """Return the label's problems: of every path, and of the whole row, last."""
        every = range(len(self.concepts))
        moved: list[tuple[Gap | None, Sequence[int]]] = []
        if paths:
            moved = [(gap, []), *((None, [j]) for j in every)]
        moved.append((gap, every))
        return [
            Problems(self.label, n, gone, concepts, patient=patient)
            for gone, concepts in moved
        ]

    def _set_gaps(self, sets: Sequence[Tensor]) -> list[Gap]:
        """Return the gaps of every concept head, and of the label head, last."""
        heads = [*self.concepts, self.label]
        sizes = torch.tensor([len(members) for members in sets])
        problems = torch.arange(len(sets)).repeat_interleave(sizes)
        problems, rows_gone = problems.to(sets[0].device), torch.cat(list(sets))
        gaps = [
            Gap(
                head.parameters.new_zeros(len(sets), *head.parameters.shape),
                problems,
                rows_gone,
            )
            for head in heads
        ]
        for i, members in enumerate(sets):
            for block in row_blocks(len(members)):
                own = self.passes.exactly(self.data.rows(members[block]))
                heads_rows = [own.concept(j) for j in range(len(self.concepts))]
                for gap, rows in zip(gaps, [*heads_rows, own.label], strict=True):
                    gap.gradient[i] += rows.inputs.pull_back(rows.residual)
        return gaps

    def _solve_in_turn(self, concepts: list[Problems], cases: list[Problems]) -> None:
        """Solve the concept heads, and then the label head, to the end."""
        for problems in concepts:
            problems.start(problems.gap_gradient())
        self._run(concepts, [])
        self._again(concepts, concepts)
        for case in cases:
            case.at = torch.arange(len(case.change), device=case.change.device)
        moved = [case for case in cases if case.moved]
        gradients = Pass(self, concepts, moved).gradients() if moved else []
        for case, gradient in zip(moved, gradients, strict=True):
            case.start(gradient)
        for case in cases:
            if not case.moved:
                case.start(case.gap_gradient())
        self._run(concepts, cases)
        self._again(concepts, cases)

    def _solve_together(
        self,
        concepts: list[Problems],
        cases: list[Problems],
        removed: Tensor,
        own: PreparedRows,
    ) -> None:
        """Solve both stages in the same passes.

        The label head follows the last steps of the concept heads to first order.
        """
        follow = Follow(self, own)
        estimate(self, removed, concepts, cases, follow)
        for problems in concepts:
            problems.start(problems.gap_gradient())
        for case in cases:
            gradient = case.gap_gradient()
            for j in case.moved:
                gradient += follow.pull(case, j, concepts[j].change)
            case.start(gradient)
        self._run(concepts, cases, follow)
        self._again(concepts, cases)

    def _run(
        self,
        concepts: list[Problems],
        cases: list[Problems],
        follow: Follow | None = None,
    ) -> None:
        """Pass over the rows until no problem asks for a gradient."""
        while waiting := [one for one in [*concepts, *cases] if one.at is not None]:
            gradients = Pass(self, concepts, waiting).gradients()
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

    def _again(self, concepts: list[Problems], chosen: list[Problems]) -> None:
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

    def _is_bound_anew(self, concepts: list[Problems], problems: Problems) -> Tensor:
        """Return the problems in which other bounds hold than at the start.

        Steps move no parameter that is at a bound. Where one would leave it, or another
        is beyond its bound, the step is not to the optimum.
        """
        solved, change = problems.solved, problems.change
        cone = solved.head.cone(change.shape[2], solved.exact)
        assert cone is not None
        parameters = (solved.exact + change.double()).flatten(1)
        problems.at = torch.arange(len(change), device=change.device)
        (gradient,) = Pass(self, concepts, [problems]).gradients()
        problems.at = None
        multipliers = gradient + self._gradient_at_start(solved)
        multipliers = multipliers.double().flatten(1) @ cone.basis
        released = (multipliers < -_AT_BOUND) & cone.active(solved.exact)
        return released.any(dim=1) | (cone.violation(parameters) > _AT_BOUND)

    def _gradient_at_start(self, solved: SolvedHead) -> Tensor:
        """Return a gradient at the optimum: 0, except where bounds hold."""
        gradient = solved.penalty * solved.parameters
        for block in self.passes.blocks(1):
            rows = block.label
            if solved is not self.label:
                rows = block.concept(self.concepts.index(solved))
            gradient += rows.inputs.pull_back(rows.residual)
        return gradient

    def _solve_again(
        self, concepts: list[Problems], problems: Problems, chosen: Tensor
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
        self, concepts: list[Problems], problems: Problems, i: int
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

    def _moves_of(self, concepts: list[Problems], j: int, i: int) -> Tensor:
        """Return how one removal moves activations of all copies."""
        change, parts = concepts[j].change[i], []
        n_copies = len(self.bottleneck.copies)
        for block in self.passes.blocks(1):
            rows, n = block.concept(j), len(block.data)
            shift = rows.inputs.scores(change)[:, None]
            moved = self.concepts[j].head.activation_change(rows.probabilities, shift)
            moves = block.moves(j, moved)[:, 0]
            moves = torch.nn.functional.pad(moves, (0, n_copies * n - moves.shape[1]))
            parts.append(unflatten(moves, 1, (n_copies, n)))
        return torch.cat(parts, dim=2).flatten(1)

    def _found(
        self, concepts: list[Problems], cases: list[Problems]
    ) -> tuple[Removals, Tensor]:
        terms = [case.change.double() for case in cases]
        changes = [problems.change.double() for problems in concepts]
        errors = torch.stack([one.error for one in [*concepts, *cases]])
        return Removals(changes, terms.pop(), terms), errors.amax(dim=0)


def _better(problem: HeadsProblem, moved: Tensor, start: Tensor) -> Tensor:
    """Return the parameters with the lower objective; steps can have gone astray."""
    there, here = (
        problem.objective(problem.scores(parameters), parameters).sum()
        for parameters in (moved, start)
    )
    return moved if there <= here else start
