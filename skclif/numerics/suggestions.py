"""Effects on targets of a change of one training row, in closed form.

A loss term whose weight and residual change from w and r to w' and r' changes its
head's gradient by ``(w' r' - w r) (x) x`` and its curvature by ``(w' - w) D``. With ``A
= (I (x) x)' H^-1 (I (x) x)``, one Newton step on the changed objective is

    -H^-1 (left (x) x),    left = (I + (w' - w) D A)^-1 (w' r' - w r).

Another label or another annotation of the same weight leaves the curvature as it is,
so the step is of first order in the new residual. Removal is ``w' = 0``, the closed
form of leverage. Targets are linear in the steps, so one adjoint is enough for every
change.

Through the bottleneck, the cross term moves the label head with the concept heads.
Where the label head is trained on true annotations, it also sees a new annotation as
its input: the gradient and the curvature of that copy of the row move to the new input.
See Eqs. (22) to (25) of docs/mathematics.rst.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from .bottleneck import Bottleneck, TrainingData
from .first_order import Adjoint
from .heads import Head
from .hessians import Factors, label_gradient_jacobian
from .inverses import Inverse
from .leverage import block_diagonal
from .products import outer, with_ones

BLOCK_ROWS = 256


class ClosedForm:
    """The parts of the closed form that all rows and all targets share.

    Parameters
    ----------
    bottleneck : Bottleneck
        At the optimum for its training data.
    factors : Factors
    """

    def __init__(self, bottleneck: Bottleneck, factors: Factors):
        self.bottleneck = bottleneck
        self.inverses: list[Inverse] = [factors.label, *factors.concepts]
        self.to_label = [
            inverse.solve(cross.T).T
            for cross, inverse in zip(factors.cross, factors.concepts, strict=True)
        ]

    def of(self, rows: TrainingData, adjoint: Adjoint) -> "RowChanges":
        """Return the effects of changes of these rows on the targets of an adjoint."""
        return RowChanges(self, rows, adjoint)


class RowChanges:
    """Effects on targets of changing each row of a block, one row at a time.

    Every method returns ``target after - target before``, (n_targets, n_rows), in the
    target's unit. It is not finite if a head would lose all its curvature.
    """

    def __init__(self, changes: ClosedForm, rows: TrainingData, adjoint: Adjoint):
        self.changes, self.bottleneck, self.rows = changes, changes.bottleneck, rows
        self.adjoint, stack = adjoint, self.bottleneck.concepts
        self.label_rows = self.bottleneck.label_rows(rows)
        activations = self.label_rows.activations
        self.inputs = self.bottleneck.label.inputs(activations)
        self.features = with_ones(rows.features)
        self.scores = stack.split(self.bottleneck.concept_scores(rows.features))
        self.label = _Term(
            self.bottleneck.label,
            self.label_rows.by_row(self.inputs),
            self.label_rows.by_row(self.bottleneck.label_scores(activations)),
            rows.labels,
            rows.label_weights,
            changes.inverses[0],
            adjoint.label,
            self.label_rows.shares,
        )
        self.concepts = [
            _Term(
                head,
                self.features[:, None],
                self.scores[j][:, None],
                rows.concepts[:, j],
                rows.concept_weights[:, j],
                changes.inverses[1 + j],
                adjoint.concepts[j],
            )
            for j, head in enumerate(stack.heads)
        ]

    def relabel(self, codes: Tensor, weights: Tensor) -> Tensor:
        """Give every row another label, with these weights of the term: Eq. (23)."""
        return self.label.effect(self.label.left(codes, weights))

    def annotate(self, concept: int, codes: Tensor, weights: Tensor) -> Tensor:
        """Give every row another or a first annotation of a concept: Eq. (25)."""
        term = self.concepts[concept]
        left = term.left(codes, weights)
        *_, (share, known) = self.bottleneck.copies
        if not known:
            return term.effect(left)
        columns = self.bottleneck.concepts.activations[concept]
        label, head = self.label, self.bottleneck.label
        before = label.inputs[:, -1]
        after = before.clone()
        after[:, columns] = term.head.true_activations(codes, after)
        probabilities = head.probabilities(after @ self.bottleneck.label_parameters.T)
        residual = head.residual(probabilities, self.rows.labels)
        weight = share * self.rows.label_weights[:, None]
        # The cross term contains the row's own move, but a true annotation is fixed.
        own = self._own_moves(concept, term.shift(left))[:, -1]
        curvature = torch.stack(
            [
                -label.curvature[:, -1],
                head.curvature(probabilities, self.rows.labels),
            ],
            dim=1,
        )
        moved = self._label_effect(
            torch.stack([before, after], dim=1),
            block_diagonal(weight[:, :, None, None] * curvature),
            torch.cat([-weight * label.residual[:, -1], weight * residual], dim=1),
            self._drift(concept, left) - own,
        )
        return term.effect(left) + self.adjoint.label @ own.T + moved

    def reweight(self, factor: float) -> Tensor:
        """Multiply the weight of every row by a factor; 0 drops it: Eq. (24)."""
        added = factor - 1
        effect: Tensor | float = 0.0
        drift = torch.zeros_like(self.features[:, :1])
        for j, term in enumerate(self.concepts):
            left = term.left(term.codes, factor * term.weights)
            own = added * self._own_moves(j, term.shift(left)).sum(dim=1)
            effect = effect + term.effect(left) - self.adjoint.label @ own.T
            drift = drift + self._drift(j, left) + own
        added_weights = added * self.rows.label_weights
        return effect + self._label_effect(
            self.label.inputs,
            self.label.total_curvature(added_weights),
            self.label.total_residual(added_weights),
            drift.expand(-1, self.adjoint.label.shape[1]),
        )

    def _own_moves(self, concept: int, shift: Tensor) -> Tensor:
        """Return how the gradients of the label's copies move, (n, n_copies, p)."""
        label = self.bottleneck.label
        jacobian = label_gradient_jacobian(
            self.bottleneck,
            self.label_rows,
            concept,
            self.scores[concept],
            label.probabilities(self.inputs @ self.bottleneck.label_parameters.T),
            self.inputs,
            by_copy=True,
        )
        moves = torch.einsum("nksi,ns->nki", jacobian, self.label_rows.repeated(shift))
        return self.label_rows.by_row(moves.flatten(1))

    def _drift(self, concept: int, left: Tensor) -> Tensor:
        """Return how all rows' label gradients move with a concept head, (n, p)."""
        return -outer(left, self.features) @ self.changes.to_label[concept].T

    def _label_effect(
        self, inputs: Tensor, curvature: Tensor, change: Tensor, drift: Tensor
    ) -> Tensor:
        """Return the effect of changed terms at some inputs while the gradient drifts.

        The effect of the drift at the old Hessian is left out: it is in the adjoint.

        Parameters
        ----------
        inputs : Tensor of shape (n_rows, n_terms, n_inputs)
        curvature : Tensor of shape (n_rows, n_terms * k, n_terms * k)
            Change of the Hessian along the inputs.
        change : Tensor of shape (n_rows, n_terms * k)
            Change of the gradient along the inputs.
        drift : Tensor of shape (n_rows, p)
            The other changes of the gradient.
        """
        inverse = self.changes.inverses[0]
        solved = inverse.solve(drift.T).T
        solved = solved.reshape(len(inputs), -1, inputs.shape[2])
        along = (inputs @ solved.transpose(1, 2)).flatten(1)
        change = change - (curvature @ along[:, :, None]).squeeze(-1)
        left = _solve(curvature @ inverse.hat(inputs), change)
        pull = _pull(self.adjoint.label, inputs)
        return -(pull * left).sum(dim=2)


class _Term:
    """One loss term of every row, and the targets' derivatives along its inputs.

    The term can have several copies: inputs have shape (n_rows, n_copies, n_inputs),
    and each copy has a share of the weight.
    """

    def __init__(
        self,
        head: Head,
        inputs: Tensor,
        scores: Tensor,
        codes: Tensor,
        weights: Tensor,
        inverse: Inverse,
        adjoint: Tensor,
        shares: Sequence[float] = (1.0,),
    ):
        self.head, self.codes, self.weights = head, codes, weights
        self.inputs, self.inverse = inputs, inverse
        self.shares = inputs.new_tensor(shares)
        self.probabilities = head.probabilities(scores)
        self.residual = head.residual(self.probabilities, codes[:, None])
        self.pull = _pull(adjoint, self.inputs)

    @cached_property
    def curvature(self) -> Tensor:
        """The second derivatives of the loss at weight 1, (n_rows, n_copies, k, k)."""
        return self.head.curvature(self.probabilities, self.codes[:, None])

    @cached_property
    def hat(self) -> Tensor:
        """``A``, (n_rows, n_copies * k, n_copies * k)."""
        return self.inverse.hat(self.inputs)

    def total_curvature(self, weights: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return ``w D`` of all copies, for weights (n_rows,) of the whole term."""
        curvature = self.curvature
        if codes is not None and self.head.is_curved_by_codes:
            curvature = self.head.curvature(self.probabilities, codes[:, None])
        by_copy = weights[:, None] * self.shares
        return block_diagonal(by_copy[:, :, None, None] * curvature)

    def total_residual(self, weights: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return ``w r`` of all copies, (n_rows, n_copies * k), perhaps of others."""
        residual = self.residual
        if codes is not None:
            residual = self.head.residual(self.probabilities, codes[:, None])
        by_copy = weights[:, None] * self.shares
        return (by_copy[:, :, None] * residual).flatten(1)

    def left(self, codes: Tensor, weights: Tensor) -> Tensor:
        """Return ``q`` of Eq. (22), for a step to other codes and weights.

        The result has shape (n_rows, n_copies * k).
        """
        change = self.total_residual(weights, codes) - self.total_residual(self.weights)
        if self.head.is_curved_by_codes:
            added = self.total_curvature(weights, codes)
            added = added - self.total_curvature(self.weights)
            return _solve(added @ self.hat, change)
        added = weights - self.weights
        if not added.any():
            return change
        return _solve(self.total_curvature(added) @ self.hat, change)

    def shift(self, left: Tensor) -> Tensor:
        """Return how a step moves the row's own scores, (n_rows, n_copies * k)."""
        return -(self.hat @ left[:, :, None]).squeeze(-1)

    def effect(self, left: Tensor) -> Tensor:
        """Return the effect of a step on the targets, (n_targets, n_rows)."""
        return -(self.pull * left).sum(dim=2)


def _pull(adjoint: Tensor, inputs: Tensor) -> Tensor:
    """Return adjoints along inputs, (n_targets, n_rows, n_terms * k)."""
    adjoint = adjoint.reshape(len(adjoint), -1, inputs.shape[2])
    return torch.einsum("tai,nsi->tnsa", adjoint, inputs).flatten(2)


def _solve(product: Tensor, right: Tensor) -> Tensor:
    """Solve ``(I + product) x = right`` by row; a singular matrix gives infinities."""
    identity = torch.eye(right.shape[1], dtype=right.dtype, device=right.device)
    result: Tensor = torch.linalg.solve_ex(identity + product, right).result
    return result
