"""A drawing of what an edit changed on rows with known labels."""

from __future__ import annotations

from typing import Any

from .comparison import EditComparison
from .plots import axes, check_drawn
from .words import how_many

# Name of the score, its unit, and whether a positive change is good.
_SCORES = {
    "log_loss": ("log-loss", "nats", False),
    "accuracy": ("accuracy", "share of rows", True),
}


class EditDisplay:
    """A drawing of what an edit changed on rows with known labels.

    A score before the edit and after it, and the 95 % interval of the change, which
    pairs each row with itself. The interval hangs on the score after the edit: where it
    does not reach the dashed line, the change is more than chance.

    Parameters
    ----------
    comparison : EditComparison
        What :meth:`EditResult.compare` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with both scores.
    figure_ : matplotlib Figure
        The figure that holds them.
    line_ : matplotlib Line2D
        From the score before to the score after.
    errorbar_ : matplotlib ErrorbarContainer or None
        The interval of the change; None where one row is too few for one.

    See Also
    --------
    EditResult.compare : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import ConceptInfluenceExplainer, EditDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(90, 3))
    >>> right = (X[:, 0] > 0).astype(int)
    >>> y = right.copy()
    >>> y[:5] = 1 - y[:5]
    >>> explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X[:60], y[:60])
    >>> edited = explainer.edit(y={row: right[row] for row in range(5)})
    >>> comparison = edited.compare(X[60:], right[60:])
    >>> EditDisplay(comparison).plot()  # doctest: +SKIP
    """

    __module__ = "skclif"

    def __init__(self, comparison: EditComparison):
        check_drawn(
            self, "comparison", comparison, EditComparison, "EditResult.compare"
        )
        self.comparison = comparison

    def plot(self, *, score: str = "log_loss", ax: Any = None) -> EditDisplay:
        """Draw one score before and after.

        Parameters
        ----------
        score : {"log_loss", "accuracy"}, default="log_loss"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : EditDisplay
            This object, with its attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `score` is not known.
        """
        if score not in _SCORES:
            raise ValueError(
                f"score={score!r} is not known; use 'log_loss' or 'accuracy'."
            )
        name, unit, is_good = _SCORES[score]
        one = getattr(self.comparison, score)
        ax = axes(self, ax, size=(4.5, 3.6))
        self.ax_, self.figure_, self.errorbar_ = ax, ax.figure, None
        ax.axhline(one.before, color="0.5", linestyle="--", linewidth=0.8)
        (self.line_,) = ax.plot(
            [0, 1], [one.before, one.after], marker="o", color="#0072B2"
        )
        low, high = one.interval
        if low == low:  # NaN from one row
            reach = [[one.change - low], [high - one.change]]
            self.errorbar_ = ax.errorbar(
                1, one.after, yerr=reach, fmt="none", ecolor="#0072B2", capsize=5
            )
        ax.set_xticks([0, 1], ["before", "after"])
        ax.set_xlim(-0.4, 1.4)
        better = "higher" if is_good else "lower"
        ax.set_ylabel(f"{name} ({unit}; {better} is better)")
        rows = how_many(self.comparison.n_rows, "row")
        ax.set_title(f"{name} on {rows}: {one}", fontsize="medium")
        ax.spines[["top", "right"]].set_visible(False)
        return self
