"""Extreme data give the right answer or say that they cannot, never a silent NaN.

The reference is `exact`: dense Newton steps in extended precision. Each situation is a
row of the table SITUATIONS, each model a row of MODELS.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from .data import make_concept_data
from .exact import IS_LONGER, LONG, ExactBottleneck, softmax

longer = pytest.mark.skipif(not IS_LONGER, reason="no float beyond float64 here")
N = 40
CS = [1e-6, 1.0, 1e6]
MODELS = {
    "without concepts": None,
    "sequential soft": {},
    "sequential logit": {"bottleneck": "logit"},
    "sequential hard": {"bottleneck": "hard"},
    "independent soft": {"training": "independent"},
    "independent hard": {"training": "independent", "bottleneck": "hard"},
}


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
    ("scale 1e6", 1.0),
    ("scale 1e6", 1e6),
    ("weights 1e12", 1.0),
    ("weights 1e12", 1e6),
}


def _cells():
    for situation in SITUATIONS:
        for C in CS:
            for model in MODELS:
                is_fast = model in ("without concepts", "sequential soft")
                marks = [] if is_fast else [pytest.mark.slow]
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

    def explainer(self, method="first_order"):
        explainer = ConceptInfluenceExplainer(self.classifier(), method=method)
        return explainer.fit(self.X, self.y, self.weights, concepts=self.concepts)

    def exact(self, terms=None, start=None):
        return ExactBottleneck(
            self.X,
            self.labels,
            self.codes,
            self.sizes,
            self.terms if terms is None else terms,
            len(self.classes),
            C=self.C,
            independent=self.options.get("training") == "independent",
            activation=self.options.get("bottleneck", "soft"),
            start=start,
        )


def _fit_or_warning(cell, situation):
    """Fit; return None where a warning says that the fit is not the optimum."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = cell.fit()
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
    if cell.options.get("training") != "independent":
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
    cell = Cell(situation, C, model)
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
    cell = Cell(situation, C, model)
    clf = _fit_or_warning(cell, situation)
    if clf is None:
        return
    exact = cell.exact()
    # A bound for all cells; most are at 1e-10 or below.
    close = {"rtol": 0, "atol": 1e-6}
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
    cell = Cell(situation, C, model)
    if _fit_or_warning(cell, situation) is None:
        return
    influences, messages = _influences(cell, "first_order")
    if influences is None:
        assert "not positive definite" in messages[0]
        assert (situation, C) in BEYOND
        return
    exact, step = cell.exact(), LONG(1e-4)
    ties = _ties(exact, cell)
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
                    # Where a warning says so, digits are lost.
                    rtol=1e-2 if messages else 1e-5,
                    atol=1e-5 * size + 1e-8,
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
    cell = Cell(situation, C, model)
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
    exact = cell.exact()
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
