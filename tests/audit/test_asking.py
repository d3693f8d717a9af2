"""What people are asked to annotate, and which texts their answers are about."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._audit.asking import (
    expected_gains,
    gains_of_texts,
    held_out_table,
    keep_written,
    machine_table,
    next_table,
    with_authors,
)
from skclif._audit.prompt_corrections import (
    Correction,
    corrected,
    placed,
    read_corrections,
)
from skclif._audit.prompt_file import PromptFile, with_people
from skclif._audit.prompted import Prompted, words_on_values
from skclif._audit.prompts_kept import remembered
from skclif._audit.rows import Reviews, text_hash
from skclif.exceptions import DataFileError

FILE = PromptFile(
    "concepts.yaml",
    "0" * 64,
    {
        "food": {"good": ["tasty"], "bad": ["cold"]},
        "noise": {"loud": ["so loud"], "not said": []},
    },
)
TEXTS = ["one", "two", "one", "four"]


def make_reviews(texts=TEXTS, ids=None, **people):
    ids = [f"r{k}" for k in range(len(texts))] if ids is None else ids
    concepts = pd.DataFrame(people, index=range(len(texts)), dtype=object)
    reviews = Reviews.from_parts(ids, list(texts), [0] * len(texts), concepts)
    return with_people(reviews, FILE)


def make_found(reviews, confidence, least=0.5):
    """Return annotations by prompts, all of the first value, of some confidence."""
    names = list(FILE.concepts)
    confidence = pd.DataFrame(confidence, columns=names)
    people = reviews.concepts[names]
    guesses = pd.DataFrame(
        {name: [next(iter(FILE.concepts[name]))] * len(reviews) for name in names},
        dtype=object,
    )
    by_people = people.notna()
    concepts = people.where(by_people | (confidence < least), guesses)
    concepts = concepts.astype(object).where(concepts.notna(), None)
    return Prompted(concepts, guesses, confidence.mask(by_people), by_people)


def said(table):
    return list(zip(table["id"], table["path"], strict=True))


# --- Which texts an answer is about ---------------------------------------------------


def of(i, text, value="good", path="food"):
    return Correction(i, text_hash(text), path, value)


def test_a_correction_belongs_to_a_text():
    reviews = make_reviews(ids=["a", "b", "c", "d"])
    fitting, n_left = placed(
        reviews,
        FILE,
        [
            of("b", "four", "bad"),  # rows have other names now
            of("a", "one"),  # and two texts are equal
            of("b", "gone"),
            of("b", "two", "superb"),
            of("b", "two", path="price"),
            of("b", "two", None),
        ],
    )
    found = {(one.id, one.value) for one in fitting}
    assert found == {("d", "bad"), ("a", "good"), ("c", "good"), ("b", None)}
    assert n_left == 3
    concepts = corrected(reviews, fitting).concepts["food"]
    assert concepts.tolist() == ["good", None, "good", "bad"]


def test_what_people_said_of_a_copy_stays():
    reviews = make_reviews(food=["bad", None, None, None])
    fitting, _ = placed(reviews, FILE, [of("r2", "one")])
    assert [(one.id, one.value) for one in fitting] == [("r2", "good")]
    both = [of("r0", "one", "good"), of("r2", "one", "bad")]
    fitting, _ = placed(make_reviews(), FILE, both)
    assert {(one.id, one.value) for one in fitting} == {("r0", "good"), ("r2", "bad")}


def write(path, *lines):
    columns = ["decision", "kind", "id", "text_hash", "path", "current", "proposed"]
    table = pd.DataFrame(lines, columns=[*columns, *["guess"] * (len(lines[0]) - 7)])
    table.to_csv(path, index=False)
    return path


def test_rejected_lines_say_that_what_is_there_is_right(tmp_path):
    reviews = make_reviews()
    two, four = (text_hash(text) for text in ("two", "four"))
    path = write(
        tmp_path / "d.csv",
        ("reject", "annotate", "r1", two, "food", "good", "bad"),
        ("no", "annotate", "r1", two, "noise", "", ""),
        ("reject", "annotate", "r3", four, "food", "good", "bad"),
        ("accept", "annotate", "r3", four, "food", "good", "bad"),
        ("reject", "annotate", "r3", four, "price", "dear", "cheap"),
        ("reject", "relabel", "r3", four, "label", "1", "2"),
        ("skip", "annotate", "r3", four, "noise", "", "loud"),
    )
    found, n_others, n_unsaid = read_corrections(path, reviews, FILE)
    assert {(one.id, one.path, one.value) for one in found} == {
        ("r1", "food", "good"),
        ("r1", "noise", None),
        ("r3", "food", "bad"),
    }
    assert (n_others, n_unsaid) == (0, 0)
    both = ("reject", "annotate", "r1", two, "food", "bad", "")
    path = write(tmp_path / "d.csv", ("no", *both[1:5], "good", ""), both)
    with pytest.raises(DataFileError, match="two rejected lines give 'food' of 'r1'"):
        read_corrections(path, reviews, FILE)


def test_a_line_is_about_its_text_whatever_the_row_is_called(tmp_path):
    two, four = (text_hash(text) for text in ("two", "four"))
    path = write(
        tmp_path / "d.csv",
        ("accept", "annotate", "r9", two, "food", "", "bad"),  # no such row now
        ("accept", "annotate", "r0", four, "food", "", "good"),  # another text now
    )
    found, *_ = read_corrections(path, make_reviews(), FILE)
    assert [(one.id, one.value) for one in found] == [("r1", "bad"), ("r3", "good")]


def test_values_without_a_decision_are_counted(tmp_path):
    reviews = make_reviews()
    two, four = (text_hash(text) for text in ("two", "four"))
    path = write(
        tmp_path / "d.csv",
        ("", "annotate", "r1", two, "food", "good", "bad", "good"),
        ("", "annotate", "r1", two, "noise", "", "loud", ""),
        ("", "annotate", "r3", four, "food", "good", "good", "good"),  # as it was made
        ("", "annotate", "r3", four, "noise", "", "", "loud"),
    )
    assert read_corrections(path, reviews, FILE) == ([], 0, 2)


def test_values_that_no_text_has():
    reviews = make_reviews(noise=["loud", "not said", None, None])
    found = make_found(reviews, np.full((4, 2), 0.9))
    assert found.values(FILE.concepts) == {
        "food": {"good": 4, "bad": 0},
        "noise": {"loud": 3, "not said": 1},
    }
    assert words_on_values(found, FILE).startswith(
        "No text has the value 'bad' of 'food', so that no model"
    )
    assert found.unsure() == {}
    unsure = make_found(reviews, np.full((4, 2), 0.3))
    assert unsure.unsure() == {"food": 0.3}
    assert words_on_values(unsure, FILE) is None


# --- What is asked --------------------------------------------------------------------


def test_equal_texts_are_asked_about_once():
    reviews = make_reviews()
    confidence = [[0.9, 0.3], [0.8, 0.6], [0.7, 0.3], [0.95, 0.2]]
    found = make_found(reviews, confidence)
    every = next_table(reviews, found)
    assert len(every) == 8
    once = next_table(reviews, found, once=True)
    assert said(once) == [
        *(("r3", "noise"), ("r0", "noise"), ("r1", "noise")),
        *(("r2", "food"), ("r1", "food"), ("r3", "food")),
    ]
    assert set(once["ordered_by"]) == {"least confidence"} and "gain" not in once
    assert said(next_table(reviews, found, once=True, limit=2)) == said(once)[:2]
    asked = held_out_table(reviews, found, np.array([True, False, True, True]), 0, 10)
    assert len(asked) == 4 and asked["path"].tolist() == ["food", "noise"] * 2
    asked = held_out_table(reviews, found, np.array([True, False, True, True]), 0, 3)
    assert len(asked) == 3


def test_gains_come_first_and_only_of_what_may_be_asked():
    reviews = make_reviews(food=[None, "good", None, None])
    found = make_found(reviews, [[0.9, 0.3], [0.8, 0.6], [0.7, 0.3], [0.95, 0.2]])
    gains = pd.DataFrame(
        {
            "row": [2, 1, 0, 0],
            "concept": ["food", "food", "noise", "price"],
            "gain": [0.4, 0.3, 0.2, 0.1],
        }
    )
    is_asked = np.array([True, True, True, False])
    table = next_table(reviews, found, is_asked=is_asked, gains=gains)
    assert said(table)[:2] == [("r2", "food"), ("r0", "noise")]
    assert table["gain"].tolist()[:2] == [0.4, 0.2]
    assert table["gain"][2:].isna().all()
    assert said(table)[2:] == [("r2", "noise"), ("r1", "noise"), ("r0", "food")]


@pytest.fixture(scope="module")
def labelled():
    """Return rows with labels, of which some lack annotations, and what prompts say."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    food = np.where(X[:, 0] + rng.normal(0, 0.5, 60) > 0, "good", "bad").astype(object)
    noise = np.where(X[:, 1] > 0, "loud", "not said").astype(object)
    food[:9], noise[:5] = None, None
    concepts = pd.DataFrame({"food": food, "noise": noise}, dtype=object)
    labels = np.where(X[:, 0] > 0, "yes", "no")
    texts = [f"text {k}" for k in range(60)]
    reviews = Reviews.from_parts([f"r{k}" for k in range(60)], texts, labels, concepts)
    return reviews.embedded(X)


def test_gains_are_of_the_rows_to_train_on(labelled):
    is_held = np.arange(60) % 3 == 0
    gains = gains_of_texts(labelled, is_held, 50, "cpu")
    assert len(gains) and not is_held[gains["row"]].any()
    assert all(
        labelled.concepts.loc[row, name] is None
        for row, name in zip(gains["row"], gains["concept"], strict=True)
    )
    assert gains["gain"].gt(0).all()
    nobody = replace(labelled, concepts=labelled.concepts.map(lambda _: None))
    assert gains_of_texts(nobody, is_held, 50, "cpu") is None
    # Of a constant, nothing can be learned, and nothing is missing of the other.
    food = np.where(labelled.features[:, 0] > 0, "good", "bad").astype(object)
    noise = np.where(np.arange(60) < 3, None, "loud")
    one = pd.DataFrame({"food": food, "noise": noise}, dtype=object)
    assert not len(gains_of_texts(replace(labelled, concepts=one), is_held, 9, "cpu"))


def explain(train):
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(train.features, train.labels, concepts=train.concepts)


def test_what_nobody_read_of_an_audit(labelled):
    train, held_out = labelled.take(np.arange(40)), labelled.take(np.arange(40, 60))
    guesses = {
        "food": {i: ["good", 0.6] for i in train.ids if i != "r20"},
        "noise": {i: ["loud", 0.55 if i == "r30" else 0.8] for i in train.ids},
    }
    about = {"guesses": guesses}
    records = [
        {
            "changes": [{"kind": "annotate", "id": "r1", "path": "food"}],
            "rejected": [{"kind": "annotate", "id": "r2", "path": "noise"}],
        },
        {"changes": [{"kind": "relabel", "id": "r3", "path": "label"}]},
    ]
    explainer = explain(train)
    table = machine_table(about, explainer, train, held_out, records)
    asked = set(said(table))
    by_people = {("r20", "food"), ("r1", "food"), ("r2", "noise")}
    assert asked == {(i, n) for i in train.ids for n in guesses} - by_people
    gains = expected_gains(explainer, train, held_out, 100)
    first = [
        (train.ids[row], name) for row, name in gains[["row", "concept"]].to_numpy()
    ]
    first = [one for one in first if one in asked]
    assert said(table)[: len(first)] == first
    rest = table[len(first) :]
    assert said(rest)[0] == ("r30", "noise") or rest["confidence"].iloc[0] == 0.55
    made = table[table["current"].notna()]
    assert (made["proposed"] == made["current"]).all()
    assert table["proposed"][table["current"].isna()].isna().all()
    suspects = pd.DataFrame(
        {
            "id": ["r20", "r30", "r30", "r0"],
            "kind": ["annotate", "annotate", "relabel", "annotate"],
            "path": ["food", "noise", "label", "food"],
            "current": ["good", "loud", "yes", None],
            "proposed": None,
        }
    )
    by = with_authors(suspects, table)["by"].tolist()
    assert by == ["person", "prompts", "", ""]
    assert with_authors(suspects, None) is suspects
    # Audits of older versions do not say how sure prompts were.
    assert remembered({"by_people": {}}, train) is None
    assert machine_table({"by_people": {}}, explainer, train, held_out, []) is None


def test_a_list_that_somebody_wrote_into_is_kept(tmp_path):
    path = tmp_path / "next.csv"
    assert keep_written(path) is None
    made = pd.DataFrame({"decision": [""], "proposed": [""], "why": [""], "id": ["a"]})
    made.to_csv(path, index=False)
    assert keep_written(path) is None and path.exists()
    (tmp_path / "next-1.csv").touch()
    for column in ("decision", "proposed", "why"):
        made.assign(**{column: "x"}).to_csv(path, index=False)
        name = keep_written(path)
        assert (tmp_path / name).exists() and not path.exists()
    assert name == "next-4.csv"
    path.write_text("decision;id\n;a\n")  # a spreadsheet saved it
    assert keep_written(path) == "next-5.csv"
