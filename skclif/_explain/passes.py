"""Passes over training rows, of which some can be asked for at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from .._inputs.tensors import numbers_of
from ..numerics.first_order import Adjoint
from ..numerics.targets import Question
from .solved import Solved


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over training rows, of which some can be asked for at a time.

    Attributes
    ----------
    solved : Solved
    method : {"newton", "leverage", "first_order"}
    questions : list of numerics.targets.Question
    answers : slice
        The position of their answers among all.
    paths : bool
        Whether the paths are wanted by themselves.
    """

    solved: Solved
    method: str
    questions: Sequence[Question]
    answers: slice
    paths: bool

    def rows(self, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the influence of some rows, a block of them at a time."""
        at = np.arange(rows.start, rows.stop)
        if self.method == "first_order":
            positions = torch.from_numpy(at).to(self.solved.device)
            found = self.solved.first_order(self._adjoint, positions, paths=self.paths)
            parts = ((block, numbers_of(part)) for block, part in found)
        else:
            blocks = self.solved.blocks(
                self.method, self.questions, paths=self.paths, rows=at
            )
            parts = ((block, part) for _, block, part in blocks)
        for block, part in parts:
            yield slice(rows.start + block.start, rows.start + block.stop), part

    @cached_property
    def _adjoint(self) -> Adjoint:
        (adjoint,) = self.solved.adjoints(self.questions)
        return adjoint


def passes_of(
    solved: Solved, method: str, questions: Sequence[Question], *, paths: bool
) -> list[Pass]:
    """Return the passes over training rows that a method makes, in order.

    First order makes one for each block of answers, and other methods one for all.
    """
    groups = [list(questions)]
    if method == "first_order" and questions[0].combine is None:
        groups = [[question] for question in questions]
    passes: list[Pass] = []
    for group in groups:
        start = passes[-1].answers.stop if passes else 0
        n_answers = [question.n_answers for question in group]
        is_sum = group[0].combine is not None  # of all questions together
        stop = start + (n_answers[0] if is_sum else sum(n_answers))
        answers = slice(start, stop)
        passes.append(Pass(solved, method, group, answers, paths=paths))
    return passes
