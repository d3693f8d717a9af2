"""How often each source of labels and annotations errs, by the list of suspects."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from .shown import in_one_line

GROUP = "group"
_WRONG, _PATH = "probability_wrong", "path"
_NAMED, _LEVEL = 3, 0.05


def by_group(frame: pd.DataFrame, paths: bool = False) -> pd.DataFrame:
    """Return a line for each group, or for each group and path; see `SuspectFrame`.

    Parameters
    ----------
    frame : DataFrame
        The lines of which something can be said.
    paths : bool
    """
    frame = pd.DataFrame(frame[frame[GROUP].notna()])
    cells = frame.groupby([GROUP, _PATH], sort=True)[_WRONG].agg(["size", "sum"])
    of_path = cells.groupby(_PATH).transform("sum")
    others = of_path - cells
    has_others = others["size"] > 0
    rate = (others["sum"] / others["size"].where(has_others)).rename("rate")
    # What the group would get wrong if it erred as the others do, path by path.
    parts = pd.DataFrame(
        {
            "n_values": cells["size"],
            "expected_wrong": cells["sum"],
            "compared": cells["size"].where(has_others, 0),
            "wrong": cells["sum"].where(has_others, 0.0),
            "of_others": (rate * cells["size"]).fillna(0.0),
        }
    )
    if not paths:
        parts = parts.groupby(GROUP, sort=True).sum()
    share = parts["expected_wrong"] / parts["n_values"]
    low, high = _interval(share.to_numpy(), parts["n_values"].to_numpy())
    compared = parts["compared"].where(parts["compared"] > 0)
    table = pd.DataFrame(
        {
            "n_values": parts["n_values"],
            "expected_wrong": parts["expected_wrong"],
            "share": share,
            "low": low,
            "high": high,
            "share_others": parts["of_others"] / compared,
            "ratio": (parts["wrong"] / parts["of_others"]).where(compared.notna()),
        }
    )
    if paths:
        table = table.join(_confusions(frame))
    more = table["n_values"] * (table["share"] - table["share_others"])
    return table.loc[
        more.sort_values(ascending=False, kind="stable").index
    ].reset_index()


def _interval(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 95 % intervals of shares of `n`, of Wilson (1927)."""
    z = NormalDist().inv_cdf(1 - _LEVEL / 2)
    middle = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    total = 1 + z**2 / n
    return (middle - half) / total, (middle + half) / total


def _confusions(frame: pd.DataFrame) -> pd.DataFrame:
    """Return of each group and path the confusion that is expected most often."""
    columns = ["current", "proposed"]
    given = frame[frame["probability_proposed"].notna()]
    keys = [GROUP, _PATH, *columns]
    total = given.groupby(keys, sort=False)["probability_proposed"].sum().reset_index()
    total = total.sort_values("probability_proposed", ascending=False, kind="stable")
    return total.drop_duplicates([GROUP, _PATH]).set_index([GROUP, _PATH])[columns]


def worst_in_words(frame: pd.DataFrame) -> str:
    """Return who errs more often than the others, and in what, in one line."""
    groups = by_group(frame, paths=True)
    worse = groups[_is_worse(groups)]
    if worse.empty:
        return "By group: none clearly errs more often than the others."
    named = [_in_words(line) for line in worse.head(_NAMED).to_dict("records")]
    more = f"; and {len(worse) - _NAMED} more" if len(worse) > _NAMED else ""
    return f"By group, more often wrong than the others: {'; '.join(named)}{more}."


def _is_worse(groups: pd.DataFrame) -> pd.Series:
    """Return which groups err more often, in which path, than chance explains.

    The test of two shares, at a level that all of them together hold with 5 %: with
    many groups and paths, some of them look bad by chance.
    """
    n = groups["n_values"]
    n_others = n.groupby(groups[_PATH]).transform("sum") - n
    total = groups["expected_wrong"] + n_others * groups["share_others"]
    rate = total / (n + n_others)
    error = np.sqrt(rate * (1 - rate) * (1 / n + 1 / n_others.where(n_others > 0)))
    z = NormalDist().inv_cdf(1 - _LEVEL / (2 * max(len(groups), 1)))
    return groups["share"] - groups["share_others"] > z * error


def _in_words(line: dict[str, Any]) -> str:
    who, path = in_one_line(str(line[GROUP])), in_one_line(line[_PATH])
    return (
        f"{who} in {path} ({line['share']:.0%} of {line['n_values']:,}, others "
        f"{line['share_others']:.0%})"
    )
