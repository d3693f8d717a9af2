"""Harm against retraining, its evidence against loops, and what weights promise."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skclif import ConceptBottleneckClassifier
from skclif._explainable import training_data
from skclif.numerics import reweighting
from skclif.numerics.influence import factorise, first_order, solve_adjoint
from skclif.numerics.reweighting import WeightedModels
from skclif.numerics.targets import LabelTarget

from .data import make_concept_data

HELD_OUT = torch.arange(6)
PLAIN = [{"n_classes": 2}, {"n_classes": 4, "C": 3.0}]
THROUGH_CONCEPTS = [
    {},
    {"n_classes": 2, "training": "independent", "concept_C": 0.5},
    {"bottleneck": "logit"},
    {"bottleneck": "hard"},
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
        self.data = training_data(self.clf, self.X, self.y, ones, *annotated)
        self.models = WeightedModels(
            self.clf._bottleneck(),
            self.data,
            torch.from_numpy(ones),
            penalty=1 / self.clf.C,
            concept_penalty=1 / self.clf.concept_C,
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
        return self.models.harm(fitted, self.weights, HELD_OUT, self.shares)


@pytest.fixture
def exact(monkeypatch):
    """Solve as exactly as double precision allows, to compare with differences."""
    monkeypatch.setattr(reweighting, "_TOL", 1e-12)


def _slopes(setting, model, step=1e-4):
    """Differentiate one-sidedly, because some weights are 0: exact to step^2."""
    weights = setting.weights[:, model].numpy()
    shares = setting.shares[:, model].numpy()
    here = setting.loss(weights, shares)
    moves = step * np.eye(len(weights))
    near, far = (
        np.array([setting.loss(weights + factor * move, shares) for move in moves])
        for factor in (1, 2)
    )
    return (4 * near - far - 3 * here) / (2 * step)


def _assert_harm_is_the_slope(setting):
    harm = setting.harm().numpy()
    slopes = np.transpose([_slopes(setting, model) for model in range(3)])
    # Differences err by step^2 = 1e-8 times a third derivative, and by the 1e-12 to
    # which losses are known over the step. Harms are about 0.01.
    np.testing.assert_allclose(harm, slopes, rtol=1e-5, atol=5e-7)
    assert np.abs(harm).mean() > 1e-3


@pytest.mark.parametrize("params", PLAIN, ids=str)
def test_harm_is_the_slope_of_the_held_out_loss(params, exact):
    _assert_harm_is_the_slope(_Setting(concepts=False, **params))


@pytest.mark.slow
@pytest.mark.parametrize("params", THROUGH_CONCEPTS, ids=str)
def test_harm_through_concepts_is_the_slope_of_the_held_out_loss(params, exact):
    _assert_harm_is_the_slope(_Setting(**params))


@pytest.mark.parametrize("concepts", [True, False])
def test_harm_as_solved_is_near_the_exact_one(concepts, monkeypatch):
    setting = _Setting(concepts=concepts)
    coarse = setting.harm()
    monkeypatch.setattr(reweighting, "_TOL", 1e-12)
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
    clf, data, bottleneck = setting.clf, setting.data, setting.clf._bottleneck()
    ones = torch.ones(len(setting.y), 3, dtype=torch.float64)
    harm = setting.models.harm([bottleneck] * 3, ones, HELD_OUT, setting.shares)
    factors = factorise(
        bottleneck, data, penalty=1 / clf.C, concept_penalty=1 / clf.concept_C
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
def test_a_model_is_the_same_alone_and_among_others(concepts, monkeypatch):
    setting = _Setting(concepts=concepts)
    together, harm = setting.models.fit(setting.weights, None), setting.harm()
    monkeypatch.setattr(reweighting, "_LARGEST_ARRAY", 1)
    alone = setting.models.fit(setting.weights, None)
    for own, other in zip(alone, together, strict=True):
        torch.testing.assert_close(
            own.label_parameters, other.label_parameters, rtol=1e-9, atol=1e-11
        )
    torch.testing.assert_close(setting.harm(), harm, rtol=1e-9, atol=1e-11)
