"""Changes of removals, estimated from a few of many rows.

What the removal of a row does to first order is known without a pass. What is beyond is
of second order in how far scores move, and rows near the removed one move most. So near
rows are looked at, and a sample of all others stands for the rest. Parts of the sample
tell how far the estimate can be off. See Eqs. (89) and (90) of docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .blocks import row_blocks
from .descent import dot
from .gradients import Follow
from .prepared import BLOCK_ROWS, HeadRows, PreparedRows, head_inputs, unflatten
from .problems import Problems, Stages

# Fewer rows are looked at all. Of more, one in so many is in the sample, and about as
# many are near rows.
LEAST_ROWS, _SAMPLED = 2**15, 16
# Parts of the sample.
_PARTS = 4
# Matrices with more entries are multiplied as such.
_FEW_ENTRIES = 64
# A step of this size, relative to the change, is too large for an estimate.
_TOO_FAR = 0.3


def estimate(
    stages: Stages,
    removed: Tensor,
    concepts: Sequence[Problems],
    cases: Sequence[Problems],
    follow: Follow,
) -> None:
    """Tell problems the changes that a few of the rows give, and their errors.

    Of few rows there is nothing to tell.

    Parameters
    ----------
    stages : Stages
    removed : Tensor of shape (n_problems,), int64
        The row that each problem lacks.
    concepts, cases : sequence of Problems
        Of concept heads, and of the label head.
    follow : Follow
    """
    if len(stages.data) < LEAST_ROWS:
        return
    heads = [_Estimate(each, each.gap_gradient()) for each in concepts]
    labels = [_Estimate(case, _first(follow, case, heads)) for case in cases]
    few = _few_rows(stages, removed, heads or labels)
    beyond = _Beyond(stages, heads, labels)
    for block in few:
        beyond.add(block)
    for one, parts in zip(heads, beyond.heads, strict=True):
        one.step(one.first, parts)
    for one, parts in zip(labels, beyond.labels, strict=True):
        one.step(_first(follow, one.problems, heads), parts)
    for one in [*heads, *labels]:
        one.problems.know(one.change, one.error)


def _first(follow: Follow, case: Problems, heads: "Sequence[_Estimate]") -> Tensor:
    """Return the gradients of a case, which follows the heads to first order."""
    gradient = case.gap_gradient()
    for j in case.moved:
        gradient = gradient + follow.pull(case, j, heads[j].change)
    return gradient


class _Estimate:
    """The changes of problems, as far as known.

    Attributes
    ----------
    first : Tensor of shape (n, n_scores, n_inputs)
        Gradients to first order, without the steps of the problems themselves.
    change : Tensor, shaped like first
    error : Tensor of shape (n,)
        Relative to the change, in the Hessian's norm.
    """

    def __init__(self, problems: Problems, first: Tensor):
        self.problems, self.first = problems, first
        self.change = problems.first_step(first)
        self.error = torch.full_like(self.change[:, 0, 0], torch.inf)

    def step(self, first: Tensor, parts: Tensor) -> None:
        """Take a step, for gradients to first order and the rest of them, in parts.

        The first part is exact. The others are of a sample, and tell its error.
        """
        gradient = first - self.first + parts.sum(dim=0)
        step = self._precondition(gradient)
        self.first, start = first, self.change
        self.change = start - step
        size = self._size(step, gradient)
        apart = parts[1:] - parts[1:].mean(dim=0)
        squares = [self._size(self._precondition(part), part) ** 2 for part in apart]
        noise = torch.stack(squares).sum(dim=0) * len(apart) / (len(apart) - 1)
        self.error = (size**4 + (1 - 1 / _SAMPLED) * noise).sqrt()
        is_far = ~(size <= _TOO_FAR)
        self.error[is_far] = torch.inf
        self.change = torch.where(is_far[:, None, None], start, self.change)

    def _precondition(self, gradient: Tensor) -> Tensor:
        every = torch.arange(len(gradient), device=gradient.device)
        return self.problems.precondition(gradient, every)

    def _size(self, step: Tensor, gradient: Tensor) -> Tensor:
        """Return the size of steps, relative to the change, in the Hessian's norm."""
        way = torch.maximum(dot(self.change, self.first).abs(), self.problems.extent)
        size = (dot(step, gradient).abs() / way).sqrt()
        return torch.where(way > 0, size, 0.0)


@dataclass(frozen=True, eq=False)
class _Block:
    """Some rows, in the part of the rows that they belong to.

    Attributes
    ----------
    rows : PreparedRows
        With weights that stand for all rows.
    part : int
        0 is that of near rows.
    problems, at : Tensor of shape (n_gone,), int64
        Problems that lack a row, and which.
    """

    rows: PreparedRows
    part: int
    problems: Tensor
    at: Tensor

    def leave_out(self, columns: Tensor) -> Tensor:
        """Put 0 in columns (…, n_problems, n) of rows that are missing, in place."""
        for first in range(0, columns.shape[2], len(self.rows.data)):  # of every copy
            columns[:, self.problems, self.at + first] = 0
        return columns


def _few_rows(
    stages: Stages, removed: Tensor, heads: Sequence[_Estimate]
) -> list[_Block]:
    """Return near rows, and a sample of the others that stands for all of them."""
    n, start = len(stages.data), _SAMPLED // 2
    near = _near_rows(stages, heads, max(1, n // _SAMPLED // len(removed)))
    is_other = torch.ones(n, dtype=torch.bool, device=removed.device)
    is_other[near] = False
    sample = torch.arange(start, n, _SAMPLED, device=removed.device)
    sample = sample[is_other[sample]]
    weight = (n - len(near)) / len(sample)
    blocks = []
    for part in range(1 + _PARTS):
        members = sample[part - 1 :: _PARTS] if part else near
        for rows in row_blocks(len(members), BLOCK_ROWS):
            at = members[rows]
            data = stages.passes.data.rows(at)
            if part:
                data = replace(
                    data,
                    label_weights=weight * data.label_weights,
                    concept_weights=weight * data.concept_weights,
                )
            gone = (removed[:, None] == at).nonzero(as_tuple=True)
            blocks.append(_Block(stages.passes.block(data), part, *gone))
    return blocks


def _near_rows(stages: Stages, heads: Sequence[_Estimate], n_near: int) -> Tensor:
    """Return the rows whose scores move most, of every problem so many, in order.

    Scores of all heads move nearly along one direction of the inputs: that in which
    the changes of their parameters are largest.
    """
    changes = torch.cat([one.change for one in heads], dim=1)  # (n, n_scores, n_inputs)
    among = torch.linalg.eigh((changes @ changes.mT).double()).eigenvectors[:, :, -1:]
    directions = (changes.mT @ among.to(changes.dtype))[:, :, 0]
    found = changes.new_zeros(len(changes), 0)
    positions = torch.zeros_like(found, dtype=torch.int64)
    data = stages.data.loading(changes.dtype)
    for block in row_blocks(len(data)):
        inputs = head_inputs(data.features[block], True, changes.dtype)
        sizes = torch.cat([found, inputs.scores(directions).abs()], dim=1)
        own = torch.arange(block.start, block.stop, device=positions.device)
        every = torch.cat([positions, own.expand(len(positions), -1)], dim=1)
        found, best = sizes.topk(min(n_near, sizes.shape[1]), dim=1)
        positions = every.gather(1, best)
    rows: Tensor = torch.unique(positions)
    return rows


class _Beyond:
    """What changes of gradients are beyond first order, summed up block by block.

    Attributes
    ----------
    heads, labels : list of Tensor of shape (1 + n_parts, n, n_scores, n_inputs)
    """

    def __init__(
        self,
        stages: Stages,
        heads: Sequence[_Estimate],
        labels: Sequence[_Estimate],
    ):
        self.stages, self.changes = stages, [one.change for one in heads]
        self.flat = [_flat(change) for change in self.changes]
        self.cases = labels
        self.heads, self.labels = (
            [one.first.new_zeros(1 + _PARTS, *one.first.shape) for one in each]
            for each in (heads, labels)
        )

    def add(self, block: _Block) -> None:
        """Add a block of rows."""
        moves = [self._add_head(block, j) for j in range(len(self.flat))]
        for case, total in zip(self.cases, self.labels, strict=True):
            self._add_label(block, case, total[block.part], moves)

    def _add_head(self, block: _Block, j: int) -> tuple[Tensor, Tensor]:
        """Add to a concept head; return moves of activations, and to first order."""
        solved, rows = self.stages.concepts[j], block.rows.concept(j)
        head, total = solved.head, self.heads[j][block.part]
        shift = solved.by_problem(rows.inputs.scores(self.flat[j]), len(total))
        pulls, moved = head.changes(rows.probabilities, rows.codes, shift)
        pulls = pulls * rows.weights - _times(rows.curvature, shift)
        _pull_back(total, rows, block.leave_out(pulls))
        scores = block.rows.concept_scores[j]
        jacobian = head.activation_jacobian(scores).to(shift.dtype)
        straight = _times(jacobian, shift)
        return block.rows.moves(j, moved), block.rows.moves(j, straight)

    def _add_label(
        self,
        block: _Block,
        case: _Estimate,
        total: Tensor,
        moves: Sequence[tuple[Tensor, Tensor]],
    ) -> None:
        solved, rows, problems = self.stages.label, block.rows.label, case.problems
        shift = solved.by_problem(rows.inputs.scores(_flat(case.change)), len(total))
        straight, n_moving = shift, 0
        if problems.moved:
            columns = self.stages.columns(problems)
            moved, along = (
                torch.cat([moves[j][i] for j in problems.moved]).transpose(0, 1)
                for i in (0, 1)
            )
            n_moving = moved.shape[2]
            weights = solved.parameters[:, columns]
            straight = shift.clone()
            straight[:, :, :n_moving] += (weights @ along).transpose(0, 1)
            weights = weights + case.change[:, :, columns]
            shift[:, :, :n_moving] += (weights @ moved).transpose(0, 1)
        head = solved.head
        pulls = head.residual_change(rows.probabilities, rows.codes, shift)
        pulls = pulls * rows.weights
        pulled = _times(rows.curvature, straight)
        rest = pulls - pulled
        if problems.moved:
            problems.extent += (pulled * straight).sum(dim=(0, 2))
        residual = rows.residual[:, None, :n_moving].expand(-1, len(total), -1)
        pulls, residual = pulls[:, :, :n_moving], residual.clone()
        if problems.gap is not None:
            for each in (pulls, residual, rest):
                block.leave_out(each)
        _pull_back(total, rows, rest)
        if problems.moved:
            beyond = pulls.transpose(0, 1) @ moved.mT
            beyond += residual.transpose(0, 1) @ (moved - along).mT
            total[:, :, columns] += beyond


def _flat(change: Tensor) -> Tensor:
    """Return changes (n, n_scores, n_inputs) as (n_scores * n, n_inputs)."""
    return change.transpose(0, 1).flatten(0, 1)


def _times(matrices: Tensor, columns: Tensor) -> Tensor:
    """Multiply columns (s, n_problems, n) by a matrix of each row, (n, t, s)."""
    n_entries = matrices.shape[1] * matrices.shape[2]
    if n_entries > _FEW_ENTRIES:
        return torch.einsum("nts,spn->tpn", matrices, columns)
    # Entry by entry, because products of tiny matrices take longer.
    result = columns.new_zeros(matrices.shape[1], *columns.shape[1:])
    for total, row in zip(result, matrices.permute(1, 2, 0).contiguous(), strict=True):
        for entry, column in zip(row, columns, strict=True):
            total.addcmul_(column, entry)
    return result


def _pull_back(total: Tensor, rows: HeadRows, columns: Tensor) -> None:
    """Add sums of rows, weighted by columns (s, n_problems, n), in place."""
    pulled = rows.inputs.pull_back(columns.flatten(0, 1))
    total += unflatten(pulled, 0, columns.shape[:2]).transpose(0, 1)
