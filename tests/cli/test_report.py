"""What the command line says at the end of a report."""

from types import SimpleNamespace

import pandas as pd
import pytest

from skclif.cli.report import _what_to_decide


def say(n_suspects=2, n_changes=12, **worth):
    suspects = pd.DataFrame({"probability_wrong": [0.9] * n_suspects + [0.2]})
    suggested = {"effect": -0.05, "interval": [-0.085, -0.011], "words": "sure"}
    return _what_to_decide(
        SimpleNamespace(
            suspects=suspects,
            suggestions=pd.DataFrame({"effect": [-0.1] * n_changes}),
            suggested=None if worth == {"none": True} else suggested | worth,
        )
    )


def test_the_worth_of_the_changes_is_said_in_the_words_of_the_result():
    assert say(words="expected to help") == (
        "2 of the labels and annotations in suspects.csv are probably wrong. The 12 "
        "changes in suggestions.csv are worth -0.05 nats [-0.085, -0.011] (negative = "
        "good), measured on held-out texts that did not choose them: expected to help."
    )


def test_without_an_interval_the_reason_is_said():
    words = "not sure (reason to doubt it: 31 rows are too few for an interval)"
    assert say(interval=None, words=words).endswith(
        f"are worth -0.05 nats (negative = good), measured on held-out texts that did "
        f"not choose them: {words}."
    )


@pytest.mark.parametrize(
    ("given", "ending"),
    [
        ({"none": True}, "is probably wrong; there are too few held-out texts to sug"),
        ({"n_changes": 0}, "is probably wrong; no single change would help on the hel"),
    ],
)
def test_nothing_to_suggest(given, ending):
    assert ending in say(n_suspects=1, **given)
