"""Annotations as columns of numbers, for a model of the label that sees no text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .soft import SoftValue, values_given
from .values import format_value


@dataclass(frozen=True)
class Indicators:
    """A column for each value of each concept; a gap is a value by itself.

    Of a soft annotation, the columns hold the shares.

    A concept of numbers has two columns: the standardised number, 0 where it is
    missing, and whether it is there.

    Attributes
    ----------
    values : dict of str to tuple of str
        Of the concepts that are no numbers; a gap is the empty string.
    scales : dict of str to tuple of float
        Mean and standard deviation of the concepts of numbers.
    """

    values: dict[str, tuple[str, ...]]
    scales: dict[str, tuple[float, float]]

    @classmethod
    def learn(
        cls, concepts: pd.DataFrame, kinds: Mapping[str, str] | None = None
    ) -> Indicators:
        """Return the columns that annotations have.

        Parameters
        ----------
        concepts : DataFrame of shape (n_rows, n_concepts)
        kinds : mapping of str to {"categorical", "continuous"}, default=None
            Overrides, as :class:`ConceptBottleneckClassifier` takes them.
        """
        kinds = {} if kinds is None else kinds
        values, scales = {}, {}
        for name, given in concepts.items():
            column = pd.Series([*given], dtype=object)  # sparse columns too
            kind = kinds.get(str(name))
            if _is_continuous(column) if kind is None else kind == "continuous":
                known = column.dropna().to_numpy(float)
                scales[str(name)] = float(known.mean()), float(known.std()) or 1.0
            else:
                values[str(name)] = tuple(sorted({*_words(values_given(column))}))
        return cls(values, scales)

    def encode(self, concepts: pd.DataFrame) -> np.ndarray:
        """Return the columns of annotations; a value that is not known has none.

        Parameters
        ----------
        concepts : DataFrame of shape (n_rows, n_concepts)
            With the columns that were learned from, in any order.

        Returns
        -------
        indicators : ndarray of shape (n_rows, n_columns)
        """
        parts = []
        for name, values in self.values.items():
            column = concepts[name]
            words = _words(column)[:, None]
            indicators = (words == np.asarray(values, dtype=object)).astype(float)
            for row, cell in enumerate(column):
                if isinstance(cell, SoftValue):
                    indicators[row] = [cell.shares.get(v, 0.0) for v in values]
            parts.append(indicators)
        for name, (mean, deviation) in self.scales.items():
            column = pd.Series([*concepts[name]], dtype=object)
            numbers = pd.to_numeric(column, errors="coerce")
            numbers = numbers.to_numpy(float, na_value=np.nan)
            is_known = ~np.isnan(numbers)
            scaled = np.where(is_known, (numbers - mean) / deviation, 0.0)
            parts.append(np.stack([scaled, is_known], axis=1))
        return np.hstack(parts).astype(float)


def _words(column: Iterable[Any]) -> np.ndarray:
    """Return values as words; whole numbers alike, whatever else is in the column."""
    words = ["" if pd.isna(value) else format_value(value) for value in column]
    return np.asarray(words, dtype=object)


def _is_continuous(column: pd.Series) -> bool:
    """Return whether a concept has numbers that are not whole, as a bottleneck asks."""
    if column.map(lambda value: isinstance(value, str | SoftValue)).any():
        return False
    numbers = pd.to_numeric(column, errors="coerce")
    if not (numbers.notna() | column.isna()).all():
        return False
    return bool((numbers.dropna() % 1 != 0).any())
