"""What edit refuses, and what it says."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from ..data import make_concept_data

N = 60
X, Y, CONCEPTS = make_concept_data(N)
CONCEPTS["price"] = CONCEPTS["price"].map(lambda value: value / 2, na_action="ignore")
CONCEPTS["price"] += 0.01  # numbers
CONCEPTS = CONCEPTS.astype({"price": float})
ROW, OTHER = {"X": X[:1], "y": Y[:1]}, CONCEPTS[:1].assign(food="zebra")
POSITION = r"0 to 59\.$"
GIVEN = "known values: 'bad', 'good', 'unknown', or None"

# Arguments, type of the error, message.
CASES = {
    # --- nothing, and the number of steps
    "nothing": (
        {},
        ValueError,
        "edit was given nothing to change: pass y, concepts, s",
    ),
    "no steps": (
        {"drop": [1], "n_steps": 0},
        ValueError,
        "n_steps=0 must be 1 or more",
    ),
    "half a step": (
        {"drop": [1], "n_steps": 0.5},
        TypeError,
        "n_steps must be a whole.*0.5",
    ),
    "True steps": (
        {"drop": [1], "n_steps": True},
        TypeError,
        "n_steps must be.*got True",
    ),
    "text steps": (
        {"drop": [1], "n_steps": "2"},
        TypeError,
        "n_steps must be.*got '2'",
    ),
    # --- rows, wherever they are named
    "row too large": (
        {"y": {N: "never"}},
        ValueError,
        f"y names the row 60; .*{POSITION}",
    ),
    "negative row": (
        {"drop": [-1]},
        ValueError,
        f"drop names the row -1; .*{POSITION}",
    ),
    "float row": ({"drop": [1.0]}, TypeError, f"drop names the row 1.0; .*{POSITION}"),
    "bool row": (
        {"drop": [True]},
        TypeError,
        "drop names the row True; rows are named",
    ),
    "text row": (
        {"y": {"a": "never"}},
        TypeError,
        "y names the row 'a'; rows are named",
    ),
    "NaN row": (
        {"drop": [np.nan]},
        TypeError,
        "drop names the row nan; rows are named",
    ),
    "None row": (
        {"sample_weight": {None: 1}},
        TypeError,
        "sample_weight names the row None",
    ),
    "row of a concept": (
        {"concepts": {"food": {-3: "bad"}}},
        ValueError,
        rf"concepts\['food'\] names the row -3; .*{POSITION}",
    ),
    "NumPy float row": (
        {"drop": np.array([1.0])},
        TypeError,
        "drop names the row .*1.0",
    ),
    "pairs of rows": ({"drop": [[1, 2]]}, TypeError, r"drop names the row \[1, 2\]"),
    "twice": ({"drop": [3, 4, np.int64(3)]}, ValueError, "drop names row 3 twice"),
    # --- drop
    "one row": (
        {"drop": 3},
        TypeError,
        r"drop must be a list of rows, such as \[3, 9\]",
    ),
    "text": ({"drop": "3"}, TypeError, "drop must be a list of rows.*got str"),
    "dict": ({"drop": {3: 1}}, TypeError, "drop must be a list of rows.*got dict"),
    "mask": (
        {"drop": np.arange(N) < 3},
        TypeError,
        "got a mask; pass numpy.flatnonzero",
    ),
    "mask in a Series": ({"drop": pd.Series(Y == "a")}, TypeError, "got a mask; pass"),
    # --- y
    "array of labels": (
        {"y": Y},
        TypeError,
        "y must be a dict of row to label.*got ndarr",
    ),
    "Series of labels": (
        {"y": pd.Series(Y)},
        TypeError,
        "y must be a dict.*got Series",
    ),
    "unseen label": (
        {"y": {3: "sometimes"}},
        ValueError,
        "y gives row 3 the label 'sometimes', .* known labels: 'again', 'never', 'perh",
    ),
    "no label": (
        {"y": {3: None}},
        ValueError,
        "y gives row 3 the label None, which was",
    ),
    "NaN label": ({"y": {3: np.nan}}, ValueError, "y gives row 3 the label nan, which"),
    "list label": (
        {"y": {3: ["never"]}},
        ValueError,
        r"row 3 the label \['never'\], wh",
    ),
    "class that goes": (
        {"y": dict.fromkeys(np.flatnonzero(Y == "never").tolist(), "again")},
        ValueError,
        "leaves the class 'never' without a row that has .* empty_values='drop'",
    ),
    "class that is dropped": (
        {"drop": np.flatnonzero(Y == "never")},
        ValueError,
        "The edit leaves the class 'never' without a row",
    ),
    # --- concepts
    "frame": (
        {"concepts": CONCEPTS},
        TypeError,
        "concepts must be a dict of concept to",
    ),
    "list of values": (
        {"concepts": {"food": ["bad"]}},
        TypeError,
        r"concepts\['food'\] must be a dict of row to value, got list",
    ),
    "unknown concept": (
        {"concepts": {"taste": {3: 1}}},
        ValueError,
        "concepts names the concept 'taste', but the model has 'food', 'quiet'",
    ),
    "unhashable concept": (
        {"drop_concepts": [["food"]]},
        ValueError,
        r"drop_concepts names the concept \['food'\], but the model has",
    ),
    "unseen value": (
        {"concepts": {"food": {3: "zebra"}}},
        ValueError,
        f"concepts gives row 3 the value 'zebra' of concept 'food', .*{GIVEN}",
    ),
    "number for a text": (
        {"concepts": {"food": {3: 1}}},
        ValueError,
        f"gives row 3 the value 1 of concept 'food', which was never seen.*{GIVEN}",
    ),
    "list for a value": (
        {"concepts": {"food": {3: ["bad"]}}},
        ValueError,
        rf"the value \['bad'\] of concept 'food', .*{GIVEN}",
    ),
    "text for a number": (
        {"concepts": {"price": {3: "1"}}},
        ValueError,
        "the value '1' of concept 'price', .*known values: a finite number, or None",
    ),
    "True for a number": (
        {"concepts": {"price": {3: True}}},
        ValueError,
        "the value True of concept 'price', .*known values: a finite number",
    ),
    "inf": (
        {"concepts": {"price": {3: np.inf}}},
        ValueError,
        "the value inf of concept 'price', .*known values: a finite number",
    ),
    "value that goes": (
        {"concepts": {"quiet": dict.fromkeys(range(N), "yes")}},
        ValueError,
        r"the value 'no' of concept 'quiet' without .* drop_concepts=\['quiet'\]",
    ),
    # --- sample_weight
    "negative weight": (
        {"sample_weight": {3: -1}},
        ValueError,
        "sample_weight gives row 3 the weight -1; weights are 0, or numbers",
    ),
    "NaN weight": (
        {"sample_weight": {3: np.nan}},
        ValueError,
        "row 3 the weight nan; we",
    ),
    "inf weight": (
        {"sample_weight": {3: np.inf}},
        ValueError,
        "row 3 the weight inf; we",
    ),
    "tiny weight": (
        {"sample_weight": {3: 1e-200}},
        ValueError,
        "row 3 the weight 1e-200",
    ),
    "text weight": (
        {"sample_weight": {3: "1"}},
        ValueError,
        "row 3 the weight '1'; wei",
    ),
    "True weight": (
        {"sample_weight": {3: True}},
        ValueError,
        "row 3 the weight True; w",
    ),
    "None weight": (
        {"sample_weight": {3: None}},
        ValueError,
        "row 3 the weight None; w",
    ),
    "short weights": (
        {"sample_weight": [1.0, 2.0]},
        ValueError,
        "sample_weight.shape == .2,., expected .60,.",
    ),
    "negative weights": (
        {"sample_weight": np.full(N, -1.0)},
        ValueError,
        "Negative values in data passed to `sample_weight`",
    ),
    "table of weights": (
        {"sample_weight": np.ones((N, 2))},
        ValueError,
        r"sample_weight must have one dimension, got shape \(60, 2\)",
    ),
    # --- drop_concepts
    "one name": ({"drop_concepts": "food"}, TypeError, r"list of names, .*got 'food'"),
    "a number": (
        {"drop_concepts": 1},
        TypeError,
        r"drop_concepts must be a list of na",
    ),
    "unknown name": (
        {"drop_concepts": ["taste"]},
        ValueError,
        "drop_concepts names the co",
    ),
    "name twice": (
        {"drop_concepts": ["food", "food"]},
        ValueError,
        "drop_concepts names concept 'food' twice",
    ),
    "all names": (
        {"drop_concepts": ["food", "quiet", "price"]},
        ValueError,
        "drop_concepts names every concept, .*; fit without concepts",
    ),
    # --- two arguments
    "drop and y": (
        {"drop": [3], "y": {3: "never"}},
        ValueError,
        "Row 3 is in drop and in y; leave it out of one of them",
    ),
    "drop and concepts": (
        {"drop": [3], "concepts": {"food": {3: "bad"}}},
        ValueError,
        r"Row 3 is in drop and in concepts\['food'\]; leave it out",
    ),
    "drop and sample_weight": (
        {"drop": [3], "sample_weight": {3: 2.0}},
        ValueError,
        "Row 3 is in drop and in sample_weight; leave it out",
    ),
    "drop and all weights": (
        {"drop": [3], "sample_weight": np.full(N, 2.0)},
        ValueError,
        "Row 3 is in drop and in sample_weight; leave it out",
    ),
    "drop_concepts and concepts": (
        {"drop_concepts": ["food"], "concepts": {"food": {3: "bad"}}},
        ValueError,
        "Concept 'food' is in drop_concepts and in concepts; leave it out",
    ),
    # --- add
    "tuple": (
        {"add": (X[:1], Y[:1])},
        TypeError,
        "add must be a dict of X, y, .*got tup",
    ),
    "no labels": (
        {"add": {"X": X[:1]}},
        ValueError,
        "add must be .*; it has no y",
    ),
    "other key": (
        {"add": {**ROW, "z": 1}},
        ValueError,
        "add must be .*; it cannot have 'z'",
    ),
    "more labels": (
        {"add": {**ROW, "y": Y[:2]}},
        ValueError,
        "add must be .* y has 2 rows, but X has 1",
    ),
    "unseen label added": (
        {"add": {**ROW, "y": ["sometimes"]}},
        ValueError,
        "add has the label 'sometimes', which was not seen in fit; known",
    ),
    "missing label added": (
        {"add": {**ROW, "y": [None]}},
        ValueError,
        "add must be .* y has no label in row 0",
    ),
    "other features": (
        {"add": {**ROW, "X": X[:1, :2]}},
        ValueError,
        "add must be .* X has 2 features, but .* is expecting 6 features",
    ),
    "NaN feature": (
        {"add": {**ROW, "X": X[:1] * np.nan}},
        ValueError,
        "add must be a dict of X, y, concepts … as fit takes .* NaN",
    ),
    "unseen value added": (
        {"add": {**ROW, "concepts": OTHER}},
        ValueError,
        "add must be .* the value 'zebra' for concept 'food', which was never seen",
    ),
    "unknown concept added": (
        {"add": {**ROW, "concepts": OTHER.rename(columns={"food": "taste"})}},
        ValueError,
        r"add must be .* unknown: \['taste'\]",
    ),
    "more annotations": (
        {"add": {**ROW, "concepts": CONCEPTS[:2]}},
        ValueError,
        "add must be .* concepts has 2 rows, but X has 1",
    ),
    "weights of no annotations": (
        {"add": {**ROW, "concept_sample_weight": [[1, 1, 1]]}},
        ValueError,
        "add must be .* concept_sample_weight was given without concepts",
    ),
    "negative weight added": (
        {"add": {**ROW, "sample_weight": [-1]}},
        ValueError,
        "add must be .* Negative values in data passed to `sample_weight`",
    ),
    "number as features": (
        {"add": {**ROW, "X": 3}},
        TypeError,
        "add must be .* X must be an array, a DataFrame or a list",
    ),
    # --- validation rows
    # --- how much concepts matter
    "factors in a list": (
        {"concept_weights": ["food"]},
        TypeError,
        r"concept_weights must be a dict.*\{'noise': 0\}, got list",
    ),
    "factor of an unknown concept": (
        {"concept_weights": {"noise": 0}},
        ValueError,
        "concept_weights names the concept 'noise', but the model has 'food'",
    ),
    "text factor": (
        {"concept_weights": {"food": "half"}},
        TypeError,
        "gives concept 'food' the factor 'half'; a factor is a number from 0",
    ),
    "True factor": (
        {"concept_weights": {"food": True}},
        TypeError,
        "the factor True; a factor is a number from 0",
    ),
    "negative factor": (
        {"concept_weights": {"food": -0.5}},
        ValueError,
        "the factor -0.5; a factor is a number from 0",
    ),
    "NaN factor": (
        {"concept_weights": {"food": np.nan}},
        ValueError,
        "the factor nan; a factor is a number from 0",
    ),
    "inf factor": (
        {"concept_weights": {"food": np.inf}},
        ValueError,
        "the factor inf; a factor is a number from 0",
    ),
    "huge factor": (
        {"concept_weights": {"food": 1e9}},
        ValueError,
        "the factor 1000000000.0; a factor is a number from 0 .* to 100",
    ),
    "groups in another order": (
        {
            "drop": [1],
            "X_val": pd.DataFrame(X[:2]),
            "y_val": Y[:2],
            "groups_val": pd.Series(["a", "b"], index=[1, 0]),
        },
        ValueError,
        "X_val and groups_val have the same index in another order",
    ),
    "nothing to let go": (
        {"concept_weights": {"food": None}},
        ValueError,
        "'food' the factor None, which lets its weights go, but no edit holds them",
    ),
    "drop_concepts and concept_weights": (
        {"drop_concepts": ["food"], "concept_weights": {"food": 0}},
        ValueError,
        "Concept 'food' is in drop_concepts and in concept_weights",
    ),
    "one name to balance": (
        {"rebalance": "food"},
        TypeError,
        "rebalance must be a list of names.*got 'food'",
    ),
    "unknown name to balance": (
        {"rebalance": ["noise"]},
        ValueError,
        "rebalance names the concept 'noise', but the model has 'food'",
    ),
    "name to balance twice": (
        {"rebalance": ["food", "food"]},
        ValueError,
        "rebalance names concept 'food' twice",
    ),
    "groups of no rows": (
        {"drop": [1], "groups_val": ["a"]},
        ValueError,
        "groups_val was given without X_val and y_val",
    ),
    "too few groups": (
        {"drop": [1], "X_val": X[:2], "y_val": Y[:2], "groups_val": ["a"]},
        ValueError,
        "groups_val has 1 entries, but there are 2 rows of X_val",
    ),
    "a group that is missing": (
        {"drop": [1], "X_val": X[:2], "y_val": Y[:2], "groups_val": ["a", None]},
        ValueError,
        "groups_val has no value for row of X_val 1",
    ),
    "table of groups": (
        {"drop": [1], "X_val": X[:2], "y_val": Y[:2], "groups_val": np.ones((2, 2))},
        ValueError,
        "groups_val must be one group for each row of X_val.*shape \\(2, 2\\)",
    ),
    "no y_val": (
        {"drop": [1], "X_val": X},
        ValueError,
        "X_val was given without y_val",
    ),
    "no X_val": (
        {"drop": [1], "y_val": Y},
        ValueError,
        "y_val was given without X_val",
    ),
    "short y_val": (
        {"drop": [1], "X_val": X, "y_val": Y[:3]},
        ValueError,
        "y_val has 3 rows, but X_val has 60",
    ),
    "unseen class": (
        {"drop": [1], "X_val": X[:1], "y_val": ["sometimes"]},
        ValueError,
        "y_val has the class 'sometimes', which was not seen in fit",
    ),
    "NaN in X_val": (
        {"drop": [1], "X_val": X[:1] * np.nan, "y_val": Y[:1]},
        ValueError,
        "X_val must be what X is in fit: Input X contains NaN",
    ),
}


@pytest.fixture(scope="module")
def explainer():
    clf = ConceptBottleneckClassifier()
    return ConceptInfluenceExplainer(clf).fit(X, Y, concepts=CONCEPTS)


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_by_name(explainer, case):
    arguments, error, match = CASES[case]
    before = {name: part.copy() for name, part in explainer._training.items()}
    with pytest.raises(error, match=match) as caught:
        explainer.edit(**arguments)
    assert type(caught.value) is error
    for name, part in explainer._training.items():
        np.testing.assert_array_equal(part, before[name])


def test_a_model_without_concepts():
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X, Y)
    for argument in ({"concepts": {"food": {1: "bad"}}}, {"drop_concepts": ["food"]}):
        with pytest.raises(ValueError, match="'food', but the model has no concepts"):
            explainer.edit(**argument)
    with pytest.raises(
        ValueError, match="concepts were given, but the model has no concepts"
    ):
        explainer.edit(add={**ROW, "concepts": CONCEPTS[:1]})


def test_before_fit():
    explainer = ConceptInfluenceExplainer(LogisticRegression())
    with pytest.raises(NotFittedError):
        explainer.edit(drop=[1])


# --- And what it takes ----------------------------------------------------------------

NUMBERS = [np.int64, np.uint8]


@pytest.mark.parametrize("kind", [int, *NUMBERS])
def test_rows_may_be_any_whole_number(explainer, kind):
    row = kind(3)
    result = explainer.edit(
        y={row: np.str_("never")},
        concepts={"food": {row: np.str_("bad")}, "price": {row: np.float32(2)}},
        sample_weight={row: np.float64(2)},
        drop=np.array([7], dtype=kind),
    )
    assert set(result.record.changes["row"]) <= {3, 7}


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NA, float("nan"), np.float32("nan")]
)
@pytest.mark.parametrize("name", ["food", "price"])
def test_every_missing_value_takes_an_annotation_away(explainer, missing, name):
    row = int(np.flatnonzero(CONCEPTS[name].notna())[0])
    changes = explainer.edit(concepts={name: {row: missing}}).record.changes
    assert changes["new"].tolist() == [None]
    assert re.match("annotate", changes["kind"][0])


@pytest.mark.parametrize(
    "drop", [(1, 2), {1, 2}, range(1, 3), pd.Series([1, 2]), iter([1, 2])]
)
def test_rows_to_drop_may_be_of_any_collection(explainer, drop):
    assert explainer.edit(drop=drop).record.changes["row"].tolist() == [1, 2]


def test_labels_and_values_are_matched_by_what_they_are():
    concepts = pd.DataFrame(
        {"wifi": X[:, 0] > 0, "stars": np.digitize(X[:, 1], [-1, 1])}
    )
    clf = ConceptBottleneckClassifier()
    codes = np.digitize(X[:, 2], [0])
    explainer = ConceptInfluenceExplainer(clf).fit(X, codes, concepts=concepts)
    result = explainer.edit(
        y={0: float(1 - codes[0])},
        concepts={"wifi": {0: np.bool_(X[0, 0] <= 0)}, "stars": {0: 2.0}},
    )
    assert len(result.record.changes) >= 2
    for argument in (
        {"y": {0: True}},
        {"concepts": {"wifi": {0: 1}}},
        {"concepts": {"stars": {0: True}}},
    ):
        with pytest.raises(ValueError, match="never seen in fit|not seen in fit"):
            explainer.edit(**argument)
