"""The report measures what it says, on rows that it did not fit, and claims no more."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.honesty import RIGHT, make_vectors, split_report
from skclif import ConceptBottleneckClassifier
from skclif._inputs.indicators import Indicators
from skclif.metrics import BottleneckReport, bottleneck_report
from skclif.metrics._bottleneck_report import _splits

from ..data import make_concept_data, make_sparse_data

pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")

TRAIN, TEST = np.arange(120), np.arange(120, 200)
SPLIT = [(TRAIN, TEST)]
NAMES = ["food", "quiet", "price"]
CLF = ConceptBottleneckClassifier(C=3, concept_C=0.5)


@pytest.fixture(scope="module")
def rows():
    """Return X, y and concepts; a quarter of the annotations is missing."""
    return make_concept_data(200)


@pytest.fixture(scope="module")
def gaps(rows):
    """Return rows none of which is annotated in full: no leakage to read, so quick."""
    X, y, concepts = rows
    concepts = concepts.copy()
    concepts.loc[1::2, "food"] = concepts.loc[::2, "price"] = None
    return X, y, concepts


@pytest.fixture(scope="module")
def fitted(rows):
    X, y, concepts = rows
    return clone(CLF).fit(X[TRAIN], y[TRAIN], concepts=concepts.iloc[TRAIN])


@pytest.fixture(scope="module")
def report(rows):
    return bottleneck_report(CLF, *rows, cv=SPLIT, n_repeats=2, random_state=0)


def _estimate(report, name, of, unit="nats"):
    table = report.estimates.set_index(["name", "of", "unit"])
    return table.loc[(name, of, unit)]


# --- Every number against one that was computed by itself -----------------------------


def test_scores_are_those_of_models_that_were_fitted_by_themselves(
    rows, fitted, report
):
    X, y, concepts = rows
    indicators = Indicators.learn(concepts.iloc[TRAIN])
    gold = indicators.encode(concepts)
    proba = {
        "prior": np.tile(
            pd.Series(y[TRAIN]).value_counts(normalize=True).sort_index(), (80, 1)
        ),
        "gold": LogisticRegression(C=3, tol=1e-8, max_iter=1000)
        .fit(gold[TRAIN], y[TRAIN])
        .predict_proba(gold[TEST]),
        "black_box": LogisticRegression(C=3, tol=1e-8, max_iter=1000)
        .fit(X[TRAIN], y[TRAIN])
        .predict_proba(X[TEST]),
        "bottleneck": fitted.predict_proba(X[TEST]),
        "soft": fitted.predict_proba(X[TEST]),
    }
    for kind in ("logit", "hard"):
        clf = clone(CLF).set_params(bottleneck=kind)
        clf.fit(X[TRAIN], y[TRAIN], concepts=concepts.iloc[TRAIN])
        proba[kind] = clf.predict_proba(X[TEST])
    scores = report.scores.set_index("model")
    assert set(scores.index) == set(proba)
    for name, chances in proba.items():
        said = np.unique(y)[np.asarray(chances).argmax(axis=1)]
        assert scores.loc[name, "accuracy"] == accuracy_score(y[TEST], said)
        # Solvers stop at about this much of the optimum.
        expected = log_loss(y[TEST], chances)
        assert scores.loc[name, "log_loss"] == pytest.approx(expected, abs=1e-5)
    for score in ("accuracy", "log_loss"):
        assert (scores[f"{score}_low"] <= scores[score]).all()
        assert (scores[score] <= scores[f"{score}_high"]).all()


def test_estimates_follow_from_the_losses(report):
    loss = report.scores.set_index("model")["log_loss"]
    assert _estimate(report, "price", "bottleneck")["value"] == pytest.approx(
        loss["bottleneck"] - loss["black_box"]
    )
    for name in ("gold", "soft", "hard"):
        held = _estimate(report, "completeness", name, "share of nats")["value"]
        knows = loss["prior"] - loss["black_box"]
        assert held == pytest.approx((loss["prior"] - loss[name]) / knows)


def test_coarseness_is_of_rows_with_all_annotations(rows, report):
    X, y, concepts = rows
    full = TEST[concepts.iloc[TEST].notna().all(axis=1)]
    assert 10 < len(full) < 70
    gold = Indicators.learn(concepts.iloc[TRAIN]).encode(concepts)
    losses = [
        log_loss(
            y[full],
            LogisticRegression(C=3, tol=1e-8, max_iter=1000)
            .fit(columns[TRAIN], y[TRAIN])
            .predict_proba(columns[full]),
        )
        for columns in (gold, X)
    ]
    found = _estimate(report, "coarseness", "gold")["value"]
    assert found == pytest.approx(losses[0] - losses[1], abs=1e-5)
    assert f"{len(full)} of 80 held-out rows" in report["coarseness"].words


def test_concepts_are_scored_where_they_are_annotated(rows, fitted, report):
    X, _, concepts = rows
    found = report.concepts.set_index("concept")
    predicted, proba = (
        method(X[TEST])
        for method in (fitted.predict_concepts, fitted.predict_concept_proba)
    )
    for name in NAMES:
        given = concepts[name].iloc[TEST]
        known = given.notna().to_numpy()
        true = given[known].tolist()
        line = found.loc[name]
        assert (line["n_annotated"], line["score"]) == (known.sum(), "accuracy")
        accuracy = np.mean(predicted[name].to_numpy()[known] == true)
        assert line["value"] == pytest.approx(accuracy)
        common = concepts[name].iloc[TRAIN].mode()[0]
        assert line["guess"] == pytest.approx(np.mean([v == common for v in true]))
        values = list(fitted.concept_classes_[NAMES.index(name)])
        own = proba[name][known, [values.index(v) for v in true]]
        assert line["log_loss"] == pytest.approx(-np.log(own).mean())
        sure = proba[name][known].max(axis=1).mean()
        assert line["too_sure"] == pytest.approx(sure - accuracy)
        assert line["too_sure_low"] <= line["too_sure"] <= line["too_sure_high"]


def test_numbers_are_scored_by_squared_error():
    X, y, concepts = make_sparse_data(120)
    clf = ConceptBottleneckClassifier()
    report = bottleneck_report(clf, X, y, concepts, cv=2, random_state=0)
    line = report.concepts.set_index("concept").loc["size"]
    assert line["score"] == "squared_error"
    assert np.isnan(line["too_sure"])
    assert line["value"] > 0
    assert set(report.concepts["concept"]) == {"tone", "topic", "size"}
    assert np.isfinite(line[["guess", "deleted"]].astype(float)).all()


def test_corrections_end_where_all_annotations_are_in_place(rows, fitted, report):
    X, y, concepts = rows
    proba = fitted.intervene(X[TEST], concepts.iloc[TEST])
    first, last = report.interventions.iloc[0], report.interventions.iloc[-1]
    assert report.interventions["n_corrected"].tolist() == [0, 1, 2, 3]
    before = report.scores.set_index("model").loc["bottleneck", "log_loss"]
    assert first["log_loss"] == pytest.approx(before)
    assert last["log_loss"] == pytest.approx(log_loss(y[TEST], proba))
    assert last["change"] == pytest.approx(last["log_loss"] - first["log_loss"])


def test_deletions_take_what_moves_a_row_most_first(rows, fitted, report):
    X, y, concepts = rows
    columns = [slice(0, 3), slice(3, 4), slice(4, 8)]
    mean = fitted.transform(X[TRAIN]).mean(axis=0)
    classes = list(fitted.classes_)

    def proba(activations):
        scores = fitted.coef_ @ activations + fitted.intercept_
        return np.exp(scores) / np.exp(scores).sum()

    losses, alone = np.zeros((4, 80)), np.zeros((3, 80))
    for i, row in enumerate(TEST):
        activations = fitted.transform(X[[row]])[0]
        before, true = proba(activations), classes.index(y[row])
        moved = []
        for j, places in enumerate(columns):
            without = activations.copy()
            without[places] = mean[places]
            alone[j, i] = -np.log(proba(without)[true]) + np.log(before[true])
            said = before.argmax()
            moved.append(abs(np.log(proba(without)[said] / before[said])))
        losses[0, i] = -np.log(before[true])
        for step, j in enumerate(np.argsort(moved)[::-1], 1):
            activations[columns[j]] = mean[columns[j]]
            losses[step, i] = -np.log(proba(activations)[true])
    np.testing.assert_allclose(report.deletions["log_loss"], losses.mean(axis=1))
    np.testing.assert_allclose(report.concepts["deleted"], alone.mean(axis=1))


# --- Splits, weights and groups -------------------------------------------------------


def test_folds_are_fitted_without_the_rows_they_test(gaps):
    X, y, concepts = gaps
    cv = [(TEST, TRAIN[:60]), (TRAIN, TEST)]
    report = bottleneck_report(CLF, X, y, concepts, cv=cv, random_state=0)
    losses = []
    for train, test in cv:
        clf = clone(CLF).fit(X[train], y[train], concepts=concepts.iloc[train])
        proba = clf.predict_proba(X[test])
        losses += [
            log_loss(y[[i]], p[None], labels=clf.classes_)
            for i, p in zip(test, proba, strict=True)
        ]
    assert (report.n_samples, report.n_folds) == (140, 2)
    found = report.scores.set_index("model").loc["bottleneck", "log_loss"]
    assert found == pytest.approx(np.mean(losses))


def test_a_fitted_estimator_is_taken_as_it_is(rows, fitted, report):
    frozen = bottleneck_report(
        FrozenEstimator(fitted), *rows, cv=SPLIT, n_repeats=2, random_state=0
    )
    pd.testing.assert_frame_equal(frozen.scores, report.scores)
    assert frozen.verdicts == report.verdicts


def test_pipelines_are_fitted_whole(gaps):
    X, y, concepts = gaps
    scaled = X.copy()
    scaler = StandardScaler().fit(X[TRAIN])
    pipeline = make_pipeline(StandardScaler(), clone(CLF))
    found = bottleneck_report(pipeline, scaled, y, concepts, cv=SPLIT, random_state=0)
    expected = bottleneck_report(
        CLF, scaler.transform(X), y, concepts, cv=SPLIT, random_state=0
    )
    pd.testing.assert_frame_equal(found.scores, expected.scores)


def test_a_row_of_weight_zero_is_no_row(gaps):
    X, y, concepts = gaps
    weight = np.ones(200)
    weight[[3, 50, 130, 190]] = 0
    kept = np.flatnonzero(weight)
    n_train = np.sum(kept < 120)
    options = {"n_repeats": 1, "random_state": 0}
    found = bottleneck_report(
        CLF, X, y, concepts, cv=SPLIT, sample_weight=weight, **options
    )
    split = np.arange(n_train), np.arange(n_train, len(kept))
    expected = bottleneck_report(
        CLF, X[kept], y[kept], concepts.iloc[kept], cv=[split], **options
    )
    columns = ["accuracy", "log_loss"]
    np.testing.assert_allclose(found.scores[columns], expected.scores[columns])
    np.testing.assert_allclose(found.concepts["value"], expected.concepts["value"])


def test_rows_of_a_group_are_one_draw(gaps, fitted):
    X, y, concepts = gaps
    again = np.concatenate([TRAIN, np.repeat(TEST[:40], 4)])
    split = [(TRAIN, np.arange(120, len(again)))]
    widths = []
    for groups in (None, again):
        report = bottleneck_report(
            FrozenEstimator(fitted),
            *(X[again], y[again], concepts.iloc[again].reset_index(drop=True)),
            cv=split,
            groups=groups,
            n_repeats=1,
            random_state=0,
        )
        line = report.scores.set_index("model").loc["bottleneck"]
        widths.append(line["log_loss_high"] - line["log_loss_low"])
    # Four copies of each row are no more rows: intervals of rows are half as long.
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.15)


def test_groups_stay_in_one_fold():
    y, groups = np.tile(["a", "b"], 20), np.arange(40) // 4
    for cv in (3, GroupKFold(3)):
        for train, test in _splits(cv, y, groups, np.random.RandomState(0)):
            assert not set(groups[train]) & set(groups[test])


def test_the_same_seed_gives_the_same_report(rows, fitted, report):
    other = bottleneck_report(
        FrozenEstimator(fitted), *rows, cv=SPLIT, n_repeats=2, random_state=1
    )
    assert other.verdicts != report.verdicts


# --- What is known by construction ----------------------------------------------------


@pytest.mark.parametrize(
    "outside, dial",
    [("strength", 0.0), ("strength", 1.0), ("something else", 1.0)],
)
def test_no_verdict_is_wrong_at_the_ends_of_the_dial(outside, dial):
    said = {"coarseness": [], "leakage": []}
    for seed in range(2):
        parts = [make_vectors(250, dial, outside, (seed, k)) for k in (5, 6)]
        report = split_report(ConceptBottleneckClassifier(), *parts, seed)
        for name, answers in said.items():
            answers.append(report[name].answer)
    for name, answers in said.items():
        right = RIGHT.get((name, dial, outside))
        if right is not None:
            assert {"yes": "no", "no": "yes"}[right] not in answers
            assert right in answers


def test_missing_annotations_make_no_concept_coarse():
    parts = [list(make_vectors(300, 0.0, "strength", (0, k))) for k in (0, 1)]
    rng = np.random.default_rng(0)
    for part in parts:
        part[2] = part[2].mask(rng.random(part[2].shape) < 0.6)
    report = split_report(ConceptBottleneckClassifier(), *parts, 0)
    # Of all rows, the activations do tell what annotations would have told.
    assert report["coarseness"].answer != "yes"
    assert report["leakage"].answer != "yes"


def test_without_annotations_gold_concepts_are_unknown():
    X, y, concepts = make_concept_data(200, missing=0)
    name = concepts.columns[0]
    concepts.iloc[120:, 0] = None
    report = bottleneck_report(CLF, X, y, concepts, cv=SPLIT, random_state=0)
    gold = report.scores.set_index("model").loc["gold"]
    assert gold.isna().all()
    assert "gold concepts hold is unknown" in report["completeness"].words
    assert np.isnan(_estimate(report, "completeness", "gold", "share of nats")["value"])
    assert np.isfinite(
        _estimate(report, "completeness", "bottleneck", "share of nats")["value"]
    )
    assert report.concepts.set_index("concept").loc[name, "n_annotated"] == 0


def test_a_concept_of_noise_is_named(gaps):
    X, y, concepts = gaps
    noise = np.random.default_rng(1).integers(2, size=200)
    concepts = concepts.assign(noise=noise)
    report = bottleneck_report(CLF, X, y, concepts, cv=3, n_repeats=1, random_state=0)
    assert report["concepts"].answer != "yes"
    assert "'noise'" in report["concepts"].words


def test_few_rows_cannot_tell(rows):
    few = np.arange(120, 150)
    report = bottleneck_report(CLF, *rows, cv=[(TRAIN, few)], random_state=0)
    assert {verdict.answer for verdict in report.verdicts} == {"cannot tell"}


def test_rare_labels_have_no_leakage():
    X, y, concepts = make_concept_data(200, missing=0)
    y = y.astype(object)
    y[[0, 1, 130, 131]] = "rare"
    report = bottleneck_report(CLF, X, y, concepts, cv=SPLIT, random_state=0)
    assert np.isfinite(_estimate(report, "leakage", "soft")["value"])


def test_without_rows_to_read_leakage_from_there_is_none(gaps):
    report = bottleneck_report(CLF, *gaps, cv=SPLIT, random_state=0)
    assert np.isnan(_estimate(report, "leakage", "soft")["value"])
    assert report["leakage"].answer == report["coarseness"].answer == "cannot tell"
    assert "0 of 80 held-out rows are annotated in full" in report["leakage"].words


def test_a_bottleneck_of_logits_has_no_corrections(gaps):
    clf = clone(CLF).set_params(bottleneck="logit")
    report = bottleneck_report(clf, *gaps, cv=SPLIT, random_state=0)
    assert report.interventions.empty
    assert "interventions" not in [verdict.name for verdict in report.verdicts]
    scores = report.scores.set_index("model")["log_loss"]
    assert scores["bottleneck"] == scores["logit"] != scores["soft"]


def test_a_value_that_training_lacks_is_left_out(gaps):
    X, y, concepts = gaps
    odd = concepts.copy()
    odd.loc[TEST[:5], "food"] = "new"
    report = bottleneck_report(CLF, X, y, odd, cv=SPLIT, random_state=0)
    line = report.concepts.set_index("concept").loc["food"]
    assert line["n_annotated"] == concepts["food"].iloc[TEST[5:]].notna().sum()


# --- The result -----------------------------------------------------------------------


def test_the_result_says_what_it_is(report):
    assert isinstance(report, BottleneckReport)
    frame = report.to_frame()
    assert frame["name"].tolist() == [
        *("coarseness", "leakage", "completeness", "concepts"),
        *("calibration", "interventions", "deletion"),
    ]
    assert list(frame) == ["name", "question", "answer", "words"]
    begin = "<BottleneckReport on 80 held-out rows: coarseness cannot tell, leakage ca"
    assert repr(report).startswith(begin)
    assert "\n" not in repr(report)
    assert report["leakage"].words in str(report)
    with pytest.raises(KeyError, match="no verdict 'truth'; there are coarseness, lea"):
        report["truth"]


def test_names_of_concepts_are_escaped(gaps):
    X, y, concepts = gaps
    odd = "<script>alert(1)</script>"
    concepts = concepts.rename(columns={"food": odd})
    report = bottleneck_report(CLF, X, y, concepts, cv=SPLIT, random_state=0)
    html = report._repr_html_()
    assert odd not in html
    assert "&lt;script&gt;" in html
    assert report["leakage"].question in html


# --- Bad input ------------------------------------------------------------------------

LONG = np.zeros((200, 2, 2))


@pytest.mark.parametrize(
    "changes, error, match",
    [
        ({"estimator": LogisticRegression()}, TypeError, "must be a ConceptBottleneck"),
        ({"estimator": ConceptBottleneckClassifier}, TypeError, "pass an instance"),
        ({"concepts": None}, TypeError, "concepts must be a DataFrame.*the report is"),
        ({"y": ["a"] * 200}, ValueError, r"y has one label only, \['a'\]: there is n"),
        (
            {"sample_weight": np.arange(200) < 120, "cv": SPLIT},
            ValueError,
            "sample_weight is 0 in all held-out rows",
        ),
        ({"y": [0]}, ValueError, "y has 1 row, but X has 200"),
        ({"groups": [0]}, ValueError, "groups has 1 row, but X has 200"),
        ({"groups": LONG}, ValueError, "groups must have one dimension, got shape"),
        ({"groups": [None] * 200}, ValueError, "groups has no group in row 0"),
        ({"sample_weight": [-1] * 200}, ValueError, "Negative values in data"),
        ({"cv": "five"}, TypeError, "cv must be a number of folds.*got 'five'"),
        ({"cv": True}, TypeError, "cv must be a number of folds.*got True"),
        ({"cv": 1}, ValueError, "cv=1 must be from 2 to the number of rows of the rar"),
        ({"cv": 90}, ValueError, "cv=90 must be from 2 to .*, which has"),
        (
            {"cv": 5, "groups": np.arange(200) % 3},
            ValueError,
            "cv=5 must be from 2 .* and of groups, 3",
        ),
        ({"cv": []}, ValueError, "cv has no splits; give at least one"),
        ({"cv": [(TRAIN, [])]}, ValueError, "cv must be .*: a split has no rows"),
        ({"cv": [(TRAIN, [500])]}, ValueError, "positions must be from 0 to 199"),
        ({"cv": [(TRAIN, [0.5])]}, TypeError, "positions are whole numbers"),
        ({"cv": [(TRAIN, [5])]}, ValueError, "cv trains on row 5 and tests it in the"),
        (
            {"cv": ShuffleSplit(5, random_state=0)},
            ValueError,
            "cv tests row .* more than once",
        ),
        (
            {"estimator": FrozenEstimator(CLF), "cv": 2},
            ValueError,
            "cv gives 2 splits, but the estimator is frozen",
        ),
        ({"n_bootstraps": 5}, ValueError, "'n_bootstraps' parameter"),
        ({"n_repeats": 0}, ValueError, "'n_repeats' parameter"),
        ({"random_state": "a"}, ValueError, "'random_state' parameter"),
    ],
)
def test_messages(rows, changes, error, match):
    X, y, concepts = rows
    given = {"estimator": CLF, "X": X, "y": y, "concepts": concepts, **changes}
    with pytest.raises(error, match=f"(?s){match}"):
        bottleneck_report(**given)


def test_a_training_part_without_a_label(rows):
    X, y, concepts = rows
    y = np.where(np.arange(200) == 150, "rare", y)
    with pytest.raises(ValueError, match="split 1 of 1 has no row of the label 'rare'"):
        bottleneck_report(CLF, X, y, concepts, cv=SPLIT)


def test_a_training_part_that_cannot_be_fitted(rows):
    X, y, concepts = rows
    concepts = concepts.copy()
    concepts.loc[TRAIN, "food"] = None
    with pytest.raises(ValueError, match="training part of split 1 of 1: .*food"):
        bottleneck_report(CLF, X, y, concepts, cv=SPLIT)
