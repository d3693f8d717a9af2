"""Files of audits that recorded no way of reading give the values of then."""

import json

import numpy as np
import pandas as pd
import pytest

from skclif.datasets._before import reviews_as_before
from skclif.exceptions import DataFileError

COLUMNS = {"text": "text", "label": "label", "concepts": ["c"], "encoding": "utf-8"}
COLUMNS |= {"id": None, "group": None}


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("r.tsv", 'text\tlabel\tc\n"a\tb"\t1\t"x"\nd\t2\ty\n', ["x", "y"]),
        ("r.csv", "text;label;c\na;1;4,5\nb;2;5,0\n", ["4,5", "5,0"]),
        ("r.csv", "text,label,c\na,1,TRUE\nb,2,true\n", ["TRUE", "true"]),
        ("r.csv", 'text,label,c\na,1,"[{""rating"": 4}]"\nb,2,5\n', None),
        ("r.csv", "text,label,c\na,1,3\nb,2,NA\n", [3, np.nan]),
    ],
)
def test_delimited_text(name, content, expected, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    found = reviews_as_before(path, **COLUMNS)
    expected = ['[{"rating": 4}]', "5"] if expected is None else expected
    assert (
        found.concepts["c"].fillna(-1).tolist()
        == pd.Series(expected).fillna(-1).tolist()
    )
    assert found.target.tolist() == [1, 2] and found.groups is None
    assert found.ids.tolist() == ["row-1", "row-2"]
    assert found.data.iloc[0] == ("a\tb" if name == "r.tsv" else "a")


def test_kinds_of_json(tmp_path):
    path = tmp_path / "r.jsonl"

    def read(**columns):
        rows = [
            dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
        path.write_text("\n".join(map(json.dumps, rows)))
        return reviews_as_before(path, **COLUMNS | {"id": "i", "group": "g"})

    plain = {
        "i": ["u", "v"],
        "text": [1.0, "b"],
        "label": [2**60 + 1, 3],
        "g": ["k", "l"],
    }
    found = read(**plain, c=[True, None])
    assert found.data.tolist() == ["1.0", "b"] and found.ids.tolist() == ["u", "v"]
    assert found.target.tolist() == [2**60 + 1, 3]
    assert found.concepts["c"].iloc[0] is True and found.groups.tolist() == ["k", "l"]
    for column, cells, problem in (
        ("c", ["x", 3], "column 'c', row 1: text and numbers are mixed"),
        ("c", [["x"], 3], "column 'c', row 1: neither text nor a number"),
        ("c", ["\ud800", "x"], "column 'c', row 1: half a character"),
        ("text", ["a", " "], "column 'text', row 2: the text is empty"),
        ("i", ["u", "u"], "column 'i', rows 1, 2: the same identifier 'u'"),
        ("i", ["u", None], "column 'i', row 2: the identifier is empty"),
    ):
        with pytest.raises(DataFileError, match=problem):
            read(**{**plain, "c": ["x", "y"], column: cells})


def test_an_audit_without_concepts(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("text,label\na,1\nb,2\n")
    assert reviews_as_before(path, **COLUMNS | {"concepts": []}).concepts is None
