"""Proposals for a person to decide on: what may be wrong, and what would help."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.suggestions.arguments import LEAST_ROWS
from .._models.bottleneck import ConceptBottleneckClassifier
from ..exceptions import SuggestionWarning, SuspectWarning
from .models import messages
from .rows import LEAST_PROBABILITY, Reviews, tidy


def suspects_table(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    groups: np.ndarray | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return labels and annotations that may be wrong, and reasons to doubt them."""
    columns = ["probability_wrong", "probability_proposed"]
    columns += ["loss", "margin", "self_influence"]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = explainer.suspect_labels(groups=groups)
    except ValueError as error:  # a term that holds a head cannot be left out
        return _decisions(known, [], [], [], [], [], {c: [] for c in columns}), [
            f"Nothing is listed as suspect. {error}"
        ]
    found = found[found["probability_wrong"] >= LEAST_PROBABILITY]
    kinds = np.where(found["path"] == "label", "relabel", "annotate")
    names = ["row", "path", "current", "proposed"]
    row, path, current, proposed = (found[name].to_numpy() for name in names)
    evidence = {name: found[name].to_numpy() for name in columns}
    table = _decisions(known, row, kinds, path, current, proposed, evidence)
    return table, list(messages(caught))


def suggestions_table(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    held_out: Reviews,
    groups: np.ndarray | None,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """Return changes that would help, and the effect of all of them.

    A missing annotation that would help is no change that can be made as it stands:
    the model only guesses the value. So `proposed` is empty, for a person to fill in,
    and these lines come after all others.
    """
    columns = ["effect", "std_error", "probability_wrong"]
    if len(held_out) < LEAST_ROWS:
        nothing: dict[str, Any] = {name: [] for name in ["guess", *columns]}
        return _decisions(known, [], [], [], [], [], nothing), None
    with warnings.catch_warnings():
        # What it warns of is in `words`, which everything that shows suggestions says.
        warnings.simplefilter("ignore", SuggestionWarning)
        warnings.simplefilter("ignore", SuspectWarning)  # the suspects have said it
        found = explainer.suggest_edits(
            held_out.features, held_out.labels, groups=groups, random_state=seed
        )
    frame = found.frame
    asked = is_asked(frame)
    frame = pd.concat([frame[~asked], frame[asked]])
    asked = np.sort(asked.to_numpy())
    names = ["row", "kind", "path", "current", "proposed"]
    row, kind, path, current, proposed = (
        frame[name].to_numpy(dtype=object) for name in names
    )
    evidence: dict[str, Any] = {
        "guess": tidy(pd.Series(np.where(asked, proposed, None), dtype=object))
    }
    evidence |= {name: frame[name].to_numpy() for name in columns}
    proposed = np.where(asked, None, proposed)
    worth = {
        "effect": found.effect,
        "interval": None if found.interval is None else list(found.interval),
        "verdict": found.verdict,
        "words": found.in_words(),
        "helps": found.helps,
        "n_candidates": found.n_candidates,
    }
    return _decisions(known, row, kind, path, current, proposed, evidence), worth


def is_asked(table: pd.DataFrame) -> pd.Series:
    """Return which lines of suggestions ask for an annotation that is missing."""
    return (table["kind"] == "annotate") & table["current"].isna()


def wrong_probabilities(
    model: ConceptBottleneckClassifier, train: Reviews, device: str
) -> dict[tuple[str, str], float] | None:
    """Return the probability of being wrong by id and path, of every suspect.

    Labels and annotations that are not there have less than `LEAST_PROBABILITY`. None
    if nothing can be said of any of them.
    """
    explainer = ConceptInfluenceExplainer(FrozenEstimator(model), device=device)
    concepts = train.concepts if train.concepts.shape[1] else None
    explainer.fit(train.features, train.labels, train.weights, concepts=concepts)
    table, notes = suspects_table(explainer, train.known(), train.groups)
    if notes and not len(table):
        return None
    columns = (table[column] for column in ("id", "path", "probability_wrong"))
    return {(i, path): float(p) for i, path, p in zip(*columns, strict=True)}


def _decisions(
    known: pd.DataFrame,
    row: Any,
    kind: Any,
    path: Any,
    current: Any,
    proposed: Any,
    evidence: dict[str, Any],
) -> pd.DataFrame:
    """Return lines for a person to decide on, texts last."""
    row = np.asarray(row, dtype=int)
    table = {
        "decision": np.full(len(row), "", dtype=object),
        "why": np.full(len(row), "", dtype=object),
        "kind": kind,
        "id": known["id"].to_numpy()[row],
        "text_hash": known["text_hash"].to_numpy()[row],
        "path": path,
        "current": tidy(pd.Series(current, dtype=object)),
        "proposed": tidy(pd.Series(proposed, dtype=object)),
        **evidence,
    }
    for name in ("group", "text"):
        if name in known:
            table[name] = known[name].to_numpy()[row]
    return pd.DataFrame(table)
