"""Which labels and annotations may be wrong."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._models.fitted import FittedHeads
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.suspects import LeftOut, judge, leave_out

from ..data import make_concept_data

N = 120
COLUMNS = ["row", "path", "current", "proposed", "loss", "margin"]
COLUMNS += ["self_influence", "probability_wrong", "probability_proposed", "rank"]


@pytest.fixture(scope="module", params=["mixed", "sequential", "independent"])
def training(request):
    return request.param


@pytest.fixture(scope="module")
def data():
    X, y, concepts = make_concept_data(N)
    score = (X[:, 3] + 0.3 * np.random.default_rng(1).normal(size=N)).round(3)
    return X, y, concepts.assign(score=np.where(np.arange(N) % 7, score, np.nan))


@pytest.fixture(scope="module")
def explainer(training, data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training=training, class_weight="balanced")
    return ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)


@pytest.fixture(scope="module")
def suspects(explainer):
    return explainer.suspect_labels()


def by_row(frame, path):
    return frame[frame["path"] == path].set_index("row").sort_index()


# --- Leaving out ----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["food", "quiet", "price"])
def test_losses_are_those_of_heads_fitted_without_the_annotation(path, data, suspects):
    X, _, concepts = data
    lines, given = by_row(suspects, path), concepts[path].notna().to_numpy()
    values = concepts[path].to_numpy()
    np.testing.assert_array_equal(lines.index, np.flatnonzero(given))
    losses, margins, effects = [], [], []
    whole = LogisticRegression(tol=1e-10, max_iter=1000)
    whole.fit(X[given], values[given].tolist())
    for row in lines.index[:25]:
        kept = given & (np.arange(N) != row)
        clf = LogisticRegression(tol=1e-10, max_iter=1000)
        clf.fit(X[kept], values[kept].tolist())
        proba = clf.predict_proba(X[[row]])[0]
        own = clf.classes_.tolist().index(values[row])
        losses.append(-np.log(proba[own]))
        margins.append(proba[own] - np.delete(proba, own).max())
        effects.append(-whole.predict_log_proba(X[[row]])[0, own] - losses[-1])
    # One Newton step: the loss of a left-out row is right to some hundredths.
    np.testing.assert_allclose(lines["loss"][:25], losses, rtol=0.05, atol=0.005)
    np.testing.assert_allclose(lines["margin"][:25], margins, atol=0.02)
    np.testing.assert_allclose(
        lines["self_influence"][:25], effects, rtol=0.25, atol=0.005
    )


def test_losses_of_labels_are_those_of_the_label_head_without_the_label(
    explainer, data, suspects
):
    X, y, _ = data
    model, training_data = explainer.estimator_, explainer._solved_model().data
    rows = FittedHeads.of(model).tensors().label_rows(training_data)
    inputs, weights = rows.activations.numpy(), rows.weights.numpy()
    labels = np.tile(y, rows.n_copies)
    lines = by_row(suspects, "label")
    losses = []
    for row in range(25):
        kept = np.arange(len(inputs)) % N != row  # all copies go
        clf = LogisticRegression(tol=1e-10, max_iter=1000)
        clf.fit(inputs[kept], labels[kept], sample_weight=weights[kept])
        own = clf.classes_.tolist().index(y[row])
        # Predicted activations come first, if the label head was trained on them.
        losses.append(-clf.predict_log_proba(inputs[[row]])[0, own])
    np.testing.assert_allclose(lines["loss"][:25], losses, rtol=0.05, atol=0.005)


def test_continuous_concepts_are_left_out_exactly(data, suspects):
    X, _, concepts = data
    lines, given = by_row(suspects, "score"), concepts["score"].notna().to_numpy()
    values = concepts["score"].to_numpy()
    np.testing.assert_array_equal(lines.index, np.flatnonzero(given))
    predicted = []
    for row in lines.index:
        kept = given & (np.arange(N) != row)
        predicted.append(Ridge(1.0).fit(X[kept], values[kept]).predict(X[[row]])[0])
    np.testing.assert_allclose(lines["proposed"].astype(float), predicted)
    left_out = values[given] - predicted
    np.testing.assert_allclose(lines["loss"], left_out**2 / 2)
    whole = values[given] - Ridge(1.0).fit(X[given], values[given]).predict(X[given])
    np.testing.assert_allclose(lines["self_influence"], (whole**2 - left_out**2) / 2)
    squares = whole * left_out  # e^2 / (1 - leverage)
    scale = np.sqrt((squares.sum() - squares) / (given.sum() - 1))
    np.testing.assert_allclose(lines["margin"], -np.sqrt(squares) / scale)


def test_a_number_far_from_its_prediction_is_suspect_and_others_are_not(data):
    X, y, concepts = data
    row = int(np.flatnonzero(concepts["score"].notna())[11])
    concepts = concepts.copy()
    concepts.loc[row, "score"] += 4.0
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    found = explainer.fit(X, y, concepts=concepts).suspect_labels("score")
    assert found["row"][0] == row
    assert found["probability_wrong"][0] > 0.9
    assert (found["probability_wrong"][1:] < 0.5).all()


def test_results_do_not_depend_on_blocks(explainer):
    solved = explainer._solved_model()
    whole = leave_out(solved.bottleneck, solved.data, solved.factors)
    parts = leave_out(solved.bottleneck, solved.data, solved.factors, block_rows=7)
    for first, second in zip(whole, parts, strict=True):
        torch.testing.assert_close(first.without, second.without)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_logistic_regression_has_labels_only(fit_intercept, data):
    X, y, _ = data
    clf = LogisticRegression(fit_intercept=fit_intercept)
    found = ConceptInfluenceExplainer(clf).fit(X, y).suspect_labels()
    assert set(found["path"]) == {"label"}
    lines = by_row(found, "label")
    for row in range(10):
        kept = np.arange(N) != row
        again = LogisticRegression(
            fit_intercept=fit_intercept, tol=1e-10, max_iter=1000
        ).fit(X[kept], y[kept])
        own = again.classes_.tolist().index(y[row])
        loss = -again.predict_log_proba(X[[row]])[0, own]
        assert lines["loss"][row] == pytest.approx(loss, rel=0.05, abs=0.005)


# --- The frame ------------------------------------------------------------------------


def test_the_most_probable_of_a_path_come_first(suspects):
    assert list(suspects.columns) == COLUMNS
    for _, lines in suspects.groupby("path"):
        assert (lines["probability_wrong"].diff()[1:] <= 0).all()
    assert suspects["rank"].tolist() == list(range(1, len(suspects) + 1))
    assert suspects.index.tolist() == list(range(len(suspects)))
    assert suspects["probability_wrong"].between(0, 1).all()
    assert (suspects["self_influence"] <= 1e-12).all()


def test_every_path_is_read_at_the_pace_of_its_expected_errors(suspects):
    lines = suspects.groupby("path")["probability_wrong"]
    expected, n_terms = lines.sum(), lines.count()
    categorical = ["food", "quiet", "price"]
    rate = expected[categorical].sum() / n_terms[categorical].sum()
    more = min(4 * expected["label"], rate * n_terms["label"])
    expected["label"] = max(expected["label"], more)
    read = dict.fromkeys(expected.index, 0)
    for path in suspects["path"]:
        # The path whose next line is furthest behind its share, as seats are given.
        turns = {p: (n + 0.5) / expected[p] for p, n in read.items() if n < n_terms[p]}
        assert turns[path] == pytest.approx(min(turns.values()))
        read[path] += 1


@pytest.mark.parametrize("rate", [0.3, 0.03])
def test_labels_get_up_to_four_times_their_lines_and_no_more_than_annotations(rate):
    n, rng = 500, np.random.default_rng(0)
    X = rng.normal(size=(n, 4))
    seen = X[:, :2] > 0
    wrong = rng.random((n, 2)) < rate
    concepts = pd.DataFrame(np.where(seen ^ wrong, "yes", "no"), columns=["a", "b"])
    y = np.where(rng.random(n) < 0.1, rng.integers(0, 3, n), seen.sum(axis=1))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    found = explainer.fit(X, y, concepts=concepts).suspect_labels()
    expected = found.groupby("path")["probability_wrong"].sum()
    own, annotations = expected["label"], expected[["a", "b"]].sum()
    if rate == 0.3:
        assert 4 * own < annotations / 2
        share = 4 * own / (4 * own + annotations)
    else:
        assert own > annotations / 2
        share = own / (own + annotations)
    shares = (found["path"] == "label").expanding().mean()
    np.testing.assert_allclose(shares[50:150], share, atol=0.015)


def test_the_most_probable_of_all_paths_come_first_on_request(explainer, suspects):
    found = explainer.suspect_labels(sort_by="probability_wrong")
    assert (found["probability_wrong"].diff()[1:] <= 0).all()
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    assert found["path"].tolist() != suspects["path"].tolist()
    key = ["path", "row"]
    tables = [
        t.drop(columns="rank").sort_values(key, ignore_index=True)
        for t in (found, suspects)
    ]
    pd.testing.assert_frame_equal(*tables)


def test_values_are_those_of_the_training_set(data, suspects):
    _, y, concepts = data
    table = concepts.assign(label=y)
    assert len(suspects) == table.notna().to_numpy().sum()
    for _, line in suspects.iterrows():
        assert line["current"] == table.loc[line["row"], line["path"]]
        if line["path"] != "score":
            assert line["proposed"] in set(table[line["path"]].dropna())
            assert line["proposed"] != line["current"]


def test_which_selects_and_changes_nothing(explainer, suspects):
    for which in [
        "quiet",
        ["label", "food"],
        ["score", "label"],
        ("score", "score"),
        pd.Index(["price"]),
    ]:
        names = [which] if isinstance(which, str) else list(which)
        found = explainer.suspect_labels(which)
        expected = suspects[suspects["path"].isin(names)].reset_index(drop=True)
        assert found["rank"].tolist() == list(range(1, len(expected) + 1))
        pd.testing.assert_frame_equal(
            found.drop(columns="rank"), expected.drop(columns="rank")
        )


def test_terms_of_no_weight_are_no_suspects(data):
    X, y, concepts = data
    weights, annotation_weights = np.ones(N), np.ones(concepts.shape)
    weights[5], annotation_weights[9, :2] = 0, 0
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf).fit(
        X, y, weights, concepts=concepts, concept_sample_weight=annotation_weights
    )
    found = explainer.suspect_labels()
    assert 5 not in set(found["row"])
    assert set(found.loc[found["row"] == 9, "path"]) <= {"label", "price", "score"}
    kept = np.arange(N) != 5
    concepts = concepts.copy()
    concepts.iloc[9, :2] = None
    without = ConceptInfluenceExplainer(clf).fit(
        X[kept], y[kept], concepts=concepts[kept]
    )
    expected = without.suspect_labels()
    expected["row"] = np.flatnonzero(kept)[expected["row"]]
    pd.testing.assert_frame_equal(
        found.drop(columns="proposed"), expected.drop(columns="proposed"), rtol=1e-4
    )


def test_texts_stand_beside_what_is_suspected():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    texts = ["good soup", "bad soup", "good tea", "bad tea"] * 6
    y = np.array([1, 0] * 12)
    y[3] = 1
    dense = FunctionTransformer(lambda A: A.toarray())
    clf = make_pipeline(TfidfVectorizer(), dense, LogisticRegression(C=10))
    explainer = ConceptInfluenceExplainer(clf).fit(texts, y)
    line = explainer.suspect_labels().iloc[0]
    assert (line["row"], line["text"]) == (3, "bad tea")
    assert (line["current"], line["proposed"]) == (1, 0)


def test_columns_of_text_that_are_named_like_answers_are_renamed(data):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    X, y, _ = data
    frame = pd.DataFrame({"row": [f"r{i}" for i in range(N)], "title": "t"})
    frame["x"] = X[:, 0]
    take = FunctionTransformer(lambda A: A[["x"]].to_numpy())
    explainer = ConceptInfluenceExplainer(make_pipeline(take, LogisticRegression()))
    found = explainer.fit(frame, y).suspect_labels()
    assert list(found.columns) == [*COLUMNS, "text row", "title"]
    assert (found["text row"] == "r" + found["row"].astype(str)).all()


def test_answers_are_deterministic_and_survive_pickling(explainer, suspects):
    import pickle

    again = pickle.loads(pickle.dumps(explainer)).suspect_labels()
    pd.testing.assert_frame_equal(again, suspects)


# --- The model of the noise -----------------------------------------------------------


def drawn(n, m, rate, seed, order=None, power=1.0, factors=0.0):
    """Return terms whose right values a head foretells, some of them replaced."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, m))
    p = np.exp(power * logits + factors)
    p /= p.sum(axis=1, keepdims=True)
    right = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    other = (right + rng.integers(1, m, n)) % m
    if order is not None:
        ranks = np.asarray(order)[right]
        step = rng.choice([-1, 1], n)
        step = np.where((ranks + step < 0) | (ranks + step >= m), -step, step)
        other = np.argsort(order)[ranks + step]
    wrong = rng.random(n) < rate
    codes = np.where(wrong, other, right)
    head = SoftmaxHead(m)
    scores = torch.from_numpy(logits) @ head.contrasts(torch.zeros(1).double()).T
    return LeftOut(head, torch.arange(n), torch.from_numpy(codes), scores, scores), (
        wrong,
        right,
    )


def calibration_error(probability, wrong, n_bins=10):
    gap = 0.0
    for low in np.arange(n_bins) / n_bins:
        own = (probability >= low) & (probability < low + 1 / n_bins + 1e-12)
        if own.any():
            gap += own.mean() * abs(probability[own].mean() - wrong[own].mean())
    return gap


@pytest.mark.parametrize("order", [None, [2, 0, 3, 1]])
@pytest.mark.parametrize("rate", [0.15, 0.25])
def test_probabilities_are_calibrated_and_the_rate_is_found(rate, order):
    ranks = None if order is None else torch.tensor(order)
    terms, (wrong, right) = drawn(4000, 4, rate, 0, order, 2.0, [0.5, 0, 0, -0.5])
    (verdicts,) = judge([terms], [ranks])
    probability = verdicts.log_odds.sigmoid().numpy()
    assert verdicts.rate == pytest.approx(rate, abs=0.05)
    assert calibration_error(probability, wrong) < 0.05
    suspect = probability > 0.5
    hits = verdicts.proposed.numpy()[suspect & wrong] == right[suspect & wrong]
    assert hits.mean() > 0.7
    if order is not None:
        apart = np.abs(
            np.asarray(order)[verdicts.proposed] - np.asarray(order)[terms.codes]
        )
        assert (apart == 1).all()


def test_clean_values_are_hardly_ever_suspect():
    terms, _ = drawn(4000, 4, 0.0, 1, None, 2.0)
    (verdicts,) = judge([terms])
    assert verdicts.rate < 0.02
    assert (verdicts.log_odds > 0).float().mean() < 0.005


def test_heads_of_a_group_share_their_rate():
    many, _ = drawn(2000, 3, 0.2, 2, power=2.0)
    few, _ = drawn(100, 3, 0.2, 3, power=2.0)
    rates = [verdicts.rate for verdicts in judge([many, few])]
    assert rates[0] == rates[1] == pytest.approx(0.2, abs=0.05)
    assert judge([few])[0].rate != pytest.approx(rates[0], abs=1e-3)


def test_a_head_that_is_far_off_has_its_own_rate():
    clean = [drawn(1000, 3, 0.0, seed, power=2.0)[0] for seed in (4, 5, 6)]
    noisy, (wrong, _) = drawn(1000, 3, 0.3, 7, power=2.0)
    verdicts = judge([*clean, noisy])
    assert verdicts[-1].rate == pytest.approx(0.3, abs=0.06)
    assert all(other.rate < 0.1 for other in verdicts[:-1])
    probability = verdicts[-1].log_odds.sigmoid().numpy()
    assert calibration_error(probability, wrong) < 0.06


def test_two_values_have_no_order_to_speak_of():
    terms, _ = drawn(500, 2, 0.2, 4, power=2.0)
    (verdicts,) = judge([terms], [torch.tensor([1, 0])])
    np.testing.assert_array_equal(verdicts.proposed, 1 - terms.codes)


def test_numbers_are_judged_whatever_their_unit():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(500, 1))
    numbers = predicted[:, 0] + 0.2 * rng.normal(size=500)
    wrong = rng.random(500) < 0.2
    numbers[wrong] = rng.permutation(numbers)[wrong]
    found = []
    for unit in (1.0, 1e-6, 1e6):
        scores = torch.from_numpy(unit * (predicted + 3))
        values = torch.from_numpy(unit * (numbers + 3))
        terms = LeftOut(RidgeHead(), torch.arange(500), values, scores, scores)
        (verdicts,) = judge([terms])
        found.append(verdicts.log_odds.sigmoid().numpy())
        assert verdicts.rate == pytest.approx(0.2, abs=0.06)
    np.testing.assert_allclose(found[1], found[0], atol=1e-4)
    np.testing.assert_allclose(found[2], found[0], atol=1e-4)
    assert calibration_error(found[0], wrong) < 0.05


def test_planted_errors_come_first():
    X, y, concepts = make_concept_data(600, missing=0.1, seed=3)
    rng = np.random.default_rng(0)
    concepts = concepts.copy()
    wrong = concepts["quiet"].notna().to_numpy() & (rng.random(600) < 0.15)
    flipped = concepts.loc[wrong, "quiet"].map({"no": "yes", "yes": "no"})
    concepts.loc[wrong, "quiet"] = flipped
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    found = explainer.fit(X, y, concepts=concepts).suspect_labels("quiet")
    top = found[: wrong.sum()]
    assert wrong[top["row"]].mean() > 0.6
    assert wrong.mean() < 0.2


def test_ordered_values_are_taken_for_their_neighbours(explainer):
    given = explainer.suspect_labels("price", ordinal="price")
    listed = explainer.suspect_labels("price", ordinal={"price": [1, 2, 3, 4]})
    pd.testing.assert_frame_equal(given, listed)
    assert (given["current"] - given["proposed"]).abs().eq(1).all()
    other = explainer.suspect_labels("price", ordinal={"price": [1, 3, 2, 4]})
    pairs = set(zip(other["current"], other["proposed"], strict=True))
    assert pairs <= {(1, 3), (3, 1), (3, 2), (2, 3), (2, 4), (4, 2)}
    assert not given["probability_wrong"].equals(
        explainer.suspect_labels("price").iloc[:, 7]
    )


def test_what_is_proposed_is_as_probable_as_stated():
    terms, (_, right) = drawn(4000, 4, 0.25, 0, None, 2.0)
    (verdicts,) = judge([terms])
    probability = verdicts.probability.numpy()
    assert (probability <= verdicts.log_odds.sigmoid().numpy() + 1e-12).all()
    hit = verdicts.proposed.numpy() == right
    assert calibration_error(probability, hit) < 0.05
    sure = probability > 0.8
    assert sure.sum() > 50
    assert probability[sure].mean() == pytest.approx(hit[sure].mean(), abs=0.05)


def test_nothing_is_surely_wrong_where_little_is():
    """Of few errors, as many surprises are right values."""
    terms, _ = drawn(4000, 3, 0.01, 0, None, 3.0)
    (verdicts,) = judge([terms])
    assert verdicts.log_odds.sigmoid().max() < 0.6


def confused(seed=0, n=3000):
    """Return terms of three sources; the first calls value 0 often value 2."""
    terms, _ = drawn(n, 3, 0.0, seed, None, 2.0)
    rng = np.random.default_rng(seed)
    source, codes = rng.integers(0, 3, n), terms.codes.numpy().copy()
    wrong = (source == 0) & (codes == 0) & (rng.random(n) < 0.7)
    codes[wrong] = 2
    return replace(terms, codes=torch.from_numpy(codes)), source, wrong


def test_a_source_that_confuses_values_is_found_out():
    terms, source, wrong = confused()
    (alone,) = judge([terms])
    (told,) = judge([terms], None, torch.from_numpy(source))
    probability = told.log_odds.sigmoid().numpy()
    assert probability.mean() == pytest.approx(wrong.mean(), abs=0.03)
    assert calibration_error(probability, wrong) < 0.05
    suspect = probability > 0.5
    assert wrong[suspect].mean() > 0.8
    assert suspect[wrong].mean() > 0.7
    assert (told.proposed.numpy()[suspect & wrong] == 0).all()
    assert (alone.log_odds.numpy()[wrong] > 0).mean() < 0.5
    assert suspect[source != 0].mean() < 0.01


def test_sources_that_are_alike_change_nothing():
    terms, _ = drawn(1500, 3, 0.2, 5, None, 2.0)
    source = torch.from_numpy(np.random.default_rng(1).integers(0, 4, 1500))
    (alone,), (told,) = judge([terms]), judge([terms], None, source)
    torch.testing.assert_close(told.log_odds, alone.log_odds)


def test_groups_are_any_names_in_any_order(explainer):
    given = np.array(["Ann", "Bob", "Cem"], dtype=object)[np.arange(N) % 3]
    found = explainer.suspect_labels(groups=given)
    other = explainer.suspect_labels(groups=pd.Series(np.arange(N) % 3 * -1.5))
    names = found.pop("group").map({"Ann": -0.0, "Bob": -1.5, "Cem": -3.0})
    np.testing.assert_array_equal(names, other.pop("group"))
    pd.testing.assert_frame_equal(found, other)
    one = explainer.suspect_labels(groups=["Ann"] * N).drop(columns="group")
    pd.testing.assert_frame_equal(one, pd.DataFrame(explainer.suspect_labels()))


# --- Former names ---------------------------------------------------------------------


def test_former_names_of_columns_still_answer(suspects):
    match = "'suggested' of suspect_labels is now called 'proposed'"
    with pytest.warns(FutureWarning, match=match):
        assert suspects["suggested"].equals(suspects["proposed"])
    match = "'probability' of suspect_labels is now called 'probability_wrong'"
    with pytest.warns(FutureWarning, match=match):
        assert suspects.probability.equals(suspects["probability_wrong"])
    with pytest.warns(FutureWarning, match=match):
        some = suspects[["row", "probability"]]
    assert list(some) == ["row", "probability"]
    assert type(suspects.query("probability_wrong > 0.5")) is pd.DataFrame
    with pytest.raises(KeyError):
        suspects["chance"]


# --- What is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "error", "match"),
    [
        (3, TypeError, "which must be a name or a list of names, .* got 3"),
        ([0], TypeError, r"which must be a name or a list of names, .* got \[0\]"),
        ([], ValueError, "which is empty; name a path"),
        ("noise", ValueError, "which names 'noise', but the paths are 'label', 'food'"),
        (["label", "Food"], ValueError, "which names 'Food', but the paths are"),
    ],
)
def test_paths_that_cannot_be_asked_about(explainer, which, error, match):
    with pytest.raises(error, match=match):
        explainer.suspect_labels(which)


@pytest.mark.parametrize(
    ("ordinal", "error", "match"),
    [
        (True, TypeError, "ordinal must be .* or a dict from names .*, got True"),
        ("noise", ValueError, "ordinal names 'noise', but the paths are"),
        ({"noise": [1, 2]}, ValueError, "ordinal names 'noise', but the paths are"),
        (["score"], ValueError, "ordinal names 'score', which is continuous"),
        ({"price": [1, 2, 3]}, ValueError, r"each of the values once: \[1, 2, 3, 4\]"),
        ({"price": [1, 2, 3, 3]}, ValueError, "the order .1, 2, 3, 3., but it must"),
        ({"price": "1234"}, ValueError, "gives 'price' the order '1234', but it"),
        ({"price": None}, ValueError, "gives 'price' the order None, but it"),
        ({"price": [[1], 2, 3, 4]}, ValueError, "gives 'price' the order .+, but it"),
    ],
)
def test_orders_that_are_none(explainer, ordinal, error, match):
    with pytest.raises(error, match=match):
        explainer.suspect_labels(ordinal=ordinal)


@pytest.mark.parametrize("sort_by", ["loss", None, ["evenly"]])
def test_orders_of_the_list_that_are_none(explainer, sort_by):
    match = "sort_by must be 'evenly' or 'probability_wrong', got " + re.escape(
        repr(sort_by)
    )
    with pytest.raises(ValueError, match=match):
        explainer.suspect_labels(sort_by=sort_by)


@pytest.mark.parametrize(
    ("groups", "error", "match"),
    [
        ("group", ValueError, "groups must be one group for each training row"),
        ({"a": 1}, ValueError, "groups must be one group for each training row"),
        (np.zeros((N, 2)), ValueError, "groups must be one group for each training"),
        (["a", "b"], ValueError, f"groups has 2 entries, but there are {N} training"),
    ],
)
def test_groups_that_are_none(explainer, groups, error, match):
    with pytest.raises(error, match=match):
        explainer.suspect_labels(groups=groups)


def test_a_term_that_holds_a_head_alone_is_refused():
    from skclif._explain.suspects import _refuse_undefined

    scores = torch.tensor([[0.0], [float("inf")]], dtype=torch.float64)
    codes = torch.tensor([0, 1])
    terms = LeftOut(SoftmaxHead(2), torch.tensor([3, 8]), codes, scores, scores)
    with pytest.raises(ValueError, match="row 8 cannot be left out: its label carries"):
        _refuse_undefined("label", terms)
    with pytest.raises(ValueError, match="its annotation of 'food' carries all the"):
        _refuse_undefined("food", terms)
