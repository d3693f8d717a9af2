"""What a long computation tells of its steps, to whoever wants to know."""

from collections.abc import Callable
from typing import TypeAlias

# Called with the number of steps that were made since the last call.
Advance: TypeAlias = Callable[[int], object]


def unseen(n_steps: int) -> None:
    """Tell nobody."""
