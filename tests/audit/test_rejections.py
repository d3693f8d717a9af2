"""Rejections: recorded, not listed again until something changes, and never values."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest

from skclif import AuditTrail, replay
from skclif._audit.findings import audit
from skclif._audit.folder import AuditFolder
from skclif._audit.models import fit_models
from skclif._audit.rejections import standing, value_hash, without_rejected
from skclif._audit.rows import Reviews
from skclif.datasets import load_reviews
from skclif.exceptions import TrailError

from .. import folders
from ..data import make_concept_data
from ..folders import CONCEPTS, Truth, done, lines, refused

LISTS = ("suspects.csv", "suggestions.csv")
MODELS = ("model.safetensors", "rows.safetensors")
PLACE = ["id", "kind", "path"]


@pytest.fixture
def out(audited, tmp_path):
    return audited.copy(tmp_path)


@pytest.fixture
def truth(audited):
    return Truth(audited)


def _rejecting(place, table, **more):
    return folders.write(place / "rejected.csv", table.assign(decision="reject"))


@pytest.fixture(scope="module")
def rejected(audited, tmp_path_factory):
    """The folder when three suspects, one with a reason, and a suggestion are no."""
    place = tmp_path_factory.mktemp("rejected")
    out = audited.copy(place)
    suspects = lines(out, "suspects.csv").iloc[[0, 1, 3]].copy()
    suspects.iloc[0, suspects.columns.get_loc("why")] = "it says so"
    suggestion = lines(out, "suggestions.csv").iloc[:1]
    table = pd.concat([suspects, suggestion]).fillna("")
    file = _rejecting(place, table)
    result = done("apply", out, file, "--by", "the team", "--why", "read twice")
    return out, file, table, result


def _listed(out, name):
    return set(lines(out, name)[PLACE].itertuples(index=False, name=None))


# --- What is recorded -----------------------------------------------------------------


def test_the_trail_says_who_rejected_what_when_and_why(rejected, audited):
    out, file, table, result = rejected
    first, last = folders.records(out)
    assert (last["kind"], last["by"], last["why"]) == (
        *("reject", "the team", "read twice"),
    )
    age = datetime.now(UTC) - datetime.fromisoformat(last["when"])
    assert 0 <= age.total_seconds() < 600
    digest = sha256(file.read_bytes()).hexdigest()
    assert last["decisions"] == {"name": file.name, "sha256": digest}
    assert last["previous"] == first["hash"]
    said = [tuple(line[name] for name in PLACE) for line in last["rejected"]]
    assert said == list(table[PLACE].itertuples(index=False, name=None))
    whys = [line["why"] for line in last["rejected"]]
    assert whys == ["it says so", None, None, None]
    for line, wanted in zip(last["rejected"], table.to_dict("records"), strict=True):
        assert f"h:{line['text_hash']}" == wanted["text_hash"]
    assert "4 rejections recorded: they are not listed again until" in result.stdout
    assert "Record 2 of" in result.stdout
    assert "the model stays as it is" in result.stdout


def test_no_model_and_no_row_changes(rejected, audited):
    out = rejected[0]
    before, after = folders.contents(audited.out), folders.contents(out)
    assert set(before) == set(after)
    for name in (*MODELS, "predictions.csv", "influence.csv"):
        assert before[name] == after[name]


def test_rejected_lines_are_not_listed_again(rejected, audited):
    out, _, table, _ = rejected
    gone = set(table[PLACE].itertuples(index=False, name=None))
    n_gone = 0
    for name in LISTS:
        before, after = _listed(audited.out, name), _listed(out, name)
        assert after == before - gone
        n_gone += len(before) - len(after)
    assert n_gone >= 4
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["counts"]["rejected_lines"] == n_gone
    assert run["trail"]["records"] == 2
    page = " ".join((out / "audit.html").read_text(encoding="utf-8").split())
    assert f"{n_gone} lines of the two lists are left out" in page
    assert "4 lines rejected" in page
    assert "read twice" in page


def test_the_same_file_again_changes_nothing(rejected, tmp_path):
    source, file, *_ = rejected
    before = folders.contents(source)
    result = done("apply", source, file)
    assert "4 rejections recorded already; nothing was changed" in result.stdout
    assert folders.contents(source) == before


def test_it_says_as_json_what_was_rejected(out, audited, tmp_path):
    file = _rejecting(tmp_path, lines(out, "suspects.csv").iloc[:1])
    said = json.loads(done("apply", out, file, "--json", "--quiet").stdout)
    last = folders.records(out)[-1]
    assert (said["record"], said["hash"]) == (2, last["hash"])
    assert said["rejected"] == last["rejected"]
    assert said["changes"] == []


def test_with_changes_it_is_one_record(out, truth, tmp_path):
    table = lines(out, "suspects.csv").drop_duplicates("id").iloc[:2]
    file = folders.write(
        tmp_path / "d.csv", table.assign(decision=["accept", "reject"])
    )
    result = done("apply", out, file)
    assert "1 rejection recorded: it is not listed again" in result.stdout
    _, last = folders.records(out)
    assert (last["kind"], len(last["changes"]), len(last["rejected"])) == ("edit", 1, 1)
    place = tuple(table.iloc[1][PLACE])
    assert place not in _listed(out, "suspects.csv") | _listed(out, "suggestions.csv")
    assert "record 2, 1 × " in (said := done("replay", out).stdout)
    assert "1 × reject: the same" in said


# --- Until its text or value changes --------------------------------------------------


def _record(kind="relabel", path="label", current="good", i="a", **more):
    rejection = {"kind": kind, "id": i, "text_hash": "ab", "path": path, "why": None}
    hashes = {"current_hash": value_hash("digest", path, current), "proposed_hash": ""}
    return {"rejected": [rejection | hashes]} | more


def _change(kind="relabel", path="label", i="a"):
    return {"changes": [{"kind": kind, "id": i, "path": path}]}


def test_a_rejection_stands_until_its_value_is_changed():
    (key,) = standing([_record()])
    assert key == ("a", "relabel", "label", value_hash("digest", "label", "good"))
    assert standing([_record(), _change(path="label", i="b")]) == {key}
    assert standing([_record(), _change("annotate", "food")]) == {key}
    assert standing([_record(), _change("annotate", "label")]) == {key}
    assert standing([_record(), _change()]) == set()
    assert standing([_record(), _change(), _record()]) == {key}
    # Dropping a row and giving it weight change the same thing.
    weight = _record("drop", "row", 1.0)
    assert len(standing([weight, _record("reweight", "row", 1.0)])) == 2
    assert standing([weight, _change("reweight", "row")]) == set()
    # In one record, changes and rejections are about different values.
    assert len(standing([_record() | _change("drop", "row")])) == 1


def test_an_edit_of_the_value_ends_it(rejected, truth, tmp_path):
    source, _, table, _ = rejected
    out = tmp_path / "report"
    folders.shutil.copytree(source, out)
    line = table.iloc[0]
    new = truth.line(line["kind"], line["id"], line["path"], line["proposed"])
    before = standing(AuditFolder(out).trail.read())
    done("apply", out, folders.write(tmp_path / "d.csv", [new]))
    after = standing(AuditFolder(out).trail.read())
    assert {key[:3] for key in before - after} == {tuple(line[PLACE])}
    assert folders.records(out)[-1]["changes"][0]["source"] == "person"


@pytest.fixture(scope="module")
def found():
    """An audit of features, its training rows, and a suspect annotation."""
    X, y, concepts = make_concept_data(160, seed=3)
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(160)), strict=True)
    reviews = Reviews.from_parts(ids, texts, y, concepts).embedded(X)
    is_held = np.arange(160) >= 110
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    found = audit(fit_models(train), train, held_out)
    suspects = found.suspects
    return found, train, suspects[suspects["kind"] == "annotate"].iloc[0]


def _rejection(line, train, **changes):
    digest = train.digests[train.positions()[line["id"]]]
    hashes = {
        "current_hash": value_hash(digest, line["path"], line["current"]),
        "proposed_hash": value_hash(digest, line["path"], line["proposed"]),
    }
    names = ["kind", "id", "text_hash", "path"]
    rejection = {**{name: line[name] for name in names}, **hashes, "why": None}
    return [{"rejected": [rejection | changes]}]


def test_lines_are_left_out_whatever_is_proposed(found):
    whole, train, line = found
    other = line.copy()
    other["proposed"] = "another"
    suggestions = pd.DataFrame([line, other])
    given = replace(whole, suggestions=suggestions)
    left = without_rejected(given, train, _rejection(line, train))
    assert len(left.suggestions) == 0
    assert len(left.suspects) == len(whole.suspects) - 1
    assert left.counts["rejected_lines"] == 3
    assert list(left.suspects.index) == list(range(len(left.suspects)))
    assert whole.counts.get("rejected_lines") is None
    none = without_rejected(given, train, [])
    pd.testing.assert_frame_equal(none.suspects, whole.suspects)


@pytest.mark.parametrize("changes", ["text", "value", "kind"])
def test_a_line_about_something_else_is_listed(changes, found):
    whole, train, line = found
    records = _rejection(line, train)
    if changes == "text":
        train = replace(train, digests=np.roll(train.digests, 1))
    elif changes == "value":
        records = _rejection({**line, "current": "what it was"}, train)
    else:
        records = _rejection({**line, "kind": "relabel"}, train)
    left = without_rejected(whole, train, records)
    assert len(left.suspects) == len(whole.suspects)


def test_a_value_is_hashed_as_it_is_written():
    assert value_hash("d", "n", 5) == value_hash("d", "n", "5")
    assert value_hash("d", "n", 1.0) == value_hash("d", "n", 1)
    assert value_hash("d", "n", None) == value_hash("d", "n", float("nan"))
    assert value_hash("d", "n", None) != value_hash("d", "n", "None")


def test_the_same_audit_again_keeps_rejections(rejected, audited, tmp_path):
    out = tmp_path / "report"
    folders.shutil.copytree(rejected[0], out)
    before = folders.contents(out)
    options = [*folders.COLUMNS, *folders.OPTIONS, "--model", audited.model]
    done("audit", audited.file, *options, "--out", out)
    after = folders.contents(out)
    for name in (*LISTS, "trail.jsonl", *MODELS):
        assert before[name] == after[name]
    done("audit", audited.file, *options, "--out", out, "--C", "0.5")
    assert [r["kind"] for r in folders.records(out)] == ["fit", "reject", "fit"]
    gone = set(rejected[2][PLACE].itertuples(index=False, name=None))
    assert not gone & (_listed(out, "suspects.csv") | _listed(out, "suggestions.csv"))


# --- Replay, forgetting, and what else looks for the last record ----------------------


def test_replay_passes_it_over(rejected, audited, tmp_path):
    out = rejected[0]
    said = done("replay", out, audited.file).stdout.splitlines()
    assert said[1] == "record 2, 4 × reject: nothing to repeat"
    assert said[2].startswith("Bit for bit, this is the model in")
    reviews = load_reviews(
        audited.file,
        **{"text": "review", "label": "stars", "concepts": CONCEPTS},
        **{"id": "review_id", "group": "city"},
    )
    model = folders.done("replay", out, "--save", tmp_path / "m.safetensors")
    assert "The model is in" in model.stdout
    features = AuditFolder(out).snapshot()[1]
    rows = dict(zip(features.train.ids, features.train.features, strict=True))
    rows |= dict(zip(features.held_out.ids, features.held_out.features, strict=True))
    X = np.array([rows[i] for i in reviews.ids])
    recorded = AuditFolder(out).snapshot()[2]
    result = replay(out / "trail.jsonl", reviews, features=X, recorded=recorded)
    assert result.same and result.close
    assert result.to_frame()["same"].tolist() == [True, None]
    reason = result.to_frame()["reason"].iloc[1]
    assert reason == "it changes neither the rows nor the model"


def test_forgetting_leaves_no_value_of_a_rejection(out, truth, tmp_path):
    table = lines(out, "suspects.csv")
    line = table[(table["path"] == "service") & (table["current"] != "")].iloc[[0]]
    i, text = line["id"].iloc[0], truth.table.loc[line["id"].iloc[0], "review"]
    done("apply", out, _rejecting(tmp_path, line))
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{i}\n", encoding="utf-8")
    done("forget", out, ids)
    _, record, _ = folders.records(out)
    said = json.dumps(record)
    assert line["current"].iloc[0] not in said
    assert line["proposed"].iloc[0] not in said
    assert text not in said
    (rejection,) = record["rejected"]
    for value in ("Positive", "Negative", "unknown", None):  # nobody can try them
        guessed = value_hash(rejection["text_hash"], "service", value)
        assert guessed not in (rejection["current_hash"], rejection["proposed_hash"])
    for name in ("audit.html", "run.json", *LISTS):
        assert i not in (out / name).read_text(encoding="utf-8")
    said = done("replay", out).stdout.splitlines()
    assert said[1] == "record 2, 1 × reject: nothing to repeat"
    assert "Bit for bit" in said[-1]
    message = f"of the row '{i}': it was forgotten in record 3"
    assert message in refused("apply", out, tmp_path / "rejected.csv", "--quiet")


def test_a_file_that_is_missing_is_of_the_record_that_wrote_it(rejected, tmp_path):
    out = tmp_path / "report"
    folders.shutil.copytree(rejected[0], out)
    (out / "model.safetensors").unlink()
    said = refused("apply", out, rejected[1], "--quiet")
    assert "model.safetensors is missing, which record 1 of trail.jsonl" in said


def test_a_report_that_was_not_finished_is_finished(rejected, audited, tmp_path):
    out = tmp_path / "report"
    folders.shutil.copytree(rejected[0], out)
    (out / "run.json").write_bytes((audited.out / "run.json").read_bytes())
    said = done("apply", out, rejected[1]).stdout
    assert "was not finished; it is now" in said
    assert len(folders.records(out)) == 2
    assert AuditFolder(out).report_is_current(folders.records(out))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"rejected": [{"kind": "drop"}]},
        {"rejected": 3},
        {"rejected": [], "changes": []},
        {"rejected": [], "after": {}},
        _record(i=3),
    ],
)
def test_a_record_that_skclif_does_not_write_is_refused(content, audited, out):
    AuditTrail(out / "trail.jsonl").append("reject", content)
    message = "Record 2 of the trail is not one that skclif writes"
    with pytest.raises(TrailError, match=message):
        folder = AuditFolder(out)
        records = folder.trail.read()
        folder.revision(folder.rows(records), records)


# --- What is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "nobody"}, "of the row 'nobody': there is no such row"),
        ({"text_hash": "h:0123456789abcdef"}, "is not the one that was decided on"),
        ({"current": "5"}, "'label' of {id!r} has changed since: decided on was '5'"),
        ({"kind": "rename"}, "the kind 'rename' is none of"),
        ({"path": "food"}, "'relabel' of 'food'; it goes with 'label'"),
        ({"proposed": "2", "current": "4"}, "has changed since"),
        (
            {"proposed": "9"},
            "the value '9' of 'label' is not known to the model, which has '1', '2', "
            "'3', '4', '5'. In a rejected line, proposed may be empty. (Row 1 is",
        ),
        (
            {"kind": "reweight", "path": "row", "current": "1", "proposed": "half"},
            "the weight 'half' of {id!r} is neither 0 nor",
        ),
    ],
)
def test_a_rejection_has_to_fit_the_rows(changes, message, out, truth, tmp_path):
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    good = truth.line("relabel", truth.free(stars=3)[0], "label", 4)
    wrong = {**line, **changes, "decision": "no"}
    file = folders.write(tmp_path / "d.csv", [good, wrong])
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert f"{file}, row 2" in said
    assert message.format(id=line["id"]) in said
    assert folders.contents(out) == before


@pytest.mark.parametrize(
    ("kind", "path", "proposed"), [("relabel", "label", "4"), ("drop", "row", "")]
)
def test_a_change_is_not_accepted_and_rejected(
    kind, path, proposed, out, truth, tmp_path
):
    line = truth.line(kind, truth.free(stars=2)[0], path, proposed)
    table = [line, {**line, "decision": "reject"}]
    said = refused("apply", out, folders.write(tmp_path / "d.csv", table), "--quiet")
    assert "row 2: another line accepts the same change of" in said
    assert "Decide one of the two" in said


def test_a_value_that_changes_anyway_needs_no_rejection(out, truth, tmp_path):
    i = truth.free(stars=2)[0]
    table = [
        truth.line("relabel", i, "label", 4),
        truth.line("relabel", i, "label", 5) | {"decision": "reject", "path": ""},
    ]
    file = folders.write(tmp_path / "d.csv", table)
    done("apply", out, file)
    assert "rejected" not in folders.records(out)[-1]
    before = folders.contents(out)
    done("apply", out, file)
    assert folders.contents(out) == before
