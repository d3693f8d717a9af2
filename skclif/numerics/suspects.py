"""How likely it is that a label or an annotation is wrong.

Every loss term is left out in closed form, to see what its own head predicts without
it. Leverage makes this one small linear system per term.

A head that is sure of another value can be wrong itself. All terms together tell how
often. The model assumes that a share of the values was replaced by other values (Ghosh
et al., 2017), and that the right values are as probable as the head says, after its
confidence is corrected by a power and by a factor for each value (Guo et al., 2017).
The rate of replacement and the corrections are those that make the observed values most
likely. Bayes' rule then gives the probability that a value is wrong, and which other
value is the true one.

Heads that were trained on wrong values have learned the noise too: evenly spread noise
at rate r gives each of K values a share of r / K, which is taken off first. A few right
values surprise every head, so no head's word is taken for more than that allows. A
head that knows nothing of its values is not asked: each of them is wrong with the
probability of the rate.

Values that came from different sources can be wrong at different rates, and in
different ways. Each source has a matrix that says how it confuses values (Dawid and
Skene, 1979), and the head's prediction takes the place of the other annotators. See
Eqs. (28) to (34) of docs/mathematics.rst.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Self, cast

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .blocks import map_rows
from .bottleneck import Bottleneck, TrainingData
from .heads import CategoricalHead, ConstantHead, Head
from .heads.ridge import studentised
from .hessians import Factors
from .inverses import Inverse
from .knowledge import FAR_MORE_LIKELY, Knowledge, knowledge
from .leverage import BLOCK_ROWS, remove_terms
from .products import with_ones
from .removal import without_optimum
from .steps import Advance, unseen

_MAX_ITER = 500
_START = -2.0  # log-odds of a term being wrong
# Precision of the normal prior of corrections, whose mean is no correction. Heads of
# few rows can be far too sure, and rather that than noise has to explain surprises.
_CAUTION, _CAUTION_OF_POWER = 5.0, 1.0
# Prior of the rate: as if so many more terms were known to be wrong, and to be right.
# It decides where the terms do not: few of them, or a head that is hardly any use.
_WRONG, _RIGHT = 1.5, 18.5
# No rate is higher. Of two values, more would say that all of them are swapped.
_HIGHEST = 0.5
_HARDLY = 1e-4  # of the values are wrong where people make hardly any mistake
# Smoothness with which the share of the noise is taken off: Eq. (29).
_SMOOTH = 0.25
# Neighbours that take the place of right values teach a head half of their share. With
# more values, what they taught looks like honest doubt between neighbours.
_FEW_VALUES, _TAUGHT_BY_NEIGHBOURS = 3, 0.5
# Share of right values that no head foretells, spread over all values: Eq. (30). It
# bounds how sure a suspicion can be.
_SURPRISING = 0.025
# How many values the common rate counts for in the matrix of a source: Eq. (33).
_COMMON = 20.0
_SOURCE_ITER, _SOURCE_TOL = 100, 1e-4
# Smallest error of predictions, relative to the spread of a continuous concept.
_FINEST = 1e-6


@dataclass(frozen=True)
class LeftOut:
    """The loss terms of one head, with the head's scores when each term is left out.

    Terms of weight 0 are not included, nor the only row of a label that an ordinal head
    needs: without it, the head has no optimum.

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
    counts : Tensor of shape (n_terms,), or None
        How many values each term stands for, of a categorical head; None is one.
    """

    head: Head
    rows: Tensor
    codes: Tensor
    scores: Tensor
    without: Tensor
    counts: Tensor | None = None

    @property
    def is_constant(self) -> bool:
        """Whether the concept has one value only, which nothing can contradict."""
        if self.head.is_categorical:
            return self.head == ConstantHead()
        return bool((self.codes == self.codes[:1]).all())

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

    def by_value(self) -> "tuple[LeftOut, Parts | None]":
        """Return a term for each value of soft annotations, which counts its share.

        The loss of a soft annotation is that of these terms together. None: every
        annotation is one value.
        """
        found = self.head.parts(self.codes)
        if found is None:
            return self, None
        at, codes, shares = found
        counts = shares if self.counts is None else shares * self.counts[at]
        scores, without = self.scores[at], self.without[at]
        split = LeftOut(self.head, self.rows[at], codes, scores, without, counts)
        return split, Parts(len(self.codes), at, shares)


@dataclass(frozen=True)
class Parts:
    """Which terms are values of the same soft annotation.

    Attributes
    ----------
    n_terms : int
        Number of annotations.
    term : Tensor of shape (n_parts,), int64
        The annotation of every value.
    share : Tensor of shape (n_parts,)
    """

    n_terms: int
    term: Tensor
    share: Tensor

    def together(
        self, log_odds: Tensor, proposed: Tensor, probability: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is said of annotations, given what is said of their values.

        It is what is expected of a value that is drawn by the shares: Eq. (64) of
        docs/mathematics.rst.
        """
        wrong = self._sum(torch.nn.functional.logsigmoid(log_odds))
        right = self._sum(torch.nn.functional.logsigmoid(-log_odds))
        n_values = int(proposed.max()) + 1
        chances = self.share.new_zeros(self.n_terms, n_values)
        chances.index_put_(
            (self.term, proposed.long()), self.share * probability, accumulate=True
        )
        best, code = chances.max(dim=1)
        return wrong - right, code, best

    def _sum(self, logarithms: Tensor) -> Tensor:
        """Return the logarithm of the mean over each annotation's shares."""
        parts = self.share.log() + logarithms
        place = torch.arange(len(parts), device=parts.device)
        first = place.new_full((self.n_terms,), len(parts))
        place = place - first.scatter_reduce(0, self.term, place, "amin")[self.term]
        padded = parts.new_full((self.n_terms, int(place.max()) + 1), -torch.inf)
        padded[self.term, place] = parts
        return padded.logsumexp(dim=1)


def leave_out(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    *,
    block_rows: int = BLOCK_ROWS,
    advance: Advance = unseen,
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
    advance : callable
        Called with the number of rows after each block of them.
    """
    heads = [bottleneck.label, *bottleneck.concepts.heads]
    leave = partial(_left_out_scores, bottleneck, factors)
    blocks = []
    for block, parts in map_rows(leave, data, block_rows):
        blocks.append(parts)
        advance(block.stop - block.start)
    scores, without = (
        [torch.cat(parts) for parts in zip(*kind, strict=True)]
        for kind in zip(*blocks, strict=True)
    )
    present = torch.cat([data.label_weights[:, None], data.concept_weights], dim=1) > 0
    present[:, 0] &= ~without_optimum(bottleneck, data)
    terms = []
    for j, head in enumerate(heads):
        rows_of = present[:, j].nonzero()[:, 0]
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
    parts = _parts(bottleneck, rows, factors)
    for head, (part, codes, weights, inputs, inverse) in zip(heads, parts, strict=True):
        _, shift = remove_terms(head, part, codes, weights, inputs, inverse)
        # All copies of a row are left out, and judged where they are predicted.
        scores.append(part[:, 0])
        without.append(part[:, 0] + shift[:, : head.n_scores])
    return scores, without


def _parts(
    bottleneck: Bottleneck, rows: TrainingData, factors: Factors
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, Inverse]]:
    """Yield scores, codes, weights, inputs and inverse Hessian of every head.

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
    proposed : Tensor of shape (n_terms,)
        The most probable other code, or the predicted number.
    probability : Tensor of shape (n_terms,)
        Probability that the proposed code is the true one; NaN for numbers.
    rate : float
        Estimated share of wrong values in the whole group.
    known : Knowledge
        What the head knows of its values.
    is_known : bool
        Whether anything is known of which values are wrong. If not, all of them are
        wrong with the same probability.
    log_odds_alike : Tensor of shape (n_terms,)
        Log-odds if all sources erred alike.
    """

    log_odds: Tensor
    proposed: Tensor
    probability: Tensor
    rate: float
    known: Knowledge
    is_known: bool
    log_odds_alike: Tensor


def judge(
    group: Sequence[LeftOut],
    orders: Sequence[Tensor | None] | None = None,
    sources: Tensor | Sequence[Tensor | None] | None = None,
) -> list[Verdicts]:
    """Fit the noise model to heads whose values are wrong at about one rate.

    A head gets its own rate if that makes its values far more likely. A head that knows
    nothing of its values has no part in the rate. If the others prove one, it says with
    the shares of the values which of them are wrong; else nothing does.

    Parameters
    ----------
    group : sequence of LeftOut
    orders : sequence of Tensor of shape (n_values,), or None
        Ranks of the values of every head, if wrong values are neighbours of right
        right values in this order. None if wrong values can be any other values.
    sources : Tensor of shape (n_samples,), int64, sequence of them, or None
        The source of every row, from 0, for all heads or for each; None if all rows
        have one source.

    Returns
    -------
    verdicts : list of Verdicts
    """
    orders = [None] * len(group) if orders is None else orders
    if sources is None or isinstance(sources, Tensor):
        sources = [sources] * len(group)
    split, parts = zip(*(terms.by_value() for terms in group), strict=True)
    models = [_noise_model(*pair) for pair in zip(split, orders, strict=True)]
    useful = [model for model in models if model.known.is_any]
    rate = _fit(useful, models[0])
    is_proven = len(useful) < len(models) and _is_proven(useful, rate)
    verdicts = []
    for model, of_soft, source in zip(models, parts, sources, strict=True):
        judged: _NoiseModel | None = None
        own = rate
        if model.known.is_any:
            judged = model
            if len(useful) > 1:
                judged, own = _own_or_shared(model, rate)
        elif is_proven:
            judged = _by_shares(model, rate)
        if judged is None:
            own = _fit([], model)
            found = model.verdicts_of_nobody(own)
        else:
            found = judged.verdicts(own, source)
        alike = found
        if judged is not None and source is not None:
            alike = judged.verdicts(own, None)
        if of_soft is not None:
            found, alike = of_soft.together(*found), of_soft.together(*alike)
        is_known = judged is not None
        verdicts.append(Verdicts(*found, float(own), model.known, is_known, alike[0]))
    return verdicts


def judge_if_noisy(terms: LeftOut) -> Verdicts | None:
    """Fit the noise model to one head; None if nothing speaks for wrong values.

    They are spoken for if the estimated rate makes the values more likely than a rate
    of almost 0 does, by a head that knows something of them.
    """
    model = _noise_model(terms, None)
    if not model.known.is_any:
        return None
    rate = _fit([model], model)
    if _gain([model], rate) <= 0:
        return None
    found = model.verdicts(rate, None)
    return Verdicts(*found, float(rate), model.known, True, found[0])


def _own_or_shared(model: "_NoiseModel", rate: Tensor) -> tuple["_NoiseModel", Tensor]:
    """Return the model and the rate that a head gets."""
    own = model.unfitted()
    own_rate = _fit([own], own)
    gain = _value([own], own_rate) - _value([model], rate)
    return (own, own_rate) if gain > FAR_MORE_LIKELY else (model, rate)


def _is_proven(models: Sequence["_NoiseModel"], rate: Tensor) -> bool:
    """Return whether a rate makes the values far more likely than hardly any."""
    return bool(models) and _gain(models, rate) > FAR_MORE_LIKELY


def _gain(models: Sequence["_NoiseModel"], rate: Tensor) -> float:
    """Return by how many nats a rate makes values more likely than hardly any."""
    clean = [model.unfitted() for model in models]
    hardly = torch.full_like(rate, _HARDLY)
    _fit(clean, clean[0], hardly)
    return _value(models, rate) - _value(clean, hardly)


def _by_shares(model: "_NoiseModel", rate: Tensor) -> "_NoiseModel | None":
    """Return a model of the shares alone, or None if they speak against the rate."""
    shared, own = model.of_shares(), model.of_shares()
    if shared is None or own is None:
        return None
    _fit([shared], shared, rate)
    own_rate = _fit([own], own)
    gain = _value([own], own_rate) - _value([shared], rate)
    return None if gain > FAR_MORE_LIKELY else shared


def _value(models: Sequence["_NoiseModel"], rate: Tensor) -> float:
    with torch.no_grad():
        return float(sum(model.log_likelihood(rate) for model in models))


def _fit(
    models: Sequence["_NoiseModel"], like: "_NoiseModel", rate: Tensor | None = None
) -> Tensor:
    """Fit the parameters of all models in place; return the rate, if it is not given.

    Without models, the prior alone says the rate.
    """
    strength = torch.full_like(like.parameters[0], _START).requires_grad_()
    parameters = [model.parameters for model in models]
    if rate is None:
        parameters = [strength, *parameters]
    n_terms = max(1, sum(model.n_terms for model in models))

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        _assign(parameters, values)
        current = _HIGHEST * strength.sigmoid() if rate is None else rate
        value = -_WRONG * current.log() - _RIGHT * (1 - current).log()
        for model in models:
            value = value - model.log_likelihood(current)
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
    return _HIGHEST * strength.detach().sigmoid() if rate is None else rate


def _flat(tensors: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).cpu().numpy()


def _assign(parameters: Sequence[Tensor], values: np.ndarray) -> None:
    start = 0
    with torch.no_grad():
        for parameter in parameters:
            part = torch.from_numpy(values[start : start + parameter.numel()])
            parameter.copy_(part.reshape(parameter.shape))
            start += parameter.numel()


class _NoiseModel:
    """How probable the observed values of one head are, if right and if wrong.

    Attributes
    ----------
    known : Knowledge
        What the head knows of its values.
    parameters : Tensor
        Parameters of the correction; 0 is no correction.
    caution : Tensor
        Precision of their prior.
    counts : Tensor of shape (n_terms,), or None
        How many values each term stands for; None is one.
    """

    known: Knowledge
    parameters: Tensor
    caution: Tensor
    counts: Tensor | None = None

    @property
    def n_terms(self) -> float:
        """Number of values, as often as they count."""
        return self.known.n_terms

    def unfitted(self) -> Self:
        """Return the same model without corrections."""
        again = copy(self)
        again.parameters = torch.zeros_like(self.parameters).requires_grad_()
        return again

    def of_shares(self) -> "_NoiseModel | None":
        """Return a model that knows the values' shares alone; None for numbers."""
        return None

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(observed) if it is right, and if it is wrong, (n,)."""
        raise NotImplementedError

    def verdicts(
        self, rate: Tensor, sources: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-odds of being wrong, the proposed value, and its probability."""
        raise NotImplementedError

    def verdicts_of_nobody(self, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same if the head knows nothing: every value is like the next."""
        raise NotImplementedError

    def log_likelihood(self, rate: Tensor) -> Tensor:
        """Return log p(observed) minus the penalty of the correction: Eq. (32)."""
        right, wrong = self.evidence(rate)
        terms = torch.logaddexp((1 - rate).log() + right, rate.log() + wrong)
        if self.counts is not None:
            terms = self.counts * terms
        return terms.sum() - (self.caution * self.parameters**2).sum() / 2


def _knowledge(terms: LeftOut) -> Knowledge:
    return knowledge(terms.head, terms.scores, terms.without, terms.codes, terms.counts)


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
        self.known, self.counts = _knowledge(terms), terms.counts
        self.rows = terms.rows
        self.own, self.uniform = terms.codes.long()[:, None], order is None
        m = self.log_p.shape[1]
        distance = self.log_p.new_ones(m, m).fill_diagonal_(0)
        if order is not None:
            distance = (order[:, None] - order[None, :]).abs()
        replaced = (distance == 1).to(self.log_p)
        # p(observed | right value, replaced); the row is the right value.
        self.replaced = replaced / replaced.sum(dim=1, keepdim=True)
        self.parameters = self.log_p.new_zeros(1 + m).requires_grad_()
        self.caution = self.log_p.new_full((1 + m,), _CAUTION)
        self.caution[0] = _CAUTION_OF_POWER

    def of_shares(self) -> "_CategoricalNoise":
        again = self.unfitted()
        counts = self.log_p.new_zeros(self.log_p.shape[1])
        often = torch.ones_like(self.log_p[:, 0])
        counts.index_add_(
            0, self.own[:, 0], often if self.counts is None else self.counts
        )
        # Half a value more of each: no share is 0.
        shares = (counts + 0.5) / (counts + 0.5).sum()
        again.log_p = shares.log().expand_as(self.log_p)
        return again

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        q = self._right(rate)
        right = q.gather(1, self.own)[:, 0]
        return right.log(), (q * self.replaced.T[self.own[:, 0]]).sum(dim=1).log()

    @torch.no_grad()
    def verdicts(
        self, rate: Tensor, sources: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Eq. (33) of docs/mathematics.rst.
        q = self._right(rate)
        common = (1 - rate) * torch.eye(q.shape[1]).to(q) + rate * self.replaced
        source = torch.zeros_like(self.rows)
        confusions = common[None]
        if sources is not None and sources.max() > 0:
            source = sources[self.rows]
            confusions = self._confusions(q, common, source, int(sources.max()) + 1)
        joint = q * confusions[source, :, self.own[:, 0]]
        right = joint.gather(1, self.own)[:, 0]
        others = joint.scatter(1, self.own, 0.0)
        wrong, (best, proposed) = others.sum(dim=1), others.max(dim=1)
        return wrong.log() - right.log(), proposed, best / (right + wrong)

    @torch.no_grad()
    def verdicts_of_nobody(self, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        others = self.log_p.exp().scatter(1, self.own, 0.0)
        best, proposed = others.max(dim=1)
        every = torch.ones_like(best)
        return every * rate.logit(), proposed, rate * best / others.sum(dim=1)

    def _confusions(
        self, q: Tensor, common: Tensor, source: Tensor, n_sources: int
    ) -> Tensor:
        """Return p(observed | right value) of every source, (n_sources, m, m).

        Expectation and maximisation, in turns. A source that is hardly more likely
        with a matrix of its own has the common matrix.
        """
        own, m = self.own[:, 0], q.shape[1]
        often = torch.ones_like(q[:, 0]) if self.counts is None else self.counts
        everywhere = common.expand(n_sources, m, m)
        matrices = everywhere
        for _ in range(_SOURCE_ITER):
            joint = q * matrices[source, :, own]
            right = often[:, None] * joint / joint.sum(dim=1, keepdim=True)
            counts = q.new_zeros(n_sources * m, m)
            counts.index_add_(0, source * m + own, right)
            counts = counts.reshape(n_sources, m, m).transpose(1, 2)
            new = counts + _COMMON * common
            new = new / new.sum(dim=2, keepdim=True)
            change, matrices = (new - matrices).abs().max(), new
            if change < _SOURCE_TOL:
                break
        gains = q.new_zeros(n_sources)
        likelihoods = [
            (q * some[source, :, own]).sum(dim=1) for some in (matrices, everywhere)
        ]
        ratios = often * (likelihoods[0] / likelihoods[1]).log()
        gains.index_add_(0, source, ratios)
        ratio = torch.where(everywhere > 0, matrices / everywhere, 1.0)
        gains = gains + _COMMON * (common * ratio.log()).sum(dim=(1, 2))
        is_own = gains > FAR_MORE_LIKELY
        return torch.where(is_own[:, None, None], matrices, everywhere)

    def _right(self, rate: Tensor) -> Tensor:
        """Return q of Eqs. (29) and (30), (n, n_values)."""
        log_p, m = self.log_p, self.log_p.shape[1]
        if self.uniform:
            log_p = _positive(log_p.exp() - rate / m, rate / m).log()
        elif m <= _FEW_VALUES:
            taught = _TAUGHT_BY_NEIGHBOURS * rate
            mixed = (1 - taught) * torch.eye(m).to(log_p) + taught * self.replaced
            rest = torch.linalg.solve(mixed, log_p.exp(), left=False)
            log_p = _positive(rest, taught / m).log()
        power, factors = self.parameters[0].exp(), self.parameters[1:]
        q = (power * log_p + factors).softmax(dim=1)
        return (1 - _SURPRISING) * q + _SURPRISING / m


def _positive(rest: Tensor, share: Tensor) -> Tensor:
    """Return what is left after a share was taken off, smoothly above 0: Eq. (29)."""
    return (rest + (rest**2 + _SMOOTH * share**2).sqrt()) / 2


class _ContinuousNoise(_NoiseModel):
    """How probable observed numbers are, if right and if wrong.

    Right numbers are spread about the prediction, and wrong numbers as all numbers are.
    The parameter is the logarithm of the ratio of these spreads: Eq. (34) of
    docs/mathematics.rst.
    """

    def __init__(self, terms: LeftOut):
        self.known = _knowledge(terms)
        self.predicted, numbers = terms.without[:, 0], terms.codes
        self.spread = numbers.std(correction=0)
        self.residual = (
            studentised(terms.scores, terms.without, terms.codes) / self.spread
        )
        self.deviation = (numbers - numbers.mean()) / self.spread
        self.parameters = torch.zeros_like(self.predicted[:1]).requires_grad_()
        self.caution = torch.full_like(self.parameters, _CAUTION, requires_grad=False)

    def evidence(self, rate: Tensor) -> tuple[Tensor, Tensor]:
        variance = self.parameters.exp() ** 2 + _FINEST**2
        right = -(self.residual**2) / (2 * variance) - variance.log() / 2
        return right, -(self.deviation**2) / 2

    @torch.no_grad()
    def verdicts(
        self, rate: Tensor, sources: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        right, wrong = self.evidence(rate)
        nowhere = torch.full_like(self.predicted, torch.nan)
        return rate.logit() + wrong - right, self.predicted, nowhere

    def verdicts_of_nobody(self, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        every = torch.ones_like(self.predicted)
        return every * rate.logit(), self.predicted, every * torch.nan
