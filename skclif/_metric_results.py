"""Frozen results of `skclif.metrics`: how well influence foretells retraining."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class LinearDatamodelingScore:
    """How well influence ranks random training subsets by the loss they lead to.

    Attributes
    ----------
    score : float
        Mean of `per_target`, between -1 and 1; 1 = every target's loss is ranked as
        retraining ranks it.
    interval : tuple of float
        95 % confidence interval of `score` over the draw of the subsets, with the
        targets as they are.
    per_target : ndarray of shape (n_targets,), float64
        Spearman correlation, over subsets, of the retrained loss with the summed
        influence of the subset's rows.
    subsets : ndarray of shape (n_subsets, subset_size), int
        The rows (positions) that the models were retrained on, sorted.
    losses : ndarray of shape (n_targets, n_subsets), float64
        Log-loss of every target after retraining on every subset (nats).
    """

    score: float
    interval: tuple[float, float]
    per_target: np.ndarray
    subsets: np.ndarray
    losses: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """Return the score of every target, one a line.

        Returns
        -------
        frame : DataFrame
            Columns: target (position), score, and the mean and the standard deviation
            of the target's loss over subsets (nats).
        """
        return pd.DataFrame(
            {
                "target": np.arange(len(self.per_target)),
                "score": self.per_target,
                "mean_loss": self.losses.mean(axis=1),
                "std_loss": self.losses.std(axis=1),
            }
        )

    def __repr__(self) -> str:
        """Return one line: score, interval, and what it was measured on."""
        n_targets, n_subsets = self.losses.shape
        targets = "target" if n_targets == 1 else "targets"
        low, high = self.interval
        return (
            f"<LinearDatamodelingScore {self.score:.3f}, 95 % interval {low:.3f} to "
            f"{high:.3f}: {n_targets} {targets}, {n_subsets} subsets of "
            f"{self.subsets.shape[1]} rows>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class RemovalCurve:
    """Scores after retraining without rows that were removed in some order.

    Attributes
    ----------
    n_removed : ndarray of shape (n_sizes,), int
        How many rows were removed; the first is 0.
    orders : tuple of str, of length n_orders
        What was removed first: "harmful", "helpful", then "random" for every random
        draw.
    scores : dict of str to ndarray of shape (n_orders, n_sizes), float64
        By the name of the scorer: scores on the test rows; higher is better, as of all
        scorers.
    n_train : int
        Number of training rows before any was removed.
    """

    n_removed: np.ndarray
    orders: tuple[str, ...]
    scores: dict[str, np.ndarray]
    n_train: int

    def to_frame(self) -> pd.DataFrame:
        """Return every retrained model, one a line.

        Returns
        -------
        frame : DataFrame
            Columns: order ("harmful", "helpful" or "random"), draw (0 … of the random
            ones), n_removed, then one for each scorer.
        """
        orders = pd.Series(self.orders)
        n_sizes = len(self.n_removed)
        return pd.DataFrame(
            {
                "order": np.repeat(orders.to_numpy(), n_sizes),
                "draw": np.repeat(orders.groupby(orders).cumcount(), n_sizes),
                "n_removed": np.tile(self.n_removed, len(orders)),
                **{name: values.ravel() for name, values in self.scores.items()},
            }
        ).reset_index(drop=True)

    def __repr__(self) -> str:
        """Return one line: scorers, and how much was removed."""
        n_random = self.orders.count("random")
        return (
            f"<RemovalCurve of {', '.join(self.scores)}: up to {self.n_removed[-1]} of "
            f"{self.n_train} rows removed; harmful, helpful, {n_random} random>"
        )
