"""Systems with the Hessian of a model whose stages were trained together.

Products with the Hessian are exact, and conjugate gradients solve with them, for many
targets at once, preconditioned by the heads' own blocks. At a minimum the Hessian is
positive definite. Elsewhere, as after a fit that stopped early, it may not be, and a
step along its inverse leads nowhere: then a multiple of the blocks is added to it, and
said. See Eqs. (85) and (86) of docs/mathematics.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import BLOCK_ROWS
from .bottleneck import Bottleneck, TrainingData
from .first_order import Adjoint, first_order
from .joint import (
    JointProblem,
    JointRows,
    Pair,
    Precondition,
    Removal,
    add,
    block_preconditioner,
    inner,
    point_of,
    weighted,
)
from .products import affine

# Relative residual of adjoints, and from where on it is said that one is not reached.
_TOL, _UNSOLVED = 1e-9, 1e-6
_MAX_STEPS = 1000
# Most numbers that directions of all targets hold at a time, and rows of a pass.
_LARGEST_ARRAY = 2**22
# Most numbers of derivatives of rows that are kept between products: 512 MiB.
_LARGEST_KEPT = 2**26
# Steps that look for the smallest eigenvalue, and the part of a block that is left to
# curve the objective at least.
_LOOKS, _LEAST = 60, 1e-3


@dataclass(frozen=True, eq=False)
class JointHessian:
    """The Hessian of the joint objective at a point, which is only multiplied with.

    It stands where `Factors` stand for stages that were trained one after the other.

    Attributes
    ----------
    problem : JointProblem
    point : Pair
    precondition : Precondition
        By the blocks of the heads.
    concept_weight : float
        Of the concepts' losses and penalties in the objective.
    damping : float
        What times the blocks is added to the Hessian; 0 if it is positive definite.
    """

    problem: JointProblem
    point: Pair
    precondition: Precondition
    concept_weight: float
    damping: float = 0.0
    dtype: torch.dtype = field(default=torch.float64, init=False)

    @classmethod
    def of(
        cls,
        bottleneck: Bottleneck,
        data: TrainingData,
        *,
        penalty: float,
        concept_penalties: Tensor,
        concept_weight: float,
    ) -> JointHessian:
        """Prepare what all solutions share, and see whether there is a minimum.

        Parameters
        ----------
        bottleneck : Bottleneck
            At a stationary point for `data`.
        data : TrainingData
            Not `weighted` yet.
        penalty : float
        concept_penalties : Tensor of shape (n_concepts,)
        concept_weight : float

        Warns
        -----
        InfluenceWarning
            If the Hessian is not positive definite.
        """
        problem = JointProblem.of(
            bottleneck,
            data,
            penalty=penalty,
            concept_penalties=concept_penalties,
            concept_weight=concept_weight,
        )
        point = point_of(bottleneck)
        blocks = block_preconditioner(problem, point)
        hessian = cls(problem, point, blocks, concept_weight)
        return hessian._damped()

    @property
    def penalty(self) -> float:
        """Penalty of the label head."""
        return self.problem.penalty

    @property
    def concept_penalties(self) -> Tensor:
        """Penalties of the concept heads, times the weight of their losses."""
        return self.problem.concept_penalties

    def solve(
        self, label: Tensor, concepts: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Solve the adjoint system; the arguments are those of `Factors.solve`."""
        stack = self.problem.bottleneck.concepts
        right = torch.cat(
            [
                part.reshape(len(part), head.n_scores, -1)
                for part, head in zip(concepts, stack.heads, strict=True)
            ],
            dim=1,
        )
        shape = -1, *self.point[1].shape[1:]
        found = self._solve((right, label.reshape(shape)))
        return found[1].flatten(1), tuple(
            found[0][:, columns].flatten(1) for columns in stack.scores
        )

    def solve_label(self, label: Tensor) -> Tensor:
        """Return the label's part of the solution for derivatives in it alone."""
        nothing = label.new_zeros(len(label), *self.point[0].shape[1:])
        parts = self.problem.bottleneck.concepts.split(nothing.mT)
        return self.solve(label, [part.mT.flatten(1) for part in parts])[0]

    def through_label(self, rows: TrainingData) -> Tensor:
        """Return derivatives of label terms in concept scores, (n_rows, n_scores)."""
        return JointRows(self.problem, rows, self.point).through_label[:, 0]

    def conjugate_gradients(
        self, right: Pair, removal: Removal | None = None, *, tol: float
    ) -> tuple[Pair, Tensor]:
        """Solve m systems with the damped Hessian, Eq. (86), each without some terms.

        Parameters
        ----------
        right : Pair
        removal : Removal or None
        tol : float
            Relative residual, in the norm of the preconditioner.

        Returns
        -------
        solution : Pair
        residual : Tensor of shape (m,)
            What was reached.
        """
        solution = torch.zeros_like(right[0]), torch.zeros_like(right[1])
        residual, turned = right, right
        ready = self.precondition(residual)
        direction, energy = ready, inner(residual, ready)
        first = energy
        for _ in range(_MAX_STEPS):
            active = energy > tol**2 * first
            if not active.any():
                break
            product = add(self.times(direction, removal), turned, self.damping)
            curvature = inner(direction, product)
            active &= curvature > 0
            length = torch.where(active, energy / curvature, 0.0)
            solution = add(solution, direction, length)
            residual = add(residual, product, -length)
            ready = self.precondition(residual)
            last, energy = energy, torch.where(active, inner(residual, ready), 0.0)
            if not active.any():
                break
            ratio = torch.where(active, energy / last, 0.0)
            direction = add(ready, direction, ratio)
            turned = add(residual, turned, ratio)  # the blocks times the direction
        left = inner(residual, self.precondition(residual))
        return solution, torch.where(first > 0, (left / first).sqrt(), 0.0)

    def _solve(self, right: Pair) -> Pair:
        """Solve for any number of right-hand sides, some at a time."""
        parts, worst = [], 0.0
        right = self.problem.without_missing(right)
        for start in range(0, len(right[0]), self.at_once):
            block = slice(start, start + self.at_once)
            found, left = self.conjugate_gradients(
                (right[0][block], right[1][block]), tol=_TOL
            )
            parts.append(found)
            worst = max(worst, float(left.max()))
        if not worst <= _UNSOLVED:
            warn_user(
                "The adjoint system of the jointly trained heads was solved to a "
                f"relative residual of {worst:.1g}, so influence can be off by more "
                "than that. Raise concept_weight, or lower C and concept_C.",
                InfluenceWarning,
            )
        concepts, label = zip(*parts, strict=True)
        return torch.cat(concepts), torch.cat(label)

    def times(self, direction: Pair, removal: Removal | None = None) -> Pair:
        """Multiply directions of m problems by the Hessian, without damping.

        Parameters
        ----------
        direction : Pair
        removal : Removal or None
            Terms that these problems lack, each its own.
        """
        product, start = self.problem.penalised(direction), 0
        for rows in self._rows():
            block = slice(start, start + len(rows.rows))
            within = None if removal is None else removal.within(block)
            for total, part in zip(
                product, rows.hessian_times(direction, within), strict=True
            ):
                total += part
            start = block.stop
        return self.problem.without_missing(product)

    @property
    def at_once(self) -> int:
        """How many directions products take together."""
        stack = self.problem.bottleneck.concepts
        n_rows = min(len(self.problem.data), self._block_rows)
        width = n_rows * (stack.n_scores + stack.n_activations)
        return max(1, _LARGEST_ARRAY // width)

    @property
    def _block_rows(self) -> int:
        stack = self.problem.bottleneck.concepts
        width = stack.n_scores * (2 * stack.n_scores + stack.n_activations)
        return max(1, min(BLOCK_ROWS, _LARGEST_ARRAY // width))

    def _rows(self) -> Iterable[JointRows]:
        """Return all rows at the point, kept if they fit."""
        stack = self.problem.bottleneck.concepts
        width = stack.n_scores * (2 * stack.n_scores + stack.n_activations)
        if len(self.problem.data) * width <= _LARGEST_KEPT:
            return self._kept
        return self.problem.rows_at(self.point, block_rows=self._block_rows)

    @cached_property
    def _kept(self) -> list[JointRows]:
        return list(self.problem.rows_at(self.point, block_rows=self._block_rows))

    def _damped(self) -> JointHessian:
        """Return the same with damping, if that is needed."""
        least = self.smallest_eigenvalue()
        if least > 0:
            return self
        damping = _LEAST - 2 * least
        warn_user(
            "The jointly trained model is not at a minimum: along some direction, its "
            f"objective falls. {damping:.2g} times the heads' own curvature was added "
            "to its Hessian (damping_), so that influence is that of a model held back "
            "by so much, and smaller than what retraining shows. If the fit stopped "
            "early, raise max_iter or lower tol; otherwise raise concept_weight, or "
            "lower C and concept_C.",
            InfluenceWarning,
        )
        return replace(self, damping=damping)

    def smallest_eigenvalue(self) -> float:
        """Return about the smallest eigenvalue, relative to the heads' blocks.

        It is that of the Lanczos matrix that conjugate gradients make.
        """
        generator = torch.Generator().manual_seed(0)
        concepts, label = (
            torch.randn(part.shape, generator=generator, dtype=part.dtype).to(part)
            for part in self.point
        )
        residual = self.problem.without_missing((concepts, label))
        ready = self.precondition(residual)
        direction, energy = ready, float(inner(residual, ready))
        first, diagonal, beside, carried = energy, [], [], 0.0
        for _ in range(_LOOKS):
            product = self.times(direction)
            length = energy / float(inner(direction, product))
            diagonal.append(1 / length + carried)
            residual = add(residual, product, -length)
            ready = self.precondition(residual)
            last, energy = energy, float(inner(residual, ready))
            ratio = energy / last
            beside.append(ratio**0.5 / abs(length))
            carried = ratio / length
            direction = add(ready, direction, ratio)
            if not energy > torch.finfo(torch.float64).eps ** 2 * first:
                break
        matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
        matrix += torch.diag(off, 1) + torch.diag(off, -1)
        return float(torch.linalg.eigvalsh(matrix)[0])


def joint_first_order(
    hessian: JointHessian, adjoint: Adjoint, rows: Tensor | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Yield what `first_order` does: Eq. (87) of docs/mathematics.rst.

    A label's term trains the concept heads too, which its path has beside the rest.

    Parameters
    ----------
    hessian : JointHessian
    adjoint : Adjoint
        Solved with it.
    rows : Tensor of shape (n_rows,), int64, default=None
        Positions of training rows. None is all.
    """
    problem, bottleneck = hessian.problem, hessian.problem.bottleneck
    data = problem.data if rows is None else problem.data.rows(rows)
    concepts = torch.cat(
        [
            part.reshape(len(part), head.n_scores, -1)
            for part, head in zip(
                adjoint.concepts, bottleneck.concepts.heads, strict=True
            )
        ],
        dim=1,
    )
    for block, influence in first_order(bottleneck, data, adjoint):
        some = data.rows(block)
        through = hessian.through_label(some)
        flat = affine(some.features, concepts.flatten(0, 1))
        along = flat.reshape(len(some), *concepts.shape[:2])
        influence[:, :, 0] -= torch.einsum("nms,ns->mn", along, through)
        yield block, influence


def predicted_joint_effect(
    hessian: JointHessian,
    bottleneck: Bottleneck,
    new: TrainingData,
    adjoint: Adjoint,
) -> float:
    """Return the first-order effect of an edit on the first target of an adjoint.

    It is minus the inner product with the gradient of the edited rows, `new`, which are
    not `weighted` yet: Eq. (42) of docs/mathematics.rst.
    """
    data = weighted(new, hessian.concept_weight)
    problem = replace(hessian.problem, bottleneck=bottleneck, data=data)
    _, (concepts, label) = problem.gradient(hessian.point)
    effect = adjoint.label[0] @ label.flatten()
    stack = bottleneck.concepts
    for columns, part in zip(stack.scores, adjoint.concepts, strict=True):
        effect = effect + part[0] @ concepts[0, columns].flatten()
    return -float(effect)
