"""Annotations and their weights as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .checks import check_annotation_weights, check_length, check_row_order
from .concept_tables import has_names, read_table
from .many_values import ManyValues
from .orders import order_of
from .values import is_categorical, plain_array


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotations and their weights as they were given, read once.

    Attributes
    ----------
    table : DataFrame of shape (n_samples, n_concepts)
        With checked names; values as they were given, and `SoftValue` where more than
        one value has a share.
    weights : ndarray of shape (n_samples, n_concepts)
        Of the annotations by themselves.
    as_frame : bool
        Whether they came as a DataFrame of pandas.
    named : bool
        Whether their columns had names, in a table of any library.
    soft : dict of str to list of str
        The values that each concept with soft annotations names.
    """

    table: pd.DataFrame
    weights: np.ndarray
    as_frame: bool
    named: bool
    soft: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, concepts: Any, weights: Any, n_samples: int) -> Annotations | None:
        """Read the arguments `concepts` and `concept_sample_weight` of a fit.

        Raises
        ------
        TypeError, ValueError
            If they have no such shape, or weights were given without annotations.
        """
        if concepts is None:
            if weights is not None:
                raise ValueError("concept_sample_weight was given without concepts.")
            return None
        table, soft = read_table(concepts)
        named = has_names(concepts)
        check_length("concepts", len(table), n_samples)
        check_row_order(concepts=concepts, concept_sample_weight=weights)
        weights = check_annotation_weights(weights, table, by_name=named)
        return cls(table, weights, isinstance(concepts, pd.DataFrame), named, soft)

    @property
    def orders(self) -> dict[str, list[Any]]:
        """The order of the values of each concept whose type has an order."""
        orders = {name: order_of(column) for name, column in self.table.items()}
        return {str(name): o for name, o in orders.items() if o is not None}

    @property
    def declared(self) -> dict[str, list[Any]]:
        """The values that a concept's columns or their type declare, seen or not."""
        types = {
            str(name): column.dtype.categories.tolist()
            for name, column in self.table.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }
        return {**types, **self.soft}

    def many_values(self) -> list[ManyValues]:
        """Return the concepts whose values seem to be no categories.

        Concepts with numbers that are not whole are left out: they are continuous.
        """
        found = []
        for name, column in self.table.items():
            if name in self.soft:
                continue
            values = plain_array(column[column.notna()])
            if is_categorical(values):
                found.append(ManyValues.of(str(name), values))
        return [one for one in found if one is not None]
