"""Few training rows whose removal changes a prediction.

The search is greedy and does not trust sums: after every removal both stages are solved
again without the rows, and the influence of all other rows is that on the new model. A
beam keeps several sets of each size, of every class that could be predicted instead,
because the first row of the best pair need not be the best row. The next larger size is
tried only where no set that was kept changes the prediction. In the end both stages are
fitted from zero without the rows: that decides, not an estimate.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import (
    Bottleneck,
    TrainingData,
    concept_problem,
    fit_label,
    solve_heads,
)
from .edits import Limits, solve_edit
from .first_order import first_order, solve_adjoint
from .hessians import Factors, factorise
from .leverage import BLOCK_ROWS, Step
from .matrix_free import MatrixFree
from .newton import Refit
from .removal import Answers, Removals
from .sets import lost_by
from .sparse import Features
from .steps import Advance, unseen
from .targets import LabelTarget, Question

# Of each label, so many rows are proposed for each that is solved: sets can be equal,
# or hold what a head needs.
_SPARE = 2


@dataclass(frozen=True)
class Without:
    """A model without some of its training rows.

    Attributes
    ----------
    rows : tuple of int
        Positions of the rows, in the order of their removal.
    bottleneck : Bottleneck
    log_proba : Tensor of shape (n_classes,)
        Of the labels of the row whose prediction is to change.
    converged : bool
        Whether every head reached its tolerance.
    """

    rows: tuple[int, ...]
    bottleneck: Bottleneck
    log_proba: Tensor
    converged: bool = True

    @property
    def predicted(self) -> int:
        """The code of the predicted label."""
        return int(self.log_proba.argmax())

    def lead(self, code: int) -> float:
        """Return by how much a label is more probable than all others (nats)."""
        others = self.log_proba.clone()
        others[code] = -torch.inf
        return float(self.log_proba[code] - others.max())


@dataclass(frozen=True)
class Flips:
    """The search for few training rows without which another label is predicted.

    Attributes
    ----------
    bottleneck : Bottleneck
        At the optimum for `data`.
    data : TrainingData
    inverse : Factors or MatrixFree
    penalty : float
    concept_penalties : Tensor of shape (n_concepts,)
    limits : Limits
        Of every solution.
    features : Tensor or SparseFeatures of shape (1, n_features)
        The row whose prediction is to change.
    method : {"newton", "leverage", "first_order"}
        How the influence of rows is computed.
    width : int
        Number of sets of each size that are solved.
    """

    bottleneck: Bottleneck
    data: TrainingData
    inverse: Factors | MatrixFree
    penalty: float
    concept_penalties: Tensor
    limits: Limits
    features: Features
    method: str
    width: int

    def search(
        self, max_size: int, advance: Advance = unseen
    ) -> tuple[bool, list[Without]]:
        """Return whether a set changes the prediction, and the models on the way.

        Parameters
        ----------
        max_size : int
            Most rows to remove.
        advance : callable
            Called after each model that was solved.

        Returns
        -------
        found : bool
        models : list of Without
            The model as it is, without the first row of the set, and so on. The last is
            fitted from zero. If no set was found, that which comes nearest.
        """
        start = Without((), self.bottleneck, self._log_proba(self.bottleneck))
        code, level, nearest = start.predicted, [start], start
        for _ in range(max_size):
            candidates, level = self._candidates(level, code), []
            for rows, parent in candidates:
                one = self._without(rows, parent, advance)
                if one.predicted != code:
                    path = self._path(self._shrunk(one, start, code, advance), start)
                    if path[-1].predicted != code:
                        return True, path
                level.append(one)
            if not level:
                break
            nearest = min(level, key=lambda one: one.lead(code))
        return False, self._path(nearest, start)

    def _path(self, last: Without, start: Without) -> list[Without]:
        """Return the models on the way to a set, the last fitted from zero."""
        path = [start]
        for size in range(1, len(last.rows)):
            path.append(self._without(last.rows[:size], path[-1]))
        return [*path, self._fit(last.rows)] if last.rows else path

    def _shrunk(
        self, found: Without, start: Without, code: int, advance: Advance
    ) -> Without:
        """Return a set without the rows that it does not need."""
        for row in reversed(found.rows[:-1]):
            rest = tuple(other for other in found.rows if other != row)
            one = self._without(rest, start, advance)
            if one.predicted != code:
                found = one
        return found

    def _candidates(
        self, level: Sequence[Without], code: int
    ) -> list[tuple[tuple[int, ...], Without]]:
        """Return the sets to solve that have one row more, each with its parent.

        The labels that could be predicted instead propose in turn.
        """
        proposals: list[tuple[int, float, int, Without]] = []
        for parent in level:
            after = self._after_removals(parent)
            lead = after[code] - after  # over each label, (n_classes, n_rows)
            lead[code] = torch.inf
            lead = lead.nan_to_num(nan=torch.inf, posinf=torch.inf)
            order = lead.argsort(dim=1, stable=True)[:, : _SPARE * self.width]
            proposals += [
                (rival, float(lead[rival, row]), int(row), parent)
                for rival, best in enumerate(order)
                for row in best.tolist()
                if lead[rival, row].isfinite()
            ]
        proposals.sort(key=lambda one: one[1])
        turns: Counter[int] = Counter()
        chosen: dict[frozenset[int], tuple[tuple[int, ...], Without]] = {}
        ranked = []
        for place, (rival, _, row, parent) in enumerate(proposals):
            ranked.append((turns[rival], place, (*parent.rows, row), parent))
            turns[rival] += 1
        for _, _, rows, parent in sorted(ranked, key=lambda one: one[:2]):
            if len(chosen) == self.width:
                break
            if frozenset(rows) not in chosen and not self._is_needed(rows):
                chosen[frozenset(rows)] = rows, parent
        return list(chosen.values())

    def _is_needed(self, rows: tuple[int, ...]) -> bool:
        """Return whether a head has no optimum without some rows."""
        return bool(lost_by(self.bottleneck, self.data, [self._tensor(rows)])[0])

    def _after_removals(self, parent: Without) -> Tensor:
        """Return estimated log p(label) without each further row, (n_classes, n)."""
        data = self._data_without(parent.rows)
        inverse = self.inverse if not parent.rows else self._inverse(parent, data)
        codes = torch.arange(len(parent.log_proba), device=data.labels.device)
        features = self.features[torch.zeros_like(codes)]
        question = Question(features, LabelTarget("log_proba", codes))
        influence = torch.zeros(len(codes), len(data), dtype=torch.float64)
        for block, part in _REMOVING[self.method](
            parent.bottleneck, data, inverse, question
        ):
            influence[:, block] = part.double().cpu()
        after = parent.log_proba.cpu()[:, None] - influence
        # A row without weight changes nothing. What is not defined is not proposed.
        weighted = (data.label_weights > 0) | (data.concept_weights > 0).any(dim=1)
        after[:, ~weighted.cpu() | ~after.isfinite().all(dim=0)] = torch.nan
        return after

    def _inverse(self, parent: Without, data: TrainingData) -> Factors | MatrixFree:
        if isinstance(self.inverse, MatrixFree):
            return MatrixFree.of(
                parent.bottleneck,
                data,
                penalty=self.penalty,
                concept_penalties=self.concept_penalties,
            )
        return factorise(
            parent.bottleneck,
            data,
            penalty=self.penalty,
            concept_penalties=self.concept_penalties,
            dtype=self.inverse.dtype,
        )

    def _without(
        self, rows: tuple[int, ...], parent: Without, advance: Advance = unseen
    ) -> Without:
        """Return the model without some rows, solved from another one."""
        edited = solve_edit(
            parent.bottleneck,
            self._data_without(parent.rows),
            self._data_without(rows),
            self.inverse if isinstance(self.inverse, Factors) else None,
            penalty=self.penalty,
            concept_penalties=self.concept_penalties,
            limits=self.limits,
        )
        advance(1)
        found = edited.bottleneck
        return Without(rows, found, self._log_proba(found), all(edited.way.converged))

    def _fit(self, rows: tuple[int, ...]) -> Without:
        """Return the model without some rows, both stages fitted from zero."""
        left = torch.ones_like(self.data.labels, dtype=torch.bool)
        left[self._tensor(rows)] = False
        data, stack = self.data.rows(left), self.bottleneck.concepts
        parameters, of_concepts = solve_heads(
            concept_problem(stack, data, self.concept_penalties),
            tol=self.limits.tol,
            max_iter=self.limits.max_iter,
        )
        unfitted = replace(self.bottleneck, concept_parameters=parameters)
        label = unfitted.label_problem(data, self.penalty)
        zero = label.only_held(self.bottleneck.label_parameters)
        fitted, of_label = fit_label(
            replace(unfitted, label_parameters=zero),
            data,
            penalty=self.penalty,
            tol=self.limits.tol,
            max_iter=self.limits.max_iter,
        )
        converged = of_concepts.converged.all() & of_label.converged.all()
        return Without(rows, fitted, self._log_proba(fitted), bool(converged))

    def _data_without(self, rows: tuple[int, ...]) -> TrainingData:
        if not rows:
            return self.data
        at = self._tensor(rows)
        return replace(
            self.data,
            label_weights=self.data.label_weights.index_fill(0, at, 0.0),
            concept_weights=self.data.concept_weights.index_fill(0, at, 0.0),
        )

    def _log_proba(self, bottleneck: Bottleneck) -> Tensor:
        scores = bottleneck.label_scores(bottleneck.activations(self.features))
        return bottleneck.label.log_probabilities(scores)[0]

    def _tensor(self, rows: Sequence[int]) -> Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.data.labels.device)


_Blocks = Iterator[tuple[slice, Tensor]]


def _by_newton(
    bottleneck: Bottleneck, data: TrainingData, factors: Factors, question: Question
) -> _Blocks:
    refit = Refit(bottleneck, data, factors)
    size = refit.at_once(1)

    def remove(at: Tensor) -> Removals:
        return refit.without(at, paths=False)[0]

    return _exactly(bottleneck, data, question, size, remove)


def _by_leverage(
    bottleneck: Bottleneck, data: TrainingData, factors: Factors, question: Question
) -> _Blocks:
    step = Step(bottleneck, data, factors)

    def remove(at: Tensor) -> Removals:
        return step.removals(data.rows(at), paths=False)[0]

    return _exactly(bottleneck, data, question, BLOCK_ROWS, remove)


def _exactly(
    bottleneck: Bottleneck,
    data: TrainingData,
    question: Question,
    size: int,
    remove: Callable[[Tensor], Removals],
) -> _Blocks:
    answers = Answers(bottleneck, [question])
    for block in row_blocks(len(data), answers.rows_at_once(size, paths=False)):
        at = torch.arange(block.start, block.stop, device=data.labels.device)
        influence, _ = answers.influence(remove(at), data.rows(block))
        yield block, influence[:, :, 0]


def _by_first_order(
    bottleneck: Bottleneck,
    data: TrainingData,
    inverse: Factors | MatrixFree,
    question: Question,
) -> _Blocks:
    derivatives = question.target.derivatives(bottleneck, question.features)
    adjoint = solve_adjoint(bottleneck, inverse, derivatives)
    for block, part in first_order(bottleneck, data, adjoint, dtype=inverse.dtype):
        yield block, part.sum(dim=2)


_REMOVING: dict[str, Callable[..., _Blocks]] = {
    "newton": _by_newton,
    "leverage": _by_leverage,
    "first_order": _by_first_order,
}
