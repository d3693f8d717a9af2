"""Concepts with one value in an audit, and decisions that leave one value."""

import json
from pathlib import Path

import numpy as np
import pytest

from skclif._models.files import read_model
from skclif.exceptions import ConstantConceptWarning

from .. import folders
from ..folders import COLUMNS, OPTIONS, Audited, Truth, bits, done, run

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


def test_decisions_that_leave_one_value(audited, tmp_path):
    out, truth = audited[0].copy(tmp_path), Truth(audited[0])
    ids = [*truth.free(food="Negative"), *truth.free(food="unknown")]
    decisions = [truth.line("annotate", i, "food", "Positive") for i in ids]
    file = folders.write(tmp_path / "decisions.csv", decisions)
    with pytest.warns(ConstantConceptWarning, match=r"'food' \('Positive'\)"):
        done("apply", out, file)
    for decision in decisions:
        truth.change("annotate", decision["id"], "food", "Positive")
    model, fitted = _model(out), truth.fit()
    assert model.concept_classes_[0].tolist() == ["Positive"]
    X = truth.X.to_numpy()
    np.testing.assert_allclose(
        model.predict_proba(X), fitted.predict_proba(X), rtol=0, atol=1e-8
    )
    done("replay", out)
    gone = truth.free(2)
    forgotten = tmp_path / "ids.txt"
    forgotten.write_text("\n".join(gone), encoding="utf-8")
    done("forget", out, forgotten)
    truth.forget(gone)
    assert bits(_model(out)) == bits(truth.fit())
