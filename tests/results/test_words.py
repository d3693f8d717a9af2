"""Numbers of things in words."""

from skclif._results.words import how_many, is_or_are, rate


def test_one_thing_is_not_many():
    assert how_many(1, "row") == "1 row"
    assert how_many(0, "row") == "0 rows"
    assert how_many(2400, "held-out text") == "2,400 held-out texts"
    assert [is_or_are(n) for n in (0, 1, 2)] == ["are", "is", "are"]
    assert [rate(n) for n in (0.456, 7, 12_345.6)] == ["0.46", "7", "12,346"]
