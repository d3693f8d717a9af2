"""Leave-one-out retraining, the truth that influence estimates.

Every head is fitted again without the row, or without the one loss term, to a gradient
norm far below any effect of interest. The fit starts from the current parameters; the
optimum of a convex objective does not depend on the start.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .bounded import minimise
from .heads import HeadsProblem, HeadStack
from .hessians import Factors
from .products import affine, dense_rows
from .removal import Answers, Removals, refuse_undefined
from .solvers import FactoredHessians
from .sparse import Features
from .targets import Question

_GRADIENT = 1e-9
_MAX_ITER = 200
# Number of removals whose heads are fitted together, to share products.
_BLOCK_ROWS = 10


def retraining(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    questions: Sequence[Question],
    removed: Tensor | None = None,
    *,
    paths: bool = True,
    block_rows: int = _BLOCK_ROWS,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the effect of every loss term's presence, by fitting without it.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
        Their penalties are used, and they precondition the fits.
    questions : sequence of Question
    removed : Tensor of shape (n_removed,), int64, default=None
        Positions of the training rows to remove, one at a time. None is all rows.
    paths : bool
        Whether to remove every loss term by itself too.
    block_rows : int
        Number of rows whose removals are solved together.

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
    RuntimeError
        If a fit does not reach its optimum.
    """
    if removed is None:
        removed = torch.arange(len(data.features), device=data.features.device)
    answers = Answers(bottleneck, questions)
    refit = _Refit(bottleneck, data, factors)
    for block in row_blocks(len(removed), block_rows):
        removals = refit.without(removed[block], paths=paths)
        influence, _ = answers.influence(removals, data.rows(removed[block]))
        refuse_undefined(influence, removed[block])
        yield block, influence


class _Refit:
    """Both stages, fitted again without some of their rows."""

    def __init__(self, bottleneck: Bottleneck, data: TrainingData, factors: Factors):
        self.bottleneck, self.data, self.factors = bottleneck, data, factors
        self.of_concepts = FactoredHessians(factors.concepts)
        self.of_label = FactoredHessians([factors.label])
        self.rows = bottleneck.label_rows(data)
        # The base is fitted to the same gradient norm as what is compared with it.
        self.base = self._fit_label(self.rows.activations, self.rows.weights)
        self.unmoved = self._fit_concepts(data.concept_weights, 1)

    def without(self, removed: Tensor, *, paths: bool) -> Removals:
        """Return how parameters change without each of the rows."""
        stack, n = self.bottleneck.concepts, len(removed)
        weights = self.data.concept_weights.repeat(1, n)
        for i, row in enumerate(removed):
            weights[row, i * len(stack) : (i + 1) * len(stack)] = 0
        moved = self._fit_concepts(weights, n)
        labels = [self._labels(row, moved[i], paths) for i, row in enumerate(removed)]
        terms = [torch.stack(case) for case in zip(*labels, strict=True)]
        changes = [
            torch.stack([heads[j] for heads in moved]) - self.unmoved[0][j]
            for j in range(len(stack))
        ]
        return Removals(changes, terms.pop(), terms)

    def _labels(self, row: Tensor, heads: list[Tensor], paths: bool) -> list[Tensor]:
        """Return the changes of the label head for each removal, the whole row last."""
        rows, stack = self.rows, self.bottleneck.concepts
        removed = rows.weights.clone()
        removed[rows.positions(row[None])] = 0
        if not stack:  # the inputs are the features, which do not move
            change = self._fit_label(rows.activations, removed) - self.base
            return [change] * (1 + paths)
        before = dense_rows(rows.activations)
        everything, cases = before.clone(), []
        if paths:
            cases.append((before, removed))
        for j, parameters in enumerate(heads):
            columns = stack.activations[j]
            moved = stack.heads[j].activations(affine(self.data.features, parameters))
            shown = torch.where(
                rows.moving[:, j, None], rows.repeated(moved), before[:, columns]
            )
            everything[:, columns] = shown
            if paths:
                alone = before.clone()
                alone[:, columns] = shown
                cases.append((alone, rows.weights))
        cases.append((everything, removed))
        return [self._label_change(*case) for case in cases]

    def _label_change(self, activations: Tensor, weights: Tensor) -> Tensor:
        same = weights is self.rows.weights
        if same and torch.equal(activations, dense_rows(self.rows.activations)):
            return torch.zeros_like(self.base)
        return self._fit_label(activations, weights) - self.base

    def _fit_concepts(self, weights: Tensor, n: int) -> list[list[Tensor]]:
        """Fit all concept heads n times together, with n sets of weights."""
        stack, data = self.bottleneck.concepts, self.data
        if not stack:
            return [[] for _ in range(n)]
        problem = HeadsProblem(
            HeadStack(stack.heads * n),
            data.features,
            data.concepts.repeat(1, n),
            weights,
            self.factors.concept_penalties.repeat(n),
        )
        start = self.bottleneck.concept_parameters.repeat(n, 1)
        fitted = _fit(problem, start, self.of_concepts)
        parts = fitted.reshape(n, stack.n_scores, -1)
        return [[part[columns] for columns in stack.scores] for part in parts]

    def _fit_label(self, activations: Features, weights: Tensor) -> Tensor:
        problem = HeadsProblem(
            HeadStack([self.bottleneck.label]),
            activations,
            self.rows.labels[:, None],
            weights[:, None],
            weights.new_full((1,), self.factors.penalty),
        )
        return _fit(problem, self.bottleneck.label_parameters, self.of_label)


def _fit(
    problem: HeadsProblem, start: Tensor, preconditioner: FactoredHessians
) -> Tensor:
    parameters, fit = minimise(
        problem,
        start,
        tol=_GRADIENT,
        max_iter=_MAX_ITER,
        preconditioner=preconditioner,
    )
    if not fit.converged.all():
        raise RuntimeError(
            f"Retraining stopped at a gradient of {float(fit.gradient_norm.max()):.2g} "
            f"after {fit.n_iter} steps, so there is no truth to compare with; lower C "
            "and concept_C, or rescale the features."
        )
    return parameters
