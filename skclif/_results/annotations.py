"""Which annotations nobody gave yet would teach a model the most."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from .shown import Shown
from .words import how_many

BY_ROW, BY_ANNOTATION = "row", "annotation"


@dataclass(frozen=True, eq=False, repr=False)
class AnnotationSuggestions(Shown):
    """What to annotate next, in the order in which it teaches the model most.

    Gains are in units of the target; positive = the target is expected to fall. They
    are what an answer adds to those above it in the list, so that they add up.

    Attributes
    ----------
    frame : DataFrame
        One line for each row, or with ``by="annotation"`` for each annotation: row
        (position in the pool, or in training), concept (only with ``by="annotation"``),
        gain, and the row's text, if it has one.
    gains : DataFrame
        The gain of every line, split into its paths: the label, where it is asked for
        too, and the concepts. NaN where nothing is asked.
    by : {"row", "annotation"}
        What a line asks for: all that is missing of a row, or one annotation.
    of_pool : bool
        Whether rows are those of the pool. Otherwise they are training rows.
    target : str
        The quantity that should fall.
    unit : str
        Unit of the target and of all gains.
    value : float
        The mean log-loss of the label over the validation rows now.
    n_candidates : int
        How many rows, or annotations, could be chosen.
    n_validation : int
        Number of validation rows.
    """

    __module__ = "skclif"

    frame: pd.DataFrame
    gains: pd.DataFrame
    by: str
    of_pool: bool
    target: str
    unit: str
    value: float
    n_candidates: int
    n_validation: int

    @property
    def n_chosen(self) -> int:
        """How many rows, or annotations, are suggested."""
        return len(self.frame)

    @property
    def gain(self) -> float:
        """What all of them together are expected to take from the target."""
        return float(self.frame["gain"].sum())

    def to_frame(self, *, paths: bool = False) -> pd.DataFrame:
        """Return what to annotate, the first of it first.

        Parameters
        ----------
        paths : bool, default=False
            Whether to add the gains of every path, in columns such as "gain of food".

        Returns
        -------
        frame : DataFrame
            Columns: row (position), concept (with ``by="annotation"``), gain, and the
            row's text, if it has one.
        """
        if not isinstance(paths, bool):
            raise ValueError(f"paths={paths!r} must be True or False.")
        if not paths:
            return self.frame.copy()
        parts = self.gains.rename(columns=lambda name: f"gain of {name}")
        place = list(self.frame).index("gain") + 1
        before, after = self.frame.iloc[:, :place], self.frame.iloc[:, place:]
        return pd.concat([before, parts, after], axis=1)

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: how much to annotate, and what it is expected to bring."""
        where = "of the pool" if self.of_pool else "of training"
        asked = how_many(self.n_chosen, self.by)
        return (
            f"<AnnotationSuggestions for {self.target}: {asked} {where}, out of "
            f"{self.n_candidates:,}; expected to lower it by {self.gain:.2g} "
            f"{self.unit}>"
        )
