"""What the command line says at the end of a report."""

from types import SimpleNamespace

import pandas as pd
import pytest

from skclif._audit.run import PlantedCounts
from skclif._text.weights import DEFAULT_MODEL
from skclif.cli.report import _advice, _penalties, _what_is_true, _what_to_decide


def say(n_suspects=2, n_changes=12, n_asked=0, nothing_learned=(), **worth):
    suspects = pd.DataFrame({"probability_wrong": [0.9] * n_suspects + [0.2]})
    suggested = {"effect": -0.05, "interval": [-0.085, -0.011], "words": "sure"}
    return _what_to_decide(
        SimpleNamespace(
            suspects=suspects,
            suggestions=pd.DataFrame(
                {
                    "kind": ["drop"] * n_changes + ["annotate"] * n_asked,
                    "current": [1.0] * n_changes + [None] * n_asked,
                }
            ),
            suggested=None if worth == {"none": True} else suggested | worth,
            nothing_learned=nothing_learned,
        )
    )


def test_the_worth_of_the_changes_is_said_in_the_words_of_the_result():
    assert say(words="expected to help") == (
        "2 of the labels and annotations in suspects.csv are probably wrong. The 12 "
        "changes in suggestions.csv are worth -0.05 nats [-0.085, -0.011] (negative = "
        "good), measured on held-out texts that did not choose them: expected to help."
    )


def test_of_what_nothing_was_learned_nothing_is_listed():
    said = say(n_suspects=0, nothing_learned=("label", "food"))
    ending = "probably wrong (none listed of label, food: nothing learned). The 12"
    assert ending in said
    assert "nothing learned" not in say()


def test_what_is_missing_is_asked_for():
    words = {"words": "expected to help"}
    assert (
        "suggestions.csv has 12 changes, and asks a person for 3 missing annotations. "
        "Together, with what the model guesses for these, they are worth -0.05 nats ["
    ) in say(n_asked=3, **words)
    one = say(n_changes=1, n_asked=1)
    assert "has 1 change, and asks a person for 1 missing annotation. To" in one
    assert ". The 1 change in suggestions.csv is worth -0.05" in say(n_changes=1)


def test_what_is_true_leaves_out_what_is_empty():
    assert list(_what_is_true(PlantedCounts(250, 0, *[0] * 10))) == []
    counts = PlantedCounts(250, 250, 1, 1, 0.125, 1, 1, 0, 1, 1, 104, 25)
    assert list(_what_is_true(counts)) == [
        "Planted errors are in 1 of the 1 most harmful training row, and in 12% of all "
        "training rows.",
        "Of the 1 line of suspects.csv that is probably wrong, 1 really is, and the "
        "proposed value is true in 0.",
        "Of 1 value that suggestions.csv proposes, 1 is true.",
        "Of 104 missing annotations that it asks for, the model guesses 25 rightly.",
    ]


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


def test_a_model_of_other_languages_is_advised_where_the_default_learned_nothing():
    advice = _advice({"embedder": {"model": DEFAULT_MODEL}})
    assert "--model multilingual reads 16 languages" in advice
    assert 'pip install "skclif[multilingual]"' in advice
    assert _advice({"embedder": {"model": "multilingual"}}) == ""
