"""Few training rows whose removal changes a prediction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .shown import Shown, in_one_line
from .words import column_of_concept, how_many


@dataclass(frozen=True, eq=False, repr=False)
class FlipSet(Shown):
    """Few training rows without which the model predicts another class.

    Attributes
    ----------
    found : bool
        Whether a set of at most `max_size` rows changes the prediction. If not, the
        other attributes are those of the set that came nearest: perhaps there is a set
        that the search did not see.
    proved : bool
        Whether both stages, fitted from zero without the rows, converged and predict
        another class.
    rows : ndarray of shape (n_rows,), int
        Positions of the training rows, in the order of their removal.
    prediction, prediction_without : object
        The predicted class with all training rows, and without `rows`.
    proba : ndarray of shape (n_rows + 1, n_classes)
        Predicted probabilities before any removal, and after the removal of each row,
        with both stages solved again. The last line is that of the fit from zero.
    classes : ndarray of shape (n_classes,)
        The labels that columns of `proba` are about.
    max_size : int
        Most rows that were removed.
    training : DataFrame
        What is known of each training row: text, label, annotations.
    """

    __module__ = "skclif"

    found: bool
    proved: bool
    rows: np.ndarray
    prediction: Any
    prediction_without: Any
    proba: np.ndarray
    classes: np.ndarray
    max_size: int
    training: pd.DataFrame = field(default_factory=pd.DataFrame)

    def to_frame(self) -> pd.DataFrame:
        """Return the rows in the order of their removal, one per line.

        Returns
        -------
        frame : DataFrame
            Columns: row (position), proba, the probability of the class that was
            predicted at first, without this row and those above it, and predicted, the
            class that is predicted then; then what is known of the row.
        """
        after = self.proba[1:]
        own = int(np.flatnonzero(self.classes == self.prediction)[0])
        frame = pd.DataFrame(
            {
                "row": self.rows,
                "proba": after[:, own],
                "predicted": self.classes[after.argmax(axis=1)],
            }
        )
        known = self.training.iloc[self.rows].reset_index(drop=True)
        names = {name: column_of_concept(str(name), frame) for name in known}
        return pd.concat([frame, known.rename(columns=names)], axis=1)

    def __repr__(self) -> str:
        """Return one line: how many rows, and what the prediction was and is."""
        own = int(np.flatnonzero(self.classes == self.prediction)[0])
        first, last = self.proba[0, own], self.proba[-1, own]
        predicted = in_one_line(self.prediction)
        moved = f"p({predicted}) {first:.3g} to {last:.3g}"
        if not self.found:
            return (
                f"<FlipSet: none found of up to {how_many(self.max_size, 'row')}; the "
                f"nearest takes {moved}>"
            )
        proved = "proved by refitting" if self.proved else "the refit did not converge"
        return (
            f"<FlipSet of {how_many(len(self.rows), 'row')}: {predicted} becomes "
            f"{in_one_line(self.prediction_without)}, {moved}; {proved}>"
        )

    def _table(self) -> pd.DataFrame:
        return self.to_frame()
