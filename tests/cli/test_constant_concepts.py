"""Concepts with one value in an audit, and decisions that leave one value."""

import json
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from skclif._models.files import read_model
from skclif.exceptions import ConstantConceptWarning

from .. import folders
from ..folders import COLUMNS, OPTIONS, Audited, Truth, bits, done, refused, run

pytestmark = pytest.mark.filterwarnings(
    "ignore:[0-9]+ concepts? ha:skclif.exceptions.ConstantConceptWarning"
)


@pytest.fixture(scope="module")
def audited(tiny_encoder, tmp_path_factory):
    """An audit of reviews whose service is always good; in one nobody knows."""
    place = tmp_path_factory.mktemp("constant")
    table = folders.reviews().assign(service="Positive")
    table.loc[3, "service"] = ""
    file, out = place / "reviews.csv", place / "audited"
    table.to_csv(file, index=False)
    options = [*COLUMNS, *OPTIONS, "--out", out, "--model", tiny_encoder]
    said = run("audit", file, *options)
    assert said.exit_code == 0, said.output
    return Audited(file, Path(out), tiny_encoder), said.stderr


def _model(out):
    return read_model(out / "model.safetensors").classifier


def test_an_audit_goes_on_and_names_it(audited):
    out, said = audited[0].out, audited[1]
    assert "Concept 'service' has one value only, 'Positive', in the rows to" in said
    assert "has only one observed value" not in said  # in the words of Python
    assert _model(out).concept_classes_[2].tolist() == ["Positive"]
    suspects = folders.lines(out, "suspects.csv")
    assert "food" in set(suspects["path"])
    assert "service" not in set(suspects["path"])
    about = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert any("'service' has one value only" in note for note in about["warnings"])


def test_nobody_is_asked_for_the_only_value(audited, tmp_path):
    place, file = audited[0].copy(tmp_path), tmp_path / "tasks.json"
    done("tasks", place, "--from", "next", "--limit", 1000, "--out", file)
    tasks = json.loads(file.read_text(encoding="utf-8"))
    asked = {task["data"]["path"] for task in tasks}
    assert "food" in asked
    assert "service" not in asked


@contextmanager
def in_words_of_the_command():
    """Let no warning through that speaks of Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConstantConceptWarning)
        yield


def test_forgetting_rows_that_leaves_one_value(audited, tmp_path):
    out, truth = audited[0].copy(tmp_path), Truth(audited[0])
    gone = [i for i in truth.train if truth.value(i, "food") in ("Negative", "unknown")]
    (tmp_path / "ids.txt").write_text("\n".join(gone), encoding="utf-8")
    with in_words_of_the_command():
        said = done("forget", out, tmp_path / "ids.txt").stderr
    assert "Concept 'food' has one value left, 'Positive', in the rows to train" in said
    assert "'service' has one value left" not in said  # it had no other
    assert _model(out).concept_classes_[0].tolist() == ["Positive"]


def test_decisions_that_leave_one_value(audited, tmp_path):
    out, truth = audited[0].copy(tmp_path), Truth(audited[0])
    ids = [*truth.free(food="Negative"), *truth.free(food="unknown")]
    decisions = [truth.line("annotate", i, "food", "Positive") for i in ids]
    file = folders.write(tmp_path / "decisions.csv", decisions)
    with in_words_of_the_command():
        said = done("apply", out, file).stderr
    assert "Concept 'food' has one value left, 'Positive', in the rows to train" in said
    for decision in decisions:
        truth.change("annotate", decision["id"], "food", "Positive")
    model, fitted = _model(out), truth.fit()
    assert model.concept_classes_[0].tolist() == ["Positive"]
    X = truth.X.to_numpy()
    np.testing.assert_allclose(
        model.predict_proba(X), fitted.predict_proba(X), rtol=0, atol=1e-8
    )
    with in_words_of_the_command():
        done("replay", out)
    back = truth.line("annotate", ids[0], "food", "Negative")
    back["current"] = "Positive"
    file = folders.write(tmp_path / "back.csv", [back])
    said = refused("apply", out, file, "--quiet")
    assert "A second value takes a new audit, of a file that has it." in said
    gone = truth.free(2)
    forgotten = tmp_path / "ids.txt"
    forgotten.write_text("\n".join(gone), encoding="utf-8")
    done("forget", out, forgotten)
    truth.forget(gone)
    assert bits(_model(out)) == bits(truth.fit())
