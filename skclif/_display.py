"""Plots of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._metric_results import RemovalCurve
from ._validation import ValidationResult


class ValidationDisplay:
    """A drawing of influence against retraining.

    Parameters
    ----------
    result : ValidationResult
        What :meth:`ConceptInfluenceExplainer.validate` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        The figure that holds them.
    scatters_ : list of matplotlib PathCollection
        The points of each method.
    line_ : matplotlib Line2D
        Where influence equals the truth.

    See Also
    --------
    ConceptInfluenceExplainer.validate : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skclif import ConceptInfluenceExplainer, ValidationDisplay
    >>> rng = np.random.RandomState(0)
    >>> X = rng.randn(60, 3)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, y)
    >>> result = explainer.validate(X, y, n_rows=4, n_paths=0, random_state=0)
    >>> ValidationDisplay(result).plot()  # doctest: +SKIP
    """

    def __init__(self, result: ValidationResult):
        self.result = result

    def plot(self, *, removed: str = "row", ax: Any = None) -> ValidationDisplay:
        """Draw a point for every target and removal.

        Parameters
        ----------
        removed : str, default="row"
            What was removed: "row", or a path.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : ValidationDisplay
            This object, with its attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If nothing of that name was removed.
        """
        result = self.result
        known = list(dict.fromkeys(name for _, name in result.agreements))
        if removed not in known:
            raise ValueError(
                f"removed={removed!r} was not measured; there are {', '.join(known)}."
            )
        ax = _axes(self, ax)
        self.ax_, self.figure_, self.scatters_ = ax, ax.figure, []
        # The closest is drawn last, on top.
        by_error = sorted(
            result.methods,
            key=lambda method: -result.agreements[method, removed].relative_error,
        )
        for method in by_error:
            one = result.agreements[method, removed]
            label = f"{method} (relative error {one.relative_error:.2g})"
            points = ax.scatter(
                one.retrained, one.estimated, s=9, alpha=0.6, linewidths=0, label=label
            )
            self.scatters_.append(points)
        low, high = ax.get_xlim()
        (self.line_,) = ax.plot([low, high], [low, high], color="0.4", linewidth=0.8)
        ax.set_xlim(low, high)
        what = "row" if removed == "row" else f"{removed} path"
        ax.set_xlabel(f"by retraining ({result.unit})")
        ax.set_ylabel(f"by influence ({result.unit})")
        ax.set_title(f"Effect of a {what} on {result.target}")
        ax.legend(frameon=False)
        return self


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

    def __init__(self, curve: RemovalCurve):
        self.curve = curve

    def plot(self, *, score: str | None = None, ax: Any = None) -> RemovalCurveDisplay:
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
        ax = _axes(self, ax)
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


def _axes(display: ValidationDisplay | RemovalCurveDisplay, ax: Any) -> Any:
    """Return axes to draw on, those of a new figure if there are none."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib; install it with "
            'pip install "skclif[plots]".'
        ) from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax
