"""Reports on drift: what is planted is named, and what is not there is not."""

import datetime
import pickle
import warnings
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    DriftDisplay,
    drift_report,
)
from skclif._explain.drift.arguments import check_new_groups, check_train_groups
from skclif._explain.drift.carried import CarriedRows
from skclif._explain.drift.rows import NewRows
from skclif._inputs.training_rows import TrainingRows
from skclif.exceptions import ConstantConceptWarning, SuspectWarning
from skclif.numerics.bottleneck import fit_label
from skclif.numerics.targets import LabelTarget, evaluate

N, N_NEW = 500, 200
NAMES = ["food", "service", "noise"]
DIRECTIONS = np.random.default_rng(9).normal(size=(3, 6))
COLUMNS = ["part", "group", "concept", "statistic", "effect", "p_value", "q_value"]
COLUMNS += ["found", "n_rows", "uses", "reason"]


def make_rows(seed, n):
    """Return features, concepts of two, three and two values, and three labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    scores = X @ DIRECTIONS.T + rng.normal(size=(n, 3))
    concepts = pd.DataFrame(
        {
            "food": np.where(scores[:, 0] > 0, "good", "bad"),
            "service": np.array(["bad", "fair", "good"])[
                np.digitize(scores[:, 1], [-1, 1])
            ],
            "noise": np.where(scores[:, 2] > 1, "loud", "quiet"),
        }
    )
    told = 2 * (concepts["food"] == "good") + (concepts["service"] == "good") - 1.5
    y = np.digitize(told + rng.logistic(size=n), [-1, 1])
    return X, y, concepts


@pytest.fixture(scope="module")
def explainer():
    X, y, concepts = make_rows(0, N)
    clf = ConceptBottleneckClassifier()
    return ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)


def report_on(explainer, X, y=None, concepts=None, **arguments):
    arguments = {"n_permutations": 199, "random_state": 0, **arguments}
    return drift_report(explainer, X, y, concepts_new=concepts, **arguments)


def swapped(concepts, share=0.4, name="food"):
    """Return annotations of which a share says the other value."""
    other = {"good": "bad", "bad": "good"}
    chosen = np.random.default_rng(1).random(len(concepts)) < share
    changed = concepts[name].where(~chosen, concepts[name].map(other))
    return concepts.assign(**{name: changed})


def turned(y, concepts):
    """Return labels for which good food is bad."""
    rng = np.random.default_rng(2)
    told = 1.5 - 2 * (concepts["food"] == "good") + (concepts["service"] == "good")
    return np.digitize(told - 1 + rng.logistic(size=len(y)), [-1, 1])


# --- What is named --------------------------------------------------------------------


def test_without_drift_nothing_is_found(explainer):
    report = report_on(explainer, *make_rows(1, N_NEW))
    assert not len(report.findings)
    assert repr(report) == (
        "<DriftReport on 200 new rows against 500 training rows: no drift found>"
    )
    assert report.frame.columns.tolist() == COLUMNS
    assert len(report.frame) == 3 * 3 + 3  # and "all" twice, and "features"
    assert (report.frame["q_value"] >= report.frame["p_value"]).all()
    assert (report.frame["q_value"] > report.frame["p_value"]).mean() > 0.5
    assert report.rows().empty
    assert report.remedies().empty


def test_a_mix_of_texts_that_moved_is_named_by_concept(explainer):
    X, y, concepts = make_rows(1, 4 * N_NEW)
    chosen = np.argsort(
        -(X @ DIRECTIONS[0]) + 3 * np.random.default_rng(6).random(len(X))
    )[:N_NEW]
    report = report_on(explainer, X[chosen], y[chosen], concepts.iloc[chosen])
    first = report.findings.iloc[0]
    assert (first["part"], first["concept"]) == ("inputs", "food")
    assert 0.6 < first["effect"] <= 1
    assert set(report.findings["part"]) == {"inputs"}
    # What is said of all concepts comes after what is said of one.
    assert report.findings["concept"].iloc[-1] in ("all", "features")


def test_a_stale_head_is_named_before_what_follows_from_it(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    report = report_on(explainer, X, y, swapped(concepts))
    first = report.findings.iloc[0]
    assert (first["part"], first["concept"]) == ("concept", "food")
    assert first["effect"] > 0.02
    assert first["uses"] == "annotations"
    assert "concept head is stale: 'food'" in repr(report)


def test_another_meaning_is_named_by_annotations_and_by_predictions(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    y = turned(y, concepts)
    for given, uses in ((concepts, "annotations"), (None, "predictions")):
        first = report_on(explainer, X, y, given).findings.iloc[0]
        assert (first["part"], first["concept"]) == ("meaning", "food")
        assert first["uses"] == uses


def test_labels_that_are_more_frequent_are_no_other_meaning(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    y = np.where(np.random.default_rng(3).random(N_NEW) < 0.4, 2, y)
    report = report_on(explainer, X, y, concepts)
    found = report.findings[["part", "concept"]]
    assert found.to_numpy().tolist() == [["meaning", "all"]]
    assert repr(report).endswith(": labels are more or less frequent>")


def test_a_head_that_is_sure_and_right_is_not_stale():
    """Its residuals are rounding errors, which move with the inputs."""
    X, y, concepts = make_rows(0, 400)
    sure = np.c_[X, 60 * (concepts["food"] == "good") - 30]
    clf = ConceptBottleneckClassifier(concept_C=100.0)
    explainer = ConceptInfluenceExplainer(clf)
    explainer.fit(sure[:250], y[:250], concepts=concepts[:250])
    new = sure[250:] * np.r_[np.ones(6), 0.8]
    report = report_on(explainer, new, y[250:], concepts[250:])
    line = report.frame.query("part == 'concept' and concept == 'food'").iloc[0]
    assert line["statistic"] < 1e-3
    assert line["p_value"] < 0.02  # it is surprising, and it is nothing
    assert not line["found"]


def test_only_the_group_that_drifted_is_named(explainer):
    X, y, concepts = make_rows(1, 2 * N_NEW)
    old, new = slice(0, N_NEW), slice(N_NEW, None)
    mixed = pd.concat([concepts.iloc[old], swapped(concepts.iloc[new])])
    groups = np.repeat(["before", "since"], N_NEW)
    report = report_on(explainer, X, y, mixed, groups=groups)
    assert report.groups == ["before", "since"]
    assert set(report.findings["group"]) == {"since"}
    assert "in 2 groups" in repr(report)
    assert "'food' in 'since'" in repr(report)


def test_what_is_not_given_is_not_tested(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    assert set(report_on(explainer, X).frame["part"]) == {"inputs"}
    parts = set(report_on(explainer, X, None, concepts).frame["part"])
    assert parts == {"inputs", "concept"}
    with pytest.raises(ValueError, match="was given no y_new. Pass the labels"):
        report_on(explainer, X + 1).remedies()


def test_a_report_is_repeated_by_its_seed(explainer):
    rows = make_rows(1, N_NEW)
    first, again = report_on(explainer, *rows), report_on(explainer, *rows)
    pd.testing.assert_frame_equal(first.frame, again.frame)
    other = report_on(explainer, *rows, random_state=1)
    assert not other.frame["p_value"].equals(first.frame["p_value"])
    pd.testing.assert_frame_equal(first.to_frame(), first.frame)


# --- Rows that are not as usual -------------------------------------------------------


def line_of(report, part, concept):
    frame = report.frame
    return frame[(frame["part"] == part) & (frame["concept"] == concept)].iloc[0]


def test_a_group_of_few_rows_is_not_tested_and_says_so(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    groups = np.where(np.arange(N_NEW) < 20, "few", "many")
    frame = report_on(explainer, X, y, concepts, groups=groups).frame
    few, many = frame[frame["group"] == "few"], frame[frame["group"] == "many"]
    assert set(few["reason"]) == {"fewer than 30 rows"}
    assert few["q_value"].isna().all()
    assert (many["reason"] == "").all()
    assert sorted(few["part"] + few["concept"]) == sorted(
        many["part"] + many["concept"]
    )
    report = report_on(explainer, X[:20], y[:20], concepts[:20])
    assert not len(report.findings)
    assert ": nothing could be tested: fewer than 30 rows>" in str(report)
    assert "12 tests could not be made" in report._repr_html_()


def test_a_report_without_tests_does_not_say_that_there_is_no_drift(explainer):
    X = make_rows(3, N_NEW)[0]
    few = report_on(explainer, X[:5])
    assert not len(few.findings)
    assert few.plot().ax_.get_title() == "nothing could be tested"
    plt.close("all")
    one = report_on(explainer, X, groups=["a"] * 5 + ["b"] * (N_NEW - 5))
    assert repr(one).endswith(": no drift found; 1 group could not be tested>")


def test_one_label_alone_has_no_meaning_to_test(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    report = report_on(explainer, X, np.full(N_NEW, 2), concepts)
    meaning = report.frame[report.frame["part"] == "meaning"]
    assert set(meaning["reason"]) == {"all labels of the group are the same"}


def test_few_annotations_and_single_values_say_why_there_is_no_test(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    concepts.loc[20:, "food"] = None
    concepts["noise"] = "quiet"
    report = report_on(explainer, X, y, concepts)
    food = line_of(report, "concept", "food")
    assert food["reason"] == "fewer than 30 annotated rows"
    assert food["n_rows"] == 20
    # Annotated in training and hardly here: predictions are compared.
    assert line_of(report, "meaning", "food")["uses"] == "predictions"
    noise = line_of(report, "meaning", "noise")
    assert noise["reason"] == "one value in the group"
    assert line_of(report, "concept", "noise")["found"]  # it is always quiet now


def test_ticks_with_gaps_do_not_make_a_head_stale(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    ticked = concepts.assign(food=concepts["food"].where(concepts["food"] == "good"))
    report = report_on(explainer, X, y, ticked)
    line = line_of(report, "concept", "food")
    assert line["reason"] == "one value where annotated: do gaps mean another?"
    assert not line["found"]
    # All rows annotated with one value can be judged.
    always = report_on(explainer, X, y, concepts.assign(food="good"))
    assert line_of(always, "concept", "food")["found"]


def test_missing_annotations_are_permuted_among_those_that_are_there():
    X, y, concepts = make_rows(0, N + N_NEW)
    rng = np.random.default_rng(4)
    holes = concepts.astype(object).mask(rng.random(concepts.shape) < 0.4)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X[:N], y[:N], concepts=holes[:N])
    report = report_on(explainer, X[N:], y[N:], holes[N:])
    assert not len(report.findings)
    assert set(report.frame.loc[report.frame["part"] == "meaning", "uses"]) == {
        "annotations",
        "labels",
    }
    stale = report_on(explainer, X[N:], y[N:], swapped(holes[N:]))
    assert stale.findings.iloc[0][["part", "concept"]].tolist() == ["concept", "food"]


def test_numbers_an_order_of_labels_and_a_residual_are_tested_too():
    X, y, concepts = make_rows(0, N + N_NEW)
    amount = X @ DIRECTIONS[0] + np.random.default_rng(5).normal(size=len(X))
    concepts = concepts.assign(food=amount)
    explainer = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(label_head="ordinal", residual_C=0.01)
    )
    explainer.fit(X[:N], y[:N], concepts=concepts[:N])
    new = X[N:], y[N:]
    assert not len(report_on(explainer, *new, concepts[N:]).findings)
    moved = concepts[N:].assign(food=amount[N:] + 1)
    report = report_on(explainer, *new, moved)
    assert report.findings.iloc[0][["part", "concept"]].tolist() == ["concept", "food"]
    remedies = report.remedies(n_bootstraps=100, random_state=0)
    own = remedies[remedies["measure"] == "loss of food"].iloc[0]
    assert own["verdict"] == "helps"


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    X, y, concepts = make_rows(0, N)
    X_new, y_new, concepts_new = make_rows(1, N_NEW)
    kept = np.arange(N) >= 60
    X[~kept] += 5
    frames = []
    for rows in (slice(None), kept):
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        explainer.fit(X[rows], y[rows], kept[rows] * 1.0, concepts=concepts[rows])
        report = report_on(explainer, X_new, y_new, concepts_new)
        frames.append(report.frame)
        assert report.n_training == N - 60
    pd.testing.assert_frame_equal(*frames, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*constant")
def test_a_second_value_of_a_constant_is_a_stale_head():
    X, y, concepts = make_rows(0, N)
    X_new, y_new, concepts_new = make_rows(1, N_NEW)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts.assign(noise="quiet"))
    same = report_on(explainer, X_new, y_new, concepts_new.assign(noise="quiet"))
    assert line_of(same, "inputs", "noise")["reason"] == "the same in all rows"
    said = "one value in training, and no other in the new rows"
    assert line_of(same, "concept", "noise")["reason"] == said
    assert line_of(same, "meaning", "noise")["reason"] == "one value in training"
    found = report_on(explainer, X_new, y_new, concepts_new)
    assert line_of(found, "concept", "noise")["found"]
    assert found.rows().query("concept == 'noise'").empty
    remedies = found.remedies(n_bootstraps=100, random_state=0)
    (reason,) = remedies.query("remedy == 'recalibrate' and of == 'noise'")["reason"]
    assert reason.startswith("one value in training")


@pytest.mark.filterwarnings("ignore:.*constant")
def test_constants_alone_leave_the_features_and_the_labels_to_test():
    X, y, concepts = make_rows(0, N)
    X_new, y_new, _ = make_rows(1, N_NEW)
    concepts = pd.DataFrame({"noise": ["quiet"] * N, "price": [1.5] * N})
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    report = report_on(explainer, X_new, np.maximum(y_new, 1), concepts[:N_NEW])
    tested = report.frame[report.frame["reason"] == ""]
    assert {"features", "all"} <= set(tested["concept"])
    assert line_of(report, "meaning", "all")["found"]
    assert line_of(report, "meaning", "price")["reason"] == "one value in training"


def test_sparse_features_give_the_same_report(explainer):
    X, y, concepts = make_rows(0, N)
    few = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    few.fit(sparse.csr_array(X), y, concepts=concepts)
    X_new, y_new, concepts_new = make_rows(1, N_NEW)
    wanted = report_on(explainer, X_new, y_new, concepts_new).frame
    found = report_on(few, sparse.csr_array(X_new), y_new, concepts_new).frame
    pd.testing.assert_frame_equal(found, wanted, rtol=1e-5)


def test_without_factors_heads_are_fitted_without_folds_of_rows():
    from sklearn import config_context

    X, y, concepts = make_rows(0, N)
    X_new, y_new, concepts_new = make_rows(1, N_NEW)
    with config_context(working_memory=0):
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
        explainer.fit(X, y, concepts=concepts)
        assert not len(report_on(explainer, X_new, y_new, concepts_new).findings)
        stale = report_on(explainer, X_new, y_new, swapped(concepts_new))
        assert stale.findings.iloc[0]["concept"] == "food"
        assert set(stale.rows(2)["concept"]) >= {"food"}


# --- Groups and times -----------------------------------------------------------------


def dates(n, days):
    start = pd.Timestamp("2023-01-01")
    return pd.Series(
        [start + pd.Timedelta(days=int(d)) for d in np.linspace(0, days, n)]
    )


def test_dates_are_cut_into_periods_with_enough_rows():
    for days, first, n in ((58, "2023-01", 2), (180, "2023 Q1", 2), (700, "2023", 2)):
        groups, unit = check_new_groups(None, dates(260, days), 260)
        assert groups.names[0] == first
        assert len(groups.names) == n
        written = dates(260, days).dt.strftime("%Y-%m-%d")
        again, _ = check_new_groups(None, written, 260)
        assert again.names == groups.names
        aware, _ = check_new_groups(None, dates(260, days).dt.tz_localize("UTC"), 260)
        np.testing.assert_array_equal(aware.codes, groups.codes)
        (training,) = check_train_groups(None, dates(30, 59), 30, unit)
        assert training.names[0] == first


@pytest.mark.parametrize(
    "dates",
    [
        pd.date_range("2024-01-01", periods=2, freq="MS", tz="CET"),
        pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01"])).array,
        ["2024-01-01T00:00:03.5+01:00", "2024-02-01T00:00:00Z"],
        [pd.Timestamp("2024-01-01", tz="CET"), pd.Timestamp("2024-02-01")],
        pl.Series([datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)]),
    ],
    ids=["zone", "array", "zones", "one zone", "polars"],
)
def test_dates_are_those_of_the_clock_that_wrote_them(dates):
    groups, unit = check_new_groups(None, pd.Series(dates).repeat(100), 200)
    assert (groups.names, unit) == (["2024-01", "2024-02"], "M")
    assert check_new_groups(None, dates, 2)[0].names == ["2024"]


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (pd.Categorical(["new", "old"], ["old", "new", "x"], ordered=True), "old new"),
        (pd.Categorical(["old", "new"]), "new old"),
        (pd.Index(["b", "a"]), "a b"),
        (pl.Series(["b", "a"]), "a b"),
        (pa.array(["b", "a"]), "a b"),
    ],
)
def test_groups_come_in_every_kind_of_column(groups, names):
    assert check_new_groups(groups, None, 2)[0].names == names.split()


def test_periods_of_pandas_have_their_names():
    quarters = pd.period_range("2023Q4", periods=2, freq="Q")
    assert check_new_groups(None, quarters, 2)[0].names == ["2023Q4", "2024Q1"]


def test_other_times_are_periods_as_they_are():
    groups, unit = check_new_groups(None, ["2021 Q3", "2021 Q1"] * 5, 10)
    assert groups.names == ["2021 Q1", "2021 Q3"]
    assert unit is None
    years, _ = check_new_groups(None, [2022, 2021], 2)
    assert years.names == [2021, 2022]


# --- The rows behind, and remedies ----------------------------------------------------


@pytest.fixture(scope="module")
def noisy():
    """Return an explainer of rows of which one source swaps food, and its new rows."""
    X, y, concepts = make_rows(0, N)
    wrong = np.arange(N) < 120
    concepts = pd.concat([swapped(concepts[:120], 0.9), concepts[120:]])
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    sources = np.where(wrong, "careless", "careful")
    times = np.where(wrong, "2020", "2021")
    return explainer, make_rows(1, N_NEW), sources, times


@pytest.fixture(scope="module")
def stale(noisy):
    explainer, (X, y, concepts), sources, times = noisy
    return report_on(explainer, X, y, concepts, train_groups=sources, train_time=times)


def test_rows_that_carry_a_finding_are_named_with_group_and_time(stale):
    assert stale.findings.iloc[0][["part", "concept"]].tolist() == ["concept", "food"]
    rows = stale.rows(20)
    rows = rows[(rows["part"] == "concept") & (rows["concept"] == "food")]
    assert len(rows) == 20
    assert (rows["path"] == "food").all()
    assert (rows["influence"].diff().dropna() <= 0).all()
    assert (rows["train_group"] == "careless").mean() > 0.9
    assert (rows["train_time"] == "2020").equals(rows["train_group"] == "careless")
    assert (rows["row"] < 120).mean() > 0.9


def test_influence_behind_a_stale_head_is_that_of_retraining(noisy):
    explainer, (X, y, concepts), *_ = noisy
    report = report_on(explainer, X, y, concepts)
    finding = report.findings.iloc[0].to_dict()
    found = report._behind.influence(finding)["food"]
    row = int(report.rows(1)["row"].iloc[0])
    without = explainer.edit(concepts={"food": {row: None}}).estimator
    losses = []
    for clf in (explainer.estimator_, without):
        p = clf.predict_concept_proba(X)["food"]
        own = (concepts["food"] == "good").to_numpy().astype(int)
        losses.append(-np.log(p[np.arange(N_NEW), own]).mean())
    np.testing.assert_allclose(found[row], losses[0] - losses[1], rtol=0.1)


def test_influence_on_meaning_is_what_its_own_weights_and_head_do(noisy):
    explainer, (X, y, concepts), *_ = noisy
    groups, _ = check_new_groups(None, None, N_NEW)
    new = NewRows(X, y, np.full((N_NEW, 3), np.nan), {})
    finding = {"part": "meaning", "group": groups.names[0], "concept": "service"}
    found = CarriedRows(explainer, new, groups, []).influence(finding)
    assert list(found) == ["label", "service"]
    heads, rows = explainer._heads(), TrainingRows(**explainer._training)
    data, fitted = rows.data(), heads.tensors()
    own = fitted.concepts.activations[1]
    features, labels = torch.from_numpy(X), torch.from_numpy(y)

    def loss(label_parameters):
        """Return the loss if only the weights of the concept are others."""
        mixed = fitted.label_parameters.clone()
        mixed[:, own] = label_parameters[:, own]
        model = replace(fitted, label_parameters=mixed)
        target = LabelTarget("loss", labels)
        return float(evaluate(target, model, features).mean())

    for row in (int(found["label"].argmax()), int(found["label"].argmin())):
        weights = data.label_weights.clone()
        weights[row] = 0
        without, _ = fit_label(
            fitted,
            replace(data, label_weights=weights),
            penalty=1 / heads.C,
            tol=1e-8,
            max_iter=200,
        )
        change = loss(fitted.label_parameters) - loss(without.label_parameters)
        np.testing.assert_allclose(found["label"][row], change, rtol=0.15)


def test_remedies_are_judged_by_rows_that_did_not_choose_them(stale):
    remedies = stale.remedies(n_bootstraps=200, random_state=0)
    assert remedies.columns.tolist() == [
        *("group", "remedy", "of", "n_changed", "measure", "chosen", "change"),
        *("low", "high", "verdict", "n_rows", "reason"),
    ]
    assert remedies["n_rows"].le(N_NEW // 2).all()
    tried = remedies[remedies["reason"] == ""]
    assert tried["verdict"].isin(["helps", "hurts", "not shown to help"]).all()
    assert (tried["chosen"] != tried["change"]).all()
    by_ends = np.select([tried["high"] < 0, tried["low"] > 0], ["helps", "hurts"], "")
    np.testing.assert_array_equal(
        by_ends, tried["verdict"].replace("not shown to help", "")
    )
    done = set(tried["remedy"])
    assert {"offset", "recalibrate", "drop train_group", "weight train_group"} <= done
    (dropped,) = tried.loc[tried["remedy"] == "drop train_group", "of"]
    assert dropped == "careless"
    again = stale.remedies(n_bootstraps=200, random_state=0)
    pd.testing.assert_frame_equal(remedies, again)


def test_a_group_that_alone_has_a_label_cannot_be_dropped(explainer):
    X, y, concepts = make_rows(0, N)
    new_X, new_y, new_concepts = make_rows(1, N_NEW)
    sources = np.where(y == 0, "angry", "others")
    report = report_on(
        explainer, new_X, np.maximum(new_y, 1), new_concepts, train_groups=sources
    )
    remedies = report.remedies(n_bootstraps=100, random_state=0)
    (reason,) = remedies.loc[remedies["remedy"] == "drop train_group", "reason"]
    assert reason == "a label would be left without training rows"


def test_trying_remedies_warns_of_no_edit_that_the_user_did_not_make():
    X, y, concepts = make_rows(0, N)
    turned_y = np.r_[turned(y, concepts)[:250], y[250:]]
    concepts = concepts.assign(noise=np.where(np.arange(N) < 10, "loud", "quiet"))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, turned_y, concepts=concepts)
    X_new, y_new, _ = make_rows(1, N_NEW)
    halves = np.where(np.arange(N) < 250, "first", "second")
    report = report_on(explainer, X_new, y_new, train_groups=halves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SuspectWarning)  # of its random labels
        warnings.simplefilter("error", ConstantConceptWarning)
        remedies = report.remedies(n_bootstraps=100, random_state=0)
    dropped = remedies.query("remedy == 'drop train_group'")
    assert (dropped["of"] == "first").all()
    assert (dropped["reason"] == "").any()


def test_an_offset_mends_labels_that_are_more_frequent(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    y = np.where(np.random.default_rng(3).random(N_NEW) < 0.7, 2, y)
    remedies = report_on(explainer, X, y, concepts).remedies(
        n_bootstraps=100, random_state=0
    )
    assert remedies.iloc[0][["remedy", "verdict"]].tolist() == ["offset", "helps"]


def test_own_weights_mend_a_meaning_that_changed(explainer):
    X, y, concepts = make_rows(1, N_NEW)
    report = report_on(explainer, X, turned(y, concepts), concepts)
    remedies = report.remedies(n_bootstraps=100, random_state=0)
    own = remedies[remedies["remedy"] == "own weights"].iloc[0]
    assert own[["of", "verdict"]].tolist() == ["food", "helps"]
    offset = remedies[remedies["remedy"] == "offset"].iloc[0]
    assert own["change"] < offset["change"] - 0.1


def test_only_values_that_are_probably_wrong_are_relabelled(stale, noisy):
    explainer = noisy[0]
    remedies = stale.remedies(n_bootstraps=100, random_state=0)
    line = remedies[(remedies["remedy"] == "relabel") & (remedies["of"] == "food")]
    wrong = explainer.suspect_labels(which="food")["probability_wrong"] > 0.5
    assert 0 <= line["n_changed"].iloc[0] <= min(wrong.sum(), 0.05 * N)


def test_a_group_of_few_rows_has_no_remedies(explainer):
    X, y, concepts = make_rows(1, 36)
    report = report_on(explainer, X + 2, y, concepts)
    remedies = report.remedies()
    assert len(report.findings)
    assert "fewer than 40 rows, of which half choose" in remedies["reason"].iloc[0]


def test_a_report_can_be_pickled_with_what_is_behind_it(stale):
    said = pickle.dumps(stale)
    assert b"skclif._explain" not in said
    again = pickle.loads(said)
    pd.testing.assert_frame_equal(again.rows(3), stale.rows(3))


# --- Drawings -------------------------------------------------------------------------


def test_bars_are_as_long_as_findings_are_certain(stale):
    display = stale.plot()
    best = stale.frame.query("part == 'concept' and concept == 'food'")["q_value"].min()
    longest = max(bar.get_width() for bar in display.bars_["concept"])
    np.testing.assert_allclose(longest, -np.log10(best))
    (line,) = [one for one in display.ax_.lines if one.get_linestyle() == "--"]
    np.testing.assert_allclose(line.get_xdata()[0], -np.log10(stale.alpha))
    ax = plt.figure().subplots()
    assert DriftDisplay(stale).plot(ax=ax).ax_ is ax
    plt.close("all")
    with pytest.raises(
        TypeError, match="report of DriftDisplay must be what drift_rep"
    ):
        DriftDisplay("report")


# --- Wrong arguments ------------------------------------------------------------------

WRONG = {
    "explainer": (
        "model",
        TypeError,
        "explainer must be a fitted ConceptInfluenceExpl",
    ),
    "n_permutations": (50, ValueError, "n_permutations=50 must be 99 or more"),
    "alpha": (2, ValueError, "alpha=2 must be a number between 0 and 1"),
    "y_new": ([5] * N_NEW, ValueError, "y_new has the class 5, which was not seen"),
    "concepts_new": (
        [["good", "bad", "deaf"]] * N_NEW,
        ValueError,
        "concepts_new must be annotations .*: concepts has the value 'deaf' for conce",
    ),
    "concepts_new, short": (
        [["good", "bad", "loud"]] * 7,
        ValueError,
        "concepts_new has 7 rows, but X_new has 200",
    ),
    "groups, table": (
        np.ones((N_NEW, 2)),
        ValueError,
        "groups must be one value for each row of X_new, in a list, .* shape .200, 2",
    ),
    "groups, one": ("a", ValueError, "groups must be one value for .*, got 'a'"),
    "groups": (["a"] * 7, ValueError, "groups has 7 rows, but X_new has 200"),
    "time, mixed": (
        ["2024-01-01", "soon"] * (N_NEW // 2),
        ValueError,
        "time has dates, and 'soon' in row 1, which is none",
    ),
    "time": (
        [None] * N_NEW,
        ValueError,
        "time has no value in row 0.*Leave these rows",
    ),
    "time, unreal": (
        ["2024-01-01", "2024-02-31"] * (N_NEW // 2),
        ValueError,
        "time has dates, and '2024-02-31' in row 1, which is none",
    ),
    "time, slashes": (
        ["01/02/2024"] * N_NEW,
        ValueError,
        "time has '01/02/2024' in row 0, which may be a date, with the day or the mon",
    ),
    "train_groups": (
        ["a"],
        ValueError,
        "train_groups has 1 row, but the training data",
    ),
    "train_time": ([[1, 2]] * N, ValueError, "train_time must be one value for each"),
    "random_state": ("seed", ValueError, "cannot be used to seed"),
}


@pytest.mark.parametrize("argument", WRONG)
def test_wrong_arguments_are_named(explainer, argument):
    value, kind, message = WRONG[argument]
    X, y, concepts = make_rows(1, N_NEW)
    given = {"explainer": explainer, "X_new": X, "y_new": y}
    given[argument.split(",")[0]] = value
    given = {"concepts_new": concepts, **given}
    with pytest.raises(kind, match=message):
        drift_report(**given)


def test_a_level_that_permutations_cannot_reach_says_how_many_it_takes(explainer):
    with pytest.raises(ValueError, match="use at least n_permutations=999"):
        report_on(explainer, make_rows(1, N_NEW)[0], alpha=0.001)


def test_groups_and_time_exclude_each_other(explainer):
    X = make_rows(1, N_NEW)[0]
    with pytest.raises(ValueError, match="groups and time exclude each other"):
        report_on(explainer, X, groups=["a"] * N_NEW, time=["b"] * N_NEW)
    with pytest.raises(TypeError, match="groups must be values that can be sorted"):
        report_on(explainer, X, groups=[1, "a"] * (N_NEW // 2))


def test_a_model_without_concepts_is_refused():
    X, y, _ = make_rows(0, 80)
    for model in (LogisticRegression(), ConceptBottleneckClassifier()):
        explainer = ConceptInfluenceExplainer(model).fit(X, y)
        with pytest.raises(TypeError, match="explainer has a model without concepts"):
            drift_report(explainer, X)


def test_a_concept_named_as_a_test_of_no_concept_is_refused():
    X, y, concepts = make_rows(0, 80)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts.rename(columns={"noise": "features"}))
    with pytest.raises(ValueError, match="explainer has a concept named 'features'"):
        drift_report(explainer, X)


@pytest.mark.parametrize(
    ("ask", "kind", "message"),
    [
        (lambda r: r.rows(0), ValueError, "n_rows=0 must be 1 or more"),
        (lambda r: r.rows("all"), TypeError, "n_rows must be a whole number"),
        (lambda r: r.remedies(n_bootstraps=1), ValueError, "must be 100 or more"),
        (
            lambda r: r.remedies(random_state="a"),
            TypeError,
            "random_state must be a wh",
        ),
    ],
)
def test_wrong_questions_to_a_report_are_named(stale, ask, kind, message):
    with pytest.raises(kind, match=message):
        ask(stale)
