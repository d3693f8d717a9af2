"""How much of every logit comes through each concept, with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .shown import Shown
from .words import how_many

INTERCEPT = "intercept"
_SHOWN = 6


def intercept_name(concepts: Sequence[str]) -> str:
    """Return what the intercept is called next to these concepts."""
    name = INTERCEPT
    while name in concepts:
        name = f"({name})"
    return name


@dataclass(frozen=True, eq=False, repr=False)
class ConceptContributions(Shown):
    """How much of every logit comes through each concept.

    Contributions are in log-odds, centred over the classes: positive = the concept
    supports the class, against the average class. Their sum over the concepts is the
    centred logit. An ordinal label head has thresholds in place of classes: positive =
    the concept supports a label above, and the sum is the log-odds of one.
    ``numpy.asarray`` gives `values`.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_classes, n_concepts + 1), float64
        The contributions.
    classes : ndarray of shape (n_classes,)
        The labels: names along the second axis of `values`.
    concepts : tuple of str
        Names along the last axis of `values`: the concepts, then "not in the concepts"
        if the model has a `residual_C`, then "intercept", which is the same for every
        row. It is "(intercept)" if a concept has this name.
    index : Index
        Names of the rows: the index of `X`, or positions.
    of_thresholds : bool
        Whether the second axis is of thresholds, the lowest first.
    """

    __module__ = "skclif"

    values: np.ndarray
    classes: np.ndarray
    concepts: tuple[str, ...]
    index: pd.Index
    of_thresholds: bool = False

    def to_frame(self) -> pd.DataFrame:
        """Return every contribution, one per line.

        Returns
        -------
        frame : DataFrame
            Columns: class, concept, contribution. Its index is that of the rows, each
            repeated.
        """
        n_samples, n_classes, n_concepts = self.values.shape
        return self._lines(*np.indices((n_samples, n_classes, n_concepts)))

    def top(self, k: int = 3) -> pd.DataFrame:
        """Return what says most about the predicted class of each row.

        Parameters
        ----------
        k : int, default=3
            Number of concepts per row, by magnitude. The intercept is left out.

        Returns
        -------
        frame : DataFrame
            Columns and index as in `to_frame`; class is the predicted label. Of
            thresholds, it is the highest with a label above it that is more likely than
            not, or the lowest.
        """
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 0:
            raise ValueError(
                f"k={k!r} must be a whole number, 0 or more: the concepts per row."
            )
        rows = np.arange(len(self.values))[:, None]
        predicted = self.predicted()[:, None]
        parts = self.values[rows[:, 0], predicted[:, 0], :-1]
        order = np.argsort(-np.abs(parts), axis=1, kind="stable")[:, :k]
        return self._lines(*np.broadcast_arrays(rows, predicted, order))

    def predicted(self) -> np.ndarray:
        """Return the place of the class or threshold that `top` is about, by row.

        Returns
        -------
        places : ndarray of shape (n_samples,), int
            Along the second axis of `values`.
        """
        sums = self.values.sum(axis=2)
        places: np.ndarray = sums.argmax(axis=1)
        if self.of_thresholds:
            places = np.maximum((sums > 0).sum(axis=1) - 1, 0)
        return places

    def _lines(
        self, rows: np.ndarray, classes: np.ndarray, concepts: np.ndarray
    ) -> pd.DataFrame:
        """Return contributions by their positions in `values`."""
        places = rows.ravel(), classes.ravel(), concepts.ravel()
        columns = {
            "class": self.classes[places[1]],
            "concept": np.asarray(self.concepts, dtype=object)[places[2]],
            "contribution": self.values[places],
        }
        return pd.DataFrame(columns, index=self.index[places[0]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        """Return one line: what, how many, unit and sign."""
        n_samples, n_classes, _ = self.values.shape
        to, what = "centred logits (log-odds, positive = supports the class)", "classes"
        if self.of_thresholds:
            to, what = "log-odds of a label above (positive = higher)", "thresholds"
        return (
            f"<ConceptContributions to {to}: {how_many(n_samples, 'row')} x "
            f"{n_classes} {what}; "
            f"{', '.join(self.concepts[:_SHOWN])}"
            f"{', …' if len(self.concepts) > _SHOWN else ''}>"
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def _table(self) -> pd.DataFrame:
        return self.top().reset_index(names="row")
