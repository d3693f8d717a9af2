"""Influence against finite differences, dense derivatives, and its invariances."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from skclif.numerics.bottleneck import Bottleneck, TrainingData, concept_effects
from skclif.numerics.first_order import add_adjoints, first_order, solve_adjoint
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.hessians import factorise
from skclif.numerics.leverage import leverage
from skclif.numerics.products import with_ones
from skclif.numerics.stored import StoredFeatures
from skclif.numerics.targets import ConceptTarget, LabelTarget, Question

from .stages import fit_stages

SIZES = [3, 2, 4, 0]  # 0: a continuous concept
PENALTY, CONCEPT_PENALTY = 0.7, 0.3
LABEL_TARGETS = ["loss", "log_proba", "logit", "margin"]
SHARES = [0.0, 0.3, 1.0]  # of true annotations in the label head


def _data(n_samples=60, n_features=5, sizes=SIZES, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    concepts = rng.integers(0, np.maximum(sizes, 3), (n_samples, len(sizes)))
    concepts = np.minimum(concepts, np.where(sizes, np.subtract(sizes, 1), 9))
    concepts = concepts + np.where(sizes, 0, rng.normal(size=concepts.shape))
    labels = (
        concepts.round().astype(int).sum(axis=1) + rng.integers(0, n_classes, n_samples)
    ) % n_classes
    annotated = rng.random(concepts.shape) > 0.3
    arrays = (
        X,
        labels,
        rng.uniform(0.2, 2, n_samples),  # class weights are part of these
        concepts,
        annotated,
        rng.uniform(0.2, 2, concepts.shape) * annotated,
    )
    return TrainingData(*map(torch.from_numpy, arrays))


def _fit(data, *, intervention_prob=0.0, sizes=SIZES, n_classes=3, activation="soft"):
    return fit_stages(
        data,
        [SoftmaxHead(m, activation) if m else RidgeHead() for m in sizes],
        n_classes,
        intervention_prob=intervention_prob,
        penalty=PENALTY,
        concept_penalties=concept_penalties(sizes),
    )


def concept_penalties(sizes=SIZES):
    """Return a penalty for each concept, every one another."""
    return CONCEPT_PENALTY * torch.arange(1, 1 + len(sizes)).double()


def _factors(bottleneck, data, **kwargs):
    penalties = concept_penalties(bottleneck.concepts.heads)
    return factorise(
        bottleneck, data, penalty=PENALTY, concept_penalties=penalties, **kwargs
    )


def _derivatives(bottleneck, features, target):
    return _target(bottleneck, features, target).derivatives(bottleneck, features)


def _target(bottleneck, features, target):
    if isinstance(target, str):
        codes = torch.arange(len(features)) % bottleneck.label.n_values
        return LabelTarget(target, codes)
    return ConceptTarget(*target)


def _influence(bottleneck, data, derivatives, **kwargs):
    adjoint = solve_adjoint(bottleneck, _factors(bottleneck, data), derivatives)
    parts = [part for _, part in first_order(bottleneck, data, adjoint, **kwargs)]
    return torch.cat(parts, dim=1)


def _reweighted(data, row, path, factor):
    if path == 0:
        weights = data.label_weights.clone()
        weights[row] *= factor
        return replace(data, label_weights=weights)
    weights = data.concept_weights.clone()
    weights[row, path - 1] *= factor
    return replace(data, concept_weights=weights)


@cache
def _retrained(row, path, factor, intervention_prob, n_classes):
    """Return what every target is asked of: both stages, one term reweighted."""
    return _fit(
        _reweighted(_data(n_classes=n_classes), row, path, factor),
        intervention_prob=intervention_prob,
        n_classes=n_classes,
    )


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("intervention_prob", SHARES)
@pytest.mark.parametrize("target", [*LABEL_TARGETS, (0, 2), (1, 1), (3, 0)], ids=str)
def test_equals_finite_differences_of_retraining(target, intervention_prob, n_classes):
    data = _data(n_classes=n_classes)
    fit = {"intervention_prob": intervention_prob, "n_classes": n_classes}
    features = _data(n_samples=6, seed=1).features
    bottleneck = _fit(data, **fit)
    derivatives = _derivatives(bottleneck, features, target)
    influence = _influence(bottleneck, data, derivatives)
    step = 1e-4
    for row in (0, 17):
        for path in range(1 + len(SIZES)):
            up, down = (
                _derivatives(
                    _retrained(row, path, 1 + sign * step, **fit), features, target
                ).values
                for sign in (1, -1)
            )
            difference = (up - down) / (2 * step)
            # Central differences err by step^2 = 1e-8 relative and by the fit's
            # 1e-11 over the step = 1e-7 absolute.
            torch.testing.assert_close(
                influence[:, row, path], difference, rtol=1e-5, atol=2e-7
            )


@pytest.mark.parametrize("target", ["loss", "margin", (0, 2)], ids=str)
def test_logits_equal_finite_differences_too(target):
    data = _data()
    features = _data(n_samples=6, seed=1).features
    bottleneck = _fit(data, activation="logit")
    influence = _influence(bottleneck, data, _derivatives(bottleneck, features, target))
    step = 1e-4
    for path in range(1 + len(SIZES)):
        up, down = (
            _derivatives(
                _fit(_reweighted(data, 3, path, 1 + sign * step), activation="logit"),
                features,
                target,
            ).values
            for sign in (1, -1)
        )
        torch.testing.assert_close(
            influence[:, 3, path], (up - down) / (2 * step), rtol=1e-5, atol=2e-7
        )


def test_through_hard_activations_only_the_label_is_heard():
    data = _data()
    features = _data(n_samples=6, seed=1).features
    bottleneck = _fit(data, activation="hard")
    influence = _influence(bottleneck, data, _derivatives(bottleneck, features, "loss"))
    assert (influence[:, :, 1:4] == 0).all()
    assert (influence[:, :, 4][:, data.annotated[:, 3]] != 0).all()  # a number moves
    step = 1e-4
    up, down = (
        _derivatives(
            _fit(_reweighted(data, 3, 0, 1 + sign * step), activation="hard"),
            features,
            "loss",
        ).values
        for sign in (1, -1)
    )
    torch.testing.assert_close(
        influence[:, 3, 0], (up - down) / (2 * step), rtol=1e-5, atol=2e-7
    )
    of_concept = _influence(
        bottleneck, data, _derivatives(bottleneck, features, (0, 2))
    )
    assert (of_concept[:, :, 1][:, data.annotated[:, 0]] != 0).all()


@pytest.mark.parametrize("target", [*LABEL_TARGETS, (0, 2), (1, 1), (3, 0)], ids=str)
def test_derivatives_of_targets_equal_autograd(target):
    bottleneck = _fit(_data())
    features = _data(n_samples=5, seed=1).features
    derivatives = _derivatives(bottleneck, features, target)

    def value(concept_parameters, label_parameters):
        moved = replace(
            bottleneck,
            concept_parameters=concept_parameters,
            label_parameters=label_parameters,
        )
        return _derivatives(moved, features, target).values.sum()

    in_concepts, in_label = torch.func.grad(value, argnums=(0, 1))(
        bottleneck.concept_parameters, bottleneck.label_parameters
    )
    torch.testing.assert_close(
        derivatives.concept_scores.T @ with_ones(features), in_concepts
    )
    torch.testing.assert_close(
        derivatives.label_scores.T @ with_ones(derivatives.activations), in_label
    )


def _label_objective(data, bottleneck: Bottleneck):
    rows = bottleneck.label_rows(data)
    scores = bottleneck.label_scores(rows.activations)
    losses = bottleneck.label.loss(scores, rows.labels)
    penalty = PENALTY / 2 * (bottleneck.label_parameters[:, :-1] ** 2).sum()
    return rows.weights @ losses + penalty


@pytest.mark.parametrize("intervention_prob", SHARES)
def test_hessian_and_cross_term_equal_dense_derivatives(intervention_prob):
    data = _data()
    bottleneck = _fit(data, intervention_prob=intervention_prob)
    factors = _factors(bottleneck, data)

    def gradient(label_parameters, concept_parameters):
        def objective(parameters):
            moved = replace(
                bottleneck,
                label_parameters=parameters,
                concept_parameters=concept_parameters,
            )
            return _label_objective(data, moved)

        return torch.func.grad(objective)(label_parameters).flatten()

    at = (bottleneck.label_parameters, bottleneck.concept_parameters)
    hessian, cross = torch.func.jacrev(gradient, argnums=(0, 1))(*at)
    exact = {"rtol": 1e-12, "atol": 1e-12}
    label = factors.label.factor @ factors.label.factor.T
    torch.testing.assert_close(label, hessian.flatten(1), **exact)
    for j, columns in enumerate(bottleneck.concepts.scores):
        piece = cross[:, columns].flatten(1)
        torch.testing.assert_close(factors.cross[j], piece, **exact)


def test_concept_hessians_equal_dense_derivatives():
    data = _data()
    bottleneck = _fit(data)
    factors = _factors(bottleneck, data)
    for j, head in enumerate(bottleneck.concepts.heads):

        def objective(parameters, j=j, head=head):
            scores = with_ones(data.features) @ parameters.T
            losses = data.concept_weights[:, j] @ head.loss(scores, data.concepts[:, j])
            squares = (parameters[:, :-1] ** 2).sum()
            return losses + concept_penalties()[j] / 2 * squares

        at = bottleneck.concept_parameters[bottleneck.concepts.scores[j]]
        hessian = torch.func.hessian(objective)(at).flatten(2).flatten(0, 1)
        factor = factors.concepts[j].factor
        torch.testing.assert_close(factor @ factor.T, hessian, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
def test_blocks_of_rows_do_not_matter(block_rows):
    data = _data()
    bottleneck = _fit(data)
    derivatives = _derivatives(bottleneck, data.features[:4], "loss")
    expected = _influence(bottleneck, data, derivatives)
    blocked = _influence(bottleneck, data, derivatives, block_rows=block_rows)
    torch.testing.assert_close(blocked, expected, rtol=0, atol=1e-13)
    factors = _factors(bottleneck, data, block_rows=block_rows)
    for own, other in zip(factors.cross, _factors(bottleneck, data).cross, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("block_rows", [1, 7, 1000])
@pytest.mark.parametrize("intervention_prob", SHARES)
def test_whole_rows_are_sums_of_their_paths(block_rows, intervention_prob):
    data = _data(25)
    bottleneck = _fit(data, intervention_prob=intervention_prob)
    derivatives = _derivatives(bottleneck, data.features[:4], "loss")
    factors = _factors(bottleneck, data)
    adjoint = solve_adjoint(bottleneck, factors, derivatives)
    stored = StoredFeatures(data.features)
    expected = _influence(bottleneck, data, derivatives).sum(dim=2)
    for rows in (data, replace(data, features=stored)):
        parts = first_order(
            bottleneck, rows, adjoint, paths=False, block_rows=block_rows
        )
        found = torch.cat([part for _, part in parts], dim=1)
        assert found.shape == (4, 25, 1)
        torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-10, atol=1e-14)
        again = _factors(bottleneck, rows, block_rows=block_rows)
        for own, other in zip(again.cross, factors.cross, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-10, atol=1e-12)


def test_a_masked_annotation_has_no_influence():
    data = _data()
    bottleneck = _fit(data)
    influence = _influence(
        bottleneck, data, _derivatives(bottleneck, data.features[:4], "loss")
    )
    masked = influence[:, :, 1:][:, ~data.annotated]
    assert masked.numel() > 0
    assert (masked == 0).all()
    assert (influence[:, :, 1:][:, data.annotated] != 0).all()


def test_combined_targets_are_sums_of_targets():
    data = _data()
    bottleneck = _fit(data)
    factors = _factors(bottleneck, data)
    derivatives = _derivatives(bottleneck, data.features[:5], "loss")
    each = solve_adjoint(bottleneck, factors, derivatives)
    combine = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]], dtype=torch.float64)
    combined = solve_adjoint(bottleneck, factors, derivatives, combine)
    torch.testing.assert_close(combined.label, combine @ each.label)
    for own, other in zip(combined.concepts, each.concepts, strict=True):
        torch.testing.assert_close(own, combine @ other)
    doubled = add_adjoints([combined, combined])
    torch.testing.assert_close(doubled.label, 2 * combined.label)


@pytest.mark.parametrize("intervention_prob", SHARES)
def test_the_span_of_few_rows_is_exact(intervention_prob):
    data = _data(n_samples=30, n_features=50)
    bottleneck = _fit(data, intervention_prob=intervention_prob)
    features = _data(n_samples=4, n_features=50, seed=1).features
    expected = _influence(bottleneck, data, _derivatives(bottleneck, features, "loss"))
    reduced, span = data.in_row_space()
    assert reduced.features.shape == (30, 30)
    rotated = bottleneck.inside(span)
    derivatives = _derivatives(rotated, span.coordinates(features), "loss")
    torch.testing.assert_close(
        _influence(rotated, reduced, derivatives), expected, rtol=1e-8, atol=1e-12
    )


def test_without_concepts_it_is_the_influence_of_logistic_regression():
    data = _data(sizes=[])
    bottleneck = _fit(data, sizes=[])
    features = _data(n_samples=4, seed=1).features
    influence = _influence(bottleneck, data, _derivatives(bottleneck, features, "loss"))
    assert influence.shape == (4, 60, 1)
    # The classical formula, dense: -w grad f' H^-1 grad l_i.
    extended = with_ones(data.features)
    head, scores = bottleneck.label, bottleneck.label_scores
    p = head.probabilities(scores(data.features))
    gradients = (
        (data.label_weights[:, None] * head.residual(p, data.labels))[:, :, None]
        * extended[:, None]
    ).flatten(1)
    hessian = torch.einsum(
        "i,iab,ic,id->acbd",
        data.label_weights,
        head.curvature(p, data.labels),
        extended,
        extended,
    ).reshape(12, 12)
    penalty = torch.tensor([PENALTY] * 5 + [0.0]).repeat(2).double()
    codes = torch.arange(4) % 3
    target = (
        head.residual(head.probabilities(scores(features)), codes)[:, :, None]
        * with_ones(features)[:, None]
    ).flatten(1)
    expected = -target @ torch.linalg.solve(hessian + torch.diag(penalty), gradients.T)
    torch.testing.assert_close(influence[:, :, 0], expected)


def _drift(data, row, bottleneck, change, own):
    """Regress the moves of activations on ``[z, 1]``: (n_inputs, n_activations)."""
    old = bottleneck.concept_parameters

    def activations(parameters):
        moved = replace(bottleneck, concept_parameters=parameters)
        return moved.label_rows(data).activations

    rows = bottleneck.label_rows(data)
    z, moves = torch.func.jvp(activations, (old,), (change,))
    own_rows = rows.positions(torch.tensor([row]))[0]
    moves[own_rows] = (activations(old + change) - z)[own_rows] if own else 0.0
    head = bottleneck.label
    p = head.probabilities(bottleneck.label_scores(z))
    weights = rows.weights * head.mean_curvature(p, rows.labels)
    inputs = with_ones(z)
    penalty = torch.full_like(inputs[0], PENALTY)
    penalty[-1] = 0
    gram = inputs.T @ (weights[:, None] * inputs) + torch.diag(penalty)
    return torch.linalg.solve(gram, inputs.T @ (weights[:, None] * moves))


def _without(data, row, bottleneck, sizes, path):
    """Remove one row's terms by dense Newton steps from the old optimum."""
    stack = bottleneck.concepts
    label_path = path in ("row", "label")
    concepts = range(len(sizes)) if path == "row" else [path]
    weights = data.label_weights.clone()
    weights[row] *= not label_path
    concept_weights = data.concept_weights.clone()
    if path != "label":
        concept_weights[row, list(concepts)] = 0
    left = replace(data, label_weights=weights, concept_weights=concept_weights)

    def concept_objective(parameters, weights):
        losses = 0.0
        for j, head in enumerate(stack.heads):
            scores = with_ones(data.features) @ parameters[stack.scores[j]].T
            losses = losses + weights[:, j] @ head.loss(scores, data.concepts[:, j])
            squares = (parameters[stack.scores[j], :-1] ** 2).sum()
            losses = losses + concept_penalties(sizes)[j] / 2 * squares
        return losses

    # Gradients are taken as differences to those of all rows, which are 0 but for what
    # the fit left, 1e-11.
    old = bottleneck.concept_parameters
    change = torch.zeros_like(old)
    if sizes:
        slope = torch.func.grad(concept_objective)
        gradient = slope(old, concept_weights) - slope(old, data.concept_weights)
        hessian = torch.func.hessian(concept_objective)(old, concept_weights)
        hessian = hessian.flatten(2).flatten(0, 1)
        change = -torch.linalg.solve(hessian, gradient.flatten()).reshape(old.shape)

    def label_gradient(label_parameters, concept_parameters, data):
        def objective(parameters):
            moved = replace(
                bottleneck,
                label_parameters=parameters,
                concept_parameters=concept_parameters,
            )
            return _label_objective(data, moved)

        return torch.func.grad(objective)(label_parameters).flatten()

    # The other rows feel the concepts move to first order; the row itself, whose
    # penalty is taken out again, is put at its new place exactly.
    others = weights.clone()
    others[row] = 0
    others = replace(left, label_weights=others)
    at, there = (bottleneck.label_parameters, old), old + change
    hessian, cross = torch.func.jacrev(label_gradient, argnums=(0, 1))(*at, others)
    right = label_gradient(*at, others) - label_gradient(*at, data)
    right = right + cross.flatten(1) @ change.flatten()
    if not label_path:
        slope = torch.func.jacrev(label_gradient)
        hessian = hessian + slope(at[0], there, left) - slope(at[0], there, others)
        right = right + label_gradient(at[0], there, left)
        right = right - label_gradient(at[0], there, others)
    step = -torch.linalg.solve(hessian.flatten(1), right).reshape(at[0].shape)
    drift = _drift(data, row, bottleneck, change, own=path not in ("row", "label"))
    return replace(
        bottleneck,
        concept_parameters=old + change,
        label_parameters=at[0] + step - step[:, :-1] @ drift.T,
    )


@cache
def _moved(row, path, **fit):
    """Return what every target is asked of: the usual fit without a term."""
    data = _data()
    return _without(data, row, _fit(data, **fit), SIZES, path)


def _value(target, moved, features):
    label_scores = moved.label_scores(moved.activations(features))
    concept_scores = moved.concepts.split(moved.concept_scores(features))
    return target.value(moved, label_scores, concept_scores)


@pytest.mark.parametrize(
    ("intervention_prob", "activation"),
    [
        (0.0, "soft"),
        (0.0, "logit"),
        (0.0, "hard"),
        (0.3, "soft"),
        (0.3, "hard"),
        (1.0, "soft"),
        (1.0, "hard"),
    ],
)
@pytest.mark.parametrize("kind", ["loss", "margin", (0, 2), (3, 0)], ids=str)
def test_leverage_equals_its_dense_evaluation(kind, intervention_prob, activation):
    data = _data()
    fit = {"intervention_prob": intervention_prob, "activation": activation}
    bottleneck = _fit(data, **fit)
    features = _data(n_samples=5, seed=1).features
    target = _target(bottleneck, features, kind)
    factors = _factors(bottleneck, data)
    parts = [
        part
        for _, part in leverage(
            bottleneck, data, factors, [Question(features, target)], block_rows=13
        )
    ]
    influence = torch.cat(parts, dim=1)
    assert influence.shape == (5, 60, 2 + len(SIZES))
    value = target.derivatives(bottleneck, features).values
    for row in (3, 20, 41):
        for path in ("row", "label", *range(len(SIZES))):
            after = _value(target, _moved(row, path, **fit), features)
            own = influence[:, row]
            if path == "row":
                own = own.sum(dim=1)
            else:
                own = own[:, 0 if path == "label" else 1 + path]
            torch.testing.assert_close(own, value - after, rtol=0, atol=1e-10)


def test_leverage_of_combined_targets_is_their_sum():
    data = _data()
    bottleneck = _fit(data)
    factors = _factors(bottleneck, data)
    target = _target(bottleneck, data.features[:4], "loss")
    combine = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    each, one = (
        torch.cat(
            [
                part
                for _, part in leverage(
                    bottleneck,
                    data,
                    factors,
                    [Question(data.features[:4], target, weights)],
                )
            ],
            dim=1,
        )
        for weights in (None, combine)
    )
    torch.testing.assert_close(one[0], torch.einsum("t,tnp->np", combine[0], each))


def test_without_concepts_leverage_has_no_interaction():
    data = _data(sizes=[])
    bottleneck = _fit(data, sizes=[])
    features = _data(n_samples=4, seed=1).features
    target = _target(bottleneck, features, "loss")
    factors = _factors(bottleneck, data)
    questions = [Question(features, target)]
    (part,) = [p for _, p in leverage(bottleneck, data, factors, questions)]
    assert part.shape == (4, 60, 2)
    assert (part[:, :, 1] == 0).all()
    after = _value(target, _without(data, 7, bottleneck, [], "label"), features)
    value = target.derivatives(bottleneck, features).values
    torch.testing.assert_close(part[:, 7, 0], value - after, rtol=0, atol=1e-10)


def test_concept_effects_equal_their_definition():
    bottleneck = _fit(_data())
    features = _data(n_samples=4, seed=1).features
    average = torch.linspace(0.1, 0.9, bottleneck.concepts.n_activations).double()
    effects = concept_effects(bottleneck, features, average)
    activations = bottleneck.activations(features)
    log_p = bottleneck.label.log_probabilities(bottleneck.label_scores(activations))
    for i in range(4):
        k = log_p[i].argmax()
        for j, columns in enumerate(bottleneck.concepts.activations):
            changed = activations[i : i + 1].clone()
            changed[:, columns] = average[columns]
            scores = bottleneck.label_scores(changed)
            without = bottleneck.label.log_probabilities(scores)[0, k]
            torch.testing.assert_close(effects[i, j], log_p[i, k] - without)


def test_an_indefinite_hessian_is_refused():
    data = _data()
    bottleneck = _fit(data)
    weightless = replace(data, label_weights=torch.zeros_like(data.label_weights))
    with pytest.raises(ValueError, match="Hessian of a label head is not positive"):
        _factors(bottleneck, weightless)
