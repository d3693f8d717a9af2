"""Dask collections as arguments, told without an import of Dask, and refused."""

from __future__ import annotations

from typing import Any


def is_collection(value: Any) -> bool:
    """Return whether a value is an array, a dataframe or a series of Dask."""
    is_dask = any(
        kind.__module__.partition(".")[0] == "dask" for kind in type(value).__mro__
    )
    return is_dask and hasattr(value, "__dask_graph__")


def refuse_collections(what: str, **given: Any) -> None:
    """Refuse Dask collections where rows have to be in this process.

    Parameters
    ----------
    what : str
        What was asked for, as the subject of a sentence.
    **given
        Arguments by name.

    Raises
    ------
    TypeError
    """
    for name, value in given.items():
        if is_collection(value):
            raise TypeError(
                f"{what} needs {name} in this process, got {described(value)}. Pass "
                f"{name}.compute() if it fits the memory."
            )


def described(value: Any) -> str:
    """Return what kind of collection this is, in words."""
    kind = type(value).__name__
    return f"a Dask {kind}" if is_collection(value) else f"a {kind}"
