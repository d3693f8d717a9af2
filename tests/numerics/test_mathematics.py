"""The formulas of docs/mathematics.rst, evaluated as they are written there."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, root
from scipy.special import expit, logsumexp
from torch.func import hessian, jacrev, jvp

from skclif._explain.suggestions.selection import ListEffects, folds
from skclif.numerics.bottleneck import TrainingData, concept_problem
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.heads import RidgeHead, Shares, SoftmaxHead
from skclif.numerics.heads.ridge import studentised
from skclif.numerics.hessians import factorise
from skclif.numerics.knowledge import knowledge
from skclif.numerics.leverage import leverage
from skclif.numerics.suggestions import ClosedForm, LinearEffects
from skclif.numerics.suspects import LeftOut, _fit, _noise_model, judge
from skclif.numerics.targets import LabelTarget, Question
from skclif.numerics.tuning import _label_scores, left_out_scores

from .stages import fit_stages

SIZES, N_CLASSES = [3, 2, 0], 3  # 0: a continuous concept
CONCEPT_PENALTIES = torch.tensor([0.3, 0.5, 0.9], dtype=torch.float64)
PENALTIES = {"penalty": 0.7, "concept_penalties": CONCEPT_PENALTIES}
ROW = 4


class Model:
    """A small fitted model, and the symbols of the page: dense, by autograd."""

    def __init__(self, intervention_prob):
        rng = np.random.default_rng(0)
        shape = (24, len(SIZES))
        concepts = rng.integers(0, np.maximum(SIZES, 3), shape).astype(float)
        concepts = np.where(SIZES, np.minimum(concepts, np.subtract(SIZES, 1)), 1.5)
        concepts += np.where(SIZES, 0, rng.normal(size=shape))
        annotated = rng.random(shape) > 0.3
        annotated[ROW] = [True, False, True]
        arrays = (
            rng.normal(size=(shape[0], 2)),
            rng.integers(0, N_CLASSES, shape[0]),
            rng.uniform(0.2, 2, shape[0]),
            concepts,
            annotated,
            rng.uniform(0.2, 2, shape) * annotated,
        )
        self.data = TrainingData(*map(torch.from_numpy, arrays))
        self.heads = [SoftmaxHead(m) if m else RidgeHead() for m in SIZES]
        self.fitted = fit_stages(
            self.data,
            self.heads,
            N_CLASSES,
            intervention_prob=intervention_prob,
            **PENALTIES,
        )
        self.factors = factorise(self.fitted, self.data, **PENALTIES)
        self.x = torch.nn.functional.pad(self.data.features, (0, 1), value=1.0)
        parameters = self.fitted.concept_parameters
        self.theta = [
            parameters[rows].flatten() for rows in self.fitted.concepts.scores
        ]
        self.theta_y = self.fitted.label_parameters.flatten()
        self.target_rows, self.codes = self.x[:3].clone(), torch.tensor([0, 1, 2])
        self.target_rows[:, :-1] += 0.5

    # Eqs. (1) to (5).

    def loss(self, head, scores, code):
        if isinstance(head, RidgeHead):
            return (scores[..., 0] - code) ** 2 / 2
        logits = scores @ head.contrasts(scores)
        own = torch.nn.functional.one_hot(code.long(), head.n_values)
        return torch.logsumexp(logits, dim=-1) - (logits * own).sum(dim=-1)

    def activation(self, j, theta, x):
        head = self.heads[j]
        scores = x @ theta.reshape(head.n_scores, -1).T
        if isinstance(head, RidgeHead):
            return scores
        p = torch.softmax(scores @ head.contrasts(scores), dim=-1)
        return p[..., 1:] if head.n_values == 2 else p

    def true_activation(self, j, code):
        head = self.heads[j]
        if isinstance(head, RidgeHead):
            return code[..., None]
        one_hot = torch.nn.functional.one_hot(code.long(), head.n_values).double()
        return one_hot[..., 1:] if head.n_values == 2 else one_hot

    @property
    def copies(self):
        """The share of every copy of a row, and whether it has true annotations."""
        share = self.fitted.intervention_prob
        return [copy for copy in [(1 - share, False), (share, True)] if copy[0]]

    def z(self, theta, x, rows=None, known=False):
        """Inputs of the label head; in training, perhaps with true annotations."""
        parts = []
        for j, own in enumerate(theta):
            part = self.activation(j, own, x)
            if known:
                true = self.true_activation(j, self.data.concepts[rows, j])
                given = self.data.annotated[rows, j]
                part = torch.where(given[..., None], true, part)
            parts.append(part)
        return torch.nn.functional.pad(torch.cat(parts, dim=-1), (0, 1), value=1.0)

    def concept_term(self, j, theta, i):
        head = self.heads[j]
        scores = self.x[i] @ theta.reshape(head.n_scores, -1).T
        term = self.loss(head, scores, self.data.concepts[i, j])
        return self.data.concept_weights[i, j] * term

    def label_term(self, theta_y, theta, i, known_only=False):
        total = 0
        for share, known in self.copies:
            if known_only and not known:
                continue
            z = self.z(theta, self.x[i], i, known)
            scores = z @ theta_y.reshape(N_CLASSES - 1, -1).T
            term = self.loss(self.fitted.label, scores, self.data.labels[i])
            total = total + share * self.data.label_weights[i] * term
        return total

    def target(self, theta_y, theta):
        z = self.z(theta, self.target_rows)
        scores = z @ theta_y.reshape(N_CLASSES - 1, -1).T
        return self.loss(self.fitted.label, scores, self.codes)

    @property
    def question(self):
        return Question(self.target_rows[:, :-1], LabelTarget("loss", self.codes))

    # Eqs. (6), (8) and (10).

    def hessians(self):
        every = torch.arange(len(self.x))

        def penalised(theta, n_inputs, penalty):
            weights = theta.reshape(-1, n_inputs)[:, :-1]
            return penalty / 2 * (weights**2).sum()

        def concepts(theta, j):
            value = penalised(theta, self.x.shape[1], CONCEPT_PENALTIES[j])
            return self.concept_term(j, theta, every).sum() + value

        def label(theta_y):
            n_inputs = self.fitted.n_label_inputs
            value = penalised(theta_y, n_inputs, PENALTIES["penalty"])
            return self.label_term(theta_y, self.theta, every).sum() + value

        return hessian(label)(self.theta_y), [
            hessian(concepts)(theta, j) for j, theta in enumerate(self.theta)
        ]

    def cross(self, j, rows, known_only=False):
        """B_j summed over rows, perhaps only of copies with true annotations."""

        def gradient(own):
            theta = [*self.theta[:j], own, *self.theta[j + 1 :]]
            return jacrev(lambda t: self.label_term(t, theta, rows, known_only).sum())(
                self.theta_y
            )

        return jacrev(gradient)(self.theta[j])

    def adjoint(self):
        label, concepts = self.hessians()
        by_label = jacrev(self.target, argnums=0)(self.theta_y, self.theta)
        by_concept = jacrev(self.target, argnums=1)(self.theta_y, self.theta)
        lambda_y = torch.linalg.solve(label, by_label.T).T
        every = torch.arange(len(self.x))
        return lambda_y, [
            torch.linalg.solve(h, (part - lambda_y @ self.cross(j, every)).T).T
            for j, (h, part) in enumerate(zip(concepts, by_concept, strict=True))
        ]

    def removed_terms(self, i):
        """Eqs. (13) and (14): the step of every concept head."""
        _, hessians = self.hessians()
        steps = []
        for j, theta in enumerate(self.theta):
            own = hessian(lambda t, j=j: self.concept_term(j, t, i))(theta)
            gradient = jacrev(lambda t, j=j: self.concept_term(j, t, i))(theta)
            steps.append(torch.linalg.solve(hessians[j] - own, gradient))
        return steps


@pytest.fixture(params=[0.0, 0.3, 1.0], ids=["sequential", "mixed", "independent"])
def model(request):
    return Model(request.param)


def test_first_order(model):  # Eqs. (6) to (11)
    question = model.question
    derivatives = question.target.derivatives(model.fitted, question.features)
    adjoint = solve_adjoint(model.fitted, model.factors, derivatives)
    ours = torch.cat(
        [part for _, part in first_order(model.fitted, model.data, adjoint)], dim=1
    )
    lambda_y, lambdas = model.adjoint()
    gradient = jacrev(model.label_term)(model.theta_y, model.theta, ROW)
    expected = [-lambda_y @ gradient]  # Eq. (11)
    for j, theta in enumerate(model.theta):
        gradient = jacrev(lambda t, j=j: model.concept_term(j, t, ROW))(theta)
        expected.append(-lambdas[j] @ gradient)
    torch.testing.assert_close(ours[:, ROW], torch.stack(expected, dim=1))


def test_leverage(model):  # Eqs. (12) to (18)
    (_, ours), *_ = leverage(
        model.fitted, model.data, model.factors, [model.question], torch.tensor([ROW])
    )
    everything, label = torch.arange(24), model.fitted.label
    hessian_y, _ = model.hessians()
    steps = model.removed_terms(ROW)
    shares = torch.tensor([share for share, _ in model.copies]).repeat_interleave(24)
    n_inputs = model.fitted.n_label_inputs

    def inputs(theta):  # all copies of all rows
        return torch.cat(
            [model.z(theta, model.x, everything, known) for _, known in model.copies]
        )

    z = inputs(model.theta)
    scores = z @ model.theta_y.reshape(N_CLASSES - 1, -1).T
    curvature = label.curvature(label.probabilities(scores), None)
    weights = shares * model.data.label_weights.repeat(len(model.copies))
    chi = weights * curvature.diagonal(dim1=1, dim2=2).mean(dim=1)
    gram = z.T @ (chi[:, None] * z) + PENALTIES["penalty"] * torch.diag(
        torch.arange(n_inputs) < n_inputs - 1
    )
    own_gradient = jacrev(model.label_term)(model.theta_y, model.theta, ROW)
    own_hessian = hessian(model.label_term)(model.theta_y, model.theta, ROW)
    pulls = [
        (model.cross(j, everything) - model.cross(j, torch.tensor([ROW]))) @ step
        for j, step in enumerate(steps)
    ]

    def moved(j):
        theta = list(model.theta)
        theta[j] = theta[j] + steps[j]
        return theta

    def drift(j, stays):  # Eq. (17)
        columns = model.fitted.concepts.activations[j]
        derivative = jvp(
            lambda t: inputs([*model.theta[:j], t, *model.theta[j + 1 :]]),
            (model.theta[j],),
            (steps[j],),
        )[1][:, columns]
        exact = (inputs(moved(j)) - z)[:, columns]
        derivative[ROW::24] = exact[ROW::24] if stays else 0
        return torch.linalg.solve(gram, (chi[:, None] * z).T @ derivative)

    def carried(step, drifts):  # Eq. (18)
        step = step.reshape(N_CLASSES - 1, -1)
        result = step.clone()
        for j, k in drifts.items():
            result -= step[:, model.fitted.concepts.activations[j]] @ k.T
        return result.flatten()

    before = model.target(model.theta_y, model.theta)

    def influence(step, theta):
        return before - model.target(model.theta_y + step, theta)

    paths = [
        influence(
            torch.linalg.solve(hessian_y - own_hessian, own_gradient), model.theta
        )
    ]
    for j in range(len(steps)):  # Eq. (16)
        there = hessian(model.label_term)(model.theta_y, moved(j), ROW)
        right = own_gradient - jacrev(model.label_term)(model.theta_y, moved(j), ROW)
        step = torch.linalg.solve(hessian_y - own_hessian + there, right - pulls[j])
        paths.append(influence(carried(step, {j: drift(j, True)}), moved(j)))
    right = own_gradient - sum(pulls)  # Eq. (15)
    step = torch.linalg.solve(hessian_y - own_hessian, right)
    step = carried(step, {j: drift(j, False) for j in range(len(steps))})
    whole = influence(step, [t + s for t, s in zip(model.theta, steps, strict=True)])
    paths.append(whole - sum(paths))  # Eq. (12)
    torch.testing.assert_close(ours[:, 0], torch.stack(paths, dim=1))


def test_scores_of_a_row_that_is_left_out_in_part(model):  # Eqs. (48) and (49)
    units = torch.full((24,), 0.6, dtype=torch.float64)
    problem = concept_problem(model.fitted.concepts, model.data, CONCEPT_PENALTIES)
    ours = left_out_scores(problem, model.fitted.concept_parameters, units)
    hessian_y, hessians = model.hessians()
    moved = []
    for j, theta in enumerate(model.theta):
        own = 0.6 * hessian(lambda t, j=j: model.concept_term(j, t, ROW))(theta)
        slope = 0.6 * jacrev(lambda t, j=j: model.concept_term(j, t, ROW))(theta)
        moved.append(theta + torch.linalg.solve(hessians[j] - own, slope))
        scores = moved[j].reshape(model.heads[j].n_scores, -1) @ model.x[ROW]
        torch.testing.assert_close(ours[j][ROW], scores)
    there = model.z(moved, model.x[ROW])
    own = 0.6 * hessian(model.label_term)(model.theta_y, model.theta, ROW)
    slope = 0.6 * jacrev(model.label_term)(model.theta_y, model.theta, ROW)
    step = torch.linalg.solve(hessian_y - own, slope)
    expected = (model.theta_y + step).reshape(N_CLASSES - 1, -1) @ there
    held_out = model.fitted.concepts.predict_activations(torch.cat(ours, dim=1))
    found = _label_scores(
        model.fitted.label,
        model.fitted.label_rows(model.data),
        model.fitted.label_problem(model.data, PENALTIES["penalty"]),
        model.fitted.label_parameters,
        units,
        held_out,
    )
    torch.testing.assert_close(found[ROW], expected)


def _solved(q_of, moves, size):
    """Return the ``q`` that is what it causes, by a solver for any equations."""

    def excess(q):
        q = torch.from_numpy(q)
        return (q - q_of(moves(q))).numpy()

    found = root(excess, np.zeros(size), tol=1e-13)
    assert np.abs(found.fun).max() < 1e-12
    return torch.from_numpy(found.x)


def _spread(inputs, n_scores):
    """``I (x) input``, a column for each score."""
    return torch.kron(torch.eye(n_scores, dtype=inputs.dtype), inputs[:, None])


def _concept_step(model, j, hessians, code, weight):
    """Eq. (22) for an annotation: ``q (x) x`` and the step of the concept head."""
    head, old_weight = model.heads[j], model.data.concept_weights[ROW, j]
    x = _spread(model.x[ROW], head.n_scores)
    scores = x.T @ model.theta[j]
    p = head.probabilities(scores)
    r = head.residual(p, model.data.concepts[ROW, j])
    d = head.curvature(p, None)
    a = x.T @ torch.linalg.solve(hessians[j], x)

    def q_of(delta):
        new = head.residual(head.probabilities(scores + delta), code)
        return weight * new - old_weight * r - old_weight * d @ delta

    q = _solved(q_of, lambda q: -a @ q, head.n_scores)
    return x @ q, -torch.linalg.solve(hessians[j], x @ q)


def _label_at(model, z):
    """Return ``I (x) z``, the residual and the curvature of the label head there."""
    label = model.fitted.label
    spread = _spread(z, label.n_scores)
    p = label.probabilities(spread.T @ model.theta_y)
    codes = model.data.labels[ROW]
    return spread, label.residual(p, codes), label.curvature(p, codes)


def _label_copies(model):
    """Return the same for all copies of the row, with their shares."""
    found = []
    for share, known in model.copies:
        z, r, d = _label_at(model, model.z(model.theta, model.x[ROW], ROW, known))
        found.append((z, share * r, share * d))
    z, r, d = zip(*found, strict=True)
    return torch.cat(z, dim=1), torch.cat(r), torch.block_diag(*d)


def _label_residual(model, z, weights, delta):
    """Return residuals at moved scores, weighted: one for each column block of z."""
    label, code = model.fitted.label, model.data.labels[ROW]
    k = label.n_scores
    scores = (z.T @ model.theta_y + delta).reshape(-1, k)
    residuals = label.residual(label.probabilities(scores), code.expand(len(scores)))
    return (residuals * weights[:, None]).flatten()


def _changes(model):
    rows = model.data.rows(torch.tensor([ROW]))
    return ClosedForm(model.fitted, model.factors).of(rows)


def _effect(model, changed, moves):
    derivatives = model.question.target.derivatives(
        model.fitted, model.question.features
    )
    adjoint = solve_adjoint(model.fitted, model.factors, derivatives)
    return LinearEffects(changed, adjoint).of(moves)[:, 0]


def _check_moved(model, changed, moves, steps, step_y):
    """Compare the moves of all parameters."""
    concepts, label = changed.parameters(moves)
    assert sorted(concepts) == sorted(steps)
    for j, step in steps.items():
        torch.testing.assert_close(concepts[j].flatten(), step)
    torch.testing.assert_close(label.flatten(), step_y)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_reweighting_a_row(model, factor):  # Eq. (24)
    hessian_y, hessians = model.hessians()
    lambda_y, lambdas = model.adjoint()
    everything, row = torch.arange(24), torch.tensor([ROW])
    effect, beta, steps, b = 0, 0, {}, 0
    for j in range(len(SIZES)):
        weight = factor * model.data.concept_weights[ROW, j]
        left, steps[j] = _concept_step(
            model, j, hessians, model.data.concepts[ROW, j], weight
        )
        own = (factor - 1) * model.cross(j, row) @ steps[j]
        effect = effect - lambdas[j] @ left - lambda_y @ own
        beta = beta + model.cross(j, everything) @ steps[j] + own
        b = b + own
    z, _, curvature = _label_copies(model)
    weight = model.data.label_weights[ROW]
    shares = weight * torch.tensor([share for share, _ in model.copies]).double()
    before = _label_residual(model, z, shares, 0)

    def q_of(delta):
        after = _label_residual(model, z, factor * shares, delta)
        return after - before - weight * curvature @ delta

    q = _solved(
        q_of, lambda q: -z.T @ torch.linalg.solve(hessian_y, z @ q + beta), len(z.T)
    )
    changed = _changes(model)
    moves = changed.reweight(factor)
    effect = effect - lambda_y @ z @ q
    torch.testing.assert_close(_effect(model, changed, moves), effect)
    step_y = -torch.linalg.solve(hessian_y, beta + z @ q)
    _check_moved(model, changed, moves, steps, step_y)


@pytest.mark.parametrize(("j", "code"), [(0, 1.0), (1, 1.0), (2, 4.0)])
def test_another_or_a_first_annotation(model, j, code):  # Eqs. (23) and (25)
    hessian_y, hessians = model.hessians()
    lambda_y, lambdas = model.adjoint()
    code, weight = torch.tensor(code, dtype=torch.float64), torch.tensor(0.8)
    left, step = _concept_step(model, j, hessians, code, weight.double())
    effect = -lambdas[j] @ left
    everything = model.cross(j, torch.arange(24)) @ step
    gradient_y = everything
    share = model.fitted.intervention_prob
    if share:
        before = model.z(model.theta, model.x[ROW], ROW, known=True)
        after = before.clone()
        columns = model.fitted.concepts.activations[j]
        after[columns] = model.true_activation(j, code)
        own = model.cross(j, torch.tensor([ROW]), known_only=True) @ step
        z, r, d = _label_at(model, before)
        z_new, *_ = _label_at(model, after)
        w = share * model.data.label_weights[ROW]
        both, k = torch.cat([z, z_new], dim=1), len(r)

        def q_of(delta):
            new = _label_residual(model, z_new, w[None], delta[k:])
            return torch.cat([-w * r - w * d @ delta[:k], new])

        def moves_of(q):
            gradient = both @ q + everything - own
            return -both.T @ torch.linalg.solve(hessian_y, gradient)

        q = _solved(q_of, moves_of, 2 * k)
        effect = effect + lambda_y @ own - lambda_y @ both @ q
        gradient_y = everything - own + both @ q
    changed = _changes(model)
    moves = changed.annotate(j, code[None], weight[None].double())
    torch.testing.assert_close(_effect(model, changed, moves), effect)
    step_y = -torch.linalg.solve(hessian_y, gradient_y)
    _check_moved(model, changed, moves, {j: step}, step_y)


def test_the_interval_of_a_list():  # Eq. (26)
    rng, n, n_folds = np.random.default_rng(0), 53, 10
    fold = folds(n, n_folds, np.random.RandomState(0))
    e = rng.normal(size=n) + 0.3 * rng.normal(size=(n_folds, n))
    own = [e[fold[k], k] for k in range(n)]
    mean = sum(own) / n
    of_rows = sum((effect - mean) ** 2 for effect in own) / (n - 1)
    of_choice = 0
    for f in range(n_folds):
        d = [e[f, k] - sum(e[g, k] for g in range(n_folds)) / n_folds for k in range(n)]
        of_choice += sum((value - sum(d) / n) ** 2 for value in d) / (n - 1)
    of_choice *= (n_folds - 1) / n_folds
    t = 2.0066468050616857  # 97.5 % at 52 degrees of freedom
    reach = t * ((of_rows + of_choice) / n) ** 0.5
    ours = ListEffects(fold, e)
    assert ours.mean() == pytest.approx(mean)
    np.testing.assert_allclose(ours.interval(), [mean - reach, mean + reach])
    assert reach > 1.1 * t * (of_rows / n) ** 0.5


@pytest.mark.parametrize("ordinal", [False, True])
def test_the_noise_model(ordinal):  # Eqs. (29) to (33)
    rng, head = np.random.default_rng(0), SoftmaxHead(N_CLASSES)
    scores = torch.from_numpy(rng.normal(scale=4, size=(400, 2)))
    codes = head.probabilities(scores).argmax(dim=1).numpy()
    codes = np.where(rng.random(400) < 0.15, rng.integers(0, 3, 400), codes)
    codes = torch.from_numpy(codes).double()
    terms = LeftOut(head, torch.arange(400), codes, scores, scores)
    order = torch.arange(N_CLASSES) if ordinal else None
    (ours,) = judge([terms], [order])
    p, c = terms.head.probabilities(terms.without).numpy(), terms.codes.long().numpy()
    distance = np.abs(np.subtract.outer(np.arange(3), np.arange(3)))
    seen = (distance == 1 if ordinal else distance > 0).astype(float)
    seen /= seen.sum(axis=1, keepdims=True)  # T, the right value by rows

    def evidence(parameters):
        rate, (alpha, *beta) = expit(parameters[0]) / 2, parameters[1:]
        eta = rate / N_CLASSES
        rest = p - eta
        if ordinal:  # three values
            eta = eta / 2
            mixed = (1 - rate / 2) * np.eye(3) + rate / 2 * seen
            rest = p @ np.linalg.inv(mixed)
        hat = (rest + np.sqrt(rest**2 + (eta / 2) ** 2)) / 2
        hat = hat / hat.sum(axis=1, keepdims=True)
        q = np.exp(beta) * hat ** np.exp(alpha)
        q /= q.sum(axis=1, keepdims=True)
        q = (1 - 0.025) * q + 0.025 / N_CLASSES
        wrong = seen[:, c].T * q
        return rate, q[np.arange(len(c)), c], wrong

    def objective(parameters):
        rate, right, wrong = evidence(parameters)
        observed = (1 - rate) * right + rate * wrong.sum(axis=1)
        price = 0.5 * parameters[1] ** 2 + 2.5 * (parameters[2:] ** 2).sum()
        price -= 1.5 * np.log(rate) + 18.5 * np.log(1 - rate)
        return price - np.log(observed).sum()

    start = np.concatenate([[-2.0], np.zeros(1 + N_CLASSES)])
    found = minimize(objective, start, method="BFGS", options={"gtol": 1e-6})
    rate, right, wrong = evidence(found.x)
    log_odds = np.log(rate / (1 - rate)) + np.log(wrong.sum(axis=1) / right)
    # Two searches for the same maximum, by numerical and by exact gradients.
    assert ours.rate == pytest.approx(rate, rel=1e-3)
    np.testing.assert_allclose(ours.log_odds, log_odds, atol=1e-3)
    assert (ours.proposed.numpy() == wrong.argmax(axis=1)).all()
    observed = (1 - rate) * right + rate * wrong.sum(axis=1)
    probability = rate * wrong.max(axis=1) / observed
    np.testing.assert_allclose(ours.probability, probability, atol=1e-3)


@pytest.mark.parametrize("related", [0.0, 0.02, 1.0])
def test_what_a_head_knows(related):  # Eq. (32)
    rng, head = np.random.default_rng(0), SoftmaxHead(N_CLASSES)
    scores = torch.from_numpy(rng.normal(scale=3, size=(300, 2)))
    codes = head.probabilities(scores).argmax(dim=1).numpy()
    other = rng.choice(3, p=[0.6, 0.3, 0.1], size=300)
    codes = np.where(rng.random(300) < related, codes, other)
    ours = knowledge(head, scores, scores, torch.from_numpy(codes))
    log_p, shares = head.log_probabilities(scores).numpy(), np.bincount(codes) / 300

    def loss(power, *beta):
        q = power**2 * log_p + np.array(beta)
        return -(q[np.arange(300), codes] - logsumexp(q, axis=1)).mean()

    start = [0.5, *np.log(shares)]
    found = minimize(lambda x: loss(*x), start, method="BFGS")
    of_shares = -(shares * np.log(shares)).sum()
    assert ours.loss == pytest.approx(found.fun, abs=1e-5)
    assert ours.loss_of_shares == pytest.approx(of_shares)
    assert ours.gain == pytest.approx(300 * (of_shares - found.fun), abs=2e-3)
    assert ours.is_any == (ours.gain > 6) == (related > 0.1)


def test_what_a_head_of_numbers_knows():  # Eqs. (32) and (34)
    rng = np.random.default_rng(0)
    numbers = torch.from_numpy(rng.normal(3, 5, size=200))
    without = numbers[:, None] + torch.from_numpy(rng.normal(0, 4, size=(200, 1)))
    fitted = (numbers[:, None] + 3 * without) / 4
    t = studentised(fitted, without, numbers).numpy()
    ours = knowledge(RidgeHead(), fitted, without, numbers)
    gain = 200 * np.log(numbers.numpy().std() / np.sqrt((t**2).mean()))
    assert ours.gain == pytest.approx(gain)
    assert ours.is_any
    shuffled = numbers[torch.from_numpy(rng.permutation(200))]
    assert not knowledge(RidgeHead(), fitted, without, shuffled).is_any


def test_the_matrix_of_a_source():  # Eq. (33)
    """At the answer, the matrix of a source is what its own posterior says."""
    rng, head = np.random.default_rng(0), SoftmaxHead(N_CLASSES)
    scores = torch.from_numpy(rng.normal(scale=4, size=(600, 2)))
    codes = head.probabilities(scores).argmax(dim=1).numpy()
    source = rng.integers(0, 2, 600)
    codes = np.where((source == 1) & (codes == 0) & (rng.random(600) < 0.7), 2, codes)
    codes = torch.from_numpy(codes).double()
    terms = LeftOut(head, torch.arange(600), codes, scores, scores)
    model = _noise_model(terms, None)
    rate, sources = _fit([model], model), torch.from_numpy(source)
    with torch.no_grad():
        found, proposed, probability = model.verdicts(rate, sources)
        q, seen = model._right(rate).numpy(), model.replaced.numpy()
    rate, c = float(rate), codes.long().numpy()
    common = (1 - rate) * np.eye(3) + rate * seen

    def posterior(matrix, rows):
        joint = q[rows] * matrix[:, c[rows]].T
        return joint / joint.sum(axis=1, keepdims=True)

    p = np.empty((600, 3))
    for number in (0, 1):
        rows, own = source == number, common
        for _ in range(300):
            counts = np.zeros((3, 3))
            np.add.at(counts.T, c[rows], posterior(own, rows))
            counts += 20 * common
            own = counts / counts.sum(axis=1, keepdims=True)
        gain = 20 * (common * np.log(own / common)).sum()
        for matrix, sign in ((own, 1), (common, -1)):
            observed = (q[rows] * matrix[:, c[rows]].T).sum(axis=1)
            gain += sign * np.log(observed).sum()
        p[rows] = posterior(own if gain > 6 else common, rows)
    assert own[0, 2] > 0.5 > common[0, 2]
    assert gain > 6
    everyone = np.arange(600)
    right = p[everyone, c]
    # The search for the matrix ends when no entry changes by 1e-4.
    np.testing.assert_allclose(found.sigmoid(), 1 - right, atol=2e-3)
    p[everyone, c] = 0
    assert (proposed.numpy() == p.argmax(axis=1)).all()
    np.testing.assert_allclose(probability, p.max(axis=1), atol=2e-3)


def test_soft_annotations():
    """Eqs. (63) and (64)."""
    rng = np.random.default_rng(0)
    q = torch.tensor(rng.dirichlet([1, 1, 1], size=40))
    head = SoftmaxHead(3, shares=Shares.of(q))
    scores = torch.tensor(rng.normal(size=(40, 2)))
    U = head.contrasts(scores)
    p = (scores @ U).softmax(dim=1)
    codes = torch.arange(3, 43).double()
    torch.testing.assert_close(head.loss(scores, codes), -(q * p.log()).sum(dim=1))
    torch.testing.assert_close(head.residual(p, codes), (p - q) @ U.T)
    terms = LeftOut(head, torch.arange(40), codes, scores, scores)
    split, _ = terms.by_value()
    assert (split.rows == torch.arange(40).repeat_interleave(3)).all()
    (soft,), (by_value,) = judge([terms]), judge([split])
    P = by_value.log_odds.sigmoid().reshape(40, 3)
    torch.testing.assert_close(soft.log_odds.sigmoid(), (q * P).sum(dim=1))
    votes = torch.zeros(40, 3).double()
    proposed = by_value.proposed.reshape(40, 3)
    votes.scatter_add_(1, proposed, q * by_value.probability.reshape(40, 3))
    assert (soft.proposed == votes.argmax(dim=1)).all()
