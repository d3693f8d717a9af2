"""The command line: from files to files."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import accuracy_score, f1_score, log_loss

import skclif
from skclif import AuditTrail
from skclif._audit.rows import text_hash
from skclif.cli import main
from skclif.datasets import make_concept_reviews
from skclif.datasets._annotators import annotated_reviews

CONCEPTS = ["food", "ambiance", "service", "noise"]
REPORT = {
    "audit.html",
    "influence.csv",
    "predictions.csv",
    "run.json",
    "suggestions.csv",
    "suspects.csv",
}
KEPT = {"embeddings.sqlite", "model.safetensors", "rows.safetensors", "trail.jsonl"}
OUTPUTS = REPORT | KEPT


def _table(n_samples=120, seed=0, prefix="007-"):
    reviews = make_concept_reviews(
        n_samples, label_noise=0.1, missing=0.3, random_state=seed
    )
    table = reviews.frame.rename(columns={"text": "review", "label": "stars"})
    table.insert(0, "review_id", [f"{prefix}{i:03d}" for i in range(n_samples)])
    table["city"] = np.array(["Paris", "Lyon", "Nice"])[np.arange(n_samples) % 3]
    return table


def _arguments(file, out, model, *more, concepts=CONCEPTS, id_="review_id"):
    columns = ["--text", "review", "--label", "stars", "--id", id_]
    for name in concepts:
        columns += ["--concept", name]
    places = ["--out", str(out), "--model", model]
    return ["audit", str(file), *columns, *places, *map(str, more)]


def _run(*arguments, **options):
    return CliRunner().invoke(main, *arguments, catch_exceptions=False, **options)


def _read(out, name):
    text = ["id", "text_hash", "target_id", "target_text_hash"]
    text += ["train_id", "train_text_hash"]
    return pd.read_csv(out / name, dtype=dict.fromkeys(text, str))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    _table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def audited(file, tiny_encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "new" / "report"
    result = _run(_arguments(file, out, tiny_encoder, "--group", "city"))
    assert result.exit_code == 0, result.output
    return result, out


# --- What is written ------------------------------------------------------------------


def test_audit_writes_its_files_and_says_where(audited):
    result, out = audited
    assert {path.name for path in out.iterdir()} == OUTPUTS
    lines = result.stdout.splitlines()
    assert re.match(
        r"The bottleneck gets \d+\.\d% of 30 held-out texts right", lines[0]
    )
    assert lines[-1] == f"The report is in {out / 'audit.html'}"
    steps = re.findall(r"^(\w+) .* …$", result.stderr, flags=re.MULTILINE)
    assert steps == ["Reading", "Embedding", "Fitting", "Tracing", "Writing"]


def test_every_id_and_hash_is_the_inputs(audited, file):
    _, out = audited
    table = pd.read_csv(file, dtype=str)
    hashes = dict(zip(table["review_id"], table["review"].map(text_hash), strict=True))
    predictions, influence = _read(out, "predictions.csv"), _read(out, "influence.csv")
    pairs = [(predictions, ""), (influence, "train_"), (influence, "target_")]
    for frame, prefix in pairs:
        known = frame[[f"{prefix}id", f"{prefix}text_hash"]].dropna()
        assert len(known)
        expected = "h:" + known[f"{prefix}id"].map(hashes)
        assert expected.equals(known[f"{prefix}text_hash"])
    assert not set(predictions["id"]) & set(influence["train_id"])
    assert {*predictions["id"], *influence["train_id"]} == set(hashes)


def test_every_number_can_be_computed_again(audited, file):
    _, out = audited
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    predictions, influence = _read(out, "predictions.csv"), _read(out, "influence.csv")
    overall = influence[influence["target"] == "all"]
    paths = [name for name in influence if name.startswith("path:")]
    np.testing.assert_allclose(influence[paths].sum(axis=1), influence["influence"])

    wrong = predictions["label"] != predictions["predicted"]
    assert run["counts"] == {
        "training_rows": len(overall),
        "held_out_rows": len(predictions),
        "mistakes": wrong.sum(),
        "harmful_training_rows": (overall["influence"] > 0).sum(),
        "held_out_texts_in_training": 0,
        "rejected_lines": 0,
    }
    classes = sorted(overall["train_label"].unique())
    assert run["classes"] == classes

    def label_quality(rows, prefix=""):
        p = rows[[f"{prefix}p={value}" for value in classes]].to_numpy()
        true, predicted = rows["label"], rows[f"{prefix}predicted"]
        return {
            "accuracy": accuracy_score(true, predicted),
            "macro_f1": f1_score(true, predicted, average="macro"),
            "log_loss": log_loss(true, p, labels=classes),
        }

    metrics = run["metrics"]
    shares = overall["train_label"].value_counts(normalize=True)[classes]
    always = predictions[["label"]].assign(predicted=shares.idxmax())
    for value, share in shares.items():
        always[f"p={value}"] = share
    assert metrics["label"]["model"] == _close_to(label_quality(predictions))
    black_box = label_quality(predictions, "black_box_")
    assert metrics["label"]["black_box"] == _close_to(black_box)
    assert metrics["label"]["majority"] == _close_to(label_quality(always))
    assert predictions["loss"].mean() == pytest.approx(
        metrics["label"]["model"]["log_loss"], abs=1e-9
    )

    def agreement(true, predicted):
        f1 = f1_score(true, predicted, average="macro", zero_division=0)
        return _close_to({"accuracy": accuracy_score(true, predicted), "macro_f1": f1})

    accuracies = []
    for name in CONCEPTS:
        rows = predictions[predictions[f"annotated:{name}"].notna()]
        true = rows[f"annotated:{name}"]
        quality = metrics["concepts"][name]
        assert quality["annotated_held_out_rows"] == len(rows)
        assert quality["model"] == agreement(true, rows[f"predicted:{name}"])
        most_common = overall[f"annotated:{name}"].value_counts().sort_index().idxmax()
        assert quality["majority"] == agreement(true, [most_common] * len(rows))
        accuracies.append(quality["model"]["accuracy"])
    mean = metrics["concepts_mean"]["model"]["accuracy"]
    assert mean == pytest.approx(np.mean(accuracies), abs=1e-9)

    for group in metrics["groups"]:
        rows = predictions[predictions["group"] == group["group"]]
        of_group = overall[overall["train_group"] == group["group"]]
        assert group["held_out_rows"] == len(rows)
        assert group["training_rows"] == len(of_group)
        sums = of_group[["influence", *paths]].sum().to_dict()
        assert {k: group[k] for k in sums} == _close_to(sums)
        quality = label_quality(rows)
        assert {k: group[k] for k in quality} == _close_to(quality)


def _close_to(numbers):
    return pytest.approx(numbers, abs=1e-9)


def test_the_table_agrees_with_the_input(audited, file):
    _, out = audited
    given = pd.read_csv(file, dtype={"review_id": str}).set_index("review_id")
    predictions = _read(out, "predictions.csv").set_index("id")
    given = given.loc[predictions.index]
    assert predictions["text"].equals(given["review"].rename("text"))
    assert predictions["label"].tolist() == given["stars"].tolist()
    for name in CONCEPTS:
        annotated = predictions[f"annotated:{name}"].fillna("")
        assert annotated.tolist() == given[name].fillna("").tolist()


def test_run_tells_how_it_was_made(audited, file):
    _, out = audited
    text = (out / "run.json").read_text(encoding="utf-8")
    run = json.loads(text)
    assert run["skclif_version"] == skclif.__version__
    assert run["data"]["name"] == "reviews.csv"
    assert run["options"]["concepts"] == CONCEPTS
    assert run["options"]["C"] == "auto"
    assert set(run["timings"]) == {"reading", "embedding", "fitting", "influence"}
    assert all(seconds >= 0 for seconds in run["timings"].values())
    assert {"python", "torch", "scikit-learn"} <= set(run["versions"])
    fingerprints = run["fingerprints"]
    assert set(fingerprints) == {"training_file", "training_data", "coefficients"}
    assert fingerprints["training_file"] == sha256(file.read_bytes()).hexdigest()
    assert all(re.fullmatch("[0-9a-f]{64}", d) for d in fingerprints.values())


def test_no_place_on_this_machine_is_written(audited, file, tiny_encoder):
    _, out = audited
    for name in OUTPUTS - {"embeddings.sqlite"}:
        text = (out / name).read_bytes().decode("utf-8", "replace")
        for place in (file.parent, out, tiny_encoder, Path.cwd()):
            assert str(place) not in text


def test_a_second_run_embeds_nothing_and_finds_the_same(audited, file, tiny_encoder):
    _, out = audited
    before = {name: (out / name).read_bytes() for name in OUTPUTS}
    result = _run(_arguments(file, out, tiny_encoder, "--group", "city", "--quiet"))
    assert result.exit_code == 0
    for name in OUTPUTS - {"audit.html", "run.json"}:  # which hold times
        assert (out / name).read_bytes() == before[name], name
    assert {path.name for path in out.iterdir()} == OUTPUTS


def test_the_trail_says_who_audited_and_why(file, tiny_encoder, tmp_path):
    more = ["--by", "the team", "--why", "a first look", "--quiet"]
    more += ["--max-mistakes", "0", "--method", "first_order"]
    assert _run(_arguments(file, tmp_path, tiny_encoder, *more)).exit_code == 0
    (record,) = AuditTrail(tmp_path / "trail.jsonl").read()
    assert (record["kind"], record["by"]) == ("fit", "the team")
    assert record["why"] == "a first look"
    result = _run(_arguments(file, tmp_path, tiny_encoder, "--by", "\udce9"))
    assert result.exit_code == 1
    assert "--by '\\udce9' holds bytes that are not in the encoding" in result.stderr


def test_quiet_says_only_the_result(file, tiny_encoder, tmp_path):
    more = ["--quiet", "--long-text", "mean", "--concept-C", "1"]
    result = _run(_arguments(file, tmp_path, tiny_encoder, *more))
    # Warnings are no progress: the features of these tests say nothing of the labels.
    assert all(line.startswith("Warning: ") for line in result.stderr.splitlines())
    assert len(result.stdout.splitlines()) == 7
    # Whether the concepts are too coarse, and whether the activations leak.
    assert result.stdout.count("too few to tell; 50 are needed") == 2
    assert "Are the concepts too coarse for this label? Cannot tell. " in result.stdout


def test_no_text_keeps_texts_out_of_every_file(file, tiny_encoder, tmp_path):
    result = _run(_arguments(file, tmp_path, tiny_encoder, "--no-text"))
    assert result.exit_code == 0
    phrases = set()
    for text in _table()["review"]:
        words = text.split()
        phrases |= {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}
    assert len(phrases) > 500
    for name in OUTPUTS:
        content = (tmp_path / name).read_bytes().decode("utf-8", "replace")
        assert not [phrase for phrase in phrases if phrase in content]
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "Text withheld" in page
    culprit = _read(tmp_path, "influence.csv").iloc[0]
    assert culprit["train_id"] in page
    assert culprit["train_text_hash"].removeprefix("h:") in page


def test_a_file_of_an_office_program(tiny_encoder, tmp_path):
    names = {"review": "Texte de l'avis", "stars": "étoiles", "food": "cuisine"}
    table = _table().rename(columns=names)
    table["Texte de l'avis"] += ' Très bon à l\'été ; déjà "vu"\nhier'
    file = tmp_path / "avis d'été.csv"
    table.to_csv(file, sep=";", index=False, encoding="utf-8-sig")
    out = tmp_path / "out"
    columns = ["--text", "Texte de l'avis", "--label", "étoiles", "--concept"]
    places = ["--out", str(out), "--model", tiny_encoder, "--max-mistakes", "0"]
    result = _run(["audit", str(file), *columns, "cuisine", *places])
    assert result.exit_code == 0, result.output
    predictions = _read(out, "predictions.csv").set_index("id")
    row = predictions.index[0]
    expected = table["Texte de l'avis"].iloc[int(row.removeprefix("row-")) - 1]
    assert predictions.loc[row, "text"] == expected
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert "avis d&#39;été.csv" in page
    assert "None was traced to training rows;" in page


def test_without_concepts_the_black_box_is_audited(file, tiny_encoder, tmp_path):
    result = _run(_arguments(file, tmp_path, tiny_encoder, concepts=[]))
    assert result.stdout.startswith("The black box gets")
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "No concepts were given" in page
    run = json.loads((tmp_path / "run.json").read_text())
    assert set(run["metrics"]) == {"label", "penalties"}


# --- A test file ----------------------------------------------------------------------


def test_texts_in_both_files_are_warned_of(file, tiny_encoder, tmp_path):
    table = _table(60, seed=1, prefix="t")
    table.loc[:6, "review"] = _table()["review"].iloc[10:17].to_numpy()
    test_file = tmp_path / "test.csv"
    table.to_csv(test_file, index=False)
    result = _run(_arguments(file, tmp_path, tiny_encoder, "--test", test_file))
    assert result.exit_code == 0, result.output
    note = "7 of the 60 held-out texts are also in the training data (ids t000, t001"
    assert f"Warning: {note}" in result.stderr
    assert note in (tmp_path / "audit.html").read_text(encoding="utf-8")
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert run["counts"]["held_out_texts_in_training"] == 7
    assert run["counts"]["training_rows"] == 120
    assert any(warning.startswith(note) for warning in run["warnings"])
    expected = sha256(test_file.read_bytes()).hexdigest()
    assert run["fingerprints"]["test_file"] == expected
    predictions, influence = (
        _read(tmp_path, name) for name in ("predictions.csv", "influence.csv")
    )
    leaked = predictions["text_hash"].isin(influence["train_text_hash"])
    assert leaked.sum() == 7


def test_what_nobody_annotated_in_the_test_file_is_unknown(
    file, tiny_encoder, tmp_path
):
    table = _table(60, seed=1, prefix="new-")
    table[["food", "service"]] = None
    test_file = tmp_path / "test.csv"
    table.to_csv(test_file, index=False)
    more = ["--test", test_file, "--max-mistakes", "0", "--method", "first_order"]
    out, concepts = tmp_path / "out", ["food", "service"]
    result = _run(_arguments(file, out, tiny_encoder, *more, concepts=concepts))
    assert result.exit_code == 0, result.output
    assert "No held-out row has an annotation: how well" in result.stderr
    assert "Annotate some of them." in result.stderr
    assert "as people read" not in result.stdout
    assert "gold concepts alone" not in result.stdout
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert list(run["metrics"]["label"]) == ["model", "black_box", "majority"]
    predictions = _read(out, "predictions.csv")
    wrong = predictions["label"] != predictions["predicted"]
    assert (predictions["failed"][wrong] == "unknown").all()
    assert not [c for c in predictions if c.startswith(("gold_", "corrected_"))]


def test_rows_without_ids_have_other_names_in_the_test_file(
    file, tiny_encoder, tmp_path
):
    more = ["--test", file, "--max-mistakes", "0", "--method", "first_order"]
    arguments = _arguments(file, tmp_path, tiny_encoder, *more)
    where = arguments.index("--id")
    result = _run([*arguments[:where], *arguments[where + 2 :]])
    assert result.exit_code == 0, result.output
    predictions, influence = (
        _read(tmp_path, name) for name in ("predictions.csv", "influence.csv")
    )
    assert predictions["id"].iloc[0] == "test-row-1"
    assert set(influence["train_id"]) == {f"row-{k}" for k in range(1, 121)}


def test_long_texts_are_warned_of(file, tiny_encoder, tmp_path):
    result = _run(_arguments(file, tmp_path, tiny_encoder))
    note = "120 of 120 texts are longer than the 32 tokens that the model reads"
    assert f"Warning: {note}" in result.stderr
    assert "Use --long-text mean to embed such texts in chunks." in result.stderr
    assert note in (tmp_path / "audit.html").read_text(encoding="utf-8")
    more = ["--long-text", "mean", "--concept-C", "1"]
    result = _run(_arguments(file, tmp_path, tiny_encoder, *more))
    assert "tokens" not in result.stderr


# --- Refusals -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, ["--text", "nope"], "has no column 'nope'"),
        (None, ["--concept", "review"], "is asked for twice"),
        (None, ["--id", "city"], "the same identifier 'Paris'"),
        (None, ["--test", "nowhere.csv"], "There is no file 'nowhere.csv'"),
        (None, ["--model", "./nowhere"], "'./nowhere' is not a directory"),
        (None, ["--device", "abacus"], "--device 'abacus' is not known"),
        (None, ["--encoding", "utf-9"], "The encoding 'utf-9' is not known"),
        ({"stars": 3}, [], "have the same label, 3"),
        ({"stars": np.linspace(0, 1, 120)}, [], "are numbers that are not whole"),
        ({"stars": [f"s{i}" for i in range(120)]}, [], "No row can be held out"),
        ({"food": [f"f{i}" for i in range(120)]}, [], "'food' has 120 different val"),
        ({"review": ""}, [], "column 'review', rows 1, 2, 3, 4, 5 and 115 more"),
    ],
)
def test_bad_input_is_one_clear_line(change, more, message, tiny_encoder, tmp_path):
    file, out = tmp_path / "reviews.csv", tmp_path / "out"
    _table().assign(**(change or {})).to_csv(file, index=False)
    result = _run(_arguments(file, out, tiny_encoder, "--quiet", *more))
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "reviews.csv"], "Missing option '--out'"),
        (
            ["audit", "x.csv", "--out", "o", "--test-size", "1"],
            "not in the range 0<x<1",
        ),
        *(
            (
                ["audit", "x.csv", "--out", "o", option, value],
                f"'{option}': '{value}' is neither a finite number above 0 nor auto.",
            )
            for option in ("--C", "--concept-C")
            for value in ("0", "-1", "x", "autos", "nan", "inf", "")
        ),
        (["demo", "--data", "secret"], "'secret' is not one of"),
        (["frobnicate"], "No such command 'frobnicate'"),
    ],
)
def test_wrong_usage(arguments, message):
    result = _run(arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_label_that_only_the_test_file_has(file, tiny_encoder, tmp_path):
    test_file = tmp_path / "test.csv"
    _table(20, seed=1).assign(stars="no majority").to_csv(test_file, index=False)
    result = _run(_arguments(file, tmp_path, tiny_encoder, "--test", test_file))
    assert result.exit_code == 1
    assert "label 'no majority' (ids 007-000" in result.stderr
    assert "which has '1', '2', '3', '4', '5'" in result.stderr


def test_out_that_is_a_file(file, tiny_encoder):
    result = _run(_arguments(file, file, tiny_encoder))
    assert result.exit_code == 1
    assert "is a file; name a directory" in result.stderr


def test_parquet_without_its_extra(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    file = tmp_path / "reviews.parquet"
    file.write_bytes(b"PAR1")
    result = _run(_arguments(file, tmp_path, tiny_encoder))
    assert result.exit_code == 1
    assert 'pip install "skclif[parquet]"' in result.stderr


# --- Trouble while writing ------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="limits on file size are POSIX")
def test_a_full_disk_leaves_the_earlier_audit_as_it_was(file, tiny_encoder, tmp_path):
    import resource

    arguments = _arguments(file, tmp_path, tiny_encoder, "--max-mistakes", "0")
    assert _run(arguments).exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = len(before["predictions.csv"]) // 2  # part of the first table
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        result = _run(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_cannot_be_replaced(file, tiny_encoder, tmp_path):
    (tmp_path / "predictions.csv").mkdir()
    result = _run(_arguments(file, tmp_path, tiny_encoder))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"predictions.csv", *KEPT}
    (tmp_path / "predictions.csv").rmdir()
    assert _run(_arguments(file, tmp_path, tiny_encoder)).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == OUTPUTS


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_control_c_leaves_nothing_half_written(file, tiny_encoder, tmp_path):
    command = [sys.executable, "-c", "from skclif.cli import main; main()"]
    process = subprocess.Popen(
        [*command, *_arguments(file, tmp_path, tiny_encoder)],
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("Embedding") for line in lines)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Aborted!" in rest
    assert {path.name for path in tmp_path.iterdir()} <= {
        "embeddings.sqlite",
        "embeddings.sqlite-journal",
    }


# --- The demo -------------------------------------------------------------------------

N_DEMO = 600  # where users get thousands


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Make CEBaB unavailable at once: no folder, and a proxy that refuses."""
    monkeypatch.delenv("SKCLIF_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_demo_falls_back_on_generated_reviews_and_says_why(
    offline, tiny_encoder, tmp_path, monkeypatch
):
    monkeypatch.setattr("skclif.cli.demo._N_GENERATED", N_DEMO)
    out = tmp_path / "out"
    result = _run(["demo", "--out", str(out), "--model", tiny_encoder])
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    assert first.startswith("Data: generated reviews, because CEBaB is not available: ")
    assert last == f"The report is in {out / 'audit.html'}"
    _check_planted(out, result.stdout)


def _check_planted(out, stdout):
    """Count planted errors again, from the generator and the table."""
    reviews, n_train = annotated_reviews(N_DEMO, 0), N_DEMO * 3 // 4
    is_wrong = reviews.is_wait | reviews.is_idiom
    wrong = {f"row-{i + 1}" for i in np.flatnonzero(is_wrong[:n_train])}
    page = out / "as-audited.html"
    share = f"{len(wrong) / n_train:.0%}"
    assert f"and in {share} of all training rows." in stdout
    assert f"({reviews.is_wait[:n_train].sum()} times)" in stdout
    assert f"({reviews.is_idiom[:n_train].sum()} times)" in stdout
    assert "planted error:" in page.read_text(encoding="utf-8")
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    influence = _read(out, "influence.csv")
    overall = influence[influence["target"] == "all"]
    changes = AuditTrail(out / "trail.jsonl").read()[-1].get("changes", [])
    left = wrong - {change["id"] for change in changes}
    left |= {i for i in wrong if is_wrong_twice(reviews, i, changes)}
    n_top = len(left & set(overall["train_id"].head(20)))
    assert run["planted"]["planted_in_top"] == n_top
    assert run["planted"]["share_of_training_rows"] == len(left) / n_train


def is_wrong_twice(reviews, i, changes):
    """Return whether a row has two planted errors, of which one was mended."""
    row = int(i.removeprefix("row-")) - 1
    n_wrong = int(reviews.is_wait[row]) + int(reviews.is_idiom[row])
    return n_wrong > sum(change["id"] == i for change in changes)


def test_demo_that_must_have_cebab(offline, tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    arguments = ["demo", "--data", "cebab", "--out", str(tmp_path / "out")]
    result = _run([*arguments, "--model", tiny_encoder, "--quiet"])
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "CEBaB-v1.1.zip could not be downloaded" in line


@pytest.mark.full  # .ci/run makes it with the real embedding model, and looks closer
@pytest.mark.data
def test_demo_on_cebab(tiny_encoder, tmp_path):
    if not Path(os.environ.get("SKCLIF_DATA", ""), "CEBaB-v1.1.zip").is_file():
        pytest.skip("SKCLIF_DATA names no folder with CEBaB-v1.1.zip")
    result = _run(["demo", "--out", str(tmp_path), "--model", tiny_encoder])
    assert result.exit_code == 0
    said = "Data: CEBaB, because the official file is on this machine"
    assert result.stdout.startswith(said)
    assert "4 of the 1689 held-out texts are also in the training data" in result.stderr
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert run["counts"]["training_rows"] == 1463
    assert "CC BY 4.0" in (tmp_path / "audit.html").read_text(encoding="utf-8")


# --- The command itself ---------------------------------------------------------------


def test_version_and_help():
    assert _run(["--version"]).stdout == f"skclif, version {skclif.__version__}\n"
    assert "skclif audit reviews.csv --text review" in _run(["audit", "--help"]).stdout
    assert "CEBaB" in _run(["demo", "--help"]).stdout


def test_help_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from skclif.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_tables_quote_every_word(audited):
    _, out = audited
    with open(out / "predictions.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream, quoting=csv.QUOTE_NONNUMERIC, strict=True))
    assert all(isinstance(cell, str) for cell in rows[0])
    assert isinstance(rows[1][rows[0].index("loss")], float)
