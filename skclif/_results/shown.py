"""How results show themselves: in one line, when printed, and in notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import pandas as pd

from .plots import shorten
from .words import how_many

_LINES = 5
_CHARACTERS = 48  # of a text, or a name


class Shown(ABC):
    """A result: `repr` is one line, `print` adds a table, and notebooks show a view."""

    @abstractmethod
    def _table(self) -> pd.DataFrame:
        """Return what is worth printing, the most important lines first."""

    def __str__(self) -> str:
        """Return the line of `repr`, and the first lines of a table below it."""
        return with_lines(repr(self), self._table())

    def _repr_html_(self) -> str:
        from .._pages.notebook import html_of

        return html_of(self)


def with_lines(summary: str, table: pd.DataFrame, n: int = _LINES) -> str:
    """Return a summary, and the first lines of a table below it.

    Parameters
    ----------
    summary : str
    table : DataFrame
    n : int, default=5
        Maximum number of lines.
    """
    if not len(table):
        return summary
    shown = table.head(n).astype(object).map(in_one_line).rename(columns=in_one_line)
    lines = [summary, shown.to_string(index=False, max_colwidth=None, na_rep="–")]
    more = len(table) - len(shown)
    if more:
        lines.append(f"… and {how_many(more, 'more line')}.")
    return "\n".join(lines)


def one_line(text: str) -> str:
    """Return a text that cannot break a line or speak to a terminal."""
    return "".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text)


def in_one_line(value: Any) -> Any:
    """Return a value as a cell that cannot break a line or speak to a terminal."""
    if isinstance(value, str):
        return one_line(shorten(value, _CHARACTERS))
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else value
