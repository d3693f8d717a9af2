"""Revisions of a model: fitting, editing and forgetting rows, the same way each time.

Commands and `replay` both change models with these functions. A result depends only on
parameters, rows, features and weights, and on nothing that is kept in memory. That is
why a replay gives the same bits.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from .._explain.explainer import ConceptInfluenceExplainer
from .._inputs.devices import same_threads
from .._inputs.pipelines import final_step
from .._inputs.values import format_value, plain_value
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.edits import EditResult
from .._storage.tables import as_numbers
from ..exceptions import (
    ConstantConceptWarning,
    DataFileError,
    ManyValuesWarning,
    TrailError,
)
from .fingerprints import (
    array_fingerprint,
    data_fingerprint,
    model_fingerprint,
    row_fingerprints,
)
from .kinds import LABEL
from .rejections import Rejection
from .rows import Reviews, short_hash, some_ids
from .trail import REVISIONS

_MOST_THREADS = 4096
_NAMED = 5
_PARTS = ("data", "features", "weights", "model")
_OF_REVISIONS = {"changes", "forgotten", "files", "before", "after", "parameters"}
# Kinds of changes, in the order that they are written down in.
CHANGES = ("relabel", "annotate", "reweight", "drop")


@dataclass(frozen=True, eq=False, repr=False)
class Revision:
    """A model, and the rows that it was fitted to.

    Attributes
    ----------
    model : ConceptBottleneckClassifier
    rows : Reviews
        All rows, including dropped ones.
    """

    model: ConceptBottleneckClassifier
    rows: Reviews

    def fingerprints(self) -> dict[str, str]:
        """Return the SHA-256 of data, features, weights and the model."""
        return {
            "data": data_fingerprint(self.rows),
            "features": array_fingerprint(self.rows.features),
            "weights": array_fingerprint(self.rows.weights),
            "model": model_fingerprint(self.model),
        }


@dataclass(frozen=True)
class Place:
    """Where to compute; in another place, the last bits differ.

    Attributes
    ----------
    device : str
    threads : int
        Of the CPU.
    """

    device: str
    threads: int

    @classmethod
    def here(cls, device: str) -> Place:
        """Return a device with the number of threads that PyTorch uses now."""
        with same_threads() as threads:
            return cls(device, threads)


@dataclass(frozen=True)
class Change:
    """One change of one row.

    Attributes
    ----------
    kind : {"relabel", "annotate", "reweight", "drop"}
    id, text_hash : str
        Of the row.
    path : str
        "label", the name of a concept, or "row".
    old, new : object
        None for a missing annotation.
    why : str or None
    source : {"suggestion", "suspect", "person"} or None
        The list that proposed the new value, or the person who wrote it in. None in
        records that do not say.
    probability_wrong : float or None
        Of the old value, by the lists that were decided on; None if they do not say.
    even_if_right : bool
        Whether it was made although the old value was believed right.
    """

    kind: str
    id: str
    text_hash: str
    path: str
    old: Any
    new: Any
    why: str | None = None
    source: str | None = None
    probability_wrong: float | None = None
    even_if_right: bool = False


def fit(
    rows: Reviews, parameters: dict[str, Any], place: Place, verbose: int = 0
) -> Revision:
    """Return a model that is fitted to rows from zero."""
    model = ConceptBottleneckClassifier(
        **parameters, device=place.device, verbose=verbose
    )
    concepts = rows.concepts if rows.concepts.shape[1] else None
    with same_threads(place.threads), warnings.catch_warnings():
        for said in (ManyValuesWarning, ConstantConceptWarning):
            warnings.simplefilter("ignore", said)  # the checks have said it
        model.fit(rows.features, rows.labels, rows.weights, concepts=concepts)
    return Revision(model, rows)


def edit(
    revision: Revision,
    changes: list[Change],
    place: Place,
    held_out: Reviews | None = None,
    *,
    by_effect: bool = False,
    verbose: int = 0,
) -> tuple[Revision, dict[str, Any]]:
    """Change rows, and solve for the new optimum from the current parameters.

    Parameters
    ----------
    revision : Revision
    changes : list of Change
        Without changes whose new value is already there.
    place : Place
    held_out : Reviews, default=None
        Rows on which the effect is recorded, and the model is compared with the one
        before.
    by_effect : bool, default=False
        Whether changes were chosen by their effect on these rows. The comparison then
        has no intervals: they would not hold for other rows.
    verbose : int, default=0
        Whether to show progress.

    Returns
    -------
    revision : Revision
    content : dict
        Of the record for the trail.
    """
    rows = revision.rows
    concepts = rows.concepts if rows.concepts.shape[1] else None
    explainer = ConceptInfluenceExplainer(
        FrozenEstimator(revision.model), device=place.device, verbose=verbose
    )
    X_val, y_val = None, None
    if held_out is not None:
        X_val, y_val = held_out.features, held_out.labels
    changes = _in_order(changes, rows)
    arguments = as_arguments(changes, rows.positions())
    changed = apply_changes(rows, changes)
    emptied = _emptied(revision.model, rows, changed)
    _refuse_too_few(emptied, changed, changes, held_out)
    with same_threads(place.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantConceptWarning)  # the commands say it
        explainer.fit(rows.features, rows.labels, rows.weights, concepts=concepts)
        result = explainer.edit(
            **arguments, empty_values="drop", X_val=X_val, y_val=y_val
        )
    edited = Revision(final_step(result.estimator), changed)
    record = result.record
    content = {
        "changes": [asdict(change) for change in changes],
        **({"emptied": [list(one) for one in emptied]} if emptied else {}),
        "heads": [asdict(head) for head in record.heads],
        "converged": record.converged,
        "predicted_effect": record.predicted_effect,
        "achieved_effect": record.achieved_effect,
        **_compared(result, held_out, by_effect),
        **asdict(place),
        "before": revision.fingerprints(),
        "after": edited.fingerprints(),
    }
    return edited, content


def _emptied(
    model: ConceptBottleneckClassifier, before: Reviews, after: Reviews
) -> list[tuple[str, Any]]:
    """Return label and concept values that no row of weight has any more.

    Returns
    -------
    emptied : list of (str, object)
        "label" or the name of a concept, and the value.
    """
    old, new = before.used(), after.used()
    lost = [(LABEL, plain_value(v)) for v in np.unique(old.labels)]
    lost = [(LABEL, v) for _, v in lost if v not in set(new.labels.tolist())]
    for name, values in zip(
        model.concept_names_in_, model.concept_classes_, strict=True
    ):
        if values is not None:
            left = set(new.concepts[name].dropna())
            had = set(old.concepts[name].dropna())
            gone = [plain_value(v) for v in values if v in had and v not in left]
            lost += [(str(name), value) for value in gone]
    return lost


def _refuse_too_few(
    emptied: list[tuple[str, Any]],
    after: Reviews,
    changes: list[Change],
    held_out: Reviews | None,
) -> None:
    """Refuse changes after which there is nothing to predict, or no way to judge it."""
    for path, value in emptied:
        used = after.used()
        values = used.labels if path == LABEL else used.concepts[path].dropna()
        named = _whose_changes(path, changes)
        if path == LABEL and len(set(values)) < 2:
            raise DataFileError(
                "After these changes the label would have fewer than two values: "
                f"{value!r} would be gone ({named}). Leave a row with it as it is, or "
                "audit the corrected file again."
            )
        if not len(values):
            raise DataFileError(
                f"After these changes concept {path!r} would have no annotation "
                f"({named}). Leave a row with it as it is, or audit the corrected file "
                f"again without --concept {path}."
            )
        if path == LABEL and held_out is not None:
            still = held_out.labels == value
            if still.any():
                raise DataFileError(
                    f"After these changes no row to train on would have the label "
                    f"{value!r} ({named}), but held-out rows have it "
                    f"({some_ids(held_out, still)}), and no model could predict it. "
                    "Leave a row with it as it is, or correct those rows in the file "
                    "and audit it again."
                )


def _whose_changes(path: str, changes: list[Change]) -> str:
    """Name the rows whose changes can have taken a value away."""
    kind = "relabel" if path == LABEL else "annotate"
    ids = [
        change.id
        for change in changes
        if change.kind in ("drop", "reweight")
        or (change.kind, change.path) == (kind, path)
    ]
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"changes of {', '.join(map(repr, ids[:_NAMED]))}{more}"


def _compared(
    result: EditResult, held_out: Reviews | None, by_effect: bool
) -> dict[str, Any]:
    """Return what an edit changed on held-out rows, which are named without values."""
    if held_out is None:
        return {}
    model = final_step(result.estimator)
    concepts = held_out.concepts.copy()
    n_unseen = {}
    for name, values in zip(
        model.concept_names_in_, model.concept_classes_, strict=True
    ):
        if values is None:  # any number
            n_unseen[name] = 0
            continue
        unseen = concepts[name].notna() & ~concepts[name].isin(values)
        concepts.loc[unseen, name] = None
        n_unseen[name] = int(unseen.sum())
    compared = result.compare(
        held_out.features, held_out.labels, concepts if n_unseen else None
    )
    plain = compared.to_dict()
    for line in plain["concepts"]:
        # A value that training lacks is a mistake of both models, as in the report.
        n_known, more = line["n_rows"], n_unseen[line["concept"]]
        line["n_rows"] = n_known + more
        for when in ("before", "after") if more else ():
            line[when] *= n_known / (n_known + more)
    named, frame = names(held_out), compared.to_frame()
    changed = zip(frame["row"], frame["outcome"], strict=True)
    plain["changed"] = [[*named[row], outcome] for row, outcome in changed]
    plain["chosen_by_effect"] = by_effect
    return {"comparison": without_intervals(plain) if by_effect else plain}


def chosen_by_effect(record: dict[str, Any]) -> bool:
    """Return whether changes of a record were chosen by their effect on held-out rows.

    Records of older versions say it only by the sources of their changes.
    """
    sources = [change.get("source") for change in record.get("changes", [])]
    by_source = "suggestion" in sources
    return bool(record.get("comparison", {}).get("chosen_by_effect", by_source))


def without_intervals(comparison: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison of an edit that the compared rows chose."""
    scores = {
        name: {**comparison[name], "interval": [None, None]}
        for name in ("accuracy", "log_loss")
    }
    return {**comparison, **scores, "chosen_by_effect": True}


def forget(
    revision: Revision,
    ids: list[str],
    parameters: dict[str, Any],
    place: Place,
    verbose: int = 0,
) -> tuple[Revision, dict[str, Any]]:
    """Remove rows and fit the others from zero, so that nothing of them remains.

    Returns
    -------
    revision : Revision
        Without the rows.
    content : dict
        Of the record for the trail.
    """
    gone = np.isin(revision.rows.ids, ids)
    left = fit(revision.rows.take(~gone), parameters, place, verbose)
    forgotten = revision.rows.take(gone)
    return left, {
        "forgotten": names(forgotten),
        "parameters": parameters,
        **asdict(place),
        "before": revision.fingerprints(),
        "after": left.fingerprints(),
    }


def fit_content(
    revision: Revision,
    held_out: Reviews,
    parameters: dict[str, Any],
    place: Place,
    **more: Any,
) -> dict[str, Any]:
    """Return the content of the record of a first fit."""
    rows = revision.rows
    named = zip(names(rows), row_fingerprints(rows), strict=True)
    return {
        "rows": [[*name, values] for name, values in named],
        "columns": ["id", "text_hash", "values_hash"],
        "held_out": names(held_out),
        "concepts": list(rows.concepts),
        "words": _words(rows),
        "parameters": parameters,
        **asdict(place),
        **more,
        "after": revision.fingerprints(),
    }


def check_content(record: dict[str, Any]) -> None:
    """Refuse a record that has another form than the functions here write.

    Raises
    ------
    TrailError
        Names the record.
    """
    try:
        makes_model = record["kind"] in REVISIONS
        fits = _is_revision(record) if makes_model else _is_note(record)
        fits = fits and isinstance(record["environment"], dict)
        for rejected in record.get("rejected", []):
            fits = fits and _are_words(Rejection(**rejected).key)
    except (LookupError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise TrailError(
            f"Record {record['number']} of the trail is not one that skclif writes: "
            "something is missing in it, or is of another kind."
        )


def _is_revision(record: dict[str, Any]) -> bool:
    shapes = {
        "fit": {"rows": 3, "held_out": 2, "concepts": 0, "words": 0},
        "edit": {},
        "forget": {"forgotten": 2, "held_out": 2},
    }
    fits = 1 <= record["threads"] <= _MOST_THREADS and all(
        _is_listing(record[name], width)
        for name, width in shapes[record["kind"]].items()
    )
    for change in record.get("changes", []):
        fits = fits and _is_change(Change(**change))
    for head in record.get("heads", []):
        fits = fits and _is_number(head["before"]) and isinstance(head["head"], str)
    parts = [record["after"][part] for part in _PARTS]
    parts.append(record["device"])
    parts += record["files"].values() if "files" in record else []
    if record["kind"] != "edit":
        parts += record["parameters"]
    return fits and _are_words(parts)


def _is_note(record: dict[str, Any]) -> bool:
    """Return whether a record holds rejections, and nothing that makes a model."""
    return "rejected" in record and not _OF_REVISIONS.intersection(record)


def _are_words(parts: Iterable[Any]) -> bool:
    return all(isinstance(part, str) for part in parts)


def _is_change(change: Change) -> bool:
    value = change.new
    if change.kind in ("reweight", "drop"):
        known = _is_number(value) and value >= 0
    else:
        known = isinstance(value, str | int | float | bool)
        known = known or (value is None and change.kind == "annotate")
    named = all(isinstance(part, str) for part in (change.id, change.path))
    return known and named and change.kind in CHANGES


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_listing(value: Any, width: int) -> bool:
    """Return whether it is a list of words or, with a width, of rows of words."""
    if not isinstance(value, list):
        return False
    if not width:
        return all(isinstance(word, str) for word in value)
    return all(_is_listing(one, 0) and len(one) == width for one in value)


def apply_changes(rows: Reviews, changes: list[Change]) -> Reviews:
    """Return rows after changes; changes of missing rows are skipped."""
    positions = rows.positions()
    labels, weights = rows.labels.copy(), rows.weights.copy()
    concepts = {
        name: column.to_numpy().copy() for name, column in rows.concepts.items()
    }
    for change in changes:
        position = positions.get(change.id)
        if position is None:
            continue
        if change.kind == "relabel":
            labels[position] = change.new
        elif change.kind == "annotate":
            concepts[change.path][position] = change.new
        else:
            weights[position] = change.new
    table = rows.concepts.copy()
    for name, column in concepts.items():
        table[name] = pd.Series(column, dtype=object)
    return replace(rows, labels=labels, concepts=table, weights=weights)


def current_value(revision: Revision, position: int, kind: str, path: str) -> Any:
    """Return the value that a kind of change replaces: label, annotation or weight."""
    if kind == "relabel":
        return plain_value(revision.rows.labels[position])
    if kind == "annotate":
        return revision.rows.concepts[path].iloc[position]
    return float(revision.rows.weights[position])


def as_recorded(rows: Reviews, words: list[str]) -> Reviews:
    """Return rows whose labels and annotations are words or numbers as recorded.

    A value that is read as a number in one file can be a word in another, if other
    values of its column are words.

    Parameters
    ----------
    rows : Reviews
    words : list of str
        "label" and the concepts whose values were words.
    """

    def read(name: str, values: Iterable[Any]) -> pd.Series:
        values = [None if value is None else format_value(value) for value in values]
        if name not in words:
            known = iter(as_numbers([value for value in values if value is not None]))
            values = [None if value is None else next(known) for value in values]
        return pd.Series(values, dtype=object)

    concepts = {name: read(name, column) for name, column in rows.concepts.items()}
    labels = read("label", rows.labels).to_numpy()
    if "label" not in words:
        labels = np.asarray(labels.tolist())
    return replace(
        rows, labels=labels, concepts=pd.DataFrame(concepts, index=range(len(rows)))
    )


def _words(rows: Reviews) -> list[str]:
    """Return which of the label and the concepts are words, not numbers."""
    columns = {"label": rows.labels, **dict(rows.concepts.items())}
    return [
        name
        for name, values in columns.items()
        if any(isinstance(value, str) for value in values)
    ]


def names(rows: Reviews) -> list[list[str]]:
    """Return id and text hash of every row, as records name rows."""
    return [[i, short_hash(d)] for i, d in zip(rows.ids, rows.digests, strict=True)]


def _in_order(changes: list[Change], rows: Reviews) -> list[Change]:
    positions = rows.positions()
    return sorted(
        changes, key=lambda c: (CHANGES.index(c.kind), positions[c.id], c.path)
    )


def as_arguments(changes: list[Change], positions: dict[str, int]) -> dict[str, Any]:
    """Return changes as arguments of `ConceptInfluenceExplainer.edit`."""
    y: dict[int, Any] = {}
    concepts: dict[str, dict[int, Any]] = {}
    weights: dict[int, float] = {}
    drop: list[int] = []
    for change in changes:
        row = positions[change.id]
        if change.kind == "relabel":
            y[row] = change.new
        elif change.kind == "annotate":
            concepts.setdefault(change.path, {})[row] = change.new
        elif change.kind == "reweight":
            weights[row] = change.new
        else:
            drop.append(row)
    given = {"y": y, "concepts": concepts, "sample_weight": weights, "drop": drop}
    return {name: value for name, value in given.items() if value}
