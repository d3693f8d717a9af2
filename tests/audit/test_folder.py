"""The folder of an audit, as readers see it while others write, and after kills."""

import shutil

import pytest

from skclif import AuditTrail
from skclif._audit.folder import AuditFolder
from skclif.exceptions import TrailError

from .. import folders
from ..folders import Truth, bits, done


@pytest.fixture(scope="module")
def old(tiny_encoder, tmp_path_factory):
    """The folder of an audit."""
    return folders.make_audit(tmp_path_factory.mktemp("audit"), tiny_encoder)


@pytest.fixture(scope="module")
def new(old, tmp_path_factory):
    """The same, when rows were forgotten: rows, model and trail have changed."""
    place = tmp_path_factory.mktemp("new")
    out, ids = old.copy(place), place / "ids.txt"
    ids.write_text("\n".join(Truth(old).free(2, stars=4)), encoding="utf-8")
    done("forget", out, ids)
    return out


def _put(source, out, name, waits=False):
    """Put a file of a folder into another, in its place or in line for it."""
    shutil.copy(source / name, out / (f"{name}.next" if waits else name))


STORED = ("rows.safetensors", "model.safetensors")


@pytest.mark.parametrize("n_placed", [0, 1, 2])
def test_a_state_that_is_recorded_is_read_wherever_its_files_are(
    n_placed, old, new, tmp_path
):
    """So it is in the middle of a commit, or after a kill there."""
    out = old.copy(tmp_path)
    _put(new, out, "trail.jsonl")
    for number, name in enumerate(STORED):
        _put(new, out, name, waits=number >= n_placed)
    before = folders.contents(out)
    records, rows, model = AuditFolder(out).snapshot()
    assert folders.contents(out) == before
    expected = AuditFolder(new).snapshot()
    assert records == expected[0]
    assert rows.content() == expected[1].content()
    assert bits(model) == bits(expected[2])
    assert "Bit for bit" in done("replay", out).stdout
    assert folders.contents(out) == before


def test_a_writer_removes_what_a_killed_one_has_left(old, new, tmp_path):
    out = old.copy(tmp_path)
    _put(new, out, "trail.jsonl")
    for name in STORED:
        _put(new, out, name, waits=True)
    for name in (".skclif.lock", ".trail.jsonl.lock", ".model.safetensors.47.part"):
        (out / name).touch()
    (out / "embeddings.sqlite").unlink()
    with AuditFolder(out).to_write() as records:
        assert len(records) == 2
    assert {path.name for path in out.iterdir()} == {
        path.name for path in old.out.iterdir()
    } - {"embeddings.sqlite"}


def test_a_state_that_is_not_recorded_yet_is_not_read(old, new, tmp_path):
    out = old.copy(tmp_path)
    for name in STORED:
        _put(new, out, name, waits=True)
    records, rows, model = AuditFolder(out).snapshot()
    assert len(records) == 1
    assert rows.content() == (old.out / "rows.safetensors").read_bytes()
    assert bits(model) == bits(AuditFolder(old.out).snapshot()[2])


class _Overtaken(AuditTrail):
    """A trail whose first reader is overtaken by a writer."""

    def __init__(self, path, commit, when):
        super().__init__(path)
        self.commit, self.when, self.n_reads = commit, when, 0

    def read(self):
        self.n_reads += 1
        if (self.n_reads, self.when) == (2, "the files were read"):
            self.commit()
        records = super().read()
        if (self.n_reads, self.when) == (1, "the trail was read"):
            self.commit()
        return records


@pytest.mark.parametrize("when", ["the trail was read", "the files were read"])
def test_a_reader_that_is_overtaken_reads_the_new_state(when, old, new, tmp_path):
    out = old.copy(tmp_path)

    def commit():
        for name in (*STORED, "trail.jsonl"):
            _put(new, out, name)

    folder = AuditFolder(out)
    folder.trail = _Overtaken(out / "trail.jsonl", commit, when)
    records, rows, model = folder.snapshot()
    assert folder.trail.n_reads > 2
    assert len(records) == 2
    assert rows.content() == (new / "rows.safetensors").read_bytes()
    assert bits(model) == bits(AuditFolder(new).snapshot()[2])


def test_files_that_do_not_go_together_are_refused_in_the_end(old, new, tmp_path):
    out = old.copy(tmp_path)
    _put(new, out, "rows.safetensors")
    with pytest.raises(TrailError, match="is not the file that trail.jsonl is about"):
        AuditFolder(out).snapshot()


def test_a_model_that_is_not_the_recorded_one_is_none(old, new, tmp_path):
    out = old.copy(tmp_path)
    _put(new, out, "model.safetensors")
    records, rows, model = AuditFolder(out).snapshot()
    assert model is None
    assert len(records) == 1
    (out / "model.safetensors").unlink()
    assert AuditFolder(out).snapshot()[2] is None
