"""Which arguments are Dask collections, told without an import of Dask."""

from __future__ import annotations

from typing import Any

from .._inputs.collections import described, is_collection
from ..exceptions import warn_user

_EXTRA = 'pip install "skclif[dask]"'


def any_collection(*values: Any) -> bool:
    """Return whether one of the values is a Dask collection."""
    return any(map(is_collection, values))


def is_frame(value: Any) -> bool:
    """Return whether a collection is a dataframe or a series of Dask."""
    # Of the class: an attribute of a delayed object may have any name.
    return hasattr(type(value), "npartitions") and hasattr(type(value), "divisions")


def in_process(value: Any) -> Any:
    """Return a collection computed: meant for few rows; anything else as it is."""
    return value.compute() if is_collection(value) else value


def check_kind(name: str, value: Any) -> None:
    """Refuse collections without rows: all but arrays and dataframes, and numbers.

    Raises
    ------
    TypeError, ValueError
    """
    if not is_collection(value):
        return
    if not (is_frame(value) or hasattr(type(value), "rechunk")):
        raise TypeError(
            f"{name} is {described(value)}, and rows on a cluster are a Dask array, "
            "dataframe or series. Make one, for example by .to_dataframe() of a bag, "
            "dask.array.from_delayed or dask.dataframe.from_delayed."
        )
    if value.ndim == 0:
        raise ValueError(
            f"{name} is a Dask array of no dimensions, which has no rows. Give one row "
            "for each sample."
        )


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

    Warns
    -----
    RuntimeWarning
        If there are no workers.
    """
    try:
        from distributed import get_client
    except ImportError as error:
        raise ImportError(f"{what} needs Dask's distributed: {_EXTRA}") from error
    try:
        client = get_client()
    except ValueError as error:
        raise RuntimeError(
            f"{what} needs workers, and no Dask client is active. Start one first: "
            "from dask.distributed import Client, then Client() for workers on this "
            "machine, or Client('tcp://address:8786') for those of a cluster."
        ) from error
    if not client.nthreads():
        warn_user(
            f"{what} waits: the cluster of {client!r} has no workers. Start some by "
            "'dask worker ADDRESS --nthreads 1 --nworkers N'.",
            RuntimeWarning,
        )
    return client
