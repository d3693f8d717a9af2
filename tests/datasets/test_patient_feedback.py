"""fetch_patient_feedback: what is made of the file, and where it comes from.

How a file is found, downloaded and checked is tested with CEBaB.
"""

import csv
import hashlib
import importlib.util
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skclif.datasets import _patient_feedback, fetch_patient_feedback
from skclif.datasets._patient_feedback import _PARTS, _QUESTIONS, _THEMES
from skclif.exceptions import DataFileError

PREPARED = Path(os.environ.get("SKCLIF_DATA", "-"), "nhs_feedback")
official = pytest.mark.skipif(
    not (PREPARED / "prepare.py").is_file(),
    reason="SKCLIF_DATA does not name a folder with nhs_feedback",
)
COLUMNS = [
    "Trust",
    "Date",
    "Service type 1",
    "FFT categorical answer",
    "FFT question",
    "FFT answer",
    "Comment sentiment",
    "Labelling not possible",
    *_THEMES.values(),
]


def record(answer, sentiment="2", themes=(), **columns):
    """One answer in the form of the official file."""
    row = dict.fromkeys(COLUMNS, "") | {
        "Trust": "NEAS",
        "Date": "30/09/2021",
        "Service type 1": "PTS  - Patient Transport",
        "FFT categorical answer": "1",
        "FFT question": "FFT Why?",
        "FFT answer": answer,
        "Comment sentiment": sentiment,
    }
    return row | {_THEMES[name]: "1" for name in themes} | columns


def content_of(records):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue().encode()


ODD = [
    record("Sister Jones and Dr. Brown were\tkind", "1", ["staff manner"]),
    record("The nurse was kind; Mr smith too", "4"),
    record("Did not answer", "3"),
    record(" ... "),
    record(""),
    record("None"),
    record("n/a"),
    record("None."),
    record("No sentiment", ""),
    record("Cannot be labelled", **{"Labelling not possible": "1"}),
    record("Waited two hours", "5", ["timeliness", "transport"], Trust="NHFT"),
    record("waited TWO hours!!", "1"),
    record("Odd date", Date="2021-09-30", **{"FFT question": "What was good? "}),
    record("No date", "3", Date="", **{"FFT categorical answer": "7"}),
    record("Last day", Date="31/12/2022", **{"Service type 1": ""}),
    record("Other question", "3.0", **{"FFT question": "How happy are you?"}),
    record("Short", **{"Service type 1": "A  -B", "FFT categorical answer": ""}),
]


@pytest.fixture
def official_file(monkeypatch, tmp_path):
    """Put a file of these records where the official one is looked for."""

    def put(records):
        content = content_of(records)
        tiny = replace(
            _patient_feedback._FILE,
            url="http://127.0.0.1:1/unreachable.csv",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        monkeypatch.setattr(_patient_feedback, "_FILE", tiny)
        monkeypatch.setenv("SKCLIF_DATA", str(tmp_path))
        path = tmp_path / tiny.name
        path.write_bytes(content)
        return path

    return put


def test_official_address_and_checksum():
    assert _patient_feedback._FILE.url == (
        "https://github.com/The-Strategy-Unit/pxtextmining/raw/"
        "ba6c0a2f10ca9bb3b964b72afe6047b463095c75/datasets/v6framework_230831.csv"
    )
    assert _patient_feedback._FILE.sha256 == (
        "6c90cc740f2c486a17ef89be852f13f8ca434da4e2a06254a43288de7dc39567"
    )


def test_what_is_left_out_and_what_is_made_of_the_rest(official_file):
    official_file(ODD)
    comments = fetch_patient_feedback("all")
    rows = comments.frame.set_index("text").sort_index()
    assert rows.index.tolist() == [
        "Last day",
        "No date",
        "None.",
        "Odd date",
        "Other question",
        "Short",
        "Sister [name] and Dr [name] were kind",
        "The nurse was kind; Mr smith too",
        "Waited two hours",
    ]
    waited = rows.loc["Waited two hours"]
    assert waited["label"] == "negative"
    assert waited.index[waited == "yes"].tolist() == ["timeliness", "transport"]
    assert waited.index[waited == "no"].size == 16
    assert rows.loc["No date", "label"] == "neutral or mixed"
    assert rows.loc["None.", "label"] == "positive"
    metadata = comments.metadata.set_index(comments.data)
    assert metadata["quarter"].fillna("-")[
        ["No date", "Odd date", "Last day", "Short"]
    ].tolist() == ["-", "-", "2022Q4", "2021Q3"]
    assert metadata["service"][["Last day", "Short", "No date"]].tolist() == [
        "Unknown",
        "A - B",
        "PTS - Patient Transport",
    ]
    assert metadata["patient_rating"].isna().sum() == 2
    assert metadata.loc["Odd date", "question"] == "good"
    assert metadata.loc["Other question", "question"] == "satisfied or not"
    assert metadata.loc["Waited two hours", ["trust", "sentiment"]].tolist() == [
        "NHFT",
        5,
    ]


def test_the_text_alone_decides_the_part_and_the_id(official_file):
    records = [record(f"comment number {k}") for k in range(400)]
    official_file(records)
    sizes, ids = [], []
    for part in _PARTS:
        comments = fetch_patient_feedback(part)
        sizes.append(len(comments.data))
        ids += comments.ids.tolist()
    assert sum(sizes) == 400 and len(set(ids)) == 400
    assert np.abs(np.array(sizes) - [240, 80, 80]).max() <= 30
    everything = fetch_patient_feedback("all")
    assert everything.ids.tolist() == ids
    official_file(records[:7])
    few = fetch_patient_feedback("all")
    assert few.frame.equals(everything.frame.loc[few.ids])


def test_arrays(official_file):
    official_file(ODD)
    frames, arrays = (
        fetch_patient_feedback("all", as_frame=flag) for flag in (True, False)
    )
    assert arrays.frame is None
    for name in ("data", "target", "concepts"):
        assert isinstance(arrays[name], np.ndarray)
        assert (arrays[name] == frames[name].to_numpy(dtype=object)).all()
    X, y = fetch_patient_feedback("all", return_X_y=True)
    assert X.equals(frames.data) and y.equals(frames.target)
    assert frames.concepts.columns.tolist() == frames.concept_names == [*_THEMES]
    assert "Copyright (c) 2021 NHS England" in frames.DESCR


def test_another_file_is_refused(official_file):
    path = official_file(ODD)
    path.write_bytes(b"something else")
    with pytest.raises(DataFileError, match="not the official v6framework_230831.csv"):
        fetch_patient_feedback()


def test_prepared_parts_are_checked(monkeypatch, tmp_path):
    (tmp_path / "nhs_feedback").mkdir()
    (tmp_path / "nhs_feedback" / "dev.csv").write_text("text,label\n")
    monkeypatch.setenv("SKCLIF_DATA", str(tmp_path))
    message = r"dev.csv is not the official dev.csv of nhs_feedback.*Remove it, and put"
    with pytest.raises(DataFileError, match=message):
        fetch_patient_feedback("dev")
    with pytest.raises(OSError, match=r"v6framework_230831.csv is neither in the"):
        fetch_patient_feedback("all", data_home=tmp_path, download_if_missing=False)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"subset": "valid"}, "'subset' parameter .* must be a str among"),
        ({"data_home": 3}, "'data_home' parameter"),
        ({"n_retries": -1}, "'n_retries' parameter"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        fetch_patient_feedback(**arguments)


# --- Against the parts that were prepared by other code ------------------------------


def _as_official(prepared):
    """Return records of the official file that give these prepared rows."""
    questions = {short: long for long, short in _QUESTIONS.items()}
    for row in prepared:
        year, quarter = row["quarter"].split("Q") if row["quarter"] else ("", "")
        date = f"15/{int(quarter) * 3:02d}/{year}" if quarter else ""
        yield record(
            row["text"],
            row["sentiment"],
            [name for name in _THEMES if row[name] == "yes"],
            Trust=row["trust"],
            Date=date,
            **{
                "Service type 1": row["service"].replace(" - ", "  -"),
                "FFT question": questions.get(row["question"], "Satisfied?"),
                "FFT categorical answer": row["patient_rating"] or "6",
            },
        )


@official
@pytest.mark.data
def test_it_makes_the_rows_and_parts_that_were_prepared(official_file, tmp_path):
    prepared = {}
    for part in _PARTS:
        with (PREPARED / f"{part}.csv").open(newline="") as file:
            prepared[part] = list(csv.DictReader(file))
    rows = [row for part in prepared.values() for row in part]
    path = official_file([*_as_official(rows), *ODD])
    spec = importlib.util.spec_from_file_location("prepare", PREPARED / "prepare.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    reference.SHA256 = hashlib.sha256(path.read_bytes()).hexdigest()
    reference.main(path, tmp_path / "reference")
    for part in _PARTS:
        expected = pd.read_csv(
            tmp_path / "reference" / f"{part}.csv", dtype=str, keep_default_na=False
        )
        assert len(expected) >= len(prepared[part])
        comments = fetch_patient_feedback(part)
        table = comments.frame.join(comments.metadata).astype(object)
        table = table.where(table.notna(), "").map(str)
        assert table[expected.columns].to_dict("list") == expected.to_dict("list")


@official
@pytest.mark.data
def test_the_prepared_parts():
    sizes = [len(fetch_patient_feedback(part).data) for part in _PARTS]
    assert sizes == [3142, 1052, 1117]
    comments = fetch_patient_feedback("all")
    assert comments.ids.is_unique
    assert (comments.concepts == "yes").sum()["staff manner"] == 1387
    assert comments.metadata["quarter"].isna().sum() == 207
    assert comments.metadata["patient_rating"].isna().sum() == 288
    assert {f"{n:,}" for n in sizes} <= set(comments.DESCR.split())
