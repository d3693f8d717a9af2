"""Weights for a target of the held-out rows: against refits, means, and by groups."""

import warnings

import numpy as np
import pytest
import sklearn
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold

from skclif import ConceptBottleneckClassifier, InfluenceReweighter
from skclif._models.reweighter_trials import AimedFolds
from skclif.numerics import lockstep
from skclif.numerics.targets import SetTarget
from skclif.targets import (
    demographic_parity_gap,
    equalized_odds_gap,
    expected_cost,
    from_function,
    smooth_auroc,
    worst_group_loss,
)

from ..targets.test_targets import odds_gap, ordered, parity_gap, worst

RNG = np.random.default_rng(0)
N = 150
X = RNG.normal(size=(N, 4))
GROUPS = np.where(X[:, 3] > 0.5, "few", "many")
Y = (X[:, 0] + 0.5 * X[:, 1] + 0.4 * RNG.normal(size=N) > 0).astype(int)
CLEAN = RNG.random(N) < 0.4
WRONG = ~CLEAN & (GROUPS == "few") & (RNG.random(N) < 0.6)
Y[WRONG] = 1 - Y[WRONG]
CONCEPTS = np.where(X[:, :2] + RNG.normal(0, 0.5, (N, 2)) > 0, "yes", "no")
FOLDS = KFold(3, shuffle=True, random_state=0)


def mean_loss(proba, y):
    return -torch.log(proba[torch.arange(len(y)), y]).mean()


def error(proba, y):
    return 1 - proba[torch.arange(len(y)), y].mean()


def _fitted(target=None, estimator=None, y=Y, is_clean=CLEAN, given=None, **params):
    reweighter = InfluenceReweighter(
        LogisticRegression() if estimator is None else estimator,
        target=target,
        cv=FOLDS,
        random_state=0,
        **{"strength": 1.0, "n_rounds": 2, "use_suspects": False, **params},
    )
    return reweighter.fit(X, y, is_clean=is_clean, **(given or {}))


NAIVE = {
    worst_group_loss(GROUPS): lambda p, y, g: worst(p, y, g),
    demographic_parity_gap(GROUPS): lambda p, y, g: parity_gap(p, y, g),
    equalized_odds_gap(GROUPS): lambda p, y, g: odds_gap(p, y, g),
    smooth_auroc(): lambda p, y, g: ordered(p, y, 0.25),
}


@pytest.mark.parametrize(
    ("target", "concepts"),
    [*((target, None) for target in NAIVE), (worst_group_loss(GROUPS), CONCEPTS)],
    ids=lambda value: "" if isinstance(value, np.ndarray) else repr(value),
)
def test_influence_is_the_derivative_in_weights(target, concepts, monkeypatch):
    monkeypatch.setattr(lockstep, "_TOL", 1e-11)
    clf = ConceptBottleneckClassifier(tol=1e-11)
    found = _fitted(target, clf, given={"concepts": concepts}, n_rounds=1)
    rows = np.flatnonzero(~CLEAN)[[0, 9, 40]]

    def value(row, weight):
        weights = 1.0 * ~CLEAN
        weights[row] = weight
        proba = clf.fit(X, Y, weights, concepts=concepts).predict_proba(X[CLEAN])
        return NAIVE[target](proba, Y[CLEAN], GROUPS[CLEAN])

    slopes = [(value(row, 1 + 1e-4) - value(row, 1 - 1e-4)) / 2e-4 for row in rows]
    np.testing.assert_allclose(found.influence_[rows], slopes, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("strength", [1.0, "auto"])
def test_a_mean_loss_is_what_there_is_without_a_target(strength):
    target = from_function(mean_loss, with_y=True, higher_is_better=False)
    with warnings.catch_warnings(action="ignore"):
        one, other = (
            _fitted(t, strength=strength, max_weight=1.5) for t in (target, None)
        )
    np.testing.assert_allclose(one.sample_weight_, other.sample_weight_, rtol=1e-7)
    np.testing.assert_allclose(one.influence_, other.influence_, rtol=1e-7)
    np.testing.assert_allclose(one.history_["signal"], other.history_["signal"])
    if strength == "auto":
        np.testing.assert_allclose(one.history_["target"], other.history_["log_loss"])
        # Rows that are drawn anew can say that folds agree by chance.
        errors, of_folds = one.history_["std_error"], other.history_["std_error"]
        assert (errors >= of_folds - 1e-3).all()
        assert (errors < 3 * of_folds + 1e-9).all()


def test_without_clean_rows_each_fold_is_judged_by_the_others():
    target = from_function(error, with_y=True, higher_is_better=False)
    one, other = (_fitted(t, is_clean=None) for t in (target, None))
    np.testing.assert_allclose(one.sample_weight_, other.sample_weight_, rtol=1e-7)


def test_a_target_that_should_rise_is_the_opposite_of_one_that_should_fall():
    def right(proba, y):
        return -error(proba, y)

    rise = from_function(right, with_y=True, higher_is_better=True)
    fall = from_function(error, with_y=True, higher_is_better=False)
    up, down = (_fitted(t, strength="auto", n_rounds=1) for t in (rise, fall))
    np.testing.assert_allclose(up.sample_weight_, down.sample_weight_, rtol=1e-9)
    np.testing.assert_allclose(up.influence_, -down.influence_, rtol=1e-9)
    np.testing.assert_allclose(up.history_["target"], -down.history_["target"])
    np.testing.assert_allclose(up.history_["std_error"], down.history_["std_error"])


def test_the_worst_group_becomes_better():
    rng = np.random.default_rng(1)
    X_many = rng.normal(size=(450, 4))
    few = X_many[:, 3] > 0.8
    y = (X_many[:, 0] + 0.3 * rng.normal(size=450) > 0).astype(int)
    is_clean = rng.random(450) < 0.4
    wrong = ~is_clean & few & (X_many[:, 0] > 0)
    y[wrong] = 0
    reweighter = InfluenceReweighter(
        LogisticRegression(), target=worst_group_loss(few), cv=FOLDS, n_rounds=3
    )
    reweighter.fit(X_many, y, is_clean=is_clean)
    assert reweighter.strength_ > 0
    told = reweighter.history_["target"]
    assert told[reweighter.n_rounds_] < told[0]
    assert "worst-group loss of held-out clean rows by -" in reweighter.reason_
    weights = reweighter.sample_weight_
    assert weights[wrong].mean() < 0.5 * weights[~is_clean & few & ~wrong].mean()


def test_a_gap_may_not_cost_accuracy_beyond_doubt():
    """Predicting nothing has no gap, so accuracy is looked at too."""
    X_gap = np.column_stack([X, GROUPS == "few"])
    y = np.where(GROUPS == "few", 1, Y)
    reweighter = InfluenceReweighter(
        LogisticRegression(),
        target=demographic_parity_gap(GROUPS),
        cv=FOLDS,
        n_rounds=2,
        use_suspects=False,
    )
    with warnings.catch_warnings(action="ignore"):
        reweighter.fit(X_gap, y, is_clean=CLEAN)
    assert reweighter.n_rounds_ == 2
    history = reweighter.history_
    assert history["target"][2] < 0.8 * history["target"][0]
    assert history["accuracy"][2] < history["accuracy"][0]  # by chance, it may be
    folds = {
        is_gap: AimedFolds(
            np.arange(9) % 3,
            np.ones(9),
            number=SetTarget(None, ""),
            of_rows=None,
            is_defined=None,
            is_gap=is_gap,
        )
        for is_gap in (True, False)
    }
    # Four standard errors at three folds: half a 95 % interval of Student's t.
    assert folds[True].least_hits(0.1) == pytest.approx(-0.4303, abs=1e-4)
    assert folds[False].least_hits(0.1) == -np.inf


def test_costs_decide_alone():
    target = expected_cost([[0, 1], [9, 0]])
    aimed = _fitted(target, strength="auto", n_rounds=2)
    assert aimed.strength_ > 0
    assert aimed.history_["accuracy"][aimed.n_rounds_] < aimed.history_["accuracy"][0]


def test_groups_may_come_with_fit():
    bound = _fitted(worst_group_loss(GROUPS))
    given = _fitted(worst_group_loss(), given={"target_groups": GROUPS})
    np.testing.assert_array_equal(given.sample_weight_, bound.sample_weight_)
    reweighter = InfluenceReweighter(
        LogisticRegression(), strength=1.0, cv=FOLDS, use_suspects=False, n_rounds=2
    )
    rows = X[~CLEAN], Y[~CLEAN]
    val = {"X_val": X[CLEAN], "y_val": Y[CLEAN]}
    of_val = reweighter.set_params(target=worst_group_loss(GROUPS[CLEAN]))
    one = of_val.fit(*rows, **val).sample_weight_
    other = reweighter.set_params(target=worst_group_loss())
    other = other.fit(*rows, **val, target_groups=GROUPS[CLEAN]).sample_weight_
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(one, 1)


@pytest.mark.parametrize("routing", [False, True])
def test_searches_slice_groups(routing):
    reweighter = InfluenceReweighter(
        LogisticRegression(), target=worst_group_loss(), cv=3, use_suspects=False
    )
    splits = KFold(3, shuffle=True, random_state=1)
    with (
        sklearn.config_context(enable_metadata_routing=routing),
        warnings.catch_warnings(action="ignore"),
    ):
        search = GridSearchCV(reweighter, {"strength": [0.0, 0.5]}, cv=splits)
        search.fit(X, Y, is_clean=CLEAN, target_groups=GROUPS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_other_classifiers_have_a_surrogate():
    trees = HistGradientBoostingClassifier(max_iter=3)
    found = _fitted(worst_group_loss(GROUPS), trees)
    assert not np.allclose(found.sample_weight_[~CLEAN], 1)


def test_rows_of_weight_zero_have_no_group():
    weights = np.ones(N)
    weights[np.flatnonzero(CLEAN)[:5]] = weights[np.flatnonzero(~CLEAN)[:5]] = 0
    groups = np.where(weights > 0, GROUPS, "nobody")
    one, other = (
        _fitted(worst_group_loss(g), given={"sample_weight": weights})
        for g in (groups, GROUPS)
    )
    np.testing.assert_array_equal(one.sample_weight_, other.sample_weight_)


def _array(proba):
    return np.quantile(proba[:, 1], 0.5)


@pytest.mark.parametrize(
    ("target", "given", "error", "match"),
    [
        ("loss", {}, TypeError, "target='loss' must be a target of skclif.targets"),
        (worst_group_loss, {}, TypeError, "worst_group_loss, which makes targets. Ca"),
        (
            mean_loss,
            {},
            ValueError,
            "InfluenceReweighter divides the rows, and a plain .*from_function",
        ),
        (
            from_function(mean_loss, with_y=True),
            {},
            ValueError,
            "InfluenceReweighter has to know which way target=.* is good",
        ),
        (
            from_function(_array, higher_is_better=True),
            {},
            ValueError,
            r"InfluenceReweighter needs the derivative of the .* _array.*item...\.$",
        ),
        (
            worst_group_loss(),
            {},
            ValueError,
            r"worst_group_loss\(\) has no groups; pass target_groups, one group for",
        ),
        (
            worst_group_loss(GROUPS[:9]),
            {},
            ValueError,
            r"groups has 9 entries, but X has 150 rows.*search.*fit\(target_groups=",
        ),
        (
            worst_group_loss(),
            {"target_groups": GROUPS[:9]},
            ValueError,
            "groups has 9 entries, but X has 150 rows; it needs one for each.$",
        ),
        (
            worst_group_loss(GROUPS),
            {"target_groups": GROUPS},
            ValueError,
            "target_groups was given, and target=.* has groups of its own",
        ),
        (
            smooth_auroc(),
            {"target_groups": GROUPS},
            ValueError,
            "target_groups was given, but target=smooth_auroc.* takes no groups",
        ),
        (
            None,
            {"target_groups": GROUPS},
            ValueError,
            "target_groups was given, but there is no target that takes groups",
        ),
        (
            equalized_odds_gap(),
            {"target_groups": np.repeat("one", N)},
            ValueError,
            "target_groups has one group, 'one', and equalized_odds_gap compares",
        ),
        (
            worst_group_loss(),
            {"target_groups": [None, *GROUPS[1:]]},
            ValueError,
            "target_groups has no value for row 0",
        ),
        (
            equalized_odds_gap(np.where(CLEAN, "one", "other")),
            {},
            ValueError,
            "no label of the rows whose loss counts has rows of two groups",
        ),
    ],
)
def test_bad_targets(target, given, error, match):
    with pytest.raises(error, match=match):
        _fitted(target, given=given)
