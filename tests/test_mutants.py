"""The list of deliberate faults is current: each can be made, in one place."""

import pytest

from .mutants import HOMES, MUTANTS, ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.where}: {m.breaks}")
def test_a_mutant_is_another_program(mutant):
    file = mutant.file(ROOT)
    before = file.read_text("utf-8")
    after = before.replace(mutant.old, mutant.new)
    assert after != before
    compile(after, file, "exec")
    assert all((ROOT / home).exists() for home in mutant.homes)


def test_there_are_mutants_of_every_folder():
    folders = {path.name for path in (ROOT / "skclif").iterdir() if path.is_dir()}
    folders -= {"__pycache__"}
    assert folders <= HOMES.keys()
    assert {mutant.where for mutant in MUTANTS} == HOMES.keys()
    assert len(MUTANTS) >= 60
