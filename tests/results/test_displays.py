"""Drawings: what stands on the axes is what the results say."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skclif import EditComparison, EditDisplay, InfluenceDisplay, InfluenceResult
from skclif._results.comparison import PairedChange
from skclif._results.plots import shorten

PATHS = ("label", "food", "interaction")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def influence(values, paths=PATHS, **known):
    values = np.asarray(values, dtype=float)
    return InfluenceResult(
        values=values,
        paths=paths,
        target="log-loss",
        unit="nats",
        higher_is_better=known.pop("higher_is_better", False),
        method="newton",
        **known,
    )


VALUES = [
    [[0.1, 0.2, -0.05], [-0.3, 0.1, 0.0], [0.5, -0.1, 0.0], [-0.1, -0.05, 0.0]],
    [[0.0, 0.0, 0.0], [0.1, 0.1, 0.1], [-0.2, 0.0, 0.0], [0.3, 0.0, 0.0]],
]


def test_rows_go_from_the_most_helpful_to_the_most_harmful():
    display = InfluenceDisplay(influence(VALUES)).plot()
    assert display.frame_["row"].tolist() == [1, 3, 0, 2]
    np.testing.assert_allclose(display.frame_["influence"], [-0.2, -0.15, 0.25, 0.4])
    assert display.ax_.yaxis_inverted()  # the first row stands on top


def test_pieces_of_a_bar_end_where_the_parts_add_up_to():
    display = InfluenceDisplay(influence(VALUES)).plot(target=0)
    order = display.frame_["row"].to_numpy()
    parts = np.asarray(VALUES[0])[order]
    spans = np.array(
        [
            [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in display.bars_[p]]
            for p in PATHS
        ]
    )
    np.testing.assert_allclose(spans[..., 1] - spans[..., 0], parts.T)
    np.testing.assert_allclose(spans.max(axis=(0, 2)), parts.clip(min=0).sum(axis=1))
    np.testing.assert_allclose(spans.min(axis=(0, 2)), parts.clip(max=0).sum(axis=1))
    marks = display.totals_.get_offsets()
    np.testing.assert_allclose(marks[:, 0], parts.sum(axis=1))


def test_many_paths_are_drawn_as_one_rest_that_keeps_the_sum():
    values = np.arange(16.0).reshape(1, 2, 8) + 1
    paths = tuple("abcdefgh")
    frame = InfluenceDisplay(influence(values, paths)).plot().frame_
    assert frame.columns.tolist() == [
        *("row", "influence", "h", "g", "f", "e", "d", "other paths")
    ]
    np.testing.assert_allclose(frame.iloc[:, 2:].sum(axis=1), frame["influence"])
    assert frame["other paths"].tolist() == [1 + 2 + 3, 9 + 10 + 11]


def test_without_paths_a_row_has_one_bar():
    values = np.asarray(VALUES).sum(axis=2)
    display = InfluenceDisplay(influence(values, None)).plot(target=1, k=1)
    assert display.frame_["row"].tolist() == [2, 1]  # of equal rows the first
    assert list(display.bars_) == ["influence"]
    assert display.totals_ is None


def test_top_rows_and_groups_are_found_by_their_names():
    rows = np.array([[40, 10, 30, 20], [4, 1, 3, 2]])
    display = InfluenceDisplay(influence(VALUES, rows=rows)).plot(k=1)
    assert display.frame_["row"].tolist() == [10, 30]
    np.testing.assert_allclose(display.frame_["label"], [-0.3, 0.5])
    groups = np.array(["ann", "bob", "cem", "dee"])
    display = InfluenceDisplay(influence(VALUES, groups=groups)).plot(k=1)
    assert display.frame_["group"].tolist() == ["bob", "cem"]
    np.testing.assert_allclose(display.frame_["label"], [-0.3, 0.5])


@pytest.mark.parametrize(
    ("higher_is_better", "words"), [(False, "← helps    harms →"), (True, "← harms")]
)
def test_the_axis_says_on_which_side_rows_harm(higher_is_better, words):
    result = influence(VALUES, higher_is_better=higher_is_better)
    display = InfluenceDisplay(result).plot()
    assert words in display.ax_.get_xlabel()
    # Whatever is better: the most harmful row is the last.
    assert display.frame_["row"].iloc[-1] == (1 if higher_is_better else 2)


def test_texts_of_users_are_no_formulas_and_are_cut_between_words():
    training = pd.DataFrame(
        {
            "text": ["costs $5_a$ and $6^$", "b", "word " * 30, "d"],
            "label": list("wxyz"),
        }
    )
    explained = pd.DataFrame({"text": ["why $\\frac{1}$"], "label": ["x"]})
    result = influence(VALUES, training=training, explained=explained)
    display = InfluenceDisplay(result).plot(width=20)
    display.figure_.canvas.draw()
    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == [
        *("1  b  [x]", "3  d  [z]", "0  costs $5_a$ and $6^$  [w]"),
        "2  word word word…  [y]",
    ]
    title = display.ax_.get_title(loc="right")
    assert title == "rows behind target 0: why $\\frac{1}$  [x]"


def test_shortened_texts_are_never_longer_than_asked_for():
    assert shorten("a\n  b\tc", 10) == "a b c"
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcdefghi…"  # one word: cut inside
    assert shorten("abcde fghijk", 10) == "abcde fgh…"
    assert shorten("abcdef ghijk", 10) == "abcdef…"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 2}, "target=2 must be a position from 0 to 1"),
        ({"target": True}, "target=True must be a position"),
        ({"k": 0}, "k=0 must be a whole number, 1 or more"),
        ({"width": 2.5}, "width=2.5 must be a whole number, 1 or more"),
    ],
)
def test_what_an_influence_display_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        InfluenceDisplay(influence(VALUES)).plot(**arguments)


def comparison(interval=(-0.3, -0.1)):
    return EditComparison(
        accuracy=PairedChange(0.5, 0.6, (-0.05, 0.25)),
        log_loss=PairedChange(1.0, 0.8, interval),
        changed=pd.DataFrame({"outcome": []}),
        concepts=pd.DataFrame(),
        n_rows=40,
    )


@pytest.mark.parametrize(
    ("score", "before", "after", "ends", "words"),
    [
        ("log_loss", 1.0, 0.8, (0.7, 0.9), "log-loss (nats; lower is better)"),
        ("accuracy", 0.5, 0.6, (0.45, 0.75), "(share of rows; higher is better)"),
    ],
)
def test_the_interval_of_a_change_hangs_on_the_later_score(
    score, before, after, ends, words
):
    display = EditDisplay(comparison()).plot(score=score)
    np.testing.assert_allclose(display.line_.get_ydata(), [before, after])
    (bar,) = display.errorbar_[2]
    np.testing.assert_allclose(bar.get_segments()[0][:, 1], ends)
    assert words in display.ax_.get_ylabel()
    assert "on 40 rows" in display.ax_.get_title()


def test_one_row_has_no_interval():
    display = EditDisplay(comparison((np.nan, np.nan))).plot()
    assert display.errorbar_ is None
    assert "no interval from one row" in display.ax_.get_title()


def test_what_an_edit_display_refuses():
    with pytest.raises(ValueError, match="score='f1' is not known; use 'log_loss'"):
        EditDisplay(comparison()).plot(score="f1")


def test_displays_draw_on_given_axes():
    figure, (left, right) = plt.subplots(1, 2)
    assert InfluenceDisplay(influence(VALUES)).plot(ax=left).figure_ is figure
    assert EditDisplay(comparison()).plot(ax=right).ax_ is right
