"""A drawing of what correcting concepts does to the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._results.interventions import InterventionCurve, describe_order
from .._results.plots import axes, check_drawn
from ._interventions import intervention_curve

_AXIS = {
    "log_loss": "log-loss of the label (nats)",
    "accuracy": "accuracy of the label",
}


class InterventionCurveDisplay:
    """A drawing of what correcting concepts does to the label.

    Parameters
    ----------
    curve : InterventionCurve
        What :func:`intervention_curve` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        The figure that holds them.
    line_ : matplotlib Line2D
        The curve.
    fill_between_ : matplotlib PolyCollection
        95 % intervals of the change since the prediction without corrections, which
        has none itself.

    See Also
    --------
    intervention_curve : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import InterventionCurveDisplay
    >>> rng = np.random.default_rng(0)
    >>> values = rng.integers(2, size=(200, 3))
    >>> X = values + rng.normal(0, 0.7, values.shape)
    >>> concepts = pd.DataFrame(values, columns=["food", "service", "noise"])
    >>> y = np.where(values.sum(axis=1) > 1, "again", "never")
    >>> clf = ConceptBottleneckClassifier()
    >>> clf = clf.fit(X[:100], y[:100], concepts=concepts[:100])
    >>> InterventionCurveDisplay.from_estimator(
    ...     clf, X[100:], y[100:], concepts[100:], order="uncertainty"
    ... )  # doctest: +SKIP
    """

    __module__ = "skclif.metrics"

    def __init__(self, curve: InterventionCurve):
        check_drawn(self, "curve", curve, InterventionCurve, "intervention_curve")
        self.curve = curve

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        concepts: Any,
        *,
        order: str | ArrayLike = "random",
        costs: Mapping[str, float] | None = None,
        n_repeats: int = 10,
        random_state: int | np.random.RandomState | None = None,
        sample_weight: ArrayLike | None = None,
        score: str = "log_loss",
        ax: Any = None,
    ) -> InterventionCurveDisplay:
        """Compute a curve and draw it.

        Parameters
        ----------
        estimator : ConceptBottleneckClassifier or pipeline
            This and all that is not named below is as in :func:`intervention_curve`.
        X : array-like of shape (n_samples, n_features) or (n_samples,)
            What the estimator takes.
        y : array-like of shape (n_samples,)
            Labels.
        concepts : array-like of shape (n_samples, n_concepts)
            Known values.
        order : {"random", "uncertainty", "gain"} or list of str, default="random"
            Which known value comes first.
        costs : dict of str to float, default=None
            What it costs to find out the value of each concept.
        n_repeats : int, default=10
            Number of random orders.
        random_state : int, RandomState instance or None, default=None
            Draws the random orders.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.
        score : {"log_loss", "accuracy"}, default="log_loss"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : InterventionCurveDisplay
            With `curve`, and what `plot` adds.
        """
        curve = intervention_curve(
            estimator,
            X,
            y,
            concepts,
            order=order,
            costs=costs,
            n_repeats=n_repeats,
            random_state=random_state,
            sample_weight=sample_weight,
        )
        return cls(curve).plot(score=score, ax=ax)

    def plot(
        self, *, score: str = "log_loss", ax: Any = None
    ) -> InterventionCurveDisplay:
        """Draw one score of the curve.

        Parameters
        ----------
        score : {"log_loss", "accuracy"}, default="log_loss"
            What is drawn.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure. Curves of other orders or models can
            be drawn on the same axes.

        Returns
        -------
        display : InterventionCurveDisplay
            This object, with `ax_`, `figure_`, `line_` and `fill_between_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `score` is not known.
        """
        changes = self.curve.changes(score, since="start")
        values = self.curve.to_frame()[score].to_numpy()
        low, high = (
            values[0] + np.append(0, changes[end].to_numpy()) for end in ("low", "high")
        )
        ax = axes(self, ax)
        x = self.curve.n_corrected
        (self.line_,) = ax.plot(x, values, marker="o", label=describe_order(self.curve))
        self.fill_between_ = ax.fill_between(
            x, low, high, color=self.line_.get_color(), alpha=0.2, linewidth=0
        )
        ax.set(xlabel="concepts corrected in each row", ylabel=_AXIS[score])
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(title="order of correction")
        self.ax_, self.figure_ = ax, ax.figure
        return self
