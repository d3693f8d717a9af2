"""Write the exports of this folder with the packages of the tools themselves.

They need other versions of NumPy and fsspec than the tests do, so that they are not in
the environment of the tests. Written with label-studio-sdk 2.1.2 and datasets 5.2.0:

    python -m venv TOOLS
    TOOLS/bin/pip install label-studio-sdk==2.1.2 datasets==5.2.0
    PYTHONPATH=. TOOLS/bin/python tests/annotation_tools/exports/write.py
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from datasets import Dataset
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

from skclif._annotation_tools.questions import label_config, tasks
from tests.annotation_tools.made_up import TEXTS, questions

FOLDER = Path(__file__).parent
CONFIG = """<View>
  <Text name="text" value="$text"/>
  <Choices name="topic" toName="text" choice="multiple">
    <Choice value="food"/><Choice value="wait"/><Choice value="price"/>
  </Choices>
  <Choices name="mood" toName="text" choice="single">
    <Choice value="good"/><Choice value="bad"/>
  </Choices>
  <Rating name="stars" toName="text" maxRating="5"/>
  <Number name="minutes" toName="text"/>
  <Taxonomy name="cuisine" toName="text">
    <Choice value="Asia"><Choice value="Thai"/><Choice value="Korea"/></Choice>
  </Taxonomy>
  <TextArea name="remark" toName="text"/>
  <Labels name="span" toName="text"><Label value="dish"/></Labels>
</View>"""


def _result(name, kind, value):
    return {
        "id": f"{name}-{kind}",
        "from_name": name,
        "to_name": "text",
        "type": kind,
        "value": value,
    }


def _annotation(number, who, results, **more):
    return {
        "id": number,
        "completed_by": who,
        "result": results,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": f"2026-11-0{number}T10:00:00Z",
        "updated_at": f"2026-11-0{number}T10:05:00Z",
        "lead_time": 3.5,
        **more,
    }


def _tasks():
    ann, ben = (
        {"id": 1, "email": "ann@example.org"},
        {"id": 2, "email": "b@example.org"},
    )
    taxonomy = {"taxonomy": [["Asia", "Thai"]]}
    span = {"start": 0, "end": 4, "text": "Good", "labels": ["dish"]}
    annotations = [
        [
            _annotation(
                1,
                ann,
                [
                    _result("topic", "choices", {"choices": ["food"]}),
                    _result("mood", "choices", {"choices": ["good"]}),
                    _result("stars", "rating", {"rating": 4}),
                    _result("minutes", "number", {"number": 12.5}),
                    _result("cuisine", "taxonomy", taxonomy),
                    _result("remark", "textarea", {"text": ["a regular"]}),
                    _result("span", "labels", span),
                ],
            )
        ],
        [
            _annotation(
                2,
                ann,
                [
                    _result("topic", "choices", {"choices": ["food", "wait"]}),
                    _result("mood", "choices", {"choices": ["bad"]}),
                    _result("stars", "rating", {"rating": 1}),
                ],
            )
        ],
        [_annotation(3, ann, [_result("mood", "choices", {"choices": ["bad"]})])],
        [],
        [_annotation(4, ben, [], was_cancelled=True)],
    ]
    predicted = _result("mood", "choices", {"choices": ["good"]})
    return [
        {
            "id": 100 + k,
            "data": {"text": text, "review_id": f"00{k}"},
            "annotations": annotations[k],
            "predictions": [
                {"model_version": "v1", "score": 0.9, "result": [predicted]}
            ],
            "drafts": [],
        }
        for k, text in enumerate(TEXTS)
    ]


def _several(tasks):
    """Give a second and third annotator to some tasks."""
    cy = {"id": 3, "email": "cy@example.org"}
    ben = {"id": 2, "email": "b@example.org"}

    def mood(number, who, value):
        return _annotation(
            number, who, [_result("mood", "choices", {"choices": [value]})]
        )

    tasks = json.loads(json.dumps(tasks))
    tasks[0]["annotations"] += [mood(5, ben, "bad"), mood(6, cy, "bad")]  # 1 : 2
    tasks[1]["annotations"] += [mood(7, ben, "good")]  # 1 : 1
    tasks[2]["annotations"] += [mood(8, ben, "bad")]  # 0 : 2
    return tasks


def write_label_studio(name, tasks):
    LabelInterface(CONFIG).validate()
    source = FOLDER / f"label_studio_{name}.json"
    source.write_text(json.dumps(tasks, indent=1) + "\n", encoding="utf-8")
    _convert(source, CONFIG)


def _convert(source, config):
    """Write other exports of tasks beside them."""
    for format, suffix in (("JSON_MIN", ".min.json"), ("CSV", ".csv")):
        with tempfile.TemporaryDirectory() as place:
            Converter(config, project_dir=None).convert(
                str(source), place, format, is_dir=False, sep=","
            )
            (found,) = Path(place).iterdir()
            shutil.copy(found, source.with_suffix(suffix))


def write_argilla():
    """Write what Argilla's `to_datasets` gives, by way of datasets."""
    columns = {
        "id": ["a1", "a2", "a3", "a4"],
        "status": ["completed", "completed", "pending", "completed"],
        "_server_id": ["s1", "s2", "s3", "s4"],
        "text": TEXTS[:4],
        "mood.responses": [["good"], ["bad", "bad"], None, ["good", "bad"]],
        "mood.responses.users": [["u1"], ["u1", "u2"], None, ["u1", "u2"]],
        "mood.responses.status": [
            ["submitted"],
            ["submitted", "submitted"],
            None,
            ["submitted", "discarded"],
        ],
        "topic.responses": [[["food"]], [["food", "wait"], ["wait"]], None, None],
        "topic.responses.users": [["u1"], ["u1", "u2"], None, None],
        "topic.responses.status": [["submitted"], ["submitted"] * 2, None, None],
        "mood.suggestion": ["good", "good", "good", "good"],
        "mood.suggestion.score": [0.9, 0.8, 0.7, 0.6],
        "mood.suggestion.agent": ["m", "m", "m", "m"],
    }
    found = Dataset.from_dict(columns)
    found.to_json(FOLDER / "argilla.jsonl")
    found.to_csv(FOLDER / "argilla.csv")
    found.to_parquet(FOLDER / "argilla.parquet")


def write_finished():
    """Validate tasks with the parser of Label Studio, and write them as finished."""
    asked = questions()
    written, config = tasks(asked, "skclif"), label_config(asked)
    (FOLDER / "tasks.xml").write_text(config, encoding="utf-8")
    (FOLDER / "tasks.json").write_text(json.dumps(written, indent=1) + "\n")
    interface = LabelInterface(config)
    interface.validate()
    assert [control.name for control in interface.controls] == ["value", "number"]
    results = [
        [_result("value", "choices", {"choices": ["bad"]})],
        [_result("number", "number", {"number": 4.25})],
        [],
        [_result("value", "choices", {"choices": ["1"]})],
    ]
    for k, (task, result) in enumerate(zip(written, results, strict=True)):
        assert interface.validate_task({"data": task["data"]})
        for prediction in task.get("predictions", []):
            assert not interface.validate_prediction(prediction, return_errors=True)
        task["id"] = 500 + k
        task["annotations"] = [
            _annotation(1, {"id": 1}, result, was_cancelled=not result)
        ]
        assert interface.validate_annotation(task["annotations"][0])
    source = FOLDER / "finished.json"
    source.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    _convert(source, config)


if __name__ == "__main__":
    write_finished()
    write_label_studio("one", _tasks())
    write_label_studio("several", _several(_tasks()))
    write_argilla()
    sys.stdout.write(f"{sorted(path.name for path in FOLDER.iterdir())}\n")
