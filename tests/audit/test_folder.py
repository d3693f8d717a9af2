"""The folder of an audit, as readers see it while others write, and after kills."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from skclif import AuditTrail, ConceptBottleneckClassifier
from skclif._audit.folder import AuditedRows, AuditFolder, sha256
from skclif._audit.revisions import Change, Place, apply_changes, edit, fit
from skclif._audit.rows import Reviews
from skclif.exceptions import TrailError

from .. import folders
from ..data import make_concept_data
from ..folders import Truth, bits, done


@pytest.fixture(scope="module")
def old(audited):
    """The folder of an audit."""
    return audited


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


# --- Weights of rows ------------------------------------------------------------------


def _weighted(weights):
    """Return an audit's rows of which some count less, their fit and its content."""
    X, y, concepts = make_concept_data(60)
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(60)), strict=True)
    rows = Reviews.from_parts(ids, texts, y, concepts, weights=weights)
    rows = rows.embedded(np.float32(X))
    return rows.take(np.arange(60) < 45), rows.take(np.arange(60) >= 45)


def test_weights_of_rows_are_kept_and_count(tmp_path):
    weights = np.where(np.arange(60) % 2, 1 / 3, 1.0)
    train, held_out = _weighted(weights)
    about = {"embedder": {"model": "m"}}
    revision = fit(train, {}, Place("cpu", 1))
    expected = ConceptBottleneckClassifier().fit(
        train.features, train.labels, weights[:45], concepts=train.concepts
    )
    assert (revision.model.coef_ == expected.coef_).all()
    content = AuditedRows(train, held_out, about).content()
    (tmp_path / "rows.safetensors").write_bytes(content)
    record = {"number": 1, "files": {"rows.safetensors": sha256(content)}}
    stored = AuditFolder(tmp_path).rows([record])
    assert (stored.train.weights == weights[:45]).all()
    assert (stored.held_out.weights == weights[45:]).all()
    # A row of a third, dropped and taken back by a person.
    change = Change("reweight", "id1", "", "row", 1 / 3, 0.0)
    edited, content = edit(revision, [change], Place("cpu", 1), held_out)
    assert edited.rows.weights[1] == 0
    again = apply_changes(edited.rows, [replace(change, new=1 / 3)])
    assert (again.weights == train.weights).all()
    assert content["before"]["weights"] != content["after"]["weights"]


def test_files_of_rows_without_weights_are_as_they_were():
    one, _ = _weighted(None)
    explicit, _ = _weighted(np.ones(60))
    contents = [AuditedRows(rows, rows, {}).content() for rows in (one, explicit)]
    assert contents[0] == contents[1]
    assert b'"weights"' not in contents[0]
