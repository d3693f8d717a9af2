"""The page of an audit from a fitted explainer: the same as that of a folder."""

import html
import pickle
import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._audit.findings import audit
from skclif._audit.models import fit_models
from skclif._audit.rows import Reviews
from skclif._results import audit_report
from skclif.exceptions import DataFileError

HOSTILE = "</script></iframe><script>alert(1)</script>\"'{{7*7}}"
RNG = np.random.default_rng(0)
N, SPLIT = 150, 90
X = RNG.normal(size=(N, 4))
WRONG = RNG.random((N, 3)) < 0.12
Y = np.where((X[:, 0] > 0) ^ WRONG[:, 0], "good", "poor")
CONCEPTS = pd.DataFrame(
    {
        name: np.where((X[:, j] > 0) ^ WRONG[:, 1 + j], "yes", "no")
        for j, name in enumerate(["food", "service"])
    },
    dtype=object,
).mask(RNG.random((N, 2)) < 0.2)
TEXTS = np.array([f"text {i} {HOSTILE}" for i in range(N)], dtype=object)
OLD, NEW = slice(None, SPLIT), slice(SPLIT, None)
FEW = slice(SPLIT, SPLIT + 19)  # too few for suggestions, which take time
ROW_OF = {text: row for row, text in enumerate(TEXTS)}


def embed(texts):
    return X[[ROW_OF[text] for text in np.asarray(texts).ravel()]]


def fitted(rows=X, estimator=None, **given):
    model = ConceptBottleneckClassifier() if estimator is None else estimator
    return ConceptInfluenceExplainer(model, method="leverage").fit(
        rows[OLD], Y[OLD], concepts=CONCEPTS[OLD], **given
    )


@pytest.fixture(scope="module")
def explainer():
    pipeline = make_pipeline(FunctionTransformer(embed), ConceptBottleneckClassifier())
    return fitted(TEXTS, pipeline)


@pytest.fixture(scope="module")
def report(explainer):
    return explainer.report(TEXTS[NEW], Y[NEW], CONCEPTS[NEW], random_state=0)


def of_features(explainer=None, rows=FEW, **given):
    explainer = fitted() if explainer is None else explainer
    given = {"concepts": CONCEPTS[rows], "random_state": 0} | given
    return explainer.report(X[rows], Y[rows], **given)


@pytest.fixture(scope="module")
def plain():
    return of_features(rows=NEW)


def test_it_is_the_audit_of_the_same_rows(report):
    reviews = Reviews.from_parts(range(N), TEXTS, Y, CONCEPTS).embedded(X)
    train, held_out = (reviews.take(np.arange(N)[part]) for part in (OLD, NEW))
    found = audit(fit_models(train, method="leverage"), train, held_out, seed=0)
    assert report.metrics["label"].keys() == found.metrics["label"].keys()
    for who, scores in found.metrics["label"].items():
        assert report.metrics["label"][who] == pytest.approx(scores, rel=1e-6)
    for name, columns in {
        "suspects": ["text_hash", "path", "current", "proposed"],
        "predictions": ["text_hash", "label", "predicted", "failed"],
    }.items():
        ours, theirs = getattr(report, name), getattr(found, name)
        pd.testing.assert_frame_equal(ours[columns], theirs[columns])
    every = "influence"
    np.testing.assert_allclose(report.influence[every], found.influence[every], 1e-4)


def test_rows_are_named_by_their_positions(report):
    line = report.suspects.iloc[0]
    row = int(line["id"].removeprefix("row "))
    assert line["text"] == TEXTS[row]
    first = report.predictions.iloc[3]
    assert (first["id"], first["text"]) == ("held-out row 3", TEXTS[SPLIT + 3])


def test_features_give_what_texts_give(report, plain):
    columns = ["id", "path", "current", "proposed", "probability_wrong"]
    pd.testing.assert_frame_equal(plain.suspects[columns], report.suspects[columns])
    assert "text" not in plain.suspects
    assert "No text: the model was given features" in plain.page
    assert '<p class="muted">Text withheld' not in plain.page
    assert plain.suspects["text_hash"].nunique() > 10


@pytest.mark.parametrize("kind", [sparse.csr_array, pd.DataFrame])
def test_every_kind_of_features(plain, kind):
    rows = kind(X)
    if kind is pd.DataFrame:
        rows.columns = list("abcd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted(rows).report(rows[FEW], Y[FEW], CONCEPTS[FEW], random_state=0)
    columns = ["id", "path", "proposed"]
    pd.testing.assert_frame_equal(found.suspects[columns], plain.suspects[columns])
    for column in ("loss", "black_box_loss", "gold_loss"):
        first = plain.predictions[column][:19]
        np.testing.assert_allclose(found.predictions[column], first, rtol=1e-6)


@pytest.mark.parametrize(
    "concepts",
    [
        np.where(X[:, :2] > 0, "yes", "no"),
        (X[:, :2] > 0).astype(int),
        (X[:, :2] > 0),
        np.column_stack([X[:, 0].round(1), X[:, 1] > 0]),
        np.array([["yes" if a > 0 else "no", int(b > 0)] for a, b in X[:, :2]], object),
    ],
    ids=["words", "numbers", "flags", "amounts", "mixed"],
)
def test_annotations_without_names(concepts):
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(), method="leverage"
    )
    explainer.fit(X[OLD], Y[OLD], concepts=concepts[OLD])
    shown = explainer.report(X[FEW], Y[FEW], concepts[FEW]).predictions
    assert shown["annotated:concept1"].map(type).nunique() == 1
    for name in ("concept0", "concept1"):
        same = shown[f"annotated:{name}"].map(type) == shown[f"predicted:{name}"].map(
            type
        )
        assert same.all() or shown[f"annotated:{name}"].nunique() > 2
    assert (shown["annotated:concept1"] == shown["predicted:concept1"]).mean() > 0.8


def test_several_columns_of_texts_are_told_by_name():
    table = pd.DataFrame({"title": TEXTS, "body": [f"body {i}" for i in range(N)]})
    pipeline = make_pipeline(
        FunctionTransformer(lambda rows: embed(rows["title"])),
        ConceptBottleneckClassifier(),
    )
    found = fitted(table, pipeline).report(table[FEW], Y[FEW], max_mistakes=0)
    assert found.predictions["text"][0] == f"title: {TEXTS[SPLIT]}\nbody: body {SPLIT}"


def test_a_model_without_concepts():
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    found = explainer.fit(X[OLD], Y[OLD]).report(X[FEW], Y[FEW], random_state=0)
    assert list(found.to_frame()["model"]) == ["model", "majority"]
    assert all("No held-out row" in note for note in found.warnings)


def test_annotations_of_held_out_rows_may_be_missing(plain):
    none = of_features(concepts=None)
    words = "No held-out row has an annotation: .* remains unknown. Pass concepts."
    assert [note for note in none.warnings if re.fullmatch(words, note)]
    assert none.predictions["annotated:food"].isna().all()
    some = of_features(concepts=CONCEPTS[["service"]][FEW])
    assert some.predictions["annotated:food"].isna().all()
    assert some.predictions["annotated:service"].notna().any()
    words = "No held-out row has an annotation of 'food': how well it is predicted, "
    assert [note for note in some.warnings if note.startswith(words)]
    for found in (none, some):
        assert found.to_frame()["model"].tolist() == ["model", "black_box", "majority"]
        seen = re.sub(r"(?s)<script.*?</script>", "", found.page)
        assert "Gold concepts alone" not in seen
        assert "oncepts as people read them</em>" not in seen
        assert "every misread concept corrected" not in seen
        assert "Unknown: not every concept of the text is annotated" in seen
        columns = ["id", "path", "proposed"]
        pd.testing.assert_frame_equal(found.suspects[columns], plain.suspects[columns])


def test_an_edited_explainer_reports_on_what_it_is_now():
    edited = fitted().edit(drop=[3], y={5: "good" if Y[5] == "poor" else "poor"})
    found = of_features(edited.explainer)
    overall = found.influence.query("target == 'all'")
    assert "row 3" not in set(overall["train_id"])
    assert len(overall) == SPLIT - 1
    # Weights of annotations, and heads that are not at their optimum, are no obstacle.
    early = fitted(concept_sample_weight=np.full((SPLIT, 2), 0.5))
    assert len(of_features(early.edit(drop=[3], n_steps=1).explainer).page)


@pytest.mark.parametrize(
    "params",
    [
        {"residual_C": 0.1},
        {
            "monotonic_cst": {"food": ["no", "yes"]},
            "label_head": "ordinal",
            "label_order": ["poor", "good"],
            "training": "independent",
        },
    ],
)
def test_what_needs_concepts_is_not_asked_of_the_black_box(params):
    found = fitted(estimator=ConceptBottleneckClassifier(**params)).report(
        X[FEW], Y[FEW], CONCEPTS[FEW], random_state=0, max_mistakes=1
    )
    plain = ConceptBottleneckClassifier(label_head=params.get("label_head", "softmax"))
    plain.set_params(label_order=params.get("label_order")).fit(X[OLD], Y[OLD])
    expected = plain.score(X[FEW], Y[FEW])
    assert found.metrics["label"]["black_box"]["accuracy"] == pytest.approx(expected)


def test_it_changes_nothing(explainer, report):
    before = explainer.estimator_[-1].coef_.copy()
    again = explainer.report(TEXTS[NEW], Y[NEW], CONCEPTS[NEW], random_state=0)
    np.testing.assert_array_equal(explainer.estimator_[-1].coef_, before)
    pd.testing.assert_frame_equal(again.suggestions, report.suggestions)
    assert explainer.estimator is not explainer.estimator_[-1]


def test_only_so_many_mistakes_are_traced():
    few = of_features(rows=NEW, max_mistakes=1)
    traced = few.influence.query("target == 'row'")["target_id"]
    assert traced.nunique() == 1
    assert "<code>max_mistakes</code> traces more" in few.page


def test_values_in_an_order_are_judged_in_it():
    stars = np.digitize(X[:, 0] + 0.7 * RNG.normal(size=N), [-1, -0.3, 0.3, 1])
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X[OLD], stars[OLD])
    shown = explainer.report(X[FEW], stars[FEW], ordinal="label", random_state=0)
    known = explainer.suspect_labels(ordinal="label")
    wrong = known[known["probability_wrong"] >= 0.05]
    np.testing.assert_allclose(
        shown.suspects["probability_wrong"], wrong["probability_wrong"]
    )
    other = explainer.report(X[FEW], stars[FEW], random_state=0)
    assert len(other.suspects) != len(shown.suspects)


def test_warnings_speak_of_arguments_and_held_out_rows():
    doubled = explainer_on_noise().report(X[:19], Y[:19], random_state=0)
    text = " ".join(doubled.warnings)
    assert "19 of the 19 held-out texts are also in the training data" in text
    assert "--" not in text
    assert "suspects.csv" not in doubled.page + text


def explainer_on_noise():
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(C="auto"))
    return explainer.fit(X[:60], RNG.permutation(Y[:60]))


# --- What it shows --------------------------------------------------------------------


def test_the_cell_holds_the_page_and_lets_it_do_nothing_else(report):
    cell = report._repr_html_()
    (frame,) = re.findall(r"<iframe ([^>]*)></iframe>", cell)
    attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', frame))
    assert html.unescape(attributes["srcdoc"]) == report.page
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert 'http-equiv="Content-Security-Policy"' in report.page
    assert "default-src 'none'" in html.unescape(report.page)
    assert HOSTILE not in report.page
    assert "<script>alert" not in report.page


def test_the_page_sends_nobody_to_files_that_are_not_there(report):
    seen = re.sub(r"(?s)<script>.*?</script>", "", report.page)
    for name in ("suspects.csv", "suggestions.csv", "run.json", "skclif apply"):
        assert name not in seen
    assert "report.suspects" in seen
    assert "no folder, and so no trail" in seen
    assert "Records in the trail" not in seen
    assert '"folder":false' in seen


def test_errors_about_decisions_name_tables_of_the_report(plain, tmp_path):
    path = tmp_path / "decisions.csv"
    table = plain.suspects.head(1).assign(decision="accept")
    known = table["text_hash"].item()
    other = "1" * 16
    for changed, match in (
        ({"id": "row 99"}, "are in report.influence, as train_id and train_text_hash"),
        ({"id": ""}, "the column id is empty. .* are in report.influence"),
        (
            {"text_hash": other},
            f"its hash is {known}, not '{other}'. Take the line from the present "
            "report.suspects or report.suggestions",
        ),
        ({"text_hash": f"h:{other}"}, f"its hash is h:{known}, not 'h:{other}'"),
    ):
        table.assign(**changed).to_csv(path, index=False)
        with pytest.raises(DataFileError, match=match) as caught:
            plain.as_edit(path)
        assert "influence.csv" not in str(caught.value)
        assert "suspects.csv" not in str(caught.value)


def test_of_what_nothing_was_learned_the_line_says_so():
    rng = np.random.default_rng(5)
    noise = pd.DataFrame(rng.integers(2, size=(N, 8))).add_prefix("noise ")
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X[OLD], Y[OLD], concepts=noise[OLD])
    found = explainer.report(X[NEW], Y[NEW], noise[NEW], random_state=0)
    nothing = found.nothing_learned
    assert len(nothing) > 5
    said = f"(none listed of {', '.join(nothing[:5])}, …: nothing learned), "
    assert said in repr(found)
    assert f"; {len(found.warnings)} reasons to doubt in warnings>" in repr(found)
    assert not found.suspects["path"].isin(nothing).any()
    assert any("So report.suspects lists no annotation" in n for n in found.warnings)


def test_a_page_that_is_too_large_for_a_notebook_is_not_shown(report, monkeypatch):
    monkeypatch.setattr(audit_report, "MOST_SHOWN", 1000)
    cell = report._repr_html_()
    assert "iframe" not in cell and "save(path)" in cell
    assert "&lt;AuditReport on 60 held-out rows" in cell


def test_in_one_line_and_printed(report):
    assert re.fullmatch(
        r"<AuditReport on 60 held-out rows: accuracy 0\.\d{3}, \d+ mistakes; "
        r"\d+ values? probably wrong, \d+ suggestions?(; \d+ reasons? to doubt in "
        r"warnings)?>",
        repr(report),
    )
    first, *rest = str(report).split("\n")
    assert first == repr(report)
    assert "black_box" in "".join(rest)
    assert report.to_frame().columns.tolist() == [
        *("model", "accuracy", "macro_f1", "log_loss")
    ]


def test_it_is_saved_whole(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("an earlier one")
    report.save(path)
    assert path.read_text(encoding="utf-8") == report.page
    report.save(str(path))
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(FileNotFoundError, match="There is no folder .*nowhere"):
        report.save(tmp_path / "nowhere" / "report.html")
    with pytest.raises(TypeError, match=r"path must be a str or a path .*, got int\."):
        report.save(3)


# --- Decisions ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["report", "plain"])
def test_accepted_lines_are_arguments_of_edit(kind, request, tmp_path):
    report = request.getfixturevalue(kind)
    table = report.suspects.head(4).copy()
    table["decision"] = ["accept", "reject", "", "accept"]
    path = tmp_path / "decisions.csv"
    table.to_csv(path, index=False)
    found = report.as_edit(path)
    wanted = {"y": {}, "concepts": {}}
    for line in table.iloc[[0, 3]].to_dict("records"):
        row = int(line["id"].removeprefix("row "))
        of = wanted["y"] if line["path"] == "label" else wanted["concepts"]
        if line["path"] != "label":
            of = of.setdefault(line["path"], {})
        of[row] = line["proposed"]
    assert found == {name: changes for name, changes in wanted.items() if changes}
    edited = fitted().edit(**report.as_edit(str(path)))
    assert len(edited.record.changes) == 2


def test_suggestions_are_accepted_too(plain, tmp_path):
    table = plain.suggestions.assign(decision="accept").query("kind != 'annotate'")
    path = tmp_path / "decisions.csv"
    table.to_csv(path, index=False)
    changes = fitted().edit(**plain.as_edit(path)).record.changes
    assert sorted(changes["kind"]) == sorted(table["kind"])


def test_decisions_that_do_not_fit_are_refused(plain, tmp_path):
    path = tmp_path / "decisions.csv"
    with pytest.raises(FileNotFoundError):
        plain.as_edit(path)
    with pytest.raises(TypeError, match=r"path must be a str or .*'decisions.csv'"):
        plain.as_edit(plain.suspects)
    table = plain.suspects.head(1).assign(decision="accept")
    for changed, match in (
        ({"id": "row 99", "text_hash": "0" * 16}, "there is no such row"),
        ({"id": "held-out row 3", "text_hash": "0" * 16}, "it is held out"),
        ({"proposed": "odd"}, "odd"),
    ):
        table.assign(**changed).to_csv(path, index=False)
        with pytest.raises(DataFileError, match=match):
            plain.as_edit(path)
    loaded = pickle.loads(pickle.dumps(plain))
    assert loaded.page == plain.page
    with pytest.raises(ValueError, match="loaded without its model"):
        loaded.as_edit(path)


# --- Bad input ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"y": Y[:5]}, ValueError, "y has 5 rows"),
        ({"y": ["odd"] * 60}, ValueError, "y has the class 'odd', which was not seen"),
        ({"X": X[NEW][:, :2]}, ValueError, "X has 2 features"),
        ({"concepts": CONCEPTS[:5]}, ValueError, "concepts"),
        ({"concepts": [["odd", "yes"]] * 60}, ValueError, "value 'odd' for concept"),
        ({"concepts": {"food": ["yes"] * 60}}, TypeError, "concepts"),
        ({"ordinal": "price"}, ValueError, "ordinal names 'price', but the paths are"),
        (
            {"max_mistakes": -1},
            ValueError,
            "max_mistakes=-1 must be 0 or more: how many mistakes",
        ),
        ({"max_mistakes": 1.5}, TypeError, "max_mistakes must be a whole number"),
        ({"random_state": "a"}, ValueError, "cannot be used to seed"),
        ({"X": X[:0], "y": Y[:0]}, ValueError, "0 sample"),
    ],
)
def test_bad_input_is_named(plain, given, error, match):
    given = {"X": X[NEW], "y": Y[NEW], "concepts": CONCEPTS[NEW]} | given
    with pytest.raises(error, match=match):
        fitted().report(**given)


def test_a_logistic_regression_is_sent_to_a_bottleneck():
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X[OLD], Y[OLD])
    with pytest.raises(TypeError, match="report needs a ConceptBottleneckClassifier"):
        explainer.report(X[NEW], Y[NEW])


def test_logits_have_no_known_values():
    explainer = fitted(X, ConceptBottleneckClassifier(bottleneck="logit"))
    with pytest.raises(ValueError, match="Use bottleneck='soft' or 'hard' instead"):
        explainer.report(X[FEW], Y[FEW])


def test_annotations_of_a_model_without_concepts_are_refused():
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X[OLD], Y[OLD])
    with pytest.raises(ValueError, match="the model has no concepts"):
        explainer.report(X[NEW], Y[NEW], CONCEPTS[NEW])
