"""The memory that an audit takes, said before texts are embedded."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.costs import memory_note
from skclif._audit.rows import Reviews, schema_of
from skclif._models.costs import explained_size
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


def test_little_is_not_worth_a_word_and_no_model():
    assert memory_note(rows(10), {}, lambda: pytest.fail("a model is loaded")) is None
    assert memory_note(rows(11), {}, width) is None


def test_many_values_are_named_with_their_memory():
    train = rows(100)
    said = memory_note(train, {}, width)
    assert "3,000 texts, and 'topic' has 100 values." in said
    gib = float(said.split("take ")[1].split(" GiB")[0])
    # What the model of these concepts takes by itself.
    size = explained_size(schema_of(train, {}), 2, 3000, 384) / 2**30
    assert gib == pytest.approx(size, abs=0.05)
    assert gib > 0.5


def test_more_than_there_is_is_refused():
    with pytest.raises(
        DataFileError, match="'topic' has 100 values. This machine has less. Sort the"
    ):
        memory_note(rows(100), {}, width, available=2**29)
