"""Results of `skclif.metrics`: how well influence predicts retraining."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .plots import axes, check_drawn
from .shown import Shown
from .words import how_many


# No `from __future__ import annotations` here: `dataclass` would look the strings up in
# `skclif.metrics`, which need not be loaded yet.
@dataclass(frozen=True, eq=False, repr=False)
class LinearDatamodelingScore(Shown):
    """How well influence ranks random training subsets by the loss they lead to.

    Attributes
    ----------
    score : float
        Mean of `per_target`, between -1 and 1. At 1, influence ranks the loss of every
        target as retraining does.
    interval : tuple of float
        95 % confidence interval of `score` over random subsets, for the same targets.
    per_target : ndarray of shape (n_targets,), float64
        Spearman correlation, over subsets, of the retrained loss with the summed
        influence of the subset's rows.
    subsets : ndarray of shape (n_subsets, subset_size), int
        The rows (positions) that the models were retrained on, sorted.
    losses : ndarray of shape (n_targets, n_subsets), float64
        Log-loss of every target after retraining on every subset (nats).
    """

    __module__ = "skclif.metrics"

    score: float
    interval: tuple[float, float]
    per_target: np.ndarray
    subsets: np.ndarray
    losses: np.ndarray

    def to_frame(self) -> pd.DataFrame:
        """Return the score of every target, one per line.

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

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: score, interval, and what it was measured on."""
        n_targets, n_subsets = self.losses.shape
        low, high = self.interval
        return (
            f"<LinearDatamodelingScore {self.score:.3f}, 95 % interval {low:.3f} to "
            f"{high:.3f}: {how_many(n_targets, 'target')}, "
            f"{how_many(n_subsets, 'subset')} of "
            f"{how_many(self.subsets.shape[1], 'row')}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class RemovalCurve(Shown):
    """Scores after retraining without rows that were removed in some order.

    Attributes
    ----------
    n_removed : ndarray of shape (n_sizes,), int
        How many rows were removed; the first is 0.
    orders : tuple of str, of length n_orders
        Which rows were removed first: "harmful", "helpful", then "random" for every
        random order.
    scores : dict of str to ndarray of shape (n_orders, n_sizes), float64
        Scores on the test rows by the name of the scorer; higher is better.
    n_train : int
        Number of training rows before any was removed.
    """

    __module__ = "skclif.metrics"

    n_removed: np.ndarray
    orders: tuple[str, ...]
    scores: dict[str, np.ndarray]
    n_train: int

    def to_frame(self) -> pd.DataFrame:
        """Return the scores of every retrained model, one model per line.

        Returns
        -------
        frame : DataFrame
            Columns: order ("harmful", "helpful" or "random"), draw (the number of the
            random order, from 0), n_removed, then one for each scorer.
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

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: scorers, and how much was removed."""
        n_random = self.orders.count("random")
        return (
            f"<RemovalCurve of {', '.join(self.scores)}: up to {self.n_removed[-1]} of "
            f"{self.n_train} rows removed; harmful, helpful, {n_random} random>"
        )


class RemovalCurveDisplay:
    """A drawing of what removing rows does to a score.

    Parameters
    ----------
    curve : RemovalCurve
        What :func:`removal_curve` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curves.
    figure_ : matplotlib Figure
        The figure that holds them.
    lines_ : list of matplotlib Line2D
        The curves: harmful, helpful, and the mean of the random ones.
    fill_between_ : matplotlib PolyCollection
        The range of the random ones.

    See Also
    --------
    removal_curve : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import ConceptInfluenceExplainer
    >>> from skclif.metrics import RemovalCurveDisplay, removal_curve
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(90, 3)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> clf = LogisticRegression()
    >>> explainer = ConceptInfluenceExplainer(clf).fit(X[:60], y[:60])
    >>> influence = explainer.influence(X[60:], y[60:])
    >>> curve = removal_curve(
    ...     clf, X[:60], y[:60], influence, X_test=X[60:], y_test=y[60:]
    ... )
    >>> RemovalCurveDisplay(curve).plot()  # doctest: +SKIP
    """

    __module__ = "skclif.metrics"

    def __init__(self, curve: RemovalCurve):
        check_drawn(self, "curve", curve, RemovalCurve, "removal_curve")
        self.curve = curve

    def plot(
        self, *, score: str | None = None, ax: Any = None
    ) -> "RemovalCurveDisplay":
        """Draw the curves of one score.

        Parameters
        ----------
        score : str, default=None
            Name of the scorer; None for the first.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : RemovalCurveDisplay
            This object, with `ax_`, `figure_`, `lines_` and `fill_between_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the curve has no such score.
        """
        curve = self.curve
        score = next(iter(curve.scores)) if score is None else score
        if score not in curve.scores:
            raise ValueError(
                f"score={score!r} is not in the curve; use one of "
                f"{list(curve.scores)}, or compute it with removal_curve(scoring=…)."
            )
        ax = axes(self, ax)
        harmful, helpful, *random = curve.scores[score]
        x = curve.n_removed
        self.lines_ = [
            *ax.plot(x, harmful, marker="o", label="most harmful first"),
            *ax.plot(x, helpful, marker="o", label="most helpful first"),
            *ax.plot(
                x,
                np.mean(random, axis=0),
                color="gray",
                marker="o",
                label=f"random: mean and range of {len(random)}",
            ),
        ]
        self.fill_between_ = ax.fill_between(
            x, np.min(random, axis=0), np.max(random, axis=0), color="gray", alpha=0.2
        )
        ax.set(xlabel=f"rows removed of {curve.n_train}", ylabel=score)
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
