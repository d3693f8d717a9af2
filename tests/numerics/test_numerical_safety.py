"""Extreme data give the right answer or say that they cannot, never a silent NaN.

The reference is `exact`: dense Newton steps in extended precision. Each situation is a
row of the table SITUATIONS, each model a row of MODELS.
"""

import os
import subprocess
import sys
import warnings
from functools import cache, cached_property

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain import solved as _solved
from skclif._explain.collect import KeepTop, SumGroups
from skclif.exceptions import InfluenceWarning
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.hessians import factorise
from skclif.numerics.leverage import leverage
from skclif.numerics.newton import newton
from skclif.numerics.targets import LabelTarget, Question

from ..data import make_concept_data
from ..exact import IS_LONGER, LONG, ExactBottleneck, softmax

longer = pytest.mark.skipif(not IS_LONGER, reason="no float beyond float64 here")
N = 40
CS = [1e-6, 1.0, 1e6]
MODELS = {
    "without concepts": None,
    "mixed soft": {},
    "sequential soft": {"training": "sequential"},
    "sequential logit": {"bottleneck": "logit"},
    "sequential hard": {"training": "sequential", "bottleneck": "hard"},
    "independent soft": {"training": "independent"},
    "independent hard": {"training": "independent", "bottleneck": "hard"},
}


# Strong penalties are benign, and at the ends of C the other models add nothing.
EXTREME_MODELS = {
    1e-6: ["without concepts", "mixed soft"],
    1e6: ["without concepts", "mixed soft", "sequential soft", "sequential logit"],
}
USUAL = (1.0, "mixed soft")


def _base():
    X, y, concepts = make_concept_data(N)
    rng = np.random.default_rng(1)
    score = X[:, 3] + 0.3 * rng.normal(size=N)
    concepts = concepts.drop(columns="price")
    concepts["score"] = np.where(rng.random(N) < 0.2, np.nan, score)
    return X, y, concepts, np.ones(N)


def _features(change):
    def situation():
        X, y, concepts, weights = _base()
        return change(X), y, concepts, weights

    return situation


def _weights(change):
    def situation():
        X, y, concepts, weights = _base()
        return X, y, concepts, change(weights)

    return situation


def _separable():
    X, _, concepts, weights = _base()
    concepts["food"] = np.select([X[:, 1] < -0.4, X[:, 1] > 0.4], ["a", "b"], "c")
    concepts["quiet"] = np.where(X[:, 0] > 0, "no", "yes")
    return X, np.where(X[:, 0] > 0, "again", "never"), concepts, weights


def _one_row():
    X, y, concepts, weights = _base()
    y = np.where(y == "again", "never", y)
    y[7] = "again"
    concepts["food"] = concepts["food"].replace("unknown", "good")
    concepts.loc[9, "food"] = "unknown"
    return X, y, concepts, weights


def _wide(X):
    return np.column_stack([X, np.random.default_rng(2).normal(size=(N, N))])


def _wide_with_copies():
    X, y, concepts, weights = _base()
    rows = np.r_[: N // 2, : N // 2]
    concepts = concepts.iloc[rows].reset_index(drop=True)
    return _wide(X)[rows], y[rows], concepts, weights


def _two_rows():
    X, _, _, weights = _base()
    concepts = pd.DataFrame({"food": ["a", "b"], "score": [0.5, 1.7]})
    return X[:2], np.array(["again", "never"]), concepts, weights[:2]


def _few(weights):
    weights[12:] = 0
    return weights


def _heavy(weights):
    weights[3] = 1e8
    return weights


SITUATIONS = {
    "as it is": _base,
    "scale 1e-6": _features(lambda X: 1e-6 * X),
    "scale 1e-3": _features(lambda X: 1e-3 * X),
    "scale 1e3": _features(lambda X: 1e3 * X),
    "scale 1e6": _features(lambda X: 1e6 * X),
    "mixed scales": _features(lambda X: X * np.logspace(-6, 6, 6)),
    "far from the origin": _features(lambda X: X + 1e3),
    "perfectly separable": _separable,
    "duplicated columns": _features(lambda X: np.column_stack([X, X])),
    "collinear column": _features(lambda X: np.column_stack([X, X[:, 0] + X[:, 1]])),
    "nearly collinear column": _features(
        lambda X: np.column_stack([X, X[:, 0] + 1e-7 * X[:, 1]])
    ),
    "constant columns": _features(
        lambda X: np.column_stack([X, np.full(N, 3.0), np.zeros(N)])
    ),
    "single feature": _features(lambda X: X[:, :1]),
    "rows equal but for the labels": _features(lambda X: np.tile(X[0], (N, 1))),
    "more columns than rows": _features(_wide),
    "more columns than rows, copies": _wide_with_copies,
    "two rows": _two_rows,
    "a class and a value with one row": _one_row,
    "few weights": _weights(_few),
    "weights 1e-12": _weights(lambda weights: 1e-12 * weights),
    "weights 1e12": _weights(lambda weights: 1e12 * weights),
    "one row with nearly all weight": _weights(_heavy),
}

# C times weights times the square of the features' scale is 1e12 or more: what double
# precision may not resolve, and then says so.
BEYOND = {
    ("scale 1e3", 1e6),
    ("scale 1e6", 1.0),
    ("scale 1e6", 1e6),
    ("weights 1e12", 1.0),
    ("weights 1e12", 1e6),
}


def _cells():
    """Yield every situation with every C and model; most of them are marked full.

    Each situation keeps the usual model at C=1 and one of the others, which go round:
    over all situations every pair of C and model has its turn.
    """
    for i, situation in enumerate(SITUATIONS):
        others = [
            (C, model)
            for C in CS
            for model in (MODELS if C == 1 else EXTREME_MODELS[C])
            if (C, model) != USUAL
        ]
        turn = i % len(others)
        yield pytest.param(situation, *USUAL, id=f"{situation}-usual")
        for k, (C, model) in enumerate(others):
            marks = [pytest.mark.slow] + [pytest.mark.full] * (k != turn)
            name = f"{situation}-{C:g}-{model}"
            yield pytest.param(situation, C, model, id=name, marks=marks)


class Cell:
    """Data of a situation, a model to fit, and the exact model of the same."""

    def __init__(self, situation, C, model):
        self.X, self.y, concepts, self.weights = SITUATIONS[situation]()
        options = MODELS[model]
        self.concepts = None if options is None else concepts
        self.options = {} if options is None else options
        self.C = C
        self.classes, self.labels = np.unique(self.y, return_inverse=True)
        self.names = [] if self.concepts is None else list(concepts.columns)
        self.codes = np.full((len(self.X), len(self.names)), np.nan)
        self.sizes = []
        for j, name in enumerate(self.names):
            given = (concepts[name].notna() & (self.weights > 0)).to_numpy()
            values = concepts.loc[given, name].to_numpy()
            if name == "score":
                self.codes[given, j] = values
                self.sizes.append(0)
            else:
                known, self.codes[given, j] = np.unique(values, return_inverse=True)
                self.sizes.append(len(known))
        self.terms = np.repeat(self.weights[:, None], 1 + len(self.names), axis=1)
        self.terms = self.terms.astype(LONG)

    def classifier(self):
        return ConceptBottleneckClassifier(C=self.C, concept_C=self.C, **self.options)

    def fit(self):
        return self.classifier().fit(
            self.X, self.y, self.weights, concepts=self.concepts
        )

    @cached_property
    def fitted(self):
        """The classifier, and what was warned of when it was fitted."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return self.fit(), caught

    def explainer(self, method="first_order"):
        explainer = ConceptInfluenceExplainer(self.classifier(), method=method)
        return explainer.fit(self.X, self.y, self.weights, concepts=self.concepts)

    @property
    def share(self):
        """Share of true annotations in the label head."""
        share = 0.0 if self.options.get("bottleneck") == "logit" else 0.4
        shares = {"sequential": 0.0, "independent": 1.0}
        return shares.get(self.options.get("training"), share)

    @cached_property
    def optimum(self):
        """The exact model of all rows."""
        return self.exact()

    def exact(self, terms=None, start=None):
        return ExactBottleneck(
            self.X,
            self.labels,
            self.codes,
            self.sizes,
            self.terms if terms is None else terms,
            len(self.classes),
            C=self.C,
            intervention_prob=self.share,
            activation=self.options.get("bottleneck", "soft"),
            start=start,
        )


# Five tests ask about every cell, and none of them changes it.
cell_of = cache(Cell)


def _fit_or_warning(cell, situation):
    """Fit; return None where a warning says that the fit is not the optimum."""
    clf, caught = cell.fitted
    assert np.isfinite(clf.predict_proba(cell.X)).all()
    if not caught:
        return clf
    assert (situation, cell.C) in BEYOND, caught[0].message
    assert all(warning.category is ConvergenceWarning for warning in caught)
    return None


def _heads(cell, clf):
    """Yield inputs, codes, weights, coefficients, bias and size of heads to compare."""
    for j, size in enumerate(cell.sizes):
        counts = ~np.isnan(cell.codes[:, j]) & (cell.weights > 0)
        yield (
            cell.X[counts],
            cell.codes[counts, j],
            cell.weights[counts],
            clf.concept_coef_[j],
            clf.concept_intercept_[j],
            size,
        )
    if cell.share == 0 or not cell.sizes:
        counts = cell.weights > 0
        yield (
            clf.transform(cell.X)[counts],
            cell.labels[counts],
            cell.weights[counts],
            clf.coef_,
            clf.intercept_,
            len(cell.classes),
        )


def _objective(X, codes, weights, coef, intercept, C, size):
    scores = X.astype(LONG) @ coef.T + intercept
    if not size:
        losses = (scores[:, 0] - codes) ** 2 / 2
    else:
        logits = np.column_stack([0 * scores, scores]) if size == 2 else scores
        logits = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=1))
        losses = losses - logits[np.arange(len(codes)), codes.astype(int)]
    return weights @ losses + (coef.astype(LONG) ** 2).sum() / (2 * C)


def _scikit_learns(X, codes, weights, C, size):
    """Yield scikit-learn's optima: coefficients and biases."""
    if not size:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ill-conditioned matrix
            reference = Ridge(alpha=1 / C, solver="svd").fit(X, codes, weights)
        yield np.atleast_2d(reference.coef_), np.atleast_1d(reference.intercept_)
        return
    for solver in ("newton-cholesky", "lbfgs"):
        reference = LogisticRegression(C=C, tol=1e-10, max_iter=500, solver=solver)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it does not reach its tolerance
            reference.fit(X, codes, sample_weight=weights)
        if len(reference.classes_) == max(size, 2):
            yield reference.coef_, reference.intercept_


@pytest.mark.parametrize(("situation", "C", "model"), list(_cells()))
def test_no_objective_is_above_scikit_learns(situation, C, model):
    cell = cell_of(situation, C, model)
    clf = _fit_or_warning(cell, situation)
    if clf is None:
        return
    for X, codes, weights, coef, intercept, size in _heads(cell, clf):
        own = _objective(X, codes, weights, coef, intercept, C, size)
        assert np.isfinite(own)
        # Scores are rounded: to eps times what is added up in them.
        added = weights @ (np.abs(X) @ np.abs(coef).T + np.abs(intercept) + 1)
        noise = np.finfo(float).eps * added.sum()
        for coefs, biases in _scikit_learns(X, codes, weights, C, size):
            best = _objective(X, codes, weights, coefs, biases, C, size)
            assert own <= best + noise, (own - best, noise)


@longer
@pytest.mark.parametrize(("situation", "C", "model"), list(_cells()))
def test_predictions_are_exact(situation, C, model):
    cell = cell_of(situation, C, model)
    clf = _fit_or_warning(cell, situation)
    if clf is None:
        return
    exact = cell.optimum
    # A bound for all cells; most are at 1e-10 or below. The worst beyond are 4e-5, of
    # labels on logits: a label head magnifies what rounding leaves of its inputs.
    close = {"rtol": 0, "atol": 1e-4 if (situation, C) in BEYOND else 1e-6}
    rows = cell.X[cell.weights > 0]
    np.testing.assert_allclose(
        clf.predict_proba(rows), exact.proba(rows).astype(float), **close
    )
    for j, name in enumerate(cell.names):
        scores = exact.heads[j].scores(rows)
        if cell.sizes[j]:
            own, expected = clf.predict_concept_proba(rows)[name], softmax(scores)
        else:
            own, expected = clf.predict_concepts(rows)[name], scores
        np.testing.assert_allclose(own, expected.astype(float), **close)


def _targets(cell):
    """Return targets as the explainer and as the reference name them."""
    targets = [(kind, kind) for kind in ("loss", "log_proba", "logit", "margin")]
    for j, name in enumerate(cell.names):
        if cell.sizes[j]:
            counted = cell.concepts.loc[cell.weights > 0, name].dropna()
            value = np.unique(counted.to_numpy())[1]
            targets.append((("concept", name, value), (j, 1)))
        else:
            targets.append((("concept", name), (j,)))
    return targets


def _some_rows(cell):
    """Return rows worth removing: the special ones of the situations, and others."""
    chosen = [0, 3, 7, 9] if len(cell.X) > 2 else [0, 1]
    return [row for row in chosen if cell.weights[row] > 0]


def _influences(cell, method):
    """Return influence by target, and what was warned of, or the refusal."""
    shown = cell.X[:5], cell.y[:5]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            explainer = cell.explainer(method)
            influences = {
                ours: explainer.influence(*shown, target=ours, paths=True).values
                for ours, _ in _targets(cell)
            }
        except ValueError as error:
            return None, [str(error)]
    messages = [str(w.message) for w in caught if w.category is not FutureWarning]
    return influences, [m for m in messages if "hard activations" not in m]


@longer
@pytest.mark.parametrize(("situation", "C", "model"), list(_cells()))
def test_first_order_is_the_exact_derivative(situation, C, model):
    cell = cell_of(situation, C, model)
    if _fit_or_warning(cell, situation) is None:
        return
    influences, messages = _influences(cell, "first_order")
    if influences is None:
        assert "not positive definite" in messages[0]
        assert (situation, C) in BEYOND
        return
    exact = cell.optimum
    # Small where an activation may flip within it, else large beside rounding.
    step = LONG(1e-6 if "hard" in model else 1e-4)
    ties = _ties(exact, cell)
    # Where a warning says so, digits are lost.
    lost = 1e-2 if messages else 1e-4 if (situation, C) in BEYOND else 1e-5
    for row in _some_rows(cell):
        for path in range(1 + len(cell.names)):
            if path and np.isnan(cell.codes[row, path - 1]):
                for values in influences.values():
                    assert (values[:, row, path] == 0).all()
                continue
            up, down = (_reweighted(cell, row, path, 1 + s * step) for s in (1, -1))
            up, down = cell.exact(up, exact), cell.exact(down, exact)
            for ours, theirs in _targets(cell):
                at = cell.X[:5], cell.labels[:5], theirs
                difference = (up.target(*at) - down.target(*at)) / (2 * step)
                size = np.abs(influences[ours]).max()
                assert np.isfinite(influences[ours]).all()
                # Where two classes tie for the rival, a margin has no derivative.
                defined = ~ties if ours == "margin" else np.ones(len(ties), bool)
                np.testing.assert_allclose(
                    influences[ours][defined, row, path],
                    difference[defined].astype(float),
                    rtol=lost,
                    atol=lost * size + 1e-8,
                    err_msg=f"{ours}, row {row}, path {path}",
                )


def _ties(exact, cell):
    logits = exact.label.scores(exact.activations(cell.X[:5]))
    logits[np.arange(len(logits)), cell.labels[:5]] = -np.inf
    best = np.sort(logits, axis=1)[:, -2:]
    return best[:, 1] - best[:, 0] < 1e-3


def _reweighted(cell, row, path, factor):
    terms = cell.terms.copy()
    terms[row, path] *= factor
    return terms


@longer
@pytest.mark.parametrize(("situation", "C", "model"), list(_cells()))
def test_leverage_is_near_retraining_or_says_that_it_is_not(situation, C, model):
    cell = cell_of(situation, C, model)
    if situation == "two rows":
        return  # one row alone has no second class
    if _fit_or_warning(cell, situation) is None:
        return
    influences, messages = _influences(cell, "leverage")
    if influences is None:
        assert "not positive definite" in messages[0]
        assert (situation, C) in BEYOND
        return
    assert all(np.isfinite(values).all() for values in influences.values())
    if any("further than one Newton step" in message for message in messages):
        return
    if "hard" in model:
        return  # an activation flips or not, which no smooth step can foresee
    exact = cell.optimum
    before = exact.target(cell.X[:5], cell.labels[:5], "logit")
    for row in _some_rows(cell):
        if _vanishes(cell, row):
            continue  # what is left has no optimum
        terms = cell.terms.copy()
        terms[row] = 0
        left = cell.exact(terms, exact).target(cell.X[:5], cell.labels[:5], "logit")
        true = (before - left).astype(float)
        own = influences["logit"][:, row].sum(axis=1)
        assert np.abs(own - true).max() <= 0.5 * np.abs(true).max() + 0.3, row


def _vanishes(cell, row):
    alone = (cell.labels == cell.labels[row])[cell.weights > 0].sum() == 1
    for j, size in enumerate(cell.sizes):
        same = cell.codes[:, j] == cell.codes[row, j]
        alone |= bool(size) and same.sum() == 1
    return alone


# --- What is said ---------------------------------------------------------------------


def test_a_head_that_rounding_leaves_open_is_named():
    cell = Cell("scale 1e6", 1e6, "mixed soft")
    with pytest.warns(
        ConvergenceWarning,
        match="'food' is not determined in double .*"
        "rounding moves its scores by .* lower C and concept_C",
    ):
        cell.fit()


def test_a_nearly_singular_hessian_is_named_with_what_it_costs():
    X, y, _, _ = _base()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    with pytest.warns(
        InfluenceWarning,
        match="label head is nearly singular .* off by .* "
        "of its size. Centre and rescale the features",
    ):
        explainer.fit(X + 1e6, y)


def test_a_singular_hessian_is_refused():
    X, y, _, _ = _base()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    with pytest.raises(
        ValueError, match="label head is not positive definite .* Centre"
    ):
        explainer.fit(X + 1e9, y)


@longer
def test_the_warning_of_a_nearly_singular_hessian_is_of_the_right_size():
    X, y, _, weights = _base()
    for offset in (1e5, 1e6):
        cell = Cell("as it is", 1.0, "without concepts")
        cell.X = X + offset
        with pytest.warns(InfluenceWarning, match="off by") as caught:
            explainer = cell.explainer()
        said = float(str(caught[0].message).split("off by ")[1].split(" of")[0])
        values = explainer.influence(cell.X[:5], y[:5]).values
        exact, step = cell.exact(), LONG(1e-4)
        up, down = (
            cell.exact(_reweighted(cell, 0, 0, 1 + s * step), exact) for s in (1, -1)
        )
        at = cell.X[:5], cell.labels[:5], "loss"
        true = ((up.target(*at) - down.target(*at)) / (2 * step)).astype(float)
        error = np.abs(values[:, 0] - true).max() / np.abs(true).max()
        assert said / 100 < error < 10 * said


@pytest.mark.parametrize(
    ("situation", "C", "model", "moved"),
    [
        ("perfectly separable", 1e3, "without concepts", "the row's label score"),
        ("a class and a value with one row", 1e3, "sequential hard", "its concept's"),
        ("scale 1e-6", 1e6, "mixed soft", "the target's"),
    ],
)
def test_removals_beyond_one_step_are_counted(situation, C, model, moved):
    cell = cell_of(situation, C, model)
    explainer = cell.explainer("leverage")
    # At the origin, targets do not move far by themselves.
    X = cell.X[:5] if moved == "the target's" else 0 * cell.X[:1]
    said = (
        r"the removal of \d+ of 40 training rows moves a score by more than 4 logits "
        r"\(row \d+ by .*\), further than one Newton step .* Use method='newton'"
    )
    with pytest.warns(InfluenceWarning, match=said):
        explainer.influence(X)


def test_a_row_that_alone_holds_a_head_is_refused():
    cell = Cell("as it is", 1e-6, "without concepts")
    cell.weights = np.full(N, 1e-30)
    cell.weights[3] = 1.0
    cell.y = np.where(np.arange(N) % 2, "never", "again")
    cell.X = np.zeros((N, 1))
    explainer = ConceptInfluenceExplainer(cell.classifier(), method="leverage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer.fit(cell.X, cell.y, cell.weights)
    with pytest.raises(
        ValueError, match="training row 3 is not defined in closed form"
    ):
        explainer.influence(cell.X[:2], cell.y[:2])


# --- Invariances ----------------------------------------------------------------------


def _answers(explainer, X, y):
    """Return probabilities and influence by path."""
    return (
        explainer.predict_proba(X),
        explainer.influence(X[:5], y[:5], paths=True).values,
    )


def _assert_same(own, other, tolerance):
    for a, b in zip(own, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(a).max())


@pytest.mark.parametrize("method", ["first_order", "leverage"])
@pytest.mark.parametrize("model", ["without concepts", "mixed soft"])
def test_scaling_features_and_penalty_alike_changes_nothing(model, method):
    cell = Cell("as it is", 1.0, model)
    own = _answers(cell.explainer(method), cell.X, cell.y)
    for scale in (1e-3, 1e3):
        C = 1 / scale**2
        clf = ConceptBottleneckClassifier(C=1.0 if cell.names else C, concept_C=C)
        explainer = ConceptInfluenceExplainer(clf, method=method)
        explainer.fit(scale * cell.X, cell.y, concepts=cell.concepts)
        # Both fits are within tol = 1e-8 of the optimum.
        _assert_same(own, _answers(explainer, scale * cell.X, cell.y), 1e-7)


@pytest.mark.parametrize("weight", [1e-12, 1e12])
@pytest.mark.parametrize("method", ["first_order", "leverage"])
@pytest.mark.parametrize("model", ["without concepts", "mixed soft"])
def test_scaling_weights_and_penalty_alike_changes_nothing(model, method, weight):
    cell = Cell("as it is", 1.0, model)
    own = _answers(cell.explainer(method), cell.X, cell.y)
    cell.weights, cell.C = cell.weights * weight, cell.C / weight
    _assert_same(own, _answers(cell.explainer(method), cell.X, cell.y), 1e-7)


@pytest.mark.parametrize("method", ["first_order", "leverage"])
@pytest.mark.parametrize("model", ["without concepts", "mixed soft"])
def test_a_column_and_its_copy_are_one_column_of_root_two(model, method):
    cell = Cell("as it is", 1.0, model)
    X = cell.X
    cell.X = np.column_stack([np.sqrt(2) * X[:, :1], X[:, 1:]])
    own = _answers(cell.explainer(method), cell.X, cell.y)
    cell.X = np.column_stack([X, X[:, :1]])
    _assert_same(own, _answers(cell.explainer(method), cell.X, cell.y), 1e-7)


@pytest.mark.parametrize("method", ["first_order", "leverage"])
@pytest.mark.parametrize("C", CS)
def test_rows_without_weight_are_no_rows(method, C):
    cell = Cell("few weights", C, "mixed soft")
    kept = cell.weights > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InfluenceWarning)  # of far removals, at C=1e6
        all_rows = cell.explainer(method)
        some = ConceptInfluenceExplainer(cell.classifier(), method=method)
        some.fit(cell.X[kept], cell.y[kept], concepts=cell.concepts[kept])
        own, other = (_answers(e, cell.X, cell.y) for e in (all_rows, some))
    assert (own[1][:, ~kept] == 0).all()
    # The distance of both to the optimum is about 1e-8 in the weights, at C=1e6 1e-6.
    _assert_same((own[0], own[1][:, kept]), other, 1e-5)


def test_weight_may_be_split_between_copies():
    cell = Cell("one row with nearly all weight", 1.0, "mixed soft")
    own = _answers(cell.explainer(), cell.X, cell.y)
    rows = np.r_[:N, 3]
    cell.X, cell.y, cell.weights = cell.X[rows], cell.y[rows], cell.weights[rows]
    cell.weights[[3, -1]] = 3e7, 7e7
    cell.concepts = cell.concepts.iloc[rows]
    proba, influence = _answers(cell.explainer(), cell.X, cell.y)
    influence[:, 3] += influence[:, -1]
    _assert_same(own, (proba[:-1], influence[:, :-1]), 1e-7)


# --- float32, threads, blocks ---------------------------------------------------------


@pytest.mark.parametrize("model", ["without concepts", "mixed soft"])
@pytest.mark.parametrize("method", ["first_order", "leverage", "newton"])
def test_float32_is_the_same_numbers_in_float64(model, method):
    cell = Cell("as it is", 1.0, model)
    X, X_32 = cell.X, cell.X.astype(np.float32)
    cell.X = X_32
    of_32 = _answers(cell.explainer(method), X_32, cell.y)
    cell.X = X_32.astype(np.float64)
    rounded = _answers(cell.explainer(method), cell.X, cell.y)
    assert of_32[0].dtype == of_32[1].dtype == np.float64
    np.testing.assert_array_equal(of_32[0], rounded[0])
    # Influence takes its products over training rows in single precision, and where
    # newton's steps end differs by a part of its tolerance of 5e-4.
    share = 1e-4 if method == "newton" else 1e-5
    np.testing.assert_allclose(
        of_32[1], rounded[1], rtol=0, atol=share * np.abs(rounded[1]).max()
    )
    # docs/bottleneck.rst: rounding times the condition number, here of the label head.
    cell.X = X
    proba, influence = _answers(cell.explainer(method), X, cell.y)
    inputs = np.column_stack([cell.fit().transform(X), np.ones(N)])
    penalty = np.diag([1.0] * (inputs.shape[1] - 1) + [0.0])
    condition = np.linalg.cond(inputs.T @ inputs / 4 + penalty)
    bound = np.finfo(np.float32).eps * condition
    assert np.abs(of_32[0] - proba).max() < bound
    bound = max(bound, share)
    assert np.abs(of_32[1] - influence).max() < bound * np.abs(influence).max()


_RUN = """
import sys
import numpy as np
from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
rng = np.random.default_rng(0)
X = rng.normal(size=(1500, 200))
concepts = np.where(X[:, :3] + rng.normal(size=(1500, 3)) > 0, "yes", "no")
y = rng.integers(0, 3, 1500)
answers = []
for method in ("first_order", "leverage"):
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(), method=method)
    explainer.fit(X, y, concepts=concepts)
    answers.append(explainer.influence(X[:20], y[:20], paths=True).values)
answers += [explainer.estimator_.coef_, *explainer.estimator_.concept_coef_]
answers.append(explainer.predict_proba(X))
np.savez(sys.argv[1], *answers)
"""


@pytest.mark.full
@pytest.mark.slow
def test_threads_do_not_matter(tmp_path):
    runs = []
    for i, threads in enumerate(["1", "1", "2", "2"]):
        file = tmp_path / f"{i}.npz"
        subprocess.run(
            [sys.executable, "-c", _RUN, file],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": threads},
        )
        with np.load(file) as arrays:
            runs.append([arrays[name] for name in arrays.files])
    first, again, two, two_again = runs
    for own, other in zip(first + two, again + two_again, strict=True):
        np.testing.assert_array_equal(own, other)  # the same to the last bit
    # Sums in another order; the fits end within about 1e-10 of each other.
    _assert_same(first, two, 1e-9)


@pytest.fixture(scope="module")
def prepared():
    cell = Cell("as it is", 10.0, "mixed soft")
    explainer = cell.explainer()
    solved = explainer._solved
    bottleneck, data, factors = solved.bottleneck, solved.data, solved.factors
    about = LabelTarget("loss", torch.from_numpy(cell.labels[:6]))
    return bottleneck, data, factors, data.features[:6], about


def _blocks(prepared, method, block_rows):
    """Return influence in blocks of rows, the factors made in such blocks too."""
    bottleneck, data, _, features, about = prepared
    factors = factorise(
        bottleneck,
        data,
        penalty=0.1,
        concept_penalties=torch.full((len(bottleneck.concepts),), 0.1),
        block_rows=block_rows,
    )
    if method != "first_order":
        remove = {"leverage": leverage, "newton": newton}[method]
        questions = [Question(features, about)]
        answers = remove(bottleneck, data, factors, questions, block_rows=block_rows)
    else:
        derivatives = about.derivatives(bottleneck, features)
        adjoint = solve_adjoint(bottleneck, factors, derivatives)
        answers = first_order(bottleneck, data, adjoint, block_rows=block_rows)
    return [(block, part.numpy()) for block, part in answers]


@pytest.mark.parametrize("method", ["first_order", "leverage", "newton"])
@pytest.mark.parametrize("block_rows", [1, 7, 64])
def test_blocks_of_rows_do_not_matter(prepared, method, block_rows):
    ((_, whole),) = _blocks(prepared, method, 10_000)
    parts = _blocks(prepared, method, block_rows)
    close = {"rtol": 0, "atol": 1e-10 * np.abs(whole).max()}
    joined = np.concatenate([part for _, part in parts], axis=1)
    np.testing.assert_allclose(joined, whole, **close)
    n_targets, _, n_paths = whole.shape
    codes = np.arange(N) % 3
    top = KeepTop(n_targets, whole.shape[1], 5, n_paths, paths=True)
    groups = SumGroups(n_targets, n_paths, codes, np.arange(3), paths=True)
    for block, part in parts:
        top.add(slice(None), block, part)
        groups.add(slice(None), block, part)
    order = np.argsort(-np.abs(whole.sum(axis=2)), axis=1)[:, :5]
    np.testing.assert_array_equal(top.rows, order)
    np.testing.assert_allclose(
        top.values, np.take_along_axis(whole, order[:, :, None], axis=1), **close
    )
    for group in range(3):
        np.testing.assert_allclose(
            groups.values[:, group], whole[:, codes == group].sum(axis=1), **close
        )


@pytest.mark.parametrize("method", ["first_order", "leverage", "newton"])
@pytest.mark.parametrize("reduce", [None, "mean"])
@pytest.mark.parametrize("block", [1, 7])
def test_blocks_of_targets_do_not_matter(monkeypatch, method, reduce, block):
    cell = Cell("as it is", 1.0, "mixed soft")
    explainer = cell.explainer(method)
    whole = explainer.influence(cell.X, cell.y, reduce=reduce, paths=True).values
    monkeypatch.setattr(_solved, "_TARGET_BLOCK", block)
    parts = explainer.influence(cell.X, cell.y, reduce=reduce, paths=True).values
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-10 * np.abs(whole).max())
