"""A Dask client for a command: of a cluster with an address, or of new processes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_EXTRA = 'pip install "skclif[dask]"'
_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://\S+:\d+")
# Seconds in which a scheduler has to answer, and a first worker has to be there.
TO_ANSWER, TO_JOIN = 10, 30
# The setting of Dask by which workers of its own do not keep the memory that they free.
TRIMS_MEMORY = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"


def number_or_address(where: str) -> int | str:
    """Return a number of processes, or the address of a scheduler.

    Raises
    ------
    ValueError
        If it is neither.
    """
    where = where.strip()
    if where.isdecimal() and int(where):
        return int(where)
    if _ADDRESS.fullmatch(where):
        return where
    raise ValueError(
        f"{where!r} is neither a number of processes, such as 4, nor the address of a "
        "Dask scheduler, such as tcp://scheduler:8786."
    )


@contextmanager
def workers(where: int | str) -> Iterator[Any]:
    """Open a client with workers, and close what was started.

    Parameters
    ----------
    where : int or str
        As `number_or_address` returns it.

    Raises
    ------
    ImportError
        If Dask is not installed.
    OSError
        If there is no scheduler at the address, or no worker joins it.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError(f"A cluster needs Dask's distributed: {_EXTRA}") from error
    with ExitStack() as stack:
        place: Any = where
        if isinstance(where, int):
            # Dask has glibc give freed memory back at once. Each block of rows would be
            # mapped anew, page by page, which takes as long as the products.
            stack.enter_context(dask.config.set({TRIMS_MEMORY: None}))
            place = LocalCluster(
                n_workers=where,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any port that is free
                silence_logs=logging.CRITICAL,
            )
            stack.enter_context(place)
        try:
            client = Client(place, timeout=TO_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            raise OSError(
                f"no Dask scheduler answers at {where} within {TO_ANSWER} seconds. "
                "Start one by 'dask scheduler', and workers by 'dask worker "
                f"{where}'; or check the address."
            ) from error
        stack.enter_context(client)
        try:
            client.wait_for_workers(1, timeout=TO_JOIN)
        except TimeoutError as error:
            raise OSError(
                f"the Dask scheduler at {where} had no worker for {TO_JOIN} seconds. "
                f"Start some by 'dask worker {where} --nthreads 1 --nworkers N'."
            ) from error
        yield client
