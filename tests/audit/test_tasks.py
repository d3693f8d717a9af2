"""Questions about values: what can be chosen, and what can be written in."""

from types import SimpleNamespace

import numpy as np
import pytest

from skclif._audit.tasks import _question


@pytest.fixture
def revision():
    """A model of three labels, and of concepts of words and of numbers."""
    model = SimpleNamespace(
        classes_=np.array([1, 2, 3]),
        concept_names_in_=np.array(["food", "odd", "warmth"], dtype=object),
        concept_classes_=[
            np.array(["bad", "good"], dtype=object),
            np.array(["Unannotated", "known"], dtype=object),
            None,
        ],
    )
    return SimpleNamespace(model=model)


def _line(path, current, proposed, **more):
    kind = "relabel" if path == "label" else "annotate"
    line = {"kind": kind, "id": "1", "text_hash": "h:1", "path": path}
    return {**line, "current": current, "proposed": proposed, **more}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (_line("label", "1", "2"), ["1", "2", "3"]),
        (_line("food", "bad", "good"), ["bad", "good", "unannotated"]),
        (_line("food", "", "", guess="bad"), ["bad", "good"]),
        # A value that reads like the word that takes an annotation away.
        (
            _line("odd", "known", "Unannotated"),
            ["value:Unannotated", "known", "remove:unannotated"],
        ),
        (
            _line("odd", "Unannotated", "known"),
            ["Unannotated", "known", "remove:unannotated"],
        ),
        # Of a present value that the model knows no more, too.
        (_line("food", "fine", "good"), ["bad", "good", "fine", "unannotated"]),
    ],
)
def test_what_can_be_chosen(line, words, revision):
    question = _question(line, revision, "a text")
    assert question.words == words
    assert not question.is_number
    if line["proposed"]:
        assert question.guess == question.line["proposed"]
        assert question.guess in words


def test_a_number_can_be_written_in(revision):
    question = _question(_line("warmth", "2.5", "3.5"), revision, "a text")
    assert question.words == ["2.5", "unannotated"]
    assert question.is_number
    assert (question.guess, question.score) == ("3.5", None)


def test_the_score_is_the_probability_of_what_is_guessed(revision):
    line = _line("food", "bad", "good", probability_proposed="0.25")
    question = _question({**line, "probability_wrong": "0.9"}, revision, "a text")
    assert (question.guess, question.score) == ("good", 0.25)
    assert question.line["probability_wrong"] == "0.9"
    assert "probability_proposed" not in question.line
    line = _line("food", "", "", guess="bad", probability_guess="0.5", effect="-0.1")
    question = _question(line, revision, "a text")
    assert (question.guess, question.score) == ("bad", 0.5)
    assert question.line["effect"] == "-0.1"
