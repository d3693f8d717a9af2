"""Newton on extreme data: what retraining in extended precision gives, or a warning."""

import numpy as np
import pytest

from .test_numerical_safety import (
    BEYOND,
    Cell,
    _cells,
    _fit_or_warning,
    _influences,
    _some_rows,
    _vanishes,
    longer,
)


@longer
@pytest.mark.parametrize(("situation", "C", "model"), list(_cells()))
def test_newton_is_retraining_or_says_that_it_is_not(situation, C, model):
    cell = Cell(situation, C, model)
    if situation == "two rows":
        return  # one row alone has no second class
    if _fit_or_warning(cell, situation) is None:
        return
    influences, messages = _influences(cell, "newton")
    if influences is None:
        assert "not positive definite" in messages[0]
        assert (situation, C) in BEYOND
        return
    assert all(np.isfinite(values).all() for values in influences.values())
    if any("had not settled" in message for message in messages):
        return
    exact = cell.exact()
    before = exact.target(cell.X[:5], cell.labels[:5], "logit")
    for row in _some_rows(cell):
        if _vanishes(cell, row):
            continue  # what is left has no optimum
        terms = cell.terms.copy()
        terms[row] = 0
        left = cell.exact(terms, exact).target(cell.X[:5], cell.labels[:5], "logit")
        true = (before - left).astype(float)
        own = influences["logit"][:, row].sum(axis=1)
        assert np.abs(own - true).max() <= 0.01 * np.abs(true).max() + 1e-3, row
