"""Adjoints of both stages by conjugate gradients: no Hessian is formed.

A Cholesky factor of a head has the square of its parameters: 7 GB for 77 classes on 384
features, and more than any memory for word counts. Conjugate gradients need products
with the Hessian alone, which are products with the features, and with a block of
targets they are as efficient as those of a fit. What they cannot give is the curvature
of single rows, which leverage takes out; so they serve first-order influence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..exceptions import InfluenceWarning, warn_user
from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData, concept_problem
from .bounded import solve_free
from .heads import HeadsProblem, HeadStack
from .products import affine_adjoint
from .solvers import Preconditions, Solve, preconditioner_of, solve_hessian

# Relative residual of adjoints, and from where on it is said that one is not reached.
_TOL, _UNSOLVED = 1e-10, 1e-6
# Most numbers in one array of the pass through the activations: 64 MiB.
_LARGEST_ARRAY = 2**23


@dataclass(frozen=True)
class MatrixFree:
    """Both stages at their optimum, whose Hessians are only multiplied with.

    Attributes
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    penalty : float
    concept_penalties : Tensor of shape (n_concepts,)
    """

    bottleneck: Bottleneck
    data: TrainingData
    penalty: float
    concept_penalties: Tensor
    label_problem: HeadsProblem
    preconditioners: tuple[Preconditions, Preconditions | None]
    dtype: torch.dtype = torch.float64

    @classmethod
    def of(
        cls,
        bottleneck: Bottleneck,
        data: TrainingData,
        *,
        penalty: float,
        concept_penalties: Tensor,
    ) -> MatrixFree:
        """Prepare what all solutions share."""
        data = data.counted()
        label = bottleneck.label_problem(data, penalty)
        of_label = preconditioner_of(label.features)
        of_concepts = preconditioner_of(data.features) if bottleneck.concepts else None
        return cls(
            bottleneck,
            data,
            penalty,
            concept_penalties.to(data.label_weights),
            label,
            (of_label, of_concepts),
        )

    def solve(
        self, label: Tensor, concepts: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Solve the adjoint system; the arguments are those of `Factors.solve`."""
        m, stack = len(label), self.bottleneck.concepts
        label_adjoints, of_concepts = self.solve_label(label), self.preconditioners[1]
        if not stack:
            return label_adjoints, ()
        right = torch.cat(
            [
                part.reshape(m, head.n_scores, -1)
                for part, head in zip(concepts, stack.heads, strict=True)
            ],
            dim=1,
        )
        right = right.flatten(0, 1) - self._through_concepts(label_adjoints)
        assert of_concepts is not None
        found = solve_hessian(
            _copies(concept_problem(stack, self.data, self.concept_penalties), m),
            self.bottleneck.concept_parameters.repeat(m, 1),
            right,
            tol=_TOL,
            preconditioner=of_concepts,
        )
        _warn_if_open("concept", found)
        parts = found.solution.reshape(m, stack.n_scores, -1)
        return label_adjoints, tuple(
            parts[:, columns].flatten(1) for columns in stack.scores
        )

    def solve_label(self, label: Tensor) -> Tensor:
        """Solve for derivatives in the label head's parameters alone."""
        m = len(label)
        shape = m * self.bottleneck.label.n_scores, self.bottleneck.n_label_inputs
        found = solve_free(
            _copies(self.label_problem, m),
            self.bottleneck.label_parameters.repeat(m, 1),
            label.reshape(shape),
            tol=_TOL,
            preconditioner=self.preconditioners[0],
        )
        _warn_if_open("label", found)
        return found.solution.reshape(m, -1)

    def _through_concepts(self, adjoints: Tensor) -> Tensor:
        """Return the cross term times label adjoints, (m * n_concept_scores, d + 1).

        The derivative of ``adjoint . (residual (x) [a, 1])`` in the activations a of
        every row is pulled back to the concepts' scores: Eq. (8) of
        docs/mathematics.rst, without the matrix.
        """
        stack, n = self.bottleneck.concepts, len(self.data)
        largest = max(head.n_activations * head.n_scores for head in stack.heads)
        largest = max(largest, len(adjoints) * self.bottleneck.n_label_inputs)
        columns = adjoints.new_empty(n, len(adjoints) * stack.n_scores)
        for block in row_blocks(n, max(1, _LARGEST_ARRAY // largest)):
            columns[block] = self._pulled(adjoints, self.data.rows(block))
        return affine_adjoint(self.data.features, columns)

    def _pulled(self, adjoints: Tensor, rows: TrainingData) -> Tensor:
        bottleneck, label = self.bottleneck, self.bottleneck.label
        label_rows = bottleneck.label_rows(rows)
        matrices = adjoints.reshape(len(adjoints), label.n_scores, -1)
        probabilities = label.probabilities(
            bottleneck.label_scores(label_rows.activations)
        )
        residual = label.residual(probabilities, label_rows.labels)
        along = torch.einsum(
            "ni,mki->nmk", label.inputs(label_rows.activations), matrices
        )
        moved = label.curvature_times(
            probabilities[:, None], label_rows.labels[:, None], along
        )
        concepts = slice(0, bottleneck.concepts.n_activations)
        in_activations = moved @ bottleneck.label_parameters[:, concepts]
        in_activations += torch.einsum(
            "nk,mka->nma", residual, matrices[:, :, concepts]
        )
        in_activations *= label_rows.weights[:, None, None]
        parts = []
        scores = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
        for j, (head, part) in enumerate(
            zip(bottleneck.concepts.heads, scores, strict=True)
        ):
            positions = bottleneck.concepts.activations[j]
            moving = label_rows.moving[:, j, None, None]
            own = label_rows.total(in_activations[:, :, positions] * moving)
            parts.append(own @ head.activation_jacobian(part))
        return torch.cat(parts, dim=2).flatten(1)


def _copies(problem: HeadsProblem, m: int) -> HeadsProblem:
    """Return a problem that has every head m times."""
    return replace(
        problem,
        stack=HeadStack(problem.stack.heads * m),
        codes=problem.codes.repeat(1, m),
        weights=problem.weights.repeat(1, m),
        penalties=problem.penalties.repeat(m),
    )


def _warn_if_open(stage: str, found: Solve) -> None:
    worst = float(found.residual.max())
    if worst > _UNSOLVED:
        warn_user(
            f"The adjoint system of a {stage} head was solved to a relative residual "
            f"of {worst:.1g} in {found.n_iter} steps of conjugate gradients, so "
            "influence can be off by more than that. Scale the features, or lower C "
            "and concept_C.",
            InfluenceWarning,
        )
