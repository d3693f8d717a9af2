"""Gradients of problems of removals, in passes over all rows that they share."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from .hessians import label_gradient_jacobian
from .prepared import HeadRows, PreparedRows, unflatten
from .problems import Problems, Stages

# A later step of a concept head of this size, relative to its change, is too large for
# the label head to follow it to first order.
_FAR = 0.04


class Follow:
    """How the label head's gradient follows the concept heads, to first order.

    Without a row, it does not follow that row: the cross term of `Factors` is that of
    all rows.
    """

    def __init__(self, stages: Stages, own: PreparedRows):
        bottleneck, self.cross = stages.bottleneck, stages.cross
        seen, label = own.label_rows, bottleneck.label
        if not stages.concepts:
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

    def pull(self, case: Problems, concept: int, change: Tensor) -> Tensor:
        """Return how a concept's change moves the gradients of the label head."""
        pulled = change.flatten(1) @ self.cross[concept].T
        if case.gap is not None:
            own = change @ self.inputs[concept][:, :, None]
            pulled = pulled - (self.jacobians[concept] @ own).squeeze(2)
        return pulled.reshape(case.change.shape)

    def go_on(
        self,
        case: Problems,
        concepts: Sequence[Problems],
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


class Pass:
    """One pass over all rows for gradients of problems, at their changes.

    Eq. (19) of docs/mathematics.rst.

    Parameters
    ----------
    stages : Stages
    concepts : sequence of Problems
        Of all concept heads, which say how activations move.
    waiting : sequence of Problems
        Those whose gradients are asked for, of concept heads and of the label head.
    """

    def __init__(
        self,
        stages: Stages,
        concepts: Sequence[Problems],
        waiting: Sequence[Problems],
    ):
        self.stages = stages
        self.requests = [
            Request(problems, stages.columns(problems)) for problems in waiting
        ]
        by_problems = {id(one.problems): one for one in self.requests}
        self.of_concepts = [by_problems.get(id(problems)) for problems in concepts]
        self.of_label = [
            one for one in self.requests if one.problems.solved is stages.label
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
        n_problems = max(len(request.at) for request in self.requests)
        for block in self.stages.passes.blocks(n_problems):
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
        solved, rows = self.stages.concepts[j], block.concept(j)
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
        self, request: "Request", moves: Sequence[Tensor | None]
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


class Request:
    """Gradients of some problems, summed up block by block."""

    def __init__(
        self, problems: Problems, columns: slice, change: Tensor | None = None
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
