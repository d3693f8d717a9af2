"""How a change of a target varies with the rows that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ..numerics.targets import SetTarget

_DRAWS, _MOST_TRIES = 200, 400


def changes_of_draws(
    of_rows: Callable[[np.ndarray], SetTarget],
    is_defined: Callable[[np.ndarray], bool],
    before: Tensor,
    after: Tensor,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Return changes of a target on rows that are drawn with replacement, (n_draws,).

    On other rows another group can be the worst, or a gap the other way.

    Parameters
    ----------
    of_rows : callable
        Maps positions of rows to the target of these rows.
    is_defined : callable
        Whether it is defined for them. If it is for less than half of what is drawn,
        nothing is returned.
    before, after : Tensor of shape (n_rows, n_classes)
        Probabilities.
    random_state : RandomState
    """
    found: list[float] = []
    for _ in range(_MOST_TRIES):
        rows = np.sort(random_state.randint(len(before), size=len(before)))
        if not is_defined(rows):
            continue
        number = of_rows(rows).function
        found.append(float(number(after[rows]) - number(before[rows])))
        if len(found) == _DRAWS:
            return np.array(found)
    return np.empty(0)
