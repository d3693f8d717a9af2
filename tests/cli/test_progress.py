"""Commands show progress to people at a terminal, and to nobody else."""

import io

import pytest

from skclif._inputs import progress
from skclif.cli import console as consoles
from skclif.cli.console import Console

from .. import folders
from ..folders import COLUMNS, OPTIONS, Truth, done


@pytest.fixture(scope="module")
def audited(tiny_encoder, tmp_path_factory):
    """A folder of an audit, and what it said to a person at a terminal."""
    place = tmp_path_factory.mktemp("audit")
    file, out = place / "reviews.csv", place / "audited"
    folders.reviews().to_csv(file, index=False)
    named = ["--out", out, "--model", tiny_encoder, *OPTIONS]
    with pytest.MonkeyPatch.context() as context:
        context.setattr(Console, "shows_bars", True)
        context.setattr(progress, "can_draw_again", lambda stream: True)
        context.setattr(progress, "DELAY", 0)
        context.setattr(progress, "INTERVAL", 0)
        said = done("audit", file, *COLUMNS, *named).stderr
    return folders.Audited(file, out, tiny_encoder), said


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("stderr", [_Terminal(), io.StringIO()])
def test_bars_are_for_people_at_a_terminal(quiet, stderr, monkeypatch):
    monkeypatch.setattr(consoles.sys, "stderr", stderr)
    assert Console(quiet).shows_bars == (stderr.isatty() and not quiet)


STAGES = {
    "apply": ["Solving again", "Fitting the label", "Judging values"],
    "forget": ["Fitting the concepts", "Fitting the label", "Influence by newton"],
    "replay": ["Doing again: 100%"],
}


def test_an_audit_shows_how_far_it_is(audited):
    _, said = audited
    for stage in ("Fitting the concepts", "Influence by newton", "Comparing changes"):
        assert f"\r{stage}: " in said


@pytest.mark.parametrize("command", STAGES)
def test_commands_show_how_far_they_are(command, audited, tmp_path, bars, monkeypatch):
    monkeypatch.setattr(Console, "shows_bars", True)
    audited, _ = audited
    out, file = audited.copy(tmp_path), tmp_path / "file.csv"
    truth = Truth(audited)
    ids = truth.free(6, stars=2)
    if command == "forget":
        file.write_text(f"{ids[0]}\n", encoding="utf-8")
    if command == "apply":
        folders.write(file, [truth.line("relabel", ids[0], "label", 4)])
    said = done(command, out, *([] if command == "replay" else [file])).stderr
    for stage in STAGES[command]:
        assert f"\r{stage}" in said
