"""The page of ``skclif annotate``: what prompts said, and what people should say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._audit.asking import HELD_OUT_LIST, NEXT, with_proposals
from .._audit.evidence import MOST_LISTED
from .._audit.prompt_file import PromptFile
from .._audit.prompted import Prompted
from .._audit.rows import Reviews
from .._version import __version__
from .bundle import policy, script, style
from .page_data import as_script, choices_of, queue_of, text_of, word
from .rendering import render

_Dict = dict[str, Any]
_AGAIN = "skclif annotate"
_N_STATIC = 10  # of each list, for those who read without scripts, or on paper


@dataclass(frozen=True, eq=False)
class Annotated:
    """Annotations of texts, for a page.

    Attributes
    ----------
    name : str
        Of the file of texts.
    reviews : Reviews
    found : Prompted
    file : PromptFile
    confidence : float
        How sure prompts had to be.
    tables : dict of str to DataFrame
        As `tables_of` returns them.
    is_held : ndarray of bool of shape (n_texts,), or None
        Which texts an audit holds out; None if that is not known.
    warnings : list of str
    """

    name: str
    reviews: Reviews
    found: Prompted
    file: PromptFile
    confidence: float
    tables: dict[str, pd.DataFrame]
    is_held: np.ndarray | None
    warnings: list[str]


def annotate_html(made: Annotated) -> str:
    """Return the page of annotations: one file that needs no network."""
    rows = _Rows(made)
    table = with_proposals(made.tables[NEXT].head(MOST_LISTED))
    queues = {"machine": queue_of(table, rows, None, [])}
    if made.is_held is not None:
        queues["held-out"] = queue_of(made.tables[HELD_OUT_LIST], rows, None, [])
    data = {
        "key": f"skclif annotate {_state(made)}",
        "folder": True,
        "text": made.reviews.texts is not None,
        "groups": [],
        "classes": [],
        "concepts": [
            {"name": name, "values": choices_of([*values]), "range": None}
            for name, values in made.file.concepts.items()
        ],
        "head": None,
        "mistakes": {"rows": []},
        "queues": {name: queue | {"again": _AGAIN} for name, queue in queues.items()},
        "training": rows.rows,
    }
    return render(
        "annotate.html",
        data=as_script(data),
        script=script(),
        style=style(),
        policy=policy(),
        page=data,
        n_static=_N_STATIC,
        name=made.name,
        version=__version__,
        warnings=made.warnings,
        prompts={"file": made.file.name, "sha256": made.file.sha256},
        confidence=made.confidence,
        n_texts=len(made.reviews),
        n_held=None if made.is_held is None else int(made.is_held.sum()),
        ordered_by=list(dict.fromkeys(made.tables[NEXT]["ordered_by"])),
        concepts=_concepts(made),
    )


def _concepts(made: Annotated) -> list[_Dict]:
    values = made.found.values(made.file.concepts)
    return [
        {"name": name, "counts": counts, "values": values[name]}
        for name, counts in made.found.counts().items()
    ]


def _state(made: Annotated) -> str:
    """Return a digest of what people are asked: what is decided belongs to that."""
    names = ["id", "text_hash", "path", "current"]
    asked = [
        made.tables[name][names].astype(object).to_numpy().tolist()
        for name in (NEXT, HELD_OUT_LIST)
        if name in made.tables
    ]
    content = json.dumps([made.file.sha256, asked], default=str).encode()
    return hashlib.sha256(content).hexdigest()[:16]


class _Rows:
    """The texts that people are asked about, each of them once."""

    def __init__(self, made: Annotated) -> None:
        self.made, self.positions = made, made.reviews.positions()
        self.planted: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.rows: list[_Dict] = []

    def place(self, i: str) -> int:
        """Return the place of a text in `rows`."""
        if i not in self.places:
            self.places[i] = len(self.rows)
            self.rows.append(self._row(i))
        return self.places[i]

    def _row(self, i: str) -> _Dict:
        made, k = self.made, self.positions[i]
        by_people = made.found.by_people.iloc[k].to_numpy()
        said = [word(value) for value in made.found.concepts.iloc[k]]
        if made.is_held is not None and made.is_held[k]:
            # Who annotates held-out texts does not see what prompts say.
            pairs = zip(said, by_people, strict=True)
            said = [value if is_own else None for value, is_own in pairs]
        guessed = [
            value is not None and not is_own
            for value, is_own in zip(said, by_people, strict=True)
        ]
        texts = made.reviews.texts
        return {
            "id": i,
            "hash": made.reviews.hashes()[k],
            **text_of(None if texts is None else texts[k]),
            "label": None,
            "group": None,
            "annotated": said,
            "guessed": guessed,
            "planted": None,
        }
