"""What answers teach, against dense matrices and retraining with each answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skclif.numerics.answers import (
    Answers,
    answers_of_concept,
    answers_of_label,
    beliefs_with_label,
    interest_in_concepts,
    interest_in_label,
    noise_of_concepts,
)
from skclif.numerics.bottleneck import TrainingData
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.hessians import factorise
from skclif.numerics.inverses import Cholesky

from .stages import fit_stages

SIZES, N_CLASSES = [3, 2, 0], 3  # 0: a continuous concept
PENALTIES = {
    "penalty": 0.5,
    "concept_penalties": torch.tensor([0.4, 0.6, 0.8], dtype=torch.float64),
}
TINY = 1e-3  # a weight at which retraining is its own derivative


class Problem:
    """A fitted bottleneck, candidates that have no weight, and validation rows."""

    def __init__(self, intervention_prob=0.0, n=40, n_candidates=6, n_validation=7):
        rng = np.random.default_rng(0)
        total = n + n_candidates
        concepts = rng.integers(0, np.maximum(SIZES, 2), (total, 3)).astype(float)
        concepts[:, 2] = rng.normal(size=total)
        weights = np.r_[rng.uniform(0.5, 2, n), np.zeros(n_candidates)]
        self.data = TrainingData(
            *map(
                torch.from_numpy,
                (
                    rng.normal(size=(total, 3)),
                    rng.integers(0, N_CLASSES, total),
                    weights,
                    concepts,
                    np.ones((total, 3), dtype=bool) & (weights > 0)[:, None],
                    np.tile(weights[:, None], 3),
                ),
            )
        )
        self.heads = [SoftmaxHead(m) if m else RidgeHead() for m in SIZES]
        self.prob, self.n = intervention_prob, n
        self.bottleneck = self.fit(self.data)
        self.factors = factorise(self.bottleneck, self.data, **PENALTIES)
        self.validation = torch.from_numpy(rng.normal(size=(n_validation, 3)))
        self.codes = torch.from_numpy(rng.integers(0, N_CLASSES, n_validation))
        self.interest = interest_in_label(
            self.bottleneck, self.factors, self.validation, self.codes
        )
        candidates = self.data.rows(slice(n, None))
        ones = torch.ones_like(candidates.label_weights)
        self.candidates = replace(
            candidates,
            label_weights=ones,
            concept_weights=ones[:, None].expand(-1, 3),
        )
        self.class_weights = torch.ones(N_CLASSES, dtype=torch.float64)

    def fit(self, data):
        return fit_stages(
            data, self.heads, N_CLASSES, intervention_prob=self.prob, **PENALTIES
        )

    def answers(self, path, **how):
        rows = self.candidates
        args = self.bottleneck, self.factors, rows
        if path == 0:
            own = self.bottleneck.label_probabilities(rows.features)
            how = {"beliefs": own} | how
            return answers_of_label(*args, self.class_weights, self.interest, **how)
        return answers_of_concept(*args, path - 1, self.interest, **how)

    def scores(self, bottleneck):
        return bottleneck.label_scores(bottleneck.activations(self.validation))

    def moved(self, path, candidate, code):
        """Return how retraining with a tiny weight of an answer moves the scores."""
        row, data = self.n + candidate, self.data
        if path == 0:
            labels, weights = data.labels.clone(), data.label_weights.clone()
            labels[row], weights[row] = code, TINY
            data = replace(data, labels=labels, label_weights=weights)
        else:
            concepts, weights = data.concepts.clone(), data.concept_weights.clone()
            annotated = data.annotated.clone()
            concepts[row, path - 1], weights[row, path - 1] = code, TINY
            annotated[row, path - 1] = True
            data = replace(
                data, concepts=concepts, concept_weights=weights, annotated=annotated
            )
        return (self.scores(self.fit(data)) - self.scores(self.bottleneck)) / TINY

    def dense(self, path):
        """Return the Hessian of a head, and the curvature of the target."""
        inverses = [self.factors.label, *self.factors.concepts]
        hessian = torch.linalg.inv(inverses[path].dense())
        return hessian, hessian @ self.interest.matrices[path] @ hessian


@pytest.fixture(scope="module", params=[0.0, 0.4])
def problem(request):
    return Problem(request.param)


@pytest.mark.parametrize("path", [0, 1, 2])
def test_the_interest_is_what_retraining_with_each_answer_moves(problem, path):
    # Over what the model believes of the answer, the mean move is 0, and the mean
    # square along the curvature of the loss is what M says.
    answers = problem.answers(path)
    head = problem.bottleneck.label
    if path:
        head = problem.bottleneck.concepts.heads[path - 1]
    curvature = problem.bottleneck.label.curvature(
        problem.bottleneck.label.probabilities(problem.scores(problem.bottleneck)),
        problem.codes,
    )
    for candidate in (0, 3):
        x = problem.candidates.features[candidate : candidate + 1]
        if path:
            every = problem.bottleneck.concepts.split(
                problem.bottleneck.concept_scores(x)
            )
            belief = head.probabilities(every[path - 1])[0]
        else:
            belief = problem.bottleneck.label_probabilities(x)[0]
        moves = [problem.moved(path, candidate, v) for v in range(len(belief))]
        mean = sum(p * move for p, move in zip(belief, moves, strict=True))
        square = sum(
            p * torch.einsum("va,vab,vb->", move, curvature, move) / len(move)
            for p, move in zip(belief, moves, strict=True)
        )
        pull, own = answers.pull[candidate], answers.curvature[candidate]
        assert mean.abs().max() < 5e-3 * max(move.abs().max() for move in moves)
        assert float((pull * own).sum()) == pytest.approx(float(square), rel=5e-3)


@pytest.mark.parametrize("path", [0, 1, 2, 3])
def test_gains_are_the_covariance_that_an_answer_takes(problem, path):
    answers = problem.answers(path)
    hessian, target = problem.dense(path)
    k = answers.hat.shape[1]
    for i, x in enumerate(answers.inputs):
        U = torch.kron(torch.eye(k, dtype=x.dtype), x[:, None])
        after = hessian + U @ answers.curvature[i] @ U.T
        taken = torch.linalg.inv(hessian) - torch.linalg.inv(after)
        expected = float((target * taken).sum() / 2)
        assert float(answers.gains()[i]) == pytest.approx(expected, rel=1e-8)


def _beliefs(problem, path):
    """Return beliefs that are not the model's own."""
    rng = np.random.default_rng(1)
    n_values = N_CLASSES if path == 0 else SIZES[path - 1]
    return torch.from_numpy(rng.dirichlet(np.ones(n_values), len(problem.candidates)))


@pytest.mark.parametrize("path", [0, 1, 2])
def test_expected_moves_are_those_of_retraining(problem, path):
    # To first order in the weight of the answer, beliefs other than the model's own
    # move the mean log-loss.
    beliefs = _beliefs(problem, path)
    answers = problem.answers(path, beliefs=beliefs)
    label = problem.bottleneck.label

    def loss(scores):
        return float(label.loss(scores, problem.codes).mean())

    before = problem.scores(problem.bottleneck)
    for candidate in (1, 4):
        moves = [problem.moved(path, candidate, v) for v in range(beliefs.shape[1])]
        change = sum(
            p * (loss(before + TINY * move) - loss(before - TINY * move)) / (2 * TINY)
            for p, move in zip(beliefs[candidate].tolist(), moves, strict=True)
        )
        first = (answers.slope[candidate] * answers.mean[candidate]).sum()
        assert float(first) == pytest.approx(-change, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("path", [0, 1, 2])
def test_after_answers_gains_are_those_of_the_new_parameters(problem, path):
    answers = problem.answers(path, beliefs=_beliefs(problem, path))
    hessian, target = problem.dense(path)
    k = answers.hat.shape[1]
    slope = hessian @ problem.interest.slopes[path]  # the target's derivative
    for i in (1, 4, 1):
        U = torch.kron(torch.eye(k, dtype=hessian.dtype), answers.inputs[i][:, None])
        hessian = hessian + U @ answers.curvature[i] @ U.T
        step = -torch.linalg.solve(hessian, U @ answers.mean[i])
        slope = slope + target @ step
        answers.give(i)
    covariance = torch.linalg.inv(hessian)
    fresh = Answers(
        Cholesky(torch.linalg.cholesky(hessian), k),
        covariance @ slope,
        covariance @ target @ covariance,
        answers.inputs,
        answers.curvature,
        answers.mean,
    )
    torch.testing.assert_close(answers.gains(), fresh.gains(), rtol=1e-8, atol=1e-12)


def test_a_copy_of_what_is_answered_teaches_less(problem):
    answers = problem.answers(1)
    before = answers.gains()
    answers.give(2)
    after = answers.gains()
    assert after[2] < before[2]
    assert after[2] / before[2] == (after / before).min()


def test_interest_in_concepts_is_their_own_curvature(problem):
    noise = noise_of_concepts(problem.bottleneck, problem.data)
    scores = problem.bottleneck.concept_scores(problem.data.features)
    residual = scores[:, -1] - problem.data.concepts[:, 2]
    weights = problem.data.concept_weights[:, 2]
    expected = (weights * residual**2).sum() / weights.sum()
    assert noise == [1, 1, pytest.approx(float(expected))]
    interest = interest_in_concepts(
        problem.bottleneck, problem.factors, problem.validation, noise
    )
    assert not interest.matrices[0].any()
    inputs = torch.nn.functional.pad(problem.validation, (0, 1), value=1.0)
    inverse = problem.factors.concepts[2].dense()
    curvature = inputs.T @ inputs / len(inputs) / noise[2]
    torch.testing.assert_close(interest.matrices[3], inverse @ curvature @ inverse)


@pytest.mark.parametrize("concept", [0, 1])
def test_beliefs_with_a_label_are_by_bayes_rule(problem, concept):
    beliefs = beliefs_with_label(problem.bottleneck, problem.candidates, concept)
    bottleneck, rows = problem.bottleneck, problem.candidates
    head, columns = (
        bottleneck.concepts.heads[concept],
        bottleneck.concepts.activations[concept],
    )
    for i in range(len(rows)):
        x = rows.features[i : i + 1]
        scores = bottleneck.concepts.split(bottleneck.concept_scores(x))[concept]
        prior = head.probabilities(scores)[0]
        likelihood = []
        for value in range(len(prior)):
            z = bottleneck.activations(x)[0].clone()
            one_hot = torch.eye(len(prior), dtype=z.dtype)[value]
            z[columns] = one_hot[1:] if len(prior) == 2 else one_hot
            p = bottleneck.label.probabilities(bottleneck.label_scores(z[None]))[0]
            likelihood.append(p[rows.labels[i]])
        expected = prior * torch.stack(likelihood)
        torch.testing.assert_close(beliefs[i], expected / expected.sum())


def test_what_the_head_believes_moves_nothing(problem):
    head = problem.bottleneck.concepts.heads[0]
    scores = problem.bottleneck.concepts.split(
        problem.bottleneck.concept_scores(problem.candidates.features)
    )[0]
    told = problem.answers(1, beliefs=head.probabilities(scores))
    assert told.mean.abs().max() < 1e-12
    torch.testing.assert_close(told.gains(), problem.answers(1).gains())


def test_nothing_is_believed_of_a_number(problem):
    assert beliefs_with_label(problem.bottleneck, problem.candidates, 2) is None
