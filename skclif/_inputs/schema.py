"""The concepts that a model knows: their names, and the codes of their values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._results.words import how_many
from ..exceptions import UnseenValueWarning, warn_user
from .annotations import Annotations
from .soft import Coded, Shares, coded, distributions_of
from .values import finite_numbers, format_value, known_codes, plain_array, plain_value


@dataclass(frozen=True)
class ConceptSchema:
    """The concepts that a model knows.

    Attributes
    ----------
    names : tuple of str
    classes : tuple of ndarray or None
        Observed values of each categorical concept, in the order of its type or else
        sorted; None for a continuous one. One value makes a concept a constant.
    as_frame : bool
        Whether the annotations came as a DataFrame.
    """

    names: tuple[str, ...] = ()
    classes: tuple[np.ndarray | None, ...] = ()
    as_frame: bool = False

    def encode(
        self,
        annotations: Annotations,
        sample_weight: np.ndarray | None = None,
        *,
        partial: bool = False,
        of_fit: bool = False,
        shares: Shares | None = None,
    ) -> Coded:
        """Return codes (n_samples, n_concepts), float64, NaN where not annotated.

        The code of a continuous concept is its value. An annotation of weight 0, or in
        a row of weight 0, may have any value; it counts as not annotated if the model
        does not know it. So does a value that a model of other rows cannot know: one of
        a constant, or one that the type of the column declares, or a soft annotation
        with a share of such a value.

        Parameters
        ----------
        annotations : Annotations
        sample_weight : ndarray of shape (n_samples,), default=None
            None for 1.
        partial : bool, default=False
            Whether a table with names may leave out concepts.
        of_fit : bool, default=False
            Whether the rows are those of the fit, which has seen all values.
        shares : Shares, default=None
            What codes of other rows stand for; they stay as they are.

        Raises
        ------
        ValueError
            If the columns are not the model's, or a value was never seen in fit.

        Warns
        -----
        UnseenValueWarning
            If a value counts as not annotated.
        """
        columns = self._columns(annotations, partial)
        codes = np.full((len(annotations.table), len(self.names)), np.nan)
        unseen: list[str] = []
        shares = {} if shares is None else shares
        for j, column in enumerate(columns):
            if column is None:
                continue
            values = annotations.table.iloc[:, column]
            given = values.notna().to_numpy()
            if values.name in annotations.soft:
                cells = values[given].tolist()
                codes[given, j], shares, new = self._encode_soft(j, cells, shares)
                weight = annotations.weights[given, column]
                if sample_weight is not None:
                    weight = weight * sample_weight[given]
                counted = pd.Series(new, dtype=object)[weight > 0].dropna()
                if of_fit and len(counted):
                    self._refuse_value(j, counted.iloc[0])
                unseen += _counts(self.names[j], counted)
                continue
            weights = annotations.weights[:, column]
            if sample_weight is not None:
                weights = weights * sample_weight
            weightless = given & (weights == 0)
            given = given & ~weightless
            if not of_fit:
                missing = given & self._cannot_be_known(j, values)
                given = given & ~missing
                unseen += _counts(self.names[j], values[missing])
            codes[given, j] = self._encode_column(j, values[given])
            codes[weightless, j] = known_codes(self.classes[j], values[weightless])
        if unseen:
            warn_user(
                "concepts has values that no row had in fit, so that they count as not "
                f"annotated: {', '.join(unseen)}.",
                UnseenValueWarning,
            )
        return Coded(codes, shares)

    def arrange(self, annotations: Annotations) -> np.ndarray:
        """Return the weights of annotations in the order of the concepts, 1 if none."""
        columns = self._columns(annotations, partial=True)
        weights = np.ones((len(annotations.table), len(self.names)))
        for j, column in enumerate(columns):
            if column is not None:
                weights[:, j] = annotations.weights[:, column]
        return weights

    def decode(
        self, codes: np.ndarray, index: pd.Index | None = None
    ) -> pd.DataFrame | np.ndarray:
        """Return values for codes, in the kind of container the annotations came in."""
        columns = [
            codes[:, j] if values is None else values[codes[:, j].astype(int)]
            for j, values in enumerate(self.classes)
        ]
        if self.as_frame:
            frame = dict(zip(self.names, columns, strict=True))
            return pd.DataFrame(frame, index=index, columns=list(self.names))
        return np.column_stack(_common_dtype(columns))

    def activation_names(self) -> list[str]:
        """Return ``concept=value`` (or ``concept``) for every activation column."""
        names = []
        for name, values in zip(self.names, self.classes, strict=True):
            if values is None:
                names.append(name)
                continue
            shown = values[len(values) - n_activations(values) :]
            names += [f"{name}={format_value(value)}" for value in shown]
        return names

    def _columns(self, annotations: Annotations, partial: bool) -> list[int | None]:
        """Return the column of every concept, by name where columns are named."""
        given = list(annotations.table.columns)
        if not annotations.named:
            if len(given) != len(self.names):
                raise ValueError(
                    f"concepts has {how_many(len(given), 'column')}, but the model "
                    "was fitted "
                    f"with {len(self.names)}: {', '.join(self.names)}."
                )
            return list(range(len(given)))
        unknown = [name for name in given if name not in self.names]
        missing = [name for name in self.names if name not in given]
        if unknown or (missing and not partial):
            raise ValueError(
                "concepts must have the columns the model was fitted with "
                f"({', '.join(self.names)}); unknown: {unknown}, missing: {missing}."
            )
        return [given.index(name) if name in given else None for name in self.names]

    def _cannot_be_known(self, j: int, values: pd.Series) -> np.ndarray:
        """Return which values are new but no mistake of spelling, (n_rows,)."""
        known = self.classes[j]
        is_declared = isinstance(values.dtype, pd.CategoricalDtype)
        if known is None or not (len(known) == 1 or is_declared):
            return np.zeros(len(values), dtype=bool)
        is_value = [isinstance(value, Hashable) for value in values.tolist()]
        unknown: np.ndarray = np.isnan(known_codes(known, values)) & is_value
        return unknown

    def _encode_column(self, j: int, values: pd.Series) -> np.ndarray:
        classes = self.classes[j]
        if classes is None:
            return finite_numbers(self.names[j], plain_array(values))
        codes = pd.Index(classes).get_indexer(pd.Index(plain_array(values)))
        if (codes < 0).any():
            unknown = values.iloc[int(np.flatnonzero(codes < 0)[0])]
            unknown = unknown.item() if isinstance(unknown, np.generic) else unknown
            self._refuse_value(j, unknown)
        return codes

    def _encode_soft(
        self, j: int, cells: list[Any], shares: Shares
    ) -> tuple[np.ndarray, Shares, np.ndarray]:
        """Return codes of soft annotations, and a value of each that is not known.

        Values are known by their text, which columns are named by.
        """
        classes = self.classes[j]
        if classes is None:
            raise ValueError(
                f"concepts has soft annotations of concept {self.names[j]!r}, which "
                "is continuous; give it one column of numbers."
            )
        places = {format_value(value): k for k, value in enumerate(classes.tolist())}
        found, unknown = distributions_of(cells, places, len(classes))
        is_known = pd.isna(unknown)
        codes = np.full(len(cells), np.nan)
        codes[is_known], shares = coded(found[is_known], shares)
        return codes, shares, unknown

    def _refuse_value(self, j: int, unknown: Any) -> None:
        classes = self.classes[j]
        assert classes is not None
        raise ValueError(
            f"concepts has the value {unknown!r} for concept "
            f"{self.names[j]!r}, which was never seen in fit; known values: "
            f"{', '.join(repr(v) for v in classes.tolist())}."
        )


def n_activations(values: np.ndarray | None) -> int:
    """Return how many columns the label head sees of a concept with such values."""
    if values is None:
        return 1
    return len(values) if len(values) > 2 else len(values) - 1


def _counts(name: str, values: pd.Series) -> list[str]:
    """Return what values there are, and in how many rows."""
    counts = pd.Series(values.to_numpy(dtype=object)).value_counts(sort=False)
    return [
        f"{plain_value(value)!r} of {name!r} ({how_many(n, 'row')})"
        for value, n in counts.items()
    ]


def _common_dtype(columns: list[np.ndarray]) -> list[np.ndarray]:
    same = len({column.dtype for column in columns}) == 1
    return columns if same else [column.astype(object) for column in columns]
