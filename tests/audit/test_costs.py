"""The memory and time that an audit takes, said before texts are embedded."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit import costs
from skclif._audit.costs import cost_note
from skclif._audit.rows import Reviews, schema_of
from skclif._models import costs as of_models
from skclif._models.costs import explained_seconds, explained_size
from skclif.exceptions import DataFileError


def width():
    return 384


def rows(n_values, n=3000):
    codes = np.arange(n) % n_values
    return Reviews.from_parts(
        range(n),
        [f"text {i}" for i in range(n)],
        np.array(["no", "yes"])[np.arange(n) % 2],
        pd.DataFrame({"few": np.arange(n) % 3, "topic": [f"t{c}" for c in codes]}),
    )


@pytest.fixture(autouse=True)
def speed(monkeypatch):
    """A machine of 53e9 operations a second, whatever runs beside the tests."""
    monkeypatch.setattr(of_models, "_operations_a_second", lambda: 53e9)


def test_little_is_not_worth_a_word_and_no_model():
    assert cost_note(rows(10), {}, lambda: pytest.fail("a model is loaded")) is None
    assert cost_note(rows(11, n=300), {}, width) is None


def test_many_values_are_named_with_their_memory():
    train = rows(100)
    said = cost_note(train, {}, width)
    assert "3,000 texts, and 'topic' has 100 values." in said
    gib = float(said.split("take ")[1].split(" GiB")[0])
    # What the model of these concepts takes by itself.
    size = explained_size(schema_of(train, {}), 2, 3000, 384) / 2**30
    assert gib == pytest.approx(size, abs=0.05)
    assert gib > 0.5


def test_the_time_grows_with_rows_and_with_the_square_of_values():
    def seconds(n_values, n):
        sizes = (schema_of(rows(n_values, n), {}), 2, n, 384)
        return explained_seconds(*sizes)

    once = seconds(50, 1000)
    assert seconds(50, 3000) == pytest.approx(3 * once)
    assert seconds(100, 1000) == pytest.approx(once * (100**2 + 9) / (50**2 + 9))
    # 27 x 3,000 x 384^2 x (100^2 + 3^2) / 53e9 = 2,255 seconds.
    assert "about 38 minutes of a processor" in cost_note(rows(100), {}, width)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "10 seconds"), (44, "40 seconds"), (91, "2 minutes"), (7300, "2 hours")],
)
def test_times_are_said_roughly(seconds, words):
    assert costs._in_words(seconds) == words


def test_more_than_there_is_is_refused():
    with pytest.raises(
        DataFileError, match="'topic' has 100 values. This machine has less. Sort the"
    ):
        cost_note(rows(100), {}, width, available=2**29)
