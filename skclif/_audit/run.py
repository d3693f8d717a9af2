"""The content of ``run.json``: an audit in numbers, and how it was made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from .._version import __version__
from .decisions import BELIEVED_WRONG
from .environment import versions
from .findings import Audit
from .folder import AuditedRows
from .prompts_kept import recorded
from .revisions import chosen_by_effect, without_intervals
from .rows import Reviews
from .trail import last_revision
from .truth import Truth

FORMAT_VERSION = 2


@dataclass(frozen=True)
class PlantedCounts:
    """What influence and the lists find of errors that were planted.

    Attributes
    ----------
    values, left : int
        Values that were wrong when the rows were audited, and those that still are.
    top_rows : int
        How many of the most harmful training rows were looked at.
    planted_in_top : int
        Those with a planted error.
    share_of_training_rows : float
        Of all training rows, the share with a planted error.
    probable_suspects : int
        Lines of suspects.csv with a probability of being wrong of at least
        `BELIEVED_WRONG`.
    suspects_wrong, suspects_true : int
        Those that are really wrong, and those whose proposed value is the true one.
    suggested_values, suggested_true : int
        Lines of suggestions.csv that propose a value in place of another, and those
        whose proposed value is the true one.
    suggested_missing, missing_true : int
        Lines that ask for a value that is missing, and those where the model guesses
        the true one.
    """

    values: int
    left: int
    top_rows: int
    planted_in_top: int
    share_of_training_rows: float
    probable_suspects: int
    suspects_wrong: int
    suspects_true: int
    suggested_values: int
    suggested_true: int
    suggested_missing: int
    missing_true: int

    @classmethod
    def of(cls, found: Audit, truth: Truth, rows: Reviews, n_top: int) -> PlantedCounts:
        """Count the planted errors in lists, and in the `n_top` most harmful rows.

        `rows` are the training rows as they were audited.
        """
        overall = found.influence[found.influence["target"] == "all"]
        top = overall[overall["influence"] > 0].head(n_top)
        is_kept = found.training["id"].isin(overall["train_id"])
        planted = truth.errors(found.training[is_kept])
        is_probable = found.suspects["probability_wrong"] >= BELIEVED_WRONG
        suspects = truth.judged(found.suspects[is_probable])
        suggestions = truth.judged(found.suggestions)
        is_missing = found.suggestions["current"].isna().loc[suggestions.index]
        return cls(
            len(truth.wrong(rows.known())),
            len(truth.wrong(found.training)),
            len(top),
            int(top["train_id"].isin(list(planted)).sum()),
            len(planted) / len(overall),
            len(suspects),
            int(suspects["is_wrong"].sum()),
            int(suspects["is_true"].sum()),
            int((~is_missing).sum()),
            int(suggestions["is_true"][~is_missing].sum()),
            int(is_missing.sum()),
            int(suggestions["is_true"][is_missing].sum()),
        )


def last_repair(records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what the edit that made the model changed on the held-out rows.

    None if the model was made otherwise, or an older version of skclif edited it. Rows
    that were forgotten later are never named: forgetting makes a model, too.
    """
    last = last_revision(records)
    if last is None or "comparison" not in last:
        return None
    found = {"record": last["number"], "chosen_by_effect": False, **last["comparison"]}
    return without_intervals(found) if chosen_by_effect(last) else found


@dataclass(frozen=True, eq=False)
class RunRecord:
    """What ``run.json`` says, except the digests of the other files of the report.

    Attributes
    ----------
    found : Audit
    rows : AuditedRows
        The rows that were audited, with the options.
    records : list of dict
        Of the trail.
    notes : list of str
        Warnings from before the fit.
    planted : PlantedCounts or None
        None if no errors were planted.
    timings : dict of str to float
        Seconds of every stage.
    demo : dict, default=None
        What a demo showed besides: decisions, repair, and how they were checked.
    """

    found: Audit
    rows: AuditedRows
    records: list[dict[str, Any]]
    notes: list[str]
    planted: PlantedCounts | None
    timings: dict[str, float]
    demo: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the file, in its order."""
        found, about, last = self.found, self.rows.about, self.records[-1]
        content = {
            "skclif_version": __version__,
            "format_version": FORMAT_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": about["command"],
            "data": about["data"],
            "classes": list(found.classes),
            "concepts": list(found.concepts),
            "options": about["options"],
            **recorded(about),
            "influence": {"method": found.method},
            "counts": found.counts,
            "metrics": found.metrics,
            "scores": found.evidence.scores,
            "confusion": found.evidence.confusion,
            "corrections": found.evidence.corrections,
            "bottleneck": found.bottleneck,
            "suggestions": found.suggested,
            "nothing_learned": list(found.nothing_learned),
            "warnings": [*found.warnings, *self.notes, *about["cut"]],
            "fingerprints": {**about["files"], **found.fingerprints},
            "trail": {"records": last["number"], "hash": last["hash"]},
            "repair": last_repair(self.records),
            "versions": versions(),
        }
        if self.planted is not None:
            content["planted"] = asdict(self.planted)
        if self.demo is not None:
            content["demo"] = self.demo
        return {**content, "timings": self.timings}
