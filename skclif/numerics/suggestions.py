"""Effects on targets of a change of one training row, in closed form.

A change gives some loss terms of a row other weights and other residuals. Of all other
terms, the Hessian H knows how they answer. Of the row's own terms, it does not: where
the model is sure of a row, their curvature D is nearly 0, and a value that contradicts
the model would move the head by many logits before anything held it. So these terms are
followed exactly. With ``A = (I (x) x)' H^-1 (I (x) x)``, the head moves by

    -H^-1 (q (x) x),    q = w' r'(s + d) - w r(s) - w D d,    d = -A q,

which is as many equations for q as the head has scores. The first Newton step is ``q =
(I + (w' D' - w D) A)^-1 (w' r' - w r)``. Removal is ``w' = 0``, the closed form of
leverage, and exact in one step.

Through the bottleneck, the cross term moves the label head with the concept heads.
Where the label head is trained on true annotations, it also sees a new annotation as
its input: that copy of the row leaves the old input and comes back at the new one.

Many changes are compared by targets that are linear in the moves, so that one adjoint
is enough for all of them. The moved parameters of some changes give their targets
without linearising. See Eqs. (22) to (25) of docs/mathematics.rst.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
# Of Newton's method for the row's own terms.
_MAX_STEPS, _MAX_SHORTENED, _TOL, _ROUNDING = 100, 60, 1e-10, 1e-14
# How steeply the objective may rise after a step, as a share of how it fell before.
_MOST_RISE = 0.5


class ClosedForm:
    """The parts of the closed form that all rows share.

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

    def of(self, rows: TrainingData) -> "RowChanges":
        """Return the changes of these rows."""
        return RowChanges(self, rows)


@dataclass(frozen=True)
class Moves:
    """How gradients change, by head, when each row of a block changes alone.

    Attributes
    ----------
    concepts : dict of int to Tensor of shape (n_rows, k_j)
        ``q`` of the concept heads that move, along the row's features.
    label : Tensor of shape (n_rows, n_terms * k)
        ``q`` of the label head, along its inputs.
    inputs : Tensor of shape (n_rows, n_terms, n_inputs)
    drift : Tensor of shape (n_rows, p) or None
        What else changes the label's gradient, except that all rows' activations move.
    """

    concepts: Mapping[int, Tensor]
    label: Tensor
    inputs: Tensor
    drift: Tensor | None = None


class RowChanges:
    """Changes of each row of a block, one row at a time.

    Moves are not finite if a head would lose all its curvature.
    """

    def __init__(self, changes: ClosedForm, rows: TrainingData):
        self.changes, self.bottleneck, self.rows = changes, changes.bottleneck, rows
        stack = self.bottleneck.concepts
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
            )
            for j, head in enumerate(stack.heads)
        ]

    def relabel(
        self, codes: Tensor, weights: Tensor, among: Tensor | None = None
    ) -> Moves:
        """Give every row another label, with these weights of the term: Eq. (23).

        `among` are the positions of the rows that matter. Others do not move.
        """
        label = self.label
        return Moves({}, label.change(codes, weights, among), label.inputs)

    def annotate(
        self,
        concept: int,
        codes: Tensor,
        weights: Tensor,
        among: Tensor | None = None,
    ) -> Moves:
        """Give every row another or a first annotation of a concept: Eq. (25).

        `among` are the positions of the rows that matter. Others do not move.
        """
        term, label = self.concepts[concept], self.label
        change = term.change(codes, weights, among)
        *_, (share, known) = self.bottleneck.copies
        if not known:
            return Moves({concept: change}, torch.zeros_like(label.flat), label.inputs)
        columns, head = self.bottleneck.concepts.activations[concept], label.head
        before = label.inputs[:, -1]
        after = before.clone()
        after[:, columns] = term.head.true_activations(codes, after)
        inputs = torch.stack([before, after], dim=1)
        # The cross term contains the row's own move, but a true annotation is fixed.
        own = self._own_moves(concept, term.shift(change))[:, -1]
        weight, nothing = share * label.weights, torch.zeros_like(label.weights)
        inverse = self.changes.inverses[0]
        moved = own_changes(
            head,
            inputs @ self.bottleneck.label_parameters.T,
            (label.codes, torch.stack([weight, nothing], dim=1)),
            (label.codes, torch.stack([nothing, weight], dim=1)),
            inverse.hat(inputs),
            self._shift_by(self._drift(concept, change) - own, inputs),
            among,
        )
        return Moves({concept: change}, moved, inputs, -own)

    def reweight(self, factor: float) -> Moves:
        """Multiply the weight of every row by a factor; 0 drops it: Eq. (24)."""
        added = factor - 1
        label = self.label
        own = torch.zeros_like(self.label_rows.by_row(self.inputs)[:, 0, :1])
        drift, changes = own, {}
        for j, term in enumerate(self.concepts):
            changes[j] = term.change(term.codes, factor * term.weights)
            moves = self._own_moves(j, term.shift(changes[j])).sum(dim=1)
            own, drift = own + added * moves, drift + self._drift(j, changes[j])
        shift = None
        if self.concepts:
            shift = self._shift_by(drift + own, label.inputs)
        moved = label.change(label.codes, factor * label.weights, None, shift)
        return Moves(changes, moved, label.inputs, own if self.concepts else None)

    def parameters(self, moves: Moves) -> tuple[dict[int, Tensor], Tensor]:
        """Return how parameters move.

        Returns
        -------
        concepts : dict of int to Tensor of shape (n_rows, k_j, n_features + 1)
            Of the concept heads that move.
        label : Tensor of shape (n_rows, k, n_inputs)
            Of the label head.
        """
        by_score = moves.label.reshape(*moves.inputs.shape[:2], -1)
        gradient = (by_score.mT @ moves.inputs).flatten(1)
        if moves.drift is not None:
            gradient = gradient + moves.drift
        concepts = {}
        for j, change in moves.concepts.items():
            gradient = gradient + self._drift(j, change)
            concepts[j] = self._solved(1 + j, outer(change, self.features))
        return concepts, self._solved(0, gradient)

    def reach(self, moves: Moves, label: Tensor) -> Tensor:
        """Return how far changes move the row's own scores at most, (n_rows,).

        Heads that one step solves do not count. `label` is how its parameters move.
        """
        reach = (moves.inputs @ label.mT).flatten(1).abs().amax(dim=1)
        for j, change in moves.concepts.items():
            if not self.concepts[j].head.is_quadratic:
                own = self.concepts[j].shift(change).abs().amax(dim=1)
                reach = torch.maximum(reach, own)
        return reach

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

    def _drift(self, concept: int, change: Tensor) -> Tensor:
        """Return how all rows' label gradients move with a concept head, (n, p)."""
        return -outer(change, self.features) @ self.changes.to_label[concept].T

    def _shift_by(self, gradient: Tensor, inputs: Tensor) -> Tensor:
        """Return how changes (n, p) of the label's gradient move scores at inputs."""
        return (inputs @ self._solved(0, gradient).mT).flatten(1)

    def _solved(self, head: int, gradient: Tensor) -> Tensor:
        """Return how changes (n, p) of a gradient move parameters, (n, k, n_inputs)."""
        inverse = self.changes.inverses[head]
        k = [self.bottleneck.label, *self.bottleneck.concepts.heads][head].n_scores
        return -inverse.solve(gradient.T).T.reshape(len(gradient), k, -1)


class LinearEffects:
    """Effects of changes on targets that are linear in the moves of parameters.

    They are ``target after - target before``, (n_targets, n_rows), in the target's
    unit.
    """

    def __init__(self, changed: RowChanges, adjoint: Adjoint):
        self.changed, self.adjoint = changed, adjoint
        self.label = _pull(adjoint.label, changed.label.inputs)
        self.concepts = [
            _pull(part, term.inputs)
            for part, term in zip(adjoint.concepts, changed.concepts, strict=True)
        ]

    def of(self, moves: Moves) -> Tensor:
        """Return the effects, (n_targets, n_rows): Eqs. (23) to (25)."""
        label = self.label
        if moves.inputs is not self.changed.label.inputs:
            label = _pull(self.adjoint.label, moves.inputs)
        effect = -(label * moves.label).sum(dim=2)
        for j, change in moves.concepts.items():
            effect = effect - (self.concepts[j] * change).sum(dim=2)
        if moves.drift is not None:
            effect = effect - self.adjoint.label @ moves.drift.T
        return effect


class _Term:
    """One loss term of every row.

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
        shares: Sequence[float] = (1.0,),
    ):
        self.head, self.codes, self.weights = head, codes, weights
        self.inputs, self.inverse, self.scores = inputs, inverse, scores
        self.shares = inputs.new_tensor(shares)

    @property
    def flat(self) -> Tensor:
        """The scores of all copies side by side, (n_rows, n_copies * k)."""
        return self.scores.flatten(1)

    @cached_property
    def hat(self) -> Tensor:
        """``A``, (n_rows, n_copies * k, n_copies * k)."""
        return self.inverse.hat(self.inputs)

    def change(
        self,
        codes: Tensor,
        weights: Tensor,
        among: Tensor | None = None,
        shift: Tensor | None = None,
    ) -> Tensor:
        """Return ``q`` of Eq. (22), for other codes and weights of the whole term.

        The result has shape (n_rows, n_copies * k).
        """
        return own_changes(
            self.head,
            self.scores,
            (self.codes, self.weights[:, None] * self.shares),
            (codes, weights[:, None] * self.shares),
            self.hat,
            shift,
            among,
        )

    def shift(self, change: Tensor) -> Tensor:
        """Return how a change moves the row's own scores, (n_rows, n_copies * k)."""
        return -(self.hat @ change[:, :, None]).squeeze(-1)


def own_changes(
    head: Head,
    scores: Tensor,
    old: tuple[Tensor, Tensor],
    new: tuple[Tensor, Tensor],
    hat: Tensor,
    shift: Tensor | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """Return ``q`` of Eq. (22): how own terms change a gradient at the new optimum.

    Newton's method, row by row. The objective is convex in the moves of the scores, so
    a step after which it rises more steeply than it fell before is too long.

    Parameters
    ----------
    head : Head
    scores : Tensor of shape (n_rows, n_terms, k)
    old, new : tuple of Tensor
        Codes (n_rows,) and weights (n_rows, n_terms).
    hat : Tensor of shape (n_rows, n_terms * k, n_terms * k)
        ``A`` of these terms.
    shift : Tensor of shape (n_rows, n_terms * k), default=None
        How scores move by what is not the row's own.
    among : Tensor of int64, default=None
        Positions of the rows to solve. Others have no change.

    Returns
    -------
    change : Tensor of shape (n_rows, n_terms * k)
    """
    if among is None:
        among = torch.arange(len(scores), device=scores.device)
    if shift is None:
        shift = torch.zeros_like(scores.flatten(1))
    terms = _OwnTerms.of(head, scores, old, new, hat, shift).rows(among)
    found = torch.zeros_like(shift)
    change = found[among]
    excess, slope, _ = terms.excess(change)
    for _ in range(_MAX_STEPS):
        step = -_solve(slope, excess)
        change, (excess, slope, is_open) = _stepped(terms, change, step, excess)
        found[among] = change
        # What is not finite cannot be followed: a head would lose all its curvature.
        kept = (is_open & change.isfinite().all(dim=1)).nonzero()[:, 0]
        if not len(kept):
            break
        among, terms = among[kept], terms.rows(kept)
        change, excess, slope = change[kept], excess[kept], slope[kept]
    return found


@dataclass(frozen=True)
class _OwnTerms:
    """Some terms of every row, which follow a change exactly.

    Attributes
    ----------
    head : Head
    scores : Tensor of shape (n_rows, n_terms, k)
        Before the change.
    codes : Tensor of shape (n_rows,)
    weights : Tensor of shape (n_rows, n_terms)
    gradient : Tensor of shape (n_rows, n_terms * k)
        Before the change, as all else with its weight.
    curvature : Tensor of shape (n_rows, n_terms * k, n_terms * k)
        Before the change: what the Hessian holds of these terms.
    hat : Tensor, shaped like `curvature`
    shift : Tensor, shaped like `gradient`
    """

    head: Head
    scores: Tensor
    codes: Tensor
    weights: Tensor
    gradient: Tensor
    curvature: Tensor
    hat: Tensor
    shift: Tensor

    @classmethod
    def of(
        cls,
        head: Head,
        scores: Tensor,
        old: tuple[Tensor, Tensor],
        new: tuple[Tensor, Tensor],
        hat: Tensor,
        shift: Tensor,
    ) -> "_OwnTerms":
        """Return the terms; the arguments are those of `own_changes`."""
        before = _derivatives(head, scores, *old)
        return cls(head, scores, *new, *before, hat, shift)

    def rows(self, kept: Tensor) -> "_OwnTerms":
        """Return the terms of some rows."""
        head, *tensors = vars(self).values()
        return _OwnTerms(head, *(tensor[kept] for tensor in tensors))

    def excess(self, change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how far a change is from what it causes.

        Returns
        -------
        excess : Tensor, shaped like `gradient`
        slope : Tensor, shaped like `curvature`
            Its derivative.
        is_open : Tensor of shape (n_rows,), bool
            Whether it is more than what rounding leaves.
        """
        moved = self.shift - _times(self.hat, change)
        gradient, curvature = _derivatives(
            self.head,
            self.scores + moved.reshape(self.scores.shape),
            self.codes,
            self.weights,
        )
        by_hessian = _times(self.curvature, moved)
        excess = change - (gradient - self.gradient - by_hessian)
        size = gradient.abs() + self.gradient.abs() + by_hessian.abs()
        least = _TOL * change.abs() + _ROUNDING * size
        identity = torch.eye(len(moved.T), dtype=moved.dtype, device=moved.device)
        slope = identity + (curvature - self.curvature) @ self.hat
        return excess, slope, excess.abs().amax(dim=1) > least.amax(dim=1)


def _derivatives(
    head: Head, scores: Tensor, codes: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return gradients (n, m * k) and curvature (n, m * k, m * k) of weighted terms."""
    probabilities = head.probabilities(scores)
    residual = weights[:, :, None] * head.residual(probabilities, codes[:, None])
    curvature = head.curvature(probabilities, codes[:, None])
    return residual.flatten(1), block_diagonal(weights[:, :, None, None] * curvature)


def _stepped(
    terms: _OwnTerms, change: Tensor, step: Tensor, excess: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Return changes after a step, shortened where it is too long, and their excess."""
    fell = (_times(terms.hat, excess) * step).sum(dim=1).abs()
    after = change + step
    excess, slope, is_open = terms.excess(after)
    for _ in range(_MAX_SHORTENED):
        rises = (_times(terms.hat, excess) * step).sum(dim=1)
        # Not a number where the step leaves the scores that a head is defined for.
        is_long = ~(rises <= _MOST_RISE * fell) & ~(excess.isfinite().all(1) & ~is_open)
        rows = (is_long & step.isfinite().all(dim=1)).nonzero()[:, 0]
        if not len(rows):
            break
        step[rows], fell[rows] = step[rows] / 2, fell[rows] / 2
        after[rows] = change[rows] + step[rows]
        excess[rows], slope[rows], is_open[rows] = terms.rows(rows).excess(after[rows])
    return after, (excess, slope, is_open)


def _pull(adjoint: Tensor, inputs: Tensor) -> Tensor:
    """Return adjoints along inputs, (n_targets, n_rows, n_terms * k)."""
    adjoint = adjoint.reshape(len(adjoint), -1, inputs.shape[2])
    return torch.einsum("tai,nsi->tnsa", adjoint, inputs).flatten(2)


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply a vector by a matrix, row by row."""
    return (matrices @ vectors[:, :, None]).squeeze(-1)


def _solve(matrices: Tensor, right: Tensor) -> Tensor:
    """Solve by row; a singular matrix gives infinities."""
    result: Tensor = torch.linalg.solve_ex(matrices, right).result
    return result
