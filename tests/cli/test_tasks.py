"""From an audit to tasks of Label Studio, and from finished tasks to decisions."""

import json
import re

import pandas as pd
import pytest
from click.testing import CliRunner

from skclif._audit.decisions import read_decisions
from skclif._audit.folder import AuditFolder
from skclif._audit.lists import read_lists
from skclif._models.files import read_model
from skclif.cli import main

from .. import folders
from ..folders import Truth, contents, done, lines, refused


@pytest.fixture
def truth(audited):
    return Truth(audited)


def write_tasks(folder, place, *options):
    """Write tasks; return them, and what was said."""
    file = place / "tasks.json"
    result = done("tasks", folder, "--out", file, *options)
    return json.loads(file.read_text(encoding="utf-8")), result


def answer(task, number, word, **more):
    """Finish a task as Label Studio exports it; no word is a skipped task."""
    result = {
        "id": "a",
        "from_name": "value",
        "to_name": "text",
        "type": "choices",
        "value": {"choices": [word]},
    }
    annotation = {
        "id": number,
        "completed_by": {"id": 1, "email": "ann@example.org"},
        "result": [] if word is None else [result],
        "was_cancelled": word is None,
        "created_at": "2026-11-01T10:00:00Z",
        **more,
    }
    return {**task, "id": number, "annotations": [annotation]}


def written(path, tasks):
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_every_suspect_is_a_task(audited, truth, tmp_path):
    found, result = write_tasks(audited.out, tmp_path, "--limit", "1000", "--quiet")
    suspects = lines(audited.out, "suspects.csv")
    assert len(found) == len(suspects)
    data = pd.DataFrame([task["data"] for task in found])
    for name in ("kind", "id", "text_hash", "path", "current", "proposed"):
        assert data[name].tolist() == suspects[name].tolist()
    assert data["text"].tolist() == truth.table.loc[data["id"], "review"].tolist()
    predictions = [task["predictions"][0] for task in found]
    assert [one["result"][0]["value"]["choices"] for one in predictions] == [
        [value] for value in suspects["proposed"]
    ]
    scores = suspects["probability_proposed"].astype(float).tolist()
    assert [one["score"] for one in predictions] == pytest.approx(scores)
    model = read_model(audited.out / "model.safetensors").classifier
    for task in found:
        words = [choice["value"] for choice in task["data"]["choices"]]
        if task["data"]["path"] == "label":
            assert words == [str(value) for value in model.classes_]
        else:
            assert words[-1] == "unannotated"
            assert {task["data"]["current"], task["data"]["proposed"]} < set(words)
    version = {one["model_version"] for one in predictions}
    assert version == {
        f"skclif {_version()} {folders.records(audited.out)[-1]['hash'][:12]}"
    }
    config = (tmp_path / "tasks.xml").read_text(encoding="utf-8")
    assert 'value="$choices"' in config
    assert "<Number" not in config
    assert f"{len(found)} tasks in {tmp_path / 'tasks.json'}.\n" in result.stdout
    assert f"skclif apply {audited.out} FILE" in result.stdout


def _version():
    from skclif import __version__

    return __version__


def test_the_limit_leaves_out_the_last(audited, tmp_path):
    every, _ = write_tasks(audited.out, tmp_path, "--limit", "1000")
    found, result = write_tasks(audited.out, tmp_path, "--limit", "3")
    assert found == every[:3]
    assert f"{len(every) - 3:,} more are left out by --limit" in result.stdout
    said = json.loads(
        done(
            "tasks",
            audited.out,
            "--out",
            tmp_path / "t.json",
            "--limit",
            3,
            "--json",
            "-q",
        ).stdout
    )
    assert said["n_tasks"] == 3
    assert said["n_left_out"] == len(every) - 3
    assert said["label_config"] == str(tmp_path / "t.xml")


def test_suggestions_about_weights_are_no_tasks(audited, tmp_path):
    found, result = write_tasks(audited.out, tmp_path, "--from", "suggestions")
    listed = lines(audited.out, "suggestions.csv")
    values = listed[listed["kind"].isin(["relabel", "annotate"])]
    assert [task["data"]["id"] for task in found] == values["id"].tolist()
    assert [task["data"]["effect"] for task in found] == values["effect"].tolist()
    n_weights = len(listed) - len(values)
    assert n_weights
    assert f"{n_weights} line" in result.stdout
    assert "about the weight of a row" in result.stdout
    asked = values[values["current"] == ""]
    assert len(asked)
    last = found[-1]["data"]
    assert last["guess"] == asked["guess"].iloc[-1]
    assert "unannotated" not in [choice["value"] for choice in last["choices"]]


def test_what_to_annotate_next(audited, truth, tmp_path):
    """First what suggestions ask for, then what the model is least sure of."""
    found, _ = write_tasks(audited.out, tmp_path, "--from", "next", "--limit", "1000")
    keys = [(task["data"]["id"], task["data"]["path"]) for task in found]
    missing = [
        (i, name)
        for i in truth.train
        for name in folders.CONCEPTS
        if truth.table.loc[i, name] is None
    ]
    assert sorted(keys) == sorted(missing)
    listed = lines(audited.out, "suggestions.csv")
    asked = listed[(listed["kind"] == "annotate") & (listed["current"] == "")]
    asked = list(zip(asked["id"], asked["path"], strict=True))
    assert keys[: len(asked)] == asked
    proba = truth.fit().predict_concept_proba(truth.X.loc[truth.train].to_numpy())
    position = {i: k for k, i in enumerate(truth.train)}
    sure = [proba[path][position[i]].max() for i, path in keys[len(asked) :]]
    assert sure == pytest.approx(sorted(sure), abs=1e-6)
    scores = [task["predictions"][0]["score"] for task in found[len(asked) :]]
    assert scores == pytest.approx(sure, abs=1e-6)


def _decisions(audited, file):
    folder = AuditFolder(audited.out)
    records, rows, _ = folder.snapshot()
    revision = folder.revision(rows, records)
    return read_decisions(file, revision, {}, lists=read_lists(audited.out))


def test_answers_decide_what_the_same_lines_decide(audited, tmp_path):
    """Accepted, with another value, rejected, skipped and left, in turn."""
    found, _ = write_tasks(audited.out, tmp_path, "--limit", "40", "-q")
    table = lines(audited.out, "suspects.csv").iloc[:40].copy()
    finished = []
    for k, task in enumerate(found):
        data = task["data"]
        words = [choice["value"] for choice in data["choices"]]
        other = next(w for w in words if w not in (data["current"], data["proposed"]))
        word = [data["proposed"], other, data["current"], None][k % 4]
        finished.append({**task, "id": k} if k % 5 == 4 else answer(task, k, word))
        decision = "" if k % 5 == 4 else ["accept", "accept", "reject", ""][k % 4]
        table.loc[table.index[k], "decision"] = decision
        if decision == "accept":
            table.loc[table.index[k], "proposed"] = word
    expected = _decisions(audited, folders.write(tmp_path / "d.csv", table))
    got = _decisions(audited, written(tmp_path / "finished.json", finished))
    assert (got.changes, got.rejections) == (expected.changes, expected.rejections)
    assert {change.source for change in got.changes} == {"suspect", "person"}
    assert got.n_accepted == 16
    assert (got.n_rejected, got.n_skipped) == (8, 16)


def test_answers_to_missing_annotations_are_of_a_person(audited, tmp_path):
    found, _ = write_tasks(audited.out, tmp_path, "--from", "next", "-q")
    finished = [
        answer(task, k, task["predictions"][0]["result"][0]["value"]["choices"][0])
        for k, task in enumerate(found[:3])
    ]
    got = _decisions(audited, written(tmp_path / "finished.json", finished))
    assert [change.source for change in got.changes] == ["person"] * 3
    assert got.by_effect  # which chose the first rows


def test_a_round_trip(audited, tmp_path):
    out = audited.copy(tmp_path)
    found, _ = write_tasks(out, tmp_path, "--limit", "4")
    words = [found[0]["data"]["proposed"], found[1]["data"]["current"], None]
    finished = [
        answer(task, k + 1, word)
        for k, (task, word) in enumerate(zip(found, words, strict=False))
    ]
    both = answer(found[3], 4, found[3]["data"]["proposed"])
    other = answer(found[3], 4, found[3]["data"]["current"])["annotations"][0]
    both["annotations"].append({**other, "completed_by": 2})
    file = written(tmp_path / "finished.json", [*finished, both])
    result = done("apply", out, file, "--by", "annotators", "--quiet")
    assert "finished.json: people answered differently in the tasks 4." in result.stderr
    last = folders.records(out)[-1]
    (change,), (rejected,) = last["changes"], last["rejected"]
    assert (change["id"], change["path"]) == (
        found[0]["data"]["id"],
        found[0]["data"]["path"],
    )
    assert str(change["new"]) == words[0]
    assert rejected["id"] == found[1]["data"]["id"]
    assert last["decisions"]["name"] == "finished.json"
    again, _ = write_tasks(out, tmp_path, "--limit", "1000")
    left = {(task["data"]["id"], task["data"]["path"]) for task in again}
    assert (rejected["id"], rejected["path"]) not in left


def test_forgotten_rows_are_asked_about_no_more(audited, tmp_path):
    out = audited.copy(tmp_path)
    before, _ = write_tasks(out, tmp_path, "--limit", "1000")
    gone = before[0]["data"]["id"]
    ids = tmp_path / "ids.txt"
    ids.write_text(gone)
    done("forget", out, ids)
    for source in ("suspects", "next"):
        found, _ = write_tasks(out, tmp_path, "--from", source, "--limit", "1000")
        assert gone not in {task["data"]["id"] for task in found}
    finished = [answer(before[0], 1, before[0]["data"]["proposed"])]
    file = written(tmp_path / "finished.json", finished)
    said = refused("apply", out, file, "--quiet")
    assert f"finished.json, task 1: of the row {gone!r}: it was forgotten in" in said


def test_an_audit_without_texts_has_no_tasks(tiny_encoder, tmp_path):
    table = folders.reviews(60)
    audited = folders.make_audit(tmp_path, tiny_encoder, "--no-text", table=table)
    before = contents(audited.out)
    said = refused("tasks", audited.out, "--out", tmp_path / "t.json", "--quiet")
    assert "keeps no texts, and nobody can annotate a text without reading it" in said
    assert "Audit the file again without --no-text" in said
    assert contents(audited.out) == before
    assert not (tmp_path / "t.json").exists()


def test_what_is_refused(audited, tmp_path):
    out, file = audited.copy(tmp_path), tmp_path / "t.json"
    said = refused("tasks", tmp_path / "nowhere", "--out", file, "--quiet")
    assert "There is no folder" in said
    said = refused("tasks", tmp_path, "--out", file, "--quiet")
    assert "holds no audit" in said
    said = refused("tasks", out, "--out", tmp_path / "t.txt", "--quiet")
    assert "Label Studio reads tasks from a file whose name ends in .json" in said
    said = refused("tasks", out, "--out", tmp_path / "no" / "t.json", "--quiet")
    assert "There is no folder" in said
    suspects = out / "suspects.csv"
    suspects.write_bytes(suspects.read_bytes().replace(b"relabel", b"annotate"))
    said = refused("tasks", out, "--out", file, "--quiet")
    assert "is not of the present model.safetensors, or one of its lists was" in said
    assert "Restore the list, or apply your decisions once more" in said
    assert not file.exists()
    for options in (["--limit", "0"], ["--from", "all"], []):
        result = CliRunner().invoke(main, ["tasks", str(out), *options])
        assert result.exit_code == 2


def test_there_may_be_nothing_to_ask(tiny_encoder, tmp_path):
    table = folders.reviews(60)
    for name in folders.CONCEPTS:
        table[name] = table[name].replace("", None).ffill().bfill()
    audited = folders.make_audit(tmp_path, tiny_encoder, table=table)
    options = ["--out", tmp_path / "t.json", "--from", "next", "--quiet"]
    said = refused("tasks", audited.out, *options)
    assert re.search("nothing to ask: no annotation of a training row is missing", said)
