"""Blocks of rows on their way to a GPU, while the block before is computed with.

Rows are copied from memory, or a file, to memory that the GPU reads by itself, and from
there to the GPU, both beside the computation: one thread and one stream of the GPU do
nothing else. There are two buffers of each kind, so memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Protocol

import torch
from torch import Tensor

# Rows of a block on a GPU, as a multiple of those on a CPU: launching a product takes
# as long as a small one. One more for each so many bytes of its memory, and at most.
_MEMORY_A_TIME = 2**32
_MOST_TIMES = 16
# Share of the free memory that features may take by themselves.
_SHARE = 0.6


class Lane(Protocol):
    """How memory comes to a device beside its computation."""

    def buffers(self, n_values: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return memory that the device reads by itself, and as much on the device."""

    def send(self, source: Tensor, target: Tensor, after: Any) -> Any:
        """Begin a copy after an event of the computation; return the event of its end.

        No event is None.
        """

    def wait(self, event: Any) -> None:
        """Wait for the end of a copy."""

    def join(self, event: Any) -> None:
        """Let the computation wait for the end of a copy, but not this thread."""

    def mark(self) -> Any:
        """Return the event of the computation so far."""

    def close(self) -> None:
        """Wait for all copies."""


class CudaLane:
    """A stream of a GPU that does nothing but copy.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def buffers(self, n_values: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return memory that is pinned, and as much on the GPU."""
        pinned = torch.empty(n_values, dtype=dtype, pin_memory=True)
        return pinned, torch.empty(n_values, dtype=dtype, device=self.device)

    def send(self, source: Tensor, target: Tensor, after: Any) -> Any:
        """Begin a copy after an event of the computation; return the event of its end.

        No event is None.
        """
        with torch.cuda.stream(self.stream):
            if after is not None:
                self.stream.wait_event(after)
            target.copy_(source, non_blocking=True)
            return self.stream.record_event()

    def wait(self, event: Any) -> None:
        """Wait for the end of a copy."""
        event.synchronize()

    def join(self, event: Any) -> None:
        """Let the computation wait for the end of a copy, but not this thread."""
        torch.cuda.current_stream(self.device).wait_event(event)

    def mark(self) -> Any:
        """Return the event of the computation so far."""
        return torch.cuda.current_stream(self.device).record_event()

    def close(self) -> None:
        """Wait for all copies, so that buffers can be given away."""
        self.stream.synchronize()


@dataclass
class _Slot:
    """A pair of buffers, and the events after which each may be written to again."""

    source: Tensor
    target: Tensor
    sent: Any = None
    taken: Any = None


def streamed(
    fetch: Callable[[slice], Tensor],
    blocks: Iterable[slice],
    shape: tuple[int, int],
    stored: torch.dtype,
    loaded: torch.dtype,
    lane: Lane,
) -> Generator[tuple[slice, Tensor]]:
    """Yield blocks of rows on a device, in order; the next one is already on its way.

    Parameters
    ----------
    fetch : callable
        Maps a slice to these rows, in memory or in a file. It is called in another
        thread.
    blocks : iterable of slice
    shape : tuple of int
        Most rows of a block, and columns.
    stored, loaded : torch.dtype
        Types of the rows as they are fetched, and as they are to be on the device,
        where they are converted.
    lane : Lane
    """
    n_values = shape[0] * shape[1]
    slots = cycle([_Slot(*lane.buffers(n_values, stored)) for _ in range(2)])

    def load(slot: _Slot, block: slice) -> Tensor:
        if slot.sent is not None:
            lane.wait(slot.sent)
        rows = fetch(block)
        source, target = (
            buffer[: rows.numel()].view(rows.shape)
            for buffer in (slot.source, slot.target)
        )
        source.copy_(rows)
        slot.sent = lane.send(source, target, slot.taken)
        return target

    pool = ThreadPoolExecutor(1, thread_name_prefix="skclif-rows")
    pending: tuple[slice, _Slot, Future[Tensor]] | None = None
    try:
        for block in (*blocks, None):
            arrived, pending = pending, None
            if arrived is not None:
                here, slot, future = arrived
                target = future.result()
                lane.join(slot.sent)
                rows = target.to(loaded, copy=True)
                slot.taken = lane.mark()
            if block is not None:
                slot = next(slots)
                pending = block, slot, pool.submit(load, slot, block)
            if arrived is not None:
                yield here, rows
                del rows  # or it would be in memory with the next one
    finally:
        pool.shutdown(cancel_futures=True)
        lane.close()


def rows_at_once(block_rows: int, device: torch.device) -> int:
    """Return how many rows make a block on a device, from that of a CPU."""
    if device.type != "cuda":
        return block_rows
    memory = torch.cuda.get_device_properties(device).total_memory
    return block_rows * max(1, min(_MOST_TIMES, memory // _MEMORY_A_TIME))


def fits(n_bytes: int, device: torch.device) -> bool:
    """Return whether this much can be on a GPU for the whole of a computation."""
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return n_bytes <= _SHARE * (free + unused)
