"""Tables of every format: what the readers themselves promise."""

import hashlib
import json

import pytest

from skclif._storage.sources import digest_of
from skclif._storage.tables import read_columns
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
