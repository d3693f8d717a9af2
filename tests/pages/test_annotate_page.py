"""The page of ``skclif annotate``, and annotations by prompts on that of an audit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skclif._audit.asking import tables_of, with_proposals
from skclif._audit.prompt_file import PromptFile
from skclif._audit.prompted import Prompted
from skclif._audit.rows import Reviews
from skclif._pages.annotate_page import Annotated, annotate_html
from skclif._pages.audit_page import audit_html

from .test_pages import ALLOWED, HOSTILE, Page, make_page, make_run, read_data

N = 12


def make_annotated(say="plain words", *, held_out=True, keep_text=True):
    """Return annotations of texts in which `say` stands in every field.

    Of the first concept prompts are sure, a person annotated the second text, and of
    the other concept prompts are sure of nothing.
    """
    names = [f"food {say}", f"noise {say}"]
    values = {
        name: {f"yes {say}": [f"It is {say}."], f"no {say}": []} for name in names
    }
    ids = [f"id{k} {say}" for k in range(N)]
    reviews = Reviews.from_parts(ids, [f"text {k} {say}" for k in range(N)], [0] * N)
    yes, no = (np.full(N, f"{word} {say}", dtype=object) for word in ("yes", "no"))
    by_people = pd.DataFrame({names[0]: np.arange(N) == 1, names[1]: False})
    sure = np.linspace(0.9, 0.7, N)
    confidence = pd.DataFrame({names[0]: sure, names[1]: sure - 0.4})
    concepts = pd.DataFrame({names[0]: yes, names[1]: [None] * N}, dtype=object)
    guesses = pd.DataFrame({names[0]: yes, names[1]: no})
    found = Prompted(concepts, guesses, confidence.mask(by_people), by_people)
    is_held = np.arange(N) >= 9 if held_out else None
    gains = None
    if held_out:
        gains = pd.DataFrame({"row": [4], "concept": names[1], "gain": [0.25]})
    if not keep_text:
        reviews = reviews.without_texts()
    tables = tables_of(reviews, found, is_held, gains, 0, 100)
    file = PromptFile(f"{say}.yaml", "0" * 64, values)
    name, warnings = f"{say}.csv", [f"Beware of {say}"]
    return Annotated(name, reviews, found, file, 0.7, tables, is_held, warnings)


@pytest.mark.parametrize("say", HOSTILE)
def test_nothing_in_the_data_breaks_out(say):
    page = Page(annotate_html(make_annotated(say)))
    assert {name for name, _ in page.elements} <= ALLOWED
    plain = Page(annotate_html(make_annotated()))
    expected = [(name, sorted(attrs)) for name, attrs in plain.elements]
    assert [(name, sorted(attrs)) for name, attrs in page.elements] == expected
    shown = [f"{say}.csv", f"{say}.yaml", f"Beware of {say}", f"id4 {say}"]
    shown += [f"food {say}", f"yes {say} 12, no {say} 0", f"text 4 {say}"]
    for words in shown:
        assert words in page.text
    assert f"Annotations of {say}.csv" in page.text


def test_it_can_be_read_without_scripts():
    page = Page(annotate_html(make_annotated()))
    assert page.headings[0] == 1 and np.diff(page.headings).max() == 1
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for a in page.all("a")} <= set(ids)
    text = " ".join(page.text.split())
    assert "elsewhere by the prompts in plain words.yaml where these are at least" in (
        text
    )
    assert "ordered by expected gain, then by least confidence" in text
    assert "3 texts are held out by skclif audit" in text
    assert "id4 plain words noise plain words is missing no plain words: 42" in text
    assert "food plain words: yes plain words" in text
    for _, attrs in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attrs)


def test_without_labels_nothing_is_held_out():
    html = annotate_html(make_annotated(held_out=False))
    assert 'id="held-out"' not in html
    assert "Held out" not in Page(html).text
    assert list(read_data(html)["queues"]) == ["machine"]


def test_lines_ask_whether_prompts_are_right():
    data = read_data(annotate_html(make_annotated()))
    lines = data["queues"]["machine"]["lines"]
    first = lines[0]
    assert (first["id"], first["path"]) == ("id4 plain words", "noise plain words")
    assert first["current"] is first["proposed"] is None
    assert first["guess"] == "no plain words" and first["gain"] == 0.25
    made = [line for line in lines if line["path"] == "food plain words"]
    assert len(made) == 8  # of 9 texts, without what a person annotated
    for line in made:
        assert line["current"] == line["proposed"] == "yes plain words"
        assert 0.7 <= line["confidence"] <= 0.9 and line["gain"] is None
    row = data["training"][made[0]["row"]]
    assert row["guessed"] == [True, False]
    values = data["concepts"][0]["values"]
    assert [value for value, _ in values] == ["yes plain words", "no plain words", ""]


def test_held_out_texts_are_annotated_without_seeing_what_prompts_say():
    made = make_annotated()
    made.found.by_people.iloc[10, 0] = True
    made = replace(
        made, tables=tables_of(made.reviews, made.found, made.is_held, None, 0, 100)
    )
    data = read_data(annotate_html(made))
    lines = data["queues"]["held-out"]["lines"]
    assert len(lines) == 5
    said = {line["id"]: data["training"][line["row"]] for line in lines}
    assert said["id9 plain words"]["annotated"] == [None, None]
    assert said["id10 plain words"]["annotated"] == ["yes plain words", None]
    for line in lines:
        assert line["current"] is line["proposed"] is line["guess"] is None
        assert "confidence" not in line and line["more"] == {}


def test_decisions_belong_to_what_was_asked():
    made = make_annotated()
    keys = {read_data(annotate_html(one))["key"] for one in (made, make_annotated())}
    assert len(keys) == 1
    made.tables["next.csv"].loc[0, "current"] = "yes plain words"
    keys.add(read_data(annotate_html(made))["key"])
    assert len(keys) == 2


def test_without_texts_it_shows_none():
    html = annotate_html(make_annotated(keep_text=False))
    assert "text 4" not in html and "Text withheld" in html


# --- The page of an audit -------------------------------------------------------------


def audited(say="plain words"):
    """Return an audit in which prompts made some annotations."""
    _, found = make_page(say)
    ids, hashes = (found.training[name][:3] for name in ("id", "text_hash"))
    table = pd.DataFrame(
        {
            **{"decision": "", "why": "", "kind": "annotate"},
            **{"id": ids, "text_hash": hashes, "path": f"concept 0 {say}"},
            "current": [None, f"yes {say}", f"no {say}"],
            "proposed": None,
            "guess": f"no {say}",
            **{"confidence": [0.4, 0.8, 0.9], "gain": [0.1, None, None]},
            "ordered_by": "expected gain",
        }
    )
    return replace(found, machine=with_proposals(table))


@pytest.mark.parametrize("say", HOSTILE[:2])
def test_annotations_by_prompts_are_a_view_of_an_audit(say):
    html = audit_html(audited(say), make_run(say))
    page = Page(html)
    assert {name for name, _ in page.elements} <= ALLOWED
    text = " ".join(page.text.split())
    assert "2 annotations of training texts that a machine made, and 1 missing one" in (
        text
    )
    assert f"concept 0 {say} is missing no {say}: 40.0" in text
    assert f"concept 0 {say}: yes {say} 80.0" in text
    queue = read_data(html)["queues"]["machine"]
    assert queue["again"] == "skclif audit" and queue["total"] == 3
    training = read_data(html)["training"]
    rows = {row["id"]: row["guessed"] for row in training}
    ids = audited(say).machine["id"].tolist()
    assert [rows[i][0] for i in ids] == [False, True, True]
    assert not any(row["guessed"][1] for row in training)


def test_audits_without_prompts_have_no_such_view():
    html, _ = make_page()
    assert 'id="machine"' not in html
    data = read_data(html)
    assert "machine" not in data["queues"] and "guessed" not in data["training"][0]
    empty = replace(audited(), machine=audited().machine.head(0))
    text = Page(audit_html(empty, make_run())).text
    assert "People have read all annotations of the training texts." in text
