"""What was decided is done, recorded and reported: apply, forget, predict, and audit.

What a model should be comes from `folders.Truth`, which retrains on a plain table.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from skclif import (
    ConceptBottleneckClassifier,
    SentenceEmbedder,
    load_model,
    save_model,
    write_prompts,
)
from skclif._models.files import read_model
from skclif.cli import main

from .. import folders
from ..folders import COLUMNS, CONCEPTS, OPTIONS, Truth, bits, done, lines, refused, run
from ..privileges import open_folder, read_only

REPORT = ["audit.html", "influence.csv", "predictions.csv"]
REPORT += ["suggestions.csv", "suspects.csv"]
PARTS = ["data", "features", "model", "weights"]
# Two optima of one problem, found from two beginnings.
CLOSE = {"rtol": 0, "atol": 1e-6}


@pytest.fixture(scope="module")
def without_texts(tiny_encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("no text")
    return folders.make_audit(place, tiny_encoder, "--no-text")


@pytest.fixture
def truth(audited):
    return Truth(audited)


@pytest.fixture
def out(audited, tmp_path):
    return audited.copy(tmp_path)


def _model(out):
    return read_model(out / "model.safetensors").classifier


def _assert_is(out, truth):
    """See that the model is the one that retraining gives, and the report about it."""
    model, expected = _model(out), truth.fit()
    X = truth.X.to_numpy()
    np.testing.assert_allclose(
        model.predict_proba(X), expected.predict_proba(X), **CLOSE
    )
    said = model.predict_concept_proba(X)
    for name, proba in expected.predict_concept_proba(X).items():
        np.testing.assert_allclose(said[name], proba, **CLOSE)
    _assert_report_is_of(out, model, truth)


def _assert_report_is_of(out, model, truth):
    run_record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    last = folders.records(out)[-1]
    assert run_record["trail"] == {"records": last["number"], "hash": last["hash"]}
    for name in REPORT:
        digest = sha256((out / name).read_bytes()).hexdigest()
        assert run_record["outputs"][name] == digest
    assert run_record["fingerprints"]["coefficients"] == last["after"]["model"]
    assert run_record["fingerprints"]["training_data"] == last["after"]["data"]
    predictions = lines(out, "predictions.csv").set_index("id")
    assert predictions.index.tolist() == truth.held_out
    proba = predictions[[f"p={value}" for value in model.classes_]].astype(float)
    expected = model.predict_proba(truth.X.loc[truth.held_out].to_numpy())
    np.testing.assert_allclose(proba, expected, rtol=0, atol=1e-12)
    quality = run_record["metrics"]["label"]["model"]
    assert quality == pytest.approx(truth.quality(model), abs=1e-9)
    influence = lines(out, "influence.csv")
    overall = influence[influence["target"] == "all"].set_index("train_id")
    kept = truth.weights.index[truth.weights > 0]
    assert set(overall.index) == set(kept)
    assert set(influence["train_id"]) == set(kept)
    labels = truth.table.loc[overall.index, "stars"].astype(str)
    assert overall["train_label"].tolist() == labels.tolist()
    for name in CONCEPTS:
        said = [None if v in ("", None) else str(v) for v in truth.table[name]]
        said = pd.Series(said, index=truth.table.index)[overall.index].fillna("")
        assert overall[f"annotated:{name}"].tolist() == said.tolist()


def _table_of(stdout):
    """Return the numbers before and after that were printed, as they stand there."""
    found = re.findall(r"^  (\S.*?)  +(\S+) +(\S+)$", stdout, flags=re.MULTILINE)
    return {name: (before, after) for name, before, after in found}


def _as_printed(quality):
    words = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log-loss"}
    forms = {"accuracy": "{:.1%}", "macro_f1": "{:.1%}", "log_loss": "{:.4f}"}
    return {words[name]: forms[name].format(value) for name, value in quality.items()}


def _assert_numbers(result, before, after):
    before, after = _as_printed(before), _as_printed(after)
    expected = {name: (before[name], after[name]) for name in before}
    assert _table_of(result.stdout) == expected


def _listed(audited, line):
    """Return which list of the audit proposes what a line says."""
    names = ["kind", "id", "path", "proposed"]
    for source in ("suggestion", "suspect"):
        table = lines(audited.out, f"{source}s.csv")[names]
        if (table == [line[name] for name in names]).all(axis=1).any():
            return source
    return "person"


def _unlike(truth, path, value):
    """Return another value that the label or a concept has."""
    column = truth.table["stars" if path == "label" else path].dropna()
    return next(other for other in sorted(set(column)) if str(other) != str(value))


# --- Apply ----------------------------------------------------------------------------


def _one_of_each(audited, truth):
    """Return decisions of every kind, and the changes that they ask for."""
    suspects = lines(audited.out, "suspects.csv")
    suggestions = lines(audited.out, "suggestions.csv")
    suspects["why"], suggestions["why"] = "read again", ""
    relabelled = suspects[suspects["kind"] == "relabel"].iloc[:3].copy()
    annotated = suspects[suspects["kind"] == "annotate"]
    annotated = annotated[~annotated["id"].isin(relabelled["id"])]
    annotated = annotated.drop_duplicates("id").iloc[:4].copy()
    taken = [*relabelled["id"], *annotated["id"]]
    others = ~suggestions["id"].isin(taken) & (suggestions["kind"] != "drop")
    suggested = suggestions[others].iloc[:2].copy()
    accepted = [relabelled.iloc[:2], annotated.iloc[:3], suggested]
    for table in accepted:
        table["decision"] = ["accept", "Yes", " y ", "accepted"][: len(table)]
    other = relabelled.iloc[1]
    accepted[0].iloc[1, relabelled.columns.get_loc("proposed")] = str(
        next(
            v for v in (1, 2, 3) if str(v) not in (other["current"], other["proposed"])
        )
    )
    accepted[1].iloc[1, annotated.columns.get_loc("proposed")] = "unannotated"
    taken += suggested["id"].tolist()
    free = iter(i for i in truth.train if i not in taken)
    made = next(i for i in truth.free(food=None) if i not in taken)
    own = [
        truth.line("annotate", made, "food", "Negative"),
        truth.line("reweight", next(i for i in free if i != made), "row", "0.25"),
        truth.line("drop", next(i for i in free if i != made), "row", why="a robot"),
    ]
    rejected = [relabelled.iloc[2:].assign(decision="no"), annotated.iloc[3:]]
    decisions = pd.concat([*accepted, *rejected, pd.DataFrame(own)]).fillna("")
    wanted = [*pd.concat(accepted).to_dict("records"), *own]
    return decisions, wanted


@pytest.fixture(scope="module")
def applied(audited, tmp_path_factory):
    """Decisions of every kind, applied."""
    place = tmp_path_factory.mktemp("applied")
    out, truth = audited.copy(place), Truth(audited)
    decisions, wanted = _one_of_each(audited, truth)
    file = folders.write(place / "decisions.csv", decisions)
    before = truth.quality(truth.fit())
    started = datetime.now(UTC).replace(microsecond=0)
    who = ["--by", "the team", "--why", "second reading"]
    result = done("apply", out, file, *who)
    ended = datetime.now(UTC)
    changes = []
    for line in wanted:
        path, new = line["path"], line["proposed"]
        old = truth.value(line["id"], path)
        truth.change(line["kind"], line["id"], path, new)
        new = truth.value(line["id"], path)
        changes.append(
            {
                **{name: line[name] for name in ("kind", "id", "path")},
                "text_hash": line["text_hash"].removeprefix("h:"),
                "old": old,
                "new": new,
                "why": line.get("why") or None,
                "source": _listed(audited, line),
            }
        )
    return out, file, truth, result, before, changes, (started, ended)


def test_the_model_is_the_one_that_retraining_gives(applied):
    out, _, truth, *_ = applied
    _assert_is(out, truth)


def test_the_numbers_before_and_after_are_true(applied):
    out, _, truth, result, before, changes, _ = applied
    assert f"{len(changes)} changes made" in result.stdout
    assert "On the 30 held-out texts:" in result.stdout
    _assert_numbers(result, before, truth.quality(truth.fit()))


def test_rows_that_chose_the_changes_give_no_interval(applied):
    out, _, _, result, *_ = applied
    said = folders.records(out)[-1]["comparison"]
    assert said["chosen_by_effect"]
    assert said["accuracy"]["interval"] == said["log_loss"]["interval"] == [None, None]
    (line,) = (s for s in result.stdout.splitlines() if s.startswith("Accuracy ch"))
    assert "on texts that chose some of these changes: that flatters them" in line
    assert "[" not in line and "95 %" not in line
    page = " ".join((out / "audit.html").read_text(encoding="utf-8").split())
    section = page[page.index('id="repair"') : page.index('id="provenance"')]
    assert "These texts chose some of the changes" in section
    assert "the intervals say" not in section
    assert "Where suggestions were accepted (*), these texts chose" in page


def test_the_trail_says_who_did_what_when_and_why(applied):
    out, file, truth, _, before, changes, (started, ended) = applied
    first, last = folders.records(out)
    assert (last["kind"], last["by"]) == ("edit", "the team")
    assert last["why"] == "second reading"
    assert started <= datetime.fromisoformat(last["when"]) <= ended
    named = {"name": file.name, "sha256": sha256(file.read_bytes()).hexdigest()}
    assert last["decisions"] == named

    def key(change):
        return change["id"], change["path"]

    said = sorted(last["changes"], key=key)
    judged = [
        (change.pop("probability_wrong"), change.pop("even_if_right"))
        for change in said
    ]
    assert said == sorted(changes, key=key)
    sources = [change["source"] for change in said]
    assert set(sources) == {"suggestion", "suspect", "person"}
    for (probability, even_if_right), source in zip(judged, sources, strict=True):
        assert not even_if_right
        assert probability is None or (probability >= 0.5 and source == "suggestion")
    assert sorted(last["before"]) == sorted(last["after"]) == PARTS
    assert last["before"] == first["after"]
    assert last["previous"] == first["hash"]
    after = truth.quality(truth.fit())["log_loss"]
    assert last["achieved_effect"] == pytest.approx(
        after - before["log_loss"], abs=1e-6
    )
    assert last["predicted_effect"] == pytest.approx(last["achieved_effect"], abs=0.05)
    assert last["converged"] is True
    digest = sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert last["files"] == {"model.safetensors": digest}


def _comparison(truth, before, after):
    """Return what two models predict differently, by one row at a time."""
    X = truth.X.loc[truth.held_out].to_numpy()
    true = truth.table.loc[truth.held_out]
    old, new = before.predict(X), after.predict(X)
    changed = []
    for k, i in enumerate(truth.held_out):
        label = true["stars"].iloc[k]
        outcome = "neither"
        if old[k] != new[k]:
            if new[k] == label or old[k] == label:
                outcome = "better" if new[k] == label else "worse"
            changed.append([i, folders.short_hash(true["review"].iloc[k]), outcome])
    concepts = {}
    for name in CONCEPTS:
        known = true[name].notna().to_numpy()
        given = true[name].to_numpy()[known]
        concepts[name] = [
            float((model.predict_concepts(X)[name].to_numpy()[known] == given).mean())
            for model in (before, after)
        ]
    return changed, concepts


@pytest.fixture(scope="module")
def shaken(audited, tmp_path_factory):
    """A folder where an edit changed many predictions, and concepts."""
    place = tmp_path_factory.mktemp("shaken")
    out, truth = audited.copy(place), Truth(audited)
    before = _model(out)
    decisions = [truth.line("relabel", i, "label", 5) for i in truth.free(10, stars=4)]
    decisions += [
        truth.line("annotate", i, "food", "Negative")
        for i in truth.free(12, food="Positive")
    ]
    result = done("apply", out, folders.write(place / "decisions.csv", decisions))
    return out, truth, before, result


def test_what_changed_is_in_trail_run_page_and_output(shaken):
    out, truth, before, result = shaken
    changed, concepts = _comparison(truth, before, _model(out))
    assert len(changed) > 2
    said = folders.records(out)[-1]["comparison"]
    assert said["changed"] == changed
    outcomes = [outcome for *_, outcome in changed]
    numbers = {"n_changed": len(changed), "n_rows": 30}
    numbers |= {f"n_{one}": outcomes.count(one) for one in ("better", "worse")}
    assert {name: said[name] for name in numbers} == numbers
    for line in said["concepts"]:
        found = [line["before"], line["after"]]
        assert found == pytest.approx(concepts[line["concept"]])
    quality = [truth.quality(model) for model in (before, _model(out))]
    for name in ("accuracy", "log_loss"):
        expected = [one[name] for one in quality]
        assert [said[name]["before"], said[name]["after"]] == pytest.approx(expected)
        assert not said["chosen_by_effect"]
        low, high = said[name]["interval"]
        assert low < said[name]["after"] - said[name]["before"] < high
    run_record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run_record["repair"] == {"record": 2, **said}
    text = " ".join((out / "audit.html").read_text(encoding="utf-8").split())
    section = text[text.index('id="repair"') : text.index('id="provenance"')]
    assert "What the last repair changed" in section
    for i, _, outcome in changed:
        shown = {"neither": "still wrong"}.get(outcome, outcome)
        assert re.search(rf"<bdi>{i}</bdi>.{{,400}}>{shown}</span>", section)
    printed = " ".join(result.stdout.split())
    points = 100 * (said["accuracy"]["after"] - said["accuracy"]["before"])
    assert f"Accuracy changed by {points:+.1f} points [" in printed
    counts = f"{numbers['n_better']} for the better, {numbers['n_worse']} for the worse"
    assert f"{len(changed)} predictions changed: {counts}. The page names" in printed
    old, new = concepts["food"]
    assert f"Accuracy of the concepts: food {old:.1%} → {new:.1%}" in printed
    assert "the others as before." in printed
    assert "(95 % intervals, each text compared with itself)" in printed
    assert "flatter" not in printed and "chose" not in section
    shares = "".join(
        f'<td data-name="{when.capitalize()}" class="num">'
        f"{100 * said['accuracy'][when]:.1f}\xa0%</td>"
        for when in ("before", "after")
    )
    assert shares in (out / "audit.html").read_text(encoding="utf-8")


def test_forgetting_takes_what_changed_off_the_page(shaken, tmp_path):
    out = shutil.copytree(shaken[0], tmp_path / "report")
    (i, _, _), *_ = folders.records(out)[-1]["comparison"]["changed"]
    done("forget", out, _ids_file(tmp_path, [i]))
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert i not in page
    assert "What the last repair changed" not in page
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["repair"] is None


def test_the_page_tells_of_what_was_decided(applied):
    out, *_ = applied
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "second reading" in page
    assert "the team" in page
    assert "1 row left out" in page


def test_accepted_suspects_are_listed_with_the_values_that_they_have(applied):
    out, _, truth, *_ = applied
    for name in ("suspects.csv", "suggestions.csv"):
        table = lines(out, name)
        assert (table["decision"] == "").all()
        for line in table.to_dict("records"):
            value = truth.value(line["id"], line["path"])
            said = "" if value is None else value
            assert str(said) == line["current"] or float(said) == float(line["current"])


def test_applying_the_same_again_changes_nothing(applied, tmp_path):
    unescape_cell, file, *_ = applied
    out = shutil.copytree(unescape_cell, tmp_path / "report")
    before = folders.contents(out)
    result = done("apply", out, file)
    said = r"^\d+ accepted decisions in effect and 1 rejection recorded already;"
    assert re.search(said, result.stdout)
    assert "nothing was changed" in result.stdout
    assert folders.contents(out) == before
    said = json.loads(done("apply", out, file, "--json").stdout)
    assert said["record"] is None
    assert said["changes"] == []


def test_a_second_round_goes_on_from_the_first(applied, tmp_path):
    unescape_cell, _, truth_then, *_ = applied
    out = shutil.copytree(unescape_cell, tmp_path / "report")
    truth = _copied(truth_then)
    (dropped,) = truth.weights.index[truth.weights == 0]
    old = truth.table.loc[truth.train[5], "stars"]
    new = _unlike(truth, "label", old)
    decisions = [
        truth.line("relabel", truth.train[5], "label", new),
        truth.line("reweight", dropped, "row", "1"),
        truth.line("annotate", truth.train[6], "price", "unannotated"),
    ]
    file = folders.write(tmp_path / "more.csv", decisions)
    before = truth.quality(truth.fit())
    result = done("apply", out, file)
    for line in decisions:
        truth.change(line["kind"], line["id"], line["path"], line["proposed"])
    _assert_is(out, truth)
    _assert_numbers(result, before, truth.quality(truth.fit()))
    assert "flatter" not in result.stdout
    _, second, third = folders.records(out)
    assert third["before"] == second["after"]


def test_new_values_of_a_row_without_weight_move_nothing(applied, tmp_path):
    out = shutil.copytree(applied[0], tmp_path / "report")
    truth = _copied(applied[2])
    (dropped,) = truth.weights.index[truth.weights == 0]
    new = _unlike(truth, "label", truth.table.loc[dropped, "stars"])
    line = truth.line("relabel", dropped, "label", new)
    result = done("apply", out, folders.write(tmp_path / "more.csv", [line]))
    said = f"Of weight 0, so that new values do not move the model: {dropped!r}. A line"
    assert said in result.stdout
    assert "0 predictions changed" in result.stdout
    # Not of a row that gets its weight back by the same file.
    lines = [
        truth.line("annotate", dropped, "food", "Negative"),
        truth.line("reweight", dropped, "row", "1"),
    ]
    result = done("apply", out, folders.write(tmp_path / "more.csv", lines))
    assert "Of weight 0" not in result.stdout


def _copied(truth):
    copied = object.__new__(Truth)
    copied.__dict__ |= truth.__dict__
    copied.table, copied.weights = truth.table.copy(), truth.weights.copy()
    return copied


def test_what_is_in_effect_already_is_left_out_and_counted(out, truth, tmp_path):
    ids = truth.free(2, stars=2)
    first = [truth.line("relabel", ids[0], "label", 4)]
    done("apply", out, folders.write(tmp_path / "a.csv", first))
    both = [*first, truth.line("relabel", ids[1], "label", 4)]
    result = done("apply", out, folders.write(tmp_path / "b.csv", both))
    assert "1 change made, of 2 accepted decisions (1 in effect already)" in (
        result.stdout
    )
    for i in ids:
        truth.change("relabel", i, "label", 4)
    _assert_is(out, truth)


def test_the_same_line_twice_is_one_change(out, truth, tmp_path):
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    file = folders.write(tmp_path / "twice.csv", [line, line])
    assert len(json.loads(done("apply", out, file, "--json").stdout)["changes"]) == 1


def test_apply_says_as_json_what_it_did(out, truth, tmp_path):
    i = truth.free(stars=2)[0]
    before = truth.quality(truth.fit())
    line = truth.line("relabel", i, "label", 4, why="typo")
    file = folders.write(tmp_path / "decisions.csv", [line])
    result = done("apply", out, file, "--json", "--quiet")
    # The features of these tests say nothing of labels and some concepts.
    assert all(line.startswith("Warning: ") for line in result.stderr.splitlines())
    said = json.loads(result.stdout)
    truth.change("relabel", i, "label", 4)
    last = folders.records(out)[-1]
    assert (said["record"], said["hash"]) == (2, last["hash"])
    assert said["changes"] == last["changes"]
    assert said["changes"][0]["why"] == "typo"
    assert said["before"] == pytest.approx(before, abs=1e-6)
    assert said["after"] == pytest.approx(truth.quality(truth.fit()), abs=1e-6)
    assert said["converged"] is True
    assert said["warnings"] == [line[9:] for line in result.stderr.splitlines()]
    assert said["rejected"] == []
    assert said["comparison"] == last["comparison"]


def test_a_report_that_was_not_finished_is_finished(out, truth, tmp_path):
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    file = folders.write(tmp_path / "decisions.csv", [line])
    old = folders.contents(out)
    done("apply", out, file)
    for name in ("run.json", "influence.csv", "audit.html"):
        (out / name).write_bytes(old[name])  # as if killed before it was written
    result = done("apply", out, file)
    assert "was not finished; it is now" in result.stdout
    truth.change("relabel", line["id"], "label", 4)
    _assert_is(out, truth)
    assert len(folders.records(out)) == 2


def test_who_decided_is_the_login_unless_it_is_said(out, truth, tmp_path, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    done("apply", out, folders.write(tmp_path / "decisions.csv", [line]))
    last = folders.records(out)[-1]
    assert (last["by"], last["why"]) == ("somebody", None)


def test_a_machine_without_a_login(out, truth, tmp_path, monkeypatch):
    def getuser():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", getuser)
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    done("apply", out, folders.write(tmp_path / "decisions.csv", [line]))
    assert folders.records(out)[-1]["by"] is None


def test_without_concepts_labels_and_weights_can_be_changed(tiny_encoder, tmp_path):
    table, out = folders.reviews(60), tmp_path / "out"
    table.to_csv(tmp_path / "reviews.csv", index=False)
    places = ["--out", out, "--model", tiny_encoder]
    done("audit", tmp_path / "reviews.csv", *COLUMNS[:6], *OPTIONS, *places)
    trail = folders.records(out)
    ids = [row[0] for row in trail[0]["rows"]]
    row = table.set_index("review_id").loc[ids[0]]
    line = {"decision": "accept", "id": ids[0], "current": row["stars"]}
    line |= {"text_hash": folders.short_hash(row["review"])}
    line |= {"kind": "annotate", "path": "food", "proposed": "Negative"}
    file = folders.write(tmp_path / "decisions.csv", [line])
    assert "of which there are none" in refused("apply", out, file, "--quiet")
    new = 1 if row["stars"] != 1 else 2
    line |= {"kind": "relabel", "path": "label", "proposed": new}
    done("apply", out, folders.write(file, [line]))
    table.loc[table["review_id"] == ids[0], "stars"] = new
    X = load_file(out / "rows.safetensors")["X_train"]
    y = table.set_index("review_id").loc[ids, "stars"].to_numpy()
    C = _model(out).C_
    expected = ConceptBottleneckClassifier(C=C).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(_model(out).predict_proba(X), expected, **CLOSE)


# --- Forget ---------------------------------------------------------------------------


def _ids_file(place, ids):
    file = place / "ids.txt"
    file.write_text("\n".join(ids) + "\n", encoding="utf-8")
    return file


def _phrases(text, others):
    """Return pieces of a text that no other text has."""
    words = text.split(" ")
    pieces = [" ".join(words[k : k + 4]) for k in range(max(len(words) - 3, 1))]
    return [p for p in pieces if not any(p in other for other in others)]


def _assert_gone(out, truth, ids):
    """See that nothing of rows is in any file but those that say who was forgotten."""
    rows = truth.table.loc[ids]
    others = truth.table["review"].drop(ids)
    phrases = [p for text in rows["review"] for p in _phrases(text, others)]
    phrases += [json.dumps(phrase)[1:-1] for phrase in phrases]
    assert len(phrases) > 2 * len(ids)
    vectors = [truth.X.loc[i].to_numpy(dtype=np.float32).tobytes() for i in ids]
    hashes = [folders.short_hash(text) for text in rows["review"]]
    for name, content in folders.contents(out).items():
        text = content.decode("utf-8", "replace")
        assert not [phrase for phrase in phrases if phrase in text], name
        assert not [v for v in vectors if v in content], name
        if name != "trail.jsonl" and not name.startswith("forgotten-"):
            assert not [i for i in ids if i in text], name
            assert not [h for h in hashes if h in text], name
    assert not (out / "embeddings.sqlite").exists()


@pytest.fixture(scope="module")
def forgotten(audited, tmp_path_factory):
    """Decisions applied, then rows forgotten: one of them changed, one held out."""
    place = tmp_path_factory.mktemp("forgotten")
    out, truth = audited.copy(place), Truth(audited)
    ids = truth.free(2, stars=2)
    decisions = [truth.line("relabel", i, "label", 4) for i in ids]
    decisions += [truth.line("drop", truth.free(stars=5)[0], "row")]
    decisions += [truth.line("annotate", truth.free(food=None)[0], "food", "Positive")]
    done("apply", out, folders.write(place / "decisions.csv", decisions))
    for line in decisions:
        truth.change(line["kind"], line["id"], line["path"], line["proposed"])
    asked = [ids[0], truth.free(stars=1)[0], truth.free(stars=3)[1]]
    asked.append(truth.held_out[3])
    before = _copied(truth)
    before.held_out = [i for i in truth.held_out if i not in asked]
    before = before.quality(_model(out))
    result = done("forget", out, _ids_file(place, asked), "--by", "me", "--why", "law")
    whole = _copied(truth)
    truth.forget(asked)
    return out, asked, truth, whole, result, before


def test_nothing_of_the_forgotten_is_left_in_any_file(forgotten):
    out, asked, _, whole, *_ = forgotten
    _assert_gone(out, whole, asked)
    stored = load_file(out / "rows.safetensors")
    assert len(stored["X_train"]) == 87
    assert len(stored["X_held_out"]) == 29


def test_the_model_never_saw_them_bit_for_bit(forgotten):
    out, _, truth, *_ = forgotten
    assert bits(_model(out)) == bits(truth.fit())
    _assert_is(out, truth)  # with the edits of others


def test_the_certificate_says_what_was_done(forgotten):
    out, asked, truth, whole, result, before = forgotten
    text = (out / "forgotten-3.txt").read_text(encoding="utf-8")
    record = folders.records(out)[2]
    hashes = {i: folders.short_hash(whole.table.loc[i, "review"]) for i in asked}
    assert record["forgotten"] == [[i, hashes[i]] for i in whole.train if i in asked]
    assert record["held_out"] == [[asked[3], hashes[asked[3]]]]
    assert (record["kind"], record["by"], record["why"]) == ("forget", "me", "law")
    assert record["before"] == folders.records(out)[1]["after"]
    assert "Removed: 3 training rows, 1 held-out row" in text
    for i in asked:
        assert re.search(f"{i}  \\(text {hashes[i]}\\)", text)
    assert record["hash"] in text
    for part in PARTS:
        assert record["before"][part] in text
        assert record["after"][part] in text
    assert re.search("^By +me$", text, flags=re.MULTILINE)
    assert re.search("^Why +law$", text, flags=re.MULTILINE)
    assert "3 training rows and 1 held-out row forgotten: record 3" in result.stdout
    assert f"To sign off: {out / 'forgotten-3.txt'}" in result.stdout
    after = truth.quality(truth.fit())
    _assert_numbers(result, before, after)
    effect = after["log_loss"] - before["log_loss"]
    assert record["achieved_effect"] == pytest.approx(effect, abs=1e-6)


def test_forgetting_twice_says_so(forgotten, tmp_path):
    unescape_cell, asked, *_ = forgotten
    out = shutil.copytree(unescape_cell, tmp_path / "report")
    before = folders.contents(out)
    result = done("forget", out, _ids_file(tmp_path, asked))
    assert "4 rows forgotten already" in result.stdout
    assert "nothing was changed" in result.stdout
    assert folders.contents(out) == before
    said = json.loads(done("forget", out, tmp_path / "ids.txt", "--json").stdout)
    assert said["record"] is None


def test_apply_and_forget_go_on_after_forgetting(forgotten, tmp_path):
    unescape_cell, asked, truth, *_ = forgotten
    out, truth = shutil.copytree(unescape_cell, tmp_path / "report"), _copied(truth)
    whole = _copied(truth)
    i = truth.free(stars=5)[3]
    file = folders.write(tmp_path / "d.csv", [truth.line("relabel", i, "label", 1)])
    done("apply", out, file)
    truth.change("relabel", i, "label", 1)
    _assert_is(out, truth)
    certificate = (out / "forgotten-3.txt").read_bytes()
    more = [*asked, truth.train[0], truth.train[1]]
    done("forget", out, _ids_file(tmp_path, more))
    truth.forget(more)
    assert bits(_model(out)) == bits(truth.fit())
    _assert_is(out, truth)
    _assert_gone(out, whole, more[4:])
    assert (out / "forgotten-3.txt").read_bytes() == certificate
    assert (out / "forgotten-5.txt").exists()
    assert len(folders.records(out)[4]["forgotten"]) == 2


def test_a_certificate_that_was_signed_stays_signed(forgotten, tmp_path):
    unescape_cell, _, truth, *_ = forgotten
    out = shutil.copytree(unescape_cell, tmp_path / "report")
    path = out / "forgotten-3.txt"
    signed = path.read_text(encoding="utf-8").replace("Signed  ____", "Signed  A. B.")
    path.write_text(signed, encoding="utf-8")
    line = truth.line("relabel", truth.free(stars=5)[3], "label", 1)
    done("apply", out, folders.write(tmp_path / "decisions.csv", [line]))
    assert path.read_text(encoding="utf-8") == signed


def test_held_out_rows_alone_can_be_forgotten(out, truth, tmp_path):
    asked, whole = truth.held_out[:2], _copied(truth)
    before = bits(_model(out))
    result = done("forget", out, _ids_file(tmp_path, asked), "--json", "--quiet")
    # It chooses penalties again, and says so as the command line puts it.
    for line in result.stderr.splitlines():
        assert line.startswith("Warning: ")
        assert "set C" not in line and "set concept_C" not in line
    said = json.loads(result.stdout)
    assert said["forgotten"] == asked
    assert said["certificate"] == str(out / "forgotten-2.txt")
    truth.forget(asked)
    assert bits(_model(out)) == before
    assert (
        said["before"]
        == said["after"]
        == pytest.approx(truth.quality(truth.fit()), abs=1e-9)
    )
    _assert_is(out, truth)
    _assert_gone(out, whole, asked)


def test_ids_of_any_editor(out, truth, tmp_path):
    asked = [truth.train[4], truth.held_out[1]]
    file = tmp_path / "ids"
    file.write_bytes(f"\ufeff{asked[0]}\r\n\r\n  {asked[1]} \r\n{asked[0]}".encode())
    said = json.loads(done("forget", out, file, "--json").stdout)
    assert said["forgotten"] == asked


def test_ids_in_another_encoding(tiny_encoder, tmp_path):
    table = folders.reviews(60)
    table["review_id"] = "é" + table["review_id"]
    audited = folders.make_audit(tmp_path, tiny_encoder, table=table)
    file = tmp_path / "ids.txt"
    file.write_bytes("é007-003\n".encode("cp1252"))
    assert "--encoding" in refused("forget", audited.out, file, "-q")
    result = done("forget", audited.out, file, "--encoding", "cp1252", "--json")
    assert json.loads(result.stdout)["forgotten"] == ["é007-003"]


@pytest.mark.parametrize(
    ("leave", "message"),
    [
        ("a class", "the same label|does not occur in the training data"),
        ("nothing held out", "No row is held out, so its quality would be unknown"),
    ],
)
def test_no_model_without_them(leave, message, out, truth, tmp_path):
    rows = truth.table.loc[truth.train]
    of_class = rows.index[rows["stars"] == 4]
    asked = of_class if leave == "a class" else truth.held_out
    before = folders.contents(out)
    line = refused("forget", out, _ids_file(tmp_path, asked), "--quiet")
    assert re.search(message, line)
    assert "Without these rows there is no such model" in line
    assert "in a new folder, and delete this one" in line
    assert folders.contents(out) == before


def test_whether_rows_can_go_is_seen_on_the_rows_as_edited(out, truth, tmp_path):
    """All of a class are relabelled but one that comes from another class."""
    others = truth.free(stars=4)
    one = truth.free(stars=5)[0]
    decisions = [truth.line("relabel", i, "label", 5) for i in others]
    decisions += [truth.line("relabel", one, "label", 4)]
    done("apply", out, folders.write(tmp_path / "decisions.csv", decisions))
    before = folders.contents(out)
    line = refused("forget", out, _ids_file(tmp_path, [one]), "--quiet")
    assert "Without these rows there is no such model" in line
    assert folders.contents(out) == before
    for decision in decisions:
        truth.change("relabel", decision["id"], "label", decision["proposed"])
    done("forget", out, _ids_file(tmp_path, others))
    truth.forget(others)
    assert bits(_model(out)) == bits(truth.fit())
    _assert_is(out, truth)


def test_the_last_row_that_has_weight_cannot_go(out, truth, tmp_path):
    *dropped, one = truth.free(stars=4)
    decisions = [truth.line("drop", i, "row") for i in dropped]
    done("apply", out, folders.write(tmp_path / "decisions.csv", decisions))
    before = folders.contents(out)
    line = refused("forget", out, _ids_file(tmp_path, [one]), "--quiet")
    assert "Without these rows there is no such model" in line
    assert folders.contents(out) == before


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (b"", [], "names nobody: it should hold one id a line"),
        (b" \n\r\n\n", [], "names nobody"),
        (b"nobody\n007-000\n", [], "names 'nobody', but no row has this id"),
        (b"1\n2\n3\n4\n5\n6\n7\n", [], "'5' and 2 more, but no row"),
        (b"\xff\xfe\x00", [], "is not written in 'utf-8'"),
        (b"\xe9", [], "say what it is written in with --encoding"),
        (b"007-000\n", ["--encoding", "utf-9"], "utf-9"),
        (None, [], "There is no file"),
        ("folder", [], "is a folder; name a text file"),
    ],
)
def test_ids_that_cannot_be_taken(content, more, message, out, tmp_path):
    file = tmp_path / "ids.txt"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    before = folders.contents(out)
    line = refused("forget", out, file, "--quiet", *more)
    assert message in line
    assert folders.contents(out) == before


# --- Where there is nothing to repair -------------------------------------------------


COMMANDS = {"apply": ["decisions.csv"], "forget": ["ids.txt"], "replay": []}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("missing", "There is no folder .* Make an audit with skclif audit"),
        ("empty", "holds no audit: there is no rows.safetensors"),
        ("altered", "record 2 was altered after it was written"),
        ("not a record", "record 2 is not a record: it was altered"),
        ("removed", "record 1 does not follow the one before it"),
        ("shortened", "records were taken off the end of the trail"),
        ("no trail", "is not the file that trail.jsonl is about"),
        ("rows altered", "rows.safetensors is not the file that trail.jsonl is about"),
        ("no rows", "rows.safetensors is missing, .* Restore it"),
    ],
)
def test_a_folder_that_is_not_whole(command, trouble, message, applied, tmp_path):
    out, trail = tmp_path / "report", tmp_path / "report" / "trail.jsonl"
    if trouble == "empty":
        out.mkdir()
    elif trouble != "missing":
        shutil.copytree(applied[0], out)
        first, second, _ = trail.read_bytes().split(b"\n")
        new = {
            "altered": first + b"\n" + second.replace(b"the team", b"the tram") + b"\n",
            "not a record": first + b"\n" + second[:-1] + b"\n",
            "removed": second + b"\n",
            "shortened": first + b"\n",
        }
        if trouble in new:
            trail.write_bytes(new[trouble])
    if trouble == "no trail":
        trail.unlink()
    elif trouble == "no rows":
        (out / "rows.safetensors").unlink()
    elif trouble == "rows altered":
        content = bytearray((out / "rows.safetensors").read_bytes())
        content[-1] ^= 1
        (out / "rows.safetensors").write_bytes(content)
    before = folders.contents(out) if out.exists() else None
    for name in COMMANDS[command]:
        (tmp_path / name).write_text("decision\n", encoding="utf-8")
    files = [tmp_path / name for name in COMMANDS[command]]
    if command == "replay" and trouble == "shortened":
        result = run("replay", out)
        assert result.exit_code == 1
        assert "is not the file that was recorded" in result.stdout
    else:
        assert re.search(message, refused(command, out, *files, "--quiet"))
    assert (folders.contents(out) if out.exists() else None) == before


@pytest.mark.parametrize("command", ["apply", "forget"])
@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("another", "model.safetensors is not the file that trail.jsonl is about"),
        ("missing", "model.safetensors is missing, .* Restore it"),
    ],
)
def test_a_model_that_was_replaced(
    command, trouble, message, applied, audited, tmp_path
):
    out = shutil.copytree(applied[0], tmp_path / "report")
    if trouble == "another":
        shutil.copy(audited.out / "model.safetensors", out)
    else:
        (out / "model.safetensors").unlink()
    before = folders.contents(out)
    file = tmp_path / "file.csv"
    file.write_text("decision\n", encoding="utf-8")
    assert re.search(message, refused(command, out, file, "--quiet"))
    assert folders.contents(out) == before


def test_a_record_that_was_never_finished_is_warned_of(out, truth, tmp_path):
    with open(out / "trail.jsonl", "ab") as trail:
        trail.write(b'{"by":"some')
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    file = folders.write(tmp_path / "decisions.csv", [line])
    result = done("apply", out, file, "--quiet")
    assert result.stderr.count("was never finished") == 1
    assert [record["number"] for record in folders.records(out)] == [1, 2]
    assert done("replay", out, "--quiet").stderr == ""


def test_two_writers_at_once_are_refused(out, tmp_path):
    from skclif._storage.files import sole_writer

    file = tmp_path / "file.csv"
    file.write_text("decision\n", encoding="utf-8")
    with sole_writer(out):
        for command in ("apply", "forget"):
            line = refused(command, out, file, "--quiet")
            assert "Another skclif is writing to" in line
            assert "Wait for it to end" in line
        assert "Bit for bit" in done("replay", out).stdout  # it only reads


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of POSIX")
def test_a_folder_that_cannot_be_written_to_can_be_read(audited, tmp_path):
    with open_folder() as place:
        out, file = audited.copy(place), place / "reviews.csv"
        shutil.copytree(audited.model, place / "encoder")
        shutil.copy(audited.file, file)
        before = folders.contents(out)
        with read_only(place):
            assert "Bit for bit" in done("replay", out, file).stdout
            options = ["--text", "review", "--model", place / "encoder", "-q"]
            assert done("predict", out, file, *options).stdout.count("p=") == 5
            said = refused("apply", out, file, "-q")
            assert f"{str(out)!r} cannot be written to: permission denied." in said
            assert folders.contents(out) == before


@pytest.mark.parametrize("command", ["apply", "forget", "replay"])
def test_a_folder_that_is_a_file(command, audited):
    files = [audited.file for _ in COMMANDS[command]]
    result = run(command, audited.file, *files)
    assert result.exit_code == 2
    assert "is a file" in result.stderr


# --- Audit again ----------------------------------------------------------------------


def _audit(audited, out, *more):
    return ["audit", audited.file, *COLUMNS, *OPTIONS, "--out", out, *more]


def test_a_repaired_model_is_not_audited_over(applied, audited, tmp_path):
    out = shutil.copytree(applied[0], tmp_path / "report")
    before = folders.contents(out)
    line = refused(*_audit(audited, out, "--model", audited.model))
    assert "holds a model that was repaired (record 2 of" in line
    assert "name another --out, or continue with skclif apply" in line
    assert folders.contents(out) == before


def test_the_same_audit_again_appends_no_record(audited, out):
    trail = (out / "trail.jsonl").read_bytes()
    done(*_audit(audited, out, "--model", audited.model))
    assert (out / "trail.jsonl").read_bytes() == trail


def test_an_audit_with_another_option_appends_a_record(audited, out, tmp_path):
    done(*_audit(audited, out, "--model", audited.model, "--C", "0.5"))
    first, second = folders.records(out)
    assert (first["kind"], second["kind"]) == ("fit", "fit")
    assert (first["parameters"]["C"], second["parameters"]["C"]) == ("auto", 0.5)
    truth = Truth(audited)
    assert bits(_model(out)) == bits(truth.fit(C=0.5))
    i = truth.free(stars=2)[0]
    file = folders.write(tmp_path / "d.csv", [truth.line("relabel", i, "label", 4)])
    done("apply", out, file)
    truth.change("relabel", i, "label", 4)
    X = truth.X.to_numpy()
    expected = truth.fit(C=0.5).predict_proba(X)
    np.testing.assert_allclose(_model(out).predict_proba(X), expected, **CLOSE)
    assert "the same" in done("replay", out).stdout


def test_an_audit_says_as_json_where_its_report_is(audited, out):
    result = done(*_audit(audited, out, "--model", audited.model, "--json"))
    # The features of these tests say nothing of some concepts.
    lines = result.stderr.splitlines()
    assert all(line.startswith("Warning: ") for line in lines)
    said = json.loads(result.stdout)
    assert said["report"] == str(out / "audit.html")
    assert said["counts"]["held_out_rows"] == 30
    truth = Truth(audited)
    assert said["metrics"]["model"] == pytest.approx(truth.quality(truth.fit()))


def test_concepts_may_be_called_what_lines_call_other_things(tiny_encoder, tmp_path):
    """The path "row" is also that of weights."""
    table = folders.reviews(60).rename(columns={"food": "row"})
    file, out = tmp_path / "reviews.csv", tmp_path / "out"
    table.to_csv(file, index=False)
    concepts = ["--concept", "row", "--out", out, "--model", tiny_encoder]
    done("audit", file, *COLUMNS[:6], *concepts, *OPTIONS)
    rows = table.set_index("review_id")
    i = next(
        row[0]
        for row in folders.records(out)[0]["rows"]
        if rows.loc[row[0], "row"] == "Positive"
    )
    line = {"decision": "accept", "kind": "annotate", "id": i, "path": "row"}
    line |= {"text_hash": folders.short_hash(rows.loc[i, "review"])}
    line |= {"current": "Positive", "proposed": "Negative"}
    done("apply", out, folders.write(tmp_path / "decisions.csv", [line]))
    change = folders.records(out)[1]["changes"][0]
    assert (change["old"], change["new"]) == ("Positive", "Negative")
    assert "the same" in done("replay", out).stdout


# --- No text --------------------------------------------------------------------------


def test_no_text_reaches_any_file(without_texts, tmp_path):
    out, truth = without_texts.copy(tmp_path), Truth(without_texts)
    i = truth.free(stars=2)[0]
    decisions = lines(out, "suspects.csv")
    assert "text" not in decisions
    decisions.loc[decisions.index[0], "decision"] = "accept"
    first = decisions.iloc[0]
    file = folders.write(tmp_path / "decisions.csv", decisions)
    done("apply", out, file)
    truth.change(first["kind"], first["id"], first["path"], first["proposed"])
    _assert_is(out, truth)
    done("forget", out, _ids_file(tmp_path, [i, truth.held_out[0]]))
    truth.forget([i, truth.held_out[0]])
    _assert_is(out, truth)
    assert "bit for bit" in done("replay", out).stdout.lower()
    new = ["--text", "review", "--id", "review_id", "--no-text"]
    model = ["--model", without_texts.model, "--out", out / "predicted.csv"]
    done("predict", out, without_texts.file, *new, *model)
    phrases = [p for text in truth.table["review"] for p in _phrases(text, [])]
    for folder in (out, without_texts.out):
        for name, content in folders.contents(folder).items():
            text = content.decode("utf-8", "replace")
            assert not [phrase for phrase in phrases if phrase in text], name


# --- Predict --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def new_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("new") / "new.csv"
    table = folders.reviews(40, seed=3).drop(columns=["stars", *CONCEPTS])
    table.to_csv(file, index=False)
    return file


def _predict(place, file, model, *more):
    columns = ["--text", "review", "--id", "review_id"]
    return ["predict", place, file, *columns, "--model", model, *more]


def _said(model, tiny_encoder, file):
    texts = pd.read_csv(file)["review"].to_numpy()
    X = SentenceEmbedder(tiny_encoder, long_text="mean").fit(texts).transform(texts)
    return model.predict_proba(X), model.predict_concepts(X)


@pytest.mark.parametrize("place", ["", "model.safetensors"])
def test_predictions_are_the_models(place, applied, new_file, tiny_encoder, tmp_path):
    out = applied[0]
    path = tmp_path / "predicted.csv"
    result = done(*_predict(out / place, new_file, tiny_encoder, "--out", path))
    assert result.stdout == f"The predictions are in {path}\n"
    found = lines(tmp_path, "predicted.csv")
    given = pd.read_csv(new_file, dtype=str)
    assert found["id"].tolist() == given["review_id"].tolist()
    hashes = [f"h:{folders.short_hash(text)}" for text in given["review"]]
    assert found["text_hash"].tolist() == hashes
    model = _model(out)
    proba, concepts = _said(model, tiny_encoder, new_file)
    columns = [f"p={value}" for value in model.classes_]
    said = found[columns].to_numpy(dtype=float)
    np.testing.assert_allclose(said, proba, rtol=0, atol=1e-12)
    predicted = model.classes_[proba.argmax(axis=1)]
    assert found["predicted"].astype(int).tolist() == predicted.tolist()
    for name in CONCEPTS:
        expected = [str(value) for value in concepts[name]]
        assert found[f"predicted:{name}"].tolist() == expected


def test_predictions_go_to_the_standard_output(
    applied, new_file, tiny_encoder, tmp_path
):
    path = tmp_path / "predicted.csv"
    done(*_predict(applied[0], new_file, tiny_encoder, "--out", path))
    result = done(*_predict(applied[0], new_file, tiny_encoder, "--quiet"))
    assert result.stderr == ""
    assert result.stdout_bytes == path.read_bytes()


def test_predictions_as_json_lines(applied, new_file, tiny_encoder, tmp_path):
    arguments = _predict(applied[0], new_file, tiny_encoder, "--quiet", "--json")
    found = [json.loads(line) for line in done(*arguments).stdout.split("\n")[:-1]]
    texts = pd.read_csv(new_file, dtype=str)["review"]
    assert [line["text"] for line in found] == texts.tolist()
    proba, _ = _said(_model(applied[0]), tiny_encoder, new_file)
    said = [[line[f"p={value}"] for value in range(1, 6)] for line in found]
    np.testing.assert_allclose(said, proba, rtol=0, atol=1e-12)
    assert isinstance(found[0]["predicted"], int)
    result = done(*arguments, "--no-text")
    assert "text" not in json.loads(result.stdout.split("\n")[0])
    assert not [text for text in texts if text in result.stdout]


def test_formulas_in_predictions_are_harmless(applied, new_file, tiny_encoder):
    result = done(*_predict(applied[0], new_file, tiny_encoder, "--quiet"))
    assert "\"'=SUM(soup)" in result.stdout


def test_long_texts_are_warned_of_in_words(file_of_long, tiny_encoder, tmp_path):
    audited, new = file_of_long
    result = done(*_predict(audited.out, new, tiny_encoder, "--quiet"))
    (line,) = result.stderr.splitlines()
    assert line.startswith("Warning: ")
    assert "longer than the 32 tokens" in line


@pytest.fixture(scope="module")
def file_of_long(tiny_encoder, new_file, tmp_path_factory):
    place = tmp_path_factory.mktemp("long")
    folders.reviews(60).to_csv(place / "reviews.csv", index=False)
    places = ["--out", place / "out", "--model", tiny_encoder]
    done("audit", place / "reviews.csv", *COLUMNS, *places)
    return folders.Audited(place / "reviews.csv", place / "out", tiny_encoder), new_file


def test_a_model_of_features_is_refused(new_file, tiny_encoder, tmp_path):
    X, y = np.eye(4), [0, 1, 0, 1]
    path = tmp_path / "features.safetensors"
    save_model(ConceptBottleneckClassifier().fit(X, y), path)
    line = refused(*_predict(path, new_file, tiny_encoder, "--quiet"))
    assert "holds a model of features, without an embedder" in line
    assert "use skclif.load_model" in line


def test_an_embedding_model_that_was_moved(applied, new_file, tiny_encoder, tmp_path):
    columns = ["--text", "review", "--id", "review_id", "--quiet"]
    moved = shutil.copytree(tiny_encoder, tmp_path / "moved")
    line = refused("predict", applied[0], new_file, *columns)
    assert "--model" in line
    expected = done(*_predict(applied[0], new_file, tiny_encoder, "--quiet")).stdout
    arguments = ["predict", applied[0], new_file, *columns, "--model", moved]
    assert done(*arguments).stdout == expected
    config = moved / "config.json"
    config.write_bytes(config.read_bytes() + b"\n")
    assert "is not the model that was used before" in refused(*arguments)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere", "There is no file '.*nowhere'"),
        ("", "There is no file '.*model.safetensors'"),
        ("reviews.csv", "is not a safetensors file"),
        ("rows.safetensors", "does not hold a model"),
        ("broken.safetensors", "is damaged|not a whole one"),
    ],
)
def test_what_is_no_model(place, message, audited, tiny_encoder, new_file, tmp_path):
    shutil.copy(audited.file, tmp_path)
    shutil.copy(audited.out / "rows.safetensors", tmp_path)
    content = bytearray((audited.out / "model.safetensors").read_bytes())
    content[-9] ^= 1
    (tmp_path / "broken.safetensors").write_bytes(content)
    arguments = _predict(tmp_path / place, new_file, tiny_encoder, "--quiet")
    assert re.search(message, refused(*arguments))


def test_predictions_into_a_folder_that_is_not_there(
    audited, new_file, tiny_encoder, tmp_path
):
    path = tmp_path / "nowhere" / "predicted.csv"
    line = refused(*_predict(audited.out, new_file, tiny_encoder, "-q", "--out", path))
    assert "nowhere" in line
    assert ".part" not in line


def test_load_model_predicts_the_same(applied, tiny_encoder, new_file):
    model = load_model(applied[0] / "model.safetensors", model=tiny_encoder)
    texts = pd.read_csv(new_file)["review"].to_numpy()
    proba, _ = _said(_model(applied[0]), tiny_encoder, new_file)
    np.testing.assert_allclose(model.predict_proba(texts), proba, rtol=0, atol=1e-12)


# --- What the commands say ------------------------------------------------------------


def test_nothing_but_the_result_is_on_the_standard_output(out, truth, tmp_path):
    i = truth.free(stars=2)[0]
    file = folders.write(tmp_path / "d.csv", [truth.line("relabel", i, "label", 4)])
    result = done("apply", out, file)
    steps = re.findall(r"^(\w+) .* …$", result.stderr, flags=re.MULTILINE)
    assert steps == ["Reading", "Applying", "Tracing", "Writing"]
    assert "…" not in result.stdout
    result = done("forget", out, _ids_file(tmp_path, [i]))
    steps = re.findall(r"^(\w+) .* …$", result.stderr, flags=re.MULTILINE)
    assert steps == ["Reading", "Fitting", "Tracing", "Writing"]
    assert "…" not in result.stdout


def test_every_command_is_quiet_if_asked(out, truth, tmp_path):
    i = truth.free(stars=2)[0]
    file = folders.write(tmp_path / "d.csv", [truth.line("relabel", i, "label", 4)])
    ids = _ids_file(tmp_path, [i])
    for arguments in (["apply", out, file], ["forget", out, ids], ["replay", out]):
        said = done(*arguments, "--quiet").stderr
        # Warnings are not progress: forgetting chooses penalties again.
        assert all(line.startswith("Warning: ") for line in said.splitlines())


EXAMPLES = ("", "demo", "audit", "baseline", "tasks", "apply", "forget", "replay")
EXAMPLES += ("predict", "annotate", "embed")


def _examples():
    """Return the commands in the help of every command."""
    for command in EXAMPLES:
        text = run(*([command] if command else []), "--help").stdout
        _, _, example = text.partition("Example:\n")
        found = []
        for line in example.split("\n"):
            if not line.startswith("    "):
                break
            found.append(line.strip())
        yield command, " ".join(found).replace("\\ ", "")


def test_every_help_has_an_example():
    assert set(main.commands) == set(EXAMPLES[1:])
    for command, example in _examples():
        assert example.startswith(f"skclif {command}".strip()), command


def test_the_examples_of_the_help_run(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Hundreds of rows in place of thousands, as in tests/cli/test_cli.py.
    monkeypatch.setattr("skclif.cli.demo._N_GENERATED", 240)
    folders.reviews().to_csv("reviews.csv", index=False)
    folders.reviews(40, seed=1).to_csv("new.csv", index=False)
    write_prompts("concepts.yaml", {"food": {"good": "Tasty food.", "bad": "Cold."}})
    ran = []
    for command, example in _examples():
        program, *arguments = shlex.split(example)
        assert program == "skclif"
        is_demo = command in ("", "demo")
        if is_demo or command in ("audit", "baseline", "predict", "annotate", "embed"):
            arguments += ["--model", tiny_encoder]
        if is_demo:
            arguments += ["--max-mistakes", "0", "--method", "first_order"]
        result = run(*arguments)
        assert result.exit_code == 0, (example, result.output)
        ran.append(command)
        if command == "audit":
            decisions = lines(tmp_path / "report", "suspects.csv").iloc[:3]
            folders.write("decisions.csv", decisions.assign(decision="accept"))
            (tmp_path / "ids.txt").write_text(f"{decisions['id'].iloc[0]}\n")
    assert ran == list(EXAMPLES)
    assert (tmp_path / "predicted.csv").exists()


def test_the_command_runs_as_a_program(out, truth, tmp_path):
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    file = folders.write(tmp_path / "decisions.csv", [line])
    program = [sys.executable, "-c", "from skclif.cli import main; main()"]
    process = subprocess.run(
        [*program, "apply", str(out), str(file), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(process.stdout)["record"] == 2
    assert "Traceback" not in process.stderr
