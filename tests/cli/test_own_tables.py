"""Decisions are not written into a table that is about to be written anew."""

import shutil

import pytest

from .. import folders


@pytest.mark.parametrize("name", ["suspects.csv", "suggestions.csv"])
def test_a_table_of_the_report_itself_is_not_applied(name, audited, tmp_path):
    out = audited.copy(tmp_path)
    table = folders.lines(out, name).iloc[:2].assign(decision="accept")
    folders.write(out / name, table)
    before = folders.contents(out)
    said = folders.refused("apply", out, out / name, "--quiet")
    assert f"{name} is replaced when decisions are applied" in said
    assert folders.contents(out) == before
    copied = shutil.copy(out / name, tmp_path / name)
    assert folders.run("apply", out, copied).exit_code == 0
