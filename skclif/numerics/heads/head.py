"""The protocol of a head: its loss, its curvature, and the values to propose."""

from collections.abc import Sequence
from typing import Protocol, Self

from torch import Tensor

from ..sparse import Features
from .cone import Cone


class Head(Protocol):
    """The loss of one value given its scores, and the derivatives of the loss.

    Fitting, influence, suspects, suggestions and edits use only these members, so a new
    kind of value is one new file with a new head. Methods work on the last axis: scores
    have shape (..., n_scores), codes (...,). The predictions of a head are called its
    probabilities, even if they are numbers. Heads are equal if they are evaluated in
    the same way, so equal heads can be evaluated together.
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
        """Whether codes mean categories; otherwise they are numbers."""

    @property
    def is_quadratic(self) -> bool:
        """Whether the curvature is constant, so that one Newton step is exact."""

    @property
    def is_curved_by_codes(self) -> bool:
        """Whether the curvature depends on the codes, too."""

    @property
    def is_bounded(self) -> bool:
        """Whether some parameters are bound to be on one side of others."""

    @property
    def held(self) -> tuple[int, ...]:
        """Columns of the inputs whose weights stay as they are, whatever the rows."""

    def needed(self, codes: Tensor) -> Tensor:
        """Return which codes need rows with weight for an optimum to be, (n,), bool."""

    def missing(self, n_inputs: int) -> Tensor | None:
        """Return which parameters no fit moves, (n_scores, n_inputs); None if none.

        They are 0, because the head does not have them, or held. `n_inputs` counts the
        constant, which is last.
        """

    def cone(self, n_inputs: int, like: Tensor) -> Cone | None:
        """Return the parameters that are allowed, with dtype and device of a tensor.

        None if all of them are, except perhaps biases.
        """

    def of_inputs(self, columns: Sequence[int]) -> Self:
        """Return the same head on some columns of its inputs."""

    def to_logit_weights(self, parameters: Tensor) -> Tensor:
        """Return scikit-learn's weights of parameters (n_scores, n_inputs)."""

    def from_logit_weights(self, weights: Tensor) -> Tensor:
        """Invert `to_logit_weights`."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the prediction, (..., n_values); n_values is 1 for a number."""

    def loss(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return the loss, (...,)."""

    def residual(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the derivative of the loss in the scores, (..., n_scores)."""

    def residual_noise(
        self, probabilities: Tensor, codes: Tensor, size: Tensor
    ) -> Tensor:
        """Return the relative rounding error of the residual, shaped like codes.

        `size` is the size of the terms whose sum is a score.
        """

    def curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the loss's second derivative, (..., n_scores, n_scores)."""

    def curvature_times(
        self, probabilities: Tensor, codes: Tensor, direction: Tensor
    ) -> Tensor:
        """Multiply a direction of the scores by the loss's second derivative."""

    def terms(self, scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return losses and residuals of rows on the last axis: see `RowsLast`."""

    def curved(self, scores: Tensor, codes: Tensor, direction: Tensor) -> Tensor:
        """Return the curvature times a direction, with rows on the last axis."""

    def activated(self, scores: Tensor) -> Tensor:
        """Return the inputs for the label head, with rows on the last axis."""

    def known(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of certain values, with rows on the last axis."""

    def edges_at(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Return weights of edges, with rows on the last axis."""

    def value_contrasts(self, like: Tensor) -> Tensor | None:
        """Return the map U from scores to values, (n_scores, n_values), or None.

        It is there if the curvature is ``U (diag p - pp') U'``, and the rows of U are
        orthonormal or there are two values.
        """

    def mean_curvature(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the mean of the curvature's diagonal, (...,)."""

    def curvature_edges(self, like: Tensor) -> Tensor:
        """Return the directions whose weighted squares add up to the curvature.

        ``curvature = sum_e weight_e * outer(edge_e, edge_e)`` with the weights of
        `edge_weights`. The result has shape (n_edges, n_scores).
        """

    def edge_weights(self, probabilities: Tensor, codes: Tensor) -> Tensor:
        """Return the weights of the edges, none of them negative, (..., n_edges)."""

    def activations(self, scores: Tensor) -> Tensor:
        """Return the inputs for the label head, (..., n_activations)."""

    def activation_jacobian(self, scores: Tensor) -> Tensor:
        """Return d activations / d scores, (..., n_activations, n_scores)."""

    def activation_pull(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return ``pull @ activation_jacobian`` for pulls (..., n_activations)."""

    def activation_curvature(self, scores: Tensor, pull: Tensor) -> Tensor:
        """Return the second derivative of ``pull @ activations`` in the scores.

        The result has shape (..., n_scores, n_scores).
        """

    def true_activations(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of values known for certain, (..., n_activations)."""

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

    def activation_change(self, probabilities: Tensor, shift: Tensor) -> Tensor:
        """Return the change of activations when scores move.

        The arguments are those of `residual_change`, without codes. The result has
        shape (n_activations, n_moves, n).
        """

    def changes(
        self, probabilities: Tensor, codes: Tensor, shift: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return `residual_change` and `activation_change`, which may share work."""

    def value(self, scores: Tensor, code: int) -> tuple[Tensor, Tensor]:
        """Return p(code) or the number, (...,), and its derivative, (..., n_scores)."""

    def margin(self, scores: Tensor, without: Tensor, codes: Tensor) -> Tensor:
        """Return the lead of each row's own value over all others, (n,).

        Parameters
        ----------
        scores, without : Tensor of shape (n, n_scores)
            Scores of the head, and of the head without the row's term.
        codes : Tensor of shape (n,)
        """

    def parts(self, codes: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return the values that codes (n,) stand for, or None if each is one value.

        They are positions in `codes`, from the first, codes of values, and shares. The
        loss of a code is the mean over its values.
        """

    def proposals(self, observed: Tensor) -> list[float]:
        """Return the codes that can be proposed, given the observed codes, (n,)."""


class CategoricalHead(Head, Protocol):
    """A head for categories."""

    @property
    def n_values(self) -> int:
        """Number of categories."""

    def inputs(self, features: Features) -> Tensor:
        """Return the inputs of the scores: features and a constant, 1 or 0."""

    def holding(self, columns: Sequence[int]) -> Self:
        """Return the same head that holds the weights of these inputs."""

    def target(self, codes: Tensor, like: Tensor) -> Tensor:
        """Return the distributions that codes stand for, (..., n_values)."""

    def logits(self, scores: Tensor) -> Tensor:
        """Return the log-probabilities, centred over the values, (..., n_values)."""

    def logit_jacobian(self, probabilities: Tensor) -> Tensor:
        """Return d logits / d scores, (..., n_values, n_scores)."""

    def log_probabilities(self, scores: Tensor) -> Tensor:
        """Return log p(value), of shape (..., n_values)."""
