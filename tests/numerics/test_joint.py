"""Joint training against finite differences, dense matrices and training again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skclif.exceptions import InfluenceWarning
from skclif.numerics import joint, joint_hessian, joint_removal
from skclif.numerics.bottleneck import TrainingData
from skclif.numerics.first_order import solve_adjoint
from skclif.numerics.heads import ConstantHead, OrdinalHead, RidgeHead, SoftmaxHead
from skclif.numerics.joint import (
    JointProblem,
    Removal,
    add,
    block_preconditioner,
    fit_joint,
    inner,
    minimise_jointly,
    point_of,
    relative_joint_gradients,
)
from skclif.numerics.joint_hessian import (
    JointHessian,
    joint_first_order,
    predicted_joint_effect,
)
from skclif.numerics.joint_removal import joint_newton, joint_retraining
from skclif.numerics.targets import ConceptTarget, LabelTarget, Question, evaluate

from .stages import fit_stages

N, D = 36, 4
HEADS = [SoftmaxHead(3), SoftmaxHead(2), RidgeHead()]
WEIGHT = 1.5


@pytest.fixture(scope="module")
def data():
    """Return rows with missing annotations, uneven weights, and a row without any."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    noisy = X + 0.4 * rng.normal(size=X.shape)
    codes = np.column_stack(
        [np.digitize(noisy[:, 0], [-0.4, 0.4]), noisy[:, 1] > 0, noisy[:, 2]]
    )
    labels = np.digitize(noisy[:, 0] + noisy[:, 1] - noisy[:, 2], [-0.8, 0.8])
    annotated = rng.random(codes.shape) > 0.2
    weights = rng.uniform(0.5, 1.5, size=(N, 4))
    weights[7] = 0
    annotated[7] = False
    return TrainingData(
        *(
            torch.from_numpy(part)
            for part in (
                *(X, labels, weights[:, 0], codes.astype(float), annotated),
                np.where(annotated, weights[:, 1:], 0.0),
            )
        )
    )


MODELS = {
    "soft": {},
    "both": {"intervention_prob": 0.3},
    "logit": {"heads": [replace(h, activation="logit") for h in HEADS[:2]]},
    "residual": {"intervention_prob": 0.3, "residual_scale": 0.7},
    "ordinal": {"label": OrdinalHead(3)},
    "constant": {"heads": [HEADS[0], ConstantHead(), HEADS[2]]},
}


def start_of(data, name):
    """Return a bottleneck that was fitted one stage after the other, and its data."""
    about = dict(MODELS[name])
    heads = about.get("heads", HEADS)
    if len(heads) < len(HEADS):
        columns = slice(0, len(heads))
        data = replace(
            data,
            concepts=data.concepts[:, columns],
            annotated=data.annotated[:, columns],
            concept_weights=data.concept_weights[:, columns],
        )
    fitted = fit_stages(
        data,
        heads,
        3,
        penalty=0.5,
        label=about.get("label"),
        intervention_prob=about.get("intervention_prob", 0.0),
        concept_penalties=torch.full((len(heads),), 0.8, dtype=torch.float64),
    )
    if "residual_scale" in about:
        label = fitted.label_parameters
        nothing = label.new_zeros(len(label), D)
        label = torch.cat([label[:, :-1], nothing, label[:, -1:]], dim=1)
        scale = about["residual_scale"]
        fitted = replace(fitted, label_parameters=label, residual_scale=scale)
    return fitted, data


def penalties(n_heads, weight=WEIGHT):
    return {
        "penalty": 0.5,
        "concept_penalties": torch.full((n_heads,), 0.8, dtype=torch.float64),
        "concept_weight": weight,
    }


@pytest.fixture(scope="module", params=MODELS)
def start(request, data):
    fitted, rows = start_of(data, request.param)
    return fitted, rows, penalties(len(fitted.concepts))


def refit(start, rows, tol=1e-12):
    """Train from the start to far below any effect of interest."""
    fitted, _, how = start
    found, fit = fit_joint(fitted, rows, **how, tol=tol, max_iter=3000)
    assert fit.converged.all()
    return found


@pytest.fixture(scope="module")
def solved(start):
    return refit(start, start[1]), *start[1:]


@pytest.fixture(scope="module")
def hessian(solved):
    fitted, rows, how = solved
    return JointHessian.of(fitted, rows, **how)


def near(problem, fitted, m):
    """Return m points near the parameters, and m directions."""
    generator = torch.Generator().manual_seed(1)
    both = []
    for size in (0.1, 1.0):
        parts = [
            torch.randn(m, *part.shape[1:], generator=generator, dtype=torch.float64)
            for part in point_of(fitted)
        ]
        both.append(problem.without_missing((size * parts[0], size * parts[1])))
    return add(both[0], point_of(fitted), 1), both[1]


@pytest.fixture(scope="module")
def removal():
    terms = [[True, False, True, True], [False, True, False, False]]
    return Removal(torch.tensor([3, 20]), torch.tensor(terms))


def of_heads(removal, problem):
    n_terms = 1 + len(problem.bottleneck.concepts)
    return Removal(removal.rows, removal.terms[:, :n_terms])


STEP = 1e-5


def test_gradients_are_those_of_values(start):
    fitted, rows, how = start
    problem = JointProblem.of(fitted, rows, **how)
    point, direction = near(problem, fitted, 2)
    _, gradient = problem.gradient(point)
    ahead, _ = problem.gradient(add(point, direction, STEP))
    behind, _ = problem.gradient(add(point, direction, -STEP))
    slope = (ahead - behind) / (2 * STEP)
    np.testing.assert_allclose(inner(gradient, direction), slope, rtol=1e-7)


def test_a_removed_term_is_one_without_weight(start, removal):
    fitted, rows, how = start
    problem = JointProblem.of(fitted, rows, **how)
    removal, (point, _) = of_heads(removal, problem), near(problem, fitted, 2)
    _, found = problem.gradient(point, removal)
    for i in range(2):
        own = problem.without(int(removal.rows[i]), removal.terms[i])
        _, expected = own.gradient((point[0][i : i + 1], point[1][i : i + 1]))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[i], other[0], atol=1e-12)


@pytest.mark.parametrize("remove", [False, True])
def test_products_with_the_hessian_are_differences_of_gradients(start, removal, remove):
    fitted, rows, how = start
    problem = JointProblem.of(fitted, rows, **how)
    removal = of_heads(removal, problem) if remove else None
    _, direction = near(problem, fitted, 2)
    point = point_of(fitted)
    hessian = JointHessian(problem, point, lambda pair: pair, WEIGHT)
    both = point[0].repeat(2, 1, 1), point[1].repeat(2, 1, 1)
    _, ahead = problem.gradient(add(both, direction, STEP), removal)
    _, behind = problem.gradient(add(both, direction, -STEP), removal)
    found = hessian.times(direction, removal)
    for one, a, b in zip(found, ahead, behind, strict=True):
        np.testing.assert_allclose(one, (a - b) / (2 * STEP), rtol=1e-6, atol=1e-6)


def test_blocks_of_rows_change_nothing(start, monkeypatch):
    fitted, rows, how = start
    problem = JointProblem.of(fitted, rows, **how)
    point, direction = near(problem, fitted, 2)

    def results():
        own = point[0][:1], point[1][:1]
        hessian = JointHessian(problem, own, lambda pair: pair, WEIGHT)
        return [*problem.gradient(point)[1], *hessian.times(direction)]

    expected = results()
    for module in (joint, joint_hessian):
        monkeypatch.setattr(module, "_LARGEST_ARRAY", 200)
    monkeypatch.setattr(joint_hessian, "_LARGEST_KEPT", 0)
    for one, other in zip(results(), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def dense(hessian):
    """Return the Hessian of all parameters that there are, and which these are."""
    point, problem = hessian.point, hessian.problem
    n, n_label = point[0].numel(), point[1].numel()
    every = torch.eye(n + n_label, dtype=torch.float64)
    there = torch.cat([~part.flatten() for part in problem.missing])
    columns = hessian.times(
        (
            every[:, :n].reshape(-1, *point[0].shape[1:]),
            every[:, n:].reshape(-1, *point[1].shape[1:]),
        )
    )
    whole = torch.cat([part.flatten(1) for part in columns], dim=1)
    return whole[there][:, there], there


def test_adjoints_are_solutions_with_the_whole_hessian(hessian):
    matrix, there = dense(hessian)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10)
    generator = torch.Generator().manual_seed(2)
    point, stack = hessian.point, hessian.problem.bottleneck.concepts
    label = torch.randn(2, point[1].numel(), generator=generator, dtype=torch.float64)
    parts = [
        torch.randn(
            *(2, head.n_scores * (D + 1)), generator=generator, dtype=torch.float64
        )
        for head in stack.heads
    ]
    right = torch.cat([*parts, label], dim=1)
    expected = torch.linalg.solve(matrix, right[:, there].T).T
    found_label, found = hessian.solve(label, parts)
    solution = torch.cat([*found, found_label], dim=1)
    np.testing.assert_allclose(solution[:, there], expected, atol=1e-7)
    nothing = [torch.zeros_like(part) for part in parts]
    alone, _ = hessian.solve(label, nothing)
    np.testing.assert_allclose(hessian.solve_label(label), alone, atol=1e-12)


def test_blocks_are_those_of_the_hessian_without_bends(solved, hessian):
    fitted, rows, how = solved
    problem = JointProblem.of(fitted, rows, **how)
    blocks = joint._blocks(problem, point_of(fitted))
    sizes = [len(block) for block in blocks]
    for part in problem.rows_at(point_of(fitted)):
        bend = part.bend.abs().max()
    if bend > 0:  # blocks leave it out; curvature without it is what they have
        hessian = JointHessian(problem, point_of(fitted), lambda p: p, WEIGHT)
        for part in hessian._kept:
            part.bend = torch.zeros_like(part.bend)
    matrix, there = dense(hessian)
    whole = torch.zeros(len(there), len(there), dtype=torch.float64)
    whole[there[:, None] & there[None]] = matrix.flatten()
    start = 0
    for size, block in zip(sizes, blocks, strict=True):
        own = slice(start, start + size)
        known = there[own][:, None] & there[own][None]
        np.testing.assert_allclose(block[known], whole[own, own][known], atol=1e-9)
        start += size


def test_the_smallest_eigenvalue_is_relative_to_the_blocks(solved, hessian):
    matrix, there = dense(hessian)
    blocks = joint._blocks(hessian.problem, hessian.point)
    beside = torch.block_diag(*blocks)[there][:, there]
    root = torch.linalg.cholesky(beside)
    inverse = torch.linalg.inv(root)
    least = torch.linalg.eigvalsh(inverse @ matrix @ inverse.T)[0]
    assert hessian.smallest_eigenvalue() == pytest.approx(float(least), rel=1e-3)
    assert hessian.damping == 0


def test_the_solution_is_stationary_below_its_start(start, solved):
    fitted, rows, how = start
    problem = JointProblem.of(fitted, rows, **how)
    before, _ = problem.gradient(point_of(fitted))
    after, gradient = problem.gradient(point_of(solved[0]))
    assert after < before
    assert problem.norms(gradient).max() < 1e-11
    again = refit(start, rows)
    assert torch.equal(again.concept_parameters, solved[0].concept_parameters)
    ratios = relative_joint_gradients(solved[0], rows, **how)
    assert ratios.max() < 1e-9
    assert relative_joint_gradients(fitted, rows, **how).max() > 1e-2


def question(rows):
    return Question(rows.features[:4], LabelTarget("loss", rows.labels[:4]))


def value(fitted, asked):
    return evaluate(asked.target, fitted, asked.features)


@pytest.mark.parametrize("term", [-1, 0, 2])
def test_first_order_is_the_derivative_in_the_weight_of_every_term(
    solved, hessian, term
):
    fitted, rows, how = solved
    term = min(term, len(fitted.concepts) - 1)
    asked = question(rows)
    if term == 0:  # a target that is no label's
        asked = replace(asked, target=ConceptTarget(0, 1))
    adjoint = solve_adjoint(
        fitted, hessian, asked.target.derivatives(fitted, asked.features)
    )
    row = int(rows.annotated.all(dim=1).nonzero()[0, 0])
    found = torch.cat([part for _, part in joint_first_order(hessian, adjoint)], dim=1)
    some = joint_first_order(hessian, adjoint, torch.tensor([row]))
    np.testing.assert_allclose(
        torch.cat([part for _, part in some], dim=1)[:, 0], found[:, row], atol=1e-12
    )
    influence = found[:, row, 1 + term]
    if term < 0 and fitted.residual_scale is not None:  # two paths of the label
        influence = influence + found[:, row, -1]
    values = []
    for factor in (1 + 1e-3, 1 - 1e-3):
        labels, concepts = rows.label_weights.clone(), rows.concept_weights.clone()
        if term < 0:
            labels[row] *= factor
        else:
            concepts[row, term] *= factor
        changed = replace(rows, label_weights=labels, concept_weights=concepts)
        values.append(value(refit((fitted, None, how), changed), asked))
    slope = (values[0] - values[1]) / 2e-3
    np.testing.assert_allclose(influence, slope, rtol=1e-4, atol=1e-8)


def test_newton_is_retraining_from_the_same_start(solved, hessian):
    # One row has no weight and no influence.
    asked, removed = [question(solved[1])], torch.tensor([2, 7])
    found, expected = (
        torch.cat([part for _, part in how(hessian, asked, removed)], dim=1)
        for how in (joint_newton, joint_retraining)
    )
    assert found.shape == expected.shape
    assert (found[:, 1] == 0).all()
    size = torch.linalg.vector_norm(expected.sum(dim=2))
    assert torch.linalg.vector_norm(found - expected) < 2e-3 * size


def test_paths_and_interaction_add_up_to_the_removal(hessian, solved):
    removed, asked = torch.tensor([2, 30]), [question(solved[1])]
    ((_, whole),) = joint_newton(hessian, asked, removed, paths=False)
    ((_, paths),) = joint_newton(hessian, asked, removed)
    np.testing.assert_allclose(paths.sum(dim=2), whole[..., 0], atol=1e-4)


def test_the_predicted_effect_is_that_of_a_small_edit(solved, hessian):
    fitted, rows, how = solved
    asked = question(rows)
    adjoint = solve_adjoint(
        fitted, hessian, asked.target.derivatives(fitted, asked.features)
    )
    weights = rows.label_weights.clone()
    weights[5] *= 1.001
    edited = replace(rows, label_weights=weights)
    after = value(refit((fitted, None, how), edited), asked)
    effect = predicted_joint_effect(hessian, fitted, edited, adjoint)
    assert effect == pytest.approx(float((after - value(fitted, asked))[0]), rel=1e-2)


@pytest.fixture(scope="module")
def soft(data):
    fitted, rows = start_of(data, "soft")
    return fitted, rows, penalties(len(fitted.concepts))


def test_removals_that_newton_cannot_reach_are_solved_by_descent(soft, monkeypatch):
    fitted = refit(soft, soft[1])
    hessian = JointHessian.of(fitted, soft[1], **soft[2])
    asked, removed = [question(soft[1])], torch.tensor([2])
    ((_, expected),) = joint_retraining(hessian, asked, removed, paths=False)
    monkeypatch.setattr(joint_removal, "_MAX_STEPS", 0)
    ((_, found),) = joint_newton(hessian, asked, removed, paths=False)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    monkeypatch.setattr(joint_removal, "_MAX_ITER", 0)
    with pytest.warns(InfluenceWarning, match="1 of 1 training rows did not converge"):
        list(joint_newton(hessian, asked, removed, paths=False))
    with pytest.raises(RuntimeError, match="Retraining stopped at a gradient of"):
        list(joint_retraining(hessian, asked, removed, paths=False))


def test_a_rough_preconditioner_leads_to_the_same_model(soft, monkeypatch):
    expected = refit(soft, soft[1], tol=1e-10)
    monkeypatch.setattr(joint, "_LARGEST_FACTORS", 0)
    found = refit(soft, soft[1], tol=1e-10)
    np.testing.assert_allclose(
        found.concept_parameters, expected.concept_parameters, atol=1e-8
    )


def test_away_from_a_minimum_the_hessian_is_damped_and_it_is_said(soft):
    fitted, rows, _ = soft
    # Without weight on the concepts, what bends activations is not outweighed.
    far = replace(fitted, label_parameters=20 * fitted.label_parameters)
    how = penalties(len(fitted.concepts), weight=0.01)
    with pytest.warns(InfluenceWarning, match="not at a minimum") as caught:
        hessian = JointHessian.of(far, rows, **how)
    assert f"{hessian.damping:.2g} times the heads' own" in str(caught[0].message)
    matrix, there = dense(hessian)
    assert torch.linalg.eigvalsh(matrix)[0] < 0
    blocks = torch.block_diag(*joint._blocks(hessian.problem, hessian.point))
    damped = matrix + hessian.damping * blocks[there][:, there]
    assert torch.linalg.eigvalsh(damped)[0] > 0
    right = torch.ones(1, len(there), dtype=torch.float64)
    label = right[:, : hessian.point[1].numel()]
    parts = [right[:, : head.n_scores * (D + 1)] for head in fitted.concepts.heads]
    found_label, found = hessian.solve(label, parts)
    solution = torch.cat([*found, found_label], dim=1)
    np.testing.assert_allclose(
        solution[0], torch.linalg.solve(damped, right[0]), rtol=1e-5
    )


def test_an_unsolved_adjoint_is_said(soft, monkeypatch):
    fitted = refit(soft, soft[1])
    hessian = JointHessian.of(fitted, soft[1], **soft[2])
    monkeypatch.setattr(joint_hessian, "_MAX_STEPS", 1)
    label = torch.ones(1, hessian.point[1].numel(), dtype=torch.float64)
    with pytest.warns(InfluenceWarning, match="solved to a relative residual"):
        hessian.solve_label(label)


def test_a_search_without_a_lower_point_ends(soft):
    fitted, rows, how = soft
    problem = JointProblem.of(fitted, rows, **how)
    point = point_of(refit(soft, rows))
    # At the limit of digits no step is lower by more than rounding.
    found, fit = minimise_jointly(
        problem, point, block_preconditioner(problem, point), tol=1e-300, max_iter=200
    )
    assert fit.converged.all()  # the tolerance is never finer than digits
    np.testing.assert_allclose(found[0], point[0], atol=1e-10)
