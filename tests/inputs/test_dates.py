"""What is refused at the door, whichever library holds it."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from skclif import ConceptBottleneckClassifier

N = 12
Y = np.arange(N) % 2
DATES = [datetime(1970, 1, 1) + timedelta(seconds=i) for i in range(N)]
TIMES = {
    "dates": DATES,
    "days": [day.date() for day in DATES],
    "times": [day.time() for day in DATES],
    "durations": [day - DATES[0] for day in DATES],
}


def _arrow(columns):
    return pytest.importorskip("pyarrow").table(columns)


def _arrow_series(values):
    return pytest.importorskip("pyarrow").chunked_array([values])


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("table", [pl.DataFrame, _arrow])
def test_a_column_of_dates_is_no_feature(table, kind):
    X = table({"a": Y.tolist(), "b": TIMES[kind]})
    with pytest.raises(TypeError, match="X must be .* it holds dates or durations"):
        ConceptBottleneckClassifier().fit(X, Y)


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("series", [pl.Series, _arrow_series])
def test_dates_are_no_weights(series, kind):
    with pytest.raises(TypeError, match="sample_weight must be .* dates or durations"):
        ConceptBottleneckClassifier().fit(
            Y[:, None], Y, sample_weight=series(TIMES[kind])
        )
