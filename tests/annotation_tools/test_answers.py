"""Questions as tasks of Label Studio, and their answers as lines of decisions.

``exports/write.py`` validated the tasks with the parser of Label Studio, and exported
the finished ones.
"""

import copy
import csv
import json
import re
from pathlib import Path

import pytest

from skclif._annotation_tools.answers import TASK, answers
from skclif._annotation_tools.questions import Question, label_config, tasks
from skclif.exceptions import DataFileError, DataFileWarning

from .made_up import questions

EXPORTS = Path(__file__).parent / "exports"
FINISHED = json.loads((EXPORTS / "finished.json").read_text(encoding="utf-8"))


@pytest.fixture
def asked():
    return questions()


def lines(records, path="finished.json"):
    return answers(Path(path))(copy.deepcopy(records))


def annotation(word, who=1, name="value", **more):
    value = {"number": word} if name == "number" else {"choices": [word]}
    result = {"from_name": name, "to_name": "text", "type": "x", "value": value}
    return {"completed_by": who, "result": [result], **more}


def answered(*annotations, position=0):
    return [FINISHED[position] | {"annotations": list(annotations)}]


def test_tasks_are_those_that_label_studio_accepted(asked):
    written = json.loads((EXPORTS / "tasks.json").read_text(encoding="utf-8"))
    assert tasks(asked, "skclif") == written
    assert label_config(asked) == (EXPORTS / "tasks.xml").read_text(encoding="utf-8")


def test_a_task_has_its_line_its_question_and_a_prediction(asked):
    first, number, missing, plain = tasks(asked, "v1")
    assert first["data"]["id"] == "001"
    assert first["data"]["question"].startswith(
        "What is the mood of this text? It is annotated as: so"
    )
    assert [one["value"] for one in first["data"]["choices"]] == asked[0].words
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("v1", 0.75)
    assert prediction["result"][0]["value"] == {"choices": ["good"]}
    # A number that is no choice is written in; without a score there is none.
    (prediction,) = number["predictions"]
    assert prediction["result"][0]["value"] == {"number": 3.5}
    assert "score" not in prediction
    assert missing["data"]["question"].endswith("It is not annotated.")
    assert "predictions" not in plain


def test_a_label_config_without_numbers_has_one_control(asked):
    assert "<Number" in label_config(asked)
    assert "<Number" not in label_config([asked[0]])


def test_answers_are_decisions():
    found = lines(FINISHED)
    columns = ["id", "decision", "current", "proposed", TASK]
    assert [[line[name] for name in columns] for line in found] == [
        ["001", "accept", FINISHED[0]["data"]["current"], "bad", "500"],
        ["002", "accept", "2.5", "4.25", "501"],
        ["003", "", "", "", "502"],  # skipped
        ["004", "reject", "1", "2", "503"],
    ]
    assert found[2]["effect"] == "-0.01"
    assert found[2]["guess"] == "bad"


def test_an_answer_is_accepted_rejected_or_undecided():
    def decided(*annotations, position=0):
        (line,) = lines(answered(*annotations, position=position))
        return line["decision"], line["proposed"]

    odd = FINISHED[0]["data"]["current"]
    assert decided() == ("", "good")
    assert decided(annotation("good")) == ("accept", "good")
    assert decided(annotation("unannotated")) == ("accept", "unannotated")
    assert decided(annotation(odd)) == ("reject", "good")
    assert decided(annotation("good", was_cancelled=True)) == ("", "good")
    assert decided({"completed_by": 1, "result": []}) == ("", "good")
    assert decided(annotation("good"), annotation("good", who=2)) == ("accept", "good")
    early = annotation("bad", created_at="2026-01-01")
    late = annotation("good", created_at="2026-01-02")
    assert decided(late, early) == ("accept", "good")
    assert decided(annotation(4.0, name="number"), position=1) == ("accept", "4")
    assert decided(annotation(2.5, name="number"), position=1) == ("reject", "3.5")
    # Where an annotation is missing, nothing can be rejected.
    assert decided(annotation("bad"), position=2) == ("accept", "bad")


def test_answers_that_differ_stay_undecided_and_are_named():
    found = answered(annotation("good"), annotation("bad", who=2))
    message = re.escape(
        "finished.json: people answered differently in the tasks 500. They stay "
        "undecided: agree on one answer in Label Studio, and export again."
    )
    with pytest.warns(DataFileWarning, match=message):
        (line,) = lines(found)
    assert (line["decision"], line["proposed"]) == ("", "good")


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        (
            [annotation("good", name="mood")],
            "task 500: the answer is in the field 'mood', and should be in 'value'",
        ),
        (
            [{"result": annotation("a")["result"] + annotation("b")["result"]}],
            "task 500: there are 2 answers of one person, 'a', 'b'. Choose one.",
        ),
        (
            [{"result": [{"from_name": "value", "value": {"start": 0, "end": 2}}]}],
            "task 500: the answer in 'value' marks a part of the text",
        ),
    ],
)
def test_answers_that_are_refused(annotations, message):
    with pytest.raises(DataFileError, match=re.escape(message)):
        lines(answered(*annotations))


@pytest.mark.parametrize("suffix", [".min.json", ".csv"])
def test_other_exports_of_tasks_are_refused(suffix):
    path = (EXPORTS / "finished").with_suffix(suffix)
    with open(path, encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file)) if suffix == ".csv" else json.load(file)
    with pytest.raises(DataFileError, match="not exported as JSON. Other exports of"):
        lines(found, path)


def test_tasks_that_nobody_answered_decide_nothing(asked):
    assert {line["decision"] for line in lines(tasks(asked, "v1"))} == {""}


def test_what_is_no_task_of_ours_is_left_alone():
    assert lines([]) is None
    assert lines([{"decision": "accept", "id": "1", "text_hash": "h:1"}]) is None
    other = json.loads((EXPORTS / "label_studio_one.json").read_text(encoding="utf-8"))
    assert lines(other) is None
    assert lines([*FINISHED, other[0]]) is None


def test_a_question_needs_no_choices():
    (task,) = tasks([Question({"path": "a", "current": "1"}, "text")], "v1")
    assert task["data"]["choices"] == []
