"""An audit whose label may depend on the texts past the concepts."""

import json

import pytest

from skclif._models.files import read_model

from ..folders import bits, done, lines, make_audit, records, reviews, run, write

QUICK = ["--residual-C", "0.1", "--method", "first_order", "--max-mistakes", "1"]
QUICK += ["--C", "1", "--concept-C", "1"]


@pytest.fixture(scope="module")
def audited(tiny_encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("residual")
    return make_audit(place, tiny_encoder, *QUICK, table=reviews(60))


def test_the_report_has_its_share_and_its_path(audited):
    written = json.loads((audited.out / "run.json").read_text(encoding="utf-8"))
    found = written["bottleneck"]
    assert "residual" in [verdict["name"] for verdict in found["verdicts"]]
    (share,) = [one for one in found["estimates"] if one["name"] == "residual"]
    assert share["unit"] == "share of nats"
    assert found["influence_by_path"]["not in the concepts"] > 0
    assert "path:not in the concepts" in lines(audited.out, "influence.csv")
    page = (audited.out / "audit.html").read_text(encoding="utf-8")
    assert "not in the concepts" in page


def test_decisions_and_replays_keep_it(audited, tmp_path):
    out = audited.copy(tmp_path)
    suspects = lines(out, "suspects.csv").head(2).assign(decision="accept")
    done("apply", out, write(tmp_path / "decisions.csv", suspects), "--quiet")
    first, second = records(out)
    assert first["parameters"]["residual_C"] == 0.1
    assert "Bit for bit" in done("replay", out).stdout
    clf = read_model(out / "model.safetensors").classifier
    assert clf.residual_coef_ is not None
    before = read_model(audited.out / "model.safetensors").classifier
    assert bits(clf) != bits(before)
    assert second["before"]["model"] == first["after"]["model"]


def test_it_needs_concepts(audited, tmp_path, tiny_encoder):
    result = run(
        *("audit", audited.file, "--text", "review", "--label", "stars", *QUICK),
        *("--model", tiny_encoder, "--out", tmp_path),
    )
    assert result.exit_code == 2
    assert "--residual-C 0.1 is for what the concepts do not hold" in result.stderr
    assert "Name them with --concept, or leave --residual-C out." in result.stderr


@pytest.mark.parametrize("value", ["0", "-1", "nan", "auto"])
def test_it_is_a_number_above_zero(value, audited, tmp_path):
    more = ["--text", "review", "--label", "stars", "--out", tmp_path]
    result = run("audit", audited.file, *more, "--residual-C", value)
    assert result.exit_code == 2
    assert "Invalid value for '--residual-C'" in result.stderr
    if value == "auto":
        assert "'auto' is not a number; give one such as 0.1." in result.stderr
