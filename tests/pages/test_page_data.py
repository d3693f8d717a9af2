"""What the scripts of a page are given."""

import json
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from skclif._audit.evidence import LabelHead
from skclif._pages import bundle, page_data
from skclif._pages.overview import MOST_CLASSES, confusion_table
from skclif._pages.page_data import as_script
from skclif._storage.cells import escape_cell, table_csv

from .test_pages import make_page, make_run, make_truth

HARD = "</script><!--<script>&amp; \u2028\u2029 \x00 'quoted' \u202e\u05d0"


@pytest.fixture(scope="module")
def found():
    return make_page()[1]


@pytest.fixture(scope="module")
def data(found):
    return page_data.page_data(found, make_run())


def test_a_script_holds_any_text_and_gives_it_back():
    text = as_script({HARD: [HARD, 1.5, None]})
    assert not set(text) & set("<>&\u2028\u2029\x00")
    assert json.loads(text) == {HARD: [HARD, 1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script({"a": float("nan")})


def test_the_data_are_plain_values(data):
    assert json.loads(as_script(data)) == data


def test_every_mistake_is_listed_worst_first_with_the_rows_behind_it(found, data):
    rows = data["mistakes"]["rows"]
    table = found.predictions
    wrong = table[table["label"] != table["predicted"]]
    worst = wrong.sort_values("loss", ascending=False)["id"].tolist()
    assert [row["id"] for row in rows] == worst
    of_rows = found.influence[found.influence["target"] == "row"]
    for row in rows:
        lines = of_rows[of_rows["target_id"] == row["id"]]
        behind = [data["training"][place]["id"] for place, *_ in row["behind"]]
        assert behind == lines["train_id"].tolist()
        values = np.array([values for _, *values in row["behind"]])
        names = ["influence", *(f"path:{path}" for path in data["paths"])]
        np.testing.assert_allclose(values, lines[names], rtol=1e-3)


def test_annotations_of_a_mistake_are_words_or_missing(found, data):
    known, said = found.predictions.set_index("id"), []
    for row in data["mistakes"]["rows"]:
        for name, one in zip(found.concepts, row["read"], strict=True):
            value = known.loc[row["id"], f"annotated:{name}"]
            said.append(one["annotated"])
            assert said[-1] == (None if pd.isna(value) else value)
            assert one["predicted"] == known.loc[row["id"], f"predicted:{name}"]
    assert None in said


def test_each_training_row_is_there_once(data):
    ids = [row["id"] for row in data["training"]]
    assert len(ids) == len(set(ids))
    places = [
        line["row"] for queue in data["queues"].values() for line in queue["lines"]
    ]
    assert max(places) < len(ids)


def test_lines_hold_the_cells_of_the_table(found, data):
    for name, table in (
        ("suspects", found.suspects),
        ("suggestions", found.suggestions),
    ):
        queue = data["queues"][name]
        assert queue["columns"] == list(table)
        cells = pd.read_csv(
            pd.io.common.BytesIO(table_csv(table)), dtype=str, keep_default_na=False
        )
        for line, written in zip(queue["lines"], cells.to_dict("records"), strict=True):
            assert line["id"] == written["id"]
            assert (line["proposed"] or "") == written["proposed"]
            for column, said in line["more"].items():
                assert said == written[column]


def test_lists_end_at_a_limit_that_is_said(found, monkeypatch):
    monkeypatch.setattr(page_data, "MOST_LISTED", 3)
    short = page_data.page_data(found, make_run())
    for name in ("suspects", "suggestions"):
        assert len(short["queues"][name]["lines"]) == 3
    assert short["queues"]["suspects"]["total"] == len(found.suspects) > 3


def test_a_very_long_text_is_cut_and_says_how_long_it_was(found):
    table = found.training.assign(text="x" * 100_000)
    data = page_data.page_data(replace(found, training=table), make_run())
    for row in data["training"]:
        assert len(row["text"]) == page_data.MOST_CHARACTERS
        assert row["length"] == 100_000


def test_decisions_of_another_state_of_the_folder_are_not_taken_for_these(found, data):
    run = make_run() | {"trail": {"records": 3, "hash": "4" * 64}}
    assert page_data.page_data(found, run)["key"] != data["key"]


def test_planted_errors_are_told_where_they_are_known(found):
    data = page_data.page_data(found, make_run(), make_truth(found.training["id"]))
    said = {row["planted"] for row in data["training"]}
    assert all("instead of true plain words" in words for words in said)
    marks = {line["truth"] for line in data["queues"]["suspects"]["lines"]}
    assert any(mark.startswith("really wrong, but the true value is") for mark in marks)


def _concepts(found, values):
    head = found.evidence.head
    given = {**vars(head), "values": [values, *head.values[1:]]}
    evidence = replace(found.evidence, head=LabelHead(**given))
    return page_data.page_data(replace(found, evidence=evidence), make_run())[
        "concepts"
    ]


def test_values_can_be_chosen_as_a_file_of_decisions_names_them(found):
    assert _concepts(found, ["a", "b"])[0]["values"] == [
        ["a", "a"],
        ["b", "b"],
        ["", "unannotated"],
    ]
    assert _concepts(found, ["Unannotated", "a"])[0]["values"] == [
        ["Unannotated", "value:Unannotated"],
        ["a", "a"],
        ["", "remove:unannotated"],
    ]
    assert _concepts(found, ["10", "9.5"])[0]["values"][0] == ["9.5", "9.5"]
    assert _concepts(found, ["a", "b"])[0]["range"] is None


def test_amounts_come_with_the_range_of_what_people_annotated(found):
    name = found.concepts[0]
    amounts = np.linspace(-2, 7.5, len(found.training))
    amounts[3] = np.nan
    column = {f"annotated:{name}": amounts}
    numbers = replace(found, training=found.training.assign(**column))
    concept = _concepts(numbers, None)[0]
    assert concept == {"name": name, "values": None, "range": (-2, 7.5)}


def test_without_concepts_there_is_no_head():
    _, found = make_page(n_concepts=0)
    data = page_data.page_data(found, make_run())
    assert data["head"] is None
    assert data["concepts"] == []
    row = data["mistakes"]["rows"][0]
    assert sum(row["probabilities"]) == pytest.approx(1)
    assert row["box"] is None


def test_many_classes_are_shown_as_pairs():
    n = MOST_CLASSES + 1
    counts = [[k, k, 5] for k in range(n)] + [[0, 1, 3], [2, 0, 7]]
    table = confusion_table({"labels": list(range(n)), "counts": counts})
    assert table["labels"] == []
    assert [(c["true"], c["said"], c["n"]) for c in table["pairs"]] == [
        ("2", "0", 7),
        ("0", "1", 3),
    ]
    small = confusion_table({"labels": ["a&b", "c"], "counts": [[0, 1, 3], [0, 0, 1]]})
    assert small["rows"][0]["total"] == 4
    assert small["rows"][0]["cells"][1]["filter"] == "label=a%26b&predicted=c"


def test_every_asset_is_in_the_page():
    names = {one.name for one in files("skclif").joinpath("_pages", "assets").iterdir()}
    assert names - {"notebook.css"} == {*bundle.SCRIPTS, *bundle.STYLES}


def test_scripts_are_sound():
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    for name in bundle.SCRIPTS:
        path = files("skclif").joinpath("_pages", "assets", name)
        subprocess.run([node, "--check", str(path)], check=True, timeout=60)


ODD_CELLS = [
    "=1",
    "'=1",
    "''=1",
    " =1",
    "-1",
    "-1.5e3",
    "-a",
    "+",
    "@x",
    "\uff1d2",
    "'a",
]
ODD_CELLS += [
    "\x1c=1",
    "\ufeff=1",
    "\x85-x",
    "\u3000@",
    "\t",
    "'\r",
    "a=1",
    "",
    "'",
    '"',
    "1\n",
]


def test_cells_are_escaped_as_tables_escape_them():
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on the PATH")
    path = files("skclif").joinpath("_pages", "assets", "csv.js")
    script = (
        path.read_text(encoding="utf-8")
        + """
        const cells = JSON.parse(process.argv[1]);
        const written = cells.map(escapeCell);
        console.log(JSON.stringify([written, written.map(unescapeCell)]));
    """
    )
    run = [node, "-e", script, json.dumps(ODD_CELLS)]
    found = subprocess.run(run, check=True, capture_output=True, timeout=60)
    written, read = json.loads(found.stdout)
    assert written == [escape_cell(cell) for cell in ODD_CELLS]
    assert read == ODD_CELLS


def test_scripts_put_no_text_into_the_page_as_html():
    text = bundle.script()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
    ):
        assert word not in text
    assert "fetch(" not in text and "XMLHttpRequest" not in text
    assert "</" not in text  # nothing that ends its element
