"""The influence of groups of training rows, each removed as a whole."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain import sets as module
from skclif.exceptions import InfluenceWarning

from ..data import make_concept_data, make_sparse_data

N = 100
WHO = np.array(["ann", "bob", "eve", "joe"])[np.arange(N) // 7 % 4]
pytestmark = pytest.mark.filterwarnings("ignore:Too large for method")
METHODS = ["pairwise", "leverage", "newton"]


def _soft(concepts):
    """Return the same concepts, those of food as shares, one in four not sure."""
    food = pd.get_dummies(concepts["food"]).astype(float)
    food[concepts["food"].isna()] = np.nan
    unsure = np.arange(len(food)) % 4 == 0
    food[unsure & concepts["food"].notna()] = [0.5, 0.3, 0.2]
    return concepts.drop(columns="food").join(food.add_prefix("food="))


MODELS = {
    "concepts": (ConceptBottleneckClassifier(), {}),
    "ordinal": (ConceptBottleneckClassifier(label_head="ordinal"), {"coded": True}),
    "residual": (ConceptBottleneckClassifier(residual_C=0.1), {}),
    "monotonic": (
        ConceptBottleneckClassifier(monotonic_cst={"price": 1}),
        {"coded": 1},
    ),
    "hard": (ConceptBottleneckClassifier(bottleneck="hard"), {}),
    "numbers": (ConceptBottleneckClassifier(), {"numbers": True}),
    "soft annotations": (ConceptBottleneckClassifier(), {"soft": True}),
    "float32": (ConceptBottleneckClassifier(), {"dtype": np.float32}),
    "sparse": (ConceptBottleneckClassifier(), {"sparse": True}),
    "regression": (LogisticRegression(tol=1e-8, max_iter=1000), {}),
}


def _data(coded=False, numbers=False, soft=False, sparse=False, dtype=float):
    if sparse:
        return make_sparse_data(N)
    X, y, concepts = make_concept_data(N)
    if coded:
        y = pd.Series(y).map({"never": 0, "perhaps": 1, "again": 2}).to_numpy()
    if numbers:
        concepts["quiet"] = X[:, 1] + 0.1
    return X.astype(dtype), y, _soft(concepts) if soft else concepts


class Fitted:
    """An explainer, and its targets after real fits without groups."""

    def __init__(self, name):
        clf, how = MODELS[name]
        self.X, self.y, self.concepts = _data(**how)
        self.weights = np.where(np.arange(N) % 9 == 0, 0.0, 1.0 + np.arange(N) % 2)
        is_regression = isinstance(clf, LogisticRegression)
        self.metadata = {} if is_regression else {"concepts": self.concepts}
        self.exact = clone(clf).set_params(tol=1e-12 if is_regression else 1e-10)
        self.explainer = ConceptInfluenceExplainer(clf)
        self.explainer.fit(self.X, self.y, self.weights, **self.metadata)
        self.targets = self.X[:12], self.y[:12]

    def ask(self, method, **how):
        """Return the influence of the groups."""
        self.explainer.set_params(method=method)
        return self.explainer.influence(*self.targets, groups=WHO, **how)

    def losses(self, kept):
        """Return the losses of a model that was fitted to some rows from zero."""
        metadata = {name: value[kept] for name, value in self.metadata.items()}
        clf = self.exact.fit(self.X[kept], self.y[kept], self.weights[kept], **metadata)
        X, y = self.targets
        proba = clf.predict_proba(X)
        return -np.log(proba[np.arange(len(y)), np.searchsorted(clf.classes_, y)])


@pytest.mark.parametrize("name", MODELS)
def test_newton_is_retraining_without_the_group(name):
    fitted = Fitted(name)
    found = fitted.ask("newton")
    assert found.groups.tolist() == ["ann", "bob", "eve", "joe"]
    before = fitted.losses(np.ones(N, dtype=bool))
    truth = np.stack(
        [before - fitted.losses(who != WHO) for who in found.groups], axis=1
    )
    assert np.linalg.norm(found.values - truth) < 0.003 * np.linalg.norm(truth)


@pytest.fixture(scope="module")
def fitted():
    return Fitted("concepts")


@pytest.mark.parametrize("method", METHODS)
def test_paths_and_sums_over_targets(fitted, method):
    each = fitted.ask(method)
    paths = fitted.ask(method, paths=True, reduce="sum")
    assert each.method == paths.method == method
    assert paths.paths == ("label", "food", "quiet", "price", "interaction")
    np.testing.assert_allclose(paths.totals[0], each.values.sum(axis=0), atol=1e-9)
    assert f"by {method}: 12 targets x 4 groups" in repr(each)
    top = paths.top(2)
    assert top["group"].isin(["ann", "bob", "eve", "joe"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_regression_has_one_path(method):
    fitted = Fitted("regression")
    alone, paths = fitted.ask(method), fitted.ask(method, paths=True)
    assert paths.paths == ("label",)
    np.testing.assert_array_equal(paths.values[:, :, 0], alone.values)


def test_better_methods_are_nearer(fitted):
    truth = fitted.ask("newton").values
    errors = [
        np.linalg.norm(fitted.ask(method).values - truth)
        for method in ("first_order", "pairwise", "leverage")
    ]
    assert errors == sorted(errors, reverse=True)
    auto = fitted.ask("auto")
    assert auto.method == "newton"
    np.testing.assert_array_equal(auto.values, truth)


def test_rows_by_pairs_are_groups_of_one(fitted):
    fitted.explainer.set_params(method="pairwise")
    rows = fitted.explainer.influence(*fitted.targets).values
    groups = fitted.explainer.influence(*fitted.targets, groups=np.arange(N)).values
    counted = fitted.weights > 0  # otherwise a value may be theirs alone
    np.testing.assert_allclose(rows[:, counted], groups[:, counted], atol=1e-12)


# --- Groups that hold what a head needs -----------------------------------------------

IN_FOOD = "group True has all annotations 'bad' of 'food'"


@pytest.mark.parametrize("method", METHODS)
def test_a_group_with_all_rows_of_a_class_has_no_influence(fitted, method):
    groups = np.where(fitted.y == "again", "holds", WHO)
    fitted.explainer.set_params(method=method)
    with pytest.warns(
        InfluenceWarning,
        match=r"of 1 of 5 groups is NaN, .* group 'holds' has all rows with the label "
        r"'again'\. Put such a group together .* method='first_order'",
    ):
        found = fitted.explainer.influence(*fitted.targets, groups=groups, paths=True)
    assert np.isnan(found.values).all(axis=(0, 2)).tolist() == [0, 0, 0, 1, 0]
    assert np.isfinite(found.values[:, found.groups != "holds"]).all()


def test_a_derivative_misses_no_class(fitted):
    fitted.explainer.set_params(method="first_order")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fitted.explainer.influence(*fitted.targets, groups=fitted.y)
    assert np.isfinite(found.values).all()


def _some_of(column):
    return column.notna().to_numpy()


@pytest.mark.parametrize(
    ("choose", "match"),
    [
        (lambda own: (own.concepts["food"] == "bad").to_numpy(), IN_FOOD),
        (lambda own: _some_of(own.concepts["price"]), "all annotations of 'price'"),
        (lambda own: np.zeros(N, dtype=int), "group 0 is NaN: all training rows are"),
        (lambda own: own.y, "of 3 of 3 groups is NaN"),
        (lambda own: np.arange(N) // 5 * (own.y != "never"), "group 0 has all rows"),
    ],
)
def test_what_a_group_holds_is_named(fitted, choose, match):
    fitted.explainer.set_params(method="newton")
    with pytest.warns(InfluenceWarning, match=match):
        fitted.explainer.influence(*fitted.targets, groups=choose(fitted))


def test_many_such_groups_are_counted(fitted):
    explainer = clone(fitted.explainer).set_params(method="leverage")
    y = np.arange(N) // 10
    explainer.fit(fitted.X, y, concepts=fitted.concepts)
    with pytest.warns(InfluenceWarning, match="label 4; and 5 more. Put"):
        found = explainer.influence(fitted.X[:2], groups=y)
    assert np.isnan(found.values).all()


# Most rows of a feature's upper half in one group, with weak penalties: what remains
# has little curvature, and many small steps lead nowhere near the optimum.
@pytest.mark.parametrize(
    ("C", "bottleneck", "column"),
    [(100, "logit", 3), (1000, "soft", 4), (1e4, "logit", 5), (1e4, "soft", 2)],
)
def test_newton_with_weak_penalties_is_the_edit(C, bottleneck, column):
    rng = np.random.default_rng(column)
    X = rng.normal(size=(120, 6))
    y = np.digitize(X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=120), [-0.7, 0.7])
    noisy = X[:, :2] + 0.9 * rng.normal(size=(120, 2))
    values = np.array(["no", "mid", "yes"])[np.digitize(noisy, [-0.5, 0.5])]
    concepts = pd.DataFrame(values, columns=["a", "b"])
    clf = ConceptBottleneckClassifier(C=C, concept_C=C, bottleneck=bottleneck)
    explainer = ConceptInfluenceExplainer(clf, method="newton")
    explainer.fit(X, y, concepts=concepts)
    group = (X[:, column % 2] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = explainer.influence(X[:40], y[:40], groups=group).values

    def losses(estimator):
        return -np.log(estimator.predict_proba(X[:40])[np.arange(40), y[:40]])

    for i in range(2):
        left = explainer.edit(drop=np.flatnonzero(group == i).tolist()).estimator
        truth = losses(explainer.estimator_) - losses(left)
        error = np.linalg.norm(found[:, i] - truth)
        assert error < 1e-3 * np.linalg.norm(truth)


@pytest.mark.parametrize("method", METHODS)
def test_groups_with_much_of_the_curvature_are_warned_of(fitted, method):
    fitted.explainer.set_params(method=method)
    most = np.where(np.arange(N) % 4 == 0, "few", "most")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fitted.explainer.influence(*fitted.targets, groups=most)
    told = [str(w.message) for w in caught if "Too large" in str(w.message)]
    assert len(told) == (method != "newton")
    assert all(f"method='{method}'" in text and "'most':" in text for text in told)


def test_single_rows_are_not_too_large_for_leverage(fitted):
    fitted.explainer.set_params(method="leverage")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Too large")
        fitted.explainer.influence(*fitted.targets, groups=np.arange(N))


@pytest.mark.parametrize("container", [pd.Series, pd.DataFrame])
def test_nullable_integers_stay_integers(fitted, container):
    fitted.explainer.set_params(method="first_order")
    who = container(pd.array(np.arange(N) % 2 + 2**60, dtype="Int64"))
    found = fitted.explainer.influence(*fitted.targets, groups=who)
    assert found.groups.dtype == np.int64
    assert found.groups.tolist() == [2**60, 2**60 + 1]


def test_what_does_not_converge_is_said(fitted, monkeypatch):
    fitted.explainer.set_params(method="newton")
    monkeypatch.setattr(module, "_UNFINISHED", -1.0)
    with pytest.warns(
        InfluenceWarning, match="removal of 4 of 4 groups did not converge .group '"
    ):
        fitted.explainer.influence(*fitted.targets, groups=WHO)


def test_a_group_that_is_not_defined_in_closed_form_is_refused(fitted, monkeypatch):
    fitted.explainer.set_params(method="leverage")
    everything = module.remove_sets

    def undefined(*args, **kwargs):
        for block, influence, error in everything(*args, **kwargs):
            influence[:, 1] = np.inf
            yield block, influence, error

    monkeypatch.setattr(module, "remove_sets", undefined)
    with pytest.raises(ValueError, match="influence of group 'bob' is not defined: a"):
        fitted.explainer.influence(*fitted.targets, groups=WHO)


@pytest.mark.parametrize("method", ["pairwise", "leverage"])
def test_hard_activations_are_warned_of(method):
    explainer = Fitted("hard").explainer.set_params(method=method)
    X, y, _ = _data()
    with pytest.warns(InfluenceWarning, match="Use method='newton'"):
        explainer.influence(X[:2], y[:2], groups=WHO)


def test_groups_in_another_order_are_refused():
    X, y, concepts = make_concept_data(N)
    frame = pd.DataFrame(X, columns=list("abcdef")[: X.shape[1]])
    frame.index = concepts.index = [f"r{i}" for i in range(N)]
    who = pd.Series(WHO, index=frame.index)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(frame, y, concepts=concepts)
    concepts_only = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    concepts_only.fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="row 0 is 'r0' in fit and 'r99' in groups"):
        concepts_only.influence(X[:2], y[:2], groups=who[::-1])
    same = explainer.influence(frame[:2], y[:2], groups=who).values
    plain = explainer.influence(frame[:2], y[:2], groups=WHO).values
    np.testing.assert_array_equal(same, plain)
    for ask in (
        lambda groups: explainer.influence(frame[:2], y[:2], groups=groups),
        lambda groups: explainer.suspect_labels(groups=groups),
        lambda groups: explainer.edit(drop=[0]).explainer.influence(
            frame[:2], y[:2], groups=groups
        ),
    ):
        with pytest.raises(ValueError, match="groups has the index of the training"):
            ask(who[::-1])
    more = {"X": frame[:1], "y": y[:1], "concepts": concepts[:1]}
    longer = explainer.edit(add=more).explainer
    assert longer.influence(frame[:2], y[:2], groups=[*WHO, "new"]).values.shape[1] == 5


def test_words_are_not_those_of_groups():
    X, y, concepts = make_concept_data(N)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    result = explainer.influence(X[:2], y[:2], groups=WHO)
    with pytest.raises(ValueError, match="This result is about groups"):
        result.words(1)
