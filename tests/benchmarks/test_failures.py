"""What the counts of right and wrong calls of a failure are."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.failures import Said, judged, one_replaced
from skclif._audit.corrections import DOUBTFUL, LABEL_HEAD, MISREAD

RIGHT, OTHER, FAR = [0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05]


def test_calls_are_counted_over_draws():
    rows = [RIGHT, FAR, FAR, OTHER, OTHER]
    proba = np.array(rows)
    mended = np.array([FAR, FAR, FAR, OTHER, RIGHT])
    said = Said(np.array([0, 1, 2]), proba, proba, mended, proba, pd.DataFrame())
    labels = np.zeros(5, dtype=int)
    first = np.array([True, True, False, True, False])  # the first is no mistake
    second = np.zeros(5, dtype=bool)
    found = judged([(said, labels, first), (said, labels, second)], 0.1)
    assert found == {
        "mistakes": 4,
        "base": 2 / 8,
        "called": 4 / 8,
        "precision": 1 / 4,
        DOUBTFUL: 1 / 2,
        LABEL_HEAD: 1 / 2,
        MISREAD: 0,
    }
    assert judged([(said, labels, first)], 0.01)["called"] == 0
    assert np.isnan(judged([(said, labels, first)], 0.01)["precision"])


@pytest.mark.parametrize("seed", range(3))
def test_one_given_annotation_of_a_row_is_replaced_by_another_value(seed):
    rng = np.random.default_rng(seed)
    values = np.array(["good", "bad", None], dtype=object)
    concepts = pd.DataFrame(rng.choice(values, (300, 4)), columns=list("abcd"))
    concepts.iloc[:50] = None
    before = concepts.copy()
    replaced, wrong = one_replaced(concepts, rng)
    pd.testing.assert_frame_equal(concepts, before)
    differs = (replaced != concepts) & ~(replaced.isna() & concepts.isna())
    assert (differs.sum(axis=1) == wrong).all()
    assert (replaced.isna() == concepts.isna()).all(axis=None)
    assert 10 < wrong.sum() < 50
    assert not wrong[:50].any()
