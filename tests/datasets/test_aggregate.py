"""Annotations of several people in one table, and in files."""

import json
import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skclif import ConceptBottleneckClassifier
from skclif.datasets import aggregate_annotations, load_reviews
from skclif.exceptions import DataFileError, DataFileWarning

from .. import folders

LINES = [
    ("b", "Ann", "food", "good"),
    ("b", "Ben", "food", "good"),
    ("b", "Cy", "food", "bad"),
    ("a", "Ann", "food", "bad"),
    ("a", "Ben", "food", "good"),
    ("a", "Ann", "noise", 4),
    ("c", "Cy", "noise", None),
]
NAMES = ["id", "annotator", "concept", "value"]
TIE = r"Concept 'food': two values have the same share in 1 row \(a\)"


def long_table(lines=LINES):
    return pd.DataFrame(lines, columns=NAMES)


def guessers(n=150, seed=0):
    """Return a long table in which one of four people guesses, and the truth."""
    rng = np.random.default_rng(seed)
    true = pd.DataFrame(
        {c: rng.choice(["bad", "good", "unknown"], n) for c in ("food", "noise")},
        index=[f"t{k:03d}" for k in range(n)],
    )
    people = ["Ann", "Ben", "Cy", "Di"]
    lines = [
        (i, who, concept, rng.choice(["bad", "good", "unknown"]) if wrong else right)
        for concept, column in true.items()
        for i, right in column.items()
        for who in rng.permutation(people)[:3]
        for wrong in [who == "Di" or rng.random() < 0.1]
    ]
    return long_table(lines), true


def test_the_majority_and_the_shares_of_votes():
    with pytest.warns(DataFileWarning, match=TIE):
        found = aggregate_annotations(long_table())
    rows = ["b", "a", "c"]
    expected = pd.DataFrame(
        {"food": ["good", np.nan, np.nan], "noise": [np.nan, 4, np.nan]},
        index=pd.Index(rows, name="id"),
    )
    pd.testing.assert_frame_equal(found.concepts, expected, check_dtype=False)
    soft = pd.DataFrame(
        {
            "food=bad": [1 / 3, 0.5, np.nan],
            "food=good": [2 / 3, 0.5, np.nan],
            "noise=4": [np.nan, 1.0, np.nan],
        },
        index=expected.index,
    )
    pd.testing.assert_frame_equal(found.soft_concepts, soft)
    quality = found.annotators
    assert quality.columns.tolist() == [
        *("annotator", "concept", "n_annotations", "agreement")
    ]
    by_name = quality[quality["concept"] == "food"].set_index("annotator")["agreement"]
    np.testing.assert_allclose(by_name.loc[["Ann", "Ben", "Cy"]], [0.25, 0.25, 0.0])
    assert np.isnan(quality[quality["concept"] == "noise"]["agreement"]).all()


def test_a_tie_does_not_go_to_the_value_that_comes_first():
    for lines in (LINES, LINES[::-1]):
        with pytest.warns(DataFileWarning, match=TIE):
            found = aggregate_annotations(long_table(lines))
        assert pd.isna(found.concepts.loc["a", "food"])
        assert found.concepts.loc["b", "food"] == "good"


@pytest.mark.filterwarnings("ignore:.*values have the same share")
def test_whoever_guesses_is_found_out():
    table, true = guessers()
    weighed = aggregate_annotations(table, method="dawid_skene")
    majority = aggregate_annotations(table)
    right = [(f.concepts == true).to_numpy().mean() for f in (weighed, majority)]
    assert right[0] > right[1] + 0.01
    quality = weighed.annotators.groupby("annotator")["accuracy"].max()
    assert quality.idxmin() == "Di"
    assert quality.drop("Di").min() > 0.85 and quality["Di"] < 0.6
    soft = weighed.soft_concepts
    assert soft.columns.tolist()[:3] == ["food=bad", "food=good", "food=unknown"]
    np.testing.assert_allclose(soft.filter(like="food=").sum(axis=1), 1)
    best = soft.filter(like="food=").idxmax(axis=1).str.removeprefix("food=")
    known = weighed.concepts["food"].dropna()
    assert (best[known.index] == known).all()
    again = aggregate_annotations(
        table.sample(frac=1, random_state=0), method="dawid_skene"
    )
    pd.testing.assert_frame_equal(
        again.soft_concepts.loc[soft.index, soft.columns], soft
    )


def test_tables_of_every_kind_and_other_names():
    table = long_table(LINES[:3]).rename(columns=dict(zip(NAMES, "twcv", strict=True)))
    names = {"row": "t", "annotator": "w", "concept": "c", "value": "v"}
    expected = aggregate_annotations(table, **names)
    assert expected.concepts.index.name == "t"
    for other in (pl.DataFrame(table), table.astype("category")):
        found = aggregate_annotations(other, **names)
        pd.testing.assert_frame_equal(found.concepts, expected.concepts)
    numbered = long_table(
        [(1, 7, "food", True), (1, 8, "food", True), (2, 7, "food", False)]
    )
    found = aggregate_annotations(numbered)
    assert found.concepts["food"].to_dict() == {1: True, 2: False}
    assert found.annotators["annotator"].tolist() == ["7", "8"]


def test_a_table_without_values():
    found = aggregate_annotations(long_table(LINES[-1:]))
    assert found.concepts.shape == found.soft_concepts.shape == (1, 0)
    assert not len(found.annotators)
    empty = aggregate_annotations(long_table([]), method="dawid_skene")
    assert empty.concepts.shape == (0, 0)


@pytest.mark.parametrize(
    ("lines", "more", "match"),
    [
        (LINES, {"row": "text"}, "table has no column 'text', .* asked for as row="),
        (LINES, {"value": "id"}, "A column has one use, and one of them has two"),
        ([(None, "A", "food", 1)], {}, "column of row= has no value in line 0"),
        ([("a", " ", "food", 1)], {}, "column of annotator= has no value in line 0"),
        ([("a", "A", None, 1)], {}, "column of concept= has no value in line 0 .*1 of"),
        ([("a", "A", "x=y", 1)], {}, "The concept 'x=y' has an equals sign in its"),
        ([("a", "A", "food", ["x"])], {}, "column of value= holds a list in line 0"),
        (
            [("a", "A", "food", 1), ("a", "B", "food", "1")],
            {},
            "Concept 'food' has the values 1 and '1', one of them a number and one a",
        ),
        (
            [("a", "A", "food", 1), ("a", "A ", "food", 2)],
            {},
            "Annotator 'A' chose two values of concept 'food' for row 'a', 1 and 2",
        ),
        (
            [(k, "A", "food", k / 7) for k in range(101)],
            {"method": "dawid_skene"},
            "concept 'food': 101 different values, such as '0', are no categories",
        ),
    ],
)
def test_tables_that_are_refused(lines, more, match):
    with pytest.raises(ValueError, match=match):
        aggregate_annotations(long_table(lines), **more)


@pytest.mark.parametrize("table", [{"id": [1]}, [1], None, np.zeros((2, 4))])
def test_what_is_no_table(table):
    with pytest.raises(
        TypeError, match="table must be a DataFrame with a line for each"
    ):
        aggregate_annotations(table)


def test_no_convergence_is_said(monkeypatch):
    from sklearn.exceptions import ConvergenceWarning

    from skclif._annotation_tools import votes
    from skclif.numerics.annotators import dawid_skene

    monkeypatch.setattr(votes, "dawid_skene", lambda v: dawid_skene(v, max_iter=1))
    match = "concept 'food': Dawid–Skene had not converged after 1 iterations"
    with pytest.warns(ConvergenceWarning, match=match):
        aggregate_annotations(guessers(30)[0].head(90), method="dawid_skene")


# --- Files ----------------------------------------------------------------------------


def written(path, table, true, with_ids=True):
    """Write a long table as a file, with texts and stars."""
    table = table.assign(
        text="text " + table["id"],
        stars=table["id"].map((true == "good").sum(axis=1) + 1),
    )
    table.drop(columns=[] if with_ids else "id").to_csv(path, index=False)
    return path


@pytest.mark.filterwarnings("ignore:.*chose one value as another")
@pytest.mark.parametrize("method", ["majority", "dawid_skene"])
def test_long_files_say_what_long_tables_say(tmp_path, method):
    table, true = guessers(60)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataFileWarning)
        expected = aggregate_annotations(table, method=method)
    options = {"label": "stars", "concepts": ["food", "noise"], "annotators": method}
    path = written(tmp_path / "long.csv", table, true)
    found = load_reviews(path, id="id", **options)
    pd.testing.assert_frame_equal(found.concepts, expected.concepts)
    pd.testing.assert_frame_equal(found.soft_concepts, expected.soft_concepts)
    pd.testing.assert_frame_equal(
        found.annotator_quality[["annotator", "n_annotations", "agreement"]],
        expected.annotators[["annotator", "n_annotations", "agreement"]],
    )
    assert found.target.tolist() == ((true == "good").sum(axis=1) + 1).tolist()
    what = (
        "are right by Dawid–Skene" if method == "dawid_skene" else "agree with others"
    )
    assert re.fullmatch(f"annotators who {what}: Di ..%, .*", found.reading[-1])
    path = written(tmp_path / "texts.csv", table, true, with_ids=False)
    by_text = load_reviews(path, **options)
    assert by_text.data.tolist() == ("text " + true.index).tolist()
    np.testing.assert_array_equal(by_text.soft_concepts, found.soft_concepts)
    assert by_text.ids[0] == "row-1"


def test_a_label_may_be_a_concept_of_a_long_file(tmp_path):
    table = pd.DataFrame(
        [
            ("1", "a", "Ann", "stars", "4"),
            ("1", "a", "Ann", "food", "good"),
            ("1", "a", "Ben", "stars", "4"),
            ("1", "a", "Ben", "food", "NA"),
            ("2", "b", "Ann", "stars", "1"),
        ],
        columns=["id", "text", "annotator", "concept", "value"],
    )
    table.to_csv(tmp_path / "long.csv", index=False)
    options = {"label": "stars", "id": "id", "concepts": ["food"]}
    with pytest.warns(DataFileWarning, match="'good'. has one value and empty"):
        found = load_reviews(tmp_path / "long.csv", annotators="majority", **options)
    assert found.target.to_dict() == {"1": 4, "2": 1}
    assert found.concepts["food"].to_dict() == {"1": "good", "2": np.nan}
    np.testing.assert_array_equal(found.soft_concepts["food=good"], [1.0, np.nan])
    with pytest.warns(DataFileWarning, match="'good'. has one value and empty"):
        every = load_reviews(tmp_path / "long.csv", annotators="all", **options)
    assert every.annotators.to_dict() == {
        "1#Ann": "Ann",
        "1#Ben": "Ben",
        "2#Ann": "Ann",
    }
    assert every.weights.tolist() == [0.5, 0.5, 1.0]
    with pytest.raises(
        DataFileError, match="several people .* 'dawid_skene' weighs each"
    ):
        load_reviews(tmp_path / "long.csv", **options)
    options |= {"concepts": ["noise"], "annotators": "majority"}
    with pytest.raises(
        DataFileError, match="has no column 'noise', asked for as a con"
    ):
        load_reviews(tmp_path / "long.csv", **options)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"text": ["a", "b"]}, "id 1: its 2 rows .* differ in the column 'text'"),
        ({"stars": [1, 2]}, "id 1: its 2 rows .* differ in the column 'stars'"),
        ({"annotator": ["A", "A"]}, "'good' and 'bad' were chosen"),
        ({"annotator": ["A", ""]}, r"it is not said who annotated 1 task \(1\)"),
        ({"value": ['["good"', "bad"]}, None),
    ],
)
@pytest.mark.filterwarnings("ignore::skclif.exceptions.DataFileWarning")
def test_long_files_that_are_refused(tmp_path, change, match):
    table = {"id": ["1", "1"], "text": "a", "annotator": ["A", "B"], "concept": "food"}
    table |= {"value": ["good", "bad"], "stars": 3, **change}
    pd.DataFrame(table).to_csv(tmp_path / "long.csv", index=False)
    options = {"label": "stars", "id": "id", "concepts": ["food"]}
    options["annotators"] = "dawid_skene"
    if match is None:
        assert load_reviews(tmp_path / "long.csv", **options).concepts.shape == (1, 1)
        return
    with pytest.raises(DataFileError, match=match):
        load_reviews(tmp_path / "long.csv", **options)


def test_dawid_skene_of_an_export_with_annotators(tmp_path):
    table, true = guessers(40, seed=1)
    food = table[table["concept"] == "food"]
    tasks = [
        {
            "id": i,
            "text": f"text {i}",
            "annotations": [
                {"user": line.annotator, "label": line.value}
                for line in lines.itertuples()
            ],
        }
        for i, lines in food.groupby("id")
    ]
    path = tmp_path / "votes.json"
    path.write_text(json.dumps(tasks))
    found = load_reviews(path, id="id", annotators="dawid_skene", incomplete="skip")
    expected = aggregate_annotations(food, method="dawid_skene").concepts["food"]
    assert found.target.to_dict() == expected.dropna().to_dict()
    assert found.annotator_quality["annotator"].tolist() == ["Ann", "Ben", "Cy", "Di"]
    assert found.soft_concepts is None


@pytest.mark.filterwarnings("ignore:.*chose one value as another")
def test_an_audit_of_a_long_file(tiny_encoder, tmp_path):
    table, true = guessers(70)
    path, out = written(tmp_path / "long.csv", table, true), tmp_path / "out"
    options = ["--label", "stars", "--id", "id", "--concept", "food", "--out", out]
    options += ["--model", tiny_encoder, "--max-mistakes", "1"]
    done = folders.done("audit", path, *options, "--annotators", "dawid_skene")
    assert "annotators who are right by Dawid–Skene: Di" in done.stderr
    assert "Bit for bit, this is the model" in folders.done("replay", out, path).stdout


@pytest.mark.filterwarnings("ignore:.*values have the same share")
def test_shares_are_what_a_bottleneck_is_fitted_to():
    table, true = guessers(80)
    soft = aggregate_annotations(table, method="dawid_skene").soft_concepts
    X = np.column_stack([true[c] == v for c in true for v in ("bad", "good")]) * 1.0
    y = (true == "good").sum(axis=1)
    model = ConceptBottleneckClassifier().fit(X, y, concepts=soft)
    assert list(model.concept_names_in_) == ["food", "noise"]
    assert (model.predict_concepts(X).to_numpy() == true.to_numpy()).mean() > 0.95
