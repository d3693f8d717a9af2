"""What plots of results have in common."""

from __future__ import annotations

from typing import Any


def check_drawn(display: object, name: str, given: Any, kind: type, maker: str) -> None:
    """Refuse what a display cannot draw.

    Parameters
    ----------
    display : object
    name : str
        Of the argument.
    given : object
    kind : type
        What the argument has to be.
    maker : str
        What returns it.

    Raises
    ------
    TypeError
        If it is of another type.
    """
    if not isinstance(given, kind):
        raise TypeError(
            f"{name} of {type(display).__name__} must be what {maker} returned, of "
            f"type {kind.__name__}, got {type(given).__name__}."
        )


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
