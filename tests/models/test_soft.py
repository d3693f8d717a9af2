"""Soft annotations in the bottleneck, compared with rows that are repeated by value."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    InfluenceReweighter,
    load_model,
    save_model,
)
from skclif.exceptions import ConstantConceptWarning, UnseenValueWarning
from skclif.metrics import (
    bottleneck_report,
    intervention_curve,
    make_bottleneck_scorer,
)

N = 90
TRAIN, TEST = np.arange(N)[N // 2 :], np.arange(N)[: N // 2]
FOOD = ["bad", "good", "unknown"]
QUIET = ["no", "yes"]


def soft_columns(name, values, shares):
    return pd.DataFrame(shares, columns=[f"{name}={value}" for value in values])


@pytest.fixture(scope="module")
def rows():
    """Return features, labels and annotations: two soft concepts, two plain ones."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, 4))
    logits = 2 * np.column_stack([-X[:, 0], X[:, 0], X[:, 1]])
    food = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    food[:10] = np.eye(3)[rng.integers(0, 3, 10)]
    food[10:14] = np.nan
    yes = rng.random(N)
    concepts = pd.concat(
        [
            soft_columns("food", FOOD, food),
            soft_columns("quiet", QUIET, np.column_stack([1 - yes, yes])),
            pd.DataFrame({"noise": np.where(X[:, 2] > 0, "loud", "low")}),
            pd.DataFrame({"price": X[:, 3] + rng.normal(size=N) / 4}),
        ],
        axis=1,
    )
    score = X[:, 0] + X[:, 2] + rng.normal(size=N) / 2
    y = np.digitize(score, [-0.7, 0.7])
    return X, y, concepts


def by_value(concepts, name, values):
    """Return rows and weights of a concept whose values are rows of their own."""
    shares = concepts[[f"{name}={value}" for value in values]].to_numpy()
    row, code = np.nonzero(np.nan_to_num(shares))
    return row, shares[row, code], np.array(values)[code]


def parameters(model):
    return [*model.concept_coef_, *model.concept_intercept_, model.coef_]


def same(first, second, tol=1e-7):
    for own, other in zip(parameters(first), parameters(second), strict=True):
        np.testing.assert_allclose(own, other, atol=tol)


# --- Fits -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "values"), [("food", FOOD), ("quiet", QUIET)])
def test_a_soft_row_is_its_values_as_weighted_rows(rows, name, values):
    X, y, concepts = rows
    weights = np.random.default_rng(0).uniform(0.5, 2, N)
    model = ConceptBottleneckClassifier().fit(X, y, weights, concepts=concepts)
    assert list(model.concept_names_in_) == ["food", "quiet", "noise", "price"]
    row, share, value = by_value(concepts, name, values)
    expected = ConceptBottleneckClassifier().fit(
        X[row], y[row], weights[row] * share, concepts=pd.DataFrame({name: value})
    )
    j = list(model.concept_names_in_).index(name)
    assert model.concept_classes_[j].tolist() == values
    assert model.concept_classes_[j].dtype == expected.concept_classes_[0].dtype
    for part in ("concept_coef_", "concept_intercept_"):
        found, wanted = getattr(model, part)[j], getattr(expected, part)[0]
        np.testing.assert_allclose(found, wanted, atol=1e-7)


@pytest.mark.filterwarnings("ignore::skclif.exceptions.PenaltyWarning")
def test_automatic_penalties_take_soft_rows(rows):
    X, y, concepts = rows
    model = ConceptBottleneckClassifier(concept_C="auto", C="auto")
    model.fit(X, y, concepts=concepts)
    assert np.isin(np.log10(model.concept_C_) * 2 % 1, [0, 1]).all()
    assert model.concept_C_[1] < 1  # nothing says who is quiet


@pytest.mark.parametrize("bottleneck", ["soft", "hard", "logit"])
def test_whole_shares_are_plain_annotations(rows, bottleneck):
    X, y, concepts = rows
    plain, whole = concepts.copy(), concepts.copy()
    for name, values in (("food", FOOD), ("quiet", QUIET)):
        columns = [f"{name}={value}" for value in values]
        shares = concepts[columns].to_numpy()
        best = np.nan_to_num(shares).argmax(axis=1)
        missing = np.isnan(shares[:, 0])
        whole[columns] = np.where(missing[:, None], np.nan, np.eye(len(values))[best])
        plain = plain.drop(columns=columns)
        plain[name] = np.where(missing, None, np.array(values, dtype=object)[best])
    plain = plain[["food", "quiet", "noise", "price"]]
    first, second = (
        ConceptBottleneckClassifier(bottleneck=bottleneck).fit(X, y, concepts=table)
        for table in (whole, plain)
    )
    for own, other in zip(parameters(first), parameters(second), strict=True):
        np.testing.assert_array_equal(own, other)
    assert first.predict_concepts(X).equals(second.predict_concepts(X))


def test_mixed_training_sees_the_shares(rows):
    """The label head has a row at predictions, and one at the shares."""
    X, y, concepts = rows
    concepts = concepts.drop(columns=["noise", "price"])
    model = ConceptBottleneckClassifier(intervention_prob=0.3)
    model.fit(X, y, concepts=concepts)
    predicted = model.transform(X)
    known = concepts[["food=bad", "food=good", "food=unknown", "quiet=yes"]].to_numpy()
    known = np.where(np.isnan(known), predicted, known)
    inputs, weights = np.vstack([predicted, known]), np.repeat([0.7, 0.3], N)
    expected = ConceptBottleneckClassifier().fit(inputs, np.tile(y, 2), weights)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)


def test_concepts_without_weight_are_not_seen(rows):
    X, y, concepts = rows
    weights = pd.DataFrame(1.0, index=concepts.index, columns=[*"abcd"])
    weights.columns = ["price", "food", "noise", "quiet"]
    weights.loc[20:, "food"] = 0.0
    model = ConceptBottleneckClassifier().fit(
        X, y, concepts=concepts, concept_sample_weight=weights
    )
    fewer = concepts.copy()
    fewer.loc[20:, [c for c in concepts if c.startswith("food=")]] = np.nan
    same(model, ConceptBottleneckClassifier().fit(X, y, concepts=fewer))


def test_people_can_weigh_more_than_machines(rows):
    X, y, concepts = rows
    by_people = np.arange(N) % 3 == 0
    weights = np.where(by_people, 1.0, 0.2)[:, None].repeat(4, axis=1)
    model = ConceptBottleneckClassifier().fit(
        X, y, concepts=concepts, concept_sample_weight=weights
    )
    row, share, value = by_value(concepts, "food", FOOD)
    expected = ConceptBottleneckClassifier().fit(
        X[row], y[row], share * weights[row, 0], concepts=pd.DataFrame({"food": value})
    )
    np.testing.assert_allclose(
        model.concept_coef_[0], expected.concept_coef_[0], atol=1e-7
    )


def test_a_value_without_any_share_is_not_learned(rows):
    X, y, concepts = rows
    model = ConceptBottleneckClassifier()
    more = concepts.assign(
        **{"food=cold": np.where(concepts["food=bad"].isna(), np.nan, 0)}
    )
    model.fit(X, y, concepts=more)
    assert model.concept_classes_[0].tolist() == FOOD
    more.loc[40, [f"food={v}" for v in (*FOOD, "cold")]] = [0.5, 0, 0, 0.5]
    with pytest.warns(UnseenValueWarning, match=r"'cold' of 'food' \(1 row\)"):
        found = model.intervene(X, more)
    missing = concepts.copy()
    missing.loc[40, [f"food={v}" for v in FOOD]] = np.nan
    np.testing.assert_array_equal(found, model.intervene(X, missing))


def test_one_value_is_a_constant(rows):
    X, y, _ = rows
    table = pd.DataFrame({"food=good": np.ones(N), "food=bad": np.zeros(N)})
    with pytest.warns(ConstantConceptWarning, match="'food' \\('good'\\)"):
        model = ConceptBottleneckClassifier().fit(X, y, concepts=table)
    assert model.transform(X).shape == (N, 0)


def test_soft_numbers_are_refused(rows):
    X, y, concepts = rows
    with pytest.raises(
        ValueError, match="concept_kinds says that 'food' is continuous"
    ):
        ConceptBottleneckClassifier(concept_kinds={"food": "continuous"}).fit(
            X, y, concepts=concepts
        )
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    soft = pd.DataFrame({"price=low": [0.5], "price=high": [0.5]})
    with pytest.raises(ValueError, match="soft annotations of concept 'price', which"):
        model.intervene(X[:1], soft)
    with pytest.raises(ValueError, match="'food' has no annotation that has weight"):
        model.fit(X, y, concepts=concepts.assign(**{f"food={v}": np.nan for v in FOOD}))


# --- What follows from a fit ----------------------------------------------------------


@pytest.mark.filterwarnings("ignore::skclif.exceptions.InterventionWarning")
def test_interventions_take_shares(rows):
    X, y, concepts = rows
    model = ConceptBottleneckClassifier(C=10).fit(X, y, concepts=concepts)
    table = concepts[[f"food={v}" for v in FOOD]]
    activations = model.transform(X)
    known = table.notna().all(axis=1).to_numpy()
    activations[known, :3] = table.to_numpy()[known]
    logits = activations @ model.coef_.T + model.intercept_
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.intervene(X, table), proba, atol=1e-12)


def test_folds_searches_and_scores(rows):
    X, y, concepts = rows
    search = GridSearchCV(
        make_pipeline(StandardScaler(), ConceptBottleneckClassifier()),
        {"conceptbottleneckclassifier__C": [0.1, 1.0]},
        scoring=make_bottleneck_scorer(concepts=concepts),
        error_score="raise",
        cv=3,
    )
    y = pd.Series(y)
    search.fit(X, y, conceptbottleneckclassifier__concepts=concepts)
    proba = cross_val_predict(
        ConceptBottleneckClassifier(), X, y, cv=3, params={"concepts": concepts}
    )
    assert proba.shape == (N,)
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    score = make_bottleneck_scorer()(model, X, y, concepts=concepts)
    loss = -np.log(model.predict_proba(X)[np.arange(N), y]).mean()
    chances = model.predict_concept_proba(X)
    for name, values in (("food", FOOD), ("quiet", QUIET)):
        shares = concepts[[f"{name}={v}" for v in values]].to_numpy()
        loss += np.nanmean((-shares * np.log(chances[name])).sum(axis=1))
    own = (concepts["noise"] == "low").astype(int).to_numpy()
    loss -= np.log(chances["noise"][np.arange(N), own]).mean()
    error = model.predict_concepts(X)["price"].astype(float) - concepts["price"]
    loss += (error**2).mean() / 2 / concepts["price"].var(ddof=0)
    assert score == pytest.approx(-loss)


def test_reports_and_curves(rows):
    X, y, concepts = rows
    curve = intervention_curve(
        ConceptBottleneckClassifier().fit(X, y, concepts=concepts),
        X, y, concepts, n_repeats=2, random_state=0,
    )  # fmt: skip
    assert np.isfinite(curve.losses).all()
    report = bottleneck_report(
        ConceptBottleneckClassifier(), X, y, concepts, cv=[(TRAIN, TEST)]
    )
    line = report.concepts.set_index("concept").loc["food"]
    model = ConceptBottleneckClassifier().fit(
        X[TRAIN], y[TRAIN], concepts=concepts.iloc[TRAIN]
    )
    proba = model.predict_concept_proba(X[TEST])["food"]
    shares = concepts[[f"food={v}" for v in FOOD]].to_numpy()
    own = shares[TEST, proba.argmax(axis=1)]
    assert line["value"] == pytest.approx(np.nanmean(own))
    loss = (-shares[TEST] * np.log(proba)).sum(axis=1)
    assert line["log_loss"] == pytest.approx(np.nanmean(loss))
    guess = np.nanmean(shares[TRAIN], axis=0)
    loss = (-shares[TEST] * np.log(guess)).sum(axis=1)
    assert line["guess_log_loss"] == pytest.approx(np.nanmean(loss))


@pytest.mark.filterwarnings("ignore::skclif.exceptions.ReweightingWarning")
def test_the_reweighter_learns_from_soft_rows(rows):
    X, y, concepts = (part[:60] for part in rows)
    y = np.where(np.arange(60) < 12, 2 - y, y)
    soft = concepts[[f"food={v}" for v in FOOD]]
    whole = soft.eq(soft.max(axis=1), axis=0).astype(float).where(soft.notna())
    weights = []
    for table in (soft, whole):
        model = InfluenceReweighter(
            ConceptBottleneckClassifier(), strength=1, n_rounds=1, random_state=0
        )
        model.fit(X, y, X_val=rows[0][60:], y_val=rows[1][60:], concepts=table)
        weights.append(model.sample_weight_)
    assert np.isfinite(weights[0]).all() and np.ptp(weights[0]) > 0
    assert not np.allclose(*weights)


def test_a_model_is_saved(rows, tmp_path):
    X, y, concepts = rows
    model = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    save_model(model, tmp_path / "model.skclif")
    for again in (
        load_model(tmp_path / "model.skclif"),
        pickle.loads(pickle.dumps(model)),
    ):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(
            again.intervene(X, concepts), model.intervene(X, concepts)
        )
