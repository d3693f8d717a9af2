"""How often each source of labels and annotations errs, by the list of suspects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .shown import in_one_line

GROUP, GROUPS = "group", "groups"  # the column, and the name in the frame's attrs
# What is known of each group and path.
CELLS = [
    *(GROUP, "path", "n_values", "n_others", "share", "low", "high", "share_others"),
    *("is_worse", "current", "proposed"),
]
_BY_PATH = [GROUP, "path", "n_values", "share", "low", "high", "share_others", "ratio"]
_BY_PATH += ["current", "proposed"]
_NAMED = 3


def by_group(cells: list[list[Any]], paths: bool = False) -> pd.DataFrame:
    """Return a line for each group, or for each group and path; see `SuspectFrame`.

    Parameters
    ----------
    cells : list of list
        Rows of `CELLS`.
    paths : bool
    """
    table = pd.DataFrame(cells, columns=CELLS)
    if not paths:
        lines = [_together(part) for _, part in table.groupby(GROUP, sort=True)]
        table = pd.DataFrame(lines, columns=_BY_PATH).drop(columns="path")
    others = table["share_others"]
    table["ratio"] = table["share"] / others  # of two zeros, there is none
    more = table["n_values"] * (table["share"] - others)
    order = more.sort_values(ascending=False, kind="stable").index
    shown = _BY_PATH if paths else [n for n in _BY_PATH[:-2] if n != "path"]
    return table.loc[order, shown].reset_index(drop=True)


def _together(cells: pd.DataFrame) -> dict[str, Any]:
    """Return one line for all paths of a group.

    Ends of intervals are as far off as the root of the sum of the squares of how far
    they are off in each path.
    """
    n = cells["n_values"]
    weights = n / n.sum()
    share = (weights * cells["share"]).sum()
    below, above = (
        np.sqrt((weights**2 * (cells[end] - cells["share"]) ** 2).sum())
        for end in ("low", "high")
    )
    has_others = cells["n_others"] > 0
    at_others = n.where(has_others, 0)
    return {
        GROUP: cells[GROUP].iloc[0],
        "n_values": int(n.sum()),
        "share": share,
        "low": max(share - below, 0.0),
        "high": min(share + above, 1.0),
        "share_others": (at_others * cells["share_others"]).sum() / at_others.sum()
        if has_others.any()
        else np.nan,
    }


def worst_in_words(cells: list[list[Any]]) -> str:
    """Return who errs more often than the others, and in what, in one line."""
    is_worse = {(cell[0], cell[1]): cell[CELLS.index("is_worse")] for cell in cells}
    lines = by_group(cells, paths=True).to_dict("records")
    worse = [line for line in lines if is_worse[line[GROUP], line["path"]]]
    if not worse:
        return "By group: none clearly errs more often than the others."
    named = "; ".join(map(_in_words, worse[:_NAMED]))
    more = f"; and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
    return f"By group, more often wrong than the others: {named}{more}."


def _in_words(line: dict[str, Any]) -> str:
    who, path = in_one_line(str(line[GROUP])), in_one_line(line["path"])
    return (
        f"{who} in {path} ({line['share']:.0%} of {line['n_values']:,}, others "
        f"{line['share_others']:.0%})"
    )
