"""What plots of results have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Colours that colour-blind people tell apart (Okabe and Ito, 2008), in an order whose
# lightness goes up and down, with hatches beside them for print in grey.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999")
HATCHES = ("", "///", "...", "\\\\\\", "xx", "")


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


def axes(display: object, ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return axes to draw on, those of a new figure if there are none.

    Parameters
    ----------
    display : object
    ax : matplotlib Axes or None
    size : tuple of float, default=None
        Width and height of a new figure (inches); None for matplotlib's default.

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
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, layout="constrained")[1]


def shorten(text: str, width: int) -> str:
    """Return a text in one line of at most `width` characters, cut between words.

    Parameters
    ----------
    text : str
    width : int
    """
    line = " ".join(text.split())
    if len(line) <= width:
        return line
    cut = line[: width - 1]
    # A word is cut only if it would take more than half of the line.
    words = cut.rpartition(" ")[0]
    return f"{words if len(words) > width // 2 else cut}…"


def show_as_text(drawn: Iterable[Any]) -> None:
    """Show texts of users as they are: dollar signs begin no formula."""
    for text in drawn:
        text.set_parse_math(False)
