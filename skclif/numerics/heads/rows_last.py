"""Terms of many rows of equal heads, with the rows on the last axis.

Passes over all rows spend their time in memory. On the last axis, rows are read in the
order in which products with features leave them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from .head import Head


class RowsLast:
    """What passes over all rows need; it works for every head.

    A head on which passes spend much time has its own.
    """

    def terms(self: Head, scores: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses, (n_heads, n), and the residuals, shaped like scores.

        Parameters
        ----------
        scores : Tensor of shape (n_heads, n_scores, n)
        codes : Tensor of shape (n_heads, n)
        """
        by_row = scores.mT
        residual = self.residual(self.probabilities(by_row), codes)
        return self.loss(by_row, codes), residual.mT

    def curved(self: Head, scores: Tensor, codes: Tensor, direction: Tensor) -> Tensor:
        """Return the second derivative of the losses times a direction of the scores.

        Directions are shaped like scores, which are those of `terms`.
        """
        p = self.probabilities(scores.mT)
        return self.curvature_times(p, codes, direction.mT).mT

    def activated(self: Head, scores: Tensor) -> Tensor:
        """Return the inputs for the label head, (n_heads, n_activations, n)."""
        return self.activations(scores.mT).mT

    def known(self: Head, codes: Tensor, like: Tensor) -> Tensor:
        """Return the activations of codes known for certain, as `activated`."""
        return self.true_activations(codes, like).mT

    def edges_at(self: Head, scores: Tensor, codes: Tensor) -> Tensor:
        """Return the weights of the curvature's edges, (n_heads, n_edges, n)."""
        return self.edge_weights(self.probabilities(scores.mT), codes).mT
