"""An audit that holds out the latest texts: what it says, and what it refuses."""

import json
import re
from types import SimpleNamespace

import pytest

from ..folders import COLUMNS, done, lines, refused, reviews, write

QUICK = ["--method", "first_order", "--max-mistakes", "1", "--C", "1"]
QUICK += ["--concept-C", "1", "--time", "quarter"]


def dated(n_rows=52):
    """Return reviews, the latest first, of which every six are of one quarter."""
    quarters = [f"{2024 - k // 24}Q{4 - k // 6 % 4}" for k in range(n_rows)]
    return reviews(n_rows).assign(quarter=quarters)


@pytest.fixture(scope="module")
def audited(tiny_encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("time")
    file, out = write(place / "reviews.csv", dated()), place / "audited"
    options = [*COLUMNS, *QUICK, "--model", tiny_encoder, "--out", out]
    return SimpleNamespace(out=out, result=done("audit", file, *options))


def test_the_two_latest_quarters_are_held_out(audited):
    """A quarter of 52 rows is 13; two quarters of 2024 have 12, three have 18."""
    held_out = set(lines(audited.out, "predictions.csv")["id"])
    assert held_out == set(dated()["review_id"][:12])


def test_where_held_out_rows_begin_is_said_everywhere(audited):
    said = "Held out: the latest texts, from 2024-07-01 on by 'quarter'."
    assert said in audited.result.stderr
    run = json.loads((audited.out / "run.json").read_text(encoding="utf-8"))
    assert run["data"]["time"] == {"column": "quarter", "from": "2024-07-01"}
    page = (audited.out / "audit.html").read_text(encoding="utf-8")
    assert "trained on 40 texts and evaluated on the latest, those" in page
    assert "<bdi>2024-07-01</bdi> on by the column <bdi>quarter</bdi>." in page


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("soon", r"column 'quarter', row 2: 'soon' is no time; write all as dates"),
        ("", "column 'quarter', row 2: no value.*with --skip-incomplete"),
        (
            "2024-07-01T00:00Z",
            "some times have a zone.*name another column with --time",
        ),
    ],
)
def test_times_that_cannot_be_read_are_refused(value, message, tmp_path):
    table = dated()
    table.loc[1, "quarter"] = value
    file = write(tmp_path / "reviews.csv", table)
    line = refused(
        "audit", file, *COLUMNS, *QUICK, "--quiet", "--out", tmp_path / "out"
    )
    assert re.search(message, line), line
