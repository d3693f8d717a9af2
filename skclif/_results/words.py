"""Numbers of things in words."""

from __future__ import annotations

from collections.abc import Container


def how_many(n: int, what: str) -> str:
    """Return a number and what it is a number of: "1 row", "2,000 rows".

    Parameters
    ----------
    n : int
    what : str
        In the singular; its plural ends in "s".
    """
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def is_or_are(n: int) -> str:
    """Return the verb that goes with a number of things."""
    return "is" if n == 1 else "are"


def rate(value: float) -> str:
    """Return how many there are of something each second, in few digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def column_of_concept(name: str, taken: Container[str]) -> str:
    """Return the column of a concept's annotations, where other columns have names.

    Parameters
    ----------
    name : str
        Of the concept.
    taken : container of str
        The other columns.
    """
    while name in taken:
        name = f"annotated {name}"
    return name
