"""The ordinal head: proportional odds of labels that have an order.

One number per row, linear in its inputs, says how high its value is. The log-odds of a
value above the k-th are this number minus a threshold (McCullagh, 1980). The loss is
convex in both where the thresholds are in order, and infinite elsewhere.

The first score is the log-odds of a value above the lowest. The others are how far the
next thresholds are above the first, less ``1, 2, ...``: with all parameters 0, the
thresholds are in order. They have a bias and no weights. See Eqs. (51) and (52) of
docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..products import dense_rows
from ..sparse import Features
from .cone import Chain, Cone, chains_among, held_among, weights_along
from .rows_last import RowsLast
from .softmax import lead, one_hot

# The loss where thresholds are not in order: no number, but 0 times it is 0.
_OUTSIDE = {torch.float64: 1e300, torch.float32: 1e37}


@dataclass(frozen=True)
class OrdinalHead(RowsLast):
    """The loss of one value of an ordered scale, and its derivatives.

    Attributes
    ----------
    n_values : int
    ranks : tuple of int
        The rank of every code, from 0 for the lowest value. Empty if codes are ranks.
    chains : tuple of Chain
        Along them the weights of inputs must not fall.
    held : tuple of int
        Columns of the inputs whose weights stay as they are, whatever the rows. See Eq.
        (79) of docs/mathematics.rst.
    """

    n_values: int
    ranks: tuple[int, ...] = ()
    chains: tuple[Chain, ...] = ()
    held: tuple[int, ...] = ()

    is_categorical: ClassVar[bool] = True
    is_quadratic: ClassVar[bool] = False
    is_curved_by_codes: ClassVar[bool] = True
    intercept: ClassVar[bool] = True

    @property
    def n_scores(self) -> int:
        """Scores per row."""
        return self.n_values - 1

    @property
    def n_activations(self) -> int:
        """Activations per row; a head with two values has one."""
        return 1 if self.n_values == 2 else self.n_values

    @property
    def is_bounded(self) -> bool:
        """Whether there are chains."""
        return bool(self.chains)

    def inputs(self, features: Features) -> Tensor:
        """Return the inputs of the scores: ``[features, 1]``."""
        return torch.nn.functional.pad(dense_rows(features), (0, 1), value=1.0)

    def needed(self, codes: Tensor) -> Tensor:
        """Return which codes are between others.

        Without such a value, the thresholds around it would meet.
        """
        ranks = self._rank(codes)
        return (ranks > 0) & (ranks < self.n_values - 1)

    def missing(self, n_inputs: int) -> Tensor | None:
        """Return which parameters no fit moves.

        All weights but the first score's are 0, and some of that may be held.
        """
        if self.n_values == 2 and not self.held:
            return None
        missing = torch.ones(self.n_scores, n_inputs, dtype=torch.bool)
        missing[0], missing[:, -1] = False, False
        missing[0, list(self.held)] = True
        return missing

    def cone(self, n_inputs: int, like: Tensor) -> Cone | None:
        """Return the parameters that the head may have; None if all of them."""
        if self.n_values == 2 and not self.chains:
            return None
        weights, bounded = weights_along(self.chains, n_inputs, like)
        others = torch.arange(1, self.n_scores, device=like.device)
        basis = weights.new_zeros(self.n_scores, n_inputs, n_inputs + len(others))
        basis[0, :, :n_inputs] = weights
        basis[others, -1, n_inputs - 1 + others] = 1
        return Cone(
            basis.flatten(0, 1),
            torch.cat([bounded, torch.zeros_like(others, dtype=torch.bool)]),
            torch.cat([torch.arange(n_inputs).to(others), -torch.ones_like(others)]),
            self.held,
        )

    def of_inputs(self, columns: Sequence[int]) -> Self:
        """Return the same head on some columns of its inputs."""
        return replace(
            self,
            chains=chains_among(self.chains, columns),
            held=held_among(self.held, columns),
        )

    def holding(self, columns: Sequence[int]) -> Self:
        """Return the same head that holds the weights of these inputs."""
        return replace(self, held=tuple(columns))

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return the weights of the log-odds above every value but the highest."""
        weights = self._above(parameters) @ parameters
        weights[:, -1] -= self._offsets(parameters)
        return weights

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""
        parameters = weights.clone()
        parameters[:, -1] += self._offsets(weights)
        parameters[1:] = parameters[:1] - parameters[1:]
        return parameters

    def value_contrasts(self, like: Tensor) -> Tensor | None:
        """Return None: the curvature has another form."""
        return None

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p(value), of shape (..., n_values)."""
        above = scores @ self._above(scores).T - self._offsets(scores)
        thresholds = torch.nn.functional.pad(scores[..., 1:], (1, 0))
        gaps = thresholds.diff(dim=-1) + 1
        inside = gaps > 0
        between = torch.log(-torch.expm1(-torch.where(inside, gaps, 1.0)))
        between = torch.where(inside, between, -_OUTSIDE[scores.dtype])
        pad = torch.nn.functional.pad
        log_p = pad(torch.nn.functional.logsigmoid(above), (1, 0))
        log_p = log_p + pad(torch.nn.functional.logsigmoid(-above), (0, 1))
        log_p = log_p + pad(between, (1, 1))
        return log_p if not self.ranks else log_p[..., list(self.ranks)]

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return p(value), of shape (..., n_values)."""
        return self.log_probabilities(scores).exp()

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return ``-log p(code)`` in nats, of shape (...,)."""
        log_p = self.log_probabilities(scores)
        return -log_p.gather(-1, codes.long()[..., None]).squeeze(-1)

    def logits(self, scores: Tensor) -> Tensor:
        """Return the log-probabilities, centred over the values, (..., n_values)."""
        log_p = self.log_probabilities(scores)
        return log_p - log_p.mean(dim=-1, keepdim=True)

    def logit_jacobian(self, probabilities: Tensor) -> Tensor:
        """Return d logits / d scores, (..., n_values, n_scores)."""
        of_values = -self._residual_of_all(probabilities)
        return of_values - of_values.mean(dim=-2, keepdim=True)

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the scores, (..., n_scores)."""
        terms = _Terms.of(self._in_order(probabilities), self._rank(codes), dim=-1)
        upper, lower = terms.upper, terms.lower
        ratio = terms.ratio.unsqueeze(-1)
        pull = upper * (terms.above + ratio) - lower * (terms.below + ratio)
        return pull @ self._above(pull)

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the relative rounding error of the residual, shaped like codes."""
        residual = self.residual(probabilities, codes).abs().amax(dim=-1)
        curvature = self.mean_curvature(probabilities, codes)
        return torch.clamp(residual + curvature * size, max=1)

    def curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., n_scores, n_scores)."""
        edges = self.curvature_edges(probabilities)
        weights = self.edge_weights(probabilities, codes)
        return (weights[..., None, :] * edges.T) @ edges

    def curvature_times(
        self, probabilities: Tensor, codes: Tensor, direction: Tensor
    ) -> Tensor:
        """Multiply a direction of the scores by the loss's second derivative."""
        edges = self.curvature_edges(probabilities)
        along = direction @ edges.T
        return (self.edge_weights(probabilities, codes) * along) @ edges

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return the directions whose weighted squares add up to the curvature.

        These are the log-odds of every threshold, and the distances of neighbours.
        """
        above = self._above(like)
        return torch.cat([above, above[:-1] - above[1:]])

    def edge_weights(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the weights of the edges, (..., n_edges)."""
        terms = _Terms.of(self._in_order(probabilities), self._rank(codes), dim=-1)
        single = (terms.upper + terms.lower) * terms.above * terms.below
        ratio = terms.ratio.unsqueeze(-1)
        between = terms.lower[..., :-1] * ratio * (1 + ratio)
        return torch.cat([single, between], dim=-1)

    def mean_curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the mean of the curvature's diagonal, of shape (...,)."""
        squares = self.curvature_edges(probabilities).square().mean(dim=1)
        return self.edge_weights(probabilities, codes) @ squares

    def activations(self, scores: Tensor) -> Tensor:
        """Return the inputs for a next head: the probabilities."""
        probabilities = self.probabilities(scores)
        return probabilities[..., 1:] if self.n_values == 2 else probabilities

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., n_activations, n_scores)."""
        p = self.probabilities(scores)
        jacobian = -p[..., None] * self._residual_of_all(p)
        return jacobian[..., 1:, :] if self.n_values == 2 else jacobian

    def activation_pull(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return ``pull @ activation_jacobian``."""
        return (pull[..., None, :] @ self.activation_jacobian(scores)).squeeze(-2)

    def activation_curvature(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return the second derivative of ``pull @ activations`` in the scores."""
        if self.n_values == 2:  # the activation is the second probability
            pull = torch.nn.functional.pad(pull, (1, 0))
        p = self.probabilities(scores)
        codes = torch.arange(self.n_values, device=p.device).expand(p.shape)
        every = p[..., None, :].expand(*p.shape, self.n_values)
        slopes = self.residual(every, codes)
        bends = slopes[..., :, None] * slopes[..., None, :]
        bends = bends - self.curvature(every, codes)
        return ((pull * p)[..., None, None] * bends).sum(dim=-3)

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of values known for certain (one-hot)."""
        target = self.target(codes, like)
        return target[..., 1:] if self.n_values == 2 else target

    def target(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the distributions that codes stand for: one-hot, (..., n_values)."""
        return one_hot(codes, self.n_values, like)

    def residual_change(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> Tensor:
        """Return the change of residuals when scores move, to full precision.

        It is NaN where the move takes thresholds out of their order.

        Parameters
        ----------
        probabilities : Tensor of shape (n_values, n)
            Before the move.
        codes : Tensor of shape (n,)
        shift : Tensor of shape (n_scores, n_moves, n)

        Returns
        -------
        change : Tensor of shape (n_scores, n_moves, n)
        """
        p = self._in_order(probabilities.double().T).T
        terms = _Terms.of(p, self._rank(codes), dim=0)
        upper, lower = terms.upper[:, None], terms.lower[:, None]
        moved = _mix(self._above(shift), shift).double()
        growth = torch.expm1(moved)
        above, below = terms.above[:, None], terms.below[:, None]
        single = above * below * growth / (1 + above * growth)
        # How the odds of the distance of the two thresholds grow.
        growth = torch.expm1(((lower - upper) * moved).sum(dim=0))
        odds = 1 + (1 + terms.ratio) * growth
        ratio = -terms.ratio * (1 + terms.ratio) * growth / odds
        ratio = torch.where(odds > 0, ratio, torch.nan)
        pull = (upper + lower) * single + (upper - lower) * ratio
        return _mix(self._above(pull).T, pull).to(shift.dtype)

    def changes(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of residuals and of activations when scores move."""
        residual = self.residual_change(probabilities, codes, shift)
        return residual, self.activation_change(probabilities, shift)

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return the change of activations when scores move.

        The result has shape (n_activations, n_moves, n).
        """
        p = self._in_order(probabilities.double().T)
        below, above = _cumulative(p, dim=-1)
        logits = (above / below.clamp(min=torch.finfo(p.dtype).tiny)).log()
        scores = logits + self._offsets(logits)
        scores[..., 1:] = scores[..., :1] - scores[..., 1:]
        after = self.probabilities(scores + shift.double().permute(1, 2, 0))
        change = after.permute(2, 0, 1).to(shift.dtype) - probabilities[:, None]
        return change[1:] if self.n_values == 2 else change

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(code) of every row, (...,), and its derivative, (..., n_scores)."""
        p = self.probabilities(scores)
        value, codes = p[..., code], torch.tensor(code, device=scores.device)
        return value, -value[..., None] * self.residual(p, codes)

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return p(own value) minus the largest other p, without the term, (n,)."""
        return lead(self.probabilities(without), codes)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return None: a code is one value."""
        return None

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the codes of all values."""
        return [float(code) for code in range(self.n_values)]

    def _above(self, like: Tensor) -> Tensor:
        """Return the map from scores to log-odds above each threshold."""
        matrix = -torch.eye(self.n_scores, dtype=like.dtype, device=like.device)
        matrix[:, 0] = 1
        return matrix

    def _offsets(self, like: Tensor) -> Tensor:
        """Return the distances of thresholds from the first, if parameters are 0."""
        return torch.arange(self.n_scores, dtype=like.dtype, device=like.device)

    def _in_order(self, probabilities: Tensor) -> Tensor:
        """Return probabilities from the lowest value to the highest."""
        if not self.ranks:
            return probabilities
        return probabilities[..., torch.tensor(self.ranks).argsort()]

    def _rank(self, codes: Tensor) -> Tensor:
        ranks = codes.long()
        if not self.ranks:
            return ranks
        return torch.tensor(self.ranks, device=codes.device)[ranks]

    def _residual_of_all(self, probabilities: Tensor) -> Tensor:
        """Return the residuals of all values, (..., n_values, n_scores)."""
        codes = torch.arange(self.n_values, device=probabilities.device)
        return self.residual(probabilities[..., None, :], codes)


@dataclass(frozen=True)
class _Terms:
    """What the derivatives of one value's loss consist of.

    With the probabilities ``below`` and ``above`` each threshold, the loss of a value
    between thresholds a and b is ``-log above_a - log below_b - log(1 - exp(-g))``,
    where g is their distance in log-odds, and ``ratio = 1 / (exp(g) - 1)``. From
    probabilities it has all digits: ``below_a above_b / p``.

    Attributes
    ----------
    below, above : Tensor
        Of every threshold.
    lower, upper : Tensor
        1 for the threshold below the value, and for the one above it; otherwise 0.
    ratio : Tensor
    """

    below: Tensor
    above: Tensor
    lower: Tensor
    upper: Tensor
    ratio: Tensor

    @classmethod
    def of(cls, p: Tensor, ranks: Tensor, *, dim: int) -> "_Terms":
        """Return the terms of probabilities in order along an axis, first or last."""
        below, above = _cumulative(p, dim)
        n = p.shape[dim]
        shape = (-1,) if dim else (-1, *[1] * ranks.dim())
        of_values = torch.arange(n, device=p.device).reshape(shape)
        own = (ranks.unsqueeze(dim) == of_values).to(p.dtype)
        lower, upper = own.narrow(dim, 1, n - 1), own.narrow(dim, 0, n - 1)
        # A probability may be 0.
        p_own = (own * p).sum(dim=dim).clamp(min=torch.finfo(p.dtype).tiny)
        ratio = (lower * below).sum(dim=dim) * (upper * above).sum(dim=dim) / p_own
        return cls(below, above, lower, upper, ratio)


def _cumulative(p: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the probabilities below and above each threshold, without cancellation."""
    n = p.shape[dim] - 1
    below = p.cumsum(dim=dim).narrow(dim, 0, n)
    above = p.flip(dim).cumsum(dim=dim).flip(dim).narrow(dim, 1, n)
    return below, above


def _mix(matrix: Tensor, values: Tensor) -> Tensor:
    """Multiply along the first axis, in one product."""
    return (matrix @ values.flatten(1)).reshape(-1, *values.shape[1:])
