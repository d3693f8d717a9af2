"""The pages: nothing in the data can break out, and everything can be read."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from skclif._audit.findings import audit
from skclif._audit.models import fit_models
from skclif._audit.rows import Reviews
from skclif._audit.run import last_repair
from skclif._audit.truth import Truth
from skclif._inputs.values import format_value
from skclif._pages.audit_page import audit_html
from skclif._pages.certificate import certificate
from skclif._pages.words import fold_position, number, percent, signed

HOSTILE = (
    "<script>alert(1)</script>",
    '"quotes\' onmouseover=alert(2) x="',
    "{{7*7}}{% raw %}",
    "</td></style></title><img src=x onerror=alert(3)>",
    "&amp;<!-- --><svg/onload=alert(4)>",
)
VIEWS = ("overview", "mistakes", "suspects", "suggestions", "trail")
VOID = {"meta", "link", "br", "img"}
DRAWN = {"line", "rect", "circle", "polyline"}  # closed at once
ALLOWED = set(
    re.findall(
        r"\w+",
        "html head meta link title style body header main footer nav section article "
        "h1 h2 h3 h4 p div span strong em bdi code time a ul ol li dl dt dd blockquote "
        "table caption thead tbody tfoot tr th td details summary button kbd script "
        "figure figcaption svg line rect circle polyline text b mark",
    )
)


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text; tags must balance."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.texts, self.headings = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = "".join(self.texts)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID | DRAWN:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@cache
def make_page(
    say="plain words",
    n_samples=120,
    n_concepts=3,
    long=False,
    keep_text=True,
    **options,
):
    """Return the page of an audit in which `say` stands in every field."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 4))
    filling = " and so on" * 120 if long else ""
    texts = [f"text {i} {say}{filling}" for i in range(n_samples)]
    is_wrong = rng.random((n_samples, 1 + n_concepts)) < 0.13
    labels = np.where((X[:, 0] > 0) ^ is_wrong[:, 0], f"good {say}", f"poor {say}")
    concepts = {
        f"concept {j} {say}": np.where(
            (X[:, j] > 0) ^ is_wrong[:, 1 + j], f"yes {say}", f"no {say}"
        )
        for j in range(n_concepts)
    }
    table = pd.DataFrame(concepts, dtype=object) if concepts else None
    if concepts:
        table = table.mask(rng.random(table.shape) < 0.2)
    groups = np.where(X[:, 3] > 0, f"group {say}", f"other {say}")
    ids = [f"id{i} {say}" for i in range(n_samples)]
    reviews = Reviews.from_parts(ids, texts, labels, table, groups).embedded(X)
    is_held = np.arange(n_samples) >= 90
    if not keep_text:
        reviews = reviews.without_texts()
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    models = fit_models(train)
    found = audit(models, train, held_out, **options)
    run = make_run(say) | {"repair": make_repair(found, say), "demo": make_demo(say)}
    return audit_html(found, run, make_truth(train.ids, say), make_records(say)), found


def make_truth(ids, say="plain words"):
    """Return that all labels are wrong, with `say` in the right ones."""
    return Truth({i: {"label": f"true {say}"} for i in ids})


def _short(value):
    """Return a number as the page writes it, from the digits that it holds."""
    return signed(float(f"{value:.6g}"))


def read_data(html):
    """Return what the scripts of a page are given."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html
    )
    return json.loads(text)


def make_run(say="plain words"):
    """Return what stands in run.json, with `say` in every field."""
    return {
        "skclif_version": "1.2.3",
        "created": "2030-01-02T03:04:05+00:00",
        "data": {
            "name": f"{say}.csv",
            "test_name": f"{say}.tsv",
            "about": f"About {say}",
        },
        "options": {"text": f"column {say}", "concepts": [say, "b"], "group": None},
        "warnings": [f"Beware of {say}"],
        "fingerprints": {"training_data": "0" * 64, "coefficients": "1" * 64},
        "trail": {"records": 2, "hash": "2" * 64},
        "versions": {"python": f"3 {say}"},
        "timings": {"reading": 0.5},
        "planted": {
            "values": 30,
            "left": 30,
            "top_rows": 20,
            "planted_in_top": 7,
            "share_of_training_rows": 0.125,
            "probable_suspects": 11,
            "suspects_wrong": 9,
            "suspects_true": 8,
            "suggested_values": 6,
            "suggested_true": 5,
            "suggested_missing": 4,
            "missing_true": 3,
        },
    }


def make_demo(say="plain words"):
    """Return what a demo showed besides, with `say` in every field."""
    names = ["as audited", "after the repair", f"black box {say}"]
    models = [
        {"name": name, "accuracy": 0.5, "interval": [0.25, 0.75], "log_loss": 1.5}
        for name in names
    ]
    reading = dict.fromkeys(["probable", "accepted", "corrected", "rejected"], 5)
    return {
        "reading": reading | {"planted": 8, "listed": 9, "read": 7},
        "models": models,
        "recovered": 0.875,
        "retraining": {"same": True, "difference": 3e-15},
        "replay": {"same": True, "close": True},
    }


def make_repair(found, say="plain words"):
    """Return what an edit changed on the first held-out rows, with `say` in it."""
    first = found.predictions.head(3)
    outcomes = ["better", "worse", "neither"]
    names = zip(first["id"], first["text_hash"], outcomes, strict=True)
    return {
        "record": 2,
        "n_rows": 30,
        "n_changed": 3,
        "n_better": 1,
        "n_worse": 1,
        "chosen_by_effect": False,
        "accuracy": {"before": 0.5, "after": 0.625, "interval": [-0.25, 0.5]},
        "log_loss": {"before": 1.0, "after": 0.75, "interval": [None, None]},
        "concepts": [{"concept": f"concept {say}", "before": 0.5, "after": 0.25}],
        "changed": [list(one) for one in names],
    }


def make_records(say):
    """Return what a trail holds after a fit, an edit and rows that were forgotten."""
    who = {"when": "2030-01-02T03:04:05+00:00", "by": f"by {say}", "why": f"why {say}"}
    row = {"id": f"row {say}", "path": f"concept {say}", "why": f"why {say}"}
    values = {"old": None, "new": f"new {say}", "source": "person"}
    changes = [{"kind": k, **row, **values} for k in ("relabel", "drop", "relabel")]
    rejected = [{"kind": "annotate", **row}] * 2
    forgotten = {"forgotten": [[f"id {say}", "ab"]], "held_out": [["b", "cd"]]}
    return [
        {"number": 1, "kind": "fit", **who, "rows": [["a", "b", "c"]]},
        {"number": 2, "kind": "edit", **who, "changes": changes}
        | {"achieved_effect": -0.0123},
        {"number": 3, "kind": "forget", **who, **forgotten},
        {"number": 4, "kind": "reject", **who, "rejected": rejected},
    ]


@pytest.mark.parametrize("say", HOSTILE)
@pytest.mark.parametrize("long", [False, True])
def test_nothing_in_the_data_breaks_out(say, long):
    html, found = make_page(say, long=long)
    page = Page(html)
    assert {name for name, _ in page.elements} <= ALLOWED
    plain, _ = make_page(long=long)
    expected = [(name, sorted(attrs)) for name, attrs in Page(plain).elements]
    assert [(name, sorted(attrs)) for name, attrs in page.elements] == expected

    text = page.text
    first = found.predictions.iloc[found.mistakes[0]]
    shown = [first["id"], first["label"], f"concept 0 {say}", f"yes {say}"]
    shown += [
        f"{say}.csv",
        f"{say}.tsv",
        f"About {say}",
        f"column {say}",
        f"Beware of {say}",
    ]
    shown += [f"group {say}", f"instead of true {say}", f"3 {say}"]
    shown += [f"by {say}", f"why {say}", f"Accuracy of concept {say}"]
    suspect = found.suspects.iloc[0]
    shown += [suspect["id"], f"{suspect['current']} → {suspect['proposed']}"]
    shown += [f"black box {say}", f"group {suspect['group']}"]
    shown += [first["text"][:400] if long else first["text"]]
    shown += [verdict["words"] for verdict in found.bottleneck["verdicts"]]
    shown += [verdict["question"] for verdict in found.bottleneck["verdicts"]]
    data = read_data(html)
    assert data["mistakes"]["rows"][0]["text"] == first["text"]
    assert data["concepts"][0]["name"] == f"concept 0 {say}"
    assert [words for words in shown if words not in text] == []


def test_hostile_words_without_text_or_concepts():
    for options in ({"keep_text": False}, {"n_concepts": 0}):
        for say in HOSTILE:
            page = Page(make_page(say, **options)[0])
            assert {name for name, _ in page.elements} <= ALLOWED


def test_the_page_needs_nothing_from_elsewhere():
    html, _ = make_page()
    page = Page(html)
    for tag, attrs in page.elements:
        for name, value in attrs.items():
            assert not name.startswith("on")
            assert name != "style"
            assert name != "src"
            if name == "href":
                assert value.startswith("#") or value == "data:,", tag
    assert "url(" not in html
    assert "@import" not in html


def test_the_policy_allows_what_is_in_the_page_and_nothing_else():
    html, _ = make_page("<script>alert(1)</script>")
    page = Page(html)
    (policy,) = (m["content"] for m in page.all("meta") if "http-equiv" in m)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == rules.pop("base-uri") == "'none'"
    assert rules.pop("form-action") == "'none'"
    assert rules.pop("img-src") == "data:"
    for name, element in (("script", "<script>"), ("style", "<style>")):
        content = html.split(element)[1].split(f"</{name}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert not rules
    assert len(page.all("script")) == 2


@pytest.mark.parametrize("n_concepts", [0, 1, 3])
def test_the_page_has_a_sound_structure(n_concepts):
    page = Page(make_page(n_concepts=n_concepts)[0])
    assert page.all("html") == [{"lang": "en"}]
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = np.diff(page.headings)
    assert steps.max() == 1  # no level is left out on the way down
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in attrs for attrs in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = {attrs["href"].removeprefix("#") for attrs in page.all("a")}
    assert all(name in ids for name in VIEWS)
    labels = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert links | labels <= set(ids)


def test_the_page_says_what_a_reader_must_know():
    text = " ".join(Page(make_page()[0]).text.split())
    assert "positive = harmful, without the row the loss would be lower" in text
    assert "Harmful is not the same as wrong." in text
    assert "The black box is the same kind of model without that detour" in text
    assert "known: they are in 7 of the 20 most harmful training rows, and in" in text
    assert "and in 12.5 % of all training rows." in text
    assert "of the 11 lines that are probably wrong, 9 really are, and the" in text
    assert "the proposed value is true in 8." in text
    assert "5 of 6 proposed values are true" in text
    assert "mended by now" not in text


def test_the_page_of_a_repaired_demo_leaves_out_what_is_empty():
    _, found = make_page()
    planted = dict.fromkeys(make_run()["planted"], 0)
    planted |= {"values": 250, "left": 1, "top_rows": 20}
    text = " ".join(
        Page(audit_html(found, make_run() | {"planted": planted})).text.split()
    )
    assert "249 of the 250 planted errors are mended by now; this page is" in text
    assert "those that are left are in 0 of the 20 most harmful training" in text
    assert "What is true is known here" not in text
    planted |= {"values": 1, "left": 0}
    text = " ".join(
        Page(audit_html(found, make_run() | {"planted": planted})).text.split()
    )
    assert "1 of the 1 planted error is mended by now" in text
    assert "are known" not in text


def test_missing_annotations_are_asked_for_after_the_changes():
    _, found = make_page()
    table = found.suggestions.head(2)
    line = table.iloc[0].to_dict() | {
        "kind": "annotate",
        "path": "concept 0 plain words",
    }
    line |= {"current": None, "proposed": None, "guess": "yes plain words"}
    table = pd.concat([table, pd.DataFrame([line])], ignore_index=True).astype(object)
    table = table.where(table.notna(), None)
    asked = pd.Series([False, False, True])
    found = replace(found, suggestions=table)
    html = audit_html(found, make_run())
    text = " ".join(Page(html).text.split())
    assert "What the model guesses for these is no annotation: ask somebody" in text
    section = text[text.index("Annotations to ask a person for") :]
    line = table[asked].iloc[0]
    shown = f"{line['path']} not annotated; the model guesses {line['guess']}"
    assert f"{line['id']} {shown}" in section
    assert "the model guesses 3 of 4 rightly" in text
    assert "2 changes, and 1 missing annotation to ask a person for" in text
    assert " → not annotated" not in text
    (last,) = read_data(html)["queues"]["suggestions"]["lines"][2:]
    assert (last["current"], last["proposed"]) == (None, None)
    assert last["guess"] == "yes plain words"
    none = replace(found, suggestions=table[~asked])
    assert "Annotations to ask" not in audit_html(none, make_run())


def test_the_page_ends_a_demo_with_what_the_repair_was_worth():
    html, found = make_page()
    text = " ".join(Page(html).text.split())
    row = "after the repair 50.0 % 25.0 % to 75.0 % 1.500"
    assert row.replace(" ", "") in text.replace(" ", "")
    assert "the repair won back 87.5" in text
    assert "Same as retraining: yes." in text
    assert "to 3.0·10⁻¹⁵" in text
    assert "Replay: bit for bit." in text
    lost = make_demo() | {
        "recovered": None,
        "retraining": {"same": False, "difference": 0.5},
        "replay": {"same": False, "close": False},
    }
    text = " ".join(Page(audit_html(found, make_run() | {"demo": lost})).text.split())
    assert "won back" not in text
    assert "Same as retraining: no." in text
    assert "Replay: differs." in text


def test_the_page_without_scripts_shows_the_mistakes_with_rows_behind_them():
    html, found = make_page()
    page = Page(html)
    assert len(page.all("article")) == min(10, found.counts["mistakes"])
    text = " ".join(page.text.split())
    wrong = found.counts["mistakes"]
    assert f"{wrong} held-out texts are predicted wrongly. Open one" in text
    of_rows = found.influence[found.influence["target"] == "row"]
    shown = of_rows[of_rows["rank"] <= 3].head(30)
    for line in shown.to_dict("records"):
        assert f"in all {_short(line['influence'])} nats" in text
    part, whole = found.influence["path:interaction"], found.influence["influence"]
    told = part[shown.index][part.abs() >= 0.05 * whole.abs()]
    assert len(told)
    for value in told:
        assert f"label and annotations together {_short(value)};" in text
    assert "what these do together when the whole row goes" in text


def test_a_page_without_mistakes_to_show():
    _, found = make_page()
    evidence = replace(found.evidence, listed=found.evidence.listed[:0])
    found = replace(found, evidence=evidence, mistakes=found.mistakes[:0])
    found = replace(found, counts={**found.counts, "mistakes": 0})
    found = replace(found, influence=found.influence.query("target == 'all'"))
    run = make_run()
    run |= {"warnings": [], "planted": None, "demo": None}
    html = audit_html(found, run)
    page = Page(html)
    assert not page.all("article")
    assert "No held-out text is predicted wrongly." in page.text
    assert "Before you trust" not in page.text
    assert "planted" not in page.text
    assert read_data(html)["mistakes"] == {"total": 0, "traced": 0, "rows": []}


def test_without_text_the_hash_stands_in_its_place():
    html, found = make_page("a secret", keep_text=False)
    assert "text 5" not in html
    row = found.predictions.iloc[found.mistakes[0]]
    assert f"Text withheld; its hash is {row['text_hash']}." in Page(html).text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(scheme):
    html, _ = make_page()
    blocks = re.findall(r":root \{(.*?)\}", html, flags=re.DOTALL)
    assert len(blocks) == 3  # the last one is for paper
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[scheme == "dark"]))
    for ground in ("paper", "card", "note", "sunk"):
        for ink in ("ink", "muted", "harm", "help", "link"):
            assert _contrast(found[ink], found[ground]) >= 4.5  # WCAG 2.2, AA
    assert _contrast(found["ink"], found["accent-soft"]) >= 4.5
    assert _contrast(found["on-accent"], found["accent"]) >= 4.5
    for part in ("fill", "accent", "harm", "help", "note-rule"):  # drawn, not written
        assert _contrast(found[part], found["card"]) >= 3


def _contrast(first, second):
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour):
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_the_page_lists_what_may_be_wrong_and_what_would_help():
    html, found = make_page(say="plain")
    text = " ".join(Page(html).text.split())
    assert len(found.suspects) > 10
    assert f"{len(found.suspects)} with a probability of at least 5.0 % are in" in text
    for line in found.suspects.head(10).to_dict("records"):
        name = "label" if line["kind"] == "relabel" else line["path"]
        change = f"{name} {line['current']} → {line['proposed']}"
        likely = " ".join(percent(line["probability_wrong"]).split())
        shown = f"{line['id']} {change} group {line['group']} {likely}"
        assert shown in text
    first, worth = found.suggestions.iloc[0], found.suggested
    assert f"{_short(first['effect'])} nats" in text
    whole = f"changes the mean loss by {signed(worth['effect'])} nats"
    assert f"a whole list like this {whole}" in text
    assert f"negative is good): {worth['words']}." in text
    assert f"changes that may help this model. All together: {worth['words']}" in text
    assert "expected to hurt" not in text


@pytest.mark.parametrize("verdict", ["expected to help", "not sure"])
def test_the_page_folds_away_what_is_expected_to_hurt(verdict):
    _, found = make_page()
    worth = dict.fromkeys(["verdict", "words"], "expected to hurt")
    html = audit_html(replace(found, suggested=found.suggested | worth), make_run())
    shown = html[html.index('id="suggestions"') :]
    folded = shown[shown.index("<details>") : shown.index("</details>")]
    assert "<summary>The changes, which are expected to hurt</summary>" in folded
    assert '<div class="app">' in folded and '<li class="card' in folded
    worth = dict.fromkeys(["verdict", "words"], verdict)
    html = audit_html(replace(found, suggested=found.suggested | worth), make_run())
    assert "The changes, which are" not in html


def test_the_page_without_an_interval():
    _, found = make_page()
    worth = found.suggested | {"interval": None, "words": "not sure (few)"}
    html = audit_html(replace(found, suggested=worth), make_run())
    text = " ".join(Page(html).text.split())
    assert "nats (no interval; negative is good): not sure (few)." in text


def test_the_page_tells_what_was_decided():
    (table,) = re.findall("<table [^>]*>.*?</table>", _one_line(make_page()[0]))[:1]
    cells = re.sub(r"(<[^>]*>\s*)+", "|", table)
    assert (
        "|2|2030-01-02|by plain words|2 labels changed, 1 row left out|why plain"
        in cells
    )
    assert "|−0.0123|3|2030-01-02|by plain words|2 rows forgotten|why" in cells
    assert "|–|4|2030-01-02|by plain words|2 lines rejected|why plain words|–|" in cells


def _one_line(html):
    return " ".join(html[html.index('id="decisions"') :].split())


def test_the_page_tells_what_the_last_repair_changed():
    html, found = make_page()
    text = " ".join(Page(html).text.split())
    assert "On 30 held-out texts, before and after record 2" in text
    row = "Accuracy of the label50.0 %62.5 %+12.5 points−25.0 points to +50.0 points"
    assert row in text
    assert "Log-loss of the label1.00000.7500−0.250–" in text
    assert "Accuracy of concept plain words50.0 %25.0 %−25.0 points–" in text
    assert "the intervals say how far other texts could move the change" in text
    assert "These texts chose" not in text
    assert (
        "3 predictions changed: 1 for the better, 1 for the worse, the others" in text
    )
    for line, said in zip(
        found.predictions.head(3).to_dict("records"),
        ("better", "worse", "still wrong"),
        strict=True,
    ):
        shown = f"{line['id']} label {line['label']} now predicted"
        assert f"{shown} {line['predicted']} {said} {line['text']}" in text
    assert ">+12.5" in html and not _colours(html).keys() & {"+12.5", "−0.250"}
    repair = make_repair(found)
    repair["accuracy"] |= {"interval": [0.05, 0.2]}
    repair["log_loss"] |= {"interval": [-0.4, -0.1]}
    colours = _colours(audit_html(found, make_run() | {"repair": repair}))
    assert colours["+12.5"] == colours["−0.250"] == "help"
    repair["accuracy"] |= {"interval": [-0.2, -0.1], "before": 0.75}
    repair["log_loss"] |= {"interval": [0.1, 0.4], "before": 0.5}
    colours = _colours(audit_html(found, make_run() | {"repair": repair}))
    assert colours["−12.5"] == colours["+0.250"] == "harm"


def _colours(html):
    """Return the class of every number with a sign that has one."""
    found = re.findall(r'class="(\w+)">([+−][\d.]+)[\xa0<]', html)
    return {number: name for name, number in found}


def test_the_page_gives_no_interval_where_the_texts_chose_the_changes():
    _, found = make_page()
    repair = make_repair(found) | {"chosen_by_effect": True}
    html = audit_html(found, make_run() | {"repair": repair})
    text = " ".join(Page(html).text.split())
    assert "These texts chose some of the changes" in text
    assert "the intervals say" not in text
    repair |= {"chosen_by_effect": False, "n_rows": 1}
    html = audit_html(found, make_run() | {"repair": repair})
    text = " ".join(Page(html).text.split())
    assert "One text gives no interval of the log-loss." in text
    assert "the intervals say" not in text


def test_old_records_of_suggestions_have_no_intervals():
    one = {"before": 0.5, "after": 0.6, "interval": [0.0, 0.2]}
    record = {"kind": "edit", "number": 2, "changes": [{"source": "suggestion"}]}
    record["comparison"] = {"accuracy": one, "log_loss": one}
    found = last_repair([record])
    assert found["chosen_by_effect"]
    assert found["accuracy"] == one | {"interval": [None, None]}
    record["changes"] = [{"source": "suspect"}, {}]
    found = last_repair([record])
    assert not found["chosen_by_effect"]
    assert found["log_loss"] == one


def test_a_page_says_how_many_lines_were_rejected():
    _, found = make_page()
    for n, said in [(1, "1 line of the two lists is left out"), (2, "2 lines of the")]:
        counted = replace(found, counts={**found.counts, "rejected_lines": n})
        page = audit_html(counted, make_run(), records=make_records("words"))
        assert said in " ".join(Page(page).text.split())
    page = audit_html(found, make_run(), records=make_records("words"))
    assert "of the two lists" not in page


def test_a_page_with_nothing_to_decide():
    html, found = make_page()
    nothing = replace(
        found,
        suspects=found.suspects.head(0),
        suggestions=found.suggestions.head(0),
        nothing_learned=(),
    )
    run = make_run()
    text = " ".join(Page(audit_html(nothing, run)).text.split())
    assert "No label and no annotation is wrong with a probability of 5.0 %" in text
    assert "No single change of a training row would lower the mean loss" in text
    assert "Nothing yet. Decide on suspects, download the decisions" in text
    text = Page(audit_html(replace(nothing, suggested=None), run)).text
    assert "There are too few held-out texts to say." in text
    name = found.concepts[0]
    nothing = replace(nothing, nothing_learned=("label", name))
    text = " ".join(Page(audit_html(nothing, run)).text.split())
    assert f"Nothing is listed of the label, {name}. The model learned nothing" in text
    assert "No other value is wrong with a probability of 5.0 %" in text
    assert f"{name} nothing learned" in text


@pytest.mark.parametrize("say", HOSTILE)
def test_the_certificate_says_who_was_forgotten(say):
    record = make_records(say)[2]
    parts = dict.fromkeys(("data", "features", "weights", "model"), "f" * 64)
    record |= {"hash": "e" * 64, "before": parts, "after": parts}
    text = certificate({**record, "environment": {"skclif": "1.2"}})
    assert f"training  id {say}  (text ab)" in text
    assert "held out  b  (text cd)" in text
    assert f"Why       why {say}" in text
    assert "1 training row, 1 held-out row" in text


def test_a_reason_is_one_line_of_the_certificate():
    record = make_records("words")[2]
    parts = dict.fromkeys(("data", "features", "weights", "model"), "f" * 64)
    record |= {"hash": "e" * 64, "before": parts, "after": parts}
    record |= {"environment": {"skclif": "1.2"}, "why": "asked for\nBy  somebody else"}
    text = certificate(record)
    assert "Why       asked for By somebody else\n" in text
    assert "not said" in certificate({**record, "by": None})


# --- Words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.123456, "+0.123"),
        (-0.0012, "−0.00120"),
        (0, "0"),
        (0.0, "0"),
        (123.0, "+123"),
        (-4.56e-7, "−4.56·10⁻⁷"),
        (12345.0, "+1.23·10⁴"),
    ],
)
def test_signed(value, expected):
    assert signed(value) == expected


def test_other_words():
    assert number(None) == number(float("nan")) == percent(None) == "–"
    assert number(1.0) == "1.00"
    assert percent(0.1234) == "12.3\N{NO-BREAK SPACE}%"
    assert format_value(1.0) == format_value(np.float64(1)) == "1"
    assert format_value("1.0") == "1.0"


def test_long_texts_are_folded_between_words():
    assert fold_position("short " * 50) == 0
    text = "word " * 200
    assert text[fold_position(text)] == " "
    assert 250 <= fold_position(text) <= 500
    assert fold_position("x" * 1000) == 500


# --- Numbers, and what was not learned ------------------------------------------------


def make_page_of_numbers():
    """Return the page of an audit with a concept of amounts and one of half points."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    labels = np.where(X[:, 0] + 0.5 * rng.normal(size=120) > 0, 1.5, 2.5)
    table = pd.DataFrame({"minutes": 30 + 10 * X[:, 0], "noise": rng.normal(size=120)})
    table["half"] = np.where(X[:, 1] > 0, 1.5, 2.5)
    texts = [f"text {i}" for i in range(120)]
    reviews = Reviews.from_parts(range(120), texts, labels, table).embedded(X)
    is_held = np.arange(120) >= 60
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    kinds = {"half": "categorical"}
    found = audit(fit_models(train, concept_kinds=kinds), train, held_out)
    repair = make_repair(found) | {
        "concepts": [
            {
                "concept": "minutes",
                "measure": "mean absolute error",
                "before": 2.5,
                "after": 1.25,
            }
        ]
    }
    options = {"concept_kinds": {"half": "categorical"}, "ordinal": []}
    run = make_run() | {"repair": repair, "options": options}
    return audit_html(found, run), found


def test_amounts_have_errors_in_their_unit():
    html, found = make_page_of_numbers()
    text = " ".join(Page(html).text.split())
    quality = found.metrics["concepts"]["minutes"]
    errors = [number(quality[who]["mean_absolute_error"]) for who in ("model", "mean")]
    row = ["minutes", "60", *errors, number(quality["model"]["r2"], 2)]
    assert "".join(row) in text.replace(" ", "")
    assert "Mean absolute error of minutes2.501.25−1.25" in text
    assert "half: categorical" in text
    assert found.classes == ("1.5", "2.5")


def test_amounts_are_predicted_to_a_few_digits():
    html, found = make_page_of_numbers()
    data = read_data(html)
    assert [one["values"] for one in data["concepts"]][:2] == [None, None]
    predictions = found.predictions.set_index("id")
    for row in data["mistakes"]["rows"]:
        said = number(predictions.loc[row["id"], "predicted:minutes"])
        assert row["read"][0]["predicted"] == said


def test_the_page_says_of_what_nothing_was_learned():
    html, found = make_page_of_numbers()
    assert found.nothing_learned == ("noise",)
    text = " ".join(Page(html).text.split())
    assert "Nothing is listed of noise." in text
    assert "would call rare values wrong because they are rare" in text
    assert "noise nothing learned" in text
    label = replace(found, nothing_learned=("label", "noise"))
    text = " ".join(Page(audit_html(label, make_run())).text.split())
    assert "Nothing is listed of the label, noise." in text
    assert "Nothing is listed" not in Page(make_page()[0]).text


def test_the_trail_names_rows_but_none_that_was_forgotten():
    _, found = make_page()
    first, second = make_records("plain")[:2]
    first_row = second["changes"][0]
    second["changes"] = [
        first_row | {"source": "suspect", "old": 3},
        {"kind": "annotate", "id": "other", "path": "food", "old": "no", "new": None},
        {"kind": "drop", "id": "gone", "path": "row", "old": 1, "new": 0},
    ]
    records = [first, second]
    text = " ".join(Page(audit_html(found, make_run(), None, records)).text.split())
    assert "Record 2, row by row" in text
    assert "row plainlabel3new plainthe suspectswhy plain" in text
    assert "otherfoodnonot annotated––" in text
    assert "gonethe row was left out–––" in text
    forget = make_records("plain")[2] | {"forgotten": [["other", "ab"]]}
    records = [first, second, forget]
    text = " ".join(Page(audit_html(found, make_run(), None, records)).text.split())
    assert "otherfood" not in text and "row plainlabel3" in text
    second["changes"] = [first_row] * 60
    text = " ".join(Page(audit_html(found, make_run(), None, records)).text.split())
    assert "Record 2, row by row: the first 50 of 60" in text


def test_a_long_warning_is_folded_and_whole():
    _, found = make_page()
    long = "Nothing was learned of 'concept'" + ", 'another concept'" * 80 + ". <Look>."
    html = audit_html(found, make_run() | {"warnings": ["Short.", long]})
    page = Page(html)
    assert html.count("Nothing was learned of") == 1
    said = re.sub(r"\s*…\s*…\s*", " ", " ".join(page.text.split()))
    assert long in said
    warning = html[html.index("Before you trust") :]
    warning = warning[: warning.index("</div>")]
    assert warning.count("<details>") == 1
    assert warning.index("</summary>") - warning.index("<summary>") < 800
