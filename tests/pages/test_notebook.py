"""Views in notebooks: every result has one, nothing breaks out, the style stays in."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import skclif
from skclif import (
    AnnotationSuggestions,
    BaselineComparison,
    ConceptContributions,
    DriftReport,
    EditComparison,
    EditResult,
    EditSuggestions,
    InfluenceResult,
    ReplayResult,
    ValidationResult,
    WordEvidence,
    metrics,
)
from skclif._pages.notebook import html_of
from skclif._pages.sheets import effect, in_short, parts, style
from skclif._results.shown import Shown
from skclif._results.verdicts import Verdict
from skclif.metrics import (
    BottleneckReport,
    ConceptEffects,
    InterventionCurve,
    LinearDatamodelingScore,
    RemovalCurve,
)

from .test_pages import ALLOWED, HOSTILE, Page

PLAIN = "plain words"
LONG = "word " * 2000


def make_influence(say=PLAIN, **changed):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 8, 3))
    training = {"text": [f"text {i} {say}" for i in range(8)], "label": f"good {say}"}
    explained = {"text": [f"asked {t} {say}" for t in range(5)], "label": f"bad {say}"}
    given = {
        "values": values,
        "paths": ("label", f"food {say}", "interaction"),
        "target": f"loss {say}",
        "unit": "nats",
        "higher_is_better": False,
        "method": "newton",
        "training": pd.DataFrame(training | {f"food {say}": [f"yes {say}", None] * 4}),
        "explained": pd.DataFrame(explained).assign(value=0.5),
    }
    return InfluenceResult(**given | changed)


def make_suspects(say=PLAIN, n=30):
    p = np.linspace(0.99, 0.01, n)
    frame = {"row": np.arange(n), "path": ["label", f"food {say}"] * (n // 2)}
    frame |= {"current": f"now {say}", "proposed": f"then {say}"}
    frame |= {"loss": 1.0, "margin": 0.5, "self_influence": -0.25}
    frame |= {"probability_wrong": p, "probability_proposed": p, "rank": 1}
    frame |= {"group": f"Ann {say}"}
    return skclif.SuspectFrame(pd.DataFrame(frame | {"text": f"text {say}"}))


def make_suggestions(say=PLAIN, n=12, interval=(-0.3, -0.1)):
    frame = {"row": np.arange(n), "kind": "annotate", "path": f"food {say}"}
    frame |= {"current": None, "proposed": f"yes {say}", "effect": -0.0125}
    frame |= {"std_error": 0.004, "probability_wrong": np.nan, "text": f"text {say}"}
    target = (f"mean loss {say}", "nats", False, 1.5, -0.2, interval)
    return EditSuggestions(pd.DataFrame(frame), *target, True, 900, 60)


def make_annotations(say=PLAIN, n=12, by="annotation"):
    frame = pd.DataFrame({"row": np.arange(n), "gain": 0.0125, "text": f"text {say}"})
    if by == "annotation":
        frame.insert(1, "concept", f"food {say}")
    gains = pd.DataFrame({f"food {say}": np.full(n, 0.0125)})
    about = (by, False, f"loss {say}", "nats", 1.5, 900, 60)
    return AnnotationSuggestions(frame, gains, *about)


def make_flips(say=PLAIN, n=12):
    training = pd.DataFrame({"text": [f"text {say}"] * n, "label": f"good {say}"})
    classes = np.array([f"bad {say}", f"good {say}"], dtype=object)
    proba = np.linspace([0.2, 0.8], [0.6, 0.4], n + 1)
    rows = np.arange(n)
    return skclif.FlipSet(
        *(True, True, rows, classes[1], classes[0], proba, classes, n, training)
    )


def make_edit(say=PLAIN):
    changes = {"kind": "annotate", "row": range(12), "concept": f"food {say}"}
    changes = pd.DataFrame(changes | {"old": f"old {say}", "new": f"new {say}"})
    heads = (
        skclif.HeadRecord(f"food {say}", "current", 3, 1e-3, 1e-9, 1e-8, True),
        skclif.HeadRecord("label", "current", 1, 1e-3, 1e-4, 1e-8, False),
    )
    record = (changes, 1, heads, -0.02, 0.01, 0.1, *"abcd", "1.0")
    return EditResult(None, None, skclif.EditRecord(*record))


def make_comparison(say=PLAIN):
    changed = {"row": np.arange(12), "text": f"text {say}", "label": f"good {say}"}
    changed |= {"before": f"bad {say}", "after": f"good {say}"}
    changed |= {"outcome": ["better", "worse", "neither"] * 4}
    changed |= {"loss_before": 1.25, "loss_after": 0.5}
    concepts = {"concept": [f"food {say}"], "measure": "accuracy", "n_rows": 40}
    return EditComparison(
        skclif.PairedChange(0.5, 0.625, (-0.1, 0.35)),
        skclif.PairedChange(1.0, 0.75, (-0.4, -0.1)),
        pd.DataFrame(changed),
        pd.DataFrame(concepts | {"before": 0.5, "after": 0.6}),
        40,
    )


def make_validation(say=PLAIN):
    truth = np.array([[1.0, -2.0, 0.5]])
    one, path = skclif.Agreement(0.9 * truth, truth), f"food {say}"
    return ValidationResult(
        *(f"loss {say}", "nats", np.arange(3), np.arange(2)),
        {("leverage", "row"): one, ("leverage", path): one},
        {("leverage", "row"): 12.0, ("leverage", "paths"): 8.0},
        {"row": 1.0, path: 0.5},
    )


def make_baselines(say=PLAIN):
    lines = {"model": [f"words {say}", "bottleneck"], "sees": ["words", "texts"]}
    for name, value in (("accuracy", 0.75), ("macro_f1", 0.5), ("log_loss", 0.6)):
        lines |= {name: value, f"{name}_low": 0.4, f"{name}_high": 0.8}
    return BaselineComparison(pd.DataFrame(lines | {"seconds": 1.5}), 150, 3)


def make_replay(say=PLAIN):
    steps = (
        skclif.ReplayStep(1, "fit", True, True),
        skclif.ReplayStep(2, "edit", False, False, f"the labels differ {say}"),
    )
    return ReplayResult(steps, None)


def make_score(say=PLAIN):
    score = np.linspace(0, 1, 9)
    return LinearDatamodelingScore(
        *(0.5, (0.4, 0.6), score, np.zeros((4, 20), int), np.ones((9, 4)))
    )


def make_removal(say=PLAIN):
    scores = {f"accuracy {say}": np.array([[0.5, 0.6], [0.5, 0.3], [0.5, 0.45]])}
    return RemovalCurve(np.array([0, 9]), ("harmful", "helpful", "random"), scores, 90)


def make_interventions(say=PLAIN):
    losses = np.array([[1.0, 2.0, 1.5], [0.5, 1.0, 1.5]])
    correct = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    return InterventionCurve(
        np.arange(2), losses, correct, np.ones(3), np.ones(3, int), "random", 2
    )


def make_effects(say=PLAIN):
    values = pd.DataFrame({"concept": [f"food {say}"] * 2, "value": [f"no {say}", "b"]})
    changes = np.array([[[0.25, -0.25]], [[-0.5, 0.5]]])
    classes = np.array([f"good {say}", "bad"])
    return ConceptEffects(classes, values, changes, np.full((1, 2), 0.5), np.ones(1))


def make_report(say=PLAIN):
    verdict = Verdict(
        "concepts", "Is every one learned?", "no", f"'food {say}' is not."
    )
    scores = {"model": ["gold", "black_box"]}
    for score in ("accuracy", "log_loss"):
        scores |= {score: 0.5, f"{score}_low": 0.25, f"{score}_high": np.nan}
    tables = [pd.DataFrame(scores)] + [pd.DataFrame()] * 4
    return BottleneckReport((verdict,) * 2, *tables, "soft", 90, 5)


def make_contributions(say=PLAIN):
    values = np.linspace(-1, 1, 5 * 2 * 3).reshape(5, 2, 3)
    classes = np.array([f"good {say}", f"bad {say}"])
    names = (f"food {say}", "service", "intercept")
    return ConceptContributions(values, classes, names, pd.Index([f"row {say}"] * 5))


def make_drift(say=PLAIN):
    frame = pd.DataFrame(
        {
            "part": ["meaning", "inputs"],
            "group": [f"2024 Q1 {say}", "all"],
            "concept": [f"food {say}", "service"],
            "statistic": [20.0, np.nan],
            "effect": [0.25, np.nan],
            "p_value": [0.001, np.nan],
            "q_value": [0.001, np.nan],
            "found": [True, False],
            "n_rows": [90, 9],
            "uses": ["annotations", ""],
            "reason": ["", "fewer than 30 rows"],
        }
    )
    return DriftReport(frame, 0.05, [f"2024 Q1 {say}", "all"], 400, 99, 999, None)


def make_evidence(say=PLAIN):
    text = f"cold {say} soup"
    spans = np.array([[0, 4], [5, len(text) - 5], [len(text) - 4, len(text)]])
    zeros = np.zeros(12)
    return WordEvidence(
        *(f"food {say}", "log-odds", f"bad {say}", (text,) * 12),
        np.array([f"good {say}", None] * 6, dtype=object),
        *((spans,) * 12, (np.array([-0.5, 0.25, 0.01]),) * 12),
        *(zeros, zeros + 0.125, zeros - 0.115, np.full(12, len(text)), True),
    )


MAKERS = {
    "WordEvidence": make_evidence,
    "DriftReport": make_drift,
    "ConceptContributions": make_contributions,
    "BottleneckReport": make_report,
    "InfluenceResult": make_influence,
    "SuspectFrame": make_suspects,
    "EditSuggestions": make_suggestions,
    "AnnotationSuggestions": make_annotations,
    "FlipSet": make_flips,
    "EditResult": make_edit,
    "EditComparison": make_comparison,
    "ValidationResult": make_validation,
    "BaselineComparison": make_baselines,
    "ReplayResult": make_replay,
    "LinearDatamodelingScore": make_score,
    "RemovalCurve": make_removal,
    "InterventionCurve": make_interventions,
    "ConceptEffects": make_effects,
}


def read(result):
    return said(Page(result._repr_html_()))


def said(page):
    return " ".join(" ".join(page.texts).split())


def test_every_result_is_made_here():
    public = [getattr(skclif, name) for name in skclif.__all__]
    public += [getattr(metrics, name) for name in metrics.__all__]
    classes = [one for one in public if isinstance(one, type)]
    known = {one.__name__ for one in classes if issubclass(one, Shown)}
    # A report shows its page; see tests/explain/test_report.py.
    assert known - {"AuditReport"} == MAKERS.keys() - {"SuspectFrame"}


def test_evidence_says_which_texts_were_cut():
    whole = make_evidence()
    assert "longer than the model reads" not in whole._repr_html_()
    cut = replace(whole, read=whole.read - [3, *[0] * 11])
    assert "1 text is longer than the model reads, and words" in cut._repr_html_()


@pytest.mark.parametrize("say", HOSTILE)
@pytest.mark.parametrize("name", MAKERS)
def test_nothing_in_the_data_breaks_out_of_a_view(name, say):
    page = Page(MAKERS[name](say)._repr_html_())
    plain = Page(MAKERS[name]()._repr_html_())
    assert {tag for tag, _ in page.elements} <= ALLOWED | {"small"}
    shape = [(tag, sorted(attrs)) for tag, attrs in plain.elements]
    assert [(tag, sorted(attrs)) for tag, attrs in page.elements] == shape
    for tag, attrs in page.elements:
        assert not attrs.keys() & {"href", "src", "id", "onclick"}, tag
        drawn = attrs.get("style", "left:0%;width:0%")
        assert re.fullmatch(r"left:[\d.]+%;width:[\d.]+%", drawn)
    if name not in ("LinearDatamodelingScore", "InterventionCurve"):  # say no words
        assert say in said(page)


@pytest.mark.parametrize("name", MAKERS)
def test_a_view_is_one_labelled_element_with_captions(name):
    page = Page(MAKERS[name]()._repr_html_())
    assert page.elements[0] == ("div", {"class": "skclif-result"})
    assert len(page.all("caption")) == len(page.all("table")) >= 1
    assert all(attrs["scope"] == "col" for attrs in page.all("th"))
    assert "nan" not in page.text


@pytest.mark.parametrize("name", MAKERS)
def test_a_long_text_is_cut_in_views_and_when_printed(name):
    result = MAKERS[name](LONG)
    assert len(result._repr_html_()) < len(style()) + 40_000
    assert max(map(len, str(result).split("\n")[1:]), default=0) < 500


def test_the_style_changes_nothing_of_the_notebook():
    rules = re.sub(r"@media [^{]*\{|/\*.*?\*/", "", style())
    selectors = re.findall(r"(?:^|\})\s*([^{}]+?)\s*\{", rules)
    assert len(selectors) > 20
    for one in selectors:
        for each in re.sub(r":is\([^)]*\)", ":is()", one).split(","):
            assert each.strip().startswith((".skclif-result", ":is() .skclif-result"))


def test_both_themes_have_the_same_colours_to_set():
    by_theme = re.findall(r"\{([^{}]*--paper[^{}]*)\}", style())
    assert len(by_theme) == 4  # light, system dark, notebook light, notebook dark
    names = [set(re.findall(r"--[\w-]+", block)) for block in by_theme]
    assert names[0] == names[1] == names[2] == names[3]
    assert '[data-jp-theme-light="false"]' in style()
    assert ".vscode-dark" in style()


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_of_views_have_contrast(theme):
    from .test_pages import _contrast

    blocks = re.findall(r"\{([^{}]*--paper[^{}]*)\}", style())
    found = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[theme]))
    for ground in ("paper", "note"):
        for ink in ("ink", "muted", "harm", "help"):
            assert _contrast(found[ink], found[ground]) >= 4.5  # WCAG 2.2, AA
    for part in ("fill", "harm", "help"):
        assert _contrast(found[part], found["paper"]) >= 3


def test_there_is_no_view_of_anything_else():
    with pytest.raises(TypeError, match="no view of dict"):
        html_of({})


# --- Influence ------------------------------------------------------------------------


def test_influence_says_sign_in_words_and_what_is_left_out():
    result = make_influence()
    text = read(result)
    assert "and 2 more targets" in text
    assert "target 1, label bad plain words, loss plain words 0.500: asked 1" in text
    assert "Harmful: without the row the loss plain words would be lower" in text
    for value in result.harmful(1)["influence"][:3]:
        assert f"+{value:#.3g} harmful" in text
    better = read(make_influence(higher_is_better=True))
    assert "Harmful: without the row the loss plain words would be higher" in better
    worst = make_influence().helpful(1)["influence"][0]
    assert f"−{-worst:#.3g} harmful" in better


def test_influence_by_two_methods_says_how_many_rows_are_confirmed():
    confirmed = np.arange(8) < 3
    method = "leverage, its top rows by newton"
    view = make_influence(confirmed=confirmed, method=method)._repr_html_()
    assert method in view
    assert "Confirmed by the second method: 3 of 8 training rows." in view
    assert "confirmed" not in view  # it is no property of a row
    assert "Confirmed" not in make_influence()._repr_html_()


def test_influence_bars_are_of_the_row_that_they_stand_in():
    values = np.zeros((1, 4, 2))
    values[0, :, 0] = [4.0, -2.0, 0.0, 1.0]
    values[0, :, 1] = [-1.0, 0.0, 0.0, 1.0]
    result = make_influence(values=values, paths=("label", "food"))
    page = Page(result._repr_html_())
    bars = [attrs["style"] for attrs in page.all("span") if "style" in attrs]
    # Rows 0 and 3 harm, most first; row 1 helps; row 2 does nothing. 4 is half a track.
    assert bars == [
        *("left:50%;width:50.0%", "left:37.5%;width:12.5%"),  # row 0: label, food
        *("left:50%;width:12.5%", "left:50%;width:12.5%"),  # row 3
        "left:25.0%;width:25.0%",  # row 1
    ]


def test_small_and_many_paths_are_shown_as_one():
    cell = parts({"a": 1.0, "b": -0.5, "c": 0.01, "d": 0.02}, 1.0, "negative")
    assert [part.name for part in cell.parts] == ["a", "b", "2 more"]
    assert [part.tone for part in cell.parts] == ["harm", "help", "harm"]
    assert cell.parts[-1].text == "+0.0300"
    many = parts(dict.fromkeys("abcdefgh", 1.0), 1.0, "positive")
    assert [part.name for part in many.parts] == [*"abcd", "4 more"]
    assert {part.tone for part in many.parts} == {"help"}
    assert parts({"a": 0.0}, 0.0, "positive").parts == ()


def test_influence_of_groups_and_of_features():
    groups = np.array(list("abcdefgh"))
    text = read(make_influence(groups=groups, training=pd.DataFrame()))
    assert "without the group the" in text
    rows = np.arange(40).reshape(5, 8) % 8
    plain = read(make_influence(rows=rows, paths=None, values=np.ones((5, 8))))
    assert "through" not in plain
    bare = {"training": pd.DataFrame(), "explained": pd.DataFrame()}
    assert "target 0" in read(make_influence(**bare))


# --- Suspects -------------------------------------------------------------------------


def test_suspects_read_like_a_result_and_work_like_a_frame():
    suspects = make_suspects()
    text = read(suspects)
    assert "30 values judged, the most suspect of a path first" in text
    assert "label 8 of 15 probably wrong food plain words 7 of 15" in text
    assert "Wrong is not the same as harmful" in text
    assert "and 20 more lines" in text
    assert "99.0 %" in text
    printed = repr(suspects)
    assert "probably wrong: label 8 of 15, food plain words 7 of 15>" in printed
    assert "… and 20 more lines." in printed
    assert str(suspects) == printed
    assert "loss" not in printed
    for part in (
        suspects.head(3),
        suspects.query("row < 3"),
        suspects[["row", "path"]],
    ):
        assert type(part) is pd.DataFrame
        assert "probably" not in repr(part) + part._repr_html_()
    assert suspects["probability_wrong"].max() == 0.99


def test_suspects_say_of_what_nothing_can_be_said():
    suspects = make_suspects()
    suspects.attrs["unknown"] = ["label"]
    for text in (read(suspects), repr(suspects)):
        assert "Nothing can be said of: label." in text
        assert "label 8 of 15" not in text
    # Values that are all alike are neither listed nor counted as lines that are left.
    listed = repr(suspects).splitlines()
    assert not [line for line in listed if " label " in line]
    assert listed[-1] == "… and 5 more lines."
    assert "… and 5 more lines." in read(suspects)


def test_suspects_of_which_nothing_can_be_said_have_no_list():
    suspects = make_suspects()
    suspects.attrs["unknown"] = ["label", f"food {PLAIN}"]
    first, *rest = repr(suspects).splitlines()
    assert first == "<Suspects: 30 values judged; nothing can be said of any of them>"
    assert len(rest) == 2
    assert "most suspect" not in read(suspects)
    assert "<table" not in suspects._repr_html_()


def test_a_value_that_is_as_probably_wrong_as_right_counts():
    suspects = make_suspects(n=2)
    suspects["probability_wrong"] = [0.5, 0.499]
    assert "probably wrong: label 1 of 1" in repr(suspects)
    assert "food 0 of 1" in repr(suspects).replace(f" {PLAIN}", "")


def test_suspects_without_their_columns_are_shown_as_a_frame():
    suspects = make_suspects(n=4)
    del suspects["current"]
    assert "probably wrong" not in repr(suspects) + suspects._repr_html_()
    assert "<table" in suspects._repr_html_()


def test_suspects_of_no_values_and_of_many_paths():
    assert "0 values judged" in read(make_suspects(n=0))
    many = make_suspects()
    many["path"] = [f"path {i % 15}" for i in range(30)]
    assert repr(many).count(" of 2") == 8
    assert "… 3 more paths" in read(many)
    assert "…>" in repr(many)


# --- The others -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "tone", "words"),
    [
        ((-0.3, -0.1), "note help", "expected to help"),
        ((0.1, 0.3), "note harm", "expected to hurt"),
        ((-0.3, 0.1), "note", "not sure"),
    ],
)
def test_suggestions_say_their_verdict(interval, tone, words):
    page = Page(make_suggestions(interval=interval)._repr_html_())
    assert {"class": tone} in page.all("p")
    assert f"The whole list: {words}." in page.text
    assert "−0.0125 helps" in said(page)
    assert "annotate food plain words" in said(page)
    assert "and 2 more changes" in page.text


def test_views_of_edits_say_better_and_worse():
    text = read(make_edit())
    assert "predicted, to first order −0.0200 helps achieved +0.0100 hurts" in text
    assert "at the optimum" in text and "not at the optimum" in text
    text = read(make_comparison())
    # An interval around 0 shows nothing: no word, and no colour.
    assert "accuracy 0.500 0.625 +0.125 [−0.100, +0.350]" in text
    assert "log-loss (nats) 1.00 0.750 −0.250 better [−0.400, −0.100]" in text
    assert "and 2 more predictions" in text
    one = make_comparison()
    nothing = replace(one, changed=one.changed.head(0), concepts=one.concepts.head(0))
    assert "Predictions that changed" not in read(nothing)


@pytest.mark.parametrize(
    ("change", "interval", "tone", "word"),
    [
        (-0.2, (-0.3, -0.1), "help", "better"),
        (0.2, (0.1, 0.3), "harm", "worse"),
        (-0.001, (-0.007, 0.005), "", ""),
        (0.004, (-0.007, 0.0142), "", ""),
        (0.2, (0.0, 0.4), "", ""),
        (0.2, (np.nan, np.nan), "", ""),
        (0.2, None, "harm", "worse"),
    ],
)
def test_a_change_is_good_or_bad_only_where_its_interval_says(
    change, interval, tone, word
):
    cell = effect(change, "negative", ("better", "worse"), interval)
    assert (cell.tone, cell.word) == (tone, word)


def test_suggestions_say_weights_and_no_more_than_they_know():
    one = make_suggestions(n=3)
    frame = one.to_frame()
    frame[["kind", "path"]] = [
        ("reweight", "row"),
        ("drop", "row"),
        ("relabel", "label"),
    ]
    frame["current"], frame["proposed"] = [1, 1, "bad"], [2, 0, "good"]
    frame["std_error"] = [0.004, 0.04, np.nan]
    one = replace(one, frame=frame)
    text = read(one)
    assert "reweight weight 1 weight 2 −0.0125 helps" in text
    assert "drop weight 1 weight 0 −0.0125 0.0400" in text
    assert "relabel bad good −0.0125 –" in text
    assert re.search(r"drop +weight +1 +0 ", str(one))
    assert one.to_frame()["path"].tolist() == ["row", "row", "label"]


N_MANY = 60
MANY = [f"concept with a rather long name {k}" for k in range(N_MANY)]


def test_many_concepts_leave_an_influence_short():
    values = np.zeros((1, 2, N_MANY + 2))
    values[0, :, 0], values[0, 0, 40], values[0, 0, 7] = (2.0, -2.0), 1.0, -0.5
    known = {name: ["yes", "no"] for name in MANY} | {MANY[39]: [-0.5672783878, 2.0]}
    training = pd.DataFrame({"text": ["a b", "c"], "label": "good"} | known)
    paths = ("label", *MANY, "interaction")
    result = make_influence(
        values=values, paths=paths, training=training, explained=pd.DataFrame()
    )
    text = read(result)
    # The label first, then the concepts that act most; numbers are rounded.
    told = (
        f"a b label good {MANY[39]} −0.5673 {MANY[6]} yes {MANY[0]} yes {MANY[1]} yes"
    )
    assert f"{told} … 56 more" in text
    page = Page(result._repr_html_())
    names = [a for a in page.all("div") if "part" in a.get("class", "")]
    assert {a["class"] for a in names} == {"part wide"}


def test_many_concepts_leave_other_views_short():
    truth = np.array([[1.0, -2.0]])
    kinds = ["row", "label", *MANY, "interaction"]
    shares = dict.fromkeys(kinds, 0.01) | {"row": 1.0, "label": 0.5, MANY[50]: 0.3}
    one = ValidationResult(
        *("loss", "nats", np.arange(2), np.arange(2)),
        {("leverage", kind): skclif.Agreement(truth, truth) for kind in kinds},
        {("leverage", "row"): 12.0, ("leverage", "paths"): 8.0},
        shares,
    )
    text = read(one)
    assert text.count("leverage") == 8 + 1  # and once in the line above
    assert f"leverage {MANY[50]}" in text and "… and 55 more paths" in text
    concepts = pd.DataFrame({"concept": MANY, "measure": "accuracy", "n_rows": 9})
    concepts = concepts.assign(before=0.5, after=0.5)
    concepts.loc[44, "after"] = 0.25
    text = read(replace(make_comparison(), concepts=concepts))
    assert "The concepts that changed most" in text and MANY[44] in text
    assert "… and 50 more concepts; see concepts." in text
    heads = [skclif.HeadRecord(n, "kept", 0, 0, 0, 1e-8, True) for n in MANY]
    heads.append(skclif.HeadRecord("label", "current", 2, 1, 1, 1e-8, False))
    edit = make_edit()
    edit = replace(edit, record=replace(edit.record, heads=tuple(heads)))
    assert "label current 2 1.00 not at the optimum concept with" in read(edit)
    assert "… and 51 more heads; see record.heads." in read(edit)
    steps = [skclif.ReplayStep(k, "edit", k != 33, k != 33) for k in range(40)]
    text = read(ReplayResult(tuple(steps), None))
    assert "33 edit no no" in text and "… and 30 more records; see to_frame()." in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-0.5672783878439819, "−0.5673"),
        (1.0, "1"),
        (2.5, "2.5"),
        (1999.0, "1999"),
        (12345.678, "12346"),
        (-1e-7, "−1·10⁻⁷"),
        (np.float32(0.1), "0.1"),
        (np.inf, "inf"),
        (np.nan, "–"),
        (3, "3"),
    ],
)
def test_numbers_of_people_are_rounded_and_stay_whole(value, shown):
    assert in_short(value) == shown


def test_views_of_measures_show_their_numbers():
    assert "leverage row 3 0.100 1.00 100.0 % 12.0" in read(make_validation())
    assert "75.0 % 40.0 % to 80.0 %" in read(make_baselines())
    assert "2 edit no no the labels differ plain words" in read(make_replay())
    assert "median 0.500" in read(make_score())
    assert "9 0.600 0.300 0.450 0.450 to 0.450" in read(make_removal())
    assert "1 66.7 % 1.00 −0.500 [−1.74" in read(make_interventions())
    assert "food plain words b good plain words −0.500" in read(make_effects())


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "SuspectFrame"])
def test_print_adds_lines_to_the_one_of_repr(name):
    result = MAKERS[name]()
    first, *rest = str(result).split("\n")
    assert first == repr(result)
    assert len(rest) >= 2
    assert "\n" not in repr(result)


def test_an_agreement_is_one_line():
    one = make_validation().agreements["leverage", "row"]
    assert repr(one) == (
        "<Agreement on 3 removals and 1 target: relative error 0.1, Spearman 1>"
    )


def test_printed_texts_speak_to_no_terminal():
    result = make_influence(
        say="a\x1b[31m\u202e b\nc\x00", target="a", paths=tuple("abc")
    )
    printed = str(result).split("\n", 1)[1]
    assert printed.replace("\n", "").isprintable()
    assert "a·[31m· b c·" in printed
