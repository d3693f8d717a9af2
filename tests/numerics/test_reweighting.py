"""Harm against retraining, its evidence against loops, and what weights promise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skclif import ConceptBottleneckClassifier
from skclif._inputs.annotations import Annotations
from skclif._models.fitted import FittedHeads
from skclif._models.linear import training_rows
from skclif.numerics import lockstep as weighted_models
from skclif.numerics import reweighting
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.heads.softmax import SoftmaxHead
from skclif.numerics.hessians import factorise
from skclif.numerics.lockstep import LockstepModels
from skclif.numerics.reweighting import (
    Reweighting,
    Rows,
    _Evidence,
    _multipliers,
    _Plan,
)
from skclif.numerics.suspects import LeftOut, judge
from skclif.numerics.targets import LabelTarget

from ..data import make_concept_data

HELD_OUT = torch.arange(6)
PLAIN = [{"n_classes": 2}, {"n_classes": 4, "C": 3.0}]
THROUGH_CONCEPTS = [
    {},
    {"n_classes": 2, "training": "independent", "concept_C": 0.5},
    {"bottleneck": "logit"},
    {"bottleneck": "hard"},
    {"training": "sequential"},
    {"bottleneck": "hard", "training": "independent", "n_classes": 2},
    {"class_weight": "balanced", "n_classes": 4},
]


class _Setting:
    """A classifier, its data, and the models that are fitted to them in lock-step."""

    def __init__(self, concepts=True, n_samples=26, n_classes=3, seed=0, **params):
        rng = np.random.default_rng(seed)
        self.X, self.y, annotations = make_concept_data(
            n_samples, n_classes=n_classes, seed=seed
        )
        self.given = {}
        if concepts:
            annotations["price"] += 0.1  # now it is continuous
            self.given = {
                "concepts": annotations,
                "concept_sample_weight": rng.uniform(0.3, 2, annotations.shape),
            }
        self.clf = ConceptBottleneckClassifier(tol=1e-12, **params)
        self.clf.fit(self.X, self.y, **self.given)
        ones = np.ones(n_samples)
        annotated = (
            self.given.get("concepts"),
            self.given.get("concept_sample_weight"),
        )
        annotations = Annotations.read(*annotated, len(self.X))
        rows = training_rows(self.clf, self.X, self.y, ones, annotations)
        self.data = rows.data()
        self.models = LockstepModels(
            FittedHeads.of(self.clf).tensors(),
            self.data,
            torch.from_numpy(ones),
            penalty=1 / self.clf.C,
            concept_penalties=torch.from_numpy(1 / self.clf.concept_C_),
        )
        # Rows whose loss is differentiated train no model; a few others are left out.
        weights = rng.uniform(0.3, 2, (n_samples, 3))
        weights[HELD_OUT] = 0
        weights[[10, 20], [0, 1]] = 0
        self.weights = torch.from_numpy(weights)
        self.shares = torch.from_numpy(rng.uniform(size=(len(HELD_OUT), 3)))

    def refit(self, weights):
        """Fit a classifier of its own, class weights as they were."""
        class_weight = dict(
            zip(self.clf.classes_.tolist(), self.clf.class_weight_, strict=True)
        )
        clf = clone(self.clf).set_params(class_weight=class_weight)
        return clf.fit(self.X, self.y, weights, **self.given)

    def loss(self, weights, shares):
        """Return the loss of the held-out rows after refitting."""
        proba = self.refit(weights).predict_proba(self.X[HELD_OUT])
        own = proba[HELD_OUT, self.data.labels[HELD_OUT]]
        return -shares @ np.log(own)

    def harm(self):
        fitted = self.models.fit(self.weights, None)
        return _harm(self, fitted, self.weights)


def _harm(setting, fitted, weights):
    """Return harm on one loss a model, (n_samples, n_models)."""
    shares = setting.shares[:, :, None]
    return setting.models.harm(fitted, weights, HELD_OUT, shares).squeeze(2)


@pytest.fixture
def exact(monkeypatch):
    """Solve as exactly as double precision allows, to compare with differences."""
    monkeypatch.setattr(weighted_models, "_TOL", 1e-12)


def _slopes(setting, model, rows, step=1e-4):
    """Differentiate one-sidedly, because some weights are 0: exact to step^2."""
    weights = setting.weights[:, model].numpy()
    shares = setting.shares[:, model].numpy()
    here = setting.loss(weights, shares)
    moves = step * np.eye(len(weights))[rows]
    near, far = (
        np.array([setting.loss(weights + factor * move, shares) for move in moves])
        for factor in (1, 2)
    )
    return (4 * near - far - 3 * here) / (2 * step)


def _assert_harm_is_the_slope(setting):
    harm = setting.harm().numpy()
    for model in range(3):
        # Every row has its turn in a model, and those that are left out in theirs.
        rows = [*range(model, len(harm), 3), 10, 20]
        # Differences err by step^2 = 1e-8 times a third derivative, and by the 1e-12 to
        # which losses are known over the step. Harms are about 0.01.
        np.testing.assert_allclose(
            harm[rows, model], _slopes(setting, model, rows), rtol=1e-5, atol=5e-7
        )
    assert np.abs(harm).mean() > 1e-3


@pytest.mark.parametrize("params", PLAIN, ids=str)
def test_harm_is_the_slope_of_the_held_out_loss(params, exact):
    _assert_harm_is_the_slope(_Setting(concepts=False, **params))


# The others agree with first order below, and have a slope in the full matrix.
SLOPES = [
    pytest.param(p, marks=pytest.mark.full if p in THROUGH_CONCEPTS[2:5] else ())
    for p in THROUGH_CONCEPTS
]


@pytest.mark.slow
@pytest.mark.parametrize("params", SLOPES, ids=str)
def test_harm_through_concepts_is_the_slope_of_the_held_out_loss(params, exact):
    _assert_harm_is_the_slope(_Setting(**params))


@pytest.mark.parametrize("concepts", [True, False])
def test_harm_as_solved_is_near_the_exact_one(concepts, monkeypatch):
    setting = _Setting(concepts=concepts)
    coarse = setting.harm()
    monkeypatch.setattr(weighted_models, "_TOL", 1e-12)
    # Fits and solves to 1e-5 leave harm right to four digits of its size.
    exact = setting.harm()
    assert (coarse - exact).abs().max() < 1e-4 * exact.abs().max()
    assert not torch.equal(coarse, exact)


@pytest.mark.parametrize(
    "params",
    [{"concepts": False, "n_classes": 4}, *THROUGH_CONCEPTS],
    ids=str,
)
def test_harm_of_rows_of_weight_one_is_their_first_order_influence(params, exact):
    setting = _Setting(**params)
    clf, data, bottleneck = (
        setting.clf,
        setting.data,
        FittedHeads.of(setting.clf).tensors(),
    )
    ones = torch.ones(len(setting.y), 3, dtype=torch.float64)
    harm = _harm(setting, [bottleneck] * 3, ones)
    factors = factorise(
        bottleneck,
        data,
        penalty=1 / clf.C,
        concept_penalties=torch.from_numpy(1 / clf.concept_C_),
    )
    target = LabelTarget("loss", data.labels[HELD_OUT])
    adjoint = solve_adjoint(
        bottleneck,
        factors,
        target.derivatives(bottleneck, data.features[HELD_OUT]),
        setting.shares.T,
    )
    parts = [part.sum(dim=2) for _, part in first_order(bottleneck, data, adjoint)]
    torch.testing.assert_close(harm, torch.cat(parts, dim=1).T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "params",
    [*({"concepts": False, **params} for params in PLAIN), *THROUGH_CONCEPTS],
    ids=str,
)
def test_every_model_is_the_classifier_fitted_with_its_weights(params, exact):
    setting = _Setting(**params)
    fitted = setting.models.fit(setting.weights, None)
    for model, weights in zip(fitted, setting.weights.T, strict=True):
        proba = model.label_probabilities(setting.data.features)
        expected = setting.refit(weights.numpy()).predict_proba(setting.X)
        np.testing.assert_allclose(proba, expected, rtol=1e-9)


@pytest.mark.parametrize("concepts", [True, False])
def test_harm_on_several_losses_is_that_on_each(concepts, exact):
    setting = _Setting(concepts=concepts)
    fitted = setting.models.fit(setting.weights, None)
    mirrored = setting.shares.flip(0)
    together = setting.models.harm(
        fitted,
        setting.weights,
        HELD_OUT,
        torch.stack([setting.shares, mirrored], dim=2),
    )
    for position, shares in enumerate([setting.shares, mirrored]):
        alone = setting.models.harm(
            fitted, setting.weights, HELD_OUT, shares[:, :, None]
        )
        torch.testing.assert_close(
            together[:, :, position], alone[:, :, 0], rtol=1e-8, atol=1e-11
        )
    assert not torch.allclose(together[:, :, 0], together[:, :, 1])


@pytest.mark.parametrize("concepts", [True, False])
def test_a_model_is_the_same_alone_and_among_others(concepts, monkeypatch):
    setting = _Setting(concepts=concepts)
    together, harm = setting.models.fit(setting.weights, None), setting.harm()
    monkeypatch.setattr(weighted_models, "_LARGEST_ARRAY", 1)
    alone = setting.models.fit(setting.weights, None)
    for own, other in zip(alone, together, strict=True):
        torch.testing.assert_close(
            own.label_parameters, other.label_parameters, rtol=1e-9, atol=1e-11
        )
    torch.testing.assert_close(setting.harm(), harm, rtol=1e-9, atol=1e-11)


def _evidence(harm, seen, fold_weights, row_weights):
    """Return what evidence makes of harm (n_folds, n_samples), in its only group."""
    rows = Rows(
        torch.tensor(row_weights),
        torch.ones(len(row_weights), dtype=torch.bool),
        torch.zeros(len(row_weights), dtype=torch.int64),
        len(harm),
    )
    evidence = _Evidence(rows, torch.ones(len(row_weights), 1).double())
    for values, who, weight in zip(harm, seen, fold_weights, strict=True):
        evidence.add(0, torch.tensor(weight), torch.tensor(values), torch.tensor(who))
    scores, signal = evidence.scores()
    return evidence.mean()[:, 0].numpy(), scores[:, 0].numpy(), float(signal[0])


def _evidence_in_loops(harm, seen, fold_weights, row_weights):
    n_samples = len(row_weights)
    mean, squared_error = np.full(n_samples, np.nan), np.zeros(n_samples)
    for i in range(n_samples):
        own = np.flatnonzero(seen[:, i])
        if len(own):
            values, w = harm[own, i], fold_weights[own] / fold_weights[own].sum()
            mean[i] = w @ values
            squared_error[i] = w @ (values - mean[i]) ** 2 / (len(own) - 1)
    known = np.isfinite(mean)
    w = row_weights * known / row_weights[known].sum()
    deviation = np.where(known, mean - w @ np.nan_to_num(mean), 0.0)
    spread = w @ deviation**2
    signal = max(0.0, 1 - w @ squared_error / spread)
    return mean, signal * deviation / np.sqrt(spread), signal


def _harm_on_folds(n_folds=5, n_samples=30, noise=0.5, seed=0):
    rng = np.random.default_rng(seed)
    harm = rng.normal(size=n_samples) + noise * rng.normal(size=(n_folds, n_samples))
    weights = rng.uniform(0.5, 2, n_folds), rng.uniform(0.5, 2, n_samples)
    return harm, np.ones(harm.shape, bool), *weights


def test_evidence_equals_loops_where_folds_miss_rows():
    harm, seen, *weights = _harm_on_folds()
    seen[0, :7] = seen[3, 5:9] = False
    seen[:, 20] = False
    own = _evidence(harm, seen, *weights)
    expected = _evidence_in_loops(harm, seen, *weights)
    assert 0.1 < expected[2] < 0.99
    for value, reference in zip(own, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-12, atol=1e-14)
    assert own[1][20] == 0


def test_every_group_measures_harm_on_every_fold_but_its_own():
    n_folds, fold = 4, torch.arange(12) % 4
    rows = Rows(torch.ones(12).double(), torch.ones(12, dtype=bool), fold, n_folds)
    plan = _Plan(rows, [-2, *range(n_folds)])
    found = {group: [] for group in range(1 + n_folds)}
    for group, trained in zip(plan.group, plan.trained.T, strict=True):
        found[group].append(set(fold[trained == 0].tolist()))
    assert found[0] == [{own} for own in range(n_folds)]
    for held_out in range(n_folds):
        others = [own for own in range(n_folds) if own != held_out]
        assert found[1 + held_out] == [{held_out, own} for own in others]


def test_evidence_of_one_fold_is_no_signal():
    harm, seen, *weights = _harm_on_folds()
    seen[1:, 4] = False  # one row is enough: its error is not known
    _, scores, signal = _evidence(harm, seen, *weights)
    assert signal == 0
    assert (scores == 0).all()


def test_folds_that_agree_are_all_signal():
    harm, seen, fold_weights, row_weights = _harm_on_folds(noise=0)
    mean, scores, signal = _evidence(harm, seen, fold_weights, row_weights)
    assert signal == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(mean, harm[0])
    # Standard scores, in weighted moments.
    assert np.average(scores, weights=row_weights) == pytest.approx(0, abs=1e-12)
    assert np.average(scores**2, weights=row_weights) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_hardly_any_signal_and_half_noise_is_half(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(5, 4000))
    sure, ones = np.ones(noise.shape, bool), (np.ones(5), np.ones(4000))
    # With 4,000 rows the two variances are known to 2 %, and to 1 % by five folds.
    assert _evidence(noise, sure, *ones)[2] < 0.1
    # Noise has the variance 1/5 in the mean of five folds; so has this.
    harm = noise + np.sqrt(1 / 5) * rng.normal(size=4000)
    assert _evidence(harm, sure, *ones)[2] == pytest.approx(0.5, abs=0.06)


def _multiplied(log_odds, labels=None, clean=(), max_weight=2.0, weights=None):
    """Return the multipliers of one group, the weights and who is adapted."""
    n_samples = len(log_odds)
    labels = np.zeros(n_samples, int) if labels is None else labels
    weights = np.ones(n_samples) if weights is None else weights
    adapted = ~np.isin(np.arange(n_samples), clean)
    sought = torch.tensor(weights * adapted)[:, None]
    multipliers = _multipliers(
        torch.tensor(log_odds)[:, None], torch.tensor(labels), sought, max_weight
    )
    return multipliers[:, 0].numpy()


@pytest.mark.parametrize("max_weight", [1.01, 2.0, 10.0])
def test_multipliers_are_one_where_nothing_is_known(max_weight):
    ones = _multiplied(np.zeros(9), np.arange(9) % 3, [2, 5], max_weight)
    np.testing.assert_allclose(ones, 1, rtol=1e-14)


@pytest.mark.parametrize("max_weight", [1.01, 2.0, 10.0])
def test_multipliers_keep_the_total_and_leave_clean_rows(max_weight):
    rng = np.random.default_rng(0)
    weights, labels = rng.uniform(0.1, 3, 50), rng.integers(0, 3, 50)
    clean = np.arange(10)
    multipliers = _multiplied(
        3 * rng.normal(size=50), labels, clean, max_weight, weights
    )
    assert (multipliers[clean] == 1).all()
    assert np.ptp(multipliers[10:]) > 0.01 * max_weight
    assert weights @ multipliers == pytest.approx(weights.sum(), rel=1e-14)


def test_multipliers_rise_with_log_odds_up_to_the_bound():
    log_odds = np.r_[0.0, np.linspace(-6, 6, 41)]
    multipliers = _multiplied(log_odds, max_weight=3.0)
    assert (np.diff(multipliers[1:]) > 0).all()
    # Before scaling the first was 1.
    before = multipliers / multipliers[0]
    np.testing.assert_allclose(before, 3 / (1 + 2 * np.exp(-log_odds)), rtol=1e-12)
    assert before.max() < 3


@pytest.mark.parametrize("max_weight", [2.0, 20.0])
def test_no_class_loses_more_than_nine_tenths_beside_the_average_row(max_weight):
    labels = np.repeat([0, 1], [20, 400])
    log_odds = np.where(labels == 0, -12.0 + np.arange(420) % 3, 4.0)
    multipliers = _multiplied(log_odds, labels, max_weight=max_weight)
    assert multipliers.mean() == pytest.approx(1)
    # A tenth, and as much more as a class of all but every row would need.
    assert 0.1 <= multipliers[labels == 0].mean() < 0.1 / 0.9
    assert multipliers[0] < multipliers[1] < multipliers[2]


def _search(X, y, fold, clean, keep_clean=True):
    clf = ConceptBottleneckClassifier(tol=1e-12).fit(X, y)
    ones = torch.ones(len(y), dtype=torch.float64)
    data = training_rows(clf, X, y, ones.numpy(), None).data()
    models = LockstepModels(
        FittedHeads.of(clf).tensors(),
        data,
        ones,
        penalty=1.0,
        concept_penalties=torch.ones(clf.n_concepts_),
    )
    own = torch.tensor(np.where(clean, -1, np.arange(len(y)) % 5))
    rows = Rows(
        ones,
        torch.tensor(~clean),
        torch.tensor(fold),
        5,
        own if clean.any() else None,
    )
    return Reweighting(
        models, rows, max_weight=4.0, evaluate=True, keep_clean=keep_clean
    )


def _losses(search, suspecting):
    """Return losses of three rounds so strong that class weights reach their bound."""
    start = search.suspect() if suspecting else search.start()
    trials = [search.start(), start, *search.rounds(start, dose=8.0, n_rounds=3)]
    return torch.stack([trial.losses for trial in trials]).numpy()


def _polluted(with_clean, n_samples=150, seed=0):
    """Return rows whose third class is wrong wherever it is not clean."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    y = np.digitize(X[:, 0], [-0.5, 2.0 if not with_clean else 1.0])
    clean = with_clean & (np.arange(n_samples) < 60)
    wrong = ~clean & (rng.random(n_samples) < 0.1)
    y[wrong] = 2
    X[wrong, 1] += 3
    fold = np.where(clean | (not with_clean), np.arange(n_samples) % 5, -1)
    return X, y, clean, fold


@pytest.mark.parametrize("suspecting", [True, False])
@pytest.mark.parametrize("keep_clean", [True, False])
@pytest.mark.parametrize("with_clean", [True, False])
def test_held_out_rows_have_no_part_in_what_predicts_them(
    with_clean, keep_clean, suspecting, exact, monkeypatch
):
    # Suspects lose weight, whether the labels speak for it or not.
    monkeypatch.setattr(reweighting, "judge_if_noisy", lambda terms: judge([terms])[0])
    # The rate of noise is one number for all rows: a part in how they are judged.
    monkeypatch.setattr(reweighting, "_through_noise", lambda losses, *_: (losses, 0.0))
    X, y, clean, fold = _polluted(with_clean)
    held_out = fold == 0
    before = _losses(_search(X, y, fold, clean, keep_clean), suspecting)
    changed = held_out & (np.cumsum(held_out) > 1)
    rng = np.random.default_rng(1)
    X_2, y_2 = X.copy(), y.copy()
    X_2[changed] = 3 * rng.normal(size=(changed.sum(), 4))
    y_2[changed] = (y[changed] + 1) % 3
    after = _losses(_search(X_2, y_2, fold, clean, keep_clean), suspecting)
    # Of those held out the first is what it was: only its judge could change.
    np.testing.assert_allclose(after[:, 0], before[:, 0], rtol=1e-8)
    others = fold[fold >= 0] > 0
    assert (np.abs(after - before)[2:, others] > 1e-9).all()
    assert np.ptp(before[:, 0]) > 1e-3


@pytest.mark.parametrize("with_clean", [True, False])
def test_suspects_keep_the_probability_that_models_of_other_folds_give(
    with_clean, exact
):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    clean = with_clean & (np.arange(300) < 60)
    y[~clean & (rng.random(300) < 0.3)] = 2
    fold = np.where(clean | (not with_clean), np.arange(300) % 5, -1)
    trial = _search(X, y, fold, clean).suspect()

    noisy = np.flatnonzero(~clean)
    log_p = np.empty((len(noisy), 3))
    for out in range(5):
        asked = noisy % 5 == out
        clf = ConceptBottleneckClassifier(tol=1e-12).fit(
            X[noisy][~asked], y[noisy][~asked]
        )
        log_p[asked] = np.log(clf.predict_proba(X[noisy][asked]))
    codes, scores = torch.tensor(y[noisy]), torch.tensor(log_p)

    class Head(SoftmaxHead):
        def log_probabilities(self, scores):
            return scores

    terms = LeftOut(Head(3), torch.arange(len(noisy)), codes, scores, scores)
    wrong = judge([terms])[0].log_odds.sigmoid().numpy()
    found = trial.suspicion.probability_wrong.numpy()
    np.testing.assert_allclose(found[noisy], wrong, rtol=1e-6, atol=1e-9)
    assert np.isnan(found[clean]).all()
    assert 0.1 < trial.suspicion.rate < 0.3
    kept = np.where(wrong > 0.5, 0.0, 1 - wrong)
    multipliers = trial.multipliers.numpy()
    assert (multipliers[clean] == 1).all()
    np.testing.assert_allclose(
        multipliers[noisy], kept / kept.mean(), rtol=1e-6, atol=1e-11
    )
    assert 10 < (kept == 0).sum() < 100


def test_rows_that_are_alone_in_their_class_are_not_suspected():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    y, clean = (X[:, 0] > 0).astype(int), np.arange(60) < 20
    search = _search(X, y, np.where(clean, np.arange(60) % 5, -1), clean)
    own = torch.full((60,), -1)
    search._rows = replace(search._rows, own_fold=own)
    assert search.suspect() is None


def test_labels_of_rows_that_are_held_out_do_not_lift_a_class():
    labels, held_out = np.repeat([0, 1], [20, 400]), np.arange(420) % 4 == 0
    log_odds = torch.tensor(np.where(held_out, 0.0, np.where(labels == 0, -12.0, 4.0)))
    weights = torch.tensor(~held_out).double()[:, None]
    moved = np.where(held_out, 1 - labels, labels)
    own, other = (
        _multipliers(log_odds[:, None], torch.tensor(codes), weights, 2.0)
        for codes in (labels, moved)
    )
    torch.testing.assert_close(own, other, rtol=0, atol=0)
    assert own[1] > 0.05  # lifted: its log-odds alone say 1e-5


@pytest.mark.parametrize("n_classes", [2, 5])
def test_noise_has_the_rate_that_makes_labels_most_likely(n_classes):
    rng = np.random.default_rng(0)
    own = np.where(rng.random(80) < 0.25, 0.02, rng.beta(8, 1, 80))
    weights = rng.uniform(0.5, 2, 80)
    losses, share = reweighting._through_noise(
        -torch.from_numpy(own).log(), torch.from_numpy(weights), n_classes
    )

    def mean(rate):
        return np.average(-np.log((1 - rate) * own + rate / n_classes), weights=weights)

    rate = share * n_classes / (n_classes - 1)
    assert 0.05 < rate < 0.95
    np.testing.assert_allclose(np.average(losses, weights=weights), mean(rate))
    assert mean(rate) < min(mean(rate - 1e-4), mean(rate + 1e-4))


def test_labels_that_are_as_likely_as_can_be_have_no_noise():
    losses = torch.full((10,), 0.1, dtype=torch.float64)
    through, share = reweighting._through_noise(losses, torch.ones(10).double(), 4)
    assert share == 0
    torch.testing.assert_close(through, losses)


def test_labels_worse_than_chance_are_all_noise():
    losses = torch.full((10,), 800.0, dtype=torch.float64)  # a probability of 0
    through, share = reweighting._through_noise(losses, torch.ones(10).double(), 4)
    assert share == 0.75  # a quarter of random labels is right
    torch.testing.assert_close(through, torch.full_like(through, np.log(4)))


def test_the_probability_of_error_is_differentiated(exact):
    setting = _Setting(concepts=False)
    fitted = setting.models.fit(setting.weights, None)
    shares = setting.shares[:, :, None]
    harm = setting.models.harm(fitted, setting.weights, HELD_OUT, shares, "error")
    # By the chain rule, the error 1 - exp(-loss) weighs each row's loss by exp(-loss).
    for m, model in enumerate(fitted):
        proba = model.label_probabilities(setting.data.features[HELD_OUT])
        own = proba.gather(1, setting.data.labels[HELD_OUT][:, None])
        through_loss = setting.models.harm(
            fitted, setting.weights, HELD_OUT, shares * own[:, None]
        )
        torch.testing.assert_close(harm[:, m], through_loss[:, m])
