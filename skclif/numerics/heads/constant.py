"""The constant head: a value that was always the same when it was observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from .cone import Cone
from .rows_last import RowsLast


@dataclass(frozen=True)
class ConstantHead(RowsLast):
    """A value that is certain: its loss is 0, whatever the score.

    One score keeps arrays regular. Nothing but the penalty moves its parameters, so
    that they are 0. The label head sees no activation: what never changes tells it
    nothing that its intercept does not know.
    """

    is_categorical: ClassVar[bool] = True
    is_quadratic: ClassVar[bool] = True
    is_curved_by_codes: ClassVar[bool] = False
    is_bounded: ClassVar[bool] = False
    held: ClassVar[tuple[int, ...]] = ()

    n_values: int = 1
    n_scores: int = 1
    n_activations: int = 0
    intercept: bool = False  # without a penalty, its bias would have no optimum

    def needed(self, codes: Tensor) -> Tensor:
        """Return that no code is needed."""
        return torch.zeros_like(codes, dtype=torch.bool)

    def missing(self, n_inputs: int) -> Tensor | None:
        """Return that only the bias is always 0, (1, n_inputs)."""
        missing = torch.zeros(1, n_inputs, dtype=torch.bool)
        missing[:, -1] = True
        return missing

    def cone(self, n_inputs: int, like: Tensor) -> Cone | None:
        """Return None: no parameter is bound to others."""
        return None

    def of_inputs(self, columns: Sequence[int]) -> Self:
        """Return the head itself: no input has a part of its own in it."""
        return self

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights, which are the parameters."""
        return parameters

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""
        return weights

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return 1 for every row, (..., 1)."""
        return torch.ones_like(scores)

    def target(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return that the value is certain, (..., 1)."""
        return like.new_ones(*codes.shape, 1)

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p(value), which is 0, (..., 1)."""
        return torch.zeros_like(scores)

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return 0 for every row, (...,)."""
        return torch.zeros_like(scores).squeeze(-1)

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the score, 0, (..., 1)."""
        return torch.zeros_like(probabilities)

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return 0: zeros are not rounded."""
        return torch.zeros_like(probabilities).squeeze(-1)

    def curvature_times(
        self, probabilities: Tensor, codes: Tensor, direction: Tensor
    ) -> Tensor:
        """Multiply a direction of the score by the loss's second derivative, 0."""
        return torch.zeros_like(direction)

    def curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., 1, 1)."""
        return torch.zeros_like(probabilities)[..., None]

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return the only direction, (1, 1)."""
        return like.new_ones(1, 1)

    def edge_weights(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return 0 for every row, (..., 1)."""
        return torch.zeros_like(probabilities)

    def value_contrasts(self, like: Tensor) -> Tensor | None:
        """Return None: the curvature is that of no values."""
        return None

    def mean_curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the curvature, of shape (...,)."""
        return torch.zeros_like(probabilities).squeeze(-1)

    def activations(self, scores: Tensor) -> Tensor:
        """Return no input for the label head, (..., 0)."""
        return scores[..., :0]

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., 0, 1)."""
        return scores[..., :0, None]

    def activation_pull(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return ``pull @ activation_jacobian``: nothing pulls."""
        return torch.zeros_like(scores)

    def activation_curvature(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return the second derivative of ``pull @ activations``: 0."""
        return torch.zeros_like(scores)[..., None]

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return no activation, (..., 0)."""
        return like.new_empty(*codes.shape, 0)

    def residual_change(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> Tensor:
        """Return the change of residuals when scores move: none."""
        return torch.zeros_like(shift)

    def changes(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of residuals and of activations when scores move."""
        residual = self.residual_change(probabilities, codes, shift)
        return residual, self.activation_change(probabilities, shift)

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return the change of no activation, (0, n_moves, n)."""
        return shift[:0]

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(value) of every row, 1, and its derivative, 0."""
        return torch.ones_like(scores).squeeze(-1), torch.zeros_like(scores)

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return the lead of the value over all others, of which there are none: 1."""
        return torch.ones_like(scores).squeeze(-1)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return None: a code is the only value."""
        return None

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the code of the only value."""
        return [0.0]
