"""How close influence comes to retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .plots import COLORS, axes, check_drawn, shorten, show_as_text
from .ranks import spearman
from .shown import Shown
from .words import how_many

# Share of a typical row's effect. Smaller differences can be rounding.
_RESOLUTION = 1e-4


def resolution(retrained: np.ndarray) -> np.ndarray:
    """Return the least effect on each target that gets a rank, (n_targets, 1).

    It is 1e-4 of the root mean square of the effects of whole rows, (n_targets,
    n_rows).
    """
    typical: np.ndarray = np.sqrt((retrained**2).mean(axis=1, keepdims=True))
    return _RESOLUTION * typical


@dataclass(frozen=True, eq=False, repr=False)
class Agreement:
    """Influence and retraining, on the same targets and removals.

    Attributes
    ----------
    estimated, retrained : ndarray of shape (n_targets, n_removals), float64
        The effect of what is removed on each target, by influence and by retraining.
    resolution : ndarray of shape (n_targets, 1) or float
        Effects are rounded to multiples of this before they are ranked, so that equal
        effects share a rank: those of rows with the same annotations and label, or of
        hard activations that do not flip.
    """

    __module__ = "skclif"

    estimated: np.ndarray
    retrained: np.ndarray
    resolution: np.ndarray | float = 0.0

    @property
    def pearson(self) -> float:
        """Linear correlation over all pairs of target and removal."""
        if any(np.ptp(ranked) == 0 for ranked in self._ranked()):
            return float("nan")
        both = np.corrcoef(self.estimated.ravel(), self.retrained.ravel())
        return float(both[0, 1])

    @property
    def spearman(self) -> float:
        """Rank correlation over all pairs of target and removal."""
        return float(spearman(*(values.reshape(1, -1) for values in self._ranked()))[0])

    @property
    def median_spearman(self) -> float:
        """Median over targets of the rank correlation over removals, where defined."""
        each = spearman(*self._ranked())
        each = each[~np.isnan(each)]
        return float(np.median(each)) if len(each) else float("nan")

    @property
    def relative_error(self) -> float:
        """Norm of the difference over the norm of the effect by retraining.

        A norm below that of the resolution counts as that of the resolution.
        """
        error = np.linalg.norm(self.estimated - self.retrained)
        least = np.broadcast_to(self.resolution, self.retrained.shape)
        size = max(np.linalg.norm(self.retrained), np.linalg.norm(least))
        return float(error / size) if size > 0 else float("nan")

    @property
    def sign_agreement(self) -> float:
        """Share of the effect by retraining, by magnitude, whose sign is right."""
        size = np.abs(self.retrained)
        if not (size > self.resolution).any():
            return float("nan")
        right = np.sign(self.estimated) == np.sign(self.retrained)
        return float(size[right].sum() / size.sum())

    def __repr__(self) -> str:
        """Return one line: how much is compared, and how close it is."""
        n_targets, n_removals = self.retrained.shape
        return (
            f"<Agreement on {how_many(n_removals, 'removal')} and "
            f"{how_many(n_targets, 'target')}: relative error "
            f"{self.relative_error:.2g}, Spearman {self.spearman:.2g}>"
        )

    def _ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both sides, rounded to multiples of the resolution."""
        known = np.asarray(self.resolution) > 0
        step = np.where(known, self.resolution, 1.0)
        first, second = (
            np.where(known, np.round(values / step) * step, values)
            for values in (self.estimated, self.retrained)
        )
        return first, second


@dataclass(frozen=True, eq=False, repr=False)
class ValidationResult(Shown):
    """How close influence comes to real leave-one-out retraining.

    What :meth:`ConceptInfluenceExplainer.validate` returns. Effects are those of the
    *presence* of a row or a loss term on each target, in its unit; on a loss, positive
    means harmful.

    Attributes
    ----------
    target : str
        The quantity that is influenced.
    unit : str
        Unit of the target.
    rows : ndarray of shape (n_rows,), int
        Training rows (positions) that were left out, one at a time: the most
        influential first, then random ones.
    path_rows : ndarray of shape (n_path_rows,), int
        Those of these rows whose single loss terms were left out too, one at a time.
    agreements : mapping of (str, str) to Agreement
        By method and what was removed: "row", or a path. Holds both sides of the
        comparison, `estimated` and `retrained`.
    time_ratios : mapping of (str, str) to float
        Seconds of retraining over seconds of each method, for the rows left out: for
        "row", and for all paths together as "paths".
    shares : mapping of str to float
        Norm of the effect of each path by retraining, over that of the whole rows. The
        "interaction" is the effect of a whole row minus those of its single terms.
    """

    __module__ = "skclif"

    target: str
    unit: str
    rows: np.ndarray
    path_rows: np.ndarray
    agreements: Mapping[tuple[str, str], Agreement]
    time_ratios: Mapping[tuple[str, str], float]
    shares: Mapping[str, float]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that were judged."""
        return tuple(dict.fromkeys(method for method, _ in self.agreements))

    def to_frame(self) -> pd.DataFrame:
        """Return every measure, one line for each method and kind of removal.

        Returns
        -------
        frame : DataFrame
            Columns: method, removed, removals (how many), pearson, spearman,
            median_spearman (over targets), relative_error, sign_agreement (share of
            the effect by retraining, by magnitude, whose sign is right), share (norm of
            the path's effect by retraining over that of the whole rows) and time_ratio
            (seconds of retraining over seconds of the method; the same for all single
            paths).
        """
        return pd.DataFrame(
            [
                {
                    "method": method,
                    "removed": removed,
                    "removals": one.retrained.shape[1],
                    "pearson": one.pearson,
                    "spearman": one.spearman,
                    "median_spearman": one.median_spearman,
                    "relative_error": one.relative_error,
                    "sign_agreement": one.sign_agreement,
                    "share": self.shares[removed],
                    "time_ratio": self.time_ratios[
                        method, "row" if removed == "row" else "paths"
                    ],
                }
                for (method, removed), one in self.agreements.items()
            ]
        )

    def plot(self, *, removed: str = "row", ax: Any = None) -> ValidationDisplay:
        """Draw influence against retraining, the methods in one plot.

        Parameters
        ----------
        removed : str, default="row"
            What was removed: "row", or a path.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : ValidationDisplay
            With `ax_`, `figure_` and the points.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If nothing of that name was removed.
        """
        return ValidationDisplay(self).plot(removed=removed, ax=ax)

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: how many rows, and each method's relative error."""
        errors = ", ".join(
            f"{method} {self.agreements[method, 'row'].relative_error:.2g}"
            for method in self.methods
        )
        n_targets, n_rows = self.agreements[self.methods[0], "row"].retrained.shape
        return (
            f"<ValidationResult on {self.target} ({self.unit}): "
            f"{how_many(n_rows, 'training row')} left out, "
            f"{how_many(n_targets, 'target')}; relative error {errors}>"
        )


_WIDTH = 36  # of a name, in characters
_METHODS = ("newton", "leverage", "first_order", "pairwise")
_TITLES = {
    "row": "Each point: the presence of one training row, on one target",
    "label": "Each point: the label of one training row, on one target",
    "interaction": "Each point: what label and annotations of one training\n"
    "row do together, on one target",
}


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
        Where influence equals retraining.

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

    __module__ = "skclif"

    def __init__(self, result: ValidationResult):
        check_drawn(
            self,
            "result",
            result,
            ValidationResult,
            "ConceptInfluenceExplainer.validate",
        )
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
        ax = axes(self, ax, size=(6, 5.4))
        self.ax_, self.figure_, self.scatters_ = ax, ax.figure, []
        for method in self._by_error(removed):
            one = result.agreements[method, removed]
            points = ax.scatter(
                one.retrained,
                one.estimated,
                label=f"{method} ({one.relative_error:.2g})",
                **_points(method),
            )
            self.scatters_.append(points)
        low, high = ax.get_xlim()
        (self.line_,) = ax.plot(
            [low, high],
            [low, high],
            color="0.3",
            linewidth=0.8,
            label="equal",
            zorder=0,
        )
        ax.set_xlim(low, high)
        self._words(removed)
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def _by_error(self, removed: str) -> list[str]:
        """Return the methods; the closest is drawn last, on top.

        To first order there is no interaction.
        """
        agreements = self.result.agreements
        known = [m for m in self.result.methods if (m, removed) in agreements]
        return sorted(
            known,
            key=lambda method: -agreements[method, removed].relative_error,
        )

    def _words(self, removed: str) -> None:
        """Say what is drawn: of what, on what, in which unit, and found how."""
        ax, result = self.ax_, self.result
        target = f"{shorten(result.target, _WIDTH)} ({shorten(result.unit, _WIDTH)})"
        ax.set_xlabel(f"retrained without it: effect on {target}")
        ax.set_ylabel(f"estimated: effect on {target}")
        title = ax.set_title(_title(removed), loc="left", fontsize="medium")
        legend = ax.legend(title="method (relative error)", frameon=False)
        ax.locator_params(axis="x", nbins=6)
        show_as_text([ax.xaxis.label, ax.yaxis.label, title, *legend.get_texts()])


def _title(removed: str) -> str:
    """Return what every point is: the effect of what, on what."""
    name = shorten(removed, _WIDTH)
    return _TITLES.get(removed) or (
        "Each point: an annotation of one training row,\n"
        f"of the concept {name}, on one target"
    )


def _points(method: str) -> dict[str, Any]:
    """Return how the points of a method look: told apart in grey by shape and fill."""
    number = _METHODS.index(method) if method in _METHODS else 0
    filled = number == 0
    return {
        "marker": "os^v"[number],
        "s": 22,
        "alpha": 0.75,
        "facecolors": COLORS[number] if filled else "none",
        "edgecolors": COLORS[number],
        "linewidths": 0.4 if filled else 1.1,
    }
