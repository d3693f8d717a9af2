"""What an edit changed on rows that the model was not trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from .shown import Shown
from .words import how_many


@dataclass(frozen=True, repr=False)
class PairedChange:
    """A mean over rows before and after an edit.

    Attributes
    ----------
    before, after : float
        The mean over the rows, of each model.
    interval : tuple of float
        95 % confidence interval of `change` over rows, with both models fixed: how far
        another sample of as many rows could move it. Every row is compared with itself.
        NaN where one row is too few to say.
    """

    __module__ = "skclif"

    before: float
    after: float
    interval: tuple[float, float]

    @property
    def change(self) -> float:
        """After minus before."""
        return self.after - self.before

    def __repr__(self) -> str:
        """Return one line: both means, the change and its interval."""
        return f"<PairedChange from {self.before:.4g} to {self.after:.4g}: {self}>"

    def __str__(self) -> str:
        """Return the change and its interval."""
        low, high = self.interval
        interval = f"[{low:+.2g}, {high:+.2g}]"
        if low != low:  # NaN
            interval = "(no interval from one row)"
        return f"{self.change:+.2g} {interval}"


@dataclass(frozen=True, eq=False, repr=False)
class EditComparison(Shown):
    """A model after an edit, compared with the model before it on the same rows.

    What :meth:`EditResult.compare` returns. Every change is *after − before*.

    Attributes
    ----------
    accuracy : PairedChange
        Share of labels that are predicted right; a positive change is good.
    log_loss : PairedChange
        Mean log-loss (nats); a negative change is good.
    changed : DataFrame
        A line for each row whose predicted label changed: row (position), the row's
        text if it has one, label, before and after (predicted labels), outcome
        ("better" if only the later prediction is right, "worse" if only the earlier one
        was, "neither" if both are wrong), loss_before and loss_after (nats).
    concepts : DataFrame
        A line for each concept that is annotated on these rows: concept, measure
        ("accuracy", or "mean absolute error" of a continuous concept), n_rows (those
        that are annotated), before, after. NaN after the concept was dropped.
    n_rows : int
        Number of rows.
    """

    __module__ = "skclif"

    accuracy: PairedChange
    log_loss: PairedChange
    changed: pd.DataFrame
    concepts: pd.DataFrame
    n_rows: int

    @property
    def n_changed(self) -> int:
        """How many rows are predicted otherwise."""
        return len(self.changed)

    @property
    def n_better(self) -> int:
        """How many of them were wrong, and are right now."""
        return int((self.changed["outcome"] == "better").sum())

    @property
    def n_worse(self) -> int:
        """How many of them were right, and are wrong now."""
        return int((self.changed["outcome"] == "worse").sum())

    def to_frame(self) -> pd.DataFrame:
        """Return a line for each row whose predicted label changed.

        Returns
        -------
        frame : DataFrame
            Columns: row (position), the row's text if it has one, label, before, after,
            outcome, loss_before, loss_after.
        """
        return self.changed.copy()

    def to_dict(self) -> dict[str, Any]:
        """Return all of it except `changed` as plain values for ``json.dumps``.

        Returns
        -------
        plain : dict
            With n_rows, n_changed, n_better, n_worse, accuracy and log_loss (before,
            after and interval each), and concepts, a list of dict. None for NaN.
        """
        concepts = self.concepts.astype(object)
        return {
            "n_rows": self.n_rows,
            "n_changed": self.n_changed,
            "n_better": self.n_better,
            "n_worse": self.n_worse,
            "accuracy": _plain(self.accuracy),
            "log_loss": _plain(self.log_loss),
            "concepts": concepts.where(concepts.notna(), None).to_dict("records"),
        }

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: both changes, and how many predictions changed."""
        return (
            f"<EditComparison on {how_many(self.n_rows, 'row')}: accuracy "
            f"{self.accuracy}, log-loss {self.log_loss} (nats, negative = good); "
            f"{how_many(self.n_changed, 'prediction')} changed, {self.n_better} for "
            f"the better, {self.n_worse} for the worse>"
        )


def _plain(one: PairedChange) -> dict[str, Any]:
    interval = [None if value != value else value for value in one.interval]
    return {**asdict(one), "interval": interval}
