"""What the command line says at the end of a report."""

from types import SimpleNamespace

import pandas as pd
import pytest

from skclif.cli.report import _penalties, _what_to_decide


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


def test_chosen_penalties_are_said():
    both = {"label": 3.1622, "concepts": {"food": 1.0, "noise": 31.62}}
    assert _penalties(both | {"black_box": 10.0}) == (
        "Inverse penalties: C=3.16 for the label, 1 to 31.6 for the concepts, 10 for "
        "the black box."
    )
    same = {"label": 1.0, "concepts": {"food": 1.0}, "black_box": 0.1}
    assert "1 for the concepts, 0.1 for the black box" in _penalties(same)
    alone = {"label": 0.001, "concepts": {}}
    assert _penalties(alone) == "Inverse penalties: C=0.001 for the label."
