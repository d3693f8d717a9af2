"""The table of baselines against scikit-learn, its order, and what it refuses."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import (
    GroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_predict,
)

from skclif import SentenceEmbedder, compare_baselines, make_text_pipeline
from skclif._baselines.comparison import _folds
from skclif._inputs import progress
from skclif.datasets import make_concept_reviews
from skclif.exceptions import RepeatedTextWarning, TruncatedTextWarning

pytestmark = pytest.mark.filterwarnings("ignore:.* texts are longer")


@pytest.fixture(scope="module")
def reviews():
    found = make_concept_reviews(150, random_state=1)
    return list(found.data), np.asarray(found.target), found.concepts


@pytest.fixture(scope="module")
def comparison(reviews, tiny_encoder):
    lines = []
    embedder = SentenceEmbedder(tiny_encoder)
    found = compare_baselines(
        *reviews, cv=3, vectors=embedder, random_state=0, on_model=lines.append
    )
    return found, lines


def test_cut_texts_are_said_once(reviews, tiny_encoder):
    texts, y, _ = reviews
    with pytest.warns(TruncatedTextWarning, match="150 of 150 texts") as caught:
        compare_baselines(texts, y, cv=3, vectors=SentenceEmbedder(tiny_encoder))
    assert len([w for w in caught if w.category is TruncatedTextWarning]) == 1


def test_the_table_begins_with_the_cheapest(comparison):
    found, lines = comparison
    assert found.frame["model"].tolist() == [
        "majority",
        "words",
        "vectors",
        "vectors and words",
        "bottleneck on words",
        "bottleneck on vectors",
        "bottleneck on vectors and words",
        "label from annotations",
    ]
    assert found.frame["sees"].tolist()[-1] == "annotations"
    assert [line["model"] for line in lines] == found.frame["model"].tolist()
    assert (found.n_samples, found.n_folds) == (150, 3)


def test_the_first_line_needs_no_torch():
    code = """
import sys
from skclif import compare_baselines
texts = [f"{word} {n}" for word in ("good", "bad") for n in range(10)]
loaded = []
compare_baselines(
    texts, [1] * 10 + [0] * 10, vectors=False, random_state=0,
    on_model=lambda row: loaded.append("torch" in sys.modules),
)
print(loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[False, True]"


def test_every_score_lies_in_its_interval(comparison):
    frame = comparison[0].frame
    for score in ("accuracy", "macro_f1", "log_loss"):
        assert (frame[f"{score}_low"] <= frame[score]).all()
        assert (frame[score] <= frame[f"{score}_high"]).all()
    assert (frame["seconds"] > 0).all() and frame.notna().all(axis=None)
    text = frame.set_index("model")["log_loss"]
    assert text["words"] < text["majority"]
    assert found_best(frame) == comparison[0].best


def found_best(frame):
    texts = frame[frame["sees"] != "annotations"]
    return texts.sort_values("log_loss")["model"].iloc[0]


def test_scores_are_those_of_scikit_learn(reviews):
    texts, y, _ = reviews
    cv = StratifiedKFold(4, shuffle=True, random_state=5)
    frame = compare_baselines(texts, y, cv=cv, vectors=False).frame
    line = frame.set_index("model").loc["words"]
    proba = cross_val_predict(
        make_text_pipeline(vectors=False), texts, y, cv=cv, method="predict_proba"
    )
    predicted = np.unique(y)[proba.argmax(axis=1)]
    assert line["accuracy"] == pytest.approx((predicted == y).mean())
    assert line["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"))
    assert line["log_loss"] == pytest.approx(log_loss(y, proba))
    shares = pd.Series(y).value_counts(normalize=True)
    majority = frame.set_index("model").loc["majority"]
    assert majority["log_loss"] == pytest.approx(-(shares * np.log(shares)).sum(), 0.02)


def test_the_label_from_annotations_sees_nothing_else(reviews):
    texts, y, concepts = reviews
    kwargs = {"cv": 3, "vectors": False, "random_state": 0}
    frames = [
        compare_baselines(some, y, concepts, **kwargs).frame.set_index("model")
        for some in (texts, texts[::-1])
    ]
    line = "label from annotations"
    columns = frames[0].columns.drop(["seconds", "sees"])
    pd.testing.assert_series_equal(
        frames[0].loc[line, columns], frames[1].loc[line, columns]
    )
    codes = pd.get_dummies(concepts.fillna("").astype(str))
    rough = LogisticRegression().fit(codes, y)
    assert abs(frames[0].loc[line, "accuracy"] - rough.score(codes, y)) < 0.15


def test_folds_and_intervals_are_drawn_by_the_random_state(reviews):
    texts, y, _ = reviews
    kwargs = {"cv": 3, "vectors": False}
    frames = [
        compare_baselines(texts, y, random_state=seed, **kwargs).frame.drop(
            columns="seconds"
        )
        for seed in (0, 0, 1)
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert not frames[0].equals(frames[2])
    before = np.random.get_state()[1].copy()
    compare_baselines(texts, y, random_state=0, **kwargs)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_a_label_that_lives_in_one_group_is_named(reviews):
    texts, y, _ = reviews
    rare = np.where(np.arange(150) < 12, 9, y)
    groups = np.where(np.arange(150) < 12, 0, np.arange(150) % 20 + 1)
    with pytest.raises(ValueError, match="no row of the label 9, .* one group or part"):
        compare_baselines(texts, rare, vectors=False, groups=groups, random_state=0)


def test_rows_that_a_splitter_does_not_test_only_train(reviews):
    texts, y, _ = reviews
    found = compare_baselines(texts, y, cv=TimeSeriesSplit(2), vectors=False)
    assert (found.n_samples, found.n_folds) == (100, 2)
    majority = found.frame.set_index("model").loc["majority"]
    tested = y[50:]
    first, second = (pd.Series(y[:n]).mode()[0] for n in (50, 100))
    right = np.r_[tested[:50] == first, tested[50:] == second]
    assert majority["accuracy"] == pytest.approx(right.mean(), abs=0.1)


def test_numbers_are_read_as_numbers():
    """A label that is a function of one number, with gaps."""
    rng = np.random.default_rng(0)
    number = rng.normal(size=200)
    y = (number > 0).astype(int)
    number[::9] = np.nan
    texts = [f"text {i % 7} {i}" for i in range(200)]
    frame = compare_baselines(
        texts, y, pd.DataFrame({"n": number}), vectors=False, random_state=0
    ).frame.set_index("model")
    assert frame.loc["label from annotations", "accuracy"] > 0.9


@pytest.fixture(scope="module")
def twice(reviews):
    """Each text twice; its label is only known from the other."""
    texts, y, _ = reviews
    odd = np.random.default_rng(0).permutation(y)
    return texts + texts, np.concatenate([odd, odd])


def test_equal_texts_stay_in_one_fold(twice):
    texts, labels = twice
    kwargs = {"vectors": False, "random_state": 0}
    honest = compare_baselines(texts, labels, cv=3, **kwargs)
    assert honest.n_repeated == 150
    grouped = np.tile(np.arange(150), 2)
    with pytest.warns(RepeatedTextWarning, match="^1.. texts of 300 .* also stand"):
        leaky = compare_baselines(
            texts, labels, cv=StratifiedKFold(3, shuffle=True, random_state=0), **kwargs
        )
    lines = [found.frame.set_index("model").loc["words"] for found in (honest, leaky)]
    assert lines[1]["accuracy"] > lines[0]["accuracy"] + 0.15
    by_groups = compare_baselines(texts, labels, cv=3, groups=grouped, **kwargs)
    by_groups = by_groups.frame.set_index("model").loc["words"]
    assert abs(by_groups["accuracy"] - lines[0]["accuracy"]) < 0.1


def test_one_text_that_groups_part_is_said(reviews):
    texts, y, _ = reviews
    texts = [texts[1], *texts[1:]]
    with pytest.warns(RepeatedTextWarning, match="2 texts of 150 to predict also stan"):
        compare_baselines(
            texts, y, groups=np.arange(150), vectors=False, random_state=0
        )


def test_folds_of_different_texts_are_stratified_as_rows_are(reviews):
    texts, y, _ = reviews
    rng = np.random.RandomState(0)
    plain = StratifiedKFold(3, shuffle=True, random_state=np.random.RandomState(0))
    expected = [test for _, test in plain.split(texts, y)]
    found = _folds(3, np.asarray(texts, dtype=object), y, None, rng)
    for (train, test), rows in zip(found, expected, strict=True):
        np.testing.assert_array_equal(test, rows)
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(150))


def test_the_plot_shows_every_model(comparison):
    plt = pytest.importorskip("matplotlib.pyplot")
    ax = comparison[0].plot("accuracy")
    assert [label.get_text() for label in ax.get_yticklabels()][0] == (
        "label from annotations"
    )
    assert ax.get_xlabel() == "Accuracy, 3 folds"
    _, other = plt.subplots()
    assert comparison[0].plot(ax=other) is other
    plt.close("all")
    with pytest.raises(ValueError, match="score must be one of .* got 'auc'"):
        comparison[0].plot("auc")


def test_views(comparison):
    assert "8 models on 150 rows" in repr(comparison[0])
    html = comparison[0]._repr_html_()
    assert "bottleneck on words" in html and "<table" in html


@pytest.mark.parametrize(
    ("vectors", "error", "match"),
    [
        ("MiniLM", TypeError, "vectors must be True, False"),
        (
            SentenceEmbedder("./nowhere"),
            OSError,
            "model='./nowhere' is not a directory",
        ),
        (SentenceEmbedder(device="tpu"), ValueError, "device='tpu' is not known"),
    ],
)
def test_vectors_that_cannot_be_had_are_refused_first(reviews, vectors, error, match):
    lines = []
    with pytest.raises(error, match=match):
        compare_baselines(*reviews, vectors=vectors, on_model=lines.append)
    assert not lines


@pytest.mark.filterwarnings("error:The number of unique classes")
@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"X": "good soup"}, TypeError, "X is a single text"),
        ({"X": np.ones((150, 2))}, ValueError, r"X has shape \(150, 2\).*column of te"),
        ({"X": ["a"] * 149 + [None]}, ValueError, "row 149 .* holds None"),
        ({"y": [1] * 3}, ValueError, "y"),
        ({"concepts": [["a"]] * 3}, ValueError, "concepts"),
        ({"X": []}, ValueError, "X has no texts"),
        ({"y": [1] * 150}, ValueError, "y has one label only, 1"),
        ({"cv": 1}, ValueError, "cv=1 must be 2 or more"),
        ({"cv": 100}, ValueError, "cv=100 folds need as many different texts of eve"),
        (
            {"cv": 100, "groups": range(150)},
            ValueError,
            "cv=100 folds need as many rows of every label, and .* has",
        ),
        ({"cv": True}, TypeError, "cv must be a number of folds .* got True"),
        (
            {"cv": GroupKFold(3)},
            ValueError,
            "cv must be a number of folds or a splitter for these rows: The 'groups'",
        ),
        ({"cv": "5"}, TypeError, "cv must be a number of folds .* got '5'"),
        (
            {"cv": [(range(100), range(100, 150)), (range(50), range(50, 120))]},
            ValueError,
            "cv must test no row twice",
        ),
        (
            {"on_model": "print"},
            TypeError,
            "on_model must be a function .* got 'print'",
        ),
        ({"groups": [1, 2]}, ValueError, "groups"),
        (
            {"groups": [[1, 2]] * 150},
            ValueError,
            r"groups must be one group for each .*\(150, 2\)",
        ),
        (
            {"groups": [1] * 149 + [None]},
            ValueError,
            "groups has no value for training row 149",
        ),
        (
            {"groups": [1, 2] * 75},
            ValueError,
            "cv=5 folds need as many groups, and .* 2",
        ),
        (
            {"concepts": [[None]] * 150},
            ValueError,
            "'concept0' has no annotation that has weight",
        ),
        (
            {"X": ["." * n for n in range(150)]},
            ValueError,
            "'words' cannot be fitted without fold 1",
        ),
        ({"X": ["a", "b"] * 75}, ValueError, "cv=5 folds need as many different texts"),
        (
            {"y": [f"review-{i:03}" for i in range(150)]},
            ValueError,
            "y has 150 different labels in 150 rows, such as 'review-000': .*another",
        ),
        ({"y": np.linspace(0, 1, 150)}, ValueError, "continuous"),
    ],
)
def test_what_is_refused(reviews, change, error, match):
    given = dict(zip(("X", "y", "concepts"), reviews, strict=True))
    with pytest.raises(error, match=match):
        compare_baselines(**{**given, "vectors": False, **change})


def test_every_model_shows_how_many_folds_are_done(reviews, bars, capfd):
    texts, y = reviews[0][:60], reviews[1][:60]
    options = {"cv": 2, "vectors": False, "random_state": 0}
    silent = compare_baselines(texts, y, **options)
    assert capfd.readouterr() == ("", "")
    watched = compare_baselines(texts, y, **options, verbose=1)
    assert bars() == [("Model 'majority'", 2, 2), ("Model 'words'", 2, 2)]
    pd.testing.assert_frame_equal(
        watched.frame.drop(columns="seconds"), silent.frame.drop(columns="seconds")
    )


def test_two_seconds_are_those_of_all_models(reviews, capfd, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "can_draw_again", lambda stream: True)

    def wait(line):
        now[0] += 2.5

    options = {"cv": 2, "vectors": False, "random_state": 0, "verbose": 1}
    compare_baselines(reviews[0][:60], reviews[1][:60], **options, on_model=wait)
    shown = capfd.readouterr().err
    assert "majority" not in shown
    assert "Model 'words'" in shown


@pytest.mark.parametrize("verbose", [-1, "yes", None])
def test_what_does_not_say_whether_to_show_progress_is_refused(reviews, verbose):
    with pytest.raises(ValueError, match=f"verbose={verbose!r} must be True, False or"):
        compare_baselines(*reviews, verbose=verbose)
