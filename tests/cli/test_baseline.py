"""``skclif baseline``: lines for people, JSON for programs, a picture, and errors."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from skclif.cli import main
from skclif.datasets import make_concept_reviews


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    reviews = make_concept_reviews(90, random_state=0)
    frame = pd.DataFrame({"review": reviews.data, "stars": reviews.target})
    frame = frame.assign(food=reviews.concepts["food"], who=range(90))
    frame = frame.assign(half=frame["stars"] / 2, same="x")
    frame["gap"] = ["", *frame["review"][1:]]
    path = tmp_path_factory.mktemp("baseline") / "reviews.csv"
    frame.to_csv(path, index=False)
    return path


def run(file, *options):
    names = ["--text", "review", "--label", "stars", "--cv", "3"]
    return CliRunner().invoke(main, ["baseline", str(file), *names, *options])


def test_lines_for_people(file):
    result = run(file, "--words-only", "--concept", "food", "--group", "who")
    assert result.exit_code == 0, result.output
    lines = [line.split("  ")[0] for line in result.stdout.splitlines()]
    assert lines == [
        "",
        "majority",
        "words",
        "bottleneck on words",
        "label from annotations",
    ]
    assert "Reading reviews.csv" in result.stderr


def test_json_for_programs_and_a_picture(file, tiny_encoder, tmp_path):
    picture = tmp_path / "table.svg"
    options = ["--json", "--model", tiny_encoder, "--plot", str(picture)]
    result = run(file, *options)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [line["model"] for line in found["models"]] == [
        "majority",
        "words",
        "vectors",
        "vectors and words",
    ]
    assert (found["n_texts"], found["n_folds"]) == (90, 3)
    assert 0 < found["models"][1]["log_loss"] < 5
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--plot", "table.docx"], "must end in .png, .svg or .pdf"),
        (["--plot", "nowhere/table.png"], "the folder of 'nowhere/table.png'"),
        (["--cv", "80"], "--cv 80: 80 folds need as many different texts of every"),
        (["--model", "m"], "--model is about sentence vectors, and --words-only comp"),
        (["--long-text", "mean"], "--long-text is about sentence vectors"),
        (["--split-by", "who"], "No such option"),
        (["--cv", "1"], "1 is not in the range"),
        (["--concept", "service"], "service"),
        (
            ["--label", "who"],
            "The column 'who' has 90 different labels in 90 rows, suc",
        ),
        (
            ["--label", "same"],
            "The column 'same' has one label only, 'x': nothing to c",
        ),
    ],
)
def test_what_is_refused(file, options, match):
    result = run(file, "--words-only", *options)
    assert result.exit_code != 0 and match in result.stderr
    assert "Traceback" not in result.stderr and "UserWarning" not in result.stderr


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (
            "same",
            "need as many different texts, and 90 rows have 1. Are these the text",
        ),
        (
            "gap",
            "row 1: the text is empty. (Row 1 is the first row of data.) Complete ",
        ),
        ("gap", "or leave such rows out with --skip-incomplete."),
    ],
)
def test_texts_that_cannot_be_used_are_refused(column, match, file):
    options = ["--text", column, "--label", "stars", "--words-only"]
    result = CliRunner().invoke(main, ["baseline", str(file), *options])
    assert result.exit_code == 1 and match in result.stderr


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--model", "./nowhere"], "model='./nowhere' is not a directory"),
        (["--device", "tpu"], "--device 'tpu' is not known"),
    ],
)
def test_embedders_that_cannot_be_had_are_refused_before_the_table(
    file, options, match
):
    result = run(file, *options)
    assert result.exit_code == 1 and match in result.stderr
    assert not result.stdout


def test_half_points_are_classes(file):
    result = run(file, "--label", "half", "--words-only")
    assert result.exit_code == 0, result.output
    assert "numbers: half" in result.stderr


def test_incomplete_rows_are_left_out_if_asked_for(file):
    options = ["--text", "gap", "--skip-incomplete", "--json"]
    result = CliRunner().invoke(
        main, ["baseline", str(file), *options, "--label", "stars", "--words-only"]
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_texts"] == 89
    assert "1 incomplete row left out: row 1\n" in result.stderr


def test_the_head_says_what_the_interval_is_of(file):
    head = run(file, "--words-only").stdout.splitlines()[0]
    assert head.split("  ")[-3:-1] != [] and "log-loss   its 95 % interval" in head


def test_equal_texts_are_said(file, tmp_path):
    frame = pd.read_csv(file)
    frame.loc[[3, 8], "review"] = frame.loc[0, "review"]
    twice = tmp_path / "twice.csv"
    frame.to_csv(twice, index=False)
    result = run(twice, "--words-only", "--json")
    said = "2 rows have the text of an earlier row; equal texts stayed in one fold."
    assert f"Warning: {said}" in result.stderr
    found = json.loads(result.stdout)
    assert found["warnings"] == [said] and found["n_repeated"] == 2
    grouped = run(twice, "--words-only", "--group", "who")
    assert "Warning: 3 texts of 90 to predict also stand" in grouped.stderr
    assert "earlier row" not in grouped.stderr


def test_long_texts_are_said_with_the_option_that_reads_them(file, tiny_encoder):
    cut = run(file, "--model", tiny_encoder)
    assert "Use --long-text mean to embed such texts in chunks" in cut.stderr
    whole = run(file, "--model", tiny_encoder, "--long-text", "mean")
    assert "longer" not in whole.stderr and "Warning" not in whole.stderr
