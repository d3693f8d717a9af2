"""Generated reviews with the errors of people who err in a system."""

import numpy as np
import pandas as pd

from skclif.datasets._annotators import ANNOTATORS, annotated_reviews, is_long_wait


def test_errors_are_the_long_waits_of_one_and_the_idiom_of_two():
    found = annotated_reviews(1000, 3)
    who, given, true = found.annotators, found.concepts, found.clean_concepts
    waits = found.data.map(is_long_wait).to_numpy()
    idioms = found.data.str.contains("to die for").to_numpy()
    assert (true["service"][waits] == "Negative").all()
    assert (true["food"][idioms] == "Positive").all()
    known = given.notna().to_numpy()
    wrong = known & (given.to_numpy() != true.to_numpy())
    expected = np.zeros_like(wrong)
    service, food = (given.columns.get_loc(name) for name in ("service", "food"))
    expected[:, service] = waits & (who == ANNOTATORS[0])
    expected[:, food] = idioms & np.isin(who, ANNOTATORS[1:3])
    expected &= known
    np.testing.assert_array_equal(wrong, expected)
    np.testing.assert_array_equal(found.is_wait, expected[:, service])
    np.testing.assert_array_equal(found.is_idiom, expected[:, food])
    assert (given["service"][found.is_wait] == "Positive").all()
    assert (given["food"][found.is_idiom] == "Negative").all()
    assert found.is_wait.sum() > 20 and found.is_idiom.sum() > 20


def test_reviews_follow_from_the_seed():
    first, again, other = (annotated_reviews(60, seed) for seed in (1, 1, 2))
    pd.testing.assert_series_equal(first.data, again.data)
    pd.testing.assert_frame_equal(first.concepts, again.concepts)
    np.testing.assert_array_equal(first.annotators, again.annotators)
    assert not first.data.equals(other.data)


def test_sentences_stay_sentences():
    for text in annotated_reviews(200, 0).data:
        parts = text.removesuffix(".").split(". ")
        assert text.endswith(".") and ".." not in text
        assert all(part[0] == part[0].upper() for part in parts), text


def test_a_waiter_is_no_wait():
    assert not is_long_wait("The waiter and the waitress were great.")
    assert is_long_wait("The Wait for the bill was endless.")
