"""What baselines reach on the same texts, as a table and a plot."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .plots import axes
from .shown import Shown

COLUMNS = ["model", "sees"]
SCORES = ("accuracy", "macro_f1", "log_loss")
_NAMES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "log_loss": "Log-loss (nats)"}


# No `from __future__ import annotations`: see removal.py.
@dataclass(frozen=True, eq=False, repr=False)
class BaselineComparison(Shown):
    """Scores of several models of the same texts, each on rows it was not fitted to.

    It is what :func:`compare_baselines` returns.

    Attributes
    ----------
    frame : DataFrame
        One line for each model, in the order in which they were fitted: model; sees
        (what of a text it sees); accuracy, macro_f1 and log_loss (nats), each with the
        ends of a 95 % interval over rows in …_low and …_high; seconds for all folds.
    n_samples : int
        Number of rows that were predicted.
    n_folds : int
        Number of parts that the rows were cut into.
    n_repeated : int
        Number of rows whose text stands in an earlier row too.

    Examples
    --------
    >>> from skclif import compare_baselines
    >>> from skclif.datasets import make_concept_reviews
    >>> reviews = make_concept_reviews(200, random_state=0)
    >>> comparison = compare_baselines(
    ...     reviews.data, reviews.target, vectors=False, random_state=0
    ... )
    >>> comparison.best
    'words'
    """

    __module__ = "skclif"

    frame: pd.DataFrame
    n_samples: int
    n_folds: int
    n_repeated: int = 0

    @property
    def best(self) -> str:
        """The model of least log-loss among those that see texts alone."""
        texts = self.frame[self.frame["sees"] != "annotations"]
        return str(texts.loc[texts["log_loss"].idxmin(), "model"])

    def plot(self, score: str = "log_loss", *, ax: Any = None) -> Any:
        """Draw one score of every model, with its interval.

        Parameters
        ----------
        score : {"log_loss", "accuracy", "macro_f1"}, default="log_loss"
            What to draw.
        ax : matplotlib Axes, default=None
            None draws in a new figure.

        Returns
        -------
        ax : matplotlib Axes
            What was drawn on.

        Raises
        ------
        ValueError
            If there is no such score.
        ImportError
            If matplotlib is not installed.
        """
        if score not in SCORES:
            raise ValueError(f"score must be one of {SCORES}, got {score!r}.")
        ax = axes(self, ax)
        frame = self.frame.iloc[::-1]
        value = frame[score]
        reach = [value - frame[f"{score}_low"], frame[f"{score}_high"] - value]
        ax.errorbar(value, frame["model"], xerr=reach, fmt="o", capsize=3)
        ax.set(xlabel=f"{_NAMES[score]}, {self.n_folds} folds")
        ax.grid(axis="x", alpha=0.3)
        return ax

    def _table(self) -> pd.DataFrame:
        return self.frame[[*COLUMNS, *SCORES]]

    def __repr__(self) -> str:
        """Return one line."""
        return (
            f"<BaselineComparison of {len(self.frame)} models on {self.n_samples:,} "
            f"rows: {self.best!r} has the least log-loss>"
        )
