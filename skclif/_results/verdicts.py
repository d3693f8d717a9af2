"""What numbers about a bottleneck say in plain words, and what they cannot say.

A verdict claims only what the whole interval holds. A question has three answers: yes,
no, and that these rows cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from .bootstrap import Estimate
from .words import how_many, is_or_are

YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"
# Less than this is too little to act on: nats of a log-loss, and shares.
NATS, SHARE = 0.02, 0.02
# Of what the black box knows; a bottleneck that holds this much is called complete.
COMPLETE = 0.9
# With fewer rows, bootstrap intervals are too short to be believed.
FEWEST = 50


@dataclass(frozen=True)
class Verdict:
    """The answer to one question about a bottleneck.

    Attributes
    ----------
    name : str
        What it is about, as `BottleneckReport.estimates` names it.
    question : str
    answer : {"yes", "no", "cannot tell"}
    words : str
        The answer in plain words, with its numbers.
    """

    name: str
    question: str
    answer: str
    words: str

    def to_dict(self) -> dict[str, str]:
        """Return the attributes by name."""
        return asdict(self)


@dataclass(frozen=True)
class Sizes:
    """How many held-out rows speak, or groups of rows that are drawn together.

    Attributes
    ----------
    n, n_complete : int
        All, and those with all annotations.
    unit : str
        "row", or "group" of rows.
    """

    n: int
    n_complete: int
    unit: str = "row"

    def too_few(self, name: str, question: str, n: int) -> Verdict | None:
        """Return that `n` of them cannot tell; None if they are enough."""
        if n >= FEWEST:
            return None
        words = f"{how_many(n, f'held-out {self.unit}')}: too few to tell"
        if n < self.n:
            of = how_many(self.n, f"held-out {self.unit}")
            words = f"{n:,} of {of} {is_or_are(n)} annotated in full: too few to tell"
        return Verdict(name, question, CANNOT_TELL, f"{words}; {FEWEST} are needed.")

    def where(self) -> str:
        """Return which of them are complete, if not all are."""
        if self.n_complete == self.n:
            return ""
        return (
            f" on the {self.n_complete:,} of {how_many(self.n, self.unit)} with all "
            "annotations"
        )


def coarse(
    difference: Estimate, gold: float, black_box: float, sizes: Sizes
) -> Verdict:
    """Judge whether the features tell more of the label than gold concepts do.

    Parameters
    ----------
    difference : Estimate
        Log-loss from gold concepts minus that of the black box (nats), on rows with all
        annotations.
    gold, black_box : float
        Accuracies there.
    sizes : Sizes
    """
    question = "Are the concepts too coarse for this label?"
    if few := sizes.too_few("coarseness", question, sizes.n_complete):
        return few
    answer = _answer(difference, NATS)
    reach = (
        f"gold concepts reach {gold:.1%}, the black box {black_box:.1%}{sizes.where()}"
    )
    by = f"their log-loss minus its own is {_nats(difference)}"
    begin = {
        YES: "The concepts are too coarse for this label",
        NO: "The concepts are fine enough for this label",
        CANNOT_TELL: "Too close to tell from these rows",
    }
    words = f"{begin[answer]}: {reach}; {by}."
    return Verdict("coarseness", question, answer, words)


def leaking(leakage: Estimate, sizes: Sizes) -> Verdict:
    """Judge whether the activations tell more of the label than gold concepts do."""
    question = "Do the activations tell more of the label than the concepts do?"
    if few := sizes.too_few("leakage", question, sizes.n_complete):
        return few
    answer = _answer(leakage, NATS)
    if leakage.value < -NATS:
        words = (
            f"Leakage {_nats(leakage)}{sizes.where()}: so far below zero, "
            "the rows are too few to learn what the activations tell."
        )
        return Verdict("leakage", question, CANNOT_TELL, words)
    begin = {
        YES: "The activations tell more of the label than the concepts do: leakage",
        NO: "No leakage found:",
        CANNOT_TELL: "Too close to tell from these rows: leakage",
    }
    words = f"{begin[answer]} {_nats(leakage)}{sizes.where()}."
    return Verdict("leakage", question, answer, words)


def complete(held: Estimate, gold: Estimate, sizes: Sizes) -> Verdict:
    """Judge whether the activations hold what the black box knows of the label.

    Parameters
    ----------
    held, gold : Estimate
        Shares of what the black box knows over the shares of the labels (nats), by the
        bottleneck and by gold concepts. NaN if it knows nothing for sure.
    sizes : Sizes
    """
    question = f"Does the bottleneck hold {COMPLETE:.0%} of what the black box knows?"
    if few := sizes.too_few("completeness", question, sizes.n):
        return few
    if np.isnan(held.low):
        words = (
            "The black box is not clearly better than the shares of the labels, so "
            "there is nothing to compare with."
        )
        return Verdict("completeness", question, CANNOT_TELL, words)
    answer = CANNOT_TELL
    if held.low >= COMPLETE or held.high < COMPLETE:
        answer = YES if held.low >= COMPLETE else NO
    of_gold = f"and gold concepts hold {_share(gold)}."
    if np.isnan(gold.value):
        of_gold = "and what gold concepts hold is unknown: annotations are missing."
    words = (
        "Of what the black box knows of the label, the bottleneck holds "
        f"{_share(held)}, {of_gold}"
    )
    return Verdict("completeness", question, answer, words)


def past_concepts(share: Estimate, sizes: Sizes) -> Verdict:
    """Judge whether the predicted label depends on what goes past the concepts.

    Parameters
    ----------
    share : Estimate
        Of what the bottleneck knows over the shares of the labels (nats), what is lost
        if the residual is the same in every row. NaN if it knows nothing for sure.
    sizes : Sizes
    """
    question = "Does the predicted label depend on what goes past the concepts?"
    if few := sizes.too_few("residual", question, sizes.n):
        return few
    if np.isnan(share.low):
        words = "The bottleneck is not clearly better than the shares of the labels."
        return Verdict("residual", question, CANNOT_TELL, words)
    answer = _answer(share, SHARE)
    begin = {
        YES: "Of what the bottleneck knows of the label",
        NO: "Hardly: of what the bottleneck knows of the label",
        CANNOT_TELL: "Too close to tell from these rows: of what the bottleneck knows",
    }
    words = f"{begin[answer]}, {_share(share)} goes past the concepts."
    if answer == YES:
        words += (
            " The concepts lack no more than that, and perhaps less: what they tell of "
            "the label can go past them, too."
        )
    return Verdict("residual", question, answer, words)


def learned(gains: Mapping[str, Estimate], n_rows: Mapping[str, int]) -> Verdict:
    """Judge whether the concepts are predicted better than by their shares.

    Parameters
    ----------
    gains : mapping of str to Estimate
        What the log-loss (nats) or the squared error is less than that of a guess.
    n_rows : mapping of str to int
        With an annotation.
    """
    question = "Is every concept predicted better than by a guess?"
    known = {name: gain for name, gain in gains.items() if n_rows[name] >= FEWEST}
    none = [name for name, gain in known.items() if gain.high <= 0]
    sure = [name for name, gain in known.items() if gain.low > 0]
    if none:
        verb = "is" if len(none) == 1 else "are"
        words = f"{_names(none)} {verb} predicted no better than by a guess."
        if doubtful := [name for name in gains if name not in (*none, *sure)]:
            words += f" {_not_clearly(doubtful)}"
        return Verdict("concepts", question, NO, words)
    if len(sure) == len(gains):
        words = f"All {how_many(len(gains), 'concept')}: predicted better than a guess."
        return Verdict("concepts", question, YES, words)
    doubtful = [name for name in gains if name not in sure]
    return Verdict("concepts", question, CANNOT_TELL, _not_clearly(doubtful))


def _not_clearly(names: Sequence[str]) -> str:
    return f"Not clearly of {_names(names)}: too few rows, or too little learned."


def calibrated(too_sure: Mapping[str, Estimate], n_rows: Mapping[str, int]) -> Verdict:
    """Judge whether the probabilities of concepts are as right as they say.

    Parameters
    ----------
    too_sure : mapping of str to Estimate
        Mean probability of the predicted value minus the share of right values.
    n_rows : mapping of str to int
    """
    question = "Are the concepts' probabilities as right as they say?"
    known = {name: one for name, one in too_sure.items() if n_rows[name] >= FEWEST}
    odd = {
        name: one for name, one in known.items() if one.low > SHARE or one.high < -SHARE
    }
    if odd:
        parts = [
            f"{name!r} is too {'sure' if one.value > 0 else 'unsure'} by "
            f"{abs(one.value):.1%} ({min(abs(one.low), abs(one.high)):.1%} to "
            f"{max(abs(one.low), abs(one.high)):.1%})"
            for name, one in odd.items()
        ]
        return Verdict("calibration", question, NO, f"{'; '.join(parts)}.")
    near = [n for n, one in known.items() if max(-one.low, one.high) <= 2 * SHARE]
    if len(near) == len(too_sure):
        words = f"Within {2 * SHARE:.0%} on average, for every concept."
        return Verdict("calibration", question, YES, words)
    if not known:
        words = f"Too few annotated rows to tell; {FEWEST} are needed."
        return Verdict("calibration", question, CANNOT_TELL, words)
    words = f"None is clearly off by more than {SHARE:.0%}; the intervals are wide."
    return Verdict("calibration", question, CANNOT_TELL, words)


def correctable(
    loss: Estimate, accuracy: Sequence[float], n_concepts: int, sizes: Sizes
) -> Verdict:
    """Judge whether correcting concepts helps the label.

    Parameters
    ----------
    loss : Estimate
        Log-loss with all annotations in place, minus that as predicted (nats).
    accuracy : sequence of float
        As predicted, and with all annotations in place.
    n_concepts : int
    sizes : Sizes
    """
    question = "Does correcting the concepts help the label?"
    gain = Estimate(-loss.value, -loss.high, -loss.low)
    if few := sizes.too_few("interventions", question, sizes.n):
        return few
    answer = _answer(gain, NATS)
    begin = {
        YES: "It helps",
        NO: "It hurts" if _answer(loss, NATS) == YES else "It hardly helps",
        CANNOT_TELL: "Too close to tell from these rows",
    }
    words = (
        f"{begin[answer]}: with {how_many(n_concepts, 'concept')} as people read them, "
        f"accuracy goes from {accuracy[0]:.1%} to {accuracy[1]:.1%}; the log-loss "
        f"changes by {_nats(loss)}."
    )
    return Verdict("interventions", question, answer, words)


def relied_on(loss: Estimate, accuracy: Sequence[float], sizes: Sizes) -> Verdict:
    """Judge whether the label gets worse without the concepts that moved it most.

    Parameters
    ----------
    loss : Estimate
        Log-loss without the concept that moves each prediction most, minus that as
        predicted (nats).
    accuracy : sequence of float
        As predicted, without that concept, and without all.
    sizes : Sizes
    """
    question = "Does the label get worse without the concept that moves it most?"
    if few := sizes.too_few("deletion", question, sizes.n):
        return few
    answer = _answer(loss, NATS)
    begin = {YES: "It does", NO: "Hardly", CANNOT_TELL: "Too close to tell"}
    words = (
        f"{begin[answer]}: accuracy is {accuracy[0]:.1%}, without the concept that "
        f"moves each prediction most {accuracy[1]:.1%}, and without any concept "
        f"{accuracy[2]:.1%}; the first changes the log-loss by {_nats(loss)}."
    )
    return Verdict("deletion", question, answer, words)


def _answer(amount: Estimate, least: float) -> str:
    """Return no if an amount surely is too little, else yes if it is surely above zero.

    So "yes" is about the sign: the amount is not too little for sure.
    """
    if np.isnan(amount.low):
        return CANNOT_TELL
    if amount.high < least:
        return NO
    return YES if amount.low > 0 else CANNOT_TELL


def _nats(amount: Estimate) -> str:
    value, low, high = (f"{round(x, 3) + 0.0:.3f}" for x in _three(amount))
    return f"{value} nats (95 % interval {low} to {high})"


def _share(amount: Estimate) -> str:
    value, low, high = (f"{round(x, 2) + 0.0:.0%}" for x in _three(amount))
    return f"{value} ({low} to {high})"


def _three(amount: Estimate) -> tuple[float, float, float]:
    return amount.value, amount.low, amount.high


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
