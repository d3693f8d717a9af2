"""The templates of the folder ``templates``, filled in with every value escaped."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from .._inputs.values import format_value
from .._results.words import how_many, is_or_are
from .words import fold_position, number, percent, points, signed


def render(template: str, **context: Any) -> str:
    """Return a template of the folder with its variables filled in."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("skclif", "_pages/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "fold_position": fold_position,
        "how_many": how_many,
        "is_or_are": is_or_are,
        "number": number,
        "percent": percent,
        "plain": format_value,
        "points": points,
        "signed": signed,
    }
    environment.tests["missing"] = pd.isna
    return environment
