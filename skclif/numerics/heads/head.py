"""What a head has to offer: its loss, its curvature, and what can be proposed."""

from typing import Protocol

from torch import Tensor


class Head(Protocol):
    """The loss of one value given its scores, and the derivatives of the loss.

    A head is all that fitting, influence, suspects, suggestions and edits know of one
    kind of value: a new kind is a new head in a file of its own. Its methods work on
    the last axis: scores have shape (..., n_scores), codes (...,). What a head predicts
    from scores is called its probabilities, whatever it predicts. Heads are equal if
    they are evaluated alike, so that equal heads can be evaluated together.
    """

    @property
    def n_scores(self) -> int:
        """Scores per row."""

    @property
    def n_activations(self) -> int:
        """Activations per row."""

    @property
    def intercept(self) -> bool:
        """Whether scores have a bias; without one its parameter is 0."""

    @property
    def is_categorical(self) -> bool:
        """Whether codes are those of categories; otherwise they are numbers."""

    @property
    def is_quadratic(self) -> bool:
        """Whether the curvature is constant, so that one Newton step is exact."""

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights of parameters (n_scores, n_inputs)."""

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return what is predicted, (..., n_values), n_values being 1 for a number."""

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return the loss, (...,)."""

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the scores, (..., n_scores)."""

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the residual's rounding error over that of 1, shaped like codes.

        `size` is what is added up in the scores.
        """

    def curvature(self, probabilities: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., n_scores, n_scores)."""

    def curvature_times(self, probabilities: Tensor, direction: Tensor) -> Tensor:
        """Multiply a direction of the scores by the loss's second derivative."""

    def mean_curvature(self, probabilities: Tensor) -> Tensor:
        """Return the mean of the curvature's diagonal, (...,)."""

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return directions that the curvature is a weighted sum of squares of.

        ``curvature = sum_e weight_e * outer(edge_e, edge_e)`` with the weights of
        `edge_weights`. The result has shape (n_edges, n_scores).
        """

    def edge_weights(self, probabilities: Tensor) -> Tensor:
        """Return the weights of the edges, none of them negative, (..., n_edges)."""

    def activations(self, scores: Tensor) -> Tensor:
        """Return what the label head sees, (..., n_activations)."""

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., n_activations, n_scores)."""

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of values known for certain, (..., n_activations)."""

    def residual_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much residuals change when scores move, keeping all digits.

        Values and scores come first here, which is several times as fast.

        Parameters
        ----------
        probabilities : Tensor of shape (n_values, n)
            Before the move.
        shift : Tensor of shape (n_scores, n_moves, n)

        Returns
        -------
        change : Tensor of shape (n_scores, n_moves, n)
        """

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return by how much activations change when scores move.

        Arguments are those of `residual_change`; the result has shape (n_activations,
        n_moves, n).
        """

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(code) or the number, (...,), and its derivative, (..., n_scores)."""

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return how far each row's own value is ahead of all others, (n,).

        Parameters
        ----------
        scores, without : Tensor of shape (n, n_scores)
            By the head as it is, and by the head without the row's term.
        codes : Tensor of shape (n,)
        """

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the codes that can be proposed, given those observed, (n,)."""


class CategoricalHead(Head, Protocol):
    """A head whose codes are those of categories."""

    @property
    def n_values(self) -> int:
        """How many categories there are."""

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p(value), of shape (..., n_values)."""
