"""Linear heads on shared features: softmax for categories, ridge for numbers.

A softmax head with m values has m - 1 *scores* per row, linear in ``[x, 1]``; the
logits of its values are ``scores @ contrasts``. With three values or more the contrasts
are orthonormal (Helmert), so that the penalty on the scores' weights equals
scikit-learn's penalty on the weights of all m logits, while the direction that shifts
every logit alike, along which the loss is flat, does not exist. With two values the one
score is the log-odds of the second value. The one score of a ridge head is its
prediction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

# Of one unlikely value's share of the normaliser, beyond which differences lose digits.
_OVERTAKEN = -0.9


@dataclass(frozen=True)
class SoftmaxHead:
    """The loss of one categorical value given its scores, and its derivatives.

    Every method works on the last axis, so that heads of equal size can be evaluated
    together: scores have shape (..., n_scores), codes (...,), of any dtype.

    Attributes
    ----------
    n_values : int
    activation : {"soft", "logit", "hard"}
        What the label head sees of it: probabilities, logits centred over the values
        (the log-odds if there are two), or the one-hot of the most probable value.
    intercept : bool
        Whether scores have a bias; without one its parameter is 0.
    """

    n_values: int
    activation: str = "soft"
    intercept: bool = True

    @property
    def n_scores(self) -> int:
        """Scores per row."""
        return self.n_values - 1

    @property
    def n_activations(self) -> int:
        """Activations per row; a head with two values has one."""
        return 1 if self.n_values == 2 else self.n_values

    def inputs(self, features: Tensor) -> Tensor:
        """Return what scores are linear in: ``[features, 1]``, or ``[features, 0]``."""
        return torch.nn.functional.pad(features, (0, 1), value=float(self.intercept))

    def contrasts(self, like: Tensor) -> Tensor:
        """Return the (n_scores, n_values) map from scores to logits."""
        m = self.n_values
        if m == 2:
            return torch.tensor([[-0.5, 0.5]], dtype=like.dtype, device=like.device)
        rows = torch.arange(1, m, dtype=like.dtype, device=like.device)[:, None]
        columns = torch.arange(m, dtype=like.dtype, device=like.device)[None, :]
        helmert = (columns < rows).to(like.dtype) - rows * (columns == rows)
        return helmert / torch.sqrt(rows * (rows + 1))

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights: one row for two values, else one a value."""
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
        """Return ``-log p(code)`` in nats, of shape (...,)."""
        log_p = self.log_probabilities(scores)
        return -log_p.gather(-1, codes.long()[..., None]).squeeze(-1)

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the scores, (..., n_scores)."""
        one_hot = torch.nn.functional.one_hot(codes.long(), self.n_values)
        # p - 1 has no digits left where p is nearly 1; minus the other values has all.
        others = probabilities * (1 - one_hot)
        wrong = others - one_hot * others.sum(dim=-1, keepdim=True)
        return wrong @ self.contrasts(probabilities).T

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the residual's rounding error over that of 1, shaped like codes.

        `size` is what is added up in the scores.
        """
        residual = self.residual(probabilities, codes).abs().amax(dim=-1)
        return torch.clamp(residual + self.mean_curvature(probabilities) * size, max=1)

    def curvature_times(self, probabilities: Tensor, direction: Tensor) -> Tensor:
        """Multiply a direction of the scores by the loss's second derivative."""
        contrasts = self.contrasts(probabilities)
        logits = direction @ contrasts
        mean = (probabilities * logits).sum(dim=-1, keepdim=True)
        return (probabilities * (logits - mean)) @ contrasts.T

    def curvature(self, probabilities: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., n_scores, n_scores)."""
        # A sum over pairs of values, U (diag p - p p') U' without its cancellation.
        contrasts = self.contrasts(probabilities)
        first, second = torch.triu_indices(
            self.n_values, self.n_values, offset=1, device=probabilities.device
        )
        differences = contrasts[:, first] - contrasts[:, second]
        products = probabilities[..., first] * probabilities[..., second]
        # One product, whose memory grows with pairs or scores squared, never with both.
        squares = (differences[:, None] * differences[None, :]).flatten(0, 1)
        shape = (*probabilities.shape[:-1], self.n_scores, self.n_scores)
        return (products @ squares.T).reshape(shape)

    def mean_curvature(self, probabilities: Tensor) -> Tensor:
        """Return the mean of the curvature's diagonal, of shape (...,)."""
        # The trace of U (diag p - p p') U' is 1 - |p|^2, halved for two values.
        trace = 1 - (probabilities**2).sum(dim=-1)
        return trace / 2 if self.n_values == 2 else trace / self.n_scores

    def activations(self, scores: Tensor) -> Tensor:
        """Return what the label head sees, (..., n_activations)."""
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

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of values known for certain (one-hot)."""
        one_hot = torch.nn.functional.one_hot(codes.long(), self.n_values)
        one_hot = one_hot.to(like.dtype)
        return one_hot[..., 1:] if self.n_values == 2 else one_hot

    def residual_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much residuals change when scores move, keeping all digits.

        Values and scores stand first here, which is several times as fast.

        Parameters
        ----------
        probabilities : Tensor of shape (n_values, n)
            Before the move.
        shift : Tensor of shape (n_scores, n_moves, n)

        Returns
        -------
        change : Tensor of shape (n_scores, n_moves, n)
        """
        change = self._probability_change(probabilities, shift)
        return _mix(self.contrasts(shift), change)

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much activations change when scores move.

        Arguments are those of `residual_change`; the result has shape (n_activations,
        n_moves, n).
        """
        if self.activation == "logit":
            return shift if self.n_values == 2 else _mix(self.contrasts(shift).T, shift)
        change = self._probability_change(probabilities, shift)
        if self.activation == "hard":
            before = probabilities[:, None]
            values = torch.arange(self.n_values, device=shift.device)[:, None, None]
            after = ((before + change).argmax(dim=0) == values).to(shift.dtype)
            change = after - (before.argmax(dim=0) == values).to(shift.dtype)
        return change[1:] if self.n_values == 2 else change

    def _probability_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        # p' - p = p (e - <p, e>) / (1 + <p, e>) for e = exp(shift of logits - c) - 1
        # and any c; the largest shift keeps it from overflowing. In place, because
        # fresh memory takes longer than the arithmetic.
        before = probabilities[:, None]
        growth = _mix(self.contrasts(shift).T, shift)
        growth -= growth.amax(dim=0)
        change = growth.expm1_().mul_(before)
        mean = change.sum(dim=0)
        change.addcmul_(before, mean[None], value=-1).div_(mean + 1)
        # An unlikely value overtakes all others: no digits of 1 + <p, e> are left.
        far = mean < _OVERTAKEN
        if far.any():
            old = before.expand_as(change)[:, far]
            least = torch.finfo(old.dtype).tiny  # a value may be impossible by now
            logits = old.clamp_min(least).log()
            logits += _mix(self.contrasts(shift).T, shift[:, far])
            change[:, far] = logits.softmax(dim=0) - old
        return change

    def _logits_by_value(self, scores: Tensor) -> Tensor:
        """Return logits, (n_values, n): softmax along few columns is far slower.

        Scores of any leading shape are rows here, n of them.
        """
        return self.contrasts(scores).T @ scores.reshape(-1, self.n_scores).T

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(code) of every row, (...,), and its derivative, (..., n_scores)."""
        probabilities = self.probabilities(scores)
        value = probabilities[..., code]
        one_hot = torch.zeros_like(probabilities)
        one_hot[..., code] = 1
        contrasts = self.contrasts(scores)
        return value, value[..., None] * (one_hot - probabilities) @ contrasts.T


@dataclass(frozen=True)
class RidgeHead:
    """The loss of a number given its prediction: half the squared error.

    It has the methods of `SoftmaxHead`; its one score is its activation, and a code is
    the number itself.
    """

    n_scores: int = 1
    n_activations: int = 1
    intercept: bool = True

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights, which are the parameters."""
        return parameters

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""
        return weights

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return what the residual is taken from: the prediction."""
        return scores

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return half the squared error, of shape (...,)."""
        return (scores.squeeze(-1) - codes) ** 2 / 2

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the score, (..., 1)."""
        return probabilities - codes[..., None]

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the residual's rounding error over that of 1, shaped like codes."""
        return codes.abs().amax(dim=0).expand_as(codes)

    def curvature_times(self, probabilities: Tensor, direction: Tensor) -> Tensor:
        """Multiply a direction of the score by the loss's second derivative, 1."""
        return direction

    def curvature(self, probabilities: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., 1, 1)."""
        return torch.ones_like(probabilities)[..., None]

    def mean_curvature(self, probabilities: Tensor) -> Tensor:
        """Return the curvature, of shape (...,)."""
        return torch.ones_like(probabilities).squeeze(-1)

    def activations(self, scores: Tensor) -> Tensor:
        """Return what the label head sees: the prediction."""
        return scores

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., 1, 1)."""
        return torch.ones_like(scores)[..., None]

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the number itself, (..., 1)."""
        return codes.to(like.dtype)[..., None]

    def residual_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much residuals change when scores move by `shift`."""
        return shift

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much activations change when scores move by `shift`."""
        return shift

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return the prediction of every row, (...,), and its derivative, (..., 1)."""
        return scores.squeeze(-1), torch.ones_like(scores)


Head = SoftmaxHead | RidgeHead


class HeadStack:
    """Heads side by side: which score and activation columns belong to which head."""

    def __init__(self, heads: Iterable[Head]):
        self.heads = tuple(heads)
        self.scores = _consecutive([head.n_scores for head in self.heads])
        self.activations = _consecutive([head.n_activations for head in self.heads])

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def n_scores(self) -> int:
        """Score columns of all heads."""
        return sum(head.n_scores for head in self.heads)

    @property
    def n_activations(self) -> int:
        """Activation columns of all heads."""
        return sum(head.n_activations for head in self.heads)

    @cached_property
    def head_of_score(self) -> Tensor:
        """The head of every score column."""
        sizes = torch.tensor([head.n_scores for head in self.heads])
        return torch.repeat_interleave(torch.arange(len(self)), sizes)

    @cached_property
    def groups(self) -> tuple[tuple[Head, Tensor, Tensor], ...]:
        """Heads of equal size, evaluated together: (head, positions, columns)."""
        groups = []
        for head in dict.fromkeys(self.heads):
            members = [j for j, other in enumerate(self.heads) if other == head]
            columns = [
                c for j in members for c in range(*self.scores[j].indices(2**62))
            ]
            groups.append((head, torch.tensor(members), torch.tensor(columns)))
        return tuple(groups)

    def split(self, scores: Tensor) -> list[Tensor]:
        """Return the scores of each head."""
        return [scores[..., columns] for columns in self.scores]

    def columns(self, heads: Sequence[int]) -> Tensor:
        """Return the score columns of some heads."""
        positions = torch.arange(self.n_scores)
        empty = positions[:0]
        return torch.cat([empty, *(positions[self.scores[j]] for j in heads)])

    def predict_activations(self, scores: Tensor) -> Tensor:
        """Return the activations of all heads side by side."""
        parts = [
            head.activations(part)
            for head, part in zip(self.heads, self.split(scores), strict=True)
        ]
        return torch.cat(parts, dim=-1)


def _mix(matrix: Tensor, values: Tensor) -> Tensor:
    """Multiply along the first axis, in one product."""
    return (matrix @ values.flatten(1)).reshape(-1, *values.shape[1:])


def _consecutive(sizes: Sequence[int]) -> tuple[slice, ...]:
    """Return adjacent slices of the given sizes."""
    slices, start = [], 0
    for size in sizes:
        slices.append(slice(start, start + size))
        start += size
    return tuple(slices)


def affine(features: Tensor, weights: Tensor) -> Tensor:
    """Return ``[features, 1] @ weights.T`` without appending the column of ones."""
    return torch.addmm(weights[:, -1], features, weights[:, :-1].T)


def affine_adjoint(features: Tensor, columns: Tensor) -> Tensor:
    """Return ``columns.T @ [features, 1]`` without appending the column of ones."""
    return torch.cat([columns.T @ features, columns.sum(dim=0)[:, None]], dim=1)


def with_ones(features: Tensor) -> Tensor:
    """Return ``[features, 1]``."""
    return torch.nn.functional.pad(features, (0, 1), value=1.0)


def row_space(features: Tensor) -> Tensor | None:
    """Return an orthonormal basis of the rows' span, or None where nothing is won.

    With fewer rows than features every optimum and every gradient lie in that span,
    and the penalty does not see the rotation: solving in its coordinates is exact.
    The basis has shape (n_features, n_samples).
    """
    n_samples, n_features = features.shape
    return torch.linalg.qr(features.T).Q if n_samples < n_features else None


@dataclass(frozen=True)
class HeadsProblem:
    """Penalised fitting of a stack of heads, each its own convex problem.

    Head j minimises ``sum_i weights[i, j] * loss(i, j) + penalty / 2 * ||W_j||^2``
    over its weights, the bias not penalised. Parameters of all heads stand below each
    other: shape (n_scores, n_features + 1), bias last.

    Parameters
    ----------
    stack : HeadStack
    features : Tensor of shape (n_samples, n_features)
    codes : Tensor of shape (n_samples, n_heads)
        Codes of categories, or numbers for ridge heads; any valid one where the weight
        is 0.
    weights : Tensor of shape (n_samples, n_heads)
        0 where an annotation is missing.
    penalty : float
        ``1 / C``.
    """

    stack: HeadStack
    features: Tensor
    codes: Tensor
    weights: Tensor
    penalty: float

    def of_heads(self, heads: Sequence[int]) -> "HeadsProblem":
        """Return the same for some of the heads."""
        if len(heads) == len(self.stack):
            return self
        return replace(
            self,
            stack=HeadStack(self.stack.heads[j] for j in heads),
            codes=self.codes[:, heads],
            weights=self.weights[:, heads],
        )

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all heads, (n_samples, n_scores)."""
        return affine(self.features, parameters)

    def probabilities(self, scores: Tensor) -> list[Tensor]:
        """Return the probabilities of each group of heads."""
        return [head.probabilities(s) for head, _, s in self._grouped(scores)]

    def objective(self, scores: Tensor, parameters: Tensor) -> Tensor:
        """Return every head's objective, (n_heads,)."""
        value = 0.5 * self.penalty * self.by_head(parameters[:, :-1] ** 2)
        for head, members, s in self._grouped(scores):
            losses = head.loss(s, self.codes[:, members])
            value[members] += (self.weights[:, members] * losses).sum(dim=0)
        return value

    def magnitude(self, scores: Tensor, objective: Tensor) -> Tensor:
        """Return the size of what is added and cancelled in every head's objective.

        A loss near zero is the difference of logits that are not: its rounding error
        is that of the scores, not its own.
        """
        size = objective.abs()
        for _, members, s in self._grouped(scores):
            cancelled = self.weights[:, members] * s.abs().amax(dim=-1)
            size[members] += cancelled.sum(dim=0)
        return size

    def gradient(self, probabilities: list[Tensor], parameters: Tensor) -> Tensor:
        """Return the gradient of every head's objective, shaped like parameters."""
        return self._pull_back(self.residuals(probabilities), parameters)

    def hessian_times(self, probabilities: list[Tensor], direction: Tensor) -> Tensor:
        """Multiply a direction by every head's Hessian."""
        along = self.scores(direction)
        return self._pull_back(
            [
                head.curvature_times(p, s)
                for (head, _, s), p in zip(
                    self._grouped(along), probabilities, strict=True
                )
            ],
            direction,
        )

    def mean_curvature(self, probabilities: list[Tensor]) -> Tensor:
        """Return every head's curvature averaged over rows and scores, (n_heads,)."""
        mean = torch.empty_like(self.weights[0])
        for (head, members, _), p in zip(self.stack.groups, probabilities, strict=True):
            rows = self.weights[:, members] * head.mean_curvature(p)
            mean[members] = rows.mean(dim=0)
        return mean

    def gradient_noise(self, probabilities: list[Tensor], parameters: Tensor) -> Tensor:
        """Return the rounding error of every head's gradient, (n_heads,)."""
        norms = (self.features**2).sum(dim=1).add(1).sqrt()
        sizes = norms[:, None] * self.by_head(parameters**2).sqrt()
        noise = torch.empty_like(self.weights[0])
        for (head, members, _), p in zip(self.stack.groups, probabilities, strict=True):
            of_rows = head.residual_noise(p, self.codes[:, members], sizes[:, members])
            noise[members] = norms @ (self.weights[:, members] * of_rows)
        return torch.finfo(self.features.dtype).eps * noise

    def largest_score(self, scores: Tensor) -> Tensor:
        """Return the largest score of every head by magnitude, (n_heads,)."""
        largest = torch.zeros_like(self.weights[0])
        for _, members, s in self._grouped(scores):
            largest[members] = s.abs().amax(dim=(0, 2))
        return largest

    def by_head(self, values: Tensor) -> Tensor:
        """Sum an array shaped like the parameters over each head, (n_heads,)."""
        sums = values.new_zeros(len(self.stack))
        return sums.index_add_(0, self._head_of_score, values.sum(dim=1))

    def per_score(self, values: Tensor) -> Tensor:
        """Spread one value a head over its rows of parameters, (n_scores, 1)."""
        return values[self._head_of_score][:, None]

    def residuals(self, probabilities: list[Tensor]) -> list[Tensor]:
        """Return the residuals of each group of heads."""
        return [
            head.residual(p, self.codes[:, members])
            for (head, members, _), p in zip(
                self.stack.groups, probabilities, strict=True
            )
        ]

    def relative_gradient(self, parameters: Tensor) -> Tensor:
        """Return every head's gradient norm over that of a typical row, (n_heads,).

        Typical is the root mean square over the rows that have weight, but at least
        1e-4: rows that are all but certain need no finer optimum.
        """
        probabilities = self.probabilities(self.scores(parameters))
        norm = self.by_head(self.gradient(probabilities, parameters) ** 2).sqrt()
        sizes = (self.features**2).sum(dim=1) + 1
        squares = torch.zeros_like(norm)
        for (_, members, _), residual in zip(
            self.stack.groups, self.residuals(probabilities), strict=True
        ):
            rows = (self.weights[:, members, None] * residual).square().sum(dim=2)
            squares[members] = sizes @ rows
        typical = (squares / (self.weights > 0).sum(dim=0)).sqrt()
        return norm / typical.clamp(min=1e-4)

    def without_missing_biases(self, parameters: Tensor) -> Tensor:
        """Return the same with 0 for biases that heads do not have."""
        if all(head.intercept for head in self.stack.heads):
            return parameters
        result = parameters.clone()
        for head, columns in zip(self.stack.heads, self.stack.scores, strict=True):
            result[columns, -1] *= head.intercept
        return result

    @cached_property
    def _head_of_score(self) -> Tensor:
        return self.stack.head_of_score.to(self.features.device)

    def _grouped(self, scores: Tensor) -> list[tuple[Head, Tensor, Tensor]]:
        return [
            (head, members, scores[:, columns].reshape(-1, len(members), head.n_scores))
            for head, members, columns in self.stack.groups
        ]

    def _pull_back(self, parts: list[Tensor], parameters: Tensor) -> Tensor:
        """Return ``sum_i weight * part_i (x) [x_i, 1]`` plus the penalty's share."""
        columns = self.features.new_empty(len(self.features), self.stack.n_scores)
        for (_, members, positions), part in zip(self.stack.groups, parts, strict=True):
            columns[:, positions] = (self.weights[:, members, None] * part).flatten(1)
        result = affine_adjoint(self.features, columns)
        result[:, :-1] += self.penalty * parameters[:, :-1]
        return self.without_missing_biases(result)
