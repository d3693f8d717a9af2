"""Statistics of drift, against definitions that are slow and obvious."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, sparse, stats
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs.training_rows import TrainingRows
from skclif._models.fitted import FittedHeads
from skclif.numerics.drift import (
    Interactions,
    Scores,
    adjusted,
    cross_fitted_scores,
    discriminants,
    head_scores,
    label_scores,
    left_out_scores,
    permutation_keys,
    permuted_groups,
    principal_columns,
    recalibrate,
    share_reaching,
    surprise,
    told_apart,
    whitened,
)
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.sparse import SparseFeatures
from skclif.numerics.suspects import leave_out

RNG = np.random.default_rng(0)
IS_NEW = np.arange(60) >= 40


def tensor(array):
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


@pytest.fixture(scope="module")
def explainer():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 3))
    grade = np.digitize(X[:, 0] + rng.normal(size=50), [-0.5, 0.5]).astype(object)
    grade[:4] = None
    concepts = np.column_stack([grade, (X[:, 1] + rng.normal(size=50) > 0)])
    y = (X[:, 0] + rng.normal(size=50) > 0).astype(int)
    clf = ConceptBottleneckClassifier(concept_C=0.5)
    return ConceptInfluenceExplainer(clf).fit(X, y, concepts=concepts)


def test_the_observed_group_comes_first_and_all_are_as_large():
    keys = permutation_keys(IS_NEW, 50, np.random.default_rng(0))
    groups = permuted_groups(keys, 20)
    np.testing.assert_array_equal(groups[:, 0].numpy(), IS_NEW)
    np.testing.assert_array_equal(groups.sum(dim=0).numpy(), 20)
    part = permuted_groups(keys[30:], 20)  # only 10 training rows are left
    np.testing.assert_array_equal(part[:, 0].numpy(), IS_NEW[30:])
    assert (part.mean(dim=1)[:10] > 0.4).all()  # they are new in other permutations


def test_left_out_scores_are_those_of_retraining_with_the_middle_held(explainer):
    solved = explainer._solved_model()
    found = left_out_scores(solved.bottleneck, solved.data, solved.factors)
    again = left_out_scores(
        solved.bottleneck, solved.data, solved.factors, block_rows=7
    )
    torch.testing.assert_close(found, again)
    X, rows = explainer._training["features"], TrainingRows(**explainer._training)
    heads = explainer._heads()
    middle = tensor(X.mean(axis=0))[None]
    fitted = heads.tensors()
    for row in (0, 7, 21):
        codes = rows.codes.copy()
        codes[row] = np.nan
        concepts = heads.schema.decode(np.nan_to_num(codes)).astype(object)
        concepts[np.isnan(codes)] = None
        clf = ConceptBottleneckClassifier(concept_C=0.5)
        without = FittedHeads.of(clf.fit(X, rows.labels, concepts=concepts)).tensors()
        moved = without.concept_scores(middle) - fitted.concept_scores(middle)
        wanted = without.concept_scores(tensor(X[[row]])) - moved
        step = wanted - fitted.concept_scores(tensor(X[[row]]))
        # One step in closed form is close to, and not equal to, retraining.
        torch.testing.assert_close(
            found[[row]], wanted, atol=0.15 * float(step.abs().max()) + 1e-6, rtol=0
        )


def test_a_head_that_learned_nothing_has_scores_that_tell_no_annotation():
    rng = np.random.default_rng(2)
    X, food = rng.normal(size=(40, 2)), np.arange(40) < 8
    clf = ConceptBottleneckClassifier(concept_C=1e-6)
    explainer = ConceptInfluenceExplainer(clf)
    explainer.fit(X, rng.integers(2, size=40), concepts=food[:, None])
    solved = explainer._solved_model()
    scores = left_out_scores(solved.bottleneck, solved.data, solved.factors)
    # Without a "yes" there are fewer of them, so the constant alone tells it.
    plain = leave_out(solved.bottleneck, solved.data, solved.factors)[1].without
    assert roc_auc_score(food, plain[:, 0].numpy()) == 0
    assert 0.2 < roc_auc_score(food, scores[:, 0].numpy()) < 0.8
    assert scores.std() < 1e-4


def test_cross_fitted_scores_are_those_of_fits_without_the_fold(explainer):
    rows, heads = TrainingRows(**explainer._training), explainer._heads()
    new = tensor(RNG.normal(size=(6, 3)))
    folds = np.arange(50) % 2, np.arange(6) % 2
    found = cross_fitted_scores(
        heads.tensors(),
        rows.data(),
        new,
        heads.penalties["concept_penalties"],
        folds,
        tol=1e-8,
        max_iter=200,
    )
    weights = rows.concept_weights * (folds[0] != 1)[:, None]
    kept = replace(rows, concept_weights=weights)
    food = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000)
    at = (weights[:, 1] > 0) & ~np.isnan(rows.codes[:, 1])
    food.fit(kept.features[at], rows.codes[at, 1])
    own = folds[0] == 1
    wanted = food.decision_function(rows.features[own])
    np.testing.assert_allclose(found[:50][own, 2], wanted, atol=1e-4)
    others = food.decision_function(new.numpy()[folds[1] == 1])
    np.testing.assert_allclose(found[50:][folds[1] == 1, 2], others, atol=1e-4)


def test_discriminants_are_hotellings_statistics():
    columns = RNG.normal(size=(60, 3))
    columns[:, 2] = 2 * columns[:, 0] + 1  # says nothing new
    groups = permuted_groups(permutation_keys(IS_NEW, 2, RNG), 20)
    found = discriminants([whitened(tensor(columns))], groups)[:, 0].numpy()
    inverse = np.linalg.inv(np.cov(columns[:, :2].T))
    for k, group in enumerate(groups.T.numpy().astype(bool)):
        gap = columns[group, :2].mean(axis=0) - columns[~group, :2].mean(axis=0)
        np.testing.assert_allclose(found[k], 20 * 40 / 60 * gap @ inverse @ gap)


def test_columns_that_do_not_vary_span_nothing():
    assert whitened(tensor(np.full((60, 2), 3.0))).shape == (60, 0)
    assert discriminants([tensor(np.empty((60, 0)))], tensor(IS_NEW)[:, None]) == 0


def test_rows_are_told_apart_by_folds_that_did_not_see_them():
    columns = RNG.normal(size=(60, 2)) + IS_NEW[:, None]
    folds = np.arange(60) % 3
    said = np.empty(60)
    for fold in range(3):
        model = LinearRegression().fit(columns[folds != fold], IS_NEW[folds != fold])
        said[folds == fold] = model.predict(columns[folds == fold])
    wanted = roc_auc_score(IS_NEW, said)
    np.testing.assert_allclose(told_apart(tensor(columns), IS_NEW, folds), wanted)


def test_main_directions_are_those_of_the_singular_values_also_of_sparse_features():
    X = RNG.normal(size=(80, 6)) * [9, 7, 5, 0.1, 0.1, 0.1] + 3
    parts = [tensor(X[:50]), tensor(X[50:])]
    found = principal_columns(parts, 3).numpy()
    left = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[0][:, :3]
    outside = found - left @ (left.T @ found)
    assert np.abs(outside).max() < 1e-4 * np.abs(found).max()
    few = [SparseFeatures.of(sparse.csr_array(part.numpy())) for part in parts]
    np.testing.assert_allclose(principal_columns(few, 3).numpy(), found, atol=1e-9)


def naive_statistic(rows, group, tested, nuisance):
    """Return the score statistic with everything written out, row by row."""
    g, info = rows.gradients.numpy(), rows.information.numpy()
    total, own = info.sum(axis=0), info[group].sum(axis=0)
    projected = group[:, None] * g - g @ np.linalg.solve(total, own)
    among = own - own @ np.linalg.solve(total, own)
    A = among[np.ix_(nuisance, nuisance)] + np.eye(len(nuisance))
    slope = np.linalg.solve(A, among[np.ix_(nuisance, tested)])
    efficient = projected[:, tested] - projected[:, nuisance] @ slope
    u, variance = efficient.sum(axis=0), efficient.T @ efficient
    variance = variance + np.eye(len(tested))
    return u @ np.linalg.solve(variance, u)


def test_score_statistics_are_sums_over_rows():
    design = np.column_stack([RNG.normal(size=(60, 3)), np.ones(60)])
    labels = torch.from_numpy((design[:, 0] + RNG.normal(size=60) > 0).astype(int))
    rows = label_scores(tensor(design[:, :3]), labels, 2, 1.0)
    groups = permuted_groups(permutation_keys(IS_NEW, 3, RNG), 20)
    interactions = Interactions.of(rows, groups)
    statistics, _ = interactions.tested([0, 1], [2, 3], tensor([1.0, 0.0]))
    assert statistics.shape == (4, 2)
    for k, group in enumerate(groups.T.numpy().astype(bool)):
        wanted = naive_statistic(rows, group, [0, 1], [2, 3])
        np.testing.assert_allclose(statistics[k, 0], wanted, rtol=1e-6)
    alone, _ = interactions.tested([0], [2, 3])
    np.testing.assert_allclose(statistics[:, 1], alone[:, 0], rtol=0.2)
    assert interactions.tested([0], [2], tensor([0.0]))[0].shape == (4, 1)


def test_the_gain_is_about_what_a_fit_with_interactions_gains():
    rng = np.random.default_rng(3)
    x, is_new = rng.normal(size=(4000, 1)), np.arange(4000) >= 2500
    odds = np.where(is_new, 0.6, 1.0) * x[:, 0]
    y = (rng.random(4000) < 1 / (1 + np.exp(-odds))).astype(int)
    rows = label_scores(tensor(x), torch.from_numpy(y), 2, 1e-6)
    _, gain = Interactions.of(rows, tensor(is_new)[:, None]).tested([0], [1])
    both = np.column_stack([x, is_new, is_new * x[:, 0]])
    fits = []
    for columns in (both[:, :2], both):
        model = LogisticRegression(C=1e9, tol=1e-10).fit(columns, y)
        fits.append(np.log(model.predict_proba(columns)[np.arange(4000), y]).sum())
    np.testing.assert_allclose(gain, fits[1] - fits[0], rtol=0.1)


@pytest.mark.parametrize("n_values", [2, 3])
def test_scores_of_a_head_add_up_to_zero_where_it_is_recalibrated(n_values):
    head = SoftmaxHead(n_values)
    scores = tensor(RNG.normal(size=(60, n_values - 1)))
    codes = tensor(RNG.integers(n_values, size=60))
    rows = head_scores(head, scores, codes)
    assert rows.gradients.shape == (60, n_values)  # constants, and one factor
    assert rows.gradients.sum(dim=0).abs().max() < 0.02  # a slight penalty
    squares = rows.gradients.T @ rows.gradients
    expected = rows.information.sum(dim=0)
    np.testing.assert_allclose(squares.diagonal(), expected.diagonal(), rtol=0.5)
    constant = head_scores(head, torch.zeros_like(scores), codes)
    assert constant.gradients.shape == (60, n_values - 1)


def test_scores_of_a_number_are_in_units_of_its_own_spread():
    numbers = tensor(100 * RNG.normal(size=60))
    rows = head_scores(RidgeHead(), tensor(np.ones((60, 1))), numbers)
    wanted = (numbers - numbers.mean()) / numbers.var(unbiased=False)
    np.testing.assert_allclose(rows.gradients[:, 0], wanted, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(
        rows.information[:, 0, 0], 1 / numbers.var(unbiased=False), rtol=1e-3
    )


def test_recalibration_fits_best_with_a_penalty_of_one():
    head = SoftmaxHead(3)
    scores = tensor(RNG.normal(size=(60, 2)))
    codes = tensor(RNG.integers(3, size=60))

    def loss(change):
        moved = scores * change[2] + tensor(change[:2])
        penalty = (change[:2] ** 2).sum() + (change[2] - 1) ** 2
        return float(head.loss(moved, codes).sum()) + penalty / 2

    best = optimize.minimize(loss, np.array([0.0, 0.0, 1.0]), tol=1e-10)
    found = recalibrate(head, scores, codes).numpy()
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def test_own_weights_fit_best_and_move_other_rows_too():
    head = SoftmaxHead(3)
    scores, columns = tensor(RNG.normal(size=(60, 2))), tensor(RNG.normal(size=(60, 1)))
    codes = tensor(RNG.integers(3, size=60))

    def moved(change):
        return scores + tensor(change[:2]) + columns * tensor(change[2:])

    def loss(change):
        return float(head.loss(moved(change), codes).sum()) + (change**2).sum() / 2

    best = moved(optimize.minimize(loss, np.zeros(4), tol=1e-10).x)
    both = [scores, scores[:7]], [columns, columns[:7]]
    found, others = adjusted(head, *both, codes)
    np.testing.assert_allclose(found, best, atol=1e-3)
    torch.testing.assert_close(others, found[:7])


def test_surprise_is_about_minus_log_p_and_goes_on_beyond_all_permutations():
    chi2 = np.random.default_rng(4).chisquare([1, 2, 4], size=(5000, 3))
    chi2[0] = stats.chi2.ppf(1 - 1e-6, [1, 2, 4])
    for freedom in (None, np.array([1, 2, 4])):
        found = surprise(chi2, freedom)[0]
        np.testing.assert_allclose(found, -np.log(1e-6), rtol=0.15)
    chi2[0] *= 100
    assert (surprise(chi2)[0] > 200).all()
    assert (surprise(np.zeros((9, 2))) == 0).all()


def test_a_share_counts_the_observed_group():
    assert share_reaching(9.0, np.array([9.0, 1.0, 2.0, 3.0])) == 0.25
    assert share_reaching(2.0, np.array([2.0, 1.0, 2.0, 3.0])) == 0.75


def test_statistics_of_no_drift_are_those_of_chi_square():
    rng = np.random.default_rng(5)
    groups = permuted_groups(permutation_keys(np.arange(900) >= 600, 400, rng), 300)
    x = rng.normal(size=(900, 2))
    y = torch.from_numpy((x[:, 0] + rng.normal(size=900) > 0).astype(int))
    interactions = Interactions.of(label_scores(tensor(x), y, 2, 1.0), groups)
    statistics = interactions.tested([0], [1, 2])[0][:, 0]
    assert stats.kstest(statistics, "chi2", (1,)).pvalue > 0.001


def test_scores_name_their_parts():
    rows = Scores(tensor(np.ones((2, 1))), tensor(np.ones((2, 1, 1))))
    assert rows.parameters is None
