"""The device and the number of threads that torch computes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def resolve_device(device: str, features: object = None) -> torch.device:
    """Return the torch device that "cpu", "cuda", "cuda:N" or "auto" names.

    Parameters
    ----------
    device : str
        "auto" is a GPU if there is one, except for sparse features: their products are
        computed on the CPU.
    features : object
        The features to compute with, if they are known.

    Raises
    ------
    ValueError
        If the name is unknown, or there is no such device.
    """
    import torch

    if device == "auto":
        from ..numerics.sparse import SparseFeatures

        is_sparse = isinstance(features, SparseFeatures)
        on_gpu = torch.cuda.is_available() and not is_sparse
        device = "cuda" if on_gpu else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(
            f"device={device!r} is not known; use 'cpu', 'cuda', 'cuda:0' … or 'auto'."
        )
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError(
            f"device={device!r} was asked for, but PyTorch sees no CUDA device; use "
            "device='cpu' or 'auto', or install a CUDA build of PyTorch."
        )
    if number and int(number) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} was asked for, but PyTorch sees only "
            f"{torch.cuda.device_count()} CUDA device(s)."
        )
    return torch.device(device)


@contextmanager
def same_threads(count: int | None = None) -> Iterator[int]:
    """Compute on a number of threads of the CPU; None for the number PyTorch takes.

    Sums are split among threads, so that another number of threads gives other bits.

    Yields
    ------
    count : int
        The number of threads.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    count = before if count is None else count
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield count
        finally:
            torch.set_num_threads(before)


def available_memory() -> int | None:
    """Return how many bytes of memory a process can still have; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not on Linux
        return None
    sizes = dict(line.split(":", 1) for line in lines)
    return int(sizes["MemAvailable"].split()[0]) * 1024
