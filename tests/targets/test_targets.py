"""Targets of sets: their definitions by loops, how they look, and what they refuse."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from skclif import ConceptInfluenceExplainer, InfluenceReweighter, targets
from skclif._explain.suggestions.selection import ListEffects
from skclif.exceptions import ManyValuesWarning
from skclif.numerics import set_targets
from skclif.numerics.targets import SetTarget
from skclif.targets import (
    Target,
    demographic_parity_gap,
    equalized_odds_gap,
    expected_cost,
    from_function,
    smooth_auroc,
    worst_group_loss,
)
from skclif.targets._draws import changes_of_draws
from skclif.targets._target import bind, take, undefined

RNG = np.random.default_rng(0)
N = 30
Y, GROUPS = RNG.integers(0, 3, N), np.array(["a", "b", "c"])[RNG.integers(0, 3, N)]
PROBA = RNG.dirichlet(np.ones(3), N)
COSTS = np.array([[0.0, 1, 2], [3, 0, 1], [-1, 4, 0]])


def worst(proba, y, groups):
    return max(
        log_loss(y[groups == g], proba[groups == g], labels=range(proba.shape[1]))
        for g in np.unique(groups)
    )


def parity_gap(proba, y, groups):
    rates = [proba[groups == g].mean(axis=0) for g in np.unique(groups)]
    return max(np.ptp(rates, axis=0))


def odds_gap(proba, y, groups):
    return max(parity_gap(proba[y == c], y, groups[y == c]) for c in np.unique(y))


def ordered(proba, y, temperature):
    found = []
    for c in range(1, 2) if proba.shape[1] == 2 else range(proba.shape[1]):
        odds = np.log(proba[:, c] / (1 - proba[:, c]))
        pairs = odds[y == c][:, None] - odds[y != c]
        found.append((1 / (1 + np.exp(-pairs / temperature))).mean())
    return np.mean(found)


def cost(proba, y):
    return np.mean([proba[i] @ COSTS[y[i]] for i in range(len(y))])


NAIVE = {
    worst_group_loss(GROUPS): lambda p: worst(p, Y, GROUPS),
    demographic_parity_gap(GROUPS): lambda p: parity_gap(p, Y, GROUPS),
    equalized_odds_gap(GROUPS): lambda p: odds_gap(p, Y, GROUPS),
    smooth_auroc(): lambda p: ordered(p, Y, 0.25),
    smooth_auroc(temperature=2): lambda p: ordered(p, Y, 2),
    expected_cost(COSTS): lambda p: cost(p, Y),
}


def numeric(target, y=Y, proba=PROBA):
    proba = torch.from_numpy(proba)
    return bind(target, y, proba.shape[1], proba, torch.device("cpu"))


@pytest.mark.parametrize("target", NAIVE, ids=repr)
def test_values_are_those_of_loops(target):
    others = RNG.dirichlet(np.ones(3), (4, N))
    found = numeric(target).function(torch.from_numpy(others))
    expected = [NAIVE[target](proba) for proba in others]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("target", NAIVE, ids=repr)
def test_derivatives_are_those_of_differences(target):
    value, slopes = numeric(target).in_probabilities(torch.from_numpy(PROBA))
    assert float(value) == pytest.approx(NAIVE[target](PROBA))
    step = 1e-6
    for row in range(0, N, 7):
        # Probabilities add up to 1: from the first class to another.
        for code in (1, 2):
            move = np.zeros_like(PROBA)
            move[row, [0, code]] = -step, step
            change = NAIVE[target](PROBA + move) - NAIVE[target](PROBA - move)
            expected = float(slopes[row, code] - slopes[row, 0])
            assert change / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_two_classes():
    proba, y = np.column_stack([PROBA[:, 0], 1 - PROBA[:, 0]]), Y % 2
    auroc = numeric(smooth_auroc(temperature=1e-6), y, proba)
    found = auroc.function(torch.from_numpy(proba))
    assert float(found) == pytest.approx(roc_auc_score(y, proba[:, 1]))
    # The rates of true and of false positives, in means of probabilities.
    rates = [[proba[(y == c) & (g == GROUPS), 1].mean() for g in "abc"] for c in (0, 1)]
    gap = numeric(equalized_odds_gap(GROUPS), y, proba)
    found = gap.function(torch.from_numpy(proba))
    assert float(found) == pytest.approx(np.ptp(rates, axis=1).max())


def test_pairs_come_in_blocks(monkeypatch):
    whole = numeric(smooth_auroc()).in_probabilities(torch.from_numpy(PROBA))
    monkeypatch.setattr(set_targets, "_MOST_PAIRS", 40)
    parts = numeric(smooth_auroc()).in_probabilities(torch.from_numpy(PROBA))
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_probabilities_of_zero_have_a_loss():
    sure = np.eye(3)[(Y + 1) % 3]
    value, slopes = numeric(worst_group_loss(GROUPS)).in_probabilities(
        torch.from_numpy(sure)
    )
    assert value.isfinite()
    assert slopes.isfinite().all()


@pytest.mark.parametrize("target", NAIVE, ids=repr)
def test_rows_add_up_to_the_change(target):
    before, after = map(torch.from_numpy, (PROBA, RNG.dirichlet(np.ones(3), N)))
    number = numeric(target)
    rows = number.contributions(before, after)
    change = number.function(after) - number.function(before)
    torch.testing.assert_close(rows.mean(), change, rtol=1e-12, atol=1e-14)
    # A row that does not change adds the error of the places between alone.
    after[:N:2] = before[:N:2]
    still = number.contributions(before, after)[:N:2]
    moved = number.contributions(before, after)[1:N:2]
    assert still.abs().max() < 0.1 * moved.abs().max()


def test_rows_of_a_mean_add_their_own_change():
    before, after = map(torch.from_numpy, (PROBA, RNG.dirichlet(np.ones(3), N)))
    rows = numeric(expected_cost(COSTS)).contributions(before, after)
    own = ((after - before) * torch.from_numpy(COSTS[Y])).sum(dim=1)
    torch.testing.assert_close(rows, own)


def test_a_gap_that_opens_on_the_other_side_is_followed():
    groups = np.repeat(["a", "b"], 5)
    number = numeric(
        demographic_parity_gap(groups), np.zeros(10, int), np.full((10, 2), 0.5)
    )
    high = torch.linspace(0.6, 0.7, 5).double()
    one, other = torch.cat([high, 1 - high]), torch.cat([1 - high, high])
    before, after = (torch.stack([1 - p, p], dim=1) for p in (one, other))
    # It closes half way, and what closed it opens it again: rows add nothing.
    assert number.contributions(before, after).abs().max() < 1e-12


def _draws(target, before, after, y=Y):
    return changes_of_draws(
        lambda rows: numeric(take(target, rows), y[rows], before[rows]),
        lambda rows: not undefined(take(target, rows), y[rows], "X"),
        torch.from_numpy(before),
        torch.from_numpy(after),
        np.random.RandomState(0),
    )


def test_draws_of_a_mean_vary_as_its_standard_error_says():
    after = RNG.dirichlet(np.ones(3), N)
    found = _draws(expected_cost(COSTS), PROBA, after)
    own = ((after - PROBA) * COSTS[Y]).sum(axis=1)
    assert len(found) == 200
    assert found.mean() == pytest.approx(own.mean(), abs=3 * found.std() / 200**0.5)
    assert found.std() == pytest.approx(own.std() / N**0.5, rel=0.2)


def test_a_gap_by_chance_is_closed_on_these_rows_only():
    rng = np.random.default_rng(3)
    groups = np.repeat(["a", "b"], 30)
    high = rng.uniform(0.3, 0.7, 60)
    gap = high[:30].mean() - high[30:].mean()
    closed = high - np.repeat([gap, 0], 30)
    before, after = (np.column_stack([1 - p, p]) for p in (high, closed))
    found = _draws(demographic_parity_gap(groups), before, after, np.zeros(60, int))
    whole = parity_gap(after, None, groups) - parity_gap(before, None, groups)
    assert whole == pytest.approx(-abs(gap))
    assert found.min() == pytest.approx(whole, abs=1e-9)
    assert (found > 0).mean() > 0.1


def test_without_enough_draws_there_is_no_interval():
    # Both groups are in half of the draws of two rows, which is just not enough.
    half, y = np.full((2, 2), 0.5), np.zeros(2, int)
    random_state = np.random.RandomState(0)
    both = [len(set(random_state.randint(2, size=2))) == 2 for _ in range(400)]
    found = _draws(equalized_odds_gap(["one", "other"]), half, half, y)
    assert len(found) == (200 if sum(both) >= 200 else 0)
    effects = ListEffects(np.arange(60) % 10, np.zeros((10, 60)), np.empty(0))
    assert effects.interval() is None


# --- Functions ------------------------------------------------------------------------


def focal_loss(proba, y):
    own = proba[torch.arange(len(y)), y]
    return -((1 - own) ** 2 * torch.log(own)).mean()


def _of_arrays(proba, weights):
    return np.quantile(proba[:, 1] * weights, 0.3)


def test_how_functions_are_called_is_found_out():
    kinds = {
        "autograd": numeric(from_function(focal_loss, with_y=True)),
        "tensors": numeric(from_function(lambda p: float(p[:, 1].mean()))),
        "arrays": numeric(from_function(_of_arrays, np.arange(N))),
    }
    assert [one.is_differentiable for one in kinds.values()] == [True, False, False]
    takes = [one.function.takes for one in kinds.values()]
    assert takes == ["tensors", "tensors", "arrays"]
    many = torch.from_numpy(RNG.dirichlet(np.ones(3), (2, N)))
    for name, expected in {
        "autograd": [float(focal_loss(p, torch.from_numpy(Y))) for p in many],
        "tensors": many[:, :, 1].mean(dim=1),
        "arrays": [_of_arrays(p.numpy(), np.arange(N)) for p in many],
    }.items():
        np.testing.assert_allclose(kinds[name].function(many), expected, rtol=1e-12)


def test_a_function_gets_the_entries_of_its_rows():
    seen = {}

    def note(proba, y, texts, numbers):
        seen.update(y=y, texts=texts, numbers=numbers)
        return proba.mean()

    texts, numbers = np.array(list("xyz" * 10)), np.arange(N)
    target = from_function(note, texts, numbers, with_y=True)
    rows = np.array([3, 4, 8])
    numeric(take(target, rows), Y[rows], PROBA[rows])
    assert seen["texts"].tolist() == ["x", "y", "z"]
    assert isinstance(seen["numbers"], torch.Tensor)
    assert seen["numbers"].tolist() == [3, 4, 8]
    assert seen["y"].tolist() == Y[rows].tolist()


def test_a_function_cannot_change_the_probabilities():
    def spoil(proba):
        proba = np.asarray(proba)
        proba[:] = 0
        return 1.0

    before = torch.from_numpy(PROBA.copy())
    number = numeric(from_function(spoil))
    number.function(before)
    np.testing.assert_array_equal(before, PROBA)


def _raises(proba):
    raise KeyError("no such column")


def _differs(proba):
    raise TypeError("a tensor" if isinstance(proba, torch.Tensor) else "an array")


def _nan(proba):
    return proba.mean() * float("nan")


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda p: p[:, 1], r"lambda.*shape \(30,\), not one number.*It must take"),
        (lambda p: "many", "returned many, not one number"),
        (lambda p: None, "returned None, not one number"),
        (_raises, "With predicted probabilities it failed: KeyError: 'no such column'"),
        (_differs, "torch tensor .*TypeError: a tensor.*NumPy array: TypeError: an ar"),
        (_nan, "target=_nan returned nan for predicted probabilities; it must return"),
    ],
    ids=["rows", "text", "None", "raises", "differs", "nan"],
)
def test_functions_that_are_none(function, match):
    with pytest.raises(ValueError, match=match):
        numeric(from_function(function))


def test_what_needs_derivatives_says_how_to_get_them():
    number = numeric(from_function(_of_arrays, np.arange(N), name="low tail"))
    with pytest.raises(ValueError, match=r"This needs the derivative .* low tail .*"):
        number.in_probabilities(torch.from_numpy(PROBA))


def test_a_function_that_does_not_move_has_derivatives_of_zero():
    number = SetTarget(lambda proba: (0 * proba).sum(), "nothing")
    _, slopes = number.in_probabilities(torch.from_numpy(PROBA))
    assert not slopes.any()


# --- What they are --------------------------------------------------------------------


@pytest.mark.parametrize("target", [*NAIVE, from_function(focal_loss)], ids=repr)
def test_pickled_and_cloned_targets_are_equal(target):
    copy = pickle.loads(pickle.dumps(target))
    assert copy == target
    assert hash(copy) == hash(target)
    assert repr(copy) == repr(target)
    held = InfluenceReweighter(LogisticRegression(), target=target)
    assert clone(held).target == target
    assert type(target).__module__ == "skclif.targets"


def test_other_targets_are_not_equal():
    different = [*NAIVE, worst_group_loss(GROUPS[::-1]), worst_group_loss(), "loss"]
    for i, one in enumerate(different):
        assert [one == other for other in different].index(True) == i
    assert worst_group_loss(GROUPS) != demographic_parity_gap(GROUPS)


def test_groups_are_copied():
    groups = GROUPS.copy()
    target = worst_group_loss(groups)
    groups[:] = "a"
    assert target == worst_group_loss(GROUPS)


@pytest.mark.parametrize("name", sorted(set(targets.__all__) - {"Target"}))
def test_directions_and_units(name):
    made = {
        "expected_cost": lambda: expected_cost(COSTS),
        "from_function": lambda: from_function(focal_loss, higher_is_better=False),
    }.get(name, getattr(targets, name))()
    assert isinstance(made, Target)
    assert made.higher_is_better is (name == "smooth_auroc")
    assert made.name
    assert made.unit
    assert repr(made).startswith(f"{name}(")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: worst_group_loss("abc"), ValueError, "groups must be one group for e"),
        (lambda: worst_group_loss(3), ValueError, "groups must be one group .*got 3"),
        (lambda: worst_group_loss([]), ValueError, "groups must be one group.*got non"),
        (
            lambda: worst_group_loss(PROBA),
            ValueError,
            "groups must be one group.*1d ar",
        ),
        (
            lambda: worst_group_loss(["a", None, "b"]),
            ValueError,
            r"groups has no value for row 1 \(1 of 3 are missing\). Name a group",
        ),
        (
            lambda: worst_group_loss(np.ma.masked_array(["a", "b"], mask=[1, 0])),
            ValueError,
            "groups is a masked array",
        ),
        (
            lambda: equalized_odds_gap(["a", "a"]),
            ValueError,
            "groups has one group, 'a', and equalized_odds_gap compares groups; two",
        ),
        (lambda: smooth_auroc(temperature="low"), TypeError, "temperature must be a n"),
        (
            lambda: smooth_auroc(temperature=True),
            TypeError,
            "temperature must be a num",
        ),
        (
            lambda: smooth_auroc(temperature=0),
            ValueError,
            "temperature=0 must be above",
        ),
        (lambda: expected_cost([1, 2]), ValueError, r"matrix must be one line.*\(2,\)"),
        (lambda: expected_cost([[1, 2]]), ValueError, r"matrix must be.*\(1, 2\)"),
        (lambda: expected_cost("ab"), ValueError, "matrix must be one line"),
        (
            lambda: expected_cost([[0, np.nan], [1, 0]]),
            ValueError,
            "matrix must be .* contains NaN",
        ),
        (
            lambda: from_function("loss"),
            TypeError,
            "function must be a function .*'los",
        ),
        (
            lambda: from_function(max, 3),
            ValueError,
            "row_values must have one entry.*3",
        ),
        (
            lambda: from_function(max, [[1, 2], [3]]),
            ValueError,
            "row_values must be arrays .*: setting an array element",
        ),
        (
            lambda: worst_group_loss([np.nan, "a"]),
            ValueError,
            r"groups has no value for row 0 \(1 of 2",
        ),
        (lambda: from_function(max, with_y=1), TypeError, "with_y must be True or"),
        (
            lambda: from_function(max, higher_is_better="yes"),
            TypeError,
            "higher_is_better must be True or False, got 'yes'",
        ),
        (lambda: from_function(max, name=3), TypeError, "name must be a text or None"),
        (lambda: from_function(max, unit=3), TypeError, "unit must be a text or None"),
    ],
)
def test_bad_arguments(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("make", [worst_group_loss, demographic_parity_gap])
def test_groups_that_seem_to_be_amounts(make):
    with pytest.warns(ManyValuesWarning, match="groups has 12 different groups in 20 "):
        make(np.arange(20) % 12)


# --- Meeting rows ---------------------------------------------------------------------

EXPLAINER = ConceptInfluenceExplainer(LogisticRegression())


@pytest.fixture(scope="module")
def explainer():
    X = np.column_stack([PROBA, Y % 2, Y == 1])
    return EXPLAINER.fit(X, Y), X


@pytest.mark.parametrize(
    ("target", "match"),
    [
        (worst_group_loss(GROUPS[:7]), "groups has 7 entries, but X has 30 rows"),
        (from_function(max, GROUPS, Y[:7]), "row_values 2 has 7 entries, but X has 30"),
        (worst_group_loss(), r"has no groups. Give one for each row of X: worst_group"),
        (expected_cost(COSTS[:2, :2]), "matrix has 2 rows, but the model has 3 class"),
        (lambda p: p[:, 9].mean(), "a function of predicted probabilities could not"),
    ],
    ids=["groups", "row values", "no groups", "costs", "a function"],
)
def test_rows_that_do_not_fit(explainer, target, match):
    explainer, X = explainer
    with pytest.raises(ValueError, match=match):
        explainer.influence(X, Y, target=target)


@pytest.mark.parametrize(
    ("target", "rows", "match"),
    [
        (
            smooth_auroc(),
            Y == 1,
            "compares rows of two classes, and all labels of X are",
        ),
        (
            demographic_parity_gap(GROUPS),
            GROUPS == "a",
            "compares groups, and all rows of X are of one",
        ),
        (
            equalized_odds_gap(GROUPS),
            (Y == 0) & (GROUPS == "a") | (Y == 1) & (GROUPS == "b"),
            "no label of X has rows of two groups",
        ),
    ],
    ids=repr,
)
def test_rows_of_which_a_target_is_not_defined(explainer, target, rows, match):
    explainer, X = explainer
    with pytest.raises(ValueError, match=match):
        explainer.influence(X[rows], Y[rows], target=take(target, rows))


ORDER = [2, 0, 1]


def test_named_costs_are_matched_by_name(explainer):
    explainer, X = explainer
    named = pd.DataFrame(COSTS)
    shuffled = named.loc[ORDER, ORDER[::-1]]
    expected, *others = (
        explainer.influence(X, Y, target=expected_cost(costs)).values
        for costs in (COSTS, named, shuffled)
    )
    for found in others:
        np.testing.assert_array_equal(found, expected)
    assert "classes=(2, 0, 1)" in repr(expected_cost(shuffled))
    assert expected_cost(shuffled) != expected_cost(shuffled.to_numpy())
    other = shuffled.rename(index={1: 9}, columns={1: 9})
    with pytest.raises(
        ValueError, match=r"names \[2, 0, 9\], but the classes.* \[0, 1"
    ):
        explainer.influence(X, Y, target=expected_cost(other))
    with pytest.raises(
        ValueError, match="lines and columns must both have the classes"
    ):
        expected_cost(shuffled.rename(columns={1: 9}))


def test_named_costs_of_a_reweighter():
    X, y = PROBA[:, :2], np.where(Y == 0, "again", "never")
    costs = pd.DataFrame([[0, 5], [1, 0]], ["never", "again"], ["never", "again"])
    one, other = (
        InfluenceReweighter(
            LogisticRegression(),
            target=expected_cost(matrix),
            strength=1.0,
            random_state=0,
        )
        .fit(X, y)
        .sample_weight_
        for matrix in (costs, [[0, 1], [5, 0]])
    )
    np.testing.assert_array_equal(one, other)
    odd = InfluenceReweighter(
        LogisticRegression(),
        target=expected_cost(
            costs.rename({"again": "no"}, axis=0).rename({"again": "no"}, axis=1)
        ),
    )
    with pytest.raises(ValueError, match="classes of the model are .'again', 'never'"):
        odd.fit(X, y)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (demographic_parity_gap, "groups"),
        (
            lambda g: from_function(_third, Y, g, higher_is_better=True),
            r"row_values.1.",
        ),
    ],
)
def test_values_of_rows_in_another_order(explainer, make, what):
    explainer, X = explainer
    X = pd.DataFrame(X)
    groups = pd.Series(np.where(GROUPS == "a", 0, 1))
    match = f"X.* and {what} have the same index in another order: row 0"
    turned = make(groups[::-1])
    with pytest.raises(ValueError, match=match):
        explainer.influence(X, Y, target=turned)
    with pytest.raises(ValueError, match=match):
        explainer.validate(X, Y, target=turned)
    with pytest.raises(ValueError, match=match):
        explainer.suggest_edits(X, Y, target=turned)
    with pytest.raises(ValueError, match=match):
        explainer.edit(drop=[1], X_val=X, y_val=Y, target=turned)
    held = InfluenceReweighter(LogisticRegression(), target=turned)
    with pytest.raises(ValueError, match=match):
        held.fit(X, Y)
    with pytest.raises(ValueError, match=match):
        held.fit(X.to_numpy()[:9], Y[:9], X_val=X, y_val=Y)
    # In the same order, or where the index says nothing of these rows, it is taken.
    same = explainer.influence(X, Y, target=make(groups)).values
    elsewhere = make(groups.set_axis(list("abc" * 10)))
    np.testing.assert_array_equal(
        explainer.influence(X, Y, target=elsewhere).values, same
    )
    assert make(groups) == make(groups.to_numpy())


def _third(proba, y, values):
    return (proba[:, 2] * values).mean()


def test_derivatives_that_are_not_finite(explainer):
    explainer, X = explainer
    rough = from_function(lambda p: (0 * p[:, 1]).sqrt().sum(), name="rough")
    first = ConceptInfluenceExplainer(LogisticRegression(), method="first_order")
    with pytest.raises(ValueError, match="derivative of target=rough is NaN or infin"):
        first.fit(X, Y).influence(X, target=rough)
    assert not explainer.influence(X, target=rough).values.any()


def test_a_function_that_fails_at_another_model(explainer):
    explainer, X = explainer
    first = explainer.predict_proba(X)

    def fails(proba):
        return 1.0 if np.allclose(proba, first, atol=1e-12) else 1 / 0

    with pytest.raises(
        ValueError, match="target=fails .* not at those of another.*Zero"
    ):
        explainer.influence(X, target=fails)


def test_a_function_that_holds_values_of_rows(explainer):
    explainer, X = explainer
    held = from_function(
        lambda p: (p[:, 1] * torch.as_tensor(X[:, 0])).mean(), higher_is_better=True
    )
    with pytest.raises(
        ValueError, match="belongs to them is given as row_values of fr"
    ):
        explainer.suggest_edits(X, Y, target=held)


def test_a_group_too_small_to_divide(explainer):
    explainer, X = explainer
    target = equalized_odds_gap(["x"] + ["a"] * (N - 1))
    with pytest.raises(
        ValueError,
        match=r"no label of a part of X .*divides the rows.*group 'x' has 1 row\)",
    ):
        explainer.suggest_edits(X, Y, target=target, random_state=0)


def test_other_misunderstandings(explainer):
    explainer, X = explainer
    with pytest.raises(ValueError, match=r"needs the labels of X; pass y"):
        explainer.influence(X, target=smooth_auroc())
    with pytest.raises(ValueError, match="reduce='mean' and target=.*exclude each oth"):
        explainer.influence(X, Y, target=smooth_auroc(), reduce="mean")
    with pytest.raises(TypeError, match=r"smooth_auroc, which makes targets. Call it:"):
        explainer.influence(X, Y, target=smooth_auroc)
    with pytest.raises(ValueError, match=r"target='f1' is not known.*skclif.targets"):
        explainer.influence(X, Y, target="f1")
