"""Annotations by prompts: tables, corrections by people, and audits."""

import json
import re
import warnings

import pandas as pd
import pytest

from skclif import (
    ConceptAnnotator,
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
    read_prompts,
)
from skclif._audit.folder import AuditFolder
from skclif.exceptions import PenaltyWarning

from .. import folders
from ..folders import done, lines, run, short_hash

PROMPTS = """
food:
  Positive: [The food was tasty., Warm and tasty food.]
  Negative: [The food was cold., Cold soup.]
  unknown:
service:
  Positive: The waiter was great.
  Negative: [The waiter was rude.]
  unknown:
"""
CONFIDENCE = "0.45"  # of a small model with random weights
N = 80


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with texts, without annotations, and prompts."""
    place = tmp_path_factory.mktemp("prompts")
    table = folders.reviews(N)[["review_id", "review", "stars", "food"]]
    table.to_csv(place / "annotated.csv", index=False)
    table.drop(columns="food").to_csv(place / "reviews.csv", index=False)
    (place / "concepts.yaml").write_text(PROMPTS, encoding="utf-8")
    return place


def options(place, model, out, prompts="concepts.yaml"):
    return [
        *("--text", "review", "--id", "review_id", "--out", out, "--model", model),
        *("--prompts", place / prompts, "--min-confidence", CONFIDENCE),
    ]


@pytest.fixture(scope="module")
def annotated(place, tiny_encoder):
    out = place / "annotated"
    result = done("annotate", place / "reviews.csv", *options(place, tiny_encoder, out))
    return out, result


def refused(*arguments):
    return folders.refused(*arguments, "--quiet")


def texts(place):
    return pd.read_csv(place / "reviews.csv", dtype=str).set_index("review_id")[
        "review"
    ]


def shares(place, model, concepts=None):
    """Return the shares of an annotator in Python, on the same texts."""
    annotator = ConceptAnnotator(
        read_prompts(place / "concepts.yaml"),
        embedder=SentenceEmbedder(model, layers=None, long_text="mean"),
    )
    return annotator.fit_transform(texts(place), concepts=concepts)


def line_of(path, name, proposed, **more):
    i = path[0]
    line = {"decision": "accept", "kind": "annotate", "id": i, "path": name}
    return line | {
        "text_hash": short_hash(path[1]),
        "current": "",
        **more,
        "proposed": proposed,
    }


# --- Tables ---------------------------------------------------------------------------


def test_annotations_are_those_of_the_annotator(place, annotated, tiny_encoder):
    out, result = annotated
    table = lines(out, "annotations.csv").set_index("id")
    expected = shares(place, tiny_encoder)
    assert table.columns.tolist() == [
        *("text_hash", "text", "food", "confidence:food", "by:food"),
        *("service", "confidence:service", "by:service"),
    ]
    for name in ("food", "service"):
        own = expected.filter(like=f"{name}=")
        top, best = own.max(axis=1), own.idxmax(axis=1).str.partition("=")[2]
        confidence = table[f"confidence:{name}"].astype(float)
        pd.testing.assert_series_equal(
            confidence, top, check_names=False, atol=1e-4, rtol=0
        )
        is_sure = confidence >= float(CONFIDENCE)
        assert is_sure.any() and (name == "food" or not is_sure.all())
        assert (table[name] == best.where(is_sure, "")).all()
        assert set(table[f"by:{name}"][is_sure]) == {"prompts"}
        said = (
            f"{name}: {is_sure.sum()} by prompts, 0 by people, {(~is_sure).sum()} with"
        )
        assert said in result.stdout
    assert table.loc["007-000", "text"].startswith("'=SUM")  # no formula


def test_the_least_sure_are_asked_about_first(place, annotated):
    out, _ = annotated
    asked = lines(out, "next.csv")
    table = lines(out, "annotations.csv").set_index("id")
    assert len(asked) == 100
    assert not asked["id"][:N].duplicated().any()  # every text, then the next concept
    confidence = asked["confidence"].astype(float)
    assert confidence[:N].is_monotonic_increasing
    assert confidence[N:].is_monotonic_increasing
    assert set(asked["decision"]) == set(asked["proposed"]) == {""}
    first = asked.iloc[0]
    assert table.loc[first["id"], f"confidence:{first['path']}"] == first["confidence"]
    assert table.loc[first["id"], first["path"]] == first["current"]


def test_corrections_stay_and_teach(place, annotated, tiny_encoder, tmp_path):
    out = place / "corrected"
    arguments = ["annotate", place / "reviews.csv", *options(place, tiny_encoder, out)]
    asked = lines(annotated[0], "next.csv")
    asked.loc[0, ["decision", "proposed"]] = ["accept", "Negative"]
    asked.loc[1, ["decision", "proposed"]] = ["yes", "unannotated"]
    asked.loc[2, "proposed"] = "Positive"  # not decided
    other = {**asked.iloc[3], "kind": "relabel", "path": "label"}
    other |= {"decision": "accept", "proposed": "3"}
    asked = pd.concat([asked, pd.DataFrame([other])])
    path = folders.write(tmp_path / "mine.csv", asked)
    result = done(*arguments, "--corrections", path)
    assert "2 annotations of people in mine.csv" in result.stderr
    assert "1 accepted line is about labels or rows" in result.stderr
    (first, name), (second, other_name) = asked[["id", "path"]].to_numpy()[:2]
    tables = [lines(out, "annotations.csv").set_index("id")]
    # The hash says of which text a correction is; without the option, it still counts.
    done(*arguments)
    tables.append(lines(out, "annotations.csv").set_index("id"))
    for table in tables:
        assert table.loc[first, [name, f"by:{name}"]].tolist() == ["Negative", "person"]
        assert table.loc[first, f"confidence:{name}"] == ""
        said = table.loc[second, [other_name, f"by:{other_name}"]].tolist()
        assert said == ["", "person"]
    pd.testing.assert_frame_equal(*tables)
    given = pd.DataFrame(None, index=texts(place).index, columns=["food", "service"])
    given = given.astype(object)
    given.loc[first, name] = "Negative"
    expected = shares(place, tiny_encoder, given).filter(like=f"{name}=").max(axis=1)
    confidence = pd.to_numeric(tables[0][f"confidence:{name}"]).drop([first, second])
    pd.testing.assert_series_equal(
        confidence, expected[confidence.index], check_names=False, atol=1e-4, rtol=0
    )
    assert (
        not lines(out, "next.csv")["id"].eq(first).any()
        or (lines(out, "next.csv").query("id == @first")["path"] != name).all()
    )
    # A file in which the text is another one, and the other row is not there.
    table = pd.read_csv(place / "reviews.csv", dtype=str)
    table = table[table["review_id"] != second]
    table.loc[table["review_id"] == first, "review"] = "Another text."
    changed = tmp_path / "changed.csv"
    table.to_csv(changed, index=False)
    result = done("annotate", changed, *options(place, tiny_encoder, out))
    assert "2 earlier corrections are about texts, concepts or values that are" in (
        result.stderr
    )


def test_annotations_of_people_in_the_file_stay(place, tiny_encoder, tmp_path):
    out = tmp_path / "out"
    arguments = options(place, tiny_encoder, out)
    result = run(
        "annotate",
        place / "annotated.csv",
        *arguments,
        "--concept",
        "food",
        "--json",
        "--no-text",
        "--limit",
        "3",
    )
    found = json.loads(result.stdout)
    given = pd.read_csv(place / "annotated.csv", dtype=str, keep_default_na=False)
    n_people = int((given["food"] != "").sum())
    assert found["counts"]["food"]["people"] == n_people
    table = lines(out, "annotations.csv")
    is_own = (table["by:food"] == "person").to_numpy()
    assert is_own.sum() == n_people
    assert (table["food"] == given["food"])[is_own].all()
    assert "text" not in table and len(lines(out, "next.csv")) == 3


# --- With labels ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(place, tiny_encoder):
    out = place / "labelled"
    arguments = ["annotate", place / "reviews.csv", *options(place, tiny_encoder, out)]
    arguments += ["--min-confidence", "0.55"]
    return out, done(*arguments, "--label", "stars", "--json"), arguments


def test_held_out_texts_are_those_of_an_audit(audited, labelled):
    out, result, _ = labelled
    rows = AuditFolder(audited[0]).rows(folders.records(audited[0]))
    table = lines(out, "annotations.csv").set_index("id")
    held_out = table.index[table["part"] == "held out"]
    assert set(held_out) == set(rows.held_out.ids)
    assert set(table.index[table["part"] == "training"]) == set(rows.train.ids)
    record = json.loads((out / "annotations.json").read_bytes())
    assert record["held_out"] == {
        "texts": len(held_out),
        "label": "stars",
        **{"split_by": None, "time": None, "test_size": 0.25, "seed": 0},
    }
    assert json.loads(result.stdout)["held_out"] == str(out / "held-out.csv")
    # A sample of whole texts, in random order, without what a machine says.
    asked = lines(out, "held-out.csv")
    assert set(asked["id"]) == set(held_out)
    assert asked["path"].tolist() == ["food", "service"] * len(held_out)
    assert asked["id"][::2].tolist() != sorted(held_out)
    assert set(asked["current"]) == {""}
    assert not {"guess", "confidence"} & set(asked)


def test_missing_annotations_come_by_their_expected_gain(place, labelled, tiny_encoder):
    out, result, _ = labelled
    table = lines(out, "annotations.csv")
    embedder = SentenceEmbedder(tiny_encoder, long_text="mean")
    X = embedder.fit_transform(texts(place)[table["id"]])
    labels = pd.read_csv(place / "reviews.csv")["stars"].to_numpy()
    is_held = (table["part"] == "held out").to_numpy()
    concepts = table[["food", "service"]].where(table[["food", "service"]] != "")
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(C="auto", concept_C="auto")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PenaltyWarning)
        explainer.fit(X[~is_held], labels[~is_held], concepts=concepts[~is_held])
    expected = explainer.suggest_annotations(
        None, X[is_held], labels[is_held], n=100, by="annotation"
    ).to_frame()
    assert len(expected) == concepts[~is_held].isna().to_numpy().sum()
    expected = expected[expected["gain"] > 0]
    asked = lines(out, "next.csv")
    first = asked[asked["ordered_by"] == "expected gain"]
    assert len(first) == len(expected) > 5
    ids = table["id"][~is_held].to_numpy()
    assert first["id"].tolist() == ids[expected["row"]].tolist()
    assert first["path"].tolist() == expected["concept"].tolist()
    assert first["gain"].astype(float).to_numpy() == pytest.approx(
        expected["gain"].to_numpy(), rel=1e-3
    )
    rest = asked[len(first) :]
    assert len(rest) and set(rest["ordered_by"]) == {"least confidence"}
    assert set(rest["gain"]) == {""}
    assert rest["confidence"].astype(float)[:20].is_monotonic_increasing
    assert set(asked["id"]) <= set(ids)
    said = json.loads(result.stdout)["next_ordered_by"]
    assert said == ["expected gain", "least confidence"]


def test_lists_that_are_of_no_use_any_more_go(labelled, tmp_path):
    copy = tmp_path / "copy"
    folders.shutil.copytree(labelled[0], copy)
    arguments = [*labelled[2], "--out", copy, "--no-text"]
    result = done(*arguments)
    assert "ordered by least confidence: write" in result.stdout
    assert not (copy / "held-out.csv").exists()
    assert "part" not in lines(copy, "annotations.csv")


def test_what_people_wrote_into_a_list_is_kept(labelled, place, tmp_path):
    copy = tmp_path / "copy"
    folders.shutil.copytree(labelled[0], copy)
    mine = lines(copy, "next.csv")
    mine.loc[0, ["decision", "proposed"]] = ["accept", "Positive"]
    mine.loc[1, "proposed"] = "Negative"  # and nothing decided
    mine.loc[2, "decision"] = "reject"  # nothing is to be said of it
    mine.loc[len(mine) - 1, "decision"] = "no"  # what the prompts said is right
    mine.to_csv(copy / "next.csv", index=False)
    arguments = [*labelled[2], "--out", copy, "--label", "stars"]
    result = done(*arguments, "--corrections", copy / "next.csv")
    assert "3 annotations of people in next.csv" in result.stderr
    assert "1 line has a value in proposed and nothing in decision, and does not" in (
        result.stderr
    )
    assert f"{copy / 'next.csv'} was written into, and is next-1.csv now" in (
        result.stderr
    )
    pd.testing.assert_frame_equal(lines(copy, "next-1.csv"), mine)
    table = lines(copy, "annotations.csv").set_index("id")
    for row, value in ((0, "Positive"), (2, None), (len(mine) - 1, None)):
        i, path, current = mine[["id", "path", "current"]].iloc[row]
        value = current if value is None else value
        assert table.loc[i, [path, f"by:{path}"]].tolist() == [value, "person"]
    counts = json.loads((copy / "annotations.json").read_bytes())["counts"]
    assert all(sum(one.values()) == N for one in counts.values())
    # The folder itself takes what was corrected to other commands.
    other = ["annotate", place / "reviews.csv", *labelled[2][2:]]
    result = done(*other, "--out", tmp_path / "other", "--corrections", copy)
    assert "3 annotations of people in annotations.json" in result.stderr
    said = refused(*other, "--out", tmp_path / "other", "--corrections", tmp_path)
    assert "this folder has no annotations.json, which skclif annotate writes" in said
    result = done(*other, "--out", copy, "--corrections", labelled[0] / "next.csv")
    assert "Warning: 0 annotations of people in next.csv: it has no line" in (
        result.stderr
    )


@pytest.mark.parametrize(
    "option",
    [
        ("--split-by", "stars"),
        ("--time", "stars"),
        ("--test-size", "0.25"),
        ("--seed", "0"),
    ],
)
def test_options_without_labels(place, tiny_encoder, tmp_path, option):
    arguments = options(place, tiny_encoder, tmp_path / "out")
    result = run("annotate", place / "reviews.csv", *arguments, *option)
    assert result.exit_code == 2
    assert f"{option[0]} is about the texts that skclif audit holds out" in (
        result.stderr
    )


def test_a_machine_that_is_not_sure_leaves_all_to_people(place, tiny_encoder, tmp_path):
    few = tmp_path / "few.csv"
    pd.read_csv(place / "reviews.csv").head(20).to_csv(few, index=False)
    arguments = [*options(place, tiny_encoder, tmp_path / "out"), "--label", "stars"]
    arguments += ["--min-confidence", "1"]
    result = done("annotate", few, *arguments)
    assert "There are only 20 different texts. What a text says is compared" in (
        result.stderr
    )
    assert "No text is annotated with 'food' (the surest text has 0." in result.stderr
    assert "'service' (the surest text has 0." in result.stderr
    assert set(lines(tmp_path / "out", "next.csv")["ordered_by"]) == {
        "least confidence"
    }
    result = run("audit", few, *arguments)
    assert result.exit_code == 1
    said = result.stderr
    assert "No text is annotated with 'food' (the surest" in said
    assert "annotate some texts, or leave the concept out of the file" in said


def test_values_that_no_text_has_are_named(place, tiny_encoder, tmp_path):
    odd = tmp_path / "odd.yaml"
    odd.write_text(
        "'confidence:food':\n  a: [yes]\n  b: [zebra zebra]\n"
        "food:\n  Positive: [The food was tasty.]\n  Negative: [zebra]\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    arguments = options(place, tiny_encoder, out, odd)
    arguments += ["--min-confidence", "0"]
    few = tmp_path / "few.csv"
    pd.read_csv(place / "reviews.csv").head(1).to_csv(few, index=False)
    result = done("annotate", few, *arguments)
    assert re.search("No text has the value '.*' of 'food'", result.stderr)
    # No column takes the place of another one.
    table = lines(out, "annotations.csv")
    assert [name for name in table if "food" in name] == [
        *("annotated confidence:food", "confidence:annotated confidence:food"),
        *("by:annotated confidence:food", "food", "confidence:food", "by:food"),
    ]


@pytest.mark.parametrize("command", ["annotate", "audit"])
def test_no_folder_is_left_that_holds_nothing(place, tiny_encoder, tmp_path, command):
    out = tmp_path / "some" / "place"
    arguments = [*options(place, tiny_encoder, out), "--text", "no such"]
    assert "no column 'no such'" in refused(command, place / "reviews.csv", *arguments)
    assert not out.parent.exists()
    out.mkdir(parents=True)
    refused(command, place / "reviews.csv", *arguments)
    assert out.exists()


# --- What is refused ------------------------------------------------------------------


def test_files_that_are_refused(place, tiny_encoder, tmp_path):
    out = tmp_path / "out"
    arguments = options(place, tiny_encoder, out)
    file = place / "reviews.csv"
    said = refused(
        "annotate", place / "annotated.csv", *arguments, "--concept", "stars"
    )
    assert (
        "--concept 'stars': concepts.yaml has no such concept, but food, serv" in said
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text("food:\n  good: [x\n", encoding="utf-8")
    assert "bad.yaml" in refused(
        "annotate", file, *options(place, tiny_encoder, out, bad)
    )
    assert "no such" in refused(
        "annotate", file, *options(place, tiny_encoder, out, "no such")
    )
    record = out / "annotations.json"
    out.mkdir()
    record.write_text("{}")
    assert "annotations.json is not the file that" in refused(
        "annotate", file, *arguments
    )
    record.write_text('{"format_version": 9, "corrections": []}')
    assert "format version 9" in refused("annotate", file, *arguments)


def test_a_value_that_the_prompts_do_not_have(place, tiny_encoder, tmp_path):
    table = pd.read_csv(place / "annotated.csv", dtype=str)
    table.loc[3, "food"] = "superb"
    table.to_csv(tmp_path / "odd.csv", index=False)
    arguments = options(place, tiny_encoder, tmp_path / "out")
    said = refused("annotate", tmp_path / "odd.csv", *arguments, "--concept", "food")
    assert "annotated 'food' with 'superb' (1 ×), id 007-003. concepts.yaml has" in said
    assert "Add it to --prompts, with prompts, or correct" in said
    assert said.endswith("that there is none, say --missing superb.")
    table.loc[3, "food"] = "positive"
    table.to_csv(tmp_path / "odd.csv", index=False)
    result = run("annotate", tmp_path / "odd.csv", *arguments, "--concept", "food")
    assert result.exit_code == 1
    said = result.stderr
    assert "Write 'Positive' for 'positive' in one of the two files." in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"id": "nobody", "text_hash": "0" * 16},
            "row 1: there is no row 'nobody', and none with this text. Give the file",
        ),
        (
            {"proposed": ""},
            "the column proposed is empty, in an accepted line for 'food'",
        ),
        (
            {"proposed": "", "guess": "Negative"},
            "guess, 'Negative', is not taken by it",
        ),
        (
            {"proposed": "superb"},
            "the value 'superb' of 'food' is not known: concepts.yaml has 'Positive', "
            "'Negative', 'unknown'. 'unannotated' takes an annotation away.",
        ),
        ({"proposed": "POSITIVE"}, "'unknown'. Did you mean 'Positive'? 'unann"),
        (
            {"path": "noise"},
            "concepts.yaml has no concept 'noise'. It has 'food', 'serv",
        ),
        ({"kind": "say"}, "the kind 'say' is none of relabel, annotate, reweight"),
        ({"text_hash": "0" * 16}, "is not the one that was decided on"),
        ({"decision": "maybe"}, "the decision 'maybe' is not known"),
    ],
)
def test_corrections_that_are_refused(
    place, tiny_encoder, tmp_path, annotated, change, message
):
    first = texts(place).iloc[1:2]
    line = line_of((first.index[0], first.iloc[0]), "food", "Positive") | change
    path = folders.write(tmp_path / "d.csv", [line])
    arguments = options(place, tiny_encoder, annotated[0])
    before = folders.contents(annotated[0])
    said = refused("annotate", place / "reviews.csv", *arguments, "--corrections", path)
    assert message in said
    assert folders.contents(annotated[0]) == before


def test_two_corrections_of_one_value(place, tiny_encoder, tmp_path):
    first = texts(place).iloc[1:2]
    row = first.index[0], first.iloc[0]
    both = [line_of(row, "food", value) for value in ("Positive", "Negative")]
    path = folders.write(tmp_path / "d.csv", both)
    arguments = options(place, tiny_encoder, tmp_path / "out")
    said = refused("annotate", place / "reviews.csv", *arguments, "--corrections", path)
    assert "two accepted lines give 'food' of '007-001' different values" in said


@pytest.mark.parametrize(
    "option", [("--min-confidence", "0.5"), ("--corrections", "d.csv")]
)
def test_options_without_prompts(place, tmp_path, option):
    result = run("audit", place / "reviews.csv", "--out", tmp_path / "out", *option)
    assert result.exit_code == 2
    assert f"{option[0]} is about annotations by prompts, and there are none" in (
        result.stderr
    )


def test_two_files_of_prompts(place, tiny_encoder, tmp_path):
    arguments = options(place, tiny_encoder, tmp_path / "out")
    more = ("--prompts", "other.yaml")
    for command in ("annotate", "audit"):
        result = run(command, place / "reviews.csv", *arguments, *more)
        assert result.exit_code == 2
        assert "concepts.yaml, other.yaml: name one file, with all concepts" in (
            " ".join(result.stderr.split())
        )


def test_shares_in_columns_are_for_python(place, tiny_encoder, tmp_path):
    arguments = options(place, tiny_encoder, tmp_path / "out")
    said = refused(
        *("annotate", place / "reviews.csv", *arguments, "--concept", "food=Positive")
    )
    assert "shares in columns such as 'food=Positive' are read by ConceptAnno" in said


def test_corrections_that_a_spreadsheet_saved_in_its_encoding(
    place, annotated, tiny_encoder, tmp_path
):
    line = lines(annotated[0], "next.csv").head(1)
    line[["decision", "proposed", "why"]] = ["accept", "Negative", "déjà vu"]
    path = tmp_path / "mine.csv"
    line.to_csv(path, index=False, encoding="cp1252")
    arguments = ["annotate", place / "annotated.csv", *options(place, tiny_encoder, "")]
    arguments += ["--out", tmp_path / "out", "--corrections", path]
    said = run(*arguments)
    assert said.exit_code == 1 and "is not written in 'utf-8'" in said.stderr
    result = done(*arguments, "--encoding", "cp1252")
    assert "1 annotation of people in mine.csv" in result.stderr
    assert "annotated.csv has a column 'food', which is not read. If it holds" in (
        result.stderr
    )


# --- Audits ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited(place, tiny_encoder):
    """Return the folder of an audit by prompts and people, and what it said."""
    first = texts(place).iloc[1:4]
    people = [line_of(row, "food", "Negative") for row in first.items()]
    path = folders.write(place / "people.csv", people)
    out = place / "audited"
    result = done(
        *("audit", place / "reviews.csv", "--label", "stars", "--max-mistakes", "1"),
        *(*options(place, tiny_encoder, out), "--corrections", path),
    )
    return out, result


def test_an_audit_says_that_a_machine_annotated(place, audited):
    out, result = audited
    record = folders.records(out)[0]
    digests = {
        name: folders.sha256((place / file).read_bytes()).hexdigest()
        for name, file in [
            *(("prompts_file", "concepts.yaml"), ("corrections_file_1", "people.csv")),
            ("training_file", "reviews.csv"),
        ]
    }
    assert record["source"] == digests
    prompts = record["prompts"]
    assert (prompts["file"], prompts["sha256"]) == (
        *("concepts.yaml", digests["prompts_file"]),
    )
    assert prompts["confidence"] == float(CONFIDENCE)
    rows = AuditFolder(out).rows(folders.records(out))
    people = {"007-001", "007-002", "007-003"}
    in_training = people & set(rows.train.ids)
    counts = prompts["counts"]["food"]
    assert counts["people"] == len(in_training)
    known = rows.train.concepts["food"].notna()
    assert counts["prompts"] == known.sum() - len(in_training)
    # No held-out text is judged by the machine.
    held_out = rows.held_out.concepts["food"].dropna()
    assert len(held_out) == len(people - in_training)
    assert rows.held_out.concepts["service"].isna().all()
    said = "A machine made annotations of the training texts: from the prompts in con"
    assert said in result.stderr
    assert (
        "Annotations by a machine: from the prompts in concepts.yaml" in result.stdout
    )
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert said in page
    run_record = json.loads((out / "run.json").read_bytes())
    assert run_record["prompts"] == prompts
    assert any(one.startswith(said) for one in run_record["warnings"])
    assert "by_people" not in run_record["prompts"]


def test_an_audit_lists_what_nobody_read(audited):
    out, result = audited
    rows = AuditFolder(out).rows(folders.records(out)).train
    table = lines(out, "machine.csv")
    people = {"007-001", "007-002", "007-003"}
    asked = set(zip(table["id"], table["path"], strict=True))
    assert asked == {
        (i, name)
        for i in rows.ids
        for name in ("food", "service")
        if name == "service" or i not in people
    }
    assert (table["proposed"] == table["current"]).all()
    is_first = table["ordered_by"] == "expected gain"
    gains = table["gain"][is_first].astype(float)
    assert (
        is_first.any() and gains.gt(0).all() and (table["gain"][~is_first] == "").all()
    )
    assert not is_first[is_first.sum() :].any()
    place = rows.positions()[table["id"].iloc[-1]]
    said = rows.concepts[table["path"].iloc[-1]][place]
    assert table["current"].iloc[-1] == (said or "")
    # The other lists say whose value a line is about.
    suspects = lines(out, "suspects.csv")
    of_concepts = suspects[
        (suspects["kind"] == "annotate") & (suspects["current"] != "")
    ]
    for i, path, by in of_concepts[["id", "path", "by"]].to_numpy():
        assert by == ("prompts" if (i, path) in asked else "person")
    assert set(suspects["by"][suspects["kind"] != "annotate"]) <= {""}
    n_held = len(people - set(rows.ids))
    assert f"{3 - n_held} of them of texts to train on, {n_held} held out" in (
        result.stderr
    )
    assert (
        "skclif annotate --label lists them, in held-out.csv"
        in ((out / "audit.html").read_text(encoding="utf-8"))
        or "service" in result.stderr
    )


def test_audits_by_prompts_are_replayed_repaired_and_forgotten(
    place, audited, tmp_path
):
    out = tmp_path / "copy"
    folders.shutil.copytree(audited[0], out)
    assert "Bit for bit" in done("replay", out, place / "reviews.csv").stdout
    table = pd.read_csv(place / "reviews.csv", dtype=str)
    rows = AuditFolder(out).rows(folders.records(out)).train
    i = next(i for i in rows.ids if i not in ("007-001", "007-002", "007-003"))
    changed = tmp_path / "changed.csv"
    is_row = table["review_id"] == i
    table.assign(
        stars=table["stars"]
        .mask(is_row, "1")
        .mask(is_row & (table["stars"] == "1"), "2")
    ).to_csv(changed, index=False)
    result = run("replay", out, changed)
    assert result.exit_code == 1
    assert f"the label or an annotation of row {i!r} differs" in result.stdout
    # People read a text, and the repaired report still says who annotated the others.
    value = rows.concepts["food"][rows.positions()[i]]
    other = "Negative" if value == "Positive" else "Positive"
    text = texts(place)[i]
    line = line_of((i, text), "food", other, current=value or "")
    done("apply", out, folders.write(tmp_path / "d.csv", [line]), "--quiet")
    assert "A machine made annotations" in (out / "audit.html").read_text("utf-8")
    asked = lines(out, "machine.csv")
    assert "service" in asked["path"][asked["id"] == i].tolist()
    assert "food" not in asked["path"][asked["id"] == i].tolist()
    said = refused("apply", out, out / "machine.csv")
    assert "machine.csv is replaced when decisions are applied" in said
    assert "Bit for bit" in done("replay", out, place / "reviews.csv").stdout
    gone = next(i for i in ("007-001", "007-002", "007-003") if i in rows.ids)
    (tmp_path / "ids.txt").write_text(gone)
    done("forget", out, tmp_path / "ids.txt", "--quiet")
    about = AuditFolder(out).rows(folders.records(out)).about["prompts"]
    assert gone not in about["by_people"]["food"]
    assert gone not in about["guesses"]["service"]
    assert gone not in lines(out, "machine.csv")["id"].tolist()
    assert gone not in [one[0] for one in about["corrections"]]
    assert "Bit for bit" in done("replay", out).stdout
