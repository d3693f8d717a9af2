"""What a notebook shows of a result: a sheet of sentences and of tables of cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.values import format_value
from .._results.plots import shorten
from .rendering import render
from .words import amount, number, percent, signed

HELP, HARM = "help", "harm"  # tones
_CHARACTERS = 280  # of a text
_VALUE = 60  # of a value, or a name
# Of the largest part: smaller parts of an influence are shown as one.
_LEAST_PART = 0.05
_PARTS = 4
CHIPS, _FEW_CHIPS = 9, 5  # of what is known of a row; of more than that
_NARROW = 14  # characters of a path
_MARKED = 2_000  # characters of a marked text
_LEVELS = 4  # of the strength of marks
_LEAST_MARK = 0.3  # of the largest share, for a word to be marked
_DARK = """\
  color-scheme: dark;
  --paper: #1d2124;
  --ink: #e8e9e6;
  --muted: #a5acb0;
  --rule: #33393d;
  --track: #2c3236;
  --fill: #6aa3b5;
  --harm: #f5a084;
  --help: #7fd3be;
  --note: #272c30;
  --against: #cf9c3d;
"""
# The notebook's own theme, where it says which, and that of the system elsewhere.
_IS_LIGHT = ", ".join(
    (
        *('[data-jp-theme-light="true"]', ".vscode-light", 'html[theme="light"]'),
        'html[data-theme="light"]',
    )
)
_IS_DARK = ", ".join(
    (
        *('[data-jp-theme-light="false"]', ".vscode-dark", 'html[theme="dark"]'),
        'html[data-theme="dark"]',
    )
)


@dataclass(frozen=True)
class Bar:
    """A bar in its track: left end and width in percent; with a line at 0 if signed."""

    left: float
    width: float
    is_signed: bool = False


@dataclass(frozen=True)
class Part:
    """One path of an influence."""

    name: str
    text: str
    tone: str
    bar: Bar


@dataclass(frozen=True)
class Piece:
    """A piece of a text; a word with a share is marked, and has a title."""

    text: str
    mark: str = ""
    title: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a table: words, a figure, a passage, a marked text, or parts."""

    kind: str = "figure"
    text: str | None = ""
    tone: str = ""
    word: str = ""  # the tone, for those who do not see colours
    between: str = ""
    bar: Bar | None = None
    chips: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    is_wide: bool = False
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Column:
    """The head of a column, and whether figures stand below it."""

    name: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells below a caption."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: str = ""  # what is left out, and where it is
    total: Sequence[Cell] = ()  # a last row, set off from the others


@dataclass(frozen=True)
class Note:
    """A sentence that stands out."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Sheet:
    """All that is shown of a result."""

    name: str
    about: str
    tables: Sequence[Table] = ()
    notes: Sequence[Note] = ()
    more: str = ""
    facts: Sequence[tuple[str, str]] = ()

    @classmethod
    def of(cls, line: str, **parts: Any) -> Sheet:
        """Return a sheet below the one line that `repr` gives."""
        name, _, about = line[1:-1].partition(" ")
        return cls(name.removesuffix(":"), shorten(about, _CHARACTERS), **parts)

    def html(self) -> str:
        """Return the sheet as HTML that changes nothing outside it."""
        tables = [table for table in self.tables if table.rows]
        sheet = replace(self, tables=tables)
        return render("notebook.html", sheet=sheet, style=style())


@cache
def style() -> str:
    """Return the style of all sheets, in light and dark."""
    path = files("skclif").joinpath("_pages", "assets", "notebook.css")
    text = path.read_text(encoding="utf-8")
    light = text[text.index("--paper") : text.index("box-sizing")]
    own = ".skclif-result"
    dark = (
        f"@media (prefers-color-scheme: dark) {{ {own} {{ {_DARK} }} }}\n"
        f":is({_IS_LIGHT}) {own} {{ color-scheme: light; {light} }}\n"
        f":is({_IS_DARK}) {own} {{ {_DARK} }}\n"
    )
    return text.replace("DARK\n", dark)


def columns(*names: str, numbers: Iterable[str] = ()) -> list[Column]:
    """Return heads of columns; `numbers` are those of figures."""
    return [Column(name, name in set(numbers)) for name in names]


def words(value: Any, tone: str = "") -> Cell:
    """Return a cell for a value of the user; a dash for a missing one."""
    return Cell("words", in_short(value), tone)


def figure(value: Any, text: str | None = None) -> Cell:
    """Return a cell for a number that is neither good nor bad."""
    return Cell(text=number(value) if text is None else text)


def count(value: int) -> Cell:
    """Return a cell for a number of things."""
    return Cell(text=f"{value:,}")


def effect(
    value: float,
    good: str | None,
    said: tuple[str, str] = ("helps", "harms"),
    interval: tuple[float, float] | None = None,
) -> Cell:
    """Return a cell for a change.

    Parameters
    ----------
    value : float
    good : {"positive", "negative"} or None
        Which sign is good; None for neither.
    said : (str, str)
        What a good and a bad change are called.
    interval : (float, float), default=None
        Its ends. A change is neither good nor bad if 0 lies between them, or if they
        are not known.
    """
    between = ""
    if interval is not None and not pd.isna(interval[0]):
        between = f"[{signed(interval[0])}, {signed(interval[1])}]"
    tone = "" if interval is not None and not _shows(interval) else tone_of(value, good)
    word = {HELP: said[0], HARM: said[1], "": ""}[tone]
    text = "–" if pd.isna(value) else signed(value)
    return Cell(text=text, tone=tone, word=word, between=between)


def _shows(interval: tuple[float, float]) -> bool:
    """Return whether an interval leaves out zero; one that is not known does not."""
    return interval[0] > 0 or interval[1] < 0


def against_zero(value: float, largest: float) -> Cell:
    """Return a cell for a number with a bar to its side of 0; neither is good."""
    return Cell(text=signed(value), bar=_signed_bar(value, largest))


def _signed_bar(value: float, largest: float) -> Bar:
    """Return the bar of a number; `largest` is the one that fills half a track."""
    width = min(50.0, round(50 * abs(value) / largest, 1)) if largest else 0.0
    return Bar(50 if value >= 0 else 50 - width, width, is_signed=True)


def share(
    value: float, interval: tuple[float, float] | None = None, tone: str = ""
) -> Cell:
    """Return a cell for a share, with a bar."""
    if pd.isna(value):
        return Cell(text="–")
    between = ""
    if interval is not None and not pd.isna(interval[0]):
        between = f"{percent(interval[0])} to {percent(interval[1])}"
    bar = Bar(0, round(100 * min(max(value, 0), 1), 1))
    return Cell(text=percent(value), between=between, bar=bar, tone=tone)


def passage(known: dict[str, Any], texts: Iterable[str] = ("text",)) -> Cell:
    """Return a cell for what is known of a row: its text, then the rest, in order."""
    texts = set(texts)
    found = [str(v) for n, v in known.items() if n in texts and not pd.isna(v)]
    text = shorten(" ".join(found), _CHARACTERS) if found else None
    rest = {name: value for name, value in known.items() if name not in texts}
    # What is missing says least.
    given = [name for name, value in rest.items() if not pd.isna(value)]
    shown = given[:_FEW_CHIPS] if len(rest) > CHIPS else list(rest)
    chips = tuple((in_short(name), in_short(rest[name])) for name in shown)
    n_more = len(rest) - len(shown)
    return Cell("passage", text, chips=chips, word=f"{n_more:,} more" if n_more else "")


def marked(pieces: Iterable[tuple[str, float | None]], unit: str) -> Cell:
    """Return a cell for a text with its words marked, and the largest ones as chips.

    Parameters
    ----------
    pieces : iterable of (str, float or None)
        All of the text: words with their shares, and what is between them.
    unit : str
        Of the shares.
    """
    pieces = list(pieces)
    shares = [(text, share) for text, share in pieces if share]
    largest = max((abs(share) for _, share in shares), default=0.0)
    found, left = [], _MARKED
    for text, share in pieces:
        mark = title = ""
        if share and abs(share) >= _LEAST_MARK * largest:
            level = int(np.ceil(_LEVELS * abs(share) / largest))
            mark = f"{'for' if share > 0 else 'against'} level-{level}"
            title = f"{signed(share)} {unit}, {'for' if share > 0 else 'against'} it"
        found.append(Piece(text[:left], mark, title))
        left -= len(text)
        if left < 0:
            found.append(Piece(" …"))
            break
    order = sorted(shares, key=lambda one: -abs(one[1]))[:_FEW_CHIPS]
    chips = tuple((in_short(text), signed(share)) for text, share in order)
    return Cell("marked", pieces=tuple(found), chips=chips)


def parts(values: dict[str, float], largest: float, good: str | None) -> Cell:
    """Return a cell with a bar for every path, by size, small ones together.

    Parameters
    ----------
    values : dict of str to float
        By path.
    largest : float
        The magnitude that fills half a track.
    good : {"positive", "negative"} or None
    """
    ordered = sorted(values.items(), key=lambda part: -abs(part[1]))
    least = _LEAST_PART * abs(ordered[0][1])
    named = [part for part in ordered[:_PARTS] if abs(part[1]) >= least and part[1]]
    rest = [value for _, value in ordered[len(named) :]]
    if any(rest):
        named.append((f"{len(rest)} more" if len(rest) > 1 else "1 more", sum(rest)))
    found = []
    for name, value in named:
        bar = _signed_bar(value, largest)
        found.append(Part(in_short(name), signed(value), tone_of(value, good), bar))
    is_wide = max(map(len, values)) > _NARROW  # all rows alike
    return Cell("parts", parts=tuple(found), is_wide=is_wide)


def tone_of(value: float, good: str | None) -> str:
    """Return whether a change helps or harms; "" for neither."""
    if good is None or pd.isna(value) or value == 0:
        return ""
    return HELP if (value > 0) == (good == "positive") else HARM


def in_short(value: Any) -> str:
    """Return a value or a name, cut off if it is long; a dash for a missing one."""
    if pd.isna(value):
        return "–"
    if isinstance(value, float | np.floating):
        return amount(float(value))
    return shorten(format_value(value), _VALUE)
