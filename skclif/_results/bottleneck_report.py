"""What a concept bottleneck can be believed: numbers, intervals and verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .bootstrap import Estimate, bootstrapped_means
from .plots import shorten
from .shown import Shown, one_line
from .verdicts import (
    Sizes,
    Verdict,
    calibrated,
    coarse,
    complete,
    correctable,
    leaking,
    learned,
    past_concepts,
    relied_on,
)
from .words import how_many

MODELS = ("prior", "gold", "bottleneck", "black_box", "soft", "logit", "hard")
KINDS = ("soft", "logit", "hard")
_LONG = 400  # characters of a verdict, when printed


# No `from __future__ import annotations` here: `dataclass` would look the strings up in
# `skclif.metrics`, which need not be loaded yet.
@dataclass(frozen=True, eq=False, repr=False)
class BottleneckReport(Shown):
    """Whether concepts carry a bottleneck's predictions, on held-out rows.

    Every table has 95 % bootstrap intervals over the held-out rows (low, high), NaN
    where there is none.

    Attributes
    ----------
    verdicts : tuple of Verdict
        Answers in plain words. Each has a `name`, a `question`, an `answer` ("yes",
        "no" or "cannot tell") and `words`. ``report["leakage"]`` is one by its name.
    scores : DataFrame
        A line for each model: model, accuracy, log_loss (nats), each with low and high.
        Models are "prior" (the shares of the labels), "gold" (annotations alone),
        "bottleneck" (the estimator), "black_box" (no concepts, same features), and
        label heads that see "soft", "logit" or "hard" activations.
    estimates : DataFrame
        A line for each number: name, of, value, low, high, unit. Names are
        "coarseness", the log-loss of gold concepts minus that of the black box
        (positive: the concepts are too coarse); "leakage" (positive: the activations
        tell of the label what the concepts do not); both on rows with all annotations;
        "completeness", the share of what
        the black box knows over the prior; "price", the log-loss of the bottleneck
        minus that of the black box; each in nats or accuracy. With a `residual_C` also
        "residual", the share of what the bottleneck knows over the prior that is lost
        if what goes past the concepts is the same in every row.
    concepts : DataFrame
        A line for each concept: concept, n_annotated, score ("accuracy", or for numbers
        "squared_error"), value, low, high, guess (of the most common value, or the
        mean), log_loss, guess_log_loss; too_sure, the mean probability of the predicted
        value minus the share of right values, with too_sure_low and too_sure_high; and
        deleted, how much the label's log-loss rises if the concept is deleted (nats),
        with deleted_low and deleted_high.
    interventions : DataFrame
        Scores with 0, 1, 2 … concepts as people read them, in random order:
        n_corrected, accuracy, log_loss, change of the log-loss since 0, low, high.
        Empty if a known value has no place in the bottleneck.
    deletions : DataFrame
        The same without 0, 1, 2 … concepts, those that move a row most first:
        n_deleted, accuracy, log_loss, change, low, high.
    bottleneck : {"soft", "logit", "hard"}
        Of the estimator.
    n_samples, n_folds : int
        Held-out rows, and the splits that held them out.
    """

    __module__ = "skclif.metrics"

    verdicts: tuple[Verdict, ...]
    scores: pd.DataFrame
    estimates: pd.DataFrame
    concepts: pd.DataFrame
    interventions: pd.DataFrame
    deletions: pd.DataFrame
    bottleneck: str
    n_samples: int
    n_folds: int

    @classmethod
    def of(
        cls,
        values: Mapping[tuple[str, ...], np.ndarray],
        *,
        weight: np.ndarray,
        units: np.ndarray,
        bottleneck: str,
        concepts: tuple[str, ...],
        n_folds: int,
        n_bootstraps: int,
        rng: np.random.RandomState,
    ) -> "BottleneckReport":
        """Return the report on what was measured of each held-out row.

        Parameters
        ----------
        values : mapping of tuple of str to ndarray of shape (n_samples,)
            By what and of what; NaN where a row has none.
        weight : ndarray of shape (n_samples,)
        units : ndarray of shape (n_samples,)
            What the bootstrap draws together, from 0.
        bottleneck : {"soft", "logit", "hard"}
        concepts : tuple of str
        n_folds, n_bootstraps : int
        rng : RandomState
        """
        means = bootstrapped_means(values, weight, units, n_bootstraps, rng)
        counts = {
            key: int((~np.isnan(v) & (weight > 0)).sum()) for key, v in values.items()
        }
        is_complete = ~np.isnan(values["complete_log_loss", "gold"]) & (weight > 0)
        n_units, n_complete = (
            len(np.unique(units[rows])) for rows in (weight > 0, is_complete)
        )
        unit = "row" if len(np.unique(units)) == len(units) else "group"
        sizes = Sizes(n_units, n_complete, unit)
        found = _Found(means, counts, concepts, bottleneck, sizes)
        return cls(
            verdicts=found.verdicts(),
            scores=found.scores(),
            estimates=found.estimates(),
            concepts=found.of_concepts(),
            interventions=found.steps("corrected"),
            deletions=found.steps("deleted"),
            bottleneck=bottleneck,
            n_samples=len(weight),
            n_folds=n_folds,
        )

    def __getitem__(self, name: str) -> Verdict:
        """Return the verdict of a name."""
        found = {verdict.name: verdict for verdict in self.verdicts}
        if name not in found:
            raise KeyError(
                f"There is no verdict {name!r}; there are {', '.join(found)}."
            )
        return found[name]

    def to_frame(self) -> pd.DataFrame:
        """Return the verdicts, one line each.

        Returns
        -------
        frame : DataFrame
            Columns: name, question, answer, words. The numbers behind them are in
            `scores`, `estimates`, `concepts`, `interventions` and `deletions`.
        """
        return pd.DataFrame([verdict.to_dict() for verdict in self.verdicts])

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: what was measured, and the answers."""
        about = how_many(self.n_samples, "held-out row")
        if self.n_folds > 1:
            about += f" of {self.n_folds} folds"
        answers = ", ".join(f"{v.name} {v.answer}" for v in self.verdicts)
        return f"<BottleneckReport on {about}: {answers}>"

    def __str__(self) -> str:
        """Return the line of `repr`, and every verdict below it."""
        lines = [
            one_line(f"{v.question} {v.answer.capitalize()}. {shorten(v.words, _LONG)}")
            for v in self.verdicts
        ]
        return "\n".join([repr(self), *lines])


@dataclass(frozen=True, eq=False)
class _Found:
    """Means of what was measured, and all that follows from them."""

    means: dict[tuple[str, ...], np.ndarray]
    counts: dict[tuple[str, ...], int]
    concepts: tuple[str, ...]
    bottleneck: str
    sizes: Sizes

    def models(self) -> list[str]:
        return [model for model in MODELS if ("log_loss", model) in self.means]

    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if ("log_loss", kind) in self.means]

    def mean(self, *key: str) -> Estimate:
        return Estimate.of(self.means[key])

    def difference(self, score: str, of: str, minus: str) -> Estimate:
        return Estimate.of(self.means[score, of] - self.means[score, minus])

    def share(self, score: str, of: str) -> Estimate:
        """Return what share of the black box's knowledge another model has."""
        prior, box, own = (self.means[score, m] for m in ("prior", "black_box", of))
        known = Estimate.of((prior - box) * (1 if score == "log_loss" else -1))
        if not known.low > 0:
            return Estimate(np.nan, np.nan, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):  # then no interval
            return Estimate.of((prior - own) / (prior - box))

    @property
    def has_residual(self) -> bool:
        return ("log_loss", "no_residual") in self.means

    def past(self) -> Estimate:
        """Return what share of the bottleneck's knowledge goes past its concepts."""
        prior, own, without = (
            self.means["log_loss", m] for m in ("prior", "bottleneck", "no_residual")
        )
        if not Estimate.of(prior - own).low > 0:
            return Estimate(np.nan, np.nan, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):  # then no interval
            return Estimate.of((without - own) / (prior - own))

    def scores(self) -> pd.DataFrame:
        lines = []
        for model in self.models():
            line: dict[str, Any] = {"model": model}
            for score in ("accuracy", "log_loss"):
                line |= _columns(score, self.mean(score, model))
            lines.append(line)
        return pd.DataFrame(lines)

    def estimates(self) -> pd.DataFrame:
        lines = []
        for score, unit in (("log_loss", "nats"), ("accuracy", "accuracy")):
            sign = 1 if score == "log_loss" else -1
            for name, model, rows in (
                ("coarseness", "gold", "complete_"),
                ("price", "bottleneck", ""),
            ):
                of_model, of_box = (
                    self.means[f"{rows}{score}", m] for m in (model, "black_box")
                )
                lines.append(
                    (name, model, Estimate.of(sign * (of_model - of_box)), unit)
                )
        lines += [
            ("leakage", kind, self.mean("leakage", kind), "nats")
            for kind in self.kinds()
        ]
        for score, unit in (("log_loss", "nats"), ("accuracy", "accuracy")):
            for model in ("gold", "bottleneck", *self.kinds()):
                share = self.share(score, model)
                lines.append(("completeness", model, share, f"share of {unit}"))
        if self.has_residual:
            lines.append(("residual", "bottleneck", self.past(), "share of nats"))
        return pd.DataFrame(
            [
                {
                    "name": name,
                    "of": of,
                    **_columns("value", one, ends=""),
                    "unit": unit,
                }
                for name, of, one, unit in lines
            ]
        )

    def of_concepts(self) -> pd.DataFrame:
        return pd.DataFrame([self._of_concept(name) for name in self.concepts])

    def _of_concept(self, name: str) -> dict[str, Any]:
        score = "accuracy"
        key, guess = ("concept_accuracy", name), ("guess_concept_accuracy", name)
        if self.is_amount(name):
            score, key = "squared_error", ("squared_error", name)
            guess = ("guess_squared_error", name)
        nothing = Estimate(np.nan, np.nan, np.nan)
        losses = [np.nan, np.nan]
        too_sure = nothing
        if not self.is_amount(name):
            too_sure = self.too_sure(name)
            losses = [
                self.mean(f"{who}concept_log_loss", name).value
                for who in ("", "guess_")
            ]
        deleted = Estimate.of(
            self.means["deleted_alone", name] - self.means["log_loss", "bottleneck"]
        )
        return {
            "concept": name,
            "n_annotated": self.counts[key],
            "score": score,
            **_columns("value", self.mean(*key), ends=""),
            "guess": self.mean(*guess).value,
            "log_loss": losses[0],
            "guess_log_loss": losses[1],
            **_columns("too_sure", too_sure),
            **_columns("deleted", deleted),
        }

    def is_amount(self, name: str) -> bool:
        return ("squared_error", name) in self.means

    def too_sure(self, name: str) -> Estimate:
        sure, right = (
            self.means["confidence", name],
            self.means["concept_accuracy", name],
        )
        return Estimate.of(sure - right)

    def gain(self, name: str) -> Estimate:
        """Return what a concept's head is better than a guess."""
        what = "squared_error" if self.is_amount(name) else "concept_log_loss"
        return Estimate.of(self.means[f"guess_{what}", name] - self.means[what, name])

    def n_steps(self, what: str) -> int:
        """Return the last step that changes anything; -1 if there is none."""
        name = f"{what}_log_loss"
        last = sum(key[0] == name for key in self.means) - 1
        while last > 0 and np.array_equal(
            self.means[name, str(last)], self.means[name, str(last - 1)]
        ):
            last -= 1
        return last

    def change(self, what: str, step: int) -> Estimate:
        """Return the log-loss at a step minus that at the start."""
        name = f"{what}_log_loss"
        return self.difference(name, str(step), "0")

    def steps(self, what: str) -> pd.DataFrame:
        lines = [
            {
                f"n_{what}": step,
                "accuracy": self.mean(f"{what}_accuracy", str(step)).value,
                "log_loss": self.mean(f"{what}_log_loss", str(step)).value,
                **_columns("change", self.change(what, step), ends=""),
            }
            for step in range(self.n_steps(what) + 1)
        ]
        columns = [f"n_{what}", "accuracy", "log_loss", "change", "low", "high"]
        return pd.DataFrame(lines, columns=columns)

    def verdicts(self) -> tuple[Verdict, ...]:
        sizes, concepts = self.sizes, self.concepts
        categories = [name for name in concepts if not self.is_amount(name)]
        rows = {
            name: self.counts[
                "squared_error" if self.is_amount(name) else "confidence", name
            ]
            for name in concepts
        }
        found = [
            coarse(
                self.difference("complete_log_loss", "gold", "black_box"),
                self.mean("complete_accuracy", "gold").value,
                self.mean("complete_accuracy", "black_box").value,
                sizes,
            ),
            leaking(self.mean("leakage", self.bottleneck), sizes),
            complete(
                self.share("log_loss", "bottleneck"),
                self.share("log_loss", "gold"),
                sizes,
            ),
            learned({name: self.gain(name) for name in concepts}, rows),
        ]
        if self.has_residual:
            found.append(past_concepts(self.past(), sizes))
        if categories:
            sure = {name: self.too_sure(name) for name in categories}
            found.append(calibrated(sure, rows))
        last = self.n_steps("corrected")
        if last > 0:
            ends = [self.mean("corrected_accuracy", str(k)).value for k in (0, last)]
            found.append(correctable(self.change("corrected", last), ends, last, sizes))
        last = len(concepts)
        ends = [self.mean("deleted_accuracy", str(k)).value for k in (0, 1, last)]
        found.append(relied_on(self.change("deleted", 1), ends, sizes))
        return tuple(found)


def _columns(
    name: str, estimate: Estimate, ends: str | None = None
) -> dict[str, float]:
    """Return a number and the ends of its interval as cells of a line."""
    prefix = f"{name}_" if ends is None else ends
    return {
        name: estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
    }
