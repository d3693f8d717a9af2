"""Words that a page marks: the shares that `evidence` gives, of what is listed."""

import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif._audit import marking
from skclif._audit.marking import Mark, MarkedText, find_marks
from skclif._explain.word_evidence import exact_reader
from skclif._pages.page_data import _marks

from .. import folders
from ..pages.test_pages import make_page, read_data

CONCEPTS = ["food", "ambiance", "service"]


@pytest.fixture(scope="module")
def reviews():
    table = folders.reviews(90)
    table["review"] += " \N{SLIGHTLY SMILING FACE} yes"
    return table


@pytest.fixture(scope="module")
def explain(tiny_encoder, reviews):
    def explained(embedder=None, concepts=CONCEPTS, **params):
        embedder = embedder or SentenceEmbedder(tiny_encoder, long_text="mean")
        pipeline = make_pipeline(embedder, ConceptBottleneckClassifier(**params))
        train = reviews[:60]
        explainer = ConceptInfluenceExplainer(pipeline, method="first_order")
        annotations = train[list(concepts)] if len(concepts) else None
        return explainer.fit(train["review"], train["stars"], concepts=annotations)

    return explained


def _data(explainer, reviews, tmp_path):
    held = reviews[60:]
    names = list(explainer.concept_names_in_)
    concepts = held[names] if names else None
    page = explainer.report(held["review"], held["stars"], concepts, random_state=0)
    page.save(tmp_path / "page.html")
    return read_data((tmp_path / "page.html").read_text(encoding="utf-8"))


def _words(text, marked):
    """Return the words of a text as a browser finds them."""
    units, at, words = text.encode("utf-16-le"), 0, []
    for gap, length in zip(marked["at"][::2], marked["at"][1::2], strict=True):
        at += gap
        words.append(units[2 * at : 2 * (at + length)].decode("utf-16-le"))
        at += length
    return words


def _check(explainer, text, marked):
    """Compare the marks of a text with its evidence; return their paths."""
    for mark in marked["of"]:
        known = explainer.classes_
        if mark["path"] != "label":
            j = list(explainer.concept_names_in_).index(mark["path"])
            known = explainer.estimator_[-1].concept_classes_[j]
        values = {str(value): value for value in known.tolist()} | {None: None}
        found = explainer.evidence(
            [text],
            concept=mark["path"],
            value=values[mark["value"]],
            against=values[mark["against"]],
        )
        shares = np.array(mark["shares"]) / 1000
        largest = np.abs(found.shares[0]).max()
        np.testing.assert_allclose(shares, found.shares[0] / largest, atol=6e-4)
        assert mark["largest"] == pytest.approx(largest, 1e-5)
        assert mark["linear"] == found.linearised
        words = [text[a:b] for a, b in found.spans[0]]
        assert _words(text, marked) == words
        assert "\N{SLIGHTLY SMILING FACE}" in words
    return [mark["path"] for mark in marked["of"]]


def test_marks_are_shares_of_words(explain, reviews, tmp_path):
    explainer = explain()
    data = _data(explainer, reviews, tmp_path)
    misread = 0
    for row in data["mistakes"]["rows"]:
        paths = _check(explainer, row["text"], row["marks"])
        wrong = [
            concept["name"]
            for concept, one in zip(data["concepts"], row["read"], strict=True)
            if one["instead"] is not None
        ]
        misread += len(wrong)
        assert paths == [*wrong, "label"]
        label = row["marks"]["of"][-1]
        assert (label["value"], label["against"]) == (row["predicted"], row["label"])
    assert misread
    lines = data["queues"]["suspects"]["lines"] + data["queues"]["suggestions"]["lines"]
    checked, unmarked = 0, []
    for line in lines:
        if line.get("marks") is None:  # behind the first ones, or about no value
            unmarked.append(line["kind"] in ("drop", "reweight"))
            continue
        text = data["training"][line["row"]]["text"]
        assert _check(explainer, text, line["marks"]) == [line["path"]]
        asked = line["marks"]["of"][0]
        if line["proposed"] is not None:
            assert (asked["value"], asked["against"]) == (
                line["proposed"],
                line["current"],
            )
        checked += 1
    assert checked > 10
    assert all(unmarked) or len(lines) > marking.MOST_MARKED


def test_only_the_first_lines_are_marked(explain, reviews, tmp_path, monkeypatch):
    monkeypatch.setattr(marking, "MOST_MARKED", 3)
    data = _data(explain(), reviews, tmp_path)
    lines = data["queues"]["suspects"]["lines"]
    assert [("marks" in line) for line in lines] == [True] * 3 + [False] * (
        len(lines) - 3
    )
    assert sum("marks" in row for row in data["mistakes"]["rows"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "paths"),
    [
        ({"bottleneck": "hard"}, {*CONCEPTS}),
        ({"bottleneck": "soft", "label_head": "ordinal"}, {*CONCEPTS, "label"}),
        ({"concepts": []}, {"label"}),
    ],
)
@pytest.mark.filterwarnings("ignore:In closed form")
def test_marks_of_other_heads(explain, reviews, tmp_path, params, paths):
    data = _data(explain(**params), reviews, tmp_path)
    found = set()
    for row in data["mistakes"]["rows"]:
        of_row = (row["marks"] or {"of": []})["of"]
        found |= {mark["path"] for mark in of_row}
        if "label_head" in params:
            lower = min(row["label"], row["predicted"])
            assert of_row[-1]["value"] == f"above {lower}"
    for line in data["queues"]["suspects"]["lines"]:
        found |= {mark["path"] for mark in (line.get("marks") or {"of": []})["of"]}
    assert found == paths


def test_vectors_of_sentences_have_no_marks(explain, reviews, tiny_encoder, tmp_path):
    embedder = SentenceEmbedder(tiny_encoder, long_text="mean", pooling="max")
    data = _data(explain(embedder), reviews, tmp_path)
    assert not any("marks" in row for row in data["mistakes"]["rows"])
    assert exact_reader(embedder) is None
    assert exact_reader(ConceptBottleneckClassifier()) is None


def test_rows_without_texts_have_no_marks(explain):
    explainer = explain()
    found = make_page(keep_text=False)[1]
    assert find_marks(found, explainer._heads(), exact_reader(explainer)) is None


def test_what_is_cut_from_a_text_has_no_marks():
    text = "cold \N{SLIGHTLY SMILING FACE} soup"
    spans = np.array([[0, 4], [5, 6], [7, 11]])
    mark = Mark("food", "bad", None, False, np.array([0.5, -0.0004, 0.25]))
    marked = MarkedText(spans, [mark])
    whole = _marks(text, marked)
    assert whole == {
        "at": [0, 4, 1, 2, 1, 4],
        "of": [
            {
                "path": "food",
                "value": "bad",
                "against": None,
                "linear": False,
                "largest": 0.5,
                "shares": [1000, -1, 500],
            }
        ],
    }
    assert _marks(text[:9], marked)["at"] == [0, 4, 1, 2]
    assert _marks(text[:9], replace(marked))["of"][0]["shares"] == [1000, -1]
    assert _marks(None, marked) is None
    assert _marks(text, None) is None


@pytest.mark.slow
def test_commands_mark_words_as_long_as_the_model_is_there(audited, tmp_path):
    out = audited.copy(tmp_path)
    page = (out / "audit.html").read_text(encoding="utf-8")
    rows = read_data(page)["mistakes"]["rows"]
    assert rows[0]["marks"]["of"][-1]["path"] == "label"
    assert re.search(r"Words marked for", page)
    # The folder of the model is private, so that an edit does not know where it is.
    decided = folders.lines(out, "suspects.csv").head(1)
    decisions = folders.write(tmp_path / "d.csv", decided.assign(decision="accept"))
    done = folders.done("apply", out, decisions, "--by", "a", "--why", "b")
    assert "The page marks no words: that needs the embedding model" in done.stderr
    page = (out / "audit.html").read_text(encoding="utf-8")
    assert not any("marks" in row for row in read_data(page)["mistakes"]["rows"])
