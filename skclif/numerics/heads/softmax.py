"""The softmax head: the loss of one categorical value given its scores."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar, Self

import torch
from torch import Tensor

from ..products import dense_rows
from ..sparse import Features
from .cone import Chain, Cone, chains_among, held_among, weights_along
from .rows_last import RowsLast
from .shares import Shares

# Relative change of the normaliser below which differences lose digits.
_OVERTAKEN = -0.9
# Pairs of more values than these take more time and memory than they save digits.
_MANY = 8


def _contrasts(n_values: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the (n_scores, n_values) map from scores to logits."""
    if n_values == 2:
        return torch.tensor([[-0.5, 0.5]], dtype=dtype, device=device)
    rows = torch.arange(1, n_values, dtype=dtype, device=device)[:, None]
    columns = torch.arange(n_values, dtype=dtype, device=device)[None, :]
    helmert = (columns < rows).to(dtype) - rows * (columns == rows)
    return helmert / torch.sqrt(rows * (rows + 1))


# Every product with a Hessian asks for it, and making it would take as long. It is
# nowhere changed in place.
_few_contrasts = cache(_contrasts)


@dataclass(frozen=True)
class SoftmaxHead(RowsLast):
    """The loss of one categorical value given its scores, and its derivatives.

    Every method works on the last axis, so heads of equal size can be evaluated
    together. Scores have shape (..., n_scores), codes (...,), of any dtype.

    Attributes
    ----------
    n_values : int
    activation : {"soft", "logit", "hard"}
        The inputs for the label head: probabilities, logits centred over the values
        (the log-odds if there are two values), or the one-hot code of the most probable
        value.
    intercept : bool
        Whether scores have a bias. If not, the parameter of the bias is 0.
    ranks : tuple of int
        The rank of every value, from 0, if values have an order; empty if codes are
        ranks. It matters only to chains.
    chains : tuple of Chain
        Along them no log-odds of a value against the next lower one may fall.
    held : tuple of int
        Columns of the inputs whose weights stay as they are, whatever the rows. See Eq.
        (79) of docs/mathematics.rst.
    shares : Shares or None
        What codes from `n_values` on stand for: distributions over the values, which
        are soft annotations. See Eq. (63) of docs/mathematics.rst.
    """

    n_values: int
    activation: str = "soft"
    intercept: bool = True
    ranks: tuple[int, ...] = ()
    chains: tuple[Chain, ...] = ()
    held: tuple[int, ...] = ()
    shares: Shares | None = None

    is_categorical: ClassVar[bool] = True
    is_quadratic: ClassVar[bool] = False
    is_curved_by_codes: ClassVar[bool] = False

    @property
    def is_bounded(self) -> bool:
        """Whether there are chains."""
        return bool(self.chains)

    @property
    def n_scores(self) -> int:
        """Scores per row."""
        return self.n_values - 1

    @property
    def n_activations(self) -> int:
        """Activations per row; a head with two values has one."""
        return 1 if self.n_values == 2 else self.n_values

    def inputs(self, features: Features) -> Tensor:
        """Return the inputs of the scores: ``[features, 1]``, or ``[features, 0]``."""
        features = dense_rows(features)
        return torch.nn.functional.pad(features, (0, 1), value=float(self.intercept))

    def needed(self, codes: Tensor) -> Tensor:
        """Return that no code is needed: without a value, its probability goes to 0."""
        return torch.zeros_like(codes, dtype=torch.bool)

    def missing(self, n_inputs: int) -> Tensor | None:
        """Return which parameters no fit moves: missing biases, and held weights."""
        if self.intercept and not self.held:
            return None
        missing = torch.zeros(self.n_scores, n_inputs, dtype=torch.bool)
        missing[:, -1] = not self.intercept
        missing[:, list(self.held)] = True
        return missing

    def cone(self, n_inputs: int, like: Tensor) -> Cone | None:
        """Return the parameters that the head may have; None if all of them.

        The coordinates are the log-odds of every value against the next lower one, each
        with the chains of its weights. See Eq. (53) of docs/mathematics.rst.
        """
        if not self.chains:
            return None
        weights, bounded = weights_along(self.chains, n_inputs, like)
        order = torch.tensor(self.ranks or range(self.n_values)).argsort()
        odds = self.contrasts(like)[:, order.to(like.device)].diff(dim=1).T
        return Cone(
            torch.kron(torch.linalg.inv(odds).contiguous(), weights),
            bounded.repeat(self.n_scores),
            torch.arange(n_inputs, device=like.device).repeat(self.n_scores),
            self.held,
        )

    def of_inputs(self, columns: Sequence[int]) -> Self:
        """Return the same head on some columns of its inputs."""
        return replace(
            self,
            chains=chains_among(self.chains, columns),
            held=held_among(self.held, columns),
        )

    def contrasts(self, like: Tensor) -> Tensor:
        """Return the (n_scores, n_values) map from scores to logits: Helmert's."""
        make = _few_contrasts if self.n_values <= _MANY else _contrasts
        return make(self.n_values, like.dtype, like.device)

    def value_contrasts(self, like: Tensor) -> Tensor | None:
        """Return the map from scores to values."""
        return self.contrasts(like)

    def holding(self, columns: Sequence[int]) -> Self:
        """Return the same head that holds the weights of these inputs."""
        return replace(self, held=tuple(columns))

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights: one row for two values, else one per value."""
        if self.n_values == 2:
            return parameters
        return self.contrasts(parameters).T @ parameters

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""
        return weights if self.n_values == 2 else self.contrasts(weights) @ weights

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p(value), of shape (..., n_values)."""
        log_p = torch.log_softmax(self._logits_by_value(scores), dim=0)
        return log_p.T.reshape(*scores.shape[:-1], self.n_values)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return p(value), of shape (..., n_values)."""
        p = torch.softmax(self._logits_by_value(scores), dim=0)
        return p.T.reshape(*scores.shape[:-1], self.n_values)

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return ``-log p(code)`` in nats, of shape (...,): its mean over shares."""
        log_p = torch.log_softmax(self._logits_by_value(scores), dim=0)
        if self.shares is None:
            own = log_p.gather(0, codes.long().reshape(1, -1))
        else:
            own = (self.target(codes.reshape(-1), scores).T * log_p).sum(dim=0)
        return -own.reshape(codes.shape)

    def target(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the distributions that codes stand for, (..., n_values)."""
        if self.shares is not None:
            return self.shares(codes, like)
        return one_hot(codes, self.n_values, like)

    def logits(self, scores: Tensor) -> Tensor:
        """Return the logits, centred over the values, (..., n_values)."""
        return scores @ self.contrasts(scores)

    def logit_jacobian(self, probabilities: Tensor) -> Tensor:
        """Return d logits / d scores, (..., n_values, n_scores)."""
        jacobian = self.contrasts(probabilities).T
        return jacobian.expand(*probabilities.shape[:-1], *jacobian.shape)

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the scores, (..., n_scores)."""
        target = self.target(codes, probabilities)
        is_all = target if self.shares is None else (target == 1).to(target.dtype)
        # If p is nearly 1, p - 1 has no correct digits, but the sum of the others has.
        others = probabilities * (1 - is_all)
        wrong = others - is_all * others.sum(dim=-1, keepdim=True)
        if self.shares is not None:
            wrong = wrong - target * (1 - is_all)
        return wrong @ self.contrasts(probabilities).T

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the relative rounding error of the residual, shaped like codes.

        `size` is the size of the terms whose sum is a score.
        """
        residual = self.residual(probabilities, codes).abs().amax(dim=-1)
        curvature = self.mean_curvature(probabilities, codes)
        noise = residual + curvature * size
        if self.shares is not None:  # p and shares between 0 and 1 cancel
            noise = noise + (codes >= self.n_values).to(noise)
        return torch.clamp(noise, max=1)

    def curvature_times(
        self, probabilities: Tensor, codes: Tensor, direction: Tensor
    ) -> Tensor:
        """Multiply a direction of the scores by the loss's second derivative."""
        contrasts = self.contrasts(probabilities)
        logits = direction @ contrasts
        mean = (probabilities * logits).sum(dim=-1, keepdim=True)
        return (probabilities * (logits - mean)) @ contrasts.T

    def terms(self, scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and residuals of rows on the last axis."""
        if self.shares is not None:
            return super().terms(scores, codes)
        contrasts, own = self.contrasts(scores), codes.long()[:, None]
        logits = contrasts.T @ scores
        logits -= logits.amax(dim=1, keepdim=True)
        of_own = logits.gather(1, own)
        # If p is nearly 1, p - 1 has no correct digits, but the sum of the others has.
        wrong = logits.exp_().scatter_(1, own, 0.0)
        others = wrong.sum(dim=1, keepdim=True)
        total = others + of_own.exp()
        loss = total.log() - of_own
        wrong.scatter_(1, own, -others)
        wrong /= total
        return loss[:, 0], contrasts @ wrong

    def curved(self, scores: Tensor, codes: Tensor, direction: Tensor) -> Tensor:
        """Return the curvature times a direction, with rows on the last axis."""
        contrasts = self.contrasts(scores)
        p = torch.softmax(contrasts.T @ scores, dim=1)
        weighted = p * (contrasts.T @ direction)
        weighted.addcmul_(p, weighted.sum(dim=1, keepdim=True), value=-1)
        return contrasts @ weighted

    def activated(self, scores: Tensor) -> Tensor:
        """Return the inputs for the label head, with rows on the last axis."""
        if self.activation != "soft":
            return super().activated(scores)
        p = torch.softmax(self.contrasts(scores).T @ scores, dim=1)
        return p[:, 1:] if self.n_values == 2 else p

    def known(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of certain values, with rows on the last axis."""
        if self.shares is not None:
            return super().known(codes, like)
        values = torch.arange(self.n_values - self.n_activations, self.n_values)
        values = values.to(codes)[:, None]
        return (codes[:, None] == values).to(like.dtype)

    def edges_at(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return ``p_k p_l`` of every pair of values, with rows on the last axis."""
        p = torch.softmax(self.contrasts(scores).T @ scores, dim=1)
        first, second = self._pairs(p)
        return p[:, first] * p[:, second]

    def curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., n_scores, n_scores)."""
        if self.n_values > _MANY:
            return self._curvature_of_many(probabilities)
        # The sum over edges equals U (diag p - p p') U', but without cancellation.
        edges = self.curvature_edges(probabilities)
        # The memory of this product grows with pairs or with squared scores, not both.
        squares = (edges[:, :, None] * edges[:, None, :]).flatten(1)
        shape = (*probabilities.shape[:-1], self.n_scores, self.n_scores)
        return (self.edge_weights(probabilities, codes) @ squares).reshape(shape)

    def _curvature_of_many(self, probabilities: Tensor) -> Tensor:
        """Return the curvature without a product for each pair of values."""
        contrasts = self.contrasts(probabilities)
        by_value = -probabilities[..., :, None] * probabilities[..., None, :]
        # The sum of the others is 1 - p to the last digit.
        by_value.diagonal(dim1=-2, dim2=-1).zero_()
        own = -by_value.sum(dim=-1)
        by_value.diagonal(dim1=-2, dim2=-1).copy_(own)
        return contrasts @ by_value @ contrasts.T

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return the differences of the values' contrasts, (n_pairs, n_scores).

        The curvature ``diag(p) - pp'`` is the Laplacian of a graph. Its nodes are the
        values, and the edge between k and l has the weight ``p_k p_l``.
        """
        first, second = self._pairs(like)
        contrasts = self.contrasts(like).T
        return contrasts[first] - contrasts[second]

    def edge_weights(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return ``p_k p_l`` of every pair of values, (..., n_pairs)."""
        first, second = self._pairs(probabilities)
        return probabilities[..., first] * probabilities[..., second]

    def mean_curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the mean of the curvature's diagonal, of shape (...,)."""
        # The trace of U (diag p - p p') U' is 1 - |p|^2, halved for two values.
        trace = 1 - (probabilities**2).sum(dim=-1)
        return trace / 2 if self.n_values == 2 else trace / self.n_scores

    def activations(self, scores: Tensor) -> Tensor:
        """Return the inputs for the label head, (..., n_activations)."""
        if self.activation == "logit":
            return scores if self.n_values == 2 else scores @ self.contrasts(scores)
        probabilities = self.probabilities(scores)
        if self.activation == "hard":
            return self.true_activations(probabilities.argmax(dim=-1), scores)
        return probabilities[..., 1:] if self.n_values == 2 else probabilities

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., n_activations, n_scores)."""
        shape = (*scores.shape[:-1], self.n_activations, self.n_scores)
        if self.activation == "hard":
            return scores.new_zeros(shape)
        if self.activation == "logit":
            one = scores.new_ones(1, 1)
            constant = one if self.n_values == 2 else self.contrasts(scores).T
            return constant.expand(shape)
        p = self.probabilities(scores)
        logits = self.contrasts(scores).T
        mean = p[..., None, :] @ logits
        jacobian = p[..., :, None] * (logits - mean)
        return jacobian[..., 1:, :] if self.n_values == 2 else jacobian

    def activation_pull(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return ``pull @ activation_jacobian``, without the matrix."""
        if self.activation == "hard":
            return torch.zeros_like(scores)
        contrasts = self.contrasts(scores)
        if self.activation == "logit":
            return pull if self.n_values == 2 else pull @ contrasts.T
        p, centred = self._centred_pull(scores, pull)
        return (p * centred) @ contrasts.T

    def activation_curvature(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return the second derivative of ``pull @ activations`` in the scores."""
        if self.activation != "soft":  # activations are linear, or constant
            return scores.new_zeros(*scores.shape, self.n_scores)
        p, centred = self._centred_pull(scores, pull)
        weighted, contrasts = p * centred, self.contrasts(scores)
        outer = weighted[..., :, None] * p[..., None, :]
        return contrasts @ (torch.diag_embed(weighted) - outer - outer.mT) @ contrasts.T

    def _centred_pull(self, scores: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities, and the pull on each less its mean over them."""
        p = self.probabilities(scores)
        if self.n_values == 2:  # the activation is the second probability
            pull = torch.nn.functional.pad(pull, (1, 0))
        return p, pull - (p * pull).sum(dim=-1, keepdim=True)

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of values known for certain: one-hot, or shares."""
        target = self.target(codes, like)
        return target[..., 1:] if self.n_values == 2 else target

    def residual_change(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> Tensor:
        """Return the change of residuals when scores move, to full precision.

        Values and scores are the first axis here, which is several times as fast.

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
        change = self._probability_change(probabilities, shift)
        return _mix(self.contrasts(shift), change)

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return the change of activations when scores move.

        The arguments are those of `residual_change`, without codes. The result has
        shape (n_activations, n_moves, n).
        """
        if self.activation == "logit":
            return shift if self.n_values == 2 else _mix(self.contrasts(shift).T, shift)
        change = self._probability_change(probabilities, shift)
        return self._activation_change(probabilities, change)

    def changes(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `residual_change` and `activation_change` together."""
        change = self._probability_change(probabilities, shift)
        residual = _mix(self.contrasts(shift), change)
        if self.activation == "logit":
            return residual, self.activation_change(probabilities, shift)
        return residual, self._activation_change(probabilities, change)

    def _activation_change(self, probabilities: Tensor, change: Tensor) -> Tensor:
        """Return how activations change with the probabilities."""
        if self.activation == "hard":
            before = probabilities[:, None]
            values = torch.arange(self.n_values, device=change.device)[:, None, None]
            after = ((before + change).argmax(dim=0) == values).to(change.dtype)
            change = after - (before.argmax(dim=0) == values).to(change.dtype)
        return change[1:] if self.n_values == 2 else change

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(code) of every row, (...,), and its derivative, (..., n_scores)."""
        probabilities = self.probabilities(scores)
        value = probabilities[..., code]
        own = torch.zeros_like(probabilities)
        own[..., code] = 1
        contrasts = self.contrasts(scores)
        return value, value[..., None] * (own - probabilities) @ contrasts.T

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return p(own value) minus the largest other p, without the term, (n,).

        Of a soft annotation, the mean of this over its shares.
        """
        probabilities = self.probabilities(without)
        if self.shares is None:
            return lead(probabilities, codes)
        every = torch.arange(self.n_values, device=codes.device)
        leads = [lead(probabilities, code.expand_as(codes)) for code in every]
        return (self.target(codes, without) * torch.stack(leads, dim=1)).sum(dim=1)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the values of soft codes: positions, codes of values, and shares."""
        if self.shares is None or not (codes >= self.n_values).any():
            return None
        target = self.target(codes, self.shares.table)
        positions, values = target.nonzero(as_tuple=True)
        return positions, values.to(codes.dtype), target[positions, values]

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the codes of all values."""
        return [float(code) for code in range(self.n_values)]

    def _pairs(self, like: Tensor) -> Tensor:
        """Return every pair of values once, (2, n_pairs)."""
        m = self.n_values
        return torch.triu_indices(m, m, offset=1, device=like.device)

    def _probability_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        # p' - p = p (e - <p, e>) / (1 + <p, e>) for e = exp(shift of logits - c) - 1
        # and any c; the largest shift prevents overflow. In place, because new memory
        # takes longer than the arithmetic.
        before = probabilities[:, None]
        growth = _mix(self.contrasts(shift).T, shift)
        growth -= growth.amax(dim=0)
        change = growth.expm1_().mul_(before)
        mean = change.sum(dim=0)
        change.addcmul_(before, mean[None], value=-1).div_(mean + 1)
        # If an unlikely value overtakes all others, 1 + <p, e> has no correct digits.
        far = mean < _OVERTAKEN
        if far.any():
            old = before.expand_as(change)[:, far]
            least = torch.finfo(old.dtype).tiny  # a probability may be 0
            logits = old.clamp_min(least).log()
            logits += _mix(self.contrasts(shift).T, shift[:, far])
            change[:, far] = logits.softmax(dim=0) - old
        return change

    def _logits_by_value(self, scores: Tensor) -> Tensor:
        """Return logits, (n_values, n), because softmax along few columns is slower.

        Scores of any leading shape become n rows.
        """
        return self.contrasts(scores).T @ scores.reshape(-1, self.n_scores).T


def one_hot(codes: Tensor, n_values: int, like: Tensor) -> Tensor:
    """Return the distributions of values that are certain, (..., n_values)."""
    return torch.nn.functional.one_hot(codes.long(), n_values).to(like.dtype)


def lead(probabilities: Tensor, codes: Tensor) -> Tensor:
    """Return p(own value) minus the largest other p of every row, (n,)."""
    own = codes.long()[:, None]
    rivals = probabilities.scatter(1, own, -1.0)
    return probabilities.gather(1, own)[:, 0] - rivals.amax(dim=1)


def _mix(matrix: Tensor, values: Tensor) -> Tensor:
    """Multiply along the first axis, in one product."""
    return (matrix @ values.flatten(1)).reshape(-1, *values.shape[1:])
