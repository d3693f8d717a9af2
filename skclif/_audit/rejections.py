"""Rejections: what people decided against, so that nobody is asked again.

The trail cannot be changed, and a row can be forgotten later. So a rejection holds no
value: only hashes, which nobody can find by trying values without having the text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._inputs.values import format_value
from .rows import Reviews

if TYPE_CHECKING:
    from .findings import Audit

# Of a rejection: id, kind, path, and the hash of the value that was to be replaced.
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Rejection:
    """A change that a person decided against.

    Attributes
    ----------
    kind : {"relabel", "annotate", "reweight", "drop"}
    id, text_hash : str
        Of the row.
    path : str
        "label", the name of a concept, or "row".
    current_hash, proposed_hash : str
        `value_hash` of the value that stays, and of the one that was proposed.
    why : str or None
    """

    kind: str
    id: str
    text_hash: str
    path: str
    current_hash: str
    proposed_hash: str
    why: str | None = None

    @property
    def key(self) -> Key:
        """What it is about: other values proposed for the same are rejected, too."""
        return self.id, self.kind, self.path, self.current_hash


def value_hash(digest: str, path: str, value: Any) -> str:
    """Return the SHA-256 of a value of a row, together with the text of the row.

    Values are hashed as they are written: 5 and "5" are equal.

    Parameters
    ----------
    digest : str
        SHA-256 of the text, hexadecimal; the trail has only its first digits.
    path : str
        "label", the name of a concept, or "row".
    value : object
        None for a missing annotation.
    """
    said = None if value is None or pd.isna(value) else format_value(value)
    return hashlib.sha256(json.dumps([digest, path, said]).encode()).hexdigest()


def standing(records: list[dict[str, Any]]) -> set[Key]:
    """Return the rejections that were not overtaken by a change of the same value."""
    found: dict[tuple[str, bool, str], set[Key]] = {}
    for record in records:
        for change in record.get("changes", []):
            found.pop(_place(change), None)
        for rejected in record.get("rejected", []):
            keys = found.setdefault(_place(rejected), set())
            keys.add(Rejection(**rejected).key)
    return set().union(*found.values())


def decided_annotations(records: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return ids and concepts of the annotations that people decided on."""
    return {
        (one["id"], one["path"])
        for record in records
        for one in (*record.get("changes", []), *record.get("rejected", []))
        if one["kind"] == "annotate"
    }


def without_rejected(
    found: Audit, train: Reviews, records: list[dict[str, Any]]
) -> Audit:
    """Return an audit whose lists leave out what people rejected.

    How many lines that are is added to its counts, as ``rejected_lines``.
    """
    rejected = standing(records)
    digests = dict(zip(train.ids, train.digests, strict=True))
    suspects, suggestions = (
        table[~_is_rejected(table, digests, rejected)].reset_index(drop=True)
        for table in (found.suspects, found.suggestions)
    )
    n_lines = len(found.suspects) + len(found.suggestions)
    n_left = len(suspects) + len(suggestions)
    return replace(
        found,
        suspects=suspects,
        suggestions=suggestions,
        counts={**found.counts, "rejected_lines": n_lines - n_left},
    )


def _is_rejected(
    table: pd.DataFrame, digests: dict[str, str], rejected: set[Key]
) -> np.ndarray:
    if not rejected:
        return np.zeros(len(table), dtype=bool)
    columns = (table[name] for name in ("id", "kind", "path", "current"))
    return np.asarray(
        [
            (i, kind, path, value_hash(digests[i], path, value)) in rejected
            for i, kind, path, value in zip(*columns, strict=True)
        ],
        dtype=bool,
    )


def _place(line: dict[str, Any]) -> tuple[str, bool, str]:
    """Return the value that a line is about; a concept can have any name."""
    return line["id"], line["kind"] == "annotate", line["path"]
