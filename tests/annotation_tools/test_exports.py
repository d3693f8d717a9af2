"""Exports of annotation tools: what each says of a text, and what is refused.

``exports/write.py`` made the files with the packages of the tools.
"""

import contextlib
import copy
import csv
import json
import random
import re
import warnings
from pathlib import Path

import pytest

from skclif._annotation_tools.annotated import Request
from skclif._annotation_tools.exports import Flattener
from skclif._annotation_tools.rows import WEIGHT
from skclif.exceptions import DataFileError, DataFileWarning

EXPORTS = Path(__file__).parent / "exports"
VALUES = ["mood", "stars", "minutes", "cuisine", "remark"]
# What the annotators of ``label_studio_one.json`` chose, by task.
TRUE = {
    "mood": ["good", "bad", "bad", None],
    "stars": [4, 1, None, None],
    "minutes": [12.5, None, None, None],
    "cuisine": ["Asia > Thai", None, None, None],
    "remark": ["a regular", None, None, None],
}


def records(name):
    path = EXPORTS / name
    with open(path, encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            return list(csv.DictReader(file))
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return json.load(file)


def flat(found, values, **more):
    if isinstance(found, str):
        path, found = Path(found), records(found)
    else:
        path = Path("file.json")
    return Flattener(Request(path, values, **more))(found)


def columns(rows, names):
    return {name: [row[name] for row in rows] for name in names}


def refusal(found, values, **more):
    with pytest.raises(DataFileError) as caught:
        flat(found, values, **more)
    return str(caught.value)


# --- Label Studio ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_every_export_of_label_studio_says_the_same(suffix):
    rows = flat(f"label_studio_one.{suffix}", VALUES, others=["text"], id="review_id")
    assert columns(rows[:4], VALUES) == TRUE
    assert [row["review_id"] for row in rows[:4]] == ["000", "001", "002", "003"]
    assert rows[1]["text"] == "Cold; late.\nAnd dear."
    # JSON has the task that was skipped, too, and nothing of the annotation.
    skipped = [row for row in rows if row["text"] == "This one was skipped"]
    assert [row["mood"] for row in skipped] == [None] * (suffix == "json")


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_several_choices_are_refused_or_are_a_concept_each(suffix):
    name = f"label_studio_one.{suffix}"
    said = refusal(name, ["topic"])
    assert f"{name}, task 101, field 'topic': 'food' and 'wait' were chosen" in said
    assert "Ask for each as a concept of its own, such as 'topic:food'" in said
    rows = flat(name, ["topic:food", "topic:wait", "topic:price"])[:4]
    assert [row["topic:food"] for row in rows] == ["yes", "yes", None, None]
    assert [row["topic:wait"] for row in rows] == ["no", "yes", None, None]
    assert [row["topic:price"] for row in rows] == ["no", "no", None, None]


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_marked_parts_of_a_text_are_no_value_of_it(suffix):
    said = refusal(f"label_studio_one.{suffix}", ["span"])
    assert "task 100, field 'span': it marks a part of the text, and says" in said


def test_what_is_not_asked_for_is_not_looked_at():
    rows = flat("label_studio_one.json", ["mood"])
    assert rows[0]["topic"] is None  # a column all the same, so that it can be named
    assert rows[0]["task_id"] == 100


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_several_annotators_without_the_option(suffix):
    name = f"label_studio_several.{suffix}"
    said = refusal(name, ["mood"])
    assert "several people annotated the same text in 3 tasks (100, 101, 102)" in said
    assert "'majority' takes the value that most of them chose" in said
    assert said.endswith("Pass one as annotators.")
    with pytest.raises(DataFileError) as caught:
        flat(name, ["mood"])
    assert caught.value.for_command.endswith("Give one with --annotators.")
    # Of the stars, each text has one annotator.
    assert [row["stars"] for row in flat(name, ["stars"])][:2] == [4, 1]


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_the_majority_of_several_annotators(suffix):
    name = f"label_studio_several.{suffix}"
    tie = re.escape(
        f"{name}, field 'mood': as many annotators chose one value as another in 1 "
        "task (101). Without a majority there is no value."
    )
    with pytest.warns(DataFileWarning, match=tie) as caught:
        rows = flat(name, ["mood", "stars"], annotators="majority")
    assert len(caught) == 1
    assert [row["mood"] for row in rows][:4] == ["bad", None, "bad", None]
    assert [row["stars"] for row in rows][:4] == [4, 1, None, None]


@pytest.mark.parametrize("suffix", ["json", "min.json", "csv"])
def test_a_row_for_each_annotator(suffix):
    rows = flat(
        f"label_studio_several.{suffix}",
        ["mood"],
        id="review_id",
        others=["text"],
        annotators="all",
    )
    found = {row["review_id"]: (row["mood"], row[WEIGHT]) for row in rows}
    ann, ben, cy = "ann@example.org", "b@example.org", "cy@example.org"
    third = pytest.approx(1 / 3)
    expected = {
        f"000#{ann}": ("good", third),
        f"000#{ben}": ("bad", third),
        f"000#{cy}": ("bad", third),
        f"001#{ann}": ("bad", 0.5),
        f"001#{ben}": ("good", 0.5),
        f"002#{ann}": ("bad", 0.5),
        f"002#{ben}": ("bad", 0.5),
        "003": (None, 1),
    }
    assert {i: found[i] for i in expected} == expected
    assert sum(row[WEIGHT] for row in rows) == pytest.approx(4 + (suffix == "json"))


def _task(*annotations, **data):
    return {"id": 1, "data": {"text": "a"} | data, "annotations": list(annotations)}


def _annotation(value, who=1, name="mood", **more):
    result = {
        "from_name": name,
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [value]},
    }
    return {"completed_by": who, "result": [result], **more}


def test_skipped_annotations_drafts_and_predictions_are_no_annotations():
    prediction = {"result": _annotation("good")["result"]}
    task = _task(
        _annotation("good", was_cancelled=True),
        _annotation("good", who=3, skipped=True),
        _annotation("bad", who=2),
    )
    task |= {"predictions": [prediction], "drafts": [prediction]}
    assert [row["mood"] for row in flat([task], ["mood"])] == ["bad"]


def test_of_one_person_the_latest_annotation_counts():
    early = _annotation("good", created_at="2026-01-02", updated_at="2026-01-03")
    late = _annotation("bad", created_at="2026-01-01", updated_at="2026-01-04")
    for annotations in ([early, late], [late, early]):
        assert flat([_task(*annotations)], ["mood"])[0]["mood"] == "bad"


def test_annotators_that_are_not_named_are_different_people():
    task = _task(_annotation("good", who=None), _annotation("good", who=None))
    assert "several people annotated" in refusal([task], ["mood"])
    assert flat([task], ["mood"], annotators="majority")[0]["mood"] == "good"


def test_a_label_of_the_data_stays_beside_annotations():
    task = _task(_annotation("good"), stars=4, mood="happy")
    (row,) = flat([task], ["mood", "stars"])
    assert (row["mood"], row["stars"], row["_data_mood"]) == ("good", 4, "happy")


def test_completions_of_older_versions_are_annotations():
    task = _task(_annotation("good"))
    task["completions"] = task.pop("annotations")
    assert flat([task], ["mood"])[0]["mood"] == "good"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"ranker": {"a": 1}}, "it holds 'ranker', and no value"),
        ({}, "it holds nothing, and no value"),
        (None, "it has no value"),
        ({"choices": ["a"], "x": 1, "y": 2}, "marks a part of the text"),
    ],
)
def test_results_without_a_value_of_the_text(value, reason):
    one = _annotation("good")
    one["result"][0]["value"] = value
    assert reason in refusal([_task(one)], ["mood"])


def test_rows_of_one_task_with_different_texts_are_refused():
    rows = records("label_studio_one.min.json")
    rows[1] = rows[1] | {"id": rows[0]["id"]}
    said = refusal(rows, ["mood"], others=["text"])
    assert "id 100: its 2 rows are annotations of one text, and differ in the " in said


# --- Doccano --------------------------------------------------------------------------

DOCCANO = [
    {"id": 7, "text": "Good soup", "label": ["good"], "Comments": []},
    {"id": 8, "text": "Cold", "label": ["bad"], "Comments": []},
    {"id": 9, "text": "So so", "label": [], "Comments": []},
]


def test_doccano_has_a_list_with_the_label():
    rows = flat(DOCCANO, ["label"], id="id", others=["text"])
    assert [row["label"] for row in rows] == ["good", "bad", None]
    assert [row["id"] for row in rows] == [7, 8, 9]


def test_doccano_with_several_labels():
    found = [*DOCCANO, {"id": 10, "text": "Both", "label": ["bad", "good"]}]
    said = refusal(found, ["label"])
    assert "task 10, field 'label': 'bad' and 'good' were chosen" in said
    rows = flat(found, ["label:bad", "label:good"])
    assert [row["label:bad"] for row in rows] == ["no", "yes", None, "yes"]


def test_files_of_several_annotators_of_doccano_in_one():
    second = [
        {"id": 7, "text": "Good soup", "label": ["bad"]},
        {"id": 8, "text": "Cold", "label": []},
        {"id": 9, "text": "So so", "label": ["bad"]},
    ]
    found = [*DOCCANO, *second]
    assert "in 1 task (7)" in refusal(found, ["label"], others=["text"], id="id")
    with pytest.warns(DataFileWarning, match=r"in 1 task \(7\)"):
        rows = flat(found, ["label"], others=["text"], annotators="majority")
    assert [row["label"] for row in rows] == [None, "bad", "bad"]
    rows = flat(found, ["label"], others=["text"], id="id", annotators="all")
    assert [row["id"] for row in rows] == ["7#1", "7#2", "8#1", "9#1"]
    # Ids of two projects can be the same: another text is another row.
    other = [{"id": 7, "text": "Another text", "label": ["bad"]}]
    assert len(flat([*DOCCANO, *other], ["label"], others=["text"])) == 4


def test_doccano_with_marked_parts_of_the_text():
    found = [{"id": 1, "text": "Good soup", "label": [[0, 4, "quality"]]}]
    assert "it holds lists of lists or of objects, such as parts" in refusal(
        found, ["label"]
    )


# --- Argilla --------------------------------------------------------------------------


def test_argilla_by_way_of_datasets():
    with pytest.raises(DataFileError, match=r"in 1 task \(a2\)"):
        flat("argilla.jsonl", ["mood"])
    rows = flat("argilla.jsonl", ["mood"], annotators="majority")
    # Of the last record one response is discarded; suggestions count nowhere.
    assert [row["mood"] for row in rows] == ["good", "bad", None, "good"]
    assert rows[0]["mood.suggestion"] == "good"
    rows = flat("argilla.jsonl", ["mood"], id="id", annotators="all")
    assert [row["id"] for row in rows] == ["a1#u1", "a2#u1", "a2#u2", "a3", "a4#u1"]


def test_several_labels_of_argilla_are_a_concept_each():
    assert "task a2, field 'topic': 'food' and 'wait' were" in refusal(
        "argilla.jsonl", ["topic"]
    )
    rows = flat("argilla.jsonl", ["topic:wait"], annotators="majority")
    assert [row["topic:wait"] for row in rows] == ["no", "yes", None, None]


def test_argilla_as_csv_is_refused():
    said = refusal("argilla.csv", ["mood"])
    assert "task a1" not in said
    assert "id a1, field 'mood': the responses are no list with an annotator" in said
    assert "export with to_json of datasets, as JSON Lines" in said


NESTED = {
    "id": "a1",
    "fields": {"text": "Good soup"},
    "metadata": {"city": "Nice"},
    "suggestions": {"mood": {"value": "bad", "score": 0.9, "agent": "m"}},
    "responses": {"mood": [{"value": "good", "user_id": "u1"}]},
    "vectors": {},
    "status": "completed",
}


def test_argilla_as_its_own_json():
    (row,) = flat([NESTED], ["mood"])
    assert row == {"id": "a1", "city": "Nice", "text": "Good soup", "mood": "good"}
    draft = {"value": "bad", "user_id": "u2", "status": "draft"}
    more = NESTED | {"responses": {"mood": [*NESTED["responses"]["mood"], draft]}}
    assert flat([more], ["mood"])[0]["mood"] == "good"


def test_a_ranking_of_argilla_is_no_value():
    ranking = [{"value": [{"rank": 1, "value": "a"}], "user_id": "u1"}]
    found = [NESTED | {"responses": {"best": ranking}}]
    assert "it holds a ranking or marks parts of the text" in refusal(found, ["best"])


# --- Lists of annotations, and rows of one text ---------------------------------------


def _nested(*votes, field="label", **more):
    return {
        "id": "t0",
        "text": "a",
        "annotations": [{"user": who, field: vote} for who, vote in votes],
        **more,
    }


@pytest.mark.parametrize("asked", ["annotations", "label"])
def test_lists_of_annotations(asked):
    found = [_nested(("A", "good"), ("B", "good")), _nested(("A", "bad"), ("B", "bad"))]
    found[1]["id"] = "t1"
    assert "in 2 tasks (t0, t1)" in refusal(found, [asked])
    rows = flat(found, [asked], annotators="majority")
    assert [row[asked] for row in rows] == ["good", "bad"]
    rows = flat(found[:1], [asked], id="id", annotators="all")
    assert [(row["id"], row[asked], row[WEIGHT]) for row in rows] == [
        ("t0#A", "good", 0.5),
        ("t0#B", "good", 0.5),
    ]


def test_a_list_of_annotations_with_two_fields():
    found = [_nested()]
    found[0]["annotations"] = [{"user": "A", "label": "good", "service": "bad"}]
    said = refusal(found, ["annotations"])
    assert "each of its annotations holds 'label', 'service'. Ask for one of" in said
    (row,) = flat(found, ["label", "service"])
    assert (row["label"], row["service"]) == ("good", "bad")


def test_data_sets_of_argilla_1_have_lists_of_responses():
    def response(who, value, status="submitted"):
        return {"user_id": who, "value": value, "status": status}

    found = [
        {"text": "a", "mood": [response("u1", "good"), response("u2", "bad", "draft")]},
        {"text": "b", "mood": []},
    ]
    assert [row["mood"] for row in flat(found, ["mood"])] == ["good", None]


def test_rows_of_one_text_by_their_identifier():
    rows = [
        {"id": i, "text": text, "annotator": who, "label": label}
        for i, text, who, label in [
            ("1", "a", "A", "x"),
            ("1", "a", "B", "x"),
            ("1", "a", "C", "y"),
            ("2", "b", "A", "y"),
        ]
    ]
    found = flat(rows, ["label"], id="id", others=["text"], annotators="majority")
    assert [(row["id"], row["label"]) for row in found] == [("1", "x"), ("2", "y")]
    found = flat(rows, ["label"], id="id", annotators="all")
    assert [row["id"] for row in found] == ["1#A", "1#B", "1#C", "2#A"]
    # Without the option, a repeated identifier is a mistake, which the reader names.
    assert flat(rows, ["label"], id="id") is None


def test_of_several_annotators_nothing_can_be_said_in_a_plain_file():
    rows = [{"id": "1", "text": "a", "label": "x"}]
    assert flat(rows, ["label"], id="id") is None
    message = "no text has several annotators. annotators='majority' changes nothing"
    with pytest.warns(DataFileWarning, match=message) as caught:
        assert flat(rows, ["label"], id="id", annotators="majority") is None
    said = caught[0].message.for_command
    assert "--annotators majority changes nothing. The rows of one text have" in said


def test_an_export_without_several_annotators_is_named():
    message = "no text has several annotators. annotators='all' changes nothing.$"
    with pytest.warns(DataFileWarning, match=message):
        assert len(flat(DOCCANO, ["label"], annotators="all")) == 3


def test_a_value_that_nobody_chose_is_named():
    message = (
        "field 'label': nobody chose 'goood', so 'label:goood' is 'no' everywhere. "
        "The values are 'good', 'bad'"
    )
    with pytest.warns(DataFileWarning, match=message):
        rows = flat(DOCCANO, ["label:bad", "label:goood"])
    assert [row["label:goood"] for row in rows] == ["no", "no", None]


@pytest.mark.parametrize(
    "record",
    [
        {"text": "a", "label": "x", "data": {"a": 1}},
        {"text": "a", "label": "x", "annotations": ["a"]},
        {"text": "a", "label": "x", "tags": ["a", "b"]},
        {"text": "a", "label": "x", "fields": {"text": "a"}},
        {"text": "a", "label": "x", "annotator": "A", "created_at": "2026"},
        {"text": "a", "label": "x", "note": [{"a": 1}]},
        {"text": "a", "label": {"choices": ["x"]}},
    ],
)
def test_files_of_no_tool_are_left_alone(record):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flat([record], ["label"], id="text") is None
    assert flat([], ["label"]) is None


# --- Files that are damaged -----------------------------------------------------------

CELLS = [None, "", 0, 1.5, True, [], {}, "x", ["x"], [["x"]], {"a": 1}, [{"a": 1}]]
CELLS += [float("nan"), "[1", '{"choices": 3}', [None]]


def _places(found, place=()):
    yield place
    names = found if isinstance(found, dict) else range(len(found))
    for name in names if isinstance(found, dict | list) else ():
        if isinstance(found[name], dict | list):
            yield from _places(found[name], (*place, name))
        else:
            yield (*place, name)


@pytest.mark.filterwarnings("ignore::skclif.exceptions.DataFileWarning")
@pytest.mark.parametrize("seed", range(4))
def test_exports_with_odd_values_are_read_or_refused(seed):
    """No surprise comes out, such as an attribute that a number does not have."""
    rng = random.Random(seed)
    names = ["label_studio_one.json", "label_studio_several.min.json", "argilla.jsonl"]
    sources = [*map(records, names), DOCCANO, [NESTED], [_nested(("A", "good"))]]
    fields = [["mood"], ["label"], ["topic:food", "stars"], ["annotations"]]
    fields += [["cuisine", "minutes"]]
    n_read = 0
    for _ in range(150):
        found = copy.deepcopy(rng.choice(sources))
        for _ in range(rng.choice([1, 2])):
            *place, last = rng.choice([p for p in _places(found) if len(p) > 1])
            inner = found
            for name in place:
                inner = inner[name]
            inner[last] = copy.deepcopy(rng.choice(CELLS))
        ways = {"annotators": rng.choice([None, "majority", "all"]), "id": "id"}
        with contextlib.suppress(DataFileError):
            rows = flat(found, rng.choice(fields), others=["text"], **ways)
            n_read += rows is not None
    assert n_read > 10
