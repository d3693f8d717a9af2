"""Results of `skclif.metrics`: what correcting concepts does to the label."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from .words import how_many

SCORES = ("log_loss", "accuracy")
_CONFIDENCE = 0.95


# No `from __future__ import annotations` here: `dataclass` would look the strings up in
# `skclif.metrics`, which need not be loaded yet.
@dataclass(frozen=True, eq=False, repr=False)
class InterventionCurve:
    """Accuracy and log-loss of the label as more concepts are set to known values.

    Attributes
    ----------
    n_corrected : ndarray of shape (n_steps,), int
        How many concepts of a row were set to their known values, from 0. A row with
        fewer known values stays as it is once all of them are in place.
    losses : ndarray of shape (n_steps, n_samples), float64
        Log-loss of every row (nats), averaged over the random orders.
    correct : ndarray of shape (n_steps, n_samples), float64
        1 where the most probable label is the true one, else 0, averaged over the
        random orders.
    sample_weight : ndarray of shape (n_samples,), float64
        Weights of the rows.
    n_known : ndarray of shape (n_samples,), int
        How many values of each row were known and could be put in place.
    order : str or tuple of str
        "random", "uncertainty", "gain" ("influence" is its older name), or the names
        of the concepts in the order in which they were corrected.
    n_repeats : int
        Number of orders of each row: of random orders, otherwise 1.
    spent : ndarray of shape (n_steps, n_samples), float64, or None
        What the corrections of every row cost, averaged over the random orders. None
        if no costs were given.
    """

    __module__ = "skclif.metrics"

    n_corrected: np.ndarray
    losses: np.ndarray
    correct: np.ndarray
    sample_weight: np.ndarray
    n_known: np.ndarray
    order: str | tuple[str, ...]
    n_repeats: int
    spent: np.ndarray | None = None

    @property
    def cost(self) -> np.ndarray | None:
        """Weighted mean of `spent` over rows, (n_steps,); None without costs."""
        if self.spent is None:
            return None
        return np.average(self.spent, axis=1, weights=self.sample_weight)

    @property
    def log_loss(self) -> np.ndarray:
        """Weighted mean of `losses` over rows, (n_steps,); lower is better."""
        return np.average(self.losses, axis=1, weights=self.sample_weight)

    @property
    def accuracy(self) -> np.ndarray:
        """Weighted mean of `correct` over rows, (n_steps,); higher is better."""
        return np.average(self.correct, axis=1, weights=self.sample_weight)

    def changes(
        self, score: str = "log_loss", *, since: str = "previous"
    ) -> pd.DataFrame:
        """Return how much a score changes with every further correction.

        Parameters
        ----------
        score : {"log_loss", "accuracy"}, default="log_loss"
            The score. A correction that helps lowers the log-loss and raises the
            accuracy.
        since : {"previous", "start"}, default="previous"
            What the score is compared with: the score with one correction less, or
            that of the prediction without corrections.

        Returns
        -------
        changes : DataFrame
            One line for each number of corrections from 1. Columns: n_corrected;
            change, the score after minus the score before; low and high, the ends of a
            95 % confidence interval.

        Raises
        ------
        ValueError
            If `score` or `since` is not known.

        Notes
        -----
        The interval is paired: Student's t of the change of single rows, each averaged
        over its random orders. Rows count as drawn at random and independently; it says
        nothing about another model. A row is one draw however large its weight, and a
        row of weight 0 is none, so the standard error of the weighted mean is
        ``sqrt(n / (n - 1) * sum(w**2 * (change - mean)**2)) / sum(w)``. With fewer than
        two rows, low and high are NaN.
        """
        values = self.rows(score)
        if since not in ("previous", "start"):
            raise ValueError(
                f"since={since!r} is not known; use 'previous' or 'start'."
            )
        before = values[:-1] if since == "previous" else values[:1]
        change, reach = paired_mean(values[1:] - before, self.sample_weight)
        return pd.DataFrame(
            {
                "n_corrected": self.n_corrected[1:],
                "change": change,
                "low": change - reach,
                "high": change + reach,
            }
        )

    def rows(self, score: str) -> np.ndarray:
        """Return a score of every row.

        Parameters
        ----------
        score : {"log_loss", "accuracy"}
            The score.

        Returns
        -------
        values : ndarray of shape (n_steps, n_samples), float64
            `losses` or `correct`.

        Raises
        ------
        ValueError
            If `score` is not known.
        """
        if score not in SCORES:
            raise ValueError(
                f"score={score!r} is not known; use 'log_loss' or 'accuracy'."
            )
        return self.losses if score == "log_loss" else self.correct

    def to_frame(self) -> pd.DataFrame:
        """Return the scores, one line for each number of corrections.

        Returns
        -------
        frame : DataFrame
            Columns: n_corrected, accuracy, log_loss; and with costs cost, the mean
            over rows of what was spent.
        """
        columns = {
            "n_corrected": self.n_corrected,
            "accuracy": self.accuracy,
            "log_loss": self.log_loss,
        }
        if (cost := self.cost) is not None:
            columns["cost"] = cost
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        """Return one line: the order, how many rows, and both ends of the curve."""
        accuracy, loss = self.accuracy, self.log_loss
        n_samples, last = len(self.n_known), self.n_corrected[-1]
        return (
            f"<InterventionCurve in order {describe_order(self)}: 0 to "
            f"{how_many(last, 'concept')} "
            f"corrected in {how_many(n_samples, 'row')}; accuracy "
            f"{accuracy[0]:.3f} to {accuracy[-1]:.3f}, log-loss {loss[0]:.3f} to "
            f"{loss[-1]:.3f}>"
        )


def describe_order(curve: InterventionCurve) -> str:
    """Return a name for the order of a curve."""
    if not isinstance(curve.order, str):
        return "of names"
    repeats = f" (mean of {curve.n_repeats})" if curve.n_repeats > 1 else ""
    return curve.order + repeats


def paired_mean(
    differences: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted means over rows, and half the width of their intervals."""
    mean = np.average(differences, axis=1, weights=weight)
    n_rows = np.count_nonzero(weight)
    if n_rows < 2:
        return mean, np.full_like(mean, np.nan)
    share = weight / weight.sum()
    squares = (share**2 * (differences - mean[:, None]) ** 2).sum(axis=1)
    error = np.sqrt(n_rows / (n_rows - 1) * squares)
    return mean, student_t.ppf((1 + _CONFIDENCE) / 2, n_rows - 1) * error
