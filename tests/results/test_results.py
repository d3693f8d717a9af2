"""InfluenceResult and what gathers it."""

import dataclasses
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from skclif import InfluenceResult
from skclif._explain.collect import KeepTop

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}"


def _result(**changes):
    values = np.array(
        [[[1.0, 0.5], [-3.0, 1.0], [0.1, 0.2]], [[0.0, 0.0], [2.0, -1.0], [-4.0, 0.5]]]
    )
    training = pd.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    fields = {
        "values": values,
        "paths": ("label", "food"),
        "target": "log-loss",
        "unit": "nats",
        "higher_is_better": False,
        "method": "newton",
        "training": training,
    }
    return InfluenceResult(**{**fields, **changes})


def test_top_sorts_by_magnitude():
    top = _result().top(2)
    assert top["target"].tolist() == [0, 0, 1, 1]
    assert top["row"].tolist() == [1, 0, 2, 1]
    np.testing.assert_allclose(top["influence"], [-2.0, 1.5, -3.5, 1.0])
    assert top["text"].tolist() == ["b", "a", "c", "b"]


def test_the_path_is_the_one_that_goes_furthest_in_the_direction_of_the_total():
    assert _result().top(2)["path"].tolist() == ["label", "label", "label", "label"]
    values = np.array([[[-1.0, 0.2], [1.0, -1.5]]])
    assert _result(values=values).top(2)["path"].tolist() == ["label", "food"]


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_helpful_and_harmful_follow_the_target(higher_is_better):
    result = _result(higher_is_better=higher_is_better)
    down, up = result.helpful(1), result.harmful(1)
    if higher_is_better:
        down, up = up, down
    assert down["row"].tolist() == [1, 2]
    assert up["row"].tolist() == [0, 1]
    assert (down["influence"] < 0).all()
    assert (up["influence"] > 0).all()


def test_only_rows_that_harm_are_harmful():
    assert _result().harmful(10)["row"].tolist() == [0, 2, 1]
    assert len(_result().harmful(10)) == 3
    assert len(_result().helpful(10)) == 2


def test_to_frame_has_every_value():
    frame = _result().to_frame()
    assert frame.shape == (12, 4)
    one = frame.query("target == 1 and row == 2 and path == 'food'")["influence"]
    assert one.tolist() == [0.5]
    summed = _result(values=_result().totals, paths=None).to_frame()
    assert list(summed.columns) == ["target", "row", "influence"]
    np.testing.assert_allclose(
        summed["influence"], frame.groupby(["target", "row"])["influence"].sum()
    )


def test_annotations_named_like_a_column_are_told_apart():
    training = pd.DataFrame({"row": list("abc"), "path": list("def")})
    top = _result(training=training).top(1)
    assert top["row"].tolist() == [1, 2]
    assert top["annotated row"].tolist() == ["b", "c"]
    assert top["annotated path"].tolist() == ["e", "f"]


def test_streamed_rows_keep_their_positions():
    rows = np.array([[7, 5, 3], [2, 1, 0]])
    training = pd.DataFrame({"text": list("abcdefgh")})
    result = _result(rows=rows, training=training)
    assert result.top(2)["row"].tolist() == [5, 7, 0, 1]
    assert result.top(2)["text"].tolist() == ["f", "h", "a", "b"]
    assert result.to_frame()["row"].tolist() == np.repeat(rows.ravel(), 2).tolist()


def test_groups_stand_by_name():
    groups = np.array(["ann", "bob", "eve"])
    frame = _result(groups=groups).top(1)
    assert list(frame.columns) == ["target", "group", "influence", "path"]
    assert frame["group"].tolist() == ["bob", "eve"]
    assert "3 groups" in repr(_result(groups=groups))


def test_repr_says_unit_and_sign():
    assert repr(_result()) == (
        "<InfluenceResult on log-loss (nats, positive = harmful) by newton: 2 targets "
        "x 3 training rows; paths label, food>"
    )
    assert "positive = helpful" in repr(_result(higher_is_better=True))
    many = _result(values=np.zeros((1, 1, 6)), paths=tuple("abcdef"))
    assert repr(many).endswith("paths a, b, c, d, …>")


def test_results_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _result().unit = "bits"


class _Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html.partition("</style>")[2])

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_html_escapes_what_users_wrote():
    training = pd.DataFrame({HOSTILE: [HOSTILE] * 3})
    result = _result(training=training, target=HOSTILE, paths=("label", HOSTILE))
    parsed = _Tags(result._repr_html_())
    assert "script" not in parsed.tags
    assert parsed.text.count(HOSTILE) >= 4
    assert "49" not in parsed.text


def test_html_shows_targets_and_rows():
    parsed = _Tags(_result()._repr_html_())
    assert parsed.tags.count("table") == 2
    assert "positive = harmful" in parsed.text


def test_ties_keep_the_earlier_row_whatever_the_blocks():
    values = np.array([[[1.0], [-1.0], [1.0], [0.5], [-1.0]]])
    for size in (1, 2, 5):
        top = KeepTop(1, 5, 3, 1, paths=False)
        for start in range(0, 5, size):
            stop = min(start + size, 5)
            top.add(slice(0, 1), slice(start, stop), values[:, start:stop])
        assert top.rows.tolist() == [[0, 1, 2]]


def test_results_of_metrics_load_before_metrics():
    code = "import skclif._results.removal"
    subprocess.run([sys.executable, "-c", code], check=True)
