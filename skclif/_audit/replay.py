"""Doing again what a trail records, from the data alone."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from .._inputs.checks import check_length
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.files import embedder_of
from ..exceptions import TrailError
from .fingerprints import row_fingerprints
from .revisions import (
    Change,
    Place,
    Revision,
    apply_changes,
    as_recorded,
    check_content,
    edit,
    fit,
    forget,
)
from .rows import Reviews, short_hash
from .trail import AuditTrail, environment

_PARTS = {
    "data": "ids, texts, labels, groups or annotations",
    "features": "the vectors of the texts",
    "weights": "the weights of the rows",
    "model": "the parameters of the model",
}


@dataclass(frozen=True)
class ReplayStep:
    """What came of doing one record again.

    Attributes
    ----------
    number : int
        Of the record.
    kind : {"fit", "edit", "forget"}
    same : bool or None
        Whether data and model are bit for bit what was recorded; None if it was not
        done again.
    reason : str or None
        What differs, or why it was not done.
    """

    number: int
    kind: str
    same: bool | None
    reason: str | None = None


@dataclass(frozen=True, eq=False, repr=False)
class ReplayResult:
    """What came of replaying a trail.

    Attributes
    ----------
    steps : tuple of ReplayStep
        One a record.
    estimator : ConceptBottleneckClassifier or None
        The model after the last step that is the same; None if there is none.
    """

    __module__ = "skclif"

    steps: tuple[ReplayStep, ...]
    estimator: ConceptBottleneckClassifier | None

    @property
    def same(self) -> bool:
        """Whether the last record gives, bit for bit, the model that it gave."""
        return bool(self.steps) and self.steps[-1].same is True

    @property
    def differs_at(self) -> int | None:
        """Number of the record that gives something else; None if there is none."""
        return next((s.number for s in self.steps if s.same is False), None)

    def to_frame(self) -> pd.DataFrame:
        """Return a line for every record.

        Returns
        -------
        frame : DataFrame
            Columns: number, kind, same, reason.
        """
        columns = ["number", "kind", "same", "reason"]
        lines = [[getattr(step, name) for name in columns] for step in self.steps]
        return pd.DataFrame(lines, columns=columns, dtype=object)

    def __repr__(self) -> str:
        """Return one line: whether it is the same, and where not."""
        if self.same:
            return f"<ReplayResult: {len(self.steps)} records, the same bit for bit>"
        return f"<ReplayResult: differs at record {self.differs_at}>"


def replay(
    trail: AuditTrail | str | os.PathLike[str],
    data,
    *,
    features=None,
    model=None,
    device: str = "cpu",
) -> ReplayResult:
    """Rebuild a model from data and its audit trail, and compare every record.

    Parameters
    ----------
    trail : AuditTrail, str or path-like
        The trail, or its file.
    data : Bunch
        The rows as :func:`skclif.datasets.load_reviews` returns them, training and
        held-out ones; those that the trail does not know are left out.
    features : array-like of shape (n_samples, n_features), default=None
        Their vectors, in float32. None to embed the texts, as they were embedded.
    model : str or path-like, default=None
        Where the embedding model is now; None for what it was called.
    device : str, default="cpu"
        Where to compute: "cpu", "cuda", "cuda:0" … or "auto".

    Returns
    -------
    result : ReplayResult
        Whether each record gives the data and the model that were recorded, bit for
        bit; if not, which record differs, and in what. Records after it are not done.

    Raises
    ------
    TrailError
        If the trail was altered, or holds no fit.

    Warns
    -----
    TrailWarning
        If the last line of the trail was never finished.

    See Also
    --------
    AuditTrail : The records.

    Notes
    -----
    The same bits come out on the same kind of machine with the same versions of the
    libraries; where these differ from the recorded ones, a difference says so. Vectors
    depend, by rounding, on the texts that are embedded with them: they are the same
    if all texts of the audit are there, and were embedded in one run. Otherwise give
    `features`, or use the command ``skclif replay``, which has them.

    Rows that were forgotten need not be in `data`: then the replay begins at the record
    that forgot them, where the model was fitted from zero.
    """
    trail = trail if isinstance(trail, AuditTrail) else AuditTrail(trail)
    records = trail.read()
    first = last_fit(records)
    check_content(first)
    rows = Reviews.from_parts(
        data.ids, data.data, data.target, data.concepts, data.groups
    )
    named = [row[0] for row in [*first["rows"], *first["held_out"]]]
    order = dict(zip(reversed(named), reversed(range(len(named))), strict=True))
    known = [k for k, i in enumerate(rows.ids) if i in order]
    known = np.asarray(sorted(known, key=lambda k: order[rows.ids[k]]), dtype=int)
    rows = rows.take(known)
    if features is None:
        embedder = embedder_of(first["embedder"], model, device=device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of long texts, as when it was recorded
            # All at once and in this order, as it was done: a vector depends, in its
            # last digits, on the company in which its text is embedded.
            features = embedder.transform(rows.texts)
    else:
        features = check_array(
            features, dtype=np.float32, order="C", input_name="features"
        )
        check_length("features", len(features), len(data.ids), "data")
        features = features[known]
    return replay_rows(records, rows, features, device)


replay.__module__ = "skclif"


def replay_rows(
    records: list[dict[str, Any]], rows: Reviews, features: np.ndarray, device="cpu"
) -> ReplayResult:
    """Replay records on training rows, in any order, and their features."""
    for record in records:
        check_content(record)
    first = last_fit(records)
    begin = _beginning(records, rows)
    steps = [_left_out(record, first, begin) for record in records[: begin - 1]]
    revision, differs_at = None, None
    for record in records[begin - 1 :]:
        number, kind = record["number"], record["kind"]
        if differs_at is not None:
            said = f"record {differs_at} differs"
            steps.append(ReplayStep(number, kind, None, said))
            continue
        place = Place(device, record["threads"])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whoever did it first was told
                if revision is None:
                    before = records[first["number"] : begin]
                    base = _as_recorded(first, before, rows, features)
                    done = fit(*base, record["parameters"], place)
                else:
                    done = _again(record, revision, place)
            _compare(done, record, device)
        except (ValueError, TypeError, LookupError) as error:
            differs_at = number
            steps.append(ReplayStep(number, kind, False, str(error)))
        else:
            revision = done
            steps.append(ReplayStep(number, kind, True))
    return ReplayResult(tuple(steps), None if revision is None else revision.model)


def current(
    records: list[dict[str, Any]], rows: Reviews, features: np.ndarray
) -> tuple[Reviews, np.ndarray, np.ndarray]:
    """Return rows, features and weights after all edits since the last fit."""
    for record in records:
        check_content(record)
    earlier = _changes(records[last_fit(records)["number"] :])
    try:
        return apply_changes(rows, features, np.ones(len(rows)), earlier)
    except (LookupError, TypeError, ValueError) as error:
        raise TrailError(
            f"The changes in the trail do not fit the rows: {error}"
        ) from error


def last_fit(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the record that the model goes back to."""
    fits = [record for record in records if record["kind"] == "fit"]
    if not fits:
        raise TrailError("The trail holds no fit, so there is nothing to go back to.")
    return fits[-1]


def _beginning(records: list[dict[str, Any]], rows: Reviews) -> int:
    """Return the number of the first record that can be done with these rows."""
    first = last_fit(records)
    missing = {row[0] for row in first["rows"]}.difference(rows.ids)
    begin = first["number"]
    for record in records[begin:]:
        if missing.intersection(_forgotten(record)):
            begin = record["number"]
    return begin


def _left_out(record: dict[str, Any], first: dict[str, Any], begin: int) -> ReplayStep:
    said = f"its rows were forgotten in record {begin}"
    if record["number"] < first["number"]:
        said = f"record {first['number']} fits again"
    return ReplayStep(record["number"], record["kind"], None, said)


def _forgotten(record: dict[str, Any]) -> list[str]:
    return [i for i, _ in record.get("forgotten", [])]


def _changes(records: list[dict[str, Any]]) -> list[Change]:
    return [
        Change(**change) for record in records for change in record.get("changes", [])
    ]


def _as_recorded(first, before, rows: Reviews, features: np.ndarray):
    """Return rows, features and weights as they were at the record to begin with.

    Parameters
    ----------
    first : dict
        The record of the fit.
    before : list of dict
        Records since, up to the one to begin with.
    """
    positions = rows.positions()
    gone = {i for record in before for i in _forgotten(record)}
    missing = {row[0] for row in first["rows"]} - positions.keys() - gone
    if missing:
        raise ValueError(f"row {min(missing)!r} is not in the data")
    named = [row for row in first["rows"] if row[0] in positions]
    order = np.asarray([positions[row[0]] for row in named], dtype=int)
    rows = as_recorded(rows.take(order), first["words"])
    if list(rows.concepts) != first["concepts"]:
        raise ValueError(
            f"the concepts are {list(rows.concepts)}, not {first['concepts']}"
        )
    values = row_fingerprints(rows)
    for (i, text, value), digest, found in zip(
        named, rows.digests, values, strict=True
    ):
        if short_hash(digest) != text:
            raise ValueError(f"the text of row {i!r} differs")
        if found != value:
            raise ValueError(f"the label or an annotation of row {i!r} differs")
    weights = np.ones(len(rows))
    return apply_changes(rows, features[order], weights, _changes(before))


def _again(record: dict[str, Any], revision: Revision, place: Place) -> Revision:
    if record["kind"] == "forget":
        ids = _forgotten(record)
        return forget(revision, ids, record["parameters"], place)[0]
    return edit(revision, _changes([record]), place)[0]


def _compare(revision: Revision, record: dict[str, Any], device: str) -> None:
    found, said = revision.fingerprints(), record["after"]
    for part, what in _PARTS.items():
        if found[part] != said[part]:
            raise ValueError(f"{what} differ{_elsewhere(record, device)}")


def _elsewhere(record: dict[str, Any], device: str) -> str:
    """Say how this machine differs from the one that wrote the record."""
    now = {**environment(), "device": device}
    then = {**record["environment"], "device": record["device"]}
    differ = [
        f"{name} {then.get(name)} then, {now[name]} now"
        for name in now
        if then.get(name) != now[name]
    ]
    return f" ({'; '.join(differ)})" if differ else ""
