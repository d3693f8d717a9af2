"""Penalised fitting of a stack of heads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..products import affine, affine_adjoint, dense_rows, row_squares
from ..sparse import Features
from .cone import Cone
from .head import Head
from .stack import HeadStack, Index


@dataclass(frozen=True)
class HeadsProblem:
    """Penalised fitting of a stack of heads, each its own convex problem.

    Head j minimises ``sum_i weights[i, j] * loss(i, j) + penalties[j] / 2 * ||W_j||^2``
    over its weights; the bias is not penalised. The parameters of all heads are in one
    matrix of shape (n_scores, n_features + 1), with the bias last.

    Parameters
    ----------
    stack : HeadStack
    features : Tensor or SparseFeatures of shape (n_samples, n_features)
    codes : Tensor of shape (n_samples, n_heads)
        Codes of categories, or numbers for ridge heads. If the weight is 0, any valid
        code.
    weights : Tensor of shape (n_samples, n_heads)
        0 if an annotation is missing.
    penalties : Tensor of shape (n_heads,)
        ``1 / C`` of every head.
    """

    stack: HeadStack
    features: Features
    codes: Tensor
    weights: Tensor
    penalties: Tensor

    @property
    def frame(self) -> "HeadsProblem":
        """The problem itself: what knows the heads of objectives."""
        return self

    @property
    def without_rows(self) -> "HeadsProblem":
        """The problem of no rows, with the same heads and penalties."""
        return replace(
            self,
            # A copy: a view would keep all rows, and take them along.
            features=self.features.new_zeros(0, self.features.shape[1]),
            codes=self.codes[:0].clone(),
            weights=self.weights[:0].clone(),
        )

    def of_heads(self, heads: Sequence[int]) -> "HeadsProblem":
        """Return the problem of some of the heads."""
        if len(heads) == len(self.stack):
            return self
        return replace(
            self,
            stack=HeadStack(self.stack.heads[j] for j in heads),
            codes=self.codes[:, heads],
            weights=self.weights[:, heads],
            penalties=self.penalties[heads],
        )

    def probabilities_of(
        self, heads: Sequence[int], probabilities: list[Tensor]
    ) -> list[Tensor]:
        """Return the probabilities of some heads, as the problem of them groups them.

        Parameters
        ----------
        heads : sequence of int
        probabilities : list of Tensor
            Of each group of all heads.
        """
        by_head: dict[int, Tensor] = {}
        for (_, members, _), p in zip(self.stack.groups, probabilities, strict=True):
            positions = torch.arange(len(self.stack))[members].tolist()
            by_head |= {j: p[:, k] for k, j in enumerate(positions)}
        groups: dict[Head, list[Tensor]] = {}
        for j in heads:
            groups.setdefault(self.stack.heads[j], []).append(by_head[j])
        return [torch.stack(parts, dim=1) for parts in groups.values()]

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all heads, (n_samples, n_scores)."""
        return affine(self.features, parameters)

    def probabilities(self, scores: Tensor) -> list[Tensor]:
        """Return the probabilities of each group of heads."""
        return [head.probabilities(s) for head, _, s in self._grouped(scores)]

    def objective(self, scores: Tensor, parameters: Tensor) -> Tensor:
        """Return every head's objective, (n_heads,)."""
        value = 0.5 * self.penalties * self.by_head(parameters[:, :-1] ** 2)
        for head, members, s in self._grouped(scores):
            losses = head.loss(s, self.codes[:, members])
            value[members] += (self.weights[:, members] * losses).sum(dim=0)
        return value

    def magnitude(self, scores: Tensor, objective: Tensor) -> Tensor:
        """Return the size of the terms that cancel in every head's objective.

        A loss near zero is a difference of large logits, so its rounding error is that
        of the scores.
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
                head.curvature_times(p, self.codes[:, members], s)
                for (head, members, s), p in zip(
                    self._grouped(along), probabilities, strict=True
                )
            ],
            direction,
        )

    def mean_curvature(self, probabilities: list[Tensor]) -> Tensor:
        """Return every head's curvature averaged over rows and scores, (n_heads,)."""
        return self.row_curvature(probabilities).mean(dim=0)

    def row_curvature(self, probabilities: list[Tensor]) -> Tensor:
        """Return every row's curvature averaged over scores, (n_samples, n_heads)."""
        curvature = torch.empty_like(self.weights)
        for (head, members, _), p in zip(self.stack.groups, probabilities, strict=True):
            mean = head.mean_curvature(p, self.codes[:, members])
            curvature[:, members] = self.weights[:, members] * mean
        return curvature

    def gradient_noise(self, probabilities: list[Tensor], parameters: Tensor) -> Tensor:
        """Return the rounding error of every head's gradient, (n_heads,)."""
        norms = self._row_norms
        sizes = norms[:, None] * self.by_head(parameters**2).sqrt()
        noise = torch.empty_like(self.weights[0])
        for (head, members, _), p in zip(self.stack.groups, probabilities, strict=True):
            of_rows = head.residual_noise(p, self.codes[:, members], sizes[:, members])
            noise[members] = norms @ (self.weights[:, members] * of_rows)
        return torch.finfo(self.features.dtype).eps * noise

    def largest_score(self, scores: Tensor) -> Tensor:
        """Return the largest magnitude of a score of every head, (n_heads,)."""
        largest = torch.zeros_like(self.weights[0])
        for _, members, s in self._grouped(scores):
            largest[members] = s.abs().amax(dim=(0, 2))
        return largest

    def by_head(self, values: Tensor) -> Tensor:
        """Sum an array shaped like the parameters over each head, (n_heads,)."""
        sums = values.new_zeros(len(self.stack))
        return sums.index_add_(0, self._head_of_score, values.sum(dim=1))

    def per_score(self, values: Tensor) -> Tensor:
        """Repeat the value of each head for its rows of parameters, (n_scores, 1)."""
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
        """Return every head's gradient norm relative to a typical row's, (n_heads,).

        Typical is the root mean square over the rows that have weight, and at least
        1e-4, because rows that are almost certain need no finer optimum.
        """
        probabilities = self.probabilities(self.scores(parameters))
        gradient = self.gradient(probabilities, parameters)
        return self.relative_to_rows(
            self.open_norm(gradient, parameters), *self.row_gradients(probabilities)
        )

    def open_norm(self, gradient: Tensor, parameters: Tensor) -> Tensor:
        """Return the norm of what bounds leave open of every head's gradient."""
        norm = self.by_head(gradient**2).sqrt()
        for j, cone in self.cones.items():
            columns = self.stack.scores[j]
            coordinates = cone.coordinates(parameters[columns])
            along = cone.basis.T @ gradient[columns].flatten()
            norm[j] = cone.open_gradient(coordinates, along).norm()
        return norm

    def row_gradients(self, probabilities: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the sum of squared norms of rows' gradients, and how many rows."""
        sizes = row_squares(self.features) + 1
        squares = torch.zeros_like(self.weights[0])
        for (_, members, _), residual in zip(
            self.stack.groups, self.residuals(probabilities), strict=True
        ):
            rows = (self.weights[:, members, None] * residual).square().sum(dim=2)
            squares[members] = sizes @ rows
        return squares, (self.weights > 0).sum(dim=0)

    @staticmethod
    def relative_to_rows(norm: Tensor, squares: Tensor, counts: Tensor) -> Tensor:
        """Return gradient norms relative to the root mean square of rows'."""
        typical = (squares / counts).sqrt()
        return norm / typical.clamp(min=1e-4)

    def penalised(self, parameters: Tensor) -> Tensor:
        """Return the gradient of the penalties, or their Hessian times a direction."""
        result = self.per_score(self.penalties) * parameters
        result[:, -1] = 0
        return result

    def without_missing(self, parameters: Tensor) -> Tensor:
        """Return parameters with 0 for those that no fit moves."""
        if self._missing is None:
            return parameters
        return parameters.masked_fill(self._missing, 0.0)

    def only_held(self, parameters: Tensor) -> Tensor:
        """Return parameters with 0 for all that a fit moves."""
        return parameters - self.without_missing(parameters)

    @property
    def dense(self) -> Tensor:
        """The features as a tensor: of some rows, or of rows that are dense."""
        return dense_rows(self.features)

    @property
    def is_about_inputs(self) -> bool:
        """Whether heads are about single inputs, and not about any base of them."""
        return bool(self.cones) or any(head.held for head in self.stack.heads)

    @cached_property
    def cones(self) -> dict[int, Cone]:
        """The cones of the heads whose parameters have bounds."""
        n_inputs = self.features.shape[1] + 1
        like = self.features.new_empty(0)
        return {
            j: cone
            for j, head in enumerate(self.stack.heads)
            if head.is_bounded and (cone := head.cone(n_inputs, like)) is not None
        }

    @cached_property
    def _missing(self) -> Tensor | None:
        """Which parameters no fit moves; None if all of them can move."""
        n_inputs = self.features.shape[1] + 1
        parts = [head.missing(n_inputs) for head in self.stack.heads]
        if all(part is None for part in parts):
            return None
        missing = torch.zeros(self.stack.n_scores, n_inputs, dtype=torch.bool)
        for columns, part in zip(self.stack.scores, parts, strict=True):
            if part is not None:
                missing[columns] = part
        return missing.to(self.features.device)

    @cached_property
    def _row_norms(self) -> Tensor:
        """Norms of ``[x, 1]``, (n_samples,)."""
        return row_squares(self.features).add(1).sqrt()

    @cached_property
    def _head_of_score(self) -> Tensor:
        return self.stack.head_of_score.to(self.features.device)

    def _grouped(self, scores: Tensor) -> list[tuple[Head, Index, Tensor]]:
        return [
            (head, members, scores[:, columns].reshape(len(scores), -1, head.n_scores))
            for head, members, columns in self.stack.groups
        ]

    def _pull_back(self, parts: list[Tensor], parameters: Tensor) -> Tensor:
        """Return ``sum_i weight * part_i (x) [x_i, 1]`` plus the penalty's share."""
        columns = self.features.new_empty(len(self.features), self.stack.n_scores)
        for (_, members, positions), part in zip(self.stack.groups, parts, strict=True):
            columns[:, positions] = (self.weights[:, members, None] * part).flatten(1)
        result = affine_adjoint(self.features, columns)
        result[:, :-1] += self.per_score(self.penalties) * parameters[:, :-1]
        return self.without_missing(result)
