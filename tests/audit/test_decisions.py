"""Files of decisions and of ids: what is taken, and what is refused.

A refused file leaves every byte of the folder as it was.
"""

import csv
import gzip
import hashlib
import io
import json
import re
from copy import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skclif._audit.decision_lines import ACCEPT, REJECT, SKIP, read_ids
from skclif._audit.decisions import Decisions, read_decisions
from skclif._audit.folder import AuditFolder
from skclif._audit.lists import Lists, read_lists
from skclif._audit.spreadsheets import same_hash
from skclif._storage.cells import escape_cell
from skclif.exceptions import DataFileError, DataFileWarning

from .. import folders
from ..folders import Truth, done, refused


@pytest.fixture(scope="module")
def repaired(audited, tmp_path_factory):
    """A folder in which two rows were forgotten, and one was relabelled."""
    place = tmp_path_factory.mktemp("repaired")
    out, truth = audited.copy(place), Truth(audited)
    file = place / "ids.txt"
    file.write_text(f"{truth.train[0]}\n{truth.held_out[0]}\n", encoding="utf-8")
    done("forget", out, file)
    return out


@pytest.fixture
def truth(audited):
    return Truth(audited)


@pytest.fixture(scope="module")
def revision(audited):
    return _revision(audited.out)


def _revision(out):
    folder = AuditFolder(out)
    with folder.to_write() as records:
        rows = folder.rows(records)
        return folder.revision(rows, records)


@pytest.fixture
def out(audited, tmp_path):
    return audited.copy(tmp_path)


@pytest.fixture
def line(truth):
    """An accepted line: a review with 2 stars shall have 4."""
    return truth.line("relabel", truth.free(stars=2)[0], "label", 4)


# --- What is refused ------------------------------------------------------------------


def _positive(truth):
    return truth.free(food="Positive")[0]


REFUSED = {
    "text changed": (
        {"text": "another text"},
        "the text of {id!r} in this file is not the one that was audited",
        "restore it or leave out the column text; if the review itself is to change, "
        "audit it again",
    ),
    "hash of another text": (
        {"text_hash": "0123456789abcdef"},
        "is not the one that was decided on: its hash is h:",
        "Take the line from the present suspects.csv or suggestions.csv",
    ),
    "no hash": ({"text_hash": ""}, "not ''", "decide again"),
    "unknown id": (
        {"id": "nobody"},
        "of the row 'nobody': there is no such row. id and text_hash of every",
        "train_text_hash. (Row 1 is the first row of data.)",
    ),
    "no id": (
        {"id": ""},
        "the column id is empty. id and text_hash of every training row are in",
        "influence.csv, as train_id and train_text_hash. (Row 1 is the first row of",
    ),
    "changed since": (
        {"current": "1"},
        "'label' of {id!r} has changed since: decided on was '1', now it is '2'",
        "write the value that it has into the column current",
    ),
    "current missing": ({"current": ""}, "decided on was '', now it is '2'", ""),
    "unknown label": (
        {"proposed": "6"},
        "the value '6' of 'label' is not known to the model, which has '1', '2', '3'",
        "",
    ),
    "no label": ({"proposed": ""}, "the value '' of 'label' is not known", ""),
    "unknown kind": (
        {"kind": "rename"},
        "the kind 'rename' is none of relabel, annotate, reweight, drop",
        "",
    ),
    "no kind": ({"kind": ""}, "the kind '' is none of", ""),
    "relabel of a concept": (
        {"path": "food"},
        "'relabel' of 'food'; it goes with 'label'",
        "",
    ),
    "annotate of the label": (
        {"kind": "annotate"},
        "'annotate' of 'label'; it goes with 'food', 'ambiance', 'service', 'price'",
        "",
    ),
    "annotate of nothing": (
        {"kind": "annotate", "path": ""},
        "'annotate' of ''; it goes with 'food'",
        "",
    ),
    "drop of the label": (
        {"kind": "drop"},
        "'drop' of 'label'; it goes with 'row'",
        "",
    ),
    "reweight of a concept": (
        {"kind": "reweight", "path": "food"},
        "'reweight' of 'food'; it goes with 'row'",
        "",
    ),
    "unknown decision": (
        {"decision": "maybe"},
        "the decision 'maybe' is not known",
        "Write 'accept', 'accepted', 'yes' or 'y' to make the change, 'reject', "
        "'rejected', 'no' or 'n' to record that it is not to be made, or 'skip' or "
        "'skipped' or nothing to leave it undecided. (Row 1",
    ),
    "a weight that is none": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": "heavy"},
        "the weight 'heavy' of {id!r} is neither 0 nor a number from 1e-06 to 1e+06",
        "",
    ),
    "weight below 0": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": "-1"},
        "the weight '-1' of {id!r} is neither 0",
        "",
    ),
    "weight too large": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": "1e7"},
        "the weight '1e7' of {id!r} is neither 0",
        "",
    ),
    "weight too small": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": "1e-300"},
        "the weight '1e-300' of {id!r} is neither 0 nor a number from 1e-06 to",
        "",
    ),
    "weight nan": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": "nan"},
        "the weight 'nan' of {id!r} is neither 0",
        "",
    ),
    "no weight": (
        {"kind": "reweight", "path": "row", "current": "1", "proposed": ""},
        "the weight '' of {id!r} is neither 0",
        "",
    ),
    "another weight since": (
        {"kind": "reweight", "path": "row", "current": "2", "proposed": "3"},
        "'row' of {id!r} has changed since: decided on was '2', now it is '1'",
        "",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_line_that_is_refused(name, out, line, truth, tmp_path):
    change, message, advice = REFUSED[name]
    good = truth.line("relabel", truth.free(stars=3)[0], "label", 4)
    file = folders.write(tmp_path / "d.csv", [good, {**line, **change}])
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert f"{file}, row 2" in said
    assert message.format(id=line["id"]) in said
    assert advice in said
    assert folders.contents(out) == before


@pytest.mark.parametrize(
    ("proposed", "message"),
    [
        ("Great", "is not known to the model, which has 'Negative', 'Positive'"),
        ("positive", "or write 'unannotated' to take the annotation away"),
        ("Unannotate", "or write 'unannotated' to take the annotation away"),
    ],
)
def test_an_annotation_that_is_refused(proposed, message, out, truth, tmp_path):
    line = truth.line("annotate", _positive(truth), "food", proposed)
    file = folders.write(tmp_path / "d.csv", [line])
    said = refused("apply", out, file, "--quiet")
    assert f"{file}, row 1: the value {proposed!r} of 'food'" in said
    assert message in said


def test_an_empty_cell_takes_no_annotation_away(out, truth, tmp_path):
    line = truth.line("annotate", _positive(truth), "food", "")
    good = truth.line("relabel", truth.free(stars=3)[0], "label", 4)
    file = folders.write(tmp_path / "d.csv", [good, line])
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert f"{file}, row 2: the column proposed is empty, in an accepted line" in said
    assert (
        "for 'food'. Write the value, or 'unannotated' to take the annotation" in said
    )
    assert folders.contents(out) == before


def test_only_a_person_can_say_a_missing_annotation(revision, truth, tmp_path):
    """The model's guess is in another column, which nothing reads."""
    line = truth.line("annotate", truth.free(food=None)[0], "food", "", effect="-0.1")
    line["guess"] = "Positive"
    file = folders.write(tmp_path / "d.csv", [line])
    message = (
        f"row 1: 'food' of {line['id']!r} is not annotated, and the column proposed is "
        "empty in this accepted line. Nobody but a person can say the value: read the "
        "text or ask somebody who does, and write what is true into proposed "
        "('Negative', 'Positive'"
    )
    with pytest.raises(DataFileError, match=re.escape(message)):
        read_decisions(file, revision, {})
    folders.write(file, [{**line, "proposed": "Positive"}])
    lists = Lists(suggestions={_place(line): ""})
    found = read_decisions(file, revision, {}, lists=lists)
    (change,) = found.changes
    assert (change.old, change.new, change.source) == (None, "Positive", "person")
    assert found.by_effect  # which chose the row
    folders.write(file, [{**line, "decision": "reject"}])
    (rejection,) = read_decisions(file, revision, {}).rejections
    assert rejection.id == line["id"]


def test_a_value_that_reads_like_the_word_is_told_apart(tiny_encoder, tmp_path):
    table = folders.reviews(60)
    table["food"] = table["food"].replace({"unknown": "unannotated"})
    audited = folders.make_audit(tmp_path, tiny_encoder, table=table)
    truth, revision = Truth(audited), _revision(audited.out)
    line = truth.line("annotate", _positive(truth), "food")
    file = tmp_path / "d.csv"
    for proposed, message in [
        (
            "unannotated",
            "'unannotated' reads like a value of 'food', and like the word that takes",
        ),
        ("UNANNOTATED", "Write 'value:unannotated' for the value, or 'remove:unannot"),
        ("", "or 'remove:unannotated' to take the annotation away"),
        ("odd", "or write 'remove:unannotated' to take the annotation away"),
    ]:
        folders.write(file, [{**line, "proposed": proposed}])
        assert message in refused("apply", audited.out, file, "--quiet")
    for proposed, new in [
        ("value:unannotated", "unannotated"),
        ("Value:Unannotated", "unannotated"),
        ("remove:unannotated", None),
        ("REMOVE:unannotated", None),
    ]:
        folders.write(file, [{**line, "proposed": proposed}])
        (change,) = _changes(file, revision)
        assert change.new == new
    for word in ("unannotated", "Unannotated", "UNANNOTATED"):
        other = truth.line("annotate", _positive(truth), "service", word)
        (change,) = _changes(folders.write(file, [other]), revision)
        assert change.new is None


def test_a_held_out_row_is_refused(out, truth, tmp_path):
    i = truth.held_out[4]
    file = folders.write(tmp_path / "d.csv", [truth.line("drop", i, "row")])
    said = refused("apply", out, file, "--quiet")
    assert f"of the row {i!r}: it is held out, and trains nothing" in said


@pytest.mark.parametrize("part", ["train", "held_out"])
def test_a_forgotten_row_is_refused(part, repaired, truth, tmp_path):
    i = getattr(truth, part)[0]
    line = truth.line("drop", i, "row")
    file = folders.write(tmp_path / "d.csv", [line])
    before = folders.contents(repaired)
    said = refused("apply", repaired, file, "--quiet")
    assert f"{file}, row 1: of the row {i!r}: it was forgotten in record 2" in said
    assert folders.contents(repaired) == before


CONTRADICTIONS = {
    "two labels": (
        [("relabel", "label", 4), ("relabel", "label", 3)],
        "row 2: two accepted lines give 'label' of {id!r} different values, '4' and "
        "'3'. Accept one",
    ),
    "the label that it has, and another": (
        [("relabel", "label", 2), ("relabel", "label", 3)],
        "different values, '2' and '3'. Accept one",
    ),
    "another, and the label that it has": (
        [("relabel", "label", 3), ("relabel", "label", 2)],
        "different values, '3' and '2'. Accept one",
    ),
    "two weights": (
        [("reweight", "row", "2"), ("reweight", "row", "0.5")],
        "different values, '2' and '0.5'",
    ),
    "drop and weight": (
        [("drop", "row", ""), ("reweight", "row", "2")],
        "two accepted lines give 'row' of {id!r} different values, '0' and '2'",
    ),
    "drop and label": (
        [("drop", "row", ""), ("relabel", "label", 3)],
        "{id!r} is to be dropped and its 'label' to be changed. Accept one of the two",
    ),
    "annotation and drop": (
        [("annotate", "food", "unannotated"), ("drop", "row", "")],
        "{id!r} is to be dropped and its 'food' to be changed",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_refused(name, out, truth, tmp_path):
    changes, message = CONTRADICTIONS[name]
    i = truth.free(food="Positive", stars=2)[0]
    decisions = [truth.line(kind, i, path, new) for kind, path, new in changes]
    file = folders.write(tmp_path / "d.csv", decisions)
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert str(file) in said
    assert message.format(id=i) in said
    assert folders.contents(out) == before


@pytest.mark.parametrize(
    ("wanted", "kind", "message"),
    [
        ({"stars": 4}, "drop", "no row to train on would have the label 4 (changes"),
        ({"stars": 4}, "relabel", "label 4 (changes of '007-"),
    ],
)
def test_a_class_left_without_rows(wanted, kind, message, out, truth, tmp_path):
    path = {"drop": "row", "relabel": "label"}[kind]
    new = {"drop": "", "relabel": 5}[kind]
    ((name, values),) = wanted.items()
    decisions = [truth.line(kind, i, path, new) for i in truth.free(**{name: values})]
    file = folders.write(tmp_path / "d.csv", decisions)
    before = folders.contents(out)
    assert message in refused("apply", out, file, "--quiet")
    assert folders.contents(out) == before


@pytest.mark.parametrize(
    "name", ["decision", "kind", "id", "text_hash", "path", "current", "proposed"]
)
def test_a_column_that_is_missing(name, out, line, tmp_path):
    del line[name]
    file = folders.write(tmp_path / "d.csv", [line])
    said = refused("apply", out, file, "--quiet")
    assert f"{file} has no column {name!r}, asked for as" in said


@pytest.mark.parametrize("word", [*SKIP, "Skip"])
def test_a_file_that_decides_nothing(word, out, line, tmp_path):
    file = folders.write(tmp_path / "d.csv", [{**line, "decision": word}])
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert f"{file} decides nothing. Write 'accept' into the column decision" in said
    assert "and 'reject' where nothing is to change" in said
    assert folders.contents(out) == before


def test_what_is_skipped_is_not_looked_at(out, line, tmp_path):
    odd = dict.fromkeys(line, "odd") | {"decision": "skip"}
    file = folders.write(tmp_path / "d.csv", [odd, line])
    assert "1 change made, of 1 accepted" in done("apply", out, file).stdout
    assert "rejected" not in folders.records(out)[-1]


@pytest.mark.parametrize(
    ("content", "more", "message"),
    [
        (None, [], "There is no file"),
        ("folder", [], "is a folder; name a file in it"),
        (b"", [], "is empty"),
        (b"decision,kind,id,text_hash,path,current,proposed\n", [], "but no rows"),
        (b"decision\xe9,kind\n", [], "is not written in 'utf-8'"),
        (b"decision,kind\n", ["--encoding", "utf-9"], "utf-9"),
        (b"decision,kind\n", ["--encoding", "hex"], "hex"),
        (b'decision,kind,id,text_hash,path,current,proposed\n"accept,', [], "row 1"),
        (b"decision,kind,id,text_hash,path,current,proposed\na,b\n", [], "2 fields"),
    ],
)
def test_a_file_that_cannot_be_read(content, more, message, out, tmp_path):
    file = tmp_path / "d.csv"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    before = folders.contents(out)
    assert message in refused("apply", out, file, "--quiet", *more)
    assert folders.contents(out) == before


def test_a_file_of_unknown_kind(out, line, tmp_path):
    file = tmp_path / "decisions.docx"
    file.write_bytes(b"PK")
    assert "the suffix '.docx' is none of" in refused("apply", out, file, "-q")


def test_a_reason_that_no_file_can_hold(out, line, tmp_path):
    """JSON can hold half a character, and so can a command line."""
    file = tmp_path / "decisions.jsonl"
    before = folders.contents(out)
    for name in ("text", "id", "current", "proposed", "decision", "why"):
        text = json.dumps({**line, name: "\ud800"}, default=int)
        file.write_text(text + "\n", encoding="utf-8")
        said = refused("apply", out, file, "--quiet")
        assert folders.contents(out) == before, name
        assert f"{file}, row 1" in said, name
    file = folders.write(tmp_path / "decisions.csv", [line])
    for option in ("--why", "--by"):
        said = refused("apply", out, file, "--quiet", option, "caf\udce9")
        assert f"{option} 'caf\\udce9' holds bytes that are not in the encoding" in said
        assert folders.contents(out) == before, option


# --- What is taken --------------------------------------------------------------------


def _changes(path, revision, **options):
    return read_decisions(path, revision, {}, **options).changes


@pytest.mark.parametrize("word", [*ACCEPT, "Accept", " YES ", "Y"])
def test_words_that_accept(word, revision, line, tmp_path):
    file = folders.write(tmp_path / "d.csv", [{**line, "decision": word}])
    (change,) = _changes(file, revision)
    assert (change.kind, change.id, change.path) == ("relabel", line["id"], "label")
    assert (change.old, change.new, change.why) == (2, 4, None)


def test_lines_are_counted(revision, line, truth, tmp_path):
    decisions = [line, truth.line("relabel", truth.free(stars=3)[0], "label", 3)]
    other = truth.line("relabel", truth.free(stars=3)[1], "label", 4)
    decisions += [{**other, "decision": word} for word in (*REJECT, *SKIP)]
    decisions[0]["effect"] = "-0.01"
    found = read_decisions(folders.write(tmp_path / "d.csv", decisions), revision, {})
    assert (found.n_accepted, found.n_in_effect) == (2, 1)
    assert (found.n_rejected, found.n_skipped) == (len(REJECT), len(SKIP))
    assert len(found.rejections) == 1
    assert found.by_effect
    decisions[0]["effect"] = ""
    found = read_decisions(folders.write(tmp_path / "d.csv", decisions), revision, {})
    assert not found.by_effect


def test_what_an_effect_chose(revision, truth, tmp_path):
    """A suspect is not chosen by its effect, though a suggestion is the same."""
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    key = line["id"], "relabel", "label"
    lists = Lists({key: "4"}, {key: "4"})

    def by_effect(**more):
        file = folders.write(tmp_path / "d.csv", [{**line, **more}])
        wrong = {(line["id"], "label"): 0.9}
        options = {"lists": lists, "wrong": lambda: wrong}
        return read_decisions(file, revision, {}, **options).by_effect

    assert by_effect(effect="-0.01", probability_wrong="0.9")
    assert not by_effect(probability_wrong="0.9")
    assert not by_effect(probability="0.9")
    assert by_effect()
    # A value of one's own: the row is still the one that the effect chose.
    assert by_effect(proposed="3")
    assert by_effect(effect="-0.01", proposed="3")
    assert not read_decisions(
        folders.write(tmp_path / "d.csv", [line]), revision, {}
    ).by_effect


def test_what_need_not_be_said(revision, truth, tmp_path):
    """The path goes without saying, but of concepts; so does the weight that is."""
    i = truth.free(stars=2)[0]
    decisions = [
        truth.line("relabel", i, "label", 4) | {"path": ""},
        truth.line("drop", truth.free(stars=3)[0], "row") | {"path": "", "current": ""},
        truth.line("reweight", truth.free(stars=3)[1], "row", "2") | {"current": ""},
    ]
    found = _changes(folders.write(tmp_path / "d.csv", decisions), revision)
    assert [(c.path, c.new) for c in found] == [
        ("label", 4),
        ("row", 0.0),
        ("row", 2.0),
    ]


def test_numbers_as_spreadsheets_write_them(revision, truth, tmp_path):
    i = truth.free(price=1)[0]
    decisions = [
        truth.line("relabel", truth.free(stars=2)[0], "label", "4.0")
        | {"current": "2,"},
        truth.line("annotate", i, "price", "3.0") | {"current": "1.00"},
        truth.line("reweight", truth.free(stars=3)[1], "row", "2.50")
        | {"current": "1"},
    ]
    decisions[0]["current"] = "2.0"
    found = _changes(folders.write(tmp_path / "d.csv", decisions), revision)
    assert [c.new for c in found] == [4, 3, 2.5]
    assert [type(c.new) for c in found] == [int, int, float]
    assert [c.old for c in found] == [2, 1, 1.0]


def test_annotations_are_made_changed_and_taken_away(revision, truth, tmp_path):
    made, changed, taken = (
        truth.free(food=None)[0],
        truth.free(food="Negative")[0],
        truth.free(price=2)[0],
    )
    decisions = [
        truth.line("annotate", made, "food", "Positive", why=" it was warm "),
        truth.line("annotate", changed, "food", "unknown"),
        truth.line("annotate", taken, "price", "unannotated"),
    ]
    found = _changes(folders.write(tmp_path / "d.csv", decisions), revision)
    assert [(c.id, c.path, c.old, c.new) for c in found] == [
        (made, "food", None, "Positive"),
        (changed, "food", "Negative", "unknown"),
        (taken, "price", 2, None),
    ]
    assert [c.why for c in found] == ["it was warm", None, None]


@pytest.fixture(scope="module")
def listed(audited):
    """The list of suspects, all accepted, with odd texts in it."""
    table, truth = folders.lines(audited.out, "suspects.csv"), Truth(audited)
    more = []
    for i in truth.train:
        if truth.table.loc[i, "review"] in folders.ODD_TEXTS:
            stars = truth.value(i, "label")
            line = truth.line("relabel", i, "label", str(stars % 5 + 1))
            line["text"] = escape_cell(truth.table.loc[i, "review"])
            more.append({**table.iloc[0], **line, "current": str(stars)})
    table = pd.concat([pd.DataFrame(more), table], ignore_index=True)
    table = table.drop_duplicates(["id", "path"])
    assert table["text"].str.startswith("'").any()
    assert table["text"].str.contains("\n").any()
    return table.assign(decision="accept")


def _saved(table, **options):
    return table.to_csv(index=False, **options).encode()


FORMS = {
    "semicolons": (".csv", lambda t: _saved(t, sep=";")),
    "tabs": (".tsv", lambda t: _saved(t, sep="\t")),
    "everything quoted": (".csv", lambda t: _saved(t, quoting=csv.QUOTE_ALL)),
    "byte order mark": (".csv", lambda t: b"\xef\xbb\xbf" + _saved(t)),
    "line ends of Windows": (".csv", lambda t: _saved(t, lineterminator="\r\n")),
    "line ends of Windows, also in texts": (
        ".csv",
        lambda t: _saved(t).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
    ),
    "line ends of Unix, also in texts": (
        ".csv",
        lambda t: _saved(t).replace(b"\r\n", b"\n"),
    ),
    "numbers as 4.0": (".csv", lambda t: _saved(_with_floats(t))),
    "apostrophes hidden": (
        ".csv",
        lambda t: _saved(
            t.assign(text=t["text"].str.replace("^'(?=[=@-])", "", regex=True))
        ),
    ),
    "compressed": (".csv.gz", lambda t: gzip.compress(_saved(t))),
    "JSON Lines": (".jsonl", lambda t: _json_lines(t)),
    "JSON with nulls": (".jsonl", lambda t: _json_lines(t.replace({"": None}))),
    "other columns": (".csv", lambda t: _saved(t.assign(who="me", when="now"))),
    "another order": (".csv", lambda t: _saved(t[sorted(t)].iloc[::-1])),
    "no texts": (".csv", lambda t: _saved(t.drop(columns=["text", "why"]))),
    "texts removed": (".csv", lambda t: _saved(t.assign(text=""))),
}


def _with_floats(table):
    table = table.copy()
    for name in ("current", "proposed"):
        table[name] = [f"{v}.0" if v.isdigit() else v for v in table[name]]
    return table


def _json_lines(table):
    rows = table.to_dict("records")
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@pytest.mark.parametrize("form", FORMS)
def test_a_file_as_other_programs_save_it(form, listed, revision, tmp_path):
    suffix, save = FORMS[form]
    expected = _changes(folders.write(tmp_path / "plain.csv", listed), revision)
    assert len(expected) == len(listed)
    file = tmp_path / f"decisions{suffix}"
    file.write_bytes(save(listed))
    found = _changes(file, revision)
    assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_line_ends_of_several_kinds_in_one_text(tiny_encoder, tmp_path):
    table = folders.reviews(120)
    table["review"] += "\nthe soup\r\nthe waiter\rthe room"
    audited = folders.make_audit(tmp_path, tiny_encoder, table=table)
    decisions = folders.lines(audited.out, "suspects.csv").iloc[:3]
    decisions = decisions.assign(decision="accept")
    file = tmp_path / "decisions.csv"
    content = _saved(decisions).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    file.write_bytes(content)
    done("apply", audited.out, file)


def test_a_file_in_another_encoding(listed, revision, out, tmp_path):
    expected = _changes(folders.write(tmp_path / "plain.csv", listed), revision)
    file = tmp_path / "decisions.csv"
    for encoding in ("utf-16", "cp1252"):
        file.write_bytes(listed.to_csv(index=False).encode(encoding))
        found = _changes(file, revision, encoding=encoding)
        assert found == expected
    assert "is not written in" in refused("apply", out, file, "--quiet")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_unicode_text_of_excel_says_its_encoding(encoding, listed, revision, tmp_path):
    """It separates by tabs, and quotes fields that hold quotes or line breaks."""
    expected = _changes(folders.write(tmp_path / "plain.csv", listed), revision)
    file = tmp_path / "decisions.txt"
    text = "\ufeff" + listed.to_csv(index=False, sep="\t", lineterminator="\r\n")
    file.write_bytes(text.encode(encoding))
    assert _changes(file, revision) == expected


def test_a_table_of_parquet(listed, revision, tmp_path):
    pytest.importorskip("pyarrow")
    expected = _changes(folders.write(tmp_path / "plain.csv", listed), revision)
    file = tmp_path / "decisions.parquet"
    listed.astype({"loss": float}).to_parquet(file)
    assert _changes(file, revision) == expected
    listed.replace({"": None}).to_parquet(file)
    assert _changes(file, revision) == expected


def test_a_long_text_can_be_decided_on(tiny_encoder, tmp_path):
    """Of more characters than Python's reader of CSV takes by itself."""
    table = folders.reviews(120)
    table.loc[[5, 15, 25], "review"] += " the soup" * 20_000
    rows = table.iloc[:120].rename(columns={"review": "text", "stars": "label"})
    file, out = tmp_path / "reviews.jsonl", tmp_path / "out"
    names = ["text", "label", "food"]
    rows[names].to_json(file, orient="records", lines=True)
    places = ["--out", out, "--model", tiny_encoder, "--quiet"]
    done("audit", file, "--concept", "food", *places)
    train = {row[0] for row in folders.records(out)[0]["rows"]}
    k = next(k for k in (5, 15, 25) if f"row-{k + 1}" in train)
    text, stars = rows["text"][k], rows["label"][k]
    assert len(text) > 131_072
    line = {"decision": "accept", "kind": "relabel", "id": f"row-{k + 1}"}
    line |= {"text_hash": folders.short_hash(text), "path": "label", "text": text}
    line |= {"current": stars, "proposed": stars % 5 + 1}
    done("apply", out, folders.write(tmp_path / "decisions.csv", [line]))


def test_ids_and_texts_that_look_like_formulas(tiny_encoder, tmp_path):
    table = folders.reviews(120)
    table["review_id"] = [f"=1+{k}" if k % 2 else f"@{k}" for k in range(120)]
    table["food"] = table["food"].replace({"Positive": "+", "Negative": "-"})
    audited = folders.make_audit(tmp_path, tiny_encoder, table=table)
    decisions = folders.lines(audited.out, "suspects.csv").drop_duplicates("id")
    assert decisions["id"].str.startswith("'").all()
    decisions = decisions.assign(decision="accept").iloc[:5]
    file = folders.write(tmp_path / "decisions.csv", decisions)
    done("apply", audited.out, file)
    changes = folders.records(audited.out)[1]["changes"]
    assert {c["id"] for c in changes} == {i[1:] for i in decisions["id"]}


# --- Hashes ---------------------------------------------------------------------------


def test_hashes_with_and_without_their_prefix(revision, line, tmp_path):
    expected = _changes(folders.write(tmp_path / "old.csv", [line]), revision)
    new = {**line, "text_hash": f"h:{line['text_hash']}"}
    assert _changes(folders.write(tmp_path / "new.csv", [new]), revision) == expected


@pytest.mark.parametrize(
    ("said", "known", "is_same"),
    [
        ("h:67167174807909e1", "67167174807909e1", True),
        ("67167174807909e1", "67167174807909e1", True),
        ("6.7167174807909E+14", "67167174807909e1", True),
        ("671672000000000", "67167174807909e1", True),
        ("h:6.7167174807909E+14", "67167174807909e1", False),
        ("h:67167174807909e2", "67167174807909e1", False),
        ("h:", "67167174807909e1", False),
        ("671672", "67167174807909e1", False),
        ("ab", "abcdef0123456789", False),
    ],
)
def test_hashes_that_a_spreadsheet_took_for_numbers(said, known, is_same):
    assert same_hash(said, known) == is_same


# --- What spreadsheets make of ids and words ------------------------------------------


@pytest.fixture(scope="module")
def coded(tiny_encoder, tmp_path_factory):
    """An audit whose ids are numbers with zeros before them, and labels True, False."""
    place, table = tmp_path_factory.mktemp("coded"), folders.reviews(60)
    table["review_id"] = [f"{k:03d}" for k in range(60)]
    table["stars"] = ["True" if stars > 3 else "False" for stars in table["stars"]]
    table.loc[11, "review"] = table.loc[10, "review"]
    audited = folders.make_audit(place, tiny_encoder, table=table)
    train = [row[0] for row in folders.records(audited.out)[0]["rows"]]
    return audited.out, table.set_index("review_id"), train


def _coded_line(table, i, **changes):
    text_hash = f"h:{folders.short_hash(table.loc[i, 'review'])}"
    line = {"decision": "accept", "kind": "drop", "id": i, "text_hash": text_hash}
    return {**line, "path": "row", "current": "", "proposed": "", **changes}


@pytest.mark.parametrize("form", ["{:d}", "{:.1f}", "{:.2E}"])
def test_an_id_that_a_spreadsheet_took_for_a_number(form, coded, tmp_path):
    out, table, train = coded
    i = next(i for i in train if i.startswith("00") and i != "000")
    line = _coded_line(table, i, id=form.format(int(i)))
    file = folders.write(tmp_path / "d.csv", [line])
    (change,) = _changes(file, _revision(out))
    assert change.id == i
    rejecting = {**line, "decision": "reject"}
    found = read_decisions(folders.write(file, [rejecting]), _revision(out), {})
    assert found.rejections[0].id == i


def test_cells_of_a_workbook_have_types(coded, tmp_path):
    """Excel has numbers, logical values and dates; an id was all text before."""
    openpyxl = pytest.importorskip("openpyxl")
    out, table, train = coded
    ids = [i for i in train if i.startswith("0") and table.loc[i, "stars"] == "True"]
    book = openpyxl.Workbook()
    changes = {"kind": "relabel", "path": "label", "current": True, "proposed": False}
    lines = [_coded_line(table, i, **changes, id=int(i)) for i in ids[:2]]
    lines[0]["decision"] = "Reject"
    book.active.append([*lines[0]])
    for line in lines:
        book.active.append([*line.values()])
    book.save(tmp_path / "d.xlsx")
    found = read_decisions(tmp_path / "d.xlsx", _revision(out), {})
    ((change,), (rejected,)) = found.changes, found.rejections
    assert (change.id, change.old, change.new) == (ids[1], "True", "False")
    assert rejected.id == ids[0]


def test_an_id_without_its_zeros_and_another_text_is_refused(coded, tmp_path):
    out, table, train = coded
    first, other = [i for i in train if i.startswith("0") and i != "000"][:2]
    line = _coded_line(table, other, id=str(int(first)))
    file = folders.write(tmp_path / "d.csv", [line])
    said = refused("apply", out, file, "--quiet")
    assert f"of the row '{int(first)}': there is no such row. A spreadsheet can" in said
    assert f"can take '{first}' for a number and write this" in said
    assert "Restore id and text_hash" in said


def test_labels_that_a_spreadsheet_wrote_in_capitals(coded, tmp_path):
    out, table, train = coded
    i = next(i for i in train if table.loc[i, "stars"] == "True")
    changes = {"kind": "relabel", "path": "label", "current": "TRUE"}
    line = _coded_line(table, i, **changes, proposed="FALSE")
    (change,) = _changes(folders.write(tmp_path / "d.csv", [line]), _revision(out))
    assert (change.old, change.new) == ("True", "False")


# The ids that LibreOffice 7.4 changed when it opened and saved a list.
ODD_IDS = {
    "1E5": "100000",
    "1/2": "2026-01-02",
    "+1": "1",
    "12345678901234567890": "1.23456789012346E+019",
    "1.10": "1.1",
    "12:30": "12:30:00 PM",
    "'007": "007",
    "1,234": "1234",
    "$5": "5",
    "0x1F": "0x1F",
    "-": "-",
    "@a": "'@a",
}


@pytest.fixture(scope="module")
def odd(revision):
    """The rows of an audit, with ids that a spreadsheet changes."""
    rows = revision.rows
    ids = [*ODD_IDS, *rows.ids[len(ODD_IDS) :]]
    digests = rows.digests.copy()
    digests[1] = digests[1][:4] + "5e10" + digests[1][8:]
    assert len(set(digests[: len(ODD_IDS)])) == len(ODD_IDS)
    return replace(revision, rows=replace(rows.renamed(ids), digests=digests))


def _of_row(revision, position, **changes):
    rows = revision.rows
    return {
        "decision": "accept",
        "kind": "drop",
        "id": rows.ids[position],
        "text_hash": f"h:{rows.digests[position][:16]}",
        "path": "row",
        "current": "",
        "proposed": "",
        **changes,
    }


def test_ids_as_a_spreadsheet_writes_them(odd, tmp_path):
    lines = [_of_row(odd, k, id=said) for k, said in enumerate(ODD_IDS.values())]
    found = _changes(folders.write(tmp_path / "d.csv", lines), odd)
    assert [change.id for change in found] == list(ODD_IDS)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("100000", "can take '1E5' for a number and write this: is that row meant?"),
        ("1/2/2026", "can take '1/2' for a date and write this"),
        ("###", "there is no such row. A spreadsheet writes this for a column that is"),
        ("7", 'can take "\'007" for a cell marked as text and write this'),
        ("nobody", "there is no such row. id and text_hash of every training row"),
    ],
)
def test_what_a_spreadsheet_did_to_an_id_is_said(said, message, odd, tmp_path):
    file = folders.write(tmp_path / "d.csv", [_of_row(odd, 20, id=said)])
    with pytest.raises(DataFileError, match=re.escape(message)):
        read_decisions(file, odd, {})


def test_two_rows_that_a_changed_id_can_mean(revision, tmp_path):
    """Their texts are equal, so nothing tells them from each other."""
    rows, digests = revision.rows, revision.rows.digests.copy()
    digests[:3] = digests[0]
    ids = ["004", "04", "1", *rows.ids[3:]]
    twins = replace(revision, rows=replace(rows.renamed(ids), digests=digests))
    file = folders.write(tmp_path / "d.csv", [_of_row(twins, 0, id="4")])
    message = "took the id for a number: '004', '04' can be meant, and all have this"
    with pytest.raises(DataFileError, match=re.escape(message)):
        read_decisions(file, twins, {})
    folders.write(file, [_of_row(twins, 0, id="04")])
    message = "the row '04' can be meant, or '004' as a spreadsheet writes it"
    with pytest.raises(DataFileError, match=re.escape(message)):
        read_decisions(file, twins, {})
    folders.write(file, [_of_row(twins, 2)])
    assert read_decisions(file, twins, {}).changes[0].id == "1"


def test_a_changed_id_that_is_the_id_of_another_row(revision, tmp_path):
    ids = ["004", "4", *revision.rows.ids[2:]]
    both = replace(revision, rows=revision.rows.renamed(ids))
    file = folders.write(tmp_path / "d.csv", [_of_row(both, 0, id="4")])
    assert read_decisions(file, both, {}).changes[0].id == "004"
    held_out = replace(revision, rows=revision.rows.renamed(["004", *ids[2:], "x"]))
    folders.write(file, [_of_row(held_out, 0, id="4")])
    assert read_decisions(file, held_out, {"4": "it is held out"}).changes[0].id == (
        "004"
    )


def test_a_hash_that_a_spreadsheet_took_for_a_number_names_its_row(odd, tmp_path):
    digests = odd.rows.digests.copy()
    digests[4] = "1234567890123e10" + digests[4][16:]
    odd = replace(odd, rows=replace(odd.rows, digests=digests))
    for said in ("1.23456789E+22", "1,23457E+22"):
        line = _of_row(odd, 4, id="1.1", text_hash=said)
        file = folders.write(tmp_path / "d.csv", [line])
        assert read_decisions(file, odd, {}).changes[0].id == "1.10"


def test_texts_as_spreadsheets_write_them(revision, tmp_path):
    """The hash says that it is the text; Excel cuts long ones, and drops a quote."""
    long = "'Good' " + 6000 * "soup ok "
    texts = revision.rows.texts.copy()
    texts[0], texts[1] = long, "1-2"
    digests = revision.rows.digests.copy()
    for k in (0, 1):
        digests[k] = hashlib.sha256(texts[k].encode()).hexdigest()
    rows = replace(revision.rows, texts=texts, digests=digests)
    odd = replace(revision, rows=rows)
    for position, said in [(0, long[:32767]), (0, long[1:]), (1, "2026-01-02")]:
        file = folders.write(tmp_path / "d.csv", [_of_row(odd, position, text=said)])
        assert len(read_decisions(file, odd, {}).changes) == 1
    file = folders.write(tmp_path / "d.csv", [_of_row(odd, 0, text=long[:300])])
    with pytest.raises(DataFileError, match="is not the one that was audited"):
        read_decisions(file, odd, {})


def test_weights_with_a_decimal_comma(revision, tmp_path):
    line = _of_row(revision, 0, kind="reweight", proposed="0,5")
    file = folders.write(tmp_path / "d.csv", [line])
    assert read_decisions(file, revision, {}).changes[0].new == 0.5
    folders.write(file, [{**line, "proposed": "1,234"}])  # or a thousand
    with pytest.raises(DataFileError, match="the weight '1,234' of"):
        read_decisions(file, revision, {})


def test_numbers_are_proposed_for_a_concept_of_numbers(revision, tmp_path):
    """A model with a continuous concept knows no list of its values."""
    model = copy(revision.model)
    model.concept_classes_ = [*model.concept_classes_[:3], None]
    concepts = revision.rows.concepts.copy()
    concepts["price"] = [2.5] * len(concepts)
    rows = replace(revision.rows, concepts=concepts)
    numbers = replace(revision, model=model, rows=rows)
    line = _of_row(numbers, 0, kind="annotate", path="price", current="2,50")
    file = tmp_path / "d.csv"
    for said, value in {"3.25": 3.25, "3,25": 3.25, "4": 4.0, "1e3": 1000.0}.items():
        folders.write(file, [{**line, "proposed": said}])
        (change,) = read_decisions(file, numbers, {}).changes
        assert (change.old, change.new) == (2.5, value)
    for said in ("much", "nan", "inf", "1,234", "1e300"):
        folders.write(file, [{**line, "proposed": said}])
        message = f"the value {said!r} of 'price' is no finite number. Write one, or "
        message += "'unannotated' to take it away"
        with pytest.raises(DataFileError, match=re.escape(message)):
            read_decisions(file, numbers, {})


@pytest.mark.filterwarnings("error")
def test_amounts_far_outside_are_named_and_taken(revision, tmp_path):
    model = copy(revision.model)
    model.concept_classes_ = [*model.concept_classes_[:3], None]
    concepts = revision.rows.concepts.copy()
    concepts["price"] = np.linspace(1, 5, len(concepts))
    rows = replace(revision.rows, concepts=concepts)
    numbers = replace(revision, model=model, rows=rows)
    lines = [
        _of_row(numbers, row, kind="annotate", path="price", current=str(current))
        for row, current in enumerate(concepts["price"][:3])
    ]
    file = tmp_path / "d.csv"

    def changes(*said):
        pairs = zip(lines, said, strict=False)
        folders.write(file, [{**line, "proposed": one} for line, one in pairs])
        return [change.new for change in read_decisions(file, numbers, {}).changes]

    assert changes("9", "-3", "unannotated") == [9, -3, None]
    first = re.escape(f"'price' of {lines[0]['id']!r} becomes 1000000000, which is far")
    with pytest.warns(DataFileWarning, match=f"{first}.* there, 1 to 5. It is taken"):
        assert changes("1e9", "4.5") == [1e9, 4.5]
    message = "becomes 9.01, which .*, 1 to 5, and so is 1 other new value. It is taken"
    with pytest.warns(DataFileWarning, match=message):
        assert changes("9.01", "-3.01") == [9.01, -3.01]


# --- Suggested values -----------------------------------------------------------------


def _suggested(truth, i, new=4, **more):
    """Return a line as suggestions.csv has it."""
    line = truth.line("relabel", i, "label", new)
    return {**line, "effect": "-0.1", "probability_wrong": "0.9", **more}


def _place(line):
    return line["id"], line["kind"], line["path"]


def test_a_suggestion_for_a_right_value_is_refused(revision, truth, tmp_path):
    first, second, third = truth.free(3, stars=2)
    lines = [_suggested(truth, i) for i in (first, second, third)]
    wrong = {(first, "label"): 0.5, (second, "label"): 0.31}
    file = folders.write(tmp_path / "d.csv", lines)
    message = (
        f"row 2: '2' is believed right as 'label' of {second!r}: its probability of "
        "being wrong is 0.31, and a suggestion needs 0.5 or more. It may help the "
        "label, but by making 'label' mean something else. 1 more suggested line is "
        "like it. Write 'reject', or read the text and write the true value into "
        "proposed. --even-if-right makes such changes, and the trail records it."
    )
    with pytest.raises(DataFileError, match=re.escape(message)):
        _changes(file, revision, wrong=lambda: wrong)
    with pytest.raises(DataFileError, match=r"wrong is below 0\.05, .* needs 0\.5"):
        _changes(file, revision, wrong=dict)
    with pytest.raises(DataFileError, match=r"else\. 2 more suggested lines are like"):
        _changes(file, revision, wrong=dict)
    found = _changes(file, revision, wrong=lambda: wrong, even_if_right=True)
    assert [(c.probability_wrong, c.even_if_right) for c in found] == [
        (0.5, False),
        (0.31, True),
        (None, True),
    ]
    assert {c.source for c in found} == {"suggestion"}


def test_a_column_that_is_deleted_opens_no_gate(revision, truth, tmp_path):
    """What the folder proposed says where a value comes from."""
    i = truth.free(stars=2)[0]
    line = truth.line("relabel", i, "label", "4.0")
    file = folders.write(tmp_path / "d.csv", [line])
    lists = Lists(suggestions={_place(line): "4"})
    with pytest.raises(DataFileError, match="believed right"):
        _changes(file, revision, lists=lists, wrong=dict)
    (change,) = _changes(file, revision, lists=lists, wrong=lambda: {(i, "label"): 0.5})
    assert (change.source, change.probability_wrong) == ("suggestion", 0.5)


def _never():
    raise AssertionError("nothing asks for probabilities here")


def test_what_a_person_wrote_in_is_their_judgement(revision, truth, tmp_path):
    i = truth.free(stars=2)[0]
    plain, listed = truth.line("relabel", i, "label", 4), _suggested(truth, i)
    for line, lists in [
        (plain, Lists()),
        (plain, Lists(suggestions={_place(plain): "5"})),
        (listed, Lists(suggestions={_place(plain): "5"})),
        (plain, Lists(suspects={_place(plain): "5"})),
    ]:
        file = folders.write(tmp_path / "d.csv", [line])
        (change,) = _changes(file, revision, lists=lists, wrong=_never)
        assert (change.source, change.probability_wrong) == ("person", None)


@pytest.mark.parametrize("name", ["probability", "probability_wrong"])
def test_a_suspect_was_looked_at(name, revision, truth, tmp_path):
    line = truth.line("relabel", truth.free(stars=2)[0], "label", 4)
    listed = Lists(suspects={_place(line): "4"})
    file = tmp_path / "d.csv"
    for cells, lists in [({}, listed), ({name: "0.2"}, listed), ({name: "0.2"}, None)]:
        folders.write(file, [{**line, **cells}])
        (change,) = _changes(file, revision, lists=lists, wrong=_never)
        assert change.source == "suspect"


def test_suggestions_that_replace_no_value_are_made(revision, truth, tmp_path):
    missing, weighed, dropped, done_already = (
        truth.free(food=None)[0],
        truth.free(stars=3)[1],
        truth.free(stars=3)[2],
        truth.free(stars=4)[0],
    )
    table = [
        truth.line("annotate", missing, "food", "Positive", effect="-0.1"),
        truth.line("reweight", weighed, "row", "2", effect="-0.1"),
        truth.line("drop", dropped, "row", "0", effect="-0.1"),
        _suggested(truth, done_already, 4),
    ]
    file = folders.write(tmp_path / "d.csv", table)
    found = _changes(file, revision, wrong=_never)
    assert [c.source for c in found] == ["suggestion"] * 3


def test_where_nothing_is_known_nothing_is_refused(revision, truth, tmp_path):
    file = folders.write(
        tmp_path / "d.csv", [_suggested(truth, truth.free(stars=2)[0])]
    )
    (change,) = _changes(file, revision, wrong=lambda: None)
    assert (change.probability_wrong, change.even_if_right) == (None, False)


def test_of_two_lines_the_one_with_evidence_is_recorded(revision, truth, tmp_path):
    i = truth.free(stars=2)[0]
    suspect = truth.line("relabel", i, "label", 4, probability_wrong="0.7")
    file = folders.write(tmp_path / "d.csv", [suspect, _suggested(truth, i)])
    (change,) = _changes(file, revision, wrong=lambda: {(i, "label"): 0.7})
    assert (change.source, change.probability_wrong) == ("suggestion", 0.7)


@pytest.fixture(scope="module")
def right(audited):
    """A suggestion for an annotation that the audit believes right, and its place."""
    truth, table = Truth(audited), folders.lines(audited.out, "suspects.csv")
    places = zip(table["id"], table["path"], strict=True)
    known = dict(zip(places, _probabilities(table), strict=True))
    annotated = [i for i in truth.train if truth.value(i, "service") is not None]
    i = min(annotated, key=lambda i: known.get((i, "service"), 0))
    assert known.get((i, "service"), 0) < 0.5
    values = {"Positive", "Negative", "unknown"} - {truth.value(i, "service")}
    return truth.line("annotate", i, "service", min(values), effect="-0.1"), max(values)


def _probabilities(table):
    """Return the probability of being wrong, as this version or the last calls it."""
    names = [name for name in ("probability_wrong", "probability") if name in table]
    return table[names[0]].astype(float)


def test_apply_computes_what_is_believed_by_itself(right, out, tmp_path):
    """The file says that the value is wrong; the model does not."""
    line = {**right[0], "probability_wrong": "0.9"}
    file = folders.write(tmp_path / "d.csv", [line])
    before = folders.contents(out)
    said = refused("apply", out, file, "--quiet")
    assert f"is believed right as 'service' of {line['id']!r}: its probability" in said
    assert folders.contents(out) == before
    done("apply", out, file, "--even-if-right")
    (change,) = folders.records(out)[-1]["changes"]
    assert change["even_if_right"] is True
    assert change["source"] == "suggestion"
    assert "Bit for bit" in done("replay", out).stdout


def test_apply_knows_its_own_suggestions(right, out, tmp_path):
    line, other = right
    line = {name: cell for name, cell in line.items() if name != "effect"}
    listed = folders.lines(out, "suggestions.csv").iloc[:1].assign(**line)
    folders.write(out / "suggestions.csv", listed)
    file = folders.write(tmp_path / "d.csv", [line])
    assert "is believed right" in refused("apply", out, file, "--quiet")
    done("apply", out, folders.write(file, [{**line, "proposed": other}]))
    source = folders.records(out)[-1]["changes"][0]["source"]
    assert source in ("person", "suspect")


def test_a_suspect_that_is_suggested_too_is_made(out, tmp_path, monkeypatch):
    (line,) = folders.lines(out, "suspects.csv").iloc[:1].to_dict("records")
    probability = 0.9  # of so few texts, none is probably wrong
    believed = {(line["id"], line["path"]): probability}
    name = "skclif._audit.proposals.wrong_probabilities"
    monkeypatch.setattr(name, lambda *given: believed)
    line |= {"decision": "accept", "effect": "-0.1"}
    done("apply", out, folders.write(tmp_path / "d.csv", [line]))
    (change,) = folders.records(out)[-1]["changes"]
    assert change["probability_wrong"] == pytest.approx(probability)
    assert (change["source"], change["even_if_right"]) == ("suggestion", False)


@pytest.mark.parametrize("content", [b"", b"id\n", b"\xff", b'id,"\n'])
@pytest.mark.parametrize("name", ["suspects.csv", "suggestions.csv"])
def test_a_list_that_cannot_be_read(name, content, out, line, tmp_path):
    (out / name).write_bytes(content)
    before = folders.contents(out)
    said = refused("apply", out, folders.write(tmp_path / "d.csv", [line]), "--quiet")
    assert f"{name} is not the list that skclif wrote" in said
    assert "Restore it or delete it; the next report has it again" in said
    assert folders.contents(out) == before


def test_lists_that_were_deleted_are_there_again(out, line, tmp_path):
    names = ["suspects.csv", "suggestions.csv"]
    for name in names:
        (out / name).unlink()
    done("apply", out, folders.write(tmp_path / "d.csv", [line]))
    assert all((out / name).exists() for name in names)


def test_lists_without_lines_and_with_odd_names(tmp_path):
    assert read_lists(tmp_path) == Lists()
    (tmp_path / "suspects.csv").write_text("id,kind,path,proposed\n")
    text = "id,kind,path,proposed\n'=1,annotate,'@food,'-x\n007,drop,row,0\n"
    (tmp_path / "suggestions.csv").write_text(text)
    suggestions = {("=1", "annotate", "@food"): "-x", ("007", "drop", "row"): "0"}
    assert read_lists(tmp_path) == Lists({}, suggestions)


# --- Ids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "ids"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\nb\na", ["a", "b"]),
        ("\ufeffa\r\n\r\n b \r\n", ["a", "b"]),
        (
            "=1\n007\nan id with spaces\nété\n",
            ["=1", "007", "an id with spaces", "été"],
        ),
    ],
)
def test_ids_are_read_as_they_are(content, ids, tmp_path):
    file = tmp_path / "ids.txt"
    file.write_bytes(content.encode())
    assert read_ids(file) == ids


def test_ids_in_another_encoding(tmp_path):
    file = tmp_path / "ids.txt"
    file.write_bytes("é\nb\n".encode("utf-16"))
    assert read_ids(file, "utf-16") == ["é", "b"]
    with pytest.raises(DataFileError, match="is not written in 'utf-8'"):
        read_ids(file)


# --- Whatever it is, it is taken or refused -------------------------------------------

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def _read_or_refuse(path, revision):
    """Return what is read, None if it is refused with a message."""
    try:
        found = read_decisions(path, revision, {})
    except (ValueError, OSError) as error:
        assert str(error)
        return None
    assert isinstance(found, Decisions)
    assert len(found.changes) <= found.n_accepted
    return found


@FUZZ
@given(data=st.data())
def test_mutated_bytes_are_read_or_refused(data, listed, revision, tmp_path):
    suffix, save = FORMS[data.draw(st.sampled_from(["semicolons", "JSON Lines"]))]
    content = bytearray(save(listed.iloc[:4]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=3))
        content[place : place + data.draw(st.integers(0, 3))] = piece
    path = tmp_path / f"mutated{suffix}"
    path.write_bytes(content)
    _read_or_refuse(path, revision)


CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["accept", "label", "food", "row", "drop", "reweight", "nan", "inf"]
    ),
    st.sampled_from(["-0", "1e999", "4.0", "1_0", "٤", "'=1", "'", "\x00", "\ud800"]),
)
VALUES = st.one_of(
    CELLS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**400),
    st.floats(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@FUZZ
@given(data=st.data())
def test_mutated_cells_are_read_or_refused(data, listed, revision, tmp_path):
    rows = listed.iloc[:4].to_dict("records")
    as_json = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.sampled_from(rows))
        name = data.draw(st.sampled_from(sorted(row)))
        row[name] = data.draw(VALUES if as_json else CELLS)
    if as_json:
        path = tmp_path / "mutated.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path = tmp_path / "mutated.csv"
        stream = io.StringIO(newline="")
        # As objects: Arrow's strings refuse lone surrogates.
        pd.DataFrame(rows, dtype=object).to_csv(stream, index=False)
        path.write_bytes(stream.getvalue().encode("utf-8", "surrogatepass"))
    found = _read_or_refuse(path, revision)
    if found is not None:
        for change in found.changes:
            json.dumps(vars(change), ensure_ascii=False, allow_nan=False).encode()


@FUZZ
@given(content=st.binary(max_size=40))
def test_any_bytes_are_ids_or_refused(content, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    try:
        ids = read_ids(path)
    except DataFileError as error:
        assert str(path) in str(error)
    else:
        assert ids and all(i == i.strip() and i for i in ids)
