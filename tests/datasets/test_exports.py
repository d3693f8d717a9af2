"""Exports of annotation tools through `load_reviews` and the commands."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skclif.datasets import load_reviews
from skclif.exceptions import DataFileError, DataFileWarning

from .. import folders

EXPORTS = Path(__file__).parents[1] / "annotation_tools" / "exports"


@pytest.mark.filterwarnings("ignore:.*is its only value")  # of four made-up rows
def test_exports_of_one_project_are_one_table():
    options = {"label": "mood", "id": "review_id", "incomplete": "skip"}
    options["concepts"] = ["stars", "minutes", "topic:food"]
    first, *others = (
        load_reviews(EXPORTS / f"label_studio_one.{suffix}", **options)
        for suffix in ("json", "min.json", "csv")
    )
    assert first.frame.index.tolist() == ["000", "001", "002"]
    assert first.target.tolist() == ["good", "bad", "bad"]
    assert first.concepts["stars"].tolist()[:2] == [4, 1]
    assert first.concepts["topic:food"].tolist()[:2] == ["yes", "yes"]
    assert first.weights is None
    assert "an export of an annotation tool" in first.reading[0]
    for other in others:
        pd.testing.assert_frame_equal(other.frame, first.frame)


def test_a_row_for_each_annotator_has_its_weight():
    found = load_reviews(
        EXPORTS / "label_studio_several.csv",
        label="mood",
        id="id",
        annotators="all",
        incomplete="skip",
    )
    assert "100#ann@example.org" in found.ids
    texts = found.weights.groupby(found.data).sum()
    np.testing.assert_allclose(texts, 1)
    assert found.weights.index.equals(found.ids)
    assert found.annotators["100#ann@example.org"] == "ann@example.org"
    assert "weight" not in found.frame


@pytest.mark.parametrize("name", ["argilla.jsonl", "argilla.parquet"])
def test_argilla_in_every_format(name):
    pytest.importorskip("pyarrow")
    options = {"label": "mood", "id": "id", "incomplete": "skip"}
    with pytest.raises(
        DataFileError, match=r"in 1 task \(a2\).*Pass one as annotators"
    ):
        load_reviews(EXPORTS / name, **options)
    found = load_reviews(EXPORTS / name, annotators="majority", **options)
    assert found.target.to_dict() == {"a1": "good", "a2": "bad", "a4": "good"}


def test_lists_in_parquet_are_parts(tmp_path):
    pytest.importorskip("pyarrow")
    table = {"text": ["a", "b"], "label": [1, 2], "tags": [["x"], ["x", "y"]]}
    pd.DataFrame(table).to_parquet(tmp_path / "t.parquet")
    found = load_reviews(tmp_path / "t.parquet", concepts=["tags:y"])
    assert found.concepts["tags:y"].tolist() == ["no", "yes"]


def test_a_tie_leaves_no_label(tmp_path):
    path = tmp_path / "votes.csv"
    rows = [("1", "a", "x"), ("1", "a", "y"), ("2", "b", "y"), ("2", "b", "y")]
    pd.DataFrame(rows, columns=["id", "text", "label"]).to_csv(path, index=False)
    advice = "the same identifier '1'.*annotators='majority', 'dawid_skene' or 'all'"
    with pytest.raises(DataFileError, match=advice) as caught:
        load_reviews(path, id="id")
    assert "--annotators majority, dawid_skene or all" in caught.value.for_command
    options = {"id": "id", "annotators": "majority"}
    tie = (
        r"field 'label': as many annotators chose one value as another in 1 task \(1\)"
    )
    with (
        pytest.warns(DataFileWarning, match=tie),
        pytest.raises(DataFileError, match="column 'label', row 1: no value"),
    ):
        load_reviews(path, **options)
    with pytest.warns(DataFileWarning, match=tie):
        found = load_reviews(path, incomplete="skip", **options)
    assert found.target.to_dict() == {"2": "y"}


def test_columns_that_nobody_asks_for_may_have_one_name(tmp_path):
    """A table that is no export is not read whole."""
    path = tmp_path / "plain.csv"
    path.write_text("text,label,note,note\na,1,x,y\nb,2,x,y\n")
    assert load_reviews(path).target.tolist() == [1, 2]
    path.write_text("id,text,label,text\n1,a,1,x\n1,b,2,x\n")
    with pytest.raises(DataFileError, match="has 2 columns named 'text'"):
        load_reviews(path, annotators="majority", id="id")


def test_an_audit_of_several_annotators_is_repaired_and_replayed(
    tiny_encoder, tmp_path
):
    table = folders.reviews(70)
    tasks = []
    for k, row in enumerate(table.to_dict("records")):
        votes = [row["stars"], row["stars"] if k % 3 else row["stars"] % 5 + 1]
        annotations = [
            {"user": who, "stars": stars}
            for who, stars in zip("AB", votes, strict=True)
        ]
        tasks.append(
            {"id": f"{k:03d}", "text": row["review"], "annotations": annotations}
        )
    file, out = tmp_path / "votes.json", tmp_path / "out"
    file.write_text(json.dumps(tasks))
    options = ["--label", "stars", "--id", "id", "--out", out, "--quiet"]
    options += ["--model", tiny_encoder, "--max-mistakes", "1"]
    assert "Give one with --annotators" in folders.refused("audit", file, *options)
    folders.done("audit", file, *options, "--annotators", "all")
    influence = folders.lines(out, "influence.csv")
    train = influence[influence["target"] == "all"].set_index("train_id")
    assert {i.partition("#")[2] for i in train.index} == {"A", "B"}
    held_out = folders.lines(out, "predictions.csv")["id"]
    parts = ({i.partition("#")[0] for i in ids} for ids in (train.index, held_out))
    assert not set.intersection(*parts)  # a text is on one side
    i = train.index[0]
    line = {"decision": "accept", "kind": "relabel", "id": i, "path": "label"}
    line |= {"text_hash": train.loc[i, "train_text_hash"]}
    line |= {"current": train.loc[i, "train_label"], "proposed": "3"}
    folders.done("apply", out, folders.write(tmp_path / "d.csv", [line]), "--quiet")
    said = folders.done("replay", out, file)
    assert "Bit for bit, this is the model" in said.stdout
    baseline = ["baseline", file, "--label", "stars", "--words-only", "--quiet"]
    assert folders.run(*baseline, "--annotators", "all").exit_code == 2
