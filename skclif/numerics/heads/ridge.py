"""The ridge head: the loss of a number given its prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from .cone import Cone
from .rows_last import RowsLast

# Levels of the quantiles that are proposed instead of a number.
_QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class RidgeHead(RowsLast):
    """The loss of a number given its prediction: half the squared error.

    Its only score is its prediction and its activation. A code is the number itself.
    """

    is_categorical: ClassVar[bool] = False
    is_quadratic: ClassVar[bool] = True
    is_curved_by_codes: ClassVar[bool] = False
    is_bounded: ClassVar[bool] = False
    held: ClassVar[tuple[int, ...]] = ()

    n_scores: int = 1
    n_activations: int = 1
    intercept: bool = True

    def needed(self, codes: Tensor) -> Tensor:
        """Return that no number is needed."""
        return torch.zeros_like(codes, dtype=torch.bool)

    def missing(self, n_inputs: int) -> Tensor | None:
        """Return None: the head has all parameters."""
        return None

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
        """Return the prediction."""
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
        """Return the relative rounding error of the residual, shaped like codes."""
        return codes.abs().amax(dim=0).expand_as(codes)

    def curvature_times(
        self, probabilities: Tensor, codes: Tensor, direction: Tensor
    ) -> Tensor:
        """Multiply a direction of the score by the loss's second derivative, 1."""
        return direction

    def curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., 1, 1)."""
        return torch.ones_like(probabilities)[..., None]

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return the only direction, (1, 1)."""
        return like.new_ones(1, 1)

    def edge_weights(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return 1 for every row, (..., 1)."""
        return torch.ones_like(probabilities)

    def value_contrasts(self, like: Tensor) -> Tensor | None:
        """Return None: there are no values."""
        return None

    def mean_curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the curvature, of shape (...,)."""
        return torch.ones_like(probabilities).squeeze(-1)

    def activations(self, scores: Tensor) -> Tensor:
        """Return the input for the label head: the prediction."""
        return scores

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., 1, 1)."""
        return torch.ones_like(scores)[..., None]

    def activation_pull(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return ``pull @ activation_jacobian``: the pull on the prediction."""
        return pull

    def activation_curvature(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return the second derivative of ``pull @ activations``: 0."""
        return torch.zeros_like(scores)[..., None]

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the number itself, (..., 1)."""
        return codes.to(like.dtype)[..., None]

    def residual_change(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> Tensor:
        """Return the change of residuals when scores move by `shift`."""
        return shift

    def changes(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of residuals and of activations when scores move."""
        residual = self.residual_change(probabilities, codes, shift)
        return residual, self.activation_change(probabilities, shift)

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return the change of activations when scores move by `shift`."""
        return shift

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return the prediction of every row, (...,), and its derivative, (..., 1)."""
        return scores.squeeze(-1), torch.ones_like(scores)

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return minus the size of every row's studentised residual, (n,).

        The unit is the standard deviation of the other rows' residuals.
        """
        residuals = studentised(scores, without, codes)
        squares = residuals**2
        others = (squares.sum() - squares) / max(len(codes) - 1, 1)
        zero = torch.zeros_like(residuals)
        return -torch.where(squares > 0, residuals.abs() / others.sqrt(), zero)

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return None: a code is one number."""
        return None

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the quartiles of the observed numbers."""
        levels = observed.new_tensor(_QUARTILES)
        quartiles: list[float] = torch.quantile(observed, levels).tolist()
        return quartiles


def studentised(scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
    """Return signed residuals of equal variance, (n,).

    With the leverage ``h``, a residual ``e`` has ``1 - h`` times the variance of the
    errors, and a left-out residual is ``e / (1 - h)``. Their geometric mean has the
    variance of the errors.

    Parameters
    ----------
    scores, without : Tensor of shape (n, 1)
        Predictions by the head, and by the head without the row's term.
    codes : Tensor of shape (n,)
        The numbers.
    """
    residual = (codes[:, None] - scores)[:, 0]
    left_out = (codes[:, None] - without)[:, 0]
    return left_out.sign() * (residual * left_out).clamp(min=0).sqrt()
