"""What a reweighter tries, how that does on held-out rows, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from .._results.words import how_many
from ..numerics.reweighting import Reweighting, Round, Suspicion
from ..numerics.steps import Advance, unseen
from ..numerics.targets import SetTarget
from ..targets._draws import changes_of_draws

_ONE_ERROR = 0.84  # of a normal distribution, up to one standard error


@dataclass(frozen=True)
class Folds:
    """The rows whose loss counts: their folds and their weights.

    Attributes
    ----------
    fold : ndarray of shape (n_targets,)
    weights : ndarray of shape (n_targets,)
    what : str
        What is compared.
    sign : float
        The sign at which lower is better.
    """

    fold: np.ndarray
    weights: np.ndarray
    what: str = "log-loss"
    sign: float = 1.0

    @property
    def falls(self) -> str:
        """What it should do."""
        return "fall" if self.sign > 0 else "rise"

    def value(self, trial: Round) -> float:
        """Return what is compared: lower is better."""
        return self.mean(trial.losses)

    def progress(self, before: Round, after: Round) -> tuple[float, float]:
        """Return by how much that changed, and its standard error."""
        return self.change(before.losses, after.losses)

    def least_hits(self, error: float) -> float:
        """Return the least change of accuracy that a round may have."""
        return 0.0

    def doubt(self, error: float) -> float:
        """Return the least change of accuracy that is not a loss beyond doubt."""
        return -self.quantile * error

    def mean(self, values: torch.Tensor | None) -> float:
        """Return the weighted mean of a value for each row."""
        return float(np.average(numpy(values), weights=self.weights))

    def change(
        self, before: torch.Tensor | None, after: torch.Tensor | None
    ) -> tuple[float, float]:
        """Return the mean change of a value, and its standard error over folds.

        Eq. (39) of docs/mathematics.rst.
        """
        change = numpy(after).astype(float) - numpy(before)
        fold_weights: np.ndarray = np.bincount(self.fold, self.weights)
        shares = fold_weights / fold_weights.sum()
        by_fold = np.bincount(self.fold, self.weights * change) / fold_weights
        mean = float(by_fold @ shares)
        variance = (by_fold - mean) ** 2 @ shares / (len(shares) - 1)
        return mean, float(variance) ** 0.5

    @property
    def quantile(self) -> float:
        """Number of standard errors in half a 95 % interval."""
        return float(stats.t.ppf(0.975, len(np.unique(self.fold)) - 1))


@dataclass(frozen=True, kw_only=True)
class AimedFolds(Folds):
    """The same, compared by one number of all rows.

    Every row counts once, whatever its weight.

    Attributes
    ----------
    number : SetTarget
        Of all rows whose loss counts.
    of_rows, is_defined : callable
        Map positions of these rows to the number of some of them, and to whether it is
        defined.
    is_gap : bool
        Whether it is a gap between groups, which is 0 if nothing is predicted. Then
        accuracy counts too.
    """

    number: SetTarget
    of_rows: Callable[[np.ndarray], SetTarget]
    is_defined: Callable[[np.ndarray], bool]
    is_gap: bool
    _known: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)

    def value(self, trial: Round) -> float:
        """Return what is compared: lower is better."""
        return self.sign * float(self.number.function(cast(Tensor, trial.proba)))

    def progress(self, before: Round, after: Round) -> tuple[float, float]:
        """Return by how much that changed, and its standard error.

        It is that over folds, to which rows add by Eq. (75) of docs/mathematics.rst.
        But on other rows another group can be the worst, or a gap the other way. So it
        is at least the distance to the 84th percentile on rows that are drawn anew.
        """
        key = id(before), id(after)
        if key not in self._known:
            self._known[key] = self._progress(before, after)
        return self._known[key]

    def _progress(self, before: Round, after: Round) -> tuple[float, float]:
        old, new = cast(Tensor, before.proba), cast(Tensor, after.proba)
        parts = self.sign * self.number.contributions(old, new)
        alike = Folds(self.fold, np.ones(len(self.fold)))
        change, error = alike.change(torch.zeros_like(parts), parts)
        drawn = self.sign * changes_of_draws(
            self.of_rows, self.is_defined, old, new, np.random.RandomState(0)
        )
        if len(drawn):
            error = max(error, float(np.quantile(drawn, _ONE_ERROR)) - change)
        return change, error

    def least_hits(self, error: float) -> float:
        """Return the least change of accuracy that a round may have."""
        return self.doubt(error)

    def doubt(self, error: float) -> float:
        """Return the least change of accuracy; any where the number says it all."""
        return super().doubt(error) if self.is_gap else -float("inf")


class Trials:
    """The start, suspects alone, and rounds of influence from one of them.

    Parameters
    ----------
    search : Reweighting
    folds : Folds or None
        None if nothing is compared: then the last trial is taken.
    suspecting, forced : bool
        Whether labels are suspected, and whether that is taken without comparing.
    dose : float
    n_rounds : int
    noisy : bool
        Whether the labels of held-out rows may be wrong.
    advance : callable
        Called with the number of trials that are done.

    Attributes
    ----------
    all : list of Round
        In order.
    base : int
        The trial that the rounds start from.
    taken : int
    """

    def __init__(
        self,
        search: Reweighting,
        folds: Folds | None,
        *,
        suspecting: bool,
        forced: bool,
        dose: float,
        n_rounds: int,
        noisy: bool,
        advance: Advance = unseen,
    ):
        self._folds, self._dose, self._noisy = folds, dose, noisy
        self._suspecting, self.base = suspecting, 0
        self.all = [search.start()]
        advance(1)
        self.suspicion: Suspicion | None = None
        suspected = search.suspect() if suspecting else None
        advance(int(suspecting))
        self.all += [] if suspected is None else [suspected]
        self._first = len(self.all)
        if suspected is not None:
            self.suspicion = suspected.suspicion
            self.base = int(forced or folds is None or self._nothing_against_suspects())
        for trial in search.rounds(self.all[self.base], dose=dose, n_rounds=n_rounds):
            self.all.append(trial)
            advance(1)
            if folds is not None and self._is_worse_than_the_last():
                advance(n_rounds - self.n_tried)  # which are not needed
                break
        last = len(self.all) - 1 if n_rounds else self.base
        self.taken = last if folds is None else self._best()

    @property
    def used_suspects(self) -> bool:
        """Whether suspects lose weight."""
        return self.base > 0

    @property
    def n_rounds(self) -> int:
        """Number of rounds that are taken."""
        return max(0, self.taken - self._first + 1)

    @property
    def strength(self) -> float:
        """How far they move weights."""
        return self._dose * self.n_rounds

    @property
    def n_tried(self) -> int:
        """Number of rounds that were tried."""
        return len(self.all) - self._first

    @property
    def rounds(self) -> list[Round]:
        """The rounds of influence."""
        return self.all[self._first :]

    def history(self) -> dict[str, np.ndarray]:
        """Return what is told of every trial."""
        n_before = self._first
        strengths = self._dose * np.arange(1, 1 + len(self.rounds))
        suspects = [False, True][:n_before] + [self.used_suspects] * len(self.rounds)
        told = {
            "strength": np.concatenate([np.zeros(n_before), strengths]),
            "suspects": np.array(suspects),
            "signal": np.array([trial.signal for trial in self.all]),
        }
        if self._folds is None:
            return told
        changes = [self._changes(position) for position in range(len(self.all))]
        told |= {
            "log_loss": np.array([self._folds.mean(t.losses) for t in self.all]),
            **self._values(self._folds),
            "std_error": np.array([loss[1] for loss, _ in changes]),
            "accuracy": np.array([self._folds.mean(t.hits) for t in self.all]),
            "accuracy_std_error": np.array([hits[1] for _, hits in changes]),
        }
        if self._noisy:
            told["noise"] = np.array([trial.noise for trial in self.all])
        return told

    def _values(self, folds: Folds) -> dict[str, np.ndarray]:
        """Return the number that is compared, if it is not the log-loss."""
        if not isinstance(folds, AimedFolds):
            return {}
        return {"target": np.array([folds.sign * folds.value(t) for t in self.all])}

    def reason(self) -> str:
        """Return what was tried, its effect, and what of it is taken."""
        parts = []
        if self._suspecting and self.suspicion is None:
            parts.append("No label seems to be wrong.")
        elif self.suspicion is not None:
            parts.append(f"About {self.suspicion.rate:.2g} of the labels seem wrong.")
            parts.append(self._verdict("Weights by suspects", 1, self.used_suspects))
        if self.rounds and self._folds is None:
            rounds = f"{how_many(self.n_tried, 'round')} of influence"
            parts.append(f"strength={self.strength:g} in {rounds} was asked for.")
        elif self.rounds:
            strength = self._dose * (self._shown - self._first + 1)
            tried = f"The best of {how_many(self.n_tried, 'round')} of influence"
            tried += f", strength={strength:g},"
            parts.append(self._verdict(tried, self._shown, self.n_rounds > 0))
        return " ".join(parts)

    def _verdict(self, what: str, position: int, is_taken: bool) -> str:
        if self._folds is None:
            return f"{what} were asked for."
        loss, hits = self._changes(position)
        rows = "held-out rows" if self._noisy else "held-out clean rows"
        shown = self._folds.sign * loss[0], loss[1]
        told = (
            f"{what} changed the {self._folds.what} of {rows} by "
            f"{self._interval(shown)} and their accuracy by {self._interval(hits)}: "
        )
        if is_taken:
            return f"{told}taken."
        if loss[0] >= 0:
            named, fall = self._folds.what, self._folds.falls
            return f"{told}not taken, because the {named} did not {fall}."
        if loss[0] >= -loss[1] and position >= self._first:
            return f"{told}not taken, because that is less than a standard error."
        return f"{told}not taken, because fewer rows are predicted right."

    def _interval(self, change: tuple[float, float]) -> str:
        mean, error = change
        half = cast(Folds, self._folds).quantile * error
        return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"

    def _changes(self, position: int) -> tuple[tuple[float, float], ...]:
        """Return changes of loss and hits, each with its standard error."""
        before = self.all[self.base if position >= self._first else 0]
        after, folds = self.all[position], cast(Folds, self._folds)
        return (
            folds.progress(before, after),
            folds.change(before.hits, after.hits),
        )

    def _is_worse_than_the_last(self) -> bool:
        """Return whether the last round raised the loss: others will raise it more."""
        before = self.all[-2] if self.n_tried > 1 else self.all[self.base]
        folds = cast(Folds, self._folds)
        return folds.value(self.all[-1]) > folds.value(before)

    def _nothing_against_suspects(self) -> bool:
        """Return whether held-out rows let suspects lose weight.

        All rows together say that some labels are wrong, so held-out rows need not
        prove it again: fewer right predictions count only beyond doubt.
        """
        (loss, _), (hits, error) = self._changes(1)
        return loss < 0 and hits >= cast(Folds, self._folds).doubt(error)

    def _best(self) -> int:
        """Return the trial to take: the base if no round is better beyond doubt.

        Eq. (39) of docs/mathematics.rst.
        """
        if not self.rounds:
            return self.base
        (loss, error), hits = self._changes(self._shown)
        return self._shown if self._allows(hits) and loss < -error else self.base

    def _allows(self, hits: tuple[float, float]) -> bool:
        """Return whether a change of accuracy does not speak against a round."""
        change, error = hits
        return change >= cast(Folds, self._folds).least_hits(error)

    @property
    def _shown(self) -> int:
        """The round of least loss among those that predict no fewer rows right."""
        positions = range(self._first, len(self.all))
        losses, allowed = [], []
        for position in positions:
            loss, hits = self._changes(position)
            losses.append(loss[0])
            allowed += [position] if self._allows(hits) else []
        return min(allowed or positions, key=lambda p: losses[p - self._first])


def numpy(tensor: torch.Tensor | None) -> np.ndarray:
    """Return what was measured; only what was not asked for is None."""
    return cast(torch.Tensor, tensor).cpu().numpy()
