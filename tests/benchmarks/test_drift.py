"""What is planted moves what it should and nothing else; and what counts as right."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks._drift_nhs import CASES, MODELS, by_theme, losses, polarity, summary
from benchmarks._drift_plants import (
    RATE,
    SILENT,
    TILT,
    WEAK,
    Meaning,
    choose_like,
    corrupt,
    eligible,
    read_rows,
    reverse_meaning,
    spoken,
)
from benchmarks.drift import BATCHES, DRIFTED, drawn, forget, judge, run, stored
from benchmarks.tasks import in_order_of_time, read_task


@pytest.fixture(scope="module")
def rows():
    return read_rows("generated", 4000)


@pytest.fixture(scope="module")
def meaning(rows):
    return Meaning(rows)


# --- Plants ---------------------------------------------------------------------------


def coefficients(rows, concept):
    """Return what values of a concept say of the labels, against saying nothing."""
    indicators = pd.get_dummies(rows.concepts, dtype=float)
    clf = LogisticRegression(max_iter=1000).fit(indicators, rows.y)
    terms = pd.DataFrame(clf.coef_.T, index=indicators.columns)
    return np.array(
        [
            terms.loc[f"{concept}_{value}"] - terms.loc[f"{concept}_unknown"]
            for value in ("Negative", "Positive")
        ]
    ).ravel()


def test_a_reversed_meaning_is_of_that_concept_alone(rows, meaning):
    rng = np.random.default_rng(0)
    new = reverse_meaning(rows, meaning, np.arange(len(rows)), "service", rng)
    assert np.array_equal(new.X, rows.X)
    pd.testing.assert_frame_equal(new.concepts, rows.concepts)
    says = ~rows.concepts["service"].isin(SILENT)
    changed = new.y != rows.y
    assert not changed[~says].any()
    assert changed.mean() == pytest.approx(meaning.changed("service"), abs=0.03)
    for concept, sign in (("service", -1), ("food", 1), ("price", 1)):
        before, after = (coefficients(part, concept) for part in (rows, new))
        assert after == pytest.approx(sign * before, abs=0.45)
        assert abs(before).max() > 1


def test_labels_of_some_rows_are_drawn_by_their_own_annotations(rows, meaning):
    at = np.random.default_rng(1).permutation(len(rows))[:1500]
    new = reverse_meaning(rows.take(at), meaning, at, "food", np.random.default_rng(0))
    before, after = (coefficients(part, "food") for part in (rows, new))
    assert after == pytest.approx(-before, abs=0.7)


def test_corrupted_annotations_are_of_one_concept(rows):
    new = corrupt(rows, "price", np.random.default_rng(0))
    changed = new.concepts != rows.concepts
    assert changed["price"].mean() == pytest.approx(RATE, abs=0.03)
    assert not changed.drop(columns="price").any(axis=None)
    assert np.array_equal(new.y, rows.y)


def test_texts_that_sound_alike_come_more_often():
    scores = np.random.default_rng(0).normal(3, 2, size=20_000)
    chosen = choose_like(scores, 1000, np.random.default_rng(1))
    assert len(np.unique(chosen)) == 1000
    moved = (scores[chosen].mean() - scores.mean()) / scores.std()
    assert moved == pytest.approx(TILT, abs=0.1)


def test_rare_values_and_weak_meanings_are_not_planted(rows):
    concepts = rows.concepts.assign(
        rare=np.where(np.arange(len(rows)) % 50, "no", "yes"),
        chance=np.random.default_rng(0).choice(["no", "yes"], len(rows)),
        odd=np.where(np.arange(len(rows)) % 40, rows.concepts["food"], "Odd"),
    )
    some = replace(rows, concepts=concepts)
    found = eligible(some, Meaning(some))
    assert "rare" not in found["inputs"] and "rare" not in found["concept"]
    assert "chance" in found["concept"] and "chance" not in found["meaning"]
    assert set(found["meaning"]) >= {"service", "noise", "price"}
    assert not {*found["meaning"]} & {*found[WEAK]} and "chance" not in found[WEAK]
    assert set(spoken(some, "odd")) == {"Negative", "Positive"}


@pytest.mark.parametrize("seed", range(3))
def test_no_row_is_in_two_places(seed):
    options = SimpleNamespace(train=50, batch=20)
    train, batches, rest = drawn(200, np.random.default_rng(seed), options)
    assert list(batches) == list(BATCHES)
    assert [len(train), *map(len, batches.values()), len(rest)] == [50, 20, 20, 20, 90]
    every = np.concatenate([train, *batches.values(), rest])
    assert sorted(every) == list(range(200))


# --- What counts as right -------------------------------------------------------------


def frame(*lines):
    columns = ["part", "group", "concept", "found"]
    return pd.DataFrame(lines, columns=columns).assign(effect=0.5)


FILLER = [
    (part, group, concept, False)
    for part in ("inputs", "concept", "meaning")
    for group in BATCHES
    for concept in ("all", "food", "noise")
]


@pytest.mark.parametrize(
    ("lines", "right", "own", "found", "others", "first"),
    [
        ([("concept", "B", "food", True)], True, True, True, 0, "concept, food, B"),
        ([("concept", "B", "food", False)], False, False, False, 0, "nothing"),
        ([("concept", "A", "food", True)], False, False, False, 0, "concept, food, A"),
        (
            [
                ("inputs", "B", "all", True),
                ("inputs", "A", "features", True),
                ("concept", "B", "food", True),
            ],
            *(True, True, True, 0, "concept, food, B"),
        ),
        (
            [("meaning", "B", "food", True), ("concept", "B", "food", True)],
            *(False, True, True, 1, "meaning, food, B"),
        ),
        (
            [("concept", "B", "noise", True), ("concept", "B", "food", True)],
            *(False, False, True, 1, "concept, noise, B"),
        ),
    ],
)
def test_the_first_row_that_names_a_concept_decides(
    lines, right, own, found, others, first
):
    taken = {line[:3] for line in lines}
    rest = [line for line in FILLER if line[:3] not in taken]
    told = judge(frame(*lines, *rest), "concept", "food")
    assert (told["right"], told["first of its part"], told["found"]) == (
        right,
        own,
        found,
    )
    assert (told["others"], told["first"]) == (others, first)
    assert told["elsewhere"] == sum(line[1] != DRIFTED for line in lines)


# --- Comments of patients -------------------------------------------------------------


ABOUT = pd.DataFrame(
    {
        "trust": ["NHFT", "NHFT", "NEAS", "NEAS", "NHFT"],
        "question": ["improve", "good", "improve", "why", "good"],
        "quarter": ["2021Q3", "2021Q4", "2022Q1", "2022Q4", None],
    }
)


@pytest.mark.parametrize(
    ("name", "train", "new"),
    [
        ("question", [0, 2, 3], [1, 4]),
        ("question, one trust", [0], [1, 4]),
        ("trust", [0, 1, 4], [2, 3]),
        ("trust, one question", [0], [2]),
        ("quarter", [0, 1], [2]),
        ("quarter, one trust", [], [2]),
    ],
)
def test_cases_hold_the_other_columns(name, train, new):
    (case,) = [case for case in CASES if case.name == name]
    assert [rows.tolist() for rows in case.rows(ABOUT)] == [train, new]


def test_findings_in_words_and_by_theme():
    found = frame(
        ("meaning", "B", "all", True),
        ("meaning", "B", "noise", True),
        ("meaning", "B", "food", True),
        ("meaning", "B", "price", False),
        ("inputs", "B", "all", True),
        ("inputs", "B", "food", False),
    )
    words = "2 of 3, first noise; and labels are more or less frequent"
    assert summary(found, "meaning") == words
    assert summary(found, "inputs") == "0 of 1"
    other = frame(("inputs", "A", "noise", True)).assign(case="question")
    names, lines = by_theme(pd.concat([found.assign(case="trust"), other]))
    assert names == ["trust: B", "question: A"]
    cells = {(part, theme): value for part, theme, value, _ in lines}
    assert cells["inputs", "all themes together"] == 0.5
    assert lines[-1] == ["meaning", "labels, whatever the themes", 0.5, None]
    assert cells["meaning", "noise"] == cells["meaning", "food"] == 0.5
    assert cells["meaning", "price"] is cells["inputs", "food"] is None


def test_how_many_comments_with_a_theme_are_positive():
    groups, lines = polarity(SimpleNamespace(small=True))
    assert groups == ["good, NHFT", "improve, NEAS", "improve, NHFT", "why, NEAS"]
    made = read_rows("generated", 420)
    at = (made.concepts["noise"] != "unknown").to_numpy() & (np.arange(420) % 4 == 2)
    shares = {line[0]: line[1:] for line in lines}
    assert shares["noise"][0] == pytest.approx(np.mean(made.y[at] == 2))


def test_what_was_measured_of_an_arm_is_forgotten(tmp_path):
    store = tmp_path / "store.jsonl"
    forget(store, ["planted"])
    run([(["planted", "nhs", 0], {"right": True}), (["nothing", "nhs", 0], {})], store)
    forget(store, ["planted"])
    assert stored(store) == [(["nothing", "nhs", 0], {})]
    assert stored(store, "planted") == []


def test_who_knows_a_group_predicts_it_better(rows):
    """Labels of the group are turned around: only its own rows tell that."""
    train, own = (rows.take(np.arange(*at)) for at in ((0, 300), (300, 500)))
    found = losses(train, replace(own, y=own.y.max() - own.y))
    for model in MODELS:
        assert found[f"{model}, with rows of it"] < found[model] - 0.1


# --- A split by time ------------------------------------------------------------------


def test_the_latest_are_tested_and_rows_of_one_time_stay_together():
    times = pd.Series(list("cabadabaeb") + [np.nan] + list("aa"))
    parts = in_order_of_time(times)
    found = {name: sorted(times[rows]) for name, rows in parts.items()}
    assert found == {"train": ["a"] * 6, "dev": list("bbbc"), "test": ["d", "e"]}


def test_times_of_which_two_parts_cannot_be_held_out_are_refused():
    with pytest.raises(ValueError, match="^Of 2 different times, too few are late"):
        in_order_of_time(pd.Series([1, 1, 2, 2]))


def test_a_file_with_times_is_split_by_them(tmp_path):
    days = [f"2024-03-{1 + k:02d}" for k in np.random.default_rng(0).permutation(20)]
    frame = pd.DataFrame({"text": days, "label": ["a", "b"] * 10, "time": days})
    frame["food"] = ["good", "bad"] * 10
    path = str(tmp_path / "rows.csv")
    frame.to_csv(path, index=False)
    texts = {part: list(read_task(path, part)[0]) for part in ("train", "dev", "test")}
    assert [len(some) for some in texts.values()] == [12, 4, 4]
    assert max(texts["train"]) < min(texts["dev"])
    assert max(texts["dev"]) < min(texts["test"])
    assert list(read_task(path, "test")[2]) == ["food"]
