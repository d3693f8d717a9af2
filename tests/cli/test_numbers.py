"""Numbers in a file: half points as labels and grades, amounts, and a typing error.

From file to file, with replay after every change.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier
from skclif._models.files import read_model

from .. import folders
from ..folders import done, refused

N = 120
COLUMNS = ["--text", "essay", "--label", "score", "--id", "id"]
COLUMNS += ["--concept", "style", "--concept", "minutes", "--concept", "tone"]
_WORDS = np.array(["bad", "slow", "good"])


def essays(n=N):
    """Return essays whose words say their score, style, minutes and tone."""
    rng = np.random.default_rng(0)
    grade, style, tone = (rng.integers(0, 3, n) for _ in range(3))
    minutes = rng.integers(5, 60, n)
    long = np.where(minutes > 30, "waiter waiter waiter", "the")
    taste = np.array(["cold", "warm", "tasty"])[style]
    said = zip(_WORDS[grade], taste, long, tone, strict=True)
    texts = [
        f"{' '.join([a] * 4)} {' '.join([b] * 4)} {c} {' '.join(['rude'] * t)} {k}"
        for k, (a, b, c, t) in enumerate(said)
    ]
    table = {"id": [f"e{k:03d}" for k in range(n)], "essay": texts}
    table["score"] = np.array([1.5, 2.0, 10.5])[grade]
    table["style"] = np.array([3.0, 3.5, 4.0])[style]
    table["minutes"] = minutes + 0.25
    table["tone"] = np.array(["calm", "fine", "harsh"])[tone]
    return pd.DataFrame(table)


@pytest.fixture(scope="module")
def audited(tiny_encoder, tmp_path_factory):
    """A folder of an audit, its file, and what was said."""
    place = tmp_path_factory.mktemp("numbers")
    table = essays()
    # In a row to train on: seeds are fixed.
    table.loc[5, "tone"] = "fnie"
    table.loc[8, ["minutes", "style"]] = np.nan
    file, out = place / "essays.csv", place / "out"
    table.to_csv(file, index=False)
    places = ["--out", out, "--model", tiny_encoder, "--max-mistakes", "2"]
    said = done("audit", file, *COLUMNS, *places, "--quiet", "--seed", "3")
    return out, file, said


@pytest.fixture
def out(audited, tmp_path):
    return folders.shutil.copytree(audited[0], tmp_path / "report")


@pytest.fixture(scope="module")
def table(audited):
    return pd.read_csv(audited[1], dtype=str, keep_default_na=False).set_index("id")


@pytest.fixture(scope="module")
def train(audited):
    return [row[0] for row in folders.records(audited[0])[0]["rows"]]


def _line(table, kind, i, path, proposed):
    column = {"label": "score"}.get(path, path)
    return {
        "decision": "accept",
        "kind": kind,
        "id": i,
        "text_hash": folders.short_hash(table.loc[i, "essay"]),
        "path": path,
        "current": table.loc[i, column],
        "proposed": proposed,
    }


def _model(out):
    return read_model(out / "model.safetensors").classifier


def test_run_and_page_say_what_the_numbers_are(audited):
    run = json.loads((audited[0] / "run.json").read_text(encoding="utf-8"))
    assert run["classes"] == ["1.5", "2", "10.5"]
    assert run["options"]["concept_kinds"] == {
        "style": "categorical",
        "minutes": "continuous",
    }
    assert run["options"]["ordinal"] == ["label", "style"]
    quality = run["metrics"]["concepts"]["minutes"]
    assert set(quality) == {"annotated_held_out_rows", "model", "mean"}
    page = (audited[0] / "audit.html").read_text(encoding="utf-8")
    assert "Concepts that are amounts, in their own unit" in page
    assert "style: categorical, minutes: continuous" in page


def test_predictions_have_a_column_for_every_class_in_the_order_of_size(audited):
    found = folders.lines(audited[0], "predictions.csv")
    own = [name for name in found if name.startswith("p=")]
    assert own == ["p=1.5", "p=2", "p=10.5"]
    assert set(found["label"]) <= {"1.5", "2", "10.5"}
    assert set(found["predicted:style"]) <= {"3", "3.5", "4"}
    assert (found["p_annotated:minutes"] == "").all()
    predicted = found["predicted:minutes"].astype(float)
    error = (predicted - found["annotated:minutes"].astype(float)).abs().mean()
    run = json.loads((audited[0] / "run.json").read_text(encoding="utf-8"))
    said = run["metrics"]["concepts"]["minutes"]
    assert said["model"]["mean_absolute_error"] == pytest.approx(error)
    given = folders.lines(audited[0], "influence.csv").query("target == 'all'")
    mean = pd.to_numeric(given["annotated:minutes"]).mean()
    error = (mean - found["annotated:minutes"].astype(float)).abs().mean()
    assert said["mean"]["mean_absolute_error"] == pytest.approx(error)


def test_lists_propose_neighbours_and_amounts_that_people_write(audited):
    suspects = folders.lines(audited[0], "suspects.csv")
    order = ["1.5", "2", "10.5"]
    for line in suspects[suspects["path"] == "label"].to_dict("records"):
        steps = order.index(line["current"]) - order.index(line["proposed"])
        assert abs(steps) == 1
    amounts = suspects[suspects["path"] == "minutes"]
    assert amounts["proposed"].str.fullmatch(r"-?\d+(\.\d)?").all()


def test_decisions_on_numbers_are_made_replayed_and_forgotten(
    out, audited, table, train, tmp_path
):
    a, b, c = [i for i in train if table.loc[i, "score"] == "2.0"][:3]
    with_style = next(i for i in train if table.loc[i, "style"] == "3.0")
    decisions = [
        _line(table, "annotate", a, "minutes", "3.5"),
        _line(table, "annotate", b, "minutes", "unannotated"),
        _line(table, "relabel", c, "label", "10.50"),
        _line(table, "annotate", with_style, "style", "4.0"),
    ]
    file = folders.write(tmp_path / "d.csv", decisions)
    result = done("apply", out, file, "--quiet")
    said = result.stdout
    assert "far outside" not in result.stderr
    assert re.search(r"Mean absolute error of the concepts: minutes \d", said)
    changes = folders.records(out)[-1]["changes"]
    new = {change["id"]: change["new"] for change in changes}
    assert new == {a: 3.5, b: None, c: "10.5", with_style: 4}
    stated = done("replay", out, audited[1]).stdout
    assert "Bit for bit" in stated
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{a}\n", encoding="utf-8")
    done("forget", out, ids)
    assert "Bit for bit" in done("replay", out).stdout
    # The kinds stay what they were, whatever rows are left.
    assert _model(out).concept_classes_[1] is None
    assert folders.records(out)[-1]["parameters"]["concept_kinds"] == {
        "style": "categorical",
        "minutes": "continuous",
    }


def test_an_amount_far_outside_is_named_before_it_is_applied(
    out, table, train, tmp_path
):
    line = _line(table, "annotate", train[0], "minutes", "1e9")
    file = folders.write(tmp_path / "d.csv", [line])
    result = done("apply", out, file, "--quiet", "--json")
    warnings = json.loads(result.stdout)["warnings"]
    (warning,) = [w for w in warnings if "far outside" in w]
    assert f"'minutes' of {train[0]!r} becomes 1000000000, which is far" in warning
    assert f"Warning: {warning}" in result.stderr
    assert folders.records(out)[-1]["changes"][0]["new"] == 1e9


@pytest.mark.parametrize(
    ("path", "proposed", "message"),
    [
        ("minutes", "many", "'many' of 'minutes' is no finite number. Write one, or"),
        ("minutes", "nan", "'nan' of 'minutes' is no finite number"),
        ("style", "3.7", "'3.7' of 'style' is not known .* has '3', '3.5', '4', or"),
    ],
)
def test_other_values_than_the_model_has_are_refused(
    path, proposed, message, out, table, train, tmp_path
):
    line = _line(table, "annotate", train[0], path, proposed)
    before = folders.contents(out)
    file = folders.write(tmp_path / "d.csv", [line])
    assert re.search(message, refused("apply", out, file, "-q"))
    assert folders.contents(out) == before


def test_predictions_of_new_texts_have_the_same_names(audited, tiny_encoder, tmp_path):
    new = tmp_path / "new.csv"
    essays(6).to_csv(new, index=False)
    places = ["--model", tiny_encoder, "--out", tmp_path / "p.csv"]
    done("predict", audited[0], new, "--text", "essay", *places)
    found = pd.read_csv(tmp_path / "p.csv", dtype=str)
    assert list(found)[3:7] == ["predicted", "p=1.5", "p=2", "p=10.5"]
    assert set(found["predicted"]) <= {"1.5", "2", "10.5"}


# --- A value that only one row has ----------------------------------------------------


def test_a_typing_error_goes_with_its_value(out, audited, table, train, tmp_path):
    (odd,) = table.index[table["tone"] == "fnie"]
    assert odd in train
    assert "fnie" in _model(out).concept_classes_[2]
    file = folders.write(
        tmp_path / "d.csv", [_line(table, "annotate", odd, "tone", "fine")]
    )
    said = done("apply", out, file, "--quiet")
    assert "No row has the tone 'fnie' any more, so the value went from" in said.stdout
    record = folders.records(out)[-1]
    assert record["emptied"] == [["tone", "fnie"]]
    model = _model(out)
    assert model.concept_classes_[2].tolist() == ["calm", "fine", "harsh"]
    _assert_retrained(model, out, table, train, {"tone": {odd: "fine"}})
    assert "Bit for bit" in done("replay", out, audited[1]).stdout
    assert "fnie" not in (out / "predictions.csv").read_text(encoding="utf-8")
    # The model goes on without the value.
    other = next(i for i in train if table.loc[i, "tone"] == "calm")
    line = _line(table, "annotate", other, "tone", "harsh")
    done("apply", out, folders.write(file, [line]))
    line |= {"current": "harsh", "proposed": "fnie"}
    said = refused("apply", out, folders.write(file, [line]), "-q")
    assert "is not known to the model" in said
    assert "Bit for bit" in done("replay", out).stdout


def _assert_retrained(model, out, table, train, changes):
    """See that a fit from zero to the changed rows gives the same probabilities."""
    stored = folders.load_file(out / "rows.safetensors")
    rows = table.loc[train].replace({"": None})
    concepts = pd.DataFrame(
        {
            "style": rows["style"].astype(float),
            "minutes": rows["minutes"].astype(float),
            "tone": rows["tone"],
        }
    )
    for name, values in changes.items():
        for i, value in values.items():
            concepts.loc[i, name] = value
    labels = [str(float(v)).removesuffix(".0") for v in rows["score"]]
    again = ConceptBottleneckClassifier(
        C=model.C_,
        concept_C=dict(zip(concepts, model.concept_C_.tolist(), strict=True)),
        concept_kinds={"style": "categorical", "minutes": "continuous"},
        intervention_prob=model.intervention_prob_,
    )
    X = stored["X_train"]
    again.fit(X, labels, concepts=concepts)
    np.testing.assert_allclose(
        model.predict_proba(X), again.predict_proba(X), rtol=0, atol=1e-6
    )


def test_a_label_that_goes_with_a_dropped_row(tiny_encoder, tmp_path):
    """Its only other row is held out in one file, and nowhere in the other."""
    table = essays(60)
    table.loc[0, "score"] = 99.5
    file, test, out = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "out"
    table.iloc[:45].to_csv(file, index=False)
    table.iloc[45:].to_csv(test, index=False)
    places = ["--test", test, "--out", out, "--model", tiny_encoder, "--quiet"]
    done("audit", file, *COLUMNS[:6], *places)
    words = table.astype(str).set_index("id")
    line = _line(words, "relabel", "e000", "label", "")
    line |= {"kind": "drop", "path": "row", "current": "1"}
    said = done("apply", out, folders.write(tmp_path / "d.csv", [line]))
    assert "No row has the label '99.5' any more" in said.stdout
    assert _model(out).classes_.tolist() == ["1.5", "10.5", "2"]
    # A dropped row can still have its label corrected, and weight again.
    lines = [
        line | {"kind": "relabel", "path": "label", "current": "99.5", "proposed": "2"},
        line | {"kind": "reweight", "path": "row", "current": "0", "proposed": "1"},
    ]
    done("apply", out, folders.write(tmp_path / "d.csv", lines))
    assert "Bit for bit" in done("replay", out, file).stdout


# --- Options --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (
            ["--concept-kind", "tone=odd"],
            2,
            "'tone=odd' is not NAME=KIND, with a concept",
        ),
        (["--concept-kind", "continuous"], 2, "is not NAME=KIND"),
        (
            ["--concept-kind", "tone=continuous", "--concept-kind", "tone=categorical"],
            2,
            "says that 'tone' is continuous, and that it is categorical",
        ),
        (
            ["--concept-kind", "taste=continuous"],
            1,
            "--concept-kind names 'taste', but",
        ),
        (["--concept-kind", "tone=continuous"], 1, "has the value '\\w+', which is no"),
        (["--ordinal", "tone"], 1, "--ordinal names 'tone', which has the value"),
        (["--ordinal", "minutes"], 1, "--ordinal names 'minutes', which is continuous"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_embedding(
    more, code, message, audited, tmp_path
):
    arguments = ["audit", audited[1], *COLUMNS, "--out", tmp_path / "out", *more]
    result = folders.run(*arguments)
    assert result.exit_code == code
    assert re.search(message, result.stderr)
    assert "Embedding" not in result.stderr


def test_measurements_as_labels_are_refused_with_what_to_do(audited, tmp_path):
    file = tmp_path / "essays.csv"
    essays().to_csv(file, index=False)
    arguments = ["audit", file, "--text", "essay", "--label", "minutes"]
    said = refused(*arguments, "--out", tmp_path / "out", "--quiet")
    assert re.search("Round or bin them in the file .* with --label", said)
