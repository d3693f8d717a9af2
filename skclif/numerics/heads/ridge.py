"""The ridge head: the loss of a number given its prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
