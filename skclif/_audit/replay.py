"""Repeating what a trail records, from the data alone, and comparing."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_array

from .._inputs.checks import check_length
from .._inputs.pipelines import final_step
from .._inputs.progress import Progress, counted
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.files import embedder_of
from .._results.replay import TOLERANCE, ReplayResult, ReplayStep
from ..exceptions import TrailError
from .environment import differences, environment
from .fingerprints import model_fingerprint, parameters_of, row_fingerprints
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
from .trail import REVISIONS, AuditTrail

_DATA = {
    "data": "ids, texts, labels, groups or annotations",
    "features": "the vectors of the texts",
    "weights": "the weights of the rows",
}
_PARTS = ("ids", "data", "target", "concepts", "groups")
_MAKES_NO_MODEL = "it changes neither the rows nor the model"
_NOTHING_TO_COMPARE = (
    "the bits of the model differ, and the record has no numbers to compare with"
)


class _Differs(ValueError):
    """What is found is not what was recorded. Only comparisons raise it."""


def replay(
    trail: AuditTrail | str | os.PathLike[str],
    data: Any,
    *,
    features: Any = None,
    model: str | os.PathLike[str] | None = None,
    recorded: Any = None,
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
    recorded : ConceptBottleneckClassifier or Pipeline, default=None
        The model of one of the records, such as :func:`load_model` returns, to compare
        its parameters where the bits differ.
    device : str, default="cpu"
        Where to compute: "cpu", "cuda", "cuda:0" … or "auto".

    Returns
    -------
    result : ReplayResult
        Whether each record gives the data and the model that were recorded; if not,
        which record differs, and in what. Records after it are not repeated.

    Raises
    ------
    FileNotFoundError
        If there is no trail.
    IsADirectoryError
        If `trail` is a folder.
    TypeError
        If `data` is not what :func:`skclif.datasets.load_reviews` returns.
    TrailError
        If the trail was altered, or holds no fit.
    ValueError
        If `recorded` is the model of none of the records.

    Warns
    -----
    TrailWarning
        If the last line of the trail was never finished.

    See Also
    --------
    AuditTrail : The records.

    Notes
    -----
    Equal bits can be expected on the same kind of processor with the same versions of
    the libraries. Every record names what it was made with. If that differs here, the
    result says so in `environment`, and a model of other bits is compared within a
    tolerance of 1e-6: the parameters with those of `recorded`, each as a share of the
    largest one or of 1, and the gradient norms at the beginning of an edit with those
    in its record. Data, vectors and weights have to be the same bit for bit everywhere.

    Vectors depend, by rounding, on the texts that are embedded with them: they are the
    same if all texts of the audit are there, and were embedded in one run. Otherwise
    give `features`, or use the command ``skclif replay``, which has them.

    Rows that were forgotten need not be in `data`: then the replay begins at the record
    that forgot them, where the model was fitted from zero.
    """
    trail = trail if isinstance(trail, AuditTrail) else AuditTrail(trail)
    if not trail.path.exists():
        raise FileNotFoundError(f"There is no file {str(trail.path)!r}.")
    records = trail.read()
    _check_data(data)
    first = last_fit(records)
    check_content(first)
    rows = Reviews.from_parts(
        data.ids,
        data.data,
        data.target,
        data.concepts,
        data.groups,
        weights=getattr(data, "weights", None),
    )
    named = [row[0] for row in [*first["rows"], *first["held_out"]]]
    order = dict(zip(reversed(named), reversed(range(len(named))), strict=True))
    there = [k for k, i in enumerate(rows.ids) if i in order]
    known = np.asarray(sorted(there, key=lambda k: order[rows.ids[k]]), dtype=int)
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
    return replay_rows(records, rows.embedded(features), device, recorded)


replay.__module__ = "skclif"


def _check_data(data: Any) -> None:
    missing = [name for name in _PARTS if not hasattr(data, name)]
    if not missing:
        return
    said = type(data).__name__
    if isinstance(data, str | os.PathLike):
        said = f"the path {os.fspath(data)!r}"
    raise TypeError(
        "data must be the rows as load_reviews of skclif.datasets returns them, with "
        f"{', '.join(_PARTS)}, got {said}. Read the file with the arguments that it "
        "was audited with, or use the command skclif replay FOLDER FILE, which "
        "remembers them."
    )


def replay_rows(
    records: list[dict[str, Any]],
    rows: Reviews,
    device: str = "cpu",
    recorded: Any = None,
    verbose: int = 0,
) -> ReplayResult:
    """Replay records on training rows, in any order."""
    import torch  # noqa: F401 - what is not loaded is unknown to `environment`

    for record in records:
        check_content(record)
    known = _known_model(recorded, records)
    first = last_fit(records)
    begin = _beginning(records, rows)
    steps = [_left_out(record, first, begin) for record in records[: begin - 1]]
    before = records[first["number"] : begin]
    revision, differs_at = None, None
    now = {**environment(), "device": device}
    left = records[begin - 1 :]
    with Progress(verbose).stage("Doing again", len(left)) as advance:
        for record in counted(left, advance):
            said = record["number"], record["kind"]
            if record["kind"] not in REVISIONS:
                steps.append(ReplayStep(*said, None, None, _MAKES_NO_MODEL))
                continue
            if differs_at is not None:
                reason = f"record {differs_at} differs"
                steps.append(ReplayStep(*said, None, None, reason))
                continue
            then = {**record["environment"], "device": record["device"]}
            elsewhere = differences(then, now)
            place = Place(device, record["threads"])
            try:
                if revision is None:
                    done, numbers = _begun(first, before, record, rows, place)
                else:
                    done, numbers = _again(record, revision, place)
                same, close = _compare(done, numbers, record, elsewhere, known)
            except _Differs as error:
                differs_at = record["number"]
                steps.append(ReplayStep(*said, False, False, str(error), elsewhere))
                continue
            revision, reason = done, None
            if close is None:
                reason = _NOTHING_TO_COMPARE
            elif not same:
                reason = f"equal within {TOLERANCE:g}"
            steps.append(ReplayStep(*said, same, close, reason, elsewhere))
    return ReplayResult(tuple(steps), None if revision is None else revision.model)


def current(records: list[dict[str, Any]], rows: Reviews) -> Reviews:
    """Return rows after all edits since the last fit."""
    for record in records:
        check_content(record)
    earlier = _changes(records[last_fit(records)["number"] :])
    try:
        _check_changes(earlier, rows)
    except _Differs as error:
        raise TrailError(
            f"The changes in the trail do not fit the rows: {error}."
        ) from error
    return apply_changes(rows, earlier)


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
    begin: int = first["number"]
    for record in records[begin:]:
        if missing.intersection(_forgotten(record)):
            begin = record["number"]
    return begin


def _left_out(record: dict[str, Any], first: dict[str, Any], begin: int) -> ReplayStep:
    said = f"its rows were forgotten in record {begin}"
    if record["number"] < first["number"]:
        said = f"record {first['number']} fits again"
    if record["kind"] not in REVISIONS:
        said = _MAKES_NO_MODEL
    return ReplayStep(record["number"], record["kind"], None, None, said)


def _forgotten(record: dict[str, Any]) -> list[str]:
    return [i for i, _ in record.get("forgotten", [])]


def _changes(records: list[dict[str, Any]]) -> list[Change]:
    return [
        Change(**change) for record in records for change in record.get("changes", [])
    ]


def _begun(
    first: dict[str, Any],
    before: list[dict[str, Any]],
    record: dict[str, Any],
    rows: Reviews,
    place: Place,
) -> tuple[Revision, dict[str, Any]]:
    """Return what the fit of the record to begin with gives.

    Parameters
    ----------
    first : dict
        The record of the fit to the file.
    before : list of dict
        Records since, up to the one to begin with.
    """
    rows = _as_recorded(first, before, rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warnings were shown when it was recorded
        revision = fit(rows, record["parameters"], place)
    return revision, {"after": revision.fingerprints()}


def _again(
    record: dict[str, Any], revision: Revision, place: Place
) -> tuple[Revision, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if record["kind"] == "forget":
            ids = _forgotten(record)
            return forget(revision, ids, record["parameters"], place)
        changes = _changes([record])
        _check_changes(changes, revision.rows, revision.model)
        return edit(revision, changes, place)


def _as_recorded(
    first: dict[str, Any],
    before: list[dict[str, Any]],
    rows: Reviews,
) -> Reviews:
    """Return rows as they were at the record to begin with."""
    positions = rows.positions()
    gone = {i for record in before for i in _forgotten(record)}
    missing = {row[0] for row in first["rows"]} - positions.keys() - gone
    if missing:
        raise _Differs(f"row {min(missing)!r} is not in the data")
    named = [row for row in first["rows"] if row[0] in positions]
    order = np.asarray([positions[row[0]] for row in named], dtype=int)
    rows = as_recorded(rows.take(order), first["words"])
    if list(rows.concepts) != first["concepts"]:
        raise _Differs(
            f"the concepts are {list(rows.concepts)}, not {first['concepts']}"
        )
    values = row_fingerprints(rows)
    for (i, text, value), digest, found in zip(
        named, rows.digests, values, strict=True
    ):
        if short_hash(digest) != text:
            raise _Differs(f"the text of row {i!r} differs")
        if found != value:
            raise _Differs(f"the label or an annotation of row {i!r} differs")
    changes = _changes(before)
    _check_changes(changes, rows)
    return apply_changes(rows, changes)


def _check_changes(
    changes: list[Change],
    rows: Reviews,
    model: ConceptBottleneckClassifier | None = None,
) -> None:
    """Refuse changes that these rows, or the model to edit, cannot have had."""
    positions = rows.positions()
    for change in changes:
        value, path = change.new, change.path
        if change.kind == "annotate" and path not in rows.concepts:
            raise _Differs(f"there is no concept {path!r}")
        if change.kind == "relabel" and len(rows):
            are_words = isinstance(rows.labels[0], str)
            if isinstance(value, str) != are_words:
                raise _Differs(f"the labels have no value such as {value!r}")
        if model is None:
            continue
        if change.id not in positions:
            raise _Differs(f"row {change.id!r} is not in the data")
        known = None
        if change.kind == "relabel":
            known = model.classes_.tolist()
        elif change.kind == "annotate" and value is not None:
            names = list(model.concept_names_in_)
            values = model.concept_classes_[names.index(path)]
            known = None if values is None else values.tolist()
        if known is not None and value not in known:
            raise _Differs(f"the model does not know the value {value!r} of {path!r}")


def _known_model(
    recorded: Any, records: list[dict[str, Any]]
) -> ConceptBottleneckClassifier | None:
    """Return the recorded model, seen to be that of a record."""
    if recorded is None:
        return None
    model = final_step(recorded)
    if not isinstance(model, ConceptBottleneckClassifier):
        raise TypeError(
            "recorded has to be a ConceptBottleneckClassifier or a pipeline that ends "
            f"in one, got {type(recorded).__name__}."
        )
    if model_fingerprint(model) not in {
        record["after"]["model"] for record in records if record["kind"] in REVISIONS
    }:
        raise ValueError(
            "recorded is the model of none of the records, by its fingerprint. Give "
            "the one that was written with this trail."
        )
    return model


def _compare(
    revision: Revision,
    content: dict[str, Any],
    record: dict[str, Any],
    elsewhere: tuple[str, ...],
    known: ConceptBottleneckClassifier | None,
) -> tuple[bool, bool | None]:
    """Return whether a revision is as recorded, bit for bit and within the tolerance.

    Parameters
    ----------
    revision : Revision
    content : dict
        Of the record that it would have now.
    record : dict
    elsewhere : tuple of str
        How the environment of the record differs.
    known : ConceptBottleneckClassifier or None
        The model of one of the records.
    """
    found, said = content["after"], record["after"]
    for part, what in _DATA.items():
        if found[part] != said[part]:
            raise _Differs(f"{what} differ")
    if found["model"] == said["model"]:
        return True, True
    if not elsewhere:
        raise _Differs("the parameters of the model differ")
    compared = False
    if record["kind"] == "edit" and "heads" in record:
        _compare_gradients(content["heads"], record["heads"])
        compared = True
    if known is not None and model_fingerprint(known) == said["model"]:
        _compare_parameters(revision.model, known)
        compared = True
    return False, compared or None


def _compare_gradients(found: list[dict[str, Any]], said: list[dict[str, Any]]) -> None:
    """Compare how far every head was from its optimum when an edit began.

    That depends on the model before the edit, and on the edit.
    """
    names = [head["head"] for head in found]
    if names != [head["head"] for head in said]:
        raise _Differs("the heads that the edit solved differ")
    for name, new, old in zip(names, found, said, strict=True):
        if not _is_close(np.array(new["before"]), np.array(old["before"])):
            raise _Differs(
                f"the gradient norm of {name!r} at the beginning of the edit differs "
                f"by more than {TOLERANCE:g}"
            )


def _compare_parameters(
    model: ConceptBottleneckClassifier, known: ConceptBottleneckClassifier
) -> None:
    for new, old in zip(parameters_of(model), parameters_of(known), strict=True):
        if new.shape != old.shape or not _is_close(new, old):
            raise _Differs(
                f"the parameters of the model differ by more than {TOLERANCE:g}"
            )


def _is_close(new: np.ndarray, old: np.ndarray) -> bool:
    scale = max(1.0, float(np.abs(old).max(initial=0.0)))
    return bool(np.abs(new - old).max(initial=0.0) <= TOLERANCE * scale)
