"""Doing again what a trail records: the same bits, or the record that differs."""

import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from skclif import (
    AuditTrail,
    ConceptBottleneckClassifier,
    ReplayResult,
    SentenceEmbedder,
    load_model,
    replay,
)
from skclif._audit import trail
from skclif._audit.fingerprints import model_fingerprint
from skclif._inputs.devices import same_threads
from skclif._models.files import read_model
from skclif.datasets import load_reviews
from skclif.exceptions import TrailError

from .. import folders
from ..folders import CONCEPTS, Truth, bits, done, refused, run

replaying = import_module("skclif._audit.replay")
READ = {"text": "review", "label": "stars", "concepts": CONCEPTS}
READ |= {"id": "review_id", "group": "city"}
OWN = {"format_version", "kind", "when", "by", "why", "environment"}
OWN |= {"number", "previous", "hash"}  # what every record has
WORDS = "record {}, {}: the same"
OLD = Path(__file__).parent / "old_trail"


@pytest.fixture(scope="module")
def repaired(audited, tmp_path_factory):
    """A folder with five records: audit, two edits, forgetting, an edit."""
    place = tmp_path_factory.mktemp("repaired")
    out, truth = audited.copy(place), Truth(audited)
    ids, file = truth.free(6, stars=2), place / "decisions.csv"

    def apply(*changes):
        done("apply", out, folders.write(file, [truth.line(*c) for c in changes]))
        for change in changes:
            truth.change(*change)

    made = truth.free(food=None)[0]
    apply(("relabel", ids[0], "label", 4), ("annotate", made, "food", "Positive"))
    apply(("drop", ids[1], "row", ""), ("reweight", ids[2], "row", 2))
    asked = [ids[0], ids[3], truth.held_out[2]]
    (place / "ids.txt").write_text("\n".join(asked), encoding="utf-8")
    done("forget", out, place / "ids.txt", "--why", "asked for")
    truth.forget(asked)
    apply(("relabel", ids[4], "label", 5), ("annotate", made, "food", "unannotated"))
    return folders.Audited(audited.file, out, audited.model), truth, asked


@pytest.fixture
def table(audited):
    return pd.read_csv(audited.file, dtype=str, keep_default_na=False)


def _model(out):
    return read_model(out / "model.safetensors").classifier


# --- The command ----------------------------------------------------------------------


def test_an_audit_alone_is_the_same(audited):
    result = done("replay", audited.out)
    assert result.stdout.splitlines() == [
        "record 1, fitted to 90 rows: the same",
        f"Bit for bit, this is the model in {audited.out / 'model.safetensors'}.",
    ]


def test_the_rows_of_the_folder_give_the_same_bits(repaired):
    """Of the forgotten the folder has nothing, so it begins where they were."""
    (audited, _, _) = repaired
    result = done("replay", audited.out)
    first, second, third, *rest, last = result.stdout.splitlines()
    assert first.startswith("record 1, fitted to 90 rows: not done")
    assert "its rows were forgotten in record 4" in first
    assert second.startswith("record 2, 1 × relabel, 1 × annotate: not done")
    assert third.startswith("record 3, 1 × reweight, 1 × drop: not done")
    assert rest == [
        WORDS.format(4, "3 rows forgotten"),
        WORDS.format(5, "1 × relabel, 1 × annotate"),
    ]
    assert last.startswith("Bit for bit, this is the model in")


def test_the_file_of_the_audit_gives_the_same_bits(repaired):
    (audited, _, _) = repaired
    before = folders.contents(audited.out)
    result = done("replay", audited.out, audited.file)
    assert [line[:8] for line in result.stdout.splitlines()[:-1]] == [
        f"record {k}" for k in range(1, 6)
    ]
    assert "DIFFERS" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Bit for bit")
    assert folders.contents(audited.out) == before


def _replay_with(table, folder, tmp_path, *more):
    file = tmp_path / "changed.csv"
    table.to_csv(file, index=False)
    return run("replay", folder.out, file, "--quiet", *more)


def test_rows_in_another_order_are_the_same(repaired, table, tmp_path):
    result = _replay_with(table.iloc[::-1], repaired[0], tmp_path)
    assert result.exit_code == 0, result.output


def test_rows_that_are_not_of_the_audit_are_left_out(repaired, table, tmp_path):
    more = table.iloc[:9].assign(review_id=[f"new-{k}" for k in range(9)])
    more["review"] += " and more"
    result = _replay_with(pd.concat([more, table]), repaired[0], tmp_path)
    assert result.exit_code == 0, result.output
    assert "DIFFERS" not in result.stdout


def test_rows_that_are_left_out_say_nothing_of_what_values_are(
    audited, table, tmp_path
):
    """A label or annotation in words makes words of the numbers beside it."""
    more = table.iloc[:1].assign(review_id="new", stars="five", price="cheap")
    result = _replay_with(pd.concat([more, table]), audited, tmp_path)
    assert result.exit_code == 0, result.output
    assert "DIFFERS" not in result.stdout


def test_the_forgotten_may_be_missing_in_the_file(repaired, table, tmp_path):
    audited, _, asked = repaired
    left = table[~table["review_id"].isin(asked)]
    result = _replay_with(left, audited, tmp_path)
    assert result.exit_code == 0, result.output


def _change(table, i, name, new):
    table.loc[table["review_id"] == i, name] = new


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("text", "the text of row {id!r} differs"),
        ("label", "the label or an annotation of row {id!r} differs"),
        ("annotation", "the label or an annotation of row {id!r} differs"),
        ("annotation gone", "the label or an annotation of row {id!r} differs"),
        ("row", "row {id!r} is not in the data"),
        ("another text", "the text of row {id!r} differs"),
        ("group", "ids, texts, labels, groups or annotations differ"),
    ],
)
@pytest.mark.parametrize("where", ["audit", "forgotten"])
def test_a_row_that_is_not_as_it_was_is_named(
    what, message, where, audited, repaired, table, tmp_path
):
    truth = repaired[1]
    folder, number = (audited, 1) if where == "audit" else (repaired[0], 4)
    i = truth.free(food="Positive", stars=5)[0]
    rows = table.set_index("review_id")
    if what == "text":
        _change(table, i, "review", rows.loc[i, "review"] + " ")
    elif what == "another text":
        _change(table, i, "review", rows.loc[truth.train[0], "review"])
    elif what == "label":
        _change(table, i, "stars", "1")
    elif what == "annotation":
        _change(table, i, "food", "Negative")
    elif what == "annotation gone":
        _change(table, i, "food", "")
    elif what == "group":
        _change(table, i, "city", "Rome")
    else:
        table = table[table["review_id"] != i]
    result = _replay_with(table, folder, tmp_path)  # without --model
    assert result.exit_code == 1
    (line,) = [part for part in result.stdout.splitlines() if "DIFFERS" in part]
    assert line.startswith(f"record {number}, ")
    assert message.format(id=i) in line
    assert "Bit for bit" not in result.stdout


def test_records_after_one_that_differs_are_not_done(repaired, table, tmp_path):
    audited, truth, _ = repaired
    _change(table, truth.free(stars=5)[0], "stars", "1")
    result = _replay_with(table, audited, tmp_path, "--json")
    assert result.exit_code == 1
    assert result.stderr == ""
    said = json.loads(result.stdout)
    assert said["same"] is False
    assert said["differs_at"] == 4
    assert said["steps"][-1]["same"] is None
    assert "record 4 differs" in said["steps"][-1]["reason"]


def test_it_says_as_json_what_came_out(repaired):
    result = done("replay", repaired[0].out, "--json", "--quiet")
    assert result.stderr == ""
    said = json.loads(result.stdout)
    assert (said["same"], said["differs_at"]) == (True, None)
    assert said["model_is_recorded"] is True
    assert [step["same"] for step in said["steps"]] == [None, None, None, True, True]
    assert [step["kind"] for step in said["steps"]] == [
        *("fit", "edit", "edit", "forget", "edit"),
    ]
    assert said["warnings"] == []


@pytest.mark.parametrize("trouble", ["changed", "missing"])
def test_a_model_that_is_not_the_one_of_the_trail(trouble, repaired, tmp_path):
    out = repaired[0].copy(tmp_path)
    content = bytearray((out / "model.safetensors").read_bytes())
    (out / "model.safetensors").unlink()
    if trouble == "changed":
        content[-1] ^= 1
        (out / "model.safetensors").write_bytes(content)
    result = run("replay", out)
    assert result.exit_code == 1
    assert "is missing, or is not the file that was recorded" in result.stdout
    assert "DIFFERS" not in result.stdout
    said = json.loads(run("replay", out, "--json").stdout)
    assert (said["same"], said["model_is_recorded"]) == (True, False)


def test_the_model_can_be_saved(repaired, tmp_path):
    audited, _, _ = repaired
    out = audited.copy(tmp_path)
    (out / "model.safetensors").unlink()
    path = tmp_path / "again.safetensors"
    result = run("replay", out, "--save", path)
    assert f"The model is in {path}" in result.stdout
    assert path.read_bytes() == (audited.out / "model.safetensors").read_bytes()
    shutil.copy(path, out / "model.safetensors")
    done("replay", out)


def test_a_model_that_differs_is_not_saved(audited, table, tmp_path):
    _change(table, Truth(audited).train[0], "food", "")
    _change(table, Truth(audited).train[1], "stars", "")
    table = table[table["stars"] != ""]
    path = tmp_path / "again.safetensors"
    result = _replay_with(table, audited, tmp_path, "--save", path)
    assert result.exit_code == 1
    assert not path.exists()


def test_a_saved_model_predicts_what_the_stored_one_does(repaired, tmp_path):
    audited, truth, _ = repaired
    path = tmp_path / "again.safetensors"
    done("replay", audited.out, audited.file, "--save", path)
    model = load_model(path, model=audited.model)
    assert bits(model[-1]) == bits(_model(audited.out))
    X = truth.X.to_numpy()
    np.testing.assert_allclose(
        model[-1].predict_proba(X), truth.fit().predict_proba(X), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"review": "text"}, "has no column 'review'"),
        ({"food": "foods"}, "has no column 'food'.* Did you mean 'foods'"),
        (None, "There is no file"),
    ],
)
def test_a_file_that_cannot_be_read(change, message, audited, table, tmp_path):
    file = tmp_path / "other.csv"
    if change is not None:
        table.rename(columns=change).to_csv(file, index=False)
    assert re.search(message, refused("replay", audited.out, file, "--quiet"))


def test_where_to_save_has_to_be_there(audited, tmp_path):
    path = tmp_path / "nowhere" / "again.safetensors"
    line = refused("replay", audited.out, "--quiet", "--save", path)
    assert "nowhere" in line
    assert ".part" not in line


def test_of_a_demo_no_file_can_be_given(audited, tmp_path):
    """Its reviews are made up; this folder only says that it is one."""
    from dataclasses import replace

    from skclif._audit.folder import AuditFolder

    out = tmp_path / "demo"
    out.mkdir()
    folder, source = AuditFolder(out), AuditFolder(audited.out)
    with source.to_write() as records:
        rows = source.rows(records)
        revision = source.revision(rows, records)
    rows = replace(rows, about={**rows.about, "command": "demo"})
    content = {n: part for n, part in records[0].items() if n not in {*OWN, "files"}}
    with folder.to_write():
        folder.commit("fit", content, revision, rows)
    line = refused("replay", out, audited.file, "--quiet")
    assert "A demo was not made from a file of yours; leave out FILE" in line
    done("replay", out)


def test_labels_in_words_in_one_file_and_numbers_in_the_other(tiny_encoder, tmp_path):
    """What is a number in one file stands beside words in another."""
    table, test = folders.reviews(60), folders.reviews(40, seed=2)
    test["review_id"] = "test-" + test["review_id"]
    test["price"] = ["cheap" if k % 3 == 0 else p for k, p in enumerate(test["price"])]
    test.to_csv(tmp_path / "test.csv", index=False)
    audited = folders.make_audit(
        tmp_path, tiny_encoder, "--test", tmp_path / "test.csv", table=table
    )
    rows = table.set_index("review_id")
    i = rows.index[rows["price"] == "2"][0]
    line = {"decision": "accept", "kind": "annotate", "id": i, "path": "price"}
    line |= {"text_hash": folders.short_hash(rows.loc[i, "review"])}
    line |= {"current": "2", "proposed": "3"}
    done("apply", audited.out, folders.write(tmp_path / "d.csv", [line]))
    assert folders.records(audited.out)[1]["changes"][0]["new"] == "3"
    done("replay", audited.out)
    result = done("replay", audited.out, audited.file)
    assert "DIFFERS" not in result.stdout


def test_an_audit_of_the_black_box_can_be_replayed(tiny_encoder, tmp_path):
    file, out = tmp_path / "reviews.csv", tmp_path / "out"
    folders.reviews(60).to_csv(file, index=False)
    columns, places = folders.COLUMNS[:4], ["--out", out, "--model", tiny_encoder]
    done("audit", file, *columns, *folders.OPTIONS, *places)
    for arguments in (["replay", out], ["replay", out, file]):
        assert done(*arguments).stdout.splitlines()[-1].startswith("Bit for bit")


def test_it_is_done_after_several_fits(audited, tmp_path):
    out = audited.copy(tmp_path)
    places = ["--out", out, "--model", audited.model, "--concept-C", "0.3"]
    done("audit", audited.file, *folders.COLUMNS, *folders.OPTIONS, *places)
    lines = done("replay", out, audited.file).stdout.splitlines()
    assert lines[0] == "record 1, fitted to 90 rows: not done: record 2 fits again"
    assert lines[1] == WORDS.format(2, "fitted to 90 rows")


# --- In Python ------------------------------------------------------------------------


@pytest.fixture
def reviews(audited):
    return load_reviews(audited.file, **READ)


def test_texts_are_embedded_as_they_were(repaired, reviews):
    audited, _, _ = repaired
    result = replay(audited.out / "trail.jsonl", reviews, model=audited.model)
    assert [step.same for step in result.steps] == [True] * 5
    assert result.same
    assert result.differs_at is None
    assert repr(result) == "<ReplayResult: 5 records, the same bit for bit>"
    assert bits(result.estimator) == bits(_model(audited.out))


def test_a_trail_may_be_read_already(audited, reviews):
    trail = AuditTrail(audited.out / "trail.jsonl")
    assert replay(trail, reviews, model=audited.model).same


def test_features_may_be_given(repaired, reviews):
    audited, truth, _ = repaired
    features = truth.X.loc[reviews.ids].to_numpy()
    result = replay(audited.out / "trail.jsonl", reviews, features=features)
    assert result.same
    assert bits(result.estimator) == bits(_model(audited.out))
    frame = result.to_frame()
    assert list(frame) == ["number", "kind", "same", "close", "reason"]
    assert frame["number"].tolist() == [1, 2, 3, 4, 5]


def test_features_that_differ(audited, reviews):
    features = Truth(audited).X.loc[reviews.ids].to_numpy().copy()
    features[reviews.ids.get_loc(Truth(audited).train[3]), 0] += 1e-3
    result = replay(audited.out / "trail.jsonl", reviews, features=features)
    assert not result.same
    assert result.differs_at == 1
    assert result.estimator is None
    assert "the vectors of the texts differ" in result.steps[0].reason
    assert repr(result) == "<ReplayResult: differs at record 1>"


def test_the_embedder_alone_gives_what_the_audit_had(audited, reviews):
    truth = Truth(audited)
    texts = truth.table.loc[[*truth.train, *truth.held_out], "review"].to_numpy()
    embedder = SentenceEmbedder(audited.model, long_text="mean").fit(texts)
    np.testing.assert_array_equal(embedder.transform(texts), truth.X)


def test_the_order_of_the_rows_does_not_matter(audited, table, tmp_path):
    file = tmp_path / "reviews.csv"
    table.sample(frac=1, random_state=0).to_csv(file, index=False)
    data = load_reviews(file, **READ)
    assert replay(audited.out / "trail.jsonl", data, model=audited.model).same


def test_forgotten_rows_need_not_be_there(repaired, table, tmp_path):
    audited, truth, asked = repaired
    file = tmp_path / "reviews.csv"
    table[~table["review_id"].isin(asked)].to_csv(file, index=False)
    data = load_reviews(file, **READ)
    features = truth.X.loc[data.ids].to_numpy()
    result = replay(audited.out / "trail.jsonl", data, features=features)
    assert [step.same for step in result.steps] == [None, None, None, True, True]
    assert result.same


def test_a_change_that_is_not_the_recorded_one_differs(audited, reviews, tmp_path):
    """A trail that was forged whole: every hash is right, the content is not."""
    out, truth = audited.copy(tmp_path), Truth(audited)
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    done("apply", out, folders.write(tmp_path / "d.csv", [line]))
    forged = AuditTrail(tmp_path / "forged.jsonl")
    for record in folders.records(out):
        content = {name: part for name, part in record.items() if name not in OWN}
        if record["kind"] == "edit":
            content["changes"][0]["new"] = 5
        forged.append(record["kind"], content)
    features = truth.X.loc[reviews.ids].to_numpy()
    result = replay(forged, reviews, features=features)
    assert [step.same for step in result.steps] == [True, False]
    assert result.differs_at == 2
    assert "differ" in result.steps[1].reason
    assert bits(result.estimator) == bits(_model(audited.out))


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (None, None, "holds no fit, so there is nothing to go back to"),
        ("edit", {"changes": []}, "holds no fit"),
        ("fit", {}, "Record 1 of the trail is not one that skclif writes"),
    ],
)
def test_a_trail_of_something_else(kind, content, message, reviews, tmp_path):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    if kind is None:
        trail.path.touch()
    else:
        trail.append(kind, content)
    with pytest.raises(TrailError, match=message):
        replay(trail, reviews, features=np.zeros((120, 16)))


def test_a_trail_that_is_not_there(reviews, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file .*trail.jsonl"):
        replay(tmp_path / "trail.jsonl", reviews)


def test_a_folder_is_no_trail(audited, reviews):
    for of in (audited.out, str(audited.out)):
        match = r"is a folder, and a trail is a file\. .* as '.*trail\.jsonl'"
        with pytest.raises(IsADirectoryError, match=match):
            replay(of, reviews)


@pytest.mark.parametrize(
    ("data", "said"),
    [("reviews.csv", "the path 'reviews.csv'"), (np.zeros(3), "ndarray")],
)
def test_data_have_to_be_rows(data, said, audited):
    match = f"data must be the rows as load_reviews .*, got {said}. .*replay FOLDER F"
    with pytest.raises(TypeError, match=match):
        replay(audited.out / "trail.jsonl", data)


def test_a_trail_that_was_altered(audited, reviews, tmp_path):
    path = tmp_path / "trail.jsonl"
    content = (audited.out / "trail.jsonl").read_bytes()
    assert content.count(b'"C":"auto"') == 1
    path.write_bytes(content.replace(b'"C":"auto"', b'"C":2.0'))
    with pytest.raises(TrailError, match="record 1 was altered"):
        replay(path, reviews)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((3, 16)), "features"),
        (np.zeros(120), "Expected 2D array"),
        (np.full((120, 16), np.nan), "NaN"),
    ],
)
def test_features_that_do_not_fit(features, message, audited, reviews):
    with pytest.raises(ValueError, match=message):
        replay(audited.out / "trail.jsonl", reviews, features=features)


def test_another_embedding_model_is_refused(audited, reviews, tmp_path):
    moved = shutil.copytree(audited.model, tmp_path / "moved")
    trail = audited.out / "trail.jsonl"
    assert replay(trail, reviews, model=moved).same
    config = moved / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    with pytest.raises(ValueError, match="is not the model that was used before"):
        replay(trail, reviews, model=moved)


def test_data_with_other_concepts_differ(audited):
    data = load_reviews(audited.file, **{**READ, "concepts": CONCEPTS[::-1]})
    features = Truth(audited).X.loc[data.ids].to_numpy()
    result = replay(audited.out / "trail.jsonl", data, features=features)
    assert "the concepts are ['price'" in result.steps[0].reason
    data = load_reviews(audited.file, **{**READ, "concepts": None})
    result = replay(audited.out / "trail.jsonl", data, features=features)
    assert "the concepts are []" in result.steps[0].reason


# --- In another environment -----------------------------------------------------------


@pytest.fixture
def old():
    """The trail of an older skclif: a fit, two edits, forgetting, an edit."""
    data = load_reviews(OLD / "reviews.csv", id="id", concepts=["food", "price"])
    features = pd.read_csv(OLD / "reviews.csv")[["x0", "x1", "x2", "x3"]]
    return {"trail": OLD / "trail.jsonl", "data": data, "features": features}


@pytest.fixture
def old_model():
    """The model of its last record."""
    found = json.loads((OLD / "model.json").read_text(encoding="utf-8"))
    model = ConceptBottleneckClassifier()
    for name in ("classes_", "coef_", "intercept_"):
        setattr(model, name, np.asarray(found[name]))
    for name in ("concept_classes_", "concept_coef_", "concept_intercept_"):
        setattr(model, name, [np.asarray(part) for part in found[name]])
    model.concept_names_in_ = np.asarray(found["concept_names_in_"], dtype=object)
    model.residual_coef_ = None
    return model


def _first(revision):
    """Return 1 for the first class and 0 for the others."""
    return np.eye(len(revision.model.coef_))[:, :1]


def _perturb(monkeypatch, by):
    """Let every fit and edit end at other parameters, as in another environment."""

    def perturbed(function):
        def call(*arguments):
            done = function(*arguments)
            revision, content = done if isinstance(done, tuple) else (done, {})
            revision.model.coef_ = revision.model.coef_ + by * _first(revision)
            content["after"] = revision.fingerprints()
            return done

        return call

    for name in ("fit", "edit", "forget"):
        monkeypatch.setattr(replaying, name, perturbed(getattr(replaying, name)))


@pytest.fixture
def fit_here(old, tmp_path):
    """Return what writes a trail of one fit, and its model."""
    record = AuditTrail(old["trail"]).read()[0]
    data, features = old["data"], old["features"].to_numpy(dtype=np.float32)[:30]
    model = ConceptBottleneckClassifier(**record["parameters"])
    with same_threads(record["threads"]):
        model.fit(features, data.target[:30], concepts=data.concepts[:30])
    content = {name: part for name, part in record.items() if name not in OWN}
    content["after"] = {**content["after"], "model": model_fingerprint(model)}

    def write():
        AuditTrail(tmp_path / "trail.jsonl").append("fit", content)
        return {**old, "trail": tmp_path / "trail.jsonl"}

    return write, model


def test_the_trail_of_an_older_version_can_be_replayed(old, old_model):
    result = replay(**old, recorded=old_model)
    assert result.close
    assert result.differs_at is None
    np.testing.assert_allclose(result.estimator.coef_, old_model.coef_, atol=1e-6)
    assert "torch blas unknown then" in " ".join(result.environment)
    assert repr(result).startswith("<ReplayResult: recorded elsewhere (")


def test_the_trail_of_an_older_version_goes_on_with_rejections(
    old, old_model, tmp_path
):
    trail = AuditTrail(tmp_path / "trail.jsonl")
    trail.path.write_bytes(AuditTrail(old["trail"]).path.read_bytes())
    trail.append("reject", {"rejected": []}, by="audit team")
    assert [r["format_version"] for r in trail.read()] == [1, 1, 1, 1, 1, 2]
    result = replay(**{**old, "trail": trail}, recorded=old_model)
    assert result.close
    assert [step.close for step in result.steps][-1] is None
    assert result.steps[-1].reason == replaying._MAKES_NO_MODEL
    assert result.differs_at is None


def test_a_trail_without_a_model_is_not_the_same(fit_here):
    """Rejections alone say nothing of a model; after a difference, neither."""
    write, _ = fit_here
    given = write()
    AuditTrail(given["trail"]).append("reject", {"rejected": []})
    assert replay(**given).same
    result = replay(**given | {"features": given["features"] + 1})
    assert (result.same, result.close, result.differs_at) == (False, False, 1)
    assert result.steps[1].reason == replaying._MAKES_NO_MODEL
    assert not ReplayResult((result.steps[1],), None).same


def test_other_bits_of_another_environment_are_compared(old, old_model, monkeypatch):
    _perturb(monkeypatch, 1e-9)
    result = replay(**old, recorded=old_model)
    assert not result.same
    assert result.close
    # Of the fit and the forgetting, the trail has no numbers.
    assert [step.same for step in result.steps] == [False] * 5
    assert [step.close for step in result.steps] == [None, True, True, None, True]
    assert result.differs_at is None
    assert repr(result).endswith("; 5 records, the same within 1e-06>")
    reasons = result.to_frame()["reason"]
    assert all(reason.startswith("recorded elsewhere (") for reason in reasons)
    assert reasons[0].endswith(": " + replaying._NOTHING_TO_COMPARE)
    assert reasons[1].endswith(": equal within 1e-06")


def test_parameters_beyond_the_tolerance_differ(old, old_model, monkeypatch):
    _perturb(monkeypatch, 1e-5)
    result = replay(**old, recorded=old_model)
    assert (result.same, result.close, result.differs_at) == (False, False, 2)
    assert "; differs at record 2>" in repr(result)
    reason = result.to_frame()["reason"][1]
    assert re.search(
        "^recorded elsewhere .*: the gradient norm of 'label' at the beginning of the "
        "edit differs by more than 1e-06$",
        reason,
    )


@pytest.mark.parametrize("by", [1e-9, 1e-3])
def test_the_recorded_model_is_compared(by, fit_here, monkeypatch):
    write, model = fit_here
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(trail, "environment", lambda: {"skclif": "0.0"})
        written = write()
    assert replay(**written).same
    _perturb(monkeypatch, by)
    result = replay(**written, recorded=make_pipeline(model))
    assert (result.same, result.close) == (False, by < replaying.TOLERANCE)
    assert result.environment[0].startswith("skclif 0.0 then, ")
    assert result.steps[0].reason == (
        "equal within 1e-06"
        if result.close
        else "the parameters of the model differ by more than 1e-06"
    )
    result = replay(**written)
    assert (result.same, result.close, result.differs_at) == (False, False, None)
    assert repr(result).endswith("; 1 record, the model cannot be compared>")


def test_in_the_same_environment_every_bit_counts(fit_here, monkeypatch):
    write, model = fit_here
    written = write()
    assert replay(**written).same
    _perturb(monkeypatch, 1e-9)
    result = replay(**written, recorded=model)
    assert result.environment == ()
    assert result.steps[0].reason == "the parameters of the model differ"
    assert repr(result) == "<ReplayResult: differs at record 1>"


def test_what_is_recorded_has_to_be_of_the_trail(old, old_model):
    with pytest.raises(TypeError, match="has to be a ConceptBottleneck.* got dict"):
        replay(**old, recorded={})
    old_model.coef_ = old_model.coef_ + 1
    with pytest.raises(ValueError, match="recorded is the model of none of the rec"):
        replay(**old, recorded=old_model)


@pytest.mark.parametrize("by", [0, 1e-9])
def test_the_command_says_first_how_the_environment_differs(
    by, audited, tmp_path, monkeypatch
):
    """A folder of another environment, in which the model may have other bits."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(trail, "environment", lambda: {"skclif": "0.0"})
        out = tmp_path / "out"
        places = ["--out", out, "--model", audited.model]
        done("audit", audited.file, *folders.COLUMNS, *folders.OPTIONS, *places)
    if by:
        _perturb(monkeypatch, by)
    first, record, last = done("replay", out).stdout.splitlines()
    assert first.startswith("Recorded elsewhere (skclif 0.0 then, ")
    outcome = "NOT BIT FOR BIT: equal within 1e-06" if by else "the same"
    assert record == f"record 1, fitted to 90 rows: {outcome}"
    how = "Within 1e-06" if by else "Bit for bit"
    assert last == f"{how}, this is the model in {out / 'model.safetensors'}."
    said = json.loads(done("replay", out, "--json").stdout)
    assert next(iter(said)) == "environment"
    assert said["environment"][0].startswith("skclif 0.0 then, ")
    assert (said["same"], said["close"]) == (not by, True)


# --- Only comparisons say that something differs --------------------------------------


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError])
@pytest.mark.parametrize(
    "place", ["fit", "edit", "forget", "apply_changes", "as_recorded"]
)
def test_a_bug_does_not_read_like_tampering(place, error, old, monkeypatch):
    def broken(*arguments):
        raise error("a bug")

    monkeypatch.setattr(replaying, place, broken)
    with pytest.raises(error, match="a bug"):
        replay(**old)


CHANGE = {"id": "r1", "text_hash": "", "old": None, "why": None}


@pytest.mark.parametrize(
    ("kind", "path", "new", "reason"),
    [
        ("relabel", "label", 9, "the model does not know the value 9 of 'label'"),
        ("relabel", "label", "good", "the labels have no value such as 'good'"),
        ("annotate", "food", "odd", "the model does not know the value 'odd' of"),
        ("annotate", "noise", "good", "there is no concept 'noise'"),
        ("drop", "row", 0.0, "row 'r99' is not in the data"),
    ],
)
def test_changes_that_the_rows_cannot_have_had_differ(
    kind, path, new, reason, fit_here, tmp_path
):
    """A trail that was forged whole: every hash is right."""
    written = fit_here[0]()
    change = {**CHANGE, "kind": kind, "path": path, "new": new}
    if kind == "drop":
        change["id"] = "r99"
    content = {"changes": [change], "device": "cpu", "threads": 1}
    content["after"] = AuditTrail(written["trail"]).read()[0]["after"]
    AuditTrail(written["trail"]).append("edit", content)
    result = replay(**written)
    assert result.differs_at == 2
    assert result.steps[1].reason.startswith(reason)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "relabel", "path": "label", "new": None},
        {"kind": "annotate", "path": "food", "new": ["good"]},
        {"kind": "annotate", "path": None, "new": "good"},
        {"kind": "reweight", "path": "row", "new": "2"},
        {"kind": "drop", "path": "row", "new": -1},
        {"kind": "paint", "path": "row", "new": 1},
    ],
)
def test_changes_that_skclif_does_not_write_are_refused(change, fit_here):
    written = fit_here[0]()
    content = {"changes": [{**CHANGE, **change}], "device": "cpu", "threads": 1}
    content["after"] = AuditTrail(written["trail"]).read()[0]["after"]
    AuditTrail(written["trail"]).append("edit", content)
    with pytest.raises(TrailError, match="Record 2 of the trail is not one that skcl"):
        replay(**written)
