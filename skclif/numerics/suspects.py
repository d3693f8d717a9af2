"""How likely it is that a label or an annotation is wrong.

Every loss term is left out in closed form: what its own head, trained without it, says
of it. Through leverage this is one small solve a term.

A head that is sure of another value need not be right. How often it is, is learned from
all terms together: their values are held to be the right ones but for a share that was
replaced by others (Ghosh et al., 2017), and the right ones to be as probable as the
head says, once its confidence is corrected by a power and a factor for each value
(Guo et al., 2017). The rate of replacement and the corrections are those that make
what was observed most likely; Bayes' rule then gives every term's probability.

Heads that were trained on wrong values have learned the noise too: of evenly spread
noise at rate r every one of K values got a share r / K, which is taken off first. See
Eqs. (28) to (34) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .blocks import map_rows
from .bottleneck import Bottleneck, TrainingData
from .heads import CategoricalHead, Head
from .heads.ridge import studentised
from .hessians import Factors
from .leverage import BLOCK_ROWS, remove_terms
from .products import with_ones

_MAX_ITER = 500
_START = -2.0  # log-odds of a term being wrong
# How much it takes to correct a head: the precision of normal corrections about none.
_CAUTION = 5.0
# Nats by which its values must be more likely for a head to have a rate of its own.
_FAR_MORE_LIKELY = 6.0
# How sharply the share of the noise is taken off, as a part of it.
_SMOOTH = 0.25
# Of the spread of a continuous concept: predictions are never finer than this.
_FINEST = 1e-6


@dataclass(frozen=True)
class LeftOut:
    """The loss terms of one head, and what it says of each without it.

    Terms of weight 0 are none.

    Attributes
    ----------
    head : Head
    rows : Tensor of shape (n_terms,), int64
        Positions of the terms' rows.
    codes : Tensor of shape (n_terms,)
        Codes of the values, or the numbers of a continuous concept.
    scores : Tensor of shape (n_terms, n_scores)
        By the head as it is.
    without : Tensor of shape (n_terms, n_scores)
        By the head with only that term left out.
    """

    head: Head
    rows: Tensor
    codes: Tensor
    scores: Tensor
    without: Tensor

    @property
    def loss(self) -> Tensor:
        """Own loss of every term when it is left out, (n_terms,)."""
        return self.head.loss(self.without, self.codes)

    @property
    def self_influence(self) -> Tensor:
        """Effect of every term's presence on its own loss, (n_terms,)."""
        return self.head.loss(self.scores, self.codes) - self.loss

    @property
    def margin(self) -> Tensor:
        """How far the own value is ahead of all others, (n_terms,).

        The difference of probabilities; of a continuous concept, minus the size of the
        studentised residual.
        """
        return self.head.margin(self.scores, self.without, self.codes)


def leave_out(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    *,
    block_rows: int = BLOCK_ROWS,
) -> list[LeftOut]:
    """Leave out every loss term, one at a time, in closed form.

    The label's terms come first, then the concepts'. Without its label a row stays in
    the concept heads, so that the label head sees it where it was.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    block_rows : int
        Rows held at a time; the result does not depend on it beyond rounding.
    """
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    leave = partial(_left_out_scores, bottleneck, factors)
    blocks = [parts for _, parts in map_rows(leave, data, block_rows)]
    scores, without = (
        [torch.cat(parts) for parts in zip(*kind, strict=True)]
        for kind in zip(*blocks, strict=True)
    )
    weights = torch.cat([data.label_weights[:, None], data.concept_weights], dim=1)
    terms = []
    for j, head in enumerate(heads):
        rows_of = (weights[:, j] > 0).nonzero()[:, 0]
        codes = data.labels if j == 0 else data.concepts[:, j - 1]
        terms.append(
            LeftOut(
                head,
                rows_of,
                codes[rows_of],
                scores[j][rows_of],
                without[j][rows_of],
            )
        )
    return terms


def _left_out_scores(
    bottleneck: Bottleneck, factors: Factors, rows: TrainingData
) -> tuple[list[Tensor], list[Tensor]]:
    """Return scores of every head for some rows, as they are and left out."""
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    scores, without = [], []
    for head, (part, *term) in zip(
        heads, _parts(bottleneck, rows, factors), strict=True
    ):
        _, shift = remove_terms(head, part, *term)
        scores.append(part)
        without.append(part + shift)
    return scores, without


def _parts(
    bottleneck: Bottleneck, rows: TrainingData, factors: Factors
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Yield scores, codes, weights, inputs and factor of every head."""
    activations = bottleneck.training_activations(rows)
    inputs = bottleneck.label.inputs(activations)
    scores = bottleneck.label_scores(activations)
    yield scores, rows.labels, rows.label_weights, inputs, factors.label
    features = with_ones(rows.features)
    scores_of = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
    for j, part in enumerate(scores_of):
        weights = rows.concept_weights[:, j]
        yield part, rows.concepts[:, j], weights, features, factors.concepts[j]


@dataclass(frozen=True)
class Verdicts:
    """What the noise model says of the terms of one head.

    Attributes
    ----------
    log_odds : Tensor of shape (n_terms,)
        Of the value being wrong.
    suggested : Tensor of shape (n_terms,)
        The code that is most probable if it is, or the predicted number.
    rate : float
        Share of wrong values that was estimated, for the whole group.
    """

    log_odds: Tensor
    suggested: Tensor
    rate: float


def judge(
    group: Sequence[LeftOut], orders: Sequence[Tensor | None] | None = None
) -> list[Verdicts]:
    """Fit the noise model to heads whose values are wrong at about one rate.

    A head has a rate of its own where that makes its values more likely by far.

    Parameters
    ----------
    group : sequence of LeftOut
    orders : sequence of Tensor of shape (n_values,), or None
        Ranks of the values of every head: wrong values are neighbours of the right
        ones in this order. None for wrong values of any kind.

    Returns
    -------
    verdicts : list of Verdicts
    """
    orders = [None] * len(group) if orders is None else orders
    pairs = list(zip(group, orders, strict=True))
    shared = [_noise_model(*pair) for pair in pairs]
    rate = _fit(shared)
    verdicts = []
    for side, pair in zip(shared, pairs, strict=True):
        own = _noise_model(*pair)
        own_rate = _fit([own]) if len(group) > 1 else rate
        with torch.no_grad():
            gain = own.log_likelihood(own_rate) - side.log_likelihood(rate)
            chosen = (own, own_rate) if gain > _FAR_MORE_LIKELY else (side, rate)
            verdicts.append(_verdicts(*chosen))
    return verdicts


def _fit(sides: Sequence["_NoiseModel"]) -> Tensor:
    """Fit the parameters of all sides, in place, and return log-odds of being wrong."""
    log_odds = torch.full_like(sides[0].parameters[0], _START).requires_grad_()
    parameters = [log_odds, *(side.parameters for side in sides)]
    n_terms = sum(side.n_terms for side in sides)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        _assign(parameters, values)
        # As if one term more were known to be right, and one to be wrong.
        value = -_log(log_odds) - _log(-log_odds)
        for side in sides:
            value = value - side.log_likelihood(log_odds)
        value = value / n_terms
        return float(value.detach()), _flat(torch.autograd.grad(value, parameters))

    # Not torch.optim: it imports PyTorch's compiler, which takes longer than all fits.
    with torch.enable_grad():
        found = minimize(
            objective,
            _flat(parameters),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_ITER, "gtol": 1e-9, "ftol": 1e-15},
        )
    _assign(parameters, found.x)
    return log_odds.detach()


def _flat(tensors: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([one.detach().flatten() for one in tensors]).cpu().numpy()


def _assign(parameters: Sequence[Tensor], values: np.ndarray) -> None:
    start = 0
    with torch.no_grad():
        for one in parameters:
            part = torch.from_numpy(values[start : start + one.numel()])
            one.copy_(part.reshape(one.shape))
            start += one.numel()


def _verdicts(side: "_NoiseModel", log_odds: Tensor) -> Verdicts:
    rate = log_odds.sigmoid()
    right, wrong = side.evidence(rate)
    # Eq. (33) of docs/mathematics.rst.
    return Verdicts(log_odds + wrong - right, side.suggested(rate), float(rate))


_log = torch.nn.functional.logsigmoid


class _NoiseModel:
    """How probable the observed values of one head are, if right and if wrong.

    Attributes
    ----------
    n_terms : int
    parameters : Tensor
        Of the correction, 0 for none.
    """

    n_terms: int
    parameters: Tensor

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(observed) if it is right, and if it was put there, (n,)."""
        raise NotImplementedError

    def suggested(self, rate: Tensor) -> Tensor:
        """Return the most probable right value, if the observed one was put there."""
        raise NotImplementedError

    def log_likelihood(self, log_odds: Tensor) -> Tensor:
        """Return log p(observed), less the price of the correction: Eq. (32)."""
        right, wrong = self.evidence(log_odds.sigmoid())
        terms = torch.logaddexp(_log(-log_odds) + right, _log(log_odds) + wrong)
        return terms.sum() - _CAUTION * (self.parameters**2).sum() / 2


def _noise_model(terms: LeftOut, order: Tensor | None) -> _NoiseModel:
    if not terms.head.is_categorical:
        return _ContinuousNoise(terms)
    return _CategoricalNoise(cast(CategoricalHead, terms.head), terms, order)


class _CategoricalNoise(_NoiseModel):
    """How probable observed values are, if right and if wrong.

    Its parameters are the logarithm of the power, then those of the values' factors.
    """

    def __init__(self, head: CategoricalHead, terms: LeftOut, order: Tensor | None):
        self.log_p = head.log_probabilities(terms.without)
        self.n_terms = len(terms.codes)
        self.own, self.uniform = terms.codes.long()[:, None], order is None
        m = self.log_p.shape[1]
        distance = self.log_p.new_ones(m, m).fill_diagonal_(0)
        if order is not None:
            distance = (order[:, None] - order[None, :]).abs()
        replaced = (distance == 1).to(self.log_p)
        # log p(observed | right value, replaced), looked up by what was observed.
        self.log_replaced = (replaced / replaced.sum(dim=1, keepdim=True)).log().T
        self.parameters = self.log_p.new_zeros(1 + m).requires_grad_()

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        log_q = self._log_right(rate)
        right = log_q.gather(1, self.own)[:, 0]
        return right, self._as_replaced(log_q).logsumexp(dim=1)

    def suggested(self, rate: Tensor) -> Tensor:
        return self._as_replaced(self._log_right(rate)).argmax(dim=1)

    def _as_replaced(self, log_q: Tensor) -> Tensor:
        return log_q + self.log_replaced[self.own[:, 0]]

    def _log_right(self, rate: Tensor) -> Tensor:
        """Return log q of Eqs. (29) and (30), (n, n_values)."""
        log_p = self.log_p
        if self.uniform:
            learned = rate / log_p.shape[1]
            rest = log_p.exp() - learned
            rest = (rest + (rest**2 + _SMOOTH * learned**2).sqrt()) / 2
            log_p = rest.log()
        power, factors = self.parameters[0].exp(), self.parameters[1:]
        return (power * log_p + factors).log_softmax(dim=1)


class _ContinuousNoise(_NoiseModel):
    """How probable observed numbers are, if right and if wrong.

    Right ones are spread about what is predicted, wrong ones as all numbers are. Its
    parameter is the logarithm of the first spread over the second, on a loose scale:
    Eq. (34) of docs/mathematics.rst.
    """

    def __init__(self, terms: LeftOut):
        self.n_terms = len(terms.codes)
        self.predicted, numbers = terms.without[:, 0], terms.codes
        self.spread = numbers.std(correction=0)
        self.residual = (
            studentised(terms.scores, terms.without, terms.codes) / self.spread
        )
        self.deviation = (numbers - numbers.mean()) / self.spread
        self.parameters = torch.zeros_like(self.predicted[:1]).requires_grad_()

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        variance = self.parameters.exp() ** 2 + _FINEST**2
        right = -(self.residual**2) / (2 * variance) - variance.log() / 2
        return right, -(self.deviation**2) / 2

    def suggested(self, rate: Tensor) -> Tensor:
        return self.predicted
