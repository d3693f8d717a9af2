"""Tables of every format: what the readers themselves promise."""

import csv
import hashlib
import json
import os
import tracemalloc

import pandas as pd
import pyarrow
import pytest

from skclif._storage.layout import Layout
from skclif._storage.sources import digest_of, state_of
from skclif._storage.tables import (
    read_columns,
    read_table,
    stream_lines,
    stream_table,
)
from skclif.exceptions import DataFileError

ROLES = {"text": "the text", "mood": "a concept"}
NESTED = [
    {"data": {"text": "Good soup"}, "annotations": [{"mood": "glad"}]},
    {"data": {"text": "Long wait"}, "annotations": []},
]


def flatten(records):
    """Return flat records of a made-up export, None for anything else."""
    if not all("data" in record for record in records):
        return None
    return [
        {
            "text": record["data"]["text"],
            "mood": next((a["mood"] for a in record["annotations"]), None),
        }
        for record in records
    ]


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_an_export_is_flattened_before_its_columns_are_looked_for(suffix, tmp_path):
    path = tmp_path / f"export{suffix}"
    lines = [json.dumps(record) for record in NESTED]
    text = "\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]"
    path.write_text(text)
    found = read_columns(path, ROLES, flatten=flatten)
    assert found == {"text": ["Good soup", "Long wait"], "mood": ["glad", None]}
    with pytest.raises(DataFileError, match="no column 'text'.*It has: 'data', 'ann"):
        read_columns(path, ROLES)


def test_what_is_no_export_is_read_as_it_is(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("text,other,mood\nGood,1,glad\n")
    seen = []
    found = read_columns(path, ROLES, flatten=seen.append)
    assert found == {"text": ["Good"], "mood": ["glad"]}
    assert seen == [[{"text": "Good", "other": "1", "mood": "glad"}]]


def test_rows_of_a_table_can_be_an_export(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text("data,annotations\nGood,glad\n")

    def of_rows(records):
        return [{"text": r["data"], "mood": r["annotations"]} for r in records]

    found = read_columns(path, ROLES, flatten=of_rows)
    assert found == {"text": ["Good"], "mood": ["glad"]}


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path):
    single, folder = tmp_path / "a", tmp_path / "b"
    single.write_bytes(b"a table")
    assert digest_of(single) == hashlib.sha256(b"a table").hexdigest()
    folder.mkdir()
    found = [digest_of(folder)]
    for name, content in (("1", b"x"), ("2", b"y"), ("1", b"z")):
        (folder / name).write_bytes(content)
        found.append(digest_of(folder))
    (folder / "2").rename(folder / "3")
    found.append(digest_of(folder))
    assert len(set(found)) == 5
    (folder / "3").rename(folder / "2")
    assert digest_of(folder) == found[3]


# --- Some rows at a time --------------------------------------------------------------

N_ROWS = 600  # more than two blocks
GAPS = (0, 254, 255, 256, 257, 599)
TEXTS_WITH_GAPS = [None if i in GAPS else f"text {i}" for i in range(N_ROWS)]


def long_table():
    """A table with gaps at the beginning, where blocks meet, and at the end."""
    names = [f"n{i}" for i in range(N_ROWS)]
    return pd.DataFrame({"name": names, "text": TEXTS_WITH_GAPS})


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet"])
def test_blocks_of_rows_hold_what_the_table_holds(tmp_path, suffix):
    path, table = tmp_path / f"table.{suffix}", long_table()
    write = {
        "csv": lambda: table.to_csv(path, index=False),
        "jsonl": lambda: table.to_json(path, orient="records", lines=True),
        "json": lambda: table.to_json(path, orient="records"),
        "parquet": lambda: table.to_parquet(path),
    }
    write[suffix]()
    roles = {"text": "the text", "name": "the identifier"}
    blocks = [*stream_table(path, roles, Layout())]
    assert max(len(column) for block in blocks for column in block.values()) <= 256
    found = {name: [v for block in blocks for v in block[name]] for name in roles}
    assert found["name"] == table["name"].tolist()
    assert [text or None for text in found["text"]] == TEXTS_WITH_GAPS


@pytest.mark.parametrize("name", ["table.parquet", ""])  # a file, and its folder
def test_a_long_parquet_file_is_not_kept_in_memory(tmp_path, name):
    texts = [os.urandom(250).hex() for _ in range(20_000)]
    path = tmp_path / "table.parquet"
    pd.DataFrame({"text": texts}).to_parquet(path, row_group_size=1000)
    assert path.stat().st_size > 9e6
    before, most = pyarrow.total_allocated_bytes(), 0
    tracemalloc.start()  # what is read of a file is bytes of Python
    try:
        for _ in stream_table(tmp_path / name, {"text": "the text"}, Layout()):
            arrow = pyarrow.total_allocated_bytes() - before
            most = max(most, arrow + tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert most < 5e6


def test_empty_rows_count_unless_they_are_the_last(tmp_path):
    path = tmp_path / "table.csv"
    rows = ["a,b", *[f"{i},x" for i in range(255)], ",", ",", "last,y", ",", ","]
    path.write_text("\n".join(rows))
    blocks = [*stream_table(path, {"a": "the text"}, Layout())]
    found = [value for block in blocks for value in block["a"]]
    assert found == [*map(str, range(255)), "", "", "last"]
    assert read_table(path, {"a": "the text"}, Layout()).columns["a"] == found


def test_readers_of_delimited_text_do_not_disturb_each_other(tmp_path):
    long = "x" * (csv.field_size_limit() + 1)
    for name in ("a", "b"):
        rows = [f"{i},{long if i > 500 else ''}" for i in range(505)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["n,t", *rows]))
    before = csv.field_size_limit()
    streams = [
        stream_table(tmp_path / f"{name}.csv", {"t": "the text"}, Layout())
        for name in ("a", "b")
    ]
    for _ in zip(*streams, strict=True):
        assert csv.field_size_limit() == before


def test_every_line_without_what_ends_it(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffone\r\n\n  two \nthree".encode())
    assert [*stream_lines(path, "utf-8")] == ["one", "", "  two ", "three"]


def test_the_state_of_a_file_is_that_of_what_is_read(tmp_path):
    long_table().to_parquet(tmp_path / "a.parquet")
    before = state_of(tmp_path)
    (tmp_path / "vectors.npy").write_bytes(b"beside it")
    assert state_of(tmp_path) == before
    long_table().head(9).to_parquet(tmp_path / "a.parquet")
    assert state_of(tmp_path) != before
