"""Changes of training rows that would help a target, and their joint effect."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import pandas as pd

from .shown import Shown
from .words import how_many, is_or_are

HELPS, UNSURE, HURTS = "expected to help", "not sure", "expected to hurt"


@dataclass(frozen=True, eq=False, repr=False)
class EditSuggestions(Shown):
    """Changes of single training rows that would help a target, the best first.

    Effects are ``target after - target before``, in units of the target: on a loss,
    negative = good. They say what would help, not what is wrong.

    Attributes
    ----------
    frame : DataFrame
        One change per line: row (position), kind ("relabel", "annotate", "reweight" or
        "drop"), path ("label", a concept, or "row"), current and proposed (None where
        there is no annotation; weights of the row where the path is "row"), effect (of
        this change alone, in closed form), std_error (of the effect, over validation
        rows), probability_wrong (of the value that would be replaced; NaN where the
        change replaces none), and the row's text.
    target : str
        The quantity to improve: its mean over validation rows.
    unit : str
        Unit of the target and of all effects.
    higher_is_better : bool
        Whether an increase of the target is good.
    value : float
        The target before any change.
    effect : float
        Cross-validated effect of a whole list: chosen on nine tenths of the validation
        rows, applied, and measured on the last tenth; the mean over ten folds.
    interval : tuple of float or None
        95 % confidence interval of what this list does to rows like the validation
        rows. None if there are fewer than 50 of these.
    related : bool or None
        Whether the model predicts the labels of the validation rows better than the
        same labels in random order; None if the target is not about labels.
    n_candidates : int
        How many changes were compared.
    n_validation : int
        Number of validation rows.
    """

    __module__ = "skclif"

    frame: pd.DataFrame
    target: str
    unit: str
    higher_is_better: bool
    value: float
    effect: float
    interval: tuple[float, float] | None
    related: bool | None
    n_candidates: int
    n_validation: int

    @property
    def n_chosen(self) -> int:
        """How many changes are suggested."""
        return len(self.frame)

    @property
    def verdict(self) -> str:
        """Where the interval lies, in words.

        "expected to help" if all of it is on the good side of 0, "expected to hurt" if
        all of it is on the bad side, "not sure" otherwise, without an interval, or if
        the labels are not related to the predictions.
        """
        if self.interval is None or self.related is False:
            return UNSURE
        low, high = self.interval
        if not self.higher_is_better:
            low, high = -high, -low
        return HELPS if low > 0 else HURTS if high < 0 else UNSURE

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons to doubt the verdict, in words; empty if there are none."""
        doubts = []
        if self.interval is None:
            rows = how_many(self.n_validation, "row")
            doubts.append(
                f"{rows} {is_or_are(self.n_validation)} too few for an interval"
            )
        if self.related is False:
            doubts.append(
                "the model predicts the labels no better than the same labels in "
                "another order"
            )
        return tuple(doubts)

    @property
    def helps(self) -> bool:
        """Whether the list is expected to help."""
        return self.verdict == HELPS

    def in_words(self) -> str:
        """Return the verdict, and the reasons to doubt it.

        Returns
        -------
        words : str
            The same in warnings, on the command line and on the page of an audit.
        """
        if not self.doubts:
            return self.verdict
        reasons = "reason" if len(self.doubts) == 1 else "reasons"
        return f"{self.verdict} ({reasons} to doubt it: {'; '.join(self.doubts)})"

    def to_frame(self) -> pd.DataFrame:
        """Return the suggested changes, the best first.

        Returns
        -------
        frame : DataFrame
            Columns: row (position), kind, path, current, proposed, effect, std_error,
            probability_wrong, and the row's text, if it has one.
        """
        return self.frame.copy()

    def as_edit(self, k: int | None = None) -> dict[str, Any]:
        """Return the changes as arguments of :meth:`ConceptInfluenceExplainer.edit`.

        Parameters
        ----------
        k : int, default=None
            Number of changes, the best first; None for all.

        Returns
        -------
        arguments : dict
            With those of "y", "concepts", "sample_weight" and "drop" that change.
        """
        if k is not None and (
            not isinstance(k, Integral) or isinstance(k, bool) or k < 0
        ):
            raise ValueError(
                f"k={k!r} must be a whole number, 0 or more, or None for all changes."
            )
        y: dict[int, Any] = {}
        concepts: dict[str, dict[int, Any]] = {}
        weights: dict[int, float] = {}
        drop: list[int] = []
        columns = ["row", "kind", "path", "proposed"]
        for row, kind, path, proposed in self.frame[columns][:k].itertuples(
            index=False
        ):
            if kind == "relabel":
                y[row] = proposed
            elif kind == "annotate":
                concepts.setdefault(path, {})[row] = proposed
            elif kind == "reweight":
                weights[row] = proposed
            else:
                drop.append(row)
        given = {"y": y, "concepts": concepts, "sample_weight": weights, "drop": drop}
        return {name: changes for name, changes in given.items() if changes}

    def _table(self) -> pd.DataFrame:
        frame = self.to_frame()
        is_weight = frame["kind"].isin(["reweight", "drop"])
        return frame.assign(path=frame["path"].mask(is_weight, "weight"))

    def __repr__(self) -> str:
        """Return one line: how many changes, their effect, and the verdict."""
        good = "positive" if self.higher_is_better else "negative"
        interval = ""
        if self.interval is not None:
            low, high = self.interval
            interval = f" [{low:+.2g}, {high:+.2g}]"
        return (
            f"<EditSuggestions for {self.target}: "
            f"{how_many(self.n_chosen, 'change')}; effect of "
            f"such a list on held-out rows {self.effect:+.2g}{interval} "
            f"({self.unit}, {good} = good): {self.verdict}>"
        )
