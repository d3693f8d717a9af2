"""How often each source of labels and annotations errs, path by path."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import chi2

from .._results.suspect_groups import CELLS, GROUP
from ..numerics.rates import WrongRate, wrong_rate

_LEVEL = 0.05
# Columns: the logarithm of how probable a value is if it is wrong, over if it is right,
# as if all sources erred alike; and whether its source is judged by rates of its own.
EVIDENCE = RATIO, OWN = "log_ratio", "is_own"
_NEARLY = 1e-12  # as far as a probability comes to 0 or 1


def group_cells(frame: pd.DataFrame) -> list[list[object]]:
    """Return what is known of each group and path, as rows of `CELLS`.

    Parameters
    ----------
    frame : DataFrame
        The lines of suspects of which something can be said, with their `EVIDENCE`.
    """
    frame = pd.DataFrame(frame[frame[GROUP].notna()])
    for _, own in frame.groupby(["path", GROUP], sort=False):
        if own[OWN].any():
            frame.loc[own.index, RATIO] = _more_likely(own)
    cells = []
    for path, of_path in frame.groupby("path", sort=False):
        everybody = wrong_rate(of_path[RATIO].to_numpy())
        for group, own in of_path.groupby(GROUP, sort=True):
            others = of_path[of_path[GROUP] != group]
            rates = [wrong_rate(part[RATIO].to_numpy()) for part in (own, others)]
            cells.append(
                [
                    *(group, path, len(own), len(others)),
                    *(rates[0].rate, rates[0].low, rates[0].high),
                    rates[1].rate if len(others) else np.nan,
                    _p_value(everybody, *rates),
                    *_confusion(own),
                ]
            )
    # With many groups and paths, some of them look bad by chance.
    level = _LEVEL / max(len(cells), 1)
    place = CELLS.index("is_worse")
    for cell in cells:
        cell[place] = bool(cell[place] < level)
    return cells


def _more_likely(own: pd.DataFrame) -> np.ndarray:
    """Return the ratios of a source by its own rates, if these explain its values."""
    wrong = own["probability_wrong"]
    # Its rates say what its errors look like. How many there are is asked anew.
    mean = pd.Series(wrong.mean(), index=wrong.index)
    choices = [own[RATIO].to_numpy(), (_log_odds(wrong) - _log_odds(mean)).to_numpy()]
    found: np.ndarray = max(choices, key=lambda one: wrong_rate(one).log_likelihood)
    return found


def _log_odds(probability: pd.Series) -> pd.Series:
    inside = probability.clip(_NEARLY, 1 - _NEARLY)
    return np.log(inside / (1 - inside))


def _p_value(everybody: WrongRate, own: WrongRate, others: WrongRate) -> float:
    """Return how often chance gives such a difference; 1 if the others are worse."""
    if own.rate <= others.rate:
        return 1.0
    apart = own.log_likelihood + others.log_likelihood
    return float(chi2.sf(2 * (apart - everybody.log_likelihood), 1))


def _confusion(own: pd.DataFrame) -> list[object]:
    """Return the values of the most frequent confusion; None of numbers."""
    given = own[own["probability_proposed"].notna()]
    if given.empty:
        return [None, None]
    columns = ["current", "proposed"]
    total = given.groupby(columns, sort=False)["probability_proposed"].sum()
    return list(total.idxmax())
