"""Numbers, values and records as people read them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pandas as pd

from .._audit.corrections import DOUBTFUL, LABEL_HEAD, LEAST, MISREAD, UNKNOWN
from .._results.words import how_many

_LONG, _FOLD = 700, 500
FAILURES = {
    MISREAD: "A concept was misread: with what people read in place of what was "
    "misread, the label is right.",
    LABEL_HEAD: "The step from concepts to the label (the label head): with every "
    "misread concept corrected, the label is wrong too.",
    DOUBTFUL: "Perhaps the label itself: the concepts as people read them, and nothing "
    f"else, give it less than {LEAST:.0%}.",
    UNKNOWN: "Unknown: not every concept of the text is annotated with a value that "
    "the model knows, so one of the others may have been misread.",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with a few significant digits and a true minus sign."""
    if value is None or pd.isna(value):
        return "–"
    return _typeset(f"{value:#.{digits}g}")


def amount(value: float) -> str:
    """Return a value that people wrote or a model predicts, never less than whole."""
    if not math.isfinite(value):
        return _typeset(str(value))
    n_whole = len(f"{abs(value):.0f}")
    return _typeset(f"{value:.{n_whole if n_whole > 4 else 4}g}")


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign; zero has none."""
    return _typeset(f"{value:+#.{digits}g}") if value else "0"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    if value is None or pd.isna(value):
        return "–"
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """Return a difference of two shares, in percentage points; zero has no sign."""
    said = f"{100 * value:+.1f}"
    if float(said) == 0:
        return "0\N{NO-BREAK SPACE}points"
    return f"{_typeset(said)}\N{NO-BREAK SPACE}points"


def fold_position(text: str) -> int:
    """Return where a long text can be folded away, 0 if it is not long."""
    if len(text) <= _LONG:
        return 0
    space = text.rfind(" ", _FOLD // 2, _FOLD)
    return space if space > 0 else _FOLD


def what_was_done(record: dict[str, Any]) -> str:
    """Return in a few words what a record of the trail is about."""
    if record["kind"] == "fit":
        said = f"fitted to {how_many(len(record['rows']), 'row')}"
        prompts = record.get("prompts")
        return f"{said}, annotated by {prompts['file']}" if prompts else said
    if record["kind"] == "forget":
        n = len(record["forgotten"]) + len(record["held_out"])
        return f"{how_many(n, 'row')} forgotten"
    kinds = Counter(change["kind"] for change in record.get("changes", []))
    parts = [f"{n:,} × {kind}" for kind, n in kinds.items()]
    if record.get("rejected"):
        parts.append(f"{len(record['rejected']):,} × reject")
    return ", ".join(parts)


def _typeset(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa.replace("-", "−").removesuffix(".")
    if not exponent:
        return mantissa
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
