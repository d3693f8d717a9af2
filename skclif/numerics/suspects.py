"""How likely it is that a label or an annotation is wrong.

Every loss term is left out in closed form, to see what its own head predicts without
it. Leverage makes this one small linear system per term.

A head that is sure of another value can be wrong itself. All terms together tell how
often. The model assumes that a share of the values was replaced by other values (Ghosh
et al., 2017), and that the right values are as probable as the head says, after its
confidence is corrected by a power and by a factor for each value (Guo et al., 2017).
The rate of replacement and the corrections are those that make the observed values most
likely. Bayes' rule then gives the probability that a value is wrong.

Heads that were trained on wrong values have learned the noise too: evenly spread noise
at rate r gives each of K values a share of r / K, which is taken off first. See Eqs.
(28) to (34) of docs/mathematics.rst.
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
# Precision of the normal prior of corrections, whose mean is no correction.
_CAUTION = 5.0
# A head gets its own rate if that makes its values more likely by this many nats.
_FAR_MORE_LIKELY = 6.0
# Smoothness with which the share of the noise is taken off: Eq. (29).
_SMOOTH = 0.25
# Smallest error of predictions, relative to the spread of a continuous concept.
_FINEST = 1e-6


@dataclass(frozen=True)
class LeftOut:
    """The loss terms of one head, with the head's scores when each term is left out.

    Terms of weight 0 are not included.

    Attributes
    ----------
    head : Head
    rows : Tensor of shape (n_terms,), int64
        Positions of the terms' rows.
    codes : Tensor of shape (n_terms,)
        Codes of the values, or the numbers of a continuous concept.
    scores : Tensor of shape (n_terms, n_scores)
        Scores of the fitted head.
    without : Tensor of shape (n_terms, n_scores)
        Scores of the head with only that term left out.
    """

    head: Head
    rows: Tensor
    codes: Tensor
    scores: Tensor
    without: Tensor

    @property
    def loss(self) -> Tensor:
        """Loss of every term when it is left out, (n_terms,)."""
        return self.head.loss(self.without, self.codes)

    @property
    def self_influence(self) -> Tensor:
        """Effect of every term's presence on its own loss, (n_terms,)."""
        return self.head.loss(self.scores, self.codes) - self.loss

    @property
    def margin(self) -> Tensor:
        """Left-out probability of the value minus the largest other, (n_terms,).

        For a continuous concept, minus the size of the studentised residual.
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

    The label's terms come first, then the concepts'. A row whose label is left out
    stays in the concept heads, so the label head sees the same inputs of the row.

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
    """Return the scores of every head for some rows, fitted and left out."""
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    scores, without = [], []
    for head, (part, *term) in zip(
        heads, _parts(bottleneck, rows, factors), strict=True
    ):
        _, shift = remove_terms(head, part, *term)
        # All copies of a row are left out, and judged where they are predicted.
        scores.append(part[:, 0])
        without.append(part[:, 0] + shift[:, : head.n_scores])
    return scores, without


def _parts(
    bottleneck: Bottleneck, rows: TrainingData, factors: Factors
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Yield scores, codes, weights, inputs and factor of every head.

    Scores have shape (n_rows, n_copies, n_scores), and so on; only the label head has
    more than one copy.
    """
    label_rows = bottleneck.label_rows(rows)
    scores, inputs, weights = (
        label_rows.by_row(values)
        for values in (
            bottleneck.label_scores(label_rows.activations),
            bottleneck.label.inputs(label_rows.activations),
            label_rows.weights,
        )
    )
    yield scores, rows.labels, weights, inputs, factors.label
    features = with_ones(rows.features)
    scores_of = bottleneck.concepts.split(bottleneck.concept_scores(rows.features))
    for j, part in enumerate(scores_of):
        yield (
            part[:, None],
            rows.concepts[:, j],
            rows.concept_weights[:, j, None],
            features[:, None],
            factors.concepts[j],
        )


@dataclass(frozen=True)
class Verdicts:
    """The result of the noise model for the terms of one head.

    Attributes
    ----------
    log_odds : Tensor of shape (n_terms,)
        Log-odds that the value is wrong.
    suggested : Tensor of shape (n_terms,)
        The most probable code if the value is wrong, or the predicted number.
    rate : float
        Estimated share of wrong values in the whole group.
    """

    log_odds: Tensor
    suggested: Tensor
    rate: float


def judge(
    group: Sequence[LeftOut], orders: Sequence[Tensor | None] | None = None
) -> list[Verdicts]:
    """Fit the noise model to heads whose values are wrong at about one rate.

    A head gets its own rate if that makes its values far more likely.

    Parameters
    ----------
    group : sequence of LeftOut
    orders : sequence of Tensor of shape (n_values,), or None
        Ranks of the values of every head, if wrong values are neighbours of right
        values in this order. None if wrong values can be any other values.

    Returns
    -------
    verdicts : list of Verdicts
    """
    orders = [None] * len(group) if orders is None else orders
    pairs = list(zip(group, orders, strict=True))
    shared = [_noise_model(*pair) for pair in pairs]
    rate = _fit(shared)
    verdicts = []
    for model, pair in zip(shared, pairs, strict=True):
        own = _noise_model(*pair)
        own_rate = _fit([own]) if len(group) > 1 else rate
        with torch.no_grad():
            gain = own.log_likelihood(own_rate) - model.log_likelihood(rate)
            chosen = (own, own_rate) if gain > _FAR_MORE_LIKELY else (model, rate)
            verdicts.append(_verdicts(*chosen))
    return verdicts


def _fit(models: Sequence["_NoiseModel"]) -> Tensor:
    """Fit the parameters of all models in place; return log-odds of wrong values."""
    log_odds = torch.full_like(models[0].parameters[0], _START).requires_grad_()
    parameters = [log_odds, *(model.parameters for model in models)]
    n_terms = sum(model.n_terms for model in models)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        _assign(parameters, values)
        # As if one more term were known to be right, and one more to be wrong.
        value = -_log(log_odds) - _log(-log_odds)
        for model in models:
            value = value - model.log_likelihood(log_odds)
        value = value / n_terms
        return float(value.detach()), _flat(torch.autograd.grad(value, parameters))

    # torch.optim imports PyTorch's compiler, which takes longer than all fits.
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
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu().numpy()


def _assign(parameters: Sequence[Tensor], values: np.ndarray) -> None:
    start = 0
    with torch.no_grad():
        for parameter in parameters:
            part = torch.from_numpy(values[start : start + parameter.numel()])
            parameter.copy_(part.reshape(parameter.shape))
            start += parameter.numel()


def _verdicts(model: "_NoiseModel", log_odds: Tensor) -> Verdicts:
    rate = log_odds.sigmoid()
    right, wrong = model.evidence(rate)
    # Eq. (33) of docs/mathematics.rst.
    return Verdicts(log_odds + wrong - right, model.suggested(rate), float(rate))


_log = torch.nn.functional.logsigmoid


class _NoiseModel:
    """How probable the observed values of one head are, if right and if wrong.

    Attributes
    ----------
    n_terms : int
    parameters : Tensor
        Parameters of the correction; 0 is no correction.
    """

    n_terms: int
    parameters: Tensor

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(observed) if it is right, and if it is wrong, (n,)."""
        raise NotImplementedError

    def suggested(self, rate: Tensor) -> Tensor:
        """Return the most probable right value if the observed value is wrong."""
        raise NotImplementedError

    def log_likelihood(self, log_odds: Tensor) -> Tensor:
        """Return log p(observed) minus the penalty of the correction: Eq. (32)."""
        right, wrong = self.evidence(log_odds.sigmoid())
        terms = torch.logaddexp(_log(-log_odds) + right, _log(log_odds) + wrong)
        return terms.sum() - _CAUTION * (self.parameters**2).sum() / 2


def _noise_model(terms: LeftOut, order: Tensor | None) -> _NoiseModel:
    if not terms.head.is_categorical:
        return _ContinuousNoise(terms)
    return _CategoricalNoise(cast(CategoricalHead, terms.head), terms, order)


class _CategoricalNoise(_NoiseModel):
    """How probable observed categories are, if right and if wrong.

    The parameters are the logarithms of the power and of the values' factors.
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
        # log p(observed | right value, replaced); the row is the observed value.
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

    Right numbers are spread about the prediction, and wrong numbers as all numbers are.
    The parameter is the logarithm of the ratio of these spreads: Eq. (34) of
    docs/mathematics.rst.
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
