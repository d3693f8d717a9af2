"""The removal of loss terms from a model whose stages were trained together.

Every removal is a problem of its own, near the one that is solved. Newton steps follow
its exact gradient with the Hessian of the solved model, less what the removed terms
curve, by conjugate gradients for many removals at once. Where steps do not shrink the
gradient, L-BFGS goes on. Retraining is L-BFGS alone, from the same start: the objective
has several minima, and what a removal does is defined at the nearest. See Eqs. (87) and
(88) of docs/mathematics.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .joint import JointProblem, Pair, Removal, add, inner, minimise_jointly
from .joint_hessian import JointHessian
from .removal import Answers, Removals
from .targets import Question

# Relative gradient, in the norm of the preconditioner: when to stop, when to warn.
_TOL, _UNFINISHED = 5e-4, 0.1
# What conjugate gradients leave of a step, and how much a step has to gain.
_LEFT, _GAIN = 1e-2, 0.9
_MAX_STEPS = 8
# Size of a gradient that is rounding, relative to the root of the objective.
_NOTHING = 1e-10
# Of L-BFGS.
_GRADIENT, _MAX_ITER = 1e-9, 2000


def joint_newton(
    hessian: JointHessian,
    questions: Sequence[Question],
    removed: Tensor | None = None,
    *,
    paths: bool = True,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the effect of every loss term's presence, a block of rows at a time.

    Parameters
    ----------
    hessian : JointHessian
    questions : sequence of Question
    removed : Tensor of shape (n_removed,), int64, default=None
        Positions of the training rows to remove, one at a time. None is all rows.
    paths : bool
        Whether to remove every loss term by itself too.

    Yields
    ------
    block : slice
        A slice of `removed`.
    influence : Tensor of shape (n_answers, n_block, 2 + n_concepts) or (…, 1)
        As of `newton`.

    Warns
    -----
    InfluenceWarning
        After the last block, if some removals did not come near an optimum.
    """
    yield from _removals(_Newton(hessian), questions, removed, paths)


def joint_retraining(
    hessian: JointHessian,
    questions: Sequence[Question],
    removed: Tensor | None = None,
    *,
    paths: bool = True,
) -> Iterator[tuple[slice, Tensor]]:
    """Yield what `joint_newton` does, by training again from the same start.

    Raises
    ------
    RuntimeError
        If a fit does not reach a stationary point.
    """
    yield from _removals(_Retraining(hessian), questions, removed, paths)


def _removals(
    refit: _Newton | _Retraining,
    questions: Sequence[Question],
    removed: Tensor | None,
    paths: bool,
) -> Iterator[tuple[slice, Tensor]]:
    bottleneck, data = refit.problem.bottleneck, refit.problem.data
    if removed is None:
        removed = torch.arange(len(data), device=data.label_weights.device)
    answers, cases = Answers(bottleneck, questions), _cases(data, paths)
    n_block = answers.rows_at_once(max(1, refit.at_once // len(cases)), paths=paths)
    worst = []
    for block in row_blocks(len(removed), n_block):
        rows, parts = removed[block], []
        removal = Removal(
            rows.repeat(len(cases)), cases.repeat_interleave(len(rows), dim=0)
        )
        change, error = refit.solve(removal)
        worst.append(error.reshape(len(cases), -1).amax(dim=0))
        for k, case in enumerate(cases):
            own = slice(k * len(rows), (k + 1) * len(rows))
            one = change[0][own], change[1][own]
            parts += _effects(answers, bottleneck, one, data.rows(rows), case, paths)
        parts.append(parts.pop() - sum(parts))
        yield block, torch.cat(parts, dim=2)
    _warn_of_unfinished(torch.cat(worst), removed)


def _cases(data: TrainingData, paths: bool) -> Tensor:
    """Return which terms are removed together: each alone, and all of them."""
    n_terms = 1 + data.concept_weights.shape[1]
    whole = torch.ones(1, n_terms, dtype=torch.bool)
    cases = torch.cat([torch.eye(n_terms, dtype=torch.bool), whole]) if paths else whole
    return cases.to(data.label_weights.device)


def _effects(
    answers: Answers,
    bottleneck: Bottleneck,
    change: Pair,
    rows: TrainingData,
    case: Tensor,
    paths: bool,
) -> list[Tensor]:
    """Return the effects of one case, (n_answers, n_rows, 1); of the label, maybe two.

    With a residual, the second is what its weights add to the label's path.
    """
    weights = torch.cat([rows.label_weights[:, None], rows.concept_weights], dim=1)
    present = (weights[:, case] > 0).any(dim=1)[:, None]
    stack = bottleneck.concepts
    concepts = [change[0][:, columns] for columns in stack.scores]

    def effect(label: Tensor) -> Tensor:
        found, _ = answers.influence(Removals(concepts, label), rows)
        return torch.where(present, found, 0.0)

    whole = effect(change[1])
    is_label = paths and bool(case[0]) and not bool(case[1:].any())
    if bottleneck.residual_scale is None or not is_label:
        return [whole]
    kept = change[1].clone()
    kept[:, :, bottleneck.residual_inputs] = 0
    first = effect(kept)
    return [first, whole - first]


def _warn_of_unfinished(errors: Tensor, removed: Tensor) -> None:
    unfinished = errors > _UNFINISHED
    if unfinished.any():
        most, row = errors.max(dim=0)
        warn_user(
            f"The removal of {int(unfinished.sum())} of {len(removed)} training rows "
            f"did not converge (the gradient without row {int(removed[row])} is left "
            f"at {float(most):.2g} of its size): their influence can be far off. Raise "
            "concept_weight, or lower C and concept_C.",
            InfluenceWarning,
        )


class _Newton:
    """Both stages solved again without some terms, by Newton steps."""

    def __init__(self, hessian: JointHessian):
        self.hessian, self.problem = hessian, hessian.problem
        # What an early stop left counts as 0: removals are compared with this point.
        value, self.left = self.problem.gradient(hessian.point)
        self.nothing = _NOTHING * float(value.abs()) ** 0.5
        self.at_once = hessian.at_once

    def solve(self, removal: Removal) -> tuple[Pair, Tensor]:
        """Return changes of all parameters, and what is left of every gradient."""
        m, (concepts, label) = len(removal.rows), self.hessian.point
        change = concepts.repeat(m, 1, 1) * 0, label.repeat(m, 1, 1) * 0
        gradient = self._gradient(change, removal)
        size = self._sizes(gradient)
        # Terms without weight, and those of constants, pull at nothing.
        first, pulls = size.clone(), size > self.nothing
        active = pulls.clone()
        for _ in range(_MAX_STEPS):
            if not active.any():
                break
            some = Removal(removal.rows[active], removal.terms[active])
            pulled = gradient[0][active], gradient[1][active]
            step, _ = self.hessian.conjugate_gradients(pulled, some, tol=_LEFT)
            trial = add((change[0][active], change[1][active]), step, -1)
            turned = self._gradient(trial, some)
            smaller = self._sizes(turned)
            taken = smaller < _GAIN * size[active]
            at = active.nonzero()[:, 0]
            for whole, part in zip(
                (*change, *gradient), (*trial, *turned), strict=True
            ):
                whole[at[taken]] = part[taken]
            size[at[taken]] = smaller[taken]
            active[at] = taken & (smaller > _TOL * first[at])
        left = torch.where(pulls, size / first, 0.0)
        for i in (left > _TOL).nonzero()[:, 0].tolist():
            left[i] = self._descend(removal, i, change) / first[i]
        return change, left

    def _descend(self, removal: Removal, i: int, change: Pair) -> Tensor:
        """Solve one removal by L-BFGS, in place; return the size of its gradient."""
        problem = self.problem.without(int(removal.rows[i]), removal.terms[i])
        start = add(self.hessian.point, (change[0][i], change[1][i]), 1)
        first = problem.norms(problem.gradient(self.hessian.point)[1]).max()
        found, _ = minimise_jointly(
            problem,
            start,
            self.hessian.precondition,
            tol=_TOL / 10 * float(first),
            max_iter=_MAX_ITER,
        )
        moved = add(found, self.hessian.point, -1)
        change[0][i], change[1][i] = moved[0][0], moved[1][0]
        return self._sizes(problem.gradient(found)[1])[0]

    def _gradient(self, change: Pair, removal: Removal) -> Pair:
        point = add(change, self.hessian.point, 1)
        _, gradient = self.problem.gradient(point, removal)
        return add(gradient, self.left, -1)

    def _sizes(self, gradient: Pair) -> Tensor:
        """Return the size of gradients in the norm of the preconditioner, (m,)."""
        return inner(gradient, self.hessian.precondition(gradient)).sqrt()


class _Retraining:
    """Both stages trained again without some terms, from the same start."""

    def __init__(self, hessian: JointHessian):
        self.hessian, self.problem = hessian, hessian.problem
        # The base is trained to the same gradient as what is compared with it.
        self.base = self._fit(self.problem, hessian.point)
        self.at_once = 1

    def solve(self, removal: Removal) -> tuple[Pair, Tensor]:
        """Return changes of all parameters, and that nothing is left."""
        changes = [
            add(
                self._fit(self.problem.without(int(row), terms), self.base),
                self.base,
                -1,
            )
            for row, terms in zip(removal.rows, removal.terms, strict=True)
        ]
        concepts, label = zip(*changes, strict=True)
        change = torch.cat(concepts), torch.cat(label)
        return change, self.problem.data.label_weights.new_zeros(len(removal.rows))

    def _fit(self, problem: JointProblem, start: Pair) -> Pair:
        point, fit = minimise_jointly(
            problem, start, self.hessian.precondition, tol=_GRADIENT, max_iter=_MAX_ITER
        )
        if not fit.converged.all():
            raise RuntimeError(
                "Retraining stopped at a gradient of "
                f"{float(fit.gradient_norm.max()):.2g} after {fit.n_iter} steps, so "
                "there is no truth to compare with; raise concept_weight, or lower C "
                "and concept_C."
            )
        return point
