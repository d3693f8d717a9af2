"""Contributions with names: frames, the largest of each row, and the notebook view."""

import dataclasses
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptContributions

HOSTILE = '<script>alert("x")</script>{{ 7 * 7 }}'


def _result(n_rows=2, n_concepts=2, classes=("bad", "good", "so-so"), **changes):
    rng = np.random.default_rng(0)
    names = tuple(f"concept{j}" for j in range(n_concepts))
    given = {
        "values": rng.normal(size=(n_rows, len(classes), n_concepts + 1)),
        "classes": np.array(classes),
        "concepts": (*names, "intercept"),
        "index": pd.RangeIndex(n_rows),
    }
    return ConceptContributions(**(given | changes))


class _Cells(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.classes = [], "", set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.classes.update((dict(attrs).get("class") or "").split())

    def handle_data(self, data):
        if self.tags[-1] != "style":
            self.text += data


def test_a_frame_has_a_line_for_each_row_class_and_concept():
    index = pd.Index(["x", "y"], name="id")
    result = _result(index=index)
    frame = result.to_frame()
    assert frame.columns.tolist() == ["class", "concept", "contribution"]
    assert frame.index.name == "id"
    for i, row in enumerate(index):
        for k, label in enumerate(result.classes):
            for j, concept in enumerate(result.concepts):
                lines = frame.loc[row]
                lines = lines[(lines["class"] == label) & (lines["concept"] == concept)]
                assert lines["contribution"].tolist() == [result.values[i, k, j]]
    assert len(frame) == result.values.size


def test_top_is_about_the_predicted_class_and_leaves_the_intercept_out():
    values = np.zeros((2, 2, 4))
    values[0, 1] = [0.1, -0.5, 0.3, 9.0]
    values[1, 0] = [0.2, 0.0, -0.2, 0.1]
    concepts = ("food", "quiet", "price", "intercept")
    result = _result(values=values, classes=np.array(["no", "yes"]), concepts=concepts)
    top = result.top(2)
    assert top.index.tolist() == [0, 0, 1, 1]
    assert top["class"].tolist() == ["yes", "yes", "no", "no"]
    assert top["concept"].tolist() == ["quiet", "price", "food", "price"]
    assert top["contribution"].tolist() == [-0.5, 0.3, 0.2, -0.2]
    assert len(result.top(99)) == 6
    assert result.top(0).empty


@pytest.mark.parametrize("k", [-1, 1.5, None, True])
def test_bad_numbers_of_concepts(k):
    with pytest.raises(ValueError, match=f"k={k} must be a whole number, 0 or more"):
        _result().top(k)


def test_numpy_reads_it_as_an_array():
    result = _result()
    np.testing.assert_array_equal(np.sum(result, axis=2), result.values.sum(axis=2))
    assert np.shares_memory(np.asarray(result), result.values)
    assert not np.shares_memory(np.array(result), result.values)
    assert np.asarray(result, dtype=np.float32).dtype == np.float32


def test_it_is_frozen_and_survives_pickle():
    result = _result()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.values = None
    copy = pickle.loads(pickle.dumps(result))
    pd.testing.assert_frame_equal(copy.to_frame(), result.to_frame())


def test_repr_says_unit_sign_and_names():
    assert repr(_result(1)) == (
        "<ConceptContributions to centred logits (log-odds, positive = supports the "
        "class): 1 row x 3 classes; concept0, concept1, intercept>"
    )
    assert repr(_result(n_concepts=9)).endswith("concept5, …>")


def test_html_shows_a_few_rows_with_bars_that_compare():
    values = np.zeros((5, 2, 2))
    values[0] = [[-1, 0.5], [1, -0.5]]
    values[1] = [[2, 0], [-2, 0]]
    html = _result(5, values=values, concepts=("food", "intercept"))._repr_html_()
    parsed = _Cells(html)
    assert parsed.tags.count("table") == 3
    assert "row 1, predicted bad" in parsed.text
    assert "2 more rows" in parsed.text
    bars = re.findall(r'style="left:([\d.]+)%;width:([\d.]+)%', html)
    # Half a track is the largest part of the row; the intercept comes last.
    assert bars[:4] == [
        ("0.0", "50.0"), ("50", "50.0"), ("50", "25.0"), ("25.0", "25.0"),
    ]  # fmt: skip
    assert bars[4:6] == [("50", "50.0"), ("0.0", "50.0")]
    assert "help" not in parsed.classes and "harm" not in parsed.classes


def test_html_has_the_intercept_after_the_concepts():
    values = np.array([[[0.1, 5.0], [-0.1, -5.0]]])
    html = _result(1, values=values, concepts=("food", "intercept"))._repr_html_()
    text = _Cells(html).text
    assert text.index("food") < text.rindex("intercept") < text.rindex("centred logit")


def test_html_of_many_concepts_and_labels_still_adds_up():
    result = _result(1, n_concepts=30, classes=tuple("abcdefg"))
    text = " ".join(_Cells(result._repr_html_()).text.split())
    assert "3 less probable labels not shown" in text
    predicted = result.values[0].sum(axis=1).argmax()
    concepts = result.values[0, predicted, :-1]
    parts = np.sort(np.abs(concepts))[::-1]
    rest = [v for v in concepts if abs(v) < parts[7]]
    assert "22 more together" in text
    shown = f"{sum(rest):+#.3g}".replace("-", "−")
    assert shown in text


def test_html_names_what_is_not_in_the_concepts_however_small():
    names = (*(f"concept{j}" for j in range(30)), "not in the concepts", "intercept")
    values = np.ones((1, 2, 32))
    values[0, :, 30] = 0.001
    text = _Cells(_result(1, values=values, concepts=names)._repr_html_()).text
    assert "not in the concepts+0.00100" in text.replace("\n", "")
    assert "22 more together" in text


def test_html_of_no_rows_and_of_zeros():
    assert "<table>" not in _result(0)._repr_html_()
    assert len(_result(0)) == 0 and len(_result(3)) == 3
    assert "width:0.0%" in _result(1, values=np.zeros((1, 3, 3)))._repr_html_()


def test_html_escapes_what_users_wrote():
    result = _result(
        concepts=(HOSTILE, HOSTILE, "intercept"),
        classes=np.array([HOSTILE, "b", "c"]),
        index=pd.Index([HOSTILE, "y"]),
    )
    parsed = _Cells(result._repr_html_())
    assert "script" not in parsed.tags
    assert parsed.text.count(HOSTILE) >= 6
    assert "49" not in parsed.text


def test_of_thresholds_it_says_how_high_the_label_is():
    values = np.zeros((2, 3, 2))
    values[:, :, 0] = [[-1.0], [2.5]]  # a concept is the same to all thresholds
    values[:, :, 1] = [2.0, -1.0, -2.0]  # the intercepts
    names = np.array(["above 1", "above 2", "above 3"])
    result = ConceptContributions(
        values, names, ("food", "intercept"), pd.RangeIndex(2), of_thresholds=True
    )
    assert repr(result) == (
        "<ConceptContributions to log-odds of a label above (positive = higher): "
        "2 rows x 3 thresholds; food, intercept>"
    )
    # Log-odds of the rows: 1, -2, -3 and 4.5, 1.5, 0.5.
    assert result.top(1).to_numpy().tolist() == [
        ["above 1", "food", -1.0],
        ["above 3", "food", 2.5],
    ]
    assert "row 1, above 3" in result._repr_html_()
