"""A demo's careful reader: what is read and decided, and what the repair is worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.replay import TOLERANCE
from .decisions import BELIEVED_WRONG
from .evidence import wilson
from .findings import Audit
from .models import warnings_of
from .quality import quality
from .replay import last_fit
from .revisions import Place, Revision, fit
from .rows import Reviews
from .truth import Truth

BY = "skclif demo"
WHY = "A careful reader, for whom the demo looked the truth up"
_DECIDED = ["decision", "why", "kind", "id", "text_hash", "path", "current", "proposed"]
_DECIDED += ["probability_wrong"]  # which says that it is a suspect
# How often a mistake has to be found, by one person or several, to be a pattern.
_PATTERN = 2


@dataclass(frozen=True)
class Reading:
    """What a careful reader decided about a list of suspects.

    The reader reads all lines that are probably wrong, from the top. A mistake that
    they find twice or more, such as service Positive that should be another value, is a
    pattern: of the people who made it, they read every other line of the list with the
    same value. Of each line they see the truth. What is wrong they accept, with the
    true value in place of another that is proposed; what is right they reject.

    Attributes
    ----------
    lines : DataFrame
        The lines that were read, with decisions, in the form of ``suspects.csv``.
    n_planted : int
        Values that are wrong, listed or not.
    n_listed, n_probable, n_read, n_accepted, n_corrected, n_rejected : int
        Lines of the list, of them probably wrong, read, and decided; n_corrected of the
        accepted got another value than the proposed one.
    """

    lines: pd.DataFrame
    n_planted: int
    n_listed: int
    n_probable: int
    n_read: int
    n_accepted: int
    n_corrected: int
    n_rejected: int

    def counts(self) -> dict[str, int]:
        """Return the numbers of lines, by what became of them."""
        return {
            name.removeprefix("n_"): number
            for name, number in vars(self).items()
            if name != "lines"
        }


def read_carefully(found: Audit, truth: Truth) -> Reading:
    """Decide about suspects as a careful reader would; see `Reading`."""
    table = found.suspects
    is_wrong = truth.judged(table)["is_wrong"].to_numpy()
    is_probable = (table["probability_wrong"] >= BELIEVED_WRONG).to_numpy()
    who = table["group"] if "group" in table else pd.Series("", table.index)
    mistakes = list(zip(table["path"], table["current"], strict=True))
    seen = [
        (person, mistake)
        for person, mistake, wrong in zip(
            who, mistakes, is_wrong & is_probable, strict=True
        )
        if wrong
    ]
    often = Counter(mistake for _, mistake in seen)
    patterns = {pair for pair in seen if often[pair[1]] >= _PATTERN}
    is_alike = np.array(
        [pair in patterns for pair in zip(who, mistakes, strict=True)], dtype=bool
    )
    is_read = is_probable | is_alike
    lines, is_wrong = table[is_read][_DECIDED].copy(), is_wrong[is_read]
    columns = (lines[name] for name in ("id", "path", "current"))
    true = [truth.right(*line) for line in zip(*columns, strict=True)]
    is_corrected = is_wrong & np.array(
        [a != b for a, b in zip(true, lines["proposed"], strict=True)], dtype=bool
    )
    lines["decision"] = np.where(is_wrong, "accept", "reject")
    lines["proposed"] = pd.Series(
        [
            new if wrong else old
            for new, wrong, old in zip(true, is_wrong, lines["proposed"], strict=True)
        ],
        index=lines.index,
        dtype=object,
    )
    return Reading(
        lines,
        len(truth.wrong(found.training)),
        len(table),
        int(is_probable.sum()),
        len(lines),
        int(is_wrong.sum()),
        int(is_corrected.sum()),
        int((~is_wrong).sum()),
    )


@dataclass(frozen=True)
class Quality:
    """How good one of the models of a demo is on the held-out rows.

    Attributes
    ----------
    name : str
    accuracy, log_loss : float
    interval : tuple of (float, float)
        95 % interval of the accuracy, of Wilson.
    """

    name: str
    accuracy: float
    interval: tuple[float, float]
    log_loss: float

    @classmethod
    def of(cls, name: str, measured: dict[str, Any], n_rows: int) -> Quality:
        """Return the quality that was measured on some rows."""
        accuracy = measured["accuracy"]
        return cls(name, accuracy, wilson(accuracy, n_rows), measured["log_loss"])


@dataclass(frozen=True)
class Outcome:
    """What a demo's repair was worth, and how it was checked.

    Attributes
    ----------
    models : tuple of Quality
        As audited, after the repair, without the planted errors, and the black box.
    recovered : float or None
        Share of the log-loss that the planted errors cost which the repair won back;
        None if they cost nothing.
    difference : float
        The largest difference of a probability between the repaired model and one that
        is fitted from zero to the repaired rows, with the same penalties.
    """

    models: tuple[Quality, ...]
    recovered: float | None
    difference: float

    @property
    def as_retrained(self) -> bool:
        """Whether retraining gives the same, within the tolerance of replays."""
        return self.difference <= TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        models = [
            {**asdict(model), "interval": list(model.interval)} for model in self.models
        ]
        return {
            "models": models,
            "recovered": self.recovered,
            "retraining": {"same": self.as_retrained, "difference": self.difference},
        }


def outcome(
    found: Audit,
    repaired: Revision,
    rows: Reviews,
    held_out: Reviews,
    truth: Truth,
    records: list[dict[str, Any]],
    place: Place,
) -> Outcome:
    """Measure a repair against models that are really fitted.

    Parameters
    ----------
    found : Audit
        Before the repair.
    repaired : Revision
    rows : Reviews
        The training rows as they were audited.
    held_out : Reviews
    truth : Truth
    records : list of dict
        Of the trail.
    place : Place
    """
    parameters = last_fit(records)["parameters"]
    with warnings_of("The model without planted errors"):
        without = fit(truth.mended(rows), parameters, place).model
    label, n = found.metrics["label"], len(held_out)
    models = [
        Quality.of(name, measured, n)
        for name, measured in (
            ("as audited", label["model"]),
            ("after the repair", quality(repaired.model, held_out)),
            ("without planted errors", quality(without, held_out)),
            ("black box, as audited", label["black_box"]),
        )
    ]
    before, after, best = (model.log_loss for model in models[:3])
    recovered = (before - after) / (before - best) if before > best else None
    retrained = fit(
        repaired.rows, {**parameters, **_penalties(repaired.model)}, place
    ).model
    everywhere = np.concatenate([repaired.rows.features, held_out.features])
    pair = (m.predict_proba(everywhere) for m in (repaired.model, retrained))
    difference = float(np.abs(np.subtract(*pair)).max())
    return Outcome(tuple(models), recovered, difference)


def _penalties(model: ConceptBottleneckClassifier) -> dict[str, Any]:
    """Return the penalties that a model was fitted with; edits keep them."""
    names = map(str, model.concept_names_in_)
    concept_C = dict(zip(names, model.concept_C_.tolist(), strict=True))
    return {"C": model.C_, "concept_C": concept_C}
