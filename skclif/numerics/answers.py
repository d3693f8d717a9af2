"""What answers that nobody gave yet would do to a target, in closed form.

An annotation that is asked for has an answer that is only believed in. It does two
things. By the beliefs ``q`` about it, it moves the parameters of its head in a
direction: the mean gradient is ``U m``, with ``U = I (x) x`` and the mean ``m`` of the
residual. By the model's own beliefs m is 0; other beliefs know more, such as those that
are calibrated on validation rows, or that know the row's label. And it makes the
parameters surer. With the curvature ``C`` of the term and ``A = U' H^-1 U``, it takes
``H^-1 U W U' H^-1`` from their covariance ``H^-1``, with ``W = C (I + A C)^-1``.

A target has an adjoint ``lambda`` and, along the parameters of the head and through
both stages, a curvature ``N``; ``M = H^-1 N H^-1``. It is expected to fall by

    lambda' U s - s' U' M U s / 2 + tr(W U' M U) / 2,    s = (I + C A)^-1 m.

After an answer, the parameters have moved as expected, and their covariance is smaller.
What the next answer would do is then known without solving again: a text that is like
one already chosen teaches little. See Eqs. (63) to (67) of docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, TrainingData
from .first_order import add_adjoints, solve_adjoint
from .heads import Head
from .hessians import Factors
from .inverses import Inverse
from .products import dense_rows, outer, with_ones
from .sparse import Features
from .targets import LabelTarget, through_activations

BLOCK_ROWS = 256


@dataclass(frozen=True)
class Interest:
    """How a target moves with the parameters of every head, the label's first.

    Attributes
    ----------
    slopes : list of Tensor of shape (p_h,)
        Its adjoint.
    matrices : list of Tensor of shape (p_h, p_h)
        ``M = H^-1 N H^-1``.
    """

    slopes: list[Tensor]
    matrices: list[Tensor]

    def __add__(self, other: "Interest") -> "Interest":
        """Return the interest in the sum of both targets."""
        return Interest(
            [a + b for a, b in zip(self.slopes, other.slopes, strict=True)],
            [a + b for a, b in zip(self.matrices, other.matrices, strict=True)],
        )


def interest_in_label(
    bottleneck: Bottleneck,
    factors: Factors,
    features: Features,
    codes: Tensor,
    block_rows: int = BLOCK_ROWS,
) -> Interest:
    """Return the interest in the mean log-loss of the label: Eq. (64).

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    features : Tensor or SparseFeatures of shape (n, n_features)
    codes : Tensor of shape (n,)
        The labels.
    block_rows : int
        Number of rows per block. The result depends on it only by rounding.
    """
    inverses = [factors.label, *factors.concepts]
    curvature = [codes.new_zeros(len(i), len(i)).double() for i in inverses]
    parts = []
    for block in row_blocks(len(features), block_rows):
        rows, n = features[block], len(features)
        target = LabelTarget("loss", codes[block]).derivatives(bottleneck, rows)
        share = target.values.new_full((1, len(target.values)), 1 / n)
        parts.append(solve_adjoint(bottleneck, factors, target, share))
        for own, columns in zip(
            curvature, _directions(bottleneck, factors, rows, codes[block]), strict=True
        ):
            own.addmm_(columns.T, columns, alpha=1 / n)
    adjoint = add_adjoints(parts)
    return Interest(
        [part[0] for part in (adjoint.label, *adjoint.concepts)],
        _between(inverses, curvature),
    )


def interest_in_concepts(
    bottleneck: Bottleneck,
    factors: Factors,
    features: Features,
    noise: Sequence[float],
) -> Interest:
    """Return the interest in the log-losses of all concepts, each a mean over rows.

    Nobody knows annotations of these rows, so that the slopes are 0.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    features : Tensor or SparseFeatures of shape (n, n_features)
    noise : sequence of float
        See `noise_of_concepts`.
    """
    inverses = [factors.label, *factors.concepts]
    curvature = [features.new_zeros(len(i), len(i)) for i in inverses]
    inputs = with_ones(features)
    scores = bottleneck.concepts.split(bottleneck.concept_scores(features))
    for j, (head, part) in enumerate(
        zip(bottleneck.concepts.heads, scores, strict=True)
    ):
        nothing = part.new_zeros(len(part))
        roots = _roots(head.curvature(head.probabilities(part), nothing))
        for direction in roots.unbind(dim=2):
            columns = outer(direction, inputs)
            share = 1 / (noise[j] * len(features))
            curvature[1 + j].addmm_(columns.T, columns, alpha=share)
    return Interest(
        [own.new_zeros(len(own)) for own in curvature], _between(inverses, curvature)
    )


def noise_of_concepts(bottleneck: Bottleneck, data: TrainingData) -> list[float]:
    """Return the variance of each concept's residuals in units of its curvature.

    It is 1 for categories; of numbers, the mean squared residual.
    """
    scores = bottleneck.concepts.split(bottleneck.concept_scores(data.features))
    noise = []
    for j, head in enumerate(bottleneck.concepts.heads):
        weights = data.concept_weights[:, j]
        if head.is_categorical or not bool((weights > 0).any()):
            noise.append(1.0)
            continue
        squares = (head.probabilities(scores[j])[:, 0] - data.concepts[:, j]) ** 2
        mean = float((weights * squares).sum() / weights.sum())
        noise.append(mean if mean > 0 else 1.0)
    return noise


def _directions(
    bottleneck: Bottleneck, factors: Factors, rows: Features, codes: Tensor
) -> list[Tensor]:
    """Return roots of the curvature of the label's loss along each head's parameters.

    The label head follows the concept heads, through its inputs and its own parameters.
    """
    label = bottleneck.label
    activations = bottleneck.activations(rows)
    probabilities = label.probabilities(bottleneck.label_scores(activations))
    roots = _roots(label.curvature(probabilities, codes)).unbind(dim=2)
    concept_scores = bottleneck.concept_scores(rows)
    inputs = label.inputs(activations)
    in_label = torch.cat([outer(direction, inputs) for direction in roots])
    through = torch.cat(
        [through_activations(bottleneck, concept_scores, one) for one in roots]
    )
    features = with_ones(rows).repeat(len(roots), 1)
    followed = factors.solve_label(in_label)
    pairs = zip(bottleneck.concepts.split(through), factors.cross, strict=True)
    return [
        in_label,
        *(outer(part, features) - followed @ cross for part, cross in pairs),
    ]


def _between(inverses: list[Inverse], curvature: list[Tensor]) -> list[Tensor]:
    """Return ``H^-1 N H^-1`` of every head."""
    return [
        inverse.solve(inverse.solve(own).T)
        for inverse, own in zip(inverses, curvature, strict=True)
    ]


def _roots(curvature: Tensor) -> Tensor:
    """Return R with ``R R' = curvature`` of every row, (n, k, k)."""
    values, vectors = torch.linalg.eigh(curvature)
    return vectors * values.clamp_min(0).sqrt()[:, None, :]


class Answers:
    """What each of many answers would do to a target through one head.

    Parameters
    ----------
    inverse : Inverse
        Of the head's Hessian.
    slope : Tensor of shape (p,)
    interest : Tensor of shape (p, p)
        Of the target; see `Interest`.
    inputs : Tensor of shape (n, n_inputs)
    curvature : Tensor of shape (n, k, k)
        Of the terms that answers would add, with their weights.
    mean : Tensor of shape (n, k), default=None
        What residuals are expected to be, with their weights. None is 0.
    noise : float
        Variance of residuals in units of the curvature.
    """

    def __init__(
        self,
        inverse: Inverse,
        slope: Tensor,
        interest: Tensor,
        inputs: Tensor,
        curvature: Tensor,
        mean: Tensor | None = None,
        noise: float = 1.0,
    ):
        self.inverse, self.interest, self.inputs = inverse, interest, inputs
        self.curvature, self.noise = curvature, noise
        self.mean = torch.zeros_like(curvature[:, 0]) if mean is None else mean
        self.hat = torch.cat(
            [
                inverse.hat(inputs[block, None])
                for block in row_blocks(len(inputs), BLOCK_ROWS)
            ]
        )
        self.pull = along_rows(interest, inputs)
        self.slope = _columns(inputs, slope[:, None]).squeeze(2)
        self._given: list[_Given] = []

    def gains(self) -> Tensor:
        """Return by how much each answer is expected to lower the target: Eq. (65)."""
        solved = _inverse(self.hat, self.curvature)  # (I + A C)^-1
        step = (solved.mT @ self.mean[:, :, None]).squeeze(2)
        surer = self.noise * (self.pull * (self.curvature @ solved)).sum(dim=(1, 2))
        bent = torch.einsum("na,nab,nb->n", step, self.pull, step)
        return (self.slope * step).sum(dim=1) + (surer - bent) / 2

    def give(self, position: int) -> None:
        """Count an answer as given: Eq. (66)."""
        given = self._new(position)
        self._given.append(given)
        along = _columns(self.inputs, given.solved)
        pulled = _columns(self.inputs, given.pulled)
        middle = given.middle
        self.slope = self.slope - pulled @ given.step - along @ given.slope
        both = pulled @ middle @ along.mT
        self.pull = self.pull - both - both.mT
        self.pull = self.pull + along @ middle @ given.pull @ middle @ along.mT
        self.hat = self.hat - along @ middle @ along.mT

    def _new(self, position: int) -> "_Given":
        """Return an answer with what it changes, given those before it."""
        unit = torch.eye(self.hat.shape[1]).to(self.inputs)
        columns = torch.kron(unit, self.inputs[position][:, None])
        solved, pulled = self.inverse.solve(columns), self.interest @ columns
        for earlier in self._given:
            solved, pulled = (
                solved - earlier.covariance(columns),
                pulled - earlier.interest(columns),
            )
        curvature, pull = self.curvature[position], self.pull[position].clone()
        right = torch.column_stack([curvature, self.mean[position]])
        left = torch.linalg.solve(unit + curvature @ self.hat[position], right)
        middle, step = left[:, :-1], left[:, -1]
        slope = middle @ (self.slope[position] - pull @ step)
        return _Given(solved, pulled, middle, pull, step, slope)


@dataclass(frozen=True)
class _Given:
    """An answer that counts as given.

    Attributes
    ----------
    solved, pulled : Tensor of shape (p, k)
        ``H^-1 U`` and ``M U``, before the answer.
    middle : Tensor of shape (k, k)
        ``W``.
    pull : Tensor of shape (k, k)
        ``U' M U``, before the answer.
    step, slope : Tensor of shape (k,)
        What it takes from slopes along `pulled` and along `solved`.
    """

    solved: Tensor
    pulled: Tensor
    middle: Tensor
    pull: Tensor
    step: Tensor
    slope: Tensor

    def covariance(self, columns: Tensor) -> Tensor:
        """Return what the answer takes from ``H^-1 columns``."""
        return self.solved @ (self.middle @ (self.solved.T @ columns))

    def interest(self, columns: Tensor) -> Tensor:
        """Return what it takes from ``M columns``."""
        along = self.middle @ (self.solved.T @ columns)
        across = self.middle @ (self.pulled.T @ columns - self.pull @ along)
        return self.solved @ across + self.pulled @ along


def answers_of_label(
    bottleneck: Bottleneck,
    factors: Factors,
    rows: TrainingData,
    class_weights: Tensor,
    interest: Interest,
    beliefs: Tensor,
) -> Answers:
    """Return what the labels of rows would do through the label head.

    The annotations of the rows are not known either: the label head sees predictions.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    rows : TrainingData
        Rows whose labels nobody knows; their codes are not read. The weights are those
        that labels would have, without class weights.
    class_weights : Tensor of shape (n_classes,)
    interest : Interest
    beliefs : Tensor of shape (n, n_classes)
        How probable each label is believed to be.
    """
    label = bottleneck.label
    activations = bottleneck.activations(rows.features)
    probabilities = label.probabilities(bottleneck.label_scores(activations))
    weighted = rows.label_weights[:, None] * class_weights * beliefs
    return Answers(
        factors.label,
        interest.slopes[0],
        interest.matrices[0],
        label.inputs(activations),
        *_expected(label, probabilities, weighted),
    )


def answers_of_concept(
    bottleneck: Bottleneck,
    factors: Factors,
    rows: TrainingData,
    concept: int,
    interest: Interest,
    beliefs: Tensor | None = None,
    noise: float = 1.0,
) -> Answers:
    """Return what annotations of rows would do through the head of a concept.

    Parameters
    ----------
    bottleneck : Bottleneck
    factors : Factors
    rows : TrainingData
        The weights are those that annotations would have.
    concept : int
    interest : Interest
    beliefs : Tensor of shape (n, n_values), default=None
        How probable each value is believed to be; None is what the head believes.
    noise : float
        See `noise_of_concepts`.
    """
    head = bottleneck.concepts.heads[concept]
    scores = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
    probabilities = head.probabilities(scores[concept])
    weights = rows.concept_weights[:, concept]
    curvature = head.curvature(probabilities, rows.concepts[:, concept])
    curvature, mean = weights[:, None, None] * curvature, None
    if beliefs is not None:
        _, mean = _expected(head, probabilities, weights[:, None] * beliefs)
    return Answers(
        factors.concepts[concept],
        interest.slopes[1 + concept],
        interest.matrices[1 + concept],
        with_ones(rows.features),
        curvature,
        mean,
        noise,
    )


def beliefs_with_label(
    bottleneck: Bottleneck, rows: TrainingData, concept: int
) -> Tensor | None:
    """Return how probable the values of a concept are where labels are known.

    Each is as probable as the head says, times how probable the label would be if the
    value were known: Eq. (67) of docs/mathematics.rst. None for a number, and with
    logits, of which known values have none.
    """
    head = bottleneck.concepts.heads[concept]
    if not head.is_categorical or getattr(head, "activation", None) == "logit":
        return None
    scores = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
    prior = head.probabilities(scores[concept])
    activations = dense_rows(bottleneck.activations(rows.features)).clone()
    columns = bottleneck.concepts.activations[concept]
    likelihoods = []
    for code in range(prior.shape[1]):
        known = torch.full_like(rows.labels, code)
        activations[:, columns] = head.true_activations(known, activations)
        of_label = bottleneck.label.probabilities(bottleneck.label_scores(activations))
        likelihoods.append(of_label.gather(1, rows.labels[:, None]).squeeze(1))
    joint = prior * torch.stack(likelihoods, dim=1)
    return joint / joint.sum(dim=1, keepdim=True)


def _expected(
    head: Head, probabilities: Tensor, beliefs: Tensor
) -> tuple[Tensor, Tensor]:
    """Return curvatures (n, k, k) and residuals (n, k), expected by beliefs."""
    curvature, mean = torch.tensor(0.0), torch.tensor(0.0)
    for code, belief in enumerate(beliefs.T):
        codes = torch.full_like(belief, code)
        own = head.curvature(probabilities, codes)
        curvature = curvature + belief[:, None, None] * own
        mean = mean + belief[:, None] * head.residual(probabilities, codes)
    return curvature, mean


def along_rows(matrix: Tensor, inputs: Tensor) -> Tensor:
    """Return ``U' matrix U`` of every row, (n, k, k)."""
    n_inputs = inputs.shape[1]
    k = len(matrix) // n_inputs
    result = inputs.new_empty(len(inputs), k, k)
    for a, part in enumerate(matrix.reshape(k, n_inputs, k * n_inputs)):
        half = (inputs @ part).reshape(len(inputs), k, n_inputs)
        result[:, a] = (half @ inputs[:, :, None]).squeeze(2)
    return result


def _columns(inputs: Tensor, columns: Tensor) -> Tensor:
    """Return ``U' columns`` of every row, (n, k, r), for columns (p, r)."""
    k, r = len(columns) // inputs.shape[1], columns.shape[1]
    by_input = columns.reshape(k, -1, r).transpose(0, 1).flatten(1)
    return (inputs @ by_input).reshape(len(inputs), k, r)


def _inverse(hat: Tensor, curvature: Tensor) -> Tensor:
    """Return ``(I + A C)^-1`` of every row."""
    unit = torch.eye(hat.shape[1]).to(hat)
    inverse: Tensor = torch.linalg.inv(unit + hat @ curvature)
    return inverse
