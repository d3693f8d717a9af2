"""What plots of results have in common."""

from __future__ import annotations

from typing import Any


def axes(display: object, ax: Any) -> Any:
    """Return axes to draw on, those of a new figure if there are none.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__}.plot needs matplotlib; install it with "
            'pip install "skclif[plots]".'
        ) from error
    return plt.subplots(layout="constrained")[1] if ax is None else ax
