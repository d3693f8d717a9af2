"""Values of a concept that seem to be no categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import sorted_values
from .values import plain_value

# More different whole numbers look like amounts, and not like grades.
MOST_GRADES = 20
# Fewer values are nothing to speak of, however few the rows.
_MANY = 10


def is_nearly_one_each(n_values: int, n_rows: int) -> bool:
    """Return whether there are nearly as many values as rows, as with free text."""
    return n_values > max(_MANY, n_rows / 2)


@dataclass(frozen=True)
class ManyValues:
    """Values of a concept that seem to be no categories.

    Attributes
    ----------
    concept : str
    n_values : int
        Different values.
    n_rows : int
        Annotated rows.
    example : object
        One of the values.
    are_numbers : bool
        Whether they are whole numbers: amounts, perhaps. Otherwise there are nearly as
        many values as rows, as with free text, names, ids and dates.
    """

    concept: str
    n_values: int
    n_rows: int
    example: Any
    are_numbers: bool

    @classmethod
    def of(
        cls, concept: str, values: np.ndarray, n_rows: int | None = None
    ) -> ManyValues | None:
        """Return what is odd about the annotated values of a concept, if anything.

        Parameters
        ----------
        concept : str
        values : ndarray
            Of all rows, or the different ones of more rows.
        n_rows : int, default=None
            Number of these rows. None is the number of values.
        """
        if values.dtype.kind not in "iufUO" or not len(values):
            return None
        n_rows = len(values) if n_rows is None else n_rows
        different = sorted_values(values, f"Concept {concept!r}")
        n, are_numbers = len(different), values.dtype.kind in "iuf"
        is_many = are_numbers and n > MOST_GRADES
        if not is_many and not is_nearly_one_each(n, n_rows):
            return None
        return cls(concept, n, n_rows, plain_value(different[0]), are_numbers)

    def __str__(self) -> str:
        """Return what is odd, and what to do in Python."""
        if self.are_numbers:
            return (
                f"Concept {self.concept!r} has {self.n_values} different whole numbers "
                f"in {self.n_rows} annotated rows, and each is a category of its own. "
                "If they are amounts, use "
                f"concept_kinds={{{self.concept!r}: 'continuous'}}; if not, "
                f"{{{self.concept!r}: 'categorical'}} says so."
            )
        return (
            f"Concept {self.concept!r} has {self.n_values} different values in "
            f"{self.n_rows} annotated rows, such as {self.example!r}: it seems to hold "
            "free text, names or dates, which no head can learn as categories. Leave "
            "it out, or group its values; if it is right, "
            f"concept_kinds={{{self.concept!r}: 'categorical'}} says so."
        )
