"""Weights of training rows that lower the loss of other rows.

A row's harm is the derivative of a held-out loss in the row's weight. Rounds turn harm
into weights: in every round, the log-odds of a row's weight fall by a dose times its
standard score. Then the models are fitted again, and harm is measured at the new
weights.

Harm that is measured on few held-out rows is mostly noise. So it is measured on every
fold by itself. The share of its variance over training rows that is disagreement of the
folds is taken off, as in empirical Bayes: a round without signal changes nothing.

Without clean rows, the labels that judge may be wrong themselves. Harm is then harm to
the probability of error: wrong labels that are spread evenly over all classes only
change its scale (Ghosh et al., 2017). Rounds are compared by the log-loss of labels
after such noise, at the rate that fits best.

Labels can also be suspected: models that were not trained on a row say how probable its
label is, and a noise model says how probable it is that the label is wrong. Rows that
are probably wrong lose their weight, and other rows keep as much of it as the
probability that they are right. That is a place for rounds to start from.

Many models are fitted to the same rows under different weights, so that there are rows
that no weight has seen. See Eqs. (35) to (40) of docs/mathematics.rst.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from .bottleneck import Bottleneck
from .lockstep import LockstepModels
from .suspects import LeftOut, judge_if_noisy
from .targets import LinearTarget, SetTarget

# Least mean multiplier of a class, relative to the overall mean.
_LEAST_CLASS_SHARE = 0.1
# Least multiplier of a row: almost nothing, but no weight becomes 0 or underflows.
_LEAST_ROW_SHARE = 1e-12
_PROBABLY = 0.5  # wrong at this probability: the row loses its weight
_RATE_TOL = 1e-15  # of a rate of noise
_NO_FOLD = -1  # of rows that are never held out
_NOTHING = -2  # held out by the models of the answer itself


@dataclass(frozen=True)
class Rows:
    """The rows: their weights, and which folds hold them out.

    Attributes
    ----------
    weights : Tensor of shape (n_samples,)
        The given weights, none of them 0.
    adapted : Tensor of shape (n_samples,), bool
        Which rows have weights that are learned; the other rows are clean.
    fold : Tensor of shape (n_samples,), int64
        The fold that holds a row out, or -1. Rows with a fold are the rows whose loss
        counts: the clean rows or, without clean rows, all rows.
    n_folds : int
    own_fold : Tensor of shape (n_samples,), int64, or None
        The fold that is left out to suspect the labels of the rows with learned
        weights, or -1. None if they are the rows with a fold.
    """

    weights: Tensor
    adapted: Tensor
    fold: Tensor
    n_folds: int
    own_fold: Tensor | None = None

    @property
    def noisy(self) -> bool:
        """Whether the labels whose loss counts may be wrong."""
        return bool(self.adapted.all())

    @property
    def targets(self) -> Tensor:
        """Positions of the rows whose loss counts."""
        return (self.fold != _NO_FOLD).nonzero()[:, 0]

    def total(self, fold: int) -> Tensor:
        """Return the weight of a fold, a scalar."""
        return self.weights[self.fold == fold].sum()


@dataclass(frozen=True)
class Round:
    """The result of a round.

    Attributes
    ----------
    multipliers : Tensor of shape (n_samples,)
        Multipliers of the given weights; 1 for clean rows.
    influence : Tensor of shape (n_samples,) or None
        First-order influence of every row's presence on the mean held-out loss, at the
        weights at the start of this round (nats, or without clean rows probability of
        error; positive = harmful). NaN for rows that the models are not trained on, and
        None for the start.
    signal : float
        Share of harm's variance over rows that is not disagreement of the folds.
    losses, hits : Tensor of shape (n_targets,), or None
        Log-loss (nats) of every target, and whether its prediction is right, by a model
        whose training rows and weights do not depend on the target's fold.
    noise : float
        Share of the targets' labels that seem to be wrong; 0 for clean labels.
    kept : Tensor of shape (n_samples, n_groups)
        The share of its weight that suspicion leaves to a row, for every group of
        models.
    suspicion : Suspicion or None
        What is suspected, if anything is and was asked for.
    proba : Tensor of shape (n_targets, n_classes), or None
        Probabilities of every target's classes by the same model as `losses`.
    """

    multipliers: Tensor
    influence: Tensor | None
    signal: float
    losses: Tensor | None
    hits: Tensor | None
    noise: float
    kept: Tensor
    suspicion: "Suspicion | None" = None
    proba: Tensor | None = None


@dataclass(frozen=True)
class Suspicion:
    """How probable it is that labels are wrong.

    Attributes
    ----------
    probability_wrong : Tensor of shape (n_samples,)
        NaN for clean rows.
    rate : float
        Estimated share of wrong labels among rows with learned weights.
    """

    probability_wrong: Tensor
    rate: float

    @property
    def kept(self) -> Tensor:
        """The share of its weight that a row keeps: 0 if it is probably wrong."""
        right = 1 - self.probability_wrong
        return torch.where(right.isnan(), 1.0, right * (right >= _PROBABLY))


class Reweighting:
    """The start, what suspicion makes of it, and rounds of influence.

    Parameters
    ----------
    models : LockstepModels
    rows : Rows
    max_weight : float
        Upper bound on multipliers, before they are scaled to keep the total weight.
    evaluate : bool
        Whether to measure losses on held-out rows.
    keep_clean : bool
        Whether clean rows train the models that are evaluated.
    aim : Aim or None
        The target of the rows whose loss counts, in place of their mean loss.
    """

    def __init__(
        self,
        models: LockstepModels,
        rows: Rows,
        *,
        max_weight: float,
        evaluate: bool,
        keep_clean: bool,
        aim: "Aim | None" = None,
    ):
        groups = [_NOTHING, *(range(rows.n_folds) if evaluate else ())]
        sought = rows.weights * rows.adapted
        self._models, self._rows, self._max_weight = models, rows, max_weight
        self._sought = torch.stack([sought * (rows.fold != g) for g in groups], dim=1)
        self._plan = (
            _Plan(rows, groups) if aim is None else _AimedPlan(rows, groups, aim)
        )
        self._fitted: list[Bottleneck] | None = None
        self._judge = _Judge(models, rows, groups, keep_clean) if evaluate else None

    @property
    def codes(self) -> Tensor:
        """Codes of the labels of the rows whose loss counts."""
        return self._models.data.labels[self._rows.targets]

    def start(self) -> Round:
        """Return the weights as they are given."""
        everything = torch.ones_like(self._sought)
        return self._round(everything, everything)

    def suspect(self) -> Round | None:
        """Return weights by suspicion alone; None if no label seems wrong."""
        n_groups = self._sought.shape[1]
        own_fold, plan = self._rows.own_fold, self._plan
        if own_fold is None:
            scores = self._left_out_scores(
                self._rows.fold, plan.trained, plan.own, plan.group
            )
        else:  # clean rows train no model, so one group is as good as all of them
            out = list(range(int(own_fold.max()) + 1))
            trained = [
                self._rows.weights * self._rows.adapted * (own_fold != o) for o in out
            ]
            if not out:
                return None
            scores = self._left_out_scores(
                own_fold, torch.stack(trained, dim=1), out, [0] * len(out)
            )
        found = [self._suspicion(*pair) for pair in enumerate(scores)]
        if found[0] is None:
            return None
        columns = [
            torch.ones_like(self._sought[:, 0]) if one is None else one.kept
            for one in found
        ]
        kept = torch.stack(columns, dim=1).expand(-1, n_groups)
        multipliers = self._multipliers(torch.zeros_like(kept), kept)
        return self._round(multipliers, kept, suspicion=found[0])

    def _suspicion(self, group: int, scores: Tensor) -> "Suspicion | None":
        """Suspect the labels of the rows with learned weights that a group may use."""
        own_fold = self._rows.own_fold
        left_out = (self._rows.fold if own_fold is None else own_fold) != _NO_FOLD
        asked = (left_out & (self._sought[:, group] > 0)).nonzero()[:, 0]
        verdicts = judge_if_noisy(
            LeftOut(
                self._models.template.label,
                asked,
                self._models.data.labels[asked],
                scores[asked],
                scores[asked],
                self._rows.weights[asked],
            )
        )
        if verdicts is None:
            return None
        wrong = torch.full_like(self._rows.weights, torch.nan)
        wrong[asked] = verdicts.log_odds.sigmoid()
        return Suspicion(wrong, verdicts.rate)

    def rounds(self, start: Round, *, dose: float, n_rounds: int) -> Iterator[Round]:
        """Yield one round of influence after the other.

        Parameters
        ----------
        start : Round
            What the rounds start from.
        dose : float
            How far a round moves a weight: by ``2 * dose`` in log-odds for a standard
            score of 1.
        n_rounds : int
        """
        plan, rows, log_odds = self._plan, self._rows, torch.zeros_like(start.kept)
        multipliers = self._multipliers(log_odds, start.kept)
        for _ in range(n_rounds):
            weights = plan.trained * multipliers[:, plan.group]
            self._fitted = self._models.fit(weights, self._fitted)
            evidence = _Evidence(rows, start.kept)
            for group, fold, harm, seen in plan.harms(
                self._models, self._fitted, weights
            ):
                evidence.add(group, plan.weight(fold), harm, seen)
            scores, signal = evidence.scores()
            log_odds = log_odds - 2 * dose * scores
            multipliers = self._multipliers(log_odds, start.kept)
            influence = plan.sign * rows.weights * evidence.mean()[:, 0]
            yield self._round(multipliers, start.kept, influence, float(signal[0]))

    def _multipliers(self, log_odds: Tensor, kept: Tensor) -> Tensor:
        labels = self._models.data.labels
        return _multipliers(log_odds, labels, self._sought, self._max_weight, kept)

    def _round(
        self,
        multipliers: Tensor,
        kept: Tensor,
        influence: Tensor | None = None,
        signal: float = 0.0,
        suspicion: Suspicion | None = None,
    ) -> Round:
        losses: Tensor | None = None
        hits: Tensor | None = None
        proba: Tensor | None = None
        noise = 0.0
        if self._judge is not None:
            losses, hits, proba, noise = self._judge(multipliers)
        return Round(
            multipliers[:, 0],
            influence,
            signal,
            losses,
            hits,
            noise,
            kept,
            suspicion,
            proba,
        )

    def _left_out_scores(
        self, fold: Tensor, trained: Tensor, out: list[int], groups: list[int]
    ) -> list[Tensor]:
        """Return scores of all rows by models not trained on them, for every group.

        Rows that no model of the group left out have scores of 0.

        Parameters
        ----------
        fold : Tensor of shape (n_samples,)
        trained : Tensor of shape (n_samples, n_models)
            Weights of the rows that train each model.
        out, groups : list of int
            The fold that each model left out, and its group.
        """
        data, fitted = self._models.data, self._models.fit(trained, None)
        shape = (1 + max(groups), len(fold), fitted[0].label.n_scores)
        scores = trained.new_zeros(shape)
        for model, group, own in zip(fitted, groups, out, strict=True):
            asked = (self._rows.adapted & (fold == own)).nonzero()[:, 0]
            activations = model.activations(data.features[asked])
            scores[group, asked] = model.label_scores(activations)
        return list(scores)


class _Plan:
    """Which models to fit, so that harm is measured on rows that did not train them.

    A group holds out one fold from everything, to be evaluated on it. Clean rows train
    no model, so one model per group measures harm on every fold. If all rows train
    models, there is one model for each fold on which harm is measured.

    Attributes
    ----------
    group : list of int
        Position of every model's group.
    own : list of int
        The fold on which every model measures harm, if it trains on the others.
    trained : Tensor of shape (n_samples, n_models)
        The given weights of the rows that train each model; 0 for other rows.
    """

    def __init__(self, rows: Rows, groups: list[int]):
        self.rows, folds = rows, range(rows.n_folds)
        self._own_fold = rows.noisy
        models = [
            (g, held_out, own)
            for g, held_out in enumerate(groups)
            for own in (folds if self._own_fold else [_NOTHING])
            if own != held_out or not self._own_fold
        ]
        self.group = [g for g, _, _ in models]
        self._held_out = [held_out for _, held_out, _ in models]
        self.own = [own for _, _, own in models]
        self.trained = torch.stack(
            [
                rows.weights
                * (rows.adapted & (rows.fold != held_out) & (rows.fold != own))
                for _, held_out, own in models
            ],
            dim=1,
        )

    @property
    def sign(self) -> float:
        """What turns harm into influence on the target."""
        return 1.0

    def weight(self, fold: int) -> Tensor:
        """Return the weight of a fold's harm, a scalar."""
        return self.rows.total(fold)

    @property
    def measured(self) -> list[list[int]]:
        """The folds on which every model measures harm."""
        if self._own_fold:
            return [[own] for own in self.own]
        return [list(range(self.rows.n_folds))] * len(self.own)

    def _by_fold(self) -> Tensor:
        """Return the share of every target in the harm on each fold."""
        rows = self.rows
        return torch.stack(
            [
                rows.weights * (rows.fold == f) / rows.total(f)
                for f in range(rows.n_folds)
            ],
            dim=1,
        )[rows.targets]

    def _kind(
        self, models: LockstepModels, fitted: list[Bottleneck]
    ) -> str | list[LinearTarget]:
        """Return what is measured."""
        return "error" if self._own_fold else "loss"

    def harms(
        self, models: LockstepModels, fitted: list[Bottleneck], weights: Tensor
    ) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Yield group, fold, harm of every row on the fold, and the training rows."""
        by_fold, measured = self._by_fold(), self.measured
        shares = torch.stack([by_fold[:, own] for own in measured], dim=1)
        harm = models.harm(
            fitted, weights, self.rows.targets, shares, self._kind(models, fitted)
        )
        for m, own in enumerate(measured):
            for position, fold in enumerate(own):
                if fold != self._held_out[m]:
                    seen = self.trained[:, m] > 0
                    yield self.group[m], fold, harm[:, m, position], seen


@dataclass(frozen=True)
class Aim:
    """One number of all rows whose loss counts, which weights are to make better.

    Attributes
    ----------
    of_rows : callable
        Maps positions among the rows whose loss counts to the number of these rows.
    higher_is_better : bool
    """

    of_rows: Callable[[np.ndarray], SetTarget]
    higher_is_better: bool

    @property
    def sign(self) -> float:
        """The sign at which lower is better."""
        return -1.0 if self.higher_is_better else 1.0


class _AimedPlan(_Plan):
    """Harm to one number of all rows that a group may see, fold by fold.

    The number is differentiated at the probabilities of all of these rows, each by the
    model of the group that measures it. A fold's harm is the part of its rows, times
    how many times the fold goes into them: Eq. (75) of docs/mathematics.rst. Every row
    counts once, whatever its weight.
    """

    def __init__(self, rows: Rows, groups: list[int], aim: Aim):
        super().__init__(rows, groups)
        self._aim, fold = aim, rows.fold[rows.targets]
        self._fold = fold
        self._seen = [(fold != held_out).nonzero()[:, 0] for held_out in groups]
        self._numbers = [aim.of_rows(seen.cpu().numpy()) for seen in self._seen]

    @property
    def sign(self) -> float:
        """What turns harm into influence on the target."""
        return self._aim.sign

    def weight(self, fold: int) -> Tensor:
        """Return the number of rows in a fold."""
        return (self._fold == fold).sum().to(self.rows.weights)

    def _by_fold(self) -> Tensor:
        folds = range(self.rows.n_folds)
        return torch.stack([self._fold == f for f in folds], dim=1).to(
            self.rows.weights
        )

    def _kind(
        self, models: LockstepModels, fitted: list[Bottleneck]
    ) -> str | list[LinearTarget]:
        """Return the slopes of the number, as each model has to measure them."""
        features = models.data.features[self.rows.targets]
        n_classes = models.template.label.n_values
        proba = features.new_zeros(len(self._seen), len(features), n_classes)
        for model, group, own in zip(fitted, self.group, self.measured, strict=True):
            at = torch.isin(self._fold, self._fold.new_tensor(own)).nonzero()[:, 0]
            proba[group, at] = model.label_probabilities(features[at])
        slopes = torch.zeros_like(proba)
        for group, (seen, number) in enumerate(
            zip(self._seen, self._numbers, strict=True)
        ):
            _, slope = number.in_probabilities(proba[group, seen])
            slopes[group, seen] = self.sign * slope
            counts = self._fold[seen].bincount(minlength=self.rows.n_folds).to(proba)
            slopes[group, seen] *= (len(seen) / counts[self._fold[seen]])[:, None]
        return [LinearTarget(slopes[group]) for group in self.group]


class _Evidence:
    """Harm on several folds: its mean, its standard score and its signal."""

    def __init__(self, rows: Rows, kept: Tensor):
        self._weights = rows.weights[:, None] * kept
        nothing = torch.zeros_like(kept)
        self._share, self._sum = nothing.clone(), nothing.clone()
        self._squares, self._folds = nothing.clone(), nothing.clone()

    def add(self, group: int, weight: Tensor, harm: Tensor, seen: Tensor) -> None:
        """Add the harm on one fold of this weight, for the training rows."""
        share = weight * seen
        self._share[:, group] += share
        self._sum[:, group] += share * harm
        self._squares[:, group] += share * harm**2
        self._folds[:, group] += seen

    def mean(self) -> Tensor:
        """Return the mean over folds, (n_samples, n_groups); NaN without a fold."""
        return self._sum / self._share

    def scores(self) -> tuple[Tensor, Tensor]:
        """Return shrunken standard scores, 0 for rows without harm, and the signal.

        Eqs. (36) and (37) of docs/mathematics.rst.

        Every moment over rows is weighted.
        """
        seen = self._share > 0
        mean = torch.where(seen, self.mean(), 0.0)
        variance = torch.where(seen, self._squares / self._share, 0.0) - mean**2
        weights = self._weights * seen
        weights = weights / weights.sum(dim=0)
        deviation = mean - (weights * mean).sum(dim=0)
        spread = (weights * deviation**2).sum(dim=0)
        noise = (weights * variance.clamp(min=0) / (self._folds - 1)).sum(dim=0)
        # One fold cannot disagree with itself, so its signal is unknown.
        several = (self._folds > 1).logical_or(~seen).all(dim=0) & (spread > 0)
        signal = torch.where(several, 1 - noise / spread, 0.0).clamp(min=0)
        scores = torch.where(several, signal * deviation / spread.sqrt(), 0.0)
        return torch.where(seen, scores, 0.0), signal


class _Judge:
    """Losses of held-out rows, under weights that were learned without them."""

    def __init__(
        self, models: LockstepModels, rows: Rows, groups: list[int], keep_clean: bool
    ):
        self._models, self._rows = models, rows
        trained = rows.adapted | keep_clean
        self._trained = torch.stack(
            [
                rows.weights * (trained & (rows.fold != held_out))
                for held_out in groups[1:]
            ],
            dim=1,
        )
        self._fitted: list[Bottleneck] | None = None

    def __call__(self, multipliers: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return losses, hits and probabilities of the targets, and their noise."""
        models, targets = self._models, self._rows.targets
        weights = self._trained * multipliers[:, 1:]
        self._fitted = models.fit(weights, self._fitted)
        codes, folds = models.data.labels[targets], self._rows.fold[targets]
        losses = torch.empty_like(self._rows.weights[targets])
        hits = torch.empty_like(codes, dtype=torch.bool)
        proba = losses.new_empty(len(codes), models.template.label.n_values)
        for fold, model in enumerate(self._fitted):
            held_out = folds == fold
            features = models.data.features[targets[held_out]]
            scores = model.label_scores(model.activations(features))
            own = codes[held_out]
            losses[held_out] = model.label.loss(scores, own)
            proba[held_out] = model.label.probabilities(scores)
            hits[held_out] = proba[held_out].argmax(dim=1) == own
        if not self._rows.noisy:
            return losses, hits, proba, 0.0
        shares = self._rows.weights[targets]
        losses, noise = _through_noise(losses, shares, proba.shape[1])
        return losses, hits, proba, noise


def _through_noise(
    losses: Tensor, weights: Tensor, n_classes: int
) -> tuple[Tensor, float]:
    """Return log-losses of labels after noise, and the share of labels it changed.

    The noise replaces labels by any class, at the rate that makes the labels most
    likely: Eq. (40) of docs/mathematics.rst.
    """
    own = torch.exp(-losses)
    gap = 1 / n_classes - own

    def slope(rate: float) -> float:
        return -float((weights * gap / (own + rate * gap)).sum())

    if slope(0.0) >= 0:  # convex in the rate
        return losses, 0.0
    rate = brentq(slope, 0.0, 1.0, xtol=_RATE_TOL) if slope(1.0) > 0 else 1.0
    return -torch.log(own + rate * gap), rate * (1 - 1 / n_classes)


def _multipliers(
    log_odds: Tensor,
    labels: Tensor,
    weights: Tensor,
    max_weight: float,
    kept: Tensor | float = 1.0,
) -> Tensor:
    """Return the multipliers of weights: 1 for weight 0.

    Where all is kept, they are 1 at log-odds of 0. Eqs. (37) and (38) of
    docs/mathematics.rst.
    """
    total = weights.sum(dim=0)
    values = kept * max_weight * torch.sigmoid(log_odds - log(max_weight - 1))
    values = values * total / (weights * values).sum(dim=0)
    values = values.clamp(min=_LEAST_ROW_SHARE)
    # The lift of classes raises the mean by a factor of at most 1 + least.
    least = _LEAST_CLASS_SHARE / (1 - _LEAST_CLASS_SHARE)
    for code in range(int(labels.max()) + 1):
        own = labels == code
        of_class = weights[own].sum(dim=0)
        share = (weights[own] * values[own]).sum(dim=0) / of_class
        lift = (least / share).clamp(min=1)
        values[own] *= torch.where(of_class > 0, lift, 1.0)
    values = values * total / (weights * values).sum(dim=0)
    return torch.where(weights > 0, values, 1.0)
