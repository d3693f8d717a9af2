"""Numbers and values as people read them."""

from __future__ import annotations

import pandas as pd

_LONG, _FOLD = 700, 500
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value, digits: int = 3) -> str:
    """Return a number with a few significant digits and a true minus sign."""
    if value is None or pd.isna(value):
        return "–"
    return _typeset(f"{value:#.{digits}g}")


def signed(value, digits: int = 3) -> str:
    """Return a number with its sign; zero has none."""
    return _typeset(f"{value:+#.{digits}g}") if value else "0"


def percent(value) -> str:
    """Return a share in percent."""
    return (
        "–"
        if value is None or pd.isna(value)
        else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
    )


def cut(text: str) -> int:
    """Return where a long text can be folded away, 0 if it is not long."""
    if len(text) <= _LONG:
        return 0
    space = text.rfind(" ", _FOLD // 2, _FOLD)
    return space if space > 0 else _FOLD


def _typeset(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa.replace("-", "−").removesuffix(".")
    if not exponent:
        return mantissa
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
