"""The outcome of replaying a trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from .shown import Shown
from .words import how_many

# Heads are solved to gradient norms of 1e-8 of their penalty at most, so two solutions
# of one problem differ by about that; the label head amplifies it, far less than this.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class ReplayStep:
    """The outcome of repeating one record.

    Attributes
    ----------
    number : int
        Of the record.
    kind : {"fit", "edit", "forget", "reject"}
    same : bool or None
        Whether data and model are bit for bit what was recorded; None if the record
        was not repeated. Rejections change nothing, so they are not repeated.
    close : bool or None
        Whether the data are bit for bit what was recorded, and the numbers of the model
        equal what was recorded within `TOLERANCE`. It is True without equal bits only
        if the record was written in another environment. None if the record was not
        repeated, or its bits differ and no numbers were recorded to compare with.
    reason : str or None
        What differs, or why the record was not repeated.
    environment : tuple of str
        How the environment differs from the one that wrote the record.
    """

    __module__ = "skclif"

    number: int
    kind: str
    same: bool | None
    close: bool | None
    reason: str | None = None
    environment: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class ReplayResult(Shown):
    """The outcome of replaying a trail.

    Attributes
    ----------
    steps : tuple of ReplayStep
        One for each record.
    estimator : ConceptBottleneckClassifier or None
        The model after the last step that does not differ; None if there is none.
    """

    __module__ = "skclif"

    steps: tuple[ReplayStep, ...]
    estimator: Any

    @property
    def environment(self) -> tuple[str, ...]:
        """How this environment differs from those that wrote the repeated records."""
        found = [words for step in self.steps for words in step.environment]
        return tuple(dict.fromkeys(found))

    @property
    def same(self) -> bool:
        """Whether the last fit, edit or forget gives the recorded model bit for bit."""
        return self._last is not None and self._last.same is True

    @property
    def close(self) -> bool:
        """Whether the last fit, edit or forget gives it, within the tolerance."""
        return self._last is not None and self._last.close is True

    @property
    def _last(self) -> ReplayStep | None:
        # A rejection makes no model.
        made = [step for step in self.steps if step.kind != "reject"]
        return made[-1] if made else None

    @property
    def differs_at(self) -> int | None:
        """Number of the first record with another outcome; None if there is none."""
        return next((s.number for s in self.steps if s.close is False), None)

    def to_frame(self) -> pd.DataFrame:
        """Return a line for every record.

        Returns
        -------
        frame : DataFrame
            Columns: number, kind, same, close, reason. Where the environment of a
            record that is not the same bit for bit differs, the reason begins with it.
        """
        columns = ["number", "kind", "same", "close", "reason"]
        frame = pd.DataFrame(map(vars, self.steps), columns=columns, dtype=object)
        for line, step in enumerate(self.steps):
            if step.environment and not step.same:
                elsewhere = recorded_elsewhere(step.environment)
                frame.loc[line, "reason"] = f"{elsewhere}: {step.reason}"
        return frame

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: the environment if it differs, and the outcome."""
        elsewhere = f"{recorded_elsewhere(self.environment)}; " * bool(self.environment)
        if self.differs_at is not None:
            return f"<ReplayResult: {elsewhere}differs at record {self.differs_at}>"
        outcome = "the model cannot be compared"
        if self.same:
            outcome = "the same bit for bit"
        elif self.close:
            outcome = f"the same within {TOLERANCE:g}"
        records = how_many(len(self.steps), "record")
        return f"<ReplayResult: {elsewhere}{records}, {outcome}>"


def recorded_elsewhere(environment: tuple[str, ...]) -> str:
    """Say how the environment differs from the one of a record."""
    return f"recorded elsewhere ({'; '.join(environment)})"
