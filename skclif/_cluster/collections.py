"""Which arguments are Dask collections, told without an import of Dask."""

from __future__ import annotations

from typing import Any

_EXTRA = 'pip install "skclif[dask]"'


def is_collection(value: Any) -> bool:
    """Return whether a value is an array, a dataframe or a series of Dask."""
    is_dask = any(
        kind.__module__.partition(".")[0] == "dask" for kind in type(value).__mro__
    )
    return is_dask and hasattr(value, "__dask_graph__")


def any_collection(*values: Any) -> bool:
    """Return whether one of the values is a Dask collection."""
    return any(map(is_collection, values))


def is_frame(value: Any) -> bool:
    """Return whether a collection is a dataframe or a series of Dask."""
    return hasattr(value, "npartitions") and hasattr(value, "divisions")


def in_process(value: Any) -> Any:
    """Return a collection computed: meant for few rows; anything else as it is."""
    return value.compute() if is_collection(value) else value


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


def active_client(what: str) -> Any:
    """Return the active Dask client, or say how to get one.

    Parameters
    ----------
    what : str
        What needs it, as the subject of a sentence.

    Raises
    ------
    ImportError
        If Dask was installed without its scheduler for clusters.
    RuntimeError
        If no client is active.
    """
    try:
        from distributed import get_client
    except ImportError as error:
        raise ImportError(f"{what} needs Dask's distributed: {_EXTRA}") from error
    try:
        return get_client()
    except ValueError as error:
        raise RuntimeError(
            f"{what} needs workers, and no Dask client is active. Start one first: "
            "from dask.distributed import Client, then Client() for workers on this "
            "machine, or Client('tcp://address:8786') for those of a cluster."
        ) from error
